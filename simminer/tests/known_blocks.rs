//! Headers that the network (or a node) accepted, rebuilt from the strings a pool would have sent.
//!
//! The judge is the `bitcoin` crate: it takes the known block apart, and the strings are made from
//! its parts. The miner sees nothing but the strings.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use std::sync::Arc;

use bitcoin::consensus::encode::{deserialize_hex, serialize, serialize_hex};
use bitcoin::hashes::Hash as _;
use bitcoin::{Block, CompactTarget, Transaction};
use simminer::hasher::Hasher;
use simminer::hex;
use simminer::target::Target;
use simminer::work::{BlockHash, Job, NotifyStrings, Work};

/// Mainnet's first block: one transaction, so no branch.
const GENESIS: &str = "0100000000000000000000000000000000000000000000000000000000000000000000003ba3\
edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c01010000000100\
00000000000000000000000000000000000000000000000000000000000000ffffffff4d04ffff001d0104455468652054\
696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f66207365636f6e64206261\
696c6f757420666f722062616e6b73ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a67130b7105cd6\
a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac0000\
0000";

/// What a pool would have sent for a block, had its coinbase been cut at `cut`.
struct Strings {
    previous_block: String,
    coinbase: String,
    branch: Vec<String>,
    version: String,
    bits: String,
    time: String,
}

impl Strings {
    fn of(block: &Block) -> Self {
        let header = &block.header;
        let mut previous = header.prev_blockhash.to_byte_array();
        previous.chunks_exact_mut(4).for_each(<[u8]>::reverse);
        Self {
            previous_block: hex::encode(&previous),
            coinbase: serialize_hex(&without_witness(&block.txdata[0])),
            branch: branch(block).iter().map(|hash| hex::encode(hash)).collect(),
            version: format!("{:08x}", header.version.to_consensus()),
            bits: format!("{:08x}", header.bits.to_consensus()),
            time: format!("{:08x}", header.time),
        }
    }

    /// The work, when the coinbase's bytes from `start` to `end` are the two extranonces.
    fn work(&self, start: usize, middle: usize, end: usize) -> Work {
        let job = Job::from_strings(&NotifyStrings {
            job_id: "known",
            previous_block: &self.previous_block,
            coinbase1: &self.coinbase[..2 * start],
            coinbase2: &self.coinbase[2 * end..],
            branch: &self.branch,
            version: &self.version,
            bits: &self.bits,
            time: &self.time,
            clean: true,
        })
        .unwrap();
        Work {
            job: Arc::new(job),
            session: 1,
            serial: 1,
            extranonce1: hex::decode(&self.coinbase[2 * start..2 * middle]).unwrap(),
            extranonce2: hex::decode(&self.coinbase[2 * middle..2 * end]).unwrap(),
            version_mask: 0,
            rolled_bits: 0,
            difficulty: "1e-9".parse().unwrap(),
        }
    }
}

fn without_witness(transaction: &Transaction) -> Transaction {
    let mut transaction = transaction.clone();
    transaction.input.iter_mut().for_each(|input| input.witness.clear());
    transaction
}

/// The hashes beside the coinbase's path to the root.
fn branch(block: &Block) -> Vec<[u8; 32]> {
    let mut level: Vec<[u8; 32]> =
        block.txdata.iter().map(|transaction| transaction.compute_txid().to_byte_array()).collect();
    let mut branch = vec![];
    while level.len() > 1 {
        if level.len() % 2 == 1 {
            level.push(*level.last().unwrap());
        }
        branch.push(level[1]);
        level = level
            .chunks_exact(2)
            .map(|pair| bitcoin::hashes::sha256d::Hash::hash(&pair.concat()).to_byte_array())
            .collect();
    }
    branch
}

fn check(block_hex: &str, start: usize, middle: usize, end: usize) {
    let block: Block = deserialize_hex(block_hex.trim()).unwrap();
    assert!(block.check_merkle_root());
    let nonce = block.header.nonce;
    let work = Strings::of(&block).work(start, middle, end);
    assert_eq!(work.header(nonce)[..], serialize(&block.header));
    assert_eq!(work.hash(nonce).to_string(), block.block_hash().to_string());

    // The search stops at the known nonce, coming from a little before it.
    let from = nonce.saturating_sub(1_000);
    let mut hasher = Hasher::new(&work.header(0), work.job.block_target, from..=nonce);
    let mut last = None;
    while let Some(found) = hasher.search(u64::MAX).found {
        last = Some(found);
    }
    let last = last.expect("the known nonce");
    assert_eq!((last.nonce, last.hash), (nonce, BlockHash(block.block_hash().to_byte_array())));
}

#[test]
fn mainnet_genesis_block() {
    check(GENESIS, 50, 54, 60);
}

#[test]
fn regtest_block_with_transactions_and_three_m7() {
    // Version and flags 4+1+32+4+1, script length 1, height push 3, merkle-mined data 1: the
    // extranonces are the four and the eight bytes that follow in the scriptSig.
    check(fixtures::BLOCK_THREE_BIDS, 46, 50, 58);
}

/// The example of the protocol's first description: a notification and a share of difficulty 1.
#[test]
fn slush_pool_example_share() {
    let work = Work {
        job: Arc::new(
            Job::from_strings(&NotifyStrings {
                job_id: "bf",
                previous_block: "4d16b6f85af6e2198f44ae2a6de67f78487ae5611b77c6c0440b921e00000000",
                coinbase1: "01000000010000000000000000000000000000000000000000000000000000000000000\
                            000ffffffff20020862062f503253482f04b8864e5008",
                coinbase2: "072f736c7573682f000000000100f2052a010000001976a914d23fcdf86f7e756a64a7a\
                            9688ef9903327048ed988ac00000000",
                branch: &[],
                version: "00000002",
                bits: "1c2ac4af",
                // As submitted; the notification said 504e86b9.
                time: "504e86ed",
                clean: false,
            })
            .unwrap(),
        ),
        session: 1,
        serial: 1,
        extranonce1: hex::decode("08000002").unwrap(),
        extranonce2: hex::decode("00000001").unwrap(),
        version_mask: 0,
        rolled_bits: 0,
        difficulty: "1".parse().unwrap(),
    };
    let hash = work.hash(0xb295_7c02);
    assert_eq!(
        hash.to_string(),
        "000000002076870fe65a2b6eeed84fa892c0db924f1482243a6247d931dcab32"
    );
    assert!(work.share_target().is_met_by(&hash.0));
    // It was a block, too.
    assert!(work.job.block_target.is_met_by(&hash.0));
}

#[test]
fn rolled_bits_replace_the_jobs_bits_under_the_mask_and_no_others() {
    let block: Block = deserialize_hex(GENESIS).unwrap();
    let mut work = Strings::of(&block).work(50, 54, 60);
    let mut job = (*work.job).clone();
    // Bit 28 lies under the mask and is set in the job: rolling may clear it.
    job.version = 0x3000_0001;
    work.job = Arc::new(job);
    work.version_mask = 0x1fff_e000;
    for (rolled_bits, version) in [
        (0, 0x2000_0001),
        (0x1000_0000, 0x3000_0001),
        (0x0000_2000, 0x2000_2001),
        (0x1fff_e000, 0x3fff_e001),
        // Bits outside the mask are not the miner's.
        (0xffff_ffff, 0x3fff_e001),
    ] {
        work.rolled_bits = rolled_bits;
        assert_eq!(work.version(), version, "{rolled_bits:08x}");
        assert_eq!(work.header(0)[..4], u32::to_le_bytes(version));
    }
}

#[test]
fn compact_targets_agree_with_the_bitcoin_crate() {
    for exponent in 1_u32..=32 {
        for mantissa in [1, 0x7f, 0x80, 0xffff, 0x1_0000, 0x7f_ffff] {
            let bits = exponent << 24 | mantissa;
            let expected = bitcoin::Target::from_compact(CompactTarget::from_consensus(bits));
            let found = Target::from_bits(bits).map(|target| target.to_string());
            let expected = (expected != bitcoin::Target::ZERO).then(|| format!("{expected:064x}"));
            assert_eq!(found, expected, "{bits:08x}");
        }
    }
}
