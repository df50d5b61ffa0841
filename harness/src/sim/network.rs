//! Byte streams between miners and server: latency, cuts, stalls, resets, and windows that fill.
//!
//! A stream keeps its order and nothing else: pieces are cut and joined at will, both ways. What
//! was sent leaves the server's machine when the window to the miner has room, so that a miner
//! that does not read fills the server's outbox. Not in here: who sends what.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};

use super::observe::Conn;
use super::queue::Micros;
use crate::plan::NetworkPlan;
use crate::plan::draw::draw;

/// Bytes on their way to a miner that has not read them, until the server's machine must wait.
const WINDOW_BYTES: usize = 16 * 1_024;
/// Bytes that one read of the server brings at most.
const READ_BYTES: usize = 16 * 1_024;
/// How long a closing connection may take over its last words.
const LAST_WORDS_US: u64 = 2_000_000;
/// Pieces that a trickle is cut into before the rest comes whole: time, not memory, is the point.
const TRICKLE_PIECES: usize = 64;

/// What the network does next.
#[derive(Clone, Debug)]
pub enum Move {
    /// A piece reaches the server.
    Up(Conn, Bytes),
    /// A piece reaches the miner.
    Down(Conn, Bytes),
    /// What stood still may run.
    Release(Conn, bool),
    /// So many bytes leave the server's machine.
    Flush(Conn, usize),
    /// The server learns that the connection is gone.
    ServerHears(Conn),
    /// The miner learns it.
    MinerHears(Conn),
}

/// One direction.
#[derive(Debug, Default)]
struct Way {
    /// What was cut off so far: the key of the next draw.
    pieces: u64,
    /// When the last piece arrives.
    last: Micros,
    stalled_until: Micros,
    /// Pieces until which each is one byte.
    trickle_until: Micros,
    /// Arrived while it stood still.
    held: BytesMut,
}

/// One connection.
#[expect(clippy::struct_excessive_bools, reason = "each is an end of it, or a habit")]
#[derive(Debug)]
pub struct Link {
    /// Whose, by number in the plan.
    pub miner: u64,
    /// Whether the server was told of it and not of its end.
    pub server_open: bool,
    /// Whether the miner holds it.
    pub miner_open: bool,
    /// The server wants it closed once all is out.
    closing: bool,
    /// Whether the miner reads.
    pub reads: bool,
    up: Way,
    down: Way,
    /// Sent, and still on the server's machine.
    outbox: VecDeque<Bytes>,
    /// Left the machine, not yet read.
    in_window: usize,
}

/// All connections.
#[derive(Debug)]
pub struct Network {
    seed: u64,
    plan: NetworkPlan,
    links: BTreeMap<Conn, Link>,
    next: Conn,
    moves: Vec<(Micros, Move)>,
}

impl Network {
    /// No connections yet.
    pub const fn new(seed: u64, plan: NetworkPlan) -> Self {
        Self { seed, plan, links: BTreeMap::new(), next: 0, moves: Vec::new() }
    }

    /// What was set in motion since the last call.
    pub fn take_moves(&mut self) -> Vec<(Micros, Move)> {
        core::mem::take(&mut self.moves)
    }

    /// One way's time for a piece.
    fn latency(&self, conn: Conn, up: bool, piece: u64) -> u64 {
        let key = (conn * 2 + u64::from(up), piece);
        self.plan.latency_us + draw(self.seed, "net.latency", key).below(self.plan.jitter_us + 1)
    }

    /// A miner connects, and the server is told at once.
    pub fn open(&mut self, miner: u64) -> Conn {
        let conn = self.next;
        self.next += 1;
        let link = Link {
            miner,
            server_open: true,
            miner_open: true,
            closing: false,
            reads: true,
            up: Way::default(),
            down: Way::default(),
            outbox: VecDeque::new(),
            in_window: 0,
        };
        self.links.insert(conn, link);
        conn
    }

    /// A connection that somebody still holds.
    pub fn link(&self, conn: Conn) -> Option<&Link> {
        self.links.get(&conn)
    }

    /// The same, to change its habits.
    pub fn link_mut(&mut self, conn: Conn) -> Option<&mut Link> {
        self.links.get_mut(&conn)
    }

    /// Every connection that somebody still holds.
    pub fn all(&self) -> Vec<Conn> {
        self.links.keys().copied().collect()
    }

    /// The miner sends.
    pub fn send_up(&mut self, now: Micros, conn: Conn, bytes: Bytes) {
        if self.links.get(&conn).is_some_and(|link| link.miner_open) {
            self.send(now, conn, true, bytes);
        }
    }

    fn send(&mut self, now: Micros, conn: Conn, up: bool, mut bytes: Bytes) {
        while !bytes.is_empty() {
            let Some(link) = self.links.get_mut(&conn) else { return };
            let way = if up { &mut link.up } else { &mut link.down };
            let piece = way.pieces;
            way.pieces += 1;
            let trickles = now < way.trickle_until && bytes.len() <= TRICKLE_PIECES * 8;
            let length = if trickles { 1 } else { self.cut(conn, up, piece, bytes.len()) };
            let part = bytes.split_to(length.min(bytes.len()).min(READ_BYTES));
            let arrives = now.after(self.latency(conn, up, piece));
            let Some(link) = self.links.get_mut(&conn) else { return };
            let way = if up { &mut link.up } else { &mut link.down };
            way.last = way.last.max(arrives);
            let arrival = if up { Move::Up(conn, part) } else { Move::Down(conn, part) };
            self.moves.push((way.last, arrival));
        }
    }

    /// How much of `length` bytes goes into one piece.
    fn cut(&self, conn: Conn, up: bool, piece: u64, length: usize) -> usize {
        let mut draw = draw(self.seed, "net.cut", (conn * 2 + u64::from(up), piece));
        if length < 2 || !draw.chance(self.plan.cuts) {
            return length;
        }
        let place = draw.between(1, length as u64 - 1);
        usize::try_from(place).unwrap_or(length)
    }

    /// A piece arrives; what may be read now comes back.
    pub fn arrive(&mut self, now: Micros, conn: Conn, up: bool, bytes: Bytes) -> Option<Bytes> {
        let link = self.links.get_mut(&conn)?;
        let way = if up { &mut link.up } else { &mut link.down };
        if way.stalled_until <= now && way.held.is_empty() {
            return Some(bytes);
        }
        if way.held.is_empty() {
            self.moves.push((way.stalled_until, Move::Release(conn, up)));
        }
        way.held.extend_from_slice(&bytes);
        None
    }

    /// What stood still runs again, joined.
    pub fn release(&mut self, now: Micros, conn: Conn, up: bool) -> Option<Bytes> {
        let link = self.links.get_mut(&conn)?;
        let way = if up { &mut link.up } else { &mut link.down };
        if way.stalled_until > now {
            self.moves.push((way.stalled_until, Move::Release(conn, up)));
            return None;
        }
        let length = if up { way.held.len().min(READ_BYTES) } else { way.held.len() };
        let bytes = way.held.split_to(length).freeze();
        if !way.held.is_empty() {
            self.moves.push((now, Move::Release(conn, up)));
        }
        (!bytes.is_empty()).then_some(bytes)
    }

    /// The server sends.
    pub fn send_down(&mut self, now: Micros, conn: Conn, bytes: Bytes) {
        if let Some(link) = self.links.get_mut(&conn) {
            link.outbox.push_back(bytes);
            self.pump(now, conn);
        }
    }

    /// The miner read so much.
    pub fn consumed(&mut self, now: Micros, conn: Conn, length: usize) {
        if let Some(link) = self.links.get_mut(&conn) {
            link.in_window = link.in_window.saturating_sub(length);
            self.pump(now, conn);
        }
    }

    fn pump(&mut self, now: Micros, conn: Conn) {
        loop {
            let Some(link) = self.links.get_mut(&conn) else { return };
            let room = WINDOW_BYTES - link.in_window.min(WINDOW_BYTES);
            let Some(front) = link.outbox.front_mut().filter(|_| room > 0) else { break };
            let part = front.split_to(front.len().min(room));
            if front.is_empty() {
                link.outbox.pop_front();
            }
            link.in_window += part.len();
            if link.server_open && !link.closing {
                self.moves.push((now, Move::Flush(conn, part.len())));
            }
            if link.miner_open {
                self.send(now, conn, false, part);
            }
        }
        if self.links.get(&conn).is_some_and(|link| link.closing && link.outbox.is_empty()) {
            self.part(now, conn);
        }
    }

    /// The server closes: what it sent goes out first, for a moment.
    pub fn close(&mut self, now: Micros, conn: Conn) {
        if let Some(link) = self.links.get_mut(&conn) {
            link.closing = true;
            self.moves.push((now.after(LAST_WORDS_US), Move::ServerHears(conn)));
            self.pump(now, conn);
        }
    }

    /// The last words are out: both ends hear of it.
    fn part(&mut self, now: Micros, conn: Conn) {
        let latency = self.latency(conn, false, u64::MAX);
        if let Some(link) = self.links.get_mut(&conn) {
            let last = link.down.last.max(link.down.stalled_until).max(now);
            self.moves.push((now, Move::ServerHears(conn)));
            self.moves.push((last.after(latency), Move::MinerHears(conn)));
        }
    }

    /// The miner's end breaks, and with it all that was under way.
    pub fn reset(&mut self, now: Micros, conn: Conn) {
        let latency = self.latency(conn, true, u64::MAX);
        if let Some(link) = self.links.get_mut(&conn) {
            link.miner_open = false;
            self.moves.push((now.after(latency), Move::ServerHears(conn)));
            self.forget_when_over(conn);
        }
    }

    /// The miner closes its sending half: what it sent before still arrives.
    pub fn half_close(&mut self, now: Micros, conn: Conn) {
        let latency = self.latency(conn, true, u64::MAX - 1);
        if let Some(link) = self.links.get_mut(&conn) {
            let last = link.up.last.max(link.up.stalled_until).max(now);
            self.moves.push((last.after(latency), Move::ServerHears(conn)));
            self.moves.push((last.after(2 * latency), Move::MinerHears(conn)));
        }
    }

    /// The server hears that a connection is gone; true the first time.
    pub fn server_hears(&mut self, now: Micros, conn: Conn) -> bool {
        let Some(link) = self.links.get_mut(&conn).filter(|link| link.server_open) else {
            return false;
        };
        link.server_open = false;
        link.outbox.clear();
        let last = link.down.last.max(link.down.stalled_until).max(now);
        self.moves.push((last.after(1), Move::MinerHears(conn)));
        self.forget_when_over(conn);
        true
    }

    /// The miner hears that a connection is gone; true the first time.
    pub fn miner_hears(&mut self, conn: Conn) -> bool {
        let Some(link) = self.links.get_mut(&conn).filter(|link| link.miner_open) else {
            return false;
        };
        link.miner_open = false;
        self.forget_when_over(conn);
        true
    }

    fn forget_when_over(&mut self, conn: Conn) {
        if self.links.get(&conn).is_some_and(|link| !link.server_open && !link.miner_open) {
            self.links.remove(&conn);
        }
    }

    /// The server is dead: its ends are gone, and the miners hear of it.
    pub fn server_dies(&mut self, now: Micros) {
        for conn in self.all() {
            self.server_hears(now, conn);
        }
    }

    /// Lets a direction of a connection stand still.
    pub fn stall(&mut self, conn: Conn, up: bool, until: Micros) {
        if let Some(link) = self.links.get_mut(&conn) {
            let way = if up { &mut link.up } else { &mut link.down };
            way.stalled_until = way.stalled_until.max(until);
        }
    }

    /// Lets the miner's bytes arrive one by one.
    pub fn trickle(&mut self, conn: Conn, until: Micros) {
        if let Some(link) = self.links.get_mut(&conn) {
            link.up.trickle_until = until;
            link.down.trickle_until = until;
        }
    }

    /// From now on all is well: nothing stands still, nothing is cut.
    pub fn heal(&mut self, now: Micros) {
        self.plan.jitter_us = 0;
        self.plan.cuts = 0;
        for (conn, link) in &mut self.links {
            for (up, way) in [(true, &mut link.up), (false, &mut link.down)] {
                way.stalled_until = now;
                way.trickle_until = now;
                if !way.held.is_empty() {
                    self.moves.push((now, Move::Release(*conn, up)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::queue::Queue;
    use super::*;

    fn network(cuts: u64, jitter_us: u64) -> Network {
        let plan = NetworkPlan { latency_us: 10, jitter_us, cuts, call_us: 1, call_jitter_us: 0 };
        Network::new(1, plan)
    }

    /// Plays all moves and returns what the two ends read.
    fn play(network: &mut Network, until: Micros) -> (Vec<u8>, Vec<u8>, usize) {
        let (mut up, mut down, mut flushed) = (Vec::new(), Vec::new(), 0);
        let mut queue = Queue::default();
        loop {
            network.take_moves().into_iter().for_each(|(when, next)| queue.put(when, next));
            let Some((now, next)) = queue.take(until) else { return (up, down, flushed) };
            match next {
                Move::Up(conn, bytes) => {
                    up.extend(network.arrive(now, conn, true, bytes).unwrap_or_default());
                }
                Move::Down(conn, bytes) => {
                    if let Some(bytes) = network.arrive(now, conn, false, bytes) {
                        network.consumed(now, conn, bytes.len());
                        down.extend(bytes);
                    }
                }
                Move::Release(conn, true) => {
                    up.extend(network.release(now, conn, true).unwrap_or_default());
                }
                Move::Release(conn, false) => {
                    let bytes = network.release(now, conn, false).unwrap_or_default();
                    network.consumed(now, conn, bytes.len());
                    down.extend(bytes);
                }
                Move::Flush(_, length) => flushed += length,
                Move::ServerHears(conn) => {
                    network.server_hears(now, conn);
                }
                Move::MinerHears(conn) => {
                    network.miner_hears(conn);
                }
            }
        }
    }

    #[test]
    fn order_is_kept_whatever_happens_to_the_pieces() {
        let mut network = network(700, 5_000);
        let conn = network.open(0);
        network.stall(conn, true, Micros(9_000));
        network.trickle(conn, Micros(3));
        let said: Vec<u8> = (0..=255).cycle().take(40_000).collect();
        for (place, part) in said.chunks(777).enumerate() {
            network.send_up(Micros(place as u64), conn, Bytes::copy_from_slice(part));
            network.send_down(Micros(place as u64), conn, Bytes::copy_from_slice(part));
        }
        let (up, down, flushed) = play(&mut network, Micros(u64::MAX));
        assert!(up == said && down == said && flushed == said.len());
    }

    #[test]
    fn who_does_not_read_fills_the_window_and_no_more() {
        let mut network = network(0, 0);
        let conn = network.open(0);
        for _ in 0..10 {
            network.send_down(Micros(0), conn, Bytes::from(vec![7; 10_000]));
        }
        let flushed: usize = network
            .take_moves()
            .into_iter()
            .filter_map(
                |(_, next)| if let Move::Flush(_, length) = next { Some(length) } else { None },
            )
            .sum();
        assert_eq!(flushed, WINDOW_BYTES);
    }

    #[test]
    fn last_words_are_heard_and_then_the_end() {
        let mut network = network(0, 0);
        let conn = network.open(0);
        network.send_down(Micros(0), conn, Bytes::from_static(b"bye"));
        network.close(Micros(0), conn);
        let (_, down, _) = play(&mut network, Micros(u64::MAX));
        assert_eq!(down, b"bye");
        assert!(network.link(conn).is_none());
    }
}
