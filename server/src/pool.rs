//! The pool: joins miners, coin, sidechains, node and disk, and knows no format of any.
//!
//! One event in, then every action out, then the next event. The parts decide; what stands here
//! is who hears of what.
//!
//! **Invariant:** the only way in is [`Pool::handle`] and [`Pool::handle_timeout`], the only way
//! out [`Pool::poll_action`]; time comes as an argument, and equal inputs give equal outputs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use bytes::Bytes;

use crate::clock::{Instant, Now};
use crate::config::{Config, NodeRole};
use crate::journal::writer::Writer;
use crate::journal::{DiskOp, Recovered, WriteError};
use crate::mining::hash::Hash;
use crate::mining::job::JobBook;
use crate::mining::ledger::Ledger;
use crate::mining::script_sig::Extranonce1;
use crate::node::confirmation::Confirmations;
use crate::node::failover::Failover;
use crate::node::follower::Question;
use crate::node::notice::Notice;
use crate::node::proposal::Proposals;
use crate::node::sidechain::Daemon;
use crate::node::sidechain::thunder::{Deliveries, Delivery};
use crate::node::submitter::Submitter;
use crate::stratum::extranonce::Leases;
use crate::stratum::session::{Remains, Session};

pub mod action;
pub mod event;
pub mod rehearsal;

mod alone;
mod audit;
mod blocks;
mod journal;
mod lean;
mod miners;
mod offers;
mod proposals;
mod referee;
mod schedule;
mod shares;
mod sidechains;
mod wishes;
mod work;

use action::{Action, CallId, Endpoint, Halt, Wake, WriteId};
use event::{ConnId, Event};
#[cfg(feature = "runtime")]
pub(crate) use miners::household;

/// What a call was made for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Purpose {
    Ask(usize, Question),
    /// Which node is handed which block.
    Submit(usize, Hash),
    Confirm(usize, Hash),
    /// What this node thinks of a block that left its chain.
    Branch(usize, Hash),
    /// Which node is to prefer which block.
    Prefer(usize, Hash),
    Commitment(usize),
    Connect(Delivery),
    /// What the node thinks of a job's block.
    Propose,
}

/// What a write was made for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Written {
    Generation,
    Block(Hash),
    Settled,
    Shares,
}

/// Whether a found block would survive a crash.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kept {
    /// It is being written.
    NotYet,
    /// It is on disk, or with the node.
    Safely,
    /// The disk failed, so only the node can have it.
    Never,
}

/// The server is to end.
#[derive(Clone, Debug)]
struct Stop {
    since: Instant,
    why: Halt,
    /// By the operator.
    wished: bool,
}

/// Totals since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Connections open now.
    pub sessions: u64,
    /// Jobs published.
    pub jobs: u64,
    /// Shares counted.
    pub shares_accepted: u64,
    /// Submissions refused.
    pub shares_rejected: u64,
    /// Blocks found.
    pub blocks_found: u64,
    /// Blocks that the node took into its chain.
    pub blocks_accepted: u64,
    /// Blocks that left the node's chain soon after it took them.
    pub blocks_lost_again: u64,
    /// Times that another node was followed, for the one before failed or lagged.
    pub failovers: u64,
    /// Times that a preferred node was followed again.
    pub returns: u64,
    /// Times that miners were left without work, for no node confirmed their tip.
    pub work_stops: u64,
    /// Sidechain blocks that their daemon connected after one of our blocks committed to them.
    pub sidechain_blocks_connected: u64,
    /// Sidechain blocks that a block of ours commits to and that their daemon did not take.
    pub sidechain_blocks_lost: u64,
    /// Jobs whose block the node would take.
    pub proposals_taken: u64,
    /// Jobs whose block the node would refuse.
    pub proposals_refused: u64,
    /// Sessions that ended because their firmware cannot hold the coinbase.
    pub coinbases_too_large: u64,
}

impl core::iter::Sum for Counters {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            sessions: sum.sessions + one.sessions,
            jobs: sum.jobs + one.jobs,
            shares_accepted: sum.shares_accepted + one.shares_accepted,
            shares_rejected: sum.shares_rejected + one.shares_rejected,
            blocks_found: sum.blocks_found + one.blocks_found,
            blocks_accepted: sum.blocks_accepted + one.blocks_accepted,
            blocks_lost_again: sum.blocks_lost_again + one.blocks_lost_again,
            failovers: sum.failovers + one.failovers,
            returns: sum.returns + one.returns,
            work_stops: sum.work_stops + one.work_stops,
            sidechain_blocks_connected: sum.sidechain_blocks_connected
                + one.sidechain_blocks_connected,
            sidechain_blocks_lost: sum.sidechain_blocks_lost + one.sidechain_blocks_lost,
            proposals_taken: sum.proposals_taken + one.proposals_taken,
            proposals_refused: sum.proposals_refused + one.proposals_refused,
            coinbases_too_large: sum.coinbases_too_large + one.coinbases_too_large,
        })
    }
}

/// The whole server but for the machine.
#[derive(Debug)]
pub struct Pool {
    config: Config,
    generation: u32,
    generation_is_safe: bool,
    listening: bool,
    /// Boxed: a node of the map is half empty, and is searched without touching them.
    sessions: BTreeMap<ConnId, Box<Session>>,
    /// When each session is looked at next.
    schedule: schedule::Schedule,
    /// Open connections of each address, by household.
    addresses: BTreeMap<IpAddr, usize>,
    /// What ended sessions left, by extranonce1.
    remains: BTreeMap<Extranonce1, Remains>,
    closing: BTreeSet<ConnId>,
    leases: Leases,
    jobs: JobBook,
    ledger: Ledger,
    journal: Writer,
    nodes: Failover,
    daemons: Vec<Daemon>,
    deliveries: Deliveries,
    submitter: Submitter,
    confirmations: Confirmations,
    proposals: Proposals,
    /// Found in this run and not judged.
    found: BTreeMap<Hash, Kept>,
    work: work::Work,
    wishes: wishes::WishBook,
    calls: BTreeMap<CallId, Purpose>,
    writes: BTreeMap<WriteId, Written>,
    next_call: u64,
    next_write: u64,
    actions: VecDeque<Action>,
    /// A job on its way to everybody; some actions are made when they are polled, some later.
    broadcast: Option<offers::Broadcast>,
    stopping: Option<Stop>,
    counters: Counters,
}

impl Pool {
    /// A pool that continues after `recovered`. Its first actions are there at once.
    pub fn new(config: Config, recovered: &Recovered, now: Now) -> Self {
        let limits = &config.limits;
        assert_eq!(config.nodes.first(), Some(&NodeRole::Follow), "there is a node to follow");
        let generation = recovered.generation.checked_add(1);
        assert!(generation.is_some(), "four billion starts");
        let generation = generation.unwrap_or_default();
        let mut pool = Self {
            generation,
            generation_is_safe: false,
            listening: false,
            sessions: BTreeMap::new(),
            schedule: schedule::Schedule::default(),
            addresses: BTreeMap::new(),
            remains: BTreeMap::new(),
            closing: BTreeSet::new(),
            leases: Leases::of(config.engine),
            jobs: JobBook::new(generation, limits.grace, limits.keep_stale, limits.jobs_live),
            ledger: Ledger::new(limits.shares_seen),
            journal: Writer::new(generation, limits),
            nodes: Failover::new(&config),
            daemons: config.sidechains.iter().copied().map(Daemon::new).collect(),
            deliveries: Deliveries::default(),
            submitter: Submitter::new(config.nodes.len(), limits.retry_pause),
            confirmations: Confirmations::default(),
            proposals: Proposals::default(),
            found: BTreeMap::new(),
            work: work::Work::default(),
            wishes: wishes::WishBook::default(),
            calls: BTreeMap::new(),
            writes: BTreeMap::new(),
            next_call: 0,
            next_write: 0,
            actions: VecDeque::new(),
            broadcast: None,
            stopping: None,
            counters: Counters::default(),
            config,
        };
        wishes::announce(&pool.config.wishes);
        pool.persist(Written::Generation, DiskOp::PutGeneration(generation));
        pool.take_up_again(now, &recovered.pending);
        pool.ask(now);
        pool
    }

    /// One thing happened at `now`. Drain [`Self::poll_action`] to `None` before and after.
    pub fn handle(&mut self, now: Now, event: Event) {
        assert!(self.is_drained(), "drain every action before the next event");
        match event {
            Event::Opened { conn, peer, port } => self.on_opened(now, conn, peer, port),
            Event::Received { conn, bytes } => self.on_received(now, conn, &bytes),
            // Nothing becomes due by it, and everybody's follow a job.
            Event::Flushed { conn, length } => return self.on_flushed(conn, length),
            Event::Closed { conn } => self.on_closed(conn),
            Event::Replied { call, result } => self.on_replied(now, call, &result),
            Event::Persisted { write } => self.on_persisted(write),
            Event::PersistFailed { write, error } => self.on_persist_failed(now, write, &error),
            Event::Notified { node, topic, body } => self.on_notice(now, node, &topic, &body),
            Event::Reconfigured(newer) => self.on_reconfigured(now, *newer),
            Event::Stop => self.on_stop(now),
        }
        self.write_shares(now);
        self.choose_node(now);
        self.ask(now);
        self.finish_stop(now);
    }

    /// The moment that [`Self::poll_timeout`] named has come.
    pub fn handle_timeout(&mut self, now: Now) {
        assert!(self.is_drained(), "drain every action before the next event");
        self.go_on_with_offers();
        self.publish_if_ready(now);
        self.retire_jobs(now);
        self.look_at_miners(now);
        self.write_shares(now);
        self.choose_node(now);
        self.stop_work_if_dead(now);
        self.ask(now);
        self.finish_stop(now);
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        while self.actions.is_empty() && self.has_offers() {
            self.form_offers();
        }
        self.actions.pop_front()
    }

    fn is_drained(&self) -> bool {
        self.actions.is_empty() && !self.has_offers()
    }

    /// When to call [`Self::handle_timeout`], and what for. May change with every event.
    pub fn poll_timeout(&self) -> Option<(Instant, Wake)> {
        let publish = self.work.waits_until(self.config.limits.commitment_wait);
        let wakes = [
            (self.next_offers(), Wake::SendJob),
            (self.nodes.next_question(), Wake::AskNode),
            (self.nodes.next_change(), Wake::ChooseNode),
            (self.work.dies_at(self.config.limits.tip_age), Wake::StopWork),
            (self.submitter.next_submission(), Wake::OfferBlock),
            (self.confirmations.next_question(), Wake::ConfirmBlock),
            (publish, Wake::PublishJob),
            (self.next_proposal(), Wake::ProposeBlock),
            (self.daemons.iter().filter_map(Daemon::next_question).min(), Wake::AskSidechain),
            (self.deliveries.next_question(), Wake::ConnectBlock),
            (self.journal.next_flush(), Wake::FlushJournal),
            (self.jobs.next_retirement(), Wake::RetireJobs),
            (self.schedule.next(), Wake::LookAtMiner),
            (self.stop_ends(), Wake::FinishStop),
        ];
        let due = wakes.into_iter().filter_map(|(when, why)| when.map(|when| (when, why)));
        due.min_by_key(|(when, _)| *when)
    }

    /// Totals since the start.
    pub fn counters(&self) -> Counters {
        let (failovers, returns) = self.nodes.changes();
        Counters { sessions: self.sessions.len() as u64, failovers, returns, ..self.counters }
    }

    fn on_replied(
        &mut self,
        now: Now,
        call: CallId,
        result: &Result<crate::node::rpc::HttpReply, crate::node::rpc::CallError>,
    ) {
        // A cancelled call's reply may have been under way already.
        let Some(purpose) = self.calls.remove(&call) else { return };
        match purpose {
            Purpose::Ask(node, question) => self.on_node_reply(now, node, question, result),
            Purpose::Submit(node, hash) => self.on_verdict(now, node, hash, result),
            Purpose::Confirm(node, hash) => self.on_confirmation(now, node, hash, result),
            Purpose::Branch(node, hash) => blocks::on_branch(node, &hash, result),
            Purpose::Prefer(node, hash) => blocks::on_preferred(node, &hash, result),
            Purpose::Commitment(index) => {
                self.daemons[index].on_reply(now.mono, result);
                self.on_commitment(now);
            }
            Purpose::Connect(delivery) => self.on_connected(now, delivery, result),
            Purpose::Propose => self.on_opinion(now, result),
        }
    }

    fn on_persisted(&mut self, write: WriteId) {
        match self.writes.remove(&write) {
            Some(Written::Generation) => {
                self.generation_is_safe = true;
                self.listen_if_ready();
            }
            Some(Written::Block(hash)) => self.block_is_safe(hash),
            Some(Written::Shares) => self.shares_are_written(),
            Some(Written::Settled) | None => {}
        }
    }

    fn on_persist_failed(&mut self, now: Now, write: WriteId, error: &WriteError) {
        match self.writes.remove(&write) {
            Some(Written::Generation) => self.halt(Halt::Fatal(format!(
                "cannot write to the data directory: {error}; without it restarts would repeat \
                 work: give DATA_DIR a place that this user may write to"
            ))),
            Some(Written::Block(hash)) => self.block_is_not_kept(hash, error),
            Some(Written::Shares) => self.shares_are_not_written(now, error),
            Some(Written::Settled) => tracing::warn!(
                "a judged block's file could not be moved: {error}; it is offered once more at \
                 the next start, which does no harm"
            ),
            None => {}
        }
    }

    fn on_notice(&mut self, now: Now, node: usize, topic: &[u8], body: &[u8]) {
        match Notice::parse(topic, body) {
            Some(Notice::Tip(hash)) => self.nodes.announce_tip(now.mono, node, hash),
            Some(Notice::TipLeft) => self.nodes.ask_now(now.mono, node),
            Some(Notice::Mempool) => self.nodes.look_at_mempool(now.mono, node),
            None => {}
        }
    }

    fn on_stop(&mut self, now: Now) {
        tracing::info!(pending_blocks = self.submitter.pending(), "stopping");
        self.stop(now, Halt::Stopped);
    }

    /// Lets the miners go, and ends once what is under way is done. The reason that is no wish
    /// counts.
    fn stop(&mut self, now: Now, why: Halt) {
        let before = self.stopping.take();
        let was_wished = before.as_ref().is_some_and(|stop| stop.wished);
        let wished = was_wished || why == Halt::Stopped;
        let since = before.as_ref().filter(|_| was_wished == wished).map(|stop| stop.since);
        let why = before.map(|stop| stop.why).filter(|why| *why != Halt::Stopped).unwrap_or(why);
        self.stopping = Some(Stop { since: since.unwrap_or(now.mono), why, wished });
        self.journal.hurry();
        let open: Vec<ConnId> = self.sessions.keys().copied().collect();
        for conn in open {
            self.ask_to_reconnect(conn);
            self.close(conn, action::CloseReason::Stopping);
        }
    }

    /// When a stop has waited long enough; never while a block is nowhere but here, unless the
    /// operator wants it so.
    fn stop_ends(&self) -> Option<Instant> {
        let stop = self.stopping.as_ref()?;
        let only_here = self.found.values().any(|kept| *kept != Kept::Safely);
        (stop.wished || !only_here).then(|| stop.since + self.config.limits.stop_patience)
    }

    fn finish_stop(&mut self, now: Now) {
        let patience_is_over = self.stop_ends().is_some_and(|ends| ends <= now.mono);
        let Some(Stop { why, .. }) = &self.stopping else { return };
        let undelivered = self.submitter.pending() + self.deliveries.pending();
        // Whether shares of a failed batch are on disk, nobody will know any more.
        let unwritten = if *why == Halt::Stopped { self.journal.waiting() } else { 0 };
        let idle = undelivered == 0 && unwritten == 0 && self.writes.is_empty();
        if idle || patience_is_over {
            if unwritten > 0 {
                tracing::error!(unwritten, "these shares could not be written and are lost");
            }
            self.halt(why.clone());
        }
    }

    fn halt(&mut self, why: Halt) {
        self.actions.push_back(Action::Halt(why));
    }

    /// Makes every call that is due.
    fn ask(&mut self, now: Now) {
        while let Some((node, hash, body)) = self.submitter.poll_submission(now.mono) {
            let patience = self.config.limits.submit_patience;
            self.call(Purpose::Submit(node, hash), Endpoint::Node(node), body, patience);
        }
        while let Some((node, question, body)) = self.nodes.poll_question(now.mono) {
            let patience = match question {
                Question::LongPoll => self.config.limits.long_poll_patience,
                Question::ChainInfo | Question::Header | Question::Template => {
                    self.config.limits.call_patience
                }
            };
            self.call(Purpose::Ask(node, question), Endpoint::Node(node), body, patience);
        }
        while let Some((node, hash, body)) = self.confirmations.poll_question(now.mono) {
            let patience = self.config.limits.call_patience;
            self.call(Purpose::Confirm(node, hash), Endpoint::Node(node), body, patience);
        }
        self.ask_sidechains(now);
        self.propose(now);
    }

    fn call(
        &mut self,
        purpose: Purpose,
        endpoint: Endpoint,
        body: Bytes,
        patience: core::time::Duration,
    ) {
        let call = CallId(self.next_call);
        self.next_call += 1;
        self.calls.insert(call, purpose);
        self.actions.push_back(Action::Call { call, endpoint, body, patience });
    }

    fn persist(&mut self, purpose: Written, op: DiskOp) {
        let write = WriteId(self.next_write);
        self.next_write += 1;
        self.writes.insert(write, purpose);
        self.actions.push_back(Action::Persist { write, op });
    }

    fn listen_if_ready(&mut self) {
        // A miner that is let in without work sits idle; one that is refused tries its next pool.
        if !self.listening && self.generation_is_safe && self.jobs.current().is_some() {
            self.listening = true;
            self.actions.push_back(Action::Listen);
        }
    }
}

#[cfg(test)]
mod tests;
