//! The keys that sign notes, and those that verify them.

use super::encoding;
use crate::error::{Error, ProofFault, Result};
use crate::secret::{Entropy, random};
use ed25519_dalek::Signer;
use sha2::Digest;
use std::fmt;
use std::str::FromStr;
use zeroize::Zeroizing;

/// The byte that stands for Ed25519 before a public key, and in what a key identifier is made of.
const ED25519: u8 = 1;
const WHAT: &str = "verifier_key";

/// The first four bytes of SHA-256 over name, newline, algorithm and public key, as the specification recommends.
fn key_id(name: &str, public: &[u8]) -> u32 {
    let hasher = sha2::Sha256::new().chain_update(name).chain_update([b'\n', ED25519]).chain_update(public);
    let digest: [u8; 32] = hasher.finalize().into();
    digest.first_chunk().copied().map_or(0, u32::from_be_bytes)
}

/// An Ed25519 key that signs notes, with the name that verifiers know it by.
///
/// The secret is wiped when the key is dropped, and nothing prints it. Use it for notes only: what it signs is a text as
/// it stands.
pub struct SigningKey {
    name: String,
    id: u32,
    key: ed25519_dalek::SigningKey,
}

impl SigningKey {
    /// A new key. The name should be like an address without a scheme, say `example.com/audit`, so that nobody else has
    /// it; for the key of a log it should be the origin of its checkpoints.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a name that is empty or has spaces, a plus or
    /// control characters; [`ErrorKind::Storage`](crate::ErrorKind::Storage) when the generator fails.
    pub fn generate(name: impl Into<String>, entropy: &dyn Entropy) -> Result<Self> {
        Self::from_seed(name, &*random(entropy)?)
    }

    /// The key that belongs to a seed, which is the private key of RFC 8032.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a name that is empty or has spaces, a plus or
    /// control characters.
    pub fn from_seed(name: impl Into<String>, seed: &[u8; 32]) -> Result<Self> {
        let name = name.into();
        if !encoding::is_name(&name) {
            return Err(Error::invalid(
                "key_name",
                "the name of a key must have a character, and no spaces, plus signs or control characters",
            ));
        }
        let key = ed25519_dalek::SigningKey::from_bytes(seed);
        Ok(Self { id: key_id(&name, key.verifying_key().as_bytes()), name, key })
    }

    /// The secret itself, to be kept where secrets are kept.
    #[must_use]
    pub fn expose_seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.key.to_bytes())
    }

    /// The name that verifiers know it by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The identifier that stands before its signatures.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// What verifies its signatures.
    #[must_use]
    pub fn verifier(&self) -> VerifierKey {
        VerifierKey { name: self.name.clone(), id: self.id, key: self.key.verifying_key() }
    }

    pub(super) fn sign(&self, text: &str) -> Vec<u8> {
        self.key.sign(text.as_bytes()).to_bytes().to_vec()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}+{:08x}, <secret>)", self.name, self.id)
    }
}

/// An Ed25519 key that verifies notes: its text is `name+identifier+base64`, as Go's checksum database and C2SP write it.
///
/// ```
/// use portcullis::proof::{SigningKey, VerifierKey};
///
/// let key = SigningKey::from_seed("example.com/audit", &[7; 32])?;
/// let text = key.verifier().to_string();
/// assert_eq!(text, "example.com/audit+f80c4422+AepKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs");
/// assert_eq!(text.parse::<VerifierKey>()?, key.verifier());
/// # Ok::<(), portcullis::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: u32,
    key: ed25519_dalek::VerifyingKey,
}

impl VerifierKey {
    /// The name that its signatures have.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The identifier that stands before its signatures.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// Strictly, so that a signature is good for one text and one key only.
    pub(super) fn verify(&self, text: &str, signature: &[u8]) -> Result<()> {
        let signature = ed25519_dalek::Signature::from_slice(signature);
        signature.and_then(|signature| self.key.verify_strict(text.as_bytes(), &signature)).map_err(|_| {
            let fault = ProofFault::WrongSignature;
            Error::proof_with("note", fault, format!("{fault} (the key is {}+{:08x})", self.name, self.id))
        })
    }
}

impl FromStr for VerifierKey {
    type Err = Error;

    /// Reads the text that [`Display`](fmt::Display) writes, and no other.
    ///
    /// # Errors
    /// [`ErrorKind::Unproved`](crate::ErrorKind::Unproved) with [`ProofFault::MalformedKey`].
    fn from_str(text: &str) -> Result<Self> {
        // The base64 may have plus signs of its own.
        let mut parts = text.splitn(3, '+');
        let name = parts.next().filter(|name| encoding::is_name(name));
        let id = parts.next();
        let material = parts.next().and_then(encoding::from_base64);
        let public = material.as_deref().and_then(|bytes| match bytes.split_first() {
            Some((&ED25519, public)) => public.try_into().ok(),
            _ => None,
        });
        let key = public.and_then(|public| ed25519_dalek::VerifyingKey::from_bytes(public).ok());
        // A point that is written in another way than its own is as good as two keys; a weak one signs anything.
        let key =
            key.filter(|key| key.to_edwards().compress().as_bytes() == key.as_bytes() && !key.is_weak());
        let read = name.zip(key).map(|(name, key)| Self {
            id: key_id(name, key.as_bytes()),
            name: name.to_owned(),
            key,
        });
        read.filter(|read| id == Some(format!("{:08x}", read.id).as_str()))
            .ok_or_else(|| Error::proof(WHAT, ProofFault::MalformedKey))
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let material = [&[ED25519], self.key.as_bytes().as_slice()].concat();
        write!(f, "{}+{:08x}+{}", self.name, self.id, encoding::to_base64(&material))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}
