//! API keys: what a program presents in the place of a login, and what it may do with it.

mod ops;
mod rate;
mod record;

pub(crate) use ops::{read_key, stage_change, stage_key, stage_replaced};
pub use rate::RateLimit;
pub(crate) use record::{
    API_KEY, API_KEY_BY_END, API_KEY_BY_OWNER, ApiKeyRecord, ApiKeyTurnRecord, MOST_NAMED, TABLES,
};

use crate::clock::Timestamp;
use crate::crypto::{Purpose, prefix_of};
use crate::error::{Error, Result};
use crate::id::{ApiKeyId, ScopeId, UserId};
use crate::permission::{Permission, PermissionSet};
use std::time::Duration;

/// The life of a key that says nothing else.
const DEFAULT_LIFE: Duration = Duration::from_secs(90 * DAY);
/// The longest life of one that ends.
const LONGEST_LIFE: Duration = Duration::from_secs(366 * DAY);
/// How long a key can live on beside the one that replaced it.
pub(crate) const LONGEST_OVERLAP: Duration = Duration::from_secs(30 * DAY);
const DAY: u64 = 86_400;

/// An API key, without its token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApiKey {
    /// Safe to show and to log.
    pub id: ApiKeyId,
    /// Whose it is: it allows what this user may do at the moment, within its own limits.
    pub owner: UserId,
    /// What it is called.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// The user in whose name it was made; `None` for the application itself.
    pub created_by: Option<UserId>,
    /// It opens nothing from this instant on; `None` for one that does not end.
    pub expires: Option<Timestamp>,
    /// It opens nothing once it was not used for so long; `None` is no such limit.
    pub idle_timeout: Option<Duration>,
    /// When it was last accepted, to the second; `None` where it never was.
    pub last_used: Option<Timestamp>,
    /// The only permissions that it can allow; `None` for all of the owner's.
    pub permissions: Option<PermissionSet>,
    /// The only scopes, with what lies below them, at which it can allow anything; `None` for everywhere.
    pub scopes: Option<Vec<ScopeId>>,
    /// How often it is accepted; `None` is no limit.
    pub rate: Option<RateLimit>,
    /// The key that replaced it; it ends soon.
    pub replaced_by: Option<ApiKeyId>,
}

impl ApiKey {
    /// The first characters of its token, which are its public part: by them people tell keys apart.
    ///
    /// ```
    /// # fn main() -> portcullis::Result<()> {
    /// use portcullis::{NewApiKey, NewUser, Portcullis};
    /// let gate = Portcullis::in_memory()?;
    /// let robot = gate.users().create(NewUser::new("robot").service_account())?.id;
    /// let made = gate.api_keys().create(robot, NewApiKey::new("deploy"))?;
    /// assert!(made.token.as_str().starts_with(&made.key.prefix()));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn prefix(&self) -> String {
        prefix_of(Purpose::ApiKey, self.id.get())
    }
}

/// A key to be made: its name, its limits, its end.
#[derive(Clone, Debug)]
#[must_use]
pub struct NewApiKey {
    pub(crate) name: String,
    pub(crate) limits: Limits,
    /// None for one that does not end.
    pub(crate) life: Option<Duration>,
    pub(crate) idle: Option<Duration>,
}

/// What a key can allow, and how often it is accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) permissions: Option<PermissionSet>,
    pub(crate) scopes: Option<Vec<ScopeId>>,
    pub(crate) rate: Option<RateLimit>,
}

impl NewApiKey {
    /// A key for all that its owner may do, which ends after 90 days. The name has 1 to 128 bytes, and need not be the only
    /// one of its kind.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), limits: Limits::default(), life: Some(DEFAULT_LIFE), idle: None }
    }

    /// Can allow these permissions only, at most 256. It gives none of them: what the owner does not hold when the key is
    /// used, it does not allow.
    pub fn only(mut self, permissions: impl IntoIterator<Item = Permission>) -> Self {
        self.limits.permissions = Some(permissions.into_iter().collect());
        self
    }

    /// Can allow something at these scopes and below them only, at most 32. Where a check names no scope, such a key allows
    /// nothing.
    pub fn at(mut self, scopes: impl IntoIterator<Item = ScopeId>) -> Self {
        self.limits.scopes = Some(in_order(scopes));
        self
    }

    /// Is accepted so often and not more.
    pub fn rate(mut self, limit: RateLimit) -> Self {
        self.limits.rate = Some(limit);
        self
    }

    /// Ends after so long, at most 366 days.
    pub fn expires_in(mut self, life: Duration) -> Self {
        self.life = Some(life);
        self
    }

    /// Does not end by itself. Whoever finds such a key years later can use it: give it an
    /// [idle limit](Self::idle_timeout) at least.
    pub fn never_expires(mut self) -> Self {
        self.life = None;
        self
    }

    /// Ends once it was not used for so long.
    pub fn idle_timeout(mut self, idle: Duration) -> Self {
        self.idle = Some(idle);
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        crate::text::name("key.name", &self.name)?;
        self.limits.check()?;
        if let Some(life) = self.life
            && (life < Duration::from_secs(1) || life > LONGEST_LIFE)
        {
            let message = format!("{life:?} is not from 1 second to 366 days");
            return Err(Error::invalid("key.expires_in", message));
        }
        if let Some(idle) = self.idle
            && (idle < Duration::from_secs(1) || idle > self.life.unwrap_or(LONGEST_LIFE))
        {
            let message = format!("{idle:?} is not from 1 second to the life of the key, or 366 days");
            return Err(Error::invalid("key.idle_timeout", message));
        }
        Ok(())
    }
}

impl Limits {
    fn check(&self) -> Result<()> {
        if let Some(permissions) = &self.permissions
            && permissions.len() > MOST_NAMED
        {
            let message = format!(
                "are {}; a key names {MOST_NAMED} at most, and without naming any has all of its owner's",
                permissions.len()
            );
            return Err(Error::limit("key.permissions", message));
        }
        let Some(scopes) = &self.scopes else { return Ok(()) };
        if scopes.is_empty() {
            return Err(Error::invalid(
                "key.scopes",
                "is an empty list; a key has at least one scope, or no limit",
            ));
        }
        if scopes.contains(&ScopeId::ROOT) {
            let message = "has the global scope, which is no limit; leave the scopes out";
            return Err(Error::invalid("key.scopes", message));
        }
        if scopes.len() > record::MOST_SCOPES {
            let message = format!("are {}; a key names {} at most", scopes.len(), record::MOST_SCOPES);
            return Err(Error::limit("key.scopes", message));
        }
        Ok(())
    }
}

fn in_order(scopes: impl IntoIterator<Item = ScopeId>) -> Vec<ScopeId> {
    scopes.into_iter().collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

/// A change to a key: what is set here changes, all of it or nothing. Its end stays: [rotate](crate::ApiKeys::rotate) it for
/// a later one.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct ApiKeyChange {
    name: Option<String>,
    permissions: Option<Option<PermissionSet>>,
    scopes: Option<Option<Vec<ScopeId>>>,
    rate: Option<Option<RateLimit>>,
}

impl ApiKeyChange {
    /// A change that changes nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Can allow these permissions only, in the place of those before.
    pub fn only(mut self, permissions: impl IntoIterator<Item = Permission>) -> Self {
        self.permissions = Some(Some(permissions.into_iter().collect()));
        self
    }

    /// Can allow all that the owner may do.
    pub fn all_permissions(mut self) -> Self {
        self.permissions = Some(None);
        self
    }

    /// Can allow something at these scopes and below them only, in the place of those before.
    pub fn at(mut self, scopes: impl IntoIterator<Item = ScopeId>) -> Self {
        self.scopes = Some(Some(in_order(scopes)));
        self
    }

    /// Can allow something wherever the owner may do it.
    pub fn everywhere(mut self) -> Self {
        self.scopes = Some(None);
        self
    }

    /// Is accepted so often, beginning with a full burst.
    pub fn rate(mut self, limit: RateLimit) -> Self {
        self.rate = Some(Some(limit));
        self
    }

    /// Is accepted as often as it is presented.
    pub fn no_rate_limit(mut self) -> Self {
        self.rate = Some(None);
        self
    }

    /// What the change makes of a name and limits.
    pub(crate) fn apply(&self, name: &str, limits: Limits) -> Result<(String, Limits)> {
        let name = self.name.clone().unwrap_or_else(|| name.to_owned());
        crate::text::name("key.name", &name)?;
        let limits = Limits {
            permissions: self.permissions.clone().unwrap_or(limits.permissions),
            scopes: self.scopes.clone().unwrap_or(limits.scopes),
            rate: self.rate.unwrap_or(limits.rate),
        };
        limits.check()?;
        Ok((name, limits))
    }
}
