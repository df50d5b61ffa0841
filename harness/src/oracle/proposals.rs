//! PROP-1: a node that is shown the block of a job would take it.
//!
//! The simulated node judges a proposed block as it judges one that was found, with rules of its
//! own. So each job's block is judged before it is mined, and those that nobody finds are too.

use std::collections::BTreeSet;

use bitcoin::{Block, BlockHash, consensus};
use serde_json::Value;

use super::casebook::{Casebook, Fact};
use super::{Broken, Oracle, Scene, hold};
use crate::sim::observe::Observation;

/// Refusals that are not for what is in the block: the node's clock was set back, or the plan wants
/// everything refused.
const EXCUSED: [&str; 2] = ["time-too-new", "refused-by-plan"];

/// What a node says of a block that is proposed (BIP-0023).
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Word {
    /// It would be taken.
    Taken,
    /// The tip moved meanwhile, or the block is known.
    NoNews,
    /// It would not.
    Refused(String),
}

impl Word {
    /// From the body of a reply.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let reply: Value = serde_json::from_slice(body).ok()?;
        match reply.get("result")? {
            Value::Null if reply.get("error").is_none_or(Value::is_null) => Some(Self::Taken),
            Value::String(word)
                if word.starts_with("duplicate") || word == "inconclusive-not-best-prevblk" =>
            {
                Some(Self::NoNews)
            }
            Value::String(word) => Some(Self::Refused(word.clone())),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => None,
        }
    }
}

/// Whether a call proposes a block. The block comes last, so only the start is looked at.
pub(super) fn is_proposal(body: &[u8]) -> bool {
    let mode = b"\"mode\":\"proposal\"";
    body[..body.len().min(120)].windows(mode.len()).any(|part| part == mode)
}

/// The parent of the block that a call proposes.
pub(super) fn parent(body: &[u8]) -> Option<BlockHash> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let data = body["params"][0]["data"].as_str()?;
    let block: Block = consensus::encode::deserialize_hex(data).ok()?;
    Some(block.header.prev_blockhash)
}

/// Judges proposals.
#[derive(Debug, Default)]
pub(super) struct Proposals {
    /// Calls under way that propose a block.
    calls: BTreeSet<u64>,
}

impl Oracle for Proposals {
    fn see(&mut self, _: &Scene<'_>, _: &Casebook, fact: &Fact) -> Result<(), Broken> {
        match fact {
            Fact::Seen(Observation::Started { .. }) => self.calls.clear(),
            Fact::Seen(Observation::Called { call, body, .. }) if is_proposal(body) => {
                self.calls.insert(*call);
            }
            Fact::Seen(Observation::Replied { call, result: Ok(reply) })
                if self.calls.remove(call) =>
            {
                if let Some(Word::Refused(word)) = Word::read(&reply.body) {
                    return hold("PROP-1", EXCUSED.contains(&word.as_str()), || {
                        format!("the node would refuse the block of a job: {word}")
                    });
                }
            }
            Fact::Seen(_)
            | Fact::Asked(..)
            | Fact::Answered(_)
            | Fact::Job(..)
            | Fact::Notified(..)
            | Fact::Logged(_) => {}
        }
        Ok(())
    }
}
