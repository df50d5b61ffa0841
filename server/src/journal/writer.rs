//! Shares on their way to the log: rendered at once, written in batches, one batch at a time.
//!
//! A batch leaves a tenth of a second after its first share, or as soon as it has enough of them;
//! while one is being written the next one grows. What the disk had no room for is asked for again,
//! the same bytes; so nothing is written twice, and nothing overtakes.

use core::time::Duration;

use bytes::Bytes;

use super::record::{Record, Share};
use crate::clock::Instant;
use crate::config::Limits;

/// Records to be appended to the share log, and synced, in one go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Batch {
    /// The number of the first of them.
    pub first: u64,
    /// Their lines.
    pub records: Bytes,
    /// How many lines.
    pub count: usize,
}

#[derive(Debug)]
enum State {
    /// The disk has nothing of ours to do.
    Idle,
    /// It writes this batch.
    Writes(Batch),
    /// It had no room for this batch, and is asked again then.
    Again(Batch, Instant),
}

/// The end of the share log that is not on disk.
#[derive(Debug)]
pub struct Writer {
    run: u32,
    /// The number of the next share.
    next: u64,
    /// Lines of the batch that grows.
    lines: Vec<u8>,
    /// Where the next one will grow: the memory of one that is on disk, which need not be taken
    /// anew.
    spare: Vec<u8>,
    count: usize,
    /// When the first of them came.
    since: Instant,
    state: State,
    /// The last write that ended found no room.
    is_full: bool,
    flush: Duration,
    batch_max: usize,
    waiting_max: usize,
    pause: Duration,
}

impl Writer {
    /// A log of this run's, empty.
    pub fn new(run: u32, limits: &Limits) -> Self {
        Self {
            run,
            next: 1,
            lines: Vec::new(),
            spare: Vec::new(),
            count: 0,
            since: Instant::ZERO,
            state: State::Idle,
            is_full: false,
            flush: limits.journal_flush,
            batch_max: limits.journal_batch.max(1),
            waiting_max: limits.journal_waiting.max(1),
            pause: limits.retry_pause,
        }
    }

    /// Shares that are not on disk, as far as is known.
    pub fn waiting(&self) -> usize {
        let asked = match &self.state {
            State::Idle => 0,
            State::Writes(batch) | State::Again(batch, _) => batch.count,
        };
        asked + self.count
    }

    /// Whether another share could be kept until the disk takes it.
    pub fn has_room(&self) -> bool {
        self.waiting() < self.waiting_max
    }

    /// Takes a share, for which there must be room.
    pub fn append(&mut self, now: Instant, share: Share<'_>) {
        assert!(self.has_room(), "who counts a share has looked for room");
        if self.count == 0 {
            self.since = now;
        }
        // All before this batch is on disk when this batch is written, for no two are at a time.
        let safe = self.next - 1 - self.count as u64;
        let record = Record { run: self.run, number: self.next, safe, share };
        record.render(&mut self.lines);
        self.count += 1;
        self.next += 1;
    }

    /// When [`Self::poll_batch`] has something to write, if only time is missing.
    pub fn next_flush(&self) -> Option<Instant> {
        match &self.state {
            State::Idle if self.count >= self.batch_max => Some(self.since),
            State::Idle => (self.count > 0).then(|| self.since + self.flush),
            State::Writes(_) => None,
            State::Again(_, when) => Some(*when),
        }
    }

    /// Makes what waits for its time due at once: there will be no more.
    pub fn hurry(&mut self) {
        self.flush = Duration::ZERO;
    }

    /// A batch to write now; it ends with [`Self::written`] or [`Self::not_written`].
    pub fn poll_batch(&mut self, now: Instant) -> Option<Batch> {
        self.next_flush().filter(|when| *when <= now)?;
        let batch = match core::mem::replace(&mut self.state, State::Idle) {
            State::Again(batch, _) => batch,
            State::Idle => {
                let spare = core::mem::take(&mut self.spare);
                let lines = core::mem::replace(&mut self.lines, spare);
                let count = core::mem::take(&mut self.count);
                Batch { first: self.next - count as u64, records: lines.into(), count }
            }
            State::Writes(_) => unreachable!("nothing is due while a batch is being written"),
        };
        assert!(batch.count > 0, "no batch is empty");
        self.state = State::Writes(batch.clone());
        Some(batch)
    }

    /// The batch under way is on disk. True when there was no room before.
    pub fn written(&mut self) -> bool {
        match core::mem::replace(&mut self.state, State::Idle) {
            // Unless whoever wrote it has not let go of it yet.
            State::Writes(batch) => {
                self.spare = batch.records.try_into_mut().map_or_else(|_| Vec::new(), Vec::from);
                self.spare.clear();
            }
            state @ (State::Idle | State::Again(..)) => {
                unreachable!("a batch was under way: {state:?}")
            }
        }
        core::mem::take(&mut self.is_full)
    }

    /// Nothing of the batch under way is on disk, and it is asked for again. True when that is
    /// news.
    pub fn not_written(&mut self, now: Instant) -> bool {
        match core::mem::replace(&mut self.state, State::Idle) {
            State::Writes(batch) => self.state = State::Again(batch, now + self.pause),
            state @ (State::Idle | State::Again(..)) => {
                unreachable!("a batch was under way: {state:?}")
            }
        }
        !core::mem::replace(&mut self.is_full, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::record::tests::share;

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    fn writer(batch: usize, waiting: usize) -> Writer {
        let limits = Limits {
            journal_batch: batch,
            journal_waiting: waiting,
            journal_flush: Duration::from_millis(100),
            retry_pause: Duration::from_millis(500),
            ..Limits::default()
        };
        Writer::new(7, &limits)
    }

    /// Number and `safe` of each record.
    fn numbers(batch: &Batch) -> Vec<(u64, u64)> {
        let lines = batch.records.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let records = lines.map(|line| Record::read(line).expect("it was just rendered"));
        records.map(|record| (record.number, record.safe)).collect()
    }

    #[test]
    fn the_next_but_one_batch_grows_where_a_written_one_was() {
        let mut log = writer(1, 9);
        for number in 1..=3 {
            let room = log.spare.capacity();
            log.append(at(number), share("w"));
            let batch = log.poll_batch(at(number)).expect("one is enough");
            assert_eq!(log.lines.capacity(), room);
            assert_eq!(numbers(&batch), vec![(number, number - 1)], "and holds nothing of it");
            let length = batch.records.len();
            drop(batch);
            log.written();
            assert!(log.spare.capacity() >= length && log.spare.is_empty());
        }
    }

    #[test]
    fn a_batch_leaves_by_time_or_by_count_one_at_a_time() {
        let mut log = writer(2, 9);
        assert_eq!(log.next_flush(), None);
        log.append(at(10), share("w"));
        assert_eq!((log.next_flush(), log.poll_batch(at(109))), (Some(at(110)), None));
        let first = log.poll_batch(at(110)).expect("its time has come");
        assert_eq!((first.first, numbers(&first)), (1, vec![(1, 0)]));
        for ms in 120..123 {
            log.append(at(ms), share("w"));
        }
        assert_eq!((log.next_flush(), log.poll_batch(at(900))), (None, None), "one at a time");
        assert!(!log.written(), "there was room");
        let second = log.poll_batch(at(123)).expect("there are enough");
        assert_eq!((second.first, numbers(&second)), (2, vec![(2, 1), (3, 1), (4, 1)]));
        assert!(!log.written());
        assert_eq!((log.waiting(), log.next_flush()), (0, None));
    }

    #[test]
    fn what_found_no_room_is_asked_for_again_before_what_came_after() {
        let mut log = writer(1, 3);
        log.append(at(0), share("w"));
        let first = log.poll_batch(at(0)).expect("enough");
        log.append(at(1), share("w"));
        assert!(log.not_written(at(5)), "it is news");
        assert_eq!((log.next_flush(), log.poll_batch(at(504))), (Some(at(505)), None));
        assert!(log.has_room());
        log.append(at(6), share("w"));
        assert!(!log.has_room());
        assert_eq!(log.poll_batch(at(505)), Some(first.clone()), "the same bytes");
        assert!(!log.not_written(at(506)), "it is known");
        assert_eq!(log.poll_batch(at(1_006)), Some(first));
        assert!(log.written(), "it was full");
        let second = log.poll_batch(at(1_006)).expect("enough");
        assert_eq!(numbers(&second), [(2, 1), (3, 1)]);
    }

    #[test]
    fn at_a_stop_nothing_waits_for_its_time() {
        let mut log = writer(9, 9);
        log.append(at(3), share("w"));
        log.hurry();
        assert_eq!(log.poll_batch(at(3)).map(|batch| batch.count), Some(1));
    }
}
