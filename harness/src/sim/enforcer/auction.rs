//! The enforcer's auction over the bids of a mempool (BIP-0301 M8).
//!
//! The highest absolute fee of a slot wins it. Whatever else bids, or names another parent, is
//! left out with all that spends from it, directly or not; a winner that spends from a loser goes
//! too, and its slot stays empty. Written without a look at the server's, which it helps to judge.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::hashes::Hash as _;
use bitcoin::{Amount, BlockHash, Transaction, Txid};

use crate::sim::sidechain::HStar;

/// How an M8 script begins: `OP_RETURN`, a push of 68 bytes, and the tag of BIP-0301.
const M8_HEAD: [u8; 5] = [0x6a, 0x44, 0x00, 0xbf, 0x00];

/// Bytes of an M8 script: head, slot, h*, the parent's hash.
const M8_BYTES: usize = M8_HEAD.len() + 1 + 32 + 32;

/// What a transaction bids for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Bid {
    pub(crate) slot: u8,
    pub(crate) h_star: HStar,
    pub(crate) parent: BlockHash,
}

/// One transaction of a plain template.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) transaction: Transaction,
    pub(crate) fee: Amount,
    pub(crate) bid: Option<Bid>,
    /// Places of all transactions of the template that it cannot be mined without.
    pub(crate) ancestors: BTreeSet<usize>,
}

/// What goes into the block.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Sold {
    /// Places in the plain template, in block order: the best paid bids first, with what they
    /// spend from before them, then the rest as it came.
    pub(crate) places: Vec<usize>,
}

/// Reads the bids and the families of a template's transactions, which are in an order that a
/// block could have.
pub(crate) fn offers(transactions: Vec<(Transaction, Amount)>) -> Vec<Offer> {
    let mut places: BTreeMap<Txid, usize> = BTreeMap::new();
    let mut offers: Vec<Offer> = Vec::with_capacity(transactions.len());
    for (transaction, fee) in transactions {
        let mut ancestors = BTreeSet::new();
        for input in &transaction.input {
            if let Some(&parent) = places.get(&input.previous_output.txid) {
                ancestors.extend(&offers[parent].ancestors);
                ancestors.insert(parent);
            }
        }
        places.insert(transaction.compute_txid(), offers.len());
        let bid = bid(&transaction);
        offers.push(Offer { transaction, fee, bid, ancestors });
    }
    offers
}

/// An M8 is the first output or none.
pub(crate) fn bid(transaction: &Transaction) -> Option<Bid> {
    let script = transaction.output.first()?.script_pubkey.as_bytes();
    let body = script.strip_prefix(&M8_HEAD).filter(|_| script.len() == M8_BYTES)?;
    let (&slot, hashes) = body.split_first()?;
    let (h_star, parent) = hashes.split_at_checked(32)?;
    let parent = BlockHash::from_slice(parent).ok()?;
    Some(Bid { slot, h_star: HStar(h_star.try_into().ok()?), parent })
}

/// Holds the auction for the child of `parent`.
pub(crate) fn hold(parent: BlockHash, offers: &[Offer]) -> Sold {
    let mut best: BTreeMap<u8, usize> = BTreeMap::new();
    for (place, offer) in offers.iter().enumerate() {
        if let Some(bid) = offer.bid.filter(|bid| bid.parent == parent) {
            let leader = best.entry(bid.slot).or_insert(place);
            if offer.fee > offers[*leader].fee {
                *leader = place;
            }
        }
    }
    let is_out =
        |place: usize| offers[place].bid.is_some_and(|bid| best.get(&bid.slot) != Some(&place));
    let stays =
        |place: &usize| !is_out(*place) && !offers[*place].ancestors.iter().any(|a| is_out(*a));

    let mut winners: Vec<usize> = best.values().copied().filter(stays).collect();
    // Stable: slots in ascending order where fees are equal.
    winners.sort_by_key(|place| std::cmp::Reverse(offers[*place].fee));
    let wanted = winners
        .into_iter()
        .flat_map(|place| offers[place].ancestors.iter().copied().chain(std::iter::once(place)));
    let rest = (0..offers.len()).filter(stays);
    let mut seen = BTreeSet::new();
    Sold { places: wanted.chain(rest).filter(|place| seen.insert(*place)).collect() }
}
