//! Protected roles keep a holder, and what is done with privileged ones is told apart.
//!
//! A holder of a role at a scope is an active user to whom it is assigned there, without an end and begun, and who is
//! denied it nowhere. Time alone never makes a holder into none, so that only changes need to be watched: each change
//! that could take a holder away rewrites one row, the protection, and so does each change of what is protected. What is
//! read of holders after that row still holds in the commit, without expecting each of their rows.

use super::assignments::scope_is_there;
use super::bookkeeping::{PROTECTION, ProtectionRecord};
use super::write::Plan;
use crate::assignment::{ASSIGNMENT_BY_ROLE, AssignmentRecord};
use crate::audit::AuditKind;
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::grant::{Effect, Grant};
use crate::id::{Key, RoleId, ScopeId, UserId};
use crate::role::{self, RoleChange, RoleRecord};
use crate::scope;
use crate::store::{self, Expect, Record, Scan, Store, Stored};
use crate::user::{self, UserRecord};
use std::collections::BTreeMap;

/// Rows that one step of a scan reads.
const PAGE: usize = 256;
/// Rows that the first step of the search for another holder reads: mostly one of them is.
const FIRST: usize = 4;

/// What the audit log calls a change to a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rank {
    Plain,
    /// It, or a role that it inherits from, is marked as privileged.
    Privileged,
}

impl Rank {
    /// The kind of a change to the role's definition, and what stands before the detail.
    pub(super) fn changed(self, kind: AuditKind, detail: &str) -> (AuditKind, String) {
        match self {
            Self::Plain => (kind, detail.to_owned()),
            Self::Privileged if detail.is_empty() => {
                (AuditKind::PrivilegedRoleChanged, kind.name().to_owned())
            }
            Self::Privileged => (AuditKind::PrivilegedRoleChanged, format!("{}: {detail}", kind.name())),
        }
    }

    pub(super) const fn assigned(self, break_glass: bool) -> AuditKind {
        match (self, break_glass) {
            (Self::Privileged, true) => AuditKind::PrivilegedBreakGlass,
            (Self::Privileged, false) => AuditKind::PrivilegedRoleAssigned,
            (Self::Plain, true) => AuditKind::BreakGlass,
            (Self::Plain, false) => AuditKind::RoleAssigned,
        }
    }

    pub(super) const fn unassigned(self) -> AuditKind {
        match self {
            Self::Privileged => AuditKind::PrivilegedRoleUnassigned,
            Self::Plain => AuditKind::RoleUnassigned,
        }
    }

    pub(super) const fn deleted(self) -> AuditKind {
        match self {
            Self::Privileged => AuditKind::PrivilegedRoleDeleted,
            Self::Plain => AuditKind::RoleDeleted,
        }
    }
}

/// The role's rank, decided from rows that the commit expects. A role that inherits from nothing costs no read.
pub(super) fn rank(plan: &mut Plan<'_>, role: &Stored<RoleRecord>) -> Result<Rank> {
    plan.batch.expect_unchanged(role);
    if role.record.privileged {
        return Ok(Rank::Privileged);
    }
    if role.record.parents.is_empty() {
        return Ok(Rank::Plain);
    }
    role::expect_hierarchy(plan.store, &mut plan.batch)?;
    let privileged = role::is_privileged(plan.store, role.record.id)?;
    Ok(if privileged { Rank::Privileged } else { Rank::Plain })
}

/// The rank of an edge: privileged if what is inherited from is, or what inherits.
pub(super) fn rank_of_edge(plan: &mut Plan<'_>, role: RoleId, parent: RoleId) -> Result<Rank> {
    for end in [role, parent] {
        if let Some(found) = store::read::<RoleRecord>(plan.store, &end)?
            && rank(plan, &found)? == Rank::Privileged
        {
            return Ok(Rank::Privileged);
        }
    }
    Ok(Rank::Plain)
}

/// The kind and the detail of a change to a role's name, description or marks; a change of what is protected meets every
/// removal of a holder.
pub(super) fn role_changed(
    plan: &mut Plan<'_>,
    old: &Stored<RoleRecord>,
    change: &RoleChange,
) -> Result<(AuditKind, String)> {
    let rank = rank(plan, old)?;
    let (mut marks, record) = (String::new(), &old.record);
    for (name, was, is) in [
        ("privileged", record.privileged, change.privileged.unwrap_or(record.privileged)),
        ("protected", record.protected, change.protected.unwrap_or(record.protected)),
    ] {
        if was != is {
            marks.push_str(if is { "; now " } else { "; no longer " });
            marks.push_str(name);
        }
    }
    if change.protected.is_some_and(|protected| protected != record.protected) {
        let protection = read_protection(plan)?;
        stage_protection(plan, protection.as_ref())?;
    }
    let name = change.name.as_deref().unwrap_or(&record.name);
    match marks.is_empty() {
        true => Ok(rank.changed(AuditKind::RoleUpdated, name)),
        false => Ok((AuditKind::RoleMarked, format!("{name}{marks}"))),
    }
}

/// Refuses to delete a role that is protected.
pub(super) fn check_deletable(role: &RoleRecord) -> Result<()> {
    if role.protected {
        let message = format!("{} (\"{}\") is protected; take the protection off first", role.id, role.name);
        return Err(Error::new(ErrorKind::LastHolder, message).with_field("role"));
    }
    Ok(())
}

/// Before a role is assigned: a denial takes the role from whoever holds it, wherever that is.
pub(super) fn before_assign(
    plan: &mut Plan<'_>,
    role: &RoleRecord,
    users: &[UserId],
    terms: &Grant,
) -> Result<()> {
    if !role.protected {
        return Ok(());
    }
    let protection = read_protection(plan)?;
    if terms.effect == Effect::Deny {
        for id in users {
            let user = user::read_user(plan.store, *id)?;
            plan.batch.expect_unchanged(&user);
            if !stands(plan.store, &user.record, role.id, plan.now)? {
                continue;
            }
            let prefix = (*id, role.id).bytes();
            each(plan.store, &prefix, |held: &AssignmentRecord| check_keeps(plan, role, held))?;
        }
    }
    // Also where nothing is taken: a user whose account is being deleted may get the role in the same moment.
    stage_protection(plan, protection.as_ref())
}

/// Before an assignment is taken away.
pub(super) fn before_unassign(plan: &mut Plan<'_>, role: &RoleRecord, held: &AssignmentRecord) -> Result<()> {
    if !role.protected {
        return Ok(());
    }
    let protection = read_protection(plan)?;
    if let Some(user) = store::read::<UserRecord>(plan.store, &held.user)? {
        plan.batch.expect_unchanged(&user);
        if stands(plan.store, &user.record, role.id, plan.now)? {
            check_keeps(plan, role, held)?;
        }
    }
    stage_protection(plan, protection.as_ref())
}

/// Before a user is deleted or leaves the active state. Reads all that is assigned to the user, and stages two or three
/// operations however much that is.
pub(super) fn before_leaving(plan: &mut Plan<'_>, user: &Stored<UserRecord>) -> Result<()> {
    plan.batch.expect_unchanged(user);
    let (protection, user) = (read_protection(plan)?, &user.record);
    let (mut roles, mut guarded): (BTreeMap<RoleId, Option<RoleRecord>>, _) = (BTreeMap::new(), false);
    each(plan.store, &user.id.bytes(), |held: &AssignmentRecord| {
        let role = match roles.entry(held.role) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(new) => {
                new.insert(store::read::<RoleRecord>(plan.store, &held.role)?.map(|found| found.record))
            }
        };
        let Some(role) = role.as_ref().filter(|role| role.protected) else { return Ok(()) };
        guarded = true;
        if stands(plan.store, user, role.id, plan.now)? {
            check_keeps(plan, role, held)?;
        }
        Ok(())
    })?;
    match (guarded, protection) {
        (true, protection) => stage_protection(plan, protection.as_ref()),
        (false, Some(row)) => {
            plan.batch.expect_unchanged(&row);
            Ok(())
        }
        (false, None) => {
            plan.batch.expect(PROTECTION, 0u8.bytes(), Expect::Absent);
            Ok(())
        }
    }
}

/// Refuses to take a lasting assignment, whose user counts as a holder, where nobody else holds the role.
fn check_keeps(plan: &Plan<'_>, role: &RoleRecord, held: &AssignmentRecord) -> Result<()> {
    let at = held.terms.scope;
    if !lasts(&held.terms, plan.now) || !scope_is_there(plan.store, at)? {
        return Ok(());
    }
    let prefix = (role.id, at).bytes();
    let (mut after, mut limit): (Option<Vec<u8>>, _) = (None, FIRST);
    loop {
        let scan = Scan { prefix: &prefix, after: after.as_deref(), limit, descending: false };
        limit = PAGE;
        let (others, next) = store::page_by::<AssignmentRecord>(plan.store, ASSIGNMENT_BY_ROLE, &scan)?;
        for other in others.iter().filter(|other| other.record.user != held.user) {
            if lasts(&other.record.terms, plan.now)
                && let Some(user) = store::read::<UserRecord>(plan.store, &other.record.user)?
                && stands(plan.store, &user.record, role.id, plan.now)?
            {
                return Ok(());
            }
        }
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    let place = match at {
        ScopeId::ROOT => "everywhere".to_owned(),
        at => format!("at {at} (\"{}\")", scope::path_of(plan.store, at)?),
    };
    let message = format!(
        "{} is the last active holder of {} (\"{}\"), which is protected, {place}; first assign it there for good to \
         another active user, or take the protection off",
        held.user, role.id, role.name
    );
    Err(Error::new(ErrorKind::LastHolder, message).with_field("role"))
}

/// Whether an assignment gives, has begun and has no end.
fn lasts(terms: &Grant, now: Timestamp) -> bool {
    terms.effect == Effect::Allow && terms.until.is_none() && terms.holds_at(now)
}

/// Whether the user is active and denied the role nowhere, now or later.
fn stands(store: &dyn Store, user: &UserRecord, role: RoleId, now: Timestamp) -> Result<bool> {
    let mut denied = false;
    if user.status.is_active_at(now) {
        each(store, &(user.id, role).bytes(), |held: &AssignmentRecord| {
            denied |= held.terms.effect == Effect::Deny && !held.terms.has_ended(now);
            Ok(())
        })?;
        return Ok(!denied);
    }
    Ok(false)
}

/// Records whose key starts with a prefix, in pages.
fn each<R: Record>(store: &dyn Store, prefix: &[u8], mut visit: impl FnMut(&R) -> Result<()>) -> Result<()> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let scan = Scan { prefix, after: after.as_deref(), limit: PAGE, descending: false };
        let (found, next) = store::page::<R>(store, &scan)?;
        found.iter().try_for_each(|found| visit(&found.record))?;
        match next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

fn read_protection(plan: &Plan<'_>) -> Result<Option<Stored<ProtectionRecord>>> {
    store::read(plan.store, &0)
}

fn stage_protection(plan: &mut Plan<'_>, old: Option<&Stored<ProtectionRecord>>) -> Result<()> {
    match old {
        Some(old) => plan.batch.replace(old, &ProtectionRecord { edits: old.record.edits.wrapping_add(1) }),
        None => plan.batch.insert(&ProtectionRecord { edits: 1 }),
    }
}
