//! What the tests and the models of the view put into it.

use super::*;
use crate::grant::Grant;
use crate::id::RoleId;

pub(super) fn user(n: u64) -> UserId {
    UserId::from_number(n)
}
pub(super) fn role(n: u32) -> RoleId {
    RoleId::from_number(n)
}
pub(super) fn bit(n: u32) -> Permission {
    Permission::from_bit(n)
}
/// A live session of a user in generation 0.
pub(super) fn session(id: u64, user: u64) -> SessionLine {
    let mut digest = [7; 32];
    digest[..8].copy_from_slice(&id.to_le_bytes());
    SessionLine {
        id: SessionId::from_number(id),
        digest,
        user: UserId::from_number(user),
        generation: 0,
        selection: 0,
        era: 0,
        deadline: ViewTime::NEVER,
        idle_timeout: 0,
        seen: ViewTime::from_secs(0),
        noted: false,
    }
}

#[expect(clippy::unwrap_used, reason = "for tests and models alone: what was put is there")]
pub(super) fn handle(view: &View, id: u64) -> SessionHandle {
    view.find(SessionId::from_number(id)).unwrap().handle()
}

/// For ever.
pub(super) fn denial(permission: Permission) -> Part {
    Part::new(Holding::Permission(permission), &Grant::new().denying())
}

pub(super) fn grant(permission: Permission) -> Part {
    Part::new(Holding::Permission(permission), &Grant::new())
}

impl View {
    pub(super) fn assign_role(&self, user: UserId, role: RoleId) -> Result<()> {
        self.assign(user, ScopeId::ROOT, Part::role(role))
    }

    pub(super) fn unassign_role(&self, user: UserId, role: RoleId) -> Result<()> {
        self.unassign(user, ScopeId::ROOT, Holding::Role(role))
    }

    pub(super) fn put_grants(&self, role: RoleId, chunk: u32, words: &[u64]) -> Result<()> {
        self.put_chunk(role, chunk, words, false)
    }

    pub(super) fn remove_grants(&self, role: RoleId, chunk: u32) -> Result<()> {
        self.put_chunk(role, chunk, &[], false)
    }
}
