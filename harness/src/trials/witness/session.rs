//! One connection as a bystander reads it: what the miner was told, and what headers follow.

use std::collections::BTreeMap;

use bitcoin::block::{Header, Version};
use bitcoin::hashes::{Hash as _, sha256d};
use bitcoin::hex::FromHex as _;
use bitcoin::{BlockHash, CompactTarget, TxMerkleNode};
use serde_json::Value;
use tokio::time::Instant;

use super::Submission;

/// Bytes of one direction, cut into lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Takes bytes and gives the lines that they end.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.partial.extend_from_slice(bytes);
        let Some(end) = self.partial.iter().rposition(|byte| *byte == b'\n') else {
            return Vec::new();
        };
        let rest = self.partial.split_off(end + 1);
        let whole = core::mem::replace(&mut self.partial, rest);
        let lines = whole.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(<[u8]>::to_vec).collect()
    }
}

/// What a line of the server came to.
pub(super) enum Line {
    /// It concerns no submission.
    Learnt,
    /// The submission at this place was taken, or refused with these words.
    Answer(usize, Result<(), String>),
}

/// What a request waits for.
#[derive(Debug)]
enum Asked {
    Subscribe,
    Configure,
    Submit(usize),
}

/// One `mining.notify`.
#[derive(Clone, Debug)]
struct Job {
    parent: BlockHash,
    coinbase: [Vec<u8>; 2],
    branch: Vec<[u8; 32]>,
    version: u32,
    bits: CompactTarget,
}

/// What one connection has been told.
#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) upward: Lines,
    pub(super) downward: Lines,
    extranonce1: Vec<u8>,
    mask: u32,
    jobs: BTreeMap<String, Job>,
    asked: BTreeMap<String, Asked>,
}

impl Session {
    /// Reads a request. A submission comes back; it will be known as the one at `place`.
    pub(super) fn request(
        &mut self,
        line: &[u8],
        place: usize,
        now: Instant,
    ) -> Result<Option<Submission>, String> {
        let strange = || format!("a miner sent {}", String::from_utf8_lossy(line));
        let request: Value = serde_json::from_slice(line).map_err(|_| strange())?;
        let id = request["id"].to_string();
        match request["method"].as_str() {
            Some("mining.subscribe") => drop(self.asked.insert(id, Asked::Subscribe)),
            Some("mining.configure") => drop(self.asked.insert(id, Asked::Configure)),
            Some("mining.submit") => {
                let params = &request["params"];
                let header = self.header(params).ok_or_else(strange)?;
                self.asked.insert(id, Asked::Submit(place));
                let hash = header.block_hash();
                return Ok(Some(Submission {
                    hash,
                    worker: params[0].as_str().unwrap_or_default().to_owned(),
                    solves: header.target().is_met_by(hash),
                    sent: now,
                    reply: None,
                }));
            }
            Some(_) | None => {}
        }
        Ok(None)
    }

    /// Reads what the server sent.
    pub(super) fn line(&mut self, line: &[u8]) -> Result<Line, String> {
        let strange = || format!("the server sent {}", String::from_utf8_lossy(line));
        let message: Value = serde_json::from_slice(line).map_err(|_| strange())?;
        match message["method"].as_str() {
            Some("mining.notify") => {
                let params = &message["params"];
                let id = params[0].as_str().ok_or_else(strange)?;
                self.jobs.insert(id.to_owned(), Job::read(params).ok_or_else(strange)?);
            }
            Some("mining.set_version_mask") => {
                self.mask = number(&message["params"][0]).ok_or_else(strange)?;
            }
            // Terms of work, or wishes: no header depends on them.
            Some(_) => {}
            None => return self.reply(&message).ok_or_else(strange),
        }
        Ok(Line::Learnt)
    }

    fn reply(&mut self, message: &Value) -> Option<Line> {
        match self.asked.remove(&message["id"].to_string()) {
            Some(Asked::Subscribe) => self.extranonce1 = bytes(&message["result"][1])?,
            Some(Asked::Configure) => {
                self.mask = number(&message["result"]["version-rolling.mask"]).unwrap_or(0);
            }
            Some(Asked::Submit(place)) => {
                let taken = message["result"] == true && message["error"].is_null();
                let verdict = if taken { Ok(()) } else { Err(message["error"].to_string()) };
                return Some(Line::Answer(place, verdict));
            }
            // It was asked something else.
            None => {}
        }
        Some(Line::Learnt)
    }

    /// The header that a submission's parameters stand for.
    fn header(&self, params: &Value) -> Option<Header> {
        let job = self.jobs.get(params[1].as_str()?)?;
        let [before, after] = &job.coinbase;
        let extranonce2 = bytes(&params[2])?;
        let coinbase = [before, &self.extranonce1, &extranonce2, after].map(Vec::as_slice);
        let txid = sha256d::Hash::hash(&coinbase.concat());
        let root = job.branch.iter().fold(txid.to_byte_array(), |root, sibling| {
            sha256d::Hash::hash(&[root, *sibling].concat()).to_byte_array()
        });
        // BIP-0310: the bits under the mask are the miner's.
        let rolled = if params[5].is_null() { job.version } else { number(&params[5])? };
        let version = (job.version & !self.mask) | (rolled & self.mask);
        Some(Header {
            version: Version::from_consensus(version.cast_signed()),
            prev_blockhash: job.parent,
            merkle_root: TxMerkleNode::from_byte_array(root),
            time: number(&params[3])?,
            bits: job.bits,
            nonce: number(&params[4])?,
        })
    }
}

impl Job {
    fn read(params: &Value) -> Option<Self> {
        // Each four bytes of the parent's hash are reversed on the wire.
        let mut parent = array(&params[1])?;
        parent.chunks_exact_mut(4).for_each(<[u8]>::reverse);
        Some(Self {
            parent: BlockHash::from_byte_array(parent),
            coinbase: [bytes(&params[2])?, bytes(&params[3])?],
            branch: params[4].as_array()?.iter().map(array).collect::<Option<_>>()?,
            version: number(&params[5])?,
            bits: CompactTarget::from_consensus(number(&params[6])?),
        })
    }
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    Vec::from_hex(value.as_str()?).ok()
}

fn array(value: &Value) -> Option<[u8; 32]> {
    <[u8; 32]>::from_hex(value.as_str()?).ok()
}

fn number(value: &Value) -> Option<u32> {
    u32::from_str_radix(value.as_str()?, 16).ok()
}
