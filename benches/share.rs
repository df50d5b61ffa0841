//! What does one share cost, before anything is decided about it?
//!
//! `mining::share::evaluate`: the coinbase hashed, climbed up the merkle branch, the header
//! hashed. Beside each number stands its physical limit: the SHA-256 compressions in it, at what
//! one costs in the same run.

use core::hint::black_box;

use benches::floor::{Fastest, Floor, share_compressions};
use benches::{EXTRANONCE1, TRANSACTION_COUNTS, candidate, job};
use criterion::{BenchmarkId, Criterion, Throughput};
use server::mining::share::evaluate;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let floor = Floor::measure();
    let mut group = criterion.benchmark_group("share");
    group.throughput(Throughput::Elements(1));
    for transactions in TRANSACTION_COUNTS {
        let job = job(transactions);
        let mut number = 0;
        let mut fastest = Fastest::default();
        group.bench_function(BenchmarkId::new("evaluate", transactions), |bencher| {
            bencher.iter_custom(|iterations| {
                fastest.time(iterations, || {
                    number += 1;
                    let candidate = candidate(job.id, job.template.time, number);
                    evaluate(&job, EXTRANONCE1, black_box(&candidate), job.version)
                })
            });
        });
        floor.compare(&fastest, share_compressions(&job));
    }
    group.finish();
    criterion.final_summary();
}
