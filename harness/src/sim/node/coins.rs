//! The unspent outputs of the simulated node's active chain, with what it takes to go back.
//!
//! Amounts, maturity and double spends are judged against this set. **Scripts are not run**: a
//! spend with a wrong signature is taken. Not in here: the mempool's own outputs (`mempool.rs`).

use std::collections::BTreeMap;

use bitcoin::{Block, OutPoint, Transaction, TxOut};

use super::refusal::Refusal;

/// Blocks a coinbase output must be deep before it may be spent.
pub(crate) const COINBASE_MATURITY_BLOCKS: u32 = 100;

/// Signature operation cost a block may have (BIP-0141).
pub(crate) const SIGOPS_COST_MAX: u64 = 80_000;

/// Length above which a script cannot be spent, in bytes.
const SCRIPT_BYTES_MAX: usize = 10_000;

/// One unspent output.
#[derive(Clone, Debug)]
pub(crate) struct Coin {
    /// Value and script.
    pub(crate) output: TxOut,
    /// Height of the block that made it.
    pub(crate) height: u32,
    /// Made by a coinbase, so subject to maturity.
    pub(crate) coinbase: bool,
}

impl Coin {
    /// Whether a block at `height` may spend it.
    pub(crate) const fn is_mature(&self, height: u32) -> bool {
        !self.coinbase || height.saturating_sub(self.height) >= COINBASE_MATURITY_BLOCKS
    }
}

/// The coins a connected block spent, in the order it spent them.
pub(crate) type Undo = Vec<(OutPoint, Coin)>;

/// Every unspent output of the active chain.
#[derive(Debug, Default)]
pub(crate) struct Coins {
    unspent: BTreeMap<OutPoint, Coin>,
}

impl Coins {
    /// The coin at an outpoint, when it is unspent.
    pub(crate) fn get(&self, outpoint: &OutPoint) -> Option<&Coin> {
        self.unspent.get(outpoint)
    }

    /// Adds an output that no block made, spendable at once; see `SimNode::add_transaction`.
    pub(crate) fn grant(&mut self, outpoint: OutPoint, output: TxOut) {
        self.unspent.insert(outpoint, Coin { output, height: 0, coinbase: false });
    }

    /// Spends and makes the outputs of a block, or refuses it and leaves everything as it was.
    ///
    /// `reward_max` is the subsidy in satoshi.
    pub(crate) fn connect(
        &mut self,
        block: &Block,
        height: u32,
        reward_max: u64,
    ) -> Result<Undo, Refusal> {
        let mut undo = Undo::new();
        let mut made = 0;
        let verdict = self.connect_each(block, height, reward_max, &mut undo, &mut made);
        if let Err(refusal) = verdict {
            self.take_back(&block.txdata[..made], undo);
            return Err(refusal);
        }
        Ok(undo)
    }

    /// Whether a block could be connected now; nothing changes.
    pub(crate) fn could_connect(
        &mut self,
        block: &Block,
        height: u32,
        reward_max: u64,
    ) -> Result<(), Refusal> {
        let undo = self.connect(block, height, reward_max)?;
        self.disconnect(block, undo);
        Ok(())
    }

    /// Takes a connected block back.
    pub(crate) fn disconnect(&mut self, block: &Block, undo: Undo) {
        self.take_back(&block.txdata, undo);
    }

    fn connect_each(
        &mut self,
        block: &Block,
        height: u32,
        reward_max: u64,
        undo: &mut Undo,
        made: &mut usize,
    ) -> Result<(), Refusal> {
        let mut outpoints = block.txdata.iter().flat_map(outpoints_of);
        if outpoints.any(|outpoint| self.unspent.contains_key(&outpoint)) {
            return Err(Refusal::Bip30);
        }
        let (mut fees, mut sigops) = (0_u64, 0_u64);
        for (position, tx) in block.txdata.iter().enumerate() {
            let cost = tx.total_sigop_cost(|outpoint| Some(self.get(outpoint)?.output.clone()));
            sigops = sigops.saturating_add(u64::try_from(cost).unwrap_or(u64::MAX));
            if position > 0 {
                fees = fees.saturating_add(self.spend(tx, height, undo)?);
            }
            if sigops > SIGOPS_COST_MAX {
                return Err(Refusal::SigOps);
            }
            self.make(tx, height, position == 0);
            *made = position + 1;
        }
        let claimed: u64 = block.txdata[0].output.iter().map(|output| output.value.to_sat()).sum();
        if claimed > reward_max.saturating_add(fees) {
            return Err(Refusal::CoinbaseAmount);
        }
        Ok(())
    }

    /// Spends the inputs of one transaction and returns its fee in satoshi.
    fn spend(&mut self, tx: &Transaction, height: u32, undo: &mut Undo) -> Result<u64, Refusal> {
        let fee = fee_of(tx, height, |outpoint| self.get(outpoint))?;
        for input in &tx.input {
            if let Some(coin) = self.unspent.remove(&input.previous_output) {
                undo.push((input.previous_output, coin));
            }
        }
        Ok(fee)
    }

    fn make(&mut self, tx: &Transaction, height: u32, coinbase: bool) {
        for (outpoint, output) in outpoints_of(tx).zip(&tx.output) {
            let script = &output.script_pubkey;
            if script.is_op_return() || script.len() > SCRIPT_BYTES_MAX {
                continue;
            }
            let coin = Coin { output: output.clone(), height, coinbase };
            self.unspent.insert(outpoint, coin);
        }
    }

    fn take_back(&mut self, transactions: &[Transaction], undo: Undo) {
        // Coins that were made and spent within the block come back first and go again with
        // the transaction that made them.
        for (outpoint, coin) in undo.into_iter().rev() {
            self.unspent.insert(outpoint, coin);
        }
        for tx in transactions.iter().rev() {
            for outpoint in outpoints_of(tx) {
                self.unspent.remove(&outpoint);
            }
        }
    }
}

/// The places of a transaction's outputs, in order.
pub(crate) fn outpoints_of(tx: &Transaction) -> impl Iterator<Item = OutPoint> {
    let txid = tx.compute_txid();
    (0_u32..).zip(&tx.output).map(move |(vout, _)| OutPoint::new(txid, vout))
}

/// What a transaction in a block at `height` leaves to the miner, in satoshi.
pub(crate) fn fee_of<'a>(
    tx: &Transaction,
    height: u32,
    coin_at: impl Fn(&OutPoint) -> Option<&'a Coin>,
) -> Result<u64, Refusal> {
    let mut value_in = 0_u64;
    for input in &tx.input {
        let coin = coin_at(&input.previous_output).ok_or(Refusal::InputsMissingOrSpent)?;
        if !coin.is_mature(height) {
            return Err(Refusal::PrematureCoinbaseSpend);
        }
        value_in = value_in.saturating_add(coin.output.value.to_sat());
    }
    let value_out: u64 = tx.output.iter().map(|output| output.value.to_sat()).sum();
    value_in.checked_sub(value_out).ok_or(Refusal::InBelowOut)
}
