//! The subcommand `load`: from a command line to what to measure, and the report to the screen.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::report::Report;
use super::stand::Stand;
use super::{LoadError, LoadOptions, Mode, Target, run};
use crate::cli::EXIT_FAILED;
use crate::console::{complain, say};
use crate::stack::process::program_beside_this_one;

/// Who miners say they are, unless told otherwise.
pub(super) const USER: &str = "load";

/// What to measure, and whom.
#[derive(Args, Debug)]
pub struct LoadArguments {
    /// What to measure
    #[arg(long, value_enum, default_value_t = Mode::Shares)]
    mode: Mode,
    /// A server to measure [default: our own is started, with a node of its own]
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    to: Option<SocketAddr>,
    /// User name of every miner
    #[arg(long, default_value = USER, requires = "to")]
    user: String,
    /// The server's process, if it runs here: what it uses is then part of the report
    #[arg(long, requires = "to")]
    pid: Option<u32>,
    /// Our server's program [default: beside this one]
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    server: Option<PathBuf>,
    /// Transactions in the mempool of our server's node; 4000 give jobs of 12 merkle branches
    #[arg(long, value_name = "N", default_value_t = 4_000, conflicts_with = "to",
          value_parser = clap::value_parser!(u32).range(0..=10_000))]
    transactions: u32,
    /// Engines of our server
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "to",
          value_parser = clap::value_parser!(u32).range(1..=64))]
    engines: u32,
    /// Our server sends a coinbase alone first, on each new tip of --mode notify
    #[arg(long, conflicts_with = "to")]
    empty_first: bool,
    /// Miners
    #[arg(long, value_name = "N", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..=60_000))]
    connections: u32,
    /// Shares of each miner that wait for an answer
    #[arg(long, value_name = "N", default_value_t = 16,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    depth: u32,
    /// Shares a second of all miners together, each with one on its way at most [default: as many
    /// as the server takes]
    #[arg(long, value_name = "R", value_parser = positive)]
    rate: Option<f64>,
    /// How long shares are sent, if there are enough
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    seconds: Duration,
    /// Shares that are ground beforehand, all miners together [default: a million, or what --rate
    /// needs]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    shares: Option<u64>,
    /// Nonces sent for one extranonce2: an ASIC sends many, 1 is the most work for the server
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..))]
    nonces: u32,
    /// New tips of --mode notify
    #[arg(long, value_name = "N", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    tips: u32,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Shares for a run as fast as it goes.
const SHARES: u64 = 1_000_000;

impl LoadArguments {
    /// Measures and prints; the exit code.
    pub fn load(self) -> u8 {
        let json = self.json;
        match self.measure() {
            Ok(report) => {
                print(&report, json);
                0
            }
            Err(error) => {
                complain(&error.to_string());
                EXIT_FAILED
            }
        }
    }

    fn options(&self) -> LoadOptions {
        let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let needed = self.rate.map(|rate| rate * self.seconds.as_secs_f64());
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "above zero, and the largest number is as good as any that is too large"
        )]
        let needed = needed.map_or(SHARES, |needed| needed.ceil() as u64 + 1);
        LoadOptions {
            mode: self.mode,
            connections: size(self.connections),
            depth: size(self.depth),
            rate: self.rate,
            time: self.seconds,
            shares: self.shares.unwrap_or(needed),
            nonces: self.nonces,
            tips: self.tips,
            whole_later: self.empty_first && self.transactions > 0,
        }
    }

    fn measure(self) -> Result<Report, LoadError> {
        // Each miner is an open file, and ours is the process that has all of them.
        server::runtime::descriptors::raise_limit();
        let options = self.options();
        let harness = std::env::current_exe().unwrap_or_default();
        if let Some(address) = self.to {
            let target = Target { address, user: self.user, pid: self.pid, node: None };
            return run(&options, &target, &harness);
        }
        // One thread for the node; the load has this one for itself.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(LoadError::Runtime)?;
        let server = self.server.unwrap_or_else(program_beside_this_one);
        let empty_first = if self.empty_first { "on" } else { "off" };
        let settings =
            [("ENGINES", self.engines.to_string()), ("EMPTY_FIRST", empty_first.to_owned())];
        let start = Stand::start(self.mode, &server, self.transactions, &settings);
        let stand = runtime.block_on(start)?;
        run(&options, &stand.target, &harness)
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let mut found = text.to_socket_addrs().map_err(|error| error.to_string())?;
    found.next().ok_or_else(|| "this host has no address".to_owned())
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.01..=10_000_000.0).contains(&rate) => Ok(rate),
        Ok(_) | Err(_) => Err("a number from 0.01 to 10000000 belongs here".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=3_600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        Ok(_) | Err(_) => Err("a number from 0.1 to 3600 belongs here".to_owned()),
    }
}

fn print(report: &Report, json: bool) {
    if json {
        match serde_json::to_string(report) {
            Ok(line) => say(&line),
            Err(error) => complain(&format!("cannot write the report: {error}")),
        }
    } else {
        say(&report.to_string());
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Alone {
        #[command(flatten)]
        arguments: LoadArguments,
    }

    fn parse(line: &str) -> Result<LoadArguments, clap::Error> {
        Ok(Alone::try_parse_from(line.split_ascii_whitespace())?.arguments)
    }

    #[test]
    fn a_rate_says_how_many_shares_are_needed() {
        let options = parse("load").unwrap().options();
        assert_eq!((options.shares, options.connections, options.depth), (SHARES, 100, 16));
        let options = parse("load --rate 1000 --seconds 2.5").unwrap().options();
        assert_eq!((options.shares, options.time), (2_501, Duration::from_millis(2_500)));
        assert_eq!(parse("load --rate 9 --shares 7").unwrap().options().shares, 7);
    }

    #[test]
    fn what_makes_no_sense_is_a_usage_error() {
        for line in [
            "load --mode fast",
            "load --connections 0",
            "load --depth 0",
            "load --nonces 0",
            "load --rate 0",
            "load --seconds 0",
            "load --pid 1",
            "load --user someone",
            "load --to nowhere",
            "load --to 127.0.0.1:3333 --transactions 1",
            "load --to 127.0.0.1:3333 --server file",
            "load --to 127.0.0.1:3333 --engines 2",
            "load --engines 0",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn a_server_that_is_not_there_is_named_with_what_to_do() {
        let line = "load --server no-such-program --transactions 0";
        let error = parse(line).unwrap().measure().unwrap_err().to_string();
        assert!(error.contains("no-such-program") && error.contains("cargo build"), "{error}");
    }
}
