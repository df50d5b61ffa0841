//! `simminer`: mines at a Stratum v1 server with the CPU. The command line over [`simminer`].
//!
//! Prints what happens on stderr, the result on stdout. Exit code 0 when it stopped as asked, 1
//! when mining failed, 2 when the command line makes no sense. `simminer bench` mines nowhere and
//! says how fast each kernel hashes here.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::num::NonZero;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use simminer::client::ClientConfig;
use simminer::kernel::Kernel;
use simminer::persona::{FAMILIES, Persona};
use simminer::runtime::{self, Endpoint, MinerError, MinerEvent, Options, Summary};
use simminer::target::Difficulty;
use tokio::sync::mpsc;

/// Events that may wait to be printed.
const EVENTS_MAX: usize = 1024;

/// An independent Stratum v1 client and SHA-256d CPU miner.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The server, as stratum+tcp://HOST:PORT.
    #[arg(long, required = true)]
    url: Option<String>,
    /// User name for mining.authorize.
    #[arg(long, required = true)]
    user: Option<String>,
    /// Password for mining.authorize.
    #[arg(long, default_value = "x")]
    pass: String,
    /// Hashing threads; 0 only watches the jobs go by [default: one for each core]
    #[arg(long)]
    threads: Option<u16>,
    /// How to hash: scalar, avx2, sha-ni or avx512 [default: the fastest that this machine has]
    #[arg(long)]
    kernel: Option<Kernel>,
    /// Stop after this many accepted shares.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    shares: Option<u64>,
    /// Stop after this many accepted shares that met the network's target.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    blocks: Option<u64>,
    /// Failed connections in a row, after the first, before giving up [default: never gives up].
    #[arg(long)]
    retries: Option<u64>,
    /// Ask the server for this difficulty; any decimal above zero, also 4.66e-10.
    #[arg(long)]
    suggest_difficulty: Option<Difficulty>,
    /// Submit at most this many shares a second.
    #[arg(long, value_name = "SHARES_PER_SECOND", value_parser = parse_rate)]
    max_rate: Option<f64>,
    /// Speak as this family of real miners does, such as cgminer, bitaxe or nerdminer.
    #[arg(long, value_parser = parse_persona)]
    persona: Option<Persona>,
    /// Do not ask for version rolling.
    #[arg(long)]
    no_version_rolling: bool,
    /// Print one JSON line with the result at the end.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Hashes for nobody and says how fast: each kernel of this machine, one after the other
    Bench(BenchArguments),
}

#[derive(Args, Debug)]
struct BenchArguments {
    /// Hashing threads [default: one for each core]
    #[arg(long)]
    threads: Option<NonZero<u16>>,
    /// How long each kernel is measured.
    #[arg(long, default_value = "2", value_parser = parse_seconds)]
    seconds: Duration,
    /// Print one JSON line: `mhs` of the fastest, `kernels` with each, in millions of hashes a
    /// second of all threads together.
    #[arg(long)]
    json: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    abort_on_panic();
    let mut arguments = Arguments::parse();
    if let Some(Command::Bench(arguments)) = arguments.command.take() {
        return bench(&arguments);
    }
    let json = arguments.json;
    let options = match options(arguments) {
        Ok(options) => options,
        Err(error) => {
            print_error(&error);
            return ExitCode::from(2);
        }
    };
    let (events, received) = mpsc::channel(EVENTS_MAX);
    let printer = tokio::spawn(print_events(received));
    let outcome = runtime::run(options, events, asked_to_stop()).await;
    // The channel is closed now, so the printer ends when it has printed the rest.
    let printed = printer.await;
    if let Err(error) = printed {
        print_error(&format!("the event printer failed: {error}"));
    }
    match outcome {
        Ok(summary) => {
            print_summary(&summary, json);
            ExitCode::SUCCESS
        }
        Err(error) => {
            if json {
                print_summary(&summary_of(&error), json);
            }
            print_error(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// From the command line to what the runtime wants.
fn options(arguments: Arguments) -> Result<Options, String> {
    let (Some(url), Some(user)) = (arguments.url, arguments.user) else {
        return Err("--url and --user say where to mine, and as whom".to_owned());
    };
    let endpoint: Endpoint = url.parse().map_err(|error| format!("--url: {error}"))?;
    Ok(Options {
        endpoint,
        client: ClientConfig {
            user,
            password: arguments.pass,
            version_rolling: !arguments.no_version_rolling,
            suggest_difficulty: arguments.suggest_difficulty,
            persona: arguments.persona.unwrap_or_else(Persona::honest),
        },
        threads: arguments.threads.map_or_else(|| cores().get(), usize::from),
        kernel: arguments.kernel,
        shares: arguments.shares,
        blocks: arguments.blocks,
        retries: arguments.retries,
        rate_max: arguments.max_rate,
    })
}

/// The cores that this process may use; one if the system does not say.
fn cores() -> NonZero<usize> {
    std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN)
}

/// What `bench --json` prints.
#[derive(Serialize)]
struct Rates {
    /// The fastest kernel.
    kernel: &'static str,
    /// Its millions of hashes a second, of all threads together.
    mhs: f64,
    threads: usize,
    /// The same of every kernel of this machine.
    kernels: BTreeMap<&'static str, f64>,
}

fn bench(arguments: &BenchArguments) -> ExitCode {
    let threads = arguments.threads.map_or_else(cores, NonZero::<usize>::from);
    let mut rates =
        Rates { kernel: "", mhs: 0.0, threads: threads.get(), kernels: BTreeMap::new() };
    for kernel in Kernel::all() {
        let rate = runtime::hash_rate(kernel, threads, arguments.seconds);
        // Four digits are more than a measurement is good for.
        let mhs = (rate / 1e4).round() / 1e2;
        if !arguments.json {
            print_result(&format!("{:8}{mhs:8.2} MH/s", kernel.name()));
        }
        rates.kernels.insert(kernel.name(), mhs);
        if mhs > rates.mhs {
            (rates.kernel, rates.mhs) = (kernel.name(), mhs);
        }
    }
    if arguments.json {
        print_json(&rates);
    } else {
        print_result(&format!("fastest: {}, {} threads", rates.kernel, rates.threads));
    }
    ExitCode::SUCCESS
}

/// A time that a measurement can take.
fn parse_seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.01..=3_600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("a number from 0.01 to 3600 belongs here".to_owned()),
    }
}

fn parse_persona(name: &str) -> Result<Persona, String> {
    Persona::family(name).ok_or_else(|| format!("one of {} belongs here", FAMILIES.join(", ")))
}

/// Shares a second that a pause between two shares can be made of.
fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.000_001..=1_000_000.0).contains(&rate) => Ok(rate),
        _ => Err("a number from 0.000001 to 1000000 belongs here".to_owned()),
    }
}

/// A broken assertion on a hashing thread must not leave a miner that only looks alive.
fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

/// Completes on ctrl-c and, where there is one, on SIGTERM.
async fn asked_to_stop() {
    let (asked, mut heard) = mpsc::channel(1);
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let asked = asked.clone();
        tokio::spawn(async move {
            if let Ok(mut terminated) = signal(SignalKind::terminate()) {
                terminated.recv().await;
                asked.send(()).await.ok();
            }
        });
    }
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            asked.send(()).await.ok();
        }
    });
    if heard.recv().await.is_none() {
        // No signal can be heard on this system: only a goal ends the run.
        std::future::pending::<()>().await;
    }
}

/// Prints events until the miner has ended: a line each, and on a terminal the rate in place.
async fn print_events(mut events: mpsc::Receiver<MinerEvent>) {
    let terminal = std::io::stderr().is_terminal();
    while let Some(event) = events.recv().await {
        if let MinerEvent::Rate { hashrate, accepted, rejected, blocks } = event {
            if terminal {
                print_status(&format!(
                    "{}  accepted {accepted}  rejected {rejected}  blocks {blocks}",
                    show_rate(hashrate)
                ));
            }
        } else if let Some(line) = describe(&event) {
            if terminal {
                print_status("");
            }
            print_line(&line);
        }
    }
    if terminal {
        print_status("");
    }
}

/// The line for an event; `None` for those too many to read.
fn describe(event: &MinerEvent) -> Option<String> {
    Some(match event {
        MinerEvent::Connected => "connected".to_owned(),
        MinerEvent::Subscribed { extranonce1, extranonce2_size } => format!(
            "subscribed: extranonce1 {}, {extranonce2_size} bytes of extranonce2",
            simminer::hex::encode(extranonce1)
        ),
        MinerEvent::Authorized => "authorized".to_owned(),
        MinerEvent::VersionMask(mask) => format!("version rolling: mask {mask:08x}"),
        MinerEvent::Difficulty(difficulty) => format!("difficulty {difficulty}"),
        MinerEvent::Accepted(share) if share.meets_block => format!("block {}", share.hash),
        MinerEvent::Rejected { share, code, message } => {
            let code = code.map_or_else(String::new, |code| format!(" (code {code})"));
            format!("share {} rejected: {}{code}", share.hash, message)
        }
        MinerEvent::OptionRefused { method, refusal } => {
            format!("the server refused {method}: {refusal}")
        }
        MinerEvent::Message(text) => format!("the server says: {text}"),
        MinerEvent::Complaint(complaint) => format!("strange: {complaint}"),
        MinerEvent::Disconnected { why } => format!("disconnected: {why}"),
        MinerEvent::Extranonce { .. }
        | MinerEvent::Job { .. }
        | MinerEvent::Submitted(_)
        | MinerEvent::Accepted(_)
        | MinerEvent::Rate { .. } => return None,
    })
}

/// A hash rate with the unit that makes it short.
fn show_rate(mut rate: f64) -> String {
    let mut units = ["H/s", "kH/s", "MH/s", "GH/s"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for larger in units {
        if rate < 1000.0 {
            break;
        }
        rate /= 1000.0;
        unit = larger;
    }
    format!("{rate:.2} {unit}")
}

/// What was done until an error, or nothing, with the error as the last one.
fn summary_of(error: &MinerError) -> Summary {
    let mut summary = error.summary().cloned().unwrap_or_default();
    summary.last_error = Some(error.to_string());
    summary
}

fn print_summary(summary: &Summary, json: bool) {
    if json {
        print_json(summary);
        return;
    }
    print_result(&format!(
        "{} shares accepted, {} rejected, {} blocks, {} hashes in {:.1} s ({})",
        summary.accepted,
        summary.rejected,
        summary.blocks,
        summary.hashes,
        summary.seconds,
        show_rate(summary.hashrate)
    ));
}

fn print_json(result: &impl Serialize) {
    match serde_json::to_string(result) {
        Ok(line) => print_result(&line),
        Err(error) => print_error(&format!("cannot write the result: {error}")),
    }
}

#[expect(clippy::print_stdout, reason = "the result of a command line program")]
fn print_result(line: &str) {
    println!("{line}");
}

#[expect(clippy::print_stderr, reason = "a command line program")]
fn print_line(line: &str) {
    eprintln!("{}", printable(line));
}

/// Replaces the last line of a terminal.
#[expect(clippy::print_stderr, reason = "a command line program")]
fn print_status(line: &str) {
    eprint!("\r\u{1b}[K{line}");
}

#[expect(clippy::print_stderr, reason = "a command line program")]
fn print_error(error: &str) {
    eprintln!("simminer: {}", printable(error));
}

/// A text whose control characters, which a server may have sent, do nothing to a terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(
            |character| {
                if character.is_control() { char::REPLACEMENT_CHARACTER } else { character }
            },
        )
        .collect()
}
