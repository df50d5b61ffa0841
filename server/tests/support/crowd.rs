//! A thousand miners over real sockets, and one among them that never reads.
//!
//! What it must not cost the others: a new tip reaches each of them as soon as it did before, the
//! deaf one is let go, and everything that it held with it. Not here: how fast that is on an idle
//! machine, which `benches` measures.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use server::clock::UnixTime;
use server::config::{Config, Limits};
use server::pool::Counters;
use server::runtime::{FileDisk, Parts, TcpConnector, TcpDoor, run};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::{Barrier, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::folder::Folder;
use super::node::{Node, PATIENCE};
use super::{config, endpoint};

const MINERS: usize = 1_000;
const TIPS: usize = 5;

const HELLO: &str = "{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"crowd/1\"]}\n\
                     {\"id\":2,\"method\":\"mining.authorize\",\"params\":[\"w\",\"x\"]}\n";

/// Says hello, then reports each clean job with the time at which it came.
async fn mine(server: SocketAddr, ready: Arc<Barrier>, jobs: mpsc::Sender<Instant>) {
    let mut stream = TcpStream::connect(server).await.expect("the server listens");
    stream.write_all(HELLO.as_bytes()).await.expect("it reads");
    let mut lines = BufReader::new(stream).lines();
    let mut is_first = true;
    while let Ok(Some(line)) = lines.next_line().await {
        if !line.contains("mining.notify\",\"params") || !line.ends_with("true]}") {
            continue;
        }
        if core::mem::take(&mut is_first) {
            ready.wait().await;
        } else {
            jobs.send(Instant::now()).await.unwrap_or_default();
        }
    }
}

/// How long each tip took to reach the last of them, in order.
async fn spread(node: &Node, heard: &mut mpsc::Receiver<Instant>) -> Vec<Duration> {
    let mut each = Vec::new();
    for _ in 0..TIPS {
        let start = Instant::now();
        tokio::task::block_in_place(|| node.new_tip());
        let mut last = start;
        for _ in 0..MINERS {
            let job = timeout(PATIENCE, heard.recv()).await.expect("everybody hears");
            last = last.max(job.expect("somebody mines"));
        }
        each.push(last - start);
    }
    each.sort_unstable();
    each
}

#[expect(clippy::print_stdout, reason = "what was measured")]
async fn crowd(node: &Node, server: SocketAddr, mut counters: watch::Receiver<Counters>) {
    let ready = Arc::new(Barrier::new(MINERS + 1));
    let (jobs, mut heard) = mpsc::channel(MINERS);
    let mut miners = JoinSet::new();
    for _ in 0..MINERS {
        miners.spawn(mine(server, Arc::clone(&ready), jobs.clone()));
    }
    timeout(PATIENCE, ready.wait()).await.expect("everybody has work");
    let before = spread(node, &mut heard).await;

    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(1).expect("a plain option");
    let mut deaf = socket.connect(server).await.expect("the server listens");
    deaf.write_all(HELLO.as_bytes()).await.expect("it reads");
    let pings = "{\"id\":7,\"method\":\"mining.ping\"}\n".repeat(1_000);
    let shouting = tokio::spawn(async move {
        // Until it is let go: buffers of the system take some of it first.
        while deaf.write_all(pings.as_bytes()).await.is_ok() {}
    });
    let during = spread(node, &mut heard).await;
    let gone = counters.wait_for(|known| known.sessions == MINERS as u64);
    timeout(PATIENCE, gone).await.expect("the deaf one is let go").expect("it runs");
    shouting.await.expect("no panic");
    let after = spread(node, &mut heard).await;
    println!("last of {MINERS} hears of a tip: {before:?}, then {during:?}, then {after:?}");
    // Wide, for other tests run beside it; a server that waits for the deaf one takes for ever.
    let most = 5 * before[TIPS / 2] + Duration::from_millis(500);
    assert!(during[TIPS / 2] < most && after[TIPS / 2] < most, "{before:?} {during:?} {after:?}");
    miners.shutdown().await;
    let gone = counters.wait_for(|known| known.sessions == 0);
    timeout(PATIENCE, gone).await.expect("all are gone").expect("it runs");
}

#[test]
fn one_that_never_reads_costs_a_thousand_others_nothing() {
    let (node, folder) = (Node::start(), Folder::of("crowd"));
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("threads are to be had");
    runtime.block_on(async {
        let listener = TcpDoor::bind("127.0.0.1", 0).await.expect("a free port");
        let address = listener.address().expect("it is bound");
        let (totals, mut counters) = watch::channel(Counters::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let endpoints = vec![endpoint(node.port())];
        let disk = FileDisk::open(folder.path()).expect("the folder is ours");
        let limits = Limits { outbox_bytes: 64 * 1024, ..Limits::default() };
        let (config, connect) = (Config { limits, ..config() }, TcpConnector);
        let (publishers, counters_in, witness) = (Vec::new(), totals, ());
        let parts = Parts {
            config,
            listener,
            connect,
            endpoints,
            publishers,
            disk,
            counters: counters_in,
            witness,
        };
        let stop_asked = async { stopped.await.unwrap_or_default() };
        let server = tokio::spawn(run(parts, || UnixTime(1_700_000_000), stop_asked));
        let open = counters.wait_for(|known| known.jobs > 0);
        timeout(PATIENCE, open).await.expect("it opens").expect("it runs");
        // The door opens right after the first job.
        while TcpStream::connect(address).await.is_err() {
            tokio::task::yield_now().await;
        }
        crowd(&node, address, counters).await;
        stop.send(()).expect("it runs");
        server.await.expect("no panic").expect("its disk was good");
    });
}
