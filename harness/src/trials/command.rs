//! The subcommand `containers`: from a command line to a trial, its report and its exit code.

use clap::{Args, ValueEnum};

use super::TrialError;
use super::faults::{self, FaultOptions};
use super::kill9::{self, Kill9Options};
use crate::cli::EXIT_FAILED;
use crate::console::{complain, say};
use crate::stack::process::program_beside_this_one;

/// What to try.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Scenario {
    /// The server's program is killed over and over while miners find blocks
    Kill9,
    /// Calls to the node go wrong on the way, one way after the other
    Faults,
}

/// Which trial, and how much of it.
#[derive(Args, Debug)]
pub struct TrialArguments {
    /// What to try
    #[arg(long, value_enum)]
    scenario: Scenario,
    /// How often the server ends, with kill9
    #[arg(long, value_name = "N", default_value_t = 200,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rounds: u32,
    /// What the moments of its ends are drawn from, with kill9
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

impl TrialArguments {
    /// Runs the trial and prints its report; the exit code.
    pub fn run(self) -> u8 {
        let report = match tokio::runtime::Runtime::new() {
            Ok(runtime) => runtime.block_on(self.report()),
            Err(cause) => Err(TrialError::Machine { action: "start threads", cause }),
        };
        match report {
            Ok((text, passed)) => {
                say(&text);
                if passed { 0 } else { EXIT_FAILED }
            }
            Err(error) => {
                complain(&error.to_string());
                EXIT_FAILED
            }
        }
    }

    async fn report(self) -> Result<(String, bool), TrialError> {
        match self.scenario {
            Scenario::Kill9 => {
                let Self { rounds, seed, .. } = self;
                let program = program_beside_this_one();
                let report = kill9::run(&Kill9Options { rounds, seed, program }).await?;
                let text = format!("kill9        {rounds} rounds, seed {seed}\n{report}");
                Ok((text, report.passed()))
            }
            Scenario::Faults => {
                let options = FaultOptions::default();
                let mut lanes = vec![faults::quick()];
                // Beside each other: the whole takes as long as one of them.
                lanes.extend(faults::hangs(options.hang).into_iter().map(|case| vec![case]));
                lanes.push(faults::two_nodes());
                let rows = faults::run(options, lanes).await?;
                Ok((faults::table(&rows), rows.iter().all(faults::Row::passed)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Alone {
        #[command(flatten)]
        arguments: TrialArguments,
    }

    fn parse(line: &str) -> Result<TrialArguments, clap::Error> {
        Ok(Alone::try_parse_from(line.split_ascii_whitespace())?.arguments)
    }

    #[test]
    fn a_scenario_is_asked_for_by_name() {
        let arguments = parse("containers --scenario kill9 --rounds 7 --seed 3").unwrap();
        let TrialArguments { scenario, rounds, seed } = arguments;
        assert_eq!((scenario, rounds, seed), (Scenario::Kill9, 7, 3));
        assert_eq!(parse("containers --scenario faults").unwrap().scenario, Scenario::Faults);
        for line in
            ["containers", "containers --scenario x", "containers --scenario kill9 --rounds 0"]
        {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
