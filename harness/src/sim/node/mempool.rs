//! Transactions that wait for a block: admission, what a template takes, and in which order.
//!
//! No replacement, no relay policy, no size limit: a transaction is here because a test put it
//! here, so the only rules are those a block needs (inputs exist and are unspent, mature, final).
//! Not in here: the template's JSON (`template.rs`).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bitcoin::{OutPoint, Transaction, TxOut, Txid};

use super::check;
use super::coins::{Coin, Coins, fee_of, outpoints_of};
use super::refusal::Refusal;

/// Why a transaction was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NotAdmitted {
    /// A coinbase; only blocks have one.
    Coinbase,
    /// Its lock time is not reached.
    NonFinal,
    /// Another waiting transaction spends one of its inputs.
    Conflict,
    /// Its outputs are in the chain already.
    AlreadyMined,
    /// The fee that was declared for it is not what its inputs leave, in satoshi.
    FeeIsNot(u64),
    /// A rule that blocks are held to.
    Consensus(Refusal),
}

impl fmt::Display for NotAdmitted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coinbase => formatter.write_str("coinbase"),
            Self::NonFinal => formatter.write_str("non-final"),
            Self::Conflict => formatter.write_str("txn-mempool-conflict"),
            Self::AlreadyMined => formatter.write_str("Transaction outputs already in utxo set"),
            Self::FeeIsNot(fee) => write!(
                formatter,
                "the inputs of this transaction leave a fee of {fee} satoshi, not the declared \
                 one; declare that fee, or spend outputs that do not exist so that they are granted"
            ),
            Self::Consensus(refusal) => refusal.fmt(formatter),
        }
    }
}

impl std::error::Error for NotAdmitted {}

/// One waiting transaction and what a template says of it.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) tx: Transaction,
    pub(crate) txid: Txid,
    /// In satoshi.
    pub(crate) fee: u64,
    pub(crate) weight: u64,
    /// Signature operation cost (BIP-0141).
    pub(crate) sigops: u64,
}

/// The next block, as far as admission needs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NextBlock {
    pub(crate) height: u32,
    /// Its parent's, in Unix seconds.
    pub(crate) median_time: u32,
}

/// All waiting transactions, in the order they came.
#[derive(Debug, Default)]
pub(crate) struct Mempool {
    waiting: BTreeMap<u64, Waiting>,
    places: BTreeMap<Txid, u64>,
    spent: BTreeSet<OutPoint>,
    next_place: u64,
    /// Changes so far, as the second half of a long-poll id.
    updates: u64,
}

impl Mempool {
    /// Takes a transaction, or says why not. One that waits already is taken without effect.
    pub(crate) fn admit(
        &mut self,
        tx: Transaction,
        coins: &Coins,
        next: NextBlock,
    ) -> Result<Txid, NotAdmitted> {
        let txid = tx.compute_txid();
        if self.places.contains_key(&txid) {
            return Ok(txid);
        }
        let fee = self.judge(&tx, coins, next)?;
        let cost = tx.total_sigop_cost(|out| Some(self.coin(coins, next, out)?.output));
        let waiting = Waiting {
            txid,
            fee,
            weight: tx.weight().to_wu(),
            sigops: u64::try_from(cost).unwrap_or(u64::MAX),
            tx,
        };
        self.spent.extend(waiting.tx.input.iter().map(|input| input.previous_output));
        self.places.insert(txid, self.next_place);
        self.waiting.insert(self.next_place, waiting);
        self.next_place += 1;
        self.updates += 1;
        Ok(txid)
    }

    /// What a transaction would pay, in satoshi, if it may wait at all.
    pub(crate) fn judge(
        &self,
        tx: &Transaction,
        coins: &Coins,
        next: NextBlock,
    ) -> Result<u64, NotAdmitted> {
        check::transaction(tx).map_err(NotAdmitted::Consensus)?;
        if tx.is_coinbase() {
            return Err(NotAdmitted::Coinbase);
        }
        if !check::is_final(tx, next.height, next.median_time) {
            return Err(NotAdmitted::NonFinal);
        }
        if tx.input.iter().any(|input| self.spent.contains(&input.previous_output)) {
            return Err(NotAdmitted::Conflict);
        }
        if outpoints_of(tx).any(|outpoint| coins.get(&outpoint).is_some()) {
            return Err(NotAdmitted::AlreadyMined);
        }
        let found: BTreeMap<OutPoint, Coin> = tx
            .input
            .iter()
            .filter_map(|input| {
                let outpoint = input.previous_output;
                Some((outpoint, self.coin(coins, next, &outpoint)?))
            })
            .collect();
        fee_of(tx, next.height, |outpoint| found.get(outpoint)).map_err(NotAdmitted::Consensus)
    }

    /// The output at an outpoint, mined or waiting.
    fn coin(&self, coins: &Coins, next: NextBlock, outpoint: &OutPoint) -> Option<Coin> {
        if let Some(coin) = coins.get(outpoint) {
            return Some(coin.clone());
        }
        let output = self.output(outpoint)?.clone();
        Some(Coin { output, height: next.height, coinbase: false })
    }

    /// Judges everything again after the chain changed; `returned` are the transactions of the
    /// blocks that left the active chain, oldest first.
    pub(crate) fn rebuild(&mut self, returned: Vec<Transaction>, coins: &Coins, next: NextBlock) {
        let before = std::mem::take(self);
        self.next_place = before.next_place;
        let again = before.waiting.into_values().map(|waiting| waiting.tx);
        for tx in returned.into_iter().chain(again) {
            // What no longer holds is gone: mined, spent by a mined one, or immature again.
            let _no_longer_holds = self.admit(tx, coins, next).is_err();
        }
        self.updates = before.updates + 1;
    }

    /// Takes a transaction out, and what spends from it.
    pub(crate) fn remove(&mut self, txid: Txid) {
        let mut doomed = BTreeSet::from([txid]);
        // A child always came after its parent.
        for waiting in self.waiting.values() {
            if waiting.tx.input.iter().any(|input| doomed.contains(&input.previous_output.txid)) {
                doomed.insert(waiting.txid);
            }
        }
        for txid in doomed {
            let Some(place) = self.places.remove(&txid) else { continue };
            let Some(waiting) = self.waiting.remove(&place) else { continue };
            for input in &waiting.tx.input {
                self.spent.remove(&input.previous_output);
            }
            self.updates += 1;
        }
    }

    /// Takes everything out.
    pub(crate) fn clear(&mut self) {
        let (next_place, updates) = (self.next_place, self.updates + 1);
        *self = Self { next_place, updates, ..Self::default() };
    }

    /// What the next block should hold: highest fee rate first, no child before its parent.
    pub(crate) fn select(&self, weight_max: u64, sigops_max: u64) -> Vec<&Waiting> {
        let mut ready: BTreeSet<(Reverse<u64>, u64)> = BTreeSet::new();
        let mut unmet: BTreeMap<u64, BTreeSet<Txid>> = BTreeMap::new();
        for (place, waiting) in &self.waiting {
            let parents: BTreeSet<Txid> = self.parents(waiting).collect();
            if parents.is_empty() {
                ready.insert((Reverse(fee_rate(waiting)), *place));
            } else {
                unmet.insert(*place, parents);
            }
        }
        let (mut chosen, mut weight, mut sigops) = (Vec::new(), 0, 0);
        while let Some((_, place)) = ready.pop_first() {
            let waiting = &self.waiting[&place];
            if weight + waiting.weight > weight_max || sigops + waiting.sigops > sigops_max {
                continue; // Its children stay unmet, so they stay out too.
            }
            weight += waiting.weight;
            sigops += waiting.sigops;
            chosen.push(waiting);
            unmet.retain(|child, parents| {
                if parents.remove(&waiting.txid) && parents.is_empty() {
                    ready.insert((Reverse(fee_rate(&self.waiting[child])), *child));
                    return false;
                }
                true
            });
        }
        chosen
    }

    fn parents<'a>(&'a self, waiting: &'a Waiting) -> impl Iterator<Item = Txid> + 'a {
        let inputs = waiting.tx.input.iter().map(|input| input.previous_output.txid);
        inputs.filter(|txid| self.places.contains_key(txid))
    }

    /// Every waiting transaction, in the order they came.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.waiting.values()
    }

    /// The output of a waiting transaction at an outpoint.
    pub(crate) fn output(&self, outpoint: &OutPoint) -> Option<&TxOut> {
        let parent = &self.waiting[self.places.get(&outpoint.txid)?];
        parent.tx.output.get(usize::try_from(outpoint.vout).ok()?)
    }

    /// Changes so far.
    pub(crate) const fn updates(&self) -> u64 {
        self.updates
    }
}

/// Millionths of a satoshi per weight unit; integers, so that the order is the same everywhere.
const fn fee_rate(waiting: &Waiting) -> u64 {
    waiting.fee.saturating_mul(1_000_000) / waiting.weight
}
