//! Roles, their hierarchy, and who holds them.

use super::Portcullis;
use super::bookkeeping::{Leftover, Sequence};
use super::ids::{expect_same_permissions, stage_next};
use super::page::{Page, PageRequest};
use super::write::{Entry, Plan};
use crate::assignment::{self, ASSIGNMENT_BY_ROLE, Assignment, AssignmentRecord};
use crate::audit::{Actor, AuditKind, Subject};
use crate::catalog::PermissionRecord;
use crate::error::{Error, Result};
use crate::id::{Key, RoleId, UserId};
use crate::permission::{Permission, PermissionSet};
use crate::role::{self, ROLE_BY_NAME, Role, RoleChange, RoleRecord};
use crate::store::{self, Record, Store, Stored, Table};
use crate::text;
use crate::user::{self, UserRecord};

/// Assignments that share one commit in a bulk load.
const BULK: usize = 16;

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
        let permissions: Vec<Permission> = permissions.into_iter().collect();
        let (role, _) = self.gate.engine().write(self.gate.actor(), |plan| {
            check_defined(plan, &permissions)?;
            let limit = u64::from(u32::MAX);
            let number = stage_next(plan.store, &mut plan.batch, Sequence::Role, 1, limit)?;
            let number =
                u32::try_from(number).map_err(|_| Error::limit("role", "role numbers are used up"))?;
            let id = RoleId::from_number(number);
            role::stage_create(plan.store, &mut plan.batch, id, name, description, plan.now)?;
            let granted = role::stage_grants(plan.store, &mut plan.batch, id, &permissions, true)?;
            record_grants(plan, AuditKind::RoleCreated, id, name, &granted)?;
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

    /// The role of that name.
    ///
    /// # Errors
    /// `InvalidInput` for what can not be a name; the storage kinds.
    pub fn find(&self, name: &str) -> Result<Option<Role>> {
        text::name("role.name", name)?;
        let key = store::index_prefix(name);
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

    /// All roles, by name.
    ///
    /// # Errors
    /// `InvalidInput` for a wrong page; the storage kinds.
    pub fn list_by_name(&self, page: &PageRequest) -> Result<Page<Role>> {
        let store = &*self.gate.engine().store;
        let (roles, next) =
            store::page_by::<RoleRecord>(store, ROLE_BY_NAME, &page.scan(ROLE_BY_NAME, &[])?)?;
        let roles = roles.into_iter().map(|role| public(store, role)).collect::<Result<_>>()?;
        Ok(Page::new(roles, ROLE_BY_NAME, next))
    }

    /// Changes the name or the description.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` where the expected stamp is not the present one; `AlreadyExists` where the name is
    /// taken; `InvalidInput` names the field; the storage kinds.
    pub fn update(&self, id: RoleId, change: RoleChange) -> Result<Role> {
        let (record, stamp) = self.gate.engine().write(self.gate.actor(), move |plan| {
            let record = role::stage_change(plan.store, &mut plan.batch, id, &change, plan.now)?;
            plan.record(AuditKind::RoleUpdated, Entry::of(Subject::Role(id)).detail(record.name.as_str()))?;
            Ok(record)
        })?;
        public(&*self.gate.engine().store, Stored { version: stamp.into(), record })
    }

    /// Gives the role permissions; those it has already are no error. Seen by every holder's next check.
    ///
    /// # Errors
    /// `NotFound` for a role or a permission that does not exist; `LimitExceeded` where the bit numbers lie in more
    /// than 80 ranges of 8,192, to be given in several calls; the storage kinds.
    pub fn grant(&self, role: RoleId, permissions: impl IntoIterator<Item = Permission>) -> Result<()> {
        let permissions: Vec<Permission> = permissions.into_iter().collect();
        self.change_grants(role, &permissions, true)
    }

    /// Takes permissions from the role; those it does not have are no error. Seen by every holder's next check.
    ///
    /// # Errors
    /// `NotFound` for a role that does not exist; the storage kinds.
    pub fn withdraw(&self, role: RoleId, permissions: impl IntoIterator<Item = Permission>) -> Result<()> {
        let permissions: Vec<Permission> = permissions.into_iter().collect();
        self.change_grants(role, &permissions, false)
    }

    fn change_grants(&self, role: RoleId, permissions: &[Permission], grant: bool) -> Result<()> {
        self.gate.engine().write(self.gate.actor(), |plan| {
            if grant {
                check_defined(plan, permissions)?;
            }
            role::read_role(plan.store, role)?;
            let changed = role::stage_grants(plan.store, &mut plan.batch, role, permissions, grant)?;
            if changed.is_empty() {
                plan.batch.expects.clear();
                return Ok(());
            }
            plan.batch.expect_present::<RoleRecord>(&role);
            let kind = if grant { AuditKind::RoleGranted } else { AuditKind::RoleRevoked };
            record_grants(plan, kind, role, "", &changed)
        })?;
        Ok(())
    }

    /// What the role itself grants, without what it inherits.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn granted(&self, role: RoleId) -> Result<PermissionSet> {
        let store = &*self.gate.engine().store;
        role::read_role(store, role)?;
        role::permissions_of(store, role)
    }

    /// What the role grants, with what it inherits.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn effective(&self, role: RoleId) -> Result<PermissionSet> {
        let engine = self.gate.engine();
        role::read_role(&*engine.store, role)?;
        Ok(engine.view.permissions_of_role(role))
    }

    /// All roles that this one inherits from, near or far, by number.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn juniors(&self, role: RoleId) -> Result<Vec<RoleId>> {
        let engine = self.gate.engine();
        role::read_role(&*engine.store, role)?;
        Ok(engine.view.juniors(role))
    }

    /// All roles that inherit from this one, near or far, by number.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn seniors(&self, role: RoleId) -> Result<Vec<RoleId>> {
        let engine = self.gate.engine();
        role::read_role(&*engine.store, role)?;
        Ok(engine.view.seniors(role))
    }

    /// Lets the first role hold all that the second one holds, and what that one inherits in turn.
    ///
    /// # Errors
    /// `NotFound`; `AlreadyExists`; `Cycle` where the second inherits from the first already, or they are the same;
    /// `LimitExceeded` for a 257th parent; the storage kinds.
    pub fn inherit(&self, role: RoleId, parent: RoleId) -> Result<()> {
        self.change_parent(role, parent, true)
    }

    /// Takes back what [`inherit`](Self::inherit) did.
    ///
    /// # Errors
    /// `NotFound` where there is no such edge; the storage kinds.
    pub fn disinherit(&self, role: RoleId, parent: RoleId) -> Result<()> {
        self.change_parent(role, parent, false)
    }

    fn change_parent(&self, role: RoleId, parent: RoleId, add: bool) -> Result<()> {
        self.gate.engine().write(self.gate.actor(), |plan| {
            role::stage_parent(plan.store, &mut plan.batch, role, parent, add, plan.now)?;
            let kind = if add { AuditKind::RoleInherited } else { AuditKind::RoleDisinherited };
            plan.record(kind, Entry::of(Subject::Role(role)).and(Subject::Role(parent)))
        })?;
        Ok(())
    }

    /// Assigns a role to a user.
    ///
    /// # Errors
    /// `NotFound`; `AlreadyExists` where the user holds it already; the storage kinds.
    pub fn assign(&self, user: UserId, role: RoleId) -> Result<()> {
        self.assign_many(role, [user])
    }

    /// Assigns a role to many users, sixteen to a commit; at the first error the groups before it stay.
    ///
    /// # Errors
    /// As [`assign`](Self::assign).
    pub fn assign_many(&self, role: RoleId, users: impl IntoIterator<Item = UserId>) -> Result<()> {
        let mut users: Vec<UserId> = users.into_iter().collect();
        users.sort_unstable();
        if let Some([twice, _]) = users.array_windows().find(|[a, b]| a == b) {
            return Err(Error::exists("user", format!("{twice} is given twice")));
        }
        let by = match self.gate.actor() {
            Actor::User(id) => Some(id),
            _ => None,
        };
        for group in users.chunks(BULK) {
            self.gate.engine().write(self.gate.actor(), |plan| {
                role::read_role(plan.store, role)?;
                plan.batch.expect_present::<RoleRecord>(&role);
                for user in group {
                    user::read_user(plan.store, *user)?;
                    plan.batch.expect_present::<UserRecord>(user);
                    assignment::stage_assign(plan.store, &mut plan.batch, *user, role, by, plan.now)?;
                    let entry = Entry::of(Subject::User(*user)).and(Subject::Role(role));
                    plan.record(AuditKind::RoleAssigned, entry)?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Takes a role from a user.
    ///
    /// # Errors
    /// `NotFound` where the user does not hold it; the storage kinds.
    pub fn unassign(&self, user: UserId, role: RoleId) -> Result<()> {
        self.gate.engine().write(self.gate.actor(), |plan| {
            assignment::stage_unassign(plan.store, &mut plan.batch, user, role)?;
            plan.record(AuditKind::RoleUnassigned, Entry::of(Subject::User(user)).and(Subject::Role(role)))
        })?;
        Ok(())
    }

    /// The roles assigned to a user, by number.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` for a wrong page; the storage kinds.
    pub fn of_user(&self, user: UserId, page: &PageRequest) -> Result<Page<Assignment>> {
        let store = &*self.gate.engine().store;
        user::read_user(store, user)?;
        let (found, next) =
            store::page::<AssignmentRecord>(store, &page.scan(AssignmentRecord::TABLE, &user.bytes())?)?;
        live_assignments(store, found, AssignmentRecord::TABLE, next)
    }

    /// The users to whom a role is assigned, by number.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` for a wrong page; the storage kinds.
    pub fn holders(&self, role: RoleId, page: &PageRequest) -> Result<Page<Assignment>> {
        let store = &*self.gate.engine().store;
        role::read_role(store, role)?;
        let (found, next) = store::page_by::<AssignmentRecord>(
            store,
            ASSIGNMENT_BY_ROLE,
            &page.scan(ASSIGNMENT_BY_ROLE, &role.bytes())?,
        )?;
        live_assignments(store, found, ASSIGNMENT_BY_ROLE, next)
    }

    /// Deletes a role: nobody holds it, and no role inherits from it, from the very next check on. Roles above it are
    /// not linked to roles below it. The number is never reused.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn delete(&self, role: RoleId) -> Result<()> {
        let engine = self.gate.engine();
        engine.write(self.gate.actor(), |plan| {
            let old = role::stage_delete(plan.store, &mut plan.batch, role)?;
            plan.leave(Leftover::Role(role))?;
            plan.record(AuditKind::RoleDeleted, Entry::of(Subject::Role(role)).detail(old.name))
        })?;
        engine.sweep_after(Leftover::Role(role));
        Ok(())
    }
}

/// A granted bit that is not defined would start to mean something when it is defined, so the commit expects that the
/// catalogue is as it was read here.
fn check_defined(plan: &mut Plan<'_>, permissions: &[Permission]) -> Result<()> {
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
fn record_grants(
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

/// Assignments whose user and role are both there: those of a deleted one may not be swept yet.
fn live_assignments(
    store: &dyn Store,
    found: Vec<Stored<AssignmentRecord>>,
    table: Table,
    next: Option<Vec<u8>>,
) -> Result<Page<Assignment>> {
    let mut items = Vec::with_capacity(found.len());
    for assignment in found {
        let (user, role) = assignment.record.key();
        if store.get(RoleRecord::TABLE, &role.bytes())?.is_some()
            && store.get(UserRecord::TABLE, &user.bytes())?.is_some()
        {
            items.push(assignment.record.into());
        }
    }
    Ok(Page::new(items, table, next))
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
