//! From the rows of a commit to entries: beside the view, in the order of the commits, after the view has the change.

use super::AccessChangeKind as Kind;
use super::ring::Ring;
use crate::access::{ACCESS, AccessRecord};
use crate::apikey::API_KEY;
use crate::assignment::{ASSIGNMENT, AssignmentRecord};
use crate::catalog::PERMISSION;
use crate::clock::Clock;
use crate::engine::ending::Ending;
use crate::engine::timeline::Timeline;
use crate::engine::view::{Holding, SessionLine, UserState, View, ViewTime};
use crate::error::Result;
use crate::flag::{FLAG, FLAG_RULE};
use crate::id::{ApiKeyId, Flag, Key, RoleId, ScopeId, SessionId, UserId};
use crate::permission::Permission;
use crate::role::{ROLE, ROLE_DENY, ROLE_GRANT};
use crate::scope::SCOPE;
use crate::session::{SESSION, SESSION_ERA, SessionEraRecord, is_of_era};
use crate::store::{Change, Sink, decode};
use crate::user::USER;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Hears of every commit: tells the view, and then the readers.
pub(in crate::engine) struct Relay {
    pub(in crate::engine) view: Arc<View>,
    pub(super) ring: Arc<Ring>,
    pub(in crate::engine) clock: Arc<dyn Clock>,
    pub(in crate::engine) timeline: Arc<Timeline>,
    pub(in crate::engine) ending: Arc<Ending>,
}

/// What a row is about, with what the view said of it before the commit where that decides.
enum Before {
    User(UserId, Option<(UserState, u32)>),
    Session(SessionId, Option<SessionSeen>),
    Key(ApiKeyId, Option<SessionLine>),
    Rights(UserId, ScopeId),
    Told(Kind),
}

/// What was told of a session: everything but its times of use, and not the generation, which rises where a session is
/// kept while all others of its user end.
#[derive(PartialEq, Eq)]
struct SessionSeen {
    digest: [u8; 32],
    deadline: ViewTime,
    idle_timeout: u32,
    roles: Option<Vec<RoleId>>,
}

impl Relay {
    /// The time, by which to tell what is over already. The clock is the application's and this is the commit's thread: where
    /// the clock panics, nothing is over, so that there are more entries and none is missed.
    fn now(&self) -> ViewTime {
        let now = catch_unwind(AssertUnwindSafe(|| self.timeline.at(|| self.clock.now())));
        now.map_or_else(|_| ViewTime::default(), ViewTime::from)
    }

    fn before(&self, change: &Change, now: ViewTime) -> Result<Option<Before>> {
        let (key, value) = (change.key.as_slice(), change.value.as_deref());
        Ok(Some(match (change.table, value) {
            (USER, _) => {
                let user = UserId::read(key)?;
                Before::User(user, self.view.user(user))
            }
            (SESSION, Some(_)) => {
                let session = SessionId::read(key)?;
                Before::Session(session, self.session(session))
            }
            (SESSION, None) => {
                let session = SessionId::read(key)?;
                let line = self.view.session(session);
                let Some(line) = line.filter(|line| self.may_be_used(line, now)) else { return Ok(None) };
                Before::Told(Kind::SessionEnded { session, user: line.user })
            }
            (API_KEY, Some(_)) => {
                let key = ApiKeyId::read(key)?;
                Before::Key(key, self.key(key))
            }
            (API_KEY, None) => {
                let key = ApiKeyId::read(key)?;
                let line = self.view.session(SessionId::from_number(key.get()));
                let Some(line) = line.filter(|line| line.is_in_time(now)) else { return Ok(None) };
                Before::Told(Kind::ApiKeyEnded { key, user: line.user })
            }
            // It is also written without a new era: see `bulk`.
            (SESSION_ERA, Some(value)) if decode::<SessionEraRecord>(value)?.era == self.view.era() => {
                return Ok(None);
            }
            (SESSION_ERA, _) => Before::Told(Kind::EverySessionEnded),
            (ASSIGNMENT, Some(value)) => {
                let AssignmentRecord { user, terms, .. } = decode(value)?;
                Before::Rights(user, terms.scope)
            }
            (ASSIGNMENT, None) => {
                let ((user, role), scope) = Key::read(key)?;
                return Ok(self.taken(user, scope, Holding::Role(role), now));
            }
            (ACCESS, Some(value)) => {
                let AccessRecord { user, terms, .. } = decode(value)?;
                Before::Rights(user, terms.scope)
            }
            (ACCESS, None) => {
                let ((user, permission), scope) = Key::read(key)?;
                return Ok(self.taken(user, scope, Holding::Permission(permission), now));
            }
            (ROLE, _) => Before::Told(Kind::RoleChanged { role: RoleId::read(key)? }),
            (ROLE_GRANT | ROLE_DENY, _) => {
                let (role, _chunk): (RoleId, u32) = Key::read(key)?;
                if value.is_none() && !self.view.has_role(role) {
                    return Ok(None);
                }
                Before::Told(Kind::RoleChanged { role })
            }
            (SCOPE, _) => Before::Told(Kind::ScopeChanged { scope: ScopeId::read(key)? }),
            (PERMISSION, _) => Before::Told(Kind::PermissionChanged { permission: Permission::read(key)? }),
            (FLAG, _) => Before::Told(Kind::FlagChanged { flag: Flag::read(key)? }),
            (FLAG_RULE, _) => {
                let ((flag, _target), _scope): ((Flag, (u8, u64)), ScopeId) = Key::read(key)?;
                Before::Told(Kind::FlagChanged { flag })
            }
            _ => return Ok(None),
        }))
    }

    /// What is taken from a user, unless it had no effect any more: it has ended, or belongs to what was deleted, which
    /// was told then. Else the sweeping of a role that many hold would push everything else out of the ring.
    fn taken(&self, user: UserId, scope: ScopeId, holding: Holding, now: ViewTime) -> Option<Before> {
        self.view.counts(user, scope, holding, now).then_some(Before::Rights(user, scope))
    }

    /// A key as the view has it, but for its times of use.
    fn key(&self, key: ApiKeyId) -> Option<SessionLine> {
        let line = self.view.session(SessionId::from_number(key.get()))?;
        Some(SessionLine { seen: ViewTime::default(), ..line })
    }

    fn session(&self, session: SessionId) -> Option<SessionSeen> {
        let line = self.view.session(session)?;
        let SessionLine { digest, deadline, idle_timeout, .. } = line;
        Some(SessionSeen { digest, deadline, idle_timeout, roles: self.view.selected_roles(session) })
    }

    /// Whether a session is one that goes on: not over by itself, and not ended with all others, which was told
    /// then. One whose user is refused at present goes on when that ends.
    fn may_be_used(&self, line: &SessionLine, now: ViewTime) -> bool {
        line.is_in_time(now)
            && is_of_era(line.era, self.view.era())
            && self.view.user(line.user).is_some_and(|(_, generation)| line.generation >= generation)
    }

    fn after(&self, before: Before, told: &mut Vec<Kind>) {
        match before {
            Before::Told(kind) => tell(told, kind),
            Before::Rights(user, scope) => {
                if self.view.user(user).is_some() {
                    tell(told, Kind::RightsOfUser { user, scope });
                }
            }
            // Nobody had it, so that nobody remembers anything of it.
            Before::Session(_, None) | Before::Key(_, None) => {}
            Before::Key(key, before) => {
                if let Some(line) = self.key(key)
                    && before.is_some_and(|before| before != line)
                {
                    tell(told, Kind::ApiKeyChanged { key, user: line.user });
                }
            }
            Before::Session(session, Some(seen)) => {
                if let Some(line) = self.view.session(session)
                    && self.session(session).is_some_and(|now| now != seen)
                {
                    tell(told, Kind::SessionChanged { session, user: line.user });
                }
            }
            Before::User(user, before) => {
                let after = self.view.user(user);
                let (state, generation) = (after.map(|after| after.0), after.map(|after| after.1));
                if before.map(|before| before.0) != state {
                    tell(
                        told,
                        match state {
                            None => Kind::UserDeleted { user },
                            Some(UserState::Active) => Kind::UserAdmitted { user },
                            Some(UserState::Refused) => Kind::UserRefused { user, until: None },
                            Some(UserState::RefusedUntil(end)) => {
                                Kind::UserRefused { user, until: Some(end.timestamp()) }
                            }
                        },
                    );
                }
                if let (Some((_, former)), Some(generation)) = (before, generation)
                    && former != generation
                {
                    tell(told, Kind::SessionsOfUserEnded { user });
                }
            }
        }
    }
}

/// One entry for each thing that a commit changed, however many of its rows are about it.
fn tell(told: &mut Vec<Kind>, kind: Kind) {
    if !told.contains(&kind) {
        told.push(kind);
    }
}

impl Sink for Relay {
    fn apply(&self, changes: &[Change]) -> Result<()> {
        let recorded = self.ring.records();
        let mut seen = Vec::new();
        if recorded {
            let now = self.now();
            for change in changes {
                seen.extend(self.before(change, now)?);
            }
        }
        self.view.apply(changes)?;
        let mut told = Vec::new();
        for before in seen {
            self.after(before, &mut told);
        }
        self.ring.publish(recorded, told);
        Ok(())
    }

    fn stop(&self, why: &str) {
        Sink::stop(&*self.view, why);
        // After the view: a reader of the feed that finds nothing more to come finds every check refused.
        self.ending.end();
    }
}
