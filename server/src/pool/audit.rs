//! What must hold between the parts after every event.

use super::action::Action;
use super::{Pool, Written};

impl Pool {
    /// Walks the invariants that no single part can see. Panics when one is broken: then memory
    /// no longer means what the code says, and going on would pay out on it.
    pub fn audit(&self) {
        assert_eq!(self.sessions.len(), self.leases.held(), "one lease a session");
        assert!(self.sessions.len() <= self.config.limits.sessions, "sessions are bounded");
        assert!(self.ledger.count() <= self.config.limits.shares_seen, "shares are bounded");
        let counted: usize = self.addresses.values().sum();
        assert_eq!(self.sessions.len(), counted, "each session is counted at its address");
        assert_eq!(self.sessions.len(), self.schedule.len(), "each session is looked at");
        assert!(self.remains.len() <= self.config.limits.sessions_kept, "remains are bounded");
        let waiting = self.journal.waiting();
        assert!(waiting <= self.config.limits.journal_waiting, "unwritten shares are bounded");
        let batches = self.writes.values().filter(|made_for| **made_for == Written::Shares).count();
        assert!(batches <= 1, "one batch is written at a time");
        let overlap = self.closing.iter().find(|conn| self.sessions.contains_key(conn));
        assert!(overlap.is_none(), "a closing connection has no session: {overlap:?}");
        let found = self.found.len();
        assert!(found <= self.submitter.pending(), "who is waited for is being offered");
        for session in self.sessions.values() {
            let unflushed = session.unflushed_bytes();
            assert!(unflushed <= self.config.limits.outbox_bytes, "outboxes are bounded");
            assert!(session.has_work() <= session.is_ready(), "no job before the handshake");
        }
        let halts = self.actions.iter().filter(|action| matches!(action, Action::Halt(_))).count();
        assert!(halts <= 1 || self.stopping.is_some(), "it ends once");
    }
}
