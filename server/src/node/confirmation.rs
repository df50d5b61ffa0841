//! The verdict after the verdict: whether an accepted block stays in the node's chain.
//!
//! bitcoind does not know BIP-0300 and BIP-0301. It accepts a block that breaks them, and the
//! enforcer beside it has it invalidated 20-40 ms later. So `submitblock`'s null is not the end:
//! the node is asked for some seconds where the block stands (BIP300-301, item 8).

use core::time::Duration;
use std::collections::BTreeMap;

use bytes::Bytes;

use super::rpc::{self, CallError, HttpReply, METHOD_NOT_FOUND, RpcError};
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

#[derive(Debug)]
struct Watched {
    block: FoundBlock,
    accepted: Instant,
    questions: usize,
    asked: bool,
}

impl Watched {
    fn due(&self) -> Option<Instant> {
        let after = ASKED_AFTER.get(self.questions).filter(|_| !self.asked)?;
        Some(self.accepted + *after)
    }
}

/// Accepted blocks whose story may not be over.
#[derive(Debug, Default)]
pub struct Confirmations {
    watched: BTreeMap<Hash, Watched>,
    /// The node does not answer this question: an enforcer, which knows only two methods.
    unanswerable: bool,
}

impl Confirmations {
    /// The node accepted `block` just now.
    pub fn watch(&mut self, now: Instant, block: FoundBlock) {
        if self.unanswerable {
            return;
        }
        if self.watched.len() >= WATCHED_MAX {
            let oldest = self.watched.iter().min_by_key(|(_, watched)| watched.accepted);
            let oldest = oldest.map(|(hash, _)| *hash);
            oldest.and_then(|hash| self.watched.remove(&hash));
        }
        let hash = block.hash;
        let watched = Watched { block, accepted: now, questions: 0, asked: false };
        self.watched.insert(hash, watched);
    }

    /// The next question that is due, with its body; call again until `None`.
    pub fn poll_question(&mut self, now: Instant) -> Option<(Hash, Bytes)> {
        let mut all = self.watched.iter_mut();
        let (hash, watched) =
            all.find(|(_, watched)| watched.due().is_some_and(|due| due <= now))?;
        watched.asked = true;
        Some((*hash, rpc::block_header_request(hash)))
    }

    /// When [`Self::poll_question`] next has something.
    pub fn next_question(&self) -> Option<Instant> {
        self.watched.values().filter_map(Watched::due).min()
    }

    /// The node answered, or did not. A block that left its chain comes back.
    pub fn on_reply(
        &mut self,
        hash: Hash,
        reply: &Result<HttpReply, CallError>,
    ) -> Option<FoundBlock> {
        let watched = self.watched.get_mut(&hash)?;
        watched.asked = false;
        watched.questions += 1;
        match rpc::confirmations(reply) {
            Ok(confirmations) if confirmations < 0 => {
                return self.watched.remove(&hash).map(|watched| watched.block);
            }
            Err(RpcError::Refused { code: METHOD_NOT_FOUND, .. }) => {
                self.unanswerable = true;
                self.watched.clear();
                return None;
            }
            // Silence is no verdict: the next question comes.
            Ok(_) | Err(_) => {}
        }
        if watched.questions >= ASKED_AFTER.len() {
            self.watched.remove(&hash);
        }
        None
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
        watched.poll_question(due).map(|(hash, _)| hash)
    }

    #[test]
    fn asked_for_some_seconds_and_then_left_alone() {
        let mut watched = Confirmations::default();
        watched.watch(Instant::ZERO, block(1));
        assert!(watched.poll_question(Instant::ZERO).is_none(), "the enforcer needs a moment");
        for _ in ASKED_AFTER {
            let hash = next(&mut watched).expect("due");
            assert_eq!(next(&mut watched), None, "one question at a time");
            assert_eq!(watched.on_reply(hash, &answer(r#"{"result":{"confirmations":1}}"#)), None);
        }
        assert_eq!(watched.next_question(), None);
    }

    #[test]
    fn a_block_that_left_the_chain_comes_back_once() {
        let mut watched = Confirmations::default();
        watched.watch(Instant::ZERO, block(1));
        let hash = next(&mut watched).expect("due");
        assert_eq!(watched.on_reply(hash, &Err(CallError::Timeout)), None, "silence is no verdict");
        let hash = next(&mut watched).expect("due");
        let left = answer(r#"{"result":{"confirmations":-1}}"#);
        assert_eq!(watched.on_reply(hash, &left), Some(block(1)));
        assert_eq!(watched.on_reply(hash, &left), None);
    }

    #[test]
    fn an_enforcer_is_not_asked_twice() {
        let mut watched = Confirmations::default();
        watched.watch(Instant::ZERO, block(1));
        let hash = next(&mut watched).expect("due");
        let unknown = answer(r#"{"error":{"code":-32601,"message":"Method not found"}}"#);
        assert_eq!(watched.on_reply(hash, &unknown), None);
        watched.watch(Instant::ZERO, block(2));
        assert_eq!(watched.next_question(), None);
    }

    #[test]
    fn only_so_many_are_watched() {
        let mut watched = Confirmations::default();
        for seed in 0..40 {
            watched.watch(Instant::from_nanos(u64::from(seed)), block(seed));
        }
        assert_eq!(watched.watched.len(), WATCHED_MAX);
        assert!(watched.watched.contains_key(&[39; 32]));
    }
}
