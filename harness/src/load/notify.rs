//! How long a new tip takes to every miner.
//!
//! The clock starts when the node has the block. Beside it stands what the machine itself needs:
//! the same bytes to as many sockets, by the same readers, from a thread that does nothing but
//! send ([`super::bare`]). The ratio of the two is the server's part.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::bare::Bare;
use super::report::{Latency, NotifyReport, histogram, note};
use super::session::open_all;
use super::wire::{Line, Wire, classify, has_branch};
use super::{LoadError, LoadOptions, Target};

/// How long a tip may take to the last miner.
const PATIENCE: Duration = Duration::from_secs(20);

/// Between the last miner's job of one tip and the next tip: blocks are minutes apart, and a server
/// may have done with one before the next comes.
const PAUSE: Duration = Duration::from_millis(500);

/// Tips before those that are measured.
const WARMING: u32 = 3;

/// When each miner heard of the present tip.
#[derive(Debug)]
struct Round {
    /// Counted from 1; nothing is noted before.
    number: u64,
    /// Of its first job, which voids all before it.
    clean: Heard,
    /// Of its first job with transactions.
    whole: Heard,
    /// Bytes of the last clean job.
    job_bytes: usize,
}

#[derive(Debug)]
struct Heard {
    /// The last round in which each miner heard.
    rounds: Vec<u64>,
    times: Vec<Instant>,
}

impl Heard {
    fn of(miners: usize) -> Self {
        Self { rounds: vec![0; miners], times: Vec::new() }
    }

    /// Whether it was the last miner that heard.
    fn note(&mut self, round: u64, miner: usize, now: Instant) -> bool {
        let first = self.rounds[miner] < round;
        if first {
            self.rounds[miner] = round;
            self.times.push(now);
        }
        first && self.times.len() == self.rounds.len()
    }
}

/// All miners, listening.
#[derive(Debug)]
struct Listeners {
    round: Arc<Mutex<Round>>,
    complete: Arc<Notify>,
    tasks: JoinSet<io::Result<()>>,
}

impl Listeners {
    fn start(wires: Vec<Wire>) -> Self {
        let of = || Heard::of(wires.len());
        let round = Round { number: 0, clean: of(), whole: of(), job_bytes: 0 };
        let (round, complete) = (Arc::new(Mutex::new(round)), Arc::new(Notify::new()));
        let mut tasks = JoinSet::new();
        for (number, wire) in wires.into_iter().enumerate() {
            tasks.spawn(listen(wire, number, Arc::clone(&round), Arc::clone(&complete)));
        }
        Self { round, complete, tasks }
    }

    fn begin(&self) {
        let mut round = self.round.lock().unwrap_or_else(PoisonError::into_inner);
        round.number += 1;
        round.clean.times.clear();
        round.whole.times.clear();
    }

    /// When each miner heard; waits until all did.
    async fn all(&mut self, heard: fn(&Round) -> &Heard) -> Result<Vec<Instant>, LoadError> {
        let due = Instant::now() + PATIENCE;
        loop {
            let (miners, times) = {
                let round = self.round.lock().unwrap_or_else(PoisonError::into_inner);
                (round.clean.rounds.len(), heard(&round).times.clone())
            };
            if times.len() == miners {
                return Ok(times);
            }
            if timeout_at(due, self.complete.notified()).await.is_ok() {
                continue;
            }
            return match self.tasks.try_join_next() {
                Some(Ok(Err(error))) => Err(LoadError::Broken(error)),
                Some(Ok(Ok(())) | Err(_)) | None => Err(LoadError::TipLost {
                    reached: times.len(),
                    miners,
                    seconds: PATIENCE.as_secs(),
                }),
            };
        }
    }

    fn job_bytes(&self) -> usize {
        self.round.lock().unwrap_or_else(PoisonError::into_inner).job_bytes
    }
}

async fn listen(
    mut wire: Wire,
    number: usize,
    round: Arc<Mutex<Round>>,
    complete: Arc<Notify>,
) -> io::Result<()> {
    loop {
        wire.read(|line| {
            let kind = classify(line);
            if !matches!(kind, Line::CleanJob | Line::Job) {
                return;
            }
            let now = Instant::now();
            let mut round = round.lock().unwrap_or_else(PoisonError::into_inner);
            let this = round.number;
            let mut is_last = false;
            if kind == Line::CleanJob {
                round.job_bytes = line.len() + 1;
                is_last |= round.clean.note(this, number, now);
            }
            if has_branch(line) {
                is_last |= round.whole.note(this, number, now);
            }
            if is_last {
                complete.notify_one();
            }
        })
        .await?;
    }
}

/// Makes tips and waits for each to arrive.
pub(super) async fn measure(
    options: &LoadOptions,
    target: &Target,
) -> Result<NotifyReport, LoadError> {
    let node = target.node.as_ref().ok_or(LoadError::NoNode)?;
    // One miner first: it tells how long a job is, and the server has warmed up.
    let mut alone = Listeners::start(wires(target, 1).await?);
    // A subscriber may miss the first notice, and a long poll of before comes first at the second.
    for _ in 0..WARMING {
        alone.begin();
        node.new_tip().await?;
        alone.all(|round| &round.clean).await?;
    }
    let job_bytes = alone.job_bytes();
    // The loop has both ends of its sockets here, so its turn is over before the miners come.
    let bare = bare(options, job_bytes).await?;
    let mut listeners = Listeners::start(wires(target, options.connections).await?);
    let (mut first, mut every, mut whole) = (histogram(), histogram(), histogram());
    for _ in 0..options.tips {
        sleep_until(Instant::now() + PAUSE).await;
        listeners.begin();
        let there = node.new_tip().await?;
        for (place, heard) in (0..).zip(listeners.all(|round| &round.clean).await?) {
            let latency = heard.saturating_duration_since(there);
            note(&mut every, latency);
            if place == 0 {
                note(&mut first, latency);
            }
        }
        if options.whole_later {
            for heard in listeners.all(|round| &round.whole).await? {
                note(&mut whole, heard.saturating_duration_since(there));
            }
        }
    }
    let latency = Latency::of(&every);
    Ok(NotifyReport {
        connections: options.connections,
        tips: options.tips,
        job_bytes,
        first: Latency::of(&first),
        ratio_p99: latency.p99_us / bare.p99_us.max(1.0),
        latency,
        whole: options.whole_later.then(|| Latency::of(&whole)),
        bare,
    })
}

async fn wires(target: &Target, count: usize) -> Result<Vec<Wire>, LoadError> {
    let sessions = open_all(target, count).await?;
    Ok(sessions.into_iter().map(|session| session.wire).collect())
}

/// As many rounds of the loop as there are tips.
async fn bare(options: &LoadOptions, job_bytes: usize) -> Result<Latency, LoadError> {
    let mut bare = Bare::connect(options.connections, job_bytes).await.map_err(LoadError::Bare)?;
    let mut listeners = Listeners::start(bare.take_wires());
    let mut latencies = histogram();
    for _ in 0..options.tips {
        listeners.begin();
        let sending = bare.send();
        let heard = listeners.all(|round| &round.clean).await?;
        let sent = sending.await.map_err(io::Error::other).and_then(|sent| sent);
        let (started, back) = sent.map_err(LoadError::Bare)?;
        bare = back;
        for heard in heard {
            note(&mut latencies, heard.saturating_duration_since(started));
        }
    }
    Ok(Latency::of(&latencies))
}
