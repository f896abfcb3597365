//! `cargo +nightly fuzz run casbin fuzz/corpus/casbin fuzz/seeds/casbin`
#![no_main]
#[path = "../bodies/casbin.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
