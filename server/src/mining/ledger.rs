//! Which shares were already counted.
//!
//! The key is the header's hash: whatever spelling a miner uses, the same work has the same hash.
//! It has the same hash under every job, too: a refresh that brought nothing new makes a job of
//! another name with the same coinbase. So shares are grouped by the parent that they build on,
//! not by job, and forgotten when nothing can be submitted for that parent any more.

use core::hash::{BuildHasherDefault, Hasher};
use std::collections::{BTreeMap, HashSet};

use super::hash::Hash;

/// Takes eight bytes of a SHA-256d as they are: they are as good as any hash of them, and no
/// miner can choose them without paying in work.
#[derive(Clone, Copy, Debug, Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 ^= u64::from_le_bytes(*first);
        }
    }

    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Half of a header's hash, the half without the zeros that miners search for. No two shares agree
/// in 16 bytes of SHA-256d; and a million of them take half the memory, most of whose places have
/// left the caches by the time they are looked for.
type Half = [u8; 16];

fn half(hash: &Hash) -> Half {
    let mut half = [0; 16];
    half.copy_from_slice(&hash[..16]);
    half
}

type Seen = HashSet<Half, BuildHasherDefault<AlreadyHashed>>;

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

/// The shares counted for every parent that still has a job.
#[derive(Debug)]
pub struct Ledger {
    seen: BTreeMap<Hash, Seen>,
    count: usize,
    count_max: usize,
}

impl Ledger {
    /// Remembers at most `count_max` shares at a time.
    pub fn new(count_max: usize) -> Self {
        Self { seen: BTreeMap::new(), count: 0, count_max }
    }

    /// Enters the share with `hash`, which builds on `parent`.
    pub fn enter(&mut self, parent: Hash, hash: &Hash) -> Entry {
        let seen = self.seen.entry(parent).or_default();
        if self.count >= self.count_max {
            return if seen.contains(&half(hash)) { Entry::Duplicate } else { Entry::Full };
        }
        // One search for both: whether it is there, and where it goes.
        if !seen.insert(half(hash)) {
            return Entry::Duplicate;
        }
        self.count += 1;
        Entry::New
    }

    /// Whether the share was entered.
    pub fn knows(&self, parent: &Hash, hash: &Hash) -> bool {
        self.seen.get(parent).is_some_and(|seen| seen.contains(&half(hash)))
    }

    /// Forgets the shares of every parent that nobody can submit for any more.
    pub fn forget_unless(&mut self, still_mined_on: impl Fn(&Hash) -> bool) {
        self.seen.retain(|parent, _| still_mined_on(parent));
        self.count = self.seen.values().map(HashSet::len).sum();
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
    fn counted_once_forgotten_with_the_parent_and_bounded() {
        let mut ledger = Ledger::new(3);
        let (one, two) = ([0xa1; 32], [0xa2; 32]);
        assert_eq!(ledger.enter(one, &[1; 32]), Entry::New);
        assert_eq!(ledger.enter(one, &[1; 32]), Entry::Duplicate);
        let mut near = [1; 32];
        near[15] = 2;
        assert_eq!(
            ledger.enter(one, &near),
            Entry::New,
            "equal in the bytes used for hashing only"
        );
        assert_eq!(ledger.enter(two, &[1; 32]), Entry::New);
        assert_eq!(ledger.enter(two, &[9; 32]), Entry::Full);
        assert!(ledger.knows(&two, &[1; 32]) && !ledger.knows(&two, &[9; 32]));
        ledger.forget_unless(|parent| *parent == two);
        assert_eq!(ledger.count(), 1);
        assert_eq!(ledger.enter(two, &[9; 32]), Entry::New);
        ledger.forget_unless(|_| true);
        assert_eq!(ledger.count(), 2);
    }
}
