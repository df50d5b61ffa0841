//! A whole pool with miners on it, driven as the shell drives it, without the shell.
//!
//! A node that answers, a disk that is always done, miners that read everything at once. Between
//! two events it does what `server::runtime` does: perform every action, ask for the next wake.
//!
//! Not here: sockets, HTTP, threads. What they cost comes on top.

use core::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use server::Pool;
use server::bmm::auction::Mode;
use server::bmm::wishes::Wishes;
use server::clock::{Instant, Now};
use server::config::{Config, Engine, Limits, Miners, NodeRole, PortId};
use server::journal::Recovered;
use server::mining::difficulty::Difficulty;
use server::mining::job::JobId;
use server::mining::share::Candidate;
use server::node::rpc::HttpReply;
use server::pool::Counters;
use server::pool::action::{Action, CallId, Wake, WriteId};
use server::pool::event::{ConnId, Event};

use crate::{Reply, WORKER, candidate, job_id, submit_line, template, template_reply};

/// A question of a few words is shorter; what is proposed to the node is a whole block.
const QUESTION_BYTES_MAX: usize = 1_024;
/// Long enough for jobs of a left tip to be forgotten: they go at once here.
const STEP: Duration = Duration::from_micros(1);
/// Never: no job but for another tip.
const REFRESH: Duration = Duration::from_hours(100_000);

/// What the node here has answers to. The look for new bids beside a long poll has none, so that
/// the long poll's answer is always the newest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Question {
    Chain,
    Template,
    LongPoll,
}

impl Question {
    /// What `body` asks, told when it is asked: looking for it later would be in what is measured.
    fn of(body: &Bytes) -> Option<Self> {
        let text = core::str::from_utf8(body).ok().filter(|_| body.len() < QUESTION_BYTES_MAX)?;
        match text.split('"').skip_while(|word| *word != "method").nth(2)? {
            "getblockchaininfo" => Some(Self::Chain),
            "getblocktemplate" if text.contains("longpollid") => Some(Self::LongPoll),
            "getblocktemplate" => Some(Self::Template),
            _ => None,
        }
    }
}

/// A pool and those around it.
#[derive(Debug)]
pub struct Rig {
    pool: Pool,
    now: Now,
    calls: Vec<(CallId, Question)>,
    writes: Vec<WriteId>,
    sent: Vec<(ConnId, Bytes)>,
    miners: Vec<ConnId>,
    job: JobId,
    submitted: u64,
}

impl Rig {
    /// A pool whose node gave `first`, with so many miners that have its job.
    pub fn new(first: Reply, miners: u64) -> Self {
        let unix = template(0).time;
        let now = Now { mono: Instant::ZERO, wall: unix.into() };
        let mut rig = Self {
            pool: Pool::new(config(), &Recovered::default(), now),
            now,
            calls: Vec::new(),
            writes: Vec::new(),
            sent: Vec::new(),
            miners: Vec::new(),
            job: JobId { generation: 0, sequence: 0, revision: 0 },
            submitted: 0,
        };
        rig.drain();
        rig.finish_writes();
        let chain = r#"{"result":{"chain":"main","blocks":143},"error":null,"id":1}"#;
        let chain = HttpReply { status: 200, body: Bytes::from_static(chain.as_bytes()) };
        rig.answer(Question::Chain, Ok(chain));
        rig.answer(Question::Template, first);
        (0..miners).for_each(|number| rig.connect(ConnId(number)));
        rig
    }

    /// Lets time pass until the pool parks a long poll at its node, and forgets jobs of left tips.
    pub fn await_question(&mut self) {
        self.sent.clear();
        self.now.mono = self.now.mono + STEP;
        while let Some((due, _)) = self.pool.poll_timeout() {
            if due > self.now.mono && self.asked(Question::LongPoll).is_some() {
                break;
            }
            self.now.mono = self.now.mono.max(due);
            self.pool.handle_timeout(self.now);
            self.drain();
        }
        assert!(self.sent.is_empty(), "nobody is told anything before the node has answered");
    }

    /// The node's tip moves on: `reply` answers what [`Self::await_question`] waited for. What was
    /// sent: each miner's bytes.
    pub fn move_tip(&mut self, reply: Reply) -> &[(ConnId, Bytes)] {
        self.answer(Question::LongPoll, reply);
        // To many it goes a few at a time.
        while let Some((_, Wake::SendJob)) = self.pool.poll_timeout() {
            self.pool.handle_timeout(self.now);
            self.drain();
        }
        self.learn_job();
        &self.sent
    }

    /// So many lines for the current job, each a share that nobody submitted before, from each
    /// miner in turn.
    pub fn lines(&mut self, count: u64) -> Vec<(ConnId, Bytes)> {
        self.lines_of(count, 1)
    }

    /// The same, with so many nonces in a row for one extranonce2: 65,536 at most.
    pub fn lines_of(&mut self, count: u64, nonces: u64) -> Vec<(ConnId, Bytes)> {
        let miners = self.miners.iter().cycle();
        // A new extranonce2 to begin with, whatever came before.
        let first = self.submitted.next_multiple_of(nonces);
        self.submitted = first + count;
        let (job, time) = (self.job, self.now.wall.seconds());
        let line = |(number, conn): (u64, &ConnId)| {
            let extranonce2 = (number / nonces).to_be_bytes();
            let candidate = Candidate { extranonce2, ..candidate(job, time, number) };
            (*conn, submit_line(&candidate))
        };
        (first..self.submitted).zip(miners).map(line).collect()
    }

    /// A miner's bytes come in; what goes out to it.
    pub fn say(&mut self, conn: ConnId, bytes: Bytes) -> Option<Bytes> {
        self.handle(Event::Received { conn, bytes });
        self.sent.pop().map(|(_, bytes)| bytes)
    }

    /// Totals since the start.
    pub fn counters(&self) -> Counters {
        self.pool.counters()
    }

    fn connect(&mut self, conn: ConnId) {
        // Loopback: how many connections one address may have is not in question here.
        let peer = SocketAddr::from(([127, 0, 0, 1], 4_000));
        self.handle(Event::Opened { conn, peer, port: PortId(0) });
        let hello = format!(
            "{{\"id\":1,\"method\":\"mining.configure\",\"params\":[[\"version-rolling\"],\
             {{\"version-rolling.mask\":\"ffffffff\"}}]}}\n\
             {{\"id\":2,\"method\":\"mining.subscribe\",\"params\":[\"bench/1\"]}}\n\
             {{\"id\":3,\"method\":\"mining.authorize\",\"params\":[\"{WORKER}\",\"x\"]}}\n"
        );
        self.handle(Event::Received { conn, bytes: Bytes::from(hello) });
        self.learn_job();
        self.miners.push(conn);
    }

    fn learn_job(&mut self) {
        let job = self.sent.last().and_then(|(_, notify)| job_id(notify));
        self.job = job.unwrap_or(self.job);
    }

    fn handle(&mut self, event: Event) {
        self.sent.clear();
        self.pool.handle(self.now, event);
        self.drain();
        for place in 0..self.sent.len() {
            let (conn, length) = (self.sent[place].0, self.sent[place].1.len());
            self.pool.handle(self.now, Event::Flushed { conn, length });
            assert!(self.pool.poll_action().is_none(), "what left the machine asks for nothing");
        }
        self.finish_writes();
        black_box(self.pool.poll_timeout());
    }

    fn finish_writes(&mut self) {
        while let Some(write) = self.writes.pop() {
            self.pool.handle(self.now, Event::Persisted { write });
            self.drain();
        }
    }

    fn drain(&mut self) {
        while let Some(action) = self.pool.poll_action() {
            match action {
                Action::Send { conn, bytes } => self.sent.push((conn, bytes)),
                Action::Call { call, body, .. } => {
                    self.calls.extend(Question::of(&body).map(|question| (call, question)));
                }
                Action::Cancel { call } => self.calls.retain(|(asked, _)| *asked != call),
                Action::Persist { write, .. } => self.writes.push(write),
                Action::Listen => {}
                Action::Close { .. } | Action::Halt(_) => {
                    unreachable!("nothing goes wrong here, but it did: {action:?}")
                }
            }
        }
    }

    /// Answers the call that asks this and has waited longest.
    fn answer(&mut self, question: Question, result: Reply) {
        let place = self.asked(question).expect("the pool asked for it");
        let (call, _) = self.calls.remove(place);
        self.handle(Event::Replied { call, result });
    }

    fn asked(&self, question: Question) -> Option<usize> {
        self.calls.iter().position(|(_, asked)| *asked == question)
    }
}

/// Two replies on two parents: moving to and fro is a new tip each time. The transactions are the
/// same, but for the bids: those name the parent.
pub fn two_tips(transactions: usize) -> [Reply; 2] {
    [template_reply(transactions, 1, 0), template_reply(transactions, 2, 0)]
}

/// The same, with no transaction in common: nothing that is known of one helps with the other.
pub fn two_tips_apart(transactions: usize) -> [Reply; 2] {
    [template_reply(transactions, 1, 0), template_reply(transactions, 2, transactions)]
}

/// Every hash is a share, none a block, and jobs of left tips are forgotten at once, so that a
/// measurement does not grow with its length.
fn config() -> Config {
    Config {
        network: bitcoin::Network::Bitcoin,
        nodes: vec![NodeRole::Follow],
        payout: crate::payout(),
        difficulty: "1e-12".parse().unwrap_or(Difficulty::ONE),
        refresh: REFRESH,
        blind: Mode::On,
        empty_first: false,
        sidechains: Vec::new(),
        wishes: Wishes::default(),
        miners: Miners::default(),
        engine: Engine::ONLY,
        limits: Limits { grace: Duration::ZERO, keep_stale: Duration::ZERO, ..Limits::default() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_share_and_every_tip_a_job() {
        let [tip, same] = two_tips(10);
        let [_, other] = two_tips_apart(10);
        let tips = [tip, same];
        let both = [tips.clone(), [tips[0].clone(), other]].concat();
        let mut rig = Rig::new(tips[1].clone(), 3);
        for tip in both.iter().chain(&both) {
            rig.await_question();
            let sent = rig.move_tip(tip.clone());
            assert_eq!(sent.len(), 3, "a job for each miner");
            let notify = String::from_utf8_lossy(&sent[0].1).into_owned();
            assert!(notify.contains("d161736809") && notify.ends_with("true]}\n"), "{notify}");
            for (conn, line) in rig.lines(7) {
                let reply = rig.say(conn, line).expect("an answer");
                assert_eq!(&reply[..], b"{\"id\":4242,\"result\":true,\"error\":null}\n");
            }
            rig.pool.audit();
        }
        let counters = rig.counters();
        assert_eq!((counters.shares_accepted, counters.shares_rejected), (56, 0));
        assert_eq!((counters.jobs, counters.blocks_found), (9, 0));
    }
    /// A read is answered with one allocation or two, however many shares it brings.
    #[test]
    fn no_share_costs_an_allocation() {
        const SHARES: u64 = 256;
        for nonces in [1, 1_000] {
            let [tip, _] = two_tips(10);
            let mut rig = Rig::new(tip, 1);
            let mut read = |count| -> (ConnId, Bytes) {
                let lines = rig.lines_of(count, nonces);
                let bytes: Vec<Bytes> = lines.into_iter().map(|(_, line)| line).collect();
                (ConnId(0), bytes.concat().into())
            };
            // What is remembered of shares grows by doubling, and has room for these then.
            let (warm_up, counted) = (read(5 * SHARES), read(SHARES));
            rig.say(warm_up.0, warm_up.1);
            let spent = allocation_counter::measure(|| {
                rig.say(counted.0, counted.1.clone());
            });
            assert_eq!(rig.counters().shares_accepted, 6 * SHARES);
            assert!(spent.count_total < SHARES / 8, "{nonces}: {spent:?}");
        }
    }
}
