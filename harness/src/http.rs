//! The simulated world on real loopback ports: the only part of it that touches sockets and time.
//!
//! [`SharedWorld`] is the one lock around the pure [`World`]; the servers below hold clones of it.
//! What a call changed is published before the lock is let go, so an observer never sees events
//! of two calls mixed. Not in here: what any request means (`sim`).

mod enforcer;
mod listening;
mod mainchain;
mod node;
mod publisher;
mod sidechain;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::{Mutex, broadcast, watch};

pub use enforcer::{
    BlockVerdict, EnforcerCondition, EnforcerError, EnforcerOptions, EnforcerServer,
    LONG_POLL_PATIENCE, TIP_POLL,
};
pub use listening::{Credentials, ServeError};
pub use mainchain::{Mainchain, MainchainError};
pub use node::{NodeServer, NodeService};
pub use publisher::Publisher;
pub use sidechain::{FollowError, Follower, SidechainServer};

use crate::sim::{World, WorldEvent};

/// Events an observer may be behind; one that is further behind misses the oldest.
pub const EVENTS_MAX: usize = 1024;

/// Tells the time to the simulated node, in Unix seconds.
pub type Clock = Arc<dyn Fn() -> u32 + Send + Sync>;

/// The machine's own clock.
pub fn wall_clock() -> Clock {
    Arc::new(|| {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // The header field that this ends up in has 32 bits too.
        u32::try_from(since_epoch.as_secs()).unwrap_or(u32::MAX)
    })
}

/// The simulated world, shared by the servers and whoever steers it. Clones are the same world.
#[derive(Clone, Debug)]
pub struct SharedWorld {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    world: Mutex<World>,
    events: broadcast::Sender<WorldEvent>,
    /// Counts changes of the tip; parked long-polls wait on it.
    tips: watch::Sender<u64>,
}

impl SharedWorld {
    /// Takes a world into shared use.
    pub fn new(world: World) -> Self {
        let (events, _) = broadcast::channel(EVENTS_MAX);
        let (tips, _) = watch::channel(0);
        Self { inner: Arc::new(Inner { world: Mutex::new(world), events, tips }) }
    }

    /// Looks at the world or changes it, then publishes what happened.
    pub async fn with<R>(&self, change: impl FnOnce(&mut World) -> R) -> R {
        let mut world = self.inner.world.lock().await;
        let result = change(&mut world);
        while let Some(event) = world.poll_event() {
            if matches!(event, WorldEvent::TipChanged { .. }) {
                self.inner.tips.send_modify(|count| *count += 1);
            }
            // An error says that nobody listens, which is allowed.
            drop(self.inner.events.send(event));
        }
        result
    }

    /// Every event from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<WorldEvent> {
        self.inner.events.subscribe()
    }

    fn tips(&self) -> watch::Receiver<u64> {
        self.inner.tips.subscribe()
    }
}

#[cfg(test)]
mod tests;
