//! The command `harness`. All of it is in the library (`cli.rs`), where tests can reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    harness::cli::run()
}
