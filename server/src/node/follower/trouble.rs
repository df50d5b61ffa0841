//! What is wrong with a node: since when, when it is said again, and what to do about it.

use core::time::Duration;

use super::super::rpc::{CallError, RpcError};
use crate::clock::Instant;
use crate::mining::template::TemplateError;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// How often one trouble is spoken of.
const REMIND: Duration = Duration::from_mins(1);
/// How soon after it another may be.
const NEWS_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) what: String,
    pub(super) since: Instant,
    /// What was last said of it, and when.
    pub(super) said: Option<(Instant, String)>,
    /// How long to wait before the next try.
    pub(super) pause: Duration,
}

impl Trouble {
    /// The first failure, or one more after `last`.
    pub(super) fn after(
        last: Option<Self>,
        now: Instant,
        what: String,
        pause_max: Duration,
    ) -> Self {
        let pause = last.as_ref().map_or(FIRST_PAUSE, |last| last.pause * 2).min(pause_max);
        let since = last.as_ref().map_or(now, |last| last.since);
        Self { what, since, said: last.and_then(|last| last.said), pause }
    }

    /// Whether it is to be spoken of; if so, it counts as said.
    pub(super) fn is_news(&mut self, now: Instant) -> bool {
        let news = self.said.as_ref().is_none_or(|(when, said)| {
            now.since(*when) >= if *said == self.what { REMIND } else { NEWS_PAUSE }
        });
        if news {
            self.said = Some((now, self.what.clone()));
        }
        news
    }
}

/// What to do about a call that fails.
pub fn advice(error: &RpcError) -> &'static str {
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

/// What to do about a template that is refused.
pub fn template_advice(error: &TemplateError) -> &'static str {
    match error {
        TemplateError::UnknownRule(_) => "a newer version of this server may know it",
        TemplateError::Signet => "choose another NETWORK",
        TemplateError::Coinbase(_) => {
            "the template's maker gives a coinbase that this server does not understand"
        }
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
