//! The process `drivechain-stratum`: settings, log, panic hook, runtime, exit code.
//!
//! Exit codes: 0 done or stopped when asked, 1 could not go on or the doctor found something that
//! failed (a warning is no failure), 2 settings that cannot be used.
//!
//! **Invariant:** decides nothing about mining; a panic anywhere ends the process.

#![expect(clippy::disallowed_methods, reason = "the shell: reads the files of settings")]

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal as _, Write as _};
use std::panic::{self, PanicHookInfo};
use std::process::{self, ExitCode};
use std::{env, fs};

use server::clock::Window;
use server::journal::totals::Totals;
use server::runtime::Inherited;
use server::runtime::disk::share_log;
use server::settings::{self, Loaded, LogFormat, Settings, SettingsError, Task};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt as log, reload};

fn main() -> ExitCode {
    let environment = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .collect();
    let load = move || {
        let read = |path: &std::path::Path| fs::read_to_string(path);
        settings::load(env::args_os(), &environment, &read)
    };
    // What runs as many connections as allowed must not be stopped by a default of the system.
    server::runtime::descriptors::raise_limit();
    match load() {
        Ok(loaded) => match loaded.task {
            Task::Serve => run(loaded, load),
            Task::PrintConfig => print_config(&loaded),
            Task::Shares { window, json } => shares(&loaded, window, json),
            Task::Doctor { json } => doctor(&loaded, json),
        },
        Err(error) => refuse(&error),
    }
}

fn run(
    Loaded { settings, warnings, .. }: Loaded,
    load: impl Fn() -> Result<Loaded, SettingsError> + Send + 'static,
) -> ExitCode {
    let relevel = start_log(&settings);
    panic::set_hook(Box::new(|panic| {
        log_panic(panic);
        // Not `panic = "abort"` in the profile: that would bind the tests and the harness too.
        process::abort();
    }));
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let sockets = match Inherited::from_environment() {
        Ok(sockets) => sockets,
        Err(error) => {
            tracing::error!(
                "a socket was handed over (LISTEN_FDS) that is no TCP socket which listens: \
                 {error}; look at ListenStream in the .socket unit"
            );
            return ExitCode::FAILURE;
        }
    };
    // All tasks on this thread: a share is read, judged and answered within microseconds, and
    // handing it from thread to thread in between cost more than all three.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(
                "the system does not tell of sockets and timers ({error}), so nothing can be \
                 served; look at the limits on open files and memory"
            );
            return ExitCode::FAILURE;
        }
    };
    match runtime
        .block_on(server::runtime::serve(settings, sockets, move || reread(&load, &relevel)))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Reads the settings again. Those that cannot be used are said to be so, and change nothing.
fn reread(
    load: &impl Fn() -> Result<Loaded, SettingsError>,
    relevel: &impl Fn(&Settings),
) -> Option<Settings> {
    match load() {
        Ok(Loaded { settings, warnings, .. }) => {
            relevel(&settings);
            for warning in warnings {
                tracing::warn!("{warning}");
            }
            Some(settings)
        }
        Err(SettingsError::Invalid { problems, .. }) => {
            for problem in problems {
                tracing::error!("settings stay as they were: {problem}");
            }
            None
        }
        Err(SettingsError::Usage(usage)) => {
            tracing::error!("settings stay as they were: {usage}");
            None
        }
    }
}

/// Logs to standard error: standard output is for what was asked for. The answer changes what is
/// logged to what other settings say.
fn start_log(settings: &Settings) -> impl Fn(&Settings) + Send + 'static {
    let filter = |settings: &Settings| EnvFilter::new(&settings.log_level);
    let (filter_layer, handle) = reload::Layer::new(filter(settings));
    let form = log::layer().with_target(false).with_writer(io::stderr);
    let form = match settings.log_format {
        LogFormat::Text => {
            let wanted = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            form.with_ansi(wanted && io::stderr().is_terminal()).boxed()
        }
        LogFormat::Json => {
            let json = form.json().flatten_event(true);
            json.with_current_span(true).with_span_list(false).boxed()
        }
    };
    tracing_subscriber::registry().with(filter_layer).with(form).init();
    move |newer| {
        if let Err(error) = handle.reload(filter(newer)) {
            tracing::warn!("LOG_LEVEL stays as it was: {error}");
        }
    }
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let what = panic.payload_as_str().unwrap_or("no message");
    let place = panic.location().map_or_else(String::new, ToString::to_string);
    let advice = "this is a bug: the process stops, a restart recovers from the journal";
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        tracing::error!(%place, %backtrace, "panic: {what}; {advice}");
    } else {
        tracing::error!(%place, "panic: {what}; {advice}");
    }
}

fn print_config(loaded: &Loaded) -> ExitCode {
    say("warning", loaded.warnings.iter().map(String::as_str));
    print(&loaded.listing())
}

fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Adds up the share log. What is damaged is not added up in part.
fn shares(loaded: &Loaded, window: Window, json: bool) -> ExitCode {
    let mut totals = Totals::of(window);
    match share_log::read(&loaded.settings.data_dir, |record| totals.add(record)) {
        Ok(torn) => {
            let note = format!(
                "{torn} bytes at the end are no whole record: a write that is under way, or one \
                 that the next start will cut off"
            );
            say("note", (torn > 0).then_some(note.as_str()).into_iter());
            print(&if json { totals.json() } else { totals.table() })
        }
        Err(error) => {
            say("error", core::iter::once(error.to_string().as_str()));
            ExitCode::FAILURE
        }
    }
}

/// Looks whether mining can work.
fn doctor(loaded: &Loaded, json: bool) -> ExitCode {
    say("warning", loaded.warnings.iter().map(String::as_str));
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let error = format!("nothing can be asked, for there is no runtime: {error}");
            say("error", core::iter::once(error.as_str()));
            return ExitCode::FAILURE;
        }
    };
    let report = runtime.block_on(server::doctor::examine(&loaded.settings));
    // A host name that nobody resolves is no reason to wait.
    runtime.shutdown_background();
    let printed = print(&if json { report.json() } else { report.text() });
    if report.is_well() { printed } else { ExitCode::FAILURE }
}

fn refuse(error: &SettingsError) -> ExitCode {
    match error {
        // Clap knows what goes to standard output and what to standard error.
        SettingsError::Usage(usage) => match usage.print() {
            Ok(()) => ExitCode::from(error.exit_code()),
            Err(_) => ExitCode::FAILURE,
        },
        SettingsError::Invalid { problems, warnings } => {
            say("warning", warnings.iter().map(String::as_str));
            say("error", problems.iter().map(String::as_str));
            ExitCode::from(error.exit_code())
        }
    }
}

#[expect(clippy::print_stderr, reason = "before there is a log, and for people")]
fn say<'a>(kind: &str, lines: impl Iterator<Item = &'a str>) {
    for line in lines {
        eprintln!("{kind}: {line}");
    }
}
