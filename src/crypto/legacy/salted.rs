//! The salted digests of LDAP directories (RFC 2307 and its followers): base64 of the digest and, behind it, the salt.
//!
//! One round of a fast digest protects little. It is taken because a login replaces it, and a directory can not be left
//! otherwise.

use super::{base64, malformed, refused, same};
use crate::error::Result;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

const SCHEME: &str = "salted sha";

enum Kind {
    Sha1,
    Sha256,
    Sha512,
}

pub(super) struct Salted {
    kind: Kind,
    salt: Vec<u8>,
    expected: Vec<u8>,
}

/// What stands behind `{SSHA}`, `{SSHA256}` or `{SSHA512}`.
pub(super) fn parse(name: &str, rest: &str) -> Result<Salted> {
    let (kind, length) = match name {
        "SSHA" => (Kind::Sha1, 20),
        "SSHA256" => (Kind::Sha256, 32),
        _ => (Kind::Sha512, 64),
    };
    let bytes = base64(rest).ok_or_else(|| malformed(SCHEME))?;
    let (expected, salt) = bytes.split_at_checked(length).ok_or_else(|| malformed(SCHEME))?;
    // One that was cut off has lost its salt first.
    if salt.is_empty() {
        return Err(refused(format_args!("{{{name}}} without a salt"), super::UNSALTED));
    }
    if salt.len() < 4 {
        return Err(malformed(SCHEME));
    }
    Ok(Salted { kind, salt: salt.to_vec(), expected: expected.to_vec() })
}

impl Salted {
    pub(super) fn verify(&self, password: &[u8]) -> bool {
        fn digest<D: Digest>(password: &[u8], salt: &[u8], expected: &[u8]) -> bool {
            same(&D::new().chain_update(password).chain_update(salt).finalize(), expected)
        }
        match self.kind {
            Kind::Sha1 => digest::<Sha1>(password, &self.salt, &self.expected),
            Kind::Sha256 => digest::<Sha256>(password, &self.salt, &self.expected),
            Kind::Sha512 => digest::<Sha512>(password, &self.salt, &self.expected),
        }
    }
}
