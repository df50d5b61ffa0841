//! Which commitments (M7) go into the coinbase when several ask for one slot.
//!
//! Two M7 of one slot lose the block, and an M8 without its M7 loses it too. So what a template or
//! the auction has settled stands, for a bid may depend on it; our own sidechains get the slots
//! that are left.
//!
//! Not here: the bytes of the outputs, and which bids won ([`super::auction`]).

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::{Commitment, Slot};

/// Who asked for a commitment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// It stands in the template's coinbase, byte for byte (enforcer templates).
    Template,
    /// A bid in the block pays for it (plain templates).
    Auction,
    /// One of our own sidechain daemons, by its place in the settings.
    Own {
        /// Index into the configured sidechains.
        sidechain: usize,
    },
}

/// What one of our own sidechain daemons would like to have committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Index into the configured sidechains.
    pub sidechain: usize,
    /// The larger number wins a slot that two of our sidechains want.
    pub priority: u32,
    /// Its slot and h\*; a zeroed h\* is the placeholder for a daemon that did not answer.
    pub commitment: Commitment,
}

/// A commitment that goes into the coinbase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// What the output says.
    pub commitment: Commitment,
    /// Who asked for it.
    pub provenance: Provenance,
}

/// A commitment that does not, because its slot went to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// What it would have said.
    pub commitment: Commitment,
    /// Who asked for it.
    pub provenance: Provenance,
    /// Who has the slot.
    pub by: Provenance,
}

/// The decision for one coinbase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// The outputs in their order: the template's, the auction's, then our own by slot. At most
    /// one a slot.
    pub chosen: Vec<Chosen>,
    /// The rest, in the same order.
    pub passed_over: Vec<PassedOver>,
}

impl Choice {
    /// The commitments alone, in order.
    pub fn commitments(&self) -> impl Iterator<Item = Commitment> {
        self.chosen.iter().map(|chosen| chosen.commitment)
    }
}

/// Decides which commitments the coinbase carries.
///
/// `template` are the M7s of the template's own coinbase and `auction` those of the bids that
/// won, both in output order; of these the first of a slot stands. (A template with two is broken
/// as it comes: its outputs are kept byte for byte, and [`super::check`] says so.) Among our own
/// a real h\* beats a zeroed one, then the larger priority counts, then the order of the settings.
pub fn choose(template: &[Commitment], auction: &[Commitment], own: &[Candidate]) -> Choice {
    let mut preference: Vec<&Candidate> = own.iter().collect();
    preference.sort_by_key(|candidate| {
        let Candidate { sidechain, priority, commitment } = candidate;
        (commitment.slot, commitment.is_zero(), Reverse(*priority), *sidechain)
    });
    let template = template.iter().map(|commitment| (*commitment, Provenance::Template));
    let auction = auction.iter().map(|commitment| (*commitment, Provenance::Auction));
    let own = preference.into_iter().map(|candidate| {
        (candidate.commitment, Provenance::Own { sidechain: candidate.sidechain })
    });

    let mut holders: BTreeMap<Slot, Provenance> = BTreeMap::new();
    let mut choice = Choice::default();
    for (commitment, provenance) in template.chain(auction).chain(own) {
        if let Some(&by) = holders.get(&commitment.slot) {
            choice.passed_over.push(PassedOver { commitment, provenance, by });
        } else {
            holders.insert(commitment.slot, provenance);
            choice.chosen.push(Chosen { commitment, provenance });
        }
    }
    assert_eq!(choice.chosen.len(), holders.len(), "one M7 a slot");
    choice
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn commitment(slot: u8, byte: u8) -> Commitment {
        Commitment { slot: Slot(slot), hash: [byte; 32] }
    }

    fn own(sidechain: usize, priority: u32, slot: u8, byte: u8) -> Candidate {
        Candidate { sidechain, priority, commitment: commitment(slot, byte) }
    }

    fn check(choice: &Choice, chosen: &[(u8, u8, Provenance)], passed_over: usize) {
        let expected: Vec<_> = chosen
            .iter()
            .map(|&(slot, byte, provenance)| Chosen {
                commitment: commitment(slot, byte),
                provenance,
            })
            .collect();
        assert_eq!(choice.chosen, expected);
        assert_eq!(choice.passed_over.len(), passed_over);
    }

    #[test]
    fn a_templates_commitment_always_wins() {
        let choice = choose(&[commitment(9, 1)], &[], &[own(0, 1000, 9, 2), own(1, 0, 2, 3)]);
        check(
            &choice,
            &[(9, 1, Provenance::Template), (2, 3, Provenance::Own { sidechain: 1 })],
            1,
        );
        assert_eq!(
            choice.passed_over[0],
            PassedOver {
                commitment: commitment(9, 2),
                provenance: Provenance::Own { sidechain: 0 },
                by: Provenance::Template,
            }
        );
    }

    #[test]
    fn a_paid_commitment_wins_even_over_an_equal_one_of_ours() {
        let choice = choose(&[], &[commitment(9, 1)], &[own(0, 5, 9, 1)]);
        check(&choice, &[(9, 1, Provenance::Auction)], 1);
    }

    #[test]
    fn our_own_compete_by_answer_then_priority_then_settings() {
        let zero_first = choose(&[], &[], &[own(0, 9, 4, 0), own(1, 1, 4, 7)]);
        check(&zero_first, &[(4, 7, Provenance::Own { sidechain: 1 })], 1);
        let priority = choose(&[], &[], &[own(0, 1, 4, 6), own(1, 2, 4, 7)]);
        check(&priority, &[(4, 7, Provenance::Own { sidechain: 1 })], 1);
        let settings = choose(&[], &[], &[own(1, 2, 4, 7), own(0, 2, 4, 6)]);
        check(&settings, &[(4, 6, Provenance::Own { sidechain: 0 })], 1);
        let both_zero = choose(&[], &[], &[own(0, 1, 4, 0), own(1, 2, 4, 0)]);
        check(&both_zero, &[(4, 0, Provenance::Own { sidechain: 1 })], 1);
    }

    #[test]
    fn template_order_is_kept_and_our_own_follow_by_slot() {
        let template = [commitment(200, 1), commitment(3, 2)];
        let choice = choose(&template, &[], &[own(0, 0, 7, 3), own(1, 9, 5, 4)]);
        let slots: Vec<u8> = choice.commitments().map(|commitment| commitment.slot.0).collect();
        assert_eq!(slots, [200, 3, 5, 7]);
    }

    proptest! {
        #[test]
        fn never_two_for_a_slot_and_nothing_is_lost(
            template in proptest::collection::vec((0_u8..6, any::<u8>()), 0..4),
            auction in proptest::collection::vec((0_u8..6, any::<u8>()), 0..4),
            own_candidates in proptest::collection::vec((0_u32..3, 0_u8..6, 0_u8..3), 0..6),
        ) {
            let commitments = |pairs: &[(u8, u8)]| -> Vec<Commitment> {
                pairs.iter().map(|&(slot, byte)| commitment(slot, byte)).collect()
            };
            let (template, auction) = (commitments(&template), commitments(&auction));
            let candidates: Vec<Candidate> = own_candidates
                .iter()
                .enumerate()
                .map(|(index, &(priority, slot, byte))| own(index, priority, slot, byte))
                .collect();
            let choice = choose(&template, &auction, &candidates);
            let mut slots: Vec<Slot> = choice.commitments().map(|c| c.slot).collect();
            slots.sort();
            slots.dedup();
            prop_assert_eq!(slots.len(), choice.chosen.len());
            let wishes = template.len() + auction.len() + candidates.len();
            prop_assert_eq!(choice.chosen.len() + choice.passed_over.len(), wishes);
            for wish in &template {
                let holder = choice.chosen.iter().find(|c| c.commitment.slot == wish.slot);
                prop_assert_eq!(holder.map(|c| c.provenance), Some(Provenance::Template));
            }
            // The order in which our own are handed over does not matter.
            let reversed: Vec<Candidate> = candidates.iter().rev().copied().collect();
            prop_assert_eq!(choose(&template, &auction, &reversed), choice);
        }
    }
}
