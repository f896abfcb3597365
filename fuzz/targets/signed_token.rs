//! `cargo +nightly fuzz run signed_token fuzz/corpus/signed_token fuzz/seeds/signed_token`
#![no_main]
#[path = "../bodies/signed_token.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
