//! How many instructions is the way of one share through a whole `Pool`?
//!
//! Instructions say on a busy machine what they say on one at rest, where wall time says nothing.
//! This program only walks the way, a fixed number of times, for `ci/instructions` to count under
//! callgrind: what happens in `judge`, without what happens in SHA-256 (its instructions are those
//! of a CPU without SHA extensions there, many times what they really are).
//!
//! An argument says what is walked: `new` (the default), each share with an extranonce2 of its own;
//! `same`, all shares of one, which is what miners send.

use core::hint::black_box;
use std::env;

use benches::rig::{Rig, two_tips};
use bytes::Bytes;
use server::pool::event::ConnId;

/// Merkle branches are hashing and nothing else, so a short one will do.
const TRANSACTIONS: usize = 10;
/// Shares that are counted. Before them as many are not: what is grown by then stays so.
const SHARES: u64 = 2_000;

fn main() {
    let nonces = if env::args().any(|argument| argument == "same") { 2 * SHARES } else { 1 };
    let [tip, _] = two_tips(TRANSACTIONS);
    let mut rig = Rig::new(tip, 1);
    let lines = rig.lines_of(2 * SHARES, nonces);
    let (before, counted) = lines.split_at(lines.len() / 2);
    for (conn, line) in before {
        black_box(rig.say(*conn, line.clone()));
    }
    judge(&mut rig, counted);
    assert_eq!(rig.counters().shares_accepted, 2 * SHARES, "a refusal is cheaper than a share");
}

/// Known by its name to whoever counts.
#[inline(never)]
fn judge(rig: &mut Rig, lines: &[(ConnId, Bytes)]) {
    for (conn, line) in lines {
        black_box(rig.say(*conn, line.clone()));
    }
}
