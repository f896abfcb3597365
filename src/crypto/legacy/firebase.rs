//! Firebase's variant of scrypt: the project's signer key, encrypted with what scrypt makes of the password.
//!
//! The form is `$firebase-scrypt$ln=14,r=8$separator$salt$hash`: the memory cost and the rounds of the project, its salt
//! separator, and the salt and the hash of the user, all three in base64 as Firebase exports them. The signer key is the
//! project's secret and not in the database: [`Builder::firebase_signer_key`](crate::Builder::firebase_signer_key).

use super::scrypts::{self, bounded};
use super::{base64, computing, fields, malformed, numbers, same};
use crate::error::{Error, ErrorKind, Result};
use aes::Aes256;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use scrypt::Params;
use std::fmt;
use zeroize::Zeroizing;

const SCHEME: &str = "firebase-scrypt";
/// Bytes of a signer key, and so of a hash. Firebase makes keys of 64 bytes.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 16..=128;

/// The secret of a Firebase project.
pub(crate) struct SignerKey(Zeroizing<Vec<u8>>);

impl SignerKey {
    /// The key in the base64 in which Firebase shows it.
    pub(crate) fn decode(text: &str) -> Result<Self> {
        match base64(text).map(Zeroizing::new) {
            Some(key) if KEY_BYTES.contains(&key.len()) => Ok(Self(key)),
            _ => Err(Error::invalid(
                "firebase_signer_key",
                "is not the base64 of 16 to 128 bytes; take `base64_signer_key` of the project's hash parameters",
            )),
        }
    }
}

impl fmt::Debug for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// The key, or that it is missing.
pub(super) fn needs(key: Option<&SignerKey>) -> Result<&SignerKey> {
    key.ok_or_else(|| {
        Error::new(
            ErrorKind::Mismatch,
            "the password hash is of the scheme firebase-scrypt; give the project's key with \
             Builder::firebase_signer_key",
        )
        .with_field("firebase_signer_key")
    })
}

pub(super) struct Firebase {
    params: Params,
    /// The user's salt and the project's separator, which scrypt gets together.
    salt: Vec<u8>,
    expected: Vec<u8>,
}

impl Firebase {
    pub(super) fn parse(rest: &str) -> Result<Self> {
        let parts = || {
            let [cost, separator, salt, hash] = fields(rest)?;
            Some((numbers(cost, ["ln", "r"])?, base64(separator)?, base64(salt)?, base64(hash)?))
        };
        let ([log_n, r], separator, mut salt, expected) = parts().ok_or_else(|| malformed(SCHEME))?;
        if salt.is_empty() || !KEY_BYTES.contains(&expected.len()) {
            return Err(malformed(SCHEME));
        }
        salt.extend_from_slice(&separator);
        Ok(Self { params: bounded(SCHEME, log_n, r, 1)?, salt, expected })
    }

    /// Bytes that verifying it takes.
    pub(super) fn memory(&self) -> u64 {
        scrypts::memory(&self.params)
    }

    pub(super) fn verify(&self, password: &[u8], signer: &SignerKey) -> Result<bool> {
        let mut key = Zeroizing::new([0; 32]);
        scrypt::scrypt(password, &self.salt, &self.params, &mut *key)
            .map_err(|error| computing(SCHEME, error))?;
        let mut cipher = Ctr128BE::<Aes256>::new((&*key).into(), &[0; 16].into());
        let mut sealed = Zeroizing::new(signer.0.to_vec());
        cipher.apply_keystream(&mut sealed);
        Ok(same(&sealed, &self.expected))
    }
}
