//! Password hashes that other systems made: read, bounded and verified, so that their users can move in and keep their
//! passwords until the next login makes an Argon2id hash.
//!
//! What cannot be verified safely is refused by the name of its scheme. No message repeats more of a string than that
//! name: a string that is no hash may be somebody's password.
//!
//! The bounds below are decided before anything is allocated or computed, so that a hostile string costs nothing. Each
//! stands above what the systems it comes from take by default, and keeps one hash to a few seconds.

mod argon;
mod firebase;
mod identity;
mod pbkdf;
mod salted;
mod scrypts;
mod unix;

#[cfg(test)]
mod tests;

pub(crate) use firebase::SignerKey;

use super::gate::Permit;
use crate::error::{Error, Result};
use argon::Argon;
use base64_simd::STANDARD_NO_PAD;
use firebase::Firebase;
use pbkdf::Pbkdf;
use salted::Salted;
use scrypts::Scrypt;
use std::fmt;
use unix::{Bcrypt, ShaCrypt, Yescrypt};

/// Longest string that is looked at, in bytes; the longest of the known forms have some 300.
const MAX_STORED: usize = 512;
/// Highest cost of bcrypt: about four seconds.
const MAX_BCRYPT_COST: u32 = 16;
/// Most iterations of PBKDF2, counted for each block of its output. OWASP asks for 1.4 million with SHA-1.
const MAX_PBKDF2_ITERATIONS: u64 = 10_000_000;
/// Most memory of scrypt and yescrypt in bytes, and of Argon2 in KiB. OWASP asks for 128 MiB of scrypt.
const MAX_MEMORY: u64 = 256 << 20;
const MAX_ARGON2_KIB: u32 = 256 << 10;
/// What a hash may have beside its memory without being counted: less than the stack of its thread. It is what bcrypt,
/// PBKDF2 and the digests need in all, and the few KiB that scrypt and yescrypt have beside their large table.
const UNCOUNTED: u64 = 64 << 10;
/// Most work of scrypt, N x r x p: four times what OWASP asks for.
const MAX_SCRYPT_WORK: u64 = 1 << 22;
/// Most work of Argon2, in KiB times passes, and its most passes and lanes.
const MAX_ARGON2_WORK: u64 = 2 << 20;
const MAX_ARGON2_PASSES: u32 = 64;
const MAX_ARGON2_LANES: u32 = 16;
/// Most rounds of SHA-crypt: a second, or six with the longest password.
const MAX_CRYPT_ROUNDS: u32 = 1_000_000;
/// Shortest output that proves a password. Of a shorter one, a string that was cut off among them, many passwords are
/// the preimage.
const MIN_OUTPUT: usize = 16;
/// Longest output that is computed.
const MAX_OUTPUT: usize = 64;

/// Whose hash it is, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Argon2,
    Bcrypt,
    Pbkdf2,
    Scrypt,
    FirebaseScrypt,
    SaltedSha,
    ShaCrypt,
    Yescrypt,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Argon2 => "argon2",
            Self::Bcrypt => "bcrypt",
            Self::Pbkdf2 => "pbkdf2",
            Self::Scrypt => "scrypt",
            Self::FirebaseScrypt => "firebase-scrypt",
            Self::SaltedSha => "salted sha",
            Self::ShaCrypt => "sha-crypt",
            Self::Yescrypt => "yescrypt",
        })
    }
}

/// A string that was read, and that may be computed.
pub(super) struct Foreign<'s>(Kind<'s>);

enum Kind<'s> {
    Argon(Argon),
    Bcrypt(Bcrypt<'s>),
    Pbkdf(Pbkdf),
    Scrypt(Scrypt),
    Firebase(Firebase),
    Salted(Salted),
    ShaCrypt(ShaCrypt<'s>),
    Yescrypt(Yescrypt<'s>),
}

impl Foreign<'_> {
    pub(super) const fn scheme(&self) -> Scheme {
        match &self.0 {
            Kind::Argon(_) => Scheme::Argon2,
            Kind::Bcrypt(_) => Scheme::Bcrypt,
            Kind::Pbkdf(_) => Scheme::Pbkdf2,
            Kind::Scrypt(_) => Scheme::Scrypt,
            Kind::Firebase(_) => Scheme::FirebaseScrypt,
            Kind::Salted(_) => Scheme::SaltedSha,
            Kind::ShaCrypt(_) => Scheme::ShaCrypt,
            Kind::Yescrypt(_) => Scheme::Yescrypt,
        }
    }

    /// Blocks of 1 KiB that verifying it takes, as far as they are counted: from its parameters alone, and never fewer
    /// than are allocated beyond [`UNCOUNTED`].
    pub(super) fn blocks(&self) -> usize {
        let bytes = match &self.0 {
            // In the permit's own memory, to the block.
            Kind::Argon(hash) => return hash.blocks(),
            Kind::Scrypt(hash) => hash.memory(),
            Kind::Firebase(hash) => hash.memory(),
            Kind::Yescrypt(hash) => hash.memory(),
            Kind::Bcrypt(_) | Kind::Pbkdf(_) | Kind::Salted(_) | Kind::ShaCrypt(_) => 0,
        };
        usize::try_from(bytes.saturating_sub(UNCOUNTED).div_ceil(1024)).unwrap_or(usize::MAX)
    }

    /// What is missing to verify it with, before any work is done.
    pub(super) fn check(&self, key: Option<&SignerKey>) -> Result<()> {
        match &self.0 {
            Kind::Firebase(_) => firebase::needs(key).map(drop),
            _ => Ok(()),
        }
    }

    /// Whether the password, in the bytes in which it was typed, belongs to the hash.
    ///
    /// INVARIANT: the permit is for [`blocks`](Self::blocks) at least, and what is allocated here takes the place of its
    /// memory.
    pub(super) fn verify(
        &self,
        password: &[u8],
        key: Option<&SignerKey>,
        permit: &mut Permit,
    ) -> Result<bool> {
        match &self.0 {
            Kind::Argon(hash) => hash.verify(password, permit.memory(hash.blocks())),
            Kind::Bcrypt(hash) => hash.verify(password),
            Kind::Pbkdf(hash) => Ok(hash.verify(password)),
            Kind::Scrypt(hash) => {
                permit.free_memory();
                hash.verify(password)
            }
            Kind::Firebase(hash) => {
                permit.free_memory();
                hash.verify(password, firebase::needs(key)?)
            }
            Kind::Salted(hash) => Ok(hash.verify(password)),
            Kind::ShaCrypt(hash) => hash.verify(password),
            Kind::Yescrypt(hash) => {
                permit.free_memory();
                hash.verify(password)
            }
        }
    }
}

/// The scheme of a string that can be verified, and its [blocks](Foreign::blocks); with what is missing, or wrong with
/// it, if it can not.
pub(super) fn check(stored: &str, key: Option<&SignerKey>) -> Result<(Scheme, usize)> {
    let found = parse(stored)?;
    found.check(key)?;
    Ok((found.scheme(), found.blocks()))
}

/// Reads a string and holds it to the bounds.
pub(super) fn parse(stored: &str) -> Result<Foreign<'_>> {
    if stored.len() > MAX_STORED {
        let message = format!("has {} bytes; the longest form that is known has {MAX_STORED}", stored.len());
        return Err(Error::invalid(FIELD, message));
    }
    if stored.is_empty() {
        return Err(Error::invalid(FIELD, "is empty; leave it out for a user without a password"));
    }
    // Quotes and blanks at the ends are what a conversion leaves behind, and no part of a hash.
    if !stored.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(unknown());
    }
    let kind = match stored.as_bytes().first() {
        Some(b'{') => braced(stored),
        Some(b'$') => modular(stored),
        _ => bare(stored),
    };
    kind.map(Foreign)
}

const FIELD: &str = "password_hash";

fn unknown() -> Error {
    Error::invalid(
        FIELD,
        "is in none of the known forms; if it is a password and no hash, give it as `password`",
    )
}

fn refused(scheme: impl fmt::Display, why: &str) -> Error {
    Error::invalid(FIELD, format!("is of the scheme {scheme}, which is refused: {why}"))
}

fn malformed(scheme: &str) -> Error {
    Error::invalid(FIELD, format!("is of the scheme {scheme} and malformed; copy it whole, as it was stored"))
}

fn too_dear(scheme: &str, what: impl fmt::Display) -> Error {
    Error::limit(FIELD, format!("is of the scheme {scheme} and asks for {what}"))
}

const PLAIN: &str = "it keeps the password itself; give it as `password`, and it is hashed";
const UNSALTED: &str = "a digest without a salt is as good as the password for whoever has a table of digests; let the \
                        user choose a new password";
const WEAK: &str = "it is too fast and too old to verify; let the user choose a new password";
const NO_CRATE: &str = "nothing well kept verifies it; let the user choose a new password";
const UNUSABLE: &str = "it marks an account without a usable password; leave it out";

/// `{SCHEME}...`, as in LDAP, Dovecot and Spring Security.
fn braced(stored: &str) -> Result<Kind<'_>> {
    let Some((name, rest)) = stored.get(1..).and_then(|rest| rest.split_once('}')) else {
        return Err(unknown());
    };
    let upper = name.to_ascii_uppercase();
    let shown = format!("{{{upper}}}");
    match upper.as_str() {
        "SSHA" | "SSHA256" | "SSHA512" => salted::parse(&upper, rest).map(Kind::Salted),
        // A label before a string that says itself what it is.
        "CRYPT" | "BCRYPT" | "BLF-CRYPT" | "SHA256-CRYPT" | "SHA512-CRYPT" | "ARGON2" | "ARGON2I"
        | "ARGON2ID" => {
            if rest.starts_with('$') {
                modular(rest)
            } else {
                Err(refused(shown, "what follows is traditional DES crypt, or nothing that is known"))
            }
        }
        "PLAIN" | "CLEARTEXT" | "CLEAR" | "NOOP" | "PLAINTEXT" => Err(refused(shown, PLAIN)),
        "SHA" | "SHA1" | "SHA256" | "SHA512" | "MD5" | "MD4" | "LANMAN" | "NTLM" | "PLAIN-MD5"
        | "PLAIN-MD4" => Err(refused(shown, UNSALTED)),
        "SMD5" | "MD5-CRYPT" | "DES-CRYPT" | "CRAM-MD5" | "DIGEST-MD5" | "HMAC-MD5" | "RPA" => {
            Err(refused(shown, WEAK))
        }
        "PBKDF2" | "SCRYPT" | "SCRAM-SHA-1" | "SCRAM-SHA-256" | "OTP" | "SKEY" | "SASL" | "KERBEROS" => {
            Err(refused(shown, NO_CRATE))
        }
        _ => Err(unknown()),
    }
}

/// `$scheme$...`: modular crypt format and PHC strings.
fn modular(stored: &str) -> Result<Kind<'_>> {
    let Some((name, rest)) = stored.get(1..).and_then(|rest| rest.split_once('$')) else {
        return Err(unknown());
    };
    match name {
        "2a" | "2b" | "2y" => Bcrypt::parse(stored).map(Kind::Bcrypt),
        "bcrypt-sha256" => Bcrypt::parse_passlib(rest).map(Kind::Bcrypt),
        "argon2i" | "argon2d" | "argon2id" => Argon::parse(stored).map(Kind::Argon),
        "pbkdf2" | "pbkdf2-sha1" | "pbkdf2-sha256" | "pbkdf2-sha512" => {
            pbkdf::modular(name, rest).map(Kind::Pbkdf)
        }
        "scrypt" => scrypts::modular(rest).map(Kind::Scrypt),
        "firebase-scrypt" => Firebase::parse(rest).map(Kind::Firebase),
        "5" | "6" => ShaCrypt::parse(stored, rest).map(Kind::ShaCrypt),
        "y" => Yescrypt::parse(stored, rest).map(Kind::Yescrypt),
        "2x" | "2" => Err(refused(
            format_args!("${name}$"),
            "these bcrypt hashes were made by an implementation that loses characters; let the user choose a new password",
        )),
        "1" => Err(refused("$1$ (MD5-crypt)", WEAK)),
        "apr1" => Err(refused("$apr1$ (Apache's MD5-crypt)", WEAK)),
        "md5" | "sha1" => Err(refused(format_args!("${name}$"), WEAK)),
        "3" => Err(refused("$3$ (NT hash)", UNSALTED)),
        "P" | "H" => Err(refused(format_args!("${name}$ (phpass)"), WEAK)),
        "S" => Err(refused("$S$ (Drupal 7)", NO_CRATE)),
        "7" => Err(refused("$7$ (scrypt of crypt(3))", NO_CRATE)),
        "gy" | "sm3" | "8" | "9" | "wp" => Err(refused(format_args!("${name}$"), NO_CRATE)),
        _ if looks_like_a_hash(name, rest) => Err(refused(format_args!("${name}$"), NO_CRATE)),
        _ => Err(unknown()),
    }
}

/// Forms that begin with a name, as Django's, or with nothing.
fn bare(stored: &str) -> Result<Kind<'_>> {
    if let Some((name, rest)) = stored.split_once('$') {
        return match name {
            "pbkdf2_sha256" | "pbkdf2_sha1" => pbkdf::django(name, rest).map(Kind::Pbkdf),
            "keycloak" => pbkdf::keycloak(rest).map(Kind::Pbkdf),
            "bcrypt" => Bcrypt::parse(rest).map(Kind::Bcrypt),
            "bcrypt_sha256" => Bcrypt::parse_django(rest).map(Kind::Bcrypt),
            "scrypt" => scrypts::django(rest).map(Kind::Scrypt),
            // `argon2$argon2id$v=19$...`: the PHC string after the first name, without its dollar.
            "argon2" => Argon::parse(stored.get(6..).unwrap_or_default()).map(Kind::Argon),
            "md5" | "sha1" => Err(refused(format_args!("{name} (Django)"), WEAK)),
            "unsalted_md5" | "unsalted_sha1" => Err(refused(format_args!("{name} (Django)"), UNSALTED)),
            "crypt" => Err(refused("crypt (Django)", WEAK)),
            _ => Err(unknown()),
        };
    }
    if stored.starts_with(['!', '*']) {
        return Err(refused(if stored.starts_with('!') { "!" } else { "*" }, UNUSABLE));
    }
    if matches!(stored.len(), 16 | 32 | 40 | 56 | 64 | 96 | 128)
        && stored.bytes().all(|byte| byte.is_ascii_hexdigit())
    {
        let scheme = format!("hexadecimal digest of {} bits", stored.len() * 4);
        return Err(refused(scheme, UNSALTED));
    }
    identity::parse(stored).map(Kind::Pbkdf)
}

/// Whether a string that begins with a name between dollars is a hash for certain, so that the name can be told.
fn looks_like_a_hash(name: &str, rest: &str) -> bool {
    let named = (1..=32).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    named && rest.contains('$') && rest.rsplit('$').next().is_some_and(|last| last.len() >= MIN_OUTPUT)
}

/// A whole number as people and programs write it: no sign, no zero in front.
fn number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = text == "0" || !text.starts_with('0');
    if digits && plain { text.parse().ok() } else { None }
}

/// The numbers of `ln=16,r=8,p=1`, in this order and no others.
fn numbers<const N: usize>(text: &str, names: [&str; N]) -> Option<[u32; N]> {
    let mut parts = text.split(',');
    let mut found = [0; N];
    for (slot, name) in found.iter_mut().zip(names) {
        *slot = number(parts.next()?.strip_prefix(name)?.strip_prefix('=')?)?;
    }
    parts.next().is_none().then_some(found)
}

/// Standard base64, with its padding or without.
fn base64(text: &str) -> Option<Vec<u8>> {
    let bare = text.trim_end_matches('=');
    let padding = text.len() - bare.len();
    if padding > 2 || (padding > 0 && !text.len().is_multiple_of(4)) {
        return None;
    }
    STANDARD_NO_PAD.decode_to_vec(bare).ok()
}

/// passlib's base64, which has a point for the plus sign and no padding.
fn adapted_base64(text: &str) -> Option<Vec<u8>> {
    if text.contains(['+', '=']) {
        return None;
    }
    base64(&text.replace('.', "+"))
}

/// Exactly so many fields, parted by dollars.
fn fields<const N: usize>(text: &str) -> Option<[&str; N]> {
    let mut parts = text.split('$');
    let mut found = [""; N];
    for slot in &mut found {
        *slot = parts.next()?;
    }
    parts.next().is_none().then_some(found)
}

/// Equality in a time that does not depend on where two values differ, nor on their length.
fn same(a: &[u8], b: &[u8]) -> bool {
    blake3::hash(a) == blake3::hash(b)
}

/// Whether a password can not have been given to a system that ends its texts with a zero byte.
fn has_nul(password: &[u8]) -> bool {
    password.contains(&0)
}

fn computing(scheme: &'static str, error: impl fmt::Display) -> Error {
    malformed(scheme).caused_by(error.to_string())
}
