//! What the blocks so far made of the sidechains: proposed, acknowledged, active, voted on.
//!
//! The numbers are those that the enforcer has on regtest and signet, seen on a running one: a
//! proposal of one block is active with its sixth acknowledgement within ten further blocks.
//! Messages come parsed from the referee, which is the server's; what they add up to is ours.
//! Not in here: withdrawals that are paid out (M5, M6); a bundle stays until it is too old.

use std::collections::BTreeMap;

use bitcoin::Txid;
use server::bmm::Slot;
use server::bmm::check::{Found, OpenProposal, SidechainState};
use server::bmm::message::{CoinbaseMessage, SidechainAcknowledgement, Votes};

/// Acknowledgements that make a proposal active.
const ACKNOWLEDGEMENTS: u32 = 6;
/// Blocks without one that end it.
const MISSES_MAX: u32 = 5;
/// Blocks that a bundle may wait for its votes.
const BUNDLE_BLOCKS_MAX: u32 = 10;

/// The sidechains after a block.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    proposals: Vec<Proposal>,
    active: BTreeMap<Slot, Vec<Bundle>>,
    upvoted: BTreeMap<Slot, Txid>,
}

#[derive(Clone, Debug)]
struct Proposal {
    acknowledgement: SidechainAcknowledgement,
    votes: u32,
    blocks: u32,
}

#[derive(Clone, Debug)]
struct Bundle {
    id: Txid,
    blocks: u32,
}

impl Ledger {
    /// As `state` has it; what is known of its proposals is no more than that they are new.
    pub(super) fn starting_with(state: &SidechainState) -> Self {
        let bundles = |ids: &Vec<Txid>| {
            ids.iter().map(|id| Bundle { id: *id, blocks: 0 }).collect::<Vec<_>>()
        };
        let proposals = state.proposals.iter().map(|proposal| {
            let votes = if proposal.next_activates { ACKNOWLEDGEMENTS - 1 } else { 0 };
            Proposal { acknowledgement: proposal.acknowledgement, votes, blocks: votes }
        });
        Self {
            proposals: proposals.collect(),
            active: state.active.iter().map(|(slot, ids)| (*slot, bundles(ids))).collect(),
            upvoted: state.previous_upvotes.clone().unwrap_or_default(),
        }
    }

    /// What the referee needs to know for the next block.
    pub(super) fn state(&self) -> SidechainState {
        let ids = |bundles: &Vec<Bundle>| bundles.iter().map(|bundle| bundle.id).collect();
        let proposals = self.proposals.iter().map(|proposal| OpenProposal {
            acknowledgement: proposal.acknowledgement,
            next_activates: proposal.votes + 1 >= ACKNOWLEDGEMENTS,
        });
        SidechainState {
            active: self.active.iter().map(|(slot, bundles)| (*slot, ids(bundles))).collect(),
            proposals: proposals.collect(),
            previous_upvotes: Some(self.upvoted.clone()),
        }
    }

    /// The ledger after a block that says this and breaks no rule.
    pub(super) fn after(&self, found: &Found) -> Self {
        let mut next = self.clone();
        let mut proposed = Vec::new();
        let mut upvoted = BTreeMap::new();
        for bundle in next.active.values_mut().flatten() {
            bundle.blocks += 1;
        }
        for proposal in &mut next.proposals {
            proposal.blocks += 1;
        }
        for message in found.messages.iter().map(|found| &found.message) {
            match message {
                CoinbaseMessage::M1(proposal) => proposed.push(SidechainAcknowledgement {
                    slot: proposal.slot,
                    description_hash: proposal.description_hash(),
                }),
                CoinbaseMessage::M2(acknowledgement) => next.acknowledge(*acknowledgement),
                CoinbaseMessage::M3(bundle) => {
                    let pending = next.active.entry(bundle.slot).or_default();
                    pending.push(Bundle { id: bundle.bundle, blocks: 0 });
                }
                CoinbaseMessage::M4(votes) => upvoted = next.upvotes(votes),
                CoinbaseMessage::M7(_) => {}
            }
        }
        next.upvoted = upvoted;
        next.proposals.retain(|proposal| proposal.blocks - proposal.votes < MISSES_MAX);
        // Only now: an acknowledgement beside its proposal does not count.
        for acknowledgement in proposed {
            if next.proposals.iter().all(|known| known.acknowledgement != acknowledgement) {
                next.proposals.push(Proposal { acknowledgement, votes: 0, blocks: 0 });
            }
        }
        for bundles in next.active.values_mut() {
            bundles.retain(|bundle| bundle.blocks <= BUNDLE_BLOCKS_MAX);
        }
        next
    }

    fn acknowledge(&mut self, acknowledgement: SidechainAcknowledgement) {
        let mut known = self.proposals.iter_mut();
        let Some(proposal) = known.find(|known| known.acknowledgement == acknowledgement) else {
            return;
        };
        proposal.votes += 1;
        if proposal.votes >= ACKNOWLEDGEMENTS {
            self.proposals.retain(|known| known.acknowledgement != acknowledgement);
            self.active.insert(acknowledgement.slot, Vec::new());
        }
    }

    fn upvotes(&self, votes: &Votes) -> BTreeMap<Slot, Txid> {
        let indexes: Vec<usize> = match votes {
            Votes::RepeatPrevious => return self.upvoted.clone(),
            Votes::LeadingBy50 => return BTreeMap::new(),
            Votes::OneByte(votes) => votes.iter().map(|vote| usize::from(*vote)).collect(),
            Votes::TwoByte(votes) => votes.iter().map(|vote| usize::from(*vote)).collect(),
        };
        // An alarm or an abstention is no index that any slot has.
        let of_slot = self.active.iter().zip(indexes);
        of_slot.filter_map(|((slot, ids), index)| Some((*slot, ids.get(index)?.id))).collect()
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash as _;
    use server::bmm::check::FoundMessage;
    use server::bmm::message::{BundleProposal, SidechainProposal};

    use super::*;

    fn after(ledger: &Ledger, messages: &[CoinbaseMessage]) -> Ledger {
        let messages = messages.iter().cloned();
        let messages = messages.map(|message| FoundMessage { output: 0, message }).collect();
        ledger.after(&Found { messages, ..Found::default() })
    }

    fn proposal() -> SidechainProposal {
        SidechainProposal { slot: Slot(9), description: vec![1, 2, 3] }
    }

    fn acknowledgement() -> CoinbaseMessage {
        let description_hash = proposal().description_hash();
        CoinbaseMessage::M2(SidechainAcknowledgement { slot: Slot(9), description_hash })
    }

    #[test]
    fn the_sixth_acknowledgement_activates() {
        let proposed = CoinbaseMessage::M1(proposal());
        let mut ledger = after(&Ledger::default(), &[proposed, acknowledgement()]);
        for block in 1..=6 {
            let open = ledger.state().proposals;
            assert_eq!(open[0].next_activates, block == 6, "one beside its proposal is none");
            ledger = after(&ledger, &[acknowledgement()]);
            assert_eq!(ledger.state().active.len(), usize::from(block == 6));
        }
        assert_eq!(ledger.state().proposals, []);
        let again = Ledger::starting_with(&ledger.state());
        assert_eq!(again.state(), ledger.state());
    }

    #[test]
    fn five_blocks_without_one_end_a_proposal() {
        let mut ledger = after(&Ledger::default(), &[CoinbaseMessage::M1(proposal())]);
        for _ in 0..4 {
            ledger = after(&ledger, &[acknowledgement()]);
            ledger = after(&ledger, &[]);
        }
        assert_eq!(ledger.state().proposals.len(), 1);
        ledger = after(&ledger, &[]);
        assert_eq!(ledger.state().proposals, []);
    }

    #[test]
    fn bundles_are_voted_for_and_grow_old() {
        let active = SidechainState {
            active: [(Slot(2), vec![]), (Slot(9), vec![])].into(),
            ..SidechainState::default()
        };
        let bundle = Txid::from_byte_array([7; 32]);
        let proposed = CoinbaseMessage::M3(BundleProposal { slot: Slot(9), bundle });
        let ledger = after(&Ledger::starting_with(&active), &[proposed]);
        let vote = |votes: &[u8]| CoinbaseMessage::M4(Votes::OneByte(votes.to_vec()));
        let mut voted = after(&ledger, &[vote(&[0xff, 0])]);
        let upvotes = Some(BTreeMap::from([(Slot(9), bundle)]));
        assert_eq!(voted.state().previous_upvotes, upvotes);
        voted = after(&voted, &[CoinbaseMessage::M4(Votes::RepeatPrevious)]);
        assert_eq!(voted.state().previous_upvotes, upvotes);
        for _ in 0..9 {
            voted = after(&voted, &[]);
        }
        assert_eq!(voted.state().previous_upvotes, Some(BTreeMap::new()), "no M4 votes for none");
        assert_eq!(voted.state().active[&Slot(9)], [], "and it is too old now");
    }
}
