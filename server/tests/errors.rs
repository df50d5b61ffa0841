//! What an operator sees when something is wrong: the real binary, its exit code, its lines.
//!
//! Every trouble has one line that says what happened and what to do. What cannot pass by itself
//! ends the process; what can is waited for. Not here: every single setting, see `settings.rs`.

#![cfg(feature = "runtime")]
#![expect(clippy::disallowed_methods, reason = "a test of the whole process touches the machine")]
#![expect(clippy::expect_used, clippy::panic, reason = "what fails here fails its test")]

use std::net::TcpListener;
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use std::{fs, thread};

#[path = "support/folder.rs"]
#[expect(dead_code, reason = "shell.rs uses the rest")]
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
use node::{Answer, H_STAR, Node, PATIENCE, Reserved, refusal};
use process::Process;

fn unauthorized() -> Answer {
    Answer::Http(401, String::new())
}

#[test]
fn a_wrong_password_ends_it() {
    let (node, folder) = (Node::start(), Folder::of("password"));
    node.always("getblockchaininfo", unauthorized());
    let process = Process::start(node.port(), &folder, &[]);
    process.refuses(1, &["does not let us in", "RPC_USER", "RPC_PASSWORD"]);
}

#[test]
fn another_network_ends_it() {
    let (node, folder) = (Node::start(), Folder::of("network"));
    let main = r#"{"result":{"chain":"main","blocks":900000},"error":null,"id":1}"#;
    node.always("getblockchaininfo", Answer::Http(200, main.to_owned()));
    let process = Process::start(node.port(), &folder, &[]);
    process.refuses(1, &["\"main\"", "NETWORK=main", "RPC_PORT"]);
}

#[test]
fn a_node_that_is_not_there_is_waited_for() {
    let (address, folder) = (Reserved::new(), Folder::of("absent"));
    let mut process = Process::start(address.port(), &folder, &[]);
    let server = process.address();
    let line = process.says("cannot connect");
    assert!(line.contains("WARN") && line.contains("RPC_HOST and RPC_PORT"), "{line}");
    assert!(line.contains(&address.port().to_string()), "{line}");
    let node = Node::at(address);
    process.says("miners are let in");
    let mut miner = Miner::connect(server);
    let id = miner.submit_block();
    miner.accepted(id);
    node.called("submitblock");
    process.says("accepted");
    let said = process.stops();
    let about = |text| said.iter().filter(|line| line.contains(text)).count();
    assert_eq!((about("node trouble"), about("node works again")), (1, 1), "{said:#?}");
    assert_eq!(about(" ERROR "), 0, "{said:#?}");
}

#[test]
fn a_node_that_starts_or_syncs_is_waited_for() {
    let (node, folder) = (Node::start(), Folder::of("sync"));
    let loading = || refusal(-28, "Loading block index...");
    node.next("getblockchaininfo", [loading(), loading(), loading()]);
    let syncing = || refusal(-10, "Bitcoin Core is in initial sync and waiting for blocks...");
    node.next("getblocktemplate", [syncing(), syncing(), syncing()]);
    let mut process = Process::start(node.port(), &folder, &[]);
    // Not by the codes, which may stand in the date before each line.
    let line = process.says("it is starting up");
    assert!(line.contains("WARN") && line.contains("-28"), "{line}");
    let line = process.says("mining starts after it");
    assert!(line.contains("WARN") && line.contains("-10"), "{line}");
    process.says("new job");
    let said = process.stops();
    let about = |text| said.iter().filter(|line| line.contains(text)).count();
    assert_eq!((about("node trouble"), about("node works again")), (2, 2), "{said:#?}");
}

#[test]
fn a_node_that_talks_nonsense_is_waited_for() {
    let nonsense = [
        ("html", Answer::Http(200, "<html>hello</html>".to_owned()), "no JSON-RPC reply"),
        ("half", Answer::Http(200, "{\"result\":{\"chain\":\"reg".to_owned()), "no JSON-RPC reply"),
        ("error", Answer::Http(500, "Internal Server Error".to_owned()), "HTTP 500"),
        ("early", Answer::Raw("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{"), "broke"),
        ("nothing", Answer::Raw(""), "broke"),
        ("ssh", Answer::Raw("SSH-2.0-OpenSSH_9.2\r\n"), "broke"),
    ];
    for (name, answer, problem) in nonsense {
        let (node, folder) = (Node::start(), Folder::of(name));
        node.next("getblockchaininfo", [answer]);
        let mut process = Process::start(node.port(), &folder, &[]);
        let line = process.says("node trouble");
        assert!(line.contains(problem), "{name}: {line}");
        process.says("new job");
        let said = process.stops();
        assert!(said.iter().any(|line| line.contains("node works again")), "{said:#?}");
    }
}

#[test]
fn a_sidechain_daemon_that_is_not_there_is_said_once_and_mined_without() {
    let (node, daemon, folder) = (Node::start(), Reserved::new(), Folder::of("daemon"));
    let port = daemon.port().to_string();
    let more = [
        ("ENABLE_SIDECHAIN", "true"),
        ("SIDECHAIN_NUMBER", "9"),
        ("SC_RPC_PORT", &port),
        ("JOB_REFRESH_INTERVAL", "1"),
    ];
    let mut process = Process::start(node.port(), &folder, &more);
    let line = process.says("gave no h*");
    assert!(line.contains("WARN") && line.contains("SC_RPC_PORT"), "{line}");
    process.says("new job");
    process.says("new job");
    let daemon = Node::at(daemon);
    process.says("sidechain daemon works again");
    daemon.called("getbestblockhash");
    process.says(H_STAR);
    let said = process.stops();
    let about = said.iter().filter(|line| line.contains("gave no h*")).count();
    assert_eq!(about, 1, "{said:#?}");
}

#[test]
fn a_port_in_use_ends_it() {
    let (node, folder) = (Node::start(), Folder::of("port"));
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = other.local_addr().expect("it is bound").port().to_string();
    let process = Process::start(node.port(), &folder, &[("STRATUM_PORT", &port)]);
    process.refuses(1, &["cannot listen", &format!("127.0.0.1:{port}"), "STRATUM_PORT"]);
}

/// Two servers that wait for the node may both hold the port; one of them gets it.
#[test]
fn a_port_that_another_waiting_server_takes_ends_it_too() {
    let (one, two) = (Folder::of("first"), Folder::of("second"));
    let (address, wanted) = (Reserved::new(), Reserved::new());
    let stratum = wanted.port().to_string();
    let settings = [("STRATUM_PORT", stratum.as_str())];
    let mut first = Process::start(address.port(), &one, &settings);
    first.says("cannot connect");
    let mut second = Process::start(address.port(), &two, &settings);
    second.says("cannot connect");
    let _node = Node::at(address);
    first.says("new job");
    second.says("new job");
    // Which of the two is the kernel's choice.
    let (told, code) = channel();
    for mut process in [first, second] {
        let told = told.clone();
        thread::spawn(move || {
            let code = process.ends();
            told.send((code, core::mem::take(&mut process.said))).unwrap_or_default();
        });
    }
    let (code, said) = code.recv_timeout(PATIENCE).expect("one of them ends");
    assert_eq!(code, Some(1), "{said:#?}");
    let last = said.last().expect("it says why");
    assert!(last.contains("STRATUM_PORT") && last.contains(&stratum), "{last}");
}

#[test]
fn settings_that_make_no_sense_end_it_with_2() {
    let folder = Folder::of("settings");
    let start = |more: &[(&str, &str)]| Process::start(1, &folder, more);
    start(&[("MINER_PKH_HEX", "12345")]).refuses(2, &["MINER_PKH_HEX=12345", "40 hex digits"]);
    let sidechain = [("ENABLE_SIDECHAIN", "true"), ("SIDECHAIN_NUMBER", "256")];
    start(&sidechain).refuses(2, &["SIDECHAIN_NUMBER=256", "255"]);
    let mainnet = [("NETWORK", "main"), ("MINER_PKH_HEX", "")];
    start(&mainnet).refuses(2, &["MINER_PKH_HEX", "PAYOUT_ADDRESS", "main"]);
}

#[test]
fn a_data_directory_that_cannot_be_used_ends_it() {
    let folder = Folder::of("disk");
    let file = folder.path().join("file");
    fs::write(&file, "in the way").expect("the folder is ours");
    let below = file.join("data");
    let process = Process::start(1, &folder, &[("DATA_DIR", below.to_str().expect("ASCII"))]);
    process.refuses(1, &["data directory cannot be used", "set DATA_DIR"]);

    let damaged = folder.path().join("data/generation");
    fs::create_dir(folder.path().join("data")).expect("the folder is ours");
    fs::write(&damaged, "\0\0\0").expect("the folder is ours");
    let process = Process::start(1, &folder, &[]);
    process.refuses(1, &["data/generation does not hold a number", "higher than any"]);
}

/// Runs `shares` beside or after a server; exit code, what it prints, what it says.
fn shares(folder: &Folder, more: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_drivechain-stratum"));
    command.env_clear().current_dir(folder.path()).args(["shares", "--data-dir", "data"]);
    let output = command.args(more).output().expect("cargo built it");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn shares_are_added_up_from_the_log_and_a_damaged_one_is_refused() {
    let (node, folder) = (Node::start(), Folder::of("shares"));
    let mut process = Process::start(node.port(), &folder, &[]);
    let mut miner = Miner::connect(process.address());
    let log = folder.path().join("data/shares/0000000001-000000000001.jsonl");
    for count in 1..=2 {
        let id = miner.submit_block();
        miner.accepted(id);
        // In a batch of its own, so that the second proves the first.
        let until = Instant::now() + PATIENCE;
        while fs::read_to_string(&log).unwrap_or_default().lines().count() < count {
            assert!(Instant::now() < until, "share {count} is not written");
            thread::yield_now();
        }
        node.new_tip();
        miner.next_tip();
    }
    process.stops();
    // The network's difficulty, which is below one.
    let (code, table, said) = shares(&folder, &[]);
    let words: Vec<&str> = table.split_whitespace().collect();
    let sum = "0.0000000009313084746";
    let expected = ["worker", "shares", "difficulty", "w", "2", sum, "all", "2", sum];
    assert_eq!(
        (code, words, said.contains("error")),
        (Some(0), expected.to_vec(), false),
        "{said}"
    );
    let (code, json, _) = shares(&folder, &["--json", "--until", "1"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let nothing = serde_json::json!({"workers": [], "shares": 0, "difficulty": "0"});
    assert_eq!((code, json), (Some(0), nothing));
    let lines = fs::read(&log).expect("it was written");
    fs::write(&log, [&lines[..9], b"8", &lines[10..]].concat()).expect("it is ours");
    let (code, table, said) = shares(&folder, &[]);
    assert_eq!((code, table.as_str()), (Some(1), ""));
    let words = ["0000000001-000000000001.jsonl", "line 1", "move the file out"];
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
    Process::start(node.port(), &folder, &[]).refuses(1, &words);
}

/// Runs `doctor` with a node at `port`; exit code and what it prints.
fn doctor(port: u16, folder: &Folder, more: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_drivechain-stratum"));
    command.env_clear().current_dir(folder.path()).arg("doctor").args(more);
    command.envs([("RPC_PORT", port.to_string().as_str()), ("STRATUM_PORT", "0")]);
    let output = command.output().expect("cargo built it");
    (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"))
}

#[test]
fn the_doctor_says_what_fails_and_the_shell_hears_it() {
    let (node, folder) = (Node::start(), Folder::of("doctor"));
    // Its clock stands still, and nothing else is wrong.
    let (code, text) = doctor(node.port(), &folder, &[]);
    assert_eq!((code, text.matches("FAILED").count()), (Some(1), 1), "{text}");
    assert!(text.contains("FAILED       clock") && text.contains("by NTP"), "{text}");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let template = serde_json::json!({ "result": {
        "version": 0x2000_0000, "previousblockhash": "0a".repeat(32), "transactions": [],
        "coinbasevalue": 5_000_000_000_u64, "curtime": now, "bits": "207fffff", "height": 101,
    } });
    node.always("getblocktemplate", Answer::Http(200, template.to_string()));
    let (code, text) = doctor(node.port(), &folder, &[]);
    assert_eq!((code, text.matches("FAILED").count()), (Some(0), 0), "{text}");
    node.always("getblockchaininfo", refusal(-28, "Loading block index"));
    let (code, json) = doctor(node.port(), &folder, &["--json"]);
    let document: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((code, document["well"].as_bool()), (Some(1), Some(false)));
    let checks = document["checks"].as_array().expect("a list");
    let failed: Vec<&serde_json::Value> =
        checks.iter().filter(|check| check["verdict"] == "failed").collect();
    assert_eq!(failed.len(), 1, "{json}");
    let (check, fix) = (&failed[0]["check"], &failed[0]["fix"]);
    assert_eq!((check, fix), (&"chain".into(), &"it is starting up".into()));
    assert_eq!(folder.path().read_dir().expect("ours").count(), 0, "nothing is left behind");
    let (code, text) = doctor(node.port(), &folder, &["--no-such-flag"]);
    assert_eq!((code, text.as_str()), (Some(2), ""));
}

#[test]
fn one_data_directory_is_for_one_server() {
    let (address, folder) = (Reserved::new(), Folder::of("two"));
    let mut first = Process::start(address.port(), &folder, &[]);
    first.says("cannot connect");
    let second = Process::start(address.port(), &folder, &[]);
    second.refuses(1, &["in use by another server", "DATA_DIR"]);
    first.stops();
}

#[test]
fn a_json_log_is_one_object_a_line() {
    let (node, folder) = (Node::start(), Folder::of("json"));
    node.next("getblockchaininfo", [refusal(-28, "two\nlines \"quoted\"")]);
    let mut process = Process::start(node.port(), &folder, &[("LOG_FORMAT", "json")]);
    process.says("new job");
    let said = process.stops();
    for line in &said {
        let object: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let has = |key| object.get(key).is_some_and(serde_json::Value::is_string);
        assert!(has("timestamp") && has("level") && has("message"), "{line}");
    }
    let messages = said.join("\n");
    for message in ["drivechain-stratum starts", "node trouble", "new tip", "new job", "stopped"] {
        assert!(messages.contains(message), "{message:?} is missing: {said:#?}");
    }
}
