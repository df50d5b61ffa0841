//! Every kept scenario passes: each is a bug that was found once, made as small as it gets.

use harness::plan::Plan;
use harness::simulate::run;

#[test]
fn what_was_found_once_stays_mended() {
    for (name, text) in fixtures::SCENARIOS {
        let plan: Plan = serde_json::from_str(text).expect(name);
        assert!(!plan.why.is_empty(), "{name} says what it is kept for");
        let run = run(&plan, None, false);
        assert_eq!(run.ended.broken, None, "{name}: {}", plan.why);
    }
}
