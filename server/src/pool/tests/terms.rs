//! What one miner is given and nobody else: its difficulty, its own coinbase, its old session.

use super::*;
use crate::config::{PortRules, Solo, VardiffRules};

const ADDRESS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
const ADDRESS_SCRIPT: &str = "0014751e76e8199196d454941c45d1b3a323f1433bd6";

/// Difficulties around the network's own, 4.66e-10: where a share is found at once.
fn with_vardiff() -> Config {
    let difficulty = |text: &str| text.parse::<Difficulty>().expect(text);
    let min = difficulty("1e-12");
    let share_interval = Duration::from_secs(5);
    let vardiff = Some(VardiffRules { share_interval, min, max: None });
    let ports = vec![PortRules { difficulty: difficulty("1e-10"), vardiff }];
    Config { miners: Miners { ports, solo: None }, ..config() }
}

fn told(heard: &str) -> Vec<&str> {
    let said = heard.lines().filter(|line| line.contains("mining.set_difficulty\",\"params"));
    said.map(|line| line.split(['[', ']']).nth(1).expect("a number")).collect()
}

#[test]
fn a_silent_miner_is_given_an_easier_job_and_its_old_one_still_counts() {
    let mut rig = Rig::mining(with_vardiff());
    let (conn, first) = rig.miner();
    assert_eq!(told(&first), ["0.0000000001"]);
    rig.wait(Duration::from_secs(29));
    assert!(told(&rig.hear(conn)).is_empty());
    rig.wait(Duration::from_secs(2));
    let second = rig.hear(conn);
    assert_eq!(told(&second), ["0.000000000007"]);
    let (old, new) = (Work::from(&first, "00000000", 1), Work::from(&second, "00000000", 1));
    assert_eq!((old.job.len(), new.job.len()), (16, 18), "a name of its own");
    assert!(!new.clean && old.coinbase != new.coinbase, "and a search of its own");
    for work in [old, new] {
        let said = rig.say(conn, &work.submit(3, 1, work.nonce(0, false)));
        assert_eq!(said, "{\"id\":3,\"result\":true,\"error\":null}\n");
    }
    assert_eq!(rig.pool.counters().shares_rejected, 0);
}

#[test]
fn a_fast_miner_is_slowed_before_it_says_more() {
    let mut rig = Rig::mining(with_vardiff());
    let (conn, first) = rig.miner();
    let mut heard = String::new();
    for extranonce2 in 0..16 {
        let work = Work::from(&first, "00000000", extranonce2);
        heard += &rig.say(conn, &work.submit(3, extranonce2, work.nonce(0, false)));
    }
    // As hard as the network, and no harder.
    assert_eq!(told(&heard), ["0.0000000004656542373"]);
    assert!(heard.ends_with("false]}\n") && heard.contains("mining.notify"));
}

#[test]
fn a_suggestion_brings_a_job_of_its_own_after_the_reply() {
    let mut rig = Rig::mining(with_vardiff());
    let (conn, _) = rig.miner();
    let suggest = "{\"id\":7,\"method\":\"mining.suggest_difficulty\",\"params\":[\"3e-11\"]}\n";
    let heard = rig.say(conn, suggest);
    assert!(heard.starts_with("{\"id\":7,\"result\":true"), "{heard}");
    assert_eq!(told(&heard), ["0.00000000003"]);
    assert_eq!(heard.lines().count(), 3);
    assert_eq!(rig.say(conn, suggest).lines().count(), 1, "once");
}

/// FAILURES 6: everything that was ever announced is judged as it was announced.
#[test]
fn a_revision_that_was_never_given_is_no_job() {
    let mut rig = Rig::mining(with_vardiff());
    let (conn, first) = rig.miner();
    let mut work = Work::from(&first, "00000000", 1);
    work.job += "05";
    let said = rig.say(conn, &work.submit(3, 1, work.nonce(0, false)));
    assert!(said.contains("[21,\"Job not found (stale)\""), "{said}");
}

#[test]
fn a_solo_miners_block_pays_him_and_the_operator_his_fee() {
    let solo = Some(Solo { fee_basis_points: 200 });
    let mut rig = Rig::mining(Config { miners: Miners { solo, ..Miners::default() }, ..easy() });
    let (stranger, said) = rig.miner();
    assert!(said.contains("[24,\"The user name is not an address"), "{said}");
    assert!(said.contains("client.show_message") && !said.contains("notify\",\"params"), "{said}");
    rig.handle(Event::Closed { conn: stranger });
    let conn = rig.connect();
    let heard = rig.say(
        conn,
        &format!(
            "{{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}}\n\
             {{\"id\":2,\"method\":\"mining.authorize\",\"params\":[\"{ADDRESS}.rig\",\"\"]}}\n"
        ),
    );
    let work = Work::from(&heard, "00000001", 5);
    let outputs: Vec<(u64, String)> = work
        .outputs()
        .iter()
        .map(|output| (output.value.to_sat(), hex::encode(output.script_pubkey.as_bytes())))
        .collect();
    assert_eq!(outputs[0], (4_900_000_000, ADDRESS_SCRIPT.to_owned()));
    assert_eq!(outputs.last(), Some(&(100_000_000, "51".to_owned())));
    let submit = work.submit(4, 5, work.nonce(0, true));
    rig.say(conn, &submit.replace("\"w\"", &format!("\"{ADDRESS}.rig\"")));
    let DiskOp::PutBlock(found) = &rig.writes[0].1 else { panic!("a block is kept first") };
    let block: bitcoin::Block = bitcoin::consensus::deserialize(&found.bytes).expect("a block");
    assert_eq!(block.txdata[0].output, work.outputs());
    assert!(block.check_merkle_root() && block.check_witness_commitment());
}

#[test]
fn small_firmware_gets_what_fits_or_no_work() {
    let mut rig = Rig::mining(with_sidechain(Fallback::Zero));
    rig.reply("getbestblockhash", json(&format!("\"{}\"", "ab".repeat(32))));
    let (_, heard) = rig.miner_called("NerdMinerV2/1.8.3");
    assert_eq!(Work::from(&heard, "00000000", 0).outputs().len(), 3, "one commitment fits");
    // With the messages of a real enforcer it is more than NerdMiner's 255 bytes.
    let payout = ScriptBuf::from_bytes(vec![0x51; 34]);
    let mut rig = Rig::new(Config { payout, ..config() });
    rig.finish_writes();
    rig.reply("getblockchaininfo", json(r#"{"chain":"regtest","blocks":143}"#));
    rig.reply("getblocktemplate", json(fixtures::GBT_ENFORCER_THREE_BIDS));
    let (conn, heard) = rig.miner_called("NerdMinerV2/1.8.3");
    assert!(rig.closed.contains(&conn) && !heard.contains("notify\",\"params"), "{heard}");
    let message = heard.lines().last().expect("a last word");
    assert!(message.contains("client.show_message"), "{message}");
    assert!(message.contains("does not fit into this firmware (NerdMinerV2/1.8.3)"), "{message}");
    assert_eq!(rig.pool.counters().coinbases_too_large, 1);
}

#[test]
fn who_comes_back_goes_on_where_he_was() {
    let mut rig = Rig::mining(easy());
    let (conn, heard) = rig.miner();
    let work = Work::from(&heard, "00000000", 5);
    rig.handle(Event::Closed { conn });
    let conn = rig.connect();
    let subscribe =
        "{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"a/1\",\"00000000\"]}\n";
    assert!(rig.say(conn, subscribe).contains("\"00000000\",8]"), "the same search space");
    let authorize = "{\"id\":2,\"method\":\"mining.authorize\",\"params\":[\"w\",\"x\"]}\n";
    let again = rig.say(conn, authorize);
    assert_ne!(Work::from(&again, "00000000", 5).job, work.job, "firmware ignores a repeated id");
    // What was found while the connection was gone.
    let said = rig.say(conn, &work.submit(3, 5, work.nonce(0, false)));
    assert_eq!(said, "{\"id\":3,\"result\":true,\"error\":null}\n");
    let said = rig.say(conn, &work.submit(4, 5, work.nonce(0, false)));
    assert!(said.contains("[22,"), "and only once: {said}");
}

#[test]
fn nobody_goes_on_with_what_is_not_his() {
    let mut rig = Rig::mining(easy());
    let (first, _) = rig.miner();
    let subscribe =
        "{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"a/1\",\"00000000\"]}\n";
    let conn = rig.connect();
    assert!(rig.say(conn, subscribe).contains("\"00000001\",8]"), "it is in use");
    rig.handle(Event::Closed { conn: first });
    let conn = ConnId(rig.next_conn);
    rig.next_conn += 1;
    let peer = SocketAddr::from(([192, 0, 2, 9], 1));
    rig.handle(Event::Opened { conn, peer, port: PortId(0) });
    assert!(rig.say(conn, subscribe).contains("\"00000002\",8]"), "it was another's");
    // Once its jobs are gone, it is nobody's.
    rig.reply_long_poll(template(2, 102));
    rig.wait(Duration::from_mins(11));
    let conn = rig.connect();
    assert!(rig.say(conn, subscribe).contains("\"00000003\",8]"));
    assert!(rig.pool.remains.is_empty());
}
