//! Leases of extranonce1: who searches which part of the space.
//!
//! Two sessions with one extranonce1 do the same work twice and are paid twice. A lease therefore
//! outlives its session until no job that was offered under it can be submitted to any more.

use std::collections::{BTreeMap, BTreeSet};

use crate::mining::script_sig::Extranonce1;

/// All extranonce1 that may not be given out.
#[derive(Debug, Default)]
pub struct Leases {
    next: u32,
    held: BTreeSet<u32>,
    /// Given back, and free once the jobs below this sequence number are gone.
    cooling: BTreeMap<u32, u32>,
}

impl Leases {
    /// A lease that no session holds and no living job was offered under; `None` when all four
    /// billion are out.
    pub fn take(&mut self) -> Option<Extranonce1> {
        let taken = self.held.len() + self.cooling.len();
        if taken >= usize::try_from(u32::MAX).unwrap_or(usize::MAX) {
            return None;
        }
        while self.held.contains(&self.next) || self.cooling.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let lease = self.next;
        self.next = self.next.wrapping_add(1);
        let new = self.held.insert(lease);
        assert!(new, "extranonce1 {lease:08x} is leased once");
        Some(lease.to_be_bytes())
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
        let mut leases = Leases { next: u32::MAX, ..Leases::default() };
        assert_eq!(leases.take(), Some([0xff; 4]));
        assert_eq!(leases.take(), Some([0; 4]));
        leases.next = u32::MAX;
        assert_eq!(leases.take(), Some([0, 0, 0, 1]));
    }

    #[test]
    fn a_lease_is_taken_back_once_and_only_while_it_cools() {
        let mut leases = Leases::default();
        let lease = leases.take().expect("the space is large");
        assert!(!leases.take_back(lease), "it is held");
        leases.give_back(lease, 7);
        assert!(leases.take_back(lease));
        assert!(!leases.take_back(lease));
        leases.give_back(lease, 7);
        leases.release(7);
        assert!(!leases.take_back(lease), "its jobs are gone");
    }

    proptest! {
        /// FAILURES 1: a small space, so that it wraps all the time.
        #[test]
        fn never_two_at_a_time(steps in prop::collection::vec((any::<bool>(), 0_u32..9), 0..200)) {
            let mut leases = Leases::default();
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
