//! What a fuzzer found worth keeping, replayed on every run: the targets of `fuzz/`, without it.
//!
//! Each target is a function of bytes that ends, or fails as a test does. `cargo fuzz` looks for
//! bytes that make it fail; the ones in `fuzz/corpus` reach everything that it ever reached.

#![cfg(feature = "runtime")]
#![expect(clippy::disallowed_methods, reason = "the corpus is files")]
#![expect(clippy::expect_used, clippy::panic, reason = "what fails here fails its test")]
#![expect(clippy::print_stderr, reason = "which file a failure is about")]

use std::fs;
use std::path::{Path, PathBuf};

#[path = "fuzz/framing.rs"]
mod framing;
#[path = "fuzz/message.rs"]
mod message;
#[path = "fuzz/proxy.rs"]
mod proxy;
#[path = "fuzz/session.rs"]
mod session;
#[path = "fuzz/world.rs"]
mod world;

/// Runs `target` on every file of its corpus, in the order of their names.
fn replay(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let entries = fs::read_dir(&folder).expect("each target has a corpus");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    files.sort();
    assert!(files.len() >= 10, "{} files are no corpus", files.len());
    for file in files {
        // Shown with a failure, which says nothing of the file.
        eprintln!("{}", file.display());
        target(&fs::read(&file).expect("readable"));
    }
}

#[test]
fn framing_holds() {
    replay("framing", framing::run);
}

#[test]
fn messages_hold() {
    replay("message", message::run);
}

#[test]
fn proxies_are_understood() {
    replay("proxy", proxy::run);
}

#[test]
fn sessions_hold() {
    replay("session", session::run);
}
