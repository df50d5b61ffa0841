//! Decides what is shown and when it is over: inputs with their time in, events and an ending out.
//!
//! **Invariant:** reads no clock and waits for nothing; time is what has passed since the start.
//! Not in here: where inputs come from (`feed.rs`, `miners.rs`) and what they look like to people
//! (`event.rs`).

use std::time::Duration;

use bitcoin::BlockHash;
use server::pool::Counters;

use super::event::{M7, UpEvent};
use crate::sim::WorldEvent;
use crate::sim::sidechain::HStar;

/// How long it may take to the next merge-mined block, where some are asked for.
pub(super) const PROGRESS_TIME_MAX: Duration = Duration::from_mins(1);

/// Pause between two looks at the totals.
const TOTALS_PAUSE: Duration = Duration::from_secs(1);

/// What happened somewhere.
#[derive(Clone, Debug)]
pub(super) enum Input {
    /// At the node or the sidechain.
    World(WorldEvent),
    /// A job reached a miner.
    Job { id: String, height: u32, clean: bool, m7s: Vec<(u8, HStar)> },
    /// The server's totals changed.
    Totals(Counters),
    /// Worth knowing, and no fault.
    Notice(String),
    /// A law is broken, or something needed is gone.
    Fault(String),
    /// Some thread panicked.
    Panicked,
    /// The user wants to stop.
    Interrupted,
}

/// How it ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ending {
    /// As asked: by the number of blocks, or by the user where none was given.
    Passed(String),
    /// A law was broken or something is missing.
    Failed(String),
    /// Something panicked.
    Panicked,
    /// Nothing moves.
    Stuck(String),
}

impl Ending {
    /// The exit code for it.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Passed(_) => 0,
            Self::Failed(_) => crate::cli::EXIT_FAILED,
            Self::Panicked => crate::cli::EXIT_PANIC,
            Self::Stuck(_) => crate::cli::EXIT_STUCK,
        }
    }

    /// Why, for people.
    pub fn reason(&self) -> &str {
        match self {
            Self::Passed(reason) | Self::Failed(reason) | Self::Stuck(reason) => reason,
            Self::Panicked => "a panic, reported on standard error: this is a bug",
        }
    }
}

/// What is known so far.
#[derive(Debug)]
pub(super) struct Judge {
    slot: u8,
    goal: Option<u64>,
    /// Without miners of our own, time runs only while one is connected.
    waits_for_miners: bool,
    merge_mined: u64,
    /// By what the sidechain advanced, until the block that carried it is told of.
    advanced_by: Option<HStar>,
    sidechain_height: u32,
    job_shown: Option<(u32, Vec<(u8, HStar)>)>,
    totals: Counters,
    totals_shown: Counters,
    totals_shown_at: Duration,
    progress_at: Duration,
    ending: Option<Ending>,
}

impl Judge {
    /// Of a run that begins at `now`, watches the sidechain of `slot` and ends after `goal`
    /// merge-mined blocks.
    pub(super) fn new(now: Duration, slot: u8, goal: Option<u64>, own_miners: u32) -> Self {
        Self {
            slot,
            goal,
            waits_for_miners: own_miners == 0,
            merge_mined: 0,
            advanced_by: None,
            sidechain_height: 0,
            job_shown: None,
            totals: Counters::default(),
            totals_shown: Counters::default(),
            totals_shown_at: Duration::ZERO,
            progress_at: now,
            ending: None,
        }
    }

    /// Takes what happened at `now`; gives what to show.
    pub(super) fn handle(&mut self, now: Duration, input: Input) -> Vec<UpEvent> {
        let mut events = match input {
            Input::World(event) => self.on_world(now, event),
            Input::Job { id, height, clean, m7s } => self.on_job(id, height, clean, m7s),
            Input::Totals(totals) => {
                self.totals = totals;
                Vec::new()
            }
            Input::Notice(text) => vec![UpEvent::Notice { text }],
            Input::Fault(why) => {
                self.end(Ending::Failed(why));
                Vec::new()
            }
            Input::Panicked => {
                // Whatever else was wrong is a consequence.
                self.ending = Some(Ending::Panicked);
                Vec::new()
            }
            Input::Interrupted => {
                self.on_interrupt();
                Vec::new()
            }
        };
        events.extend(self.on_time(now));
        events
    }

    /// Does what is due at `now`, as [`Self::deadline`] asked.
    pub(super) fn on_time(&mut self, now: Duration) -> Option<UpEvent> {
        if self.waits_for_miners && self.miners() == 0 {
            self.progress_at = now;
        }
        if self.stuck_at().is_some_and(|due| now >= due) {
            let why = self.why_stuck();
            self.end(Ending::Stuck(why));
        }
        let due = self.totals_due()?;
        (now >= due).then(|| {
            self.totals_shown = self.totals;
            self.totals_shown_at = now;
            UpEvent::Shares {
                accepted: self.totals.shares_accepted,
                rejected: self.totals.shares_rejected,
                miners: self.miners(),
            }
        })
    }

    /// When to call [`Self::on_time`] if nothing happens until then.
    pub(super) fn deadline(&self) -> Option<Duration> {
        [self.totals_due(), self.stuck_at()].into_iter().flatten().min()
    }

    /// How it ended, once it did. Nothing that happens later changes it but a panic.
    pub(super) fn ending(&self) -> Option<Ending> {
        self.ending.clone()
    }

    /// The last event: how it ended, with the totals that the server stopped with.
    pub(super) fn finish(&self, ending: &Ending, totals: Counters) -> UpEvent {
        UpEvent::Finished {
            exit_code: ending.exit_code(),
            reason: ending.reason().to_owned(),
            merge_mined: self.merge_mined,
            sidechain_height: self.sidechain_height,
            shares_accepted: totals.shares_accepted,
            shares_rejected: totals.shares_rejected,
        }
    }

    fn end(&mut self, ending: Ending) {
        self.ending.get_or_insert(ending);
    }

    fn on_interrupt(&mut self) {
        self.end(match self.goal {
            None => Ending::Passed("stopped when asked".to_owned()),
            Some(goal) => Ending::Failed(format!(
                "stopped when asked, after {} of {goal} blocks",
                self.merge_mined
            )),
        });
    }

    fn on_world(&mut self, now: Duration, event: WorldEvent) -> Vec<UpEvent> {
        vec![match event {
            WorldEvent::TipChanged { hash, height, .. } => UpEvent::Tip { height, hash },
            WorldEvent::SidechainAdvanced { slot, height, h_star } => {
                self.advanced_by = Some(h_star);
                self.sidechain_height = height;
                UpEvent::Sidechain { slot, height, h_star, rolled_back: false }
            }
            WorldEvent::SidechainRolledBack { slot, height, h_star } => {
                self.sidechain_height = height;
                UpEvent::Sidechain { slot, height, h_star, rolled_back: true }
            }
            WorldEvent::BlockSidelined { hash, height } => UpEvent::BlockSidelined { height, hash },
            WorldEvent::BlockRefused { hash, reason } => {
                self.end(Ending::Failed(format!("the node refused block {hash}: {reason}")));
                UpEvent::BlockRefused { hash, reason }
            }
            WorldEvent::BlockAccepted { hash, height, m7s, reserved_value_missing } => {
                if reserved_value_missing {
                    let what = "came without its coinbase's witness, which the node had to add";
                    self.end(Ending::Failed(format!("block {hash} {what} (BIP-0141)")));
                }
                self.on_accepted(now, hash, height, &m7s)
            }
        }]
    }

    /// A block counts when the sidechain advanced by what it commits to. One without a commitment,
    /// or a zeroed one, is the fallback for a sidechain that answers late; any other is wrong.
    fn on_accepted(
        &mut self,
        now: Duration,
        hash: BlockHash,
        height: u32,
        m7s: &[(u8, HStar)],
    ) -> UpEvent {
        let advanced_by = self.advanced_by.take();
        let carried: Vec<HStar> =
            m7s.iter().filter(|(slot, _)| *slot == self.slot).map(|(_, h_star)| *h_star).collect();
        let advanced = advanced_by.is_some_and(|h_star| carried == [h_star]);
        if advanced {
            self.merge_mined += 1;
            self.progress_at = now;
        } else if carried.iter().any(|HStar(bytes)| *bytes != [0; 32]) {
            let slot = self.slot;
            self.end(Ending::Failed(format!(
                "block {hash} commits for slot {slot} to what its sidechain did not offer \
                 (BIP-0301 M7)"
            )));
        }
        if self.goal.is_some_and(|goal| self.merge_mined >= goal) {
            let blocks = self.merge_mined;
            self.end(Ending::Passed(format!(
                "the sidechain has advanced by {blocks} of our blocks"
            )));
        }
        let merge_mined = advanced.then_some(self.merge_mined);
        UpEvent::BlockAccepted { height, hash, m7s: listed(m7s), merge_mined }
    }

    /// A refresh that changes neither height nor commitments is not worth a line.
    fn on_job(
        &mut self,
        id: String,
        height: u32,
        clean: bool,
        m7s: Vec<(u8, HStar)>,
    ) -> Vec<UpEvent> {
        let event = UpEvent::Job { id, height, clean, m7s: listed(&m7s) };
        let job = Some((height, m7s));
        if !clean && self.job_shown == job {
            return Vec::new();
        }
        self.job_shown = job;
        vec![event]
    }

    /// Miners connected, without the connection that only watches.
    const fn miners(&self) -> u64 {
        self.totals.sessions.saturating_sub(1)
    }

    fn totals_due(&self) -> Option<Duration> {
        let Counters { shares_accepted, shares_rejected, .. } = self.totals_shown;
        let changed = (shares_accepted, shares_rejected)
            != (self.totals.shares_accepted, self.totals.shares_rejected);
        changed.then_some(self.totals_shown_at + TOTALS_PAUSE)
    }

    fn stuck_at(&self) -> Option<Duration> {
        let waiting = self.waits_for_miners && self.miners() == 0;
        (self.goal.is_some() && !waiting).then_some(self.progress_at + PROGRESS_TIME_MAX)
    }

    fn why_stuck(&self) -> String {
        let seconds = PROGRESS_TIME_MAX.as_secs();
        let Counters { jobs, shares_accepted, shares_rejected, blocks_found, .. } = self.totals;
        format!(
            "no merge-mined block for {seconds} s: {} miner(s) connected, {jobs} job(s), \
             {shares_accepted} share(s) accepted, {shares_rejected} rejected, {blocks_found} \
             block(s) found; --log info shows where it stops",
            self.miners()
        )
    }
}

fn listed(m7s: &[(u8, HStar)]) -> Vec<M7> {
    m7s.iter().map(|(slot, h_star)| M7 { slot: *slot, h_star: *h_star }).collect()
}

#[cfg(test)]
mod tests;
