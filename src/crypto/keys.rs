//! Keys that are held outside the database: what a stolen copy of it lacks.

use crate::error::{Error, ErrorKind, Result};
use crate::secret::{Entropy, random};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use zeroize::{Zeroize, Zeroizing};

/// Bytes of a key.
const KEY: usize = 32;
/// What a sealed value begins with; another way to seal gets another number.
const FORMAT: u8 = 1;
const NONCE: usize = 24;
/// Bytes of a [`mark`](Keyring::mark).
const MARK: usize = 8;
/// The format and the mark of the key, which the seal covers, too.
const HEADER: usize = 1 + MARK;

/// Names one key of a [`Keyring`]. It is stored beside what the key was used for, so that a number must never stand for
/// two keys.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(u32);

impl KeyId {
    /// The key of that number.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({})", self.0)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {}", self.0)
    }
}

/// Secret keys that the application holds outside the database, in its secret store; hand them in with
/// [`Builder::keys`](crate::Builder::keys).
///
/// One of them is the current one: it peppers new password hashes (OWASP Password Storage Cheat Sheet, "Peppering") and
/// seals what must be read again, such as the seeds of one-time passwords. The others only open what was made with them
/// earlier. To rotate, add a new key as the current one and keep the old one until nothing uses it any more:
/// [`Users::password_keys`](crate::Users::password_keys) counts the password hashes of each key, and each login hashes
/// its password anew with the current one. Losing a key loses what was made with it, so keep a copy of each one. The open
/// does not read every hash to see whether its key is there: ask `password_keys` after a change, which tells it.
///
/// Keys have 32 bytes from a cryptographically secure generator. `Debug` shows their numbers only, and they are wiped
/// from memory with the last handle.
///
/// ```
/// # fn main() -> portcullis::Result<()> {
/// use portcullis::{KeyId, Keyring, Portcullis};
/// # let (new, old) = ([1; 32], [2; 32]);
/// let keys = Keyring::new(KeyId::new(2), &new)?.and_former(KeyId::new(1), &old)?;
/// let gate = Portcullis::builder().keys(keys).in_memory()?;
/// # drop(gate);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Keyring {
    current: Option<KeyId>,
    keys: BTreeMap<KeyId, Arc<Zeroizing<[u8; KEY]>>>,
}

impl Keyring {
    /// A ring of one key, which is the current one.
    ///
    /// # Errors
    /// `InvalidInput` for a key that does not have 32 bytes, or is all zeros.
    pub fn new(id: KeyId, key: &[u8]) -> Result<Self> {
        let mut ring = Self { current: Some(id), keys: BTreeMap::new() };
        ring.insert(id, key)?;
        Ok(ring)
    }

    /// The same with one more key, which opens what was made with it and makes nothing new.
    ///
    /// # Errors
    /// `InvalidInput` for a key that does not have 32 bytes, or is all zeros, and for a number or a key
    /// that the ring has already.
    pub fn and_former(mut self, id: KeyId, key: &[u8]) -> Result<Self> {
        self.insert(id, key)?;
        Ok(self)
    }

    fn insert(&mut self, id: KeyId, key: &[u8]) -> Result<()> {
        if key.len() != KEY {
            return Err(invalid(format!("{id} has {} bytes; a key has {KEY}", key.len())));
        }
        if key.iter().all(|byte| *byte == 0) {
            return Err(invalid(format!("{id} is all zeros; take random bytes")));
        }
        if self.keys.contains_key(&id) {
            return Err(invalid(format!("{id} is given twice; a number stands for one key for ever")));
        }
        if let Some((other, _)) = self.keys.iter().find(|(_, held)| held.as_slice() == key) {
            return Err(invalid(format!("{id} is the same key as {other}")));
        }
        // Filled where it will lie, so that no copy is left behind on the way there.
        let mut held = Arc::new(Zeroizing::new([0; KEY]));
        if let Some(place) = Arc::get_mut(&mut held) {
            place.copy_from_slice(key);
        }
        self.keys.insert(id, held);
        Ok(())
    }

    /// The key that new hashes and seals are made with; `None` for an empty ring.
    #[must_use]
    pub fn current(&self) -> Option<KeyId> {
        self.current
    }

    /// The numbers of all keys, in order.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.keys.keys().copied()
    }

    fn key(&self, id: KeyId) -> Result<&[u8; KEY]> {
        self.keys.get(&id).map(|key| &***key).ok_or_else(|| {
            Error::new(
                ErrorKind::Mismatch,
                format!("{id} is needed and not in the keyring; add it with Builder::keys"),
            )
            .with_field("keys")
        })
    }

    /// What is stored beside a thing to say which key it was made with: the key's number and four bytes of a digest of
    /// the key, so that another key under the same number is noticed and not taken for a wrong password.
    pub(crate) fn mark(&self, id: KeyId) -> Result<[u8; MARK]> {
        let check = derived("portcullis 2026-11 keyring: check of a key", self.key(id)?, &[]);
        let mut mark = [0; MARK];
        let bytes = id.0.to_be_bytes().into_iter().chain(check.iter().copied());
        mark.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
        Ok(mark)
    }

    /// The key of a mark.
    ///
    /// # Errors
    /// `Mismatch` names the key that the ring lacks, or has as another key; `Damaged` for what is no mark.
    fn marked(&self, mark: &[u8]) -> Result<(KeyId, &[u8; KEY])> {
        let id = marked_id(mark)?;
        let key = self.key(id)?;
        if self.mark(id)? != mark {
            let message = format!(
                "{id} in the keyring is not the key that was used under that number; hand in that one with \
                 Builder::keys"
            );
            return Err(Error::new(ErrorKind::Mismatch, message).with_field("keys"));
        }
        Ok((id, key))
    }

    /// The secret that goes into password hashes of this mark besides the password.
    ///
    /// # Errors
    /// As for every mark: `Mismatch` names a key that the ring lacks, or has as another key; `Damaged`.
    pub(crate) fn pepper(&self, mark: &[u8]) -> Result<Zeroizing<[u8; KEY]>> {
        let (_, key) = self.marked(mark)?;
        Ok(derived("portcullis 2026-11 keyring: pepper of password hashes", key, &[]))
    }

    /// Encrypts with the current key. The context says what the value is for, and the additional data whose it is: the
    /// value opens with the same two only.
    ///
    /// # Errors
    /// `InvalidInput` where there is no key; `Storage` where there is no randomness.
    pub(crate) fn seal(
        &self,
        context: &'static str,
        aad: &[u8],
        plain: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>> {
        let Some(id) = self.current else {
            return Err(invalid(
                "none is configured, and this is stored only sealed with one; hand in a keyring with \
                 Builder::keys"
                    .to_owned(),
            ));
        };
        let mut sealed = vec![FORMAT];
        sealed.extend_from_slice(&self.mark(id)?);
        let bound = [sealed.as_slice(), aad].concat();
        // 192 random bits repeat for nobody (draft-irtf-cfrg-xchacha, section 3.1).
        let nonce = random::<NONCE>(entropy)?;
        let body = cipher(self.key(id)?, context)
            .encrypt(&XNonce::from(*nonce), Payload { msg: plain, aad: &bound })
            .map_err(|_| Error::limit("keys", "the value is too long to be sealed"))?;
        sealed.extend_from_slice(nonce.as_slice());
        sealed.extend_from_slice(&body);
        Ok(sealed)
    }

    /// Whether a sealed value is sealed with the current key.
    pub(crate) fn is_current(&self, sealed: &[u8]) -> bool {
        let mark = self.current.and_then(|id| self.mark(id).ok());
        mark.is_some_and(|mark| sealed.get(1..HEADER) == Some(mark.as_slice()))
    }

    /// Decrypts what any key of the ring sealed for the same context and additional data.
    ///
    /// # Errors
    /// `Mismatch` names a key that the ring lacks, or has as another key; `NewerFormat`; `Damaged` for what was changed,
    /// was sealed for something else, or is no sealed value.
    pub(crate) fn open(
        &self,
        context: &'static str,
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>> {
        let parts = sealed.split_at_checked(HEADER).and_then(|(header, rest)| {
            let (format, mark) = header.split_first()?;
            let (nonce, body) = rest.split_first_chunk::<NONCE>()?;
            Some((*format, header, mark, nonce, body))
        });
        let Some((format, header, mark, nonce, body)) = parts else {
            return Err(Error::damaged(format!(
                "a sealed value has {} bytes, too few for one",
                sealed.len()
            )));
        };
        if format != FORMAT {
            let message = format!("a value is sealed in format {format}; this version opens format {FORMAT}");
            return Err(Error::new(ErrorKind::NewerFormat, message));
        }
        let (id, key) = self.marked(mark)?;
        let bound = [header, aad].concat();
        let plain = cipher(key, context).decrypt(&XNonce::from(*nonce), Payload { msg: body, aad: &bound });
        plain.map(Zeroizing::new).map_err(|_| {
            Error::damaged(format!("a value that {id} sealed was changed, or belongs to another record"))
        })
    }
}

/// The key that a mark names.
pub(crate) fn marked_id(mark: &[u8]) -> Result<KeyId> {
    match (mark.len(), mark.first_chunk()) {
        (MARK, Some(number)) => Ok(KeyId(u32::from_be_bytes(*number))),
        _ => Err(Error::damaged(format!("the mark of a key has {} bytes where {MARK} are due", mark.len()))),
    }
}

/// The key that a value is sealed with.
pub(crate) fn sealed_with(sealed: &[u8]) -> Result<KeyId> {
    marked_id(sealed.get(1..HEADER).unwrap_or_default())
}

/// A key of its own for each use, so that none of them says anything about another. The context strings of BLAKE3's key
/// derivation are constants; what varies follows the key, whose length is fixed.
fn derived(use_of: &'static str, key: &[u8; KEY], context: &[u8]) -> Zeroizing<[u8; KEY]> {
    let mut hasher = blake3::Hasher::new_derive_key(use_of);
    let mut out = Zeroizing::new([0; KEY]);
    hasher.update(key).update(context).finalize_xof().fill(out.as_mut_slice());
    hasher.zeroize();
    out
}

fn cipher(key: &[u8; KEY], context: &'static str) -> XChaCha20Poly1305 {
    let key = derived("portcullis 2026-11 keyring: sealing of values", key, context.as_bytes());
    XChaCha20Poly1305::new((&*key).into())
}

fn invalid(message: String) -> Error {
    Error::invalid("keys", message)
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("current", &self.current)
            .field("keys", &self.keys.keys().collect::<Vec<_>>())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SystemEntropy;

    const ONE: KeyId = KeyId::new(1);
    const TWO: KeyId = KeyId::new(2);

    fn ring(id: KeyId, byte: u8) -> Keyring {
        Keyring::new(id, &[byte; KEY]).unwrap()
    }

    fn seal(ring: &Keyring) -> Vec<u8> {
        ring.seal("seed", b"user 7", b"plain", &SystemEntropy).unwrap()
    }

    #[test]
    fn what_is_no_key_is_refused_and_none_is_shown() {
        for key in [&[][..], &[1; 31], &[1; 33], &[0; 32]] {
            assert_eq!(Keyring::new(ONE, key).unwrap_err().field(), Some("keys"));
        }
        for (id, key) in [(ONE, [2; 32]), (TWO, [0x5a; 32]), (TWO, [0; 32])] {
            let error = ring(ONE, 0x5a).and_former(id, &key).unwrap_err();
            assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidInput, Some("keys")));
        }
        let ring = ring(TWO, 0x5a).and_former(ONE, &[0x5b; 32]).unwrap();
        assert_eq!((ring.current(), ring.ids().collect()), (Some(TWO), vec![ONE, TWO]));
        assert_eq!(format!("{ring:?}"), "Keyring { current: Some(KeyId(2)), keys: [KeyId(1), KeyId(2)] }");
        assert_eq!(Keyring::default().current(), None);
    }

    #[test]
    fn opens_what_any_of_its_keys_sealed_and_says_which_one_is_missing() {
        let old = ring(ONE, 1);
        let sealed = seal(&old);
        let both = ring(TWO, 2).and_former(ONE, &[1; 32]).unwrap();
        for ring in [&old, &both] {
            assert_eq!(**ring.open("seed", b"user 7", &sealed).unwrap(), *b"plain");
        }
        assert_ne!(seal(&old), sealed, "nonces differ");
        for without in [ring(TWO, 2), Keyring::default()] {
            let error = without.open("seed", b"user 7", &sealed).unwrap_err();
            assert_eq!((error.kind(), error.field()), (ErrorKind::Mismatch, Some("keys")));
            assert!(error.to_string().contains("key 1 is needed"), "{error}");
        }
        let error = ring(ONE, 9).open("seed", b"user 7", &sealed).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Mismatch);
        let error = Keyring::default().seal("seed", b"", b"", &SystemEntropy).unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidInput && error.to_string().contains("Builder::keys"));
    }

    #[test]
    fn a_changed_value_opens_nothing() {
        let ring = ring(ONE, 1);
        let sealed = seal(&ring);
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!ring.open("seed", b"user 7", &changed).unwrap_err().is_denied(), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert_eq!(
                ring.open("seed", b"user 7", &sealed[..length]).unwrap_err().kind(),
                ErrorKind::Damaged
            );
        }
        for (context, aad) in
            [("code", &b"user 7"[..]), ("seed", b"user 8"), ("seed", b""), ("seedu", b"ser 7")]
        {
            assert_eq!(ring.open(context, aad, &sealed).unwrap_err().kind(), ErrorKind::Damaged);
        }
    }

    #[test]
    fn each_use_has_a_key_of_its_own() {
        let ring = ring(ONE, 1);
        let mark = ring.mark(ONE).unwrap();
        let pepper = ring.pepper(&mark).unwrap();
        assert_ne!(*pepper, [1; 32]);
        assert_ne!(pepper[..4], mark[4..]);
        assert_eq!(marked_id(&mark).unwrap(), ONE);
        assert_eq!(marked_id(&mark[..7]).unwrap_err().kind(), ErrorKind::Damaged);
        let mut other = mark;
        other[7] ^= 1;
        assert_eq!(ring.pepper(&other).unwrap_err().kind(), ErrorKind::Mismatch);
        // What was stored yesterday must open tomorrow: the derivations never change.
        assert_eq!(mark, *MARK_OF_ONES);
    }

    const MARK_OF_ONES: &[u8; 8] = &[0, 0, 0, 1, 247, 40, 0, 13];
}
