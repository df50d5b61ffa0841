//! `harness load`: how much a Stratum server can do, measured from outside by its miners.
//!
//! Three questions, one for each mode: what shares cost it, how long a new tip takes to all of its
//! miners, and how much memory a miner takes that does nothing. Any server will do; without one,
//! ours is started with a node of a full mempool ([`stand`]).
//!
//! What is measured must not be the measuring: shares are ground before the timed part, one thread
//! sends and reads, and the node is served by another. Not in here: what a miner says (`simminer`).

mod bare;
pub(crate) mod bare_process;
pub(crate) mod bare_server;
pub mod command;
mod grind;
pub(crate) mod hashing;
mod idle;
mod notify;
mod process;
pub mod report;
mod sender;
mod session;
mod shares;
pub mod stand;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use report::Report;
use stand::LoadNode;

pub use session::SessionError;

/// What to measure.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Mode {
    /// Shares: how many, how soon answered, at what cost
    Shares,
    /// New tips: how long until every miner has its job
    Notify,
    /// Nothing: how much memory a miner takes that does nothing
    Idle,
}

/// How to measure it.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// The question.
    pub mode: Mode,
    /// Miners.
    pub connections: usize,
    /// Shares of a miner that wait for an answer.
    pub depth: usize,
    /// Shares a second of all miners together, one at a time each; `None` is as fast as it goes.
    pub rate: Option<f64>,
    /// How long shares are sent.
    pub time: Duration,
    /// Shares to grind, for all miners together: more are not sent.
    pub shares: u64,
    /// Nonces that are sent for one extranonce2.
    pub nonces: u32,
    /// New tips to wait for.
    pub tips: u32,
    /// Whether each may bring a coinbase alone first, and then the whole job.
    pub whole_later: bool,
}

/// Who is measured.
#[derive(Debug)]
pub struct Target {
    /// Where miners connect to.
    pub address: SocketAddr,
    /// Whom they say they are.
    pub user: String,
    /// The server's process, if it is on this machine.
    pub pid: Option<u32>,
    /// The server's node, if it is ours.
    pub node: Option<LoadNode>,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A miner got no work.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A connection broke under load.
    #[error("a connection broke in the timed part: {0}; did the server end, or close it?")]
    Broken(io::Error),
    /// Answers did not come.
    #[error(
        "{missing} answers had not come {seconds} s after the last share was sent: the server \
         hangs, or it does not answer each share"
    )]
    Unanswered {
        /// How many miners still waited.
        missing: usize,
        /// How long they did.
        seconds: u64,
    },
    /// A tip did not reach every miner.
    #[error(
        "a new tip reached {reached} of {miners} miners within {seconds} s: has the server cut \
         the others off?"
    )]
    TipLost {
        /// Miners that have its job.
        reached: usize,
        /// Miners there are.
        miners: usize,
        /// How long was waited.
        seconds: u64,
    },
    /// Grinding takes too long.
    #[error(
        "only {found} of {wanted} shares were ground in {seconds} s: the difficulty is too high; \
         set the server's lower, or ask for fewer with --shares"
    )]
    TooHard {
        /// Shares there are.
        found: u64,
        /// Shares that were wanted.
        wanted: u64,
        /// How long was ground.
        seconds: u64,
    },
    /// Nobody makes tips.
    #[error(
        "--mode notify needs a node that makes new tips, and has one only for a server that it \
         starts itself: leave --to out"
    )]
    NoNode,
    /// The process cannot be looked at.
    #[error("cannot read what process {pid} has used: {cause}; is --pid the server's?")]
    Process {
        /// Which one.
        pid: u32,
        /// The system's reason.
        cause: io::Error,
    },
    /// No sockets for the comparison.
    #[error("no sockets for the bare loop: {0}; raise the limit of open files (ulimit -n)")]
    Bare(io::Error),
    /// No bare server.
    #[error(
        "cannot start the bare server that shares are compared with, {}: {cause}; was this program \
         moved or built again while it ran?", path.display()
    )]
    BareStart {
        /// The program that it is in.
        path: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
    /// The bare server did not go on.
    #[error("the bare server that shares are compared with went wrong: {0}")]
    BareServer(io::Error),
    /// Our own server or its node did not start.
    #[error(transparent)]
    Stand(#[from] stand::StandError),
    /// There is no runtime.
    #[error("no thread can be started: {0}; look at the limits on processes")]
    Runtime(io::Error),
}

/// Measures one target. Blocks this thread, on which the whole load is made. `harness` is this
/// program, which is started once more to be compared with.
pub fn run(options: &LoadOptions, target: &Target, harness: &Path) -> Result<Report, LoadError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(LoadError::Runtime)?;
    runtime.block_on(async {
        match options.mode {
            Mode::Shares => shares::measure(options, target, harness).await.map(Report::Shares),
            Mode::Notify => notify::measure(options, target).await.map(Report::Notify),
            Mode::Idle => idle::measure(options, target).await.map(Report::Idle),
        }
    })
}
