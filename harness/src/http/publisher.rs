//! What the simulated node publishes unasked (bitcoind's ZMQ topic `hashblock`), on a port.

use std::net::{Ipv4Addr, SocketAddr};

use bitcoin::hashes::Hash as _;
use bytes::Bytes;
use tokio::sync::broadcast;
use tokio::task::AbortHandle;
use zeromq::{Endpoint, PubSocket, Socket as _, SocketSend as _, ZmqError, ZmqMessage};

use super::SharedWorld;
use crate::sim::WorldEvent;

/// Publishes the tips of a shared world. Dropping it closes the port.
#[derive(Debug)]
pub struct Publisher {
    address: SocketAddr,
    task: AbortHandle,
}

impl Publisher {
    /// Publishes on a free port of loopback.
    pub async fn start(world: &SharedWorld) -> Result<Self, ZmqError> {
        let mut socket = PubSocket::new();
        let bound = socket.bind("tcp://127.0.0.1:0").await?;
        let Endpoint::Tcp(_, port) = bound else {
            return Err(ZmqError::Other("bound to no TCP port"));
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let task = tokio::spawn(publish(socket, world.subscribe())).abort_handle();
        Ok(Self { address, task })
    }

    /// Where to subscribe.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A message has the topic, the hash as it is shown, and a running number.
async fn publish(mut socket: PubSocket, mut events: broadcast::Receiver<WorldEvent>) {
    let mut number: u32 = 0;
    loop {
        let tip = match events.recv().await {
            Ok(WorldEvent::TipChanged { hash, .. }) => hash,
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => continue,
            Err(broadcast::error::RecvError::Closed) => return,
        };
        let mut hash = tip.to_byte_array();
        hash.reverse();
        let mut message = ZmqMessage::from("hashblock");
        message.push_back(Bytes::copy_from_slice(&hash));
        message.push_back(Bytes::copy_from_slice(&number.to_le_bytes()));
        number = number.wrapping_add(1);
        // Nobody who could hear of an error here would do anything about it.
        drop(socket.send(message).await);
    }
}
