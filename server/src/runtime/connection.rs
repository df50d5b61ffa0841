//! Miners' connections: a task that reads each, and the engine, which writes.
//!
//! The engine writes by itself, at once, as far as the socket takes it: almost always all of it,
//! and a task of its own for that would cost more than the write. Only what is left over goes to a
//! task, which waits for the socket and then gives its writing half back.
//!
//! A connection at rest is little more than its socket: there is no buffer for what it does not
//! say, and no queue for what it is not told.

use std::collections::{BTreeMap, VecDeque};
use std::future::{pending, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::engine::Inbound;
use crate::pool::event::{ConnId, Event};

/// Bytes taken by one read.
const READ_BYTES: usize = 16 * 1024;
/// Messages that may wait to be written; the core's byte limit is reached long before.
const OUTBOX_MESSAGES: usize = 4_096;
/// How long a closed connection may take to swallow its last words.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(2);
/// Messages that one write carries at most.
const BATCH: usize = 64;

/// What the tasks of a connection report to [`Connections::hear`].
#[derive(Debug)]
pub(super) enum Report<Io> {
    /// One read brought this.
    Received(Bytes),
    /// So many bytes were written, or not; here is the half that writes.
    Wrote(WriteHalf<Io>, usize, io::Result<()>),
    /// Nothing more will come, or its time is up.
    Ended,
}

/// One connection.
#[derive(Debug)]
struct Hold<Io> {
    /// `None` while a task waits for the socket with it.
    to: Option<WriteHalf<Io>>,
    /// What waits for that task; so it is empty while there is none.
    backlog: VecDeque<Bytes>,
    reader: AbortHandle,
    writer: Option<AbortHandle>,
    /// Closed by us; this task ends it, whatever it does.
    farewell: Option<AbortHandle>,
}

impl<Io> Drop for Hold<Io> {
    fn drop(&mut self) {
        let others = [self.writer.take(), self.farewell.take()];
        for task in others.iter().flatten().chain([&self.reader]) {
            task.abort();
        }
    }
}

/// All open connections. Events of them come out of [`Self::hear`] and [`Self::next_event`], and
/// keep the contract of [`Event`].
#[derive(Debug)]
pub(super) struct Connections<Io> {
    holds: BTreeMap<ConnId, Hold<Io>>,
    opened: u64,
    tasks: JoinSet<()>,
    inbox: mpsc::Sender<Inbound<Io>>,
    /// What came of sending: bytes that left, or `None` for an end.
    outcomes: VecDeque<(ConnId, Option<usize>)>,
}

impl<Io> Connections<Io>
where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// None yet. Their tasks report to `inbox`.
    pub(super) fn new(inbox: mpsc::Sender<Inbound<Io>>) -> Self {
        let (holds, outcomes) = (BTreeMap::new(), VecDeque::new());
        Self { holds, opened: 0, tasks: JoinSet::new(), inbox, outcomes }
    }

    /// Starts listening to a miner. Its events come after its opening, for they start here.
    pub(super) fn open(&mut self, io: Io) -> ConnId {
        let conn = ConnId(self.opened);
        self.opened += 1;
        let (from, to) = tokio::io::split(io);
        let reader = self.tasks.spawn(read(from, conn, self.inbox.clone()));
        let backlog = VecDeque::new();
        let hold = Hold { to: Some(to), backlog, reader, writer: None, farewell: None };
        self.holds.insert(conn, hold);
        conn
    }

    /// Sends `bytes`, or keeps them until the socket takes them; a connection that has too much to
    /// keep, or does not work any more, is cut off.
    pub(super) fn send(&mut self, conn: ConnId, mut bytes: Bytes) {
        let Some(hold) = self.holds.get_mut(&conn).filter(|hold| hold.farewell.is_none()) else {
            return;
        };
        let Some(to) = &mut hold.to else {
            hold.backlog.push_back(bytes);
            if hold.backlog.len() > OUTBOX_MESSAGES {
                self.cut(conn);
            }
            return;
        };
        let length = bytes.len();
        match write_now(to, &mut bytes) {
            Ok(Poll::Ready(())) => self.outcomes.push_back((conn, Some(length))),
            Ok(Poll::Pending) => {
                let written = length - bytes.len();
                hold.backlog.push_back(bytes);
                self.outcomes.extend((written > 0).then_some((conn, Some(written))));
                self.lend(conn);
            }
            Err(_) => self.cut(conn),
        }
    }

    /// Stops listening to the miner and closes once it took what it was sent, or soon after.
    pub(super) fn close(&mut self, conn: ConnId) {
        let Some(hold) = self.holds.get_mut(&conn).filter(|hold| hold.farewell.is_none()) else {
            return;
        };
        hold.reader.abort();
        let (to, inbox) = (hold.to.take(), self.inbox.clone());
        hold.farewell = Some(self.tasks.spawn(async move {
            match to {
                Some(to) => part(to).await,
                // Whoever has it comes back with it, and parts then; or is too late.
                None => timeout(LAST_WORDS, pending()).await.unwrap_or_default(),
            }
            report(&inbox, conn, Report::Ended).await;
        }));
    }

    /// Closes all of them.
    pub(super) fn close_all(&mut self) {
        let all: Vec<ConnId> = self.holds.keys().copied().collect();
        for conn in all {
            self.close(conn);
        }
    }

    /// Whether none is open.
    pub(super) fn is_empty(&self) -> bool {
        self.holds.is_empty()
    }

    /// What a task of `conn` reports, as an event if it is one. From connections that ended nothing
    /// is heard.
    pub(super) fn hear(&mut self, conn: ConnId, report: Report<Io>) -> Option<Event> {
        let hold = self.holds.get_mut(&conn)?;
        match report {
            Report::Received(bytes) => Some(Event::Received { conn, bytes }),
            Report::Wrote(to, length, Ok(())) => {
                (hold.to, hold.writer) = (Some(to), None);
                self.lend(conn);
                Some(Event::Flushed { conn, length })
            }
            Report::Wrote(_, _, Err(_)) | Report::Ended => {
                self.cut(conn);
                self.next_event()
            }
        }
    }

    /// What left at once, if that is what came of sending next.
    pub(super) fn next_flushed(&mut self) -> Option<Event> {
        let (conn, flushed) = self.outcomes.pop_front_if(|(_, flushed)| flushed.is_some())?;
        flushed.map(|length| Event::Flushed { conn, length })
    }

    /// What came of sending; empty before the next report is heard.
    pub(super) fn next_event(&mut self) -> Option<Event> {
        let (conn, flushed) = self.outcomes.pop_front()?;
        Some(match flushed {
            Some(length) => Event::Flushed { conn, length },
            None => Event::Closed { conn },
        })
    }

    /// Gives the writing half to a task that waits for the socket: with what waits for it, or to
    /// part with the miner. With nothing to do it stays.
    fn lend(&mut self, conn: ConnId) {
        let Some(hold) = self.holds.get_mut(&conn) else { return };
        let leaves = hold.farewell.is_some();
        if hold.backlog.is_empty() && !leaves {
            return;
        }
        let Some(mut to) = hold.to.take() else { return };
        let count = hold.backlog.len().min(BATCH);
        let batch: Vec<Bytes> = hold.backlog.drain(..count).collect();
        let inbox = self.inbox.clone();
        while self.tasks.try_join_next().is_some() {}
        hold.writer = Some(self.tasks.spawn(async move {
            if batch.is_empty() {
                part(to).await;
                return report(&inbox, conn, Report::Ended).await;
            }
            let length = batch.iter().map(Bytes::len).sum();
            let written = write(&mut to, &batch).await;
            report(&inbox, conn, Report::Wrote(to, length, written)).await;
        }));
    }

    /// Ends a connection, and says so.
    fn cut(&mut self, conn: ConnId) {
        if self.holds.remove(&conn).is_some() {
            self.outcomes.push_back((conn, None));
        }
        while self.tasks.try_join_next().is_some() {}
    }
}

/// Writes `bytes` as far as they go at once, and takes off what went. Pending when some are left,
/// or are not out of a buffer below.
fn write_now<Io: AsyncWrite + Unpin>(to: &mut WriteHalf<Io>, bytes: &mut Bytes) -> Now {
    // Nobody is to be woken: whoever is lent the half asks again.
    let mut context = Context::from_waker(Waker::noop());
    while !bytes.is_empty() {
        match Pin::new(&mut *to).poll_write(&mut context, bytes)? {
            Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(count) => bytes.advance(count),
            Poll::Pending => return Ok(Poll::Pending),
        }
    }
    match Pin::new(to).poll_flush(&mut context) {
        Poll::Ready(flushed) => flushed.map(Poll::Ready),
        Poll::Pending => Ok(Poll::Pending),
    }
}

/// Whether all of it is written.
type Now = io::Result<Poll<()>>;

async fn write<Io: AsyncWrite>(to: &mut WriteHalf<Io>, batch: &[Bytes]) -> io::Result<()> {
    // One write for all that waits: a write each costs more than everything else together.
    match batch {
        [one] => to.write_all(one).await?,
        many => to.write_all(&many.concat()).await?,
    }
    to.flush().await
}

/// Says goodbye, if the miner listens.
async fn part<Io: AsyncWrite>(mut to: WriteHalf<Io>) {
    // It may be gone already; then there is nobody to say goodbye to.
    timeout(LAST_WORDS, to.shutdown()).await.unwrap_or(Ok(())).unwrap_or_default();
}

async fn read<Io: AsyncRead>(
    mut from: ReadHalf<Io>,
    conn: ConnId,
    inbox: mpsc::Sender<Inbound<Io>>,
) {
    let mut ended = false;
    while !ended {
        // An error is an end, too.
        let bytes = read_some(&mut from).await.unwrap_or_default();
        ended = bytes.is_empty();
        // Without an engine nothing needs to be read: a connection that always has more would
        // never come to its end.
        let Ok(permit) = inbox.reserve().await else { return };
        let report = if ended { Report::Ended } else { Report::Received(bytes) };
        permit.send(Inbound::Miner(conn, report));
    }
}

/// What the socket has, none at its end. The buffer is on the stack and gone while it waits.
async fn read_some<R: AsyncRead + Unpin>(from: &mut R) -> io::Result<Bytes> {
    poll_fn(|context| {
        let mut space = [MaybeUninit::uninit(); READ_BYTES];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut *from).poll_read(context, &mut buffer))?;
        Poll::Ready(Ok(Bytes::copy_from_slice(buffer.filled())))
    })
    .await
}

async fn report<Io>(inbox: &mpsc::Sender<Inbound<Io>>, conn: ConnId, report: Report<Io>) {
    // An engine that ended let go of the connection.
    inbox.send(Inbound::Miner(conn, report)).await.unwrap_or_default();
}

#[cfg(test)]
mod tests;
