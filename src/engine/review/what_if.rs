//! What if a role were changed: nothing is written.

use super::Review;
use crate::access::AccessRecord;
use crate::assignment::AssignmentRecord;
use crate::engine::page::{Page, PageRequest};
use crate::engine::roles::check_defined;
use crate::engine::view::{Policy, together};
use crate::engine::write::Plan;
use crate::engine::{Engine, duty, guard};
use crate::error::Result;
use crate::id::{Key, RoleId, ScopeId, UserId};
use crate::permission::{Permission, PermissionSet};
use crate::role::{self, Chunk, RoleRecord};
use crate::store::{self, Scan, Store};
use std::collections::BTreeSet;

/// A change to try.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhatIf {
    /// The role is deleted.
    Delete(RoleId),
    /// The role grants these, too.
    Grant(RoleId, PermissionSet),
    /// The role no longer grants these.
    Withdraw(RoleId, PermissionSet),
    /// The role denies these.
    Deny(RoleId, PermissionSet),
    /// The first role inherits from the second.
    Inherit(RoleId, RoleId),
    /// The first role no longer inherits from the second.
    Disinherit(RoleId, RoleId),
}

impl WhatIf {
    const fn role(&self) -> RoleId {
        match self {
            Self::Delete(role)
            | Self::Grant(role, _)
            | Self::Withdraw(role, _)
            | Self::Deny(role, _)
            | Self::Inherit(role, _)
            | Self::Disinherit(role, _) => *role,
        }
    }
}

/// What a change would mean to one user at one scope.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Impact {
    /// Whom it concerns.
    pub user: UserId,
    /// A place where the user holds anything; what lies below it follows.
    pub scope: ScopeId,
    /// What the user could no longer do there.
    pub loses: PermissionSet,
    /// What the user could do there that was not possible before.
    pub gains: PermissionSet,
}

impl Review<'_> {
    /// Who would lose or gain what by a change to a role: each user who holds the role, or one that inherits from it, at
    /// each scope where that user holds anything. What is held above a scope is taken into account. Nothing is written.
    ///
    /// It tells of permissions, as the user has them outside of any session. Which feature flags the change turns on or off
    /// is not told.
    ///
    /// A page can be shorter than asked for, and even empty, and still have a next one; it is longer where one user is
    /// concerned at many scopes, whose impacts are not parted.
    ///
    /// # Errors
    /// Those with which the change itself would be refused: `NotFound` for a role, permission or link that does not exist;
    /// `AlreadyExists`, `Cycle`, `InvalidInput`, `LimitExceeded` and `SeparationOfDuty` for a link; `LastHolder` for the
    /// deletion of a protected role. `InvalidInput` for a wrong page; the storage kinds.
    pub fn what_if(&self, change: &WhatIf, page: &PageRequest) -> Result<Page<Impact>> {
        let engine = self.gate.engine();
        let (store, now) = (&*engine.store, engine.seconds());
        let record = role::read_role(store, change.role())?.record;
        engine.try_out(|plan| would_be_done(engine, plan, &record, change))?;
        let mut before = engine.view.policy();
        let mut after = before.clone();
        apply(store, &record, change, &mut after)?;
        let mut concerned = before.seniors(change.role());
        concerned.push(change.role());
        concerned.sort_unstable();
        engine.page_of_assignments(&concerned, page, |items, user, role, scope| {
            if engine.view.user(user).is_none() {
                return Ok(());
            }
            let held = engine.held_by(user)?;
            // A user with several such assignments is told of once, at the first.
            let first =
                held.iter().find(|(held, _)| held.is_some_and(|held| concerned.binary_search(&held).is_ok()));
            if first != Some(&(Some(role), scope)) {
                return Ok(());
            }
            // A denial made here can take away what was given further down, so that all places count.
            let places: BTreeSet<ScopeId> = held.iter().map(|(_, scope)| *scope).collect();
            for scope in places {
                let Some(levels) = engine.view.levels_of(user, scope) else { continue };
                let parts = together(&levels);
                let (had, would) = (before.effective(&parts, None, now), after.effective(&parts, None, now));
                if had != would {
                    let (loses, gains) = (minus(&had, &would), minus(&would, &had));
                    items.push(Impact { user, scope, loses, gains });
                }
            }
            Ok(())
        })
    }
}

impl Engine {
    /// The roles that a user was assigned, and then `None` for each direct grant, with their scopes, in order.
    fn held_by(&self, user: UserId) -> Result<Vec<(Option<RoleId>, ScopeId)>> {
        let prefix = user.bytes();
        let all = Scan { prefix: &prefix, limit: usize::MAX, ..Scan::default() };
        let roles = store::page::<AssignmentRecord>(&*self.store, &all)?.0.into_iter();
        let direct = store::page::<AccessRecord>(&*self.store, &all)?.0.into_iter();
        let roles = roles.map(|row| (Some(row.record.role), row.record.terms.scope));
        Ok(roles.chain(direct.map(|row| (None, row.record.terms.scope))).collect())
    }
}

/// Refuses what the change itself would be refused for.
fn would_be_done(engine: &Engine, plan: &mut Plan<'_>, role: &RoleRecord, change: &WhatIf) -> Result<()> {
    match change {
        WhatIf::Delete(_) => guard::check_deletable(role),
        WhatIf::Grant(_, bits) | WhatIf::Deny(_, bits) => {
            check_defined(plan, &bits.iter().collect::<Vec<Permission>>())
        }
        WhatIf::Withdraw(..) => Ok(()),
        WhatIf::Inherit(senior, junior) => {
            role::stage_parent(plan.store, &mut plan.batch, *senior, *junior, true, plan.now)?;
            duty::before_link(engine, plan, duty::Link { senior: *senior, junior: *junior })
        }
        WhatIf::Disinherit(senior, junior) => {
            role::stage_parent(plan.store, &mut plan.batch, *senior, *junior, false, plan.now).map(drop)
        }
    }
}

fn minus(from: &PermissionSet, taken: &PermissionSet) -> PermissionSet {
    from.iter().filter(|permission| !taken.contains(*permission)).collect()
}

/// Makes the change to a copy of the policy.
fn apply(store: &dyn Store, role: &RoleRecord, change: &WhatIf, policy: &mut Policy) -> Result<()> {
    match change {
        WhatIf::Delete(role) => policy.remove_role(*role),
        WhatIf::Grant(role, bits) => put_bits::<false>(store, policy, *role, |set| set.union_with(bits))?,
        WhatIf::Withdraw(role, bits) => {
            put_bits::<false>(store, policy, *role, |set| *set = minus(set, bits))?;
        }
        WhatIf::Deny(role, bits) => put_bits::<true>(store, policy, *role, |set| set.union_with(bits))?,
        WhatIf::Inherit(id, parent) => {
            let parents: Vec<RoleId> = role.parents.iter().copied().chain([*parent]).collect();
            policy.put_role(*id, &parents)?;
        }
        WhatIf::Disinherit(id, parent) => {
            let parents: Vec<RoleId> = role.parents.iter().copied().filter(|other| other != parent).collect();
            policy.put_role(*id, &parents)?;
        }
    }
    Ok(())
}

fn put_bits<const DENY: bool>(
    store: &dyn Store,
    policy: &mut Policy,
    role: RoleId,
    change: impl FnOnce(&mut PermissionSet),
) -> Result<()> {
    let mut set = role::bits_of::<DENY>(store, role)?;
    let chunks = set.words().len().div_ceil(role::CHUNK_WORDS);
    change(&mut set);
    for chunk in 0..chunks.max(set.words().len().div_ceil(role::CHUNK_WORDS)) {
        let words = set.words().chunks(role::CHUNK_WORDS).nth(chunk).unwrap_or_default().to_vec();
        let number = u32::try_from(chunk).unwrap_or(u32::MAX);
        let chunk = Chunk::<DENY> { role, chunk: number, words };
        policy.put_chunk(role, chunk.chunk, &chunk.words, DENY)?;
    }
    Ok(())
}
