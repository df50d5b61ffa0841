//! A miner that says hello and waits for its first job.
//!
//! `simminer`'s client does it, so that every server it can mine at can be measured. From then on
//! the generator has the socket for itself.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use simminer::client::{Client, ClientConfig, Event};
use simminer::persona::Persona;
use simminer::work::Work;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Target;
use super::wire::Wire;

/// How long a server may take to give a miner work.
const PATIENCE: Duration = Duration::from_secs(30);

/// Miners that connect from one address.
const MINERS_PER_ADDRESS: usize = 20_000;

/// Pause between two attempts at a door that is closed: a server may open it with its first job.
const PAUSE: Duration = Duration::from_millis(50);

/// Why a miner got no work.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No connection.
    #[error(
        "miner {number} cannot connect to {address}: {cause}; does the server listen there, and \
         are there files and ports enough (ulimit -n)?"
    )]
    Connect {
        /// Which miner, from 0.
        number: usize,
        /// Where to.
        address: SocketAddr,
        /// The system's reason.
        cause: io::Error,
    },
    /// A no.
    #[error("miner {number} was refused: {why}; look at --user and at the server's limits")]
    Refused {
        /// Which miner, from 0.
        number: usize,
        /// The server's words.
        why: String,
    },
    /// Nothing.
    #[error(
        "miner {number} had no job after {} s: has the server a node that gives templates?",
        PATIENCE.as_secs()
    )]
    NoJob {
        /// Which miner, from 0.
        number: usize,
    },
}

/// A miner with work.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) wire: Wire,
    /// What it would search.
    pub(super) work: Work,
}

/// Connects one after the other, so that nobody is measured who is still being let in.
pub(super) async fn open_all(target: &Target, count: usize) -> Result<Vec<Session>, SessionError> {
    let mut sessions = Vec::with_capacity(count);
    for number in 0..count {
        let deadline = Instant::now() + PATIENCE;
        sessions.push(open(target, number, deadline).await?);
    }
    Ok(sessions)
}

async fn open(target: &Target, number: usize, deadline: Instant) -> Result<Session, SessionError> {
    let address = target.address;
    let refused = |cause| SessionError::Connect { number, address, cause };
    loop {
        let attempt = hello(target, number);
        match timeout_at(deadline, attempt).await {
            Err(_) => return Err(SessionError::NoJob { number }),
            Ok(Ok(result)) => return result,
            // Only the first finds a server that is still starting.
            Ok(Err(cause)) if number > 0 || Instant::now() + PAUSE > deadline => {
                return Err(refused(cause));
            }
            Ok(Err(_)) => sleep_until(Instant::now() + PAUSE).await,
        }
    }
}

/// Connects to `server`. From one address to one port there are some 28,000 ports to connect from,
/// so on loopback every so many miners have an address of their own.
pub(super) async fn connect(server: SocketAddr, number: usize) -> io::Result<TcpStream> {
    let Some(from) = source(server, number) else { return TcpStream::connect(server).await };
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    socket.connect(server).await
}

/// The address that miner `number` connects from, where the system is not to choose.
fn source(server: SocketAddr, number: usize) -> Option<Ipv4Addr> {
    let block = u32::try_from(number / MINERS_PER_ADDRESS).ok().filter(|block| *block > 0)?;
    let is_here = server.is_ipv4() && server.ip().is_loopback();
    is_here.then(|| Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + block))
}

/// The outer error is the connection's, the inner one the server's.
async fn hello(target: &Target, number: usize) -> io::Result<Result<Session, SessionError>> {
    let mut stream = connect(target.address, number).await?;
    stream.set_nodelay(true)?;
    let mut client = Client::new(ClientConfig {
        user: target.user.clone(),
        password: "x".to_owned(),
        version_rolling: false,
        suggest_difficulty: None,
        persona: Persona::honest(),
    });
    client.connected();
    let mut bytes = Vec::new();
    loop {
        stream.write_all(&client.take_outgoing()).await?;
        while let Some(event) = client.poll_event() {
            let why = match event {
                Event::SubscribeRefused(refusal) | Event::AuthorizeRefused(refusal) => {
                    refusal.to_string()
                }
                Event::Close(why) => why,
                Event::Subscribed { .. }
                | Event::Authorized
                | Event::OptionRefused { .. }
                | Event::VersionMask(_)
                | Event::Difficulty(_)
                | Event::Extranonce { .. }
                | Event::Job { .. }
                | Event::Accepted(_)
                | Event::Rejected(..)
                | Event::Reconnect { .. }
                | Event::Message(_)
                | Event::Complaint(_) => continue,
            };
            return Ok(Err(SessionError::Refused { number, why }));
        }
        if let Some(work) = client.next_work() {
            return Ok(Ok(Session { wire: Wire::new(stream), work }));
        }
        bytes.clear();
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        client.receive(&bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_miners_come_from_many_addresses_of_loopback() {
        let from = |server: &str, number| {
            source(server.parse().unwrap(), number).map(|address| address.to_string())
        };
        assert_eq!(from("127.0.0.1:1", 19_999), None);
        assert_eq!(from("127.0.0.1:1", 20_000).as_deref(), Some("127.0.0.2"));
        assert_eq!(from("127.0.0.1:1", 59_999).as_deref(), Some("127.0.0.3"));
        assert_eq!(from("192.0.2.1:1", 59_999), None);
        assert_eq!(from("[::1]:1", 59_999), None);
    }

    #[tokio::test]
    async fn another_address_of_loopback_reaches_the_same_server() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap();
        let (_miner, came) = tokio::join!(connect(server, 20_000), listener.accept());
        let (_, from) = came.unwrap();
        assert_eq!(from.ip(), Ipv4Addr::new(127, 0, 0, 2));
    }
}
