//! Drafts on a simulated node, and short ways to ask it.

use bitcoin::consensus::encode::serialize_hex;
use bitcoin::hashes::Hash as _;
use bitcoin::{Block, BlockHash, Txid};
use serde_json::{Value, json};

pub(super) use crate::draft::{Commitment, Draft, anyone, script_sig, spend};
use crate::sim::node::{RpcOutcome, SimNode, Verdict};

/// Later than any block of these tests by less than two hours.
pub(super) const NOW: u32 = 1_800_000_000;

/// A right block without transactions on the tip.
pub(super) fn fresh(node: &SimNode) -> Draft {
    fresh_on(node, node.tip())
}

/// The same on any block that the node knows.
pub(super) fn fresh_on(node: &SimNode, parent: BlockHash) -> Draft {
    let height = node.chain().entry(parent).unwrap().height + 1;
    Draft::on(parent, height, NOW.max(node.chain().median_time_past(parent) + 1))
}

/// A txid that nothing has.
pub(super) fn unknown(salt: u8) -> Txid {
    Txid::from_byte_array([salt; 32])
}

/// One call; the HTTP status and the parsed answer.
pub(super) fn call(node: &mut SimNode, now: u32, method: &str, params: &Value) -> (u16, Value) {
    let body = json!({ "id": 7, "method": method, "params": params }).to_string();
    match node.handle_rpc(now, body.as_bytes()) {
        RpcOutcome::Reply(reply) => (reply.status, serde_json::from_slice(&reply.body).unwrap()),
        RpcOutcome::Parked(parked) => panic!("parked: {parked:?}"),
    }
}

/// The result of a call that must work.
pub(super) fn ask(node: &mut SimNode, method: &str, params: &Value) -> Value {
    let (status, answer) = call(node, NOW, method, params);
    assert_eq!((status, &answer["error"]), (200, &Value::Null), "{method}");
    answer["result"].clone()
}

/// The code and the text of a call that must fail.
pub(super) fn refused(node: &mut SimNode, method: &str, params: &Value) -> (i64, String) {
    let (status, answer) = call(node, NOW, method, params);
    assert_ne!(status, 200, "{method}: {answer}");
    let error = &answer["error"];
    (error["code"].as_i64().unwrap(), error["message"].as_str().unwrap().to_owned())
}

/// What a proposal and then two submissions of a block are answered; null is "accepted".
pub(super) fn verdicts(node: &mut SimNode, block: &Block) -> [String; 3] {
    let hex = json!([serialize_hex(block)]);
    let proposal = propose(node, block);
    let mut submit = || word(&ask(node, "submitblock", &hex));
    [proposal, submit(), submit()]
}

/// What a proposal is answered, which changes nothing.
pub(super) fn propose(node: &mut SimNode, block: &Block) -> String {
    let request =
        json!([{ "mode": "proposal", "data": serialize_hex(block), "rules": ["segwit"] }]);
    word(&ask(node, "getblocktemplate", &request))
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or("accepted").to_owned()
}

/// Submits a block that must be accepted.
pub(super) fn extend(node: &mut SimNode, draft: &Draft) -> BlockHash {
    let block = draft.build();
    assert_eq!(node.submit(NOW, block.clone()), Verdict::Accepted);
    block.block_hash()
}

/// Submits a right block without transactions.
pub(super) fn extend_empty(node: &mut SimNode) -> BlockHash {
    let draft = fresh(node);
    extend(node, &draft)
}

/// Mines empty blocks up to a height.
pub(super) fn mine_to(node: &mut SimNode, height: u32) {
    while node.chain().height() < height {
        node.mine_rival(node.tip(), NOW).unwrap();
    }
}
