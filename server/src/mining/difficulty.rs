//! Difficulty and target: exact decimals and 256-bit integers.
//!
//! A difficulty is what miners are told, a decimal of any magnitude. A target is what hashes are
//! compared with. `target = floor(DIFFICULTY_1 / difficulty)`, computed exactly, so that two
//! implementations that round correctly agree to the bit. No float takes part.

use core::cmp::Ordering;
use core::fmt;
use core::num::NonZeroU64;
use core::str::FromStr;

use bitcoin::CompactTarget;
use ruint::aliases::{U256, U512};

use super::hash::Hash;

mod sum;

pub use sum::DifficultySum;

/// Target of difficulty 1: `00000000ffff` and zeros (bdiff, as pools use it).
const DIFFICULTY_1: U256 = U256::from_limbs([0, 0, 0, 0xffff_0000]);
/// Decimal places that a difficulty may need on either side of the point.
const EXPONENT_MAX: i32 = 30;
/// As many zeros as that.
const ZEROS: &str = "000000000000000000000000000000";
const _: () = assert!(ZEROS.len() == EXPONENT_MAX.unsigned_abs() as usize);
/// Digits kept when a difficulty is derived from a target.
const DERIVED_DIGITS: usize = 10;

/// The largest hash value that counts, as a 256-bit number.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Target(U256);

impl Target {
    /// The target that `bits` stands for, or `None` when it is zero, negative or over 256 bits
    /// (consensus refuses all three).
    pub fn from_compact(bits: CompactTarget) -> Option<Self> {
        let bits = bits.to_consensus();
        let exponent = usize::try_from(bits >> 24).ok()?;
        let mantissa = U256::from(bits & 0x007f_ffff);
        if bits & 0x0080_0000 != 0 {
            return None;
        }
        let value = if exponent <= 3 {
            mantissa >> (8 * (3 - exponent))
        } else {
            let shift = 8 * (exponent - 3);
            if mantissa.bit_len() + shift > 256 {
                return None;
            }
            mantissa << shift
        };
        (value != U256::ZERO).then_some(Self(value))
    }

    /// From 32 bytes, most significant first: the form of `getblocktemplate`'s `target`.
    pub fn from_be_bytes(bytes: [u8; 32]) -> Self {
        Self(U256::from_be_bytes(bytes))
    }

    /// Whether `hash`, read as a little-endian number, is at most this target.
    pub fn is_met_by(&self, hash: &Hash) -> bool {
        U256::from_le_bytes(*hash) <= self.0
    }

    /// The largest difficulty of ten digits that is not harder than this target, 10^30 at most.
    pub fn to_difficulty(self) -> Difficulty {
        assert!(self.0 != U256::ZERO, "a zero target has no difficulty");
        let one = U512::from(DIFFICULTY_1);
        let target = U512::from(self.0);
        let ten = U512::from(10);
        // Scale until the quotient has enough digits, then cut: down, so never harder.
        let mut numerator = one;
        let mut exponent = 0;
        let enough = ten.pow(U512::from(DERIVED_DIGITS - 1));
        while numerator / target < enough && -exponent < EXPONENT_MAX {
            numerator *= ten;
            exponent -= 1;
        }
        let mut digits = numerator / target;
        while digits >= enough * ten {
            digits /= ten;
            exponent += 1;
        }
        let digits = u64::try_from(digits).unwrap_or(u64::MAX).max(1);
        let difficulty = Difficulty::normalised(digits, exponent).min(Difficulty::HARDEST);
        assert!(difficulty.to_target() >= self, "a derived difficulty is never harder");
        difficulty
    }
}

/// A difficulty as people and miners write it: `digits * 10^exponent`, exact and positive.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Difficulty {
    digits: u64,
    exponent: i32,
}

/// Why a text is no difficulty.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DifficultyError {
    /// It is not a decimal number.
    #[error("is not a decimal number such as 1, 0.001 or 4.6e-10")]
    NotANumber,
    /// It is zero or negative.
    #[error("must be greater than zero")]
    NotPositive,
    /// It needs more than 19 digits or an exponent beyond 30.
    #[error("has more than 19 digits or lies outside 1e-30 to 1e30")]
    OutOfRange,
}

impl Difficulty {
    /// Difficulty 1.
    pub const ONE: Self = Self { digits: 1, exponent: 0 };
    /// The hardest that can be written.
    const HARDEST: Self = Self { digits: 1, exponent: EXPONENT_MAX };

    fn normalised(mut digits: u64, mut exponent: i32) -> Self {
        assert!(digits > 0, "a difficulty is positive");
        while digits.is_multiple_of(10) {
            digits /= 10;
            exponent += 1;
        }
        Self { digits, exponent }
    }

    /// The shortest exact plain decimal, without an exponent (firmware parsers differ in theirs),
    /// in three parts that follow each other. It is written for every share, and a formatter takes
    /// ten times as long.
    pub fn parts(self, buffer: &mut itoa::Buffer) -> [&str; 3] {
        let digits = buffer.format(self.digits);
        let places = usize::try_from(self.exponent.unsigned_abs()).unwrap_or(usize::MAX);
        let zeros = |count| ZEROS.get(..count).unwrap_or(ZEROS);
        if self.exponent >= 0 {
            return [digits, zeros(places), ""];
        }
        // With as many places as digits or more, all stand after the point.
        let whole = digits.len().checked_sub(places).filter(|whole| *whole > 0);
        match whole.and_then(|whole| digits.split_at_checked(whole)) {
            Some((whole, fraction)) => [whole, ".", fraction],
            None => ["0.", zeros(places.saturating_sub(digits.len())), digits],
        }
    }

    /// The place of the first digit: 0 for 1 to 9, -1 for 0.1 to 0.9.
    fn magnitude(self) -> i32 {
        self.exponent + self.digits.ilog10().cast_signed()
    }

    /// This difficulty times `numerator / denominator`, rounded to the nearest rung (by ratio) of
    /// 1, 2, 3, 5, 7 and their tens: whole numbers from 1 on, for some firmware knows no other, and
    /// never further from the exact value than by a factor 1.42.
    ///
    /// Both must be positive and less than 10^17.
    #[must_use]
    pub fn rung_at(self, numerator: u64, denominator: u64) -> Self {
        let most = 10_u64.pow(17);
        assert!((1..most).contains(&numerator) && (1..most).contains(&denominator));
        // Twenty digits above the denominator's are more than enough, and fit 128 bits.
        let mut digits = u128::from(self.digits);
        let mut exponent = self.exponent;
        while digits >= 10_u128.pow(11) {
            digits /= 10;
            exponent += 1;
        }
        let mut quotient = digits * u128::from(numerator);
        while quotient < 10_u128.pow(36) {
            quotient *= 10;
            exponent -= 1;
        }
        quotient /= u128::from(denominator);
        while quotient >= 10_000 {
            quotient /= 10;
            exponent += 1;
        }
        // Now 1000 to 9999; the bounds are the square roots of neighbours' products.
        let rung = match quotient {
            ..1_414 => 1,
            1_414..2_449 => 2,
            2_449..3_873 => 3,
            3_873..5_916 => 5,
            5_916..8_367 => 7,
            8_367.. => 10,
        };
        let exponent = (exponent + 3).clamp(-EXPONENT_MAX, EXPONENT_MAX - 1);
        Self::normalised(rung, exponent)
    }

    /// The largest hash that meets this difficulty.
    pub fn to_target(self) -> Target {
        let one = U512::from(DIFFICULTY_1);
        let digits = U512::from(self.digits);
        let scale = U512::from(10).pow(U512::from(self.exponent.unsigned_abs()));
        let target = if self.exponent < 0 { one * scale / digits } else { one / (digits * scale) };
        Target(U256::saturating_from(target))
    }

    /// This difficulty, or the network's where that is easier: a miner told a harder one would
    /// throw blocks away (FAILURES 3).
    #[must_use]
    pub fn at_most(self, network: Target) -> Self {
        if self.to_target() >= network { self } else { network.to_difficulty() }
    }
}

impl From<NonZeroU64> for Difficulty {
    fn from(whole: NonZeroU64) -> Self {
        Self::normalised(whole.get(), 0)
    }
}

impl Ord for Difficulty {
    /// Exact, whatever the magnitudes.
    fn cmp(&self, other: &Self) -> Ordering {
        self.magnitude().cmp(&other.magnitude()).then_with(|| {
            // Of one magnitude, so the exponents differ by no more than the digits' lengths do.
            let lower = self.exponent.min(other.exponent);
            let scaled = |each: &Self| {
                u128::from(each.digits) * 10_u128.pow((each.exponent - lower).unsigned_abs())
            };
            scaled(self).cmp(&scaled(other))
        })
    }
}

impl PartialOrd for Difficulty {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Difficulty {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buffer = itoa::Buffer::new();
        self.parts(&mut buffer).iter().try_for_each(|part| formatter.write_str(part))
    }
}

impl FromStr for Difficulty {
    type Err = DifficultyError;

    /// Reads `12`, `0.5`, `.5`, `1e-7`, `4.65E-10`; exact, or refused.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.starts_with('-') {
            return Err(DifficultyError::NotPositive);
        }
        let text = text.strip_prefix('+').unwrap_or(text);
        let (number, power) = match text.split_once(['e', 'E']) {
            Some((number, power)) => (number, power.parse().map_err(|_| not_a_number())?),
            None => (text, 0_i32),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let fraction = fraction.trim_end_matches('0');
        let digits = format!("{whole}{fraction}");
        if whole.len() + fraction.len() == 0 && !number.contains('0')
            || !digits.bytes().all(|byte| byte.is_ascii_digit())
        {
            return Err(not_a_number());
        }
        let digits = digits.trim_start_matches('0');
        if digits.is_empty() {
            return Err(DifficultyError::NotPositive);
        }
        let significant = digits.trim_end_matches('0');
        let zeros = digits.len() - significant.len();
        let shift = |length| i32::try_from(length).map_err(|_| DifficultyError::OutOfRange);
        let exponent = power
            .checked_sub(shift(fraction.len())?)
            .and_then(|power: i32| power.checked_add(shift(zeros).ok()?))
            .ok_or(DifficultyError::OutOfRange)?;
        let digits = significant.parse().map_err(|_| DifficultyError::OutOfRange)?;
        let difficulty = Self::normalised(digits, exponent);
        let magnitude =
            difficulty.exponent.saturating_add(difficulty.digits.ilog10().cast_signed());
        let range = -EXPONENT_MAX..=EXPONENT_MAX;
        if !range.contains(&difficulty.exponent) || !range.contains(&magnitude) {
            return Err(DifficultyError::OutOfRange);
        }
        Ok(difficulty)
    }
}

const fn not_a_number() -> DifficultyError {
    DifficultyError::NotANumber
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn difficulty(text: &str) -> Difficulty {
        text.parse().expect(text)
    }

    fn target(hex: &str) -> Target {
        Target::from_be_bytes(super::super::hex::decode_array(hex).expect("64 digits"))
    }

    fn regtest() -> Target {
        Target::from_compact(CompactTarget::from_consensus(0x207f_ffff)).expect("valid")
    }

    #[test]
    fn known_targets() {
        let check = |text, expected: String| {
            assert_eq!(difficulty(text).to_target(), target(&expected), "{text}");
        };
        check("1", format!("00000000ffff{}", "0".repeat(52)));
        check("0.5", format!("00000001fffe{}", "0".repeat(52)));
        check("2", format!("000000007fff8{}", "0".repeat(51)));
        check("65536", format!("000000000000ffff{}", "0".repeat(48)));
        check("1e-30", "f".repeat(64));
    }

    #[test]
    fn shown_as_the_shortest_plain_decimal() {
        let check = |text, shown: &str| assert_eq!(difficulty(text).to_string(), shown);
        check("1.0", "1");
        check("1e3", "1000");
        check("0.50", "0.5");
        check("12.5", "12.5");
        check(".00015", "0.00015");
        check("4.656542373e-10", "0.0000000004656542373");
        check("1152921504606846976", "1152921504606846976");
    }

    #[test]
    fn what_is_no_difficulty() {
        for text in ["", ".", "e5", "one", "1,5", "0x10", "NaN", "inf", "1e", "1 2", "1e1.5"] {
            assert_eq!(text.parse::<Difficulty>(), Err(DifficultyError::NotANumber), "{text:?}");
        }
        for text in ["0", "0.0", "-1", "-0.5", "0e9", "--1"] {
            assert_eq!(text.parse::<Difficulty>(), Err(DifficultyError::NotPositive), "{text:?}");
        }
        for text in ["1e31", "1e-31", "123456789012345678901", "1e2147483647", "0.1e-2147483648"] {
            assert_eq!(text.parse::<Difficulty>(), Err(DifficultyError::OutOfRange), "{text:?}");
        }
    }

    #[test]
    fn the_networks_own_difficulty_is_never_exceeded() {
        assert_eq!(regtest().to_difficulty().to_string(), "0.0000000004656542373");
        assert_eq!(difficulty("1").at_most(regtest()), regtest().to_difficulty());
        assert_eq!(difficulty("1e-10").at_most(regtest()), difficulty("1e-10"));
    }

    #[test]
    fn the_least_target_has_a_difficulty_that_can_be_written() {
        let told = target(&format!("{}4", "0".repeat(63))).to_difficulty().to_string();
        assert_eq!(told, format!("1{}", "0".repeat(30)));
        assert_eq!(told.parse(), Ok(difficulty("1e30")));
    }

    #[test]
    fn compact_targets_that_consensus_refuses() {
        for bits in [0, 0x0100_3456, 0x0480_0001, 0x2100_ffff + 0x0200_0000, 0xff12_3456] {
            let bits = CompactTarget::from_consensus(bits);
            assert_eq!(Target::from_compact(bits), None, "{bits:x}");
        }
    }

    #[test]
    fn rungs_are_near_and_round() {
        let check = |text, numerator, denominator, expected: &str| {
            assert_eq!(difficulty(text).rung_at(numerator, denominator).to_string(), expected);
        };
        check("1", 1, 1, "1");
        check("1", 1_413, 1_000, "1");
        check("1", 1_415, 1_000, "2");
        check("1", 23_283, 1, "20000");
        check("1", 84, 10, "10");
        check("1", 1, 16, "0.07");
        check("0.00015", 1, 3, "0.00005");
        check("4.656542373e-10", 1, 1, "0.0000000005");
        check("1e30", 10_u64.pow(16), 1, "100000000000000000000000000000");
        check("1e-30", 1, 10_u64.pow(16), "0.000000000000000000000000000001");
    }

    proptest! {
        #[test]
        fn a_rung_is_within_a_factor(
            digits in 1_u64..,
            exponent in -10_i32..=10,
            numerator in 1..10_u64.pow(12),
            denominator in 1..10_u64.pow(12),
        ) {
            let before = Difficulty::normalised(digits, exponent);
            let rung = before.rung_at(numerator, denominator);
            let value = |each: Difficulty| each.to_string().parse::<f64>().unwrap();
            let float = |whole: u64| whole.to_string().parse::<f64>().unwrap();
            let exact = value(before) * float(numerator) / float(denominator);
            if (1e-29..1e28).contains(&exact) {
                let ratio = value(rung) / exact;
                prop_assert!((0.70..1.43).contains(&ratio), "{before} {rung} {ratio}");
            }
        }

        #[test]
        fn order_is_that_of_the_numbers(
            one in (1_u64.., -30_i32..=11),
            other in (1_u64.., -30_i32..=11),
        ) {
            let [one, other] = [one, other].map(|(digits, exponent)| {
                Difficulty::normalised(digits, exponent)
            });
            let value = |each: Difficulty| {
                U512::from(each.digits) * U512::from(10).pow(U512::from(each.exponent + 30))
            };
            prop_assert_eq!(one.cmp(&other), value(one).cmp(&value(other)));
        }

        #[test]
        fn text_survives(digits in 1_u64.., exponent in -11_i32..=11) {
            let before = Difficulty::normalised(digits, exponent);
            prop_assert_eq!(difficulty(&before.to_string()), before);
        }

        #[test]
        fn derived_is_within_a_billionth(bytes: [u8; 32], zeros in 0_usize..16) {
            let mut bytes = bytes;
            bytes[..zeros].fill(0);
            bytes[zeros] |= 1;
            let network = Target::from_be_bytes(bytes);
            let told = network.to_difficulty().to_target();
            prop_assert!(told >= network);
            let slack = network.0 / U256::from(500_000_000_u64) + U256::from(1);
            prop_assert!(told.0 - network.0 <= slack);
        }

        #[test]
        fn compact_agrees_with_the_bitcoin_crate(bits: u32) {
            let compact = CompactTarget::from_consensus(bits);
            if let Some(ours) = Target::from_compact(compact) {
                let theirs = bitcoin::Target::from_compact(compact);
                prop_assert_eq!(ours.0.to_be_bytes::<32>(), theirs.to_be_bytes());
            }
        }

        #[test]
        fn a_hash_at_the_target_counts_and_one_above_does_not(limbs: [u64; 4]) {
            let value = U256::from_limbs(limbs).max(U256::from(1)).min(U256::MAX - U256::from(1));
            let target = Target(value);
            prop_assert!(target.is_met_by(&value.to_le_bytes()));
            prop_assert!(!target.is_met_by(&(value + U256::from(1)).to_le_bytes()));
        }
    }
}
