//! What a call to the node does: plain templates, an enforcer's, those that lag, those that lie.

use serde_json::{Value, json};
use server::node::rpc::HttpReply;

use super::{Effect, Parked, RpcOutcome, Upstream, World, is_long_poll, is_template, of};
use crate::plan::{NodeFault, Poison};
use crate::sim::enforcer::{self, Call, Enforcer, Failure, Producer};
use crate::sim::queue::Micros;
use crate::sim::sidechain::m7_script;
use crate::sim::{RpcReply, sidechain};

/// How long an enforcer parks a long poll.
const ENFORCER_PATIENCE_US: u64 = 30_000_000;
/// A template request like any other.
pub(super) const ASK: &str = concat!(
    r#"{"jsonrpc":"2.0","id":1,"method":"getblocktemplate","#,
    r#""params":[{"rules":["segwit"],"capabilities":["coinbasetxn"]}]}"#
);

impl Upstream {
    pub(super) fn effect(
        &mut self,
        now: Micros,
        unix: u32,
        body: &[u8],
        fault: Option<NodeFault>,
        world: &mut World,
    ) -> Effect {
        let same = fault == Some(NodeFault::PollSame) && is_long_poll(body);
        let body = if same { ASK.as_bytes() } else { body };
        let template = is_template(body);
        if template
            && now < self.lags_until
            && !is_long_poll(body)
            && let Some(old) = self.last_template.clone()
        {
            return Effect::Reply(HttpReply { status: 200, body: old.into() });
        }
        if self.is_enforcer {
            return self.effect_at_enforcer(now, unix, body, fault, world);
        }
        match world.handle_rpc(unix, body) {
            RpcOutcome::Parked(poll) => Effect::Parked(Parked::Node(0, poll)),
            RpcOutcome::Reply(reply) if template && reply.status == 200 => {
                let reply = of(reply);
                Effect::Reply(self.lagging(now, reply))
            }
            RpcOutcome::Reply(reply) => Effect::Reply(of(reply)),
        }
    }

    /// The reply, or the last one for the old tip while templates lag.
    pub(super) fn lagging(&mut self, now: Micros, reply: HttpReply) -> HttpReply {
        if now < self.lags_until
            && let Some(old) = self.last_template.clone()
        {
            return HttpReply { status: 200, body: old.into() };
        }
        if self.lag_us.is_some() && reply.status == 200 {
            self.last_template = Some(reply.body.to_vec());
        }
        reply
    }

    fn effect_at_enforcer(
        &mut self,
        now: Micros,
        unix: u32,
        body: &[u8],
        fault: Option<NodeFault>,
        world: &mut World,
    ) -> Effect {
        let (id, call) = match enforcer::read(body) {
            Ok(read) => read,
            Err(reply) => return Effect::Reply(of(reply)),
        };
        match call {
            // A proxy, and no more: the node judges.
            Call::Submit(_) => match world.handle_rpc(unix, body) {
                RpcOutcome::Reply(reply) => Effect::Reply(of(reply)),
                RpcOutcome::Parked(poll) => Effect::Parked(Parked::Node(0, poll)),
            },
            Call::Template(_) if fault == Some(NodeFault::InitialSync) => {
                Effect::Reply(of(enforcer::wrap(&id, &Err(Failure::still_syncing()))))
            }
            Call::Template(call) => {
                let tip = world.node().tip();
                if call.long_poll_tip == Some(tip) {
                    let until = now.after(ENFORCER_PATIENCE_US);
                    return Effect::Parked(Parked::Enforcer(tip, until));
                }
                match self.enforcer_template(now, unix, world) {
                    Some(reply) => Effect::Reply(self.lagging(now, reply)),
                    None => Effect::Reply(of(enforcer::wrap(&id, &Err(Failure::no_mempool())))),
                }
            }
        }
    }

    /// The enforcer's template for the node's tip.
    pub(super) fn enforcer_template(
        &mut self,
        _now: Micros,
        unix: u32,
        world: &mut World,
    ) -> Option<HttpReply> {
        let RpcOutcome::Reply(RpcReply { body, .. }) = world.handle_rpc(unix, ASK.as_bytes())
        else {
            return None;
        };
        let mut answer: Value = serde_json::from_slice(&body).ok()?;
        let plain = answer["result"].take();
        if self.enforcer.is_none() {
            self.enforcer = Enforcer::new(Producer::default(), &plain).ok();
        }
        let mut template = self.enforcer.as_mut()?.template(&plain).ok()?;
        for poison in self.poisons.clone() {
            if poisoned(&mut template, poison).is_some() {
                self.felt(&format!("template poisoned: {poison:?}"));
            }
        }
        let reply = enforcer::wrap(&Some(json!(1)), &Ok(template));
        Some(of(reply))
    }
}

/// Breaks a template; `None` where there is nothing to break in this way.
fn poisoned(template: &mut Value, poison: Poison) -> Option<()> {
    let hex = template["coinbasetxn"]["data"].as_str()?;
    let mut coinbase: bitcoin::Transaction =
        bitcoin::consensus::encode::deserialize_hex(hex).ok()?;
    let is_m7 = |output: &bitcoin::TxOut| output.script_pubkey.as_bytes().starts_with(&M7_HEAD);
    match poison {
        Poison::BidWithoutCommitment => {
            let place = coinbase.output.iter().position(is_m7)?;
            coinbase.output.remove(place);
        }
        Poison::TwoCommitments => {
            let slot = coinbase.output.iter().find(|output| is_m7(output));
            let slot = slot.map_or(7, |output| output.script_pubkey.as_bytes()[6]);
            for byte in [1, 2] {
                let script_pubkey = m7_script(slot, sidechain::HStar([byte; 32]));
                let value = bitcoin::Amount::ZERO;
                coinbase.output.insert(0, bitcoin::TxOut { value, script_pubkey });
            }
        }
        Poison::WrongWitnessCommitment => {
            let last = coinbase.output.last_mut()?;
            let mut bytes = last.script_pubkey.to_bytes();
            *bytes.last_mut()? ^= 1;
            last.script_pubkey = bitcoin::ScriptBuf::from_bytes(bytes);
        }
    }
    let data = bitcoin::consensus::encode::serialize_hex(&coinbase);
    template["coinbasetxn"]["data"] = data.into();
    Some(())
}

const M7_HEAD: [u8; 6] = [0x6a, 0x25, 0xd1, 0x61, 0x73, 0x68];
