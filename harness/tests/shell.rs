//! The real shell over simulated sockets: `server::runtime::run` and `simminer::runtime::run_over`
//! on turmoil's hosts, with the simulated node behind HTTP.
//!
//! For what the core's simulation cannot see: cancellation, back-pressure, lost wake-ups, ends in
//! the middle of something. Every run of the server is watched by the contract's monitor. Time is
//! simulated, threads (disk, hashing) are not; so a deadline is generous and no two runs are equal.

#![expect(clippy::wildcard_enum_match_arm, reason = "most of what a miner hears is no concern")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "whatever ends unexpectedly fails the test")]

#[path = "shell/hosts.rs"]
mod hosts;
#[path = "shell/net.rs"]
mod net;
#[path = "shell/stranger.rs"]
mod stranger;

use std::time::Duration;

use hosts::Stage;
use server::pool::action::{CloseReason, Halt};

const SOON: Duration = Duration::from_secs(30);
/// Longer than any back-off of miners.
const LATER: Duration = Duration::from_mins(3);

#[test]
fn a_miner_finds_blocks_that_the_node_takes() {
    let mut stage = Stage::new(|_| {});
    for height in 1..=3 {
        let summary = stage.mine_one_block(&format!("miner-{height}"));
        let (rejected, reconnects) = (summary.rejected, summary.reconnects);
        assert_eq!((summary.blocks, rejected, reconnects), (1, 0, 0), "{summary:?}");
        assert_eq!(stage.height(), height);
    }
    stage.until("all have left", SOON, |stage| stage.counters().sessions == 0);
    assert_eq!(stage.stop(), Halt::Stopped);
    let seen = stage.keep_contract();
    assert_eq!((seen.opened, seen.closed, seen.cut_off.len()), (3, 3, 0), "{seen:?}");
    // The generation, and three writes a block: the share that it is, too.
    assert_eq!(seen.persisted, 10, "{seen:?}");
}

#[test]
fn a_miner_that_does_not_read_is_cut_off_and_nobody_else() {
    let mut stage = Stage::new(|limits| limits.outbox_bytes = 8 * 1024);
    let sleeper = stage.sleeper("sleeper");
    stage.until("both are in", SOON, |stage| stage.counters().sessions == 1 && sleeper.is_in());
    let reader = stage.watchers("reader", 1);
    stage.until("it is in", SOON, |stage| stage.counters().sessions == 2);
    stage.until_with("the one is cut off", LATER, Stage::new_tip, |stage| {
        stage.counters().sessions == 1
    });
    assert_eq!(reader.disconnections(), Vec::<String>::new());
    stage.mine_one_block("miner");
    assert_eq!(stage.stop(), Halt::Stopped);
    let cut_off = stage.keep_contract().cut_off;
    assert_eq!(cut_off[0], CloseReason::SlowReader, "{cut_off:?}");
    assert!(cut_off[1..].iter().all(|why| *why == CloseReason::Stopping), "{cut_off:?}");
}

/// The peer goes while a write waits for room: reader and writer end at once, `Closed` comes once.
#[test]
fn a_connection_that_is_reset_during_a_write_is_closed_once() {
    let mut stage = Stage::new(|_| {});
    let sleeper = stage.sleeper("sleeper");
    stage.until("it is in", SOON, |stage| stage.counters().sessions == 1 && sleeper.is_in());
    let before = stage.counters().jobs;
    stage.until_with("a write waits", LATER, Stage::new_tip, |stage| {
        stage.counters().jobs > before + 2 * net::SEGMENTS_MAX
    });
    assert_eq!(stage.counters().sessions, 1, "it is not cut off yet");
    sleeper.reset();
    stage.until("it is gone", SOON, |stage| stage.counters().sessions == 0);
    stage.mine_one_block("miner");
    assert_eq!(stage.stop(), Halt::Stopped);
    let seen = stage.keep_contract();
    assert!(!seen.cut_off.contains(&CloseReason::SlowReader), "{seen:?}");
}

#[test]
fn a_stop_under_load_lets_go_of_everything_and_forgets_no_block_and_no_share() {
    let mut stage = Stage::new(|_| {});
    let watchers = stage.watchers("watchers", 10);
    let miners = [stage.miner("one", u64::MAX), stage.miner("other", u64::MAX)];
    stage.until("all are in and blocks come", LATER, |stage| {
        let counters = stage.counters();
        counters.sessions == 12 && counters.blocks_accepted >= 5
    });
    assert_eq!(stage.stop(), Halt::Stopped);
    stage.until("all heard of it", SOON, |_| {
        let miners_did = miners.iter().all(|miner| !miner.disconnections().is_empty());
        miners_did && watchers.disconnections().len() >= 10
    });
    let counted = stage.counters().shares_accepted;
    assert!(counted >= 5 && stage.shares() == counted, "{counted} {}", stage.shares());
    // Those who come back while it waits for its last blocks are sent away for the same reason.
    let cut_off = stage.keep_contract().cut_off;
    assert!(cut_off.len() >= 12, "{cut_off:?}");
    assert!(cut_off.iter().all(|why| *why == CloseReason::Stopping), "{cut_off:?}");
    // A block that a miner was told is safe is with the node, or on disk for the next start.
    for miner in &miners {
        for share in miner.blocks() {
            let hash = share.hash.to_string();
            assert!(stage.knows(&hash), "{hash} is neither with the node nor on disk");
        }
    }
}

#[test]
fn a_node_that_goes_and_comes_back_is_followed_again() {
    let mut stage = Stage::new(|_| {});
    let watcher = stage.watchers("watcher", 1);
    stage.mine_one_block("first");
    for round in 1..=3 {
        stage.sim.crash(hosts::NODE);
        // Longer than a call and its retries.
        stage.pass(Duration::from_secs(15));
        stage.sim.bounce(hosts::NODE);
        let before = stage.counters().jobs;
        stage.until("there is new work", LATER, |stage| stage.counters().jobs > before);
        stage.mine_one_block(&format!("after-{round}"));
    }
    assert_eq!(stage.counters().blocks_accepted, 4);
    assert_eq!(watcher.disconnections(), Vec::<String>::new());
    assert_eq!(stage.stop(), Halt::Stopped);
    stage.keep_contract();
}

#[test]
fn fifty_miners_come_back_at_once_after_a_crash() {
    const MINERS_AT_ONCE: usize = 50;
    const MINERS: u64 = MINERS_AT_ONCE as u64;
    let mut stage = Stage::new(|_| {});
    let watchers = stage.watchers("watchers", MINERS);
    stage.until("all are in", LATER, |stage| stage.counters().sessions == MINERS);
    stage.mine_one_block("before");
    stage.sim.crash(hosts::SERVER);
    stage.pass(Duration::from_secs(5));
    stage.sim.bounce(hosts::SERVER);
    stage.until("all are back", LATER, |_| watchers.leases().len() == 2 * MINERS_AT_ONCE);
    stage.until("they are counted", SOON, |stage| stage.counters().sessions == MINERS);
    for run in watchers.leases().chunks(MINERS_AT_ONCE) {
        let distinct: std::collections::BTreeSet<_> = run.iter().collect();
        assert_eq!(distinct.len(), run.len(), "no two miners search the same space");
    }
    stage.mine_one_block("after");
    assert_eq!(stage.stop(), Halt::Stopped);
    stage.keep_contract();
}

#[test]
fn a_block_found_while_the_node_is_out_of_reach_reaches_it_later() {
    let mut stage = Stage::new(|_| {});
    stage.sim.partition(hosts::SERVER, hosts::NODE);
    let miner = stage.miner("miner", 1);
    stage.until("it is told that its block is safe", SOON, |_| miner.summary().is_some());
    let found = miner.blocks()[0].hash.to_string();
    stage.pass(Duration::from_mins(1));
    let counters = stage.counters();
    assert_eq!((counters.blocks_found, counters.blocks_accepted), (1, 0));
    assert_eq!((stage.pending_blocks(), stage.height()), (1, 0), "on disk, not with the node");
    stage.sim.repair(hosts::SERVER, hosts::NODE);
    stage.until("the node has it", LATER, |stage| stage.counters().blocks_accepted == 1);
    assert_eq!(stage.tip(), found);
    stage.until("its file is put away", SOON, |stage| stage.pending_blocks() == 0);
    assert_eq!(stage.stop(), Halt::Stopped);
    stage.keep_contract();
}
