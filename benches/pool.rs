//! How many shares a second does one whole `Pool` judge?
//!
//! The bytes of one share in, the bytes of its reply out, and the note that they left: two events
//! a share, each with its drain of actions and its question for the next wake, as the shell does
//! it. Every share is new, is accepted and is remembered against duplicates. Beside each number
//! stands the limit that its hashing alone sets.

use core::hint::black_box;
use std::time::{Duration, Instant};

use benches::floor::{Fastest, Floor, share_compressions};
use benches::rig::{Rig, two_tips};
use benches::{FULL, job};
use criterion::{BenchmarkId, Criterion, Throughput};

/// Shares of one tip: then the tip moves, outside the time, and the shares are forgotten.
const SHARES_A_TIP: u64 = 20_000;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let floor = Floor::measure();
    let mut group = criterion.benchmark_group("pool");
    group.throughput(Throughput::Elements(1));
    for (miners, transactions) in [(1, 0), (1, FULL), (20_000, FULL)] {
        let tips = two_tips(transactions);
        let mut rig = Rig::new(tips[0].clone(), miners);
        let mut next = tips.iter().cycle().skip(1);
        let mut fastest = Fastest::default();
        let name = BenchmarkId::new(format!("share/{miners}_miners"), transactions);
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let mut left = iterations;
                let mut spent = Duration::ZERO;
                while left > 0 {
                    let shares = left.min(SHARES_A_TIP);
                    if let Some(tip) = next.next() {
                        rig.await_question();
                        rig.move_tip(tip.clone());
                    }
                    spent += submit(&mut rig, shares);
                    left -= shares;
                }
                fastest.note(iterations, spent);
                spent
            });
        });
        floor.compare(&fastest, share_compressions(&job(transactions)));
    }
    group.finish();
    criterion.final_summary();
}

/// Submits so many shares and says how long that took.
fn submit(rig: &mut Rig, shares: u64) -> Duration {
    let lines = rig.lines(shares);
    let before = rig.counters().shares_accepted;
    let started = Instant::now();
    for (conn, line) in lines {
        black_box(rig.say(conn, line));
    }
    let spent = started.elapsed();
    assert_eq!(
        rig.counters().shares_accepted - before,
        shares,
        "a refusal is cheaper than a share"
    );
    spent
}
