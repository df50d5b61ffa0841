//! `harness up` as its user meets it: the real binary, its lines and its exit codes.

#![expect(clippy::unwrap_used, reason = "a program that cannot be run fails the test")]

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};

use harness::containers::wanted;
use harness::http::{Credentials, NodeServer, SharedWorld, wall_clock};
use harness::sim::World;
use serde_json::Value;
use simminer::runtime::Options;
use tokio::sync::mpsc;

const SLOT: u8 = 9;

fn up(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
    command.arg("up").args(arguments).stdin(Stdio::null());
    command
}

fn finished(arguments: &[&str]) -> Output {
    up(arguments).output().unwrap()
}

fn events(stdout: &[u8]) -> Vec<Value> {
    stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

fn of_kind<'a>(events: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    events.iter().filter(move |event| event["event"] == kind)
}

/// A run that passed with this many merge-mined blocks; its events.
#[track_caller]
fn assert_mined(output: &Output, blocks: u32) -> Vec<Value> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let events = events(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{stderr}\n{events:#?}");
    assert_eq!(events[0]["event"], "started");

    let sidechain: Vec<&Value> = of_kind(&events, "sidechain").collect();
    let accepted: Vec<&Value> = of_kind(&events, "block_accepted")
        .filter(|block| !block["merge_mined"].is_null())
        .collect();
    let expected: Vec<u32> = (1..=blocks).collect();
    let numbers = |events: &[&Value], field: &str| -> Vec<u32> {
        events.iter().map(|event| serde_json::from_value(event[field].clone()).unwrap()).collect()
    };
    assert_eq!(numbers(&accepted, "merge_mined"), expected);
    assert_eq!(numbers(&sidechain, "height"), expected);
    for (block, advance) in accepted.iter().zip(&sidechain) {
        let m7 = &block["m7s"][0];
        assert_eq!((&m7["slot"], &m7["h_star"]), (&advance["slot"], &advance["h_star"]));
    }
    // What is committed to is read from jobs as well; a quick miner may be ahead of the one that
    // only watches, so not from each.
    let announced: Vec<&Value> = of_kind(&events, "job").map(|job| &job["m7s"][0]).collect();
    assert!(accepted.iter().any(|block| announced.contains(&&block["m7s"][0])), "{announced:?}");
    let distinct: BTreeSet<String> =
        accepted.iter().map(|block| block["m7s"][0]["h_star"].to_string()).collect();
    assert_eq!(distinct.len(), accepted.len(), "the candidate changes with each block");

    let last = events.last().unwrap();
    assert_eq!(last["event"], "finished");
    assert_eq!((&last["exit_code"], &last["merge_mined"]), (&0.into(), &blocks.into()));
    assert_eq!(last["sidechain_height"], blocks);
    assert!(last["shares_accepted"].as_u64().unwrap() >= u64::from(blocks));
    events
}

/// A run that could not start: its code, and the one line it says.
#[track_caller]
fn assert_refused(output: &Output, code: i32) -> String {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(output.stdout.is_empty(), "{output:?}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    stderr
}

#[test]
fn five_blocks_are_mined_and_the_ports_are_named_first() {
    let events = assert_mined(&finished(&["--blocks", "5", "--json"]), 5);
    let started = &events[0];
    let addresses: BTreeSet<SocketAddr> =
        [&started["node"]["rpc"], &started["sidechain"]["rpc"], &started["stratum"]]
            .map(|address| address.as_str().unwrap().parse().unwrap())
            .into();
    assert_eq!(addresses.len(), 3, "{started}");
    assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() != 0));
    assert_eq!((&started["slot"], &started["miners"]), (&SLOT.into(), &1.into()));
}

/// Bids are seen within a second and live for one block, so these runs keep a pace.
#[test]
fn bids_advance_the_sidechain_blind_and_behind_an_enforcer() {
    for way in ["blind", "enforcer"] {
        let events = assert_mined(&finished(&["--blocks", "3", "--bmm", way, "--json"]), 3);
        let started = &events[0];
        assert!(started["bmm"].as_str().unwrap().starts_with(way), "{started}");
        assert_eq!(started["enforcer"].is_string(), way == "enforcer", "{started}");
    }
}

#[test]
fn people_get_lines_and_nothing_on_standard_error() {
    let output = finished(&["--blocks", "2", "--slot", "77"]);
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stdout}");
    for part in ["JSON-RPC at http://", "stratum+tcp://127.0.0.1:", "slot 77 advanced to height 2"]
    {
        assert!(stdout.contains(part), "{stdout}");
    }
    assert!(stdout.lines().last().unwrap().contains("passed"), "{stdout}");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn two_miners_mine_one_chain() {
    let events = assert_mined(&finished(&["--blocks", "6", "--miners", "2", "--json"]), 6);
    assert_eq!(events[0]["miners"], 2);
}

/// A child that is ended with its test, whatever becomes of that.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, mostly.
        self.0.kill().unwrap_or_default();
        self.0.wait().ok();
    }
}

/// Starts a run; gives it with its first event and what reads the others.
fn running(arguments: &[&str]) -> (Running, Value, impl Iterator<Item = Value>) {
    let mut child = up(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut events = lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap());
    let started = events.next().unwrap();
    (Running(child), started, events)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miner_from_outside_is_as_good() {
    let (mut child, started, events) = running(&["--blocks", "4", "--miners", "0", "--json"]);
    let url = format!("stratum+tcp://{}", started["stratum"].as_str().unwrap());
    let mut options = Options::new(url.parse().unwrap(), "outside");
    options.client.persona.unanswered_max = 1;
    options.rate_max = Some(50.0);
    let (told, _heard) = mpsc::channel(1);
    let mining = tokio::spawn(simminer::runtime::run(options, told, std::future::pending()));
    let last = tokio::task::spawn_blocking(move || events.last().unwrap()).await.unwrap();
    mining.abort();
    assert_eq!((&last["event"], &last["merge_mined"]), (&"finished".into(), &4.into()), "{last}");
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
}

#[test]
fn an_interrupt_is_a_way_to_end() {
    for (arguments, code) in [(&["--json"][..], 0), (&["--json", "--blocks", "40000"], 1)] {
        let (mut child, _started, mut events) = running(arguments);
        events.find(|event| event["event"] == "block_accepted").unwrap();
        let interrupt = format!("kill -INT {}", child.0.id());
        assert!(Command::new("sh").args(["-c", &interrupt]).status().unwrap().success());
        let last = events.last().unwrap();
        assert_eq!(last["event"], "finished");
        assert!(last["reason"].as_str().unwrap().contains("stopped when asked"), "{last}");
        assert_eq!(child.0.wait().unwrap().code(), Some(code));
    }
}

#[test]
fn a_reader_that_goes_away_ends_it() {
    let (mut child, _started, events) = running(&["--json"]);
    drop(events);
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
}

#[test]
fn a_command_line_without_sense_exits_with_2() {
    for arguments in [&["--blocks", "0"][..], &["--node", "ftp://127.0.0.1"], &["--nonsense"]] {
        let output = finished(arguments);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{output:?}");
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let line = assert_refused(&finished(&["--stratum", &port]), 1);
    assert!(line.contains(&format!("127.0.0.1:{port}")), "{line}");
    assert!(line.contains("--stratum PORT"), "{line}");
}

/// A simulated node as it stands for the user's own.
async fn node_of_the_user() -> NodeServer {
    let world = SharedWorld::new(World::new([], 0));
    let credentials = Some(Credentials::new("me", "secret"));
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    NodeServer::start(world, any_port, credentials, wall_clock()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_the_users_own_is_mined_on_again_and_again() {
    let node = node_of_the_user().await;
    let url = format!("http://me:secret@{}", node.address());
    for _ in 0..2 {
        let arguments = ["--node", &url, "--blocks", "3", "--json"].map(str::to_owned);
        let run = move || finished(&arguments.each_ref().map(String::as_str));
        let output = tokio::task::spawn_blocking(run).await.unwrap();
        let events = assert_mined(&output, 3);
        assert_eq!(events[0]["node"]["rpc"], node.address().to_string());
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(!said.contains("secret"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_no_use_gets_one_line() {
    let node = node_of_the_user().await;
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    for (url, says) in [
        (format!("http://me:wrong@{}", node.address()), "refuses this user and password"),
        (format!("http://{}", node.address()), "refuses this user and password"),
        (format!("http://me:secret@{nobody}"), "is the node running?"),
    ] {
        let run = move || finished(&["--node", &url]);
        let output = tokio::task::spawn_blocking(run).await.unwrap();
        let line = assert_refused(&output, 1);
        assert!(line.contains(says) && !line.contains("secret"), "{line}");
    }
}

#[test]
fn a_bitcoind_in_a_container_takes_our_blocks_and_goes_away() {
    if !wanted("a_bitcoind_in_a_container_takes_our_blocks_and_goes_away").unwrap() {
        return;
    }
    let output = finished(&["--node", "bitcoind", "--blocks", "3", "--json"]);
    let events = assert_mined(&output, 3);
    for port in [&events[0]["node"]["rpc"], &events[0]["node_zmq"]] {
        let address: SocketAddr = port.as_str().unwrap().parse().unwrap();
        TcpStream::connect(address).expect_err("the container is gone");
    }
}

/// An enforcer's coinbase does not begin with the payout, and the block is ours all the same.
#[test]
fn an_enforcer_before_a_bitcoind_gives_templates_and_keeps_our_blocks() {
    if !wanted("an_enforcer_before_a_bitcoind_gives_templates_and_keeps_our_blocks").unwrap() {
        return;
    }
    let line = ["--node", "bitcoind", "--bmm", "enforcer", "--blocks", "2", "--json"];
    assert_mined(&finished(&line), 2);
}
