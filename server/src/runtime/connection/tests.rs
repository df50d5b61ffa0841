//! One connection's tasks over a stream in memory: what they report, and when they end.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::*;

const CONN: ConnId = ConnId(7);
/// The time of a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection whose engine is the test. It holds every event against the contract of [`Event`]:
/// `(Received | Flushed)* Closed`, and no more flushed than was sent.
struct Watched<Io> {
    hold: Option<Hold>,
    inbox: mpsc::Receiver<Inbound<Io>>,
    miners: JoinSet<()>,
    sent: usize,
    flushed: usize,
    received: Vec<u8>,
    closed: bool,
}

impl<Io: AsyncRead + AsyncWrite + Unpin + Send + 'static> Watched<Io> {
    fn start(io: Io, inbox_events: usize) -> Self {
        let (inbox_in, inbox) = mpsc::channel(inbox_events);
        let mut miners = JoinSet::new();
        let hold = Some(start(io, CONN, &inbox_in, &mut miners));
        let received = Vec::new();
        Self { hold, inbox, miners, sent: 0, flushed: 0, received, closed: false }
    }

    fn send(&mut self, text: &str) {
        self.sent += text.len();
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        self.hold.as_ref().expect("not closed by us").send(bytes);
    }

    fn close(&mut self) {
        self.hold.take().expect("not closed by us").close();
    }

    /// Takes the next event; `false` when there will be none any more.
    async fn step(&mut self) -> bool {
        let next = timeout(PATIENCE, self.inbox.recv()).await.expect("something happens");
        let Some(inbound) = next else { return false };
        let Inbound::Event(event) = inbound else { panic!("a connection sends events") };
        assert!(!self.closed, "{event:?} after Closed");
        #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else there is")]
        match event {
            Event::Received { conn: CONN, bytes } => {
                assert!(!bytes.is_empty());
                self.received.extend(bytes);
            }
            Event::Flushed { conn: CONN, length } => {
                self.flushed += length;
                assert!(self.flushed <= self.sent, "more flushed than sent");
            }
            Event::Closed { conn: CONN } => self.closed = true,
            other => panic!("no event of this connection: {other:?}"),
        }
        true
    }

    async fn until(&mut self, reached: impl Fn(&Self) -> bool) {
        while !reached(self) {
            assert!(self.step().await, "it ended before");
        }
    }

    /// Takes every event that is left: one `Closed`, and nothing outlives it.
    async fn ends(mut self) -> Vec<u8> {
        while self.step().await {}
        assert!(self.closed, "no Closed");
        while self.miners.join_next().await.is_some() {}
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
    assert_eq!(hear(&mut miner).await, "because of this");
    assert_eq!(watched.ends().await, b"");
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
    let Watched { hold, inbox, mut miners, .. } = Watched::start(io, 1);
    drop(inbox);
    miner.write_all(b"anybody there?").await.expect("there is room");
    drop(hold);
    let ended = async { while miners.join_next().await.is_some() {} };
    timeout(PATIENCE, ended).await.expect("its tasks end");
}
