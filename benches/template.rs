//! How long after the node's answer is the new job ready?
//!
//! A reply with 4,000 transactions, as bytes, to the bytes of `mining.notify`: its three steps
//! apart, then the whole way through a `Pool` with one miner, where bids are settled too (one of
//! two rivals leaves, so that the witness commitment is computed anew): once where the template
//! before held the same transactions, as at a refresh, once where all of them are new. Beside what
//! hashes stands its physical limit: the SHA-256 compressions that even a perfect server needs.

use std::sync::Arc;
use std::time::Instant;

use benches::floor::{Fastest, Floor, check_compressions, job_compressions};
use benches::rig::{Rig, two_tips, two_tips_apart};
use benches::{FULL, Reply, job_of, reply_bytes, template};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use server::mining::template::Template;
use server::node::rpc;
use server::stratum::message;

type Group<'c> = BenchmarkGroup<'c, WallTime>;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let floor = Floor::measure();
    let tips = two_tips(FULL);
    let mut group = criterion.benchmark_group("template");

    group.throughput(Throughput::Bytes(reply_bytes(&tips[0])));
    let mut fastest = Fastest::default();
    group.bench_function(BenchmarkId::new("parse", FULL), |bencher| {
        bencher.iter_custom(|iterations| fastest.time_each(iterations, || &tips[0], rpc::template));
    });
    fastest.print();

    group.throughput(Throughput::Elements(FULL as u64));
    let checked = template(FULL);
    let (check, job) = (check_compressions(&checked), job_compressions(&checked));
    let mut fastest = Fastest::default();
    group.bench_function(BenchmarkId::new("check", FULL), |bencher| {
        let read = || rpc::template(&tips[0]);
        bencher.iter_custom(|iterations| {
            fastest.time_each(iterations, read, |parts| parts.map(Template::check))
        });
    });
    floor.compare(&fastest, check);

    let mut fastest = Fastest::default();
    group.bench_function(BenchmarkId::new("job", FULL), |bencher| {
        bencher.iter_custom(|iterations| {
            let template = || Arc::clone(&checked);
            fastest.time_each(iterations, template, |template| {
                message::notify(&job_of(template), true)
            })
        });
    });
    floor.compare(&fastest, job);

    let fastest = whole(&mut group, "whole_all_known", &tips);
    fastest.print();
    let fastest = whole(&mut group, "whole_all_new", &two_tips_apart(FULL));
    floor.compare(&fastest, check + job);
    group.finish();
    criterion.final_summary();
}

/// From the node's answer to the miner's job, tip after tip. Waiting for the pool to ask is not in
/// the time.
fn whole(group: &mut Group<'_>, name: &str, tips: &[Reply; 2]) -> Fastest {
    let mut rig = Rig::new(tips[0].clone(), 1);
    let mut next = tips.iter().cycle().skip(1);
    let mut fastest = Fastest::default();
    group.bench_function(BenchmarkId::new(name, FULL), |bencher| {
        bencher.iter_custom(|iterations| {
            let mut move_once = |reply: &Reply| {
                rig.await_question();
                let reply = reply.clone();
                let started = Instant::now();
                let sent = rig.move_tip(reply).len();
                let spent = started.elapsed();
                assert_eq!(sent, 1, "a job for the only miner");
                fastest.note(1, spent);
                spent
            };
            (0..iterations).zip(next.by_ref()).map(|(_, reply)| move_once(reply)).sum()
        });
    });
    fastest
}
