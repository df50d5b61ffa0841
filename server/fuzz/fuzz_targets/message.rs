//! `tests/fuzz/message.rs` under libFuzzer.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/fuzz/message.rs"]
mod message;

fuzz_target!(|input: &[u8]| message::run(input));
