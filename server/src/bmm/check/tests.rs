//! The captured block, the rules that no captured verdict covers, and agreement with a template.

use bitcoin::ScriptBuf;
use bitcoin::consensus::deserialize;
use bitcoin::hashes::Hash as _;
use bitcoin::hex::FromHex as _;
use proptest::prelude::*;

use super::*;
use crate::bmm::message::SidechainProposal;

fn parent() -> BlockHash {
    BlockHash::from_byte_array([7; 32])
}

fn bundle(byte: u8) -> Txid {
    Txid::from_byte_array([byte; 32])
}

fn acknowledgement(slot: u8, byte: u8) -> SidechainAcknowledgement {
    let description_hash = sha256d::Hash::from_byte_array([byte; 32]);
    SidechainAcknowledgement { slot: Slot(slot), description_hash }
}

fn m3(slot: u8, byte: u8) -> CoinbaseMessage {
    CoinbaseMessage::M3(BundleProposal { slot: Slot(slot), bundle: bundle(byte) })
}

fn votes(votes: &[u8]) -> CoinbaseMessage {
    CoinbaseMessage::M4(Votes::OneByte(votes.to_vec()))
}

/// Slot 9 is active with bundles 1 and 2 pending, slot 4 is one M2 away from it.
fn state() -> SidechainState {
    SidechainState {
        active: BTreeMap::from([(Slot(9), vec![bundle(1), bundle(2)])]),
        proposals: vec![
            OpenProposal { acknowledgement: acknowledgement(4, 1), next_activates: true },
            OpenProposal { acknowledgement: acknowledgement(5, 1), next_activates: false },
        ],
        previous_upvotes: Some(BTreeMap::from([(Slot(9), bundle(1))])),
    }
}

fn judge(messages: &[CoinbaseMessage], state: Option<&SidechainState>) -> Result<Found, Breaches> {
    let scripts: Vec<ScriptBuf> = messages.iter().map(|m| m.to_script().unwrap()).collect();
    template(parent(), scripts.iter().map(ScriptBuf::as_script), [], state)
}

fn accepts(messages: &[CoinbaseMessage]) {
    let found = judge(messages, Some(&state())).unwrap();
    assert_eq!(found.unchecked, []);
    let seen: Vec<_> = found.messages.into_iter().map(|found| found.message).collect();
    assert_eq!(seen, messages);
}

fn rejects(messages: &[CoinbaseMessage], expected: Breach) {
    let breaches = judge(messages, Some(&state())).unwrap_err();
    assert_eq!(breaches.iter().copied().collect::<Vec<_>>(), [expected], "{breaches}");
}

fn captured_block() -> Block {
    deserialize(&Vec::from_hex(fixtures::BLOCK_THREE_BIDS.trim()).unwrap()).unwrap()
}

#[test]
fn the_captured_block_passes_with_its_state_and_without() {
    let block = captured_block();
    let tip = block.header.prev_blockhash;
    let state = SidechainState {
        active: BTreeMap::from([(Slot(2), vec![]), (Slot(9), vec![])]),
        ..SidechainState::default()
    };
    let found = super::block(&block, tip, Some(&state)).unwrap();
    let slots: Vec<u8> = found.commitments.iter().map(|commitment| commitment.slot.0).collect();
    assert_eq!(slots, [5, 2, 9]);
    let of_bids: Vec<Commitment> = found.bids.iter().map(|found| found.bid.commitment).collect();
    assert_eq!(of_bids, found.commitments);
    assert_eq!(found.bids.iter().map(|found| found.transaction).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(found.messages[0].message, CoinbaseMessage::M4(Votes::abstain(2)));
    assert_eq!(found.unchecked, []);

    let blind = super::block(&block, tip, None).unwrap();
    assert_eq!(blind.unchecked, [Unchecked::Votes { output: 0 }]);
    assert_eq!(Found { unchecked: vec![], ..blind }, found);
}

#[test]
fn the_captured_block_fails_without_any_one_of_its_commitments() {
    let block = captured_block();
    let tip = block.header.prev_blockhash;
    let mut tried = 0;
    for output in 0..block.txdata[0].output.len() {
        let mut naive = block.clone();
        let removed = naive.txdata[0].output.remove(output).script_pubkey;
        if let Some(CoinbaseMessage::M7(commitment)) = CoinbaseMessage::parse(&removed) {
            let breaches = super::block(&naive, tip, None).unwrap_err();
            assert!(
                matches!(breaches.first(), Breach::NotAcceptedByMiners { slot, committed: None, .. }
                    if *slot == commitment.slot),
                "{breaches}"
            );
            tried += 1;
        }
    }
    assert_eq!(tried, 3);
}

#[test]
fn a_block_on_another_tip_or_without_a_coinbase_is_refused() {
    let mut block = captured_block();
    let header_parent = block.header.prev_blockhash;
    let breaches = super::block(&block, parent(), None).unwrap_err();
    assert_eq!(*breaches.first(), Breach::OtherParent { header_parent, parent: parent() });
    block.txdata.clear();
    let breaches = super::block(&block, header_parent, None).unwrap_err();
    assert_eq!(*breaches.first(), Breach::NoCoinbase);
}

#[test]
fn a_bundle_is_proposed_once() {
    let pending =
        |output, byte| Breach::BundleAlreadyPending { output, slot: Slot(9), bundle: bundle(byte) };
    accepts(&[m3(9, 3)]);
    rejects(&[m3(9, 1)], pending(0, 1));
    rejects(&[m3(9, 3), m3(9, 3)], pending(1, 3));
    let breaches = judge(&[m3(9, 3), m3(9, 4), m3(9, 3)], None).unwrap_err();
    assert_eq!(breaches.iter().copied().collect::<Vec<_>>(), [pending(2, 3)]);
    let found = judge(&[m3(9, 3)], None).unwrap();
    assert_eq!(found.unchecked, [Unchecked::BundleProposal { output: 0 }]);
}

#[test]
fn votes_count_the_bundles_of_the_moment() {
    let without = |output, index, pending| Breach::VoteWithoutBundle {
        output,
        slot: Slot(9),
        index,
        pending,
    };
    accepts(&[votes(&[1])]);
    accepts(&[votes(&[Votes::ALARM_ONE_BYTE])]);
    rejects(&[votes(&[2])], without(0, 2, 2));
    // An M3 counts if it stands before the M4, as the enforcer acts in the order of the outputs.
    accepts(&[m3(9, 3), votes(&[2])]);
    rejects(&[votes(&[2]), m3(9, 3)], without(0, 2, 2));
    rejects(&[votes(&[253])], without(0, 253, 2));
}

#[test]
fn votes_count_the_slots_of_the_moment() {
    let activating = CoinbaseMessage::M2(acknowledgement(4, 1));
    let count = |output, votes, active| Breach::VoteCount { output, votes, active };
    accepts(&[activating.clone(), votes(&[0xff, 0])]);
    rejects(&[activating.clone(), votes(&[0])], count(1, 1, 2));
    rejects(&[votes(&[0xff, 0]), activating.clone()], count(0, 2, 1));
    accepts(&[CoinbaseMessage::M2(acknowledgement(5, 1)), votes(&[0])]);
    accepts(&[CoinbaseMessage::M2(acknowledgement(4, 2)), votes(&[0])]);
    // A new sidechain in a slot has no bundles, and its bundles may be proposed at once.
    accepts(&[activating.clone(), m3(4, 1), votes(&[0, 0])]);
    let no_bundle = Breach::VoteWithoutBundle { output: 1, slot: Slot(4), index: 0, pending: 0 };
    rejects(&[activating, votes(&[0, 0])], no_bundle);
}

#[test]
fn an_m2_for_an_m1_of_the_same_coinbase_counts_nothing() {
    let proposal = SidechainProposal { slot: Slot(6), description: b"new".to_vec() };
    let description_hash = proposal.description_hash();
    let m2 = SidechainAcknowledgement { slot: Slot(6), description_hash };
    accepts(&[CoinbaseMessage::M1(proposal), CoinbaseMessage::M2(m2), votes(&[0])]);
}

#[test]
fn two_byte_votes_must_need_two_bytes() {
    let two_byte = |votes: &[u16]| CoinbaseMessage::M4(Votes::TwoByte(votes.to_vec()));
    let fits = Breach::VotesFitOneByte { output: 0 };
    rejects(&[two_byte(&[1])], fits);
    assert_eq!(*judge(&[two_byte(&[253])], None).unwrap_err().first(), fits);
    assert_eq!(*judge(&[two_byte(&[])], None).unwrap_err().first(), fits);
    accepts(&[two_byte(&[Votes::ABSTAIN_TWO_BYTE])]);
    accepts(&[two_byte(&[Votes::ALARM_TWO_BYTE])]);
    let no_bundle =
        |index| Breach::VoteWithoutBundle { output: 0, slot: Slot(9), index, pending: 2 };
    rejects(&[two_byte(&[254])], no_bundle(254));
    rejects(&[two_byte(&[255])], no_bundle(255));
}

#[test]
fn repeated_votes_need_their_bundles() {
    let repeat = CoinbaseMessage::M4(Votes::RepeatPrevious);
    accepts(std::slice::from_ref(&repeat));
    let mut paid_out = state();
    paid_out.active.insert(Slot(9), vec![bundle(2)]);
    let breaches = judge(std::slice::from_ref(&repeat), Some(&paid_out)).unwrap_err();
    let gone = Breach::RepeatedVoteWithoutBundle { output: 0, slot: Slot(9), bundle: bundle(1) };
    assert_eq!(*breaches.first(), gone);
    let unknown = SidechainState { previous_upvotes: None, ..paid_out };
    let found = judge(&[repeat], Some(&unknown)).unwrap();
    assert_eq!(found.unchecked, [Unchecked::RepeatedVotes { output: 0 }]);
}

#[test]
fn one_m1_for_a_slot_may_be_followed_by_another() {
    let m1 = |slot, text: &str| {
        let description = text.as_bytes().to_vec();
        CoinbaseMessage::M1(SidechainProposal { slot: Slot(slot), description })
    };
    accepts(&[m1(6, "a"), m1(6, "b"), m1(7, "a")]);
    rejects(
        &[m1(6, "a"), m1(7, "a"), m1(6, "a")],
        Breach::DuplicateM1 { slot: Slot(6), first: 0, second: 2 },
    );
}

#[test]
fn an_expired_bid_without_its_commitment_breaks_two_rules() {
    let commitment = Commitment { slot: Slot(9), hash: [1; 32] };
    let named = BlockHash::from_byte_array([8; 32]);
    let bid = FoundBid { transaction: 4, bid: Bid { commitment, parent: named } };
    let breaches = template(parent(), [], [bid], None).unwrap_err();
    assert_eq!(breaches.iter().count(), 2);
    let text = breaches.to_string();
    assert!(text.starts_with("transaction 4 bids for h* 0101"), "{text}");
    assert!(text.contains("the coinbase has no M7 for that slot"), "{text}");
    assert!(text.contains("; also: transaction 4 bids for slot 9 in a child of 0808"), "{text}");
}

#[test]
fn what_was_not_checked_reads_as_a_sentence() {
    assert_eq!(
        Unchecked::Votes { output: 3 }.to_string(),
        "not checked: whether the M4 in coinbase output 3 has one valid vote for each active slot"
    );
}

/// BIP-0301 once more, as a sentence over lists instead of a pass over a block.
fn is_bmm_valid(commitments: &[Commitment], bids: &[Bid]) -> bool {
    let one_a_slot = |slots: Vec<Slot>| {
        let distinct: BTreeSet<Slot> = slots.iter().copied().collect();
        distinct.len() == slots.len()
    };
    one_a_slot(commitments.iter().map(|commitment| commitment.slot).collect())
        && one_a_slot(bids.iter().map(|bid| bid.commitment.slot).collect())
        && bids.iter().all(|bid| bid.parent == parent() && commitments.contains(&bid.commitment))
}

fn few_commitments() -> impl Strategy<Value = Vec<Commitment>> {
    let commitment = (0_u8..4, 0_u8..2)
        .prop_map(|(slot, byte)| Commitment { slot: Slot(slot), hash: [byte; 32] });
    proptest::collection::vec(commitment, 0..4)
}

proptest! {
    #[test]
    fn the_verdict_is_the_sentence_of_bip_0301(
        commitments in few_commitments(),
        asked in few_commitments(),
        mostly_right in proptest::collection::vec(0_u8..6, 4),
    ) {
        let bid = |(commitment, right): (Commitment, &u8)| {
            let parent = BlockHash::from_byte_array(if *right == 0 { [8; 32] } else { [7; 32] });
            Bid { commitment, parent }
        };
        // Half of the bids ask for what is committed, or hardly any block would be valid.
        let asked: Vec<Commitment> =
            if asked.len() % 2 == 0 { commitments.clone() } else { asked };
        let bids: Vec<Bid> = asked.into_iter().zip(&mostly_right).map(bid).collect();
        let outputs: Vec<ScriptBuf> = commitments.iter().map(Commitment::to_script).collect();
        let first_outputs: Vec<ScriptBuf> = bids.iter().map(Bid::to_script).collect();
        let verdict = scripts(
            parent(),
            outputs.iter().map(ScriptBuf::as_script),
            first_outputs.iter().map(ScriptBuf::as_script),
            None,
        );
        prop_assert_eq!(verdict.is_ok(), is_bmm_valid(&commitments, &bids), "{:?}", verdict);
        if let Ok(found) = verdict {
            prop_assert_eq!(found.commitments, commitments);
            prop_assert_eq!(found.bids.len(), bids.len());
        }
    }
}
