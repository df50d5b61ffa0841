//! The alarm is tested: every planted bug breaks a law that is meant to notice it, and its plan can
//! be made much smaller.

use harness::plan::{Families, Plan};
use harness::report::minimise::Minimiser;
use harness::sim::seam::{CANARIES, Canary};
use harness::simulate::canaries::catch;
use harness::simulate::run;

#[test]
fn every_planted_bug_is_noticed_by_its_law() {
    for (canary, name, _) in CANARIES {
        let caught = catch(canary);
        assert!(caught.is_ok(), "{name}: {caught:?}");
    }
}

#[test]
fn a_failing_plan_becomes_less_than_a_tenth_of_itself() {
    let canary = Some(Canary::NeverClean);
    let plan = Plan::from_seed(3, &Families::default());
    let law = |plan: &Plan| {
        let ended = run(plan, canary, false).ended;
        ended.broken.map(|broken| (broken.law, ended.at.as_millis()))
    };
    let (broken, _) = law(&plan).expect("it is noticed");
    let mut minimiser =
        Minimiser::new(|plan: &Plan| law(plan).filter(|(law, _)| *law == broken).map(|(_, at)| at));
    let small = minimiser.minimise(&plan);
    assert!(plan.size() > 20 && small.size() * 10 < plan.size(), "{small:?}");
}
