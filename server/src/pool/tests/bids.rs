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
    rig.handle(Event::Notified { topic: topic.clone(), body });
    assert_eq!(rig.asked("getblocktemplate"), 2);
    rig.reply("getblocktemplate", template_without(&[], 0));
    assert!(rig.hear(conn).contains("mining.notify"));
    let body = Bytes::from([&[2; 32][..], b"C"].concat());
    rig.handle(Event::Notified { topic, body });
    assert_eq!(rig.asked("getblocktemplate"), 2);
    rig.reply("getblocktemplate", template(2, 145));
    assert!(Work::from(&rig.hear(conn), "00000000", 0).clean);
}
