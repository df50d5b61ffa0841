//! The other methods: what they answer, and how they complain.

use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::{Block, absolute};
use serde_json::{Value, json};

use super::draft::{NOW, ask, call, extend, extend_empty, fresh, mine_to, refused, spend, unknown};
use crate::sim::node::SimNode;

#[test]
fn the_chain_describes_itself() {
    let mut node = SimNode::new();
    let info = ask(&mut node, "getblockchaininfo", &json!([]));
    assert_eq!((&info["chain"], &info["blocks"]), (&json!("regtest"), &json!(0)));
    assert_eq!(info["initialblockdownload"], true);
    mine_to(&mut node, 2);
    let info = ask(&mut node, "getblockchaininfo", &json!([]));
    assert_eq!(info["initialblockdownload"], false);
    assert_eq!(info["bestblockhash"], ask(&mut node, "getbestblockhash", &json!([])));
    assert_eq!(ask(&mut node, "getblockcount", &json!([])), 2);
    let chainwork = info["chainwork"].as_str().unwrap();
    assert_eq!((chainwork.len(), chainwork.trim_start_matches('0')), (64, "6"));
    assert_eq!(ask(&mut node, "getnetworkinfo", &json!([]))["version"], 290_400);
}

/// The answer of a bitcoind 29 for regtest's genesis.
#[test]
fn a_header_has_bitcoinds_fields() {
    let genesis = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206";
    let mut node = SimNode::new();
    let mut header = ask(&mut node, "getblockheader", &json!([genesis]));
    // bitcoind prints 16 digits, we the 17 that are needed to read the same number again.
    let difficulty = header.as_object_mut().unwrap().remove("difficulty").unwrap();
    assert_eq!(format!("{:.14e}", difficulty.as_f64().unwrap()), "4.65654237390692e-10");
    let expected = json!({
        "hash": genesis,
        "confirmations": 1,
        "height": 0,
        "version": 1,
        "versionHex": "00000001",
        "merkleroot": "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b",
        "time": 1_296_688_602,
        "mediantime": 1_296_688_602,
        "nonce": 2,
        "bits": "207fffff",
        "target": "7fffff0000000000000000000000000000000000000000000000000000000000",
        "chainwork": format!("{:064x}", 2),
        "nTx": 1,
    });
    assert_eq!(header, expected);
    let block = ask(&mut node, "getblock", &json!([genesis, 1]));
    assert_eq!((&block["strippedsize"], &block["size"]), (&json!(285), &json!(285)));
    assert_eq!((&block["weight"], &block["tx"]), (&json!(1140), &json!([header["merkleroot"]])));
    let raw = ask(&mut node, "getblockheader", &json!([genesis, false]));
    assert_eq!(raw.as_str().map(str::len), Some(160));
}

#[test]
fn a_block_comes_back_as_it_was_submitted() {
    let mut node = SimNode::new();
    let block = fresh(&node).build();
    let hex = serialize_hex(&block);
    // Bytes after the block are ignored, as bitcoind ignores them.
    assert_eq!(ask(&mut node, "submitblock", &json!([format!("{hex}00")])), Value::Null);
    let back = ask(&mut node, "getblock", &json!([block.block_hash().to_string(), 0]));
    assert_eq!(deserialize_hex::<Block>(back.as_str().unwrap()).unwrap(), block);
    let hash = ask(&mut node, "getblockhash", &json!([1]));
    assert_eq!(hash, block.block_hash().to_string());
}

/// Each complaint was made by a bitcoind 29.
#[test]
fn complaints_are_bitcoinds() {
    let mut node = SimNode::new();
    let absent = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2207";
    let wrong_type = "Wrong type passed:\n{\n    \"Position 1 (height)\": \"JSON value of type \
                      string is not of expected type number\"\n}";
    for (method, params, code, message) in [
        ("getblockhash", json!([5]), -8, "Block height out of range"),
        ("getblockhash", json!([-1]), -8, "Block height out of range"),
        ("getblockhash", json!(["x"]), -3, wrong_type),
        ("getblockheader", json!(["0f"]), -8, "hash must be of length 64 (not 2, for '0f')"),
        ("getblock", json!([absent]), -5, "Block not found"),
        ("invalidateblock", json!([absent]), -5, "Block not found"),
        ("preciousblock", json!([absent]), -5, "Block not found"),
        ("submitblock", json!(["00"]), -22, "Block decode failed"),
        ("submitblock", json!(["zz"]), -22, "Block decode failed"),
        ("submitblock", json!([]), -1, "submitblock \"hexdata\" ( \"dummy\" )"),
        ("nosuchmethod", json!([]), -32601, "Method not found"),
        (
            "sendrawtransaction",
            json!(["00"]),
            -22,
            "TX decode failed. Make sure the tx has at least one input.",
        ),
    ] {
        let refusal = refused(&mut node, method, &params);
        assert_eq!(refusal, (code, message.to_owned()), "{method} {params}");
    }
    assert_eq!(call(&mut node, NOW, "nosuchmethod", &json!([])).0, 404);
    assert_eq!(call(&mut node, NOW, "submitblock", &json!(["00"])).0, 500);
}

#[test]
fn transactions_are_sent_and_refused_like_bitcoind_does() {
    let mut node = SimNode::new();
    let first = extend_empty(&mut node);
    let coinbase = node.block(first).unwrap().txdata[0].clone();
    let spending = spend(coinbase.compute_txid(), 0, 4_999_999_000);
    let mut nonfinal = spend(unknown(1), 0, 1);
    nonfinal.lock_time = absolute::LockTime::from_consensus(500);
    nonfinal.input[0].sequence = bitcoin::Sequence(0xffff_fffe);
    for (tx, code, message) in [
        (&coinbase, -26, "coinbase"),
        (&spend(unknown(1), 0, 1), -25, "bad-txns-inputs-missingorspent"),
        (&nonfinal, -26, "non-final"),
        (&spending, -26, "bad-txns-premature-spend-of-coinbase"),
    ] {
        let refusal = refused(&mut node, "sendrawtransaction", &json!([serialize_hex(tx)]));
        assert_eq!(refusal, (code, message.to_owned()));
    }
    mine_to(&mut node, 100);
    let hex = serialize_hex(&spending);
    for _ in 0..2 {
        let txid = ask(&mut node, "sendrawtransaction", &json!([hex]));
        assert_eq!(txid, spending.compute_txid().to_string());
    }
    let txids = ask(&mut node, "getrawmempool", &json!([]));
    assert_eq!(txids, json!([spending.compute_txid().to_string()]));
    assert_eq!(ask(&mut node, "getmempoolinfo", &json!([]))["size"], 1);
    let mut draft = fresh(&node);
    draft.value += 1_000;
    draft.transactions = vec![spending];
    extend(&mut node, &draft);
    let words = "Transaction outputs already in utxo set".to_owned();
    assert_eq!(refused(&mut node, "sendrawtransaction", &json!([hex])), (-27, words));
}

#[test]
fn a_header_without_its_block_is_known_and_its_block_is_not() {
    let mut node = SimNode::new();
    let mut draft = fresh(&node);
    draft.witness = vec![vec![0; 31]];
    let block = draft.build();
    let word = ask(&mut node, "submitblock", &json!([serialize_hex(&block)]));
    assert_eq!(word, "bad-witness-nonce-size");
    let hash = json!([block.block_hash().to_string()]);
    assert_eq!(ask(&mut node, "getblockheader", &hash)["nTx"], 0);
    let words = "Block not available (not fully downloaded)".to_owned();
    assert_eq!(refused(&mut node, "getblock", &hash), (-1, words));
}
