//! Devices of every size find their difficulty: simulated paces through a session, by the clock of
//! a test.

#![expect(clippy::cast_precision_loss, reason = "what is simulated is physics")]
#![expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the same")]

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use super::*;
use crate::config::Limits;
use crate::mining::job::{Job, JobBook};
use crate::mining::template::tests::{coinbase_of, template_at};
use crate::stratum::session::{Entrance, Payment, Session};

const INTERVAL: Duration = Duration::from_secs(5);
/// From a line sent to work on it, and from a share found to its arrival.
const LATENCY: Duration = Duration::from_millis(25);
const REFRESH: Duration = Duration::from_secs(10);

fn difficulty(text: &str) -> Difficulty {
    text.parse().expect(text)
}

fn rules(start: &str) -> PortRules {
    let min = difficulty("0.0000001");
    let vardiff = Some(VardiffRules { share_interval: INTERVAL, min, max: None });
    PortRules { difficulty: difficulty(start), vardiff }
}

fn float(difficulty: Difficulty) -> f64 {
    difficulty.to_string().parse().expect("a decimal")
}

fn at(seconds: f64) -> Instant {
    Instant::ZERO + Duration::from_secs_f64(seconds)
}

/// Nanoseconds since the start.
type Nanos = u64;

const LATENCY_NANOS: Nanos = LATENCY.as_nanos() as Nanos;
const REFRESH_NANOS: Nanos = REFRESH.as_nanos() as Nanos;
const SECOND: Nanos = 1_000_000_000;

/// A device of a steady hash rate, and a session that it mines through.
struct Run {
    session: Session,
    job: Arc<Job>,
    book: JobBook,
    hash_rate: f64,
    /// Draws that are the same each time.
    seed: u64,
    /// Jobs on their way to the device: when they come, and what it believes of them.
    coming: VecDeque<(Nanos, Arc<Job>, Difficulty)>,
    current: Option<(Arc<Job>, Difficulty)>,
    rejected: u32,
    /// Shares that arrived within the first second.
    shares: u32,
    hardest: f64,
}

impl Run {
    fn new(hash_rate: f64, start: &str, seed: u64) -> Self {
        let address = IpAddr::from([192, 0, 2, 1]);
        let (rules, payment) = (rules(start), Payment::Operator);
        let entrance = Entrance { rules, payment, address, now: Instant::ZERO };
        let mut book = JobBook::new(1, Duration::ZERO, Duration::ZERO, 1_000_000);
        let template = Arc::new(template_at(1));
        let coinbase = coinbase_of(&template);
        let (job, _) = book.publish(Instant::ZERO, template, coinbase, None);
        let mut run = Self {
            session: Session::new([0; 4], &entrance, &Limits::default()),
            job,
            book,
            hash_rate,
            seed,
            coming: VecDeque::new(),
            current: None,
            rejected: 0,
            shares: 0,
            hardest: 0.0,
        };
        run.give(0);
        run
    }

    fn draw(&mut self) -> f64 {
        // Splitmix64.
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The job goes out as the pool gives it: another time, with the difficulty wanted now.
    fn give(&mut self, now: Nanos) {
        let Some(revision) = self.session.next_revision(&self.job) else { return };
        let form = Arc::clone(self.session.form());
        let job = self.job.formed(&form, revision).expect("it fits");
        let wanted = self.session.vardiff.wanted();
        self.hardest = self.hardest.max(float(wanted));
        self.session.announce(Instant::from_nanos(now), &job, wanted);
        self.coming.push_back((now + LATENCY_NANOS, job, wanted));
    }

    fn refresh(&mut self, now: Nanos) {
        let template = Arc::new(template_at(1));
        let coinbase = coinbase_of(&template);
        (self.job, _) = self.book.publish(Instant::from_nanos(now), template, coinbase, None);
        self.give(now);
    }

    fn arrive(&mut self, now: Nanos, job: &Job, believed: Difficulty) {
        let terms = self.session.terms_of(job.id).expect("it was given").clone();
        // A share that just meets what the device believes must be enough.
        self.rejected += u32::from(terms.target < believed.to_target());
        self.shares += u32::from(now < SECOND);
        self.session.vardiff.on_share(Instant::from_nanos(now), terms.difficulty);
        self.adjust(now);
    }

    fn adjust(&mut self, now: Nanos) {
        if self.session.vardiff.in_force() != Some(self.session.vardiff.wanted()) {
            self.give(now);
        }
    }

    /// How long the device searches for one share. Searching has no memory: what is left of a
    /// search is as long as a new one.
    fn search(&mut self, believed: Difficulty) -> Nanos {
        let mean = float(believed) * 4_294_967_296.0 / self.hash_rate;
        (mean * -(1.0 - self.draw()).ln() * 1e9).min(1e18) as Nanos
    }

    /// Runs for `length`; the answer is after how many seconds the share rate came within a factor
    /// two of what is wished, and for which part of the time after that it was not.
    fn run(&mut self, length: Nanos) -> (f64, f64) {
        let ideal = self.hash_rate * INTERVAL.as_secs_f64() / 4_294_967_296.0;
        let (mut now, mut refresh, mut found) = (0, REFRESH_NANOS, Nanos::MAX);
        let mut arrivals: VecDeque<(Nanos, Arc<Job>, Difficulty)> = VecDeque::new();
        let (mut settled, mut outside) = (None, 0);
        while now < length {
            let due = self.session.vardiff.due().map_or(Nanos::MAX, Instant::as_nanos);
            let job = self.coming.front().map_or(Nanos::MAX, |(when, ..)| *when);
            let arrival = arrivals.front().map_or(Nanos::MAX, |(when, ..)| *when);
            let next = [due, job, arrival, found, refresh].into_iter().fold(length, Nanos::min);
            let ratio = float(self.session.vardiff.in_force().expect("it has work")) / ideal;
            if (0.5..=2.0).contains(&ratio) {
                settled = settled.or(Some(now));
            } else if settled.is_some() {
                outside += next - now;
            }
            now = next;
            if now == job {
                let (_, job, believed) = self.coming.pop_front().expect("it came");
                self.current = Some((job, believed));
                found = now + self.search(believed);
            } else if now == arrival {
                let (_, job, believed) = arrivals.pop_front().expect("it came");
                self.arrive(now, &job, believed);
            } else if now == found {
                let (job, believed) = self.current.clone().expect("a job it was found for");
                arrivals.push_back((now + LATENCY_NANOS, job, believed));
                found = now + self.search(believed);
            } else if now == due {
                self.session.vardiff.on_timer(Instant::from_nanos(now));
                self.adjust(now);
            } else if now == refresh {
                self.refresh(now);
                refresh += REFRESH_NANOS;
            }
        }
        let seconds = |nanos: Nanos| nanos as f64 / 1e9;
        let settled = settled.map_or(f64::INFINITY, seconds);
        (settled, seconds(outside) / (seconds(length) - settled))
    }
}

/// `--nocapture` shows the table.
#[test]
#[expect(clippy::print_stdout, reason = "the table is what people ask for")]
fn every_device_finds_its_pace() {
    let classes = [
        ("50 kH/s", 5e4),
        ("1 MH/s", 1e6),
        ("500 GH/s", 5e11),
        ("100 TH/s", 1e14),
        ("3 PH/s", 3e15),
    ];
    let mut table =
        "device       start    settled  overshoot  outside  1st second  rejected\n".to_owned();
    for (name, hash_rate) in classes {
        // A terahash at a thousandth is billions of shares a second: no wire carries them.
        let easiest = if hash_rate < 1e12 { "0.001" } else { "10" };
        for start in ["1", easiest, "100000"] {
            let ideal = hash_rate * INTERVAL.as_secs_f64() / 4_294_967_296.0;
            let (mut slowest, mut worst, mut outside) = (0.0_f64, 0.0_f64, 0.0);
            let (mut rejected, mut flood) = (0, 0);
            for seed in 0..8 {
                let mut run = Run::new(hash_rate, start, seed);
                let (settled, part) = run.run(3_600 * SECOND);
                slowest = slowest.max(settled);
                worst = worst.max(run.hardest / float(difficulty(start)).max(ideal));
                outside += part / 8.0;
                rejected += run.rejected;
                flood = flood.max(run.shares);
            }
            let part = 100.0 * outside;
            writeln!(
                table,
                "{name:9} {start:>8} {slowest:>8.1} s {worst:>9.2}x {part:>7.1}% {flood:>11} \
                 {rejected:>9}",
            )
            .expect("memory");
            assert_eq!(rejected, 0, "{name} from {start}");
            assert!(slowest < 300.0, "{name} from {start}: {slowest} s");
            assert!(worst < 3.0 && outside < 0.10, "{name} from {start}: {worst} {outside}");
            // Whoever is far too fast is slowed within moments, not within windows.
            assert!(start != "1" || hash_rate < 1e12 || slowest < 30.0, "{name}: {slowest} s");
        }
    }
    println!("{table}");
}

fn started(rules: &PortRules) -> Vardiff {
    let mut vardiff = Vardiff::new(rules);
    vardiff.announced(Instant::ZERO, vardiff.wanted());
    vardiff
}

#[test]
fn a_silent_miner_is_lowered_and_not_below_the_bound() {
    let mut vardiff = started(&rules("1"));
    let mut seen = vec![vardiff.wanted().to_string()];
    while let Some(due) = vardiff.due().filter(|due| *due < at(600.0)) {
        vardiff.on_timer(due);
        vardiff.announced(due, vardiff.wanted());
        if Some(&vardiff.wanted().to_string()) != seen.last() {
            seen.push(vardiff.wanted().to_string());
        }
    }
    assert_eq!(seen, ["1", "0.07", "0.0003", "0.000001", "0.0000001"]);
}

#[test]
fn without_rules_nothing_moves_it() {
    let rules = PortRules { difficulty: difficulty("7.5"), vardiff: None };
    let mut vardiff = started(&rules);
    vardiff.suggest(difficulty("1"));
    vardiff.fix(difficulty("2"));
    assert!(!vardiff.keep_above(difficulty("8")) && vardiff.keep_above(difficulty("7")));
    for _ in 0..1_000 {
        vardiff.on_share(at(0.5), difficulty("7.5"));
    }
    assert_eq!((vardiff.wanted(), vardiff.due()), (difficulty("7.5"), None));
}

#[test]
fn wishes_are_kept_within_the_operators_bounds() {
    let mut bounded = rules("16");
    let (min, max) = (difficulty("2"), Some(difficulty("1000")));
    bounded.vardiff = Some(VardiffRules { share_interval: INTERVAL, min, max });
    let mut vardiff = started(&bounded);
    let mut suggest = |text, expected| {
        vardiff.suggest(difficulty(text));
        assert_eq!(vardiff.wanted(), difficulty(expected), "{text}");
    };
    suggest("0.001", "2");
    suggest("5000", "1000");
    suggest("100", "100");
    assert!(!vardiff.keep_above(difficulty("1001")));
    assert!(vardiff.keep_above(difficulty("300")));
    assert_eq!(vardiff.wanted(), difficulty("300"));
}

/// NerdMiner says the same every half minute; that is no reason to undo what its pace showed.
#[test]
fn a_suggestion_counts_once() {
    let mut vardiff = started(&rules("1"));
    vardiff.suggest(difficulty("0.00015"));
    vardiff.announced(at(1.0), vardiff.wanted());
    let due = vardiff.due().expect("it is looked at");
    vardiff.on_timer(due);
    let lowered = vardiff.wanted();
    assert!(lowered < difficulty("0.00015"));
    vardiff.suggest(difficulty("0.00015"));
    assert_eq!(vardiff.wanted(), lowered);
    vardiff.suggest(difficulty("0.0002"));
    assert_eq!(vardiff.wanted(), difficulty("0.0002"));
}

#[test]
fn shares_of_another_difficulty_tell_nothing() {
    let mut vardiff = started(&rules("1"));
    for _ in 0..1_000 {
        vardiff.on_share(at(0.1), difficulty("0.5"));
    }
    assert_eq!(vardiff.wanted(), Difficulty::ONE);
}

#[test]
fn wishes_in_passwords() {
    let check = |password, fixed: Option<&str>, floor: Option<&str>| {
        assert_eq!(wishes(password), (fixed.map(difficulty), floor.map(difficulty)), "{password}");
    };
    check("x", None, None);
    check("", None, None);
    check("d=1024", Some("1024"), None);
    check("x,d=0.001", Some("0.001"), None);
    check("D=5;MD=2", Some("5"), Some("2"));
    check("diff=5 mindiff=2", Some("5"), Some("2"));
    check("d=,md=x,d=-1,d=0", None, None);
    check("password=d", None, None);
}
