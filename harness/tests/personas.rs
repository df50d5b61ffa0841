//! Every family of miners over real sockets, each with its own habits: to an accepted share, and to
//! blocks of a simulated node's chain.

#![expect(clippy::unwrap_used, clippy::panic, reason = "whatever does not answer fails the test")]
#![expect(clippy::wildcard_enum_match_arm, reason = "most of what a miner hears is no concern")]

use std::time::Duration;

use harness::http::{NodeServer, SharedWorld, wall_clock};
use harness::sim::World;
use harness::stack::RunningServer;
use simminer::persona::{FAMILIES, Persona};
use simminer::runtime::{MinerEvent, Summary};
use tokio::sync::mpsc;
use tokio::time::timeout;

const EVENTS: usize = 10_000;
const PATIENCE: Duration = Duration::from_mins(1);

/// Mines until `family` has a block, and fails on the first thing that it finds strange.
async fn mine(server: &RunningServer, family: &str) -> Summary {
    let mut options = server.miner("worker.one").unwrap();
    options.client.persona = Persona::family(family).unwrap();
    options.client.suggest_difficulty = Some("0.00015".parse().unwrap());
    // Every second hash is a block here: without this it floods its own with rivals.
    options.client.persona.unanswered_max = 1;
    options.blocks = Some(1);
    options.retries = Some(0);
    let (told, mut heard) = mpsc::channel(EVENTS);
    let mining = tokio::spawn(simminer::runtime::run(options, told, std::future::pending()));
    while let Some(event) = timeout(PATIENCE, heard.recv()).await.unwrap() {
        match event {
            MinerEvent::Complaint(what) => panic!("{family}: {what}"),
            MinerEvent::OptionRefused { method, refusal } => {
                panic!("{family}: {method}: {refusal}")
            }
            MinerEvent::Disconnected { why } => panic!("{family}: {why}"),
            MinerEvent::Rejected { message, code, .. } => {
                panic!("{family}: a share was refused: {message} ({code:?})")
            }
            _ => {}
        }
    }
    mining.await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_family_finds_a_block() {
    let world = SharedWorld::new(World::new([], 1));
    let loopback = ([127, 0, 0, 1], 0).into();
    let node = NodeServer::start(world, loopback, None, wall_clock()).await.unwrap();
    let server = RunningServer::start(&[
        ("NETWORK", "regtest".to_owned()),
        ("RPC_PORT", node.address().port().to_string()),
        ("JOB_REFRESH_INTERVAL", "1".to_owned()),
    ])
    .await
    .unwrap();
    // Nobody is let in before there is work.
    let open = async {
        while tokio::net::TcpStream::connect(server.address()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, open).await.unwrap();
    for family in FAMILIES {
        let summary = mine(&server, family).await;
        assert_eq!((summary.blocks, summary.rejected), (1, 0), "{family}");
    }
    let counters = *server.counters().borrow();
    assert_eq!(counters.shares_rejected, 0);
    server.stop().await.unwrap();
}
