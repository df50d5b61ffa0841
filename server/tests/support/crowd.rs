//! A thousand miners over real sockets, and one among them that never reads.
//!
//! What it must not cost the others: a new tip reaches each of them as soon as it did before, the
//! deaf one is let go, and everything that it held with it. Not here: how fast that is on an idle
//! machine, which `benches` measures.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use server::config::{Config, Limits};
use server::pool::Counters;
use server::pool::action::Halt;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Barrier, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::folder::Folder;
use super::node::{Node, PATIENCE};
use super::{Server, config};

const MINERS: usize = 1_000;
const TIPS: usize = 5;
/// What may be on its way to a miner that does not read.
const OUTBOX_BYTES: usize = 4 * 1024 * 1024;
/// Deaf miners, one after the other.
const DEAF: usize = 10;
/// After so many of them the allocator has all that one needs, and keeps it for the next.
const DEAF_BEFORE: usize = 3;
/// More than the rest of this process, other tests included, makes of ups and downs; half of what
/// the later ones would hold together if nothing of theirs were let go.
const NOISE_KIB: u64 = ((DEAF - DEAF_BEFORE) * OUTBOX_BYTES / 2 / 1024) as u64;

const HELLO: &str = "{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"crowd/1\"]}\n\
                     {\"id\":2,\"method\":\"mining.authorize\",\"params\":[\"w\",\"x\"]}\n";

/// What this process has in memory.
fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux says it there");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it says that");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

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

/// Asks and never reads, in lines of `id_bytes` that are answered with as many, until it is let go.
async fn ask_and_never_read(server: SocketAddr, id_bytes: usize) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(1).expect("a plain option");
    let mut deaf = socket.connect(server).await.expect("the server listens");
    deaf.write_all(HELLO.as_bytes()).await.expect("it reads");
    let ping = format!("{{\"id\":\"{}\",\"method\":\"mining.ping\"}}\n", "7".repeat(id_bytes));
    let pings = ping.repeat(32 * 1024 / ping.len());
    // Buffers of the system take some of it first.
    while deaf.write_all(pings.as_bytes()).await.is_ok() {}
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
    let kib_before = resident_kib();

    let shouting = tokio::spawn(ask_and_never_read(server, 64));
    let during = spread(node, &mut heard).await;
    let kib_during = resident_kib();
    timeout(PATIENCE, shouting).await.expect("the deaf one is let go").expect("no panic");
    let alone = counters.wait_for(|known| known.sessions == MINERS as u64);
    timeout(PATIENCE, alone).await.expect("it is counted out").expect("it runs");
    let after = spread(node, &mut heard).await;
    println!("last of {MINERS} hears of a tip: {before:?}, then {during:?}, then {after:?}");
    // Wide, for other tests run beside it; a server that waits for the deaf one takes for ever.
    let most = 5 * before[TIPS / 2] + Duration::from_millis(500);
    assert!(during[TIPS / 2] < most && after[TIPS / 2] < most, "{before:?} {during:?} {after:?}");

    let mut kib_after = vec![resident_kib()];
    for _ in 1..DEAF {
        let asking = ask_and_never_read(server, 8 * 1024);
        timeout(PATIENCE, asking).await.expect("each deaf one is let go");
        kib_after.push(resident_kib());
    }
    println!(
        "KiB in memory before a deaf miner {kib_before}, with it {kib_during}, after it and each \
         of the next {kib_after:?}"
    );
    let most = kib_after[DEAF_BEFORE - 1] + NOISE_KIB;
    assert!(kib_after[DEAF - 1] < most, "what the deaf held was not let go: {kib_after:?}");
    miners.shutdown().await;
    let gone = counters.wait_for(|known| known.sessions == 0);
    timeout(PATIENCE, gone).await.expect("all are gone").expect("it runs");
}

#[test]
fn one_that_never_reads_costs_a_thousand_others_nothing() {
    let (node, folder) = (Node::start(), Folder::of("crowd"));
    let limits = Limits { outbox_bytes: OUTBOX_BYTES, ..Limits::default() };
    let config = Config { limits, ..config() };
    let (mut server, address) = Server::start(config, &folder, &[node.port()]);
    // The door opens right after the first job.
    drop(server.miner(address));
    server.until(|known| known.sessions == 0);
    let counters = server.counters.clone();
    server.runtime.block_on(crowd(&node, address, counters));
    assert_eq!(server.stop(), Halt::Stopped);
}
