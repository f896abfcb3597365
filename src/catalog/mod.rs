//! The catalogue of permissions that an application defines: a name, and the bit that stands for it for ever.

mod declared;
mod object;

pub use declared::DeclaredPermission;
pub(crate) use declared::agreed;
pub(crate) use object::{is_object, object_prefix, operations_of};

use crate::clock::Timestamp;
use crate::error::Result;
use crate::permission::Permission;
use crate::store::{self, Batch, Index, Record, Store, Stored, Table};
use crate::text;
use serde::{Deserialize, Serialize};

pub(crate) const PERMISSION: Table = Table::new(9, "permission");
pub(crate) const PERMISSION_BY_NAME: Table = Table::new(10, "permission_by_name");
pub(crate) const PERMISSION_RETIRED: Table = Table::new(60, "permission_retired");
pub(crate) const TABLES: &[Table] = &[PERMISSION, PERMISSION_BY_NAME, PERMISSION_RETIRED];

/// A permission as it was defined.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PermissionInfo {
    /// What to check with.
    pub permission: Permission,
    /// Such as `report:read`; unique.
    pub name: String,
    /// For people; may be empty.
    pub description: String,
    /// When it was defined.
    pub created: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PermissionRecord {
    pub(crate) permission: Permission,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) created: Timestamp,
}

impl Record for PermissionRecord {
    const TABLE: Table = PERMISSION;
    const INDEXES: &'static [Index<Self>] =
        &[Index::unique(PERMISSION_BY_NAME, |p, keys| keys.add_text(&p.name))];
    type Key = Permission;

    fn key(&self) -> Permission {
        self.permission
    }
}

/// A bit whose permission was deleted. The row stays for ever: programs, logs and copies may name the bit still, so
/// that it must never stand for anything else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RetiredRecord {
    pub(crate) permission: Permission,
    pub(crate) name: String,
    pub(crate) retired: Timestamp,
}

impl Record for RetiredRecord {
    const TABLE: Table = PERMISSION_RETIRED;
    const INDEXES: &'static [Index<Self>] = &[];
    type Key = Permission;

    fn key(&self) -> Permission {
        self.permission
    }
}

impl From<PermissionRecord> for PermissionInfo {
    fn from(record: PermissionRecord) -> Self {
        let PermissionRecord { permission, name, description, created } = record;
        Self { permission, name, description, created }
    }
}

/// The permission of that name, if there is one.
pub(crate) fn find(store: &dyn Store, name: &str) -> Result<Option<Stored<PermissionRecord>>> {
    text::name("permission.name", name)?;
    store::find(store, PERMISSION_BY_NAME, &store::index_prefix(name))
}

/// Stages a permission under a bit that has never been used.
pub(crate) fn stage_define(
    batch: &mut Batch,
    permission: Permission,
    name: &str,
    description: &str,
    now: Timestamp,
) -> Result<()> {
    text::name("permission.name", name)?;
    text::plain("permission.description", description, text::MAX_TEXT)?;
    batch.insert(&PermissionRecord {
        permission,
        name: name.to_owned(),
        description: description.to_owned(),
        created: now,
    })
}

/// Stages the permission away, and that its bit is never to be used again.
pub(crate) fn stage_delete(batch: &mut Batch, old: &Stored<PermissionRecord>, now: Timestamp) -> Result<()> {
    batch.remove(old);
    let PermissionRecord { permission, name, .. } = old.record.clone();
    batch.insert(&RetiredRecord { permission, name, retired: now })
}

/// Stages another description.
pub(crate) fn stage_describe(
    batch: &mut Batch,
    old: &Stored<PermissionRecord>,
    description: &str,
) -> Result<PermissionRecord> {
    text::plain("permission.description", description, text::MAX_TEXT)?;
    let new = PermissionRecord { description: description.to_owned(), ..old.record.clone() };
    batch.replace(old, &new)?;
    Ok(new)
}
