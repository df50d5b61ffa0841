//! Bids that come and go while the tip stands: when they make a job, and when nothing does.

use super::*;
use crate::mining::template::Template;
use crate::node::rpc;

/// The place of the bid of 5,000 sat for slot 9; one of 3,000 sat stands before it.
const BEST: usize = 3;

/// The captured template with its five bids, without the transactions at `gone` and with `more`
/// satoshis on top. Nothing there depends on a transaction from [`BEST`] on.
fn template_without(gone: &[usize], more: u64) -> Result<HttpReply, CallError> {
    let captured = json(fixtures::GBT_BITCOIND_FOUR_BIDS);
    let parts = rpc::template(&captured).expect("as captured");
    let whole = Template::check(parts).expect("as captured");
    let kept: Vec<usize> =
        (0..whole.transactions.len()).filter(|place| !gone.contains(place)).collect();
    let rest = whole.keep_only(&kept);
    let mut text: serde_json::Value =
        serde_json::from_str(fixtures::GBT_BITCOIND_FOUR_BIDS).expect("as captured");
    let transactions = text["transactions"].as_array_mut().expect("a list");
    let mut place = 0;
    transactions.retain(|_| {
        place += 1;
        kept.contains(&(place - 1))
    });
    text["coinbasevalue"] = (rest.value + more).into();
    let commitment = rest.witness_commitment.expect("segwit");
    text["default_witness_commitment"] = hex::encode(commitment.as_bytes()).into();
    json(&text.to_string())
}

/// A pool on that tip, with a miner; the best bid for slot 9 is still to come.
fn mining_bids() -> (Rig, ConnId) {
    let mut rig = Rig::new(config());
    rig.finish_writes();
    rig.reply("getblockchaininfo", json(r#"{"chain":"regtest","blocks":143}"#));
    rig.reply("getblocktemplate", template_without(&[BEST], 0));
    let (conn, heard) = rig.miner();
    assert_eq!(payout(&heard), 5_000_030_444 - 5_000 - 4_444, "that bid and a loser are out");
    (rig, conn)
}

fn payout(heard: &str) -> u64 {
    Work::from(heard, "00000000", 0).outputs()[0].value.to_sat()
}

#[test]
fn a_higher_bid_makes_a_job_at_once_and_no_work_is_void() {
    let (mut rig, conn) = mining_bids();
    rig.wait(Duration::from_secs(1));
    rig.reply("getblocktemplate", template_without(&[], 0));
    let heard = rig.hear(conn);
    assert!(!Work::from(&heard, "00000000", 0).clean);
    assert_eq!(payout(&heard), 5_000_030_444 - 3_000 - 4_444, "5,000 sat in place of 3,000");
}

#[test]
fn other_fees_alone_wait_for_the_refresh() {
    let (mut rig, conn) = mining_bids();
    for second in 1..=10 {
        rig.wait(Duration::from_secs(1));
        rig.reply("getblocktemplate", template_without(&[BEST], 77));
        let heard = rig.hear(conn);
        assert_eq!(heard.contains("mining.notify"), second == 10, "second {second}");
    }
}

#[test]
fn a_bid_that_left_the_mempool_leaves_the_job() {
    let (mut rig, conn) = mining_bids();
    rig.wait(Duration::from_secs(1));
    rig.reply("getblocktemplate", template_without(&[], 0));
    rig.hear(conn);
    rig.wait(Duration::from_secs(1));
    rig.reply("getblocktemplate", template_without(&[BEST], 0));
    assert_eq!(payout(&rig.hear(conn)), 5_000_030_444 - 5_000 - 4_444);
}

#[test]
fn what_the_node_publishes_is_asked_for_at_once() {
    let (mut rig, conn) = mining_bids();
    rig.wait(Duration::from_millis(200));
    assert_eq!(rig.asked("getblocktemplate"), 1, "the long poll alone");
    let topic = Bytes::from_static(b"sequence");
    let body = Bytes::from([&[1; 32][..], b"A", &[0; 8]].concat());
    rig.handle(Event::Notified { node: 0, topic: topic.clone(), body });
    assert_eq!(rig.asked("getblocktemplate"), 2);
    rig.reply("getblocktemplate", template_without(&[], 0));
    assert!(rig.hear(conn).contains("mining.notify"));
    let body = Bytes::from([&[2; 32][..], b"C"].concat());
    rig.handle(Event::Notified { node: 0, topic, body });
    assert_eq!(rig.asked("getblocktemplate"), 2);
    rig.reply("getblocktemplate", template(2, 145));
    assert!(Work::from(&rig.hear(conn), "00000000", 0).clean);
}

/// A pool whose coinbase with all three bids is one too many for the smallest firmware.
fn mining_three_bids(config: Config) -> Rig {
    let mut rig = Rig::new(Config { payout: ScriptBuf::from_bytes(vec![0x51; 34]), ..config });
    rig.finish_writes();
    rig.reply("getblockchaininfo", json(r#"{"chain":"regtest","blocks":143}"#));
    rig.reply("getblocktemplate", json(fixtures::GBT_BITCOIND_FOUR_BIDS));
    rig
}

fn commitments(outputs: &[bitcoin::TxOut]) -> usize {
    let m7 = [0x6a, 0x25, 0xd1, 0x61, 0x73, 0x68];
    outputs.iter().filter(|output| output.script_pubkey.as_bytes().starts_with(&m7)).count()
}

/// BIP-0301: a bid whose M7 has no room leaves the block, the one that pays least first.
#[test]
fn firmware_that_cannot_hold_all_commitments_mines_with_fewer_bids() {
    let mut rig = mining_three_bids(easy());
    let (_, heard) = rig.miner_called("cgminer/4.12.0");
    let whole = Work::from(&heard, "00000000", 0);
    assert_eq!(commitments(&whole.outputs()), 3);
    let (small, heard) = rig.miner_called("NerdMinerV2/1.8.3");
    let lean = Work::from(&heard, "00000001", 0);
    assert_eq!(commitments(&lean.outputs()), 2);
    assert_eq!(whole.job, lean.job, "the same work for everybody else");
    let value = |work: &Work| work.outputs()[0].value.to_sat();
    assert_eq!(value(&whole) - value(&lean), 5_000, "the fee of the bid that is left out");

    let asked = "{\"id\":9,\"method\":\"mining.get_transactions\",\"params\":[\"JOB\"]}\n";
    let said = rig.say(small, &asked.replace("JOB", &lean.job));
    let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(said["result"].as_array().map(Vec::len), Some(4), "as that miner was given it");

    rig.say(small, &lean.submit(4, 0, lean.nonce(0, true)));
    let DiskOp::PutBlock(found) = &rig.writes[0].1 else { panic!("a block is kept first") };
    let block: bitcoin::Block = bitcoin::consensus::deserialize(&found.bytes).expect("a block");
    assert!(block.check_merkle_root() && block.check_witness_commitment());
    assert_eq!(block.txdata[0].output, lean.outputs());
    let parent = block.header.prev_blockhash;
    let judged = crate::bmm::check::block(&block, parent, None).expect("an enforcer keeps it");
    assert_eq!(judged.bids.len(), 2);
}

/// The longest payout of a miner who mines for himself has room too, and the fee's.
#[test]
fn whom_the_coinbase_pays_is_no_reason_for_no_work() {
    let solo = Some(crate::config::Solo { fee_basis_points: 100 });
    let mut rig =
        mining_three_bids(Config { miners: Miners { solo, ..Miners::default() }, ..easy() });
    let conn = rig.connect();
    let heard = rig.say(
        conn,
        "{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"NerdMinerV2/1.8.3\"]}\n\
         {\"id\":2,\"method\":\"mining.authorize\",\"params\":\
         [\"bcrt1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqc8gma6\",\"x\"]}\n",
    );
    assert_eq!(commitments(&Work::from(&heard, "00000000", 0).outputs()), 2);
    rig.wait(Duration::from_mins(1));
    assert!(rig.hear(conn).contains("mining.notify"), "and given again it fits as well");
    assert_eq!(rig.pool.counters().coinbases_too_large, 0);
}
