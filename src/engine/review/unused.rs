//! Roles that nobody has used for a while.

use super::Review;
use crate::assignment::{ASSIGNMENT_BY_ROLE, AssignmentRecord};
use crate::audit::{AUDIT_BY_SUBJECT, AuditKind, Subject};
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

/// Audit records of one user that are looked through for the latest login.
const MOST_RECORDS: usize = 256;

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
    /// it, has logged in or used a session since. A role that is younger than that is left out, and so is one that only
    /// a denial names.
    ///
    /// Portcullis does not record each check, so that use is told by the users and not by the permissions. It reads the
    /// assignments of each role until it finds one that is in use: a page costs what lies behind idle roles.
    ///
    /// # Errors
    /// `InvalidInput` for a wrong page; the storage kinds.
    pub fn unused_roles(&self, idle: Duration, page: &PageRequest) -> Result<Page<UnusedRole>> {
        let engine = self.gate.engine();
        let now = engine.now();
        let millis = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
        let since = Timestamp::from_millis(now.as_millis().saturating_sub(millis));
        let (roles, next) = store::page::<RoleRecord>(&*engine.store, &page.scan(RoleRecord::TABLE, &[])?)?;
        let mut items = Vec::new();
        for role in roles {
            if role.record.created <= since
                && let Some((assignments, last_used)) = self.idle(role.record.id, since, now)?
            {
                items.push(UnusedRole { role: Role::from(role), assignments, last_used });
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
    ) -> Result<Option<(usize, Option<Timestamp>)>> {
        let engine = self.gate.engine();
        let (mut count, mut last) = (0, None);
        for role in engine.view.seniors(role).into_iter().chain([role]) {
            let (prefix, mut after) = (role.bytes(), None::<Vec<u8>>);
            loop {
                let scan = Scan { prefix: &prefix, after: after.as_deref(), limit: 256, descending: false };
                let (rows, next) =
                    store::page_by::<AssignmentRecord>(&*engine.store, ASSIGNMENT_BY_ROLE, &scan)?;
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
    /// When the user last used a session or logged in, as far as it is on record.
    fn last_seen(&self, user: UserId) -> Result<Option<Timestamp>> {
        let mut last = None;
        let prefix = user.bytes();
        let scan = Scan { prefix: &prefix, limit: MOST_RECORDS, ..Scan::default() };
        for session in store::page_by::<SessionRecord>(&*self.store, SESSION_BY_USER, &scan)?.0 {
            let line = self.view.session(session.record.id);
            last = last.max(Some(session.record.seen)).max(line.map(|line| line.seen.timestamp()));
        }
        let prefix = Subject::User(user).bytes();
        let scan = Scan { prefix: &prefix, limit: MOST_RECORDS, descending: true, after: None };
        for record in self.records_by(AUDIT_BY_SUBJECT, &scan)?.0 {
            if record.kind == AuditKind::LoginSuccess {
                return Ok(last.max(Some(record.time)));
            }
        }
        Ok(last)
    }
}
