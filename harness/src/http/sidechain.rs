//! A sidechain stand-in on a port, beside the simulated node or behind a real one.
//!
//! Beside the simulated node it is never behind: the node tells it of each block at once. Behind a
//! real bitcoind, a [`Follower`] fetches what it missed before it answers, so that a candidate is
//! always for the tip that bitcoind has at that moment. Not in here: the sidechain itself
//! (`sim/sidechain.rs`), and how blocks are fetched from a node (`mainchain.rs`).

use std::net::SocketAddr;
use std::sync::Arc;

use bitcoin::BlockHash;
use bitcoin::hashes::Hash as _;
use bytes::Bytes;
use tokio::sync::Mutex;

use super::SharedWorld;
use super::listening::{Credentials, Daemon, Listening, ServeError};
use super::mainchain::{Mainchain, MainchainError};
use crate::sim::RpcReply;
use crate::sim::sidechain::{OutOfOrder, Sidechain, SidechainChange};

/// Why a sidechain could not catch up with the mainchain.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The node gave no answer.
    #[error("the mainchain node did not say what its chain is: {0}; is it running?")]
    Mainchain(#[source] MainchainError),
    /// The node's chain does not contain the block the sidechain began at.
    #[error(
        "the mainchain ends at {0}, which does not descend from the block that the sidechain began \
         at; start the sidechain from this network's genesis"
    )]
    OtherChain(BlockHash),
    /// The node named blocks that do not follow each other.
    #[error(transparent)]
    OutOfOrder(#[from] OutOfOrder),
}

/// A sidechain and the node whose chain it follows.
#[derive(Debug)]
pub struct Follower<M> {
    mainchain: M,
    sidechain: Mutex<Sidechain>,
}

impl<M: Mainchain> Follower<M> {
    /// Lets a sidechain follow a node.
    pub fn new(sidechain: Sidechain, mainchain: M) -> Self {
        Self { mainchain, sidechain: Mutex::new(sidechain) }
    }

    /// Brings the sidechain to the node's tip; returns what that did to it.
    pub async fn catch_up(&self) -> Result<Vec<SidechainChange>, FollowError> {
        self.catch_up_locked(&mut *self.sidechain.lock().await).await
    }

    async fn catch_up_locked(
        &self,
        sidechain: &mut Sidechain,
    ) -> Result<Vec<SidechainChange>, FollowError> {
        let best = self.mainchain.best_block_hash().await.map_err(FollowError::Mainchain)?;
        let mut branch = Vec::new();
        let mut at = best;
        while !sidechain.has_seen(at) {
            if at == BlockHash::all_zeros() {
                return Err(FollowError::OtherChain(best));
            }
            let block = self.mainchain.block(at).await.map_err(FollowError::Mainchain)?;
            let parent = block.header.prev_blockhash;
            branch.push((at, block));
            at = parent;
        }
        branch.reverse();
        Ok(sidechain.follow(at, &branch)?)
    }

    /// Looks at the sidechain or changes it, as it was when it last caught up.
    pub async fn with<R>(&self, change: impl FnOnce(&mut Sidechain) -> R) -> R {
        change(&mut *self.sidechain.lock().await)
    }
}

/// A sidechain stand-in on a port. Dropping it closes the port and every connection.
#[derive(Debug)]
pub struct SidechainServer {
    listening: Listening,
}

impl SidechainServer {
    /// Serves the sidechain in a slot of `world` on `bind`; port 0 takes any that is free.
    pub async fn start(
        world: SharedWorld,
        slot: u8,
        bind: SocketAddr,
        credentials: Option<Credentials>,
    ) -> Result<Self, ServeError> {
        let listening = Listening::start(Embedded { world, slot }, bind, credentials).await?;
        Ok(Self { listening })
    }

    /// Serves a sidechain that follows a node of its own; each request catches up first.
    pub async fn start_following<M: Mainchain>(
        follower: Arc<Follower<M>>,
        bind: SocketAddr,
        credentials: Option<Credentials>,
    ) -> Result<Self, ServeError> {
        let listening = Listening::start(Following { follower }, bind, credentials).await?;
        Ok(Self { listening })
    }

    /// The address it listens on, its port filled in.
    pub const fn address(&self) -> SocketAddr {
        self.listening.address()
    }
}

struct Embedded {
    world: SharedWorld,
    slot: u8,
}

impl Daemon for Embedded {
    async fn answer(&self, body: Bytes) -> Option<RpcReply> {
        self.world.with(|world| world.handle_sidechain_rpc(self.slot, &body)).await
    }
}

struct Following<M> {
    follower: Arc<Follower<M>>,
}

impl<M: Mainchain> Daemon for Following<M> {
    async fn answer(&self, body: Bytes) -> Option<RpcReply> {
        let mut sidechain = self.follower.sidechain.lock().await;
        match self.follower.catch_up_locked(&mut sidechain).await {
            Ok(_) => sidechain.handle_rpc(&body),
            Err(error) => sidechain.handle_rpc_failing(&body, &error),
        }
    }
}
