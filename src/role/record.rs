//! How roles are stored: the role with its parents, and its grants as bits in chunks.

use super::Role;
use crate::assurance::Assurance;
use crate::clock::Timestamp;
use crate::id::{Key, RoleId, ScopeId};
use crate::store::{self, Index, Record, Stored, Table};
use serde::{Deserialize, Serialize};

pub(crate) const ROLE: Table = Table::new(11, "role");
pub(crate) const ROLE_BY_NAME: Table = Table::new(12, "role_by_name");
pub(crate) const ROLE_GRANT: Table = Table::new(13, "role_grant");
pub(crate) const ROLE_DENY: Table = Table::new(35, "role_deny");
pub(crate) const ROLE_BY_PARENT: Table = Table::new(49, "role_by_parent");
pub(crate) const ROLE_PRIVILEGED: Table = Table::new(48, "role_privileged");
pub(crate) const ROLE_DEMANDING: Table = Table::new(88, "role_demanding");
pub(crate) const HIERARCHY: Table = Table::new(14, "hierarchy");
pub(crate) const TABLES: &[Table] =
    &[ROLE, ROLE_BY_NAME, ROLE_BY_PARENT, ROLE_PRIVILEGED, ROLE_DEMANDING, ROLE_GRANT, ROLE_DENY, HIERARCHY];

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RoleRecord {
    pub(crate) id: RoleId,
    /// The tenant that it belongs to, or the global scope.
    pub(crate) scope: ScopeId,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) parents: Vec<RoleId>,
    pub(crate) privileged: bool,
    pub(crate) protected: bool,
    /// The least that a login of whoever holds it must come to.
    pub(crate) assurance: Assurance,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
}

/// Where a role is found by its tenant and name.
pub(crate) fn name_key(scope: ScopeId, name: &str) -> Vec<u8> {
    let mut key = scope.bytes();
    key.extend(store::index_prefix(name));
    key
}

impl Record for RoleRecord {
    const TABLE: Table = ROLE;
    const INDEXES: &'static [Index<Self>] = &[
        Index::unique(ROLE_BY_NAME, |role, keys| keys.add_raw(name_key(role.scope, &role.name))),
        Index::many(ROLE_BY_PARENT, |role, keys| role.parents.iter().for_each(|parent| keys.add(parent))),
        // Few are: so whether a role inherits from one of them is told from their side.
        Index::many(ROLE_PRIVILEGED, |role, keys| {
            if role.privileged {
                keys.add(&0u8);
            }
        }),
        Index::many(ROLE_DEMANDING, |role, keys| {
            if role.assurance > Assurance::One {
                keys.add(&0u8);
            }
        }),
    ];
    type Key = RoleId;

    fn key(&self) -> RoleId {
        self.id
    }
}

impl From<Stored<RoleRecord>> for Role {
    fn from(stored: Stored<RoleRecord>) -> Self {
        let RoleRecord {
            id,
            scope,
            name,
            description,
            parents,
            privileged,
            protected,
            assurance,
            created,
            updated,
        } = stored.record;
        let stamp = stored.version.into();
        Self {
            id,
            scope,
            name,
            description,
            parents,
            privileged,
            protected,
            assurance,
            created,
            updated,
            stamp,
        }
    }
}

/// Some of the permissions that a role grants, or those that it denies: 8,192 bits a row, so that a role of a thousand
/// permissions is still one small row and a change to it one small batch. A chunk with no bit set has no row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Chunk<const DENY: bool> {
    pub(crate) role: RoleId,
    pub(crate) chunk: u32,
    pub(crate) words: Vec<u64>,
}

pub(crate) type GrantChunk = Chunk<false>;
pub(crate) type DenyChunk = Chunk<true>;

/// Words and bits in a chunk.
pub(crate) const CHUNK_WORDS: usize = 128;
pub(crate) const CHUNK_BITS: u32 = 8192;

impl<const DENY: bool> Record for Chunk<DENY> {
    const TABLE: Table = if DENY { ROLE_DENY } else { ROLE_GRANT };
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
    /// Whether a role inherits from one other at most.
    pub(crate) limited: bool,
}

impl Record for HierarchyRecord {
    const TABLE: Table = HIERARCHY;
    const INDEXES: &'static [Index<Self>] = &[];
    type Key = u8;

    fn key(&self) -> u8 {
        0
    }
}
