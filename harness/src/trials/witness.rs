//! What passed on the miners' sockets, and what it was: which headers met the network's target, and
//! what was answered.
//!
//! A judge of found blocks must not ask those who found them. So the header of each submission is
//! put together here, from the bytes that went by, and hashed and compared by rust-bitcoin. Not in
//! here: the sockets (`relay.rs`), and whether a chain has the blocks (`chain.rs`).

mod session;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bitcoin::BlockHash;
use tokio::sync::watch;
use tokio::time::Instant;

use session::{Line, Session};

/// What a submission was answered with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reply {
    /// `true`, and when that went by.
    Taken(Instant),
    /// An error, in the server's words.
    Refused(String),
}

/// A `mining.submit` that went by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Submission {
    /// The hash of its header.
    pub hash: BlockHash,
    /// Who claims it.
    pub worker: String,
    /// Whether the hash meets the network's target.
    pub solves: bool,
    /// When it went by.
    pub sent: Instant,
    /// What was answered; nothing, if the server died over it.
    pub reply: Option<Reply>,
}

impl Submission {
    /// When `true` went by, if it did.
    pub const fn taken(&self) -> Option<Instant> {
        match self.reply {
            Some(Reply::Taken(when)) => Some(when),
            Some(Reply::Refused(_)) | None => None,
        }
    }
}

/// How much has gone by.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Progress {
    /// Submissions whose header meets the network's target.
    pub solving: usize,
    /// Those of them that were answered `true`.
    pub acknowledged: usize,
    /// Connections that a server holds now.
    pub open: usize,
}

/// Everything that was seen.
#[derive(Clone, Debug, Default)]
pub struct Testimony {
    /// The submissions, in their order.
    pub submissions: Vec<Submission>,
    /// What could not be understood: a witness that missed something proves nothing.
    pub not_understood: Vec<String>,
}

#[derive(Debug, Default)]
struct Book {
    sessions: BTreeMap<u64, Session>,
    testimony: Testimony,
}

/// Sees what goes by. Clones are one witness.
#[derive(Clone, Debug)]
pub struct Witness {
    book: Arc<Mutex<Book>>,
    progress: watch::Sender<Progress>,
}

impl Default for Witness {
    fn default() -> Self {
        let (progress, _) = watch::channel(Progress::default());
        Self { book: Arc::default(), progress }
    }
}

impl Witness {
    /// How much has gone by, now and as it grows.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// What was seen so far.
    pub fn testimony(&self) -> Testimony {
        self.book().testimony.clone()
    }

    /// The miner of this connection sent these bytes.
    pub(super) fn miner_sent(&self, connection: u64, bytes: &[u8]) {
        let now = Instant::now();
        let mut solving = 0;
        {
            let Book { sessions, testimony } = &mut *self.book();
            let Some(session) = sessions.get_mut(&connection) else { return };
            for line in session.upward.push(bytes) {
                match session.request(&line, testimony.submissions.len(), now) {
                    Ok(None) => {}
                    Ok(Some(submission)) => {
                        solving += usize::from(submission.solves);
                        testimony.submissions.push(submission);
                    }
                    Err(problem) => testimony.not_understood.push(problem),
                }
            }
        }
        if solving > 0 {
            self.progress.send_modify(|progress| progress.solving += solving);
        }
    }

    /// The server sent these bytes to the miner of this connection.
    pub(super) fn server_sent(&self, connection: u64, bytes: &[u8]) {
        let now = Instant::now();
        let mut acknowledged = 0;
        {
            let Book { sessions, testimony } = &mut *self.book();
            let Some(session) = sessions.get_mut(&connection) else { return };
            for line in session.downward.push(bytes) {
                match session.line(&line) {
                    Ok(Line::Learnt) => {}
                    Ok(Line::Answer(place, verdict)) => {
                        let submission = &mut testimony.submissions[place];
                        acknowledged += usize::from(submission.solves && verdict.is_ok());
                        submission.reply = Some(match verdict {
                            Ok(()) => Reply::Taken(now),
                            Err(why) => Reply::Refused(why),
                        });
                    }
                    Err(problem) => testimony.not_understood.push(problem),
                }
            }
        }
        if acknowledged > 0 {
            self.progress.send_modify(|progress| progress.acknowledged += acknowledged);
        }
    }

    /// The server took this connection.
    pub(super) fn opened(&self, connection: u64) {
        self.book().sessions.insert(connection, Session::default());
        self.progress.send_modify(|progress| progress.open += 1);
    }

    /// The connection is over, if it ever began.
    pub(super) fn closed(&self, connection: u64) {
        if self.book().sessions.remove(&connection).is_some() {
            self.progress.send_modify(|progress| progress.open -= 1);
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // What a panic elsewhere left is still what was seen.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
