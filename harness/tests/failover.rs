//! Two real nodes that are each other's peers, each stopped, frozen and killed in turn while miners
//! find blocks: the miners notice nothing but a moment without fresh work, and that is printed
//! (`-- --nocapture`).

#![expect(clippy::unwrap_used, clippy::panic, reason = "whatever does not answer fails the test")]
#![expect(clippy::print_stdout, reason = "a test with figures to show")]
#![expect(clippy::wildcard_enum_match_arm, reason = "most of what a miner hears is no concern")]

use std::time::{Duration, Instant};

use harness::containers::bitcoind::{RPC_PASSWORD, RPC_USER};
use harness::containers::{AddressKind, Bitcoind, BitcoindOptions, wanted};
use harness::stack::RunningServer;
use server::pool::Counters;
use simminer::runtime::{MinerError, MinerEvent, Summary};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

const EVENTS: usize = 100_000;
/// Shares a second of one miner; every second one is a block.
const RATE: f64 = 2.0;
/// How long a fault lasts: beyond all that a server waits before it takes a node for lost.
const FAULT: Duration = Duration::from_secs(10);
/// Between two looks at the nodes.
const POLL: Duration = Duration::from_millis(200);
/// How long anything may take that has to come: a node is gone back to after half a minute.
const PATIENCE: Duration = Duration::from_secs(90);
/// The longest time without fresh work that a fault of the node that is followed may cost: it is
/// noticed after two seconds at the latest, for the other node has higher blocks.
const GAP_MAX: Duration = Duration::from_secs(6);

/// What a node does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fault {
    /// It ends when asked to.
    Stopped,
    /// It takes connections and answers nothing.
    Frozen,
    /// It ends at once.
    Killed,
}

type Miner = (oneshot::Sender<()>, JoinHandle<Result<Summary, MinerError>>);

struct Rig {
    nodes: [Bitcoind; 2],
    server: RunningServer,
    jobs: mpsc::Receiver<MinerEvent>,
    miners: Vec<Miner>,
}

async fn node() -> Bitcoind {
    let extra_arguments = vec!["-listen=1".to_owned()];
    Bitcoind::start(BitcoindOptions { extra_arguments }).await.unwrap()
}

impl Rig {
    async fn start() -> Self {
        let nodes = [node().await, node().await];
        let address = nodes[0].create_wallet("w").await.unwrap();
        let address = address.address(AddressKind::Bech32).await.unwrap();
        nodes[1].connect_to(&nodes[0]).await.unwrap();
        nodes[0].generate(1, &address).await.unwrap();
        let second = format!(
            "[[node]]\nport = {}\nuser = '{RPC_USER}'\npassword = '{RPC_PASSWORD}'\n",
            nodes[1].rpc_address().port()
        );
        let settings = [
            ("NETWORK", "regtest".to_owned()),
            ("RPC_PORT", nodes[0].rpc_address().port().to_string()),
            ("RPC_USER", RPC_USER.to_owned()),
            ("RPC_PASSWORD", RPC_PASSWORD.to_owned()),
            ("PAYOUT_ADDRESS", address.to_string()),
            ("JOB_REFRESH_INTERVAL", "1".to_owned()),
            ("VARDIFF", "off".to_owned()),
        ];
        let server = RunningServer::start_with_file(&settings, &second).await.unwrap();
        // Nobody is let in before there is work, and no miner may have to try again.
        server.until_open().await.unwrap();
        let (sender, jobs) = mpsc::channel(EVENTS);
        let mut watcher = server.miner("watcher").unwrap();
        watcher.threads = 0;
        let mut miners = vec![start_miner(watcher, sender)];
        for name in ["one", "two"] {
            let mut options = server.miner(name).unwrap();
            options.rate_max = Some(RATE);
            let (sender, _) = mpsc::channel(1);
            miners.push(start_miner(options, sender));
        }
        Self { nodes, server, jobs, miners }
    }

    fn counters(&self) -> Counters {
        *self.server.counters().borrow()
    }

    /// The longest time between two jobs from now on, for as long as `during` takes.
    async fn longest_gap(&mut self, during: Duration) -> Duration {
        while self.jobs.try_recv().is_ok() {}
        let end = Instant::now() + during;
        let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
        while Instant::now() < end {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(event) = tokio::time::timeout(left, self.jobs.recv()).await else { break };
            match event.unwrap() {
                MinerEvent::Job { .. } => {
                    longest = longest.max(last.elapsed());
                    last = Instant::now();
                }
                MinerEvent::Disconnected { why } => panic!("the watcher was let go: {why}"),
                MinerEvent::Complaint(what) => panic!("the server sent nonsense: {what}"),
                _ => {}
            }
        }
        longest.max(last.elapsed())
    }

    /// Waits until both nodes have the same tip, or nearly: blocks keep coming. A node that was
    /// frozen finds all that was asked of it meanwhile at once, and refuses what is too much
    /// (HTTP 503): then it has not caught up either.
    async fn in_step(&self) {
        let mut poll = tokio::time::interval(POLL);
        let mut last = String::new();
        for _ in 0..PATIENCE.as_millis() / POLL.as_millis() {
            poll.tick().await;
            let [first, second] = &self.nodes;
            match (first.height().await, second.height().await) {
                (Ok(first), Ok(second)) if first.abs_diff(second) <= 2 => return,
                heights => last = format!("{heights:?}"),
            }
        }
        panic!("the nodes do not come together, they said {last}");
    }

    async fn returned(&self, returns: u64) {
        let mut counters = self.server.counters();
        let back = counters.wait_for(|now| now.returns >= returns);
        tokio::time::timeout(PATIENCE, back).await.unwrap().unwrap();
    }

    /// One node fails in this way, and comes back; what miners and blocks noticed is printed.
    async fn fails(&mut self, node: usize, how: Fault) {
        let before = self.counters();
        match how {
            Fault::Stopped => self.nodes[node].stop().await.unwrap(),
            Fault::Frozen => self.nodes[node].pause().await.unwrap(),
            Fault::Killed => self.nodes[node].kill().await.unwrap(),
        }
        let gap = self.longest_gap(FAULT).await;
        let during = self.counters();
        if how == Fault::Frozen {
            self.nodes[node].unpause().await.unwrap();
        } else {
            self.nodes[node].start_again().await.unwrap();
            self.nodes[1].connect_to(&self.nodes[0]).await.unwrap();
        }
        self.in_step().await;
        let blocks = during.blocks_accepted - before.blocks_accepted;
        println!(
            "node {} {how:?} for {} s: {} ms without fresh work, {blocks} blocks accepted",
            node + 1,
            FAULT.as_secs(),
            gap.as_millis()
        );
        assert!(gap <= GAP_MAX, "{gap:?} without fresh work");
        assert!(blocks > 0, "blocks go on");
        let left = during.failovers - before.failovers;
        assert_eq!(left, u64::from(node == 0), "who is not followed is not left");
        if node == 0 {
            self.returned(before.returns + 1).await;
        }
    }
}

/// Two nodes of their own and one kind of fault: first of the node that is followed, then of the
/// other.
async fn nodes_come_and_go(how: Fault) {
    let mut rig = Rig::start().await;
    let usual = rig.longest_gap(Duration::from_secs(5)).await;
    println!("usual: {} ms between two jobs at most", usual.as_millis());
    for node in [0, 1] {
        rig.fails(node, how).await;
    }
    let counters = rig.counters();
    println!(
        "{how:?}: {} blocks found, {} accepted",
        counters.blocks_found, counters.blocks_accepted
    );
    assert_eq!((counters.failovers, counters.returns, counters.work_stops), (1, 1, 0));
    for (stop, miner) in rig.miners.drain(..) {
        stop.send(()).unwrap_or_default();
        let summary = miner.await.unwrap().unwrap();
        assert_eq!(summary.reconnects, 0, "{summary:?}");
    }
    rig.in_step().await;
    rig.server.stop().await.unwrap();
}

fn start_miner(options: simminer::runtime::Options, events: mpsc::Sender<MinerEvent>) -> Miner {
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async { stopped.await.unwrap_or_default() };
    (stop, tokio::spawn(simminer::runtime::run(options, events, stopped)))
}

/// All at once: it is mostly waiting, for half a minute until a node is gone back to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_come_and_go_and_miners_stay() {
    if !wanted("nodes_come_and_go_and_miners_stay").unwrap() {
        return;
    }
    let faults = [Fault::Stopped, Fault::Frozen, Fault::Killed];
    let mut rigs = JoinSet::new();
    for how in faults {
        rigs.spawn(nodes_come_and_go(how));
    }
    // The first that fails is told of at once, and the others are let go.
    while let Some(ended) = rigs.join_next().await {
        ended.unwrap();
    }
}
