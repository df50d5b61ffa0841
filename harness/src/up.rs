//! `harness up`: node, sidechain, server and miners, all running, until enough blocks are mined.
//!
//! The server is the real one on real sockets; what is simulated by default is the node and the
//! sidechain. The sidechain advances only by blocks that commit to its candidate (BIP-0301 M7), so
//! a run that passes proves blind merged mining and not only mining. One inbox, one judge: every
//! part tells the inbox, the judge decides. Not in here: what the parts are made of.

mod bidder;
mod coinbase;
mod event;
mod feed;
mod judge;
mod miners;
mod node;

use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use server::pool::Counters;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::http::{BlockVerdict, EnforcerServer};
use crate::stack::{RunningServer, StackError};
use event::{Printer, RpcPort, Started, UpEvent};
use feed::PAYOUT_KEY_HASH;
use judge::{Input, Judge};
use miners::{Crew, Miners};
use node::{Backend, PASSWORD, USER};

pub use judge::Ending;
pub use node::{NodeChoice, NodeChoiceError, NodeError, NodeUrl, Way};

/// Pause between blocks that a person can follow.
pub const PACE_TO_FOLLOW: Duration = Duration::from_secs(2);

/// Pause between blocks when nobody follows: about as long as a node takes to a new template, or
/// most blocks would be rivals of the one before.
pub const PACE_FULL: Duration = Duration::from_millis(20);

/// Blocks that can be asked for. At full speed the chain's time gains a second with every six of
/// them (each must be later than the median of eleven), and a node takes two hours.
pub const BLOCKS_MAX: u64 = 40_000;

/// Inputs that may wait for the judge.
const INBOX_INPUTS_MAX: usize = 1_024;

/// A time that never comes.
const NEVER: Duration = Duration::from_hours(24 * 365);

/// What to run.
#[derive(Clone, Debug)]
pub struct UpOptions {
    /// Which node to mine on.
    pub node: NodeChoice,
    /// How the sidechain is merge-mined.
    pub way: Way,
    /// Merge-mined blocks after which it is over; without it the user stops it.
    pub blocks: Option<u64>,
    /// Miners of our own.
    pub miners: u32,
    /// Port that miners connect to; 0 is any free one.
    pub stratum_port: u16,
    /// Address that miners connect to.
    pub listen: IpAddr,
    /// The sidechain's slot.
    pub slot: u8,
    /// Least time between two blocks of our own miners.
    pub pace: Duration,
    /// JSON instead of lines for people.
    pub json: bool,
}

/// Why it could not be started.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    /// No node.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// No server.
    #[error(transparent)]
    Server(#[from] StackError),
    /// No port for miners.
    #[error(
        "cannot listen for miners on {address}: {cause}; say where else with --stratum PORT and \
         --listen ADDRESS"
    )]
    Door {
        /// Where.
        address: String,
        /// Why.
        cause: io::Error,
    },
    /// Nobody reads what is printed.
    #[error("cannot print what happens: {0}")]
    Output(#[from] io::Error),
}

/// Starts everything, shows on `output` what happens, and stops everything when it is over.
/// `panics` turns true when a thread panicked.
pub async fn run(
    options: UpOptions,
    output: impl Write,
    panics: watch::Receiver<bool>,
) -> Result<Ending, UpError> {
    let started_at = Instant::now();
    let (told, inbox) = mpsc::channel(INBOX_INPUTS_MAX);
    let mut tasks = JoinSet::new();
    listen_for_the_end(&mut tasks, &told, panics);
    let backend = node::start(&options.node, options.way, options.slot).await?;
    let server = start_server(&options, &backend).await?;
    let mut printer = Printer { output, json: options.json };
    let introduction = introduction(&options, &backend, &server);
    printer.print(started_at.elapsed(), &introduction)?;

    // The sidechain, and the node if it is ours, stay until the end of this function.
    let Backend { sidechain: _sidechain, running: _running, enforcer, bidder, feed, .. } = backend;
    if let Some(bidder) = bidder {
        tasks.spawn(bidder.run(told.clone()));
    }
    if let Some(enforcer) = &enforcer {
        tasks.spawn(tell_verdicts(enforcer.verdicts(), told.clone()));
    }
    let rejected = server.data_dir().join("blocks").join("rejected");
    tasks.spawn(feed.run(told.clone(), server.counters(), rejected));
    tasks.spawn(tell_totals(server.counters(), told.clone()));
    let crew = Crew { count: options.miners, pace: options.pace, inbox: told.clone() };
    let miners = Miners::start(server.address(), &server.counters(), &crew);

    // A container that was long in starting says nothing of mining.
    let begun = started_at.elapsed();
    let judge = Judge::new(begun, options.slot, options.blocks, options.miners);
    let mut run = Run { started_at, inbox, judge, printer };
    let ending = run.until_it_ends().await;
    let Run { inbox, judge, mut printer, .. } = run;
    // Whoever waits to be heard must learn that nobody will.
    drop(inbox);
    miners.stop().await;
    let counters = server.counters();
    let ending = match server.stop().await {
        Ok(()) => ending,
        Err(StackError::Panicked(_)) => Ending::Panicked,
        Err(error) => Ending::Failed(error.to_string()),
    };
    let last = judge.finish(&ending, *counters.borrow());
    match printer.print(started_at.elapsed(), &last) {
        // Nobody is left to read it; the exit code says it too.
        Ok(()) | Err(_) => Ok(ending),
    }
}

struct Run<W> {
    started_at: Instant,
    inbox: mpsc::Receiver<Input>,
    judge: Judge,
    printer: Printer<W>,
}

impl<W: Write> Run<W> {
    async fn until_it_ends(&mut self) -> Ending {
        loop {
            if let Some(ending) = self.judge.ending() {
                return ending;
            }
            let due = self.started_at + self.judge.deadline().unwrap_or(NEVER);
            let input = timeout_at(due, self.inbox.recv()).await;
            let now = self.started_at.elapsed();
            let events = match input {
                Ok(Some(input)) => self.judge.handle(now, input),
                Ok(None) => self.judge.handle(now, Input::Interrupted),
                Err(_) => self.judge.on_time(now).into_iter().collect(),
            };
            for event in events {
                if self.printer.print(now, &event).is_err() {
                    // A reader that went away wants no more.
                    self.judge.handle(now, Input::Interrupted);
                    break;
                }
            }
        }
    }
}

/// Panics and signals.
fn listen_for_the_end(
    tasks: &mut JoinSet<()>,
    told: &mpsc::Sender<Input>,
    mut panics: watch::Receiver<bool>,
) {
    let inbox = told.clone();
    tasks.spawn(async move {
        if panics.wait_for(|panicked| *panicked).await.is_ok() {
            inbox.send(Input::Panicked).await.unwrap_or_default();
        }
    });
    let inbox = told.clone();
    tasks.spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            inbox.send(Input::Interrupted).await.unwrap_or_default();
        }
    });
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let inbox = told.clone();
        tasks.spawn(async move {
            if let Ok(mut signals) = signal(SignalKind::terminate()) {
                signals.recv().await;
                inbox.send(Input::Interrupted).await.unwrap_or_default();
            }
        });
    }
}

/// Tells the server's totals until it ends, and then that it did.
async fn tell_totals(mut counters: watch::Receiver<Counters>, told: mpsc::Sender<Input>) {
    loop {
        let input = match counters.changed().await {
            Ok(()) => Input::Totals(*counters.borrow_and_update()),
            Err(_) => Input::Fault("the server ended by itself".to_owned()),
        };
        let over = matches!(input, Input::Fault(_));
        if told.send(input).await.is_err() || over {
            return;
        }
    }
}

/// Tells of blocks that the enforcer threw out again: each would have been money.
async fn tell_verdicts(mut verdicts: broadcast::Receiver<BlockVerdict>, told: mpsc::Sender<Input>) {
    while let Ok(verdict) = verdicts.recv().await {
        if let BlockVerdict::Invalidated(hash, breaches) = verdict {
            let why = format!("the enforcer invalidated block {hash}: {breaches}");
            told.send(Input::Fault(why)).await.unwrap_or_default();
        }
    }
}

async fn start_server(options: &UpOptions, backend: &Backend) -> Result<RunningServer, UpError> {
    let settings = server_settings(options, backend);
    let started = RunningServer::start(&settings).await;
    // In the words of this command line, not of the server's.
    if let Err(StackError::Serve(server::runtime::ServeError::Listen { address, cause, .. })) =
        started
    {
        return Err(UpError::Door { address, cause });
    }
    Ok(started?)
}

/// The settings, as they would stand in a `.env` file.
fn server_settings(options: &UpOptions, backend: &Backend) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        ("NETWORK", "regtest".to_owned()),
        ("MINER_PKH_HEX", simminer::hex::encode(&PAYOUT_KEY_HASH)),
        // A new candidate of the sidechain must not wait for long.
        ("JOB_REFRESH_INTERVAL", "1".to_owned()),
        ("STRATUM_HOST", options.listen.to_string()),
        ("STRATUM_PORT", options.stratum_port.to_string()),
    ];
    settings.extend(template_settings(backend));
    settings.extend(backend.zmq.map(|zmq| ("NODE_ZMQ", format!("tcp://{zmq}"))));
    if options.way == Way::Own {
        let sidechain = backend.sidechain.address();
        settings.extend([
            ("ENABLE_SIDECHAIN", "true".to_owned()),
            ("SIDECHAIN_NUMBER", options.slot.to_string()),
            ("SC_RPC_HOST", sidechain.ip().to_string()),
            ("SC_RPC_PORT", sidechain.port().to_string()),
            ("SC_RPC_USER", USER.to_owned()),
            ("SC_RPC_PASSWORD", PASSWORD.to_owned()),
        ]);
    }
    settings
}

/// Who gives templates: the enforcer, which asks nobody for a password, or the node.
fn template_settings(backend: &Backend) -> Vec<(&'static str, String)> {
    if let Some(enforcer) = &backend.enforcer {
        let address = enforcer.address();
        return vec![
            ("RPC_HOST", address.ip().to_string()),
            ("RPC_PORT", address.port().to_string()),
        ];
    }
    let node = &backend.node;
    let (user, password) = node.credentials.clone().unwrap_or_default();
    vec![
        ("RPC_HOST", node.host.clone()),
        ("RPC_PORT", node.port.to_string()),
        ("RPC_USER", user),
        ("RPC_PASSWORD", password),
    ]
}

fn introduction(options: &UpOptions, backend: &Backend, server: &RunningServer) -> UpEvent {
    let credentials = backend.node.credentials.clone();
    UpEvent::Started(Box::new(Started {
        node_kind: backend.kind,
        node: RpcPort {
            rpc: backend.node.to_string(),
            // What the user has told us is not for others to read.
            credentials: credentials.filter(|_| backend.is_ours),
        },
        node_zmq: backend.zmq,
        bmm: options.way.explained(),
        enforcer: backend.enforcer.as_ref().map(EnforcerServer::address),
        sidechain: RpcPort {
            rpc: backend.sidechain.address().to_string(),
            credentials: Some((USER.to_owned(), PASSWORD.to_owned())),
        },
        slot: options.slot,
        stratum: server.address(),
        miners: options.miners,
        blocks: options.blocks,
    }))
}
