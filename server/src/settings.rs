//! The settings of `drivechain-stratum`: from flags, environment, `.env` and TOML to types.
//!
//! [`load`] is pure: the command line, the environment and the files come in as arguments, and
//! settings, warnings or problems go out; so a test sets an environment without touching its own.
//! Each setting is described once, in `table.rs`. Not here: what the core makes of them
//! ([`crate::config`]) and what is done with a path, a host or a port ([`crate::runtime`]).
//!
//! **Invariant:** what is in [`Settings`] can be used as it is; whatever cannot is a problem with
//! one line that says what to do, and no line shows a secret.

mod change;
mod entries;
mod listen;
mod nodes;
mod payout;
mod reader;
mod sections;
mod source;
mod table;
mod task;
mod value;
mod wishes;

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use bitcoin::Network;

pub use self::listen::{Listen, TlsFiles};
pub use self::nodes::OtherNode;
pub use self::payout::Payout;
use self::reader::Reader;
pub use self::sections::{SECTIONS, Section, table as sections_table};
use self::source::Findings;
pub use self::source::Source;
pub use self::table::{SETTINGS, Setting, command, table};
pub use self::task::Task;
use crate::bmm::Slot;
use crate::bmm::auction::Mode;
use crate::bmm::message::BmmHeader;
use crate::bmm::wishes::Wishes;
use crate::config::{Fallback, SidechainKind, Solo, VardiffRules};
use crate::mining::difficulty::Difficulty;

/// How a file's text is had.
pub type Files<'a> = dyn Fn(&Path) -> io::Result<String> + 'a;

/// What stands for a secret wherever it would be shown.
const MASK: &str = "********";

/// Everything the process is told at its start.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// The network that the node must be on.
    pub network: Network,
    /// The node's JSON-RPC.
    pub node: RpcEndpoint,
    /// Where the node publishes what happens (ZMQ), such as `tcp://127.0.0.1:28332`.
    pub node_zmq: Vec<String>,
    /// The nodes beside the first, the preferred ones first.
    pub other_nodes: Vec<OtherNode>,
    /// The sidechains whose daemons are asked: that of `ENABLE_SIDECHAIN`, then the file's.
    pub sidechains: Vec<Sidechain>,
    /// What the coinbase should say of sidechains beside commitments (BIP-0300).
    pub wishes: Wishes,
    /// Whether bids in the template are taken (BIP-0301).
    pub bmm_blind: Mode,
    /// Where the reward goes.
    pub payout: Payout,
    /// Host name or address (IPv6 without brackets) to listen on for miners.
    pub stratum_host: String,
    /// Port to listen on for miners; 0 is any free one.
    pub stratum_port: u16,
    /// Connections of miners at a time: 1 to 1,000,000.
    pub max_connections: usize,
    /// Difficulty of a share, before the network's caps it.
    pub pool_difficulty: Difficulty,
    /// How difficulty follows a miner's pace, if it does.
    pub vardiff: Option<VardiffRules>,
    /// Whether each miner is paid by his own blocks.
    pub solo: Option<Solo>,
    /// Ports beside the first, in the order of the settings file.
    pub listen: Vec<Listen>,
    /// Time between two templates of the same tip: 1 s to 1 h.
    pub job_refresh_interval: Duration,
    /// Whether miners get a coinbase alone on a new tip, until its template is there.
    pub empty_first: bool,
    /// How long miners are kept at work on a tip that no node confirms: 10 s to 1 day.
    pub max_tip_age: Duration,
    /// Directory of the journal and the found blocks.
    pub data_dir: PathBuf,
    /// Pools, each on a thread of its own: 1 to 64.
    pub engines: u32,
    /// Form of the log.
    pub log_format: LogFormat,
    /// What is logged: directives that `EnvFilter` has parsed once.
    pub log_level: String,
}

/// A sidechain daemon of the operator's own, and how to commit to its blocks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sidechain {
    /// Its slot (BIP-0300).
    pub slot: Slot,
    /// How its daemon is asked.
    pub kind: SidechainKind,
    /// Its JSON-RPC.
    pub daemon: RpcEndpoint,
    /// What the commitment begins with (BIP-0301 M7).
    pub header: BmmHeader,
    /// What to commit to while the daemon does not answer.
    pub fallback: Fallback,
    /// The larger number wins a slot that two of them want.
    pub priority: u32,
}

/// Where and as whom a JSON-RPC is called.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RpcEndpoint {
    /// Host name or address (IPv6 without brackets).
    pub host: String,
    /// Port, never 0.
    pub port: u16,
    /// What proves who calls.
    pub credentials: Credentials,
}

/// What a call proves itself with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Credentials {
    /// Nothing.
    None,
    /// HTTP basic authentication.
    Basic {
        /// User name, without a colon.
        user: String,
        /// Password.
        password: Secret,
    },
    /// The `user:password` in this file, which its daemon writes anew at each start.
    CookieFile(PathBuf),
}

/// A text that no log shows.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(MASK)
    }
}

/// Form of the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// What [`load`] gives when nothing is wrong.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// What the operator should know, a line each.
    pub warnings: Vec<String>,
    /// What is to be done with them.
    pub task: Task,
    /// Each setting with its text and where that came from, in the order of [`SETTINGS`].
    pub effective: Vec<Effective>,
    /// Each entry of the settings file's sections on a line, secrets masked.
    pub entries: Vec<String>,
}

/// One setting as it came out of all its sources.
#[derive(Clone, Debug)]
pub struct Effective {
    /// Which one.
    pub setting: Setting,
    /// Its text, or a mask in place of a secret.
    pub shown: String,
    /// Where that came from.
    pub source: Source,
}

impl Loaded {
    /// What `--print-config` prints: lines that an environment file may have. What only the
    /// settings file can say follows as remarks.
    pub fn listing(&self) -> String {
        let texts: Vec<String> = self
            .effective
            .iter()
            .map(|each| format!("{}={}", each.setting.name(), quoted(&each.shown)))
            .collect();
        let width = texts.iter().map(|text| text.chars().count()).max().unwrap_or(0);
        let lines: Vec<String> = texts
            .iter()
            .zip(&self.effective)
            .map(|(text, each)| format!("{text:width$}  # {}\n", each.source))
            .collect();
        let entries = self.entries.iter().map(|entry| format!("# {entry}\n"));
        lines.into_iter().chain(entries).collect()
    }
}

/// A value as an environment file has it: in quotes where it would not be read back as it is.
fn quoted(value: &str) -> String {
    let plain =
        |character: char| character.is_alphanumeric() || "-_./:@,=+*~%[]".contains(character);
    if value.chars().all(plain) {
        return value.to_owned();
    }
    let mut text = "\"".to_owned();
    for character in value.chars() {
        match character {
            '\n' => text.push_str("\\n"),
            '"' | '\\' | '$' => text.extend(['\\', character]),
            other => text.push(other),
        }
    }
    text + "\""
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// `--help`, `--version` or a command line that clap refuses; it knows what to print, where.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// Sources or values that cannot be used.
    #[error("{}", problems.join("\n"))]
    Invalid {
        /// What stops the start, a line each.
        problems: Vec<String>,
        /// What may explain it, a line each: the keys of the files that are no settings.
        warnings: Vec<String>,
    },
}

impl SettingsError {
    /// What the process exits with: 2, or 0 after `--help` and `--version`.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(error) => u8::try_from(error.exit_code()).unwrap_or(2),
            Self::Invalid { .. } => 2,
        }
    }
}

/// Reads the settings from the command line `args` (the program's name first), the variables of
/// `environment` and the files that `files` reads.
pub fn load(
    args: impl Iterator<Item = OsString>,
    environment: &BTreeMap<String, OsString>,
    files: &Files<'_>,
) -> Result<Loaded, SettingsError> {
    let matches = command().try_get_matches_from(args)?;
    let mut findings = Findings::default();
    let named = |flag| matches.get_one::<String>(flag).filter(|path| !path.is_empty());
    let file = |flag, default| (Path::new(named(flag).map_or(default, String::as_str)), flag);
    let (env_path, env_flag) = file(table::ENV_FILE_FLAG, table::ENV_FILE);
    let (config_path, config_flag) = file(table::CONFIG_FLAG, table::CONFIG_FILE);
    let flags = source::flags(&matches);
    let environment_layer = source::environment(environment, &mut findings);
    let env_file = source::env_file(env_path, named(env_flag).is_some(), files, &mut findings);
    let (config_file, entries) =
        source::config_file(config_path, named(config_flag).is_some(), files, &mut findings);
    let layers = vec![flags, environment_layer, env_file, config_file];
    // With a source in doubt, more would be said of values than is known.
    let Findings { problems, warnings } = findings;
    if !problems.is_empty() {
        return Err(SettingsError::Invalid { problems, warnings });
    }
    let home = environment.get("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let mut reader = Reader::new(layers, entries, home);
    match reader::settings(&mut reader) {
        Some(settings) if reader.findings.problems.is_empty() => Ok(Loaded {
            settings,
            warnings: [warnings, reader.findings.warnings].concat(),
            task: Task::of(&matches),
            effective: reader.effective,
            entries: reader.entries.iter().map(entries::Entry::listing).collect(),
        }),
        _ => {
            let problems = reader.findings.problems;
            assert!(!problems.is_empty(), "what is missing has a line that says why");
            Err(SettingsError::Invalid { problems, warnings })
        }
    }
}
