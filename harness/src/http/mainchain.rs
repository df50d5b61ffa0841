//! A node whose chain a sidechain can follow, and the JSON-RPC client as one.
//!
//! Not in here: the following itself (`sidechain.rs`).

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use bitcoin::consensus::encode::deserialize_hex;
use bitcoin::{Block, BlockHash};
use serde_json::{Value, json};

use crate::rpc::RpcClient;

/// Whatever went wrong at the node that is followed.
pub type MainchainError = Box<dyn Error + Send + Sync>;

/// A node whose chain a sidechain can follow.
pub trait Mainchain: Send + Sync + 'static {
    /// The hash of the last block of the best chain.
    fn best_block_hash(&self) -> impl Future<Output = Result<BlockHash, MainchainError>> + Send;

    /// A block by its hash.
    fn block(&self, hash: BlockHash) -> impl Future<Output = Result<Block, MainchainError>> + Send;
}

/// A node's answer was not what the method gives.
#[derive(Debug)]
struct Unexpected {
    method: &'static str,
    wanted: &'static str,
}

impl fmt::Display for Unexpected {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, wanted } = self;
        write!(formatter, "its answer to {method} is not {wanted}; is it a Bitcoin node?")
    }
}

impl Error for Unexpected {}

impl Mainchain for RpcClient {
    async fn best_block_hash(&self) -> Result<BlockHash, MainchainError> {
        let method = "getbestblockhash";
        let answer = self.call(method, json!([])).await?;
        let hash = answer.as_str().and_then(|text| BlockHash::from_str(text).ok());
        Ok(hash.ok_or(Unexpected { method, wanted: "a block hash" })?)
    }

    async fn block(&self, hash: BlockHash) -> Result<Block, MainchainError> {
        let method = "getblock";
        let answer: Value = self.call(method, json!([hash.to_string(), 0])).await?;
        let block = answer.as_str().and_then(|hex| deserialize_hex::<Block>(hex).ok());
        Ok(block.ok_or(Unexpected { method, wanted: "a block in hex" })?)
    }
}
