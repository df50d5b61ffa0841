//! From layers to [`Settings`]: each setting read once, then those that belong together.
//!
//! **Invariant:** everything is read before anything is given up, so that the operator hears of
//! every problem at once.

use std::path::PathBuf;

use bitcoin::Network;

use super::MASK;
use super::entries::Entry;
use super::listen;
use super::nodes;
use super::payout::Payout;
use super::sections;
use super::source::{Findings, Layer, Source};
use super::table::{self, Setting};
use super::value;
use super::wishes;
use super::{Credentials, Effective, RpcEndpoint, Secret, Settings, Sidechain};
use crate::bmm::Slot;
use crate::bmm::auction::Mode;
use crate::config::{PortRules, SidechainKind, Solo, VardiffRules};

/// First port of the sidechain daemons: slot `n` listens on this plus `n`, by convention.
pub(super) const SIDECHAIN_PORT_BASE: u16 = 6_000;
/// Characters of a value that a message repeats.
const SHOWN_LENGTH_MAX: usize = 100;

/// All of them, or `None` and at least one problem.
pub(super) fn settings(reader: &mut Reader) -> Option<Settings> {
    let network = reader.read(&table::NETWORK, value::network);
    let node = node(reader, network);
    let node_zmq = reader.read(&table::NODE_ZMQ, value::publishers);
    let other_nodes = nodes::nodes(reader, network);
    let own = sidechain(reader);
    let others = sections::sidechains(&mut reader.entries, &mut reader.findings);
    let wishes = wishes::wishes(&mut reader.entries, &mut reader.findings);
    let bmm_blind = reader.read(&table::BMM_BLIND, value::boolean);
    let payout = payout(reader, network);
    let solo = solo(reader);
    let stratum_host = reader.read(&table::STRATUM_HOST, value::host);
    let stratum_port = reader.read(&table::STRATUM_PORT, value::local_port);
    let max_connections = reader.read(&table::MAX_CONNECTIONS, value::connections);
    let pool_difficulty = reader.read(&table::POOL_DIFFICULTY, value::difficulty);
    let vardiff = vardiff(reader);
    let first = pool_difficulty.zip(vardiff);
    let first = first.map(|(difficulty, vardiff)| PortRules { difficulty, vardiff });
    let listen = listen::listen(reader, first);
    let interval = reader.read(&table::JOB_REFRESH_INTERVAL, value::refresh_interval);
    let is_main = network == Some(Network::Bitcoin);
    let empty_default = if is_main { "on" } else { "off" };
    let empty_first = reader.read_or(&table::EMPTY_FIRST, empty_default, value::boolean);
    let max_tip_age = reader.read(&table::MAX_TIP_AGE, value::tip_age);
    let data_dir = reader.path(&table::DATA_DIR);
    let engines = reader.read(&table::ENGINES, value::engines);
    let log_format = reader.read(&table::LOG_FORMAT, value::log_format);
    let log_level = reader.read(&table::LOG_LEVEL, value::log_level);
    Some(Settings {
        network: network?,
        node: node?,
        node_zmq: node_zmq?,
        other_nodes: other_nodes?,
        wishes: wishes?,
        sidechains: own?.into_iter().chain(others?).collect(),
        bmm_blind: if bmm_blind? { Mode::On } else { Mode::Off },
        payout: payout?,
        stratum_host: stratum_host?,
        stratum_port: stratum_port?,
        max_connections: max_connections?,
        pool_difficulty: pool_difficulty?,
        vardiff: vardiff?,
        solo: solo?,
        listen: listen?,
        job_refresh_interval: interval?,
        empty_first: empty_first?,
        max_tip_age: max_tip_age?,
        data_dir: data_dir?,
        engines: engines?,
        log_format: log_format?,
        log_level: log_level?,
    })
}

fn node(reader: &mut Reader, network: Option<Network>) -> Option<RpcEndpoint> {
    let host = reader.read(&table::RPC_HOST, value::host);
    let default_port = value::default_rpc_port(network.unwrap_or(Network::Regtest));
    let port = reader.read_or(&table::RPC_PORT, &default_port.to_string(), value::remote_port);
    let user = reader.user(&table::RPC_USER);
    let password = reader.read(&table::RPC_PASSWORD, value::text);
    let cookie = reader.path(&table::RPC_COOKIE_FILE)?;
    let (user, password) = (user?, password?);
    let credentials = if cookie.as_os_str().is_empty() {
        if user.is_empty() && password.is_empty() {
            reader.warn(
                "RPC_USER, RPC_PASSWORD and RPC_COOKIE_FILE are all empty: a bitcoind refuses \
                 calls without them; set RPC_COOKIE_FILE to the .cookie in its data directory",
            );
        }
        basic(user, password)
    } else if user.is_empty() {
        if !password.is_empty() {
            reader.warn("RPC_PASSWORD has no effect: RPC_USER is empty and RPC_COOKIE_FILE is set");
        }
        Credentials::CookieFile(cookie)
    } else {
        reader.warn("RPC_COOKIE_FILE has no effect: RPC_USER is set and goes first");
        basic(user, password)
    };
    Some(RpcEndpoint { host: host?, port: port?, credentials })
}

pub(super) fn basic(user: String, password: String) -> Credentials {
    if user.is_empty() && password.is_empty() {
        return Credentials::None;
    }
    Credentials::Basic { user, password: Secret(password) }
}

/// `Some(None)` when it is switched off; its values must be right all the same, so that
/// switching it on brings no surprise.
#[expect(clippy::option_option, reason = "the outer says whether it could be read")]
fn sidechain(reader: &mut Reader) -> Option<Option<Sidechain>> {
    let enabled = reader.read(&table::ENABLE_SIDECHAIN, value::boolean);
    let slot = reader.read(&table::SIDECHAIN_NUMBER, value::slot);
    let host = reader.read(&table::SC_RPC_HOST, value::host);
    let default_port = SIDECHAIN_PORT_BASE + slot.map_or(0, |slot: Slot| u16::from(slot.0));
    let port = reader.read_or(&table::SC_RPC_PORT, &default_port.to_string(), value::remote_port);
    let user = reader.user(&table::SC_RPC_USER);
    let password = reader.read(&table::SC_RPC_PASSWORD, value::text);
    let header = reader.read(&table::BMM_HEADER_HEX, value::bmm_header);
    let fallback = reader.read(&table::BMM_FALLBACK, value::bmm_fallback);
    if header.is_some_and(|header| !header.is_m7()) {
        reader.warn(
            "BMM_HEADER_HEX is not d1617368 (BIP301 M7): enforcers will not see the commitments \
             and the sidechain will not advance; leave it empty unless your sidechain differs",
        );
    }
    let daemon = RpcEndpoint { host: host?, port: port?, credentials: basic(user?, password?) };
    let (kind, header, fallback) = (SidechainKind::BestBlock, header?, fallback?);
    let sidechain = Sidechain { slot: slot?, kind, daemon, header, fallback, priority: 0 };
    Some(enabled?.then_some(sidechain))
}

fn payout(reader: &mut Reader, network: Option<Network>) -> Option<Payout> {
    let key_hash = reader.read(&table::MINER_PKH_HEX, value::public_key_hash);
    let address = reader.read(&table::PAYOUT_ADDRESS, |value| match network {
        Some(network) if !value.is_empty() => Payout::to_address(value, network).map(Some),
        _ => Ok(None),
    });
    let (network, key_hash, address) = (network?, key_hash?, address?);
    let key_payout = key_hash.map(|hash| Payout::to_key_hash(hash, network));
    match (key_payout, address) {
        (Some(by_key), Some(by_address)) if by_key.script != by_address.script => {
            let problem = format!(
                "MINER_PKH_HEX ({}) and PAYOUT_ADDRESS ({}) are both set and pay to different \
                 scripts, so it is open who is paid; remove one of them",
                reader.source(&table::MINER_PKH_HEX),
                reader.source(&table::PAYOUT_ADDRESS)
            );
            reader.findings.problems.push(problem);
            None
        }
        (_, Some(payout)) | (Some(payout), None) => Some(payout),
        (None, None) if network == Network::Bitcoin => {
            reader.findings.problems.push(
                "MINER_PKH_HEX and PAYOUT_ADDRESS are both empty and NETWORK is main: every block \
                 would pay to OP_TRUE, which anyone can take; set PAYOUT_ADDRESS to an address of \
                 yours"
                    .to_owned(),
            );
            None
        }
        (None, None) => {
            reader.warn(
                "MINER_PKH_HEX and PAYOUT_ADDRESS are both empty: blocks pay to OP_TRUE, which \
                 anyone can spend; set one of them to be paid",
            );
            Some(Payout::to_anyone())
        }
    }
}

/// `Some(None)` when it is switched off; its values must be right all the same.
#[expect(clippy::option_option, reason = "the outer says whether it could be read")]
fn vardiff(reader: &mut Reader) -> Option<Option<VardiffRules>> {
    let enabled = reader.read(&table::VARDIFF, value::boolean);
    let share_interval = reader.read(&table::VARDIFF_SHARE_INTERVAL, value::share_interval);
    let min = reader.read(&table::VARDIFF_MIN, value::difficulty);
    let max = reader.read(&table::VARDIFF_MAX, value::bound);
    let (share_interval, min, max) = (share_interval?, min?, max?);
    if max.is_some_and(|max| max < min) {
        reader.findings.problems.push(
            "VARDIFF_MIN is above VARDIFF_MAX, so no difficulty is right; swap them or leave \
             VARDIFF_MAX empty"
                .to_owned(),
        );
        return None;
    }
    Some(enabled?.then_some(VardiffRules { share_interval, min, max }))
}

/// `Some(None)` when it is switched off.
#[expect(clippy::option_option, reason = "the outer says whether it could be read")]
fn solo(reader: &mut Reader) -> Option<Option<Solo>> {
    let enabled = reader.read(&table::SOLO_PAYOUT, value::boolean);
    let fee = reader.read(&table::SOLO_FEE_BASIS_POINTS, value::basis_points);
    let (enabled, fee_basis_points) = (enabled?, fee?);
    if fee_basis_points > 0 && !enabled {
        reader.warn("SOLO_FEE_BASIS_POINTS has no effect: SOLO_PAYOUT is off");
    }
    Some(enabled.then_some(Solo { fee_basis_points }))
}

/// Takes each setting from the strongest layer that has it.
pub(super) struct Reader {
    layers: Vec<Layer>,
    /// The tables of the settings file.
    pub(super) entries: Vec<Entry>,
    /// What `~/` means in a path.
    pub(super) home: Option<PathBuf>,
    pub(super) findings: Findings,
    /// What was read so far.
    pub(super) effective: Vec<Effective>,
}

impl Reader {
    pub(super) fn new(layers: Vec<Layer>, entries: Vec<Entry>, home: Option<PathBuf>) -> Self {
        let (findings, effective) = (Findings::default(), Vec::new());
        Self { layers, entries, home, findings, effective }
    }

    /// The value of `setting`, or `None` and a problem.
    fn read<T>(
        &mut self,
        setting: &Setting,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.read_or(setting, setting.default, parse)
    }

    /// As [`Reader::read`], with a default that depends on other settings.
    fn read_or<T>(
        &mut self,
        setting: &Setting,
        default: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let set = self.layers.iter().find_map(|layer| Some((layer.get(setting)?, &layer.source)));
        let (value, source) = set.unwrap_or((default, &Source::Default));
        // A blank may belong to a password, to nothing else.
        let value = if setting.secret { value } else { value.trim() };
        let shown = if setting.secret && !value.is_empty() { MASK } else { value };
        let parsed = parse(value).map_err(|problem| {
            format!("{}={} ({source}): {problem}", setting.name(), short(shown))
        });
        let (shown, source) = (shown.to_owned(), source.clone());
        self.effective.push(Effective { setting: *setting, shown, source });
        parsed.map_err(|problem| self.findings.problems.push(problem)).ok()
    }

    fn path(&mut self, setting: &Setting) -> Option<PathBuf> {
        let home = self.home.clone();
        self.read(setting, |value| Ok(value::path(value, home.as_deref())))
    }

    /// A user name of HTTP basic authentication. What comes after a colon in it is most likely a
    /// password, so the value is not repeated.
    fn user(&mut self, setting: &Setting) -> Option<String> {
        let user = self.read(setting, value::text)?;
        if !user.contains(':') {
            return Some(user);
        }
        let problem = format!(
            "{} ({}): has a colon, which ends a user name in HTTP, so another user would be asked \
             for; write what follows it into {}",
            setting.name(),
            self.source(setting),
            setting.name().replace("USER", "PASSWORD")
        );
        self.findings.problems.push(problem);
        None
    }

    fn source(&self, setting: &Setting) -> &Source {
        let read = self.effective.iter().find(|effective| effective.setting.flag == setting.flag);
        read.map_or(&Source::Default, |effective| &effective.source)
    }

    fn warn(&mut self, warning: &str) {
        self.findings.warnings.push(warning.to_owned());
    }
}

/// `value` as a message repeats it: on one line, and not endless.
pub(super) fn short(value: &str) -> String {
    let mut shown = String::new();
    for character in value.chars().take(SHOWN_LENGTH_MAX) {
        if character.is_control() {
            shown.extend(character.escape_debug());
        } else {
            shown.push(character);
        }
    }
    if value.chars().count() > SHOWN_LENGTH_MAX {
        shown.push_str("...");
    }
    shown
}
