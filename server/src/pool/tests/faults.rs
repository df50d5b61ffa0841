//! What happens when something goes wrong: with candidates, with the node, with the disk.

use super::*;

fn refused(code: u8) -> String {
    format!("\"error\":[{code},")
}

#[test]
fn candidates_that_do_not_count() {
    let mut rig = Rig::mining(Config { difficulty: Difficulty::ONE, ..config() });
    let (conn, heard) = rig.miner();
    let work = Work::from(&heard, "00000000", 5);
    let weak = work.nonce(0, false);
    let mut check = |line: String, code| {
        let said = rig.say(conn, &line);
        assert!(said.contains(&refused(code)), "{line} {said}");
    };
    check(work.submit(3, 5, weak), 23);
    check(work.submit(3, 5, weak).replace(&work.job, "0000000100000009"), 21);
    check(work.submit(3, 5, weak).replace("\"w\"", "\"stranger\""), 24);
    assert_eq!(rig.asked("submitblock"), 0);
    // From here on the header changes, and every second one is a block by chance.
    let mut check = |line: String, code| {
        let said = rig.say(conn, &line);
        assert!(said.contains(&refused(code)), "{line} {said}");
    };
    let time = format!("{:08x}", work.time);
    for late_or_early in [NODE_TIME - 601, NODE_TIME + 7_001, 0, u32::MAX] {
        check(work.submit(3, 5, weak).replace(&time, &format!("{late_or_early:08x}")), 20);
    }
    let bits = format!("{weak:08x}\",\"40000000\"");
    check(work.submit(3, 5, weak).replace(&format!("{weak:08x}\""), &bits), 20);
}

/// FAILURES 2: whatever is wrong with it, a block is a block.
#[test]
fn a_block_that_does_not_count_as_a_share_is_still_a_block() {
    let stranger = |work: &Work, nonce| work.submit(3, 5, nonce).replace("\"w\"", "\"stranger\"");
    let mut rig = Rig::mining(config());
    let (conn, heard) = rig.miner();
    let work = Work::from(&heard, "00000000", 5);
    let first = work.nonce(0, true);
    let said = rig.say(conn, &stranger(&work, first));
    assert!(said.contains(&refused(24)), "{said}");
    assert_eq!(rig.asked("submitblock"), 1);

    // Stale: the tip is gone for longer than the grace, and still it is offered, once.
    rig.reply_long_poll(template(2, 102));
    rig.wait(Duration::from_secs(6));
    let second = work.nonce(first + 1, true);
    for _ in 0..2 {
        let said = rig.say(conn, &work.submit(4, 5, second));
        assert!(said.contains(&refused(21)), "{said}");
        assert_eq!(rig.asked("submitblock"), 2);
    }
}

#[test]
fn a_repeated_block_is_a_duplicate_and_not_offered_twice() {
    let mut rig = Rig::mining(easy());
    let (conn, heard) = rig.miner();
    let work = Work::from(&heard, "00000000", 5);
    let nonce = work.nonce(0, true);
    rig.say(conn, &work.submit(3, 5, nonce));
    let spelt_otherwise = work.submit(4, 5, nonce).replace(':', " : ");
    let again = rig.say(conn, &spelt_otherwise);
    assert_eq!(again, "", "behind the parked one");
    rig.finish_writes();
    let said = rig.hear(conn);
    assert!(said.starts_with("{\"id\":3,\"result\":true") && said.contains(&refused(22)), "{said}");
    assert_eq!(rig.asked("submitblock"), 1);
}

#[test]
fn shares_for_a_left_tip_count_through_the_grace() {
    let mut rig = Rig::mining(easy());
    let (conn, heard) = rig.miner();
    let work = Work::from(&heard, "00000000", 5);
    let first = work.nonce(0, false);
    rig.reply_long_poll(template(2, 102));
    rig.wait(Duration::from_secs(5));
    assert!(rig.say(conn, &work.submit(3, 5, first)).contains("\"result\":true"));
    rig.wait(Duration::from_millis(1));
    let second = work.nonce(first + 1, false);
    assert!(rig.say(conn, &work.submit(4, 5, second)).contains(&refused(21)));
}

/// FAILURES 9: clean by the parent's hash, not by height.
#[test]
fn a_reorganisation_to_equal_height_is_clean() {
    let mut rig = Rig::mining(config());
    let (conn, _) = rig.miner();
    rig.wait(Duration::from_secs(10));
    rig.reply("getblocktemplate", template(7, 101));
    assert!(Work::from(&rig.hear(conn), "00000000", 0).clean);
}

#[test]
fn an_old_answer_does_not_turn_the_tip_back() {
    let mut rig = Rig::mining(config());
    let (conn, _) = rig.miner();
    rig.wait(Duration::from_secs(10));
    rig.reply_long_poll(template(2, 102));
    rig.hear(conn);
    // Asked before the new tip was learnt, answered after.
    rig.reply("getblocktemplate", template(1, 101));
    assert_eq!(rig.hear(conn), "");
    assert_eq!(rig.asked("getblocktemplate"), 2, "asked again at once, and a long poll");
    rig.reply("getblocktemplate", template(1, 101));
    assert!(Work::from(&rig.hear(conn), "00000000", 0).clean, "it insists: a reorganisation");
}

#[test]
fn a_node_in_trouble_is_asked_until_it_works_and_miners_keep_their_job() {
    let trouble = [
        Err(CallError::Connect("refused".to_owned())),
        Err(CallError::Timeout),
        Ok(HttpReply { status: 401, body: Bytes::new() }),
        Ok(HttpReply { status: 500, body: Bytes::from_static(b"<html>") }),
        json(r#"{"height":1}"#),
    ];
    // That work is repeated after a while is another matter.
    let limits = Limits { work_silence: Duration::from_hours(1), ..Limits::default() };
    let mut rig = Rig::mining(Config { limits, ..config() });
    let (conn, _) = rig.miner();
    for reply in trouble {
        rig.wait(Duration::from_secs(10));
        rig.reply("getblocktemplate", reply);
        rig.wait(Duration::from_secs(1));
        assert!(rig.asked("getblocktemplate") >= 2, "asked again within a second");
        assert_eq!(
            (rig.hear(conn), rig.closed.len(), rig.halted.clone()),
            (String::new(), 0, None)
        );
    }
    rig.reply("getblocktemplate", template(1, 101));
    assert!(rig.hear(conn).contains("mining.notify"));
}

#[test]
fn a_bad_template_is_refused_and_the_last_job_stays() {
    let mut rig = Rig::mining(config());
    let (conn, _) = rig.miner();
    let Ok(mut reply) = template(2, 102) else { panic!("a reply") };
    let spoilt =
        String::from_utf8(reply.body.to_vec()).expect("text").replace("6a24aa21", "6a24aa22");
    reply.body = Bytes::from(spoilt);
    rig.reply_long_poll(Ok(reply));
    assert_eq!(rig.hear(conn), "");
}

#[test]
fn what_makes_no_sense_to_go_on_with_at_the_start() {
    let halt = |reply| {
        let mut rig = Rig::new(config());
        rig.reply("getblockchaininfo", reply);
        match rig.halted {
            Some(Halt::Fatal(why)) => why,
            other => panic!("{other:?}"),
        }
    };
    let wrong_chain = halt(json(r#"{"chain":"main","blocks":1}"#));
    assert!(wrong_chain.contains("set NETWORK=main"), "{wrong_chain}");
    let password = halt(Ok(HttpReply { status: 401, body: Bytes::new() }));
    assert!(password.contains("RPC_PASSWORD"), "{password}");
}

#[test]
fn what_may_pass_at_the_start_is_waited_for() {
    let syncing = "{\"error\":{\"code\":-28,\"message\":\"Loading block index...\"}}";
    let mut rig = Rig::new(config());
    rig.reply("getblockchaininfo", Err(CallError::Connect("refused".to_owned())));
    rig.wait(Duration::from_secs(1));
    rig.reply(
        "getblockchaininfo",
        Ok(HttpReply { status: 500, body: Bytes::from_static(syncing.as_bytes()) }),
    );
    rig.wait(Duration::from_secs(1));
    rig.reply("getblockchaininfo", json(r#"{"chain":"regtest","blocks":100}"#));
    assert_eq!(rig.asked("getblocktemplate"), 1);
    let initial = "{\"error\":{\"code\":-10,\"message\":\"in initial sync\"}}";
    rig.reply(
        "getblocktemplate",
        Ok(HttpReply { status: 500, body: Bytes::from_static(initial.as_bytes()) }),
    );
    rig.wait(Duration::from_secs(1));
    rig.reply("getblocktemplate", template(1, 101));
    assert_eq!(rig.pool.counters().jobs, 1);
}

#[test]
fn a_disk_that_cannot_be_written_stops_the_start_and_not_a_block() {
    let failed = |rig: &Rig| Event::PersistFailed {
        write: rig.writes[0].0,
        error: WriteError::NotKept("full".to_owned()),
    };
    let mut rig = Rig::new(config());
    let event = failed(&rig);
    rig.handle(event);
    assert!(matches!(rig.halted, Some(Halt::Fatal(_))));

    let mut rig = Rig::mining(easy());
    let (conn, heard) = rig.miner();
    let work = Work::from(&heard, "00000000", 5);
    rig.say(conn, &work.submit(4, 5, work.nonce(0, true)));
    let event = failed(&rig);
    rig.handle(event);
    assert_eq!((rig.hear(conn), rig.halted.clone()), (String::new(), None), "not safe yet");
    rig.writes.clear();
    rig.reply("submitblock", json("null"));
    assert!(rig.hear(conn).contains("\"id\":4,\"result\":true"));
    assert_eq!(rig.writes, [], "there is no file to move");
}

#[test]
fn a_miner_that_does_not_read_is_cut_off_alone() {
    let mut rig = Rig::mining(Config {
        limits: Limits { outbox_bytes: 3_000, ..Limits::default() },
        ..config()
    });
    let (deaf, _) = rig.miner();
    let (other, _) = rig.miner();
    for tip in 2..9 {
        rig.reply_long_poll(template(tip, 100 + u32::from(tip)));
        assert!(rig.hear(other).contains("mining.notify"));
    }
    assert_eq!(rig.closed, [deaf]);
}

#[test]
fn connections_are_bounded_and_leases_come_back() {
    let limits = Limits { sessions: 2, ..Limits::default() };
    let mut rig = Rig::mining(Config { limits, ..config() });
    let (first, _) = rig.miner();
    rig.miner();
    let third = rig.connect();
    assert_eq!(rig.closed, [third]);
    rig.handle(Event::Closed { conn: third });
    rig.handle(Event::Closed { conn: first });
    let (_, heard) = rig.miner();
    assert!(heard.contains("\"00000002\",8]"), "not the one that left a moment ago");
}

/// `submitblock`'s null is not the last word: an enforcer judges after the node did.
#[test]
fn a_block_that_leaves_the_chain_again_is_noticed() {
    let (mut rig, _) = Rig::whose_block_was_taken();
    rig.wait(Duration::from_millis(100));
    rig.reply("getblockheader", json(r#"{"confirmations":1}"#));
    rig.wait(Duration::from_millis(400));
    rig.reply("getblockheader", json(r#"{"confirmations":-1}"#));
    let counters = rig.pool.counters();
    assert_eq!((counters.blocks_accepted, counters.blocks_lost_again), (1, 1));
    // Why is not guessed, but asked.
    rig.reply("getchaintips", json("[]"));
    rig.wait(Duration::from_secs(20));
    assert_eq!(rig.asked("getblockheader"), 0);
}
