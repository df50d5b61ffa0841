//! The referee: would the enforcer keep this block? (BIP-0300 M1-M4, BIP-0301 M7 and M8.)
//!
//! The node cannot say: it accepts the block, the enforcer judges it 20-35 ms later and calls
//! `invalidateblock`. So the same rules are applied here before a job is published and again on
//! every assembled block. They are those of the enforcer that runs the live networks, measured
//! block by block; where the text of the BIPs differs, the enforcer wins.
//!
//! Some rules need to know the sidechains: which slots are active, which bundles are pending. With
//! a [`SidechainState`] they are applied; without one each message concerned is listed in
//! [`Found::unchecked`], so that nobody takes silence for a verdict.
//!
//! Not here: the treasury rules M5 and M6, which judge transactions and not what a miner writes;
//! a template from the enforcer already obeys them, a plain template may not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bitcoin::hashes::sha256d;
use bitcoin::{Block, BlockHash, Script, Txid};

use super::message::{BundleProposal, CoinbaseMessage, SidechainAcknowledgement, Votes};
use super::{Bid, Commitment, Slot};

pub use breach::{Breach, Breaches};

mod breach;

/// What the sidechain rules need to know about the blocks so far, as of the parent block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SidechainState {
    /// The active slots, each with its pending bundles, oldest first.
    pub active: BTreeMap<Slot, Vec<Txid>>,
    /// The proposals of earlier blocks that are still open.
    pub proposals: Vec<OpenProposal>,
    /// The bundles that the M4 of the parent block voted up, for an M4 that repeats it. `None`:
    /// not known, and a repeating M4 stays unchecked.
    pub previous_upvotes: Option<BTreeMap<Slot, Txid>>,
}

/// A sidechain that was proposed (M1) in an earlier block and neither activated nor failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenProposal {
    /// What an M2 must say to acknowledge it.
    pub acknowledgement: SidechainAcknowledgement,
    /// Whether one more M2 makes the slot active. The votes of an M4 later in the same coinbase
    /// then count the slot.
    pub next_activates: bool,
}

/// What a block says to Drivechain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The M7 commitments, in the order of the coinbase outputs. At most one a slot.
    pub commitments: Vec<Commitment>,
    /// Every message of the coinbase, M7s included, in the order of the outputs.
    pub messages: Vec<FoundMessage>,
    /// The M8 bids, in the order of the transactions. Each has its M7 in `commitments`.
    pub bids: Vec<FoundBid>,
    /// The rules that were not applied, for want of a [`SidechainState`].
    pub unchecked: Vec<Unchecked>,
}

/// A message and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundMessage {
    /// Index of the coinbase output.
    pub output: usize,
    /// What it says.
    pub message: CoinbaseMessage,
}

/// A bid and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundBid {
    /// Index of the transaction in the block. The coinbase is 0, the first of a template is 1.
    pub transaction: usize,
    /// What it asks for.
    pub bid: Bid,
}

/// A rule that could not be applied to a message of the coinbase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unchecked {
    /// Whether the slot of the M3 is active and its bundle new.
    BundleProposal {
        /// Index of the coinbase output.
        output: usize,
    },
    /// Whether the M4 has one vote for each active slot, and each vote its bundle.
    Votes {
        /// Index of the coinbase output.
        output: usize,
    },
    /// Whether the bundles that the previous M4 voted up are still there for this one.
    RepeatedVotes {
        /// Index of the coinbase output.
        output: usize,
    },
}

impl fmt::Display for Unchecked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BundleProposal { output } => write!(
                f,
                "not checked: whether the slot of the M3 in coinbase output {output} is active \
                 and its bundle new"
            ),
            Self::Votes { output } => write!(
                f,
                "not checked: whether the M4 in coinbase output {output} has one valid vote for \
                 each active slot"
            ),
            Self::RepeatedVotes { output } => write!(
                f,
                "not checked: whether the votes that the M4 in coinbase output {output} repeats \
                 still have their bundles"
            ),
        }
    }
}

/// Judges a block to be: the coinbase outputs that are planned and the bids of the transactions
/// that go with them, in block order (see [`FoundBid::transaction`]).
pub fn template<'s>(
    parent: BlockHash,
    coinbase: impl IntoIterator<Item = &'s Script>,
    bids: impl IntoIterator<Item = FoundBid>,
    state: Option<&SidechainState>,
) -> Result<Found, Breaches> {
    let mut referee = Referee::new(parent, state);
    for (output, script) in coinbase.into_iter().enumerate() {
        if let Some(message) = CoinbaseMessage::parse(script) {
            referee.on_message(output, message);
        }
    }
    // Only now: a bid needs to see every M7, wherever in the coinbase it stands.
    for found in bids {
        referee.on_bid(found);
    }
    referee.verdict()
}

/// Judges raw scripts: the coinbase outputs, and output 0 of each other transaction in block
/// order.
pub fn scripts<'s, 't>(
    parent: BlockHash,
    coinbase: impl IntoIterator<Item = &'s Script>,
    first_outputs: impl IntoIterator<Item = &'t Script>,
    state: Option<&SidechainState>,
) -> Result<Found, Breaches> {
    let bids = first_outputs.into_iter().zip(1..).filter_map(|(script, transaction)| {
        Bid::parse(script).map(|bid| FoundBid { transaction, bid })
    });
    template(parent, coinbase, bids, state)
}

/// Judges a finished block. `parent` is the tip that the caller means to extend: a header that
/// names another one is a breach too, for then every bid was judged against the wrong block.
pub fn block(
    block: &Block,
    parent: BlockHash,
    state: Option<&SidechainState>,
) -> Result<Found, Breaches> {
    let Some((coinbase, transactions)) = block.txdata.split_first() else {
        return Err(Breaches::one(Breach::NoCoinbase));
    };
    let header_parent = block.header.prev_blockhash;
    if header_parent != parent {
        return Err(Breaches::one(Breach::OtherParent { header_parent, parent }));
    }
    let bids = transactions.iter().zip(1..).filter_map(|(transaction, index)| {
        Bid::of(transaction).map(|bid| FoundBid { transaction: index, bid })
    });
    let outputs = coinbase.output.iter().map(|output| output.script_pubkey.as_script());
    template(parent, outputs, bids, state)
}

/// One pass over a block. The enforcer acts on the messages in the order of the outputs, so an M2
/// or M3 changes what a later M4 must say.
struct Referee<'s> {
    parent: BlockHash,
    state: Option<&'s SidechainState>,
    /// The active slots as this coinbase changes them. Empty without a state.
    active: BTreeMap<Slot, Vec<Txid>>,
    found: Found,
    breaches: Vec<Breach>,
    m1_outputs: Vec<(usize, Slot, sha256d::Hash)>,
    m2_outputs: BTreeMap<Slot, usize>,
    /// The M3s so far, kept only without a state.
    m3_seen: BTreeSet<(Slot, Txid)>,
    m4_output: Option<usize>,
    m7_outputs: BTreeMap<Slot, (usize, Commitment)>,
    m8_transactions: BTreeMap<Slot, usize>,
}

impl<'s> Referee<'s> {
    fn new(parent: BlockHash, state: Option<&'s SidechainState>) -> Self {
        Self {
            parent,
            state,
            active: state.map(|state| state.active.clone()).unwrap_or_default(),
            found: Found::default(),
            breaches: Vec::new(),
            m1_outputs: Vec::new(),
            m2_outputs: BTreeMap::new(),
            m3_seen: BTreeSet::new(),
            m4_output: None,
            m7_outputs: BTreeMap::new(),
            m8_transactions: BTreeMap::new(),
        }
    }

    fn verdict(self) -> Result<Found, Breaches> {
        Breaches::new(self.breaches).map_or(Ok(self.found), Err)
    }

    fn on_message(&mut self, output: usize, message: CoinbaseMessage) {
        match &message {
            CoinbaseMessage::M1(proposal) => {
                self.on_m1(output, proposal.slot, proposal.description_hash());
            }
            CoinbaseMessage::M2(acknowledgement) => self.on_m2(output, acknowledgement),
            CoinbaseMessage::M3(proposal) => self.on_m3(output, proposal),
            CoinbaseMessage::M4(votes) => self.on_m4(output, votes),
            CoinbaseMessage::M7(commitment) => self.on_m7(output, *commitment),
        }
        self.found.messages.push(FoundMessage { output, message });
    }

    /// BIP-0300 M1. The same proposal twice in one coinbase; one that exists already is ignored.
    fn on_m1(&mut self, output: usize, slot: Slot, hash: sha256d::Hash) {
        let same = self.m1_outputs.iter().find(|(_, s, h)| (*s, *h) == (slot, hash));
        if let Some(&(first, _, _)) = same {
            self.breaches.push(Breach::DuplicateM1 { slot, first, second: output });
        } else {
            self.m1_outputs.push((output, slot, hash));
        }
    }

    /// BIP-0300 M2. Two for one slot, even of different proposals. One without its proposal in an
    /// earlier block is ignored; an M1 of the same coinbase is not an earlier block.
    fn on_m2(&mut self, output: usize, acknowledgement: &SidechainAcknowledgement) {
        let slot = acknowledgement.slot;
        if let Some(&first) = self.m2_outputs.get(&slot) {
            self.breaches.push(Breach::DuplicateM2 { slot, first, second: output });
            return;
        }
        self.m2_outputs.insert(slot, output);
        let activates = self.state.is_some_and(|state| {
            state.proposals.iter().any(|proposal| {
                proposal.next_activates && proposal.acknowledgement == *acknowledgement
            })
        });
        if activates {
            // A new sidechain in a used slot starts without the bundles of the old one.
            self.active.insert(slot, Vec::new());
        }
    }

    /// BIP-0300 M3. Its slot must be active and its bundle not yet pending.
    fn on_m3(&mut self, output: usize, proposal: &BundleProposal) {
        let BundleProposal { slot, bundle } = *proposal;
        let already_pending = Breach::BundleAlreadyPending { output, slot, bundle };
        match (self.state, self.active.get_mut(&slot)) {
            (Some(_), None) => self.breaches.push(Breach::BundleForInactiveSlot { output, slot }),
            (Some(_), Some(pending)) if pending.contains(&bundle) => {
                self.breaches.push(already_pending);
            }
            (Some(_), Some(pending)) => pending.push(bundle),
            // The second of two equal M3s is wrong whatever the state: either the first made the
            // bundle pending, or the slot is not active.
            (None, _) if !self.m3_seen.insert((slot, bundle)) => {
                self.breaches.push(already_pending);
            }
            (None, _) => self.found.unchecked.push(Unchecked::BundleProposal { output }),
        }
    }

    /// BIP-0300 M4. One a coinbase; no M4 at all abstains.
    fn on_m4(&mut self, output: usize, votes: &Votes) {
        if let Some(first) = self.m4_output {
            self.breaches.push(Breach::DuplicateM4 { first, second: output });
            return;
        }
        self.m4_output = Some(output);
        match votes {
            Votes::LeadingBy50 => {}
            Votes::RepeatPrevious => self.on_repeated_votes(output),
            Votes::OneByte(votes) => {
                let widen = |vote: &u8| match *vote {
                    Votes::ABSTAIN_ONE_BYTE => Votes::ABSTAIN_TWO_BYTE,
                    Votes::ALARM_ONE_BYTE => Votes::ALARM_TWO_BYTE,
                    index => u16::from(index),
                };
                self.on_votes(output, &votes.iter().map(widen).collect::<Vec<_>>());
            }
            Votes::TwoByte(votes) => {
                // An alarm or an abstention counts as a value that needs two bytes.
                if votes.iter().all(|vote| *vote <= u16::from(Votes::INDEX_ONE_BYTE_MAX)) {
                    self.breaches.push(Breach::VotesFitOneByte { output });
                }
                self.on_votes(output, votes);
            }
        }
    }

    fn on_votes(&mut self, output: usize, votes: &[u16]) {
        if self.state.is_none() {
            self.found.unchecked.push(Unchecked::Votes { output });
            return;
        }
        if votes.len() != self.active.len() {
            let (votes, active) = (votes.len(), self.active.len());
            self.breaches.push(Breach::VoteCount { output, votes, active });
            return;
        }
        for (vote, (&slot, pending)) in votes.iter().zip(&self.active) {
            let counts_bundles = *vote < Votes::ALARM_TWO_BYTE;
            if counts_bundles && usize::from(*vote) >= pending.len() {
                let (index, pending) = (*vote, pending.len());
                self.breaches.push(Breach::VoteWithoutBundle { output, slot, index, pending });
            }
        }
    }

    fn on_repeated_votes(&mut self, output: usize) {
        let Some(upvotes) = self.state.and_then(|state| state.previous_upvotes.as_ref()) else {
            self.found.unchecked.push(Unchecked::RepeatedVotes { output });
            return;
        };
        for (&slot, &bundle) in upvotes {
            if !self.active.get(&slot).is_some_and(|pending| pending.contains(&bundle)) {
                self.breaches.push(Breach::RepeatedVoteWithoutBundle { output, slot, bundle });
            }
        }
    }

    /// BIP-0301 M7. One a slot, even if both say the same. The slot need not be active.
    fn on_m7(&mut self, output: usize, commitment: Commitment) {
        let slot = commitment.slot;
        if let Some(&(first, _)) = self.m7_outputs.get(&slot) {
            self.breaches.push(Breach::DuplicateM7 { slot, first, second: output });
            return;
        }
        self.m7_outputs.insert(slot, (output, commitment));
        self.found.commitments.push(commitment);
    }

    /// BIP-0301 M8. Its M7 must be in the coinbase, its parent must be the block's parent, and no
    /// other M8 may ask for the slot, even with the same h\*.
    fn on_bid(&mut self, found: FoundBid) {
        let FoundBid { transaction, bid } = found;
        let Commitment { slot, hash } = bid.commitment;
        let committed = self.m7_outputs.get(&slot).map(|(_, commitment)| commitment.hash);
        if committed != Some(hash) {
            self.breaches.push(Breach::NotAcceptedByMiners { transaction, slot, hash, committed });
        }
        if bid.parent != self.parent {
            let (named, parent) = (bid.parent, self.parent);
            self.breaches.push(Breach::BmmRequestExpired { transaction, slot, named, parent });
        }
        if let Some(&first) = self.m8_transactions.get(&slot) {
            self.breaches.push(Breach::MultipleBmmRequests { slot, first, second: transaction });
        } else {
            self.m8_transactions.insert(slot, transaction);
        }
        self.found.bids.push(found);
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod verdicts;
