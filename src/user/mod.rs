//! Users: who they are, whether they may log in, how to reach them, what they prefer.

mod change;
mod contact;
mod names;
mod ops;
mod record;

pub use change::{NewUser, UserChange};
pub use contact::{Contact, ContactKind, NewContact};
#[cfg(feature = "import")]
pub(crate) use names::is_address;
pub use names::{ConfusableNames, EmailLocalPart};
pub(crate) use names::{NameRules, find_by_verified_email, find_verified_email, is_meant};
#[cfg(feature = "import")]
pub(crate) use ops::MAX_NEW_CONTACTS;
pub(crate) use ops::{
    read_user, stage_change, stage_contact, stage_contact_changed, stage_contact_verified, stage_create,
    stage_generation, stage_remove_contact, stage_status, stage_touch,
};
pub(crate) use record::{
    AttributesRecord, ContactRecord, LAST_GENERATION, SERVICE_ACCOUNTS, Section, TABLES, USER,
    USER_BY_CREATION, USER_BY_LOGIN, USER_BY_STATUS, USER_CONTACT_BY_EMAIL, UserRecord,
};
#[cfg(feature = "import")]
pub(crate) use record::{USER_BY_ALIAS, USER_BY_VERIFIED_EMAIL};

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::{ScopeId, Stamp, UserId};
use crate::text;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A user account, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct User {
    /// Never reused.
    pub id: UserId,
    /// The login name as it was given; its canonical form is what must be unique.
    pub login: String,
    /// Whether the account may log in.
    pub status: Status,
    /// The scope at which it is at home; [`ScopeId::ROOT`] unless said otherwise. It gives nothing: it says to whom the
    /// administration of the account can be delegated.
    pub home: ScopeId,
    /// Whether it is a program's, which logs in by no password or anything else and comes with [API keys](crate::ApiKeys).
    pub service_account: bool,
    /// When the account was made.
    pub created: Timestamp,
    /// When anything of it last changed: name, status, contacts, profile or preferences.
    pub updated: Timestamp,
    /// Hand it back with a change to be sure nobody else changed the account meanwhile.
    pub stamp: Stamp,
}

/// Whether an account may log in, why not, and until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// The state itself.
    pub kind: StatusKind,
    /// Why, for operators; at most 512 bytes. Never shown to who tries to log in.
    pub reason: Option<String>,
    /// The instant from which a disabled or locked account counts as active again, rounded up to a whole second;
    /// `None` is for good.
    pub until: Option<Timestamp>,
}

/// The states of an account. Only an active one logs in, and its sessions end when it leaves that state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum StatusKind {
    /// May log in.
    Active,
    /// Not confirmed yet.
    Pending,
    /// Switched off by an administrator.
    Disabled,
    /// Shut for security reasons.
    Locked,
}

impl Status {
    /// May log in.
    #[must_use]
    pub const fn active() -> Self {
        Self { kind: StatusKind::Active, reason: None, until: None }
    }

    /// Waits for a confirmation.
    #[must_use]
    pub const fn pending() -> Self {
        Self { kind: StatusKind::Pending, reason: None, until: None }
    }

    /// Switched off, and why.
    #[must_use]
    pub fn disabled(reason: impl Into<String>) -> Self {
        Self { kind: StatusKind::Disabled, reason: Some(reason.into()), until: None }
    }

    /// Shut, and why.
    #[must_use]
    pub fn locked(reason: impl Into<String>) -> Self {
        Self { kind: StatusKind::Locked, reason: Some(reason.into()), until: None }
    }

    /// The same, ending by itself at that instant.
    #[must_use]
    pub fn until(mut self, end: Timestamp) -> Self {
        self.until = Some(end);
        self
    }

    /// Whether an account of this status may log in at that instant.
    #[must_use]
    pub fn is_active_at(&self, now: Timestamp) -> bool {
        self.kind == StatusKind::Active || self.until.is_some_and(|end| now >= end)
    }

    /// The same with its end rounded up to a whole second, as checks count: so that a login and a check agree on it.
    pub(crate) fn in_whole_seconds(&self) -> Self {
        let until =
            self.until.map(|end| Timestamp::from_millis(end.as_millis().div_ceil(1000).saturating_mul(1000)));
        Self { until, ..self.clone() }
    }

    pub(crate) fn check(&self) -> Result<()> {
        if let Some(reason) = &self.reason {
            text::plain("status.reason", reason, text::MAX_TEXT)?;
        }
        let may_end = matches!(self.kind, StatusKind::Disabled | StatusKind::Locked);
        if self.until.is_some() && !may_end {
            return Err(Error::invalid("status.until", "only a disabled or locked status can end by itself"));
        }
        Ok(())
    }
}

impl StatusKind {
    /// Every state, in the order of its stored number.
    pub const ALL: [Self; 4] = [Self::Active, Self::Pending, Self::Disabled, Self::Locked];

    pub(crate) const fn number(self) -> u8 {
        self as u8
    }
}

/// A value in a profile or in preferences.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Value {
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// At most 512 bytes of printable text.
    Text(String),
    /// An instant.
    Time(Timestamp),
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<Timestamp> for Value {
    fn from(value: Timestamp) -> Self {
        Self::Time(value)
    }
}

/// A profile or preferences: at most 64 named values, names of at most 128 bytes, and 4 KiB in all.
pub type Attributes = BTreeMap<String, Value>;

pub(crate) const MAX_ATTRIBUTES: usize = 64;

pub(crate) fn check_attributes(field: &'static str, attributes: &Attributes) -> Result<()> {
    if attributes.len() > MAX_ATTRIBUTES {
        return Err(Error::limit(
            field,
            format!("has {} values; at most {MAX_ATTRIBUTES} are kept", attributes.len()),
        ));
    }
    for (name, value) in attributes {
        text::name(field, name)?;
        if let Value::Text(text) = value {
            text::plain(field, text, text::MAX_TEXT)?;
        }
    }
    Ok(())
}
