//! What the core is told once, and the limits it keeps.
//!
//! Everything here passed its checks: texts and files are `settings`' business.

use core::time::Duration;

use bitcoin::{Network, ScriptBuf};

use crate::bmm::Slot;
use crate::bmm::auction::Mode;
use crate::bmm::message::BmmHeader;
use crate::bmm::wishes::Wishes;
use crate::mining::difficulty::Difficulty;

/// What the core is told once.
#[derive(Clone, Debug)]
pub struct Config {
    /// The chain that the node must be on.
    pub network: Network,
    /// The nodes, the preferred one first and to be followed. A node's place in this list is its
    /// endpoint's number.
    pub nodes: Vec<NodeRole>,
    /// Where the coinbase pays to.
    pub payout: ScriptBuf,
    /// What miners are given, eased to the network's own difficulty where that is lower.
    pub difficulty: Difficulty,
    /// How often a fresh template is asked for, and with it a fresh job sent.
    pub refresh: Duration,
    /// Whether bids in the template are taken (`BMM_BLIND`).
    pub blind: Mode,
    /// Whether miners get a coinbase alone on a new tip, until its template is there
    /// (`EMPTY_FIRST`).
    pub empty_first: bool,
    /// Sidechain daemons of our own. Their place in this list is their endpoint's number.
    pub sidechains: Vec<OwnSidechain>,
    /// What the coinbase should say of sidechains beside commitments.
    pub wishes: Wishes,
    /// What miners are offered beyond that.
    pub miners: Miners,
    /// Which of several pools of one server this is.
    pub engine: Engine,
    /// The bounds on everything that could grow.
    pub limits: Limits,
}

impl Config {
    /// Takes over what may change while the server runs: the payout, bids, wishes, the refresh,
    /// what comes first on a new tip, the age of a tip, the difficulties of each port. What else
    /// differs in `newer` needs another start, and is left as it is.
    pub fn take_terms(&mut self, newer: Self) {
        self.payout = newer.payout;
        self.difficulty = newer.difficulty;
        self.refresh = newer.refresh;
        self.blind = newer.blind;
        self.empty_first = newer.empty_first;
        self.wishes = newer.wishes;
        self.limits.tip_age = newer.limits.tip_age;
        for (port, newer) in self.miners.ports.iter_mut().zip(newer.miners.ports) {
            *port = newer;
        }
    }

    /// What whoever comes through this port is offered.
    pub fn port(&self, port: PortId) -> PortRules {
        let rules = self.miners.ports.get(port.0).copied();
        rules.unwrap_or(PortRules { difficulty: self.difficulty, vardiff: None })
    }
}

/// One of the pools that share a server. Each searches a part of the space that no other does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Engine {
    /// Its number, from 0.
    pub number: u32,
    /// How many there are, at least one.
    pub of: u32,
}

impl Engine {
    /// The only one.
    pub const ONLY: Self = Self { number: 0, of: 1 };
}

/// What a node is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NodeRole {
    /// Its templates are mined on, when no node before it in the list is well.
    Follow,
    /// It is handed found blocks and asked what became of them, and nothing else.
    SubmitOnly,
}

/// The place of a port in the settings; the first is that of `STRATUM_PORT`.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct PortId(pub usize);

/// What miners are offered.
#[derive(Clone, Debug, Default)]
pub struct Miners {
    /// Rules of each port, by [`PortId`]; a port without has [`Config::difficulty`] and no other.
    pub ports: Vec<PortRules>,
    /// Whether each miner is paid by his own blocks, to the address that is his user name.
    pub solo: Option<Solo>,
}

/// The difficulties of one port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PortRules {
    /// What a miner starts with. Bounds that leave it out are widened to it.
    pub difficulty: Difficulty,
    /// How it follows the miner's pace; none keeps it as it is.
    pub vardiff: Option<VardiffRules>,
}

/// How difficulty follows a miner's pace.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct VardiffRules {
    /// The wished time between two shares.
    pub share_interval: Duration,
    /// Never easier than this, but for the network's own.
    pub min: Difficulty,
    /// Never harder than this.
    pub max: Option<Difficulty>,
}

/// Each miner for himself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Solo {
    /// The operator's part of each block, in hundredths of a percent.
    pub fee_basis_points: u16,
}

/// A sidechain whose daemon we ask for h\* ourselves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OwnSidechain {
    /// Its slot.
    pub slot: Slot,
    /// How its daemon is asked.
    pub kind: SidechainKind,
    /// Four bytes that start the commitment.
    pub header: BmmHeader,
    /// What to do when its daemon does not answer.
    pub fallback: Fallback,
    /// The larger number wins a slot that two of our own sidechains want.
    pub priority: u32,
}

impl OwnSidechain {
    /// A sidechain with nothing unusual about it: `getbestblockhash`, a BIP-0301 M7, zeroed without
    /// an answer.
    pub const fn new(slot: Slot) -> Self {
        let (kind, header, fallback) = (SidechainKind::BestBlock, BmmHeader::M7, Fallback::Zero);
        Self { slot, kind, header, fallback, priority: 0 }
    }
}

/// How a sidechain's daemon says what to commit to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SidechainKind {
    /// `getbestblockhash` gives h\*.
    BestBlock,
    /// `get_block_template` gives h\* and its block, and `connect_block` takes the block back.
    Thunder,
}

/// What is committed for a slot whose daemon does not answer (`BMM_FALLBACK`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fallback {
    /// An h\* of 32 zero bytes: the output is there, and commits to nothing.
    Zero,
    /// No output for the slot.
    Skip,
}

/// The bounds on everything that could grow, and the times everything may take. A name ends in
/// its unit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Longest line a miner may send.
    pub line_bytes: usize,
    /// Lines that are no JSON-RPC request, until the connection is closed.
    pub garbage_lines: u32,
    /// Bytes on their way to a miner that does not read, until it is cut off.
    pub outbox_bytes: usize,
    /// Connections at a time.
    pub sessions: usize,
    /// Connections from one address at a time, of IPv6 from one /64; loopback, where proxies of the
    /// operator's own are, is not counted. Rented rigs come through few addresses, so it is
    /// generous.
    pub sessions_per_address: usize,
    /// How long a connection may take to subscribe and authorize.
    pub handshake: Duration,
    /// How long a miner may say nothing. Long, for a slow one has nothing to say.
    pub idle: Duration,
    /// How long a miner is left without a line of work, even if there is nothing new: the most
    /// impatient firmware takes 90 s of silence for a dead pool.
    pub work_silence: Duration,
    /// Shares refused in a row until the work is sent again.
    pub rejects_resend: u32,
    /// Shares refused in a row until the miner is asked to connect again.
    pub rejects_reconnect: u32,
    /// Shares refused in a row until the connection is closed.
    pub rejects_close: u32,
    /// Ended sessions that are kept for miners that come back.
    pub sessions_kept: usize,
    /// Worker names on one connection.
    pub workers: usize,
    /// Longest worker name.
    pub worker_bytes: usize,
    /// Jobs of one tip.
    pub jobs_live: usize,
    /// Miners that are sent a new job before others have a turn. Whoever has something to say
    /// meanwhile, a block perhaps, waits for no more of them.
    pub offers_at_once: usize,
    /// Shares remembered against duplicates.
    pub shares_seen: usize,
    /// Replies on one connection that wait for a block to be safe.
    pub replies_parked: usize,
    /// How long a share waits for others, to be written to the share log with them.
    pub journal_flush: Duration,
    /// Shares that are written without waiting for more.
    pub journal_batch: usize,
    /// Shares that are counted and not on disk, until none is counted any more.
    pub journal_waiting: usize,
    /// How long shares for a left tip are credited.
    pub grace: Duration,
    /// How long jobs of a left tip are kept for late blocks.
    pub keep_stale: Duration,
    /// How far `ntime` may run ahead of our clock (consensus: two hours ahead of the node's).
    pub ntime_ahead_seconds: u32,
    /// How long a new job waits for its sidechains' h\*.
    pub commitment_wait: Duration,
    /// How long an ordinary call may take.
    pub call_patience: Duration,
    /// How long the node may park a long poll before it is asked anew.
    pub long_poll_patience: Duration,
    /// How long `submitblock` may take. Single calls of 5.7 s were seen on healthy nodes.
    pub submit_patience: Duration,
    /// Longest pause before a failed call is made again.
    pub retry_pause: Duration,
    /// How long miners are kept at work on a tip that no node confirms. Other pools have work on a
    /// living one, and firmware goes there when this one falls silent.
    pub tip_age: Duration,
    /// How long a stop waits for found blocks that the node has not answered for.
    pub stop_patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line_bytes: 16 * 1024,
            garbage_lines: 5,
            outbox_bytes: 256 * 1024,
            sessions: 20_000,
            sessions_per_address: 4_096,
            handshake: Duration::from_mins(1),
            idle: Duration::from_hours(1),
            work_silence: Duration::from_secs(50),
            rejects_resend: 32,
            rejects_reconnect: 128,
            rejects_close: 512,
            sessions_kept: 20_000,
            workers: 64,
            worker_bytes: 256,
            jobs_live: 1_024,
            offers_at_once: 64,
            shares_seen: 1_000_000,
            replies_parked: 1_024,
            journal_flush: Duration::from_millis(100),
            journal_batch: 4_096,
            journal_waiting: 65_536,
            grace: Duration::from_secs(5),
            keep_stale: Duration::from_mins(10),
            ntime_ahead_seconds: 7_000,
            commitment_wait: Duration::from_millis(250),
            call_patience: Duration::from_secs(10),
            long_poll_patience: Duration::from_secs(90),
            submit_patience: Duration::from_secs(30),
            retry_pause: Duration::from_millis(500),
            tip_age: Duration::from_mins(10),
            stop_patience: Duration::from_secs(10),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// One plain node on regtest, and nothing unusual.
    pub(crate) fn config() -> Config {
        Config {
            network: Network::Regtest,
            nodes: vec![NodeRole::Follow],
            payout: ScriptBuf::from_bytes(vec![0x51]),
            difficulty: Difficulty::ONE,
            refresh: Duration::from_secs(10),
            blind: Mode::On,
            empty_first: false,
            sidechains: Vec::new(),
            wishes: Wishes::default(),
            miners: Miners::default(),
            engine: Engine::ONLY,
            limits: Limits::default(),
        }
    }
}
