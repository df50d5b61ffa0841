//! AVX-512: rotation in one instruction, any function of three inputs in one.

use std::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_cmple_epu32_mask, _mm512_ror_epi32, _mm512_set1_epi32,
    _mm512_set4_epi32, _mm512_setr_epi32, _mm512_shuffle_epi8, _mm512_srli_epi32,
    _mm512_ternarylogic_epi32,
};

use super::Header;
use super::lanes::{rounds, search_in_lanes};
use super::sha256::{HASH_BITS, HEADER_BITS, INITIAL_STATE, PADDING, ROUND};

/// Nonces that go through at once.
pub(super) const NONCES: u32 = 16;

type Vector = __m512i;

search_in_lanes!("avx512f,avx512bw");

#[inline]
#[target_feature(enable = "avx512f")]
fn splat(word: u32) -> Vector {
    _mm512_set1_epi32(word.cast_signed())
}

/// 0, 1, 2 and so on.
#[inline]
#[target_feature(enable = "avx512f")]
fn count_up() -> Vector {
    _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add(a: Vector, b: Vector) -> Vector {
    _mm512_add_epi32(a, b)
}

/// To the right; `_LEFT` is for those who have to put it together from two shifts.
#[inline]
#[target_feature(enable = "avx512f")]
fn rotate<const RIGHT: i32, const _LEFT: i32>(a: Vector) -> Vector {
    _mm512_ror_epi32::<RIGHT>(a)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn shift<const RIGHT: u32>(a: Vector) -> Vector {
    _mm512_srli_epi32::<RIGHT>(a)
}

// The constants below are truth tables: bit number 4a + 2b + c is the result.

#[inline]
#[target_feature(enable = "avx512f")]
fn xor3(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm512_ternarylogic_epi32::<0b1001_0110>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn choose(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm512_ternarylogic_epi32::<0b1100_1010>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn majority(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm512_ternarylogic_epi32::<0b1110_1000>(a, b, c)
}

/// Swaps the bytes of each lane.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn swap_bytes(a: Vector) -> Vector {
    let order = _mm512_set4_epi32(0x0c0d_0e0f, 0x0809_0a0b, 0x0405_0607, 0x0001_0203);
    _mm512_shuffle_epi8(a, order)
}

/// The first lane with at most this value.
#[inline]
#[target_feature(enable = "avx512f")]
fn first_at_most(a: Vector, most: u32) -> Option<u32> {
    let lanes = _mm512_cmple_epu32_mask(a, splat(most));
    (lanes != 0).then(|| lanes.trailing_zeros())
}
