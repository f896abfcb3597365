//! Sets of roles that are kept apart.

use super::bookkeeping::Sequence;
use super::ids::stage_next;
use super::page::{Page, PageRequest};
use super::write::{Entry, Plan};
use super::{Engine, Portcullis, duty};
use crate::audit::{AuditKind, Subject};
use crate::error::{Error, Result};
use crate::id::{Key, RoleId, SeparationId};
use crate::role::{self, RoleRecord};
use crate::separation::{
    self, SEPARATION_BY_NAME, SEPARATION_BY_ROLE, Separation, SeparationKind, SeparationRecord,
};
use crate::store::{self, Store, Stored, Table};
use crate::text;

/// Keeps duties apart: sets of roles of which nobody may hold, or have active in one session, as many as a number; get it
/// from [`Portcullis::separation`]. This is separation of duty as ANSI INCITS 359 has it.
///
/// Roles count with what inherits from them: who holds a role holds those below it, too. They count wherever they are
/// held, at whatever scope, and from when they are assigned, also if the assignment begins later. Emergency assignments
/// are no exception. Permissions that are given without a role are not looked at.
///
/// ```
/// # fn main() -> portcullis::Result<()> {
/// use portcullis::{ErrorKind, NewUser, Portcullis, SeparationKind};
/// let gate = Portcullis::in_memory()?;
/// let pay = gate.permissions().define("invoice:pay")?;
/// let approve = gate.permissions().define("invoice:approve")?;
/// let clerk = gate.roles().create("clerk", [pay])?;
/// let auditor = gate.roles().create("auditor", [approve])?;
/// gate.separation().create(SeparationKind::Static, "payments", [clerk, auditor], 2)?;
///
/// let ada = gate.users().create(NewUser::new("ada"))?.id;
/// gate.roles().assign(ada, clerk)?;
/// let refused = gate.roles().assign(ada, auditor);
/// assert!(refused.is_err_and(|error| error.kind() == ErrorKind::SeparationOfDuty));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SeparationOfDuty<'g> {
    pub(super) gate: &'g Portcullis,
}

impl SeparationOfDuty<'_> {
    /// Makes a set: nobody may come to `cardinality` of these roles.
    ///
    /// It looks at everybody who holds one of them, and for a dynamic set at their live sessions.
    ///
    /// # Errors
    /// `SeparationOfDuty` where somebody has too many of them already; `NotFound` for a role that does not exist;
    /// `AlreadyExists` where the name is taken by a set of that kind; `InvalidInput` for a name that breaks a rule, for
    /// fewer than two roles, and for a number that is not from 2 to their number; `LimitExceeded` beyond 128 roles or
    /// 1,000 sets; the storage kinds.
    pub fn create(
        &self,
        kind: SeparationKind,
        name: &str,
        roles: impl IntoIterator<Item = RoleId>,
        cardinality: u32,
    ) -> Result<SeparationId> {
        let mut roles: Vec<RoleId> = roles.into_iter().collect();
        roles.sort_unstable();
        roles.dedup();
        let engine = self.gate.engine();
        let store = &*engine.store;
        let mut trial = SeparationRecord {
            id: SeparationId::from_number(0),
            kind,
            name: name.to_owned(),
            roles,
            cardinality,
            created: engine.now(),
            updated: engine.now(),
        };
        // What is wrong in itself is refused before anything is written.
        separation::stage_create(store, &mut store::Batch::new(), &trial)?;
        let roles = std::mem::take(&mut trial.roles);
        roles.iter().try_for_each(|role| role::read_role(store, *role).map(drop))?;
        self.gate.refuse_delegated("keep roles apart")?;
        // So is what somebody breaks already; that nobody comes to break it meanwhile is judged once more in the plan.
        duty::judge(engine, &SeparationRecord { roles: roles.clone(), ..trial.clone() })?;
        engine.arm()?;
        let (id, _) = engine.write(self.gate.actor(), |plan| {
            separation::stage_edit(plan.store, &mut plan.batch)?;
            let limit = u64::from(u32::MAX);
            let number = stage_next(plan.store, &mut plan.batch, Sequence::Separation, 1, limit)?;
            let number = u32::try_from(number)
                .map_err(|_| Error::limit("separation", "the numbers of sets are used up"))?;
            let set = SeparationRecord {
                id: SeparationId::from_number(number),
                kind,
                name: name.to_owned(),
                roles: roles.clone(),
                cardinality,
                created: plan.now,
                updated: plan.now,
            };
            separation::stage_create(plan.store, &mut plan.batch, &set)?;
            // With the hierarchy expected, which a role's deletion rewrites, they are still there in the commit.
            duty::before_set(engine, plan, &set)?;
            for role in &roles {
                role::read_role(plan.store, *role)?;
            }
            let detail = format!("{kind} \"{name}\": fewer than {cardinality} of {}", list(&roles));
            plan.record(AuditKind::SeparationCreated, Entry::of(Subject::Separation(set.id)).detail(detail))?;
            Ok(set.id)
        })?;
        Ok(id)
    }

    /// Puts one role more into a set.
    ///
    /// # Errors
    /// `SeparationOfDuty` where somebody would have too many; `NotFound`; `AlreadyExists`; `LimitExceeded` beyond 128
    /// roles; the storage kinds.
    pub fn add_role(&self, id: SeparationId, role: RoleId) -> Result<()> {
        let engine = self.gate.engine();
        self.change(id, &format!("with {role}"), true, |plan| {
            role::read_role(plan.store, role)?;
            plan.batch.expect_present::<RoleRecord>(&role);
            let (old, present) = read(plan.store, id)?;
            let set = separation::stage_member(&mut plan.batch, &old, present, (role, true), plan.now)?;
            duty::before_set(engine, plan, &set)
        })
    }

    /// Takes a role out of a set.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` where fewer roles than the number would be left: lower the number first, or delete the
    /// set; the storage kinds.
    pub fn remove_role(&self, id: SeparationId, role: RoleId) -> Result<()> {
        self.change(id, &format!("without {role}"), false, |plan| {
            let (old, present) = read(plan.store, id)?;
            separation::stage_member(&mut plan.batch, &old, present, (role, false), plan.now).map(drop)
        })
    }

    /// Sets the number of roles that nobody may come to.
    ///
    /// # Errors
    /// `SeparationOfDuty` where somebody has so many; `NotFound`; `InvalidInput` for a number that is not from 2 to that
    /// of the roles; the storage kinds.
    pub fn set_cardinality(&self, id: SeparationId, cardinality: u32) -> Result<()> {
        let engine = self.gate.engine();
        self.change(id, &format!("fewer than {cardinality}"), true, |plan| {
            let (old, present) = read(plan.store, id)?;
            let now = plan.now;
            let set = separation::stage_cardinality(&mut plan.batch, &old, present, cardinality, now)?;
            duty::before_set(engine, plan, &set)
        })
    }

    fn change(
        &self,
        id: SeparationId,
        detail: &str,
        stricter: bool,
        mut stage: impl FnMut(&mut Plan<'_>) -> Result<()>,
    ) -> Result<()> {
        let engine = self.gate.engine();
        if stricter {
            separation::read_set(&*engine.store, id)?;
            self.gate.refuse_delegated("keep roles apart")?;
            engine.arm()?;
        }
        engine.write(self.gate.actor(), |plan| {
            separation::stage_edit(plan.store, &mut plan.batch)?;
            stage(plan)?;
            let entry = Entry::of(Subject::Separation(id)).detail(detail);
            plan.record(AuditKind::SeparationChanged, entry)
        })?;
        Ok(())
    }

    /// Ends a set: its roles are no longer kept apart by it.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn delete(&self, id: SeparationId) -> Result<()> {
        self.gate.engine().write(self.gate.actor(), |plan| {
            separation::stage_edit(plan.store, &mut plan.batch)?;
            let old = separation::stage_delete(plan.store, &mut plan.batch, id)?;
            plan.record(AuditKind::SeparationDeleted, Entry::of(Subject::Separation(id)).detail(old.name))
        })?;
        Ok(())
    }

    /// The set of that number.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn get(&self, id: SeparationId) -> Result<Separation> {
        let store = &*self.gate.engine().store;
        public(store, separation::read_set(store, id)?)?.ok_or_else(|| Error::not_found("separation", id))
    }

    /// The set of that kind and name.
    ///
    /// # Errors
    /// `InvalidInput` for what can not be a name; the storage kinds.
    pub fn find(&self, kind: SeparationKind, name: &str) -> Result<Option<Separation>> {
        text::name("separation.name", name)?;
        let (store, key) = (&*self.gate.engine().store, separation::name_key(kind, name));
        match store::find::<SeparationRecord>(store, SEPARATION_BY_NAME, &key)? {
            Some(found) => public(store, found),
            None => Ok(None),
        }
    }

    /// The sets of a kind, by name.
    ///
    /// # Errors
    /// `InvalidInput` for a wrong page; the storage kinds.
    pub fn list(&self, kind: SeparationKind, page: &PageRequest) -> Result<Page<Separation>> {
        self.page_by(SEPARATION_BY_NAME, &(kind as u8).bytes(), page)
    }

    /// The sets that a role is in.
    ///
    /// # Errors
    /// `NotFound` for a role that does not exist; `InvalidInput` for a wrong page; the storage kinds.
    pub fn of_role(&self, role: RoleId, page: &PageRequest) -> Result<Page<Separation>> {
        role::read_role(&*self.gate.engine().store, role)?;
        self.page_by(SEPARATION_BY_ROLE, &role.bytes(), page)
    }

    fn page_by(&self, index: Table, prefix: &[u8], page: &PageRequest) -> Result<Page<Separation>> {
        let store = &*self.gate.engine().store;
        let (found, next) = store::page_by::<SeparationRecord>(store, index, &page.scan(index, prefix)?)?;
        let mut items = Vec::with_capacity(found.len());
        for set in found {
            items.extend(public(store, set)?);
        }
        Ok(Page::new(items, index, next))
    }
}

impl Engine {
    /// Makes everybody who gives roles leave a trace, before the first set is judged: what was given without one is
    /// there to be read by then.
    fn arm(&self) -> Result<()> {
        self.write(crate::audit::Actor::System, |plan| {
            let armed = separation::expect_sets(plan.store, &mut plan.batch)?.is_some();
            plan.batch.expects.clear();
            if armed { Ok(()) } else { separation::stage_edit(plan.store, &mut plan.batch) }
        })?;
        Ok(())
    }
}

/// A set, and those of its roles that exist.
fn read(store: &dyn Store, id: SeparationId) -> Result<(Stored<SeparationRecord>, Vec<RoleId>)> {
    let set = separation::read_set(store, id)?;
    let present = role::present(store, &set.record.roles)?;
    Ok((set, present))
}

fn list(roles: &[RoleId]) -> String {
    roles.iter().map(RoleId::to_string).collect::<Vec<_>>().join(", ")
}

/// A set as callers see it: without roles that were deleted and are not swept out of it yet; none if nobody can come to
/// its number any more.
fn public(store: &dyn Store, stored: Stored<SeparationRecord>) -> Result<Option<Separation>> {
    let mut set = Separation::from(stored);
    set.roles = role::present(store, &set.roles)?;
    Ok((set.roles.len() as u64 >= u64::from(set.cardinality)).then_some(set))
}
