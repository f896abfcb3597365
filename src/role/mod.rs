//! Roles: what they grant, and what they inherit.

mod ops;
mod record;

pub(crate) use ops::{
    New, bits_of, check_room, demanded, expect_hierarchy, heirs, is_limited, is_privileged, present,
    read_role, stage_bits, stage_change, stage_create, stage_delete, stage_drop_bit, stage_drop_parent,
    stage_hierarchy_edit, stage_limit, stage_new_parent, stage_parent, with_juniors, with_seniors,
};
pub(crate) use record::{
    CHUNK_BITS, CHUNK_WORDS, Chunk, DenyChunk, GrantChunk, HierarchyRecord, ROLE, ROLE_BY_NAME,
    ROLE_BY_PARENT, ROLE_DENY, ROLE_GRANT, RoleRecord, TABLES, name_key,
};

use crate::assurance::Assurance;
use crate::clock::Timestamp;
use crate::id::{RoleId, ScopeId, Stamp};

/// Most roles that one role can inherit from directly.
pub(crate) const MAX_PARENTS: usize = 128;

/// A role.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Role {
    /// Never reused.
    pub id: RoleId,
    /// The tenant that it belongs to; [`ScopeId::ROOT`] for a role that can be assigned anywhere.
    pub scope: ScopeId,
    /// Unique within the tenant.
    pub name: String,
    /// For people; may be empty.
    pub description: String,
    /// The roles whose permissions this one holds too; at most 128, and they may have parents in turn.
    pub parents: Vec<RoleId>,
    /// Whether what is done with it, and with roles that inherit from it, is audited apart: see
    /// [`AuditKind::PRIVILEGED`](crate::AuditKind::PRIVILEGED).
    pub privileged: bool,
    /// Whether it keeps its holders: at no scope can the last one lose it.
    pub protected: bool,
    /// How sure a login of whoever holds it, or a role that inherits from it, must be: with
    /// [`Assurance::Two`] it takes a second factor.
    pub assurance: Assurance,
    /// When it was made.
    pub created: Timestamp,
    /// When its name, description or parents last changed.
    pub updated: Timestamp,
    /// Hand it back with a change to be sure nobody else changed the role meanwhile.
    pub stamp: Stamp,
}

/// A change to a role: what is set here changes, all of it or nothing.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct RoleChange {
    pub(crate) expect: Option<Stamp>,
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) privileged: Option<bool>,
    pub(crate) protected: Option<bool>,
    pub(crate) assurance: Option<Assurance>,
}

impl RoleChange {
    /// A change that changes nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses the change with a conflict unless the role still has this stamp.
    pub fn expect(mut self, stamp: Stamp) -> Self {
        self.expect = Some(stamp);
        self
    }

    /// Renames the role.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Describes the role anew; at most 512 bytes.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Asks for so much at the login of whoever holds the role, or one that inherits from it. Sessions that have it active
    /// and are not that sure end.
    pub fn assurance(mut self, least: Assurance) -> Self {
        self.assurance = Some(least);
        self
    }

    /// Marks the role as privileged, or no longer: what is done with it is audited apart.
    pub fn privileged(mut self, privileged: bool) -> Self {
        self.privileged = Some(privileged);
        self
    }

    /// Protects the role, or no longer: the last active holder that it has at a scope can not lose it there, and the role
    /// can not be deleted. A holder is an active user to whom it is assigned there, for good and begun, and who is denied
    /// it nowhere.
    pub fn protected(mut self, protected: bool) -> Self {
        self.protected = Some(protected);
        self
    }
}
