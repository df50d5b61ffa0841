//! The header of a new tip, asked for before its template (`EMPTY_FIRST`): miners have a job with a
//! coinbase alone while the node makes the whole one.
//!
//! A node does one thing at a time with its chain, and a template of a full mempool takes tens of
//! milliseconds. So the template waits for the header, and no long poll is out, which would have
//! the node make one at once, as long as the node's own notices are heard.

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;

use super::{Follower, News};
use crate::clock::Instant;
use crate::mining::alone;
use crate::mining::hash::Hash;
use crate::node::rpc::{CallError, HttpReply, header};

/// How long the template waits for a header. A node that is not busy gives one in a millisecond.
const PATIENCE: Duration = Duration::from_millis(20);

/// What is known of the newest tip while its template is not.
#[derive(Debug)]
pub(super) struct Early {
    on: bool,
    /// The tip that the node last gave notice of.
    announced: Option<Hash>,
    /// The tip whose header was last wanted.
    tip: Option<Hash>,
    /// Whether it is still to be asked for.
    wanted: bool,
    /// Since when a header is on its way.
    asked: Option<Instant>,
}

impl Early {
    pub(super) const fn new(on: bool) -> Self {
        Self { on, announced: None, tip: None, wanted: false, asked: None }
    }

    pub(super) const fn switch(&mut self, on: bool) {
        self.on = on;
    }

    /// The question that is due, if there is one.
    pub(super) fn poll_question(&mut self, now: Instant) -> Option<Bytes> {
        let tip = self.tip.filter(|_| self.wanted && self.asked.is_none())?;
        self.wanted = false;
        self.asked = Some(now);
        Some(header::block_header_request(&tip))
    }

    /// When [`Self::poll_question`] next has something.
    pub(super) fn next_question(&self) -> Option<Instant> {
        (self.wanted && self.asked.is_none()).then_some(Instant::ZERO)
    }
}

impl Follower {
    /// The node says unasked that this is its tip.
    pub fn announce_tip(&mut self, now: Instant, hash: Hash) {
        self.early.announced = Some(hash);
        self.expect_tip(now, hash, None);
    }

    /// The header of the tip with this `hash` is of use, until its template is there.
    pub(super) fn want_header(&mut self, hash: Hash) {
        let plain = self.last.as_ref().is_some_and(|last| last.given.is_none());
        if self.early.on && self.leads && plain && self.early.tip != Some(hash) {
            self.early.tip = Some(hash);
            self.early.wanted = true;
        }
    }

    /// When the next template is to be asked for.
    pub(super) fn template_due(&self) -> Instant {
        self.early.asked.map_or(self.ask_at, |asked| self.ask_at.max(asked + PATIENCE))
    }

    /// Whether the node gives notice of its tips, so that no long poll is needed to hear of one: it
    /// did of the newest.
    pub(super) fn relies_on_notices(&self) -> bool {
        let expected = self.expected.map(|expected| expected.hash);
        let heard = |hash| Some(hash) == self.tip() || Some(hash) == expected;
        self.early.on && self.early.announced.is_some_and(heard)
    }

    pub(super) fn on_header(&mut self, reply: &Result<HttpReply, CallError>) -> News {
        self.early.asked = None;
        // Whatever else it says, the template is asked for next, and tells.
        let Ok(Some(tip)) = header::tip(reply) else { return News::Nothing };
        if let Some(expected) = self.expected.as_mut().filter(|one| one.hash == tip.hash) {
            expected.height = Some(tip.height);
        }
        let is_news = self.tip() != Some(tip.hash) && self.early.tip == Some(tip.hash);
        let last = self.last.as_ref().filter(|_| self.early.on && is_news);
        let alone = last.and_then(|last| alone::template(self.network, &tip, last));
        alone.map_or(News::Nothing, |template| News::Alone(Arc::new(template)))
    }
}
