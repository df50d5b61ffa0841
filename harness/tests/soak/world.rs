//! Everything around the pool: miners, node, sidechain, disk, and what goes wrong with them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "this is a test: a surprise fails it")]
#![expect(clippy::wildcard_enum_match_arm, reason = "most of what a miner hears is no concern")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bitcoin::hashes::Hash as _;
use bitcoin::{BlockHash, Network, ScriptBuf};
use bytes::Bytes;
use harness::sim::node::{ParkedPoll, RpcOutcome};
use harness::sim::{RpcReply, World};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};
use server::Pool;
use server::bmm::Slot;
use server::bmm::auction::Mode;
use server::bmm::wishes::Wishes;
use server::clock::{Instant, Now, UnixTime};
use server::config::{Config, Limits, Miners, OwnSidechain, PortId};
use server::journal::Recovered;
use server::node::rpc::{CallError, HttpReply};
use server::pool::action::{Action, CallId, Endpoint, WriteId};
use server::pool::event::{ConnId, Event};
use simminer::client::{Client, ClientConfig, Event as Heard};
use simminer::persona::Persona;

const SLOT: u8 = 9;
const START: u32 = 1_700_000_000;

/// How often each thing happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults(BTreeMap<&'static str, u64>);

impl Faults {
    const ALL: [&str; 12] = [
        "call timed out before it had an effect",
        "reply lost after its effect",
        "reply is html",
        "connection refused",
        "rival block",
        "sidechain down",
        "miner left with unanswered shares",
        "write failed",
        "share accepted",
        "share refused",
        "block accepted",
        "sidechain advanced",
    ];

    fn count(&mut self, what: &'static str) {
        assert!(Self::ALL.contains(&what), "{what} is listed");
        *self.0.entry(what).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    pub(crate) fn never(&self) -> Vec<&'static str> {
        Self::ALL.into_iter().filter(|what| !self.0.contains_key(what)).collect()
    }
}

struct PendingCall {
    call: CallId,
    endpoint: Endpoint,
    body: Bytes,
    deadline: Instant,
    parked: Option<ParkedPoll>,
}

struct Miner {
    client: Client,
    upstream: VecDeque<u8>,
    downstream: VecDeque<u8>,
    open: bool,
    closing: bool,
}

/// One seed's run.
pub(crate) struct Run {
    pool: Pool,
    world: World,
    random: ChaCha8Rng,
    now: Now,
    calls: Vec<PendingCall>,
    writes: VecDeque<WriteId>,
    miners: BTreeMap<ConnId, Miner>,
    next_conn: u64,
    listening: bool,
    /// Hashes of blocks that the server received whole.
    blocks: BTreeSet<[u8; 32]>,
    accepted: BTreeSet<[u8; 32]>,
    pub(crate) faults: Faults,
    pub(crate) trace: Vec<String>,
}

impl Run {
    pub(crate) fn new(seed: u64) -> Self {
        let config = Config {
            network: Network::Regtest,
            payout: ScriptBuf::from_bytes(vec![0x51]),
            difficulty: "1e-12".parse().unwrap(),
            refresh: Duration::from_secs(10),
            blind: Mode::On,
            sidechains: vec![OwnSidechain::new(Slot(SLOT))],
            wishes: Wishes::default(),
            miners: Miners::default(),
            limits: Limits::default(),
        };
        let now = Now { mono: Instant::ZERO, unix: UnixTime(START) };
        let mut run = Self {
            pool: Pool::new(config, &Recovered::default(), now),
            world: World::new([SLOT], seed),
            random: ChaCha8Rng::seed_from_u64(seed),
            now,
            calls: Vec::new(),
            writes: VecDeque::new(),
            miners: BTreeMap::new(),
            next_conn: 0,
            listening: false,
            blocks: BTreeSet::new(),
            accepted: BTreeSet::new(),
            faults: Faults::default(),
            trace: Vec::new(),
        };
        run.drain();
        run
    }

    fn chance(&mut self, of_a_hundred: u32) -> bool {
        self.random.random_range(0..100) < of_a_hundred
    }

    fn pick(&mut self, length: usize) -> usize {
        self.random.random_range(0..length)
    }

    /// One random thing happens.
    pub(crate) fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..3 if self.miners.len() < 6 => self.connect(),
            3..5 => self.disconnect(),
            5..30 => self.mine(),
            30..60 => self.move_bytes(),
            60..80 => self.answer_call(true),
            80..88 => self.finish_write(true),
            88..90 => self.rival(),
            90..92 => {
                let down = self.chance(40);
                self.world.sidechain_mut(SLOT).unwrap().set_down(down);
            }
            _ => {
                let wait = self.random.random_range(0..3_000);
                self.wait(Duration::from_millis(wait));
            }
        }
    }

    /// From now on nothing goes wrong; everything that waits gets its turn.
    pub(crate) fn heal(&mut self) {
        self.world.sidechain_mut(SLOT).unwrap().set_down(false);
        for _ in 0..400 {
            while !self.writes.is_empty() {
                self.finish_write(false);
            }
            for _ in 0..self.calls.len() {
                self.answer_call(false);
            }
            for _ in 0..self.miners.len() * 4 {
                self.move_bytes();
            }
            self.wait(Duration::from_millis(100));
        }
    }

    /// What must hold at the end.
    pub(crate) fn check(&self) {
        assert!(self.writes.is_empty());
        for hash in &self.blocks {
            let hash = BlockHash::from_byte_array(*hash);
            assert!(self.world.node().block(hash).is_some(), "the node never got block {hash}");
        }
        let counters = self.pool.counters();
        assert!(counters.shares_accepted >= self.accepted.len() as u64);
        assert!(self.listening, "a node that answers in the end means work in the end");
        let tip = self.world.node().tip();
        assert_eq!(self.world.sidechain(SLOT).unwrap().main_tip(), tip);
    }

    fn note(&mut self, line: String) {
        self.trace.push(line);
    }

    fn handle(&mut self, event: Event) {
        self.note(format!("{:?} {event:?}", self.now.mono));
        self.pool.handle(self.now, event);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(action) = self.pool.poll_action() {
            self.note(format!("{action:?}"));
            match action {
                Action::Listen => self.listening = true,
                Action::Send { conn, bytes } => {
                    if let Some(miner) = self.miners.get_mut(&conn) {
                        miner.downstream.extend(bytes);
                    }
                }
                Action::Close { conn, .. } => self.miners.get_mut(&conn).unwrap().closing = true,
                Action::Call { call, endpoint, body, patience } => {
                    let deadline = self.now.mono + patience;
                    self.calls.push(PendingCall { call, endpoint, body, deadline, parked: None });
                }
                Action::Cancel { call } => self.calls.retain(|pending| pending.call != call),
                Action::Persist { write, .. } => self.writes.push_back(write),
                Action::Halt(why) => panic!("nothing here is a reason to end: {why:?}"),
            }
        }
        self.pool.audit();
    }

    fn wait(&mut self, time: Duration) {
        let until = self.now.mono + time;
        while let Some((due, _)) = self.pool.poll_timeout().filter(|(due, _)| *due <= until) {
            self.at(due.max(self.now.mono));
            self.pool.handle_timeout(self.now);
            self.drain();
        }
        self.at(until);
        while let Some(late) = self.calls.iter().position(|call| call.deadline <= until) {
            let call = self.calls.remove(late).call;
            self.handle(Event::Replied { call, result: Err(CallError::Timeout) });
        }
    }

    fn at(&mut self, mono: Instant) {
        let seconds = u32::try_from(mono.as_nanos() / 1_000_000_000).unwrap();
        self.now = Now { mono, unix: UnixTime(START + seconds) };
    }

    fn connect(&mut self) {
        if !self.listening {
            return;
        }
        let conn = ConnId(self.next_conn);
        self.next_conn += 1;
        let mut client = Client::new(ClientConfig {
            user: format!("miner{}", conn.0),
            password: String::new(),
            version_rolling: self.chance(50),
            suggest_difficulty: None,
            persona: Persona::honest(),
        });
        client.connected();
        let (upstream, downstream) = (VecDeque::new(), VecDeque::new());
        let miner = Miner { client, upstream, downstream, open: true, closing: false };
        self.miners.insert(conn, miner);
        self.handle(Event::Opened { conn, peer: ([127, 0, 0, 1], 1).into(), port: PortId(0) });
    }

    fn any_miner(&mut self) -> Option<ConnId> {
        if self.miners.is_empty() {
            return None;
        }
        let place = self.pick(self.miners.len());
        self.miners.keys().nth(place).copied()
    }

    fn disconnect(&mut self) {
        let Some(conn) = self.any_miner() else { return };
        let mut gone = self.miners.remove(&conn).unwrap();
        if gone.client.disconnected() > 0 {
            self.faults.count("miner left with unanswered shares");
        }
        self.handle(Event::Closed { conn });
    }

    fn mine(&mut self) {
        let Some(conn) = self.any_miner() else { return };
        let miner = self.miners.get_mut(&conn).unwrap();
        let Some(work) = miner.client.next_work() else { return };
        let Some(found) = work.hasher().search(4).found else { return };
        if miner.client.submit(&work, found.nonce).is_ok() {
            miner.upstream.extend(miner.client.take_outgoing());
        }
    }

    /// Some bytes travel, in pieces of any size.
    fn move_bytes(&mut self) {
        let Some(conn) = self.any_miner() else { return };
        let size = self.random.random_range(1..2_000);
        let miner = self.miners.get_mut(&conn).unwrap();
        miner.upstream.extend(miner.client.take_outgoing());
        let size_up = miner.upstream.len().min(size);
        let up: Bytes = miner.upstream.drain(..size_up).collect();
        let size_down = miner.downstream.len().min(size);
        let down: Vec<u8> = miner.downstream.drain(..size_down).collect();
        miner.client.receive(&down);
        let ends = miner.closing && miner.downstream.is_empty();
        let heard: Vec<Heard> = core::iter::from_fn(|| miner.client.poll_event()).collect();
        if !down.is_empty() && !miner.closing {
            self.handle(Event::Flushed { conn, length: down.len() });
        }
        for event in heard {
            self.hear(event);
        }
        if !up.is_empty() && self.miners[&conn].open {
            self.handle(Event::Received { conn, bytes: up });
        }
        if ends {
            self.miners.remove(&conn);
            self.handle(Event::Closed { conn });
        }
    }

    fn hear(&mut self, event: Heard) {
        match event {
            Heard::Accepted(share) => {
                self.faults.count("share accepted");
                assert!(self.accepted.insert(share.hash.0), "counted twice: {share:?}");
                if share.meets_block {
                    self.blocks.insert(share.hash.0);
                }
            }
            Heard::Rejected(share, refusal) => {
                self.faults.count("share refused");
                // 21 is a job whose tip is gone. Nothing else may happen to an honest miner.
                assert_eq!(refusal.code, Some(21), "{refusal:?}");
                if share.meets_block {
                    self.blocks.insert(share.hash.0);
                }
            }
            Heard::Complaint(what) | Heard::Close(what) => panic!("nonsense on the wire: {what}"),
            Heard::SubscribeRefused(why) | Heard::AuthorizeRefused(why) => panic!("{why:?}"),
            _ => {}
        }
    }

    fn rival(&mut self) {
        let tip = self.world.node().tip();
        self.faults.count("rival block");
        self.world.mine_rival(tip, self.now.unix.0).unwrap();
        self.look_around();
    }

    fn look_around(&mut self) {
        use harness::sim::WorldEvent;
        while let Some(event) = self.world.poll_event() {
            match event {
                WorldEvent::BlockAccepted { reserved_value_missing, .. } => {
                    assert!(!reserved_value_missing, "the block is byte-complete");
                    self.faults.count("block accepted");
                }
                WorldEvent::BlockRefused { hash, reason } => {
                    let again = ["duplicate", "duplicate-inconclusive"].contains(&reason.as_str());
                    assert!(again, "the node refused our block {hash}: {reason}");
                }
                WorldEvent::SidechainAdvanced { .. } => self.faults.count("sidechain advanced"),
                WorldEvent::TipChanged { .. }
                | WorldEvent::BlockSidelined { .. }
                | WorldEvent::SidechainRolledBack { .. } => {}
            }
        }
    }

    fn finish_write(&mut self, may_fail: bool) {
        let Some(write) = self.writes.pop_front() else { return };
        // The first write is the generation, without which nothing starts.
        if may_fail && write != WriteId(0) && self.chance(10) {
            self.faults.count("write failed");
            self.handle(Event::PersistFailed { write, error: "disk full".to_owned() });
        } else {
            self.handle(Event::Persisted { write });
        }
    }

    fn answer_call(&mut self, may_fail: bool) {
        if self.calls.is_empty() {
            return;
        }
        let place = if may_fail { self.pick(self.calls.len()) } else { 0 };
        let mut call = self.calls.remove(place);
        let fate = if may_fail { self.random.random_range(0..100) } else { 99 };
        let failure = match fate {
            0..4 => Some(("call timed out before it had an effect", Err(CallError::Timeout))),
            4..7 => {
                let refused = CallError::Connect("refused".to_owned());
                Some(("connection refused", Err(refused)))
            }
            7..10 => {
                let body = Bytes::from_static(b"<html>busy</html>");
                Some(("reply is html", Ok(HttpReply { status: 503, body })))
            }
            _ => None,
        };
        if let Some((what, result)) = failure {
            self.faults.count(what);
            return self.handle(Event::Replied { call: call.call, result });
        }
        match self.effect(&mut call) {
            Effect::Parked => self.calls.push(call),
            Effect::Reply(_) if (10..14).contains(&fate) => {
                self.faults.count("reply lost after its effect");
                let broken = Err(CallError::Broken("reset".to_owned()));
                self.handle(Event::Replied { call: call.call, result: broken });
            }
            Effect::Reply(reply) => {
                let reply = HttpReply { status: reply.status, body: reply.body.into() };
                self.handle(Event::Replied { call: call.call, result: Ok(reply) });
            }
            Effect::Silence => {
                self.faults.count("sidechain down");
                let broken = Err(CallError::Broken("closed".to_owned()));
                self.handle(Event::Replied { call: call.call, result: broken });
            }
        }
    }

    fn effect(&mut self, call: &mut PendingCall) -> Effect {
        let now = self.now.unix.0;
        let effect = match (call.endpoint, &mut call.parked) {
            (Endpoint::Sidechain(_), _) => {
                let reply = self.world.handle_sidechain_rpc(SLOT, &call.body);
                reply.map_or(Effect::Silence, Effect::Reply)
            }
            (Endpoint::Node, Some(parked)) => {
                self.world.resume(now, parked).map_or(Effect::Parked, Effect::Reply)
            }
            (Endpoint::Node, None) => match self.world.handle_rpc(now, &call.body) {
                RpcOutcome::Reply(reply) => Effect::Reply(reply),
                RpcOutcome::Parked(parked) => {
                    call.parked = Some(parked);
                    Effect::Parked
                }
            },
        };
        self.look_around();
        effect
    }
}

enum Effect {
    Reply(RpcReply),
    Parked,
    Silence,
}
