//! A regtest bitcoind without sockets, clock or disk: requests and the time in, answers out.
//!
//! It exists so that the server can be proved without a bitcoind, and so that a whole network fits
//! into one deterministic run. It judges blocks fully, **except that scripts and signatures are not
//! verified** (nor BIP-0068 relative lock times); its words were compared with those of a running
//! bitcoind 29. **Invariant:** equal calls in equal order give equal answers.
//! Not in here: HTTP and authorization (`http.rs`), the sidechains (`sidechain.rs`).

mod accept;
mod check;
mod coins;
mod mempool;
mod methods;
mod queries;
mod refusal;
mod template;
#[cfg(test)]
mod tests;
mod versionbits;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bitcoin::consensus::encode::deserialize_partial;
use bitcoin::hex::FromHex as _;
use bitcoin::opcodes::OP_TRUE;
use bitcoin::{
    Amount, Block, BlockHash, CompressedPublicKey, OutPoint, ScriptBuf, Transaction, TxIn, TxOut,
    Txid,
};

pub use accept::{CannotMine, Verdict};
pub use mempool::NotAdmitted;
pub use refusal::Refusal;
pub use template::ParkedPoll;

use super::chain::{Chain, REGTEST_BITS, genesis};
use super::jsonrpc::{self, Arguments, Call, Code, RpcError, RpcReply, RpcResult, result_of};
use coins::{Coins, Undo};
use mempool::Mempool;
use methods::{Answer, METHODS};

/// Whether the node answers, and what.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Condition {
    /// Everything works.
    #[default]
    Ready,
    /// Just started: every call is answered with error -28.
    WarmingUp,
    /// Blocks are still being fetched: no templates, error -10.
    InitialSync,
}

/// What a call leads to.
#[derive(Debug)]
pub enum RpcOutcome {
    /// Send this.
    Reply(RpcReply),
    /// A long-poll: ask [`SimNode::resume`] again at the next change of the tip.
    Parked(ParkedPoll),
}

/// Why the tip changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TipCause {
    /// A block came through `submitblock`.
    Submitted,
    /// A simulated rival mined.
    Rival,
    /// `invalidateblock` or `preciousblock`.
    Command,
}

/// Something that happened in the node, in the order it happened.
#[derive(Clone, Debug)]
pub enum NodeChange {
    /// A block joined the active chain.
    Connected {
        /// Its hash.
        hash: BlockHash,
        /// The block.
        block: Arc<Block>,
    },
    /// The last block left the active chain.
    Disconnected {
        /// Its hash.
        hash: BlockHash,
    },
    /// The tip is another than before the call.
    Tip {
        /// The new tip.
        hash: BlockHash,
        /// Its height.
        height: u32,
        /// What led to it.
        cause: TipCause,
    },
    /// A submitted block is in the active chain.
    Accepted {
        /// Its hash.
        hash: BlockHash,
        /// Its height.
        height: u32,
        /// The block.
        block: Arc<Block>,
        /// The coinbase came without its witness and the node had to add it.
        reserved_value_missing: bool,
    },
    /// A submitted block is kept but its chain is not the best.
    Sidelined {
        /// Its hash.
        hash: BlockHash,
        /// Its height.
        height: u32,
    },
    /// A submitted block breaks a rule.
    Refused {
        /// Its hash.
        hash: BlockHash,
        /// The rule.
        refusal: Refusal,
    },
}

/// The simulated node.
#[derive(Debug)]
pub struct SimNode {
    chain: Chain,
    blocks: BTreeMap<BlockHash, Arc<Block>>,
    coins: Coins,
    /// What connecting each block of the active chain spent.
    undo: BTreeMap<BlockHash, Undo>,
    /// Blocks that were in the active chain at some time, so are known to be valid.
    connected: BTreeSet<BlockHash>,
    /// Outputs that were granted; each only once.
    granted: BTreeSet<OutPoint>,
    mempool: Mempool,
    condition: Condition,
    caught_up: bool,
    /// Blocks mined by rivals so far; makes each different.
    rivals: u64,
    changes: VecDeque<NodeChange>,
}

impl Default for SimNode {
    fn default() -> Self {
        Self::new()
    }
}

impl SimNode {
    /// A node that knows regtest's genesis and nothing else.
    pub fn new() -> Self {
        Self::with_bits(REGTEST_BITS)
    }

    /// The same, on a chain where every block must be as hard as `bits` says.
    pub fn with_bits(bits: u32) -> Self {
        let genesis = genesis();
        let hash = genesis.block_hash();
        Self {
            chain: Chain::with_bits(bits),
            blocks: BTreeMap::from([(hash, Arc::new(genesis))]),
            coins: Coins::default(),
            undo: BTreeMap::new(),
            connected: BTreeSet::from([hash]),
            granted: BTreeSet::new(),
            mempool: Mempool::default(),
            condition: Condition::Ready,
            caught_up: false,
            rivals: 0,
            changes: VecDeque::new(),
        }
    }

    /// Answers one JSON-RPC request; `now` is in Unix seconds.
    pub fn handle_rpc(&mut self, now: u32, body: &[u8]) -> RpcOutcome {
        let Call { envelope, method, params } = match jsonrpc::parse(body) {
            Ok(call) => call,
            Err(reply) => return RpcOutcome::Reply(reply),
        };
        let fail = |error| RpcOutcome::Reply(envelope.wrap(&Err(error)));
        if self.condition == Condition::WarmingUp {
            return fail(RpcError::new(Code::InWarmup, "Loading block index\u{2026}"));
        }
        let Some(method) = METHODS.iter().find(|known| known.name == method) else {
            return fail(RpcError::new(Code::MethodNotFound, "Method not found"));
        };
        let arguments = match Arguments::check(params, method.parameters, method.usage) {
            Ok(arguments) => arguments,
            Err(error) => return fail(error),
        };
        match (method.run)(self, now, &arguments) {
            Answer::Now(result) => RpcOutcome::Reply(envelope.wrap(&result)),
            Answer::Later(watch) => RpcOutcome::Parked(ParkedPoll::new(now, envelope, watch)),
        }
    }

    fn send_raw_transaction(&mut self, hex: &str) -> RpcResult {
        let undecodable = || {
            let message = "TX decode failed. Make sure the tx has at least one input.";
            RpcError::new(Code::Deserialization, message)
        };
        let bytes = Vec::<u8>::from_hex(hex).map_err(|_| undecodable())?;
        let tx = bitcoin::consensus::deserialize(&bytes).map_err(|_| undecodable())?;
        match self.mempool.admit(tx, &self.coins, self.next_block()) {
            Ok(txid) => result_of(&txid),
            Err(refusal) => {
                let code = match refusal {
                    NotAdmitted::Consensus(Refusal::InputsMissingOrSpent) => Code::Verify,
                    NotAdmitted::AlreadyMined => Code::VerifyAlreadyInChain,
                    NotAdmitted::Coinbase
                    | NotAdmitted::NonFinal
                    | NotAdmitted::Conflict
                    | NotAdmitted::FeeIsNot(_)
                    | NotAdmitted::Consensus(_) => Code::VerifyRejected,
                };
                Err(RpcError::new(code, refusal.to_string()))
            }
        }
    }

    /// Puts a transaction into the mempool with a declared fee, in satoshi.
    ///
    /// Inputs that no known transaction made are granted, once and with the value that makes the
    /// fee come true, so that blocks with paying transactions need no hundred blocks before them.
    pub fn add_transaction(&mut self, tx: Transaction, fee: u64) -> Result<Txid, NotAdmitted> {
        let value_out: u64 = tx.output.iter().map(|output| output.value.to_sat()).sum();
        let mut wanted = value_out.saturating_add(fee);
        let mut missing = Vec::new();
        for input in &tx.input {
            let outpoint = input.previous_output;
            let mined = self.coins.get(&outpoint).map(|coin| &coin.output);
            match mined.or_else(|| self.mempool.output(&outpoint)) {
                Some(output) => wanted = wanted.saturating_sub(output.value.to_sat()),
                None if !self.granted.contains(&outpoint) => missing.push(input),
                None => {} // Granted before and spent since: admission will say so.
            }
        }
        for input in missing {
            let value = Amount::from_sat(std::mem::take(&mut wanted));
            let output = TxOut { value, script_pubkey: script_spent_by(input) };
            self.coins.grant(input.previous_output, output);
            self.granted.insert(input.previous_output);
        }
        let next = self.next_block();
        let leaves = self.mempool.judge(&tx, &self.coins, next)?;
        if leaves != fee {
            return Err(NotAdmitted::FeeIsNot(leaves));
        }
        self.mempool.admit(tx, &self.coins, next)
    }

    /// Takes a waiting transaction out of the mempool, and what spends from it.
    pub fn withdraw(&mut self, txid: Txid) {
        self.mempool.remove(txid);
    }

    /// Empties the mempool, as a node does that starts without the one it had.
    pub fn forget_transactions(&mut self) {
        self.mempool.clear();
    }

    /// Declares a block and all built on it invalid, as `invalidateblock` does; `None` if unknown.
    pub fn invalidate(&mut self, hash: BlockHash) -> Option<()> {
        let height = self.chain.entry(hash)?.height;
        if height > 0 {
            self.chain.mark_invalid(hash);
            self.activate(TipCause::Command);
        }
        Some(())
    }

    /// Prefers a block over others of the same work, as `preciousblock` does; `None` if unknown.
    pub fn prefer(&mut self, hash: BlockHash) -> Option<()> {
        self.chain.entry(hash)?;
        self.chain.prefer(hash);
        self.activate(TipCause::Command);
        Some(())
    }

    /// Numbers its rivals' blocks from here on, so that no two nodes' rivals mine the same.
    pub const fn number_rivals_from(&mut self, number: u64) {
        self.rivals = number;
    }

    /// Makes calls fail, or work again.
    pub const fn set_condition(&mut self, condition: Condition) {
        self.condition = condition;
    }

    /// Takes the oldest change that was not taken yet; drain it after each call.
    pub fn poll_change(&mut self) -> Option<NodeChange> {
        self.changes.pop_front()
    }

    /// The hash of the last block of the active chain.
    pub fn tip(&self) -> BlockHash {
        self.chain.tip()
    }

    /// Every known header and the active chain.
    pub const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// A block that is here, whatever its chain.
    pub fn block(&self, hash: BlockHash) -> Option<&Arc<Block>> {
        self.blocks.get(&hash)
    }

    /// The transactions that wait for a block, in the order they came.
    pub fn waiting(&self) -> impl Iterator<Item = Txid> {
        self.mempool.iter().map(|waiting| waiting.txid)
    }
}

/// A script that an input could spend, so that a granted coin costs the right signature operations.
fn script_spent_by(input: &TxIn) -> ScriptBuf {
    let pays_to_key_hash = input.witness.nth(1).filter(|_| input.witness.len() == 2);
    let key = pays_to_key_hash.and_then(|key| CompressedPublicKey::from_slice(key).ok());
    key.map_or_else(
        || ScriptBuf::from_bytes(vec![OP_TRUE.to_u8()]),
        |key| ScriptBuf::new_p2wpkh(&key.wpubkey_hash()),
    )
}

/// Reads a block from hex. Bytes after it are ignored, as bitcoind ignores them.
fn decode_block(hex: &str) -> Result<Block, RpcError> {
    let undecodable = || RpcError::new(Code::Deserialization, "Block decode failed");
    let bytes = Vec::<u8>::from_hex(hex).map_err(|_| undecodable())?;
    let (block, _) = deserialize_partial::<Block>(&bytes).map_err(|_| undecodable())?;
    Ok(block)
}
