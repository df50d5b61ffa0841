//! Where miners are received for several engines: one place accepts, and each engine has a desk.
//!
//! A socket belongs to the thread that waits for it, so it goes to its engine's before anything but
//! a proxy's header is read, and TLS is spoken there.

use std::future::{pending, poll_fn};
use std::io;
use std::net::{self, SocketAddr};
use std::task::Poll;

use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use super::doors::Doors;
use super::listener::{Listener, Visitor};
use super::spread::{Seat, Spread};
use super::welcome::{Guest, Handshakes, MinerIo};
use crate::config::{Limits, PortId};

/// Connections on their way to an engine; then the next wait to be accepted.
const ARRIVALS: usize = 1_024;

/// A connection between two threads: no runtime's.
struct Arrival {
    io: net::TcpStream,
    peer: SocketAddr,
    port: PortId,
    tls: Option<TlsAcceptor>,
    seat: Seat,
}

/// What a desk is told: who comes, or that nobody can be let in.
type Told = io::Result<Arrival>;

/// Where an engine lets its miners in.
pub(super) struct Desk {
    arrivals: mpsc::Receiver<Told>,
    /// Until this engine wants miners.
    opens: Option<mpsc::Sender<()>>,
    handshakes: Handshakes,
}

/// The other side of all desks.
pub(super) struct Reception {
    desks: Vec<mpsc::Sender<Told>>,
    opened: mpsc::Receiver<()>,
}

/// So many desks, and where they are served from.
pub(super) fn desks(count: usize) -> (Vec<Desk>, Reception) {
    let (opens, opened) = mpsc::channel(count);
    let desk = |_| {
        let (desk, arrivals) = mpsc::channel(ARRIVALS);
        let opens = Some(opens.clone());
        (Desk { arrivals, opens, handshakes: Handshakes::default() }, desk)
    };
    let (of_engines, desks) = (0..count).map(desk).unzip();
    (of_engines, Reception { desks, opened })
}

impl Reception {
    /// Once every engine has work, lets miners in at `doors` and gives each to an engine.
    pub(super) async fn receive(mut self, mut doors: Doors, limits: Limits) {
        for _ in &self.desks {
            if self.opened.recv().await.is_none() {
                // An engine ended before it had work, and with it the server does.
                return;
            }
        }
        let mut spread = Spread::over(self.desks.len(), &limits);
        loop {
            let guest = match doors.guest().await {
                Ok(guest) => guest,
                Err(error) => return self.turn_away(&error).await,
            };
            let peer = guest.peer;
            let (place, seat) = match spread.seat(peer.ip()) {
                Ok(found) => found,
                Err(why) => {
                    info!(%peer, "miner is cut off: {why}");
                    continue;
                }
            };
            match leave(guest, seat) {
                // An engine that ended ends the server.
                Ok(arrival) => self.desks[place].send(Ok(arrival)).await.unwrap_or_default(),
                Err(error) => warn!(%peer, "a miner could not be let in: {error}"),
            }
        }
    }

    /// The doors cannot be opened, of which each engine says why.
    async fn turn_away(&self, error: &io::Error) {
        for desk in &self.desks {
            let told = Err(io::Error::new(error.kind(), error.to_string()));
            desk.send(told).await.unwrap_or_default();
        }
    }
}

fn leave(guest: Guest, seat: Seat) -> io::Result<Arrival> {
    let Guest { io, peer, port, tls, seat: _ } = guest;
    Ok(Arrival { io: io.into_std()?, peer, port, tls, seat })
}

fn arrive(arrival: Arrival) -> io::Result<Guest> {
    let Arrival { io, peer, port, tls, seat } = arrival;
    Ok(Guest { io: TcpStream::from_std(io)?, peer, port, tls, seat: Some(seat) })
}

impl Listener for Desk {
    type Io = MinerIo;

    async fn accept(&mut self) -> io::Result<Visitor<MinerIo>> {
        if let Some(opens) = self.opens.take() {
            opens.send(()).await.unwrap_or_default();
        }
        loop {
            let next = poll_fn(|context| match self.handshakes.poll(context) {
                Poll::Ready(visitor) => Poll::Ready(Ok(visitor)),
                Poll::Pending => self.arrivals.poll_recv(context).map(Err),
            });
            match next.await {
                Ok(visitor) => return Ok(visitor),
                // The server ends, and does not need another reason.
                Err(None) => pending().await,
                Err(Some(told)) => match arrive(told?) {
                    Ok(guest) => {
                        if let Some(visitor) = self.handshakes.welcome(guest) {
                            return Ok(visitor);
                        }
                    }
                    Err(error) => warn!("a miner could not be let in: {error}"),
                },
            }
        }
    }
}
