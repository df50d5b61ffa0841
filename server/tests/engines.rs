//! Several engines in one process, from outside: miners on each, one data directory, one end.

#![cfg(feature = "runtime")]
#![expect(clippy::disallowed_methods, reason = "a test of the whole process touches the machine")]
#![expect(clippy::expect_used, clippy::panic, reason = "what fails here fails its test")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;

#[path = "support/folder.rs"]
mod folder;
#[path = "support/miner.rs"]
#[expect(dead_code, reason = "shell.rs uses the rest")]
mod miner;
#[path = "support/node.rs"]
#[expect(dead_code, reason = "shell.rs uses the rest")]
mod node;
#[path = "support/process.rs"]
mod process;

use folder::Folder;
use miner::Miner;
use node::{Answer, Node, PATIENCE};
use process::Process;

/// More than one address brings to its own engine while the others have none.
const MINERS: usize = 30;

fn start(node: &Node, folder: &Folder, engines: &str) -> (Process, SocketAddr) {
    let mut process = Process::start(node.port(), folder, &[("ENGINES", engines)]);
    let address = process.address();
    (process, address)
}

/// A miner of each engine, by the generation that its jobs have.
fn miner_of_each(address: SocketAddr) -> BTreeMap<u32, Miner> {
    let miners = (0..MINERS).map(|_| Miner::connect(address));
    miners.map(|miner| (miner.generation(), miner)).collect()
}

/// What `shares` adds up.
fn shares(folder: &Folder) -> u64 {
    let mut command = Command::new(env!("CARGO_BIN_EXE_drivechain-stratum"));
    command.args(["shares", "--json"]).env_clear().env("DATA_DIR", folder.path().join("data"));
    let output = command.current_dir(folder.path()).output().expect("cargo built it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    json["shares"].as_u64().expect("a number")
}

#[test]
fn each_engine_mines_and_what_one_left_pending_is_taken_up_once() {
    let (node, folder) = (Node::start(), Folder::of("engines"));
    let (process, address) = start(&node, &folder, "2");
    let mut miners = miner_of_each(address);
    assert_eq!(miners.keys().copied().collect::<Vec<_>>(), [1, 2]);
    for generation in [1, 2] {
        let miner = miners.get_mut(&generation).expect("one of each");
        let id = miner.submit_block();
        miner.accepted(id);
        // The node takes it for its new tip, and every engine hears of that.
        miners.values_mut().for_each(Miner::next_tip);
    }
    node.always("submitblock", Answer::Http(503, "busy".to_owned()));
    for miner in miners.values_mut() {
        let id = miner.submit_block();
        miner.accepted(id);
    }
    let pending = || folder.blocks("data/blocks").len();
    assert_eq!(pending(), 2);
    // Killed.
    drop(process);

    node.next("submitblock", []);
    let (mut process, address) = start(&node, &folder, "3");
    for _ in 0..2 {
        process.says("block judged");
    }
    assert_eq!(process.lines_with("offered again"), 2, "{:#?}", process.said);
    let mut miners = miner_of_each(address);
    assert_eq!(miners.keys().copied().collect::<Vec<_>>(), [3, 4, 5]);
    for generation in [3, 4, 5] {
        let miner = miners.get_mut(&generation).expect("one of each");
        let id = miner.submit_block();
        miner.accepted(id);
        miners.values_mut().for_each(Miner::next_tip);
    }
    process.stops();
    assert_eq!((pending(), folder.blocks("data/blocks/accepted").len()), (0, 7));
    for run in [3, 4, 5] {
        let file = folder.path().join(format!("data/shares/{run:010}-{:012}.jsonl", 1));
        assert!(file.exists(), "each engine has a file of its own: {}", file.display());
    }
    // What came last before the kill may not have been written.
    let counted = shares(&folder);
    assert!((3..=7).contains(&counted), "{counted}");

    let mut process = Process::start(node.port(), &folder, &[]);
    let mut miner = Miner::connect(process.address());
    assert_eq!(miner.generation(), 6);
    let id = miner.submit_block();
    miner.accepted(id);
    process.stops();
    assert_eq!(shares(&folder), counted + 1);
    assert!(!folder.path().join("data/engines").exists(), "one engine leaves what it always did");
}

#[test]
fn what_the_operator_says_reaches_every_engine() {
    let (node, folder) = (Node::start(), Folder::of("engines-told"));
    let settings = folder.path().join(".env");
    fs::write(&settings, "JOB_REFRESH_INTERVAL=300\n").expect("the folder is ours");
    let (mut process, address) = start(&node, &folder, "2");
    let mut miners = miner_of_each(address);
    fs::write(&settings, "JOB_REFRESH_INTERVAL=200\n").expect("the folder is ours");
    process.signal("HUP");
    process.says("count from now on");
    miners.values_mut().for_each(Miner::next_job);
    node.new_tip();
    miners.values_mut().for_each(Miner::next_tip);
    let lines = process.stops();
    // Each engine says so of itself, the server once.
    let stopping = lines.iter().filter(|line| line.contains("stopping")).count();
    assert_eq!(stopping, 2, "{lines:#?}");
    for miner in miners.values_mut() {
        while miner.hear().is_some() {}
    }
}

#[test]
fn limits_and_proxies_are_those_of_the_process() {
    let (node, folder) = (Node::start(), Folder::of("engines-doors"));
    let proxied = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr();
    let proxied = proxied.expect("it is bound");
    let port = format!(
        "[[listen]]\nhost = \"127.0.0.1\"\nport = {}\nproxy_protocol = [\"127.0.0.1\"]\n",
        proxied.port()
    );
    fs::write(folder.path().join("drivechain-stratum.toml"), port).expect("the folder is ours");
    let more = [("ENGINES", "2"), ("MAX_CONNECTIONS", "3")];
    let mut process = Process::start(node.port(), &folder, &more);
    let address = process.address();
    let mut miners: Vec<Miner> = (0..2).map(|_| Miner::connect(address)).collect();
    let mut stream = TcpStream::connect(proxied).expect("it listens");
    stream.write_all(b"PROXY TCP4 192.0.2.7 192.0.2.1 5 6\r\n").expect("it reads");
    miners.push(Miner::over(stream));
    assert!(process.says("peer=192.0.2.7:5").contains("miner connected"));
    let mut fourth = TcpStream::connect(address).expect("it listens");
    fourth.set_read_timeout(Some(PATIENCE)).expect("a plain option");
    assert_eq!(fourth.read(&mut [0]).expect("it is let go at once"), 0);
    // Its place is free again once somebody has left.
    drop(miners.pop());
    process.says("miner left");
    let mut next = Miner::connect(address);
    let id = next.submit_block();
    next.accepted(id);
    process.stops();
}

#[test]
fn an_engine_that_cannot_go_on_ends_all_with_its_reason() {
    let (node, folder) = (Node::start(), Folder::of("engines-fatal"));
    let body = "{\"result\":{\"chain\":\"main\",\"blocks\":1},\"id\":1}";
    node.always("getblockchaininfo", Answer::Http(200, body.to_owned()));
    let process = Process::start(node.port(), &folder, &[("ENGINES", "2")]);
    process.refuses(1, &["NETWORK=main"]);
}
