//! What miners do: connect, speak, leave. What they submit is judged in `shares`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use tracing::info;

use super::Pool;
use super::action::{Action, CloseReason};
use super::event::ConnId;
use super::shares::as_given;
use crate::clock::Now;
use crate::config::PortId;
use crate::mining::job::JobId;
use crate::mining::script_sig::Extranonce1;
use crate::stratum::message::{self, RequestId};
use crate::stratum::reject::Reject;
use crate::stratum::session::{Demand, Entrance, Payment, Session};

impl Pool {
    pub(super) fn on_opened(&mut self, now: Now, conn: ConnId, peer: SocketAddr, port: PortId) {
        assert!(!self.sessions.contains_key(&conn), "a connection opens once");
        let limits = &self.config.limits;
        let address = household(peer.ip());
        let neighbours = self.addresses.get(&address).copied().unwrap_or(0);
        let crowded = neighbours >= limits.sessions_per_address && !address.is_loopback();
        let full = self.sessions.len() >= limits.sessions;
        let stopping = self.stopping.is_some();
        let lease = if full || stopping || crowded { None } else { self.leases.take() };
        let Some(extranonce1) = lease else {
            self.closing.insert(conn);
            let why = match (stopping, crowded) {
                (true, _) => CloseReason::Stopping,
                (false, true) => CloseReason::AddressFull,
                (false, false) => CloseReason::TooManyConnections,
            };
            self.actions.push_back(Action::Close { conn, why });
            return;
        };
        info!(%conn, %peer, "miner connected");
        *self.addresses.entry(address).or_default() += 1;
        let payment = self.config.miners.solo.map_or(Payment::Operator, |solo| Payment::Solo {
            network: self.config.network,
            fee_basis_points: solo.fee_basis_points,
        });
        let rules = self.config.port(port);
        let entrance = Entrance { rules, payment, address, now: now.mono };
        self.sessions.insert(conn, Box::new(Session::new(extranonce1, &entrance, limits)));
        self.look_again(conn);
    }

    pub(super) fn on_received(&mut self, now: Now, conn: ConnId, bytes: &[u8]) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        session.heard = now.mono;
        let mut lines = session.framing.push(bytes);
        while let Some(session) = self.sessions.get_mut(&conn) {
            let request = match lines.next_line() {
                Ok(Some(line)) => message::parse(line),
                Ok(None) => {
                    session.framing.keep(lines);
                    break;
                }
                Err(_) => return self.close(conn, CloseReason::LineTooLong),
            };
            let demand = session.admit(request);
            self.meet(now, conn, demand);
        }
        // After all that came at once is answered: what was suggested holds for the first job, and
        // no reply is kept waiting.
        self.bring_up_to_date(now.mono, conn);
        self.flush(conn);
        self.look_again(conn);
    }

    fn meet(&mut self, now: Now, conn: ConnId, demand: Demand<'_>) {
        match demand {
            Demand::Nothing => {}
            Demand::Resume { id, extranonce1 } => self.on_resume(conn, id, extranonce1),
            Demand::Authorized(worker) => {
                let agent = self.sessions.get(&conn).map_or("", |session| session.agent());
                let (worker, agent) = (shorten(&worker), shorten(agent));
                info!(%conn, ?worker, ?agent, "miner authorized");
            }
            Demand::NotAuthorized(why) => {
                info!(%conn, "worker not authorized: {why}");
                if let Some(session) = self.sessions.get_mut(&conn) {
                    session.say(&message::show_message(&why.to_string()));
                }
            }
            Demand::Transactions { id, job } => self.on_transactions(now, conn, id, job),
            Demand::Judge { id, worker, candidate, refuse } => {
                self.on_candidate(now, conn, id, &worker, &candidate, refuse);
            }
            Demand::Garbage => self.close(conn, CloseReason::Garbage),
        }
    }

    /// A miner that lost its connection wants its part of the search space back, so that what it
    /// found meanwhile still counts (cgminer hands that in for two minutes).
    fn on_resume(&mut self, conn: ConnId, id: RequestId<'_>, wanted: Extranonce1) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        // Only from where it was: an extranonce1 is no secret.
        let is_his = self.remains.get(&wanted).is_some_and(|left| left.address == session.address);
        if is_his
            && self.leases.take_back(wanted)
            && let Some(left) = self.remains.remove(&wanted)
        {
            self.leases.give_back(session.extranonce1, self.jobs.oldest());
            session.resume(wanted, left);
            info!(%conn, "miner goes on with its session");
        }
        session.subscribe(id);
    }

    fn on_transactions(&mut self, now: Now, conn: ConnId, id: RequestId<'_>, name: JobId) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        let Some((job, _)) = self.jobs.find(now.mono, name) else {
            return session.refuse(id, &Reject::JobNotFound);
        };
        let job = as_given(session, job, name);
        match message::transactions_result(&job, self.config.limits.outbox_bytes / 2) {
            Some(result) => session.answer(id, &result),
            None => session.refuse(id, &Reject::TooManyTransactions),
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
            self.end(conn, session);
        }
    }

    /// Closes a connection of ours; the peer's own `Closed` follows.
    pub(super) fn close(&mut self, conn: ConnId, why: CloseReason) {
        let Some(mut session) = self.sessions.remove(&conn) else { return };
        info!(%conn, "miner is cut off: {why}");
        if let Some(bytes) = session.take_outbox() {
            self.actions.push_back(Action::Send { conn, bytes });
        }
        self.end(conn, session);
        self.closing.insert(conn);
        self.actions.push_back(Action::Close { conn, why });
    }

    /// Lets go of everything that the session held, but for what a miner may come back for.
    fn end(&mut self, conn: ConnId, session: Box<Session>) {
        self.schedule.forget(conn);
        if let Some(count) = self.addresses.get_mut(&session.address) {
            *count -= 1;
            if *count == 0 {
                self.addresses.remove(&session.address);
            }
        }
        let extranonce1 = session.extranonce1;
        self.leases.give_back(extranonce1, self.jobs.next_sequence());
        if let Some(remains) = session.into_remains() {
            self.remains.insert(extranonce1, remains);
            if self.remains.len() > self.config.limits.sessions_kept {
                // Leases count up, so this is an old one.
                self.remains.pop_first();
            }
        }
    }

    /// Forgets what ended sessions left once nothing can be submitted on it any more.
    pub(super) fn forget_remains(&mut self) {
        let leases = &self.leases;
        self.remains.retain(|extranonce1, _| leases.cools(*extranonce1));
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

/// Whoever has one IPv6 address has all 2^64 beside it, and changes between them as he likes. An
/// IPv4 address is itself, in either spelling.
pub(crate) fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        plain @ (IpAddr::V4(_) | IpAddr::V6(_)) => plain,
    }
}

/// Names come from strangers: a log line takes so much of them and no more.
pub(super) fn shorten(name: &str) -> String {
    name.chars().take(80).collect()
}
