//! The one BIP-0009 deployment that regtest still runs: `testdummy`.
//!
//! It means nothing, but it moves the template's version bits (set from height 144 on), which is
//! why a server that gets version bits wrong is seen on regtest. Not in here: buried deployments.

use bitcoin::BlockHash;

use crate::sim::chain::Chain;

/// Blocks in which votes are counted together on regtest.
const PERIOD_BLOCKS: u32 = 144;

/// Votes in a period that lock the deployment in.
const THRESHOLD_BLOCKS: usize = 108;

/// The version bit of the deployment.
pub(crate) const TESTDUMMY_BIT: u8 = 28;

/// Where the deployment is for the next block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Deployment {
    Defined,
    Started,
    LockedIn,
    Active,
}

impl Deployment {
    /// The state for the block after the tip of the active chain.
    pub(crate) fn after(chain: &Chain) -> Self {
        let mut state = Self::Defined;
        for period in 1..=(chain.height() + 1) / PERIOD_BLOCKS {
            state = match state {
                Self::Started if votes(chain, period - 1) >= THRESHOLD_BLOCKS => Self::LockedIn,
                Self::Defined | Self::Started => Self::Started,
                Self::LockedIn | Self::Active => return Self::Active,
            };
        }
        state
    }

    /// The version of the next block.
    pub(crate) const fn version(self) -> i32 {
        match self {
            Self::Defined | Self::Active => 0x2000_0000,
            Self::Started | Self::LockedIn => 0x2000_0000 | 1 << TESTDUMMY_BIT,
        }
    }
}

fn votes(chain: &Chain, period: u32) -> usize {
    let heights = period * PERIOD_BLOCKS..(period + 1) * PERIOD_BLOCKS;
    let signals = |hash: BlockHash| {
        chain
            .entry(hash)
            .is_some_and(|entry| entry.header.version.is_signalling_soft_fork(TESTDUMMY_BIT))
    };
    heights.filter_map(|height| chain.active_hash(height)).filter(|hash| signals(*hash)).count()
}
