//! `cargo +nightly fuzz run operations fuzz/corpus/operations fuzz/seeds/operations`
#![no_main]
#[path = "../bodies/operations.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
