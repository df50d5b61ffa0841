//! What must not be written: STYLE habits 3 and 11, file names, paths of one machine.

use proc_macro2::{Delimiter, TokenTree};

use crate::tokens::{self, attribute, group, is_ident, visit};
use crate::tree::{File, rust};

/// Modules of the server that know a text format: a miner's lines, a node's replies, the journal's
/// records, the settings file.
const WIRE_MODULES: [&str; 5] = [
    "server/src/stratum/message",
    "server/src/node/rpc",
    "server/src/journal/record",
    "server/src/config/settings",
    "server/src/settings",
];

/// Folders that belong to machines and not to projects. In two parts each, so that this file does
/// not offend.
const MACHINE_FOLDERS: [&str; 3] =
    [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/tm", "p/sid")];

/// `foo.rs` + `foo/`.
pub(crate) fn module_files(files: &[File]) -> Vec<String> {
    rust(files)
        .filter(|file| file.path.rsplit('/').next() == Some("mod.rs"))
        .map(|file| file.path.clone())
        .collect()
}

/// A test that waits for time is slow when it passes and unsure when it fails.
pub(crate) fn sleeps(files: &[File]) -> Vec<String> {
    let watched =
        |file: &&File| file.path.starts_with("server/") || file.path.starts_with("harness/src/");
    offences_by_token(rust(files).filter(watched), |tokens| {
        let call = is_ident(tokens.first(), "sleep")
            && group(tokens.get(1), Delimiter::Parenthesis).is_some();
        call.then(|| "sleep(".to_owned())
    })
}

/// Tests that do not run, and tests that any panic satisfies.
pub(crate) fn test_attributes(files: &[File]) -> Vec<String> {
    offences_by_token(rust(files), |tokens| {
        let inner = attribute(tokens)?;
        ["ignore", "should_panic"]
            .into_iter()
            .find(|word| is_ident(inner.first(), word))
            .map(|word| format!("#[{word}]"))
    })
}

/// Domain types are not serialisable.
pub(crate) fn serde_derives(files: &[File]) -> Vec<String> {
    let knows_no_format = |file: &&File| {
        let allowed = WIRE_MODULES.iter().any(|module| {
            // message.rs, message/parse.rs; not messages.rs.
            file.path.strip_prefix(module).is_some_and(|rest| rest.starts_with(['.', '/', '_']))
        });
        file.path.starts_with("server/src/") && !allowed
    };
    offences_by_token(rust(files).filter(knows_no_format), |tokens| {
        let inner = attribute(tokens)?;
        ["Serialize", "Deserialize"]
            .into_iter()
            .find(|name| mentions(&inner, name))
            .map(|name| format!("derives {name}"))
    })
}

fn mentions(tokens: &[TokenTree], word: &str) -> bool {
    let mut found = false;
    visit(tokens, &mut |tokens| found |= is_ident(tokens.first(), word));
    found
}

/// Text of any kind.
pub(crate) fn machine_paths(files: &[File]) -> Vec<String> {
    let mut offences = Vec::new();
    for file in files {
        for (number, line) in file.lines() {
            for folder in MACHINE_FOLDERS.iter().filter(|folder| names(line, folder)) {
                offences.push(format!("{}:{number}: {folder}", file.path));
            }
        }
    }
    offences
}

/// Whether the folder is named as a path of its own, not as the end of a longer one.
fn names(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(start, _)| {
        !line[..start].ends_with(|before: char| before.is_ascii_alphanumeric() || before == '.')
    })
}

/// Look-alikes and invisible characters have no place in code.
pub(crate) fn ascii(files: &[File]) -> Vec<String> {
    let is_source = |file: &&File| {
        let script = file.path.starts_with("ci/") || file.path.starts_with(".ci/");
        file.is_rust() || script || file.has_extension("toml")
    };
    let mut offences = Vec::new();
    for file in files.iter().filter(is_source) {
        for (number, line) in file.lines() {
            if let Some(other) = line.chars().find(|character| !character.is_ascii()) {
                offences.push(format!("{}:{number}: {other:?}", file.path));
            }
        }
    }
    offences
}

/// Asks `judge` at each token of each file; what it says becomes an offence with its place.
fn offences_by_token<'f>(
    files: impl Iterator<Item = &'f File>,
    judge: impl Fn(&[TokenTree]) -> Option<String>,
) -> Vec<String> {
    let mut offences = Vec::new();
    for file in files {
        visit(&tokens::of(file), &mut |tokens| {
            if let Some(verdict) = judge(tokens) {
                let line = tokens::line(tokens[0].span());
                offences.push(format!("{}:{line}: {verdict}", file.path));
            }
        });
    }
    offences
}
