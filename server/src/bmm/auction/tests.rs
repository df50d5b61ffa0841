//! The auction against the enforcer's own template, by hand, and against brute force.

use bitcoin::consensus::deserialize;
use bitcoin::hashes::Hash as _;
use bitcoin::hex::FromHex as _;
use bitcoin::{Transaction, Txid};
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::bmm::message::CoinbaseMessage;

fn parent() -> BlockHash {
    BlockHash::from_byte_array([7; 32])
}

fn other_parent() -> BlockHash {
    BlockHash::from_byte_array([8; 32])
}

/// A bid for `slot`; rivals of one slot ask for the same h\*.
fn bid(slot: u8, fee_sat: u64, depends: &[usize]) -> AuctionTx {
    let commitment = Commitment { slot: Slot(slot), hash: [slot; 32] };
    AuctionTx { m8: Some(Bid { commitment, parent: parent() }), fee_sat, depends: depends.to_vec() }
}

fn plain(fee_sat: u64, depends: &[usize]) -> AuctionTx {
    AuctionTx { m8: None, fee_sat, depends: depends.to_vec() }
}

fn expired(mut transaction: AuctionTx) -> AuctionTx {
    transaction.m8 = transaction.m8.map(|bid| Bid { parent: other_parent(), ..bid });
    transaction
}

fn on(transactions: &[AuctionTx]) -> Outcome {
    settle(Mode::On, parent(), transactions).unwrap()
}

fn why(outcome: &Outcome) -> Vec<(usize, Why)> {
    outcome.dropped.iter().map(|dropped| (dropped.transaction, dropped.why)).collect()
}

fn winners(outcome: &Outcome) -> Vec<usize> {
    outcome.winners.iter().map(|winner| winner.transaction).collect()
}

/// A template of the fixtures: its parent, its transactions and their ids.
struct Template {
    json: Value,
    parent: BlockHash,
    transactions: Vec<AuctionTx>,
    ids: Vec<Txid>,
}

impl Template {
    /// `depends_from` is 1 as BIP-0022 says, 0 for the enforcer.
    fn new(text: &str, depends_from: u64) -> Self {
        let json: Value = serde_json::from_str(text).unwrap();
        let mut template = Self {
            parent: json["previousblockhash"].as_str().unwrap().parse().unwrap(),
            transactions: Vec::new(),
            ids: Vec::new(),
            json: json.clone(),
        };
        for entry in json["transactions"].as_array().unwrap() {
            let transaction = decode(&entry["data"]);
            let depends = entry["depends"]
                .as_array()
                .unwrap()
                .iter()
                .map(|index| usize::try_from(index.as_u64().unwrap() - depends_from).unwrap());
            template.ids.push(transaction.compute_txid());
            template.transactions.push(AuctionTx {
                m8: Bid::of(&transaction),
                fee_sat: entry["fee"].as_u64().unwrap(),
                depends: depends.collect(),
            });
        }
        template
    }

    fn settle(&self, mode: Mode) -> Outcome {
        settle(mode, self.parent, &self.transactions).unwrap()
    }

    fn sorted_ids(&self, indexes: &[usize]) -> Vec<Txid> {
        let mut ids: Vec<Txid> = indexes.iter().map(|index| self.ids[*index]).collect();
        ids.sort();
        ids
    }
}

fn decode(data: &Value) -> Transaction {
    deserialize(&Vec::from_hex(data.as_str().unwrap()).unwrap()).unwrap()
}

#[test]
fn the_bids_chosen_from_a_plain_template_are_the_enforcers() {
    let plain = Template::new(fixtures::GBT_BITCOIND_FOUR_BIDS, 1);
    let enforcer = Template::new(fixtures::GBT_ENFORCER_THREE_BIDS, 0);
    assert_eq!(plain.parent, enforcer.parent);
    let outcome = plain.settle(Mode::On);

    // Transactions, bids and commitments are the enforcer's, in whatever order.
    let all: Vec<usize> = (0..enforcer.ids.len()).collect();
    assert_eq!(plain.sorted_ids(&outcome.kept), enforcer.sorted_ids(&all));
    let coinbase = decode(&enforcer.json["coinbasetxn"]["data"]);
    let messages = coinbase.output.iter().filter_map(|o| CoinbaseMessage::parse(&o.script_pubkey));
    let committed: Vec<Commitment> = messages
        .filter_map(|message| match message {
            CoinbaseMessage::M7(commitment) => Some(commitment),
            CoinbaseMessage::M1(_)
            | CoinbaseMessage::M2(_)
            | CoinbaseMessage::M3(_)
            | CoinbaseMessage::M4(_) => None,
        })
        .collect();
    let mut ours: Vec<Commitment> = outcome.commitments().collect();
    let mut theirs = committed.clone();
    ours.sort();
    theirs.sort();
    assert_eq!(ours, theirs);
    assert_eq!(ours.len(), 3);

    // The enforcer's coinbase takes 50 BTC and exactly the fees that we keep.
    let taken: u64 = coinbase.output.iter().map(|output| output.value.to_sat()).sum();
    assert_eq!(taken, 5_000_000_000 + outcome.fee_sat);
    let offered: u64 = plain.transactions.iter().map(|transaction| transaction.fee_sat).sum();
    let coinbase_value = plain.json["coinbasevalue"].as_u64().unwrap();
    assert_eq!(coinbase_value, 5_000_000_000 + offered);

    // Its own template passes unchanged, and its M7s stand in the order of its bids.
    let unchanged = enforcer.settle(Mode::On);
    assert_eq!(unchanged.kept, all);
    assert_eq!(unchanged.dropped, []);
    assert_eq!(unchanged.commitments().collect::<Vec<_>>(), committed);
}

#[test]
fn bids_switched_off_leave_the_rest_of_a_plain_template() {
    let plain = Template::new(fixtures::GBT_BITCOIND_FOUR_BIDS, 1);
    let outcome = plain.settle(Mode::Off);
    assert!(outcome.kept.iter().all(|index| plain.transactions[*index].m8.is_none()));
    assert_eq!(outcome.kept, [0, 6], "the payment and its child");
    assert_eq!(outcome.fee_sat, 5_000);
    assert_eq!(outcome.winners, []);
    assert!(outcome.dropped.iter().all(|dropped| dropped.why == Why::BlindOff));
}

#[test]
fn the_highest_fee_wins_its_slot_and_the_losers_take_their_descendants_along() {
    let outcome = on(&[
        bid(9, 5_000, &[]),
        bid(9, 9_000, &[]),
        plain(100, &[0]),
        plain(200, &[2, 1]),
        bid(2, 7_000, &[]),
        plain(300, &[4]),
    ]);
    assert_eq!(outcome.kept, [1, 4, 5]);
    assert_eq!(outcome.fee_sat, 16_300);
    assert_eq!(
        why(&outcome),
        [
            (0, Why::Outbid { slot: Slot(9), by: 1 }),
            (2, Why::Descends { from: 0 }),
            (3, Why::Descends { from: 2 }),
        ]
    );
    let slots: Vec<u8> = outcome.commitments().map(|commitment| commitment.slot.0).collect();
    assert_eq!(slots, [9, 2], "in the order of the bids, not of the slots");
    assert_eq!(outcome.winners[0].fee_sat, 9_000);
}

#[test]
fn equal_fees_go_to_the_earlier_transaction() {
    assert_eq!(winners(&on(&[bid(9, 5, &[]), bid(9, 5, &[]), bid(9, 4, &[])])), [0]);
    assert_eq!(winners(&on(&[bid(9, 4, &[]), bid(9, 5, &[]), bid(9, 5, &[])])), [1]);
}

#[test]
fn a_bid_for_another_parent_is_out_however_high() {
    let outcome = on(&[expired(bid(9, 99, &[])), bid(9, 1, &[]), plain(5, &[0])]);
    assert_eq!(outcome.kept, [1]);
    assert_eq!(
        why(&outcome),
        [(0, Why::OtherParent { named: other_parent() }), (2, Why::Descends { from: 0 })]
    );
}

#[test]
fn the_next_best_bid_wins_where_the_best_descends_from_a_loser() {
    // Slot 1's best bid spends from a bid that loses slot 2, over a transaction between them.
    let outcome =
        on(&[bid(2, 5, &[]), bid(2, 7, &[]), plain(1, &[0]), bid(1, 10, &[2]), bid(1, 9, &[])]);
    assert_eq!(winners(&outcome), [1, 4]);
    assert_eq!(
        why(&outcome),
        [
            (0, Why::Outbid { slot: Slot(2), by: 1 }),
            (2, Why::Descends { from: 0 }),
            (3, Why::Descends { from: 0 }),
        ]
    );
}

#[test]
fn a_winner_may_descend_from_winners() {
    let outcome = on(&[bid(2, 7, &[]), bid(1, 3, &[0]), bid(3, 1, &[1])]);
    assert_eq!(winners(&outcome), [0, 1, 2]);
    assert_eq!(outcome.fee_sat, 11);
}

#[test]
fn a_waiting_bid_is_not_given_up_before_its_slot_is_settled() {
    // Slot 1's only bid needs the second of slot 2, whose first needs the second of slot 3.
    let outcome =
        on(&[bid(3, 2, &[]), bid(3, 8, &[]), bid(2, 9, &[0]), bid(2, 5, &[]), bid(1, 1, &[3])]);
    assert_eq!(winners(&outcome), [1, 3, 4]);
}

#[test]
fn a_bid_that_needs_its_own_rival_is_out() {
    let outcome = on(&[bid(1, 5, &[]), bid(1, 50, &[0])]);
    assert_eq!(winners(&outcome), [0]);
    assert_eq!(why(&outcome), [(1, Why::NeedsRivals { slot: Slot(1) })]);
    let outcome = on(&[bid(1, 5, &[]), bid(1, 6, &[]), bid(2, 50, &[0, 1])]);
    assert_eq!(winners(&outcome), [1]);
    assert!(why(&outcome).contains(&(2, Why::NeedsRivals { slot: Slot(1) })));
}

#[test]
fn best_bids_that_wait_for_each_other_are_settled_from_the_highest() {
    // Each slot's best bid spends from the other slot's second.
    let outcome = on(&[bid(1, 5, &[]), bid(2, 5, &[]), bid(1, 11, &[1]), bid(2, 10, &[0])]);
    assert_eq!(winners(&outcome), [1, 2]);
    assert_eq!(
        why(&outcome),
        [(0, Why::Outbid { slot: Slot(1), by: 2 }), (3, Why::Outbid { slot: Slot(2), by: 1 }),]
    );
}

#[test]
fn switched_off_every_bid_leaves_with_its_descendants() {
    let transactions = [bid(9, 5, &[]), plain(1, &[]), plain(2, &[0]), expired(bid(3, 1, &[1]))];
    let outcome = settle(Mode::Off, parent(), &transactions).unwrap();
    assert_eq!(outcome.kept, [1]);
    assert_eq!(
        why(&outcome),
        [(0, Why::BlindOff), (2, Why::Descends { from: 0 }), (3, Why::BlindOff)]
    );
}

#[test]
fn broken_templates_are_refused_by_name() {
    let backwards = [plain(1, &[1]), plain(1, &[])];
    let error = AuctionError::Order { transaction: 0, depends_on: 1 };
    assert_eq!(settle(Mode::On, parent(), &backwards), Err(error));
    assert_eq!(settle(Mode::Off, parent(), &backwards), Err(error));
    let rich = [plain(u64::MAX, &[]), plain(1, &[])];
    assert_eq!(settle(Mode::On, parent(), &rich), Err(AuctionError::Fees));
    assert_eq!(on(&[]), Outcome::default());
}

/// Brute force over every subset of a small template.
mod model {
    use super::*;

    pub(super) struct Model<'t> {
        transactions: &'t [AuctionTx],
        /// For each transaction its ancestors and itself, as a bit set.
        lineages: Vec<u32>,
    }

    fn has(set: u32, index: usize) -> bool {
        set >> index & 1 == 1
    }

    impl<'t> Model<'t> {
        pub(super) fn new(transactions: &'t [AuctionTx]) -> Self {
            let mut lineages: Vec<u32> = Vec::new();
            for (index, transaction) in transactions.iter().enumerate() {
                let parents = transaction.depends.iter().map(|parent| lineages[*parent]);
                lineages.push(parents.fold(1 << index, |set, lineage| set | lineage));
            }
            Self { transactions, lineages }
        }

        fn indexes(&self, set: u32) -> impl Iterator<Item = usize> {
            (0..self.transactions.len()).filter(move |index| has(set, *index))
        }

        pub(super) fn subsets(&self) -> impl Iterator<Item = u32> {
            0..1 << self.transactions.len()
        }

        fn bid(&self, index: usize) -> Option<Bid> {
            self.transactions[index].m8
        }

        /// A block can hold exactly these: whole lineages, no bid for another parent, and one bid
        /// a slot.
        pub(super) fn is_valid(&self, set: u32) -> bool {
            let whole = self.indexes(set).all(|index| self.lineages[index] & !set == 0);
            let bids: Vec<Bid> = self.indexes(set).filter_map(|index| self.bid(index)).collect();
            let mut slots: Vec<Slot> = bids.iter().map(|bid| bid.commitment.slot).collect();
            slots.sort();
            slots.dedup();
            whole && slots.len() == bids.len() && bids.iter().all(|bid| bid.parent == parent())
        }

        /// Bids that some valid block could hold.
        pub(super) fn eligible(&self) -> Vec<usize> {
            let all = u32::MAX;
            let bids = self.indexes(all).filter(|index| self.bid(*index).is_some());
            bids.filter(|index| self.is_valid(self.lineages[*index])).collect()
        }

        fn slot(&self, index: usize) -> Option<Slot> {
            self.bid(index).map(|bid| bid.commitment.slot)
        }

        /// Whether no slot's best bid waits, through whatever others, for its own slot.
        pub(super) fn is_free_of_circles(&self) -> bool {
            let waits = |from: Slot, to: Slot| {
                self.eligible().into_iter().any(|index| {
                    self.slot(index) == Some(from)
                        && self
                            .indexes(self.lineages[index] & !(1 << index))
                            .any(|ancestor| self.slot(ancestor) == Some(to))
                })
            };
            let mut left: Vec<Slot> =
                self.eligible().into_iter().filter_map(|index| self.slot(index)).collect();
            left.sort();
            left.dedup();
            loop {
                let before = left.len();
                let others = left.clone();
                left.retain(|slot| others.iter().any(|other| waits(*slot, *other)));
                if left.len() == before {
                    return left.is_empty();
                }
            }
        }

        /// The rule in one sentence: the bids of `set` are, for each slot, the highest of those
        /// whose other bids are all in `set`.
        pub(super) fn is_stable(&self, set: u32) -> bool {
            let bids = self.eligible();
            let viable = |index: &usize| {
                let others = self.indexes(self.lineages[*index] & !(1 << *index));
                others.filter(|other| self.bid(*other).is_some()).all(|other| has(set, other))
            };
            bids.iter().all(|index| {
                let rivals = bids.iter().filter(|rival| self.slot(**rival) == self.slot(*index));
                let best = rivals.filter(|rival| viable(rival)).max_by_key(|rival| {
                    (self.transactions[**rival].fee_sat, std::cmp::Reverse(**rival))
                });
                has(set, *index) == (best == Some(index))
            })
        }

        pub(super) fn fee_sat(&self, set: u32) -> u64 {
            self.indexes(set).map(|index| self.transactions[index].fee_sat).sum()
        }
    }
}

fn set(indexes: &[usize]) -> u32 {
    indexes.iter().fold(0, |set, index| set | 1 << index)
}

/// Up to eight transactions, mostly bids, densely connected, with many equal fees.
fn small_template() -> impl Strategy<Value = Vec<AuctionTx>> {
    let transaction = (0_u8..5, 0_u8..8, 0_u64..5, any::<u32>(), any::<u32>());
    proptest::collection::vec(transaction, 0..9).prop_map(|transactions| {
        let build = |(index, (slot, kind, fee_sat, mask, sparse)): (usize, _)| {
            let depends: Vec<usize> =
                (0..index).filter(|parent| (mask & sparse) >> parent & 1 == 1).collect();
            match kind {
                0 => expired(bid(slot, fee_sat, &depends)),
                1 | 2 => plain(fee_sat, &depends),
                _ => bid(slot, fee_sat, &depends),
            }
        };
        transactions.into_iter().enumerate().map(build).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn the_outcome_obeys_every_law_of_the_model(transactions in small_template()) {
        let outcome = on(&transactions);
        let model = model::Model::new(&transactions);
        let kept = set(&outcome.kept);

        prop_assert!(model.is_valid(kept), "a block can hold what is kept");
        prop_assert_eq!(outcome.fee_sat, model.fee_sat(kept));
        for subset in model.subsets() {
            let larger = subset != kept && subset & kept == kept;
            prop_assert!(!(larger && model.is_valid(subset)), "nothing is left out in vain");
        }

        let bids = |indexes: &[usize]| -> Vec<usize> {
            indexes.iter().copied().filter(|index| transactions[*index].m8.is_some()).collect()
        };
        prop_assert_eq!(winners(&outcome), bids(&outcome.kept));
        if model.is_free_of_circles() {
            prop_assert!(model.is_stable(set(&winners(&outcome))));
            let eligible = set(&model.eligible());
            let candidates = model.subsets().filter(|subset| subset & !eligible == 0);
            let stable: Vec<u32> = candidates.filter(|subset| model.is_stable(*subset)).collect();
            prop_assert_eq!(stable, vec![set(&winners(&outcome))], "and it is the only one");
        }
    }

    #[test]
    fn kept_and_dropped_are_the_whole_template_in_order(
        transactions in small_template(),
        mode in prop_oneof![Just(Mode::On), Just(Mode::Off)],
    ) {
        let outcome = settle(mode, parent(), &transactions).unwrap();
        let dropped: Vec<usize> = outcome.dropped.iter().map(|d| d.transaction).collect();
        prop_assert!(outcome.kept.is_sorted() && dropped.is_sorted());
        let mut all = [outcome.kept.clone(), dropped].concat();
        all.sort_unstable();
        prop_assert_eq!(all, (0..transactions.len()).collect::<Vec<_>>());
        prop_assert_eq!(&settle(mode, parent(), &transactions).unwrap(), &outcome);
    }

    /// Switched off, exactly what neither is nor descends from a bid stays.
    #[test]
    fn switched_off_keeps_exactly_what_no_bid_taints(transactions in small_template()) {
        let outcome = settle(Mode::Off, parent(), &transactions).unwrap();
        let mut tainted = vec![];
        for transaction in &transactions {
            let parents = transaction.depends.iter().any(|parent| tainted[*parent]);
            tainted.push(transaction.m8.is_some() || parents);
        }
        let clean: Vec<usize> = (0..transactions.len()).filter(|index| !tainted[*index]).collect();
        prop_assert_eq!(outcome.kept, clean);
        prop_assert!(outcome.winners.is_empty());
    }
}
