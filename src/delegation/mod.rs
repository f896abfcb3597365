//! Delegations: what holders of an admin role may do with which roles.
//!
//! The notions are those of administrative role-based access control (ARBAC97: Sandhu, Bhamidipati, Munawer, 1999): an
//! admin role, a range of roles, and what may be done with them. Where is said by the assignment of the admin role.

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::{DelegationId, Key, RoleId, UserId};
use crate::store::{self, Batch, Expect, Index, Record, Store, Table};
use serde::{Deserialize, Serialize};

pub(crate) const DELEGATION: Table = Table::new(42, "delegation");
pub(crate) const DELEGATION_BY_ROLE: Table = Table::new(43, "delegation_by_role");
pub(crate) const DELEGATIONS: Table = Table::new(44, "delegations");
pub(crate) const TABLES: &[Table] = &[DELEGATION, DELEGATION_BY_ROLE, DELEGATIONS];

/// Most roles that a range can list.
pub(crate) const MAX_LISTED: usize = 64;

/// Which roles a delegation is about.
///
/// A role that is an admin role, or inherits from one, is in no range whatever the range says: administrators are
/// appointed by the application alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RoleRange {
    /// These; at most 64.
    Roles(Vec<RoleId>),
    /// This one and all that it inherits from, near or far, as that is at the time. In the tenant of a role that belongs
    /// to one.
    Below(RoleId),
}

/// One of the things that a delegation lets its holders do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Ability {
    /// Give roles of the range to others: assign them, and lift denials of them.
    Assign,
    /// Take roles of the range from others: unassign them, and deny them.
    Unassign,
    /// Change what roles of the range grant and deny, as far as roles of the range give it, which of each other they
    /// inherit from, and their names and descriptions. A role that belongs to no tenant can be changed by who holds the
    /// admin role everywhere.
    ChangeRoles,
    /// Give others without a role, or forbid them, what roles of the range give, and take that back.
    GrantDirectly,
    /// Make scopes, rename and delete them, and move them where that changes nobody's permissions but those of the range.
    ManageScopes,
    /// Create users at home there, and administer those who are at home there and hold nothing that is not in the range:
    /// names, profiles, contacts, status, passwords, sessions, deletion.
    ManageUsers,
}

/// What whoever holds a role may administer, where that role is held and below.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delegation {
    /// Never reused.
    pub id: DelegationId,
    /// The admin role: who holds it, or one that inherits from it, may do this.
    pub role: RoleId,
    /// With which roles.
    pub range: RoleRange,
    /// What may be done; in order, each once.
    pub abilities: Vec<Ability>,
    /// When it was made.
    pub created: Timestamp,
    /// Who made it; `None` where the application did so itself.
    pub by: Option<UserId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DelegationRecord {
    pub(crate) id: DelegationId,
    pub(crate) role: RoleId,
    pub(crate) range: RoleRange,
    pub(crate) abilities: Vec<Ability>,
    pub(crate) created: Timestamp,
    pub(crate) by: Option<UserId>,
}

impl Record for DelegationRecord {
    const TABLE: Table = DELEGATION;
    const INDEXES: &'static [Index<Self>] = &[Index::many(DELEGATION_BY_ROLE, |d, keys| keys.add(&d.role))];
    type Key = DelegationId;

    fn key(&self) -> DelegationId {
        self.id
    }
}

impl From<DelegationRecord> for Delegation {
    fn from(record: DelegationRecord) -> Self {
        let DelegationRecord { id, role, range, abilities, created, by } = record;
        Self { id, role, range, abilities, created, by }
    }
}

/// One row that every making and deleting of a delegation rewrites: whoever expects it unchanged expects all of them
/// unchanged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DelegationsRecord {
    /// The number of the next one.
    pub(crate) next: u32,
    pub(crate) edits: u64,
}

impl Record for DelegationsRecord {
    const TABLE: Table = DELEGATIONS;
    const INDEXES: &'static [Index<Self>] = &[];
    type Key = u8;

    fn key(&self) -> u8 {
        0
    }
}

impl RoleRange {
    /// In order and each once; refuses one that is empty or too long.
    pub(crate) fn checked(self) -> Result<Self> {
        let Self::Roles(mut roles) = self else { return Ok(self) };
        roles.sort_unstable();
        roles.dedup();
        match roles.len() {
            0 => Err(Error::invalid(
                "delegation.range",
                "is empty; list the roles, or name one and all below it",
            )),
            1..=MAX_LISTED => Ok(Self::Roles(roles)),
            many => Err(Error::limit(
                "delegation.range",
                format!(
                    "lists {many} roles; at most {MAX_LISTED} are taken, or all that one role inherits from"
                ),
            )),
        }
    }

    /// The roles that it names.
    pub(crate) fn named(&self) -> &[RoleId] {
        match self {
            Self::Roles(roles) => roles,
            Self::Below(role) => std::slice::from_ref(role),
        }
    }
}

/// Stages a delegation under a number that none has had.
pub(crate) fn stage_create(
    store: &dyn Store,
    batch: &mut Batch,
    mut new: DelegationRecord,
) -> Result<DelegationId> {
    new.id = stage_edit(store, batch, 1)?;
    batch.insert(&new)?;
    Ok(new.id)
}

/// Stages the end of a delegation.
pub(crate) fn stage_delete(
    store: &dyn Store,
    batch: &mut Batch,
    id: DelegationId,
) -> Result<DelegationRecord> {
    let old =
        store::read::<DelegationRecord>(store, &id)?.ok_or_else(|| Error::not_found("delegation", id))?;
    batch.remove(&old);
    stage_edit(store, batch, 0)?;
    Ok(old.record)
}

/// Stages that the delegations change, and takes numbers. Returns the first of them.
fn stage_edit(store: &dyn Store, batch: &mut Batch, numbers: u32) -> Result<DelegationId> {
    let old = store::read::<DelegationsRecord>(store, &0)?;
    let next = old.as_ref().map_or(0, |old| old.record.next);
    let after = next.checked_add(numbers).ok_or_else(|| Error::limit("delegation", "numbers are used up"))?;
    let edits = old.as_ref().map_or(0, |old| old.record.edits).wrapping_add(1);
    let new = DelegationsRecord { next: after, edits };
    match old {
        Some(old) => batch.replace(&old, &new)?,
        None => batch.insert(&new)?,
    }
    Ok(DelegationId::from_number(next))
}

/// Expects that no delegation is made or deleted between this call and the commit.
pub(crate) fn expect_same(store: &dyn Store, batch: &mut Batch) -> Result<()> {
    match store::read::<DelegationsRecord>(store, &0)? {
        Some(row) => batch.expect_unchanged(&row),
        None => batch.expect(DELEGATIONS, 0u8.bytes(), Expect::Absent),
    }
    Ok(())
}
