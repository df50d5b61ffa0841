//! How fast each kernel is here, by the clock.
//!
//! Why it is measured at the start of mining and not read from a list: the wider instructions are
//! the slower ones on some processors, and no list knows the next processor.

use std::hint::black_box;
use std::num::NonZero;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use crate::kernel::{Header, Kernel};
use crate::runtime::event::rate;

/// Nonces between two looks at the clock.
const BATCH_NONCES: u64 = 4 * 1024;

/// How long a kernel is tried to find the fastest: some 16,000 hashes of the slowest.
const TRIAL: Duration = Duration::from_millis(4);

/// Trials of each kernel: the best of them counts, for the first warms up and any may be disturbed.
const TRIALS: usize = 3;

/// The fastest kernel of this machine; measured once in a process.
pub fn fastest() -> Kernel {
    static FASTEST: OnceLock<Kernel> = OnceLock::new();
    *FASTEST.get_or_init(|| {
        let one = NonZero::<usize>::MIN;
        let best = |kernel| (0..TRIALS).map(|_| hash_rate(kernel, one, TRIAL)).fold(0.0, f64::max);
        let rated = Kernel::all().map(|kernel| (best(kernel), kernel));
        let (_, kernel) =
            rated.max_by(|(a, _), (b, _)| a.total_cmp(b)).unwrap_or((0.0, Kernel::SCALAR));
        kernel
    })
}

/// Hashes a second of all these threads together, measured for about this time.
pub fn hash_rate(kernel: Kernel, threads: NonZero<usize>, time: Duration) -> f64 {
    thread::scope(|scope| {
        let threads: Vec<_> =
            (0..threads.get()).map(|_| scope.spawn(move || thread_rate(kernel, time))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .sum()
    })
}

/// Hashes a second of this thread.
fn thread_rate(kernel: Kernel, time: Duration) -> f64 {
    let header = Header::new(&[0; 80]);
    let (started, mut tried) = (Instant::now(), 0);
    loop {
        // A hit, one in 2^32, ends a batch early: too rare to be seen in a rate.
        black_box(kernel.scan(black_box(&header), 0, BATCH_NONCES, 0));
        tried += BATCH_NONCES;
        let spent = started.elapsed();
        if spent >= time {
            return rate(tried, spent.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_add_up_and_the_fastest_is_of_this_machine() {
        let time = Duration::from_millis(20);
        let two = NonZero::new(2).unwrap();
        for kernel in Kernel::all() {
            assert!(hash_rate(kernel, two, time) > 1_000.0, "{kernel}");
        }
        assert!(Kernel::all().any(|kernel| kernel == fastest()));
        assert_eq!(fastest(), fastest(), "measured once");
    }
}
