//! The miners of `harness up`, and the connection that only watches the jobs go by.
//!
//! They run in this process and speak to the server over a socket like any other. Not in here: what
//! is made of what they tell (`judge.rs`).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use server::pool::Counters;
use simminer::runtime::{self, Endpoint, MinerEvent, Options};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::coinbase;
use super::judge::Input;

/// Events of one miner that may wait.
const EVENTS_MAX: usize = 4_096;

/// How many miners, how fast, and who hears of them.
#[derive(Debug)]
pub(super) struct Crew {
    pub(super) count: u32,
    /// Least time between two blocks of all of them together.
    pub(super) pace: Duration,
    pub(super) inbox: mpsc::Sender<Input>,
}

/// Miners that mine until they are stopped or dropped.
#[derive(Debug)]
pub(super) struct Miners {
    tasks: JoinSet<()>,
}

impl Miners {
    /// Has one miner watch the server that listens on `address` as soon as its `counters` show a
    /// job, for before that its door is closed; and the crew mine there once the job was seen.
    pub(super) fn start(
        address: SocketAddr,
        counters: &watch::Receiver<Counters>,
        crew: &Crew,
    ) -> Self {
        let mut tasks = JoinSet::new();
        let endpoint = endpoint(address);
        let (seen, _) = watch::channel(false);
        for number in 0..=crew.count {
            let mut options = Options::new(endpoint.clone(), &name(number));
            // On regtest every share is a block. A second one before the first was answered would
            // only be its rival.
            options.client.persona.unanswered_max = 1;
            // Each in turn, or they would all find the same block.
            options.rate_max = Some(1.0 / (crew.pace * crew.count.max(1)).as_secs_f64());
            let delay = crew.pace * number.saturating_sub(1);
            if number == 0 {
                options.threads = 0;
            }
            let miner = Miner {
                number,
                inbox: crew.inbox.clone(),
                seen: seen.clone(),
                session: None,
                has_connected: false,
            };
            tasks.spawn(miner.mine(options, delay, counters.clone()));
        }
        Self { tasks }
    }

    /// Stops all of them; their threads end by themselves at once.
    pub(super) async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

/// The user name of a miner; the first only watches.
fn name(number: u32) -> String {
    if number == 0 { "watch".to_owned() } else { format!("miner{number}") }
}

/// Where a miner on this machine finds a server that listens on `address`.
fn endpoint(address: SocketAddr) -> Endpoint {
    let host = match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => Ipv4Addr::LOCALHOST.to_string(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => Ipv6Addr::LOCALHOST.to_string(),
        SocketAddr::V4(_) | SocketAddr::V6(_) => address.ip().to_string(),
    };
    Endpoint { host, port: address.port() }
}

struct Miner {
    /// 0 is the one that watches.
    number: u32,
    inbox: mpsc::Sender<Input>,
    /// Turns true when the one that watches has told of a job.
    seen: watch::Sender<bool>,
    /// Extranonce1 and the length of extranonce2.
    session: Option<(Vec<u8>, usize)>,
    has_connected: bool,
}

impl Miner {
    async fn mine(
        mut self,
        options: Options,
        delay: Duration,
        mut counters: watch::Receiver<Counters>,
    ) {
        if counters.wait_for(|counters| counters.jobs > 0).await.is_err() {
            // No server, no mining; it is told elsewhere that it is gone.
            return;
        }
        if self.number > 0 {
            // People see the job before its block.
            drop(self.seen.subscribe().wait_for(|seen| *seen).await);
            sleep_until(Instant::now() + delay).await;
        }
        let (events, mut heard) = mpsc::channel(EVENTS_MAX);
        let told = async {
            while let Some(event) = heard.recv().await {
                let Some(input) = self.read(event) else { continue };
                let is_job = matches!(input, Input::Job { .. });
                if self.inbox.send(input).await.is_err() {
                    return;
                }
                if is_job {
                    self.seen.send_replace(true);
                }
            }
        };
        let (outcome, ()) =
            tokio::join!(runtime::run(options, events, std::future::pending()), told);
        let number = self.number;
        let input = match outcome {
            Ok(_) => Input::Fault(format!("{} ended without a reason", name(number))),
            Err(error) => Input::Fault(format!("{} ended: {error}", name(number))),
        };
        // Nobody listens once it is over.
        self.inbox.send(input).await.unwrap_or_default();
    }

    /// What an event means to the run.
    fn read(&mut self, event: MinerEvent) -> Option<Input> {
        let name = name(self.number);
        match event {
            MinerEvent::Complaint(complaint) => {
                Some(Input::Fault(format!("{name} complains about the server: {complaint}")))
            }
            MinerEvent::Rejected { share, message, .. } => {
                Some(Input::Notice(format!("share {} of {name} rejected: {message}", share.hash)))
            }
            MinerEvent::OptionRefused { method, refusal } => {
                Some(Input::Notice(format!("the server refused {name} {method}: {refusal}")))
            }
            MinerEvent::Message(text) => {
                Some(Input::Notice(format!("the server says to {name}: {}", text.escape_debug())))
            }
            // The door opens in the moment after the first job.
            MinerEvent::Disconnected { .. } if !self.has_connected => None,
            MinerEvent::Disconnected { why } => {
                Some(Input::Notice(format!("{name} lost its connection: {why}")))
            }
            MinerEvent::Connected => {
                self.has_connected = true;
                None
            }
            MinerEvent::Subscribed { extranonce1, extranonce2_size }
            | MinerEvent::Extranonce { extranonce1, extranonce2_size } => {
                self.session = Some((extranonce1, extranonce2_size));
                None
            }
            MinerEvent::Job { job, .. } if self.number == 0 => {
                let (extranonce1, extranonce2_size) = self.session.as_ref()?;
                let bytes = job.coinbase(extranonce1, &vec![0; *extranonce2_size]);
                Some(match coinbase::read(&bytes) {
                    Ok(reading) => Input::Job {
                        id: job.id.clone(),
                        height: reading.height,
                        clean: job.clean,
                        m7s: reading.m7s,
                    },
                    Err(error) => Input::Fault(format!("job {}: {error}", job.id)),
                })
            }
            MinerEvent::Job { .. }
            | MinerEvent::Authorized
            | MinerEvent::VersionMask(_)
            | MinerEvent::Difficulty(_)
            | MinerEvent::Submitted(_)
            | MinerEvent::Accepted(_)
            | MinerEvent::Rate { .. } => None,
        }
    }
}
