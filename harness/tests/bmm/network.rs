//! A bitcoind with a wallet full of coins, bids made of them, and the simulated enforcer that
//! judges the blocks.

use std::time::Duration;

use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::hex::DisplayHex as _;
use bitcoin::{Address, Amount, BlockHash, OutPoint, Transaction, Txid};
use harness::containers::bitcoind::{RPC_PASSWORD, RPC_USER};
use harness::containers::{AddressKind, Bitcoind, BitcoindOptions, Wallet};
use harness::http::{BlockVerdict, EnforcerOptions, EnforcerServer};
use harness::sim::enforcer::Producer;
use harness::sim::sidechain::{HStar, m8_payload};
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio::time::{interval, timeout};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);
/// Events of a miner that may wait to be looked at.
pub(crate) const EVENTS: usize = 10_000;
/// The coins that bids are made of.
const COINS: u32 = 30;
/// Blocks until they must be in one: a template of a moment ago may lack them.
const BLOCKS_MAX: u32 = 5;
pub(crate) const COIN: Amount = Amount::from_sat(1_000_000);

pub(crate) const LOOPBACK: std::net::SocketAddr =
    std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// A bitcoind with coins for bids, and the simulated enforcer that judges its blocks.
pub(crate) struct Network {
    pub(crate) node: Bitcoind,
    pub(crate) enforcer: EnforcerServer,
    pub(crate) verdicts: broadcast::Receiver<BlockVerdict>,
    pub(crate) wallet: Wallet,
    pub(crate) coins: Vec<OutPoint>,
}

/// Where the server's templates and commitments come from.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Way {
    Own,
    Blind,
    Enforcer,
}

/// What a transaction says in its first output.
#[derive(Clone, Copy)]
pub(crate) enum First {
    Bid { slot: u8, h_star: HStar, parent: BlockHash },
    Payment,
}

/// The coins of `split`, in a block. The wallet is not asked: it hears of blocks a moment later.
async fn mined_coins(node: &Bitcoind, split: Txid, address: &Address) -> Vec<OutPoint> {
    let mut blocks = 0;
    loop {
        blocks += 1;
        assert!(blocks <= BLOCKS_MAX, "{split} is in none of {BLOCKS_MAX} blocks");
        node.generate(1, address).await.unwrap();
        let seen = json!([split.to_string(), true]);
        let seen = node.rpc("getrawtransaction", seen).await.unwrap();
        if seen["confirmations"].as_u64().unwrap_or(0) > 0 {
            let outputs = (0..).zip(seen["vout"].as_array().unwrap());
            let coins = outputs.filter(|(_, output)| output["value"] == 0.01);
            let coins: Vec<OutPoint> = coins.map(|(vout, _)| OutPoint::new(split, vout)).collect();
            assert_eq!(coins.len(), COINS as usize);
            return coins;
        }
    }
}

impl Network {
    pub(crate) async fn start() -> Self {
        let node = Bitcoind::start(BitcoindOptions::default()).await.unwrap();
        let wallet = node.create_wallet("bidder").await.unwrap();
        let address = wallet.address(AddressKind::Bech32).await.unwrap();
        node.generate(101, &address).await.unwrap();
        let split = wallet.split(COINS, COIN, AddressKind::Bech32).await.unwrap();
        let coins = mined_coins(&node, split, &address).await;
        let options = EnforcerOptions {
            producer: Producer { votes: Some(Vec::new()), ..Producer::default() },
            lag: Duration::from_millis(50),
            ..EnforcerOptions::default()
        };
        let enforcer = EnforcerServer::start(node.client(), LOOPBACK, options).await.unwrap();
        let verdicts = enforcer.verdicts();
        Self { node, enforcer, verdicts, wallet, coins }
    }

    /// What points a server at this network.
    pub(crate) fn server_settings(&self, way: Way) -> Vec<(&'static str, String)> {
        let network = ("NETWORK", "regtest".to_owned());
        match way {
            Way::Enforcer => {
                vec![network, ("RPC_PORT", self.enforcer.address().port().to_string())]
            }
            Way::Own | Way::Blind => vec![
                network,
                ("RPC_PORT", self.node.rpc_address().port().to_string()),
                ("RPC_USER", RPC_USER.to_owned()),
                ("RPC_PASSWORD", RPC_PASSWORD.to_owned()),
            ],
        }
    }

    pub(crate) async fn tip(&self) -> BlockHash {
        self.node.best_block_hash().await.unwrap()
    }

    /// Sends a transaction that pays `fee` and spends a coin of its own.
    pub(crate) async fn send(&mut self, first: First, fee: u64) -> Txid {
        let coin = self.coins.pop().unwrap();
        self.spend(coin, COIN, first, fee).await
    }

    pub(crate) async fn bid(
        &mut self,
        slot: u8,
        h_star: HStar,
        parent: BlockHash,
        fee: u64,
    ) -> Txid {
        self.send(First::Bid { slot, h_star, parent }, fee).await
    }

    pub(crate) async fn spend(
        &self,
        coin: OutPoint,
        value: Amount,
        first: First,
        fee: u64,
    ) -> Txid {
        let signed = self.sign(coin, value, first, fee).await;
        self.broadcast(&signed).await;
        signed.compute_txid()
    }

    /// A bid that nobody knows of yet.
    pub(crate) async fn signed_bid(&mut self, bid: First, fee: u64) -> Transaction {
        let coin = self.coins.pop().unwrap();
        self.sign(coin, COIN, bid, fee).await
    }

    pub(crate) async fn broadcast(&self, signed: &Transaction) {
        let hex = serialize_hex(signed);
        self.wallet.rpc("sendrawtransaction", json!([hex])).await.unwrap();
    }

    async fn sign(&self, coin: OutPoint, value: Amount, first: First, fee: u64) -> Transaction {
        let change = self.wallet.address(AddressKind::Bech32).await.unwrap().to_string();
        let left = value - Amount::from_sat(fee);
        let change = json!({ change: left.to_string_in(bitcoin::Denomination::Bitcoin) });
        let outputs = match first {
            First::Bid { slot, h_star, parent } => {
                json!([{ "data": m8_payload(slot, h_star, parent).to_lower_hex_string() }, change])
            }
            First::Payment => json!([change]),
        };
        let inputs = json!([{ "txid": coin.txid, "vout": coin.vout }]);
        let raw = self.wallet.rpc("createrawtransaction", json!([inputs, outputs])).await.unwrap();
        let signed = self.wallet.rpc("signrawtransactionwithwallet", json!([raw])).await.unwrap();
        let sent: Transaction = deserialize_hex(signed["hex"].as_str().unwrap()).unwrap();
        if matches!(first, First::Bid { .. }) {
            let script = sent.output[0].script_pubkey.as_bytes();
            assert_eq!((script.len(), &script[..5]), (70, &[0x6a, 0x44, 0x00, 0xbf, 0x00][..]));
        }
        sent
    }

    /// bitcoind's template of now: with a word of its own for its coinbase it passes by its cache.
    pub(crate) async fn template(&self) -> Value {
        self.node
            .rpc("getblocktemplate", json!([{ "rules": ["segwit"], "blockreservedweight": 9_000 }]))
            .await
            .unwrap()
    }

    /// Waits until bitcoind's template holds all of its mempool.
    pub(crate) async fn settle(&self) {
        let settled = async {
            let mut poll = interval(POLL);
            loop {
                poll.tick().await;
                let waiting = self.node.rpc("getrawmempool", json!([])).await.unwrap();
                let template = self.template().await;
                if template["transactions"].as_array().unwrap().len()
                    == waiting.as_array().unwrap().len()
                {
                    return;
                }
            }
        };
        timeout(PATIENCE, settled).await.unwrap();
    }

    pub(crate) async fn verdict(&mut self) -> BlockVerdict {
        timeout(PATIENCE, self.verdicts.recv()).await.unwrap().unwrap()
    }
}

pub(crate) fn h_star(byte: u8) -> HStar {
    // Not a palindrome: a reversed one must not pass.
    let mut bytes = [byte; 32];
    bytes[0] = 0x01;
    HStar(bytes)
}
