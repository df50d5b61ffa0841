//! The nonce search: double SHA-256 of a header, many times, as fast as one core goes.
//!
//! Why it looks as it does: nearly every hash already fails by its most significant word, so a
//! kernel looks only at that, and whom it names is held to the whole target here. Which kernel it
//! is changes the pace and nothing else.
//! **Invariant:** knows no job and no clock. How long to search is the caller's limit, which is
//! also how a simulated miner is scripted: a slow one asks for few tries, a lucky one for many.

use std::ops::RangeInclusive;

use crate::kernel::{Header, Kernel};
use crate::target::Target;
use crate::work::BlockHash;

/// A search through the nonces of one header.
#[derive(Clone, Debug)]
pub struct Hasher {
    header: Header,
    /// What a hash must meet.
    target: Target,
    /// The next nonce to try; past `last` when none is left.
    next: u64,
    /// The last nonce to try.
    last: u64,
    kernel: Kernel,
}

/// A nonce that met the target.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Solution {
    /// The nonce, as the number in the header.
    pub nonce: u32,
    /// The header's hash with that nonce.
    pub hash: BlockHash,
}

/// What one call of [`Hasher::search`] did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Step {
    /// Hashes that were computed.
    pub tried: u64,
    /// The nonce that ended the call early, if one did.
    pub found: Option<Solution>,
}

impl Hasher {
    /// Prepares to search `nonces` of a header; the nonce it holds now is ignored.
    ///
    /// By the scalar kernel, which is at no disadvantage in a short search.
    pub fn new(header: &[u8; 80], target: Target, nonces: RangeInclusive<u32>) -> Self {
        let (next, last) = (u64::from(*nonces.start()), u64::from(*nonces.end()));
        Self { header: Header::new(header), target, next, last, kernel: Kernel::SCALAR }
    }

    /// The same search by another kernel.
    #[must_use]
    pub fn with_kernel(self, kernel: Kernel) -> Self {
        Self { kernel, ..self }
    }

    /// Tries at most `tries_max` nonces and stops at the first that meets the target.
    ///
    /// Calling again goes on after it: one header may hold many shares.
    pub fn search(&mut self, tries_max: u64) -> Step {
        let start = self.next;
        let end = (self.last + 1).min(start.saturating_add(tries_max));
        let top_word = self.target.top_word();
        while let Ok(next) = u32::try_from(self.next)
            && self.next < end
        {
            let left = end - self.next;
            let Some(nonce) = self.kernel.scan(&self.header, next, left, top_word) else {
                self.next = end;
                break;
            };
            self.next = u64::from(nonce) + 1;
            let hash = self.header.hash(nonce);
            if self.target.is_met_by(&hash) {
                let solution = Solution { nonce, hash: BlockHash(hash) };
                return Step { tried: self.next - start, found: Some(solution) };
            }
        }
        Step { tried: self.next - start, found: None }
    }

    /// Whether every nonce was tried.
    pub fn is_exhausted(&self) -> bool {
        self.next > self.last
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::target::Difficulty;

    /// The slow road: the whole header through the library's ordinary interface.
    fn scalar(header: &[u8; 80], nonce: u32) -> [u8; 32] {
        let mut header = *header;
        header[76..].copy_from_slice(&nonce.to_le_bytes());
        Sha256::digest(Sha256::digest(header)).into()
    }

    fn target(difficulty: &str) -> Target {
        difficulty.parse::<Difficulty>().unwrap().target()
    }

    fn all(hasher: &mut Hasher, step: u64) -> (u64, Vec<Solution>) {
        let (mut tried, mut found) = (0, vec![]);
        while !hasher.is_exhausted() {
            let done = hasher.search(step);
            tried += done.tried;
            found.extend(done.found);
        }
        (tried, found)
    }

    #[test]
    fn the_last_nonce_is_tried_and_the_search_ends_there() {
        let mut hasher = Hasher::new(&[7; 80], target("1e-20"), u32::MAX - 2..=u32::MAX);
        let (tried, found) = all(&mut hasher, 10);
        assert_eq!(tried, 3);
        assert_eq!(
            found.iter().map(|solution| solution.nonce).collect::<Vec<_>>(),
            [u32::MAX - 2, u32::MAX - 1, u32::MAX]
        );
        assert_eq!(hasher.search(10), Step { tried: 0, found: None });
    }

    #[test]
    fn a_limit_of_nothing_tries_nothing() {
        let mut hasher = Hasher::new(&[7; 80], target("1e-20"), 0..=9);
        assert_eq!(hasher.search(0), Step { tried: 0, found: None });
        assert!(!hasher.is_exhausted());
    }

    proptest! {
        #[test]
        fn finds_exactly_what_the_scalar_search_finds(
            first in any::<[u8; 32]>(),
            second in any::<[u8; 32]>(),
            third in any::<[u8; 16]>(),
            start in any::<u32>(),
            step in 1_u64..300,
        ) {
            let mut header = [0; 80];
            header[..32].copy_from_slice(&first);
            header[32..64].copy_from_slice(&second);
            header[64..].copy_from_slice(&third);
            let start = start.min(u32::MAX - 256);
            let nonces = start..=start + 256;
            // One hash in about sixteen.
            let target = target("3.7e-9");
            let expected: Vec<Solution> = nonces
                .clone()
                .map(|nonce| Solution { nonce, hash: BlockHash(scalar(&header, nonce)) })
                .filter(|solution| target.is_met_by(&solution.hash.0))
                .collect();
            for kernel in Kernel::all() {
                let mut hasher = Hasher::new(&header, target, nonces.clone()).with_kernel(kernel);
                prop_assert_eq!(all(&mut hasher, step), (257, expected.clone()), "{}", kernel);
            }
        }
    }
}
