//! What the node publishes unasked (ZMQ): whether it is heard, and where it is to be heard.

use bytes::Bytes;

use super::ask::Reply;
use super::report::Line;
use crate::config::NodeRole;
use crate::node::rpc::survey::Publisher;
use crate::node::rpc::{self, survey};
use crate::runtime::publisher::subscribed;
use crate::runtime::{Connect as _, TcpConnector};

const ZMQ: &str = "zmq";

/// What the server wants to hear.
const WANTED: [&str; 2] = ["pubhashblock", "pubsequence"];

/// Asks the node what it publishes and where.
pub(super) fn question() -> Bytes {
    rpc::request("getzmqnotifications", "[]")
}

/// Subscribes at each of `addresses`; `notices` is the node's answer to [`question`], if it could
/// be asked.
pub(super) async fn examine(
    addresses: &[String],
    role: NodeRole,
    notices: Option<&Reply>,
) -> Vec<Line> {
    let known = notices.and_then(|reply| survey::publishers(reply).ok());
    if addresses.is_empty() {
        return vec![unheard(role, known.as_deref())];
    }
    let mut lines = Vec::new();
    for address in addresses {
        lines.push(verdict(address, hear(address).await, known.as_deref()));
    }
    lines
}

/// Why nothing is heard at `address`, if so.
async fn hear(address: &str) -> Result<(), String> {
    // A subscriber tries for ever; a plain connection says what is wrong.
    let place = address.strip_prefix("tcp://").and_then(|place| place.rsplit_once(':'));
    if let Some((host, port)) = place.and_then(|(host, port)| Some((host, port.parse().ok()?))) {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let connecting =
            tokio::time::timeout(super::ask::PATIENCE, TcpConnector.connect(host, port));
        match connecting.await {
            Err(_) => return Err("no connection in time".to_owned()),
            Ok(Err(error)) => return Err(error.to_string()),
            Ok(Ok(_)) => {}
        }
    }
    subscribed(address).await.map(drop).map_err(|error| error.to_string())
}

fn verdict(address: &str, heard: Result<(), String>, known: Option<&[Publisher]>) -> Line {
    if let Err(error) = heard {
        let fix = match known {
            Some(known) if !known.is_empty() => {
                format!("correct NODE_ZMQ: the node publishes {}", listed(known))
            }
            Some(_) => configure(),
            None => format!("correct NODE_ZMQ; {}", configure()),
        };
        return Line::failed(ZMQ, format!("{address}: {error}"), fix);
    }
    let missing: Vec<&str> = WANTED
        .into_iter()
        .filter(|wanted| {
            known.is_some_and(|known| known.iter().all(|publisher| publisher.topic != *wanted))
        })
        .collect();
    if missing.is_empty() {
        return Line::passed(ZMQ, format!("{address}: subscribed to hashblock and sequence"));
    }
    let missing: Vec<String> = missing.iter().map(|topic| format!("zmq{topic}")).collect();
    Line::warning(
        ZMQ,
        format!("{address}: subscribed, but the node has no {}", missing.join(" and no ")),
        configure(),
    )
}

/// Nothing is to be heard by the settings.
fn unheard(role: NodeRole, known: Option<&[Publisher]>) -> Line {
    if role == NodeRole::SubmitOnly {
        return Line::not_checked(ZMQ, "nothing depends on what a submit_only node publishes");
    }
    let wanted: Vec<Publisher> = known
        .unwrap_or_default()
        .iter()
        .filter(|publisher| WANTED.contains(&publisher.topic.as_str()))
        .cloned()
        .collect();
    let fix = if wanted.is_empty() {
        format!("{}, and name that address in NODE_ZMQ", configure())
    } else {
        format!("set NODE_ZMQ: the node publishes {}", listed(&wanted))
    };
    let seen = "NODE_ZMQ is empty: new tips are heard by long poll, new bids a second late";
    Line::warning(ZMQ, seen, fix)
}

fn configure() -> String {
    "give bitcoind zmqpubhashblock and zmqpubsequence, both tcp://127.0.0.1:28332".to_owned()
}

fn listed(known: &[Publisher]) -> String {
    let each = known.iter().map(|publisher| {
        let topic = publisher.topic.strip_prefix("pub").unwrap_or(&publisher.topic);
        format!("{topic} at {}", publisher.address)
    });
    each.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    const AT: &str = "tcp://127.0.0.1:28332";

    fn publishes(topics: &[&str]) -> Vec<Publisher> {
        let each = topics.iter().map(|topic| Publisher {
            topic: (*topic).to_owned(),
            address: "tcp://0.0.0.0:28332".to_owned(),
        });
        each.collect()
    }

    #[test]
    fn whoever_is_not_heard_is_looked_for_where_it_speaks() {
        let check = |heard: Result<(), String>, known: Option<&[&str]>, expected, fix: &str| {
            let known = known.map(publishes);
            let line = verdict(AT, heard, known.as_deref());
            assert_eq!(line.verdict, expected, "{}", line.seen);
            let its = line.fix.unwrap_or_default();
            assert!(its.contains(fix), "{its}");
        };
        let refused = || Err("Connection refused".to_owned());
        let all = ["pubhashblock", "pubsequence"];
        check(Ok(()), Some(&all), Verdict::Passed, "");
        check(Ok(()), None, Verdict::Passed, "");
        check(Ok(()), Some(&all[..1]), Verdict::Warning, "zmqpubsequence");
        check(refused(), Some(&all), Verdict::Failed, "sequence at tcp://0.0.0.0:28332");
        check(refused(), Some(&[]), Verdict::Failed, "zmqpubhashblock");
        check(refused(), None, Verdict::Failed, "NODE_ZMQ");
    }

    #[test]
    fn an_empty_setting_costs_a_moment_and_nothing_more() {
        let check = |role, known: &[&str], expected, fix: &str| {
            let line = unheard(role, Some(&publishes(known)));
            assert_eq!(line.verdict, expected);
            let its = line.fix.unwrap_or_default();
            assert!(its.contains(fix), "{its}");
        };
        check(NodeRole::SubmitOnly, &[], Verdict::NotChecked, "");
        check(NodeRole::Follow, &[], Verdict::Warning, "give bitcoind zmqpubhashblock");
        check(NodeRole::Follow, &["pubrawtx"], Verdict::Warning, "give bitcoind");
        check(NodeRole::Follow, &["pubhashblock"], Verdict::Warning, "hashblock at tcp://0.0.0.0");
    }
}
