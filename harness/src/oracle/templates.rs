//! COIN-1, COIN-2, JOB-4, BMM-1 to BMM-4: every job is worked out again from the template that the
//! node gave, and must come out the same. LIVE-4: one with a coinbase alone, made of a tip's header
//! before there was a template, is soon followed by a whole one.
//!
//! The auction is the simulated enforcer's, the merkle branch and the witness commitment are
//! `bitcoin`'s. A job is judged when anybody is sent it first.

mod expected;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bitcoin::{BlockHash, Transaction, consensus};
use server::pool::action::Endpoint;
use simminer::persona::Persona;

use super::casebook::{Casebook, Fact, Given};
use super::liveness::Liveness;
use super::proposals::{self, Word};
use super::{Broken, Oracle, Scene, hold};
use crate::sim::WorldEvent;
use crate::sim::host::payout;
use crate::sim::observe::{Observation, Phase};
use crate::sim::queue::Micros;
use crate::sim::sidechain::{self, HStar};
use expected::{Bid, Expected, Header, Template};

/// Templates that are remembered beside those of the newest parent: while every newer one is
/// refused for what is wrong with it, the last good job is given again.
const TEMPLATES_MAX: usize = 2_048;
/// The tag of an M7, wherever it stands.
const M7_TAG: [u8; 4] = [0xd1, 0x61, 0x73, 0x68];

/// A header's reply is no longer.
const HEADER_BYTES_MAX: usize = 2_000;
/// Hex digits of a job's id: the generation and its number.
const JOB_ID_DIGITS: usize = 16;

/// Judges what is mined.
#[derive(Debug, Default)]
pub(super) struct Templates {
    /// What the server was given, newest last.
    read: VecDeque<Template>,
    /// Calls under way, with what they can have been about.
    calls: BTreeMap<u64, (Endpoint, Parents)>,
    /// The parent of each node's newest template.
    newest: BTreeMap<usize, BlockHash>,
    /// That of its template before, where it was another: the newest one may be the late answer to
    /// an old question, which is not believed.
    before: BTreeMap<usize, BlockHash>,
    /// What each daemon said for a parent.
    said: BTreeMap<(usize, BlockHash), Vec<HStar>>,
    /// The same, since the node last came to that parent: after a turn to another tip and back, a
    /// daemon is asked anew, and until it answers the fallback stands.
    said_lately: BTreeMap<(usize, BlockHash), Vec<HStar>>,
    /// Calls under way that propose a block on this parent.
    proposed: BTreeMap<u64, BlockHash>,
    /// The parents on which the node would refuse a job's block: jobs there have nothing of ours.
    refused: BTreeSet<BlockHash>,
    /// Since when the newest job is one with a coinbase alone.
    alone: Option<Micros>,
    /// How often there was one.
    times_alone: u64,
    /// Since when nothing goes wrong any more.
    quiet: Option<Micros>,
}

/// The tips that a daemon's answer can be for.
#[derive(Debug)]
struct Parents {
    /// Of the newest templates when it was asked.
    newest: BTreeSet<BlockHash>,
    /// Of the templates before those.
    before: BTreeSet<BlockHash>,
}

impl Oracle for Templates {
    fn see(&mut self, scene: &Scene<'_>, book: &Casebook, fact: &Fact) -> Result<(), Broken> {
        match fact {
            Fact::Seen(Observation::Started { .. }) => {
                let (times_alone, quiet) = (self.times_alone, self.quiet);
                *self = Self { times_alone, quiet, ..Self::default() };
            }
            Fact::Seen(Observation::Phase(phase)) => {
                self.quiet = (*phase == Phase::Quiet).then_some(scene.now);
            }
            Fact::Seen(Observation::Done) => return self.is_soon_whole(scene),
            Fact::Seen(Observation::Called { call, body, .. }) if proposals::is_proposal(body) => {
                self.proposed.extend(proposals::parent(body).map(|parent| (*call, parent)));
            }
            Fact::Seen(Observation::Replied { call, result })
                if self.proposed.contains_key(call) =>
            {
                let word = result.as_ref().ok().and_then(|reply| Word::read(&reply.body));
                let is_refused = matches!(word, Some(Word::Refused(_)));
                self.refused.extend(self.proposed.remove(call).filter(|_| is_refused));
            }
            Fact::Seen(Observation::Called { call, endpoint, .. }) => {
                // A daemon is asked when a template arrives, for that template's parent. Which node
                // is followed cannot be seen, so with two it may be that of either.
                let newest = self.newest.values().copied().collect();
                let before = self.before.values().copied().collect();
                self.calls.insert(*call, (*endpoint, Parents { newest, before }));
            }
            Fact::Seen(Observation::Replied { call, result }) => {
                if let (Some((endpoint, parents)), Ok(reply)) = (self.calls.remove(call), result) {
                    self.replied(scene, endpoint, &parents, &reply.body);
                }
            }
            Fact::Seen(Observation::Chain(WorldEvent::BlockAccepted { hash, .. })) => {
                return mined(scene, *hash);
            }
            Fact::Job(conn, given, true) => {
                let miner = book.sessions.get(conn).map(|session| session.miner);
                let alone = self.judge(scene, given, is_small(scene, miner))?;
                self.times_alone += u64::from(alone && self.alone.is_none());
                self.alone = alone.then(|| self.alone.unwrap_or(scene.now));
            }
            Fact::Seen(_)
            | Fact::Asked(..)
            | Fact::Answered(_)
            | Fact::Job(..)
            | Fact::Notified(..)
            | Fact::Logged(_) => {}
        }
        Ok(())
    }

    fn count(&self) -> Option<(&'static str, u64)> {
        Some(("a coinbase alone came first", self.times_alone))
    }
}

impl Templates {
    /// LIVE-4.
    fn is_soon_whole(&self, scene: &Scene<'_>) -> Result<(), Broken> {
        let (Some(quiet), Some(since)) = (self.quiet, self.alone) else { return Ok(()) };
        let waited = scene.now.since(quiet.max(since));
        hold("LIVE-4", waited <= Liveness::patience_us(scene), || {
            format!("the newest job has had a coinbase alone for {} ms", waited / 1_000)
        })
    }

    fn replied(&mut self, scene: &Scene<'_>, endpoint: Endpoint, parents: &Parents, body: &[u8]) {
        match endpoint {
            Endpoint::Node(node) => {
                if body.len() < HEADER_BYTES_MAX
                    && let Some(tip) = Header::read(body)
                {
                    self.header(scene, &tip);
                } else if let Some(template) = Template::read(body) {
                    let before = self.newest.insert(node, template.parent);
                    if before != Some(template.parent) {
                        self.before.extend(before.map(|before| (node, before)));
                        // With two nodes the miners may have been there and back meanwhile.
                        let seen = self.newest.len() > 1;
                        self.said_lately
                            .retain(|(_, parent), _| !seen && *parent != template.parent);
                    }
                    // A job of the newest parent may be given again long after its template came.
                    let newest = &self.newest;
                    let old = |read: &Template| newest.values().all(|new| *new != read.parent);
                    if self.read.len() >= TEMPLATES_MAX && self.read.front().is_some_and(old) {
                        self.read.pop_front();
                    }
                    self.read.push_back(template);
                }
            }
            Endpoint::Sidechain(place) => {
                let Some(h_star) = h_star(body) else { return };
                for parent in parents.newest.union(&parents.before) {
                    self.said.entry((place, *parent)).or_default().push(h_star);
                }
                if let (Some(parent), 1) = (parents.newest.first(), parents.newest.len()) {
                    self.said_lately.entry((place, *parent)).or_default().push(h_star);
                }
            }
        }
    }

    /// What can be mined on a tip before there is a template for it. Which template was the last
    /// one before cannot be seen, so it may be by any of them.
    fn header(&mut self, scene: &Scene<'_>, tip: &Header) {
        let next = self.read.iter().filter_map(|read| read.next(tip));
        let next: BTreeMap<u32, Template> = next.map(|next| (next.time, next)).collect();
        // A block's header is asked for again and again, to see whether it stays.
        let is_again =
            |read: &Template| read.alone && next.values().any(|next| next.parent == read.parent);
        self.read.retain(|read| !is_again(read));
        if scene.settings.empty_first {
            self.read.extend(next.into_values());
        }
    }

    /// Whether the job, which is right, has a coinbase alone.
    fn judge(&self, scene: &Scene<'_>, given: &Given, small: bool) -> Result<bool, Broken> {
        let job = &given.job;
        let broken = |law, what: String| Broken { law, what: format!("job {}: {what}", job.id) };
        let bytes = job.coinbase(&[1, 2, 3, 4], &[5; 8]);
        let coinbase: Transaction = consensus::deserialize(&bytes)
            .map_err(|error| broken("JOB-4", format!("its coinbase does not parse: {error}")))?;
        canonical(&coinbase).map_err(|what| broken("BMM-4", what))?;
        let candidates: Vec<&Template> =
            self.read.iter().rev().filter(|template| template.is_of(job)).collect();
        if candidates.is_empty() {
            let what =
                format!("no template of parent and time like its own ({}) was given", job.time);
            return Err(broken("JOB-4", what));
        }
        let mut first = None;
        for template in candidates {
            let verdict = self.compare(scene, template, given, &coinbase, small);
            match verdict {
                Ok(()) => return Ok(template.alone),
                Err(one) => first = first.or(Some(one)),
            }
        }
        let (law, what) = first.unwrap_or(("JOB-4", String::new()));
        Err(broken(law, what))
    }

    /// Whether the job is what this template must become; for `small` firmware, with as few
    /// commitments as it takes.
    fn compare(
        &self,
        scene: &Scene<'_>,
        template: &Template,
        given: &Given,
        coinbase: &Transaction,
        small: bool,
    ) -> Result<(), (&'static str, String)> {
        let mut expected = Expected::of(template, scene.settings.blind, &[]);
        if small {
            expected = without_what_is_left_out(scene, template, expected, coinbase)?;
        }
        let is = |law, holds: bool, what: &dyn Fn() -> String| {
            if holds { Ok(()) } else { Err((law, what())) }
        };
        let one_each = commitments(coinbase);
        let slots: BTreeSet<u8> = one_each.iter().map(|(slot, _)| *slot).collect();
        is("BMM-1", slots.len() == one_each.len(), &|| format!("two M7 for a slot: {one_each:?}"))?;
        for Bid { slot, h_star, .. } in &expected.bids {
            is("BMM-2", one_each.contains(&(*slot, *h_star)), &|| {
                format!("the bid for slot {slot} with {h_star} has no M7 in {one_each:?}")
            })?;
        }
        is("JOB-4", given.job.branch == expected.branch, &|| {
            "its merkle branch is not that of the template's transactions".to_owned()
        })?;
        is("JOB-4", given.job.bits == template.bits, &|| "its bits are not the node's".to_owned())?;
        let paid: u64 = coinbase.output.iter().map(|output| output.value.to_sat()).sum();
        is("COIN-1", paid == expected.value, &|| {
            format!("the coinbase pays {paid}, subsidy and fees are {}", expected.value)
        })?;
        let payout = payout();
        let ours = coinbase.output.iter().filter(|output| output.script_pubkey == payout);
        let ours: u64 = ours.map(|output| output.value.to_sat()).sum();
        is("COIN-1", ours == paid, &|| format!("only {ours} of {paid} goes to the payout"))?;
        let script = coinbase.input[0].script_sig.as_bytes();
        let head = bitcoin::script::Builder::new().push_int(i64::from(template.height));
        let head = head.into_script();
        let starts = script.starts_with(head.as_bytes()) && (2..=100).contains(&script.len());
        is("COIN-2", starts, &|| format!("its scriptSig is {script:02x?}"))?;
        for kept in &expected.notes {
            let there = coinbase.output.iter().any(|output| output.script_pubkey == *kept);
            is("COIN-2", there, &|| format!("the output {kept:x} is missing"))?;
        }
        if template.alone {
            let bare = one_each.is_empty();
            return is("BMM-3", bare, &|| format!("a coinbase alone has {one_each:?}"));
        }
        self.own(scene, template, &expected, &one_each, small || is_given_again(&given.job.id))
    }

    /// Commitments that nobody bid for: ours, and only ours; all of them, unless some `may_lack`.
    fn own(
        &self,
        scene: &Scene<'_>,
        template: &Template,
        expected: &Expected,
        there: &[(u8, HStar)],
        may_lack: bool,
    ) -> Result<(), (&'static str, String)> {
        let taken = |slot: u8| {
            expected.bids.iter().any(|bid| bid.slot == slot)
                || expected.given.iter().any(|(given, _)| *given == slot)
        };
        for (slot, h_star) in there {
            let sold = expected.bids.iter().any(|bid| (bid.slot, bid.h_star) == (*slot, *h_star));
            if sold || expected.given.contains(&(*slot, *h_star)) {
                continue;
            }
            let daemons = scene.settings.daemons.iter().enumerate();
            let mut daemons = daemons.filter(|(_, daemon)| daemon.slot == *slot && !taken(*slot));
            let (place, zero) = daemons
                .next()
                .map(|(place, daemon)| (place, daemon.zero))
                .ok_or_else(|| ("BMM-3", format!("nobody asked for the M7 of slot {slot}")))?;
            let said = self.said.get(&(place, template.parent));
            let was_said = said.is_some_and(|said| said.contains(h_star));
            let lately = self.said_lately.contains_key(&(place, template.parent));
            let zeroed = zero && !lately && h_star.0 == [0; 32];
            if !was_said && !zeroed {
                let said = said.map(Vec::as_slice).unwrap_or_default();
                let what = format!("slot {slot} carries {h_star}; its daemon said {said:?}");
                return Err(("BMM-3", what));
            }
        }
        for (place, daemon) in scene.settings.daemons.iter().enumerate() {
            let due = daemon.zero || self.said_lately.contains_key(&(place, template.parent));
            let there = there.iter().any(|(slot, _)| *slot == daemon.slot);
            let refused = self.refused.contains(&template.parent);
            if due && !may_lack && !refused && !there && !taken(daemon.slot) {
                return Err(("BMM-3", format!("slot {} carries no M7", daemon.slot)));
            }
        }
        Ok(())
    }
}

/// Whether a job was given before: then its id has a revision after the job's own. It is what it
/// was when a daemon had not answered, and stays the last one where no later template can be used.
const fn is_given_again(id: &str) -> bool {
    id.len() > JOB_ID_DIGITS
}

/// Whether a miner's firmware holds small coinbases only.
fn is_small(scene: &Scene<'_>, miner: Option<u64>) -> bool {
    let plan = scene.plan.miners.iter().find(|plan| Some(plan.id) == miner);
    let persona = plan.and_then(|plan| Persona::family(plan.family.as_deref()?));
    persona.is_some_and(|persona| persona.coinbase_half_max < usize::MAX)
}

/// Of a plain template, bids may be left out: those that pay least, and what spends from them.
fn without_what_is_left_out(
    scene: &Scene<'_>,
    template: &Template,
    all: Expected,
    coinbase: &Transaction,
) -> Result<Expected, (&'static str, String)> {
    let there = commitments(coinbase);
    let is_kept = |bid: &Bid| there.contains(&(bid.slot, bid.h_star));
    let bids = || all.bids.iter().zip(&all.fees);
    let least_kept = bids().filter(|(bid, _)| is_kept(bid)).map(|(_, fee)| *fee).min();
    let left_out: Vec<Bid> = bids().filter(|(bid, _)| !is_kept(bid)).map(|(bid, _)| *bid).collect();
    if left_out.is_empty() || template.has_coinbase() {
        return Ok(all);
    }
    let most_left = bids().filter(|(bid, _)| !is_kept(bid)).map(|(_, fee)| *fee).max();
    if least_kept.is_some_and(|kept| Some(kept) < most_left) {
        return Err(("BMM-2", format!("of {:?}, {left_out:?} pay more than what stays", all.bids)));
    }
    Ok(Expected::of(template, scene.settings.blind, &left_out))
}

/// A block of ours that the node took, judged as an enforcer would.
fn mined(scene: &Scene<'_>, hash: BlockHash) -> Result<(), Broken> {
    let Some(block) = scene.world.node().block(hash) else { return Ok(()) };
    let broken = |law, what: String| Err(Broken { law, what: format!("block {hash}: {what}") });
    let there = commitments(&block.txdata[0]);
    let slots: BTreeSet<u8> = there.iter().map(|(slot, _)| *slot).collect();
    if slots.len() != there.len() {
        return broken("BMM-1", format!("two M7 for a slot: {there:?}"));
    }
    let mut bid_for = BTreeSet::new();
    for bid in block.txdata[1..].iter().filter_map(expected::bid) {
        let paid = there.contains(&(bid.slot, bid.h_star));
        if !paid || bid.parent != block.header.prev_blockhash || !bid_for.insert(bid.slot) {
            return broken("BMM-2", format!("its bid {bid:?} is not honoured by {there:?}"));
        }
    }
    hold("COIN-2", !block.txdata[0].input[0].witness.is_empty(), || {
        format!("block {hash}: the coinbase came without its witness")
    })
}

/// Slot and h* of every M7.
fn commitments(coinbase: &Transaction) -> Vec<(u8, HStar)> {
    coinbase
        .output
        .iter()
        .filter_map(|output| sidechain::m7(output.script_pubkey.as_bytes()))
        .collect()
}

/// Whatever looks like an M7 is one, byte for byte.
fn canonical(coinbase: &Transaction) -> Result<(), String> {
    for output in &coinbase.output {
        let script = output.script_pubkey.as_bytes();
        let tagged = script.first() == Some(&0x6a)
            && script.len() > 6
            && script[1..6].windows(4).any(|part| part == M7_TAG);
        if tagged && sidechain::m7(script).is_none() {
            return Err(format!("the output {:x} is no canonical M7", output.script_pubkey));
        }
    }
    Ok(())
}

/// What a daemon says its next block will be.
fn h_star(body: &[u8]) -> Option<HStar> {
    let reply: serde_json::Value = serde_json::from_slice(body).ok()?;
    let bytes = super::reading::bytes(reply["result"].as_str()?)?;
    Some(HStar(bytes.try_into().ok()?))
}
