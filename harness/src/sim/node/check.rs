//! The consensus rules a block is held to, in bitcoind's order, so that the first fault is named.
//!
//! Written from BIP-0034, 0065, 0113, 0141 and bitcoind's `validation.cpp` on top of the `bitcoin`
//! crate, and apart from the server's own code: it is the second opinion on the server's blocks.
//! Not in here: what the inputs are worth (`coins.rs`). **Not verified at all**: scripts and
//! signatures, and BIP-0068 relative lock times.

use std::collections::BTreeSet;

use bitcoin::block::Header;
use bitcoin::hashes::Hash as _;
use bitcoin::script::Builder;
use bitcoin::{Block, OutPoint, Target, Transaction, TxMerkleNode, TxOut};

use super::refusal::Refusal;
use crate::sim::chain::Chain;

/// Weight a block may have (BIP-0141).
pub(crate) const WEIGHT_MAX: u64 = 4_000_000;

/// Seconds a block's time may be ahead of the node's clock.
const FUTURE_SECS_MAX: u32 = 2 * 60 * 60;

/// The lowest block version since BIP-0065.
const VERSION_MIN: i32 = 4;

/// All the coins there will ever be, in satoshi.
const MONEY_SATS_MAX: u64 = 21_000_000 * 100_000_000;

/// Lock times below this are heights, from it on Unix seconds.
const LOCK_TIME_THRESHOLD: u32 = 500_000_000;

/// How the output with the witness commitment begins (BIP-0141).
const WITNESS_COMMITMENT_HEAD: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];

/// Bytes of an output with a witness commitment, at least.
const WITNESS_COMMITMENT_BYTES: usize = 38;

/// Checks the hash against the target that the header claims.
pub(crate) fn proof_of_work(header: &Header) -> Result<(), Refusal> {
    let bits = header.bits.to_consensus();
    // A negative or overflowing target is nobody's, and `Target` would wrap it.
    let sane = bits & 0x0080_0000 == 0 && bits >> 24 <= 0x20;
    let target = header.target();
    let met = sane
        && target != Target::ZERO
        && target <= Target::MAX_ATTAINABLE_REGTEST
        && target.is_met_by(header.block_hash());
    if met { Ok(()) } else { Err(Refusal::HighHash) }
}

/// Checks a header against the chain it wants to extend; `now` is in Unix seconds.
pub(crate) fn header_in_chain(chain: &Chain, header: &Header, now: u32) -> Result<(), Refusal> {
    let parent = chain.entry(header.prev_blockhash).ok_or(Refusal::PrevBlockNotFound)?;
    if parent.invalid {
        return Err(Refusal::BadPrevBlock);
    }
    if header.bits.to_consensus() != chain.bits() {
        return Err(Refusal::BadDiffBits);
    }
    if header.time <= chain.median_time_past(header.prev_blockhash) {
        return Err(Refusal::TimeTooOld);
    }
    if header.time > now.saturating_add(FUTURE_SECS_MAX) {
        return Err(Refusal::TimeTooNew);
    }
    let version = header.version.to_consensus();
    if version < VERSION_MIN {
        return Err(Refusal::BadVersion(version));
    }
    Ok(())
}

/// Checks what a block shows by itself, its hash apart.
pub(crate) fn body(block: &Block) -> Result<(), Refusal> {
    // bitcoind's root of no transactions is zero.
    let root = block.compute_merkle_root().unwrap_or_else(TxMerkleNode::all_zeros);
    if block.header.merkle_root != root {
        return Err(Refusal::BadMerkleRoot);
    }
    let mut txids = BTreeSet::new();
    if !block.txdata.iter().all(|tx| txids.insert(tx.compute_txid())) {
        return Err(Refusal::DuplicateTransaction);
    }
    let stripped: usize = block.txdata.iter().map(Transaction::base_size).sum();
    let stripped = u64::try_from(stripped).unwrap_or(u64::MAX).saturating_add(80);
    if block.txdata.is_empty() || stripped.saturating_mul(4) > WEIGHT_MAX {
        return Err(Refusal::BadLength);
    }
    if !block.txdata[0].is_coinbase() {
        return Err(Refusal::CoinbaseMissing);
    }
    if block.txdata[1..].iter().any(Transaction::is_coinbase) {
        return Err(Refusal::CoinbaseMultiple);
    }
    block.txdata.iter().try_for_each(transaction)
}

/// Checks what a transaction shows by itself.
pub(crate) fn transaction(tx: &Transaction) -> Result<(), Refusal> {
    if tx.input.is_empty() {
        return Err(Refusal::InputsEmpty);
    }
    if tx.output.is_empty() {
        return Err(Refusal::OutputsEmpty);
    }
    amounts(&tx.output)?;
    let mut spent = BTreeSet::new();
    if !tx.input.iter().all(|input| spent.insert(input.previous_output)) {
        return Err(Refusal::InputsDuplicate);
    }
    if tx.is_coinbase() {
        let length = tx.input[0].script_sig.len();
        return if (2..=100).contains(&length) { Ok(()) } else { Err(Refusal::CoinbaseLength) };
    }
    if spent.contains(&OutPoint::null()) {
        return Err(Refusal::PreviousOutputNull);
    }
    Ok(())
}

fn amounts(outputs: &[TxOut]) -> Result<(), Refusal> {
    let mut total = 0_u64;
    for output in outputs {
        let value = output.value.to_sat();
        if i64::try_from(value).is_err() {
            return Err(Refusal::OutputNegative);
        }
        if value > MONEY_SATS_MAX {
            return Err(Refusal::OutputTooLarge);
        }
        total += value;
        if total > MONEY_SATS_MAX {
            return Err(Refusal::OutputTotalTooLarge);
        }
    }
    Ok(())
}

/// Checks a body at the height it is to have; `median_time` is its parent's.
pub(crate) fn body_in_chain(block: &Block, height: u32, median_time: u32) -> Result<(), Refusal> {
    if !block.txdata.iter().all(|tx| is_final(tx, height, median_time)) {
        return Err(Refusal::NonFinal);
    }
    let prefix = Builder::new().push_int(i64::from(height)).into_script();
    if !block.txdata[0].input[0].script_sig.as_bytes().starts_with(prefix.as_bytes()) {
        return Err(Refusal::CoinbaseHeight);
    }
    witnesses(block)?;
    if block.weight().to_wu() > WEIGHT_MAX {
        return Err(Refusal::BadWeight);
    }
    Ok(())
}

/// Whether a transaction may be in a block at `height` (BIP-0113: by its parent's median time).
pub(crate) fn is_final(tx: &Transaction, height: u32, median_time: u32) -> bool {
    let lock = tx.lock_time.to_consensus_u32();
    let limit = if lock < LOCK_TIME_THRESHOLD { height } else { median_time };
    lock == 0 || lock < limit || tx.input.iter().all(|input| input.sequence.is_final())
}

fn witnesses(block: &Block) -> Result<(), Refusal> {
    let Some(commitment) = witness_commitment(&block.txdata[0]) else {
        let bare = |tx: &Transaction| tx.input.iter().all(|input| input.witness.is_empty());
        let bare = block.txdata.iter().all(bare);
        return if bare { Ok(()) } else { Err(Refusal::UnexpectedWitness) };
    };
    let witness = &block.txdata[0].input[0].witness;
    let reserved = witness.nth(0).filter(|item| witness.len() == 1 && item.len() == 32);
    let reserved = reserved.ok_or(Refusal::WitnessNonceSize)?;
    let root = block.witness_root().ok_or(Refusal::WitnessMerkleMatch)?;
    let expected = Block::compute_witness_commitment(&root, reserved);
    if expected.to_byte_array() != commitment {
        return Err(Refusal::WitnessMerkleMatch);
    }
    Ok(())
}

/// The witness commitment of a coinbase: the last output that looks like one.
pub(crate) fn witness_commitment(coinbase: &Transaction) -> Option<[u8; 32]> {
    let scripts = coinbase.output.iter().map(|output| output.script_pubkey.as_bytes());
    let script = scripts.rev().find(|script| {
        script.len() >= WITNESS_COMMITMENT_BYTES && script.starts_with(&WITNESS_COMMITMENT_HEAD)
    })?;
    script[WITNESS_COMMITMENT_HEAD.len()..WITNESS_COMMITMENT_BYTES].try_into().ok()
}

/// Gives a coinbase that commits to witnesses but has none the usual reserved value of zeroes.
///
/// bitcoind does so in `submitblock` and not for proposals. Returns whether it was needed, because
/// a server that relies on it is one strict node away from a lost block.
pub(crate) fn fill_reserved_value(block: &mut Block) -> bool {
    let Some(coinbase) = block.txdata.first_mut().filter(|tx| tx.is_coinbase()) else {
        return false;
    };
    if witness_commitment(coinbase).is_none() || !coinbase.input[0].witness.is_empty() {
        return false;
    }
    coinbase.input[0].witness.push([0_u8; 32]);
    true
}
