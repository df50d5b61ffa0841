//! The simulated enforcer in front of the simulated node, over real sockets.

use std::net::Ipv4Addr;

use bitcoin::block::{Header, Version};
use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::{
    Amount, CompactTarget, OutPoint, ScriptBuf, Transaction, TxIn, TxMerkleNode, TxOut, Txid,
};
use tokio::time::timeout;

use super::*;
use crate::http::{NodeServer, SharedWorld, wall_clock};
use crate::sim::World;
use crate::sim::sidechain::{HStar, m7_script};

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const SLOT: u8 = 9;
const PATIENCE: Duration = Duration::from_secs(10);

/// A node, an enforcer in front of it, and who talks to it.
struct Rig {
    world: SharedWorld,
    _node: NodeServer,
    enforcer: EnforcerServer,
    client: RpcClient,
    verdicts: broadcast::Receiver<BlockVerdict>,
}

impl Rig {
    async fn start(options: EnforcerOptions) -> Self {
        let world = SharedWorld::new(World::new([], 1));
        let node = NodeServer::start(world.clone(), ANY_PORT, None, wall_clock()).await.unwrap();
        let upstream = RpcClient::new(node.address().to_string());
        let enforcer = EnforcerServer::start(upstream, ANY_PORT, options).await.unwrap();
        let client = RpcClient::new(enforcer.address().to_string());
        let verdicts = enforcer.verdicts();
        Self { world, _node: node, enforcer, client, verdicts }
    }

    /// Calls the enforcer as its callers must, strictly.
    async fn call(&self, method: &str, params: Value) -> Result<Value, String> {
        strict(self.enforcer.address(), method, params).await
    }

    async fn template(&self) -> Value {
        self.call("getblocktemplate", capable(json!({}))).await.unwrap()
    }

    async fn verdict(&mut self) -> BlockVerdict {
        timeout(PATIENCE, self.verdicts.recv()).await.unwrap().unwrap()
    }

    async fn tip(&self) -> BlockHash {
        self.world.with(|world| world.node().tip()).await
    }

    /// A bid for the child of the current tip.
    async fn bid(&self, h_star: HStar, fee: u64) {
        let bid = bid(self.tip().await, h_star, fee);
        let add = |world: &mut World| world.change_node(|node| node.add_transaction(bid, fee));
        self.world.with(add).await.unwrap();
    }
}

fn capable(mut options: Value) -> Value {
    options["capabilities"] = json!(["coinbasetxn"]);
    json!([options])
}

/// The harness's client sends what bitcoind's own does; the enforcer wants `"jsonrpc":"2.0"`.
async fn strict(address: SocketAddr, method: &str, params: Value) -> Result<Value, String> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let body = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
    let body = body.to_string();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut response)).await.unwrap().unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let mut answer: Value = serde_json::from_str(body).unwrap();
    assert_eq!((&answer["jsonrpc"], &answer["id"]), (&json!("2.0"), &json!(7)));
    match answer.get("error") {
        Some(error) => Err(error.to_string()),
        None => Ok(answer["result"].take()),
    }
}

fn bid(parent: BlockHash, h_star: HStar, number: u64) -> Transaction {
    let mut payload = vec![0x6a, 0x44, 0x00, 0xbf, 0x00, SLOT];
    payload.extend(h_star.0);
    payload.extend(parent.to_byte_array());
    let coin = Txid::from_byte_array([u8::try_from(number % 251).unwrap(); 32]);
    Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![TxIn { previous_output: OutPoint::new(coin, 0), ..TxIn::default() }],
        output: vec![TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::from_bytes(payload) }],
    }
}

/// A block that holds what the template says, with this coinbase.
fn block(template: &Value, coinbase: Transaction) -> Block {
    let others = template["transactions"].as_array().unwrap().iter();
    let others = others.map(|entry| deserialize_hex(entry["data"].as_str().unwrap()).unwrap());
    let number = |name: &str| u32::try_from(template[name].as_u64().unwrap()).unwrap();
    let bits = u32::from_str_radix(template["bits"].as_str().unwrap(), 16).unwrap();
    let header = Header {
        version: Version::from_consensus(number("version").cast_signed()),
        prev_blockhash: parent_of(template).unwrap(),
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

fn coinbase(template: &Value) -> Transaction {
    deserialize_hex(template["coinbasetxn"]["data"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn a_block_from_its_template_is_forwarded_and_kept() {
    let mut rig = Rig::start(EnforcerOptions::default()).await;
    let h_star = HStar([0xab; 32]);
    rig.bid(h_star, 500).await;
    rig.bid(HStar([1; 32]), 400).await;
    let template = rig.template().await;
    let coinbase = coinbase(&template);
    assert_eq!(coinbase.output[0].script_pubkey, m7_script(SLOT, h_star));
    assert_eq!(coinbase.output[1].value, Amount::from_sat(5_000_000_500));
    let block = block(&template, coinbase);
    let hex = serialize_hex(&block);
    assert_eq!(rig.call("submitblock", json!([hex, "dropped"])).await, Ok(Value::Null));
    assert_eq!(rig.verdict().await, BlockVerdict::Accepted(block.block_hash()));
    assert_eq!(rig.tip().await, block.block_hash());
    assert_eq!(rig.call("submitblock", json!([hex])).await, Ok(json!("duplicate")));
    let undecodable = rig.call("submitblock", json!(["00"])).await.unwrap_err();
    assert!(undecodable.contains("-22"), "{undecodable}");
}

#[tokio::test]
async fn a_block_without_the_commitment_is_taken_by_the_node_and_thrown_out() {
    let mut rig = Rig::start(EnforcerOptions::default()).await;
    let genesis = rig.tip().await;
    rig.bid(HStar([0xab; 32]), 500).await;
    let template = rig.template().await;
    let mut naive = coinbase(&template);
    naive.output.remove(0);
    let block = block(&template, naive);
    let hex = serialize_hex(&block);
    assert_eq!(rig.call("submitblock", json!([hex])).await, Ok(Value::Null));
    let BlockVerdict::Invalidated(hash, breaches) = rig.verdict().await else {
        panic!("it was kept")
    };
    assert_eq!(hash, block.block_hash());
    assert!(breaches.to_string().contains("has no M7 for that slot"), "{breaches}");
    assert_eq!(rig.tip().await, genesis);
}

/// Nobody sends these blocks through the enforcer, and one sits on another.
#[tokio::test]
async fn whoever_mined_it_every_block_is_judged() {
    let mut rig = Rig::start(EnforcerOptions::default()).await;
    let twice = m7_script(SLOT, HStar([1; 32]));
    let twice = TxOut { value: Amount::ZERO, script_pubkey: twice };
    let now = wall_clock()();
    let [good, bad] = rig
        .world
        .with(|world| {
            let good = world.mine_rival(world.node().tip(), now).unwrap();
            let bad = world.mine_rival_with(good, now, &[twice.clone(), twice]).unwrap();
            world.mine_rival(bad, now).unwrap();
            [good, bad]
        })
        .await;
    assert_eq!(rig.verdict().await, BlockVerdict::Accepted(good));
    assert!(matches!(rig.verdict().await, BlockVerdict::Invalidated(hash, _) if hash == bad));
    assert_eq!(rig.tip().await, good, "what was built on it went with it");
}

#[tokio::test]
async fn a_long_poll_wakes_for_a_tip_and_not_for_a_bid() {
    let rig = Rig::start(EnforcerOptions::default()).await;
    let id = rig.template().await["longpollid"].clone();
    let poll = capable(json!({ "longpollid": id }));
    let parked = tokio::spawn(strict(rig.enforcer.address(), "getblocktemplate", poll.clone()));
    rig.bid(HStar([1; 32]), 500).await;
    while rig.template().await["transactions"] == json!([]) {}
    assert!(!parked.is_finished());
    let tip = rig.tip().await;
    let hash = rig.world.with(|world| world.mine_rival(tip, wall_clock()())).await.unwrap();
    let woken = timeout(PATIENCE, parked).await.unwrap().unwrap().unwrap();
    assert_eq!(woken["previousblockhash"], json!(hash.to_string()));
    let stale = timeout(PATIENCE, rig.call("getblocktemplate", poll)).await.unwrap().unwrap();
    assert_eq!(stale["height"], 2, "an id of another tip is answered at once");
}

#[tokio::test]
async fn a_long_poll_ends_with_patience() {
    let options = EnforcerOptions {
        long_poll_patience: Duration::from_millis(50),
        ..EnforcerOptions::default()
    };
    let rig = Rig::start(options).await;
    let id = rig.template().await["longpollid"].clone();
    let began = Instant::now();
    let again = rig.call("getblocktemplate", capable(json!({ "longpollid": id }))).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(50));
    assert_eq!(again["height"], 1);
    assert_ne!(again["longpollid"], id);
}

#[tokio::test]
async fn after_a_new_tip_the_old_template_stays_for_a_moment() {
    let lag = Duration::from_millis(300);
    let mut rig = Rig::start(EnforcerOptions { lag, ..EnforcerOptions::default() }).await;
    let began = Instant::now();
    let tip = rig.tip().await;
    let hash = rig.world.with(|world| world.mine_rival(tip, wall_clock()())).await.unwrap();
    let old = rig.template().await;
    assert_eq!(old["height"], 1);
    assert_eq!(rig.verdict().await, BlockVerdict::Accepted(hash), "judging does not lag");
    let poll = capable(json!({ "longpollid": old["longpollid"] }));
    let new = rig.call("getblocktemplate", poll).await.unwrap();
    assert_eq!(new["height"], 2);
    assert!(began.elapsed() >= lag);
}

#[tokio::test]
async fn it_refuses_as_the_enforcer_does() {
    let rig = Rig::start(EnforcerOptions::default()).await;
    let refused = async |params| rig.call("getblocktemplate", params).await.unwrap_err();
    let plain = refused(json!([{ "rules": ["segwit"] }])).await;
    assert!(plain.contains("the `coinbasetxn` GBT capability is required"), "{plain}");
    rig.enforcer.set_condition(EnforcerCondition::Syncing);
    let syncing = refused(capable(json!({}))).await;
    assert!(syncing.contains("-10") && syncing.contains("still syncing"), "{syncing}");
    let word = rig.call("submitblock", json!(["00"])).await.unwrap_err();
    assert!(word.contains("-22"), "the node's own: {word}");
    rig.enforcer.set_condition(EnforcerCondition::MempoolUnavailable);
    let unavailable = refused(capable(json!({}))).await;
    assert!(unavailable.contains("-32603") && unavailable.contains("Mempool unavailable"));
    rig.enforcer.set_condition(EnforcerCondition::Ready);
    assert_eq!(rig.template().await["height"], 1);
    // Not strict: no "jsonrpc":"2.0".
    let lax = rig.client.call("getblocktemplate", capable(json!({}))).await.unwrap_err();
    assert_eq!(lax.code(), Some(-32600));
}

#[tokio::test]
async fn an_enforcer_without_a_node_says_so() {
    let nobody = std::net::TcpListener::bind(ANY_PORT).unwrap().local_addr().unwrap();
    let node = RpcClient::new(nobody.to_string());
    let error = EnforcerServer::start(node, ANY_PORT, EnforcerOptions::default()).await;
    let message = error.unwrap_err().to_string();
    assert!(message.contains("needs a template of its node first"), "{message}");
}
