//! What a node says of one block (`getblockheader`): where it stands, and what the next builds on.

use bytes::Bytes;
use serde::Deserialize;

use super::{CallError, HttpReply, RpcError, read, read_hash, request};
use crate::clock::UnixTime;
use crate::mining::alone::Tip;
use crate::mining::hash::{Hash, display_hash};
use crate::mining::hex;

/// Asks where a block stands.
pub fn block_header_request(hash: &Hash) -> Bytes {
    request("getblockheader", &format!("[\"{}\"]", display_hash(hash)))
}

/// Reads how many blocks there are from a block's own to the tip; -1 when it is not in the chain.
pub fn confirmations(reply: &Result<HttpReply, CallError>) -> Result<i64, RpcError> {
    #[derive(Deserialize)]
    struct Header {
        confirmations: i64,
    }
    read::<Header>(reply).map(|header| header.confirmations)
}

#[derive(Deserialize)]
struct WireHeader<'a> {
    hash: &'a str,
    confirmations: i64,
    height: u32,
    bits: &'a str,
    mediantime: u32,
    previousblockhash: &'a str,
}

/// Reads the header of the node's tip; none when the block is not, or no longer, its tip.
pub fn tip(reply: &Result<HttpReply, CallError>) -> Result<Option<Tip>, RpcError> {
    let wire: WireHeader<'_> = read(reply)?;
    let bad = |what: &str| RpcError::BadResult(format!("no usable {what}"));
    let tip = Tip {
        hash: read_hash(wire.hash).ok_or_else(|| bad("hash"))?,
        parent: read_hash(wire.previousblockhash).ok_or_else(|| bad("previousblockhash"))?,
        height: wire.height,
        bits: hex::decode_u32(wire.bits).ok_or_else(|| bad("bits"))?,
        median_time: UnixTime(wire.mediantime),
    };
    Ok((wire.confirmations == 1).then_some(tip))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "the form in which replies come")]
    fn answer(result: &str) -> Result<HttpReply, CallError> {
        let body = format!("{{\"jsonrpc\":\"2.0\",\"result\":{result},\"id\":1}}");
        Ok(HttpReply { status: 200, body: Bytes::from(body) })
    }

    fn header(confirmations: i64) -> String {
        let hash = "00".repeat(31);
        format!(
            "{{\"hash\":\"{hash}02\",\"confirmations\":{confirmations},\"height\":101,\
             \"version\":536870912,\"time\":1700000000,\"mediantime\":1699999500,\
             \"bits\":\"207fffff\",\"previousblockhash\":\"{hash}01\"}}"
        )
    }

    #[test]
    fn the_header_of_a_tip() {
        let tip = tip(&answer(&header(1))).expect("reads").expect("it is the tip");
        assert_eq!((tip.hash[0], tip.parent[0], tip.height), (2, 1, 101));
        assert_eq!((tip.bits, tip.median_time), (0x207f_ffff, UnixTime(1_699_999_500)));
    }

    #[test]
    fn what_is_no_tip_is_none() {
        for confirmations in [-1, 2] {
            assert_eq!(tip(&answer(&header(confirmations))), Ok(None), "{confirmations}");
            assert_eq!(super::confirmations(&answer(&header(confirmations))), Ok(confirmations));
        }
        assert!(tip(&answer("null")).is_err());
        assert!(tip(&answer(&header(1).replace("207fffff", "x"))).is_err());
    }
}
