//! The alarm, tested: each planted bug must be noticed, and by a law that is meant to.

use super::run;
use crate::plan::{Families, Plan};
use crate::sim::seam::{CANARIES, Canary};

/// Seeds within which a planted bug must be noticed.
pub const SEEDS_MAX: u64 = 200;

/// How a canary was noticed.
#[derive(Clone, Debug)]
pub struct Caught {
    /// Its name.
    pub name: &'static str,
    /// The first seed that noticed.
    pub seed: u64,
    /// The law that broke.
    pub law: &'static str,
    /// The plan that it broke under.
    pub plan: Plan,
}

/// Plants one bug and runs seeds until a law breaks. `Err` when none does, or one that should not.
pub fn catch(canary: Canary) -> Result<Caught, String> {
    let row = CANARIES.iter().find(|(known, _, _)| *known == canary);
    let Some((_, name, laws)) = row else { return Err(format!("{canary:?} is in no row")) };
    // Short runs with whatever goes wrong by itself: a planted bug needs little help.
    for seed in 1..=SEEDS_MAX {
        let families = Families { horizon_ms: Some(120_000), ..Families::default() };
        let plan = Plan::from_seed(seed, &families);
        let run = run(&plan, Some(canary), false);
        let Some(broken) = run.ended.broken else { continue };
        if !laws.contains(&broken.law) {
            return Err(format!("{name}: seed {seed} breaks {broken}; expected one of {laws:?}"));
        }
        return Ok(Caught { name, seed, law: broken.law, plan });
    }
    Err(format!("{name}: nothing is noticed in {SEEDS_MAX} seeds; expected one of {laws:?}"))
}
