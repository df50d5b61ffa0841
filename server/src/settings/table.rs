//! Every setting, described once: its flag, default and meaning.
//!
//! `--help`, `--print-config`, the README's table, the recognised keys of `.env` and TOML and the
//! flags themselves all come from [`SETTINGS`]. What a value may be is said in `value.rs`.
//!
//! **Invariant:** knows no source and no value; adding a setting here gives it every spelling.

use clap::{Arg, ArgAction, Command};

/// What is known of a setting before any value of it.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The flag without its dashes, from which the other spellings follow: `rpc-host`.
    pub flag: &'static str,
    /// What stands for the value in `--help`: `HOST`.
    placeholder: &'static str,
    /// The value when no source sets one; empty where there is none or it depends on others.
    pub default: &'static str,
    /// What the documentation says in place of `default`, when that alone would say too little.
    default_note: Option<&'static str>,
    /// Whether the value is kept out of `--print-config` and of every message.
    pub secret: bool,
    /// The heading in `--help`.
    heading: &'static str,
    /// What it is for, in a sentence or two of plain text.
    meaning: &'static str,
}

impl Setting {
    pub(super) const fn new(
        flag: &'static str,
        placeholder: &'static str,
        default: &'static str,
    ) -> Self {
        let (heading, meaning) = ("", "");
        Self { flag, placeholder, default, default_note: None, secret: false, heading, meaning }
    }

    pub(super) const fn noted(self, note: &'static str) -> Self {
        Self { default_note: Some(note), ..self }
    }

    pub(super) const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    pub(super) const fn means(self, heading: &'static str, meaning: &'static str) -> Self {
        Self { heading, meaning, ..self }
    }

    /// The name in the environment and in `.env`: `RPC_HOST`.
    pub fn name(&self) -> String {
        self.flag.to_ascii_uppercase().replace('-', "_")
    }

    /// The key in the TOML file: `rpc_host`.
    pub fn key(&self) -> String {
        self.flag.replace('-', "_")
    }

    pub(super) fn meaning(&self) -> &'static str {
        self.meaning
    }

    fn default_text(&self) -> &'static str {
        self.default_note.unwrap_or(if self.default.is_empty() { "empty" } else { self.default })
    }

    /// A value on its own would read like a word of the sentence, a note is one.
    pub(super) fn default_markdown(&self) -> String {
        let plain = self.default_note.is_some() || self.default.is_empty();
        if plain { self.default_text().to_owned() } else { format!("`{}`", self.default) }
    }

    fn to_arg(self) -> Arg {
        let help =
            format!("{} [default: {}] [env: {}]", self.meaning, self.default_text(), self.name());
        let arg = Arg::new(self.flag)
            .long(self.flag)
            .value_name(self.placeholder)
            .allow_negative_numbers(true)
            // The one that everything else beside serving needs.
            .global(self.flag == DATA_DIR.flag)
            .help_heading(self.heading)
            .help(help);
        // A flag that is a switch may stand alone.
        if self.placeholder == BOOLEAN {
            arg.num_args(0..=1).default_missing_value("true")
        } else {
            arg
        }
    }
}

const BOOLEAN: &str = "BOOLEAN";

const NODE: &str = "Node";
const SIDECHAIN: &str = "Sidechain";
const PAYOUT: &str = "Payout";
const MINERS: &str = "Miners";
const PROCESS: &str = "Process";

pub(super) const NETWORK: Setting = Setting::new("network", "NETWORK", "regtest").means(
    NODE,
    "The node's network: main, testnet3, testnet4, signet or regtest. Nothing is mined on \
     another.",
);
pub(super) const RPC_HOST: Setting = Setting::new("rpc-host", "HOST", "127.0.0.1")
    .means(NODE, "Host name or address of the node's JSON-RPC: a bitcoind or an enforcer.");
pub(super) const RPC_PORT: Setting = Setting::new("rpc-port", "PORT", "")
    .noted("by NETWORK: main 8332, testnet3 18332, testnet4 48332, signet 38332, regtest 18443")
    .means(NODE, "Port of the node's JSON-RPC.");
pub(super) const RPC_USER: Setting =
    Setting::new("rpc-user", "USER", "").means(NODE, "User name at the node (its rpcuser).");
pub(super) const RPC_PASSWORD: Setting = Setting::new("rpc-password", "PASSWORD", "")
    .means(
        NODE,
        "Password at the node (its rpcpassword). As a flag it shows in the list of processes; \
         better in the environment or a file.",
    )
    .secret();
pub(super) const RPC_COOKIE_FILE: Setting = Setting::new("rpc-cookie-file", "FILE", "").means(
    NODE,
    "The .cookie file in bitcoind's data directory, in place of a password: read anew for each \
     call, and used when RPC_USER is empty.",
);
pub(super) const NODE_ZMQ: Setting = Setting::new("node-zmq", "ADDRESSES", "").means(
    NODE,
    "Where the node publishes hashblock and sequence (its zmqpubhashblock and zmqpubsequence), \
     such as tcp://127.0.0.1:28332, with commas between several: a new tip or bid is then worked \
     on at once. Empty, the node is asked every second.",
);
pub(super) const ENABLE_SIDECHAIN: Setting = Setting::new("enable-sidechain", BOOLEAN, "false")
    .means(
        SIDECHAIN,
        "Whether each block commits to the best block of a sidechain daemon of yours (BIP301): \
         true or false, yes or no, on or off, 1 or 0.",
    );
pub(super) const SIDECHAIN_NUMBER: Setting = Setting::new("sidechain-number", "SLOT", "0")
    .means(SIDECHAIN, "The sidechain's slot (BIP300), 0 to 255.");
pub(super) const SC_RPC_HOST: Setting = Setting::new("sc-rpc-host", "HOST", "127.0.0.1")
    .means(SIDECHAIN, "Host name or address of the sidechain daemon's JSON-RPC.");
pub(super) const SC_RPC_PORT: Setting = Setting::new("sc-rpc-port", "PORT", "")
    .noted("6000 + SIDECHAIN_NUMBER")
    .means(SIDECHAIN, "Port of the sidechain daemon's JSON-RPC.");
pub(super) const SC_RPC_USER: Setting = Setting::new("sc-rpc-user", "USER", "")
    .means(SIDECHAIN, "User name at the sidechain daemon; may stay empty where it asks for none.");
pub(super) const SC_RPC_PASSWORD: Setting = Setting::new("sc-rpc-password", "PASSWORD", "")
    .means(SIDECHAIN, "Password at the sidechain daemon.")
    .secret();
pub(super) const BMM_HEADER_HEX: Setting = Setting::new("bmm-header-hex", "HEX", "d1617368").means(
    SIDECHAIN,
    "The four bytes that mark the commitment in the coinbase (BIP301 M7), as 8 hex digits. \
     Enforcers know no other than the default.",
);
pub(super) const BMM_FALLBACK: Setting = Setting::new("bmm-fallback", "WHAT", "zero").means(
    SIDECHAIN,
    "What a block commits to while the sidechain daemon does not answer: zero (an h* of 32 zero \
     bytes) or skip (no commitment).",
);
pub(super) const BMM_BLIND: Setting = Setting::new("bmm-blind", "SWITCH", "on").means(
    SIDECHAIN,
    "Whether the best bid for each sidechain slot in the mempool (BIP301 M8) is mined with its \
     commitment: on or off. Off leaves every bid out, for a bid without its commitment loses the \
     block.",
);
pub(super) const MINER_PKH_HEX: Setting = Setting::new("miner-pkh-hex", "HEX", "").means(
    PAYOUT,
    "Hash of the public key that blocks pay to (P2PKH), as 40 hex digits. Empty, with \
     PAYOUT_ADDRESS empty too, pays to OP_TRUE, which anyone can spend: for tests, refused on \
     main.",
);
pub(super) const PAYOUT_ADDRESS: Setting = Setting::new("payout-address", "ADDRESS", "").means(
    PAYOUT,
    "Address that blocks pay to, in place of MINER_PKH_HEX: P2PKH, P2SH, P2WPKH, P2WSH or P2TR, \
     of NETWORK.",
);
pub(super) const STRATUM_HOST: Setting = Setting::new("stratum-host", "HOST", "0.0.0.0").means(
    MINERS,
    "Address that miners connect to: 0.0.0.0 is every IPv4 address of this machine, :: every one, \
     127.0.0.1 this machine only.",
);
pub(super) const STRATUM_PORT: Setting = Setting::new("stratum-port", "PORT", "3333")
    .means(MINERS, "Port that miners connect to; 0 takes a free one, which the log names.");
pub(super) const MAX_CONNECTIONS: Setting = Setting::new("max-connections", "COUNT", "20000")
    .means(
        MINERS,
        "Connections of miners at a time, 1 to 1000000; whoever comes then is let go at once. Each \
         is an open file (ulimit -Hn, LimitNOFILE in a unit of systemd) and about 2 KB.",
    );
pub(super) const POOL_DIFFICULTY: Setting = Setting::new("pool-difficulty", "DIFFICULTY", "1")
    .means(
        MINERS,
        "Difficulty of a miner's first shares, and with VARDIFF=off of all: any positive decimal, \
         such as 1000, 0.001 or 4.6e-10. Never harder than the network's.",
    );
pub(super) const VARDIFF: Setting = Setting::new("vardiff", "SWITCH", "on").means(
    MINERS,
    "Whether difficulty follows each miner's pace, from POOL_DIFFICULTY on: on or off. Off keeps \
     POOL_DIFFICULTY for everybody, whatever miners ask for.",
);
pub(super) const VARDIFF_SHARE_INTERVAL: Setting =
    Setting::new("vardiff-share-interval", "SECONDS", "5")
        .means(MINERS, "Seconds between two shares of a miner that vardiff aims at, 1 to 600.");
pub(super) const VARDIFF_MIN: Setting = Setting::new("vardiff-min", "DIFFICULTY", "0.0000001")
    .means(
        MINERS,
        "Difficulty that vardiff does not go below, but for the network's own where that is lower.",
    );
pub(super) const VARDIFF_MAX: Setting = Setting::new("vardiff-max", "DIFFICULTY", "")
    .noted("none: the network's")
    .means(MINERS, "Difficulty that vardiff does not go above.");
pub(super) const SOLO_PAYOUT: Setting = Setting::new("solo-payout", "SWITCH", "off").means(
    PAYOUT,
    "Whether a block pays the miner who found it, at the address that is his user name (ADDRESS or \
     ADDRESS.RIG): on or off. Off lets any name in and pays the operator.",
);
pub(super) const SOLO_FEE_BASIS_POINTS: Setting =
    Setting::new("solo-fee-basis-points", "HUNDREDTHS", "0").means(
        PAYOUT,
        "With SOLO_PAYOUT, the operator's part of a block in hundredths of a percent, 0 to 10000; \
         it is the coinbase's last output.",
    );
pub(super) const JOB_REFRESH_INTERVAL: Setting =
    Setting::new("job-refresh-interval", "SECONDS", "10").means(
        MINERS,
        "Seconds between jobs with new transactions and a new sidechain block, 1 to 3600; a new \
         mainchain block or bid is never waited for.",
    );
pub(super) const EMPTY_FIRST: Setting =
    Setting::new("empty-first", "SWITCH", "").noted("by NETWORK: main on, the others off").means(
        MINERS,
        "Whether miners get a job with the coinbase alone on a new tip, for the moment that a node \
         with a full mempool takes for the whole one: on or off. It needs NODE_ZMQ; no enforcer's \
         tip has one.",
    );
pub(super) const MAX_TIP_AGE: Setting = Setting::new("max-tip-age", "SECONDS", "600").means(
    MINERS,
    "Seconds for which miners are kept at work on a tip that no node confirms, 10 to 86400. Then \
     the tip counts as dead: an alarm in the log, and no work until a node answers.",
);
pub(super) const DATA_DIR: Setting =
    Setting::new("data-dir", "DIRECTORY", "./drivechain-stratum-data").means(
        PROCESS,
        "Where the journal and the found blocks are kept; made when it does not exist.",
    );
pub(super) const ENGINES: Setting = Setting::new("engines", "COUNT", "1").means(
    PROCESS,
    "How many threads judge shares, 1 to 64: each has miners and a share log of its own. One is \
     enough for 50000 shares a second.",
);
pub(super) const LOG_FORMAT: Setting = Setting::new("log-format", "FORMAT", "text")
    .means(PROCESS, "Form of the log on standard error: text, or json with one object a line.");
pub(super) const LOG_LEVEL: Setting = Setting::new("log-level", "LEVEL", "info").means(
    PROCESS,
    "What is logged: error, warn, info, debug, trace or off; or directives of tracing's EnvFilter \
     such as warn,server=debug.",
);

/// Every setting, in the order in which people read of them.
pub const SETTINGS: &[Setting] = &[
    NETWORK,
    RPC_HOST,
    RPC_PORT,
    RPC_USER,
    RPC_PASSWORD,
    RPC_COOKIE_FILE,
    NODE_ZMQ,
    ENABLE_SIDECHAIN,
    SIDECHAIN_NUMBER,
    SC_RPC_HOST,
    SC_RPC_PORT,
    SC_RPC_USER,
    SC_RPC_PASSWORD,
    BMM_HEADER_HEX,
    BMM_FALLBACK,
    BMM_BLIND,
    MINER_PKH_HEX,
    PAYOUT_ADDRESS,
    SOLO_PAYOUT,
    SOLO_FEE_BASIS_POINTS,
    STRATUM_HOST,
    STRATUM_PORT,
    MAX_CONNECTIONS,
    POOL_DIFFICULTY,
    VARDIFF,
    VARDIFF_SHARE_INTERVAL,
    VARDIFF_MIN,
    VARDIFF_MAX,
    JOB_REFRESH_INTERVAL,
    EMPTY_FIRST,
    MAX_TIP_AGE,
    DATA_DIR,
    ENGINES,
    LOG_FORMAT,
    LOG_LEVEL,
];

/// Where the settings file is looked for when `--config` names none.
pub(super) const CONFIG_FILE: &str = "drivechain-stratum.toml";
/// Where the environment file is looked for when `--env-file` names none.
pub(super) const ENV_FILE: &str = ".env";
pub(super) const CONFIG_FLAG: &str = "config";
pub(super) const ENV_FILE_FLAG: &str = "env-file";
pub(super) const PRINT_CONFIG_FLAG: &str = "print-config";

/// The command line: a flag for each setting, and those that say where settings are and what
/// to do with them.
pub fn command() -> Command {
    let file = |flag| Arg::new(flag).long(flag).value_name("FILE").global(true);
    let config = file(CONFIG_FLAG).help(format!(
        "Settings file: TOML, with the names below in lower case [default: ./{CONFIG_FILE} when \
         it exists]"
    ));
    let env_file = file(ENV_FILE_FLAG).help(format!(
        "Environment file: lines of NAME=value, # starts a comment, a $ is just a $ [default: \
         ./{ENV_FILE} when it exists]"
    ));
    let print_config = Arg::new(PRINT_CONFIG_FLAG)
        .long(PRINT_CONFIG_FLAG)
        .action(ArgAction::SetTrue)
        .help("Prints each setting with its value and where that came from, then exits");
    Command::new("drivechain-stratum")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Stratum v1 server for Bitcoin nodes with Drivechain (BIP300/301)")
        .after_help(
            "A flag wins over the environment, the environment over the environment file, that \
             over the settings file. An empty value counts as not set.",
        )
        .max_term_width(100)
        .next_line_help(true)
        .args_override_self(true)
        .arg(config)
        .arg(env_file)
        .arg(print_config)
        .args(SETTINGS.iter().map(|setting| setting.to_arg()))
        .subcommands(super::task::commands())
        .disable_help_subcommand(true)
}

/// The README's table of settings, in Markdown.
pub fn table() -> String {
    let head = ["| Setting | Default | Meaning |".to_owned(), "|---|---|---|".to_owned()];
    let rows = SETTINGS.iter().map(|setting| {
        let (name, default) = (setting.name(), setting.default_markdown());
        format!("| `{name}` | {default} | {} |", setting.meaning)
    });
    let lines: Vec<String> = head.into_iter().chain(rows).collect();
    lines.join("\n") + "\n"
}
