//! Follows the node: asks for templates by long poll and by refresh, and says which are news.
//!
//! Replies may come late and out of order. A reply to a question asked after the current tip was
//! learnt is believed whatever it says, so that a reorganisation to equal height is seen; an older
//! question's reply is believed only when it knows a higher block; otherwise the node is asked
//! again at once.

use core::time::Duration;

use bitcoin::Network;
use bytes::Bytes;
use tracing::{info, warn};

use super::rpc::{self, CallError, HttpReply, METHOD_NOT_FOUND, RpcError};
use crate::clock::Instant;
use crate::config::Limits;
use crate::mining::hash::{Hash, display_hash};
use crate::mining::template::{Template, TemplateError};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const REMIND: Duration = Duration::from_mins(1);

/// What the follower wants to ask.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Question {
    /// `getblockchaininfo`: is it the right chain?
    ChainInfo,
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
    Template(Box<Template>),
    /// No use in going on: one sentence that says what to do.
    Fatal(String),
}

#[derive(Debug)]
struct Trouble {
    what: String,
    since: Instant,
    said: Instant,
    pause: Duration,
}

/// One node, as it is followed.
#[derive(Debug)]
pub struct Follower {
    network: Network,
    refresh: Duration,
    retry_pause_max: Duration,
    /// The node answered as it should at least once.
    trusted: bool,
    tip: Option<(Hash, u32)>,
    /// Counts the tips learnt, so that a reply's question can be told to be older than the tip.
    tips: u64,
    chain_info_asked: bool,
    template_asked: Option<u64>,
    long_poll_asked: Option<u64>,
    long_poll_id: Option<String>,
    ask_at: Instant,
    long_poll_at: Instant,
    trouble: Option<Trouble>,
}

impl Follower {
    /// Nothing was asked yet.
    pub fn new(network: Network, refresh: Duration, limits: &Limits) -> Self {
        Self {
            network,
            refresh,
            retry_pause_max: limits.retry_pause,
            trusted: false,
            tip: None,
            tips: 0,
            chain_info_asked: false,
            template_asked: None,
            long_poll_asked: None,
            long_poll_id: None,
            ask_at: Instant::ZERO,
            long_poll_at: Instant::ZERO,
            trouble: None,
        }
    }

    /// The tip that the newest believed template builds on.
    pub fn tip(&self) -> Option<Hash> {
        self.tip.map(|(hash, _)| hash)
    }

    /// Something happened that may have changed the template: ask soon.
    pub fn ask_now(&mut self, now: Instant) {
        self.ask_at = self.ask_at.min(now);
    }

    /// The next question that is due, with its body; call again until `None`.
    pub fn poll_question(&mut self, now: Instant) -> Option<(Question, Bytes)> {
        if !self.trusted {
            if self.chain_info_asked || now < self.ask_at {
                return None;
            }
            self.chain_info_asked = true;
            return Some((Question::ChainInfo, rpc::request("getblockchaininfo", "[]")));
        }
        if self.template_asked.is_none() && now >= self.ask_at {
            self.template_asked = Some(self.tips);
            return Some((Question::Template, rpc::template_request(None)));
        }
        let id = self.long_poll_id.as_deref()?;
        if self.long_poll_asked.is_some() || now < self.long_poll_at {
            return None;
        }
        self.long_poll_asked = Some(self.tips);
        Some((Question::LongPoll, rpc::template_request(Some(id))))
    }

    /// When [`Self::poll_question`] next has something.
    pub fn next_question(&self) -> Option<Instant> {
        let ask = if self.trusted { self.template_asked.is_none() } else { !self.chain_info_asked };
        let poll = self.trusted && self.long_poll_id.is_some() && self.long_poll_asked.is_none();
        let ask = ask.then_some(self.ask_at);
        let poll = poll.then_some(self.long_poll_at);
        [ask, poll].into_iter().flatten().min()
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
            Question::Template => {
                let asked = self.template_asked.take();
                self.ask_at = now + self.refresh;
                self.on_template(now, asked, reply)
            }
            Question::LongPoll => {
                let asked = self.long_poll_asked.take();
                if *reply == Err(CallError::Timeout) {
                    return News::Nothing;
                }
                self.on_template(now, asked, reply)
            }
        }
    }

    fn on_chain_info(&mut self, now: Instant, reply: &Result<HttpReply, CallError>) -> News {
        self.chain_info_asked = false;
        match rpc::chain_info(reply) {
            Ok(chain) if chain.chain == self.network.to_core_arg() => {
                info!(
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

    fn on_template(
        &mut self,
        now: Instant,
        asked: Option<u64>,
        reply: &Result<HttpReply, CallError>,
    ) -> News {
        let parts = match rpc::template(reply) {
            Ok(parts) => parts,
            Err(error) => {
                self.failed(now, error.to_string(), advice(&error));
                return News::Nothing;
            }
        };
        let template = match Template::check(parts) {
            Ok(template) => template,
            Err(error) => {
                let what = format!("its template for the next block is refused: {error}");
                self.failed(now, what, template_advice(&error));
                return News::Nothing;
            }
        };
        self.recovered(now);
        let fresh = asked == Some(self.tips);
        let known = self.tip.is_some_and(|(hash, _)| hash == template.parent);
        let higher = self.tip.is_none_or(|(_, height)| template.height > height);
        if !known && !fresh && !higher {
            self.ask_now(now);
            return News::Nothing;
        }
        self.long_poll_id.clone_from(&template.long_poll_id);
        self.long_poll_at = now;
        if !known {
            self.tip = Some((template.parent, template.height));
            self.tips += 1;
            info!(
                height = template.height - 1,
                hash = display_hash(&template.parent),
                transactions = template.transactions.len(),
                "new tip"
            );
        }
        News::Template(Box::new(template))
    }

    fn failed(&mut self, now: Instant, what: String, advice: &str) {
        let pause = self.trouble.as_ref().map_or(FIRST_PAUSE, |trouble| trouble.pause * 2);
        let pause = pause.min(self.retry_pause_max);
        self.ask_at = now + pause;
        self.long_poll_at = now + pause;
        let since = self.trouble.as_ref().map_or(now, |trouble| trouble.since);
        let repeated = self.trouble.as_ref().filter(|trouble| trouble.what == what);
        let said = match repeated {
            Some(trouble) if now.since(trouble.said) < REMIND => trouble.said,
            Some(_) | None => {
                let seconds = now.since(since).as_secs();
                warn!(seconds, "node trouble: {what}; {advice}; asked again until it works");
                now
            }
        };
        self.trouble = Some(Trouble { what, since, said, pause });
    }

    fn recovered(&mut self, now: Instant) {
        if let Some(trouble) = self.trouble.take() {
            info!(seconds = now.since(trouble.since).as_secs(), "node works again");
        }
    }
}

fn advice(error: &RpcError) -> &'static str {
    match error {
        RpcError::Call(CallError::Connect(_)) => "start the node, or correct RPC_HOST and RPC_PORT",
        RpcError::Call(CallError::Timeout | CallError::Broken(_)) => {
            "see what the node is busy with"
        }
        RpcError::Unauthorized(_) => {
            "correct RPC_USER and RPC_PASSWORD, or name its cookie file in RPC_COOKIE_FILE; \
             a 403 can also mean that rpcallowip leaves this machine out"
        }
        RpcError::Refused { code: -9, .. } => "the node has no peers: connect it",
        RpcError::Refused { code: -10, .. } => "it is in its initial sync: mining starts after it",
        RpcError::Refused { code: -28, .. } => "it is starting up",
        RpcError::Refused { .. } => "see the node's log",
        RpcError::NotRpc { .. } | RpcError::BadResult(_) => {
            "check that RPC_HOST and RPC_PORT are a Bitcoin node's"
        }
    }
}

fn template_advice(error: &TemplateError) -> &'static str {
    match error {
        TemplateError::UnknownRule(_) => "a newer version of this server may know it",
        TemplateError::Signet => "choose another NETWORK",
        TemplateError::Height(_)
        | TemplateError::Bits(_)
        | TemplateError::TargetMismatch(_)
        | TemplateError::Value { .. }
        | TemplateError::Transaction(_)
        | TemplateError::TransactionHash { .. }
        | TemplateError::WitnessCommitment
        | TemplateError::WitnessCommitmentMissing
        | TemplateError::Weight(_) => "the node or something between it and us is broken",
    }
}
