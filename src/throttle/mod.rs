//! Throttling: how often somebody may be wrong before the next attempt has to wait, and how often at all.

mod policy;
mod record;
mod row;

pub use policy::ThrottlePolicy;
pub(crate) use policy::Wait;
pub(crate) use record::{
    AccountRecord, COUNT_NAMES, COUNT_PAIRS, Counted, Counter, KeyRecord, Party, SourceCount, TABLES,
};
pub(crate) use row::{Entry, Place, RowRecord, stage_entry, stage_forgotten, stage_row};

use crate::assurance::Method;
use crate::clock::Timestamp;
use crate::id::DeviceId;

/// From where somebody tries to be a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TriedFrom {
    /// From anywhere.
    Anywhere,
    /// From within a session of the user: a change of password, or a step up.
    Session,
    /// From a device that the user has logged in from before, by its token.
    Device(DeviceId),
}

/// How often somebody was wrong with a password or a second factor of a user since it was last right.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failures {
    /// What they tried.
    pub method: Method,
    /// From where.
    pub from: TriedFrom,
    /// How often in a row.
    pub failures: u32,
    /// The last time.
    pub last: Timestamp,
    /// Whether this was too often, so that even the right one is refused: until there is another one, or
    /// [`Users::clear_login_failures`](crate::Users::clear_login_failures).
    pub stopped: bool,
}

/// How a user's account is protected from guessing now; get it from
/// [`Users::login_protection`](crate::Users::login_protection).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoginProtection {
    /// What was tried in vain. Nothing is listed that was right the last time.
    pub failures: Vec<Failures>,
    /// Until when logins by the user's login name are refused without looking at the password, from where the user is
    /// not known by a device; `None` where they are not.
    pub refused_until: Option<Timestamp>,
}

impl LoginProtection {
    /// Whether the password is stopped for whoever comes from anywhere.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        let stopped = |found: &Failures| {
            found.stopped && found.method == Method::Password && found.from == TriedFrom::Anywhere
        };
        self.failures.iter().any(stopped)
    }
}
