//! The end of the sessions of those who hold something at a scope.

use super::{Ending, PAGE, is_current};
use crate::access::{ACCESS_BY_SCOPE, AccessRecord};
use crate::assignment::{ASSIGNMENT_BY_SCOPE, AssignmentRecord};
use crate::audit::{Actor, AuditKind, Subject};
use crate::challenge;
use crate::clock::Timestamp;
use crate::engine::Engine;
use crate::engine::bookkeeping::Leftover;
use crate::engine::sessions::Sessions;
use crate::engine::warrant;
use crate::engine::write::{Entry, Plan};
use crate::error::{Error, ErrorKind, Result};
use crate::grant::{Effect, Grant};
use crate::id::{Key, ScopeId, UserId};
use crate::scope::{self, SCOPE_BY_NAME, ScopeRecord};
use crate::session::{SESSION_BY_USER, SessionFilter, SessionRecord};
use crate::store::{self, Record, Scan, Table};
use crate::user::{self, UserRecord};
use std::collections::BTreeSet;

/// Logins under way of one user that are looked at; there are no more.
const LOGINS: usize = 8;

impl Sessions<'_> {
    /// Ends every session, and every login under way, of each user who holds something at the scope or below it, or is at home
    /// there; how many sessions that were live. Once it has returned, none of those is accepted that was opened before it.
    ///
    /// To hold something is to be assigned a role or granted a permission there; what has not begun counts, and what has
    /// ended or is a denial does not. Who holds something above the scope only, and so has it at the scope too, is not meant.
    /// All sessions of a user end, since a session is of no scope; also one that is opened while this runs, where the
    /// user had one before.
    ///
    /// Each user is one small commit, and it reads all users, for their homes. What a crash or an error leaves is ended as
    /// [`revoke_matching`](Self::revoke_matching) says. A change of the tree, or of what somebody holds, that is made while
    /// this runs counts or not.
    ///
    /// # Errors
    /// `NotFound` for a scope that there is not; `InvalidInput` for the global one; `Denied` for a delegated handle; the storage
    /// kinds.
    ///
    /// ```
    /// # fn main() -> portcullis::Result<()> {
    /// use portcullis::{Client, Credentials, NewUser, Portcullis, ScopeId};
    /// let gate = Portcullis::in_memory()?;
    /// let acme = gate.scopes().create(ScopeId::ROOT, "acme")?;
    /// gate.users().create(NewUser::new("ada").password("correct horse battery staple").home(acme))?;
    /// let login = gate.login(&Credentials::password("ada", "correct horse battery staple"), &Client::new())?;
    /// assert_eq!(gate.sessions().revoke_of_scope(acme)?, 1);
    /// assert!(gate.authenticate(login.token()).is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn revoke_of_scope(&self, scope: ScopeId) -> Result<usize> {
        if scope == ScopeId::ROOT {
            let message =
                "is the global one, which everybody is at; call Sessions::revoke_everything for that";
            return Err(Error::invalid("scope", message));
        }
        let (engine, by) = (self.gate.engine(), self.gate.actor());
        engine.end_in_bulk(by, &Ending::AtScope(scope), &format!("of those at {scope}"), |plan| {
            warrant::only_the_application(plan, Subject::Scope(scope), "revoke the sessions at a scope")?;
            scope::expect_tree(plan.store, &mut plan.batch)?;
            scope::tenant_of(plan.store, scope).map(drop)
        })
    }
}

impl Engine {
    pub(super) fn end_at_scope(&self, by: Actor, scope: ScopeId, until: Timestamp) -> Result<usize> {
        let (mut ended, scopes) = (0, self.scopes_from(scope)?);
        for at in &scopes {
            self.each_holder::<AssignmentRecord>(
                ASSIGNMENT_BY_SCOPE,
                *at,
                |held| (held.user, &held.terms),
                |user| {
                    ended += self.end_all_of(by, user, scope, until)?;
                    Ok(())
                },
            )?;
            self.each_holder::<AccessRecord>(
                ACCESS_BY_SCOPE,
                *at,
                |held| (held.user, &held.terms),
                |user| {
                    ended += self.end_all_of(by, user, scope, until)?;
                    Ok(())
                },
            )?;
        }
        self.each::<UserRecord>(|user| {
            if scopes.contains(&user.record.home) {
                ended += self.end_all_of(by, user.record.id, scope, until)?;
            }
            Ok(())
        })?;
        Ok(ended)
    }

    /// A scope and all below it.
    fn scopes_from(&self, scope: ScopeId) -> Result<BTreeSet<ScopeId>> {
        let (mut found, mut open) = (BTreeSet::from([scope]), vec![scope]);
        while let Some(next) = open.pop() {
            self.each_at::<ScopeRecord>(SCOPE_BY_NAME, next, |child| {
                if found.insert(child.id) {
                    open.push(child.id);
                }
                Ok(())
            })?;
        }
        Ok(found)
    }

    /// The users whom an index has at a scope, where what it has gives and has not ended.
    fn each_holder<R: Record>(
        &self,
        index: Table,
        at: ScopeId,
        held: impl Fn(&R) -> (UserId, &Grant),
        mut visit: impl FnMut(UserId) -> Result<()>,
    ) -> Result<()> {
        let now = self.now();
        self.each_at::<R>(index, at, |record| {
            let (user, terms) = held(record);
            if terms.effect == Effect::Allow && !terms.has_ended(now) {
                visit(user)?;
            }
            Ok(())
        })
    }

    fn each_at<R: Record>(
        &self,
        index: Table,
        at: ScopeId,
        mut visit: impl FnMut(&R) -> Result<()>,
    ) -> Result<()> {
        let (prefix, mut after) = (at.bytes(), None::<Vec<u8>>);
        loop {
            let scan = Scan { prefix: &prefix, after: after.as_deref(), limit: PAGE, descending: false };
            let (records, next) = store::page_by::<R>(&*self.store, index, &scan)?;
            records.iter().try_for_each(|record| visit(&record.record))?;
            match next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Ends every session and login of a user, if there is one from before; how many sessions were live.
    fn end_all_of(&self, by: Actor, user: UserId, scope: ScopeId, until: Timestamp) -> Result<usize> {
        let (done, _) = self.write(by, |plan| {
            let Some(account) = store::read::<UserRecord>(plan.store, &user)? else { return Ok(Some(None)) };
            let Some(live) = self.count_of(plan, &account.record, until)? else { return Ok(Some(None)) };
            match user::stage_generation(plan.store, &mut plan.batch, user) {
                Ok(_) => {}
                // The user has no generation left.
                Err(error) if error.kind() == ErrorKind::LimitExceeded => return Ok(None),
                Err(error) => return Err(error),
            }
            plan.leave(Leftover::Sessions(user))?;
            let entry = Entry::of(Subject::User(user)).detail(format!("all, of those at {scope}"));
            plan.record(AuditKind::SessionsRevoked, entry)?;
            Ok(Some(Some(live)))
        })?;
        match done {
            Some(Some(live)) => {
                self.sweep_after(Leftover::Sessions(user));
                Ok(live)
            }
            Some(None) => Ok(0),
            None => self.end_matching(by, &SessionFilter::new().user(user), until),
        }
    }

    /// How many live sessions the user has; none where there is neither a session nor a login under way from before.
    fn count_of(&self, plan: &Plan<'_>, account: &UserRecord, until: Timestamp) -> Result<Option<usize>> {
        let (mut live, mut any) = (0, false);
        for login in challenge::of_user(plan.store, account.id, LOGINS)? {
            any |= login.record.generation == account.generation
                && !self.came_later(login.record.created, until);
        }
        let (prefix, mut after) = (account.id.bytes(), None::<Vec<u8>>);
        loop {
            let scan = Scan { prefix: &prefix, after: after.as_deref(), limit: PAGE, descending: false };
            let (sessions, next) = store::page_by::<SessionRecord>(plan.store, SESSION_BY_USER, &scan)?;
            for session in sessions {
                if is_current(plan.store, &session.record, account.generation)? {
                    any |= !self.came_later(session.record.created, until);
                    live += usize::from(self.live(session).is_some());
                }
            }
            match next {
                Some(next) => after = Some(next),
                None => return Ok(any.then_some(live)),
            }
        }
    }
}
