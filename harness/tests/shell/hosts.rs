//! The stage: a node, a server and miners on hosts of their own, and time that is stepped.
//!
//! Not in here: what happens on it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bitcoin::{BlockHash, ScriptBuf};
use harness::contract::{Breach, Contract, Seen};
use harness::http::{NodeService, SharedWorld};
use harness::sim::World;
use server::bmm::auction::Mode;
use server::bmm::wishes::Wishes;
use server::clock::UnixTime;
use server::config::{Config, Engine, Limits, Miners, NodeRole};
use server::journal::{DiskOp, Recovered};
use server::mining::block::FoundBlock;
use server::mining::difficulty::Difficulty;
use server::mining::hash::{Hash, display_hash};
use server::pool::Counters;
use server::pool::action::{Action, Halt};
use server::pool::event::Event;
use server::runtime::disk::{Disk, DiskError};
use server::runtime::{Direct, Parts, Witness, run};
use server::settings::{Credentials, RpcEndpoint};
use simminer::client::Share;
use simminer::runtime::{MinerEvent, Options, Summary, run_over};
use tokio::sync::{Notify, mpsc, watch};
use turmoil::{Builder, Sim};

use crate::net::{Door, SEGMENTS_MAX, Simulated};
use crate::stranger::Leash;

pub(crate) const NODE: &str = "node";
pub(crate) const SERVER: &str = "server";

const NODE_PORT: u16 = 18_443;
const STRATUM_PORT: u16 = 3_333;
/// When the simulation starts, in Unix seconds.
const START: u32 = 1_700_000_000;
/// From one new tip to the next, where a test wants many.
const TIP_PACE_STEPS: u64 = 50;
/// Long enough for the server to hear of a change and to tell its miners.
const SETTLING: Duration = Duration::from_secs(1);
const EVENTS_MAX: usize = 1_024;

/// What is told of by one thread and read by another.
type Told<T> = Arc<Mutex<T>>;

/// A node, a server and their miners.
pub(crate) struct Stage {
    pub(crate) sim: Sim<'static>,
    world: SharedWorld,
    disk: MemoryDisk,
    counters: watch::Receiver<Counters>,
    stop: Arc<Notify>,
    ended: Told<Option<Halt>>,
    runs: Told<Vec<Told<Watched>>>,
}

/// One run of the server, watched.
#[derive(Default)]
struct Watched {
    contract: Contract,
    breaches: Vec<Breach>,
}

struct Monitor(Told<Watched>);

impl Witness for Monitor {
    fn event(&mut self, event: &Event) {
        let watched = &mut *self.0.lock().unwrap();
        watched.breaches.extend(watched.contract.event(event).err());
    }

    fn action(&mut self, action: &Action) {
        let watched = &mut *self.0.lock().unwrap();
        watched.breaches.extend(watched.contract.action(action).err());
    }
}

/// A disk that outlives the server's host. Clones are the same disk.
#[derive(Clone, Default)]
struct MemoryDisk(Told<Files>);

#[derive(Default)]
struct Files {
    generation: u32,
    pending: BTreeMap<Hash, FoundBlock>,
    /// Lines of the share log.
    shares: u64,
}

impl Disk for MemoryDisk {
    fn recover(&mut self) -> Result<Recovered, DiskError> {
        let files = self.0.lock().unwrap();
        let pending = files.pending.values().cloned().collect();
        Ok(Recovered { generation: files.generation, pending })
    }

    fn perform(&mut self, op: &DiskOp) -> Result<(), DiskError> {
        let files = &mut *self.0.lock().unwrap();
        match op {
            DiskOp::PutGeneration(number) => files.generation = *number,
            DiskOp::PutBlock(block) => {
                files.pending.insert(block.hash, block.clone());
            }
            DiskOp::SettleBlock { hash, .. } => {
                assert!(files.pending.remove(hash).is_some(), "a block is settled after it is put");
            }
            DiskOp::AppendShares { records, .. } => {
                files.shares += records.split(|byte| *byte == b'\n').count() as u64 - 1;
            }
        }
        Ok(())
    }
}

fn seconds() -> u32 {
    let elapsed = turmoil::sim_elapsed().unwrap_or_default();
    START + u32::try_from(elapsed.as_secs()).unwrap()
}

fn config(limits: Limits) -> Config {
    Config {
        network: bitcoin::Network::Regtest,
        nodes: vec![NodeRole::Follow],
        payout: ScriptBuf::from_bytes(vec![0x51]),
        difficulty: Difficulty::ONE,
        refresh: Duration::from_secs(5),
        blind: Mode::Off,
        empty_first: false,
        sidechains: Vec::new(),
        wishes: Wishes::default(),
        miners: Miners::default(),
        engine: Engine::ONLY,
        limits,
    }
}

impl Stage {
    /// Node and server, with work for miners; `limits` are the server's.
    pub(crate) fn new(limits: impl FnOnce(&mut Limits)) -> Self {
        let mut sim = Builder::new()
            .simulation_duration(Duration::from_hours(2))
            .max_message_latency(Duration::from_millis(5))
            .tcp_capacity(usize::try_from(SEGMENTS_MAX).unwrap())
            .rng_seed(1)
            .build();
        let world = SharedWorld::new(World::new([], 1));
        start_node(&mut sim, &world);
        let mut kept = Limits::default();
        limits(&mut kept);
        let config = config(kept);
        let (totals, counters) = watch::channel(Counters::default());
        let (disk, runs) = (MemoryDisk::default(), Told::default());
        let (stop, ended) = (Arc::new(Notify::new()), Told::default());
        let stage = Self { sim, world, disk, counters, stop, ended, runs };
        let mut stage = stage.with_server(config, totals);
        // The first job is not enough: the disk's thread keeps its own time.
        stage.until("miners are let in", Duration::from_mins(1), |stage| {
            let runs = stage.runs.lock().unwrap();
            let last = runs.last();
            last.is_some_and(|run| run.lock().unwrap().contract.is_listening())
        });
        stage.pass(SETTLING);
        stage
    }

    /// The host starts the server anew whenever it is bounced.
    fn with_server(mut self, config: Config, totals: watch::Sender<Counters>) -> Self {
        let (disk, runs) = (self.disk.clone(), Arc::clone(&self.runs));
        let (stop, ended) = (Arc::clone(&self.stop), Arc::clone(&self.ended));
        self.sim.host(SERVER, move || {
            let watched: Told<Watched> = Told::default();
            runs.lock().unwrap().push(Arc::clone(&watched));
            let endpoint = RpcEndpoint {
                host: NODE.to_owned(),
                port: NODE_PORT,
                credentials: Credentials::None,
            };
            let parts = Parts {
                config: config.clone(),
                listener: Door::new(STRATUM_PORT),
                calls: Direct::new(Simulated, [endpoint]),
                told: mpsc::channel(1).1,
                disk: disk.clone(),
                counters: totals.clone(),
                witness: Monitor(watched),
            };
            let (stop, ended) = (Arc::clone(&stop), Arc::clone(&ended));
            async move {
                let stopped = async move { stop.notified().await };
                let halt = run(parts, || UnixTime(seconds()).into(), stopped).await?;
                *ended.lock().unwrap() = Some(halt);
                Ok(())
            }
        });
        self
    }

    /// Lets a millisecond pass. Threads that compute meanwhile get their turn.
    fn step(&mut self) {
        self.sim.step().unwrap();
        std::thread::yield_now();
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.sim.elapsed() + time;
        while self.sim.elapsed() < end {
            self.step();
        }
    }

    /// Lets time pass until something is so.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, patience: Duration, is: impl Fn(&Self) -> bool) {
        self.until_with(what, patience, |_| {}, is);
    }

    /// The same, while something is done again and again.
    #[track_caller]
    pub(crate) fn until_with(
        &mut self,
        what: &str,
        patience: Duration,
        again: fn(&mut Self),
        is: impl Fn(&Self) -> bool,
    ) {
        let end = self.sim.elapsed() + patience;
        for step in 0_u64.. {
            if is(self) {
                return;
            }
            assert!(self.sim.elapsed() < end, "never came: {what}; {:?}", self.counters());
            if step.is_multiple_of(TIP_PACE_STEPS) {
                again(self);
            }
            self.step();
        }
    }

    pub(crate) fn counters(&self) -> Counters {
        *self.counters.borrow()
    }

    fn with_world<R>(&self, change: impl FnOnce(&mut World) -> R) -> R {
        // Between two steps nobody else holds the world.
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(self.world.with(change))
    }

    /// A rival's block on the tip.
    pub(crate) fn new_tip(&mut self) {
        let now = START + u32::try_from(self.sim.elapsed().as_secs()).unwrap();
        self.with_world(|world| world.mine_rival(world.node().tip(), now).unwrap());
    }

    pub(crate) fn height(&self) -> u32 {
        self.with_world(|world| world.node().chain().height())
    }

    pub(crate) fn tip(&self) -> String {
        self.with_world(|world| world.node().tip().to_string())
    }

    /// Shares that are written down.
    pub(crate) fn shares(&self) -> u64 {
        self.disk.0.lock().unwrap().shares
    }

    pub(crate) fn pending_blocks(&self) -> usize {
        self.disk.0.lock().unwrap().pending.len()
    }

    /// Whether a block is with the node, or on disk for the next start.
    pub(crate) fn knows(&self, hash: &str) -> bool {
        let on_disk =
            self.disk.0.lock().unwrap().pending.keys().any(|kept| display_hash(kept) == hash);
        let hash: BlockHash = hash.parse().unwrap();
        on_disk || self.with_world(|world| world.node().block(hash).is_some())
    }

    /// Asks the server to stop and waits until it has.
    #[track_caller]
    pub(crate) fn stop(&mut self) -> Halt {
        self.stop.notify_one();
        self.until("it stops", Duration::from_mins(1), |stage| {
            stage.ended.lock().unwrap().is_some()
        });
        self.ended.lock().unwrap().take().unwrap()
    }

    /// Every run kept the contract; gives what was seen of the last one.
    #[track_caller]
    pub(crate) fn keep_contract(&self) -> Seen {
        let runs = self.runs.lock().unwrap();
        for run in runs.iter() {
            let breaches: Vec<String> =
                run.lock().unwrap().breaches.iter().map(ToString::to_string).collect();
            assert_eq!(breaches, Vec::<String>::new());
        }
        let last = runs.last().unwrap().lock().unwrap();
        let seen = last.contract.seen().clone();
        assert!(seen.answered > 0 && seen.persisted > 0, "nothing was watched: {seen:?}");
        seen
    }

    /// Miners that watch and do not hash, all on one host.
    pub(crate) fn watchers(&mut self, host: &str, count: u64) -> Crowd {
        self.crowd(host, count, |options| options.threads = 0)
    }

    /// A miner that stops after so many blocks.
    pub(crate) fn miner(&mut self, host: &str, blocks: u64) -> Crowd {
        self.crowd(host, 1, |options| {
            options.blocks = Some(blocks);
            // Every second hash is a block: without this it floods its own with rivals.
            options.client.persona.unanswered_max = 1;
        })
    }

    /// A miner comes, finds a block that the node takes, and goes.
    #[track_caller]
    pub(crate) fn mine_one_block(&mut self, host: &str) -> Summary {
        // On the tip and not beside it: the server hears of a block from the node.
        self.pass(SETTLING);
        let before = self.counters().blocks_accepted;
        let miner = self.miner(host, 1);
        self.until("a block is found", Duration::from_mins(3), |stage| {
            miner.summary().is_some() && stage.counters().blocks_accepted > before
        });
        let found = miner.blocks()[0].hash.to_string();
        assert_eq!(self.tip(), found);
        miner.summary().unwrap()
    }

    fn crowd(&mut self, host: &str, count: u64, adapt: impl FnOnce(&mut Options)) -> Crowd {
        let endpoint = format!("stratum+tcp://{SERVER}:{STRATUM_PORT}").parse().unwrap();
        let mut options = Options::new(endpoint, host);
        adapt(&mut options);
        let crowd = Crowd::default();
        let all = crowd.clone();
        self.sim.client(host, async move {
            let mut miners = tokio::task::JoinSet::new();
            for _ in 0..count {
                miners.spawn(all.clone().mine(options.clone()));
            }
            while let Some(ended) = miners.join_next().await {
                ended?;
            }
            Ok(())
        });
        crowd
    }

    /// A miner that opens a session and then reads nothing.
    pub(crate) fn sleeper(&mut self, host: &str) -> Leash {
        let leash = Leash::default();
        self.sim.client(host, leash.clone().run(SERVER, STRATUM_PORT));
        leash
    }
}

fn start_node(sim: &mut Sim<'static>, world: &SharedWorld) {
    let service = NodeService::new(world.clone(), Arc::new(seconds));
    sim.host(NODE, move || {
        let service = service.clone();
        async move {
            let unspecified = std::net::Ipv4Addr::UNSPECIFIED;
            let listener = turmoil::net::TcpListener::bind((unspecified, NODE_PORT)).await?;
            loop {
                let (stream, _) = listener.accept().await?;
                let service = service.clone();
                tokio::task::spawn_local(async move { service.serve(stream).await });
            }
        }
    });
}

/// The miners of one host, and what they heard.
#[derive(Clone, Default)]
pub(crate) struct Crowd {
    heard: Told<Vec<MinerEvent>>,
    summary: Told<Option<Summary>>,
}

impl Crowd {
    async fn mine(self, options: Options) {
        let (sender, mut events) = mpsc::channel(EVENTS_MAX);
        let heard = Arc::clone(&self.heard);
        let listening = tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if let MinerEvent::Complaint(what) = &event {
                    panic!("the server sent nonsense: {what}");
                }
                heard.lock().unwrap().push(event);
            }
        });
        let summary = run_over(Simulated, options, sender, std::future::pending()).await.unwrap();
        listening.await.unwrap();
        *self.summary.lock().unwrap() = Some(summary);
    }

    /// What the last of them to end did; nothing while they mine.
    pub(crate) fn summary(&self) -> Option<Summary> {
        self.summary.lock().unwrap().clone()
    }

    /// What was heard, as far as it is of a kind.
    fn heard<T>(&self, of_kind: impl Fn(&MinerEvent) -> Option<T>) -> Vec<T> {
        self.heard.lock().unwrap().iter().filter_map(of_kind).collect()
    }

    /// Why each connection ended, or did not come about.
    pub(crate) fn disconnections(&self) -> Vec<String> {
        self.heard(|event| match event {
            MinerEvent::Disconnected { why } => Some(why.clone()),
            _ => None,
        })
    }

    /// The blocks that were acknowledged.
    pub(crate) fn blocks(&self) -> Vec<Share> {
        self.heard(|event| match event {
            MinerEvent::Accepted(share) if share.meets_block => Some(share.clone()),
            _ => None,
        })
    }

    /// The extranonce1 of every session, in the order in which they opened.
    pub(crate) fn leases(&self) -> Vec<Vec<u8>> {
        self.heard(|event| match event {
            MinerEvent::Subscribed { extranonce1, .. } => Some(extranonce1.clone()),
            _ => None,
        })
    }
}
