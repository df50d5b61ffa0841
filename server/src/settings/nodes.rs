//! Nodes beside the first: the sections `[[node]]` of the settings file, in order of preference.
//!
//! What a section does not say is as for the first node, but for what proves who calls.

use std::path::Path;

use bitcoin::Network;

use super::entries::Entry;
use super::reader::{Reader, basic};
use super::sections::Section;
use super::source::Findings;
use super::table::{RPC_HOST, Setting};
use super::{Credentials, RpcEndpoint, value};
use crate::config::NodeRole;

const IN_NODE: &str = "node";

const HOST: Setting = Setting::new("host", "HOST", RPC_HOST.default)
    .means(IN_NODE, "Host name or address of one more node's JSON-RPC.");
const PORT: Setting = Setting::new("port", "PORT", "")
    .noted("by NETWORK, as RPC_PORT")
    .means(IN_NODE, "Port of its JSON-RPC.");
const USER: Setting =
    Setting::new("user", "USER", "").means(IN_NODE, "User name at the node (its rpcuser).");
const PASSWORD: Setting = Setting::new("password", "PASSWORD", "")
    .means(IN_NODE, "Password at the node (its rpcpassword).")
    .secret();
const COOKIE_FILE: Setting = Setting::new("cookie-file", "FILE", "")
    .means(IN_NODE, "As RPC_COOKIE_FILE: its .cookie file, used when user is empty.");
const ZMQ: Setting =
    Setting::new("zmq", "ADDRESSES", "").means(IN_NODE, "As NODE_ZMQ: where it publishes.");
const SUBMIT_ONLY: Setting = Setting::new("submit-only", "BOOLEAN", "false").means(
    IN_NODE,
    "Whether it is handed found blocks and asked what became of them, and nothing else: for a node \
     that is slow, far away, or not watched by an enforcer as the others are.",
);

/// Nodes beside that of `RPC_HOST`.
pub(super) const NODE: Section = Section {
    name: IN_NODE,
    many: true,
    fields: &[HOST, PORT, USER, PASSWORD, COOKIE_FILE, ZMQ, SUBMIT_ONLY],
    nested: None,
};

/// A node beside the first.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OtherNode {
    /// Its JSON-RPC.
    pub rpc: RpcEndpoint,
    /// Where it publishes what happens (ZMQ).
    pub zmq: Vec<String>,
    /// What it is for.
    pub role: NodeRole,
}

/// All nodes of the settings file, or `None` and at least one problem.
pub(super) fn nodes(reader: &mut Reader, network: Option<Network>) -> Option<Vec<OtherNode>> {
    let Reader { entries, findings, home, .. } = reader;
    let port = value::default_rpc_port(network.unwrap_or(Network::Regtest)).to_string();
    let of_section = entries.iter_mut().filter(|entry| entry.section.name == IN_NODE);
    let read: Vec<Option<OtherNode>> =
        of_section.map(|entry| node(entry, findings, home.as_deref(), &port)).collect();
    read.into_iter().collect()
}

fn node(
    entry: &mut Entry,
    findings: &mut Findings,
    home: Option<&Path>,
    default_port: &str,
) -> Option<OtherNode> {
    let host = entry.read(findings, &HOST, value::host);
    let port = entry.read_or(findings, &PORT, default_port, value::remote_port);
    let user = entry.read_user(findings, &USER);
    let password = entry.read(findings, &PASSWORD, value::text);
    let cookie = entry.read(findings, &COOKIE_FILE, |text| Ok(value::path(text, home)));
    let zmq = entry.read(findings, &ZMQ, value::publishers);
    let submit_only = entry.read(findings, &SUBMIT_ONLY, value::boolean);
    let (user, password, cookie) = (user?, password?, cookie?);
    let credentials = if user.is_empty() && !cookie.as_os_str().is_empty() {
        Credentials::CookieFile(cookie)
    } else {
        if !cookie.as_os_str().is_empty() {
            findings.warnings.push(format!(
                "cookie_file ({}) has no effect: user is set and goes first",
                entry.place()
            ));
        }
        basic(user, password)
    };
    let rpc = RpcEndpoint { host: host?, port: port?, credentials };
    let role = if submit_only? { NodeRole::SubmitOnly } else { NodeRole::Follow };
    Some(OtherNode { rpc, zmq: zmq?, role })
}
