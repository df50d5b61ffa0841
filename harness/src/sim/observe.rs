//! What an outsider sees of the server: bytes, calls, writes, deaths. What laws are judged on.
//!
//! **Invariant:** nothing in here is known to the server alone. A law that needs to look inside
//! judges the code and not what it does.

use bytes::Bytes;
use server::journal::{DiskOp, WriteError};
use server::node::rpc::{CallError, HttpReply};
use server::pool::action::Endpoint;

use crate::sim::WorldEvent;
use crate::sim::second::SecondEvent;

/// One connection, never the same number twice, whatever run of the server it belongs to.
pub type Conn = u64;

/// The phases of a run.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Phase {
    /// Things go wrong.
    Safety,
    /// All is mended: what is due must come.
    Quiet,
    /// The miners have left: nothing of theirs may be kept.
    Drain,
}

/// Why a run of the server ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ending {
    /// It was killed.
    Crash,
    /// The operator stopped it.
    Stopped,
    /// It gave up, and said why.
    Fatal(String),
}

/// One thing that an outsider could have seen.
#[derive(Clone, Debug)]
pub enum Observation {
    /// The server that runs was given other settings.
    Reconfigured,
    /// The server was started, with what its disk holds.
    Started {
        /// The generation on disk.
        generation: u32,
        /// Hashes of blocks on disk that were not judged, as headers hash.
        pending: Vec<[u8; 32]>,
    },
    /// It ended.
    Ended(Ending),
    /// It lets miners in.
    Listening,
    /// A miner connected.
    Opened {
        /// Its connection.
        conn: Conn,
        /// Its number in the plan.
        miner: u64,
    },
    /// The server read these bytes.
    Received {
        /// From whom.
        conn: Conn,
        /// What.
        bytes: Bytes,
    },
    /// The server sent these bytes.
    Sent {
        /// To whom.
        conn: Conn,
        /// What.
        bytes: Bytes,
    },
    /// So many of the sent bytes left the machine.
    Flushed {
        /// The connection.
        conn: Conn,
        /// How many.
        length: usize,
    },
    /// The server closes the connection.
    Closing {
        /// Which.
        conn: Conn,
        /// Its reason, as it would log it.
        why: String,
    },
    /// The server learnt that the connection is gone.
    Closed {
        /// Which.
        conn: Conn,
    },
    /// The server calls somebody.
    Called {
        /// Names the call within its run.
        call: u64,
        /// Whom.
        endpoint: Endpoint,
        /// The request.
        body: Bytes,
    },
    /// The server learnt what became of its call.
    Replied {
        /// Which.
        call: u64,
        /// What.
        result: Result<HttpReply, CallError>,
    },
    /// The server heard of a node's new tip unasked.
    Noticed {
        /// The node's place in its settings.
        node: usize,
        /// The tip, as headers hash.
        tip: [u8; 32],
    },
    /// The server no longer waits for a call.
    Cancelled {
        /// Which.
        call: u64,
    },
    /// The server wants this written.
    Writes {
        /// Names the write within its run.
        write: u64,
        /// What.
        op: DiskOp,
    },
    /// The server learnt that the write is safe.
    Persisted {
        /// Which.
        write: u64,
    },
    /// The server learnt that the write failed.
    NotPersisted {
        /// Which.
        write: u64,
        /// Why, and whether it can be asked for again.
        error: WriteError,
    },
    /// Everything that one event led to was done.
    Done,
    /// The clock woke the server.
    Woken {
        /// What for.
        why: String,
    },
    /// Something happened on the chain.
    Chain(WorldEvent),
    /// Something happened at the second node.
    Second(SecondEvent),
    /// A miner's own client makes no sense of what it was sent.
    Complaint {
        /// Its number in the plan.
        miner: u64,
        /// What it says.
        what: String,
    },
    /// An item of the plan begins, or ends.
    Item {
        /// Its place in the plan.
        place: usize,
        /// Whether it begins.
        begins: bool,
        /// What it is.
        what: String,
    },
    /// Another phase begins.
    Phase(Phase),
}
