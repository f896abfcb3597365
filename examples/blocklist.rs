//! Makes the embedded list of common passwords from a ranked list: see `src/credential/blocklist/README.md`.
//!
//! `cargo run --example blocklist -- LIST src/credential/blocklist`

use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;

/// As in `src/credential/blocklist.rs`.
const KEPT: usize = 5;
const LONG: usize = 15;
/// The shortest password that any policy takes.
const SHORTEST: usize = 8;
/// How far down the ranks entries below the length of a password that is the only factor are kept.
const RANKS_OF_SHORT: usize = 100_000;

fn fingerprint(lower: &str) -> [u8; KEPT] {
    let mut hasher = blake3::Hasher::new_derive_key("portcullis 2026-11 common passwords");
    hasher.update(lower.as_bytes());
    let mut out = [0; KEPT];
    hasher.finalize_xof().fill(&mut out);
    out
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(list), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("give the ranked list, one password a line, and the folder to write to".into());
    };
    let text = std::fs::read_to_string(list)?;
    let (mut long, mut short) = (BTreeSet::new(), BTreeSet::new());
    for (rank, line) in text.lines().enumerate() {
        let lower: String = line.chars().flat_map(char::to_lowercase).collect();
        match lower.chars().count() {
            LONG.. => long.insert(fingerprint(&lower)),
            SHORTEST.. if rank < RANKS_OF_SHORT => short.insert(fingerprint(&lower)),
            _ => false,
        };
    }
    for (name, entries) in [("long.bin", &long), ("short.bin", &short)] {
        let bytes: Vec<u8> = entries.iter().flatten().copied().collect();
        std::fs::write(Path::new(&folder).join(name), &bytes)?;
        #[expect(clippy::print_stdout, reason = "a tool says what it made")]
        {
            println!("{name}: {} entries, BLAKE3 {}", entries.len(), blake3::hash(&bytes).to_hex());
        }
    }
    Ok(())
}
