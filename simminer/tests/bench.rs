//! `simminer bench` and `--kernel`, as a user or a script runs them.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::process::{Command, Output};

use serde_json::Value;
use simminer::kernel::Kernel;

fn simminer(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_simminer")).args(arguments).output().unwrap()
}

#[test]
fn one_json_line_names_every_kernel_of_this_machine() {
    let output = simminer(&["bench", "--threads", "2", "--seconds", "0.05", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    let rates: Value = serde_json::from_str(&text).unwrap();
    let kernels = rates["kernels"].as_object().unwrap();
    let rate_of = |name: &str| kernels[name].as_f64().unwrap();
    let best = kernels.keys().map(|name| rate_of(name)).fold(0.0, f64::max);
    let same = |a: f64, b: f64| (a - b).abs() < 1e-9;
    assert!(same(rates["mhs"].as_f64().unwrap(), best), "{text}");
    assert!(same(rate_of(rates["kernel"].as_str().unwrap()), best), "{text}");
    assert_eq!(rates["threads"], 2);
    assert_eq!(kernels.len(), Kernel::all().count());
    assert!(Kernel::all().all(|kernel| rate_of(kernel.name()) > 0.0), "{text}");
}

#[test]
fn for_people_there_is_a_line_for_each_kernel() {
    let output = simminer(&["bench", "--threads", "1", "--seconds", "0.01"]);
    let text = String::from_utf8(output.stdout).unwrap();
    for kernel in Kernel::all() {
        assert!(text.lines().any(|line| line.starts_with(kernel.name())), "{text}");
    }
    assert!(text.contains("fastest: "), "{text}");
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    let mining = ["--url", "stratum+tcp://127.0.0.1:1", "--user", "u"];
    for (arguments, word) in [
        (&["bench", "--threads", "0"][..], "--threads"),
        (&["bench", "--seconds", "0"], "--seconds"),
        (&["bench", "--url", "stratum+tcp://127.0.0.1:1"], "--url"),
        (&["--user", "u"], "--url"),
        (&[&mining[..], &["--kernel", "gpu"]].concat(), "there is no such kernel"),
    ] {
        let output = simminer(arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(word), "{arguments:?}: {text}");
    }
}
