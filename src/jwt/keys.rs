//! Keys: the secret ones that the application holds, and the public ones that holders are given.

use super::jws::{ALGORITHM, Held};
use crate::error::{Error, Result};
use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Bytes of a seed, and of a public key.
const KEY: usize = 32;
/// What stands before the seed in a PKCS#8 document of an Ed25519 key without its public half (RFC 8410, section 7).
const PKCS8: &[u8] =
    &[0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// Most keys of one document.
const MOST_KEYS: usize = 16;
/// Longest document of public keys that is read, in bytes.
const MAX_JWKS: usize = 64 << 10;

/// Ed25519 keys that signed tokens are made with, which the application holds outside the database in its secret store.
///
/// One of them signs. The others are only published, so that holders know them: the next one before it signs, and former
/// ones until nothing that they signed is good any more. To change keys:
///
/// 1. publish the new one: `SigningKeys::new(a)?.and_next(b)?`, and wait until every holder has read
///    [`Issuer::jwks`](super::Issuer::jwks) again;
/// 2. sign with it: `SigningKeys::new(b)?.and_former(a_public)?`; the secret half of the old one can be destroyed now;
/// 3. an hour and a minute later, when no token of the old one can be believed any more: `SigningKeys::new(b)?`.
///
/// If a key has leaked, go to the last step at once and have the holders read the document again: until they have, they
/// believe what the thief signs.
///
/// A key is named by its thumbprint (RFC 7638), so that a name can not stand for two keys. `Debug` shows the names only,
/// and the secrets are wiped from memory with the last handle.
///
/// ```
/// # fn main() -> portcullis::Result<()> {
/// use portcullis::jwt::SigningKeys;
/// # let (seed, next) = ([1; 32], [2; 32]);
/// let keys = SigningKeys::new(&seed)?.and_next(&next)?;
/// assert_eq!(keys.ids().count(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SigningKeys {
    current: Arc<SigningKey>,
    /// The current one first.
    public: Vec<PublicKey>,
}

impl SigningKeys {
    /// One key, which signs: 32 random bytes (the seed of RFC 8032), or the 48 bytes of its PKCS#8 document in DER, as
    /// `openssl genpkey -algorithm ed25519 -outform DER` writes it.
    ///
    /// # Errors
    /// `InvalidInput` for anything else, and for a seed that is all zeros.
    pub fn new(secret: &[u8]) -> Result<Self> {
        let current = signing_key(secret)?;
        let public = vec![PublicKey(current.verifying_key())];
        Ok(Self { current: Arc::new(current), public })
    }

    /// The same with one more key that will sign later, given as in [`new`](Self::new), and is only published for now.
    ///
    /// # Errors
    /// As [`new`](Self::new), and `InvalidInput` for a key that is there already; `LimitExceeded` for a seventeenth key.
    pub fn and_next(self, secret: &[u8]) -> Result<Self> {
        let public = PublicKey(signing_key(secret)?.verifying_key());
        self.and(public)
    }

    /// The same with one more key that has signed, and signs no more: its public half, as
    /// [`public_keys`](Self::public_keys) gave it out.
    ///
    /// # Errors
    /// `InvalidInput` for what is no public key, or is there already; `LimitExceeded` for a seventeenth key.
    pub fn and_former(self, public: &[u8]) -> Result<Self> {
        self.and(PublicKey::new(public)?)
    }

    fn and(mut self, public: PublicKey) -> Result<Self> {
        if self.public.iter().any(|held| held.0 == public.0) {
            return Err(invalid(format!("{} is given twice", public.id())));
        }
        if self.public.len() >= MOST_KEYS {
            return Err(Error::limit(
                "signing_keys",
                format!("there are {MOST_KEYS} keys; drop former ones"),
            ));
        }
        self.public.push(public);
        Ok(self)
    }

    /// The name of the key that signs.
    #[must_use]
    pub fn current(&self) -> String {
        self.public.first().map(PublicKey::id).unwrap_or_default()
    }

    /// The names of all keys, the one that signs first.
    pub fn ids(&self) -> impl Iterator<Item = String> + '_ {
        self.public.iter().map(PublicKey::id)
    }

    /// The public halves, in the same order.
    pub fn public_keys(&self) -> impl Iterator<Item = [u8; KEY]> + '_ {
        self.public.iter().map(|key| key.0.to_bytes())
    }

    /// The document for holders.
    pub(super) fn jwks(&self) -> String {
        let keys: Vec<String> = self.public.iter().map(PublicKey::published).collect();
        format!(r#"{{"keys":[{}]}}"#, keys.join(","))
    }

    pub(super) fn sign(&self, message: &[u8]) -> Signature {
        self.current.sign(message)
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKeys")
            .field("current", &self.current())
            .field("keys", &self.ids().collect::<Vec<_>>())
            .finish()
    }
}

fn signing_key(secret: &[u8]) -> Result<SigningKey> {
    let seed = secret.strip_prefix(PKCS8).unwrap_or(secret);
    let Some(seed) = seed.first_chunk::<KEY>().filter(|_| seed.len() == KEY) else {
        return Err(invalid(format!(
            "a secret has {} bytes; it is a seed of {KEY} bytes, or its PKCS#8 document of {} bytes in DER, without the \
             public half",
            secret.len(),
            PKCS8.len() + KEY,
        )));
    };
    if seed.iter().all(|byte| *byte == 0) {
        return Err(invalid("a seed is all zeros; take random bytes".to_owned()));
    }
    Ok(SigningKey::from_bytes(&Zeroizing::new(*seed)))
}

/// The public half of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PublicKey(VerifyingKey);

impl PublicKey {
    /// # Errors
    /// `InvalidInput` for what is no point of the curve, or one that everybody can sign for.
    fn new(bytes: &[u8]) -> Result<Self> {
        let key = bytes.try_into().ok().and_then(|bytes| VerifyingKey::from_bytes(bytes).ok());
        match key.filter(|key| !key.is_weak()) {
            Some(key) => Ok(Self(key)),
            None => Err(invalid("a public key is none of Ed25519".to_owned())),
        }
    }

    /// The thumbprint: the digest of what the key must have of its JWK form, in the order of RFC 7638, section 3.2.
    pub(super) fn id(&self) -> String {
        let text = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, self.text());
        BASE64URL_NOPAD.encode(&Sha256::digest(text))
    }

    fn text(&self) -> String {
        BASE64URL_NOPAD.encode(self.0.as_bytes())
    }

    /// Its JWK form (RFC 7517; RFC 8037, section 2), in which nothing needs escaping.
    fn published(&self) -> String {
        let (x, kid) = (self.text(), self.id());
        format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}","kid":"{kid}","use":"sig","alg":"{ALGORITHM}"}}"#)
    }
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Published>,
}

/// A key of a document. Those of other kinds have other members, which are passed over.
#[derive(Deserialize)]
struct Published {
    kty: String,
    crv: Option<String>,
    x: Option<String>,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    /// The secret half, which no document for holders has.
    d: Option<serde::de::IgnoredAny>,
}

impl Published {
    /// The key, where it is one that signed tokens are made with; others of the document are for somebody else.
    fn read(&self) -> Result<Option<PublicKey>> {
        if self.d.is_some() {
            return Err(Error::invalid("jwks", "has the secret half of a key, which is compromised by that"));
        }
        let is = |member: &Option<String>, due: &str| member.as_deref().is_none_or(|member| member == due);
        let ours = self.kty == "OKP"
            && self.crv.as_deref() == Some("Ed25519")
            && is(&self.purpose, "sig")
            && is(&self.alg, ALGORITHM);
        if !ours {
            return Ok(None);
        }
        let bytes = self.x.as_ref().and_then(|x| BASE64URL_NOPAD.decode(x.as_bytes()).ok());
        let key = PublicKey::new(&bytes.unwrap_or_default()).map_err(|error| {
            Error::invalid("jwks", "has a key of Ed25519 whose `x` is none").caused_by(error)
        })?;
        Ok(is(&self.kid, &key.id()).then_some(key))
    }
}

/// The keys of a document that signed tokens are made with, ready to verify.
///
/// # Errors
/// `InvalidInput` with the field `jwks` for what is no such document, or has no such key; `LimitExceeded`.
pub(super) fn read_jwks(text: &str) -> Result<Vec<Held>> {
    if text.len() > MAX_JWKS {
        return Err(Error::limit("jwks", format!("has {} bytes; at most {MAX_JWKS} are read", text.len())));
    }
    let document: Document = serde_json::from_str(text).map_err(|error| {
        Error::invalid("jwks", "is no document of public keys (RFC 7517)").caused_by(error)
    })?;
    let mut found: Vec<PublicKey> = Vec::new();
    for key in &document.keys {
        if let Some(key) = key.read()?
            && !found.contains(&key)
        {
            found.push(key);
        }
    }
    match found.len() {
        0 => Err(Error::invalid(
            "jwks",
            "has no key of Ed25519 for signatures that is named by its thumbprint",
        )),
        1..=MOST_KEYS => Ok(found.iter().map(|key| Held::new(key.0, &key.id())).collect()),
        count => Err(Error::limit("jwks", format!("has {count} keys; at most {MOST_KEYS} are taken"))),
    }
}

fn invalid(message: String) -> Error {
    Error::invalid("signing_keys", message)
}
