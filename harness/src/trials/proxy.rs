//! An HTTP proxy between the server and a real node that does to chosen calls what networks, busy
//! nodes and other proxies do to them.
//!
//! Whatever is not chosen goes through as it is. Each block that the node was handed, and what it
//! said, is noted here, because that is where it passed. Not in here: which calls to choose, and
//! what must come of it.

mod book;
mod fault;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use book::Book;
pub use book::{Handed, Planned};
pub use fault::{Fault, Methods};

use crate::containers::{RPC_PASSWORD, RPC_USER};
use crate::rpc::RpcClient;

/// The longest request that is read, bitcoind's own limit.
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// By then a request has said what it calls; a block comes after that.
const METHOD_BYTES_MAX: usize = 128;
/// Tries to take the port again that was let go; the system may need a moment.
const BIND_TRIES: u32 = 100;
const BIND_POLL: Duration = Duration::from_millis(20);

/// Stands between the server and one node, until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    node: Arc<Node>,
    /// None while the node is out of reach.
    task: Option<JoinHandle<()>>,
}

/// The node behind the proxy.
#[derive(Debug)]
struct Node {
    known: RpcClient,
    /// Shows no password.
    stranger: RpcClient,
    book: Book,
}

/// The connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("no answer, as planned or because the node gave none")]
struct Cut;

impl Proxy {
    /// A proxy to `node`, on a port of loopback.
    pub async fn start(node: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let stranger = RpcClient::new(node.to_string());
        let known = stranger.clone().with_credentials(RPC_USER, RPC_PASSWORD);
        let node = Arc::new(Node { known, stranger, book: Book::default() });
        let task = Some(tokio::spawn(accept(listener, Arc::clone(&node))));
        Ok(Self { address, node, task })
    }

    /// Where the server finds its node.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on these calls go wrong, each fault in its turn.
    pub fn plan(&self, faults: &[Planned]) {
        self.node.book.plan(faults);
    }

    /// How many calls are still to go wrong.
    pub fn outstanding(&self) -> u32 {
        self.node.book.outstanding()
    }

    /// The blocks that the node was handed and answered for, in their order.
    pub fn handed(&self) -> Vec<Handed> {
        self.node.book.handed()
    }

    /// Puts the node out of reach: every connection is cut, and no new one is taken.
    pub async fn cut(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            // An aborted task ends with an error that says so.
            drop(task.await);
        }
    }

    /// Whether the node is out of reach.
    pub const fn is_cut(&self) -> bool {
        self.task.is_none()
    }

    /// Brings the node back into reach, at the same address.
    pub async fn mend(&mut self) -> io::Result<()> {
        if self.task.is_some() {
            return Ok(());
        }
        let mut poll = tokio::time::interval(BIND_POLL);
        let mut tries = 0;
        let listener = loop {
            poll.tick().await;
            tries += 1;
            match TcpListener::bind(self.address).await {
                Err(error) if tries == BIND_TRIES => return Err(error),
                Err(_) => {}
                Ok(listener) => break listener,
            }
        };
        self.task = Some(tokio::spawn(accept(listener, Arc::clone(&self.node))));
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Serves connections until aborted; they are aborted with it.
async fn accept(listener: TcpListener, node: Arc<Node>) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let node = Arc::clone(&node);
                connections.spawn(async move {
                    if let Err(error) = serve(stream, node).await {
                        tracing::debug!(%error, "a proxied connection broke");
                    }
                });
            }
            Err(error) => tracing::debug!(%error, "a connection to the proxy was lost"),
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, node: Arc<Node>) -> io::Result<()> {
    // A second handle of the socket: what hyper drops without a word must be closed with one.
    let stream = stream.into_std()?;
    let handle = TcpStream::from_std(stream.try_clone()?)?;
    let stream = TcpStream::from_std(stream)?;
    let resets = Arc::new(AtomicBool::new(false));
    let reset = Arc::clone(&resets);
    let service = service_fn(move |request| {
        let (node, reset) = (Arc::clone(&node), Arc::clone(&reset));
        async move { node.pass(request, &reset).await }
    });
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    if resets.load(Ordering::Relaxed) {
        // TCP sends a reset in place of an orderly end.
        handle.set_zero_linger()?;
    }
    served.map_err(io::Error::other)
}

impl Node {
    /// Answers one call, or does to it what is planned.
    async fn pass(
        &self,
        request: Request<Incoming>,
        reset: &AtomicBool,
    ) -> Result<Response<Full<Bytes>>, Cut> {
        let known = request.headers().contains_key(AUTHORIZATION);
        let mut rest = Limited::new(request.into_body(), BODY_BYTES_MAX);
        let mut body = BytesMut::new();
        while body.len() < METHOD_BYTES_MAX
            && let Some(frame) = rest.frame().await
        {
            body.extend(frame.map_err(|_| Cut)?.into_data());
        }
        let method = method(&body);
        let client = if known { &self.known } else { &self.stranger };
        let fault = self.book.fault(&method);
        // A reset comes while there is more to read.
        if fault != Some(Fault::Reset) {
            body.extend(rest.collect().await.map_err(|_| Cut)?.to_bytes());
        }
        let body = body.freeze();
        match fault {
            None => Ok(json(self.forward(client, &method, body).await?)),
            Some(Fault::ReplyLost) => {
                self.forward(client, &method, body).await?;
                Err(Cut)
            }
            Some(Fault::Reset) => {
                reset.store(true, Ordering::Relaxed);
                Err(Cut)
            }
            Some(Fault::Broken) => Ok(plain(StatusCode::INTERNAL_SERVER_ERROR, "")),
            // The node itself says 401.
            Some(Fault::Unauthorized) => {
                Ok(json(self.forward(&self.stranger, &method, body).await?))
            }
            Some(Fault::Truncated) => {
                let (status, text) = self.forward(client, &method, body).await?;
                Ok(json((status, text.slice(..text.len() / 2))))
            }
            Some(Fault::Html) => Ok(plain(StatusCode::OK, HTML)),
            Some(Fault::HangBefore(time)) => {
                hang(time).await;
                Err(Cut)
            }
            Some(Fault::HangAfter(time)) => {
                self.forward(client, &method, body).await?;
                hang(time).await;
                Err(Cut)
            }
            Some(Fault::Lie) => Ok(plain(StatusCode::OK, r#"{"result":null,"error":null}"#)),
        }
    }

    async fn forward(
        &self,
        client: &RpcClient,
        method: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), Cut> {
        let answer = client.exchange(method, body.clone()).await;
        let (status, answer) = answer.map_err(|_| Cut)?;
        if method == "submitblock" {
            self.book.note(&body, &answer);
        }
        Ok((status, answer))
    }
}

/// What a proxy on the way says of a node that it does not reach.
const HTML: &str = "<html><head><title>Bad gateway</title></head><body>nginx</body></html>\n";

async fn hang(time: Duration) {
    // Nothing comes, so this is the time that passes.
    drop(tokio::time::timeout(time, std::future::pending::<()>()).await);
}

/// The method that a body calls, from its beginning; empty if none.
fn method(beginning: &[u8]) -> String {
    let text = String::from_utf8_lossy(beginning);
    let named = text.split_once(r#""method":""#).and_then(|(_, rest)| rest.split_once('"'));
    named.map(|(method, _)| method.to_owned()).unwrap_or_default()
}

fn json((status, text): (StatusCode, Bytes)) -> Response<Full<Bytes>> {
    response(status, text, HeaderValue::from_static("application/json"))
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    response(status, Bytes::from_static(text.as_bytes()), HeaderValue::from_static("text/html"))
}

fn response(status: StatusCode, text: Bytes, kind: HeaderValue) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests;
