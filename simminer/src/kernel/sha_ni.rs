//! The SHA extensions: two rounds in one instruction, four words of the message in two.
//!
//! Why several nonces in turn: each of these instructions waits some cycles for the one before it,
//! and in that time the processor can begin the same step for other nonces.
//!
//! The instructions want the working variables in two halves: a, b, e and f in one register, c, d,
//! g and h in the other, the first of them highest. Two rounds make the next first half, and the
//! first half of before is the next second half; so the halves change places with every two
//! rounds, and nothing is moved.

use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_blend_epi16, _mm_extract_epi32, _mm_insert_epi32,
    _mm_set_epi32, _mm_setzero_si128, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32,
    _mm_sha256rnds2_epu32, _mm_shuffle_epi32,
};

use super::Header;
use super::sha256::{HASH_BITS, HEADER_BITS, INITIAL_STATE, PADDING, ROUND};

/// Nonces that go through in turn.
pub(super) const NONCES: u32 = 4;

/// The same as a length.
const WAYS: usize = NONCES as usize;

/// A register of each nonce.
type Ways = [__m128i; WAYS];

/// The working variables of each nonce.
#[derive(Clone, Copy)]
struct State {
    /// a, b, e and f.
    first: Ways,
    /// c, d, g and h.
    second: Ways,
}

/// See [`super::Kernel::scan`]; `count` is a multiple of [`NONCES`].
#[target_feature(enable = "sha,ssse3,sse4.1")]
pub(super) fn scan(header: &Header, first: u32, count: u64, top_word: u32) -> Option<u32> {
    let mut base = first;
    for _ in 0..count / u64::from(NONCES) {
        let last_words = hash_again(hash_once(header, base));
        let mut nonce = base;
        for word in last_words {
            if word.swap_bytes() <= top_word {
                return Some(nonce);
            }
            nonce = nonce.wrapping_add(1);
        }
        base = nonce;
    }
    None
}

/// Runs a step for each nonce.
macro_rules! each {
    ($way:ident: $step:expr) => {{
        let mut results = [_mm_setzero_si128(); WAYS];
        let mut $way = 0;
        while $way < WAYS {
            results[$way] = $step;
            $way += 1;
        }
        results
    }};
}

/// The header's hash, as eight words in two registers for each of the nonces from `base` on.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn hash_once(header: &Header, base: u32) -> [Ways; 2] {
    let [root, time, bits] = header.words;
    let start = pack([root, time, bits, 0]);
    let mut nonce = base;
    let mut words = [start; WAYS];
    for word in &mut words {
        *word = _mm_insert_epi32::<3>(*word, nonce.swap_bytes().cast_signed());
        nonce = nonce.wrapping_add(1);
    }
    let (first, second) = halves(header.after_two);
    let mut state = State { first: [first; WAYS], second: [second; WAYS] };
    // Rounds 0 and 1 are in `after_two`.
    two_rounds(&mut state, &each!(way: high_half(_mm_add_epi32(words[way], constants(0)))));
    let padding = pack([PADDING, 0, 0, 0]);
    let length = pack([0, 0, 0, HEADER_BITS]);
    four_rounds(&mut state, &[_mm_add_epi32(padding, constants(4)); WAYS]);
    four_rounds(&mut state, &[constants(8); WAYS]);
    four_rounds(&mut state, &[_mm_add_epi32(length, constants(12)); WAYS]);
    let mut message = [words, [padding; WAYS], [_mm_setzero_si128(); WAYS], [length; WAYS]];
    sixteen_rounds(&mut state, &mut message, 16);
    sixteen_rounds(&mut state, &mut message, 32);
    sixteen_rounds(&mut state, &mut message, 48);
    let (first, second) = halves(header.midstate);
    let first = each!(way: _mm_add_epi32(state.first[way], first));
    let second = each!(way: _mm_add_epi32(state.second[way], second));
    in_order(&first, &second)
}

/// The last word of the hash of each hash.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn hash_again([start, end]: [Ways; 2]) -> [u32; WAYS] {
    let (first, second) = halves(INITIAL_STATE);
    let mut state = State { first: [first; WAYS], second: [second; WAYS] };
    let padding = pack([PADDING, 0, 0, 0]);
    let length = pack([0, 0, 0, HASH_BITS]);
    four_rounds(&mut state, &each!(way: _mm_add_epi32(start[way], constants(0))));
    four_rounds(&mut state, &each!(way: _mm_add_epi32(end[way], constants(4))));
    four_rounds(&mut state, &[_mm_add_epi32(padding, constants(8)); WAYS]);
    four_rounds(&mut state, &[_mm_add_epi32(length, constants(12)); WAYS]);
    let mut message = [start, end, [padding; WAYS], [length; WAYS]];
    sixteen_rounds(&mut state, &mut message, 16);
    sixteen_rounds(&mut state, &mut message, 32);
    next_words(&mut message);
    add_and_run(&mut state, &message[3], 48);
    next_words(&mut message);
    add_and_run(&mut state, &message[3], 52);
    next_words(&mut message);
    add_and_run(&mut state, &message[3], 56);
    next_words(&mut message);
    two_rounds(&mut state, &each!(way: _mm_add_epi32(message[3][way], constants(60))));
    // Variable e after round 60 is f after round 61, and would be h after round 63.
    let mut last_words = [0; WAYS];
    for (word, first) in last_words.iter_mut().zip(state.first) {
        let end = _mm_extract_epi32::<0>(first).cast_unsigned();
        *word = end.wrapping_add(INITIAL_STATE[7]);
    }
    last_words
}

/// Runs sixteen rounds, and makes the message words for them.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn sixteen_rounds(state: &mut State, message: &mut [Ways; 4], number: usize) {
    next_words(message);
    add_and_run(state, &message[3], number);
    next_words(message);
    add_and_run(state, &message[3], number + 4);
    next_words(message);
    add_and_run(state, &message[3], number + 8);
    next_words(message);
    add_and_run(state, &message[3], number + 12);
}

/// Drops the four oldest message words for the four that follow.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn next_words(message: &mut [Ways; 4]) {
    let [oldest, older, newer, newest] = *message;
    let next = each!(way: {
        let early = _mm_sha256msg1_epu32(oldest[way], older[way]);
        let middle = _mm_alignr_epi8::<4>(newest[way], newer[way]);
        _mm_sha256msg2_epu32(_mm_add_epi32(early, middle), newest[way])
    });
    *message = [older, newer, newest, next];
}

/// Runs the four rounds from `number` on, with these message words.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn add_and_run(state: &mut State, words: &Ways, number: usize) {
    let constants = constants(number);
    four_rounds(state, &each!(way: _mm_add_epi32(words[way], constants)));
}

/// Runs four rounds, with the message words and the constants in one.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn four_rounds(state: &mut State, inputs: &Ways) {
    two_rounds(state, inputs);
    two_rounds(state, &each!(way: high_half(inputs[way])));
}

/// Runs two rounds, with the lower half of the inputs.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn two_rounds(state: &mut State, inputs: &Ways) {
    let State { first, second } = *state;
    let next = each!(way: _mm_sha256rnds2_epu32(second[way], first[way], inputs[way]));
    *state = State { first: next, second: first };
}

/// The upper half, where the instruction wants it.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn high_half(inputs: __m128i) -> __m128i {
    _mm_shuffle_epi32::<0b00_00_11_10>(inputs)
}

/// The constants of four rounds.
#[inline]
#[target_feature(enable = "sse2")]
fn constants(number: usize) -> __m128i {
    pack([ROUND[number], ROUND[number + 1], ROUND[number + 2], ROUND[number + 3]])
}

/// Four words, the first of them lowest.
#[inline]
#[target_feature(enable = "sse2")]
fn pack([a, b, c, d]: [u32; 4]) -> __m128i {
    _mm_set_epi32(d.cast_signed(), c.cast_signed(), b.cast_signed(), a.cast_signed())
}

/// The working variables as the instructions want them.
#[expect(clippy::many_single_char_names, reason = "the standard's own names")]
#[inline]
#[target_feature(enable = "sse2")]
fn halves([a, b, c, d, e, f, g, h]: [u32; 8]) -> (__m128i, __m128i) {
    (pack([f, e, b, a]), pack([h, g, d, c]))
}

/// The working variables as words of a message: a to d, e to h.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn in_order(first: &Ways, second: &Ways) -> [Ways; 2] {
    let abef = each!(way: _mm_shuffle_epi32::<0b00_01_10_11>(first[way]));
    let ghcd = each!(way: _mm_shuffle_epi32::<0b10_11_00_01>(second[way]));
    [
        each!(way: _mm_blend_epi16::<0b1111_0000>(abef[way], ghcd[way])),
        each!(way: _mm_alignr_epi8::<8>(ghcd[way], abef[way])),
    ]
}
