//! What an actor may administer, decided from rows that the commit expects.
//!
//! An actor's ground is an assignment of an admin role, or of one that inherits from it, and a delegation to that admin
//! role. It covers the scope of the assignment and what lies below, but for scopes where the actor is denied the admin
//! role, and those above such scopes, because a change above reaches down. The commit expects the actor's account, the
//! assignment, and that no delegation, edge of the hierarchy or scope has changed.
//!
//! INVARIANT: no sequence of covered changes gives anybody a permission at a scope that the grounds did not cover before.
//! It rests on these: the reach of a range is what its roles really give, denials taken off; roles change by what is in
//! reach at their home, the tenant that they belong to or the global scope, and a role counts for the reach within its
//! home only; whatever takes a denial away gives; admin roles are in no range; and nobody administers themselves.

use super::write::{Entry, Plan};
use crate::assignment::AssignmentRecord;
use crate::clock::Timestamp;
use crate::delegation::{self, Ability, DELEGATION_BY_ROLE, DelegationRecord, RoleRange};
use crate::error::{ErrorKind, Result};
use crate::grant::Effect;
use crate::id::{DelegationId, Key, RoleId, ScopeId, UserId};
use crate::permission::{Permission, PermissionSet};
use crate::role::{self, RoleRecord};
use crate::scope;
use crate::store::{self, Record, Scan, Store, Stored};
use crate::user::UserRecord;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Rows that one step of a scan reads.
const PAGE: usize = 256;

/// A delegation to a role that the actor holds, and where.
#[derive(Clone)]
pub(super) struct Ground {
    pub(super) delegation: DelegationRecord,
    pub(super) at: ScopeId,
    /// The number of the assignment among the bases.
    base: usize,
}

/// A scope with all that it lies in, and the tenant among them.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) at: ScopeId,
    pub(super) tenant: ScopeId,
    /// Itself first and the global scope last.
    pub(super) levels: Vec<ScopeId>,
}

impl Place {
    pub(super) fn of(store: &dyn Store, at: ScopeId) -> Result<Self> {
        let levels = scope::levels(store, at)?;
        let tenant = levels.iter().rev().nth(1).copied().unwrap_or(ScopeId::ROOT);
        Ok(Self { at, tenant, levels })
    }

    /// As [`of`](Self::of), and `None` for a scope that is gone.
    pub(super) fn found(store: &dyn Store, at: ScopeId) -> Result<Option<Self>> {
        match Self::of(store, at) {
            Ok(place) => Ok(Some(place)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What a role grants and denies, with all that it inherits from.
#[derive(Default)]
struct Bits {
    granted: PermissionSet,
    denied: PermissionSet,
}

pub(super) struct Authority<'e> {
    store: &'e dyn Store,
    grounds: Vec<Ground>,
    bases: Vec<Stored<AssignmentRecord>>,
    /// Admin roles that the actor is denied, and where.
    denied: Vec<(RoleId, Place)>,
    roles: BTreeMap<RoleId, Option<Rc<RoleRecord>>>,
    delegations: BTreeMap<RoleId, Vec<DelegationRecord>>,
    /// Whether a role, or one that it inherits from, is an admin role.
    admin: BTreeMap<RoleId, bool>,
    bits: BTreeMap<RoleId, Rc<Bits>>,
    closures: BTreeMap<RoleId, Rc<BTreeSet<RoleId>>>,
    reaches: BTreeMap<(DelegationId, ScopeId), Rc<PermissionSet>>,
    used: BTreeSet<usize>,
}

impl<'e> Authority<'e> {
    /// That of the plan's actor. The plan expects what it is read from.
    pub(super) fn of(plan: &mut Plan<'e>, actor: UserId) -> Result<Self> {
        delegation::expect_same(plan.store, &mut plan.batch)?;
        role::expect_hierarchy(plan.store, &mut plan.batch)?;
        scope::expect_tree(plan.store, &mut plan.batch)?;
        match store::read::<UserRecord>(plan.store, &actor)? {
            Some(user) => {
                plan.batch.expect_unchanged(&user);
                Self::read(plan.store, &user.record, plan.now)
            }
            None => Ok(Self::none(plan.store)),
        }
    }

    fn none(store: &'e dyn Store) -> Self {
        Self {
            store,
            grounds: Vec::new(),
            bases: Vec::new(),
            denied: Vec::new(),
            roles: BTreeMap::new(),
            delegations: BTreeMap::new(),
            admin: BTreeMap::new(),
            bits: BTreeMap::new(),
            closures: BTreeMap::new(),
            reaches: BTreeMap::new(),
            used: BTreeSet::new(),
        }
    }

    /// That of a user at a time.
    pub(super) fn read(store: &'e dyn Store, actor: &UserRecord, now: Timestamp) -> Result<Self> {
        let mut found = Self::none(store);
        if !actor.status.is_active_at(now) {
            return Ok(found);
        }
        let mut held = Vec::new();
        each(store, AssignmentRecord::TABLE, &actor.id.bytes(), |row: &Stored<AssignmentRecord>| {
            if row.record.terms.holds_at(now) {
                held.push(row.clone());
            }
            Ok(true)
        })?;
        for row in held {
            let (role, at) = (row.record.role, row.record.terms.scope);
            if !found.is_admin(role)? {
                continue;
            }
            let Some(place) = Place::found(store, at)? else { continue };
            let base = found.bases.len();
            for admin in found.closure(role)?.iter() {
                let delegations = found.delegations_to(*admin)?.clone();
                match row.record.terms.effect {
                    Effect::Allow => found.grounds.extend(delegations.into_iter().map(|delegation| Ground {
                        delegation,
                        at,
                        base,
                    })),
                    Effect::Deny if !delegations.is_empty() => found.denied.push((*admin, place.clone())),
                    Effect::Deny => {}
                }
            }
            found.bases.push(row);
        }
        Ok(found)
    }

    /// The grounds that cover a scope and all below it, with an ability.
    pub(super) fn covering(&self, ability: Ability, place: &Place) -> Vec<usize> {
        let grounds = self.grounds.iter().enumerate();
        grounds
            .filter(|(_, ground)| ground.delegation.abilities.contains(&ability))
            .filter(|(_, ground)| self.covers(ground, place))
            .map(|(number, _)| number)
            .collect()
    }

    fn covers(&self, ground: &Ground, place: &Place) -> bool {
        let denied = self.denied.iter().any(|(role, denied)| {
            *role == ground.delegation.role
                && (place.levels.contains(&denied.at) || denied.levels.contains(&place.at))
        });
        place.levels.contains(&ground.at) && !denied
    }

    /// Those that cover the scope of their own assignment.
    pub(super) fn standing(self) -> Result<Vec<Ground>> {
        let mut found = Vec::new();
        for ground in &self.grounds {
            if self.covers(ground, &Place::of(self.store, ground.at)?) {
                found.push(ground.clone());
            }
        }
        Ok(found)
    }

    pub(super) fn delegation(&self, ground: usize) -> Option<DelegationRecord> {
        self.grounds.get(ground).map(|ground| ground.delegation.clone())
    }

    /// The change rests on this ground.
    pub(super) fn rests_on(&mut self, ground: usize) {
        self.used.extend(self.grounds.get(ground).map(|ground| ground.base));
    }

    /// Shows the plan's warrant: the commit expects the assignments that it rests on.
    pub(super) fn show(&self, plan: &mut Plan<'_>) {
        for base in self.used.iter().filter_map(|base| self.bases.get(*base)) {
            plan.batch.expect_unchanged(base);
        }
        plan.show_warrant();
    }

    fn delegations_to(&mut self, role: RoleId) -> Result<&Vec<DelegationRecord>> {
        if !self.delegations.contains_key(&role) {
            let mut found = Vec::new();
            each(self.store, DELEGATION_BY_ROLE, &role.bytes(), |row: &Stored<DelegationRecord>| {
                found.push(row.record.clone());
                Ok(true)
            })?;
            self.delegations.insert(role, found);
        }
        Ok(self.delegations.entry(role).or_default())
    }

    fn role(&mut self, role: RoleId) -> Result<Option<Rc<RoleRecord>>> {
        if let Some(known) = self.roles.get(&role) {
            return Ok(known.clone());
        }
        let found = store::read::<RoleRecord>(self.store, &role)?.map(|found| Rc::new(found.record));
        self.roles.insert(role, found.clone());
        Ok(found)
    }

    /// The role and all that it inherits from, each after what it inherits from itself; without those that are done and
    /// what is below them, and without roles that were deleted and are not swept out of their heirs yet.
    fn juniors_first(
        &mut self,
        role: RoleId,
        done: impl Fn(&Self, RoleId) -> bool,
    ) -> Result<Vec<Rc<RoleRecord>>> {
        let (mut open, mut entered, mut ordered) = (vec![(role, false)], BTreeSet::new(), Vec::new());
        while let Some((next, below_is_done)) = open.pop() {
            if done(self, next) {
                continue;
            }
            let Some(record) = self.role(next)? else { continue };
            if below_is_done {
                ordered.push(record);
            } else if entered.insert(next) {
                open.push((next, true));
                open.extend(record.parents.iter().map(|parent| (*parent, false)));
            }
        }
        Ok(ordered)
    }

    /// Itself and all that it inherits from; empty for a role that does not exist.
    fn closure(&mut self, role: RoleId) -> Result<Rc<BTreeSet<RoleId>>> {
        if let Some(known) = self.closures.get(&role) {
            return Ok(Rc::clone(known));
        }
        let all = self.juniors_first(role, |_, _| false)?;
        let found: Rc<BTreeSet<RoleId>> = Rc::new(all.iter().map(|role| role.id).collect());
        self.closures.insert(role, Rc::clone(&found));
        Ok(found)
    }

    fn is_admin(&mut self, role: RoleId) -> Result<bool> {
        for next in self.juniors_first(role, |known, role| known.admin.contains_key(&role))? {
            let inherits = next.parents.iter().any(|parent| self.admin.get(parent) == Some(&true));
            let admin = inherits || !self.delegations_to(next.id)?.is_empty();
            self.admin.insert(next.id, admin);
        }
        Ok(self.admin.get(&role) == Some(&true))
    }

    fn bits(&mut self, role: RoleId) -> Result<Rc<Bits>> {
        for next in self.juniors_first(role, |known, role| known.bits.contains_key(&role))? {
            let mut bits = Bits {
                granted: role::bits_of::<false>(self.store, next.id)?,
                denied: role::bits_of::<true>(self.store, next.id)?,
            };
            for below in next.parents.iter().filter_map(|parent| self.bits.get(parent)) {
                bits.granted.union_with(&below.granted);
                bits.denied.union_with(&below.denied);
            }
            self.bits.insert(next.id, Rc::new(bits));
        }
        Ok(self.bits.get(&role).map(Rc::clone).unwrap_or_default())
    }

    /// Whether a role lies in the range of a delegation, for scopes of a tenant or for the global one.
    pub(super) fn in_range(
        &mut self,
        delegation: &DelegationRecord,
        role: RoleId,
        tenant: ScopeId,
    ) -> Result<bool> {
        let named = match &delegation.range {
            RoleRange::Roles(roles) => roles.contains(&role),
            RoleRange::Below(top) => self.is_at_home(*top, tenant)? && self.closure(*top)?.contains(&role),
        };
        Ok(named && self.is_at_home(role, tenant)? && !self.is_admin(role)?)
    }

    /// Whether a role is there and can be held in the tenant, or at the global scope.
    fn is_at_home(&mut self, role: RoleId, tenant: ScopeId) -> Result<bool> {
        Ok(self.role(role)?.is_some_and(|role| role.scope == ScopeId::ROOT || role.scope == tenant))
    }

    /// All that the roles in the range of a delegation give, in a tenant or at the global scope.
    fn reach(&mut self, delegation: &DelegationRecord, tenant: ScopeId) -> Result<Rc<PermissionSet>> {
        let key = (delegation.id, tenant);
        if let Some(known) = self.reaches.get(&key) {
            return Ok(Rc::clone(known));
        }
        let roles: Vec<RoleId> = match &delegation.range {
            RoleRange::Roles(roles) => roles.clone(),
            RoleRange::Below(top) => self.closure(*top)?.iter().copied().collect(),
        };
        let mut reach = PermissionSet::new();
        for role in roles {
            if self.in_range(delegation, role, tenant)? {
                let bits = self.bits(role)?;
                let given = bits.granted.iter().filter(|permission| !bits.denied.contains(*permission));
                given.for_each(|permission| {
                    reach.insert(permission);
                });
            }
        }
        let reach = Rc::new(reach);
        self.reaches.insert(key, Rc::clone(&reach));
        Ok(reach)
    }

    pub(super) fn reaches(
        &mut self,
        delegation: &DelegationRecord,
        permissions: impl IntoIterator<Item = Permission>,
        tenant: ScopeId,
    ) -> Result<bool> {
        let reach = self.reach(delegation, tenant)?;
        Ok(permissions.into_iter().all(|permission| reach.contains(permission)))
    }

    /// Whether a role lies in the range, and taking it from somebody lifts no denial beyond the reach: neither what the
    /// role denies nor, where an assignment that denies it is taken away, what it grants, which is in reach or denied.
    pub(super) fn may_be_taken(
        &mut self,
        delegation: &DelegationRecord,
        role: RoleId,
        tenant: ScopeId,
    ) -> Result<bool> {
        if !self.in_range(delegation, role, tenant)? {
            return Ok(false);
        }
        let bits = self.bits(role)?;
        Ok(bits.denied.is_empty() || self.reaches(delegation, bits.denied.iter(), tenant)?)
    }
}

/// Records by key or by an index, in pages, as long as the visitor wants more.
pub(super) fn each<R: Record>(
    store: &dyn Store,
    table: store::Table,
    prefix: &[u8],
    mut visit: impl FnMut(&Stored<R>) -> Result<bool>,
) -> Result<()> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let scan = Scan { prefix, after: after.as_deref(), limit: PAGE, descending: false };
        let (found, next) = match table == R::TABLE {
            true => store::page::<R>(store, &scan)?,
            false => store::page_by::<R>(store, table, &scan)?,
        };
        for row in &found {
            if !visit(row)? {
                return Ok(());
            }
        }
        match next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

/// What the audit log is to say of a refusal.
pub(super) fn tried(mut entry: Entry, what: &str) -> Entry {
    entry.detail = match entry.detail.is_empty() {
        true => what.to_owned(),
        false => format!("{what}: {}", entry.detail),
    };
    entry
}
