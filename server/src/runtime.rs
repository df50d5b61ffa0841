//! The async shell around [`crate::Pool`]: sockets, HTTP, disk, clocks, signals.
//!
//! One task owns the pool and writes to miners. Everything else, a task that reads each
//! connection, one for each call, one thread for the disk, feeds its one bounded inbox or performs
//! its actions.
//!
//! **Invariant:** no rule of mining or of Stratum stands here; no lock, no `select!`.

#![expect(clippy::disallowed_methods, reason = "the shell: this is where the machine is touched")]

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::info;

use crate::clock::UnixMillis;
use crate::config::{Config, Engine, Limits, Miners, NodeRole, OwnSidechain, PortRules};
use crate::pool::Counters;
use crate::pool::action::Halt;
use crate::pool::event::Event;
use crate::settings::Settings;

mod calls;
pub mod connection;
pub mod descriptors;
pub mod disk;
pub mod doors;
pub mod engine;
mod engines;
mod feed;
pub mod greeting;
pub mod http;
pub mod inherited;
pub mod listener;
mod operator;
pub(crate) mod publisher;
mod reception;
mod spread;
pub mod tls;
mod welcome;
pub mod witness;

pub use calls::{Calls, Direct};
pub use disk::FileDisk;
pub use doors::Doors;
pub use engine::{Parts, run};
use engines::Front;
pub use inherited::Inherited;
pub use listener::{Connect, TcpConnector, TcpDoor};
use tls::Tls;
pub use welcome::MinerIo;
pub use witness::Witness;

/// Events that may wait to be told to the engines.
const NEWS: usize = 64;

/// Why the server ended other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The door for miners cannot be opened.
    #[error(
        "cannot listen for miners on {address}: {cause}; stop what else listens there, or set \
         {settings}"
    )]
    Listen {
        /// Where.
        address: String,
        /// What says so.
        settings: &'static str,
        /// Why.
        cause: std::io::Error,
    },
    /// Whoever started the process listens where nothing is to be served.
    #[error(
        "a socket on {0} was handed over, and no setting speaks of its port; set STRATUM_PORT or \
         the port of a [[listen]] to it, or take its ListenStream out of the .socket unit"
    )]
    Inherited(String),
    /// TLS has nothing to prove itself with.
    #[error(
        "cannot speak TLS with {certificate}: {cause}; give tls_cert and tls_key the PEM files of \
         a certificate with its chain and of its key"
    )]
    Tls {
        /// The file.
        certificate: String,
        /// Why.
        cause: String,
    },
    /// The data directory cannot be used.
    #[error(transparent)]
    Disk(#[from] disk::DiskError),
    /// The pool cannot go on.
    #[error("{0}")]
    Fatal(String),
}

/// Serves miners as `settings` say until the process is told to stop (SIGINT, SIGTERM). At each
/// SIGHUP `reread` gives the settings as they are then, or nothing when they cannot be used.
pub async fn serve(
    settings: Settings,
    sockets: Inherited,
    reread: impl FnMut() -> Option<Settings> + Send + 'static,
) -> Result<(), ServeError> {
    let door = open_door(&settings, sockets).await?;
    let (counters, _) = watch::channel(Counters::default());
    let (newer, told) = mpsc::channel(1);
    tokio::spawn(operator::heed_hangups(settings.clone(), reread, newer));
    serve_until(&settings, door, counters, told, operator::stop()).await
}

/// Takes hold of the addresses that miners connect to, without letting anybody in yet. Those of
/// `sockets` are there already, and each must be one of them.
pub async fn open_door(settings: &Settings, mut sockets: Inherited) -> Result<Doors, ServeError> {
    let mut doors = Doors::default();
    let (host, port) = (settings.stratum_host.as_str(), settings.stratum_port);
    let tcp = bind(&mut sockets, host, port, "STRATUM_HOST and STRATUM_PORT").await?;
    doors.add(tcp, &[], None);
    for listen in &settings.listen {
        let (host, port) = (listen.host.as_str(), listen.port);
        let tcp = bind(&mut sockets, host, port, "host and port in its [[listen]]").await?;
        let tls = listen.tls.clone().map(Tls::load).transpose()?;
        doors.add(tcp, &listen.proxies, tls);
    }
    match sockets.left() {
        None => Ok(doors),
        Some(address) => Err(ServeError::Inherited(shown(address))),
    }
}

async fn bind(
    sockets: &mut Inherited,
    host: &str,
    port: u16,
    settings: &'static str,
) -> Result<TcpDoor, ServeError> {
    let door = match sockets.take(port) {
        Some(socket) => TcpDoor::inherit(socket),
        None => TcpDoor::bind(host, port).await,
    };
    door.map_err(|cause| {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        ServeError::Listen { address: format!("{host}:{port}"), settings, cause }
    })
}

/// Serves miners at `door` until `stop` is done; `counters` follow along, and what comes by `told`
/// reaches every engine.
pub async fn serve_until(
    settings: &Settings,
    door: Doors,
    counters: watch::Sender<Counters>,
    told: mpsc::Receiver<Event>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    info!(
        version = env!("CARGO_PKG_VERSION"),
        network = settings.network.to_core_arg(),
        miners_at = %shown(door.address()),
        node = %format_args!("{}:{}", settings.node.host, settings.node.port),
        payout = settings.payout.description,
        data_dir = %settings.data_dir.display(),
        "drivechain-stratum starts"
    );
    let disk = FileDisk::open(&settings.data_dir)?;
    let others = settings.other_nodes.iter().map(|node| &node.rpc);
    let daemons = settings.sidechains.iter().map(|sidechain| &sidechain.daemon);
    let endpoints = core::iter::once(&settings.node).chain(others).chain(daemons).cloned();
    let calls = Direct::new(TcpConnector, endpoints);
    let config = config(settings);
    let (_listening, told) = news(told, publishers(settings));
    let halt = if settings.engines > 1 {
        let (engines, doors) = (settings.engines, door);
        let front = Front { config, engines, doors, calls, told, disk, counters };
        engines::run_all(front, stop).await?
    } else {
        let (listener, witness) = (door, ());
        let parts = Parts { config, listener, calls, told, disk, counters, witness };
        run(parts, wall_clock, stop).await?
    };
    match halt {
        Halt::Stopped => {
            info!("stopped");
            Ok(())
        }
        Halt::Fatal(why) => Err(ServeError::Fatal(why)),
    }
}

/// What the operator and the nodes tell unasked, in one queue; it ends with the set.
fn news(
    mut told: mpsc::Receiver<Event>,
    publishers: Vec<(usize, String)>,
) -> (JoinSet<()>, mpsc::Receiver<Event>) {
    let (news_in, news) = mpsc::channel(NEWS);
    let mut listening = JoinSet::new();
    for (node, address) in publishers {
        listening.spawn(publisher::listen(node, address, news_in.clone()));
    }
    listening.spawn(async move {
        while let Some(event) = told.recv().await {
            news_in.send(event).await.unwrap_or_default();
        }
    });
    (listening, news)
}

fn shown(address: std::io::Result<SocketAddr>) -> String {
    address.map_or_else(|error| error.to_string(), |address| address.to_string())
}

/// What the core is told of the settings.
pub(crate) fn config(settings: &Settings) -> Config {
    let sidechains = settings.sidechains.iter().map(|sidechain| OwnSidechain {
        slot: sidechain.slot,
        kind: sidechain.kind,
        header: sidechain.header,
        fallback: sidechain.fallback,
        priority: sidechain.priority,
    });
    Config {
        network: settings.network,
        nodes: nodes(settings),
        payout: settings.payout.script.clone(),
        difficulty: settings.pool_difficulty,
        refresh: settings.job_refresh_interval,
        blind: settings.bmm_blind,
        empty_first: settings.empty_first,
        sidechains: sidechains.collect(),
        wishes: settings.wishes.clone(),
        miners: miners(settings),
        engine: Engine::ONLY,
        limits: Limits {
            sessions: settings.max_connections,
            sessions_kept: settings.max_connections,
            tip_age: settings.max_tip_age,
            ..Limits::default()
        },
    }
}

/// Where each node publishes, with its place.
fn publishers(settings: &Settings) -> Vec<(usize, String)> {
    let others = settings.other_nodes.iter().map(|node| &node.zmq);
    let each = core::iter::once(&settings.node_zmq).chain(others).enumerate();
    each.flat_map(|(node, zmq)| zmq.iter().map(move |address| (node, address.clone()))).collect()
}

/// The first node, then those of the settings file.
fn nodes(settings: &Settings) -> Vec<NodeRole> {
    let others = settings.other_nodes.iter().map(|node| node.role);
    core::iter::once(NodeRole::Follow).chain(others).collect()
}

/// The first port's rules, then those of the settings file's.
fn miners(settings: &Settings) -> Miners {
    let first = PortRules { difficulty: settings.pool_difficulty, vardiff: settings.vardiff };
    let others = settings.listen.iter().map(|listen| listen.rules);
    Miners { ports: core::iter::once(first).chain(others).collect(), solo: settings.solo }
}

pub(crate) fn wall_clock() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
