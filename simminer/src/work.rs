//! From the strings of `mining.notify` to the 80 bytes that are hashed.
//!
//! Why it stands alone: it is the second witness of the wire format. A byte order that server and
//! miner got wrong in the same way would go unseen, so nothing here is shared with the server;
//! it was written from the protocol's description and is tried on known blocks.
//! What is not here: the nonce search (`hasher`) and which work to do next (`client`).

use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::hasher::Hasher;
use crate::hex::{self, HexError};
use crate::target::{Difficulty, Target};

/// The parameters of one `mining.notify`, still as text.
#[derive(Clone, Copy, Debug)]
pub struct NotifyStrings<'a> {
    /// What a submission names the job by.
    pub job_id: &'a str,
    /// Hash of the block to build on: 64 digits, each 4-byte word reversed.
    pub previous_block: &'a str,
    /// The coinbase transaction up to the extranonce.
    pub coinbase1: &'a str,
    /// The coinbase transaction after the extranonce.
    pub coinbase2: &'a str,
    /// Hashes that lead from the coinbase to the merkle root, in SHA-256's byte order.
    pub branch: &'a [String],
    /// Block version, eight digits.
    pub version: &'a str,
    /// Compact network target, eight digits.
    pub bits: &'a str,
    /// Block time, eight digits.
    pub time: &'a str,
    /// Whether every earlier job is void.
    pub clean: bool,
}

/// A job of the server: one `mining.notify`, decoded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Job {
    /// What a submission names the job by.
    pub id: String,
    /// Hash of the block to build on, as it stands in a header.
    pub previous_block: [u8; 32],
    /// The coinbase transaction (without witness) up to the extranonce.
    pub coinbase1: Vec<u8>,
    /// The coinbase transaction after the extranonce.
    pub coinbase2: Vec<u8>,
    /// Hashes that lead from the coinbase to the merkle root, in SHA-256's byte order.
    pub branch: Vec<[u8; 32]>,
    /// Block version.
    pub version: u32,
    /// Compact network target, as it stands in a header.
    pub bits: u32,
    /// What `bits` stands for.
    pub block_target: Target,
    /// Block time, seconds since 1970.
    pub time: u32,
    /// Whether every earlier job is void.
    pub clean: bool,
}

/// Why a `mining.notify` cannot be mined on.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum JobError {
    /// A field is not the hex that belongs there.
    #[error("{field}: {error}")]
    Hex {
        /// The field's name in the protocol.
        field: &'static str,
        /// What is wrong with it.
        error: HexError,
    },
    /// The compact target is zero, negative or too large.
    #[error("nbits {0:08x} is no target")]
    Bits(u32),
}

impl Job {
    /// Decodes the strings of a notification.
    pub fn from_strings(strings: &NotifyStrings<'_>) -> Result<Self, JobError> {
        let named = |field| move |error| JobError::Hex { field, error };
        let mut previous_block: [u8; 32] =
            hex::decode_array(strings.previous_block).map_err(named("prevhash"))?;
        previous_block.chunks_exact_mut(4).for_each(<[u8]>::reverse);
        let branch = strings
            .branch
            .iter()
            .map(|hash| hex::decode_array(hash))
            .collect::<Result<_, _>>()
            .map_err(named("merkle_branch"))?;
        let bits = hex::decode_u32(strings.bits).map_err(named("nbits"))?;
        Ok(Self {
            id: strings.job_id.to_owned(),
            previous_block,
            coinbase1: hex::decode(strings.coinbase1).map_err(named("coinb1"))?,
            coinbase2: hex::decode(strings.coinbase2).map_err(named("coinb2"))?,
            branch,
            version: hex::decode_u32(strings.version).map_err(named("version"))?,
            bits,
            block_target: Target::from_bits(bits).ok_or(JobError::Bits(bits))?,
            time: hex::decode_u32(strings.time).map_err(named("ntime"))?,
            clean: strings.clean,
        })
    }

    /// The coinbase transaction with both extranonces, as its txid hashes it.
    pub fn coinbase(&self, extranonce1: &[u8], extranonce2: &[u8]) -> Vec<u8> {
        [&self.coinbase1, extranonce1, extranonce2, &self.coinbase2].concat()
    }
}

/// A job, the session it came in and the choices that are a miner's: all of a header but the nonce.
#[derive(Clone, Debug)]
pub struct Work {
    /// The job this is work for.
    pub job: Arc<Job>,
    /// Which connection it came over, counted from 1.
    pub session: u64,
    /// Which job it was, counted over all connections.
    pub serial: u64,
    /// The server's part of the extranonce.
    pub extranonce1: Vec<u8>,
    /// The miner's part of the extranonce.
    pub extranonce2: Vec<u8>,
    /// Bits of the version that may be rolled (BIP-0310); zero when none may.
    pub version_mask: u32,
    /// The rolled bits; none outside the mask.
    pub rolled_bits: u32,
    /// The difficulty that was in force when the job came.
    pub difficulty: Difficulty,
}

impl Work {
    /// Block version: the job's, with the bits under the mask replaced (BIP-0310).
    pub fn version(&self) -> u32 {
        (self.job.version & !self.version_mask) | (self.rolled_bits & self.version_mask)
    }

    /// The root over the coinbase and the job's branch.
    pub fn merkle_root(&self) -> [u8; 32] {
        let coinbase = self.job.coinbase(&self.extranonce1, &self.extranonce2);
        self.job.branch.iter().fold(sha256d(&coinbase), |root, sibling| {
            let mut pair = [0; 64];
            pair[..32].copy_from_slice(&root);
            pair[32..].copy_from_slice(sibling);
            sha256d(&pair)
        })
    }

    /// The header with this nonce.
    pub fn header(&self, nonce: u32) -> [u8; 80] {
        let mut header = [0; 80];
        header[..4].copy_from_slice(&self.version().to_le_bytes());
        header[4..36].copy_from_slice(&self.job.previous_block);
        header[36..68].copy_from_slice(&self.merkle_root());
        header[68..72].copy_from_slice(&self.job.time.to_le_bytes());
        header[72..76].copy_from_slice(&self.job.bits.to_le_bytes());
        header[76..].copy_from_slice(&nonce.to_le_bytes());
        header
    }

    /// The hash of the header with this nonce.
    pub fn hash(&self, nonce: u32) -> BlockHash {
        BlockHash(sha256d(&self.header(nonce)))
    }

    /// What a hash must meet to be a share.
    pub fn share_target(&self) -> Target {
        self.difficulty.target()
    }

    /// A search through all nonces for shares.
    pub fn hasher(&self) -> Hasher {
        Hasher::new(&self.header(0), self.share_target(), 0..=u32::MAX)
    }
}

/// A header's hash, in SHA-256's byte order; shown the way explorers show it, reversed.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
pub struct BlockHash(pub [u8; 32]);

impl fmt::Display for BlockHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.0;
        bytes.reverse();
        formatter.write_str(&hex::encode(&bytes))
    }
}

impl fmt::Debug for BlockHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// SHA-256 of SHA-256, through the library's ordinary interface.
fn sha256d(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(Sha256::digest(bytes)).into()
}
