//! Roles that nobody has used for a while.

use super::Review;
use crate::assignment::{ASSIGNMENT_BY_ROLE, AssignmentRecord};
use crate::audit::{AUDIT_BY_ACTOR, Actor};
use crate::clock::Timestamp;
use crate::engine::Engine;
use crate::engine::assignments::is_live;
use crate::engine::page::{Page, PageRequest};
use crate::error::Result;
use crate::grant::Effect;
use crate::id::{Key, RoleId, UserId};
use crate::role::{Role, RoleRecord};
use crate::session::{SESSION_BY_USER, SessionRecord};
use crate::store::{self, Record, Scan};
use std::time::Duration;

/// Assignments that one page looks at before it returns what it has; those of one role it always looks at.
const MOST_ROWS: usize = 10_000;

/// A role that nobody has used for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnusedRole {
    /// The role.
    pub role: Role,
    /// How many users hold it, directly or through a role that inherits from it; counted once for each assignment.
    pub assignments: usize,
    /// When one of them was last seen, where that is known.
    pub last_used: Option<Timestamp>,
}

impl Review<'_> {
    /// The roles that none of their holders has used for that long: nobody who holds the role, or one that inherits from
    /// it, has logged in, used a session or done anything on record since. A role that is younger than that is left out, and so is one that only
    /// a denial names.
    ///
    /// Portcullis does not record each check, so that use is told by the users and not by the permissions. It reads the
    /// assignments of each role until it finds one that is in use: a page costs what lies behind idle roles. It can be
    /// shorter than asked for, and even empty, and still have a next one.
    ///
    /// # Errors
    /// `InvalidInput` for a wrong page; the storage kinds.
    pub fn unused_roles(&self, idle: Duration, page: &PageRequest) -> Result<Page<UnusedRole>> {
        let engine = self.gate.engine();
        let now = engine.now();
        let millis = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
        let since = Timestamp::from_millis(now.as_millis().saturating_sub(millis));
        let (roles, next) = store::page::<RoleRecord>(&*engine.store, &page.scan(RoleRecord::TABLE, &[])?)?;
        let (mut items, mut rows) = (Vec::new(), 0);
        for role in roles {
            if role.record.created > since {
                continue;
            }
            let (id, found) = (role.record.id, self.idle(role.record.id, since, now, &mut rows)?);
            if let Some((assignments, last_used)) = found {
                items.push(UnusedRole { role: Role::from(role), assignments, last_used });
            }
            if rows >= MOST_ROWS {
                return Ok(Page::new(items, RoleRecord::TABLE, Some(id.bytes())));
            }
        }
        Ok(Page::new(items, RoleRecord::TABLE, next))
    }

    /// How many hold it, and when the last one was seen; none if one was seen since.
    fn idle(
        &self,
        role: RoleId,
        since: Timestamp,
        now: Timestamp,
        seen: &mut usize,
    ) -> Result<Option<(usize, Option<Timestamp>)>> {
        let engine = self.gate.engine();
        let (mut count, mut last) = (0, None);
        for role in engine.view.seniors(role).into_iter().chain([role]) {
            *seen += 1;
            let (prefix, mut after) = (role.bytes(), None::<Vec<u8>>);
            loop {
                let scan = Scan { prefix: &prefix, after: after.as_deref(), limit: 256, descending: false };
                let (rows, next) =
                    store::page_by::<AssignmentRecord>(&*engine.store, ASSIGNMENT_BY_ROLE, &scan)?;
                *seen += rows.len();
                for row in rows {
                    let held = &row.record;
                    if held.terms.effect == Effect::Deny || !is_live(&*engine.store, held, now)? {
                        continue;
                    }
                    count += 1;
                    last = last.max(engine.last_seen(held.user)?);
                    if last.is_some_and(|seen| seen > since) {
                        return Ok(None);
                    }
                }
                match next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
        }
        Ok(Some((count, last)))
    }
}

impl Engine {
    /// When the user last used a session, logged in or did anything else that is on record in the user's name.
    ///
    /// What others did to the user, such as logins that failed, is under other names and does not get in between.
    fn last_seen(&self, user: UserId) -> Result<Option<Timestamp>> {
        let (mut last, prefix, mut after) = (None, user.bytes(), None::<Vec<u8>>);
        loop {
            let scan = Scan { prefix: &prefix, after: after.as_deref(), limit: 256, descending: false };
            let (sessions, next) = store::page_by::<SessionRecord>(&*self.store, SESSION_BY_USER, &scan)?;
            for session in sessions {
                let line = self.view.session(session.record.id);
                last = last.max(Some(session.record.seen)).max(line.map(|line| line.seen.timestamp()));
            }
            match next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        let prefix = Actor::User(user).bytes();
        let scan = Scan { prefix: &prefix, limit: 1, descending: true, after: None };
        let latest = self.records_by(AUDIT_BY_ACTOR, &scan)?.0;
        Ok(last.max(latest.first().map(|record| record.time)))
    }
}
