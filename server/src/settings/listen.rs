//! Ports beside the first: the tables `[[listen]]` of the settings file.
//!
//! ```toml
//! [[listen]]
//! port = 3334
//! difficulty = 100000          # what miners start with
//! min_difficulty = 1000        # vardiff's bounds on this port
//! max_difficulty = 1000000
//! tls_cert = "chain.pem"       # stratum+ssl, with tls_key
//! tls_key = "key.pem"
//! proxy_protocol = ["192.0.2.7"] # who may say where a miner really is
//! ```
//!
//! Only `port` is needed; everything else is as on the first port.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use toml::de::DeValue;

use super::reader::Reader;
use super::source::{Findings, Source, scalar};
use super::{table, value};
use crate::config::{PortRules, VardiffRules};

/// The name of the tables.
pub(super) const KEY: &str = "listen";
/// What a table may have.
const KEYS: [&str; 8] = [
    "host",
    "port",
    "difficulty",
    "min_difficulty",
    "max_difficulty",
    "tls_cert",
    "tls_key",
    "proxy_protocol",
];

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

/// The texts of one table, each with the file that it is from.
#[derive(Clone, Debug)]
pub(super) struct ListenTable {
    source: Source,
    values: BTreeMap<String, Vec<String>>,
}

/// Takes the tables out of a settings file.
pub(super) fn tables(
    value: &DeValue<'_>,
    source: &Source,
    findings: &mut Findings,
) -> Vec<ListenTable> {
    let mut tables = Vec::new();
    let several: &[_] = if let DeValue::Array(several) = value { several } else { &[] };
    for each in several {
        let DeValue::Table(entries) = each.get_ref() else {
            tables.clear();
            break;
        };
        let mut values = BTreeMap::new();
        for (key, value) in entries {
            let key = key.get_ref();
            let texts = if let DeValue::Array(list) = value.get_ref() {
                list.iter().map(|each| scalar(each.get_ref())).collect()
            } else {
                scalar(value.get_ref()).map(|text| vec![text])
            };
            if !KEYS.contains(&key.as_ref()) {
                let known = KEYS.join(", ");
                findings.warnings.push(format!(
                    "{} in [[listen]] in {source} has no effect; a port has {known}",
                    key.escape_debug()
                ));
            } else if let Some(texts) = texts {
                values.insert(key.to_string(), texts);
            } else {
                findings.problems.push(format!(
                    "{key} in [[listen]] ({source}): cannot be read; write a text in quotes, a \
                     number, or a list of texts"
                ));
            }
        }
        tables.push(ListenTable { source: source.clone(), values });
    }
    if tables.is_empty() {
        findings.problems.push(format!(
            "listen ({source}): is not a list of ports; begin each with a line [[listen]], and \
             name its port in the next"
        ));
    }
    tables
}

/// All ports of the settings file, or `None` and at least one problem. What a table does not say
/// is as the settings of the first port have it.
pub(super) fn listen(reader: &mut Reader, first: Option<PortRules>) -> Option<Vec<Listen>> {
    let tables = reader.listen_tables();
    let first = first?;
    let read: Vec<Option<Listen>> =
        tables.iter().map(|table| Port { table, reader }.read(first)).collect();
    read.into_iter().collect()
}

/// One table on its way to a [`Listen`].
struct Port<'a> {
    table: &'a ListenTable,
    reader: &'a mut Reader,
}

impl Port<'_> {
    fn read(&mut self, first: PortRules) -> Option<Listen> {
        let host = self.one("host", table::STRATUM_HOST.default, value::host);
        let port = self.one("port", "", value::local_port);
        let difficulty = self.one("difficulty", "", value::bound);
        let min = self.one("min_difficulty", "", value::bound);
        let max = self.one("max_difficulty", "", value::bound);
        let certificate = self.path("tls_cert");
        let key = self.path("tls_key");
        let proxies = self.proxies();
        let (min, max) = (min?, max?);
        let vardiff = first.vardiff.map(|rules| VardiffRules {
            min: min.unwrap_or(rules.min),
            max: max.or(rules.max),
            ..rules
        });
        if vardiff.is_some_and(|rules| rules.max.is_some_and(|max| max < rules.min)) {
            self.refuse("min_difficulty", "is above max_difficulty; swap them, or leave one out");
            return None;
        }
        if vardiff.is_none() && (min.is_some() || max.is_some()) {
            self.reader.findings.warnings.push(format!(
                "min_difficulty and max_difficulty in [[listen]] in {} have no effect: VARDIFF is \
                 off",
                self.table.source
            ));
        }
        let tls = match (certificate?, key?) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
            _ => {
                self.refuse("tls_cert", "and tls_key go together; name both files, or none");
                return None;
            }
        };
        let rules = PortRules { difficulty: difficulty?.unwrap_or(first.difficulty), vardiff };
        Some(Listen { host: host?, port: port?, rules, tls, proxies: proxies? })
    }

    /// The value of a key that has one.
    fn one<T>(
        &mut self,
        key: &str,
        default: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let texts = self.table.values.get(key);
        let text = texts.map_or(default, |texts| texts.first().map_or("", String::as_str)).trim();
        let parsed = parse(text);
        parsed.map_err(|problem| self.refuse(&format!("{key}={text}"), &problem)).ok()
    }

    /// `Some(None)` when it is not given.
    #[expect(clippy::option_option, reason = "the outer says whether it could be read")]
    fn path(&mut self, key: &str) -> Option<Option<PathBuf>> {
        let home = self.reader.home.clone();
        self.one(key, "", |text| Ok((!text.is_empty()).then(|| value::path(text, home.as_deref()))))
    }

    fn proxies(&mut self) -> Option<Vec<IpAddr>> {
        let texts = self.table.values.get("proxy_protocol").cloned().unwrap_or_default();
        let mut proxies = Vec::new();
        for text in texts {
            let Ok(address) = text.trim().parse::<IpAddr>() else {
                self.refuse(
                    &format!("proxy_protocol={}", text.escape_debug()),
                    "is not the IP address of a proxy; write those that may say where a miner \
                     really is, such as 127.0.0.1",
                );
                return None;
            };
            proxies.push(address.to_canonical());
        }
        Some(proxies)
    }

    fn refuse(&mut self, what: &str, problem: &str) {
        let source = &self.table.source;
        let problem = format!("{what} in [[listen]] ({source}): {problem}");
        self.reader.findings.problems.push(problem);
    }
}
