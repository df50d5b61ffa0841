//! The subcommands `simulate`, `replay`, `minimise` and `canaries`: from a command line to an exit
//! code.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::Args;

use super::canaries::{self, Caught};
use super::{Run, add, run};
use crate::console::{complain, say};
use crate::oracle::sometimes;
use crate::plan::{Families, Family, Plan};
use crate::report;
use crate::report::minimise::Minimiser;
use crate::sim::seam::{CANARIES, Canary};

/// The exit codes of this part; see `cli.rs`.
pub(super) const PASSED: u8 = 0;
pub(super) const BROKEN: u8 = 1;
pub(super) const USAGE: u8 = 2;
const PANIC: u8 = 3;
const STUCK: u8 = 4;
const DIFFERENT: u8 = 5;

/// What to simulate.
#[derive(Args, Debug)]
pub struct SimulateArguments {
    /// One seed
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Seeds from A up to and including B, or "commit": new ones for each commit, the same for one
    #[arg(long, value_name = "A..B", default_value = "1..100")]
    seeds: String,
    /// Take seeds for so long, whatever --seeds ends with
    #[arg(long, value_name = "M")]
    minutes: Option<f64>,
    /// Only these families of faults: network, node, chain, drivechain, clock, disk, process,
    /// miners; with commas in between
    #[arg(long, value_name = "FAMILIES", value_delimiter = ',', value_parser = family)]
    only: Vec<Family>,
    /// These families in every run, the others in half of them
    #[arg(long, value_name = "FAMILIES", value_delimiter = ',', value_parser = family,
          conflicts_with = "only")]
    always: Vec<Family>,
    /// So many miners in each run
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=1_000))]
    miners: Option<u64>,
    /// How long things go wrong, as 90s, 10m or 2h
    #[arg(long, value_name = "TIME", value_parser = duration_ms)]
    horizon: Option<u64>,
    /// Print one line an observation
    #[arg(long)]
    trace: bool,
    /// Run each seed twice and compare
    #[arg(long)]
    twice: bool,
    /// Do not stop at the first failure
    #[arg(long)]
    keep_going: bool,
    /// Fail when something that should happen sometimes never did in so many runs or more
    #[arg(long, value_name = "RUNS")]
    sometimes: Option<u64>,
    /// Threads; each takes the next seed [default: one for each core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

/// What to run again.
#[derive(Args, Debug)]
pub struct ReplayArguments {
    /// A plan: a kept scenario, or one that a failure wrote
    plan: PathBuf,
    /// Print one line an observation
    #[arg(long)]
    trace: bool,
}

fn family(name: &str) -> Result<Family, String> {
    let known = Family::ALL.into_iter().find(|(_, known)| *known == name);
    let names: Vec<&str> = Family::ALL.into_iter().map(|(_, name)| name).collect();
    known.map(|(family, _)| family).ok_or_else(|| format!("one of {}", names.join(", ")))
}

fn duration_ms(text: &str) -> Result<u64, String> {
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
    let parsed = units.into_iter().find_map(|(unit, ms)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(ms)
    });
    parsed.filter(|ms| *ms > 0).ok_or_else(|| "a time such as 90s, 10m or 2h".to_owned())
}

/// What many runs came to.
#[derive(Debug, Default)]
struct Sum {
    runs: u64,
    failed: u64,
    seconds: u64,
    observations: u64,
    counts: BTreeMap<String, u64>,
    worst: u8,
}

impl SimulateArguments {
    fn families(&self) -> Families {
        Families {
            only: self.only.clone(),
            always: self.always.clone(),
            miners: self.miners,
            horizon_ms: self.horizon,
        }
    }

    fn range(&self) -> Result<Range<u64>, String> {
        if let Some(seed) = self.seed {
            return Ok(seed..seed + 1);
        }
        if self.seeds == "commit" {
            let commit = report::commit();
            let first = u64::from_str_radix(&commit, 16).map_err(|_| {
                "there is no commit to take seeds from: run it in a git clone, or name --seeds A..B"
                    .to_owned()
            })?;
            let first = (first & 0xffff_ffff) << 20;
            return Ok(first..first + (1 << 20));
        }
        let ends = self.seeds.split_once("..").and_then(|(first, last)| {
            Some(first.parse::<u64>().ok()?..last.trim_start_matches('=').parse::<u64>().ok()? + 1)
        });
        let ends = ends.filter(|range| !range.is_empty());
        ends.ok_or_else(|| format!("--seeds {}: say A..B with A <= B, or commit", self.seeds))
    }

    /// The options that make a plan from a seed, as they were given.
    fn again(&self, seed: u64) -> String {
        let mut again = format!("simulate --seed {seed}");
        for (option, families) in [("only", &self.only), ("always", &self.always)] {
            if !families.is_empty() {
                let names = Family::ALL.into_iter().filter(|(family, _)| families.contains(family));
                let names: Vec<&str> = names.map(|(_, name)| name).collect();
                again = format!("{again} --{option} {}", names.join(","));
            }
        }
        if let Some(miners) = self.miners {
            again = format!("{again} --miners {miners}");
        }
        if let Some(ms) = self.horizon {
            again = format!("{again} --horizon {ms}ms");
        }
        again
    }

    /// Simulates; the exit code.
    pub fn simulate(&self) -> u8 {
        let range = match self.range() {
            Ok(range) => range,
            Err(problem) => {
                complain(&problem);
                return USAGE;
            }
        };
        if range.end - range.start > 1 {
            quiet_panics();
        }
        let began = Instant::now();
        let until = self.minutes.map(|minutes| began + Duration::from_secs_f64(minutes * 60.0));
        let shared = Mutex::new((range, Sum::default()));
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = if self.trace { 1 } else { self.threads.unwrap_or(cores) };
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| self.work(&shared, until));
            }
        });
        let Ok((_, sum)) = shared.into_inner() else { return PANIC };
        self.close(&sum, began.elapsed())
    }

    fn work(&self, shared: &Mutex<(Range<u64>, Sum)>, until: Option<Instant>) {
        loop {
            let seed = {
                let Ok(mut shared) = shared.lock() else { return };
                let stop = shared.1.failed > 0 && !self.keep_going;
                if stop || until.is_some_and(|until| Instant::now() >= until) {
                    return;
                }
                shared.0.next()
            };
            let Some(seed) = seed else { return };
            let plan = Plan::from_seed(seed, &self.families());
            let one = run(&plan, None, self.trace);
            let other = self.twice.then(|| run(&plan, None, false));
            let Ok(mut shared) = shared.lock() else { return };
            self.take(&mut shared.1, &plan, &one, other.as_ref());
        }
    }

    fn take(&self, sum: &mut Sum, plan: &Plan, one: &Run, other: Option<&Run>) {
        sum.runs += 1;
        sum.seconds += one.seconds;
        sum.observations += one.ended.observations;
        add(&mut sum.counts, &one.ended.counts);
        if let Some(other) = other.filter(|other| other.ended.hash != one.ended.hash) {
            sum.failed += 1;
            sum.worst = sum.worst.max(DIFFERENT);
            let (first, second) = (&one.ended.hash, &other.ended.hash);
            say(&format!("FAILED  DET-1  seed {}: {first} and then {second}", plan.seed));
        }
        if one.ended.broken.is_some() {
            sum.failed += 1;
            sum.worst = sum.worst.max(code(one));
            fail(plan, one, &self.again(plan.seed));
        } else if self.seed.is_some() {
            say(&format!("passed  seed {}  hash {}", plan.seed, one.ended.hash));
        }
    }

    fn close(&self, sum: &Sum, wall: Duration) -> u8 {
        for (name, count) in &sum.counts {
            say(&format!("{count:>10}  {name}"));
        }
        // In few runs, or with families left out, it says nothing that something never happened.
        let never = sometimes::never(&sum.counts);
        let whole = self.only.is_empty() && sum.failed == 0;
        let expected = whole && sum.runs >= self.sometimes.unwrap_or(u64::MAX);
        for name in never.iter().filter(|_| whole && sum.runs > 1) {
            say(&format!("     never  {name}"));
        }
        let wall_ms = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX).max(1);
        say(&format!(
            "{} runs, {} failed; {} observations; {} simulated seconds in {}.{:03} s of wall time: \
             {} to 1",
            sum.runs,
            sum.failed,
            sum.observations,
            sum.seconds,
            wall_ms / 1_000,
            wall_ms % 1_000,
            sum.seconds * 1_000 / wall_ms,
        ));
        if sum.runs == 0 {
            complain("nothing was simulated: the time was over before the first seed");
            return BROKEN;
        }
        if expected && !never.is_empty() {
            complain("what never happened was judged by nobody: see the lines that say never");
            return BROKEN;
        }
        sum.worst
    }
}

/// Panics are results here, and told in the report.
pub(super) fn quiet_panics() {
    std::panic::set_hook(Box::new(|_| {}));
}

/// Says what failed, and leaves it on disk.
pub(super) fn fail(plan: &Plan, run: &Run, again: &str) {
    let text = report::text(plan, run, again);
    say(text.trim_end());
    if let Err(error) = report::write(plan, run, &text) {
        complain(&format!("the report could not be written: {error}; it is above"));
    }
}

/// What a run's end means for who called.
pub(super) fn code(run: &Run) -> u8 {
    match run.ended.broken.as_ref().map(|broken| broken.law) {
        None => PASSED,
        Some("PANIC") => PANIC,
        Some(law) if law.starts_with("LIVE") => STUCK,
        Some(_) => BROKEN,
    }
}

/// A plan from a file.
pub(super) fn read_plan(path: &Path) -> Result<Plan, String> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{} is no plan: {error}", path.display()))
}

impl ReplayArguments {
    /// Runs the plan; the exit code.
    pub fn replay(&self) -> u8 {
        let plan = match read_plan(&self.plan) {
            Ok(plan) => plan,
            Err(problem) => {
                complain(&problem);
                return USAGE;
            }
        };
        let run = run(&plan, None, self.trace);
        if run.ended.broken.is_some() {
            fail(&plan, &run, &format!("replay {}", self.plan.display()));
        } else {
            say(&format!("passed  {}  hash {}", self.plan.display(), run.ended.hash));
        }
        code(&run)
    }
}

/// What to make smaller.
#[derive(Args, Debug)]
pub struct MinimiseArguments {
    /// A plan that fails
    plan: Option<PathBuf>,
    /// The plan of a seed that fails
    #[arg(long, value_name = "N", conflicts_with = "plan")]
    seed: Option<u64>,
    /// With this bug planted at the seam, by its name
    #[arg(long, value_name = "NAME", value_parser = canary)]
    canary: Option<Canary>,
}

fn canary(name: &str) -> Result<Canary, String> {
    let known = CANARIES.iter().find(|(_, known, _)| *known == name);
    known.map(|(canary, _, _)| *canary).ok_or_else(|| {
        let names: Vec<&str> = CANARIES.iter().map(|(_, name, _)| *name).collect();
        format!("one of {}", names.join(", "))
    })
}

impl MinimiseArguments {
    /// Makes the plan smaller and writes it; the exit code.
    pub fn minimise(&self) -> u8 {
        let plan = match (&self.plan, self.seed) {
            (Some(path), _) => read_plan(path),
            (None, Some(seed)) => Ok(Plan::from_seed(seed, &Families::default())),
            (None, None) => Err("name a plan's file, or --seed N".to_owned()),
        };
        let plan = match plan {
            Ok(plan) => plan,
            Err(problem) => {
                complain(&problem);
                return USAGE;
            }
        };
        quiet_panics();
        let Some(law) = law(&run(&plan, self.canary, false)) else {
            complain("this plan does not fail, so there is nothing to keep while it shrinks");
            return USAGE;
        };
        let mut minimiser = Minimiser::new(|plan: &Plan| {
            let run = run(plan, self.canary, false);
            (self::law(&run) == Some(law)).then(|| run.ended.at.as_millis())
        });
        let small = minimiser.minimise(&plan);
        let folder = report::folder(plan.seed);
        let file = folder.join("plan.min.json");
        let text = serde_json::to_string_pretty(&small).unwrap_or_default();
        let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&file, text));
        if let Err(error) = written {
            complain(&format!("{} cannot be written: {error}", file.display()));
            return BROKEN;
        }
        say(&format!(
            "{law}: {} items and {} s became {} items and {} s after {} runs: {}",
            plan.size(),
            plan.horizon_ms / 1_000,
            small.size(),
            small.horizon_ms / 1_000,
            minimiser.runs(),
            file.display(),
        ));
        PASSED
    }
}

fn law(run: &Run) -> Option<&'static str> {
    run.ended.broken.as_ref().map(|broken| broken.law)
}

/// Plants every bug in turn; the exit code.
pub fn all_canaries() -> u8 {
    quiet_panics();
    let mut worst = PASSED;
    for (canary, _, _) in CANARIES {
        match canaries::catch(canary) {
            Ok(caught) => {
                let Caught { name, seed, law, .. } = caught;
                say(&format!("caught  {name:<22} by {law:<8} in seed {seed}"));
            }
            Err(problem) => {
                say(&format!("FAILED  {problem}"));
                worst = BROKEN;
            }
        }
    }
    worst
}
