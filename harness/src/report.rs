//! What is said when a law broke: to people on standard output, and to files that can be kept.

pub mod failures;
pub mod minimise;

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use serde::Serialize;

use crate::plan::{Habit, Plan};
use crate::sim::observe::Phase;
use crate::sim::trace::clock;
use crate::simulate::Run;

/// The report as data.
#[derive(Debug, Serialize)]
struct Report<'a> {
    law: &'a str,
    what: &'a str,
    seed: u64,
    commit: &'a str,
    phase: &'a str,
    at_us: u64,
    observation: u64,
    items: usize,
    hash: &'a str,
    tail: &'a [String],
}

const fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Safety => "safety",
        Phase::Quiet => "quiet",
        Phase::Drain => "drain",
    }
}

/// The commit that is checked out, as git names it, or that none is known.
pub fn commit() -> String {
    let git = std::process::Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    let text = git.ok().filter(|git| git.status.success()).map(|git| git.stdout);
    let text = text.map(|text| String::from_utf8_lossy(&text).trim().to_owned());
    text.unwrap_or_else(|| "unknown".to_owned())
}

/// Where the files of a seed go.
pub fn folder(seed: u64) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    PathBuf::from(target).join("sim").join(seed.to_string())
}

/// A failed run as text, in the form that ends with what to do next; empty for one that passed.
/// `again` is the command that brought it about, without the program's name.
pub fn text(plan: &Plan, run: &Run, again: &str) -> String {
    let ended = &run.ended;
    let Some(broken) = &ended.broken else { return String::new() };
    let mut text = String::new();
    let mut line = |label: &str, rest: &str| {
        writeln!(text, "{label:<7} {rest}").unwrap_or_default();
    };
    line("FAILED", &format!("{}  {}", broken.law, broken.what));
    line(
        "seed",
        &format!(
            "{}   commit {}   phase {}   at {}   observation {}   plan {} items",
            plan.seed,
            commit(),
            phase(ended.phase),
            clock(ended.at),
            ended.observations,
            plan.size(),
        ),
    );
    line("world", &world(plan));
    for (place, told) in ended.tail.iter().enumerate() {
        let last = place + 1 == ended.tail.len();
        let label = if place == 0 {
            "last"
        } else if last {
            "      >"
        } else {
            ""
        };
        line(label, told);
    }
    line("again", &format!("cargo run --release -p harness -- {again} --trace"));
    let file = folder(plan.seed).join("plan.json");
    let file = file.display();
    line("smaller", &format!("cargo run --release -p harness -- minimise {file}"));
    let kept = folder(plan.seed).join("plan.min.json");
    line(
        "keep",
        &format!(
            "cp {} fixtures/scenarios/<slug>.json   and say why in fixtures/src/lib.rs",
            kept.display()
        ),
    );
    text
}

/// Who took part.
fn world(plan: &Plan) -> String {
    let honest = plan.miners.iter().filter(|miner| miner.habit == Habit::Honest).count();
    let server = &plan.server;
    let source = match (server.enforcer, server.second) {
        (true, None) => "an enforcer",
        (true, Some(_)) => "an enforcer, blocks to a plain node too",
        (false, None) => "a plain node",
        (false, Some(second)) if second.submit_only => "a plain node, blocks to another too",
        (false, Some(_)) => "two plain nodes",
    };
    format!(
        "{} miners ({honest} honest)  templates of {source}  {} own sidechains  limits \
         sessions={} grace={}ms",
        plan.miners.len(),
        server.daemons.len(),
        server.limits.sessions,
        server.limits.grace_ms,
    )
}

/// Writes `plan.json`, `report.txt` and `report.json` of a failed run; says where.
pub fn write(plan: &Plan, run: &Run, text: &str) -> std::io::Result<PathBuf> {
    let folder = folder(plan.seed);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("plan.json"), serde_json::to_string_pretty(plan)?)?;
    fs::write(folder.join("report.txt"), text)?;
    if let Some(broken) = &run.ended.broken {
        let report = Report {
            law: broken.law,
            what: &broken.what,
            seed: plan.seed,
            commit: &commit(),
            phase: phase(run.ended.phase),
            at_us: run.ended.at.0,
            observation: run.ended.observations,
            items: plan.size(),
            hash: &run.ended.hash,
            tail: &run.ended.tail,
        };
        fs::write(folder.join("report.json"), serde_json::to_string_pretty(&report)?)?;
    }
    Ok(folder)
}
