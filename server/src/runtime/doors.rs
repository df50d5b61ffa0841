//! All ports that miners come through, as one door.
//!
//! A plain port lets its miners in at once. Where a proxy says who the miner is, or TLS is spoken,
//! each connection has a greeting of its own first (`greeting`), so that nobody waits for another.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;
use tracing::debug;

use super::greeting;
use super::listener::{Listener, TcpDoor, Visitor, be_prompt, not_let_in};
use super::tls::Tls;
use crate::config::PortId;

/// Connections that are being greeted at a time; then the next wait to be accepted.
const GREETINGS_MAX: usize = 1_024;

/// A miner's byte stream, whatever it is wrapped in.
#[derive(Debug)]
pub enum MinerIo {
    /// As it is.
    Plain(TcpStream),
    /// In TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// All ports, the first one first.
#[derive(Debug, Default)]
pub struct Doors {
    ports: Vec<Door>,
    greetings: JoinSet<io::Result<Visitor<MinerIo>>>,
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
    Came(TcpStream, SocketAddr, PortId),
    Greeted(Visitor<MinerIo>),
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

    fn poll_knock(&mut self, context: &mut Context<'_>) -> Poll<Knock> {
        while let Poll::Ready(Some(greeted)) = self.greetings.poll_join_next(context) {
            match greeted.unwrap_or_else(|error| Err(io::Error::other(error))) {
                Ok(visitor) => return Poll::Ready(Knock::Greeted(visitor)),
                Err(error) => debug!("a greeting failed: {error}"),
            }
        }
        if self.greetings.len() >= GREETINGS_MAX {
            return Poll::Pending;
        }
        let count = self.ports.len();
        for step in 0..count {
            let place = (self.turn + step) % count;
            let knock = match self.ports[place].tcp.listen() {
                Ok(listener) => listener.poll_accept(context),
                Err(error) => Poll::Ready(Err(error)),
            };
            if let Poll::Ready(knock) = knock {
                self.turn = place + 1;
                return Poll::Ready(match knock {
                    Ok((stream, peer)) => Knock::Came(stream, peer, PortId(place)),
                    Err(error) => Knock::Failed(error),
                });
            }
        }
        Poll::Pending
    }

    /// Greets whoever must be; the answer is who need not.
    fn greet(&mut self, io: TcpStream, peer: SocketAddr, port: PortId) -> Option<Visitor<MinerIo>> {
        let door = &mut self.ports[port.0];
        let by_proxy = door.proxies.contains(&peer.ip().to_canonical());
        let acceptor = door.tls.as_mut().map(Tls::acceptor);
        if !by_proxy && acceptor.is_none() {
            return Some((MinerIo::Plain(io), peer, port));
        }
        self.greetings.spawn(async move {
            let (io, peer) = greeting::greet(io, peer, by_proxy, acceptor).await?;
            Ok((io, peer, port))
        });
        None
    }
}

impl Listener for Doors {
    type Io = MinerIo;

    async fn accept(&mut self) -> io::Result<Visitor<MinerIo>> {
        for door in &mut self.ports {
            door.tcp.listen()?;
        }
        loop {
            match core::future::poll_fn(|context| self.poll_knock(context)).await {
                Knock::Came(stream, peer, port) => {
                    be_prompt(&stream, peer);
                    if let Some(visitor) = self.greet(stream, peer, port) {
                        return Ok(visitor);
                    }
                }
                Knock::Greeted(visitor) => return Ok(visitor),
                Knock::Failed(error) => not_let_in(&error).await,
            }
        }
    }
}

impl AsyncRead for MinerIo {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_read(context, buffer),
            Self::Tls(io) => Pin::new(io).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for MinerIo {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_write(context, bytes),
            Self::Tls(io) => Pin::new(io).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_flush(context),
            Self::Tls(io) => Pin::new(io).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_shutdown(context),
            Self::Tls(io) => Pin::new(io).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests;
