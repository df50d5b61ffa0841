//! Bytes that no miner would send: an error reply or a close, never a panic, never an effect on
//! another connection.

use super::*;
use proptest::prelude::*;

/// One line of what strangers send.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let method = prop::sample::select(vec![
        "mining.subscribe",
        "mining.authorize",
        "mining.configure",
        "mining.submit",
        "mining.suggest_difficulty",
        "mining.get_transactions",
        "mining.ping",
        "client.get_version",
        "",
    ]);
    let value = prop_oneof![
        Just("null".to_owned()),
        Just("{}".to_owned()),
        Just("[[\"version-rolling\"],{\"version-rolling.mask\":7}]".to_owned()),
        "-?[0-9]{1,20}(\\.[0-9]{1,5})?",
        "\"[ -!#-\\[\\]-~]{0,40}\"",
        "\"[0-9a-fA-F]{0,20}\"",
        Just("\"0000000100000000\"".to_owned()),
        Just("\"w\"".to_owned()),
        Just("\"\\u0000\\ud800\"".to_owned()),
    ];
    // An id comes back as it was sent, so one that is no JSON would come back as none.
    let id = value.clone().prop_filter("valid", |id| !id.contains("\\ud800"));
    let request =
        (id, method, prop::collection::vec(value, 0..8)).prop_map(|(id, method, params)| {
            let params = params.join(",");
            format!("{{\"id\":{id},\"method\":\"{method}\",\"params\":[{params}]}}\n").into_bytes()
        });
    prop_oneof![
        4 => request,
        1 => prop::collection::vec(any::<u8>(), 0..200),
        1 => (0_usize..20_000).prop_map(|depth| vec![b'['; depth]),
        1 => (0_usize..9_000).prop_map(|depth| [b"{\"a\":".repeat(depth), b"\n".to_vec()].concat()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn strangers_do_no_harm(
        lines in prop::collection::vec(line(), 1..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut rig = Rig::mining(easy());
        let (honest, heard) = rig.miner();
        let stranger = rig.connect();
        let bytes = lines.concat();
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        for pair in places.windows(2) {
            if rig.closed.contains(&stranger) {
                break;
            }
            let bytes = Bytes::copy_from_slice(&bytes[pair[0]..pair[1]]);
            rig.handle(Event::Received { conn: stranger, bytes });
            let said = rig.hear(stranger);
            for line in said.lines() {
                let reply: serde_json::Value = serde_json::from_str(line).expect("valid JSON");
                prop_assert!(reply.get("id").is_some(), "{}", line);
            }
        }
        rig.handle(Event::Closed { conn: stranger });
        prop_assert_eq!(rig.hear(honest), "");
        let work = Work::from(&heard, "00000000", 5);
        let said = rig.say(honest, &work.submit(3, 5, work.nonce(0, false)));
        prop_assert_eq!(said, "{\"id\":3,\"result\":true,\"error\":null}\n");
    }
}

#[test]
fn an_endless_line_ends_the_connection() {
    let mut rig = Rig::mining(config());
    let conn = rig.connect();
    for _ in 0..17 {
        rig.handle(Event::Received { conn, bytes: Bytes::from(vec![b'a'; 1_024]) });
    }
    assert_eq!(rig.closed, [conn]);
}

#[test]
fn half_a_message_waits_for_the_other_half() {
    let mut rig = Rig::mining(config());
    let conn = rig.connect();
    assert_eq!(rig.say(conn, "{\"id\":1,\"method\":\"mining.pi"), "");
    assert_eq!(rig.say(conn, "ng\"}\n"), "{\"id\":1,\"result\":\"pong\",\"error\":null}\n");
}

#[test]
fn a_browser_is_sent_away() {
    let mut rig = Rig::mining(config());
    let conn = rig.connect();
    rig.say(conn, "GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: b\r\nAccept: */*\r\nX: y\r\n\r\n");
    assert_eq!(rig.closed, [conn]);
}
