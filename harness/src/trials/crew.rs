//! The miners of a trial: simminers at a chosen pace, who come back whenever they are cut off.

use std::net::SocketAddr;

use simminer::runtime::{Endpoint, Options, run};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Miners that mine until they are stopped or dropped.
#[derive(Debug)]
pub(super) struct Crew {
    tasks: JoinSet<()>,
}

impl Crew {
    /// So many miners at `pool`, each sending so many shares a second at most.
    pub(super) fn start(pool: SocketAddr, count: u32, rate: f64) -> Self {
        let endpoint = Endpoint { host: pool.ip().to_string(), port: pool.port() };
        let mut tasks = JoinSet::new();
        for number in 1..=count {
            let mut options = Options::new(endpoint.clone(), &format!("miner{number}"));
            options.rate_max = Some(rate);
            // The witness sees what they do; nobody listens to them.
            let (events, _) = mpsc::channel(1);
            tasks.spawn(async move {
                if let Err(error) = run(options, events, std::future::pending()).await {
                    tracing::error!(%error, number, "a miner gave up");
                }
            });
        }
        Self { tasks }
    }

    /// Stops them all.
    pub(super) async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}
