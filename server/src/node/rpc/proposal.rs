//! A block shown to a node before anybody searches for it (BIP-0023, `mode` `proposal`).

use bytes::Bytes;

use super::{CallError, HttpReply, RpcError, request, result};
use crate::mining::hex;

/// What a node says of a block that is proposed to it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Opinion {
    /// With proof of work it would be taken.
    Taken,
    /// It says nothing of the block: the node's tip is another by now, or it has this block.
    NoNews(String),
    /// It would not be taken, and why.
    Refused(String),
    /// It gives a template, as whoever does not know proposals does.
    Ignored,
}

/// Proposes a block, whose proof of work may be missing.
pub fn proposal_request(block: &[u8]) -> Bytes {
    let block = hex::encode(block);
    request("getblocktemplate", &format!("[{{\"mode\":\"proposal\",\"data\":\"{block}\"}}]"))
}

/// Reads what the node thinks of it.
pub fn opinion(reply: &Result<HttpReply, CallError>) -> Result<Opinion, RpcError> {
    let text = result(reply)?.get();
    if text == "null" {
        return Ok(Opinion::Taken);
    }
    if text.starts_with('{') {
        return Ok(Opinion::Ignored);
    }
    let why: String =
        serde_json::from_str(text).map_err(|error| RpcError::BadResult(error.to_string()))?;
    let no_news = why.starts_with("duplicate") || why == "inconclusive-not-best-prevblk";
    Ok(if no_news { Opinion::NoNews(why) } else { Opinion::Refused(why) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_told_apart() {
        let check = |result: &str, expected: Option<Opinion>| {
            let body = format!("{{\"result\":{result},\"error\":null,\"id\":1}}").into();
            assert_eq!(opinion(&Ok(HttpReply { status: 200, body })).ok(), expected, "{result}");
        };
        check("null", Some(Opinion::Taken));
        check(r#"{"version":1}"#, Some(Opinion::Ignored));
        for word in ["inconclusive-not-best-prevblk", "duplicate", "duplicate-inconclusive"] {
            check(&format!("{word:?}"), Some(Opinion::NoNews(word.to_owned())));
        }
        check(r#""bad-cb-amount""#, Some(Opinion::Refused("bad-cb-amount".to_owned())));
        // "Inconclusive" alone is an answer of another kind.
        check(r#""inconclusive""#, Some(Opinion::Refused("inconclusive".to_owned())));
        check("7", None);
        assert!(opinion(&Err(CallError::Timeout)).is_err());
    }

    #[test]
    fn a_block_goes_out_whole() {
        let body = proposal_request(&[0xab, 0x01]);
        let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        let options = serde_json::json!([{ "mode": "proposal", "data": "ab01" }]);
        assert_eq!((&body["method"], &body["params"]), (&"getblocktemplate".into(), &options));
    }
}
