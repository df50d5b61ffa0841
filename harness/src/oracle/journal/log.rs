//! The share log, read by somebody who has nothing but its documentation.

use serde::Deserialize;
use simminer::target::Difficulty;

/// What stands before the checksum's digits.
const SEAL: &[u8] = b",\"crc32\":\"";

/// One line of the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// The run that wrote it.
    pub run: u32,
    /// Its place in that run.
    pub number: u64,
    /// Records of the run that were on disk before it.
    pub safe: u64,
    /// When it was counted, in seconds.
    pub unix: u64,
    /// Whose it is.
    pub worker: String,
    /// What it counts for.
    pub difficulty: Difficulty,
    /// The block's height.
    pub height: u32,
    /// The job's id.
    pub job: String,
    /// The header's hash, as headers hash.
    pub hash: [u8; 32],
}

#[derive(Deserialize)]
struct Line {
    run: u32,
    number: u64,
    safe: u64,
    time_ms: u64,
    worker: String,
    difficulty: String,
    height: u32,
    job: String,
    hash: String,
    crc32: String,
}

/// Reads all lines; what one that cannot be read says.
pub fn entries(lines: &[u8]) -> Result<Vec<Entry>, String> {
    let Some(lines) = lines.strip_suffix(b"\n") else { return Err("a line without end".into()) };
    let lines = lines.split(|byte| *byte == b'\n');
    lines
        .map(|line| entry(line).ok_or_else(|| String::from_utf8_lossy(line).into_owned()))
        .collect()
}

fn entry(line: &[u8]) -> Option<Entry> {
    let end = line.windows(SEAL.len()).rposition(|part| part == SEAL)?;
    let line: Line = serde_json::from_slice(line)
        .ok()
        .filter(|read: &Line| read.crc32 == format!("{:08x}", crc32(&line[..end])))?;
    let mut hash = super::super::reading::bytes(&line.hash)?;
    hash.reverse();
    Some(Entry {
        run: line.run,
        number: line.number,
        safe: line.safe,
        unix: line.time_ms / 1_000,
        worker: line.worker,
        difficulty: line.difficulty.parse().ok()?,
        height: line.height,
        job: line.job,
        hash: hash.try_into().ok()?,
    })
}

/// CRC-32 as IEEE 802.3 has it: reflected, with the polynomial 04c11db7.
pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        let place = usize::from(sum.to_le_bytes()[0] ^ byte);
        (sum >> 8) ^ TABLE[place]
    })
}

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0_u32;
    while byte < 256 {
        let (mut sum, mut bit) = (byte, 0);
        while bit < 8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 };
            bit += 1;
        }
        table[byte as usize] = sum;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
