//! What surrounds the pool in `session`: a node and a sidechain daemon that answer at once, a disk
//! that waits to be told, connections that are read as soon as something is sent.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use bitcoin::{Network, ScriptBuf};
use bytes::Bytes;
use serde_json::{Value, json};
use server::Pool;
use server::bmm::Slot;
use server::bmm::auction::Mode;
use server::bmm::wishes::Wishes;
use server::clock::{Instant, Now, UnixMillis, UnixTime};
use server::config::{
    Config, Engine, Limits, Miners, NodeRole, OwnSidechain, PortId, PortRules, Solo, VardiffRules,
};
use server::journal::{Recovered, WriteError};
use server::node::rpc::HttpReply;
use server::pool::action::{Action, CallId, Endpoint, Halt, WriteId};
use server::pool::event::{ConnId, Event};

/// More than one event can set off: a pool that goes beyond asks in a circle.
const ROUNDS_MAX: usize = 10_000;

struct Peer {
    heard: String,
    is_open: bool,
    is_deaf: bool,
}

/// A pool and its surroundings.
pub(crate) struct World {
    pool: Pool,
    now: Now,
    /// What the node gives: its tip's children.
    template: Value,
    /// The same as text, for it is asked for often.
    template_text: String,
    long_polls: Vec<CallId>,
    calls: Vec<(CallId, Endpoint, String)>,
    writes: Vec<WriteId>,
    peers: BTreeMap<ConnId, Peer>,
    closed: BTreeSet<ConnId>,
    sent: Vec<(ConnId, usize)>,
    /// Whether the node takes its time with blocks.
    is_slow: bool,
}

impl World {
    /// A pool with a job out, on the captured template with its bids.
    pub(crate) fn new(solo: bool) -> Self {
        let template: Value =
            serde_json::from_str(fixtures::GBT_BITCOIND_FOUR_BIDS).expect("as captured");
        let seconds = template["curtime"].as_u64().and_then(|time| u32::try_from(time).ok());
        let now = Now { mono: Instant::ZERO, wall: UnixTime(seconds.expect("a time")).into() };
        let mut world = Self {
            pool: Pool::new(config(solo), &Recovered::default(), now),
            now,
            template_text: template.to_string(),
            template,
            long_polls: Vec::new(),
            calls: Vec::new(),
            writes: Vec::new(),
            peers: BTreeMap::new(),
            closed: BTreeSet::new(),
            sent: Vec::new(),
            is_slow: false,
        };
        world.settle();
        world.finish_writes(true);
        world
    }

    /// Somebody connects.
    pub(crate) fn connect(&mut self) -> u64 {
        let conn = ConnId(self.peers.len() as u64);
        self.peers.insert(conn, Peer { heard: String::new(), is_open: true, is_deaf: false });
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        self.handle(Event::Opened { conn, peer, port: PortId(0) });
        conn.0
    }

    /// A miner sends `bytes`.
    pub(crate) fn say(&mut self, conn: u64, bytes: &[u8]) {
        if self.is_open(conn) {
            let bytes = Bytes::copy_from_slice(bytes);
            self.handle(Event::Received { conn: ConnId(conn), bytes });
        }
    }

    /// A miner closes its connection.
    pub(crate) fn leave(&mut self, conn: u64) {
        if self.is_open(conn) {
            self.closed.insert(ConnId(conn));
            self.settle();
        }
    }

    /// A miner reads no more.
    pub(crate) fn deafen(&mut self, conn: u64) {
        self.peers.entry(ConnId(conn)).and_modify(|peer| peer.is_deaf = true);
    }

    /// What was said to a miner since this was last asked.
    pub(crate) fn heard(&mut self, conn: u64) -> String {
        let peer = self.peers.get_mut(&ConnId(conn)).expect("it connected");
        core::mem::take(&mut peer.heard)
    }

    /// Whether the connection stands.
    pub(crate) fn is_open(&self, conn: u64) -> bool {
        self.peers[&ConnId(conn)].is_open
    }

    /// Whether the miner reads what it is sent.
    pub(crate) fn reads(&self, conn: u64) -> bool {
        let peer = &self.peers[&ConnId(conn)];
        peer.is_open && !peer.is_deaf
    }

    /// What is being written is safe, or the disk failed.
    pub(crate) fn finish_writes(&mut self, safe: bool) {
        for write in core::mem::take(&mut self.writes) {
            let error = WriteError::NotKept("no space left".to_owned());
            let failed = Event::PersistFailed { write, error };
            self.handle(if safe { Event::Persisted { write } } else { failed });
        }
    }

    /// Somebody else finds a block.
    pub(crate) fn new_tip(&mut self) {
        let height = self.template["height"].as_u64().expect("a height");
        self.take_tip(&format!("{height:064x}"));
        self.settle();
    }

    /// The node judges blocks at once, or keeps them waiting.
    pub(crate) fn judge_at_once(&mut self, at_once: bool) {
        self.is_slow = !at_once;
        self.settle();
    }

    /// The node publishes a message on one of its topics.
    pub(crate) fn publish(&mut self, message: &[u8]) {
        let (topic, body) = message.split_at(message.len().min(9));
        let topic = Bytes::copy_from_slice(topic.trim_ascii_end());
        self.handle(Event::Notified { node: 0, topic, body: Bytes::copy_from_slice(body) });
    }

    /// So much time passes.
    pub(crate) fn wait(&mut self, milliseconds: u64) {
        let until = self.now.mono + Duration::from_millis(milliseconds);
        let mut rounds = 0;
        while let Some((due, _)) = self.pool.poll_timeout().filter(|(due, _)| *due <= until) {
            rounds += 1;
            assert!(rounds < ROUNDS_MAX, "it wants to be woken for ever");
            self.pass(due);
            self.pool.handle_timeout(self.now);
            self.settle();
        }
        self.pass(until);
    }

    fn pass(&mut self, until: Instant) {
        let mono = self.now.mono.max(until);
        let seconds = |at: Instant| at.since(Instant::ZERO).as_secs();
        let passed = u32::try_from(seconds(mono) - seconds(self.now.mono)).expect("short");
        self.now = Now { mono, wall: UnixMillis(self.now.wall.0 + u64::from(passed) * 1_000) };
    }

    fn handle(&mut self, event: Event) {
        self.pool.handle(self.now, event);
        self.settle();
    }

    /// Performs everything that the pool wants, and what follows from that.
    fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            while let Some(action) = self.pool.poll_action() {
                self.perform(action);
            }
            self.pool.audit();
            let Some(event) = self.next_event() else { return };
            self.pool.handle(self.now, event);
        }
        panic!("the pool asks in a circle");
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Listen => {}
            Action::Send { conn, bytes } => {
                let peer = self.peers.get_mut(&conn).expect("it connected");
                assert!(peer.is_open, "nothing is sent to who left");
                peer.heard.push_str(core::str::from_utf8(&bytes).expect("JSON is UTF-8"));
                self.sent.push((conn, bytes.len()));
            }
            Action::Close { conn, .. } => {
                self.closed.insert(conn);
            }
            Action::Call { call, endpoint, body, .. } => {
                let body = String::from_utf8(body.to_vec()).expect("JSON is UTF-8");
                if body.contains("longpollid") {
                    self.long_polls.push(call);
                } else {
                    self.calls.push((call, endpoint, body));
                }
            }
            Action::Cancel { call } => {
                self.long_polls.retain(|known| *known != call);
                self.calls.retain(|(known, ..)| *known != call);
            }
            Action::Persist { write, .. } => self.writes.push(write),
            Action::Halt(Halt::Stopped | Halt::Fatal(_)) => panic!("no miner can stop the server"),
        }
    }

    /// The next thing that follows from what was done.
    fn next_event(&mut self) -> Option<Event> {
        while let Some((conn, length)) = self.sent.pop() {
            let peer = &self.peers[&conn];
            if peer.is_open && !peer.is_deaf {
                return Some(Event::Flushed { conn, length });
            }
        }
        while let Some(conn) = self.closed.pop_first() {
            let peer = self.peers.get_mut(&conn).expect("it connected");
            // Both sides may have hung up.
            if core::mem::replace(&mut peer.is_open, false) {
                return Some(Event::Closed { conn });
            }
        }
        let is_late = |body: &str| self.is_slow && body.contains("submitblock");
        let place = self.calls.iter().position(|(_, _, body)| !is_late(body))?;
        let (call, endpoint, body) = self.calls.remove(place);
        let body = Bytes::from(self.answer(endpoint, &body));
        Some(Event::Replied { call, result: Ok(HttpReply { status: 200, body }) })
    }

    fn answer(&mut self, endpoint: Endpoint, body: &str) -> String {
        if body.contains("getblocktemplate") {
            return format!("{{\"result\":{},\"error\":null,\"id\":1}}", self.template_text);
        }
        let request: Value = serde_json::from_str(body).expect("the server speaks JSON");
        let result = match (endpoint, request["method"].as_str().unwrap_or_default()) {
            (Endpoint::Sidechain(_), _) => json!("5a".repeat(32)),
            (_, "getblockchaininfo") => json!({"chain": "regtest", "blocks": self.height() - 1}),
            (_, "submitblock") => self.judge(request["params"][0].as_str().unwrap_or_default()),
            _ => {
                let error = json!({"code": -32601, "message": "Method not found"});
                return json!({"result": null, "error": error}).to_string();
            }
        };
        json!({"result": result, "error": null, "id": request["id"]}).to_string()
    }

    fn height(&self) -> u64 {
        self.template["height"].as_u64().expect("a height")
    }

    /// The node takes a block that builds on its tip.
    fn judge(&mut self, block: &str) -> Value {
        let block: bitcoin::Block =
            bitcoin::consensus::encode::deserialize_hex(block).expect("a whole block");
        assert!(block.header.validate_pow(block.header.target()).is_ok(), "it has its work");
        assert!(block.check_merkle_root() && block.check_witness_commitment(), "it adds up");
        if block.header.prev_blockhash.to_string() != self.template["previousblockhash"] {
            return json!("inconclusive");
        }
        self.take_tip(&block.block_hash().to_string());
        Value::Null
    }

    fn take_tip(&mut self, tip: &str) {
        self.template["height"] = json!(self.height() + 1);
        self.template["previousblockhash"] = json!(tip);
        self.template["longpollid"] = json!(tip);
        self.template["transactions"] = json!([]);
        self.template["coinbasevalue"] = json!(5_000_000_000_u64);
        // Of a block without transactions.
        self.template["default_witness_commitment"] =
            json!("6a24aa21a9ede2f61c3f71d1defd3fa999dfa36953755c690689799962b48bebd836974e8cf9");
        self.template_text = self.template.to_string();
        for call in core::mem::take(&mut self.long_polls) {
            self.calls.push((
                call,
                Endpoint::Node(0),
                "{\"method\":\"getblocktemplate\"}".to_owned(),
            ));
        }
    }
}

/// Difficulties at which every hash is a share and every second one a block, and times so short
/// that a story sees them end.
fn config(solo: bool) -> Config {
    let difficulty = "1e-12".parse().expect("a difficulty");
    let share_interval = Duration::from_secs(5);
    let vardiff = Some(VardiffRules { share_interval, min: difficulty, max: None });
    let ports = vec![PortRules { difficulty, vardiff }];
    let solo = solo.then_some(Solo { fee_basis_points: 150 });
    Config {
        network: Network::Regtest,
        nodes: vec![NodeRole::Follow],
        payout: ScriptBuf::from_bytes(vec![0x51]),
        difficulty,
        refresh: Duration::from_secs(10),
        blind: Mode::On,
        empty_first: false,
        sidechains: vec![OwnSidechain::new(Slot(98))],
        wishes: Wishes::default(),
        miners: Miners { ports, solo },
        engine: Engine::ONLY,
        limits: Limits {
            handshake: Duration::from_secs(20),
            idle: Duration::from_secs(90),
            keep_stale: Duration::from_secs(30),
            ..Limits::default()
        },
    }
}
