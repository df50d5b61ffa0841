//! From an accepted socket to a miner's byte stream: TLS is spoken here, where a port has it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::debug;

use super::greeting;
use super::listener::Visitor;
use super::spread::Seat;
use crate::config::PortId;

/// Somebody who came in. If a proxy is to say who it is, it has.
pub(super) struct Guest {
    pub(super) io: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) port: PortId,
    /// What TLS is spoken with; none where it is not.
    pub(super) tls: Option<TlsAcceptor>,
    /// His place among those of several engines.
    pub(super) seat: Option<Seat>,
}

/// A miner's byte stream, whatever it is wrapped in.
#[derive(Debug)]
pub struct MinerIo {
    wire: Wire,
    /// Let go of with the stream.
    _seat: Option<Seat>,
}

#[derive(Debug)]
enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Guests with whom TLS is being settled.
#[derive(Debug, Default)]
pub(super) struct Handshakes(JoinSet<io::Result<Visitor<MinerIo>>>);

impl Handshakes {
    /// A guest whose port is a plain one is a visitor at once; any other will be.
    pub(super) fn welcome(&mut self, guest: Guest) -> Option<Visitor<MinerIo>> {
        let Guest { io, peer, port, tls, seat } = guest;
        let Some(acceptor) = tls else {
            return Some((MinerIo { wire: Wire::Plain(io), _seat: seat }, peer, port));
        };
        self.0.spawn(async move {
            let io = greeting::encrypt(io, acceptor).await?;
            Ok((MinerIo { wire: Wire::Tls(Box::new(io)), _seat: seat }, peer, port))
        });
        None
    }

    /// The next who is through with it. Those that failed are gone.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Visitor<MinerIo>> {
        while let Poll::Ready(Some(done)) = self.0.poll_join_next(context) {
            match done.unwrap_or_else(|error| Err(io::Error::other(error))) {
                Ok(visitor) => return Poll::Ready(visitor),
                Err(error) => debug!("a greeting failed: {error}"),
            }
        }
        Poll::Pending
    }

    /// How many are at it.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl AsyncRead for MinerIo {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().wire {
            Wire::Plain(io) => Pin::new(io).poll_read(context, buffer),
            Wire::Tls(io) => Pin::new(io).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for MinerIo {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().wire {
            Wire::Plain(io) => Pin::new(io).poll_write(context, bytes),
            Wire::Tls(io) => Pin::new(io).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().wire {
            Wire::Plain(io) => Pin::new(io).poll_flush(context),
            Wire::Tls(io) => Pin::new(io).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().wire {
            Wire::Plain(io) => Pin::new(io).poll_shutdown(context),
            Wire::Tls(io) => Pin::new(io).poll_shutdown(context),
        }
    }
}
