//! Several sidechains of one's own, and proposals, acknowledgements and votes, end to end: the
//! real server and miner over sockets, the simulated node, daemons and enforcer around them.
//!
//! The enforcer follows proposals and acknowledgements and judges every block by them. Not here:
//! bids and a real bitcoind (`bmm.rs`).

#![expect(clippy::unwrap_used, reason = "whatever does not answer fails the test")]

use std::time::Duration;

use bitcoin::hashes::Hash as _;
use bitcoin::{Block, BlockHash, Transaction};
use harness::http::{
    BlockVerdict, EnforcerOptions, EnforcerServer, NodeServer, SharedWorld, SidechainServer,
    wall_clock,
};
use harness::rpc::RpcClient;
use harness::sim::World;
use harness::sim::WorldEvent;
use harness::sim::sidechain::{HStar, m7s};
use harness::stack::RunningServer;
use server::bmm::Slot;
use server::bmm::check::SidechainState;
use server::bmm::message::{CoinbaseMessage, Declaration, SidechainProposal, Votes};
use simminer::runtime::MinerEvent;
use tokio::sync::{broadcast, mpsc};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_mins(1);
const EVENTS: usize = 10_000;
const BEST_BLOCK_SLOT: u8 = 9;
const THUNDER_SLOT: u8 = 98;

const LOOPBACK: std::net::SocketAddr =
    std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// A node with its daemons, and the enforcer that judges its blocks.
struct Network {
    world: SharedWorld,
    node: NodeServer,
    enforcer: EnforcerServer,
    verdicts: broadcast::Receiver<BlockVerdict>,
}

impl Network {
    async fn start(world: World) -> Self {
        let world = SharedWorld::new(world);
        let node = NodeServer::start(world.clone(), LOOPBACK, None, wall_clock()).await.unwrap();
        let client = RpcClient::new(node.address().to_string());
        let state = Some(SidechainState::default());
        let options = EnforcerOptions { state, ..EnforcerOptions::default() };
        let enforcer = EnforcerServer::start(client, LOOPBACK, options).await.unwrap();
        let verdicts = enforcer.verdicts();
        Self { world, node, enforcer, verdicts }
    }

    async fn daemon(&self, slot: u8) -> SidechainServer {
        SidechainServer::start(self.world.clone(), slot, LOOPBACK, None).await.unwrap()
    }

    /// A server on the plain node, with a settings file that says this.
    async fn server(&self, toml: &str) -> Pool {
        let settings = [
            ("NETWORK", "regtest".to_owned()),
            ("RPC_PORT", self.node.address().port().to_string()),
            ("JOB_REFRESH_INTERVAL", "1".to_owned()),
        ];
        let server = RunningServer::start_with_file(&settings, toml).await.unwrap();
        let mut watcher = server.miner("watcher").unwrap();
        watcher.threads = 0;
        let (sender, jobs) = mpsc::channel(EVENTS);
        tokio::spawn(simminer::runtime::run(watcher, sender, std::future::pending()));
        Pool { server, jobs, extranonce: Vec::new() }
    }

    async fn tip(&self) -> BlockHash {
        self.world.with(|world| world.node().tip()).await
    }

    /// What every sidechain would have the next block commit to, by slot.
    async fn candidates(&self) -> Vec<(u8, HStar)> {
        let of_each = |world: &mut World| {
            world.sidechains().map(|chain| (chain.slot(), chain.candidate())).collect()
        };
        self.world.with(of_each).await
    }

    /// Mines one block that commits to every candidate; it is judged, and read from the node.
    async fn mine(&mut self, pool: &mut Pool) -> (Block, BlockVerdict) {
        let (tip, candidates) = (self.tip().await, self.candidates().await);
        timeout(PATIENCE, pool.work_with(tip, &candidates)).await.unwrap();
        let mut miner = pool.server.miner("miner").unwrap();
        miner.client.persona.unanswered_max = 1;
        miner.blocks = Some(1);
        let (sender, _events) = mpsc::channel(EVENTS);
        let mined = simminer::runtime::run(miner, sender, std::future::pending());
        let mined = timeout(PATIENCE, mined).await.unwrap().unwrap();
        assert_eq!((mined.blocks, mined.rejected), (1, 0), "{mined:?}");
        let verdict = timeout(PATIENCE, self.verdicts.recv()).await.unwrap().unwrap();
        let (BlockVerdict::Accepted(hash) | BlockVerdict::Invalidated(hash, _)) = &verdict;
        let block = self.world.with(|world| world.node().block(*hash).cloned()).await.unwrap();
        assert_eq!(block.header.prev_blockhash, tip);
        let mut found = m7s(&block);
        found.sort_unstable();
        assert_eq!(found, candidates);
        (Block::clone(&block), verdict)
    }

    /// The same, of a block that must stand.
    async fn mine_good(&mut self, pool: &mut Pool) -> Block {
        let (block, verdict) = self.mine(pool).await;
        assert_eq!(verdict, BlockVerdict::Accepted(block.block_hash()));
        block
    }

    fn active(&self) -> Vec<Slot> {
        self.enforcer.sidechains().unwrap().active.into_keys().collect()
    }
}

/// The server, and a miner that hears its jobs and does nothing.
struct Pool {
    server: RunningServer,
    jobs: mpsc::Receiver<MinerEvent>,
    extranonce: Vec<u8>,
}

impl Pool {
    /// Waits for a job on `tip` that commits to just this.
    async fn work_with(&mut self, tip: BlockHash, commitments: &[(u8, HStar)]) {
        loop {
            let event = self.jobs.recv().await.unwrap();
            assert!(!matches!(event, MinerEvent::Complaint(_)), "nonsense: {event:?}");
            if let MinerEvent::Subscribed { extranonce1, extranonce2_size } = event {
                self.extranonce = [extranonce1, vec![0; extranonce2_size]].concat();
            } else if let MinerEvent::Job { job, .. } = event
                && job.previous_block == tip.to_byte_array()
            {
                let parts = [&job.coinbase1[..], &self.extranonce, &job.coinbase2];
                let coinbase: Transaction =
                    bitcoin::consensus::deserialize(&parts.concat()).unwrap();
                let found = messages(&coinbase).into_iter().filter_map(|message| match message {
                    CoinbaseMessage::M7(m7) => Some((m7.slot.0, HStar(m7.hash))),
                    CoinbaseMessage::M1(_)
                    | CoinbaseMessage::M2(_)
                    | CoinbaseMessage::M3(_)
                    | CoinbaseMessage::M4(_) => None,
                });
                if found.collect::<Vec<_>>() == commitments {
                    return;
                }
            }
        }
    }
}

fn messages(coinbase: &Transaction) -> Vec<CoinbaseMessage> {
    let outputs = coinbase.output.iter();
    outputs.filter_map(|output| CoinbaseMessage::parse(&output.script_pubkey)).collect()
}

/// Waits until the sidechain in `slot` grew.
async fn advanced(events: &mut broadcast::Receiver<WorldEvent>, slot: u8) -> u32 {
    loop {
        let event = timeout(PATIENCE, events.recv()).await.unwrap().unwrap();
        if let WorldEvent::SidechainAdvanced { slot: grown, height, .. } = event
            && grown == slot
        {
            return height;
        }
    }
}

#[tokio::test]
async fn two_sidechains_of_ones_own_advance_with_every_block() {
    let mut world = World::new([BEST_BLOCK_SLOT], 1);
    world.add_thunder(THUNDER_SLOT, 2);
    let mut network = Network::start(world).await;
    let best_block = network.daemon(BEST_BLOCK_SLOT).await;
    let thunder = network.daemon(THUNDER_SLOT).await;
    let toml = format!(
        "[[sidechain]]\nslot = {THUNDER_SLOT}\nkind = 'thunder'\nport = {}\n\
         [[sidechain]]\nslot = {BEST_BLOCK_SLOT}\nport = {}\n",
        thunder.address().port(),
        best_block.address().port()
    );
    let mut pool = network.server(&toml).await;
    let mut calls = 0;
    for height in 1..=3 {
        // The second time the daemon needs three tries.
        let failures = if height == 2 { 2 } else { 0 };
        let mut events = network.world.subscribe();
        let fail = |world: &mut World| {
            world.sidechain_mut(THUNDER_SLOT).unwrap().fail_connects(failures);
        };
        network.world.with(fail).await;
        network.mine_good(&mut pool).await;
        assert_eq!(advanced(&mut events, THUNDER_SLOT).await, height);
        let heights = |world: &mut World| {
            [BEST_BLOCK_SLOT, THUNDER_SLOT].map(|slot| world.sidechain(slot).unwrap().height())
        };
        assert_eq!(network.world.with(heights).await, [height, height]);
        let connect_calls =
            |world: &mut World| world.sidechain(THUNDER_SLOT).unwrap().connect_calls();
        calls += 1 + failures;
        assert_eq!(network.world.with(connect_calls).await, calls);
    }
    let mut counters = pool.server.counters();
    let connected = counters.wait_for(|now| now.sidechain_blocks_connected == 3);
    assert_eq!(timeout(PATIENCE, connected).await.unwrap().unwrap().sidechain_blocks_lost, 0);
    pool.server.stop().await.unwrap();
}

/// The settings that propose a sidechain, and those that acknowledge it.
fn proposal(slot: u8) -> (String, String) {
    let (one, two) = ([0x11; 32], [0x22; 20]);
    let declaration = Declaration {
        title: "Example".to_owned(),
        description: "For a test.".to_owned(),
        hash_id_1: one,
        hash_id_2: two,
    };
    let description = declaration.to_bytes().unwrap();
    let hash = SidechainProposal { slot: Slot(slot), description }.description_hash();
    let propose = format!(
        "[[propose]]\nslot = {slot}\ntitle = 'Example'\ndescription = 'For a test.'\n\
         hash_id_1 = '{}'\nhash_id_2 = '{}'\n",
        "11".repeat(32),
        "22".repeat(20)
    );
    (propose, format!("[[acknowledge]]\nslot = {slot}\nhash = '{hash}'\n"))
}

#[tokio::test]
async fn a_sidechain_is_proposed_acknowledged_and_voted_on() {
    let mut network = Network::start(World::new([], 1)).await;
    let (propose, acknowledge) = proposal(9);
    let mut pool = network.server(&format!("{propose}{acknowledge}")).await;
    let first = network.mine_good(&mut pool).await;
    let first = messages(&first.txdata[0]);
    assert!(matches!(first[..], [CoinbaseMessage::M1(_), CoinbaseMessage::M2(_)]), "{first:?}");
    assert_eq!(network.enforcer.sidechains().unwrap().proposals.len(), 1);
    for acknowledged in 1..=6 {
        assert_eq!(network.active(), []);
        let block = network.mine_good(&mut pool).await;
        let said = messages(&block.txdata[0]);
        assert!(matches!(said[..], [CoinbaseMessage::M2(_)]), "{acknowledged}: {said:?}");
    }
    assert_eq!(network.active(), [Slot(9)]);
    pool.server.stop().await.unwrap();

    // Now it votes. With the acknowledgement of another sidechain it knows better than to.
    let votes = "[votes]\nmode = 'abstain'\nactive_slots = [9]\n";
    let mut pool = network.server(votes).await;
    let block = network.mine_good(&mut pool).await;
    assert_eq!(messages(&block.txdata[0]), [CoinbaseMessage::M4(Votes::abstain(1))]);
    pool.server.stop().await.unwrap();
    let (_, other) = proposal(13);
    let mut pool = network.server(&format!("{other}{votes}")).await;
    let block = network.mine_good(&mut pool).await;
    let said = messages(&block.txdata[0]);
    assert!(matches!(said[..], [CoinbaseMessage::M2(_)]), "{said:?}");
    pool.server.stop().await.unwrap();

    // What only the operator can know counts, and when it is wrong the enforcer sees it.
    let wrong = "[votes]\nmode = 'abstain'\nactive_slots = [2, 9]\n";
    let mut pool = network.server(wrong).await;
    let tip = network.tip().await;
    let (_, verdict) = network.mine(&mut pool).await;
    let BlockVerdict::Invalidated(_, breaches) = verdict else { panic!("it was kept") };
    assert!(breaches.to_string().contains("has 2 votes (M4) for 1 active slots"), "{breaches}");
    assert_eq!(network.tip().await, tip, "the block is gone");
    pool.server.stop().await.unwrap();
}
