//! What an operator would like a coinbase to say of sidechains: proposals (M1), acknowledgements
//! (M2) and votes (M4) of BIP-0300, for templates that leave the coinbase to us.
//!
//! No such message is worth a block. Each is tried by the referee beside everything else that the
//! coinbase says, in each state of the sidechains that is possible as far as is known, and is left
//! out where it could lose the block or does not fit in.
//!
//! What is known is what the operator says: which slots are active. Not known, and not checked:
//! whether that is true, and which bundles are pending.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bitcoin::hashes::Hash as _;
use bitcoin::{BlockHash, ScriptBuf, Txid};

use super::Slot;
use super::check::{self, Breaches, FoundBid, OpenProposal, SidechainState};
use super::message::{
    CoinbaseMessage, MessageTooLong, SidechainAcknowledgement, SidechainProposal, Votes,
};

/// Everything that is wished for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Wishes {
    /// Sidechains to propose (M1), each until a block of ours says so.
    pub proposals: Vec<SidechainProposal>,
    /// Proposals to acknowledge (M2), in every block.
    pub acknowledgements: Vec<SidechainAcknowledgement>,
    /// How to vote (M4), in every block.
    pub votes: Option<VoteWish>,
}

/// How to vote on withdrawal bundles.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum VoteWish {
    /// As the block before.
    RepeatPrevious,
    /// For each bundle that leads its rivals by 50.
    LeadingBy50,
    /// For the bundle at this place among the pending ones of its slot, oldest first; a slot
    /// without one abstains.
    Each {
        /// Every slot that has a sidechain. An M4 has one vote for each.
        active: BTreeSet<Slot>,
        /// The places.
        upvotes: BTreeMap<Slot, u16>,
    },
}

/// Names a wish: its kind and its place among its like.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Wish {
    /// One of the proposals.
    Proposal(usize),
    /// One of the acknowledgements.
    Acknowledgement(usize),
    /// The votes.
    Votes,
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proposal(place) => write!(f, "[[propose]] {}", place + 1),
            Self::Acknowledgement(place) => write!(f, "[[acknowledge]] {}", place + 1),
            Self::Votes => f.write_str("[votes]"),
        }
    }
}

/// Why a wish is left out of a coinbase.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// It would, or could, make the block invalid.
    #[error("{0}")]
    Breach(Breaches),
    /// It does not fit into the block.
    #[error(
        "it weighs {weight} and the template leaves {room}; set blockreservedweight=8000 or more \
         in the node's configuration"
    )]
    NoRoom {
        /// The weight of its output.
        weight: u64,
        /// What is left of the block.
        room: u64,
    },
    /// No script can hold it.
    #[error(transparent)]
    TooLong(#[from] MessageTooLong),
}

/// What the coinbase says beside the wishes.
#[derive(Clone, Copy, Debug)]
pub struct Beside<'a> {
    /// The block to be extended.
    pub parent: BlockHash,
    /// What stands before the wishes: the payout.
    pub before: &'a [ScriptBuf],
    /// What stands after them: the commitments (M7).
    pub after: &'a [ScriptBuf],
    /// The bids in the block (M8).
    pub bids: &'a [FoundBid],
    /// Weight that the block has left.
    pub room: u64,
}

/// What became of the wishes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Granted {
    /// The outputs, in the order in which the enforcer writes them: M1, M2, M4.
    pub scripts: Vec<ScriptBuf>,
    /// The rest, and why.
    pub refused: Vec<(Wish, Refusal)>,
}

impl VoteWish {
    fn votes(&self) -> Votes {
        let (active, upvotes) = match self {
            Self::RepeatPrevious => return Votes::RepeatPrevious,
            Self::LeadingBy50 => return Votes::LeadingBy50,
            Self::Each { active, upvotes } => (active, upvotes),
        };
        let places = || active.iter().map(|slot| upvotes.get(slot).copied());
        let one_byte = |place: Option<u16>| match place {
            None => Some(Votes::ABSTAIN_ONE_BYTE),
            Some(place) => {
                u8::try_from(place).ok().filter(|place| *place <= Votes::INDEX_ONE_BYTE_MAX)
            }
        };
        let two_bytes = |place: Option<u16>| place.unwrap_or(Votes::ABSTAIN_TWO_BYTE);
        places()
            .map(one_byte)
            .collect::<Option<_>>()
            .map_or_else(|| Votes::TwoByte(places().map(two_bytes).collect()), Votes::OneByte)
    }
}

impl Wishes {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.proposals.is_empty() && self.acknowledgements.is_empty() && self.votes.is_none()
    }

    /// The outputs for the wishes that can stand beside everything else; `done` are those that
    /// need no output any more.
    pub fn grant(&self, beside: &Beside<'_>, done: &BTreeSet<Wish>) -> Granted {
        let states = self.states();
        let mut granted = Granted::default();
        let mut room = beside.room.saturating_sub(MORE_OUTPUTS_WEIGHT);
        // What is broken without any wish is no fault of theirs, and is refused elsewhere.
        if states.iter().any(|state| judge(beside, &[], state.as_ref()).is_err()) {
            return granted;
        }
        for (wish, message) in self.messages().filter(|(wish, _)| !done.contains(wish)) {
            let script = match message.to_script() {
                Ok(script) => script,
                Err(error) => {
                    granted.refused.push((wish, error.into()));
                    continue;
                }
            };
            let weight = output_weight(&script);
            if weight > room {
                granted.refused.push((wish, Refusal::NoRoom { weight, room }));
                continue;
            }
            granted.scripts.push(script);
            let mut verdicts =
                states.iter().map(|state| judge(beside, &granted.scripts, state.as_ref()));
            if let Some(breaches) = verdicts.find_map(Result::err) {
                granted.scripts.pop();
                granted.refused.push((wish, Refusal::Breach(breaches)));
            } else {
                room -= weight;
            }
        }
        granted
    }

    fn messages(&self) -> impl Iterator<Item = (Wish, CoinbaseMessage)> {
        let proposals = self.proposals.iter().cloned().enumerate();
        let proposals =
            proposals.map(|(place, m1)| (Wish::Proposal(place), CoinbaseMessage::M1(m1)));
        let acknowledgements = self.acknowledgements.iter().copied().enumerate();
        let acknowledgements = acknowledgements
            .map(|(place, m2)| (Wish::Acknowledgement(place), CoinbaseMessage::M2(m2)));
        let votes = self.votes.iter().map(|wish| (Wish::Votes, CoinbaseMessage::M4(wish.votes())));
        proposals.chain(acknowledgements).chain(votes)
    }

    /// The states that the sidechains may be in. How many acknowledgements a proposal has is not
    /// known, so ours may be the one that activates it, or not.
    fn states(&self) -> Vec<Option<SidechainState>> {
        let Some(VoteWish::Each { active, upvotes }) = &self.votes else { return vec![None] };
        // Which bundles there are is not known either: that there are as many as are named is.
        let pending = |slot: &Slot| {
            let bundles = upvotes.get(slot).map_or(0, |place| u32::from(*place) + 1);
            (0..bundles).map(stand_in).collect()
        };
        let active = active.iter().map(|slot| (*slot, pending(slot))).collect();
        let proposals = self.acknowledgements.iter().map(|acknowledgement| OpenProposal {
            acknowledgement: *acknowledgement,
            next_activates: true,
        });
        let activating =
            SidechainState { active, proposals: proposals.collect(), ..<_>::default() };
        let quiet = SidechainState { proposals: Vec::new(), ..activating.clone() };
        vec![Some(quiet), Some(activating)]
    }
}

/// The count of outputs may take three bytes in place of one.
const MORE_OUTPUTS_WEIGHT: u64 = 8;

fn output_weight(script: &ScriptBuf) -> u64 {
    let length_bytes = if script.len() < 0xfd { 1 } else { 3 };
    4 * (8 + length_bytes + script.len() as u64)
}

/// A bundle of which only its place is known.
fn stand_in(place: u32) -> Txid {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&place.to_be_bytes());
    Txid::from_byte_array(bytes)
}

fn judge(
    beside: &Beside<'_>,
    wishes: &[ScriptBuf],
    state: Option<&SidechainState>,
) -> Result<(), Breaches> {
    let outputs = beside.before.iter().chain(wishes).chain(beside.after);
    let outputs = outputs.map(ScriptBuf::as_script);
    check::template(beside.parent, outputs, beside.bids.iter().copied(), state).map(drop)
}

#[cfg(test)]
mod tests;
