//! A sidechain daemon of our own: asks it for h\* and keeps the answer for the tip it was for.
//!
//! An h\* commits to one mainchain tip. The daemon is asked anew for every tip and every refresh;
//! an answer that a new tip overtook is thrown away.

use bytes::Bytes;
use tracing::{info, warn};

use super::rpc::{self, CallError, HttpReply};
use crate::bmm::Commitment;
use crate::config::{Fallback, OwnSidechain};
use crate::mining::hash::Hash;

/// One daemon, as it is asked.
#[derive(Debug)]
pub struct Daemon {
    chain: OwnSidechain,
    known: Option<(Hash, Commitment)>,
    asked: Option<Hash>,
    failing: bool,
}

impl Daemon {
    /// Nothing was asked yet.
    pub fn new(chain: OwnSidechain) -> Self {
        Self { chain, known: None, asked: None, failing: false }
    }

    /// Whether a question is on its way.
    pub fn is_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// Whether the question on its way is for a tip other than `tip`, and must be taken back.
    pub fn is_overtaken(&self, tip: Hash) -> bool {
        self.asked.is_some_and(|asked| asked != tip)
    }

    /// The body of the question for `tip`, unless it is on its way already.
    pub fn ask(&mut self, tip: Hash) -> Option<Bytes> {
        if self.asked == Some(tip) {
            return None;
        }
        self.asked = Some(tip);
        Some(rpc::best_block_hash_request())
    }

    /// The daemon answered, or did not.
    pub fn on_reply(&mut self, reply: &Result<HttpReply, CallError>) {
        let Some(tip) = self.asked.take() else { return };
        let slot = self.chain.slot;
        match rpc::best_block_hash(reply) {
            Ok(hash) => {
                if self.failing {
                    info!(%slot, "sidechain daemon works again");
                }
                self.failing = false;
                self.known = Some((tip, Commitment { slot, hash }));
            }
            Err(error) => {
                if !self.failing {
                    let instead = match self.chain.fallback {
                        Fallback::Zero => "a zeroed h* is committed instead",
                        Fallback::Skip => "nothing is committed for it",
                    };
                    warn!(
                        %slot,
                        "sidechain daemon gave no h*: {error}; until it does, {instead}; check \
                         SC_RPC_HOST, SC_RPC_PORT, SC_RPC_USER and SC_RPC_PASSWORD"
                    );
                }
                self.failing = true;
            }
        }
    }

    /// What to commit to in a block on `tip`: the answer for that very tip, or the fallback.
    pub fn commitment(&self, tip: Hash) -> Option<Commitment> {
        let known = self.known.filter(|(asked_for, _)| *asked_for == tip);
        match (known, self.chain.fallback) {
            (Some((_, commitment)), _) => Some(commitment),
            (None, Fallback::Zero) => Some(Commitment { slot: self.chain.slot, hash: [0; 32] }),
            (None, Fallback::Skip) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bmm::Slot;

    const TIP: Hash = [1; 32];
    const NEXT: Hash = [2; 32];

    fn daemon(fallback: Fallback) -> Daemon {
        Daemon::new(OwnSidechain { fallback, ..OwnSidechain::new(Slot(9)) })
    }

    #[expect(clippy::unnecessary_wraps, reason = "the form in which replies come")]
    fn h_star(byte: &str) -> Result<HttpReply, CallError> {
        let body = format!("{{\"result\":\"{}\",\"id\":1}}", byte.repeat(32)).into();
        Ok(HttpReply { status: 200, body })
    }

    fn committed(daemon: &Daemon, tip: Hash) -> Option<u8> {
        daemon.commitment(tip).map(|commitment| commitment.hash[0])
    }

    #[test]
    fn an_answer_counts_for_its_tip_alone() {
        let mut daemon = daemon(Fallback::Zero);
        assert!(daemon.ask(TIP).is_some());
        assert!(daemon.ask(TIP).is_none(), "one question at a time");
        daemon.on_reply(&h_star("aa"));
        assert_eq!(committed(&daemon, TIP), Some(0xaa));
        assert_eq!(committed(&daemon, NEXT), Some(0), "zeroed until it answers for this tip");
    }

    #[test]
    fn a_failing_daemon_is_zeroed_or_skipped() {
        for (fallback, expected) in [(Fallback::Zero, Some(0)), (Fallback::Skip, None)] {
            let mut daemon = daemon(fallback);
            daemon.ask(TIP);
            daemon.on_reply(&Err(CallError::Timeout));
            assert_eq!(committed(&daemon, TIP), expected);
            assert!(!daemon.is_asked());
        }
    }

    #[test]
    fn a_failed_refresh_keeps_what_was_said_of_the_same_tip() {
        let mut daemon = daemon(Fallback::Zero);
        daemon.ask(TIP);
        daemon.on_reply(&h_star("aa"));
        daemon.ask(TIP);
        daemon.on_reply(&Err(CallError::Timeout));
        assert_eq!(committed(&daemon, TIP), Some(0xaa));
    }

    #[test]
    fn an_overtaken_question_is_noticed() {
        let mut daemon = daemon(Fallback::Zero);
        daemon.ask(TIP);
        assert!(daemon.is_overtaken(NEXT) && !daemon.is_overtaken(TIP));
        assert!(daemon.ask(NEXT).is_some());
        daemon.on_reply(&h_star("bb"));
        assert_eq!(committed(&daemon, NEXT), Some(0xbb));
    }
}
