//! What a token says, as it is signed and as a holder reads it.

use super::refusal::Refusal;
use crate::assurance::{Assurance, Method, Methods};
use crate::clock::Timestamp;
use crate::id::{ScopeId, SessionId, UserId};
use crate::signed::HOUR;
use serde::{Deserialize, Serialize};

/// The claims as they are signed (RFC 7519, RFC 9068). Numbers that may be beyond what JavaScript counts exactly are text.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Body {
    pub(super) iss: String,
    pub(super) sub: String,
    pub(super) aud: String,
    pub(super) client_id: String,
    pub(super) exp: u64,
    pub(super) nbf: u64,
    pub(super) iat: u64,
    pub(super) jti: String,
    pub(super) sid: String,
    pub(super) auth_time: u64,
    pub(super) acr: String,
    pub(super) amr: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) entitlements: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) scope_id: Option<String>,
}

/// A feed of revocations as it is signed: all sessions that have ended and whose tokens may still be good.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FeedBody {
    pub(super) iss: String,
    pub(super) iat: u64,
    pub(super) exp: u64,
    /// The instant of the feed in milliseconds: what ended before it is in it. A feed with a lower number is older.
    pub(super) seq: u64,
    pub(super) revoked: Vec<String>,
}

/// What a token says that a [`Verifier`](super::Verifier) believes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Claims {
    /// Who it is: a number that is never given to somebody else.
    pub user: UserId,
    /// The session in which it was issued.
    pub session: SessionId,
    /// The name of this token, which no other one has.
    pub id: String,
    /// The client that it was issued to.
    pub client: String,
    /// When it was issued.
    pub issued: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
    /// When the user proved last who they are.
    pub authenticated: Timestamp,
    /// How sure that makes us: two factors, or one.
    pub assurance: Assurance,
    /// How they did, by the names of RFC 8176.
    pub methods: Vec<String>,
    /// The permissions, of those that were asked for, that the session held when the token was issued, by name.
    pub permissions: Vec<String>,
    /// The scope at which it held them; [`ScopeId::ROOT`] is everywhere.
    pub scope: ScopeId,
}

impl Claims {
    /// Whether the token says that the session held this permission without a scope. False for a token that was issued
    /// for a scope, whatever it says of that one.
    #[must_use]
    pub fn can(&self, permission: &str) -> bool {
        self.can_at(permission, ScopeId::ROOT)
    }

    /// Whether the token says that the session held this permission at exactly this scope. What was held above it does
    /// not count, because it may be denied here: ask for a token for this scope.
    #[must_use]
    pub fn can_at(&self, permission: &str, scope: ScopeId) -> bool {
        self.scope == scope && self.permissions.iter().any(|held| held == permission)
    }
}

impl TryFrom<Body> for Claims {
    type Error = Refusal;

    fn try_from(body: Body) -> Result<Self, Refusal> {
        // Even a signed token is none of ours if it would live longer than any that is issued.
        let ordered = body.iat == body.nbf && body.iat < body.exp && body.exp - body.iat <= HOUR;
        let assurance = match body.acr.as_str() {
            AAL1 => Assurance::One,
            AAL2 => Assurance::Two,
            _ => return Err(Refusal::Malformed),
        };
        if !ordered {
            return Err(Refusal::Malformed);
        }
        let scope = match body.scope_id {
            Some(text) => u32::try_from(number(&text)?).map_err(|_| Refusal::Malformed)?,
            None => ScopeId::ROOT.get(),
        };
        Ok(Self {
            user: UserId::from_number(number(&body.sub)?),
            session: SessionId::from_number(number(&body.sid)?),
            id: body.jti,
            client: body.client_id,
            issued: instant(body.iat),
            expires: instant(body.exp),
            authenticated: instant(body.auth_time),
            assurance,
            methods: body.amr,
            permissions: body.entitlements,
            scope: ScopeId::from_number(scope),
        })
    }
}

/// A number as it is signed, in its one spelling.
pub(super) fn number(text: &str) -> Result<u64, Refusal> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text).ok_or(Refusal::Malformed)
}

pub(super) fn instant(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds.saturating_mul(1000))
}

const AAL1: &str = "http://idmanagement.gov/ns/assurance/aal/1";
const AAL2: &str = "http://idmanagement.gov/ns/assurance/aal/2";

/// The level, by the names of NIST's levels.
pub(super) fn acr(methods: Methods) -> String {
    let name = match methods.assurance() {
        Assurance::Two => AAL2,
        Assurance::One => AAL1,
    };
    name.to_owned()
}

/// The methods, by the names of RFC 8176 and, for what comes by mail, one that it lacks.
pub(super) fn amr(methods: Methods) -> Vec<String> {
    let mut names: Vec<&str> = methods
        .iter()
        .map(|method| match method {
            Method::Password => "pwd",
            Method::Totp | Method::RecoveryCode => "otp",
            Method::SmsCode => "sms",
            Method::EmailCode | Method::MagicLink => "email",
            Method::Passkey | Method::VerifiedPasskey => "pop",
        })
        .collect();
    if methods.contains(Method::VerifiedPasskey) {
        names.push("user");
    }
    if methods.assurance() == Assurance::Two {
        names.push("mfa");
    }
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_have_the_names_of_the_registry() {
        let names = |methods: &[Method]| amr(methods.iter().fold(Methods::NONE, |all, one| all.with(*one)));
        assert_eq!(names(&[Method::Password]), ["pwd"]);
        assert_eq!(names(&[Method::Password, Method::Totp, Method::RecoveryCode]), ["mfa", "otp", "pwd"]);
        assert_eq!(names(&[Method::VerifiedPasskey]), ["mfa", "pop", "user"]);
        assert_eq!(names(&[Method::MagicLink, Method::EmailCode]), ["email"]);
        assert_eq!(names(&[Method::Password, Method::SmsCode]), ["mfa", "pwd", "sms"]);
    }

    #[test]
    fn numbers_have_one_spelling() {
        for wrong in ["", "+1", "01", "-1", " 1", "1 ", "18446744073709551616", "0x1", "1.0"] {
            assert_eq!(number(wrong), Err(Refusal::Malformed), "{wrong:?}");
        }
        assert_eq!((number("0"), number("18446744073709551615")), (Ok(0), Ok(u64::MAX)));
    }
}
