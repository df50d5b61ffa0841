//! What each answer of a node is taken for.

use bytes::Bytes;

use super::*;
use crate::doctor::Verdict;
use crate::node::rpc::HttpReply;

#[expect(clippy::unnecessary_wraps, reason = "the form in which replies come")]
fn answer(status: u16, body: &str) -> Reply {
    Ok(HttpReply { status, body: Bytes::copy_from_slice(body.as_bytes()) })
}

fn result(result: &str) -> Reply {
    answer(200, &format!("{{\"result\":{result},\"error\":null,\"id\":1}}"))
}

fn unknown() -> Reply {
    answer(200, r#"{"error":{"code":-32601,"message":"Method not found"},"id":1}"#)
}

#[track_caller]
fn is(line: &Line, verdict: Verdict, seen: &str, fix: &str) {
    assert_eq!(line.verdict, verdict, "{line:?}");
    assert!(line.seen.contains(seen), "{line:?}");
    assert!(line.fix.clone().unwrap_or_default().contains(fix), "{line:?}");
}

#[test]
fn whoever_answers_as_a_node_is_reachable() {
    let check = |reply, verdict, seen: &str, fix: &str| {
        is(&reachable(&Asked { reply, took: Duration::from_millis(4) }), verdict, seen, fix);
    };
    check(result("{}"), Verdict::Passed, "answers in 4 ms", "");
    check(answer(401, ""), Verdict::Passed, "answers", "");
    check(unknown(), Verdict::Passed, "answers", "");
    let refused = Err(CallError::Connect("127.0.0.1:1: refused".to_owned()));
    check(refused, Verdict::Failed, "127.0.0.1:1: refused", "RPC_PORT");
    check(Err(CallError::Timeout), Verdict::Failed, "within 10 s", "busy");
    check(Err(CallError::Broken("eof".to_owned())), Verdict::Failed, "eof", "no node's");
    check(answer(200, "<html>"), Verdict::Failed, "<html>", "no node's");
}

#[test]
fn a_login_is_refused_or_it_is_none() {
    is(&login(&result("{}"), None), Verdict::Passed, "", "");
    is(&login(&unknown(), None), Verdict::Passed, "", "");
    is(&login(&answer(401, ""), None), Verdict::Failed, "HTTP 401", "RPC_PASSWORD");
    is(&login(&answer(403, ""), None), Verdict::Failed, "HTTP 403", "rpcallowip");
    let cookie = Some("its cookie file x cannot be read".to_owned());
    is(&login(&answer(401, ""), cookie), Verdict::Failed, "cookie file x", "RPC_COOKIE_FILE");
}

#[test]
fn a_chain_is_the_one_of_the_settings() {
    let info = |chain: &str| {
        result(&format!("{{\"chain\":{chain:?},\"blocks\":7,\"initialblockdownload\":false}}"))
    };
    is(&chain(&info("regtest"), Network::Regtest), Verdict::Passed, "height 7", "");
    is(&chain(&info("main"), Network::Bitcoin), Verdict::Passed, "main", "");
    is(&chain(&info("main"), Network::Regtest), Verdict::Failed, "\"main\"", "NETWORK=main");
    is(&chain(&unknown(), Network::Regtest), Verdict::NotChecked, "enforcer", "");
    let warming = answer(500, r#"{"error":{"code":-28,"message":"Loading"},"id":1}"#);
    is(&chain(&warming, Network::Regtest), Verdict::Failed, "Loading", "starting up");
}

#[test]
fn a_node_behind_its_network_is_told() {
    let check = |network, blocks: u32, syncing: bool, age: u32, verdict| {
        let now = UnixTime(1_700_000_000);
        let info = format!(
            "{{\"chain\":\"x\",\"blocks\":{blocks},\"headers\":100,\"time\":{},\
             \"initialblockdownload\":{syncing}}}",
            now.0 - age
        );
        is(&sync(&result(&info), network, now), verdict, &format!("block {blocks} of 100"), "");
    };
    check(Network::Bitcoin, 100, false, 0, Verdict::Passed);
    check(Network::Bitcoin, 99, false, 0, Verdict::Passed);
    check(Network::Bitcoin, 98, false, 0, Verdict::Warning);
    check(Network::Bitcoin, 50, true, 0, Verdict::Failed);
    check(Network::Bitcoin, 100, false, 5_401, Verdict::Warning);
    check(Network::Testnet4, 100, false, 5_401, Verdict::Passed);
    check(Network::Regtest, 100, true, 100_000, Verdict::Passed);
    is(&sync(&unknown(), Network::Bitcoin, UnixTime(0)), Verdict::NotChecked, "enforcer", "");
}

#[test]
fn a_node_alone_hears_of_nothing() {
    let check = |network, connections: u32, verdict| {
        let info = format!("{{\"subversion\":\"/x/\",\"connections\":{connections}}}");
        is(&peers(&result(&info), network), verdict, "", "");
    };
    check(Network::Bitcoin, 8, Verdict::Passed);
    check(Network::Bitcoin, 0, Verdict::Failed);
    check(Network::Testnet4, 0, Verdict::Warning);
    check(Network::Regtest, 0, Verdict::Passed);
    is(&peers(&unknown(), Network::Bitcoin), Verdict::NotChecked, "enforcer", "");
}

#[test]
fn a_further_node_has_settings_of_its_own() {
    let credentials = Credentials::None;
    let rpc = RpcEndpoint { host: "h".to_owned(), port: 1, credentials };
    let node = |place| Node { place, rpc: rpc.clone(), zmq: Vec::new(), role: NodeRole::Follow };
    let refused = || vec![login(&answer(401, ""), None)];
    let (mut first, mut second) = (refused(), refused());
    node(0).own_words(&mut first);
    node(1).own_words(&mut second);
    is(&first[0], Verdict::Failed, "", "correct RPC_USER and RPC_PASSWORD");
    is(&second[0], Verdict::Failed, "", "correct user and password in its [[node]], or name");
}

#[test]
fn what_depends_on_a_failure_is_not_looked_at() {
    let failed = vec![login(&answer(401, ""), None)];
    let line = after(&failed, CHAIN, || Line::passed(CHAIN, "never"));
    is(&line, Verdict::NotChecked, "because the check \"login\" failed", "");
    let fine = vec![login(&result("{}"), None)];
    is(&after(&fine, CHAIN, || Line::passed(CHAIN, "then")), Verdict::Passed, "then", "");
}
