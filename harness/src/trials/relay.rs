//! A wire between miners and the server that stays when the server dies, with a witness beside it.
//!
//! Every byte goes on as it came. A miner that comes while there is no server is kept waiting, so
//! that it is served in the moment the door opens; one whose server died is cut off, after all that
//! the server had still sent.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::witness::Witness;

/// Between two tries to reach the server.
const DIAL_POLL: Duration = Duration::from_millis(3);
/// Tries before a miner is let go: half a minute.
const DIALS_MAX: u32 = 10_000;
/// Bytes of one read at most.
const READ_BYTES_MAX: usize = 16 * 1024;

/// Carries bytes until it is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    witness: Witness,
    task: JoinHandle<()>,
}

impl Relay {
    /// A wire to `server`, on a port of loopback.
    pub async fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let witness = Witness::default();
        let task = tokio::spawn(accept(listener, server, witness.clone()));
        Ok(Self { address, witness, task })
    }

    /// Where miners connect to.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who sees what goes by.
    pub const fn witness(&self) -> &Witness {
        &self.witness
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, witness: Witness) {
    let mut connections = JoinSet::new();
    for number in 0.. {
        match listener.accept().await {
            Ok((miner, _)) => {
                let witness = witness.clone();
                connections.spawn(async move {
                    if let Err(error) = carry(number, miner, server, &witness).await {
                        tracing::debug!(%error, number, "a relayed connection ended");
                    }
                    witness.closed(number);
                });
            }
            // It concerns one miner, who will come again.
            Err(error) => tracing::debug!(%error, "a miner was lost before it was let in"),
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn carry(
    number: u64,
    miner: TcpStream,
    server: SocketAddr,
    witness: &Witness,
) -> io::Result<()> {
    let server = dial(server).await?;
    witness.opened(number);
    miner.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_miner, to_miner) = miner.into_split();
    let (from_server, to_server) = server.into_split();
    let mut upward = JoinSet::new();
    let beside = witness.clone();
    upward.spawn(async move {
        carry_on(from_miner, to_server, |bytes| beside.miner_sent(number, bytes)).await
    });
    // Until the server has nothing more to say: what it said before it died counts.
    let seen = carry_on(from_server, to_miner, |bytes| witness.server_sent(number, bytes)).await;
    // Nothing may go by on a connection that is over.
    upward.shutdown().await;
    seen
}

async fn dial(server: SocketAddr) -> io::Result<TcpStream> {
    let mut poll = tokio::time::interval(DIAL_POLL);
    let mut tries = 0;
    loop {
        poll.tick().await;
        tries += 1;
        match TcpStream::connect(server).await {
            Err(error) if tries == DIALS_MAX => return Err(error),
            Err(_) => {}
            Ok(stream) => return Ok(stream),
        }
    }
}

/// Carries one direction to its end. A reader that is gone does not keep its bytes from being seen.
async fn carry_on(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    see: impl Fn(&[u8]),
) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES_MAX];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            // Where the other side is gone there is nobody to tell.
            to.shutdown().await.unwrap_or_default();
            return Ok(());
        }
        see(&buffer[..length]);
        if let Err(error) = to.write_all(&buffer[..length]).await {
            tracing::debug!(%error, "nobody is there to read");
        }
    }
}
