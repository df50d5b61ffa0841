//! The templates of a real enforcer, made again from what its node said at the same moment.

use bitcoin::hex::FromHex as _;
use bitcoin::{BlockHash, TxOut};

use super::*;
use crate::sim::sidechain::HStar;

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn plain() -> Value {
    json_of(fixtures::GBT_BITCOIND_FOUR_BIDS)
}

fn parent() -> BlockHash {
    parent_of(&plain()).unwrap()
}

/// Set up as the enforcer of the fixtures was.
fn producer(votes: &[u8]) -> Producer {
    let recipient = "001409ce704ec6cd38625e858beab5a72a2b7c73e8fb";
    let recipient = ScriptBuf::from_bytes(Vec::from_hex(recipient).unwrap());
    Producer { recipient, votes: Some(votes.to_vec()) }
}

/// The template over these transactions, each with the fee it pays.
fn template_over(transactions: &[(Transaction, u64)]) -> Value {
    let mut plain = plain();
    let fees: u64 = transactions.iter().map(|(_, fee)| fee).sum();
    plain["coinbasevalue"] = (5_000_000_000 + fees).into();
    plain["transactions"] = transactions
        .iter()
        .map(|(transaction, fee)| json!({ "data": serialize_hex(transaction), "fee": fee }))
        .collect();
    let mut enforcer = Enforcer::new(Producer::default(), &plain).unwrap();
    enforcer.template(&plain).unwrap()
}

fn coinbase_of(template: &Value) -> Transaction {
    deserialize_hex(template["coinbasetxn"]["data"].as_str().unwrap()).unwrap()
}

/// Slot and first byte of h* of each M7, in order.
fn m7s(template: &Value) -> Vec<(u8, u8)> {
    let coinbase = coinbase_of(template);
    let m7s = coinbase.output.iter().map(|output| output.script_pubkey.as_bytes());
    m7s.filter(|script| script.starts_with(&[0x6a, 0x25, 0xd1])).map(|s| (s[6], s[7])).collect()
}

fn fees(template: &Value) -> Vec<u64> {
    let transactions = template["transactions"].as_array().unwrap();
    transactions.iter().map(|entry| entry["fee"].as_u64().unwrap()).collect()
}

fn m8_script(slot: u8, h_star: u8, parent: BlockHash) -> ScriptBuf {
    let mut payload = vec![0x6a, 0x44, 0x00, 0xbf, 0x00, slot];
    payload.extend([h_star; 32]);
    payload.extend(parent.to_byte_array());
    ScriptBuf::from_bytes(payload)
}

/// A transaction with this first output, on a coin of its own or of another.
fn spending(previous_output: OutPoint, script_pubkey: ScriptBuf) -> Transaction {
    Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: vec![TxIn { previous_output, ..TxIn::default() }],
        output: vec![
            TxOut { value: Amount::ZERO, script_pubkey },
            TxOut { value: Amount::ONE_BTC, script_pubkey: ScriptBuf::new() },
        ],
    }
}

fn coin(number: u32) -> OutPoint {
    OutPoint::new(bitcoin::Txid::from_byte_array([7; 32]), number)
}

fn change_of(transaction: &Transaction) -> OutPoint {
    OutPoint::new(transaction.compute_txid(), 1)
}

#[test]
fn the_template_is_a_real_enforcers() {
    let mut enforcer = Enforcer::new(producer(&[0xff, 0xff]), &plain()).unwrap();
    enforcer.made = 2;
    let ours = enforcer.template(&plain()).unwrap();
    assert_eq!(ours, json_of(fixtures::GBT_ENFORCER_THREE_BIDS));
    let again = enforcer.template(&plain()).unwrap();
    assert!(again["longpollid"].as_str().unwrap().ends_with("0000000000000003"));
}

#[test]
fn without_bids_it_is_a_real_enforcers_too() {
    let theirs = json_of(fixtures::GBT_ENFORCER_NO_MESSAGES);
    let mut plain = theirs.clone();
    plain["coinbasevalue"] = 5_000_000_000_u64.into();
    let theirs_coinbase = coinbase_of(&theirs);
    let recipient = theirs_coinbase.output[1].script_pubkey.clone();
    let producer = Producer { recipient, votes: Some(Vec::new()) };
    let ours = Enforcer::new(producer, &plain).unwrap().template(&plain).unwrap();
    assert_eq!(coinbase_of(&ours), theirs_coinbase);
    assert_eq!(ours["coinbasetxn"], theirs["coinbasetxn"]);
}

#[test]
fn what_the_sample_said_stays() {
    let mut sample = plain();
    sample["version"] = 4.into();
    sample["weightlimit"] = 5.into();
    let mut enforcer = Enforcer::new(Producer::default(), &sample).unwrap();
    let template = enforcer.template(&plain()).unwrap();
    assert_eq!((&template["version"], &template["weightlimit"]), (&json!(4), &json!(5)));
    assert_eq!(template["curtime"], plain()["curtime"]);
    for absent in ["coinbasevalue", "capabilities"] {
        assert_eq!(template.get(absent), None);
    }
}

#[test]
fn bids_for_other_blocks_leave_with_their_descendants() {
    let elsewhere = BlockHash::from_byte_array([1; 32]);
    let expired = spending(coin(0), m8_script(9, 1, elsewhere));
    let child = spending(change_of(&expired), ScriptBuf::new());
    let grandchild = spending(change_of(&child), m8_script(2, 2, parent()));
    let plain = spending(coin(1), ScriptBuf::new());
    let template = template_over(&[(expired, 9_000), (child, 800), (grandchild, 700), (plain, 60)]);
    assert_eq!((fees(&template), m7s(&template)), (vec![60], vec![]));
    let value: Amount = coinbase_of(&template).output.iter().map(|output| output.value).sum();
    assert_eq!(value, Amount::from_sat(5_000_000_060));
    assert_eq!(template["coinbasetxn"]["fee"], -5_000_000_060_i64);
}

#[test]
fn one_bid_wins_a_slot_even_among_equals() {
    let bids: Vec<_> = [(3, 500), (3, 700), (3, 700), (3, 100)]
        .into_iter()
        .enumerate()
        .map(|(number, (h_star, fee))| {
            let coin = coin(u32::try_from(number).unwrap());
            (spending(coin, m8_script(9, h_star, parent())), fee)
        })
        .collect();
    let template = template_over(&bids);
    assert_eq!((fees(&template), m7s(&template)), (vec![700], vec![(9, 3)]));
    assert_eq!(template["transactions"][0]["txid"], json!(bids[1].0.compute_txid()));
}

#[test]
fn a_winner_that_spends_from_a_loser_leaves_its_slot_empty() {
    let loser = spending(coin(0), m8_script(9, 1, parent()));
    let rival = spending(coin(1), m8_script(9, 2, parent()));
    let heir = spending(change_of(&loser), m8_script(2, 3, parent()));
    let template = template_over(&[(loser, 100), (rival, 200), (heir, 5_000)]);
    assert_eq!((fees(&template), m7s(&template)), (vec![200], vec![(9, 2)]));
}

#[test]
fn depends_counts_from_0_and_lists_every_ancestor() {
    let first = spending(coin(0), ScriptBuf::new());
    let second = spending(change_of(&first), m8_script(9, 1, parent()));
    let third = spending(change_of(&second), m8_script(2, 2, parent()));
    let other = spending(coin(1), ScriptBuf::new());
    let template = template_over(&[(other, 10), (first, 20), (second, 30), (third, 40)]);
    assert_eq!(fees(&template), [20, 30, 40, 10]);
    assert_eq!(m7s(&template), [(9, 1), (2, 2)], "in the order of the bids");
    assert_eq!(template["transactions"][2]["depends"], json!([0, 1]));
}

#[test]
fn only_an_exact_first_output_is_a_bid() {
    let exact = m8_script(9, 1, parent()).into_bytes();
    let long = ScriptBuf::from_bytes([&exact[..], &[0]].concat());
    let raw = ScriptBuf::from_bytes([&[0x6a][..], &exact[2..]].concat());
    let mut second = spending(coin(2), ScriptBuf::new());
    second.output[1].script_pubkey = ScriptBuf::from_bytes(exact);
    let transactions = [(spending(coin(0), long), 1), (spending(coin(1), raw), 2), (second, 3)];
    let template = template_over(&transactions);
    assert_eq!((fees(&template), m7s(&template)), (vec![1, 2, 3], vec![]));
}

#[test]
fn a_coinbase_that_pays_nothing_has_no_reward_output() {
    let mut plain = plain();
    plain["transactions"] = json!([]);
    plain["coinbasevalue"] = 0.into();
    plain["height"] = 3.into();
    let mut enforcer = Enforcer::new(Producer::default(), &plain).unwrap();
    let coinbase = coinbase_of(&enforcer.template(&plain).unwrap());
    assert_eq!(coinbase.output.len(), 1, "the witness commitment");
    assert_eq!(coinbase.input[0].script_sig.as_bytes(), [0x53, 0x00], "padded");
    assert_eq!(coinbase.version, transaction::Version::TWO);
}

#[test]
fn a_template_that_is_none_is_refused_by_name() {
    let refused = |change: fn(&mut Value)| {
        let mut plain = plain();
        change(&mut plain);
        let mut enforcer = Enforcer::new(Producer::default(), &json!({})).unwrap();
        enforcer.template(&plain).unwrap_err()
    };
    assert_eq!(refused(|plain| plain["previousblockhash"] = 5.into()).0, "previousblockhash");
    assert_eq!(refused(|plain| plain["coinbasevalue"] = 5.into()).0, "coinbasevalue");
    assert_eq!(refused(|plain| plain["transactions"][0]["data"] = "00".into()).0, "data");
    assert_eq!(Enforcer::new(Producer::default(), &json!([])).unwrap_err().0, "object");
}

fn refusal(body: &str) -> String {
    let reply = read(body.as_bytes()).expect_err("refused");
    assert_eq!(reply.status, 200);
    String::from_utf8(reply.body).unwrap()
}

#[test]
fn requests_are_strictly_2_0() {
    let error = |code: i64, message: &str, id: &str| {
        let error = json!({ "code": code, "message": message });
        let id = json_of(id);
        json!({ "jsonrpc": "2.0", "id": id, "error": error })
    };
    for (body, expected) in [
        ("{", error(-32700, "Parse error", "null")),
        ("[]", error(-32600, "Invalid request", "null")),
        (r#"{"id":1,"method":"submitblock"}"#, error(-32600, "Invalid request", "1")),
        (
            r#"{"jsonrpc":"1.0","id":1,"method":"submitblock","params":["00"]}"#,
            error(-32600, "Invalid request", "1"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":"a","method":"getblockchaininfo","params":[]}"#,
            error(-32601, "Method not found", r#""a""#),
        ),
        (
            r#"{"jsonrpc":"2.0","id":2,"method":"getblocktemplate"}"#,
            error(-32602, "No more params", "2"),
        ),
    ] {
        assert_eq!(json_of(&refusal(body)), expected, "{body}");
    }
}

#[test]
fn a_request_says_what_it_can_take_and_what_it_waits_for() {
    let read_call = |options: &Value| {
        let request = json!({
            "jsonrpc": "2.0", "id": 1, "method": "getblocktemplate", "params": [options],
        });
        read(request.to_string().as_bytes()).unwrap().1
    };
    let template = |takes_coinbase, long_poll_tip| {
        Call::Template(TemplateCall { takes_coinbase, long_poll_tip })
    };
    assert_eq!(read_call(&json!({ "mode": "proposal", "data": "00" })), template(false, None));
    let id = format!("{}00000000000000ff", parent());
    let options = json!({ "capabilities": ["x", "coinbasetxn"], "longpollid": id });
    assert_eq!(read_call(&options), template(true, Some(parent())));
    let options = json!({ "capabilities": ["coinbasetxn"], "longpollid": "no hash" });
    assert_eq!(read_call(&options), template(true, None));
    let submit = r#"{"jsonrpc":"2.0","id":1,"method":"submitblock","params":["ab","dropped"]}"#;
    assert_eq!(read(submit.as_bytes()).unwrap().1, Call::Submit("ab".to_owned()));
}

#[test]
fn errors_carry_their_reason_where_the_enforcer_puts_it() {
    let answer = |failure| {
        let reply = wrap(&Some(json!(1)), &Err(failure));
        json_of(&String::from_utf8(reply.body).unwrap())["error"].clone()
    };
    let why = "the `coinbasetxn` GBT capability is required";
    assert_eq!(
        answer(Failure::no_capability()),
        json!({ "code": -32603, "message": "Internal error", "data": why })
    );
    assert_eq!(answer(Failure::no_mempool())["data"], "Mempool unavailable");
    assert_eq!(answer(Failure::still_syncing())["code"], -10);
    assert_eq!(wrap(&None, &Ok(Value::Null)).body, b"");
}

/// The h* of an M7 stands there as the bid had it.
#[test]
fn h_star_is_not_reversed() {
    let mut script = m8_script(9, 0, parent()).into_bytes();
    script[6] = 0xab;
    let bid = spending(coin(0), ScriptBuf::from_bytes(script));
    let template = template_over(&[(bid, 500)]);
    let mut h_star = [0; 32];
    h_star[0] = 0xab;
    let m7 = &coinbase_of(&template).output[0];
    assert_eq!(m7.script_pubkey, m7_script(9, HStar(h_star)));
}
