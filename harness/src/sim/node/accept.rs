//! From a submitted block to a verdict, and from a new block to the chain it belongs to.
//!
//! The order of steps is bitcoind's `ProcessNewBlock`: the body by itself, the header in the chain,
//! the body in the chain, then activation of the chain with the most work. Not in here: the rules
//! (`check.rs`, `coins.rs`) and the order of blocks (`chain.rs`).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bitcoin::hashes::Hash as _;
use bitcoin::opcodes::OP_TRUE;
use bitcoin::script::Builder;
use bitcoin::transaction::Version as TransactionVersion;
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn,
    TxOut, Witness, absolute, block,
};

use simminer::hasher::Hasher;
use simminer::target::Target;

use super::mempool::NextBlock;
use super::refusal::Refusal;
use super::versionbits::Deployment;
use super::{NodeChange, SimNode, TipCause, check};
use crate::sim::chain::subsidy_sats;

/// What the node thinks of a submitted block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It is in the active chain.
    Accepted,
    /// It was here before.
    Duplicate,
    /// It was here before and was refused.
    DuplicateInvalid,
    /// It is kept, but its chain is not the best, so its inputs were not looked at.
    Inconclusive,
    /// It breaks a rule.
    Refused(Refusal),
}

impl Verdict {
    /// bitcoind's word for it; `None`, which JSON writes as null, is acceptance.
    pub fn word(self) -> Option<String> {
        match self {
            Self::Accepted => None,
            Self::Duplicate => Some("duplicate".to_owned()),
            Self::DuplicateInvalid => Some("duplicate-invalid".to_owned()),
            Self::Inconclusive => Some("inconclusive".to_owned()),
            Self::Refused(refusal) => Some(refusal.to_string()),
        }
    }
}

/// Why a rival's block could not be mined.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CannotMine {
    /// There is no such block, or it is invalid.
    UnknownParent(BlockHash),
    /// The node would refuse it: outputs that pay too much, or a clock far behind the chain.
    Refused(Refusal),
}

impl fmt::Display for CannotMine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownParent(hash) => write!(
                formatter,
                "the simulated node knows no valid block {hash}, so nothing can be mined on it; \
                 name a block that it accepted"
            ),
            Self::Refused(refusal) => write!(
                formatter,
                "the simulated node refused a rival's block as {refusal}, so the rival mined \
                 nothing; give its further outputs no value and a time near the chain's"
            ),
        }
    }
}

impl std::error::Error for CannotMine {}

impl SimNode {
    /// What `submitblock` does with a decoded block; `now` is in Unix seconds.
    pub fn submit(&mut self, now: u32, mut block: Block) -> Verdict {
        let parent_is_known = self.chain.entry(block.header.prev_blockhash).is_some();
        let reserved_value_missing = parent_is_known && check::fill_reserved_value(&mut block);
        let block = Arc::new(block);
        let hash = block.block_hash();
        let verdict = self.try_accept(now, &block, TipCause::Submitted);
        let verdict = verdict.unwrap_or_else(Verdict::Refused);
        let change = match verdict {
            Verdict::Accepted => {
                let height = self.height_of(hash);
                Some(NodeChange::Accepted { hash, height, block, reserved_value_missing })
            }
            Verdict::Inconclusive => {
                Some(NodeChange::Sidelined { hash, height: self.height_of(hash) })
            }
            Verdict::Refused(refusal) => Some(NodeChange::Refused { hash, refusal }),
            Verdict::Duplicate | Verdict::DuplicateInvalid => None,
        };
        self.changes.extend(change);
        verdict
    }

    /// Takes a block from another node; `now` is in Unix seconds.
    pub fn relay(&mut self, now: u32, block: &Arc<Block>) -> Verdict {
        self.try_accept(now, block, TipCause::Rival).unwrap_or_else(Verdict::Refused)
    }

    fn height_of(&self, hash: BlockHash) -> u32 {
        self.chain.entry(hash).map_or(0, |entry| entry.height)
    }

    fn try_accept(
        &mut self,
        now: u32,
        block: &Arc<Block>,
        cause: TipCause,
    ) -> Result<Verdict, Refusal> {
        let hash = block.block_hash();
        check::proof_of_work(&block.header)?;
        check::body(block)?;
        if self.chain.entry(hash).is_none() {
            check::header_in_chain(&self.chain, &block.header, now)?;
            self.chain.insert(block.header);
        }
        if self.chain.entry(hash).is_some_and(|entry| entry.invalid) {
            return Ok(Verdict::DuplicateInvalid);
        }
        if self.blocks.contains_key(&hash) {
            return Ok(Verdict::Duplicate);
        }
        let parent = block.header.prev_blockhash;
        let median_time = self.chain.median_time_past(parent);
        let contextual = check::body_in_chain(block, self.height_of(hash), median_time);
        if let Err(refusal) = contextual {
            if !refusal.is_mutation() {
                self.chain.mark_invalid(hash);
            }
            return Err(refusal);
        }
        self.blocks.insert(hash, Arc::clone(block));
        self.chain.receive(hash, block.txdata.len());
        let mut outcomes = self.activate(cause);
        match outcomes.remove(&hash) {
            Some(Ok(())) => Ok(Verdict::Accepted),
            Some(Err(refusal)) => Err(refusal),
            None => Ok(Verdict::Inconclusive),
        }
    }

    /// Moves to the best chain; returns the verdict on each block it tried to connect.
    pub(super) fn activate(&mut self, cause: TipCause) -> BTreeMap<BlockHash, Result<(), Refusal>> {
        let before = self.tip();
        let mut outcomes = BTreeMap::new();
        let mut returned = Vec::new();
        while self.chain.best() != self.tip() {
            let (fork, branch) = self.chain.branch(self.chain.best());
            while self.chain.height() > fork {
                returned.push(self.disconnect_tip());
            }
            for hash in branch {
                let outcome = self.connect(hash);
                outcomes.insert(hash, outcome);
                if outcome.is_err() {
                    self.chain.mark_invalid(hash);
                    break;
                }
            }
        }
        if self.tip() != before {
            let returned = returned.iter().rev().flat_map(|block| block.txdata[1..].to_vec());
            self.mempool.rebuild(returned.collect(), &self.coins, self.next_block());
            let (hash, height) = (self.tip(), self.chain.height());
            self.changes.push_back(NodeChange::Tip { hash, height, cause });
        }
        outcomes
    }

    fn connect(&mut self, hash: BlockHash) -> Result<(), Refusal> {
        let height = self.height_of(hash);
        let block = Arc::clone(&self.blocks[&hash]);
        let undo = self.coins.connect(&block, height, subsidy_sats(height))?;
        self.undo.insert(hash, undo);
        self.connected.insert(hash);
        self.chain.push_active(hash);
        self.changes.push_back(NodeChange::Connected { hash, block });
        Ok(())
    }

    fn disconnect_tip(&mut self) -> Arc<Block> {
        let hash = self.chain.pop_active();
        let block = Arc::clone(&self.blocks[&hash]);
        let undo = self.undo.remove(&hash).unwrap_or_default();
        self.coins.disconnect(&block, undo);
        self.changes.push_back(NodeChange::Disconnected { hash });
        block
    }

    /// The height and the clock of the block after the tip.
    pub(super) fn next_block(&self) -> NextBlock {
        let median_time = self.chain.median_time_past(self.tip());
        NextBlock { height: self.chain.height() + 1, median_time }
    }

    /// Mines an otherwise empty block on any known parent, as a rival miner would.
    ///
    /// Each differs from every other. Whether it becomes the tip is up to the work of its chain.
    pub fn mine_rival(&mut self, parent: BlockHash, now: u32) -> Result<BlockHash, CannotMine> {
        self.mine_rival_with(parent, now, &[])
    }

    /// Like [`Self::mine_rival`], with further coinbase outputs (an M7, say) after the reward.
    pub fn mine_rival_with(
        &mut self,
        parent: BlockHash,
        now: u32,
        outputs: &[TxOut],
    ) -> Result<BlockHash, CannotMine> {
        let entry = self.chain.entry(parent).filter(|entry| !entry.invalid);
        let height = entry.ok_or(CannotMine::UnknownParent(parent))?.height + 1;
        self.rivals += 1;
        let coinbase = rival_coinbase(height, self.rivals, outputs);
        let mut block = Block {
            header: block::Header {
                version: block::Version::from_consensus(Deployment::after(&self.chain).version()),
                prev_blockhash: parent,
                merkle_root: bitcoin::TxMerkleNode::all_zeros(),
                time: now.max(self.chain.median_time_past(parent) + 1),
                bits: CompactTarget::from_consensus(self.chain.bits()),
                nonce: 0,
            },
            txdata: vec![coinbase],
        };
        block.header.merkle_root = block.compute_merkle_root().unwrap_or(block.header.merkle_root);
        block.header.nonce = proof_of_work(&block.header);
        let hash = block.block_hash();
        match self.try_accept(now, &Arc::new(block), TipCause::Rival) {
            Ok(_) => Ok(hash),
            Err(refusal) => Err(CannotMine::Refused(refusal)),
        }
    }
}

/// The first nonce that meets the header's own target.
fn proof_of_work(header: &block::Header) -> u32 {
    let mut bytes = [0; 80];
    bytes.copy_from_slice(&bitcoin::consensus::serialize(header));
    let target = Target::from_bits(header.bits.to_consensus());
    assert!(target.is_some(), "the chain's difficulty is a target");
    let found = target.and_then(|target| {
        Hasher::new(&bytes, target, 0..=u32::MAX).search(u64::from(u32::MAX)).found
    });
    found.map_or(0, |solution| solution.nonce)
}

fn rival_coinbase(height: u32, serial: u64, outputs: &[TxOut]) -> Transaction {
    let script_sig =
        Builder::new().push_int(i64::from(height)).push_slice(serial.to_le_bytes()).into_script();
    let reward = TxOut {
        value: Amount::from_sat(subsidy_sats(height)),
        script_pubkey: ScriptBuf::from_bytes(vec![OP_TRUE.to_u8()]),
    };
    Transaction {
        version: TransactionVersion::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::null(),
            script_sig,
            sequence: Sequence::MAX,
            witness: Witness::new(),
        }],
        output: std::iter::once(reward).chain(outputs.iter().cloned()).collect(),
    }
}
