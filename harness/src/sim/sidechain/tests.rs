//! The stand-in advances with its own candidate and with nothing else.

use bitcoin::hashes::Hash as _;
use bitcoin::{Amount, ScriptBuf, TxOut};
use serde_json::{Value, json};

use super::*;
use crate::sim::node::SimNode;
use crate::sim::{World, WorldEvent};

const NOW: u32 = 1_800_000_000;
const SLOT: u8 = 9;

fn output(script: Vec<u8>) -> TxOut {
    TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::from_bytes(script) }
}

fn commitment(slot: u8, h_star: HStar) -> TxOut {
    TxOut { value: Amount::ZERO, script_pubkey: m7_script(slot, h_star) }
}

/// Mines a block with these coinbase outputs on the tip of a world with one sidechain, and returns
/// the sidechain's height after it.
fn height_after(outputs: impl FnOnce(&Sidechain) -> Vec<TxOut>) -> u32 {
    let mut world = World::new([SLOT], 1);
    let outputs = outputs(world.sidechain(SLOT).unwrap());
    let tip = world.node().tip();
    world.mine_rival_with(tip, NOW, &outputs).unwrap();
    assert_eq!(world.sidechain(SLOT).unwrap().main_tip(), world.node().tip());
    world.sidechain(SLOT).unwrap().height()
}

#[test]
fn the_candidate_committed_to_becomes_a_block() {
    assert_eq!(height_after(|chain| vec![commitment(SLOT, chain.candidate())]), 1);
    // Other sidechains' commitments and anything else may stand beside it, in any order.
    let beside = |chain: &Sidechain| {
        let other = commitment(SLOT + 1, HStar([7; 32]));
        vec![other, output(vec![0x6a]), commitment(SLOT, chain.candidate())]
    };
    assert_eq!(height_after(beside), 1);
}

#[test]
fn nothing_else_becomes_a_block() {
    let bytes = |chain: &Sidechain| m7_script(SLOT, chain.candidate()).into_bytes();
    assert_eq!(height_after(|_| vec![]), 0);
    assert_eq!(height_after(|_| vec![commitment(SLOT, HStar([0; 32]))]), 0);
    assert_eq!(height_after(|chain| vec![commitment(SLOT, chain.tip())]), 0);
    assert_eq!(height_after(|chain| vec![commitment(SLOT + 1, chain.candidate())]), 0);
    let reversed = |chain: &Sidechain| {
        let HStar(mut bytes) = chain.candidate();
        bytes.reverse();
        vec![commitment(SLOT, HStar(bytes))]
    };
    assert_eq!(height_after(reversed), 0);
    let trailing = |chain: &Sidechain| vec![output([bytes(chain), vec![0]].concat())];
    assert_eq!(height_after(trailing), 0);
    let cut = |chain: &Sidechain| vec![output(bytes(chain)[..38].to_vec())];
    assert_eq!(height_after(cut), 0);
    let push_data =
        |chain: &Sidechain| vec![output([&[0x6a, 0x4c, 0x25][..], &bytes(chain)[2..]].concat())];
    assert_eq!(height_after(push_data), 0);
    let twice = |chain: &Sidechain| vec![commitment(SLOT, chain.candidate()); 2];
    assert_eq!(height_after(twice), 0);
}

/// Vector M7-c of `fixtures`' sources: slot 0, h* of zeroes.
#[test]
fn an_m7_is_39_bytes_in_the_order_given() {
    let script = m7_script(0, HStar([0; 32])).to_hex_string();
    assert_eq!(script, format!("6a25d1617368{}", "00".repeat(33)));
    let h_star = HStar(std::array::from_fn(|index| u8::try_from(index).unwrap()));
    assert_eq!(m7(m7_script(255, h_star).as_bytes()), Some((255, h_star)));
    assert_eq!(h_star.to_string()[..8], *"00010203");
}

#[test]
fn a_real_blocks_m7s_are_read_in_order() {
    let hex = fixtures::BLOCK_THREE_BIDS.trim();
    let block: Block = bitcoin::consensus::encode::deserialize_hex(hex).unwrap();
    // The order of the bids in the block's template.
    let slots: Vec<u8> = m7s(&block).into_iter().map(|(slot, _)| slot).collect();
    assert_eq!(slots, [5, 2, 9]);
}

#[test]
fn the_candidate_names_both_tips() {
    let mut world = World::new([SLOT], 1);
    let first = world.sidechain(SLOT).unwrap().candidate();
    let tip = world.node().tip();
    world.mine_rival(tip, NOW).unwrap();
    let second = world.sidechain(SLOT).unwrap().candidate();
    assert_ne!(first, second);
    // The old one is for a mainchain tip that is gone.
    let tip = world.node().tip();
    world.mine_rival_with(tip, NOW, &[commitment(SLOT, first)]).unwrap();
    assert_eq!(world.sidechain(SLOT).unwrap().height(), 0);
    let other_seed = World::new([SLOT], 2);
    assert_ne!(other_seed.sidechain(SLOT).unwrap().candidate(), first);
    assert_eq!(World::new([SLOT], 1).sidechain(SLOT).unwrap().candidate(), first);
}

#[test]
fn a_refreshed_candidate_does_not_retire_the_one_before() {
    let mut world = World::new([SLOT], 1);
    let first = world.sidechain(SLOT).unwrap().candidate();
    world.sidechain_mut(SLOT).unwrap().refresh_candidate();
    assert_ne!(world.sidechain(SLOT).unwrap().candidate(), first);
    let tip = world.node().tip();
    world.mine_rival_with(tip, NOW, &[commitment(SLOT, first)]).unwrap();
    assert_eq!(world.sidechain(SLOT).unwrap().tip(), first);
}

#[test]
fn a_reorganisation_takes_the_sidechains_block_back() {
    let mut world = World::new([SLOT], 1);
    let genesis = world.node().tip();
    let before = world.sidechain(SLOT).unwrap().clone();
    let h_star = before.candidate();
    let merge_mined = world.mine_rival_with(genesis, NOW, &[commitment(SLOT, h_star)]).unwrap();
    let seen = [Seen { main_hash: merge_mined, h_star: Some(h_star) }];
    assert_eq!(world.sidechain(SLOT).unwrap().history(), seen);
    std::iter::from_fn(|| world.poll_event()).for_each(drop);

    let rival = world.mine_rival(genesis, NOW).unwrap();
    let longer = world.mine_rival(rival, NOW).unwrap();
    let events: Vec<WorldEvent> = std::iter::from_fn(|| world.poll_event()).collect();
    let [WorldEvent::SidechainRolledBack { slot, height, h_star: lost }, tip] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!((*slot, *height, *lost), (SLOT, 0, h_star));
    assert!(matches!(tip, WorldEvent::TipChanged { hash, height: 2, .. } if *hash == longer));
    assert_eq!(world.sidechain(SLOT).unwrap().tip(), before.tip());
    assert_eq!(world.sidechain(SLOT).unwrap().main_tip(), longer);

    // Back again: the block it was on has more work, and the sidechain has its block once more.
    let child = world.mine_rival(merge_mined, NOW).unwrap();
    world.mine_rival(child, NOW).unwrap();
    assert_eq!(world.sidechain(SLOT).unwrap().tip(), h_star);
}

#[test]
fn following_a_node_block_by_block_or_at_once_comes_to_the_same() {
    let mut world = World::new([SLOT], 1);
    let start = world.node().tip();
    let mut follower = Sidechain::new(SLOT, 1, start);
    for round in 0..6 {
        let candidate = world.sidechain(SLOT).unwrap().candidate();
        let outputs = if round % 2 == 0 { vec![commitment(SLOT, candidate)] } else { vec![] };
        let tip = world.node().tip();
        world.mine_rival_with(tip, NOW, &outputs).unwrap();
    }
    let branch = |node: &SimNode, from: u32| -> Vec<(BlockHash, Block)> {
        let hashes = (from..).map_while(|height| node.chain().active_hash(height));
        hashes.map(|hash| (hash, (**node.block(hash).unwrap()).clone())).collect()
    };
    let changes = follower.follow(start, &branch(world.node(), 1)).unwrap();
    assert_eq!(changes.len(), 3);
    assert_eq!(follower.tip(), world.sidechain(SLOT).unwrap().tip());
    assert_eq!(follower.candidate(), world.sidechain(SLOT).unwrap().candidate());

    // Two blocks are invalidated, the second last of which was merge-mined.
    let fork = world.node().chain().active_hash(4).unwrap();
    let fifth = world.node().chain().active_hash(5).unwrap();
    world.change_node(|node| node.invalidate(fifth)).unwrap();
    let changes = follower.follow(fork, &[]).unwrap();
    assert!(matches!(changes[..], [SidechainChange::RolledBack { height: 2, .. }]));
    assert_eq!(follower.candidate(), world.sidechain(SLOT).unwrap().candidate());
}

#[test]
fn blocks_out_of_order_are_refused() {
    let mut node = SimNode::new();
    let start = node.tip();
    let mut chain = Sidechain::new(SLOT, 1, start);
    let first = node.mine_rival(start, NOW).unwrap();
    let second = node.mine_rival(first, NOW).unwrap();
    let block = node.block(second).unwrap();
    let refusal = OutOfOrder { expected: first, actual: start };
    assert_eq!(chain.main_block_connected(block, second), Err(refusal));
    assert_eq!(chain.main_block_disconnected(first), Err(refusal));
    assert!(chain.main_block_disconnected(start).is_err());
    assert!(chain.follow(second, &[]).is_err());
    assert_eq!(chain.main_tip(), start);
    assert!(!chain.has_seen(BlockHash::all_zeros()));
}

#[test]
fn the_rpc_gives_the_candidate_in_the_order_of_its_bytes() {
    let mut chain = Sidechain::new(SLOT, 1, BlockHash::all_zeros());
    let ask = |chain: &mut Sidechain, method: &str| {
        let body = format!(r#"{{"id":"x","method":"{method}","params":[]}}"#);
        let reply = chain.handle_rpc(body.as_bytes())?;
        Some((reply.status, String::from_utf8(reply.body).unwrap()))
    };
    let HStar(bytes) = chain.candidate();
    let hex = bitcoin::consensus::encode::serialize_hex(&bytes);
    let best = format!("{{\"result\":\"{hex}\",\"error\":null,\"id\":\"x\"}}\n");
    assert_eq!(ask(&mut chain, "getbestblockhash"), Some((200, best)));
    let count = "{\"result\":0,\"error\":null,\"id\":\"x\"}\n".to_owned();
    assert_eq!(ask(&mut chain, "getblockcount"), Some((200, count)));
    assert_eq!(ask(&mut chain, "stop").map(|(status, _)| status), Some(404));
    chain.set_down(true);
    assert_eq!(ask(&mut chain, "getbestblockhash"), None);
}

/// Calls a daemon of Thunder's kind.
fn call(world: &mut World, method: &str, params: &Value) -> Value {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let reply = world.handle_sidechain_rpc(SLOT, body.to_string().as_bytes()).unwrap();
    let reply: Value = serde_json::from_slice(&reply.body).unwrap();
    reply.get("result").or_else(|| reply.get("error")).unwrap().clone()
}

#[test]
fn a_thunder_grows_when_its_block_comes_back_and_not_before() {
    let mut world = World::new([], 1);
    world.add_thunder(SLOT, 1);
    let template = call(&mut world, "get_block_template", &json!([]));
    let h_star = world.sidechain(SLOT).unwrap().candidate();
    assert_eq!(template["critical_hash"], h_star.to_string());
    let genesis = world.node().tip();
    assert_eq!(template["block"]["header"]["prev_main_hash"], genesis.to_string());
    let height = |world: &World| world.sidechain(SLOT).unwrap().height();

    let other = commitment(SLOT, HStar([7; 32]));
    let [without, with] = [other, commitment(SLOT, h_star)]
        .map(|output| world.mine_rival_with(genesis, NOW, &[output]).unwrap());
    let block = &template["block"];
    let refused = call(&mut world, "connect_block", &json!([block, without.to_string()]));
    assert_eq!(refused, json!(false), "it commits to another block");
    // Of two rivals the first stays the tip; the node has to take the other one.
    world.change_node(|node| {
        let body = json!({ "method": "invalidateblock", "params": [without.to_string()] });
        node.handle_rpc(NOW, body.to_string().as_bytes())
    });
    assert_eq!((world.node().tip(), height(&world)), (with, 0));
    let next = call(&mut world, "get_block_template", &json!([]));
    assert_ne!(next["critical_hash"], template["critical_hash"], "another tip, another h*");

    world.sidechain_mut(SLOT).unwrap().fail_connects(1);
    let params = json!([block, with.to_string()]);
    assert_eq!(call(&mut world, "connect_block", &params)["code"], -1);
    let changed = json!([{ "header": block["header"], "body": {} }, with.to_string()]);
    assert_eq!(call(&mut world, "connect_block", &changed), json!(false));
    assert_eq!(height(&world), 0);
    assert_eq!(call(&mut world, "connect_block", &params), json!(true));
    assert_eq!((height(&world), world.sidechain(SLOT).unwrap().tip()), (1, h_star));
    assert_eq!(call(&mut world, "connect_block", &params), json!(false), "once");
    assert_eq!(call(&mut world, "getbestblockhash", &json!([]))["code"], -32601);
    assert_eq!(world.sidechain(SLOT).unwrap().connect_calls(), 5);
    world.change_node(|node| {
        let body = json!({ "method": "invalidateblock", "params": [with.to_string()] });
        node.handle_rpc(NOW, body.to_string().as_bytes())
    });
    assert_eq!(height(&world), 0, "and goes with its mainchain block");
}
