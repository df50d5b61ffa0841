//! The share log on the simulated disk: files that grow, and what a write leaves that did not end.
//!
//! After a loss of power an append is there, or not, or in part: cut anywhere, cut where a record
//! ends, with a page missing in the middle, or with its length and not its bytes. What was synced
//! before it never changes: that disks rot is not simulated (`server/src/journal/recovery.rs` has
//! it in its tests).

use std::collections::BTreeMap;
use std::ops::Range;

use server::journal::recovery::{Part, examine};

use crate::plan::draw::Draw;

/// Bytes after which a file is followed by another, so that there are several.
const FILE_BYTES_MAX: usize = 16 * 1024;
/// What a disk writes at once or not at all.
const PAGE_BYTES: u64 = 512;

/// Files by run and number of the first record.
#[derive(Debug, Default)]
pub(super) struct ShareFiles {
    files: BTreeMap<(u32, u64), Vec<u8>>,
}

impl ShareFiles {
    /// An append that ended.
    pub(super) fn append(&mut self, run: u32, first: u64, records: &[u8]) {
        let room = |(key, file): (&(u32, u64), &Vec<u8>)| {
            (key.0 == run && file.len() < FILE_BYTES_MAX).then_some(*key)
        };
        let key = self.files.last_key_value().and_then(room).unwrap_or((run, first));
        self.files.entry(key).or_default().extend_from_slice(records);
    }

    /// An append that did not end; what is remarkable about what it left.
    pub(super) fn tear(
        &mut self,
        run: u32,
        first: u64,
        records: &[u8],
        draw: &mut Draw,
    ) -> Option<&'static str> {
        let length = records.len() as u64;
        let place = |draw: &mut Draw| usize::try_from(draw.below(length)).unwrap_or(0);
        let (left, remarkable) = match draw.below(6) {
            0 => (Vec::new(), None),
            1 => (records.to_vec(), None),
            2 => (records[..place(draw)].to_vec(), Some("journal torn")),
            3 => {
                let borders: Vec<usize> =
                    (1..records.len()).filter(|place| records[place - 1] == b'\n').collect();
                if borders.is_empty() {
                    return None;
                }
                let left = records[..*draw.pick(&borders)].to_vec();
                (left, Some("journal torn exactly at a record border"))
            }
            4 => {
                let page = draw.below(length.div_ceil(PAGE_BYTES));
                (zeroed(records, page * PAGE_BYTES..(page + 1) * PAGE_BYTES), Some("journal holed"))
            }
            _ => {
                let from = place(draw) as u64;
                (zeroed(records, from..length), Some("journal longer than its bytes"))
            }
        };
        if !left.is_empty() {
            self.append(run, first, &left);
        }
        remarkable
    }

    /// What a start does: the newest file ends with a whole record from now on. True when
    /// something was cut off; an error when the server would refuse to start.
    pub(super) fn recover(&mut self) -> Result<bool, String> {
        let Some(mut newest) = self.files.last_entry() else { return Ok(false) };
        let (run, first) = *newest.key();
        let part = Part { run, first };
        let examined = examine(part, newest.get(), |_| {});
        let examined = examined.map_err(|damaged| format!("{}: {damaged}", part.file_name()))?;
        newest.get_mut().truncate(examined.whole);
        Ok(examined.torn > 0)
    }

    /// Loses the last record, which no start may do.
    pub(super) fn lose_one(&mut self) {
        let Some(mut newest) = self.files.last_entry() else { return };
        let file = newest.get_mut();
        file.pop();
        let end = file.iter().rposition(|byte| *byte == b'\n').map_or(0, |place| place + 1);
        file.truncate(end);
    }

    /// The files, the oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, u64, &[u8])> {
        self.files.iter().map(|((run, first), bytes)| (*run, *first, bytes.as_slice()))
    }
}

fn zeroed(records: &[u8], range: Range<u64>) -> Vec<u8> {
    let inside = |place: usize| range.contains(&(place as u64));
    let bytes = records.iter().enumerate();
    bytes.map(|(place, byte)| if inside(place) { 0 } else { *byte }).collect()
}
