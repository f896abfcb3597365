//! What administrators ask of the read model: answered under the writer's lock, which no check waits for.

use super::part::Part;
use super::policy::Policy;
use super::selection::Choice;
use super::write::Writer;
use super::{View, ViewTime};
use crate::id::{RoleId, ScopeId, SessionId, UserId};
use crate::permission::{Permission, PermissionSet};
use crate::scope::MAX_DEPTH;

/// What a user holds from a scope up to the global one, the scope first.
pub(crate) type Levels = Vec<(ScopeId, Vec<Part>)>;

impl View {
    /// The roles that give a permission, by themselves or through what they inherit, in rising order. One that denies
    /// it as well gives it to nobody.
    pub(crate) fn roles_giving(&self, permission: Permission) -> Vec<RoleId> {
        self.writer.lock().policy.giving(permission)
    }

    /// What the user holds at the scope and above it, at one moment; none if the scope, or one above it, is not there.
    pub(crate) fn levels_of(&self, user: UserId, scope: ScopeId) -> Option<Levels> {
        let writer = self.writer.lock();
        self.levels(&writer, user, scope)
    }

    /// What the user may do at the scope, whatever the user's state.
    pub(crate) fn permissions_at(&self, user: UserId, scope: ScopeId, now: ViewTime) -> PermissionSet {
        let mut writer = self.writer.lock();
        let Some(levels) = self.levels(&writer, user, scope) else { return PermissionSet::new() };
        writer.policy.effective(&together(&levels), None, now)
    }

    /// What can be done in a session at the scope; none if the session is not there.
    pub(crate) fn permissions_of_session(
        &self,
        session: SessionId,
        scope: ScopeId,
        now: ViewTime,
    ) -> Option<PermissionSet> {
        let mut writer = self.writer.lock();
        let spot = self.lines.probe(session.get())?;
        let choice = writer.selections.choice(spot.aside().selection()).cloned();
        let levels = self.levels(&writer, UserId::from_number(spot.user().into()), scope)?;
        if let Some(scopes) = choice.as_deref().and_then(Choice::scopes)
            && !levels.iter().any(|(level, _)| *level != ScopeId::ROOT && scopes.contains(level))
        {
            return Some(PermissionSet::new());
        }
        Some(writer.policy.effective(&together(&levels), choice.as_deref(), now))
    }

    /// A copy of the roles and permissions, to try a change on.
    pub(crate) fn policy(&self) -> Policy {
        self.writer.lock().policy.clone()
    }

    fn levels(&self, writer: &Writer, user: UserId, scope: ScopeId) -> Option<Levels> {
        let (mut found, mut level) = (Vec::new(), scope);
        for _ in 0..=MAX_DEPTH {
            found.push((level, writer.parts(self.set_of(user, level)).to_vec()));
            if level == ScopeId::ROOT {
                return Some(found);
            }
            level = ScopeId::from_number(self.scoped.parent(level.get())?);
        }
        None
    }
}

/// The parts of all levels: for what they come to, it does not matter where each is held.
pub(crate) fn together(levels: &Levels) -> Vec<Part> {
    levels.iter().flat_map(|(_, parts)| parts).copied().collect()
}
