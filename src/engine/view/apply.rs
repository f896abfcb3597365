//! From stored rows to the view: one function, called for every row at open and for every commit after it.

use super::{SessionLine, UserState, View, ViewTime};
use crate::assignment::{ASSIGNMENT, AssignmentRecord};
use crate::catalog::{PERMISSION, PermissionRecord};
use crate::error::Result;
use crate::id::{Key, RoleId, SessionId, UserId};
use crate::permission::Permission;
use crate::role::{GrantChunk, ROLE, ROLE_GRANT, RoleRecord};
use crate::session::{SESSION, SessionRecord};
use crate::store::{Change, Sink, Table, decode};
use crate::user::{Status, StatusKind, USER, UserRecord};

impl View {
    /// The tables that the view is made of; all other rows mean nothing to it.
    pub(crate) const TABLES: &'static [Table] = &[PERMISSION, ROLE, ROLE_GRANT, USER, ASSIGNMENT, SESSION];

    fn take(&self, change: &Change) -> Result<()> {
        let (key, value) = (change.key.as_slice(), change.value.as_deref());
        match (change.table, value) {
            (USER, Some(value)) => {
                let user: UserRecord = decode(value)?;
                self.put_user(user.id, state_of(&user.status), user.generation)
            }
            (USER, None) => {
                self.remove_user(UserId::read(key)?);
                Ok(())
            }
            (ASSIGNMENT, Some(value)) => {
                let assignment: AssignmentRecord = decode(value)?;
                self.assign(assignment.user, assignment.role)
            }
            (ASSIGNMENT, None) => {
                let (user, role) = Key::read(key)?;
                self.unassign(user, role)
            }
            (SESSION, Some(value)) => self.put_session(&line_of(&decode(value)?)),
            (SESSION, None) => {
                self.remove_session(SessionId::read(key)?);
                Ok(())
            }
            (ROLE, Some(value)) => {
                let role: RoleRecord = decode(value)?;
                self.put_role(role.id, &role.parents)
            }
            (ROLE, None) => {
                self.remove_role(RoleId::read(key)?);
                Ok(())
            }
            (ROLE_GRANT, Some(value)) => {
                let grant: GrantChunk = decode(value)?;
                self.put_chunk(grant.role, grant.chunk, &grant.words)
            }
            (ROLE_GRANT, None) => {
                let (role, chunk) = Key::read(key)?;
                self.remove_chunk(role, chunk)
            }
            (PERMISSION, Some(value)) => self.define(decode::<PermissionRecord>(value)?.permission),
            (PERMISSION, None) => self.undefine(Permission::read(key)?),
            _ => Ok(()),
        }
    }

    /// Whether the view says of a user what the records say.
    pub(crate) fn agrees_on_user(&self, user: &UserRecord, roles: &[RoleId]) -> bool {
        self.user(user.id) == Some((state_of(&user.status), user.generation))
            && self.roles_of(user.id) == roles
    }

    /// Whether the view says of a session what the record says; only its last-seen time may be ahead.
    pub(crate) fn agrees_on_session(&self, session: &SessionRecord) -> bool {
        let due = line_of(session);
        self.session(session.id)
            .is_some_and(|line| line.seen >= due.seen && SessionLine { seen: due.seen, ..line } == due)
    }
}

impl Sink for View {
    fn apply(&self, changes: &[Change]) -> Result<()> {
        changes.iter().try_for_each(|change| self.take(change))
    }

    fn stop(&self, why: &str) {
        // The first reason stays.
        let _ = self.why_stopped.set(why.to_owned());
        View::stop(self);
    }
}

fn state_of(status: &Status) -> UserState {
    match (status.kind, status.until) {
        (StatusKind::Active, _) => UserState::Active,
        (_, None) => UserState::Refused,
        // Stored in whole seconds, so that nothing is lost here.
        (_, Some(end)) => {
            match ViewTime::from(end) {
                // Too far away to be told: never, rather than when the clock gets there.
                ViewTime::LAST => UserState::Refused,
                end => UserState::RefusedUntil(end),
            }
        }
    }
}

fn line_of(session: &SessionRecord) -> SessionLine {
    SessionLine {
        id: session.id,
        digest: session.digest,
        user: session.user,
        generation: session.generation,
        deadline: ViewTime::from(session.expires),
        idle_timeout: session.idle_secs,
        seen: ViewTime::from(session.seen),
    }
}
