//! Counted shares and the share log: written in time, never twice, and what a bad disk does.

use super::*;
use crate::journal::record::Record;

/// Worker, difficulty and number of each record of a write; none for other writes.
fn records(op: &DiskOp) -> Vec<(String, String, u64)> {
    let DiskOp::AppendShares { run: 1, records, .. } = op else { return Vec::new() };
    let lines = records.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let read = lines.map(|line| Record::read(line).expect("it was just written"));
    read.map(|record| {
        let share = record.share;
        (share.worker.into_owned(), share.difficulty.to_string(), record.number)
    })
    .collect()
}

fn short(waiting: usize) -> Config {
    Config { limits: Limits { journal_waiting: waiting, ..Limits::default() }, ..easy() }
}

/// A share that is no block.
fn share(rig: &mut Rig, conn: ConnId, work: &Work, from: &mut u32) -> String {
    *from = work.nonce(*from + 1, false);
    rig.say(conn, &work.submit(4, 5, *from))
}

fn fail(rig: &mut Rig, error: WriteError) {
    let (write, _) = rig.writes.remove(0);
    rig.handle(Event::PersistFailed { write, error });
}

fn not_kept() -> WriteError {
    WriteError::NotKept("no room".to_owned())
}

fn unknown() -> WriteError {
    WriteError::Unknown("input/output error".to_owned())
}

#[test]
fn a_share_is_written_a_moment_later_with_the_difficulty_of_its_job() {
    let mut rig = Rig::mining(easy());
    let (conn, heard) = rig.miner();
    let work = Work::from(&heard, "00000000", 5);
    let mut nonce = 0;
    assert!(share(&mut rig, conn, &work, &mut nonce).contains("true"));
    rig.wait(Duration::from_millis(60));
    assert!(share(&mut rig, conn, &work, &mut nonce).contains("true"));
    // The same again, and one that is too late, are no credit.
    assert!(rig.say(conn, &work.submit(4, 5, nonce)).contains("[22,"));
    assert_eq!(rig.writes, []);
    rig.wait(Duration::from_millis(40));
    let written = rig.finish_writes();
    let expected = |number| ("w".to_owned(), "0.000000000001".to_owned(), number);
    assert_eq!((written.len(), records(&written[0])), (1, vec![expected(1), expected(2)]));
    let block = work.nonce(nonce + 1, true);
    rig.say(conn, &work.submit(5, 5, block));
    rig.wait(Duration::from_millis(100));
    let written = rig.finish_writes();
    assert_eq!((written.len(), records(&written[1])), (2, vec![expected(3)]), "a block counts");
}

#[test]
fn enough_shares_are_written_at_once() {
    let limits = Limits { journal_batch: 2, ..Limits::default() };
    let mut rig = Rig::mining(Config { limits, ..easy() });
    let (conn, heard) = rig.miner();
    let work = Work::from(&heard, "00000000", 5);
    let mut nonce = 0;
    for written in [0, 1, 1] {
        share(&mut rig, conn, &work, &mut nonce);
        assert_eq!(rig.writes.len(), written);
    }
    assert_eq!(rig.finish_writes().len(), 1);
    assert_eq!(rig.writes.len(), 0, "the third waits for its time");
}

#[test]
fn a_full_disk_is_waited_out_and_blocks_go_on() {
    let mut rig = Rig::mining(short(3));
    let (conn, heard) = rig.miner();
    let work = Work::from(&heard, "00000000", 5);
    let mut nonce = 0;
    share(&mut rig, conn, &work, &mut nonce);
    rig.wait(Duration::from_millis(100));
    let first = rig.writes[0].1.clone();
    fail(&mut rig, not_kept());
    for _ in 0..2 {
        assert!(share(&mut rig, conn, &work, &mut nonce).contains("true"), "there is room");
    }
    let said = share(&mut rig, conn, &work, &mut nonce);
    assert!(said.contains("[20,\"The server cannot write down"), "{said}");
    let block = work.nonce(nonce + 1, true);
    assert!(rig.say(conn, &work.submit(5, 5, block)).contains("[20,"));
    assert_eq!(rig.asked("submitblock"), 1, "a block is a block");
    rig.writes.clear();
    rig.wait(Duration::from_millis(500));
    assert_eq!(rig.writes[0].1, first, "the same, asked for again");
    rig.finish_writes();
    let rest = rig.finish_writes();
    let numbers: Vec<u64> = records(&rest[0]).iter().map(|record| record.2).collect();
    assert_eq!(numbers, [2, 3]);
    // What was refused may be handed in again.
    assert!(rig.say(conn, &work.submit(6, 5, nonce)).contains("true"));
    assert_eq!(rig.halted, None);
}

/// DISK-2: no yes after a sync that failed.
#[test]
fn a_failed_sync_ends_it_before_another_share_is_acknowledged() {
    let mut rig = Rig::mining(easy());
    let (conn, heard) = rig.miner();
    let work = Work::from(&heard, "00000000", 5);
    share(&mut rig, conn, &work, &mut 0);
    rig.wait(Duration::from_millis(100));
    fail(&mut rig, unknown());
    let Some(Halt::Fatal(why)) = &rig.halted else { panic!("it ends") };
    assert!(why.contains("input/output error") && why.contains("look at the disk"), "{why}");
    assert_eq!(rig.closed, [conn]);
}

#[test]
fn a_failed_sync_waits_for_a_block_that_is_nowhere_else() {
    let mut rig = Rig::mining(easy());
    let (conn, heard) = rig.miner();
    let work = Work::from(&heard, "00000000", 5);
    rig.say(conn, &work.submit(3, 5, work.nonce(0, true)));
    // The block, then the share that it is.
    fail(&mut rig, unknown());
    rig.wait(Duration::from_millis(100));
    fail(&mut rig, unknown());
    assert_eq!((rig.closed.clone(), rig.halted.clone()), (vec![conn], None));
    let before = rig.said.remove(&conn).unwrap_or_default();
    assert!(!before.contains("true"), "{before}");
    rig.wait(Duration::from_mins(5));
    assert_eq!(rig.halted, None, "longer than any stop");
    rig.reply("submitblock", json("null"));
    assert!(matches!(rig.halted, Some(Halt::Fatal(_))), "{:?}", rig.halted);
}

#[test]
fn a_stop_writes_what_waits_and_the_operator_does_not_wait_for_ever() {
    for fails in [false, true] {
        let mut rig = Rig::mining(easy());
        let (conn, heard) = rig.miner();
        let work = Work::from(&heard, "00000000", 5);
        share(&mut rig, conn, &work, &mut 0);
        rig.handle(Event::Stop);
        assert_eq!((rig.writes.len(), rig.halted.clone()), (1, None));
        if fails {
            fail(&mut rig, not_kept());
            rig.wait(Duration::from_millis(9_999));
            assert_eq!(rig.halted, None, "there may be room yet");
            rig.now.mono = rig.now.mono + Duration::from_millis(1);
            rig.pool.handle_timeout(rig.now);
            rig.drain();
        } else {
            rig.finish_writes();
        }
        assert_eq!(rig.halted, Some(Halt::Stopped), "{fails}");
    }
}
