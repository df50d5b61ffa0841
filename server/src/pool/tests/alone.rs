//! A coinbase alone on a new tip, and the whole job after it.

use super::*;

fn early() -> Config {
    Config { empty_first: true, ..easy() }
}

/// The header of block `[hash; 32]` on `[parent; 32]`.
fn header(hash: u8, parent: u8, height: u32) -> Result<HttpReply, CallError> {
    let [hash, parent] = [hash, parent].map(|byte| hex::encode(&[byte; 32]));
    json(&format!(
        "{{\"hash\":\"{hash}\",\"confirmations\":1,\"height\":{height},\"mediantime\":{},\
         \"bits\":\"207fffff\",\"previousblockhash\":\"{parent}\"}}",
        NODE_TIME - 500,
    ))
}

impl Rig {
    /// The node publishes that block `[tip; 32]` is its tip now.
    fn publishes(&mut self, tip: u8) {
        let topic = Bytes::from_static(b"hashblock");
        self.handle(Event::Notified { node: 0, topic, body: Bytes::from(vec![tip; 32]) });
    }
}

#[test]
fn a_new_tip_is_mined_on_before_its_template_is_there() {
    let mut rig = Rig::mining(early());
    let (conn, first) = rig.miner();
    rig.publishes(2);
    assert_eq!(rig.hear(conn), "");
    rig.reply("getblockheader", header(2, 1, 101));
    let heard = rig.hear(conn);
    let alone = Work::from(&heard, "00000000", 5);
    assert!(alone.clean && alone.branch.is_empty());
    assert_ne!(alone.previous, Work::from(&first, "00000000", 5).previous);
    let paid: u64 = alone.outputs().iter().map(|output| output.value.to_sat()).sum();
    assert_eq!(paid, 5_000_000_000);
    // Its block is a block like any other.
    rig.say(conn, &alone.submit(4, 5, alone.nonce(0, true)));
    assert_eq!(rig.asked("submitblock"), 1);
    rig.finish_writes();
    assert!(rig.hear(conn).contains("\"id\":4,\"result\":true"));
    rig.reply("getblocktemplate", template(2, 102));
    let whole = Work::from(&rig.hear(conn), "00000000", 5);
    assert!(!whole.clean, "work on the coinbase alone is as good as before");
    assert_eq!(whole.previous, alone.previous);
    assert_ne!(whole.job, alone.job);
    let later = Work::from(&heard, "00000000", 6);
    let reply = rig.say(conn, &later.submit(5, 6, later.nonce(0, false)));
    assert!(reply.contains("\"result\":true"), "{reply}");
}

#[test]
fn a_template_that_was_first_is_what_is_mined_on() {
    let mut rig = Rig::mining(early());
    let (conn, _) = rig.miner();
    rig.publishes(2);
    rig.reply_long_poll(template(2, 102));
    assert!(rig.hear(conn).contains("mining.notify"));
    rig.reply("getblockheader", header(2, 1, 101));
    assert_eq!(rig.hear(conn), "");
}

/// What daemons say of the old tip while the new one's template is on its way makes no job.
#[test]
fn it_commits_to_nothing_and_the_whole_job_to_what_is_asked_for_its_tip() {
    let mut rig = Rig::mining(Config { empty_first: true, ..with_sidechain(Fallback::Zero) });
    rig.wait(Duration::from_millis(300));
    let (conn, _) = rig.miner();
    rig.publishes(2);
    rig.reply("getblockheader", header(2, 1, 101));
    let heard = rig.hear(conn);
    assert!(heard.contains("mining.notify") && !heard.contains("d1617368"), "{heard}");
    rig.reply("getbestblockhash", json(&format!("\"{}\"", "07".repeat(32))));
    assert_eq!(rig.hear(conn), "", "that was for the tip before");
    rig.reply("getblocktemplate", template(2, 102));
    rig.reply("getbestblockhash", json(&format!("\"{}\"", "08".repeat(32))));
    let heard = rig.hear(conn);
    assert!(heard.contains(&"08".repeat(32)), "{heard}");
    assert!(!Work::from(&heard, "00000000", 5).clean);
}

/// A reorganisation back, while miners have nothing but a coinbase.
#[test]
fn the_old_tip_may_come_back() {
    let mut rig = Rig::mining(early());
    let (conn, first) = rig.miner();
    rig.publishes(2);
    rig.reply("getblockheader", header(2, 1, 101));
    rig.hear(conn);
    rig.publishes(1);
    rig.wait(Duration::from_secs(2));
    rig.reply("getblocktemplate", template(1, 101));
    let again = Work::from(&rig.hear(conn), "00000000", 5);
    assert!(again.clean);
    assert_eq!(again.previous, Work::from(&first, "00000000", 5).previous);
}

/// With very many miners the template is there before the coinbase alone is everywhere.
#[test]
fn who_was_not_reached_yet_gets_the_whole_job_in_its_place_and_first() {
    let mut rig = Rig::mining(early());
    let conns: Vec<ConnId> = (0..150).map(|_| rig.miner().0).collect();
    rig.publishes(2);
    rig.reply("getblockheader", header(2, 1, 101));
    let alone: Vec<String> = conns.iter().map(|conn| rig.hear(*conn)).collect();
    let reached = alone.iter().filter(|heard| !heard.is_empty()).count();
    assert!((1..75).contains(&reached), "{reached}");
    rig.reply("getblocktemplate", template(2, 102));
    let mut at_once = 0;
    for (conn, alone) in conns.iter().zip(&alone) {
        let heard = rig.hear(*conn);
        at_once += usize::from(!heard.is_empty());
        assert!(heard.is_empty() || alone.is_empty(), "who waits for work comes first");
    }
    assert!((1..75).contains(&at_once), "{at_once}");
    rig.wait(Duration::from_millis(1));
    let rest: Vec<String> = conns.iter().map(|conn| rig.hear(*conn)).collect();
    assert_eq!(rest.iter().filter(|heard| !heard.is_empty()).count(), 150 - at_once);
    for (rest, alone) in rest.iter().zip(&alone).filter(|(rest, _)| !rest.is_empty()) {
        assert_eq!(rest.matches("mining.notify").count(), 1, "{rest}");
        // Work of the tip before is void, and work on the coinbase alone is not.
        assert_eq!(Work::from(rest, "00000000", 5).clean, alone.is_empty());
    }
}
