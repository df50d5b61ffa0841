//! Sizes and headers: STYLE habits 8 and 9.

use proc_macro2::{Delimiter, TokenTree};

use crate::tokens::{self, attribute, group, ident, is_ident, is_punct, visit};
use crate::tree::{File, rust};

const FILE_LINES_MAX: usize = 500;
/// For a file that is tests and nothing else: cases are read one by one, not as a whole.
const TEST_FILE_LINES_MAX: usize = 1_000;
const FUNCTION_LINES_MAX: usize = 70;
const COLUMNS_MAX: usize = 100;
/// The five outside worlds, and what joins them.
pub(crate) const CORE_MODULES: [&str; 6] = ["stratum", "mining", "bmm", "node", "journal", "pool"];

/// Files without their unit tests; a file of tests alone may be longer.
pub(crate) fn file_lengths(files: &[File]) -> Vec<String> {
    rust(files)
        .filter_map(|file| {
            let lines = file.text.lines().count() - unit_test_lines(&tokens::of(file));
            let most = if is_test_file(file) { TEST_FILE_LINES_MAX } else { FILE_LINES_MAX };
            (lines > most).then(|| format!("{}: {lines} lines, at most {most}", file.path))
        })
        .collect()
}

/// `foo/tests.rs`, `foo/tests/bar.rs` and the integration tests of a crate.
fn is_test_file(file: &File) -> bool {
    file.path.split('/').any(|part| part == "tests" || part == "tests.rs")
}

/// The length of `#[cfg(test)] mod tests { .. }`, 0 where there is none.
fn unit_test_lines(tokens: &[TokenTree]) -> usize {
    let tail = (0..tokens.len()).find_map(|start| {
        let rest = &tokens[start..];
        attribute(rest).filter(|inner| is_ident(inner.first(), "cfg"))?;
        // Other attributes, such as an #[expect], may stand between.
        let module = rest.iter().position(|token| !is_attribute_part(token))?;
        let module = module + usize::from(is_ident(rest.get(module), "pub"));
        let module =
            module + usize::from(group(rest.get(module), Delimiter::Parenthesis).is_some());
        let named = is_ident(rest.get(module), "mod") && is_ident(rest.get(module + 1), "tests");
        let body = group(rest.get(module + 2), Delimiter::Brace).filter(|_| named)?;
        Some(body.span_close().end().line - tokens::line(rest[0].span()) + 1)
    });
    tail.unwrap_or(0)
}

fn is_attribute_part(token: &TokenTree) -> bool {
    is_punct(Some(token), '#') || group(Some(token), Delimiter::Bracket).is_some()
}

/// Functions from `fn` to their closing brace, those that macros are given included.
pub(crate) fn function_lengths(files: &[File]) -> Vec<String> {
    let mut offences = Vec::new();
    for file in rust(files) {
        visit(&tokens::of(file), &mut |tokens| {
            let Some((name, first, last)) = function(tokens) else { return };
            let lines = last - first + 1;
            if lines > FUNCTION_LINES_MAX {
                offences.push(format!(
                    "{}:{first}: {name} has {lines} lines, at most {FUNCTION_LINES_MAX}",
                    file.path
                ));
            }
        });
    }
    offences
}

/// Name, first and last line of the function that begins here.
fn function(tokens: &[TokenTree]) -> Option<(String, usize, usize)> {
    let name = ident(tokens.get(1)).filter(|_| is_ident(tokens.first(), "fn"))?;
    let end = tokens.iter().position(|token| {
        is_punct(Some(token), ';') || group(Some(token), Delimiter::Brace).is_some()
    })?;
    let body = group(tokens.get(end), Delimiter::Brace)?;
    let first = tokens::line(tokens[0].span());
    Some((name.to_string(), first, body.span_close().end().line))
}

/// Lines of Rust.
pub(crate) fn line_lengths(files: &[File]) -> Vec<String> {
    let mut offences = Vec::new();
    for file in rust(files) {
        for (number, line) in file.lines() {
            let columns = line.chars().count();
            if columns > COLUMNS_MAX {
                offences.push(format!("{}:{number}: {columns} columns", file.path));
            }
        }
    }
    offences
}

/// The first line of each Rust file.
pub(crate) fn heads(files: &[File]) -> Vec<String> {
    rust(files)
        .filter(|file| !file.text.starts_with("//! "))
        .map(|file| format!("{}: does not begin with a //! line", file.path))
        .collect()
}

/// What the head of a core module promises.
pub(crate) fn invariants(files: &[File]) -> Vec<String> {
    let states = |file: &File| {
        file.lines().any(|(_, line)| line.starts_with("//!") && line.contains("**Invariant:**"))
    };
    CORE_MODULES
        .iter()
        .filter_map(|module| {
            let path = format!("server/src/{module}.rs");
            match files.iter().find(|file| file.path == path) {
                None => Some(format!("{path} is missing")),
                Some(file) if !states(file) => Some(format!("{path} states no invariant")),
                Some(_) => None,
            }
        })
        .collect()
}
