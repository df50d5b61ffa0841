//! The node and the sidechain of `harness up`: simulated, in a container, or the user's own.
//!
//! Whichever it is, it comes out as the same [`Backend`]: where the server finds both, a feed of
//! what happens there, and what must be kept alive. Not in here: the feed itself (`feed.rs`).

use std::any::Any;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::BlockHash;
use hyper::{StatusCode, Uri};
use serde_json::{Value, json};

use super::bidder::{self, Bidder};
use super::feed::{ChainWatch, Feed};
use crate::containers::bitcoind::{RPC_PASSWORD, RPC_USER};
use crate::containers::{Bitcoind, BitcoindOptions, ContainerError};
use crate::http::{
    Credentials, EnforcerError, EnforcerOptions, EnforcerServer, Follower, NodeServer, ServeError,
    SharedWorld, SidechainServer, wall_clock,
};
use crate::rpc::{RpcClient, RpcFailure};
use crate::sim::World;
use crate::sim::sidechain::Sidechain;

/// User and password of the daemons that we run. They guard play money on loopback.
pub(super) const USER: &str = "harness";
/// See [`USER`].
pub(super) const PASSWORD: &str = "harness";

/// Makes the sidechain's hashes its own.
const SEED: u64 = 1;

/// bitcoind's RPC port on regtest.
const REGTEST_RPC_PORT: u16 = 18443;

/// How long the user's node may take to say which chain it is on.
const PROBE_PATIENCE: Duration = Duration::from_secs(10);

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Which node to mine on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NodeChoice {
    /// The simulated one, in this process.
    Simulated,
    /// A real bitcoind in a container of its own.
    Container,
    /// One that the user runs, on regtest.
    Own(NodeUrl),
}

/// How the sidechain is merge-mined.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub enum Way {
    /// The server asks the sidechain's own daemon for h*.
    #[default]
    Own,
    /// The sidechain bids in the mempool, and the server holds the auction over a plain template.
    Blind,
    /// The sidechain bids in the mempool, and an enforcer holds the auction and gives the template.
    Enforcer,
}

impl Way {
    /// In words.
    pub(super) const fn explained(self) -> &'static str {
        match self {
            Self::Own => "own: the server asks the sidechain's daemon for h*",
            Self::Blind => "blind: bids in the mempool, the server holds the auction",
            Self::Enforcer => "enforcer: bids in the mempool, the enforcer holds the auction",
        }
    }
}

/// Where a node's JSON-RPC is and how to be let in.
#[derive(Clone, Eq, PartialEq)]
pub struct NodeUrl {
    /// Name or address; an IPv6 address without its brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// User name and password.
    pub(super) credentials: Option<(String, String)>,
}

/// A text names no node.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}; say simulated, bitcoind, or a URL such as http://USER:PASSWORD@127.0.0.1:18443")]
pub struct NodeChoiceError(&'static str);

impl FromStr for NodeChoice {
    type Err = NodeChoiceError;

    fn from_str(text: &str) -> Result<Self, NodeChoiceError> {
        match text {
            "simulated" => Ok(Self::Simulated),
            "bitcoind" => Ok(Self::Container),
            url => url.parse().map(Self::Own),
        }
    }
}

impl FromStr for NodeUrl {
    type Err = NodeChoiceError;

    fn from_str(text: &str) -> Result<Self, NodeChoiceError> {
        let uri: Uri = text.parse().map_err(|_| NodeChoiceError("this is no URL"))?;
        if uri.scheme_str() != Some("http") {
            return Err(NodeChoiceError("a node is reached by http"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(NodeChoiceError("nothing may follow the port"));
        }
        let authority = uri.authority().ok_or(NodeChoiceError("there is no host"))?;
        let host = authority.host().trim_matches(['[', ']']);
        if host.is_empty() {
            return Err(NodeChoiceError("there is no host"));
        }
        let (credentials, place) = match authority.as_str().rsplit_once('@') {
            None => (None, authority.as_str()),
            Some((credentials, place)) => {
                let no_password = NodeChoiceError("there is a user without a password");
                let (user, password) = credentials.split_once(':').ok_or(no_password)?;
                (Some((user.to_owned(), password.to_owned())), place)
            }
        };
        // `Uri` takes a port that is too large for none at all.
        let port = match place.strip_prefix(authority.host()).unwrap_or_default() {
            "" => REGTEST_RPC_PORT,
            text => {
                let port = text.strip_prefix(':').and_then(|digits| digits.parse().ok());
                let port = port.filter(|port| *port != 0);
                port.ok_or(NodeChoiceError("the port must be from 1 to 65535"))?
            }
        };
        Ok(Self { host: host.to_owned(), port, credentials })
    }
}

impl NodeUrl {
    fn ours(address: SocketAddr, user: &str, password: &str) -> Self {
        let credentials = Some((user.to_owned(), password.to_owned()));
        Self { host: address.ip().to_string(), port: address.port(), credentials }
    }

    fn client(&self) -> RpcClient {
        let client = RpcClient::new(self.to_string());
        match &self.credentials {
            Some((user, password)) => client.with_credentials(user, password),
            None => client,
        }
    }
}

/// Host and port.
impl fmt::Display for NodeUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, .. } = self;
        if host.contains(':') {
            write!(formatter, "[{host}]:{port}")
        } else {
            write!(formatter, "{host}:{port}")
        }
    }
}

/// Without the password.
impl fmt::Debug for NodeUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "NodeUrl({self})")
    }
}

/// Why there is no node to mine on.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// There is no container.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// A stand-in got no port.
    #[error(transparent)]
    Port(#[from] ServeError),
    /// The node says that it does not know us.
    #[error(
        "the node at {0} refuses this user and password (HTTP 401): put its rpcuser and \
         rpcpassword into the URL, http://USER:PASSWORD@{0}"
    )]
    Stranger(String),
    /// The node does not answer.
    #[error("cannot mine on the node at {address}: {failure}")]
    Call {
        /// Where it should be.
        address: String,
        /// How it failed.
        failure: RpcFailure,
    },
    /// It answers, and is of no use.
    #[error(
        "the node at {address} is on the chain {chain:?}, and only regtest can be mined for a \
         test: start bitcoind with -regtest"
    )]
    OtherChain {
        /// Where it is.
        address: String,
        /// What it calls its chain.
        chain: String,
    },
    /// Nobody would bid there.
    #[error(
        "--bmm blind and --bmm enforcer make bids from a wallet of their own, so they need --node \
         simulated or --node bitcoind; on your own node start the server itself, and bid with your \
         sidechain"
    )]
    NoBidder,
    /// There is no enforcer.
    #[error(transparent)]
    Enforcer(#[from] EnforcerError),
    /// It answers in another language.
    #[error(
        "what listens at {0} did not say which chain it is on: is it the JSON-RPC of a Bitcoin \
         node?"
    )]
    NoNode(String),
}

/// A node and a sidechain that follows it.
pub(super) struct Backend {
    /// What kind of node it is.
    pub(super) kind: &'static str,
    /// Where the node is.
    pub(super) node: NodeUrl,
    /// Whether its credentials may be shown.
    pub(super) is_ours: bool,
    /// Where it publishes over ZMQ, if it does.
    pub(super) zmq: Option<SocketAddr>,
    /// The sidechain, on its port.
    pub(super) sidechain: SidechainServer,
    /// What gives the templates in the node's place.
    pub(super) enforcer: Option<EnforcerServer>,
    /// Who bids, if anybody has to.
    pub(super) bidder: Option<Bidder>,
    /// What happens at both.
    pub(super) feed: Feed,
    /// The node, if it is ours: dropped, its port closes and its container is removed.
    pub(super) running: Option<Box<dyn Any + Send + Sync>>,
}

/// Starts what is to be started and makes sure of the rest.
pub(super) async fn start(choice: &NodeChoice, way: Way, slot: u8) -> Result<Backend, NodeError> {
    let mut backend = match choice {
        NodeChoice::Simulated => simulated(way, slot).await?,
        NodeChoice::Container => container(way, slot).await?,
        NodeChoice::Own(_) if way != Way::Own => return Err(NodeError::NoBidder),
        NodeChoice::Own(url) => real("your own", url.clone(), slot).await?.0,
    };
    if way == Way::Enforcer {
        let (client, options) = (backend.node.client(), EnforcerOptions::default());
        backend.enforcer = Some(EnforcerServer::start(client, ANY_PORT, options).await?);
    }
    Ok(backend)
}

async fn simulated(way: Way, slot: u8) -> Result<Backend, NodeError> {
    let world = SharedWorld::new(World::new([slot], SEED));
    let feed = Feed::World(world.subscribe());
    let credentials = Some(Credentials::new(USER, PASSWORD));
    let server =
        NodeServer::start(world.clone(), ANY_PORT, credentials.clone(), wall_clock()).await?;
    Ok(Backend {
        kind: "simulated",
        node: NodeUrl::ours(server.address(), USER, PASSWORD),
        is_ours: true,
        zmq: None,
        enforcer: None,
        bidder: (way != Way::Own).then(|| Bidder::simulated(world.clone(), slot)),
        sidechain: SidechainServer::start(world, slot, ANY_PORT, credentials).await?,
        feed,
        running: Some(Box::new(server)),
    })
}

async fn container(way: Way, slot: u8) -> Result<Backend, NodeError> {
    let bitcoind = Bitcoind::start(BitcoindOptions::default()).await?;
    // The sidechain begins at the tip, so the coins of bids come first.
    let wallet = match way {
        Way::Own => None,
        Way::Blind | Way::Enforcer => Some(bidder::fill_wallet(&bitcoind).await?),
    };
    let node = NodeUrl::ours(bitcoind.rpc_address(), RPC_USER, RPC_PASSWORD);
    let zmq = Some(bitcoind.zmq_address());
    let (backend, follower) = real("bitcoind in a container", node, slot).await?;
    let bidder = wallet.map(|wallet| Bidder::with_wallet(wallet, follower, slot));
    Ok(Backend { is_ours: true, zmq, bidder, running: Some(Box::new(bitcoind)), ..backend })
}

/// A real node: the sidechain begins at its tip, and follows it from there.
async fn real(
    kind: &'static str,
    node: NodeUrl,
    slot: u8,
) -> Result<(Backend, Arc<Follower<RpcClient>>), NodeError> {
    let (tip, height) = probe(&node).await?;
    let client = node.client();
    let sidechain = Sidechain::new(slot, SEED, tip);
    let follower = Arc::new(Follower::new(sidechain, client.clone()));
    let credentials = Some(Credentials::new(USER, PASSWORD));
    let sidechain =
        SidechainServer::start_following(Arc::clone(&follower), ANY_PORT, credentials).await?;
    let feed = Feed::Chain(ChainWatch::new(Arc::clone(&follower), client, slot, height));
    let (zmq, enforcer, bidder, running) = (None, None, None, None);
    let backend =
        Backend { kind, node, is_ours: false, zmq, enforcer, bidder, sidechain, feed, running };
    Ok((backend, follower))
}

/// The node's tip and its height, if it is a node on regtest.
async fn probe(node: &NodeUrl) -> Result<(BlockHash, u32), NodeError> {
    let client = node.client().with_patience(PROBE_PATIENCE);
    let address = node.to_string();
    let info = match client.call("getblockchaininfo", json!([])).await {
        Ok(info) => info,
        Err(RpcFailure::NotJsonRpc { status: StatusCode::UNAUTHORIZED, .. }) => {
            return Err(NodeError::Stranger(address));
        }
        Err(failure) => return Err(NodeError::Call { address, failure }),
    };
    read_probe(address, &info)
}

fn read_probe(address: String, info: &Value) -> Result<(BlockHash, u32), NodeError> {
    let Some(chain) = info["chain"].as_str() else { return Err(NodeError::NoNode(address)) };
    if chain != "regtest" {
        return Err(NodeError::OtherChain { address, chain: chain.to_owned() });
    }
    let tip = info["bestblockhash"].as_str().and_then(|text| text.parse().ok());
    let height = info["blocks"].as_u64().and_then(|height| u32::try_from(height).ok());
    tip.zip(height).ok_or(NodeError::NoNode(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Result<NodeUrl, &'static str> {
        text.parse().map_err(|NodeChoiceError(problem)| problem)
    }

    #[test]
    fn urls_are_taken_apart() {
        for (text, host, port, credentials) in [
            ("http://a:b@127.0.0.1:1", "127.0.0.1", 1, Some(("a", "b"))),
            ("http://a:b=@[::1]/", "::1", 18443, Some(("a", "b="))),
            ("http://node:2", "node", 2, None),
        ] {
            let credentials =
                credentials.map(|(user, password)| (user.to_owned(), password.to_owned()));
            assert_eq!(url(text), Ok(NodeUrl { host: host.to_owned(), port, credentials }));
        }
        assert_eq!("simulated".parse(), Ok(NodeChoice::Simulated));
        assert_eq!("bitcoind".parse(), Ok(NodeChoice::Container));
    }

    #[test]
    fn what_is_no_url_is_said() {
        for (text, problem) in [
            ("", "this is no URL"),
            ("bitcoind2", "a node is reached by http"),
            ("https://a:b@127.0.0.1:1", "a node is reached by http"),
            ("http://a:b@127.0.0.1:0", "the port must be from 1 to 65535"),
            ("http://a:b@127.0.0.1:65536", "the port must be from 1 to 65535"),
            ("http://a@127.0.0.1:1", "there is a user without a password"),
            ("http://a:b@127.0.0.1:1/wallet/x", "nothing may follow the port"),
        ] {
            assert_eq!(url(text), Err(problem), "{text:?}");
        }
    }

    #[test]
    fn a_password_stays_out_of_debug_output() {
        let url: NodeUrl = "http://user:secret@127.0.0.1:1".parse().unwrap();
        assert_eq!(format!("{url:?}"), "NodeUrl(127.0.0.1:1)");
    }

    #[test]
    fn only_regtest_is_mined() {
        let read = |info: Value| read_probe("node:1".to_owned(), &info).unwrap_err().to_string();
        let main = read(json!({ "chain": "main", "blocks": 1, "bestblockhash": "00" }));
        assert!(main.contains(r#""main""#) && main.contains("-regtest"), "{main}");
        for other in [json!(null), json!({}), json!({ "chain": "regtest" }), json!([1])] {
            let error = read(other);
            assert!(error.contains("is it the JSON-RPC"), "{error}");
        }
    }
}
