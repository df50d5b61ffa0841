//! The real binary as a child of the test: its settings, its log, its end.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use super::folder::Folder;
use super::node::PATIENCE;

/// A running `drivechain-stratum`.
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
    pub(crate) said: Vec<String>,
}

impl Process {
    /// Starts it with a node at `port`, in `folder`, and `more` settings.
    pub(crate) fn start(port: u16, folder: &Folder, more: &[(&str, &str)]) -> Self {
        let command = Command::new(env!("CARGO_BIN_EXE_drivechain-stratum"));
        Self::start_by(command, Stdio::null(), port, folder, more)
    }

    /// The same, by a command that comes to it, which has `stdin`.
    pub(crate) fn start_by(
        mut command: Command,
        stdin: Stdio,
        port: u16,
        folder: &Folder,
        more: &[(&str, &str)],
    ) -> Self {
        command.env_clear().current_dir(folder.path());
        command.envs([
            ("NETWORK", "regtest"),
            ("RPC_PORT", &port.to_string()),
            ("RPC_USER", "user"),
            ("RPC_PASSWORD", "hunter2"),
            ("MINER_PKH_HEX", "89abcdefabbaabbaabbaabbaabbaabbaabbaabba"),
            ("STRATUM_HOST", "127.0.0.1"),
            ("STRATUM_PORT", "0"),
            ("DATA_DIR", "data"),
        ]);
        command.envs(more.iter().copied());
        command.stdin(stdin).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("cargo built it");
        let from = BufReader::new(child.stderr.take().expect("it is piped"));
        let (line, lines) = channel();
        thread::spawn(move || {
            for said in from.lines() {
                // The test may have heard enough.
                line.send(said.expect("its log is UTF-8")).unwrap_or_default();
            }
        });
        Self { child, lines, said: Vec::new() }
    }

    /// Waits for a line with `text` in it, the next one from here.
    pub(crate) fn says(&mut self, text: &str) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(error) => panic!("it never said {text:?} ({error}):\n{:#?}", self.said),
            }
        }
    }

    /// Where it lets miners in.
    pub(crate) fn address(&mut self) -> SocketAddr {
        let line = self.says("starts");
        let (_, from) = line.split_once("miners_at=").expect("its address");
        let address = from.split(' ').next().expect("a word");
        address.parse().expect("an address")
    }

    pub(crate) fn lines_with(&self, text: &str) -> usize {
        self.said.iter().filter(|line| line.contains(text)).count()
    }

    /// Waits until it ends by itself; the answer is its exit code.
    pub(crate) fn ends(&mut self) -> Option<i32> {
        let until = Instant::now() + PATIENCE;
        // Its log ends with it.
        while let Ok(line) = self.lines.recv_timeout(until - Instant::now()) {
            self.said.push(line);
        }
        assert!(Instant::now() < until, "it goes on:\n{:#?}", self.said);
        let code = self.child.wait().expect("it is our child").code();
        assert_eq!(self.lines_with("panic"), 0, "{:#?}", self.said);
        code
    }

    /// Ends by itself with `code` and one line of error, which has all of `words`.
    pub(crate) fn refuses(mut self, code: i32, words: &[&str]) {
        assert_eq!(self.ends(), Some(code), "{:#?}", self.said);
        let is_error = |line: &&String| line.contains("ERROR") || line.starts_with("error: ");
        let errors: Vec<_> = self.said.iter().filter(is_error).collect();
        assert_eq!(errors.len(), 1, "{:#?}", self.said);
        for word in words {
            assert!(errors[0].contains(word), "{word:?} is not in {:?}", errors[0]);
        }
        assert_eq!(self.lines_with("hunter2"), 0, "a password in the log");
    }

    /// Sends it the signal of this name.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let told = Command::new("sh").args(["-c", &kill]).status().expect("there is a shell");
        assert!(told.success());
    }

    /// Tells it to stop, as a service manager does, and expects that it does.
    pub(crate) fn stops(mut self) -> Vec<String> {
        let began = Instant::now();
        self.signal("TERM");
        assert_eq!(self.ends(), Some(0), "{:#?}", self.said);
        assert!(began.elapsed().as_secs() < 5, "within seconds");
        core::mem::take(&mut self.said)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail when it ended, which is as good.
        self.child.kill().unwrap_or_default();
        self.child.wait().map(|_| ()).unwrap_or_default();
    }
}
