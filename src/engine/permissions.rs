//! The catalogue of permissions.

use super::Portcullis;
use super::bookkeeping::{Leftover, Sequence};
use super::ids::{stage_next, stage_permission_deleted};
use super::page::{Page, PageRequest};
use super::review::page_of_object;
use super::write::Entry;
use crate::audit::{AuditKind, Subject};
use crate::catalog::{self, PermissionInfo, PermissionRecord};
use crate::error::{Error, Result};
use crate::permission::Permission;
use crate::store::{self, Record};

/// Permissions that share one commit when many are defined: eight operations each, and two to take their numbers.
pub(super) const BULK: usize = 20;

/// Defines and lists permissions; get it from [`Portcullis::permissions`].
#[derive(Clone, Copy, Debug)]
pub struct Permissions<'g> {
    pub(super) gate: &'g Portcullis,
}

impl Permissions<'_> {
    /// The permission of that name, defined now if it was not before: safe to call at every start.
    ///
    /// A name is 1 to 128 bytes of printable text, such as `report:read`.
    ///
    /// # Errors
    /// `InvalidInput` names the field; `LimitExceeded` after 1,048,576 definitions; the storage kinds.
    pub fn define(&self, name: &str) -> Result<Permission> {
        self.define_as(name, "")
    }

    /// As [`define`](Self::define), with a description of at most 512 bytes for a new one; one that is defined already
    /// keeps its own, which [`describe`](Self::describe) changes.
    ///
    /// # Errors
    /// As [`define`](Self::define).
    pub fn define_as(&self, name: &str, description: &str) -> Result<Permission> {
        let defined = self.define_group(&[(name, description)])?;
        defined.first().copied().ok_or_else(|| Error::damaged("a defined permission was not returned"))
    }

    /// Defines many at once, several to a commit; the result is in the order of the names.
    ///
    /// # Errors
    /// As [`define`](Self::define).
    pub fn define_many<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Result<Vec<Permission>> {
        let names: Vec<(&str, &str)> = names.into_iter().map(|name| (name, "")).collect();
        let mut defined = Vec::with_capacity(names.len());
        for group in names.chunks(BULK) {
            defined.extend(self.define_group(group)?);
        }
        Ok(defined)
    }

    fn define_group(&self, group: &[(&str, &str)]) -> Result<Vec<Permission>> {
        let (defined, _) = self.gate.engine().write(self.gate.actor(), |plan| {
            let mut defined: Vec<Permission> = Vec::with_capacity(group.len());
            let mut fresh: Vec<(&str, &str)> = Vec::new();
            for (name, description) in group {
                let twin = group.iter().zip(&defined).find(|((earlier, _), _)| earlier == name);
                let known = match twin {
                    Some((_, permission)) => Some(*permission),
                    None => catalog::find(plan.store, name)?.map(|found| found.record.permission),
                };
                // A placeholder until the numbers are reserved below; only ever compared by place.
                defined.push(known.unwrap_or(Permission::from_bit(u32::MAX)));
                if known.is_none() {
                    fresh.push((name, description));
                }
            }
            if fresh.is_empty() {
                return Ok(defined);
            }
            let (store, limit) = (plan.store, u64::from(Permission::LIMIT));
            let start = stage_next(store, &mut plan.batch, Sequence::Permission, fresh.len() as u64, limit)?;
            for (number, (name, description)) in (start..).zip(&fresh) {
                let bit = u32::try_from(number)
                    .map_err(|_| Error::limit("permission", "bit numbers are used up"))?;
                let permission = Permission::from_bit(bit);
                catalog::stage_define(&mut plan.batch, permission, name, description, plan.now)?;
                let entry = Entry::of(Subject::Permission(permission)).detail(*name);
                plan.record(AuditKind::PermissionDefined, entry)?;
                for (place, (given, _)) in defined.iter_mut().zip(group) {
                    if given == name {
                        *place = permission;
                    }
                }
            }
            Ok(defined)
        })?;
        Ok(defined)
    }

    /// Describes a permission anew; at most 512 bytes. Its name and bit stay.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` for a description that breaks a rule; the storage kinds.
    pub fn describe(&self, permission: Permission, description: &str) -> Result<PermissionInfo> {
        let (record, _) = self.gate.engine().write(self.gate.actor(), |plan| {
            let old = store::read::<PermissionRecord>(plan.store, &permission)?
                .ok_or_else(|| Error::not_found("permission", permission))?;
            let record = catalog::stage_describe(&mut plan.batch, &old, description)?;
            let entry = Entry::of(Subject::Permission(permission)).detail(record.name.as_str());
            plan.record(AuditKind::PermissionUpdated, entry)?;
            Ok(record)
        })?;
        Ok(record.into())
    }

    /// The permission of that name.
    ///
    /// # Errors
    /// `InvalidInput` for what can not be a name; the storage kinds.
    pub fn find(&self, name: &str) -> Result<Option<PermissionInfo>> {
        Ok(catalog::find(&*self.gate.engine().store, name)?.map(|found| found.record.into()))
    }

    /// What is known of a permission.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn get(&self, permission: Permission) -> Result<PermissionInfo> {
        let found = store::read::<PermissionRecord>(&*self.gate.engine().store, &permission)?;
        found.map(|found| found.record.into()).ok_or_else(|| Error::not_found("permission", permission))
    }

    /// All permissions, by bit number.
    ///
    /// # Errors
    /// `InvalidInput` for a wrong page; the storage kinds.
    pub fn list(&self, page: &PageRequest) -> Result<Page<PermissionInfo>> {
        let (found, next) = store::page::<PermissionRecord>(
            &*self.gate.engine().store,
            &page.scan(PermissionRecord::TABLE, &[])?,
        )?;
        Ok(Page::new(
            found.into_iter().map(|found| found.record.into()).collect(),
            PermissionRecord::TABLE,
            next,
        ))
    }

    /// The permissions on an object, by name: those whose name is the object, a colon, and an operation without a colon in
    /// it. [`Review::role_operations_on`](crate::Review::role_operations_on) tells those that a role gives.
    ///
    /// A page can be shorter than asked for, and even empty, and still have a next one.
    ///
    /// # Errors
    /// `NotFound` for an object that no permission is on, with the field `object`; `InvalidInput` for a wrong page and
    /// what can not be in a name; the storage kinds.
    pub fn of_object(&self, object: &str, page: &PageRequest) -> Result<Page<PermissionInfo>> {
        let store = &*self.gate.engine().store;
        // One that was deleted since the index was read is left out.
        page_of_object(store, object, page, |_| true)?.try_filter_map(|(_, permission)| {
            Ok(store::read::<PermissionRecord>(store, &permission)?.map(|found| found.record.into()))
        })
    }

    /// Deletes a permission: nobody holds it from the very next check on. Its bit is never used again, and a
    /// permission defined later under the same name is another one.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn delete(&self, permission: Permission) -> Result<()> {
        let engine = self.gate.engine();
        engine.write(self.gate.actor(), |plan| {
            let old = store::read::<PermissionRecord>(plan.store, &permission)?
                .ok_or_else(|| Error::not_found("permission", permission))?;
            catalog::stage_delete(&mut plan.batch, &old, plan.now)?;
            stage_permission_deleted(plan.store, &mut plan.batch)?;
            plan.leave(Leftover::Permission(permission))?;
            let entry = Entry::of(Subject::Permission(permission)).detail(old.record.name.as_str());
            plan.record(AuditKind::PermissionDeleted, entry)
        })?;
        engine.sweep_after(Leftover::Permission(permission));
        Ok(())
    }
}
