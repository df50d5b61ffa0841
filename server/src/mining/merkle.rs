//! The merkle branch that a job carries, and the root it gives for a coinbase.
//!
//! A job's coinbase changes with every extranonce, the other transactions do not: the branch is
//! the other half of each pairing on the way from the first leaf to the root.

use super::hash::{Hash, sha256d_pair};

/// The branch for leaf 0 (the coinbase) over the txids of the transactions that follow it.
/// Txids, not wtxids: the header commits to the former.
pub fn branch(txids: &[Hash]) -> Vec<Hash> {
    // The first place stands for the coinbase path and is never read.
    let mut level = Vec::with_capacity(txids.len() + 1);
    level.push([0; 32]);
    level.extend_from_slice(txids);
    let mut branch = Vec::new();
    while level.len() > 1 {
        branch.push(level[1]);
        level = level
            .chunks(2)
            .enumerate()
            .map(|(index, pair)| match (index, pair) {
                (0, _) => [0; 32],
                // An odd one out is paired with itself.
                (_, [left, right]) => sha256d_pair(left, right),
                (_, rest) => sha256d_pair(&rest[0], &rest[0]),
            })
            .collect();
    }
    assert!(branch.len() <= 32, "a block cannot hold 2^32 transactions");
    branch
}

/// The merkle root when the coinbase has `txid`.
pub fn root(txid: Hash, branch: &[Hash]) -> Hash {
    branch.iter().fold(txid, |left, right| sha256d_pair(&left, right))
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
