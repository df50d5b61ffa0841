//! Thunder's two questions: for a block to commit to, and what a mainchain block did for it.
//!
//! `get_block_template` gives a whole sidechain block; the mainchain commits to its hash, the
//! *critical hash*; `connect_block` hands both back. The block itself is opaque here and is kept
//! as the text that came, for a number that is read and written again may not be the same.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{CallError, HttpReply, METHOD_NOT_FOUND, RpcError, read, read_hash, request, result};
use crate::mining::hash::{Hash, display_hash};
use crate::mining::hex;

/// Parameters that the method does not take.
const INVALID_PARAMS: i64 = -32602;

/// A sidechain block that wants to be committed to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BlockTemplate {
    /// h\*, in the order the daemon gives it, which is that of the mainchain.
    pub critical_hash: [u8; 32],
    /// The mainchain block that it builds on, internal order, where the block says so.
    pub parent: Option<Hash>,
    /// The block: JSON, byte for byte as it came.
    pub block: Bytes,
    /// What its transactions pay to whoever connects it.
    pub fees_sat: u64,
}

/// What became of a sidechain block after its mainchain block was named to the daemon.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Connected {
    /// The sidechain has it.
    Yes,
    /// Not now, and why: the daemon is away, or has not seen the mainchain block yet.
    NotNow(String),
    /// The daemon cannot do this at all, and why.
    Never(String),
}

#[derive(Deserialize)]
struct WireTemplate<'a> {
    critical_hash: String,
    #[serde(borrow)]
    block: &'a RawValue,
    #[serde(default)]
    fees_sats: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireBlock {
    header: WireHeader,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireHeader {
    prev_main_hash: Option<String>,
}

/// Asks for a block to commit to.
pub fn block_template_request() -> Bytes {
    request("get_block_template", "[]")
}

/// Reads the block to commit to.
pub fn block_template(reply: &Result<HttpReply, CallError>) -> Result<BlockTemplate, RpcError> {
    let wire: WireTemplate<'_> = read(reply)?;
    let bad = |what: &str| RpcError::BadResult(format!("no usable {what}"));
    let critical_hash = hex::decode_array(&wire.critical_hash);
    // A header of another form says nothing of its parent; it may still be right.
    let header = serde_json::from_str::<WireBlock>(wire.block.get()).unwrap_or_default().header;
    let parent = match header.prev_main_hash {
        None => None,
        Some(text) => Some(read_hash(&text).ok_or_else(|| bad("prev_main_hash"))?),
    };
    Ok(BlockTemplate {
        critical_hash: critical_hash.ok_or_else(|| bad("critical_hash"))?,
        parent,
        block: Bytes::copy_from_slice(wire.block.get().as_bytes()),
        fees_sat: wire.fees_sats,
    })
}

/// Says that the mainchain block `main` commits to the hash of `block`.
pub fn connect_block_request(block: &[u8], main: &Hash) -> Bytes {
    // It came as JSON, and JSON is UTF-8.
    let block = String::from_utf8_lossy(block);
    request("connect_block", &format!("[{block},\"{}\"]", display_hash(main)))
}

/// Reads what became of it.
///
/// `false` and most errors are no last word: Thunder says so of a mainchain block that its own
/// enforcer has not seen yet, too.
pub fn connected(reply: &Result<HttpReply, CallError>) -> Connected {
    match result(reply) {
        Ok(text) if text.get() == "false" => {
            Connected::NotNow("it does not connect the block".to_owned())
        }
        Ok(_) => Connected::Yes,
        Err(error @ RpcError::Refused { code: METHOD_NOT_FOUND | INVALID_PARAMS, .. }) => {
            Connected::Never(error.to_string())
        }
        Err(error) => Connected::NotNow(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "the form in which replies come")]
    fn answer(body: &str) -> Result<HttpReply, CallError> {
        Ok(HttpReply { status: 200, body: Bytes::copy_from_slice(body.as_bytes()) })
    }

    fn template(block: &str) -> Result<BlockTemplate, RpcError> {
        let hash = format!("01{}", "00".repeat(31));
        block_template(&answer(&format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{{\"critical_hash\":\"{hash}\",\
             \"block\":{block},\"fees_sats\":42}}}}"
        )))
    }

    #[test]
    fn h_star_and_block_are_kept_as_given_and_the_parent_is_turned() {
        let parent = format!("ab{}", "00".repeat(31));
        let block = format!(
            "{{ \"header\":{{\"prev_side_hash\":null,\"prev_main_hash\":\"{parent}\"}},\
             \"body\":{{\"value\":1.50e3,\"deep\":[18446744073709551616]}}}}"
        );
        let read = template(&block).expect("reads");
        assert_eq!((read.critical_hash[0], read.fees_sat), (1, 42));
        assert_eq!(read.parent.map(|parent| parent[31]), Some(0xab));
        assert_eq!(read.block, block, "not even a blank is lost");
        let mut main = [0; 32];
        main[31] = 0xcd;
        let request = connect_block_request(&read.block, &main);
        let params = format!("\"params\":[{block},\"cd{}\"]}}", "00".repeat(31));
        assert!(request.ends_with(params.as_bytes()), "{request:?}");
    }

    #[test]
    fn a_block_that_names_no_parent_is_not_judged_by_it() {
        for block in ["{}", "{\"header\":{}}", "{\"header\":[1]}", "\"opaque\"", "null"] {
            assert_eq!(template(block).map(|read| read.parent), Ok(None), "{block}");
        }
        let bad = template("{\"header\":{\"prev_main_hash\":\"short\"}}");
        assert!(bad.is_err(), "half a parent is an error, and no permission");
    }

    #[test]
    fn nonsense_is_no_template() {
        for body in [
            r#"{"result":{"critical_hash":"00","block":{}}}"#,
            r#"{"result":{"block":{}}}"#,
            r#"{"result":"00"}"#,
            r#"{"error":{"code":-1,"message":"no tip"}}"#,
        ] {
            assert!(block_template(&answer(body)).is_err(), "{body}");
        }
        assert!(block_template(&Err(CallError::Timeout)).is_err());
    }

    #[test]
    fn only_some_noes_are_final() {
        let check = |reply, expected: &str| {
            let shown = format!("{:?}", connected(&reply));
            assert!(shown.starts_with(expected), "{shown}");
        };
        check(answer(r#"{"result":true}"#), "Yes");
        check(answer(r#"{"result":null}"#), "Yes");
        check(answer(r#"{"result":false}"#), "NotNow");
        check(answer(r#"{"error":{"code":-1,"message":"no such mainchain block"}}"#), "NotNow");
        check(answer(r#"{"error":{"code":-32603,"message":"busy"}}"#), "NotNow");
        check(answer(r#"{"error":{"code":-32601,"message":"Method not found"}}"#), "Never");
        check(answer(r#"{"error":{"code":-32602,"message":"Invalid params"}}"#), "Never");
        check(Err(CallError::Timeout), "NotNow");
        check(answer("{}"), "NotNow");
    }
}
