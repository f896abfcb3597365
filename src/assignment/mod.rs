//! Which user holds which role.

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::{RoleId, UserId};
use crate::store::{self, Batch, Index, Record, Store, Table};
use serde::{Deserialize, Serialize};

pub(crate) const ASSIGNMENT: Table = Table::new(15, "assignment");
pub(crate) const ASSIGNMENT_BY_ROLE: Table = Table::new(16, "assignment_by_role");
pub(crate) const TABLES: &[Table] = &[ASSIGNMENT, ASSIGNMENT_BY_ROLE];

/// A role that a user was assigned.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Assignment {
    /// Who holds it.
    pub user: UserId,
    /// What is held.
    pub role: RoleId,
    /// Since when.
    pub since: Timestamp,
    /// Who assigned it; `None` where the application did so itself.
    pub by: Option<UserId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AssignmentRecord {
    pub(crate) user: UserId,
    pub(crate) role: RoleId,
    pub(crate) since: Timestamp,
    pub(crate) by: Option<UserId>,
}

impl Record for AssignmentRecord {
    const TABLE: Table = ASSIGNMENT;
    const INDEXES: &'static [Index<Self>] = &[Index::many(ASSIGNMENT_BY_ROLE, |a, keys| keys.add(&a.role))];
    type Key = (UserId, RoleId);

    fn key(&self) -> Self::Key {
        (self.user, self.role)
    }
}

impl From<AssignmentRecord> for Assignment {
    fn from(record: AssignmentRecord) -> Self {
        let AssignmentRecord { user, role, since, by } = record;
        Self { user, role, since, by }
    }
}

/// Stages an assignment that must not exist yet. That user and role exist is for the caller to expect.
pub(crate) fn stage_assign(
    store: &dyn Store,
    batch: &mut Batch,
    user: UserId,
    role: RoleId,
    by: Option<UserId>,
    now: Timestamp,
) -> Result<()> {
    if store::read::<AssignmentRecord>(store, &(user, role))?.is_some() {
        return Err(Error::exists("role", format!("{user} holds {role} already")));
    }
    batch.insert(&AssignmentRecord { user, role, since: now, by })
}

/// Stages the end of an assignment.
pub(crate) fn stage_unassign(store: &dyn Store, batch: &mut Batch, user: UserId, role: RoleId) -> Result<()> {
    match store::read::<AssignmentRecord>(store, &(user, role))? {
        Some(old) => {
            batch.remove(&old);
            Ok(())
        }
        None => Err(Error::not_found("role", format_args!("the assignment of {role} to {user}"))),
    }
}
