//! A second node beside the first: its own chain and mempool, and the blocks that pass to and fro.
//!
//! The first node is the one whose chain the sidechains follow. What both are told (transactions,
//! time) is told by whoever runs the world; blocks pass when [`World::share_blocks`] is called, and
//! until then each node knows what it was handed itself.

use bitcoin::{Block, BlockHash};
use std::sync::Arc;

use super::World;
use super::jsonrpc::RpcReply;
use super::node::{NodeChange, ParkedPoll, RpcOutcome, SimNode};

/// Something an observer of the second node can see.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SecondEvent {
    /// Its best chain ends elsewhere.
    TipChanged {
        /// The new tip.
        hash: BlockHash,
        /// Its height.
        height: u32,
    },
    /// A block that it was handed joined its best chain.
    BlockAccepted {
        /// Its hash.
        hash: BlockHash,
        /// Whether the first node has it too.
        shared: bool,
    },
}

impl World {
    /// Adds a second node, that knows what a new one knows.
    pub fn add_second(&mut self) {
        let mut second = SimNode::with_bits(self.node.chain().bits());
        second.number_rivals_from(1 << 32);
        self.second = Some(second);
    }

    /// The second node.
    pub const fn second(&self) -> Option<&SimNode> {
        self.second.as_ref()
    }

    /// The first node, then the second.
    pub fn nodes(&self) -> impl Iterator<Item = &SimNode> {
        core::iter::once(&self.node).chain(&self.second)
    }

    /// The node at a place of the server's configuration.
    pub fn node_at(&self, place: usize) -> &SimNode {
        self.nodes().nth(place).unwrap_or(&self.node)
    }

    /// Whether any node has this block.
    pub fn has_block(&self, hash: BlockHash) -> bool {
        self.nodes().any(|node| node.block(hash).is_some())
    }

    /// The height that a block on `parent` has, for whoever knows that.
    pub fn height_after(&self, parent: BlockHash) -> Option<u32> {
        let mut entries = self.nodes().filter_map(|node| node.chain().entry(parent));
        entries.next().map(|entry| entry.height + 1)
    }

    /// Does anything to the second node, if there is one.
    pub fn change_second<R>(&mut self, change: impl FnOnce(&mut SimNode) -> R) -> Option<R> {
        let node = self.second.as_mut()?;
        let result = change(node);
        while let Some(change) = node.poll_change() {
            let event = match change {
                NodeChange::Tip { hash, height, .. } => SecondEvent::TipChanged { hash, height },
                NodeChange::Accepted { hash, .. } => {
                    let shared = self.node.block(hash).is_some();
                    SecondEvent::BlockAccepted { hash, shared }
                }
                NodeChange::Connected { .. }
                | NodeChange::Disconnected { .. }
                | NodeChange::Sidelined { .. }
                | NodeChange::Refused { .. } => continue,
            };
            self.second_events.push_back(event);
        }
        Some(result)
    }

    /// Answers one request to the node at `place`.
    pub fn handle_rpc_at(&mut self, place: usize, now: u32, body: &[u8]) -> RpcOutcome {
        if place == 0 || self.second.is_none() {
            return self.handle_rpc(now, body);
        }
        let outcome = self.change_second(|node| node.handle_rpc(now, body));
        outcome.unwrap_or(RpcOutcome::Reply(RpcReply { status: 503, body: Vec::new() }))
    }

    /// Answers a request that the node at `place` parked, if there is reason to.
    pub fn resume_at(&self, place: usize, now: u32, parked: &mut ParkedPoll) -> Option<RpcReply> {
        self.node_at(place).resume(now, parked)
    }

    /// Takes the oldest event of the second node that was not taken yet.
    pub fn poll_second(&mut self) -> Option<SecondEvent> {
        self.second_events.pop_front()
    }

    /// Each node hears of the blocks in the other's best chain.
    pub fn share_blocks(&mut self, now: u32) {
        let Some(second) = &self.second else { return };
        let for_second = missing(&self.node, second);
        let for_first = missing(second, &self.node);
        for block in for_second {
            self.change_second(|node| node.relay(now, &block));
        }
        for block in for_first {
            self.change_node(|node| node.relay(now, &block));
        }
    }
}

/// What `from` has in its best chain and `to` does not have, oldest first.
fn missing(from: &SimNode, to: &SimNode) -> Vec<Arc<Block>> {
    let active = from.chain().active().iter().rev();
    let unknown = active.take_while(|hash| to.block(**hash).is_none());
    let mut blocks: Vec<Arc<Block>> =
        unknown.filter_map(|hash| from.block(*hash)).map(Arc::clone).collect();
    blocks.reverse();
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u32 = 1_700_000_000;

    #[test]
    fn each_node_has_its_own_tip_until_blocks_are_shared() {
        let mut world = World::new([], 1);
        world.add_second();
        let first = world.mine_rival(world.node().tip(), NOW).unwrap();
        let apart = world.change_second(|node| node.mine_rival(node.tip(), NOW).unwrap());
        assert_ne!(Some(first), apart);
        world.share_blocks(NOW);
        assert_eq!(world.node().tip(), first, "the first seen");
        assert_eq!(world.second().map(SimNode::tip), apart);
        let longer = world.change_second(|node| node.mine_rival(node.tip(), NOW).unwrap());
        world.share_blocks(NOW);
        assert_eq!(Some(world.node().tip()), longer, "the most work");
        assert!(world.nodes().all(|node| node.chain().height() == 2));
        let mut events = Vec::new();
        while let Some(event) = world.poll_second() {
            events.push(event);
        }
        assert_eq!(events.len(), 2, "{events:?}");
    }
}
