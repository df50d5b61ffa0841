//! `harness containers --scenario kill9`, a few rounds of it: the real program, killed.

use std::path::Path;

use harness::containers::wanted;
use harness::trials::kill9::{Kill9Options, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_block_is_lost_by_a_kill() {
    if !wanted("no_acknowledged_block_is_lost_by_a_kill").unwrap() {
        return;
    }
    let program = Path::new(env!("CARGO_BIN_EXE_harness")).with_file_name("drivechain-stratum");
    let report = run(&Kill9Options { rounds: 8, seed: 8, program }).await.unwrap();
    assert!(report.passed(), "{report}");
    assert_eq!((report.kills, report.stops), (7, 2), "{report}");
    // Two of the rounds have blocks that only the journal can know, and the rest some more.
    assert!(report.recovered >= 2 && report.acknowledged >= 8, "{report}");
    assert!(report.shares_kept > 0, "{report}");
}
