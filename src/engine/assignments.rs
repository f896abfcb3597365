//! Who holds which role: everywhere, at a scope, for a time.

use super::demand;
use super::duty;
use super::guard;
use super::page::{Page, PageRequest};
use super::roles::Roles;
use super::warrant;
use super::write::{Entry, Plan};
use crate::assignment::{self, ASSIGNMENT_BY_ROLE, ASSIGNMENT_BY_SCOPE, Assignment, AssignmentRecord};
use crate::assurance::Assurance;
use crate::audit::{Actor, AuditKind, Subject};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::grant::{Effect, Grant};
use crate::id::{Key, RoleId, ScopeId, UserId};
use crate::role::{self, RoleRecord};
use crate::scope;
use crate::store::{self, Record, Store, Stored, Table};
use crate::user::{self, UserRecord};
use std::collections::BTreeSet;

/// Assignments that share one commit in a bulk load.
const BULK: usize = 16;

impl Roles<'_> {
    /// Assigns a role to a user, for ever and everywhere.
    ///
    /// # Errors
    /// As [`assign_with`](Self::assign_with).
    pub fn assign(&self, user: UserId, role: RoleId) -> Result<()> {
        self.assign_with(user, role, &Grant::new())
    }

    /// Assigns a role to a user on these terms. A denial forbids the user all that the role grants. A user has one
    /// assignment of a role at a scope; one that has ended makes way.
    ///
    /// Where a dynamic separation of duty forbids the role beside others in one session, the user's sessions that have all
    /// roles active keep those that they had; there is no more than that to see for them until the next login.
    ///
    /// # Errors
    /// `NotFound` for a user, role or scope that does not exist; `AlreadyExists` where the user holds it there already;
    /// `SeparationOfDuty` where the user would hold too many roles that are kept apart; `LastHolder` for a denial of a
    /// protected role to the last one who holds it somewhere; `InvalidInput` for terms that break a rule, and for a role
    /// of another tenant; the storage kinds.
    pub fn assign_with(&self, user: UserId, role: RoleId, terms: &Grant) -> Result<()> {
        self.assign_group(role, &[user], terms)
    }

    /// Assigns a role to many users, for ever and everywhere, sixteen to a commit; at the first error the groups
    /// before it stay.
    ///
    /// # Errors
    /// As [`assign_with`](Self::assign_with).
    pub fn assign_many(&self, role: RoleId, users: impl IntoIterator<Item = UserId>) -> Result<()> {
        let mut users: Vec<UserId> = users.into_iter().collect();
        users.sort_unstable();
        if let Some([twice, _]) = users.array_windows().find(|[a, b]| a == b) {
            return Err(Error::exists("user", format!("{twice} is given twice")));
        }
        let engine = self.gate.engine();
        let demanding = role::demanded(&*engine.store, || Ok(BTreeSet::from([role])))? > Assurance::One;
        let bulk = if demanding || engine.separates_duties()? { 1 } else { BULK };
        users.chunks(bulk).try_for_each(|group| self.assign_group(role, group, &Grant::new()))
    }

    fn assign_group(&self, role: RoleId, users: &[UserId], terms: &Grant) -> Result<()> {
        let engine = self.gate.engine();
        let done = engine.write(self.gate.actor(), |plan| {
            let terms = terms.clone().checked(plan.now)?;
            let found = role::read_role(plan.store, role)?;
            let rank = guard::rank(plan, &found)?;
            let record = found.record;
            expect_within(plan, &record, terms.scope)?;
            warrant::may_assign(plan, role, users, &terms)?;
            if terms.effect == Effect::Allow {
                duty::before_assign(plan, role, users)?;
                demand::before_assign(plan, role, users)?;
            }
            guard::before_assign(plan, &record, users, &terms)?;
            for user in users {
                user::read_user(plan.store, *user)?;
                plan.batch.expect_present::<UserRecord>(user);
                let (terms, by) = (terms.clone(), giver(plan.actor));
                let new = AssignmentRecord { user: *user, role, terms, since: plan.now, by };
                assignment::stage_assign(plan.store, &mut plan.batch, &new)?;
                let entry = Entry::of(Subject::User(*user)).and(Subject::Role(role));
                plan.record(rank.assigned(new.terms.break_glass), entry.detail(new.terms.describe()))?;
            }
            Ok(())
        });
        engine.report_violation(self.gate.actor(), Subject::Role(role), done.map(drop))
    }

    /// Takes a role from a user that was assigned everywhere.
    ///
    /// # Errors
    /// As [`unassign_at`](Self::unassign_at).
    pub fn unassign(&self, user: UserId, role: RoleId) -> Result<()> {
        self.unassign_at(user, role, ScopeId::ROOT)
    }

    /// Takes a role from a user that was assigned at this scope; assignments at other scopes stay.
    ///
    /// # Errors
    /// `NotFound` where the user does not hold it there; `LastHolder` where the role is protected and nobody else holds
    /// it there; the storage kinds.
    pub fn unassign_at(&self, user: UserId, role: RoleId, scope: ScopeId) -> Result<()> {
        self.gate.engine().write(self.gate.actor(), |plan| {
            let held = assignment::stage_unassign(plan.store, &mut plan.batch, user, role, scope)?;
            warrant::may_unassign(plan, &held)?;
            // The role may be gone, and the assignment not swept yet.
            let kind = match store::read::<RoleRecord>(plan.store, &role)? {
                Some(found) => {
                    guard::before_unassign(plan, &found.record, &held)?;
                    guard::rank(plan, &found)?.unassigned()
                }
                None => AuditKind::RoleUnassigned,
            };
            let entry = Entry::of(Subject::User(user)).and(Subject::Role(role));
            plan.record(kind, entry.detail(Grant::new().at(scope).describe()))
        })?;
        Ok(())
    }

    /// The roles assigned to a user, by number, with those that have not begun; without those that have ended.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` for a wrong page; the storage kinds.
    pub fn of_user(&self, user: UserId, page: &PageRequest) -> Result<Page<Assignment>> {
        let store = &*self.gate.engine().store;
        user::read_user(store, user)?;
        let (found, next) =
            store::page::<AssignmentRecord>(store, &page.scan(AssignmentRecord::TABLE, &user.bytes())?)?;
        self.live_assignments(found, AssignmentRecord::TABLE, next)
    }

    /// The users to whom a role is assigned, by scope and number.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` for a wrong page; the storage kinds.
    pub fn holders(&self, role: RoleId, page: &PageRequest) -> Result<Page<Assignment>> {
        role::read_role(&*self.gate.engine().store, role)?;
        self.assignments_by(ASSIGNMENT_BY_ROLE, &role.bytes(), page)
    }

    /// What is assigned at a scope, itself and not above or below it, by user.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` for the global scope or a wrong page; the storage kinds.
    pub fn at_scope(&self, scope: ScopeId, page: &PageRequest) -> Result<Page<Assignment>> {
        if scope == ScopeId::ROOT {
            let message = "is the global one; list what is assigned there by role or by user";
            return Err(Error::invalid("scope", message));
        }
        scope::path_of(&*self.gate.engine().store, scope)?;
        self.assignments_by(ASSIGNMENT_BY_SCOPE, &scope.bytes(), page)
    }

    fn assignments_by(&self, index: Table, prefix: &[u8], page: &PageRequest) -> Result<Page<Assignment>> {
        let store = &*self.gate.engine().store;
        let (found, next) = store::page_by::<AssignmentRecord>(store, index, &page.scan(index, prefix)?)?;
        self.live_assignments(found, index, next)
    }

    /// Assignments whose user, role and scope are there, since those of a deleted one may not be swept yet, and that
    /// have not ended.
    fn live_assignments(
        &self,
        found: Vec<Stored<AssignmentRecord>>,
        table: Table,
        next: Option<Vec<u8>>,
    ) -> Result<Page<Assignment>> {
        let engine = self.gate.engine();
        let (store, now) = (&*engine.store, engine.now());
        let mut items = Vec::with_capacity(found.len());
        for assignment in found {
            if is_live(store, &assignment.record, now)? {
                items.push(assignment.record.into());
            }
        }
        Ok(Page::new(items, table, next))
    }
}

/// Assigns the first roles of a user who is created in the same plan, for ever: by the rules by which each would be
/// assigned after the others.
#[cfg(feature = "import")]
pub(super) fn stage_first(plan: &mut Plan<'_>, user: UserId, roles: &[(RoleId, ScopeId)]) -> Result<()> {
    if roles.is_empty() {
        return Ok(());
    }
    let all: Vec<RoleId> = roles.iter().map(|(role, _)| *role).collect();
    duty::before_first_roles(plan, &all)?;
    for (role, at) in roles {
        let terms = Grant::new().at(*at);
        let found = role::read_role(plan.store, *role)?;
        let rank = guard::rank(plan, &found)?;
        expect_within(plan, &found.record, *at)?;
        guard::before_assign(plan, &found.record, &[user], &terms)?;
        let entry = Entry::of(Subject::User(user)).and(Subject::Role(*role)).detail(terms.describe());
        let by = giver(plan.actor);
        plan.batch.insert(&AssignmentRecord { user, role: *role, terms, since: plan.now, by })?;
        plan.record(rank.assigned(false), entry)?;
    }
    Ok(())
}

/// Whether the assignment has not ended, and all that it names is there.
pub(super) fn is_live(store: &dyn Store, assignment: &AssignmentRecord, now: Timestamp) -> Result<bool> {
    Ok(!assignment.terms.has_ended(now)
        && store.get(RoleRecord::TABLE, &assignment.role.bytes())?.is_some()
        && store.get(UserRecord::TABLE, &assignment.user.bytes())?.is_some()
        && scope_is_there(store, assignment.terms.scope)?)
}

/// Whether the scope, and all that it lies in, is there.
pub(super) fn scope_is_there(store: &dyn Store, scope: ScopeId) -> Result<bool> {
    match scope::tenant_of(store, scope) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == crate::error::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

pub(super) const fn giver(actor: Actor) -> Option<UserId> {
    match actor {
        Actor::User(id) => Some(id),
        _ => None,
    }
}

/// Expects the scope to stay where it is, and refuses a role of another tenant.
fn expect_within(plan: &mut Plan<'_>, role: &RoleRecord, scope: ScopeId) -> Result<()> {
    if scope != ScopeId::ROOT {
        scope::expect_tree(plan.store, &mut plan.batch)?;
    }
    let tenant = scope::tenant_of(plan.store, scope)?;
    if role.scope != ScopeId::ROOT && role.scope != tenant {
        let message = format!(
            "{scope} does not lie in {home}, the tenant of {role}; assign it at a scope there",
            home = role.scope,
            role = role.id
        );
        return Err(Error::invalid("grant.scope", message));
    }
    Ok(())
}
