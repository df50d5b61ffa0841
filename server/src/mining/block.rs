//! From a solved candidate to the bytes of a block, checked by a second road.

use std::sync::Arc;

use bitcoin::hashes::Hash as _;

use super::coinbase::Coinbase;
use super::form::{Budget, FORM_WEIGHT_MAX, Form, Payee};
use super::hash::{Hash, display_hash};
use super::job::Job;
use super::script_sig::{Extranonce1, Extranonce2};
use super::share::{self, Candidate, Evaluation, evaluate};
use super::template::{Template, push_varint};

/// The header, and the longest count of transactions.
const HEAD_WEIGHT: u64 = 4 * (80 + 9);

/// A block ready to be submitted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FoundBlock {
    /// Its height.
    pub height: u32,
    /// Its hash, internal order.
    pub hash: Hash,
    /// Its consensus serialization.
    pub bytes: Vec<u8>,
}

impl FoundBlock {
    /// The hash as people write it.
    pub fn display_hash(&self) -> String {
        display_hash(&self.hash)
    }
}

/// Why a block of ours does not add up. It is submitted all the same: the node has the last word.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BlockFault {
    /// The bytes are no block.
    #[error("its bytes do not decode as a block")]
    Undecodable,
    /// The header's hash is another one.
    #[error("its header hashes to something else")]
    Hash,
    /// The header does not commit to these transactions.
    #[error("its merkle root is not that of its transactions")]
    MerkleRoot,
    /// The coinbase does not commit to the witnesses.
    #[error("its witness commitment is wrong")]
    WitnessCommitment,
    /// The height in the coinbase is another one (BIP-0034).
    #[error("its coinbase does not start with its height")]
    Height,
    /// The coinbase pays more or less than the template allows.
    #[error("its coinbase pays {paid} sat where {due} are due")]
    Value {
        /// What it pays.
        paid: u64,
        /// What it must pay.
        due: u64,
    },
}

/// What a block of `template` with `coinbase` weighs at most (BIP-0141), in whatever form a session
/// is given it.
pub fn weight(template: &Template, coinbase: &Coinbase) -> u64 {
    let transactions = template.transactions.iter().map(|transaction| transaction.weight);
    transactions.sum::<u64>() + coinbase.weight() + HEAD_WEIGHT + FORM_WEIGHT_MAX
}

/// Puts the block together.
pub fn assemble(
    job: &Job,
    one: Extranonce1,
    two: Extranonce2,
    evaluation: &Evaluation,
) -> FoundBlock {
    let transactions = &job.template.transactions;
    let size: usize = transactions.iter().map(|transaction| transaction.bytes.len()).sum();
    let mut bytes = Vec::with_capacity(size + 2_000);
    bytes.extend_from_slice(&evaluation.header);
    push_varint(&mut bytes, transactions.len() + 1);
    bytes.extend_from_slice(&job.coinbase.for_block(one, two));
    for transaction in transactions {
        bytes.extend_from_slice(&transaction.bytes);
    }
    FoundBlock { height: job.template.height, hash: evaluation.hash, bytes }
}

/// The block of a job that nobody has found yet, in the longest form that any session is given it:
/// for a node to judge beforehand. `payee` is who takes the most room in it.
pub fn rehearse(job: &Arc<Job>, payee: Option<&Payee>) -> FoundBlock {
    let form = Form { payee: payee.cloned(), budget: Budget::LARGEST };
    let job = job.formed(&form, u8::MAX).unwrap_or_else(|| Arc::clone(job));
    let (one, extranonce2) = Default::default();
    let (time, nonce, version_bits) = (job.template.time, 0, None);
    let candidate = Candidate { job: job.id, extranonce2, time, nonce, version_bits };
    let root = share::root(&job, one, extranonce2);
    let evaluation = evaluate(&job, &root, &candidate, job.version);
    assemble(&job, one, extranonce2, &evaluation)
}

/// Decodes the block with the `bitcoin` crate and checks what our own arithmetic claimed.
pub fn verify(job: &Job, found: &FoundBlock) -> Result<bitcoin::Block, BlockFault> {
    let block: bitcoin::Block =
        bitcoin::consensus::deserialize(&found.bytes).map_err(|_| BlockFault::Undecodable)?;
    if block.block_hash().to_byte_array() != found.hash {
        return Err(BlockFault::Hash);
    }
    if !block.check_merkle_root() {
        return Err(BlockFault::MerkleRoot);
    }
    if !block.check_witness_commitment() {
        return Err(BlockFault::WitnessCommitment);
    }
    if height_in(&block) != Some(job.template.height) {
        return Err(BlockFault::Height);
    }
    let paid = block.txdata[0].output.iter().map(|output| output.value.to_sat()).sum();
    let due = job.template.coinbase_total();
    if paid != due {
        return Err(BlockFault::Value { paid, due });
    }
    Ok(block)
}

/// The height that the coinbase starts with. The `bitcoin` crate reads no `OP_N` here.
fn height_in(block: &bitcoin::Block) -> Option<u32> {
    let script = &block.txdata.first()?.input.first()?.script_sig;
    match script.as_bytes().first()? {
        small @ 0x51..=0x60 => Some(u32::from(small - 0x50)),
        _ => block.bip34_block_height().ok()?.try_into().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Instant, UnixTime};
    use crate::mining::job::JobBook;
    use crate::mining::share::{Candidate, evaluate, root};
    use crate::mining::template::tests::{coinbase_of, declared, parts};
    use crate::mining::template::{Template, witness_commitment};
    use core::time::Duration;
    use std::sync::Arc;

    fn found(transactions: u8, height: u32) -> (Arc<Job>, FoundBlock) {
        let mut parts = parts(1);
        parts.height = height;
        parts.transactions = (0..transactions).map(|seed| declared(seed, seed % 2 == 0)).collect();
        let mut with_commitment = parts.clone();
        with_commitment.witness_commitment = Some(commitment_over(&parts.transactions));
        let template = Arc::new(Template::check(with_commitment).expect("good"));
        let coinbase = coinbase_of(&template);
        let mut book = JobBook::new(1, Duration::ZERO, Duration::ZERO, 1);
        let (job, _) = book.publish(Instant::ZERO, template, coinbase, None);
        let candidate = Candidate {
            job: job.id,
            extranonce2: [7; 8],
            time: UnixTime(1_700_000_000),
            nonce: 1,
            version_bits: None,
        };
        let root = root(&job, [1; 4], candidate.extranonce2);
        let evaluation = evaluate(&job, &root, &candidate, job.version);
        let block = assemble(&job, [1; 4], candidate.extranonce2, &evaluation);
        (job, block)
    }

    fn commitment_over(
        transactions: &[crate::mining::template::DeclaredTransaction],
    ) -> bitcoin::ScriptBuf {
        let known: Vec<_> = transactions
            .iter()
            .map(|declared| crate::mining::template::TemplateTransaction {
                bytes: declared.bytes.clone().into(),
                txid: declared.txid,
                wtxid: declared.wtxid,
                fee: declared.fee,
                weight: 0,
                depends: Vec::new(),
                note: None,
            })
            .collect();
        witness_commitment(&known)
    }

    #[test]
    fn blocks_of_any_size_add_up() {
        for transactions in [0, 1, 2, 3, 7, 8, 252] {
            for height in [1, 2, 16, 17, 127, 128, 40_000] {
                let (job, block) = found(transactions, height);
                let verified = verify(&job, &block);
                assert!(verified.is_ok(), "{transactions} at {height}: {verified:?}");
            }
        }
    }

    #[test]
    fn a_spoilt_block_is_named() {
        // The last of two transactions has no witness: its bytes count for the merkle root.
        let (job, block) = found(2, 40_000);
        let spoil = |at: usize| {
            let mut spoilt = block.clone();
            spoilt.bytes[at] ^= 1;
            verify(&job, &spoilt).expect_err("spoilt")
        };
        assert_eq!(spoil(0), BlockFault::Hash);
        let mut shorter = block.clone();
        shorter.bytes.pop();
        assert_eq!(verify(&job, &shorter).expect_err("cut"), BlockFault::Undecodable);
        let last = block.bytes.len() - 5;
        assert_eq!(spoil(last), BlockFault::MerkleRoot);
    }
}
