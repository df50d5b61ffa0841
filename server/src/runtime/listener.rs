//! Doors in and out: where miners come from, and how calls leave.
//!
//! Two traits, so that the same shell runs over simulated sockets; and their plain TCP forms.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use crate::config::PortId;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1_024;
/// Pause after a failed accept: the usual reason is too many open files, and that passes.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where miners come in.
pub trait Listener: Send + 'static {
    /// A miner's byte stream.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next miner, where it comes from, and through which port. The first call is what opens
    /// the door. An error is the end of the server: nobody can be let in any more.
    fn accept(&mut self) -> impl Future<Output = io::Result<Visitor<Self::Io>>> + Send;
}

/// Somebody at the door: the stream, the peer, the port.
pub type Visitor<Io> = (Io, SocketAddr, PortId);

/// How calls reach a host.
pub trait Connect: Clone + Send + Sync + 'static {
    /// A call's byte stream.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Connects to `port` of `host`, a name or an address.
    fn connect(&self, host: &str, port: u16) -> impl Future<Output = io::Result<Self::Io>> + Send;
}

/// A TCP address that is ours, open to nobody until the first [`Listener::accept`].
#[derive(Debug)]
pub struct TcpDoor {
    state: DoorState,
}

#[derive(Debug)]
enum DoorState {
    /// Empty only while the socket turns into a listener, or when that failed.
    Bound(Option<TcpSocket>),
    /// It takes connections already, which wait: somebody else opened it for us.
    Inherited(TcpListener),
    Listening(TcpListener),
}

impl TcpDoor {
    /// Takes hold of `port` on `host`; 0 is any free port.
    pub async fn bind(host: &str, port: u16) -> io::Result<Self> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
        for address in tokio::net::lookup_host((host, port)).await? {
            match Self::bind_address(address) {
                Ok(socket) => return Ok(Self { state: DoorState::Bound(Some(socket)) }),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Takes over a socket that listens already; who came meanwhile waits like all others.
    pub fn inherit(socket: std::net::TcpListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { state: DoorState::Inherited(TcpListener::from_std(socket)?) })
    }

    fn bind_address(address: SocketAddr) -> io::Result<TcpSocket> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A restart must not wait for the last run's connections to be forgotten.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(socket)
    }

    /// The address, with the port that was given.
    pub fn address(&self) -> io::Result<SocketAddr> {
        match &self.state {
            DoorState::Bound(Some(socket)) => socket.local_addr(),
            DoorState::Bound(None) => Err(io::ErrorKind::NotConnected.into()),
            DoorState::Inherited(listener) | DoorState::Listening(listener) => {
                listener.local_addr()
            }
        }
    }

    pub(super) fn listen(&mut self) -> io::Result<&TcpListener> {
        if !matches!(self.state, DoorState::Listening(_)) {
            let listener = match core::mem::replace(&mut self.state, DoorState::Bound(None)) {
                DoorState::Bound(Some(socket)) => open(socket)?,
                DoorState::Inherited(listener) | DoorState::Listening(listener) => listener,
                DoorState::Bound(None) => return Err(io::ErrorKind::NotConnected.into()),
            };
            info!(address = %listener.local_addr()?, "miners are let in");
            self.state = DoorState::Listening(listener);
        }
        match &self.state {
            DoorState::Listening(listener) => Ok(listener),
            DoorState::Bound(_) | DoorState::Inherited(_) => {
                Err(io::ErrorKind::NotConnected.into())
            }
        }
    }
}

/// Two that wait may hold one address; the second to listen is told only here.
fn open(socket: TcpSocket) -> io::Result<TcpListener> {
    let address = socket.local_addr()?;
    let listener = socket.listen(BACKLOG);
    listener.map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))
}

impl Listener for TcpDoor {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<Visitor<TcpStream>> {
        let listener = self.listen()?;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    be_prompt(&stream, peer);
                    return Ok((stream, peer, PortId(0)));
                }
                Err(error) => not_let_in(&error).await,
            }
        }
    }
}

/// A share that waits for more bytes to travel with is a late share.
pub(super) fn be_prompt(stream: &TcpStream, peer: SocketAddr) {
    if let Err(error) = stream.set_nodelay(true) {
        warn!(%peer, "no TCP_NODELAY: {error}");
    }
}

/// Says so, and waits a moment.
pub(super) async fn not_let_in(error: &io::Error) {
    warn!(
        "a miner could not be let in: {error}; if too many files are open, raise the limit \
         (ulimit -n)"
    );
    sleep_until(Instant::now() + ACCEPT_PAUSE).await;
}

/// Plain TCP.
#[derive(Clone, Copy, Debug)]
pub struct TcpConnector;

impl Connect for TcpConnector {
    type Io = TcpStream;

    async fn connect(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

#[cfg(test)]
mod tests;
