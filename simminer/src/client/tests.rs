//! Conversations with a scripted server: what comes in, what goes out, what happens.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for one kind of event")]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::hasher::Hasher;

const COINBASE1: &str = "01000000010000000000000000000000000000000000000000000000000000000000000000\
                         ffffffff1002900000";
const COINBASE2: &str = "ffffffff0100f2052a01000000015100000000";

fn config() -> ClientConfig {
    ClientConfig {
        user: "someone".to_owned(),
        password: "x".to_owned(),
        version_rolling: true,
        suggest_difficulty: None,
        persona: Persona::honest(),
    }
}

/// A client, and a server that is a list of lines.
struct Pair {
    client: Client,
}

impl Pair {
    fn new(config: ClientConfig) -> Self {
        let mut client = Client::new(config);
        client.connected();
        Self { client }
    }

    /// A client that has its opening answered: subscribed, authorized, rolling.
    fn ready() -> Self {
        let mut pair = Self::new(config());
        pair.sent();
        pair.says(OPENING_ANSWERS);
        pair.events();
        pair
    }

    fn says(&mut self, lines: &str) {
        self.client.receive(lines.as_bytes());
        if !lines.ends_with('\n') {
            self.client.receive(b"\n");
        }
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.client.poll_event()).collect()
    }

    /// What the client has sent since, a JSON value a line.
    fn sent(&mut self) -> Vec<Value> {
        let bytes = self.client.take_outgoing();
        let text = String::from_utf8(bytes).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn complaints(&mut self) -> Vec<String> {
        let complaint = |event| match event {
            Event::Complaint(complaint) => Some(complaint),
            _ => None,
        };
        self.events().into_iter().filter_map(complaint).collect()
    }

    /// Searches a work until a share is found.
    fn mine(&mut self) -> (Work, u32) {
        let work = self.client.next_work().expect("work");
        let nonce = work.hasher().search(u64::MAX).found.expect("a share").nonce;
        (work, nonce)
    }
}

const OPENING_ANSWERS: &str = concat!(
    r#"{"id":1,"result":{"version-rolling":true,"version-rolling.mask":"1fffe000"},"error":null}"#,
    "\n",
    r#"{"id":2,"result":[[["mining.notify","s"]],"0000002a",8],"error":null}"#,
    "\n",
    r#"{"id":3,"result":true,"error":null}"#,
    "\n",
    r#"{"id":4,"result":true,"error":null}"#,
    "\n",
);

fn notify(job_id: &str, clean: bool) -> String {
    let previous = "11".repeat(32);
    let line = json!({"id": null, "method": "mining.notify", "params":
        [job_id, previous, COINBASE1, COINBASE2, [], "20000000", "207fffff", "66000000", clean]});
    format!("{line}\n")
}

fn set_difficulty(difficulty: &str) -> String {
    format!("{{\"id\":null,\"method\":\"mining.set_difficulty\",\"params\":[{difficulty}]}}\n")
}

#[test]
fn the_opening_is_pipelined_in_order() {
    let mut config = config();
    config.suggest_difficulty = Some("4.656542373e-10".parse().unwrap());
    let mut client = Client::new(config);
    client.connected();
    let text = String::from_utf8(client.take_outgoing()).unwrap();
    // The first line is longer than a line of code may be.
    let text = text.replace("],{", "],\n  {");
    insta::assert_snapshot!(text, @r#"
    {"id":1,"method":"mining.configure","params":[["version-rolling"],
      {"version-rolling.mask":"1fffe000","version-rolling.min-bit-count":2}]}
    {"id":2,"method":"mining.subscribe","params":["simminer/0.0.0"]}
    {"id":3,"method":"mining.extranonce.subscribe","params":[]}
    {"id":4,"method":"mining.suggest_difficulty","params":[4.656542373e-10]}
    {"id":5,"method":"mining.authorize","params":["someone","x"]}
    "#);
}

#[test]
fn what_is_not_wanted_is_not_asked_for() {
    let mut pair = Pair::new(ClientConfig { version_rolling: false, ..config() });
    let methods: Vec<_> = pair.sent().iter().map(|line| line["method"].clone()).collect();
    assert_eq!(methods, ["mining.subscribe", "mining.extranonce.subscribe", "mining.authorize"]);
}

#[test]
fn answers_in_one_read_or_byte_by_byte_are_the_same() {
    let lines = [OPENING_ANSWERS, &set_difficulty("0.5"), &notify("a", true), "\r\n \n"].concat();
    let mut whole = Pair::new(config());
    whole.says(&lines);
    let mut bytewise = Pair::new(config());
    for byte in lines.bytes() {
        bytewise.client.receive(&[byte]);
    }
    let events = whole.events();
    assert_eq!(events, bytewise.events());
    assert_eq!(events[0], Event::VersionMask(0x1fff_e000));
    assert_eq!(
        events[1],
        Event::Subscribed { extranonce1: vec![0, 0, 0, 0x2a], extranonce2_size: 8 }
    );
    assert_eq!(events[2], Event::Authorized);
    assert!(matches!(events[3], Event::Difficulty(_)));
    assert!(matches!(&events[4], Event::Job { job, .. } if job.id == "a" && job.clean));
    assert_eq!(events.len(), 5);
}

#[test]
fn a_share_names_job_extranonce_time_nonce_and_rolled_bits() {
    let mut pair = Pair::ready();
    pair.says(&[set_difficulty("1e-9"), notify("a", true)].concat());
    let (work, nonce) = pair.mine();
    let share = pair.client.submit(&work, nonce).unwrap();
    assert!(work.share_target().is_met_by(&share.hash.0));
    let rolled = format!("{:08x}", work.version() & 0x1fff_e000);
    assert_eq!(
        pair.sent(),
        [json!({"id": 5, "method": "mining.submit", "params": ["someone", "a", "0000000000000000",
            "66000000", format!("{nonce:08x}"), rolled]})]
    );
    pair.events();
    pair.says(r#"{"id":5,"result":true,"error":null}"#);
    assert_eq!(pair.events(), [Event::Accepted(share)]);
    assert_eq!(pair.client.unanswered(), 0);
}

#[test]
fn without_version_rolling_a_share_has_five_parameters() {
    let mut pair = Pair::new(ClientConfig { version_rolling: false, ..config() });
    pair.says("{\"id\":1,\"result\":[[],\"00\",4],\"error\":null}\n{\"id\":3,\"result\":true}\n");
    pair.says(&[set_difficulty("1e-9"), notify("a", true)].concat());
    pair.sent();
    let (work, nonce) = pair.mine();
    assert_eq!(work.version(), 0x2000_0000);
    let share = pair.client.submit(&work, nonce).unwrap();
    assert_eq!(share.rolled_bits, None);
    assert_eq!(pair.sent()[0]["params"].as_array().unwrap().len(), 5);
}

#[test]
fn a_job_before_any_difficulty_has_difficulty_one() {
    let mut pair = Pair::ready();
    pair.says(&[notify("a", true), set_difficulty("0.25"), notify("b", false)].concat());
    let difficulties: Vec<String> = pair
        .events()
        .iter()
        .filter_map(|event| match event {
            Event::Job { difficulty, .. } => Some(difficulty.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(difficulties, ["1", "0.25"]);
}

#[test]
fn a_difficulty_is_for_the_jobs_to_come() {
    let mut pair = Pair::ready();
    pair.says(&[set_difficulty("2"), notify("a", true), set_difficulty("\"0.001\"")].concat());
    assert_eq!(pair.client.next_work().unwrap().difficulty, "2".parse().unwrap());
    pair.says(&notify("b", false));
    assert_eq!(pair.client.next_work().unwrap().difficulty, "1e-3".parse().unwrap());
}

#[test]
fn a_new_extranonce_is_for_the_jobs_to_come() {
    let mut pair = Pair::ready();
    pair.says(&notify("a", true));
    pair.says(r#"{"id":null,"method":"mining.set_extranonce","params":["08000002",4]}"#);
    let before = pair.client.next_work().unwrap();
    assert_eq!((before.extranonce1.as_slice(), before.extranonce2.len()), (&[0, 0, 0, 42][..], 8));
    pair.says(&notify("b", false));
    let after = pair.client.next_work().unwrap();
    assert_eq!((after.extranonce1.as_slice(), after.extranonce2.len()), (&[8, 0, 0, 2][..], 4));
}

#[test]
fn there_is_no_work_before_authorization() {
    let mut pair = Pair::new(config());
    pair.says(r#"{"id":2,"result":[[],"00",4],"error":null}"#);
    pair.says(&notify("a", true));
    assert!(pair.client.next_work().is_none());
    pair.says(r#"{"id":4,"result":true,"error":null}"#);
    assert_eq!(pair.client.next_work().unwrap().job.id, "a");
}

#[test]
fn a_job_before_the_subscription_is_a_complaint() {
    let mut pair = Pair::new(config());
    pair.says(&notify("a", true));
    assert_eq!(pair.complaints(), ["mining.notify before the answer to mining.subscribe"]);
}

#[test]
fn a_clean_job_voids_the_earlier_ones_and_another_does_not() {
    let mut pair = Pair::ready();
    pair.says(&[set_difficulty("1e-9"), notify("a", true)].concat());
    let (first, first_nonce) = pair.mine();
    pair.says(&notify("b", false));
    let (second, second_nonce) = pair.mine();
    assert_eq!((first.job.id.as_str(), second.job.id.as_str()), ("a", "b"));
    assert!(pair.client.submit(&first, first_nonce).is_ok());
    pair.sent();
    pair.says(&notify("c", true));
    assert_eq!(pair.client.submit(&first, first_nonce), Err(NotSent::Stale));
    assert_eq!(pair.client.submit(&second, second_nonce), Err(NotSent::Stale));
    assert_eq!(pair.sent(), [] as [Value; 0]);
}

#[test]
fn work_of_an_earlier_connection_is_stale() {
    let mut pair = Pair::ready();
    pair.says(&[set_difficulty("1e-9"), notify("a", true)].concat());
    let (work, nonce) = pair.mine();
    pair.client.submit(&work, nonce).unwrap();
    assert_eq!(pair.client.disconnected(), 1);
    assert_eq!(pair.client.submit(&work, nonce), Err(NotSent::Stale));
    assert!(pair.client.next_work().is_none());
    pair.client.connected();
    pair.sent();
    // Bytes before the end of a line belonged to the old connection; ids begin anew.
    pair.says(OPENING_ANSWERS);
    pair.says(&notify("a", false));
    assert_eq!(pair.client.submit(&work, nonce), Err(NotSent::Stale));
    // The difficulty is not carried over.
    assert_eq!(pair.client.next_work().unwrap().difficulty, Difficulty::ONE);
    assert_eq!(pair.complaints(), [] as [String; 0]);
}

#[test]
fn submissions_without_an_answer_have_a_limit() {
    let mut pair = Pair::ready();
    pair.says(&[set_difficulty("1e-9"), notify("a", true)].concat());
    let (work, _) = pair.mine();
    for nonce in 0..16 {
        assert!(pair.client.submit(&work, nonce).is_ok());
    }
    assert_eq!(pair.client.submit(&work, 16), Err(NotSent::TooManyUnanswered));
    pair.says(r#"{"id":20,"result":true,"error":null}"#);
    assert!(pair.client.submit(&work, 16).is_ok());
}

#[test]
fn a_refusal_is_understood_in_every_form() {
    let check = |answer: &str, code: Option<i64>, message: &str| {
        let mut pair = Pair::ready();
        pair.says(&[set_difficulty("1e-9"), notify("a", true)].concat());
        let (work, nonce) = pair.mine();
        pair.events();
        let share = pair.client.submit(&work, nonce).unwrap();
        pair.says(&format!("{{\"id\":5,{answer}}}"));
        let refusal = Refusal { code, message: message.to_owned() };
        assert_eq!(pair.events(), [Event::Rejected(share, refusal)], "{answer}");
    };
    check(r#""result":null,"error":[21,"Job not found",null]"#, Some(21), "Job not found");
    check(
        r#""result":false,"error":[23,"Low difficulty share"]"#,
        Some(23),
        "Low difficulty share",
    );
    check(r#""error":{"code":22,"message":"Duplicate"}"#, Some(22), "Duplicate");
    check(r#""result":null,"error":"stale""#, None, "stale");
    check(r#""result":false,"error":null,"reject-reason":"too late""#, None, "too late");
    check(r#""result":false,"error":null"#, None, "answered false without a reason");
    check(r#""result":null,"error":null"#, None, "answered with null");
    check(r#""result":"true","error":null"#, None, r#"answered \"true\" without a reason"#);
    check(r#""result":true,"error":[]"#, None, "[]");
    check(r#""result":null,"error":7"#, None, "7");
}

#[test]
fn answers_may_come_in_any_order() {
    let mut pair = Pair::ready();
    pair.says(&[set_difficulty("1e-9"), notify("a", true)].concat());
    let (work, _) = pair.mine();
    let shares: Vec<Share> =
        (0..3).map(|nonce| pair.client.submit(&work, nonce).unwrap()).collect();
    pair.events();
    pair.says("{\"id\":7,\"result\":true}\n{\"id\":5,\"result\":true}\n{\"id\":6,\"result\":true}");
    let accepted: Vec<Event> =
        [2, 0, 1].iter().map(|index: &usize| Event::Accepted(shares[*index].clone())).collect();
    assert_eq!(pair.events(), accepted);
}

#[test]
fn an_answer_that_nothing_waits_for_is_a_complaint() {
    let mut pair = Pair::ready();
    for id in ["3", "99", "\"4\"", "1.5", "-1", "[1]"] {
        pair.says(&format!("{{\"id\":{id},\"result\":true,\"error\":null}}"));
        assert_eq!(pair.complaints().len(), 1, "{id}");
    }
    // An id is null in a notification only.
    pair.says(r#"{"id":null,"result":true,"error":null}"#);
    assert_eq!(pair.complaints().len(), 1);
}

#[test]
fn refused_openings_are_told_apart() {
    let mut pair =
        Pair::new(ClientConfig { suggest_difficulty: Some(Difficulty::ONE), ..config() });
    pair.says(concat!(
        "{\"id\":1,\"result\":null,\"error\":[20,\"Unknown method\",null]}\n",
        "{\"id\":3,\"result\":null,\"error\":[20,\"Not supported.\",null]}\n",
        "{\"id\":4,\"result\":false,\"error\":null}\n",
        "{\"id\":5,\"result\":false,\"error\":[24,\"Unauthorized worker\",null]}\n",
        "{\"id\":2,\"result\":null,\"error\":\"full\"}\n",
    ));
    let events = pair.events();
    let optional: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::OptionRefused { method, .. } => Some(*method),
            _ => None,
        })
        .collect();
    let expected = ["mining.configure", "mining.extranonce.subscribe", "mining.suggest_difficulty"];
    assert_eq!(optional, expected);
    let unauthorized = Refusal { code: Some(24), message: "Unauthorized worker".to_owned() };
    assert_eq!(events[3], Event::AuthorizeRefused(unauthorized));
    let full = Refusal { code: None, message: "full".to_owned() };
    assert_eq!(events[4], Event::SubscribeRefused(full));
}

#[test]
fn version_rolling_that_is_not_granted_is_not_done() {
    for answer in [
        r#"{"version-rolling":false}"#,
        r#"{"version-rolling":false,"version-rolling.mask":"1fffe000"}"#,
        "{}",
        r#"{"version-rolling":"no mask"}"#,
        r#"{"version-rolling":true,"version-rolling.mask":"00000000"}"#,
    ] {
        let mut pair = Pair::new(config());
        pair.says(&format!("{{\"id\":1,\"result\":{answer},\"error\":null}}"));
        assert_eq!(pair.events(), [Event::VersionMask(0)], "{answer}");
    }
}

#[test]
fn a_mask_beyond_what_was_asked_for_is_a_complaint_and_not_followed() {
    let mut pair = Pair::ready();
    pair.says(r#"{"id":null,"method":"mining.set_version_mask","params":["ffffffff"]}"#);
    let events = pair.events();
    assert!(matches!(events[0], Event::Complaint(_)));
    assert_eq!(events[1], Event::VersionMask(VERSION_MASK));
}

#[test]
fn a_changed_mask_voids_the_work_made_with_the_old_one() {
    let mut pair = Pair::ready();
    pair.says(&[set_difficulty("1e-9"), notify("a", true)].concat());
    let (work, nonce) = pair.mine();
    pair.says(r#"{"id":null,"method":"mining.set_version_mask","params":["00006000"]}"#);
    assert_eq!(pair.client.submit(&work, nonce), Err(NotSent::Stale));
    assert_eq!(pair.client.next_work().unwrap().version_mask, 0x6000);
}

#[test]
fn requests_of_the_server_are_answered_with_their_own_id() {
    let mut pair = Pair::ready();
    pair.says("{\"id\":\"a b\",\"method\":\"client.get_version\",\"params\":[]}");
    pair.says("{\"id\":7.50,\"method\":\"mining.ping\"}");
    pair.says("{\"id\":null,\"method\":\"mining.ping\",\"params\":[]}");
    pair.says("{\"id\":8,\"method\":\"mining.dance\",\"params\":[]}");
    let text = String::from_utf8(pair.client.take_outgoing()).unwrap();
    insta::assert_snapshot!(text, @r#"
    {"id":"a b","result":"simminer/0.0.0","error":null}
    {"id":7.50,"result":"pong","error":null}
    {"id":8,"result":null,"error":[20,"not understood",null]}
    "#);
    assert_eq!(pair.complaints(), ["unknown method mining.dance"]);
    pair.says(r#"{"id":null,"method":"client.show_message","params":["hello"]}"#);
    assert_eq!(pair.events(), [Event::Message("hello".to_owned())]);
}

#[test]
fn a_reconnect_may_leave_anything_out() {
    let check = |params: &str, host: Option<&str>, port: Option<u16>, wait_seconds: u64| {
        let mut pair = Pair::ready();
        pair.says(&format!("{{\"id\":null,\"method\":\"client.reconnect\",\"params\":{params}}}"));
        let host = host.map(str::to_owned);
        assert_eq!(pair.events(), [Event::Reconnect { host, port, wait_seconds }], "{params}");
    };
    check("[]", None, None, 0);
    check("null", None, None, 0);
    check(r#"["pool",3334,5]"#, Some("pool"), Some(3334), 5);
    check(r#"["pool","3334","5"]"#, Some("pool"), Some(3334), 5);
    check(r#"["",0,0]"#, Some(""), None, 0);
    check("[null,null,null]", None, None, 0);
    let mut pair = Pair::ready();
    pair.says(r#"{"id":null,"method":"client.reconnect","params":["pool",70000]}"#);
    assert_eq!(pair.complaints(), ["client.reconnect: there is no port 70000"]);
}

#[test]
fn strange_lines_are_complaints_that_name_the_field() {
    let check = |line: &str, complaint: &str| {
        let mut pair = Pair::ready();
        pair.says(line);
        let complaints = pair.complaints();
        assert_eq!(complaints.len(), 1, "{line}");
        assert!(complaints[0].starts_with(complaint), "{}", complaints[0]);
    };
    check("hello", "not a JSON object");
    check("[]", "not a JSON object");
    check("{\"id\":", "not JSON");
    check("{}", "neither a method nor an id");
    check(&"{\"id\":".repeat(100_000), "not JSON");
    check(r#"{"method":5}"#, "method is not text: 5");
    check(r#"{"method":"mining.notify","params":{}}"#, "mining.notify: not an array");
    check(&set_difficulty("0"), "mining.set_difficulty: 0: not above zero");
    check(&set_difficulty("\"high\""), "mining.set_difficulty: \\\"high\\\": not a decimal number");
    check(r#"{"method":"mining.set_difficulty"}"#, "mining.set_difficulty: parameter 0 is missing");
    let good = notify("a", true);
    check(&good.replace("20000000", "2000000"), "mining.notify: version: 7 characters");
    check(&good.replace("207fffff", "00000000"), "mining.notify: nbits 00000000 is no target");
    check(&good.replace("true", "1"), "mining.notify: parameter 8 is 1");
    check(&good.replace("\"a\"", "17"), "mining.notify: parameter 0 is 17");
    check(&good.replace("[]", "[\"00\"]"), "mining.notify: merkle_branch: 1 bytes of hex where 32");
    check(&good.replace("1111", "11"), "mining.notify: prevhash: 16 bytes of hex where 32 belong");
    let deep = format!("{{\"id\":3,\"error\":{}1{}}}", "[".repeat(500), "]".repeat(500));
    check(&deep, "answer to id 3");
    check(r#"{"method":"mining.set_extranonce","params":["00",0]}"#, "extranonce2 size is 0");
}

#[test]
fn a_subscription_without_an_extranonce_ends_the_connection() {
    for result in ["true", "[[],\"00\"]", "[[],\"0\",4]", "[[],\"00\",33]", "[[],\"00\",-1]"] {
        let mut pair = Pair::new(config());
        pair.says(&format!("{{\"id\":2,\"result\":{result}}}"));
        assert!(matches!(pair.events().as_slice(), [Event::Close(_)]), "{result}");
        // Nothing that follows means anything.
        pair.says(OPENING_ANSWERS);
        assert_eq!(pair.events(), []);
    }
}

#[test]
fn an_endless_line_ends_the_connection() {
    let mut pair = Pair::ready();
    for _ in 0..=LINE_BYTES_MAX / 1024 {
        pair.client.receive(&[b' '; 1024]);
    }
    assert!(matches!(pair.events().as_slice(), [Event::Close(_)]));
}

#[test]
fn no_two_works_have_the_same_extranonce2_and_version() {
    let mut pair = Pair::ready();
    pair.says(r#"{"id":null,"method":"mining.set_extranonce","params":["08",1]}"#);
    pair.says(r#"{"id":null,"method":"mining.set_version_mask","params":["00016000"]}"#);
    pair.says(&notify("a", true));
    // Uneven, so that the numbers of the next job do not begin at a border.
    for _ in 0..100 {
        pair.client.next_work().unwrap();
    }
    pair.says(&notify("b", false));
    let mut seen = std::collections::BTreeSet::new();
    while let Some(work) = pair.client.next_work() {
        assert!(seen.insert((work.extranonce2.clone(), work.version())));
    }
    // One byte of extranonce2 and three bits of version: all of them, and then no more.
    assert_eq!(seen.len(), 256 * 8);
}

#[test]
fn extranonce2_and_version_both_vary_from_the_start() {
    let mut pair = Pair::ready();
    pair.says(&notify("a", true));
    let versions: Vec<String> =
        (0..4).map(|_| format!("{:08x}", pair.client.next_work().unwrap().version())).collect();
    assert_eq!(versions, ["20000000", "20002000", "20004000", "20006000"]);
}

#[test]
fn a_block_is_told_from_a_share() {
    let mut pair = Pair::ready();
    pair.says(&[set_difficulty("1e-12"), notify("a", true)].concat());
    let work = pair.client.next_work().unwrap();
    let block = Hasher::new(&work.header(0), work.job.block_target, 0..=1000).search(1000).found;
    let block = block.unwrap().nonce;
    let no_block =
        (0..1000).find(|nonce| !work.job.block_target.is_met_by(&work.hash(*nonce).0)).unwrap();
    assert!(pair.client.submit(&work, block).unwrap().meets_block);
    assert!(!pair.client.submit(&work, no_block).unwrap().meets_block);
    assert_eq!((pair.client.unanswered(), pair.client.unanswered_blocks()), (2, 1));
}

/// Lines like a server's, with anything in the places of its values.
fn line() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        "-?[0-9]{1,3}(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,12})?",
        "\"[0-9a-fA-F]{0,80}\"",
        "\"\\PC{0,10}\"",
        "\\[(\"[0-9a-f]{0,64}\"(,\"[0-9a-f]{64}\"){0,3})?\\]",
        Just("{\"version-rolling\":true,\"version-rolling.mask\":\"ffffffff\"}".to_owned()),
    ];
    let method = prop_oneof![
        Just("mining.notify"),
        Just("mining.set_difficulty"),
        Just("mining.set_extranonce"),
        Just("mining.set_version_mask"),
        Just("client.reconnect"),
        Just("client.show_message"),
        Just("client.get_version"),
        Just("mining.ping"),
    ];
    let params = proptest::collection::vec(value.clone(), 0..10)
        .prop_map(|values| format!("[{}]", values.join(",")));
    prop_oneof![
        (value.clone(), method, params).prop_map(|(id, method, params)| format!(
            "{{\"id\":{id},\"method\":\"{method}\",\"params\":{params}}}\n"
        )),
        (0..8, value.clone(), value).prop_map(|(id, result, error)| format!(
            "{{\"id\":{id},\"result\":{result},\"error\":{error}}}\n"
        )),
        Just(notify("a", true)),
        Just(notify("b", false)),
        "\\PC{0,40}\n",
    ]
}

proptest! {
    #[test]
    fn any_bytes_give_events_and_never_a_panic(
        chunks in proptest::collection::vec(any::<Vec<u8>>(), 0..20),
    ) {
        let mut pair = Pair::ready();
        for chunk in chunks {
            pair.client.receive(&chunk);
            pair.client.receive(b"\n");
        }
        pair.events();
        prop_assert!(pair.client.next_work().is_none());
    }

    #[test]
    fn any_conversation_gives_events_whichever_way_it_is_cut(
        lines in proptest::collection::vec(line(), 0..30),
        cut in 1_usize..50,
    ) {
        let lines = lines.concat();
        let mut whole = Pair::new(config());
        whole.says(&lines);
        let mut cut_up = Pair::new(config());
        for piece in lines.as_bytes().chunks(cut) {
            cut_up.client.receive(piece);
        }
        cut_up.client.receive(b"\n");
        prop_assert_eq!(whole.events(), cut_up.events());
        // Bytes, because an id is echoed even where no number holds it.
        prop_assert_eq!(whole.client.take_outgoing(), cut_up.client.take_outgoing());
        // Whatever was said, work that is given can be submitted.
        if let Some(work) = whole.client.next_work() {
            prop_assert!(whole.client.is_live(&work));
            prop_assert!(whole.client.submit(&work, 1).is_ok());
        }
    }
}

#[test]
fn whoever_takes_the_next_line_for_the_answer_is_lost_on_another() {
    let start = || {
        let persona = Persona::family("cgminer").unwrap();
        let mut client = Client::new(ClientConfig { persona, ..config() });
        client.connected();
        client
    };
    let said = |client: &mut Client| String::from_utf8(client.take_outgoing()).unwrap();
    let mut client = start();
    assert!(said(&mut client).contains("\"id\":1,\"method\":\"mining.configure\""));
    client.receive(b"{\"id\":1,\"result\":{\"version-rolling\":false},\"error\":null}\n");
    let subscribe = said(&mut client);
    assert!(subscribe.starts_with("{\"id\":2,\"method\":\"mining.subscribe\""), "{subscribe}");
    assert_eq!(subscribe.lines().count(), 1, "one after the other");
    for line in
        ["{\"id\":null,\"method\":\"mining.set_difficulty\",\"params\":[1]}\n", "{\"id\":2}\n"]
    {
        let mut client = start();
        client.receive(line.as_bytes());
        let closed = std::iter::from_fn(|| client.poll_event())
            .any(|event| matches!(event, Event::Close(why) if why.contains("was not its answer")));
        assert!(closed, "{line}");
    }
}

#[test]
fn families_number_and_spell_their_own_way() {
    let opening = |family: &str| {
        let persona = Persona::family(family).unwrap();
        let mut client = Client::new(ClientConfig { persona, ..config() });
        client.connected();
        String::from_utf8(client.take_outgoing()).unwrap()
    };
    let bfgminer = opening("bfgminer");
    assert!(
        bfgminer
            .starts_with("{\"id\":null,\"method\":\"mining.suggest_target\",\"params\":[\"0000")
    );
    assert!(bfgminer.contains("{\"id\":\"auth\",\"method\":\"mining.authorize\""), "{bfgminer}");
    let braiins = opening("braiins");
    assert!(braiins.contains("[\"Braiins OS 2019-06-05\",null,\"stratum.example:3333\",null]"));
    assert!(braiins.contains("\"version-rolling.min-bit-count\":16"), "{braiins}");
    let whatsminer = opening("whatsminer");
    assert!(whatsminer.contains("{\"version-rolling.mask\":\"1fffe000\"}"), "{whatsminer}");
}
