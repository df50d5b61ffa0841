//! The server's program is killed (SIGKILL) at random moments while miners find blocks, and started
//! again on what its disk holds: no acknowledged block may be missing from the node, and nothing
//! may be counted twice.
//!
//! On regtest every second share is a block, so most kills come while blocks are on their way. In
//! some rounds the node is out of reach when blocks are found, so that only the journal can have
//! them; in some the server is asked to stop, which may lose nothing at all. Not in here: what the
//! evidence means (`evidence.rs`).

pub mod evidence;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;

use super::chain::standings;
use super::crew::Crew;
use super::proxy::Proxy;
use super::relay::Relay;
use super::witness::Progress;
use super::{TrialError, machine, shelves};
use crate::containers::{AddressKind, Bitcoind, BitcoindOptions, RPC_PASSWORD, RPC_USER};
use crate::oracle::journal::log;
use crate::plan::draw::{Draw, draw};
use crate::stack::process::{Installation, ServerProcess};
use evidence::{End, Evidence, Kill9Report, Life};

const MINERS: u32 = 3;
/// Shares a second of one miner.
const RATE: f64 = 12.0;
/// What a difficulty must be below for every hash to be a share.
const EVERY_HASH: &str = "1e-12";
/// How long anything may take that has to come.
const PATIENCE: Duration = Duration::from_mins(1);
/// Between two looks at files.
const POLL: Duration = Duration::from_millis(50);
/// The latest moment of a kill after what it waits for: a block's way to disk and node takes less.
const SOON_US_MAX: u64 = 20_000;
/// The latest moment of a kill that waits for nothing: longer than any share may go unwritten.
const ANY_MS_MAX: u64 = 3_500;
/// How long a node may stay away after the restart.
const AWAY_MS_MAX: u64 = 400;

/// How to kill.
#[derive(Clone, Debug)]
pub struct Kill9Options {
    /// How often the server ends.
    pub rounds: u32,
    /// What the moments are drawn from.
    pub seed: u64,
    /// The server's program.
    pub program: PathBuf,
}

/// What a round is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// Killed just after a block was found.
    Block,
    /// Killed at any moment, be it before the first miner is let in.
    Any,
    /// Blocks are found while the node is out of reach; then killed.
    Away,
    /// The same, and the node is still away when the server starts again.
    AwayForLong,
    /// Asked to stop.
    Stop,
}

/// The rounds take turns, so that a short run has some of each.
const TURNS: [Kind; 8] = [
    Kind::Block,
    Kind::Away,
    Kind::Block,
    Kind::Any,
    Kind::Block,
    Kind::AwayForLong,
    Kind::Block,
    Kind::Stop,
];

/// Kills as `options` say, and judges.
pub async fn run(options: &Kill9Options) -> Result<Kill9Report, TrialError> {
    let mut rig = Rig::start(&options.program).await?;
    let crew = Crew::start(rig.relay.address(), MINERS, RATE);
    for round in 0..options.rounds {
        rig.round(draw(options.seed, "kill9", (round.into(), 0)), round).await?;
    }
    rig.settle(crew).await?;
    Ok(rig.evidence().await?.judge())
}

/// Everything that outlives the server's processes.
struct Rig {
    node: Bitcoind,
    proxy: Proxy,
    relay: Relay,
    data: TempDir,
    installation: Installation,
    lives: Vec<Life>,
}

impl Rig {
    async fn start(program: &Path) -> Result<Self, TrialError> {
        let node = Bitcoind::start(BitcoindOptions::default()).await?;
        let wallet = node.create_wallet("pool").await?;
        let payout = wallet.address(AddressKind::Bech32).await?;
        // A node gives no work on a chain that is as old as its first block.
        node.generate(1, &payout).await?;
        let proxy = Proxy::start(node.rpc_address()).await.map_err(machine("proxy the node"))?;
        let pool = free_address().map_err(machine("find a port for the server"))?;
        let relay = Relay::start(pool).await.map_err(machine("relay the miners"))?;
        let data = TempDir::new().map_err(machine("make a data directory"))?;
        let settings = vec![
            ("NETWORK", "regtest".to_owned()),
            ("RPC_PORT", proxy.address().port().to_string()),
            ("RPC_USER", RPC_USER.to_owned()),
            ("RPC_PASSWORD", RPC_PASSWORD.to_owned()),
            ("PAYOUT_ADDRESS", payout.to_string()),
            ("STRATUM_HOST", pool.ip().to_string()),
            ("STRATUM_PORT", pool.port().to_string()),
            ("POOL_DIFFICULTY", EVERY_HASH.to_owned()),
            ("VARDIFF", "off".to_owned()),
            ("JOB_REFRESH_INTERVAL", "1".to_owned()),
        ];
        let installation = Installation::new(program, data.path(), settings)?;
        Ok(Self { node, proxy, relay, data, installation, lives: Vec::new() })
    }

    /// One life of the server.
    async fn round(&mut self, mut draw: Draw, round: u32) -> Result<(), TrialError> {
        let kind = TURNS[round as usize % TURNS.len()];
        let (process, started) = (self.installation.start()?, Instant::now());
        tracing::debug!(round, ?kind, "a server starts");
        if self.proxy.is_cut() {
            wait(Duration::from_millis(draw.below(AWAY_MS_MAX))).await;
            self.mend().await?;
        }
        match kind {
            Kind::Any => wait(Duration::from_millis(draw.below(ANY_MS_MAX))).await,
            Kind::Block | Kind::Stop => {
                let more = draw.between(1, 3);
                self.more("blocks found", more, |progress| progress.solving).await?;
            }
            Kind::Away | Kind::AwayForLong => {
                self.more("blocks found", 1, |progress| progress.solving).await?;
                self.proxy.cut().await;
                // One of each miner may have been on its way before.
                let more = u64::from(MINERS) + draw.between(1, 4);
                let what = "blocks acknowledged without a node";
                self.more(what, more, |progress| progress.acknowledged).await?;
            }
        }
        soon(Duration::from_micros(draw.scaled(1, SOON_US_MAX))).await;
        let end = if kind == Kind::Stop { End::Stopped } else { End::Killed };
        self.end(process, started, end).await?;
        if kind == Kind::Away {
            self.mend().await?;
        }
        Ok(())
    }

    async fn mend(&mut self) -> Result<(), TrialError> {
        self.proxy.mend().await.map_err(machine("bring the node back"))
    }

    async fn end(
        &mut self,
        process: ServerProcess,
        started: Instant,
        end: End,
    ) -> Result<(), TrialError> {
        let ended = Instant::now();
        match end {
            End::Killed => process.kill().await?,
            End::Stopped => process.stop(PATIENCE).await?,
        }
        self.lives.push(Life { started, ended, end });
        // What miners still send to a dead server must not be taken for the next one's.
        let mut progress = self.relay.witness().progress();
        let over = progress.wait_for(|now| now.open == 0);
        match tokio::time::timeout(PATIENCE, over).await {
            Ok(_) => Ok(()),
            Err(_late) => Err(self.stuck("the miners to notice".to_owned())),
        }
    }

    /// Waits until the witness saw so many more than by now.
    async fn more(
        &self,
        what: &str,
        more: u64,
        count: impl Fn(&Progress) -> usize,
    ) -> Result<(), TrialError> {
        let mut progress = self.relay.witness().progress();
        let goal = count(&progress.borrow()) + usize::try_from(more).unwrap_or(usize::MAX);
        let seen = progress.wait_for(|now| count(now) >= goal);
        match tokio::time::timeout(PATIENCE, seen).await {
            // An error says that the witness is gone, and this holds it.
            Ok(_) => Ok(()),
            Err(_late) => {
                Err(self.stuck(format!("{more} {what} in process {}", self.lives.len() + 1)))
            }
        }
    }

    /// A last start, until every block that was found is judged.
    async fn settle(&mut self, crew: Crew) -> Result<(), TrialError> {
        self.mend().await?;
        let (process, started) = (self.installation.start()?, Instant::now());
        // It works as well as before; and who does not serve yet may not know how to stop.
        self.more("blocks found by the last server", 1, |progress| progress.solving).await?;
        crew.stop().await;
        let mut poll = tokio::time::interval(POLL);
        while shelves::pending(self.data.path()).map_err(machine("read the blocks"))? > 0 {
            poll.tick().await;
            if started.elapsed() > PATIENCE {
                return Err(self.stuck("the last blocks to be judged".to_owned()));
            }
        }
        self.end(process, started, End::Stopped).await
    }

    fn stuck(&self, what: String) -> TrialError {
        let log = self.installation.last_lines();
        TrialError::Stuck { what, seconds: PATIENCE.as_secs(), log }
    }

    async fn evidence(self) -> Result<Evidence, TrialError> {
        let testimony = self.relay.witness().testimony();
        let solving = testimony.submissions.iter().filter(|submission| submission.solves);
        let standings = standings(&self.node, solving.map(|submission| submission.hash)).await?;
        let sums = self.installation.ask(&["shares", "--json"]).await?;
        Ok(Evidence {
            testimony,
            standings,
            handed: self.proxy.handed(),
            files: shelves::files(self.data.path()).map_err(machine("read the blocks"))?,
            logged: logged(self.data.path()).map_err(machine("read the share log"))?,
            summed: sums["shares"].as_u64().unwrap_or_default(),
            lives: self.lives,
        })
    }
}

/// The header hashes of the share log's records.
fn logged(data_dir: &Path) -> std::io::Result<Vec<[u8; 32]>> {
    let mut hashes = Vec::new();
    for file in std::fs::read_dir(data_dir.join("shares"))? {
        let text = std::fs::read(file?.path())?;
        // The file of a run that counted nothing.
        if !text.is_empty() {
            let entries = log::entries(&text).map_err(std::io::Error::other)?;
            hashes.extend(entries.into_iter().map(|entry| entry.hash));
        }
    }
    Ok(hashes)
}

fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

async fn wait(time: Duration) {
    // Nothing comes, so this is the time that passes.
    drop(tokio::time::timeout(time, std::future::pending::<()>()).await);
}

/// A moment that is shorter than the timer's grain.
async fn soon(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        tokio::task::yield_now().await;
    }
}
