//! Who is authorized for a role, and for which roles somebody is: what was assigned, and what that inherits.

use super::Review;
use crate::assignment::AssignmentRecord;
use crate::engine::assignments::is_live;
use crate::engine::duty;
use crate::engine::page::{Page, PageRequest};
use crate::error::Result;
use crate::grant::Effect;
use crate::id::{Key, RoleId, ScopeId, UserId};
use crate::role;
use crate::store::{self, Scan};
use crate::user;

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
        engine.page_of_assignments(&roles, page, |items, user, role, scope| {
            // A user with several such assignments is told of once, at the first.
            if self.first_of(user, &roles)? == Some((role, scope)) {
                items.push(user);
            }
            Ok(())
        })
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
