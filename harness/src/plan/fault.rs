//! How nodes, daemons, templates and disks go wrong, as a plan says it.

use serde::{Deserialize, Serialize};

/// How calls to the node go wrong.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeFault {
    /// No connection.
    Refused,
    /// The call is lost: no effect, no answer.
    Lost,
    /// The call has its effect, the answer is lost.
    ReplyLost,
    /// The call has its effect, then the connection breaks.
    ReplyBroken,
    /// HTTP 500 and no JSON.
    Http500,
    /// HTTP 503: the work queue is full.
    Http503,
    /// HTTP 200 and a web page.
    Html,
    /// Half of the answer.
    Truncated,
    /// Far more than was asked for.
    Huge,
    /// Error -10.
    InitialSync,
    /// Error -28.
    WarmingUp,
    /// Answers take seconds.
    Slow,
    /// Long polls are never answered.
    PollSilent,
    /// Long polls are answered at once, with the same.
    PollSame,
    /// HTTP 401, once the server was let in before.
    Unauthorized,
    /// Blocks that are proposed would not be taken, whatever is in them.
    ProposalRefused,
}

impl NodeFault {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Refused,
        Self::Lost,
        Self::ReplyLost,
        Self::ReplyBroken,
        Self::Http500,
        Self::Http503,
        Self::Html,
        Self::Truncated,
        Self::Huge,
        Self::InitialSync,
        Self::WarmingUp,
        Self::Slow,
        Self::PollSilent,
        Self::PollSame,
        Self::Unauthorized,
        Self::ProposalRefused,
    ];
}

/// How a sidechain's daemon goes wrong.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DaemonFault {
    /// No connection.
    Down,
    /// Answers take longer than a job waits.
    Slow,
    /// Answers are no h\*.
    Nonsense,
}

/// How templates break BIP-0301.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Poison {
    /// A bid without its commitment.
    BidWithoutCommitment,
    /// Two commitments for one slot.
    TwoCommitments,
    /// The witness commitment is not that of the transactions.
    WrongWitnessCommitment,
}

/// How the disk goes wrong.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskFault {
    /// Writes take seconds.
    Slow,
    /// Writes fail: no room.
    Full,
    /// Writes fail at their sync.
    SyncFails,
    /// Writes do not end.
    Hangs,
}
