//! What is to go wrong, and what the node was handed.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bitcoin::BlockHash;
use bitcoin::block::Header;
use bitcoin::consensus::deserialize;
use bitcoin::hex::FromHex as _;
use serde_json::Value;
use tokio::time::Instant;

use super::{Fault, Methods};

/// Digits of a header in hex.
const HEADER_DIGITS: usize = 160;

/// A fault that is to come, to so many calls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Planned {
    /// To which.
    pub methods: Methods,
    /// What.
    pub fault: Fault,
    /// To how many.
    pub count: u32,
}

impl fmt::Display for Planned {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { methods, fault, count } = self;
        write!(formatter, "{methods}: {fault} x{count}")
    }
}

/// A block that the node was handed and answered for, whether or not the answer came back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Handed {
    /// Its hash.
    pub hash: BlockHash,
    /// When the node had answered.
    pub at: Instant,
    /// The node's answer: null, a word, or an error, as JSON.
    pub answer: String,
}

#[derive(Debug, Default)]
pub(super) struct Book {
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    planned: Vec<Planned>,
    handed: Vec<Handed>,
}

impl Book {
    pub(super) fn plan(&self, faults: &[Planned]) {
        self.pages().planned.extend_from_slice(faults);
    }

    pub(super) fn outstanding(&self) -> u32 {
        self.pages().planned.iter().map(|planned| planned.count).sum()
    }

    pub(super) fn handed(&self) -> Vec<Handed> {
        self.pages().handed.clone()
    }

    /// What is to happen to a call of this method, which it then has.
    pub(super) fn fault(&self, method: &str) -> Option<Fault> {
        let mut pages = self.pages();
        let mut planned = pages.planned.iter_mut();
        let next = planned.find(|planned| planned.count > 0 && planned.methods.has(method))?;
        next.count -= 1;
        Some(next.fault)
    }

    /// The node answered a call of `submitblock`.
    pub(super) fn note(&self, call: &[u8], answer: &[u8]) {
        let Some(hash) = block_in(call) else { return };
        let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
        let said = if answer["error"].is_null() { &answer["result"] } else { &answer["error"] };
        let handed = Handed { hash, at: Instant::now(), answer: said.to_string() };
        self.pages().handed.push(handed);
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        // What a panic elsewhere left is still what happened.
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The hash of the block that a call hands in.
fn block_in(call: &[u8]) -> Option<BlockHash> {
    let call: Value = serde_json::from_slice(call).ok()?;
    let digits = call["params"][0].as_str()?.get(..HEADER_DIGITS)?;
    let header: Header = deserialize(&Vec::from_hex(digits).ok()?).ok()?;
    Some(header.block_hash())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_in_their_turn_to_the_calls_that_are_meant() {
        let book = Book::default();
        let of = |methods, fault, count| Planned { methods, fault, count };
        book.plan(&[
            of(Methods::Only("submitblock"), Fault::Reset, 1),
            of(Methods::All, Fault::Broken, 2),
        ]);
        assert_eq!(book.outstanding(), 3);
        assert_eq!(book.fault("getblocktemplate"), Some(Fault::Broken));
        assert_eq!(book.fault("submitblock"), Some(Fault::Reset));
        assert_eq!(book.fault("submitblock"), Some(Fault::Broken));
        assert_eq!((book.fault("submitblock"), book.outstanding()), (None, 0));
    }

    #[test]
    fn a_handed_in_block_is_known_by_its_header() {
        let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Regtest);
        let hex = bitcoin::consensus::encode::serialize_hex(&genesis);
        let call = format!(r#"{{"method":"submitblock","params":["{hex}"]}}"#);
        let book = Book::default();
        book.note(call.as_bytes(), br#"{"result":"duplicate","error":null}"#);
        book.note(br#"{"method":"submitblock","params":["00"]}"#, b"{}");
        let handed = book.handed();
        assert_eq!(handed.len(), 1, "a call without a block hands in none");
        assert_eq!(handed[0].hash, genesis.block_hash());
        assert_eq!(handed[0].answer, r#""duplicate""#);
    }
}
