//! One counted share as one line of the share log.
//!
//! A line is a JSON object and a line feed, in this order and without spaces:
//!
//! ```text
//! {"run":7,"number":2,"safe":1,"time_ms":1700000000123,"worker":"a.rig","difficulty":"0.5",
//!  "height":101,"job":"0000000700000001","hash":"00..1f","crc32":"89abcdef"}
//! ```
//!
//! * `run`, `number`: the start of the server that counted it (its generation), and its place in
//!   that run, from 1 without a gap. Together they name a share for ever.
//! * `safe`: how many records of this run were on disk before this one was written. It tells a
//!   write that a crash cut short from one that was damaged later.
//! * `time_ms`: when it was counted, milliseconds since 1970 on the server's wall clock.
//! * `worker`: the user name that submitted it, as it was given.
//! * `difficulty`: what it counts for: the difficulty that its job was sent with, an exact decimal.
//! * `height`, `job`, `hash`: the block that was worked on, the job's id, the header's hash as
//!   people write it.
//! * `crc32`: CRC-32 (IEEE 802.3, as zlib has it) of the line's bytes before `,"crc32"`.

use std::borrow::Cow;

use serde::Deserialize;

use crate::clock::UnixMillis;
use crate::mining::difficulty::Difficulty;
use crate::mining::hash::Hash;
use crate::mining::hex;
use crate::mining::job::JobId;

/// What stands before the checksum's digits, and after them.
const SEAL: (&[u8], &[u8]) = (b",\"crc32\":\"", b"\"}");
/// Bytes from the checksum's key to the end of the object.
const SEAL_BYTES: usize = SEAL.0.len() + 8 + SEAL.1.len();

/// A counted share.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Share<'a> {
    /// When.
    pub time: UnixMillis,
    /// Whose.
    pub worker: Cow<'a, str>,
    /// What it counts for.
    pub difficulty: Difficulty,
    /// Of the block that was worked on.
    pub height: u32,
    /// What it was found for.
    pub job: JobId,
    /// Of its header, internal order.
    pub hash: Hash,
}

/// A counted share in its place in the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record<'a> {
    /// The run that counted it.
    pub run: u32,
    /// Its place in that run, from 1.
    pub number: u64,
    /// Records of the run that were on disk before this one was written.
    pub safe: u64,
    /// The share.
    pub share: Share<'a>,
}

#[derive(Deserialize)]
struct Wire<'a> {
    run: u32,
    number: u64,
    safe: u64,
    time_ms: u64,
    #[serde(borrow)]
    worker: Cow<'a, str>,
    difficulty: &'a str,
    height: u32,
    job: &'a str,
    hash: &'a str,
}

impl<'a> Record<'a> {
    /// Appends the line, its line feed included.
    pub fn render(&self, into: &mut Vec<u8>) {
        let start = into.len();
        let Share { time, worker, difficulty, height, job, hash } = &self.share;
        let mut shown = *hash;
        shown.reverse();
        // For every share, so by hand: a formatter takes ten times as long.
        number(into, b"{\"run\":", self.run);
        number(into, b",\"number\":", self.number);
        number(into, b",\"safe\":", self.safe);
        number(into, b",\"time_ms\":", time.0);
        into.extend_from_slice(b",\"worker\":");
        string(into, worker);
        into.extend_from_slice(b",\"difficulty\":\"");
        for part in difficulty.parts(&mut itoa::Buffer::new()) {
            into.extend_from_slice(part.as_bytes());
        }
        number(into, b"\",\"height\":", *height);
        into.extend_from_slice(b",\"job\":\"");
        hex::push(into, &job.generation.to_be_bytes());
        hex::push(into, &job.sequence.to_be_bytes());
        if job.revision > 0 {
            hex::push(into, &[job.revision]);
        }
        into.extend_from_slice(b"\",\"hash\":\"");
        hex::push(into, &shown);
        into.push(b'"');
        let sum = crc32fast::hash(&into[start..]);
        into.extend_from_slice(SEAL.0);
        hex::push(into, &sum.to_be_bytes());
        into.extend_from_slice(SEAL.1);
        into.push(b'\n');
    }

    /// Reads a line without its line feed; `None` when it is not as it was written.
    pub fn read(line: &'a [u8]) -> Option<Self> {
        let (body, seal) = line.split_at_checked(line.len().checked_sub(SEAL_BYTES)?)?;
        let sum = seal.strip_prefix(SEAL.0)?.strip_suffix(SEAL.1)?;
        if sum != format!("{:08x}", crc32fast::hash(body)).as_bytes() {
            return None;
        }
        let wire: Wire<'a> = serde_json::from_slice(line).ok()?;
        let mut hash: Hash = hex::decode_array(wire.hash)?;
        hash.reverse();
        let share = Share {
            time: UnixMillis(wire.time_ms),
            worker: wire.worker,
            difficulty: wire.difficulty.parse().ok()?,
            height: wire.height,
            job: wire.job.parse().ok()?,
            hash,
        };
        Some(Self { run: wire.run, number: wire.number, safe: wire.safe, share })
    }
}

/// Appends `text` as a string of JSON.
fn string(into: &mut Vec<u8>, text: &str) {
    // Few names need an escape. Without a way out before the end, many bytes are looked at at once.
    let escaped = text.bytes().map(|byte| byte < 0x20 || byte == b'"' || byte == b'\\');
    if escaped.fold(0, |any, each| any | u8::from(each)) != 0 {
        // Writing to memory does not fail, nor does a string.
        return serde_json::to_writer(into, text).unwrap_or_default();
    }
    into.push(b'"');
    into.extend_from_slice(text.as_bytes());
    into.push(b'"');
}

fn number(into: &mut Vec<u8>, key: &[u8], number: impl itoa::Integer) {
    into.extend_from_slice(key);
    into.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn share(worker: &str) -> Share<'_> {
        let mut hash = [0x11; 32];
        hash[31] = 0;
        Share {
            time: UnixMillis(1_700_000_000_123),
            worker: worker.into(),
            difficulty: "0.0001".parse().expect("a difficulty"),
            height: 101,
            job: JobId { generation: 7, sequence: 2, revision: 1 },
            hash,
        }
    }

    #[test]
    fn a_line_is_as_the_documentation_says() {
        let mut lines = b"before\n".to_vec();
        Record { run: 7, number: 3, safe: 1, share: share("bc1q \"x\"\n") }.render(&mut lines);
        let text = String::from_utf8(lines).expect("JSON is UTF-8");
        let lines = [
            "before\n",
            r#"{"run":7,"number":3,"safe":1,"time_ms":1700000000123,"worker":"bc1q \"x\"\n","#,
            r#""difficulty":"0.0001","height":101,"job":"000000070000000201","hash":"00"#,
            &"11".repeat(31),
            "\",\"crc32\":\"ce824200\"}\n",
        ];
        assert_eq!(text, lines.concat());
    }

    #[test]
    fn a_line_that_was_changed_in_any_byte_is_none() {
        let mut line = Vec::new();
        Record { run: 7, number: 3, safe: 1, share: share("w") }.render(&mut line);
        line.pop();
        for place in 0..line.len() {
            for bit in 0..8 {
                let mut damaged = line.clone();
                damaged[place] ^= 1 << bit;
                assert_eq!(Record::read(&damaged), None, "{place} {bit}");
            }
            assert_eq!(Record::read(&line[..place]), None, "cut at {place}");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            worker: String,
            numbers: (u32, u64, u64, u64, u32),
            digits in 1_u64..,
            hash: [u8; 32],
        ) {
            let (run, number, safe, time, height) = numbers;
            let share = Share {
                time: UnixMillis(time),
                worker: worker.as_str().into(),
                difficulty: core::num::NonZeroU64::new(digits).expect("positive").into(),
                height,
                hash,
                ..share("")
            };
            let record = Record { run, number, safe, share };
            let mut line = Vec::new();
            record.render(&mut line);
            prop_assert_eq!(line.pop(), Some(b'\n'));
            prop_assert!(!line.contains(&b'\n'), "one line");
            prop_assert_eq!(Record::read(&line), Some(record));
        }

        /// `serde_json` is the witness.
        #[test]
        fn a_string_is_json_whatever_is_in_it(text in "[ -~]{0,80}|\\PC{0,40}|[\\x00-\\x7f]{0,9}") {
            let mut ours = Vec::new();
            string(&mut ours, &text);
            prop_assert_eq!(ours, serde_json::to_vec(&text).expect("a string is JSON"));
        }
    }
}
