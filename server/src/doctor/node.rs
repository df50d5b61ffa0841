//! A node: whether it answers, lets us in, is on the right chain and up with it.
//!
//! Not here: its templates (`template.rs`), its clock (`clock.rs`), what it publishes
//! (`publisher.rs`).

use core::time::Duration;

use bitcoin::Network;

use super::ask::{self, Asked, Reply, ask};
use super::report::{Line, Section};
use super::{clock, publisher, template};
use crate::clock::UnixTime;
use crate::config::NodeRole;
use crate::node::follower::advice;
use crate::node::rpc::{self, CallError, METHOD_NOT_FOUND, RpcError};
use crate::runtime::wall_clock;
use crate::settings::{Credentials, RpcEndpoint, Settings};

const REACHABLE: &str = "reachable";
const LOGIN: &str = "login";
const CHAIN: &str = "chain";
const SYNC: &str = "sync";
const PEERS: &str = "peers";

/// Headers that a node may know before it has their blocks.
const HEADERS_AHEAD_MAX: u32 = 1;
/// An hour and a half without a block is rare on a network with a block every ten minutes, one in
/// 8,000; a node that lost its network looks like that.
const TIP_AGE_MAX: Duration = Duration::from_mins(90);

/// A node of the settings.
pub(super) struct Node {
    /// Its place, from 0.
    place: usize,
    rpc: RpcEndpoint,
    zmq: Vec<String>,
    role: NodeRole,
}

/// What was found, and what the next block pays in satoshis where the node said so.
pub(super) struct Examined {
    pub(super) section: Section,
    pub(super) reward: Option<u64>,
}

/// The first node, then those of the settings file.
pub(super) fn all(settings: &Settings) -> Vec<Node> {
    let (rpc, zmq) = (settings.node.clone(), settings.node_zmq.clone());
    let first = Node { place: 0, rpc, zmq, role: NodeRole::Follow };
    let others = settings.other_nodes.iter().zip(1..).map(|(other, place)| {
        let (rpc, zmq) = (other.rpc.clone(), other.zmq.clone());
        Node { place, rpc, zmq, role: other.role }
    });
    core::iter::once(first).chain(others).collect()
}

impl Node {
    /// Makes every check of this node.
    pub(super) async fn examine(&self, settings: &Settings) -> Examined {
        let cookie = ask::cookie_problem(&self.rpc);
        let mut endpoint = self.rpc.clone();
        if cookie.is_some() {
            // Whether it is there can be seen all the same.
            endpoint.credentials = Credentials::None;
        }
        let info = ask(&endpoint, rpc::request("getblockchaininfo", "[]")).await;
        let mut lines = vec![reachable(&info)];
        lines.push(after(&lines, LOGIN, || login(&info.reply, cookie)));
        lines.push(after(&lines, CHAIN, || chain(&info.reply, settings.network)));
        lines.push(after(&lines, SYNC, || {
            sync(&info.reply, settings.network, wall_clock().seconds())
        }));
        lines.push(if let Some(why) = standing_in_the_way(&lines) {
            Line::not_checked(PEERS, why)
        } else {
            let reply = ask(&endpoint, rpc::request("getnetworkinfo", "[]")).await.reply;
            peers(&reply, settings.network)
        });
        let reward = self.examine_templates(settings, &mut lines).await;
        // Says where it publishes, if it can be asked anything.
        let knows = standing_in_the_way(&lines[..2]).is_none();
        let notices = async || ask(&endpoint, publisher::question()).await.reply;
        let notices = if knows { Some(notices().await) } else { None };
        lines.extend(publisher::examine(&self.zmq, self.role, notices.as_ref()).await);
        self.own_words(&mut lines);
        let at = ask::shown(&self.rpc.host, self.rpc.port);
        let only = if self.role == NodeRole::SubmitOnly { ", submit_only" } else { "" };
        let subject = format!("node {} ({at}{only})", self.place + 1);
        Examined { section: Section { subject, lines }, reward }
    }

    /// What is mined on; gives what the next block pays, in satoshis.
    async fn examine_templates(&self, settings: &Settings, lines: &mut Vec<Line>) -> Option<u64> {
        let why = if self.role == NodeRole::SubmitOnly {
            Some("a submit_only node is asked for no templates".to_owned())
        } else {
            standing_in_the_way(lines)
        };
        if let Some(why) = why {
            for check in [template::TEMPLATE, template::PROPOSAL, clock::CLOCK] {
                lines.push(Line::not_checked(check, why.clone()));
            }
            return None;
        }
        let found = template::examine(settings, &self.rpc).await;
        lines.extend(found.lines);
        lines.push(match found.times {
            Some(times) => clock::verdict(times),
            None => Line::not_checked(clock::CLOCK, "the time comes with a template"),
        });
        found.reward
    }

    /// Names a further node's settings as the settings file does.
    fn own_words(&self, lines: &mut [Line]) {
        if self.place == 0 {
            return;
        }
        let words = [
            ("RPC_HOST and RPC_PORT", "host and port in its [[node]]"),
            ("RPC_USER and RPC_PASSWORD", "user and password in its [[node]]"),
            ("RPC_COOKIE_FILE", "cookie_file in its [[node]]"),
            ("NODE_ZMQ", "zmq in its [[node]]"),
        ];
        for text in lines.iter_mut().flat_map(|line| [Some(&mut line.seen), line.fix.as_mut()]) {
            let Some(text) = text else { continue };
            for (first, other) in words {
                *text = text.replace(first, other);
            }
        }
    }
}

/// Why nothing further can be asked.
fn standing_in_the_way(lines: &[Line]) -> Option<String> {
    lines.iter().find_map(Line::stands_in_the_way)
}

/// Makes a check unless one before it failed.
fn after(lines: &[Line], check: &'static str, verdict: impl FnOnce() -> Line) -> Line {
    match standing_in_the_way(lines) {
        Some(why) => Line::not_checked(check, why),
        None => verdict(),
    }
}

fn reachable(asked: &Asked) -> Line {
    let correct = "correct RPC_HOST and RPC_PORT";
    match rpc::result(&asked.reply) {
        Err(RpcError::Call(error @ CallError::Connect(_))) => Line::failed(
            REACHABLE,
            error.to_string(),
            format!("start the node, with server=1 if it is a bitcoind, or {correct}"),
        ),
        Err(RpcError::Call(CallError::Timeout)) => Line::failed(
            REACHABLE,
            format!("no answer within {} s", ask::PATIENCE.as_secs()),
            format!(
                "see what the node is busy with and whether a firewall is between, or {correct}"
            ),
        ),
        Err(error @ (RpcError::Call(CallError::Broken(_)) | RpcError::NotRpc { .. })) => {
            Line::failed(REACHABLE, error.to_string(), format!("{correct}: this is no node's"))
        }
        Err(RpcError::Unauthorized(_) | RpcError::Refused { .. } | RpcError::BadResult(_))
        | Ok(_) => Line::passed(REACHABLE, format!("answers in {} ms", asked.took.as_millis())),
    }
}

fn login(reply: &Reply, cookie: Option<String>) -> Line {
    if let Some(cookie) = cookie {
        return Line::failed(
            LOGIN,
            cookie,
            "start the node, which writes it; correct RPC_COOKIE_FILE, or let this user read it",
        );
    }
    match rpc::result(reply) {
        Err(error @ RpcError::Unauthorized(_)) => {
            Line::failed(LOGIN, error.to_string(), advice(&error))
        }
        Err(
            RpcError::Call(_)
            | RpcError::NotRpc { .. }
            | RpcError::Refused { .. }
            | RpcError::BadResult(_),
        )
        | Ok(_) => Line::passed(LOGIN, "it lets us in"),
    }
}

/// Whether the node knows no more than an enforcer does.
fn is_enforcer<T>(answer: &Result<T, RpcError>) -> bool {
    matches!(answer, Err(RpcError::Refused { code: METHOD_NOT_FOUND, .. }))
}

const ENFORCER: &str = "it answers getblocktemplate and submitblock only, as an enforcer does; to \
                        have this checked, name the node behind it as a submit_only [[node]]";

fn chain(reply: &Reply, network: Network) -> Line {
    let answer = rpc::chain_info(reply);
    let ours = network.to_core_arg();
    match answer {
        _ if is_enforcer(&answer) => Line::not_checked(CHAIN, ENFORCER),
        Ok(info) if info.chain == ours => {
            Line::passed(CHAIN, format!("{ours}, at height {}", info.blocks))
        }
        Ok(info) => Line::failed(
            CHAIN,
            format!("it is on chain {:?}, but NETWORK says {ours:?}", info.chain),
            format!("set NETWORK={}, or RPC_HOST and RPC_PORT of a {ours:?} node", info.chain),
        ),
        Err(error) => Line::failed(CHAIN, error.to_string(), advice(&error)),
    }
}

/// `now` is our clock.
fn sync(reply: &Reply, network: Network, now: UnixTime) -> Line {
    let answer = rpc::chain_info(reply);
    if is_enforcer(&answer) {
        return Line::not_checked(SYNC, ENFORCER);
    }
    let info = match answer {
        Ok(info) => info,
        Err(error) => return Line::failed(SYNC, error.to_string(), advice(&error)),
    };
    let (blocks, headers) = (info.blocks, info.headers);
    let seen = format!("block {blocks} of {headers}");
    if network == Network::Regtest {
        // There "initial" only says that the newest block is a day old.
        return Line::passed(SYNC, seen);
    }
    if info.syncing {
        let seen = format!("{seen}, in its initial block download");
        return Line::failed(SYNC, seen, "wait until it has all blocks: mining starts then");
    }
    if headers > blocks.saturating_add(HEADERS_AHEAD_MAX) {
        let fix = "wait until it has caught up: what is mined before is stale";
        return Line::warning(SYNC, seen, fix);
    }
    let age = info.time.map_or(0, |time| now.0.saturating_sub(time));
    if network == Network::Bitcoin && u64::from(age) > TIP_AGE_MAX.as_secs() {
        let seen = format!("{seen}, the newest {} minutes old", age / 60);
        return Line::warning(SYNC, seen, "see whether the node still hears of its peers' blocks");
    }
    Line::passed(SYNC, seen)
}

fn peers(reply: &Reply, network: Network) -> Line {
    let answer = rpc::survey::network_info(reply);
    let fix = "connect it: a block that nobody hears of is lost, and on main it gives no template";
    match answer {
        _ if is_enforcer(&answer) => Line::not_checked(PEERS, ENFORCER),
        Ok(info) if info.connections == 0 && network == Network::Regtest => {
            Line::passed(PEERS, format!("{}; none, and regtest needs none", info.subversion))
        }
        Ok(info) if info.connections == 0 && network == Network::Bitcoin => {
            Line::failed(PEERS, "none", fix)
        }
        Ok(info) if info.connections == 0 => Line::warning(PEERS, "none", fix),
        Ok(info) => Line::passed(PEERS, format!("{}, {} peers", info.subversion, info.connections)),
        Err(error) => Line::failed(PEERS, error.to_string(), advice(&error)),
    }
}

#[cfg(test)]
mod tests;
