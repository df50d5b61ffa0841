//! Each family of real miners, in the simulated world: it finds shares, and the node takes a block
//! of its.

use harness::plan::{Families, Habit, MinerPlan, Plan};
use harness::simulate::run;
use simminer::persona::FAMILIES;

/// One miner of a family, and nothing that goes wrong.
fn plan(number: u64, family: &str) -> Plan {
    let families = Families { horizon_ms: Some(60_000), ..Families::default() };
    let mut plan = Plan::from_seed(number, &families);
    plan.items.clear();
    plan.server.enforcer = false;
    // The smallest firmware holds no more.
    plan.server.daemons.truncate(1);
    (plan.server.share_hashes, plan.server.block_shares) = (8, 10);
    plan.miners = vec![MinerPlan {
        id: 1,
        habit: Habit::Honest,
        share_ms: 500,
        joins_ms: 0,
        rolls: true,
        family: Some(family.to_owned()),
        asks: None,
    }];
    plan
}

#[test]
fn every_family_finds_a_block() {
    for (number, family) in (1..).zip(FAMILIES) {
        let ended = run(&plan(number, family), None, false).ended;
        assert_eq!(ended.broken, None, "{family}");
        let count = |name: &str| ended.counts.get(name).copied().unwrap_or(0);
        let shares = count("share accepted") + count("block share answered");
        assert!(shares > 20, "{family}: {shares} shares");
        assert!(count("block accepted") > 0, "{family}: {:?}", ended.counts);
    }
}
