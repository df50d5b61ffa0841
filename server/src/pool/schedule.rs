//! When each session is looked at next: its silence, its pace.

use std::collections::{BTreeMap, BTreeSet};

use super::event::ConnId;
use crate::clock::Instant;

/// One moment for each session.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    by_time: BTreeSet<(Instant, ConnId)>,
    by_conn: BTreeMap<ConnId, Instant>,
}

impl Schedule {
    /// Looks at `conn` no later than `when`. A moment that turns out too early costs a look, and
    /// that is less than moving it with every line that a miner says.
    pub(super) fn no_later_than(&mut self, conn: ConnId, when: Instant) {
        let known = self.by_conn.get(&conn).copied();
        if known.is_none_or(|known| when < known) {
            self.forget(conn);
            self.by_conn.insert(conn, when);
            self.by_time.insert((when, conn));
        }
    }

    /// Forgets `conn`.
    pub(super) fn forget(&mut self, conn: ConnId) {
        if let Some(when) = self.by_conn.remove(&conn) {
            self.by_time.remove(&(when, conn));
        }
    }

    /// When somebody is to be looked at.
    pub(super) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(when, _)| *when)
    }

    /// Takes out one who is to be looked at by `now`.
    pub(super) fn pop(&mut self, now: Instant) -> Option<ConnId> {
        let (_, conn) = *self.by_time.first().filter(|(when, _)| *when <= now)?;
        self.forget(conn);
        Some(conn)
    }

    /// How many are looked at.
    pub(super) fn len(&self) -> usize {
        self.by_conn.len()
    }
}
