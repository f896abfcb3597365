//! The tree of scopes: tenants, projects, resources. What is assigned at a scope holds below it too.

mod ops;

pub(crate) use ops::{
    expect_tree, levels, parse_path, path_of, read_scope, stage_create, stage_delete, stage_move,
    stage_rename, tenant_of,
};

use crate::clock::Timestamp;
use crate::id::{Key, ScopeId, Stamp};
use crate::store::{self, Index, Record, Stored, Table};
use serde::{Deserialize, Serialize};

pub(crate) const SCOPE: Table = Table::new(26, "scope");
pub(crate) const SCOPE_BY_NAME: Table = Table::new(27, "scope_by_name");
pub(crate) const SCOPE_TREE: Table = Table::new(28, "scope_tree");
pub(crate) const TABLES: &[Table] = &[SCOPE, SCOPE_BY_NAME, SCOPE_TREE];

/// Most levels below the global scope.
pub(crate) const MAX_DEPTH: usize = 32;

/// A scope: a tenant where it lies directly in the global one, a project or a resource further down.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Scope {
    /// Never reused.
    pub id: ScopeId,
    /// What it lies in; [`ScopeId::ROOT`] for a tenant.
    pub parent: ScopeId,
    /// Unique among its siblings, such as `project:42`; no `/`.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// Hand it back with a change to be sure nobody else changed the scope meanwhile.
    pub stamp: Stamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ScopeRecord {
    pub(crate) id: ScopeId,
    pub(crate) parent: ScopeId,
    pub(crate) name: String,
    pub(crate) created: Timestamp,
}

/// Where a scope is found by its parent and name; with an empty name, the prefix of all children.
pub(crate) fn name_key(parent: ScopeId, name: &str) -> Vec<u8> {
    let mut key = parent.bytes();
    key.extend(store::index_prefix(name));
    key
}

impl Record for ScopeRecord {
    const TABLE: Table = SCOPE;
    const INDEXES: &'static [Index<Self>] =
        &[Index::unique(SCOPE_BY_NAME, |scope, keys| keys.add_raw(name_key(scope.parent, &scope.name)))];
    type Key = ScopeId;

    fn key(&self) -> ScopeId {
        self.id
    }
}

impl From<Stored<ScopeRecord>> for Scope {
    fn from(stored: Stored<ScopeRecord>) -> Self {
        let ScopeRecord { id, parent, name, created } = stored.record;
        Self { id, parent, name, created, stamp: stored.version.into() }
    }
}

/// One row that every move in the tree rewrites: two moves that close a cycle only together meet here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ScopeTreeRecord {
    pub(crate) moves: u64,
}

impl Record for ScopeTreeRecord {
    const TABLE: Table = SCOPE_TREE;
    const INDEXES: &'static [Index<Self>] = &[];
    type Key = u8;

    fn key(&self) -> u8 {
        0
    }
}
