//! The merkle branch that a job carries, and the root it gives for a coinbase.
//!
//! A job's coinbase changes with every extranonce, the other transactions do not: the branch is
//! the other half of each pairing on the way from the first leaf to the root.

use super::hash::{Hash, sha256d_branch, sha256d_pairs};

/// The branch for leaf 0 (the coinbase) over the txids of the transactions that follow it.
/// Txids, not wtxids: the header commits to the former.
pub fn branch(txids: &[Hash]) -> Vec<Hash> {
    // The first place stands for the coinbase's path and is never read.
    let mut level = [&[[0; 32]], txids].concat();
    let mut branch = Vec::new();
    while let [_, right, ..] = level[..] {
        branch.push(right);
        // An odd one out is paired with itself.
        level.extend(level.last().copied().filter(|_| level.len() % 2 == 1));
        level = sha256d_pairs(level.as_chunks().0);
    }
    assert!(branch.len() <= 32, "a block cannot hold 2^32 transactions");
    branch
}

/// The merkle root when the coinbase has `txid`.
pub fn root(txid: Hash, branch: &[Hash]) -> Hash {
    sha256d_branch(&txid, branch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::hashes::Hash as _;
    use proptest::prelude::*;

    fn leaf(number: u32) -> Hash {
        super::super::hash::sha256d(&number.to_le_bytes())
    }

    /// The `bitcoin` crate's own root is the witness.
    fn check(transactions: u32) {
        let txids: Vec<Hash> = (1..=transactions).map(leaf).collect();
        let ours = root(leaf(0), &branch(&txids));
        let mut all: Vec<_> =
            (0..=transactions).map(|n| bitcoin::Txid::from_byte_array(leaf(n))).collect();
        let theirs = bitcoin::merkle_tree::calculate_root_inline(&mut all).expect("not empty");
        assert_eq!(ours, theirs.to_byte_array(), "{transactions} transactions");
    }

    #[test]
    fn agrees_with_the_bitcoin_crate_for_small_blocks_and_full_ones() {
        (0..70).for_each(check);
        [127, 128, 129, 2_500, 4_095, 4_096, 5_000].into_iter().for_each(check);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn agrees_for_any_count(transactions in 0_u32..3_000) {
            check(transactions);
        }
    }
}
