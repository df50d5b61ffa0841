//! What happens when nothing goes wrong.

use super::*;

#[test]
fn the_door_opens_once_there_is_work_and_the_generation_is_safe() {
    let mut rig = Rig::new(config());
    assert_eq!(rig.writes.len(), 1);
    rig.reply("getblockchaininfo", json(r#"{"chain":"regtest","blocks":100}"#));
    rig.reply("getblocktemplate", template(1, 101));
    assert!(!rig.listening, "a crash now would repeat this generation");
    assert_eq!(rig.finish_writes(), [DiskOp::PutGeneration(1)]);
    assert!(rig.listening);
}

#[test]
fn handshake_difficulty_then_work() {
    let mut rig = Rig::mining(config());
    let (_, heard) = rig.miner();
    let order: Vec<&str> =
        ["\"id\":1,", "\"id\":2,", "set_difficulty\",\"params", "notify\",\"params"].into();
    let places: Vec<_> = order.iter().map(|what| heard.find(what).expect(what)).collect();
    assert!(places.is_sorted(), "{heard}");
    assert!(heard.contains("\"params\":[0.0000000004656542373]"), "eased to the network's");
    assert!(Work::from(&heard, "00000000", 0).clean);
}

#[test]
fn a_share_a_block_and_what_becomes_of_it() {
    let mut rig = Rig::mining(easy());
    let (conn, heard) = rig.miner();
    let work = Work::from(&heard, "00000000", 5);
    let share = work.nonce(0, false);
    assert_eq!(
        rig.say(conn, &work.submit(3, 5, share)),
        "{\"id\":3,\"result\":true,\"error\":null}\n"
    );
    assert_eq!(rig.asked("submitblock"), 0);

    let block = work.nonce(0, true);
    assert_eq!(rig.say(conn, &work.submit(4, 5, block)), "", "not before it is safe");
    assert_eq!(rig.asked("submitblock"), 1, "in the same instant");
    let DiskOp::PutBlock(found) = &rig.writes[0].1 else { panic!("a block is kept first") };
    assert_eq!(found.hash, work.hash(block));
    let decoded: bitcoin::Block = bitcoin::consensus::deserialize(&found.bytes).expect("a block");
    assert_eq!(decoded.block_hash().to_byte_array(), work.hash(block));

    rig.finish_writes();
    assert_eq!(rig.hear(conn), "{\"id\":4,\"result\":true,\"error\":null}\n");
    rig.reply("submitblock", json("null"));
    assert!(matches!(rig.writes[0].1, DiskOp::SettleBlock { .. }));
    let counters = rig.pool.counters();
    assert_eq!((counters.blocks_found, counters.blocks_accepted), (1, 1));
    assert_eq!(counters.shares_accepted, 2);
    assert_eq!(rig.asked("getblocktemplate"), 2, "a long poll, and one after the block");
}

#[test]
fn the_nodes_answer_frees_the_reply_when_the_disk_is_slower() {
    let mut rig = Rig::mining(easy());
    let (conn, heard) = rig.miner();
    let work = Work::from(&heard, "00000000", 5);
    rig.say(conn, &work.submit(4, 5, work.nonce(0, true)));
    rig.reply("submitblock", json("null"));
    assert_eq!(rig.hear(conn), "{\"id\":4,\"result\":true,\"error\":null}\n");
}

#[test]
fn a_new_tip_is_clean_and_a_refresh_is_not() {
    let mut rig = Rig::mining(config());
    let (conn, _) = rig.miner();
    rig.reply_long_poll(template(2, 102));
    let heard = rig.hear(conn);
    assert!(Work::from(&heard, "00000000", 0).clean);
    assert!(!heard.contains("set_difficulty"), "said once");
    rig.wait(Duration::from_secs(10));
    rig.reply("getblocktemplate", template(2, 102));
    assert!(!Work::from(&rig.hear(conn), "00000000", 0).clean);
}

/// The long poll and the question after a block of our own bring the same template.
#[test]
fn the_same_template_twice_at_once_is_one_job() {
    let (mut rig, conn) = Rig::whose_block_was_taken();
    rig.hear(conn);
    rig.reply("getblocktemplate", template(2, 102));
    assert!(rig.hear(conn).contains("mining.notify"));
    rig.reply_long_poll(template(2, 102));
    assert_eq!(rig.hear(conn), "");
    rig.wait(Duration::from_secs(10));
    rig.reply("getblocktemplate", template(2, 102));
    assert!(rig.hear(conn).contains("mining.notify"), "a refresh is a job");
}

#[test]
fn two_miners_search_apart() {
    let mut rig = Rig::mining(config());
    let (_, one) = rig.miner();
    let (_, other) = rig.miner();
    assert!(one.contains("\"00000000\",8]") && other.contains("\"00000001\",8]"));
}

#[test]
fn the_sidechain_is_committed_to_in_the_second_output() {
    let mut rig = Rig::mining(with_sidechain(Fallback::Zero));
    assert!(!rig.listening, "the job waits for h*");
    rig.reply("getbestblockhash", json(&format!("\"0102{}\"", "ff".repeat(30))));
    assert!(rig.listening);
    let (_, heard) = rig.miner();
    let outputs = Work::from(&heard, "00000000", 0).outputs();
    let script = hex::encode(outputs[1].script_pubkey.as_bytes());
    assert_eq!(script, format!("6a25d1617368090102{}", "ff".repeat(30)));
    assert_eq!(outputs[0].value.to_sat(), 5_000_000_000);
    assert!(outputs[2].script_pubkey.as_bytes().starts_with(&[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed]));
}

#[test]
fn a_sidechain_that_does_not_answer_is_zeroed_or_skipped() {
    for (fallback, outputs) in [(Fallback::Zero, 3), (Fallback::Skip, 2)] {
        let mut rig = Rig::mining(with_sidechain(fallback));
        rig.reply("getbestblockhash", Err(CallError::Timeout));
        let (_, heard) = rig.miner();
        let found = Work::from(&heard, "00000000", 0).outputs();
        assert_eq!(found.len(), outputs);
        if fallback == Fallback::Zero {
            assert_eq!(
                hex::encode(found[1].script_pubkey.as_bytes()),
                format!("6a25d161736809{}", "00".repeat(32))
            );
        }
    }
}

#[test]
fn a_slow_sidechain_holds_a_job_up_for_a_moment_and_comes_in_later() {
    let mut rig = Rig::mining(with_sidechain(Fallback::Skip));
    rig.wait(Duration::from_millis(249));
    assert!(!rig.listening);
    rig.wait(Duration::from_millis(2));
    assert!(rig.listening);
    let (conn, heard) = rig.miner();
    assert_eq!(Work::from(&heard, "00000000", 0).outputs().len(), 2);
    rig.reply("getbestblockhash", json(&format!("\"{}\"", "ab".repeat(32))));
    let work = Work::from(&rig.hear(conn), "00000000", 0);
    assert!(!work.clean);
    assert_eq!(work.outputs().len(), 3);
}

#[test]
fn a_new_tip_takes_back_the_question_for_the_old_one() {
    let mut rig = Rig::mining(with_sidechain(Fallback::Zero));
    rig.reply_long_poll(template(2, 102));
    assert_eq!(rig.cancelled.len(), 1);
    assert_eq!(rig.asked("getbestblockhash"), 1);
}

#[test]
fn the_best_bid_of_a_real_template_is_mined_with_its_commitment() {
    let mut rig = Rig::new(config());
    rig.finish_writes();
    rig.reply("getblockchaininfo", json(r#"{"chain":"regtest","blocks":143}"#));
    rig.reply("getblocktemplate", json(fixtures::GBT_BITCOIND_FOUR_BIDS));
    let (_, heard) = rig.miner();
    let outputs = Work::from(&heard, "00000000", 0).outputs();
    let slots: Vec<_> =
        outputs[1..4].iter().map(|output| output.script_pubkey.as_bytes()[6]).collect();
    assert_eq!(slots, [5, 9, 2], "in the order of the node's template");
    // The losers' 3,000 and 4,444 sat are gone with them.
    assert_eq!(outputs[0].value.to_sat(), 5_000_030_444 - 3_000 - 4_444);
}

#[test]
fn bids_stay_out_when_they_are_switched_off() {
    let mut rig = Rig::new(Config { blind: Mode::Off, ..config() });
    rig.finish_writes();
    rig.reply("getblockchaininfo", json(r#"{"chain":"regtest","blocks":143}"#));
    rig.reply("getblocktemplate", json(fixtures::GBT_BITCOIND_FOUR_BIDS));
    let (_, heard) = rig.miner();
    let outputs = Work::from(&heard, "00000000", 0).outputs();
    assert_eq!(outputs.len(), 2);
    assert_eq!(outputs[0].value.to_sat(), 5_000_000_000 + 2_000 + 3_000);
}

#[test]
fn blocks_of_an_earlier_run_are_offered_again() {
    let pending = vec![found_block(1), found_block(2)];
    let mut rig = Rig::after(config(), &Recovered { generation: 41, pending });
    assert_eq!(rig.asked("submitblock"), 2);
    assert_eq!(rig.finish_writes(), [DiskOp::PutGeneration(42)]);
    rig.reply("submitblock", Err(CallError::Timeout));
    rig.wait(Duration::from_secs(1));
    assert_eq!(rig.asked("submitblock"), 2, "the first came back");
}

#[test]
fn a_stop_waits_for_found_blocks_and_not_forever() {
    let mut rig = Rig::mining(easy());
    rig.handle(Event::Stop);
    assert_eq!(rig.halted, Some(Halt::Stopped));

    let mut rig = Rig::mining(easy());
    let (conn, heard) = rig.miner();
    let work = Work::from(&heard, "00000000", 5);
    rig.say(conn, &work.submit(4, 5, work.nonce(0, true)));
    rig.handle(Event::Stop);
    assert_eq!((rig.halted.clone(), rig.closed.clone()), (None, vec![conn]));
    rig.finish_writes();
    rig.reply("submitblock", json("null"));
    assert_eq!(rig.halted, None, "its verdict is still being written");
    rig.finish_writes();
    assert_eq!(rig.halted, Some(Halt::Stopped));

    let mut rig = Rig::mining(easy());
    let (conn, heard) = rig.miner();
    let work = Work::from(&heard, "00000000", 5);
    rig.say(conn, &work.submit(4, 5, work.nonce(0, true)));
    rig.handle(Event::Stop);
    rig.now.mono = rig.now.mono + Duration::from_secs(10);
    rig.pool.handle_timeout(rig.now);
    rig.drain();
    assert_eq!(rig.halted, Some(Halt::Stopped));
}

#[test]
fn who_comes_during_a_stop_is_told_of_the_stop() {
    let mut rig = Rig::mining(easy());
    let (conn, heard) = rig.miner();
    let work = Work::from(&heard, "00000000", 5);
    rig.say(conn, &work.submit(4, 5, work.nonce(0, true)));
    rig.handle(Event::Stop);
    assert_eq!(rig.halted, None, "it waits for the block");
    let conn = ConnId(conn.0 + 1);
    let (peer, port) = (([127, 0, 0, 1], 9).into(), PortId::default());
    rig.pool.handle(rig.now, Event::Opened { conn, peer, port });
    let close = rig.pool.poll_action();
    let told_why = matches!(close, Some(Action::Close { why: action::CloseReason::Stopping, .. }));
    assert!(told_why, "{close:?}");
}

/// A refresh that brings nothing new has another id and the same coinbase: one header, two names.
#[test]
fn the_same_work_counts_once_whatever_job_it_is_submitted_for() {
    let mut rig = Rig::mining(easy());
    let (conn, heard) = rig.miner();
    let first = Work::from(&heard, "00000000", 5);
    let share = first.nonce(0, false);
    assert!(rig.say(conn, &first.submit(3, 5, share)).contains("true"));
    rig.wait(Duration::from_secs(10));
    rig.reply("getblocktemplate", template(1, 101));
    let again = Work::from(&rig.hear(conn), "00000000", 5);
    assert_ne!(first.job, again.job);
    assert_eq!(first.coinbase, again.coinbase);
    assert!(rig.say(conn, &again.submit(4, 5, share)).contains("[22,"), "counted before");
}
