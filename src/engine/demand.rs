//! How sure a login must be for the roles that it makes active.
//!
//! INVARIANT: no session of one factor has a role active that asks for two, or inherits from one that does, once the call
//! has returned that brought the two together. They come together in two ways.
//!
//! - A user gets the role, assigned or made active. That is decided in its own commit. Whoever assigns it rewrites the rows
//!   of the users, which every login expects unchanged; so a login that was under way meanwhile is planned again and asked
//!   for the second factor.
//! - The role gets the demand: it is marked, or comes to inherit. It may have more holders than fit in a commit. So the
//!   change leaves a marker in its commit, and whoever made it ends their sessions one user after the other before it
//!   returns; after a crash, the open does before it hands out the database. From the change on no more such sessions
//!   come up: whatever opens one, or gives it roles, has looked at the hierarchy and expects it unchanged, and both sorts of
//!   change rewrite it. So those that are there at the change are all.

use super::bookkeeping::{LEFTOVER, Leftover, LeftoverRecord};
use super::verify::Verification;
use super::write::{Entry, Plan};
use super::{Engine, duty};
use crate::assignment::{ASSIGNMENT_BY_ROLE, AssignmentRecord};
use crate::assurance::Assurance;
use crate::audit::{Actor, AuditKind, Subject};
use crate::clock::Timestamp;
use crate::error::{Denial, Error, Result};
use crate::grant::Effect;
use crate::id::{Key, RoleId, UserId};
use crate::role;
use crate::session::{SESSION_BY_USER, SessionRecord};
use crate::store::{self, Scan, Store, Stored};
use crate::user::{self, UserRecord};
use std::collections::BTreeSet;

/// Strong sessions of one user that live on; whoever has more loses the others.
const MOST_KEPT: usize = 16;
/// Sessions of one user that are looked at.
const MOST_SESSIONS: usize = 256;
/// Sessions that one commit ends one by one; each takes five operations at most.
const MOST_ENDED: usize = 32;
/// Holders that are read at once.
const HOLDERS: usize = 1024;

/// Ends the sessions of these users that are too weak for a role that they are about to get.
///
/// The users move on to another generation, and the sessions that are sure enough with them. So a session that is opened
/// while this is planned ends, too.
pub(super) fn before_assign(plan: &mut Plan<'_>, role: RoleId, users: &[UserId]) -> Result<()> {
    role::expect_hierarchy(plan.store, &mut plan.batch)?;
    let demanded = role::demanded(plan.store, || Ok(BTreeSet::from([role])))?;
    if demanded == Assurance::One {
        return Ok(());
    }
    for user in users {
        let before = user::read_user(plan.store, *user)?.record.generation;
        let after = user::stage_generation(plan.store, &mut plan.batch, *user)?.generation;
        let prefix = user.bytes();
        let scan = Scan { prefix: &prefix, limit: MOST_SESSIONS, ..Scan::default() };
        let (sessions, more) = store::page_by::<SessionRecord>(plan.store, SESSION_BY_USER, &scan)?;
        let live = sessions
            .iter()
            .filter(|session| session.record.generation >= before && session.record.expires > plan.now);
        let (mut kept, mut ends) = (0, more.is_some());
        for session in live {
            if session.record.methods.assurance() >= demanded && kept < MOST_KEPT {
                plan.batch
                    .replace(session, &SessionRecord { generation: after, ..session.record.clone() })?;
                kept += 1;
            } else {
                ends = true;
            }
        }
        plan.leave(Leftover::Sessions(*user))?;
        if ends {
            let detail = format!("those of one factor: {role} asks for two");
            plan.record(AuditKind::SessionsRevoked, Entry::of(Subject::User(*user)).detail(detail))?;
        }
    }
    Ok(())
}

/// Sees that a session is sure enough for these roles to be active in it.
pub(super) fn before_activation(
    plan: &mut Plan<'_>,
    session: &SessionRecord,
    roles: &BTreeSet<RoleId>,
) -> Result<()> {
    role::expect_hierarchy(plan.store, &mut plan.batch)?;
    let demanded = role::demanded(plan.store, || Ok(roles.clone()))?;
    if session.methods.assurance() < demanded {
        return Err(Error::denied(Denial::FactorRequired));
    }
    Ok(())
}

/// Remembers that sessions are to end, where a role comes to ask for more than it did. To be called when the change of the
/// hierarchy has been staged; whoever is told that it is so calls [`Engine::finish_demands`] after the commit.
pub(super) fn before_demand(plan: &mut Plan<'_>, role: RoleId, demanded: Assurance) -> Result<bool> {
    let before = role::demanded(plan.store, || Ok(BTreeSet::from([role])))?;
    if demanded <= before {
        return Ok(false);
    }
    plan.leave(Leftover::Demand(role))?;
    Ok(true)
}

/// Whether a session is not sure enough for the roles that are active in it. What was selected counts whether the user
/// has it or not, since it may come back.
fn is_weak(store: &dyn Store, session: &SessionRecord, now: Timestamp) -> Result<bool> {
    let demanded = role::demanded(store, || match &session.roles {
        Some(selected) => Ok(selected.iter().copied().collect()),
        None => duty::assigned(store, session.user, now, false),
    })?;
    Ok(session.methods.assurance() < demanded)
}

/// Some of the user's live sessions that are too weak; none means that there is none.
fn weak_sessions(
    store: &dyn Store,
    account: &Stored<UserRecord>,
    now: Timestamp,
) -> Result<Vec<Stored<SessionRecord>>> {
    let prefix = account.record.id.bytes();
    let (mut weak, mut after) = (Vec::new(), None::<Vec<u8>>);
    loop {
        let scan = Scan { prefix: &prefix, after: after.as_deref(), limit: MOST_SESSIONS, descending: false };
        let (sessions, next) = store::page_by::<SessionRecord>(store, SESSION_BY_USER, &scan)?;
        for session in sessions {
            let live = session.record.generation >= account.record.generation && session.record.expires > now;
            if live && is_weak(store, &session.record, now)? {
                weak.push(session);
            }
            if weak.len() == MOST_ENDED {
                return Ok(weak);
            }
        }
        match next {
            Some(next) => after = Some(next),
            None => return Ok(weak),
        }
    }
}

impl Engine {
    /// Ends all sessions that are too weak for this role, or for one that inherits from it; how many. The role has its
    /// demand already.
    pub(super) fn end_weak_sessions(&self, role: RoleId) -> Result<usize> {
        let mut ended = 0;
        for senior in role::with_seniors(&*self.store, role)? {
            let (prefix, mut after) = (senior.bytes(), None::<Vec<u8>>);
            loop {
                let scan =
                    Scan { prefix: &prefix, after: after.as_deref(), limit: HOLDERS, descending: false };
                let (rows, next) =
                    store::page_by::<AssignmentRecord>(&*self.store, ASSIGNMENT_BY_ROLE, &scan)?;
                for row in rows.iter().filter(|row| row.record.terms.effect == Effect::Allow) {
                    ended += self.end_weak_sessions_of(row.record.user, role)?;
                }
                match next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
        }
        Ok(ended)
    }

    fn end_weak_sessions_of(&self, user: UserId, role: RoleId) -> Result<usize> {
        let mut ended = 0;
        loop {
            let (count, _) = self.write(Actor::System, |plan| {
                let Some(account) = store::read::<UserRecord>(plan.store, &user)? else { return Ok(0) };
                let weak = weak_sessions(plan.store, &account, plan.now)?;
                if weak.is_empty() {
                    // A change of password puts a session of the same strength in the place of another one, perhaps where
                    // this has looked already.
                    let again = store::read::<UserRecord>(plan.store, &user)?;
                    if again.is_none_or(|again| again.version == account.version) {
                        return Ok(0);
                    }
                }
                plan.batch.expect_unchanged(&account);
                weak.iter().for_each(|session| plan.batch.remove(session));
                if !weak.is_empty() {
                    let detail = format!("those of one factor: {role} asks for two");
                    let entry = Entry::of(Subject::User(user)).detail(detail);
                    plan.record(AuditKind::SessionsRevoked, entry)?;
                }
                Ok(weak.len())
            })?;
            ended += count;
            if count == 0 {
                return Ok(ended);
            }
        }
    }

    /// That no session has a role for which it is not sure enough, unless somebody is about to end it.
    pub(super) fn verify_demands(&self, found: &mut Verification) -> Result<()> {
        let (store, now) = (&*self.store, self.now());
        let any = Scan { prefix: &[LeftoverRecord::DEMAND], limit: 1, ..Scan::default() };
        if !store.scan(LEFTOVER, &any)?.is_empty() {
            return Ok(());
        }
        self.each::<SessionRecord>(|session| {
            let session = &session.record;
            let Some(account) = store::read::<UserRecord>(store, &session.user)? else { return Ok(()) };
            let live = session.generation >= account.record.generation && session.expires > now;
            if live && is_weak(store, session, now)? {
                let id = session.id;
                found.problem(format_args!("demand: {id} has a role that asks for a second factor"));
            }
            Ok(())
        })
    }
}
