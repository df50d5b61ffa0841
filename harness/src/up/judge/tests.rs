//! What is shown, what counts, and how it ends.

use bitcoin::hashes::Hash as _;

use super::*;
use crate::sim::node::TipCause;

const SLOT: u8 = 9;
const CANDIDATE: HStar = HStar([7; 32]);
const OTHER: HStar = HStar([8; 32]);
const ZERO: HStar = HStar([0; 32]);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn judge(goal: Option<u64>, own_miners: u32) -> Judge {
    Judge::new(Duration::ZERO, SLOT, goal, own_miners)
}

fn block_hash() -> BlockHash {
    BlockHash::from_byte_array([1; 32])
}

fn accepted(m7s: &[(u8, HStar)]) -> Input {
    Input::World(WorldEvent::BlockAccepted {
        hash: block_hash(),
        height: 1,
        m7s: m7s.to_vec(),
        reserved_value_missing: false,
    })
}

fn advanced(h_star: HStar) -> Input {
    Input::World(WorldEvent::SidechainAdvanced { slot: SLOT, height: 1, h_star })
}

fn totals(sessions: u64, shares_accepted: u64) -> Input {
    Input::Totals(Counters { sessions, shares_accepted, ..Counters::default() })
}

/// Tells a judge of a block and whether the sidechain advanced by one; gives its number.
#[track_caller]
fn tell_block(judge: &mut Judge, advanced_by: Option<HStar>, m7s: &[(u8, HStar)]) -> Option<u64> {
    if let Some(h_star) = advanced_by {
        judge.handle(seconds(1), advanced(h_star));
        let cause = TipCause::Submitted;
        let tip = WorldEvent::TipChanged { hash: block_hash(), height: 1, cause };
        judge.handle(seconds(1), Input::World(tip));
    }
    let events = judge.handle(seconds(1), accepted(m7s));
    match &events[..] {
        [UpEvent::BlockAccepted { merge_mined, .. }] => *merge_mined,
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn only_blocks_that_the_sidechain_advanced_by_count() {
    let mut judge = judge(Some(2), 1);
    assert_eq!(tell_block(&mut judge, Some(CANDIDATE), &[(SLOT, CANDIDATE)]), Some(1));
    assert_eq!(judge.ending(), None);
    // The fallback for a sidechain that answers late.
    assert_eq!(tell_block(&mut judge, None, &[(SLOT, ZERO)]), None);
    assert_eq!(tell_block(&mut judge, None, &[]), None);
    // Another sidechain's commitment is its own affair.
    assert_eq!(tell_block(&mut judge, None, &[(SLOT + 1, OTHER)]), None);
    assert_eq!(judge.ending(), None);
    let both = [(SLOT + 1, OTHER), (SLOT, CANDIDATE)];
    assert_eq!(tell_block(&mut judge, Some(CANDIDATE), &both), Some(2));
    let ending = judge.ending().unwrap();
    assert_eq!((ending.exit_code(), ending.reason().contains("by 2 of our blocks")), (0, true));
}

#[test]
fn a_commitment_to_anything_else_is_a_broken_law() {
    for (advanced_by, m7s) in [
        (None, &[(SLOT, OTHER)][..]),
        (Some(CANDIDATE), &[(SLOT, OTHER)]),
        (Some(CANDIDATE), &[(SLOT, CANDIDATE), (SLOT, OTHER)]),
    ] {
        let mut judge = judge(Some(1), 1);
        assert_eq!(tell_block(&mut judge, advanced_by, m7s), None);
        let ending = judge.ending().unwrap();
        assert_eq!(ending.exit_code(), 1, "{m7s:?}");
        assert!(ending.reason().contains("BIP-0301 M7"), "{ending:?}");
    }
}

#[test]
fn a_block_of_somebody_else_lends_its_advance_to_nobody() {
    let mut judge = judge(Some(1), 1);
    judge.handle(seconds(0), advanced(CANDIDATE));
    assert_eq!(tell_block(&mut judge, None, &[(SLOT, ZERO)]), None);
    assert_eq!(tell_block(&mut judge, None, &[(SLOT, CANDIDATE)]), None);
    assert_eq!(judge.ending().unwrap().exit_code(), 1);
}

#[test]
fn a_refused_block_a_missing_witness_and_a_complaint_are_failures() {
    let refused =
        WorldEvent::BlockRefused { hash: block_hash(), reason: "bad-txnmrklroot".to_owned() };
    let incomplete = WorldEvent::BlockAccepted {
        hash: block_hash(),
        height: 1,
        m7s: vec![],
        reserved_value_missing: true,
    };
    for (input, reason) in [
        (Input::World(refused), "bad-txnmrklroot"),
        (Input::World(incomplete), "BIP-0141"),
        (Input::Fault("miner1 complains".to_owned()), "miner1 complains"),
    ] {
        let mut judge = judge(None, 1);
        judge.handle(seconds(1), input);
        // What comes later changes nothing.
        judge.handle(seconds(1), Input::Interrupted);
        let ending = judge.ending().unwrap();
        assert_eq!(ending.exit_code(), 1);
        assert!(ending.reason().contains(reason), "{ending:?}");
    }
}

#[test]
fn a_panic_outweighs_everything() {
    let mut judge = judge(None, 1);
    judge.handle(seconds(1), Input::Fault("a consequence".to_owned()));
    judge.handle(seconds(1), Input::Panicked);
    assert_eq!(judge.ending().unwrap().exit_code(), 3);
}

#[test]
fn stopping_is_success_unless_blocks_are_missing() {
    let mut endless = judge(None, 1);
    endless.handle(seconds(1), Input::Interrupted);
    assert_eq!(endless.ending().unwrap().exit_code(), 0);
    let mut short = judge(Some(2), 1);
    tell_block(&mut short, Some(CANDIDATE), &[(SLOT, CANDIDATE)]);
    short.handle(seconds(1), Input::Interrupted);
    let ending = short.ending().unwrap();
    assert_eq!((ending.exit_code(), ending.reason().contains("1 of 2")), (1, true), "{ending:?}");
}

#[test]
fn without_progress_it_ends_and_a_block_is_progress() {
    let mut judge = judge(Some(2), 1);
    assert_eq!(judge.deadline(), Some(PROGRESS_TIME_MAX));
    tell_block(&mut judge, Some(CANDIDATE), &[(SLOT, CANDIDATE)]);
    let due = seconds(1) + PROGRESS_TIME_MAX;
    assert_eq!(judge.deadline(), Some(due));
    tell_block(&mut judge, None, &[(SLOT, ZERO)]);
    assert_eq!(judge.deadline(), Some(due), "a block that does not count is no progress");
    assert!(judge.on_time(seconds(60)).is_none() && judge.ending().is_none());
    judge.on_time(due);
    let ending = judge.ending().unwrap();
    assert_eq!(ending.exit_code(), 4);
    assert!(ending.reason().contains("no merge-mined block for 60 s"), "{ending:?}");
}

#[test]
fn time_until_it_begins_does_not_count() {
    let judge = Judge::new(seconds(54), SLOT, Some(2), 1);
    assert_eq!(judge.deadline(), Some(seconds(54) + PROGRESS_TIME_MAX));
}

#[test]
fn time_without_hardware_does_not_count() {
    let mut judge = judge(Some(1), 0);
    assert_eq!(judge.deadline(), None);
    // The connection that watches is no miner.
    judge.handle(seconds(500), totals(1, 0));
    assert_eq!((judge.deadline(), judge.ending()), (None, None));
    judge.handle(seconds(600), totals(2, 0));
    assert_eq!(judge.deadline(), Some(seconds(600).min(seconds(500)) + PROGRESS_TIME_MAX));
}

#[test]
fn without_a_goal_nobody_counts_the_time() {
    let mut judge = judge(None, 1);
    assert!(judge.on_time(seconds(1_000_000)).is_none());
    assert_eq!((judge.deadline(), judge.ending()), (None, None));
}

#[test]
fn totals_are_shown_once_a_second_when_they_changed() {
    let mut judge = judge(None, 2);
    let mut shown = |now: Duration, input| {
        let events = judge.handle(now, input);
        match &events[..] {
            [] => None,
            [UpEvent::Shares { accepted, miners, .. }] => Some((*accepted, *miners)),
            other => unreachable!("{other:?}"),
        }
    };
    assert_eq!(shown(seconds(1), totals(3, 5)), Some((5, 2)));
    assert_eq!(shown(Duration::from_millis(1_999), totals(3, 6)), None);
    assert_eq!(shown(seconds(2), totals(3, 7)), Some((7, 2)));
    assert_eq!(shown(seconds(9), totals(3, 7)), None);
    assert_eq!(judge.deadline(), None);
    judge.handle(seconds(9), totals(3, 8));
    assert_eq!(judge.deadline(), None, "shown at once, the last time is long ago");
}

#[test]
fn a_refresh_that_changes_nothing_is_not_shown() {
    let mut judge = judge(None, 1);
    let mut shown = |height, clean, m7s: &[(u8, HStar)]| {
        let job = Input::Job { id: "1-1".to_owned(), height, clean, m7s: m7s.to_vec() };
        judge.handle(seconds(0), job).len()
    };
    assert_eq!(shown(1, true, &[(SLOT, ZERO)]), 1);
    assert_eq!(shown(1, false, &[(SLOT, ZERO)]), 0);
    assert_eq!(shown(1, false, &[(SLOT, CANDIDATE)]), 1);
    assert_eq!(shown(1, false, &[(SLOT, CANDIDATE)]), 0);
    assert_eq!(shown(1, true, &[(SLOT, CANDIDATE)]), 1);
}
