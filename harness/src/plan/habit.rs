//! What kinds of miners there are: the honest one, and what each other kind does beside mining.
//!
//! Not in here: how they do it (`sim/miner/habits.rs`).

use serde::{Deserialize, Serialize};

/// What kind of miner it is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Habit {
    /// Keeps to the protocol.
    Honest,
    /// Sends several shares in one write.
    Bursty,
    /// Submits work that a clean job has voided.
    Late,
    /// Sends every share twice, in other spellings.
    Duplicating,
    /// Sends its old shares again on a new connection.
    Replaying,
    /// Submits hashes that are no shares.
    LowDifficulty,
    /// Submits fields of the wrong form.
    Malformed,
    /// Rolls version bits that it may not.
    ForeignBits,
    /// Rolls the time beyond the rules.
    TimeRolling,
    /// Upper case, short numbers, one socket for many workers.
    Sloppy,
    /// Subscribes twice, submits before it authorizes.
    Impatient,
    /// Lines without end.
    Endless,
    /// JSON that nests without end.
    Deep,
    /// Bytes that are no text.
    Binary,
    /// Never reads.
    Deaf,
    /// Connects and says nothing.
    Silent,
    /// Leaves and comes back all the time.
    Flapping,
    /// Submits for jobs that it was never sent.
    Foreign,
}

impl Habit {
    /// Every habit but the honest one.
    pub const ODD: [Self; 17] = [
        Self::Bursty,
        Self::Late,
        Self::Duplicating,
        Self::Replaying,
        Self::LowDifficulty,
        Self::Malformed,
        Self::ForeignBits,
        Self::TimeRolling,
        Self::Sloppy,
        Self::Impatient,
        Self::Endless,
        Self::Deep,
        Self::Binary,
        Self::Deaf,
        Self::Silent,
        Self::Flapping,
        Self::Foreign,
    ];

    /// Whether nothing that it does is a reason to cut it off or to leave it without work.
    pub const fn is_served(self) -> bool {
        !matches!(
            self,
            Self::Endless | Self::Deep | Self::Binary | Self::Deaf | Self::Silent | Self::Flapping
        )
    }
}
