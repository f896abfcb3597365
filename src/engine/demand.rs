//! How sure a login must be for the roles that it makes active.
//!
//! INVARIANT: when a role that asks for two factors is assigned, or made active, no session of one factor has it
//! afterwards. Whoever assigns it rewrites the rows of the users, which every login expects unchanged; so a login that was
//! under way meanwhile is planned again and asked for the second factor.

use super::bookkeeping::Leftover;
use super::write::{Entry, Plan};
use crate::assurance::Assurance;
use crate::audit::{AuditKind, Subject};
use crate::error::{Denial, Error, Result};
use crate::id::{Key, RoleId, UserId};
use crate::role;
use crate::session::{SESSION_BY_USER, SessionRecord};
use crate::store::{self, Scan};
use crate::user;
use std::collections::BTreeSet;

/// Strong sessions of one user that live on; whoever has more loses the others.
const MOST_KEPT: usize = 16;
/// Sessions of one user that are looked at.
const MOST_SESSIONS: usize = 256;

/// Ends the sessions of these users that are too weak for a role that they are about to get.
///
/// The users move on to another generation, and the sessions that are sure enough with them. So a session that is opened
/// while this is planned ends, too.
pub(super) fn before_assign(plan: &mut Plan<'_>, role: RoleId, users: &[UserId]) -> Result<()> {
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
    plan: &Plan<'_>,
    session: &SessionRecord,
    roles: &BTreeSet<RoleId>,
) -> Result<()> {
    let demanded = role::demanded(plan.store, || Ok(roles.clone()))?;
    if session.methods.assurance() < demanded {
        return Err(Error::denied(Denial::FactorRequired));
    }
    Ok(())
}
