//! DET-1: a plan is a run, and always the same one.

use harness::plan::{Families, Plan};
use harness::simulate::run;

fn hash(seed: u64) -> String {
    let families = Families { horizon_ms: Some(60_000), ..Families::default() };
    let run = run(&Plan::from_seed(seed, &families), None, false);
    assert_eq!(run.ended.broken, None, "seed {seed}");
    run.ended.hash
}

#[test]
fn the_same_seed_is_the_same_run_and_another_is_another() {
    let mut all = std::collections::BTreeSet::new();
    for seed in 1..=12 {
        let one = hash(seed);
        assert_eq!(one, hash(seed), "seed {seed}");
        assert!(all.insert(one), "seed {seed} is a run that was there before");
    }
}
