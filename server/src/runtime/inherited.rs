//! Sockets that whoever started the process listens on already: systemd's socket activation.
//!
//! While the server is restarted, that socket goes on taking connections; a miner that comes then
//! waits for its first job and is not refused.

use std::io;
use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;

/// Sockets that nobody took yet.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<TcpListener>,
}

impl Inherited {
    /// Those that `LISTEN_FDS` tells of, when `LISTEN_PID` says that they are meant for us; both
    /// are taken out of the environment. Call it before there are other threads.
    pub fn from_environment() -> io::Result<Self> {
        let mut passed = ListenFd::from_env();
        let each = (0..passed.len()).map(|place| passed.take_tcp_listener(place));
        let sockets: io::Result<Vec<Option<TcpListener>>> = each.collect();
        Ok(Self { sockets: sockets?.into_iter().flatten().collect() })
    }

    /// The one that listens on `port`.
    pub(super) fn take(&mut self, port: u16) -> Option<TcpListener> {
        let is_it =
            |socket: &TcpListener| socket.local_addr().is_ok_and(|address| address.port() == port);
        let place = self.sockets.iter().position(is_it)?;
        Some(self.sockets.swap_remove(place))
    }

    /// The address of one that nobody took.
    pub(super) fn left(&self) -> Option<io::Result<SocketAddr>> {
        self.sockets.first().map(TcpListener::local_addr)
    }
}
