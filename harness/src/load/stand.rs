//! A server to put load on, and a node that gives it a full block's work.
//!
//! The server is a process of its own, so that what it uses is its own. The node is the simulated
//! one with so many transactions in its mempool (4,000 give a job 12 merkle branches), on a chain
//! where no share of a measurement is a block. Not in here: any load.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use bitcoin::hashes::Hash as _;
use bitcoin::transaction::Version;
use bitcoin::{
    Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness, absolute,
};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::{Mode, Target};
use crate::http::{NodeServer, Publisher, ServeError, SharedWorld, wall_clock};
use crate::sim::World;

/// Mainnet's easiest: a share is a block once in 2^32.
const BITS_OF_SHARES: u32 = 0x1d00_ffff;

/// A block in 2^16 hashes: hard enough for nobody to find one by the way, and found in
/// milliseconds when a new tip is wanted.
const BITS_OF_TIPS: u32 = 0x1f00_ffff;

/// What a difficulty must be below for every hash to be a share.
const EVERY_HASH: &str = "1e-12";

/// More than anybody asks for.
const CONNECTIONS: &str = "100000";

/// Fee of the cheapest transaction, in satoshi.
const FEE: u64 = 1_000;

/// Why there is nothing to put load on.
#[derive(Debug, thiserror::Error)]
pub enum StandError {
    /// There is no such program.
    #[error(
        "cannot start the server {}: {cause}; build it with `cargo build --release -p server`, or \
         say where it is with --server", path.display()
    )]
    Start {
        /// Where it should be.
        path: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
    /// No port or folder.
    #[error("no port or folder for the server: {0}")]
    Place(io::Error),
    /// The node cannot publish.
    #[error("the simulated node has no port to publish on: {0}")]
    Publisher(#[from] zeromq::ZmqError),
    /// No node.
    #[error(transparent)]
    Node(#[from] ServeError),
    /// A transaction was not taken.
    #[error("the simulated node does not take a transaction: {0}")]
    Transaction(crate::sim::node::NotAdmitted),
    /// No block.
    #[error("the simulated node mines no block: {0}")]
    Tip(crate::sim::node::CannotMine),
}

/// A node whose templates are as full as one likes.
#[derive(Debug)]
pub struct LoadNode {
    world: SharedWorld,
    server: NodeServer,
    publisher: Publisher,
}

impl LoadNode {
    /// Starts it with so many transactions that wait.
    pub async fn start(mode: Mode, transactions: u32) -> Result<Self, StandError> {
        let bits = if mode == Mode::Notify { BITS_OF_TIPS } else { BITS_OF_SHARES };
        let world = SharedWorld::new(World::with_bits([], 0, bits));
        let filled = world.with(|world| {
            world.change_node(|node| {
                (0..transactions).try_for_each(|number| {
                    node.add_transaction(payment(number), FEE + u64::from(number)).map(drop)
                })
            })
        });
        filled.await.map_err(StandError::Transaction)?;
        let bind = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = NodeServer::start(world.clone(), bind, None, wall_clock()).await?;
        let publisher = Publisher::start(&world).await?;
        Ok(Self { world, server, publisher })
    }

    /// The settings of a server that mines here: every hash is a share, and no job follows another
    /// by the clock.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let address = self.server.address();
        vec![
            ("NETWORK", "regtest".to_owned()),
            ("RPC_HOST", address.ip().to_string()),
            ("RPC_PORT", address.port().to_string()),
            ("NODE_ZMQ", format!("tcp://{}", self.publisher.address())),
            ("POOL_DIFFICULTY", EVERY_HASH.to_owned()),
            ("VARDIFF", "off".to_owned()),
            ("JOB_REFRESH_INTERVAL", "3600".to_owned()),
        ]
    }

    /// Mines a block that leaves the mempool as it is; when the node had it.
    pub(super) async fn new_tip(&self) -> Result<Instant, StandError> {
        let now = (wall_clock())();
        let mined = self
            .world
            .with(|world| world.mine_rival(world.node().tip(), now).map(|_| Instant::now()));
        mined.await.map_err(StandError::Tip)
    }
}

/// One input, two outputs, a signature's worth of witness.
fn payment(number: u32) -> Transaction {
    let mut txid = [0xee; 32];
    txid[..4].copy_from_slice(&number.to_le_bytes());
    let output = |kind: u8| TxOut {
        value: Amount::from_sat(50_000),
        script_pubkey: ScriptBuf::from_bytes([&[0, 20], &[kind; 20][..]].concat()),
    };
    Transaction {
        version: Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint { txid: Txid::from_byte_array(txid), vout: 0 },
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[&[1; 72][..], &[2; 33]]),
        }],
        output: vec![output(1), output(2)],
    }
}

/// Our own server in a process of its own; it ends when this is dropped.
#[derive(Debug)]
pub struct Stand {
    /// Whom to measure.
    pub target: Target,
    _server: Child,
    _data: TempDir,
}

impl Stand {
    /// Starts a node, and the program `server` with such settings beside those of the node.
    pub async fn start(
        mode: Mode,
        server: &Path,
        transactions: u32,
        settings: &[(&str, String)],
    ) -> Result<Self, StandError> {
        let node = LoadNode::start(mode, transactions).await?;
        let data = TempDir::new().map_err(StandError::Place)?;
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let address = free.and_then(|free| free.local_addr()).map_err(StandError::Place)?;
        let server_process = Command::new(server)
            // Neither this environment nor an .env file near here is its business.
            .env_clear()
            .current_dir(data.path())
            .envs(node.settings())
            .env("STRATUM_HOST", address.ip().to_string())
            .env("STRATUM_PORT", address.port().to_string())
            .env("DATA_DIR", data.path())
            .env("MAX_CONNECTIONS", CONNECTIONS)
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .env("LOG_LEVEL", "warn")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|cause| StandError::Start { path: server.to_owned(), cause })?;
        let target = Target {
            address,
            user: super::command::USER.to_owned(),
            pid: server_process.id(),
            node: Some(node),
        };
        Ok(Self { target, _server: server_process, _data: data })
    }
}
