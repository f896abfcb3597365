//! Published vectors, hostile strings, and what a pepper and its rotation come to.

use super::super::gate::Limits;
use super::*;
use std::time::Duration;

const ANYBODY: Source = Source::Unknown;
use crate::secret::SystemEntropy;

fn hasher(keys: Keyring) -> PasswordHasher {
    let cost = PasswordCost::danger_for_tests();
    let limits = Limits { hashes: 2, queue: 8, share: 8, blocks: 1 << 16, patience: Duration::from_secs(30) };
    let gate = Gate::new(limits);
    PasswordHasher::new(cost, gate, Arc::new(SystemEntropy), keys).unwrap()
}

fn key(number: u32) -> Keyring {
    Keyring::new(KeyId::new(number), &[u8::try_from(number).unwrap(); 32]).unwrap()
}

/// Section 5.3 of RFC 9106.
#[test]
fn argon2id_is_that_of_the_rfc() {
    let mut params = ParamsBuilder::new();
    params.m_cost(32).t_cost(3).p_cost(4).output_len(32);
    params.data(argon2::AssociatedData::new(&[4; 12]).unwrap());
    let params = params.build().unwrap();
    let (mut memory, mut output) = (vec![Block::default(); params.block_count()], [0; 32]);
    argon2id(&params, Some(&[3; 8]), &[1; 32], &[2; 16], &mut memory, &mut output).unwrap();
    let due = "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659";
    assert_eq!(data_encoding::HEXLOWER.encode(&output), due);
}

/// From the tests of the reference implementation (phc-winner-argon2, `src/test.c`).
#[test]
fn strings_of_the_reference_implementation_verify() {
    let hasher = hasher(key(1));
    for phc in [
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
        "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
    ] {
        assert!(hasher.verify("password", Some(phc), ANYBODY).unwrap(), "{phc}");
        assert!(!hasher.verify("Password", Some(phc), ANYBODY).unwrap(), "{phc}");
        assert_eq!(pepper_of(phc).unwrap(), None);
        assert!(hasher.upgrade("password", phc, ANYBODY).unwrap().is_some(), "another cost and no pepper");
    }
}

/// Strings that break the PHC form, or ask for what is not computed: none is a "no", and none costs a hash.
#[test]
fn malformed_strings_are_damage() {
    const SALT: &str = "c29tZXNhbHQ";
    const HASH: &str = "nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    let (hasher, long) = (hasher(key(1)), "A".repeat(10_000));
    let mut strings = vec![
        format!("$argon2id$v=19$m=256,t=2,p=1${SALT}${HASH}$"),
        format!("$argon2id$v=19$m=256,t=2,p=1${SALT}${HASH}="),
        format!("$argon2id$v=19$m=256,t=2,p=1${SALT}==${HASH}"),
        format!("$argon2id$v=19$m=256,t=2,p=1${SALT}${HASH}\n"),
        format!(" $argon2id$v=19$m=256,t=2,p=1${SALT}${HASH}"),
        format!("$argon2id$v=16$m=256,t=2,p=1${SALT}${HASH}"),
        format!("$argon2id$m=256,t=2,p=1${SALT}${HASH}"),
        format!("$argon2id$v=19$m=256,t=2,p=1$${HASH}"),
        format!("$argon2id$v=19$m=256,t=2,p=1${HASH}"),
        format!("$argon2id$v=19$m=256,t=2,p=1${SALT}$"),
        format!("$argon2id$v=19$m=256,t=2,p=1${SALT}$AAAA"),
        format!("$argon2id$v=19$m=256,t=2,p=1$AAAA${HASH}"),
        format!("$argon2id$v=19$m=256,t=2,p=1${SALT}${long}"),
        format!("$argon2id$v=19$m=256,t=2,p=1${long}${HASH}"),
        format!("$argon2id$v=19${long}=1${SALT}${HASH}"),
        format!("$ARGON2ID$v=19$m=256,t=2,p=1${SALT}${HASH}"),
        format!("$argon2id$v=19$m=256,t=2,p=1${SALT}${HASH}ü"),
    ];
    for params in [
        "m=256,t=2,p=1,m=8",
        "m=0256,t=2,p=1",
        "m=256,t=-2,p=1",
        "m=256,t=2,p=0",
        "m=256,t=0,p=1",
        "m=4,t=2,p=1",
        "m=8,t=2,p=16",
        "m=99999999999,t=2,p=1",
        "m=1048577,t=2,p=1",
        "m=256,t=65,p=1",
        "m=256,t=2,p=17",
        "m=256,t=2,p=1,x=1",
        "m=256,,t=2",
        "m=256;t=2",
        "m=256,t=2,p=1,keyid=AQ",
        "m=256,t=2,p=1,keyid=AAAAAAAAAAAAAAAA",
        "m=256,t=2,p=1,keyid=!",
        "m=256,t=2,p=1,data=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ] {
        strings.push(format!("$argon2id$v=19${params}${SALT}${HASH}"));
    }
    for phc in strings {
        // The feature takes what is of another scheme to the verifiers of other systems, which have vectors of their own.
        if cfg!(feature = "legacy") && is_foreign(&phc) {
            continue;
        }
        match hasher.verify("password", Some(&phc), ANYBODY) {
            Err(error) => assert_eq!(error.kind(), ErrorKind::Damaged, "{phc}"),
            Ok(verified) => panic!("{verified}: {phc}"),
        }
        let _ = pepper_of(&phc);
    }
    assert_eq!(hasher.computed(), 0);
    let shortest = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA";
    assert!(!hasher.verify("password", Some(shortest), ANYBODY).unwrap());
}

#[test]
fn a_pepper_is_needed_and_rotates_with_two_live_keys() {
    const PASSWORD: &str = "correct horse battery staple";
    let (bare, first) = (hasher(Keyring::default()), hasher(key(1)));
    let both = hasher(key(2).and_former(KeyId::new(1), &[1; 32]).unwrap());
    let second = hasher(key(2));

    let plain = bare.hash(PASSWORD, ANYBODY).unwrap();
    let old = first.upgrade(PASSWORD, &plain, ANYBODY).unwrap().unwrap();
    assert!(old.starts_with("$argon2id$v=19$m=8,t=1,p=1,keyid=AAAAAfcoAA0$"), "{old}");
    assert_eq!((pepper_of(&plain).unwrap(), pepper_of(&old).unwrap()), (None, Some(KeyId::new(1))));
    for (hasher, phc) in [(&first, &plain), (&first, &old), (&both, &old), (&both, &plain)] {
        assert!(hasher.verify(PASSWORD, Some(phc), ANYBODY).unwrap());
        assert!(!hasher.verify("correct horse battery staplE", Some(phc), ANYBODY).unwrap());
    }
    assert_eq!(first.upgrade(PASSWORD, &old, ANYBODY).unwrap(), None);

    let new = both.upgrade(PASSWORD, &old, ANYBODY).unwrap().unwrap();
    assert_eq!(pepper_of(&new).unwrap(), Some(KeyId::new(2)));
    assert!(second.verify(PASSWORD, Some(&new), ANYBODY).unwrap());
    // A hash whose key is missing, or is another one, is no "no", and costs nothing.
    let computed = second.computed();
    let other = hasher(Keyring::new(KeyId::new(1), &[9; 32]).unwrap());
    for (without, named) in [(&second, "key 1"), (&bare, "key 1"), (&other, "key 1")] {
        let error = without.verify(PASSWORD, Some(&old), ANYBODY).unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::Mismatch, Some("keys")));
        assert!(error.to_string().contains(named), "{error}");
    }
    assert_eq!(second.computed(), computed);
    // The pepper does go into the hash: without the mark it is another one.
    let stripped = new.replace(",keyid=", ",data=");
    assert!(!both.verify(PASSWORD, Some(&stripped), ANYBODY).unwrap());
    // Nobody can be told from somebody by the work.
    assert!(!both.verify(PASSWORD, None, ANYBODY).unwrap());
}

#[test]
fn passwords_are_compared_in_form_c_and_otherwise_as_they_are() {
    let hasher = hasher(Keyring::default());
    // The same text in two forms (UAX 15, figures 3 to 5), composition exclusions among them.
    for (a, b) in [
        ("\u{c5}ngstr\u{f6}m", "A\u{30a}ngstro\u{308}m"),
        ("\u{212b}", "\u{c5}"),
        ("\u{1e9b}\u{323}", "\u{17f}\u{323}\u{307}"),
        ("\u{ac00}", "\u{1100}\u{1161}"),
        ("\u{958}", "\u{915}\u{93c}"),
        ("a\u{315}\u{300}\u{5ae}\u{300}b", "a\u{315}\u{300}\u{5ae}\u{300}b"),
        ("q\u{307}\u{323}", "q\u{323}\u{307}"),
    ] {
        for (a, b) in [(a, b), (b, a)] {
            assert!(hasher.verify(b, Some(&hasher.hash(a, ANYBODY).unwrap()), ANYBODY).unwrap(), "{a} {b}");
        }
    }
    // What only the compatibility forms, case maps or space maps make equal is not.
    for (a, b) in [
        ("\u{fb01}", "fi"),
        ("\u{2460}", "1"),
        ("\u{ff21}", "A"),
        ("a", "A"),
        ("ß", "ss"),
        ("a b", "a\u{a0}b"),
        ("a", "a "),
        ("a", " a"),
        ("a\u{0}", "a"),
        ("a\u{0}b", "a\u{0}c"),
        ("a", "a\u{200d}"),
    ] {
        assert!(!hasher.verify(b, Some(&hasher.hash(a, ANYBODY).unwrap()), ANYBODY).unwrap(), "{a:?} {b:?}");
    }
    // The last byte counts, also of the longest that is taken.
    let longest = "x".repeat(MAX_PASSWORD_BYTES - 1);
    let phc = hasher.hash(&format!("{longest}a"), ANYBODY).unwrap();
    assert!(hasher.verify(&format!("{longest}a"), Some(&phc), ANYBODY).unwrap());
    assert!(!hasher.verify(&format!("{longest}b"), Some(&phc), ANYBODY).unwrap());
    assert!(!hasher.verify(&longest, Some(&phc), ANYBODY).unwrap());
    // The longest of all in form C, which is three times as long as it was given.
    let grows = "\u{1d160}".repeat(MAX_PASSWORD_BYTES / 4);
    assert!(hasher.verify(&grows, Some(&hasher.hash(&grows, ANYBODY).unwrap()), ANYBODY).unwrap());
    assert_eq!(Normal::of(&grows).unwrap().len(), 3 * MAX_PASSWORD_BYTES);
}
