//! The server's limits, as far as a plan draws them.

use serde::{Deserialize, Serialize};

/// The limits that a plan draws; all others are the server's defaults.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LimitsPlan {
    /// Connections at a time.
    pub sessions: usize,
    /// Bytes on their way to a miner that does not read.
    pub outbox_bytes: usize,
    /// Lines that are no JSON.
    pub garbage_lines: u32,
    /// Longest line of a miner.
    pub line_bytes: usize,
    /// Worker names on one connection.
    pub workers: usize,
    /// Jobs of one tip.
    pub jobs_live: usize,
    /// Miners that are sent a new job before others have a turn.
    #[serde(default = "offers_at_once")]
    pub offers_at_once: usize,
    /// How long shares for a left tip count.
    pub grace_ms: u64,
    /// How long jobs of a left tip are kept.
    pub keep_stale_ms: u64,
    /// How long a job waits for h\*.
    pub commitment_wait_ms: u64,
    /// How long an ordinary call may take.
    pub call_patience_ms: u64,
    /// How long a long poll may be parked.
    pub long_poll_patience_ms: u64,
    /// How long `submitblock` may take.
    pub submit_patience_ms: u64,
    /// Longest pause before a failed call is made again.
    pub retry_pause_ms: u64,
    /// How long miners are kept at work on a tip that no node confirms.
    #[serde(default = "ten_minutes")]
    pub tip_age_ms: u64,
    /// How long a share waits to be written with others.
    #[serde(default = "journal_flush_ms")]
    pub journal_flush_ms: u64,
    /// Shares that are written without waiting for more.
    #[serde(default = "journal_batch")]
    pub journal_batch: usize,
    /// Shares that may be counted and not on disk.
    #[serde(default = "journal_waiting")]
    pub journal_waiting: usize,
}

const fn ten_minutes() -> u64 {
    600_000
}

/// As kept plans have it that do not say.
const fn journal_flush_ms() -> u64 {
    100
}

const fn offers_at_once() -> usize {
    64
}

const fn journal_batch() -> usize {
    4_096
}

const fn journal_waiting() -> usize {
    65_536
}
