//! What the pool wants done.

use core::fmt;
use core::time::Duration;

use bytes::Bytes;

use super::event::ConnId;
use crate::journal::DiskOp;

/// One call; never used twice in a run.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct CallId(pub u64);

/// One write; never used twice in a run.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct WriteId(pub u64);

/// Whom a call goes to.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Endpoint {
    /// The node at this place of the configuration.
    Node(usize),
    /// The daemon of the configured sidechain at this place.
    Sidechain(usize),
}

/// Why a connection is closed by us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CloseReason {
    /// As many connections as allowed are open.
    TooManyConnections,
    /// A line without an end.
    LineTooLong,
    /// Lines that are no JSON-RPC.
    Garbage,
    /// It does not read what it is sent.
    SlowReader,
    /// Too many replies wait for blocks to be safe.
    TooManyReplies,
    /// As many connections as allowed are open from its address.
    AddressFull,
    /// It did not subscribe and authorize in time.
    Handshake,
    /// It said nothing for too long.
    Idle,
    /// Its shares are refused, whatever is done.
    Rejects,
    /// Its firmware cannot hold the coinbase.
    CoinbaseTooLarge,
    /// The server stops.
    Stopping,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::TooManyConnections => "as many connections as allowed are open",
            Self::LineTooLong => "it sent a line without an end",
            Self::Garbage => "what it sends is not Stratum",
            Self::SlowReader => "it does not read what it is sent",
            Self::TooManyReplies => "it submits blocks faster than they can be kept",
            Self::AddressFull => "as many connections as allowed are open from its address",
            Self::Handshake => "it did not subscribe and authorize in time",
            Self::Idle => "it said nothing for too long",
            Self::Rejects => "its shares are refused, and fresh work did not help",
            Self::CoinbaseTooLarge => "its firmware cannot hold the coinbase",
            Self::Stopping => "the server stops",
        })
    }
}

/// Why the server ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Halt {
    /// As the operator wished.
    Stopped,
    /// It cannot go on: one sentence that says what happened and what to do.
    Fatal(String),
}

/// What the pool wants done. Actions are performed in order.
#[derive(Clone, Debug)]
pub enum Action {
    /// Let miners in from now on.
    Listen,
    /// Send these bytes.
    Send {
        /// To whom.
        conn: ConnId,
        /// What.
        bytes: Bytes,
    },
    /// Send what is left, then close. `Closed` follows.
    Close {
        /// Which connection.
        conn: ConnId,
        /// Why.
        why: CloseReason,
    },
    /// POST `body`, and bring back what comes.
    Call {
        /// Named so in the reply.
        call: CallId,
        /// Whom to.
        endpoint: Endpoint,
        /// A JSON-RPC request.
        body: Bytes,
        /// After this long the answer is a time-out.
        patience: Duration,
    },
    /// The answer to this call is no longer wanted, and will not be waited for.
    Cancel {
        /// Which.
        call: CallId,
    },
    /// Write, and report once it is safe.
    Persist {
        /// Named so in the report.
        write: WriteId,
        /// What.
        op: DiskOp,
    },
    /// End the process.
    Halt(Halt),
}

/// Why the pool wants to be woken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wake {
    /// A job is on its way to everybody, and some of them are next.
    SendJob,
    /// The node is to be asked.
    AskNode,
    /// Another node may be the one to follow.
    ChooseNode,
    /// No node confirmed the tip for too long.
    StopWork,
    /// A block is to be offered again.
    OfferBlock,
    /// An accepted block's standing is to be asked.
    ConfirmBlock,
    /// A sidechain's daemon is to be asked again.
    AskSidechain,
    /// A sidechain block is to be connected.
    ConnectBlock,
    /// A job waited long enough for its sidechains.
    PublishJob,
    /// The node is to be asked about a job's block.
    ProposeBlock,
    /// Counted shares are to be written.
    FlushJournal,
    /// Old jobs can be forgotten.
    RetireJobs,
    /// A miner's silence is to be looked at.
    LookAtMiner,
    /// The stop waited long enough.
    FinishStop,
}
