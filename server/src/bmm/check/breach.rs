//! The reasons for which the enforcer throws a block away, each a sentence for the operator.
//!
//! The names are the enforcer's own where it has one, so that its log and ours can be read side
//! by side.

use std::fmt;

use bitcoin::hex::DisplayHex as _;
use bitcoin::{BlockHash, Txid};

use crate::bmm::Slot;

/// One broken rule. Outputs are indexes into the coinbase, transactions indexes into the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// The block is empty.
    #[error("the block has no coinbase transaction, so no node accepts it")]
    NoCoinbase,

    /// The header does not extend the block that the job was made for.
    #[error(
        "the header names parent {header_parent} but the job was made for {parent}; its bids and \
         its commitments belong to another block, and the enforcer would invalidate this one"
    )]
    OtherParent {
        /// The parent in the header.
        header_parent: BlockHash,
        /// The parent that was meant.
        parent: BlockHash,
    },

    /// BIP-0300 M1: the same sidechain is proposed twice.
    #[error(
        "coinbase outputs {first} and {second} propose the same sidechain for slot {slot} (M1); \
         the enforcer would invalidate the block; send the proposal once"
    )]
    DuplicateM1 {
        /// The slot of both.
        slot: Slot,
        /// The first output.
        first: usize,
        /// The second output.
        second: usize,
    },

    /// BIP-0300 M2: one slot is acknowledged twice.
    #[error(
        "coinbase outputs {first} and {second} both acknowledge a sidechain for slot {slot} (M2); \
         the enforcer would invalidate the block; acknowledge one proposal a slot"
    )]
    DuplicateM2 {
        /// The slot of both.
        slot: Slot,
        /// The first output.
        first: usize,
        /// The second output.
        second: usize,
    },

    /// BIP-0300 M3: there is no sidechain in the slot.
    #[error(
        "coinbase output {output} proposes a withdrawal bundle for slot {slot} (M3), which is not \
         active; the enforcer would invalidate the block; leave the proposal out"
    )]
    BundleForInactiveSlot {
        /// The output.
        output: usize,
        /// Its slot.
        slot: Slot,
    },

    /// BIP-0300 M3: the bundle was proposed before.
    #[error(
        "coinbase output {output} proposes the withdrawal bundle {bundle} for slot {slot} (M3), \
         which is pending already; the enforcer would invalidate the block; propose it once"
    )]
    BundleAlreadyPending {
        /// The output.
        output: usize,
        /// Its slot.
        slot: Slot,
        /// The bundle.
        bundle: Txid,
    },

    /// BIP-0300 M4: two votes of the whole block.
    #[error(
        "coinbase outputs {first} and {second} both vote on bundles (M4); the enforcer would \
         invalidate the block; vote once"
    )]
    DuplicateM4 {
        /// The first output.
        first: usize,
        /// The second output.
        second: usize,
    },

    /// BIP-0300 M4: the number of votes is not the number of active slots.
    #[error(
        "coinbase output {output} has {votes} votes (M4) for {active} active slots; the enforcer \
         would invalidate the block; give one vote for each active slot, or no M4 to abstain"
    )]
    VoteCount {
        /// The output.
        output: usize,
        /// The votes it has.
        votes: usize,
        /// The active slots, those that an M2 of this coinbase activates included.
        active: usize,
    },

    /// BIP-0300 M4: a vote for a bundle that does not exist.
    #[error(
        "coinbase output {output} votes for bundle {index} of slot {slot} (M4), which has \
         {pending} pending; the enforcer would invalidate the block; vote for one that exists or \
         abstain"
    )]
    VoteWithoutBundle {
        /// The output.
        output: usize,
        /// The slot of the vote.
        slot: Slot,
        /// The bundle's index.
        index: u16,
        /// How many bundles the slot has.
        pending: usize,
    },

    /// BIP-0300 M4: two bytes a vote where one is enough.
    #[error(
        "coinbase output {output} uses two bytes a vote (M4 version 2) though no value exceeds \
         253; the enforcer would invalidate the block; use version 1"
    )]
    VotesFitOneByte {
        /// The output.
        output: usize,
    },

    /// BIP-0300 M4: the previous votes cannot be cast again.
    #[error(
        "coinbase output {output} repeats the previous votes (M4 version 0), but bundle {bundle} \
         of slot {slot} is no longer pending; the enforcer would invalidate the block; vote anew"
    )]
    RepeatedVoteWithoutBundle {
        /// The output.
        output: usize,
        /// The slot of the vote.
        slot: Slot,
        /// The bundle that is gone.
        bundle: Txid,
    },

    /// BIP-0301 M7: two commitments of one slot.
    #[error(
        "coinbase outputs {first} and {second} both commit to a block of slot {slot} (M7); the \
         enforcer would invalidate the block even if both say the same; keep one"
    )]
    DuplicateM7 {
        /// The slot of both.
        slot: Slot,
        /// The first output.
        first: usize,
        /// The second output.
        second: usize,
    },

    /// BIP-0301 M8: a bid whose commitment the coinbase does not carry.
    #[error(
        "transaction {transaction} bids for h* {} in slot {slot} (M8), but {}; the enforcer would \
         invalidate the block; add that commitment or leave the transaction out with its \
         descendants",
        .hash.as_hex(),
        Committed(*.committed)
    )]
    NotAcceptedByMiners {
        /// The transaction.
        transaction: usize,
        /// The slot it bids for.
        slot: Slot,
        /// The h\* it bids for.
        hash: [u8; 32],
        /// The h\* that the coinbase commits to in that slot, if any.
        committed: Option<[u8; 32]>,
    },

    /// BIP-0301 M8: a bid for the child of another block.
    #[error(
        "transaction {transaction} bids for slot {slot} in a child of {named} (M8), but this block \
         is a child of {parent}; the enforcer would invalidate the block; leave the transaction \
         out with its descendants"
    )]
    BmmRequestExpired {
        /// The transaction.
        transaction: usize,
        /// The slot it bids for.
        slot: Slot,
        /// The parent that the bid names.
        named: BlockHash,
        /// The parent of the block.
        parent: BlockHash,
    },

    /// BIP-0301 M8: two bids of one slot.
    #[error(
        "transactions {first} and {second} both bid for slot {slot} (M8); the enforcer would \
         invalidate the block even if both ask for the same h*; keep the better one"
    )]
    MultipleBmmRequests {
        /// The slot of both.
        slot: Slot,
        /// The first transaction.
        first: usize,
        /// The second transaction.
        second: usize,
    },
}

/// The other half of [`Breach::NotAcceptedByMiners`]: what the coinbase says instead.
struct Committed(Option<[u8; 32]>);

impl fmt::Display for Committed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("the coinbase has no M7 for that slot"),
            Some(hash) => write!(f, "the coinbase commits to {}", hash.as_hex()),
        }
    }
}

/// Every broken rule of a block, at least one, in the order of the outputs and transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaches {
    first: Breach,
    others: Vec<Breach>,
}

impl Breaches {
    /// One breach alone.
    pub(super) fn one(first: Breach) -> Self {
        Self { first, others: Vec::new() }
    }

    /// `None` for an empty list.
    pub(super) fn new(breaches: Vec<Breach>) -> Option<Self> {
        let mut breaches = breaches.into_iter();
        let first = breaches.next()?;
        Some(Self { first, others: breaches.collect() })
    }

    /// The first one met.
    pub fn first(&self) -> &Breach {
        &self.first
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Breach> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

impl fmt::Display for Breaches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(f)?;
        self.others.iter().try_for_each(|breach| write!(f, "; also: {breach}"))
    }
}

impl std::error::Error for Breaches {}
