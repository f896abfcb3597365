//! Who is authorized for a role, and for which roles somebody is: what was assigned, and what that inherits.

use super::Review;
use crate::assignment::{ASSIGNMENT_BY_ROLE, AssignmentRecord};
use crate::engine::assignments::is_live;
use crate::engine::duty;
use crate::engine::page::{Page, PageRequest};
use crate::error::{Error, Result};
use crate::grant::Effect;
use crate::id::{Key, RoleId, ScopeId, UserId};
use crate::role;
use crate::store::{self, Scan};
use crate::user;

/// Assignments that one page looks at before it returns what it has.
const MOST_ROWS: usize = 10_000;

impl Review<'_> {
    /// The users who hold a role now, or one that inherits from it, at any scope, whatever their status (AuthorizedUsers of
    /// ANSI INCITS 359). Each user once, in an order that stays the same. A denial is no holding.
    ///
    /// A page can be shorter than asked for, and even empty, and still have a next one.
    ///
    /// # Errors
    /// `NotFound` for a role that does not exist; `InvalidInput` for a wrong page; the storage kinds.
    pub fn authorized_users(&self, role: RoleId, page: &PageRequest) -> Result<Page<UserId>> {
        let engine = self.gate.engine();
        let store = &*engine.store;
        role::read_role(store, role)?;
        let mut roles = engine.view.seniors(role);
        roles.push(role);
        roles.sort_unstable();
        let limit = page.limit_checked()?;
        let mut resumed = match (page.table(), page.last_key()) {
            (Some(table), Some(key)) if table == ASSIGNMENT_BY_ROLE.number && key.len() >= 4 => {
                Some(key.to_vec())
            }
            (None, _) => None,
            _ => return Err(Error::invalid("cursor", "belongs to another listing")),
        };
        let (mut items, mut seen) = (Vec::new(), 0);
        for role in &roles {
            let prefix = role.bytes();
            if resumed.as_ref().is_some_and(|key| key.get(..4).is_some_and(|at| *at > *prefix)) {
                continue;
            }
            let mut key = resumed.take().filter(|key| key.starts_with(&prefix));
            loop {
                let scan = Scan { prefix: &prefix, after: key.as_deref(), limit, descending: false };
                let rows = store.scan(ASSIGNMENT_BY_ROLE, &scan)?;
                for row in &rows {
                    let ((user, _), scope) = <AssignmentRecord as store::Record>::Key::read(&row.value)?;
                    // A user with several such assignments is told of once, at the first.
                    if self.first_of(user, &roles)? == Some((*role, scope)) {
                        items.push(user);
                        if items.len() == limit {
                            return Ok(Page::new(items, ASSIGNMENT_BY_ROLE, Some(row.key.clone())));
                        }
                    }
                }
                seen += rows.len();
                match rows.last() {
                    Some(last) if seen >= MOST_ROWS => {
                        return Ok(Page::new(items, ASSIGNMENT_BY_ROLE, Some(last.key.clone())));
                    }
                    Some(last) if rows.len() == limit => key = Some(last.key.clone()),
                    _ => break,
                }
            }
        }
        Ok(Page::of(items, None))
    }

    /// The first of a user's assignments, in their order, of one of these roles that holds now.
    fn first_of(&self, user: UserId, roles: &[RoleId]) -> Result<Option<(RoleId, ScopeId)>> {
        let engine = self.gate.engine();
        let (store, now) = (&*engine.store, engine.now());
        let prefix = user.bytes();
        let all = Scan { prefix: &prefix, limit: usize::MAX, ..Scan::default() };
        for held in store::page::<AssignmentRecord>(store, &all)?.0 {
            let held = held.record;
            if roles.binary_search(&held.role).is_ok()
                && held.terms.effect == Effect::Allow
                && held.terms.holds_at(now)
                && is_live(store, &held, now)?
            {
                return Ok(Some((held.role, held.terms.scope)));
            }
        }
        Ok(None)
    }

    /// The roles that a user holds now, at any scope, with all that they inherit from, by number (AuthorizedRoles of ANSI
    /// INCITS 359). These are the roles that can be active in a session of the user.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn authorized_roles(&self, user: UserId) -> Result<Vec<RoleId>> {
        let engine = self.gate.engine();
        let store = &*engine.store;
        user::read_user(store, user)?;
        let assigned = duty::assigned(store, user, engine.now(), true)?;
        Ok(role::with_juniors(store, assigned)?.into_iter().collect())
    }
}
