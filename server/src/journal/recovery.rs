//! What a file of the share log is worth after whatever happened to it.
//!
//! A file is `<run>-<first>.jsonl`: the run that wrote it, ten digits, and the number of its first
//! record, twelve. Batches are written one after another, each synced before the next, so a crash
//! can only damage the last one, in whatever way: cut short, with a hole, with zeros at its end.
//! Each record says how many were safe before it; so a record that is missing although a later one
//! calls it safe was on disk and was damaged there. The first is cut off, the second is refused.

use super::record::Record;

/// A file of the share log, by its name.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Part {
    /// The run that wrote it.
    pub run: u32,
    /// The number of its first record.
    pub first: u64,
}

impl Part {
    /// The file's name.
    pub fn file_name(self) -> String {
        format!("{:010}-{:012}.jsonl", self.run, self.first)
    }

    /// The part that a file's name stands for; `None` for any other file.
    pub fn of_file(name: &str) -> Option<Self> {
        let (run, first) = name.strip_suffix(".jsonl")?.split_once('-')?;
        let part = Self { run: run.parse().ok()?, first: first.parse().ok()? };
        (part.file_name() == name).then_some(part)
    }
}

/// What a file holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Examined {
    /// Bytes of whole records, from the start.
    pub whole: usize,
    /// Bytes after them, of a write that did not end.
    pub torn: usize,
    /// The number after the last whole record's.
    pub next: u64,
}

/// A record that was safe is not what was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line}, where record {number} should be, is damaged, and it was safely on disk once")]
pub struct Damaged {
    /// The line, from 1.
    pub line: u64,
    /// The record's number.
    pub number: u64,
}

/// Reads a file; shows `see` each whole record.
pub fn examine(
    part: Part,
    bytes: &[u8],
    mut see: impl FnMut(&Record<'_>),
) -> Result<Examined, Damaged> {
    let mut next = part.first;
    let mut whole = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let record = line
            .strip_suffix(b"\n")
            .and_then(Record::read)
            .filter(|record| record.run == part.run && record.number == next && record.safe < next);
        let Some(record) = record else { break };
        see(&record);
        whole += line.len();
        next += 1;
    }
    let rest = &bytes[whole..];
    let mut later = rest.split(|byte| *byte == b'\n').filter_map(Record::read);
    if later.any(|record| record.run == part.run && record.safe >= next) {
        return Err(Damaged { line: next - part.first + 1, number: next });
    }
    Ok(Examined { whole, torn: rest.len(), next })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::record::tests::share;

    const PART: Part = Part { run: 7, first: 11 };

    /// Batches of these sizes, and where each ends.
    fn log(batches: &[u64]) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut ends, mut number) = (Vec::new(), Vec::new(), PART.first);
        for size in batches {
            let safe = number - 1;
            for _ in 0..*size {
                Record { run: PART.run, number, safe, share: share("w") }.render(&mut bytes);
                number += 1;
            }
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    fn read(bytes: &[u8]) -> Result<(Vec<u64>, usize), Damaged> {
        let mut numbers = Vec::new();
        let examined = examine(PART, bytes, |record| numbers.push(record.number))?;
        assert_eq!(examined.whole + examined.torn, bytes.len());
        assert_eq!(examined.next, PART.first + numbers.len() as u64);
        Ok((numbers, examined.torn))
    }

    #[test]
    fn names() {
        assert_eq!(PART.file_name(), "0000000007-000000000011.jsonl");
        assert_eq!(Part::of_file(&PART.file_name()), Some(PART));
        for other in ["7-11.jsonl", "0000000007-000000000011.jsonl.gz", "notes.txt", "-.jsonl"] {
            assert_eq!(Part::of_file(other), None, "{other}");
        }
    }

    #[test]
    fn a_file_that_was_cut_anywhere_is_whole_up_to_there() {
        let (bytes, _) = log(&[2, 1, 3]);
        let borders: Vec<usize> =
            (0..=bytes.len()).filter(|place| *place == 0 || bytes[place - 1] == b'\n').collect();
        for cut in 0..=bytes.len() {
            let whole = borders.iter().rev().find(|border| **border <= cut).expect("0 is one");
            let records = borders.iter().filter(|border| **border <= cut).count() - 1;
            let expected: Vec<u64> = (11..11 + records as u64).collect();
            assert_eq!(read(&bytes[..cut]), Ok((expected, cut - whole)), "cut at {cut}");
        }
    }

    /// What a loss of power leaves of one write: pages in any order, zeros, garbage.
    #[test]
    fn any_damage_in_the_last_batch_is_a_torn_write() {
        let (bytes, ends) = log(&[2, 1, 3]);
        let start = ends[1];
        for place in start..bytes.len() {
            for length in [1, 40, 300] {
                let mut torn = bytes.clone();
                torn[place..].iter_mut().take(length).for_each(|byte| *byte = 0);
                let (numbers, cut) = read(&torn).expect("it was never safe");
                assert!(numbers.starts_with(&[11, 12, 13]) && numbers.len() < 6, "{numbers:?}");
                assert!(cut > 0);
            }
        }
        let mut longer = bytes;
        longer.extend([0; 4_096]);
        assert_eq!(read(&longer), Ok(((11..17).collect(), 4_096)));
    }

    /// DISK-1: a record that was safe is there, or the file is refused.
    #[test]
    fn any_change_before_the_last_batch_is_refused() {
        let (bytes, ends) = log(&[2, 1, 3]);
        for place in 0..ends[1] {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[place] ^= 1 << bit;
                let refused = read(&damaged).expect_err("a synced record is gone");
                let before = bytes[..place].split(|byte| *byte == b'\n').count() as u64 - 1;
                assert_eq!(refused, Damaged { line: before + 1, number: before + 11 });
            }
        }
        let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        let refused_at = |lines: &[&[u8]]| read(&lines.concat()).map_err(|refused| refused.line);
        for line in 0..3 {
            let mut rest = lines.clone();
            rest.remove(line);
            assert_eq!(refused_at(&rest), Err(line as u64 + 1), "missing");
        }
        for line in 0..2 {
            let mut twice = lines.clone();
            twice.insert(line, lines[line]);
            assert_eq!(refused_at(&twice), Err(line as u64 + 2), "twice");
        }
    }
}
