//! Roles, their hierarchy, and who holds them.

use super::Portcullis;
use super::bookkeeping::{Leftover, Sequence};
use super::ids::{expect_same_permissions, stage_next};
use super::page::{Page, PageRequest};
use super::write::{Entry, Plan};
use super::{demand, guard, warrant};
use crate::audit::{AuditKind, Subject};
use crate::catalog::PermissionRecord;
use crate::error::{Error, Result};
use crate::id::{Key, RoleId, ScopeId};
use crate::permission::{Permission, PermissionSet};
use crate::role::{self, ROLE_BY_NAME, Role, RoleChange, RoleRecord};
use crate::scope;
use crate::separation::{SEPARATION_BY_ROLE, SeparationRecord};
use crate::store::{self, Record, Scan, Store, Stored};
use crate::text;

/// Sets that keep a role apart which the audit log names when the role is deleted.
const MOST_TOLD: usize = 8;

/// Creates, links and assigns roles; get it from [`Portcullis::roles`].
///
/// ```
/// # fn main() -> portcullis::Result<()> {
/// use portcullis::{NewUser, Portcullis};
/// let gate = Portcullis::in_memory()?;
/// let [read, write] = [gate.permissions().define("report:read")?, gate.permissions().define("report:write")?];
/// let viewer = gate.roles().create("viewer", [read])?;
/// let editor = gate.roles().create("editor", [write])?;
/// gate.roles().inherit(editor, viewer)?; // an editor can do all that a viewer can
/// assert!(gate.roles().inherit(viewer, editor).is_err()); // a cycle
///
/// let ada = gate.users().create(NewUser::new("ada"))?;
/// gate.roles().assign(ada.id, editor)?;
/// assert!(gate.check(ada.id, read)?.is_allowed());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Roles<'g> {
    pub(super) gate: &'g Portcullis,
}

impl Roles<'_> {
    /// Creates a role that grants some permissions.
    ///
    /// # Errors
    /// `InvalidInput` for a name that breaks a rule; `AlreadyExists` where it is taken; `NotFound` for a permission
    /// that is not defined; the storage kinds.
    pub fn create(&self, name: &str, permissions: impl IntoIterator<Item = Permission>) -> Result<RoleId> {
        self.create_as(name, "", permissions)
    }

    /// As [`create`](Self::create), with a description of at most 512 bytes.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_as(
        &self,
        name: &str,
        description: &str,
        permissions: impl IntoIterator<Item = Permission>,
    ) -> Result<RoleId> {
        self.create_for(ScopeId::ROOT, name, description, permissions)
    }

    /// Creates a role of a tenant: its name is unique there only, and it can be assigned in that tenant only.
    ///
    /// # Errors
    /// As [`create`](Self::create); `NotFound` for a scope that does not exist, and `InvalidInput` for one that is no
    /// tenant.
    pub fn create_in(
        &self,
        tenant: ScopeId,
        name: &str,
        permissions: impl IntoIterator<Item = Permission>,
    ) -> Result<RoleId> {
        self.create_for(tenant, name, "", permissions)
    }

    fn create_for(
        &self,
        tenant: ScopeId,
        name: &str,
        description: &str,
        permissions: impl IntoIterator<Item = Permission>,
    ) -> Result<RoleId> {
        let permissions: Vec<Permission> = permissions.into_iter().collect();
        let (role, _) = self.gate.engine().write(self.gate.actor(), |plan| {
            check_defined(plan, &permissions)?;
            if tenant != ScopeId::ROOT {
                scope::expect_tree(plan.store, &mut plan.batch)?;
                if scope::tenant_of(plan.store, tenant)? != tenant {
                    let message = format!("{tenant} lies in a tenant; roles belong to tenants");
                    return Err(Error::invalid("role.scope", message));
                }
            }
            let limit = u64::from(u32::MAX);
            let number = stage_next(plan.store, &mut plan.batch, Sequence::Role, 1, limit)?;
            let number =
                u32::try_from(number).map_err(|_| Error::limit("role", "role numbers are used up"))?;
            let id = RoleId::from_number(number);
            let new = role::New { id, scope: tenant, name, description, parents: Vec::new() };
            role::stage_create(plan.store, &mut plan.batch, new, plan.now)?;
            let granted = role::stage_bits::<false>(plan.store, &mut plan.batch, id, &permissions, true)?;
            record_bits(plan, AuditKind::RoleCreated, id, name, &granted)?;
            Ok(id)
        })?;
        Ok(role)
    }

    /// The role of that number.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn get(&self, id: RoleId) -> Result<Role> {
        let store = &*self.gate.engine().store;
        public(store, role::read_role(store, id)?)
    }

    /// The role of that name that belongs to no tenant.
    ///
    /// # Errors
    /// `InvalidInput` for what can not be a name; the storage kinds.
    pub fn find(&self, name: &str) -> Result<Option<Role>> {
        self.find_in(ScopeId::ROOT, name)
    }

    /// The role of that name in a tenant.
    ///
    /// # Errors
    /// `InvalidInput` for what can not be a name; the storage kinds.
    pub fn find_in(&self, tenant: ScopeId, name: &str) -> Result<Option<Role>> {
        text::name("role.name", name)?;
        let key = role::name_key(tenant, name);
        let store = &*self.gate.engine().store;
        store::find::<RoleRecord>(store, ROLE_BY_NAME, &key)?.map(|found| public(store, found)).transpose()
    }

    /// All roles, by number.
    ///
    /// # Errors
    /// `InvalidInput` for a wrong page; the storage kinds.
    pub fn list(&self, page: &PageRequest) -> Result<Page<Role>> {
        let store = &*self.gate.engine().store;
        let (roles, next) = store::page::<RoleRecord>(store, &page.scan(RoleRecord::TABLE, &[])?)?;
        let roles = roles.into_iter().map(|role| public(store, role)).collect::<Result<_>>()?;
        Ok(Page::new(roles, RoleRecord::TABLE, next))
    }

    /// The roles that belong to no tenant, by name.
    ///
    /// # Errors
    /// `InvalidInput` for a wrong page; the storage kinds.
    pub fn list_by_name(&self, page: &PageRequest) -> Result<Page<Role>> {
        self.list_in(ScopeId::ROOT, page)
    }

    /// The roles of a tenant, by name.
    ///
    /// # Errors
    /// `InvalidInput` for a wrong page; the storage kinds.
    pub fn list_in(&self, tenant: ScopeId, page: &PageRequest) -> Result<Page<Role>> {
        let prefix = tenant.bytes();
        let store = &*self.gate.engine().store;
        let (roles, next) =
            store::page_by::<RoleRecord>(store, ROLE_BY_NAME, &page.scan(ROLE_BY_NAME, &prefix)?)?;
        let roles = roles.into_iter().map(|role| public(store, role)).collect::<Result<_>>()?;
        Ok(Page::new(roles, ROLE_BY_NAME, next))
    }

    /// Changes the name, the description or the marks.
    ///
    /// A role that comes to ask for a second factor ends the sessions of one factor that have it active, or a role that
    /// inherits from it, before this returns: see [`inherit`](Self::inherit), which does the same.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` where the expected stamp is not the present one; `AlreadyExists` where the name is
    /// taken; `InvalidInput` names the field; the storage kinds.
    pub fn update(&self, id: RoleId, change: RoleChange) -> Result<Role> {
        let engine = self.gate.engine();
        let ((record, demands), stamp) = engine.write(self.gate.actor(), move |plan| {
            let old = role::read_role(plan.store, id)?;
            warrant::may_rename_role(plan, &old.record, &change)?;
            let (kind, detail) = guard::role_changed(plan, &old, &change)?;
            let record = role::stage_change(plan.store, &mut plan.batch, id, &change, plan.now)?;
            let demands =
                record.assurance > old.record.assurance && demand::before_demand(plan, id, record.assurance)?;
            plan.record(kind, Entry::of(Subject::Role(id)).detail(detail))?;
            Ok((record, demands))
        })?;
        if demands {
            engine.finish_demands()?;
        }
        public(&*engine.store, Stored { version: stamp.into(), record })
    }

    /// Gives the role permissions; those it has already are no error. Seen by every holder's next check.
    ///
    /// # Errors
    /// `NotFound` for a role or a permission that does not exist; `LimitExceeded` where the bit numbers lie in more
    /// than 80 ranges of 8,192, to be given in several calls; the storage kinds.
    pub fn grant(&self, role: RoleId, permissions: impl IntoIterator<Item = Permission>) -> Result<()> {
        let permissions: Vec<Permission> = permissions.into_iter().collect();
        self.change_bits::<false>(role, &permissions, true).map(drop)
    }

    /// Takes permissions from the role; those it does not have are no error. Seen by every holder's next check.
    ///
    /// # Errors
    /// `NotFound` for a role that does not exist; the storage kinds.
    pub fn withdraw(&self, role: RoleId, permissions: impl IntoIterator<Item = Permission>) -> Result<()> {
        let permissions: Vec<Permission> = permissions.into_iter().collect();
        self.change_bits::<false>(role, &permissions, false).map(drop)
    }

    /// Takes one permission from the role that it must have (RevokePermission of ANSI INCITS 359). Seen by every holder's
    /// next check.
    ///
    /// # Errors
    /// `NotFound` for a role that does not exist, and for a permission that it does not grant itself; the storage kinds.
    pub fn revoke(&self, role: RoleId, permission: Permission) -> Result<()> {
        match self.change_bits::<false>(role, &[permission], false)? {
            true => Ok(()),
            false => {
                Err(Error::not_found("permission", format_args!("a grant of {permission} by {role} itself")))
            }
        }
    }

    /// Forbids whoever holds the role these permissions, whatever else gives them: where the role is held at a scope,
    /// there and below.
    ///
    /// # Errors
    /// As [`grant`](Self::grant).
    pub fn deny(&self, role: RoleId, permissions: impl IntoIterator<Item = Permission>) -> Result<()> {
        let permissions: Vec<Permission> = permissions.into_iter().collect();
        self.change_bits::<true>(role, &permissions, true).map(drop)
    }

    /// Takes back what [`deny`](Self::deny) did.
    ///
    /// # Errors
    /// `NotFound` for a role that does not exist; the storage kinds.
    pub fn lift(&self, role: RoleId, permissions: impl IntoIterator<Item = Permission>) -> Result<()> {
        let permissions: Vec<Permission> = permissions.into_iter().collect();
        self.change_bits::<true>(role, &permissions, false).map(drop)
    }

    /// Whether anything changed.
    fn change_bits<const DENY: bool>(
        &self,
        role: RoleId,
        permissions: &[Permission],
        add: bool,
    ) -> Result<bool> {
        let (changed, _) = self.gate.engine().write(self.gate.actor(), |plan| {
            if add {
                check_defined(plan, permissions)?;
            }
            let found = role::read_role(plan.store, role)?;
            warrant::may_change_bits(plan, &found.record, permissions)?;
            let changed = role::stage_bits::<DENY>(plan.store, &mut plan.batch, role, permissions, add)?;
            if changed.is_empty() {
                plan.batch.expects.clear();
                return Ok(false);
            }
            let kind = match (DENY, add) {
                (false, true) => AuditKind::RoleGranted,
                (false, false) => AuditKind::RoleRevoked,
                (true, true) => AuditKind::RoleDenied,
                (true, false) => AuditKind::RoleDenialLifted,
            };
            let (kind, lead) = guard::rank(plan, &found)?.changed(kind, "");
            record_bits(plan, kind, role, &lead, &changed)?;
            Ok(true)
        })?;
        Ok(changed)
    }

    /// What the role itself grants, without what it inherits.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn granted(&self, role: RoleId) -> Result<PermissionSet> {
        let store = &*self.gate.engine().store;
        role::read_role(store, role)?;
        role::bits_of::<false>(store, role)
    }

    /// What the role itself denies, without what it inherits.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn denied(&self, role: RoleId) -> Result<PermissionSet> {
        let store = &*self.gate.engine().store;
        role::read_role(store, role)?;
        role::bits_of::<true>(store, role)
    }

    /// What somebody who holds this role and no other one may do: all that it and what it inherits from grant, but what
    /// they deny.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn effective(&self, role: RoleId) -> Result<PermissionSet> {
        let engine = self.gate.engine();
        role::read_role(&*engine.store, role)?;
        let [granted, denied] = engine.view.permissions_of_role(role);
        Ok(granted.iter().filter(|permission| !denied.contains(*permission)).collect())
    }

    /// Deletes a role: nobody holds it, and no role inherits from it, from the very next check on. Roles above it are
    /// not linked to roles below it. The number is never reused.
    ///
    /// # Errors
    /// `NotFound`; `LastHolder` for a protected role, whoever holds it; the storage kinds.
    pub fn delete(&self, role: RoleId) -> Result<()> {
        let engine = self.gate.engine();
        engine.write(self.gate.actor(), |plan| {
            let found = role::read_role(plan.store, role)?;
            guard::check_deletable(&found.record)?;
            let kind = guard::rank(plan, &found)?.deleted();
            let old = role::stage_delete(plan.store, &mut plan.batch, role)?;
            plan.leave(Leftover::Role(role))?;
            let mut detail = old.name;
            let prefix = role.bytes();
            let scan = Scan { prefix: &prefix, limit: MOST_TOLD, ..Scan::default() };
            for set in store::page_by::<SeparationRecord>(plan.store, SEPARATION_BY_ROLE, &scan)?.0 {
                detail.push_str(&format!("; leaves {}", set.record.id));
            }
            plan.record(kind, Entry::of(Subject::Role(role)).detail(detail))
        })?;
        engine.sweep_after(Leftover::Role(role));
        Ok(())
    }
}

/// A granted bit that is not defined would start to mean something when it is defined, so the commit expects that the
/// catalogue is as it was read here.
pub(super) fn check_defined(plan: &mut Plan<'_>, permissions: &[Permission]) -> Result<()> {
    expect_same_permissions(plan.store, &mut plan.batch)?;
    for permission in permissions {
        if store::read::<PermissionRecord>(plan.store, permission)?.is_none() {
            return Err(Error::not_found("permission", permission));
        }
    }
    Ok(())
}

/// Puts bits that changed into the audit log, as ranges behind a lead, over as many records as they need; some two
/// thousand scattered ones fit, and of more the last record tells the number.
pub(super) fn record_bits(
    plan: &mut Plan<'_>,
    kind: AuditKind,
    role: RoleId,
    lead: &str,
    bits: &PermissionSet,
) -> Result<()> {
    const ROOM: usize = text::MAX_TEXT - 40;
    const RECORDS: usize = 24;
    let mut written = 0;
    let start = if lead.is_empty() { "permissions".to_owned() } else { format!("{lead}: permissions") };
    let mut detail = start.clone();
    let mut bits = bits.iter().map(Permission::bit).peekable();
    while let Some(first) = bits.next() {
        let mut last = first;
        while let Some(next) = bits.next_if(|bit| *bit == last + 1) {
            last = next;
        }
        if detail.len() > ROOM {
            written += 1;
            if written == RECORDS {
                detail.push_str(&format!(" and {} more", bits.count() + 1));
                break;
            }
            let full = std::mem::replace(&mut detail, start.clone());
            plan.record(kind, Entry::of(Subject::Role(role)).detail(full))?;
        }
        detail.push_str(&if first == last { format!(" {first}") } else { format!(" {first}-{last}") });
    }
    plan.record(kind, Entry::of(Subject::Role(role)).detail(detail))
}

/// A role as callers see it: without parents that were deleted and are not swept out of it yet.
fn public(store: &dyn Store, stored: Stored<RoleRecord>) -> Result<Role> {
    let mut role = Role::from(stored);
    let mut present = Vec::with_capacity(role.parents.len());
    for parent in role.parents {
        if store.get(RoleRecord::TABLE, &parent.bytes())?.is_some() {
            present.push(parent);
        }
    }
    role.parents = present;
    Ok(role)
}
