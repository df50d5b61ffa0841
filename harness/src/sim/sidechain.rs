//! A sidechain daemon's stand-in that takes blind merged mining at its word.
//!
//! It offers a candidate for its next block, h*, and adds that block to its chain when, and only
//! when, a mainchain block carries `OP_RETURN d1617368 <slot> <h*>` (BIP-0301 M7) in its coinbase.
//! So its height proves that what the server commits to arrives on the chain byte for byte. It
//! reads M7s with its own few lines: it is a witness, and shares nothing with the server.
//! One of Thunder's kind gives a whole block instead, and grows when it is handed back.
//! Pure: mainchain blocks and requests go in, answers come out. Not in here: fetching blocks and
//! HTTP (`http/sidechain.rs`), and the bids of sidechains that pay (M8).

mod thunder;

use std::fmt;

use bitcoin::hashes::{Hash as _, HashEngine as _, sha256};
use bitcoin::hex::DisplayHex as _;
use bitcoin::{Block, BlockHash};

use self::thunder::Thunder;
use super::jsonrpc::{self, Arguments, Code, RpcError, RpcReply, result_of};

/// How an M7 output begins: `OP_RETURN`, a push of 37 bytes, and the tag of BIP-0301.
const M7_HEAD: [u8; 6] = [0x6a, 0x25, 0xd1, 0x61, 0x73, 0x68];
/// How the payload of an M8 begins.
const M8_TAG: [u8; 3] = [0x00, 0xbf, 0x00];

/// Bytes of an M7 output's script: head, slot, h*.
const M7_BYTES: usize = M7_HEAD.len() + 1 + 32;

/// The hash of a sidechain block, in the order the sidechain gives its bytes.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct HStar(
    /// The bytes as they are on the mainchain.
    pub [u8; 32],
);

impl fmt::Display for HStar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bytes) = self;
        fmt::Display::fmt(&bytes.as_hex(), formatter)
    }
}

/// Every canonical M7 of a block's coinbase, in output order.
pub fn m7s(block: &Block) -> Vec<(u8, HStar)> {
    let outputs = block.txdata.first().map_or(&[][..], |coinbase| &coinbase.output);
    outputs.iter().filter_map(|output| m7(output.script_pubkey.as_bytes())).collect()
}

/// Slot and h* of a script that is an M7.
pub fn m7(script: &[u8]) -> Option<(u8, HStar)> {
    let (slot, h_star) = script.strip_prefix(&M7_HEAD)?.split_first()?;
    (script.len() == M7_BYTES).then_some((*slot, HStar(h_star.try_into().ok()?)))
}

/// The script of an M7, for rivals that merge-mine in a test.
pub fn m7_script(slot: u8, h_star: HStar) -> bitcoin::ScriptBuf {
    let HStar(bytes) = h_star;
    bitcoin::ScriptBuf::from_bytes([&M7_HEAD[..], &[slot], &bytes].concat())
}

/// What a bid says (BIP-0301 M8) after `OP_RETURN` and the push of 68 bytes.
pub fn m8_payload(slot: u8, h_star: HStar, parent: BlockHash) -> Vec<u8> {
    let HStar(bytes) = h_star;
    [&M8_TAG[..], &[slot], &bytes, &parent.to_byte_array()].concat()
}

/// A mainchain block that does not continue the chain the sidechain follows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OutOfOrder {
    /// The block that should have been the last.
    pub expected: BlockHash,
    /// The block that was.
    pub actual: BlockHash,
}

impl fmt::Display for OutOfOrder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { expected, actual } = self;
        write!(
            formatter,
            "the sidechain follows the mainchain up to {actual}, and was told of a change at \
             {expected}; tell it of every block that leaves or joins the chain, in order"
        )
    }
}

impl std::error::Error for OutOfOrder {}

/// What a mainchain block did to the sidechain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SidechainChange {
    /// Its chain grew by the block that the mainchain committed to.
    Advanced {
        /// The new height.
        height: u32,
        /// The hash of the new block.
        h_star: HStar,
    },
    /// The mainchain block that carried its last block is gone, and so is that block.
    RolledBack {
        /// The height that is left.
        height: u32,
        /// The hash of the block that is gone.
        h_star: HStar,
    },
}

/// A mainchain block the sidechain saw, and what it carried.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Seen {
    /// The mainchain block.
    pub main_hash: BlockHash,
    /// The sidechain block it merge-mined, if it did.
    pub h_star: Option<HStar>,
}

/// The stand-in for one sidechain daemon.
#[derive(Clone, Debug)]
pub struct Sidechain {
    slot: u8,
    seed: u64,
    /// Makes another candidate for the same two tips.
    counter: u32,
    /// The mainchain block it started at, and all it saw since.
    start: BlockHash,
    seen: Vec<Seen>,
    /// Its own blocks above its genesis.
    chain: Vec<HStar>,
    /// Set for a daemon of Thunder's kind.
    thunder: Option<Thunder>,
    down: bool,
}

impl Sidechain {
    /// A sidechain of a slot that begins at a mainchain block; `seed` makes its hashes its own.
    pub fn new(slot: u8, seed: u64, start: BlockHash) -> Self {
        let (seen, chain) = (Vec::new(), Vec::new());
        Self { slot, seed, counter: 0, start, seen, chain, thunder: None, down: false }
    }

    /// Takes the next mainchain block; the sidechain advances if it carries a candidate of ours.
    pub fn main_block_connected(
        &mut self,
        block: &Block,
        main_hash: BlockHash,
    ) -> Result<Option<SidechainChange>, OutOfOrder> {
        self.expect(block.header.prev_blockhash)?;
        let h_star = self.committed(block);
        self.seen.push(Seen { main_hash, h_star });
        if self.thunder.is_some() {
            return Ok(None);
        }
        self.chain.extend(h_star);
        Ok(h_star.map(|h_star| SidechainChange::Advanced { height: self.height(), h_star }))
    }

    /// Forgets the last mainchain block, and its own block with it if there was one.
    pub fn main_block_disconnected(
        &mut self,
        main_hash: BlockHash,
    ) -> Result<Option<SidechainChange>, OutOfOrder> {
        self.expect(main_hash)?;
        let seen = self.seen.pop().ok_or(OutOfOrder { expected: main_hash, actual: self.start })?;
        if let Some(thunder) = &mut self.thunder
            && thunder.connected.pop_if(|connected| *connected == main_hash).is_none()
        {
            return Ok(None);
        }
        if seen.h_star.is_some() {
            self.chain.pop();
        }
        Ok(seen.h_star.map(|h_star| SidechainChange::RolledBack { height: self.height(), h_star }))
    }

    /// Goes back to a mainchain block it saw, then along further ones: what a daemon does that
    /// finds the mainchain's tip elsewhere.
    pub fn follow(
        &mut self,
        fork: BlockHash,
        blocks: &[(BlockHash, Block)],
    ) -> Result<Vec<SidechainChange>, OutOfOrder> {
        if !self.has_seen(fork) {
            return Err(OutOfOrder { expected: fork, actual: self.main_tip() });
        }
        let mut changes = Vec::new();
        while self.main_tip() != fork {
            changes.extend(self.main_block_disconnected(self.main_tip())?);
        }
        for (hash, block) in blocks {
            changes.extend(self.main_block_connected(block, *hash)?);
        }
        Ok(changes)
    }

    fn expect(&self, expected: BlockHash) -> Result<(), OutOfOrder> {
        let actual = self.main_tip();
        if expected == actual { Ok(()) } else { Err(OutOfOrder { expected, actual }) }
    }

    /// The candidate that a block commits to. A block with two M7s for the slot is invalid under
    /// BIP-0301, so it commits to nothing.
    fn committed(&self, block: &Block) -> Option<HStar> {
        let mut ours = m7s(block).into_iter().filter(|(slot, _)| *slot == self.slot);
        let (_, h_star) = ours.next()?;
        let is_ours = (0..=self.counter).any(|counter| self.candidate_at(counter) == h_star);
        (is_ours && ours.next().is_none()).then_some(h_star)
    }

    /// Replaces the candidate although neither tip moved, as new sidechain transactions would.
    ///
    /// What was offered before still counts: the sidechain has that block too.
    pub const fn refresh_candidate(&mut self) {
        self.counter += 1;
    }

    /// Makes calls fail, or work again.
    pub const fn set_down(&mut self, down: bool) {
        self.down = down;
    }

    /// The hash its next block will have, if the next mainchain block commits to it.
    pub fn candidate(&self) -> HStar {
        self.candidate_at(self.counter)
    }

    fn candidate_at(&self, counter: u32) -> HStar {
        let HStar(tip) = self.tip();
        let mut engine = sha256::Hash::engine();
        engine.input(&tip);
        engine.input(self.main_tip().as_byte_array());
        engine.input(&counter.to_be_bytes());
        engine.input(&self.seed.to_be_bytes());
        HStar(sha256::Hash::from_engine(engine).to_byte_array())
    }

    /// The hash of its last block.
    pub fn tip(&self) -> HStar {
        self.chain.last().copied().unwrap_or_else(|| self.genesis())
    }

    fn genesis(&self) -> HStar {
        let text = format!("genesis of simulated sidechain {} {}", self.slot, self.seed);
        HStar(sha256::Hash::hash(text.as_bytes()).to_byte_array())
    }

    /// Blocks on top of its genesis.
    pub fn height(&self) -> u32 {
        u32::try_from(self.chain.len()).unwrap_or(u32::MAX)
    }

    /// Its slot.
    pub const fn slot(&self) -> u8 {
        self.slot
    }

    /// The last mainchain block it saw.
    pub fn main_tip(&self) -> BlockHash {
        self.seen.last().map_or(self.start, |seen| seen.main_hash)
    }

    /// Whether a mainchain block is part of the chain it follows.
    pub fn has_seen(&self, main_hash: BlockHash) -> bool {
        main_hash == self.start || self.seen.iter().rev().any(|seen| seen.main_hash == main_hash)
    }

    /// Every mainchain block it saw since its start, oldest first.
    pub fn history(&self) -> &[Seen] {
        &self.seen
    }

    /// Answers one JSON-RPC request; nothing while it is down.
    ///
    /// `getbestblockhash` gives the candidate in 64 hex digits, in the order of its bytes on the
    /// mainchain: the first user's daemon is asked for "the hash to wrap" under that name.
    ///
    /// One of Thunder's kind knows `get_block_template` and `connect_block` in its place.
    pub fn handle_rpc(&mut self, body: &[u8]) -> Option<RpcReply> {
        if self.down {
            return None;
        }
        let call = match jsonrpc::parse(body) {
            Ok(call) => call,
            Err(reply) => return Some(reply),
        };
        let is_thunder = self.thunder.is_some();
        let result = match call.method.as_str() {
            "get_block_template" if is_thunder => self.block_template(call.params),
            "connect_block" if is_thunder => self.connect_block(call.params),
            "getbestblockhash" if is_thunder => {
                Err(RpcError::new(Code::MethodNotFound, "Method not found"))
            }
            "getbestblockhash" | "getblockcount" => {
                Arguments::check(call.params, &[], &call.method).and_then(|_| {
                    if call.method == "getblockcount" {
                        result_of(&self.height())
                    } else {
                        result_of(&self.candidate().to_string())
                    }
                })
            }
            _ => Err(RpcError::new(Code::MethodNotFound, "Method not found")),
        };
        Some(call.envelope.wrap(&result))
    }

    /// Answers a request with an error, because the mainchain could not be followed.
    pub(crate) fn handle_rpc_failing(
        &self,
        body: &[u8],
        error: &impl fmt::Display,
    ) -> Option<RpcReply> {
        if self.down {
            return None;
        }
        let failure = Err(RpcError::new(Code::Misc, error.to_string()));
        Some(jsonrpc::parse(body).map_or_else(|reply| reply, |call| call.envelope.wrap(&failure)))
    }
}

#[cfg(test)]
mod tests;
