//! How long a bid takes from bitcoind's mempool to a job on a miner's wire.
//!
//! Printed with `cargo test -p harness --test bmm latency -- --nocapture`.

use std::time::Duration;

use bitcoin::BlockHash;
use harness::containers::wanted;
use harness::sim::sidechain::{HStar, m7_script};
use harness::stack::RunningServer;
use simminer::runtime::MinerEvent;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::network::{EVENTS, First, Network, PATIENCE, Way, h_star};

/// Bids a distribution is made of. Each pays more than the one before, so each must be seen.
const BIDS: u8 = 25;
/// So that bids come at any moment between two looks of the server, and not in step with them.
const PAUSES: [u64; 5] = [137, 419, 683, 251, 877];
const SLOT: u8 = 9;

/// With the node's word for it. By the issue of a bid that lives for one block of ten minutes.
const TOLD_MEDIAN_MAX: Duration = Duration::from_millis(250);
/// By asking alone, every second.
const ASKED_MAX: Duration = Duration::from_millis(1_500);

struct Distribution(Vec<Duration>);

impl Distribution {
    fn at(&self, percent: usize) -> Duration {
        self.0[(self.0.len() - 1) * percent / 100]
    }
}

/// Bids, one after another, on a server that has a job out.
async fn measure(way: Way, told: bool) -> Distribution {
    let mut network = Network::start().await;
    let mut settings = network.server_settings(way);
    if told {
        settings.push(("NODE_ZMQ", format!("tcp://{}", network.node.zmq_address())));
    }
    let server = RunningServer::start(&settings).await.unwrap();
    let mut watcher = server.miner("watcher").unwrap();
    watcher.threads = 0;
    let (sender, mut jobs) = mpsc::channel(EVENTS);
    tokio::spawn(simminer::runtime::run(watcher, sender, std::future::pending()));
    let tip = network.tip().await;
    until_job(&mut jobs, tip, None).await;
    let mut times = Vec::new();
    for number in 0..BIDS {
        sleep(Duration::from_millis(PAUSES[usize::from(number) % PAUSES.len()])).await;
        let fee = 1_000 + u64::from(number) * 100;
        let bid = First::Bid { slot: SLOT, h_star: h_star(number), parent: tip };
        let bid = network.signed_bid(bid, fee).await;
        // From before the node has it: it publishes the bid before it answers.
        let sent = Instant::now();
        let (arrival, ()) = tokio::join!(
            async {
                until_job(&mut jobs, tip, Some(h_star(number))).await;
                sent.elapsed()
            },
            network.broadcast(&bid),
        );
        times.push(arrival);
    }
    server.stop().await.unwrap();
    times.sort();
    Distribution(times)
}

/// Waits for a job for the child of `tip`, and one that commits to `h_star`. None but the first is
/// clean: what miners do stays good.
async fn until_job(jobs: &mut mpsc::Receiver<MinerEvent>, tip: BlockHash, h_star: Option<HStar>) {
    let came = async {
        loop {
            let event = jobs.recv().await.unwrap();
            let MinerEvent::Job { job, .. } = event else { continue };
            assert_eq!(job.previous_block, bitcoin::hashes::Hash::to_byte_array(tip));
            let Some(h_star) = h_star else { return };
            assert!(!job.clean, "a bid makes nobody's work void");
            let script = m7_script(SLOT, h_star).into_bytes();
            if job.coinbase2.windows(script.len()).any(|part| part == script) {
                return;
            }
        }
    };
    timeout(PATIENCE, came).await.unwrap();
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "the distribution is what people run this for")]
async fn latency_from_mempool_to_wire() {
    if !wanted("latency_from_mempool_to_wire").unwrap() {
        return;
    }
    println!("bid to wire, ms           min  median     p90     max");
    for (name, way, told) in [
        ("plain template, ZMQ", Way::Blind, true),
        ("plain template, asking", Way::Blind, false),
        ("enforcer, ZMQ", Way::Enforcer, true),
        ("enforcer, asking", Way::Enforcer, false),
    ] {
        let times = measure(way, told).await;
        let [least, median, most, last] = [0, 50, 90, 100].map(|at| times.at(at));
        let ms = |time: Duration| time.as_millis();
        println!("{name:22} {:6}  {:6}  {:6}  {:6}", ms(least), ms(median), ms(most), ms(last));
        if told {
            assert!(median <= TOLD_MEDIAN_MAX, "{name}: {:?}", times.0);
        } else {
            assert!(last <= ASKED_MAX, "{name}: {:?}", times.0);
        }
    }
}
