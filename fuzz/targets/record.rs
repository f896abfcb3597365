//! `cargo +nightly fuzz run record fuzz/corpus/record fuzz/seeds/record`
#![no_main]
#[path = "../bodies/record.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
