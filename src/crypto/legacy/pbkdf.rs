//! PBKDF2 (RFC 8018) in the forms of Django, Keycloak, passlib and the PHC string format; `identity` has ASP.NET's.

use super::{
    MAX_OUTPUT, MAX_PBKDF2_ITERATIONS, MIN_OUTPUT, adapted_base64, base64, fields, malformed, number, same,
    too_dear,
};
use crate::error::Result;
use pbkdf2::pbkdf2_hmac;
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use zeroize::Zeroizing;

const SCHEME: &str = "pbkdf2";

/// The digest under PBKDF2's HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prf {
    Sha1,
    Sha256,
    Sha512,
}

impl Prf {
    const fn bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    fn named(name: &str) -> Option<Self> {
        match name {
            "pbkdf2" | "pbkdf2-sha1" | "pbkdf2_sha1" => Some(Self::Sha1),
            "pbkdf2-sha256" | "pbkdf2_sha256" => Some(Self::Sha256),
            "pbkdf2-sha512" => Some(Self::Sha512),
            _ => None,
        }
    }
}

pub(super) struct Pbkdf {
    prf: Prf,
    iterations: u32,
    salt: Vec<u8>,
    expected: Vec<u8>,
}

impl Pbkdf {
    /// Holds the parts to the bounds, whatever form they came in.
    pub(super) fn new(prf: Prf, iterations: u32, salt: Vec<u8>, expected: Vec<u8>) -> Result<Self> {
        if iterations == 0 || salt.is_empty() || !(MIN_OUTPUT..=MAX_OUTPUT).contains(&expected.len()) {
            return Err(malformed(SCHEME));
        }
        let blocks = expected.len().div_ceil(prf.bytes());
        if u64::from(iterations) * blocks as u64 > MAX_PBKDF2_ITERATIONS {
            let what = format!(
                "{iterations} iterations for {blocks} blocks; at most {MAX_PBKDF2_ITERATIONS} are computed"
            );
            return Err(too_dear(SCHEME, what));
        }
        Ok(Self { prf, iterations, salt, expected })
    }

    pub(super) fn verify(&self, password: &[u8]) -> bool {
        let mut output = Zeroizing::new(vec![0; self.expected.len()]);
        match self.prf {
            Prf::Sha1 => pbkdf2_hmac::<Sha1>(password, &self.salt, self.iterations, &mut output),
            Prf::Sha256 => pbkdf2_hmac::<Sha256>(password, &self.salt, self.iterations, &mut output),
            Prf::Sha512 => pbkdf2_hmac::<Sha512>(password, &self.salt, self.iterations, &mut output),
        }
        same(&output, &self.expected)
    }

    /// One whose output is as long as its digest, as every system that lets nobody choose writes it.
    fn of_one_block(prf: Prf, iterations: u32, salt: Vec<u8>, expected: Vec<u8>) -> Result<Self> {
        if expected.len() != prf.bytes() {
            return Err(malformed(SCHEME));
        }
        Self::new(prf, iterations, salt, expected)
    }
}

/// Django: `pbkdf2_sha256$600000$salt$hash`. The salt is the text itself, the hash standard base64.
pub(super) fn django(name: &str, rest: &str) -> Result<Pbkdf> {
    let parts = || {
        let [iterations, salt, hash] = fields(rest)?;
        Some((Prf::named(name)?, number(iterations)?, salt.as_bytes().to_vec(), base64(hash)?))
    };
    let (prf, iterations, salt, expected) = parts().ok_or_else(|| malformed(SCHEME))?;
    Pbkdf::of_one_block(prf, iterations, salt, expected)
}

/// Keycloak: `keycloak$pbkdf2-sha256$27500$salt$hash`, with the values of its `credentialData` and `secretData` as they
/// are there, in base64. Keycloak wrote 64 bytes whatever the digest, later as many as the digest has.
pub(super) fn keycloak(rest: &str) -> Result<Pbkdf> {
    let parts = || {
        let [name, iterations, salt, hash] = fields(rest)?;
        Some((Prf::named(name)?, number(iterations)?, base64(salt)?, base64(hash)?))
    };
    let (prf, iterations, salt, expected) = parts().ok_or_else(|| malformed(SCHEME))?;
    Pbkdf::new(prf, iterations, salt, expected)
}

/// `$pbkdf2-sha256$29000$salt$hash` of passlib, and `$pbkdf2-sha256$i=600000,l=32$salt$hash` of the PHC string format.
pub(super) fn modular(name: &str, rest: &str) -> Result<Pbkdf> {
    let prf = Prf::named(name).ok_or_else(|| malformed(SCHEME))?;
    let [cost, salt, hash] = fields(rest).ok_or_else(|| malformed(SCHEME))?;
    if let Some(iterations) = number(cost) {
        let (salt, hash) = adapted_base64(salt).zip(adapted_base64(hash)).ok_or_else(|| malformed(SCHEME))?;
        return Pbkdf::of_one_block(prf, iterations, salt, hash);
    }
    let parts = || {
        let (iterations, length) = match cost.split_once(',') {
            None => (cost, None),
            Some((iterations, length)) => (iterations, Some(number(length.strip_prefix("l=")?)?)),
        };
        let (salt, hash) = base64(salt).zip(base64(hash))?;
        let as_said =
            length.is_none_or(|length| usize::try_from(length).is_ok_and(|length| length == hash.len()));
        as_said.then_some((number(iterations.strip_prefix("i=")?)?, salt, hash))
    };
    let (iterations, salt, expected) = parts().ok_or_else(|| malformed(SCHEME))?;
    Pbkdf::new(prf, iterations, salt, expected)
}
