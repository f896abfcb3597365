//! The most common passwords, which are never taken (NIST SP 800-63B-4, section 3.1.1.2; OWASP ASVS 5.0, 6.2.4).
//!
//! `blocklist/README.md` tells where the list comes from and how it is made. What is embedded is the beginning of a
//! digest of each entry, sorted, one part for passwords that are long enough to be the only factor and one for shorter
//! ones: five bytes an entry, read where the program lies in memory, nothing to be built. Two texts have the same five
//! bytes once in 2^40, so that a password which is not on the list is taken for one that is in fewer than one of ten
//! million cases.

use zeroize::{Zeroize, Zeroizing};

/// Bytes of a digest that are kept.
const KEPT: usize = 5;
/// Code points from which an entry is in the long part.
const LONG: usize = 15;

static LONG_ENTRIES: &[u8] = include_bytes!("blocklist/long.bin");
static SHORT_ENTRIES: &[u8] = include_bytes!("blocklist/short.bin");

/// Whether a password in NFC is on the list, in whatever case: "PassWord" is no other password than "password" to those
/// who guess. It is compared as a whole.
pub(super) fn is_common(password: &str) -> bool {
    let mut lower = Zeroizing::new(String::with_capacity(3 * password.len()));
    lower.extend(password.chars().flat_map(char::to_lowercase));
    let entries = if lower.chars().count() >= LONG { LONG_ENTRIES } else { SHORT_ENTRIES };
    let (entries, _) = entries.as_chunks::<KEPT>();
    entries.binary_search(&fingerprint(&lower)).is_ok()
}

/// As `examples/blocklist.rs` makes them.
fn fingerprint(lower: &str) -> [u8; KEPT] {
    let mut hasher = blake3::Hasher::new_derive_key("portcullis 2026-11 common passwords");
    hasher.update(lower.as_bytes());
    let mut out = [0; KEPT];
    hasher.finalize_xof().fill(&mut out);
    hasher.zeroize();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_long_enough_sorted_and_free_of_doubles() {
        for (entries, least) in [(LONG_ENTRIES, 9_000), (SHORT_ENTRIES, 38_000)] {
            let (entries, rest) = entries.as_chunks::<KEPT>();
            assert!(rest.is_empty() && entries.len() >= least, "{} entries", entries.len());
            assert!(entries.is_sorted_by(|a, b| a < b));
        }
        let readme = include_str!("blocklist/README.md");
        for entries in [LONG_ENTRIES, SHORT_ENTRIES] {
            let digest = blake3::hash(entries).to_hex();
            assert!(
                readme.contains(digest.as_str()),
                "the embedded list is not the one that was made: {digest}"
            );
        }
    }

    #[test]
    fn what_is_common_is_found_in_any_case_and_what_is_not_is_not() {
        for common in [
            "qwerty123456789",
            "123456789987654321",
            "1qaz2wsx3edc4rfv",
            "passwordpassword",
            "PasswordPassword",
            "PERASPERAADASTRA",
            "mailcreated5240",
            "111111111111111",
            "password",
            "PassWord",
            "12345678",
            "baseball",
            "trustno1",
            "superman",
            "iloveyou",
            "qwertyuiop",
        ] {
            assert!(is_common(common), "{common}");
        }
        for fine in [
            "",
            "correct horse battery staple",
            "passwordpasswordpass word",
            "password ",
            " password",
            "qwerty123456789\u{0}",
            "пароль пароль пароль",
        ] {
            assert!(!is_common(fine), "{fine}");
        }
        let hits = (0..20_000).filter(|number| is_common(&format!("not on any list {number}"))).count();
        assert_eq!(hits, 0);
    }
}
