//! The pool with one scripted node and scripted miners: no sockets, no sleeping.

use core::time::Duration;
use std::net::SocketAddr;

use bitcoin::ScriptBuf;
use bitcoin::hashes::Hash as _;
use bytes::Bytes;

use super::action::{Action, CallId, Endpoint, Halt, Wake, WriteId};
use super::event::{ConnId, Event};
use super::*;
use crate::bmm::Slot;
use crate::bmm::auction::Mode;
use crate::bmm::wishes::Wishes;
use crate::clock::UnixTime;
use crate::config::tests::config;
use crate::config::{Fallback, Limits, Miners, NodeRole, OwnSidechain, PortId};
use crate::mining::block::FoundBlock;
use crate::mining::difficulty::Difficulty;
use crate::mining::hash::sha256d;
use crate::mining::hex;
use crate::node::rpc::{CallError, HttpReply};

mod alone;
mod bids;
mod broadcast;
mod enforcer;
mod faults;
mod flow;
mod garbage;
mod journal;
mod manners;
mod nodes;
mod proposals;
mod reconfigured;
mod terms;
mod thunder;
mod transcripts;
mod wishes;

const NODE_TIME: u32 = 1_700_000_000;

/// A pool and everything it wanted done so far.
struct Rig {
    pool: Pool,
    now: Now,
    calls: Vec<(CallId, Endpoint, String)>,
    writes: Vec<(WriteId, DiskOp)>,
    said: BTreeMap<ConnId, String>,
    closed: Vec<ConnId>,
    cancelled: Vec<CallId>,
    listening: bool,
    halted: Option<Halt>,
    next_conn: u64,
}

fn with_sidechain(fallback: Fallback) -> Config {
    let chain = OwnSidechain { fallback, ..OwnSidechain::new(Slot(9)) };
    Config { sidechains: vec![chain], ..config() }
}

#[expect(clippy::unnecessary_wraps, reason = "the form in which replies come")]
fn json(body: &str) -> Result<HttpReply, CallError> {
    let body = Bytes::from(format!("{{\"result\":{body},\"error\":null,\"id\":1}}"));
    Ok(HttpReply { status: 200, body })
}

/// An empty template on a parent of one repeated byte, at regtest's difficulty.
fn template(parent: u8, height: u32) -> Result<HttpReply, CallError> {
    let commitment = crate::mining::template::witness_commitment(&[]);
    let parent = hex::encode(&[parent; 32]);
    json(&format!(
        "{{\"version\":536870912,\"rules\":[\"csv\",\"!segwit\"],\"vbrequired\":0,\
         \"previousblockhash\":\"{parent}\",\"transactions\":[],\"coinbasevalue\":5000000000,\
         \"longpollid\":\"{parent}1\",\"target\":\"7fffff{}\",\"mintime\":{},\
         \"curtime\":{NODE_TIME},\
         \"bits\":\"207fffff\",\"height\":{height},\"default_witness_commitment\":\"{}\"}}",
        "0".repeat(58),
        NODE_TIME - 600,
        hex::encode(commitment.as_bytes()),
    ))
}

impl Rig {
    fn new(config: Config) -> Self {
        Self::after(config, &Recovered::default())
    }

    fn after(config: Config, recovered: &Recovered) -> Self {
        let now = Now { mono: Instant::ZERO, wall: UnixTime(NODE_TIME).into() };
        let mut rig = Self {
            pool: Pool::new(config, recovered, now),
            now,
            calls: Vec::new(),
            writes: Vec::new(),
            said: BTreeMap::new(),
            closed: Vec::new(),
            cancelled: Vec::new(),
            listening: false,
            halted: None,
            next_conn: 0,
        };
        rig.drain();
        rig
    }

    /// A pool whose node answered, with a first job out.
    fn mining(config: Config) -> Self {
        let mut rig = Self::new(config);
        rig.finish_writes();
        rig.reply("getblockchaininfo", json(r#"{"chain":"regtest","blocks":100}"#));
        rig.reply("getblocktemplate", template(1, 101));
        rig
    }

    /// A pool whose first miner, named too, found a block that the node took just now.
    fn whose_block_was_taken() -> (Self, ConnId) {
        let mut rig = Self::mining(easy());
        let (conn, heard) = rig.miner();
        let work = Work::from(&heard, "00000000", 5);
        rig.say(conn, &work.submit(4, 5, work.nonce(0, true)));
        rig.reply("submitblock", json("null"));
        (rig, conn)
    }

    fn drain(&mut self) {
        while let Some(action) = self.pool.poll_action() {
            match action {
                Action::Listen => self.listening = true,
                Action::Send { conn, bytes } => {
                    let text = core::str::from_utf8(&bytes).expect("JSON is UTF-8");
                    self.said.entry(conn).or_default().push_str(text);
                }
                Action::Close { conn, .. } => self.closed.push(conn),
                Action::Call { call, endpoint, body, .. } => {
                    let body = String::from_utf8(body.to_vec()).expect("JSON is UTF-8");
                    self.calls.push((call, endpoint, body));
                }
                Action::Cancel { call } => {
                    self.calls.retain(|(known, ..)| *known != call);
                    self.cancelled.push(call);
                }
                Action::Persist { write, op } => self.writes.push((write, op)),
                Action::Halt(why) => self.halted = Some(why),
            }
        }
        self.pool.audit();
    }

    fn handle(&mut self, event: Event) {
        self.pool.handle(self.now, event);
        self.drain();
    }

    fn wait(&mut self, time: Duration) {
        let until = self.now.mono + time;
        while let Some((due, _)) = self.pool.poll_timeout().filter(|(due, _)| *due <= until) {
            self.now.mono = self.now.mono.max(due);
            self.pool.handle_timeout(self.now);
            self.drain();
            self.send_jobs();
            assert!(
                self.pool.poll_timeout().is_none_or(|(next, _)| next > self.now.mono),
                "a wake that is dealt with does not come back at once: {:?}",
                self.pool.poll_timeout()
            );
        }
        self.now.mono = until;
    }

    /// Lets a job on its way arrive everywhere; how many turns it took.
    fn send_jobs(&mut self) -> usize {
        let mut turns = 0;
        while let Some((_, Wake::SendJob)) = self.pool.poll_timeout() {
            self.pool.handle_timeout(self.now);
            self.drain();
            turns += 1;
        }
        turns
    }

    fn asked(&self, method: &str) -> usize {
        self.calls.iter().filter(|(_, _, body)| calls(body, method)).count()
    }

    /// Answers the oldest call of `method` that is no long poll.
    fn reply(&mut self, method: &str, result: Result<HttpReply, CallError>) {
        let is_it = |(_, _, body): &(CallId, Endpoint, String)| {
            calls(body, method) && !body.contains("longpollid")
        };
        let place = self.calls.iter().position(is_it);
        let (call, ..) = self.calls.remove(place.unwrap_or_else(|| panic!("no call of {method}")));
        self.handle(Event::Replied { call, result });
    }

    fn reply_long_poll(&mut self, result: Result<HttpReply, CallError>) {
        let place = self.calls.iter().position(|(_, _, body)| body.contains("longpollid"));
        let (call, ..) = self.calls.remove(place.expect("a long poll is out"));
        self.handle(Event::Replied { call, result });
    }

    fn finish_writes(&mut self) -> Vec<DiskOp> {
        let writes = core::mem::take(&mut self.writes);
        for (write, _) in &writes {
            self.handle(Event::Persisted { write: *write });
        }
        writes.into_iter().map(|(_, op)| op).collect()
    }

    fn connect(&mut self) -> ConnId {
        let conn = ConnId(self.next_conn);
        self.next_conn += 1;
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        self.handle(Event::Opened { conn, peer, port: PortId(0) });
        conn
    }

    fn say(&mut self, conn: ConnId, lines: &str) -> String {
        self.said.remove(&conn);
        let bytes = Bytes::copy_from_slice(lines.as_bytes());
        self.handle(Event::Received { conn, bytes });
        self.hear(conn)
    }

    fn hear(&mut self, conn: ConnId) -> String {
        let said = self.said.remove(&conn).unwrap_or_default();
        if !self.closed.contains(&conn) {
            self.handle(Event::Flushed { conn, length: said.len() });
        }
        said
    }

    /// A miner that shook hands; with what it heard.
    fn miner(&mut self) -> (ConnId, String) {
        self.miner_called("test/1")
    }

    /// The same, with firmware of this name.
    fn miner_called(&mut self, agent: &str) -> (ConnId, String) {
        let conn = self.connect();
        let heard = self.say(
            conn,
            &format!(
                "{{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"{agent}\"]}}\n\
                 {{\"id\":2,\"method\":\"mining.authorize\",\"params\":[\"w\",\"x\"]}}\n"
            ),
        );
        (conn, heard)
    }
}

/// Whether `body` calls `method`. A proposal is another matter than a template, though both call
/// `getblocktemplate`: it is known by its mode.
fn calls(body: &str, method: &str) -> bool {
    body.contains(method) && (method != "getblocktemplate" || !body.contains("\"proposal\",\"data"))
}

/// What a miner makes of what it heard: by its own arithmetic, from the strings.
#[derive(Clone, Debug)]
struct Work {
    job: String,
    clean: bool,
    previous: String,
    coinbase: Vec<u8>,
    branch: Vec<Vec<u8>>,
    version: u32,
    bits: u32,
    time: u32,
}

impl Work {
    fn from(heard: &str, extranonce1: &str, extranonce2: u64) -> Self {
        let line = heard.lines().rfind(|line| line.contains("mining.notify")).expect("a job");
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let text = |place: usize| line["params"][place].as_str().expect("a string").to_owned();
        let number = |place| u32::from_str_radix(&text(place), 16).expect("hex");
        let branch = line["params"][4].as_array().expect("a list");
        let branch = branch.iter().map(|hash| hash.as_str().expect("a string"));
        let coinbase = format!("{}{extranonce1}{extranonce2:016x}{}", text(2), text(3));
        Self {
            job: text(0),
            clean: line["params"][8].as_bool().expect("a boolean"),
            previous: text(1),
            coinbase: hex::decode(&coinbase).expect("hex"),
            branch: branch.map(|hash| hex::decode(hash).expect("hex")).collect(),
            version: number(5),
            bits: number(6),
            time: number(7),
        }
    }

    fn outputs(&self) -> Vec<bitcoin::TxOut> {
        let coinbase: bitcoin::Transaction =
            bitcoin::consensus::deserialize(&self.coinbase).expect("a transaction");
        coinbase.output
    }

    fn hash(&self, nonce: u32) -> [u8; 32] {
        let mut header = self.version.to_le_bytes().to_vec();
        for word in hex::decode(&self.previous).expect("hex").chunks(4) {
            header.extend(word.iter().rev());
        }
        let root = |left: [u8; 32], right: &Vec<u8>| sha256d(&[&left, &right[..]].concat());
        header.extend(self.branch.iter().fold(sha256d(&self.coinbase), root));
        header.extend([self.time, self.bits, nonce].map(u32::to_le_bytes).concat());
        assert_eq!(header.len(), 80);
        sha256d(&header)
    }

    /// The first nonce from `start` whose hash is (or is not) a regtest block.
    fn nonce(&self, start: u32, block: bool) -> u32 {
        let is_wanted = |nonce: &u32| (self.hash(*nonce)[31] < 0x7f) == block;
        (start..start + 1_000).find(is_wanted).expect("every second one")
    }

    fn submit(&self, id: u32, extranonce2: u64, nonce: u32) -> String {
        format!(
            "{{\"id\":{id},\"method\":\"mining.submit\",\"params\":[\"w\",\"{}\",\
             \"{extranonce2:016x}\",\"{:08x}\",\"{nonce:08x}\"]}}\n",
            self.job, self.time
        )
    }
}

/// A config whose shares are easier than blocks: every hash is a share.
fn easy() -> Config {
    Config { difficulty: "1e-12".parse().expect("a difficulty"), ..config() }
}

fn found_block(seed: u8) -> FoundBlock {
    let bytes = vec![seed; 100];
    FoundBlock { height: 7, hash: sha256d(&bytes[..80]), bytes }
}
