//! Several engines in one process: a pool a thread, each with miners and a share log of its own.
//!
//! What there is one of stands in front of them, on the thread that called: the doors
//! (`reception`), the calls (`feed`), the nodes' notices, the signals, the totals. To the engines
//! it is all events; an engine knows nothing of the others. With one engine nothing of this is
//! there.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{error, info_span};

use super::calls::Direct;
use super::disk::DiskError;
use super::doors::Doors;
use super::engine::{Parts, run};
use super::feed::{Feed, feed};
use super::listener::TcpConnector;
use super::reception::{Desk, desks};
use super::{FileDisk, wall_clock};
use crate::config::{Config, Engine};
use crate::pool::Counters;
use crate::pool::action::Halt;
use crate::pool::event::Event;

/// Events for all engines that may wait for one of them.
const TOLD: usize = 64;
/// How long engines have to end after the first did: longer than a pool waits for its blocks.
const PARTING: Duration = Duration::from_secs(20);

/// How an engine ended.
type Ended = Result<Halt, DiskError>;

/// What the engines share.
#[derive(Debug)]
pub(super) struct Front {
    /// What the core is told, of each engine but for its number.
    pub(super) config: Config,
    /// How many there are, 2 or more.
    pub(super) engines: u32,
    pub(super) doors: Doors,
    pub(super) calls: Direct<TcpConnector>,
    pub(super) told: mpsc::Receiver<Event>,
    pub(super) disk: FileDisk,
    pub(super) counters: watch::Sender<Counters>,
}

/// Runs all engines until one of them cannot go on, or `stop` is done and they have ended.
pub(super) async fn run_all(
    front: Front,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Ended {
    let Front { config, engines, doors, calls, told, disk, counters } = front;
    // Everything in front of the engines ends with this set.
    let mut tasks = JoinSet::new();
    let (feed, feeding) = feed(calls);
    tasks.spawn(feeding);
    let disks = disk.of_engines(engines)?;
    let (at_desks, reception) = desks(disks.len());
    tasks.spawn(reception.receive(doors, config.limits.clone()));
    let (stopping, stopped) = watch::channel(false);
    let (mut ends, mut ears, mut totals) = (JoinSet::new(), Vec::new(), Vec::new());
    for ((number, disk), desk) in (0..).zip(disks).zip(at_desks) {
        let (ear, told) = mpsc::channel(TOLD);
        let (own, total) = watch::channel(Counters::default());
        let config = Config { engine: Engine { number, of: engines }, ..config.clone() };
        let feed = feed.of_engine(ears.len());
        let end = Place { config, desk, feed, told, disk, counters: own }.start(stopped.clone());
        ends.spawn(async move { end.await.unwrap_or_else(|_| Ok(lost())) });
        ears.push(ear);
        totals.push(total);
    }
    tasks.spawn(tell_all(told, feed, ears));
    let counters = Arc::new(counters);
    for mut own in totals.clone() {
        let (totals, counters) = (totals.clone(), Arc::clone(&counters));
        tasks.spawn(async move {
            while own.changed().await.is_ok() {
                add_up(&totals, &counters);
            }
        });
    }
    let stopping = Arc::new(stopping);
    let tell = Arc::clone(&stopping);
    tasks.spawn(async move {
        stop.await;
        tell.send_replace(true);
    });
    let mut ended = Ok(Halt::Stopped);
    let mut next = ends.join_next().await;
    // Whatever ended the first ends all.
    stopping.send_replace(true);
    let others = async {
        while let Some(end) = next.take() {
            ended = worse(ended, end.unwrap_or_else(|_| Ok(lost())));
            next = ends.join_next().await;
        }
        ended
    };
    let ended = timeout(PARTING, others).await.unwrap_or_else(|_| Ok(hangs()));
    add_up(&totals, &counters);
    ended
}

/// What one engine is made of.
struct Place {
    config: Config,
    desk: Desk,
    feed: Feed,
    told: mpsc::Receiver<Event>,
    disk: FileDisk,
    counters: watch::Sender<Counters>,
}

impl Place {
    /// Starts a thread that runs it until it halts, or is to stop. A thread that ends without a
    /// word lets go of its end of the channel.
    fn start(self, stopped: watch::Receiver<bool>) -> oneshot::Receiver<Ended> {
        let (tell, ended) = oneshot::channel();
        let name = format!("engine {}", self.config.engine.number + 1);
        let begun = thread::Builder::new().name(name).spawn(move || {
            // The front may be gone; then nobody needs to hear of it.
            tell.send(self.run(stopped)).unwrap_or_default();
        });
        if let Err(error) = begun {
            error!("no thread for an engine: {error}; look at the limit on processes");
        }
        ended
    }

    fn run(self, mut stopped: watch::Receiver<bool>) -> Ended {
        let Self { config, desk, feed, told, disk, counters } = self;
        // Every line that this thread logs says whose it is.
        let _span = info_span!("engine", number = config.engine.number + 1).entered();
        let runtime = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                return Ok(Halt::Fatal(format!(
                    "the system does not tell an engine of sockets and timers ({error}); look at \
                     the limits on open files and memory"
                )));
            }
        };
        let parts =
            Parts { config, listener: desk, calls: feed, told, disk, counters, witness: () };
        let stop = async move {
            // Without the front there is nothing to run for.
            stopped.wait_for(|stopped| *stopped).await.map(drop).unwrap_or_default();
        };
        let ended = runtime.block_on(run(parts, wall_clock, stop));
        // A host name that nobody resolves is no reason to wait.
        runtime.shutdown_background();
        ended
    }
}

fn lost() -> Halt {
    Halt::Fatal(
        "the thread of an engine ended without a word, which is a bug: the log has what came \
         before; a restart recovers from the journal"
            .to_owned(),
    )
}

fn hangs() -> Halt {
    Halt::Fatal(format!(
        "an engine did not end within {} s of being told to: a disk or a node may hang; a restart \
         recovers from the journal",
        PARTING.as_secs()
    ))
}

/// The end that has more to say.
fn worse(one: Ended, other: Ended) -> Ended {
    if matches!(one, Ok(Halt::Stopped)) { other } else { one }
}

/// Tells all engines of what nobody asked for. The feed first: what was asked before is older.
async fn tell_all(mut told: mpsc::Receiver<Event>, feed: Feed, ears: Vec<mpsc::Sender<Event>>) {
    while let Some(event) = told.recv().await {
        if matches!(event, Event::Notified { .. }) {
            feed.heard().await;
        }
        for ear in &ears {
            // One that ended ends them all.
            ear.send(event.clone()).await.unwrap_or_default();
        }
    }
}

/// The totals are the sums of the engines' own.
fn add_up(totals: &[watch::Receiver<Counters>], sums: &watch::Sender<Counters>) {
    sums.send_if_modified(|known| {
        let sum = totals.iter().map(|total| *total.borrow()).sum();
        core::mem::replace(known, sum) != sum
    });
}
