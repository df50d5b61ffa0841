//! The doctor before a real bitcoind: well where all is well, and one thing wrong at a time seen as
//! that thing, with what to do about it.

#![expect(clippy::unwrap_used, reason = "a node that does not answer fails the test")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::containers::{AddressKind, Bitcoind, BitcoindOptions, RPC_PASSWORD, RPC_USER, wanted};
use harness::http::{EnforcerOptions, EnforcerServer, Follower, SidechainServer};
use harness::sim::sidechain::Sidechain;
use harness::stack::RunningServer;
use server::doctor::{Line, Report, Verdict, examine};
use server::settings;
use tempfile::TempDir;

/// A key hash that nobody has.
const KEY_HASH: &str = "89abcdefabbaabbaabbaabbaabbaabbaabbaabba";
const SLOT: u8 = 9;
/// Longer than all questions to a node that hangs take, each in its own time.
const HANGING_MAX: Duration = Duration::from_mins(1);

/// A node with a sidechain beside it, and the settings of a server that mines on both.
struct Site {
    node: Bitcoind,
    _daemon: SidechainServer,
    daemon_port: u16,
    data_dir: TempDir,
}

impl Site {
    async fn start() -> Self {
        let node = Bitcoind::start(BitcoindOptions::default()).await.unwrap();
        let sidechain = Sidechain::new(SLOT, 1, node.best_block_hash().await.unwrap());
        let follower = Arc::new(Follower::new(sidechain, node.client()));
        let loopback = ([127, 0, 0, 1], 0).into();
        let daemon = SidechainServer::start_following(follower, loopback, None).await.unwrap();
        let daemon_port = daemon.address().port();
        Self { node, _daemon: daemon, daemon_port, data_dir: TempDir::new().unwrap() }
    }

    /// What a server needs to be told.
    fn environment(&self) -> BTreeMap<String, OsString> {
        let texts = [
            ("NETWORK", "regtest".to_owned()),
            ("RPC_PORT", self.node.rpc_address().port().to_string()),
            ("RPC_USER", RPC_USER.to_owned()),
            ("RPC_PASSWORD", RPC_PASSWORD.to_owned()),
            ("NODE_ZMQ", format!("tcp://{}", self.node.zmq_address())),
            ("ENABLE_SIDECHAIN", "true".to_owned()),
            ("SIDECHAIN_NUMBER", SLOT.to_string()),
            ("SC_RPC_PORT", self.daemon_port.to_string()),
            ("MINER_PKH_HEX", KEY_HASH.to_owned()),
            ("STRATUM_HOST", "127.0.0.1".to_owned()),
            ("STRATUM_PORT", "0".to_owned()),
            ("DATA_DIR", self.data_dir.path().display().to_string()),
        ];
        texts.into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect()
    }

    /// What the doctor says where these settings are others.
    async fn with(&self, changes: &[(&str, &str)], toml: &str) -> Report {
        let mut environment = self.environment();
        for (name, value) in changes {
            environment.insert((*name).to_owned(), value.into());
        }
        let file = |path: &Path| match path.extension() {
            Some(extension) if extension == "toml" => Ok(toml.to_owned()),
            Some(_) | None => Err(std::io::ErrorKind::NotFound.into()),
        };
        let args = ["drivechain-stratum".into(), "doctor".into()];
        let loaded = settings::load(args.into_iter(), &environment, &file).unwrap();
        examine(&loaded.settings).await
    }
}

/// The first check of this name.
fn line<'r>(report: &'r Report, check: &str) -> &'r Line {
    let mut lines = report.sections.iter().flat_map(|section| &section.lines);
    lines.find(|line| line.check == check).unwrap()
}

/// One thing is wrong, and it is said to be that.
#[track_caller]
fn fails(report: &Report, check: &str, seen: &str, fix: &str) {
    let found = line(report, check);
    let (its, text) = (found.fix.clone().unwrap_or_default(), report.text());
    assert_eq!(found.verdict, Verdict::Failed, "{text}");
    assert!(found.seen.contains(seen) && its.contains(fix), "{text}");
    assert_eq!(report.count(Verdict::Failed), 1, "{text}");
    assert!(!report.is_well());
}

#[track_caller]
fn not_checked(report: &Report, checks: &[&str]) {
    for check in checks {
        assert_eq!(line(report, check).verdict, Verdict::NotChecked, "{}", report.text());
    }
}

#[tokio::test]
async fn where_all_is_well_everything_passes() {
    if !wanted("where_all_is_well_everything_passes").unwrap() {
        return;
    }
    let site = Site::start().await;
    let wallet = site.node.create_wallet("w").await.unwrap();
    let to = wallet.address(AddressKind::Bech32).await.unwrap();
    site.node.generate(101, &to).await.unwrap();
    wallet.send(&to, bitcoin::Amount::ONE_BTC).await.unwrap();
    let second = format!(
        "[[node]]\nport = {}\nuser = {RPC_USER:?}\npassword = {RPC_PASSWORD:?}\nsubmit_only = true",
        site.node.rpc_address().port()
    );
    let report = site.with(&[], &second).await;
    let text = report.text();
    assert!(report.is_well(), "{text}");
    // How fast the disk is, how much is free and how many files may be open is the machine's.
    let ours = ["reachable", "login", "chain", "sync", "peers", "template", "proposal", "clock"];
    let others = ["zmq", "h*", "payout", "data directory", "port"];
    for check in ours.into_iter().chain(others) {
        assert_eq!(line(&report, check).verdict, Verdict::Passed, "{check}: {text}");
    }
    assert!(line(&report, "template").seen.contains("block 102: 1 transactions"), "{text}");
    assert!(line(&report, "payout").seen.contains(" sat"), "{text}");
    let second = &report.sections[1];
    assert!(second.subject.contains("submit_only"), "{text}");
    let skipped = second.lines.iter().filter(|line| line.verdict == Verdict::NotChecked);
    let skipped: Vec<&str> = skipped.map(|line| line.check).collect();
    assert_eq!(skipped, ["template", "proposal", "clock", "zmq"], "{text}");

    let (loopback, options) = (([127, 0, 0, 1], 0).into(), EnforcerOptions::default());
    let enforcer = EnforcerServer::start(site.node.client(), loopback, options).await.unwrap();
    let port = enforcer.address().port().to_string();
    let report = site.with(&[("RPC_PORT", &port)], "").await;
    let text = report.text();
    assert!(report.is_well(), "{text}");
    not_checked(&report, &["chain", "sync", "peers", "proposal"]);
    assert!(line(&report, "template").seen.contains("an enforcer's"), "{text}");
}

#[tokio::test]
async fn each_thing_that_is_wrong_is_seen_as_that() {
    if !wanted("each_thing_that_is_wrong_is_seen_as_that").unwrap() {
        return;
    }
    let site = Site::start().await;
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let after_login = ["chain", "sync", "peers", "template", "proposal", "clock"];

    let report = site.with(&[("RPC_PASSWORD", "wrong")], "").await;
    fails(&report, "login", "HTTP 401", "RPC_PASSWORD");
    not_checked(&report, &after_login);
    let report = site.with(&[("RPC_USER", ""), ("RPC_COOKIE_FILE", "/no/.cookie")], "").await;
    fails(&report, "login", "/no/.cookie", "RPC_COOKIE_FILE");
    let report = site.with(&[("RPC_PORT", &dead)], "").await;
    fails(&report, "reachable", "refused", "RPC_PORT");
    not_checked(&report, &["login"]);
    not_checked(&report, &after_login);
    let not_rpc = site.node.zmq_address().port().to_string();
    fails(&site.with(&[("RPC_PORT", &not_rpc)], "").await, "reachable", "", "RPC_PORT");
    let report = site.with(&[("NETWORK", "testnet4")], "").await;
    fails(&report, "chain", "\"regtest\"", "NETWORK=regtest");
    not_checked(&report, &after_login[1..]);

    let zmq = format!("tcp://127.0.0.1:{dead}");
    let report = site.with(&[("NODE_ZMQ", &zmq)], "").await;
    fails(&report, "zmq", "refused", "sequence at tcp://0.0.0.0:28332");
    let report = site.with(&[("NODE_ZMQ", "")], "").await;
    assert!(report.is_well() && line(&report, "zmq").verdict == Verdict::Warning);

    let report = site.with(&[("SC_RPC_PORT", &dead)], "").await;
    fails(&report, "h*", "refused", "start the sidechain's daemon");
    let node_port = site.node.rpc_address().port().to_string();
    fails(&site.with(&[("SC_RPC_PORT", &node_port)], "").await, "h*", "401", "password");
    let thunder = format!("[[sidechain]]\nslot=9\nkind=\"thunder\"\nport={}", site.daemon_port);
    let report = site.with(&[("ENABLE_SIDECHAIN", "false")], &thunder).await;
    fails(&report, "h*", "of kind \"bestblock\"", "kind = \"bestblock\"");

    // Even who may do everything cannot write there.
    let report = site.with(&[("DATA_DIR", "/proc/doctor")], "").await;
    fails(&report, "data directory", "/proc", "DATA_DIR");
    not_checked(&report, &["fsync"]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let report = site.with(&[("STRATUM_PORT", &port)], "").await;
    fails(&report, "port", "in use", "STRATUM_PORT");
    let unusable =
        "[[listen]]\nport = 0\nhost = \"127.0.0.1\"\ntls_cert = \"/no/c\"\ntls_key = \"/no/k\"";
    fails(&site.with(&[], unusable).await, "certificate", "/no/c", "tls_cert");
    let second = format!("[[node]]\nport = {node_port}\nuser = \"x\"\npassword = \"y\"");
    let report = site.with(&[], &second).await;
    assert_eq!(report.sections[1].lines[1].check, "login");
    assert!(report.sections[1].lines[1].fix.clone().unwrap().contains("in its [[node]]"));
    assert_eq!(report.count(Verdict::Failed), 1, "{}", report.text());
}

#[tokio::test]
async fn a_running_server_is_told_from_a_stranger() {
    if !wanted("a_running_server_is_told_from_a_stranger").unwrap() {
        return;
    }
    let site = Site::start().await;
    let environment = site.environment();
    let environment: Vec<(&str, String)> = environment
        .iter()
        .filter(|(name, _)| *name != "DATA_DIR")
        .map(|(name, value)| (name.as_str(), value.clone().into_string().unwrap()))
        .collect();
    let server = RunningServer::start(&environment).await.unwrap();
    server.until_open().await.unwrap();
    let (port, data_dir) = (server.address().port().to_string(), server.data_dir().to_owned());
    let report =
        site.with(&[("STRATUM_PORT", &port), ("DATA_DIR", data_dir.to_str().unwrap())], "").await;
    let text = report.text();
    assert!(report.is_well(), "{text}");
    assert!(line(&report, "data directory").seen.contains("a running server has it"), "{text}");
    assert!(line(&report, "port").seen.contains("as it should be"), "{text}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_node_that_hangs_does_not_hang_the_doctor() {
    if !wanted("a_node_that_hangs_does_not_hang_the_doctor").unwrap() {
        return;
    }
    let site = Site::start().await;
    site.node.pause().await.unwrap();
    let began = Instant::now();
    let report = site.with(&[("ENABLE_SIDECHAIN", "false"), ("NODE_ZMQ", "")], "").await;
    assert!(began.elapsed() < HANGING_MAX);
    site.node.unpause().await.unwrap();
    fails(&report, "reachable", "no answer within 10 s", "busy");
}
