//! The timed part: every miner sends its shares and reads the answers.
//!
//! Who answers makes no difference here: the server that is measured and the bare one beside it get
//! the same lines in the same way, and what they use meanwhile is read from the same place.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::grind::Shares;
use super::report::{float, histogram, note};
use super::wire::{Line, Wire, classify};
use super::{LoadError, LoadOptions, process};

/// How long the last answers may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What came back, of all miners.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    pub(super) latencies: Histogram<u64>,
    pub(super) accepted: u64,
    pub(super) rejected: u64,
    pub(super) clean_jobs: u64,
    pub(super) first_rejection: Option<String>,
    last_answer: Instant,
}

impl Tally {
    fn new(started: Instant) -> Self {
        Self {
            latencies: histogram(),
            accepted: 0,
            rejected: 0,
            clean_jobs: 0,
            first_rejection: None,
            last_answer: started,
        }
    }

    fn take(&mut self, line: &[u8], now: Instant, sent: &mut VecDeque<Instant>) -> usize {
        match classify(line) {
            Line::Yes => self.accepted += 1,
            Line::No => {
                self.rejected += 1;
                let words = || String::from_utf8_lossy(line).into_owned();
                self.first_rejection.get_or_insert_with(words);
            }
            Line::CleanJob => {
                self.clean_jobs += 1;
                return 0;
            }
            Line::Job | Line::Other => return 0,
        }
        self.last_answer = now;
        // Answers come in the order of the shares.
        if let Some(sent) = sent.pop_front() {
            note(&mut self.latencies, now - sent);
        }
        1
    }
}

/// One miner in the timed part.
struct Sender {
    wire: Wire,
    shares: Shares,
    sent: VecDeque<Instant>,
    lines: Vec<u8>,
    tally: Arc<Mutex<Tally>>,
}

impl Sender {
    /// Sends at most `count` shares in one write; false when there are none left.
    async fn send(&mut self, count: usize) -> io::Result<bool> {
        self.lines.clear();
        let count = self.shares.take(count, &mut self.lines);
        let now = Instant::now();
        self.sent.extend(std::iter::repeat_n(now, count));
        self.wire.write(&self.lines).await?;
        Ok(count > 0)
    }

    /// Waits for bytes; how many answers were in them.
    async fn answers(&mut self) -> io::Result<usize> {
        let (sent, tally) = (&mut self.sent, &self.tally);
        let (mut answers, mut now) = (0, None);
        self.wire
            .read(|line| {
                let now = *now.get_or_insert_with(Instant::now);
                let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                answers += tally.take(line, now, sent);
            })
            .await?;
        Ok(answers)
    }

    async fn at_full_speed(mut self, depth: usize, until: Instant) -> io::Result<Shares> {
        self.send(depth).await?;
        while !self.sent.is_empty() {
            let answers = self.answers().await?;
            if answers > 0 && Instant::now() < until {
                self.send(answers).await?;
            }
        }
        Ok(self.shares)
    }

    async fn at_a_pace(
        mut self,
        first: Instant,
        gap: Duration,
        until: Instant,
    ) -> io::Result<Shares> {
        let mut due = first;
        while due < until {
            sleep_until(due).await;
            if !self.send(1).await? {
                break;
            }
            while !self.sent.is_empty() {
                self.answers().await?;
            }
            due += gap;
        }
        Ok(self.shares)
    }
}

/// What the timed part came to.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) tally: Tally,
    /// From the first share to the last answer, in seconds.
    pub(super) seconds: f64,
    /// Of the server's processor time; without its process, none.
    pub(super) cpu_us_per_share: Option<f64>,
    /// What was sent, and what may be left.
    pub(super) shares: Vec<Shares>,
}

/// Sends shares over wires until time or shares end, and looks at the process that answers.
pub(super) async fn send_all(
    options: &LoadOptions,
    wires: Vec<Wire>,
    shares: Vec<Shares>,
    pid: Option<u32>,
) -> Result<Sent, LoadError> {
    let cpu = || pid.map(process::cpu).transpose();
    let before = cpu()?;
    let started = Instant::now();
    let tally = Arc::new(Mutex::new(Tally::new(started)));
    let senders = wires.into_iter().zip(shares).map(|(wire, shares)| Sender {
        wire,
        shares,
        sent: VecDeque::new(),
        lines: Vec::new(),
        tally: Arc::clone(&tally),
    });
    let shares = run_all(options, senders.collect(), started).await?;
    let used = before.zip(cpu()?).map(|(before, after)| after.saturating_sub(before));
    let tally = tally.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let answered = float(tally.accepted + tally.rejected);
    Ok(Sent {
        seconds: (tally.last_answer - started).as_secs_f64(),
        cpu_us_per_share: used.map(|used| used.as_secs_f64() * 1e6 / answered),
        tally,
        shares,
    })
}

/// Runs every miner to its end; gives the shares back.
async fn run_all(
    options: &LoadOptions,
    senders: Vec<Sender>,
    started: Instant,
) -> Result<Vec<Shares>, LoadError> {
    let until = started + options.time;
    let miners = u32::try_from(senders.len()).unwrap_or(u32::MAX);
    let mut tasks = JoinSet::new();
    for (number, sender) in (0..).zip(senders) {
        if let Some(rate) = options.rate {
            let gap = Duration::from_secs_f64(f64::from(miners) / rate);
            let first = started + gap * number / miners;
            tasks.spawn(sender.at_a_pace(first, gap, until));
        } else {
            tasks.spawn(sender.at_full_speed(options.depth, until));
        }
    }
    // A generator that sleeps has to be woken, and the kernel lets him pay whose answer wakes it: a
    // server whose miners are elsewhere has no such expense.
    let awake = options.rate.is_none().then(|| tokio::spawn(stay_awake()));
    let shares = finish(tasks, until).await;
    if let Some(awake) = awake {
        awake.abort();
    }
    shares
}

/// Keeps this thread from going to sleep, without keeping it from anybody.
async fn stay_awake() {
    loop {
        yield_now().await;
    }
}

/// Waits for every miner.
async fn finish(
    mut tasks: JoinSet<io::Result<Shares>>,
    until: Instant,
) -> Result<Vec<Shares>, LoadError> {
    let mut shares = Vec::with_capacity(tasks.len());
    loop {
        match timeout_at(until + PATIENCE, tasks.join_next()).await {
            Ok(None) => return Ok(shares),
            Ok(Some(Ok(Ok(sent)))) => shares.push(sent),
            Ok(Some(Ok(Err(error)))) => return Err(LoadError::Broken(error)),
            Ok(Some(Err(panic))) => return Err(LoadError::Broken(io::Error::other(panic))),
            Err(_) => {
                let (missing, seconds) = (tasks.len(), PATIENCE.as_secs());
                return Err(LoadError::Unanswered { missing, seconds });
            }
        }
    }
}
