//! The real server as its users run it: a process of its own, which can be killed.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};

/// The server's program, as cargo names it.
const PROGRAM: &str = "drivechain-stratum";
/// Where it logs to, in its data directory.
const LOG: &str = "server.log";
/// How much of the log is shown when it ends.
const LOG_LINES_SHOWN: usize = 8;

/// Why there is no process, or none any more.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// There is no program.
    #[error(
        "the server's program is not at {}: build it with `cargo build -p server`, with --release \
         if this program is a release build", .0.display()
    )]
    NoProgram(PathBuf),
    /// The program does not start.
    #[error("cannot start {}: {cause}", program.display())]
    Start {
        /// Which.
        program: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// It cannot be signalled, or waited for.
    #[error("cannot {action} the server: {cause}")]
    Control {
        /// What was to be done.
        action: &'static str,
        /// What the system said.
        cause: io::Error,
    },
    /// It was told to stop and went on.
    #[error("the server was told to stop and still runs after {seconds} s; its last lines: {log}")]
    StillRuns {
        /// How long it had.
        seconds: u64,
        /// The end of its log.
        log: String,
    },
    /// It did not end as it should.
    #[error("the server ended with {status}; its last lines: {log}")]
    Ended {
        /// How.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },
    /// What it printed is not what it should print.
    #[error("`{PROGRAM} {arguments}` printed {printed:?}")]
    Printed {
        /// What it was called with.
        arguments: String,
        /// What it printed.
        printed: String,
    },
}

/// Where cargo puts the server's program if it puts this one here.
pub fn program_beside_this_one() -> PathBuf {
    std::env::current_exe().unwrap_or_default().with_file_name(PROGRAM)
}

/// A server program, its data directory and its settings: what stays when a process ends.
#[derive(Clone, Debug)]
pub struct Installation {
    program: PathBuf,
    data_dir: PathBuf,
    settings: Vec<(&'static str, String)>,
}

impl Installation {
    /// Has the server at `program` run in `data_dir`, which is added to the settings.
    pub fn new(
        program: &Path,
        data_dir: &Path,
        mut settings: Vec<(&'static str, String)>,
    ) -> Result<Self, ProcessError> {
        if !program.is_file() {
            return Err(ProcessError::NoProgram(program.to_owned()));
        }
        settings.push(("DATA_DIR", data_dir.display().to_string()));
        Ok(Self { program: program.to_owned(), data_dir: data_dir.to_owned(), settings })
    }

    /// Starts a process. It ends when its value is dropped.
    pub fn start(&self) -> Result<ServerProcess, ProcessError> {
        let refused = |cause| ProcessError::Start { program: self.program.clone(), cause };
        let log = self.data_dir.join(LOG);
        let writer = OpenOptions::new().create(true).append(true).open(&log).map_err(refused)?;
        let child = self.command(&[]).stderr(writer).spawn().map_err(refused)?;
        Ok(ServerProcess { child, log })
    }

    /// Runs the program with these arguments to its end, and gives what it printed as JSON.
    pub async fn ask(&self, arguments: &[&str]) -> Result<serde_json::Value, ProcessError> {
        let refused = |cause| ProcessError::Start { program: self.program.clone(), cause };
        let output = self.command(arguments).output().await.map_err(refused)?;
        if !output.status.success() {
            let log = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(ProcessError::Ended { status: output.status, log });
        }
        serde_json::from_slice(&output.stdout).map_err(|_| ProcessError::Printed {
            arguments: arguments.join(" "),
            printed: String::from_utf8_lossy(&output.stdout).into_owned(),
        })
    }

    /// The end of what all processes logged.
    pub fn last_lines(&self) -> String {
        last_lines(&self.data_dir.join(LOG))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            // Neither this environment nor an .env file near here is its business.
            .env_clear()
            .current_dir(&self.data_dir)
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }
}

/// A server that runs.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    log: PathBuf,
}

impl ServerProcess {
    /// Ends it at once (SIGKILL): it can do nothing any more.
    pub async fn kill(mut self) -> Result<(), ProcessError> {
        if let Some(status) = self.child.try_wait().map_err(failed("look at"))? {
            // Nobody told it to.
            return Err(ProcessError::Ended { status, log: last_lines(&self.log) });
        }
        self.child.kill().await.map_err(failed("kill"))
    }

    /// Asks it to stop (SIGTERM) and waits until it has, as it should.
    pub async fn stop(mut self, patience: Duration) -> Result<(), ProcessError> {
        let pid = self.child.id().unwrap_or_default();
        // The shell's own kill: some machines have no program of that name.
        let told = Command::new("sh").arg("-c").arg(format!("kill -TERM {pid}")).status().await;
        told.map_err(failed("stop"))?;
        let Ok(ended) = tokio::time::timeout(patience, self.child.wait()).await else {
            let log = last_lines(&self.log);
            return Err(ProcessError::StillRuns { seconds: patience.as_secs(), log });
        };
        let status = ended.map_err(failed("wait for"))?;
        if status.success() {
            Ok(())
        } else {
            Err(ProcessError::Ended { status, log: last_lines(&self.log) })
        }
    }
}

fn failed(action: &'static str) -> impl FnOnce(io::Error) -> ProcessError {
    move |cause| ProcessError::Control { action, cause }
}

fn last_lines(log: &Path) -> String {
    let read = File::open(log).and_then(io::read_to_string);
    let text = read.unwrap_or_else(|error| error.to_string());
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_there_is_named_with_what_to_do() {
        let nowhere = Path::new("no-such-program");
        let error = Installation::new(nowhere, Path::new("."), Vec::new()).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("no-such-program") && error.contains("cargo build"), "{error}");
    }

    #[tokio::test]
    async fn an_end_that_nobody_asked_for_is_told_with_the_last_lines() {
        let folder = tempfile::TempDir::new().unwrap();
        // Any program that ends by itself will do, and says why.
        let program = std::env::current_exe().unwrap();
        let settings = vec![("RUST_TEST_THREADS", "none".to_owned())];
        let installation = Installation::new(&program, folder.path(), settings).unwrap();
        let mut process = installation.start().unwrap();
        process.child.wait().await.unwrap();
        let error = process.kill().await.unwrap_err().to_string();
        assert!(error.contains("RUST_TEST_THREADS"), "{error}");
    }
}
