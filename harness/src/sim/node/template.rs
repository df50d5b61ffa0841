//! `getblocktemplate`: the template itself, long-polling, and proposals.
//!
//! Field for field what bitcoind 29 answers on regtest. One difference is on purpose: bitcoind may
//! answer with a template up to five seconds old while only the mempool changed, this node never
//! does. Not in here: which transactions are chosen (`mempool.rs`), the checks (`check.rs`).

use bitcoin::consensus::encode::serialize_hex;
use bitcoin::hashes::Hash as _;
use bitcoin::{
    Block, BlockHash, CompactTarget, Target, Txid, WitnessMerkleNode, Wtxid, merkle_tree,
};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::str::FromStr as _;

use super::coins::SIGOPS_COST_MAX;
use super::mempool::Waiting;
use super::methods::Answer;
use super::queries::parse_hash;
use super::versionbits::{Deployment, TESTDUMMY_BIT};
use super::{Condition, SimNode, check, decode_block};
use crate::sim::chain::subsidy_sats;
use crate::sim::jsonrpc::{Arguments, Code, Envelope, RpcError, RpcReply, RpcResult, result_of};

/// Seconds before a parked request looks at the mempool for the first time.
const PARKED_FIRST_LOOK_SECS: u32 = 60;

/// Seconds between later looks.
const PARKED_NEXT_LOOK_SECS: u32 = 10;

/// Weight bitcoind leaves for the header and the coinbase (`-blockreservedweight`).
const RESERVED_WEIGHT: u64 = 8_000;

/// Signature operation cost bitcoind leaves for the coinbase.
const RESERVED_SIGOPS: u64 = 400;

/// A long-poll request that waits for a change.
///
/// Ask again with [`SimNode::resume`] whenever the tip changed, and at [`Self::look_at`].
#[derive(Clone, Debug)]
pub struct ParkedPoll {
    envelope: Envelope,
    watch: Watch,
    look_at: u32,
}

impl ParkedPoll {
    pub(super) const fn new(now: u32, envelope: Envelope, watch: Watch) -> Self {
        Self { envelope, watch, look_at: now.saturating_add(PARKED_FIRST_LOOK_SECS) }
    }

    /// When to look at the mempool next, in Unix seconds.
    pub const fn look_at(&self) -> u32 {
        self.look_at
    }
}

/// What a long-poll waits to see changed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    tip: BlockHash,
    updates: u64,
}

/// Field order as bitcoind has it.
#[derive(Serialize)]
struct Template {
    capabilities: [&'static str; 1],
    version: i32,
    rules: Vec<&'static str>,
    vbavailable: BTreeMap<&'static str, u8>,
    vbrequired: u32,
    previousblockhash: BlockHash,
    transactions: Vec<TemplateTransaction>,
    coinbaseaux: BTreeMap<&'static str, &'static str>,
    coinbasevalue: u64,
    longpollid: String,
    target: String,
    mintime: u32,
    mutable: [&'static str; 3],
    noncerange: &'static str,
    sigoplimit: u64,
    sizelimit: u64,
    weightlimit: u64,
    curtime: u32,
    bits: String,
    height: u32,
    default_witness_commitment: String,
}

#[derive(Serialize)]
struct TemplateTransaction {
    data: String,
    txid: Txid,
    hash: Wtxid,
    /// Counted from 1, once for each input that spends an earlier transaction.
    depends: Vec<usize>,
    fee: u64,
    sigops: u64,
    weight: u64,
}

impl SimNode {
    /// Answers a parked request if there is reason to, else moves its next look.
    pub fn resume(&self, now: u32, parked: &mut ParkedPoll) -> Option<RpcReply> {
        if self.tip() == parked.watch.tip {
            if now < parked.look_at {
                return None;
            }
            if self.mempool.updates() == parked.watch.updates {
                parked.look_at = now.saturating_add(PARKED_NEXT_LOOK_SECS);
                return None;
            }
        }
        Some(parked.envelope.wrap(&self.template(now)))
    }

    pub(super) fn block_template(&mut self, now: u32, arguments: &Arguments) -> Answer {
        let empty = Map::new();
        let request = arguments.value(0).and_then(Value::as_object).unwrap_or(&empty);
        self.try_block_template(now, request).unwrap_or_else(|error| Answer::Now(Err(error)))
    }

    fn try_block_template(
        &mut self,
        now: u32,
        request: &Map<String, Value>,
    ) -> Result<Answer, RpcError> {
        match request.get("mode") {
            None | Some(Value::Null) => {}
            Some(Value::String(mode)) if mode == "template" => {}
            Some(Value::String(mode)) if mode == "proposal" => {
                return Ok(Answer::Now(self.proposal(now, request)));
            }
            Some(_) => return Err(RpcError::new(Code::InvalidParameter, "Invalid mode")),
        }
        if self.condition == Condition::InitialSync {
            let message = "Bitcoin Core is in initial sync and waiting for blocks...";
            return Err(RpcError::new(Code::ClientInInitialDownload, message));
        }
        if let Some(longpollid) = request.get("longpollid").filter(|id| !id.is_null()) {
            let watch = self.watch(longpollid)?;
            if watch.tip == self.tip() {
                return Ok(Answer::Later(watch));
            }
        }
        let rules = request.get("rules").and_then(Value::as_array);
        if !rules.is_some_and(|rules| rules.iter().any(|rule| rule == "segwit")) {
            let message = "getblocktemplate must be called with the segwit rule set \
                           (call with {\"rules\": [\"segwit\"]})";
            return Err(RpcError::new(Code::InvalidParameter, message));
        }
        Ok(Answer::Now(self.template(now)))
    }

    /// Reads a long-poll id: the tip in 64 hex digits, then the mempool's count of changes.
    fn watch(&self, longpollid: &Value) -> Result<Watch, RpcError> {
        let Some(text) = longpollid.as_str() else {
            return Ok(Watch { tip: self.tip(), updates: self.mempool.updates() });
        };
        let (hash, count) = text.split_at_checked(64).unwrap_or((text, ""));
        let tip = parse_hash(hash, "longpollid")?;
        // A count that is no number is a change, as it is for bitcoind.
        Ok(Watch { tip, updates: u64::from_str(count).unwrap_or(0) })
    }

    /// BIP-0023 proposal mode: every check but the proof of work, and no block is kept.
    fn proposal(&mut self, now: u32, request: &Map<String, Value>) -> RpcResult {
        let Some(hex) = request.get("data").and_then(Value::as_str) else {
            return Err(RpcError::new(Code::Type, "Missing data String key for proposal"));
        };
        let block = decode_block(hex)?;
        result_of(&self.judge_proposal(now, &block))
    }

    fn judge_proposal(&mut self, now: u32, block: &Block) -> Option<String> {
        let hash = block.block_hash();
        if let Some(entry) = self.chain.entry(hash) {
            let word = if entry.invalid {
                "duplicate-invalid"
            } else if self.connected.contains(&hash) {
                "duplicate"
            } else {
                "duplicate-inconclusive"
            };
            return Some(word.to_owned());
        }
        if block.header.prev_blockhash != self.tip() {
            return Some("inconclusive-not-best-prevblk".to_owned());
        }
        let next = self.next_block();
        let verdict = check::header_in_chain(&self.chain, &block.header, now)
            .and_then(|()| check::body(block))
            .and_then(|()| check::body_in_chain(block, next.height, next.median_time))
            .and_then(|()| self.coins.could_connect(block, next.height, subsidy_sats(next.height)));
        verdict.err().map(|refusal| refusal.to_string())
    }

    pub(super) fn template(&self, now: u32) -> RpcResult {
        let next = self.next_block();
        let deployment = Deployment::after(&self.chain);
        let chosen = self
            .mempool
            .select(check::WEIGHT_MAX - RESERVED_WEIGHT, SIGOPS_COST_MAX - RESERVED_SIGOPS);
        let fees: u64 = chosen.iter().map(|waiting| waiting.fee).sum();
        let tip = self.tip();
        let mintime = next.median_time + 1;
        result_of(&Template {
            capabilities: ["proposal"],
            version: deployment.version(),
            rules: rules(deployment),
            vbavailable: available(deployment),
            vbrequired: 0,
            previousblockhash: tip,
            default_witness_commitment: default_witness_commitment(&chosen),
            transactions: transactions(&chosen),
            coinbaseaux: BTreeMap::new(),
            coinbasevalue: subsidy_sats(next.height) + fees,
            longpollid: format!("{tip}{}", self.mempool.updates()),
            target: format!(
                "{:x}",
                Target::from_compact(CompactTarget::from_consensus(self.chain.bits()))
            ),
            mintime,
            mutable: ["time", "transactions", "prevblock"],
            noncerange: "00000000ffffffff",
            sigoplimit: SIGOPS_COST_MAX,
            sizelimit: check::WEIGHT_MAX,
            weightlimit: check::WEIGHT_MAX,
            curtime: now.max(mintime),
            bits: format!("{:08x}", self.chain.bits()),
            height: next.height,
        })
    }
}

fn rules(deployment: Deployment) -> Vec<&'static str> {
    match deployment {
        Deployment::Defined | Deployment::Started | Deployment::LockedIn => {
            vec!["csv", "!segwit", "taproot"]
        }
        Deployment::Active => vec!["csv", "!segwit", "testdummy", "taproot"],
    }
}

fn available(deployment: Deployment) -> BTreeMap<&'static str, u8> {
    match deployment {
        Deployment::Defined | Deployment::Active => BTreeMap::new(),
        Deployment::Started | Deployment::LockedIn => {
            BTreeMap::from([("testdummy", TESTDUMMY_BIT)])
        }
    }
}

fn transactions(chosen: &[&Waiting]) -> Vec<TemplateTransaction> {
    let mut places = BTreeMap::new();
    let mut transactions = Vec::with_capacity(chosen.len());
    for (place, waiting) in (1_usize..).zip(chosen) {
        let inputs = waiting.tx.input.iter();
        transactions.push(TemplateTransaction {
            data: serialize_hex(&waiting.tx),
            txid: waiting.txid,
            hash: waiting.tx.compute_wtxid(),
            depends: inputs
                .filter_map(|input| places.get(&input.previous_output.txid).copied())
                .collect(),
            fee: waiting.fee,
            sigops: waiting.sigops,
            weight: waiting.weight,
        });
        places.insert(waiting.txid, place);
    }
    transactions
}

/// The commitment output for these transactions and a reserved value of zeroes (BIP-0141).
fn default_witness_commitment(chosen: &[&Waiting]) -> String {
    let coinbase = std::iter::once(Wtxid::all_zeros());
    let wtxids = coinbase.chain(chosen.iter().map(|waiting| waiting.tx.compute_wtxid()));
    let root = merkle_tree::calculate_root(wtxids.map(Wtxid::to_raw_hash));
    let root = root.map_or_else(WitnessMerkleNode::all_zeros, WitnessMerkleNode::from_raw_hash);
    let commitment = Block::compute_witness_commitment(&root, &[0; 32]);
    let bytes = serialize_hex(&commitment.to_byte_array());
    format!("6a24aa21a9ed{bytes}")
}
