//! What the nodes publish unasked (bitcoind's ZMQ topic `hashblock`): to the server, if one runs,
//! after a moment, and now and then not at all.

use bitcoin::BlockHash;
use bitcoin::hashes::Hash as _;
use bytes::Bytes;
use server::pool::event::Event as PoolEvent;

use super::{Event, Simulation};
use crate::plan::draw::draw;
use crate::sim::observe::Observation;

impl Simulation<'_> {
    /// A node's tip is another one.
    pub(super) fn publish(&mut self, node: usize, tip: BlockHash) {
        let Some(plan) = self.plan.server.notices else { return };
        self.notices += 1;
        let mut draw = draw(self.plan.seed, "notice", (self.notices, 0));
        if draw.chance(plan.lost) {
            return self.upstream.felt("a notice is lost");
        }
        let due = self.now.after(draw.between(1, plan.delay_us));
        self.queue.put(due, Event::Notice(node, tip));
    }

    pub(super) fn noticed(&mut self, node: usize, tip: BlockHash) {
        if self.waits(&Event::Notice(node, tip)) {
            return;
        }
        let tip = tip.to_byte_array();
        let mut body = tip;
        body.reverse();
        let (topic, body) = (Bytes::from_static(b"hashblock"), Bytes::copy_from_slice(&body));
        let seen = Observation::Noticed { node, tip };
        self.deliver(&seen, PoolEvent::Notified { node, topic, body });
    }
}
