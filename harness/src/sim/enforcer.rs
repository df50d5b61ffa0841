//! A stand-in for the enforcer's template server: a plain template in, a whole coinbase out.
//!
//! It holds the auction over the bids (M8), writes the commitments (M7) and answers with the
//! quirks of `bip300301_enforcer` 0.3.4: a `coinbasetxn` that pays one fixed script, fields of a
//! sample template that never change, `depends` from 0, `sigops` null. It exists so that a server
//! can be proved against such templates without an enforcer, and it shares no code with the server:
//! the auction here is the enforcer's, written a second time.
//! Pure. Not in here: judging blocks, long polls and HTTP (`http/enforcer.rs`).

pub(crate) mod auction;
#[cfg(test)]
mod tests;
mod wire;

use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::hashes::Hash as _;
use bitcoin::hex::DisplayHex as _;
use bitcoin::script::{Builder, PushBytesBuf};
use bitcoin::{
    Amount, Block, BlockHash, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness,
    WitnessMerkleNode, Wtxid, absolute, merkle_tree, opcodes, transaction,
};
use serde_json::{Map, Value, json};

use auction::{Offer, Sold};
pub(crate) use wire::{Answer, Call, Failure, TemplateCall, read, wrap};

use super::sidechain::m7_script;

/// The one item of a coinbase's witness.
const WITNESS_RESERVED: [u8; 32] = [0; 32];

/// Fields that the enforcer took from its node when it started, and never again.
const STALE: [&str; 9] = [
    "version",
    "rules",
    "vbavailable",
    "vbrequired",
    "coinbaseaux",
    "mutable",
    "sigoplimit",
    "sizelimit",
    "weightlimit",
];

/// Fields that are the node's own at every call.
const FRESH: [&str; 7] =
    ["previousblockhash", "target", "bits", "mintime", "curtime", "height", "noncerange"];

/// How a block producer is set up: what stands in a coinbase beside commitments.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Producer {
    /// Whom the reward output pays.
    pub recipient: ScriptBuf,
    /// The votes of its M4 (version 1), one byte for each active slot; `None` writes no M4.
    pub votes: Option<Vec<u8>>,
}

impl Default for Producer {
    /// Pays a key hash that nobody has a key for, and casts no votes.
    fn default() -> Self {
        let nobody = bitcoin::WPubkeyHash::from_byte_array([0xee; 20]);
        Self { recipient: ScriptBuf::new_p2wpkh(&nobody), votes: None }
    }
}

/// A node's answer that no template can be made from.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the node's template has no usable {0}; is it a Bitcoin node, and of regtest?")]
pub struct Unusable(&'static str);

/// Makes templates.
#[derive(Debug)]
pub struct Enforcer {
    producer: Producer,
    sample: Map<String, Value>,
    /// Templates made so far: the end of the next `longpollid`.
    made: u64,
}

impl Enforcer {
    /// An enforcer that starts now, with this `getblocktemplate` result of its node as its sample.
    pub fn new(producer: Producer, sample: &Value) -> Result<Self, Unusable> {
        let fields = sample.as_object().ok_or(Unusable("object"))?;
        let stale = STALE
            .into_iter()
            .filter_map(|name| fields.get(name).map(|value| (name.to_owned(), value.clone())));
        Ok(Self { producer, sample: stale.collect(), made: 0 })
    }

    /// The enforcer's template over the transactions of a plain one.
    pub fn template(&mut self, plain: &Value) -> Result<Value, Unusable> {
        let parent = parent_of(plain)?;
        let height = plain["height"].as_i64().ok_or(Unusable("height"))?;
        let offers = read_offers(plain)?;
        let reward = reward_without_fees(plain, &offers)?;
        let sold = auction::hold(parent, &offers);

        let (coinbase, commitment) = self.coinbase(height, reward, &offers, &sold)?;
        let mut template = self.sample.clone();
        for name in FRESH {
            if let Some(value) = plain.get(name) {
                template.insert(name.to_owned(), value.clone());
            }
        }
        let long_poll_id = format!("{parent}{:016x}", self.made);
        self.made += 1;
        let transactions: Vec<Value> =
            sold.places.iter().map(|place| entry(&offers, &sold, *place)).collect();
        template.insert("transactions".to_owned(), transactions.into());
        template.insert("coinbasetxn".to_owned(), coinbase_entry(&coinbase)?);
        template.insert("longpollid".to_owned(), long_poll_id.into());
        template.insert("signet_challenge".to_owned(), Value::Null);
        template.insert(
            "default_witness_commitment".to_owned(),
            commitment.as_bytes().to_lower_hex_string().into(),
        );
        Ok(template.into())
    }

    /// The coinbase, and the script of its witness commitment.
    fn coinbase(
        &self,
        height: i64,
        subsidy: Amount,
        offers: &[Offer],
        sold: &Sold,
    ) -> Result<(Transaction, ScriptBuf), Unusable> {
        let without_value = |script_pubkey| TxOut { value: Amount::ZERO, script_pubkey };
        let mut output: Vec<TxOut> =
            self.producer.votes.iter().map(|votes| without_value(m4_script(votes))).collect();
        let bids = sold.places.iter().filter_map(|place| offers[*place].bid);
        output.extend(bids.map(|bid| without_value(m7_script(bid.slot, bid.h_star))));
        let mut fees = sold.places.iter().map(|place| offers[*place].fee);
        let value = fees.try_fold(subsidy, Amount::checked_add).ok_or(Unusable("fee"))?;
        if value > Amount::ZERO {
            output.push(TxOut { value, script_pubkey: self.producer.recipient.clone() });
        }
        let commitment = witness_commitment(offers, sold);
        output.push(without_value(commitment.clone()));
        let input = TxIn {
            previous_output: OutPoint::null(),
            script_sig: height_script(height),
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[WITNESS_RESERVED]),
        };
        let coinbase = Transaction {
            version: transaction::Version::TWO,
            lock_time: absolute::LockTime::ZERO,
            input: vec![input],
            output,
        };
        Ok((coinbase, commitment))
    }
}

/// The block that a template builds on.
pub(crate) fn parent_of(template: &Value) -> Result<BlockHash, Unusable> {
    let text = template["previousblockhash"].as_str();
    text.and_then(|text| text.parse().ok()).ok_or(Unusable("previousblockhash"))
}

fn read_offers(plain: &Value) -> Result<Vec<Offer>, Unusable> {
    let entries = plain["transactions"].as_array().ok_or(Unusable("transactions"))?;
    let mut transactions = Vec::with_capacity(entries.len());
    for entry in entries {
        let data = entry["data"].as_str().ok_or(Unusable("data"))?;
        let transaction: Transaction = deserialize_hex(data).map_err(|_| Unusable("data"))?;
        let fee = entry["fee"].as_u64().ok_or(Unusable("fee"))?;
        transactions.push((transaction, Amount::from_sat(fee)));
    }
    Ok(auction::offers(transactions))
}

/// What the block pays without its transactions: `coinbasevalue` counts all of the template's fees.
fn reward_without_fees(plain: &Value, offers: &[Offer]) -> Result<Amount, Unusable> {
    let unusable = Unusable("coinbasevalue");
    let value = plain["coinbasevalue"].as_u64().map(Amount::from_sat).ok_or(unusable)?;
    offers.iter().map(|offer| offer.fee).try_fold(value, Amount::checked_sub).ok_or(unusable)
}

fn entry(offers: &[Offer], sold: &Sold, place: usize) -> Value {
    let Offer { transaction, fee, ancestors, .. } = &offers[place];
    let mut depends: Vec<usize> = ancestors
        .iter()
        .filter_map(|ancestor| sold.places.iter().position(|kept| kept == ancestor))
        .collect();
    depends.sort_unstable();
    json!({
        "data": serialize_hex(transaction),
        "txid": transaction.compute_txid(),
        "hash": transaction.compute_wtxid(),
        "depends": depends,
        "fee": fee.to_sat(),
        "sigops": null,
        "weight": transaction.weight().to_wu(),
    })
}

fn coinbase_entry(coinbase: &Transaction) -> Result<Value, Unusable> {
    let paid: u64 = coinbase.output.iter().map(|output| output.value.to_sat()).sum();
    // Not the fees, as BIP-0022 has it, but everything.
    let fee = i64::try_from(paid).map(|paid| -paid).map_err(|_| Unusable("coinbasevalue"))?;
    Ok(json!({
        "data": serialize_hex(coinbase),
        "txid": coinbase.compute_txid(),
        "hash": coinbase.compute_wtxid(),
        "depends": [],
        "fee": fee,
        "sigops": null,
        "weight": coinbase.weight().to_wu(),
    }))
}

/// BIP-0034. One byte alone would be too short for consensus.
fn height_script(height: i64) -> ScriptBuf {
    let mut builder = Builder::new().push_int(height);
    while builder.len() < 2 {
        builder = builder.push_opcode(opcodes::OP_0);
    }
    builder.into_script()
}

/// `OP_RETURN push(d77d1776 01 votes)` (BIP-0300 M4, version 1).
fn m4_script(votes: &[u8]) -> ScriptBuf {
    let payload = [&[0xd7, 0x7d, 0x17, 0x76, 0x01][..], votes].concat();
    // 256 slots at most: far below what a push can hold.
    let payload = PushBytesBuf::try_from(payload).unwrap_or_default();
    ScriptBuf::new_op_return(payload)
}

/// BIP-0141, over the transactions that were kept.
fn witness_commitment(offers: &[Offer], sold: &Sold) -> ScriptBuf {
    let kept = sold.places.iter().map(|place| offers[*place].transaction.compute_wtxid());
    let wtxids = std::iter::once(Wtxid::all_zeros()).chain(kept).map(Wtxid::to_raw_hash);
    let root = merkle_tree::calculate_root(wtxids)
        .map_or_else(WitnessMerkleNode::all_zeros, WitnessMerkleNode::from_raw_hash);
    let commitment = Block::compute_witness_commitment(&root, &WITNESS_RESERVED);
    let mut payload = [0; 36];
    payload[..4].copy_from_slice(&[0xaa, 0x21, 0xa9, 0xed]);
    payload[4..].copy_from_slice(commitment.as_byte_array());
    ScriptBuf::new_op_return(payload)
}
