//! VAR-1, VAR-2: a miner's difficulty stays within the bounds, changes for a reason only, and ends
//! where its pace is the wished one.
//!
//! Hash rates are known here, for the plan gives them. A miner is judged by the difficulty that it
//! holds, not by the shares that it had the luck to find. Floats are estimates, with room.

#![expect(clippy::wildcard_enum_match_arm, reason = "what is no share may be a wish")]

use std::collections::BTreeMap;

use simminer::target::Target;

use super::casebook::{Asks, Casebook, Fact, Given};
use super::{Broken, Oracle, Scene, hold};
use crate::plan::{Ask, Habit, MinerPlan, VardiffPlan};
use crate::sim::observe::{Conn, Observation, Phase};
use crate::sim::queue::Micros;

/// Shares after which a fast miner may be raised.
const FAST_SHARES: u64 = 16;
/// Wished intervals after which anybody's difficulty may change.
const LOOK_INTERVALS: u64 = 6;
/// Wished intervals within which a steady miner finds its difficulty, from wherever it began.
pub(crate) const SETTLE_INTERVALS: u64 = 60;
/// Wished intervals for which bad luck may drive it away again.
const LUCK_INTERVALS: u64 = 30;
/// How far off the right difficulty is right enough.
const FACTOR: f64 = 4.0;
/// What writing a difficulty as a decimal may lose.
const ROUNDING: f64 = 1.001;

/// What one connection was told.
#[derive(Clone, Copy, Debug)]
struct Told {
    /// Hashes to a share.
    hashes: f64,
    /// Whether that is the network's own difficulty.
    is_capped: bool,
    since: Micros,
    /// Shares found since.
    shares: u64,
    /// Whether the miner said since what can be a wish.
    asked: bool,
    /// When it last held what is right for it.
    good: Option<Micros>,
}

/// Judges difficulties.
#[derive(Debug, Default)]
pub(super) struct Pace {
    told: BTreeMap<Conn, Told>,
    quiet: Micros,
}

impl Oracle for Pace {
    fn see(&mut self, scene: &Scene<'_>, book: &Casebook, fact: &Fact) -> Result<(), Broken> {
        let Some(rules) = scene.settings.vardiff else { return Ok(()) };
        match fact {
            Fact::Seen(Observation::Ended(_)) => self.told.clear(),
            Fact::Seen(Observation::Closed { conn } | Observation::Closing { conn, .. }) => {
                self.told.remove(conn);
            }
            Fact::Seen(Observation::Phase(Phase::Quiet)) => self.quiet = scene.now,
            Fact::Seen(Observation::Phase(Phase::Drain)) => {
                return self.everybody_is_at_pace(scene, book, rules);
            }
            Fact::Asked(conn, request) => {
                if let Some(told) = self.told.get_mut(conn) {
                    match &request.asks {
                        // Its answer may wait for the disk, and another difficulty need not.
                        Asks::Submit(submission) => {
                            told.shares += u64::from(submission.verdict.codes.is_empty());
                        }
                        _ => told.asked = true,
                    }
                }
            }
            Fact::Job(conn, given, _) => return self.told(scene, book, rules, *conn, given),
            Fact::Seen(_) | Fact::Answered(_) | Fact::Notified(..) | Fact::Logged(_) => {}
        }
        Ok(())
    }
}

impl Pace {
    /// A job came with a difficulty.
    fn told(
        &mut self,
        scene: &Scene<'_>,
        book: &Casebook,
        rules: VardiffPlan,
        conn: Conn,
        given: &Given,
    ) -> Result<(), Broken> {
        let (now, network) = (hashes(&given.target), hashes(&given.job.block_target));
        let (least, most) = bounds(scene, rules);
        let within = |value: f64| {
            value <= network * ROUNDING
                && value <= most * ROUNDING
                && value * ROUNDING >= least.min(network)
        };
        hold("VAR-1", within(now), || {
            format!(
                "conn {conn} is told {now} hashes a share; the bounds are {least} and {most}, a \
                 block takes {network}"
            )
        })?;
        let is_capped = is_the_networks(given);
        let miner = book.sessions.get(&conn).map(|session| session.miner);
        let wanted = miner.and_then(|miner| right(scene, rules, miner, network));
        let is_good = wanted.is_none_or(|wanted| is_near(now, wanted));
        let mut told = Told {
            hashes: now,
            is_capped,
            since: scene.now,
            shares: 0,
            asked: false,
            good: is_good.then_some(scene.now),
        };
        if let Some(before) = self.told.get(&conn) {
            if is_same(before.hashes, now) {
                return Ok(());
            }
            let waited = scene.now.since(before.since) + 1_000;
            let in_time = waited >= LOOK_INTERVALS * rules.share_ms * 1_000;
            let reason = in_time
                || before.shares >= FAST_SHARES
                || before.asked
                || before.is_capped
                || is_capped;
            hold("VAR-1", reason, || {
                format!(
                    "conn {conn} goes from {} to {now} hashes a share after {} ms and {} shares",
                    before.hashes,
                    waited / 1_000,
                    before.shares
                )
            })?;
            // Until now it held what it held.
            let was_good = wanted.is_some_and(|wanted| is_near(before.hashes, wanted));
            told.good = told.good.or(if was_good { Some(scene.now) } else { before.good });
        }
        self.told.insert(conn, told);
        Ok(())
    }

    fn everybody_is_at_pace(
        &self,
        scene: &Scene<'_>,
        book: &Casebook,
        rules: VardiffPlan,
    ) -> Result<(), Broken> {
        let interval_us = rules.share_ms * 1_000;
        for (conn, told) in &self.told {
            let Some(session) = book.sessions.get(conn) else { continue };
            let Some(given) = session.job() else { continue };
            let since = session.opened.max(self.quiet).max(book.started);
            if scene.now.since(since) < SETTLE_INTERVALS * interval_us {
                continue;
            }
            let network = hashes(&given.job.block_target);
            let Some(wanted) = right(scene, rules, session.miner, network) else { continue };
            let lately =
                told.good.is_some_and(|good| scene.now.since(good) <= LUCK_INTERVALS * interval_us);
            hold("VAR-2", is_near(told.hashes, wanted) || lately, || {
                format!(
                    "conn {conn} of a steady miner is at {} hashes a share; {wanted} would be \
                     right",
                    told.hashes
                )
            })?;
        }
        Ok(())
    }
}

/// Hashes to a share, at least and at most. Bounds that leave the start out are widened to it.
fn bounds(scene: &Scene<'_>, rules: VardiffPlan) -> (f64, f64) {
    let start = scene.settings.share_hashes;
    let most = rules.max_hashes.map_or(f64::INFINITY, |most| float(most.max(start)));
    (float(rules.min_hashes.min(start)), most)
}

/// The difficulty at which this miner's pace is the wished one; none for who does not mine steadily
/// or wants another.
fn right(scene: &Scene<'_>, rules: VardiffPlan, miner: u64, network: f64) -> Option<f64> {
    let plan = scene.plan;
    let miner = plan.miners.iter().find(|one| one.id == miner && one.habit == Habit::Honest)?;
    if rents(miner) {
        return None;
    }
    let (least, most) = bounds(scene, rules);
    let floor = match miner.asks {
        Some(Ask::Fix { .. }) => return None,
        Some(Ask::Floor { hashes }) if float(hashes) <= most => float(hashes),
        Some(Ask::Floor { .. } | Ask::Suggest { .. }) | None => 0.0,
    };
    let rate = float(plan.server.share_hashes) / float(miner.share_ms);
    let wanted = rate * float(rules.share_ms);
    Some(wanted.clamp(least.max(floor), most).min(network))
}

/// Firmware that mines at no difficulty as low as those here: it gets the hardest there is.
fn rents(miner: &MinerPlan) -> bool {
    miner.family.as_deref() == Some("nicehash")
}

/// Whether a share of this job takes as much as a block.
pub(super) fn is_the_networks(given: &Given) -> bool {
    hashes(&given.target) * ROUNDING >= hashes(&given.job.block_target)
}

/// The hashes that it takes on average to meet a target.
fn hashes(target: &Target) -> f64 {
    let value =
        target.to_be_bytes().iter().fold(0.0, |value, byte| value * 256.0 + f64::from(*byte));
    2_f64.powi(256) / (value + 1.0)
}

fn is_same(one: f64, other: f64) -> bool {
    one <= other * ROUNDING && other <= one * ROUNDING
}

fn is_near(one: f64, other: f64) -> bool {
    one <= other * FACTOR && other <= one * FACTOR
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
const fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_once_in_so_many_hashes() {
        // Regtest's is half of all hashes, mainnet's first one of 2^32.
        let regtest = Target::from_bits(0x207f_ffff).expect("a target");
        assert!(is_same(hashes(&regtest), 2.0));
        let mainnet = Target::from_bits(0x1d00_ffff).expect("a target");
        assert!(is_same(hashes(&mainnet), 2_f64.powi(32)));
        assert!(!is_same(hashes(&mainnet), 1.1 * 2_f64.powi(32)));
    }
}
