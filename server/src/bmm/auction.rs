//! The bid auction on a plain template: which M8 transactions stay, and what leaves with the rest.
//!
//! A node that knows nothing of BIP-0301 offers every bid of its mempool: two of one slot, bids
//! for a block that is no longer the tip. A block with any of those is invalid to the enforcer,
//! so before a plain template becomes a job the auction is held here, with the enforcer's own
//! rule: the highest *absolute* fee wins a slot, one bid a slot, the others are left out together
//! with everything that spends from them.
//!
//! Bids of equal fee: the one that stands earlier in the template wins. (The enforcer walks a hash
//! map there, so its choice is not fixed; a node lists the better fee rate first.)
//!
//! Bids may spend from one another, across slots. A bid can only win where every bid it descends
//! from wins its own slot, so slots are settled as soon as their best bid waits for nothing. Where
//! the best bid of a slot descends from a loser, the next best has the slot (the enforcer leaves it
//! empty, which is as valid and pays less). Where best bids wait for each other in a circle, the
//! highest of them is settled with what it needs.
//!
//! Not here: the new coinbase value and witness commitment, which the caller computes from
//! [`Outcome::kept`]; the M7 outputs ([`super::policy`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bitcoin::BlockHash;

use super::{Bid, Commitment, Slot};

/// What the auction needs to know of one transaction of a template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuctionTx {
    /// Its bid, if it is an M8.
    pub m8: Option<Bid>,
    /// Its fee in satoshi. For a bid, the price offered.
    pub fee_sat: u64,
    /// The transactions of the template that it spends from, as indexes from 0. They stand before
    /// it. (`depends` of BIP-0022 counts from 1.) Listing further ancestors does no harm.
    pub depends: Vec<usize>,
}

/// Whether bids are taken at all (setting `BMM_BLIND`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The best bid of each slot goes into the block.
    #[default]
    On,
    /// No bid does: without its M7, an M8 makes the block invalid.
    Off,
}

/// The template as it may be mined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The transactions that stay, as ascending indexes: the order of the template.
    pub kept: Vec<usize>,
    /// The transactions that leave, in the same order.
    pub dropped: Vec<Dropped>,
    /// The bids that won, in the same order. Each needs its M7 in the coinbase.
    pub winners: Vec<Winner>,
    /// The fees of the kept transactions, in satoshi.
    pub fee_sat: u64,
}

impl Outcome {
    /// The M7s that the coinbase must carry, in the order of their bids, as the enforcer orders
    /// them.
    pub fn commitments(&self) -> impl Iterator<Item = Commitment> {
        self.winners.iter().map(|winner| winner.commitment)
    }
}

/// A bid that is in the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Winner {
    /// Index of its transaction in the template.
    pub transaction: usize,
    /// What it pays for.
    pub commitment: Commitment,
    /// What it pays, in satoshi.
    pub fee_sat: u64,
}

/// A transaction that is not, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Index of the transaction in the template.
    pub transaction: usize,
    /// Why.
    pub why: Why,
}

/// Why a transaction of the template may not be mined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is a bid and bids are switched off.
    BlindOff,
    /// It is a bid for the child of another block.
    OtherParent {
        /// The block it names.
        named: BlockHash,
    },
    /// It is a bid, and another one has the slot.
    Outbid {
        /// The slot.
        slot: Slot,
        /// Index of the winner.
        by: usize,
    },
    /// It is a bid that cannot be mined without two bids of one slot, itself counted.
    NeedsRivals {
        /// That slot.
        slot: Slot,
    },
    /// It spends from a transaction that leaves, directly or through others.
    Descends {
        /// Index of that transaction.
        from: usize,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BlindOff => f.write_str("it is a BMM bid and BMM_BLIND is off"),
            Self::OtherParent { named } => {
                write!(f, "it is a BMM bid for a child of {named}, which is not the tip")
            }
            Self::Outbid { slot, by } => {
                write!(f, "it is a BMM bid for slot {slot}, which transaction {by} won")
            }
            Self::NeedsRivals { slot } => {
                write!(f, "it is a BMM bid that cannot be mined without two bids for slot {slot}")
            }
            Self::Descends { from } => {
                write!(f, "it spends from transaction {from}, which is left out")
            }
        }
    }
}

/// A template that no auction can be held on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuctionError {
    /// A transaction spends from one that does not stand before it.
    #[error(
        "transaction {transaction} of the template depends on transaction {depends_on}, which does \
         not stand before it; no valid block can have that order, so the template is refused; look \
         at the node that sent it"
    )]
    Order {
        /// Index of the transaction.
        transaction: usize,
        /// The index it depends on.
        depends_on: usize,
    },
    /// The fees do not add up to a 64-bit number.
    #[error(
        "the fees of the template exceed 64 bits, more than there can be coins; the template is \
         refused; look at the node that sent it"
    )]
    Fees,
}

/// Holds the auction over a template whose block extends `parent`.
pub fn settle(
    mode: Mode,
    parent: BlockHash,
    transactions: &[AuctionTx],
) -> Result<Outcome, AuctionError> {
    check_order(transactions)?;
    let verdicts = match mode {
        Mode::On => Auction::new(parent, transactions).run(),
        Mode::Off => all_off(transactions),
    };
    outcome(transactions, &verdicts)
}

fn check_order(transactions: &[AuctionTx]) -> Result<(), AuctionError> {
    for (transaction, AuctionTx { depends, .. }) in transactions.iter().enumerate() {
        if let Some(&depends_on) = depends.iter().find(|parent| **parent >= transaction) {
            return Err(AuctionError::Order { transaction, depends_on });
        }
    }
    Ok(())
}

/// What became of the bids, by transaction index. Every bid has an entry.
type Verdicts = BTreeMap<usize, Verdict>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Won,
    Lost(Why),
}

fn all_off(transactions: &[AuctionTx]) -> Verdicts {
    let bids = transactions.iter().enumerate().filter(|(_, transaction)| transaction.m8.is_some());
    bids.map(|(index, _)| (index, Verdict::Lost(Why::BlindOff))).collect()
}

/// Carries the verdicts on the bids over to everything that descends from the lost ones.
fn outcome(transactions: &[AuctionTx], verdicts: &Verdicts) -> Result<Outcome, AuctionError> {
    let mut outcome = Outcome::default();
    let mut leaves = vec![false; transactions.len()];
    for (index, transaction) in transactions.iter().enumerate() {
        let lost_parent = transaction.depends.iter().copied().find(|parent| leaves[*parent]);
        let why = match (verdicts.get(&index), lost_parent) {
            (Some(Verdict::Lost(why)), _) => Some(*why),
            (Some(Verdict::Won), lost_parent) => {
                assert_eq!(lost_parent, None, "a bid wins only with all it descends from");
                None
            }
            (None, lost_parent) => lost_parent.map(|from| Why::Descends { from }),
        };
        if let Some(why) = why {
            leaves[index] = true;
            outcome.dropped.push(Dropped { transaction: index, why });
            continue;
        }
        let fee_sat = transaction.fee_sat;
        outcome.kept.push(index);
        outcome.fee_sat = outcome.fee_sat.checked_add(fee_sat).ok_or(AuctionError::Fees)?;
        if let Some(bid) = transaction.m8 {
            let commitment = bid.commitment;
            outcome.winners.push(Winner { transaction: index, commitment, fee_sat });
        }
    }
    Ok(outcome)
}

/// A bid as the auction sees it.
struct Entry {
    slot: Slot,
    /// The block whose child it wants to be in.
    named: BlockHash,
    fee_sat: u64,
    /// The bids that it descends from, over any number of other transactions.
    ancestors: BTreeSet<usize>,
}

struct Auction {
    /// Every bid, by transaction index.
    entries: BTreeMap<usize, Entry>,
    verdicts: Verdicts,
    /// The slots that are settled, each with the index of its winner.
    winners: BTreeMap<Slot, usize>,
}

impl Auction {
    fn new(parent: BlockHash, transactions: &[AuctionTx]) -> Self {
        let mut auction = Self {
            entries: entries(transactions),
            verdicts: Verdicts::new(),
            winners: BTreeMap::new(),
        };
        for (&index, entry) in &auction.entries {
            let why = if entry.named == parent {
                auction.rivals(entry).map(|slot| Why::NeedsRivals { slot })
            } else {
                Some(Why::OtherParent { named: entry.named })
            };
            if let Some(why) = why {
                auction.verdicts.insert(index, Verdict::Lost(why));
            }
        }
        auction
    }

    /// Settles slot after slot. Each round decides at least one bid for good, so there are at most
    /// as many rounds as bids.
    fn run(mut self) -> Verdicts {
        loop {
            self.drop_hopeless();
            let leaders = self.leaders();
            let is_ready = |index: &usize| {
                self.entries[index].ancestors.iter().all(|ancestor| self.won(*ancestor))
            };
            let mut settled: Vec<usize> = leaders.iter().copied().filter(is_ready).collect();
            if settled.is_empty() {
                let highest = leaders.iter().copied().max_by_key(|index| self.rank(*index));
                let Some(highest) = highest else {
                    assert_eq!(self.verdicts.len(), self.entries.len(), "a verdict for every bid");
                    return self.verdicts;
                };
                settled.extend(&self.entries[&highest].ancestors);
                settled.push(highest);
            }
            for index in settled {
                self.win(index);
            }
        }
    }

    /// Decides against every open bid whose slot is taken or that descends from a lost one.
    /// Ancestors have smaller indexes, so one ascending pass finds them all.
    fn drop_hopeless(&mut self) {
        let open: Vec<usize> = self.open().collect();
        for index in open {
            let Entry { slot, ancestors, .. } = &self.entries[&index];
            let lost = ancestors
                .iter()
                .copied()
                .find(|ancestor| matches!(self.verdicts.get(ancestor), Some(Verdict::Lost(_))));
            let why = match (self.winners.get(slot), lost) {
                (Some(&by), _) => Why::Outbid { slot: *slot, by },
                (None, Some(from)) => Why::Descends { from },
                (None, None) => continue,
            };
            self.verdicts.insert(index, Verdict::Lost(why));
        }
    }

    /// The best open bid of each slot that is not settled.
    fn leaders(&self) -> Vec<usize> {
        let mut best: BTreeMap<Slot, usize> = BTreeMap::new();
        for index in self.open() {
            let leader = best.entry(self.entries[&index].slot).or_insert(index);
            if self.rank(index) > self.rank(*leader) {
                *leader = index;
            }
        }
        best.into_values().collect()
    }

    fn open(&self) -> impl Iterator<Item = usize> {
        self.entries.keys().copied().filter(|index| !self.verdicts.contains_key(index))
    }

    /// The higher fee first, then the earlier place in the template.
    fn rank(&self, index: usize) -> (u64, std::cmp::Reverse<usize>) {
        (self.entries[&index].fee_sat, std::cmp::Reverse(index))
    }

    fn won(&self, index: usize) -> bool {
        self.verdicts.get(&index) == Some(&Verdict::Won)
    }

    fn win(&mut self, index: usize) {
        self.verdicts.insert(index, Verdict::Won);
        let previous = self.winners.insert(self.entries[&index].slot, index);
        assert!(previous.is_none_or(|previous| previous == index), "one winner a slot");
    }

    /// A slot that two bids of the entry's ancestry want, itself counted.
    fn rivals(&self, entry: &Entry) -> Option<Slot> {
        let mut slots = BTreeSet::from([entry.slot]);
        let ancestors = entry.ancestors.iter().map(|ancestor| self.entries[ancestor].slot);
        ancestors.into_iter().find(|slot| !slots.insert(*slot))
    }
}

/// Every bid of the template with the bids that it descends from.
fn entries(transactions: &[AuctionTx]) -> BTreeMap<usize, Entry> {
    let mut entries = BTreeMap::new();
    // For each transaction, the bids among its ancestors and itself.
    let mut lineages: Vec<BTreeSet<usize>> = Vec::with_capacity(transactions.len());
    for (index, AuctionTx { m8, fee_sat, depends }) in transactions.iter().enumerate() {
        let mut lineage: BTreeSet<usize> =
            depends.iter().flat_map(|parent| &lineages[*parent]).copied().collect();
        if let Some(bid) = m8 {
            let entry = Entry {
                slot: bid.commitment.slot,
                named: bid.parent,
                fee_sat: *fee_sat,
                ancestors: lineage.clone(),
            };
            entries.insert(index, entry);
            lineage.insert(index);
        }
        lineages.push(lineage);
    }
    entries
}

#[cfg(test)]
mod tests;
