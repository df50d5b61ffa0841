//! The production core under a seed: random miners, a node that fails in every way a call can
//! fail, rival blocks, a sidechain that goes away; then everything heals, and nothing may be lost.
//!
//! No socket, no thread, no sleeping: time is a number, and the same seed gives the same run.

#[path = "soak/world.rs"]
mod world;

use world::{Faults, Run};

const SEEDS: u64 = 300;
const STEPS: usize = 600;

#[test]
fn no_block_is_lost_and_no_share_counted_twice() {
    let mut seen = Faults::default();
    for seed in 0..SEEDS {
        let mut run = Run::new(seed);
        for _ in 0..STEPS {
            run.step();
        }
        run.heal();
        run.check();
        seen.add(&run.faults);
    }
    // A law that nothing exercised proves nothing.
    assert_eq!(seen.never(), [""; 0], "{seen:?}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let trace = |seed| {
        let mut run = Run::new(seed);
        for _ in 0..STEPS {
            run.step();
        }
        run.heal();
        run.trace
    };
    for seed in 0..5 {
        let (one, other) = (trace(seed), trace(seed));
        assert!(one.len() > STEPS);
        assert_eq!(one, other, "seed {seed}");
    }
    assert_ne!(trace(1), trace(2));
}
