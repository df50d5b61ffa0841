//! The bare server as a process of its own: the kernel then counts what it uses, and lets it wait
//! for a processor, as it does with the server that it stands beside.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::LoadError;
use super::hashing::Hashing;
use super::session::connect;
use super::wire::Wire;

/// The subcommand of this program that is the bare server.
pub(crate) const SUBCOMMAND: &str = "bare-server";

/// A bare server that runs; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct BareProcess {
    address: SocketAddr,
    process: Child,
}

impl BareProcess {
    /// Starts one of `harness`, which is this program, that hashes so for each share.
    pub(super) async fn start(harness: &Path, hashing: Hashing) -> Result<Self, LoadError> {
        let failed = |cause| LoadError::BareStart { path: harness.to_owned(), cause };
        let mut process = Command::new(harness)
            .arg(SUBCOMMAND)
            .args(hashing.arguments())
            .env_clear()
            // It ends where its input does, and that is with this process, however this one ends.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let mut line = String::new();
        if let Some(output) = process.stdout.take() {
            BufReader::new(output).read_line(&mut line).await.map_err(failed)?;
        }
        let port: u16 = line.trim().parse().map_err(|error| failed(io::Error::other(error)))?;
        Ok(Self { address: (Ipv4Addr::LOCALHOST, port).into(), process })
    }

    /// Which one.
    pub(super) fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// Connects so many miners, one after the other. Each waits for its greeting, so that none is
    /// still being let in when the clock starts.
    pub(super) async fn connect(&self, count: usize) -> Result<Vec<Wire>, LoadError> {
        let mut wires = Vec::with_capacity(count);
        for number in 0..count {
            wires.push(hello(self.address, number).await.map_err(LoadError::BareServer)?);
        }
        Ok(wires)
    }
}

async fn hello(server: SocketAddr, number: usize) -> io::Result<Wire> {
    let stream = connect(server, number).await?;
    stream.set_nodelay(true)?;
    let mut wire = Wire::new(stream);
    let mut lines = 0;
    while lines == 0 {
        wire.read(|_| lines += 1).await?;
    }
    Ok(wire)
}
