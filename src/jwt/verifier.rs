//! The side of the holder: a service that believes signed tokens and asks nobody.

use super::claims::{Body, Claims, FeedBody, instant, number};
use super::jws::{Held, Sort, from_json, open};
use super::keys::read_jwks;
use super::refusal::Refusal;
use super::{MAX_FEED, MAX_TOKEN};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::error::{Error, Result};
use crate::signed::MOST_LEEWAY;
use parking_lot::RwLock;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// By how much the clocks of issuer and holder may differ, where the holder does not say.
const LEEWAY: Duration = Duration::from_secs(5);

/// Believes signed tokens of one issuer that are meant for one audience: what a service in Rust holds that can not call
/// the engine. One for the whole service; it is `Sync`, and what is renewed is renewed through `&self`.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use portcullis::jwt::{Issuer, Refusal, SigningKeys, Verifier};
/// use std::time::Duration;
/// # let issuer = Issuer::new("https://auth.example.org", SigningKeys::new(&[1; 32])?)?;
/// // From the issuer, over TLS:
/// let jwks = issuer.jwks();
/// let verifier = Verifier::new("https://auth.example.org", "https://reports.example.org", &jwks)?
///     .require_feed(Duration::from_secs(60));
/// assert_eq!(verifier.verify("no token"), Err(Refusal::Malformed));
/// # Ok(())
/// # }
/// ```
pub struct Verifier {
    issuer: String,
    audience: String,
    leeway: Duration,
    clock: Arc<dyn Clock>,
    feed_age: Option<Duration>,
    keys: RwLock<Arc<Vec<Held>>>,
    feed: RwLock<Option<Feed>>,
}

/// The newest feed.
struct Feed {
    at: Timestamp,
    revoked: HashSet<u64>,
}

impl Verifier {
    /// With the issuer and the audience that every token must name, and the document of public keys that
    /// [`Issuer::jwks`](super::Issuer::jwks) gives out. Take that document from a source that nobody else can write to:
    /// whoever can replace it can make any token. Keys in it for other purposes are passed over.
    ///
    /// # Errors
    /// `InvalidInput` with the field `jwks` for a document without a key that tokens are signed with, and with the field
    /// `issuer` or `audience` for an empty one; `LimitExceeded` for a document beyond 64 KiB or 16 keys.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>, jwks: &str) -> Result<Self> {
        let (issuer, audience) = (issuer.into(), audience.into());
        super::named("issuer", &issuer)?;
        super::named("audience", &audience)?;
        Ok(Self {
            issuer,
            audience,
            leeway: LEEWAY,
            clock: Arc::new(SystemClock),
            feed_age: None,
            keys: RwLock::new(Arc::new(read_jwks(jwks)?)),
            feed: RwLock::new(None),
        })
    }

    /// By how much the clocks of the issuer and of this service may differ: so much earlier and so much later than it says
    /// a token is good. 5 seconds by default.
    ///
    /// # Errors
    /// `InvalidInput` above 60 seconds, for which the feed of revocations still names what has expired.
    pub fn leeway(mut self, leeway: Duration) -> Result<Self> {
        if leeway > MOST_LEEWAY {
            return Err(Error::invalid("leeway", format!("{leeway:?} is more than {MOST_LEEWAY:?}")));
        }
        self.leeway = leeway;
        Ok(self)
    }

    /// Where the time comes from.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Refuses every token unless a feed of revocations was taken in that is not older than this: then a token is good for
    /// so long at most after its session has ended, and not until it expires.
    #[must_use]
    pub fn require_feed(mut self, age: Duration) -> Self {
        self.feed_age = Some(age);
        self
    }

    /// Reads the document of public keys again. Those that are not in it any more are forgotten.
    ///
    /// # Errors
    /// As [`new`](Self::new); the keys from before stay.
    pub fn replace_keys(&self, jwks: &str) -> Result<()> {
        let keys = Arc::new(read_jwks(jwks)?);
        *self.keys.write() = keys;
        Ok(())
    }

    /// Takes in a feed of revocations, which [`Issuer::revocations`](super::Issuer::revocations) gives out. It is complete,
    /// so that it replaces the one before. It is signed, so that it may come by any way.
    ///
    /// # Errors
    /// What is wrong with it, and [`Refusal::OlderFeed`] for one that is older than the one before, which stays.
    pub fn apply(&self, feed: &str) -> Result<(), Refusal> {
        let keys = Arc::clone(&self.keys.read());
        let body: FeedBody = from_json(&open(&keys, Sort::Revocations, feed, MAX_FEED)?)?;
        if body.iss != self.issuer {
            return Err(Refusal::Issuer);
        }
        let (at, now) = (Timestamp::from_millis(body.seq), self.now());
        self.within(at, instant(body.exp), now)?;
        let revoked = body.revoked.iter().map(|session| number(session)).collect::<Result<_, _>>()?;
        let mut held = self.feed.write();
        if held.as_ref().is_some_and(|held| held.at > at) {
            return Err(Refusal::OlderFeed);
        }
        *held = Some(Feed { at, revoked });
        Ok(())
    }

    /// What a token says, if it is good: one of the keys has signed it, it is an access token of the issuer for this
    /// audience, it has begun and has not ended, and the feed does not name its session.
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn verify(&self, token: &str) -> Result<Claims, Refusal> {
        let keys = Arc::clone(&self.keys.read());
        let body: Body = from_json(&open(&keys, Sort::Access, token, MAX_TOKEN)?)?;
        if body.iss != self.issuer {
            return Err(Refusal::Issuer);
        }
        if body.aud != self.audience {
            return Err(Refusal::Audience);
        }
        let (claims, now) = (Claims::try_from(body)?, self.now());
        self.within(claims.issued, claims.expires, now)?;
        let feed = self.feed.read();
        if let Some(age) = self.feed_age
            && feed.as_ref().is_none_or(|feed| now.since(feed.at) > age)
        {
            return Err(Refusal::NoFeed);
        }
        if feed.as_ref().is_some_and(|feed| feed.revoked.contains(&claims.session.get())) {
            return Err(Refusal::Revoked);
        }
        Ok(claims)
    }

    /// How many sessions the newest feed names, and of when it is.
    #[must_use]
    pub fn feed(&self) -> Option<(usize, Timestamp)> {
        self.feed.read().as_ref().map(|feed| (feed.revoked.len(), feed.at))
    }

    /// The time. It is not before the newest feed, so that a clock that was set back makes no expired token good again.
    fn now(&self) -> Timestamp {
        let now = self.clock.now();
        self.feed.read().as_ref().map_or(now, |feed| now.max(feed.at))
    }

    /// The end is the first instant at which it is over (RFC 7519, section 4.1.4).
    fn within(&self, begin: Timestamp, end: Timestamp, now: Timestamp) -> Result<(), Refusal> {
        if now >= end.saturating_add(self.leeway) {
            return Err(Refusal::Expired);
        }
        if begin > now.saturating_add(self.leeway) {
            return Err(Refusal::NotYetValid);
        }
        Ok(())
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .field("keys", &self.keys.read().len())
            .field("feed", &self.feed())
            .finish_non_exhaustive()
    }
}
