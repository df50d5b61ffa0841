//! A sidechain daemon of our own: asks it for h\* and keeps the answer for the tip it was for.
//!
//! An h\* commits to one mainchain tip. The daemon is asked anew for every tip and every refresh;
//! an answer that a new tip overtook is thrown away. A daemon that shows which mainchain block its
//! own builds on may be behind the node: then it is asked again, shortly.

pub mod thunder;

use core::time::Duration;

use bytes::Bytes;
use tracing::{info, warn};

use self::thunder::Blocks;
use super::rpc::{self, CallError, HttpReply, RpcError};
use crate::bmm::Commitment;
use crate::clock::Instant;
use crate::config::{Fallback, OwnSidechain, SidechainKind};
use crate::mining::hash::Hash;

/// How soon a daemon that is behind the node is asked again; twice as long each time.
const BEHIND_PAUSE: Duration = Duration::from_millis(50);
/// Longest such pause, and when being behind is spoken of.
const BEHIND_PAUSE_MAX: Duration = Duration::from_secs(2);

/// One daemon, as it is asked.
#[derive(Debug)]
pub struct Daemon {
    chain: OwnSidechain,
    known: Option<(Hash, Commitment)>,
    asked: Option<Hash>,
    /// When to ask once more for the same tip.
    again: Option<Instant>,
    behind_pause: Duration,
    failing: bool,
    /// What stands behind the h\* it gave, where it gives that too.
    pub blocks: Blocks,
}

impl Daemon {
    /// Nothing was asked yet.
    pub fn new(chain: OwnSidechain) -> Self {
        Self {
            chain,
            known: None,
            asked: None,
            again: None,
            behind_pause: BEHIND_PAUSE,
            failing: false,
            blocks: Blocks::default(),
        }
    }

    /// The sidechain as it is configured.
    pub fn chain(&self) -> &OwnSidechain {
        &self.chain
    }

    /// Whether an answer may come any moment: a question is on its way, or will be shortly.
    pub fn is_awaited(&self) -> bool {
        self.asked.is_some() || self.again.is_some() && !self.failing
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
        self.again = None;
        Some(match self.chain.kind {
            SidechainKind::BestBlock => rpc::best_block_hash_request(),
            SidechainKind::Thunder => rpc::thunder::block_template_request(),
        })
    }

    /// Its answer is out of date: asks again at `now`, or as soon as the answer on its way is
    /// there.
    pub fn ask_again(&mut self, now: Instant) {
        self.again = Some(now);
    }

    /// When it wants to be asked again for the tip that stands.
    pub fn next_question(&self) -> Option<Instant> {
        self.again.filter(|_| self.asked.is_none())
    }

    /// The daemon answered, or did not.
    pub fn on_reply(&mut self, now: Instant, reply: &Result<HttpReply, CallError>) {
        let Some(tip) = self.asked.take() else { return };
        let slot = self.chain.slot;
        match self.read(now, tip, reply) {
            Ok(Some(hash)) => {
                if self.failing {
                    info!(%slot, "sidechain daemon works again");
                }
                self.failing = false;
                self.behind_pause = BEHIND_PAUSE;
                self.known = Some((tip, Commitment { slot, hash }));
            }
            Ok(None) => {
                if self.behind_pause >= BEHIND_PAUSE_MAX {
                    self.fails(
                        "its block builds on another mainchain block than the node's tip",
                        "see that it follows the same node",
                    );
                }
            }
            Err(error) => self.fails(
                &error.to_string(),
                "check SC_RPC_HOST, SC_RPC_PORT, SC_RPC_USER and SC_RPC_PASSWORD, or the same \
                 in its [[sidechain]]",
            ),
        }
    }

    /// The h\* for `tip` in a reply; none when the daemon is not there yet.
    fn read(
        &mut self,
        now: Instant,
        tip: Hash,
        reply: &Result<HttpReply, CallError>,
    ) -> Result<Option<[u8; 32]>, RpcError> {
        if self.chain.kind == SidechainKind::BestBlock {
            return rpc::best_block_hash(reply).map(Some);
        }
        let template = rpc::thunder::block_template(reply)?;
        if template.parent.is_some_and(|parent| parent != tip) {
            self.again = Some(now + self.behind_pause);
            self.behind_pause = (self.behind_pause * 2).min(BEHIND_PAUSE_MAX);
            return Ok(None);
        }
        let lost = self.blocks.keep(template.critical_hash, template.block);
        if lost > 0 {
            warn!(
                slot = %self.chain.slot,
                lost,
                "more sidechain blocks than can be kept: a mainchain block from an old job may \
                 leave its sidechain block unconnected; raise JOB_REFRESH_INTERVAL"
            );
        }
        Ok(Some(template.critical_hash))
    }

    fn fails(&mut self, what: &str, advice: &str) {
        if !self.failing {
            let instead = match self.chain.fallback {
                Fallback::Zero => "a zeroed h* is committed instead",
                Fallback::Skip => "nothing is committed for it",
            };
            let slot = self.chain.slot;
            warn!(%slot, "sidechain daemon gave no h*: {what}; until it does, {instead}; {advice}");
        }
        self.failing = true;
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
        daemon.on_reply(Instant::ZERO, &h_star("aa"));
        assert_eq!(committed(&daemon, TIP), Some(0xaa));
        assert_eq!(committed(&daemon, NEXT), Some(0), "zeroed until it answers for this tip");
    }

    #[test]
    fn a_failing_daemon_is_zeroed_or_skipped() {
        for (fallback, expected) in [(Fallback::Zero, Some(0)), (Fallback::Skip, None)] {
            let mut daemon = daemon(fallback);
            daemon.ask(TIP);
            daemon.on_reply(Instant::ZERO, &Err(CallError::Timeout));
            assert_eq!(committed(&daemon, TIP), expected);
            assert!(!daemon.is_awaited());
        }
    }

    #[test]
    fn a_failed_refresh_keeps_what_was_said_of_the_same_tip() {
        let mut daemon = daemon(Fallback::Zero);
        daemon.ask(TIP);
        daemon.on_reply(Instant::ZERO, &h_star("aa"));
        daemon.ask(TIP);
        daemon.on_reply(Instant::ZERO, &Err(CallError::Timeout));
        assert_eq!(committed(&daemon, TIP), Some(0xaa));
    }

    #[test]
    fn an_overtaken_question_is_noticed() {
        let mut daemon = daemon(Fallback::Zero);
        daemon.ask(TIP);
        assert!(daemon.is_overtaken(NEXT) && !daemon.is_overtaken(TIP));
        assert!(daemon.ask(NEXT).is_some());
        daemon.on_reply(Instant::ZERO, &h_star("bb"));
        assert_eq!(committed(&daemon, NEXT), Some(0xbb));
    }

    #[expect(clippy::unnecessary_wraps, reason = "the form in which replies come")]
    fn block(h_star: &str, parent: u8) -> Result<HttpReply, CallError> {
        let (h_star, parent) = (h_star.repeat(32), format!("{parent:02x}").repeat(32));
        let body = format!(
            "{{\"result\":{{\"critical_hash\":\"{h_star}\",\"fees_sats\":0,\
             \"block\":{{\"header\":{{\"prev_main_hash\":\"{parent}\"}}}}}},\"id\":1}}"
        );
        Ok(HttpReply { status: 200, body: body.into() })
    }

    fn thunder() -> Daemon {
        let chain = OwnSidechain::new(Slot(9));
        Daemon::new(OwnSidechain { kind: SidechainKind::Thunder, ..chain })
    }

    #[test]
    fn a_thunder_that_is_behind_is_asked_again_and_waited_for() {
        let mut daemon = thunder();
        let mut now = Instant::ZERO;
        let body = daemon.ask(TIP).expect("a question");
        assert!(body.ends_with(b"\"method\":\"get_block_template\",\"params\":[]}"));
        for pause in [50, 100, 200] {
            daemon.on_reply(now, &block("aa", 7));
            assert_eq!(committed(&daemon, TIP), Some(0), "not an h* for this tip");
            assert!(daemon.is_awaited(), "it may be there any moment");
            let due = daemon.next_question().expect("again");
            assert_eq!(due.since(now).as_millis(), pause);
            now = due;
            assert!(daemon.ask(TIP).is_some());
        }
        daemon.on_reply(now, &block("bb", 1));
        assert_eq!(committed(&daemon, TIP), Some(0xbb));
        assert_eq!((daemon.next_question(), daemon.is_awaited()), (None, false));
        assert_eq!(daemon.blocks.iter().count(), 1, "its block is kept");
    }

    #[test]
    fn a_thunder_on_another_chain_is_no_longer_waited_for() {
        let mut daemon = thunder();
        let mut now = Instant::ZERO;
        for _ in 0..8 {
            daemon.ask(TIP);
            daemon.on_reply(now, &block("aa", 7));
            now = daemon.next_question().expect("again, for as long as the tip stands");
        }
        assert!(!daemon.is_awaited());
        daemon.ask(TIP);
        daemon.on_reply(now, &block("bb", 1));
        assert_eq!(committed(&daemon, TIP), Some(0xbb));
    }

    #[test]
    fn an_answer_that_is_out_of_date_is_followed_by_another_question() {
        let mut daemon = thunder();
        daemon.ask(TIP);
        daemon.ask_again(Instant::ZERO);
        assert_eq!(daemon.next_question(), None, "one question at a time");
        daemon.on_reply(Instant::ZERO, &block("aa", 1));
        assert_eq!(daemon.next_question(), Some(Instant::ZERO));
    }
}
