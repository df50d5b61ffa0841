//! What hashing costs at the least on this machine, and how far a measurement is above it.
//!
//! Criterion's numbers say how long something took, not how long it had to. The floor of shares
//! and templates is SHA-256: so many compressions, each at what one costs in this run when nothing
//! else is done. The ratio of the two survives a slower machine and a busy one better than either.
//!
//! Not here: which bytes are hashed in what order. Only their number is counted.

use core::hint::black_box;
use std::time::{Duration, Instant};

use server::mining::job::Job;
use server::mining::script_sig::{EXTRANONCE1_BYTES, EXTRANONCE2_BYTES};
use server::mining::template::Template;

const BLOCKS: usize = 64;
const CALLS: usize = 16;
const SAMPLES: usize = 200;
/// A ratio over fewer iterations than these would be a guess: a smoke run gets none.
const ITERATIONS_MIN: u64 = 10;

/// The fastest batch of a measurement: what it costs when nobody else has the core.
#[derive(Debug, Default)]
pub struct Fastest {
    nanoseconds: Option<f64>,
    iterations: u64,
}

impl Fastest {
    /// Runs `routine` so many times; the answer is what criterion's `iter_custom` wants.
    pub fn time<T>(&mut self, iterations: u64, mut routine: impl FnMut() -> T) -> Duration {
        let started = Instant::now();
        for _ in 0..iterations {
            black_box(routine());
        }
        let spent = started.elapsed();
        self.note(iterations, spent);
        spent
    }

    /// The same, for what takes long enough to be timed one by one: what `prepare` does before and
    /// freeing the result after are not in the time.
    pub fn time_each<S, T>(
        &mut self,
        iterations: u64,
        mut prepare: impl FnMut() -> S,
        mut routine: impl FnMut(S) -> T,
    ) -> Duration {
        let once = |_| {
            let prepared = prepare();
            let started = Instant::now();
            let result = black_box(routine(prepared));
            let spent = started.elapsed();
            drop(result);
            self.note(1, spent);
            spent
        };
        (0..iterations).map(once).sum()
    }

    /// Takes note of a batch that was timed elsewhere.
    pub fn note(&mut self, iterations: u64, spent: Duration) {
        let each = nanoseconds(spent) / count(iterations.max(1));
        self.iterations += iterations;
        self.nanoseconds = Some(self.nanoseconds.map_or(each, |known| known.min(each)));
    }

    /// Prints it below what criterion printed last; nothing after a smoke run.
    #[expect(clippy::print_stdout, reason = "the line belongs between criterion's own")]
    pub fn print(&self) {
        let Some(measured) = self.nanoseconds() else { return };
        println!("{:24}fastest: {:.3} us", "", measured / 1_000.0);
    }

    /// Nanoseconds of one iteration; `None` after too few.
    pub fn nanoseconds(&self) -> Option<f64> {
        self.nanoseconds.filter(|_| self.iterations >= ITERATIONS_MIN)
    }
}

/// The cost of one SHA-256 compression.
#[derive(Clone, Copy, Debug)]
pub struct Floor {
    nanoseconds: f64,
}

impl Floor {
    /// Measures it, for some milliseconds: the fastest of many samples of 1,024 compressions, each
    /// of which needs the one before.
    pub fn measure() -> Self {
        let blocks = black_box([[0x5a; 64]; BLOCKS]);
        let mut state = [0x6a09_e667; 8];
        let mut fastest = Fastest::default();
        for _ in 0..SAMPLES {
            fastest.time(CALLS as u64, || sha2::block_api::compress256(&mut state, &blocks));
        }
        black_box(state);
        let call = fastest.nanoseconds().unwrap_or(f64::NAN);
        Self { nanoseconds: call / count(BLOCKS as u64) }
    }

    /// Prints how far `fastest` is above `compressions`, below what criterion printed last;
    /// nothing after a smoke run.
    #[expect(clippy::print_stdout, reason = "the line belongs between criterion's own")]
    pub fn compare(self, fastest: &Fastest, compressions: usize) {
        let Some(measured) = fastest.nanoseconds() else { return };
        let least = count(compressions as u64) * self.nanoseconds;
        println!(
            "{:24}fastest: {:.3} us; limit {compressions} compressions of {:.1} ns = {:.3} us; \
             ratio {:.2}",
            "",
            measured / 1_000.0,
            self.nanoseconds,
            least / 1_000.0,
            measured / least,
        );
    }
}

/// Compressions of one header.
pub const HEADER_COMPRESSIONS: usize = 3;

/// Compressions of one share: the coinbase without witness, its way up the branch, the header.
pub fn share_compressions(job: &Job) -> usize {
    let coinbase = &job.coinbase;
    let extranonce = EXTRANONCE1_BYTES + EXTRANONCE2_BYTES;
    let coinbase = coinbase.prefix().len() + extranonce + coinbase.suffix().len();
    sha256d_compressions(coinbase)
        + job.branch.len() * sha256d_compressions(64)
        + HEADER_COMPRESSIONS
}

/// Compressions of one template's check: each transaction's txid, its wtxid where that differs,
/// and the witness commitment.
pub fn check_compressions(template: &Template) -> usize {
    let hashed: usize = template
        .transactions
        .iter()
        .map(|transaction| {
            let whole = transaction.bytes.len();
            if transaction.txid == transaction.wtxid {
                return sha256d_compressions(whole);
            }
            // Weight is three times the stripped size and once the whole (BIP-0141).
            let stripped = (usize::try_from(transaction.weight).unwrap_or(whole) - whole) / 3;
            sha256d_compressions(stripped) + sha256d_compressions(whole)
        })
        .sum();
    let (nodes, _) = merkle_nodes(template.transactions.len() + 1);
    hashed + (nodes + 1) * sha256d_compressions(64)
}

/// Compressions of one job: the merkle branch. The nodes on the coinbase's own way are the miner's.
pub fn job_compressions(template: &Template) -> usize {
    let (nodes, levels) = merkle_nodes(template.transactions.len() + 1);
    (nodes - levels) * sha256d_compressions(64)
}

/// Compressions of SHA-256 over `length` bytes with padding, and of the second hash.
fn sha256d_compressions(length: usize) -> usize {
    (length + 1 + 8).div_ceil(64) + 1
}

/// The inner nodes of a merkle tree and its levels.
fn merkle_nodes(leaves: usize) -> (usize, usize) {
    let (mut width, mut nodes, mut levels) = (leaves, 0, 0);
    while width > 1 {
        width = width.div_ceil(2);
        nodes += width;
        levels += 1;
    }
    (nodes, levels)
}

fn nanoseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

#[expect(clippy::cast_precision_loss, reason = "nothing here is counted beyond 2^52")]
fn count(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_and_the_second_hash_are_counted() {
        let counts = [0, 55, 56, 64, 80, 119, 120].map(sha256d_compressions);
        assert_eq!(counts, [2, 2, 3, 3, 3, 3, 4]);
        assert_eq!(sha256d_compressions(80), HEADER_COMPRESSIONS);
        assert_eq!([1, 2, 3, 4, 5].map(merkle_nodes), [(0, 0), (1, 1), (3, 2), (3, 2), (6, 3)]);
    }

    #[test]
    fn a_share_costs_what_its_parts_cost() {
        let job = crate::job(10);
        let coinbase = job.coinbase.without_witness([0; 4], [0; 8]).len();
        assert_eq!(share_compressions(&job), sha256d_compressions(coinbase) + 4 * 3 + 3);
        let empty = crate::template(0);
        assert_eq!(check_compressions(&empty), 3, "one leaf is the root: the commitment is left");
        assert_eq!(job_compressions(&empty), 0);
        let three = merkle_nodes(4).0 - merkle_nodes(4).1;
        assert_eq!(job_compressions(&crate::template(3)), three * 3);
    }

    #[test]
    fn a_smoke_run_gives_no_ratio_and_a_long_one_does() {
        let mut fastest = Fastest::default();
        fastest.note(1, Duration::from_nanos(5));
        assert_eq!(fastest.nanoseconds(), None);
        fastest.note(20, Duration::from_nanos(60));
        fastest.note(20, Duration::from_nanos(80));
        assert!(fastest.nanoseconds().is_some_and(|each| (2.9..3.1).contains(&each)));
        assert!(Floor::measure().nanoseconds > 1.0, "a compression is some 64 rounds");
    }
}
