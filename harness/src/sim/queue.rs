//! What happens next: events in order of their time, and of their making where times are equal.
//!
//! Ties broken by sequence make a run one sequence of events and no other. Not in here: what the
//! events are.

use std::collections::BTreeMap;

/// A moment of simulated time: microseconds since the world began.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Micros(pub u64);

impl Micros {
    /// The moment `milliseconds` after the beginning.
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(milliseconds * 1_000)
    }

    /// Whole milliseconds since the beginning.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// So many microseconds later.
    #[must_use]
    pub const fn after(self, micros: u64) -> Self {
        Self(self.0 + micros)
    }

    /// Microseconds from `earlier` to here; zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The events to come.
#[derive(Debug)]
pub struct Queue<T> {
    events: BTreeMap<(Micros, u64), T>,
    made: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { events: BTreeMap::new(), made: 0 }
    }
}

impl<T> Queue<T> {
    /// Lets `event` happen at `when`, after everything that was put there before.
    pub fn put(&mut self, when: Micros, event: T) {
        self.events.insert((when, self.made), event);
        self.made += 1;
    }

    /// When the next event happens.
    pub fn next_at(&self) -> Option<Micros> {
        self.events.first_key_value().map(|((when, _), _)| *when)
    }

    /// Takes the next event that happens at `until` or before.
    pub fn take(&mut self, until: Micros) -> Option<(Micros, T)> {
        if self.next_at()? > until {
            return None;
        }
        self.events.pop_first().map(|((when, _), event)| (when, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_time_then_by_making() {
        let mut queue = Queue::default();
        for (when, name) in [(5, "c"), (1, "a"), (5, "d"), (2, "b")] {
            queue.put(Micros(when), name);
        }
        let taken: Vec<&str> =
            std::iter::from_fn(|| queue.take(Micros(5)).map(|(_, name)| name)).collect();
        assert_eq!(taken, ["a", "b", "c", "d"]);
        queue.put(Micros(9), "e");
        assert_eq!(queue.take(Micros(8)), None);
        assert_eq!(queue.next_at(), Some(Micros(9)));
    }
}
