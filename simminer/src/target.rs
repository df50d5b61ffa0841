//! Difficulty as decimal text, target as a 256-bit integer, and the exact road between them.
//!
//! Why exact: a share at the border must get the same verdict from miner and server, and the
//! difficulties of test networks (4.65e-10) lie far from where a float is precise. So a difficulty
//! stays the decimal that the server wrote, `digits * 10^exponent`, and the target is
//! `floor(0xffff * 2^208 / difficulty)` in whole numbers.
//! **Invariant:** no floating point in this file.

use std::fmt;
use std::str::FromStr;

use ruint::Uint;
use ruint::aliases::U256;

/// Holds `0xffff * 2^208 * 10^87`, the largest numerator that is ever divided.
type Wide = Uint<640, 10>;

/// Significant decimal digits kept of a difficulty; 77 nines still fit 256 bits.
const DIGITS_MAX: u32 = 77;

/// From here on `0xffff * 2^208 * 10^n / digits` passes 2^256, whatever the digits.
const EXPONENT_EASIEST: i64 = -88;

/// From here on the difficulty is above `0xffff * 2^208`, whatever the digits.
const EXPONENT_HARDEST: i64 = 68;

/// A positive decimal number: how much harder than the easiest mainnet target a share is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Difficulty {
    /// Never zero, no trailing decimal zero: equal numbers are equal values.
    digits: U256,
    /// Power of ten that `digits` is multiplied by.
    exponent: i64,
}

/// Why a text is no difficulty.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DifficultyError {
    /// Not a decimal number in JSON's form.
    #[error("not a decimal number")]
    NotANumber,
    /// Zero or below.
    #[error("not above zero")]
    NotPositive,
}

impl Difficulty {
    /// What applies to a job when the server has announced nothing.
    pub const ONE: Self = Self { digits: U256::ONE, exponent: 0 };

    /// The largest hash that meets this difficulty.
    ///
    /// A difficulty so low that every hash meets it gives the largest target; one so high that no
    /// hash but zero meets it gives the target zero.
    pub fn target(self) -> Target {
        if self.exponent <= EXPONENT_EASIEST {
            return Target(U256::MAX);
        }
        if self.exponent >= EXPONENT_HARDEST {
            return Target(U256::ZERO);
        }
        let one = Wide::from(0xffff_u64) << 208;
        let digits = Wide::from(self.digits);
        let power = Wide::from(10).pow(Wide::from(self.exponent.unsigned_abs()));
        let target: Wide =
            if self.exponent < 0 { one * power / digits } else { one / (digits * power) };
        Target(target.saturating_to())
    }

    /// Builds from digits that may still end in zeros.
    fn normalized(mut digits: U256, mut exponent: i64) -> Self {
        let ten = U256::from(10);
        while digits % ten == U256::ZERO {
            digits /= ten;
            exponent += 1;
        }
        Self { digits, exponent }
    }
}

impl FromStr for Difficulty {
    type Err = DifficultyError;

    /// Reads a JSON number of any magnitude, or the same within the quotes of a JSON string.
    ///
    /// Digits past the 77th round the number up, so that the share surely meets it.
    fn from_str(text: &str) -> Result<Self, DifficultyError> {
        let text = text.trim();
        let text = text
            .strip_prefix('"')
            .and_then(|inner| inner.strip_suffix('"'))
            .map_or(text, str::trim);
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, power) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
        if !is_digits(whole) || !is_digits(fraction) {
            return Err(DifficultyError::NotANumber);
        }
        let mut exponent = parse_power(power)?;
        let mut digits = U256::ZERO;
        let mut kept = 0;
        let mut rounded_up = false;
        for (digit, in_fraction) in (whole.bytes().map(|digit| (digit, false)))
            .chain(fraction.bytes().map(|digit| (digit, true)))
        {
            let value = U256::from(digit - b'0');
            if kept == DIGITS_MAX {
                rounded_up |= !value.is_zero();
                exponent += i64::from(!in_fraction);
                continue;
            }
            digits = digits * U256::from(10) + value;
            kept += u32::from(!digits.is_zero());
            exponent -= i64::from(in_fraction);
        }
        if digits.is_zero() || negative {
            return Err(DifficultyError::NotPositive);
        }
        Ok(Self::normalized(digits + U256::from(u8::from(rounded_up)), exponent))
    }
}

impl fmt::Display for Difficulty {
    /// Writes a JSON number: plain where that is short, else with an exponent.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.digits.to_string();
        // The decimal point stands after this many digits.
        let point = i64::try_from(digits.len()).unwrap_or(i64::MAX).saturating_add(self.exponent);
        match (self.exponent, point) {
            (0.., ..=21) => {
                let zeros = usize::try_from(self.exponent).unwrap_or(0);
                write!(formatter, "{digits}{}", "0".repeat(zeros))
            }
            (_, 1..=21) => {
                let (whole, fraction) = digits.split_at(usize::try_from(point).unwrap_or(1));
                write!(formatter, "{whole}.{fraction}")
            }
            (_, -5..=0) => {
                let zeros = usize::try_from(-point).unwrap_or(0);
                write!(formatter, "0.{}{digits}", "0".repeat(zeros))
            }
            _ => match digits.split_at(1) {
                (first, "") => write!(formatter, "{first}e{}", point - 1),
                (first, rest) => write!(formatter, "{first}.{rest}e{}", point - 1),
            },
        }
    }
}

/// The largest hash, read as a little-endian number, that is good enough.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Target(U256);

impl Target {
    /// The largest number that is good enough, most significant byte first.
    pub fn to_be_bytes(self) -> [u8; 32] {
        self.0.to_be_bytes()
    }

    /// Decodes a header's compact `bits`; `None` where Bitcoin sees zero, a negative or too much.
    pub fn from_bits(bits: u32) -> Option<Self> {
        let size = bits >> 24;
        let mantissa = bits & 0x007f_ffff;
        let negative = bits & 0x0080_0000 != 0;
        let overflow =
            size > 34 || (size > 33 && mantissa > 0xff) || (size > 32 && mantissa > 0xffff);
        if negative || (overflow && mantissa != 0) {
            return None;
        }
        let target = if size <= 3 {
            U256::from(mantissa >> (8 * (3 - size)))
        } else {
            let shift = usize::try_from(8 * (size - 3)).unwrap_or(usize::MAX);
            U256::from(mantissa).checked_shl(shift)?
        };
        (!target.is_zero()).then_some(Self(target))
    }

    /// Whether a hash, in the byte order of SHA-256's output, is at or below the target.
    pub fn is_met_by(self, hash: &[u8; 32]) -> bool {
        U256::from_le_bytes(*hash) <= self.0
    }

    /// The most significant 32 bits: a hash above these cannot meet the target.
    pub fn top_word(self) -> u32 {
        let bytes: [u8; 32] = self.0.to_be_bytes();
        u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:064x}", self.0)
    }
}

/// At least one digit and nothing else.
fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Reads the power of ten, however absurd: past a million it no longer makes a difference.
fn parse_power(text: &str) -> Result<i64, DifficultyError> {
    const ABSURD: i64 = 1 << 40;
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if !is_digits(digits) {
        return Err(DifficultyError::NotANumber);
    }
    let power = digits.parse::<i64>().unwrap_or(ABSURD).min(ABSURD);
    Ok(if negative { -power } else { power })
}

#[cfg(test)]
mod tests;
