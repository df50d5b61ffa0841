//! Every reason to refuse a block, each from a block that is right but for one thing.

use bitcoin::hashes::Hash as _;
use bitcoin::{Amount, BlockHash, ScriptBuf, TxMerkleNode, TxOut, Witness, absolute};

use super::draft::{
    Commitment, Draft, NOW, extend, extend_empty, fresh, mine_to, propose, script_sig, spend,
    unknown, verdicts,
};
use crate::sim::chain::subsidy_sats;
use crate::sim::node::{NodeChange, Refusal, SimNode, Verdict, check};

/// Spoils a right block and compares what proposal, submission and resubmission are answered.
fn check_spoilt(expected: [&str; 3], spoil: impl FnOnce(&mut Draft)) {
    let mut node = SimNode::new();
    mine_to(&mut node, 3);
    let mut draft = fresh(&node);
    spoil(&mut draft);
    let tip = node.tip();
    assert_eq!(verdicts(&mut node, &draft.build()), expected);
    assert_eq!(node.tip(), tip);
}

/// A fault of the header or of the body by itself is found each time anew.
fn check_forgotten(word: &str, spoil: impl FnOnce(&mut Draft)) {
    check_spoilt([word, word, word], spoil);
}

/// A fault that the header commits to is remembered.
fn check_remembered(word: &str, spoil: impl FnOnce(&mut Draft)) {
    check_spoilt([word, word, "duplicate-invalid"], spoil);
}

#[test]
fn a_right_block_is_accepted_once() {
    let mut node = SimNode::new();
    let block = fresh(&node).build();
    assert_eq!(verdicts(&mut node, &block), ["accepted", "accepted", "duplicate"]);
    assert_eq!(node.tip(), block.block_hash());
}

#[test]
fn heights_of_one_digit_are_small_numbers_and_padded() {
    let mut node = SimNode::new();
    for height in 1..=17 {
        let draft = fresh(&node);
        let first = draft.script_sig.as_bytes()[0];
        assert_eq!(first, if height <= 16 { 0x50 + height } else { 0x01 });
        extend(&mut node, &draft);
    }
}

#[test]
fn high_hash() {
    check_spoilt(["accepted", "high-hash", "high-hash"], |draft| draft.meets_target = false);
    // A harder or an impossible target is claimed: proposals look at the claim itself.
    for bits in [0x1d00_ffff, 0x217f_ffff, 0x2080_0001, 0] {
        check_spoilt(["bad-diffbits", "high-hash", "high-hash"], |draft| draft.bits = bits);
    }
}

#[test]
fn headers_that_do_not_fit_the_chain() {
    check_forgotten("bad-diffbits", |draft| draft.bits = 0x207f_fffe);
    check_spoilt(
        ["inconclusive-not-best-prevblk", "prev-blk-not-found", "prev-blk-not-found"],
        |draft| draft.parent = BlockHash::from_byte_array([0x11; 32]),
    );
    check_forgotten("time-too-old", |draft| draft.time = NOW);
    check_forgotten("time-too-new", |draft| draft.time = NOW + 7201);
    check_forgotten("bad-version(0x00000001)", |draft| draft.version = 1);
    check_forgotten("bad-version(0x80000000)", |draft| draft.version = i32::MIN);
}

#[test]
fn the_limits_of_the_time_are_themselves_allowed() {
    let mut node = SimNode::new();
    mine_to(&mut node, 3);
    let mut draft = fresh(&node);
    draft.time = node.chain().median_time_past(node.tip()) + 1;
    assert_eq!(propose(&mut node, &draft.build()), "accepted");
    draft.time = NOW + 7200;
    assert_eq!(propose(&mut node, &draft.build()), "accepted");
}

#[test]
fn bodies_that_are_wrong_by_themselves() {
    check_forgotten("bad-txnmrklroot", |draft| {
        draft.root = Some(TxMerkleNode::from_byte_array([1; 32]));
    });
    check_forgotten("bad-txns-duplicate", |draft| {
        draft.transactions = vec![spend(unknown(1), 0, 1); 3];
    });
    check_forgotten("bad-cb-length", |draft| draft.script_sig = ScriptBuf::from_bytes(vec![0x54]));
    check_forgotten("bad-cb-length", |draft| {
        let height = draft.script_sig.as_bytes()[0];
        draft.script_sig = ScriptBuf::from_bytes(vec![height; 101]);
    });
    let big = vec![0x6a; 1_000_100];
    check_forgotten("bad-blk-length", |draft| {
        let mut tx = spend(unknown(1), 0, 1);
        tx.output[0].script_pubkey = ScriptBuf::from_bytes(big);
        draft.transactions = vec![tx];
    });
    check_forgotten("bad-txns-vout-negative", |draft| draft.value = u64::MAX);
    check_forgotten("bad-txns-vout-toolarge", |draft| draft.value = 2_100_000_000_000_001);
    check_forgotten("bad-txns-txouttotal-toolarge", |draft| {
        let mut tx = spend(unknown(1), 0, 2_100_000_000_000_000);
        tx.output.push(tx.output[0].clone());
        draft.transactions = vec![tx];
    });
    check_forgotten("bad-txns-inputs-duplicate", |draft| {
        let mut tx = spend(unknown(1), 0, 1);
        tx.input.push(tx.input[0].clone());
        draft.transactions = vec![tx];
    });
    check_forgotten("bad-txns-prevout-null", |draft| {
        let mut tx = spend(unknown(1), 0, 1);
        tx.input.push(tx.input[0].clone());
        tx.input[1].previous_output = bitcoin::OutPoint::null();
        draft.transactions = vec![tx];
    });
    check_forgotten("bad-txns-vout-empty", |draft| {
        let mut tx = spend(unknown(1), 0, 1);
        tx.output.clear();
        draft.transactions = vec![tx];
    });
}

#[test]
fn the_first_transaction_and_only_it_is_a_coinbase() {
    let mut node = SimNode::new();
    let draft = fresh(&node);
    let ordinary = draft.seal(vec![spend(unknown(1), 0, 1)]);
    assert_eq!(node.submit(NOW, ordinary), Verdict::Refused(Refusal::CoinbaseMissing));
    let mut second = draft.build().txdata[0].clone();
    second.input[0].script_sig = script_sig(1, 9);
    let two = draft.seal(vec![draft.build().txdata[0].clone(), second]);
    assert_eq!(node.submit(NOW, two), Verdict::Refused(Refusal::CoinbaseMultiple));
    let none = draft.seal(Vec::new());
    assert_eq!(node.submit(NOW, none), Verdict::Refused(Refusal::BadLength));
    let mut rooted = draft;
    rooted.root = Some(TxMerkleNode::from_byte_array([1; 32]));
    let none = rooted.seal(Vec::new());
    assert_eq!(node.submit(NOW, none), Verdict::Refused(Refusal::BadMerkleRoot));
}

#[test]
fn coinbases_that_do_not_fit_the_chain() {
    check_remembered("bad-cb-height", |draft| draft.script_sig = script_sig(5, 0));
    check_remembered("bad-cb-amount", |draft| draft.value += 1);
}

/// A witness that is wrong may be the fault of whoever passed the block on: the header is kept, so
/// a second proposal is a duplicate, while a right body for it is still welcome.
#[test]
fn witnesses_and_their_commitment() {
    check_forgotten("bad-witness-nonce-size", |draft| draft.witness = vec![vec![0; 31]]);
    check_forgotten("bad-witness-nonce-size", |draft| draft.witness = vec![vec![0; 32]; 2]);
    check_forgotten("bad-witness-merkle-match", |draft| draft.commitment = Commitment::Wrong);
    check_forgotten("unexpected-witness", |draft| draft.commitment = Commitment::Absent);

    let mut node = SimNode::new();
    let right = fresh(&node).build();
    let mut wrong = right.clone();
    wrong.txdata[0].input[0].witness = Witness::from_slice(&[[0_u8; 31]]);
    assert_eq!(node.submit(NOW, wrong), Verdict::Refused(Refusal::WitnessNonceSize));
    assert_eq!(verdicts(&mut node, &right), ["duplicate-inconclusive", "accepted", "duplicate"]);
}

#[test]
fn a_missing_reserved_value_is_filled_in_for_submissions_only_and_reported() {
    let mut node = SimNode::new();
    let mut draft = fresh(&node);
    draft.witness = Vec::new();
    let block = draft.build();
    assert_eq!(verdicts(&mut node, &block), ["bad-witness-nonce-size", "accepted", "duplicate"]);
    let mut changes = std::iter::from_fn(|| node.poll_change());
    assert!(
        changes.any(|change| matches!(
            change,
            NodeChange::Accepted { reserved_value_missing: true, .. }
        ))
    );
}

#[test]
fn without_witnesses_no_commitment_is_needed() {
    let mut node = SimNode::new();
    let mut draft = fresh(&node);
    draft.commitment = Commitment::Absent;
    draft.witness = Vec::new();
    extend(&mut node, &draft);
}

#[test]
fn weight_counts_witnesses_once() {
    check_remembered("bad-blk-weight", |draft| {
        let mut tx = spend(unknown(1), 0, 1);
        tx.input[0].witness = Witness::from_slice(&[vec![0; 3_999_500]]);
        draft.transactions = vec![tx];
    });
}

#[test]
fn inputs_must_exist() {
    check_remembered("bad-txns-inputs-missingorspent", |draft| {
        draft.transactions = vec![spend(unknown(1), 0, 1)];
    });
}

#[test]
fn lock_times_are_kept() {
    let locked = |lock_time: u32, sequence: u32| {
        let mut tx = spend(unknown(1), 0, 1);
        tx.lock_time = absolute::LockTime::from_consensus(lock_time);
        tx.input[0].sequence = bitcoin::Sequence(sequence);
        tx
    };
    check_remembered("bad-txns-nonfinal", |draft| {
        draft.transactions = vec![locked(4, 0xffff_fffe)];
    });
    check_remembered("bad-txns-nonfinal", |draft| {
        draft.transactions = vec![locked(NOW + 1, 0xffff_fffe)];
    });
    let missing = "bad-txns-inputs-missingorspent";
    check_remembered(missing, |draft| draft.transactions = vec![locked(3, 0xffff_fffe)]);
    check_remembered(missing, |draft| draft.transactions = vec![locked(4, 0xffff_ffff)]);
}

#[test]
fn a_coinbase_is_spent_after_a_hundred_blocks_and_once() {
    let mut node = SimNode::new();
    let first = extend_empty(&mut node);
    let coinbase = node.block(first).unwrap().txdata[0].compute_txid();
    let spending = spend(coinbase, 0, subsidy_sats(1) - 700);
    mine_to(&mut node, 99);
    let mut early = fresh(&node);
    early.transactions = vec![spending.clone()];
    assert_eq!(verdicts(&mut node, &early.build())[1], "bad-txns-premature-spend-of-coinbase");

    mine_to(&mut node, 100);
    let mut greedy = fresh(&node);
    greedy.transactions = vec![spending.clone()];
    greedy.value += 701;
    assert_eq!(verdicts(&mut node, &greedy.build())[1], "bad-cb-amount");
    let mut right = fresh(&node);
    right.transactions = vec![spending];
    right.value += 700;
    extend(&mut node, &right);

    let mut again = fresh(&node);
    again.transactions = vec![spend(coinbase, 0, 1)];
    assert_eq!(verdicts(&mut node, &again.build())[1], "bad-txns-inputs-missingorspent");
}

#[test]
fn a_transaction_pays_out_no_more_than_it_takes_in() {
    let mut node = SimNode::new();
    let granted = spend(unknown(1), 0, 1_000);
    node.add_transaction(granted.clone(), 10).unwrap();
    let mut draft = fresh(&node);
    draft.transactions = vec![granted.clone(), spend(granted.compute_txid(), 0, 1_001)];
    assert_eq!(verdicts(&mut node, &draft.build())[1], "bad-txns-in-belowout");
    draft.transactions[1] = spend(granted.compute_txid(), 0, 1_000);
    extend(&mut node, &draft);
}

#[test]
fn signature_operations_have_a_limit() {
    let mut node = SimNode::new();
    let mut tx = spend(unknown(1), 0, 1_000);
    // Each OP_CHECKSIG costs four, and 20,000 of them are all a block may have.
    let script_pubkey = ScriptBuf::from_bytes(vec![0xac; 10_000]);
    tx.output.extend(vec![TxOut { value: Amount::ZERO, script_pubkey }; 2]);
    node.add_transaction(tx.clone(), 0).unwrap();
    let mut draft = fresh(&node);
    draft.transactions = vec![tx.clone()];
    assert_eq!(propose(&mut node, &draft.build()), "accepted");
    tx.output[0].script_pubkey = ScriptBuf::from_bytes(vec![0xac]);
    draft.transactions = vec![tx];
    assert_eq!(verdicts(&mut node, &draft.build())[1], "bad-blk-sigops");
}

#[test]
fn a_transaction_whose_outputs_exist_is_refused() {
    let mut node = SimNode::new();
    let tx = spend(unknown(1), 0, 1_000);
    node.add_transaction(tx.clone(), 0).unwrap();
    let mut draft = fresh(&node);
    draft.transactions = vec![tx.clone()];
    extend(&mut node, &draft);
    let mut again = fresh(&node);
    again.transactions = vec![tx];
    assert_eq!(verdicts(&mut node, &again.build())[1], "bad-txns-BIP30");
}

/// The subsidy at 149, 150 and 151, to the satoshi.
#[test]
fn the_halving_is_enforced() {
    let mut node = SimNode::new();
    mine_to(&mut node, 148);
    for (height, subsidy) in [(149, 5_000_000_000), (150, 2_500_000_000), (151, 2_500_000_000)] {
        let mut draft = fresh(&node);
        draft.value = subsidy + 1;
        assert_eq!(verdicts(&mut node, &draft.build())[1], "bad-cb-amount", "{height}");
        draft.value = subsidy;
        extend(&mut node, &draft);
        assert_eq!(node.chain().height(), height);
    }
}

/// A block that a real bitcoind accepted, with segwit transactions and M7s.
#[test]
fn a_real_block_passes_the_checks() {
    let bytes: Vec<u8> =
        bitcoin::hex::FromHex::from_hex(fixtures::BLOCK_THREE_BIDS.trim()).unwrap();
    let mut block: bitcoin::Block = bitcoin::consensus::deserialize(&bytes).unwrap();
    let median_time = block.header.time - 1;
    assert_eq!(check::proof_of_work(&block.header), Ok(()));
    assert_eq!(check::body(&block), Ok(()));
    assert_eq!(check::body_in_chain(&block, 144, median_time), Ok(()));
    let last = block.txdata.len() - 1;
    block.txdata[last].input[0].witness.push([0_u8; 1]);
    let refusal = check::body_in_chain(&block, 144, median_time);
    assert_eq!(refusal, Err(Refusal::WitnessMerkleMatch));
}
