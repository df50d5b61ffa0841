//! Simulated sockets in the places where the shell and the miner take a stream.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use server::config::PortId;
use turmoil::net::{TcpListener, TcpStream};

/// Writes that may be on their way in one direction of a connection; then the writer waits.
pub(crate) const SEGMENTS_MAX: u64 = 64;

/// Where miners come in: opened, as the contract of the trait says, by the first accept.
pub(crate) struct Door {
    port: u16,
    listener: Option<TcpListener>,
}

impl Door {
    pub(crate) const fn new(port: u16) -> Self {
        Self { port, listener: None }
    }
}

impl server::runtime::listener::Listener for Door {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr, PortId)> {
        let listener = match &mut self.listener {
            Some(listener) => listener,
            closed => closed.insert(TcpListener::bind((Ipv4Addr::UNSPECIFIED, self.port)).await?),
        };
        let (stream, peer) = listener.accept().await?;
        Ok((stream, peer, PortId::default()))
    }
}

/// How calls and miners leave their host.
#[derive(Clone, Copy)]
pub(crate) struct Simulated;

impl server::runtime::listener::Connect for Simulated {
    type Io = TcpStream;

    async fn connect(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        TcpStream::connect((host, port)).await
    }
}

impl simminer::runtime::Connect for Simulated {
    type Io = TcpStream;

    async fn connect(&self, to: &simminer::runtime::Endpoint) -> io::Result<TcpStream> {
        TcpStream::connect((to.host.as_str(), to.port)).await
    }
}
