//! `tests/fuzz/framing.rs` under libFuzzer.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/fuzz/framing.rs"]
mod framing;

fuzz_target!(|input: &[u8]| framing::run(input));
