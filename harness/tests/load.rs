//! `harness load`, small, at the real server in this process.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use harness::load::report::{Latency, Report, SharesReport};
use harness::load::stand::LoadNode;
use harness::load::{LoadError, LoadOptions, Mode, Target, run};
use harness::stack::RunningServer;
use server::pool::Counters;
use tokio::runtime::Runtime;

const HARNESS: &str = env!("CARGO_BIN_EXE_harness");

const OPTIONS: LoadOptions = LoadOptions {
    mode: Mode::Shares,
    connections: 5,
    depth: 4,
    rate: None,
    // More than enough: the shares end it.
    time: Duration::from_secs(30),
    shares: 400,
    nonces: 1,
    tips: 3,
    whole_later: false,
};

/// A server whose node has a few transactions, what was measured of it, and what it counted.
fn measure(options: &LoadOptions) -> (Result<Report, LoadError>, Counters) {
    measure_with(options, HARNESS)
}

/// The same, where the bare server is in another program.
fn measure_with(options: &LoadOptions, harness: &str) -> (Result<Report, LoadError>, Counters) {
    let runtime = Runtime::new().unwrap();
    let (node, server) = runtime.block_on(async {
        let node = LoadNode::start(options.mode, 20).await.unwrap();
        let server = RunningServer::start(&node.settings()).await.unwrap();
        (node, server)
    });
    let target = Target {
        address: server.address(),
        user: "load".to_owned(),
        pid: Some(std::process::id()),
        node: Some(node),
    };
    let report = run(options, &target, Path::new(harness));
    let counters = *server.counters().borrow();
    runtime.block_on(server.stop()).unwrap();
    (report, counters)
}

fn shares(options: &LoadOptions) -> SharesReport {
    let (report, counters) = measure(options);
    let Report::Shares(report) = report.unwrap() else { panic!("of another mode") };
    assert_eq!(report.accepted, options.shares, "{report:?}");
    assert_eq!((report.rejected, report.clean_jobs), (0, 0), "{report:?}");
    assert_eq!(counters.shares_accepted, options.shares);
    assert!(report.cpu_us_per_share.is_some_and(|cpu| cpu >= 0.0), "{report:?}");
    assert!(report.bare_cpu_us_per_share.is_some_and(|cpu| cpu >= 0.0), "{report:?}");
    assert!(ordered(report.latency), "{report:?}");
    report
}

/// Percentiles that rise, of something that took time.
fn ordered(latency: Latency) -> bool {
    let Latency { p50_us, p90_us, p99_us, p999_us, max_us } = latency;
    [1.0, p50_us, p90_us, p99_us, p999_us, max_us].is_sorted()
}

#[test]
fn every_ground_share_is_taken_at_full_speed() {
    let report = shares(&OPTIONS);
    assert_eq!((report.depth, report.connections), (4, 5));
    assert!(report.accepted_per_second > 10.0);
    let report = shares(&LoadOptions { nonces: 50, depth: 1, ..OPTIONS });
    assert_eq!((report.depth, report.nonces), (1, 50));
}

#[test]
fn a_rate_is_kept() {
    let report = shares(&LoadOptions { rate: Some(400.0), shares: 200, ..OPTIONS });
    assert!((0.4..20.0).contains(&report.seconds), "200 shares at 400 a second: {report:?}");
    assert_eq!(report.depth, 1);
}

#[test]
fn time_ends_it_while_shares_are_left() {
    let options = LoadOptions { rate: Some(50.0), time: Duration::from_millis(500), ..OPTIONS };
    let (report, counters) = measure(&options);
    let Report::Shares(report) = report.unwrap() else { panic!("of another mode") };
    assert!((5..=30).contains(&report.accepted), "{report:?}");
    assert_eq!(counters.shares_accepted, report.accepted);
}

#[test]
fn a_tip_reaches_every_miner_and_the_bare_loop_stands_beside_it() {
    let (report, counters) = measure(&LoadOptions { mode: Mode::Notify, ..OPTIONS });
    let Report::Notify(report) = report.unwrap() else { panic!("of another mode") };
    assert!(ordered(report.latency) && ordered(report.bare) && ordered(report.first));
    assert!(report.first.max_us <= report.latency.max_us);
    assert!(report.job_bytes > 300, "{report:?}");
    assert!(counters.jobs >= 4, "{counters:?}");
}

#[test]
fn the_bare_server_ends_with_its_input_and_so_with_whoever_started_it() {
    let arguments = ["bare-server", "--compressions=44", "--nonces=1"];
    let mut command = Command::new(HARNESS);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = command.spawn().unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(process.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    line.trim().parse::<u16>().unwrap();
    assert!(process.try_wait().unwrap().is_none(), "it serves");
    drop(process.stdin.take());
    assert!(process.wait().unwrap().success());
    output.read_to_string(&mut line).unwrap();
    assert_eq!(line.lines().count(), 1, "{line}");
}

#[test]
fn a_program_without_a_bare_server_is_said_before_anything_is_sent() {
    let (report, counters) = measure_with(&OPTIONS, "no-such-program");
    let error = report.unwrap_err().to_string();
    assert!(error.contains("bare server") && error.contains("no-such-program"), "{error}");
    assert_eq!(counters.shares_accepted, 0);
}

#[test]
fn idle_miners_are_weighed() {
    let (report, _) = measure(&LoadOptions { mode: Mode::Idle, connections: 50, ..OPTIONS });
    let Report::Idle(report) = report.unwrap() else { panic!("of another mode") };
    assert_eq!(report.connections, 50);
    assert!(report.rss_after_bytes.unwrap() > 1_000_000, "{report:?}");
    assert!(report.bytes_per_connection.unwrap() >= 0.0, "{report:?}");
}

#[test]
fn what_cannot_be_measured_is_said() {
    let nobody = Target {
        address: "127.0.0.1:9".parse().unwrap(),
        user: "load".to_owned(),
        pid: Some(0),
        node: None,
    };
    let options = LoadOptions { mode: Mode::Notify, ..OPTIONS };
    let error = run(&options, &nobody, Path::new(HARNESS)).unwrap_err();
    assert!(error.to_string().contains("leave --to out"), "{error}");
}
