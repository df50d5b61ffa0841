//! A node's template, and what the node thinks of the block that the server would make of it.

use bitcoin::Network;

use super::ask::{Asked, Reply, ask};
use super::clock::Times;
use super::report::Line;
use crate::mining::block::FoundBlock;
use crate::mining::template::Template;
use crate::node::follower::{advice, template_advice};
use crate::node::rpc::{self, RpcError, proposal};
use crate::pool::rehearsal::rehearse;
use crate::runtime::{config, wall_clock};
use crate::settings::{RpcEndpoint, Settings};

pub(super) const TEMPLATE: &str = "template";
pub(super) const PROPOSAL: &str = "proposal";

/// How often a template is proposed while the tip moves on.
const ATTEMPTS_MAX: usize = 3;

/// What a node's template says.
pub(super) struct Found {
    pub(super) lines: Vec<Line>,
    pub(super) times: Option<Times>,
    /// What the next block pays, in satoshis.
    pub(super) reward: Option<u64>,
}

/// Asks for a template, and proposes its block where the node takes proposals.
pub(super) async fn examine(settings: &Settings, endpoint: &RpcEndpoint) -> Found {
    for _ in 1..ATTEMPTS_MAX {
        let (found, tip_moved) = attempt(settings, endpoint).await;
        if !tip_moved {
            return found;
        }
    }
    attempt(settings, endpoint).await.0
}

/// Whether the tip moved between template and proposal comes with what was found.
async fn attempt(settings: &Settings, endpoint: &RpcEndpoint) -> (Found, bool) {
    let asked = ask(endpoint, rpc::template_request(None, false)).await;
    let (template, line, times) = read(&asked, settings.network);
    let Some(template) = template else {
        let untold = Line::not_checked(PROPOSAL, "there is no template to make a block of");
        return (Found { lines: vec![line, untold], times, reward: None }, false);
    };
    let reward = Some(template.value);
    let found = |proposal| Found { lines: vec![line, proposal], times, reward };
    if !template.takes_proposals {
        let why = "its templates do not offer it (an enforcer's never do)";
        return (found(Line::not_checked(PROPOSAL, why)), false);
    }
    let block = match rehearse(config(settings), template) {
        Ok(block) => block,
        Err(error) => {
            let fix = "mend that first: no job is made of such a template";
            return (found(Line::failed(PROPOSAL, error.to_string(), fix)), false);
        }
    };
    let reply = ask(endpoint, proposal::proposal_request(&block.bytes)).await.reply;
    let tip_moved = matches!(proposal::opinion(&reply), Ok(proposal::Opinion::NoNews(_)));
    (found(judged(&reply, &block)), tip_moved)
}

/// The template, if it can be mined on, and what is said of it.
fn read(asked: &Asked, network: Network) -> (Option<Template>, Line, Option<Times>) {
    let parts = match rpc::template(&asked.reply) {
        Ok(parts) => parts,
        Err(error) => return (None, no_template(&error, network), None),
    };
    let times = Times { ours: wall_clock().seconds(), template: parts.time, least: parts.time_min };
    match Template::check(parts) {
        Err(error) => {
            let line = Line::failed(TEMPLATE, error.to_string(), template_advice(&error));
            (None, line, Some(times))
        }
        Ok(template) => {
            let seen = format!("{} ({} ms)", summary(&template), asked.took.as_millis());
            (Some(template), Line::passed(TEMPLATE, seen), Some(times))
        }
    }
}

fn no_template(error: &RpcError, network: Network) -> Line {
    if network == Network::Signet && matches!(error, RpcError::Refused { .. }) {
        let fix = "choose another NETWORK: signet's blocks need the signer's key";
        return Line::failed(TEMPLATE, error.to_string(), fix);
    }
    Line::failed(TEMPLATE, error.to_string(), advice(error))
}

fn summary(template: &Template) -> String {
    let kind = match template.given {
        Some(_) => "an enforcer's, with its own coinbase",
        None => "a plain node's",
    };
    format!(
        "{kind}, for block {}: {} transactions, {} sat to pay out",
        template.height,
        template.transactions.len(),
        template.value
    )
}

fn judged(reply: &Reply, block: &FoundBlock) -> Line {
    let seen = format!("the block that the server would mine, {} bytes,", block.bytes.len());
    match proposal::opinion(reply) {
        Ok(proposal::Opinion::Taken) => {
            Line::passed(PROPOSAL, format!("{seen} would be taken, were its work done"))
        }
        Ok(proposal::Opinion::NoNews(why)) => Line::not_checked(
            PROPOSAL,
            format!("the node's tip moves faster than blocks can be proposed ({why})"),
        ),
        Ok(proposal::Opinion::Ignored) => Line::not_checked(
            PROPOSAL,
            "the node offers it and then gives a template in place of an answer",
        ),
        Ok(proposal::Opinion::Refused(why)) => Line::failed(
            PROPOSAL,
            format!("{seen} is refused: {why}"),
            "nothing that is found would count: see the node's log for what the word means, and \
             leave out your own [[propose]], [[acknowledge]] and [votes] first",
        ),
        Err(error) => Line::failed(PROPOSAL, error.to_string(), advice(&error)),
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::doctor::Verdict;
    use crate::node::rpc::HttpReply;

    #[expect(clippy::unnecessary_wraps, reason = "the form in which replies come")]
    fn reply(text: &str) -> Reply {
        Ok(HttpReply { status: 200, body: text.to_owned().into() })
    }

    fn asked(result: &str) -> Asked {
        let reply = reply(&format!("{{\"result\":{result},\"id\":1}}"));
        Asked { reply, took: Duration::from_millis(3) }
    }

    #[test]
    fn a_template_is_told_by_its_maker() {
        let check = |text: &str, takes_proposals, seen: &str| {
            let (template, line, times) = read(&asked(text), Network::Regtest);
            assert_eq!((line.verdict, line.seen.as_str()), (Verdict::Passed, seen));
            assert!(times.is_some());
            assert_eq!(template.map(|template| template.takes_proposals), Some(takes_proposals));
        };
        check(
            fixtures::GBT_BITCOIND_FOUR_BIDS,
            true,
            "a plain node's, for block 144: 7 transactions, 5000030444 sat to pay out (3 ms)",
        );
        check(
            fixtures::GBT_ENFORCER_THREE_BIDS,
            false,
            "an enforcer's, with its own coinbase, for block 144: 5 transactions, 5000023000 sat \
             to pay out (3 ms)",
        );
    }

    #[test]
    fn what_cannot_be_mined_on_is_said_with_its_fix() {
        let check = |network, text: &str, seen: &str, fix: &str| {
            let asked = Asked { reply: reply(text), took: Duration::ZERO };
            let (template, line, _) = read(&asked, network);
            assert!(template.is_none());
            assert_eq!(line.verdict, Verdict::Failed);
            assert!(line.seen.contains(seen), "{}", line.seen);
            let its = line.fix.unwrap_or_default();
            assert!(its.contains(fix), "{its}");
        };
        let main = Network::Bitcoin;
        check(main, r#"{"error":{"code":-9,"message":"not connected"}}"#, "-9", "connect it");
        check(main, r#"{"error":{"code":-10,"message":"downloading"}}"#, "-10", "initial sync");
        let signet = r#"{"error":{"code":-8,"message":"needs the signet rule"}}"#;
        check(Network::Signet, signet, "signet rule", "another NETWORK");
        let demands = fixtures::GBT_BITCOIND_FOUR_BIDS.replace("\"!segwit\"", "\"!signet\"");
        let text = format!("{{\"result\":{demands},\"id\":1}}");
        check(Network::Regtest, &text, "signet", "another NETWORK");
        check(main, "<html>", "no JSON-RPC", "Bitcoin node");
    }

    #[test]
    fn a_proposals_answer_is_a_verdict_on_what_would_be_mined() {
        let check = |text: &str, expected, seen: &str| {
            let block = FoundBlock { height: 1, hash: [0; 32], bytes: vec![0; 300] };
            let line = judged(&asked(text).reply, &block);
            assert_eq!(line.verdict, expected);
            assert!(line.seen.contains(seen), "{}", line.seen);
        };
        check("null", Verdict::Passed, "300 bytes, would be taken");
        check(r#""bad-txns-vout-toolarge""#, Verdict::Failed, "bad-txns-vout-toolarge");
        check(r#""inconclusive-not-best-prevblk""#, Verdict::NotChecked, "moves");
        check(r#"{"height":1}"#, Verdict::NotChecked, "a template");
        check("7", Verdict::Failed, "lacks");
    }
}
