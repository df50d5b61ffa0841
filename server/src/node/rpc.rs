//! JSON-RPC bodies to and from nodes and sidechain daemons, and the classes of what goes wrong.
//!
//! Strict JSON-RPC 2.0 is sent, because the enforcer wants it and bitcoind takes it; any version
//! is read.

pub mod header;
pub mod proposal;
pub mod survey;
pub mod thunder;
pub mod tips;

use bitcoin::ScriptBuf;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::clock::UnixTime;
use crate::mining::difficulty::Target;
use crate::mining::hash::{Hash, display_hash};
use crate::mining::hex;
use crate::mining::template::{DeclaredCoinbase, DeclaredTransaction, TemplateParts};

/// What HTTP brought back: bitcoind reports RPC errors with status 500 and a JSON body.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HttpReply {
    /// HTTP status.
    pub status: u16,
    /// The body, whatever it is.
    pub body: Bytes,
}

/// Why no reply came.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CallError {
    /// No connection.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The deadline passed.
    #[error("no answer in time")]
    Timeout,
    /// The connection broke, or what came was no HTTP.
    #[error("the connection broke: {0}")]
    Broken(String),
}

/// Why a call gave no result.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RpcError {
    /// No reply.
    #[error("{0}")]
    Call(#[from] CallError),
    /// HTTP 401 or 403.
    #[error("it refuses our user name or password (HTTP {0})")]
    Unauthorized(u16),
    /// An error object.
    #[error("it says: {message} (code {code})")]
    Refused {
        /// The RPC error's code.
        code: i64,
        /// The RPC error's text.
        message: String,
    },
    /// A body that is no JSON-RPC reply.
    #[error("its answer (HTTP {status}) is no JSON-RPC reply: {start:?}")]
    NotRpc {
        /// HTTP status.
        status: u16,
        /// How the body starts.
        start: String,
    },
    /// A result of the wrong form.
    #[error("its answer lacks something: {0}")]
    BadResult(String),
}

/// Method not found.
pub const METHOD_NOT_FOUND: i64 = -32601;

#[derive(Deserialize)]
struct WireReply<'a> {
    // A null result is a result; only an absent key is none.
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<WireError>,
}

#[derive(Deserialize)]
struct WireError {
    code: i64,
    #[serde(default)]
    message: String,
    #[serde(default)]
    data: Option<serde_json::Value>,
}

fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// A request's body: `method` with `params`, the text of a JSON array.
pub fn request(method: &str, params: &str) -> Bytes {
    let head = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{method}\",\"params\":");
    Bytes::from([head.as_str(), params, "}"].concat())
}

/// Whether the answer to this request is held back until there is news: a long poll (BIP-0022).
pub fn is_parked(body: &[u8]) -> bool {
    memchr::memmem::find(body, b"\"longpollid\"").is_some()
}

/// The text of the result that `reply` carries.
pub fn result(reply: &Result<HttpReply, CallError>) -> Result<&RawValue, RpcError> {
    let reply = reply.as_ref().map_err(|error| RpcError::Call(error.clone()))?;
    if reply.status == 401 || reply.status == 403 {
        return Err(RpcError::Unauthorized(reply.status));
    }
    let not_rpc = || {
        let start: Vec<u8> = reply.body.iter().take(80).copied().collect();
        let start = String::from_utf8_lossy(&start).into_owned();
        RpcError::NotRpc { status: reply.status, start }
    };
    let wire: WireReply<'_> = serde_json::from_slice(&reply.body).map_err(|_| not_rpc())?;
    if let Some(WireError { code, message, data }) = wire.error {
        let data = data.map(|data| format!(": {data}")).unwrap_or_default();
        return Err(RpcError::Refused { code, message: format!("{message}{data}") });
    }
    wire.result.ok_or_else(not_rpc)
}

/// A reply whose result is what was asked for.
#[derive(Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
struct GoodReply<T> {
    // Never absent, not even where it may be null.
    #[serde(deserialize_with = "T::deserialize")]
    result: T,
    #[serde(default)]
    error: Option<IgnoredAny>,
}

fn read<'a, T: Deserialize<'a>>(reply: &'a Result<HttpReply, CallError>) -> Result<T, RpcError> {
    // Most are good, and a template has megabytes: only what is not is gone over again, to be told
    // what it is.
    if let Ok(HttpReply { status: 200, body }) = reply
        && let Ok(GoodReply { result, error: None }) = serde_json::from_slice(body)
    {
        return Ok(result);
    }
    let text = result(reply)?.get();
    serde_json::from_str(text).map_err(|error| RpcError::BadResult(error.to_string()))
}

/// What `getblockchaininfo` tells us.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct ChainInfo {
    /// `main`, `test`, `testnet4`, `signet` or `regtest`.
    pub chain: String,
    /// Height of the tip.
    pub blocks: u32,
    /// Height of the best header.
    #[serde(default)]
    pub headers: u32,
    /// Whether the node still catches up.
    #[serde(default, rename = "initialblockdownload")]
    pub syncing: bool,
    /// The newest block's time, in Unix seconds, where the node says so.
    #[serde(default)]
    pub time: Option<u32>,
}

/// Reads a reply to `getblockchaininfo`.
pub fn chain_info(reply: &Result<HttpReply, CallError>) -> Result<ChainInfo, RpcError> {
    read(reply)
}

/// Weight units that a fresh template is asked to leave free: block header and transaction count
/// (356), a coinbase without commitments (some 1,000), and 192 for each M7. Not Knots' default of
/// 8,000, for only another number than its own passes by its cache.
const RESERVED_WEIGHT: u64 = 10_000;

/// Asks for a template; with `long_poll_id`, for the one after that.
///
/// The enforcer gives one only to those who can take a whole coinbase, an eCash node only to those
/// who know the rule; bitcoind minds neither word.
///
/// bitcoind gives the template of up to five seconds ago while its tip stands, and a bid lives for
/// one tip. `fresh` asks Knots to make one anew (its `blockreservedweight`); Core does not know the
/// word and passes over it.
pub fn template_request(long_poll_id: Option<&str>, fresh: bool) -> Bytes {
    let mut options = serde_json::json!({
        "rules": ["segwit", "bip300301"],
        "capabilities": ["coinbasetxn", "coinbasevalue", "longpoll"],
    });
    if let Some(id) = long_poll_id {
        options["longpollid"] = id.into();
    }
    if fresh {
        options["blockreservedweight"] = RESERVED_WEIGHT.into();
    }
    request("getblocktemplate", &serde_json::Value::from(vec![options]).to_string())
}

/// Hands in a block.
pub fn submit_request(block: &[u8]) -> Bytes {
    request("submitblock", &format!("[\"{}\"]", hex::encode(block)))
}

/// Asks to prefer a block to others of the same work.
pub fn precious_block_request(hash: &Hash) -> Bytes {
    request("preciousblock", &format!("[\"{}\"]", display_hash(hash)))
}

#[derive(Deserialize)]
struct WireTemplate<'a> {
    version: i32,
    #[serde(default)]
    rules: Vec<String>,
    #[serde(default)]
    vbrequired: u32,
    previousblockhash: String,
    #[serde(borrow)]
    transactions: Vec<WireTransaction<'a>>,
    #[serde(default)]
    coinbasevalue: Option<u64>,
    #[serde(borrow, default)]
    coinbasetxn: Option<WireCoinbase<'a>>,
    #[serde(default)]
    longpollid: Option<String>,
    #[serde(default)]
    target: Option<String>,
    #[serde(default)]
    mintime: u32,
    curtime: u32,
    bits: String,
    height: u32,
    #[serde(default)]
    default_witness_commitment: Option<String>,
    /// What its maker can do beside (BIP-0023).
    #[serde(default)]
    capabilities: Vec<String>,
}

#[derive(Deserialize)]
struct WireCoinbase<'a> {
    data: &'a str,
}

#[derive(Deserialize)]
struct WireTransaction<'a> {
    // As bytes, for reading them as hex says whether they are text.
    data: &'a [u8],
    txid: &'a [u8],
    hash: &'a [u8],
    #[serde(default)]
    fee: u64,
    /// Places from 1 (BIP-0022).
    #[serde(default)]
    depends: Vec<usize>,
}

/// Reads a reply to `getblocktemplate`.
pub fn template(reply: &Result<HttpReply, CallError>) -> Result<TemplateParts, RpcError> {
    let wire: WireTemplate<'_> = read(reply)?;
    let bad = |what: &str| RpcError::BadResult(format!("no usable {what}"));
    let coinbase = match (&wire.coinbasetxn, wire.coinbasevalue) {
        (Some(given), _) => {
            let bytes = hex::decode(given.data).ok_or_else(|| bad("coinbasetxn"))?;
            DeclaredCoinbase::Transaction(bytes)
        }
        (None, Some(value)) => DeclaredCoinbase::Value(value),
        (None, None) => return Err(bad("coinbasevalue or coinbasetxn")),
    };
    let is_given = wire.coinbasetxn.is_some();
    let transactions = wire
        .transactions
        .iter()
        .map(|wire| {
            Some(DeclaredTransaction {
                bytes: hex::decode(wire.data)?,
                txid: read_hash(wire.txid)?,
                wtxid: read_hash(wire.hash)?,
                fee: wire.fee,
                depends: read_depends(&wire.depends, is_given)?,
            })
        })
        .collect::<Option<Vec<_>>>();
    let script = |text: &String| hex::decode(text).map(ScriptBuf::from_bytes);
    Ok(TemplateParts {
        height: wire.height,
        parent: read_hash(&wire.previousblockhash).ok_or_else(|| bad("previousblockhash"))?,
        version: wire.version.cast_unsigned(),
        version_required: wire.vbrequired,
        bits: hex::decode_u32(&wire.bits).ok_or_else(|| bad("bits"))?,
        target: match &wire.target {
            None => None,
            Some(text) => Some(read_target(text).ok_or_else(|| bad("target"))?),
        },
        time: UnixTime(wire.curtime),
        time_min: UnixTime(wire.mintime),
        coinbase,
        rules: wire.rules,
        transactions: transactions.ok_or_else(|| bad("transactions"))?,
        witness_commitment: match &wire.default_witness_commitment {
            None => None,
            Some(text) => Some(script(text).ok_or_else(|| bad("default_witness_commitment"))?),
        },
        long_poll_id: wire.longpollid,
        takes_proposals: wire.capabilities.iter().any(|word| word == "proposal"),
    })
}

/// Places from 0. bitcoind counts from 1 (BIP-0022); the enforcer counts otherwise and lists more,
/// and its order and choice are final, so there they do not matter.
fn read_depends(places: &[usize], is_given: bool) -> Option<Vec<usize>> {
    if is_given {
        return Some(Vec::new());
    }
    places.iter().map(|place| place.checked_sub(1)).collect()
}

/// A hash as RPC writes it, into internal order.
fn read_hash(text: impl AsRef<[u8]>) -> Option<Hash> {
    let mut hash: Hash = hex::decode_array(text)?;
    hash.reverse();
    Some(hash)
}

fn read_target(text: &str) -> Option<Target> {
    hex::decode_array(text).map(Target::from_be_bytes)
}

/// Asks a sidechain's daemon for h\*.
pub fn best_block_hash_request() -> Bytes {
    request("getbestblockhash", "[]")
}

/// Reads h\*: 64 hex digits, kept in the order the daemon gives them (BIP300-301, item 3).
pub fn best_block_hash(reply: &Result<HttpReply, CallError>) -> Result<[u8; 32], RpcError> {
    let text: String = read(reply)?;
    hex::decode_array(&text)
        .ok_or_else(|| RpcError::BadResult(format!("{text:?} is not 64 hex digits")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mining::template::Template;

    #[expect(clippy::unnecessary_wraps, reason = "the form in which replies come")]
    fn answer(status: u16, body: &str) -> Result<HttpReply, CallError> {
        Ok(HttpReply { status, body: Bytes::copy_from_slice(body.as_bytes()) })
    }

    #[test]
    fn errors_are_told_apart() {
        let check = |status, body: &str, expected: &str| {
            let reply = answer(status, body);
            let shown = result(&reply).map_or_else(|error| error.to_string(), ToString::to_string);
            assert_eq!(shown, expected);
        };
        check(200, r#"{"jsonrpc":"2.0","result":null,"id":1}"#, "null");
        check(200, r#"{"result":5,"error":null,"id":1}"#, "5");
        let refusal = r#"{"result":null,"error":{"code":-10,"message":"syncing"},"id":1}"#;
        check(500, refusal, "it says: syncing (code -10)");
        let data = r#"{"error":{"code":-32603,"message":"Internal error","data":"why"}}"#;
        check(200, data, "it says: Internal error: \"why\" (code -32603)");
        check(401, "", "it refuses our user name or password (HTTP 401)");
        check(403, "{}", "it refuses our user name or password (HTTP 403)");
        check(
            503,
            "Work queue depth exceeded",
            "its answer (HTTP 503) is no JSON-RPC reply: \"Work queue depth exceeded\"",
        );
        check(200, "{}", "its answer (HTTP 200) is no JSON-RPC reply: \"{}\"");
        check(
            200,
            r#"{"result":nul"#,
            "its answer (HTTP 200) is no JSON-RPC reply: \"{\\\"result\\\":nul\"",
        );
        assert_eq!(result(&Err(CallError::Timeout)).unwrap_err().to_string(), "no answer in time");
    }

    #[test]
    fn a_real_nodes_template_reads_and_passes_its_checks() {
        let body = format!("{{\"result\":{},\"id\":1}}", fixtures::GBT_BITCOIND_FOUR_BIDS);
        let parts = template(&answer(200, &body)).expect("reads");
        let template = Template::check(parts).expect("passes");
        assert_eq!(template.height, 144);
        assert_eq!(template.transactions.len(), 7);
        assert_eq!(template.fees(), 30_444);
        assert_eq!(template.value, 5_000_030_444);
    }

    #[test]
    fn an_enforcers_templates_read_and_pass_their_checks() {
        for (text, height, value, transactions) in [
            (fixtures::GBT_ENFORCER_NO_MESSAGES, 111, 5_000_000_000, 0),
            (fixtures::GBT_ENFORCER_M1, 111, 5_000_000_000, 0),
            (fixtures::GBT_ENFORCER_THREE_BIDS, 144, 5_000_023_000, 5),
        ] {
            let body = format!("{{\"jsonrpc\":\"2.0\",\"result\":{text},\"id\":1}}");
            let parts = template(&answer(200, &body)).expect("reads");
            let template = Template::check(parts).expect("passes");
            assert_eq!((template.height, template.value), (height, value));
            assert_eq!(template.transactions.len(), transactions);
            assert!(template.given.is_some());
        }
    }

    #[test]
    fn h_star_keeps_its_order() {
        let reply = answer(200, &format!("{{\"result\":\"01{}\"}}", "00".repeat(31)));
        assert_eq!(best_block_hash(&reply).map(|hash| hash[0]), Ok(1));
        let short = answer(200, r#"{"result":"01"}"#);
        assert!(best_block_hash(&short).is_err());
        let number = answer(200, r#"{"result":7}"#);
        assert!(best_block_hash(&number).is_err());
    }
}
