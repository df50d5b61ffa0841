//! The settings: sources and their order, every message, the listing, the help, the binary.
//!
//! Why so many snapshots: these lines are what an operator sees when something is wrong, so a
//! change of one is to be seen in a diff. Not here: what the server does with its settings.

#![cfg(feature = "runtime")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::{Command, Output};

use insta::assert_snapshot;
use proptest::prelude::*;
use server::config::PortRules;
use server::settings::{
    self, Credentials, Loaded, LogFormat, SETTINGS, Settings, SettingsError, Task,
};

/// Everything a start depends on, given piece by piece.
#[derive(Clone, Default)]
struct Start {
    flags: Vec<OsString>,
    environment: BTreeMap<String, OsString>,
    files: BTreeMap<String, Result<String, ErrorKind>>,
}

impl Start {
    /// One that has credentials and a payout, so that nothing is warned of.
    fn quiet() -> Self {
        let start = Self::default().variable("RPC_USER", "miner");
        start.variable("MINER_PKH_HEX", "89abcdefabbaabbaabbaabbaabbaabbaabbaabba")
    }

    fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.into());
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    fn file(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.to_owned(), Ok(text.to_owned()));
        self
    }

    fn unreadable(mut self, path: &str, kind: ErrorKind) -> Self {
        self.files.insert(path.to_owned(), Err(kind));
        self
    }

    fn dot_env(self, text: &str) -> Self {
        self.file(".env", text)
    }

    fn toml(self, text: &str) -> Self {
        self.file("drivechain-stratum.toml", text)
    }

    fn load(&self) -> Result<Loaded, SettingsError> {
        let args = [OsString::from("drivechain-stratum")].into_iter().chain(self.flags.clone());
        settings::load(args, &self.environment, &|path: &Path| match self
            .files
            .get(&path.display().to_string())
        {
            Some(Ok(text)) => Ok(text.clone()),
            Some(Err(kind)) => Err(io::Error::from(*kind)),
            None => Err(io::Error::from(ErrorKind::NotFound)),
        })
    }

    #[expect(clippy::panic, reason = "fails the test that calls it")]
    fn loaded(&self) -> Loaded {
        self.load().unwrap_or_else(|error| panic!("refused: {error}"))
    }

    fn settings(&self) -> Settings {
        self.loaded().settings
    }

    fn warnings(&self) -> String {
        wrapped(&self.loaded().warnings.join("\n"))
    }

    fn problems(&self) -> String {
        match self.load() {
            Ok(_) => "accepted".to_owned(),
            Err(error) => {
                assert_eq!(error.exit_code(), 2);
                wrapped(&error.to_string())
            }
        }
    }
}

/// Long lines broken between words, the rest indented: lines of a snapshot fit the page.
fn wrapped(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let mut current = String::new();
        for word in line.split(' ') {
            if current.len() + 1 + word.len() > 88 {
                lines.push(core::mem::take(&mut current));
                current.push_str("  ");
            } else if !current.is_empty() {
                current.push(' ');
            }
            current.push_str(word);
        }
        lines.push(current);
    }
    lines.join("\n")
}

/// The problem with one value in the environment.
fn problem(name: &str, value: &str) -> String {
    Start::quiet().variable(name, value).problems()
}

fn shown(loaded: &Loaded, name: &str) -> String {
    let found = loaded.effective.iter().find(|each| each.setting.name() == name);
    found.map_or_else(String::new, |each| format!("{} from {}", each.shown, each.source))
}

#[test]
fn each_source_wins_over_those_below() {
    let sources = [
        Start::default(),
        Start::default().toml("stratum_port = 4001"),
        Start::default().dot_env("STRATUM_PORT=4002"),
        Start::default().variable("STRATUM_PORT", "4003"),
        Start::default().flag("--stratum-port=4004"),
    ];
    let mut start = Start::default();
    let mut wins = Vec::new();
    for source in sources {
        start.flags.extend(source.flags);
        start.environment.extend(source.environment);
        start.files.extend(source.files);
        wins.push(shown(&start.loaded(), "STRATUM_PORT"));
    }
    assert_snapshot!(wins.join("\n"), @r"
    3333 from default
    4001 from drivechain-stratum.toml
    4002 from .env
    4003 from environment
    4004 from flag
    ");
}

#[test]
fn an_empty_value_leaves_the_choice_to_the_next_source() {
    let start = Start::default()
        .flag("--rpc-host=")
        .variable("RPC_HOST", "  ")
        .dot_env("RPC_HOST=\nMINER_PKH_HEX=\nSTRATUM_PORT=''\n")
        .toml("rpc_host = 'node.example'\nstratum_port = ''");
    let loaded = start.loaded();
    assert_eq!(shown(&loaded, "RPC_HOST"), "node.example from drivechain-stratum.toml");
    assert_eq!(shown(&loaded, "MINER_PKH_HEX"), " from default");
    assert_eq!(shown(&loaded, "STRATUM_PORT"), "3333 from default");
}

#[test]
fn defaults_are_the_documented_ones() {
    assert_snapshot!(Start::default().loaded().listing(), @"
    NETWORK=regtest                     # default
    RPC_HOST=127.0.0.1                  # default
    RPC_PORT=18443                      # default
    RPC_USER=                           # default
    RPC_PASSWORD=                       # default
    RPC_COOKIE_FILE=                    # default
    NODE_ZMQ=                           # default
    ENABLE_SIDECHAIN=false              # default
    SIDECHAIN_NUMBER=0                  # default
    SC_RPC_HOST=127.0.0.1               # default
    SC_RPC_PORT=6000                    # default
    SC_RPC_USER=                        # default
    SC_RPC_PASSWORD=                    # default
    BMM_HEADER_HEX=d1617368             # default
    BMM_FALLBACK=zero                   # default
    BMM_BLIND=on                        # default
    MINER_PKH_HEX=                      # default
    PAYOUT_ADDRESS=                     # default
    SOLO_PAYOUT=off                     # default
    SOLO_FEE_BASIS_POINTS=0             # default
    STRATUM_HOST=0.0.0.0                # default
    STRATUM_PORT=3333                   # default
    MAX_CONNECTIONS=20000               # default
    POOL_DIFFICULTY=1                   # default
    VARDIFF=on                          # default
    VARDIFF_SHARE_INTERVAL=5            # default
    VARDIFF_MIN=0.0000001               # default
    VARDIFF_MAX=                        # default
    JOB_REFRESH_INTERVAL=10             # default
    EMPTY_FIRST=off                     # default
    MAX_TIP_AGE=600                     # default
    DATA_DIR=./drivechain-stratum-data  # default
    ENGINES=1                           # default
    LOG_FORMAT=text                     # default
    LOG_LEVEL=info                      # default
    ");
    let settings = Start::default().settings();
    assert_eq!(settings.sidechains, []);
    assert_eq!(settings.payout.script.to_hex_string(), "51");
    assert_eq!(settings.log_format, LogFormat::Text);
}

#[test]
fn every_setting_is_read_and_listed_in_order() {
    let listed: Vec<String> =
        Start::default().loaded().effective.iter().map(|each| each.setting.name()).collect();
    let described: Vec<String> = SETTINGS.iter().map(settings::Setting::name).collect();
    assert_eq!(listed, described);
}

#[test]
fn a_full_file_of_the_first_user_becomes_types() {
    let start = Start::default().dot_env(
        "NETWORK=signet\nRPC_HOST=10.0.0.5\nRPC_PORT=38332\nRPC_USER=drive\nRPC_PASSWORD=chain\n\
         ENABLE_SIDECHAIN=true\nSC_RPC_HOST=localhost\nSC_RPC_PORT=6009\nSC_RPC_USER=side\n\
         SC_RPC_PASSWORD=secret\nSIDECHAIN_NUMBER=9\nBMM_HEADER_HEX=d1617368\nMINER_PKH_HEX=\
         89abcdefabbaabbaabbaabbaabbaabbaabbaabba\nSTRATUM_HOST=0.0.0.0\nSTRATUM_PORT=3333\n\
         POOL_DIFFICULTY=0.00015\nJOB_REFRESH_INTERVAL=10\n",
    );
    let loaded = start.loaded();
    assert_eq!(loaded.warnings, [""; 0]);
    assert_snapshot!(wrapped(&format!("{:?}", loaded.settings)), @r#"
    Settings { network: Signet, node: RpcEndpoint { host: "10.0.0.5", port: 38332,
      credentials: Basic { user: "drive", password: ******** } }, node_zmq: [], other_nodes:
      [], sidechains: [Sidechain { slot: Slot(9), kind: BestBlock, daemon: RpcEndpoint {
      host: "localhost", port: 6009, credentials: Basic { user: "side", password: ******** }
      }, header: BmmHeader([209, 97, 115, 104]), fallback: Zero, priority: 0 }], wishes:
      Wishes { proposals: [], acknowledgements: [], votes: None }, bmm_blind: On, payout:
      Payout { script: Script(OP_DUP OP_HASH160 OP_PUSHBYTES_20
      89abcdefabbaabbaabbaabbaabbaabbaabbaabba OP_EQUALVERIFY OP_CHECKSIG), description:
      "P2PKH mt4tgWuYiNAnoweSUsbfQMPENRWw72ccPh (MINER_PKH_HEX)" }, stratum_host: "0.0.0.0",
      stratum_port: 3333, max_connections: 20000, pool_difficulty: Difficulty { digits: 15,
      exponent: -5 }, vardiff: Some(VardiffRules { share_interval: 5s, min: Difficulty {
      digits: 1, exponent: -7 }, max: None }), solo: None, listen: [], job_refresh_interval:
      10s, empty_first: false, max_tip_age: 600s, data_dir: "./drivechain-stratum-data",
      engines: 1, log_format: Text, log_level: "info" }
    "#);
}

#[test]
fn defaults_that_depend_on_other_settings() {
    let port = |network| Start::quiet().variable("NETWORK", network).settings().node.port;
    assert_eq!(
        ["testnet3", "testnet4", "signet", "regtest"].map(port),
        [18332, 48332, 38332, 18443]
    );
    assert_eq!(port("mainnet"), 8332);
    let empty_first = |network| Start::quiet().variable("NETWORK", network).settings().empty_first;
    assert_eq!(["main", "testnet4", "regtest"].map(empty_first), [true, false, false]);
    let start = Start::quiet().flag("--enable-sidechain").flag("--sidechain-number=255");
    assert_eq!(start.settings().sidechains[0].daemon.port, 6255);
}

#[test]
fn names_of_networks() {
    let network = |name| Start::quiet().variable("NETWORK", name).settings().network.to_string();
    assert_eq!(["main", "mainnet", "Bitcoin"].map(network), ["bitcoin"; 3]);
    assert_eq!(["test", "testnet", "TESTNET3"].map(network), ["testnet"; 3]);
    assert_eq!(["testnet4", "signet", "regtest"].map(network), ["testnet4", "signet", "regtest"]);
}

#[test]
fn yes_and_no() {
    let enabled = |value| {
        !Start::quiet().variable("ENABLE_SIDECHAIN", value).settings().sidechains.is_empty()
    };
    assert_eq!(["true", "TRUE", "1", "yes", "Yes", "on"].map(enabled), [true; 6]);
    assert_eq!(["false", "False", "0", "no", "NO", "off"].map(enabled), [false; 6]);
    let flag = |flag| !Start::quiet().flag(flag).settings().sidechains.is_empty();
    assert!(flag("--enable-sidechain") && flag("--enable-sidechain=yes"));
    assert!(!flag("--enable-sidechain=no"));
}

#[test]
fn hosts() {
    let host = |value| Start::quiet().variable("RPC_HOST", value).settings().node.host;
    assert_eq!(host("::1"), "::1");
    assert_eq!(host("[fe80::1%eth0]"), "fe80::1%eth0");
    assert_eq!(host(" node_1.example "), "node_1.example");
    assert_snapshot!(problem("RPC_HOST", "http://127.0.0.1"), @r"
    RPC_HOST=http://127.0.0.1 (environment): is a URL, and only its host belongs here; write
      the host name or address alone, and its port into the port's own setting
    ");
    assert_snapshot!(problem("SC_RPC_HOST", "127.0.0.1:8332"), @r"
    SC_RPC_HOST=127.0.0.1:8332 (environment): has a port, which has a setting of its own;
      write 127.0.0.1 here and 8332 there
    ");
    assert_snapshot!(problem("STRATUM_HOST", "my host"), @r"
    STRATUM_HOST=my host (environment): is neither a host name nor an IP address, so nothing
      can be reached by it; write one such as localhost, 192.0.2.7 or ::1
    ");
    assert_snapshot!(problem("STRATUM_HOST", "*"), @r"
    STRATUM_HOST=* (environment): is neither a host name nor an IP address, so nothing can
      be reached by it; write one such as localhost, 192.0.2.7 or ::1
    ");
}

#[test]
fn ports() {
    assert_eq!(Start::quiet().variable("STRATUM_PORT", "0").settings().stratum_port, 0);
    assert_snapshot!(problem("RPC_PORT", "0"), @r"
    RPC_PORT=0 (environment): is not a port, so there is nothing to connect to; write a
      whole number from 1 to 65535
    ");
    assert_snapshot!(problem("SC_RPC_PORT", "65536"), @r"
    SC_RPC_PORT=65536 (environment): is not a port, so there is nothing to connect to; write
      a whole number from 1 to 65535
    ");
    assert!(problem("ENGINES", "65").contains("is no number of threads"));
    assert!(problem("MAX_CONNECTIONS", "0").contains("is no number of connections"));
    assert_snapshot!(problem("STRATUM_PORT", "-1"), @r"
    STRATUM_PORT=-1 (environment): is not a port, so no miner could connect; write a whole
      number from 1 to 65535, or 0 for any free one
    ");
    assert_snapshot!(problem("STRATUM_PORT", "stratum"), @r"
    STRATUM_PORT=stratum (environment): is not a port, so no miner could connect; write a
      whole number from 1 to 65535, or 0 for any free one
    ");
}

#[test]
fn credentials() {
    let credentials = |start: Start| start.settings().node.credentials;
    let with = |names: &[(&str, &str)]| {
        names.iter().fold(Start::default(), |start, (name, value)| start.variable(name, value))
    };
    assert_eq!(credentials(with(&[])), Credentials::None);
    let basic = credentials(with(&[("RPC_USER", "u"), ("RPC_PASSWORD", " p:$#'\" ")]));
    let Credentials::Basic { user, password } = basic else { panic!("not basic") };
    assert_eq!((user.as_str(), password.expose()), ("u", " p:$#'\" "));
    let cookie = with(&[("RPC_COOKIE_FILE", "~/.bitcoin/.cookie"), ("HOME", "/home/satoshi")]);
    let file = Path::new("/home/satoshi/.bitcoin/.cookie").to_owned();
    assert_eq!(credentials(cookie.clone()), Credentials::CookieFile(file));
    let paid = |start: Start| start.flag("--miner-pkh-hex").flag(&"ab".repeat(20)).warnings();
    assert_snapshot!(paid(with(&[])), @r"
    RPC_USER, RPC_PASSWORD and RPC_COOKIE_FILE are all empty: a bitcoind refuses calls
      without them; set RPC_COOKIE_FILE to the .cookie in its data directory
    ");
    assert_snapshot!(paid(cookie.clone()), @"");
    assert_eq!(
        paid(cookie.clone().variable("RPC_PASSWORD", "p")),
        "RPC_PASSWORD has no effect: RPC_USER is empty and RPC_COOKIE_FILE is set"
    );
    assert_eq!(
        paid(cookie.variable("RPC_USER", "u")),
        "RPC_COOKIE_FILE has no effect: RPC_USER is set and goes first"
    );
    assert_snapshot!(problem("RPC_USER", "user:password"), @r"
    RPC_USER (environment): has a colon, which ends a user name in HTTP, so another user
      would be asked for; write what follows it into RPC_PASSWORD
    ");
}

#[test]
fn problems_of_single_values() {
    assert_snapshot!(problem("NETWORK", "maine"), @r"
    NETWORK=maine (environment): is not a network, so neither blocks nor addresses could be
      checked; write main, testnet3, testnet4, signet or regtest
    ");
    assert_eq!(
        problem("ENABLE_SIDECHAIN", "maybe"),
        "ENABLE_SIDECHAIN=maybe (environment): is neither yes nor no; write true or false"
    );
    assert_snapshot!(problem("SIDECHAIN_NUMBER", "256"), @r"
    SIDECHAIN_NUMBER=256 (environment): is not a sidechain slot, so blocks would commit to
      no sidechain; write the slot's number from 0 to 255
    ");
    assert_snapshot!(problem("SIDECHAIN_NUMBER", "-1"), @r"
    SIDECHAIN_NUMBER=-1 (environment): is not a sidechain slot, so blocks would commit to no
      sidechain; write the slot's number from 0 to 255
    ");
    assert_snapshot!(problem("SIDECHAIN_NUMBER", "thunder"), @r"
    SIDECHAIN_NUMBER=thunder (environment): is not a sidechain slot, so blocks would commit
      to no sidechain; write the slot's number from 0 to 255
    ");
    assert_snapshot!(problem("BMM_HEADER_HEX", "d16173"), @r"
    BMM_HEADER_HEX=d16173 (environment): is not the mark of a BMM commitment (6 hex digits
      instead of 8), so no sidechain would find it; write d1617368
    ");
    assert_snapshot!(problem("BMM_HEADER_HEX", "0xd16173"), @r"
    BMM_HEADER_HEX=0xd16173 (environment): is not the mark of a BMM commitment ('x' is not a
      hex digit), so no sidechain would find it; write d1617368
    ");
    assert_snapshot!(problem("BMM_FALLBACK", "none"), @r"
    BMM_FALLBACK=none (environment): is no fallback, so it is open what a block commits to
      while the sidechain daemon is away; write zero or skip
    ");
    assert_snapshot!(problem("JOB_REFRESH_INTERVAL", "0"), @r"
    JOB_REFRESH_INTERVAL=0 (environment): is not an interval, so new transactions would come
      at no known time; write whole seconds from 1 to 3600
    ");
    assert_snapshot!(problem("JOB_REFRESH_INTERVAL", "3601"), @r"
    JOB_REFRESH_INTERVAL=3601 (environment): is not an interval, so new transactions would
      come at no known time; write whole seconds from 1 to 3600
    ");
    for age in ["9", "86401", "x"] {
        assert!(problem("MAX_TIP_AGE", age).contains("whole seconds from 10 to 86400"));
    }
    assert_snapshot!(problem("JOB_REFRESH_INTERVAL", "2.5"), @r"
    JOB_REFRESH_INTERVAL=2.5 (environment): is not an interval, so new transactions would
      come at no known time; write whole seconds from 1 to 3600
    ");
    assert_eq!(
        problem("LOG_FORMAT", "xml"),
        "LOG_FORMAT=xml (environment): is no form of a log; write text or json"
    );
    assert_snapshot!(problem("LOG_LEVEL", "inof"), @r"
    LOG_LEVEL=inof (environment): is no log level, so nothing might be logged; write error,
      warn, info, debug, trace or off, or directives such as warn,server=debug
    ");
    assert_snapshot!(problem("LOG_LEVEL", "server=loud"), @r"
    LOG_LEVEL=server=loud (environment): is no log level, so nothing might be logged; write
      error, warn, info, debug, trace or off, or directives such as warn,server=debug
    ");
}

#[test]
fn log_levels() {
    let level = |value| Start::quiet().variable("LOG_LEVEL", value).settings().log_level;
    for value in ["DEBUG", "off", "warn,server=debug", "server::node=trace,info"] {
        assert_eq!(level(value), value);
    }
}

#[test]
fn difficulties() {
    let difficulty = |value| {
        Start::quiet().variable("POOL_DIFFICULTY", value).settings().pool_difficulty.to_string()
    };
    assert_eq!(
        ["1", "0.00015", "1.5e3", "4.6e-10"].map(difficulty),
        ["1", "0.00015", "1500", "0.00000000046"]
    );
    assert_snapshot!(problem("POOL_DIFFICULTY", "0"), @r"
    POOL_DIFFICULTY=0 (environment): must be greater than zero, so no share could be judged
      by it; write a positive decimal such as 1000, 1 or 0.001
    ");
    assert_snapshot!(problem("POOL_DIFFICULTY", "-1"), @r"
    POOL_DIFFICULTY=-1 (environment): must be greater than zero, so no share could be judged
      by it; write a positive decimal such as 1000, 1 or 0.001
    ");
    assert_snapshot!(problem("POOL_DIFFICULTY", "nan"), @r"
    POOL_DIFFICULTY=nan (environment): is not a decimal number such as 1, 0.001 or 4.6e-10,
      so no share could be judged by it; write a positive decimal such as 1000, 1 or 0.001
    ");
    assert_snapshot!(problem("POOL_DIFFICULTY", "1e99"), @r"
    POOL_DIFFICULTY=1e99 (environment): has more than 19 digits or lies outside 1e-30 to
      1e30, so no share could be judged by it; write a positive decimal such as 1000, 1 or
      0.001
    ");
    assert_snapshot!(problem("POOL_DIFFICULTY", "one"), @r"
    POOL_DIFFICULTY=one (environment): is not a decimal number such as 1, 0.001 or 4.6e-10,
      so no share could be judged by it; write a positive decimal such as 1000, 1 or 0.001
    ");
    let flag = Start::quiet().flag("--pool-difficulty").flag("-1").problems();
    assert!(flag.starts_with("POOL_DIFFICULTY=-1 (flag): must be greater"), "{flag}");
}

#[test]
fn a_difficulty_in_toml_keeps_every_digit() {
    let start = Start::quiet().toml("pool_difficulty = 0.1234567890123456789");
    assert_eq!(start.settings().pool_difficulty.to_string(), "0.1234567890123456789");
}

const REGTEST_ADDRESS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
const MAIN_ADDRESS: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";

#[test]
fn payouts() {
    let payout = |network: &str, name: &str, value: &str| {
        let start = Start::default().variable("NETWORK", network).variable(name, value);
        let payout = start.settings().payout;
        wrapped(&format!("{}\n{}", payout.description, payout.script))
    };
    let hash = "751e76e8199196d454941c45d1b3a323f1433bd6";
    assert_snapshot!(payout("regtest", "MINER_PKH_HEX", hash), @r"
    P2PKH mrCDrCybB6J1vRfbwM5hemdJz73FwDBC8r (MINER_PKH_HEX)
    OP_DUP OP_HASH160 OP_PUSHBYTES_20 751e76e8199196d454941c45d1b3a323f1433bd6
      OP_EQUALVERIFY OP_CHECKSIG
    ");
    assert_snapshot!(payout("main", "MINER_PKH_HEX", &hash.to_uppercase()), @r"
    P2PKH 1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH (MINER_PKH_HEX)
    OP_DUP OP_HASH160 OP_PUSHBYTES_20 751e76e8199196d454941c45d1b3a323f1433bd6
      OP_EQUALVERIFY OP_CHECKSIG
    ");
    assert_snapshot!(payout("regtest", "PAYOUT_ADDRESS", REGTEST_ADDRESS), @r"
    P2WPKH bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080 (PAYOUT_ADDRESS)
    OP_0 OP_PUSHBYTES_20 751e76e8199196d454941c45d1b3a323f1433bd6
    ");
    assert_snapshot!(payout("main", "PAYOUT_ADDRESS", MAIN_ADDRESS), @r"
    P2WPKH bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4 (PAYOUT_ADDRESS)
    OP_0 OP_PUSHBYTES_20 751e76e8199196d454941c45d1b3a323f1433bd6
    ");
    let p2sh = "3P14159f73E4gFr7JterCCQh9QjiTjiZrG";
    assert_snapshot!(payout("main", "PAYOUT_ADDRESS", p2sh), @r"
    P2SH 3P14159f73E4gFr7JterCCQh9QjiTjiZrG (PAYOUT_ADDRESS)
    OP_HASH160 OP_PUSHBYTES_20 e9c3dd0c07aac76179ebc76a6c78d4d67c6c160a OP_EQUAL
    ");
    let p2wsh = "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7";
    assert_snapshot!(payout("signet", "PAYOUT_ADDRESS", p2wsh), @r"
    P2WSH tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7 (PAYOUT_ADDRESS)
    OP_0 OP_PUSHBYTES_32 1863143c14c5166804bd19203356da136c985678cd4d27a1b8c6329604903262
    ");
    let p2tr = "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0";
    assert_snapshot!(payout("main", "PAYOUT_ADDRESS", p2tr), @r"
    P2TR bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0 (PAYOUT_ADDRESS)
    OP_PUSHNUM_1 OP_PUSHBYTES_32
      79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798
    ");
}

#[test]
fn refused_payouts() {
    assert_snapshot!(problem("MINER_PKH_HEX", "abc"), @r"
    MINER_PKH_HEX=abc (environment): is not a public key hash (3 hex digits instead of 40),
      so blocks would pay nobody; write the key's HASH160 as 40 hex digits, or put an
      address into PAYOUT_ADDRESS
    ");
    assert_snapshot!(problem("MINER_PKH_HEX", &"0g".repeat(20)), @r"
    MINER_PKH_HEX=0g0g0g0g0g0g0g0g0g0g0g0g0g0g0g0g0g0g0g0g (environment): is not a public
      key hash ('g' is not a hex digit), so blocks would pay nobody; write the key's HASH160
      as 40 hex digits, or put an address into PAYOUT_ADDRESS
    ");
    assert_snapshot!(problem("MINER_PKH_HEX", MAIN_ADDRESS), @r"
    MINER_PKH_HEX=bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4 (environment): is not a public
      key hash ('q' is not a hex digit), so blocks would pay nobody; write the key's HASH160
      as 40 hex digits, or put an address into PAYOUT_ADDRESS
    ");
    let address = |network, address| {
        let start = Start::default().variable("NETWORK", network);
        start.variable("PAYOUT_ADDRESS", address).problems()
    };
    assert_snapshot!(address("regtest", MAIN_ADDRESS), @r"
    PAYOUT_ADDRESS=bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4 (environment): is an address
      of main, but NETWORK is regtest, where nobody could be paid by it; give an address of
      regtest, or correct NETWORK
    ");
    assert_snapshot!(address("main", REGTEST_ADDRESS), @r"
    PAYOUT_ADDRESS=bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080 (environment): is an address
      of regtest, but NETWORK is main, where nobody could be paid by it; give an address of
      main, or correct NETWORK
    ");
    assert_snapshot!(address("main", "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn"), @r"
    PAYOUT_ADDRESS=mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn (environment): is an address of
      testnet3, testnet4, signet, regtest, but NETWORK is main, where nobody could be paid
      by it; give an address of main, or correct NETWORK
    ");
    assert_snapshot!(address("main", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5"), @r"
    PAYOUT_ADDRESS=bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5 (environment): is not an
      address (decoding segwit address failed: invalid checksum: the checksum residue is not
      valid for the data), so blocks would pay nobody; copy an address of main whole
    ");
    assert_snapshot!(address("main", "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN3"), @r"
    PAYOUT_ADDRESS=1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN3 (environment): is not an address
      (base58 error: incorrect checksum: base58 checksum 0x6c7615f4 does not match expected
      0x6b7615f4), so blocks would pay nobody; copy an address of main whole
    ");
    assert_snapshot!(address("main", "bc1pfeessrawgf"), @r"
    PAYOUT_ADDRESS=bc1pfeessrawgf (environment): is of a kind that anyone can spend today;
      give a P2PKH, P2SH, P2WPKH, P2WSH or P2TR address of main
    ");
}

#[test]
fn blank_and_contradicting_payouts() {
    let start = Start::default().variable("RPC_USER", "u");
    assert_snapshot!(start.warnings(), @r"
    MINER_PKH_HEX and PAYOUT_ADDRESS are both empty: blocks pay to OP_TRUE, which anyone can
      spend; set one of them to be paid
    ");
    assert_snapshot!(start.clone().variable("NETWORK", "main").problems(), @r"
    MINER_PKH_HEX and PAYOUT_ADDRESS are both empty and NETWORK is main: every block would
      pay to OP_TRUE, which anyone can take; set PAYOUT_ADDRESS to an address of yours
    ");
    let both = start.variable("MINER_PKH_HEX", "751e76e8199196d454941c45d1b3a323f1433bd6");
    let other = both.clone().dot_env(&format!("PAYOUT_ADDRESS={REGTEST_ADDRESS}"));
    assert_snapshot!(other.problems(), @r"
    MINER_PKH_HEX (environment) and PAYOUT_ADDRESS (.env) are both set and pay to different
      scripts, so it is open who is paid; remove one of them
    ");
    // The same key hash twice is no contradiction.
    let same = both.dot_env("PAYOUT_ADDRESS=mrCDrCybB6J1vRfbwM5hemdJz73FwDBC8r");
    assert_eq!(same.warnings(), "");
}

#[test]
fn every_problem_is_told_at_once_and_on_one_line() {
    let start = Start::default()
        .flag("--rpc-port=x")
        .variable("NETWORK", "a\nb")
        .dot_env("SIDECHAIN_NUMBER=-1")
        .toml("log_format = 'loud'");
    assert_snapshot!(start.problems(), @r"
    NETWORK=a\nb (environment): is not a network, so neither blocks nor addresses could be
      checked; write main, testnet3, testnet4, signet or regtest
    RPC_PORT=x (flag): is not a port, so there is nothing to connect to; write a whole
      number from 1 to 65535
    SIDECHAIN_NUMBER=-1 (.env): is not a sidechain slot, so blocks would commit to no
      sidechain; write the slot's number from 0 to 255
    LOG_FORMAT=loud (drivechain-stratum.toml): is no form of a log; write text or json
    ");
    let long = problem("RPC_PORT", &"9".repeat(10_000));
    assert!(long.len() < 330 && long.contains("999..."), "{long}");
}

#[test]
fn another_bmm_header_is_warned_of() {
    let start = Start::quiet().variable("BMM_HEADER_HEX", "00000001").flag("--enable-sidechain");
    assert_eq!(start.settings().sidechains[0].header.0, [0, 0, 0, 1]);
    assert_snapshot!(start.warnings(), @r"
    BMM_HEADER_HEX is not d1617368 (BIP301 M7): enforcers will not see the commitments and
      the sidechain will not advance; leave it empty unless your sidechain differs
    ");
}

#[test]
fn unknown_keys_are_named_and_do_not_stop_the_start() {
    let start = Start::quiet()
        .variable("RPC_HOTS", "environments hold much that is not ours")
        .dot_env("RPC_HOTS=node\nrpc_port=1\nCOMPOSE_PROJECT_NAME=x\n")
        .toml("rpc_pasword = 'hunter2'\nRPC_USER = 'u'\n[[listener]]\nport = 1\n");
    assert_snapshot!(start.warnings(), @r"
    RPC_HOTS in .env is not a setting and has no effect; did you mean RPC_HOST?
    rpc_port in .env is not a setting and has no effect; did you mean RPC_PORT?
    COMPOSE_PROJECT_NAME in .env is not a setting and has no effect; --help lists the
      settings
    RPC_USER in drivechain-stratum.toml is not a setting and has no effect; did you mean
      rpc_user?
    listener in drivechain-stratum.toml is not a setting and has no effect; did you mean
      listen?
    rpc_pasword in drivechain-stratum.toml is not a setting and has no effect; did you mean
      rpc_password?
    ");
    assert_eq!(start.settings().node.port, 18443);
}

#[test]
fn a_misspelt_key_explains_what_is_missing() {
    let start = Start::default().variable("NETWORK", "main").dot_env("PAYOUT_ADRESS=bc1q\n");
    let Err(SettingsError::Invalid { problems, warnings }) = start.load() else {
        panic!("accepted")
    };
    assert!(problems[0].starts_with("MINER_PKH_HEX and PAYOUT_ADDRESS are both empty"));
    assert!(warnings[0].ends_with("did you mean PAYOUT_ADDRESS?"), "{warnings:?}");
    assert_eq!((problems.len(), warnings.len()), (1, 1));
}

#[test]
fn environment_files_as_people_write_them() {
    let start = Start::default().dot_env(
        "\u{feff}# the node\r\nRPC_HOST=node.example # at home\r\nexport RPC_USER = 'ann lee'\n\
         RPC_PASSWORD=\"pa$$word ${HOME} \\$1 \\\"#\"\nSC_RPC_PASSWORD='$literal\\\\ #'\n\
         MINER_PKH_HEX= # none yet\nSTRATUM_PORT=\"4444\"\nSC_RPC_USER=a#b$c\nLOG_LEVEL=warn ",
    );
    let loaded = start.flag("--enable-sidechain").loaded();
    let Settings { node, sidechains, stratum_port, log_level, .. } = loaded.settings;
    assert_eq!((stratum_port, log_level.as_str()), (4444, "warn"));
    assert_eq!(node.host, "node.example");
    let Credentials::Basic { user, password } = node.credentials else { panic!("not basic") };
    assert_eq!((user.as_str(), password.expose()), ("ann lee", "pa$$word ${HOME} $1 \"#"));
    let daemon = sidechains[0].daemon.credentials.clone();
    let Credentials::Basic { user, password } = daemon else { panic!("not basic") };
    assert_eq!((user.as_str(), password.expose()), ("a#b$c", "$literal\\\\ #"));
}

#[test]
fn broken_files_are_refused_by_line_without_their_secrets() {
    let env = |text| Start::quiet().dot_env(text).problems();
    assert_snapshot!(env("RPC_USER=u\nRPC_PASSWORD=two words hunter2\nRPC_PORT=1\n"), @r"
    .env line 2 (RPC_PASSWORD): is not NAME=value; nothing in the file can be trusted, put a
      value with blanks, quotes or backslashes between single quotes
    ");
    assert_snapshot!(env("RPC_USER=u\n\nRPC_PASSWORD='hunter2\n"), @r"
    .env line 3 (RPC_PASSWORD): is not NAME=value; nothing in the file can be trusted, put a
      value with blanks, quotes or backslashes between single quotes
    ");
    assert_snapshot!(env("LOG_LEVEL='\ninfo'\n- hunter2\n"), @r"
    .env line 3: is not NAME=value; nothing in the file can be trusted, put a value with
      blanks, quotes or backslashes between single quotes
    ");
    let toml = |text| Start::quiet().toml(text).problems();
    assert_snapshot!(toml("rpc_host = 'a'\nrpc_password = hunter2\n"), @r"
    drivechain-stratum.toml line 2: string values must be quoted, expected literal string;
      nothing in the file can be trusted, correct it as TOML: names in lower case, texts in
      quotes
    ");
    assert_snapshot!(toml("rpc_port = 1\nrpc_port = 2\n"), @r"
    drivechain-stratum.toml line 2: duplicate key; nothing in the file can be trusted,
      correct it as TOML: names in lower case, texts in quotes
    ");
    assert_snapshot!(toml("rpc_port = [1]\nrpc_user = { a = 1 }\ndata_dir = 2026-01-01\n"), @r"
    data_dir (drivechain-stratum.toml): is a TOML datetime, which cannot be its value; write
      one text in quotes, one number or true or false
    rpc_port (drivechain-stratum.toml): is a TOML array, which cannot be its value; write
      one text in quotes, one number or true or false
    rpc_user (drivechain-stratum.toml): is a TOML table, which cannot be its value; write
      one text in quotes, one number or true or false
    ");
    let twice = Start::quiet().dot_env("STRATUM_PORT=1\nSTRATUM_PORT=2\n");
    assert_eq!(twice.settings().stratum_port, 2);
    assert_snapshot!(twice.warnings(), @"STRATUM_PORT stands twice in .env; the last one counts");
}

#[test]
fn toml_scalars_need_no_quotes() {
    let start = Start::quiet().toml(
        "enable_sidechain = true\nsidechain_number = 0x0f\nstratum_port = 4_444\n\
         bmm_header_hex = 61617368\njob_refresh_interval = 30\nsc_rpc_port = '6015'\n",
    );
    let settings = start.settings();
    assert_eq!((settings.stratum_port, settings.job_refresh_interval.as_secs()), (4444, 30));
    let side = &settings.sidechains[0];
    assert_eq!((side.slot.0, side.header.0, side.daemon.port), (15, *b"aash", 6015));
}

#[test]
fn files_that_are_named_must_be_there() {
    let named = Start::quiet().flag("--config=a.toml").flag("--env-file").flag("b.env");
    assert_snapshot!(named.problems(), @r"
    b.env: cannot be read (entity not found), so its settings are unknown; name a readable
      file, or none
    a.toml: cannot be read (entity not found), so its settings are unknown; name a readable
      file, or none
    ");
    let there = named.file("a.toml", "stratum_port = 1").file("b.env", "POOL_DIFFICULTY=2");
    let loaded = there.dot_env("STRATUM_PORT=3").toml("stratum_port = 4").loaded();
    assert_eq!(shown(&loaded, "STRATUM_PORT"), "1 from a.toml");
    assert_eq!(shown(&loaded, "POOL_DIFFICULTY"), "2 from b.env");
    let folder = Start::quiet().unreadable(".env", ErrorKind::IsADirectory);
    assert_eq!(folder.warnings(), "");
    let locked = Start::quiet().unreadable(".env", ErrorKind::PermissionDenied);
    assert_snapshot!(locked.problems(), @r"
    .env: cannot be read (permission denied), so its settings are unknown; name a readable
      file, or none
    ");
}

#[cfg(unix)]
#[test]
fn text_that_is_no_text() {
    use std::os::unix::ffi::OsStringExt as _;
    let mut start = Start::quiet();
    start.environment.insert("RPC_PASSWORD".to_owned(), OsString::from_vec(vec![0xff]));
    assert_snapshot!(start.problems(), @r"
    RPC_PASSWORD (environment): is not valid UTF-8, so it cannot be read as text; set it
      anew
    ");
}

#[test]
fn how_difficulty_follows_a_miner() {
    let settings = Start::quiet().dot_env("VARDIFF=off\nVARDIFF_MAX=5\n").settings();
    assert_eq!(settings.vardiff, None);
    let both = Start::quiet().dot_env("VARDIFF_MIN=2\nVARDIFF_MAX=1\n");
    assert_snapshot!(both.problems(), @"
    VARDIFF_MIN is above VARDIFF_MAX, so no difficulty is right; swap them or leave
      VARDIFF_MAX empty
    ");
    assert_snapshot!(problem("VARDIFF_SHARE_INTERVAL", "0"), @"
    VARDIFF_SHARE_INTERVAL=0 (environment): is not an interval, so no pace could be aimed
      at; write whole seconds from 1 to 600
    ");
    assert_snapshot!(problem("VARDIFF_MIN", "0"), @"
    VARDIFF_MIN=0 (environment): must be greater than zero, so no share could be judged by
      it; write a positive decimal such as 1000, 1 or 0.001
    ");
    assert_snapshot!(problem("SOLO_FEE_BASIS_POINTS", "1%"), @"
    SOLO_FEE_BASIS_POINTS=1% (environment): is not a part of a block, so nobody could be
      paid by it; write hundredths of a percent from 0 to 10000, such as 100 for 1 %
    ");
    let fee = Start::quiet().dot_env("SOLO_FEE_BASIS_POINTS=100");
    assert_snapshot!(fee.warnings(), @"SOLO_FEE_BASIS_POINTS has no effect: SOLO_PAYOUT is off");
}

#[test]
fn ports_beside_the_first() {
    let start = Start::quiet().toml(
        "pool_difficulty = 2\n\
         [[listen]]\nport = 3334\n\
         [[listen]]\nhost = '[::1]'\nport = 3335\ndifficulty = 1e5\nmin_difficulty = 1000\n\
         max_difficulty = '1e6'\ntls_cert = 'a.pem'\ntls_key = 'b.pem'\n\
         proxy_protocol = ['127.0.0.1', '::ffff:192.0.2.7']\n",
    );
    let settings = start.settings();
    let [first, second] = settings.listen.as_slice() else { panic!("{:?}", settings.listen) };
    let rules = PortRules { difficulty: settings.pool_difficulty, vardiff: settings.vardiff };
    assert_eq!((first.host.as_str(), first.port, first.rules), ("0.0.0.0", 3334, rules));
    assert_eq!((&first.tls, first.proxies.as_slice()), (&None, &[][..]));
    assert_snapshot!(wrapped(&format!("{second:?}")), @r#"
    Listen { host: "::1", port: 3335, rules: PortRules { difficulty: Difficulty { digits: 1,
      exponent: 5 }, vardiff: Some(VardiffRules { share_interval: 5s, min: Difficulty {
      digits: 1, exponent: 3 }, max: Some(Difficulty { digits: 1, exponent: 6 }) }) }, tls:
      Some(TlsFiles { certificate: "a.pem", key: "b.pem" }), proxies: [127.0.0.1, 192.0.2.7]
      }
    "#);
}

#[test]
fn ports_that_cannot_be_opened_so() {
    let check = |text: &str| Start::quiet().toml(text).problems();
    assert_snapshot!(check("listen = 3334"), @"
    listen (drivechain-stratum.toml): is a TOML integer and no section; write a line
      [[listen]] and its settings below it
    ");
    assert_snapshot!(check("[listen]\nport = 3334"), @"
    listen (drivechain-stratum.toml): is a TOML table and no section; write a line
      [[listen]] and its settings below it
    ");
    assert_snapshot!(check("[[listen]]\ndifficulty = 'x'"), @"
    port= ([[listen]] 1 in drivechain-stratum.toml): is not a port, so no miner could
      connect; write a whole number from 1 to 65535, or 0 for any free one
    difficulty=x ([[listen]] 1 in drivechain-stratum.toml): is not a decimal number such as
      1, 0.001 or 4.6e-10, so no share could be judged by it; write a positive decimal such
      as 1000, 1 or 0.001
    ");
    assert_snapshot!(check("[[listen]]\nport = 1\ntls_cert = 'a'"), @"
    tls_cert and tls_key ([[listen]] 1 in drivechain-stratum.toml): go together; name both
      files, or none
    ");
    assert_snapshot!(check("[[listen]]\nport = 1\nproxy_protocol = ['10.0.0.0/8']"), @"
    10.0.0.0/8 in proxy_protocol ([[listen]] 1 in drivechain-stratum.toml): is not the IP
      address of a proxy; write those that may say where a miner really is, such as
      127.0.0.1
    ");
    assert_snapshot!(check("[[listen]]\nport = 1\nmin_difficulty=2\nmax_difficulty=1"), @"
    min_difficulty ([[listen]] 1 in drivechain-stratum.toml): is above max_difficulty; swap
      them, or leave one out
    ");
    assert_snapshot!(check("[[listen]]\nport = { a = 1 }"), @"
    port ([[listen]] 1 in drivechain-stratum.toml): is a TOML table, which cannot be its
      value; write one text in quotes or one number, or a list of them where the key takes
      one
    ");
    let start =
        Start::quiet().toml("vardiff = false\n[[listen]]\nport = 1\nmin_difficulty = 2\nports = 2");
    assert_snapshot!(start.warnings(), @"
    ports of [[listen]] 1 in drivechain-stratum.toml is not a setting and has no effect; did
      you mean port?
    min_difficulty and max_difficulty of [[listen]] 1 in drivechain-stratum.toml have no
      effect: VARDIFF is off
    ");
}

#[test]
fn the_listing_masks_secrets_and_names_sources() {
    let start = Start::quiet()
        .flag("--print-config")
        .flag("--rpc-password=hunter2")
        .variable("SC_RPC_PASSWORD", "hunter3")
        .variable("RPC_USER", "ann lee")
        .dot_env("STRATUM_HOST=::1")
        .toml("network = 'signet'");
    let loaded = start.loaded();
    assert_eq!(loaded.task, Task::PrintConfig);
    let everything = format!("{loaded:?}{}", loaded.listing());
    assert!(!everything.contains("hunter"), "{everything}");
    assert_snapshot!(loaded.listing(), @r#"
    NETWORK=signet                                          # drivechain-stratum.toml
    RPC_HOST=127.0.0.1                                      # default
    RPC_PORT=38332                                          # default
    RPC_USER="ann lee"                                      # environment
    RPC_PASSWORD=********                                   # flag
    RPC_COOKIE_FILE=                                        # default
    NODE_ZMQ=                                               # default
    ENABLE_SIDECHAIN=false                                  # default
    SIDECHAIN_NUMBER=0                                      # default
    SC_RPC_HOST=127.0.0.1                                   # default
    SC_RPC_PORT=6000                                        # default
    SC_RPC_USER=                                            # default
    SC_RPC_PASSWORD=********                                # environment
    BMM_HEADER_HEX=d1617368                                 # default
    BMM_FALLBACK=zero                                       # default
    BMM_BLIND=on                                            # default
    MINER_PKH_HEX=89abcdefabbaabbaabbaabbaabbaabbaabbaabba  # environment
    PAYOUT_ADDRESS=                                         # default
    SOLO_PAYOUT=off                                         # default
    SOLO_FEE_BASIS_POINTS=0                                 # default
    STRATUM_HOST=::1                                        # .env
    STRATUM_PORT=3333                                       # default
    MAX_CONNECTIONS=20000                                   # default
    POOL_DIFFICULTY=1                                       # default
    VARDIFF=on                                              # default
    VARDIFF_SHARE_INTERVAL=5                                # default
    VARDIFF_MIN=0.0000001                                   # default
    VARDIFF_MAX=                                            # default
    JOB_REFRESH_INTERVAL=10                                 # default
    EMPTY_FIRST=off                                         # default
    MAX_TIP_AGE=600                                         # default
    DATA_DIR=./drivechain-stratum-data                      # default
    ENGINES=1                                               # default
    LOG_FORMAT=text                                         # default
    LOG_LEVEL=info                                          # default
    "#);
}

#[test]
fn the_help_documents_every_setting() {
    let help = settings::command().term_width(90).render_long_help().to_string();
    for setting in SETTINGS {
        for part in [format!("--{} ", setting.flag), format!("[env: {}]", setting.name())] {
            let words = help.split_whitespace().collect::<Vec<_>>().join(" ") + " ";
            assert!(words.contains(&part), "{part} is not in the help");
        }
    }
    assert_snapshot!(help);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "reads a file of this repository")]
fn the_readme_has_the_table() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = std::fs::read_to_string(&readme).unwrap_or_default();
    let table = settings::table();
    assert!(text.contains(&table), "{} has to contain:\n{table}", readme.display());
}

proptest! {
    /// What `--print-config` prints is an environment file that says the same.
    #[test]
    fn a_listing_can_be_read_back(user in "[^:\\pC\u{f8ff}]{0,12}", dir in "[ -~]{0,12}") {
        let variables = Start::default().variable("RPC_USER", &user).variable("DATA_DIR", &dir);
        let listing = variables.loaded().listing();
        let read_back = Start::default().dot_env(&listing).settings();
        prop_assert_eq!(variables.settings(), read_back);
    }

    /// No text in any setting, whatever it is, does worse than be refused by a line a problem.
    #[test]
    fn no_value_panics(index in 0..SETTINGS.len(), value in any::<String>()) {
        let start = Start::quiet().variable(&SETTINGS[index].name(), &value);
        if let Err(error) = start.load() {
            prop_assert_eq!(error.to_string().lines().count(), 1, "{}", error);
        }
    }

    /// Nor does any file.
    #[test]
    fn no_file_panics(text in "([A-Z_a-z]{0,8}[ =\"'#\\\\$\n\\[\\]{}0-9.-]{0,4}){0,12}") {
        for start in [Start::quiet().dot_env(&text), Start::quiet().toml(&text)] {
            if let Err(error) = start.load() {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}

/// Runs the binary with nothing but `variables` around it.
#[expect(clippy::panic, reason = "fails the test that calls it")]
fn run(args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_drivechain-stratum"));
    command.current_dir(env!("CARGO_TARGET_TMPDIR")).env_clear();
    command.args(args).envs(variables.iter().copied());
    command.output().unwrap_or_else(|error| panic!("cannot run the binary: {error}"))
}

fn code_and_text(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_binary_answers_help_and_version() {
    let (code, out, err) = code_and_text(&run(&["--help"], &[]));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("--job-refresh-interval <SECONDS>"), "{out}");
    let (code, out, _) = code_and_text(&run(&["--version"], &[]));
    assert_eq!(code, Some(0));
    assert!(out.starts_with("drivechain-stratum "), "{out}");
}

#[test]
fn the_binary_refuses_with_code_2() {
    let (code, out, err) = code_and_text(&run(&[], &[("MINER_PKH_HEX", "xyz")]));
    assert_eq!((code, out.as_str(), err.lines().count()), (Some(2), "", 1), "{err}");
    assert!(err.starts_with("error: MINER_PKH_HEX=xyz (environment): "), "{err}");
    let (code, out, err) = code_and_text(&run(&["--rpc-hots=x"], &[]));
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.contains("'--rpc-host'"), "{err}");
}

#[test]
fn the_binary_prints_its_settings_masked() {
    let variables = [("RPC_PASSWORD", "hunter2"), ("STRATUM_PORT", "4444")];
    let (code, out, err) = code_and_text(&run(&["--print-config"], &variables));
    assert_eq!(code, Some(0));
    assert!(out.contains("STRATUM_PORT=4444") && out.contains("RPC_PASSWORD=********"), "{out}");
    assert!(!out.contains("hunter2") && !err.contains("hunter2"), "{out}{err}");
    assert!(err.starts_with("warning: MINER_PKH_HEX and PAYOUT_ADDRESS"), "{err}");
}
