//! How the engine's calls leave: each on a connection of its own, or by way of a feed that joins
//! those of several engines.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::http;
use super::listener::Connect;
use crate::node::rpc::{CallError, HttpReply};
use crate::settings::RpcEndpoint;

/// Whoever makes calls.
pub trait Calls: Clone + Send + Sync + 'static {
    /// POSTs `body` to the host at `place`, nodes first, then sidechain daemons, and brings back
    /// what comes of it within `patience`.
    fn call(
        &self,
        place: usize,
        body: Bytes,
        patience: Duration,
    ) -> impl Future<Output = Result<HttpReply, CallError>> + Send;
}

/// Each call at once, on a connection of its own.
#[derive(Clone, Debug)]
pub struct Direct<C> {
    connect: C,
    endpoints: Arc<[RpcEndpoint]>,
}

impl<C: Connect> Direct<C> {
    /// Calls `endpoints`: the nodes, then the sidechain daemons, each in the order of the
    /// configuration.
    pub fn new(connect: C, endpoints: impl IntoIterator<Item = RpcEndpoint>) -> Self {
        Self { connect, endpoints: endpoints.into_iter().collect() }
    }
}

impl<C: Connect> Calls for Direct<C> {
    async fn call(
        &self,
        place: usize,
        body: Bytes,
        patience: Duration,
    ) -> Result<HttpReply, CallError> {
        let endpoint = self.endpoints[place].clone();
        http::post(self.connect.clone(), endpoint, body, patience).await
    }
}
