//! `harness containers --scenario faults`, the cases that are quick, and one that must fail.

use std::time::Duration;

use harness::containers::wanted;
use harness::trials::faults::{FaultOptions, Row, deceived, hangs, quick, run, table, two_nodes};

/// A hang that is long for a node and short for a test. The command hangs for a minute.
const HANG: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fault_between_server_and_node_loses_a_block() {
    if !wanted("no_fault_between_server_and_node_loses_a_block").unwrap() {
        return;
    }
    let options = FaultOptions { hang: HANG, settle: Duration::from_mins(1) };
    let one_node = [quick(), hangs(options.hang)].concat();
    let cases = one_node.len() + two_nodes().len();
    let rows = run(options, vec![one_node, two_nodes()]).await.unwrap();
    assert_eq!(rows.len(), cases);
    assert!(rows.iter().all(Row::passed), "{}", table(&rows));
    // Nothing is proved where nothing was found.
    assert!(rows.iter().all(|row| row.acknowledged >= 4 && row.in_chain >= 2), "{}", table(&rows));
    assert!(rows.last().is_some_and(|row| row.failovers > 0), "{}", table(&rows));
}

/// The judge is judged: an answer that is a lie does lose a block, and that must be seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_that_is_truly_lost_is_reported() {
    if !wanted("a_block_that_is_truly_lost_is_reported").unwrap() {
        return;
    }
    // The loss does not go away by waiting for it.
    let options = FaultOptions { hang: HANG, settle: Duration::from_secs(1) };
    let rows = run(options, vec![vec![deceived()]]).await.unwrap();
    let [row] = &rows[..] else { unreachable!("one case") };
    assert_eq!(row.lost.len(), 1, "{row:?}");
    assert!(!row.passed() && !row.misreported.is_empty(), "{row:?}");
}
