//! A Thunder daemon beside the node: what is committed to, and what is handed back to it.

use super::*;
use crate::config::SidechainKind;

fn with_thunder(fallback: Fallback) -> Config {
    let chain = OwnSidechain::new(Slot(9));
    let chain = OwnSidechain { kind: SidechainKind::Thunder, fallback, ..chain };
    Config { sidechains: vec![chain], ..easy() }
}

/// A block for the child of the mainchain block of one repeated byte.
fn offer(h_star: &str, parent: u8) -> Result<HttpReply, CallError> {
    let (h_star, parent) = (h_star.repeat(32), hex::encode(&[parent; 32]));
    json(&format!(
        "{{\"critical_hash\":\"{h_star}\",\"block\":{},\"fees_sats\":7}}",
        side_block(&h_star[..2], &parent)
    ))
}

fn side_block(name: &str, parent: &str) -> String {
    format!("{{ \"header\": {{\"prev_main_hash\":\"{parent}\"}}, \"name\": \"{name}\" }}")
}

/// Solves a job that a miner heard of; the hash of the block that the node is to judge.
fn solve(rig: &mut Rig, conn: ConnId, heard: &str, extranonce2: u64) -> [u8; 32] {
    let work = Work::from(heard, "00000000", extranonce2);
    let nonce = work.nonce(0, true);
    rig.say(conn, &work.submit(4, extranonce2, nonce));
    work.hash(nonce)
}

fn connect_call(rig: &Rig) -> Option<&str> {
    let call = rig.calls.iter().find(|(_, _, body)| body.contains("connect_block"));
    call.map(|(_, endpoint, body)| {
        assert_eq!(*endpoint, Endpoint::Sidechain(0));
        body.as_str()
    })
}

#[test]
fn the_block_goes_back_as_it_came_once_the_node_took_ours() {
    let mut rig = Rig::mining(with_thunder(Fallback::Zero));
    assert!(!rig.listening, "the job waits for h*");
    rig.reply("get_block_template", offer("ab", 1));
    let (conn, heard) = rig.miner();
    let script = Work::from(&heard, "00000000", 0).outputs()[1].script_pubkey.clone();
    assert_eq!(hex::encode(script.as_bytes()), format!("6a25d161736809{}", "ab".repeat(32)));
    let hash = solve(&mut rig, conn, &heard, 5);
    assert_eq!(connect_call(&rig), None, "not before the node took it");
    rig.reply("submitblock", json("null"));
    let hash = crate::mining::hash::display_hash(&hash);
    let params = format!("[{},\"{hash}\"]", side_block("ab", &hex::encode(&[1; 32])));
    assert!(connect_call(&rig).is_some_and(|body| body.contains(&params)), "{:?}", rig.calls);

    // It needs a moment to hear of the mainchain block.
    for refusal in [Err(CallError::Timeout), json("false")] {
        rig.reply("connect_block", refusal);
        assert_eq!(connect_call(&rig), None, "a pause first");
        rig.wait(Duration::from_millis(200));
    }
    rig.reply("connect_block", json("true"));
    let counters = rig.pool.counters();
    assert_eq!((counters.sidechain_blocks_connected, counters.sidechain_blocks_lost), (1, 0));
    assert_eq!(rig.asked("get_block_template"), 1, "its next block stands on this one");
}

#[test]
fn a_share_for_an_older_job_connects_the_block_of_that_job() {
    let mut rig = Rig::mining(with_thunder(Fallback::Zero));
    rig.reply("get_block_template", offer("ab", 1));
    let (conn, older) = rig.miner();
    rig.wait(Duration::from_secs(10));
    rig.reply("getblocktemplate", template(1, 101));
    rig.reply("get_block_template", offer("cd", 1));
    assert!(rig.hear(conn).contains("mining.notify"));
    solve(&mut rig, conn, &older, 5);
    rig.reply("submitblock", json("\"duplicate\""));
    assert!(connect_call(&rig).is_some_and(|body| body.contains("\"name\": \"ab\"")));
}

#[test]
fn a_fallback_is_never_connected() {
    for fallback in [Fallback::Zero, Fallback::Skip] {
        let mut rig = Rig::mining(with_thunder(fallback));
        rig.reply("get_block_template", Err(CallError::Timeout));
        let (conn, heard) = rig.miner();
        solve(&mut rig, conn, &heard, 5);
        rig.reply("submitblock", json("null"));
        assert_eq!(connect_call(&rig), None);
    }
}

#[test]
fn a_block_that_the_node_refused_is_not_connected() {
    let mut rig = Rig::mining(with_thunder(Fallback::Zero));
    rig.reply("get_block_template", offer("ab", 1));
    let (conn, heard) = rig.miner();
    solve(&mut rig, conn, &heard, 5);
    rig.reply("submitblock", json("\"inconclusive\""));
    assert_eq!(connect_call(&rig), None);
}

#[test]
fn a_daemon_on_the_tip_before_is_asked_until_it_is_there() {
    let mut rig = Rig::mining(with_thunder(Fallback::Zero));
    rig.reply("get_block_template", offer("ab", 7));
    assert_eq!(rig.pool.counters().jobs, 0, "it may be there any moment");
    rig.wait(Duration::from_millis(50));
    rig.reply("get_block_template", offer("cd", 1));
    let (_, heard) = rig.miner();
    let script = Work::from(&heard, "00000000", 0).outputs()[1].script_pubkey.clone();
    assert!(hex::encode(script.as_bytes()).ends_with("cdcd"));
}

#[test]
fn a_final_no_is_counted_and_ends_it() {
    let mut rig = Rig::mining(with_thunder(Fallback::Zero));
    rig.reply("get_block_template", offer("ab", 1));
    let (conn, heard) = rig.miner();
    solve(&mut rig, conn, &heard, 5);
    rig.reply("submitblock", json("null"));
    let unknown = "{\"error\":{\"code\":-32601,\"message\":\"Method not found\"}}";
    let unknown = HttpReply { status: 200, body: Bytes::from_static(unknown.as_bytes()) };
    rig.reply("connect_block", Ok(unknown));
    assert_eq!(rig.pool.counters().sidechain_blocks_lost, 1);
    rig.wait(Duration::from_secs(8));
    assert_eq!(connect_call(&rig), None);
}
