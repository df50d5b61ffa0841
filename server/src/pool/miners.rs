//! What miners do: connect, speak, leave. What they submit is judged in `shares`.

use std::net::SocketAddr;

use tracing::info;

use super::Pool;
use super::action::{Action, CloseReason};
use super::event::ConnId;
use crate::clock::Now;
use crate::stratum::message;
use crate::stratum::session::{Demand, Session};

impl Pool {
    pub(super) fn on_opened(&mut self, conn: ConnId, peer: SocketAddr) {
        assert!(!self.sessions.contains_key(&conn), "a connection opens once");
        let full = self.sessions.len() >= self.config.limits.sessions;
        let stopping = self.stopping.is_some();
        let lease = if full || stopping { None } else { self.leases.take() };
        let Some(extranonce1) = lease else {
            self.closing.insert(conn);
            let why =
                if stopping { CloseReason::Stopping } else { CloseReason::TooManyConnections };
            self.actions.push_back(Action::Close { conn, why });
            return;
        };
        info!(%conn, %peer, "miner connected");
        self.sessions.insert(conn, Session::new(extranonce1, &self.config.limits));
    }

    pub(super) fn on_received(&mut self, now: Now, conn: ConnId, bytes: &[u8]) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        session.framing.push(bytes);
        while let Some(session) = self.sessions.get_mut(&conn) {
            let request = match session.framing.next_line() {
                Ok(Some(line)) => message::parse(&line),
                Ok(None) => break,
                Err(_) => return self.close(conn, CloseReason::LineTooLong),
            };
            let was_ready = session.is_ready();
            match session.admit(request) {
                Demand::Nothing => {}
                Demand::Authorized(worker) => {
                    let (worker, agent) = (shorten(&worker), shorten(session.agent()));
                    info!(%conn, ?worker, ?agent, "miner authorized");
                }
                Demand::Judge { id, candidate, refuse } => {
                    self.on_candidate(now, conn, id, &candidate, refuse);
                }
                Demand::Garbage => return self.close(conn, CloseReason::Garbage),
            }
            if !was_ready {
                self.send_first_job(conn);
            }
        }
        self.flush(conn);
    }

    pub(super) fn on_flushed(&mut self, conn: ConnId, length: usize) {
        if let Some(session) = self.sessions.get_mut(&conn) {
            session.flushed(length);
        }
    }

    pub(super) fn on_closed(&mut self, conn: ConnId) {
        let was_closing = self.closing.remove(&conn);
        let session = self.sessions.remove(&conn);
        assert!(was_closing != session.is_some(), "a connection closes once, after it opened");
        if let Some(session) = session {
            info!(%conn, "miner left");
            self.end_lease(&session);
        }
    }

    /// Closes a connection of ours; the peer's own `Closed` follows.
    pub(super) fn close(&mut self, conn: ConnId, why: CloseReason) {
        let Some(mut session) = self.sessions.remove(&conn) else { return };
        info!(%conn, "miner is cut off: {why}");
        if let Some(bytes) = session.take_outbox() {
            self.actions.push_back(Action::Send { conn, bytes });
        }
        self.end_lease(&session);
        self.closing.insert(conn);
        self.actions.push_back(Action::Close { conn, why });
    }

    fn end_lease(&mut self, session: &Session) {
        self.leases.give_back(session.extranonce1, self.jobs.next_sequence());
    }

    /// Sends what waits for `conn`, and cuts it off when it does not read.
    pub(super) fn flush(&mut self, conn: ConnId) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        if let Some(bytes) = session.take_outbox() {
            self.actions.push_back(Action::Send { conn, bytes });
        }
        if session.unflushed_bytes() > self.config.limits.outbox_bytes {
            self.close(conn, CloseReason::SlowReader);
        } else if session.owed() > self.config.limits.replies_parked {
            self.close(conn, CloseReason::TooManyReplies);
        }
    }
}

/// Names come from strangers: a log line takes so much of them and no more.
fn shorten(name: &str) -> String {
    name.chars().take(80).collect()
}
