//! What a node says of itself beside its chain, for whoever looks whether all is as it should be.

use serde::Deserialize;

use super::{CallError, HttpReply, RpcError, read};

/// What `getnetworkinfo` tells us.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct NetworkInfo {
    /// Name and version, such as `/Satoshi:29.0.0/`.
    pub subversion: String,
    /// Peers it is connected to.
    pub connections: u32,
}

/// Reads a reply to `getnetworkinfo`.
pub fn network_info(reply: &Result<HttpReply, CallError>) -> Result<NetworkInfo, RpcError> {
    read(reply)
}

/// One publisher that `getzmqnotifications` tells of.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Publisher {
    /// What it publishes, such as `pubhashblock`.
    #[serde(rename = "type")]
    pub topic: String,
    /// Where, as the node was told: `tcp://0.0.0.0:28332` is every address that it has.
    pub address: String,
}

/// Reads a reply to `getzmqnotifications`.
pub fn publishers(reply: &Result<HttpReply, CallError>) -> Result<Vec<Publisher>, RpcError> {
    read(reply)
}
