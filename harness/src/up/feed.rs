//! What happens at the node and the sidechain, told as it happens.
//!
//! The simulated world tells by itself. A real node is asked ten times a second, and when the
//! server has news: its sidechain catches up, and each block that it passed is read back from the
//! node. Both come out as [`WorldEvent`]s in the same order, so that one judge serves both. Not in
//! here: what follows from any of it (`judge.rs`).

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::hashes::Hash as _;
use bitcoin::{BlockHash, PubkeyHash, ScriptBuf};
use server::pool::Counters;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::timeout;

use super::judge::Input;
use crate::http::{FollowError, Follower, Mainchain as _};
use crate::rpc::RpcClient;
use crate::sim::WorldEvent;
use crate::sim::node::TipCause;
use crate::sim::sidechain::{Seen, m7s};

/// Hash of the public key that the server pays to. Nobody has the key, and on a node of the
/// user's own it tells our blocks from others.
pub(super) const PAYOUT_KEY_HASH: [u8; 20] = *b"paid by a harness up";

/// How long a real node is left alone.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// Where the events come from.
pub(super) enum Feed {
    /// The simulated world.
    World(broadcast::Receiver<WorldEvent>),
    /// A real node.
    Chain(ChainWatch),
}

impl Feed {
    /// Tells `inbox` until nobody listens. A change of the server's `counters` is a reason to look;
    /// `rejected` is where it keeps refused blocks.
    pub(super) async fn run(
        self,
        inbox: mpsc::Sender<Input>,
        counters: watch::Receiver<Counters>,
        rejected: PathBuf,
    ) {
        match self {
            Self::World(events) => forward(events, inbox).await,
            Self::Chain(watch) => watch.run(inbox, counters, rejected).await,
        }
    }
}

async fn forward(mut events: broadcast::Receiver<WorldEvent>, inbox: mpsc::Sender<Input>) {
    loop {
        let input = match events.recv().await {
            Ok(event) => Input::World(event),
            Err(broadcast::error::RecvError::Lagged(count)) => {
                Input::Notice(format!("{count} events came too fast to be shown or counted"))
            }
            Err(broadcast::error::RecvError::Closed) => return,
        };
        if inbox.send(input).await.is_err() {
            return;
        }
    }
}

/// Watches the chain of a real node.
pub(super) struct ChainWatch {
    follower: Arc<Follower<RpcClient>>,
    client: RpcClient,
    slot: u8,
    /// Height of the block that the sidechain began at.
    start_height: u32,
    /// What the sidechain saw, as far as it was told of.
    told: Vec<Seen>,
    sidechain_height: u32,
}

impl ChainWatch {
    pub(super) const fn new(
        follower: Arc<Follower<RpcClient>>,
        client: RpcClient,
        slot: u8,
        start_height: u32,
    ) -> Self {
        Self { follower, client, slot, start_height, told: Vec::new(), sidechain_height: 0 }
    }

    async fn run(
        mut self,
        inbox: mpsc::Sender<Input>,
        mut counters: watch::Receiver<Counters>,
        rejected: PathBuf,
    ) {
        let mut trouble = None;
        let mut refused = BTreeSet::new();
        loop {
            if let Ok(Err(_)) = timeout(LOOK_PAUSE, counters.changed()).await {
                // The server is gone, and with it what was to be watched.
                return;
            }
            let mut inputs = Vec::new();
            match self.look().await {
                Ok(events) => {
                    trouble = None;
                    inputs.extend(events.into_iter().map(Input::World));
                }
                Err(error) => {
                    // Said once, not ten times a second.
                    let text = error.to_string();
                    if trouble.as_ref() != Some(&text) {
                        inputs.push(Input::Notice(text.clone()));
                        trouble = Some(text);
                    }
                }
            }
            let newly_refused = refused_blocks(&rejected);
            inputs.extend(newly_refused.difference(&refused).map(|hash| {
                let reason = "the server's log has the node's words".to_owned();
                Input::World(WorldEvent::BlockRefused { hash: *hash, reason })
            }));
            refused = newly_refused;
            for input in inputs {
                if inbox.send(input).await.is_err() {
                    return;
                }
            }
        }
    }

    /// What happened since the last look.
    async fn look(&mut self) -> Result<Vec<WorldEvent>, FollowError> {
        // Whatever this changes is in the history too, and so is what a request changed before.
        self.follower.catch_up().await?;
        let told = &self.told;
        let (kept, fresh) = self
            .follower
            .with(|sidechain| {
                let history = sidechain.history();
                let kept = common_length(told, history);
                (kept, history[kept..].to_vec())
            })
            .await;
        // Read first: if the node fails now, the next look finds the same news again.
        let mut blocks = Vec::with_capacity(fresh.len());
        for seen in &fresh {
            let block = self.client.block(seen.main_hash).await;
            blocks.push(block.map_err(FollowError::Mainchain)?);
        }
        let mut events = self.roll_back(kept);
        for (seen, block) in fresh.into_iter().zip(&blocks) {
            self.pass(seen, block, &mut events);
        }
        Ok(events)
    }

    fn roll_back(&mut self, kept: usize) -> Vec<WorldEvent> {
        let slot = self.slot;
        let mut events = Vec::new();
        for seen in self.told.drain(kept..).rev() {
            if let Some(h_star) = seen.h_star {
                self.sidechain_height -= 1;
                let height = self.sidechain_height;
                events.push(WorldEvent::SidechainRolledBack { slot, height, h_star });
            }
        }
        events
    }

    /// Tells of one more block, in the order of the simulated world.
    fn pass(&mut self, seen: Seen, block: &bitcoin::Block, events: &mut Vec<WorldEvent>) {
        let (slot, hash) = (self.slot, seen.main_hash);
        self.told.push(seen);
        let passed = u32::try_from(self.told.len()).unwrap_or(u32::MAX);
        let height = self.start_height.saturating_add(passed);
        if let Some(h_star) = seen.h_star {
            self.sidechain_height += 1;
            let height = self.sidechain_height;
            events.push(WorldEvent::SidechainAdvanced { slot, height, h_star });
        }
        let ours = is_ours(block);
        let cause = if ours { TipCause::Submitted } else { TipCause::Rival };
        events.push(WorldEvent::TipChanged { hash, height, cause });
        if ours {
            let m7s = m7s(block);
            // A real node stores a block with the reserved value and does not tell who added it.
            let reserved_value_missing = false;
            events.push(WorldEvent::BlockAccepted { hash, height, m7s, reserved_value_missing });
        }
    }
}

/// How much of two histories is the same. A block's hash stands for all before it.
fn common_length(told: &[Seen], history: &[Seen]) -> usize {
    let shared = told.len().min(history.len());
    (0..shared).rev().find(|&place| told[place] == history[place]).map_or(0, |place| place + 1)
}

/// Whether a block pays to where our server pays. Which output does is up to whoever laid out the
/// coinbase: an enforcer puts its own first.
fn is_ours(block: &bitcoin::Block) -> bool {
    let script = ScriptBuf::new_p2pkh(&PubkeyHash::from_byte_array(PAYOUT_KEY_HASH));
    let outputs = block.txdata.first().map_or(&[][..], |coinbase| &coinbase.output);
    outputs.iter().any(|output| output.script_pubkey == script)
}

/// The blocks that the server has put away as refused, by their files' names: `7-00..ff.hex`.
fn refused_blocks(folder: &std::path::Path) -> BTreeSet<BlockHash> {
    let Ok(entries) = std::fs::read_dir(folder) else { return BTreeSet::new() };
    let names = entries.flatten().map(|entry| entry.file_name());
    names.filter_map(|name| hash_in(name.to_str()?)).collect()
}

fn hash_in(name: &str) -> Option<BlockHash> {
    let (_height, hash) = name.strip_suffix(".hex")?.split_once('-')?;
    hash.parse().ok()
}

#[cfg(test)]
mod tests;
