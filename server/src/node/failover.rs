//! Whom to follow: the preferred node while it is well, and the next that is while it is not.
//!
//! Every node is followed all the time, so that a template is at hand when one fails. A node is
//! left when it fails, hangs or lags behind another, and gone back to after it was well for a while
//! and without taking miners from a tip to another of the same height: they must not be sent to and
//! fro. Not in here: how one node is asked and believed (`follower.rs`).

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use tracing::{error, info, warn};

use super::follower::{Follower, News, Question};
use super::rpc::{CallError, HttpReply};
use crate::clock::Instant;
use crate::config::{Config, NodeRole};
use crate::mining::hash::Hash;
use crate::mining::template::Template;

/// How long a node may be a block behind another before that is a reason to leave it. Blocks
/// travel in less.
const LAG: Duration = Duration::from_secs(2);
/// How long a more preferred node must be well before miners go back to it.
const STEADY: Duration = Duration::from_secs(30);
/// How long a tip that only a failed node knew is mined on before a lower one is.
const LOWER: Duration = Duration::from_secs(30);
/// A node in reserve is asked at least this often, for its template has to be fresh when needed.
const PROBE: Duration = Duration::from_secs(10);
const _: () = assert!(STEADY.as_secs() > PROBE.as_secs(), "who is always slow is never steady");

/// The nodes that may be followed, and which one is.
#[derive(Debug)]
pub struct Failover {
    followers: Vec<Place>,
    /// Whose templates are mined on.
    lead: usize,
    /// When the choice was last made: what was due then is due no more.
    weighed: Instant,
    failovers: u64,
    returns: u64,
}

#[derive(Debug)]
struct Place {
    /// The node's place in the configuration.
    node: usize,
    follower: Follower,
    /// Why this node cannot be followed as it is set up.
    misfit: Option<String>,
}

impl Failover {
    /// Nothing was asked yet.
    pub fn new(config: &Config) -> Self {
        let roles = config.nodes.iter().enumerate();
        let nodes: Vec<usize> =
            roles.filter(|(_, role)| **role == NodeRole::Follow).map(|(node, _)| node).collect();
        let refresh = Self::refresh(config, nodes.len());
        let place = |node: usize| {
            let mut follower = Follower::new(node, refresh, config);
            follower.lead(Instant::ZERO, node == 0);
            Place { node, follower, misfit: None }
        };
        let followers = nodes.into_iter().map(place).collect();
        Self { followers, lead: 0, weighed: Instant::ZERO, failovers: 0, returns: 0 }
    }

    /// How often a node is asked where `count` are followed.
    fn refresh(config: &Config, count: usize) -> Duration {
        if count > 1 { config.refresh.min(PROBE) } else { config.refresh }
    }

    /// The refresh and what templates hold are as `config` says from now on.
    pub fn take_terms(&mut self, config: &Config) {
        let refresh = Self::refresh(config, self.followers.len());
        for place in &mut self.followers {
            place.follower.take_terms(refresh, config);
        }
    }

    /// The next question that is due, whom to ask and with which body; call again until `None`.
    pub fn poll_question(&mut self, now: Instant) -> Option<(usize, Question, Bytes)> {
        self.followers.iter_mut().find_map(|place| {
            let (question, body) = place.follower.poll_question(now)?;
            Some((place.node, question, body))
        })
    }

    /// When [`Self::poll_question`] next has something.
    pub fn next_question(&self) -> Option<Instant> {
        self.followers.iter().filter_map(|place| place.follower.next_question()).min()
    }

    /// A node answered, or did not.
    pub fn on_reply(
        &mut self,
        now: Instant,
        node: usize,
        question: Question,
        reply: &Result<HttpReply, CallError>,
    ) -> News {
        let Some(index) = self.followers.iter().position(|place| place.node == node) else {
            return News::Nothing;
        };
        let place = &mut self.followers[index];
        match place.follower.on_reply(now, question, reply) {
            News::Alone(template) if index == self.lead => News::Alone(template),
            News::Nothing | News::Alone(_) => News::Nothing,
            News::Fatal(why) => self.misfits(now, index, why),
            News::Template(template) => {
                place.misfit = None;
                if index == self.lead {
                    return News::Template(template);
                }
                // The one that is followed has it too, or is about to be left.
                let lead = &mut self.followers[self.lead].follower;
                if lead.height().is_some_and(|height| height < template.height) {
                    lead.ask_now(now);
                }
                News::Nothing
            }
        }
    }

    /// A node that is set up wrongly is no use; without any other there is no use in going on.
    fn misfits(&mut self, now: Instant, index: usize, why: String) -> News {
        let place = &mut self.followers[index];
        place.misfit = Some(why.clone());
        let all: Option<Vec<&str>> =
            self.followers.iter().map(|place| place.misfit.as_deref()).collect();
        if let Some(all) = all {
            return News::Fatal(all.join("; "));
        }
        self.followers[index].follower.fail(now, why);
        News::Nothing
    }

    /// This node took the block with `hash` at `height`, if that is known, as its tip.
    pub fn expect_tip(&mut self, now: Instant, node: usize, hash: Hash, height: Option<u32>) {
        if let Some(follower) = self.follower(node) {
            follower.expect_tip(now, hash, height);
        }
    }

    /// This node says unasked that the block with `hash` is its tip.
    pub fn announce_tip(&mut self, now: Instant, node: usize, hash: Hash) {
        if let Some(follower) = self.follower(node) {
            follower.announce_tip(now, hash);
        }
    }

    /// Something happened at this node that may have changed its template.
    pub fn ask_now(&mut self, now: Instant, node: usize) {
        if let Some(follower) = self.follower(node) {
            follower.ask_now(now);
        }
    }

    /// The mempool of this node changed.
    pub fn look_at_mempool(&mut self, now: Instant, node: usize) {
        if let Some(follower) = self.follower(node) {
            follower.look_at_mempool(now);
        }
    }

    fn follower(&mut self, node: usize) -> Option<&mut Follower> {
        let place = self.followers.iter_mut().find(|place| place.node == node)?;
        Some(&mut place.follower)
    }

    /// Whether the template of the node that is followed made a job, or breaks rules that a node
    /// does not know.
    pub fn on_job(&mut self, now: Instant, sound: bool) {
        self.followers[self.lead].follower.on_job(now, sound);
    }

    /// Makes the choice anew. When it falls on another node, that one's template comes back.
    pub fn weigh(&mut self, now: Instant) -> Option<Arc<Template>> {
        self.weighed = now;
        let best = self.best(now);
        if best == self.lead {
            return None;
        }
        let left = core::mem::replace(&mut self.lead, best);
        for (index, place) in self.followers.iter_mut().enumerate() {
            place.follower.lead(now, index == best);
        }
        let (from, to) = (&self.followers[left], &self.followers[best]);
        let (node, last) = (to.node + 1, from.node + 1);
        if best < left {
            self.returns += 1;
            info!(node, last, "this node is well again: its templates are mined on");
        } else if from.follower.is_well(now) {
            self.failovers += 1;
            warn!(node, last, "this node knows a higher block: its templates are mined on");
        } else {
            self.failovers += 1;
            error!(node, last, "the last node fails: the templates of this one are mined on");
        }
        to.follower.template().cloned()
    }

    /// The node whose templates are mined on, by its place in the configuration.
    pub fn followed(&self) -> usize {
        self.followers[self.lead].node
    }

    /// How often a node was left for a less preferred one, and for a more preferred one.
    pub const fn changes(&self) -> (u64, u64) {
        (self.failovers, self.returns)
    }

    /// When [`Self::weigh`] may come to another choice with nothing heard.
    pub fn next_change(&self) -> Option<Instant> {
        if self.followers.len() < 2 {
            return None;
        }
        let lead = &self.followers[self.lead].follower;
        let lower = lead.ill_at().map(|at| at + LOWER);
        let each = self.followers.iter().flat_map(|place| {
            let follower = &place.follower;
            let lag = follower.tip_since().map(|since| since + LAG);
            let steady = follower.well_since().map(|since| since + STEADY);
            [follower.ill_at(), lag, steady, follower.doubt_ends()]
        });
        each.chain([lower]).flatten().filter(|when| *when > self.weighed).min()
    }

    fn best(&self, now: Instant) -> usize {
        let lead = &self.followers[self.lead].follower;
        if lead.height().is_none() && lead.is_well(now) {
            // It was only just asked for the first time.
            return self.lead;
        }
        if self.can_lead(now, self.lead) {
            let preferred = (0..self.lead).find(|index| {
                let follower = &self.followers[*index].follower;
                let steady = follower.well_since().is_some_and(|since| since + STEADY <= now);
                let same = follower.tip() == lead.tip() || follower.height() > lead.height();
                self.can_lead(now, *index) && steady && same
            });
            return preferred.unwrap_or(self.lead);
        }
        // A tip that only the lost node knew may still be the best: not at once to a lower one.
        let patience_is_over = lead.ill_at().is_some_and(|at| at + LOWER <= now);
        let other = (0..self.followers.len()).find(|index| {
            let height = self.followers[*index].follower.height();
            self.can_lead(now, *index) && (height >= lead.height() || patience_is_over)
        });
        other.unwrap_or(self.lead)
    }

    /// Whether a node is well, and no other has known a higher block for longer than it should
    /// take this one to hear of it.
    fn can_lead(&self, now: Instant, index: usize) -> bool {
        let follower = &self.followers[index].follower;
        let Some(height) = follower.height() else { return false };
        let overtaken = self.followers.iter().any(|place| {
            let other = &place.follower;
            let known = other.tip_since().is_some_and(|since| since + LAG <= now);
            other.is_well(now) && known && other.height().is_some_and(|other| other > height)
        });
        follower.is_well(now) && !overtaken
    }
}

#[cfg(test)]
mod tests;
