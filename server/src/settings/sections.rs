//! Every section of the settings file, described once, and what its entries become.
//!
//! A section is a table that may stand in the file several times, as `[[sidechain]]`, so that no
//! flag and no variable can say it. Its keys are described like every other setting; the README's
//! second table comes from [`SECTIONS`].
//!
//! **Invariant:** as in `reader.rs`, everything is read before anything is given up.

use super::entries::Entry;
use super::reader::{SIDECHAIN_PORT_BASE, basic};
use super::source::Findings;
use super::table::Setting;
use super::{RpcEndpoint, Sidechain, listen, nodes, value, wishes};
use crate::bmm::Slot;

/// A table of the settings file.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// The keys that lead to it, dots between them.
    pub name: &'static str,
    /// Whether there may be several.
    pub many: bool,
    /// Its keys.
    pub fields: &'static [Setting],
    /// The section whose entries stand in each of its own.
    pub nested: Option<&'static Self>,
}

impl Section {
    /// The key that it stands under.
    pub fn key(&self) -> &'static str {
        self.name.rsplit_once('.').map_or(self.name, |(_, key)| key)
    }

    /// The line that begins one: `[[sidechain]]`.
    pub fn heading(&self) -> String {
        if self.many { format!("[[{}]]", self.name) } else { format!("[{}]", self.name) }
    }
}

const IN_SIDECHAIN: &str = "sidechain";

pub(super) const REQUIRED: &str = "required";

pub(super) const SLOT: Setting = Setting::new("slot", "SLOT", "")
    .noted(REQUIRED)
    .means(IN_SIDECHAIN, "The sidechain's slot (BIP300), 0 to 255.");
const KIND: Setting = Setting::new("kind", "KIND", "bestblock").means(
    IN_SIDECHAIN,
    "How its daemon is asked: bestblock (getbestblockhash gives h*) or thunder \
     (get_block_template gives h* and its block, connect_block takes the block back).",
);
const HOST: Setting = Setting::new("host", "HOST", "127.0.0.1")
    .means(IN_SIDECHAIN, "Host name or address of its daemon's JSON-RPC.");
const PORT: Setting = Setting::new("port", "PORT", "")
    .noted("6000 + slot")
    .means(IN_SIDECHAIN, "Port of its daemon's JSON-RPC.");
const USER: Setting = Setting::new("user", "USER", "")
    .means(IN_SIDECHAIN, "User name at the daemon; may stay empty where it asks for none.");
const PASSWORD: Setting = Setting::new("password", "PASSWORD", "")
    .means(IN_SIDECHAIN, "Password at the daemon.")
    .secret();
const PRIORITY: Setting = Setting::new("priority", "NUMBER", "0").means(
    IN_SIDECHAIN,
    "Which of two entries has the slot that both want: the one whose daemon answers, then the one \
     with the larger number, then the first. That of ENABLE_SIDECHAIN comes first, with 0.",
);
const FALLBACK: Setting = Setting::new("fallback", "WHAT", "zero")
    .means(IN_SIDECHAIN, "As BMM_FALLBACK: zero or skip while the daemon does not answer.");
const HEADER_HEX: Setting = Setting::new("header-hex", "HEX", "d1617368")
    .means(IN_SIDECHAIN, "As BMM_HEADER_HEX: what the commitment begins with.");

/// Sidechain daemons of the operator's own, beside the one of `ENABLE_SIDECHAIN`.
pub(super) const SIDECHAIN: Section = Section {
    name: IN_SIDECHAIN,
    many: true,
    fields: &[SLOT, KIND, HOST, PORT, USER, PASSWORD, PRIORITY, FALLBACK, HEADER_HEX],
    nested: None,
};

/// Every section, in the order in which people read of them.
pub const SECTIONS: &[Section] =
    &[nodes::NODE, listen::LISTEN, SIDECHAIN, wishes::PROPOSE, wishes::ACKNOWLEDGE, wishes::VOTES];

/// The README's table of sections, in Markdown.
pub fn table() -> String {
    let mut lines =
        vec!["| In | Key | Default | Meaning |".to_owned(), "|---|---|---|---|".to_owned()];
    for section in SECTIONS {
        for section in core::iter::once(section).chain(section.nested) {
            let heading = section.heading();
            lines.extend(section.fields.iter().map(|field| {
                let (key, default) = (field.key(), field.default_markdown());
                format!("| `{heading}` | `{key}` | {default} | {} |", field.meaning())
            }));
        }
    }
    lines.join("\n") + "\n"
}

/// The sidechains of the file, or `None` and at least one problem.
pub(super) fn sidechains(entries: &mut [Entry], findings: &mut Findings) -> Option<Vec<Sidechain>> {
    let of_section = entries.iter_mut().filter(|entry| entry.section.name == IN_SIDECHAIN);
    let read: Vec<Option<Sidechain>> = of_section.map(|entry| sidechain(entry, findings)).collect();
    read.into_iter().collect()
}

fn sidechain(entry: &mut Entry, findings: &mut Findings) -> Option<Sidechain> {
    let slot = entry.read(findings, &SLOT, value::slot);
    let kind = entry.read(findings, &KIND, value::sidechain_kind);
    let host = entry.read(findings, &HOST, value::host);
    let default_port = SIDECHAIN_PORT_BASE + slot.map_or(0, |slot: Slot| u16::from(slot.0));
    let port = entry.read_or(findings, &PORT, &default_port.to_string(), value::remote_port);
    let user = entry.read_user(findings, &USER);
    let password = entry.read(findings, &PASSWORD, value::text);
    let priority = entry.read(findings, &PRIORITY, value::priority);
    let fallback = entry.read(findings, &FALLBACK, value::bmm_fallback);
    let header = entry.read(findings, &HEADER_HEX, value::bmm_header);
    if header.is_some_and(|header| !header.is_m7()) {
        findings.warnings.push(format!(
            "header_hex ({}) is not d1617368 (BIP301 M7): enforcers will not see the commitments \
             and the sidechain will not advance; leave it out unless your sidechain differs",
            entry.place()
        ));
    }
    let daemon = RpcEndpoint { host: host?, port: port?, credentials: basic(user?, password?) };
    Some(Sidechain {
        slot: slot?,
        kind: kind?,
        daemon,
        header: header?,
        fallback: fallback?,
        priority: priority?,
    })
}
