//! Hex as the Stratum wire writes it: bytes in order, two digits each, no prefix.
//!
//! Why: the miner judges the server's strings, so it reads them with its own strict code: an odd
//! digit or a stranger is refused, never skipped. What is not here: any byte order. Who swaps
//! words or reverses a hash says so where it happens (`work`).

use std::fmt::Write as _;

/// Why a text is not the hex that was expected.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HexError {
    /// The text has an odd number of characters.
    #[error("{0} characters of hex do not make whole bytes")]
    OddLength(usize),
    /// A character is not a hex digit.
    #[error("character {0} is not a hex digit")]
    NotADigit(usize),
    /// The text has another length than its meaning fixes.
    #[error("{found} bytes of hex where {expected} belong")]
    Length {
        /// Bytes that belong there.
        expected: usize,
        /// Bytes that were found.
        found: usize,
    },
}

/// Decodes hex of any even length, upper or lower case.
pub fn decode(text: &str) -> Result<Vec<u8>, HexError> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return Err(HexError::OddLength(digits.len()));
    }
    let mut bytes = Vec::with_capacity(digits.len() / 2);
    for (index, pair) in digits.chunks_exact(2).enumerate() {
        let high = nibble(pair[0]).ok_or(HexError::NotADigit(2 * index))?;
        let low = nibble(pair[1]).ok_or(HexError::NotADigit(2 * index + 1))?;
        bytes.push(high << 4 | low);
    }
    Ok(bytes)
}

/// Decodes hex of exactly `N` bytes.
pub fn decode_array<const N: usize>(text: &str) -> Result<[u8; N], HexError> {
    let bytes = decode(text)?;
    let found = bytes.len();
    bytes.try_into().map_err(|_| HexError::Length { expected: N, found })
}

/// Decodes a 32-bit number written as eight digits, most significant first.
pub fn decode_u32(text: &str) -> Result<u32, HexError> {
    decode_array(text).map(u32::from_be_bytes)
}

/// Encodes bytes as lower-case hex.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        #[expect(clippy::expect_used, reason = "a String takes every write")]
        write!(text, "{byte:02x}").expect("a String takes every write");
    }
    text
}

/// The value of one hex digit.
fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_most_significant_first() {
        assert_eq!(decode_u32("1d00ffff"), Ok(0x1d00_ffff));
        assert_eq!(decode_u32("1D00FFFF"), Ok(0x1d00_ffff));
    }

    #[test]
    fn what_is_not_hex_is_named() {
        assert_eq!(decode("abc"), Err(HexError::OddLength(3)));
        assert_eq!(decode("0g"), Err(HexError::NotADigit(1)));
        assert_eq!(decode("\u{e9}"), Err(HexError::NotADigit(0)));
        assert_eq!(decode_u32("00ffff"), Err(HexError::Length { expected: 4, found: 3 }));
        assert_eq!(decode(""), Ok(vec![]));
    }

    proptest! {
        #[test]
        fn bytes_survive_the_round_trip(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&bytes)), Ok(bytes));
        }

        #[test]
        fn any_text_is_decoded_or_refused(text: String) {
            if let Ok(bytes) = decode(&text) {
                prop_assert_eq!(encode(&bytes), text.to_lowercase());
            }
        }
    }
}
