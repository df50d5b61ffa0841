//! A real regtest chain from its genesis to beyond the halving, every block mined through the
//! server by simminer, every block read back from bitcoind and checked there.

#![expect(clippy::unwrap_used, clippy::panic, reason = "whatever does not answer fails the test")]
#![expect(clippy::wildcard_enum_match_arm, reason = "most of what a miner hears is no concern")]

use std::sync::Arc;

use bitcoin::{Amount, Block, BlockHash, ScriptBuf};
use harness::containers::{AddressKind, Bitcoind, BitcoindOptions, Wallet, wanted};
use harness::http::{Follower, SidechainServer};
use harness::rpc::RpcClient;
use harness::sim::sidechain::{HStar, Sidechain, m7_script};
use harness::stack::RunningServer;
use serde_json::json;
use simminer::runtime::{MinerEvent, Options, Summary};
use tokio::sync::mpsc;

const SLOT: u8 = 9;
const LAST_HEIGHT: u32 = 152;
const EVENTS: usize = 10_000;
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// bitcoind, the sidechain that follows it, and the server between them.
struct Chain {
    node: Bitcoind,
    follower: Arc<Follower<RpcClient>>,
    _daemon: SidechainServer,
    server: RunningServer,
    jobs: mpsc::Receiver<MinerEvent>,
    payout: ScriptBuf,
    wallet: Wallet,
}

impl Chain {
    async fn start(payout: AddressKind) -> Self {
        let node = Bitcoind::start(BitcoindOptions::default()).await.unwrap();
        let wallet = node.create_wallet("w").await.unwrap();
        let address = wallet.address(payout).await.unwrap();
        let sidechain = Sidechain::new(SLOT, 1, node.best_block_hash().await.unwrap());
        let follower = Arc::new(Follower::new(sidechain, node.client()));
        let loopback = ([127, 0, 0, 1], 0).into();
        let daemon =
            SidechainServer::start_following(Arc::clone(&follower), loopback, None).await.unwrap();
        let server = RunningServer::start(&[
            ("NETWORK", "regtest".to_owned()),
            ("RPC_PORT", node.rpc_address().port().to_string()),
            ("RPC_USER", harness::containers::bitcoind::RPC_USER.to_owned()),
            ("RPC_PASSWORD", harness::containers::bitcoind::RPC_PASSWORD.to_owned()),
            ("ENABLE_SIDECHAIN", "true".to_owned()),
            ("SIDECHAIN_NUMBER", SLOT.to_string()),
            ("SC_RPC_PORT", daemon.address().port().to_string()),
            ("PAYOUT_ADDRESS", address.to_string()),
            ("JOB_REFRESH_INTERVAL", "1".to_owned()),
        ])
        .await
        .unwrap();
        let mut watcher = server.miner("watcher").unwrap();
        watcher.threads = 0;
        let (sender, jobs) = mpsc::channel(EVENTS);
        tokio::spawn(simminer::runtime::run(watcher, sender, std::future::pending()));
        let payout = address.script_pubkey();
        Self { node, follower, _daemon: daemon, server, jobs, payout, wallet }
    }

    /// Waits until miners are given work on `tip`.
    async fn work_on(&mut self, tip: BlockHash) {
        let tip: [u8; 32] = *tip.as_ref();
        loop {
            let event = tokio::time::timeout(PATIENCE, self.jobs.recv()).await.unwrap().unwrap();
            match event {
                MinerEvent::Job { job, .. } if job.previous_block == tip => return,
                MinerEvent::Complaint(what) => panic!("the server sent nonsense: {what}"),
                _ => {}
            }
        }
    }

    /// One miner finds one block.
    async fn mine_one(&self) -> Summary {
        let mut options = one_at_a_time(self.server.miner("miner").unwrap());
        options.blocks = Some(1);
        let (sender, _events) = mpsc::channel(EVENTS);
        let mined = simminer::runtime::run(options, sender, std::future::pending());
        tokio::time::timeout(PATIENCE, mined).await.unwrap().unwrap()
    }

    /// Waits until bitcoind took this many blocks: a miner hears of its block once it is safe,
    /// and the disk may be faster than the node.
    async fn accepted(&self, blocks: u32) {
        let mut counters = self.server.counters();
        let enough = counters.wait_for(|now| now.blocks_accepted >= u64::from(blocks));
        tokio::time::timeout(PATIENCE, enough).await.unwrap().unwrap();
    }

    async fn set_sidechain_down(&self, down: bool) {
        self.follower.with(|sidechain| sidechain.set_down(down)).await;
    }

    /// What bitcoind's own arithmetic says a block may pay: subsidy and fees.
    async fn due(&self, hash: BlockHash) -> u64 {
        let stats = json!([hash.to_string(), ["subsidy", "totalfee"]]);
        let stats = self.node.rpc("getblockstats", stats).await.unwrap();
        stats["subsidy"].as_u64().unwrap() + stats["totalfee"].as_u64().unwrap()
    }
}

/// A regtest miner finds a block with every second hash: without this it floods its own block
/// with rivals of equal height.
fn one_at_a_time(mut options: Options) -> Options {
    options.client.persona.unanswered_max = 1;
    options
}

fn check_block(block: &Block, payout: &ScriptBuf, due: u64, h_star: HStar) {
    let outputs = &block.txdata[0].output;
    assert_eq!(outputs.len(), 3, "payout, commitment, witness commitment");
    assert_eq!(outputs[0].script_pubkey, *payout);
    assert_eq!(outputs[0].value, Amount::from_sat(due), "to the satoshi");
    assert_eq!(outputs[1].script_pubkey, m7_script(SLOT, h_star), "BIP-0301 M7");
    assert_eq!(outputs[1].script_pubkey.len(), 39);
    assert_eq!(outputs[1].value, Amount::ZERO);
    assert_eq!(outputs[2].script_pubkey.as_bytes()[..6], [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed]);
    assert!(block.check_witness_commitment());
    assert_eq!(block.txdata[0].input[0].witness.to_vec(), [vec![0; 32]], "the reserved value");
    let script = block.txdata[0].input[0].script_sig.len();
    assert!((2..=100).contains(&script));
}

/// Fills the mempool for the block after next. Payouts are legacy coins; what they are split into
/// is segwit and legacy by turns.
async fn fill_mempool(wallet: &Wallet, height: u32) {
    match height {
        103..=105 => {
            for payment in 0..height - 102 {
                let kind = if payment % 2 == 0 { AddressKind::Bech32 } else { AddressKind::Legacy };
                let to = wallet.address(kind).await.unwrap();
                wallet.send(&to, Amount::from_sat(100_000)).await.unwrap();
            }
        }
        110 | 111 => {
            let kind = if height == 110 { AddressKind::Bech32 } else { AddressKind::Legacy };
            wallet.split(150, Amount::from_sat(50_000), kind).await.unwrap();
        }
        115 => spend_every_small_coin(wallet).await,
        _ => {}
    }
}

/// One transaction for each coin of the splits.
async fn spend_every_small_coin(wallet: &Wallet) {
    let coins = wallet.rpc("listunspent", json!([1])).await.unwrap();
    let small = coins.as_array().unwrap().iter().filter(|coin| coin["amount"] == 0.0005);
    for coin in small {
        let to = wallet.address(AddressKind::Bech32m).await.unwrap().to_string();
        let inputs = json!([{ "txid": coin["txid"], "vout": coin["vout"] }]);
        let outputs = json!([{ to: "0.0004" }]);
        let raw = wallet.rpc("createrawtransaction", json!([inputs, outputs])).await.unwrap();
        let signed = wallet.rpc("signrawtransactionwithwallet", json!([raw])).await.unwrap();
        wallet.rpc("sendrawtransaction", json!([signed["hex"]])).await.unwrap();
    }
}

#[tokio::test]
async fn from_genesis_to_beyond_the_halving() {
    if !wanted("from_genesis_to_beyond_the_halving").unwrap() {
        return;
    }
    let mut chain = Chain::start(AddressKind::Legacy).await;
    let mut tip = chain.node.best_block_hash().await.unwrap();
    let mut sidechain_height = 0;
    let (mut sizes, mut legacy, mut segwit) = (Vec::new(), 0, 0);
    // Whether the daemon answers for the block at this height.
    let answers = |height: u32| !(60..63).contains(&height);
    for height in 1..=LAST_HEIGHT {
        chain.work_on(tip).await;
        let candidate = chain.follower.with(|sidechain| sidechain.candidate()).await;
        let h_star = if answers(height) { candidate } else { HStar([0; 32]) };
        chain.set_sidechain_down(!answers(height + 1)).await;
        fill_mempool(&chain.wallet, height).await;
        let mined = chain.mine_one().await;
        assert_eq!((mined.blocks, mined.rejected), (1, 0), "height {height}: {mined:?}");
        chain.accepted(height).await;

        let hash = chain.node.block_hash(height).await.unwrap();
        assert_eq!(hash, chain.node.best_block_hash().await.unwrap());
        let block = chain.node.block(hash).await.unwrap();
        assert_eq!(block.header.prev_blockhash, tip);
        check_block(&block, &chain.payout, chain.due(hash).await, h_star);
        chain.follower.catch_up().await.unwrap();
        sidechain_height += u32::from(answers(height));
        let sidechain = chain.follower.with(|sidechain| sidechain.height()).await;
        assert_eq!(sidechain, sidechain_height, "it advances with the blocks that commit to it");

        let others = &block.txdata[1..];
        let with_witness = |transaction: &&bitcoin::Transaction| {
            transaction.input.iter().any(|input| !input.witness.is_empty())
        };
        sizes.push(others.len());
        segwit += others.iter().filter(with_witness).count();
        legacy += others.len() - others.iter().filter(with_witness).count();
        tip = hash;
    }
    for wanted in 0..=3 {
        assert!(sizes.contains(&wanted), "no block had {wanted} transactions: {sizes:?}");
    }
    assert!(*sizes.iter().max().unwrap() >= 200, "no block was full of them: {sizes:?}");
    assert!(legacy >= 150 && segwit >= 150, "{legacy} legacy, {segwit} segwit");
    let counters = *chain.server.counters().borrow();
    assert_eq!(counters.blocks_found, u64::from(LAST_HEIGHT));
    assert_eq!(counters.blocks_accepted, u64::from(LAST_HEIGHT));
    // Each job's block was shown to bitcoind (BIP-0023), and so is the next.
    let mut counters = chain.server.counters();
    let taken = counters.borrow().proposals_taken;
    let more = counters.wait_for(|now| now.proposals_taken > taken);
    let now = *tokio::time::timeout(PATIENCE, more).await.unwrap().unwrap();
    assert_eq!(now.proposals_refused, 0);
    chain.server.stop().await.unwrap();
}

#[tokio::test]
async fn two_miners_at_once_search_apart_and_both_arrive() {
    if !wanted("two_miners_at_once_search_apart_and_both_arrive").unwrap() {
        return;
    }
    let mut chain = Chain::start(AddressKind::Bech32).await;
    chain.work_on(chain.node.best_block_hash().await.unwrap()).await;
    let mine = |user: &str| {
        let mut options = one_at_a_time(chain.server.miner(user).unwrap());
        options.blocks = Some(8);
        let (sender, events) = mpsc::channel(EVENTS);
        let mined = simminer::runtime::run(options, sender, std::future::pending());
        (tokio::spawn(tokio::time::timeout(PATIENCE, mined)), events)
    };
    let mut extranonces = Vec::new();
    let mut found = Vec::new();
    let miners = [mine("one"), mine("other")];
    for (mined, mut events) in miners {
        let mined = mined.await.unwrap().unwrap().unwrap();
        assert_eq!(mined.blocks, 8, "{mined:?}");
        while let Some(event) = events.recv().await {
            match event {
                MinerEvent::Subscribed { extranonce1, .. } => extranonces.push(extranonce1),
                MinerEvent::Accepted(share) if share.meets_block => found.push(share),
                MinerEvent::Complaint(what) => panic!("the server sent nonsense: {what}"),
                _ => {}
            }
        }
    }
    assert_eq!(extranonces.len(), 2);
    assert_ne!(extranonces[0], extranonces[1]);
    assert_eq!(found.len(), 16);
    for share in found {
        let hash = share.hash.to_string();
        // Rivals of equal height stay beside the chain, but bitcoind has every one of them.
        let header = chain.node.rpc("getblockheader", json!([hash])).await.unwrap();
        assert!(header["height"].as_u64().unwrap() >= 1);
    }
    chain.server.stop().await.unwrap();
}
