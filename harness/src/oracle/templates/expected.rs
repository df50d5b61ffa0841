//! What a template must become: which transactions stay, what the coinbase pays and carries.

use std::collections::BTreeSet;

use bitcoin::hashes::{Hash as _, sha256d};
use bitcoin::{BlockHash, ScriptBuf, Transaction, Txid, consensus};
use serde::Deserialize;
use simminer::work::Job;

use crate::sim::chain::subsidy_sats;
use crate::sim::enforcer::auction;
use crate::sim::sidechain::{self, HStar};

/// A bid for a commitment (M8).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Bid {
    pub(super) slot: u8,
    pub(super) h_star: HStar,
    pub(super) parent: BlockHash,
}

/// The bid that a transaction is, if it is one.
pub(super) fn bid(transaction: &Transaction) -> Option<Bid> {
    let auction::Bid { slot, h_star, parent } = auction::bid(transaction)?;
    Some(Bid { slot, h_star, parent })
}

/// A template, as the node gave it.
#[derive(Debug)]
pub(super) struct Template {
    pub(super) parent: BlockHash,
    pub(super) height: u32,
    pub(super) bits: u32,
    pub(super) time: u32,
    transactions: Vec<(Transaction, u64)>,
    /// What the coinbase is to pay, where the node gives a value.
    value: Option<u64>,
    /// The whole coinbase, where the node gives one.
    coinbase: Option<Transaction>,
    /// Whether it is none that the node gave: a coinbase alone, on a header.
    pub(super) alone: bool,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    result: WireTemplate<'a>,
}

#[derive(Deserialize)]
struct WireTemplate<'a> {
    previousblockhash: BlockHash,
    height: u32,
    bits: &'a str,
    curtime: u32,
    #[serde(borrow)]
    transactions: Vec<WireTransaction<'a>>,
    coinbasevalue: Option<u64>,
    #[serde(borrow, default)]
    coinbasetxn: Option<WireTransaction<'a>>,
}

#[derive(Deserialize)]
struct WireTransaction<'a> {
    data: &'a str,
    fee: i64,
}

/// A block's header, as the node tells of it.
#[derive(Deserialize)]
pub(super) struct Header {
    hash: BlockHash,
    previousblockhash: BlockHash,
    height: u32,
    mediantime: u32,
}

impl Header {
    /// From the body of a reply to `getblockheader`; no other has all of this.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Wire {
            result: Header,
        }
        serde_json::from_slice(body).ok().map(|Wire { result }| result)
    }
}

impl WireTransaction<'_> {
    fn read(&self) -> Option<(Transaction, u64)> {
        let transaction = consensus::encode::deserialize_hex(self.data).ok()?;
        Some((transaction, u64::try_from(self.fee).unwrap_or(0)))
    }
}

impl Template {
    /// From the body of a reply to `getblocktemplate`.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let Wire { result } = serde_json::from_slice(body).ok()?;
        let transactions: Option<Vec<_>> =
            result.transactions.iter().map(WireTransaction::read).collect();
        Some(Self {
            parent: result.previousblockhash,
            height: result.height,
            bits: u32::from_str_radix(result.bits, 16).ok()?,
            time: result.curtime,
            transactions: transactions?,
            value: result.coinbasevalue,
            coinbase: match &result.coinbasetxn {
                Some(coinbase) => Some(coinbase.read()?.0),
                None => None,
            },
            alone: false,
        })
    }

    /// What can be mined on the tip with this header, if this is a template for that tip.
    pub(super) fn next(&self, tip: &Header) -> Option<Self> {
        let is_for_it = (tip.previousblockhash, tip.height) == (self.parent, self.height);
        let height = self.height + 1;
        (is_for_it && !self.alone).then_some(Self {
            parent: tip.hash,
            height,
            bits: self.bits,
            time: self.time.max(tip.mediantime + 1),
            transactions: Vec::new(),
            value: Some(subsidy_sats(height)),
            coinbase: None,
            alone: true,
        })
    }

    /// Whether the node gave a coinbase with it, of which nothing can be left out.
    pub(super) const fn has_coinbase(&self) -> bool {
        self.coinbase.is_some()
    }

    /// Whether `job` can have been made of it.
    pub(super) fn is_of(&self, job: &Job) -> bool {
        self.parent.to_byte_array() == job.previous_block && self.time == job.time
    }
}

/// What a template must become.
#[derive(Debug)]
pub(super) struct Expected {
    /// What the coinbase pays in all.
    pub(super) value: u64,
    /// The way from the coinbase to the merkle root.
    pub(super) branch: Vec<[u8; 32]>,
    /// Scripts that the coinbase must carry.
    pub(super) notes: Vec<ScriptBuf>,
    /// Bids that are in the block.
    pub(super) bids: Vec<Bid>,
    /// What each of them pays.
    pub(super) fees: Vec<u64>,
    /// Commitments that the node put into its coinbase.
    pub(super) given: Vec<(u8, HStar)>,
}

impl Expected {
    /// What `template` must become; `blind` is whether bids are taken at all. Without the bids that
    /// were `left_out`, and what spends from them.
    pub(super) fn of(template: &Template, blind: bool, left_out: &[Bid]) -> Self {
        let all = &template.transactions;
        let mut places: Vec<usize> = if template.coinbase.is_some() {
            (0..all.len()).collect()
        } else {
            kept(template, blind)
        };
        let mut gone = BTreeSet::new();
        places.retain(|place| {
            let transaction = &all[*place].0;
            let spends = |gone: &BTreeSet<Txid>| {
                transaction.input.iter().any(|input| gone.contains(&input.previous_output.txid))
            };
            let stays = !bid(transaction).is_some_and(|bid| left_out.contains(&bid));
            let stays = stays && !spends(&gone);
            if !stays {
                gone.insert(transaction.compute_txid());
            }
            stays
        });
        let kept: Vec<&Transaction> = places.iter().map(|place| &all[*place].0).collect();
        let txids: Vec<[u8; 32]> =
            kept.iter().map(|one| one.compute_txid().to_byte_array()).collect();
        let bids = kept.iter().filter_map(|one| bid(one)).collect();
        let are_bids = places.iter().filter(|place| bid(&all[**place].0).is_some());
        let fees = are_bids.map(|place| all[*place].1).collect();
        let (value, notes) = if let Some(coinbase) = &template.coinbase {
            let notes = coinbase.output.iter().map(|output| output.script_pubkey.clone());
            let paid = coinbase.output.iter().map(|output| output.value.to_sat()).sum();
            (paid, notes.filter(|script| script.is_op_return()).collect())
        } else {
            let all_fees: u64 = all.iter().map(|(_, fee)| fee).sum();
            let kept_fees: u64 = places.iter().map(|place| all[*place].1).sum();
            let value = template.value.unwrap_or(0) + kept_fees - all_fees;
            (value, vec![witness_commitment(&kept)])
        };
        let given = template.coinbase.iter().flat_map(|coinbase| &coinbase.output);
        let given = given.filter_map(|output| sidechain::m7(output.script_pubkey.as_bytes()));
        Self { value, branch: branch(txids), notes, bids, fees, given: given.collect() }
    }
}

/// Places of the transactions that stay, in the template's order.
fn kept(template: &Template, blind: bool) -> Vec<usize> {
    let all = template.transactions.iter();
    let amounts = all.map(|(one, fee)| (one.clone(), bitcoin::Amount::from_sat(*fee)));
    let offers = auction::offers(amounts.collect());
    if blind {
        let mut places = auction::hold(template.parent, &offers).places;
        places.sort_unstable();
        return places;
    }
    let is_bid = |place: usize| offers[place].bid.is_some();
    (0..offers.len())
        .filter(|place| {
            let family = offers[*place].ancestors.iter().any(|ancestor| is_bid(*ancestor));
            !is_bid(*place) && !family
        })
        .collect()
}

/// The siblings on the way from the first leaf, which is not among `leaves`, to the root.
fn branch(leaves: Vec<[u8; 32]>) -> Vec<[u8; 32]> {
    let mut branch = Vec::new();
    let mut row = leaves;
    while !row.is_empty() {
        let sibling = row.remove(0);
        branch.push(sibling);
        row = row
            .chunks(2)
            .map(|pair| {
                let right = pair.get(1).unwrap_or(&pair[0]);
                sha256d::Hash::hash(&[pair[0], *right].concat()).to_byte_array()
            })
            .collect();
    }
    branch
}

/// BIP-0141: the commitment to all transactions, with a reserved value of zeroes.
fn witness_commitment(kept: &[&Transaction]) -> ScriptBuf {
    let coinbase = std::iter::once(bitcoin::Wtxid::all_zeros());
    let wtxids = coinbase.chain(kept.iter().map(|one| one.compute_wtxid()));
    let root = bitcoin::merkle_tree::calculate_root(wtxids.map(bitcoin::Wtxid::to_raw_hash));
    let root = root.map_or([0; 32], sha256d::Hash::to_byte_array);
    let commitment = sha256d::Hash::hash(&[root, [0; 32]].concat()).to_byte_array();
    let head = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
    ScriptBuf::from_bytes([&head[..], &commitment].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_leads_to_the_root_for_any_number_of_leaves() {
        let node = |left: [u8; 32], right: [u8; 32]| {
            sha256d::Hash::hash(&[left, right].concat()).to_byte_array()
        };
        for count in 0..20_u8 {
            let leaves: Vec<[u8; 32]> = (1..=count).map(|leaf| [leaf; 32]).collect();
            let by_branch = branch(leaves.clone()).into_iter().fold([0; 32], node);
            let all = std::iter::once([0; 32]).chain(leaves);
            let all = all.map(sha256d::Hash::from_byte_array);
            let root = bitcoin::merkle_tree::calculate_root(all).map(sha256d::Hash::to_byte_array);
            assert_eq!(Some(by_branch), root, "{count}");
        }
    }
}
