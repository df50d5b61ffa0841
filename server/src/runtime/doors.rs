//! All ports that miners come through, as one door.
//!
//! A plain port lets its miners in at once. Where a proxy says who the miner is, or TLS is spoken,
//! each connection has a greeting of its own first (`greeting`, `welcome`), so that nobody waits
//! for another.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tracing::debug;

use super::greeting;
use super::listener::{Listener, TcpDoor, Visitor, be_prompt, not_let_in};
use super::tls::Tls;
use super::welcome::{Guest, Handshakes, MinerIo};
use crate::config::PortId;

/// Connections that are being greeted at a time; then the next wait to be accepted.
const GREETINGS_MAX: usize = 1_024;

/// All ports, the first one first.
#[derive(Debug, Default)]
pub struct Doors {
    ports: Vec<Door>,
    /// Those whose proxy has not said yet who they are.
    unknown: JoinSet<io::Result<Guest>>,
    handshakes: Handshakes,
    /// Who is asked first: each in turn, so that a busy port does not keep out the others.
    turn: usize,
}

#[derive(Debug)]
struct Door {
    tcp: TcpDoor,
    /// Who must say where a miner really is.
    proxies: Vec<IpAddr>,
    tls: Option<Tls>,
}

/// What happened at the doors.
enum Knock {
    Greeted(Visitor<MinerIo>),
    Came(Guest),
    Failed(io::Error),
}

impl Doors {
    /// Adds a port. Only `proxies` may, and must, begin with a PROXY header.
    pub fn add(&mut self, tcp: TcpDoor, proxies: &[IpAddr], tls: Option<Tls>) {
        self.ports.push(Door { tcp, proxies: proxies.to_vec(), tls });
    }

    /// The first port's address.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.addresses().next().unwrap_or_else(|| Err(io::ErrorKind::NotConnected.into()))
    }

    /// The address of each port, in their order.
    pub fn addresses(&self) -> impl Iterator<Item = io::Result<SocketAddr>> {
        self.ports.iter().map(|door| door.tcp.address())
    }

    /// The next connection as it came, for an engine elsewhere: TLS is not spoken yet. The first
    /// call is what opens the doors; an error says that they cannot be.
    pub(super) async fn guest(&mut self) -> io::Result<Guest> {
        self.open()?;
        loop {
            match poll_fn(|context| self.poll_guest(context)).await {
                Ok(guest) => return Ok(guest),
                Err(error) => not_let_in(&error).await,
            }
        }
    }

    fn open(&mut self) -> io::Result<()> {
        self.ports.iter_mut().try_for_each(|door| door.tcp.listen().map(drop))
    }

    fn poll_guest(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Guest>> {
        loop {
            while let Poll::Ready(Some(known)) = self.unknown.poll_join_next(context) {
                match known.unwrap_or_else(|error| Err(io::Error::other(error))) {
                    Ok(guest) => return Poll::Ready(Ok(guest)),
                    Err(error) => debug!("a greeting failed: {error}"),
                }
            }
            if self.unknown.len() + self.handshakes.len() >= GREETINGS_MAX {
                return Poll::Pending;
            }
            match self.poll_accept(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok((io, peer, port))) => {
                    be_prompt(&io, peer);
                    if let Some(guest) = self.meet(io, peer, port) {
                        return Poll::Ready(Ok(guest));
                    }
                }
            }
        }
    }

    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Visitor<TcpStream>>> {
        let count = self.ports.len();
        for step in 0..count {
            let place = (self.turn + step) % count;
            let knock = match self.ports[place].tcp.listen() {
                Ok(listener) => listener.poll_accept(context),
                Err(error) => Poll::Ready(Err(error)),
            };
            if let Poll::Ready(knock) = knock {
                self.turn = place + 1;
                return Poll::Ready(knock.map(|(io, peer)| (io, peer, PortId(place))));
            }
        }
        Poll::Pending
    }

    /// Whoever came, unless a proxy has to say first who that is.
    fn meet(&mut self, io: TcpStream, peer: SocketAddr, port: PortId) -> Option<Guest> {
        let door = &mut self.ports[port.0];
        let by_proxy = door.proxies.contains(&peer.ip().to_canonical());
        let tls = door.tls.as_mut().map(Tls::acceptor);
        let guest = Guest { io, peer, port, tls, seat: None };
        if !by_proxy {
            return Some(guest);
        }
        self.unknown.spawn(async move {
            let Guest { mut io, peer, port, tls, seat } = guest;
            let said = greeting::hear_proxy(&mut io).await?;
            Ok(Guest { io, peer: said.unwrap_or(peer), port, tls, seat })
        });
        None
    }

    fn poll_knock(&mut self, context: &mut Context<'_>) -> Poll<Knock> {
        if let Poll::Ready(visitor) = self.handshakes.poll(context) {
            return Poll::Ready(Knock::Greeted(visitor));
        }
        self.poll_guest(context).map(|came| came.map_or_else(Knock::Failed, Knock::Came))
    }
}

impl Listener for Doors {
    type Io = MinerIo;

    async fn accept(&mut self) -> io::Result<Visitor<MinerIo>> {
        self.open()?;
        loop {
            match poll_fn(|context| self.poll_knock(context)).await {
                Knock::Greeted(visitor) => return Ok(visitor),
                Knock::Came(guest) => {
                    if let Some(visitor) = self.handshakes.welcome(guest) {
                        return Ok(visitor);
                    }
                }
                Knock::Failed(error) => not_let_in(&error).await,
            }
        }
    }
}

#[cfg(test)]
mod tests;
