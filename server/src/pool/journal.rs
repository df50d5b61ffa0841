//! Counted shares on their way to the share log, and what a disk in trouble means for them.
//!
//! A full disk is waited out, for the node and the blocks need none: shares are counted as long as
//! they can be kept in memory, then refused. A failed sync is the end: what the disk holds is not
//! known any more, and a later sync would not tell (DISK-2).

use tracing::{error, info};

use super::action::Halt;
use super::{Pool, Written};
use crate::clock::Now;
use crate::journal::writer::Batch;
use crate::journal::{DiskOp, WriteError};

impl Pool {
    /// Asks for the batch that is due, if one is.
    pub(super) fn write_shares(&mut self, now: Now) {
        if let Some(Batch { first, records, .. }) = self.journal.poll_batch(now.mono) {
            let op = DiskOp::AppendShares { run: self.generation, first, records };
            self.persist(Written::Shares, op);
        }
    }

    pub(super) fn shares_are_written(&mut self) {
        if self.journal.written() {
            info!(waiting = self.journal.waiting(), "the share log can be written again");
        }
    }

    pub(super) fn shares_are_not_written(&mut self, now: Now, problem: &WriteError) {
        match problem {
            WriteError::NotKept(why) => {
                if self.journal.not_written(now.mono) {
                    error!(
                        "shares cannot be written to DATA_DIR: {why}; they wait in memory, {} of \
                         them at most, and then are refused: make room; blocks still go to the \
                         node",
                        self.config.limits.journal_waiting
                    );
                }
            }
            WriteError::Unknown(why) => {
                let why = format!(
                    "shares could not be written to DATA_DIR: {why}; what the disk holds of the \
                     last moment is unknown, and it cannot be trusted with more: look at the disk, \
                     then start again; found blocks are offered to the node again"
                );
                self.stop(now, Halt::Fatal(why));
            }
        }
    }
}
