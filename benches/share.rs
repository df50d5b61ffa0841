//! What does one share cost, before anything is decided about it?
//!
//! `mining::share`: the coinbase hashed, climbed up the merkle branch, the header hashed; and the
//! header alone, where the root is known from a share before. Beside each number stands its
//! physical limit: the SHA-256 compressions in it, at what one costs in the same run.

use core::hint::black_box;

use benches::floor::{Fastest, Floor, HEADER_COMPRESSIONS, share_compressions};
use benches::{EXTRANONCE1, TRANSACTION_COUNTS, candidate, job};
use criterion::{BenchmarkId, Criterion, Throughput};
use server::mining::share::{evaluate, root};

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
                    let candidate = black_box(candidate);
                    let root = root(&job, EXTRANONCE1, candidate.extranonce2);
                    evaluate(&job, &root, &candidate, job.version)
                })
            });
        });
        floor.compare(&fastest, share_compressions(&job));
    }
    let (job, root) = (job(0), black_box([7; 32]));
    let mut number = 0;
    let mut fastest = Fastest::default();
    group.bench_function("root_known", |bencher| {
        bencher.iter_custom(|iterations| {
            fastest.time(iterations, || {
                number += 1;
                let candidate = candidate(job.id, job.template.time, number);
                evaluate(&job, &root, black_box(&candidate), job.version)
            })
        });
    });
    floor.compare(&fastest, HEADER_COMPRESSIONS);
    group.finish();
    criterion.final_summary();
}
