//! The block index of the simulated node: headers, cumulative work, and which chain is active.
//!
//! It exists so that "the best chain" is decided in one place and by bitcoind's rule: the most
//! work wins, and among equals the one whose blocks were all here first. A header may be known
//! without its block (a refused witness leaves one behind), and such a block carries no chain.
//! Not in here: whether a block is valid (`node/check.rs`) and what it spends (`node/coins.rs`).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use bitcoin::block::Header;
use bitcoin::pow::Work;
use bitcoin::{Block, BlockHash, Network};

/// The one difficulty of regtest, as the header field has it.
pub const REGTEST_BITS: u32 = 0x207f_ffff;

/// Blocks between two halvings on regtest.
pub const HALVING_INTERVAL_BLOCKS: u32 = 150;

/// The subsidy of the first blocks, in satoshi.
const SUBSIDY_FIRST_SATS: u64 = 50 * 100_000_000;

/// Blocks whose times make a median.
const MEDIAN_BLOCKS: usize = 11;

/// The subsidy of a block at `height` under regtest's halving interval, in satoshi.
pub const fn subsidy_sats(height: u32) -> u64 {
    let halvings = height / HALVING_INTERVAL_BLOCKS;
    if halvings >= 64 { 0 } else { SUBSIDY_FIRST_SATS >> halvings }
}

/// The first block of regtest.
pub fn genesis() -> Block {
    bitcoin::constants::genesis_block(Network::Regtest)
}

/// What is known of one header.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The header itself.
    pub header: Header,
    /// Blocks between it and genesis.
    pub height: u32,
    /// Work of the header and all before it.
    pub work: Work,
    /// Transactions in the block; zero while only the header is known.
    pub transactions: usize,
    /// The block or one before it broke a rule, or was invalidated by command.
    pub invalid: bool,
    /// Place in the order of arrival, once this block and all before it are here.
    order: Option<i64>,
}

impl Entry {
    /// Whether this block and all before it are here.
    pub const fn is_whole(&self) -> bool {
        self.order.is_some()
    }
}

/// Every known header, and the chain the node holds to be the best.
#[derive(Debug)]
pub struct Chain {
    /// The difficulty of every block after genesis, as the header field has it.
    bits: u32,
    entries: BTreeMap<BlockHash, Entry>,
    /// Hashes by height.
    active: Vec<BlockHash>,
    /// Blocks that could be the tip: complete down to genesis and not invalid. The last is best.
    candidates: BTreeSet<(Work, Reverse<i64>, BlockHash)>,
    /// Blocks that are here while one before them is not, by the hash of their parent.
    waiting: BTreeMap<BlockHash, Vec<BlockHash>>,
    next_order: i64,
    next_precious: i64,
}

impl Default for Chain {
    fn default() -> Self {
        Self::new()
    }
}

impl Chain {
    /// A chain of nothing but regtest's genesis.
    pub fn new() -> Self {
        Self::with_bits(REGTEST_BITS)
    }

    /// The same, where every block must be as hard as `bits` says: then a share is not a block.
    pub fn with_bits(bits: u32) -> Self {
        let header = genesis().header;
        let hash = header.block_hash();
        let (work, order) = (header.work(), Some(0));
        let entry = Entry { header, height: 0, work, transactions: 1, invalid: false, order };
        Self {
            bits,
            entries: BTreeMap::from([(hash, entry)]),
            active: vec![hash],
            candidates: BTreeSet::from([(entry.work, Reverse(0), hash)]),
            waiting: BTreeMap::new(),
            next_order: 1,
            next_precious: -1,
        }
    }

    /// Adds a header whose parent is known; it carries no chain before [`Self::receive`].
    pub fn insert(&mut self, header: Header) {
        let hash = header.block_hash();
        let parent = self.entries.get(&header.prev_blockhash).copied();
        assert!(parent.is_some(), "a header is inserted after its parent");
        let Some(parent) = parent else { return };
        let entry = Entry {
            header,
            height: parent.height + 1,
            work: parent.work + header.work(),
            transactions: 0,
            invalid: parent.invalid,
            order: None,
        };
        self.entries.entry(hash).or_insert(entry);
    }

    /// Notes that the whole block of a known header is here, with so many transactions.
    pub fn receive(&mut self, hash: BlockHash, transactions: usize) {
        assert!(transactions > 0, "a block has a coinbase");
        let Some(entry) = self.entries.get_mut(&hash) else { return };
        entry.transactions = transactions;
        let parent = entry.header.prev_blockhash;
        if self.entry(parent).is_none_or(|parent| parent.order.is_none()) {
            self.waiting.entry(parent).or_default().push(hash);
            return;
        }
        let mut linked = vec![hash];
        while let Some(hash) = linked.pop() {
            let order = self.next_order;
            self.next_order += 1;
            self.set_order(hash, order);
            linked.extend(self.waiting.remove(&hash).unwrap_or_default());
        }
    }

    /// Marks a block and everything built on it as invalid.
    pub fn mark_invalid(&mut self, hash: BlockHash) {
        let mut doomed = BTreeSet::from([hash]);
        let mut by_height: Vec<(u32, BlockHash, BlockHash)> = self
            .entries
            .iter()
            .map(|(hash, entry)| (entry.height, *hash, entry.header.prev_blockhash))
            .collect();
        by_height.sort_unstable();
        for (_, hash, parent) in by_height {
            if doomed.contains(&parent) {
                doomed.insert(hash);
            }
        }
        for hash in doomed {
            let Some(entry) = self.entries.get_mut(&hash) else { continue };
            entry.invalid = true;
            if let Some(order) = entry.order {
                self.candidates.remove(&(entry.work, Reverse(order), hash));
            }
        }
    }

    /// Treats a block as if it had come before every other of the same work.
    pub fn prefer(&mut self, hash: BlockHash) {
        let Some(entry) = self.entries.get(&hash) else { return };
        let tip_work = self.tip_entry().work;
        if entry.order.is_none() || entry.work < tip_work {
            return;
        }
        let order = self.next_precious;
        self.next_precious -= 1;
        self.set_order(hash, order);
    }

    /// Makes a child of the tip the tip.
    pub fn push_active(&mut self, hash: BlockHash) {
        let parent = self.entry(hash).map(|entry| entry.header.prev_blockhash);
        assert_eq!(parent, Some(self.tip()), "the active chain grows at its tip");
        self.active.push(hash);
    }

    /// Takes the tip away and returns it; genesis stays.
    pub fn pop_active(&mut self) -> BlockHash {
        let tip = self.tip();
        assert!(self.active.len() > 1, "genesis is never disconnected");
        self.active.pop();
        tip
    }

    fn set_order(&mut self, hash: BlockHash, order: i64) {
        let Some(entry) = self.entries.get_mut(&hash) else { return };
        if let Some(old) = entry.order {
            self.candidates.remove(&(entry.work, Reverse(old), hash));
        }
        entry.order = Some(order);
        if !entry.invalid {
            self.candidates.insert((entry.work, Reverse(order), hash));
        }
    }

    /// The difficulty of every block after genesis, as the header field has it.
    pub const fn bits(&self) -> u32 {
        self.bits
    }

    /// The hash at the end of the active chain.
    pub fn tip(&self) -> BlockHash {
        self.active[self.active.len() - 1]
    }

    /// What is known of the tip.
    pub fn tip_entry(&self) -> &Entry {
        &self.entries[&self.tip()]
    }

    /// The height of the tip.
    pub fn height(&self) -> u32 {
        self.tip_entry().height
    }

    /// The block that should be the tip.
    pub fn best(&self) -> BlockHash {
        self.candidates.last().map_or_else(|| self.active[0], |(_, _, hash)| *hash)
    }

    /// What is known of a header.
    pub fn entry(&self, hash: BlockHash) -> Option<&Entry> {
        self.entries.get(&hash)
    }

    /// The hash at a height of the active chain.
    pub fn active_hash(&self, height: u32) -> Option<BlockHash> {
        self.active.get(usize::try_from(height).ok()?).copied()
    }

    /// The active chain from genesis to the tip.
    pub fn active(&self) -> &[BlockHash] {
        &self.active
    }

    /// Blocks on top of `parent` that are here and not invalid.
    pub fn children(&self, parent: BlockHash) -> impl Iterator<Item = BlockHash> {
        let is_child = move |entry: &Entry| {
            entry.header.prev_blockhash == parent && !entry.invalid && entry.order.is_some()
        };
        self.entries.iter().filter(move |(_, entry)| is_child(entry)).map(|(hash, _)| *hash)
    }

    /// The blocks that none builds on, and the tip.
    pub fn ends(&self) -> impl Iterator<Item = (BlockHash, &Entry)> {
        let parents: BTreeSet<BlockHash> =
            self.entries.values().map(|entry| entry.header.prev_blockhash).collect();
        let tip = self.tip();
        let is_end = move |hash: &BlockHash| *hash == tip || !parents.contains(hash);
        self.entries
            .iter()
            .filter(move |(hash, _)| is_end(hash))
            .map(|(hash, entry)| (*hash, entry))
    }

    /// Whether a block is part of the active chain.
    pub fn is_active(&self, hash: BlockHash) -> bool {
        self.entry(hash).is_some_and(|entry| self.active_hash(entry.height) == Some(hash))
    }

    /// Blocks on top of this one, itself counted; -1 outside the active chain, as bitcoind says.
    pub fn confirmations(&self, hash: BlockHash) -> i64 {
        match self.entry(hash) {
            Some(entry) if self.is_active(hash) => {
                i64::from(self.height()) - i64::from(entry.height) + 1
            }
            Some(_) | None => -1,
        }
    }

    /// The median of the times of the last eleven blocks that end in `hash`, in Unix seconds.
    ///
    /// A block's time must be later than its parent's median (BIP-0113 uses it as the clock too).
    pub fn median_time_past(&self, hash: BlockHash) -> u32 {
        let mut times: Vec<u32> = self.ancestry(hash).take(MEDIAN_BLOCKS).collect();
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or(0)
    }

    fn ancestry(&self, hash: BlockHash) -> impl Iterator<Item = u32> {
        let mut next = self.entry(hash);
        std::iter::from_fn(move || {
            let entry = next?;
            next = self.entry(entry.header.prev_blockhash);
            Some(entry.header.time)
        })
    }

    /// The blocks from `hash` down to (not including) its first active ancestor, oldest first,
    /// and that ancestor's height.
    pub fn branch(&self, hash: BlockHash) -> (u32, Vec<BlockHash>) {
        let mut branch = Vec::new();
        let mut at = hash;
        while !self.is_active(at) {
            branch.push(at);
            let Some(entry) = self.entry(at) else { break };
            at = entry.header.prev_blockhash;
        }
        branch.reverse();
        (self.entry(at).map_or(0, |entry| entry.height), branch)
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::block::Version;
    use bitcoin::hashes::Hash as _;
    use bitcoin::{CompactTarget, TxMerkleNode};

    use super::*;

    fn child(parent: BlockHash, time: u32, salt: u32) -> Header {
        Header {
            version: Version::from_consensus(0x2000_0000),
            prev_blockhash: parent,
            merkle_root: TxMerkleNode::all_zeros(),
            time,
            bits: CompactTarget::from_consensus(REGTEST_BITS),
            nonce: salt,
        }
    }

    fn add(chain: &mut Chain, parent: BlockHash, salt: u32) -> BlockHash {
        let header = child(parent, 1_700_000_000 + salt, salt);
        chain.insert(header);
        chain.receive(header.block_hash(), 1);
        header.block_hash()
    }

    #[test]
    fn most_work_wins_and_first_seen_breaks_ties() {
        let mut chain = Chain::new();
        let root = chain.tip();
        let first = add(&mut chain, root, 1);
        let second = add(&mut chain, root, 2);
        assert_eq!(chain.best(), first);
        let longer = add(&mut chain, second, 3);
        assert_eq!(chain.best(), longer);
        assert_eq!(chain.branch(longer), (0, vec![second, longer]));
    }

    #[test]
    fn an_invalid_block_takes_its_descendants_with_it() {
        let mut chain = Chain::new();
        let root = chain.tip();
        let first = add(&mut chain, root, 1);
        let second = add(&mut chain, root, 2);
        let longer = add(&mut chain, second, 3);
        chain.mark_invalid(second);
        assert_eq!(chain.best(), first);
        assert!(chain.entry(longer).unwrap().invalid);
        let late = add(&mut chain, longer, 4);
        assert!(chain.entry(late).unwrap().invalid);
        assert_eq!(chain.best(), first);
    }

    #[test]
    fn a_precious_block_wins_a_tie_but_not_against_more_work() {
        let mut chain = Chain::new();
        let root = chain.tip();
        let first = add(&mut chain, root, 1);
        let second = add(&mut chain, root, 2);
        chain.push_active(first);
        chain.prefer(second);
        assert_eq!(chain.best(), second);
        chain.prefer(first);
        assert_eq!(chain.best(), first);
        let longer = add(&mut chain, first, 3);
        chain.push_active(longer);
        chain.prefer(second);
        assert_eq!(chain.best(), longer);
    }

    #[test]
    fn a_block_counts_only_once_all_before_it_are_here() {
        let mut chain = Chain::new();
        let root = chain.tip();
        let parent = child(root, 1_700_000_000, 1);
        chain.insert(parent);
        let orphan = add(&mut chain, parent.block_hash(), 2);
        assert_eq!(chain.best(), root);
        chain.receive(parent.block_hash(), 1);
        assert_eq!(chain.best(), orphan);
    }

    #[test]
    fn the_subsidy_halves_every_150_blocks() {
        assert_eq!(subsidy_sats(149), 5_000_000_000);
        assert_eq!(subsidy_sats(150), 2_500_000_000);
        assert_eq!(subsidy_sats(299), 2_500_000_000);
        assert_eq!(subsidy_sats(300), 1_250_000_000);
        assert_eq!(subsidy_sats(150 * 64), 0);
    }

    #[test]
    fn the_median_is_of_eleven_blocks_at_most() {
        let mut chain = Chain::new();
        let mut tip = chain.tip();
        assert_eq!(chain.median_time_past(tip), genesis().header.time);
        for salt in 1..=12 {
            tip = add(&mut chain, tip, salt);
        }
        assert_eq!(chain.median_time_past(tip), 1_700_000_007);
    }
}
