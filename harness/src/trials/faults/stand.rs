//! A server, its nodes and a miner, for one case.

use std::collections::BTreeMap;
use std::time::Duration;

use bitcoin::BlockHash;
use server::pool::Counters;
use tokio::time::Instant;

use super::super::chain::{Standing, standings};
use super::super::crew::Crew;
use super::super::proxy::Proxy;
use super::super::relay::Relay;
use super::super::shelves::{self, Shelf};
use super::super::witness::{Progress, Testimony};
use super::super::{TrialError, machine};
use super::row::{Row, Seen};
use super::{Case, FaultOptions, Peer, Tips};
use crate::containers::{RPC_PASSWORD, RPC_USER};
use crate::rpc::RpcFailure;
use crate::stack::RunningServer;

/// Shares a second of the miner; on regtest each is a block.
const RATE: f64 = 6.0;
/// Blocks before the first fault, and after the last.
const BLOCKS: usize = 2;
/// By how many blocks one chain is longer than the other. More than the miner finds on the wrong
/// one until its server has noticed.
const AHEAD: u32 = 100;
/// How long a server may come to leave a node for another, which it does after two seconds.
const TWO_NODES: Duration = Duration::from_secs(4);
/// How long anything may take that has to come.
const PATIENCE: Duration = Duration::from_secs(90);
/// Between two looks.
const POLL: Duration = Duration::from_millis(100);

pub(super) struct Stand<'a> {
    nodes: Vec<&'a Peer>,
    proxy: Proxy,
    server: RunningServer,
    relay: Relay,
}

impl<'a> Stand<'a> {
    pub(super) async fn start(
        first: &'a Peer,
        second: Option<&'a Peer>,
        case: &Case,
    ) -> Result<Self, TrialError> {
        let second = second.filter(|_| case.tips != Tips::One);
        let nodes: Vec<&Peer> = [first].into_iter().chain(second).collect();
        part(&nodes, case.tips).await?;
        let node = first.node.rpc_address();
        let proxy = Proxy::start(node).await.map_err(machine("proxy the node"))?;
        let settings = [
            ("NETWORK", "regtest".to_owned()),
            ("RPC_PORT", proxy.address().port().to_string()),
            ("RPC_USER", RPC_USER.to_owned()),
            ("RPC_PASSWORD", RPC_PASSWORD.to_owned()),
            ("PAYOUT_ADDRESS", first.payout.to_string()),
            ("JOB_REFRESH_INTERVAL", "1".to_owned()),
            ("VARDIFF", "off".to_owned()),
        ];
        let file = second.map(|peer| {
            let port = peer.node.rpc_address().port();
            format!("[[node]]\nport = {port}\nuser = '{RPC_USER}'\npassword = '{RPC_PASSWORD}'\n")
        });
        let file = file.unwrap_or_default();
        let server = RunningServer::start_with_file(&settings, &file).await?;
        let relay = Relay::start(server.address()).await.map_err(machine("relay the miners"))?;
        Ok(Self { nodes, proxy, server, relay })
    }

    /// Mines through the case's faults, lets all become well again, and says what came of it.
    pub(super) async fn run(self, options: FaultOptions, case: &Case) -> Result<Row, TrialError> {
        let started = Instant::now();
        let crew = Crew::start(self.relay.address(), 1, RATE);
        self.blocks(BLOCKS).await?;
        self.proxy.plan(&case.faults);
        let mut poll = tokio::time::interval(POLL);
        while self.proxy.outstanding() > 0 {
            poll.tick().await;
            if started.elapsed() > PATIENCE {
                return Err(stuck(format!("{} faults to be met", self.proxy.outstanding())));
            }
        }
        match case.tips {
            Tips::One => {}
            Tips::SecondAhead => self.failover().await?,
            Tips::Level | Tips::SecondBehind => {
                drop(tokio::time::timeout(TWO_NODES, std::future::pending::<()>()).await);
            }
        }
        self.blocks(BLOCKS).await?;
        crew.stop().await;
        let seen = self.settled(options.settle).await?;
        let row = Row::judge(case.to_string(), started.elapsed(), &seen);
        self.server.stop().await?;
        Ok(row)
    }

    /// Waits until the miner was told `true` of so many more.
    async fn blocks(&self, more: usize) -> Result<(), TrialError> {
        let mut progress = self.relay.witness().progress();
        let goal = progress.borrow().acknowledged + more;
        let seen = progress.wait_for(|now: &Progress| now.acknowledged >= goal);
        match tokio::time::timeout(PATIENCE, seen).await {
            // An error says that the witness is gone, and this holds it.
            Ok(_) => Ok(()),
            Err(_late) => Err(stuck(format!("{more} blocks to be acknowledged"))),
        }
    }

    /// Waits until the server has left the node that lags.
    async fn failover(&self) -> Result<(), TrialError> {
        let mut counters = self.server.counters();
        let left = counters.wait_for(|now| now.failovers > 0);
        match tokio::time::timeout(PATIENCE, left).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(stuck("the server to leave a node that lags".to_owned())),
        }
    }

    /// Waits until the server says of its blocks what the nodes say, or for `patience`.
    async fn settled(&self, patience: Duration) -> Result<Seen, TrialError> {
        let end = Instant::now() + patience;
        let mut poll = tokio::time::interval(POLL);
        loop {
            poll.tick().await;
            let seen = self.seen().await?;
            if Row::judge(String::new(), Duration::ZERO, &seen).passed() || Instant::now() >= end {
                return Ok(seen);
            }
        }
    }

    async fn seen(&self) -> Result<Seen, TrialError> {
        let files = shelves::files(self.server.data_dir()).map_err(machine("read the blocks"))?;
        let testimony = self.relay.witness().testimony();
        let standings = self.standings(&testimony, &files).await?;
        let counters: Counters = *self.server.counters().borrow();
        Ok(Seen { testimony, standings, files, counters, apart: self.nodes.len() > 1 })
    }

    /// The best that any node says of each block.
    async fn standings(
        &self,
        testimony: &Testimony,
        files: &[(BlockHash, Shelf)],
    ) -> Result<BTreeMap<BlockHash, Standing>, RpcFailure> {
        let found = testimony.submissions.iter().filter(|one| one.solves).map(|one| one.hash);
        let found: Vec<BlockHash> = found.chain(files.iter().map(|(hash, _)| *hash)).collect();
        let mut best: BTreeMap<BlockHash, Standing> = BTreeMap::new();
        for peer in &self.nodes {
            for (hash, standing) in standings(&peer.node, found.iter().copied()).await? {
                let known = best.entry(hash).or_insert(standing);
                *known = standing.min(*known);
            }
        }
        Ok(best)
    }
}

/// Gives each node the chain that the case is about.
async fn part(nodes: &[&Peer], tips: Tips) -> Result<(), RpcFailure> {
    let mut heights = Vec::new();
    for peer in nodes {
        // A node gives no work on a chain that is as old as its first block.
        peer.node.generate(1, &peer.payout).await?;
        heights.push(peer.node.height().await?);
    }
    let highest = heights.iter().copied().max().unwrap_or_default();
    let more = match tips {
        Tips::One | Tips::Level => [0, 0],
        Tips::SecondAhead => [0, AHEAD],
        Tips::SecondBehind => [AHEAD, 0],
    };
    for (peer, (height, more)) in nodes.iter().zip(heights.iter().zip(more)) {
        let missing = highest + more - height;
        if missing > 0 {
            peer.node.generate(missing, &peer.payout).await?;
        }
    }
    Ok(())
}

fn stuck(what: String) -> TrialError {
    let log = "in this process: standard error".to_owned();
    TrialError::Stuck { what, seconds: PATIENCE.as_secs(), log }
}
