//! Hexadecimal text to bytes and back, of fixed and of any size.
//!
//! Lower case out, either case in. Thin names over a codec, so that every module says the same
//! words and no error type of a library leaks into ours.

/// Lower-case hex of `bytes`.
pub fn encode(bytes: &[u8]) -> String {
    faster_hex::hex_string(bytes)
}

/// Appends lower-case hex of `bytes`.
pub fn push<const N: usize>(into: &mut Vec<u8>, bytes: &[u8; N]) {
    let mut text = [[0; 2]; N];
    // There is room for two digits a byte.
    if let Ok(text) = faster_hex::hex_encode(bytes, text.as_flattened_mut()) {
        into.extend_from_slice(text.as_bytes());
    }
}

/// The bytes that `text` spells, or `None` when it has an odd length or a foreign character.
pub fn decode(text: impl AsRef<[u8]>) -> Option<Vec<u8>> {
    faster_hex::hex_decode_vec(text.as_ref()).ok()
}

/// Exactly `N` bytes, or `None`.
pub fn decode_array<const N: usize>(text: impl AsRef<[u8]>) -> Option<[u8; N]> {
    faster_hex::hex_decode_array(text.as_ref()).ok()
}

/// A big-endian 32-bit number of one to eight digits; a short one is left-padded, for NerdMiner
/// sends nonces without their leading zeros (nerdminer `stratum.cpp`).
pub fn decode_u32(text: &str) -> Option<u32> {
    let digits = 1..=8;
    if !digits.contains(&text.len()) {
        return None;
    }
    text.bytes().try_fold(0, |number, byte| Some(number << 4 | digit(byte)?))
}

fn digit(byte: u8) -> Option<u32> {
    char::from(byte).to_digit(16)
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

    #[test]
    fn another_length_or_a_foreign_character_is_none() {
        assert_eq!(decode_array::<2>("00fF"), Some([0, 0xff]));
        for bad in ["", "00f", "00ff0", "00ff00", "0x00", "00fg", "+0ff", "00\u{e9}"] {
            assert_eq!(decode_array::<2>(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn bytes_survive(bytes: Vec<u8>) {
            let text = encode(&bytes);
            let fixed = bytes.first_chunk::<5>().copied();
            let ten = text.get(..10).unwrap_or_default();
            prop_assert_eq!(decode_array::<5>(ten), fixed);
            prop_assert_eq!(decode_array::<5>(&ten.to_uppercase()), fixed);
            let mut pushed = Vec::new();
            if let Some(fixed) = &fixed {
                push(&mut pushed, fixed);
            }
            prop_assert_eq!(&pushed, ten.as_bytes());
            prop_assert_eq!(decode(&text), Some(bytes));
        }

        #[test]
        fn numbers_survive(number: u32) {
            prop_assert_eq!(decode_u32(&format!("{number:x}")), Some(number));
        }
    }
}
