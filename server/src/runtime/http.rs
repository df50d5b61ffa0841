//! One JSON-RPC POST over HTTP/1.1: a connection each, so that a parked long poll never stands in
//! the way of a block.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Request;
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;

use super::listener::Connect;
use crate::node::rpc::{CallError, HttpReply};
use crate::settings::{Credentials, RpcEndpoint};

/// The longest body that is read: a full block's template is about 12 MB.
const BODY_BYTES_MAX: usize = 128 * 1024 * 1024;

/// POSTs `body` to `endpoint` and brings back whatever answers within `patience`.
pub(crate) async fn post<C: Connect>(
    connect: C,
    endpoint: RpcEndpoint,
    body: Bytes,
    patience: Duration,
) -> Result<HttpReply, CallError> {
    let answer = tokio::time::timeout(patience, exchange(&connect, &endpoint, body));
    answer.await.unwrap_or(Err(CallError::Timeout))
}

async fn exchange<C: Connect>(
    connect: &C,
    endpoint: &RpcEndpoint,
    body: Bytes,
) -> Result<HttpReply, CallError> {
    let authority = if endpoint.host.contains(':') {
        format!("[{}]:{}", endpoint.host, endpoint.port)
    } else {
        format!("{}:{}", endpoint.host, endpoint.port)
    };
    let stream = connect
        .connect(&endpoint.host, endpoint.port)
        .await
        .map_err(|error| CallError::Connect(format!("{authority}: {error}")))?;
    let broken = |error: &dyn core::fmt::Display| CallError::Broken(error.to_string());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(&error))?;
    // Ends with this call: dropping the set aborts it.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let mut request = Request::post("/")
        .header(HOST, authority)
        .header(CONTENT_TYPE, "application/json")
        .header(CONNECTION, "close");
    if let Some(authorization) = authorization(&endpoint.credentials)? {
        request = request.header(AUTHORIZATION, authorization);
    }
    let request = request.body(Full::new(body)).map_err(|error| broken(&error))?;
    let reply = sender.send_request(request).await.map_err(|error| broken(&error))?;
    let status = reply.status().as_u16();
    let body = Limited::new(reply.into_body(), BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|error| broken(&error))?.to_bytes();
    Ok(HttpReply { status, body })
}

fn authorization(credentials: &Credentials) -> Result<Option<String>, CallError> {
    let basic = |plain: &str| Some(format!("Basic {}", BASE64_STANDARD.encode(plain)));
    match credentials {
        Credentials::None => Ok(None),
        Credentials::Basic { user, password } => {
            Ok(basic(&format!("{user}:{}", password.expose())))
        }
        // Read for each call: the daemon writes a new one at each of its starts.
        Credentials::CookieFile(path) => match std::fs::read_to_string(path) {
            Ok(cookie) => Ok(basic(cookie.trim())),
            Err(error) => Err(CallError::Connect(format!(
                "its cookie file {} (RPC_COOKIE_FILE) cannot be read: {error}",
                path.display()
            ))),
        },
    }
}

#[cfg(test)]
mod tests;
