//! Ports beside the first: the sections `[[listen]]` of the settings file.
//!
//! Only `port` is needed; what a section does not say is as on the first port.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::entries::Entry;
use super::reader::Reader;
use super::sections::{REQUIRED, Section};
use super::source::Findings;
use super::table::{STRATUM_HOST, Setting};
use super::value;
use crate::config::{PortRules, VardiffRules};

const IN_LISTEN: &str = "listen";

const HOST: Setting = Setting::new("host", "HOST", STRATUM_HOST.default)
    .means(IN_LISTEN, "As STRATUM_HOST: the address that miners connect to.");
const PORT: Setting = Setting::new("port", "PORT", "")
    .noted(REQUIRED)
    .means(IN_LISTEN, "One more port that miners connect to; 0 takes a free one.");
const DIFFICULTY: Setting = Setting::new("difficulty", "DIFFICULTY", "")
    .noted("POOL_DIFFICULTY")
    .means(IN_LISTEN, "Difficulty of a miner's first shares on this port.");
const MIN_DIFFICULTY: Setting = Setting::new("min-difficulty", "DIFFICULTY", "")
    .noted("VARDIFF_MIN")
    .means(IN_LISTEN, "Difficulty that vardiff does not go below on this port.");
const MAX_DIFFICULTY: Setting = Setting::new("max-difficulty", "DIFFICULTY", "")
    .noted("VARDIFF_MAX")
    .means(IN_LISTEN, "Difficulty that vardiff does not go above on this port.");
const TLS_CERT: Setting = Setting::new("tls-cert", "FILE", "").means(
    IN_LISTEN,
    "Certificate with its chain (PEM): with tls_key this port speaks stratum+ssl. Read anew when \
     it changes.",
);
const TLS_KEY: Setting =
    Setting::new("tls-key", "FILE", "").means(IN_LISTEN, "The certificate's private key (PEM).");
const PROXY_PROTOCOL: Setting = Setting::new("proxy-protocol", "ADDRESSES", "").means(
    IN_LISTEN,
    "Addresses of proxies, as [\"192.0.2.7\"]: they must say in a PROXY header where a miner \
     really is, and nobody else may.",
);

/// Ports beside that of `STRATUM_PORT`.
pub(super) const LISTEN: Section = Section {
    name: IN_LISTEN,
    many: true,
    fields: &[
        HOST,
        PORT,
        DIFFICULTY,
        MIN_DIFFICULTY,
        MAX_DIFFICULTY,
        TLS_CERT,
        TLS_KEY,
        PROXY_PROTOCOL,
    ],
    nested: None,
};

/// One port that miners connect to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listen {
    /// Host name or address (IPv6 without brackets).
    pub host: String,
    /// Port; 0 is any free one.
    pub port: u16,
    /// The difficulties of who comes through it.
    pub rules: PortRules,
    /// What TLS is spoken with; none for plain TCP.
    pub tls: Option<TlsFiles>,
    /// Who must begin with a PROXY header, and is believed; others must not.
    pub proxies: Vec<IpAddr>,
}

/// Where TLS keeps its proofs, both as PEM.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsFiles {
    /// The certificate, with the chain that leads to it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// All ports of the settings file, or `None` and at least one problem; `first` are the rules of the
/// first port, if they could be read.
pub(super) fn listen(reader: &mut Reader, first: Option<PortRules>) -> Option<Vec<Listen>> {
    let Reader { entries, findings, home, .. } = reader;
    let of_section = entries.iter_mut().filter(|entry| entry.section.name == IN_LISTEN);
    let read: Vec<Option<Listen>> =
        of_section.map(|entry| port(entry, findings, home.as_deref(), first)).collect();
    read.into_iter().collect()
}

fn port(
    entry: &mut Entry,
    findings: &mut Findings,
    home: Option<&Path>,
    first: Option<PortRules>,
) -> Option<Listen> {
    let host = entry.read(findings, &HOST, value::host);
    let port = entry.read(findings, &PORT, value::local_port);
    let difficulty = entry.read(findings, &DIFFICULTY, value::bound);
    let min = entry.read(findings, &MIN_DIFFICULTY, value::bound);
    let max = entry.read(findings, &MAX_DIFFICULTY, value::bound);
    let path = |text: &str| Ok((!text.is_empty()).then(|| value::path(text, home)));
    let certificate = entry.read(findings, &TLS_CERT, path);
    let key = entry.read(findings, &TLS_KEY, path);
    let proxies = entry.read_list(findings, &PROXY_PROTOCOL, value::proxy);
    let (first, min, max) = (first?, min?, max?);
    let vardiff = first.vardiff.map(|rules| VardiffRules {
        min: min.unwrap_or(rules.min),
        max: max.or(rules.max),
        ..rules
    });
    if vardiff.is_some_and(|rules| rules.max.is_some_and(|max| max < rules.min)) {
        findings.problems.push(format!(
            "min_difficulty ({}): is above max_difficulty; swap them, or leave one out",
            entry.place()
        ));
        return None;
    }
    if vardiff.is_none() && (min.is_some() || max.is_some()) {
        findings.warnings.push(format!(
            "min_difficulty and max_difficulty of {} have no effect: VARDIFF is off",
            entry.place()
        ));
    }
    let tls = match (certificate?, key?) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
        (Some(_), None) | (None, Some(_)) => {
            findings.problems.push(format!(
                "tls_cert and tls_key ({}): go together; name both files, or none",
                entry.place()
            ));
            return None;
        }
    };
    let rules = PortRules { difficulty: difficulty?.unwrap_or(first.difficulty), vardiff };
    Some(Listen { host: host?, port: port?, rules, tls, proxies: proxies? })
}
