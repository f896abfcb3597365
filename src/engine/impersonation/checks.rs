//! What somebody may do who acts as another user: at each check what both may, and nothing that only one of them may.
//!
//! INVARIANT: every yes in such a session is one that the session behind it would let pass at the same scope, or one for
//! which that session holds the permission to go beyond; and that session is live and holds the permission to act as
//! somebody at the user's home. All of it is read at the check, so that whatever was taken from one of the two before is
//! missed.

use crate::engine::Engine;
use crate::engine::context::Asker;
use crate::engine::view::{Answer, SessionHandle, ViewTime};
use crate::id::{ScopeId, SessionId, UserId};
use crate::permission::{Permission, PermissionSet};
use crate::session::{Client, Impersonator, SessionRecord};

/// What is asked.
#[derive(Clone, Copy)]
pub(in crate::engine) enum Asked<'a> {
    One(Permission),
    All(&'a PermissionSet),
    /// What is no right of anybody's: whether the session stands at all.
    Standing,
}

impl Engine {
    /// What is left of an answer for the user of a session in which somebody else acts. The questions to the view and to
    /// the rules are those of a check in the session behind it.
    #[cold]
    pub(in crate::engine) fn answer_for_both(
        &self,
        answer: Answer,
        session: SessionId,
        asked: Asked<'_>,
        scope: ScopeId,
        client: Option<&Client>,
    ) -> Answer {
        if matches!(answer, Answer::Gone | Answer::Stopped) {
            return answer;
        }
        let Some(by) = self.view.note(session).and_then(|note| note.impersonator) else {
            return self.gone();
        };
        let now = self.seconds();
        let behind = match self.behind(&by, now, client) {
            Ok(behind) => behind,
            Err(answer) => return answer,
        };
        if answer != Answer::Allow {
            return answer;
        }
        match (self.ask_behind(behind, &by, asked, scope, now, client), by.beyond) {
            (Answer::Deny, Some(beyond)) => {
                self.ask_behind(behind, &by, Asked::One(beyond), scope, now, client)
            }
            (answer, _) => answer,
        }
    }

    /// The session behind, if it is live and whoever opened it may act as the user.
    fn behind(
        &self,
        by: &Impersonator,
        now: ViewTime,
        client: Option<&Client>,
    ) -> Result<SessionHandle, Answer> {
        let Some(found) = self.view.find(by.session) else { return Err(self.gone()) };
        let behind = found.handle();
        match self.ask_behind(behind, by, Asked::One(by.permission), by.at, now, client) {
            Answer::Allow => Ok(behind),
            Answer::Stopped => Err(Answer::Stopped),
            Answer::Deny | Answer::Gone => Err(Answer::Gone),
        }
    }

    fn ask_behind(
        &self,
        behind: SessionHandle,
        by: &Impersonator,
        asked: Asked<'_>,
        scope: ScopeId,
        now: ViewTime,
        client: Option<&Client>,
    ) -> Answer {
        let asker =
            || Asker { user: by.user, session: Some(by.session), key: None, client, impersonator: None };
        match asked {
            Asked::One(permission) => {
                let answer = self.view.check_session_at(behind, permission, scope, now);
                self.in_context(answer, asker, Some(permission), scope)
            }
            Asked::All(permissions) => {
                let answer = self.view.session_has_all_at(behind, permissions, scope, now);
                self.in_context_of_all(answer, asker, permissions, scope)
            }
            Asked::Standing => self.view.session_live(behind, now),
        }
    }

    /// Whether somebody who presents a permission at a scope in a session may act as a user who is at home there.
    pub(super) fn may_act(
        &self,
        behind: SessionHandle,
        by: &Impersonator,
        permission: Permission,
        client: &Client,
    ) -> Answer {
        self.ask_behind(behind, by, Asked::One(permission), by.at, self.seconds(), Some(client))
    }

    /// Whether the session behind is there at all: where it has ended, it has for good.
    pub(in crate::engine) fn is_behind(&self, by: &Impersonator) -> bool {
        let now = self.seconds();
        self.view
            .find(by.session)
            .is_some_and(|found| self.view.session_live(found.handle(), now) == Answer::Allow)
    }

    /// Whether the session behind holds a permission, before context rules are asked.
    fn is_held_behind(&self, by: &Impersonator, permission: Permission, at: ScopeId) -> bool {
        let now = self.seconds();
        self.view.find(by.session).is_some_and(|behind| {
            self.view.check_session_at(behind.handle(), permission, at, now) == Answer::Allow
        })
    }

    /// Whether anything can be done in a session, as far as it is for who acts in it, where somebody does.
    pub(in crate::engine) fn may_still_act(&self, session: &SessionRecord) -> bool {
        session.impersonator.is_none_or(|by| self.is_held_behind(&by, by.permission, by.at))
    }

    /// Takes off what can not be done in a session because of who acts in it, before context rules are asked.
    pub(in crate::engine) fn without_what_only_one_may(
        &self,
        session: &SessionRecord,
        mut permissions: PermissionSet,
        scope: ScopeId,
    ) -> PermissionSet {
        let Some(by) = &session.impersonator else { return permissions };
        if !self.may_still_act(session) {
            return PermissionSet::new();
        }
        if !by.beyond.is_some_and(|beyond| self.is_held_behind(by, beyond, scope)) {
            let theirs = self.view.permissions_of_session(by.session, scope, self.seconds());
            permissions.intersect_with(&theirs.unwrap_or_default());
        }
        permissions
    }

    /// Who acts in a session, where it takes the permission away: for explanations.
    pub(in crate::engine) fn stands_in_the_way(
        &self,
        session: &SessionRecord,
        permission: Permission,
        scope: ScopeId,
    ) -> Option<UserId> {
        let one: PermissionSet = [permission].into_iter().collect();
        let left = self.without_what_only_one_may(session, one, scope);
        session.impersonator.filter(|_| left.is_empty()).map(|by| by.user)
    }

    fn gone(&self) -> Answer {
        if self.view.is_stopped() { Answer::Stopped } else { Answer::Gone }
    }
}
