//! The command line of `harness`: subcommands to options, outcomes to exit codes.
//!
//! Exit codes: 0 passed, 1 a law broken or something that cannot work, 2 a command line that makes
//! no sense, 3 a panic, 4 no liveness, 5 two runs of one seed that differ. Not in here: what any
//! subcommand does.

use std::io::{self, IsTerminal as _};
use std::net::{IpAddr, Ipv4Addr};
use std::panic;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

use crate::console::complain;
use crate::load::bare_process::SUBCOMMAND;
use crate::load::bare_server;
use crate::load::command::LoadArguments;
use crate::load::hashing::Hashing;
use crate::simulate::command::{self, MinimiseArguments, ReplayArguments, SimulateArguments};
use crate::simulate::crashes::CrashesArguments;
use crate::trials::command::TrialArguments;
use crate::up::{self, BLOCKS_MAX, NodeChoice, UpOptions, Way};

/// The exit code when something cannot work or broke a law.
pub const EXIT_FAILED: u8 = 1;
/// The exit code after a panic of whatever part.
pub const EXIT_PANIC: u8 = 3;
/// The exit code when nothing moves any more.
pub const EXIT_STUCK: u8 = 4;

/// Blocks closer together than this make the chain's time run ahead of the clock for good: each
/// must be later than the median of the eleven before it, so six of them are a second.
const PACE_SECONDS_MIN: f64 = 0.2;
/// Longest pause between two blocks that can be asked for.
const PACE_SECONDS_MAX: f64 = 3_600.0;
/// Miners of our own; each is a hashing thread.
const MINERS_MAX: i64 = 64;

/// Proves the Stratum server for Drivechain.
#[derive(Parser)]
#[command(name = "harness", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Mines BMM blocks on regtest, from end to end, and shows what happens
    ///
    /// Starts a node, a sidechain that advances only when a block commits to its candidate
    /// (BIP-0301 M7), the server and a miner, and stops at ctrl-c or after --blocks.
    Up(UpArguments),
    /// Runs the server against a simulated world in which everything goes wrong, seed by seed
    ///
    /// One seed is one run, always the same. Laws are judged on what an outsider sees; the first
    /// that breaks ends it, with a report and a plan that can be made smaller and kept.
    Simulate(SimulateArguments),
    /// Runs a plan again: a kept scenario, or what a failure left
    Replay(ReplayArguments),
    /// Makes a failing plan smaller and keeps it beside the report
    Minimise(MinimiseArguments),
    /// Measures a Stratum server: what shares cost it, how soon tips reach its miners, and how much
    /// memory a miner takes
    Load(LoadArguments),
    /// What `load` compares a server with: the least that answers shares
    #[command(name = SUBCOMMAND, hide = true)]
    BareServer(Hashing),
    /// Kills the simulated server at every moment of kept plans, one run for each
    Crashes(CrashesArguments),
    /// Tries the real server against a real bitcoind in a container
    ///
    /// kill9 needs the server's program beside this one: cargo build --release -p server.
    Containers(TrialArguments),
    /// Plants bugs at the seam and checks that the laws notice each
    Canaries,
}

#[derive(Args)]
struct UpArguments {
    /// The node: simulated, bitcoind (in a container), or http://USER:PASSWORD@HOST:PORT of a
    /// regtest node of your own
    #[arg(long, value_name = "NODE", default_value = "simulated")]
    node: NodeChoice,
    /// How the sidechain is merge-mined: the server asks its daemon; or it bids, on the node's own
    /// templates or on an enforcer's
    #[arg(long, value_name = "WAY", value_enum, default_value_t)]
    bmm: Way,
    /// Stop with exit code 0 after this many blocks that carry the sidechain's commitment
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=BLOCKS_MAX))]
    blocks: Option<u64>,
    /// Miners of our own; 0 to bring your own hardware (with --listen 0.0.0.0 --stratum
    /// 3333)
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(0..=MINERS_MAX))]
    miners: u32,
    /// Port that miners connect to; 0 is any free one, which the first line names
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    stratum: u16,
    /// Address that miners connect to: 0.0.0.0 lets in hardware from other machines
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    listen: IpAddr,
    /// The sidechain's slot
    #[arg(long, value_name = "SLOT", default_value_t = 9)]
    slot: u8,
    /// Seconds between the blocks of our own miners [default: 2, or full speed with
    /// --blocks and --bmm own]
    #[arg(long, value_name = "SECONDS", value_parser = parse_pace)]
    pace: Option<Duration>,
    /// Print one JSON object a line; the first names every port in use
    #[arg(long)]
    json: bool,
    /// What the server logs on standard error: error, warn, info, debug, trace, off, or directives
    /// such as warn,server=debug
    #[arg(long, value_name = "LEVEL", default_value = "warn", value_parser = parse_filter)]
    log: String,
}

/// Runs the process's command line.
pub fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Up(arguments) => run_up(arguments),
        Command::Simulate(arguments) => ExitCode::from(arguments.simulate()),
        Command::Replay(arguments) => ExitCode::from(arguments.replay()),
        Command::Minimise(arguments) => ExitCode::from(arguments.minimise()),
        Command::Load(arguments) => ExitCode::from(arguments.load()),
        Command::BareServer(hashing) => ExitCode::from(bare_server::run(hashing)),
        Command::Crashes(arguments) => ExitCode::from(arguments.crashes()),
        Command::Containers(arguments) => ExitCode::from(arguments.run()),
        Command::Canaries => ExitCode::from(command::all_canaries()),
    }
}

fn run_up(arguments: UpArguments) -> ExitCode {
    start_log(&arguments.log);
    let panics = watch_panics();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!(
                "no thread can be started: {error}; look at the limits on processes"
            ));
            return ExitCode::from(EXIT_FAILED);
        }
    };
    // On a thread of the runtime, so that a panic of this part is an outcome as well.
    let task = runtime.spawn(up::run(options(arguments), io::stdout(), panics));
    match runtime.block_on(task) {
        Ok(Ok(ending)) => ExitCode::from(ending.exit_code()),
        Ok(Err(error)) => {
            complain(&error.to_string());
            ExitCode::from(EXIT_FAILED)
        }
        // The hook has said what happened.
        Err(_panicked) => ExitCode::from(EXIT_PANIC),
    }
}

fn options(arguments: UpArguments) -> UpOptions {
    // A bid takes up to a second to be seen, and lives for one block.
    let full_speed = arguments.blocks.is_some() && arguments.bmm == Way::Own;
    UpOptions {
        node: arguments.node,
        way: arguments.bmm,
        blocks: arguments.blocks,
        miners: arguments.miners,
        stratum_port: arguments.stratum,
        listen: arguments.listen,
        slot: arguments.slot,
        pace: arguments.pace.unwrap_or(if full_speed { up::PACE_FULL } else { up::PACE_TO_FOLLOW }),
        json: arguments.json,
    }
}

fn parse_pace(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(pace) if (PACE_SECONDS_MIN..=PACE_SECONDS_MAX).contains(&pace) => {
            Ok(Duration::from_secs_f64(pace))
        }
        Ok(_) | Err(_) => {
            Err(format!("a number from {PACE_SECONDS_MIN} to {PACE_SECONDS_MAX} belongs here"))
        }
    }
}

fn parse_filter(text: &str) -> Result<String, String> {
    match EnvFilter::try_new(text) {
        Ok(_filter) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Logs to standard error: standard output is for what happens.
fn start_log(directives: &str) {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(directives))
        .with_target(false)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
}

/// Notes a panic on any thread, after it was reported as usual.
fn watch_panics() -> watch::Receiver<bool> {
    let (panicked, panics) = watch::channel(false);
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        report(panic);
        panicked.send_replace(true);
    }));
    panics
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<UpOptions, clap::Error> {
        let cli = Cli::try_parse_from(line.split_ascii_whitespace())?;
        let Command::Up(arguments) = cli.command else { unreachable!("{line} is of up") };
        Ok(options(arguments))
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_goal_people_can_follow_and_with_one_nobody_waits() {
        let up = parse("harness up").unwrap();
        assert_eq!((up.blocks, up.miners, up.slot), (None, 1, 9));
        assert_eq!(up.pace, up::PACE_TO_FOLLOW);
        assert!(up.listen.is_loopback());
        let up = parse("harness up --blocks 5").unwrap();
        assert_eq!((up.blocks, up.pace), (Some(5), up::PACE_FULL));
        let up = parse("harness up --blocks 5 --pace 0.5").unwrap();
        assert_eq!(up.pace, Duration::from_millis(500));
    }

    #[test]
    fn what_makes_no_sense_is_a_usage_error() {
        for line in [
            "harness",
            "harness down",
            "harness up --blocks 0",
            "harness up --blocks 40001",
            "harness up --blocks many",
            "harness up --miners 65",
            "harness up --stratum 65536",
            "harness up --slot 256",
            "harness up --bmm none",
            "harness up --pace 0.1",
            "harness up --pace nan",
            "harness up --log =,=",
            "harness up --listen here",
            "harness up --node ftp://a:b@127.0.0.1:1",
        ] {
            let error = parse(line).err().unwrap_or_else(|| unreachable!("{line} was taken"));
            assert_eq!(error.exit_code(), 2, "{line}: {error}");
        }
    }
}
