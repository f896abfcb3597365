//! `cargo +nightly fuzz run token fuzz/corpus/token fuzz/seeds/token`
#![no_main]
#[path = "../bodies/token.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
