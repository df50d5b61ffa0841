//! The subcommand `crashes`: the process dies at every moment of a plan, one run for each.
//!
//! Seeds let it die somewhere; here nothing is left out. A moment is an event that the process is
//! handed or an action that is performed for it ([`Death`]), so a run for each covers whatever a
//! death can come between: the block and its file, the file and the call, the call and the reply.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Args;

use super::command::{BROKEN, PASSED, USAGE, code, fail, quiet_panics, read_plan};
use super::{Run, run};
use crate::console::{complain, say};
use crate::plan::draw::draw;
use crate::plan::{Death, Plan};

/// Which plans, and how closely.
#[derive(Args, Debug)]
pub struct CrashesArguments {
    /// Plans [default: the kept ones]
    plans: Vec<PathBuf>,
    /// Only every so manieth moment
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
    /// Threads; each takes the next moment [default: one for each core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

/// What killing the process throughout one plan came to.
#[derive(Debug)]
pub struct Crashed {
    /// Moments at which the process could die.
    pub moments: u64,
    /// Those at which it did, each in a run of its own.
    pub runs: u64,
    /// The first run that broke a law, and its plan.
    pub broken: Option<(Plan, Run)>,
}

/// The plans that are kept for this, by name.
pub fn kept() -> Result<Vec<(String, Plan)>, String> {
    let read = |(name, text): (&str, &str)| match serde_json::from_str(text) {
        Ok(plan) => Ok((name.to_owned(), plan)),
        Err(error) => Err(format!("{name} is no plan: {error}")),
    };
    fixtures::CRASHES.into_iter().map(read).collect()
}

/// Kills the process at every `every`th moment of `plan`, the first one first.
pub fn crash(plan: &Plan, every: u64, threads: usize) -> Crashed {
    let whole = run(plan, None, false);
    let moments = whole.moments;
    if whole.ended.broken.is_some() {
        return Crashed { moments, runs: 0, broken: Some((plan.clone(), whole)) };
    }
    let (next, runs) = (AtomicU64::new(1), AtomicU64::new(0));
    let work = || {
        loop {
            let moment = next.fetch_add(every, Ordering::Relaxed);
            if moment > moments {
                return None;
            }
            let plan = dying(plan, moment);
            let run = run(&plan, None, false);
            runs.fetch_add(1, Ordering::Relaxed);
            if run.ended.broken.is_some() {
                next.store(u64::MAX / 2, Ordering::Relaxed);
                return Some((plan, run));
            }
        }
    };
    let broken = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        let ends = threads.into_iter().filter_map(|thread| thread.join().ok().flatten());
        ends.min_by_key(|(plan, _)| plan.death.map(|death| death.moment))
    });
    Crashed { moments, runs: runs.into_inner(), broken }
}

/// The plan in which the process dies at this moment, and stays dead for milliseconds or for many
/// seconds.
fn dying(plan: &Plan, moment: u64) -> Plan {
    let ms = draw(plan.seed, "death", (moment, 0)).scaled(10, 20_000);
    Plan { death: Some(Death { moment, ms }), ..plan.clone() }
}

impl CrashesArguments {
    /// Kills; the exit code.
    pub fn crashes(&self) -> u8 {
        let plans = if self.plans.is_empty() { kept() } else { self.read() };
        let plans = match plans {
            Ok(plans) => plans,
            Err(problem) => {
                complain(&problem);
                return USAGE;
            }
        };
        quiet_panics();
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let (began, mut deaths) = (Instant::now(), 0);
        for (name, plan) in &plans {
            let crashed = crash(plan, self.every, self.threads.unwrap_or(cores));
            let Crashed { moments, runs, broken } = crashed;
            deaths += runs;
            if let Some((plan, run)) = broken {
                let kept = crate::report::folder(plan.seed).join("plan.json");
                fail(&plan, &run, &format!("replay {}", kept.display()));
                return code(&run).max(BROKEN);
            }
            say(&format!("passed  {name}: died at {runs} of its {moments} moments"));
        }
        let wall = began.elapsed().as_secs();
        say(&format!("{} plans, {deaths} deaths, 0 failed, in {wall} s", plans.len()));
        PASSED
    }

    fn read(&self) -> Result<Vec<(String, Plan)>, String> {
        let read = |path: &PathBuf| Ok((path.display().to_string(), read_plan(path)?));
        self.plans.iter().map(read).collect()
    }
}
