//! Who may depend on whom: the modules of the server, and the crates of the workspace.

use proc_macro2::{Delimiter, TokenTree};
use toml::{Table, Value};

use crate::tokens::{self, group, ident, inside, is_ident, is_punct, visit};
use crate::tree::{File, rust};

/// Each module of the server's library with the modules it may name. `main.rs` may name all.
const MODULES: [(&str, &[&str]); 11] = [
    ("clock", &[]),
    ("mining", &["clock"]),
    ("bmm", &["clock", "mining"]),
    ("config", &["clock", "mining", "bmm"]),
    ("stratum", &["clock", "mining", "config"]),
    ("node", &["clock", "mining", "bmm", "config"]),
    ("journal", &["clock", "mining", "config"]),
    ("pool", &["clock", "mining", "bmm", "stratum", "node", "journal", "config"]),
    ("settings", &["clock", "mining", "bmm", "config"]),
    (
        "runtime",
        &["clock", "mining", "bmm", "stratum", "node", "journal", "config", "pool", "settings"],
    ),
    ("doctor", &["clock", "mining", "node", "config", "pool", "settings", "runtime"]),
];

/// Each crate with ours that it may depend on, and those that only its tests may.
const CRATES: [(&str, &[&str], &[&str]); 6] = [
    ("server", &[], &["fixtures"]),
    ("server/fuzz", &["server", "fixtures"], &[]),
    ("simminer", &[], &["fixtures"]),
    ("harness", &["server", "simminer", "fixtures"], &[]),
    ("benches", &["server", "harness", "fixtures"], &[]),
    ("fixtures", &[], &[]),
];

/// Paths that begin with `crate::`, or climb to the crate's root with `super::`.
pub(crate) fn modules(files: &[File]) -> Vec<String> {
    let mut offences = Vec::new();
    for file in rust(files) {
        let Some(inner) = file.path.strip_prefix("server/src/") else { continue };
        let inner = inner.trim_end_matches(".rs");
        let module = inner.split('/').next().unwrap_or(inner);
        let allowed = match module {
            // The binary joins everything; the library's root only lists its modules.
            "main" => continue,
            "lib" => Some(&[][..]),
            _ => MODULES.iter().find(|(name, _)| *name == module).map(|(_, allowed)| *allowed),
        };
        let Some(allowed) = allowed else {
            offences.push(format!("{}: {module} is in no row of the table", file.path));
            continue;
        };
        let depth = if module == "lib" { 0 } else { inner.split('/').count() };
        let mut named = Vec::new();
        collect(&tokens::of(file), depth, &mut named);
        for (line, other) in named {
            let known = MODULES.iter().any(|(name, _)| *name == other);
            if known && other != module && !allowed.contains(&other.as_str()) {
                offences.push(format!("{}:{line}: {module} uses {other}", file.path));
            }
        }
    }
    offences
}

/// Collects what is named directly under the crate's root, with its line. `depth` is how many
/// modules this code is inside of.
fn collect(tokens: &[TokenTree], depth: usize, named: &mut Vec<(usize, String)>) {
    let mut index = 0;
    while index < tokens.len() {
        let rest = &tokens[index..];
        // `mod tests { .. }` is one deeper.
        let body = group(rest.get(2), Delimiter::Brace)
            .filter(|_| is_ident(rest.first(), "mod") && ident(rest.get(1)).is_some());
        if let Some(body) = body {
            collect(&inside(body), depth + 1, named);
            index += 3;
            continue;
        }
        if let Some(after) = root_prefix(rest, depth) {
            index += after;
            under_root(&tokens[index..], named);
            continue;
        }
        if let TokenTree::Group(group) = &tokens[index] {
            collect(&inside(group), depth, named);
        }
        index += 1;
    }
}

/// The number of tokens in `crate::`, or in as many `super::` as lead to the root.
fn root_prefix(tokens: &[TokenTree], depth: usize) -> Option<usize> {
    let separated = |at: usize| is_punct(tokens.get(at), ':') && is_punct(tokens.get(at + 1), ':');
    if is_ident(tokens.first(), "crate") && separated(1) {
        return Some(3);
    }
    let climbs =
        (0..).take_while(|step| is_ident(tokens.get(step * 3), "super") && separated(step * 3 + 1));
    let climbs = climbs.count();
    (climbs > 0 && climbs == depth).then_some(climbs * 3)
}

/// What stands behind the prefix: one name, or several in braces.
fn under_root(tokens: &[TokenTree], named: &mut Vec<(usize, String)>) {
    if let Some(name) = ident(tokens.first()) {
        named.push((tokens::line(name.span()), name.to_string()));
    } else if let Some(braces) = group(tokens.first(), Delimiter::Brace) {
        let inner = inside(braces);
        for (index, token) in inner.iter().enumerate() {
            let first_of_path = index == 0 || is_punct(inner.get(index - 1), ',');
            if let Some(name) = ident(Some(token)).filter(|_| first_of_path) {
                named.push((tokens::line(name.span()), name.to_string()));
            }
        }
    }
}

/// The manifests of the workspace's crates.
pub(crate) fn crates(files: &[File]) -> Vec<String> {
    let mut offences = Vec::new();
    for (name, allowed, allowed_in_tests) in CRATES {
        let path = format!("{name}/Cargo.toml");
        let Some(file) = files.iter().find(|file| file.path == path) else { continue };
        let Ok(manifest) = file.text.parse::<Table>() else {
            offences.push(format!("{path}: is not TOML"));
            continue;
        };
        for (section, dependency) in dependencies(&manifest) {
            let ours = CRATES.iter().any(|(other, _, _)| *other == dependency);
            let in_tests = section == "dev-dependencies";
            let fine = allowed.contains(&dependency.as_str())
                || in_tests && allowed_in_tests.contains(&dependency.as_str());
            // Data needs nobody's code, ours or not.
            if (ours || name == "fixtures") && !fine {
                offences.push(format!("{path}: {section} must not have {dependency}"));
            }
        }
    }
    offences
}

/// Every dependency with the kind of section it is in, those under `[target.*]` included.
fn dependencies(manifest: &Table) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        if let Some(Value::Table(entries)) = manifest.get(section) {
            found.extend(entries.keys().map(|name| (section, name.clone())));
        }
    }
    if let Some(Value::Table(targets)) = manifest.get("target") {
        for target in targets.values().filter_map(Value::as_table) {
            found.extend(dependencies(target));
        }
    }
    found
}

#[test]
fn every_path_is_seen_once() {
    let file = File::new("x.rs", "use crate::{a::{b, c}, d}; fn f() { g(crate::e::f) }");
    let mut named = Vec::new();
    collect(&tokens::of(&file), 1, &mut named);
    let names: Vec<&str> = named.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, ["a", "d", "e"]);
    let mut count = 0;
    visit(&tokens::of(&file), &mut |tokens| count += usize::from(is_ident(tokens.first(), "a")));
    assert_eq!(count, 1);
}
