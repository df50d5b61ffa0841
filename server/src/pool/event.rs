//! What can happen to the pool.

use core::fmt;
use std::net::SocketAddr;

use bytes::Bytes;

use super::action::{CallId, WriteId};
use crate::config::{Config, PortId};
use crate::journal::WriteError;
use crate::node::rpc::{CallError, HttpReply};

/// One connection of a miner; never used twice in a run.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ConnId(pub u64);

impl fmt::Display for ConnId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// What can happen.
///
/// The contract: for each connection `Opened (Received | Flushed)* Closed`; no more is flushed
/// than was sent; every call is answered once, unless it was cancelled; writes end in the order in
/// which they were asked for, but one that finds no room in the disk's queue fails at once.
#[derive(Clone, Debug)]
pub enum Event {
    /// A miner connected.
    Opened {
        /// Its connection.
        conn: ConnId,
        /// Where from.
        peer: SocketAddr,
        /// Through which port of ours.
        port: PortId,
    },
    /// A miner sent something.
    Received {
        /// Its connection.
        conn: ConnId,
        /// What one read brought.
        bytes: Bytes,
    },
    /// Some of what was sent left the machine.
    Flushed {
        /// The connection.
        conn: ConnId,
        /// How many bytes.
        length: usize,
    },
    /// A connection is gone, by its peer's will or ours.
    Closed {
        /// The connection.
        conn: ConnId,
    },
    /// A call ended.
    Replied {
        /// Which.
        call: CallId,
        /// What it brought.
        result: Result<HttpReply, CallError>,
    },
    /// A write is on disk.
    Persisted {
        /// Which.
        write: WriteId,
    },
    /// A write failed.
    PersistFailed {
        /// Which.
        write: WriteId,
        /// Why, and whether it may be asked for again.
        error: WriteError,
    },
    /// A node published something unasked. It may come twice, late or never.
    Notified {
        /// Its place in the configuration.
        node: usize,
        /// Its topic, such as `sequence`.
        topic: Bytes,
        /// What it says.
        body: Bytes,
    },
    /// The operator changed the settings. What of them may change while the server runs does.
    Reconfigured(Box<Config>),
    /// The operator wants the server to stop.
    Stop,
}
