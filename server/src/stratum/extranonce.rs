//! Leases of extranonce1: who searches which part of the space.
//!
//! Two sessions with one extranonce1 do the same work twice and are paid twice. A lease therefore
//! outlives its session until no job that was offered under it can be submitted to any more.
//!
//! Where several pools share a server, the high bits of a lease are its pool's number: as many as
//! the number of pools needs. The rest is a counter.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::Engine;
use crate::mining::script_sig::Extranonce1;

/// All extranonce1 that may not be given out.
#[derive(Debug)]
pub struct Leases {
    /// What is the same in all of them.
    prefix: u32,
    /// The bits that count.
    counted: u32,
    next: u32,
    held: BTreeSet<u32>,
    /// Given back, and free once the jobs below this sequence number are gone.
    cooling: BTreeMap<u32, u32>,
}

impl Leases {
    /// None is given out; all will be of `engine`'s part of the space.
    pub fn of(engine: Engine) -> Self {
        let Engine { number, of } = engine;
        assert!(number < of, "pools are numbered from 0");
        let prefix_bits = u32::BITS - (of - 1).leading_zeros();
        let counted = u32::MAX.checked_shr(prefix_bits).unwrap_or(0);
        // With one pool there is no prefix, and no bit to put it in.
        let prefix = number.checked_shl(u32::BITS - prefix_bits).unwrap_or(0);
        Self { prefix, counted, next: 0, held: BTreeSet::new(), cooling: BTreeMap::new() }
    }

    /// A lease that no session holds and no living job was offered under; `None` when all are
    /// out.
    pub fn take(&mut self) -> Option<Extranonce1> {
        let taken = self.held.len() + self.cooling.len();
        if taken >= usize::try_from(self.counted).unwrap_or(usize::MAX) {
            return None;
        }
        let mut lease = self.lease();
        while self.held.contains(&lease) || self.cooling.contains_key(&lease) {
            self.next = self.next.wrapping_add(1);
            lease = self.lease();
        }
        self.next = self.next.wrapping_add(1);
        let new = self.held.insert(lease);
        assert!(new, "extranonce1 {lease:08x} is leased once");
        Some(lease.to_be_bytes())
    }

    /// The next one, whoever has it.
    const fn lease(&self) -> u32 {
        self.prefix | (self.next & self.counted)
    }

    /// The session is gone; `next_job` is the sequence number of the first job it cannot have seen.
    pub fn give_back(&mut self, lease: Extranonce1, next_job: u32) {
        let lease = u32::from_be_bytes(lease);
        let held = self.held.remove(&lease);
        assert!(held, "extranonce1 {lease:08x} was leased");
        self.cooling.insert(lease, next_job);
    }

    /// Gives `lease` once more to the miner who had it, while the jobs that he saw still live. The
    /// answer is no when that is over, or somebody holds it.
    pub fn take_back(&mut self, lease: Extranonce1) -> bool {
        let lease = u32::from_be_bytes(lease);
        let cooling = self.cooling.remove(&lease).is_some();
        assert!(!cooling || self.held.insert(lease), "what cools is not held");
        cooling
    }

    /// Whether `lease` was given back, and jobs that were offered under it still live.
    pub fn cools(&self, lease: Extranonce1) -> bool {
        self.cooling.contains_key(&u32::from_be_bytes(lease))
    }

    /// Jobs below `oldest_job` can no longer be submitted to.
    pub fn release(&mut self, oldest_job: u32) {
        self.cooling.retain(|_, needed| *needed > oldest_job);
    }

    /// How many leases sessions hold.
    pub fn held(&self) -> usize {
        self.held.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wraps_around_what_is_still_held() {
        let mut leases = Leases { next: u32::MAX, ..Leases::of(Engine::ONLY) };
        assert_eq!(leases.take(), Some([0xff; 4]));
        assert_eq!(leases.take(), Some([0; 4]));
        leases.next = u32::MAX;
        assert_eq!(leases.take(), Some([0, 0, 0, 1]));
    }

    #[test]
    fn a_lease_is_taken_back_once_and_only_while_it_cools() {
        let mut leases = Leases::of(Engine::ONLY);
        let lease = leases.take().expect("the space is large");
        assert!(!leases.take_back(lease), "it is held");
        leases.give_back(lease, 7);
        assert!(leases.take_back(lease));
        assert!(!leases.take_back(lease));
        leases.give_back(lease, 7);
        leases.release(7);
        assert!(!leases.take_back(lease), "its jobs are gone");
    }

    #[test]
    fn a_full_part_of_the_space_is_full() {
        // Of three bits of space, say: two are the prefix of three pools.
        let mut leases = Leases { counted: 7, ..Leases::of(Engine { number: 2, of: 3 }) };
        let all: Vec<_> = core::iter::from_fn(|| leases.take()).collect();
        let expected: Vec<_> = (0..7).map(|last| [0x80, 0, 0, last]).collect();
        assert_eq!(all, expected);
    }

    proptest! {
        /// EXTRA-1 across pools, wherever their counters stand.
        #[test]
        fn no_two_pools_have_one_lease(of in 1_u32..=64, starts: [u32; 4], pools: [u32; 2]) {
            let [one, other] = pools.map(|pool| pool % of);
            let take = |number, next| {
                let mut leases = Leases { next, ..Leases::of(Engine { number, of }) };
                leases.take().expect("the space is large")
            };
            let [first, second, third, fourth] = starts;
            for (one, other, is_same) in [
                (take(one, first), take(other, second), one == other),
                (take(one, third), take(other, fourth), one == other),
                (take(one, first), take(other, first), one == other),
            ] {
                prop_assert!(is_same || one != other, "{one:02x?} of {pools:?} in {of}");
            }
        }

        /// FAILURES 1: a small space, so that it wraps all the time.
        #[test]
        fn never_two_at_a_time(steps in prop::collection::vec((any::<bool>(), 0_u32..9), 0..200)) {
            let mut leases = Leases::of(Engine::ONLY);
            let mut live: Vec<Extranonce1> = Vec::new();
            let mut cooling: Vec<(Extranonce1, u32)> = Vec::new();
            let mut jobs = 0;
            for (connect, pick) in steps {
                leases.next %= 32;
                if connect && live.len() + cooling.len() < 31 {
                    let lease = leases.take().expect("the space is large");
                    prop_assert!(!live.contains(&lease));
                    prop_assert!(cooling.iter().all(|(other, _)| *other != lease));
                    live.push(lease);
                } else if !live.is_empty() {
                    let lease = live.remove(pick as usize % live.len());
                    leases.give_back(lease, jobs);
                    cooling.push((lease, jobs));
                    jobs += pick % 2;
                } else {
                    leases.release(jobs);
                    cooling.retain(|(_, needed)| *needed > jobs);
                }
            }
        }
    }
}
