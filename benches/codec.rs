//! What does the wire format cost: a submission read, a reply and a job written?
//!
//! The text alone: no session, no hash. A job's line grows with its merkle branch, so it is
//! written for an empty block and for a full one.

use core::hint::black_box;

use benches::floor::Fastest;
use benches::{FULL, candidate, job, submit_line};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use server::stratum::framing::Framing;
use server::stratum::message;
use server::stratum::reject::Reject;

/// More than any line here.
const LINE_BYTES_MAX: usize = 16 * 1024;

type Group<'c> = BenchmarkGroup<'c, WallTime>;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let full = job(FULL);
    let received = submit_line(&candidate(full.id, full.template.time, 7));
    let line = received.trim_ascii();
    let mut group = criterion.benchmark_group("codec");

    group.throughput(Throughput::Bytes(received.len() as u64));
    let mut framing = Framing::new(LINE_BYTES_MAX);
    measure(&mut group, "frame/submit", || {
        let mut lines = framing.push(black_box(&received));
        let length = lines.next_line().map(|line| line.map(<[u8]>::len));
        framing.keep(lines);
        length
    });
    group.throughput(Throughput::Bytes(line.len() as u64));
    measure(&mut group, "parse/submit", || message::parse(black_box(line)));

    let id = message::parse(line).id;
    group.throughput(Throughput::Elements(1));
    measure(&mut group, "render/reply", || {
        let mut line = String::new();
        message::reply(&mut line, black_box(id), "true");
        line
    });
    let why = Reject::LowDifficulty;
    measure(&mut group, "render/refusal", || message::refusal(black_box(id), &why));
    for (name, job) in [("render/notify/0", job(0)), ("render/notify/4000", full)] {
        group.throughput(Throughput::Bytes(message::notify(&job, true).len() as u64));
        measure(&mut group, name, || message::notify(black_box(&job), true));
    }
    group.finish();
    criterion.final_summary();
}

fn measure<T>(group: &mut Group<'_>, name: &str, mut routine: impl FnMut() -> T) {
    let mut fastest = Fastest::default();
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| fastest.time(iterations, &mut routine));
    });
    fastest.print();
}
