//! A loop that sends the same bytes to socket after socket: the least that a tip can cost here.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream as Sending};

use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::wire::Wire;

/// Both ends of many sockets.
#[derive(Debug)]
pub(super) struct Bare {
    sending: Vec<Sending>,
    /// What is sent: as many bytes as the server's job has, and a job to the readers.
    line: Vec<u8>,
    wires: Vec<Wire>,
}

impl Bare {
    /// Connects within this process.
    pub(super) async fn connect(count: usize, bytes: usize) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let (mut sending, mut wires) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for _ in 0..count {
            let stream = TcpStream::connect(address).await?;
            let (other, _) = listener.accept()?;
            other.set_nodelay(true)?;
            sending.push(other);
            wires.push(Wire::new(stream));
        }
        let (head, tail) = ("{\"method\":\"mining.notify\",\"params\":[\"", "\",true]}\n");
        let padding = bytes.saturating_sub(head.len() + tail.len());
        let line = [head, &"0".repeat(padding), tail].concat().into_bytes();
        Ok(Self { sending, line, wires })
    }

    /// The readers' ends, once.
    pub(super) fn take_wires(&mut self) -> Vec<Wire> {
        std::mem::take(&mut self.wires)
    }

    /// Begins to send to all, on a thread of its own; when it began, and itself back.
    pub(super) fn send(mut self) -> JoinHandle<io::Result<(Instant, Self)>> {
        tokio::task::spawn_blocking(move || {
            let started = Instant::now();
            for socket in &mut self.sending {
                socket.write_all(&self.line)?;
            }
            Ok((started, self))
        })
    }
}
