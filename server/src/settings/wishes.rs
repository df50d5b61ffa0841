//! `[[propose]]`, `[[acknowledge]]` and `[votes]`: what the operator would have the coinbase say of
//! sidechains, from the settings file to [`Wishes`].
//!
//! **Invariant:** what is plainly wrong by itself is a problem here; what another message of the
//! same coinbase makes wrong is found by the referee, job by job.

use std::collections::{BTreeMap, BTreeSet};

use super::entries::Entry;
use super::sections::{REQUIRED, SLOT, Section};
use super::source::Findings;
use super::table::Setting;
use super::value;
use crate::bmm::Slot;
use crate::bmm::message::{Declaration, SidechainAcknowledgement, SidechainProposal};
use crate::bmm::wishes::{VoteWish, Wishes};

const IN_PROPOSE: &str = "propose";
const IN_ACKNOWLEDGE: &str = "acknowledge";
const IN_VOTES: &str = "votes";

const TITLE: Setting = Setting::new("title", "TEXT", "")
    .noted(REQUIRED)
    .means(IN_PROPOSE, "The sidechain's name, at most 255 bytes.");
const DESCRIPTION: Setting = Setting::new("description", "TEXT", "")
    .means(IN_PROPOSE, "A sentence about it, at most 1000 bytes.");
const HASH_ID_1: Setting = Setting::new("hash-id-1", "HEX", "")
    .noted(REQUIRED)
    .means(IN_PROPOSE, "By convention the SHA-256 of a release, as 64 hex digits in that order.");
const HASH_ID_2: Setting = Setting::new("hash-id-2", "HEX", "")
    .noted(REQUIRED)
    .means(IN_PROPOSE, "By convention a git commit, as 40 hex digits in that order.");
const HASH: Setting = Setting::new("hash", "HEX", "").noted(REQUIRED).means(
    IN_ACKNOWLEDGE,
    "The proposal's description_sha256d_hash as the enforcer shows it, 64 hex digits. That is the \
     reverse of the bytes in the block.",
);
const MODE: Setting = Setting::new("mode", "MODE", "").noted(REQUIRED).means(
    IN_VOTES,
    "abstain, upvotes, leading-by-50 (for each bundle that leads by 50 votes) or repeat (as the \
     block before).",
);
const ACTIVE_SLOTS: Setting =
    Setting::new("active-slots", "SLOTS", "").noted("required by abstain and upvotes").means(
        IN_VOTES,
        "Every slot that has a sidechain, as [2, 9]. One too many or too few loses the block: \
         nothing here can check it.",
    );
const INDEX: Setting = Setting::new("index", "NUMBER", "").noted(REQUIRED).means(
    IN_VOTES,
    "The bundle to vote for among the pending ones of the slot: 0 is the oldest. One that is not \
     there loses the block.",
);

/// Sidechains to propose (BIP-0300 M1).
pub(super) const PROPOSE: Section = Section {
    name: IN_PROPOSE,
    many: true,
    fields: &[SLOT, TITLE, DESCRIPTION, HASH_ID_1, HASH_ID_2],
    nested: None,
};

/// Proposals to acknowledge (BIP-0300 M2).
pub(super) const ACKNOWLEDGE: Section =
    Section { name: IN_ACKNOWLEDGE, many: true, fields: &[SLOT, HASH], nested: None };

/// How to vote on withdrawal bundles (BIP-0300 M4).
pub(super) const VOTES: Section = Section {
    name: IN_VOTES,
    many: false,
    fields: &[MODE, ACTIVE_SLOTS],
    nested: Some(&Section {
        name: "votes.upvotes",
        many: true,
        fields: &[SLOT, INDEX],
        nested: None,
    }),
};

/// The ways to vote.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum VoteMode {
    Repeat,
    Abstain,
    Upvotes,
    LeadingBy50,
}

/// All that is wished for, or `None` and at least one problem.
pub(super) fn wishes(entries: &mut [Entry], findings: &mut Findings) -> Option<Wishes> {
    let mut proposals = Vec::new();
    let mut acknowledgements = Vec::new();
    let mut votes = Vec::new();
    for entry in entries {
        match entry.section.name {
            IN_PROPOSE => proposals.push(proposal(entry, findings)),
            IN_ACKNOWLEDGE => acknowledgements.push(acknowledgement(entry, findings)),
            IN_VOTES => votes.push(vote(entry, findings)),
            _ => {}
        }
    }
    let votes: Option<Vec<VoteWish>> = votes.into_iter().collect();
    Some(Wishes {
        proposals: proposals.into_iter().collect::<Option<_>>()?,
        acknowledgements: acknowledgements.into_iter().collect::<Option<_>>()?,
        votes: votes?.pop(),
    })
}

fn proposal(entry: &mut Entry, findings: &mut Findings) -> Option<SidechainProposal> {
    let slot = entry.read(findings, &SLOT, value::slot);
    let title = entry.read(findings, &TITLE, value::title);
    let description = entry.read(findings, &DESCRIPTION, value::description);
    let hash_id_1 = entry.read(findings, &HASH_ID_1, value::hash_id);
    let hash_id_2 = entry.read(findings, &HASH_ID_2, value::hash_id);
    let declaration = Declaration {
        title: title?,
        description: description?,
        hash_id_1: hash_id_1?,
        hash_id_2: hash_id_2?,
    };
    match declaration.to_bytes() {
        Ok(description) => Some(SidechainProposal { slot: slot?, description }),
        Err(error) => {
            findings.problems.push(format!("title ({}): {error}", entry.place()));
            None
        }
    }
}

fn acknowledgement(entry: &mut Entry, findings: &mut Findings) -> Option<SidechainAcknowledgement> {
    let slot = entry.read(findings, &SLOT, value::slot);
    let description_hash = entry.read(findings, &HASH, value::displayed_hash);
    Some(SidechainAcknowledgement { slot: slot?, description_hash: description_hash? })
}

fn vote(entry: &mut Entry, findings: &mut Findings) -> Option<VoteWish> {
    let mode = entry.read(findings, &MODE, value::vote_mode);
    let is_told = entry.has(&ACTIVE_SLOTS);
    let active = entry.read_list(findings, &ACTIVE_SLOTS, value::slot);
    let upvotes: Vec<_> =
        entry.nested().into_iter().map(|nested| upvote(entry, nested, findings)).collect();
    let upvotes: Option<Vec<(Slot, u16)>> = upvotes.into_iter().collect();
    let (mode, upvotes) = (mode?, upvotes?);
    let active: BTreeSet<Slot> = active?.into_iter().collect();
    let place = entry.place();
    if mode != VoteMode::Upvotes && !upvotes.is_empty() {
        findings.warnings.push(format!("upvotes ({place}) has no effect: mode is not upvotes"));
    }
    match mode {
        VoteMode::Repeat => {
            findings.warnings.push(format!(
                "mode=repeat ({place}): when a bundle that the block before voted for is gone, the \
                 repeated vote loses the block, and nothing here can see it; leading-by-50 never \
                 does"
            ));
            return Some(VoteWish::RepeatPrevious);
        }
        VoteMode::LeadingBy50 => return Some(VoteWish::LeadingBy50),
        VoteMode::Abstain | VoteMode::Upvotes => {}
    }
    if !is_told {
        findings.problems.push(format!(
            "active_slots ({place}): is missing, and a vote has to name every active slot; list \
             them, [] for none, or leave {} out: a block without votes abstains",
            VOTES.heading()
        ));
        return None;
    }
    if mode == VoteMode::Abstain {
        return Some(VoteWish::Each { active, upvotes: BTreeMap::new() });
    }
    if let Some((slot, _)) = upvotes.iter().find(|(slot, _)| !active.contains(slot)) {
        findings.problems.push(format!(
            "upvotes ({place}): votes for slot {slot}, which active_slots does not have; add it \
             there if it is active, or take the vote out"
        ));
        return None;
    }
    findings.warnings.push(format!(
        "mode=upvotes ({place}): a vote for a bundle that is not pending loses the block, and \
         nothing here can see which are; take it out before its bundle is paid or too old"
    ));
    Some(VoteWish::Each { active, upvotes: upvotes.into_iter().collect() })
}

fn upvote(entry: &mut Entry, mut nested: Entry, findings: &mut Findings) -> Option<(Slot, u16)> {
    let slot = nested.read(findings, &SLOT, value::slot);
    let index = nested.read(findings, &INDEX, value::bundle_index);
    entry.show_nested(&nested);
    Some((slot?, index?))
}
