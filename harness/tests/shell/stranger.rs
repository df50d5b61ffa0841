//! A miner that does not behave: it opens a session by hand, then leaves what it is sent unread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;
use turmoil::net::TcpStream;

const OPENING: &[u8] = b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n\
    {\"id\":2,\"method\":\"mining.authorize\",\"params\":[\"w\",\"x\"]}\n";

/// The hold on it.
#[derive(Clone, Default)]
pub(crate) struct Leash {
    is_in: Arc<AtomicBool>,
    reset: Arc<Notify>,
}

impl Leash {
    /// It was answered.
    pub(crate) fn is_in(&self) -> bool {
        self.is_in.load(Ordering::Relaxed)
    }

    /// Lets it drop its connection with bytes unread, which is a reset.
    pub(crate) fn reset(&self) {
        self.reset.notify_one();
    }

    pub(crate) async fn run(self, host: &str, port: u16) -> turmoil::Result {
        let mut stream = TcpStream::connect((host, port)).await?;
        stream.write_all(OPENING).await?;
        // The answer to the first request; everything after it stays unread.
        stream.read_exact(&mut [0; 16]).await?;
        self.is_in.store(true, Ordering::Relaxed);
        self.reset.notified().await;
        drop(stream);
        Ok(())
    }
}
