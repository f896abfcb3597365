//! Recovery codes: what a user keeps on paper for the day on which the other factors are gone.

use crate::error::Result;
use crate::secret::{Entropy, equal, random};
use std::fmt;
use zeroize::Zeroizing;

/// Characters that people can read out and type: Crockford's base 32.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// 120 bits: at 112 and more, a plain hash keeps a code (OWASP ASVS 5.0 6.5.2; NIST SP 800-63B-4 asks for 64 bits).
const CHARACTERS: usize = 24;
const GROUP: usize = 6;
const CONTEXT: &str = "portcullis 2026-11 recovery code";

/// A recovery code, in groups of six characters. It is shown once; the database holds its BLAKE3 digest only. `Debug` does
/// not show it, it has no `Display`, and it wipes itself when dropped.
pub struct RecoveryCode(Zeroizing<String>);

impl RecoveryCode {
    /// The text to show to the user, such as `7Q3ZK2-9XWTM4-P0D8RV-JH5N6C`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn mint(entropy: &dyn Entropy) -> Result<(Self, [u8; 32])> {
        let bytes = random::<CHARACTERS>(entropy)?;
        let mut plain = Zeroizing::new(String::with_capacity(CHARACTERS));
        let mut shown = Zeroizing::new(String::with_capacity(CHARACTERS + CHARACTERS / GROUP));
        for (place, byte) in bytes.iter().enumerate() {
            // 256 is a multiple of 32, so that every character is as likely as another.
            let character = ALPHABET.get(usize::from(byte % 32)).map_or('0', |c| char::from(*c));
            if place > 0 && place % GROUP == 0 {
                shown.push('-');
            }
            shown.push(character);
            plain.push(character);
        }
        let digest = digest(&plain);
        Ok((Self(shown), digest))
    }
}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode(<secret>)")
    }
}

fn digest(plain: &str) -> [u8; 32] {
    blake3::derive_key(CONTEXT, plain.as_bytes())
}

/// Which of the codes this is. Case, spaces and hyphens do not count, and letters that look like digits are read as those.
/// It takes the same time whichever it is, or none.
pub(crate) fn matching_code(digests: &[[u8; 32]], code: &str) -> Option<usize> {
    // Longer than any that is typed with separators.
    if code.len() > 4 * CHARACTERS {
        return None;
    }
    let mut plain = Zeroizing::new(String::with_capacity(4 * CHARACTERS));
    for character in code.chars().filter(|c| !matches!(c, ' ' | '-')) {
        plain.push(match character.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        });
    }
    let presented = digest(&plain);
    let mut found = None;
    for (place, kept) in digests.iter().enumerate() {
        if equal(kept, &presented) {
            found = Some(place);
        }
    }
    found.filter(|_| plain.len() == CHARACTERS)
}

/// A code to be sent: eight decimal digits, which is more than the 20 bits that OWASP ASVS 5.0 6.5.4 asks for.
pub(crate) fn sent_code(entropy: &dyn Entropy) -> Result<Zeroizing<String>> {
    const CODES: u64 = 100_000_000;
    const FAIR: u64 = u64::MAX - u64::MAX % CODES;
    loop {
        let number = u64::from_be_bytes(*random::<8>(entropy)?);
        if number < FAIR {
            return Ok(Zeroizing::new(format!("{:08}", number % CODES)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SystemEntropy;

    #[test]
    fn a_code_is_found_as_people_type_it() {
        let (mut digests, mut codes) = (Vec::new(), Vec::new());
        for _ in 0..10 {
            let (code, digest) = RecoveryCode::mint(&SystemEntropy).unwrap();
            assert_eq!(code.as_str().len(), CHARACTERS + 3);
            assert!(!format!("{code:?}").contains(code.as_str()));
            digests.push(digest);
            codes.push(code);
        }
        for (place, code) in codes.iter().enumerate() {
            let code = code.as_str();
            let typed = code.to_lowercase().replace('-', " ").replace('0', "o").replace('1', "l");
            for text in [code, &typed, &code.replace('-', "")] {
                assert_eq!(matching_code(&digests, text), Some(place), "{text}");
            }
            for bad in [code.get(1..).unwrap(), &format!("{code}0"), "", "-", &"7".repeat(1 << 20)] {
                assert_eq!(matching_code(&digests, bad), None);
            }
        }
    }

    #[test]
    fn sent_codes_have_eight_digits_and_differ() {
        let codes: std::collections::BTreeSet<String> =
            (0..1000).map(|_| sent_code(&SystemEntropy).unwrap().to_string()).collect();
        assert!(codes.len() > 990, "1,000 of 100,000,000 collide rarely");
        assert!(codes.iter().all(|code| code.len() == 8 && code.bytes().all(|b| b.is_ascii_digit())));
    }
}
