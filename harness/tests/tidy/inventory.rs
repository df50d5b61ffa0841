//! What there is: the top level, fixtures that are named and used, dependencies with a reason, the
//! lints of each crate.

use std::collections::BTreeSet;

use proc_macro2::TokenTree;
use toml::{Table, Value};

use crate::tokens::{self, ident, is_ident, visit};
use crate::tree::{File, rust};

/// The top level but for dot-files; a slash marks a folder.
pub(crate) const TOP_LEVEL: [&str; 12] = [
    "ARCHITECTURE.md",
    "Cargo.lock",
    "Cargo.toml",
    "README.md",
    "benches/",
    "ci/",
    "clippy.toml",
    "fixtures/",
    "harness/",
    "rustfmt.toml",
    "server/",
    "simminer/",
];

const FIXTURES_ROOT: &str = "fixtures/src/lib.rs";

/// Neither more nor less than was agreed.
pub(crate) fn top_level(files: &[File]) -> Vec<String> {
    let first = |file: &File| file.path.split('/').next().unwrap_or_default().to_owned();
    let there: BTreeSet<String> =
        files.iter().map(first).filter(|name| !name.starts_with('.')).collect();
    let agreed: BTreeSet<String> =
        TOP_LEVEL.iter().map(|name| name.trim_end_matches('/').to_owned()).collect();
    let extra = there.difference(&agreed).map(|name| format!("{name} is not agreed"));
    let missing = agreed.difference(&there).map(|name| format!("{name} is missing"));
    extra.chain(missing).collect()
}

/// Each constant has a user, each file a constant.
pub(crate) fn fixtures(files: &[File]) -> Vec<String> {
    let Some(root) = files.iter().find(|file| file.path == FIXTURES_ROOT) else {
        return vec![format!("{FIXTURES_ROOT} is missing")];
    };
    let mut used = BTreeSet::new();
    for file in rust(files).filter(|file| !file.path.starts_with("fixtures/")) {
        visit(&tokens::of(file), &mut |tokens| {
            used.extend(ident(tokens.first()).map(ToString::to_string));
        });
    }
    let mut offences = Vec::new();
    let mut included = String::new();
    visit(&tokens::of(root), &mut |tokens| {
        if let Some(name) = ident(tokens.get(1)).filter(|_| is_ident(tokens.first(), "const"))
            && !used.contains(&name.to_string())
        {
            offences.push(format!("{FIXTURES_ROOT}: {name} is used nowhere"));
        }
        if let Some(TokenTree::Literal(literal)) = tokens.first() {
            included.push_str(&literal.to_string());
        }
    });
    let is_data = |file: &&File| {
        file.path.starts_with("fixtures/")
            && !file.path.starts_with("fixtures/src/")
            && file.path != "fixtures/Cargo.toml"
    };
    for file in files.iter().filter(is_data) {
        // As include_str! names it, seen from src/.
        let name = file.path.replacen("fixtures/", "../", 1);
        if !included.contains(&format!("\"{name}\"")) {
            offences.push(format!("{}: {FIXTURES_ROOT} does not name it", file.path));
        }
    }
    offences
}

/// The lines of `[workspace.dependencies]`, but for our own crates.
pub(crate) fn dependency_reasons(files: &[File]) -> Vec<String> {
    let Some(manifest) = files.iter().find(|file| file.path == "Cargo.toml") else {
        return vec!["Cargo.toml is missing".to_owned()];
    };
    let mut section = "";
    let mut offences = Vec::new();
    for (number, line) in manifest.lines() {
        if line.starts_with('[') {
            section = line.trim();
        }
        let entry = section == "[workspace.dependencies]"
            && !line.starts_with(['[', '#'])
            && line.contains('=');
        let ours = line.contains("path =");
        // A hash inside quotes is no comment: the last quote ends before the comment begins.
        let reasoned = line
            .rsplit_once(" # ")
            .is_some_and(|(code, reason)| code.matches('"').count() % 2 == 0 && !reason.is_empty());
        if entry && !ours && !reasoned {
            offences.push(format!("Cargo.toml:{number}: {}", line.trim()));
        }
    }
    offences
}

/// The crates that have lints of their own, for their kernels.
const WITH_KERNELS: [&str; 2] = ["server/Cargo.toml", "simminer/Cargo.toml"];
/// Where their kernels are entered.
const ENTRIES: [&str; 2] = ["server/src/mining/hash/kernel.rs", "simminer/src/kernel.rs"];
/// A workspace of its own, with no code but a macro of the fuzzer's.
const OUTSIDE: &str = "server/fuzz/Cargo.toml";

/// Every crate has the workspace's lints. Those with kernels repeat them, and deny `unsafe` where
/// the others forbid it.
pub(crate) fn lints(files: &[File]) -> Vec<String> {
    let table = |file: &File| file.text.parse::<Table>().unwrap_or_default();
    let manifests = files.iter().filter(|file| file.path.ends_with("Cargo.toml"));
    let workspace = manifests.clone().find(|file| file.path == "Cargo.toml").map(table);
    let mut common = workspace
        .and_then(|manifest| manifest.get("workspace")?.get("lints").cloned())
        .unwrap_or(Value::Boolean(false));
    let mut offences = Vec::new();
    if common.get("rust").and_then(|rust| rust.get("unsafe_code")) != Some(&"forbid".into()) {
        offences.push("Cargo.toml: does not forbid unsafe_code".to_owned());
    }
    let inherited = Value::Table(Table::from_iter([("workspace".to_owned(), true.into())]));
    if let Some(rust) = common.get_mut("rust").and_then(Value::as_table_mut) {
        rust.insert("unsafe_code".to_owned(), "deny".into());
    }
    for file in manifests.filter(|file| file.path.contains('/') && file.path != OUTSIDE) {
        let expected = if WITH_KERNELS.contains(&&*file.path) { &common } else { &inherited };
        if table(file).get("lints") != Some(expected) {
            offences.push(format!("{}: other lints than the workspace's", file.path));
        }
    }
    offences
}

/// Nothing but the way into a kernel is excepted from the lint against `unsafe`.
pub(crate) fn unsafe_code(files: &[File]) -> Vec<String> {
    let sources = rust(files).filter(|file| file.path.contains("/src/"));
    let others = sources.filter(|file| !ENTRIES.contains(&&*file.path));
    let excepted = others.filter(|file| file.text.contains("unsafe_code"));
    excepted.map(|file| format!("{}: lets `unsafe` in", file.path)).collect()
}
