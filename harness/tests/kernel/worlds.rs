//! Whole simulated runs on regtest's own difficulty: every block that the simulated node took from
//! the server or from a rival is one to Bitcoin Core's consensus code.

use std::collections::VecDeque;

use bitcoin::consensus::encode::serialize;
use harness::kernel::Judge;
use harness::plan::{Families, Plan, What};
use harness::sim::node::SimNode;
use harness::sim::world::Simulation;

/// A plan whose every second hash is a block, as on regtest. Nothing is paid from coins that are
/// made up: the node believes in them, and the kernel does not.
fn plan(seed: u64) -> Plan {
    let families = Families { horizon_ms: Some(60_000), ..Families::default() };
    let mut plan = Plan::from_seed(seed, &families);
    (plan.server.share_hashes, plan.server.block_shares) = (2, 1);
    plan.server.vardiff = None;
    plan.items.retain(|item| !matches!(item.what, What::Pay { .. } | What::Bid { .. }));
    plan
}

/// Shows `judge` every block that `node` keeps, parents first; how many.
fn show(judge: &Judge, node: &SimNode) -> u32 {
    let mut row: VecDeque<_> = node.chain().children(node.chain().active()[0]).collect();
    let mut shown = 0;
    while let Some(hash) = row.pop_front() {
        row.extend(node.chain().children(hash));
        let Some(block) = node.block(hash) else { continue };
        assert_eq!(judge.submit(&serialize(block.as_ref())), Ok(()), "{hash}");
        shown += 1;
    }
    shown
}

#[test]
fn every_block_of_a_simulated_run_is_one_to_the_kernel() {
    let (mut shown, mut ours) = (0, 0);
    for seed in 1..=30 {
        let plan = plan(seed);
        let mut simulation = Simulation::new(&plan, None);
        simulation.run();
        let ended = simulation.ended(None);
        assert_eq!(ended.broken, None, "seed {seed}");
        let judge = Judge::new().expect("a judge");
        let node = simulation.chain().node();
        shown += show(&judge, node);
        ours += ended.counts.get("block accepted").copied().unwrap_or(0);
        if !ended.counts.contains_key("block invalidated after it was accepted") {
            let height = node.chain().entry(judge.tip()).map(|entry| entry.height);
            assert_eq!(height, Some(node.chain().height()), "seed {seed}");
        }
    }
    assert!(ours > 500, "{ours} of {shown} blocks came through the server");
}
