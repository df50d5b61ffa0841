//! What must have happened at least once in many runs: a law that nothing exercised proves nothing.

#![expect(clippy::wildcard_enum_match_arm, reason = "most of what is seen is not counted")]

use std::collections::{BTreeMap, BTreeSet};

use super::Scene;
use super::casebook::{Asks, Casebook, Fact};
use super::pace;
use super::proposals::{self, Word};
use crate::plan::What;
use crate::sim::WorldEvent;
use crate::sim::observe::{Ending, Observation};
use crate::sim::second::SecondEvent;

/// What must happen in every large batch of runs.
pub const EXPECTED: [&str; 68] = [
    "a coinbase alone came first",
    "a job took more than one turn",
    "a notice is lost",
    "another node is followed",
    "block accepted",
    "block found while the node was away",
    "block invalidated after it was accepted",
    "block share answered",
    "block sidelined",
    "block taken by the second node first",
    "connection cut off",
    "daemon down",
    "daemon slow",
    "daemon talks nonsense",
    "difficulty changed under way",
    "difficulty is the network's",
    "item: Bid",
    "item: Candidate",
    "item: Flip",
    "item: Forget",
    "item: HalfClose",
    "item: Partition",
    "item: Pause",
    "item: Reorg",
    "item: Reset",
    "item: Stall",
    "item: Second",
    "item: SecondRival",
    "item: Split",
    "item: Storm",
    "item: Swizzle",
    "item: Trickle",
    "item: WallJump",
    "job in another body",
    "job with a commitment",
    "job with transactions",
    "journal flushed by count",
    "journal flushed by time",
    "journal holed",
    "journal longer than its bytes",
    "journal tail cut",
    "journal torn",
    "journal torn exactly at a record border",
    "node call: Html",
    "node call: Lost",
    "node call: PollSame",
    "node call: PollSilent",
    "node call: ProposalRefused",
    "node call: ReplyLost",
    "node call: Truncated",
    "proposal taken",
    "server crashed",
    "server started with other settings",
    "settings changed while it ran",
    "server stopped",
    "share accepted",
    "share in grace accepted",
    "slow reader cut off",
    "started with a block pending",
    "submission refused: duplicate (22)",
    "submission refused: job not found (21)",
    "submission refused: low difficulty (23)",
    "submission refused: no room to record it (20)",
    "submission refused: unauthorized (24)",
    "template lags behind the tip",
    "the preferred node is followed again",
    "two blocks under way",
    "write failed",
];

/// What should have happened and did not.
pub fn never(counts: &BTreeMap<String, u64>) -> Vec<&'static str> {
    EXPECTED.into_iter().filter(|name| !counts.contains_key(*name)).collect()
}

/// Counts.
#[derive(Debug, Default)]
pub struct Sometimes {
    counts: BTreeMap<&'static str, u64>,
    items: BTreeMap<String, u64>,
    /// Calls under way that hand in a block.
    submits: BTreeSet<u64>,
    /// Calls under way that propose one.
    proposals: BTreeSet<u64>,
}

impl Sometimes {
    /// One more.
    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// An item of the plan came to bear.
    pub fn felt(&mut self, what: &What) {
        let text = format!("{what:?}");
        let name = text.split([' ', '{']).next().unwrap_or_default();
        *self.items.entry(format!("item: {name}")).or_default() += 1;
    }

    /// All of them.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let named = self.counts.iter().map(|(name, count)| ((*name).to_owned(), *count));
        named.chain(self.items.clone()).collect()
    }

    /// One more fact.
    pub fn see(&mut self, scene: &Scene<'_>, book: &Casebook, fact: &Fact) {
        match fact {
            Fact::Answered(reply) => {
                if let Asks::Submit(submission) = &reply.request.asks {
                    match &reply.result {
                        Ok(_) if submission.is_block => self.count("block share answered"),
                        Ok(_) if submission.in_grace => self.count("share in grace accepted"),
                        Ok(_) => self.count("share accepted"),
                        Err(20) if submission.verdict.is_clean() => {
                            self.count("submission refused: no room to record it (20)");
                        }
                        Err(20) => self.count("submission refused: other (20)"),
                        Err(21) => self.count("submission refused: job not found (21)"),
                        Err(22) => self.count("submission refused: duplicate (22)"),
                        Err(23) => self.count("submission refused: low difficulty (23)"),
                        Err(24) => self.count("submission refused: unauthorized (24)"),
                        Err(25) => self.count("submission refused: not subscribed (25)"),
                        Err(_) => self.count("submission refused: unknown code"),
                    }
                }
            }
            Fact::Seen(Observation::Started { .. }) if *scene.settings != scene.plan.server => {
                self.count("server started with other settings");
            }
            Fact::Seen(Observation::Reconfigured) => self.count("settings changed while it ran"),
            Fact::Seen(what) => self.saw(what),
            Fact::Notified(conn, method) if method == "mining.set_difficulty" => {
                if book.sessions.get(conn).is_some_and(|session| session.newest.is_some()) {
                    self.count("difficulty changed under way");
                }
            }
            Fact::Job(_, given, true) => {
                if book.jobs.get(&given.job.id).is_some_and(|bodies| bodies.len() > 1) {
                    self.count("job in another body");
                }
                if pace::is_the_networks(given) {
                    self.count("difficulty is the network's");
                }
                let bytes = &given.job.coinbase2;
                let m7 = bytes.windows(6).any(|part| part == [0x6a, 0x25, 0xd1, 0x61, 0x73, 0x68]);
                if m7 {
                    self.count("job with a commitment");
                }
                if !given.job.branch.is_empty() {
                    self.count("job with transactions");
                }
            }
            Fact::Logged(logged) => {
                let count = logged.entries.as_ref().map_or(0, |entries| entries.len());
                let enough = count >= scene.settings.limits.journal_batch;
                self.count(if enough {
                    "journal flushed by count"
                } else {
                    "journal flushed by time"
                });
            }
            Fact::Asked(..) | Fact::Job(..) | Fact::Notified(..) => {}
        }
    }

    fn called(&mut self, call: u64, body: &[u8]) {
        let start = &body[..body.len().min(60)];
        if start.windows(11).any(|part| part == b"submitblock") {
            self.submits.insert(call);
            if self.submits.len() > 1 {
                self.count("two blocks under way");
            }
        }
        if proposals::is_proposal(body) {
            self.proposals.insert(call);
        }
    }

    fn saw(&mut self, what: &Observation) {
        match what {
            Observation::Ended(Ending::Crash) => self.count("server crashed"),
            Observation::Ended(Ending::Stopped) => self.count("server stopped"),
            Observation::Ended(Ending::Fatal(_)) => self.count("server gave up"),
            Observation::Started { pending, .. } => {
                self.submits.clear();
                self.proposals.clear();
                if !pending.is_empty() {
                    self.count("started with a block pending");
                }
            }
            Observation::Closing { why, .. } if why.contains("does not read") => {
                self.count("slow reader cut off");
            }
            Observation::Closing { .. } => self.count("connection cut off"),
            Observation::Called { call, body, .. } => self.called(*call, body),
            Observation::Replied { call, result } => {
                let proposed = self.proposals.remove(call);
                let word = result.as_ref().ok().and_then(|reply| Word::read(&reply.body));
                if proposed && word == Some(Word::Taken) {
                    self.count("proposal taken");
                }
                let submitted = self.submits.remove(call);
                if submitted && result.is_err() {
                    self.count("block found while the node was away");
                }
            }
            Observation::Second(SecondEvent::BlockAccepted { shared: false, .. }) => {
                self.count("block taken by the second node first");
            }
            Observation::Woken { why } if why == "SendJob" => {
                self.count("a job took more than one turn");
            }
            Observation::NotPersisted { .. } => self.count("write failed"),
            Observation::Chain(WorldEvent::BlockAccepted { .. }) => self.count("block accepted"),
            Observation::Chain(WorldEvent::BlockSidelined { .. }) => self.count("block sidelined"),
            _ => {}
        }
    }
}
