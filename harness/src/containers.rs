//! Ring 3: real programs in containers, for the length of a test.
//!
//! What the simulator believes of a node is judged here by a node. Containers are created from
//! local images only (no image registry has to be in reach), publish their ports on loopback only,
//! and are removed when the value that stands for them is dropped, a panic included.
//!
//! Not here: scenarios. A container knows how to start, answer, fall over and go away.

pub mod bitcoind;
pub mod image;

pub use bitcoind::{AddressKind, Bitcoind, BitcoindOptions, RPC_PASSWORD, RPC_USER, Wallet};
pub use image::{Policy, policy, require, wanted};

use crate::rpc::RpcFailure;

/// Why there is no container to work with. Every text is one line that says what to do, and
/// `Debug` gives the same, because a test that unwraps shows that.
#[derive(thiserror::Error)]
pub enum ContainerError {
    /// `HARNESS_CONTAINERS` has a value that means nothing.
    #[error("HARNESS_CONTAINERS is {0:?}: say on (the default) or off")]
    Policy(String),
    /// No Docker daemon answers.
    #[error(
        "no Docker daemon answers ({0}): run ci/setup, which installs and starts one, or set \
         HARNESS_CONTAINERS=off to leave the container tests out"
    )]
    NoDaemon(String),
    /// The daemon answers, the image is not there.
    #[error(
        "Docker has no image {0}: run ci/images/bitcoind, which builds the default one, or name \
         one that is there with BITCOIND_IMAGE"
    )]
    NoImage(String),
    /// The daemon could not do what it was asked.
    #[error("Docker failed to {action}: {cause}")]
    Docker {
        /// What it was asked to do.
        action: &'static str,
        /// What it said.
        cause: String,
    },
    /// The program in the container ended before it was ready.
    #[error("{program} ended before it was ready; its last lines: {log}")]
    Ended {
        /// Which program.
        program: &'static str,
        /// The end of its log.
        log: String,
    },
    /// The program in the container runs, but never became ready.
    #[error("{program} did not answer within {seconds} s ({failure}); its last lines: {log}")]
    NotReady {
        /// Which program.
        program: &'static str,
        /// How long it had.
        seconds: u64,
        /// How it failed to answer the last time it was asked.
        failure: Box<RpcFailure>,
        /// The end of its log.
        log: String,
    },
}

impl std::fmt::Debug for ContainerError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, formatter)
    }
}
