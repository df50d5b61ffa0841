//! The container ring's own footing: a real bitcoind starts, mines, pays, makes templates, falls
//! over, comes back and goes away. What a server does with such a node is tested elsewhere.

#![expect(clippy::unwrap_used, reason = "a node that does not answer fails the test")]

use bitcoin::consensus::encode::deserialize_hex;
use bitcoin::{Amount, Transaction, Txid};
use harness::containers::{AddressKind, Bitcoind, BitcoindOptions, Wallet, wanted};
use serde_json::{Value, json};

/// A coinbase can be spent after this many blocks.
const MATURITY: u32 = 100;

/// A wallet whose only coin is the coinbase of one block, on an address of this kind.
async fn wallet_with_one_coin(node: &Bitcoind, name: &str, kind: AddressKind) -> Wallet {
    let wallet = node.create_wallet(name).await.unwrap();
    let address = wallet.address(kind).await.unwrap();
    node.generate(1, &address).await.unwrap();
    wallet
}

async fn template(node: &Bitcoind) -> Value {
    node.rpc("getblocktemplate", json!([{ "rules": ["segwit"] }])).await.unwrap()
}

fn find<'t>(template: &'t Value, txid: &Txid) -> &'t Value {
    let transactions = template["transactions"].as_array().unwrap();
    let wanted = txid.to_string();
    transactions.iter().find(|transaction| transaction["txid"] == wanted.as_str()).unwrap()
}

#[tokio::test]
async fn a_template_carries_legacy_and_segwit_payments() {
    if !wanted("a_template_carries_legacy_and_segwit_payments").unwrap() {
        return;
    }
    let node = Bitcoind::start(BitcoindOptions::default()).await.unwrap();
    assert!(node.rpc_address().ip().is_loopback());
    assert_eq!(node.height().await.unwrap(), 0);

    let legacy = wallet_with_one_coin(&node, "legacy", AddressKind::Legacy).await;
    let segwit = wallet_with_one_coin(&node, "segwit", AddressKind::Bech32m).await;
    let target = segwit.address(AddressKind::Bech32).await.unwrap();
    let hashes = node.generate(MATURITY, &target).await.unwrap();
    assert_eq!(node.height().await.unwrap(), 2 + MATURITY);
    assert_eq!(node.best_block_hash().await.unwrap(), *hashes.last().unwrap());
    assert_eq!(node.block_hash(3).await.unwrap(), hashes[0]);
    let tip = node.block(node.best_block_hash().await.unwrap()).await.unwrap();
    assert_eq!(tip.bip34_block_height(), Ok(u64::from(2 + MATURITY)));

    assert_eq!(legacy.balance().await.unwrap(), Amount::from_int_btc(50));
    let without_witness = legacy.send(&target, Amount::ONE_BTC).await.unwrap();
    let with_witness = segwit.split(3, Amount::ONE_BTC, AddressKind::P2shSegwit).await.unwrap();

    let template = template(&node).await;
    assert_eq!(template["height"], 3 + MATURITY);
    assert_eq!(template["transactions"].as_array().unwrap().len(), 2);
    for (txid, witnessed) in [(without_witness, false), (with_witness, true)] {
        let entry = find(&template, &txid);
        let transaction: Transaction = deserialize_hex(entry["data"].as_str().unwrap()).unwrap();
        assert_eq!(transaction.compute_txid(), txid);
        assert_eq!(entry["hash"] != entry["txid"], witnessed, "a witness changes the wtxid");
        assert_eq!(transaction.input.iter().any(|input| !input.witness.is_empty()), witnessed);
        assert!(entry["fee"].as_u64().unwrap() > 0);
    }
    let fees: u64 = template["transactions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["fee"].as_u64().unwrap())
        .sum();
    let subsidy = Amount::from_int_btc(50).to_sat();
    assert_eq!(template["coinbasevalue"].as_u64().unwrap(), subsidy + fees);
}

#[tokio::test]
async fn a_node_keeps_chain_and_ports_over_a_kill() {
    if !wanted("a_node_keeps_chain_and_ports_over_a_kill").unwrap() {
        return;
    }
    let node = Bitcoind::start(BitcoindOptions::default()).await.unwrap();
    let wallet = node.create_wallet("w").await.unwrap();
    let address = wallet.address(AddressKind::Bech32).await.unwrap();
    node.generate(3, &address).await.unwrap();
    node.restart().await.unwrap();
    let tip = node.best_block_hash().await.unwrap();
    assert_eq!(node.height().await.unwrap(), 3, "a node that was asked to end has flushed");

    node.kill().await.unwrap();
    node.rpc("getblockcount", json!([])).await.unwrap_err();
    node.start_again().await.unwrap();
    assert_eq!(node.best_block_hash().await.unwrap(), tip);

    node.pause().await.unwrap();
    let impatient = node.client().with_patience(std::time::Duration::from_millis(200));
    let failure = impatient.call("getblockcount", json!([])).await.unwrap_err();
    assert!(failure.to_string().contains("did not answer"), "{failure}");
    node.unpause().await.unwrap();
    assert_eq!(node.height().await.unwrap(), 3);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_method_are_told_apart() {
    if !wanted("a_wrong_password_and_an_unknown_method_are_told_apart").unwrap() {
        return;
    }
    let node = Bitcoind::start(BitcoindOptions::default()).await.unwrap();
    let stranger = node.client().with_credentials("harness", "wrong");
    let failure = stranger.call("getblockcount", json!([])).await.unwrap_err();
    assert!(failure.to_string().contains("HTTP 401"), "{failure}");
    let failure = node.rpc("nosuchmethod", json!([])).await.unwrap_err();
    assert_eq!(failure.code(), Some(-32601), "{failure}");
}

#[test]
fn a_node_is_removed_even_without_a_runtime() {
    if !wanted("a_node_is_removed_even_without_a_runtime").unwrap() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let node = runtime.block_on(Bitcoind::start(BitcoindOptions::default())).unwrap();
    let address = node.rpc_address();
    drop(runtime);
    drop(node);
    std::net::TcpStream::connect(address).expect_err("nothing listens once the container is gone");
}

#[tokio::test]
async fn a_node_that_cannot_start_says_why() {
    if !wanted("a_node_that_cannot_start_says_why").unwrap() {
        return;
    }
    let options = BitcoindOptions { extra_arguments: vec!["-nosuchoption=1".to_owned()] };
    let error = Bitcoind::start(options).await.unwrap_err().to_string();
    assert!(error.contains("ended before it was ready"), "{error}");
    assert!(error.contains("nosuchoption"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}
