//! The contract between the pool and whoever drives it, watched from outside.
//!
//! It stands at [`server::pool::event::Event`]. The simulator keeps it by construction and the
//! shell by its tasks and queues; one monitor watches both, so that they cannot drift apart.
//! Drained actions are not in here: the pool itself refuses an event before they are.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use server::pool::action::{Action, CallId, CloseReason, WriteId};
use server::pool::event::{ConnId, Event};

/// Something that the contract rules out.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Breach {
    /// A connection opened under a number that was used before.
    #[error("connection {0} opened twice")]
    OpenedTwice(ConnId),
    /// An event of a connection that is not open.
    #[error("connection {0} was heard of before it opened or after it closed")]
    NotOpen(ConnId),
    /// The pool spoke to a connection that is closed, or that it closed itself.
    #[error("connection {0} was spoken to although it is closed")]
    SpokenToAfterClose(ConnId),
    /// More left the machine than was sent.
    #[error("connection {conn} flushed {flushed} bytes of {sent} sent")]
    FlushedMoreThanSent {
        /// The connection.
        conn: ConnId,
        /// Bytes reported as flushed.
        flushed: usize,
        /// Bytes sent.
        sent: usize,
    },
    /// A call's number was used before.
    #[error("call {} was made twice", .0.0)]
    CalledTwice(CallId),
    /// An answer to a call that was never made, or that was answered.
    #[error("call {} was answered though nobody waits for it", .0.0)]
    AnsweredTwice(CallId),
    /// A call that does not wait was cancelled.
    #[error("call {} was cancelled though nobody waits for it", .0.0)]
    CancelledTwice(CallId),
    /// A write's number was used before.
    #[error("write {} was asked for twice", .0.0)]
    WrittenTwice(WriteId),
    /// The end of a write that was never asked for, or that ended.
    #[error("write {} ended though nobody waits for it", .0.0)]
    WriteUnknown(WriteId),
    /// A write is on disk before one that was asked for earlier.
    #[error("write {} is on disk before write {}", .late.0, .early.0)]
    WriteOvertook {
        /// The one on disk.
        late: WriteId,
        /// The one it overtook.
        early: WriteId,
    },
    /// The door was opened again.
    #[error("miners were let in twice")]
    ListenedTwice,
    /// Something was wanted or told after the pool had ended.
    #[error("the pool went on after its end")]
    AfterHalt,
}

/// What was seen in all, so that a test can tell that it watched something.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Seen {
    /// Connections that opened.
    pub opened: u64,
    /// Connections that closed.
    pub closed: u64,
    /// Reads from miners.
    pub received: u64,
    /// Writes to miners.
    pub flushed: u64,
    /// Calls that were answered, with whatever.
    pub answered: u64,
    /// Writes that are on disk.
    pub persisted: u64,
    /// Why the pool closed connections.
    pub cut_off: Vec<CloseReason>,
}

/// Watches one run of a pool.
#[derive(Debug, Default)]
pub struct Contract {
    connections: BTreeMap<ConnId, Connection>,
    gone: BTreeSet<ConnId>,
    calls: BTreeMap<CallId, Call>,
    /// In the order in which they were asked for.
    writes: VecDeque<WriteId>,
    next_write: u64,
    listening: bool,
    halted: bool,
    seen: Seen,
}

#[derive(Clone, Copy, Debug, Default)]
struct Connection {
    sent: usize,
    flushed: usize,
    /// By the pool; the shell's `Closed` is still to come.
    closing: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Call {
    Waits,
    /// An answer may have been on its way.
    Cancelled,
    Answered,
}

impl Contract {
    /// The pool is told this next.
    pub fn event(&mut self, event: &Event) -> Result<(), Breach> {
        if self.halted {
            return Err(Breach::AfterHalt);
        }
        match event {
            Event::Opened { conn, .. } => self.opened(*conn),
            Event::Received { conn, .. } => {
                self.seen.received += 1;
                self.open(*conn).map(drop)
            }
            Event::Flushed { conn, length } => {
                self.seen.flushed += 1;
                let connection = self.open(*conn)?;
                connection.flushed += length;
                let Connection { flushed, sent, .. } = *connection;
                if flushed > sent {
                    return Err(Breach::FlushedMoreThanSent { conn: *conn, flushed, sent });
                }
                Ok(())
            }
            Event::Closed { conn } => {
                self.open(*conn)?;
                self.seen.closed += 1;
                self.connections.remove(conn);
                self.gone.insert(*conn);
                Ok(())
            }
            Event::Replied { call, .. } => self.replied(*call),
            Event::Persisted { write } => self.persisted(*write),
            Event::PersistFailed { write, .. } => self.write_ended(*write),
            Event::Notified { .. } | Event::Reconfigured(_) | Event::Stop => Ok(()),
        }
    }

    /// The pool wants this done.
    pub fn action(&mut self, action: &Action) -> Result<(), Breach> {
        if self.halted {
            return Err(Breach::AfterHalt);
        }
        match action {
            Action::Listen if self.listening => return Err(Breach::ListenedTwice),
            Action::Listen => self.listening = true,
            Action::Send { conn, bytes } => self.spoken_to(*conn)?.sent += bytes.len(),
            Action::Close { conn, why } => {
                self.spoken_to(*conn)?.closing = true;
                self.seen.cut_off.push(*why);
            }
            Action::Call { call, .. } => {
                if self.calls.insert(*call, Call::Waits).is_some() {
                    return Err(Breach::CalledTwice(*call));
                }
            }
            Action::Cancel { call } => {
                if self.calls.insert(*call, Call::Cancelled) != Some(Call::Waits) {
                    return Err(Breach::CancelledTwice(*call));
                }
            }
            Action::Persist { write, .. } => {
                if write.0 < self.next_write {
                    return Err(Breach::WrittenTwice(*write));
                }
                self.next_write = write.0 + 1;
                self.writes.push_back(*write);
            }
            Action::Halt(_) => self.halted = true,
        }
        Ok(())
    }

    /// What was seen so far.
    pub const fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Whether miners are let in.
    pub const fn is_listening(&self) -> bool {
        self.listening
    }

    fn opened(&mut self, conn: ConnId) -> Result<(), Breach> {
        self.seen.opened += 1;
        let used = self.connections.insert(conn, Connection::default()).is_some();
        if used || self.gone.contains(&conn) {
            return Err(Breach::OpenedTwice(conn));
        }
        Ok(())
    }

    fn open(&mut self, conn: ConnId) -> Result<&mut Connection, Breach> {
        self.connections.get_mut(&conn).ok_or(Breach::NotOpen(conn))
    }

    fn spoken_to(&mut self, conn: ConnId) -> Result<&mut Connection, Breach> {
        let connection = self.connections.get_mut(&conn).filter(|connection| !connection.closing);
        connection.ok_or(Breach::SpokenToAfterClose(conn))
    }

    fn replied(&mut self, call: CallId) -> Result<(), Breach> {
        self.seen.answered += 1;
        match self.calls.insert(call, Call::Answered) {
            Some(Call::Waits | Call::Cancelled) => Ok(()),
            Some(Call::Answered) | None => Err(Breach::AnsweredTwice(call)),
        }
    }

    fn persisted(&mut self, write: WriteId) -> Result<(), Breach> {
        self.seen.persisted += 1;
        match self.writes.front() {
            Some(early) if *early != write && self.writes.contains(&write) => {
                Err(Breach::WriteOvertook { late: write, early: *early })
            }
            Some(_) | None => self.write_ended(write),
        }
    }

    /// One that found no room in the disk's queue fails at once, so before earlier ones.
    fn write_ended(&mut self, write: WriteId) -> Result<(), Breach> {
        let place = self.writes.iter().position(|waiting| *waiting == write);
        place.and_then(|place| self.writes.remove(place)).ok_or(Breach::WriteUnknown(write))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
