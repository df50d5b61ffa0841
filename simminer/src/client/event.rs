//! What a client tells its driver: shares and the events of a session.
//!
//! Why apart: these are the words that `runtime`, the simulator and their tests share; how they
//! come about is `client`'s business. What is not here: anything that happens outside of a session.

use std::sync::Arc;

use crate::client::Refusal;
use crate::target::Difficulty;
use crate::work::{BlockHash, Job};

/// A submission, as it was sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Share {
    /// The job's id.
    pub job_id: String,
    /// The server's part of the extranonce.
    pub extranonce1: Vec<u8>,
    /// The miner's part of the extranonce.
    pub extranonce2: Vec<u8>,
    /// Header time, seconds since 1970.
    pub time: u32,
    /// Header nonce.
    pub nonce: u32,
    /// Header version.
    pub version: u32,
    /// The rolled bits, when version rolling was granted.
    pub rolled_bits: Option<u32>,
    /// The header's hash.
    pub hash: BlockHash,
    /// Whether the hash meets the job's network target.
    pub meets_block: bool,
}

/// What happened in a session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// The server took the subscription.
    Subscribed {
        /// The server's part of the extranonce.
        extranonce1: Vec<u8>,
        /// Bytes of the miner's part.
        extranonce2_size: usize,
    },
    /// The server refused the subscription: there is nothing to mine here.
    SubscribeRefused(Refusal),
    /// The server took user and password.
    Authorized,
    /// The server refused user or password.
    AuthorizeRefused(Refusal),
    /// The server refused something that mining does not depend on.
    OptionRefused {
        /// The method that was refused.
        method: &'static str,
        /// Its reason.
        refusal: Refusal,
    },
    /// Bits of the version that may be rolled from now on; work of another mask is void.
    VersionMask(u32),
    /// The difficulty of the jobs to come.
    Difficulty(Difficulty),
    /// The extranonce of the jobs to come.
    Extranonce {
        /// The server's part of the extranonce.
        extranonce1: Vec<u8>,
        /// Bytes of the miner's part.
        extranonce2_size: usize,
    },
    /// A job; from now on work is for this one.
    Job {
        /// The job.
        job: Arc<Job>,
        /// The difficulty its shares must meet.
        difficulty: Difficulty,
    },
    /// The server took a share.
    Accepted(Share),
    /// The server refused a share.
    Rejected(Share, Refusal),
    /// The server asks for a new connection.
    Reconnect {
        /// Where to; `None` or empty is where we are.
        host: Option<String>,
        /// Which port; `None` is the one we use.
        port: Option<u16>,
        /// Seconds to wait first.
        wait_seconds: u64,
    },
    /// Words for the person at the screen.
    Message(String),
    /// The server sent what makes no sense, or at the wrong time.
    Complaint(String),
    /// The connection is beyond use and must be closed.
    Close(String),
}

/// Why a share was not sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotSent {
    /// Its job was voided, or its connection is gone, or its version bits are no longer allowed.
    #[error("the job is no longer valid")]
    Stale,
    /// As many submissions wait for an answer as the persona allows.
    #[error("too many submissions wait for an answer")]
    TooManyUnanswered,
}
