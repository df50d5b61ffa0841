//! The shell around the pool: real sockets, real files, a node of words on the other side.
//!
//! What no simulation of the core sees: who waits for whom, what a crash leaves on disk, what comes
//! out of one read, who is let go. Not here: what the pool decides, which its own tests cover.

#![cfg(feature = "runtime")]
#![expect(clippy::disallowed_methods, reason = "a test of the shell touches the machine")]
#![expect(clippy::expect_used, clippy::panic, reason = "what fails here fails its test")]

use std::fs;
use std::future;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::Pin;
use std::sync::mpsc::{Receiver, channel};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bitcoin::{Network, ScriptBuf};
use server::bmm::Slot;
use server::bmm::auction::Mode;
use server::bmm::wishes::Wishes;
use server::clock::UnixMillis;
use server::config::{Config, Engine, Limits, Miners, NodeRole, OwnSidechain, PortId};
use server::journal::{DiskOp, Recovered};
use server::pool::Counters;
use server::pool::action::Halt;
use server::runtime::disk::{Disk, DiskError};
use server::runtime::listener::{Listener, Visitor};
use server::runtime::{Direct, FileDisk, Parts, TcpConnector, TcpDoor, run};
use server::settings::{Credentials, RpcEndpoint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{oneshot, watch};

#[path = "support/crowd.rs"]
mod crowd;
#[path = "support/folder.rs"]
mod folder;
#[path = "support/miner.rs"]
#[expect(dead_code, reason = "operator.rs uses the rest")]
mod miner;
#[path = "support/node.rs"]
mod node;

use folder::Folder;
use miner::Miner;
use node::{Answer, H_STAR, Node, PATIENCE, refusal};

fn config() -> Config {
    Config {
        network: Network::Regtest,
        nodes: vec![NodeRole::Follow],
        payout: ScriptBuf::from_bytes(vec![0x51]),
        difficulty: "1".parse().expect("a difficulty"),
        refresh: Duration::from_secs(10),
        blind: Mode::On,
        empty_first: false,
        sidechains: Vec::new(),
        wishes: Wishes::default(),
        miners: Miners::default(),
        engine: Engine::ONLY,
        limits: Limits::default(),
    }
}

fn with_sidechain() -> Config {
    Config { sidechains: vec![OwnSidechain::new(Slot(9))], ..config() }
}

fn endpoint(port: u16) -> RpcEndpoint {
    RpcEndpoint { host: "127.0.0.1".to_owned(), port, credentials: Credentials::None }
}

/// A shell on threads of its own.
struct Server {
    runtime: Runtime,
    counters: watch::Receiver<Counters>,
    stop: oneshot::Sender<()>,
    ended: Receiver<Result<Halt, DiskError>>,
}

impl Server {
    /// Runs a shell with the parts that are not the same in every test.
    fn run<L: Listener, D: Disk>(config: Config, listener: L, disk: D, ports: &[u16]) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("threads are to be had");
        let (totals, counters) = watch::channel(Counters::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, ended) = channel();
        let calls = Direct::new(TcpConnector, ports.iter().copied().map(endpoint));
        let parts = Parts {
            config,
            listener,
            calls,
            told: tokio::sync::mpsc::channel(1).1,
            disk,
            counters: totals,
            witness: (),
        };
        runtime.spawn(async move {
            let stop = async {
                if stopped.await.is_err() {
                    future::pending::<()>().await;
                }
            };
            tell.send(run(parts, || UnixMillis(1_700_000_000_000), stop).await).unwrap_or_default();
        });
        Self { runtime, counters, stop, ended }
    }

    /// A shell over TCP and files, with a node and its sidechains' daemons.
    fn start(config: Config, folder: &Folder, ports: &[u16]) -> (Self, SocketAddr) {
        let disk = open(folder);
        let (door, address) = door(0);
        (Self::run(config, door, disk, ports), address)
    }

    /// Waits until the totals are as `wanted`.
    fn until(&mut self, wanted: impl FnMut(&Counters) -> bool) {
        let reached = self.runtime.block_on(async {
            let change = tokio::time::timeout(PATIENCE, self.counters.wait_for(wanted));
            change.await.map(|known| known.is_ok())
        });
        assert_eq!(reached, Ok(true), "{:?}", *self.counters.borrow());
    }

    /// A miner, once they are let in: that is right after the first job.
    fn miner(&mut self, address: SocketAddr) -> Miner {
        self.until(|known| known.jobs > 0);
        Miner::connect(address)
    }

    fn stop(self) -> Halt {
        self.stop.send(()).expect("it runs");
        ended(&self.ended)
    }

    /// What a crash does: nothing is finished, nobody is told.
    fn crash(self) {
        self.runtime.shutdown_background();
    }
}

fn ended(ended: &Receiver<Result<Halt, DiskError>>) -> Halt {
    ended.recv_timeout(PATIENCE).expect("it ends").expect("its disk was good at the start")
}

/// Opens the data directory; after a crash in this process, as soon as the dead let go of it.
fn open(folder: &Folder) -> FileDisk {
    let until = Instant::now() + PATIENCE;
    loop {
        match FileDisk::open(folder.path()) {
            Err(DiskError::InUse(_)) if Instant::now() < until => std::thread::yield_now(),
            disk => return disk.expect("the folder is ours"),
        }
    }
}

fn door(port: u16) -> (TcpDoor, SocketAddr) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let door = runtime.block_on(TcpDoor::bind("127.0.0.1", port)).expect("the port is free");
    let address = door.address().expect("it is bound");
    (door, address)
}

fn block(hex: &serde_json::Value) -> bitcoin::Block {
    let hex = hex.as_str().expect("a block is a string");
    bitcoin::consensus::encode::deserialize_hex(hex).expect("a whole block")
}

#[test]
fn a_block_goes_from_a_miner_to_the_node_while_a_long_poll_is_parked() {
    let (node, folder) = (Node::start(), Folder::of("block"));
    let (mut server, address) = Server::start(config(), &folder, &[node.port()]);
    let mut miner = server.miner(address);
    assert_eq!(node.called("getblocktemplate")["longpollid"], serde_json::Value::Null);
    assert!(node.called("getblocktemplate")["longpollid"].is_string(), "parked from here on");
    for height in 101..104 {
        let id = miner.submit_block();
        miner.accepted(id);
        let block = block(&node.called("submitblock"));
        assert!(block.check_merkle_root() && block.check_witness_commitment());
        assert!(block.header.validate_pow(block.header.target()).is_ok());
        assert_eq!(block.bip34_block_height(), Ok(height));
        miner.next_tip();
    }
    server.until(|known| known.blocks_accepted == 3);
    assert_eq!(server.stop(), Halt::Stopped);
    assert_eq!(folder.blocks("blocks/accepted").len(), 3);
    assert_eq!(folder.blocks("blocks"), [""; 0]);
}

#[test]
fn the_sidechains_hash_is_in_the_next_job() {
    let (node, daemon, folder) = (Node::start(), Node::start(), Folder::of("own"));
    let ports = [node.port(), daemon.port()];
    let (mut server, address) = Server::start(with_sidechain(), &folder, &ports);
    let miner = server.miner(address);
    assert!(miner.coinbase_has(&format!("6a25d161736809{H_STAR}")));
    assert_eq!(server.stop(), Halt::Stopped);
}

/// The `true` that a miner hears means: this block survives whatever happens next.
#[test]
fn a_found_block_is_on_disk_before_the_reply_and_outlives_a_crash() {
    let (node, folder) = (Node::start(), Folder::of("crash"));
    node.always("submitblock", Answer::Silence);
    let (mut server, address) = Server::start(config(), &folder, &[node.port()]);
    let mut miner = server.miner(address);
    assert_eq!(miner.generation(), 1);
    let id = miner.submit_block();
    miner.accepted(id);
    let files = folder.blocks("blocks");
    assert_eq!(files.len(), 1, "{files:?}");
    let first = node.called("submitblock");
    let text = fs::read_to_string(folder.path().join("blocks").join(&files[0]));
    assert_eq!(Some(text.expect("readable").as_str()), first.as_str());
    server.crash();
    assert!(miner.hear().is_none(), "a crash takes its connections along");

    let (mut server, address) = Server::start(config(), &folder, &[node.port()]);
    assert_eq!(node.called("submitblock"), first, "offered again");
    let miner = server.miner(address);
    assert_eq!(miner.generation(), 2);
    server.crash();

    // What a node says that was asked before it was ready is no verdict.
    let answers = [refusal(-28, "Loading"), Answer::Raw(""), Answer::Http(503, "busy".to_owned())];
    node.next("submitblock", answers);
    let (mut server, _) = Server::start(config(), &folder, &[node.port()]);
    server.until(|known| known.blocks_accepted == 1);
    assert_eq!(server.stop(), Halt::Stopped);
    assert_eq!(folder.blocks("blocks/accepted"), files);
}

#[test]
fn a_stop_lets_go_of_everything() {
    let (node, folder) = (Node::start(), Folder::of("again"));
    let (mut server, address) = Server::start(config(), &folder, &[node.port()]);
    let mut miner = server.miner(address);
    assert_eq!(server.stop(), Halt::Stopped);
    while miner.hear().is_some() {}
    node.hung_up("getblocktemplate");
    // Now, and not soon: port and data directory are free.
    let listener = StdListener::bind(address).expect("the port is free");
    drop(listener);
    let disk = FileDisk::open(folder.path()).expect("the data directory is free");
    let (door, address) = door(address.port());
    let mut server = Server::run(config(), door, disk, &[node.port()]);
    assert_eq!(server.miner(address).generation(), 2);
    assert_eq!(server.stop(), Halt::Stopped);
}

#[test]
fn replies_to_one_segment_come_in_one_read() {
    let (node, folder) = (Node::start(), Folder::of("pipeline"));
    let (mut server, address) = Server::start(config(), &folder, &[node.port()]);
    let mut miner = server.miner(address);
    let lines = |rest: &str| {
        let each = (10..40).map(|id| format!("{{\"id\":{id},{rest}}}\n"));
        each.collect::<Vec<_>>().concat()
    };
    let requests = lines("\"method\":\"mining.ping\",\"params\":[]");
    assert_eq!(miner.exchange(&requests), lines("\"result\":\"pong\",\"error\":null"));
    assert_eq!(server.stop(), Halt::Stopped);
}

#[test]
fn connections_that_end_in_any_way_are_forgotten_once() {
    let (node, folder) = (Node::start(), Folder::of("ends"));
    let (mut server, address) = Server::start(config(), &folder, &[node.port()]);
    let mut staying = server.miner(address);
    server.until(|known| known.sessions == 1);
    let half_closed = Miner::connect(address);
    half_closed.half_close();
    // With a job unread in its buffer, closing is a reset.
    let reset = Miner::connect(address);
    node.new_tip();
    staying.next_tip();
    drop(reset);
    let mut garbage = Miner::connect(address);
    garbage.say(&"GET / HTTP/1.1\r\n".repeat(8));
    while garbage.hear().is_some() {}
    drop(Miner::connect(address));
    // The pool asserts that each closes once; that it ends well shows that each did.
    server.until(|known| known.sessions == 1);
    drop(half_closed);
    assert_eq!(server.stop(), Halt::Stopped);
}

/// A door whose miners have the smallest buffers that the system gives.
struct Narrow(Option<tokio::net::TcpSocket>, Option<tokio::net::TcpListener>);

impl Listener for Narrow {
    type Io = tokio::net::TcpStream;

    async fn accept(&mut self) -> io::Result<Visitor<Self::Io>> {
        if let Some(socket) = self.0.take() {
            self.1 = Some(socket.listen(16)?);
        }
        match &self.1 {
            Some(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((stream, peer, PortId(0)))
            }
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

#[test]
fn a_miner_that_does_not_read_is_cut_off_and_the_others_go_on() {
    let (node, folder) = (Node::start(), Folder::of("slow"));
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.set_send_buffer_size(1).expect("a plain option");
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    let address = socket.local_addr().expect("it is bound");
    let narrow = Narrow(Some(socket), None);
    let mut config = config();
    config.limits.outbox_bytes = 8 * 1024;
    let mut server = Server::run(config, narrow, open(&folder), &[node.port()]);
    let mut reading = server.miner(address);
    let mut deaf = Miner::connect(address);
    server.until(|known| known.sessions == 2);
    // Its own buffer takes some of it, so it asks for more than that.
    let ping = "{\"id\":7,\"method\":\"mining.ping\"}\n".repeat(1_000);
    let mut tries = 0;
    while server.counters.borrow().sessions == 2 && tries < 10_000 {
        tries += 1;
        if !deaf.try_say(&ping) {
            break;
        }
    }
    server.until(|known| known.sessions == 1);
    node.new_tip();
    reading.next_tip();
    let id = reading.submit_block();
    reading.accepted(id);
    assert_eq!(server.stop(), Halt::Stopped);
}

#[test]
fn a_call_that_a_new_tip_overtook_is_let_go() {
    let (node, daemon, folder) = (Node::start(), Node::start(), Folder::of("cancel"));
    daemon.always("getbestblockhash", Answer::Silence);
    let ports = [node.port(), daemon.port()];
    let (mut server, address) = Server::start(with_sidechain(), &folder, &ports);
    let mut miner = server.miner(address);
    assert!(miner.coinbase_has(&format!("6a25d161736809{}", "00".repeat(32))), "zeroed meanwhile");
    daemon.called("getbestblockhash");
    node.new_tip();
    daemon.hung_up("getbestblockhash");
    miner.next_tip();
    assert_eq!(server.stop(), Halt::Stopped);
}

#[test]
fn what_is_no_template_keeps_the_last_job_and_is_asked_again() {
    let nonsense = [
        Answer::Http(200, "<html>hello</html>".to_owned()),
        Answer::Http(200, "{\"result\":{\"version\":5".to_owned()),
        Answer::Http(200, "{\"result\":{},\"id\":1}".to_owned()),
        Answer::Http(500, "Internal Server Error".to_owned()),
        Answer::Raw("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{\"result\":"),
        Answer::Raw(""),
        Answer::Raw("SSH-2.0-OpenSSH_9.2\r\n"),
    ];
    let (node, folder) = (Node::start(), Folder::of("nonsense"));
    let (mut server, address) = Server::start(config(), &folder, &[node.port()]);
    let mut miner = server.miner(address);
    for answer in nonsense {
        // The answer to the parked poll, and that to the question after it.
        node.next("getblocktemplate", [answer.clone(), answer]);
        node.new_tip();
        miner.next_tip();
        let id = miner.submit_block();
        miner.accepted(id);
        miner.next_tip();
    }
    server.until(|known| known.blocks_accepted == 7);
    assert_eq!(server.stop(), Halt::Stopped);
}

/// A disk that never says whether anything is safe.
struct Hanging(Receiver<()>);

impl Disk for Hanging {
    fn recover(&mut self) -> Result<Recovered, DiskError> {
        Ok(Recovered::default())
    }

    fn perform(&mut self, op: &DiskOp) -> Result<(), DiskError> {
        if matches!(op, DiskOp::PutBlock(_)) {
            // Until the test ends.
            self.0.recv().unwrap_or_default();
        }
        Ok(())
    }
}

#[test]
fn a_disk_that_hangs_stops_neither_a_block_nor_a_stop() {
    let node = Node::start();
    let (_until_the_end, hangs) = channel();
    let (door, address) = door(0);
    let mut config = config();
    config.limits.stop_patience = Duration::from_millis(10);
    let mut server = Server::run(config, door, Hanging(hangs), &[node.port()]);
    let mut miner = server.miner(address);
    let id = miner.submit_block();
    miner.accepted(id);
    node.called("submitblock");
    assert_eq!(server.stop(), Halt::Stopped);
}

#[test]
fn a_disk_that_refuses_the_generation_ends_it() {
    let (node, folder) = (Node::start(), Folder::of("refuses"));
    let disk = open(&folder);
    // Nothing can be renamed onto a folder.
    fs::create_dir_all(folder.path().join("generation/x")).expect("the folder is ours");
    let (door, _) = door(0);
    let server = Server::run(config(), door, Unread(disk), &[node.port()]);
    let Halt::Fatal(why) = ended(&server.ended) else { panic!("it cannot go on") };
    assert!(why.contains("DATA_DIR"), "{why}");
}

/// A disk whose past is not looked at.
struct Unread(FileDisk);

impl Disk for Unread {
    fn recover(&mut self) -> Result<Recovered, DiskError> {
        Ok(Recovered::default())
    }

    fn perform(&mut self, op: &DiskOp) -> Result<(), DiskError> {
        self.0.perform(op)
    }
}

/// A miner that always has more to say, and swallows whatever it hears.
struct Chatterbox;

impl AsyncRead for Chatterbox {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let line = b"{\"id\":1,\"method\":\"mining.ping\"}\n";
        into.put_slice(&line[..line.len().min(into.remaining())]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Chatterbox {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(from.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// So many of them, then no more.
struct Chatterboxes(u16);

impl Listener for Chatterboxes {
    type Io = Chatterbox;

    async fn accept(&mut self) -> io::Result<Visitor<Chatterbox>> {
        if self.0 == 0 {
            future::pending::<()>().await;
        }
        self.0 -= 1;
        Ok((Chatterbox, SocketAddr::from(([127, 0, 0, 1], self.0)), PortId(0)))
    }
}

/// A job that waits for a sidechain is published by the clock, however busy the inbox is.
#[test]
fn talkative_miners_do_not_stop_the_clock() {
    let (node, daemon, folder) = (Node::start(), Node::start(), Folder::of("chatter"));
    daemon.always("getbestblockhash", Answer::Silence);
    let ports = [node.port(), daemon.port()];
    let mut config = with_sidechain();
    // The daemon's time-out must not do the clock's work.
    config.limits.call_patience = PATIENCE * 2;
    let mut server = Server::run(config, Chatterboxes(64), open(&folder), &ports);
    server.until(|known| known.sessions == 64);
    let jobs = server.counters.borrow().jobs;
    node.new_tip();
    server.until(|known| known.jobs > jobs);
    assert_eq!(server.stop(), Halt::Stopped);
}

/// A door that breaks.
struct Broken;

impl Listener for Broken {
    type Io = Chatterbox;

    async fn accept(&mut self) -> io::Result<Visitor<Chatterbox>> {
        Err(io::Error::new(io::ErrorKind::AddrInUse, "[::1]:3333: in use"))
    }
}

#[test]
fn a_door_that_does_not_open_ends_it() {
    let (node, folder) = (Node::start(), Folder::of("door"));
    let server = Server::run(config(), Broken, open(&folder), &[node.port()]);
    let Halt::Fatal(why) = ended(&server.ended) else { panic!("it cannot go on") };
    assert!(why.contains("[::1]:3333: in use") && why.contains("STRATUM_PORT"), "{why}");
}
