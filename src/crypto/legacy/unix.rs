//! What `crypt(3)` makes: bcrypt, SHA-crypt and yescrypt; and bcrypt behind a digest, as Django and passlib use it.
//!
//! These end a password at a zero byte. A password with one could only have been set by what stands before it, so it
//! verifies as nothing.

use super::{
    MAX_BCRYPT_COST, MAX_CRYPT_ROUNDS, MAX_MEMORY, UNCOUNTED, computing, fields, has_nul, malformed, number,
    too_dear,
};
use crate::error::Result;
use base64_simd::STANDARD;
use bcrypt::HashParts;
use hmac::{Hmac, KeyInit, Mac};
use sha_crypt::password_hash::PasswordVerifier;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use zeroize::Zeroizing;

/// What is done to a password before bcrypt.
#[derive(Clone, Copy)]
enum Before {
    /// Nothing: bcrypt itself looks at the first 72 bytes only, and so do we.
    Nothing,
    /// Django's `bcrypt_sha256`: the digest in hexadecimal.
    Hexadecimal,
    /// passlib's `bcrypt-sha256` of version 1: the digest in base64.
    Base64,
    /// passlib's version 2: in base64, and keyed with the salt.
    Keyed,
}

/// bcrypt of the prefixes 2a, 2b and 2y, which are one algorithm. 2a of OpenBSD before 2014 counted the length of a
/// password in one byte; passwords above 254 bytes that were hashed so do not verify.
pub(super) struct Bcrypt<'s> {
    before: Before,
    /// In the form `$2b$12$...`, which the crate for it verifies in constant time.
    stored: Cow<'s, str>,
}

const BCRYPT: &str = "bcrypt";

impl<'s> Bcrypt<'s> {
    pub(super) fn parse(stored: &'s str) -> Result<Self> {
        Self::new(Before::Nothing, Cow::Borrowed(stored))
    }

    /// What stands behind `bcrypt_sha256$` in Django.
    pub(super) fn parse_django(stored: &'s str) -> Result<Self> {
        Self::new(Before::Hexadecimal, Cow::Borrowed(stored))
    }

    /// What stands behind `$bcrypt-sha256$` in passlib: `v=2,t=2b,r=12$salt$hash`, or `2a,12$salt$hash` of version 1.
    pub(super) fn parse_passlib(rest: &str) -> Result<Self> {
        let [settings, salt, hash] = fields(rest).ok_or_else(|| malformed(BCRYPT))?;
        let mut settings = settings.split(',');
        let first = settings.next().unwrap_or_default();
        let (before, version) = match first.strip_prefix("v=") {
            Some("2") => (Before::Keyed, settings.next().and_then(|version| version.strip_prefix("t="))),
            Some(_) => return Err(malformed(BCRYPT)),
            None => (Before::Base64, Some(first)),
        };
        let rounds = settings.next().unwrap_or_default();
        let cost = number(rounds.strip_prefix("r=").unwrap_or(rounds));
        let (Some(version), Some(cost), None) = (version, cost, settings.next()) else {
            return Err(malformed(BCRYPT));
        };
        Self::new(before, Cow::Owned(format!("${version}${cost:02}${salt}{hash}")))
    }

    fn new(before: Before, stored: Cow<'s, str>) -> Result<Self> {
        if !["$2a$", "$2b$", "$2y$"].iter().any(|prefix| stored.starts_with(prefix)) {
            return Err(malformed(BCRYPT));
        }
        let parts: HashParts = stored.parse().map_err(|error| computing(BCRYPT, error))?;
        match parts.get_cost() {
            0..4 => Err(malformed(BCRYPT)),
            cost if cost > MAX_BCRYPT_COST => {
                Err(too_dear(BCRYPT, format!("cost {cost}; at most {MAX_BCRYPT_COST} is computed")))
            }
            _ => Ok(Self { before, stored }),
        }
    }

    pub(super) fn verify(&self, password: &[u8]) -> Result<bool> {
        let prepared = match self.before {
            Before::Nothing if has_nul(password) => return Ok(false),
            Before::Nothing => Zeroizing::new(password.to_vec()),
            Before::Hexadecimal => Zeroizing::new(hexadecimal(&Sha256::digest(password))),
            Before::Base64 => {
                Zeroizing::new(STANDARD.encode_to_string(Sha256::digest(password)).into_bytes())
            }
            Before::Keyed => {
                let salt = self.stored.get(7..29).unwrap_or_default();
                let mut mac = Hmac::<Sha256>::new_from_slice(salt.as_bytes())
                    .map_err(|error| computing(BCRYPT, error))?;
                mac.update(password);
                Zeroizing::new(STANDARD.encode_to_string(mac.finalize().into_bytes()).into_bytes())
            }
        };
        bcrypt::verify(&*prepared, &self.stored).map_err(|error| computing(BCRYPT, error))
    }
}

fn hexadecimal(digest: &[u8]) -> Vec<u8> {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    digest.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The characters of crypt's base64, in the order of their values.
fn is_crypt_base64(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/'))
}

/// `$5$` and `$6$` (Drepper, "Unix crypt using SHA-256 and SHA-512").
pub(super) struct ShaCrypt<'s>(&'s str);

const SHA_CRYPT: &str = "sha-crypt";

impl<'s> ShaCrypt<'s> {
    pub(super) fn parse(stored: &'s str, rest: &str) -> Result<Self> {
        let (rounds, rest) = match rest.strip_prefix("rounds=").and_then(|rest| rest.split_once('$')) {
            Some((rounds, rest)) => (number(rounds).ok_or_else(|| malformed(SHA_CRYPT))?, rest),
            None => (5000, rest),
        };
        if rounds > MAX_CRYPT_ROUNDS {
            let what = format!("{rounds} rounds; at most {MAX_CRYPT_ROUNDS} are computed");
            return Err(too_dear(SHA_CRYPT, what));
        }
        let [salt, hash] = fields(rest).ok_or_else(|| malformed(SHA_CRYPT))?;
        let length = if stored.starts_with("$5$") { 43 } else { 86 };
        let fits = (1..=16).contains(&salt.len()) && is_crypt_base64(salt) && is_crypt_base64(hash);
        // crypt(3) writes at least 1,000, whatever it was asked for.
        if rounds < 1000 || !fits || hash.len() != length {
            return Err(malformed(SHA_CRYPT));
        }
        Ok(Self(stored))
    }

    pub(super) fn verify(&self, password: &[u8]) -> Result<bool> {
        if has_nul(password) {
            return Ok(false);
        }
        let stored = sha_crypt::PasswordHashRef::new(self.0).map_err(|error| computing(SHA_CRYPT, error))?;
        told(SHA_CRYPT, sha_crypt::ShaCrypt::default().verify_password(password, stored))
    }
}

/// `$y$` of libxcrypt, in the flavour that it makes: the letter `j`, memory and block size, one lane.
pub(super) struct Yescrypt<'s> {
    stored: &'s str,
    memory: u64,
}

const YESCRYPT: &str = "yescrypt";
/// Bytes of the boxes that it mixes with.
const SBOXES: u64 = 12 << 10;

impl<'s> Yescrypt<'s> {
    pub(super) fn parse(stored: &'s str, rest: &str) -> Result<Self> {
        let [settings, salt, hash] = fields(rest).ok_or_else(|| malformed(YESCRYPT))?;
        let &[b'j', n, r] = settings.as_bytes() else {
            return Err(too_dear(YESCRYPT, "settings other than `j`, a memory cost and a block size"));
        };
        // Both count from one, and have one character below 48.
        let value = |character: u8| {
            let place = match character {
                b'.' | b'/' => character - b'.',
                b'0'..=b'9' => character - b'0' + 2,
                b'A'..=b'Z' => character - b'A' + 12,
                b'a'..=b'z' => character - b'a' + 38,
                _ => return None,
            };
            (place < 48).then_some(u32::from(place) + 1)
        };
        let (log_n, r) = value(n).zip(value(r)).ok_or_else(|| malformed(YESCRYPT))?;
        // The table, four blocks beside it, and the boxes of its one lane. The hash of the hash that it begins with takes
        // a part of that, before.
        let cells = 1u64.checked_shl(log_n).map_or(u64::MAX, |n| n.saturating_add(4));
        let memory = cells.saturating_mul(128 * u64::from(r)).saturating_add(SBOXES);
        if memory > MAX_MEMORY + UNCOUNTED {
            let what =
                format!("N = 2^{log_n} and r = {r}; at most {MAX_MEMORY} bytes (128 x N x r) are taken");
            return Err(too_dear(YESCRYPT, what));
        }
        let fits = (1..=86).contains(&salt.len()) && is_crypt_base64(salt) && is_crypt_base64(hash);
        if !fits || hash.len() != 43 {
            return Err(malformed(YESCRYPT));
        }
        Ok(Self { stored, memory })
    }

    /// Bytes that verifying it takes.
    pub(super) fn memory(&self) -> u64 {
        self.memory
    }

    pub(super) fn verify(&self, password: &[u8]) -> Result<bool> {
        if has_nul(password) {
            return Ok(false);
        }
        told(YESCRYPT, yescrypt::Yescrypt::default().verify_password(password, self.stored))
    }
}

fn told(scheme: &'static str, verified: Result<(), sha_crypt::password_hash::Error>) -> Result<bool> {
    match verified {
        Ok(()) => Ok(true),
        Err(sha_crypt::password_hash::Error::PasswordInvalid) => Ok(false),
        Err(error) => Err(computing(scheme, error)),
    }
}
