//! The vectors both ways, round trips, and what the enforcer refuses.

use bitcoin::consensus::deserialize;
use bitcoin::hashes::Hash as _;
use bitcoin::hex::FromHex as _;
use bitcoin::{Block, absolute, transaction};
use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn script(hex: &str) -> ScriptBuf {
    ScriptBuf::from_hex(hex).unwrap()
}

fn vectors(list: &str) -> Vec<Value> {
    let vectors: Value = serde_json::from_str(fixtures::BIP301_VECTORS).unwrap();
    let list = vectors[list].as_array().unwrap().clone();
    assert!(!list.is_empty());
    list
}

fn text<'v>(vector: &'v Value, key: &str) -> &'v str {
    vector[key].as_str().unwrap()
}

fn commitment(vector: &Value) -> Commitment {
    Commitment {
        slot: Slot(u8::try_from(vector["slot"].as_u64().unwrap()).unwrap()),
        hash: <[u8; 32]>::from_hex(text(vector, "h")).unwrap(),
    }
}

/// Parses to `message`, and `message` writes the same bytes again.
fn check_both_ways(hex: &str, message: &CoinbaseMessage) {
    assert_eq!(CoinbaseMessage::parse(&script(hex)).as_ref(), Some(message), "{hex}");
    assert_eq!(message.to_script().unwrap().to_hex_string(), hex);
}

#[test]
fn live_m7_vectors() {
    for vector in vectors("m7_live") {
        let (hex, commitment) = (text(&vector, "script"), commitment(&vector));
        check_both_ways(hex, &CoinbaseMessage::M7(commitment));
        assert_eq!(commitment.to_script().to_hex_string(), hex);
        assert_eq!(commitment.to_script().len(), 39);
    }
}

#[test]
fn live_m8_vectors() {
    for vector in vectors("m8_live") {
        let hex = text(&vector, "script");
        let parent = text(&vector, "prev_display").parse().unwrap();
        let bid = Bid { commitment: commitment(&vector), parent };
        assert_eq!(Bid::parse(&script(hex)), Some(bid), "{hex}");
        assert_eq!(bid.to_script().to_hex_string(), hex);
        assert_eq!(bid.to_script().len(), 70);
    }
}

#[test]
fn rejected_vectors_are_ordinary_outputs() {
    for vector in vectors("m7_rejected").iter().chain(&vectors("m8_rejected")) {
        let script = script(text(vector, "script"));
        assert_eq!(CoinbaseMessage::parse(&script), None, "{}", text(vector, "why"));
        assert_eq!(Bid::parse(&script), None, "{}", text(vector, "why"));
    }
}

#[test]
fn m4_vectors() {
    let expected = [
        Votes::RepeatPrevious,
        Votes::OneByte(vec![]),
        Votes::abstain(2),
        Votes::abstain(8),
        Votes::LeadingBy50,
    ];
    let vectors = vectors("m4");
    assert_eq!(vectors.len(), expected.len());
    for (vector, votes) in vectors.iter().zip(expected) {
        check_both_ways(vector.as_str().unwrap(), &CoinbaseMessage::M4(votes));
    }
}

#[test]
fn m1_and_m2_vectors() {
    for vector in vectors("m2") {
        let hex = vector.as_str().unwrap();
        let Some(CoinbaseMessage::M2(message)) = CoinbaseMessage::parse(&script(hex)) else {
            panic!("{hex} is an M2");
        };
        assert_eq!(message.slot, Slot(2));
        check_both_ways(hex, &CoinbaseMessage::M2(message));
    }
    let declaration = Declaration {
        title: "Thunderish".into(),
        description: "test".into(),
        hash_id_1: [0x11; 32],
        hash_id_2: [0x22; 20],
    };
    for vector in vectors("m1") {
        let hex = vector.as_str().unwrap();
        let Some(CoinbaseMessage::M1(message)) = CoinbaseMessage::parse(&script(hex)) else {
            panic!("{hex} is an M1");
        };
        assert_eq!(message.slot, Slot(9));
        let parsed = Declaration::parse(&message.description).unwrap();
        assert_eq!(
            parsed,
            Declaration { description: parsed.description.clone(), ..declaration.clone() }
        );
        assert_eq!(parsed.to_bytes().unwrap(), message.description);
        check_both_ways(hex, &CoinbaseMessage::M1(message));
    }
}

#[test]
fn an_m2_names_the_double_hash_of_the_description() {
    // The enforcer acknowledged this very proposal on regtest with the M2 of the vectors.
    let hex = fixtures::GBT_ENFORCER_M1;
    let template: Value = serde_json::from_str(hex).unwrap();
    let bytes = Vec::from_hex(text(&template["coinbasetxn"], "data")).unwrap();
    let coinbase: Transaction = deserialize(&bytes).unwrap();
    let acknowledged = vectors("m2");
    let Some(CoinbaseMessage::M2(m2)) =
        CoinbaseMessage::parse(&script(acknowledged[0].as_str().unwrap()))
    else {
        panic!("an M2");
    };
    let hashes: Vec<_> = coinbase
        .output
        .iter()
        .filter_map(|output| match CoinbaseMessage::parse(&output.script_pubkey)? {
            CoinbaseMessage::M1(proposal) => Some((proposal.slot, proposal.description_hash())),
            CoinbaseMessage::M2(_)
            | CoinbaseMessage::M3(_)
            | CoinbaseMessage::M4(_)
            | CoinbaseMessage::M7(_) => None,
        })
        .collect();
    assert_eq!(hashes.len(), 2);
    assert!(hashes.contains(&(m2.slot, m2.description_hash)), "{hashes:?} {m2:?}");
}

#[test]
fn byte_order_of_a_display_reversed_sidechain() {
    // The daemon must reverse before it hands h* over; here the bytes are as given.
    let given = "8070605040302010ffeeddccbbaa99887766554433221100efcdab8967452301";
    let commitment = Commitment { slot: Slot(24), hash: <[u8; 32]>::from_hex(given).unwrap() };
    assert_eq!(commitment.to_script().to_hex_string(), format!("6a25d161736818{given}"));
}

#[test]
fn every_push_opcode_carries_a_coinbase_message() {
    let commitment = Commitment { slot: Slot(9), hash: [0x11; 32] };
    let payload = format!("d161736809{}", "11".repeat(32));
    for push in ["25", "4c25", "4d2500", "4e25000000"] {
        let script = script(&format!("6a{push}{payload}"));
        assert_eq!(
            CoinbaseMessage::parse(&script),
            Some(CoinbaseMessage::M7(commitment)),
            "{push}"
        );
    }
}

#[test]
fn another_header_is_not_an_m7() {
    let commitment = Commitment { slot: Slot(9), hash: [0x11; 32] };
    let header = BmmHeader([0xd1, 0x61, 0x73, 0x69]);
    let script = commitment.to_script_with(header);
    assert_eq!(script.to_hex_string(), format!("6a25d161736909{}", "11".repeat(32)));
    assert_eq!(CoinbaseMessage::parse(&script), None);
    assert!(!header.is_m7() && BmmHeader::default().is_m7());
}

#[test]
fn malformed_messages_are_ordinary_outputs() {
    let cases = [
        ("", "empty script"),
        ("6a", "no push"),
        ("6a00", "empty push"),
        ("6a03d16173", "half a tag"),
        ("6a04d5e0c4af", "M1 without a slot"),
        ("6a51", "OP_1 is no push of bytes"),
        ("6a25d161736809", "push longer than the script"),
        ("6a04d77d1776", "M4 without a version"),
        ("6a05d77d177604", "M4 of an unknown version"),
        ("6a06d77d17760000", "M4 version 0 with a vote"),
        ("6a06d77d177603ff", "M4 version 3 with a vote"),
        ("6a08d77d177602fffffe", "M4 version 2 with half a vote"),
        ("6a05d77d17760061", "an opcode after the push"),
        ("6a05d77d177600ff", "an invalid opcode after the push"),
        (
            "6a24aa21a9ede2f61c3f71d1defd3fa999dfa36953755c690689799962b48bebd836974e8cf9",
            "BIP-0141",
        ),
        ("6105d77d177600", "no OP_RETURN"),
    ];
    for (hex, why) in cases {
        assert_eq!(CoinbaseMessage::parse(&script(hex)), None, "{why}");
        assert_eq!(Bid::parse(&script(hex)), None, "{why}");
    }
    let m2_of_the_bip_text = format!("6a25d6e1c5bf02{}", "11".repeat(32));
    assert_eq!(CoinbaseMessage::parse(&script(&m2_of_the_bip_text)), None);
}

#[test]
fn an_m1_may_be_empty() {
    check_both_ways(
        "6a05d5e0c4af07",
        &CoinbaseMessage::M1(SidechainProposal { slot: Slot(7), description: vec![] }),
    );
}

#[test]
fn two_byte_votes_are_little_endian() {
    check_both_ways("6a09d77d177602fe000100", &CoinbaseMessage::M4(Votes::TwoByte(vec![254, 1])));
}

#[test]
fn too_long_messages_are_refused_by_name() {
    let longest = PAYLOAD_BYTES_MAX - TAG_BYTES - 1;
    let m1 = |bytes| {
        let description = vec![0x55; bytes];
        CoinbaseMessage::M1(SidechainProposal { slot: Slot(1), description })
    };
    let script = m1(longest).to_script().unwrap();
    assert_eq!(CoinbaseMessage::parse(&script), Some(m1(longest)));
    let error = m1(longest + 1).to_script().unwrap_err();
    assert_eq!(error, MessageTooLong { bytes: PAYLOAD_BYTES_MAX + 1 });
    let declaration = Declaration {
        title: "x".repeat(256),
        description: String::new(),
        hash_id_1: [0; 32],
        hash_id_2: [0; 20],
    };
    assert_eq!(declaration.to_bytes(), Err(DeclarationTooLong { bytes: 256 }));
}

#[test]
fn a_bid_counts_at_output_zero_of_an_ordinary_transaction_only() {
    let bytes = Vec::from_hex(fixtures::BLOCK_THREE_BIDS.trim()).unwrap();
    let block: Block = deserialize(&bytes).unwrap();
    let bid_transaction =
        block.txdata.iter().find(|transaction| Bid::of(transaction).is_some()).unwrap();
    let mut moved = bid_transaction.clone();
    moved.output.reverse();
    assert_eq!(Bid::of(&moved), None, "output 1");
    let mut coinbase = block.txdata[0].clone();
    coinbase.output = bid_transaction.output.clone();
    assert!(coinbase.is_coinbase());
    assert_eq!(Bid::of(&coinbase), None, "coinbase");
    let empty = Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: vec![],
        output: vec![],
    };
    assert_eq!(Bid::of(&empty), None, "no output");
}

fn any_commitment() -> impl Strategy<Value = Commitment> {
    any::<(u8, [u8; 32])>().prop_map(|(slot, hash)| Commitment { slot: Slot(slot), hash })
}

fn any_message() -> impl Strategy<Value = CoinbaseMessage> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..600);
    let slot_and_hash = any::<(u8, [u8; 32])>;
    prop_oneof![
        (any::<u8>(), bytes()).prop_map(|(slot, description)| CoinbaseMessage::M1(
            SidechainProposal { slot: Slot(slot), description }
        )),
        slot_and_hash().prop_map(|(slot, hash)| CoinbaseMessage::M2(SidechainAcknowledgement {
            slot: Slot(slot),
            description_hash: sha256d::Hash::from_byte_array(hash)
        })),
        slot_and_hash().prop_map(|(slot, hash)| CoinbaseMessage::M3(BundleProposal {
            slot: Slot(slot),
            bundle: Txid::from_byte_array(hash)
        })),
        Just(CoinbaseMessage::M4(Votes::RepeatPrevious)),
        Just(CoinbaseMessage::M4(Votes::LeadingBy50)),
        bytes().prop_map(|votes| CoinbaseMessage::M4(Votes::OneByte(votes))),
        proptest::collection::vec(any::<u16>(), 0..300)
            .prop_map(|votes| CoinbaseMessage::M4(Votes::TwoByte(votes))),
        any_commitment().prop_map(CoinbaseMessage::M7),
    ]
}

proptest! {
    #[test]
    fn coinbase_messages_round_trip(message in any_message()) {
        let script = message.to_script().unwrap();
        prop_assert_eq!(CoinbaseMessage::parse(&script), Some(message));
        prop_assert_eq!(Bid::parse(&script), None);
    }

    #[test]
    fn bids_round_trip(commitment in any_commitment(), parent in any::<[u8; 32]>()) {
        let bid = Bid { commitment, parent: BlockHash::from_byte_array(parent) };
        let script = bid.to_script();
        prop_assert_eq!(Bid::parse(&script), Some(bid));
        prop_assert_eq!(CoinbaseMessage::parse(&script), None);
    }

    /// Whatever follows the one push, the output is no message any more.
    #[test]
    fn trailing_bytes_make_an_ordinary_output(
        message in any_message(),
        commitment in any_commitment(),
        tail in proptest::collection::vec(any::<u8>(), 1..5),
    ) {
        let mut bytes = message.to_script().unwrap().into_bytes();
        bytes.extend_from_slice(&tail);
        prop_assert_eq!(CoinbaseMessage::parse(Script::from_bytes(&bytes)), None);
        let bid = Bid { commitment, parent: BlockHash::all_zeros() };
        let mut bytes = bid.to_script().into_bytes();
        bytes.extend_from_slice(&tail);
        prop_assert_eq!(Bid::parse(Script::from_bytes(&bytes)), None);
    }

    /// Messages of a fixed length end where their push ends: a longer push is none.
    #[test]
    fn longer_pushes_of_fixed_messages_are_ordinary_outputs(
        commitment in any_commitment(),
        tag in prop_oneof![Just(M2_TAG), Just(M3_TAG), Just(BmmHeader::M7.0)],
        tail in proptest::collection::vec(any::<u8>(), 1..5),
    ) {
        let payload = [&tag[..], &[commitment.slot.0], &commitment.hash, &tail].concat();
        prop_assert_eq!(CoinbaseMessage::parse(&op_return(payload).unwrap()), None);
    }

    /// Bytes from anywhere do not panic, and what parses can be written and read again.
    #[test]
    fn arbitrary_scripts_parse_to_something_that_lasts(
        tag in prop_oneof![Just(M1_TAG), Just(M2_TAG), Just(M4_TAG), Just(BmmHeader::M7.0)],
        opcode in prop_oneof![0x05_u8..0x30, Just(0x4c), Just(0x4d)],
        rest in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let bytes = [&[0x6a, opcode][..], &tag, &rest].concat();
        if let Some(message) = CoinbaseMessage::parse(Script::from_bytes(&bytes)) {
            let script = message.to_script().unwrap();
            prop_assert_eq!(CoinbaseMessage::parse(&script), Some(message));
        }
        let bytes = [&[0x6a, 0x44, 0x00, 0xbf, 0x00][..], &rest].concat();
        prop_assert_eq!(Bid::parse(Script::from_bytes(&bytes)), None);
    }

    #[test]
    fn declarations_round_trip(
        title in "\\PC{0,60}",
        description in "\\PC{0,80}",
        hash_id_1 in any::<[u8; 32]>(),
        hash_id_2 in any::<[u8; 20]>(),
    ) {
        let declaration = Declaration { title, description, hash_id_1, hash_id_2 };
        let bytes = declaration.to_bytes().unwrap();
        prop_assert_eq!(Declaration::parse(&bytes), Some(declaration));
        prop_assert_eq!(Declaration::parse(&bytes[..53]), None);
    }
}
