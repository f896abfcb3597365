//! The hierarchy of roles: who inherits from whom.

use super::bookkeeping::Sequence;
use super::duty::{self, Link};
use super::ids::stage_next;
use super::roles::{Roles, check_defined, record_bits};
use super::write::{Entry, Plan};
use super::{demand, guard, warrant};
use crate::audit::{AuditKind, Subject};
use crate::error::{Error, ErrorKind, Result};
use crate::id::RoleId;
use crate::permission::Permission;
use crate::role::{self, RoleRecord};

impl Roles<'_> {
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
    /// Where that brings the first a demand for a second factor, sessions of one factor that have it active, or a role above
    /// it, end before this returns, as they do when such a role is assigned. It takes a look at every holder, some seconds
    /// for a million, and a commit for each who has such a session. The inheritance is made first, so that nobody gets in
    /// by one factor meanwhile; a crash, or an error of the storage, in between leaves it made, and the rest is done by the
    /// next open before it hands out the database, or by [`maintain`](crate::Portcullis::maintain).
    ///
    /// # Errors
    /// `NotFound`; `AlreadyExists`; `Cycle` where the second inherits from the first already, or they are the same;
    /// `SeparationOfDuty` where somebody would hold, or have active, too many roles that are kept apart; `LimitExceeded`
    /// for a 129th parent, or a second one where the hierarchy is limited; the storage kinds.
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
        let engine = self.gate.engine();
        let done = engine.write(self.gate.actor(), |plan| {
            warrant::may_link(plan, role, parent)?;
            role::stage_parent(plan.store, &mut plan.batch, role, parent, add, plan.now)?;
            let mut demands = false;
            if add {
                duty::before_link(engine, plan, Link { senior: role, junior: parent })?;
                let demanded = role::demanded(plan.store, || Ok([parent].into()))?;
                demands = demand::before_demand(plan, role, demanded)?;
            }
            let kind = if add { AuditKind::RoleInherited } else { AuditKind::RoleDisinherited };
            let (kind, detail) = guard::rank_of_edge(plan, role, parent)?.changed(kind, "");
            plan.record(kind, Entry::of(Subject::Role(role)).and(Subject::Role(parent)).detail(detail))?;
            Ok(demands)
        });
        let (demands, _) = engine.report_violation(self.gate.actor(), Subject::Role(role), done)?;
        if demands { engine.finish_demands() } else { Ok(()) }
    }

    /// Creates a role that grants some permissions and inherits from another one, in one change (AddAscendant of ANSI
    /// INCITS 359). It belongs to the same tenant as that one.
    ///
    /// # Errors
    /// As [`create`](Self::create); `NotFound` for a role to inherit from that does not exist; the storage kinds.
    pub fn create_ascendant(
        &self,
        name: &str,
        permissions: impl IntoIterator<Item = Permission>,
        junior: RoleId,
    ) -> Result<RoleId> {
        let permissions: Vec<Permission> = permissions.into_iter().collect();
        let (role, _) = self.gate.engine().write(self.gate.actor(), |plan| {
            role::stage_hierarchy_edit(plan.store, &mut plan.batch)?;
            let below = role::read_role(plan.store, junior)?.record;
            plan.batch.expect_present::<RoleRecord>(&junior);
            let new = stage_linked(plan, (name, &permissions), &below, vec![junior])?;
            record_link(plan, new, junior)?;
            Ok(new)
        })?;
        Ok(role)
    }

    /// Creates a role that grants some permissions and lets another one inherit from it, in one change (AddDescendant of
    /// ANSI INCITS 359). It belongs to the same tenant as that one.
    ///
    /// # Errors
    /// As [`create`](Self::create); `NotFound` for an heir that does not exist; `LimitExceeded` where the heir has 128
    /// parents, or one in a limited hierarchy; the storage kinds.
    pub fn create_descendant(
        &self,
        name: &str,
        permissions: impl IntoIterator<Item = Permission>,
        senior: RoleId,
    ) -> Result<RoleId> {
        let permissions: Vec<Permission> = permissions.into_iter().collect();
        let (role, _) = self.gate.engine().write(self.gate.actor(), |plan| {
            let limited = role::stage_hierarchy_edit(plan.store, &mut plan.batch)?;
            let heir = role::read_role(plan.store, senior)?;
            role::check_room(plan.store, &heir.record, limited)?;
            let new = stage_linked(plan, (name, &permissions), &heir.record, Vec::new())?;
            role::stage_new_parent(&mut plan.batch, &heir, new, plan.now)?;
            record_link(plan, senior, new)?;
            Ok(new)
        })?;
        Ok(role)
    }

    /// Limits the hierarchy to one parent a role, as the limited hierarchies of ANSI INCITS 359 are, or no longer.
    ///
    /// # Errors
    /// `InvalidInput` where a role has several parents, which it names; the storage kinds.
    pub fn limit_hierarchy(&self, limited: bool) -> Result<()> {
        let engine = self.gate.engine();
        engine.write(self.gate.actor(), |plan| {
            if role::is_limited(plan.store)? == limited {
                return Ok(());
            }
            // First: the commit refuses if an edge was made since.
            role::stage_limit(plan.store, &mut plan.batch, limited)?;
            if limited {
                engine.each::<RoleRecord>(|role| {
                    let parents = role::present(plan.store, &role.record.parents)?;
                    match parents.len() {
                        0 | 1 => Ok(()),
                        several => {
                            let message = format!("has {several} in {}; leave it one first", role.record.id);
                            Err(Error::new(ErrorKind::InvalidInput, message).with_field("parents"))
                        }
                    }
                })?;
            }
            let detail = if limited { "one parent a role" } else { "no longer limited" };
            plan.record(AuditKind::HierarchyLimited, Entry::default().detail(detail))
        })?;
        Ok(())
    }

    /// Whether the hierarchy is limited to one parent a role.
    ///
    /// # Errors
    /// The storage kinds.
    pub fn is_hierarchy_limited(&self) -> Result<bool> {
        role::is_limited(&*self.gate.engine().store)
    }
}

/// Stages a new role in the tenant of another one.
fn stage_linked(
    plan: &mut Plan<'_>,
    (name, permissions): (&str, &[Permission]),
    beside: &RoleRecord,
    parents: Vec<RoleId>,
) -> Result<RoleId> {
    check_defined(plan, permissions)?;
    let limit = u64::from(u32::MAX);
    let number = stage_next(plan.store, &mut plan.batch, Sequence::Role, 1, limit)?;
    let number = u32::try_from(number).map_err(|_| Error::limit("role", "role numbers are used up"))?;
    let id = RoleId::from_number(number);
    let new = role::New { id, scope: beside.scope, name, description: "", parents };
    role::stage_create(plan.store, &mut plan.batch, new, plan.now)?;
    let granted = role::stage_bits::<false>(plan.store, &mut plan.batch, id, permissions, true)?;
    record_bits(plan, AuditKind::RoleCreated, id, name, &granted)?;
    Ok(id)
}

fn record_link(plan: &mut Plan<'_>, senior: RoleId, junior: RoleId) -> Result<()> {
    let (kind, detail) = guard::rank_of_edge(plan, senior, junior)?.changed(AuditKind::RoleInherited, "");
    plan.record(kind, Entry::of(Subject::Role(senior)).and(Subject::Role(junior)).detail(detail))
}
