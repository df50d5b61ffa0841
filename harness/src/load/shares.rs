//! What shares cost: so many miners, each with so many shares on their way.
//!
//! As fast as it goes, each miner sends a new share for every answer, so the number on their way
//! stays. With a rate, each sends one at its time and waits for the answer: what then counts is
//! what a lone share costs a server that had gone to sleep.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::grind::{Shares, grind};
use super::report::{Latency, SharesReport};
use super::session::open_all;
use super::wire::{Line, Wire, classify};
use super::{LoadError, LoadOptions, Target, process};

/// How long the last answers may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What came back, of all miners.
#[derive(Debug)]
struct Tally {
    latencies: Histogram<u64>,
    accepted: u64,
    rejected: u64,
    clean_jobs: u64,
    first_rejection: Option<String>,
    last_answer: Instant,
}

impl Tally {
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
            super::report::note(&mut self.latencies, now - sent);
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

    async fn at_full_speed(mut self, depth: usize, until: Instant) -> io::Result<()> {
        self.send(depth).await?;
        while !self.sent.is_empty() {
            let answers = self.answers().await?;
            if answers > 0 && Instant::now() < until {
                self.send(answers).await?;
            }
        }
        Ok(())
    }

    async fn at_a_pace(mut self, first: Instant, gap: Duration, until: Instant) -> io::Result<()> {
        let mut due = first;
        while due < until {
            sleep_until(due).await;
            if !self.send(1).await? {
                return Ok(());
            }
            while !self.sent.is_empty() {
                self.answers().await?;
            }
            due += gap;
        }
        Ok(())
    }
}

/// Grinds, then sends.
pub(super) async fn measure(
    options: &LoadOptions,
    target: &Target,
) -> Result<SharesReport, LoadError> {
    let sessions = open_all(target, options.connections).await?;
    let (wires, works): (Vec<_>, Vec<_>) =
        sessions.into_iter().map(|session| (session.wire, session.work)).unzip();
    let each = options.shares.div_ceil(works.len() as u64);
    let each = usize::try_from(each).unwrap_or(usize::MAX);
    let ground = std::time::Instant::now();
    let shares = grind(&works, &target.user, each, options.nonces)?;
    let grinding = ground.elapsed();

    let cpu_before = target.pid.map(process::cpu).transpose()?;
    let started = Instant::now();
    let tally = Arc::new(Mutex::new(Tally {
        latencies: super::report::histogram(),
        accepted: 0,
        rejected: 0,
        clean_jobs: 0,
        first_rejection: None,
        last_answer: started,
    }));
    let senders = wires.into_iter().zip(shares).map(|(wire, shares)| Sender {
        wire,
        shares,
        sent: VecDeque::new(),
        lines: Vec::new(),
        tally: Arc::clone(&tally),
    });
    send_all(options, senders.collect(), started).await?;
    let cpu = match (target.pid, cpu_before) {
        (Some(pid), Some(before)) => Some(process::cpu(pid)?.saturating_sub(before)),
        (_, None) | (None, _) => None,
    };
    let tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    let seconds = (tally.last_answer - started).as_secs_f64();
    let answered = tally.accepted + tally.rejected;
    Ok(SharesReport {
        connections: options.connections,
        depth: if options.rate.is_some() { 1 } else { options.depth },
        rate: options.rate,
        nonces: options.nonces,
        grinding_seconds: grinding.as_secs_f64(),
        seconds,
        accepted: tally.accepted,
        rejected: tally.rejected,
        first_rejection: tally.first_rejection.clone(),
        clean_jobs: tally.clean_jobs,
        accepted_per_second: super::report::per(tally.accepted, seconds),
        latency: Latency::of(&tally.latencies),
        cpu_us_per_share: cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / super::report::float(answered)),
    })
}

/// Runs every miner to its end.
async fn send_all(
    options: &LoadOptions,
    senders: Vec<Sender>,
    started: Instant,
) -> Result<(), LoadError> {
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
    loop {
        match timeout_at(until + PATIENCE, tasks.join_next()).await {
            Ok(None) => return Ok(()),
            Ok(Some(Ok(Ok(())))) => {}
            Ok(Some(Ok(Err(error)))) => return Err(LoadError::Broken(error)),
            Ok(Some(Err(panic))) => return Err(LoadError::Broken(io::Error::other(panic))),
            Err(_) => {
                let (missing, seconds) = (tasks.len(), PATIENCE.as_secs());
                return Err(LoadError::Unanswered { missing, seconds });
            }
        }
    }
}
