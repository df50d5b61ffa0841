//! The data directory: what was written, what would survive, and every way in which it fails.
//!
//! It works on whole operations, because the real one writes a draft, syncs it and renames it:
//! after a loss of power an operation was done or it was not. Those that were asked for and not
//! reported may be either. Only the share log is appended to, so only it is found torn. Not in
//! here: the steps of an operation on a real file system (`server/src/runtime/disk.rs` and its
//! tests).

mod share_files;

use std::collections::{BTreeMap, VecDeque};

use bitcoin::hex::DisplayHex as _;
use server::journal::{DiskOp, Recovered, Shelf, WriteError, block_file_name, read_block_file};
use share_files::ShareFiles;

use super::queue::Micros;
use crate::plan::DiskFault;
use crate::plan::draw::draw;

/// Time that a write takes on a good day, in microseconds, at least and at most.
const WRITE_US: (u64, u64) = (100, 4_000);
/// And on a slow one.
const SLOW_WRITE_US: (u64, u64) = (200_000, 6_000_000);
/// A block file's folder while its block is not judged.
const PENDING: &str = "";

/// A write that was asked for.
#[derive(Debug)]
struct Waiting {
    write: u64,
    op: DiskOp,
    fails: Option<WriteError>,
}

/// A disk, and the queue in front of it.
#[derive(Debug)]
pub struct SimDisk {
    seed: u64,
    generation: u32,
    /// Folder and name to text, as the files would hold it.
    blocks: BTreeMap<(&'static str, String), String>,
    shares: ShareFiles,
    /// Why a start would have refused what it found.
    refused: Option<String>,
    /// What happened how often.
    felt: BTreeMap<&'static str, u64>,
    queue: VecDeque<Waiting>,
    /// The queue's first write is being done; the number tells it from later ones.
    busy: Option<u64>,
    asked: u64,
    faults: Vec<DiskFault>,
    fail_in: Option<u64>,
    moves: Vec<(Micros, u64)>,
}

impl SimDisk {
    /// An empty directory.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            generation: 0,
            blocks: BTreeMap::new(),
            shares: ShareFiles::default(),
            refused: None,
            felt: BTreeMap::new(),
            queue: VecDeque::new(),
            busy: None,
            asked: 0,
            faults: Vec::new(),
            fail_in: None,
            moves: Vec::new(),
        }
    }

    /// When writes end that were begun since the last call.
    pub fn take_moves(&mut self) -> Vec<(Micros, u64)> {
        core::mem::take(&mut self.moves)
    }

    /// Something goes wrong from now on.
    pub fn begin(&mut self, fault: DiskFault) {
        self.faults.push(fault);
    }

    /// It no longer does; what hung goes on.
    pub fn end(&mut self, now: Micros, fault: DiskFault) {
        if let Some(place) = self.faults.iter().position(|known| *known == fault) {
            self.faults.remove(place);
        }
        self.go_on(now);
    }

    /// The `nth` write from now fails, 0 being the next.
    pub const fn fail_write(&mut self, nth: u64) {
        self.fail_in = Some(nth);
    }

    /// Nothing goes wrong any more.
    pub fn heal(&mut self, now: Micros) {
        self.faults.clear();
        self.fail_in = None;
        self.go_on(now);
    }

    /// The server wants `op` written.
    pub fn write(&mut self, now: Micros, write: u64, op: DiskOp) {
        let broken = || WriteError::Unknown("input/output error".to_owned());
        let mut fails = if self.faults.contains(&DiskFault::Full) {
            Some(WriteError::NotKept("no space left on device".to_owned()))
        } else {
            self.faults.contains(&DiskFault::SyncFails).then(broken)
        };
        if let Some(left) = self.fail_in {
            self.fail_in = left.checked_sub(1);
            if left == 0 {
                fails = fails.or_else(|| Some(broken()));
            }
        }
        self.queue.push_back(Waiting { write, op, fails });
        self.go_on(now);
    }

    fn go_on(&mut self, now: Micros) {
        let hangs = self.faults.contains(&DiskFault::Hangs);
        if self.busy.is_some() || hangs || self.queue.is_empty() {
            return;
        }
        self.asked += 1;
        self.busy = Some(self.asked);
        let slow = self.faults.contains(&DiskFault::Slow);
        let (least, most) = if slow { SLOW_WRITE_US } else { WRITE_US };
        let time = draw(self.seed, "disk.write", (self.asked, 0)).scaled(least, most);
        self.moves.push((now.after(time), self.asked));
    }

    /// The write with this number ends: its name in the run, and an error if it failed.
    pub fn finish(&mut self, now: Micros, number: u64) -> Option<(u64, Option<WriteError>)> {
        if self.busy != Some(number) {
            return None;
        }
        self.busy = None;
        let done = self.queue.pop_front();
        if let Some(done) = &done {
            match &done.fails {
                None => self.apply(&done.op),
                Some(WriteError::NotKept(_)) => {}
                // What failed at its sync may be there all the same.
                Some(WriteError::Unknown(_)) => self.half_done(&done.op, "disk.failed"),
            }
        }
        self.go_on(now);
        done.map(|done| (done.write, done.fails))
    }

    /// Nobody knows what is left of `op`: of an append a part, of all else all or nothing.
    fn half_done(&mut self, op: &DiskOp, label: &str) {
        match op {
            DiskOp::AppendShares { run, first, records } => {
                let mut draw = draw(self.seed, label, (self.asked, 0));
                let remarkable = self.shares.tear(*run, *first, records, &mut draw);
                if let Some(what) = remarkable {
                    self.count(what);
                }
            }
            DiskOp::PutGeneration(_) | DiskOp::PutBlock(_) | DiskOp::SettleBlock { .. } => {
                if self.coin(label) {
                    self.apply(op);
                }
            }
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.felt.entry(what).or_default() += 1;
    }

    /// What happened how often.
    pub const fn felt(&self) -> &BTreeMap<&'static str, u64> {
        &self.felt
    }

    fn coin(&self, label: &str) -> bool {
        draw(self.seed, label, (self.asked, 0)).chance(500)
    }

    fn apply(&mut self, op: &DiskOp) {
        match op {
            DiskOp::PutGeneration(number) => self.generation = *number,
            DiskOp::PutBlock(block) => {
                let name = block_file_name(block.height, &block.hash);
                let text = block.bytes.to_lower_hex_string();
                self.blocks.insert((PENDING, name), text);
            }
            DiskOp::SettleBlock { height, hash, shelf } => {
                let name = block_file_name(*height, hash);
                if let Some(text) = self.blocks.remove(&(PENDING, name.clone())) {
                    self.blocks.insert((shelf.folder(), name), text);
                }
            }
            DiskOp::AppendShares { run, first, records } => {
                self.shares.append(*run, *first, records);
            }
        }
    }

    /// The process dies: the write under way was done or not, those behind it were not.
    pub fn crash(&mut self) {
        if self.busy.is_some()
            && let Some(first) = self.queue.pop_front()
            && !matches!(first.fails, Some(WriteError::NotKept(_)))
        {
            self.half_done(&first.op, "disk.crash");
        }
        self.queue.clear();
        self.busy = None;
    }

    /// The process ends in peace: what it asked for is done first.
    pub fn settle(&mut self) {
        for waiting in core::mem::take(&mut self.queue) {
            if waiting.fails.is_none() {
                self.apply(&waiting.op);
            }
        }
        self.busy = None;
    }

    /// What a start finds, and what it does to the share log.
    pub fn recover(&mut self) -> Recovered {
        match self.shares.recover() {
            Ok(true) => self.count("journal tail cut"),
            Ok(false) => {}
            Err(why) => self.refused = Some(why),
        }
        let pending = self.blocks.iter().filter(|((folder, _), _)| *folder == PENDING);
        let mut pending: Vec<_> =
            pending.filter_map(|((_, name), text)| read_block_file(name, text)).collect();
        pending.sort_by_key(|block| (block.height, block.hash));
        Recovered { generation: self.generation, pending }
    }

    /// Loses a record that was safe: a bug to be noticed.
    pub fn lose_share(&mut self) {
        self.shares.lose_one();
    }

    /// Why a start would have refused what it found.
    pub fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// The share log's files: run, number of the first record, bytes; the oldest first.
    pub fn share_files(&self) -> impl Iterator<Item = (u32, u64, &[u8])> {
        self.shares.iter()
    }

    /// Whether a block's file is there, unjudged or on any shelf.
    pub fn holds(&self, height: u32, hash: &[u8; 32]) -> bool {
        let name = block_file_name(height, hash);
        [PENDING, Shelf::Accepted.folder(), Shelf::Inconclusive.folder(), Shelf::Rejected.folder()]
            .into_iter()
            .any(|folder| self.blocks.contains_key(&(folder, name.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finish_all(disk: &mut SimDisk) -> Vec<(u64, bool)> {
        let mut done = Vec::new();
        while let Some((now, number)) = disk.take_moves().pop() {
            done.extend(disk.finish(now, number).map(|(write, error)| (write, error.is_none())));
        }
        done
    }

    #[test]
    fn writes_end_in_order_and_survive() {
        let mut disk = SimDisk::new(1);
        disk.fail_write(1);
        for (write, number) in [(0, 7), (1, 8), (2, 9)] {
            disk.write(Micros(0), write, DiskOp::PutGeneration(number));
        }
        assert_eq!(finish_all(&mut disk), [(0, true), (1, false), (2, true)]);
        assert_eq!(disk.recover().generation, 9);
    }

    #[test]
    fn a_crash_loses_what_was_not_reported() {
        for seed in 0..20 {
            let mut disk = SimDisk::new(seed);
            disk.write(Micros(0), 0, DiskOp::PutGeneration(1));
            disk.write(Micros(0), 1, DiskOp::PutGeneration(2));
            disk.crash();
            assert!(disk.recover().generation <= 1, "the second was behind the first");
            let (_, number) = disk.take_moves()[0];
            assert_eq!(disk.finish(Micros(9), number), None, "nobody hears of it");
        }
    }

    /// Three appends of which the second is under way when the power goes.
    #[test]
    fn a_crash_tears_the_append_under_way_and_nothing_before_it() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let mut disk = SimDisk::new(seed);
            let lines = ["one\n", "two\nthree\n", "four\n"];
            for (write, line) in (0..).zip(lines) {
                let records = line.as_bytes().into();
                disk.write(Micros(0), write, DiskOp::AppendShares { run: 1, first: 1, records });
            }
            let (now, number) = disk.take_moves()[0];
            assert_eq!(disk.finish(now, number), Some((0, None)));
            disk.crash();
            let bytes: Vec<u8> =
                disk.share_files().flat_map(|(_, _, bytes)| bytes).copied().collect();
            let left = bytes.strip_prefix(b"one\n").expect("it was synced");
            assert!(left.len() <= lines[1].len(), "{left:?}");
            let kind = match left {
                b"" => "nothing",
                b"two\nthree\n" => "all",
                b"two\n" => "a record",
                _ if left.contains(&0) => "zeros",
                _ => "a part",
            };
            seen.insert(kind);
        }
        assert_eq!(seen.len(), 5, "{seen:?}");
    }

    #[test]
    fn what_hangs_goes_on_later() {
        let mut disk = SimDisk::new(1);
        disk.begin(DiskFault::Hangs);
        disk.write(Micros(0), 0, DiskOp::PutGeneration(1));
        assert!(disk.take_moves().is_empty());
        disk.end(Micros(5), DiskFault::Hangs);
        assert_eq!(finish_all(&mut disk), [(0, true)]);
    }
}
