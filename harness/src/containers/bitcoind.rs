//! A real bitcoind on regtest, in a container of its own.
//!
//! RPC and ZMQ are published on loopback, on ports that stay the same over a restart: a server
//! under test must find its node again where it left it. Every node has an empty chain and no
//! peers but those that a test connects it to. The container goes when its [`Bitcoind`] is dropped.
//!
//! Not here: what a test wants of the chain. The helpers are those that several tests need.

mod launch;
mod wallet;

use std::net::{Ipv4Addr, SocketAddr};

use bitcoin::consensus::encode::deserialize_hex;
use bitcoin::{Address, Block, BlockHash};
use serde_json::{Value, json};
use testcontainers::bollard::Docker;
use testcontainers::bollard::query_parameters::{
    InspectContainerOptions, KillContainerOptionsBuilder,
};
use testcontainers::{ContainerAsync, GenericImage};

pub use wallet::{AddressKind, Wallet};

use super::{ContainerError, image};
use crate::rpc::{RpcClient, RpcFailure};

/// The RPC user of every node.
pub const RPC_USER: &str = "harness";
/// The RPC password of every node. It guards nothing: the port is on loopback, the coins are play.
pub const RPC_PASSWORD: &str = "harness";
/// Where a node of regtest listens for its peers, inside its container.
const PEER_PORT: u16 = 18444;
/// How long a node may take to flush and end when asked to (SIGTERM), before it is killed.
const STOP_SECONDS_MAX: i32 = 60;

/// What a test wants of its node beyond the usual.
#[derive(Clone, Debug, Default)]
pub struct BitcoindOptions {
    /// Appended to bitcoind's command line, so that a later one wins: `-blockmintxfee=0`.
    pub extra_arguments: Vec<String>,
}

/// A running (or paused, or killed) regtest node.
pub struct Bitcoind {
    /// Taken only by drop.
    container: Option<ContainerAsync<GenericImage>>,
    docker: Docker,
    rpc_port: u16,
    zmq_port: u16,
}

impl std::fmt::Debug for Bitcoind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Bitcoind")
            .field("rpc", &self.rpc_address())
            .field("zmq", &self.zmq_address())
            .finish_non_exhaustive()
    }
}

impl Bitcoind {
    /// Starts a node and waits until its RPC answers.
    pub async fn start(options: BitcoindOptions) -> Result<Self, ContainerError> {
        let image = image::bitcoind_image();
        let docker = image::require(&image).await?;
        let node = launch::launch(docker, &image, &options).await?;
        launch::until_ready(&node).await?;
        Ok(node)
    }

    /// Where RPC listens, on loopback.
    pub fn rpc_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.rpc_port).into()
    }

    /// Where ZMQ publishes `hashblock` and `sequence`, both on this one address, on loopback.
    pub fn zmq_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.zmq_port).into()
    }

    /// A client of its own for this node, with the right credentials.
    pub fn client(&self) -> RpcClient {
        RpcClient::new(self.rpc_address().to_string()).with_credentials(RPC_USER, RPC_PASSWORD)
    }

    /// Calls any method.
    pub async fn rpc(&self, method: &str, params: Value) -> Result<Value, RpcFailure> {
        self.client().call(method, params).await
    }

    /// The height of the best chain's tip.
    pub async fn height(&self) -> Result<u32, RpcFailure> {
        typed("getblockcount", self.rpc("getblockcount", json!([])).await?)
    }

    /// The hash of the best chain's tip.
    pub async fn best_block_hash(&self) -> Result<BlockHash, RpcFailure> {
        typed("getbestblockhash", self.rpc("getbestblockhash", json!([])).await?)
    }

    /// The hash of the best chain's block at `height`.
    pub async fn block_hash(&self, height: u32) -> Result<BlockHash, RpcFailure> {
        typed("getblockhash", self.rpc("getblockhash", json!([height])).await?)
    }

    /// A block in hex as the node stores it, witnesses included.
    pub async fn block_hex(&self, hash: BlockHash) -> Result<String, RpcFailure> {
        typed("getblock", self.rpc("getblock", json!([hash, 0])).await?)
    }

    /// A block, decoded by rust-bitcoin.
    pub async fn block(&self, hash: BlockHash) -> Result<Block, RpcFailure> {
        let hex = self.block_hex(hash).await?;
        deserialize_hex(&hex).map_err(|cause| unexpected("getblock", &cause))
    }

    /// Has the node itself mine `count` blocks that pay `address`.
    pub async fn generate(
        &self,
        count: u32,
        address: &Address,
    ) -> Result<Vec<BlockHash>, RpcFailure> {
        let params = json!([count, address]);
        typed("generatetoaddress", self.rpc("generatetoaddress", params).await?)
    }

    /// Makes an empty wallet of this name and gives access to it.
    pub async fn create_wallet(&self, name: &str) -> Result<Wallet, RpcFailure> {
        Wallet::create(&self.client(), name).await
    }

    /// Makes this node a peer of `other`, which must listen (`-listen=1`). A node that was stopped
    /// has forgotten its peers, and may come back at another address.
    pub async fn connect_to(&self, other: &Self) -> Result<(), ContainerError> {
        let peer = format!("{}:{PEER_PORT}", other.address_inside().await?);
        let connecting = self.rpc("addnode", json!([peer, "onetry"])).await;
        connecting.map(drop).map_err(docker_failed("connect two nodes"))
    }

    /// Its address on Docker's own network. testcontainers looks for a network that older daemons
    /// name otherwise.
    async fn address_inside(&self) -> Result<String, ContainerError> {
        let action = "find the node's address";
        let none: Option<InspectContainerOptions> = None;
        let found = self.docker.inspect_container(self.container().id(), none).await;
        let settings = found.map_err(docker_failed(action))?.network_settings;
        let networks = settings.and_then(|settings| settings.networks).unwrap_or_default();
        let mut addresses = networks.into_values().filter_map(|network| network.ip_address);
        let address = addresses.find(|address| !address.is_empty());
        address.ok_or_else(|| docker_failed(action)("it is on no network"))
    }

    /// Asks the node to end (SIGTERM) and waits until it has.
    pub async fn stop(&self) -> Result<(), ContainerError> {
        let stopping = self.container().stop_with_timeout(Some(STOP_SECONDS_MAX));
        stopping.await.map_err(docker_failed("stop the node"))
    }

    /// Ends the node at once (SIGKILL): nothing is flushed, connections are cut.
    pub async fn kill(&self) -> Result<(), ContainerError> {
        let options = KillContainerOptionsBuilder::default().signal("SIGKILL").build();
        let killing = self.docker.kill_container(self.container().id(), Some(options));
        killing.await.map_err(docker_failed("kill the node"))
    }

    /// Starts the node again after [`Self::stop`] or [`Self::kill`], on the same ports and the same
    /// chain, and waits until its RPC answers.
    pub async fn start_again(&self) -> Result<(), ContainerError> {
        self.container().start().await.map_err(docker_failed("start the node again"))?;
        launch::until_ready(self).await
    }

    /// Stops the node and starts it again.
    pub async fn restart(&self) -> Result<(), ContainerError> {
        self.stop().await?;
        self.start_again().await
    }

    /// Freezes the node: its ports accept connections, and nothing answers on them.
    pub async fn pause(&self) -> Result<(), ContainerError> {
        self.container().pause().await.map_err(docker_failed("pause the node"))
    }

    /// Lets a frozen node go on.
    pub async fn unpause(&self) -> Result<(), ContainerError> {
        self.container().unpause().await.map_err(docker_failed("unpause the node"))
    }

    fn container(&self) -> &ContainerAsync<GenericImage> {
        #[expect(clippy::expect_used, reason = "drop is the only one who takes it")]
        self.container.as_ref().expect("a node has its container until it is dropped")
    }
}

impl Drop for Bitcoind {
    fn drop(&mut self) {
        let container = self.container.take();
        // The container is removed by a request to the daemon, for which a runtime must be at hand.
        // The one that this happens on may be at its end, because a test failed: a request on it
        // would never be answered, and the failure never shown. So it is asked for elsewhere.
        let removing = std::thread::Builder::new().name("remove-container".to_owned());
        let removed = removing.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let _context = runtime.enter();
            drop(container);
            std::io::Result::Ok(())
        });
        match removed.map(std::thread::JoinHandle::join) {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(cause))) | Err(cause) => {
                tracing::error!(%cause, "no thread or runtime to remove a container with");
            }
            Ok(Err(_panic)) => tracing::error!("a container may not have been removed"),
        }
    }
}

fn docker_failed<E: std::fmt::Display>(action: &'static str) -> impl FnOnce(E) -> ContainerError {
    move |cause| ContainerError::Docker { action, cause: cause.to_string() }
}

/// Reads a result as the type that the method is known to give.
fn typed<T: serde::de::DeserializeOwned>(method: &str, value: Value) -> Result<T, RpcFailure> {
    serde_json::from_value(value).map_err(|cause| unexpected(method, &cause))
}

fn unexpected(method: &str, cause: &dyn std::fmt::Display) -> RpcFailure {
    RpcFailure::Unexpected { method: method.to_owned(), cause: cause.to_string() }
}
