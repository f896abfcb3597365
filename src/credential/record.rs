//! How password hashes are stored.

use crate::clock::Timestamp;
use crate::id::UserId;
use crate::store::{Index, Record, Table};
use serde::{Deserialize, Serialize};
use std::fmt;

pub(crate) const CREDENTIAL: Table = Table::new(8, "credential");
pub(crate) const FORMER_PASSWORD: Table = Table::new(70, "former_password");
pub(crate) const TABLES: &[Table] = &[CREDENTIAL, FORMER_PASSWORD];

/// Why a password must be changed before anything else is done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum MustChange {
    /// Somebody else may know it: see
    /// [`mark_password_compromised`](crate::Users::mark_password_compromised).
    Compromised,
    /// Somebody else set it: it is for one login, and ends by itself if it is not used.
    Issued,
    /// It is older than the policy allows.
    Expired,
}

/// What is known of a user's password, besides its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PasswordState {
    /// When it was set.
    pub changed: Timestamp,
    /// Why it must be changed at the next login, if so.
    pub must_change: Option<MustChange>,
    /// From when on it no longer opens anything; `None` for one that lasts.
    pub ends: Option<Timestamp>,
}

/// A user's password hash.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CredentialRecord {
    pub(crate) user: UserId,
    /// A PHC string.
    pub(crate) phc: String,
    /// Counts passwords, not hashes: the same password hashed anew at another cost keeps its revision.
    pub(crate) revision: u32,
    pub(crate) changed: Timestamp,
    /// Why it must be changed, as far as that is stored: whether it is too old is worked out.
    pub(crate) must_change: Option<MustChange>,
    /// From when on it opens nothing.
    pub(crate) ends: Option<Timestamp>,
}

impl fmt::Debug for CredentialRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialRecord")
            .field("user", &self.user)
            .field("changed", &self.changed)
            .finish_non_exhaustive()
    }
}

impl Record for CredentialRecord {
    const TABLE: Table = CREDENTIAL;
    const INDEXES: &'static [Index<Self>] = &[];
    type Key = UserId;

    fn key(&self) -> UserId {
        self.user
    }
}

/// The hash of a password that a user had earlier, so that it is not taken again. It is written and removed only along
/// with the user's [`CredentialRecord`], whose revision so covers it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FormerPasswordRecord {
    pub(crate) user: UserId,
    /// The revision that it had.
    pub(crate) revision: u32,
    pub(crate) phc: String,
}

impl fmt::Debug for FormerPasswordRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FormerPasswordRecord").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Record for FormerPasswordRecord {
    const TABLE: Table = FORMER_PASSWORD;
    const INDEXES: &'static [Index<Self>] = &[];
    type Key = (UserId, u32);

    fn key(&self) -> Self::Key {
        (self.user, self.revision)
    }
}
