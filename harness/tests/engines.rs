//! EXTRA-1 across engines: several production pools at one simulated node, and no two miners ever
//! search the same headers, whichever pool they are at.
//!
//! Miners come, go, come back elsewhere and find blocks, as one seed has it; everything is judged
//! by what `simminer` was told. The law is tried on pools that were numbered wrongly, too.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]
#![expect(clippy::wildcard_enum_match_arm, reason = "most of what a miner hears is no concern")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bitcoin::hex::DisplayHex;
use bytes::Bytes;
use harness::plan::draw::{Draw, draw};
use harness::sim::host::payout;
use harness::sim::node::{ParkedPoll, RpcOutcome};
use harness::sim::{RpcReply, World};
use server::Pool;
use server::bmm::auction::Mode;
use server::bmm::wishes::Wishes;
use server::clock::{Instant, Now, UnixMillis};
use server::config::{Config, Engine, Limits, Miners, NodeRole, PortId};
use server::journal::Recovered;
use server::mining::difficulty::Difficulty;
use server::node::rpc::HttpReply;
use server::pool::action::{Action, CallId, WriteId};
use server::pool::event::{ConnId, Event};
use simminer::client::{Client, ClientConfig, Event as Heard};
use simminer::persona::Persona;
use simminer::work::Job;

/// Unix seconds at which each run begins.
const START: u32 = 1_700_000_000;
/// What happens in one run.
const STEPS: u64 = 400;
/// Miners that come and go.
const MINERS: usize = 24;

/// What an engine is told at its start.
#[derive(Clone, Copy)]
struct Numbering {
    engine: Engine,
    /// Of the run before it.
    generation: u32,
}

/// As the shell numbers them.
fn right(of: u32) -> Vec<Numbering> {
    (0..of)
        .map(|number| Numbering { engine: Engine { number, of }, generation: 7 + number })
        .collect()
}

#[derive(Default)]
struct Asked {
    calls: VecDeque<(CallId, Bytes)>,
    parked: Vec<(CallId, ParkedPoll)>,
    writes: VecDeque<WriteId>,
}

/// A pool, what it asked for, and what it said to whom.
struct Host {
    pool: Pool,
    asked: Asked,
    said: VecDeque<(ConnId, Bytes)>,
}

impl Host {
    fn drain(&mut self) {
        while let Some(action) = self.pool.poll_action() {
            match action {
                Action::Send { conn, bytes } => self.said.push_back((conn, bytes)),
                Action::Call { call, body, .. } => self.asked.calls.push_back((call, body)),
                Action::Persist { write, .. } => self.asked.writes.push_back(write),
                Action::Cancel { call } => {
                    self.asked.calls.retain(|(known, _)| *known != call);
                    self.asked.parked.retain(|(known, _)| *known != call);
                }
                Action::Listen => {}
                Action::Close { .. } | Action::Halt(_) => panic!("nobody misbehaves: {action:?}"),
            }
        }
        self.pool.audit();
    }

    fn handle(&mut self, now: Now, event: Event) {
        self.pool.handle(now, event);
        self.drain();
    }
}

struct Miner {
    client: Client,
    /// Where it is connected: engine and connection.
    at: Option<(usize, ConnId)>,
    one: Option<Vec<u8>>,
    job: Option<Arc<Job>>,
}

/// What was broken, in words.
type Law = Result<(), String>;

struct Run {
    world: World,
    hosts: Vec<Host>,
    miners: Vec<Miner>,
    now: Now,
    connections: u64,
    /// Whose each extranonce1 is, for ever.
    owners: BTreeMap<Vec<u8>, usize>,
    hashes: BTreeSet<[u8; 32]>,
    /// Sessions that were gone on with, and those that began anew although they named one.
    resumed: u64,
    anew: u64,
}

fn config(engine: Engine) -> Config {
    Config {
        network: bitcoin::Network::Regtest,
        nodes: vec![NodeRole::Follow],
        payout: payout(),
        difficulty: "1e-12".parse().unwrap_or(Difficulty::ONE),
        refresh: Duration::from_secs(5),
        blind: Mode::Off,
        empty_first: false,
        sidechains: Vec::new(),
        wishes: Wishes::default(),
        miners: Miners::default(),
        engine,
        limits: Limits::default(),
    }
}

/// A miner's side of one connection, which goes on with `session` if it may.
fn client(session: Option<&[u8]>) -> Client {
    let id = session.map(DisplayHex::to_lower_hex_string);
    Client::new(ClientConfig {
        user: "miner".to_owned(),
        password: "x".to_owned(),
        version_rolling: false,
        suggest_difficulty: None,
        persona: Persona {
            subscribe_rest: id.map(Some).into_iter().collect(),
            ..Persona::honest()
        },
    })
}

impl Run {
    fn new(numbering: &[Numbering]) -> Self {
        let now = Now { mono: Instant::ZERO, wall: UnixMillis(u64::from(START) * 1_000) };
        let host = |each: &Numbering| {
            let recovered = Recovered { generation: each.generation, pending: Vec::new() };
            let pool = Pool::new(config(each.engine), &recovered, now);
            let mut host = Host { pool, asked: Asked::default(), said: VecDeque::new() };
            host.drain();
            host
        };
        let miner = |_| Miner { client: client(None), at: None, one: None, job: None };
        Self {
            world: World::new([], 1),
            hosts: numbering.iter().map(host).collect(),
            miners: (0..MINERS).map(miner).collect(),
            now,
            connections: 0,
            owners: BTreeMap::new(),
            hashes: BTreeSet::new(),
            resumed: 0,
            anew: 0,
        }
    }

    fn unix(&self) -> u32 {
        START + u32::try_from(self.now.mono.as_nanos() / 1_000_000_000).unwrap()
    }

    /// Lets time pass, and whatever is due happen.
    fn pass(&mut self, time: Duration) {
        let end = self.now.mono + time;
        while let Some(due) = self.due().filter(|due| *due <= end) {
            self.set_clock(self.now.mono.max(due));
            for host in &mut self.hosts {
                if host.pool.poll_timeout().is_some_and(|(due, _)| due <= self.now.mono) {
                    host.pool.handle_timeout(self.now);
                    host.drain();
                }
            }
            self.settle();
        }
        self.set_clock(end);
    }

    fn due(&self) -> Option<Instant> {
        self.hosts.iter().filter_map(|host| host.pool.poll_timeout()).map(|(due, _)| due).min()
    }

    fn set_clock(&mut self, mono: Instant) {
        let wall = u64::from(START) * 1_000 + mono.as_nanos() / 1_000_000;
        self.now = Now { mono, wall: UnixMillis(wall) };
    }

    /// Answers and delivers until nobody has anything more to say.
    fn settle(&mut self) {
        while (0..self.hosts.len()).any(|place| self.settle_one(place)) {}
    }

    fn settle_one(&mut self, place: usize) -> bool {
        let (now, unix) = (self.now, self.unix());
        let host = &mut self.hosts[place];
        if let Some(write) = host.asked.writes.pop_front() {
            host.handle(now, Event::Persisted { write });
            return true;
        }
        if let Some((conn, bytes)) = host.said.pop_front() {
            self.deliver(place, conn, &bytes);
            return true;
        }
        let reply = match host.asked.calls.pop_front() {
            Some((call, body)) => match self.world.handle_rpc(unix, &body) {
                RpcOutcome::Reply(reply) => Some((call, reply)),
                RpcOutcome::Parked(parked) => {
                    host.asked.parked.push((call, parked));
                    return true;
                }
            },
            None => host
                .asked
                .parked
                .iter_mut()
                .find_map(|(call, parked)| Some((*call, self.world.resume(unix, parked)?))),
        };
        let Some((call, RpcReply { status, body })) = reply else { return false };
        host.asked.parked.retain(|(known, _)| *known != call);
        let result = Ok(HttpReply { status, body: body.into() });
        host.handle(now, Event::Replied { call, result });
        true
    }

    fn deliver(&mut self, place: usize, conn: ConnId, bytes: &Bytes) {
        let (now, length) = (self.now, bytes.len());
        self.hosts[place].handle(now, Event::Flushed { conn, length });
        let miner = self.miners.iter_mut().find(|miner| miner.at == Some((place, conn)));
        let Some(miner) = miner else { return };
        miner.client.receive(bytes);
        while let Some(heard) = miner.client.poll_event() {
            match heard {
                Heard::Subscribed { extranonce1, .. } | Heard::Extranonce { extranonce1, .. } => {
                    miner.one = Some(extranonce1);
                }
                Heard::Job { job, .. } => miner.job = Some(job),
                Heard::Complaint(what) | Heard::Close(what) => panic!("{what}"),
                _ => {}
            }
        }
        self.say(place, conn);
    }

    /// Hands over what the miner of this connection wants to say.
    fn say(&mut self, place: usize, conn: ConnId) {
        let miner = self.miners.iter_mut().find(|miner| miner.at == Some((place, conn)));
        let bytes = miner.map(|miner| miner.client.take_outgoing()).unwrap_or_default();
        if !bytes.is_empty() {
            let received = Event::Received { conn, bytes: bytes.into() };
            self.hosts[place].handle(self.now, received);
        }
    }

    fn connect(&mut self, number: usize, place: usize) {
        let conn = ConnId(self.connections);
        self.connections += 1;
        let miner = &mut self.miners[number];
        let (before, was_at) = (miner.one.take(), miner.at.replace((place, conn)));
        assert_eq!(was_at, None, "it had left");
        miner.client = client(before.as_deref());
        miner.client.connected();
        let last = u8::try_from(number + 1).unwrap();
        let opened = Event::Opened { conn, peer: ([192, 0, 2, last], 5).into(), port: PortId(0) };
        self.hosts[place].handle(self.now, opened);
        self.say(place, conn);
        self.settle();
        let Some(before) = before else { return };
        let is_same = self.miners[number].one == Some(before);
        self.resumed += u64::from(is_same);
        self.anew += u64::from(!is_same);
    }

    fn disconnect(&mut self, number: usize) {
        let miner = &mut self.miners[number];
        let Some((place, conn)) = miner.at.take() else { return };
        miner.job = None;
        self.hosts[place].handle(self.now, Event::Closed { conn });
        self.settle();
    }

    /// One share, which every second time is a block.
    fn submit(&mut self, number: usize, nonce: u32) -> Law {
        let miner = &mut self.miners[number];
        let (Some((place, conn)), Some(work)) = (miner.at, miner.client.next_work()) else {
            return Ok(());
        };
        let header = work.header(nonce);
        let hash = bitcoin::hashes::Hash::to_byte_array(
            <bitcoin::hashes::sha256d::Hash as bitcoin::hashes::Hash>::hash(&header),
        );
        if !self.hashes.insert(hash) {
            return Err(format!("miner {number} hashed what was hashed before"));
        }
        if miner.client.submit(&work, nonce).is_ok() {
            self.say(place, conn);
            self.settle();
        }
        Ok(())
    }

    /// EXTRA-1, over all engines.
    fn judge(&mut self) -> Law {
        let (mut holders, mut spaces) = (BTreeMap::new(), BTreeMap::new());
        for (number, miner) in self.miners.iter().enumerate() {
            let (Some((place, _)), Some(one)) = (miner.at, &miner.one) else { continue };
            let owner = *self.owners.entry(one.clone()).or_insert(place);
            if owner != place {
                return Err(format!("{one:02x?} is of engine {owner} and of engine {place}"));
            }
            if let Some(other) = holders.insert(one.clone(), number) {
                return Err(format!("miners {other} and {number} both have {one:02x?}"));
            }
            let Some(job) = &miner.job else { continue };
            // What can be rolled is the same for all of them, so these make a space.
            let space =
                (job.previous_block, [&job.coinbase1[..], one].concat(), job.coinbase2.clone());
            if let Some(other) = spaces.insert(space, number) {
                return Err(format!("miners {other} and {number} search the same headers"));
            }
        }
        self.judge_coinbases()
    }

    /// Two engines' jobs of one tip differ, even without the extranonces.
    fn judge_coinbases(&self) -> Law {
        let mut makers = BTreeMap::new();
        for miner in &self.miners {
            let (Some((place, _)), Some(job)) = (miner.at, &miner.job) else { continue };
            let coinbase = (job.previous_block, job.coinbase1.clone(), job.coinbase2.clone());
            let maker = *makers.entry(coinbase).or_insert(place);
            if maker != place {
                return Err(format!("engines {maker} and {place} made the same coinbase"));
            }
        }
        Ok(())
    }

    fn step(&mut self, draw: &mut Draw) -> Law {
        let below = |draw: &mut Draw, end: usize| usize::try_from(draw.below(end as u64)).unwrap();
        let number = below(draw, MINERS);
        match draw.below(10) {
            0..=3 if self.miners[number].at.is_none() => {
                let place = below(draw, self.hosts.len());
                self.connect(number, place);
            }
            4 => self.disconnect(number),
            5 => {
                let (tip, unix) = (self.world.node().tip(), self.unix());
                self.world.mine_rival(tip, unix).unwrap();
                self.settle();
            }
            6 => self.pass(Duration::from_millis(draw.below(6_000))),
            _ => {
                let nonce = u32::try_from(draw.below(1 << 32)).unwrap();
                self.submit(number, nonce)?;
            }
        }
        // The chain must not come to run ahead of its clock.
        self.pass(Duration::from_secs(1));
        self.judge()
    }

    fn all(&mut self, seed: u64) -> Law {
        self.settle();
        self.pass(Duration::from_secs(1));
        (0..STEPS).try_for_each(|step| self.step(&mut draw(seed, "engines", (step, 0))))
    }
}

#[test]
fn no_two_miners_of_any_engine_search_the_same_headers() {
    for (seed, engines) in [(1, 1), (2, 2), (3, 3), (4, 2)] {
        let mut run = Run::new(&right(engines));
        assert_eq!(run.all(seed), Ok(()), "seed {seed}, {engines} engines");
        for host in &run.hosts {
            let counters = host.pool.counters();
            assert!(counters.blocks_accepted > 0, "{engines}: {counters:?}");
            assert_eq!(counters.shares_rejected, 0, "{engines}: {counters:?}");
        }
        assert!(run.resumed > 0, "{engines}: somebody came back to his session");
        assert_eq!(run.anew > 0, engines > 1, "{engines}: or to another engine, and began anew");
        assert!(run.owners.len() >= MINERS, "{engines}: {} leases", run.owners.len());
    }
}

#[test]
fn engines_that_are_numbered_alike_are_noticed() {
    let [first, second]: [Numbering; 2] = right(2).try_into().ok().unwrap();
    let same_prefix = Numbering { engine: first.engine, ..second };
    let broken = Run::new(&[first, same_prefix]).all(5).unwrap_err();
    assert!(broken.contains("of engine"), "{broken}");
    let same_generation = Numbering { generation: first.generation, ..second };
    let broken = Run::new(&[first, same_generation]).all(5).unwrap_err();
    assert!(broken.contains("made the same coinbase"), "{broken}");
    let same = [first, first];
    assert!(Run::new(&same).all(5).is_err());
}
