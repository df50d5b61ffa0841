//! A sidechain's daemon: whether it says what to commit to, in the way that is expected of it.

use super::ask::{self, Reply, ask};
use super::node::Examined;
use super::report::{Line, Section};
use crate::config::{Fallback, SidechainKind};
use crate::node::rpc::{self, CallError, METHOD_NOT_FOUND, RpcError};
use crate::settings::Sidechain;

const DAEMON: &str = "h*";

/// Asks the daemon as the server would.
pub(super) async fn examine(sidechain: &Sidechain) -> Examined {
    let daemon = &sidechain.daemon;
    let asked = ask(daemon, question(sidechain.kind)).await;
    let mut line = verdict(sidechain.kind, &asked.reply);
    if line.fix.is_some() && is_unknown(&asked.reply) {
        let other = other(sidechain.kind);
        let reply = ask(daemon, question(other)).await.reply;
        line = unknown(sidechain.kind, read(other, &reply).is_ok());
    }
    match &mut line.fix {
        Some(_) => line.seen.push_str(match sidechain.fallback {
            Fallback::Zero => "; until it answers, blocks commit to a zeroed h*",
            Fallback::Skip => "; until it answers, blocks commit to nothing for it",
        }),
        None => line.seen = format!("{} in {} ms", line.seen, asked.took.as_millis()),
    }
    let at = ask::shown(&daemon.host, daemon.port);
    let subject = format!("sidechain {} ({at})", sidechain.slot);
    Examined { section: Section { subject, lines: vec![line] }, reward: None }
}

fn question(kind: SidechainKind) -> bytes::Bytes {
    match kind {
        SidechainKind::BestBlock => rpc::best_block_hash_request(),
        SidechainKind::Thunder => rpc::thunder::block_template_request(),
    }
}

/// How the settings name a kind.
const fn name(kind: SidechainKind) -> &'static str {
    match kind {
        SidechainKind::BestBlock => "bestblock",
        SidechainKind::Thunder => "thunder",
    }
}

const fn other(kind: SidechainKind) -> SidechainKind {
    match kind {
        SidechainKind::BestBlock => SidechainKind::Thunder,
        SidechainKind::Thunder => SidechainKind::BestBlock,
    }
}

/// The h\* in a reply.
fn read(kind: SidechainKind, reply: &Reply) -> Result<[u8; 32], RpcError> {
    match kind {
        SidechainKind::BestBlock => rpc::best_block_hash(reply),
        SidechainKind::Thunder => {
            rpc::thunder::block_template(reply).map(|template| template.critical_hash)
        }
    }
}

fn is_unknown(reply: &Reply) -> bool {
    matches!(rpc::result(reply), Err(RpcError::Refused { code: METHOD_NOT_FOUND, .. }))
}

/// A daemon that does not know the question; `answers_other` is whether it knows the other one.
fn unknown(kind: SidechainKind, answers_other: bool) -> Line {
    let (ours, other) = (name(kind), name(other(kind)));
    if answers_other {
        let seen = format!("it is of kind {other:?} and not {ours:?}");
        let fix = format!("give it a [[sidechain]] with kind = {other:?}");
        return Line::failed(DAEMON, seen, fix);
    }
    let seen = format!("it answers neither as {ours:?} nor as {other:?}");
    Line::failed(DAEMON, seen, "correct host and port of the sidechain: this is no such daemon's")
}

fn verdict(kind: SidechainKind, reply: &Reply) -> Line {
    match read(kind, reply) {
        Ok(hash) if hash == [0; 32] => Line::warning(
            DAEMON,
            "it gives 32 zero bytes, which commit to nothing",
            "see whether the sidechain has a block yet",
        ),
        Ok(hash) => {
            let h_star = crate::mining::hex::encode(&hash);
            Line::passed(DAEMON, format!("it gives {h_star} as {:?}", name(kind)))
        }
        Err(error) => {
            let fix = match &error {
                RpcError::Call(CallError::Connect(_)) => {
                    "start the sidechain's daemon, or correct its host and port"
                }
                RpcError::Call(CallError::Timeout | CallError::Broken(_)) => {
                    "see what the daemon is busy with"
                }
                RpcError::Unauthorized(_) => "correct the user and password of the sidechain",
                RpcError::Refused { .. } => "see the daemon's log",
                RpcError::NotRpc { .. } | RpcError::BadResult(_) => {
                    "correct host, port and kind of the sidechain: this is no such daemon's"
                }
            };
            Line::failed(DAEMON, error.to_string(), fix)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;
    use crate::node::rpc::HttpReply;

    #[expect(clippy::unnecessary_wraps, reason = "the form in which replies come")]
    fn answer(status: u16, body: &str) -> Reply {
        Ok(HttpReply { status, body: bytes::Bytes::copy_from_slice(body.as_bytes()) })
    }

    #[test]
    fn an_h_star_is_one_and_anything_else_is_none() {
        let check = |kind, reply: &Reply, expected, seen: &str| {
            let line = verdict(kind, reply);
            assert_eq!(line.verdict, expected, "{}", line.seen);
            assert!(line.seen.contains(seen), "{}", line.seen);
        };
        let hash = |byte: &str| format!("{{\"result\":\"{}\",\"id\":1}}", byte.repeat(32));
        let best = SidechainKind::BestBlock;
        check(best, &answer(200, &hash("ab")), Verdict::Passed, "abab");
        check(best, &answer(200, &hash("00")), Verdict::Warning, "zero");
        check(best, &answer(200, r#"{"result":"ab"}"#), Verdict::Failed, "64 hex");
        check(best, &answer(401, ""), Verdict::Failed, "HTTP 401");
        check(best, &answer(200, "<html>"), Verdict::Failed, "html");
        check(best, &Err(CallError::Timeout), Verdict::Failed, "no answer");
        let template = format!(
            "{{\"result\":{{\"critical_hash\":\"{}\",\"block\":{{}}}},\"id\":1}}",
            "cd".repeat(32)
        );
        check(SidechainKind::Thunder, &answer(200, &template), Verdict::Passed, "cdcd");
        check(SidechainKind::Thunder, &answer(200, &hash("ab")), Verdict::Failed, "lacks");
    }

    #[test]
    fn a_daemon_of_the_other_kind_is_named() {
        let gone = answer(200, r#"{"error":{"code":-32601,"message":"Method not found"}}"#);
        assert!(is_unknown(&gone) && !is_unknown(&answer(401, "")));
        let line = unknown(SidechainKind::BestBlock, true);
        assert!(line.fix.is_some_and(|fix| fix.contains("kind = \"thunder\"")));
        assert!(unknown(SidechainKind::Thunder, false).seen.contains("neither"));
    }
}
