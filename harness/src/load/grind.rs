//! Shares, found before the clock runs and written down so that sending one is copying digits.
//!
//! A server takes a share for any job of the same tip, so what was ground for the first job stays
//! good while jobs beside it come. Only a new tip voids it, which the report tells.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use simminer::kernel::Kernel;
use simminer::runtime::fastest;
use simminer::work::Work;

use super::LoadError;

/// How long may be ground.
const TIME_MAX: Duration = Duration::from_mins(2);

/// Nonces between two looks at the clock.
const BATCH_NONCES: u64 = 1 << 20;

/// Ids have so many digits, from the first to the last, so that all lines are of one length.
pub(super) const ID_FIRST: u64 = 100_000_000;

/// The shares of one miner, and how far it is in sending them.
#[derive(Debug)]
pub(super) struct Shares {
    /// A line, whose digits are replaced for each share.
    line: Vec<u8>,
    /// Where the digits of id, extranonce2 and nonce begin.
    places: [usize; 3],
    extranonce2_bytes: usize,
    /// Extranonce2 and nonce of each, in the order in which they are sent.
    found: Vec<(u64, u32)>,
    /// How many were sent.
    sent: usize,
}

impl Shares {
    fn new(work: &Work, user: &str, found: Vec<(u64, u32)>) -> Self {
        let extranonce2_bytes = work.extranonce2.len();
        let mut line = Vec::new();
        let mut place = |text: &str, digits: usize| {
            line.extend_from_slice(text.as_bytes());
            let place = line.len();
            line.extend(std::iter::repeat_n(b'0', digits));
            place
        };
        let names = serde_json::json!([user, work.job.id]).to_string();
        let names = names.trim_matches(['[', ']']);
        let id = place("{\"id\":", ID_FIRST.to_string().len());
        let method = format!(",\"method\":\"mining.submit\",\"params\":[{names},\"");
        let extranonce2 = place(&method, 2 * extranonce2_bytes);
        let nonce = place(&format!("\",\"{:08x}\",\"", work.job.time), 8);
        place("\"]}\n", 0);
        Self { line, places: [id, extranonce2, nonce], extranonce2_bytes, found, sent: 0 }
    }

    /// Appends the lines of at most `count` shares; how many they are.
    pub(super) fn take(&mut self, count: usize, lines: &mut Vec<u8>) -> usize {
        let left = &self.found[self.sent..];
        let count = count.min(left.len());
        for (extranonce2, nonce) in &left[..count] {
            let [id_at, extranonce2_at, nonce_at] = self.places;
            put_decimal(&mut self.line[id_at..id_at + 9], ID_FIRST + self.sent as u64);
            let bytes = extranonce2.to_le_bytes();
            let counted = self.extranonce2_bytes.min(bytes.len());
            put_hex(&mut self.line[extranonce2_at..], &bytes[..counted]);
            put_hex(&mut self.line[nonce_at..], &nonce.to_be_bytes());
            lines.extend_from_slice(&self.line);
            self.sent += 1;
        }
        count
    }

    /// Begins again: what is taken from now on are the same lines.
    pub(super) const fn rewind(&mut self) {
        self.sent = 0;
    }
}

fn put_decimal(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b"0123456789"[usize::try_from(number % 10).unwrap_or(0)];
        number /= 10;
    }
}

fn put_hex(place: &mut [u8], bytes: &[u8]) {
    for (digits, byte) in place.chunks_exact_mut(2).zip(bytes) {
        digits[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
        digits[1] = b"0123456789abcdef"[usize::from(byte & 15)];
    }
}

/// Finds so many shares for each of these works, on all cores.
pub(super) fn grind(
    works: &[Work],
    user: &str,
    each: usize,
    nonces: u32,
) -> Result<Vec<Shares>, LoadError> {
    let kernel = fastest();
    let until = Instant::now() + TIME_MAX;
    let total = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let part = works.len().div_ceil(threads).max(1);
    let shares: Vec<Shares> = thread::scope(|scope| {
        let shares_of = |work: &Work| {
            let found = grind_one(work, each, nonces, kernel, until);
            total.fetch_add(found.len() as u64, Ordering::Relaxed);
            Shares::new(work, user, found)
        };
        let grinders: Vec<_> = works
            .chunks(part)
            .map(|part| scope.spawn(move || part.iter().map(shares_of).collect::<Vec<_>>()))
            .collect();
        grinders
            .into_iter()
            .flat_map(|thread| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    });
    let (found, wanted) = (total.into_inner(), (works.len() * each) as u64);
    if found < wanted {
        return Err(LoadError::TooHard { found, wanted, seconds: TIME_MAX.as_secs() });
    }
    Ok(shares)
}

fn grind_one(
    work: &Work,
    count: usize,
    nonces: u32,
    kernel: Kernel,
    until: Instant,
) -> Vec<(u64, u32)> {
    let mut work = work.clone();
    let mut found = Vec::with_capacity(count);
    let counted = work.extranonce2.len().min(8);
    for extranonce2 in 0_u64.. {
        work.extranonce2[..counted].copy_from_slice(&extranonce2.to_le_bytes()[..counted]);
        let mut hasher = work.hasher().with_kernel(kernel);
        let mut left = nonces;
        while left > 0 && !hasher.is_exhausted() {
            if found.len() == count || Instant::now() > until {
                return found;
            }
            if let Some(solution) = hasher.search(BATCH_NONCES).found {
                found.push((extranonce2, solution.nonce));
                left -= 1;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
