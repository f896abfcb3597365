//! Delegations: who may administer what, and handles that are held to it.

use super::Portcullis;
use super::assignments::giver;
use super::authority::Authority;
use super::page::{Page, PageRequest};
use super::write::Entry;
use crate::audit::{Actor, AuditKind, Subject};
use crate::delegation::{self, Ability, DELEGATION_BY_ROLE, Delegation, DelegationRecord, RoleRange};
use crate::error::{Error, Result};
use crate::id::{DelegationId, Key, RoleId, ScopeId, UserId};
use crate::role::{self, RoleRecord};
use crate::store::{self, Record};
use crate::user;

/// Makes, lists and deletes delegations; get it from [`Portcullis::delegations`].
///
/// A delegation belongs to an admin role. Whoever holds that role at a scope, itself or through one that inherits from it,
/// may administer a range of roles there and below, by a handle from [`Portcullis::delegated`].
///
/// ```
/// # fn main() -> portcullis::Result<()> {
/// use portcullis::{Ability, Denial, Grant, NewUser, Portcullis, RoleRange, ScopeId};
/// let gate = Portcullis::in_memory()?;
/// let read = gate.permissions().define("doc:read")?;
/// let member = gate.roles().create("member", [read])?;
/// let operator = gate.roles().create("operator", [])?;
/// let admin = gate.roles().create("tenant-admin", [])?;
/// gate.delegations().create(admin, RoleRange::Below(member), [Ability::Assign, Ability::Unassign])?;
///
/// let [acme, other] = ["acme", "other"].map(|name| gate.scopes().create(ScopeId::ROOT, name));
/// let (acme, other) = (acme?, other?);
/// let [ada, bob] = ["ada", "bob"].map(|login| gate.users().create(NewUser::new(login)));
/// let (ada, bob) = (ada?.id, bob?.id);
/// gate.roles().assign_with(ada, admin, &Grant::new().at(acme))?;
///
/// let as_ada = gate.delegated(ada);
/// as_ada.roles().assign_with(bob, member, &Grant::new().at(acme))?;
/// for refused in [
///     as_ada.roles().assign_with(bob, member, &Grant::new().at(other)), // another tenant
///     as_ada.roles().assign_with(bob, operator, &Grant::new().at(acme)), // not in the range
///     as_ada.roles().assign_with(ada, member, &Grant::new().at(acme)), // to oneself
///     as_ada.roles().delete(member),
/// ] {
///     assert_eq!(refused.unwrap_err().denial(), Some(Denial::Delegation));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Delegations<'g> {
    pub(super) gate: &'g Portcullis,
}

impl Portcullis {
    /// The same database, with this user as the actor, whose delegations must cover every change: see [`Delegations`]. What
    /// no delegation covers is refused with [`Denial::Delegation`](crate::Denial::Delegation), by every call that changes
    /// anything, and the refusal is written into the audit log as
    /// [`DelegationRefused`](crate::AuditKind::DelegationRefused).
    ///
    /// Never covered are: what is done to the actor's own account and roles; roles that are admin roles or inherit from
    /// one; making, deleting and marking roles; permissions; delegations; tenants, but for their names and their making;
    /// [`maintain`](Self::maintain) and [`close`](Self::close). Reading is not restricted, nor is
    /// [`login`](Self::login), which proves for itself who it is.
    ///
    /// That the handle is used by that user and nobody else is for the caller to see to. It goes by all that the user is
    /// assigned, whichever roles are active in a session: where sessions select their roles, look whether the admin role
    /// is among [those](crate::Sessions::roles) first. A handle that is delegated
    /// already stays what it is, with the actor that it has; one [in whose actor's place](Self::acting_for) somebody else
    /// acts becomes delegated with the actor that it has, and what it changes must be covered for both.
    #[must_use]
    pub fn delegated(&self, user: UserId) -> Self {
        match self.delegated || self.impersonator.is_some() {
            true => Self { delegated: true, ..self.clone() },
            false => Self { actor: Actor::User(user), delegated: true, ..self.clone() },
        }
    }
}

impl Delegations<'_> {
    /// Lets holders of a role administer a range of roles in these ways.
    ///
    /// # Errors
    /// `NotFound` for a role that does not exist; `InvalidInput` for an empty range, no ability, or an admin role in its own
    /// range; `LimitExceeded` for a range of more than 64 roles; the storage kinds.
    pub fn create(
        &self,
        role: RoleId,
        range: RoleRange,
        abilities: impl IntoIterator<Item = Ability>,
    ) -> Result<DelegationId> {
        let range = range.checked()?;
        let mut abilities: Vec<Ability> = abilities.into_iter().collect();
        abilities.sort_unstable();
        abilities.dedup();
        if abilities.is_empty() {
            return Err(Error::invalid("delegation.abilities", "is empty; say what may be done"));
        }
        if range.named().contains(&role) {
            let message = format!("names {role}, to which it is delegated; admin roles are in no range");
            return Err(Error::invalid("delegation.range", message));
        }
        let (id, _) = self.gate.engine().write(self.gate.actor(), |plan| {
            for named in range.named().iter().chain([&role]) {
                role::read_role(plan.store, *named)?;
                plan.batch.expect_present::<RoleRecord>(named);
            }
            let id = delegation::stage_create(
                plan.store,
                &mut plan.batch,
                DelegationRecord {
                    id: DelegationId::from_number(0),
                    role,
                    range: range.clone(),
                    abilities: abilities.clone(),
                    created: plan.now,
                    by: giver(plan.actor),
                },
            )?;
            plan.record(
                AuditKind::DelegationCreated,
                entry(role, &range).detail(describe(id, &range, &abilities)),
            )?;
            Ok(id)
        })?;
        Ok(id)
    }

    /// Ends a delegation, for all holders of its role, with the very next call.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn delete(&self, id: DelegationId) -> Result<()> {
        self.gate.engine().write(self.gate.actor(), |plan| {
            let old = delegation::stage_delete(plan.store, &mut plan.batch, id)?;
            let detail = describe(id, &old.range, &old.abilities);
            plan.record(AuditKind::DelegationDeleted, entry(old.role, &old.range).detail(detail))
        })?;
        Ok(())
    }

    /// The delegation of that number.
    ///
    /// # Errors
    /// `NotFound`, also where its admin role was deleted; the storage kinds.
    pub fn get(&self, id: DelegationId) -> Result<Delegation> {
        let store = &*self.gate.engine().store;
        let found = store::read::<DelegationRecord>(store, &id)?;
        let found = found.ok_or_else(|| Error::not_found("delegation", id))?.record;
        match store.get(RoleRecord::TABLE, &found.role.bytes())? {
            Some(_) => Ok(found.into()),
            None => Err(Error::not_found("delegation", id)),
        }
    }

    /// All delegations, by number; those of a role that was deleted a moment ago may still be among them.
    ///
    /// # Errors
    /// `InvalidInput` for a wrong page; the storage kinds.
    pub fn list(&self, page: &PageRequest) -> Result<Page<Delegation>> {
        let store = &*self.gate.engine().store;
        let (found, next) =
            store::page::<DelegationRecord>(store, &page.scan(DelegationRecord::TABLE, &[])?)?;
        let items = found.into_iter().map(|found| found.record.into()).collect();
        Ok(Page::new(items, DelegationRecord::TABLE, next))
    }

    /// The delegations to an admin role itself, by number.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` for a wrong page; the storage kinds.
    pub fn of_role(&self, role: RoleId, page: &PageRequest) -> Result<Page<Delegation>> {
        let store = &*self.gate.engine().store;
        role::read_role(store, role)?;
        let prefix = role.bytes();
        let scan = page.scan(DELEGATION_BY_ROLE, &prefix)?;
        let (found, next) = store::page_by::<DelegationRecord>(store, DELEGATION_BY_ROLE, &scan)?;
        let items = found.into_iter().map(|found| found.record.into()).collect();
        Ok(Page::new(items, DELEGATION_BY_ROLE, next))
    }

    /// What a user may administer now: each delegation, and the scope from which it reaches down.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn of_user(&self, user: UserId) -> Result<Vec<(Delegation, ScopeId)>> {
        let engine = self.gate.engine();
        let account = user::read_user(&*engine.store, user)?.record;
        let grounds = Authority::read(&*engine.store, &account, engine.now())?.standing()?;
        Ok(grounds.into_iter().map(|ground| (ground.delegation.into(), ground.at)).collect())
    }
}

fn entry(role: RoleId, range: &RoleRange) -> Entry {
    let entry = Entry::of(Subject::Role(role));
    match range {
        RoleRange::Below(top) => entry.and(Subject::Role(*top)),
        RoleRange::Roles(_) => entry,
    }
}

/// For the audit log.
fn describe(id: DelegationId, range: &RoleRange, abilities: &[Ability]) -> String {
    let range = match range {
        RoleRange::Below(top) => format!("below {top}"),
        RoleRange::Roles(roles) => {
            let numbers: Vec<String> = roles.iter().map(|role| role.get().to_string()).collect();
            format!("of roles {}", numbers.join(" "))
        }
    };
    format!("{id} {range}: {abilities:?}")
}
