//! Our own sidechains: their daemons are asked for h\*, and told what became of it.
//!
//! A daemon of Thunder's kind wants its block back, with the name of the mainchain block that
//! commits to it, once the node took one of ours. A zeroed h\* is nobody's block.

use bitcoin::ScriptBuf;
use tracing::{error, info, warn};

use super::action::{Action, Endpoint};
use super::{Pool, Purpose};
use crate::bmm::Commitment;
use crate::bmm::policy::Choice;
use crate::clock::Now;
use crate::mining::block::FoundBlock;
use crate::mining::hash::{Hash, display_hash};
use crate::node::rpc::{CallError, HttpReply};
use crate::node::sidechain::thunder::{Delivery, Ending};

impl Pool {
    /// Asks the daemon at `index` what to commit to in a block on `tip`.
    pub(super) fn ask_daemon(&mut self, index: usize, tip: Hash) {
        if self.daemons[index].is_overtaken(tip) {
            let purpose = Purpose::Commitment(index);
            let call = self.calls.iter().find(|(_, made_for)| **made_for == purpose);
            if let Some(call) = call.map(|(call, _)| *call) {
                self.calls.remove(&call);
                self.actions.push_back(Action::Cancel { call });
            }
        }
        if let Some(body) = self.daemons[index].ask(tip) {
            let patience = self.config.limits.call_patience;
            self.call(Purpose::Commitment(index), Endpoint::Sidechain(index), body, patience);
        }
    }

    /// Makes every call to a daemon that is due.
    pub(super) fn ask_sidechains(&mut self, now: Now) {
        while let Some((delivery, body)) = self.deliveries.poll_question(now.mono) {
            let patience = self.config.limits.call_patience;
            let endpoint = Endpoint::Sidechain(delivery.sidechain);
            self.call(Purpose::Connect(delivery), endpoint, body, patience);
        }
        let Some(tip) = self.work.tip() else { return };
        for index in 0..self.daemons.len() {
            if self.daemons[index].next_question().is_some_and(|due| due <= now.mono) {
                self.ask_daemon(index, tip);
            }
        }
    }

    /// The job of this sequence number commits to what was chosen.
    pub(super) fn note_commitments(&mut self, choice: &Choice, job: u32) {
        for commitment in choice.commitments() {
            let of_slot = self.daemons.iter_mut();
            let of_slot = of_slot.filter(|daemon| daemon.chain().slot == commitment.slot);
            of_slot.for_each(|daemon| daemon.blocks.use_for(commitment.hash, job));
        }
    }

    /// The node took `found`: the sidechain blocks that it commits to go to their daemons.
    pub(super) fn connect_sidechains(&mut self, now: Now, found: &FoundBlock) {
        if self.daemons.iter().all(|daemon| daemon.blocks.iter().next().is_none()) {
            return;
        }
        let Ok(block) = bitcoin::consensus::deserialize::<bitcoin::Block>(&found.bytes) else {
            return;
        };
        let outputs = block.txdata.first().map_or(&[][..], |coinbase| &coinbase.output);
        let is_there =
            |script: &ScriptBuf| outputs.iter().any(|output| output.script_pubkey == *script);
        for (sidechain, daemon) in self.daemons.iter().enumerate() {
            let chain = daemon.chain();
            let mut committed = daemon.blocks.iter().filter(|(hash, _)| {
                let commitment = Commitment { slot: chain.slot, hash: *hash };
                is_there(&commitment.to_script_with(chain.header))
            });
            let Some((_, block)) = committed.next() else { continue };
            let delivery = Delivery { sidechain, main: found.hash };
            if let Some(dropped) = self.deliveries.add(now.mono, delivery, block.clone()) {
                self.counters.sidechain_blocks_lost += 1;
                warn!(
                    slot = %self.daemons[dropped.sidechain].chain().slot,
                    main = display_hash(&dropped.main),
                    "too many sidechain blocks wait to be connected: the oldest is given up"
                );
            }
        }
    }

    /// A daemon answered for a sidechain block that the mainchain commits to.
    pub(super) fn on_connected(
        &mut self,
        now: Now,
        delivery: Delivery,
        reply: &Result<HttpReply, CallError>,
    ) {
        let Some(ending) = self.deliveries.on_reply(now.mono, delivery, reply) else { return };
        let Delivery { sidechain, main } = delivery;
        let slot = self.daemons[sidechain].chain().slot;
        let main = display_hash(&main);
        match ending {
            Ending::Connected => {
                self.counters.sidechain_blocks_connected += 1;
                info!(%slot, main, "sidechain block connected");
                // What it would have us commit to now stands on that block.
                self.daemons[sidechain].ask_again(now.mono);
            }
            Ending::GivenUp(why) => {
                self.counters.sidechain_blocks_lost += 1;
                error!(
                    %slot,
                    main,
                    "the sidechain block that this mainchain block commits to is not connected: \
                     {why}; its fees are lost, the mainchain block is not; see the daemon's log"
                );
            }
        }
    }
}
