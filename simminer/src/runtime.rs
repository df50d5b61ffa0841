//! The miner as it runs: a socket, hashing threads, and [`run`] that holds them together.
//!
//! Why one inbox: the reader of the socket and the hashing threads send into one bounded queue
//! that a single engine empties, with one deadline beside it; so there is no shared state and no
//! race to reason about. **Invariant:** this is the only module that reads a clock or a socket,
//! and it holds no rule of the protocol (`client`).

mod bench;
mod connection;
mod crew;
mod endpoint;
mod engine;
mod event;

use std::io;

use tokio::sync::mpsc;

use crate::client::{ClientConfig, Refusal};
use crate::kernel::Kernel;
use crate::persona::Persona;

pub use bench::{fastest, hash_rate};
pub use connection::{Connect, Tcp};
pub use endpoint::{Endpoint, EndpointError};
pub use event::{MinerEvent, Summary};

/// What a miner is to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server.
    pub endpoint: Endpoint,
    /// Who we are and how we behave.
    pub client: ClientConfig,
    /// Hashing threads; with none the miner only watches: it gets jobs and never hashes.
    pub threads: usize,
    /// How they hash; `None` is the fastest way that this machine has ([`fastest`]).
    pub kernel: Option<Kernel>,
    /// Stop after exactly this many accepted shares.
    pub shares: Option<u64>,
    /// Stop after exactly this many accepted shares that met the network target.
    pub blocks: Option<u64>,
    /// Failed connections in a row, after the first, before giving up; `None` never gives up.
    pub retries: Option<u64>,
    /// Shares to submit a second at most; above zero.
    pub rate_max: Option<f64>,
}

impl Options {
    /// One thread, version rolling, the honest persona, no end and no giving up.
    pub fn new(endpoint: Endpoint, user: &str) -> Self {
        let client = ClientConfig {
            user: user.to_owned(),
            password: "x".to_owned(),
            version_rolling: true,
            suggest_difficulty: None,
            persona: Persona::honest(),
        };
        Self {
            endpoint,
            client,
            threads: 1,
            kernel: None,
            shares: None,
            blocks: None,
            retries: None,
            rate_max: None,
        }
    }
}

/// Why a miner ended without having been asked to. Each carries what was done until then.
#[derive(Debug, thiserror::Error)]
pub enum MinerError {
    /// No session came about and the retries are used up.
    #[error(
        "cannot mine at {endpoint}, given up after {attempts} attempts: {why}; \
         check that the server runs and that host and port are right"
    )]
    CannotConnect {
        /// The server.
        endpoint: Endpoint,
        /// Connections that were tried in a row.
        attempts: u64,
        /// What ended the last one.
        why: String,
        /// What was done.
        summary: Box<Summary>,
    },
    /// The server does not take subscriptions.
    #[error("{endpoint} refused mining.subscribe: {refusal}; it has no work for this miner")]
    SubscribeRefused {
        /// The server.
        endpoint: Endpoint,
        /// Its words.
        refusal: Refusal,
        /// What was done.
        summary: Box<Summary>,
    },
    /// The server does not know the user.
    #[error("{endpoint} refused to authorize \"{user}\": {refusal}; check --user and --pass")]
    AuthorizeRefused {
        /// The server.
        endpoint: Endpoint,
        /// The user that was refused.
        user: String,
        /// Its words.
        refusal: Refusal,
        /// What was done.
        summary: Box<Summary>,
    },
    /// The system gave no thread to hash with.
    #[error("cannot start a hashing thread: {0}; ask for fewer with --threads")]
    Threads(#[from] io::Error),
}

impl MinerError {
    /// What was done until the error; `None` when nothing was begun.
    pub fn summary(&self) -> Option<&Summary> {
        match self {
            Self::CannotConnect { summary, .. }
            | Self::SubscribeRefused { summary, .. }
            | Self::AuthorizeRefused { summary, .. } => Some(summary),
            Self::Threads(_) => None,
        }
    }
}

/// Mines over TCP until a goal of the options is reached or `stop` completes.
///
/// `events` hears what happens. Mining never waits for it: an event that finds the channel full is
/// dropped and counted in [`Summary::events_dropped`], so whoever must miss none gives the channel
/// a large bound. A closed channel means that nobody listens.
///
/// Needs a tokio runtime with I/O and time; either flavour will do. Hashing threads end before
/// this returns; if the future is dropped, they end by themselves within a millisecond or so.
pub async fn run(
    options: Options,
    events: mpsc::Sender<MinerEvent>,
    stop: impl Future<Output = ()>,
) -> Result<Summary, MinerError> {
    run_over(Tcp, options, events, stop).await
}

/// [`run`] over any kind of connection.
pub async fn run_over<C: Connect>(
    connect: C,
    options: Options,
    events: mpsc::Sender<MinerEvent>,
    stop: impl Future<Output = ()>,
) -> Result<Summary, MinerError> {
    engine::run(connect, options, events, stop).await
}

#[cfg(test)]
mod tests;
