//! Messages that wait for their turn to be hashed, some of them under way.

use core::ops::Range;

use super::Block;
use super::ended;

/// Messages, `N` of them under way.
pub(super) struct Queue<'a, const N: usize> {
    messages: &'a [&'a [u8]],
    /// Which of them nobody has taken.
    waiting: Range<usize>,
    lanes: [Lane<'a>; N],
}

/// A message under way, or none.
struct Lane<'a> {
    /// Its place among the messages; none when there are no more.
    place: Option<usize>,
    /// Its whole blocks that are still to come.
    whole: &'a [Block],
    /// Its last blocks: what is less than a block, and the padding.
    end: [Block; 2],
    /// Which of those are still to come.
    ends: Range<usize>,
}

impl<'a, const N: usize> Queue<'a, N> {
    /// The first of `messages` are under way.
    pub(super) fn new(messages: &'a [&'a [u8]]) -> Self {
        let waiting = 0..messages.len();
        let lane = |_| Lane { place: None, whole: &[], end: [[0; 64]; 2], ends: 0..0 };
        let mut queue = Self { messages, waiting, lanes: core::array::from_fn(lane) };
        for lane in 0..N {
            queue.take_next(lane);
        }
        queue
    }

    /// Whether a message is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.lanes.iter().any(|lane| lane.place.is_some())
    }

    /// The next block of each message under way, and something where there is none.
    pub(super) fn blocks(&mut self) -> [&Block; N] {
        self.lanes.each_mut().map(|lane| match lane.whole {
            [block, rest @ ..] => {
                lane.whole = rest;
                block
            }
            [] => &lane.end[lane.ends.next().unwrap_or_default()],
        })
    }

    /// The place of the message whose last block was given out for `lane`, once. The next one takes
    /// its lane.
    pub(super) fn ended(&mut self, lane: usize) -> Option<usize> {
        let Lane { whole, ends, place, .. } = &mut self.lanes[lane];
        if !whole.is_empty() || ends.start < ends.end {
            return None;
        }
        let ended = place.take();
        self.take_next(lane);
        ended
    }

    fn take_next(&mut self, lane: usize) {
        let Some(place) = self.waiting.next() else { return };
        let (whole, end, count) = ended(self.messages[place]);
        self.lanes[lane] = Lane { place: Some(place), whole, end, ends: 0..count };
    }
}
