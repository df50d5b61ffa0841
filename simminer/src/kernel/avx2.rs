//! AVX2: eight lanes, for machines with neither the SHA extensions nor AVX-512.

use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_and_si256, _mm256_castsi256_ps, _mm256_cmpeq_epi32,
    _mm256_min_epu32, _mm256_movemask_ps, _mm256_or_si256, _mm256_set1_epi32, _mm256_setr_epi32,
    _mm256_shuffle_epi8, _mm256_slli_epi32, _mm256_srli_epi32, _mm256_xor_si256,
};

use super::Header;
use super::lanes::{rounds, search_in_lanes};
use super::sha256::{HASH_BITS, HEADER_BITS, INITIAL_STATE, PADDING, ROUND};

/// Nonces that go through at once.
pub(super) const NONCES: u32 = 8;

type Vector = __m256i;

search_in_lanes!("avx2");

#[inline]
#[target_feature(enable = "avx2")]
fn splat(word: u32) -> Vector {
    _mm256_set1_epi32(word.cast_signed())
}

/// 0, 1, 2 and so on.
#[inline]
#[target_feature(enable = "avx2")]
fn count_up() -> Vector {
    _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)
}

#[inline]
#[target_feature(enable = "avx2")]
fn add(a: Vector, b: Vector) -> Vector {
    _mm256_add_epi32(a, b)
}

/// To the right, which is to the left by the rest of 32.
#[inline]
#[target_feature(enable = "avx2")]
fn rotate<const RIGHT: i32, const LEFT: i32>(a: Vector) -> Vector {
    const { assert!(RIGHT + LEFT == 32) }
    _mm256_or_si256(_mm256_srli_epi32::<RIGHT>(a), _mm256_slli_epi32::<LEFT>(a))
}

#[inline]
#[target_feature(enable = "avx2")]
fn shift<const RIGHT: i32>(a: Vector) -> Vector {
    _mm256_srli_epi32::<RIGHT>(a)
}

#[inline]
#[target_feature(enable = "avx2")]
fn xor3(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm256_xor_si256(_mm256_xor_si256(a, b), c)
}

#[inline]
#[target_feature(enable = "avx2")]
fn choose(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm256_xor_si256(c, _mm256_and_si256(a, _mm256_xor_si256(b, c)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn majority(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm256_or_si256(_mm256_and_si256(a, b), _mm256_and_si256(c, _mm256_or_si256(a, b)))
}

/// Swaps the bytes of each lane.
#[inline]
#[target_feature(enable = "avx2")]
fn swap_bytes(a: Vector) -> Vector {
    let (first, second, third, fourth) = (0x0001_0203, 0x0405_0607, 0x0809_0a0b, 0x0c0d_0e0f);
    let order = _mm256_setr_epi32(first, second, third, fourth, first, second, third, fourth);
    _mm256_shuffle_epi8(a, order)
}

/// The first lane with at most this value.
#[inline]
#[target_feature(enable = "avx2")]
fn first_at_most(a: Vector, most: u32) -> Option<u32> {
    let smaller = _mm256_min_epu32(a, splat(most));
    let lanes = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(smaller, a)));
    (lanes != 0).then(|| lanes.trailing_zeros())
}
