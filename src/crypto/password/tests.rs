//! What is hashed is verified, and nothing else; what is hostile is refused before it costs anything.

use super::super::gate::Limits;
use super::*;
use crate::secret::SystemEntropy;
use std::time::Duration;

const ANYBODY: Source = Source::Unknown;

fn gate(kib: usize) -> Arc<Gate> {
    Gate::new(Limits { hashes: 2, queue: 8, share: 8, blocks: kib, patience: Duration::from_secs(30) })
}

fn hasher(cost: PasswordCost) -> PasswordHasher {
    keyed(cost, Keyring::default())
}

fn keyed(cost: PasswordCost, keys: Keyring) -> PasswordHasher {
    PasswordHasher::new(cost, gate(1 << 15), Arc::new(SystemEntropy), keys).unwrap()
}

fn cheap() -> PasswordHasher {
    hasher(PasswordCost::danger_for_tests())
}

#[test]
fn verifies_what_it_hashed_and_nothing_else() {
    let hasher = cheap();
    let phc = hasher.hash("correct horse battery staple", ANYBODY).unwrap();
    assert!(phc.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{phc}");
    assert!(hasher.verify("correct horse battery staple", Some(&phc), ANYBODY).unwrap());
    assert!(!hasher.verify("correct horse battery staplE", Some(&phc), ANYBODY).unwrap());
    assert!(!hasher.verify("correct horse battery staple", None, ANYBODY).unwrap());
    assert_ne!(phc, hasher.hash("correct horse battery staple", ANYBODY).unwrap(), "salts differ");
}

#[test]
fn the_default_cost_is_what_the_string_says() {
    let phc = hasher(PasswordCost::default()).hash("x", ANYBODY).unwrap();
    assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
}

#[test]
fn takes_strings_of_other_costs() {
    let hasher = cheap();
    let mut memory = vec![Block::default(); 64];
    let mut out = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(64, 3, 2, Some(32)).unwrap())
        .hash_password_into_with_memory(b"password", b"somesalt", &mut out, &mut memory)
        .unwrap();
    let phc = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: "m=64,t=3,p=2".parse().unwrap(),
        salt: Some(Salt::new(b"somesalt").unwrap()),
        hash: Some(Output::new(&out).unwrap()),
    };
    assert!(hasher.verify("password", Some(&phc.to_string()), ANYBODY).unwrap());
}

#[test]
fn hostile_strings_are_refused_without_computing() {
    let hasher = cheap();
    for phc in [
        "",
        "plain",
        "$argon2x$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$argon2i$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$argon2id$v=19$m=8,t=4294967295,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ",
        "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAA",
    ] {
        assert_eq!(hasher.verify("x", Some(phc), ANYBODY).unwrap_err().kind(), ErrorKind::Damaged, "{phc}");
    }
    assert_eq!(hasher.computed(), 0);
    assert_eq!(hasher.hash(&"x".repeat(1025), ANYBODY).unwrap_err().field(), Some("password"));
    assert_eq!(hasher.computed(), 0);
}
