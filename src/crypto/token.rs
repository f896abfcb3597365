//! Tokens: a public id that finds the record, and a 256-bit secret that proves it.

use crate::error::{Error, ErrorKind, Result};
use crate::id::{ApiKeyId, DeviceId, SessionId};
use crate::secret::{Entropy, equal, random};
use base64_simd::{Out, URL_SAFE_NO_PAD};
use std::fmt;
use zeroize::Zeroizing;

/// What a token is for. It stands before the token, for people and for secret scanners, and is part of what the digest
/// covers, so that a token of one purpose is none of another.
///
/// Every token is four characters of prefix and 59 of base64url without padding, which are 8 bytes of a public number, 32
/// of a secret, and 4 of the CRC-32 (as in Ethernet and zip) of prefix, number and secret, in network order: a scanner
/// knows one by `pc[a-z]_[A-Za-z0-9_-]{59}` and is sure by the checksum, without asking anybody.
///
/// ```
/// # fn main() -> portcullis::Result<()> {
/// use portcullis::{Client, Credentials, NewUser, Portcullis, TokenPurpose};
/// let gate = Portcullis::in_memory()?;
/// gate.users().create(NewUser::new("ada").password("correct horse battery staple"))?;
/// let login = gate.login(&Credentials::password("ada", "correct horse battery staple"), &Client::new())?;
/// let text = login.token().as_str();
/// assert_eq!(TokenPurpose::recognise(text), Some(TokenPurpose::Session));
/// assert_eq!(TokenPurpose::recognise(&text.replace("pcs_", "pcl_")), None);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenPurpose {
    /// A session.
    Session,
    /// A new token for a session, and no other use.
    Refresh,
    /// An API key.
    ApiKey,
    /// A login that is not complete.
    Challenge,
    /// The proof that somebody reads the mail of an address.
    EmailVerification,
    /// A new password for one that was forgotten.
    PasswordReset,
    /// A first password for an account.
    Invitation,
    /// A login by mail.
    MagicLink,
    /// The browser that asked for a magic link.
    Browser,
    /// The end of an e-mail change at the present address.
    OldAddress,
    /// The end of an e-mail change at the new one.
    NewAddress,
    /// A device from which somebody has logged in.
    Device,
}

pub(crate) use TokenPurpose as Purpose;

const PREFIX_BYTES: usize = 4;

impl TokenPurpose {
    /// Every purpose.
    pub const ALL: &'static [Self] = &[
        Self::Session,
        Self::Refresh,
        Self::ApiKey,
        Self::Challenge,
        Self::EmailVerification,
        Self::PasswordReset,
        Self::Invitation,
        Self::MagicLink,
        Self::Browser,
        Self::OldAddress,
        Self::NewAddress,
        Self::Device,
    ];

    /// What a text is a token for, if it is one of this crate's and its checksum is right. It says nothing of whether the
    /// token was ever given out or still opens anything, and costs no look into a database.
    #[must_use]
    pub fn recognise(text: &str) -> Option<Self> {
        let purpose = *Self::ALL.iter().find(|purpose| text.starts_with(purpose.prefix()))?;
        Presented::parse_as(purpose, text).filter(Presented::is_intact).map(|_| purpose)
    }

    /// Those of one-time tokens that are sent to somebody.
    pub(crate) const OF_TICKETS: [Self; 6] = [
        Self::EmailVerification,
        Self::PasswordReset,
        Self::Invitation,
        Self::MagicLink,
        Self::OldAddress,
        Self::NewAddress,
    ];

    /// The four characters that tokens for it begin with.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Session => "pcs_",
            Self::Refresh => "pcf_",
            Self::ApiKey => "pck_",
            Self::Challenge => "pcl_",
            Self::EmailVerification => "pcv_",
            Self::PasswordReset => "pcr_",
            Self::Invitation => "pci_",
            Self::MagicLink => "pcm_",
            Self::Browser => "pcb_",
            Self::OldAddress => "pco_",
            Self::NewAddress => "pcn_",
            Self::Device => "pcd_",
        }
    }
}

pub(super) const ID_BYTES: usize = 8;
pub(super) const SECRET_BYTES: usize = 32;
const CHECK_BYTES: usize = 4;
const RAW_BYTES: usize = ID_BYTES + SECRET_BYTES + CHECK_BYTES;
/// Session ids below this one are not given out.
const SMALLEST_ID: u64 = 2;
/// How often an id is drawn: needing a second draw has a chance of 1 in 2^63.
const DRAWS: usize = 4;
const TEXT_BYTES: usize = PREFIX_BYTES + 59;

/// A session token as the client keeps it: `pcs_` and 59 characters of base64url.
///
/// It is shown once, by the login that made it; the database holds its BLAKE3 digest only. `Debug` does not show it,
/// it has no `Display`, and it wipes itself when dropped. Hand the text to the client with
/// [`as_str`](Self::as_str).
pub struct Token(pub(super) Zeroizing<String>);

impl Token {
    /// The text to hand to the client.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A fresh token: a random id, and a secret from the generator.
    pub(crate) fn mint(entropy: &dyn Entropy) -> Result<(Self, SessionId, Digest)> {
        let (text, presented) = mint(entropy, Purpose::Session)?;
        Ok((Self(text), presented.id(), presented.digest()))
    }
}

pub(super) fn mint(entropy: &dyn Entropy, purpose: Purpose) -> Result<(Zeroizing<String>, Presented)> {
    for _ in 0..DRAWS {
        let drawn = random::<{ ID_BYTES + SECRET_BYTES }>(entropy)?;
        let mut drawn = drawn;
        mark(purpose, drawn.as_mut_slice());
        let (text, presented) = assemble(purpose, &drawn);
        // The lowest ids mark free lines in the view.
        if presented.id >= SMALLEST_ID {
            return Ok((text, presented));
        }
    }
    Err(Error::new(ErrorKind::Storage, format!("the random generator gave no token id in {DRAWS} draws")))
}

/// The token of a public number and a secret.
pub(super) fn assemble(
    purpose: Purpose,
    body: &[u8; ID_BYTES + SECRET_BYTES],
) -> (Zeroizing<String>, Presented) {
    let mut raw = Zeroizing::new([0; RAW_BYTES]);
    let (sealed, check) = raw.split_at_mut(ID_BYTES + SECRET_BYTES);
    sealed.copy_from_slice(body);
    check.copy_from_slice(&checksum(purpose, body));
    let mut text = Zeroizing::new(String::with_capacity(TEXT_BYTES));
    text.push_str(purpose.prefix());
    text.push_str(&Zeroizing::new(URL_SAFE_NO_PAD.encode_to_string(raw.as_slice())));
    (text, Presented::from_raw(purpose, &raw))
}

/// Sessions and keys stand in one table by their numbers: one bit of these tells them apart.
fn mark(purpose: Purpose, body: &mut [u8]) {
    const MARK: u8 = ApiKeyId::MARK as u8;
    match (purpose, body.get_mut(ID_BYTES - 1)) {
        (Purpose::ApiKey, Some(last)) => *last |= MARK,
        (Purpose::Session, Some(last)) => *last &= !MARK,
        _ => {}
    }
}

/// For who finds a token and has no database to ask: the engine itself needs none, as the digest covers these bytes too.
fn checksum(purpose: Purpose, body: &[u8]) -> [u8; CHECK_BYTES] {
    let mut sum = crc32fast::Hasher::new();
    sum.update(purpose.prefix().as_bytes());
    sum.update(body);
    sum.finalize().to_be_bytes()
}

/// A secret that opens one thing once, such as the next step of a login: four characters that say what, and 59 of
/// base64url.
///
/// It is shown once, by the call that made it; the database holds its BLAKE3 digest only. `Debug` does not show it, it has
/// no `Display`, and it wipes itself when dropped.
pub struct OneTimeToken(Zeroizing<String>);

impl OneTimeToken {
    /// The text to hand to whoever is to come back with it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A fresh token, the number under which its record is found, and its digest.
    pub(crate) fn mint(entropy: &dyn Entropy, purpose: Purpose) -> Result<(Self, u64, Digest)> {
        let (text, presented) = mint(entropy, purpose)?;
        Ok((Self(text), presented.id, presented.digest()))
    }
}

impl AsRef<str> for OneTimeToken {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for OneTimeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneTimeToken(<secret>)")
    }
}

/// What a device presents with every login from it, so that it is known again: `pcd_` and 59 characters of base64url.
///
/// It opens nothing and replaces no password. Keep it on the device for as long as a cookie lives. It is shown once, by
/// the login that made it; the database holds its BLAKE3 digest only. `Debug` does not show it, it has no `Display`, and
/// it wipes itself when dropped.
pub struct DeviceToken(Zeroizing<String>);

impl DeviceToken {
    /// The text to keep on the device.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A fresh token, and what is stored of it.
    pub(crate) fn mint(entropy: &dyn Entropy) -> Result<(Self, DeviceProof)> {
        let (text, presented) = mint(entropy, Purpose::Device)?;
        Ok((Self(text), DeviceProof::of(&presented)))
    }
}

impl AsRef<str> for DeviceToken {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for DeviceToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceToken(<secret>)")
    }
}

/// A device token as it is presented or stored: without its secret.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeviceProof {
    pub(crate) device: DeviceId,
    pub(crate) digest: Digest,
}

impl DeviceProof {
    /// Decodes the text of a device token; `None` for anything else, of any length.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Presented::parse_as(Purpose::Device, text).as_ref().map(Self::of)
    }

    fn of(presented: &Presented) -> Self {
        Self { device: DeviceId::from_number(presented.id), digest: presented.digest() }
    }
}

impl AsRef<str> for Token {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(<secret>)")
    }
}

/// What the database keeps of a token.
#[derive(Clone, Copy)]
pub(crate) struct Digest(pub(crate) [u8; 32]);

impl PartialEq for Digest {
    /// In a time that does not depend on where they differ.
    fn eq(&self, other: &Self) -> bool {
        equal(&self.0, &other.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(..)")
    }
}

/// A token as somebody presents it, decoded and not believed yet.
pub(crate) struct Presented {
    /// Prefix, id, secret and checksum: what the digest is computed over; one block of the hash.
    hashed: [u8; PREFIX_BYTES + RAW_BYTES],
    id: u64,
}

const _: () = assert!(PREFIX_BYTES + RAW_BYTES <= blake3::BLOCK_LEN);

impl Presented {
    /// Decodes a session token's text; `None` for anything that is not one, of any length.
    #[cfg(test)]
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::parse_as(Purpose::Session, text)
    }

    /// Decodes the text of a token of that purpose.
    #[inline]
    pub(crate) fn parse_as(purpose: Purpose, text: &str) -> Option<Self> {
        let body = text.strip_prefix(purpose.prefix())?;
        if text.len() != TEXT_BYTES {
            return None;
        }
        let mut raw = [0; RAW_BYTES];
        let decoded = URL_SAFE_NO_PAD.decode(body.as_bytes(), Out::from_slice(&mut raw)).ok()?.len();
        (decoded == RAW_BYTES).then(|| Self::from_raw(purpose, &raw))
    }

    #[inline]
    fn from_raw(purpose: Purpose, raw: &[u8; RAW_BYTES]) -> Self {
        let mut hashed = [0; PREFIX_BYTES + RAW_BYTES];
        let (prefix, rest) = hashed.split_at_mut(PREFIX_BYTES);
        prefix.copy_from_slice(purpose.prefix().as_bytes());
        rest.copy_from_slice(raw);
        let id = raw.first_chunk().map_or(0, |id| u64::from_be_bytes(*id));
        Self { hashed, id }
    }

    pub(crate) fn id(&self) -> SessionId {
        SessionId::from_number(self.id)
    }

    /// The number under which the record of a one-time token is found.
    pub(crate) fn number(&self) -> u64 {
        self.id
    }

    /// The secret, and nothing else of the token.
    pub(super) fn secret(&self) -> &[u8] {
        self.hashed.get(PREFIX_BYTES + ID_BYTES..PREFIX_BYTES + ID_BYTES + SECRET_BYTES).unwrap_or_default()
    }

    /// Whether its checksum is right.
    pub(super) fn is_intact(&self) -> bool {
        let (sealed, check) = self.hashed.split_at(self.hashed.len() - CHECK_BYTES);
        let sum = Purpose::ALL.iter().find(|purpose| sealed.starts_with(purpose.prefix().as_bytes()));
        sum.is_some_and(|purpose| checksum(*purpose, sealed.get(PREFIX_BYTES..).unwrap_or_default()) == check)
    }

    pub(crate) fn digest(&self) -> Digest {
        Digest(blake3::hash(&self.hashed).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SystemEntropy;

    #[test]
    fn a_token_reads_back_and_shows_nothing() {
        let (token, id, digest) = Token::mint(&SystemEntropy).unwrap();
        let presented = Presented::parse(token.as_str()).unwrap();
        assert_eq!(presented.id(), id);
        assert!(presented.digest() == digest);
        assert!(!format!("{token:?} {digest:?}").contains(token.as_str().get(10..20).unwrap()));
        assert_eq!(token.as_str().len(), TEXT_BYTES);
    }

    #[test]
    fn a_token_of_one_purpose_is_none_of_another() {
        let (token, number, digest) = OneTimeToken::mint(&SystemEntropy, Purpose::Challenge).unwrap();
        let presented = Presented::parse_as(Purpose::Challenge, token.as_str()).unwrap();
        assert_eq!(presented.number(), number);
        assert!(presented.digest() == digest);
        assert!(Presented::parse(token.as_str()).is_none());
        let renamed = token.as_str().replacen("pcl_", "pcs_", 1);
        assert!(Presented::parse(&renamed).unwrap().digest() != digest);
        assert!(!format!("{token:?}").contains(token.as_str()));
    }

    #[test]
    fn every_flipped_bit_gives_another_digest_or_no_token() {
        let (token, _, digest) = Token::mint(&SystemEntropy).unwrap();
        for byte in 0..token.as_str().len() {
            for bit in 0..7 {
                let mut bytes = token.as_str().as_bytes().to_vec();
                bytes[byte] ^= 1 << bit;
                let text = String::from_utf8(bytes).unwrap();
                assert!(
                    Presented::parse(&text).is_none_or(|p| p.digest() != digest),
                    "byte {byte} bit {bit}"
                );
            }
        }
    }

    #[test]
    fn garbage_of_any_length_is_no_token() {
        let (token, ..) = Token::mint(&SystemEntropy).unwrap();
        for length in 0..token.as_str().len() {
            assert!(Presented::parse(token.as_str().get(..length).unwrap()).is_none());
        }
        for text in ["", "pcs_", &format!("{}A", token.as_str()), &"é".repeat(29), &"x".repeat(1 << 20)] {
            assert!(Presented::parse(text).is_none());
        }
    }
}
