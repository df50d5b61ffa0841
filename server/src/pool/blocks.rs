//! What becomes of a found block: to disk and to the node in the same instant, offered until the
//! node has judged it, and its finder told as soon as it cannot be lost.

use tracing::{error, info, warn};

use super::event::ConnId;
use super::{Pool, Written};
use crate::bmm::check;
use crate::clock::Now;
use crate::journal::{DiskOp, Shelf};
use crate::mining::block::{self, FoundBlock};
use crate::mining::coinbase::Extranonce1;
use crate::mining::hash::{Hash, display_hash};
use crate::mining::job::Job;
use crate::mining::share::{Candidate, Evaluation};
use crate::node::rpc::{CallError, HttpReply};
use crate::node::submitter::Verdict;
use crate::stratum::message::RequestId;

impl Pool {
    /// Blocks of earlier runs that were never judged are offered again.
    pub(super) fn take_up_again(&mut self, now: Now, pending: &[FoundBlock]) {
        for found in pending {
            let (height, hash) = (found.height, found.display_hash());
            warn!(height, hash, "a block of an earlier run was never judged: offered again");
            self.submitter.offer(now.mono, found);
        }
    }

    pub(super) fn on_found(
        &mut self,
        now: Now,
        conn: ConnId,
        job: &Job,
        one: Extranonce1,
        candidate: &Candidate,
        evaluation: &Evaluation,
    ) {
        let found = block::assemble(job, one, candidate.extranonce2, evaluation);
        if !self.submitter.offer(now.mono, &found) {
            return;
        }
        self.counters.blocks_found += 1;
        let (height, hash) = (found.height, found.display_hash());
        info!(height, hash, %conn, job = %job.id, "block found");
        self.safe_blocks.insert(found.hash, false);
        // The call first: a disk that hangs must not come between a block and the node.
        self.ask(now);
        doubt(job, &found);
        self.persist(Written::Block(found.hash), DiskOp::PutBlock(found));
    }

    /// Answers `true` once the block is on disk or with the node.
    pub(super) fn answer_when_safe(&mut self, conn: ConnId, id: RequestId, hash: Hash) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        // What is no longer waited for was safe long ago.
        if self.safe_blocks.get(&hash).copied().unwrap_or(true) {
            session.answer(&id, "true");
        } else {
            session.park(id, hash);
        }
    }

    pub(super) fn block_is_safe(&mut self, hash: Hash) {
        let Some(safe) = self.safe_blocks.get_mut(&hash) else { return };
        if core::mem::replace(safe, true) {
            return;
        }
        let waiting: Vec<ConnId> = self
            .sessions
            .iter_mut()
            .filter(|(_, session)| session.owed() > 0)
            .map(|(conn, session)| {
                session.block_is_safe(hash);
                *conn
            })
            .collect();
        for conn in waiting {
            self.flush(conn);
        }
    }

    pub(super) fn on_verdict(
        &mut self,
        now: Now,
        hash: Hash,
        reply: &Result<HttpReply, CallError>,
    ) {
        let Some((verdict, judged)) = self.submitter.on_reply(now.mono, hash, reply) else {
            return;
        };
        let shown = display_hash(&hash);
        match &verdict {
            Verdict::Accepted => info!(hash = shown, verdict = "accepted", "block judged"),
            Verdict::Duplicate => {
                info!(hash = shown, verdict = "duplicate", "block judged: the node has it");
            }
            Verdict::Inconclusive => {
                warn!(hash = shown, verdict = "inconclusive", "block judged: another was first");
            }
            Verdict::Rejected(why) => {
                error!(
                    hash = shown,
                    verdict = "rejected",
                    "block judged: {why}; it is kept in DATA_DIR/blocks/rejected, please report it"
                );
            }
            Verdict::Unknown(why) => {
                warn!(hash = shown, verdict = "unknown", "block not judged: {why}; offered again");
            }
        }
        let (Some(block), Some(shelf)) = (judged, shelf(&verdict)) else { return };
        // Whatever the node said, it said it of this block: nobody needs to wait any longer.
        self.block_is_safe(hash);
        self.safe_blocks.remove(&hash);
        self.persist(Written::Settled, DiskOp::SettleBlock { height: block.height, hash, shelf });
        if verdict == Verdict::Accepted {
            self.counters.blocks_accepted += 1;
            self.follower.ask_now(now.mono);
        }
    }
}

/// Checks the block on a second road. The node has the last word, so this only speaks.
fn doubt(job: &Job, found: &FoundBlock) {
    let hash = found.display_hash();
    let block = match block::verify(job, found) {
        Ok(block) => block,
        Err(fault) => {
            error!(hash, "this block of ours does not add up: {fault}; submitted all the same");
            return;
        }
    };
    if let Err(breaches) = check::block(&block, block.header.prev_blockhash, None) {
        error!(hash, "an enforcer would refuse this block of ours: {breaches}");
    }
}

/// The disk failed while the block is on its way to the node.
pub(super) fn warn_of_unkept_block(hash: &Hash, problem: &str) {
    error!(
        hash = display_hash(hash),
        "a found block could not be written to DATA_DIR: {problem}; it is with the node or on its \
         way there: free the disk, and do not stop the server before it was judged"
    );
}

/// Where a judged block's file goes; `None` while nothing is known.
const fn shelf(verdict: &Verdict) -> Option<Shelf> {
    match verdict {
        Verdict::Accepted | Verdict::Duplicate => Some(Shelf::Accepted),
        Verdict::Inconclusive => Some(Shelf::Inconclusive),
        Verdict::Rejected(_) => Some(Shelf::Rejected),
        Verdict::Unknown(_) => None,
    }
}
