//! The simulation: one queue of events, the production core in the middle, everybody around it.
//!
//! Take the next event, let its part of the world act, show the oracles what could be seen, go on.
//! First things go wrong as the plan says; then all is mended and what is due must come; then the
//! miners leave. **Invariant:** equal plans give equal runs: no clock, no threads, no randomness
//! but the plan's draws. Not in here: what is right and wrong (`oracle`).

mod items;
mod notices;
mod people;
mod server;

use std::collections::BTreeMap;

use bitcoin::BlockHash;
use bytes::Bytes;

use super::disk::SimDisk;
use super::host::Host;
use super::miner::SimMiner;
use super::network::{Move, Network};
use super::observe::{Conn, Observation, Phase};
use super::queue::{Micros, Queue};
use super::second::SecondEvent;
use super::trace::{self, Trace};
use super::upstream::{CallMove, Upstream};
use super::{World, WorldEvent};
use crate::oracle::pace::SETTLE_INTERVALS;
use crate::oracle::{Broken, Panel, Scene};
use crate::plan::Plan;
use crate::sim::seam::Canary;

/// Unix time at the beginning: in the past, so that real programs believe it.
const START_UNIX: u32 = 1_700_000_000;
/// How long the quiet phase lasts beside what the plan's own patience asks for.
const QUIET_MS: u64 = 40_000;
/// Wished shares for which it lasts where difficulty follows the pace.
const PACE_INTERVALS: u64 = SETTLE_INTERVALS + 10;
/// How long the miners have been gone when the run ends.
const DRAIN_MS: u64 = 5_000;
/// Events at one moment after which time is stuck.
const EVENTS_AT_ONCE_MAX: u64 = 200_000;

/// What happens next.
#[derive(Clone, Debug)]
enum Event {
    ItemBegins(usize),
    ItemEnds(usize),
    /// A second step of an item, where it has one.
    ItemGoesOn(usize, u64),
    /// A miner tries to connect.
    Join(u64),
    /// A miner's search ends.
    Search(u64, u64),
    /// A miner sends, if it still has this connection.
    SendLater(u64, Conn, Bytes),
    Net(Move),
    Call(CallMove),
    /// The server hears that this is the tip of a node.
    Notice(usize, BlockHash),
    DiskDone(u64),
    /// The server wanted to be woken; the number tells this wish from later ones.
    Wake(u64),
    /// The process starts.
    Start,
    /// The process dies if this crash has not happened yet.
    Crash(u64),
    PhaseBegins(Phase),
    /// Blocks pass between the nodes.
    Share,
    /// A rival mines in the quiet phase, so that there is a new tip to hear of.
    QuietTip,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The law that broke, if one did.
    pub broken: Option<Broken>,
    /// When, and in which phase.
    pub at: Micros,
    /// The phase then.
    pub phase: Phase,
    /// Observations until then.
    pub observations: u64,
    /// A hash of everything that was observed.
    pub hash: String,
    /// The last lines of the trace.
    pub tail: Vec<String>,
    /// What happened how often.
    pub counts: BTreeMap<String, u64>,
}

/// One run.
#[derive(Debug)]
pub struct Simulation<'p> {
    plan: &'p Plan,
    now: Micros,
    phase: Phase,
    queue: Queue<Event>,
    world: World,
    host: Host,
    network: Network,
    miners: BTreeMap<u64, SimMiner>,
    upstream: Upstream,
    disk: SimDisk,
    panel: Panel,
    trace: Trace,
    print: bool,
    broken: Option<Broken>,
    /// Events that happened at this very moment.
    at_once: u64,
    /// Until when nobody can connect.
    partition_until: Micros,
    /// Until when the nodes do not hear of each other's blocks.
    split_until: Micros,
    /// How often the server that runs left a node, and went back.
    node_changes: (u64, u64),
    /// Bids by transaction, with the parent they name.
    bids: BTreeMap<bitcoin::Txid, BlockHash>,
    /// Transactions made so far.
    paid: u64,
    /// The last block of ours that the node took.
    ours: Option<BlockHash>,
    /// How many notices the nodes gave.
    notices: u64,
    /// How many moments there were at which the process could die.
    moments: u64,
}

impl<'p> Simulation<'p> {
    /// A run of `plan`, with a bug planted at the seam where one is given.
    pub fn new(plan: &'p Plan, canary: Option<Canary>) -> Self {
        let slots = plan.server.daemons.iter().map(|daemon| daemon.slot);
        let mut world = World::with_bits(slots, plan.seed, plan.bits());
        if plan.server.second.is_some() {
            world.add_second();
        }
        let mut simulation = Self {
            plan,
            now: Micros(0),
            phase: Phase::Safety,
            queue: Queue::default(),
            world,
            host: Host::new(plan, canary),
            network: Network::new(plan.seed, plan.network),
            miners: plan
                .miners
                .iter()
                .map(|miner| (miner.id, SimMiner::new(plan, miner)))
                .collect(),
            upstream: Upstream::new(plan),
            disk: SimDisk::new(plan.seed),
            panel: Panel::new(plan),
            trace: Trace::default(),
            print: false,
            broken: None,
            at_once: 0,
            partition_until: Micros(0),
            split_until: Micros(0),
            node_changes: (0, 0),
            bids: BTreeMap::new(),
            paid: 0,
            ours: None,
            notices: 0,
            moments: 0,
        };
        simulation.schedule();
        simulation
    }

    /// Writes each observation to standard output as it is made.
    #[must_use]
    pub const fn printing(mut self, print: bool) -> Self {
        self.print = print;
        self
    }

    fn schedule(&mut self) {
        self.queue.put(Micros(0), Event::Start);
        for (place, item) in self.plan.items.iter().enumerate() {
            if item.at_ms < self.plan.horizon_ms {
                self.queue.put(Micros::from_millis(item.at_ms), Event::ItemBegins(place));
            }
        }
        for miner in &self.plan.miners {
            self.queue.put(Micros::from_millis(miner.joins_ms), Event::Join(miner.id));
        }
        let limits = &self.plan.server.limits;
        let horizon = self.plan.horizon_ms;
        let patience = limits.call_patience_ms + limits.submit_patience_ms;
        let vardiff = self.plan.server.vardiff;
        let pace = vardiff.map_or(0, |vardiff| vardiff.share_ms * PACE_INTERVALS);
        let quiet = QUIET_MS + 3 * self.plan.server.refresh_ms + patience + pace;
        for (at, event) in [
            (horizon, Event::PhaseBegins(Phase::Quiet)),
            (horizon + quiet / 2, Event::QuietTip),
            (horizon + quiet, Event::PhaseBegins(Phase::Drain)),
        ] {
            self.queue.put(Micros::from_millis(at), event);
        }
    }

    /// Seconds of simulated time until now.
    pub const fn seconds(&self) -> u64 {
        self.now.0 / 1_000_000
    }

    /// How many moments there were at which the process could die ([`crate::plan::Death`]): those
    /// until all was mended.
    pub const fn moments(&self) -> u64 {
        self.moments
    }

    /// Runs to the end, or to the first broken law.
    pub fn run(&mut self) {
        self.see(&Observation::Phase(Phase::Safety));
        let end = loop {
            if self.broken.is_some() {
                return;
            }
            let Some((now, event)) = self.queue.take(self.end()) else { break self.end() };
            self.at_once = if now == self.now { self.at_once + 1 } else { 0 };
            assert!(self.at_once < EVENTS_AT_ONCE_MAX, "time stands still");
            self.now = now;
            self.step(event);
            self.drain();
        };
        self.now = end;
        self.judge(Panel::finish);
    }

    /// When there is nothing left to see.
    fn end(&self) -> Micros {
        match self.phase {
            Phase::Safety | Phase::Quiet => Micros(u64::MAX - 1),
            Phase::Drain => self.panel.drained_at().after(DRAIN_MS * 1_000),
        }
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::ItemBegins(place) => self.item_begins(place),
            Event::ItemEnds(place) => self.item_ends(place),
            Event::ItemGoesOn(place, step) => self.item_goes_on(place, step),
            Event::Join(miner) => self.join(miner),
            Event::Search(miner, number) => {
                let now = self.now;
                self.with_miner(miner, |miner| miner.search_ends(now, number));
            }
            Event::SendLater(miner, conn, bytes) => self.send_later(miner, conn, bytes),
            Event::Net(next) => self.network_moves(next),
            Event::Call(next) => self.call_moves(next),
            Event::Notice(node, tip) => self.noticed(node, tip),
            Event::DiskDone(number) => self.disk_done(number),
            Event::Wake(number) => self.wake(number),
            Event::Start => self.start(),
            Event::Crash(number) => self.crash_if_due(number),
            Event::PhaseBegins(phase) => self.phase_begins(phase),
            Event::Share => self.share_blocks(),
            Event::QuietTip => self.rival(),
        }
    }

    /// Puts what the parts set in motion into the queue.
    fn drain(&mut self) {
        self.look_at_chain();
        for (when, next) in self.network.take_moves() {
            self.queue.put(when, Event::Net(next));
        }
        for (when, next) in self.upstream.take_moves() {
            self.queue.put(when, Event::Call(next));
        }
        for (when, number) in self.disk.take_moves() {
            self.queue.put(when, Event::DiskDone(number));
        }
    }

    /// Tells everybody what happened on the chain.
    fn look_at_chain(&mut self) {
        let mut moved = false;
        while let Some(event) = self.world.poll_event() {
            match &event {
                WorldEvent::TipChanged { hash, .. } => {
                    moved = true;
                    self.publish(0, *hash);
                }
                WorldEvent::BlockAccepted { hash, .. } => self.ours = Some(*hash),
                WorldEvent::BlockSidelined { .. }
                | WorldEvent::BlockRefused { .. }
                | WorldEvent::SidechainAdvanced { .. }
                | WorldEvent::SidechainRolledBack { .. } => {}
            }
            self.see(&Observation::Chain(event));
        }
        let mut second_moved = false;
        while let Some(event) = self.world.poll_second() {
            if let SecondEvent::TipChanged { hash, .. } = event {
                second_moved = true;
                self.publish(1, hash);
            }
            self.see(&Observation::Second(event));
        }
        if moved {
            self.bids_expire();
            self.upstream.tip_changed(self.now);
        }
        if moved || second_moved {
            let unix = self.unix();
            self.upstream.look_at_all(self.now, unix, &mut self.world);
            if let Some(second) = self.plan.server.second {
                self.queue.put(self.later(second.delay_ms), Event::Share);
            }
        }
    }

    /// Blocks pass between the nodes, unless nothing does.
    fn share_blocks(&mut self) {
        if self.now < self.split_until {
            self.queue.put(self.split_until, Event::Share);
            return;
        }
        let unix = self.unix();
        self.world.share_blocks(unix);
    }

    /// The time on everybody's clock but the server's.
    fn unix(&self) -> u32 {
        START_UNIX + u32::try_from(self.seconds()).unwrap_or(0)
    }

    /// Shows `what` to the oracles, and notes it.
    fn see(&mut self, what: &Observation) {
        self.trace.note(self.now, what);
        if self.print && !matches!(what, Observation::Done) {
            print(&trace::line(self.now, what));
        }
        self.judge(|panel, scene| panel.see(scene, what));
    }

    fn judge(&mut self, judge: impl FnOnce(&mut Panel, &Scene<'_>) -> Result<(), Broken>) {
        if self.broken.is_some() {
            return;
        }
        let scene = Scene {
            now: self.now,
            phase: self.phase,
            plan: self.plan,
            settings: self.host.settings(),
            world: &self.world,
            disk: &self.disk,
            run: self.host.run(),
            wall: self.host.wall(self.unix()),
            sessions: self.host.counters().map(|counters| counters.sessions),
        };
        self.broken = judge(&mut self.panel, &scene).err();
    }

    fn phase_begins(&mut self, phase: Phase) {
        match phase {
            Phase::Safety => {}
            Phase::Quiet => self.heal(),
            Phase::Drain => self.everybody_leaves(),
        }
        self.phase = phase;
        self.see(&Observation::Phase(phase));
    }

    /// From now on nothing goes wrong, and whoever wants to mine may.
    fn heal(&mut self) {
        self.network.heal(self.now);
        self.upstream.heal(self.now);
        self.disk.heal(self.now);
        self.partition_until = self.now;
        self.split_until = self.now;
        self.queue.put(self.now, Event::Share);
        self.host.unpause();
        self.moments = self.host.survives();
        if !self.host.is_up() {
            self.queue.put(self.now, Event::Start);
        }
        self.tame_miners();
    }

    /// Ends the run as it stands, after a panic too.
    pub fn ended(&self, panic: Option<String>) -> Ended {
        let broken =
            self.broken.clone().or_else(|| panic.map(|what| Broken { law: "PANIC", what }));
        let mut counts = self.panel.counts();
        for (name, count) in &self.upstream.felt {
            *counts.entry(name.clone()).or_default() += count;
        }
        for (name, count) in self.disk.felt() {
            *counts.entry((*name).to_owned()).or_default() += count;
        }
        Ended {
            broken,
            at: self.now,
            phase: self.phase,
            observations: self.trace.seen(),
            hash: self.trace.hash(),
            tail: self.trace.tail(24),
            counts,
        }
    }

    /// The simulated chain, for who wants to judge its blocks again.
    pub const fn chain(&self) -> &World {
        &self.world
    }
}

#[expect(clippy::print_stdout, reason = "a trace that was asked for")]
fn print(line: &str) {
    println!("{line}");
}
