//! One connection's tasks over a stream in memory: what they report, and when they end.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::*;

/// The time of a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection whose engine is the test. It holds every event against the contract of [`Event`]:
/// `(Received | Flushed)* Closed`, and no more flushed than was sent.
struct Watched<Io> {
    connections: Connections<Io>,
    inbox: mpsc::Receiver<Inbound<Io>>,
    conn: ConnId,
    sent: usize,
    flushed: usize,
    received: Vec<u8>,
    closed: bool,
}

impl<Io: AsyncRead + AsyncWrite + Unpin + Send + 'static> Watched<Io> {
    fn start(io: Io, inbox_events: usize) -> Self {
        let (inbox_in, inbox) = mpsc::channel(inbox_events);
        let mut connections = Connections::new(inbox_in);
        let conn = connections.open(io);
        let received = Vec::new();
        Self { connections, inbox, conn, sent: 0, flushed: 0, received, closed: false }
    }

    fn send(&mut self, text: &str) {
        self.sent += text.len();
        self.connections.send(self.conn, Bytes::copy_from_slice(text.as_bytes()));
    }

    fn close(&mut self) {
        self.connections.close(self.conn);
    }

    /// Takes what comes next, an event or none.
    async fn step(&mut self) {
        assert!(!self.closed, "nothing is waited for after Closed");
        let mut event = self.connections.next_event();
        if event.is_none() {
            let next = timeout(PATIENCE, self.inbox.recv()).await.expect("something happens");
            let Some(Inbound::Miner(conn, report)) = next else { panic!("only miners report") };
            event = self.connections.hear(conn, report);
        }
        let Some(event) = event else { return };
        #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else there is")]
        match event {
            Event::Received { conn, bytes } if conn == self.conn => {
                assert!(!bytes.is_empty());
                self.received.extend(bytes);
            }
            Event::Flushed { conn, length } if conn == self.conn => {
                assert!(length > 0);
                self.flushed += length;
                assert!(self.flushed <= self.sent, "more flushed than sent");
            }
            Event::Closed { conn } if conn == self.conn => self.closed = true,
            other => panic!("no event of this connection: {other:?}"),
        }
    }

    async fn until(&mut self, reached: impl Fn(&Self) -> bool) {
        while !reached(self) {
            self.step().await;
        }
    }

    /// Takes every event that is left: one `Closed`, and nothing outlives it.
    async fn ends(mut self) -> Vec<u8> {
        self.until(|watched| watched.closed).await;
        assert!(self.connections.is_empty() && self.connections.next_event().is_none());
        let ended = async { while self.connections.tasks.join_next().await.is_some() {} };
        // What was on its way when it was cut off is not heard of any more.
        self.inbox.close();
        timeout(PATIENCE, ended).await.expect("its tasks end");
        while let Ok(Inbound::Miner(conn, report)) = self.inbox.try_recv() {
            assert!(self.connections.hear(conn, report).is_none(), "an event after Closed");
        }
        self.received
    }
}

async fn hear(io: &mut DuplexStream) -> String {
    let mut heard = String::new();
    let read = timeout(PATIENCE, io.read_to_string(&mut heard)).await.expect("it is hung up on");
    read.expect("a stream in memory does not break");
    heard
}

#[tokio::test]
async fn what_is_said_arrives_in_order_on_both_sides() {
    let (mut miner, io) = duplex(64);
    let mut watched = Watched::start(io, 1_024);
    let lines = |count| (0..count).map(|number| number.to_string() + "\n").collect::<String>();
    let (said, sent) = (lines(100), lines(900));
    for line in sent.split_inclusive('\n') {
        watched.send(line);
    }
    let (all, length) = (said.clone(), sent.len());
    let other_side = tokio::spawn(async move {
        miner.write_all(all.as_bytes()).await.expect("it is read");
        let mut heard = vec![0; length];
        miner.read_exact(&mut heard).await.expect("it is written");
        heard
    });
    watched.until(|watched| watched.flushed == length).await;
    assert_eq!(other_side.await.expect("no panic"), sent.as_bytes());
    // The other side is gone now.
    assert_eq!(watched.ends().await, said.as_bytes());
}

#[tokio::test]
async fn an_end_of_the_stream_closes_once_and_keeps_what_came_before() {
    // Half-closed: no more is said, but it would still listen.
    let (mut miner, io) = duplex(64);
    let watched = Watched::start(io, 1_024);
    miner.write_all(b"last words").await.expect("it is read");
    miner.shutdown().await.expect("a plain end");
    assert_eq!(watched.ends().await, b"last words");
    assert_eq!(hear(&mut miner).await, "");

    let (miner, io) = duplex(64);
    let mut watched = Watched::start(io, 1_024);
    drop(miner);
    watched.send("to nobody");
    watched.ends().await;
}

#[tokio::test]
async fn a_reset_closes_once() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address: SocketAddr = listener.local_addr().expect("it is bound");
    let miner = TcpStream::connect(address).await.expect("it listens");
    let (io, _) = listener.accept().await.expect("it connected");
    let mut watched = Watched::start(io, 1_024);
    watched.send("a job");
    watched.until(|watched| watched.flushed > 0).await;
    miner.readable().await.expect("it arrives");
    // Bytes that nobody read turn the end into a reset.
    drop(miner);
    watched.send("another");
    watched.ends().await;
}

#[tokio::test]
async fn a_close_leaves_last_words_and_hears_none() {
    let (mut miner, io) = duplex(8);
    let mut watched = Watched::start(io, 1_024);
    watched.send("because ");
    watched.send("of this");
    watched.close();
    miner.write_all(b"but").await.expect("there is room");
    let other_side = tokio::spawn(async move { hear(&mut miner).await });
    assert_eq!(watched.ends().await, b"");
    assert_eq!(other_side.await.expect("no panic"), "because of this");
}

#[tokio::test]
async fn a_close_does_not_wait_for_a_peer_that_does_not_read() {
    let (_deaf, io) = duplex(8);
    let mut watched = Watched::start(io, 1_024);
    watched.send("more than it has room for");
    let began = tokio::time::Instant::now();
    watched.close();
    watched.ends().await;
    assert!(began.elapsed() >= LAST_WORDS, "it has a moment");
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_cut_off_when_its_queue_is_full() {
    let (_deaf, io) = duplex(8);
    let mut watched = Watched::start(io, 1_024);
    // One batch may be with the writer, and one message more than fits behind it.
    for _ in 0..=OUTBOX_MESSAGES + BATCH {
        watched.send("a job for everybody");
    }
    watched.ends().await;
}

#[tokio::test]
async fn a_full_inbox_holds_the_reader_back_and_loses_nothing() {
    let (mut miner, io) = duplex(16);
    let watched = Watched::start(io, 1);
    let said: Vec<u8> = (0..10_000_u32).flat_map(u32::to_le_bytes).collect();
    let all = said.clone();
    let talking = tokio::spawn(async move { miner.write_all(&all).await });
    assert_eq!(watched.ends().await, said);
    talking.await.expect("no panic").expect("all of it was read");
}

#[tokio::test]
async fn a_crash_takes_the_connection_along() {
    let (mut miner, io) = duplex(64);
    let mut watched = Watched::start(io, 1_024);
    watched.send("hello");
    watched.until(|watched| watched.flushed == 5).await;
    drop(watched);
    assert_eq!(hear(&mut miner).await, "hello");
}

#[tokio::test]
async fn an_engine_that_ended_is_not_waited_for() {
    let (mut miner, io) = duplex(64);
    let Watched { mut connections, inbox, .. } = Watched::start(io, 1);
    drop(inbox);
    miner.write_all(b"anybody there?").await.expect("there is room");
    let ended = async { while connections.tasks.join_next().await.is_some() {} };
    timeout(PATIENCE, ended).await.expect("its tasks end");
}
