//! Hands found blocks to every node at once, and tells what became of them.
//!
//! Only a node's own words are a verdict. Silence, a broken connection or an error about something
//! else is none: the block is offered to that node again until there is one. A block is settled as
//! soon as one node has it in its chain; while none has, a node that is silent may yet say so, and
//! is waited for.

mod siblings;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use self::siblings::Siblings;
use super::rpc::{self, CallError, HttpReply, RpcError};
use crate::clock::Instant;
use crate::mining::block::FoundBlock;
use crate::mining::hash::Hash;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Judged blocks whose hashes are remembered, so that none is offered twice.
const JUDGED_MAX: usize = 1_024;
/// Pause before a settled block is offered again to a node that was away: nothing depends on it.
const STRAGGLER_PAUSE: Duration = Duration::from_secs(5);
/// Settled blocks that are still offered to nodes that were away; the oldest go first.
const STRAGGLERS_MAX: usize = 16;
/// How long one node's bad news waits for another's better, and how long a settled block is offered
/// to a node that is away: then the nodes around it have told it, or nobody will.
const PATIENCE: Duration = Duration::from_mins(10);
/// bitcoind's code for a block that does not decode.
const DECODE_FAILED: i64 = -22;
/// bitcoind's word for a block whose parent it does not have: it may have it in a moment.
const PARENT_UNKNOWN: &str = "prev-blk-not-found";

/// What a node said of a block.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It is in the node's chain.
    Accepted,
    /// The node had it already, as valid.
    Duplicate,
    /// It may be valid, but did not become the tip: another block was there first.
    Inconclusive,
    /// It is not valid, and why.
    Rejected(String),
    /// Not known: the node did not answer the question.
    Unknown(String),
}

impl Verdict {
    /// Reads the reply to `submitblock` (BIP-0022 and bitcoind's own words).
    pub fn read(reply: &Result<HttpReply, CallError>) -> Self {
        let text = match rpc::result(reply) {
            Ok(text) => text.get(),
            Err(RpcError::Refused { code: DECODE_FAILED, message }) => {
                return Self::Rejected(message);
            }
            Err(error) => return Self::Unknown(error.to_string()),
        };
        if text == "null" {
            return Self::Accepted;
        }
        match serde_json::from_str::<String>(text) {
            Err(_) => Self::Unknown(format!("the node answered {text:.80}")),
            Ok(word) => match word.as_str() {
                "duplicate" => Self::Duplicate,
                "inconclusive" | "duplicate-inconclusive" => Self::Inconclusive,
                _ => Self::Rejected(word),
            },
        }
    }

    /// Whether the node has the block as valid: nothing better can be said of it.
    const fn is_best(&self) -> bool {
        matches!(self, Self::Accepted | Self::Duplicate)
    }

    /// Whether it ends what the node has to say.
    fn is_final(&self) -> bool {
        match self {
            Self::Accepted | Self::Duplicate | Self::Inconclusive => true,
            Self::Rejected(why) => why != PARENT_UNKNOWN,
            Self::Unknown(_) => false,
        }
    }

    /// The smaller is the better news.
    const fn rank(&self) -> u8 {
        match self {
            Self::Accepted => 0,
            Self::Duplicate => 1,
            Self::Inconclusive => 2,
            Self::Rejected(_) => 3,
            Self::Unknown(_) => 4,
        }
    }
}

/// What a reply came to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Judged {
    /// What this node said.
    pub verdict: Verdict,
    /// Whether it is the first answer of this node, or the first lack of one.
    pub first: bool,
    /// The block, as long as it is known.
    pub block: FoundBlock,
    /// What becomes of the block, when this reply settles that.
    pub settled: Option<Verdict>,
    /// A block of ours that this node should prefer to the one it just spoke of.
    pub prefer: Option<Hash>,
}

#[derive(Debug)]
struct Offer {
    block: FoundBlock,
    since: Instant,
    settled: bool,
    /// By the node's place.
    nodes: Vec<AtNode>,
}

/// How it stands with one node.
#[derive(Clone, Debug)]
struct AtNode {
    asked: bool,
    due: Instant,
    pause: Duration,
    /// What it said last, if that says anything.
    said: Option<Verdict>,
}

impl AtNode {
    fn is_done(&self) -> bool {
        self.said.as_ref().is_some_and(Verdict::is_final)
    }

    fn next(&self) -> Option<Instant> {
        (!self.asked && !self.is_done()).then_some(self.due)
    }
}

impl Offer {
    /// What is to become of the block, if that can be told by now.
    fn settles(&self, now: Instant) -> Option<Verdict> {
        let said = self.nodes.iter().filter_map(|node| node.said.as_ref());
        let best = said.min_by_key(|verdict| verdict.rank())?;
        let is_over = best.is_best()
            || self.nodes.iter().all(AtNode::is_done)
            || now.since(self.since) >= PATIENCE;
        is_over.then(|| best.clone())
    }
}

/// The blocks that were found and are not yet judged.
#[derive(Debug)]
pub struct Submitter {
    /// How many nodes there are.
    nodes: usize,
    offers: BTreeMap<Hash, Offer>,
    judged: BTreeSet<Hash>,
    judged_in_order: VecDeque<Hash>,
    siblings: Siblings,
    pause_max: Duration,
}

impl Submitter {
    /// Nothing was found yet. `pause_max` is the longest pause before a block is offered again.
    pub fn new(nodes: usize, pause_max: Duration) -> Self {
        Self {
            nodes,
            offers: BTreeMap::new(),
            judged: BTreeSet::new(),
            judged_in_order: VecDeque::new(),
            siblings: Siblings::default(),
            pause_max,
        }
    }

    /// Takes a block in; `false` when it was taken before.
    pub fn offer(&mut self, now: Instant, block: &FoundBlock) -> bool {
        if self.judged.contains(&block.hash) || self.offers.contains_key(&block.hash) {
            return false;
        }
        let node = AtNode { asked: false, due: now, pause: FIRST_PAUSE, said: None };
        let nodes = vec![node; self.nodes];
        let offer = Offer { block: block.clone(), since: now, settled: false, nodes };
        self.offers.insert(block.hash, offer);
        true
    }

    /// The next block to hand in, to which node and with which body; call again until `None`.
    pub fn poll_submission(&mut self, now: Instant) -> Option<(usize, Hash, Bytes)> {
        for (hash, offer) in &mut self.offers {
            let mut nodes = offer.nodes.iter_mut().enumerate();
            let due = nodes.find(|(_, node)| node.next().is_some_and(|due| due <= now));
            if let Some((place, node)) = due {
                node.asked = true;
                return Some((place, *hash, rpc::submit_request(&offer.block.bytes)));
            }
        }
        None
    }

    /// When [`Self::poll_submission`] next has something.
    pub fn next_submission(&self) -> Option<Instant> {
        self.offers.values().flat_map(|offer| &offer.nodes).filter_map(AtNode::next).min()
    }

    /// The node at this place answered, or did not.
    pub fn on_reply(
        &mut self,
        now: Instant,
        node: usize,
        hash: Hash,
        reply: &Result<HttpReply, CallError>,
    ) -> Option<Judged> {
        let verdict = Verdict::read(reply);
        let offer = self.offers.get_mut(&hash)?;
        let at = offer.nodes.get_mut(node)?;
        assert!(at.asked, "a reply answers a question");
        at.asked = false;
        if !matches!(verdict, Verdict::Unknown(_)) {
            at.said = Some(verdict.clone());
        }
        let first = at.pause == FIRST_PAUSE;
        let least = if offer.settled { STRAGGLER_PAUSE } else { Duration::ZERO };
        at.due = now + at.pause.max(least);
        at.pause = (at.pause * 2).min(self.pause_max);
        let settled = if offer.settled { None } else { offer.settles(now) };
        offer.settled |= settled.is_some();
        let block = offer.block.clone();
        let is_over = offer.nodes.iter().all(AtNode::is_done);
        if offer.settled && (is_over || now.since(offer.since) >= PATIENCE) {
            self.offers.remove(&hash);
        }
        if settled.is_some() {
            self.remember(hash);
            self.forget_stragglers();
        }
        let prefer = self.siblings.on_verdict(node, &block, &verdict);
        Some(Judged { verdict, first, block, settled, prefer })
    }

    fn remember(&mut self, hash: Hash) {
        self.judged.insert(hash);
        self.judged_in_order.push_back(hash);
        if self.judged_in_order.len() > JUDGED_MAX
            && let Some(oldest) = self.judged_in_order.pop_front()
        {
            self.judged.remove(&oldest);
        }
    }

    fn forget_stragglers(&mut self) {
        let settled = self.offers.iter().filter(|(_, offer)| offer.settled);
        if settled.clone().count() > STRAGGLERS_MAX
            && let Some(oldest) = settled.min_by_key(|(_, offer)| offer.since)
        {
            let oldest = *oldest.0;
            self.offers.remove(&oldest);
        }
    }

    /// How many blocks are not settled.
    pub fn pending(&self) -> usize {
        self.offers.values().filter(|offer| !offer.settled).count()
    }
}

#[cfg(test)]
mod tests;
