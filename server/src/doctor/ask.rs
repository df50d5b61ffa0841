//! One question to a node or a daemon, with how long the answer took.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::sleep_until;

use crate::node::rpc::{CallError, HttpReply};
use crate::runtime::TcpConnector;
use crate::runtime::http::post;
use crate::settings::{Credentials, RpcEndpoint};

/// How long an answer may take: as long as the server waits for one.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// A node that answers many others says for a moment that it cannot take one more.
const BUSY: u16 = 503;
/// How often such a node is asked.
const ATTEMPTS_MAX: usize = 5;
/// And how soon again.
const PAUSE: Duration = Duration::from_millis(200);

pub(super) type Reply = Result<HttpReply, CallError>;

/// What came back, and how long that took.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) reply: Reply,
    pub(super) took: Duration,
}

/// POSTs `body` to `endpoint`.
pub(super) async fn ask(endpoint: &RpcEndpoint, body: Bytes) -> Asked {
    let mut attempt = 1;
    loop {
        let began = Instant::now();
        let reply = post(TcpConnector, endpoint.clone(), body.clone(), PATIENCE).await;
        let took = began.elapsed();
        let is_busy = reply.as_ref().is_ok_and(|reply| reply.status == BUSY);
        if !is_busy || attempt == ATTEMPTS_MAX {
            return Asked { reply, took };
        }
        attempt += 1;
        sleep_until((Instant::now() + PAUSE).into()).await;
    }
}

/// Why the file that proves who calls cannot be read; `None` when it can, or there is none.
pub(super) fn cookie_problem(endpoint: &RpcEndpoint) -> Option<String> {
    match &endpoint.credentials {
        Credentials::None | Credentials::Basic { .. } => None,
        Credentials::CookieFile(path) => {
            let error = std::fs::read_to_string(path).err()?;
            Some(format!("its cookie file {} cannot be read: {error}", path.display()))
        }
    }
}

/// A place as people write it; an IPv6 address in brackets.
pub(super) fn shown(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
