//! Every way to say no to a miner, each with its Stratum error code.
//!
//! The codes are slush's: 20 other, 21 job not found, 22 duplicate, 23 low difficulty, 24 not
//! authorized, 25 not subscribed.

use crate::mining::address::AddressError;

/// Why a request was refused. The miner's fault, or nobody's; never a reason to close by itself.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Reject {
    /// Not a JSON-RPC request.
    #[error("Not a JSON request: one object with id, method and params a line")]
    Malformed,
    /// A method that this server does not have.
    #[error("Unknown method")]
    UnknownMethod,
    /// A parameter is missing or of the wrong kind.
    #[error("Bad parameter: {0}")]
    BadParameter(&'static str),
    /// The version bits go beyond what was negotiated (BIP-0310).
    #[error("Version bits outside the mask {mask:08x}")]
    VersionBits {
        /// What the session may roll.
        mask: u32,
    },
    /// The header's time is before consensus allows, or too far ahead.
    #[error("ntime out of range")]
    TimeOutOfRange,
    /// Too many shares to remember, so that no duplicate could be told.
    #[error("Too many shares in too short a time: ask for a higher difficulty")]
    TooManyShares,
    /// The share log has no room for it: what cannot be kept is not counted.
    #[error("The server cannot write down any more shares for now; blocks still count")]
    NotRecorded,
    /// The user name is longer than a record may hold.
    #[error("The user name is longer than {most} bytes")]
    NameTooLong {
        /// Bytes that it may have.
        most: usize,
    },
    /// Nobody can be paid by the user name.
    #[error("The user name {0}")]
    Payee(AddressError),
    /// Another address than the connection mines for.
    #[error("One address a connection: connect anew to mine for another")]
    OtherPayee,
    /// The job's transactions are more than a line should hold.
    #[error("The transactions of this job are too many to send")]
    TooManyTransactions,
    /// More worker names than one connection may have.
    #[error("Too many workers on one connection")]
    TooManyWorkers,
    /// No such job, or its tip is gone.
    #[error("Job not found (stale)")]
    JobNotFound,
    /// The same header was counted before.
    #[error("Duplicate share")]
    Duplicate,
    /// The hash is above the target announced with the job.
    #[error("Above target (low difficulty share)")]
    LowDifficulty,
    /// The worker did not authorize on this connection.
    #[error("Unauthorized worker: send mining.authorize first")]
    Unauthorized,
    /// The connection did not subscribe.
    #[error("Not subscribed: send mining.subscribe first")]
    NotSubscribed,
}

impl Reject {
    /// The code of the reply's error.
    pub const fn code(&self) -> u8 {
        match self {
            Self::Malformed
            | Self::UnknownMethod
            | Self::BadParameter(_)
            | Self::VersionBits { .. }
            | Self::TimeOutOfRange
            | Self::TooManyShares
            | Self::NotRecorded
            | Self::TooManyTransactions
            | Self::TooManyWorkers => 20,
            Self::JobNotFound => 21,
            Self::Duplicate => 22,
            Self::LowDifficulty => 23,
            Self::Unauthorized | Self::NameTooLong { .. } | Self::Payee(_) | Self::OtherPayee => 24,
            Self::NotSubscribed => 25,
        }
    }
}
