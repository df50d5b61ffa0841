//! The table of JSON-RPC methods: name, parameters, usage, and what answers it.
//!
//! One row a method, so that a method is either known everywhere or nowhere. Not in here: the
//! envelope (`jsonrpc.rs`) and the answers.

use super::queries::{block_not_found, parse_hash};
use super::template::Watch;
use super::{SimNode, decode_block};
use crate::sim::jsonrpc::{Arguments, Kind, Parameter, RpcResult, result_of};

/// What a method does with a call.
pub(super) enum Answer {
    Now(RpcResult),
    /// A long-poll that waits.
    Later(Watch),
}

/// A method, its parameters, and the first line of its help.
pub(super) struct Method {
    pub(super) name: &'static str,
    pub(super) parameters: &'static [Parameter],
    pub(super) usage: &'static str,
    pub(super) run: fn(&mut SimNode, u32, &Arguments) -> Answer,
}

const fn required(name: &'static str, kind: Kind) -> Parameter {
    Parameter { name, kind, required: true }
}

const fn optional(name: &'static str, kind: Kind) -> Parameter {
    Parameter { name, kind, required: false }
}

/// Every method the node knows.
pub(super) const METHODS: [Method; 15] = [
    Method {
        name: "getblocktemplate",
        parameters: &[required("template_request", Kind::Object)],
        usage: "getblocktemplate {\"mode\":\"str\",\"rules\":[\"segwit\",...],\
                \"longpollid\":\"str\",\"data\":\"hex\"}",
        run: SimNode::block_template,
    },
    Method {
        name: "submitblock",
        parameters: &[required("hexdata", Kind::String), optional("dummy", Kind::Any)],
        usage: "submitblock \"hexdata\" ( \"dummy\" )",
        run: |node, now, arguments| {
            Answer::Now(
                decode_block(arguments.text(0))
                    .and_then(|block| result_of(&node.submit(now, block).word())),
            )
        },
    },
    Method {
        name: "getblockchaininfo",
        parameters: &[],
        usage: "getblockchaininfo",
        run: |node, now, _| Answer::Now(node.blockchain_info(now)),
    },
    Method {
        name: "getnetworkinfo",
        parameters: &[],
        usage: "getnetworkinfo",
        run: |_, _, _| Answer::Now(SimNode::network_info()),
    },
    Method {
        name: "getmempoolinfo",
        parameters: &[],
        usage: "getmempoolinfo",
        run: |node, _, _| Answer::Now(node.mempool_info()),
    },
    Method {
        name: "getrawmempool",
        parameters: &[],
        usage: "getrawmempool",
        run: |node, _, _| Answer::Now(node.raw_mempool()),
    },
    Method {
        name: "getbestblockhash",
        parameters: &[],
        usage: "getbestblockhash",
        run: |node, _, _| Answer::Now(result_of(&node.tip())),
    },
    Method {
        name: "getblockcount",
        parameters: &[],
        usage: "getblockcount",
        run: |node, _, _| Answer::Now(result_of(&node.chain.height())),
    },
    Method {
        name: "getblockhash",
        parameters: &[required("height", Kind::Number)],
        usage: "getblockhash height",
        run: |node, _, arguments| Answer::Now(node.block_hash_at(arguments)),
    },
    Method {
        name: "getblockheader",
        parameters: &[required("blockhash", Kind::String), optional("verbose", Kind::Any)],
        usage: "getblockheader \"blockhash\" ( verbose )",
        run: |node, _, arguments| Answer::Now(node.block_header(arguments)),
    },
    Method {
        name: "getblock",
        parameters: &[required("blockhash", Kind::String), optional("verbosity", Kind::Any)],
        usage: "getblock \"blockhash\" ( verbosity )",
        run: |node, _, arguments| Answer::Now(node.whole_block(arguments)),
    },
    Method {
        name: "getchaintips",
        parameters: &[],
        usage: "getchaintips",
        run: |node, _, _| Answer::Now(node.chain_tips()),
    },
    Method {
        name: "invalidateblock",
        parameters: &[required("blockhash", Kind::String)],
        usage: "invalidateblock \"blockhash\"",
        run: |node, _, arguments| Answer::Now(node.command(arguments, SimNode::invalidate)),
    },
    Method {
        name: "preciousblock",
        parameters: &[required("blockhash", Kind::String)],
        usage: "preciousblock \"blockhash\"",
        run: |node, _, arguments| Answer::Now(node.command(arguments, SimNode::prefer)),
    },
    Method {
        name: "sendrawtransaction",
        parameters: &[required("hexstring", Kind::String), optional("maxfeerate", Kind::Any)],
        usage: "sendrawtransaction \"hexstring\" ( maxfeerate )",
        run: |node, _, arguments| Answer::Now(node.send_raw_transaction(arguments.text(0))),
    },
];

impl SimNode {
    /// Runs a command on the block that the first argument names.
    fn command(
        &mut self,
        arguments: &Arguments,
        command: fn(&mut Self, bitcoin::BlockHash) -> Option<()>,
    ) -> RpcResult {
        let hash = parse_hash(arguments.text(0), "blockhash")?;
        command(self, hash).ok_or_else(block_not_found).and_then(|()| result_of(&()))
    }
}
