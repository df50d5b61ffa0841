//! What becomes of a found block: to disk and to every node in the same instant, offered until they
//! have judged it, and its finder told as soon as it cannot be lost.

use tracing::{debug, error, info, warn};

use super::action::Endpoint;
use super::event::ConnId;
use super::{Kept, Pool, Purpose, Written};
use crate::bmm::check;
use crate::clock::Now;
use crate::journal::{DiskOp, Shelf, WriteError};
use crate::mining::block::{self, FoundBlock};
use crate::mining::hash::{Hash, display_hash};
use crate::mining::job::Job;
use crate::mining::script_sig::Extranonce1;
use crate::mining::share::{Candidate, Evaluation};
use crate::node::confirmation::{Claim, Standing};
use crate::node::rpc::tips::{self, Branch};
use crate::node::rpc::{self, CallError, HttpReply};
use crate::node::submitter::{Judged, Verdict};
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
        self.found.insert(found.hash, Kept::NotYet);
        // The call first: a disk that hangs must not come between a block and the node.
        self.ask(now);
        doubt(job, &found);
        self.persist(Written::Block(found.hash), DiskOp::PutBlock(found));
    }

    /// Answers `true` once the block is on disk or with the node.
    pub(super) fn answer_when_safe(&mut self, conn: ConnId, id: RequestId<'_>, hash: Hash) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        match self.found.get(&hash) {
            Some(Kept::NotYet | Kept::Never) => session.park(id, hash),
            // What is no longer waited for was judged.
            Some(Kept::Safely) | None => session.answer(id, "true"),
        }
    }

    pub(super) fn block_is_safe(&mut self, hash: Hash) {
        let Some(kept) = self.found.get_mut(&hash) else { return };
        if core::mem::replace(kept, Kept::Safely) == Kept::Safely {
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

    /// The disk failed while the block is on its way to the node.
    pub(super) fn block_is_not_kept(&mut self, hash: Hash, problem: &WriteError) {
        if let Some(kept @ Kept::NotYet) = self.found.get_mut(&hash) {
            *kept = Kept::Never;
        }
        error!(
            hash = display_hash(&hash),
            "a found block could not be written to DATA_DIR: {problem}; it is with the node or on \
             its way there: free the disk, and do not stop the server before it was judged"
        );
    }

    pub(super) fn on_verdict(
        &mut self,
        now: Now,
        node: usize,
        hash: Hash,
        reply: &Result<HttpReply, CallError>,
    ) {
        let Some(judged) = self.submitter.on_reply(now.mono, node, hash, reply) else { return };
        let Judged { verdict, first, block, settled, prefer } = judged;
        log(node, &block, &verdict, first);
        if let Some(first) = prefer {
            let patience = self.config.limits.call_patience;
            let body = rpc::precious_block_request(&first);
            self.call(Purpose::Prefer(node, first), Endpoint::Node(node), body, patience);
        }
        match verdict {
            Verdict::Accepted => {
                self.nodes.expect_tip(now.mono, node, hash, Some(block.height));
                self.confirmations.watch(now.mono, &block, node, Claim::InChain);
            }
            Verdict::Duplicate => {
                self.confirmations.watch(now.mono, &block, node, Claim::Had);
            }
            Verdict::Inconclusive => {
                self.confirmations.watch(now.mono, &block, node, Claim::Aside);
            }
            Verdict::Rejected(_) | Verdict::Unknown(_) => {}
        }
        if let Some(verdict) = settled {
            self.settle(now, &block, &verdict);
        }
    }

    fn settle(&mut self, now: Now, block: &FoundBlock, verdict: &Verdict) {
        let Some(shelf) = shelf(verdict) else { return };
        let (height, hash) = (block.height, block.hash);
        // Whatever a node said, it said it of this block: nobody needs to wait any longer.
        let has_file = self.found.get(&hash) != Some(&Kept::Never);
        self.block_is_safe(hash);
        self.found.remove(&hash);
        if has_file {
            self.persist(Written::Settled, DiskOp::SettleBlock { height, hash, shelf });
        }
        if shelf == Shelf::Accepted {
            self.connect_sidechains(now, block);
            self.note_proposals(block);
        }
        if *verdict == Verdict::Accepted {
            self.counters.blocks_accepted += 1;
        }
    }

    pub(super) fn on_confirmation(
        &mut self,
        now: Now,
        node: usize,
        hash: Hash,
        reply: &Result<HttpReply, CallError>,
    ) {
        match self.confirmations.on_reply(node, hash, reply) {
            None => {}
            Some(Standing::Joined(block, claim)) => self.block_joined(now, &block, claim),
            Some(Standing::Left(block)) => self.block_left(node, &block),
        }
    }

    /// A node's first word of the block was less than this.
    fn block_joined(&mut self, now: Now, block: &FoundBlock, claim: Claim) {
        self.counters.blocks_accepted += 1;
        let (height, hash) = (block.height, block.display_hash());
        info!(height, hash, "this block of ours is in the node's chain");
        if claim == Claim::Aside {
            self.connect_sidechains(now, block);
            self.note_proposals(block);
        }
    }

    fn block_left(&mut self, node: usize, lost: &FoundBlock) {
        self.counters.blocks_lost_again += 1;
        let (body, patience) = (tips::chain_tips_request(), self.config.limits.call_patience);
        self.call(Purpose::Branch(node, lost.hash), Endpoint::Node(node), body, patience);
        self.forget_proposals(lost);
        let why = match decode(lost).map(|block| judge(&block)) {
            Some(Err(breaches)) => format!("an enforcer invalidated it: {breaches}"),
            Some(Ok(())) | None => {
                "it breaks no rule that this server knows: another block of its height won, or \
                 the enforcer knows more"
                    .to_owned()
            }
        };
        let (height, hash) = (lost.height, lost.display_hash());
        error!(
            height,
            hash,
            "a block that the node had accepted left its chain: {why}; it is kept in \
             DATA_DIR/blocks/accepted"
        );
    }
}

/// Says what a node said of a block. Nodes count from 1, as people read the settings.
fn log(node: usize, block: &FoundBlock, verdict: &Verdict, first: bool) {
    let (node, hash) = (node + 1, block.display_hash());
    match verdict {
        Verdict::Accepted => info!(node, hash, verdict = "accepted", "block judged"),
        Verdict::Duplicate => {
            info!(node, hash, verdict = "duplicate", "block judged: the node has it");
        }
        Verdict::Inconclusive => {
            warn!(node, hash, verdict = "inconclusive", "block judged: another was first");
        }
        Verdict::Rejected(why) => {
            error!(
                node,
                hash,
                verdict = "rejected",
                "block judged: {why}; look for it in DATA_DIR/blocks and report it, please"
            );
        }
        Verdict::Unknown(why) if first => {
            warn!(
                node,
                hash,
                verdict = "unknown",
                "block not judged: {why}; offered again until it is"
            );
        }
        // It was said, and that this node is in trouble is said every minute.
        Verdict::Unknown(why) => debug!(node, hash, "block still not judged: {why}"),
    }
}

/// A node was asked what it thinks of a block that left its chain: that is not guessed.
pub(super) fn on_branch(node: usize, hash: &Hash, reply: &Result<HttpReply, CallError>) {
    let (node, shown) = (node + 1, display_hash(hash));
    let thinks = match tips::branch(reply, hash) {
        Ok(Some(Branch::Active)) => "it is in the chain again",
        Ok(Some(Branch::ValidFork)) => {
            "it is valid, and another block of its height has won; it comes back if that changes"
        }
        Ok(Some(Branch::ValidHeaders | Branch::HeadersOnly)) => "it is not checked to the end",
        Ok(Some(Branch::Invalid)) => {
            "it counts as invalid there: an enforcer, or somebody, called it that by \
             invalidateblock; look at the enforcer's log"
        }
        Ok(Some(Branch::Unknown) | None) => "the node does not say",
        Err(error) => return debug!(node, hash = shown, "what became of it is not known: {error}"),
    };
    warn!(node, hash = shown, "the block that left the chain: {thinks}");
}

/// A node was asked to keep the block of ours that the other nodes keep. It is a wish: a node that
/// does not know the word, or is away, does as it would.
pub(super) fn on_preferred(node: usize, hash: &Hash, reply: &Result<HttpReply, CallError>) {
    let (node, hash) = (node + 1, display_hash(hash));
    match rpc::result(reply) {
        Ok(_) => info!(node, hash, "two blocks of ours compete: all nodes prefer this one"),
        Err(error) => warn!(
            node,
            hash,
            "two blocks of ours compete, and this node does not prefer the one that the others \
             have: {error}; the next block decides"
        ),
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
    if let Err(breaches) = judge(&block) {
        error!(hash, "an enforcer would refuse this block of ours: {breaches}");
    }
}

fn decode(found: &FoundBlock) -> Option<bitcoin::Block> {
    bitcoin::consensus::deserialize(&found.bytes).ok()
}

/// What an enforcer would say of a block, as far as that can be told without its state.
fn judge(block: &bitcoin::Block) -> Result<(), check::Breaches> {
    check::block(block, block.header.prev_blockhash, None).map(drop)
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
