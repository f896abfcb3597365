//! Secrets that wipe themselves, and the only source of randomness.

use crate::error::{Error, ErrorKind, Result};
use std::fmt;
use zeroize::Zeroizing;

/// Text that nobody may print: wiped when dropped, never shown by `Debug`, compared only through a digest.
#[derive(Clone)]
pub(crate) struct SecretText(Zeroizing<String>);

impl SecretText {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The secret itself; the name makes every use easy to find.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// Equality in a time that does not depend on where two values differ: BLAKE3's own comparison of hashes.
pub(crate) fn equal(a: &[u8; 32], b: &[u8; 32]) -> bool {
    blake3::Hash::from_bytes(*a) == *b
}

/// Where identifiers, salts and tokens come from; inject one with [`Builder::entropy`](crate::Builder::entropy).
///
/// An implementation for production must be a cryptographically secure generator.
pub trait Entropy: Send + Sync + fmt::Debug {
    /// Fills the whole buffer with random bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when the generator fails; the engine then refuses the operation and never falls back
    /// to something weaker.
    fn fill(&self, buffer: &mut [u8]) -> Result<()>;
}

/// The operating system's generator.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<()> {
        getrandom::fill(buffer).map_err(|error| {
            Error::new(ErrorKind::Storage, "the operating system's random generator failed")
                .caused_by(error.to_string())
        })
    }
}

/// Fixed-size random bytes, wiped when dropped.
pub(crate) fn random<const N: usize>(entropy: &dyn Entropy) -> Result<Zeroizing<[u8; N]>> {
    let mut bytes = Zeroizing::new([0; N]);
    entropy.fill(bytes.as_mut_slice())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_the_secret() {
        assert_eq!(format!("{:?}", SecretText::new("hunter2")), "<secret>");
    }

    #[test]
    fn random_bytes_differ_and_comparison_is_exact() {
        let (a, b) = (random::<32>(&SystemEntropy).unwrap(), random::<32>(&SystemEntropy).unwrap());
        assert!(!equal(&a, &b));
        assert!(equal(&a, &a));
    }
}
