//! The data directory: what was written, what would survive, and every way in which it fails.
//!
//! It works on whole operations, because the real one writes a draft, syncs it and renames it:
//! after a loss of power an operation was done or it was not. Those that were asked for and not
//! reported may be either. Not in here: the steps of an operation on a real file system
//! (`server/src/runtime/disk.rs` and its tests).

use std::collections::{BTreeMap, VecDeque};

use bitcoin::hex::DisplayHex as _;
use server::journal::{DiskOp, Recovered, Shelf, block_file_name, read_block_file};

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
    fails: Option<&'static str>,
}

/// A disk, and the queue in front of it.
#[derive(Debug)]
pub struct SimDisk {
    seed: u64,
    generation: u32,
    /// Folder and name to text, as the files would hold it.
    blocks: BTreeMap<(&'static str, String), String>,
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
    pub const fn new(seed: u64) -> Self {
        Self {
            seed,
            generation: 0,
            blocks: BTreeMap::new(),
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
        let mut fails = if self.faults.contains(&DiskFault::Full) {
            Some("no space left on device")
        } else if self.faults.contains(&DiskFault::SyncFails) {
            Some("input/output error")
        } else {
            None
        };
        if let Some(left) = self.fail_in {
            self.fail_in = left.checked_sub(1);
            if left == 0 && fails.is_none() {
                fails = Some("input/output error");
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
    pub fn finish(&mut self, now: Micros, number: u64) -> Option<(u64, Option<&'static str>)> {
        if self.busy != Some(number) {
            return None;
        }
        self.busy = None;
        let done = self.queue.pop_front();
        if let Some(done) = &done {
            // What failed at its sync may be there all the same.
            let there = done.fails.is_none()
                || done.fails == Some("input/output error") && self.coin("disk.failed");
            if there {
                self.apply(&done.op);
            }
        }
        self.go_on(now);
        done.map(|done| (done.write, done.fails))
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
        }
    }

    /// The process dies: the write under way was done or not, those behind it were not.
    pub fn crash(&mut self) {
        if self.busy.is_some()
            && let Some(first) = self.queue.pop_front()
            && first.fails.is_none()
            && self.coin("disk.crash")
        {
            self.apply(&first.op);
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

    /// What a start finds.
    pub fn recover(&self) -> Recovered {
        let pending = self.blocks.iter().filter(|((folder, _), _)| *folder == PENDING);
        let mut pending: Vec<_> =
            pending.filter_map(|((_, name), text)| read_block_file(name, text)).collect();
        pending.sort_by_key(|block| (block.height, block.hash));
        Recovered { generation: self.generation, pending }
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
