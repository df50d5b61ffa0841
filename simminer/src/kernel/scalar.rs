//! One nonce at a time, by the library's block function. Every machine has it, and it is the
//! measure that the other kernels are held to.

use super::Header;

/// [`super::Kernel::scan`], one by one.
pub(super) fn scan(header: &Header, first: u32, count: u64, top_word: u32) -> Option<u32> {
    let mut nonce = first;
    for _ in 0..count {
        // The hash is a little-endian number: its top word is the last one, bytes swapped.
        if header.hash_words(nonce)[7].swap_bytes() <= top_word {
            return Some(nonce);
        }
        nonce = nonce.wrapping_add(1);
    }
    None
}
