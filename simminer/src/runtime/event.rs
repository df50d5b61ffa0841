//! What a running miner tells whoever started it.
//!
//! Why not only `client`'s events: a connection comes and goes around a session, and submissions
//! are the engine's doing.

use std::sync::Arc;

use serde::Serialize;

use crate::client::{Refusal, Share};
use crate::target::Difficulty;
use crate::work::Job;

/// Something that happened, in the order it happened.
#[derive(Clone, Debug, PartialEq)]
pub enum MinerEvent {
    /// A connection was made.
    Connected,
    /// The server took the subscription.
    Subscribed {
        /// The server's part of the extranonce.
        extranonce1: Vec<u8>,
        /// Bytes of the miner's part.
        extranonce2_size: usize,
    },
    /// The server took user and password.
    Authorized,
    /// Bits of the version that may be rolled from now on.
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
    /// A job came: every field of its `mining.notify`.
    Job {
        /// The job, decoded.
        job: Arc<Job>,
        /// The difficulty its shares must meet.
        difficulty: Difficulty,
    },
    /// A share was sent.
    Submitted(Share),
    /// The server took a share.
    Accepted(Share),
    /// The server refused a share.
    Rejected {
        /// The share.
        share: Share,
        /// Stratum's code, if one came.
        code: Option<i64>,
        /// The reason given.
        message: String,
    },
    /// The server refused something that mining does not depend on.
    OptionRefused {
        /// The method that was refused.
        method: &'static str,
        /// Its reason.
        refusal: Refusal,
    },
    /// Words of the server for the person at the screen.
    Message(String),
    /// The server sent what makes no sense, or at the wrong time.
    Complaint(String),
    /// Once a second: how it goes.
    Rate {
        /// Hashes a second since the last report.
        hashrate: f64,
        /// Shares accepted so far.
        accepted: u64,
        /// Shares rejected so far.
        rejected: u64,
        /// Accepted shares that met the network target so far.
        blocks: u64,
    },
    /// The connection ended, or never came about.
    Disconnected {
        /// What ended it.
        why: String,
    },
}

/// What a miner did, from start to end.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Shares the server took.
    pub accepted: u64,
    /// Shares the server refused.
    pub rejected: u64,
    /// Accepted shares whose hash met the job's network target.
    pub blocks: u64,
    /// Shares sent whose answer never came.
    pub unanswered: u64,
    /// Shares found but not sent, because their job had been voided by then.
    pub stale: u64,
    /// Hashes computed.
    pub hashes: u64,
    /// Seconds from start to end.
    pub seconds: f64,
    /// Hashes a second over that time.
    pub hashrate: f64,
    /// Connections made after the first.
    pub reconnects: u64,
    /// What last went wrong: a lost connection, a rejected share, a strange line.
    pub last_error: Option<String>,
    /// Events that found their channel full.
    pub events_dropped: u64,
}

impl Summary {
    /// Sets the time that passed, and the rate that follows from it.
    pub(super) fn set_time(&mut self, seconds: f64) {
        self.seconds = seconds;
        self.hashrate = rate(self.hashes, seconds);
    }
}

/// Hashes a second, for people: zero when no time has passed.
pub(super) fn rate(hashes: u64, seconds: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "shown, never compared")]
    let hashes = hashes as f64;
    if seconds > 0.0 { hashes / seconds } else { 0.0 }
}
