//! Calls of the server to its node and daemons: their way there, what they do, their way back,
//! and everything that happens to them on both.
//!
//! A call has its effect when it arrives, whether or not its answer ever does: that is the whole
//! difference between a lost request and a lost reply. Not in here: what the node and the daemons
//! answer (`node.rs`, `enforcer.rs`, `sidechain.rs`).

#![expect(clippy::wildcard_enum_match_arm, reason = "a fault is what differs from the rest")]

mod templates;

use std::collections::BTreeMap;

use bitcoin::BlockHash;
use bytes::Bytes;
use server::node::rpc::{CallError, HttpReply};
use server::pool::action::Endpoint;

use super::node::{Condition, ParkedPoll, RpcOutcome};
use super::queue::Micros;
use super::{RpcReply, World};
use crate::plan::draw::{Draw, draw};
use crate::plan::{DaemonFault, NetworkPlan, NodeFault, Plan, Poison};
use crate::sim::enforcer::Enforcer;

/// What a call brings back.
pub type Outcome = Result<HttpReply, CallError>;

/// A call of one run of the server.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct CallKey {
    /// The run.
    pub run: u32,
    /// Its number there.
    pub call: u64,
}

/// What happens to a call next.
#[derive(Clone, Debug)]
pub enum CallMove {
    /// It reaches whom it was made to.
    Arrives(CallKey),
    /// Its answer reaches the server.
    Returns(CallKey, Outcome),
    /// Its time is over.
    Deadline(CallKey),
    /// A parked poll looks again.
    Look(CallKey),
}

#[derive(Debug)]
struct Pending {
    endpoint: Endpoint,
    body: Bytes,
    /// Whether the server still waits.
    wanted: bool,
    fault: Option<NodeFault>,
}

/// A long poll that waits.
#[derive(Debug)]
enum Parked {
    /// At the node of this place.
    Node(usize, ParkedPoll),
    /// For a tip other than this, or until then.
    Enforcer(BlockHash, Micros),
}

/// All calls, and what goes wrong with them.
#[derive(Debug)]
pub struct Upstream {
    seed: u64,
    network: NetworkPlan,
    slots: Vec<u8>,
    calls: BTreeMap<CallKey, Pending>,
    parked: BTreeMap<CallKey, Parked>,
    /// Of the first node, then of the second.
    faults: [Vec<NodeFault>; 2],
    daemon_faults: Vec<(u8, DaemonFault)>,
    poisons: Vec<Poison>,
    lag_us: Option<u64>,
    lags_until: Micros,
    /// The last template that was given: its body, as long as it is the newest of an old tip.
    last_template: Option<Vec<u8>>,
    enforcer: Option<Enforcer>,
    is_enforcer: bool,
    moves: Vec<(Micros, CallMove)>,
    /// How often each fault came to bear, by name.
    pub felt: BTreeMap<String, u64>,
}

impl Upstream {
    /// No calls yet.
    pub fn new(plan: &Plan) -> Self {
        Self {
            seed: plan.seed,
            network: plan.network,
            slots: plan.server.daemons.iter().map(|daemon| daemon.slot).collect(),
            calls: BTreeMap::new(),
            parked: BTreeMap::new(),
            faults: Default::default(),
            daemon_faults: Vec::new(),
            poisons: Vec::new(),
            lag_us: None,
            lags_until: Micros(0),
            last_template: None,
            enforcer: None,
            is_enforcer: plan.server.enforcer,
            moves: Vec::new(),
            felt: BTreeMap::new(),
        }
    }

    /// What was set in motion since the last call.
    pub fn take_moves(&mut self) -> Vec<(Micros, CallMove)> {
        core::mem::take(&mut self.moves)
    }

    /// Calls to the node at `node` go wrong from now on.
    pub fn begin(&mut self, node: usize, fault: NodeFault) {
        self.faults[node].push(fault);
    }

    /// They no longer do so in this way.
    pub fn end(&mut self, node: usize, fault: NodeFault) {
        let faults = &mut self.faults[node];
        if let Some(place) = faults.iter().position(|known| *known == fault) {
            faults.remove(place);
        }
    }

    /// A daemon goes wrong, or is well again.
    pub fn set_daemon(&mut self, slot: u8, fault: DaemonFault, on: bool) {
        self.daemon_faults.retain(|known| *known != (slot, fault));
        self.daemon_faults.extend(on.then_some((slot, fault)));
    }

    /// Templates are poisoned, or no longer.
    pub fn set_poison(&mut self, poison: Poison, on: bool) {
        self.poisons.retain(|known| *known != poison);
        self.poisons.extend(on.then_some(poison));
    }

    /// How long templates lag behind a new tip.
    pub const fn set_lag(&mut self, lag_us: Option<u64>) {
        self.lag_us = lag_us;
    }

    /// Nothing goes wrong any more.
    pub fn heal(&mut self, now: Micros) {
        self.faults.iter_mut().for_each(Vec::clear);
        self.daemon_faults.clear();
        self.poisons.clear();
        self.lag_us = None;
        self.lags_until = now;
        self.network.call_jitter_us = 0;
    }

    /// Notes that `name` happened.
    pub fn felt(&mut self, name: &str) {
        if let Some(count) = self.felt.get_mut(name) {
            *count += 1;
        } else {
            self.felt.insert(name.to_owned(), 1);
        }
    }

    fn way(&self, key: CallKey, label: &str) -> u64 {
        let jitter = self.draw(label, key).below(self.network.call_jitter_us + 1);
        self.network.call_us + jitter
    }

    fn draw(&self, label: &str, key: CallKey) -> Draw {
        draw(self.seed, label, (u64::from(key.run), key.call))
    }

    /// The server makes a call.
    pub fn call(
        &mut self,
        now: Micros,
        key: CallKey,
        endpoint: Endpoint,
        body: Bytes,
        patience_us: u64,
    ) {
        let there = now.after(self.way(key, "call.there"));
        let fault = match endpoint {
            Endpoint::Node(node) if self.faults[node].is_empty() => None,
            Endpoint::Node(node) => Some(*self.draw("call.fault", key).pick(&self.faults[node])),
            Endpoint::Sidechain(_) => None,
        };
        let fault = fault.filter(|fault| applies(*fault, &body));
        if let Some(fault) = fault {
            self.felt(&format!("node call: {fault:?}"));
        }
        self.moves.push((now.after(patience_us), CallMove::Deadline(key)));
        match fault {
            Some(NodeFault::Refused) => {
                let refused = Err(CallError::Connect("connection refused".to_owned()));
                self.moves.push((there, CallMove::Returns(key, refused)));
            }
            Some(NodeFault::Lost) => {}
            _ => self.moves.push((there, CallMove::Arrives(key))),
        }
        self.calls.insert(key, Pending { endpoint, body, wanted: true, fault });
    }

    /// The server no longer waits; the call is under way all the same.
    pub fn cancel(&mut self, key: CallKey) {
        if let Some(call) = self.calls.get_mut(&key) {
            call.wanted = false;
        }
    }

    /// The server is dead; its calls are under way all the same.
    pub fn server_dies(&mut self) {
        self.calls.values_mut().for_each(|call| call.wanted = false);
        self.parked.clear();
    }

    /// An answer, or the lack of one, reaches the server; `None` when it no longer waits for it.
    pub fn deliver(&mut self, key: CallKey, outcome: Outcome) -> Option<Outcome> {
        let call = self.calls.remove(&key)?;
        self.parked.remove(&key);
        call.wanted.then_some(outcome)
    }

    /// A call reaches whom it was made to.
    pub fn arrive(&mut self, now: Micros, unix: u32, key: CallKey, world: &mut World) {
        let Some(call) = self.calls.get(&key) else { return };
        let (body, fault) = (call.body.clone(), call.fault);
        match call.endpoint {
            Endpoint::Sidechain(place) => self.arrive_at_daemon(now, key, place, &body, world),
            Endpoint::Node(node) => {
                if let Some(fault) = fault
                    && let Some(reply) = instead(fault)
                {
                    self.reply(now, key, Ok(reply));
                    return;
                }
                self.arrive_at_node(now, unix, (key, node), &body, fault, world);
            }
        }
    }

    fn arrive_at_daemon(
        &mut self,
        now: Micros,
        key: CallKey,
        place: usize,
        body: &[u8],
        world: &mut World,
    ) {
        let Some(slot) = self.slots.get(place).copied() else { return };
        let is = |fault| self.daemon_faults.contains(&(slot, fault));
        if is(DaemonFault::Down) {
            self.felt("daemon down");
            let refused = Err(CallError::Connect("connection refused".to_owned()));
            return self.reply(now, key, refused);
        }
        if is(DaemonFault::Nonsense) {
            self.felt("daemon talks nonsense");
            let bodies = [
                r#"{"jsonrpc":"2.0","result":null,"id":1}"#,
                r#"{"jsonrpc":"2.0","result":"00ff","id":1}"#,
                r#"{"jsonrpc":"2.0","error":{"code":-1,"message":"no tip"},"id":1}"#,
                "<html>",
            ];
            let body = *self.draw("daemon.nonsense", key).pick(&bodies);
            return self.reply(now, key, Ok(http(200, body)));
        }
        let slow = is(DaemonFault::Slow);
        let Some(reply) = world.handle_sidechain_rpc(slot, body) else { return };
        let later = if slow { self.draw("daemon.slow", key).scaled(100_000, 8_000_000) } else { 0 };
        if slow {
            self.felt("daemon slow");
        }
        self.reply(now.after(later), key, Ok(of(reply)));
    }

    fn arrive_at_node(
        &mut self,
        now: Micros,
        unix: u32,
        (key, node): (CallKey, usize),
        body: &[u8],
        fault: Option<NodeFault>,
        world: &mut World,
    ) {
        let condition = match fault {
            Some(NodeFault::InitialSync) => Condition::InitialSync,
            Some(NodeFault::WarmingUp) => Condition::WarmingUp,
            _ => Condition::Ready,
        };
        let set = |world: &mut World, condition| match node {
            0 => world.change_node(|node| node.set_condition(condition)),
            _ => world.change_second(|node| node.set_condition(condition)).unwrap_or_default(),
        };
        set(world, condition);
        let parked = match node {
            0 => self.effect(now, unix, body, fault, world),
            _ => effect_at_second(unix, body, fault, world),
        };
        set(world, Condition::Ready);
        let reply = match parked {
            Effect::Reply(reply) => reply,
            Effect::Parked(parked) => {
                if fault != Some(NodeFault::PollSilent) {
                    if let Parked::Node(_, poll) = &parked {
                        self.moves.push((look_at(now, unix, poll), CallMove::Look(key)));
                    }
                    if let Parked::Enforcer(_, until) = &parked {
                        self.moves.push((*until, CallMove::Look(key)));
                    }
                    self.parked.insert(key, parked);
                }
                return;
            }
        };
        self.return_from_node(now, key, reply, fault);
    }

    fn return_from_node(
        &mut self,
        now: Micros,
        key: CallKey,
        mut reply: HttpReply,
        fault: Option<NodeFault>,
    ) {
        let mut later = now;
        match fault {
            Some(NodeFault::ReplyLost) => return,
            Some(NodeFault::ReplyBroken) => {
                let broken = Err(CallError::Broken("connection reset by peer".to_owned()));
                return self.reply(now, key, broken);
            }
            Some(NodeFault::Truncated) => reply.body.truncate(reply.body.len() / 2),
            Some(NodeFault::Huge) => reply.body = Bytes::from(vec![b' '; 1 << 20]),
            Some(NodeFault::Slow) => {
                later = now.after(self.draw("call.slow", key).scaled(200_000, 6_000_000));
            }
            _ => {}
        }
        self.reply(later, key, Ok(reply));
    }

    fn reply(&mut self, now: Micros, key: CallKey, outcome: Outcome) {
        let back = now.after(self.way(key, "call.back"));
        self.moves.push((back, CallMove::Returns(key, outcome)));
    }

    /// The first node's tip changed: its templates may lag behind it.
    pub fn tip_changed(&mut self, now: Micros) {
        if let Some(lag) = self.lag_us {
            self.lags_until = now.after(lag);
            self.felt("template lags behind the tip");
        }
    }

    /// A node's tip changed: parked polls are answered.
    pub fn look_at_all(&mut self, now: Micros, unix: u32, world: &mut World) {
        let waiting: Vec<CallKey> = self.parked.keys().copied().collect();
        for key in waiting {
            self.look(now, unix, key, world);
        }
    }

    /// A parked poll looks whether there is reason to answer.
    pub fn look(&mut self, now: Micros, unix: u32, key: CallKey, world: &mut World) {
        let Some(mut parked) = self.parked.remove(&key) else { return };
        let reply = match &mut parked {
            Parked::Node(node, poll) => world.resume_at(*node, unix, poll).map(of),
            Parked::Enforcer(tip, until) => {
                let due = world.node().tip() != *tip || *until <= now;
                due.then(|| self.enforcer_template(now, unix, world)).flatten()
            }
        };
        let Some(reply) = reply else {
            if let Parked::Node(_, poll) = &parked {
                self.moves.push((look_at(now, unix, poll), CallMove::Look(key)));
            }
            self.parked.insert(key, parked);
            return;
        };
        let fault = self.calls.get(&key).and_then(|call| call.fault);
        let second = matches!(parked, Parked::Node(1.., _));
        let reply = if second { reply } else { self.lagging(now, reply) };
        self.return_from_node(now, key, reply, fault);
    }
}

/// What a call to the second node does: it is a plain one.
fn effect_at_second(unix: u32, body: &[u8], fault: Option<NodeFault>, world: &mut World) -> Effect {
    let same = fault == Some(NodeFault::PollSame) && is_long_poll(body);
    let body = if same { templates::ASK.as_bytes() } else { body };
    match world.handle_rpc_at(1, unix, body) {
        RpcOutcome::Reply(reply) => Effect::Reply(of(reply)),
        RpcOutcome::Parked(poll) => Effect::Parked(Parked::Node(1, poll)),
    }
}

/// What a node says that would take nothing: no word of the simulated node's own.
const REFUSED: &str = r#"{"jsonrpc":"2.0","result":"refused-by-plan","id":1}"#;

enum Effect {
    Reply(HttpReply),
    Parked(Parked),
}

/// When a parked poll looks next. Unix time is whole seconds, so a second later is soon enough.
fn look_at(now: Micros, unix: u32, poll: &ParkedPoll) -> Micros {
    now.after(u64::from(poll.look_at().saturating_sub(unix)) * 1_000_000 + 1_000_000)
}

/// Whether a fault concerns this call at all.
fn applies(fault: NodeFault, body: &[u8]) -> bool {
    match fault {
        NodeFault::PollSilent | NodeFault::PollSame => is_long_poll(body),
        NodeFault::ProposalRefused => is_proposal(body),
        _ => true,
    }
}

fn contains(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

/// Only template requests are short enough to be searched whole.
fn is_long_poll(body: &[u8]) -> bool {
    is_template(body) && contains(body, b"\"longpollid\"")
}

fn is_template(body: &[u8]) -> bool {
    contains(&body[..body.len().min(120)], b"getblocktemplate") && !is_proposal(body)
}

/// A block to be judged follows, so only the start is searched.
fn is_proposal(body: &[u8]) -> bool {
    contains(&body[..body.len().min(120)], b"\"mode\":\"proposal\"")
}

/// What is answered without asking the node.
fn instead(fault: NodeFault) -> Option<HttpReply> {
    match fault {
        NodeFault::Http500 => Some(http(500, "Internal Server Error")),
        NodeFault::Http503 => Some(http(503, "Work queue depth exceeded")),
        NodeFault::Html => Some(http(200, "<html><body>It works!</body></html>")),
        NodeFault::Unauthorized => Some(http(401, "")),
        NodeFault::ProposalRefused => Some(http(200, REFUSED)),
        _ => None,
    }
}

fn http(status: u16, body: &'static str) -> HttpReply {
    HttpReply { status, body: Bytes::from_static(body.as_bytes()) }
}

fn of(reply: RpcReply) -> HttpReply {
    HttpReply { status: reply.status, body: reply.body.into() }
}
