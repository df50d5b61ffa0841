//! The simulated bitcoind on a port, with long-polls that wait without holding up anyone.
//!
//! Not in here: what the node answers (`sim/node.rs`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::listening::{Credentials, Daemon, Door, Listening, ServeError, serve};
use super::{Clock, SharedWorld};
use crate::sim::RpcReply;
use crate::sim::node::RpcOutcome;

/// The node of a shared world on a port. Dropping it closes the port and every connection.
#[derive(Debug)]
pub struct NodeServer {
    listening: Listening,
}

impl NodeServer {
    /// Serves the node of `world` on `bind`; port 0 takes any that is free.
    pub async fn start(
        world: SharedWorld,
        bind: SocketAddr,
        credentials: Option<Credentials>,
        clock: Clock,
    ) -> Result<Self, ServeError> {
        let listening = Listening::start(NodeDaemon { world, clock }, bind, credentials).await?;
        Ok(Self { listening })
    }

    /// The address it listens on, its port filled in.
    pub const fn address(&self) -> SocketAddr {
        self.listening.address()
    }
}

/// The node of a shared world on streams that somebody else accepts, such as simulated ones.
/// Clones are the same node.
#[derive(Clone)]
pub struct NodeService {
    door: Arc<Door<NodeDaemon>>,
}

impl std::fmt::Debug for NodeService {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("NodeService").finish_non_exhaustive()
    }
}

impl NodeService {
    /// The node of `world`, open to everybody.
    pub fn new(world: SharedWorld, clock: Clock) -> Self {
        Self { door: Arc::new(Door::new(NodeDaemon { world, clock }, None)) }
    }

    /// Answers what comes over one connection until it ends.
    pub async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin + 'static) {
        serve(stream, Arc::clone(&self.door)).await;
    }
}

struct NodeDaemon {
    world: SharedWorld,
    clock: Clock,
}

impl Daemon for NodeDaemon {
    async fn answer(&self, body: Bytes) -> Option<RpcReply> {
        // Subscribed before the question, so that no change falls between the two.
        let mut tips = self.world.tips();
        let now = (self.clock)();
        let outcome = self.world.with(|world| world.handle_rpc(now, &body)).await;
        let mut parked = match outcome {
            RpcOutcome::Reply(reply) => return Some(reply),
            RpcOutcome::Parked(parked) => parked,
        };
        loop {
            let wait = parked.look_at().saturating_sub((self.clock)()).max(1);
            // Both a change and the end of the wait are a reason to ask again.
            drop(timeout(Duration::from_secs(u64::from(wait)), tips.changed()).await);
            let now = (self.clock)();
            let reply = self.world.with(|world| world.resume(now, &mut parked)).await;
            if reply.is_some() {
                return reply;
            }
        }
    }
}
