//! A failing plan made smaller: what is left of it still breaks the same law.
//!
//! Delta debugging over the plan's own parts. It works because a plan's draws are looked up by
//! what they are for: what stays behaves as it did. Each pass keeps only what still fails; a bound
//! on runs keeps it from taking all day. Not in here: running a plan (`simulate.rs`).

use crate::plan::{Habit, Plan};

/// Runs that one minimisation may take.
pub const RUNS_MAX: u64 = 600;

/// Makes plans smaller. `fails` says of a plan when it fails in the same way, in milliseconds.
pub struct Minimiser<F> {
    fails: F,
    runs: u64,
}

impl<F> std::fmt::Debug for Minimiser<F> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Minimiser").field("runs", &self.runs).finish_non_exhaustive()
    }
}

impl<F: FnMut(&Plan) -> Option<u64>> Minimiser<F> {
    /// Nothing was tried yet.
    pub const fn new(fails: F) -> Self {
        Self { fails, runs: 0 }
    }

    /// Runs so far.
    pub const fn runs(&self) -> u64 {
        self.runs
    }

    /// The smallest plan found that fails as `plan` does.
    pub fn minimise(&mut self, plan: &Plan) -> Plan {
        let mut best = plan.clone();
        loop {
            let before = (best.size(), best.horizon_ms);
            // Time last: where a failure needs luck, as finding a block does, a long run has it
            // however its parts change, and a short one does not.
            self.thin_items(&mut best);
            self.thin_miners(&mut best);
            self.cut_horizon(&mut best);
            if (best.size(), best.horizon_ms) == before || self.runs >= RUNS_MAX {
                break;
            }
        }
        self.plainer(&mut best);
        best
    }

    fn still_fails(&mut self, plan: &Plan) -> Option<u64> {
        if self.runs >= RUNS_MAX {
            return None;
        }
        self.runs += 1;
        (self.fails)(plan)
    }

    /// Ends the bad times just after the failure, or long before it where it comes later.
    fn cut_horizon(&mut self, best: &mut Plan) {
        let Some(at_ms) = self.still_fails(best) else { return };
        for horizon_ms in [1_000, at_ms / 4, at_ms / 2, at_ms + 1_000] {
            let horizon_ms = horizon_ms.max(1_000);
            if horizon_ms >= best.horizon_ms {
                continue;
            }
            let mut shorter = Plan { horizon_ms, ..best.clone() };
            shorter.items.retain(|item| item.at_ms < horizon_ms);
            shorter.miners.retain(|miner| miner.joins_ms < horizon_ms);
            if self.still_fails(&shorter).is_some() {
                *best = shorter;
                return;
            }
        }
    }

    fn thin_items(&mut self, best: &mut Plan) {
        let all = best.items.clone();
        let plan = best.clone();
        best.items = self.thin(all, |items| Plan { items, ..plan.clone() });
    }

    fn thin_miners(&mut self, best: &mut Plan) {
        let all = best.miners.clone();
        let plan = best.clone();
        best.miners = self.thin(all, |miners| Plan { miners, ..plan.clone() });
    }

    /// The ddmin algorithm: halves, then quarters, and so on, leaving out what is not needed.
    fn thin<T: Clone>(&mut self, all: Vec<T>, make: impl Fn(Vec<T>) -> Plan) -> Vec<T> {
        let mut kept = all;
        if !kept.is_empty() && self.still_fails(&make(Vec::new())).is_some() {
            return Vec::new();
        }
        let mut parts = 2;
        while kept.len() > 1 && self.runs < RUNS_MAX {
            let size = kept.len().div_ceil(parts);
            let mut smaller = None;
            for start in (0..kept.len()).step_by(size) {
                let end = (start + size).min(kept.len());
                let without = [&kept[..start], &kept[end..]].concat();
                if self.still_fails(&make(without.clone())).is_some() {
                    smaller = Some(without);
                    break;
                }
            }
            match smaller {
                Some(without) => {
                    kept = without;
                    parts = parts.saturating_sub(1).max(2);
                }
                None if size == 1 => break,
                None => parts = (parts * 2).min(kept.len()),
            }
        }
        kept
    }

    /// Honest miners where that does, and a network that draws nothing.
    fn plainer(&mut self, best: &mut Plan) {
        let mut plain = best.clone();
        plain.network.jitter_us = 0;
        plain.network.cuts = 0;
        plain.network.call_jitter_us = 0;
        if self.still_fails(&plain).is_some() {
            *best = plain;
        }
        for place in 0..best.miners.len() {
            let mut honest = best.clone();
            honest.miners[place].habit = Habit::Honest;
            if honest != *best && self.still_fails(&honest).is_some() {
                *best = honest;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Families, What};

    /// Fails when there is a storm after a rival's block, whatever else there is.
    fn fails(plan: &Plan) -> Option<u64> {
        let rival = plan.items.iter().position(|item| item.what == What::Rival)?;
        let storm = plan.items[rival..].iter().find(|item| item.what == What::Storm)?;
        Some(storm.at_ms)
    }

    #[test]
    fn only_what_is_needed_stays() {
        let mut tried = 0;
        for seed in 0..200 {
            let plan = Plan::from_seed(seed, &Families::default());
            if fails(&plan).is_none() || plan.items.len() < 30 {
                continue;
            }
            tried += 1;
            let mut minimiser = Minimiser::new(fails);
            let small = minimiser.minimise(&plan);
            assert_eq!(small.items.len(), 2, "seed {seed}");
            assert!(small.miners.is_empty(), "seed {seed}");
            assert!(fails(&small).is_some() && minimiser.runs() <= RUNS_MAX);
        }
        assert!(tried > 5, "{tried}");
    }
}
