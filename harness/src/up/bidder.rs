//! Bids for the sidechain's next block (BIP-0301 M8), as its users would make them: one for each
//! mainchain tip.
//!
//! On the simulated node coins are granted; on a real one a wallet of its own pays. A bid whose
//! block did not come keeps its coin for good, so a wallet starts with many. Not in here: who mines
//! the bids.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::hashes::Hash as _;
use bitcoin::hex::DisplayHex as _;
use bitcoin::{
    Amount, BlockHash, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::interval;

use super::judge::Input;
use super::node::NodeError;
use crate::containers::bitcoind::Wallet;
use crate::containers::{AddressKind, Bitcoind};
use crate::http::{Follower, SharedWorld};
use crate::rpc::RpcClient;
use crate::sim::sidechain::{HStar, m8_payload};

/// How often the tip and the sidechain's candidate are looked at.
const LOOK_PAUSE: Duration = Duration::from_millis(50);
/// What a bid pays.
const FEE: Amount = Amount::from_sat(3_000);
/// Coins of a wallet, and what each is worth.
const COINS: u32 = 500;
const COIN: Amount = Amount::from_sat(100_000);
/// Blocks until the first coins of a chain can be spent.
const MATURITY: u32 = 100;

/// Whoever bids.
pub(super) struct Bidder {
    slot: u8,
    purse: Purse,
    last: Option<(HStar, BlockHash)>,
    bids: u64,
}

enum Purse {
    World(SharedWorld),
    Wallet(Wallet, Arc<Follower<RpcClient>>),
}

/// Why a bid was not made.
#[derive(Debug)]
struct NoBid(String);

impl fmt::Display for NoBid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "no bid for this tip: {}", self.0)
    }
}

fn no_bid(cause: impl fmt::Display) -> NoBid {
    NoBid(cause.to_string())
}

impl Bidder {
    /// One whose coins the simulated node grants.
    pub(super) const fn simulated(world: SharedWorld, slot: u8) -> Self {
        Self { slot, purse: Purse::World(world), last: None, bids: 0 }
    }

    /// One with a wallet of the node.
    pub(super) const fn with_wallet(
        wallet: Wallet,
        follower: Arc<Follower<RpcClient>>,
        slot: u8,
    ) -> Self {
        Self { slot, purse: Purse::Wallet(wallet, follower), last: None, bids: 0 }
    }

    /// Bids for every tip until nobody listens.
    pub(super) async fn run(mut self, inbox: mpsc::Sender<Input>) {
        let mut ticks = interval(LOOK_PAUSE);
        let mut said = None;
        while !inbox.is_closed() {
            ticks.tick().await;
            let trouble = self.look().await.err().map(|error| error.to_string());
            if let Some(text) = trouble.clone().filter(|text| said.as_ref() != Some(text)) {
                inbox.send(Input::Notice(text)).await.unwrap_or_default();
            }
            said = trouble;
        }
    }

    async fn look(&mut self) -> Result<(), NoBid> {
        let slot = self.slot;
        let wanted = match &self.purse {
            Purse::World(world) => {
                let sidechain = world.with(|world| {
                    let sidechain = world.sidechain(slot)?;
                    Some((sidechain.candidate(), sidechain.main_tip()))
                });
                sidechain.await.ok_or_else(|| no_bid("there is no sidechain"))?
            }
            Purse::Wallet(_, follower) => {
                follower.catch_up().await.map_err(no_bid)?;
                follower.with(|sidechain| (sidechain.candidate(), sidechain.main_tip())).await
            }
        };
        if self.last == Some(wanted) {
            return Ok(());
        }
        let (h_star, tip) = wanted;
        let payload = m8_payload(slot, h_star, tip);
        match &self.purse {
            Purse::World(world) => {
                let bid = granted_bid(&payload, self.bids);
                let taken = world
                    .with(|world| world.change_node(|node| node.add_transaction(bid, FEE.to_sat())))
                    .await;
                taken.map_err(no_bid)?;
            }
            Purse::Wallet(wallet, _) => pay(wallet, &payload).await?,
        }
        self.bids += 1;
        self.last = Some(wanted);
        Ok(())
    }
}

/// A bid that spends a coin nobody made: the simulated node grants it.
fn granted_bid(payload: &[u8], number: u64) -> Transaction {
    let mut coin = *b"a coin for a bid of harness up..";
    coin[24..].copy_from_slice(&number.to_le_bytes());
    let script = ScriptBuf::from_bytes([&[0x6a, 0x44][..], payload].concat());
    Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::new(Txid::from_byte_array(coin), 0),
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        }],
        output: vec![TxOut { value: Amount::ZERO, script_pubkey: script }],
    }
}

/// Sends a bid that spends one confirmed coin and keeps the change.
async fn pay(wallet: &Wallet, payload: &[u8]) -> Result<(), NoBid> {
    let unspent = wallet.rpc("listunspent", json!([1])).await.map_err(no_bid)?;
    let coin = unspent.as_array().and_then(|coins| {
        coins.iter().find(|coin| coin["amount"].as_f64().is_some_and(|coins| coins < 0.01))
    });
    let coin = coin.ok_or_else(|| no_bid("the wallet has no coin left for it"))?;
    let value = coin["amount"].as_f64().and_then(|coins| Amount::from_btc(coins).ok());
    let left = value.and_then(|value| value.checked_sub(FEE));
    let left = left.ok_or_else(|| no_bid("the coin is too small"))?;
    let change = wallet.address(AddressKind::Bech32).await.map_err(no_bid)?.to_string();
    let inputs = json!([{ "txid": coin["txid"], "vout": coin["vout"] }]);
    let left = left.to_string_in(bitcoin::Denomination::Bitcoin);
    let outputs = json!([{ "data": payload.to_lower_hex_string() }, { change: left }]);
    let raw = wallet.rpc("createrawtransaction", json!([inputs, outputs])).await;
    let raw = raw.map_err(no_bid)?;
    let signed = wallet.rpc("signrawtransactionwithwallet", json!([raw])).await.map_err(no_bid)?;
    let sent: Result<Value, _> = wallet.rpc("sendrawtransaction", json!([signed["hex"]])).await;
    sent.map(drop).map_err(no_bid)
}

/// A wallet full of coins on a fresh chain, whose blocks it takes to get them.
pub(super) async fn fill_wallet(node: &Bitcoind) -> Result<Wallet, NodeError> {
    let failed = |failure| NodeError::Call { address: node.rpc_address().to_string(), failure };
    let wallet = node.create_wallet("bidder").await.map_err(failed)?;
    let address = wallet.address(AddressKind::Bech32).await.map_err(failed)?;
    node.generate(MATURITY + 1, &address).await.map_err(failed)?;
    wallet.split(COINS, COIN, AddressKind::Bech32).await.map_err(failed)?;
    node.generate(1, &address).await.map_err(failed)?;
    Ok(wallet)
}
