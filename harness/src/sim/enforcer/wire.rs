//! The enforcer's JSON-RPC: strictly 2.0, two methods, no credentials.
//!
//! Its errors are those of the `jsonrpsee` server that it is built on, seen on a running one. The
//! node's dialect is another and lives in `jsonrpc.rs`.

use bitcoin::BlockHash;
use serde_json::{Map, Value, json};

use crate::sim::RpcReply;

const PARSE_ERROR: i64 = -32700;
const INVALID_REQUEST: i64 = -32600;
const METHOD_NOT_FOUND: i64 = -32601;
const INVALID_PARAMS: i64 = -32602;
const INTERNAL_ERROR: i64 = -32603;
/// bitcoind's code for a node that is still behind, and the enforcer's for itself.
const STILL_SYNCING: i64 = -10;

/// The request's id, echoed as it came; `None` for a notification, which gets no answer.
pub(crate) type Id = Option<Value>;

/// What is asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Call {
    /// `getblocktemplate`.
    Template(TemplateCall),
    /// `submitblock` with its hex.
    Submit(String),
}

/// What matters of a template request; `rules` and `mode` do not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct TemplateCall {
    /// Whether the caller can take a whole coinbase.
    pub(crate) takes_coinbase: bool,
    /// The tip that a long poll waits to see replaced. An id that cannot be read is none.
    pub(crate) long_poll_tip: Option<BlockHash>,
}

/// An error object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Failure {
    code: i64,
    message: String,
    details: Option<String>,
}

/// What a method gives.
pub(crate) type Answer = Result<Value, Failure>;

impl Failure {
    /// An error of the node behind, passed on.
    pub(crate) fn of_node(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: None }
    }

    pub(crate) fn internal(details: impl Into<String>) -> Self {
        let message = "Internal error".to_owned();
        Self { code: INTERNAL_ERROR, message, details: Some(details.into()) }
    }

    pub(crate) fn no_capability() -> Self {
        Self::internal("the `coinbasetxn` GBT capability is required")
    }

    pub(crate) fn no_mempool() -> Self {
        Self::internal("Mempool unavailable")
    }

    pub(crate) fn still_syncing() -> Self {
        let message = "enforcer is still syncing, and cannot build block templates yet";
        Self::of_node(STILL_SYNCING, message)
    }

    fn to_json(&self) -> Value {
        let Self { code, message, details } = self;
        let mut error = json!({ "code": code, "message": message });
        if let Some(details) = details {
            error["data"] = details.clone().into();
        }
        error
    }
}

/// Reads a request, or says what to answer instead.
pub(crate) fn read(body: &[u8]) -> Result<(Id, Call), RpcReply> {
    let refuse =
        |id: Value, code, message: &str| wrap(&Some(id), &Err(Failure::of_node(code, message)));
    let Ok(request) = serde_json::from_slice::<Value>(body) else {
        return Err(refuse(Value::Null, PARSE_ERROR, "Parse error"));
    };
    let id = request.get("id").cloned();
    let (version, method) = (request["jsonrpc"].as_str(), request["method"].as_str());
    let (Some("2.0"), Some(method)) = (version, method) else {
        return Err(refuse(id.unwrap_or_default(), INVALID_REQUEST, "Invalid request"));
    };
    let call = match method {
        "getblocktemplate" => template_call(request.get("params")),
        "submitblock" => submit_call(request.get("params")),
        _ => Err(Failure::of_node(METHOD_NOT_FOUND, "Method not found")),
    };
    match call {
        Ok(call) => Ok((id, call)),
        Err(failure) => Err(wrap(&id, &Err(failure))),
    }
}

/// The first positional parameter; those after it are dropped.
fn first(params: Option<&Value>) -> Result<&Value, Failure> {
    let first = params.and_then(Value::as_array).and_then(|params| params.first());
    first.ok_or_else(|| Failure::of_node(INVALID_PARAMS, "No more params"))
}

fn invalid(what: &str) -> Failure {
    let details = Some(what.to_owned());
    Failure { code: INVALID_PARAMS, message: "Invalid params".to_owned(), details }
}

fn template_call(params: Option<&Value>) -> Result<Call, Failure> {
    let request: &Map<String, Value> =
        first(params)?.as_object().ok_or_else(|| invalid("the request is no object"))?;
    let capabilities = request.get("capabilities").and_then(Value::as_array);
    let long_poll_id = request.get("longpollid").and_then(Value::as_str);
    Ok(Call::Template(TemplateCall {
        takes_coinbase: capabilities.is_some_and(|all| all.contains(&"coinbasetxn".into())),
        long_poll_tip: long_poll_id.and_then(|id| id.get(..64)?.parse().ok()),
    }))
}

fn submit_call(params: Option<&Value>) -> Result<Call, Failure> {
    let hex = first(params)?.as_str().ok_or_else(|| invalid("the block is no string"))?;
    Ok(Call::Submit(hex.to_owned()))
}

/// Wraps an answer. An error is HTTP 200 too.
pub(crate) fn wrap(id: &Id, answer: &Answer) -> RpcReply {
    let Some(id) = id else { return RpcReply { status: 200, body: Vec::new() } };
    let reply = match answer {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err(failure) => json!({ "jsonrpc": "2.0", "id": id, "error": failure.to_json() }),
    };
    RpcReply { status: 200, body: reply.to_string().into_bytes() }
}
