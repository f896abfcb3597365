//! Permissions given to one user, or forbidden to one, without a role: access to a single resource.

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::grant::Grant;
use crate::id::{ScopeId, UserId};
use crate::permission::Permission;
use crate::store::{self, Batch, Index, Record, Store, Table};
use serde::{Deserialize, Serialize};

pub(crate) const ACCESS: Table = Table::new(31, "access");
pub(crate) const ACCESS_BY_PERMISSION: Table = Table::new(32, "access_by_permission");
pub(crate) const ACCESS_BY_SCOPE: Table = Table::new(33, "access_by_scope");
pub(crate) const ACCESS_BY_END: Table = Table::new(34, "access_by_end");
pub(crate) const TABLES: &[Table] = &[ACCESS, ACCESS_BY_PERMISSION, ACCESS_BY_SCOPE, ACCESS_BY_END];

/// A permission that a user was given, or forbidden, without a role.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirectGrant {
    /// Who has it.
    pub user: UserId,
    /// What may be done, or not.
    pub permission: Permission,
    /// Where and when.
    pub terms: Grant,
    /// Since when it is on record.
    pub since: Timestamp,
    /// Who gave it; `None` where the application did so itself.
    pub by: Option<UserId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AccessRecord {
    pub(crate) user: UserId,
    pub(crate) permission: Permission,
    pub(crate) terms: Grant,
    pub(crate) since: Timestamp,
    pub(crate) by: Option<UserId>,
}

impl Record for AccessRecord {
    const TABLE: Table = ACCESS;
    const INDEXES: &'static [Index<Self>] = &[
        Index::many(ACCESS_BY_PERMISSION, |a, keys| keys.add(&(a.permission, a.terms.scope))),
        Index::many(ACCESS_BY_SCOPE, |a, keys| {
            if a.terms.scope != ScopeId::ROOT {
                keys.add(&a.terms.scope);
            }
        }),
        Index::many(ACCESS_BY_END, |a, keys| {
            if let Some(until) = a.terms.until {
                keys.add(&until.as_millis());
            }
        }),
    ];
    type Key = ((UserId, Permission), ScopeId);

    fn key(&self) -> Self::Key {
        ((self.user, self.permission), self.terms.scope)
    }
}

impl From<AccessRecord> for DirectGrant {
    fn from(record: AccessRecord) -> Self {
        let AccessRecord { user, permission, terms, since, by } = record;
        Self { user, permission, terms, since, by }
    }
}

/// Stages a direct grant that must not exist yet; one that has ended makes way.
pub(crate) fn stage_grant(store: &dyn Store, batch: &mut Batch, new: &AccessRecord) -> Result<()> {
    match store::read::<AccessRecord>(store, &new.key())? {
        Some(old) if old.record.terms.has_ended(new.since) => batch.replace(&old, new),
        Some(_) => Err(Error::exists(
            "permission",
            format!(
                "{} has a grant or denial of {} at {} already",
                new.user, new.permission, new.terms.scope
            ),
        )),
        None => batch.insert(new),
    }
}

/// Stages the end of a direct grant.
pub(crate) fn stage_withdraw(
    store: &dyn Store,
    batch: &mut Batch,
    user: UserId,
    permission: Permission,
    scope: ScopeId,
) -> Result<AccessRecord> {
    match store::read::<AccessRecord>(store, &((user, permission), scope))? {
        Some(old) => {
            batch.remove(&old);
            Ok(old.record)
        }
        None => Err(Error::not_found(
            "permission",
            format_args!("the grant of {permission} to {user} at {scope}"),
        )),
    }
}
