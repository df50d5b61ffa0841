//! One miner's connection: a task that reads, a task that writes, and one that waits for both.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::engine::Inbound;
use crate::pool::event::{ConnId, Event};

/// Bytes taken by one read.
const READ_BYTES: usize = 16 * 1024;
/// Messages that may wait to be written; the core's byte limit is reached long before.
pub(super) const OUTBOX_MESSAGES: usize = 4_096;
/// How long a closed connection may take to swallow its last words.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(2);
/// Messages that one write carries at most.
const BATCH: usize = 64;

/// The engine's hold on a connection. Dropping it lets what was sent go out, then closes.
#[derive(Debug)]
pub(super) struct Hold {
    outbox: mpsc::Sender<Bytes>,
    reader: AbortHandle,
    writer: AbortHandle,
}

impl Hold {
    /// Queues `bytes`; a connection whose queue is full is cut off.
    pub(super) fn send(&self, bytes: Bytes) {
        if self.outbox.try_send(bytes).is_err() {
            self.writer.abort();
        }
    }

    /// Stops listening to the miner and closes once it took what it was sent, or soon after.
    pub(super) fn close(self) {
        self.reader.abort();
    }
}

/// Starts the connection's tasks among `miners`. `Closed` is the last event they send.
pub(super) fn start<Io>(
    io: Io,
    conn: ConnId,
    inbox: &mpsc::Sender<Inbound<Io>>,
    miners: &mut JoinSet<()>,
) -> Hold
where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (read_half, write_half) = tokio::io::split(io);
    let (outbox, waiting) = mpsc::channel(OUTBOX_MESSAGES);
    let mut tasks = JoinSet::new();
    let reader = tasks.spawn(read(read_half, conn, inbox.clone()));
    let writer = tasks.spawn(write(write_half, conn, waiting, inbox.clone()));
    let reader_of_two = reader.clone();
    let inbox = inbox.clone();
    miners.spawn(async move {
        oversee(tasks, &reader_of_two).await;
        deliver(&inbox, Event::Closed { conn }).await;
    });
    Hold { outbox, reader, writer }
}

/// Done when reader and writer are. A reader that was stopped leaves the writer its last words; one
/// that met the end of the stream does not; and without a writer nothing is left to do.
async fn oversee(mut tasks: JoinSet<()>, reader: &AbortHandle) {
    let first = tasks.join_next().await;
    if reader.is_finished() && first.is_some_and(|ended| ended.is_err()) {
        // Whether the writer came to its end or ran out of time, it is over.
        timeout(LAST_WORDS, tasks.join_next()).await.unwrap_or_default();
    }
    tasks.shutdown().await;
}

async fn read<R: AsyncRead + Unpin, Io>(
    mut from: R,
    conn: ConnId,
    inbox: mpsc::Sender<Inbound<Io>>,
) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(READ_BYTES);
        match from.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let bytes = buffer.split().freeze();
                if !deliver(&inbox, Event::Received { conn, bytes }).await {
                    return;
                }
            }
        }
    }
}

async fn write<W: AsyncWrite + Unpin, Io>(
    mut to: W,
    conn: ConnId,
    mut waiting: mpsc::Receiver<Bytes>,
    inbox: mpsc::Sender<Inbound<Io>>,
) {
    let mut batch = Vec::with_capacity(BATCH);
    // One write for all that waits: a write each costs more than everything else together.
    while waiting.recv_many(&mut batch, BATCH).await > 0 {
        let length = batch.iter().map(Bytes::len).sum();
        let written = match batch.as_slice() {
            [one] => to.write_all(one).await,
            many => to.write_all(&many.concat()).await,
        };
        batch.clear();
        if written.is_err() {
            return;
        }
        if !deliver(&inbox, Event::Flushed { conn, length }).await {
            return;
        }
    }
    // The peer may be gone already; then there is nobody to say goodbye to.
    to.shutdown().await.unwrap_or_default();
}

/// Whether there is still an engine that hears of it. Without one nothing needs to be read: a
/// connection that always has more would never come to its end.
async fn deliver<Io>(inbox: &mpsc::Sender<Inbound<Io>>, event: Event) -> bool {
    inbox.send(Inbound::Event(event)).await.is_ok()
}

#[cfg(test)]
mod tests;
