//! The miners' part of the simulation: connecting, speaking, leaving, and the wires between.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;
use server::config::PortId;
use server::pool::event::{ConnId, Event as PoolEvent};

use super::{Event, Simulation};
use crate::plan::Habit;
use crate::plan::draw::draw;
use crate::sim::miner::{SimMiner, Wish};
use crate::sim::network::Move;
use crate::sim::observe::{Conn, Observation, Phase};
use crate::sim::queue::Micros;

/// Until a miner tries again, in milliseconds, at least and at most.
const AGAIN_MS: (u64, u64) = (100, 6_000);
/// The same when nothing goes wrong any more.
const AGAIN_QUIET_MS: u64 = 500;

impl Simulation<'_> {
    /// A miner tries to connect.
    pub(super) fn join(&mut self, id: u64) {
        let Some(miner) = self.miners.get(&id) else { return };
        let deaf = miner.plan.habit == Habit::Deaf && !miner.tame;
        if miner.conn.is_some() || self.phase == Phase::Drain {
            return;
        }
        let shut = self.now < self.partition_until && self.phase == Phase::Safety;
        if !self.host.is_listening() || shut {
            return self.join_again(id);
        }
        if self.waits(&Event::Join(id)) {
            return;
        }
        let conn = self.network.open(id);
        if let Some(link) = self.network.link_mut(conn) {
            link.reads = !deaf;
        }
        let peer = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 1);
        let seen = Observation::Opened { conn, miner: id };
        self.deliver(
            &seen,
            PoolEvent::Opened { conn: ConnId(conn), peer, port: PortId::default() },
        );
        let now = self.now;
        self.with_miner(id, |miner| miner.connected(now, conn));
    }

    fn join_again(&mut self, id: u64) {
        let connects = self.miners.get(&id).map_or(0, |miner| miner.connects);
        let key = (id, connects ^ self.now.0);
        let (least, most) = AGAIN_MS;
        let quiet = self.phase != Phase::Safety;
        let ms = draw(self.plan.seed, "miner.again", key).scaled(least, most);
        let ms = if quiet { ms.min(AGAIN_QUIET_MS) } else { ms };
        self.queue.put(self.later(ms), Event::Join(id));
    }

    /// Lets a miner do something, then does what it wishes.
    pub(super) fn with_miner(&mut self, id: u64, act: impl FnOnce(&mut SimMiner)) {
        let Some(miner) = self.miners.get_mut(&id) else { return };
        act(miner);
        let conn = miner.conn;
        for wish in miner.take_wishes() {
            match (wish, conn) {
                (Wish::Send(bytes), Some(conn)) => self.network.send_up(self.now, conn, bytes),
                (Wish::Search(when, number), _) => self.queue.put(when, Event::Search(id, number)),
                (Wish::SendLater(when, conn, bytes), _) => {
                    self.queue.put(when, Event::SendLater(id, conn, bytes));
                }
                (Wish::Leave, Some(conn)) => self.leave(id, conn),
                (Wish::Complain(what), _) => self.see(&Observation::Complaint { miner: id, what }),
                (Wish::Send(_) | Wish::Leave, None) => {}
            }
        }
    }

    pub(super) fn send_later(&mut self, id: u64, conn: Conn, bytes: Bytes) {
        if self.miners.get(&id).is_some_and(|miner| miner.conn == Some(conn)) {
            self.network.send_up(self.now, conn, bytes);
        }
    }

    /// A miner's connection breaks, by its own will or not; it comes back.
    pub(super) fn leave(&mut self, id: u64, conn: Conn) {
        self.network.reset(self.now, conn);
        self.gone(id, conn);
    }

    fn gone(&mut self, id: u64, conn: Conn) {
        if let Some(miner) = self.miners.get_mut(&id)
            && miner.conn == Some(conn)
        {
            miner.disconnected();
            self.join_again(id);
        }
    }

    pub(super) fn network_moves(&mut self, next: Move) {
        match next {
            Move::Up(conn, bytes) => {
                if self.waits(&Event::Net(Move::Up(conn, bytes.clone()))) {
                    return;
                }
                let bytes = self.network.arrive(self.now, conn, true, bytes);
                self.received(conn, bytes);
            }
            Move::Release(conn, true) => {
                if self.waits(&Event::Net(Move::Release(conn, true))) {
                    return;
                }
                let bytes = self.network.release(self.now, conn, true);
                self.received(conn, bytes);
            }
            Move::Down(conn, bytes) => {
                let bytes = self.network.arrive(self.now, conn, false, bytes);
                self.heard(conn, bytes);
            }
            Move::Release(conn, false) => {
                let bytes = self.network.release(self.now, conn, false);
                self.heard(conn, bytes);
            }
            Move::Flush(conn, length) => self.flushed(conn, length),
            Move::ServerHears(conn) => self.server_hears(conn),
            Move::MinerHears(conn) => {
                let Some(id) = self.network.link(conn).map(|link| link.miner) else { return };
                if self.network.miner_hears(conn) {
                    self.gone(id, conn);
                }
            }
        }
    }

    fn received(&mut self, conn: Conn, bytes: Option<Bytes>) {
        let open = self.network.link(conn).is_some_and(|link| link.server_open);
        if let Some(bytes) = bytes.filter(|_| open) {
            let seen = Observation::Received { conn, bytes: bytes.clone() };
            self.deliver(&seen, PoolEvent::Received { conn: ConnId(conn), bytes });
        }
    }

    fn flushed(&mut self, conn: Conn, length: usize) {
        if self.waits(&Event::Net(Move::Flush(conn, length))) {
            return;
        }
        if self.network.link(conn).is_some_and(|link| link.server_open) {
            let seen = Observation::Flushed { conn, length };
            self.deliver(&seen, PoolEvent::Flushed { conn: ConnId(conn), length });
        }
    }

    fn server_hears(&mut self, conn: Conn) {
        if self.waits(&Event::Net(Move::ServerHears(conn))) {
            return;
        }
        if self.network.server_hears(self.now, conn) {
            let seen = Observation::Closed { conn };
            self.deliver(&seen, PoolEvent::Closed { conn: ConnId(conn) });
        }
    }

    fn heard(&mut self, conn: Conn, bytes: Option<Bytes>) {
        let Some(bytes) = bytes else { return };
        let link = self.network.link(conn).filter(|link| link.miner_open);
        let Some((id, reads)) = link.map(|link| (link.miner, link.reads)) else { return };
        if !reads {
            return;
        }
        self.network.consumed(self.now, conn, bytes.len());
        let now = self.now;
        self.with_miner(id, |miner| {
            if miner.conn == Some(conn) {
                miner.receive(now, &bytes);
            }
        });
        self.gossip(id);
    }

    /// Miners that submit for foreign jobs have to know some.
    fn gossip(&mut self, id: u64) {
        let Some(job) = self.miners.get(&id).and_then(|miner| miner.job.clone()) else { return };
        for miner in self.miners.values_mut() {
            if miner.plan.habit == Habit::Foreign && miner.plan.id != id {
                miner.overheard = Some(job.clone());
            }
        }
    }

    /// Whoever was odd is honest from now on, or leaves for good.
    pub(super) fn tame_miners(&mut self) {
        let ids: Vec<u64> = self.miners.keys().copied().collect();
        for id in ids {
            let Some(miner) = self.miners.get_mut(&id) else { continue };
            miner.tame = true;
            let served = miner.plan.habit.is_served();
            if !served && let Some(conn) = miner.conn {
                // It begins anew, and behaves.
                self.leave(id, conn);
            }
        }
    }

    /// The run is over for them.
    pub(super) fn everybody_leaves(&mut self) {
        for conn in self.network.all() {
            let Some(id) = self.network.link(conn).map(|link| link.miner) else { continue };
            self.network.reset(self.now, conn);
            if let Some(miner) = self.miners.get_mut(&id) {
                miner.disconnected();
            }
        }
    }

    /// All connections that a miner holds, with whose they are.
    pub(super) fn held(&self) -> Vec<(u64, Conn)> {
        self.miners.values().filter_map(|miner| Some((miner.plan.id, miner.conn?))).collect()
    }

    /// Lets both directions of a connection stand still.
    pub(super) fn freeze(&mut self, conn: Conn, until: Micros) {
        self.network.stall(conn, true, until);
        self.network.stall(conn, false, until);
    }
}
