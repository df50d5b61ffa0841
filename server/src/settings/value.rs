//! What each value may be: text in, type out, or one sentence that says what to do instead.
//!
//! A sentence is written to follow `NAME=value (source): `. It says what is wrong with the value
//! and what that means, then, after a semicolon, what to do.
//!
//! **Invariant:** knows no source and no other setting.

use core::time::Duration;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};

use bitcoin::Network;
use bitcoin::hashes::{Hash as _, sha256d};
use bitcoin::hex::FromHex;
use tracing_subscriber::EnvFilter;

use super::LogFormat;
use super::wishes::VoteMode;
use crate::bmm::Slot;
use crate::bmm::message::{BmmHeader, Votes};
use crate::config::{Fallback, SidechainKind};
use crate::mining::difficulty::Difficulty;

const REFRESH_SECONDS_MAX: u64 = 3_600;
const TIP_AGE_SECONDS: core::ops::RangeInclusive<u64> = 10..=86_400;
const ENGINES: core::ops::RangeInclusive<u32> = 1..=64;
const CONNECTIONS: core::ops::RangeInclusive<usize> = 1..=1_000_000;
const SHARE_SECONDS_MAX: u64 = 600;
/// Longest host name (RFC 1035, section 2.3.4).
const HOST_LENGTH_MAX: usize = 253;
const LOG_LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

type Parsed<T> = Result<T, String>;

/// A network with the names people give it, the first being ours, and bitcoind's RPC port.
type NetworkRow = (Network, &'static [&'static str], u16);

pub(super) const NETWORKS: [NetworkRow; 5] = [
    (Network::Bitcoin, &["main", "mainnet", "bitcoin"], 8332),
    (Network::Testnet, &["testnet3", "testnet", "test"], 18332),
    (Network::Testnet4, &["testnet4"], 48332),
    (Network::Signet, &["signet"], 38332),
    (Network::Regtest, &["regtest"], 18443),
];

/// Our name of `network`, as bitcoind says it in `getblockchaininfo` but for testnet3 (`test`).
pub(super) fn network_name(network: Network) -> &'static str {
    network_row(network).1[0]
}

pub(super) fn default_rpc_port(network: Network) -> u16 {
    network_row(network).2
}

fn network_row(network: Network) -> &'static NetworkRow {
    let row = NETWORKS.iter().find(|(known, ..)| *known == network);
    row.unwrap_or_else(|| unreachable!("every network has a row"))
}

pub(super) fn network(value: &str) -> Parsed<Network> {
    let lower = value.to_ascii_lowercase();
    let row = NETWORKS.iter().find(|(_, names, _)| names.contains(&lower.as_str()));
    row.map(|(network, ..)| *network).ok_or_else(|| {
        "is not a network, so neither blocks nor addresses could be checked; write main, \
         testnet3, testnet4, signet or regtest"
            .to_owned()
    })
}

#[expect(clippy::unnecessary_wraps, reason = "one shape for every kind of value")]
pub(super) fn text(value: &str) -> Parsed<String> {
    Ok(value.to_owned())
}

pub(super) fn host(value: &str) -> Parsed<String> {
    let inner = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = inner.unwrap_or(value);
    let numeric = address.split_once('%').map_or(address, |(before, _zone)| before);
    if numeric.parse::<Ipv6Addr>().is_ok() {
        return Ok(address.to_owned());
    }
    if value.contains('/') {
        return Err("is a URL, and only its host belongs here; write the host name or address \
                    alone, and its port into the port's own setting"
            .to_owned());
    }
    if let Some((host, port)) = value.rsplit_once(':')
        && port.parse::<u16>().is_ok()
    {
        let host = host.escape_debug();
        return Err(format!(
            "has a port, which has a setting of its own; write {host} here and {port} there"
        ));
    }
    let of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if value.len() > HOST_LENGTH_MAX || !value.bytes().all(of_a_name) {
        return Err("is neither a host name nor an IP address, so nothing can be reached by it; \
                    write one such as localhost, 192.0.2.7 or ::1"
            .to_owned());
    }
    Ok(value.to_owned())
}

/// A port to connect to.
pub(super) fn remote_port(value: &str) -> Parsed<u16> {
    value.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
        "is not a port, so there is nothing to connect to; write a whole number from 1 to 65535"
            .to_owned()
    })
}

/// Addresses of ZMQ publishers, commas between them.
pub(super) fn publishers(value: &str) -> Parsed<Vec<String>> {
    let each = value.split(',').map(str::trim).filter(|address| !address.is_empty());
    each.map(|address| {
        let place = address.strip_prefix("tcp://").and_then(|place| place.rsplit_once(':'));
        let (_, port) = place.filter(|(host_name, _)| host(host_name).is_ok()).ok_or_else(|| {
            format!(
                "{} is no address that a node publishes at, so nothing would be heard; write one \
                 such as tcp://127.0.0.1:28332",
                address.escape_debug()
            )
        })?;
        remote_port(port).map(|_| address.to_owned())
    })
    .collect()
}

/// The address of a proxy that is believed.
pub(super) fn proxy(value: &str) -> Parsed<IpAddr> {
    value.parse().map(|address: IpAddr| address.to_canonical()).map_err(|_| {
        "is not the IP address of a proxy; write those that may say where a miner really is, such \
         as 127.0.0.1"
            .to_owned()
    })
}

/// A port to listen on; 0 takes a free one.
pub(super) fn local_port(value: &str) -> Parsed<u16> {
    value.parse().map_err(|_| {
        "is not a port, so no miner could connect; write a whole number from 1 to 65535, or 0 \
         for any free one"
            .to_owned()
    })
}

pub(super) fn boolean(value: &str) -> Parsed<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("is neither yes nor no; write true or false".to_owned()),
    }
}

pub(super) fn slot(value: &str) -> Parsed<Slot> {
    value.parse().map(Slot).map_err(|_| {
        "is not a sidechain slot, so blocks would commit to no sidechain; write the slot's number \
         from 0 to 255"
            .to_owned()
    })
}

pub(super) fn sidechain_kind(value: &str) -> Parsed<SidechainKind> {
    match value.to_ascii_lowercase().as_str() {
        "bestblock" => Ok(SidechainKind::BestBlock),
        "thunder" => Ok(SidechainKind::Thunder),
        _ => Err("is no kind of sidechain daemon, so it is open what it is to be asked; write \
                  bestblock or thunder"
            .to_owned()),
    }
}

/// Bytes of a proposed sidechain's title: its length is one byte.
const TITLE_BYTES_MAX: usize = 255;
/// Bytes of a description. It stands in every job until it is mined, and small miners read a job
/// into a small buffer.
const DESCRIPTION_BYTES_MAX: usize = 1_000;

pub(super) fn title(value: &str) -> Parsed<String> {
    if value.is_empty() || value.len() > TITLE_BYTES_MAX {
        return Err("is no title of a sidechain, so none could be proposed; write 1 to 255 bytes"
            .to_owned());
    }
    Ok(value.to_owned())
}

pub(super) fn description(value: &str) -> Parsed<String> {
    if value.len() > DESCRIPTION_BYTES_MAX {
        return Err("is too long to be sent to every miner with every job; write 1000 bytes at \
                    most"
            .to_owned());
    }
    Ok(value.to_owned())
}

/// The bytes of a hash, in the order in which they are written.
pub(super) fn hash_id<const N: usize>(value: &str) -> Parsed<[u8; N]>
where
    [u8; N]: FromHex,
{
    hex(value).map_err(|cause| {
        format!(
            "is no hash ({cause}), so the proposal would say nothing; write {} hex digits",
            2 * N
        )
    })
}

/// A hash as it is displayed: the reverse of its bytes.
pub(super) fn displayed_hash(value: &str) -> Parsed<sha256d::Hash> {
    let bytes: [u8; 32] = hex(value).map_err(|cause| {
        format!(
            "is no hash of a proposal ({cause}), so no enforcer would count it; copy the \
             description_sha256d_hash that the enforcer shows"
        )
    })?;
    let mut bytes = bytes;
    bytes.reverse();
    Ok(sha256d::Hash::from_byte_array(bytes))
}

pub(super) fn vote_mode(value: &str) -> Parsed<VoteMode> {
    match value.to_ascii_lowercase().as_str() {
        "repeat" => Ok(VoteMode::Repeat),
        "abstain" => Ok(VoteMode::Abstain),
        "upvotes" => Ok(VoteMode::Upvotes),
        "leading-by-50" => Ok(VoteMode::LeadingBy50),
        _ => Err("is no way to vote, so no vote could be cast; write repeat, abstain, upvotes or \
                  leading-by-50"
            .to_owned()),
    }
}

pub(super) fn bundle_index(value: &str) -> Parsed<u16> {
    let index = value.parse().ok().filter(|index| *index < Votes::ALARM_TWO_BYTE);
    index.ok_or_else(|| {
        "is not the place of a bundle, so the vote would be for none; write a whole number from \
         0, the oldest, to 65533"
            .to_owned()
    })
}

pub(super) fn priority(value: &str) -> Parsed<u32> {
    value.parse().map_err(|_| {
        "is not a priority, so it is open which sidechain has a slot that two want; write a whole \
         number, the larger wins"
            .to_owned()
    })
}

pub(super) fn bmm_header(value: &str) -> Parsed<BmmHeader> {
    hex(value).map(BmmHeader).map_err(|cause| {
        format!(
            "is not the mark of a BMM commitment ({cause}), so no sidechain would find it; write \
             d1617368"
        )
    })
}

pub(super) fn public_key_hash(value: &str) -> Parsed<Option<[u8; 20]>> {
    if value.is_empty() {
        return Ok(None);
    }
    hex(value).map(Some).map_err(|cause| {
        format!(
            "is not a public key hash ({cause}), so blocks would pay nobody; write the key's \
             HASH160 as 40 hex digits, or put an address into PAYOUT_ADDRESS"
        )
    })
}

/// `N` bytes in hex, or what keeps `value` from being that.
fn hex<const N: usize>(value: &str) -> Parsed<[u8; N]>
where
    [u8; N]: FromHex,
{
    if let Some(odd) = value.chars().find(|character| !character.is_ascii_hexdigit()) {
        return Err(format!("'{}' is not a hex digit", odd.escape_debug()));
    }
    let (length, expected) = (value.len(), 2 * N);
    <[u8; N]>::from_hex(value).map_err(|_| format!("{length} hex digits instead of {expected}"))
}

pub(super) fn bmm_fallback(value: &str) -> Parsed<Fallback> {
    match value.to_ascii_lowercase().as_str() {
        "zero" => Ok(Fallback::Zero),
        "skip" => Ok(Fallback::Skip),
        _ => Err("is no fallback, so it is open what a block commits to while the sidechain \
                  daemon is away; write zero or skip"
            .to_owned()),
    }
}

pub(super) fn difficulty(value: &str) -> Parsed<Difficulty> {
    value.parse().map_err(|error| {
        format!(
            "{error}, so no share could be judged by it; write a positive decimal such as 1000, 1 \
             or 0.001"
        )
    })
}

/// A difficulty, or nothing.
pub(super) fn bound(value: &str) -> Parsed<Option<Difficulty>> {
    if value.is_empty() { Ok(None) } else { difficulty(value).map(Some) }
}

pub(super) fn share_interval(value: &str) -> Parsed<Duration> {
    let seconds = value.parse().ok().filter(|seconds| (1..=SHARE_SECONDS_MAX).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| {
        "is not an interval, so no pace could be aimed at; write whole seconds from 1 to 600"
            .to_owned()
    })
}

pub(super) fn basis_points(value: &str) -> Parsed<u16> {
    value.parse().ok().filter(|points| *points <= 10_000).ok_or_else(|| {
        "is not a part of a block, so nobody could be paid by it; write hundredths of a percent \
         from 0 to 10000, such as 100 for 1 %"
            .to_owned()
    })
}

pub(super) fn refresh_interval(value: &str) -> Parsed<Duration> {
    let seconds = value.parse().ok().filter(|seconds| (1..=REFRESH_SECONDS_MAX).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| {
        "is not an interval, so new transactions would come at no known time; write whole seconds \
         from 1 to 3600"
            .to_owned()
    })
}

pub(super) fn tip_age(value: &str) -> Parsed<Duration> {
    let seconds = value.parse().ok().filter(|seconds| TIP_AGE_SECONDS.contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| {
        "is not an age, so miners would be kept on a dead tip for no known time; write whole \
         seconds from 10 to 86400"
            .to_owned()
    })
}

pub(super) fn engines(value: &str) -> Parsed<u32> {
    value.parse().ok().filter(|count| ENGINES.contains(count)).ok_or_else(|| {
        "is no number of threads; write a whole number from 1 to 64, and no more than there are \
         cores"
            .to_owned()
    })
}

pub(super) fn connections(value: &str) -> Parsed<usize> {
    value.parse().ok().filter(|count| CONNECTIONS.contains(count)).ok_or_else(|| {
        "is no number of connections; write a whole number from 1 to 1000000".to_owned()
    })
}

/// A path, with a leading `~/` meaning `home`: only a shell would expand it, and a file of
/// settings has none.
pub(super) fn path(value: &str, home: Option<&Path>) -> PathBuf {
    match (value.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(value),
    }
}

pub(super) fn log_format(value: &str) -> Parsed<LogFormat> {
    match value.to_ascii_lowercase().as_str() {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("is no form of a log; write text or json".to_owned()),
    }
}

pub(super) fn log_level(value: &str) -> Parsed<String> {
    // EnvFilter takes a word it does not know for the name of a module, and then logs nothing.
    let unknown = value.split(',').map(str::trim).find(|directive| {
        let word = directive.bytes().all(|byte| byte.is_ascii_alphanumeric());
        word && !LOG_LEVELS.contains(&directive.to_ascii_lowercase().as_str())
    });
    if unknown.is_some() || EnvFilter::try_new(value).is_err() {
        return Err(
            "is no log level, so nothing might be logged; write error, warn, info, debug, \
                    trace or off, or directives such as warn,server=debug"
                .to_owned(),
        );
    }
    Ok(value.to_owned())
}
