//! The verdict after the verdict: whether an accepted block stays in the node's chain.
//!
//! bitcoind does not know BIP-0300 and BIP-0301. It accepts a block that breaks them, and the
//! enforcer beside it has it invalidated 20-40 ms later. So `submitblock`'s null is not the end:
//! the node is asked for some seconds where the block stands (BIP300-301, item 8). Nor is any other
//! word: a block that it had before, or keeps aside, may be in its chain all the same.
//!
//! Of several nodes that have the block the most preferred is asked, and where that is an enforcer,
//! which does not know the question, the next.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::rpc::{CallError, HttpReply, METHOD_NOT_FOUND, RpcError, header};
use crate::clock::Instant;
use crate::mining::block::FoundBlock;
use crate::mining::hash::Hash;

/// When the node is asked, after it accepted.
const ASKED_AFTER: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
];
/// Blocks watched at a time; on a regtest chain at full speed the oldest go first.
const WATCHED_MAX: usize = 16;

/// What a node said of a block that it has.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Claim {
    /// It is kept aside, for another was first.
    Aside,
    /// It was there before, in the chain or not.
    Had,
    /// It is in the chain.
    InChain,
}

/// What a node's answer means for a block.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Standing {
    /// It is in the chain after all; with what was last claimed.
    Joined(FoundBlock, Claim),
    /// It left the chain that it was in.
    Left(FoundBlock),
}

#[derive(Debug)]
struct Watched {
    block: FoundBlock,
    since: Instant,
    questions: usize,
    asked: bool,
    /// The best that a node said.
    claim: Claim,
    /// The nodes to ask, in this order.
    nodes: Vec<usize>,
}

impl Watched {
    fn due(&self) -> Option<Instant> {
        let after = ASKED_AFTER.get(self.questions).filter(|_| !self.asked)?;
        (!self.nodes.is_empty()).then_some(self.since + *after)
    }
}

/// Blocks that nodes have and whose story may not be over.
#[derive(Debug, Default)]
pub struct Confirmations {
    watched: BTreeMap<Hash, Watched>,
    /// Nodes that do not answer this question: enforcers, which know only two methods.
    unanswerable: BTreeSet<usize>,
}

impl Confirmations {
    /// The node at this place has `block`, and says this of it.
    pub fn watch(&mut self, now: Instant, block: &FoundBlock, node: usize, claim: Claim) {
        let can_answer = !self.unanswerable.contains(&node);
        // Who only keeps it aside has no say beside those whose chain it may be in.
        if let Some(watched) = self.watched.get_mut(&block.hash)
            && (watched.claim > Claim::Aside || claim == Claim::Aside)
        {
            if can_answer && (claim > Claim::Aside || watched.claim == Claim::Aside) {
                watched.nodes.push(node);
                watched.nodes.sort_unstable();
            }
            watched.claim = watched.claim.max(claim);
            return;
        }
        self.make_room();
        let nodes = if can_answer { vec![node] } else { Vec::new() };
        let (block, hash) = (block.clone(), block.hash);
        let watched = Watched { block, since: now, questions: 0, asked: false, claim, nodes };
        self.watched.insert(hash, watched);
    }

    fn make_room(&mut self) {
        if self.watched.len() >= WATCHED_MAX {
            let oldest = self.watched.iter().min_by_key(|(_, watched)| watched.since);
            let oldest = oldest.map(|(hash, _)| *hash);
            oldest.and_then(|hash| self.watched.remove(&hash));
        }
    }

    /// The next question that is due, whom to ask and with which body; call again until `None`.
    pub fn poll_question(&mut self, now: Instant) -> Option<(usize, Hash, Bytes)> {
        let mut all = self.watched.iter_mut();
        let (hash, watched) =
            all.find(|(_, watched)| watched.due().is_some_and(|due| due <= now))?;
        let node = *watched.nodes.first()?;
        watched.asked = true;
        Some((node, *hash, header::block_header_request(hash)))
    }

    /// When [`Self::poll_question`] next has something.
    pub fn next_question(&self) -> Option<Instant> {
        self.watched.values().filter_map(Watched::due).min()
    }

    /// The node at this place answered, or did not.
    pub fn on_reply(
        &mut self,
        node: usize,
        hash: Hash,
        reply: &Result<HttpReply, CallError>,
    ) -> Option<Standing> {
        let answer = header::confirmations(reply);
        let watched = self.watched.get_mut(&hash)?;
        if !watched.nodes.contains(&node) {
            return None;
        }
        watched.asked = false;
        if matches!(answer, Err(RpcError::Refused { code: METHOD_NOT_FOUND, .. })) {
            self.unanswerable.insert(node);
            self.watched.values_mut().for_each(|watched| watched.nodes.retain(|one| *one != node));
            return None;
        }
        watched.questions += 1;
        let mut standing = None;
        match answer {
            Ok(confirmations) if confirmations < 0 => {
                if watched.claim == Claim::InChain {
                    return self.watched.remove(&hash).map(|watched| Standing::Left(watched.block));
                }
            }
            Ok(_) => {
                let claim = core::mem::replace(&mut watched.claim, Claim::InChain);
                let joined = claim != Claim::InChain;
                standing = joined.then(|| Standing::Joined(watched.block.clone(), claim));
            }
            // Silence is no verdict: the next question comes, to another who may know.
            Err(_) => watched.nodes.rotate_left(1),
        }
        if watched.questions >= ASKED_AFTER.len() {
            self.watched.remove(&hash);
        }
        standing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(seed: u8) -> FoundBlock {
        FoundBlock { height: 1, hash: [seed; 32], bytes: vec![seed] }
    }

    #[expect(clippy::unnecessary_wraps, reason = "the form in which replies come")]
    fn answer(body: &str) -> Result<HttpReply, CallError> {
        Ok(HttpReply { status: 200, body: Bytes::copy_from_slice(body.as_bytes()) })
    }

    fn next(watched: &mut Confirmations) -> Option<Hash> {
        let due = watched.next_question()?;
        watched.poll_question(due).map(|(_, hash, _)| hash)
    }

    #[test]
    fn asked_for_some_seconds_and_then_left_alone() {
        let mut watched = Confirmations::default();
        watched.watch(Instant::ZERO, &block(1), 0, Claim::InChain);
        assert!(watched.poll_question(Instant::ZERO).is_none(), "the enforcer needs a moment");
        for _ in ASKED_AFTER {
            let hash = next(&mut watched).expect("due");
            assert_eq!(next(&mut watched), None, "one question at a time");
            assert_eq!(
                watched.on_reply(0, hash, &answer(r#"{"result":{"confirmations":1}}"#)),
                None
            );
        }
        assert_eq!(watched.next_question(), None);
    }

    #[test]
    fn a_block_that_left_the_chain_comes_back_once() {
        let mut watched = Confirmations::default();
        watched.watch(Instant::ZERO, &block(1), 0, Claim::InChain);
        let hash = next(&mut watched).expect("due");
        assert_eq!(
            watched.on_reply(0, hash, &Err(CallError::Timeout)),
            None,
            "silence is no verdict"
        );
        let hash = next(&mut watched).expect("due");
        let left = answer(r#"{"result":{"confirmations":-1}}"#);
        assert_eq!(watched.on_reply(0, hash, &left), Some(Standing::Left(block(1))));
        assert_eq!(watched.on_reply(0, hash, &left), None);
    }

    #[test]
    fn an_enforcer_is_not_asked_twice() {
        let mut watched = Confirmations::default();
        watched.watch(Instant::ZERO, &block(1), 0, Claim::InChain);
        let hash = next(&mut watched).expect("due");
        let unknown = answer(r#"{"error":{"code":-32601,"message":"Method not found"}}"#);
        assert_eq!(watched.on_reply(0, hash, &unknown), None);
        watched.watch(Instant::ZERO, &block(2), 0, Claim::InChain);
        assert_eq!(watched.next_question(), None);
    }

    #[test]
    fn only_so_many_are_watched() {
        let mut watched = Confirmations::default();
        for seed in 0..40 {
            watched.watch(Instant::from_nanos(u64::from(seed)), &block(seed), 0, Claim::InChain);
        }
        assert_eq!(watched.watched.len(), WATCHED_MAX);
        assert!(watched.watched.contains_key(&[39; 32]));
    }

    #[test]
    fn where_the_first_node_does_not_know_the_second_is_asked() {
        let mut watched = Confirmations::default();
        watched.watch(Instant::ZERO, &block(1), 1, Claim::Had);
        watched.watch(Instant::ZERO, &block(1), 0, Claim::InChain);
        let due = watched.next_question().expect("due");
        let (node, hash, _) = watched.poll_question(due).expect("due");
        assert_eq!(node, 0, "the preferred one");
        let unknown = answer(r#"{"error":{"code":-32601,"message":"Method not found"}}"#);
        assert_eq!(watched.on_reply(node, hash, &unknown), None);
        let (node, hash, _) = watched.poll_question(due).expect("at once");
        assert_eq!(node, 1);
        let left = answer(r#"{"result":{"confirmations":-1}}"#);
        assert_eq!(watched.on_reply(node, hash, &left), Some(Standing::Left(block(1))));
        // Another's silence is made up for as well.
        watched.watch(Instant::ZERO, &block(2), 2, Claim::InChain);
        watched.watch(Instant::ZERO, &block(2), 1, Claim::InChain);
        let asked: Vec<usize> = (0..3)
            .map(|_| {
                let due = watched.next_question().expect("due");
                let (node, hash, _) = watched.poll_question(due).expect("due");
                assert_eq!(watched.on_reply(node, hash, &Err(CallError::Timeout)), None);
                node
            })
            .collect();
        assert_eq!(asked, [1, 2, 1]);
    }

    #[test]
    fn a_block_that_was_kept_aside_may_win_and_cannot_leave() {
        let mut watched = Confirmations::default();
        watched.watch(Instant::ZERO, &block(1), 0, Claim::Aside);
        let aside = answer(r#"{"result":{"confirmations":-1}}"#);
        let hash = next(&mut watched).expect("due");
        assert_eq!(watched.on_reply(0, hash, &aside), None);
        let hash = next(&mut watched).expect("due");
        let won = answer(r#"{"result":{"confirmations":2}}"#);
        assert_eq!(watched.on_reply(0, hash, &won), Some(Standing::Joined(block(1), Claim::Aside)));
        let hash = next(&mut watched).expect("due");
        assert_eq!(watched.on_reply(0, hash, &aside), Some(Standing::Left(block(1))));
    }
}
