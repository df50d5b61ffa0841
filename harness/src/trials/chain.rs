//! Where blocks stand at a real node, asked directly and not through any proxy.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr as _;
use std::time::Duration;

use bitcoin::BlockHash;
use hyper::StatusCode;
use serde_json::{Value, json};

use crate::containers::Bitcoind;
use crate::rpc::{RpcClient, RpcFailure};

/// bitcoind's code for a block that it does not have.
const NOT_FOUND: i64 = -5;
/// What `getchaintips` says of branches that may be valid: all their blocks are there, checked in
/// full, or as far as can be without making them the tip.
const SOUND: [&str; 2] = ["valid-fork", "valid-headers"];
/// Tries while the node is too busy to answer, and the time between them.
const BUSY_TRIES: u32 = 50;
const BUSY_POLL: Duration = Duration::from_millis(100);

/// Where a block stands.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Standing {
    /// In the best chain.
    InChain,
    /// On a branch that is as good, but for another block that was first.
    Stale,
    /// On a branch that the node found invalid, or without its transactions.
    Invalid,
    /// The node does not have it.
    Missing,
}

impl Standing {
    /// Whether the block was handed in and is right.
    pub const fn is_kept(self) -> bool {
        matches!(self, Self::InChain | Self::Stale)
    }
}

/// Where each of `blocks` stands at `node`.
pub async fn standings(
    node: &Bitcoind,
    blocks: impl IntoIterator<Item = BlockHash>,
) -> Result<BTreeMap<BlockHash, Standing>, RpcFailure> {
    let client = node.client();
    let stale = stale(&client).await?;
    let mut standings = BTreeMap::new();
    for hash in blocks {
        let standing = match ask(&client, "getblockheader", json!([hash])).await {
            Ok(header) if header["confirmations"].as_i64() >= Some(1) => Standing::InChain,
            Ok(_) if stale.contains(&hash) => Standing::Stale,
            Ok(_) => Standing::Invalid,
            Err(failure) if failure.code() == Some(NOT_FOUND) => Standing::Missing,
            Err(failure) => return Err(failure),
        };
        standings.insert(hash, standing);
    }
    Ok(standings)
}

/// The blocks of all sound branches.
async fn stale(client: &RpcClient) -> Result<BTreeSet<BlockHash>, RpcFailure> {
    let tips = ask(client, "getchaintips", json!([])).await?;
    let mut stale = BTreeSet::new();
    for tip in tips.as_array().into_iter().flatten() {
        if !tip["status"].as_str().is_some_and(|status| SOUND.contains(&status)) {
            continue;
        }
        let mut block = tip["hash"].clone();
        for _ in 0..tip["branchlen"].as_u64().unwrap_or(0) {
            stale.extend(block.as_str().and_then(|text| BlockHash::from_str(text).ok()));
            let mut header = ask(client, "getblockheader", json!([block])).await?;
            block = header["previousblockhash"].take();
        }
    }
    Ok(stale)
}

/// Asks again while the node has too much to do.
async fn ask(client: &RpcClient, method: &str, params: Value) -> Result<Value, RpcFailure> {
    let mut poll = tokio::time::interval(BUSY_POLL);
    let mut tries = 0;
    loop {
        poll.tick().await;
        tries += 1;
        match client.call(method, params.clone()).await {
            Err(RpcFailure::NotJsonRpc { status, .. })
                if status == StatusCode::SERVICE_UNAVAILABLE && tries < BUSY_TRIES => {}
            answer => return answer,
        }
    }
}
