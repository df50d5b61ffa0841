//! A JSON-RPC client for the nodes that the harness starts or is pointed at.
//!
//! One connection a call: a parked long-poll never delays another call, and a node that was killed
//! leaves no half-dead connection behind. It shares no code with the server's own client, which it
//! helps to judge. What a node answered as an error is parsed whatever the HTTP status, because
//! nodes disagree about the status (bitcoind says 500 or 200, the enforcer 200).
//!
//! Not here: retries and meaning. Who calls knows whether asking again is right.

use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// How long a call may take unless the client was told otherwise.
pub const PATIENCE: Duration = Duration::from_mins(1);
/// The longest answer that is read. A 4 MB block is 8 MB of hex.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How much of an answer that made no sense is shown.
const EXCERPT_CHARS_MAX: usize = 200;

/// Where a node listens and how to be let in. Cheap to clone; holds no connection.
#[derive(Clone, Debug)]
pub struct RpcClient {
    address: String,
    path: String,
    authorization: Option<HeaderValue>,
    patience: Duration,
}

/// Why a call gave no result. `Debug` gives the same sentence as `Display`, because a test that
/// unwraps shows that.
#[derive(thiserror::Error)]
pub enum RpcFailure {
    /// Nothing listens there, or it cannot be reached.
    #[error("no connection to {address}: {cause}; is the node running?")]
    Connect {
        /// `host:port` as given.
        address: String,
        /// The system's reason.
        cause: std::io::Error,
    },
    /// The node went away, or spoke no HTTP, or more than [`ANSWER_BYTES_MAX`] of it.
    #[error("the connection to {address} broke during {method}: {cause}")]
    Broken {
        /// `host:port` as given.
        address: String,
        /// The method called. Whether the node carried it out is unknown.
        method: String,
        /// What hyper met.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The node took longer than the client's patience.
    #[error("{address} did not answer {method} within {} s", patience.as_secs())]
    Late {
        /// `host:port` as given.
        address: String,
        /// The method called. Whether the node carried it out is unknown.
        method: String,
        /// The time it had.
        patience: Duration,
    },
    /// An HTTP answer without a JSON-RPC body: 401 for a wrong password, 403 for a wrong network.
    #[error("{address} answered {method} with HTTP {status} and no JSON-RPC body: {excerpt:?}")]
    NotJsonRpc {
        /// `host:port` as given.
        address: String,
        /// The method called.
        method: String,
        /// The HTTP status, which is all there is to go by.
        status: StatusCode,
        /// The beginning of the body.
        excerpt: String,
    },
    /// The node understood the call and said no.
    #[error("{method} was refused: {message} (code {code})")]
    Refused {
        /// The method called.
        method: String,
        /// The node's error code, such as -28 while it warms up.
        code: i64,
        /// The node's words.
        message: String,
    },
    /// The result is not of the type that the method gives.
    #[error("{method} gave a result that cannot be read: {cause}; is this another kind of node?")]
    Unexpected {
        /// The method called.
        method: String,
        /// What is wrong with it.
        cause: String,
    },
}

impl std::fmt::Debug for RpcFailure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, formatter)
    }
}

impl RpcFailure {
    /// The node's own error code, where it was the node that said no.
    pub fn code(&self) -> Option<i64> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::Connect { .. }
            | Self::Broken { .. }
            | Self::Late { .. }
            | Self::NotJsonRpc { .. }
            | Self::Unexpected { .. } => None,
        }
    }
}

impl RpcClient {
    /// A client for `host:port` that shows no credentials (the enforcer wants none).
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            path: "/".to_owned(),
            authorization: None,
            patience: PATIENCE,
        }
    }

    /// Shows user and password with every call (HTTP basic authentication).
    #[must_use]
    pub fn with_credentials(mut self, user: &str, password: &str) -> Self {
        let text = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
        let mut value = HeaderValue::try_from(text).ok();
        if let Some(value) = &mut value {
            // Keeps the password out of `Debug` output.
            value.set_sensitive(true);
        }
        debug_assert!(value.is_some(), "base64 is always a legal header value");
        self.authorization = value;
        self
    }

    /// Calls another path than `/`, such as `/wallet/NAME`.
    #[must_use]
    pub fn with_path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Waits this long for an answer and no longer: long for a long-poll, short for a probe.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Calls `method` with `params` (an array, or an object of named parameters) and gives the
    /// `result` member of the answer, which may be null.
    pub async fn call(&self, method: &str, params: Value) -> Result<Value, RpcFailure> {
        let body = json!({ "jsonrpc": "1.0", "id": 0, "method": method, "params": params });
        let exchange = self.exchange(method, body.to_string().into());
        match tokio::time::timeout(self.patience, exchange).await {
            Ok(answered) => {
                let (status, bytes) = answered?;
                self.read_answer(method, status, &bytes)
            }
            Err(_elapsed) => Err(RpcFailure::Late {
                address: self.address.clone(),
                method: method.to_owned(),
                patience: self.patience,
            }),
        }
    }

    /// Posts `body`, a call of `method`, and gives what comes back unread; however long that takes.
    pub(crate) async fn exchange(
        &self,
        method: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), RpcFailure> {
        let stream = TcpStream::connect(&self.address)
            .await
            .map_err(|cause| RpcFailure::Connect { address: self.address.clone(), cause })?;
        self.post(TokioIo::new(stream), body).await.map_err(|cause| RpcFailure::Broken {
            address: self.address.clone(),
            method: method.to_owned(),
            cause,
        })
    }

    async fn post(
        &self,
        stream: TokioIo<TcpStream>,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>> {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
        // The set aborts its task when this function ends, however it ends.
        let mut driver = JoinSet::new();
        driver.spawn(connection);

        let mut request = Request::post(&self.path)
            .header(HOST, &self.address)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let bytes = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await?.to_bytes();
        Ok((status, bytes))
    }

    fn read_answer(
        &self,
        method: &str,
        status: StatusCode,
        bytes: &[u8],
    ) -> Result<Value, RpcFailure> {
        let mut answer: Value = serde_json::from_slice(bytes).unwrap_or(Value::Null);
        if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
            return Err(RpcFailure::Refused {
                method: method.to_owned(),
                code: error["code"].as_i64().unwrap_or_default(),
                // Some servers say what happened in `data` and only "Internal error" here.
                message: match (error["message"].as_str(), error["data"].as_str()) {
                    (Some(message), Some(data)) => format!("{message}: {data}"),
                    (Some(message), None) => message.to_owned(),
                    (None, _) => error.to_string(),
                },
            });
        }
        match answer.get_mut("result") {
            Some(result) => Ok(result.take()),
            None => Err(RpcFailure::NotJsonRpc {
                address: self.address.clone(),
                method: method.to_owned(),
                status,
                excerpt: String::from_utf8_lossy(bytes).chars().take(EXCERPT_CHARS_MAX).collect(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str) -> Result<Value, String> {
        let status = StatusCode::from_u16(status).unwrap();
        RpcClient::new("node:1")
            .read_answer("getthing", status, body.as_bytes())
            .map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_result_may_be_null() {
        assert_eq!(read(200, r#"{"result":null,"error":null,"id":0}"#), Ok(Value::Null));
    }

    #[test]
    fn an_error_is_read_whatever_the_http_status() {
        let body = r#"{"result":null,"error":{"code":-28,"message":"Loading"},"id":0}"#;
        for status in [200, 500] {
            let failure = read(status, body).unwrap_err();
            assert_eq!(failure, "getthing was refused: Loading (code -28)");
        }
    }

    #[test]
    fn the_data_of_an_error_is_shown() {
        let body = r#"{"error":{"code":-32603,"message":"Internal error","data":"no pool"}}"#;
        let failure = read(200, body).unwrap_err();
        assert_eq!(failure, "getthing was refused: Internal error: no pool (code -32603)");
    }

    #[test]
    fn a_body_without_json_rpc_shows_the_status() {
        for body in ["", "<html>no</html>", "[]", "{}", "null"] {
            let failure = read(401, body).unwrap_err();
            assert!(failure.contains("HTTP 401 Unauthorized"), "{failure}");
        }
    }

    #[test]
    fn the_password_stays_out_of_debug_output() {
        let client = RpcClient::new("node:1").with_credentials("user", "open sesame");
        let shown = format!("{client:?}");
        assert!(shown.contains("Sensitive"), "{shown}");
    }

    #[tokio::test]
    async fn a_closed_port_is_told_from_a_refusal() {
        // Bound and dropped: nobody listens there now.
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let failure = RpcClient::new(address.to_string()).call("x", json!([])).await.unwrap_err();
        assert!(matches!(failure, RpcFailure::Connect { .. }), "{failure}");
        assert_eq!(failure.code(), None);
    }

    #[tokio::test]
    async fn patience_ends() {
        // A listener that never accepts: the handshake of TCP succeeds, nothing is ever answered.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let client = RpcClient::new(address).with_patience(Duration::from_millis(50));
        let failure = client.call("getthing", json!([])).await.unwrap_err();
        assert!(matches!(failure, RpcFailure::Late { .. }), "{failure}");
    }
}
