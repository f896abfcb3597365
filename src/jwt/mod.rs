//! Signed access tokens for services that can not call this engine: JWT (RFC 7519) after the profile of RFC 9068, signed
//! with Ed25519. Behind the feature `jwt`.
//!
//! A service in the same process, or one that can ask it, has nothing to gain from these: the session's own token is
//! checked in less time than a signature, against what holds now. They are for the service on another machine.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use portcullis::jwt::{Issuer, Refusal, SigningKeys, TokenRequest, Verifier};
//! use portcullis::{Client, Credentials, NewUser, Portcullis};
//! # let seed = [7; 32]; // from the application's secret store
//! let gate = Portcullis::in_memory()?;
//! let read = gate.permissions().define("report:read")?;
//! let viewer = gate.roles().create("viewer", [read])?;
//! let ada = gate.users().create(NewUser::new("ada").password("correct horse battery staple"))?.id;
//! gate.roles().assign(ada, viewer)?;
//! let login = gate.login(&Credentials::password("ada", "correct horse battery staple"), &Client::new())?;
//!
//! // Where the engine is: a token for the reports, from whoever presents a session's token.
//! let issuer = Issuer::new("https://auth.example.org", SigningKeys::new(&seed)?)?;
//! let ada = gate.authenticate(login.token())?;
//! let wanted = TokenRequest::for_audience("https://reports.example.org").permissions([read]);
//! let token = issuer.issue(&ada, &wanted)?;
//!
//! // Where the reports are: with the public keys, and no more.
//! let reports = Verifier::new("https://auth.example.org", "https://reports.example.org", &issuer.jwks())?;
//! let claims = reports.verify(token.as_str())?;
//! assert!(claims.can("report:read"));
//!
//! // A session that ends takes its tokens with it, once the service has read the feed.
//! gate.sessions().revoke(ada.session())?;
//! reports.apply(&issuer.revocations(&gate)?)?;
//! assert_eq!(reports.verify(token.as_str()), Err(Refusal::Revoked));
//! # Ok(())
//! # }
//! ```
//!
//! # What is lost against the session's token
//!
//! | | the session's token | a signed token |
//! |---|---|---|
//! | a session that is revoked, a user who is disabled or deleted, a new password | refused by the very next check | refused once the holder has read the next feed; without a feed when the token expires, 5 minutes after its issue by default and an hour at most |
//! | a right that is taken away, a role that is withdrawn, a denial | counts at the next check | counts in the next token: a token says what was held when it was issued, and no feed takes that back |
//! | a right that ends at an instant, a rule that looks at the time or the address | asked at each check | asked when the token is issued |
//! | idle limit | each use counts | a use elsewhere is none: the session goes idle unless its own token is used, and is in the feed then |
//! | what the database knows of a use | last seen, and from where | nothing |
//! | to read it | says nothing | says who, which session and which permissions to whoever sees it: it is signed, not encrypted |
//! | a stolen copy of the secrets | the database holds digests only | whoever has the signing key makes any token, for every holder |
//! | size | 63 bytes | 600 bytes or so, and each permission by name |
//! | to check it | a digest and a look-up in memory, some 0.2 µs | a signature of Ed25519, tens of µs |
//!
//! So: short lives, a feed where sessions matter, only the permissions that the audience needs, and the session's own
//! token wherever the engine can be asked.
//!
//! # The token
//!
//! | member | what |
//! |---|---|
//! | `alg` `kid` `typ` (header) | `EdDSA`; the thumbprint of the key (RFC 7638); `at+jwt` |
//! | `iss` `aud` `client_id` | the issuer; the one audience; the client, or the issuer where none is named |
//! | `sub` | the user's number, as text: never given to anybody else (OWASP ASVS 5.0 10.3.3) |
//! | `sid` `jti` | the session's number, as text; 128 random bits |
//! | `iat` `nbf` `exp` | seconds; the first two are the same |
//! | `auth_time` `amr` `acr` | when and how the user proved who they are (RFC 8176), and NIST's level |
//! | `entitlements` | names of permissions; left out where there are none |
//! | `scope_id` | the number of the scope at which they are held, as text; left out for everywhere |
//!
//! # For holders in other languages
//!
//! Take any library that verifies EdDSA, and set it to: the algorithm `EdDSA` alone; the keys of [`Issuer::jwks`] and no
//! others, whatever the token brings along; `typ` to be `at+jwt`; `iss` and `aud` to be yours; `exp` and `nbf` required, with
//! a leeway of a few seconds. Then refuse a token whose `sid` is among `revoked` of the newest feed.
//!
//! The feed is a signed document of its own: `typ` is `revocations+jwt`, `revoked` has the sessions that have ended, and
//! `seq` its instant in milliseconds since 1970. What had ended by then is in it; one with a lower `seq` is older, and one
//! past its `exp` says nothing any more.
//!
//! # The feed of revocations
//!
//! [`Issuer::revocations`] reads it from the database: which sessions have signed tokens out that may still be believed is
//! stored before the first of them is issued, and the feed is those among them that are not live. So there is no way to
//! end a session that the feed misses, it is as complete after a restart as before, and it is never longer than the number
//! of sessions that had a token within the last two hours. It costs a look at each of these; have it read every few
//! seconds, by a task that hands the same text to all holders.

mod claims;
mod jws;
mod keys;
mod refusal;
#[cfg(test)]
mod tests;
mod verifier;

pub use claims::Claims;
pub use keys::SigningKeys;
pub use refusal::Refusal;
pub use verifier::Verifier;

use crate::clock::Timestamp;
use crate::engine::{Ended, Portcullis, Principal, Vouched};
use crate::error::{Error, Result};
use crate::id::ScopeId;
use crate::permission::Permission;
use crate::signed::HOUR;
use crate::text;
use claims::{Body, FeedBody, acr, amr};
use data_encoding::BASE64URL_NOPAD;
use jws::Sort;
use std::fmt;
use std::time::Duration;
use zeroize::Zeroizing;

/// Longest token that is issued, and that is looked at, in bytes: it has to fit into a header of HTTP.
pub(crate) const MAX_TOKEN: usize = 4096;
/// Longest feed, in bytes: some million sessions.
const MAX_FEED: usize = 32 << 20;
/// How long a token lives where nothing else is asked for.
const LIFE: Duration = Duration::from_secs(300);
/// The longest that one can live.
const LONGEST: Duration = Duration::from_secs(HOUR);

/// Issues signed tokens under one name, with the keys of the application. Nothing of it is in the database; to change
/// keys, make another one.
#[derive(Clone, Debug)]
pub struct Issuer {
    name: String,
    keys: SigningKeys,
}

/// What a token is asked for.
#[derive(Clone, Debug)]
#[must_use]
pub struct TokenRequest {
    audience: String,
    client: Option<String>,
    life: Duration,
    permissions: Vec<Permission>,
    scope: ScopeId,
}

impl TokenRequest {
    /// A token for one service, by the name that its [`Verifier`] has, such as `https://reports.example.org`. It lives for
    /// 5 minutes and names no permission.
    pub fn for_audience(audience: impl Into<String>) -> Self {
        Self {
            audience: audience.into(),
            client: None,
            life: LIFE,
            permissions: Vec::new(),
            scope: ScopeId::ROOT,
        }
    }

    /// How long it lives, in whole seconds up to an hour; not longer than the session, whatever is asked for. A shorter
    /// life is safer.
    pub fn life(mut self, life: Duration) -> Self {
        self.life = life;
        self
    }

    /// Names these permissions in the token, as far as the session holds them when it is issued: name those that the
    /// audience asks about, and no others.
    pub fn permissions(mut self, permissions: impl IntoIterator<Item = Permission>) -> Self {
        self.permissions.extend(permissions);
        self
    }

    /// Asks about the permissions at a scope, such as a tenant, and names it in the token.
    pub fn at(mut self, scope: ScopeId) -> Self {
        self.scope = scope;
        self
    }

    /// The client that the token is handed to (RFC 9068, `client_id`); the issuer by default.
    pub fn client(mut self, client: impl Into<String>) -> Self {
        self.client = Some(client.into());
        self
    }
}

impl Issuer {
    /// With the name that every token carries and every [`Verifier`] asks for, such as `https://auth.example.org`.
    ///
    /// # Errors
    /// `InvalidInput` for a name that is empty, longer than 512 bytes, or has control characters.
    pub fn new(name: impl Into<String>, keys: SigningKeys) -> Result<Self> {
        let name = name.into();
        named("issuer", &name)?;
        Ok(Self { name, keys })
    }

    /// The document of public keys for holders (RFC 7517), as JSON, with the media type `application/jwk-set+json`. Publish
    /// it where nobody else can write, over TLS.
    #[must_use]
    pub fn jwks(&self) -> String {
        self.keys.jwks()
    }

    /// A token of a session that is live. It says what the session's user is and may do now, with the session's own
    /// selection of roles and all rules for the context; afterwards nothing is asked any more, so keep its life short.
    ///
    /// The first token of a session that ends in an hour is noted in the database, with an audit record
    /// ([`SignedTokenIssued`](crate::AuditKind::SignedTokenIssued)); the others of that hour write nothing.
    ///
    /// # Errors
    /// `Denied` with [`Denial::Session`](crate::Denial::Session) where the session has ended, or ends within this second;
    /// `InvalidInput` with the field `life`, `audience` or `client`; `LimitExceeded` for so many permissions that the token
    /// would have more than 4,096 bytes; the storage kinds.
    pub fn issue(&self, principal: &Principal<'_>, wanted: &TokenRequest) -> Result<SignedToken> {
        let TokenRequest { audience, client, life, permissions, scope } = wanted;
        named("audience", audience)?;
        let client = client.as_ref().unwrap_or(&self.name);
        named("client", client)?;
        if *life < Duration::from_secs(1) || *life > LONGEST {
            return Err(Error::invalid("life", format!("{life:?} is not from 1 second to {LONGEST:?}")));
        }
        let mut entitlements = Vec::new();
        for permission in permissions {
            if principal.check_at(*permission, *scope)?.is_allowed() {
                entitlements.push(principal.gate().permissions().get(*permission)?.name);
            }
        }
        let Vouched { session, issued, expires, number } = principal.vouch(*life, audience)?;
        let body = Body {
            iss: self.name.clone(),
            sub: session.user.get().to_string(),
            aud: audience.clone(),
            client_id: client.clone(),
            exp: expires,
            nbf: issued,
            iat: issued,
            jti: BASE64URL_NOPAD.encode(&number),
            sid: session.id.get().to_string(),
            auth_time: session.authenticated.as_secs(),
            acr: acr(session.methods),
            amr: amr(session.methods),
            entitlements,
            scope_id: (*scope != ScopeId::ROOT).then(|| scope.get().to_string()),
        };
        let text = Zeroizing::new(jws::sign(&self.keys, Sort::Access, &body)?);
        if text.len() > MAX_TOKEN {
            let message =
                format!("the token would have {} bytes; at most {MAX_TOKEN} are issued", text.len());
            return Err(Error::limit("permissions", message));
        }
        Ok(SignedToken { text, expires: claims::instant(expires) })
    }

    /// The feed of revocations: the sessions that have ended although signed tokens of them may still be believed, however
    /// they ended. It is complete, signed, and good for an hour; give it to every holder every few seconds.
    ///
    /// # Errors
    /// `LimitExceeded` for a feed beyond 32 MiB; `Stopped`, and the storage kinds.
    pub fn revocations(&self, gate: &Portcullis) -> Result<String> {
        let Ended { at, sessions } = gate.ended_with_signed_tokens()?;
        let body = FeedBody {
            iss: self.name.clone(),
            iat: at.as_secs(),
            exp: at.as_secs() + HOUR,
            seq: at.as_millis(),
            revoked: sessions.iter().map(|session| session.get().to_string()).collect(),
        };
        let feed = jws::sign(&self.keys, Sort::Revocations, &body)?;
        if feed.len() > MAX_FEED {
            let message = format!("has {} bytes for {} sessions", feed.len(), body.revoked.len());
            return Err(Error::limit("revocations", message));
        }
        Ok(feed)
    }
}

/// A signed token. `Debug` does not show it, and it wipes itself when dropped: until it expires, whoever has it is its
/// user.
pub struct SignedToken {
    text: Zeroizing<String>,
    expires: Timestamp,
}

impl SignedToken {
    /// The text to hand to the client.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// When it ends.
    #[must_use]
    pub const fn expires(&self) -> Timestamp {
        self.expires
    }
}

impl AsRef<str> for SignedToken {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for SignedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedToken").field("text", &"<secret>").field("expires", &self.expires).finish()
    }
}

/// The name of an issuer, an audience or a client.
fn named(field: &'static str, name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::invalid(field, "is empty"));
    }
    text::plain(field, name, text::MAX_TEXT)
}
