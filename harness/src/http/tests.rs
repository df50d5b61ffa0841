//! The simulated daemons over real sockets, through a client of a few lines.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

use bitcoin::hashes::Hash as _;
use bitcoin::{BlockHash, TxOut};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};
use zeromq::{Socket as _, SocketRecv as _};

use super::*;
use crate::rpc::RpcClient;
use crate::sim::chain::genesis;
use crate::sim::node::TipCause;
use crate::sim::sidechain::{HStar, Sidechain, m7_script};

const NOW: u32 = 1_800_000_000;
const SLOT: u8 = 9;
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// "user:secret" in base 64.
const AUTHORIZED: &str = "Authorization: Basic dXNlcjpzZWNyZXQ=\r\n";

fn fixed_clock() -> Clock {
    Arc::new(|| NOW)
}

async fn node_server(world: &SharedWorld, credentials: Option<Credentials>) -> NodeServer {
    NodeServer::start(world.clone(), ANY_PORT, credentials, fixed_clock()).await.unwrap()
}

/// One request on a connection of its own; everything that comes back.
async fn exchange(address: SocketAddr, request_line: &str, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let request = format!(
        "{request_line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\
         Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    match stream.read_to_string(&mut response).await {
        Ok(_) => response,
        Err(error) => format!("{response}<{}>", error.kind()),
    }
}

async fn post(address: SocketAddr, headers: &str, body: &Value) -> (String, Value) {
    let response = exchange(address, "POST /", headers, &body.to_string()).await;
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or((&response, ""));
    let status = head.split_ascii_whitespace().nth(1).unwrap_or_default().to_owned();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

async fn ask(address: SocketAddr, method: &str, params: Value) -> Value {
    let (status, answer) =
        post(address, "", &json!({ "id": 1, "method": method, "params": params })).await;
    assert_eq!(status, "200", "{answer}");
    answer["result"].clone()
}

#[tokio::test]
async fn strangers_are_turned_away_as_bitcoind_does() {
    let world = SharedWorld::new(World::new([SLOT], 1));
    let server = node_server(&world, Some(Credentials::new("user", "secret"))).await;
    let body = r#"{"id":1,"method":"getblockcount"}"#;
    for headers in ["", "Authorization: Basic dXNlcjp3cm9uZw==\r\n", "Authorization: x\r\n"] {
        let response = exchange(server.address(), "POST /", headers, body).await;
        assert!(response.starts_with("HTTP/1.1 401 "), "{response}");
        let challenge = "www-authenticate: basic realm=\"jsonrpc\"";
        assert!(response.to_ascii_lowercase().contains(challenge), "{response}");
        assert!(response.ends_with("\r\n\r\n"), "{response}");
    }
    let response = exchange(server.address(), "POST /", AUTHORIZED, body).await;
    assert!(response.starts_with("HTTP/1.1 200 OK"), "{response}");
    assert!(response.ends_with("{\"result\":0,\"error\":null,\"id\":1}\n"), "{response}");
}

#[tokio::test]
async fn other_paths_methods_and_calls_get_bitcoinds_statuses() {
    let world = SharedWorld::new(World::new([SLOT], 1));
    let address = node_server(&world, None).await;
    let address = &address;
    let status = async |line: &str, body: &str| {
        exchange(address.address(), line, "", body).await[9..12].to_owned()
    };
    assert_eq!(status("POST /elsewhere", "{}").await, "404");
    assert_eq!(status("GET /", "").await, "405");
    assert_eq!(status("POST /", "{").await, "500");
    assert_eq!(status("POST /", "{}").await, "400");
    assert_eq!(status("POST /", r#"{"id":1,"method":"stop"}"#).await, "404");
    let (_, answer) = post(address.address(), "", &json!({ "id": 1, "method": "stop" })).await;
    assert_eq!(answer["error"], json!({ "code": -32601, "message": "Method not found" }));
}

#[tokio::test]
async fn a_parked_long_poll_wakes_when_the_tip_changes() {
    let world = SharedWorld::new(World::new([SLOT], 1));
    let mut events = world.subscribe();
    let server = node_server(&world, None).await;
    let address = server.address();
    let rules = json!({ "rules": ["segwit"] });
    let id = ask(address, "getblocktemplate", json!([rules])).await["longpollid"].clone();
    let request = json!([{ "rules": ["segwit"], "longpollid": id }]);
    let parked = tokio::spawn(ask(address, "getblocktemplate", request));
    // The node answers others meanwhile.
    assert_eq!(ask(address, "getblockcount", json!([])).await, 0);
    assert!(!parked.is_finished());
    let hash = world.with(|world| world.mine_rival(world.node().tip(), NOW)).await.unwrap();
    let template = parked.await.unwrap();
    assert_eq!(
        (&template["height"], &template["previousblockhash"]),
        (&json!(2), &json!(hash.to_string()))
    );
    let event = events.recv().await.unwrap();
    assert_eq!(event, WorldEvent::TipChanged { hash, height: 1, cause: TipCause::Rival });
}

#[tokio::test]
async fn tips_are_published_as_bitcoind_does() {
    let world = SharedWorld::new(World::new([SLOT], 1));
    let publisher = Publisher::start(&world).await.unwrap();
    let mut socket = zeromq::SubSocket::new();
    socket.subscribe("hashblock").await.unwrap();
    socket.connect(&format!("tcp://{}", publisher.address())).await.unwrap();
    // Who subscribes is heard of when the first message goes out, and that one may miss him.
    for number in 1_u8.. {
        let mined = world.with(|world| world.mine_rival(world.node().tip(), NOW)).await;
        let mut shown = mined.unwrap().to_byte_array();
        shown.reverse();
        let message = timeout(Duration::from_millis(100), socket.recv()).await;
        let Ok(message) = message else {
            assert!(number < 20, "nothing is published");
            continue;
        };
        let message = message.unwrap();
        assert_eq!(message.get(0).unwrap()[..], b"hashblock"[..]);
        assert_eq!(message.get(1).unwrap()[..], shown);
        assert_eq!(message.get(2).unwrap()[..], u32::from(number - 1).to_le_bytes());
        break;
    }
}

/// The node's clock jumps by a minute once both requests are in; the server then waits one second.
#[tokio::test]
async fn a_parked_long_poll_looks_at_the_mempool_after_a_minute() {
    let world = SharedWorld::new(World::new([SLOT], 1));
    let readings = AtomicU32::new(0);
    let clock: Clock = Arc::new(move || {
        let reading = readings.fetch_add(1, Ordering::Relaxed);
        if reading < 2 { NOW } else { NOW + 60 }
    });
    let server = NodeServer::start(world.clone(), ANY_PORT, None, clock).await.unwrap();
    let rules = json!({ "rules": ["segwit"] });
    let id = ask(server.address(), "getblocktemplate", json!([rules])).await["longpollid"].clone();
    let tx = bitcoin::Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![bitcoin::TxIn {
            previous_output: bitcoin::OutPoint::new(bitcoin::Txid::all_zeros(), 0),
            ..bitcoin::TxIn::default()
        }],
        output: vec![TxOut {
            value: bitcoin::Amount::ONE_SAT,
            script_pubkey: m7_script(SLOT, HStar([1; 32])),
        }],
    };
    world.with(|world| world.change_node(|node| node.add_transaction(tx, 50))).await.unwrap();
    let request = json!([{ "rules": ["segwit"], "longpollid": id }]);
    let template = ask(server.address(), "getblocktemplate", request).await;
    assert_eq!(template["transactions"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_submitted_block_with_the_candidate_advances_the_sidechain() {
    let world = SharedWorld::new(World::new([SLOT], 1));
    let mut events = world.subscribe();
    let node = node_server(&world, None).await;
    let sidechain = SidechainServer::start(world.clone(), SLOT, ANY_PORT, None).await.unwrap();
    let h_star = ask(sidechain.address(), "getbestblockhash", json!([])).await;
    let h_star = HStar(bitcoin::hex::FromHex::from_hex(h_star.as_str().unwrap()).unwrap());

    // Another node with the same genesis builds the block, this one only hears of it.
    let mut builder = World::new([], 0);
    let outputs = [TxOut { value: bitcoin::Amount::ZERO, script_pubkey: m7_script(SLOT, h_star) }];
    let hash = builder.mine_rival_with(builder.node().tip(), NOW, &outputs).unwrap();
    let block = builder.node().block(hash).unwrap();
    let hex = bitcoin::consensus::encode::serialize_hex(&**block);
    assert_eq!(ask(node.address(), "submitblock", json!([hex])).await, Value::Null);
    assert_eq!(ask(sidechain.address(), "getblockcount", json!([])).await, 1);
    assert_eq!(ask(node.address(), "submitblock", json!([hex])).await, "duplicate");

    let advanced = WorldEvent::SidechainAdvanced { slot: SLOT, height: 1, h_star };
    assert_eq!(events.recv().await.unwrap(), advanced);
    let tip = WorldEvent::TipChanged { hash, height: 1, cause: TipCause::Submitted };
    assert_eq!(events.recv().await.unwrap(), tip);
    let m7s = vec![(SLOT, h_star)];
    let accepted =
        WorldEvent::BlockAccepted { hash, height: 1, m7s, reserved_value_missing: false };
    assert_eq!(events.recv().await.unwrap(), accepted);
}

#[tokio::test]
async fn a_sidechain_that_is_down_cuts_the_connection() {
    let world = SharedWorld::new(World::new([SLOT], 1));
    let server = SidechainServer::start(world.clone(), SLOT, ANY_PORT, None).await.unwrap();
    world.with(|world| world.sidechain_mut(SLOT).unwrap().set_down(true)).await;
    let (status, _) = post(server.address(), "", &json!({ "id": 1, "method": "x" })).await;
    assert_eq!(status, "");
    world.with(|world| world.sidechain_mut(SLOT).unwrap().set_down(false)).await;
    assert_eq!(ask(server.address(), "getblockcount", json!([])).await, 0);
}

#[tokio::test]
async fn a_dropped_server_frees_its_port_and_cuts_its_connections() {
    let world = SharedWorld::new(World::new([SLOT], 1));
    let server = node_server(&world, None).await;
    let address = server.address();
    let taken = NodeServer::start(world.clone(), address, None, fixed_clock()).await;
    let message = taken.unwrap_err().to_string();
    assert!(message.contains(&address.to_string()) && message.contains("choose another"));
    let mut idle = TcpStream::connect(address).await.unwrap();
    assert_eq!(ask(address, "getblockcount", json!([])).await, 0);
    drop(server);
    assert!(matches!(idle.read(&mut [0]).await, Ok(0) | Err(_)));
    assert!(TcpStream::connect(address).await.is_err());
}

/// The harness's own client of a node, as it is used on a real one.
fn client(server: &NodeServer) -> RpcClient {
    RpcClient::new(server.address().to_string()).with_credentials("user", "secret")
}

#[tokio::test]
async fn a_follower_catches_up_before_it_answers() {
    let world = SharedWorld::new(World::new([SLOT], 1));
    let node = node_server(&world, Some(Credentials::new("user", "secret"))).await;
    let chain = Sidechain::new(SLOT, 1, genesis().block_hash());
    let follower = Arc::new(Follower::new(chain, client(&node)));
    let server =
        SidechainServer::start_following(Arc::clone(&follower), ANY_PORT, None).await.unwrap();
    let candidate = async || {
        let told = ask(server.address(), "getbestblockhash", json!([])).await;
        let embedded = world.with(|world| world.sidechain(SLOT).unwrap().candidate()).await;
        assert_eq!(told, embedded.to_string());
        embedded
    };
    let merge_mine = async |parent: BlockHash, h_star: HStar| {
        let script_pubkey = m7_script(SLOT, h_star);
        let outputs = [TxOut { value: bitcoin::Amount::ZERO, script_pubkey }];
        world.with(|world| world.mine_rival_with(parent, NOW, &outputs)).await.unwrap()
    };
    let start = genesis().block_hash();
    let first = merge_mine(start, candidate().await).await;
    merge_mine(first, candidate().await).await;
    assert_eq!(ask(server.address(), "getblockcount", json!([])).await, 2);
    // The mainchain goes back by two and on by three.
    world.with(|world| world.change_node(|node| node.invalidate(first))).await.unwrap();
    assert_eq!(ask(server.address(), "getblockcount", json!([])).await, 0);
    let mut parent = start;
    for _ in 0..3 {
        parent = world.with(|world| world.mine_rival(parent, NOW)).await.unwrap();
    }
    candidate().await;
    merge_mine(parent, candidate().await).await;
    assert_eq!(follower.catch_up().await.unwrap().len(), 1);
    assert_eq!(follower.with(|chain| chain.height()).await, 1);
}

#[tokio::test]
async fn a_follower_of_another_network_says_so() {
    let world = SharedWorld::new(World::new([], 0));
    world.with(|world| world.mine_rival(world.node().tip(), NOW)).await.unwrap();
    let elsewhere = Sidechain::new(SLOT, 1, world.with(|world| world.node().tip()).await);
    let node = node_server(&SharedWorld::new(World::new([], 0)), None).await;
    let follower = Follower::new(elsewhere, client(&node));
    assert!(matches!(follower.catch_up().await, Err(FollowError::OtherChain(_))));
    let server =
        SidechainServer::start_following(Arc::new(follower), ANY_PORT, None).await.unwrap();
    let request = json!({ "id": 1, "method": "getbestblockhash" });
    let (status, answer) = post(server.address(), "", &request).await;
    assert_eq!((status.as_str(), &answer["error"]["code"]), ("500", &json!(-1)));
    drop(node);
    let (status, answer) = post(server.address(), "", &request).await;
    let message = answer["error"]["message"].as_str().unwrap();
    assert_eq!(status, "500");
    assert!(message.starts_with("the mainchain node did not say"), "{message}");
}
