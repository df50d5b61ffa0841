//! What a command of this program says: results on standard output, trouble on standard error.

/// A result.
#[expect(clippy::print_stdout, reason = "a command line program")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}

/// Why there is none.
#[expect(clippy::print_stderr, reason = "a command line program")]
pub(crate) fn complain(problem: &str) {
    eprintln!("harness: {problem}");
}
