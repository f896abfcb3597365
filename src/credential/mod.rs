//! Credentials: the password hash of a user, in a row of its own that only a login reads.

use crate::clock::Timestamp;
use crate::crypto::{MAX_PASSWORD_BYTES, MIN_PASSWORD_CHARS};
use crate::error::{Error, Result};
use crate::id::UserId;
use crate::store::{self, Batch, Index, Record, Store, Table};
use serde::{Deserialize, Serialize};
use std::fmt;

pub(crate) const CREDENTIAL: Table = Table::new(8, "credential");
pub(crate) const TABLES: &[Table] = &[CREDENTIAL];

/// A user's password hash.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CredentialRecord {
    pub(crate) user: UserId,
    /// A PHC string, or what another system stored, until the next login.
    pub(crate) phc: String,
    /// Counts passwords, not hashes: the same password hashed anew at another cost keeps its revision.
    pub(crate) revision: u32,
    pub(crate) changed: Timestamp,
    /// Whether the user has to choose another password at the next login; choosing one ends it.
    pub(crate) must_change: bool,
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

/// The rules a new password must keep, checked before anything is hashed. No composition rules (NIST SP 800-63B-4,
/// section 3.1.1.2).
pub(crate) fn check_password(password: &str) -> Result<()> {
    if password.len() > MAX_PASSWORD_BYTES {
        return Err(Error::invalid(
            "password",
            format!("has {} bytes; at most {MAX_PASSWORD_BYTES} are taken", password.len()),
        ));
    }
    let length = password.chars().count();
    if length < MIN_PASSWORD_CHARS {
        return Err(Error::invalid(
            "password",
            format!("has {length} characters; at least {MIN_PASSWORD_CHARS} are asked for"),
        ));
    }
    Ok(())
}

/// Stages a password hash, the first one or another.
pub(crate) fn stage_password(
    store: &dyn Store,
    batch: &mut Batch,
    user: UserId,
    phc: &str,
    now: Timestamp,
) -> Result<()> {
    let phc = phc.to_owned();
    match store::read::<CredentialRecord>(store, &user)? {
        Some(old) => {
            let revision = old.record.revision.wrapping_add(1);
            batch.replace(&old, &CredentialRecord { user, phc, revision, changed: now, must_change: false })
        }
        None => stage_first_password(batch, user, &phc, false, now),
    }
}

/// Stages the first password hash of a user, who perhaps has to change the password.
pub(crate) fn stage_first_password(
    batch: &mut Batch,
    user: UserId,
    phc: &str,
    must_change: bool,
    now: Timestamp,
) -> Result<()> {
    batch.insert(&CredentialRecord { user, phc: phc.to_owned(), revision: 0, changed: now, must_change })
}
