//! `cargo +nightly fuzz run proof fuzz/corpus/proof fuzz/seeds/proof`
#![no_main]
#[path = "../bodies/proof.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
