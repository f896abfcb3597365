//! Separation of duty: sets of roles of which nobody may hold, or have active at once, as many as a given number (ANSI
//! INCITS 359-2004, sections 6.3 and 6.4).

mod ops;

pub(crate) use ops::{
    Traces, expect_sets, read_set, stage_cardinality, stage_create, stage_delete, stage_drop_role,
    stage_edit, stage_member,
};

use crate::clock::Timestamp;
use crate::id::{Key, RoleId, SeparationId, Stamp};
use crate::store::{self, Index, Record, Stored, Table};
use serde::{Deserialize, Serialize};
use std::fmt;

pub(crate) const SEPARATION: Table = Table::new(36, "separation");
pub(crate) const SEPARATION_BY_NAME: Table = Table::new(37, "separation_by_name");
pub(crate) const SEPARATION_BY_ROLE: Table = Table::new(38, "separation_by_role");
pub(crate) const SEPARATION_STATE: Table = Table::new(39, "separation_state");
pub(crate) const TABLES: &[Table] = &[SEPARATION, SEPARATION_BY_NAME, SEPARATION_BY_ROLE, SEPARATION_STATE];

/// Most roles in one set.
pub(crate) const MAX_ROLES: usize = 128;
/// Most sets of a database: whoever is assigned a role is held against them all.
pub(crate) const MAX_SETS: usize = 1000;

/// When duties are kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SeparationKind {
    /// Always: nobody holds as many of the roles as the number (static separation of duty, SSD).
    Static,
    /// At one time: nobody has as many of the roles active in one session (dynamic separation of duty, DSD).
    Dynamic,
}

impl fmt::Display for SeparationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Static => "static",
            Self::Dynamic => "dynamic",
        })
    }
}

/// A set of roles that are kept apart.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Separation {
    /// Never reused.
    pub id: SeparationId,
    /// Whether they are kept apart always, or within a session.
    pub kind: SeparationKind,
    /// Unique among the sets of that kind.
    pub name: String,
    /// The roles, by number; at most 128.
    pub roles: Vec<RoleId>,
    /// The number that nobody may come to; from 2 to the number of roles.
    pub cardinality: u32,
    /// When it was made.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
    /// Changes with every change.
    pub stamp: Stamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SeparationRecord {
    pub(crate) id: SeparationId,
    pub(crate) kind: SeparationKind,
    pub(crate) name: String,
    /// In rising order, each once.
    pub(crate) roles: Vec<RoleId>,
    pub(crate) cardinality: u32,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
}

impl SeparationRecord {
    /// How many of the roles are among these.
    pub(crate) fn count<'a>(&self, roles: impl IntoIterator<Item = &'a RoleId>) -> usize {
        roles.into_iter().filter(|role| self.roles.binary_search(role).is_ok()).count()
    }

    /// Whether so many of the roles are too many.
    pub(crate) const fn forbids(&self, count: usize) -> bool {
        count >= self.cardinality as usize
    }
}

/// Where a set is found by its kind and name; with an empty name, the prefix of the kind is its first byte.
pub(crate) fn name_key(kind: SeparationKind, name: &str) -> Vec<u8> {
    let mut key = (kind as u8).bytes();
    key.extend(store::index_prefix(name));
    key
}

impl Record for SeparationRecord {
    const TABLE: Table = SEPARATION;
    const INDEXES: &'static [Index<Self>] = &[
        Index::unique(SEPARATION_BY_NAME, |set, keys| keys.add_raw(name_key(set.kind, &set.name))),
        Index::many(SEPARATION_BY_ROLE, |set, keys| set.roles.iter().for_each(|role| keys.add(role))),
    ];
    type Key = SeparationId;

    fn key(&self) -> SeparationId {
        self.id
    }
}

impl From<Stored<SeparationRecord>> for Separation {
    fn from(stored: Stored<SeparationRecord>) -> Self {
        let SeparationRecord { id, kind, name, roles, cardinality, created, updated } = stored.record;
        Self { id, kind, name, roles, cardinality, created, updated, stamp: stored.version.into() }
    }
}

/// Three rows in which those meet who could break a separation only together.
///
/// `EDITS` is rewritten with every change of the sets; whoever gives roles or opens a session expects it as it was read.
/// Where there are sets, `ROLES` is rewritten by whoever gives somebody roles, and `SESSIONS` by whoever opens a session or
/// makes roles active in one; whoever judges what others hold, or have active, expects the one or both as they were read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SeparationStateRecord {
    pub(crate) which: u8,
    pub(crate) count: u64,
}

pub(crate) const EDITS: u8 = 0;
pub(crate) const ROLES: u8 = 1;
pub(crate) const SESSIONS: u8 = 2;

impl Record for SeparationStateRecord {
    const TABLE: Table = SEPARATION_STATE;
    const INDEXES: &'static [Index<Self>] = &[];
    type Key = u8;

    fn key(&self) -> u8 {
        self.which
    }
}
