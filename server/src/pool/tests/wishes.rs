//! Proposals, acknowledgements and votes in the coinbase, and when they are not.

use super::*;
use crate::bmm::message::{
    CoinbaseMessage, Declaration, SidechainAcknowledgement, SidechainProposal, Votes,
};
use crate::bmm::wishes::VoteWish;

fn wishes() -> Wishes {
    let proposal = SidechainProposal { slot: Slot(9), description: b"abc".to_vec() };
    let description_hash = proposal.description_hash();
    Wishes {
        acknowledgements: vec![SidechainAcknowledgement { slot: Slot(9), description_hash }],
        proposals: vec![proposal],
        votes: Some(VoteWish::LeadingBy50),
    }
}

fn scripts(heard: &str) -> Vec<String> {
    let outputs = Work::from(heard, "00000000", 5).outputs();
    outputs.iter().map(|output| hex::encode(output.script_pubkey.as_bytes())).collect()
}

fn solved(rig: &mut Rig, conn: ConnId, heard: &str) -> [u8; 32] {
    let work = Work::from(heard, "00000000", 5);
    let nonce = work.nonce(0, true);
    rig.say(conn, &work.submit(4, 5, nonce));
    work.hash(nonce)
}

#[test]
fn they_stand_between_payout_and_commitments() {
    let chain = OwnSidechain::new(Slot(9));
    let config = Config { wishes: wishes(), sidechains: vec![chain], ..config() };
    let mut rig = Rig::mining(config);
    rig.reply("getbestblockhash", json(&format!("\"{}\"", "ab".repeat(32))));
    let (_, heard) = rig.miner();
    let scripts = scripts(&heard);
    let starts = ["51", "6a08d5e0c4af09616263", "6a25d6e1c5df09", "6a05d77d177603"];
    for (script, start) in scripts.iter().zip(starts) {
        assert!(script.starts_with(start), "{scripts:?}");
    }
    assert!(scripts[4].starts_with("6a25d161736809abab") && scripts[5].starts_with("6a24aa21"));
    assert_eq!(scripts.len(), 6);
}

#[test]
fn a_proposal_stands_there_until_the_node_took_it_and_again_when_it_is_lost() {
    let config = Config { wishes: wishes(), ..easy() };
    let mut rig = Rig::mining(config);
    let (conn, heard) = rig.miner();
    assert!(scripts(&heard)[1].starts_with("6a08d5e0c4af"));
    solved(&mut rig, conn, &heard);
    rig.reply("submitblock", json("null"));
    rig.hear(conn);
    rig.reply("getblocktemplate", template(2, 102));
    let proposed = scripts(&rig.hear(conn));
    assert!(proposed[1].starts_with("6a25d6e1c5df"), "{proposed:?}");
    rig.wait(Duration::from_millis(100));
    rig.reply("getblockheader", json(r#"{"confirmations":-1}"#));
    rig.reply_long_poll(template(1, 101));
    rig.wait(Duration::from_secs(1));
    rig.hear(conn);
    rig.reply_long_poll(template(3, 103));
    assert!(scripts(&rig.hear(conn))[1].starts_with("6a08d5e0c4af"), "once more");
}

#[test]
fn votes_that_could_lose_the_block_are_left_out() {
    let active = [Slot(2)].into();
    let votes = Some(VoteWish::Each { active, upvotes: BTreeMap::new() });
    let mut rig = Rig::mining(Config { wishes: Wishes { votes, ..wishes() }, ..config() });
    let (_, heard) = rig.miner();
    let scripts = scripts(&heard);
    assert_eq!(scripts.len(), 4, "an M2 may activate slot 9: {scripts:?}");
    assert!(!scripts.iter().any(|script| script.contains("d77d1776")));
}

#[test]
fn a_full_block_is_mined_without_them() {
    let proposal = SidechainProposal { slot: Slot(9), description: vec![b'x'; 9_000] };
    let wishes = Wishes { proposals: vec![proposal; 150], ..Wishes::default() };
    let mut rig = Rig::mining(Config { wishes, ..config() });
    let (_, heard) = rig.miner();
    assert_eq!(scripts(&heard).len(), 3, "the same proposal stands there once");
}

#[test]
fn an_enforcers_templates_take_none() {
    let config = Config { wishes: wishes(), ..config() };
    let mut rig = Rig::new(config);
    rig.finish_writes();
    let unknown = "{\"error\":{\"code\":-32601,\"message\":\"Method not found\"}}";
    let unknown = HttpReply { status: 200, body: Bytes::from_static(unknown.as_bytes()) };
    rig.reply("getblockchaininfo", Ok(unknown));
    rig.reply("getblocktemplate", json(fixtures::GBT_ENFORCER_NO_MESSAGES));
    let (_, heard) = rig.miner();
    let scripts = scripts(&heard);
    assert_eq!(scripts.len(), 3, "its M4, the payout, the witness commitment: {scripts:?}");
    assert!(!scripts.iter().any(|script| script.contains("d5e0c4af")));
}

#[test]
fn messages_are_shown_in_a_few_words() {
    let check = |message: CoinbaseMessage, expected: &str| {
        assert_eq!(message.to_string(), expected);
    };
    let declaration = Declaration {
        title: "a\nb".to_owned(),
        description: String::new(),
        hash_id_1: [0; 32],
        hash_id_2: [0; 20],
    };
    let description = declaration.to_bytes().expect("short");
    check(
        CoinbaseMessage::M1(SidechainProposal { slot: Slot(9), description }),
        "M1 slot 9 \"a\\nb\"",
    );
    let Wishes { proposals, acknowledgements, .. } = wishes();
    check(CoinbaseMessage::M1(proposals[0].clone()), "M1 slot 9 58636c3e..");
    check(CoinbaseMessage::M2(acknowledgements[0]), "M2 slot 9 58636c3e..");
    check(CoinbaseMessage::M4(Votes::RepeatPrevious), "M4 repeat");
    check(CoinbaseMessage::M4(Votes::abstain(2)), "M4 votes ffff");
    check(CoinbaseMessage::M4(Votes::TwoByte(vec![0xffff, 254])), "M4 votes ffff00fe");
    check(CoinbaseMessage::M4(Votes::abstain(33)), &format!("M4 votes {}..", "ff".repeat(32)));
}
