//! Which shares were already counted.
//!
//! The key is the header's hash: whatever spelling a miner uses, the same work has the same hash.
//! Grouped by job, so that forgetting a job forgets its shares.

use core::hash::{BuildHasherDefault, Hasher};
use std::collections::{BTreeMap, HashSet};

use super::hash::Hash;

/// Takes eight bytes of a SHA-256d as they are: they are as good as any hash of them, and no
/// miner can choose them without paying in work.
#[derive(Clone, Copy, Debug, Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn write(&mut self, bytes: &[u8]) {
        for (place, byte) in bytes.iter().take(8).enumerate() {
            self.0 ^= u64::from(*byte) << (8 * place);
        }
    }

    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

type Seen = HashSet<Hash, BuildHasherDefault<AlreadyHashed>>;

/// What became of a share's entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Entry {
    /// It is new and now counted.
    New,
    /// It was counted before.
    Duplicate,
    /// There is no room to remember it, so it cannot be counted.
    Full,
}

/// The shares counted for every job that still lives.
#[derive(Debug)]
pub struct Ledger {
    seen: BTreeMap<u32, Seen>,
    count: usize,
    count_max: usize,
}

impl Ledger {
    /// Remembers at most `count_max` shares at a time.
    pub fn new(count_max: usize) -> Self {
        Self { seen: BTreeMap::new(), count: 0, count_max }
    }

    /// Enters the share with `hash` for the job with this sequence number.
    pub fn enter(&mut self, job: u32, hash: Hash) -> Entry {
        let seen = self.seen.entry(job).or_default();
        if seen.contains(&hash) {
            return Entry::Duplicate;
        }
        if self.count >= self.count_max {
            return Entry::Full;
        }
        seen.insert(hash);
        self.count += 1;
        Entry::New
    }

    /// Forgets the shares of a job that nobody can submit to any more.
    pub fn forget(&mut self, job: u32) {
        let forgotten = self.seen.remove(&job).map_or(0, |seen| seen.len());
        assert!(forgotten <= self.count, "the count is the sum of all jobs");
        self.count -= forgotten;
    }

    /// How many shares are remembered.
    pub fn count(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_once_forgotten_with_the_job_and_bounded() {
        let mut ledger = Ledger::new(3);
        assert_eq!(ledger.enter(1, [1; 32]), Entry::New);
        assert_eq!(ledger.enter(1, [1; 32]), Entry::Duplicate);
        let mut near = [1; 32];
        near[31] = 2;
        assert_eq!(ledger.enter(1, near), Entry::New, "equal in the bytes used for hashing only");
        assert_eq!(ledger.enter(2, [1; 32]), Entry::New);
        assert_eq!(ledger.enter(2, [9; 32]), Entry::Full);
        ledger.forget(1);
        assert_eq!(ledger.count(), 1);
        assert_eq!(ledger.enter(2, [9; 32]), Entry::New);
        ledger.forget(7);
        assert_eq!(ledger.count(), 2);
    }
}
