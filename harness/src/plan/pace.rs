//! Who mines how hard: the server's vardiff, and what miners ask of it.

use serde::{Deserialize, Serialize};

/// How difficulty follows a miner's pace. Hashes are those that a share takes on average.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct VardiffPlan {
    /// The wished milliseconds between two shares.
    pub share_ms: u64,
    /// Shares are never easier.
    pub min_hashes: u64,
    /// Shares are never harder, where there is a bound.
    pub max_hashes: Option<u64>,
}

/// What a miner asks of the server's vardiff, in hashes to a share.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Ask {
    /// `mining.suggest_difficulty`: where to begin.
    Suggest {
        /// How hard.
        hashes: u64,
    },
    /// `d=` in the password: this and no other.
    Fix {
        /// How hard.
        hashes: u64,
    },
    /// `md=` in the password: no easier.
    Floor {
        /// How hard.
        hashes: u64,
    },
}

/// The difficulty at which a share takes so many hashes, as the operator would write it:
/// `hashes / 2^32`, exactly enough.
pub fn difficulty(hashes: u64) -> String {
    let scaled = u128::from(hashes) * 100_000_000_000_000_000_000;
    format!("{}e-20", scaled >> 32)
}
