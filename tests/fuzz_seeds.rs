//! The bodies of the fuzz targets, over the committed seeds and a random run that is the same every time.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that meets what it does not expect must stop"
)]

#[path = "../fuzz/bodies/casbin.rs"]
mod casbin;
#[path = "../fuzz/bodies/import.rs"]
mod import;
#[path = "../fuzz/bodies/operations.rs"]
mod operations;
#[path = "../fuzz/bodies/password_hash.rs"]
mod password_hash;
#[path = "../fuzz/bodies/proof.rs"]
mod proof;
#[path = "../fuzz/bodies/record.rs"]
mod record;
#[path = "../fuzz/bodies/signed_token.rs"]
mod signed_token;
#[path = "../fuzz/bodies/token.rs"]
mod token;

use portcullis::Entropy;
use portcullis::testing::SeededEntropy;
use std::path::Path;

/// Every seed of a target, each also cut short and with a byte changed; then random bytes.
fn check(target: &str, rounds: usize, longest: usize, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut seeds: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    seeds.sort();
    assert!(seeds.len() >= 3, "{} has {} seeds", folder.display(), seeds.len());
    for seed in seeds {
        let bytes = std::fs::read(&seed).unwrap();
        run(&bytes);
        run(&bytes[..bytes.len() / 2]);
        let mut changed = bytes;
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        run(&changed);
    }
    let random = SeededEntropy::new(17);
    for round in 0..rounds {
        let mut bytes = vec![0; round * longest / rounds];
        random.fill(&mut bytes).unwrap();
        run(&bytes);
    }
    run(&[]);
}

#[test]
fn tokens() {
    check("token", 3000, 120, token::run);
}

#[test]
fn signed_tokens() {
    check("signed_token", 3000, 120, signed_token::run);
}

#[test]
fn records() {
    check("record", 20_000, 300, record::run);
}

#[test]
fn operations() {
    check("operations", 60, 1200, operations::run);
}

#[test]
fn casbin_files() {
    check("casbin", 5000, 200, casbin::run);
}

#[test]
fn users_to_import() {
    check("import", 400, 400, import::run);
}

#[test]
fn password_hashes() {
    check("password_hash", 400, 200, password_hash::run);
}

#[test]
fn proofs() {
    check("proof", 4000, 300, proof::run);
}
