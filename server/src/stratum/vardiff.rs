//! A miner's difficulty: from its pace, its wishes and the operator's bounds.
//!
//! A window of shares is looked at when it has many (a fast miner is raised within moments) and at
//! fixed times (a slow or silent one is lowered without having to say anything). Only shares of the
//! difficulty in force count, so that the shares still under way after a change mislead nobody.
//! All of it is integers and given times. Not here: which job a difficulty goes out with
//! (`session`), and that it is never harder than the network's (`pool`).

use core::time::Duration;

use crate::clock::Instant;
use crate::config::{PortRules, VardiffRules};
use crate::mining::difficulty::Difficulty;

/// Shares after which a fast miner's pace is believed.
const FAST_SHARES: u64 = 16;
/// How much faster than wished it must be: so seldom by chance (one in a thousand) that a miner at
/// its right difficulty stays there.
const FAST_RATIO: (u128, u128) = (5, 2);
/// Shares that come in a shorter time than this are taken for this long: one read brings many.
const MEASURED_MIN: Duration = Duration::from_millis(1);
/// When a window is looked at, in wished intervals, and with how few shares it is too slow.
const CHECKS: [(u32, u64); 3] = [(6, 0), (12, 2), (24, 16)];
/// Shares of a whole window above which a miner is too fast.
const WINDOW_SHARES_MAX: u64 = 33;
/// A silent miner is divided by this; by its square from the second time on.
const SILENCE_DIVISOR: u64 = 16;

/// One miner's difficulty.
#[derive(Clone, Debug)]
pub struct Vardiff {
    /// The bounds and the wished pace; none keeps one difficulty for everybody.
    rules: Option<VardiffRules>,
    /// The miner's own lower bound.
    floor: Option<Difficulty>,
    /// The miner wants this one and no other.
    is_fixed: bool,
    suggested: Option<Difficulty>,
    wanted: Difficulty,
    /// The window; none before the first job.
    window: Option<Window>,
    /// Windows without a share, in a row.
    silences: u32,
}

/// What happened since a difficulty came into force, or since the last look at a full window.
#[derive(Clone, Copy, Debug)]
struct Window {
    in_force: Difficulty,
    since: Instant,
    shares: u64,
    checks: usize,
}

impl Window {
    fn new(in_force: Difficulty, since: Instant) -> Self {
        Self { in_force, since, shares: 0, checks: 0 }
    }
}

impl Vardiff {
    /// A miner that just came through a port of these rules.
    pub fn new(rules: &PortRules) -> Self {
        let start = rules.difficulty;
        let bounds = rules.vardiff.map(|bounds| VardiffRules {
            min: bounds.min.min(start),
            max: bounds.max.map(|max| max.max(start)),
            ..bounds
        });
        Self {
            rules: bounds,
            floor: None,
            is_fixed: false,
            suggested: None,
            wanted: start,
            window: None,
            silences: 0,
        }
    }

    /// What the miner should be told with its next job, before the network's cap.
    pub fn wanted(&self) -> Difficulty {
        self.wanted
    }

    /// What it was told with its newest job.
    pub fn in_force(&self) -> Option<Difficulty> {
        self.window.map(|window| window.in_force)
    }

    /// `mining.suggest_difficulty`: where to go on from. NerdMiner repeats itself to be heard, so
    /// only another suggestion than the last one counts.
    pub fn suggest(&mut self, difficulty: Difficulty) {
        if self.suggested.replace(difficulty) != Some(difficulty) && !self.is_fixed {
            self.want(difficulty);
        }
    }

    /// `d=` in the password: this and no other, within the operator's bounds.
    pub fn fix(&mut self, difficulty: Difficulty) {
        self.want(difficulty);
        self.is_fixed = true;
    }

    /// `md=` in the password, or `minimum-difficulty`: not below this. The answer says whether the
    /// operator's bounds allow it.
    pub fn keep_above(&mut self, floor: Difficulty) -> bool {
        let most = self.rules.map_or(Some(self.wanted), |rules| rules.max);
        if most.is_some_and(|most| floor > most) {
            return false;
        }
        self.floor = Some(floor);
        self.want(self.wanted);
        true
    }

    /// A job went out with this difficulty.
    pub fn announced(&mut self, now: Instant, difficulty: Difficulty) {
        if self.in_force() != Some(difficulty) {
            self.window = Some(Window::new(difficulty, now));
        }
    }

    /// A share of `difficulty` was accepted.
    pub fn on_share(&mut self, now: Instant, difficulty: Difficulty) {
        let Some((rules, window)) = self.running() else { return };
        if window.in_force != difficulty {
            return;
        }
        window.shares += 1;
        let window = *window;
        let elapsed = now.since(window.since).max(MEASURED_MIN);
        let (fast, slow) = FAST_RATIO;
        let pace = u128::from(window.shares) * rules.share_interval.as_nanos() * slow;
        self.silences = 0;
        if window.shares >= FAST_SHARES && pace >= elapsed.as_nanos() * fast {
            self.follow(window, elapsed, rules);
        }
    }

    /// When [`Self::on_timer`] next has something to look at.
    pub fn due(&self) -> Option<Instant> {
        let rules = self.rules.filter(|_| !self.is_fixed)?;
        let window = self.window?;
        let (intervals, _) = CHECKS.get(window.checks)?;
        Some(window.since + rules.share_interval * *intervals)
    }

    /// Looks at the window if that is due: whoever says little is lowered.
    pub fn on_timer(&mut self, now: Instant) {
        if self.due().is_none_or(|due| due > now) {
            return;
        }
        let Some((rules, running)) = self.running() else { return };
        let window = *running;
        running.checks += 1;
        let Some((_, few)) = CHECKS.get(window.checks) else { return };
        let is_last = window.checks + 1 == CHECKS.len();
        let elapsed = now.since(window.since).max(MEASURED_MIN);
        let too_slow = window.shares <= *few;
        if is_last || too_slow {
            *running = Window::new(window.in_force, now);
        }
        if too_slow && window.shares == 0 {
            let power = if self.silences == 0 { 1 } else { 2 };
            self.silences += 1;
            self.want(window.in_force.rung_at(1, SILENCE_DIVISOR.pow(power)));
        } else if too_slow || is_last && window.shares > WINDOW_SHARES_MAX {
            self.follow(window, elapsed, rules);
        }
    }

    fn running(&mut self) -> Option<(VardiffRules, &mut Window)> {
        let rules = self.rules.filter(|_| !self.is_fixed)?;
        Some((rules, self.window.as_mut()?))
    }

    /// Wants what makes the window's pace the wished one.
    fn follow(&mut self, window: Window, elapsed: Duration, rules: VardiffRules) {
        let most = 10_u128.pow(17) - 1;
        let within = |micros: u128| u64::try_from(micros.clamp(1, most)).unwrap_or(u64::MAX);
        let measured = within(u128::from(window.shares) * rules.share_interval.as_micros());
        self.want(window.in_force.rung_at(measured, within(elapsed.as_micros())));
    }

    fn want(&mut self, difficulty: Difficulty) {
        let Some(rules) = self.rules else { return };
        let least = self.floor.map_or(rules.min, |floor| floor.max(rules.min));
        let wanted = difficulty.max(least);
        self.wanted = rules.max.map_or(wanted, |most| wanted.min(most));
    }
}

/// What a password asks for: `d=1000` or `diff=1000`, and `md=1000`, among other things separated
/// by commas, semicolons or blanks. What is no difficulty asks for nothing.
pub fn wishes(password: &str) -> (Option<Difficulty>, Option<Difficulty>) {
    let (mut fixed, mut floor) = (None, None);
    for word in password.split([',', ';', ' ']) {
        let Some((name, value)) = word.split_once('=') else { continue };
        match name.trim().to_ascii_lowercase().as_str() {
            "d" | "diff" | "difficulty" => fixed = value.parse().ok().or(fixed),
            "md" | "mindiff" => floor = value.parse().ok().or(floor),
            _ => {}
        }
    }
    (fixed, floor)
}

#[cfg(test)]
mod tests;
