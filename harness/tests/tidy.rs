//! The rules of this tree that a compiler does not know: sizes, headers, banned words, who may
//! depend on whom, and that nothing lies about unused.
//!
//! Every rule is a function from files to offences. One test runs it over the tree, another over a
//! file made to offend, because a check that cannot fail is worse than none.

#![expect(clippy::unwrap_used, reason = "a tree that cannot be read fails the test")]

#[path = "tidy/bans.rs"]
mod bans;
#[path = "tidy/directions.rs"]
mod directions;
#[path = "tidy/inventory.rs"]
mod inventory;
#[path = "tidy/shape.rs"]
mod shape;
#[path = "tidy/tokens.rs"]
mod tokens;
#[path = "tidy/tree.rs"]
mod tree;

use tree::{File, Rule};

/// Runs a rule over the whole tree; a failure lists each offence and what to do.
#[track_caller]
fn hold(rule: Rule, what_to_do: &str) {
    let files = tree::load();
    assert!(files.len() > 20, "the walk found only {} files: it is broken", files.len());
    let offences = rule(&files);
    assert!(
        offences.is_empty(),
        "{} offence(s); {what_to_do}:\n  {}",
        offences.len(),
        offences.join("\n  ")
    );
}

/// Runs a rule over one made-up file and expects exactly one offence, with this in its text.
#[track_caller]
fn catches(rule: Rule, path: &str, text: &str, offence: &str) {
    catches_among(rule, &[(path, text)], offence);
}

/// The same for a rule that needs several files.
#[track_caller]
fn catches_among(rule: Rule, files: &[(&str, &str)], offence: &str) {
    let offences = rule(&made_up(files));
    assert_eq!(offences.len(), 1, "expected one offence, got {offences:?}");
    assert!(offences[0].contains(offence), "{:?} does not say {offence:?}", offences[0]);
}

/// Runs a rule over made-up files that are as they should be.
#[track_caller]
fn accepts(rule: Rule, files: &[(&str, &str)]) {
    assert_eq!(rule(&made_up(files)), Vec::<String>::new());
}

fn made_up(files: &[(&str, &str)]) -> Vec<File> {
    files.iter().map(|(path, text)| File::new(*path, *text)).collect()
}

#[test]
fn files_are_at_most_500_lines() {
    hold(shape::file_lengths, "split the file by concern (foo.rs + foo/)");
    let long = "//! x\n".repeat(501);
    catches(shape::file_lengths, "a.rs", &long, "a.rs: 501 lines");
    accepts(shape::file_lengths, &[("a/tests.rs", &long), ("tests/a.rs", &long)]);
    catches(shape::file_lengths, "a/tests/b.rs", &"//! x\n".repeat(1_001), "at most 1000");
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "// x\n".repeat(600));
    accepts(shape::file_lengths, &[("a.rs", &format!("{}{tests}", "//! x\n".repeat(500)))]);
}

#[test]
fn functions_are_at_most_70_lines() {
    hold(shape::function_lengths, "move the plain work into leaves (ifs up, fors down)");
    // What looks like a brace in text must not end the function early.
    let body = "    let _ = ('{', \"}\", r#\"}\"#); // }\n".repeat(69);
    catches(shape::function_lengths, "a.rs", &format!("fn f() {{\n{body}}}\n"), "a.rs:1: f has 71");
    let inside_macro = format!("laws! {{\n#[test] fn law() {{\n{body}}}\n}}\n");
    catches(shape::function_lengths, "a.rs", &inside_macro, "a.rs:2: law has 71");
    let body = "    call(|x: fn(u8)| {});\n".repeat(68);
    accepts(shape::function_lengths, &[("a.rs", &format!("fn f() {{\n{body}}}\n"))]);
}

#[test]
fn lines_are_at_most_100_columns() {
    hold(shape::line_lengths, "break the line (cargo fmt does not break text)");
    catches(shape::line_lengths, "a.rs", &format!("//! x\n{}\n", "x".repeat(101)), "a.rs:2: 101");
    accepts(shape::line_lengths, &[("a.rs", &"x".repeat(100))]);
}

#[test]
fn every_file_begins_by_saying_what_it_is() {
    hold(shape::heads, "begin with //! lines: what it is, why, what is not in it");
    catches(shape::heads, "a.rs", "use std::io;\n//! late\n", "a.rs");
    accepts(shape::heads, &[("a.rs", "//! Says it.\n"), ("a.toml", "[a]\n")]);
}

#[test]
fn core_modules_state_their_invariant() {
    hold(
        shape::invariants,
        "add a //! **Invariant:** line, mostly of what the module does not know",
    );
    let good: Vec<(String, &str)> = shape::CORE_MODULES
        .iter()
        .map(|module| {
            (format!("server/src/{module}.rs"), "//! X.\n//! **Invariant:** knows no Y.\n")
        })
        .collect();
    let mut files: Vec<(&str, &str)> =
        good.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    accepts(shape::invariants, &files);
    files[0].1 = "//! X.\n// **Invariant:** in no document.\n";
    catches_among(shape::invariants, &files, files[0].0);
    let missing = files.split_off(1);
    catches_among(shape::invariants, &missing, "is missing");
}

#[test]
fn modules_are_foo_rs_beside_foo() {
    hold(bans::module_files, "rename foo/mod.rs to foo.rs");
    catches(bans::module_files, "a/src/foo/mod.rs", "", "a/src/foo/mod.rs");
    accepts(bans::module_files, &[("a/src/foo.rs", ""), ("a/src/foo/model.rs", "")]);
}

#[test]
fn nothing_sleeps() {
    hold(bans::sleeps, "wait for an event with a deadline, or step a simulated clock");
    let text = "fn f() {\n    laws! { std::thread::sleep(d) }\n}\n";
    catches(bans::sleeps, "server/src/a.rs", text, "server/src/a.rs:2");
    catches(bans::sleeps, "harness/src/a.rs", "fn f() { sleep (d) }", "harness/src/a.rs:1");
    let innocent = "// sleep(d)\nfn f() { g(\"sleep(d)\", sleep, asleep(d)) }";
    accepts(bans::sleeps, &[("server/src/a.rs", innocent), ("simminer/src/a.rs", text)]);
}

#[test]
fn no_test_is_ignored_or_meant_to_panic() {
    hold(bans::test_attributes, "mend or delete the test; assert on an error value, not a panic");
    catches(bans::test_attributes, "a.rs", "#[test]\n#[ignore]\nfn f() {}", "a.rs:2: #[ignore]");
    let text = "laws! { #[should_panic(expected = \"x\")] fn f() {} }";
    catches(bans::test_attributes, "a.rs", text, "#[should_panic]");
    accepts(bans::test_attributes, &[("a.rs", "// #[ignore]\n#[test] fn ignore() {}")]);
}

#[test]
fn wire_forms_live_at_the_edge() {
    hold(bans::serde_derives, "parse at the edge into types that know no format");
    let text = "#[derive(Debug, serde::Deserialize)]\nstruct S;";
    catches(bans::serde_derives, "server/src/mining/job.rs", text, "server/src/mining/job.rs:1");
    let conditional = "#[cfg_attr(test, derive(Serialize))]\nstruct S;";
    catches(bans::serde_derives, "server/src/pool.rs", conditional, "server/src/pool.rs:1");
    accepts(
        bans::serde_derives,
        &[
            ("server/src/stratum/message/parse.rs", text),
            ("server/src/node/rpc.rs", text),
            ("server/src/pool.rs", "use serde::Deserialize;"),
            ("harness/src/plan.rs", text),
        ],
    );
}

#[test]
fn nothing_of_one_machine_is_in_the_tree() {
    hold(bans::machine_paths, "take the path as an argument or make it relative");
    let path = format!("/wo{}/main", "rk");
    catches(bans::machine_paths, "README.md", &format!("x\ncd {path}\n"), "README.md:2");
    accepts(
        bans::machine_paths,
        &[("README.md", "a/work/b, ../work/, example.org/root/x, /usr/bin/env\n")],
    );
}

#[test]
fn sources_are_ascii() {
    hold(bans::ascii, "write it in ASCII, or as an escape");
    catches(bans::ascii, "a.rs", "//! x\n// a \u{2192} b\n", "a.rs:2: '\u{2192}'");
    accepts(bans::ascii, &[("a.rs", "// a -> b\n"), ("README.md", "\u{2192}\n")]);
}

#[test]
fn modules_of_the_server_point_one_way() {
    hold(directions::modules, "move the type to the lower module, or pass what is needed in");
    let caught = |path, text, offence| catches(directions::modules, path, text, offence);
    caught("server/src/mining/job.rs", "use crate::stratum::Session;", "mining uses stratum");
    caught(
        "server/src/mining/job.rs",
        "//!\nuse crate::{clock::Now, pool};",
        ":2: mining uses pool",
    );
    caught("server/src/bmm.rs", "fn f() { super::pool::g() }", "bmm uses pool");
    caught("server/src/node/rpc.rs", "use super::super::runtime::X;", "node uses runtime");
    caught("server/src/bmm.rs", "mod tests { use super::super::pool::P; }", "bmm uses pool");
    caught("server/src/lib.rs", "pub use runtime::X;\nuse crate::runtime::Y;", "lib uses runtime");
    caught("server/src/pool.rs", "use crate::settings::S;", "pool uses settings");
    caught("server/src/brandnew.rs", "", "brandnew is in no row");
    accepts(
        directions::modules,
        &[
            ("server/src/stratum/session.rs", "use crate::mining::Target; use super::hex::H;"),
            ("server/src/mining/job.rs", "use crate::clock::Now; mod tests { use super::*; }"),
            ("server/src/pool.rs", "use crate::{bmm::B, node, config::Config, mining::*};"),
            ("server/src/runtime.rs", "use crate::pool::Pool; use crate::settings::Settings;"),
            ("server/src/main.rs", "use server::runtime; use crate::anything;"),
            ("server/src/bmm.rs", "//! See [`crate::pool`].\nmod pool { } // crate::pool"),
        ],
    );
}

#[test]
fn crates_point_one_way() {
    hold(directions::crates, "keep the second witness apart and the graph as ARCHITECTURE.md says");
    let caught = |path, text, offence| catches(directions::crates, path, text, offence);
    caught("simminer/Cargo.toml", "[dependencies]\nserver.workspace = true\n", "server");
    caught("server/Cargo.toml", "[dependencies]\nfixtures.workspace = true\n", "fixtures");
    caught("server/Cargo.toml", "[dev-dependencies.harness]\npath = \"x\"\n", "harness");
    caught("server/Cargo.toml", "[target.'cfg(a)'.dependencies]\nsimminer = \"0\"\n", "simminer");
    caught("fixtures/Cargo.toml", "[dependencies]\nserde = \"1\"\n", "serde");
    caught("harness/Cargo.toml", "[dependencies]\nbenches = { path = \"x\" }\n", "benches");
    caught("harness/Cargo.toml", "[dependencies\n", "is not TOML");
    accepts(
        directions::crates,
        &[
            (
                "simminer/Cargo.toml",
                "[dependencies]\ntokio = \"1\"\n[dev-dependencies]\nfixtures = {}\n",
            ),
            ("benches/Cargo.toml", "[dependencies]\nserver = {}\nharness = {}\nfixtures = {}\n"),
        ],
    );
}

#[test]
fn the_top_level_is_as_agreed() {
    hold(inventory::top_level, "put it into one of the six folders");
    let whole: Vec<(String, &str)> = inventory::TOP_LEVEL
        .iter()
        .map(|name| (name.trim_end_matches('/').to_owned(), ""))
        .collect();
    let mut files: Vec<(&str, &str)> =
        whole.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    files.push((".gitignore", ""));
    accepts(inventory::top_level, &files);
    files.push(("notes/today.md", ""));
    catches_among(inventory::top_level, &files, "notes is not agreed");
    files.pop();
    let without_readme: Vec<_> =
        files.iter().copied().filter(|(path, _)| *path != "README.md").collect();
    catches_among(inventory::top_level, &without_readme, "README.md is missing");
}

#[test]
fn every_fixture_is_named_and_used() {
    hold(inventory::fixtures, "use it in a test or a benchmark, or delete it");
    let lib = ("fixtures/src/lib.rs", "pub const ONE: &str = include_str!(\"../a/one.json\");");
    let file = ("fixtures/a/one.json", "{}");
    let user = ("server/src/a.rs", "fn f() { g(fixtures::ONE) }");
    accepts(inventory::fixtures, &[lib, file, user]);
    let remark = ("server/src/a.rs", "// fixtures::ONE\n");
    catches_among(inventory::fixtures, &[lib, file, remark], "ONE is used nowhere");
    let stray = ("fixtures/a/two.json", "{}");
    catches_among(inventory::fixtures, &[lib, file, user, stray], "fixtures/a/two.json");
}

#[test]
fn every_dependency_says_what_it_saves() {
    hold(
        inventory::dependency_reasons,
        "end the line with a comment: what it saves us from writing",
    );
    let caught = |text| catches(inventory::dependency_reasons, "Cargo.toml", text, "Cargo.toml:2");
    caught("[workspace.dependencies]\nserde = \"1\"\n");
    caught("[workspace.dependencies]\nserde = { version = \"1#2\" }\n");
    accepts(
        inventory::dependency_reasons,
        &[
            (
                "Cargo.toml",
                "[workspace]\nresolver = \"3\"\n[workspace.dependencies]\n# Ours.\n\
                 server = { path = \"server\" }\nserde = \"1\" # wire forms\n\n\
                 [profile.dev]\na = 1\n",
            ),
            ("server/Cargo.toml", "[dependencies]\nserde.workspace = true\n"),
        ],
    );
}

#[test]
fn every_crate_has_the_lints_of_the_workspace() {
    hold(inventory::lints, "change both tables, or say `[lints] workspace = true`");
    let lints = "lints.rust]\nunsafe_code = \"forbid\"\nmissing_docs = \"warn\"\n";
    let workspace = &format!("[workspace.{lints}");
    let (inherits, repeats) = ("[lints]\nworkspace = true\n", lints.replace("forbid", "deny"));
    let repeats = &format!("[{repeats}");
    let (root, benches, miner) = ("Cargo.toml", "benches/Cargo.toml", "simminer/Cargo.toml");
    let good = [(root, workspace.as_str()), (benches, inherits), (miner, repeats)];
    accepts(inventory::lints, &good);
    accepts(inventory::lints, &[good[0], good[1], good[2], ("server/fuzz/Cargo.toml", "")]);
    let caught = |at: usize, text: &str| {
        let mut files = good;
        files[at].1 = text;
        catches_among(inventory::lints, &files, files[at].0);
    };
    caught(1, repeats);
    caught(1, "[package]\n");
    caught(2, &repeats.replace("warn", "allow"));
    caught(2, &repeats.replace("deny", "allow"));
    caught(0, &workspace.replace("forbid", "deny"));
}

#[test]
fn unsafe_is_where_kernels_are_entered() {
    hold(inventory::unsafe_code, "call the kernels' own functions, which are safe");
    let exception = "#[expect(unsafe_code, reason = \"..\")]\nfn enter() {}\n";
    accepts(inventory::unsafe_code, &[("server/src/mining/hash/kernel.rs", exception)]);
    for path in ["server/src/mining/hash.rs", "simminer/src/kernel/avx2.rs"] {
        catches(inventory::unsafe_code, path, exception, path);
    }
}
