//! From a candidate to the header it stands for: pure arithmetic, no judgement of merit.

use super::hash::{HEADER_BLOCKS, Hash, sha256d_blocks};
use super::job::{Job, JobId};
use super::merkle;
use super::script_sig::{Extranonce1, Extranonce2};
use crate::clock::UnixTime;

/// A submission that parsed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Candidate {
    /// The job it was found for.
    pub job: JobId,
    /// The miner's own part of the coinbase.
    pub extranonce2: Extranonce2,
    /// The header's time.
    pub time: UnixTime,
    /// The header's nonce.
    pub nonce: u32,
    /// Sixth parameter (BIP-0310): the rolled version bits, or the whole version.
    pub version_bits: Option<u32>,
}

/// A candidate's header and hash.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Evaluation {
    /// The 80 bytes that were hashed.
    pub header: [u8; 80],
    /// Their SHA-256d, internal order.
    pub hash: Hash,
}

/// The header's version for a candidate, or `None` when it sets bits that it may not: `mask` is
/// what this session negotiated.
///
/// Bits are taken by mask, never by OR or XOR of the whole: some firmware sends the rolled bits,
/// some the full version. Outside the mask only the job's own bits are allowed.
pub fn rolled_version(job: &Job, mask: u32, version_bits: Option<u32>) -> Option<u32> {
    let mask = mask & job.version_mask;
    let Some(bits) = version_bits else { return Some(job.version) };
    let foreign = bits & !mask & !(job.version | job.template.version);
    (foreign == 0).then_some((job.version & !mask) | (bits & mask))
}

/// The merkle root of the block that is searched for with these extranonces.
pub fn root(job: &Job, one: Extranonce1, two: Extranonce2) -> Hash {
    merkle::root(job.coinbase.txid(one, two), &job.branch)
}

/// Builds and hashes the header that `candidate` stands for, with `version`; `root` is that of its
/// extranonces.
pub fn evaluate(job: &Job, root: &Hash, candidate: &Candidate, version: u32) -> Evaluation {
    // Written where it is hashed: no copy stands before the first compression.
    let mut blocks = HEADER_BLOCKS;
    let place = blocks.as_flattened_mut();
    place[0..4].copy_from_slice(&version.to_le_bytes());
    place[4..36].copy_from_slice(&job.template.parent);
    place[36..68].copy_from_slice(root);
    place[68..72].copy_from_slice(&candidate.time.0.to_le_bytes());
    place[72..76].copy_from_slice(&job.template.bits.to_consensus().to_le_bytes());
    place[76..80].copy_from_slice(&candidate.nonce.to_le_bytes());
    let hash = sha256d_blocks(&[&blocks]);
    let mut header = [0; 80];
    header.copy_from_slice(&blocks.as_flattened()[..80]);
    Evaluation { header, hash }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mining::job::{JobBook, VERSION_ROLLING_MASK};
    use crate::mining::template::Template;
    use crate::mining::template::tests::{coinbase_of, parts};
    use bitcoin::hashes::Hash as _;
    use core::time::Duration;
    use std::sync::Arc;

    fn job(version: u32, required: u32) -> Arc<Job> {
        let mut parts = parts(1);
        parts.version = version;
        parts.version_required = required;
        let template = Arc::new(Template::check(parts).expect("good"));
        let coinbase = coinbase_of(&template);
        let mut book = JobBook::new(1, Duration::ZERO, Duration::ZERO, 1);
        book.publish(crate::clock::Instant::ZERO, template, coinbase, None).0
    }

    /// FAILURES 15: every way that firmware combines template, mask and bits.
    #[test]
    fn version_bits_by_mask() {
        let check = |template, required, mask, bits, expected| {
            let found = rolled_version(&job(template, required), mask, bits);
            assert_eq!(found, expected, "{template:x} {required:x} {mask:x} {bits:x?}");
        };
        let full = VERSION_ROLLING_MASK;
        // Five parameters: the job's version as it is, rollable bits clear.
        check(0x2000_0000, 0, full, None, Some(0x2000_0000));
        check(0x3000_0000, 0, full, None, Some(0x2000_0000));
        // The rolled bits themselves.
        check(0x2000_0000, 0, full, Some(0x0000_2000), Some(0x2000_2000));
        check(0x3000_0000, 0, full, Some(0x1000_0000), Some(0x3000_0000));
        check(0x3000_0000, 0, full, Some(0), Some(0x2000_0000));
        // The whole version, as old bmminer sends it: of the job and of the template.
        check(0x2000_0000, 0, full, Some(0x20c0_0000), Some(0x20c0_0000));
        check(0x2000_0000, 0, full, Some(0x2000_0000), Some(0x2000_0000));
        // Bits that nobody may set.
        check(0x2000_0000, 0, full, Some(0x4000_0000), None);
        check(0x2000_0000, 0, full, Some(0x0000_0001), None);
        check(0x2000_0000, 0, 0x0000_e000, Some(0x0001_0000), None);
        // Nothing negotiated: zero and the job's own version are harmless.
        check(0x2000_0000, 0, 0, Some(0), Some(0x2000_0000));
        check(0x2000_0000, 0, 0, Some(0x2000_0000), Some(0x2000_0000));
        check(0x2000_0000, 0, 0, Some(0x0000_2000), None);
        // A bit the node demands is kept, and nobody may roll it.
        check(0x3000_0000, 0x1000_0000, full, None, Some(0x3000_0000));
        check(0x3000_0000, 0x1000_0000, full, Some(0x0000_2000), Some(0x3000_2000));
        check(0x3000_0000, 0x1000_0000, full, Some(0x1000_2000), Some(0x3000_2000));
    }

    #[test]
    fn the_header_decodes_to_what_went_in() {
        let job = job(0x2000_0000, 0);
        let candidate = Candidate {
            job: job.id,
            extranonce2: [1, 2, 3, 4, 5, 6, 7, 8],
            time: UnixTime(1_700_000_123),
            nonce: 0xdead_beef,
            version_bits: None,
        };
        let root = root(&job, [9; 4], candidate.extranonce2);
        let found = evaluate(&job, &root, &candidate, job.version);
        let header: bitcoin::block::Header =
            bitcoin::consensus::deserialize(&found.header).expect("80 bytes are a header");
        assert_eq!(header.nonce, candidate.nonce);
        assert_eq!(header.time, candidate.time.0);
        assert_eq!(header.prev_blockhash.to_byte_array(), job.template.parent);
        assert_eq!(header.block_hash().to_byte_array(), found.hash);
        let txid = job.coinbase.txid([9; 4], candidate.extranonce2);
        assert_eq!(header.merkle_root.to_byte_array(), txid, "no other transaction");
    }
}
