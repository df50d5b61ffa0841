//! Blind merged mining on a real bitcoind, in the three ways the server knows: an own sidechain,
//! bids on plain templates, and an enforcer's templates. The simulated enforcer judges every block.
//!
//! Bids are real transactions of the node's wallet. Each block is read back from bitcoind: it must
//! hold the commitments that it was paid for and no other, pay out every satoshi of its fees, and
//! stay in the chain. The last test shows that a naive block does not.

#![expect(clippy::unwrap_used, reason = "whatever does not answer fails the test")]

use std::collections::BTreeSet;
use std::sync::Arc;

use bitcoin::block::{Header, Version};
use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::hashes::Hash as _;
use bitcoin::hex::FromHex as _;
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn,
    TxMerkleNode, TxOut, Txid, Witness,
};
use harness::containers::{AddressKind, Bitcoind, wanted};
use harness::http::{BlockVerdict, Follower, SidechainServer};
use harness::rpc::RpcClient;
use harness::sim::enforcer::Producer;
use harness::sim::sidechain::{HStar, Sidechain, m7_script, m7s};
use harness::stack::RunningServer;
use serde_json::{Value, json};
use server::bmm::check;
use simminer::runtime::MinerEvent;
use tokio::sync::mpsc;
use tokio::time::timeout;

#[path = "bmm/alone.rs"]
mod alone;
#[path = "bmm/latency.rs"]
mod latency;
#[path = "bmm/network.rs"]
mod network;

use network::{COIN, EVENTS, First, LOOPBACK, Network, PATIENCE, Way, h_star};

/// The slot of the sidechain whose daemon the server asks itself.
const OWN_SLOT: u8 = 77;
/// Before the first halving.
const SUBSIDY: Amount = Amount::from_sat(50 * 100_000_000);

/// The network with the server on it.
struct Rig {
    network: Network,
    way: Way,
    own: Option<(Arc<Follower<RpcClient>>, SidechainServer)>,
    server: RunningServer,
    jobs: mpsc::Receiver<MinerEvent>,
    /// The server's and the miner's part of the extranonce: what jobs lack to be transactions.
    extranonce: Vec<u8>,
    payout: ScriptBuf,
    mined: Vec<BlockHash>,
}

/// What the next block must hold, the server's own sidechain aside.
struct Expected {
    m7s: Vec<(u8, HStar)>,
    transactions: Vec<Txid>,
    fees: u64,
}

impl Rig {
    async fn start(way: Way) -> Self {
        let network = Network::start().await;
        let payout = network.node.create_wallet("payout").await.unwrap();
        let payout = payout.address(AddressKind::Bech32m).await.unwrap();
        let own = match way {
            Way::Own => Some(own_sidechain(&network.node).await),
            Way::Blind | Way::Enforcer => None,
        };
        let mut settings = network.server_settings(way);
        settings.push(("PAYOUT_ADDRESS", payout.to_string()));
        settings.push(("JOB_REFRESH_INTERVAL", "1".to_owned()));
        if let Some((_, daemon)) = &own {
            settings.push(("ENABLE_SIDECHAIN", "true".to_owned()));
            settings.push(("SIDECHAIN_NUMBER", OWN_SLOT.to_string()));
            settings.push(("SC_RPC_PORT", daemon.address().port().to_string()));
        }
        let server = RunningServer::start(&settings).await.unwrap();
        let mut watcher = server.miner("watcher").unwrap();
        watcher.threads = 0;
        let (sender, jobs) = mpsc::channel(EVENTS);
        tokio::spawn(simminer::runtime::run(watcher, sender, std::future::pending()));
        let payout = payout.script_pubkey();
        let (extranonce, mined) = (Vec::new(), Vec::new());
        Self { network, way, own, server, jobs, extranonce, payout, mined }
    }

    /// The next job for the child of `tip`: its coinbase, as good as mined.
    async fn job_on(&mut self, tip: BlockHash) -> Transaction {
        loop {
            let event = timeout(PATIENCE, self.jobs.recv()).await.unwrap().unwrap();
            assert!(!matches!(event, MinerEvent::Complaint(_)), "nonsense: {event:?}");
            if let MinerEvent::Subscribed { extranonce1, extranonce2_size } = event {
                self.extranonce = [extranonce1, vec![0; extranonce2_size]].concat();
            } else if let MinerEvent::Job { job, .. } = event
                && job.previous_block == tip.to_byte_array()
            {
                let parts = [&job.coinbase1[..], &self.extranonce, &job.coinbase2];
                return bitcoin::consensus::deserialize(&parts.concat()).unwrap();
            }
        }
    }

    /// What must be committed to: what was paid for, and our own where nobody paid for the slot.
    async fn commitments(&self, expected: &Expected) -> BTreeSet<(u8, HStar)> {
        let mut all: BTreeSet<_> = expected.m7s.iter().copied().collect();
        if let Some((follower, _)) = self.own.as_ref()
            && all.iter().all(|(slot, _)| *slot != OWN_SLOT)
        {
            follower.catch_up().await.unwrap();
            all.insert((OWN_SLOT, follower.with(|sidechain| sidechain.candidate()).await));
        }
        all
    }

    /// Waits for a job that says exactly this.
    async fn work_with(&mut self, expected: &Expected) {
        let tip = self.network.tip().await;
        let commitments = self.commitments(expected).await;
        let pays = SUBSIDY + Amount::from_sat(expected.fees);
        let wanted = (pays, commitments);
        let mut last = None;
        let as_expected = async {
            while last.as_ref() != Some(&wanted) {
                let coinbase = self.job_on(tip).await;
                let paid: Amount = coinbase.output.iter().map(|output| output.value).sum();
                last = Some((paid, committed(&coinbase)));
            }
        };
        let came = timeout(PATIENCE, as_expected).await;
        assert!(came.is_ok(), "wanted a job with {wanted:?}, the last had {last:?}");
    }

    /// Mines one block and holds it against what it must be.
    async fn mine(&mut self, expected: &Expected) -> BlockHash {
        self.network.settle().await;
        self.work_with(expected).await;
        let commitments = self.commitments(expected).await;
        let given = self.network.enforcer.template().await.unwrap();
        let (height, tip) =
            (self.network.node.height().await.unwrap() + 1, self.network.tip().await);
        let mut miner = self.server.miner("miner").unwrap();
        miner.client.persona.unanswered_max = 1;
        miner.blocks = Some(1);
        let (sender, _events) = mpsc::channel(EVENTS);
        let mined = simminer::runtime::run(miner, sender, std::future::pending());
        let mined = timeout(PATIENCE, mined).await.unwrap().unwrap();
        assert_eq!((mined.blocks, mined.rejected), (1, 0), "{mined:?}");
        let verdict = self.network.verdict().await;
        let hash = self.network.node.block_hash(height).await.unwrap();
        assert_eq!(verdict, BlockVerdict::Accepted(hash));

        let block = self.network.node.block(hash).await.unwrap();
        assert_eq!(block.header.prev_blockhash, tip);
        let found = m7s(&block);
        assert_eq!(found.len(), commitments.len(), "{found:?}");
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), commitments);
        let others = block.txdata[1..].iter().map(Transaction::compute_txid);
        let transactions: BTreeSet<Txid> = expected.transactions.iter().copied().collect();
        assert_eq!(others.collect::<BTreeSet<_>>(), transactions);
        check::block(&block, tip, None).unwrap();
        self.check_payout(&block, expected.fees).await;
        if self.way == Way::Enforcer {
            compare(&block.txdata[0], &given, &self.payout);
        }
        self.mined.push(hash);
        hash
    }

    /// By bitcoind's own arithmetic.
    async fn check_payout(&self, block: &Block, fees: u64) {
        let hash = block.block_hash().to_string();
        let stats = json!([hash, ["subsidy", "totalfee"]]);
        let stats = self.network.node.rpc("getblockstats", stats).await.unwrap();
        assert_eq!(stats["totalfee"], fees);
        let due = stats["subsidy"].as_u64().unwrap() + fees;
        let outputs = &block.txdata[0].output;
        let ours: Vec<_> =
            outputs.iter().filter(|output| output.script_pubkey == self.payout).collect();
        assert_eq!(ours.len(), 1);
        assert_eq!(ours[0].value, Amount::from_sat(due), "to the satoshi");
        let all: Amount = outputs.iter().map(|output| output.value).sum();
        assert_eq!(all, ours[0].value);
    }

    /// No block was invalidated later on, and the sidechain has the height that was merge-mined.
    async fn finish(self, own_blocks: u32) {
        for hash in &self.mined {
            let header = json!([hash.to_string()]);
            let header = self.network.node.rpc("getblockheader", header).await.unwrap();
            assert!(header["confirmations"].as_i64().unwrap() > 0, "{header}");
        }
        if let Some((follower, _)) = &self.own {
            follower.catch_up().await.unwrap();
            assert_eq!(follower.with(|sidechain| sidechain.height()).await, own_blocks);
        }
        let counters = *self.server.counters().borrow();
        assert_eq!(counters.blocks_found, self.mined.len() as u64);
        self.server.stop().await.unwrap();
    }
}

async fn own_sidechain(node: &Bitcoind) -> (Arc<Follower<RpcClient>>, SidechainServer) {
    let sidechain = Sidechain::new(OWN_SLOT, 1, node.best_block_hash().await.unwrap());
    let follower = Arc::new(Follower::new(sidechain, node.client()));
    let daemon = SidechainServer::start_following(Arc::clone(&follower), LOOPBACK, None);
    (follower, daemon.await.unwrap())
}

fn committed(coinbase: &Transaction) -> BTreeSet<(u8, HStar)> {
    let header = Header {
        version: Version::TWO,
        prev_blockhash: BlockHash::all_zeros(),
        merkle_root: TxMerkleNode::all_zeros(),
        time: 0,
        bits: CompactTarget::from_consensus(0),
        nonce: 0,
    };
    m7s(&Block { header, txdata: vec![coinbase.clone()] }).into_iter().collect()
}

/// Output by output: all as the template has it, but for whom the reward pays.
fn compare(mined: &Transaction, template: &Value, payout: &ScriptBuf) {
    let given = template["coinbasetxn"]["data"].as_str().unwrap();
    let given: Transaction = deserialize_hex(given).unwrap();
    assert_eq!((mined.version, mined.lock_time), (given.version, given.lock_time));
    assert_eq!(mined.input[0].sequence, given.input[0].sequence);
    assert_eq!(mined.input[0].witness, given.input[0].witness);
    let script = mined.input[0].script_sig.as_bytes();
    assert!(script.starts_with(given.input[0].script_sig.as_bytes()) && script.len() <= 100);
    assert_eq!(mined.output.len(), given.output.len());
    for (place, (ours, theirs)) in mined.output.iter().zip(&given.output).enumerate() {
        assert_eq!(ours.value, theirs.value, "output {place}");
        let wanted =
            if theirs.script_pubkey.is_op_return() { &theirs.script_pubkey } else { payout };
        assert_eq!(ours.script_pubkey, *wanted, "output {place}");
    }
    assert_eq!(mined.output[0].script_pubkey.to_hex_string(), "6a05d77d177601", "its M4");
}

/// The same bids whichever way the server goes.
async fn bids_are_settled(way: Way) {
    let mut rig = Rig::start(way).await;
    let first_tip = rig.network.tip().await;
    rig.work_with(&Expected { m7s: vec![], transactions: vec![], fees: 0 }).await;

    // Several slots, and a better bid that comes later.
    let outbid = rig.network.bid(9, h_star(1), first_tip, 3_000).await;
    let other = rig.network.bid(2, h_star(2), first_tip, 4_000).await;
    let m7s = vec![(9, h_star(1)), (2, h_star(2))];
    let early = Expected { m7s, transactions: vec![outbid, other], fees: 7_000 };
    rig.work_with(&early).await;
    let better = rig.network.bid(9, h_star(3), first_tip, 5_000).await;
    let m7s = vec![(9, h_star(3)), (2, h_star(2))];
    rig.mine(&Expected { m7s, transactions: vec![better, other], fees: 9_000 }).await;

    // The loser waits on, for a tip that is gone, and somebody spends from it. Two bids say the
    // same, and one of them pays better. An ordinary payment is no bid's business.
    let tip = rig.network.tip().await;
    let change = OutPoint::new(outbid, 1);
    let left = COIN - Amount::from_sat(3_000);
    rig.network.spend(change, left, First::Payment, 2_500).await;
    rig.network.bid(200, h_star(4), tip, 1_000).await;
    let same = rig.network.bid(200, h_star(4), tip, 1_500).await;
    let seven = rig.network.bid(7, h_star(5), tip, 600).await;
    let payment = rig.network.send(First::Payment, 700).await;
    let m7s = vec![(200, h_star(4)), (7, h_star(5))];
    let transactions = vec![same, seven, payment];
    rig.mine(&Expected { m7s, transactions, fees: 2_800 }).await;

    // Nothing but bids for old tips, a new one among them, and a payment.
    rig.network.bid(9, h_star(6), tip, 8_000).await;
    let payment = rig.network.send(First::Payment, 900).await;
    rig.mine(&Expected { m7s: vec![], transactions: vec![payment], fees: 900 }).await;

    // A bid for the slot of our own sidechain: who pays has it.
    let tip = rig.network.tip().await;
    let paid = rig.network.bid(OWN_SLOT, h_star(7), tip, 2_000).await;
    let m7s = vec![(OWN_SLOT, h_star(7))];
    rig.mine(&Expected { m7s, transactions: vec![paid], fees: 2_000 }).await;
    rig.mine(&Expected { m7s: vec![], transactions: vec![], fees: 0 }).await;
    rig.finish(4).await;
}

#[tokio::test]
async fn own_sidechain_and_bids_on_plain_templates() {
    if wanted("own_sidechain_and_bids_on_plain_templates").unwrap() {
        bids_are_settled(Way::Own).await;
    }
}

#[tokio::test]
async fn blind_on_plain_templates() {
    if wanted("blind_on_plain_templates").unwrap() {
        bids_are_settled(Way::Blind).await;
    }
}

#[tokio::test]
async fn blind_on_an_enforcers_templates() {
    if wanted("blind_on_an_enforcers_templates").unwrap() {
        bids_are_settled(Way::Enforcer).await;
    }
}

/// A block with what a plain template says, as any pool would make it, and these commitments.
fn assemble(template: &Value, commitments: &[(u8, HStar)]) -> Block {
    let nothing = |script_pubkey| TxOut { value: Amount::ZERO, script_pubkey };
    let witness_commitment = template["default_witness_commitment"].as_str().unwrap();
    let mut output = vec![TxOut {
        value: Amount::from_sat(template["coinbasevalue"].as_u64().unwrap()),
        script_pubkey: Producer::default().recipient,
    }];
    output.extend(commitments.iter().map(|(slot, h_star)| nothing(m7_script(*slot, *h_star))));
    output.push(nothing(ScriptBuf::from_bytes(Vec::from_hex(witness_commitment).unwrap())));
    let height = template["height"].as_i64().unwrap();
    let coinbase = Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::null(),
            script_sig: bitcoin::script::Builder::new().push_int(height).into_script(),
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[[0; 32]]),
        }],
        output,
    };
    let others = template["transactions"].as_array().unwrap().iter();
    let others = others.map(|entry| deserialize_hex(entry["data"].as_str().unwrap()).unwrap());
    let number = |name: &str| u32::try_from(template[name].as_u64().unwrap()).unwrap();
    let bits = u32::from_str_radix(template["bits"].as_str().unwrap(), 16).unwrap();
    let header = Header {
        version: Version::from_consensus(number("version").cast_signed()),
        prev_blockhash: template["previousblockhash"].as_str().unwrap().parse().unwrap(),
        merkle_root: TxMerkleNode::all_zeros(),
        time: number("curtime"),
        bits: CompactTarget::from_consensus(bits),
        nonce: 0,
    };
    let mut block = Block { header, txdata: std::iter::once(coinbase).chain(others).collect() };
    block.header.merkle_root = block.compute_merkle_root().unwrap();
    while block.header.validate_pow(block.header.target()).is_err() {
        block.header.nonce += 1;
    }
    block
}

#[tokio::test]
async fn a_naive_coinbase_loses_the_block() {
    if !wanted("a_naive_coinbase_loses_the_block").unwrap() {
        return;
    }
    let mut network = Network::start().await;
    let tip = network.tip().await;
    network.bid(9, h_star(1), tip, 5_000).await;
    network.settle().await;
    let template = network.template().await;
    let submit = async |block: &Block| {
        network.node.rpc("submitblock", json!([serialize_hex(block)])).await.unwrap()
    };

    let naive = assemble(&template, &[]);
    let refused = check::block(&naive, tip, None).unwrap_err();
    let reason = refused.to_string();
    assert!(reason.contains("the coinbase has no M7 for that slot"), "{reason}");
    assert_eq!(submit(&naive).await, Value::Null, "the node itself sees nothing wrong");
    let expected = BlockVerdict::Invalidated(naive.block_hash(), refused);
    let verdict = timeout(PATIENCE, network.verdicts.recv()).await.unwrap().unwrap();
    assert_eq!(verdict, expected);
    assert_eq!(network.tip().await, tip, "the block is gone");

    // bitcoind's own miner is as naive.
    let address = network.wallet.address(AddressKind::Bech32).await.unwrap();
    let generated = network.node.generate(1, &address).await.unwrap();
    let block = network.node.block(generated[0]).await.unwrap();
    assert!(check::block(&block, tip, None).is_err());
    let verdict = network.verdict().await;
    assert!(matches!(verdict, BlockVerdict::Invalidated(hash, _) if hash == generated[0]));
    assert_eq!(network.tip().await, tip);

    // The same transactions with the commitment: the bid itself was never what was wrong.
    let paid = assemble(&template, &[(9, h_star(1))]);
    check::block(&paid, tip, None).unwrap();
    let word = network.node.rpc("submitblock", json!([serialize_hex(&paid)])).await.unwrap();
    assert_eq!(word, Value::Null);
    assert_eq!(network.verdict().await, BlockVerdict::Accepted(paid.block_hash()));
    assert_eq!(network.tip().await, paid.block_hash());
}
