//! The 33 blocks that were ground, submitted to a real node and judged by a real enforcer, each
//! built again and judged here. The node accepted every one of them.
//!
//! The chain behind them: regtest, slots 2 and 9 active, no bundle pending, no open proposal.

use bitcoin::hashes::{Hash as _, sha256d};
use bitcoin::{
    Amount, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode, TxOut,
    Txid, Witness, absolute, block, transaction,
};

use super::*;
use crate::bmm::message::SidechainProposal;

const ACTIVE: Slot = Slot(9);
const INACTIVE: Slot = Slot(77);
const HASH: [u8; 32] = [
    0x67, 0xaf, 0x15, 0xbd, 0x33, 0x41, 0x16, 0x4c, 0x3d, 0x69, 0x87, 0x83, 0xc5, 0x3d, 0xe5, 0xca,
    0x5e, 0x33, 0x34, 0xdc, 0xf8, 0x12, 0xeb, 0xdc, 0x01, 0x72, 0x9c, 0x30, 0x61, 0x65, 0xa2, 0xf7,
];

/// What became of a block. `Rejected` holds the reasons that must be found, and no others.
enum Verdict {
    Accepted,
    Rejected(Vec<Breach>),
}
use Verdict::{Accepted, Rejected};

/// One row of the table: its name, the block and its verdict.
struct Case {
    name: &'static str,
    coinbase: Vec<ScriptBuf>,
    transactions: Vec<Vec<ScriptBuf>>,
    verdict: Verdict,
}

fn parent() -> BlockHash {
    let display = "619dc98de8c98642b4fc6d67ffc20eef1547f0ed53edcd4d055bad70d41c5bb4";
    display.parse().unwrap()
}

fn grandparent() -> BlockHash {
    BlockHash::from_byte_array([0x33; 32])
}

fn reversed(mut bytes: [u8; 32]) -> [u8; 32] {
    bytes.reverse();
    bytes
}

fn state() -> SidechainState {
    SidechainState {
        active: BTreeMap::from([(Slot(2), vec![]), (ACTIVE, vec![])]),
        proposals: vec![],
        previous_upvotes: Some(BTreeMap::new()),
    }
}

fn commitment(slot: Slot, hash: [u8; 32]) -> Commitment {
    Commitment { slot, hash }
}

fn m7(slot: Slot, hash: [u8; 32]) -> ScriptBuf {
    commitment(slot, hash).to_script()
}

fn m8_for(slot: Slot, parent: BlockHash) -> ScriptBuf {
    Bid { commitment: commitment(slot, HASH), parent }.to_script()
}

fn m8() -> ScriptBuf {
    m8_for(ACTIVE, parent())
}

fn message(message: &CoinbaseMessage) -> ScriptBuf {
    message.to_script().unwrap()
}

fn m1() -> ScriptBuf {
    let description = b"any bytes at all".to_vec();
    message(&CoinbaseMessage::M1(SidechainProposal { slot: Slot(40), description }))
}

fn m2(description_hash: [u8; 32]) -> ScriptBuf {
    let description_hash = sha256d::Hash::from_byte_array(description_hash);
    let slot = Slot(40);
    message(&CoinbaseMessage::M2(SidechainAcknowledgement { slot, description_hash }))
}

fn m3(slot: Slot) -> ScriptBuf {
    let bundle = Txid::from_byte_array([0x44; 32]);
    message(&CoinbaseMessage::M3(BundleProposal { slot, bundle }))
}

fn m4(votes: Votes) -> ScriptBuf {
    message(&CoinbaseMessage::M4(votes))
}

fn payment() -> ScriptBuf {
    ScriptBuf::from_hex("001409ce704ec6cd38625e858beab5a72a2b7c73e8fb").unwrap()
}

/// Raw bytes after `OP_RETURN`, as the text of the BIPs has it.
fn bare(payload: &[&[u8]]) -> ScriptBuf {
    ScriptBuf::from_bytes([&[0x6a], payload.concat().as_slice()].concat())
}

fn appended(script: &ScriptBuf, tail: &[u8]) -> ScriptBuf {
    ScriptBuf::from_bytes([script.as_bytes(), tail].concat())
}

fn outputs(scripts: Vec<ScriptBuf>) -> Vec<TxOut> {
    let output = |script_pubkey| TxOut { value: Amount::ZERO, script_pubkey };
    scripts.into_iter().map(output).collect()
}

fn transaction(previous_output: OutPoint, scripts: Vec<ScriptBuf>) -> Transaction {
    Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: vec![TxIn {
            previous_output,
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        }],
        output: outputs(scripts),
    }
}

fn build(coinbase: Vec<ScriptBuf>, transactions: Vec<Vec<ScriptBuf>>) -> Block {
    let mut txdata = vec![transaction(OutPoint::null(), coinbase)];
    for (index, scripts) in transactions.into_iter().enumerate() {
        let spent = Txid::from_byte_array([u8::try_from(index + 1).unwrap(); 32]);
        txdata.push(transaction(OutPoint::new(spent, 0), scripts));
    }
    let header = block::Header {
        version: block::Version::TWO,
        prev_blockhash: parent(),
        merkle_root: TxMerkleNode::all_zeros(),
        time: 1_795_352_597,
        bits: CompactTarget::from_consensus(0x207f_ffff),
        nonce: 0,
    };
    let mut block = Block { header, txdata };
    block.header.merkle_root = block.compute_merkle_root().unwrap();
    block
}

/// The usual coinbase: the given messages, an abstaining M4, the reward and the witness commitment.
fn usual(messages: Vec<ScriptBuf>) -> Vec<ScriptBuf> {
    [messages, vec![m4(Votes::abstain(2))], reward()].concat()
}

/// A coinbase with no M4 but those among `messages`.
fn without_m4(messages: Vec<ScriptBuf>) -> Vec<ScriptBuf> {
    [messages, reward()].concat()
}

fn reward() -> Vec<ScriptBuf> {
    let commitment = "6a24aa21a9ede2f61c3f71d1defd3fa999dfa36953755c690689799962b48bebd836974e8cf9";
    vec![payment(), ScriptBuf::from_hex(commitment).unwrap()]
}

/// A block with these messages and, if not `None`, the one bid.
fn case(
    name: &'static str,
    coinbase: Vec<ScriptBuf>,
    bid: impl Into<Option<ScriptBuf>>,
    verdict: Verdict,
) -> Case {
    let transactions = bid.into().map(|script| vec![script, payment()]).into_iter().collect();
    Case { name, coinbase, transactions, verdict }
}

fn not_accepted(committed: Option<[u8; 32]>) -> Breach {
    Breach::NotAcceptedByMiners { transaction: 1, slot: ACTIVE, hash: HASH, committed }
}

fn accepted_with_bmm() -> Vec<Case> {
    let mut m7_last = usual(vec![]);
    m7_last.push(m7(ACTIVE, HASH));
    let pushdata = [&[0x6a, 0x4c][..], &m7(ACTIVE, HASH).as_bytes()[1..]].concat();
    let m8_pushdata = [&[0x6a, 0x4c][..], &m8().as_bytes()[1..]].concat();
    let m8_bare =
        bare(&[&[0x00, 0xbf, 0x00], &[ACTIVE.0], &HASH, parent().as_byte_array().as_slice()]);
    let mut at_output_1 = case("M8 payload at output 1 without M7", usual(vec![]), None, Accepted);
    at_output_1.transactions = vec![vec![payment(), m8()]];
    vec![
        case("M7 without M8, active slot", usual(vec![m7(ACTIVE, HASH)]), None, Accepted),
        case("M7 without M8, inactive slot 77", usual(vec![m7(INACTIVE, HASH)]), None, Accepted),
        case("M7 after the witness commitment, without M8", m7_last, None, Accepted),
        case(
            "M8 and M7 pushed with OP_PUSHDATA1",
            usual(vec![ScriptBuf::from_bytes(pushdata)]),
            m8(),
            Accepted,
        ),
        case(
            "M8 for an inactive slot and M7",
            usual(vec![m7(INACTIVE, HASH)]),
            m8_for(INACTIVE, parent()),
            Accepted,
        ),
        at_output_1,
        case(
            "6a4c44 payload without M7",
            usual(vec![]),
            ScriptBuf::from_bytes(m8_pushdata),
            Accepted,
        ),
        case("raw BIP-text M8 without M7", usual(vec![]), m8_bare, Accepted),
    ]
}

fn accepted_without_bmm() -> Vec<Case> {
    vec![
        case("no M4", without_m4(vec![]), None, Accepted),
        case("M4 version 0", without_m4(vec![m4(Votes::RepeatPrevious)]), None, Accepted),
        case("M4 version 3", without_m4(vec![m4(Votes::LeadingBy50)]), None, Accepted),
        case("M2 of an unknown hash", usual(vec![m2([0x55; 32])]), None, Accepted),
        case("arbitrary M1", usual(vec![m1()]), None, Accepted),
    ]
}

fn rejected_m7s() -> Vec<Case> {
    let m7_bare = bare(&[&[0xd1, 0x61, 0x73, 0x68], &[ACTIVE.0], &HASH]);
    // h* first, then the "extra bytes" of the old critical data: its tag, the slot, no parent yet.
    let m7_old = bare(&[&[0xd1, 0x61, 0x73, 0x68], &HASH, &[0x00, 0xbf, 0x00, ACTIVE.0]]);
    let mut trailing = m7(ACTIVE, HASH).into_bytes();
    trailing[1] += 1;
    trailing.push(0);
    let reject = |name, m7s: Vec<ScriptBuf>, committed| {
        case(name, usual(m7s), m8(), Rejected(vec![not_accepted(committed)]))
    };
    let duplicate = Breach::DuplicateM7 { slot: ACTIVE, first: 0, second: 1 };
    vec![
        reject("M8 without M7", vec![], None),
        reject("M8 and M7 of another h*", vec![m7(ACTIVE, [0x12; 32])], Some([0x12; 32])),
        reject("M8 and M7 of another slot", vec![m7(Slot(2), HASH)], None),
        reject(
            "M8 and M7 with h* reversed",
            vec![m7(ACTIVE, reversed(HASH))],
            Some(reversed(HASH)),
        ),
        reject("M8 and raw BIP-text M7", vec![m7_bare], None),
        reject("M8 and old drivechaind M7", vec![m7_old], None),
        reject("M8 and M7 with a trailing byte", vec![ScriptBuf::from_bytes(trailing)], None),
        reject(
            "M8 and M7 with a second push",
            vec![appended(&m7(ACTIVE, HASH), &[0x01, 0xab])],
            None,
        ),
        case(
            "M8 and the same M7 twice",
            usual(vec![m7(ACTIVE, HASH), m7(ACTIVE, HASH)]),
            m8(),
            Rejected(vec![duplicate]),
        ),
    ]
}

fn rejected_m8s() -> Vec<Case> {
    let m7s = || usual(vec![m7(ACTIVE, HASH)]);
    let display_order = BlockHash::from_byte_array(reversed(parent().to_byte_array()));
    let expired = |named| {
        Rejected(vec![Breach::BmmRequestExpired {
            transaction: 1,
            slot: ACTIVE,
            named,
            parent: parent(),
        }])
    };
    let two = Breach::MultipleBmmRequests { slot: ACTIVE, first: 1, second: 2 };
    vec![
        case(
            "M8 of the grandparent, with its M7",
            m7s(),
            m8_for(ACTIVE, grandparent()),
            expired(grandparent()),
        ),
        case(
            "M8 of the parent in display order, with its M7",
            m7s(),
            m8_for(ACTIVE, display_order),
            expired(display_order),
        ),
        Case {
            name: "two M8 of the same slot and h*, one M7",
            coinbase: m7s(),
            transactions: vec![vec![m8(), payment()], vec![m8(), payment()]],
            verdict: Rejected(vec![two]),
        },
        case(
            "generatetoaddress of the node with a live M8 in its mempool",
            reward(),
            m8(),
            Rejected(vec![not_accepted(None)]),
        ),
    ]
}

fn rejected_without_bmm() -> Vec<Case> {
    let votes = |votes| {
        let breach = Breach::VoteCount { output: 0, votes, active: 2 };
        (without_m4(vec![m4(Votes::abstain(votes))]), Rejected(vec![breach]))
    };
    let ((one_vote, one_breach), (three_votes, three_breach)) = (votes(1), votes(3));
    let abstain = || m4(Votes::abstain(2));
    let upvote = Votes::OneByte(vec![Votes::ABSTAIN_ONE_BYTE, 0]);
    let no_bundle = Breach::VoteWithoutBundle { output: 0, slot: ACTIVE, index: 0, pending: 0 };
    let inactive = Breach::BundleForInactiveSlot { output: 0, slot: INACTIVE };
    let reject = |name, coinbase, breach| case(name, coinbase, None, Rejected(vec![breach]));
    vec![
        case("M4 with 1 vote for 2 slots", one_vote, None, one_breach),
        case("M4 with 3 votes for 2 slots", three_votes, None, three_breach),
        reject(
            "two M4",
            without_m4(vec![abstain(), abstain()]),
            Breach::DuplicateM4 { first: 0, second: 1 },
        ),
        reject("M4 upvote index without bundle", without_m4(vec![m4(upvote)]), no_bundle),
        reject(
            "two M2 of one slot",
            usual(vec![m2([0x55; 32]), m2([0x66; 32])]),
            Breach::DuplicateM2 { slot: Slot(40), first: 0, second: 1 },
        ),
        reject("M3 of an inactive slot", usual(vec![m3(INACTIVE)]), inactive),
        reject(
            "duplicate M1",
            usual(vec![m1(), m1()]),
            Breach::DuplicateM1 { slot: Slot(40), first: 0, second: 1 },
        ),
    ]
}

fn cases() -> Vec<Case> {
    let mut cases = accepted_with_bmm();
    cases.extend(accepted_without_bmm());
    cases.extend(rejected_m7s());
    cases.extend(rejected_m8s());
    cases.extend(rejected_without_bmm());
    cases
}

/// Judges the case of this name, with the state of the chain behind it.
fn check(name: &str) {
    let case = cases().into_iter().find(|case| case.name == name).unwrap();
    let judged = block(&build(case.coinbase, case.transactions), parent(), Some(&state()));
    match (judged, case.verdict) {
        (Ok(found), Accepted) => assert_eq!(found.unchecked, [], "{name}: all rules applied"),
        (Err(breaches), Rejected(expected)) => {
            assert_eq!(breaches.iter().copied().collect::<Vec<_>>(), expected, "{name}");
        }
        (Ok(found), Rejected(expected)) => panic!("{name}: {expected:?} went unseen: {found:?}"),
        (Err(breaches), Accepted) => panic!("{name}: the enforcer accepts it, here: {breaches}"),
    }
}

/// One test a row, and the list of their names.
macro_rules! verdicts {
    ($($test:ident: $name:literal;)*) => {
        $(
            #[test]
            fn $test() {
                check($name);
            }
        )*
        const NAMES: &[&str] = &[$($name),*];
    };
}

verdicts! {
    m7_alone_active_slot: "M7 without M8, active slot";
    m7_alone_inactive_slot: "M7 without M8, inactive slot 77";
    m7_after_witness_commitment: "M7 after the witness commitment, without M8";
    m8_with_m7_by_pushdata1: "M8 and M7 pushed with OP_PUSHDATA1";
    m8_inactive_slot_with_m7: "M8 for an inactive slot and M7";
    m8_payload_at_output_1: "M8 payload at output 1 without M7";
    m8_by_pushdata1_is_none: "6a4c44 payload without M7";
    m8_of_the_bip_text_is_none: "raw BIP-text M8 without M7";
    m4_absent: "no M4";
    m4_version_0: "M4 version 0";
    m4_version_3: "M4 version 3";
    m2_unknown_hash: "M2 of an unknown hash";
    m1_arbitrary: "arbitrary M1";
    m8_without_m7: "M8 without M7";
    m7_of_another_hash: "M8 and M7 of another h*";
    m7_of_another_slot: "M8 and M7 of another slot";
    m7_with_hash_reversed: "M8 and M7 with h* reversed";
    m7_of_the_bip_text: "M8 and raw BIP-text M7";
    m7_of_old_drivechaind: "M8 and old drivechaind M7";
    m7_with_a_trailing_byte: "M8 and M7 with a trailing byte";
    m7_with_a_second_push: "M8 and M7 with a second push";
    m7_twice: "M8 and the same M7 twice";
    m8_of_the_grandparent: "M8 of the grandparent, with its M7";
    m8_of_the_parent_in_display_order: "M8 of the parent in display order, with its M7";
    two_m8_of_one_slot: "two M8 of the same slot and h*, one M7";
    m4_one_vote_for_two_slots: "M4 with 1 vote for 2 slots";
    m4_three_votes_for_two_slots: "M4 with 3 votes for 2 slots";
    m4_twice: "two M4";
    m4_upvote_without_bundle: "M4 upvote index without bundle";
    m2_twice_for_one_slot: "two M2 of one slot";
    m3_inactive_slot: "M3 of an inactive slot";
    m1_twice: "duplicate M1";
    naive_block_of_the_node: "generatetoaddress of the node with a live M8 in its mempool";
}

#[test]
fn there_are_thirty_three_verdicts_and_each_is_tested_once() {
    let cases = cases();
    assert_eq!((cases.len(), NAMES.len()), (33, 33));
    let built: BTreeSet<&str> = cases.iter().map(|case| case.name).collect();
    let tested: BTreeSet<&str> = NAMES.iter().copied().collect();
    assert_eq!(built.len(), 33, "no two cases share a name");
    assert_eq!(built, tested);
    let accepted = cases.iter().filter(|case| matches!(case.verdict, Accepted)).count();
    assert_eq!(accepted, 13);
}

/// The rules of BIP-0301 need no state: without one the same blocks are caught, and where the
/// verdict hangs on the sidechains the answer says so.
#[test]
fn without_a_state_every_verdict_is_the_same_or_said_to_be_open() {
    let mut open = vec![];
    for case in cases() {
        let name = case.name;
        let block = build(case.coinbase, case.transactions);
        match (super::block(&block, parent(), None), case.verdict) {
            (Ok(_), Accepted) => {}
            (Ok(found), Rejected(_)) => {
                assert!(!found.unchecked.is_empty(), "{name}");
                open.push(name);
            }
            (Err(breaches), Rejected(expected)) => {
                assert_eq!(breaches.iter().copied().collect::<Vec<_>>(), expected, "{name}");
            }
            (Err(breaches), Accepted) => panic!("{name}: {breaches}"),
        }
    }
    let hang_on_the_state = [
        "M4 with 1 vote for 2 slots",
        "M4 with 3 votes for 2 slots",
        "M4 upvote index without bundle",
        "M3 of an inactive slot",
    ];
    assert_eq!(open, hang_on_the_state);
}
