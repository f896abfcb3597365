//! Permissions given to one user, or forbidden to one, without a role.

use super::assignments::{giver, scope_is_there};
use super::page::{Page, PageRequest};
use super::write::Entry;
use super::{Portcullis, roles, warrant};
use crate::access::{self, ACCESS_BY_PERMISSION, ACCESS_BY_SCOPE, AccessRecord, DirectGrant};
use crate::audit::{AuditKind, Subject};
use crate::error::Result;
use crate::grant::Grant;
use crate::id::{Key, ScopeId, UserId};
use crate::permission::Permission;
use crate::scope;
use crate::store::{self, Record, Stored, Table};
use crate::user::{self, UserRecord};

/// Gives single permissions to single users, or forbids them; get it from [`Portcullis::access`].
///
/// For a document that is shared with three people, this needs no role. What many people may do belongs into roles.
///
/// ```
/// # fn main() -> portcullis::Result<()> {
/// use portcullis::{Grant, NewUser, Portcullis, ScopeId};
/// let gate = Portcullis::in_memory()?;
/// let read = gate.permissions().define("doc:read")?;
/// let doc = gate.scopes().create(ScopeId::ROOT, "doc:7")?;
/// let ada = gate.users().create(NewUser::new("ada"))?.id;
/// gate.access().grant(ada, read, &Grant::new().at(doc))?;
/// assert!(gate.check_at(ada, read, doc)?.is_allowed());
/// gate.access().withdraw(ada, read, doc)?;
/// assert!(!gate.check_at(ada, read, doc)?.is_allowed());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Access<'g> {
    pub(super) gate: &'g Portcullis,
}

impl Access<'_> {
    /// Gives the user a permission on these terms, or forbids it.
    ///
    /// # Errors
    /// `NotFound` for a user, permission or scope that does not exist; `AlreadyExists` where there is a grant or denial
    /// of it at that scope already; `InvalidInput` for terms that break a rule; the storage kinds.
    pub fn grant(&self, user: UserId, permission: Permission, terms: &Grant) -> Result<()> {
        self.gate.engine().write(self.gate.actor(), |plan| {
            let terms = terms.clone().checked(plan.now)?;
            roles::check_defined(plan, &[permission])?;
            user::read_user(plan.store, user)?;
            plan.batch.expect_present::<UserRecord>(&user);
            if terms.scope != ScopeId::ROOT {
                scope::expect_tree(plan.store, &mut plan.batch)?;
                scope::tenant_of(plan.store, terms.scope)?;
            }
            warrant::may_grant(plan, user, permission, terms.scope, "grant or deny a permission")?;
            let detail = terms.describe();
            let kind = if terms.break_glass { AuditKind::BreakGlass } else { AuditKind::AccessGranted };
            let new = AccessRecord { user, permission, terms, since: plan.now, by: giver(plan.actor) };
            access::stage_grant(plan.store, &mut plan.batch, &new)?;
            plan.record(
                kind,
                Entry::of(Subject::User(user)).and(Subject::Permission(permission)).detail(detail),
            )
        })?;
        Ok(())
    }

    /// Takes back what [`grant`](Self::grant) gave or forbade at that scope.
    ///
    /// # Errors
    /// `NotFound` where there is no such grant; the storage kinds.
    pub fn withdraw(&self, user: UserId, permission: Permission, scope: ScopeId) -> Result<()> {
        self.gate.engine().write(self.gate.actor(), |plan| {
            access::stage_withdraw(plan.store, &mut plan.batch, user, permission, scope)?;
            warrant::may_grant(plan, user, permission, scope, "withdraw a permission or its denial")?;
            let entry = Entry::of(Subject::User(user)).and(Subject::Permission(permission));
            plan.record(AuditKind::AccessWithdrawn, entry.detail(Grant::new().at(scope).describe()))
        })?;
        Ok(())
    }

    /// What a user was given or forbidden without a role, by permission; without what has ended.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` for a wrong page; the storage kinds.
    pub fn of_user(&self, user: UserId, page: &PageRequest) -> Result<Page<DirectGrant>> {
        let store = &*self.gate.engine().store;
        user::read_user(store, user)?;
        let (found, next) =
            store::page::<AccessRecord>(store, &page.scan(AccessRecord::TABLE, &user.bytes())?)?;
        self.live(found, AccessRecord::TABLE, next)
    }

    /// Who was given or forbidden a permission without a role, by scope and user.
    ///
    /// # Errors
    /// `InvalidInput` for a wrong page; the storage kinds.
    pub fn of_permission(&self, permission: Permission, page: &PageRequest) -> Result<Page<DirectGrant>> {
        self.page_by(ACCESS_BY_PERMISSION, &permission.bytes(), page)
    }

    /// What was given or forbidden without a role at a scope below the global one, by user.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` for a wrong page; the storage kinds.
    pub fn at_scope(&self, scope: ScopeId, page: &PageRequest) -> Result<Page<DirectGrant>> {
        scope::path_of(&*self.gate.engine().store, scope)?;
        self.page_by(ACCESS_BY_SCOPE, &scope.bytes(), page)
    }

    fn page_by(&self, index: Table, prefix: &[u8], page: &PageRequest) -> Result<Page<DirectGrant>> {
        let store = &*self.gate.engine().store;
        let (found, next) = store::page_by::<AccessRecord>(store, index, &page.scan(index, prefix)?)?;
        self.live(found, index, next)
    }

    fn live(
        &self,
        found: Vec<Stored<AccessRecord>>,
        table: Table,
        next: Option<Vec<u8>>,
    ) -> Result<Page<DirectGrant>> {
        let engine = self.gate.engine();
        let mut items = Vec::with_capacity(found.len());
        for grant in found {
            if !grant.record.terms.has_ended(engine.now())
                && engine.store.get(UserRecord::TABLE, &grant.record.user.bytes())?.is_some()
                && scope_is_there(&*engine.store, grant.record.terms.scope)?
            {
                items.push(grant.record.into());
            }
        }
        Ok(Page::new(items, table, next))
    }
}
