//! Templates against one that a real bitcoind gave, long-polls, and version bits.

use std::collections::BTreeMap;

use bitcoin::Transaction;
use bitcoin::consensus::encode::deserialize_hex;
use serde_json::{Value, json};

use super::draft::{
    NOW, ask, call, extend_empty, fresh, mine_to, refused, spend, unknown, verdicts,
};
use crate::sim::node::{Condition, NotAdmitted, ParkedPoll, RpcOutcome, SimNode};

fn template(node: &mut SimNode) -> Value {
    ask(node, "getblocktemplate", &json!([{ "rules": ["segwit"] }]))
}

fn fixture() -> Value {
    serde_json::from_str(fixtures::GBT_BITCOIND_FOUR_BIDS).unwrap()
}

/// A node with the chain length and the mempool of the fixture.
fn node_of_the_fixture() -> SimNode {
    let mut node = SimNode::new();
    mine_to(&mut node, 143);
    for entry in fixture()["transactions"].as_array().unwrap() {
        let tx: Transaction = deserialize_hex(entry["data"].as_str().unwrap()).unwrap();
        node.add_transaction(tx, entry["fee"].as_u64().unwrap()).unwrap();
    }
    node
}

fn by_txid(template: &Value) -> BTreeMap<String, Value> {
    let transactions = template["transactions"].as_array().unwrap();
    transactions
        .iter()
        .map(|entry| {
            let mut entry = entry.clone();
            let depends = entry["depends"].as_array().unwrap().iter().map(|place| {
                let place = usize::try_from(place.as_u64().unwrap()).unwrap();
                transactions[place - 1]["txid"].clone()
            });
            let depends: Vec<Value> = depends.collect();
            entry["depends"] = json!(depends);
            (entry["txid"].as_str().unwrap().to_owned(), entry)
        })
        .collect()
}

#[test]
fn the_template_is_a_real_ones_but_for_hashes_times_and_order() {
    let (ours, theirs) = (template(&mut node_of_the_fixture()), fixture());
    assert_eq!(by_txid(&ours), by_txid(&theirs));
    let differing = [
        "transactions",
        "previousblockhash",
        "longpollid",
        "mintime",
        "curtime",
        "default_witness_commitment",
    ];
    let rest = |template: &Value| {
        let mut fields = template.as_object().unwrap().clone();
        for name in differing {
            assert!(fields.remove(name).is_some(), "{name}");
        }
        fields
    };
    assert_eq!(rest(&ours), rest(&theirs));
}

#[test]
fn a_block_made_from_the_template_is_accepted() {
    let mut node = node_of_the_fixture();
    let ours = template(&mut node);
    let mut draft = fresh(&node);
    draft.value = ours["coinbasevalue"].as_u64().unwrap();
    draft.transactions = ours["transactions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| deserialize_hex(entry["data"].as_str().unwrap()).unwrap())
        .collect();
    let block = draft.build();
    let commitment = block.txdata[0].output[1].script_pubkey.to_hex_string();
    assert_eq!(ours["default_witness_commitment"], commitment);
    assert_eq!(verdicts(&mut node, &block), ["accepted", "accepted", "duplicate"]);
    assert_eq!(node.waiting().count(), 0);
}

#[test]
fn times_heights_and_ids_follow_the_chain() {
    let mut node = SimNode::new();
    mine_to(&mut node, 12);
    let median = node.chain().median_time_past(node.tip());
    let ours = template(&mut node);
    assert_eq!(ours["height"], 13);
    assert_eq!(ours["mintime"], median + 1);
    assert_eq!(ours["curtime"], NOW.max(median + 1));
    assert_eq!(ours["previousblockhash"], node.tip().to_string());
    let (_, behind) = call(&mut node, 5, "getblocktemplate", &json!([{ "rules": ["segwit"] }]));
    assert_eq!(behind["result"]["curtime"], median + 1);
}

#[test]
fn version_bits_rise_at_144_and_fall_when_the_vote_is_won() {
    let mut node = SimNode::new();
    let mut seen = Vec::new();
    for height in 1..=433 {
        let ours = template(&mut node);
        let version = ours["version"].as_u64().unwrap();
        let available = ours["vbavailable"] == json!({ "testdummy": 28 });
        let rule = ours["rules"].as_array().unwrap().contains(&json!("testdummy"));
        let state = (version, available, rule);
        if seen.last().is_none_or(|(_, last)| *last != state) {
            seen.push((height, state));
        }
        node.mine_rival(node.tip(), NOW).unwrap();
    }
    assert_eq!(
        seen,
        [
            (1, (0x2000_0000, false, false)),
            (144, (0x3000_0000, true, false)),
            (432, (0x2000_0000, false, true)),
        ]
    );
}

#[test]
fn the_highest_fee_rate_goes_first_and_no_child_before_its_parent() {
    let mut node = SimNode::new();
    let parent = spend(unknown(1), 0, 10_000);
    let child = spend(parent.compute_txid(), 0, 5_000);
    let other = spend(unknown(2), 0, 10_000);
    node.add_transaction(parent.clone(), 100).unwrap();
    node.add_transaction(child.clone(), 5_000).unwrap();
    node.add_transaction(other.clone(), 200).unwrap();
    let ours = template(&mut node);
    let order: Vec<&str> = ours["transactions"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|e| e["txid"].as_str())
        .collect();
    let expected = [&other, &parent, &child].map(|tx| tx.compute_txid().to_string());
    assert_eq!(order, expected);
    assert_eq!(ours["transactions"][2]["depends"], json!([2]));
    assert_eq!(ours["coinbasevalue"], 5_000_000_000_u64 + 5_300);
}

#[test]
fn fees_are_declared_once_and_conflicts_are_refused() {
    let mut node = SimNode::new();
    let tx = spend(unknown(1), 0, 1_000);
    node.add_transaction(tx.clone(), 50).unwrap();
    let rival = node.add_transaction(spend(unknown(1), 0, 900), 150);
    assert_eq!(rival, Err(NotAdmitted::Conflict));
    let child = spend(tx.compute_txid(), 0, 900);
    assert_eq!(node.add_transaction(child.clone(), 50), Err(NotAdmitted::FeeIsNot(100)));
    assert_eq!(node.add_transaction(child, 100).map(|_| ()), Ok(()));
}

#[test]
fn no_template_without_the_segwit_rule_or_before_the_node_is_ready() {
    let mut node = SimNode::new();
    let words = "getblocktemplate must be called with the segwit rule set (call with \
                 {\"rules\": [\"segwit\"]})";
    for request in [json!([{}]), json!([{ "rules": ["csv"] }])] {
        let refusal = refused(&mut node, "getblocktemplate", &request);
        assert_eq!(refusal, (-8, words.to_owned()));
    }
    let request = json!([{ "rules": ["segwit"] }]);
    node.set_condition(Condition::InitialSync);
    let words = "Bitcoin Core is in initial sync and waiting for blocks...";
    assert_eq!(refused(&mut node, "getblocktemplate", &request), (-10, words.to_owned()));
    assert_eq!(ask(&mut node, "getblockchaininfo", &json!([]))["initialblockdownload"], true);
    node.set_condition(Condition::WarmingUp);
    let words = "Loading block index\u{2026}";
    assert_eq!(refused(&mut node, "getblockcount", &json!([])), (-28, words.to_owned()));
    node.set_condition(Condition::Ready);
    assert_eq!(template(&mut node)["height"], 1);
}

#[test]
fn modes_that_do_not_exist_are_refused() {
    let mut node = SimNode::new();
    let mut refuse = |request: Value| refused(&mut node, "getblocktemplate", &json!([request]));
    assert_eq!(refuse(json!({ "mode": "x" })), (-8, "Invalid mode".to_owned()));
    assert_eq!(refuse(json!({ "mode": 1 })), (-8, "Invalid mode".to_owned()));
    let missing = "Missing data String key for proposal".to_owned();
    assert_eq!(refuse(json!({ "mode": "proposal" })), (-3, missing));
    let undecodable = "Block decode failed".to_owned();
    assert_eq!(refuse(json!({ "mode": "proposal", "data": "00" })), (-22, undecodable));
    let short = "longpollid must be of length 64 (not 3, for 'abc')".to_owned();
    assert_eq!(refuse(json!({ "rules": ["segwit"], "longpollid": "abc" })), (-8, short));
}

/// Asks with the id of the current template, which must park.
fn park(node: &mut SimNode) -> ParkedPoll {
    let id = template(node)["longpollid"].clone();
    let params = json!([{ "rules": ["segwit"], "longpollid": id }]);
    let body = json!({ "id": 1, "method": "getblocktemplate", "params": params });
    match node.handle_rpc(NOW, body.to_string().as_bytes()) {
        RpcOutcome::Parked(parked) => parked,
        RpcOutcome::Reply(reply) => panic!("{reply:?}"),
    }
}

#[test]
fn a_long_poll_waits_for_the_tip() {
    let mut node = SimNode::new();
    let mut parked = park(&mut node);
    assert_eq!(node.resume(NOW + 59, &mut parked), None);
    node.mine_rival(node.tip(), NOW).unwrap();
    let reply = node.resume(NOW + 1, &mut parked).unwrap();
    let answer: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!((reply.status, &answer["result"]["height"]), (200, &json!(2)));
    // An id of a tip that is gone is answered at once.
    let stale = json!([{ "rules": ["segwit"], "longpollid": format!("{}0", "00".repeat(32)) }]);
    assert_eq!(ask(&mut node, "getblocktemplate", &stale)["height"], 2);
}

#[test]
fn a_long_poll_looks_at_the_mempool_after_a_minute_and_then_every_ten_seconds() {
    let mut node = SimNode::new();
    let mut parked = park(&mut node);
    assert_eq!(parked.look_at(), NOW + 60);
    assert_eq!(node.resume(NOW + 60, &mut parked), None);
    assert_eq!(parked.look_at(), NOW + 70);
    node.add_transaction(spend(unknown(1), 0, 1_000), 50).unwrap();
    assert_eq!(node.resume(NOW + 69, &mut parked), None);
    let reply = node.resume(NOW + 70, &mut parked).unwrap();
    let answer: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(answer["result"]["transactions"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_full_mempool_leaves_room_for_the_coinbase() {
    let mut node = SimNode::new();
    for salt in 1..=45 {
        let mut tx = spend(unknown(salt), 0, 1_000);
        tx.output[0].script_pubkey = bitcoin::ScriptBuf::from_bytes(vec![0x51; 24_900]);
        node.add_transaction(tx, u64::from(salt)).unwrap();
    }
    let ours = template(&mut node);
    let weights = ours["transactions"].as_array().unwrap().iter().map(|e| e["weight"].as_u64());
    let weight: u64 = weights.map(Option::unwrap).sum();
    assert!((3_800_000..=3_992_000).contains(&weight), "{weight}");
    extend_empty(&mut node);
}
