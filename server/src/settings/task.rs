//! What the process is asked to do: to serve miners, or something beside that.
//!
//! Not here: the settings, which are the same whatever is asked.

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::table::PRINT_CONFIG_FLAG;
use crate::clock::{UnixMillis, Window};

const DOCTOR: &str = "doctor";
const SHARES: &str = "shares";
const SINCE: &str = "since";
const UNTIL: &str = "until";
const JSON: &str = "json";

/// What is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Task {
    /// Serve miners.
    Serve,
    /// Print [`super::Loaded::listing`] and stop.
    PrintConfig,
    /// Add up the share log and stop.
    Shares {
        /// Which shares.
        window: Window,
        /// For programs, not for people.
        json: bool,
    },
    /// Look whether mining can work, say what is in the way, and stop.
    Doctor {
        /// For programs, not for people.
        json: bool,
    },
}

impl Task {
    /// As the command line says.
    pub(super) fn of(matches: &ArgMatches) -> Self {
        match matches.subcommand() {
            Some((DOCTOR, doctor)) => Self::Doctor { json: doctor.get_flag(JSON) },
            Some((_, shares)) => {
                let time = |name| {
                    let seconds: Option<&u64> = shares.get_one(name);
                    seconds.map(|seconds| UnixMillis(seconds.saturating_mul(1_000)))
                };
                let window = Window { since: time(SINCE), until: time(UNTIL) };
                Self::Shares { window, json: shares.get_flag(JSON) }
            }
            None if matches.get_flag(PRINT_CONFIG_FLAG) => Self::PrintConfig,
            None => Self::Serve,
        }
    }
}

/// What can be asked by name; without one, miners are served.
pub(super) fn commands() -> [Command; 2] {
    let json = |help: &'static str| Arg::new(JSON).long(JSON).action(ArgAction::SetTrue).help(help);
    let doctor = Command::new(DOCTOR)
        .about(
            "Looks whether mining can work: nodes, sidechains, payout, disk, clock, limits, ports; \
             says what is in the way and what to do, also while a server runs",
        )
        .arg(json("Prints one JSON object in place of lines"));
    [shares(json("Prints one JSON object in place of a table")), doctor]
}

fn shares(json: Arg) -> Command {
    let time = |name: &'static str, help: &'static str| {
        let seconds = clap::value_parser!(u64);
        Arg::new(name).long(name).value_name("SECONDS").value_parser(seconds).help(help)
    };
    Command::new(SHARES)
        .about("Adds up each worker's shares from the log in DATA_DIR, also while a server runs")
        .arg(time(SINCE, "Only shares from this Unix time on, such as $(date -d yesterday +%s)"))
        .arg(time(UNTIL, "Only shares before this Unix time"))
        .arg(json)
}
