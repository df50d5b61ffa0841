//! Bytes that no miner would send: an error reply or a close, never a panic, never an effect on
//! another connection.

use super::*;
use proptest::prelude::*;

const METHODS: [&str; 15] = [
    "mining.subscribe",
    "mining.authorize",
    "mining.configure",
    "mining.submit",
    "mining.suggest_difficulty",
    "mining.suggest_target",
    "mining.extranonce.subscribe",
    "mining.multi_version",
    "mining.capabilities",
    "mining.get_transactions",
    "mining.ping",
    "pong",
    "client.get_version",
    "mining.fly",
    "",
];

fn value() -> impl Strategy<Value = String> + Clone {
    prop_oneof![
        Just("null".to_owned()),
        Just("{}".to_owned()),
        Just("[\"version-rolling\",\"minimum-difficulty\",\"info\"]".to_owned()),
        Just("{\"version-rolling.mask\":7}".to_owned()),
        Just(
            "{\"version-rolling.mask\":\"1fffe000\",\"minimum-difficulty.value\":1e-9}".to_owned()
        ),
        "-?[0-9]{1,20}(\\.[0-9]{1,5})?",
        "\"[ -!#-\\[\\]-~]{0,40}\"",
        "\"[0-9a-fA-F]{0,20}\"",
        Just("\"0000000100000000\"".to_owned()),
        Just("\"w\"".to_owned()),
        Just("1e-9".to_owned()),
    ]
}

/// One line of what strangers send.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let method = prop::sample::select(METHODS.to_vec());
    let value = prop_oneof![9 => value(), 1 => Just("\"\\u0000\\ud800\"".to_owned())];
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

/// What a firmware of its own mind may send: valid requests in any order, with any parameters. Some
/// of the submissions are blocks, whose replies wait for the disk.
fn conversation() -> impl Strategy<Value = Vec<String>> {
    let method = prop::sample::select(METHODS.to_vec());
    let job = Just("\"w\",\"0000000100000000\",\"0000000000000001\",\"6553f100\"".to_owned());
    let submit = (job, "[0-9a-f]{8}").prop_map(|(job, nonce)| {
        format!("\"method\":\"mining.submit\",\"params\":[{job},\"{nonce}\"]")
    });
    let valid = |value: &String| serde_json::from_str::<serde_json::Value>(value).is_ok();
    let value = value().prop_filter("JSON", valid);
    let any = (method, prop::collection::vec(value, 0..7)).prop_map(|(method, params)| {
        format!("\"method\":\"{method}\",\"params\":[{}]", params.join(","))
    });
    let known = prop::sample::select(vec![
        "\"method\":\"mining.subscribe\",\"params\":[\"a/1\",\"00000000\"]".to_owned(),
        "\"method\":\"mining.authorize\",\"params\":[\"w\",\"d=1e-11,md=1e-12\"]".to_owned(),
    ]);
    let requests = prop::collection::vec(prop_oneof![2 => submit, 2 => any, 1 => known], 1..40);
    requests.prop_map(|requests| {
        let numbered = requests.iter().enumerate();
        numbered.map(|(id, request)| format!("{{\"id\":{id},{request}}}\n")).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    /// DESIGN REPLY-1: one reply a request, in order, however the bytes are cut and the jobs fall.
    #[test]
    fn each_request_has_one_reply_in_its_turn(
        requests in conversation(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        tips in prop::collection::vec(any::<bool>(), 7),
    ) {
        let mut rig = Rig::mining(easy());
        let conn = rig.connect();
        let bytes = requests.concat();
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        let mut heard = String::new();
        for (pair, tip) in places.windows(2).zip(tips) {
            heard += &rig.say(conn, &bytes[pair[0]..pair[1]]);
            if tip {
                rig.wait(Duration::from_secs(10));
                if rig.asked("getblocktemplate") > 1 {
                    rig.reply("getblocktemplate", template(1, 101));
                }
                heard += &rig.hear(conn);
            }
        }
        rig.finish_writes();
        heard += &rig.hear(conn);
        let replies = heard.lines().filter(|line| !line.contains("\"method\":"));
        let ids: Vec<u64> = replies
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_u64())
            .map(|id| id.unwrap())
            .collect();
        let expected: Vec<u64> = (0..requests.len() as u64).collect();
        prop_assert_eq!(ids, expected, "{}{}", bytes, heard);
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
