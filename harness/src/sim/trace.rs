//! A run as text, one observation a line, and as one hash.
//!
//! The hash covers every byte that was observed, so that two runs with equal hashes were the same
//! run. Text is made only when somebody wants to read it. Columns are fixed, so that two traces
//! can be compared line by line: time, symbol, actor, verb, detail.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};

use bitcoin::hashes::{Hash as _, HashEngine as _, sha256};
use bitcoin::hex::DisplayHex as _;
use server::journal::DiskOp;
use server::pool::action::Endpoint;

use super::WorldEvent;
use super::observe::{Ending, Observation, Phase};
use super::queue::Micros;
use super::second::SecondEvent;

/// Observations that are kept for a report.
const KEPT: usize = 400;
/// Characters of a detail that are shown.
const SHOWN: usize = 160;

/// The hash's state, which shows nothing.
struct Engine(sha256::HashEngine);

impl fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Engine")
    }
}

/// Hashes a run, and remembers its end.
#[derive(Debug)]
pub struct Trace {
    engine: Engine,
    seen: u64,
    last: VecDeque<(u64, Micros, Observation)>,
}

impl Default for Trace {
    fn default() -> Self {
        Self { engine: Engine(sha256::Hash::engine()), seen: 0, last: VecDeque::new() }
    }
}

impl Trace {
    /// Takes one observation.
    pub fn note(&mut self, at: Micros, what: &Observation) {
        self.seen += 1;
        self.engine.0.input(&at.0.to_le_bytes());
        self.digest(what);
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back((self.seen, at, what.clone()));
    }

    fn digest(&mut self, what: &Observation) {
        let mut part = |tag: u8, number: u64, bytes: &[u8]| {
            self.engine.0.input(&[tag]);
            self.engine.0.input(&number.to_le_bytes());
            self.engine.0.input(&(bytes.len() as u64).to_le_bytes());
            self.engine.0.input(bytes);
        };
        match what {
            Observation::Received { conn, bytes } => part(1, *conn, bytes),
            Observation::Sent { conn, bytes } => part(2, *conn, bytes),
            Observation::Flushed { conn, length } => part(3, *conn, &length.to_le_bytes()),
            Observation::Called { call, body, .. } => part(4, *call, body),
            Observation::Replied { call, result: Ok(reply) } => {
                part(5, *call, &reply.status.to_le_bytes());
                part(6, *call, &reply.body);
            }
            Observation::Done => part(7, 0, b""),
            Observation::Persisted { write } => part(8, *write, b""),
            other @ (Observation::Started { .. }
            | Observation::Ended(_)
            | Observation::Listening
            | Observation::Opened { .. }
            | Observation::Closing { .. }
            | Observation::Closed { .. }
            | Observation::Replied { .. }
            | Observation::Noticed { .. }
            | Observation::Cancelled { .. }
            | Observation::Writes { .. }
            | Observation::NotPersisted { .. }
            | Observation::Reconfigured
            | Observation::Woken { .. }
            | Observation::Chain(_)
            | Observation::Second(_)
            | Observation::Complaint { .. }
            | Observation::Item { .. }
            | Observation::Phase(_)) => part(9, 0, format!("{other:?}").as_bytes()),
        }
    }

    /// How many observations there were.
    pub const fn seen(&self) -> u64 {
        self.seen
    }

    /// The hash of all of them, in hex.
    pub fn hash(&self) -> String {
        let hash = sha256::Hash::from_engine(self.engine.0.clone());
        hash.as_byte_array()[..16].to_lower_hex_string()
    }

    /// The last lines, newest last; what does not belong on a page is left out.
    pub fn tail(&self, lines: usize) -> Vec<String> {
        let told = self.last.iter().rev();
        let told = told.filter(|(_, _, what)| !matches!(what, Observation::Done));
        let mut tail: Vec<String> = told.take(lines).map(|(_, at, what)| line(*at, what)).collect();
        tail.reverse();
        tail
    }
}

/// `hh:mm:ss.mmm`.
pub fn clock(at: Micros) -> String {
    let ms = at.as_millis();
    let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{:03}", ms / 1_000 % 60, ms % 1_000)
}

/// One observation as one line.
pub fn line(at: Micros, what: &Observation) -> String {
    let (symbol, actor, detail) = parts(what);
    let mut text = String::with_capacity(120);
    write!(text, "{}  {symbol} {actor:<9} ", clock(at)).unwrap_or_default();
    let mut shown = detail.trim_end().chars();
    text.extend(shown.by_ref().take(SHOWN).map(|c| if c.is_control() { '.' } else { c }));
    if shown.next().is_some() {
        text.push_str("..");
    }
    text
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\n', " | ")
}

fn to(endpoint: Endpoint) -> String {
    match endpoint {
        Endpoint::Node(place) => format!("node {place}"),
        Endpoint::Sidechain(place) => format!("daemon {place}"),
    }
}

/// Symbol, actor and the rest.
fn parts(what: &Observation) -> (char, String, String) {
    match what {
        Observation::Started { generation, pending } => {
            let pending = pending.len();
            (
                '^',
                "server".into(),
                format!("starts after generation {generation}, {pending} blocks pending"),
            )
        }
        Observation::Ended(Ending::Crash) => ('!', "server".into(), "dies".into()),
        Observation::Ended(ending) => ('!', "server".into(), format!("ends: {ending:?}")),
        Observation::Listening => ('^', "server".into(), "lets miners in".into()),
        Observation::Opened { conn, miner } => {
            ('+', format!("conn {conn}"), format!("miner {miner}"))
        }
        Observation::Received { conn, bytes } => {
            (' ', format!("conn {conn}"), format!("-> {}", text(bytes)))
        }
        Observation::Sent { conn, bytes } => {
            (' ', format!("conn {conn}"), format!("<- {}", text(bytes)))
        }
        Observation::Flushed { conn, length } => {
            (' ', format!("conn {conn}"), format!("{length} bytes out"))
        }
        Observation::Closing { conn, why } => {
            ('-', format!("conn {conn}"), format!("cut off: {why}"))
        }
        Observation::Closed { conn } => ('-', format!("conn {conn}"), "closed".into()),
        Observation::Called { call, endpoint, body } => {
            (' ', to(*endpoint), format!("<- #{call} {}", text(body)))
        }
        Observation::Replied { call, result } => {
            let shown = match result {
                Ok(reply) => format!("{} {}", reply.status, text(&reply.body)),
                Err(error) => format!("{error}"),
            };
            (' ', "rpc".into(), format!("-> #{call} {shown}"))
        }
        Observation::Noticed { node, tip } => {
            let tip = bitcoin::BlockHash::from_byte_array(*tip);
            ('>', format!("node {node}"), format!("publishes its tip {tip}"))
        }
        Observation::Cancelled { call } => (' ', "rpc".into(), format!("#{call} cancelled")),
        Observation::Writes { write, op } => {
            (' ', "disk".into(), format!("<- #{write} {}", op_text(op)))
        }
        Observation::Persisted { write } => (' ', "disk".into(), format!("-> #{write} safe")),
        Observation::NotPersisted { write, error } => {
            ('x', "disk".into(), format!("-> #{write} {error}"))
        }
        Observation::Reconfigured => (' ', "server".into(), "has other settings".into()),
        Observation::Done => (' ', "server".into(), "done".into()),
        Observation::Woken { why } => (' ', "clock".into(), why.clone()),
        Observation::Chain(event) => chain(event),
        Observation::Second(event) => second(event),
        Observation::Complaint { miner, what } => ('?', format!("miner {miner}"), what.clone()),
        Observation::Item { begins, what, .. } => {
            (if *begins { '(' } else { ')' }, "plan".into(), what.clone())
        }
        Observation::Phase(phase) => {
            let name = match phase {
                Phase::Safety => "things go wrong",
                Phase::Quiet => "all is mended",
                Phase::Drain => "the miners leave",
            };
            ('=', "phase".into(), name.into())
        }
    }
}

fn op_text(op: &DiskOp) -> String {
    match op {
        DiskOp::PutBlock(block) => format!("block {} {}", block.height, block.display_hash()),
        DiskOp::AppendShares { run, first, records } => {
            format!("shares {run}-{first} {}", String::from_utf8_lossy(records))
        }
        other @ (DiskOp::PutGeneration(_) | DiskOp::SettleBlock { .. }) => format!("{other:?}"),
    }
}

fn second(event: &SecondEvent) -> (char, String, String) {
    let symbol = match event {
        SecondEvent::TipChanged { .. } => 'T',
        SecondEvent::BlockAccepted { .. } => 'B',
    };
    (symbol, "second".into(), format!("{event:?}"))
}

fn chain(event: &WorldEvent) -> (char, String, String) {
    let symbol = match event {
        WorldEvent::TipChanged { .. } => 'T',
        WorldEvent::BlockAccepted { .. } => 'B',
        WorldEvent::BlockRefused { .. } => 'R',
        WorldEvent::BlockSidelined { .. } => 'S',
        WorldEvent::SidechainAdvanced { .. } | WorldEvent::SidechainRolledBack { .. } => ' ',
    };
    (symbol, "chain".into(), format!("{event:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_runs_have_equal_hashes_and_others_do_not() {
        let run = |bytes: &'static [u8], at| {
            let mut trace = Trace::default();
            let bytes = bytes::Bytes::from_static(bytes);
            trace.note(Micros(at), &Observation::Sent { conn: 1, bytes });
            trace.hash()
        };
        assert_eq!(run(b"x\n", 1), run(b"x\n", 1));
        assert_ne!(run(b"x\n", 1), run(b"y\n", 1));
        assert_ne!(run(b"x\n", 1), run(b"x\n", 2));
    }

    #[test]
    fn lines_have_columns() {
        let bytes = bytes::Bytes::from_static(b"{}\n");
        let at = Micros(3_723_004_000);
        let line = line(at, &Observation::Sent { conn: 7, bytes });
        assert_eq!(line, "01:02:03.004    conn 7    <- {} |");
    }
}
