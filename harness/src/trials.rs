//! Trials of the real server at a real bitcoind: what must hold when it is killed, and when its
//! node answers badly.
//!
//! * [`kill9`]: the server's program is killed over and over while miners find blocks.
//! * [`faults`]: calls to the node go wrong on the way, one way after the other.
//!
//! Both are judged by bystanders: a [`witness`] on the miners' sockets ([`relay`]) who works out by
//! himself which shares are blocks, a [`proxy`] that sees what the node is handed, and the node's
//! own word on where blocks stand ([`chain`]). Not in here: the simulator, which looks at far more
//! cases and cannot know what a real node does.

pub mod chain;
pub mod command;
mod crew;
pub mod faults;
pub mod kill9;
pub mod proxy;
pub mod relay;
mod shelves;
pub mod witness;

use std::io;

use crate::containers::ContainerError;
use crate::rpc::RpcFailure;
use crate::stack::StackError;
use crate::stack::process::ProcessError;

/// Why a trial came to no verdict.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// No node.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// The node does not answer those who judge.
    #[error(transparent)]
    Rpc(#[from] RpcFailure),
    /// No server.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// No server in this process.
    #[error(transparent)]
    Stack(#[from] StackError),
    /// The machine has no port, folder or file for it.
    #[error("cannot {action}: {cause}")]
    Machine {
        /// What was to be done.
        action: &'static str,
        /// What the system said.
        cause: io::Error,
    },
    /// What had to come did not.
    #[error("waited {seconds} s for {what}; the server's last lines: {log}")]
    Stuck {
        /// For what.
        what: String,
        /// How long.
        seconds: u64,
        /// The end of the server's log, where there is one.
        log: String,
    },
    /// A part of the trial itself broke down.
    #[error("a case of the trial panicked: {0}")]
    Panicked(#[from] tokio::task::JoinError),
}

fn machine(action: &'static str) -> impl FnOnce(io::Error) -> TrialError {
    move |cause| TrialError::Machine { action, cause }
}
