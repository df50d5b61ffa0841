//! A JSON-RPC daemon's HTTP side, as bitcoind shows it: one path, POST only, basic authorization.
//!
//! Not in here: what is answered; that is the daemon's.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use crate::sim::RpcReply;

/// The longest request that is read, bitcoind's own limit. A 4 MB block is 8 MB of hex.
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A simulated daemon could not be put on a port.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address}: {cause}; another program may hold the port, so stop it or choose \
     another one (0 takes any that is free)"
)]
pub struct ServeError {
    /// The address that was asked for.
    pub address: SocketAddr,
    /// The system's reason.
    #[source]
    pub cause: io::Error,
}

/// The user and password a daemon lets in.
#[derive(Clone, Eq, PartialEq)]
pub struct Credentials {
    /// The header that a client with them sends.
    expected: String,
}

impl Credentials {
    /// Credentials for basic authorization.
    pub fn new(user: &str, password: &str) -> Self {
        let encoded = BASE64_STANDARD.encode(format!("{user}:{password}"));
        Self { expected: format!("Basic {encoded}") }
    }

    fn admits(&self, header: Option<&HeaderValue>) -> bool {
        header.is_some_and(|header| header.as_bytes() == self.expected.as_bytes())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Credentials(..)")
    }
}

/// Something that answers JSON-RPC requests.
pub(super) trait Daemon: Send + Sync + 'static {
    /// The answer to one request; `None` cuts the connection without one.
    fn answer(&self, body: Bytes) -> impl Future<Output = Option<RpcReply>> + Send;
}

/// A daemon on its port. Dropping it closes the port and every connection.
#[derive(Debug)]
pub(super) struct Listening {
    address: SocketAddr,
    task: JoinHandle<Infallible>,
}

impl Listening {
    pub(super) async fn start(
        daemon: impl Daemon,
        bind: SocketAddr,
        credentials: Option<Credentials>,
    ) -> Result<Self, ServeError> {
        let refused = |cause| ServeError { address: bind, cause };
        let listener = TcpListener::bind(bind).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let door = Arc::new(Door::new(daemon, credentials));
        Ok(Self { address, task: tokio::spawn(accept(listener, door)) })
    }

    /// The address it listens on, its port filled in.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A daemon and whom it lets in, without the port.
#[derive(Debug)]
pub(super) struct Door<D> {
    daemon: D,
    credentials: Option<Credentials>,
}

impl<D> Door<D> {
    pub(super) const fn new(daemon: D, credentials: Option<Credentials>) -> Self {
        Self { daemon, credentials }
    }
}

/// Serves connections until aborted; they are aborted with it.
async fn accept<D: Daemon>(listener: TcpListener, door: Arc<Door<D>>) -> Infallible {
    let mut connections = JoinSet::new();
    loop {
        // An error concerns one connection that is gone already, or a lack of descriptors that
        // ends when one of the others does.
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(serve(stream, Arc::clone(&door)));
            }
            Err(error) => {
                tracing::debug!(%error, "a connection to a simulated daemon was lost");
                tokio::task::yield_now().await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Answers what comes over one connection until it ends.
pub(super) async fn serve<D: Daemon, Io>(stream: Io, door: Arc<Door<D>>)
where
    Io: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let service = service_fn(move |request| {
        let door = Arc::clone(&door);
        async move { door.enter(request).await }
    });
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to a simulated daemon broke");
    }
}

/// The daemon is down, so the connection is cut.
#[derive(Debug, thiserror::Error)]
#[error("the simulated daemon is down")]
struct Down;

impl<D: Daemon> Door<D> {
    async fn enter(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Down> {
        if request.uri().path() != "/" {
            return Ok(plain(StatusCode::NOT_FOUND, ""));
        }
        if request.method() != Method::POST {
            let text = "JSONRPC server handles only POST requests";
            return Ok(plain(StatusCode::METHOD_NOT_ALLOWED, text));
        }
        let let_in = |wanted: &Credentials| wanted.admits(request.headers().get(AUTHORIZATION));
        if !self.credentials.as_ref().is_none_or(let_in) {
            let mut response = plain(StatusCode::UNAUTHORIZED, "");
            let challenge = HeaderValue::from_static("Basic realm=\"jsonrpc\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            return Ok(response);
        }
        let Ok(body) = Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await else {
            return Ok(plain(StatusCode::PAYLOAD_TOO_LARGE, ""));
        };
        let reply = self.daemon.answer(body.to_bytes()).await.ok_or(Down)?;
        let mut response = Response::new(Full::new(Bytes::from(reply.body)));
        *response.status_mut() =
            StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        Ok(response)
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    let html = HeaderValue::from_static("text/html; charset=ISO-8859-1");
    response.headers_mut().insert(CONTENT_TYPE, html);
    response
}
