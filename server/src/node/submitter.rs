//! Hands found blocks to the node, and tells what became of them.
//!
//! Only the node's own words are a verdict. Silence, a broken connection or an error about
//! something else is none: the block is offered again until there is one.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::rpc::{self, CallError, HttpReply, RpcError};
use crate::clock::Instant;
use crate::mining::block::FoundBlock;
use crate::mining::hash::Hash;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Judged blocks whose hashes are remembered, so that none is offered twice.
const JUDGED_MAX: usize = 1_024;
/// bitcoind's code for a block that does not decode.
const DECODE_FAILED: i64 = -22;

/// What the node said of a block.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It is in the node's chain.
    Accepted,
    /// The node had it already, as valid.
    Duplicate,
    /// It may be valid, but did not become the tip: another block was there first.
    Inconclusive,
    /// It is not valid, and why.
    Rejected(String),
    /// Not known: the node did not answer the question.
    Unknown(String),
}

impl Verdict {
    /// Reads the reply to `submitblock` (BIP-0022 and bitcoind's own words).
    pub fn read(reply: &Result<HttpReply, CallError>) -> Self {
        let text = match rpc::result(reply) {
            Ok(text) => text.get(),
            Err(RpcError::Refused { code: DECODE_FAILED, message }) => {
                return Self::Rejected(message);
            }
            Err(error) => return Self::Unknown(error.to_string()),
        };
        if text == "null" {
            return Self::Accepted;
        }
        match serde_json::from_str::<String>(text) {
            Err(_) => Self::Unknown(format!("the node answered {text:.80}")),
            Ok(word) => match word.as_str() {
                "duplicate" => Self::Duplicate,
                "inconclusive" | "duplicate-inconclusive" => Self::Inconclusive,
                _ => Self::Rejected(word),
            },
        }
    }

    /// Whether it ends the block's story.
    pub const fn is_final(&self) -> bool {
        !matches!(self, Self::Unknown(_))
    }
}

#[derive(Debug)]
struct Offer {
    block: FoundBlock,
    asked: bool,
    due: Instant,
    pause: Duration,
}

/// The blocks that were found and are not yet judged.
#[derive(Debug)]
pub struct Submitter {
    offers: BTreeMap<Hash, Offer>,
    judged: BTreeSet<Hash>,
    judged_in_order: VecDeque<Hash>,
    pause_max: Duration,
}

impl Submitter {
    /// Nothing was found yet. `pause_max` is the longest pause before a block is offered again.
    pub fn new(pause_max: Duration) -> Self {
        Self {
            offers: BTreeMap::new(),
            judged: BTreeSet::new(),
            judged_in_order: VecDeque::new(),
            pause_max,
        }
    }

    /// Takes a block in; `false` when it was taken before.
    pub fn offer(&mut self, now: Instant, block: &FoundBlock) -> bool {
        if self.judged.contains(&block.hash) || self.offers.contains_key(&block.hash) {
            return false;
        }
        let offer = Offer { block: block.clone(), asked: false, due: now, pause: FIRST_PAUSE };
        self.offers.insert(block.hash, offer);
        true
    }

    /// The next block to hand in, with the call's body; call again until `None`.
    pub fn poll_submission(&mut self, now: Instant) -> Option<(Hash, Bytes)> {
        let mut due = self.offers.values_mut().filter(|offer| !offer.asked && offer.due <= now);
        let offer = due.next()?;
        offer.asked = true;
        Some((offer.block.hash, rpc::submit_request(&offer.block.bytes)))
    }

    /// When [`Self::poll_submission`] next has something.
    pub fn next_submission(&self) -> Option<Instant> {
        self.offers.values().filter(|offer| !offer.asked).map(|offer| offer.due).min()
    }

    /// The node answered, or did not. The block comes back with a verdict that ends its story.
    pub fn on_reply(
        &mut self,
        now: Instant,
        hash: Hash,
        reply: &Result<HttpReply, CallError>,
    ) -> Option<(Verdict, Option<FoundBlock>)> {
        let verdict = Verdict::read(reply);
        let offer = self.offers.get_mut(&hash)?;
        assert!(offer.asked, "a reply answers a question");
        if !verdict.is_final() {
            offer.asked = false;
            offer.due = now + offer.pause;
            offer.pause = (offer.pause * 2).min(self.pause_max);
            return Some((verdict, None));
        }
        let offer = self.offers.remove(&hash)?;
        self.judged.insert(hash);
        self.judged_in_order.push_back(hash);
        if self.judged_in_order.len() > JUDGED_MAX
            && let Some(oldest) = self.judged_in_order.pop_front()
        {
            self.judged.remove(&oldest);
        }
        Some((verdict, Some(offer.block)))
    }

    /// How many blocks are not judged.
    pub fn pending(&self) -> usize {
        self.offers.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "the form in which replies come")]
    fn answer(status: u16, body: &'static str) -> Result<HttpReply, CallError> {
        Ok(HttpReply { status, body: Bytes::from_static(body.as_bytes()) })
    }

    /// FAILURES 11: neither error may be taken for the other.
    #[test]
    fn verdicts_are_told_apart() {
        let rejected = |why: &str| Verdict::Rejected(why.to_owned());
        let check = |status, body, expected| {
            assert_eq!(Verdict::read(&answer(status, body)), expected, "{body}");
        };
        check(200, r#"{"result":null,"error":null,"id":1}"#, Verdict::Accepted);
        check(200, r#"{"result":"duplicate","id":1}"#, Verdict::Duplicate);
        check(200, r#"{"result":"inconclusive","id":1}"#, Verdict::Inconclusive);
        check(200, r#"{"result":"duplicate-inconclusive","id":1}"#, Verdict::Inconclusive);
        check(200, r#"{"result":"duplicate-invalid","id":1}"#, rejected("duplicate-invalid"));
        check(200, r#"{"result":"bad-cb-amount","id":1}"#, rejected("bad-cb-amount"));
        let undecodable = r#"{"result":null,"error":{"code":-22,"message":"Block decode failed"}}"#;
        check(500, undecodable, rejected("Block decode failed"));
        let unknown = |reply| assert!(matches!(Verdict::read(&reply), Verdict::Unknown(_)));
        unknown(answer(200, "{}"));
        unknown(answer(200, "{\"result\":nul"));
        unknown(answer(200, r#"{"result":5,"id":1}"#));
        unknown(answer(200, r#"{"result":true,"id":1}"#));
        unknown(answer(500, "<html>oops</html>"));
        unknown(answer(503, "Work queue depth exceeded"));
        unknown(answer(401, ""));
        unknown(answer(500, r#"{"result":null,"error":{"code":-28,"message":"Loading"}}"#));
        unknown(Err(CallError::Timeout));
        unknown(Err(CallError::Broken("reset".to_owned())));
        unknown(Err(CallError::Connect("refused".to_owned())));
    }

    #[test]
    fn offered_until_there_is_a_verdict_and_then_never_again() {
        let block = FoundBlock { height: 1, hash: [1; 32], bytes: vec![0xab] };
        let mut submitter = Submitter::new(Duration::from_millis(200));
        let mut now = Instant::ZERO;
        assert!(submitter.offer(now, &block));
        assert!(!submitter.offer(now, &block), "the same block once");
        for _ in 0..5 {
            let (hash, body) = submitter.poll_submission(now).expect("due");
            assert!(body.ends_with(br#""method":"submitblock","params":["ab"]}"#));
            assert!(submitter.poll_submission(now).is_none(), "one question at a time");
            let (verdict, ended) =
                submitter.on_reply(now, hash, &Err(CallError::Timeout)).expect("known");
            assert!(matches!(verdict, Verdict::Unknown(_)) && ended.is_none());
            assert!(submitter.poll_submission(now).is_none(), "a pause first");
            now = submitter.next_submission().expect("again, later");
        }
        assert_eq!(now.since(Instant::ZERO).as_millis(), 50 + 100 + 200 + 200 + 200);
        let (hash, _) = submitter.poll_submission(now).expect("due");
        let accepted = answer(200, r#"{"result":null,"id":1}"#);
        let (verdict, ended) = submitter.on_reply(now, hash, &accepted).expect("known");
        assert_eq!((verdict, ended), (Verdict::Accepted, Some(block.clone())));
        assert_eq!(submitter.pending(), 0);
        assert!(!submitter.offer(now, &block), "judged");
    }

    #[test]
    fn two_blocks_at_once_both_go_out() {
        let mut submitter = Submitter::new(Duration::from_secs(1));
        for seed in [1, 2] {
            let block = FoundBlock { height: 1, hash: [seed; 32], bytes: vec![seed] };
            assert!(submitter.offer(Instant::ZERO, &block));
        }
        let first = submitter.poll_submission(Instant::ZERO).expect("one");
        let second = submitter.poll_submission(Instant::ZERO).expect("the other");
        assert_ne!(first.0, second.0);
    }
}
