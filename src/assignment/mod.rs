//! Which user holds which role, where and when.

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::grant::Grant;
use crate::id::{RoleId, ScopeId, UserId};
use crate::store::{self, Batch, Index, Record, Store, Table};
use serde::{Deserialize, Serialize};

pub(crate) const ASSIGNMENT: Table = Table::new(15, "assignment");
pub(crate) const ASSIGNMENT_BY_ROLE: Table = Table::new(16, "assignment_by_role");
pub(crate) const ASSIGNMENT_BY_SCOPE: Table = Table::new(29, "assignment_by_scope");
pub(crate) const ASSIGNMENT_BY_END: Table = Table::new(30, "assignment_by_end");
pub(crate) const TABLES: &[Table] = &[ASSIGNMENT, ASSIGNMENT_BY_ROLE, ASSIGNMENT_BY_SCOPE, ASSIGNMENT_BY_END];

/// A role that a user was assigned.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Assignment {
    /// Who holds it.
    pub user: UserId,
    /// What is held.
    pub role: RoleId,
    /// Where and when, and whether it is a denial.
    pub terms: Grant,
    /// Since when it is on record.
    pub since: Timestamp,
    /// Who assigned it; `None` where the application did so itself.
    pub by: Option<UserId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AssignmentRecord {
    pub(crate) user: UserId,
    pub(crate) role: RoleId,
    pub(crate) terms: Grant,
    pub(crate) since: Timestamp,
    pub(crate) by: Option<UserId>,
}

impl Record for AssignmentRecord {
    const TABLE: Table = ASSIGNMENT;
    const INDEXES: &'static [Index<Self>] = &[
        Index::many(ASSIGNMENT_BY_ROLE, |a, keys| keys.add(&(a.role, a.terms.scope))),
        // Those of the global scope and those without an end have no row: they are found by user and by role.
        Index::many(ASSIGNMENT_BY_SCOPE, |a, keys| {
            if a.terms.scope != ScopeId::ROOT {
                keys.add(&a.terms.scope);
            }
        }),
        Index::many(ASSIGNMENT_BY_END, |a, keys| {
            if let Some(until) = a.terms.until {
                keys.add(&until.as_millis());
            }
        }),
    ];
    type Key = ((UserId, RoleId), ScopeId);

    fn key(&self) -> Self::Key {
        ((self.user, self.role), self.terms.scope)
    }
}

impl From<AssignmentRecord> for Assignment {
    fn from(record: AssignmentRecord) -> Self {
        let AssignmentRecord { user, role, terms, since, by } = record;
        Self { user, role, terms, since, by }
    }
}

/// Stages an assignment that must not exist yet; one that has ended makes way. That user, role and scope exist is for
/// the caller to expect.
pub(crate) fn stage_assign(store: &dyn Store, batch: &mut Batch, new: &AssignmentRecord) -> Result<()> {
    match store::read::<AssignmentRecord>(store, &new.key())? {
        Some(old) if old.record.terms.has_ended(new.since) => batch.replace(&old, new),
        Some(_) => {
            let at = new.terms.scope;
            Err(Error::exists("role", format!("{} is assigned {} at {at} already", new.user, new.role)))
        }
        None => batch.insert(new),
    }
}

/// Stages the end of an assignment.
pub(crate) fn stage_unassign(
    store: &dyn Store,
    batch: &mut Batch,
    user: UserId,
    role: RoleId,
    scope: ScopeId,
) -> Result<AssignmentRecord> {
    match store::read::<AssignmentRecord>(store, &((user, role), scope))? {
        Some(old) => {
            batch.remove(&old);
            Ok(old.record)
        }
        None => Err(Error::not_found("role", format_args!("the assignment of {role} to {user} at {scope}"))),
    }
}
