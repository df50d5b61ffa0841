//! What a Thunder daemon has in place of `getbestblockhash`: a block to commit to, and the wish to
//! get it back.
//!
//! It does not find its blocks on the mainchain by itself: whoever mined the commitment calls
//! `connect_block` with the block and the mainchain block, and only then its chain grows. It looks
//! whether that mainchain block is there and commits to just this block.

use bitcoin::BlockHash;
use bitcoin::hex::DisplayHex as _;
use serde_json::Value;

use super::{HStar, Sidechain};
use crate::sim::jsonrpc::{
    Arguments, Code, Kind, Parameter, Params, RpcError, RpcResult, result_of,
};

const CONNECT_BLOCK: [Parameter; 2] = [
    Parameter { name: "block", kind: Kind::Object, required: true },
    Parameter { name: "main_block_hash", kind: Kind::String, required: true },
];

/// What only a daemon of this kind has.
#[derive(Clone, Debug, Default)]
pub(super) struct Thunder {
    /// How many more calls of `connect_block` fail, right or not.
    failures: u32,
    /// Calls of `connect_block`, those that failed included.
    calls: u32,
    /// The mainchain block that each block of its chain was connected with.
    pub(super) connected: Vec<BlockHash>,
}

impl Sidechain {
    /// A sidechain with a daemon of Thunder's kind.
    pub fn thunder(slot: u8, seed: u64, start: BlockHash) -> Self {
        Self { thunder: Some(Thunder::default()), ..Self::new(slot, seed, start) }
    }

    /// Makes the next calls of `connect_block` fail, whatever they say.
    pub fn fail_connects(&mut self, failures: u32) {
        if let Some(thunder) = &mut self.thunder {
            thunder.failures = failures;
        }
    }

    /// How often `connect_block` was called.
    pub fn connect_calls(&self) -> u32 {
        self.thunder.as_ref().map_or(0, |thunder| thunder.calls)
    }

    pub(super) fn block_template(&self, params: Params) -> RpcResult {
        Arguments::check(params, &[], "get_block_template")?;
        let text = format!(
            "{{\"critical_hash\":\"{}\",\"block\":{},\"fees_sats\":0}}",
            self.candidate(),
            self.block_text(self.counter)
        );
        serde_json::value::RawValue::from_string(text)
            .map_err(|error| RpcError::new(Code::Misc, error.to_string()))
    }

    fn block_text(&self, counter: u32) -> String {
        let HStar(tip) = self.tip();
        format!(
            "{{\"header\": {{\"prev_side_hash\":\"{}\",\"prev_main_hash\":\"{}\"}},\
             \"body\":{{\"counter\":{counter}}}}}",
            tip.as_hex(),
            self.main_tip()
        )
    }

    pub(super) fn connect_block(&mut self, params: Params) -> RpcResult {
        let arguments = Arguments::check(params, &CONNECT_BLOCK, "connect_block")?;
        let Some(thunder) = &mut self.thunder else { return result_of(&false) };
        thunder.calls += 1;
        if thunder.failures > 0 {
            thunder.failures -= 1;
            return Err(RpcError::new(Code::Misc, "mainchain block not found"));
        }
        let block = arguments.value(0).cloned().unwrap_or_default();
        let connects = self.connects(&block, arguments.text(1));
        if let Some((main, h_star)) = connects
            && let Some(thunder) = &mut self.thunder
        {
            thunder.connected.push(main);
            self.chain.push(h_star);
        }
        result_of(&connects.is_some())
    }

    /// The mainchain block and the h* of `block`, if it stands on the sidechain's tip and on that
    /// block's parent, and that block commits to it.
    fn connects(&self, block: &Value, main: &str) -> Option<(BlockHash, HStar)> {
        let main: BlockHash = main.parse().ok()?;
        let place = self.seen.iter().rposition(|seen| seen.main_hash == main)?;
        let committed = self.seen[place].h_star?;
        // As it was then: the mainchain's tip was that block's parent.
        let mut then = self.clone();
        then.seen.truncate(place);
        let counter = u32::try_from(block["body"]["counter"].as_u64()?).ok()?;
        let given: Value = serde_json::from_str(&then.block_text(counter)).ok()?;
        (given == *block && then.candidate_at(counter) == committed).then_some((main, committed))
    }
}
