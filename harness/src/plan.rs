//! Everything a simulated run does, as data: a seed makes a plan, a plan makes a run.
//!
//! Plans are kept as JSON, because a found bug must stay found when the generator changes: seeds
//! are for finding, plans for keeping. Every fault is an item of its own, so that a failing plan
//! can be made smaller by leaving items out. Not in here: how a plan comes from a seed
//! (`plan/swarm.rs`) and what happens when it runs (`sim/world.rs`).

pub mod draw;
mod fault;
mod habit;
mod limits;
mod pace;
mod swarm;

use serde::{Deserialize, Serialize};

pub use fault::{DaemonFault, DiskFault, NodeFault, Poison};
pub use habit::Habit;
pub use limits::LimitsPlan;
pub use pace::{Ask, VardiffPlan, difficulty};
pub use swarm::Families;

/// A run.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Plan {
    /// What this plan is kept for; empty for one that was just made.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// Where small draws come from: latencies, nonces, pieces.
    pub seed: u64,
    /// How long things go wrong, in milliseconds. Then all is mended, and liveness is judged.
    pub horizon_ms: u64,
    /// The server and the chain that it mines on.
    pub server: ServerPlan,
    /// How far apart everybody is.
    pub network: NetworkPlan,
    /// The miners.
    pub miners: Vec<MinerPlan>,
    /// What happens, and when.
    pub items: Vec<Item>,
    /// Where the process dies, whatever the items say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub death: Option<Death>,
}

/// A death at a place in the run and not at a time: between two things that the process does.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Death {
    /// The moment: each event that the process is handed is one, and each action that is performed
    /// for it. It dies when it has done so much.
    pub moment: u64,
    /// Milliseconds until it is started again.
    pub ms: u64,
}

/// How the server is set up.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ServerPlan {
    /// Hashes that a share takes, on average; with vardiff, at first.
    pub share_hashes: u64,
    /// Shares that a block takes, on average.
    pub block_shares: u64,
    /// `JOB_REFRESH_INTERVAL`.
    pub refresh_ms: u64,
    /// `BMM_BLIND`.
    pub blind: bool,
    /// Whether the templates are an enforcer's, with a coinbase in them.
    pub enforcer: bool,
    /// Sidechains with a daemon of our own: the slot, and whether a silent daemon is zeroed or
    /// skipped.
    pub daemons: Vec<DaemonPlan>,
    /// How difficulty follows each miner's pace; without, it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vardiff: Option<VardiffPlan>,
    /// `EMPTY_FIRST`.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub empty_first: bool,
    /// What the nodes publish, where they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notices: Option<NoticesPlan>,
    /// A second node, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<SecondPlan>,
    /// The server's limits.
    pub limits: LimitsPlan,
}

impl ServerPlan {
    /// The settings as an operator may change them between two runs, and back again: as
    /// [`Self::reconfigured`], and shares are half as hard or twice.
    #[must_use]
    pub fn changed(&self) -> Self {
        let share_hashes = if self.refresh_ms.is_multiple_of(2) {
            self.share_hashes * 2
        } else {
            self.share_hashes.div_ceil(2)
        };
        Self { share_hashes, ..self.reconfigured() }
    }

    /// The settings as an operator may change them under a server that runs, and back again: bids
    /// are taken or not, jobs come twice or half as often, a coinbase alone comes first or not.
    #[must_use]
    pub fn reconfigured(&self) -> Self {
        let refresh_ms = if self.refresh_ms.is_multiple_of(2) {
            self.refresh_ms / 2 + 1
        } else {
            (self.refresh_ms - 1).max(1) * 2
        };
        let (blind, empty_first) = (!self.blind, !self.empty_first);
        Self { refresh_ms, blind, empty_first, ..self.clone() }
    }
}

/// Notices of new tips, unasked (ZMQ).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct NoticesPlan {
    /// How long one takes at most, in microseconds.
    pub delay_us: u64,
    /// Of a thousand, so many are lost.
    pub lost: u64,
}

/// A second node: a plain one, whatever the first is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SecondPlan {
    /// How long a block takes from one node to the other.
    pub delay_ms: u64,
    /// Whether it is only handed blocks.
    pub submit_only: bool,
}

/// One sidechain with a daemon of our own.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct DaemonPlan {
    /// Its slot.
    pub slot: u8,
    /// Whether a zeroed h\* stands in for one that does not answer.
    pub zero: bool,
}

/// How far apart everybody is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct NetworkPlan {
    /// Least one-way latency, in microseconds.
    pub latency_us: u64,
    /// What is drawn on top for each piece, at most.
    pub jitter_us: u64,
    /// Of a thousand pieces, so many are cut in two.
    pub cuts: u64,
    /// Least time for a call's way there, and as much back.
    pub call_us: u64,
    /// What is drawn on top for each way, at most: replies overtake one another.
    pub call_jitter_us: u64,
}

/// One miner.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct MinerPlan {
    /// Its number: what its draws are keyed by.
    pub id: u64,
    /// What it does beside mining.
    pub habit: Habit,
    /// Milliseconds that [`ServerPlan::share_hashes`] take it.
    pub share_ms: u64,
    /// When it first connects.
    pub joins_ms: u64,
    /// Whether it rolls version bits.
    pub rolls: bool,
    /// The real firmware whose habits it has; simminer's own when none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// What it asks of the server's vardiff.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asks: Option<Ask>,
}

/// Something that happens.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Item {
    /// When, in milliseconds.
    pub at_ms: u64,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What can happen. Times are in milliseconds.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum What {
    /// A miner's connection breaks.
    Reset {
        /// Whose.
        miner: u64,
    },
    /// A miner closes its sending half; what is on its way to it still arrives.
    HalfClose {
        /// Whose.
        miner: u64,
    },
    /// Bytes stand still.
    Stall {
        /// Whose.
        miner: u64,
        /// Towards the server.
        up: bool,
        /// Towards the miner.
        down: bool,
        /// For how long.
        ms: u64,
    },
    /// A miner's bytes arrive one by one.
    Trickle {
        /// Whose.
        miner: u64,
        /// For how long.
        ms: u64,
    },
    /// Nothing passes between the miners and the server.
    Partition {
        /// For how long.
        ms: u64,
    },
    /// All connections break at once, and everybody comes back at once.
    Storm,
    /// All connections stand still, then run again one by one in any order.
    Swizzle {
        /// From the first to stop to the last to run.
        ms: u64,
    },
    /// Calls to the node go wrong.
    Node {
        /// How.
        fault: NodeFault,
        /// For how long.
        ms: u64,
    },
    /// Calls to the second node go wrong.
    Second {
        /// How.
        fault: NodeFault,
        /// For how long.
        ms: u64,
    },
    /// The nodes do not hear of each other's blocks.
    Split {
        /// For how long.
        ms: u64,
    },
    /// A rival mines on the tip.
    Rival,
    /// A rival mines on the second node's tip, and that is where the block is known first.
    SecondRival,
    /// Rivals mine a longer branch.
    Reorg {
        /// Blocks that leave the chain.
        depth: u32,
    },
    /// The tip is exchanged for one of the same height, and back again.
    Flip {
        /// Between there and back.
        ms: u64,
    },
    /// The last block that the server mined is declared invalid, if it is the tip.
    Invalidate,
    /// Templates build on the old tip for a moment after each new one.
    Lag {
        /// How long after.
        lag_ms: u64,
        /// For how long this goes on.
        ms: u64,
    },
    /// Transactions enter the mempool.
    Pay {
        /// How many.
        count: u64,
    },
    /// The mempool forgets everything.
    Forget,
    /// A bid for a commitment enters the mempool.
    Bid {
        /// The sidechain's slot.
        slot: u8,
        /// What it pays, in satoshi.
        fee: u64,
        /// Whether it names a parent that is not the tip.
        expired: bool,
        /// Whether another transaction spends from it.
        child: bool,
    },
    /// A sidechain's daemon goes wrong.
    Daemon {
        /// Its slot.
        slot: u8,
        /// How.
        fault: DaemonFault,
        /// For how long.
        ms: u64,
    },
    /// A sidechain has another candidate for the same tip.
    Candidate {
        /// Its slot.
        slot: u8,
    },
    /// The enforcer's templates break the rules that it is there for.
    Poison {
        /// How.
        poison: Poison,
        /// For how long.
        ms: u64,
    },
    /// The server's wall clock is set.
    WallJump {
        /// By so much.
        seconds: i64,
    },
    /// The machine stands still; everything that comes in waits.
    Pause {
        /// For how long.
        ms: u64,
    },
    /// The disk goes wrong.
    Disk {
        /// How.
        fault: DiskFault,
        /// For how long.
        ms: u64,
    },
    /// One write fails: so many from now.
    FailWrite {
        /// 0 is the next.
        nth: u64,
    },
    /// The process dies, without a word, after it did so much of what it wanted.
    Crash {
        /// Actions that are still performed.
        actions: u64,
        /// Until it is started again.
        ms: u64,
    },
    /// The operator changes the settings of the server that runs; see
    /// [`ServerPlan::reconfigured`].
    Reconfigure,
    /// The operator stops the server and starts it again.
    Restart {
        /// In between.
        ms: u64,
        /// Whether he changes its settings meanwhile; see [`ServerPlan::changed`].
        #[serde(default, skip_serializing_if = "core::ops::Not::not")]
        changed: bool,
    },
}

/// What a fault belongs to; a run leaves out whole families.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Family {
    /// Between miners and server.
    Network,
    /// Calls to the node.
    Node,
    /// Blocks that are not ours.
    Chain,
    /// Bids, daemons, poisoned templates.
    Drivechain,
    /// Clocks.
    Clock,
    /// Writes.
    Disk,
    /// Crashes and restarts.
    Process,
    /// Miners that are not honest.
    Miners,
}

impl Family {
    /// All of them, with their names on the command line.
    pub const ALL: [(Self, &'static str); 8] = [
        (Self::Network, "network"),
        (Self::Node, "node"),
        (Self::Chain, "chain"),
        (Self::Drivechain, "drivechain"),
        (Self::Clock, "clock"),
        (Self::Disk, "disk"),
        (Self::Process, "process"),
        (Self::Miners, "miners"),
    ];
}

impl What {
    /// What it belongs to.
    pub const fn family(&self) -> Family {
        match self {
            Self::Reset { .. }
            | Self::HalfClose { .. }
            | Self::Stall { .. }
            | Self::Trickle { .. }
            | Self::Partition { .. }
            | Self::Storm
            | Self::Swizzle { .. } => Family::Network,
            Self::Node { .. } | Self::Second { .. } | Self::Split { .. } => Family::Node,
            Self::Rival
            | Self::SecondRival
            | Self::Reorg { .. }
            | Self::Flip { .. }
            | Self::Invalidate
            | Self::Lag { .. }
            | Self::Pay { .. }
            | Self::Forget => Family::Chain,
            Self::Bid { .. }
            | Self::Daemon { .. }
            | Self::Candidate { .. }
            | Self::Poison { .. } => Family::Drivechain,
            Self::WallJump { .. } | Self::Pause { .. } => Family::Clock,
            Self::Disk { .. } | Self::FailWrite { .. } => Family::Disk,
            Self::Crash { .. } | Self::Reconfigure | Self::Restart { .. } => Family::Process,
        }
    }
}

impl Plan {
    /// How many things can be left out of it.
    pub fn size(&self) -> usize {
        self.items.len() + self.miners.len()
    }

    /// The compact target of every block.
    pub fn bits(&self) -> u32 {
        let hashes = self.server.share_hashes.saturating_mul(self.server.block_shares).max(2);
        let mut target = [0xff; 32];
        target[..8].copy_from_slice(&(u64::MAX / hashes).to_be_bytes());
        bitcoin::Target::from_be_bytes(target).to_compact_lossy().to_consensus()
    }
}
