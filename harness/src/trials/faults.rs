//! Calls to the node go wrong on the way, one way after the other, while miners find blocks: none
//! may be lost, and what the server says of them must be what the node says.
//!
//! Each case has a server of its own, in this process so that its totals can be read, and a
//! [proxy](super::proxy) between it and a real bitcoind. Cases that hang, and those with two nodes,
//! have nodes of their own and run beside the rest. Not in here: which cases there are
//! (`cases.rs`), and what they are judged by (`row.rs`).

mod cases;
mod row;
mod stand;

use std::time::Duration;

use bitcoin::Address;
use tokio::task::JoinSet;

use super::TrialError;
use crate::containers::{AddressKind, Bitcoind, BitcoindOptions};
pub use cases::{Case, Tips, deceived, hangs, quick, two_nodes};
pub use row::{Row, table};
use stand::Stand;

/// How patient a trial is.
#[derive(Clone, Copy, Debug)]
pub struct FaultOptions {
    /// How long a node hangs. The server gives a call of `submitblock` half a minute.
    pub hang: Duration,
    /// How long the server may take to learn what became of its blocks once all is well again.
    pub settle: Duration,
}

impl Default for FaultOptions {
    fn default() -> Self {
        Self { hang: Duration::from_mins(1), settle: Duration::from_secs(90) }
    }
}

/// Runs `lanes` beside each other, the cases of each in turn at the same node; a row for each case.
pub async fn run(options: FaultOptions, lanes: Vec<Vec<Case>>) -> Result<Vec<Row>, TrialError> {
    let mut tasks = JoinSet::new();
    for (number, lane) in lanes.into_iter().enumerate() {
        tasks.spawn(async move { Ok::<_, TrialError>((number, run_lane(options, lane).await?)) });
    }
    let mut rows = Vec::new();
    while let Some(done) = tasks.join_next().await {
        rows.push(done??);
    }
    rows.sort_by_key(|(number, _)| *number);
    Ok(rows.into_iter().flat_map(|(_, rows)| rows).collect())
}

async fn run_lane(options: FaultOptions, lane: Vec<Case>) -> Result<Vec<Row>, TrialError> {
    // Its chain is its own: nobody tells it of the other's blocks.
    let second = async {
        let is_wanted = lane.iter().any(|case| case.tips != Tips::One);
        if is_wanted { Peer::start().await.map(Some) } else { Ok(None) }
    };
    let (first, second) = tokio::try_join!(Peer::start(), second)?;
    let mut rows = Vec::new();
    for case in lane {
        let stand = Stand::start(&first, second.as_ref(), &case).await?;
        rows.push(stand.run(options, &case).await?);
    }
    Ok(rows)
}

/// A node, and where its coins go.
struct Peer {
    node: Bitcoind,
    payout: Address,
}

impl Peer {
    async fn start() -> Result<Self, TrialError> {
        let node = Bitcoind::start(BitcoindOptions::default()).await?;
        let wallet = node.create_wallet("pool").await?;
        let payout = wallet.address(AddressKind::Bech32).await?;
        Ok(Self { node, payout })
    }
}
