//! Each lie must be noticed, and the truth must pass.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn hash(byte: u8) -> BlockHash {
    BlockHash::from_byte_array([byte; 32])
}

/// Two processes: the first is killed ten seconds after its start, the second stopped. Block 1 was
/// taken and is in the chain, block 2 was taken just before the kill and handed in after it, block
/// 3 is refused, share 4 is no block.
fn truth() -> Evidence {
    let start = Instant::now();
    let at = |seconds: u32| start + SECOND * seconds;
    let share = |byte: u8, solves: bool, seconds: u32, reply| Submission {
        hash: hash(byte),
        worker: "w".to_owned(),
        solves,
        sent: at(seconds),
        reply,
    };
    let refused = Reply::Refused("stale".to_owned());
    let killed = Life { started: start, ended: at(10), end: End::Killed };
    let stopped = Life { started: at(11), ended: at(20), end: End::Stopped };
    Evidence {
        testimony: Testimony {
            submissions: vec![
                share(1, true, 2, Some(Reply::Taken(at(2)))),
                share(2, true, 9, Some(Reply::Taken(at(9)))),
                share(3, true, 12, Some(refused)),
                share(4, false, 13, Some(Reply::Taken(at(13)))),
            ],
            not_understood: Vec::new(),
        },
        standings: [(1, Standing::InChain), (2, Standing::Stale), (3, Standing::Missing)]
            .map(|(byte, standing)| (hash(byte), standing))
            .into(),
        handed: [(1, 2), (2, 11)]
            .map(|(byte, seconds)| {
                let answer = "null".to_owned();
                Handed { hash: hash(byte), at: at(seconds), answer }
            })
            .into(),
        files: vec![(hash(1), Shelf::Accepted), (hash(2), Shelf::Inconclusive)],
        logged: vec![[1; 32], [4; 32]],
        summed: 2,
        lives: vec![killed, stopped],
    }
}

/// The only offence of a changed truth.
fn offence(change: impl FnOnce(&mut Evidence)) -> String {
    let mut evidence = truth();
    change(&mut evidence);
    let report = evidence.judge();
    assert!(!report.passed());
    assert_eq!(report.offences.len(), 1, "{report}");
    report.offences.concat()
}

#[test]
fn the_truth_passes_and_is_counted() {
    let report = truth().judge();
    assert!(report.passed(), "{report}");
    assert_eq!((report.kills, report.stops), (1, 1));
    assert_eq!((report.found, report.acknowledged, report.refused), (3, 2, 1));
    assert_eq!((report.in_chain, report.stale, report.recovered), (1, 1, 1));
    assert_eq!((report.shares, report.shares_kept), (3, 2));
    assert_eq!(report.oldest_forgotten, SECOND);
}

#[test]
fn an_acknowledged_block_that_the_node_does_not_have_is_lost() {
    let forged = |evidence: &mut Evidence| {
        let mut forged = evidence.testimony.submissions[0].clone();
        forged.hash = hash(9);
        evidence.testimony.submissions.push(forged);
        evidence.logged.push([9; 32]);
        evidence.summed += 1;
    };
    let said = offence(forged);
    assert!(said.contains("is lost: Missing at the node (never handed to it)"), "{said}");
    let mut evidence = truth();
    forged(&mut evidence);
    assert_eq!(evidence.judge().lost, [hash(9)]);
}

#[test]
fn an_acknowledged_block_that_the_node_found_invalid_is_lost() {
    let mut evidence = truth();
    evidence.standings.insert(hash(1), Standing::Invalid);
    let report = evidence.judge();
    assert_eq!(report.lost, [hash(1)]);
    assert_eq!(report.offences.len(), 2, "its file lies too: {report}");
}

#[test]
fn what_is_counted_twice_or_without_reason_is_noticed() {
    let twice = offence(|evidence| {
        evidence.logged.push([1; 32]);
        evidence.summed += 1;
    });
    assert!(twice.contains("in the log twice"), "{twice}");
    let unsent = offence(|evidence| {
        evidence.logged.push([8; 32]);
        evidence.summed += 1;
    });
    assert!(unsent.contains("nobody sent it"), "{unsent}");
    let refused = offence(|evidence| {
        evidence.logged.push([3; 32]);
        evidence.summed += 1;
    });
    assert!(refused.contains("was refused"), "{refused}");
    let files = offence(|evidence| evidence.files.push((hash(1), Shelf::Inconclusive)));
    assert!(files.contains("two files"), "{files}");
    let sum = offence(|evidence| evidence.summed = 3);
    assert!(sum.contains("adds up 3 shares of 2"), "{sum}");
}

#[test]
fn a_share_may_be_forgotten_by_a_kill_and_only_when_it_is_new() {
    let stopped = offence(|evidence| {
        evidence.logged.pop();
        evidence.summed -= 1;
    });
    assert!(stopped.contains("process 2 was Stopped"), "{stopped}");
    let old = offence(|evidence| {
        evidence.logged.remove(0);
        evidence.summed -= 1;
    });
    assert!(old.contains("8000 ms before process 1 was Killed"), "{old}");
}

#[test]
fn a_block_that_nobody_judged_or_that_was_refused_is_noticed() {
    for shelf in [Shelf::Pending, Shelf::Rejected] {
        let said = offence(|evidence| evidence.files[0].1 = shelf);
        assert!(said.contains(&format!("kept as {shelf:?}, and is InChain")), "{said}");
    }
}

#[test]
fn a_witness_who_missed_something_and_a_trial_of_nothing_do_not_pass() {
    let said = offence(|evidence| evidence.testimony.not_understood.push("what?".to_owned()));
    assert_eq!(said, "what?");
    let said = offence(|evidence| {
        evidence.handed[1].at = evidence.lives[0].started;
        let last = evidence.lives[1];
        evidence.lives.resize(ROUNDS_TO_RECOVER + 1, last);
    });
    assert!(said.contains("no restart recovered a block"), "{said}");
}
