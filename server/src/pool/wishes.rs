//! The operator's wishes for the coinbase (M1, M2, M4), as far as they may stand in it.
//!
//! They count on templates that leave the coinbase to us. An enforcer's template has its own
//! messages, which stay as they are and are shown.

use std::collections::BTreeSet;

use bitcoin::hashes::Hash as _;
use bitcoin::{BlockHash, ScriptBuf, TxOut};
use tracing::{info, warn};

use super::Pool;
use crate::bmm::Bid;
use crate::bmm::check::FoundBid;
use crate::bmm::message::{CoinbaseMessage, Declaration};
use crate::bmm::wishes::{Beside, Refusal, Wish, Wishes};
use crate::mining::block::{FoundBlock, weight};
use crate::mining::coinbase::{Coinbase, CoinbasePlan};
use crate::mining::template::{Template, WEIGHT_MAX};

/// What was said and done about the wishes so far.
#[derive(Debug, Default)]
pub(super) struct WishBook {
    /// Proposals that a block of ours made.
    done: BTreeSet<Wish>,
    /// Wishes that were spoken of because of a rule, and because of room.
    warned: BTreeSet<(Wish, bool)>,
    /// Whether the operator heard that an enforcer's templates take no wishes.
    warned_of_enforcer: bool,
}

/// Tells the operator what an acknowledgement of each proposal has to name.
pub(super) fn announce(wishes: &Wishes) {
    for proposal in &wishes.proposals {
        let declaration = Declaration::parse(&proposal.description);
        info!(
            slot = %proposal.slot,
            title = declaration.map(|declaration| declaration.title),
            hash = %proposal.description_hash(),
            "proposes a sidechain until a block of ours says so; [[acknowledge]] takes this hash"
        );
    }
}

/// The messages of a coinbase but for its commitments, for the log.
pub(super) fn shown(coinbase: &[TxOut]) -> String {
    let messages =
        coinbase.iter().filter_map(|output| CoinbaseMessage::parse(&output.script_pubkey));
    let others = messages.filter(|message| !matches!(message, CoinbaseMessage::M7(_)));
    let each: Vec<String> = others.map(|message| message.to_string()).collect();
    if each.is_empty() { "none".to_owned() } else { each.join(", ") }
}

impl Pool {
    /// The wishes that can stand in a coinbase for `template`, before `commitments`.
    pub(super) fn granted_wishes(
        &mut self,
        template: &Template,
        commitments: &[ScriptBuf],
    ) -> Vec<ScriptBuf> {
        if self.config.wishes.is_empty() || self.work.is_bare(template.parent) {
            return Vec::new();
        }
        if template.given.is_some() {
            if !core::mem::replace(&mut self.wishes.warned_of_enforcer, true) {
                warn!(
                    "[[propose]], [[acknowledge]] and [votes] have no effect: the node is an \
                     enforcer, and its templates have messages of its own; set them there, or mine \
                     on the node behind it"
                );
            }
            return Vec::new();
        }
        let payout = &self.config.payout;
        let plan = CoinbasePlan::new(template, self.generation, payout, commitments.to_vec());
        let taken = weight(template, &Coinbase::build(&plan));
        let bids = template.transactions.iter().zip(1..).filter_map(|(known, transaction)| {
            let bid = Bid::parse(known.note.as_ref()?)?;
            Some(FoundBid { transaction, bid })
        });
        let bids: Vec<FoundBid> = bids.collect();
        let granted = self.config.wishes.grant(
            &Beside {
                parent: BlockHash::from_byte_array(template.parent),
                before: core::slice::from_ref(payout),
                after: commitments,
                bids: &bids,
                room: WEIGHT_MAX.saturating_sub(taken),
            },
            &self.wishes.done,
        );
        for (wish, why) in granted.refused {
            let of_room = matches!(why, Refusal::NoRoom { .. });
            if self.wishes.warned.insert((wish, of_room)) {
                warn!("{wish} is left out of the coinbase, which could lose its block: {why}");
            }
        }
        granted.scripts
    }

    /// The node took `found`: what it proposes needs no other block.
    pub(super) fn note_proposals(&mut self, found: &FoundBlock) {
        for place in self.proposals_of(found) {
            if self.wishes.done.insert(Wish::Proposal(place)) {
                let proposal = &self.config.wishes.proposals[place];
                info!(
                    slot = %proposal.slot,
                    hash = %proposal.description_hash(),
                    "sidechain proposed by a block of ours; take its [[propose]] out of the \
                     settings, or the next start proposes it again"
                );
            }
        }
    }

    /// `lost` left the chain, and its proposals with it.
    pub(super) fn forget_proposals(&mut self, lost: &FoundBlock) {
        for place in self.proposals_of(lost) {
            self.wishes.done.remove(&Wish::Proposal(place));
        }
    }

    /// The places of our proposals that a block makes.
    fn proposals_of(&self, found: &FoundBlock) -> Vec<usize> {
        let proposals = &self.config.wishes.proposals;
        if proposals.is_empty() {
            return Vec::new();
        }
        let Ok(block) = bitcoin::consensus::deserialize::<bitcoin::Block>(&found.bytes) else {
            return Vec::new();
        };
        let outputs = block.txdata.first().map_or(&[][..], |coinbase| &coinbase.output);
        let made: Vec<CoinbaseMessage> = outputs
            .iter()
            .filter_map(|output| CoinbaseMessage::parse(&output.script_pubkey))
            .collect();
        let is_made =
            |place: &usize| made.contains(&CoinbaseMessage::M1(proposals[*place].clone()));
        (0..proposals.len()).filter(is_made).collect()
    }
}
