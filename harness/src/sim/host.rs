//! The machine that the server runs on: one process at a time, its clocks, its wake-ups.
//!
//! It holds the production [`Pool`], exactly as the shell would: events in, actions out. A process
//! that dies is a value that is dropped. Not in here: what the actions do to the world.

use std::time::Duration;

use bitcoin::{Network, ScriptBuf};
use server::Pool;
use server::bmm::Slot;
use server::bmm::auction::Mode;
use server::bmm::wishes::Wishes;
use server::clock::{Instant, Now, UnixMillis};
use server::config::{
    Config, Engine, Fallback, Limits, Miners, NodeRole, OwnSidechain, PortRules, VardiffRules,
};
use server::journal::Recovered;
use server::mining::difficulty::Difficulty;
use server::pool::Counters;
use server::pool::action::Action;
use server::pool::event::Event;

use super::disk::SimDisk;
use super::queue::Micros;
use super::seam::{Canary, Seam};
use crate::plan::{self, LimitsPlan, Plan, ServerPlan};

/// The machine.
#[derive(Debug)]
pub struct Host {
    /// The settings of the process that runs, and of the next one.
    settings: (ServerPlan, ServerPlan),
    seam: Seam,
    /// When the process was last handed something.
    last: Now,
    pool: Option<Pool>,
    run: u32,
    started: Micros,
    /// What the wall clock is off by, in seconds.
    wall_offset: i64,
    paused_until: Micros,
    listening: bool,
    /// The wish to be woken that counts, and when it is for.
    wake: (u64, Option<Micros>),
    /// Actions until the process dies.
    crash: Option<u64>,
    crashes: u64,
    /// Events that processes were handed and actions that were performed for them.
    moments: u64,
    /// At which of them the process dies, if that is still to come.
    dies_at: Option<u64>,
}

impl Host {
    /// A machine on which nothing runs.
    pub fn new(plan: &Plan, canary: Option<Canary>) -> Self {
        Self {
            settings: (plan.server.clone(), plan.server.clone()),
            seam: Seam::new(canary),
            last: Now::default(),
            pool: None,
            run: 0,
            started: Micros(0),
            wall_offset: 0,
            paused_until: Micros(0),
            listening: false,
            wake: (0, None),
            crash: None,
            crashes: 0,
            moments: 0,
            dies_at: plan.death.map(|death| death.moment),
        }
    }

    /// The number of the process that runs, or ran last.
    pub const fn run(&self) -> u32 {
        self.run
    }

    /// Whether a process runs.
    pub const fn is_up(&self) -> bool {
        self.pool.is_some()
    }

    /// Whether miners are let in.
    pub const fn is_listening(&self) -> bool {
        self.listening && self.pool.is_some()
    }

    /// What a start makes of what it finds.
    pub fn recover(&self, disk: &mut SimDisk) -> Recovered {
        let recovered = disk.recover();
        self.seam.recovered(disk);
        recovered
    }

    /// Starts a process.
    pub fn start(&mut self, now: Micros, unix: u32, recovered: &Recovered) {
        assert!(self.pool.is_none(), "one process at a time");
        self.run += 1;
        self.started = now;
        self.listening = false;
        self.wake = (self.wake.0 + 1, None);
        self.seam.start();
        let now = self.clocks(now, unix);
        self.settings.0 = self.settings.1.clone();
        let config = self.seam.config(config(&self.settings.0));
        self.pool = Some(Pool::new(config, recovered, now));
    }

    /// The settings of the process that runs, or ran last.
    pub const fn settings(&self) -> &ServerPlan {
        &self.settings.0
    }

    /// The next process gets other settings than this one, where they are `changed`.
    pub fn change_settings(&mut self, changed: bool) {
        if changed {
            self.settings.1 = self.settings.0.changed();
        }
    }

    /// Other settings count from now on, for this process and the next; what it is told of them.
    pub fn reconfigure(&mut self) -> Config {
        let newer = self.settings.0.reconfigured();
        self.settings = (newer.clone(), newer);
        self.seam.config(config(&self.settings.0))
    }

    /// The process is gone, in whatever way.
    pub fn end(&mut self) {
        self.pool = None;
        self.listening = false;
        self.crash = None;
        self.wake = (self.wake.0 + 1, None);
    }

    fn clocks(&self, now: Micros, unix: u32) -> Now {
        let nanos = now.since(self.started).saturating_mul(1_000);
        // Everybody's seconds begin at whole ones.
        let millis = u64::from(self.wall(unix)) * 1_000 + now.0 / 1_000 % 1_000;
        Now { mono: Instant::from_nanos(nanos), wall: UnixMillis(millis) }
    }

    /// What the machine's wall clock says when the right time is `unix`.
    pub fn wall(&self, unix: u32) -> u32 {
        u32::try_from(i64::from(unix) + self.wall_offset).unwrap_or(0)
    }

    /// Hands `event` to the process.
    pub fn handle(&mut self, now: Micros, unix: u32, event: Event) {
        let now = self.clocks(now, unix);
        self.last = now;
        let Some(pool) = &mut self.pool else { return };
        self.moments += 1;
        for event in self.seam.event(event) {
            // With nothing planted there is one, and nothing to keep.
            while let Some(action) = pool.poll_action() {
                self.seam.keep(action);
            }
            pool.handle(now, event);
        }
    }

    /// Wakes the process, if that is what it still wants; says what for.
    pub fn wake(&mut self, now: Micros, unix: u32, number: u64) -> Option<String> {
        if self.wake.0 != number {
            return None;
        }
        self.wake.1 = None;
        let clocks = self.clocks(now, unix);
        let pool = self.pool.as_mut()?;
        let (due, why) = pool.poll_timeout()?;
        if due > clocks.mono {
            return None;
        }
        pool.handle_timeout(clocks);
        self.moments += 1;
        Some(format!("{why:?}"))
    }

    /// When the process wants to be woken, if that is news; the number names the wish.
    pub fn next_wake(&mut self, now: Micros) -> Option<(Micros, u64)> {
        let (due, _) = self.pool.as_ref()?.poll_timeout()?;
        // Rounded up: woken too early is woken for nothing.
        let due = self.started.after(due.as_nanos().div_ceil(1_000)).max(now);
        if self.wake.1.is_some_and(|set| set <= due) {
            return None;
        }
        self.wake = (self.wake.0 + 1, Some(due));
        Some((due, self.wake.0))
    }

    /// The next thing that the process wants done.
    pub fn poll_action(&mut self) -> Option<Action> {
        let pool = self.pool.as_mut()?;
        let mut action = self.seam.action(|| pool.poll_action());
        if action.is_none()
            && let Some(event) = self.seam.made_up()
        {
            pool.handle(self.last, event);
            action = self.seam.action(|| pool.poll_action());
        }
        let action = action?;
        self.moments += 1;
        if matches!(action, Action::Listen) {
            self.listening = true;
        }
        Some(action)
    }

    /// Walks the invariants inside.
    pub fn audit(&self) {
        if let Some(pool) = &self.pool {
            pool.audit();
        }
    }

    /// The server's own totals.
    pub fn counters(&self) -> Option<Counters> {
        self.pool.as_ref().map(Pool::counters)
    }

    /// Sets the wall clock forward or back.
    pub const fn jump(&mut self, seconds: i64) {
        self.wall_offset += seconds;
    }

    /// The machine stands still until then.
    pub fn pause(&mut self, until: Micros) {
        self.paused_until = self.paused_until.max(until);
    }

    /// Until when it stands still, if it does.
    pub fn paused(&self, now: Micros) -> Option<Micros> {
        (self.paused_until > now).then_some(self.paused_until)
    }

    /// It no longer stands still, and its clock is right.
    pub const fn unpause(&mut self) {
        self.paused_until = Micros(0);
        self.wall_offset = 0;
    }

    /// The process dies after so many actions; the number names this death.
    pub const fn set_crash(&mut self, actions: u64) -> u64 {
        self.crash = Some(actions);
        self.crashes += 1;
        self.crashes
    }

    /// Whether the death with this number is still to come.
    pub const fn is_to_crash(&self, number: u64) -> bool {
        self.crash.is_some() && self.crashes == number
    }

    /// Whether the process dies before it does anything more. It does so once.
    pub fn dies_now(&mut self) -> bool {
        self.dies_at.take_if(|due| *due == self.moments).is_some()
    }

    /// From now on it dies of nothing that was planned; how many moments there were.
    pub const fn survives(&mut self) -> u64 {
        self.crash = None;
        self.dies_at = None;
        self.moments
    }

    /// One action more was performed: whether it was the last.
    pub const fn crashes_now(&mut self) -> bool {
        match self.crash {
            None => false,
            Some(0) => true,
            Some(left) => {
                self.crash = Some(left - 1);
                false
            }
        }
    }
}

fn config(server: &ServerPlan) -> Config {
    let fallback = |zero| if zero { Fallback::Zero } else { Fallback::Skip };
    let sidechains = server.daemons.iter().map(|daemon| OwnSidechain {
        fallback: fallback(daemon.zero),
        ..OwnSidechain::new(Slot(daemon.slot))
    });
    let difficulty = difficulty(server.share_hashes);
    let vardiff = server.vardiff.map(|vardiff| VardiffRules {
        share_interval: Duration::from_millis(vardiff.share_ms),
        min: self::difficulty(vardiff.min_hashes),
        max: vardiff.max_hashes.map(self::difficulty),
    });
    Config {
        network: Network::Regtest,
        nodes: nodes(server),
        payout: payout(),
        difficulty,
        refresh: Duration::from_millis(server.refresh_ms),
        blind: if server.blind { Mode::On } else { Mode::Off },
        empty_first: server.empty_first,
        sidechains: sidechains.collect(),
        wishes: Wishes::default(),
        miners: Miners { ports: vec![PortRules { difficulty, vardiff }], solo: None },
        engine: Engine::ONLY,
        limits: limits(&server.limits),
    }
}

fn difficulty(hashes: u64) -> Difficulty {
    let text = plan::difficulty(hashes);
    let difficulty = text.parse();
    assert!(difficulty.is_ok(), "{text} is a difficulty");
    difficulty.unwrap_or(Difficulty::ONE)
}

/// The first node, and the second where there is one.
fn nodes(server: &ServerPlan) -> Vec<NodeRole> {
    let role = |submit_only| if submit_only { NodeRole::SubmitOnly } else { NodeRole::Follow };
    let second = server.second.map(|second| role(second.submit_only));
    core::iter::once(NodeRole::Follow).chain(second).collect()
}

/// Where blocks pay to.
pub fn payout() -> ScriptBuf {
    ScriptBuf::from_bytes([&[0x00, 0x14][..], &[0x5a; 20]].concat())
}

fn limits(drawn: &LimitsPlan) -> Limits {
    let ms = Duration::from_millis;
    Limits {
        line_bytes: drawn.line_bytes,
        garbage_lines: drawn.garbage_lines,
        outbox_bytes: drawn.outbox_bytes,
        sessions: drawn.sessions,
        workers: drawn.workers,
        jobs_live: drawn.jobs_live,
        offers_at_once: drawn.offers_at_once,
        grace: ms(drawn.grace_ms),
        keep_stale: ms(drawn.keep_stale_ms),
        commitment_wait: ms(drawn.commitment_wait_ms),
        call_patience: ms(drawn.call_patience_ms),
        long_poll_patience: ms(drawn.long_poll_patience_ms),
        submit_patience: ms(drawn.submit_patience_ms),
        retry_pause: ms(drawn.retry_pause_ms),
        tip_age: ms(drawn.tip_age_ms),
        journal_flush: ms(drawn.journal_flush_ms),
        journal_batch: drawn.journal_batch,
        journal_waiting: drawn.journal_waiting,
        ..Limits::default()
    }
}
