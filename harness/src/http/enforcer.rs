//! The simulated enforcer on a port, in front of a node of any kind, real or simulated.
//!
//! It answers `getblocktemplate` from the node's own template and forwards `submitblock`. Beside
//! that it follows the node: every block that joins the best chain, whoever mined it, is shown to
//! the referee of BIP-0300 and BIP-0301, and `invalidateblock` is called on what breaks a rule,
//! after the node had accepted it, as the real one does. The referee is the server's own; it is
//! proved on the verdicts that a real enforcer gave.
//! Not in here: what a template looks like (`sim/enforcer.rs`). Unlike a real enforcer it leaves
//! the node's mempool alone, so expired bids stay in plain templates; and of the sidechains it
//! knows what it is given at the start ([`EnforcerOptions::state`]) and what it saw since.

mod ledger;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::hashes::Hash as _;
use bitcoin::{Block, BlockHash};
use bytes::Bytes;
use ledger::Ledger;
use serde_json::{Value, json};
use server::bmm::check::{self, Breaches, SidechainState};
use tokio::sync::{Mutex, broadcast, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at, timeout};

use super::EVENTS_MAX;
use super::listening::{Daemon, Listening, ServeError};
use super::mainchain::{Mainchain as _, MainchainError};
use crate::rpc::{RpcClient, RpcFailure};
use crate::sim::RpcReply;
use crate::sim::enforcer::{
    Answer, Call, Enforcer, Failure, Producer, TemplateCall, Unusable, parent_of, read, wrap,
};

/// How often the node is asked for its tip. A real enforcer judged 19 to 35 ms after the node.
pub const TIP_POLL: Duration = Duration::from_millis(20);

/// How long a long poll is parked when the tip stays.
pub const LONG_POLL_PATIENCE: Duration = Duration::from_secs(30);

/// How an enforcer is set up.
#[derive(Clone, Debug)]
pub struct EnforcerOptions {
    /// What stands in its coinbases.
    pub producer: Producer,
    /// The sidechains as of the tip at the start; later blocks change them. Without it, rules that
    /// need it are not applied.
    pub state: Option<SidechainState>,
    /// How long the old template is served after a new tip. A real enforcer's is 40 to 60 ms.
    pub lag: Duration,
    /// How long a long poll is parked when the tip stays.
    pub long_poll_patience: Duration,
}

impl Default for EnforcerOptions {
    fn default() -> Self {
        Self {
            producer: Producer::default(),
            state: None,
            lag: Duration::ZERO,
            long_poll_patience: LONG_POLL_PATIENCE,
        }
    }
}

/// Whether templates are given. `submitblock` works always.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum EnforcerCondition {
    /// They are.
    #[default]
    Ready,
    /// It has not seen all blocks yet: error -10.
    Syncing,
    /// It reads the mempool anew: error -32603.
    MempoolUnavailable,
}

/// What became of a block that joined the node's best chain.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum BlockVerdict {
    /// It breaks no rule.
    Accepted(BlockHash),
    /// It was taken out of the chain with `invalidateblock`.
    Invalidated(BlockHash, Breaches),
}

/// Why an enforcer could not be started.
#[derive(Debug, thiserror::Error)]
pub enum EnforcerError {
    /// Its port.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Its node gives no template to take as a sample.
    #[error("the simulated enforcer needs a template of its node first: {0}")]
    Node(#[from] RpcFailure),
    /// What the node gave is none.
    #[error(transparent)]
    Unusable(#[from] Unusable),
}

/// An enforcer on its port. Dropping it closes the port and ends the judging.
#[derive(Debug)]
pub struct EnforcerServer {
    shared: Arc<Shared>,
    listening: Listening,
    judging: JoinHandle<Infallible>,
}

impl EnforcerServer {
    /// Puts an enforcer in front of `node`, which must let in whoever may call `invalidateblock`.
    /// The node's chain so far is taken as judged. Port 0 of `bind` takes any that is free.
    pub async fn start(
        node: RpcClient,
        bind: SocketAddr,
        options: EnforcerOptions,
    ) -> Result<Self, EnforcerError> {
        let sample = plain_template(&node).await?;
        let tip = parent_of(&sample)?;
        let enforcer = Enforcer::new(options.producer.clone(), &sample)?;
        let sidechains = watch::channel(options.state.clone()).0;
        let shared = Arc::new(Shared {
            node,
            options,
            sidechains,
            desk: Mutex::new(Desk { enforcer, plain: sample }),
            condition: watch::channel(EnforcerCondition::Ready).0,
            tip: watch::channel(tip).0,
            verdicts: broadcast::channel(EVENTS_MAX).0,
        });
        // The enforcer asks nobody for a password.
        let listening = Listening::start(Desks(Arc::clone(&shared)), bind, None).await?;
        let judging = tokio::spawn(Arc::clone(&shared).follow(tip));
        Ok(Self { shared, listening, judging })
    }

    /// The address it listens on, its port filled in.
    pub const fn address(&self) -> SocketAddr {
        self.listening.address()
    }

    /// What a caller that asks now gets as its template; nothing while template requests fail.
    pub async fn template(&self) -> Option<Value> {
        let call = TemplateCall { takes_coinbase: true, long_poll_tip: None };
        self.shared.template(call).await.ok()
    }

    /// Makes template requests fail, or work again.
    pub fn set_condition(&self, condition: EnforcerCondition) {
        self.shared.condition.send_replace(condition);
    }

    /// The sidechains after the last block that was judged; `None` when it was given none.
    pub fn sidechains(&self) -> Option<SidechainState> {
        self.shared.sidechains.borrow().clone()
    }

    /// Every verdict from now on.
    pub fn verdicts(&self) -> broadcast::Receiver<BlockVerdict> {
        self.shared.verdicts.subscribe()
    }
}

impl Drop for EnforcerServer {
    fn drop(&mut self) {
        self.judging.abort();
    }
}

/// What requests and judging share.
#[derive(Debug)]
struct Shared {
    node: RpcClient,
    options: EnforcerOptions,
    desk: Mutex<Desk>,
    condition: watch::Sender<EnforcerCondition>,
    /// The last block of the best chain that was judged, once the lag is over.
    tip: watch::Sender<BlockHash>,
    /// The sidechains as the blocks so far left them.
    sidechains: watch::Sender<Option<SidechainState>>,
    verdicts: broadcast::Sender<BlockVerdict>,
}

/// The blocks that passed, each with the sidechains after it.
type Passed = BTreeMap<BlockHash, Option<Ledger>>;

#[derive(Debug)]
struct Desk {
    enforcer: Enforcer,
    /// The node's last template on the enforcer's own tip.
    plain: Value,
}

struct Desks(Arc<Shared>);

impl Daemon for Desks {
    async fn answer(&self, body: Bytes) -> Option<RpcReply> {
        let (id, call) = match read(&body) {
            Ok(call) => call,
            Err(reply) => return Some(reply),
        };
        let answer = match call {
            Call::Template(call) => self.0.template(call).await,
            Call::Submit(hex) => {
                self.0.node.call("submitblock", json!([hex])).await.or_else(pass_on)
            }
        };
        Some(wrap(&id, &answer))
    }
}

impl Shared {
    async fn template(&self, call: TemplateCall) -> Answer {
        self.refusal(call)?;
        if let Some(known) = call.long_poll_tip {
            let mut tips = self.tip.subscribe();
            // Both a new tip and the end of patience are a reason to answer; a bid is none.
            let replaced = tips.wait_for(|tip| *tip != known);
            drop(timeout(self.options.long_poll_patience, replaced).await);
            self.refusal(call)?;
        }
        let unusable = |cause: Unusable| Failure::internal(cause.to_string());
        let plain = plain_template(&self.node).await.or_else(pass_on)?;
        let parent = parent_of(&plain).map_err(unusable)?;
        let mut desk = self.desk.lock().await;
        let desk = &mut *desk;
        // A node that is ahead has a block that was not judged yet: the old template stays.
        if parent == *self.tip.borrow() {
            desk.plain = plain;
        }
        desk.enforcer.template(&desk.plain).map_err(unusable)
    }

    fn refusal(&self, call: TemplateCall) -> Result<(), Failure> {
        match *self.condition.borrow() {
            EnforcerCondition::Syncing => Err(Failure::still_syncing()),
            EnforcerCondition::MempoolUnavailable => Err(Failure::no_mempool()),
            EnforcerCondition::Ready if !call.takes_coinbase => Err(Failure::no_capability()),
            EnforcerCondition::Ready => Ok(()),
        }
    }

    /// Judges what the node takes into its best chain, until aborted.
    async fn follow(self: Arc<Self>, start: BlockHash) -> Infallible {
        // What the node had when the enforcer came, and what passed since.
        let ledger = self.options.state.as_ref().map(Ledger::starting_with);
        let mut passed = Passed::from([(start, ledger)]);
        let mut poll = interval(TIP_POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            poll.tick().await;
            if let Err(error) = self.catch_up(&mut passed).await {
                tracing::debug!(%error, "the simulated enforcer's node did not answer");
            }
        }
    }

    async fn catch_up(&self, passed: &mut Passed) -> Result<(), MainchainError> {
        let tip = self.node.best_block_hash().await?;
        if tip == *self.tip.borrow() {
            return Ok(());
        }
        for (hash, block) in self.new_blocks(tip, passed).await? {
            let parent = block.header.prev_blockhash;
            let ledger = passed.get(&parent).and_then(Option::as_ref);
            let state = ledger.map(Ledger::state);
            let (invalid, verdict) = match check::block(&block, parent, state.as_ref()) {
                Ok(found) => {
                    let ledger = ledger.map(|ledger| ledger.after(&found));
                    self.sidechains.send_replace(ledger.as_ref().map(Ledger::state));
                    passed.insert(hash, ledger);
                    (false, BlockVerdict::Accepted(hash))
                }
                Err(breaches) => {
                    self.node.call("invalidateblock", json!([hash.to_string()])).await?;
                    (true, BlockVerdict::Invalidated(hash, breaches))
                }
            };
            // An error says that nobody listens, which is allowed.
            drop(self.verdicts.send(verdict));
            if invalid {
                // The node has another tip now.
                return Ok(());
            }
        }
        // The tip may be one that passed long ago: then the chain went back to it.
        let ledger = passed.get(&tip).and_then(Option::as_ref);
        self.sidechains.send_replace(ledger.map(Ledger::state));
        self.move_to(tip).await;
        Ok(())
    }

    /// The blocks up to `tip` that were not judged yet, oldest first.
    async fn new_blocks(
        &self,
        tip: BlockHash,
        passed: &Passed,
    ) -> Result<Vec<(BlockHash, Block)>, MainchainError> {
        let mut blocks = Vec::new();
        let mut at = tip;
        while !passed.contains_key(&at) && at != BlockHash::all_zeros() {
            let block = self.node.block(at).await?;
            let parent = block.header.prev_blockhash;
            blocks.push((at, block));
            at = parent;
        }
        blocks.reverse();
        Ok(blocks)
    }

    /// Serves templates on `tip` from now on, after the lag.
    async fn move_to(&self, tip: BlockHash) {
        if !self.options.lag.is_zero() {
            let lag = self.options.lag;
            interval_at(Instant::now() + lag, lag).tick().await;
        }
        let plain = plain_template(&self.node).await;
        let mut desk = self.desk.lock().await;
        if let Some(plain) = plain.ok().filter(|plain| parent_of(plain) == Ok(tip)) {
            desk.plain = plain;
        }
        self.tip.send_replace(tip);
    }
}

async fn plain_template(node: &RpcClient) -> Result<Value, RpcFailure> {
    node.call(
        "getblocktemplate",
        json!([{ "rules": ["segwit", "bip300301"], "blockreservedweight": 9_000 }]),
    )
    .await
}

/// A refusal of the node goes to the caller as it is.
fn pass_on(failure: RpcFailure) -> Answer {
    match failure {
        RpcFailure::Refused { code, message, .. } => Err(Failure::of_node(code, message)),
        RpcFailure::Connect { .. }
        | RpcFailure::Broken { .. }
        | RpcFailure::Late { .. }
        | RpcFailure::NotJsonRpc { .. }
        | RpcFailure::Unexpected { .. } => Err(Failure::internal(failure.to_string())),
    }
}
