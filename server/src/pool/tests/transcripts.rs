//! Every client of the catalogue, as it speaks: its bytes in, our bytes out, and a share accepted.
//!
//! The snapshots are golden: the whole dialogue stands in them, ours byte for byte behind a `<`.
//! What stands in braces the test's own miner fills in.

use super::*;
use crate::config::{PortRules, VardiffRules};

/// A network that a test finds no block on, and difficulties whose shares it finds at once.
fn pool() -> Rig {
    let difficulty = |text: &str| text.parse::<Difficulty>().expect(text);
    let vardiff = Some(VardiffRules {
        share_interval: Duration::from_secs(5),
        min: difficulty("0.0000001"),
        max: Some(difficulty("0.00001")),
    });
    let ports = vec![PortRules { difficulty: difficulty("0.000001"), vardiff }];
    let mut rig = Rig::new(Config { miners: Miners { ports, solo: None }, ..config() });
    rig.finish_writes();
    rig.reply("getblockchaininfo", json(r#"{"chain":"regtest","blocks":100}"#));
    let reply = template(1, 101).expect("a template");
    let body = String::from_utf8(reply.body.to_vec()).expect("JSON is UTF-8");
    let body = body.replace("207fffff", "1e00ffff");
    let body = body
        .replace(&format!("7fffff{}", "0".repeat(58)), &format!("000000ffff{}", "0".repeat(54)));
    rig.reply("getblocktemplate", Ok(HttpReply { status: 200, body: Bytes::from(body) }));
    rig
}

/// Fills in what only a search finds: a share of the newest job heard, by the miner's arithmetic.
fn fill_in(line: &str, heard: &str, searched: &mut u64) -> String {
    if !line.contains('{') || !line.contains("{job}") {
        return line.to_owned();
    }
    let param = |place: usize| {
        let request: serde_json::Value = serde_json::from_str(line).expect("JSON");
        request["params"][place].as_str().map(str::to_owned)
    };
    let said = heard.lines().rfind(|line| line.contains("set_difficulty\",\"params")).expect("one");
    let said: serde_json::Value = serde_json::from_str(said).expect("JSON");
    let target = said["params"][0].to_string().parse::<Difficulty>().expect("one").to_target();
    *searched += 1;
    let mut work = Work::from(heard, "00000000", *searched);
    if let Some(bits) = param(5) {
        let bits = u32::from_str_radix(&bits, 16).expect("hex");
        work.version |= bits & 0x1fff_e000;
    }
    let nonce =
        (0..u32::MAX).find(|nonce| target.is_met_by(&work.hash(*nonce))).expect("one of them");
    line.replace("{job}", &work.job)
        .replace("{en2}", &format!("{searched:016x}"))
        .replace("{ntime}", &format!("{:08x}", work.time))
        .replace("{nonce}", &format!("{nonce:08x}"))
        .replace("{short}", &format!("{nonce:x}"))
}

/// The id of a request or a reply, as it is written.
fn id(line: &str) -> Option<String> {
    let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
    let is_reply = line.get("method").is_none();
    is_reply.then(|| line["id"].to_string())
}

/// Says what the client says; the answer is the whole conversation, with ours in it.
fn replay(name: &str, transcript: &str) -> String {
    let mut rig = pool();
    let conn = rig.connect();
    let (mut all, mut heard, mut searched) = (String::new(), String::new(), 0);
    let (mut segment, mut ids) = (String::new(), Vec::new());
    for line in transcript.lines().chain([""]) {
        if line.starts_with('#') {
            all.extend([line, "\n"]);
        } else if line.is_empty() && !segment.is_empty() {
            let said = rig.say(conn, &segment);
            // Many read one line after a request and take it for the answer: so the answers come
            // first, in order, and whatever else there is to say after them.
            let answered: Vec<String> = said.lines().map_while(id).collect();
            assert_eq!(answered, ids, "{name}: {segment}{said}");
            said.lines().for_each(|line| all.extend(["< ", line, "\n"]));
            heard += &said;
            all.push('\n');
            (segment, ids) = (String::new(), Vec::new());
        } else if !line.is_empty() {
            all.extend([line, "\n"]);
            let request: serde_json::Value = serde_json::from_str(line).expect(line);
            let filled = fill_in(line, &heard, &mut searched);
            if request.get("method").is_some() {
                let filled: serde_json::Value = serde_json::from_str(&filled).expect(line);
                ids.push(filled["id"].to_string());
            }
            segment.extend([filled.as_str(), "\n"]);
        }
    }
    assert!(!rig.closed.contains(&conn), "{name}: nobody is sent away");
    let counters = rig.pool.counters();
    assert!(counters.shares_accepted > 0 && counters.shares_rejected == 0, "{name}: {all}");
    all
}

#[test]
fn every_client_reaches_an_accepted_share() {
    for (name, transcript) in fixtures::TRANSCRIPTS {
        insta::assert_snapshot!(name, replay(name, transcript));
    }
}
