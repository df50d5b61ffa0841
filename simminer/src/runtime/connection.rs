//! One connection: dialling, a reading task and a writing task, all ending in the engine's inbox.
//!
//! Why two tasks: a server that does not read must not keep us from hearing it. Dropping a
//! [`Connection`] ends both at once. What is not here: when to dial again (`engine`).

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::runtime::Endpoint;
use crate::runtime::engine::Input;

/// How long a connection may take to come about.
const DIAL_SECONDS_MAX: u64 = 10;

/// Bytes of one read at most.
const READ_BYTES_MAX: usize = 16 * 1024;

/// Writes that may wait for the socket; a server that lets more pile up is given up.
const OUTBOX_WRITES_MAX: usize = 64;

/// A way to reach a server.
pub trait Connect: Clone + Send + Sync + 'static {
    /// The stream of bytes it gives.
    type Io: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Connects once; time limit and retries are the caller's.
    fn connect(&self, to: &Endpoint) -> impl Future<Output = io::Result<Self::Io>> + Send;
}

/// Plain TCP.
#[derive(Clone, Copy, Debug)]
pub struct Tcp;

impl Connect for Tcp {
    type Io = TcpStream;

    async fn connect(&self, to: &Endpoint) -> io::Result<TcpStream> {
        let stream = TcpStream::connect((to.host.as_str(), to.port)).await?;
        // A share is a small write that must not wait for the next one.
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// A connection that is being made or stands.
#[derive(Debug)]
pub(super) struct Connection {
    /// Counted from 1; inputs that carry another number are about another connection.
    pub(super) number: u64,
    /// Takes what is to be written, once the connection stands.
    outbox: Option<mpsc::Sender<Bytes>>,
    /// The reading task, which owns the writing task.
    _tasks: JoinSet<()>,
}

impl Connection {
    /// Begins to connect; the inbox hears how it goes.
    pub(super) fn dial<C: Connect>(
        connect: C,
        endpoint: Endpoint,
        number: u64,
        inbox: mpsc::Sender<Input>,
    ) -> Self {
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let why = attend(connect, endpoint, number, &inbox).await;
            // An engine that is gone needs no news.
            drop(inbox.send(Input::Closed { connection: number, why }).await);
        });
        Self { number, outbox: None, _tasks: tasks }
    }

    /// The connection stands.
    pub(super) fn opened(&mut self, outbox: mpsc::Sender<Bytes>) {
        self.outbox = Some(outbox);
    }

    /// Queues bytes to be written; false when the server has let too much pile up.
    #[must_use]
    pub(super) fn send(&self, bytes: Vec<u8>) -> bool {
        let Some(outbox) = &self.outbox else { return true };
        match outbox.try_send(bytes.into()) {
            // When the writing task has ended, the reading task says why.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => true,
            Err(mpsc::error::TrySendError::Full(_)) => false,
        }
    }
}

/// Connects, reads to the end, and says what ended it.
async fn attend<C: Connect>(
    connect: C,
    endpoint: Endpoint,
    number: u64,
    inbox: &mpsc::Sender<Input>,
) -> String {
    let dialled = timeout(Duration::from_secs(DIAL_SECONDS_MAX), connect.connect(&endpoint));
    let io = match dialled.await {
        Ok(Ok(io)) => io,
        Ok(Err(error)) => return format!("cannot connect: {error}"),
        Err(_) => return format!("cannot connect: no answer within {DIAL_SECONDS_MAX} seconds"),
    };
    let (mut reader, writer) = tokio::io::split(io);
    let (outbox, lines) = mpsc::channel(OUTBOX_WRITES_MAX);
    let mut writing = JoinSet::new();
    let inbox_of_writer = inbox.clone();
    writing.spawn(async move {
        if let Err(error) = write(writer, lines).await {
            let why = format!("cannot write: {error}");
            drop(inbox_of_writer.send(Input::Closed { connection: number, why }).await);
        }
    });
    if inbox.send(Input::Opened { connection: number, outbox }).await.is_err() {
        return "the miner has ended".to_owned();
    }
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(READ_BYTES_MAX);
        match reader.read_buf(&mut buffer).await {
            Ok(0) => return "the server closed the connection".to_owned(),
            Err(error) => return format!("cannot read: {error}"),
            Ok(_) => {}
        }
        let bytes = buffer.split().freeze();
        if inbox.send(Input::Received { connection: number, bytes }).await.is_err() {
            return "the miner has ended".to_owned();
        }
    }
}

/// Writes what comes, until nothing more can come.
async fn write<W: AsyncWrite>(
    mut writer: WriteHalf<W>,
    mut lines: mpsc::Receiver<Bytes>,
) -> io::Result<()> {
    while let Some(bytes) = lines.recv().await {
        writer.write_all(&bytes).await?;
    }
    writer.shutdown().await
}
