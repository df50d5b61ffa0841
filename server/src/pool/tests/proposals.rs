//! Each job's block is proposed to the node, and what a refusal does.

use super::*;

/// A template of a node that judges proposals.
#[expect(clippy::unnecessary_wraps, reason = "the form in which replies come")]
fn proposable(parent: u8, height: u32) -> Result<HttpReply, CallError> {
    let HttpReply { status, body } = template(parent, height).expect("a reply");
    let text = String::from_utf8(body.to_vec()).expect("JSON is UTF-8");
    let body = text.replacen("{\"version\"", "{\"capabilities\":[\"proposal\"],\"version\"", 1);
    Ok(HttpReply { status, body: body.into() })
}

fn mining(config: Config) -> Rig {
    let mut rig = Rig::new(config);
    rig.finish_writes();
    rig.reply("getblockchaininfo", json(r#"{"chain":"regtest","blocks":100}"#));
    rig.reply("getblocktemplate", proposable(1, 101));
    rig
}

/// The block that is proposed, decoded by the `bitcoin` crate.
fn proposed(rig: &Rig) -> bitcoin::Block {
    let (_, _, body) = rig
        .calls
        .iter()
        .find(|(_, _, body)| body.contains("\"mode\":\"proposal\""))
        .expect("a proposal is under way");
    let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
    let data = body["params"][0]["data"].as_str().expect("a string");
    bitcoin::consensus::encode::deserialize_hex(data).expect("a whole block")
}

fn answer(rig: &mut Rig, result: &str) {
    rig.reply("\"mode\":\"proposal\"", json(result));
}

/// How many commitments miners were sent.
fn commitments(heard: &str) -> usize {
    let outputs = Work::from(heard, "00000000", 5).outputs();
    let m7 = [0x6a, 0x25, 0xd1, 0x61, 0x73, 0x68];
    outputs.iter().filter(|output| output.script_pubkey.as_bytes().starts_with(&m7)).count()
}

#[test]
fn each_job_is_proposed_a_moment_after_it_went_out() {
    let mut rig = mining(with_sidechain(Fallback::Zero));
    rig.reply("getbestblockhash", json(&format!("\"{}\"", "ab".repeat(32))));
    assert_eq!(rig.asked("proposal\",\"data"), 0, "the job goes first");
    rig.wait(Duration::from_millis(100));
    let block = proposed(&rig);
    assert!(block.check_merkle_root() && block.check_witness_commitment());
    assert_eq!(block.header.prev_blockhash.to_byte_array(), [1; 32]);
    assert_eq!(block.bip34_block_height(), Ok(101));
    let paid: u64 = block.txdata[0].output.iter().map(|output| output.value.to_sat()).sum();
    assert_eq!((paid, block.txdata[0].output.len()), (5_000_000_000, 3));
    rig.wait(Duration::from_millis(500));
    assert_eq!(rig.asked("proposal\",\"data"), 1, "one at a time");
    answer(&mut rig, "null");
    let counters = rig.pool.counters();
    assert_eq!((counters.proposals_taken, counters.proposals_refused), (1, 0));
    rig.wait(Duration::from_secs(1));
    assert_eq!(rig.asked("proposal\",\"data"), 0, "once for each job");
}

#[test]
fn a_node_that_does_not_offer_it_is_not_asked() {
    let mut rig = Rig::mining(config());
    rig.wait(Duration::from_secs(5));
    assert_eq!(rig.asked("proposal\",\"data"), 0);
}

/// The longest that any session gets is proposed: with a payee of the longest script and a fee.
#[test]
fn who_mines_alone_has_the_widest_coinbase_proposed() {
    let mut config = config();
    config.miners.solo = Some(crate::config::Solo { fee_basis_points: 100 });
    let mut rig = mining(config);
    rig.wait(Duration::from_millis(100));
    let values: Vec<u64> =
        proposed(&rig).txdata[0].output.iter().map(|output| output.value.to_sat()).collect();
    assert_eq!(values, [4_950_000_000, 0, 50_000_000]);
}

#[test]
fn what_is_refused_is_made_anew_without_what_is_ours() {
    let mut rig = mining(with_sidechain(Fallback::Zero));
    rig.reply("getbestblockhash", json(&format!("\"{}\"", "ab".repeat(32))));
    let (conn, heard) = rig.miner();
    assert_eq!(commitments(&heard), 1);
    rig.wait(Duration::from_millis(100));
    answer(&mut rig, "\"bad-cb-something\"");
    assert_eq!(rig.pool.counters().proposals_refused, 1);
    let heard = rig.hear(conn);
    assert_eq!(commitments(&heard), 0, "at once, and without");
    assert!(!Work::from(&heard, "00000000", 5).clean, "shares of the other still count");
    // The barer one is proposed too; what is refused then cannot be helped.
    rig.wait(Duration::from_millis(100));
    assert_eq!(proposed(&rig).txdata[0].output.len(), 2);
    answer(&mut rig, "\"bad-cb-something\"");
    assert_eq!(rig.pool.counters().proposals_refused, 2);
    assert_eq!(rig.hear(conn), "", "the same again would be no better");
    // Another tip is another matter.
    rig.reply_long_poll(proposable(2, 102));
    rig.reply("getbestblockhash", json(&format!("\"{}\"", "cd".repeat(32))));
    assert_eq!(commitments(&rig.hear(conn)), 1);
}

#[test]
fn a_tip_that_moved_meanwhile_is_no_refusal() {
    let mut rig = mining(config());
    rig.wait(Duration::from_millis(100));
    answer(&mut rig, "\"inconclusive-not-best-prevblk\"");
    let counters = rig.pool.counters();
    assert_eq!((counters.proposals_taken, counters.proposals_refused), (0, 0));
}

#[test]
fn a_found_block_goes_before_any_question() {
    let mut rig = mining(easy());
    let (conn, heard) = rig.miner();
    let work = Work::from(&heard, "00000000", 5);
    rig.say(conn, &work.submit(4, 5, work.nonce(0, true)));
    rig.wait(Duration::from_secs(1));
    assert_eq!((rig.asked("submitblock"), rig.asked("proposal\",\"data")), (1, 0));
    rig.reply("submitblock", json("null"));
    assert_eq!(rig.asked("proposal\",\"data"), 1);
}
