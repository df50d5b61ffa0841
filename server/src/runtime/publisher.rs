//! Listens to what the node publishes by ZMQ, and passes it on to the pool.
//!
//! Notices save waiting and nothing depends on them: whoever cannot be reached is tried again, and
//! the pool goes on asking in turn.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};
use zeromq::{Socket as _, SocketRecv as _, SubSocket, ZmqError, ZmqMessage};

use crate::node::notice::TOPICS;
use crate::pool::event::Event;

/// How long one attempt to connect may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// Pause before the next attempt.
const CONNECT_PAUSE: Duration = Duration::from_secs(2);

/// Passes on what the node at this place publishes at `address` (`tcp://host:port`), for as long as
/// anybody hears it.
pub(super) async fn listen(node: usize, address: String, told: mpsc::Sender<Event>) {
    // Whether the operator heard that nothing is heard.
    let mut said = false;
    while !told.is_closed() {
        let error = match subscribed(&address).await {
            Ok(mut socket) => {
                said = false;
                info!(address, "hears what the node publishes");
                pass_on(node, &mut socket, &told).await
            }
            Err(error) => error,
        };
        if !said {
            warn!(
                address,
                "does not hear what the node publishes: {error}; bids and tips are found by \
                 asking, a second later at most; check NODE_ZMQ and the node's zmqpubhashblock and \
                 zmqpubsequence"
            );
        }
        said = true;
        sleep_until(Instant::now() + CONNECT_PAUSE).await;
    }
}

/// Subscribes to what [`listen`] passes on.
pub(crate) async fn subscribed(address: &str) -> Result<SubSocket, ZmqError> {
    let mut socket = SubSocket::new();
    for topic in TOPICS {
        socket.subscribe(topic).await?;
    }
    let connected = timeout(CONNECT_PATIENCE, socket.connect(address)).await;
    connected.unwrap_or(Err(ZmqError::Other("no answer in time")))?;
    Ok(socket)
}

/// Ends with the connection's error, or when nobody hears of it any more.
async fn pass_on(node: usize, socket: &mut SubSocket, told: &mpsc::Sender<Event>) -> ZmqError {
    loop {
        let event = match socket.recv().await {
            Ok(message) => event(node, &message),
            Err(error) => return error,
        };
        let Some(event) = event else { continue };
        if told.send(event).await.is_err() {
            return ZmqError::Other("the server stops");
        }
    }
}

/// A message has the topic, the body and a running number.
fn event(node: usize, message: &ZmqMessage) -> Option<Event> {
    let (topic, body) = (message.get(0)?.clone(), message.get(1)?.clone());
    Some(Event::Notified { node, topic, body })
}
