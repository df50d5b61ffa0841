//! Hexadecimal text to bytes and back, of fixed and of any size.
//!
//! Lower case out, either case in. Thin names over the `bitcoin` crate's codec, so that every
//! module says the same words and no error type of a library leaks into ours.

use bitcoin::hex::{DisplayHex, FromHex};

/// Lower-case hex of `bytes`.
pub fn encode(bytes: &[u8]) -> String {
    bytes.to_lower_hex_string()
}

/// The bytes that `text` spells, or `None` when it has an odd length or a foreign character.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    Vec::from_hex(text).ok()
}

/// Exactly `N` bytes, or `None`.
pub fn decode_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    <[u8; N]>::from_hex(text).ok()
}

/// A big-endian 32-bit number of one to eight digits; a short one is left-padded, for NerdMiner
/// sends nonces without their leading zeros (nerdminer `stratum.cpp`).
pub fn decode_u32(text: &str) -> Option<u32> {
    let digits = 1..=8;
    if !digits.contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u32::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn short_numbers_are_padded_and_foreign_ones_refused() {
        assert_eq!(decode_u32("9c8f1"), Some(0x0009_c8f1));
        assert_eq!(decode_u32("FFFFFFFF"), Some(u32::MAX));
        for bad in ["", "123456789", "+1", "0x1", "-1", " 1", "g"] {
            assert_eq!(decode_u32(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn bytes_survive(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }

        #[test]
        fn numbers_survive(number: u32) {
            prop_assert_eq!(decode_u32(&format!("{number:x}")), Some(number));
        }
    }
}
