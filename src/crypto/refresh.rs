//! Refresh tokens: each pair of tokens of a session follows from the one before it.
//!
//! The secret of a refresh token has two halves of 128 bits. The first is the mark of its family: the same in every
//! refresh token of a session, so that one which was spent is known for what it is without a row for each of them. The
//! second changes with every rotation.
//!
//! INVARIANT: what follows a token can be computed from the token and the nonce of its rotation together, and from neither
//! alone. The database has the nonce and digests of the tokens, so its reader lacks the token; whoever has found a token
//! that was spent lacks the nonce.

use super::token::{Digest, ID_BYTES, Presented, Purpose, SECRET_BYTES, Token, assemble};
use crate::error::Result;
use crate::id::SessionId;
use crate::secret::{Entropy, random};
use std::fmt;
use zeroize::{Zeroize, Zeroizing};

const MARK_BYTES: usize = 16;
const NONCE_BYTES: usize = 32;

/// What a client presents to get a new pair of tokens for its session: `pcf_` and 59 characters of base64url.
///
/// It opens nothing by itself. It is shown by the login or the refresh that made it, and by a repetition of that refresh
/// within the grace; the database holds its BLAKE3 digest only. `Debug` does not show it, it has no `Display`, and it
/// wipes itself when dropped.
pub struct RefreshToken(Zeroizing<String>);

impl RefreshToken {
    /// The text to hand to the client.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for RefreshToken {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshToken(<secret>)")
    }
}

/// A refresh token as somebody presents it, decoded and not believed yet, with what it would be known by.
pub(crate) struct PresentedRefresh {
    presented: Presented,
    pub(crate) digest: Digest,
    /// The digest of the half that it shares with all of its family.
    pub(crate) mark: Digest,
}

impl PresentedRefresh {
    /// Decodes a text; `None` for anything that is no refresh token or has suffered on its way. All that is hashed is
    /// hashed here, whatever becomes of it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Presented::parse_as(Purpose::Refresh, text).filter(Presented::is_intact).map(Self::of)
    }

    fn of(presented: Presented) -> Self {
        let mark = presented.secret().get(..MARK_BYTES).unwrap_or_default();
        let mut hasher = blake3::Hasher::new_derive_key("portcullis 2026-12 refresh token: mark of a family");
        hasher.update(&presented.number().to_be_bytes()).update(mark);
        let mark = Digest(hasher.finalize().into());
        hasher.zeroize();
        Self { digest: presented.digest(), presented, mark }
    }

    pub(crate) fn session(&self) -> SessionId {
        self.presented.id()
    }

    /// The pair that follows this token by that nonce: the same one however often it is asked for.
    pub(crate) fn successor(&self, nonce: &[u8; NONCE_BYTES]) -> Pair {
        let mut hasher = blake3::Hasher::new_derive_key("portcullis 2026-12 refresh token: successor");
        let mut derived = Zeroizing::new([0; SECRET_BYTES + SECRET_BYTES - MARK_BYTES]);
        let id = self.presented.number().to_be_bytes();
        hasher.update(&id).update(self.presented.secret()).update(nonce);
        let mut output = hasher.finalize_xof();
        output.fill(derived.as_mut_slice());
        output.zeroize();
        hasher.zeroize();
        let (access, rest) = derived.split_at(SECRET_BYTES);
        let (token, access) = assemble(Purpose::Session, &body(&id, access, &[]));
        let mark = self.presented.secret().get(..MARK_BYTES).unwrap_or_default();
        let (text, next) = assemble(Purpose::Refresh, &body(&id, mark, rest));
        Pair {
            access: Token(token),
            access_digest: access.digest(),
            refresh: RefreshToken(text),
            refresh_digest: next.digest(),
        }
    }
}

/// An access token and the refresh token that goes with it.
pub(crate) struct Pair {
    pub(crate) access: Token,
    pub(crate) access_digest: Digest,
    pub(crate) refresh: RefreshToken,
    pub(crate) refresh_digest: Digest,
}

/// The first refresh token of a session.
pub(crate) fn first_refresh(
    entropy: &dyn Entropy,
    session: SessionId,
) -> Result<(RefreshToken, PresentedRefresh)> {
    let secret = random::<SECRET_BYTES>(entropy)?;
    let id = session.get().to_be_bytes();
    let (text, presented) = assemble(Purpose::Refresh, &body(&id, secret.as_slice(), &[]));
    Ok((RefreshToken(text), PresentedRefresh::of(presented)))
}

fn body(id: &[u8; ID_BYTES], first: &[u8], second: &[u8]) -> Zeroizing<[u8; ID_BYTES + SECRET_BYTES]> {
    let mut body = Zeroizing::new([0; ID_BYTES + SECRET_BYTES]);
    let parts = id.iter().chain(first).chain(second);
    body.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SystemEntropy;

    const SESSION: SessionId = SessionId::from_number(77);

    #[test]
    fn a_pair_follows_from_a_token_and_a_nonce_and_from_nothing_less() {
        let (text, first) = first_refresh(&SystemEntropy, SESSION).unwrap();
        let again = PresentedRefresh::parse(text.as_str()).unwrap();
        assert!(again.digest == first.digest && again.mark == first.mark && again.session() == SESSION);
        let (one, two) = (first.successor(&[1; 32]), again.successor(&[1; 32]));
        assert_eq!(one.access.as_str(), two.access.as_str());
        assert_eq!(one.refresh.as_str(), two.refresh.as_str());
        assert!(one.access_digest == two.access_digest && one.refresh_digest == two.refresh_digest);

        let other = first.successor(&[2; 32]);
        assert!(other.access_digest != one.access_digest && other.refresh_digest != one.refresh_digest);
        let (_, stranger) = first_refresh(&SystemEntropy, SESSION).unwrap();
        assert!(stranger.successor(&[1; 32]).access_digest != one.access_digest);
    }

    #[test]
    fn a_family_has_one_mark_and_no_two_secrets_alike() {
        let (text, mut token) = first_refresh(&SystemEntropy, SESSION).unwrap();
        let mut seen = vec![text.as_str().to_owned()];
        for round in 0..20 {
            let pair = token.successor(&[round; 32]);
            let next = PresentedRefresh::parse(pair.refresh.as_str()).unwrap();
            assert!(next.mark == token.mark && next.digest == pair.refresh_digest);
            assert_eq!(Presented::parse(pair.access.as_str()).unwrap().id(), SESSION);
            for text in [pair.access.as_str(), pair.refresh.as_str()] {
                assert!(!seen.iter().any(|old| old == text), "{round}");
                seen.push(text.to_owned());
            }
            let [access, refresh] =
                [pair.access.as_str(), pair.refresh.as_str()].map(|text| text.get(20..40));
            assert_ne!(access, refresh);
            token = next;
        }
        let (_, other) = first_refresh(&SystemEntropy, SESSION).unwrap();
        assert!(other.mark != token.mark);
    }

    #[test]
    fn a_token_that_suffered_on_its_way_is_none() {
        let (token, _) = first_refresh(&SystemEntropy, SESSION).unwrap();
        for place in 0..token.as_str().len() {
            let mut bytes = token.as_str().as_bytes().to_vec();
            bytes[place] = if bytes[place] == b'x' { b'y' } else { b'x' };
            assert!(PresentedRefresh::parse(std::str::from_utf8(&bytes).unwrap()).is_none(), "{place}");
        }
        assert!(PresentedRefresh::parse(&token.as_str().replacen("pcf_", "pcs_", 1)).is_none());
        assert_eq!(format!("{token:?}"), "RefreshToken(<secret>)");
    }
}
