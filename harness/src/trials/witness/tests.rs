//! The witness at a conversation whose header is known: one of a real block.

use bitcoin::block::Header;
use bitcoin::consensus::serialize;
use bitcoin::hex::DisplayHex as _;
use bitcoin::{Block, Network};

use super::*;

/// The first block of regtest, as if a server had given it out: no branch, four bytes of its
/// coinbase taken for an extranonce of two and two.
struct Given {
    block: Block,
    lines: [String; 4],
    submit: String,
}

fn given() -> Given {
    let block = bitcoin::constants::genesis_block(Network::Regtest);
    let coinbase = serialize(&block.txdata[0]);
    let Header { version, prev_blockhash, time, bits, nonce, .. } = block.header;
    let mut parent = serialize(&prev_blockhash);
    parent.chunks_exact_mut(4).for_each(<[u8]>::reverse);
    let (version, bits) = (version.to_consensus(), bits.to_consensus());
    let params = [
        "\"j\"".to_owned(),
        format!("\"{}\"", parent.as_hex()),
        format!("\"{}\"", coinbase[..50].as_hex()),
        format!("\"{}\"", coinbase[54..].as_hex()),
        format!(r#"[],"{version:08x}","{bits:08x}","{time:08x}",true"#),
    ];
    let params = params.join(",");
    let notify = format!(r#"{{"id":null,"method":"mining.notify","params":[{params}]}}"#);
    let one = coinbase[50..52].as_hex();
    let subscribed = format!(r#"{{"id":1,"result":[[],"{one}",2],"error":null}}"#);
    let two = coinbase[52..54].as_hex();
    let params = format!(r#""w","j","{two}","{time:08x}","{nonce:08x}""#);
    let submit = format!(r#"{{"id":9,"method":"mining.submit","params":[{params}]}}"#);
    let subscribe = r#"{"id":1,"method":"mining.subscribe","params":[]}"#.to_owned();
    let difficulty = r#"{"id":null,"method":"mining.set_difficulty","params":[1]}"#.to_owned();
    Given { block, lines: [subscribe, subscribed, difficulty, notify], submit }
}

/// A witness of the conversation until the submission was sent.
fn witness(given: &Given) -> Witness {
    let witness = Witness::default();
    witness.opened(1);
    let [subscribe, rest @ ..] = &given.lines;
    witness.miner_sent(1, format!("{subscribe}\n").as_bytes());
    for line in rest {
        // Sockets do not know lines.
        let (head, tail) = line.split_at(line.len() / 2);
        witness.server_sent(1, head.as_bytes());
        witness.server_sent(1, format!("{tail}\n").as_bytes());
    }
    witness.miner_sent(1, format!("{}\n", given.submit).as_bytes());
    witness
}

#[test]
fn a_solving_share_is_known_by_its_header_and_its_answer() {
    let given = given();
    let witness = witness(&given);
    assert_eq!(*witness.progress().borrow(), Progress { solving: 1, acknowledged: 0, open: 1 });
    witness.server_sent(1, b"{\"id\":9,\"result\":true,\"error\":null}\n");
    assert_eq!(*witness.progress().borrow(), Progress { solving: 1, acknowledged: 1, open: 1 });
    let testimony = witness.testimony();
    assert!(testimony.not_understood.is_empty(), "{testimony:?}");
    let share = &testimony.submissions[0];
    assert_eq!((share.hash, share.worker.as_str()), (given.block.block_hash(), "w"));
    assert!(share.taken().is_some());
}

#[test]
fn a_share_that_solves_nothing_and_a_refusal_are_told_from_the_rest() {
    let mut given = given();
    // Another nonce: on regtest half of all headers are solutions.
    let header = |nonce| Header { nonce, ..given.block.header };
    let solves = |nonce: u32| header(nonce).target().is_met_by(header(nonce).block_hash());
    let nonce = (0..100).find(|nonce| !solves(*nonce)).unwrap();
    let known = format!("{:08x}", given.block.header.nonce);
    given.submit = given.submit.replace(&known, &format!("{nonce:08x}"));
    let witness = witness(&given);
    witness.server_sent(1, b"{\"id\":9,\"result\":null,\"error\":[23,\"low\",null]}\n");
    assert_eq!(*witness.progress().borrow(), Progress { open: 1, ..Progress::default() });
    let testimony = witness.testimony();
    let share = &testimony.submissions[0];
    assert!(!share.solves && share.taken().is_none());
    assert!(matches!(&share.reply, Some(Reply::Refused(why)) if why.contains("low")), "{share:?}");
}

#[test]
fn what_cannot_be_understood_is_kept() {
    let witness = Witness::default();
    witness.opened(1);
    witness
        .miner_sent(1, b"{\"id\":1,\"method\":\"mining.submit\",\"params\":[\"w\",\"unknown\"]}\n");
    witness.server_sent(1, b"no JSON\n");
    let problems = witness.testimony().not_understood;
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[1].contains("no JSON"), "{problems:?}");
}

#[test]
fn a_new_connection_begins_anew() {
    let given = given();
    let witness = witness(&given);
    witness.closed(1);
    assert_eq!(*witness.progress().borrow(), Progress { solving: 1, ..Progress::default() });
    witness.opened(1);
    witness.miner_sent(1, format!("{}\n", given.submit).as_bytes());
    assert_eq!(witness.testimony().not_understood.len(), 1, "its jobs are gone");
}
