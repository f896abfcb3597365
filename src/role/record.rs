//! How roles are stored: the role with its parents, and its grants as bits in chunks.

use super::Role;
use crate::clock::Timestamp;
use crate::id::RoleId;
use crate::store::{Index, Record, Stored, Table};
use serde::{Deserialize, Serialize};

pub(crate) const ROLE: Table = Table::new(11, "role");
pub(crate) const ROLE_BY_NAME: Table = Table::new(12, "role_by_name");
pub(crate) const ROLE_GRANT: Table = Table::new(13, "role_grant");
pub(crate) const HIERARCHY: Table = Table::new(14, "hierarchy");
pub(crate) const TABLES: &[Table] = &[ROLE, ROLE_BY_NAME, ROLE_GRANT, HIERARCHY];

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RoleRecord {
    pub(crate) id: RoleId,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) parents: Vec<RoleId>,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
}

impl Record for RoleRecord {
    const TABLE: Table = ROLE;
    const INDEXES: &'static [Index<Self>] =
        &[Index::unique(ROLE_BY_NAME, |role, keys| keys.add_text(&role.name))];
    type Key = RoleId;

    fn key(&self) -> RoleId {
        self.id
    }
}

impl From<Stored<RoleRecord>> for Role {
    fn from(stored: Stored<RoleRecord>) -> Self {
        let RoleRecord { id, name, description, parents, created, updated } = stored.record;
        Self { id, name, description, parents, created, updated, stamp: stored.version.into() }
    }
}

/// Some of a role's granted permissions: 8,192 bits a row, so that a role of a thousand permissions is still one
/// small row and a change to it one small batch. A chunk with no bit set has no row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GrantChunk {
    pub(crate) role: RoleId,
    pub(crate) chunk: u32,
    pub(crate) words: Vec<u64>,
}

impl GrantChunk {
    pub(crate) const WORDS: usize = 128;
    pub(crate) const BITS: u32 = 8192;
}

impl Record for GrantChunk {
    const TABLE: Table = ROLE_GRANT;
    const INDEXES: &'static [Index<Self>] = &[];
    type Key = (RoleId, u32);

    fn key(&self) -> Self::Key {
        (self.role, self.chunk)
    }
}

/// One row that every change of the inheritance edges rewrites: two edges that close a cycle only together meet
/// here, and one of them is planned again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HierarchyRecord {
    pub(crate) edits: u64,
}

impl Record for HierarchyRecord {
    const TABLE: Table = HIERARCHY;
    const INDEXES: &'static [Index<Self>] = &[];
    type Key = u8;

    fn key(&self) -> u8 {
        0
    }
}
