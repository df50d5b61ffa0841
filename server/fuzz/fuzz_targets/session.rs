//! `tests/fuzz/session.rs` under libFuzzer.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/fuzz/session.rs"]
mod session;
#[path = "../../tests/fuzz/world.rs"]
mod world;

fuzz_target!(|input: &[u8]| session::run(input));
