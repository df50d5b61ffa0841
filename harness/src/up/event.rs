//! What `harness up` shows, as JSON for programs and as lines for people.
//!
//! One type for both, so that neither knows what the other does not. Not in here: when something
//! is shown (`judge.rs`).

use std::fmt::{self, Display};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use bitcoin::BlockHash;
use serde::{Serialize, Serializer};

use crate::sim::sidechain::HStar;

/// Digits of a hash that people are shown where the whole does not matter.
const DIGITS_SHOWN: usize = 16;

/// A commitment in a coinbase (BIP-0301 M7).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub(super) struct M7 {
    /// The sidechain's slot.
    pub(super) slot: u8,
    /// What is committed to, in the order of its bytes on the chain.
    #[serde(serialize_with = "as_text")]
    pub(super) h_star: HStar,
}

/// A JSON-RPC port. Credentials only where they are ours to tell.
#[derive(Clone, Debug, Serialize)]
pub(super) struct RpcPort {
    /// Host and port.
    pub(super) rpc: String,
    /// User name and password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) credentials: Option<(String, String)>,
}

impl Display for RpcPort {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.credentials {
            Some((user, password)) => write!(formatter, "http://{user}:{password}@{}", self.rpc),
            None => write!(formatter, "http://{}", self.rpc),
        }
    }
}

/// What was started, and every port in use.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Started {
    /// What kind of node it is.
    pub(super) node_kind: &'static str,
    /// The node.
    pub(super) node: RpcPort,
    /// Where the node publishes over ZMQ, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) node_zmq: Option<SocketAddr>,
    /// How the sidechain is merge-mined.
    pub(super) bmm: &'static str,
    /// The enforcer that gives templates and judges blocks, if one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) enforcer: Option<SocketAddr>,
    /// The sidechain.
    pub(super) sidechain: RpcPort,
    /// The sidechain's slot.
    pub(super) slot: u8,
    /// Where miners connect to.
    pub(super) stratum: SocketAddr,
    /// Miners of our own.
    pub(super) miners: u32,
    /// Merge-mined blocks after which it stops.
    pub(super) blocks: Option<u64>,
}

/// Something to show.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum UpEvent {
    /// Everything runs.
    Started(Box<Started>),
    /// The node's best chain ends elsewhere.
    Tip { height: u32, hash: BlockHash },
    /// Miners were given a job that differs from the last one shown.
    Job { id: String, height: u32, clean: bool, m7s: Vec<M7> },
    /// The server's totals.
    Shares { accepted: u64, rejected: u64, miners: u64 },
    /// A block joined the best chain. `merge_mined` counts those that the sidechain advanced by.
    BlockAccepted {
        height: u32,
        hash: BlockHash,
        m7s: Vec<M7>,
        #[serde(skip_serializing_if = "Option::is_none")]
        merge_mined: Option<u64>,
    },
    /// A block was valid and second.
    BlockSidelined { height: u32, hash: BlockHash },
    /// The node will not have a block.
    BlockRefused { hash: BlockHash, reason: String },
    /// The sidechain's chain grew or shrank.
    Sidechain {
        slot: u8,
        height: u32,
        #[serde(serialize_with = "as_text")]
        h_star: HStar,
        rolled_back: bool,
    },
    /// Worth knowing, and no fault.
    Notice { text: String },
    /// It is over.
    Finished {
        exit_code: u8,
        reason: String,
        merge_mined: u64,
        sidechain_height: u32,
        shares_accepted: u64,
        shares_rejected: u64,
    },
}

fn as_text<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// A line of JSON: the event, then when it was.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    event: &'a UpEvent,
    /// Seconds since the start.
    seconds: f64,
}

/// Writes events, each at once.
#[derive(Debug)]
pub(super) struct Printer<W> {
    pub(super) output: W,
    pub(super) json: bool,
}

impl<W: Write> Printer<W> {
    /// Shows what happened `at` that time after the start.
    pub(super) fn print(&mut self, at: Duration, event: &UpEvent) -> io::Result<()> {
        let seconds = at.as_secs_f64();
        let line = if self.json {
            // To the microsecond: more is noise.
            let seconds = (seconds * 1e6).round() / 1e6;
            serde_json::to_string(&Line { event, seconds })?
        } else if let UpEvent::Started(started) = event {
            introduce(started)
        } else {
            let (word, text) = describe(event);
            format!("{seconds:>8.2}  {word:<9}  {text}")
        };
        writeln!(self.output, "{line}")?;
        self.output.flush()
    }
}

fn introduce(started: &Started) -> String {
    let Started { node_kind, node, bmm, sidechain, slot, stratum, miners, blocks, .. } = started;
    let zmq = started.node_zmq.map_or_else(String::new, |zmq| format!(", ZMQ at tcp://{zmq}"));
    let enforcer = started.enforcer.map_or_else(String::new, |enforcer| {
        format!("enforcer   simulated, JSON-RPC at http://{enforcer}\n  ")
    });
    let crew = match miners {
        0 => "point your miners there: any user, any password".to_owned(),
        1 => "one miner of our own".to_owned(),
        more => format!("{more} miners of our own"),
    };
    let end = blocks.map_or_else(
        || "ctrl-c".to_owned(),
        |goal| format!("the sidechain has advanced by {goal} of our blocks"),
    );
    format!(
        "harness up: blind merged mining on regtest\n  \
         way        {bmm}\n  \
         node       {node_kind}, JSON-RPC at {node}{zmq}\n  {enforcer}\
         sidechain  slot {slot}, JSON-RPC at {sidechain}\n  \
         stratum    stratum+tcp://{stratum}; {crew}\n  \
         until      {end}\n"
    )
}

/// The word that an event's line begins with, and the rest of it.
fn describe(event: &UpEvent) -> (&'static str, String) {
    match event {
        UpEvent::Started(started) => ("started", introduce(started)),
        UpEvent::Tip { height, hash } => ("tip", format!("height {height}: {hash}")),
        UpEvent::Job { id, height, m7s, .. } => {
            ("job", format!("{id} for height {height} commits to {}", shown(m7s)))
        }
        UpEvent::Shares { accepted, rejected, miners } => {
            let text = format!("{accepted} accepted, {rejected} rejected; {miners} miner(s)");
            ("shares", text)
        }
        UpEvent::BlockAccepted { height, hash, m7s, merge_mined } => {
            let number = merge_mined.map_or_else(
                || "not merge-mined".to_owned(),
                |number| format!("merge-mined {number}"),
            );
            let text =
                format!("height {height} accepted, {number}: {} with {}", short(hash), shown(m7s));
            ("block", text)
        }
        UpEvent::BlockSidelined { height, hash } => {
            ("block", format!("height {height} not in the chain, another was first: {hash}"))
        }
        UpEvent::BlockRefused { hash, reason } => ("block", format!("REFUSED: {reason}: {hash}")),
        UpEvent::Sidechain { slot, height, h_star, rolled_back } => {
            let verb = if *rolled_back { "rolled back to" } else { "advanced to" };
            ("sidechain", format!("slot {slot} {verb} height {height}: {}", short(h_star)))
        }
        UpEvent::Notice { text } => ("note", text.clone()),
        UpEvent::Finished { exit_code, reason, .. } => {
            (if *exit_code == 0 { "passed" } else { "FAILED" }, finish(event, reason))
        }
    }
}

fn finish(event: &UpEvent, reason: &str) -> String {
    let UpEvent::Finished {
        merge_mined, sidechain_height, shares_accepted, shares_rejected, ..
    } = event
    else {
        return reason.to_owned();
    };
    format!(
        "{reason} (merge-mined blocks {merge_mined}, sidechain height {sidechain_height}, shares \
         {shares_accepted} accepted and {shares_rejected} rejected)"
    )
}

fn shown(m7s: &[M7]) -> String {
    if m7s.is_empty() {
        return "no sidechain".to_owned();
    }
    let each = m7s.iter().map(|M7 { slot, h_star }| format!("slot {slot} h* {}", short(h_star)));
    each.collect::<Vec<_>>().join(", ")
}

fn short(hash: &impl Display) -> String {
    let mut digits = hash.to_string();
    digits.truncate(DIGITS_SHOWN);
    digits + ".."
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash as _;

    use super::*;

    fn print(json: bool, event: &UpEvent) -> String {
        let mut printer = Printer { output: Vec::new(), json };
        printer.print(Duration::from_nanos(1_500_000_499), event).unwrap();
        String::from_utf8(printer.output).unwrap()
    }

    fn block() -> UpEvent {
        UpEvent::BlockAccepted {
            height: 7,
            hash: BlockHash::all_zeros(),
            m7s: vec![M7 { slot: 9, h_star: HStar([0xab; 32]) }],
            merge_mined: Some(2),
        }
    }

    #[test]
    fn an_event_is_one_line_of_json() {
        let hash = "00".repeat(32);
        let h_star = "ab".repeat(32);
        let expected = format!(
            "{{\"event\":\"block_accepted\",\"height\":7,\"hash\":\"{hash}\",\
             \"m7s\":[{{\"slot\":9,\"h_star\":\"{h_star}\"}}],\"merge_mined\":2,\"seconds\":1.5}}\n"
        );
        assert_eq!(print(true, &block()), expected);
    }

    #[test]
    fn people_get_a_line_too() {
        let expected = "    1.50  block      height 7 accepted, merge-mined 2: 0000000000000000.. \
                        with slot 9 h* abababababababab..\n";
        assert_eq!(print(false, &block()), expected);
    }

    #[test]
    fn a_password_that_is_not_ours_is_not_shown() {
        let port = RpcPort { rpc: "127.0.0.1:1".to_owned(), credentials: None };
        assert_eq!(port.to_string(), "http://127.0.0.1:1");
        assert_eq!(serde_json::to_string(&port).unwrap(), r#"{"rpc":"127.0.0.1:1"}"#);
    }
}
