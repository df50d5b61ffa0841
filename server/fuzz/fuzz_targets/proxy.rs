//! `tests/fuzz/proxy.rs` under libFuzzer.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/fuzz/proxy.rs"]
mod proxy;

fuzz_target!(|input: &[u8]| proxy::run(input));
