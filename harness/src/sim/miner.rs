//! A simulated miner: `simminer`'s own client, a search that takes time, and a habit.
//!
//! The search is real: the nonces that it tries are counted, and its time is that count over the
//! miner's hash rate. So shares come as they come from hardware, and a share is not a block.
//! Not in here: the network in between.

mod habits;

use std::collections::VecDeque;

use bytes::Bytes;
use simminer::client::{Client, ClientConfig, Event, Share};
use simminer::hasher::Hasher;
use simminer::persona::Persona;
use simminer::work::Work;

use super::observe::Conn;
use super::queue::Micros;
use crate::plan::draw::{Draw, draw};
use crate::plan::{self, Ask, Habit, MinerPlan, Plan};

/// Hashes after which a search stops to look around, in shares.
const SEARCH_SHARES: u64 = 4;
/// Submissions that are kept to be sent again.
const REMEMBERED: usize = 8;

/// What a miner wants done.
#[derive(Clone, Debug)]
pub enum Wish {
    /// These bytes sent.
    Send(Bytes),
    /// Its search goes on then; the number tells a search from later ones.
    Search(Micros, u64),
    /// These bytes sent then, if the connection still stands.
    SendLater(Micros, Conn, Bytes),
    /// Its connection closed.
    Leave,
    /// It says that what it was sent makes no sense.
    Complain(String),
}

/// A search under way.
#[derive(Debug)]
struct Search {
    number: u64,
    work: Work,
    hasher: Hasher,
    /// The nonce that it will have found.
    found: Option<u32>,
}

/// A miner.
#[derive(Debug)]
pub struct SimMiner {
    /// As planned.
    pub plan: MinerPlan,
    /// Its connection.
    pub conn: Option<Conn>,
    seed: u64,
    share_hashes: u64,
    client: Client,
    search: Option<Search>,
    searches: u64,
    /// Connections so far.
    pub connects: u64,
    /// Lines of mischief so far: their ids.
    tricks: u64,
    /// Shares of this connection and of those before.
    shares: u64,
    remembered: VecDeque<Share>,
    /// Its newest job's id.
    pub job: Option<String>,
    /// A job that another miner was sent, by id.
    pub overheard: Option<String>,
    /// No more mischief.
    pub tame: bool,
    wishes: Vec<Wish>,
    /// Submissions that were taken, and that were refused.
    pub answered: (u64, u64),
}

impl SimMiner {
    /// A miner that is not connected.
    pub fn new(plan: &Plan, miner: &MinerPlan) -> Self {
        let client = Client::new(client_config(miner));
        Self {
            plan: miner.clone(),
            conn: None,
            seed: plan.seed,
            share_hashes: plan.server.share_hashes,
            client,
            search: None,
            searches: 0,
            connects: 0,
            tricks: 0,
            shares: 0,
            remembered: VecDeque::new(),
            job: None,
            overheard: None,
            tame: false,
            wishes: Vec::new(),
            answered: (0, 0),
        }
    }

    /// What it wants done, in order.
    pub fn take_wishes(&mut self) -> Vec<Wish> {
        core::mem::take(&mut self.wishes)
    }

    fn draw(&self, label: &str, key: u64) -> Draw {
        draw(self.seed, label, (self.plan.id, key))
    }

    /// It is connected.
    pub fn connected(&mut self, now: Micros, conn: Conn) {
        self.conn = Some(conn);
        self.connects += 1;
        self.client.connected();
        let opening = self.client.take_outgoing();
        if self.plan.habit == Habit::Silent && !self.tame {
            return;
        }
        self.before_opening(now, conn);
        self.wishes.push(Wish::Send(opening.into()));
        self.after_opening(now, conn);
    }

    /// Its connection is gone.
    pub fn disconnected(&mut self) {
        self.conn = None;
        self.client.disconnected();
        self.stop_search();
    }

    fn stop_search(&mut self) {
        // A late miner goes on with what is void.
        if self.plan.habit != Habit::Late || self.tame || self.conn.is_none() {
            self.search = None;
        }
    }

    /// Bytes reached it.
    pub fn receive(&mut self, now: Micros, bytes: &[u8]) {
        self.client.receive(bytes);
        let mut job = None;
        while let Some(event) = self.client.poll_event() {
            match event {
                Event::Job { job: next, .. } => job = Some(next),
                Event::Accepted(_) => self.answered.0 += 1,
                Event::Rejected(..) => self.answered.1 += 1,
                Event::Complaint(what) | Event::Close(what) => self.complain(what),
                Event::SubscribeRefused(why) | Event::AuthorizeRefused(why) => {
                    self.complain(format!("it is refused: {why:?}"));
                }
                Event::OptionRefused { method, refusal } => {
                    self.complain(format!("{method} is refused: {refusal:?}"));
                }
                Event::Subscribed { .. }
                | Event::Authorized
                | Event::VersionMask(_)
                | Event::Difficulty(_)
                | Event::Extranonce { .. }
                | Event::Reconnect { .. }
                | Event::Message(_) => {}
            }
        }
        self.flush();
        if let Some(job) = job {
            self.job = Some(job.id.clone());
            if job.clean {
                self.stop_search();
            }
        }
        if self.search.is_none() {
            self.search_on(now);
        }
    }

    /// What makes no sense to the honest parts of it. Answers to mischief have ids it never gave.
    fn complain(&mut self, what: String) {
        if self.plan.habit == Habit::Honest {
            self.wishes.push(Wish::Complain(what));
        }
    }

    fn flush(&mut self) {
        let bytes = self.client.take_outgoing();
        if !bytes.is_empty() {
            self.wishes.push(Wish::Send(bytes.into()));
        }
    }

    /// Begins a search, if there is work.
    fn search_on(&mut self, now: Micros) {
        self.search = None;
        let Some(mut work) = self.client.next_work() else { return };
        self.change_work(&mut work);
        let hasher = work.hasher();
        self.go_on(now, work, hasher);
    }

    fn go_on(&mut self, now: Micros, work: Work, mut hasher: Hasher) {
        let step = hasher.search(self.share_hashes * SEARCH_SHARES);
        self.searches += 1;
        let number = self.searches;
        let us = step.tried.max(1) * self.plan.share_ms * 1_000 / self.share_hashes;
        let found = step.found.map(|solution| solution.nonce);
        self.search = Some(Search { number, work, hasher, found });
        self.wishes.push(Wish::Search(now.after(us.max(1)), number));
    }

    /// The time of a search is over.
    pub fn search_ends(&mut self, now: Micros, number: u64) {
        let Some(search) = self.search.take_if(|search| search.number == number) else { return };
        let Search { work, hasher, found, .. } = search;
        if let Some(nonce) = found {
            self.shares += 1;
            self.found(now, &work, nonce);
        }
        // New transactions, and perhaps another difficulty, wait in a newer job.
        let is_newest = self.job.as_ref() == Some(&work.job.id);
        if found.is_some() || hasher.is_exhausted() || !is_newest || !self.client.is_live(&work) {
            self.search_on(now);
        } else {
            self.go_on(now, work, hasher);
        }
    }

    fn remember(&mut self, share: Share) {
        if self.remembered.len() == REMEMBERED {
            self.remembered.pop_front();
        }
        self.remembered.push_back(share);
    }
}

/// What the miner's firmware is told.
fn client_config(miner: &MinerPlan) -> ClientConfig {
    let family = miner.family.as_deref();
    let mut persona = family.and_then(Persona::family).unwrap_or_else(Persona::honest);
    if miner.habit == Habit::Bursty {
        persona.unanswered_max = 64;
    }
    let (suggestion, password) = match miner.asks {
        None => (None, String::new()),
        Some(Ask::Suggest { hashes }) => (plan::difficulty(hashes).parse().ok(), String::new()),
        Some(Ask::Fix { hashes }) => (None, format!("d={}", plan::difficulty(hashes))),
        Some(Ask::Floor { hashes }) => (None, format!("x,md={}", plan::difficulty(hashes))),
    };
    ClientConfig {
        user: worker(miner.id),
        password,
        version_rolling: miner.rolls,
        suggest_difficulty: suggestion,
        persona,
    }
}

/// The name of a miner's worker.
fn worker(id: u64) -> String {
    format!("miner{id}")
}
