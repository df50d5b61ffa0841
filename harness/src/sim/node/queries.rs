//! The read-only methods: what the node says of its chain, its blocks and its mempool.
//!
//! Answers have bitcoind's fields as far as a pool, an explorer of the chain or a test reads them.
//! Not in here: templates (`template.rs`) and everything that changes the node (`node.rs`).

use bitcoin::consensus::encode::serialize_hex;
use bitcoin::{Block, BlockHash, Target, Txid, block};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Condition, SimNode};
use crate::sim::chain::Entry;
use crate::sim::jsonrpc::{Arguments, Code, RpcError, RpcResult, result_of};

/// Seconds that a tip may be old before a starting node says it is still downloading.
const TIP_AGE_SECS_MAX: u32 = 24 * 60 * 60;

/// Field order as bitcoind has it.
#[derive(Serialize)]
struct HeaderInfo {
    hash: BlockHash,
    confirmations: i64,
    height: u32,
    version: i32,
    #[serde(rename = "versionHex")]
    version_hex: String,
    merkleroot: bitcoin::TxMerkleNode,
    time: u32,
    mediantime: u32,
    nonce: u32,
    bits: String,
    target: String,
    difficulty: f64,
    chainwork: String,
    #[serde(rename = "nTx")]
    transactions: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    previousblockhash: Option<BlockHash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nextblockhash: Option<BlockHash>,
}

#[derive(Serialize)]
struct BlockInfo {
    #[serde(flatten)]
    header: HeaderInfo,
    strippedsize: usize,
    size: usize,
    weight: u64,
    tx: Vec<Txid>,
}

#[derive(Serialize)]
struct ChainInfo {
    chain: &'static str,
    blocks: u32,
    headers: u32,
    bestblockhash: BlockHash,
    bits: String,
    target: String,
    difficulty: f64,
    time: u32,
    mediantime: u32,
    verificationprogress: f64,
    initialblockdownload: bool,
    chainwork: String,
    size_on_disk: usize,
    pruned: bool,
    warnings: [&'static str; 0],
}

impl SimNode {
    pub(super) fn blockchain_info(&mut self, now: u32) -> RpcResult {
        let tip = *self.chain.tip_entry();
        let syncing = self.is_syncing(now);
        result_of(&ChainInfo {
            chain: "regtest",
            blocks: tip.height,
            headers: tip.height,
            bestblockhash: self.tip(),
            bits: bits(&tip.header),
            target: target(&tip.header),
            difficulty: tip.header.difficulty_float(),
            time: tip.header.time,
            mediantime: self.chain.median_time_past(self.tip()),
            verificationprogress: 1.0,
            initialblockdownload: syncing,
            chainwork: format!("{:064x}", tip.work),
            size_on_disk: self.blocks.values().map(|block| block.total_size()).sum(),
            pruned: false,
            warnings: [],
        })
    }

    /// True until a recent tip was seen once; on a fresh regtest chain, until the first block.
    fn is_syncing(&mut self, now: u32) -> bool {
        let tip_time = self.chain.tip_entry().header.time;
        self.caught_up |= tip_time >= now.saturating_sub(TIP_AGE_SECS_MAX);
        self.condition == Condition::InitialSync || !self.caught_up
    }

    pub(super) fn network_info() -> RpcResult {
        result_of(&json!({
            "version": 290_400,
            "subversion": "/Satoshi:29.4.0(simulated)/",
            "protocolversion": 70016,
            "localservices": "0000000000000009",
            "localservicesnames": ["NETWORK", "WITNESS"],
            "localrelay": true,
            "timeoffset": 0,
            "networkactive": true,
            "connections": 0,
            "connections_in": 0,
            "connections_out": 0,
            "networks": [],
            "relayfee": 0.000_01,
            "incrementalfee": 0.000_01,
            "localaddresses": [],
            "warnings": [],
        }))
    }

    pub(super) fn mempool_info(&self) -> RpcResult {
        let vsize = |weight: u64| weight.div_ceil(4);
        let bytes: u64 = self.mempool.iter().map(|waiting| vsize(waiting.weight)).sum();
        let fees: u64 = self.mempool.iter().map(|waiting| waiting.fee).sum();
        result_of(&json!({
            "loaded": true,
            "size": self.mempool.iter().count(),
            "bytes": bytes,
            "usage": bytes,
            "total_fee": bitcoin::Amount::from_sat(fees).to_btc(),
            "maxmempool": 300_000_000,
            "mempoolminfee": 0.0,
            "minrelaytxfee": 0.0,
            "incrementalrelayfee": 0.000_01,
            "unbroadcastcount": 0,
            "fullrbf": true,
        }))
    }

    pub(super) fn raw_mempool(&self) -> RpcResult {
        result_of(&self.mempool.iter().map(|waiting| waiting.txid).collect::<Vec<_>>())
    }

    pub(super) fn block_hash_at(&self, arguments: &Arguments) -> RpcResult {
        let height = arguments.number(0).and_then(|height| u32::try_from(height).ok());
        let hash = height.and_then(|height| self.chain.active_hash(height));
        let out_of_range = || RpcError::new(Code::InvalidParameter, "Block height out of range");
        result_of(&hash.ok_or_else(out_of_range)?)
    }

    /// The ends of all branches, the highest first.
    pub(super) fn chain_tips(&self) -> RpcResult {
        let mut tips: Vec<(u32, BlockHash)> =
            self.chain.ends().map(|(hash, entry)| (entry.height, hash)).collect();
        tips.sort_by_key(|(height, hash)| (std::cmp::Reverse(*height), *hash));
        let tips = tips.into_iter().map(|(height, hash)| {
            let (fork, _) = self.chain.branch(hash);
            json!({
                "height": height,
                "hash": hash,
                "branchlen": height - fork,
                "status": self.status(hash),
            })
        });
        result_of(&tips.collect::<Vec<_>>())
    }

    /// What the node thinks of the branch that ends with this block.
    fn status(&self, end: BlockHash) -> &'static str {
        let entry = self.chain.entry(end);
        if self.chain.is_active(end) {
            "active"
        } else if entry.is_some_and(|entry| entry.invalid) {
            "invalid"
        } else if !entry.is_some_and(Entry::is_whole) {
            "headers-only"
        } else if self.connected.contains(&end) {
            "valid-fork"
        } else {
            "valid-headers"
        }
    }

    pub(super) fn block_header(&self, arguments: &Arguments) -> RpcResult {
        let hash = parse_hash(arguments.text(0), "hash")?;
        let info = self.header_info(hash).ok_or_else(block_not_found)?;
        if arguments.value(1) == Some(&Value::Bool(false)) {
            let header = self.chain.entry(hash).map(|entry| entry.header);
            return result_of(&header.map(|header| serialize_hex(&header)));
        }
        result_of(&info)
    }

    pub(super) fn whole_block(&self, arguments: &Arguments) -> RpcResult {
        let hash = parse_hash(arguments.text(0), "blockhash")?;
        let header = self.header_info(hash).ok_or_else(block_not_found)?;
        let unavailable =
            || RpcError::new(Code::Misc, "Block not available (not fully downloaded)");
        let block: &Block = self.blocks.get(&hash).ok_or_else(unavailable)?;
        let verbosity = match arguments.value(1) {
            None | Some(Value::Bool(true)) => 1,
            Some(Value::Bool(false)) => 0,
            Some(other) => other.as_i64().unwrap_or(1),
        };
        match verbosity {
            ..=0 => result_of(&serialize_hex(block)),
            1 => result_of(&block_info(header, block)),
            _ => Err(RpcError::new(
                Code::InvalidParameter,
                "The simulated node answers getblock with verbosity 0 and 1 only; ask for 0 and \
                 decode the block",
            )),
        }
    }

    fn header_info(&self, hash: BlockHash) -> Option<HeaderInfo> {
        let entry = self.chain.entry(hash)?;
        let version = entry.header.version.to_consensus();
        let active = self.chain.is_active(hash);
        Some(HeaderInfo {
            hash,
            confirmations: self.chain.confirmations(hash),
            height: entry.height,
            version,
            version_hex: format!("{version:08x}"),
            merkleroot: entry.header.merkle_root,
            time: entry.header.time,
            mediantime: self.chain.median_time_past(hash),
            nonce: entry.header.nonce,
            bits: bits(&entry.header),
            target: target(&entry.header),
            difficulty: entry.header.difficulty_float(),
            chainwork: format!("{:064x}", entry.work),
            transactions: entry.transactions,
            previousblockhash: (entry.height > 0).then_some(entry.header.prev_blockhash),
            nextblockhash: self.chain.active_hash(entry.height + 1).filter(|_| active),
        })
    }
}

fn block_info(header: HeaderInfo, block: &Block) -> BlockInfo {
    let size = block.total_size();
    let weight = block.weight().to_wu();
    let stripped = weight.saturating_sub(u64::try_from(size).unwrap_or(u64::MAX)) / 3;
    BlockInfo {
        header,
        strippedsize: usize::try_from(stripped).unwrap_or(usize::MAX),
        size,
        weight,
        tx: block.txdata.iter().map(bitcoin::Transaction::compute_txid).collect(),
    }
}

fn bits(header: &block::Header) -> String {
    format!("{:08x}", header.bits.to_consensus())
}

fn target(header: &block::Header) -> String {
    format!("{:064x}", Target::from_compact(header.bits))
}

pub(super) fn block_not_found() -> RpcError {
    RpcError::new(Code::InvalidAddressOrKey, "Block not found")
}

/// Reads a hash as an argument, with bitcoind's complaints; `name` is the argument's.
pub(super) fn parse_hash(text: &str, name: &str) -> Result<BlockHash, RpcError> {
    let complaint = if text.len() == 64 {
        format!("{name} must be hexadecimal string (not '{text}')")
    } else {
        format!("{name} must be of length 64 (not {}, for '{text}')", text.len())
    };
    text.parse().map_err(|_| RpcError::new(Code::InvalidParameter, complaint))
}
