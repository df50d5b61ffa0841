//! LIVE-1 to LIVE-3: when nothing goes wrong any more, what is due comes, and in time.
//!
//! Judged in the quiet phase alone. Each deadline is what the settings allow and a second on top;
//! what is still pending is the reason that is reported.

use std::collections::BTreeMap;

use bitcoin::hashes::Hash as _;

use super::casebook::{Casebook, Fact};
use super::{Broken, Oracle, Scene, hold};
use crate::sim::WorldEvent;
use crate::sim::observe::{Conn, Observation, Phase};
use crate::sim::queue::Micros;
use crate::sim::second::SecondEvent;

/// On top of every deadline, in milliseconds.
const SLACK_MS: u64 = 1_000;
/// With a second node, on top of what blocks take between the nodes: a node that lags is left after
/// two seconds, and a node in reserve is asked every ten.
const SECOND_MS: u64 = 12_500;
/// Wakes at one moment after which the clock is not dealt with.
const WAKES_AT_ONCE_MAX: u64 = 64;

/// Judges liveness.
#[derive(Debug, Default)]
pub(super) struct Liveness {
    quiet: Option<Micros>,
    /// Since when the chain has the tip that it has.
    tip: Option<Micros>,
    /// Connections that were opened in the quiet phase, without work so far.
    waiting: BTreeMap<Conn, Micros>,
    woken: (Micros, u64),
}

impl Oracle for Liveness {
    fn see(&mut self, scene: &Scene<'_>, book: &Casebook, fact: &Fact) -> Result<(), Broken> {
        match fact {
            Fact::Seen(Observation::Phase(phase)) => {
                if *phase == Phase::Drain {
                    self.everybody_has_work(scene, book)?;
                }
                self.quiet = (*phase == Phase::Quiet).then_some(scene.now);
                self.waiting.clear();
            }
            Fact::Seen(
                Observation::Chain(WorldEvent::TipChanged { .. })
                | Observation::Second(SecondEvent::TipChanged { .. }),
            ) => {
                self.tip = Some(scene.now);
            }
            Fact::Seen(Observation::Opened { conn, .. }) if self.quiet.is_some() => {
                self.waiting.insert(*conn, scene.now);
            }
            Fact::Seen(Observation::Woken { why }) => {
                let again = scene.now == self.woken.0;
                self.woken = (scene.now, if again { self.woken.1 + 1 } else { 0 });
                return hold("LIVE-2", self.woken.1 < WAKES_AT_ONCE_MAX, || {
                    format!("the server wants to be woken for {why} again and again at one moment")
                });
            }
            Fact::Seen(Observation::Done) => return self.nobody_waits_too_long(scene, book),
            Fact::Seen(Observation::Closed { conn } | Observation::Closing { conn, .. })
            | Fact::Job(conn, ..) => {
                self.waiting.remove(conn);
            }
            Fact::Seen(_)
            | Fact::Asked(..)
            | Fact::Answered(_)
            | Fact::Notified(..)
            | Fact::Logged(_) => {}
        }
        Ok(())
    }
}

impl Liveness {
    /// How long a new tip may take to reach the miners.
    pub(super) fn patience_us(scene: &Scene<'_>) -> u64 {
        let server = scene.settings;
        let limits = &server.limits;
        let calls = scene.plan.network.call_us * 8 / 1_000;
        let ms = server.refresh_ms
            + limits.call_patience_ms
            + limits.retry_pause_ms
            + limits.commitment_wait_ms
            + calls
            + server.second.map_or(0, |second| second.delay_ms + SECOND_MS);
        (ms + SLACK_MS) * 1_000
    }

    fn nobody_waits_too_long(&self, scene: &Scene<'_>, book: &Casebook) -> Result<(), Broken> {
        let Some(quiet) = self.quiet else { return Ok(()) };
        let patience = Self::patience_us(scene);
        for (conn, since) in &self.waiting {
            let waited = scene.now.since(*since);
            hold("LIVE-3", waited <= patience, || {
                format!("conn {conn} has been without work for {} ms", waited / 1_000)
            })?;
        }
        let since = self.tip.map_or(quiet, |tip| tip.max(quiet)).max(book.started);
        if scene.now.since(since) > patience {
            return self.everybody_has_work(scene, book);
        }
        Ok(())
    }

    fn everybody_has_work(&self, scene: &Scene<'_>, book: &Casebook) -> Result<(), Broken> {
        let Some(quiet) = self.quiet else { return Ok(()) };
        let settled = self.tip.map_or(quiet, |tip| tip.max(quiet)).max(book.started);
        if scene.now.since(settled) <= Self::patience_us(scene) {
            return Ok(());
        }
        hold("LIVE-1", book.listening, || {
            "nothing goes wrong any more, and miners are not let in".to_owned()
        })?;
        // Of two tips of the same height either will do.
        let height = scene.world.nodes().map(|node| node.chain().height()).max();
        let best = scene.world.nodes().filter(|node| Some(node.chain().height()) == height);
        let tips: Vec<[u8; 32]> = best.map(|node| node.tip().to_byte_array()).collect();
        for (conn, session) in &book.sessions {
            if session.closing || !session.is_ready() {
                continue;
            }
            let parent = session.job().map(|given| given.job.previous_block);
            hold("LIVE-1", parent.is_some_and(|parent| tips.contains(&parent)), || {
                let job = session.newest.as_deref().unwrap_or("none");
                format!("conn {conn} mines on job {job}, which is not on the node's tip")
            })?;
        }
        Ok(())
    }
}
