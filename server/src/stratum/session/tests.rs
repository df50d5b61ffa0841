//! One connection, line by line: what is said and what comes back.

use super::*;
use crate::config::VardiffRules;
use core::time::Duration;

const PORT: PortRules = PortRules { difficulty: Difficulty::ONE, vardiff: None };

fn enter(rules: PortRules, payment: Payment) -> Session {
    let limits = Limits { workers: 2, ..Limits::default() };
    let address = IpAddr::from([192, 0, 2, 1]);
    let entrance = Entrance { rules, payment, address, now: Instant::ZERO };
    Session::new([0, 0, 0, 9], &entrance, &limits)
}

fn session() -> Session {
    enter(PORT, Payment::Operator)
}

fn say<'a>(session: &mut Session, line: &'a str) -> (Demand<'a>, String) {
    let demand = session.admit(message::parse(line.as_bytes()));
    let said = session.take_outbox().unwrap_or_default();
    (demand, String::from_utf8(said.to_vec()).expect("JSON is UTF-8"))
}

#[test]
fn handshake_in_any_order_gives_the_same_extranonce() {
    let subscribe = r#"{"id":1,"method":"mining.subscribe","params":["a/1"]}"#;
    let authorize = r#"{"id":2,"method":"mining.authorize","params":["w","x"]}"#;
    for order in [[subscribe, authorize], [authorize, subscribe]] {
        let mut session = session();
        say(&mut session, order[0]);
        assert!(!session.is_ready());
        say(&mut session, order[1]);
        assert!(session.is_ready());
        let expected = concat!(
            r#"{"id":1,"result":[[["mining.set_difficulty","00000009"],"#,
            r#"["mining.notify","00000009"]],"00000009",8],"error":null}"#,
            "\n"
        );
        assert_eq!(say(&mut session, subscribe).1, expected, "subscribed twice");
    }
}

#[test]
fn subscribe_with_any_parameters() {
    for params in ["[]", "[null]", r#"["a",null,"host:3333",null]"#, "[1,2,3]", r#"["a","s"]"#] {
        let line = format!("{{\"id\":1,\"method\":\"mining.subscribe\",\"params\":{params}}}");
        assert!(say(&mut session(), &line).1.contains("\"error\":null"), "{params}");
    }
    assert!(say(&mut session(), r#"{"id":1,"method":"mining.subscribe"}"#).1.contains("00000009"));
}

#[test]
fn configure_answers_what_was_asked() {
    let check = |params: &str, expected: &str, mask| {
        let line = format!("{{\"id\":1,\"method\":\"mining.configure\",\"params\":{params}}}");
        let mut session = session();
        let reply = format!("{{\"id\":1,\"result\":{expected},\"error\":null}}\n");
        assert_eq!(say(&mut session, &line).1, reply);
        assert_eq!(session.mask(), mask);
    };
    let on = r#"{"version-rolling":true,"version-rolling.mask":"1fffe000"}"#;
    check(r#"[["version-rolling"],{"version-rolling.mask":"ffffffff"}]"#, on, 0x1fff_e000);
    check(r#"[["version-rolling"],{}]"#, on, 0x1fff_e000);
    let off = r#"{"version-rolling":false}"#;
    check(r#"[["version-rolling"],{"version-rolling.mask":"00000001"}]"#, off, 0);
    let many = r#"[["version-rolling"],{"version-rolling.min-bit-count":17}]"#;
    check(many, off, 0);
    let two = r#"[["minimum-difficulty","subscribe-extranonce"],{"minimum-difficulty.value":9}]"#;
    check(two, r#"{"minimum-difficulty":false,"subscribe-extranonce":true}"#, 0);
    let easy = r#"[["minimum-difficulty"],{"minimum-difficulty.value":1}]"#;
    check(easy, r#"{"minimum-difficulty":true}"#, 0);
    check(r#"[["info","x"],{"info.hw-id":"7"}]"#, r#"{"info":true,"x":false}"#, 0);
    check("[[]]", "{}", 0);
}

/// Whoever wants to hear of another extranonce1 is told yes, and has the one of its lease for good.
#[test]
fn a_subscription_to_extranonces_is_answered_and_brings_none() {
    let mut session = session();
    let subscribe = r#"{"id":1,"method":"mining.subscribe","params":["a/1"]}"#;
    let first = say(&mut session, subscribe).1;
    let asked = r#"{"id":"xnsub","method":"mining.extranonce.subscribe","params":[]}"#;
    let said = say(&mut session, asked).1;
    assert_eq!(said, "{\"id\":\"xnsub\",\"result\":true,\"error\":null}\n");
    // A session to go on with, named too late, changes nothing either.
    let late = r#"{"id":1,"method":"mining.subscribe","params":["a/1","00000007"]}"#;
    assert_eq!(say(&mut session, late).1, first);
}

#[test]
fn a_minimum_difficulty_is_kept_within_the_ports_bounds() {
    let bounds = |min: &str, max: &str| VardiffRules {
        share_interval: Duration::from_secs(5),
        min: min.parse().expect("a difficulty"),
        max: max.parse().ok(),
    };
    let check = |max, value: &str, granted: bool, wanted: &str| {
        let rules = PortRules { vardiff: Some(bounds("0.001", max)), ..PORT };
        let mut session = enter(rules, Payment::Operator);
        let line = format!(
            "{{\"id\":1,\"method\":\"mining.configure\",\"params\":[[\"minimum-difficulty\"],\
             {{\"minimum-difficulty.value\":{value}}}]}}"
        );
        let told = format!("{{\"minimum-difficulty\":{granted}}}");
        assert!(say(&mut session, &line).1.contains(&told), "{value}");
        assert_eq!(session.vardiff.wanted().to_string(), wanted, "{value}");
    };
    check("", "2048", true, "2048");
    check("", "\"2048\"", true, "2048");
    check("1000", "2048", false, "1");
    check("", "0.5", true, "1");
    check("", "null", false, "1");
}

#[test]
fn wishes_of_password_suggestion_and_firmware() {
    let vardiff = VardiffRules {
        share_interval: Duration::from_secs(5),
        min: "0.0000001".parse().expect("a difficulty"),
        max: None,
    };
    let check = |lines: &[&str], wanted: &str| {
        let mut session = enter(PortRules { vardiff: Some(vardiff), ..PORT }, Payment::Operator);
        for line in lines {
            let line = format!("{{\"id\":1,\"method\":\"mining.{line}}}");
            assert!(say(&mut session, &line).1.contains("\"error\":null"), "{line}");
        }
        assert_eq!(session.vardiff.wanted().to_string(), wanted, "{lines:?}");
    };
    check(&[r#"authorize","params":["w","x"]"#], "1");
    check(&[r#"authorize","params":["w","d=1000"]"#], "1000");
    check(&[r#"authorize","params":["w","x,md=64"]"#], "64");
    check(&[r#"suggest_difficulty","params":["0.00015"]"#], "0.00015");
    check(&[r#"suggest_difficulty","params":[1e-30]"#], "0.0000001");
    let fixed = [r#"authorize","params":["w","d=1000"]"#, r#"suggest_difficulty","params":[7]"#];
    check(&fixed, "1000");
    check(&[r#"subscribe","params":["NiceHash/1.0.0"]"#], "500000");
}

#[test]
fn who_mines_for_himself_names_one_address() {
    let address = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
    let solo = Payment::Solo { network: Network::Regtest, fee_basis_points: 100 };
    let mut session = enter(PORT, solo);
    let mut authorize = |name: &str| {
        let line = format!("{{\"id\":1,\"method\":\"mining.authorize\",\"params\":[\"{name}\"]}}");
        let (demand, said) = say(&mut session, &line);
        (matches!(demand, Demand::NotAuthorized(Reject::Payee(_))), said)
    };
    let (is_refused, said) = authorize("worker");
    assert!(is_refused);
    assert!(said.contains("[24,\"The user name is not an address: mine with ADDRESS"), "{said}");
    assert!(authorize(&format!("{address}.one")).1.contains("true"));
    assert!(authorize(&format!("{address}.two")).1.contains("true"));
    assert_eq!(session.form().payee.as_ref().map(|payee| payee.fee_basis_points), Some(100));
    let mut session = enter(PORT, solo);
    for (name, told) in [(address, "true"), ("2MzQwSSnBHWHqSAqtTVQ6v47XtaisrJa1Vc", "One address")]
    {
        let line = format!("{{\"id\":1,\"method\":\"mining.authorize\",\"params\":[\"{name}\"]}}");
        assert!(say(&mut session, &line).1.contains(told), "{name}");
    }
}

/// Whatever was asked before, the root is that of this job and this extranonce2.
#[test]
fn a_known_root_is_known_for_one_job_and_one_extranonce2() {
    use crate::mining::job::JobBook;
    use crate::mining::template::tests::{coinbase_of, template_at};

    let second = Duration::from_secs(1);
    let mut book = JobBook::new(1, second, second, 9);
    let mut publish = |parent| {
        let template = Arc::new(template_at(parent));
        let coinbase = coinbase_of(&template);
        book.publish(Instant::ZERO, template, coinbase, None).0
    };
    let jobs = [publish(1), publish(2)];
    let mut session = session();
    let check = |session: &mut Session| {
        let places = [(0, 1), (0, 1), (0, 2), (1, 2), (1, 2), (0, 2), (1, 3), (1, 2)];
        for (job, two) in places.map(|(job, two)| (&jobs[job], [two; 8])) {
            let expected = share::root(job, session.extranonce1, two);
            assert_eq!(session.root(job, two), expected, "{} {two:?}", job.id);
        }
    };
    check(&mut session);
    for job in &jobs {
        session.announce(Instant::ZERO, job, Difficulty::ONE);
        check(&mut session);
    }
}

#[test]
fn a_parked_reply_holds_back_replies_and_nothing_else() {
    let mut session = session();
    session.park(message::parse(br#"{"id":1,"method":"m"}"#).id, [1; 32]);
    session.park(message::parse(br#"{"id":2,"method":"m"}"#).id, [2; 32]);
    assert_eq!(say(&mut session, r#"{"id":3,"method":"mining.ping"}"#).1, "");
    session.block_is_safe([2; 32]);
    assert_eq!(session.take_outbox(), None);
    session.block_is_safe([1; 32]);
    let said = session.take_outbox().expect("all three");
    let ids: Vec<u8> =
        said.split(|byte| *byte == b'\n').filter_map(|line| line.get(6)).copied().collect();
    assert_eq!(ids, b"123");
}

#[test]
fn who_may_not_mine_is_still_judged() {
    let mut session = session();
    let submit = concat!(
        r#"{"id":4,"method":"mining.submit","params":["w","0000000100000000","#,
        r#""0000000000000000","00000000","00000000"]}"#
    );
    let refused = |demand| {
        let Demand::Judge { refuse, .. } = demand else { panic!("{demand:?}") };
        refuse
    };
    assert_eq!(refused(say(&mut session, submit).0), Some(Reject::NotSubscribed));
    say(&mut session, r#"{"id":1,"method":"mining.subscribe","params":[]}"#);
    assert_eq!(refused(say(&mut session, submit).0), Some(Reject::Unauthorized));
    say(&mut session, r#"{"id":2,"method":"mining.authorize","params":["w"]}"#);
    assert!(matches!(say(&mut session, submit).0, Demand::Judge { refuse: None, .. }));
}

#[test]
fn garbage_ends_it_and_unknown_methods_do_not() {
    let mut session = session();
    for _ in 0..20 {
        let (demand, said) = say(&mut session, r#"{"id":1,"method":"mining.fly","params":[]}"#);
        assert!(matches!(demand, Demand::Nothing) && said.contains("[20,\"Unknown method\""));
    }
    for _ in 0..4 {
        assert!(matches!(say(&mut session, "GET / HTTP/1.1").0, Demand::Nothing));
    }
    assert!(matches!(say(&mut session, "Host: x").0, Demand::Garbage));
}

#[test]
fn workers_are_bounded() {
    let mut session = session();
    for (name, told) in [("a", "true"), ("b", "true"), ("a", "true"), ("c", "Too many")] {
        let line = format!("{{\"id\":1,\"method\":\"mining.authorize\",\"params\":[\"{name}\"]}}");
        assert!(say(&mut session, &line).1.contains(told), "{name}");
    }
}
