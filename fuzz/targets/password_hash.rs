//! `cargo +nightly fuzz run password_hash fuzz/corpus/password_hash fuzz/seeds/password_hash`
#![no_main]
#[path = "../bodies/password_hash.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
