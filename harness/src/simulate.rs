//! Running plans: one, many on all cores, twice, and what is said at the end.
//!
//! A seed is a plan is a run; seeds share nothing, so each core takes the next one. Exit codes are
//! `cli.rs`'s. Not in here: how a failing plan is made smaller (`report/minimise.rs`).

pub mod canaries;
pub mod command;
pub mod crashes;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::plan::Plan;
use crate::sim::seam::Canary;
use crate::sim::world::{Ended, Simulation};

/// One run and how long it was.
#[derive(Clone, Debug)]
pub struct Run {
    /// What it came to.
    pub ended: Ended,
    /// Seconds of simulated time.
    pub seconds: u64,
    /// Moments at which the process could have died.
    pub moments: u64,
}

/// Runs `plan` to its end or its first broken law; a panic is one, too.
pub fn run(plan: &Plan, canary: Option<Canary>, print: bool) -> Run {
    let mut simulation = Simulation::new(plan, canary).printing(print);
    let ended = catch_unwind(AssertUnwindSafe(|| simulation.run()));
    let panic = ended.err().map(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        text.unwrap_or("a panic without words").to_owned()
    });
    Run {
        ended: simulation.ended(panic),
        seconds: simulation.seconds(),
        moments: simulation.moments(),
    }
}

/// Adds counts to others.
pub fn add(sum: &mut BTreeMap<String, u64>, more: &BTreeMap<String, u64>) {
    for (name, count) in more {
        *sum.entry(name.clone()).or_default() += count;
    }
}
