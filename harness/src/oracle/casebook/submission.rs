//! A submission, judged by an outsider: the header it stands for, and what may be said of it.

use std::collections::BTreeSet;
use std::rc::Rc;

use bitcoin::hashes::{Hash as _, sha256d};
use serde_json::value::RawValue;
use server::config::Limits;
use simminer::target::Difficulty;
use simminer::work::Job;

use super::{Casebook, Given};
use crate::oracle::Scene;
use crate::oracle::reading::{bytes, number, text};
use crate::sim::observe::Conn;

/// Version bits that anybody may roll (BIP-0320).
pub(super) const ROLLABLE: u32 = 0x1fff_e000;

/// What may be answered.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Verdict {
    /// Codes of the errors that it deserves; none when it must be taken.
    pub codes: BTreeSet<i64>,
    /// Nothing in the protocol decides it: taken or refused, both are right.
    pub open: bool,
}

impl Verdict {
    /// Whether it must be taken, were it not for repetitions and room.
    pub fn is_clean(&self) -> bool {
        self.codes.is_empty() && !self.open
    }
}

/// One submission.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Who says that he found it.
    pub worker: String,
    /// What the session was told that shares of this job are worth.
    pub difficulty: Option<Difficulty>,
    /// Its job, when anybody was sent that.
    pub job: Option<Rc<Job>>,
    /// The header, when the fields give one.
    pub header: Option<[u8; 80]>,
    /// Its hash.
    pub hash: Option<[u8; 32]>,
    /// Whether the hash meets the network's target.
    pub is_block: bool,
    /// Whether it was for a tip that was left, and still counts.
    pub in_grace: bool,
    /// What may be answered, but for repetitions.
    pub verdict: Verdict,
}

impl Submission {
    pub(super) fn read(
        book: &Casebook,
        scene: &Scene<'_>,
        conn: Conn,
        params: &[&RawValue],
    ) -> Self {
        let mut verdict = Verdict::default();
        let worker = text(params, 0).unwrap_or_default();
        let nothing = |verdict| Self {
            worker: worker.clone(),
            difficulty: None,
            job: None,
            header: None,
            hash: None,
            is_block: false,
            in_grace: false,
            verdict,
        };
        let Some(session) = book.sessions.get(&conn) else { return nothing(verdict) };
        // Subscriptions are answered in the same instant, so a pipelined one is known here too.
        let subscribes =
            session.asked.iter().any(|asked| matches!(asked.asks, super::Asks::Subscribe));
        if session.one.is_none() {
            // Behind its subscription in the same breath: it was given no job yet.
            verdict.codes.insert(if subscribes { 21 } else { 25 });
        }
        if !session.workers.contains(&worker) {
            verdict.codes.insert(24);
        }
        let two = text(params, 2).and_then(|two| bytes(&two)).filter(|two| two.len() == 8);
        let (time, nonce) = (number(text(params, 3)), number(text(params, 4)));
        let given_bits = params.get(5).filter(|raw| raw.get() != "null");
        let bits = given_bits.map(|_| number(text(params, 5)));
        if two.is_none() || time.is_none() || nonce.is_none() || bits == Some(None) {
            verdict.codes.insert(20);
        }
        let id = text(params, 1);
        let own = id.as_ref().and_then(|id| session.jobs.get(id)).map(|given| &given.job);
        let any = || book.jobs.get(id.as_ref()?)?.first();
        let job = own.or_else(any).cloned();
        if id.is_none() {
            verdict.codes.insert(20);
        }
        if job.is_none() {
            verdict.codes.insert(21);
        }
        let (Some(job), Some(one), Some(two), Some(time), Some(nonce)) =
            (job, &session.one, two, time, nonce)
        else {
            return nothing(verdict);
        };
        let bits = bits.flatten();
        let version = version(&mut verdict, &job, session.mask, bits);
        let header = header(&job, one, &two, version, time, nonce);
        let hash = sha256d::Hash::hash(&header).to_byte_array();
        let given = session.jobs.get(&job.id);
        let in_grace = given.is_some_and(|given| given.left.is_some());
        standing(&mut verdict, scene, given, &hash);
        if !is_in_time(scene, &job, time) {
            verdict.codes.insert(20);
        }
        let is_block = job.block_target.is_met_by(&hash);
        let (header, hash) = (Some(header), Some(hash));
        let difficulty = given.map(|given| given.difficulty);
        Self { worker, difficulty, job: Some(job), header, hash, is_block, in_grace, verdict }
    }
}

/// Whether work on the job counts for this session, and whether this was enough of it.
fn standing(verdict: &mut Verdict, scene: &Scene<'_>, given: Option<&Given>, hash: &[u8; 32]) {
    let Some(given) = given else {
        verdict.codes.insert(21);
        return;
    };
    let grace = scene.settings.limits.grace_ms * 1_000;
    if given.left.is_some_and(|left| scene.now.since(left) > grace) {
        verdict.codes.insert(21);
    }
    if !given.target.is_met_by(hash) {
        verdict.codes.insert(23);
    }
}

/// The header's version (BIP-0310): the job's, but for the bits that may be rolled.
fn version(verdict: &mut Verdict, job: &Job, mask: u32, bits: Option<u32>) -> u32 {
    let Some(bits) = bits else { return job.version };
    let foreign = bits & !mask & !job.version;
    if foreign & !ROLLABLE != 0 {
        verdict.codes.insert(20);
    } else if foreign != 0 {
        // It may be a bit of the node's own version, which the server knows and we do not.
        verdict.open = true;
    }
    (job.version & !mask) | (bits & mask)
}

fn header(job: &Job, one: &[u8], two: &[u8], version: u32, time: u32, nonce: u32) -> [u8; 80] {
    let txid = sha256d::Hash::hash(&job.coinbase(one, two)).to_byte_array();
    let root = job.branch.iter().fold(txid, |root, sibling| {
        sha256d::Hash::hash(&[root, *sibling].concat()).to_byte_array()
    });
    let mut header = [0; 80];
    header[..4].copy_from_slice(&version.to_le_bytes());
    header[4..36].copy_from_slice(&job.previous_block);
    header[36..68].copy_from_slice(&root);
    header[68..72].copy_from_slice(&time.to_le_bytes());
    header[72..76].copy_from_slice(&job.bits.to_le_bytes());
    header[76..].copy_from_slice(&nonce.to_le_bytes());
    header
}

/// After the median of the last blocks, and not far ahead of the server's clock.
fn is_in_time(scene: &Scene<'_>, job: &Job, time: u32) -> bool {
    let parent = bitcoin::BlockHash::from_byte_array(job.previous_block);
    let mut nodes = scene.world.nodes().map(crate::sim::node::SimNode::chain);
    let chain = nodes.find(|chain| chain.entry(parent).is_some());
    let first = chain.map_or(0, |chain| chain.median_time_past(parent)) + 1;
    let ahead = Limits::default().ntime_ahead_seconds;
    let last = scene.wall.saturating_add(ahead).max(job.time);
    (first..=last).contains(&time)
}
