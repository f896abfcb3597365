//! The compact form of signatures (RFC 7515), with one algorithm and three header members.

use super::keys::SigningKeys;
use super::refusal::Refusal;
use crate::error::{Error, ErrorKind, Result};
use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::{SIGNATURE_LENGTH, Signature, VerifyingKey};
use serde::{Deserialize, Serialize};

/// The only algorithm (RFC 8037, section 3.1).
pub(super) const ALGORITHM: &str = "EdDSA";
/// Characters of a signature in base64url.
const SIGNATURE_TEXT: usize = 86;
/// Longest header that is looked into to say what is wrong with it.
const MAX_HEADER: usize = 1024;

/// What was signed. It stands in the header, so that the one is never taken for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// An access token (RFC 9068).
    Access,
    /// A feed of revocations.
    Revocations,
}

impl Sort {
    const fn typ(self) -> &'static str {
        match self {
            Self::Access => "at+jwt",
            Self::Revocations => "revocations+jwt",
        }
    }
}

/// The header, encoded. It has these members in this order and no others.
fn header(sort: Sort, key: &str) -> String {
    let text = format!(r#"{{"alg":"{ALGORITHM}","kid":"{key}","typ":"{}"}}"#, sort.typ());
    BASE64URL_NOPAD.encode(text.as_bytes())
}

/// A public key with the headers of what it has signed.
#[derive(Clone, Debug)]
pub(super) struct Held {
    key: VerifyingKey,
    access: String,
    revocations: String,
    id: String,
}

impl Held {
    /// The name must need no escaping in JSON, as no thumbprint does.
    pub(super) fn new(key: VerifyingKey, id: &str) -> Self {
        let (access, revocations) = (header(Sort::Access, id), header(Sort::Revocations, id));
        Self { key, access, revocations, id: id.to_owned() }
    }

    fn header(&self, sort: Sort) -> &str {
        match sort {
            Sort::Access => &self.access,
            Sort::Revocations => &self.revocations,
        }
    }
}

/// Signs what the body says.
pub(super) fn sign(keys: &SigningKeys, sort: Sort, body: &impl Serialize) -> Result<String> {
    let body = to_json(body)?;
    let mut token = header(sort, &keys.current());
    token.push('.');
    BASE64URL_NOPAD.encode_append(body.as_bytes(), &mut token);
    let signature = keys.sign(token.as_bytes());
    token.push('.');
    BASE64URL_NOPAD.encode_append(&signature.to_bytes(), &mut token);
    Ok(token)
}

/// The body of what one of the keys has signed.
///
/// Nothing is decoded before the signature is verified but the signature itself: the header is compared, as text, with
/// those that the keys sign under. So there is no algorithm to choose, no key to take from the token, and no member that
/// asks for something (RFC 8725, sections 3.1, 3.10 and 3.11; OWASP ASVS 5.0 9.1.1 to 9.1.3).
pub(super) fn open(keys: &[Held], sort: Sort, token: &str, most: usize) -> Result<Vec<u8>, Refusal> {
    if token.len() > most {
        return Err(Refusal::TooLong);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(Refusal::Malformed)?;
    let (header, body) = signed.split_once('.').ok_or(Refusal::Malformed)?;
    let held = keys.iter().find(|held| held.header(sort) == header);
    let held = held.ok_or_else(|| explain(keys, sort, header))?;
    if signature.len() != SIGNATURE_TEXT {
        return Err(Refusal::Signature);
    }
    let mut bytes = [0; SIGNATURE_LENGTH];
    BASE64URL_NOPAD.decode_mut(signature.as_bytes(), &mut bytes).map_err(|_| Refusal::Signature)?;
    held.key
        .verify_strict(signed.as_bytes(), &Signature::from_bytes(&bytes))
        .map_err(|_| Refusal::Signature)?;
    BASE64URL_NOPAD.decode(body.as_bytes()).map_err(|_| Refusal::Malformed)
}

/// What is wrong with a header that no key signs under. It is looked into for that alone: the token is refused already.
fn explain(keys: &[Held], sort: Sort, header: &str) -> Refusal {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Header {
        alg: String,
        kid: String,
        typ: String,
    }
    if header.len() > MAX_HEADER {
        return Refusal::Malformed;
    }
    let bytes = BASE64URL_NOPAD.decode(header.as_bytes()).unwrap_or_default();
    let Ok(Header { alg, kid, typ }) = serde_json::from_slice(&bytes) else { return Refusal::Malformed };
    if alg != ALGORITHM {
        return Refusal::Algorithm;
    }
    if typ != sort.typ() {
        return Refusal::Type;
    }
    match keys.iter().any(|held| held.id == kid) {
        true => Refusal::Malformed,
        false => Refusal::Key,
    }
}

pub(super) fn to_json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| {
        Error::new(ErrorKind::InvalidInput, "what is to be signed can not be written as JSON")
            .caused_by(error)
    })
}

pub(super) fn from_json<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|_| Refusal::Malformed)
}
