//! BLOCK-1 to BLOCK-4: no found block is lost, none is acknowledged before it is
//! safe, and none is called settled that is not.

#![expect(clippy::wildcard_enum_match_arm, reason = "most of what is seen says nothing of blocks")]

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::BlockHash;
use bitcoin::hashes::{Hash as _, sha256d};
use server::journal::{DiskOp, Shelf};
use server::pool::action::Endpoint;

use super::casebook::{Asks, Casebook, Fact, Reply, Submission};
use super::{Broken, Oracle, Scene, hold};
use crate::sim::WorldEvent;
use crate::sim::observe::{Ending, Observation};

/// What is known of a found block.
#[expect(clippy::struct_excessive_bools, reason = "each is seen by itself")]
#[derive(Debug, Default)]
struct Found {
    /// It is as good as a block can be when it is found.
    valid: bool,
    /// Its height.
    height: u32,
    /// It is on disk, as the disk reported.
    kept: bool,
    /// The node judged it, as the server knows.
    judged: bool,
    /// A call to hand it in was made.
    offered: bool,
    /// The process died before anybody could be sure of it.
    excused: bool,
    /// Why the node refused it, in the node's own log.
    refused: Option<String>,
}

type Hash = [u8; 32];

/// Judges blocks.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    found: BTreeMap<Hash, Found>,
    /// Found by what was received last, and not yet handed to the node of this place.
    due: BTreeSet<(Hash, usize)>,
    /// Calls of this run that hand in a block.
    calls: BTreeMap<u64, Hash>,
    writes: BTreeMap<u64, Hash>,
}

impl Oracle for Blocks {
    fn see(&mut self, scene: &Scene<'_>, book: &Casebook, fact: &Fact) -> Result<(), Broken> {
        match fact {
            Fact::Asked(_, request) => {
                if let Asks::Submit(submission) = &request.asks {
                    self.submitted(scene, book, submission);
                }
                Ok(())
            }
            Fact::Answered(reply) => match &reply.request.asks {
                Asks::Submit(submission) => self.answered(reply, submission),
                Asks::Subscribe
                | Asks::Authorize(_)
                | Asks::Configure
                | Asks::MultiVersion
                | Asks::Other
                | Asks::Nonsense => Ok(()),
            },
            Fact::Seen(what) => self.saw(scene, what),
            Fact::Job(..) | Fact::Notified(..) | Fact::Logged(_) => Ok(()),
        }
    }

    fn finish(&mut self, scene: &Scene<'_>, _book: &Casebook) -> Result<(), Broken> {
        self.nothing_is_lost(scene)
    }
}

impl Blocks {
    fn submitted(&mut self, scene: &Scene<'_>, book: &Casebook, submission: &Submission) {
        let (Some(job), Some(hash)) = (&submission.job, submission.hash) else { return };
        if !submission.is_block || submission.verdict.open || self.found.contains_key(&hash) {
            return;
        }
        // The job of a tip that is long gone may be forgotten, so this must be one that
        // somebody who is here was given, and was not told for long that it is void.
        let keep = scene.settings.limits.keep_stale_ms * 1_000;
        let is_kept = book.sessions.values().any(|session| {
            let given = session.jobs.get(&job.id);
            given.is_some_and(|given| given.left.is_none_or(|left| scene.now.since(left) <= keep))
        });
        // A time or a version that is not allowed makes another block, or none.
        if !is_kept || submission.verdict.codes.contains(&20) {
            return;
        }
        let parent = BlockHash::from_byte_array(job.previous_block);
        let height = scene.world.height_after(parent).unwrap_or(0);
        self.found.insert(hash, Found { valid: true, height, ..Found::default() });
        self.due.extend((0..scene.world.nodes().count()).map(|node| (hash, node)));
    }

    fn answered(&self, reply: &Reply, submission: &Submission) -> Result<(), Broken> {
        let Some(hash) = submission.hash.filter(|_| submission.is_block) else { return Ok(()) };
        let (Some(found), Ok(_)) = (self.found.get(&hash), &reply.result) else { return Ok(()) };
        hold("BLOCK-2", found.kept || found.judged, || {
            format!(
                "conn {}: block {} is acknowledged while it is neither on disk nor with the node",
                reply.conn,
                BlockHash::from_byte_array(hash)
            )
        })
    }

    fn saw(&mut self, scene: &Scene<'_>, what: &Observation) -> Result<(), Broken> {
        match what {
            Observation::Started { pending, .. } => {
                self.calls.clear();
                self.writes.clear();
                for hash in pending {
                    self.found.entry(*hash).or_default().kept = true;
                }
            }
            Observation::Ended(ending) => self.ended(scene, ending),
            Observation::Called { call, endpoint: Endpoint::Node(node), body } => {
                if let Some(hash) = handed_in(body) {
                    self.calls.insert(*call, hash);
                    self.due.remove(&(hash, *node));
                    self.found.entry(hash).or_default().offered = true;
                }
            }
            Observation::Replied { call, result } => {
                if let Some(hash) = self.calls.remove(call)
                    && let Ok(reply) = result
                    && is_verdict(&reply.body)
                {
                    self.found.entry(hash).or_default().judged = true;
                }
            }
            Observation::Writes { write, op } => return self.writes(scene, *write, op),
            Observation::Persisted { write } => {
                if let Some(hash) = self.writes.remove(write) {
                    self.found.entry(hash).or_default().kept = true;
                }
            }
            Observation::Chain(WorldEvent::BlockRefused { hash, reason }) => {
                let found = self.found.entry(hash.to_byte_array()).or_default();
                found.refused = Some(reason.clone());
            }
            Observation::Done => {
                let late = self.due.first();
                return hold("BLOCK-3", late.is_none(), || {
                    let late = late.map(|(hash, node)| (BlockHash::from_byte_array(*hash), node));
                    format!("{late:?}: not handed to that node in the instant it was found")
                });
            }
            _ => {}
        }
        Ok(())
    }

    fn writes(&mut self, scene: &Scene<'_>, write: u64, op: &DiskOp) -> Result<(), Broken> {
        match op {
            DiskOp::PutGeneration(_) | DiskOp::AppendShares { .. } => Ok(()),
            DiskOp::PutBlock(block) => {
                self.writes.insert(write, block.hash);
                let known = self.found.contains_key(&block.hash);
                let header: Option<&[u8]> = block.bytes.get(..80);
                let hash = header.map(|header| sha256d::Hash::hash(header).to_byte_array());
                hold("BLOCK-1", !known || hash == Some(block.hash), || {
                    format!("the bytes kept for {} are those of {hash:02x?}", block.display_hash())
                })
            }
            DiskOp::SettleBlock { hash, shelf, .. } => {
                let block = BlockHash::from_byte_array(*hash);
                let here = scene.world.has_block(block);
                let mut chains = scene.world.nodes().map(crate::sim::node::SimNode::chain);
                let invalid = chains.any(|chain| chain.entry(block).is_some_and(|one| one.invalid));
                let right = match shelf {
                    Shelf::Accepted | Shelf::Inconclusive => here,
                    Shelf::Rejected => !here || invalid,
                };
                hold("BLOCK-4", right, || {
                    format!("block {block} is settled as {shelf:?}; the node has it: {here}")
                })
            }
        }
    }

    /// What a dead process can have lost: what nobody was told of, and nobody had been given.
    fn ended(&mut self, scene: &Scene<'_>, ending: &Ending) {
        self.due.clear();
        let settled = !matches!(ending, Ending::Crash);
        for (hash, found) in &mut self.found {
            let on_disk = scene.disk.holds(found.height, hash);
            let safe = found.kept || found.judged || (settled && on_disk);
            found.excused |= !safe;
        }
    }

    /// Judged at the very end: a block may be found in the moment before the miners leave.
    fn nothing_is_lost(&self, scene: &Scene<'_>) -> Result<(), Broken> {
        for (hash, found) in self.found.iter().filter(|(_, found)| found.valid) {
            let block = BlockHash::from_byte_array(*hash);
            // Neither a time that is too far ahead nor a parent that was invalidated since the job
            // was made is anything that a server could have known or helped.
            let refused = found.refused.as_deref();
            let is_invalid =
                refused.is_some_and(|why| ["time-too-new", "bad-prevblk"].contains(&why));
            let with_node = scene.world.has_block(block);
            hold("BLOCK-1", with_node || found.excused || is_invalid, || {
                format!("the node never got block {block} of height {}: {found:?}", found.height)
            })?;
            hold("BLOCK-1", found.refused.is_none() || is_invalid || with_node, || {
                format!("the node refused block {block}: {found:?}")
            })?;
        }
        Ok(())
    }
}

/// The hash of the block that a call hands in.
fn handed_in(body: &[u8]) -> Option<Hash> {
    let text = core::str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once("\"submitblock\"")?;
    let (_, hex) = rest.split_once("[\"")?;
    let header = super::reading::bytes(hex.get(..160)?)?;
    Some(sha256d::Hash::hash(&header).to_byte_array())
}

/// Whether a reply to `submitblock` says what the node thinks of the block.
fn is_verdict(body: &[u8]) -> bool {
    let Ok(reply) = serde_json::from_slice::<serde_json::Value>(body) else { return false };
    reply.get("error").is_none_or(serde_json::Value::is_null)
        && reply.get("result").is_some_and(|result| result.is_null() || result.is_string())
}
