//! Follows the node: asks for templates by long poll and by refresh, and says which are news.
//!
//! Replies may come late and out of order. A reply to a question asked after the current tip was
//! learnt is believed whatever it says, so that a reorganisation to equal height is seen; an older
//! question's reply is believed only when it knows a higher block; otherwise the node is asked
//! again at once.

mod early;
mod health;
mod trouble;

use core::time::Duration;
use std::sync::Arc;

use bitcoin::Network;
use bytes::Bytes;
use tracing::{info, warn};

use self::early::Early;
use self::trouble::Trouble;
pub use self::trouble::{advice, template_advice};
use super::rpc::{self, CallError, HttpReply, METHOD_NOT_FOUND, RpcError};
use crate::bmm::auction::Mode;
use crate::clock::Instant;
use crate::config::Config;
use crate::mining::hash::{Hash, display_hash};
use crate::mining::template::Template;

/// How long a template maker may lag behind its own node: an enforcer's does by 40-60 ms.
const LAG_MAX: Duration = Duration::from_secs(1);
/// How soon one that lags is asked again.
const LAG_PAUSE: Duration = Duration::from_millis(20);
/// Least time between two long polls that bring no higher tip. Each brings a job to every miner,
/// so a node that answers at once must not set the pace.
const LONG_POLL_PACE: Duration = Duration::from_secs(1);
/// How often the node is asked for new bids: each lives for one tip, and no long poll wakes on one.
const BID_POLL: Duration = Duration::from_secs(1);
/// Least time between two looks that a changed mempool calls for.
const MEMPOOL_PACE: Duration = Duration::from_millis(100);
/// A node is kept busy with such looks for at most one part in this many of its time.
const MEMPOOL_SHARE: u32 = 4;

/// What the follower wants to ask.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Question {
    /// `getblockchaininfo`: is it the right chain?
    ChainInfo,
    /// `getblockheader` of a new tip, before its template.
    Header,
    /// `getblocktemplate`.
    Template,
    /// `getblocktemplate`, answered when something changed.
    LongPoll,
}

/// What a reply meant.
#[derive(Debug)]
pub enum News {
    /// Nothing to act on.
    Nothing,
    /// A template to mine on.
    Template(Arc<Template>),
    /// What to mine on until there is one: a coinbase alone, on a new tip.
    Alone(Arc<Template>),
    /// No use in going on: one sentence that says what to do.
    Fatal(String),
}

/// A tip that the node must have, whatever its templates still say.
#[derive(Clone, Copy, Debug)]
struct Expected {
    hash: Hash,
    /// The tip's own height, where it is known.
    height: Option<u32>,
    until: Instant,
}

/// Whether the node must be asked once more when it has answered.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Again {
    No,
    /// Its mempool changed: in due time.
    Look,
    /// Its tip may have changed: at once.
    Ask,
}

/// One node, as it is followed.
#[derive(Debug)]
pub struct Follower {
    /// Its place among the nodes.
    node: usize,
    /// Whether its templates are mined on.
    leads: bool,
    network: Network,
    refresh: Duration,
    blind: Mode,
    retry_pause_max: Duration,
    /// The node answered as it should at least once.
    trusted: bool,
    tip: Option<(Hash, u32)>,
    tip_since: Option<Instant>,
    /// Since when it gives templates as it should.
    well_since: Option<Instant>,
    /// Since when its templates break rules that it does not know.
    doubted: Option<Instant>,
    /// Counts the tips learnt, so that a reply's question can be told to be older than the tip.
    tips: u64,
    chain_info_asked: bool,
    template_asked: Option<u64>,
    template_began: Instant,
    /// How long the node took for its last template.
    template_took: Duration,
    /// What changed since the template on its way was asked for.
    again: Again,
    long_poll_asked: Option<u64>,
    long_poll_began: Instant,
    long_poll_id: Option<String>,
    ask_at: Instant,
    long_poll_at: Instant,
    trouble: Option<Trouble>,
    long_poll_trouble: Option<Trouble>,
    /// The newest believed template.
    last: Option<Arc<Template>>,
    expected: Option<Expected>,
    early: Early,
}

impl Follower {
    /// Nothing was asked yet; `refresh` is how long a template is good for.
    pub fn new(node: usize, refresh: Duration, config: &Config) -> Self {
        Self {
            node,
            leads: true,
            network: config.network,
            refresh,
            blind: config.blind,
            retry_pause_max: config.limits.retry_pause,
            trusted: false,
            tip: None,
            tip_since: None,
            well_since: None,
            doubted: None,
            tips: 0,
            chain_info_asked: false,
            template_asked: None,
            template_began: Instant::ZERO,
            template_took: Duration::ZERO,
            again: Again::No,
            long_poll_asked: None,
            long_poll_began: Instant::ZERO,
            long_poll_id: None,
            ask_at: Instant::ZERO,
            long_poll_at: Instant::ZERO,
            trouble: None,
            long_poll_trouble: None,
            last: None,
            expected: None,
            early: Early::new(config.empty_first),
        }
    }

    /// The tip that the newest believed template builds on.
    pub fn tip(&self) -> Option<Hash> {
        self.tip.map(|(hash, _)| hash)
    }

    /// A template is good for so long, and what else is asked for is as `config` says, from the
    /// next question on.
    pub fn take_terms(&mut self, refresh: Duration, config: &Config) {
        self.refresh = refresh;
        self.blind = config.blind;
        self.early.switch(config.empty_first);
    }

    /// Something happened that may have changed the template: ask soon.
    pub fn ask_now(&mut self, now: Instant) {
        if self.template_asked.is_some() {
            self.again = Again::Ask;
        }
        self.ask_at = self.ask_at.min(now);
    }

    /// The node took the block with `hash` at `height` (if that is known) as its tip: templates on
    /// an older one are behind the times for a moment, and asked for again until they are not.
    pub fn expect_tip(&mut self, now: Instant, hash: Hash, height: Option<u32>) {
        if self.tip() == Some(hash) {
            self.expected = None;
            return;
        }
        self.expected = Some(Expected { hash, height, until: now + LAG_MAX });
        self.want_header(hash);
        self.ask_now(now);
    }

    /// Transactions came to the node's mempool or left it: a bid may be among them. On a busy
    /// network they always do, so this keeps a pace.
    pub fn look_at_mempool(&mut self, now: Instant) {
        if !self.watches_bids() || self.trouble.is_some() {
            return;
        }
        if self.template_asked.is_some() {
            self.again = self.again.max(Again::Look);
        }
        self.ask_at = self.ask_at.min(now.max(self.next_look()));
    }

    fn next_look(&self) -> Instant {
        self.template_began + MEMPOOL_PACE.max(self.template_took * MEMPOOL_SHARE)
    }

    /// An enforcer's templates hold bids whatever is wanted.
    fn watches_bids(&self) -> bool {
        let gives = || self.last.as_ref().is_some_and(|last| last.given.is_some());
        self.leads && (self.blind == Mode::On || gives())
    }

    /// A node in reserve may take its template from where it lies.
    fn wants_fresh(&self) -> bool {
        self.leads && self.blind == Mode::On
    }

    /// How long a template is good for while nothing is heard.
    fn interval(&self) -> Duration {
        let often = self.watches_bids() || self.relies_on_notices();
        if often { self.refresh.min(BID_POLL) } else { self.refresh }
    }

    fn lags(&mut self, now: Instant, template: &Template) -> bool {
        let tip = self.tip();
        let lags = self.expected.is_some_and(|expected| {
            let is_behind = match expected.height {
                Some(height) => template.height <= height,
                None => tip == Some(template.parent),
            };
            template.parent != expected.hash && is_behind && now < expected.until
        });
        if !lags {
            self.expected = None;
        }
        lags
    }

    /// The next question that is due, with its body; call again until `None`.
    pub fn poll_question(&mut self, now: Instant) -> Option<(Question, Bytes)> {
        if self.doubt_ends().is_some_and(|end| end <= now) {
            self.doubted = None;
        }
        if !self.trusted {
            if self.chain_info_asked || now < self.ask_at {
                return None;
            }
            self.chain_info_asked = true;
            return Some((Question::ChainInfo, rpc::request("getblockchaininfo", "[]")));
        }
        if let Some(body) = self.early.poll_question(now) {
            return Some((Question::Header, body));
        }
        if self.template_asked.is_none() && now >= self.template_due() {
            self.template_asked = Some(self.tips);
            self.template_began = now;
            return Some((Question::Template, rpc::template_request(None, self.wants_fresh())));
        }
        let fresh = self.wants_fresh();
        if self.relies_on_notices() || self.long_poll_asked.is_some() || now < self.long_poll_at {
            return None;
        }
        let id = self.long_poll_id.as_deref()?;
        self.long_poll_asked = Some(self.tips);
        self.long_poll_began = now;
        Some((Question::LongPoll, rpc::template_request(Some(id), fresh)))
    }

    /// When [`Self::poll_question`] next has something.
    pub fn next_question(&self) -> Option<Instant> {
        if !self.trusted {
            return (!self.chain_info_asked).then_some(self.ask_at);
        }
        let ask = self.template_asked.is_none().then_some(self.template_due());
        let polls = self.long_poll_id.is_some() && !self.relies_on_notices();
        let poll = (polls && self.long_poll_asked.is_none()).then_some(self.long_poll_at);
        [self.early.next_question(), ask, poll].into_iter().flatten().min()
    }

    /// The node answered, or did not.
    pub fn on_reply(
        &mut self,
        now: Instant,
        question: Question,
        reply: &Result<HttpReply, CallError>,
    ) -> News {
        match question {
            Question::ChainInfo => self.on_chain_info(now, reply),
            Question::Header => self.on_header(reply),
            Question::Template => self.on_template(now, reply),
            Question::LongPoll => self.on_long_poll(now, reply),
        }
    }

    fn on_chain_info(&mut self, now: Instant, reply: &Result<HttpReply, CallError>) -> News {
        self.chain_info_asked = false;
        match rpc::chain_info(reply) {
            Ok(chain) if chain.chain == self.network.to_core_arg() => {
                info!(
                    node = self.node + 1,
                    chain = chain.chain,
                    height = chain.blocks,
                    syncing = chain.syncing,
                    "node is there"
                );
                self.trusted = true;
                self.recovered(now);
                self.ask_at = now;
                News::Nothing
            }
            Ok(chain) => News::Fatal(format!(
                "the node is on chain {:?}, but NETWORK says {:?}: set NETWORK={}, or RPC_PORT to \
                 the port of a {:?} node",
                chain.chain,
                self.network.to_core_arg(),
                chain.chain,
                self.network.to_core_arg(),
            )),
            Err(RpcError::Refused { code: METHOD_NOT_FOUND, .. }) => {
                info!("node answers getblocktemplate only; its chain cannot be checked");
                self.trusted = true;
                self.recovered(now);
                self.ask_at = now;
                News::Nothing
            }
            Err(error @ RpcError::Unauthorized(_)) => {
                News::Fatal(format!("the node does not let us in: {error}; {}", advice(&error)))
            }
            Err(error) => {
                self.failed(now, error.to_string(), advice(&error));
                News::Nothing
            }
        }
    }

    fn on_template(&mut self, now: Instant, reply: &Result<HttpReply, CallError>) -> News {
        let asked = self.template_asked.take();
        let again = core::mem::replace(&mut self.again, Again::No);
        self.template_took = now.since(self.template_began);
        if self.template_took >= health::HANG {
            self.well_since = None;
        }
        match self.read_template(reply) {
            Ok(template) => {
                self.recovered(now);
                self.ask_at = match again {
                    Again::Ask => now,
                    Again::Look => now.max(self.next_look()),
                    Again::No => now + self.interval(),
                };
                self.weigh(now, asked, template)
            }
            Err((what, advice)) => {
                self.failed(now, what, advice);
                // Since it was asked, which is long ago where it hangs.
                let began = self.template_began;
                if let Some(trouble) = &mut self.trouble {
                    trouble.since = trouble.since.min(began);
                }
                News::Nothing
            }
        }
    }

    fn on_long_poll(&mut self, now: Instant, reply: &Result<HttpReply, CallError>) -> News {
        let asked = self.long_poll_asked.take();
        if *reply == Err(CallError::Timeout) {
            // It was parked for as long as we let it.
            return News::Nothing;
        }
        match self.read_template(reply) {
            Ok(template) => {
                if self.long_poll_trouble.take().is_some_and(|trouble| trouble.said.is_some()) {
                    info!(node = self.node + 1, "long poll works again");
                }
                let same_tip = asked == Some(self.tips) && !self.is_higher(&template);
                let pause = if same_tip { LONG_POLL_PACE } else { Duration::ZERO };
                self.long_poll_at = self.long_poll_began + pause;
                self.weigh(now, asked, template)
            }
            Err((what, advice)) => {
                self.long_poll_failed(now, what, advice);
                News::Nothing
            }
        }
    }

    /// The template in `reply`, or what is wrong with it and what to do.
    fn read_template(
        &self,
        reply: &Result<HttpReply, CallError>,
    ) -> Result<Template, (String, &'static str)> {
        let parts = rpc::template(reply).map_err(|error| (error.to_string(), advice(&error)))?;
        Template::check_after(parts, self.last.as_deref()).map_err(|error| {
            let what = format!("its template for the next block is refused: {error}");
            (what, template_advice(&error))
        })
    }

    fn is_higher(&self, template: &Template) -> bool {
        self.tip.is_none_or(|(_, height)| template.height > height)
    }

    /// Whether a template that was asked for when `asked` tips were known is believed.
    fn weigh(&mut self, now: Instant, asked: Option<u64>, template: Template) -> News {
        if self.lags(now, &template) {
            self.ask_at = self.ask_at.min(now + LAG_PAUSE);
            return News::Nothing;
        }
        let fresh = asked == Some(self.tips);
        let known = self.tip.is_some_and(|(hash, _)| hash == template.parent);
        if !known && !fresh && !self.is_higher(&template) {
            self.ask_now(now);
            return News::Nothing;
        }
        self.long_poll_id.clone_from(&template.long_poll_id);
        self.well_since.get_or_insert(now);
        if !known {
            self.tip_since = Some(now);
            self.tip = Some((template.parent, template.height));
            self.tips += 1;
            info!(
                node = self.node + 1,
                height = template.height - 1,
                hash = display_hash(&template.parent),
                transactions = template.transactions.len(),
                "new tip"
            );
        }
        let template = Arc::new(template);
        self.last = Some(Arc::clone(&template));
        News::Template(template)
    }

    fn failed(&mut self, now: Instant, what: String, advice: &str) {
        self.well_since = None;
        let mut trouble = Trouble::after(self.trouble.take(), now, what, self.retry_pause_max);
        self.ask_at = now + trouble.pause;
        if trouble.is_news(now) {
            let (seconds, what) = (now.since(trouble.since).as_secs(), &trouble.what);
            let node = self.node + 1;
            warn!(node, seconds, "node trouble: {what}; {advice}; asked again until it works");
        }
        self.trouble = Some(trouble);
    }

    /// A long poll that fails has its own pauses: templates still come, and are still asked for no
    /// more often than they should be.
    fn long_poll_failed(&mut self, now: Instant, what: String, advice: &str) {
        let last = self.long_poll_trouble.take();
        let first = last.is_none();
        let mut trouble = Trouble::after(last, now, what, self.retry_pause_max);
        self.long_poll_at = now + trouble.pause;
        if first {
            // Mostly the node went away. Asking it tells, and then that is all there is to say.
            self.ask_now(now);
        } else if self.trouble.is_none() && trouble.is_news(now) {
            let (seconds, what) = (now.since(trouble.since).as_secs(), &trouble.what);
            warn!(
                node = self.node + 1,
                seconds,
                "long poll trouble: {what}; {advice}; until it works, a new tip is seen only \
                 every JOB_REFRESH_INTERVAL seconds"
            );
        }
        self.long_poll_trouble = Some(trouble);
    }

    fn recovered(&mut self, now: Instant) {
        if let Some(trouble) = self.trouble.take() {
            let seconds = now.since(trouble.since).as_secs();
            info!(node = self.node + 1, seconds, "node works again");
        }
    }
}

#[cfg(test)]
mod tests;
