//! SHA-256 by the SHA extensions of x86: one hash that stays in registers, or four in turn.
//!
//! A round needs the one before, and each instruction takes some cycles: what is hashed alone waits
//! most of the time, and four independent messages take little longer than two. Where there is only
//! one, as on the way up a merkle branch, what can be saved is the way through memory between two
//! compressions, and the message schedule of a block that is padding.
//!
//! Two rounds are one instruction, which has the working variables in two registers, `a b e f` and
//! `c d g h`, the last of them lowest. It makes the next `a b e f`; the one before is the next
//! `c d g h`.

#![expect(clippy::needless_range_loop, reason = "a step takes the same lane of several arrays")]

use core::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_extract_epi64, _mm_set_epi8, _mm_set_epi32,
    _mm_set_epi64x, _mm_setzero_si128, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32,
    _mm_sha256rnds2_epu32, _mm_shuffle_epi8, _mm_shuffle_epi32, _mm_unpackhi_epi64,
    _mm_unpacklo_epi64,
};

use super::fixed::{HASH_END, INITIAL, PAIR_END_ROUNDS, Quads, ROUNDS};
use super::queue::Queue;
use super::{Block, Hash};

/// Messages that are hashed in turn.
const LANES: usize = 4;

/// The working variables of `N` hashes.
#[derive(Clone, Copy)]
struct Lanes<const N: usize> {
    abef: [__m128i; N],
    cdgh: [__m128i; N],
}

/// Sixteen words of a message of each hash, four a register, the first lowest.
type Words<const N: usize> = [[__m128i; N]; 4];
/// A hash of each, as words.
type Digests<const N: usize> = [[__m128i; N]; 2];

/// [`super::sha256d_blocks`].
#[target_feature(enable = "sha,ssse3,sse4.1")]
pub(super) fn blocks(parts: &[&[Block]]) -> Hash {
    let mut lanes = Lanes::<1>::initial();
    for block in parts.iter().copied().flatten() {
        lanes.compress(block_words([block]));
    }
    let [hash] = hashes(again(lanes.digests()));
    hash
}

/// [`super::sha256d_branch`].
#[target_feature(enable = "sha,ssse3,sse4.1")]
pub(super) fn branch(leaf: &Hash, branch: &[Hash]) -> Hash {
    let mut node: Digests<1> = hash_words([leaf]);
    for right in branch {
        node = pair(node, hash_words([right]));
    }
    let [hash] = hashes(node);
    hash
}

/// [`super::sha256d_pairs`].
#[target_feature(enable = "sha,ssse3,sse4.1")]
pub(super) fn pairs(pairs: &[[Hash; 2]]) -> Vec<Hash> {
    let mut nodes = Vec::with_capacity(pairs.len());
    let (fours, rest) = pairs.as_chunks::<LANES>();
    for four in fours {
        let sides = |side: usize| four.each_ref().map(|pair| &pair[side]);
        nodes.extend_from_slice(&hashes(pair(hash_words(sides(0)), hash_words(sides(1)))));
    }
    for [left, right] in rest {
        nodes.push(branch(left, core::slice::from_ref(right)));
    }
    nodes
}

/// [`super::sha256d_each`].
#[target_feature(enable = "sha,ssse3,sse4.1")]
pub(super) fn each(messages: &[&[u8]]) -> Vec<Hash> {
    let mut hashes = once(messages);
    let (fours, rest) = hashes.as_chunks_mut::<LANES>();
    for four in fours {
        *four = self::hashes(again(hash_words(four.each_ref())));
    }
    for hash in rest {
        [*hash] = self::hashes(again(hash_words([&*hash])));
    }
    hashes
}

/// SHA-256 of each message. A lane whose message ends takes the next one.
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn once(messages: &[&[u8]]) -> Vec<Hash> {
    let mut queue = Queue::<LANES>::new(messages);
    let mut done = vec![[0; 32]; messages.len()];
    let mut lanes = Lanes::<LANES>::initial();
    while queue.is_busy() {
        lanes.compress(block_words(queue.blocks()));
        for lane in 0..LANES {
            if let Some(place) = queue.ended(lane) {
                let [hash] = hashes(lanes.one(lane).digests());
                done[place] = hash;
                let Lanes { abef: [abef], cdgh: [cdgh] } = Lanes::<1>::initial();
                (lanes.abef[lane], lanes.cdgh[lane]) = (abef, cdgh);
            }
        }
    }
    done
}

/// SHA-256d of two hashes side by side.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn pair<const N: usize>(left: Digests<N>, right: Digests<N>) -> Digests<N> {
    let mut lanes = Lanes::initial();
    lanes.compress([left[0], left[1], right[0], right[1]]);
    lanes.compress_known(&PAIR_END_ROUNDS);
    again(lanes.digests())
}

/// SHA-256 of a hash.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn again<const N: usize>([first, second]: Digests<N>) -> Digests<N> {
    let mut lanes = Lanes::initial();
    let [.., third, fourth] = block_words([&HASH_END; N]);
    lanes.compress([first, second, third, fourth]);
    lanes.digests()
}

impl<const N: usize> Lanes<N> {
    #[expect(clippy::many_single_char_names, reason = "the standard's own names")]
    #[inline]
    #[target_feature(enable = "sse2")]
    fn initial() -> Self {
        let [a, b, c, d, e, f, g, h] = INITIAL;
        Self { abef: [quad([f, e, b, a]); N], cdgh: [quad([h, g, d, c]); N] }
    }

    fn one(&self, lane: usize) -> Lanes<1> {
        Lanes { abef: [self.abef[lane]], cdgh: [self.cdgh[lane]] }
    }

    /// Compresses a block each.
    #[inline]
    #[target_feature(enable = "sha,ssse3,sse4.1")]
    fn compress(&mut self, mut words: Words<N>) {
        let before = *self;
        for (words, constants) in words.iter().zip(&ROUNDS) {
            self.four_rounds(words, constants);
        }
        for constants in ROUNDS[4..].as_chunks::<4>().0 {
            for place in 0..4 {
                next_words(&mut words, place);
                self.four_rounds(&words[place], &constants[place]);
            }
        }
        self.add(&before);
    }

    /// Compresses the same block each, whose words are known with the constants added.
    #[inline]
    #[target_feature(enable = "sha,ssse3,sse4.1")]
    fn compress_known(&mut self, rounds: &Quads) {
        let before = *self;
        let nothing = [_mm_setzero_si128(); N];
        for words in rounds {
            self.four_rounds(&nothing, words);
        }
        self.add(&before);
    }

    #[inline]
    #[target_feature(enable = "sha,ssse3,sse4.1")]
    fn four_rounds(&mut self, words: &[__m128i; N], constants: &[u32; 4]) {
        let constants = quad(*constants);
        let mut inputs = *words;
        for lane in 0..N {
            inputs[lane] = _mm_add_epi32(words[lane], constants);
            let next = _mm_sha256rnds2_epu32(self.cdgh[lane], self.abef[lane], inputs[lane]);
            self.cdgh[lane] = next;
        }
        // The two have changed places.
        for lane in 0..N {
            let upper = _mm_shuffle_epi32::<0b00_00_11_10>(inputs[lane]);
            let next = _mm_sha256rnds2_epu32(self.abef[lane], self.cdgh[lane], upper);
            self.abef[lane] = next;
        }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn add(&mut self, before: &Self) {
        for lane in 0..N {
            self.abef[lane] = _mm_add_epi32(self.abef[lane], before.abef[lane]);
            self.cdgh[lane] = _mm_add_epi32(self.cdgh[lane], before.cdgh[lane]);
        }
    }

    /// The states as words in order.
    #[inline]
    #[target_feature(enable = "sse2")]
    fn digests(&self) -> Digests<N> {
        let mut digests = [self.abef, self.cdgh];
        for lane in 0..N {
            let abef = _mm_shuffle_epi32::<0b00_01_10_11>(self.abef[lane]);
            let cdgh = _mm_shuffle_epi32::<0b00_01_10_11>(self.cdgh[lane]);
            digests[0][lane] = _mm_unpacklo_epi64(abef, cdgh);
            digests[1][lane] = _mm_unpackhi_epi64(abef, cdgh);
        }
        digests
    }
}

/// Puts the four words that come next where the four oldest are, which are at `place`.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn next_words<const N: usize>(words: &mut Words<N>, place: usize) {
    let [older, newer, newest] = [1, 2, 3].map(|after| (place + after) % 4);
    for lane in 0..N {
        let newest = words[newest][lane];
        let early = _mm_sha256msg1_epu32(words[place][lane], words[older][lane]);
        let middle = _mm_alignr_epi8::<4>(newest, words[newer][lane]);
        words[place][lane] = _mm_sha256msg2_epu32(_mm_add_epi32(early, middle), newest);
    }
}

#[inline]
#[target_feature(enable = "ssse3")]
fn block_words<const N: usize>(blocks: [&Block; N]) -> Words<N> {
    let mut words = [[_mm_setzero_si128(); N]; 4];
    for (lane, block) in blocks.into_iter().enumerate() {
        for (place, bytes) in block.as_chunks().0.iter().enumerate() {
            words[place][lane] = swapped(from_bytes(bytes));
        }
    }
    words
}

#[inline]
#[target_feature(enable = "ssse3")]
fn hash_words<const N: usize>(hashes: [&Hash; N]) -> Digests<N> {
    let mut words = [[_mm_setzero_si128(); N]; 2];
    for (lane, hash) in hashes.into_iter().enumerate() {
        for (place, bytes) in hash.as_chunks().0.iter().enumerate() {
            words[place][lane] = swapped(from_bytes(bytes));
        }
    }
    words
}

#[inline]
#[target_feature(enable = "ssse3,sse4.1")]
fn hashes<const N: usize>(digests: Digests<N>) -> [Hash; N] {
    let mut hashes = [[0; 32]; N];
    for (lane, hash) in hashes.iter_mut().enumerate() {
        for (place, bytes) in hash.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let word = swapped(digests[place][lane]);
            let halves = [_mm_extract_epi64::<0>(word), _mm_extract_epi64::<1>(word)];
            for (bytes, half) in bytes.as_chunks_mut().0.iter_mut().zip(halves) {
                *bytes = half.to_le_bytes();
            }
        }
    }
    hashes
}

/// Words of four bytes in the other byte order: SHA-256 has the highest first.
#[inline]
#[target_feature(enable = "ssse3")]
fn swapped(words: __m128i) -> __m128i {
    _mm_shuffle_epi8(words, _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3))
}

#[inline]
#[target_feature(enable = "sse2")]
fn from_bytes(bytes: &[u8; 16]) -> __m128i {
    let number = u128::from_le_bytes(*bytes);
    let [lower, upper] = [number, number >> 64].map(lower_half);
    _mm_set_epi64x(upper, lower)
}

#[expect(clippy::cast_possible_truncation, reason = "that is what it is for")]
const fn lower_half(number: u128) -> i64 {
    (number as u64).cast_signed()
}

/// Four words, the first lowest.
#[inline]
#[target_feature(enable = "sse2")]
fn quad([first, second, third, fourth]: [u32; 4]) -> __m128i {
    let [first, second, third, fourth] = [first, second, third, fourth].map(u32::cast_signed);
    _mm_set_epi32(fourth, third, second, first)
}
