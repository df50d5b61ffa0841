//! The process dies at moments all over each kept plan; the command `crashes` leaves none out.

use harness::simulate::crashes::{crash, kept};

/// Enough that each plan has some tens of deaths, few enough for a build that is not optimised.
const EVERY: u64 = 97;

#[test]
fn a_death_at_any_moment_loses_and_doubles_nothing() {
    let plans = kept().expect("kept plans are plans");
    assert_eq!(plans.len(), 10);
    for (name, plan) in plans {
        assert!(!plan.why.is_empty(), "{name} says what it is about");
        let crashed = crash(&plan, EVERY, 2);
        let broken = crashed.broken.map(|(plan, run)| (plan.death, run.ended.broken));
        assert!(broken.is_none(), "{name}: {broken:?}");
        assert!(crashed.runs >= crashed.moments / EVERY && crashed.runs > 5, "{name}");
    }
}
