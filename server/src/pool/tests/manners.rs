//! Limits on what one miner may take, and what is said before anybody is sent away.

use super::*;

/// The node is away: nothing is new for an hour.
#[test]
fn nobody_is_left_without_a_word() {
    let mut rig = Rig::mining(config());
    let (conn, heard) = rig.miner();
    rig.wait(Duration::from_secs(49));
    assert_eq!(rig.hear(conn), "");
    rig.wait(Duration::from_secs(2));
    let again = rig.hear(conn);
    let (first, again) = (Work::from(&heard, "00000000", 5), Work::from(&again, "00000000", 5));
    assert!(!again.clean && first.job != again.job && first.previous == again.previous);
    rig.wait(Duration::from_mins(5));
    assert_eq!(rig.hear(conn).lines().count(), 6);
}

/// A miner that shakes hands, and one that does not.
#[test]
fn a_handshake_takes_a_minute_at_most() {
    let mut rig = Rig::mining(config());
    let (staying, _) = rig.miner();
    let idler = rig.connect();
    rig.say(idler, "{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n");
    rig.wait(Duration::from_secs(59));
    assert!(rig.closed.is_empty());
    rig.wait(Duration::from_secs(1));
    assert_eq!(rig.closed, [idler]);
    rig.wait(Duration::from_mins(30));
    assert!(!rig.closed.contains(&staying), "a slow miner has little to say");
    rig.say(staying, "{\"id\":3,\"method\":\"mining.ping\",\"params\":[]}\n");
    rig.wait(Duration::from_mins(59));
    assert!(!rig.closed.contains(&staying));
    rig.wait(Duration::from_mins(1));
    assert_eq!(rig.closed, [idler, staying], "an hour after its last word");
}

#[test]
fn an_address_has_so_many_connections_and_loopback_any() {
    let limits = Limits { sessions_per_address: 2, ..Limits::default() };
    let mut rig = Rig::mining(Config { limits, ..config() });
    let mut open = |peer: &str| {
        let conn = ConnId(rig.next_conn);
        rig.next_conn += 1;
        let peer = peer.parse().expect("an address");
        rig.handle(Event::Opened { conn, peer, port: PortId(0) });
        (conn, !rig.closed.contains(&conn))
    };
    let (first, let_in) = open("192.0.2.1:1");
    assert!(let_in && open("[::ffff:192.0.2.1]:2").1, "the same in either spelling");
    assert!(!open("192.0.2.1:3").1);
    assert!(open("192.0.2.2:1").1 && open("[2001:db8::1]:1").1 && open("[2001:db8::2]:1").1);
    assert!(!open("[2001:db8::3]:1").1, "one household");
    assert!(open("[2001:db8:0:1::3]:1").1 && open("[::1]:1").1);
    assert!((0..9).all(|port| open(&format!("127.0.0.1:{port}")).1));
    assert!((0..9).all(|port| open(&format!("[::1]:{port}")).1));
    rig.handle(Event::Closed { conn: first });
    let conn = ConnId(rig.next_conn);
    rig.next_conn += 1;
    rig.handle(Event::Opened { conn, peer: ([192, 0, 2, 1], 4).into(), port: PortId(0) });
    assert!(!rig.closed.contains(&conn), "one left");
}

#[test]
fn refused_shares_bring_fresh_work_then_a_fresh_connection_then_an_end() {
    let mut rig = Rig::mining(easy());
    let (conn, heard) = rig.miner();
    let work = Work::from(&heard, "00000000", 5);
    let nonce = work.nonce(0, false);
    assert!(rig.say(conn, &work.submit(3, 5, nonce)).contains("true"));
    let mut said = Vec::new();
    while !rig.closed.contains(&conn) {
        // The same share, over and over.
        said.push(rig.say(conn, &work.submit(4, 5, nonce)));
    }
    let line_with = |what: &str| said.iter().position(|heard| heard.contains(what));
    assert_eq!(line_with("mining.notify"), Some(31));
    assert!(
        said[31].starts_with("{\"id\":4,\"result\":null,\"error\":[22,"),
        "the reply comes first"
    );
    assert!(Work::from(&said[31], "00000000", 5).clean);
    assert_eq!(line_with("client.reconnect"), Some(127));
    assert_eq!(said.len(), 512);
}

#[test]
fn one_good_share_forgives_the_bad() {
    let mut rig = Rig::mining(easy());
    let (conn, heard) = rig.miner();
    for round in 0..40 {
        let work = Work::from(&heard, "00000000", round);
        let nonce = work.nonce(0, false);
        for _ in 0..20 {
            assert!(!rig.say(conn, &work.submit(4, round, nonce)).contains("mining.notify"));
        }
    }
    assert!(rig.closed.is_empty());
}

#[test]
fn a_stop_asks_miners_to_come_back() {
    let mut rig = Rig::mining(config());
    let (conn, _) = rig.miner();
    let idler = rig.connect();
    rig.handle(Event::Stop);
    let last = rig.said.remove(&conn).unwrap_or_default();
    assert_eq!(last, "{\"id\":null,\"method\":\"client.reconnect\",\"params\":[]}\n");
    assert_eq!(rig.said.remove(&idler), None);
    assert_eq!(rig.closed, [conn, idler]);
}

#[test]
fn transactions_are_shown_whole_or_not_at_all() {
    let mut rig = Rig::new(config());
    rig.finish_writes();
    rig.reply("getblockchaininfo", json(r#"{"chain":"regtest","blocks":143}"#));
    rig.reply("getblocktemplate", json(fixtures::GBT_BITCOIND_FOUR_BIDS));
    let (conn, heard) = rig.miner();
    let job = Work::from(&heard, "00000000", 0).job;
    let ask = |job: &str| {
        format!("{{\"id\":\"t\",\"method\":\"mining.get_transactions\",\"params\":[\"{job}\"]}}\n")
    };
    let said = rig.say(conn, &ask(&job));
    let reply: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    let shown = reply["result"].as_array().expect("a list");
    for hex in shown {
        let bytes = hex::decode(hex.as_str().expect("a string")).expect("hex");
        bitcoin::consensus::deserialize::<bitcoin::Transaction>(&bytes).expect("a transaction");
    }
    assert_eq!(shown.len(), 5, "two of seven lost their auction");
    assert!(rig.say(conn, &ask("7")).contains("[21,"));
    rig.pool.config.limits.outbox_bytes = 1_000;
    assert!(rig.say(conn, &ask(&job)).contains("too many to send"));
}
