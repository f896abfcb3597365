//! Acting as another user: who may, how it is asked for, and what a session remembers of it.

use crate::error::{Error, Result};
use crate::id::{ScopeId, SessionId, UserId};
use crate::permission::Permission;
use crate::text;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Longest reason in bytes, so that the audit record has all of it.
const MAX_REASON: usize = 256;
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// Who may act as another user, and for how long; give it to [`Builder::impersonation`](crate::Builder::impersonation).
/// Without it nobody may.
///
/// The permissions are the application's own, by name; a name that can be none is refused when the database is opened. One
/// that is not defined is held by nobody. They are asked for at
/// the home of the user, so that whoever holds them at a tenant may act as the users of that tenant and as no others.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct ImpersonationPolicy {
    permission: String,
    beyond: Option<String>,
    life: Duration,
}

impl ImpersonationPolicy {
    /// Whoever holds this permission may act as another user, for an hour at most.
    pub fn new(permission: impl Into<String>) -> Self {
        Self { permission: permission.into(), beyond: None, life: Duration::from_secs(3600) }
    }

    /// Whoever holds this permission as well may ask to go
    /// [beyond their own rights](Impersonation::beyond_own_rights). By default nobody may.
    pub fn beyond_own_rights(mut self, permission: impl Into<String>) -> Self {
        self.beyond = Some(permission.into());
        self
    }

    /// How long such a session lives at the most; it never outlives the session that it was begun in.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for less than a minute or more than 24 hours.
    pub fn life(mut self, life: Duration) -> Result<Self> {
        if life < MINUTE || life > DAY {
            let message = format!("{life:?} is not from 1 minute to 24 hours");
            return Err(Error::invalid("impersonation.life", message));
        }
        self.life = life;
        Ok(self)
    }

    pub(crate) fn check(&self) -> Result<()> {
        text::name("impersonation.permission", &self.permission)?;
        self.beyond.iter().try_for_each(|name| text::name("impersonation.beyond_own_rights", name))
    }

    pub(crate) fn permission(&self) -> &str {
        &self.permission
    }

    pub(crate) fn beyond(&self) -> Option<&str> {
        self.beyond.as_deref()
    }

    pub(crate) const fn longest(&self) -> Duration {
        self.life
    }
}

/// As whom somebody wants to act, and why; for [`Portcullis::impersonate`](crate::Portcullis::impersonate).
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Impersonation {
    pub(crate) user: UserId,
    pub(crate) reason: String,
    pub(crate) beyond: bool,
}

impl Impersonation {
    /// Of that user, for that reason: 1 to 256 bytes, such as the number of a ticket. The audit log has it.
    pub fn of(user: UserId, reason: impl Into<String>) -> Self {
        Self { user, reason: reason.into(), beyond: false }
    }

    /// Asks for all that the user may do, also what whoever acts may not do themselves. It takes the permission that
    /// [`ImpersonationPolicy::beyond_own_rights`] names, now and at each check: where it is not held at the scope of the
    /// check, that check goes by the rights of both.
    pub fn beyond_own_rights(mut self) -> Self {
        self.beyond = true;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.reason.trim().is_empty() {
            return Err(Error::invalid("reason", "is empty; say why, for the audit log"));
        }
        text::plain("reason", &self.reason, MAX_REASON)
    }
}

/// Somebody who acts in a session as its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Impersonator {
    /// Who acts.
    pub user: UserId,
    /// Their own session, in which they began; this one ends with it.
    pub session: SessionId,
    /// Without this permission at [`at`](Self::at) the session opens nothing.
    pub permission: Permission,
    /// The home of the session's user. Another home ends the session.
    pub at: ScopeId,
    /// Where they asked to go beyond their own rights: the permission by which they may.
    pub beyond: Option<Permission>,
}
