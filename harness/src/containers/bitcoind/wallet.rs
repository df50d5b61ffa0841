//! A wallet of a regtest node: addresses of each type, and payments from it.

use std::collections::BTreeMap;

use bitcoin::address::NetworkUnchecked;
use bitcoin::{Address, Amount, Network, Txid};
use serde_json::{Value, json};

use super::{typed, unexpected};
use crate::rpc::{RpcClient, RpcFailure};

/// The output types that a wallet can make addresses for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AddressKind {
    /// P2PKH: spending it has no witness.
    Legacy,
    /// P2WPKH behind P2SH.
    P2shSegwit,
    /// P2WPKH.
    Bech32,
    /// P2TR.
    Bech32m,
}

impl AddressKind {
    /// As RPC spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::P2shSegwit => "p2sh-segwit",
            Self::Bech32 => "bech32",
            Self::Bech32m => "bech32m",
        }
    }
}

/// One wallet of one node.
#[derive(Clone, Debug)]
pub struct Wallet {
    client: RpcClient,
}

impl Wallet {
    pub(super) async fn create(client: &RpcClient, name: &str) -> Result<Self, RpcFailure> {
        client.call("createwallet", json!([name])).await?;
        Ok(Self { client: client.clone().with_path(format!("/wallet/{name}")) })
    }

    /// Calls any method of this wallet.
    pub async fn rpc(&self, method: &str, params: Value) -> Result<Value, RpcFailure> {
        self.client.call(method, params).await
    }

    /// A new address of this kind.
    pub async fn address(&self, kind: AddressKind) -> Result<Address, RpcFailure> {
        const METHOD: &str = "getnewaddress";
        let text = self.rpc(METHOD, json!(["", kind.as_str()])).await?;
        let address: Address<NetworkUnchecked> = typed(METHOD, text)?;
        address.require_network(Network::Regtest).map_err(|cause| unexpected(METHOD, &cause))
    }

    /// What can be spent now: confirmed, and mature where it was mined.
    pub async fn balance(&self) -> Result<Amount, RpcFailure> {
        const METHOD: &str = "getbalance";
        let coins: f64 = typed(METHOD, self.rpc(METHOD, json!([])).await?)?;
        Amount::from_btc(coins).map_err(|cause| unexpected(METHOD, &cause))
    }

    /// Pays one address in a transaction of its own.
    pub async fn send(&self, address: &Address, amount: Amount) -> Result<Txid, RpcFailure> {
        let params = json!([address, coins(amount)]);
        typed("sendtoaddress", self.rpc("sendtoaddress", params).await?)
    }

    /// Pays many different addresses in one transaction.
    pub async fn send_many(&self, payments: &[(Address, Amount)]) -> Result<Txid, RpcFailure> {
        let amounts: BTreeMap<String, String> = payments
            .iter()
            .map(|(address, amount)| (address.to_string(), coins(*amount)))
            .collect();
        assert_eq!(amounts.len(), payments.len(), "an address is paid once in a transaction");
        typed("sendmany", self.rpc("sendmany", json!(["", amounts])).await?)
    }

    /// Splits this wallet's coins into `count` outputs of `amount` each on addresses of `kind`.
    /// Once that is mined, as many transactions can stand in the mempool that do not depend on one
    /// another (a mempool refuses long chains).
    pub async fn split(
        &self,
        count: u32,
        amount: Amount,
        kind: AddressKind,
    ) -> Result<Txid, RpcFailure> {
        let mut payments = Vec::new();
        for _ in 0..count {
            payments.push((self.address(kind).await?, amount));
        }
        self.send_many(&payments).await
    }
}

/// An amount as RPC wants it: bitcoins in decimal, never through a float.
fn coins(amount: Amount) -> String {
    amount.to_string_in(bitcoin::Denomination::Bitcoin)
}
