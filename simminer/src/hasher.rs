//! The nonce search: double SHA-256 of a header, many times, as fast as one core goes.
//!
//! Why it looks as it does: the first 64 of a header's 80 bytes do not hold the nonce, so their
//! SHA-256 state (the midstate) is computed once; and nearly every hash already fails by its most
//! significant word, so the rest is compared only when that one passes.
//! **Invariant:** knows no job and no clock. How long to search is the caller's limit, which is
//! also how a simulated miner is scripted: a slow one asks for few tries, a lucky one for many.

use std::ops::RangeInclusive;

use sha2::block_api::compress256;

use crate::target::Target;
use crate::work::BlockHash;

/// SHA-256's initial state (FIPS 180-4, section 5.3.3).
const INITIAL_STATE: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// Where the nonce stands in a header's second SHA-256 block.
const NONCE_OFFSET: usize = 76 - 64;

/// A search through the nonces of one header.
#[derive(Clone, Debug)]
pub struct Hasher {
    /// SHA-256 state after the header's first 64 bytes.
    midstate: [u32; 8],
    /// The header's last 16 bytes and SHA-256's padding.
    tail: [u8; 64],
    /// What a hash must meet.
    target: Target,
    /// The next nonce to try; past `last` when none is left.
    next: u64,
    /// The last nonce to try.
    last: u64,
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
    pub fn new(header: &[u8; 80], target: Target, nonces: RangeInclusive<u32>) -> Self {
        let (first, rest) = header.split_at(64);
        let mut block = [0; 64];
        block.copy_from_slice(first);
        let mut midstate = INITIAL_STATE;
        compress256(&mut midstate, &[block]);
        let mut tail = [0; 64];
        tail[..16].copy_from_slice(rest);
        pad(&mut tail, 16, 80);
        let next = u64::from(*nonces.start());
        Self { midstate, tail, target, next, last: u64::from(*nonces.end()) }
    }

    /// Tries at most `tries_max` nonces and stops at the first that meets the target.
    ///
    /// Calling again goes on after it: one header may hold many shares.
    pub fn search(&mut self, tries_max: u64) -> Step {
        let left = (self.last + 1).saturating_sub(self.next);
        let tries_max = tries_max.min(left);
        let top_word = self.target.top_word();
        let mut second = [0; 64];
        pad(&mut second, 32, 32);
        for tried in 1..=tries_max {
            let Ok(nonce) = u32::try_from(self.next) else { break };
            self.next += 1;
            let state = self.hash(nonce, &mut second);
            // The hash is a little-endian number: its top word is the last one, bytes swapped.
            if state[7].swap_bytes() > top_word {
                continue;
            }
            let hash = bytes_of(&state);
            if self.target.is_met_by(&hash) {
                let solution = Solution { nonce, hash: BlockHash(hash) };
                return Step { tried, found: Some(solution) };
            }
        }
        Step { tried: tries_max, found: None }
    }

    /// Whether every nonce was tried.
    pub fn is_exhausted(&self) -> bool {
        self.next > self.last
    }

    /// Double SHA-256 with this nonce; `second` is scratch space that already holds its padding.
    #[inline]
    fn hash(&mut self, nonce: u32, second: &mut [u8; 64]) -> [u32; 8] {
        self.tail[NONCE_OFFSET..NONCE_OFFSET + 4].copy_from_slice(&nonce.to_le_bytes());
        let mut state = self.midstate;
        compress256(&mut state, std::slice::from_ref(&self.tail));
        second[..32].copy_from_slice(&bytes_of(&state));
        let mut state = INITIAL_STATE;
        compress256(&mut state, std::slice::from_ref(second));
        state
    }
}

/// Writes SHA-256's padding behind `used` bytes of the last block of a `total`-byte message.
fn pad(block: &mut [u8; 64], used: usize, total: u64) {
    block[used] = 0x80;
    block[56..].copy_from_slice(&(8 * total).to_be_bytes());
}

/// A SHA-256 state as the bytes of its digest.
fn bytes_of(state: &[u32; 8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (chunk, word) in bytes.chunks_exact_mut(4).zip(state) {
        chunk.copy_from_slice(&word.to_be_bytes());
    }
    bytes
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
            let mut hasher = Hasher::new(&header, target, nonces);
            prop_assert_eq!(all(&mut hasher, step), (257, expected));
        }
    }
}
