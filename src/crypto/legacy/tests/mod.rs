//! Published hashes of each scheme verify, nothing near them does, and hostile ones cost nothing.

mod vectors;

use super::super::gate::{Gate, Limits, Source};
use super::*;
use crate::error::ErrorKind;
use std::time::Duration;
use vectors::{PUBLISHED, SIGNER};

fn key() -> SignerKey {
    SignerKey::decode(SIGNER).unwrap()
}

fn verify(stored: &str, password: &str) -> Result<bool> {
    verify_with(stored, password, Some(&key()))
}

fn verify_with(stored: &str, password: &str, key: Option<&SignerKey>) -> Result<bool> {
    let limits = Limits { hashes: 1, queue: 0, share: 0, blocks: 1 << 20, patience: Duration::ZERO };
    let foreign = parse(stored)?;
    let mut permit = Gate::new(limits).enter(Source::Unknown, foreign.blocks())?;
    foreign.verify(password.as_bytes(), key, &mut permit)
}

#[test]
fn published_hashes_verify_and_wrong_passwords_do_not() {
    let mut failed = Vec::new();
    for (scheme, stored, password) in PUBLISHED {
        if !check(stored, Some(&key())).is_ok_and(|found| found.0 == *scheme) {
            failed.push(format!("{stored}: {:?}", check(stored, Some(&key()))));
        }
        let wrong = format!("x{password}");
        let answers = (verify(stored, password), verify(stored, &wrong));
        if !matches!(answers, (Ok(true), Ok(false))) {
            failed.push(format!("{stored}: {answers:?}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// What the gate counts, from the parameters alone: all but 64 KiB, and nothing for what needs less.
#[test]
fn the_memory_of_a_hash_is_known_before_it_is_computed() {
    let (salt, digest) = ("c2FsdHNhbHQ", "A".repeat(43));
    let scrypt = |ln: u32, r: u32, p: u32| format!("$scrypt$ln={ln},r={r},p={p}${salt}${digest}");
    let yescrypt = |settings: &str| format!("$y${settings}$saltsalt${}", ".".repeat(43));
    let argon = |m: u32, p: u32| format!("$argon2i$v=19$m={m},t=2,p={p}${salt}${digest}");
    for (stored, blocks) in [
        (scrypt(14, 8, 5), (16 << 10) + 6 - 64),
        (scrypt(16, 8, 2), (64 << 10) + 3 - 64),
        (scrypt(18, 8, 1), (256 << 10) + 2 - 64),
        (scrypt(6, 1, 1), 0),
        // The lanes count as the table does, also where they are what is large: 128 x 8 x (1024 + 512 + 1).
        (scrypt(10, 8, 512), 1024 + 512 + 1 - 64),
        // libxcrypt's own choice: N = 2^12, r = 32.
        (yescrypt("j9T"), (16 << 10) + 16 + 12 - 64),
        (argon(65_536, 4), 64 << 10),
        (argon(100, 4), 96),
        ("$2b$12$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW".to_owned(), 0),
        ("{SSHA}0c0blFTXXNuAMHECS4uxrj3ZieMoWImr".to_owned(), 0),
    ] {
        let found = parse(&stored).unwrap().blocks();
        assert_eq!(found, blocks, "{stored}");
    }
    // A table of two blocks, and lanes that are as large.
    for (ln, r, p) in [(19, 8, 1), (1, 1 << 20, 2)] {
        assert_eq!(parse(&scrypt(ln, r, p)).err().map(|error| error.kind()), Some(ErrorKind::LimitExceeded));
    }
}

/// The last field of a string, which is the digest in every form.
fn digest_of(stored: &str) -> usize {
    stored.rfind(['$', '}']).map_or(0, |place| place + 1)
}

#[test]
fn a_flipped_character_or_a_missing_end_never_verifies() {
    for (scheme, stored, password) in PUBLISHED {
        // bcrypt of high costs would take a minute here, and there are cheap ones of each kind but passlib's.
        if stored.contains("r=1")
            || stored.contains("jC4")
            || stored.contains("ln=16")
            || stored.contains("m=65536")
        {
            continue;
        }
        let from = digest_of(stored);
        for place in [from, from + 8, (from + stored.len()) / 2] {
            let mut flipped = (*stored).to_owned().into_bytes();
            flipped[place] = if flipped[place] == b'A' { b'B' } else { b'A' };
            let flipped = String::from_utf8(flipped).unwrap();
            let answer = verify(&flipped, password);
            assert!(!matches!(answer, Ok(true)), "{scheme} {flipped}: {answer:?}");
        }
        for length in [1, stored.len() / 2, from + 1, from + 12, stored.len() - 4] {
            let Some(cut) = stored.get(..length.min(stored.len() - 1)) else { continue };
            if cut.is_empty() {
                continue;
            }
            // Half of a digest that may have any length is the digest of another setting, but what is left must prove the
            // password.
            let answer = verify(cut, "another password");
            assert!(!matches!(answer, Ok(true)), "{scheme} {cut}: {answer:?}");
            if length <= from + 12 {
                assert!(answer.is_err(), "{scheme} {cut}: {answer:?}");
            }
        }
    }
}

#[test]
fn what_asks_for_too_much_is_refused_when_it_is_read() {
    let hash32 = "A".repeat(43);
    for stored in [
        "$2b$17$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW".to_owned(),
        "$2b$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW".to_owned(),
        "$2b$99$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW".to_owned(),
        "$bcrypt-sha256$v=2,t=2b,r=31$n79VH.0Q2TMWmt3Oqt9uku$Kq4Noyk3094Y2QlB8NdRT8SvGiI4ft2".to_owned(),
        "bcrypt_sha256$$2b$30$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW".to_owned(),
        format!("pbkdf2_sha256$4294967295$salt${hash32}="),
        format!("$pbkdf2-sha256$10000001$c2FsdHNhbHQ${hash32}"),
        format!("$pbkdf2-sha256$i=4294967295$c2FsdHNhbHQ${hash32}"),
        format!("keycloak$pbkdf2-sha256$10000001$c2FsdHNhbHQ=${hash32}="),
        // 9,000,000 iterations of SHA-1 for four blocks.
        format!("keycloak$pbkdf2$9000000$c2FsdHNhbHQ=${}", "A".repeat(86)),
        "AQAAAAH/////AAAAEAABAgMEBQYHCAkKCwwNDg+yWU7rLgUwPZb1Itsmra7cbxw2EFpwpVFIEtP+JIuUEw==".to_owned(),
        format!("$scrypt$ln=31,r=8,p=1$c2FsdHNhbHQ${hash32}"),
        format!("$scrypt$ln=63,r=4294967295,p=4294967295$c2FsdHNhbHQ${hash32}"),
        format!("$scrypt$ln=4294967295,r=8,p=1$c2FsdHNhbHQ${hash32}"),
        format!("$scrypt$ln=14,r=8,p=100000$c2FsdHNhbHQ${hash32}"),
        format!("scrypt$2147483648$salt$8$1${}==", "A".repeat(86)),
        format!("$firebase-scrypt$ln=30,r=8$Bw==$c2FsdA==${}==", "A".repeat(86)),
        format!("$argon2i$v=19$m=1048576,t=1,p=1$c29tZXNhbHQ${hash32}"),
        format!("$argon2id$v=16$m=4294967295,t=1,p=1$c29tZXNhbHQ${hash32}"),
        format!("$argon2d$m=64,t=4294967295,p=1$c29tZXNhbHQ${hash32}"),
        format!("$argon2d$m=262144,t=64,p=1$c29tZXNhbHQ${hash32}"),
        format!("$argon2i$v=19$m=4096,t=1,p=500$c29tZXNhbHQ${hash32}"),
        format!("$5$rounds=999999999$saltsalt${hash32}"),
        format!("$6$rounds=1000001$saltsalt${}", "A".repeat(86)),
        format!("$y$jTT$saltsalt${hash32}"),
        format!("$y$jXT$saltsalt${hash32}"),
        // A lane count that the reference takes, and a flavour that nobody makes.
        format!("$y$j91.5$LdJMENpBABJJ3hIH${hash32}"),
    ] {
        let error = parse(&stored).err().unwrap_or_else(|| panic!("{stored} is taken"));
        assert!(matches!(error.kind(), ErrorKind::LimitExceeded | ErrorKind::InvalidInput), "{error:?}");
        assert_eq!(error.field(), Some("password_hash"));
    }
    assert!(parse(&"$".repeat(1 << 20)).is_err() && parse(&"A".repeat(513)).is_err());
}

#[test]
fn refused_schemes_are_named_and_nothing_else_is_told() {
    for (stored, name) in [
        ("{PLAIN}hunter2hunter2", "{PLAIN}"),
        ("{cleartext}hunter2", "{CLEARTEXT}"),
        ("{NOOP}hunter2", "{NOOP}"),
        ("{SHA}at+xg6SiyUovktq1redipHiJpaE=", "{SHA}"),
        ("{MD5}/F4DjTilcDIIVEHn/nAQsA==", "{MD5}"),
        ("{SMD5}UjFY34os/pnZQ3oQOzjqGu4yeXE=", "{SMD5}"),
        ("{CRYPT}dQ58WW.1980Ig", "{CRYPT}"),
        ("{SSHA}at+xg6SiyUovktq1redipHiJpaE=", "{SSHA}"),
        ("$1$dOHYPKoP$tnxS1T8Q6VVn3kpV8cN6o.", "$1$"),
        ("$apr1$dOHYPKoP$tnxS1T8Q6VVn3kpV8cN6o.", "$apr1$"),
        ("$2x$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e", "$2x$"),
        ("$P$9IQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0", "$P$"),
        ("$7$C6..../....SodiumChloride$kBGj9fHznVYFQMEn/qDCfrDevf9YDtcDdKvEqHJLV8D", "$7$"),
        ("$p5k2$1000$ZxK4ZBJCfQg=$jJZVscWtO--p1-xIZl6jhO2LKR0=", "$p5k2$"),
        ("md5$seasalt$3f86d0d3d465b7b458c231bf3555c0e3", "md5"),
        ("sha1$seasalt$cff36ea83f5706ce9aa7454e63e431fc726b2dc8", "sha1"),
        ("unsalted_md5$$88a434c88cca4e900f7874cd98123f43", "unsalted_md5"),
        ("88a434c88cca4e900f7874cd98123f43", "hexadecimal digest of 128 bits"),
        ("5baa61e4c9b93f3f0682250b6cf8331b7ee68fd8", "hexadecimal digest of 160 bits"),
        ("!aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789012", "!"),
        ("*", "*"),
    ] {
        let error = parse(stored).err().unwrap_or_else(|| panic!("{stored} is taken"));
        let text = error.to_string();
        assert!(text.contains(name) && text.contains("refused"), "{stored}: {text}");
        let secret = stored.get(digest_of(stored)..).unwrap_or_default();
        assert!(secret.len() < 2 || !format!("{error:?}").contains(secret), "{stored}: {text}");
        assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidInput, Some("password_hash")));
    }
}

#[test]
fn what_may_be_a_password_is_not_repeated() {
    for secret in [
        "hunter2",
        "correct horse battery staple",
        "$ummer$2024",
        "$ecret$wrod$x",
        "{curly}braces",
        "pa55$w0rd",
        "md6$x$y",
        "\u{1f511}",
        "a\u{0}b",
        "QUJDREVGR0g=",
        "{",
        "$",
        "$$",
        "{}",
    ] {
        let error = parse(secret).err().unwrap_or_else(|| panic!("{secret} is taken"));
        assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidInput, Some("password_hash")));
        for part in secret.split(['$', '{', '}']).filter(|part| part.len() > 3) {
            assert!(!format!("{error:?}").contains(part), "{secret}: {error:?}");
        }
    }
}

#[test]
fn a_password_beyond_72_bytes_verifies_as_it_did_with_bcrypt() {
    // libxcrypt, of 80 letters x.
    let stored = "$2b$04$abcdefghijklmnopqrstuubzadhGtS2zEF.gu0yd0opP6cVzb.e0i";
    for length in [72, 73, 80, 200, 1024] {
        assert!(verify(stored, &"x".repeat(length)).unwrap(), "{length}");
    }
    assert!(!verify(stored, &"x".repeat(71)).unwrap());
    // Where bcrypt got a digest, all of the password counts.
    let django = "bcrypt_sha256$$2a$08$NDjSAIcas.EcoxCRiArvT.MkNiPYVhrsrnJsRkLueZOoV1bsQqlmC";
    assert!(!verify(django, &format!("l\u{e8}tmein{}", "x".repeat(100))).unwrap());
}

#[test]
fn a_zero_byte_does_not_hide_the_rest_of_a_password() {
    for (stored, password) in [
        ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"),
        ("$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", "Hello world!"),
        ("$y$j75$LdJMENpBABJJ3hIHjB1Bi.$Ve4m3xXQj6CIT78tSP/FDzNIam38Z/rZlUFmHwBcrhD", "a"),
    ] {
        assert!(verify(stored, password).unwrap());
        assert!(!verify(stored, &format!("{password}\0tail")).unwrap(), "{stored}");
    }
}

#[test]
fn firebase_needs_its_key_and_the_right_one() {
    let (_, stored, password) = PUBLISHED.iter().find(|(s, ..)| *s == Scheme::FirebaseScrypt).unwrap();
    let missing = check(stored, None).unwrap_err();
    assert_eq!((missing.kind(), missing.field()), (ErrorKind::Mismatch, Some("firebase_signer_key")));
    assert!(verify_with(stored, password, None).is_err());
    let other = SignerKey::decode(&SIGNER.replace('j', "k")).unwrap();
    assert!(!verify_with(stored, password, Some(&other)).unwrap());
    assert!(SignerKey::decode("short").is_err() && SignerKey::decode("").is_err());
    assert_eq!(format!("{:?}", key()), "<secret>");
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused_without_a_word_of_it(
        stored in "[$={}a-zA-Z0-9+/.,]{0,80}|\\$(2b|5|6|y|scrypt|argon2i|pbkdf2-sha256)\\$[a-z0-9=,]{0,20}\\$[A-Za-z./]{0,30}(\\$[A-Za-z./]{0,90})?",
    ) {
        if let Err(error) = parse(&stored) {
            proptest::prop_assert_eq!(error.field(), Some("password_hash"));
            let digest = stored.get(digest_of(&stored)..).unwrap_or_default();
            proptest::prop_assert!(digest.len() < 24 || !error.to_string().contains(digest));
        }
    }
}
