//! From stored rows to the view: one function, called for every row at open and for every commit after it.

use super::{FlagSettings, Holding, KeyLine, Note, Part, SessionLine, UserState, View, ViewTime};
use crate::access::{ACCESS, AccessRecord};
use crate::apikey::{API_KEY, ApiKeyRecord};
use crate::assignment::{ASSIGNMENT, AssignmentRecord};
use crate::catalog::{PERMISSION, PermissionRecord};
use crate::error::Result;
use crate::flag::{FLAG, FLAG_RULE, FlagRecord, FlagRuleRecord, FlagTarget};
use crate::id::{ApiKeyId, Flag, Key, RoleId, ScopeId, SessionId, UserId};
use crate::permission::Permission;
use crate::role::{Chunk, DenyChunk, GrantChunk, ROLE, ROLE_DENY, ROLE_GRANT, RoleRecord};
use crate::scope::{SCOPE, ScopeRecord};
use crate::session::{SESSION, SESSION_ERA, SessionEraRecord, SessionRecord};
use crate::store::{Change, Sink, Table, decode};
use crate::user::{Status, StatusKind, USER, UserRecord};

impl View {
    /// The tables that the view is made of; all other rows mean nothing to it.
    pub(crate) const TABLES: &'static [Table] = &[
        PERMISSION,
        ROLE,
        ROLE_GRANT,
        ROLE_DENY,
        SCOPE,
        USER,
        ASSIGNMENT,
        ACCESS,
        SESSION,
        SESSION_ERA,
        API_KEY,
        FLAG,
        FLAG_RULE,
    ];

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
                let AssignmentRecord { user, role, terms, .. } = decode(value)?;
                self.assign(user, terms.scope, Part::new(Holding::Role(role), &terms))
            }
            (ASSIGNMENT, None) => {
                let ((user, role), scope) = Key::read(key)?;
                self.unassign(user, scope, Holding::Role(role))
            }
            (ACCESS, Some(value)) => {
                let AccessRecord { user, permission, terms, .. } = decode(value)?;
                self.assign(user, terms.scope, Part::new(Holding::Permission(permission), &terms))
            }
            (ACCESS, None) => {
                let ((user, permission), scope) = Key::read(key)?;
                self.unassign(user, scope, Holding::Permission(permission))
            }
            (SCOPE, Some(value)) => {
                let scope: ScopeRecord = decode(value)?;
                self.put_scope(scope.id, scope.parent)
            }
            (SCOPE, None) => {
                self.remove_scope(ScopeId::read(key)?);
                Ok(())
            }
            (SESSION, Some(value)) => {
                let session: SessionRecord = decode(value)?;
                if let Some(note) = note_of(&session) {
                    self.put_note(session.id, note);
                }
                self.put_session(&line_of(&session), session.roles.as_deref())
            }
            (SESSION, None) => {
                self.remove_session(SessionId::read(key)?);
                Ok(())
            }
            (API_KEY, Some(value)) => self.put_key(KeyLine::from(&decode::<ApiKeyRecord>(value)?)),
            (API_KEY, None) => {
                self.remove_key(ApiKeyId::read(key)?);
                Ok(())
            }
            (SESSION_ERA, Some(value)) => {
                self.put_era(decode::<SessionEraRecord>(value)?.era);
                Ok(())
            }
            (SESSION_ERA, None) => {
                self.put_era(0);
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
            (ROLE_GRANT, Some(value)) => self.take_chunk(&decode::<GrantChunk>(value)?),
            (ROLE_DENY, Some(value)) => self.take_chunk(&decode::<DenyChunk>(value)?),
            (ROLE_GRANT | ROLE_DENY, None) => {
                let (role, chunk) = Key::read(key)?;
                self.put_chunk(role, chunk, &[], change.table == ROLE_DENY)
            }
            (PERMISSION, Some(value)) => self.define(decode::<PermissionRecord>(value)?.permission),
            (PERMISSION, None) => self.undefine(Permission::read(key)?),
            (FLAG, Some(value)) => {
                let flag: FlagRecord = decode(value)?;
                self.put_flag(flag.flag, Some(FlagSettings::of(&flag)))
            }
            (FLAG, None) => self.put_flag(Flag::read(key)?, None),
            (FLAG_RULE, Some(value)) => {
                let FlagRuleRecord { flag, target, terms, .. } = decode(value)?;
                self.put_rule(flag, target, terms.scope, Some(&terms))
            }
            (FLAG_RULE, None) => {
                let ((flag, target), scope) = Key::read(key)?;
                self.put_rule(flag, FlagTarget::of_key(target)?, scope, None)
            }
            _ => Ok(()),
        }
    }

    fn take_chunk<const DENY: bool>(&self, chunk: &Chunk<DENY>) -> Result<()> {
        self.put_chunk(chunk.role, chunk.chunk, &chunk.words, DENY)
    }

    /// Whether the view says of a user what the record says.
    pub(crate) fn agrees_on_user(&self, user: &UserRecord) -> bool {
        self.user(user.id) == Some((state_of(&user.status), user.generation))
    }

    /// Whether the view says of a session what the record says; only its last-seen time may be ahead.
    pub(crate) fn agrees_on_session(&self, session: &SessionRecord) -> bool {
        let due = line_of(session);
        self.session(session.id).is_some_and(|line| {
            let SessionLine { selection, .. } = due;
            line.seen >= due.seen && SessionLine { seen: due.seen, selection, ..line } == due
        }) && self.selected_roles(session.id) == session.roles
            && self.note(session.id) == note_of(session)
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

const _: () = assert!(crate::user::LAST_GENERATION < super::lines::LAST_GENERATION);

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
        selection: 0,
        deadline: ViewTime::from(session.deadline()),
        idle_timeout: session.token_idle_secs(),
        seen: ViewTime::from(session.seen),
        era: session.era,
        noted: session.impersonator.is_some(),
    }
}

fn note_of(session: &SessionRecord) -> Option<Note> {
    session.impersonator.is_some().then_some(Note { impersonator: session.impersonator })
}
