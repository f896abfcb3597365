//! `cargo +nightly fuzz run import fuzz/corpus/import fuzz/seeds/import`
#![no_main]
#[path = "../bodies/import.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
