//! The simulated world of `harness up`: a mainchain node and the sidechains that follow it.
//!
//! Pure throughout: no clock, no sockets, no randomness. Time and requests are arguments, answers
//! and events are results, so one seed gives one run. [`World`] couples the parts: a sidechain is
//! told of a block within the same call that connects it, so it is never behind the node.
//! Not in here: how all this is served over HTTP (`http.rs`).

pub mod chain;
pub mod disk;
pub mod enforcer;
pub mod host;
mod jsonrpc;
pub mod miner;
pub mod network;
pub mod node;
pub mod observe;
pub mod queue;
pub mod seam;
pub mod second;
pub mod sidechain;
pub mod trace;
pub mod upstream;
pub mod world;

use std::collections::{BTreeMap, VecDeque};

use bitcoin::{BlockHash, TxOut};

pub use jsonrpc::RpcReply;
use node::{CannotMine, NodeChange, ParkedPoll, RpcOutcome, SimNode, TipCause};
use second::SecondEvent;
use sidechain::{HStar, Sidechain, SidechainChange};

/// Something an observer of the world can see, in the order it happened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum WorldEvent {
    /// The node's best chain ends elsewhere.
    TipChanged {
        /// The new tip.
        hash: BlockHash,
        /// Its height.
        height: u32,
        /// What led to it.
        cause: TipCause,
    },
    /// A submitted block joined the best chain.
    BlockAccepted {
        /// Its hash.
        hash: BlockHash,
        /// Its height.
        height: u32,
        /// Slot and h* of every M7 in its coinbase, in output order.
        m7s: Vec<(u8, HStar)>,
        /// The coinbase came without its witness and the node had to add it.
        reserved_value_missing: bool,
    },
    /// A submitted block is kept, but another chain is better ("inconclusive").
    BlockSidelined {
        /// Its hash.
        hash: BlockHash,
        /// Its height.
        height: u32,
    },
    /// A submitted block was refused.
    BlockRefused {
        /// Its hash.
        hash: BlockHash,
        /// bitcoind's word for why.
        reason: String,
    },
    /// A sidechain's own chain grew.
    SidechainAdvanced {
        /// Its slot.
        slot: u8,
        /// Its new height.
        height: u32,
        /// The hash of its new block.
        h_star: HStar,
    },
    /// A sidechain lost its last block to a reorganisation of the mainchain.
    SidechainRolledBack {
        /// Its slot.
        slot: u8,
        /// The height that is left.
        height: u32,
        /// The hash of the block that is gone.
        h_star: HStar,
    },
}

/// A node and the sidechains that follow it; maybe a second node beside it.
#[derive(Debug)]
pub struct World {
    node: SimNode,
    second: Option<SimNode>,
    second_events: VecDeque<SecondEvent>,
    sidechains: BTreeMap<u8, Sidechain>,
    events: VecDeque<WorldEvent>,
}

impl World {
    /// A new regtest network with a sidechain in each of the slots; `seed` makes them differ.
    pub fn new(slots: impl IntoIterator<Item = u8>, seed: u64) -> Self {
        Self::with_bits(slots, seed, chain::REGTEST_BITS)
    }

    /// The same, on a chain where every block must be as hard as `bits` says.
    pub fn with_bits(slots: impl IntoIterator<Item = u8>, seed: u64, bits: u32) -> Self {
        let node = SimNode::with_bits(bits);
        let start = node.tip();
        let sidechains =
            slots.into_iter().map(|slot| (slot, Sidechain::new(slot, seed, start))).collect();
        let (second, second_events) = (None, VecDeque::new());
        Self { node, second, second_events, sidechains, events: VecDeque::new() }
    }

    /// Answers one request to the node; `now` is in Unix seconds.
    pub fn handle_rpc(&mut self, now: u32, body: &[u8]) -> RpcOutcome {
        self.change_node(|node| node.handle_rpc(now, body))
    }

    /// Answers a parked request if there is reason to, else moves its next look.
    pub fn resume(&self, now: u32, parked: &mut ParkedPoll) -> Option<RpcReply> {
        self.node.resume(now, parked)
    }

    /// Adds a sidechain with a daemon of Thunder's kind, in place of what was in the slot.
    pub fn add_thunder(&mut self, slot: u8, seed: u64) {
        let chain = Sidechain::thunder(slot, seed, self.node.tip());
        self.sidechains.insert(slot, chain);
    }

    /// Answers one request to a sidechain; nothing if it is down or there is none in the slot.
    pub fn handle_sidechain_rpc(&mut self, slot: u8, body: &[u8]) -> Option<RpcReply> {
        let sidechain = self.sidechains.get_mut(&slot)?;
        let before = sidechain.height();
        let reply = sidechain.handle_rpc(body);
        let (height, h_star) = (sidechain.height(), sidechain.tip());
        if height > before {
            self.events.push_back(WorldEvent::SidechainAdvanced { slot, height, h_star });
        }
        reply
    }

    /// Mines an otherwise empty block on any known parent, as a rival miner would.
    pub fn mine_rival(&mut self, parent: BlockHash, now: u32) -> Result<BlockHash, CannotMine> {
        self.change_node(|node| node.mine_rival(parent, now))
    }

    /// Like [`Self::mine_rival`], with further coinbase outputs of no value (an M7, say).
    pub fn mine_rival_with(
        &mut self,
        parent: BlockHash,
        now: u32,
        outputs: &[TxOut],
    ) -> Result<BlockHash, CannotMine> {
        self.change_node(|node| node.mine_rival_with(parent, now, outputs))
    }

    /// Does anything to the node, then tells the sidechains what came of it.
    pub fn change_node<R>(&mut self, change: impl FnOnce(&mut SimNode) -> R) -> R {
        let result = change(&mut self.node);
        while let Some(change) = self.node.poll_change() {
            self.settle(change);
        }
        result
    }

    fn settle(&mut self, change: NodeChange) {
        match change {
            NodeChange::Connected { hash, block } => {
                self.tell_sidechains(|sidechain| sidechain.main_block_connected(&block, hash));
            }
            NodeChange::Disconnected { hash } => {
                self.tell_sidechains(|sidechain| sidechain.main_block_disconnected(hash));
            }
            NodeChange::Tip { hash, height, cause } => {
                self.events.push_back(WorldEvent::TipChanged { hash, height, cause });
            }
            NodeChange::Accepted { hash, height, block, reserved_value_missing } => {
                let m7s = sidechain::m7s(&block);
                self.events.push_back(WorldEvent::BlockAccepted {
                    hash,
                    height,
                    m7s,
                    reserved_value_missing,
                });
            }
            NodeChange::Sidelined { hash, height } => {
                self.events.push_back(WorldEvent::BlockSidelined { hash, height });
            }
            NodeChange::Refused { hash, refusal } => {
                let reason = refusal.to_string();
                self.events.push_back(WorldEvent::BlockRefused { hash, reason });
            }
        }
    }

    fn tell_sidechains(
        &mut self,
        tell: impl Fn(&mut Sidechain) -> Result<Option<SidechainChange>, sidechain::OutOfOrder>,
    ) {
        for (slot, sidechain) in &mut self.sidechains {
            let told = tell(sidechain);
            assert!(told.is_ok(), "the node reports every block in order: {told:?}");
            self.events.extend(told.ok().flatten().map(|change| match change {
                SidechainChange::Advanced { height, h_star } => {
                    WorldEvent::SidechainAdvanced { slot: *slot, height, h_star }
                }
                SidechainChange::RolledBack { height, h_star } => {
                    WorldEvent::SidechainRolledBack { slot: *slot, height, h_star }
                }
            }));
        }
    }

    /// Takes the oldest event that was not taken yet; drain it after each call.
    pub fn poll_event(&mut self) -> Option<WorldEvent> {
        self.events.pop_front()
    }

    /// The node.
    pub const fn node(&self) -> &SimNode {
        &self.node
    }

    /// The sidechain of a slot.
    pub fn sidechain(&self, slot: u8) -> Option<&Sidechain> {
        self.sidechains.get(&slot)
    }

    /// The sidechain of a slot, to take it down or change its candidate.
    pub fn sidechain_mut(&mut self, slot: u8) -> Option<&mut Sidechain> {
        self.sidechains.get_mut(&slot)
    }

    /// Every sidechain, by slot.
    pub fn sidechains(&self) -> impl Iterator<Item = &Sidechain> {
        self.sidechains.values()
    }
}
