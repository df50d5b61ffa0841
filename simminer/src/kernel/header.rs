//! What of a header's hash is the same for every nonce, computed once.
//!
//! The first 64 of its 80 bytes do not hold the nonce, so their SHA-256 state (the midstate) is
//! known; in the second block the nonce is the fourth word, so the first three rounds and some of
//! the message schedule are known as well.

use sha2::block_api::compress256;

use super::sha256::{HASH_BITS, HEADER_BITS, INITIAL_STATE, PADDING, ROUND, round, sigma0, sigma1};

/// A header without its nonce, ready to be hashed with many.
#[derive(Clone, Debug)]
pub struct Header {
    /// SHA-256's state after the first 64 bytes.
    pub(super) midstate: [u32; 8],
    /// The words before the nonce: end of the merkle root, time, bits.
    pub(super) words: [u32; 3],
    /// The working variables after two rounds of the second block.
    pub(super) after_two: [u32; 8],
    /// The working variables after the fourth round, if the nonce's word were zero: it is then to
    /// be added to the first and the fifth of them.
    pub(super) after_four: [u32; 8],
    /// Message words 16 and 17, and what of 18 and 19 does not come from the nonce.
    pub(super) schedule: [u32; 4],
}

impl Header {
    /// Takes the 80 bytes of a header; the nonce in them is ignored.
    pub fn new(header: &[u8; 80]) -> Self {
        let mut first = [0; 64];
        first.copy_from_slice(&header[..64]);
        let mut midstate = INITIAL_STATE;
        compress256(&mut midstate, &[first]);
        let word = |at: usize| {
            u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let words = [word(64), word(68), word(72)];
        let input = |round: usize| ROUND[round].wrapping_add(words[round]);
        let after_two = round(round(midstate, input(0)), input(1));
        let after_three = round(after_two, input(2));
        let word16 = sigma0(words[1]).wrapping_add(words[0]);
        let word17 = sigma1(HEADER_BITS).wrapping_add(sigma0(words[2])).wrapping_add(words[1]);
        let schedule = [
            word16,
            word17,
            sigma1(word16).wrapping_add(words[2]),
            sigma1(word17).wrapping_add(sigma0(PADDING)),
        ];
        let after_four = round(after_three, ROUND[3]);
        Self { midstate, words, after_two, after_four, schedule }
    }

    /// The hash with this nonce, by the library and in full.
    pub fn hash(&self, nonce: u32) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (chunk, word) in bytes.chunks_exact_mut(4).zip(self.hash_words(nonce)) {
            chunk.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }

    /// The same as the words of the final state.
    #[inline]
    pub(super) fn hash_words(&self, nonce: u32) -> [u32; 8] {
        let [root, time, bits] = self.words;
        let mut block = [0; 16];
        block[..5].copy_from_slice(&[root, time, bits, nonce.swap_bytes(), PADDING]);
        block[15] = HEADER_BITS;
        let mut state = self.midstate;
        compress256(&mut state, &[bytes_of(&block)]);
        let mut block = [0; 16];
        block[..8].copy_from_slice(&state);
        block[8] = PADDING;
        block[15] = HASH_BITS;
        let mut state = INITIAL_STATE;
        compress256(&mut state, &[bytes_of(&block)]);
        state
    }
}

/// A block's words as the bytes that the library wants.
#[inline]
fn bytes_of(words: &[u32; 16]) -> [u8; 64] {
    let mut bytes = [0; 64];
    for (chunk, word) in bytes.chunks_exact_mut(4).zip(words) {
        chunk.copy_from_slice(&word.to_be_bytes());
    }
    bytes
}
