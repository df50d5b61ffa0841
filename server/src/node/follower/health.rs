//! Whether a node can be relied on, as far as its own answers say. What that is compared with, and
//! who is followed in the end, is the business of `failover.rs`.

use core::time::Duration;
use std::sync::Arc;

use super::Follower;
use crate::clock::Instant;
use crate::mining::template::Template;

/// How long a node may be in trouble before it is ill. Another's template at hand costs miners
/// nothing, so it is short.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a node may take for a template before it is ill: a busy one takes a second or two.
pub(super) const HANG: Duration = Duration::from_secs(5);
/// How long a node is ill whose templates break rules that it does not know: then it is given
/// another chance.
const DOUBT: Duration = Duration::from_mins(1);

impl Follower {
    /// The height of the block that the newest believed template would be.
    pub fn height(&self) -> Option<u32> {
        self.tip.map(|(_, height)| height)
    }

    /// When its tip was learnt.
    pub const fn tip_since(&self) -> Option<Instant> {
        self.tip_since
    }

    /// Since when it gives templates as it should.
    pub const fn well_since(&self) -> Option<Instant> {
        self.well_since
    }

    /// The newest believed template.
    pub const fn template(&self) -> Option<&Arc<Template>> {
        self.last.as_ref()
    }

    /// From when on it cannot be relied on, if nothing more is heard of it.
    pub fn ill_at(&self) -> Option<Instant> {
        let trouble = self.trouble.as_ref().map(|trouble| trouble.since + PATIENCE);
        let doubt = self.doubted.map(|since| since + PATIENCE);
        let hangs = self.template_asked.is_some().then(|| self.template_began + HANG);
        let never = self.last.is_none().then(|| Instant::ZERO + HANG);
        [trouble, doubt, hangs, never].into_iter().flatten().min()
    }

    /// When its templates are given another chance.
    pub fn doubt_ends(&self) -> Option<Instant> {
        self.doubted.map(|since| since + DOUBT)
    }

    /// Whether it can be relied on.
    pub fn is_well(&self, now: Instant) -> bool {
        self.ill_at().is_none_or(|ill| now < ill)
    }

    /// From now on its templates are mined on, or are not.
    pub fn lead(&mut self, now: Instant, leads: bool) {
        self.leads = leads;
        if leads {
            self.ask_now(now);
        }
    }

    /// A template of its made a job, or breaks rules that the node does not know.
    pub fn on_job(&mut self, now: Instant, sound: bool) {
        self.doubted = if sound { None } else { self.doubted.or(Some(now)) };
    }

    /// It cannot be followed as it is set up, which may change.
    pub fn fail(&mut self, now: Instant, what: String) {
        self.failed(now, what, "the other nodes are followed meanwhile");
    }
}
