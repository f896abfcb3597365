//! Sessions that are refreshed: how long each token lives, and what a session keeps of its refresh tokens.

use super::{Client, SessionLimits, SessionRecord};
use crate::clock::Timestamp;
use crate::crypto::{Digest, PresentedRefresh};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::time::Duration;

const SHORTEST_ACCESS: Duration = Duration::from_secs(60);
const LONGEST_ACCESS: Duration = Duration::from_secs(86_400);
const LONGEST_GRACE: Duration = Duration::from_secs(30);

/// How long the tokens of a session live that can be refreshed.
///
/// The defaults are 15 minutes for an access token, ten seconds of grace, and for the session itself seven days without a
/// refresh or a use and 30 days in all, which no refresh moves.
///
/// ```
/// # fn main() -> portcullis::Result<()> {
/// use portcullis::{Portcullis, RefreshPolicy, SessionLimits};
/// use std::time::Duration;
/// let (hour, day) = (Duration::from_secs(3600), Duration::from_secs(86_400));
/// let policy = RefreshPolicy::new()
///     .access_life(Duration::from_secs(300))
///     .session_limits(SessionLimits::new(Some(8 * hour), 7 * day)?);
/// let gate = Portcullis::builder().refresh(policy).in_memory()?;
/// # drop(gate);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct RefreshPolicy {
    pub(crate) access: Duration,
    pub(crate) grace: Duration,
    pub(crate) limits: SessionLimits,
}

impl RefreshPolicy {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long an access token opens its session: 1 minute to 24 hours.
    pub fn access_life(mut self, life: Duration) -> Self {
        self.access = life;
        self
    }

    /// How long a refresh token that was just spent gets the same pair once more, as long as that pair was not refreshed
    /// itself: none to 30 seconds. Without any, the second of two tabs that refresh at once, and a client to which the
    /// answer did not get through, end the session.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How long such a session lives: without a refresh or a use, and in all.
    pub fn session_limits(mut self, limits: SessionLimits) -> Self {
        self.limits = limits;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.access < SHORTEST_ACCESS || self.access > LONGEST_ACCESS {
            let message = format!("{:?} is not from 1 minute to 24 hours", self.access);
            return Err(Error::invalid("refresh.access_life", message));
        }
        // INVARIANT: the grace is shorter than an access token lives, so that whoever refreshes when it has run out never
        // refreshes twice within one grace.
        if self.grace > LONGEST_GRACE {
            return Err(Error::invalid("refresh.grace", format!("{:?} is above 30 seconds", self.grace)));
        }
        let idle = Duration::from_secs(self.limits.idle_secs.into());
        if self.limits.idle_secs > 0 && idle < self.access {
            let message =
                format!("{idle:?} idle is less than the {:?} that an access token lives", self.access);
            return Err(Error::invalid("refresh.session_limits", message));
        }
        Ok(())
    }
}

impl Default for RefreshPolicy {
    fn default() -> Self {
        Self {
            access: Duration::from_secs(900),
            grace: Duration::from_secs(10),
            limits: SessionLimits { idle_secs: 7 * 86_400, absolute: Duration::from_secs(30 * 86_400) },
        }
    }
}

impl Client {
    /// Asks for a session that can be refreshed: the login that it completes gives out a refresh token, too, and its
    /// access token lives for minutes only (see [`RefreshPolicy`] and [`Portcullis::refresh`](crate::Portcullis::refresh)).
    /// In a login of several steps the client of the last one decides, as it does of all else that a session keeps.
    pub fn refreshable(mut self) -> Self {
        self.refreshable = true;
        self
    }
}

/// What a session keeps of its refresh tokens. They are one family: of them all, one is good.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Family {
    /// From when on the present access token opens nothing.
    pub(crate) access_until: Timestamp,
    /// The digest of what all refresh tokens of the session have in common.
    pub(crate) mark: [u8; 32],
    /// The digest of the one that is good.
    pub(crate) present: [u8; 32],
    /// The one before it.
    pub(crate) former: Option<Former>,
    /// How often the session was refreshed.
    pub(crate) rotations: u32,
}

/// A refresh token that was spent last.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Former {
    pub(crate) digest: [u8; 32],
    pub(crate) rotated: Timestamp,
    /// What its successors follow by.
    pub(crate) nonce: [u8; 32],
}

/// What a presented refresh token is to a family.
pub(crate) enum Standing<'f> {
    /// The one that is good.
    Present,
    /// The one before it, within the grace: it has the present one as its successor, which nobody has refreshed yet.
    Repeated(&'f Former),
    /// One that was spent.
    Spent,
    /// None of the family's.
    Stranger,
}

impl Family {
    /// What a token is to this family at that time. Every comparison is made for every token.
    pub(crate) fn standing(&self, token: &PresentedRefresh, now: Timestamp, grace: Duration) -> Standing<'_> {
        let ours = token.mark == Digest(self.mark);
        let present = token.digest == Digest(self.present);
        let repeated = self.former.as_ref().filter(|former| token.digest == Digest(former.digest));
        let repeated = repeated.filter(|former| now < former.rotated.saturating_add(grace));
        match (ours, present, repeated) {
            (false, _, _) => Standing::Stranger,
            (true, true, _) => Standing::Present,
            (true, false, Some(former)) => Standing::Repeated(former),
            (true, false, None) => Standing::Spent,
        }
    }
}

impl SessionRecord {
    /// From when on its token opens nothing.
    pub(crate) fn deadline(&self) -> Timestamp {
        self.family.as_ref().map_or(self.expires, |family| family.access_until.min(self.expires))
    }

    /// How long its token may go unused, in seconds; 0 is no limit. What is refreshed goes idle by that.
    pub(crate) fn token_idle_secs(&self) -> u32 {
        if self.family.is_some() { 0 } else { self.idle_secs }
    }

    /// Whether its limits are over, given when it was last seen.
    pub(crate) fn is_over(&self, seen: Timestamp, now: Timestamp) -> bool {
        let idle = Duration::from_secs(self.idle_secs.into());
        now >= self.expires || self.idle_secs > 0 && now >= seen.saturating_add(idle)
    }
}
