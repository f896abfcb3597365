//! Writing a policy into a database, and answering Casbin's requests from it.

use super::Policy;
use super::model::Field;
use super::policy::{Held, Place, permission_name};
use crate::Portcullis;
use crate::access::DirectGrant;
use crate::assignment::Assignment;
use crate::engine::{Page, PageRequest};
use crate::error::{Error, ErrorKind, Result};
use crate::grant::{Effect, Grant};
use crate::id::{RoleId, ScopeId, UserId};
use crate::permission::{Permission, PermissionSet};
use crate::role::Role;
use crate::user::NewUser;
use std::collections::{BTreeMap, BTreeSet};

/// Bits of one grant lie in one of these ranges, so that a call touches one row.
const RANGE: u32 = 8192;

/// What the names of a policy became in a database: the numbers to go on with, and Casbin's question.
#[derive(Clone, Debug)]
pub struct Loaded {
    request: Vec<Field>,
    users: BTreeMap<String, UserId>,
    /// By object and action.
    permissions: BTreeMap<String, BTreeMap<String, Permission>>,
    /// By domain; everything is under the empty one where there are no domains.
    places: BTreeMap<String, (ScopeId, BTreeMap<String, RoleId>)>,
}

impl Loaded {
    /// The user of that name.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<UserId> {
        self.users.get(name).copied()
    }

    /// All users by name, to give them passwords and addresses.
    pub fn users(&self) -> impl Iterator<Item = (&str, UserId)> {
        self.users.iter().map(|(name, id)| (name.as_str(), *id))
    }

    /// The role of that name, of a policy without domains.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<RoleId> {
        self.role_in("", name)
    }

    /// The role of that name in a domain.
    #[must_use]
    pub fn role_in(&self, domain: &str, name: &str) -> Option<RoleId> {
        self.places.get(domain)?.1.get(name).copied()
    }

    /// The permission for an object and an action.
    #[must_use]
    pub fn permission(&self, object: &str, action: &str) -> Option<Permission> {
        self.permissions.get(object)?.get(action).copied()
    }

    /// The tenant that a domain became.
    #[must_use]
    pub fn domain(&self, name: &str) -> Option<ScopeId> {
        self.places.get(name).filter(|_| !name.is_empty()).map(|(scope, _)| *scope)
    }

    /// Answers a request as Casbin does: its values in the order of the model's `r`.
    ///
    /// The decision is that of [`Portcullis::check`] or [`check_at`](Portcullis::check_at) on the database as it is now.
    /// Roles are subjects too: what a role may do is what somebody may do who holds it and no other one. Whoever or
    /// whatever the policy does not name may do nothing. The one difference: Casbin allows a request of nothing but
    /// empty values over a policy without rules.
    ///
    /// # Errors
    /// `InvalidInput` for another number of values than the model has; the storage kinds.
    pub fn enforce(&self, gate: &Portcullis, request: &[&str]) -> Result<bool> {
        if request.len() != self.request.len() {
            let names: Vec<&str> = self.request.iter().map(|field| field.name()).collect();
            let message = format!("has {} values; the model's are {}", request.len(), names.join(", "));
            return Err(Error::invalid("request", message));
        }
        let value = |wanted: Field| {
            let pair = self.request.iter().zip(request).find(|(field, _)| **field == wanted);
            pair.map_or("", |(_, value)| *value)
        };
        let (subject, domain) = (value(Field::Subject), value(Field::Domain));
        let Some(permission) = self.permission(value(Field::Object), value(Field::Action)) else {
            return Ok(false);
        };
        let Some((scope, roles)) = self.places.get(domain) else { return Ok(false) };
        if let Some(user) = self.users.get(subject) {
            return Ok(gate.check_at(*user, permission, *scope)?.is_allowed());
        }
        let Some(role) = roles.get(subject) else { return Ok(false) };
        // A role, or its tenant, that was deleted since gives nobody anything.
        let held = gate.scopes().path(*scope).and_then(|_| gate.roles().effective(*role));
        match held {
            Ok(held) => Ok(held.contains(permission)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// What the database has of a policy already, as it was found before anything is written.
#[derive(Default)]
struct Found {
    users: BTreeMap<String, UserId>,
    /// By place in the policy's list.
    permissions: BTreeMap<usize, Permission>,
    places: BTreeMap<String, (ScopeId, BTreeMap<String, Role>)>,
    assigned: BTreeMap<(UserId, RoleId, ScopeId), Grant>,
    granted: BTreeMap<(UserId, Permission, ScopeId), Grant>,
}

impl Policy {
    /// Writes the policy into a database and tells what became of its names.
    ///
    /// It takes many commits, each with its audit record. All denials and all links are written before the first grant,
    /// so that at no moment anybody may do what the whole policy does not allow. A load that was interrupted is completed
    /// by another one, and a load of what is there writes nothing; two at once may refuse each other with a conflict, to
    /// be tried again.
    ///
    /// Decisions are Casbin's in a database that was empty. In one that was not, users of the same login names are the
    /// same people and keep what they have. A role of the same name is taken for the policy's own only while it has
    /// nothing that the policy does not give it.
    ///
    /// # Errors
    /// Before anything is written: `AlreadyExists` for a role that has other permissions, denials or parents, and for a
    /// user who has a role or a permission of the policy on other terms. Later: `LimitExceeded` where the database has
    /// no numbers left; `Conflict` or `AlreadyExists` where somebody else wrote the same; the storage kinds. What was
    /// written by then stays.
    pub fn load_into(&self, gate: &Portcullis) -> Result<Loaded> {
        let found = self.find(gate)?;
        let names: Vec<String> = self.names().collect();
        let bits = gate.permissions().define_many(names.iter().map(String::as_str))?;
        let loaded = self.create(gate, &found, &bits)?;
        let loading = Loading { gate, policy: self, found, bits, loaded };
        loading.deny()?;
        loading.link()?;
        loading.grant()?;
        Ok(loading.loaded)
    }

    fn names(&self) -> impl Iterator<Item = String> {
        self.permissions.iter().map(|(object, action)| permission_name(object, action))
    }

    /// Reads what is there, and refuses what the policy can not be written over.
    fn find(&self, gate: &Portcullis) -> Result<Found> {
        let mut found = Found::default();
        for (place, name) in self.names().enumerate() {
            if let Some(known) = gate.permissions().find(&name)? {
                found.permissions.insert(place, known.permission);
            }
        }
        for name in &self.users {
            let Some(user) = gate.users().find(name)? else { continue };
            found.users.insert(name.clone(), user.id);
            for Assignment { role, terms, .. } in all(|page| gate.roles().of_user(user.id, page))? {
                found.assigned.insert((user.id, role, terms.scope), terms);
            }
            for DirectGrant { permission, terms, .. } in all(|page| gate.access().of_user(user.id, page))? {
                found.granted.insert((user.id, permission, terms.scope), terms);
            }
        }
        for place in &self.places {
            let Some(scope) = gate.scopes().find(&place.domain)? else { continue };
            let mut roles = BTreeMap::new();
            for name in place.roles.keys() {
                if let Some(role) = gate.roles().find_in(scope, name)? {
                    roles.insert(name.clone(), role);
                }
            }
            for (name, held) in &place.roles {
                if let Some(role) = roles.get(name) {
                    found.check_role(gate, role, held, &roles)?;
                }
            }
            for (name, held) in &place.users {
                if let Some(user) = found.users.get(name) {
                    found.check_user(name, *user, held, scope, &roles)?;
                }
            }
            found.places.insert(place.domain.clone(), (scope, roles));
        }
        Ok(found)
    }

    /// Makes the users, tenants and roles that are missing, all of them without any rights.
    fn create(&self, gate: &Portcullis, found: &Found, bits: &[Permission]) -> Result<Loaded> {
        let missing: Vec<&String> =
            self.users.iter().filter(|name| !found.users.contains_key(*name)).collect();
        let created = gate.users().create_many(missing.iter().map(|name| NewUser::new(name.as_str())))?;
        let mut users = found.users.clone();
        users.extend(missing.into_iter().cloned().zip(created.iter().map(|user| user.id)));

        let mut permissions: BTreeMap<String, BTreeMap<String, Permission>> = BTreeMap::new();
        for ((object, action), bit) in self.permissions.iter().zip(bits) {
            permissions.entry(object.clone()).or_default().insert(action.clone(), *bit);
        }

        let mut places = BTreeMap::new();
        for place in &self.places {
            let known = found.places.get(&place.domain);
            let scope = match known {
                Some((scope, _)) => *scope,
                None => gate.scopes().create(ScopeId::ROOT, &place.domain)?,
            };
            let mut roles = BTreeMap::new();
            for name in place.roles.keys() {
                let id = match known.and_then(|(_, roles)| roles.get(name)) {
                    Some(role) => role.id,
                    None if scope == ScopeId::ROOT => gate.roles().create(name, [])?,
                    None => gate.roles().create_in(scope, name, [])?,
                };
                roles.insert(name.clone(), id);
            }
            places.insert(place.domain.clone(), (scope, roles));
        }
        Ok(Loaded { request: self.request.clone(), users, permissions, places })
    }
}

impl Found {
    /// Refuses a role that is not what a load of this policy has made or begun to make.
    fn check_role(
        &self,
        gate: &Portcullis,
        role: &Role,
        held: &Held,
        roles: &BTreeMap<String, Role>,
    ) -> Result<()> {
        let gives = |places: &BTreeSet<usize>| -> PermissionSet {
            places.iter().filter_map(|place| self.permissions.get(place)).copied().collect()
        };
        let (given, denied) = (gives(&held.allowed), gives(&held.denied));
        let parents: Vec<RoleId> =
            held.roles.iter().filter_map(|name| roles.get(name)).map(|role| role.id).collect();
        let other = if gate.roles().granted(role.id)?.iter().any(|bit| !given.contains(bit)) {
            "grants permissions"
        } else if gate.roles().denied(role.id)?.iter().any(|bit| !denied.contains(bit)) {
            "denies permissions"
        } else if role.parents.iter().any(|parent| !parents.contains(parent)) {
            "inherits from roles"
        } else {
            return Ok(());
        };
        let message = format!(
            "there is a role \"{}\" ({}) already, and it {other} that the policy does not give it; rename one of the two",
            role.name, role.id
        );
        Err(Error::exists("role", message))
    }

    /// Refuses a user who has something of the policy already, but not for ever, or the other way round.
    fn check_user(
        &self,
        name: &str,
        user: UserId,
        held: &Held,
        scope: ScopeId,
        roles: &BTreeMap<String, Role>,
    ) -> Result<()> {
        for role in held.roles.iter().filter_map(|role| roles.get(role)) {
            let terms = self.assigned.get(&(user, role.id, scope));
            if terms.is_some_and(|terms| !is_plain(terms, Effect::Allow)) {
                let message = format!(
                    "the user \"{name}\" has \"{}\" on other terms already; take it away first",
                    role.name
                );
                return Err(Error::exists("role", message));
            }
        }
        for (places, effect) in [(&held.denied, Effect::Deny), (&held.allowed, Effect::Allow)] {
            for (place, bit) in places.iter().filter_map(|place| Some((place, self.permissions.get(place)?)))
            {
                let terms = self.granted.get(&(user, *bit, scope));
                let overridden = effect == Effect::Allow && held.denied.contains(place);
                if !overridden && terms.is_some_and(|terms| !is_plain(terms, effect)) {
                    let message =
                        format!("the user \"{name}\" has {bit} on other terms already; take it away first");
                    return Err(Error::exists("permission", message));
                }
            }
        }
        Ok(())
    }
}

/// Whether it holds for ever.
fn is_plain(terms: &Grant, effect: Effect) -> bool {
    terms.effect == effect && terms.from.is_none() && terms.until.is_none()
}

/// A policy while it is written, after all that it names is there.
struct Loading<'l> {
    gate: &'l Portcullis,
    policy: &'l Policy,
    found: Found,
    bits: Vec<Permission>,
    loaded: Loaded,
}

impl Loading<'_> {
    fn places(&self) -> impl Iterator<Item = (&Place, ScopeId, &BTreeMap<String, RoleId>)> {
        self.policy.places.iter().filter_map(|place| {
            let (scope, roles) = self.loaded.places.get(&place.domain)?;
            Some((place, *scope, roles))
        })
    }

    fn bits<'b>(
        &'b self,
        places: impl Iterator<Item = &'b usize> + 'b,
    ) -> impl Iterator<Item = Permission> + 'b {
        places.filter_map(|place| self.bits.get(*place).copied())
    }

    fn deny(&self) -> Result<()> {
        for (place, scope, roles) in self.places() {
            for (name, held) in &place.roles {
                self.in_ranges(self.bits(held.denied.iter()), |bits| match roles.get(name) {
                    Some(role) => self.gate.roles().deny(*role, bits.iter().copied()),
                    None => Ok(()),
                })?;
            }
            for (name, held) in &place.users {
                let terms = Grant::new().at(scope).denying();
                self.give(name, self.bits(held.denied.iter()), &terms)?;
            }
        }
        Ok(())
    }

    fn link(&self) -> Result<()> {
        for (place, scope, roles) in self.places() {
            let known = self.found.places.get(&place.domain);
            for (name, held) in &place.roles {
                let Some(role) = roles.get(name) else { continue };
                let parents =
                    known.and_then(|(_, roles)| roles.get(name)).map_or(&[][..], |role| &role.parents);
                for parent in held.roles.iter().filter_map(|parent| roles.get(parent)) {
                    if !parents.contains(parent) {
                        self.gate.roles().inherit(*role, *parent)?;
                    }
                }
            }
            let mut holders: BTreeMap<RoleId, Vec<UserId>> = BTreeMap::new();
            for (name, held) in &place.users {
                let Some(user) = self.loaded.user(name) else { continue };
                for role in held.roles.iter().filter_map(|role| roles.get(role)) {
                    if !self.found.assigned.contains_key(&(user, *role, scope)) {
                        holders.entry(*role).or_default().push(user);
                    }
                }
            }
            for (role, users) in holders {
                if scope == ScopeId::ROOT {
                    self.gate.roles().assign_many(role, users)?;
                    continue;
                }
                let terms = Grant::new().at(scope);
                users.iter().try_for_each(|user| self.gate.roles().assign_with(*user, role, &terms))?;
            }
        }
        Ok(())
    }

    fn grant(&self) -> Result<()> {
        for (place, scope, roles) in self.places() {
            for (name, held) in &place.roles {
                self.in_ranges(self.bits(held.allowed.iter()), |bits| match roles.get(name) {
                    Some(role) => self.gate.roles().grant(*role, bits.iter().copied()),
                    None => Ok(()),
                })?;
            }
            for (name, held) in &place.users {
                // A user has one direct grant of a permission, and a denial wins over the other anyway.
                let allowed = held.allowed.difference(&held.denied);
                self.give(name, self.bits(allowed), &Grant::new().at(scope))?;
            }
        }
        Ok(())
    }

    /// Direct grants or denials that the user does not have yet.
    fn give(&self, name: &str, bits: impl Iterator<Item = Permission>, terms: &Grant) -> Result<()> {
        let Some(user) = self.loaded.user(name) else { return Ok(()) };
        for bit in bits {
            if !self.found.granted.contains_key(&(user, bit, terms.scope)) {
                self.gate.access().grant(user, bit, terms)?;
            }
        }
        Ok(())
    }

    /// Calls with the permissions of one range after another, which fit into one commit each.
    fn in_ranges(
        &self,
        bits: impl Iterator<Item = Permission>,
        act: impl FnMut(&[Permission]) -> Result<()>,
    ) -> Result<()> {
        let mut bits: Vec<Permission> = bits.collect();
        bits.sort_unstable();
        bits.chunk_by(|a, b| a.bit() / RANGE == b.bit() / RANGE).try_for_each(act)
    }
}

/// A whole listing.
fn all<T>(mut page: impl FnMut(&PageRequest) -> Result<Page<T>>) -> Result<Vec<T>> {
    let (mut items, mut request) = (Vec::new(), PageRequest::default());
    loop {
        let found = page(&request)?;
        items.extend(found.items);
        match found.next {
            Some(next) => request = request.after(Some(next)),
            None => return Ok(items),
        }
    }
}
