//! What must outlive the process: the generation, found blocks until the node has spoken, and
//! which shares were counted.
//!
//! **Invariant:** says what is to be written and what its bytes mean; who writes, and when it is
//! safe, is the shell's business.
//!
//! In the data directory: `generation` holds a decimal number, one higher each start. A found
//! block is `blocks/<height>-<hash>.hex`, its bytes in hex, as `bitcoin-cli submitblock` takes
//! them; once the node has judged it, the file moves to `blocks/accepted`, `blocks/inconclusive`
//! or `blocks/rejected`. The share log is `shares/<run>-<first>.jsonl`, lines of JSON
//! ([`record`]), appended to in batches ([`writer`]); each run begins a file, so that what a crash
//! leaves unfinished is at the end of a file ([`recovery`]). Of several engines each is a run, and
//! `engines` holds how many there were at a time, in decimal; one alone leaves no such file.

pub mod record;
pub mod recovery;
pub mod totals;
pub mod writer;

use bytes::Bytes;

use crate::mining::block::FoundBlock;
use crate::mining::hash::{Hash, display_hash};
use crate::mining::hex;

/// One write, to be on disk when it is reported as done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DiskOp {
    /// The number of this run.
    PutGeneration(u32),
    /// A found block, before anybody is told that it was found.
    PutBlock(FoundBlock),
    /// The node's verdict on a block that was put.
    SettleBlock {
        /// Its height.
        height: u32,
        /// Its hash, internal order.
        hash: Hash,
        /// Where it goes.
        shelf: Shelf,
    },
    /// Lines for the end of the share log.
    AppendShares {
        /// The run that counted them.
        run: u32,
        /// The number of the first of them.
        first: u64,
        /// The lines.
        records: Bytes,
    },
}

/// Why a write is not on disk.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum WriteError {
    /// Nothing of it is kept, for there is no room: it may be asked for again.
    #[error("{0}")]
    NotKept(String),
    /// It may be there or not, now or after the next loss of power, and asking again would not
    /// tell: a second sync says yes to what the first one lost.
    #[error("{0}")]
    Unknown(String),
}

/// Where a judged block is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shelf {
    /// In the node's chain.
    Accepted,
    /// Valid, but another block won.
    Inconclusive,
    /// The node will not have it.
    Rejected,
}

impl Shelf {
    /// The folder's name.
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Inconclusive => "inconclusive",
            Self::Rejected => "rejected",
        }
    }
}

/// What a start found on disk.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Recovered {
    /// The generation of the last run; 0 when there was none.
    pub generation: u32,
    /// Blocks that the node has not judged.
    pub pending: Vec<FoundBlock>,
}

/// The name of a found block's file: `<height>-<hash>.hex`, the hash as people write it.
pub fn block_file_name(height: u32, hash: &Hash) -> String {
    format!("{height}-{}.hex", display_hash(hash))
}

/// A found block from its file's name and text, or `None` when they do not belong together.
pub fn read_block_file(name: &str, text: &str) -> Option<FoundBlock> {
    let (height, _) = name.split_once('-')?;
    let bytes = hex::decode(text.trim())?;
    let header = bytes.get(..80)?;
    let hash = crate::mining::hash::sha256d(header);
    let height = height.parse().ok()?;
    (block_file_name(height, &hash) == name).then_some(FoundBlock { height, hash, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_file_tells_its_block_and_a_damaged_one_does_not() {
        let bytes = vec![7; 100];
        let hash = crate::mining::hash::sha256d(&bytes[..80]);
        let block = FoundBlock { height: 12, hash, bytes };
        let name = block_file_name(12, &hash);
        let text = hex::encode(&block.bytes);
        assert_eq!(read_block_file(&name, &format!("{text}\n")), Some(block));
        assert_eq!(read_block_file(&name, &text.replacen('0', "1", 1)), None);
        assert_eq!(read_block_file(&name, &text[..150]), None);
        assert_eq!(read_block_file("12-00.hex", &text), None);
    }
}
