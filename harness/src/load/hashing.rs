//! How much of SHA-256 the shares of a miner are: what no server that judges them can leave out.
//!
//! Counted from the outside, by what the job says. A server may remember what it hashed before: the
//! start of a coinbase, which is the same for all shares, and the merkle root of the extranonce2
//! that came last. What it does beyond these counts is its own affair.

use clap::Args;
use simminer::work::Work;

/// Bytes that one compression takes.
const BLOCK_BYTES: usize = 64;
/// Padding: the bit that ends a message, and its length.
const END_BYTES: usize = 9;
/// Compressions of a header: its two blocks, and the hash once more.
const HEADER: u32 = 3;
/// Compressions of two hashes side by side: as many.
const PAIR: u32 = 3;

/// Compressions of the shares of one miner.
#[derive(Args, Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Hashing {
    /// Compressions of a share whose merkle root is new
    #[arg(long, value_parser = clap::value_parser!(u32).range(3..=1_000_000))]
    compressions: u32,
    /// Shares in a row that have one merkle root
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    nonces: u32,
}

impl Hashing {
    /// Of miners that send so many nonces for one extranonce2 of such work.
    pub(super) fn of(work: &Work, nonces: u32) -> Self {
        let job = &work.job;
        let (start, end) = (job.coinbase1.len(), job.coinbase2.len());
        let coinbase = start + work.extranonce1.len() + work.extranonce2.len() + end;
        // Whole blocks before the extranonces are the same for each share.
        let blocks = (coinbase + END_BYTES).div_ceil(BLOCK_BYTES) - start / BLOCK_BYTES;
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        // The coinbase's hash is hashed once more.
        let compressions = count(blocks) + 1 + PAIR * count(job.branch.len()) + HEADER;
        Self { compressions, nonces }
    }

    /// Compressions of a miner's share; the first is number 0.
    pub(super) const fn of_share(self, number: u64) -> u32 {
        if number.is_multiple_of(self.nonces as u64) { self.compressions } else { HEADER }
    }

    /// The most that any share has.
    pub(super) const fn compressions_max(self) -> u32 {
        self.compressions
    }

    /// What says it on a command line.
    pub(super) fn arguments(self) -> [String; 2] {
        let Self { compressions, nonces } = self;
        [format!("--compressions={compressions}"), format!("--nonces={nonces}")]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clap::Parser;
    use simminer::work::{Job, NotifyStrings};

    use super::*;

    /// Extranonces of 12 bytes between so many, and so many branches.
    fn work(coinbase1: usize, coinbase2: usize, branches: usize) -> Work {
        let zeros = |bytes: usize| "00".repeat(bytes);
        let job = Job::from_strings(&NotifyStrings {
            job_id: "1",
            previous_block: &zeros(32),
            coinbase1: &zeros(coinbase1),
            coinbase2: &zeros(coinbase2),
            branch: &vec![zeros(32); branches],
            version: "20000000",
            bits: "1d00ffff",
            time: "65000000",
            clean: true,
        });
        Work {
            job: Arc::new(job.unwrap()),
            session: 1,
            serial: 1,
            extranonce1: vec![0; 4],
            extranonce2: vec![0; 8],
            version_mask: 0,
            rolled_bits: 0,
            difficulty: "1".parse().unwrap(),
        }
    }

    #[test]
    fn blocks_of_the_coinbase_branches_and_the_header_are_counted() {
        let count = |coinbase1, coinbase2, branches| {
            Hashing::of(&work(coinbase1, coinbase2, branches), 1).compressions
        };
        // 55 bytes and their end are one block, 56 are two.
        assert_eq!(count(42, 1, 0), 1 + 1 + 3);
        assert_eq!(count(42, 2, 0), 2 + 1 + 3);
        // 247 bytes and their end are four.
        assert_eq!(count(42, 193, 12), 4 + 1 + 12 * 3 + 3, "44, as a full mempool's");
        // Of five blocks one is known, of six two.
        assert_eq!(count(63, 200, 0), 5 + 1 + 3);
        assert_eq!(count(64, 200, 0), 4 + 1 + 3);
        assert_eq!(count(128, 200, 1), 4 + 1 + 3 + 3);
    }

    #[test]
    fn a_root_is_hashed_once_for_all_its_nonces() {
        let of_shares = |nonces| {
            let hashing = Hashing { compressions: 44, nonces };
            (0..7).map(|number| hashing.of_share(number)).collect::<Vec<_>>()
        };
        assert_eq!(of_shares(1), [44; 7]);
        assert_eq!(of_shares(3), [44, 3, 3, 44, 3, 3, 44]);
    }

    #[derive(Debug, Parser)]
    struct Alone {
        #[command(flatten)]
        hashing: Hashing,
    }

    #[test]
    fn a_command_line_says_it() {
        let hashing = Hashing { compressions: 44, nonces: 1_000 };
        let [compressions, nonces] = hashing.arguments();
        let read = Alone::try_parse_from(["alone".to_owned(), compressions, nonces]).unwrap();
        assert_eq!(read.hashing, hashing);
        assert!(Alone::try_parse_from(["alone", "--compressions=44", "--nonces=0"]).is_err());
    }
}
