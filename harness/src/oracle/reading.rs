//! Lines, as an outsider reads them: JSON with whatever is in it.

use serde::Deserialize;
use serde_json::value::RawValue;
use simminer::work::{Job, NotifyStrings};

/// Bytes of one direction, cut into lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    partial: Vec<u8>,
    /// Bytes until which nothing is a line any more: it grew too long.
    pub(super) broken: bool,
}

impl Lines {
    /// Takes bytes and gives the lines that they end, trimmed; blank ones are none.
    pub(super) fn push(&mut self, bytes: &[u8], most: usize) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.broken {
                break;
            }
            self.partial.extend_from_slice(piece);
            let ends = piece.ends_with(b"\n");
            if self.partial.len() - usize::from(ends) > most {
                self.broken = true;
            } else if ends {
                let line = core::mem::take(&mut self.partial);
                let line = line.trim_ascii();
                if !line.is_empty() {
                    lines.push(line.to_vec());
                }
            }
        }
        lines
    }
}

/// A line that is a JSON object.
#[derive(Debug, Deserialize)]
pub(super) struct Line<'a> {
    #[serde(borrow, default)]
    pub(super) id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) method: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) error: Option<&'a RawValue>,
}

impl<'a> Line<'a> {
    pub(super) fn read(line: &'a [u8]) -> Option<Self> {
        let text = core::str::from_utf8(line).ok().filter(|text| text.starts_with('{'))?;
        serde_json::from_str(text).ok()
    }

    pub(super) fn method(&self) -> Option<String> {
        serde_json::from_str(self.method?.get()).ok()
    }

    /// The parameters, one by one; none when they are no array.
    pub(super) fn params(&self) -> Vec<&'a RawValue> {
        self.params.and_then(|params| serde_json::from_str(params.get()).ok()).unwrap_or_default()
    }
}

/// A parameter that is a string.
pub(super) fn text(params: &[&RawValue], place: usize) -> Option<String> {
    serde_json::from_str(params.get(place)?.get()).ok()
}

/// A number of up to eight hex digits.
pub(super) fn number(text: Option<String>) -> Option<u32> {
    let text = text?;
    let digits = (1..=8).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    digits.then(|| u32::from_str_radix(&text, 16).ok()).flatten()
}

/// Bytes in hex.
pub(super) fn bytes(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| {
            let pair = core::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
            let digits = pair.bytes().all(|byte| byte.is_ascii_hexdigit());
            digits.then(|| u8::from_str_radix(pair, 16).ok()).flatten()
        })
        .collect()
}

/// A job, from the parameters of `mining.notify`.
pub(super) fn job(params: &[&RawValue]) -> Option<Job> {
    let text = |place| text(params, place);
    let branch: Vec<String> = serde_json::from_str(params.get(4)?.get()).ok()?;
    let strings = [text(0)?, text(1)?, text(2)?, text(3)?, text(5)?, text(6)?, text(7)?];
    let [job_id, previous_block, coinbase1, coinbase2, version, bits, time] = &strings;
    Job::from_strings(&NotifyStrings {
        job_id,
        previous_block,
        coinbase1,
        coinbase2,
        branch: &branch,
        version,
        bits,
        time,
        clean: serde_json::from_str(params.get(8)?.get()).ok()?,
    })
    .ok()
}
