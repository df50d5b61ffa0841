//! Which wishes are granted, which are not, and that none ever costs a block.

use bitcoin::hashes::sha256d;
use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;
use crate::bmm::Commitment;

const ROOM: u64 = 4_000;

fn proposal(slot: u8, description: &str) -> SidechainProposal {
    SidechainProposal { slot: Slot(slot), description: description.into() }
}

fn acknowledgement(slot: u8, byte: u8) -> SidechainAcknowledgement {
    let description_hash = sha256d::Hash::from_byte_array([byte; 32]);
    SidechainAcknowledgement { slot: Slot(slot), description_hash }
}

#[expect(clippy::unnecessary_wraps, reason = "the form in which wishes hold it")]
fn each(active: &[u8], upvotes: &[(u8, u16)]) -> Option<VoteWish> {
    Some(VoteWish::Each {
        active: active.iter().copied().map(Slot).collect(),
        upvotes: upvotes.iter().map(|(slot, place)| (Slot(*slot), *place)).collect(),
    })
}

fn grant(wishes: &Wishes, room: u64) -> Granted {
    let payout = [ScriptBuf::from_bytes(vec![0x51])];
    let m7 = [Commitment { slot: Slot(9), hash: [1; 32] }.to_script()];
    let parent = BlockHash::all_zeros();
    let beside = Beside { parent, before: &payout, after: &m7, bids: &[], room };
    wishes.grant(&beside, &BTreeSet::new())
}

/// The scripts in hex and the refusals, a line each.
fn shown(wishes: &Wishes) -> String {
    let granted = grant(wishes, ROOM);
    let scripts = granted.scripts.iter().map(|script| script.to_hex_string());
    let refused = granted.refused.iter().map(|(wish, why)| {
        let why = why.to_string();
        format!("{wish}: {}", why.split(';').next().unwrap_or_default())
    });
    scripts.chain(refused).collect::<Vec<_>>().join("\n")
}

#[test]
fn all_three_in_the_enforcers_order() {
    let wishes = Wishes {
        proposals: vec![proposal(9, "abc"), proposal(2, "")],
        acknowledgements: vec![acknowledgement(9, 0xaa)],
        votes: Some(VoteWish::LeadingBy50),
    };
    assert_snapshot!(shown(&wishes), @r"
    6a08d5e0c4af09616263
    6a05d5e0c4af02
    6a25d6e1c5df09aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    6a05d77d177603
    ");
    assert!(Wishes::default().is_empty() && !wishes.is_empty());
}

#[test]
fn votes_take_two_bytes_only_where_one_is_too_small() {
    let votes = |votes| shown(&Wishes { votes, ..Wishes::default() });
    assert_eq!(votes(Some(VoteWish::RepeatPrevious)), "6a05d77d177600");
    assert_eq!(votes(Some(VoteWish::LeadingBy50)), "6a05d77d177603");
    assert_eq!(votes(each(&[], &[])), "6a05d77d177601");
    assert_eq!(votes(each(&[2, 9, 255], &[])), "6a08d77d177601ffffff");
    assert_eq!(votes(each(&[9, 2], &[(9, 253)])), "6a07d77d177601fffd");
    assert_eq!(votes(each(&[9, 2], &[(9, 254)])), "6a09d77d177602fffffe00");
}

#[test]
fn what_would_lose_the_block_is_left_out_by_name() {
    let doubles = Wishes {
        proposals: vec![proposal(9, "a"), proposal(9, "a"), proposal(9, "b")],
        acknowledgements: vec![acknowledgement(9, 1), acknowledgement(9, 2)],
        votes: None,
    };
    assert_snapshot!(shown(&doubles), @r"
    6a06d5e0c4af0961
    6a06d5e0c4af0962
    6a25d6e1c5df090101010101010101010101010101010101010101010101010101010101010101
    [[propose]] 2: coinbase outputs 1 and 2 propose the same sidechain for slot 9 (M1)
    [[acknowledge]] 2: coinbase outputs 3 and 4 both acknowledge a sidechain for slot 9 (M2)
    ");
}

/// The enforcer itself writes no M4 into a block whose M2 may activate a slot.
#[test]
fn an_acknowledgement_that_may_activate_a_slot_costs_the_votes() {
    let acknowledgements = vec![acknowledgement(9, 0xaa)];
    let new = Wishes { acknowledgements, votes: each(&[2], &[]), ..Wishes::default() };
    assert_snapshot!(shown(&new), @r"
    6a25d6e1c5df09aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    [votes]: coinbase output 2 has 1 votes (M4) for 2 active slots
    ");
    // Of an active slot it replaces the sidechain, whose bundles go; the number stays.
    let replaced = Wishes { votes: each(&[2, 9], &[]), ..new.clone() };
    assert_eq!(grant(&replaced, ROOM).refused, []);
    let upvoted = Wishes { votes: each(&[2, 9], &[(9, 0)]), ..new.clone() };
    assert_snapshot!(shown(&upvoted), @r"
    6a25d6e1c5df09aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    [votes]: coinbase output 2 votes for bundle 0 of slot 9 (M4), which has 0 pending
    ");
    let counted = Wishes { votes: Some(VoteWish::LeadingBy50), ..new };
    assert_eq!(grant(&counted, ROOM).refused, [], "no number of votes to be wrong");
}

#[test]
fn what_does_not_fit_in_is_left_out() {
    let wishes = Wishes {
        proposals: vec![proposal(9, &"x".repeat(600)), proposal(2, "short")],
        ..Wishes::default()
    };
    let granted = grant(&wishes, 1_000);
    assert_eq!(granted.scripts.len(), 1);
    let (wish, why) = &granted.refused[0];
    assert_eq!(*wish, Wish::Proposal(0));
    assert!(why.to_string().starts_with("it weighs 2480 and the template leaves 992;"), "{why}");
    let endless = Wishes { proposals: vec![proposal(9, &"x".repeat(10_000))], ..wishes };
    assert!(matches!(grant(&endless, 1_000_000).refused[0].1, Refusal::TooLong(_)));
}

#[test]
fn what_is_done_is_left_out_in_silence() {
    let wishes = Wishes { proposals: vec![proposal(9, "a"), proposal(9, "b")], ..<_>::default() };
    let parent = BlockHash::all_zeros();
    let beside = Beside { parent, before: &[], after: &[], bids: &[], room: ROOM };
    let granted = wishes.grant(&beside, &BTreeSet::from([Wish::Proposal(0)]));
    assert_eq!((granted.scripts.len(), granted.refused.len()), (1, 0));
    assert!(granted.scripts[0].as_bytes().ends_with(b"b"));
}

proptest! {
    #[test]
    fn whatever_is_wished_for_the_block_stands(
        proposals in proptest::collection::vec((0_u8..3, "[ab]?"), 0..4),
        acknowledgements in proptest::collection::vec((0_u8..4, 0_u8..3), 0..4),
        active in proptest::collection::vec(0_u8..4, 0..4),
        place in 0_u16..300,
        room in 0_u64..2_000,
    ) {
        let upvotes: Vec<_> = active.first().map(|slot| (*slot, place)).into_iter().collect();
        let wishes = Wishes {
            proposals: proposals.iter().map(|(slot, text)| proposal(*slot, text)).collect(),
            acknowledgements: acknowledgements
                .iter()
                .map(|(slot, byte)| acknowledgement(*slot, *byte))
                .collect(),
            votes: each(&active, &upvotes),
        };
        let granted = grant(&wishes, room);
        let weight: u64 = granted.scripts.iter().map(output_weight).sum();
        prop_assert!(weight <= room);
        let wished = wishes.messages().count();
        prop_assert_eq!(granted.scripts.len() + granted.refused.len(), wished);
        for state in wishes.states() {
            let parent = BlockHash::all_zeros();
            let beside = Beside { parent, before: &[], after: &[], bids: &[], room };
            prop_assert!(judge(&beside, &granted.scripts, state.as_ref()).is_ok());
        }
    }
}
