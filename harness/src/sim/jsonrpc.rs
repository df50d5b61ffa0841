//! JSON-RPC over bytes, in bitcoind's dialect: envelopes, error codes, HTTP statuses.
//!
//! Both daemons of the simulated world (the node and the sidechain) speak it. A request without
//! `"jsonrpc":"2.0"` gets the old envelope (`result`, `error`, `id`; an error is an HTTP error);
//! one with it gets the new envelope and HTTP 200. Batches are answered as an invalid request:
//! no program under test sends one. Not in here: HTTP itself, authorization, and the methods.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// A complete answer: what an HTTP server sends back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RpcReply {
    /// HTTP status code.
    pub status: u16,
    /// `application/json`, ending in a line feed; empty with status 204.
    pub body: Vec<u8>,
}

/// bitcoind's error codes (`rpc/protocol.h`), as far as the simulated daemons use them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Code {
    Misc,
    Type,
    InvalidAddressOrKey,
    ClientInInitialDownload,
    InvalidParameter,
    Deserialization,
    Verify,
    VerifyRejected,
    VerifyAlreadyInChain,
    InWarmup,
    InvalidRequest,
    MethodNotFound,
    Parse,
}

impl Code {
    const fn number(self) -> i32 {
        match self {
            Self::Misc => -1,
            Self::Type => -3,
            Self::InvalidAddressOrKey => -5,
            Self::InvalidParameter => -8,
            Self::ClientInInitialDownload => -10,
            Self::Deserialization => -22,
            Self::Verify => -25,
            Self::VerifyRejected => -26,
            Self::VerifyAlreadyInChain => -27,
            Self::InWarmup => -28,
            Self::InvalidRequest => -32600,
            Self::MethodNotFound => -32601,
            Self::Parse => -32700,
        }
    }

    const fn http_status(self) -> u16 {
        match self {
            Self::InvalidRequest => 400,
            Self::MethodNotFound => 404,
            Self::Misc
            | Self::Type
            | Self::InvalidAddressOrKey
            | Self::ClientInInitialDownload
            | Self::InvalidParameter
            | Self::Deserialization
            | Self::Verify
            | Self::VerifyRejected
            | Self::VerifyAlreadyInChain
            | Self::InWarmup
            | Self::Parse => 500,
        }
    }
}

/// An error that goes to the caller.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct RpcError {
    code: Code,
    message: String,
}

impl RpcError {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// How an answer must be wrapped.
#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    /// Echoed as it came; absent when the request had none.
    id: Option<Box<RawValue>>,
    modern: bool,
}

#[derive(Serialize)]
struct ErrorObject<'a> {
    code: i32,
    message: &'a str,
}

#[derive(Serialize)]
struct OldReply<'a> {
    result: Option<&'a RawValue>,
    error: Option<ErrorObject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct ModernReply<'a> {
    jsonrpc: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorObject<'a>>,
    id: Option<&'a RawValue>,
}

/// What a method answers: JSON text that is ready to be wrapped.
pub(crate) type RpcResult = Result<Box<RawValue>, RpcError>;

/// Renders a value as the result of a method.
pub(crate) fn result_of(value: &impl Serialize) -> RpcResult {
    serde_json::value::to_raw_value(value)
        .map_err(|error| RpcError::new(Code::Misc, format!("the result is not JSON: {error}")))
}

impl Envelope {
    const ANONYMOUS: Self = Self { id: None, modern: false };

    pub(crate) fn wrap(&self, result: &RpcResult) -> RpcReply {
        if self.modern && self.id.is_none() {
            return RpcReply { status: 204, body: Vec::new() };
        }
        let (value, error) = match result {
            Ok(value) => (Some(&**value), None),
            Err(error) => (None, Some(error)),
        };
        let status = match error {
            Some(error) if !self.modern => error.code.http_status(),
            Some(_) | None => 200,
        };
        let error =
            error.map(|error| ErrorObject { code: error.code.number(), message: &error.message });
        let id = self.id.as_deref();
        let text = if self.modern {
            serde_json::to_vec(&ModernReply { jsonrpc: "2.0", result: value, error, id })
        } else {
            serde_json::to_vec(&OldReply { result: value, error, id })
        };
        // Strings, integers and text that was JSON before: this cannot fail to serialise.
        let mut body = text.unwrap_or_default();
        body.push(b'\n');
        RpcReply { status, body }
    }
}

/// A request that named a method.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) envelope: Envelope,
    pub(crate) method: String,
    pub(crate) params: Params,
}

/// The arguments as they came.
#[derive(Debug)]
pub(crate) enum Params {
    Positional(Vec<Value>),
    Named(Map<String, Value>),
}

/// Reads a request, or says what to answer instead.
pub(crate) fn parse(body: &[u8]) -> Result<Call, RpcReply> {
    let refuse = |envelope: &Envelope, code, message: &str| {
        envelope.wrap(&Err(RpcError::new(code, message)))
    };
    // RawValue borrows the id as it is written; a map of raw values parses the top level only.
    let Ok(text) = serde_json::from_slice::<&RawValue>(body) else {
        return Err(with_null_id(Code::Parse, "Parse error"));
    };
    let Ok(mut fields) = serde_json::from_str::<Fields>(text.get()) else {
        return Err(if text.get().starts_with('[') {
            with_null_id(Code::InvalidRequest, "Batches are not simulated; send one call a request")
        } else {
            with_null_id(Code::Parse, "Top-level object parse error")
        });
    };
    let mut envelope = Envelope::ANONYMOUS;
    envelope.id = fields.remove("id");
    envelope.modern = fields.get("jsonrpc").is_some_and(|version| version.get() == "\"2.0\"");
    let value = |name: &str| match fields.get(name) {
        None => Ok(Value::Null),
        // Text that is JSON but nested deeper than the parser goes.
        Some(raw) => serde_json::from_str::<Value>(raw.get())
            .map_err(|_| with_null_id(Code::Parse, "Parse error")),
    };
    let method = match value("method")? {
        Value::Null => return Err(refuse(&envelope, Code::InvalidRequest, "Missing method")),
        Value::String(method) => method,
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            return Err(refuse(&envelope, Code::InvalidRequest, "Method must be a string"));
        }
    };
    let params = match value("params")? {
        Value::Null => Params::Positional(Vec::new()),
        Value::Array(values) => Params::Positional(values),
        Value::Object(fields) => Params::Named(fields),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            let message = "Params must be an array or object";
            return Err(refuse(&envelope, Code::InvalidRequest, message));
        }
    };
    Ok(Call { envelope, method, params })
}

type Fields = std::collections::BTreeMap<String, Box<RawValue>>;

fn with_null_id(code: Code, message: &str) -> RpcReply {
    let id = serde_json::value::to_raw_value(&()).ok();
    Envelope { id, modern: false }.wrap(&Err(RpcError::new(code, message)))
}

/// What a parameter must be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    String,
    Number,
    Object,
    /// bitcoind's verbosity: a number, or a boolean of older days; also anything it ignores.
    Any,
}

/// One parameter of a method.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) required: bool,
}

/// Arguments that have the number and the types a method asks for; `None` where one is left out.
#[derive(Debug)]
pub(crate) struct Arguments(Vec<Option<Value>>);

impl Arguments {
    /// Checks the arguments against a method's parameters; `usage` is the first line of its help.
    pub(crate) fn check(
        params: Params,
        parameters: &[Parameter],
        usage: &str,
    ) -> Result<Self, RpcError> {
        let mut values = match params {
            Params::Positional(values) => values.into_iter().map(Some).collect(),
            Params::Named(fields) => by_name(fields, parameters)?,
        };
        if values.len() > parameters.len() {
            return Err(RpcError::new(Code::Misc, usage));
        }
        values.resize(parameters.len(), None);
        let mut wrong = Vec::new();
        for (position, (value, parameter)) in values.iter_mut().zip(parameters).enumerate() {
            if value.as_ref().is_none_or(Value::is_null) {
                *value = None;
                if parameter.required {
                    return Err(RpcError::new(Code::Misc, usage));
                }
            }
            if let Some(complaint) = value.as_ref().and_then(|value| mismatch(value, *parameter)) {
                let (place, name) = (position + 1, parameter.name);
                wrong.push(format!("    \"Position {place} ({name})\": \"{complaint}\""));
            }
        }
        if wrong.is_empty() {
            return Ok(Self(values));
        }
        let message = format!("Wrong type passed:\n{{\n{}\n}}", wrong.join(",\n"));
        Err(RpcError::new(Code::Type, message))
    }

    pub(crate) fn value(&self, position: usize) -> Option<&Value> {
        self.0.get(position)?.as_ref()
    }

    pub(crate) fn text(&self, position: usize) -> &str {
        self.value(position).and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn number(&self, position: usize) -> Option<i64> {
        self.value(position)?.as_i64()
    }
}

fn by_name(
    mut fields: Map<String, Value>,
    parameters: &[Parameter],
) -> Result<Vec<Option<Value>>, RpcError> {
    let values = parameters.iter().map(|parameter| fields.remove(parameter.name)).collect();
    match fields.keys().next() {
        None => Ok(values),
        Some(name) => {
            let message = format!("Unknown named parameter {name}");
            Err(RpcError::new(Code::InvalidParameter, message))
        }
    }
}

fn mismatch(value: &Value, parameter: Parameter) -> Option<String> {
    let (fits, expected) = match parameter.kind {
        Kind::String => (value.is_string(), "string"),
        Kind::Number => (value.is_number(), "number"),
        Kind::Object => (value.is_object(), "object"),
        Kind::Any => (true, "any"),
    };
    let actual = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    (!fits).then(|| format!("JSON value of type {actual} is not of expected type {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &str) -> (u16, String) {
        let reply = parse(body.as_bytes()).expect_err("not a call");
        (reply.status, String::from_utf8(reply.body).unwrap())
    }

    /// Each pair was said by bitcoind 29.
    #[test]
    fn malformed_requests_get_bitcoinds_answers() {
        for (body, status, answer) in [
            (r#"{"id":"#, 500, r#"{"code":-32700,"message":"Parse error"},"id":null}"#),
            (
                r#""x""#,
                500,
                r#"{"code":-32700,"message":"Top-level object parse error"},"id":null}"#,
            ),
            (r#"{"id":3}"#, 400, r#"{"code":-32600,"message":"Missing method"},"id":3}"#),
            (
                r#"{"id":"a","method":1}"#,
                400,
                r#"{"code":-32600,"message":"Method must be a string"},"id":"a"}"#,
            ),
            (
                r#"{"id":3,"method":"m","params":3}"#,
                400,
                r#"{"code":-32600,"message":"Params must be an array or object"},"id":3}"#,
            ),
        ] {
            assert_eq!(refusal(body), (status, format!("{{\"result\":null,\"error\":{answer}\n")));
        }
    }

    #[test]
    fn a_modern_request_gets_the_modern_envelope() {
        let reply = |body: &str, result: &RpcResult| {
            let reply = parse(body.as_bytes()).unwrap().envelope.wrap(result);
            (reply.status, String::from_utf8(reply.body).unwrap())
        };
        let modern = r#"{"jsonrpc":"2.0","id":3,"method":"m"}"#;
        assert_eq!(
            reply(modern, &result_of(&0)),
            (200, "{\"jsonrpc\":\"2.0\",\"result\":0,\"id\":3}\n".to_owned())
        );
        let error = Err(RpcError::new(Code::MethodNotFound, "Method not found"));
        let (status, body) = reply(modern, &error);
        assert_eq!((status, body.contains("-32601")), (200, true));
        let notification = r#"{"jsonrpc":"2.0","method":"m"}"#;
        assert_eq!(reply(notification, &result_of(&0)), (204, String::new()));
        let old = r#"{"method":"m"}"#;
        assert_eq!(reply(old, &result_of(&0)), (200, "{\"result\":0,\"error\":null}\n".to_owned()));
    }

    #[test]
    fn arguments_are_checked_by_number_name_and_type() {
        let parameter = |name, required| Parameter { name, kind: Kind::String, required };
        let parameters = [parameter("hexdata", true), parameter("dummy", false)];
        let check = |text: &str| {
            let body = format!(r#"{{"id":1,"method":"m","params":{text}}}"#);
            let call = parse(body.as_bytes()).unwrap();
            Arguments::check(call.params, &parameters, "usage")
                .map(|arguments| arguments.text(0).to_owned())
                .map_err(|error| error.message)
        };
        assert_eq!(check(r#"["ab"]"#), Ok("ab".to_owned()));
        assert_eq!(check(r#"{"hexdata":"ab"}"#), Ok("ab".to_owned()));
        assert_eq!(check("[]"), Err("usage".to_owned()));
        assert_eq!(check(r#"["a","b","c"]"#), Err("usage".to_owned()));
        assert_eq!(check(r#"{"x":1}"#), Err("Unknown named parameter x".to_owned()));
        let complaint = "Wrong type passed:\n{\n    \"Position 1 (hexdata)\": \"JSON value of type \
                         number is not of expected type string\"\n}";
        assert_eq!(check("[1]"), Err(complaint.to_owned()));
    }
}
