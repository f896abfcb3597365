//! The append-only log: every body has a sequence number, and the head commits to all of them.

#[cfg(feature = "sled")]
use crate::error::{Error, Result};

const DOMAIN: &str = "portcullis 2026 audit log chain";

/// The end of the log: how many bodies it holds and the digest of the chain over them.
///
/// `digest(n) = BLAKE3-derive-key(DOMAIN, digest(n-1) || n || body)`, starting from 32 zero bytes; the number and
/// the chain make any changed, dropped, inserted or swapped body give another digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) length: u64,
    pub(crate) digest: [u8; 32],
}

impl Head {
    /// The head after one more body, whose sequence number is the length before it.
    pub(crate) fn extend(&self, body: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(DOMAIN);
        hasher.update(&self.digest).update(&self.length.to_be_bytes()).update(body);
        Self { length: self.length + 1, digest: hasher.finalize().into() }
    }
}

/// As the sled backend stores it.
#[cfg(feature = "sled")]
impl Head {
    pub(crate) const BYTES: usize = 40;

    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        let (length, digest) = out.split_at_mut(8);
        length.copy_from_slice(&self.length.to_be_bytes());
        digest.copy_from_slice(&self.digest);
        out
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let parts = bytes.split_at_checked(8).and_then(|(length, digest)| {
            Some(Self {
                length: u64::from_be_bytes(length.try_into().ok()?),
                digest: digest.try_into().ok()?,
            })
        });
        parts.ok_or_else(|| Error::damaged("the head of the audit log is not 40 bytes"))
    }
}
