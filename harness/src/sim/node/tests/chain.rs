//! Which chain the node follows: forks, reorganisations, commands, and coins that come and go.

use bitcoin::consensus::encode::serialize_hex;
use serde_json::json;

use super::draft::{
    NOW, ask, extend, extend_empty, fresh, fresh_on, mine_to, script_sig, spend, unknown, verdicts,
};
use crate::sim::chain::subsidy_sats;
use crate::sim::node::{CannotMine, NodeChange, Refusal, SimNode, TipCause, Verdict};

/// Two chains of one block each on genesis, the first of them active.
fn forked() -> (SimNode, bitcoin::BlockHash, bitcoin::BlockHash) {
    let mut node = SimNode::new();
    let genesis = node.tip();
    let first = extend_empty(&mut node);
    let mut other = fresh_on(&node, genesis);
    other.script_sig = script_sig(1, 1);
    let other = other.build();
    assert_eq!(verdicts(&mut node, &other)[1..], ["inconclusive", "duplicate"]);
    assert_eq!(node.tip(), first);
    (node, first, other.block_hash())
}

#[test]
fn a_longer_branch_takes_over_and_reports_each_step() {
    let (mut node, first, second) = forked();
    std::iter::from_fn(|| node.poll_change()).for_each(drop);
    let draft = fresh_on(&node, second);
    let longer = extend(&mut node, &draft);
    let changes: Vec<String> = std::iter::from_fn(|| node.poll_change())
        .map(|change| match change {
            NodeChange::Connected { hash, .. } => format!("+{hash}"),
            NodeChange::Disconnected { hash } => format!("-{hash}"),
            NodeChange::Tip { hash, height, cause } => {
                assert_eq!(cause, TipCause::Submitted);
                format!("tip {hash} {height}")
            }
            NodeChange::Accepted { hash, .. } => format!("accepted {hash}"),
            NodeChange::Sidelined { .. } | NodeChange::Refused { .. } => panic!("{change:?}"),
        })
        .collect();
    assert_eq!(
        changes,
        [
            format!("-{first}"),
            format!("+{second}"),
            format!("+{longer}"),
            format!("tip {longer} 2"),
            format!("accepted {longer}"),
        ]
    );
    let header = ask(&mut node, "getblockheader", &json!([first.to_string()]));
    assert_eq!(header["confirmations"], -1);
    assert_eq!(header.get("nextblockhash"), None);
    let header = ask(&mut node, "getblockheader", &json!([second.to_string()]));
    assert_eq!(header["confirmations"], 2);
    assert_eq!(header["nextblockhash"], longer.to_string());
}

#[test]
fn invalidating_returns_to_the_older_branch_and_is_remembered() {
    let (mut node, first, second) = forked();
    let longer = fresh_on(&node, second).build();
    assert_eq!(node.submit(NOW, longer.clone()), Verdict::Accepted);
    ask(&mut node, "invalidateblock", &json!([longer.block_hash().to_string()]));
    assert_eq!(node.tip(), first);
    assert_eq!(verdicts(&mut node, &longer), ["duplicate-invalid"; 3]);
    let child = fresh_on(&node, longer.block_hash()).build();
    assert_eq!(
        verdicts(&mut node, &child),
        ["inconclusive-not-best-prevblk", "bad-prevblk", "bad-prevblk"]
    );
    let unknown = node.mine_rival(longer.block_hash(), NOW);
    assert_eq!(unknown, Err(CannotMine::UnknownParent(longer.block_hash())));
}

#[test]
fn genesis_survives_invalidation() {
    let mut node = SimNode::new();
    mine_to(&mut node, 2);
    let genesis = node.chain().active_hash(0).unwrap();
    ask(&mut node, "invalidateblock", &json!([genesis.to_string()]));
    assert_eq!(node.chain().height(), 2);
}

#[test]
fn a_precious_block_becomes_the_tip() {
    let (mut node, first, second) = forked();
    ask(&mut node, "preciousblock", &json!([second.to_string()]));
    assert_eq!(node.tip(), second);
    ask(&mut node, "preciousblock", &json!([first.to_string()]));
    assert_eq!(node.tip(), first);
}

#[test]
fn a_branch_that_breaks_a_rule_does_not_take_over() {
    let (mut node, first, second) = forked();
    extend_empty(&mut node);
    let tip = node.tip();
    let mut greedy = fresh_on(&node, second);
    greedy.value += 1;
    let greedy = greedy.build();
    // Not looked at closely while its branch is no longer than the active one.
    assert_eq!(verdicts(&mut node, &greedy)[1..], ["inconclusive", "duplicate"]);
    let child = fresh_on(&node, greedy.block_hash()).build();
    assert_eq!(verdicts(&mut node, &child)[1..], ["inconclusive", "duplicate-invalid"]);
    assert_eq!(verdicts(&mut node, &greedy), ["duplicate-invalid"; 3]);
    assert_eq!(node.tip(), tip);
    assert!(node.chain().is_active(first));
}

#[test]
fn coins_and_waiting_transactions_survive_a_reorganisation() {
    let mut node = SimNode::new();
    let genesis = node.tip();
    let parent = spend(unknown(1), 0, 1_000);
    let child = spend(parent.compute_txid(), 0, 900);
    node.add_transaction(parent.clone(), 50).unwrap();
    node.add_transaction(child.clone(), 100).unwrap();
    let mut draft = fresh(&node);
    draft.transactions = vec![parent.clone(), child.clone()];
    draft.value += 150;
    extend(&mut node, &draft);
    assert_eq!(node.waiting().count(), 0);

    let rival = node.mine_rival(genesis, NOW).unwrap();
    node.mine_rival(rival, NOW).unwrap();
    let waiting: Vec<_> = node.waiting().collect();
    assert_eq!(waiting, [parent.compute_txid(), child.compute_txid()]);
    let mut again = fresh(&node);
    again.transactions = vec![parent, child];
    again.value += 150;
    extend(&mut node, &again);
    assert_eq!(node.waiting().count(), 0);
}

#[test]
fn a_coinbase_that_left_the_chain_takes_its_spends_along() {
    let mut node = SimNode::new();
    let genesis = node.tip();
    let first = extend_empty(&mut node);
    let coinbase = node.block(first).unwrap().txdata[0].compute_txid();
    mine_to(&mut node, 100);
    let spending = serialize_hex(&spend(coinbase, 0, subsidy_sats(1)));
    ask(&mut node, "sendrawtransaction", &json!([spending]));
    assert_eq!(node.waiting().count(), 1);
    let mut tip = genesis;
    for _ in 0..101 {
        tip = node.mine_rival(tip, NOW).unwrap();
    }
    assert_eq!(node.tip(), tip);
    assert_eq!(node.waiting().count(), 0);
}

#[test]
fn a_rival_is_refused_only_for_what_it_was_given() {
    let mut node = SimNode::new();
    let pays_too_much = bitcoin::TxOut { value: bitcoin::Amount::ONE_SAT, ..bitcoin::TxOut::NULL };
    let outputs = [bitcoin::TxOut { script_pubkey: super::draft::anyone(), ..pays_too_much }];
    let mined = node.mine_rival_with(node.tip(), NOW, &outputs);
    assert_eq!(mined, Err(CannotMine::Refused(Refusal::CoinbaseAmount)));
    let one = node.mine_rival(node.tip(), NOW).unwrap();
    let two = node.mine_rival(node.block(one).unwrap().header.prev_blockhash, NOW).unwrap();
    assert_ne!(one, two);
    assert_eq!(node.tip(), one);
}

#[test]
fn equal_calls_give_equal_nodes() {
    let run = || {
        let mut node = SimNode::new();
        mine_to(&mut node, 20);
        node.add_transaction(spend(unknown(1), 0, 1_000), 50).unwrap();
        ask(&mut node, "getblocktemplate", &json!([{ "rules": ["segwit"] }])).to_string()
    };
    assert_eq!(run(), run());
}
