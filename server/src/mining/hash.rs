//! SHA-256d, the one hash of mining, on the `sha2` crate.
//!
//! `sha2` uses the CPU's SHA extensions and measured 1.6 times faster than `bitcoin_hashes`. What
//! is hashed for every share has a fixed length, so its blocks are laid out here with their padding
//! and compressed as they are; and of any bytes only the end is: nothing is buffered, and nothing
//! copied twice.
//!
//! A library's compression is a call of its own, a tenth of which is the way of state and bytes
//! through memory. Where the machine has the SHA extensions of x86 the same is done in one go, and
//! of a template's thousands of hashes four at a time, in half the time (`sha_ni`). The library is
//! what every other machine uses, and the judge of both in the tests.

mod fixed;
#[cfg(target_arch = "x86_64")]
mod kernel;
#[cfg(target_arch = "x86_64")]
mod queue;
#[cfg(target_arch = "x86_64")]
mod sha_ni;

use sha2::block_api::compress256;

use fixed::{HASH_END, INITIAL, PAIR_END, padding};
#[cfg(target_arch = "x86_64")]
use kernel::ShaNi;

/// A 32-byte hash in internal order: the order in which it is hashed again and put into headers.
/// Shown to people reversed.
pub type Hash = [u8; 32];

/// One block of SHA-256's input.
pub(super) type Block = [u8; 64];

/// Between two blocks.
type State = [u32; 8];

/// The blocks of a header, whose 80 bytes are still zeros.
pub(super) const HEADER_BLOCKS: [Block; 2] = [[0; 64], padding(80)];

/// SHA-256 of SHA-256 of `bytes`.
pub fn sha256d(bytes: &[u8]) -> Hash {
    let (whole, end, ends) = ended(bytes);
    sha256d_blocks(&[whole, &end[..ends]])
}

/// SHA-256d of two hashes side by side: a node of the merkle tree.
#[inline]
pub fn sha256d_pair(left: &Hash, right: &Hash) -> Hash {
    sha256d_branch(left, core::slice::from_ref(right))
}

/// SHA-256d of `leaf` and the first hash of `branch` side by side, of that and the second, and so
/// on.
#[inline]
pub(super) fn sha256d_branch(leaf: &Hash, branch: &[Hash]) -> Hash {
    #[cfg(target_arch = "x86_64")]
    if let Some(kernel) = ShaNi::here() {
        return kernel.branch(leaf, branch);
    }
    branch_alone(leaf, branch)
}

/// The same with nothing but the library.
fn branch_alone(leaf: &Hash, branch: &[Hash]) -> Hash {
    let mut node = *leaf;
    for right in branch {
        let mut blocks = [[0; 64], PAIR_END];
        blocks[0][..32].copy_from_slice(&node);
        blocks[0][32..].copy_from_slice(right);
        node = blocks_alone(&[&blocks]);
    }
    node
}

/// SHA-256d of the two hashes of each pair: the next level of a merkle tree.
pub(super) fn sha256d_pairs(pairs: &[[Hash; 2]]) -> Vec<Hash> {
    #[cfg(target_arch = "x86_64")]
    if let Some(kernel) = ShaNi::here() {
        return kernel.pairs(pairs);
    }
    pairs.iter().map(|[left, right]| sha256d_pair(left, right)).collect()
}

/// SHA-256d of each message.
pub(super) fn sha256d_each(messages: &[&[u8]]) -> Vec<Hash> {
    #[cfg(target_arch = "x86_64")]
    if let Some(kernel) = ShaNi::here() {
        return kernel.each(messages);
    }
    messages.iter().copied().map(sha256d).collect()
}

/// SHA-256d of what [`blocks`] made, in parts that follow each other.
#[inline]
pub(super) fn sha256d_blocks(parts: &[&[Block]]) -> Hash {
    #[cfg(target_arch = "x86_64")]
    if let Some(kernel) = ShaNi::here() {
        return kernel.blocks(parts);
    }
    blocks_alone(parts)
}

/// The same with nothing but the library.
fn blocks_alone(parts: &[&[Block]]) -> Hash {
    let mut state = INITIAL;
    for part in parts {
        compress256(&mut state, part);
    }
    let mut second = HASH_END;
    second[..32].copy_from_slice(&bytes(&state));
    let mut state = INITIAL;
    compress256(&mut state, &[second]);
    bytes(&state)
}

/// The whole blocks of a message, and its last one or two: what is left of it, with its padding.
fn ended(message: &[u8]) -> (&[Block], [Block; 2], usize) {
    let (whole, rest) = message.as_chunks();
    // The bit that ends the message and its length need nine bytes.
    let count = if rest.len() + 9 <= 64 { 1 } else { 2 };
    let mut end = [[0; 64]; 2];
    end[0][..rest.len()].copy_from_slice(rest);
    end[0][rest.len()] = 0x80;
    end[count - 1][56..].copy_from_slice(&(8 * message.len() as u64).to_be_bytes());
    (whole, end, count)
}

/// `bytes` as blocks, with their padding.
pub(super) fn blocks(bytes: &[u8]) -> Vec<Block> {
    let (whole, end, ends) = ended(bytes);
    [whole, &end[..ends]].concat()
}

#[inline]
fn bytes(state: &[u32; 8]) -> Hash {
    let mut bytes = [0; 32];
    for (place, word) in bytes.chunks_exact_mut(4).zip(state) {
        place.copy_from_slice(&word.to_be_bytes());
    }
    bytes
}

/// The hash as people and RPC write it: reversed, in hex.
pub fn display_hash(hash: &Hash) -> String {
    let mut reversed = *hash;
    reversed.reverse();
    super::hex::encode(&reversed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    /// The `sha2` crate, padding and all, is the witness.
    fn witness(bytes: &[u8]) -> Hash {
        Sha256::digest(Sha256::digest(bytes)).into()
    }

    fn witness_of_pair(left: &Hash, right: &Hash) -> Hash {
        witness(&[*left, *right].concat())
    }

    proptest! {
        #[test]
        fn a_header_is_hashed_like_any_bytes(header in vec(any::<u8>(), 80)) {
            let mut blocks = HEADER_BLOCKS;
            blocks.as_flattened_mut()[..80].copy_from_slice(&header);
            prop_assert_eq!(sha256d_blocks(&[&blocks]), witness(&header));
            prop_assert_eq!(blocks_alone(&[&blocks]), witness(&header));
        }

        #[test]
        fn a_branch_is_pair_after_pair(leaf: Hash, branch in vec(any::<Hash>(), 0..14)) {
            let root = branch.iter().fold(leaf, |left, right| witness_of_pair(&left, right));
            prop_assert_eq!(sha256d_branch(&leaf, &branch), root);
            prop_assert_eq!(branch_alone(&leaf, &branch), root);
        }

        #[test]
        fn many_pairs_are_hashed_like_each(pairs in vec(any::<[Hash; 2]>(), 0..14)) {
            let each = pairs.iter().map(|[left, right]| witness_of_pair(left, right));
            prop_assert_eq!(sha256d_pairs(&pairs), each.collect::<Vec<_>>());
        }

        #[test]
        fn many_messages_are_hashed_like_each(messages in vec(vec(any::<u8>(), 0..300), 0..20)) {
            let messages: Vec<&[u8]> = messages.iter().map(|message| &message[..]).collect();
            let each = messages.iter().map(|message| witness(message));
            prop_assert_eq!(sha256d_each(&messages), each.collect::<Vec<_>>());
        }
    }

    #[test]
    fn messages_of_every_length() {
        let bytes: Vec<u8> = (0..=255).collect();
        let messages: Vec<&[u8]> = (0..=bytes.len()).map(|length| &bytes[..length]).collect();
        let witnessed: Vec<Hash> = messages.iter().map(|message| witness(message)).collect();
        for (message, expected) in messages.iter().zip(&witnessed) {
            let blocks = blocks(message);
            let (start, end) = blocks.split_at(blocks.len() / 2);
            assert_eq!(sha256d_blocks(&[start, end]), *expected, "{}", message.len());
            assert_eq!(blocks_alone(&[start, end]), *expected, "{}", message.len());
            assert_eq!(sha256d(message), *expected, "{}", message.len());
        }
        // The longest first, so that lanes are left with nothing while others go on.
        let reversed: Vec<&[u8]> = messages.iter().rev().copied().collect();
        assert_eq!(sha256d_each(&messages), witnessed);
        assert!(sha256d_each(&reversed).iter().eq(witnessed.iter().rev()));
    }
}
