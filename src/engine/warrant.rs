//! Whether an actor's delegations cover a change: one function a kind of change, each called by the plan of that change.
//! For a handle that is not delegated they say yes at once. What calls none of them is refused by the write path.

use super::authority::{Authority, Place, each, tried};
use super::write::{Entry, Plan};
use crate::access::{ACCESS_BY_SCOPE, AccessRecord};
use crate::assignment::{ASSIGNMENT_BY_SCOPE, AssignmentRecord};
use crate::audit::{Actor, Subject};
use crate::delegation::{Ability, DelegationRecord};
use crate::error::Result;
use crate::grant::{Effect, Grant};
use crate::id::{Key, RoleId, ScopeId, UserId};
use crate::permission::Permission;
use crate::role::{RoleChange, RoleRecord};
use crate::scope::{self, SCOPE_BY_NAME, ScopeRecord};
use crate::store::{self, Record, Stored};
use crate::user::{self, UserRecord};
use std::collections::BTreeSet;

/// Most scopes below one that a delegated deletion looks at.
const MOST_SCOPES: usize = 1000;

/// Shows the plan's warrant if a ground covers the scope with that ability and passes the test, else refuses.
fn covered(
    plan: &mut Plan<'_>,
    ability: Ability,
    at: ScopeId,
    entry: Entry,
    mut test: impl FnMut(&mut Authority<'_>, &DelegationRecord, &Place) -> Result<bool>,
) -> Result<()> {
    let Actor::User(actor) = plan.actor else { return Err(plan.refuse(entry)) };
    for one in both(plan, actor) {
        let mut authority = Authority::of(plan, one)?;
        let place = Place::of(plan.store, at)?;
        let mut found = false;
        for ground in authority.covering(ability, &place) {
            let Some(delegation) = authority.delegation(ground) else { continue };
            if test(&mut authority, &delegation, &place)? {
                authority.rests_on(ground);
                authority.show(plan);
                found = true;
                break;
            }
        }
        if !found {
            return Err(plan.refuse(entry));
        }
    }
    Ok(())
}

/// All who must be covered: the actor, and whoever acts as the actor.
fn both(plan: &Plan<'_>, actor: UserId) -> impl Iterator<Item = UserId> + use<> {
    std::iter::once(actor).chain(plan.impersonator)
}

/// Nobody administers themselves.
fn is_self(plan: &Plan<'_>, user: UserId) -> bool {
    plan.actor == Actor::User(user) || plan.impersonator == Some(user)
}

pub(super) fn may_assign(plan: &mut Plan<'_>, role: RoleId, users: &[UserId], terms: &Grant) -> Result<()> {
    if !plan.is_delegated() {
        return Ok(());
    }
    let (ability, what) = match terms.effect {
        Effect::Allow => (Ability::Assign, "assign"),
        Effect::Deny => (Ability::Unassign, "deny a role"),
    };
    let mut entry = Entry { object: Some(Subject::Role(role)), ..Entry::default() }.detail(terms.describe());
    entry.subject = users.first().map(|user| Subject::User(*user));
    let entry = tried(entry, what);
    if users.iter().any(|user| is_self(plan, *user)) {
        return Err(plan.refuse(entry));
    }
    covered(plan, ability, terms.scope, entry, |authority, delegation, place| {
        authority.in_range(delegation, role, place.tenant)
    })
}

pub(super) fn may_unassign(plan: &mut Plan<'_>, held: &AssignmentRecord) -> Result<()> {
    if !plan.is_delegated() {
        return Ok(());
    }
    let (ability, what) = match held.terms.effect {
        Effect::Allow => (Ability::Unassign, "unassign"),
        Effect::Deny => (Ability::Assign, "lift a denied role"),
    };
    let entry = Entry::of(Subject::User(held.user)).and(Subject::Role(held.role));
    let entry = tried(entry.detail(Grant::new().at(held.terms.scope).describe()), what);
    if is_self(plan, held.user) {
        return Err(plan.refuse(entry));
    }
    covered(plan, ability, held.terms.scope, entry, |authority, delegation, place| {
        authority.may_be_taken(delegation, held.role, place.tenant)
    })
}

/// Permissions that a role is to grant or deny, or no longer: all of it may give, because a denial may go with it.
pub(super) fn may_change_bits(
    plan: &mut Plan<'_>,
    role: &RoleRecord,
    permissions: &[Permission],
) -> Result<()> {
    if !plan.is_delegated() {
        return Ok(());
    }
    let mut entry = Entry::of(Subject::Role(role.id));
    entry.object = permissions.first().map(|permission| Subject::Permission(*permission));
    let entry = tried(entry, "change what a role grants or denies");
    covered(plan, Ability::ChangeRoles, role.scope, entry, |authority, delegation, place| {
        Ok(authority.in_range(delegation, role.id, place.tenant)?
            && authority.reaches(delegation, permissions.iter().copied(), place.tenant)?)
    })
}

/// An edge of the hierarchy that is to come or to go.
pub(super) fn may_link(plan: &mut Plan<'_>, role: RoleId, parent: RoleId) -> Result<()> {
    if !plan.is_delegated() {
        return Ok(());
    }
    let home = crate::role::read_role(plan.store, role)?.record.scope;
    let entry = Entry::of(Subject::Role(role)).and(Subject::Role(parent));
    covered(
        plan,
        Ability::ChangeRoles,
        home,
        tried(entry, "change what a role inherits from"),
        |authority, delegation, place| {
            Ok(authority.in_range(delegation, role, place.tenant)?
                && authority.may_be_taken(delegation, parent, place.tenant)?)
        },
    )
}

/// Names and descriptions; the marks of a role are for the application.
pub(super) fn may_rename_role(plan: &mut Plan<'_>, role: &RoleRecord, change: &RoleChange) -> Result<()> {
    if !plan.is_delegated() {
        return Ok(());
    }
    let entry = tried(Entry::of(Subject::Role(role.id)), "change the name or the marks of a role");
    if change.privileged.is_some() || change.protected.is_some() {
        return Err(plan.refuse(entry));
    }
    covered(plan, Ability::ChangeRoles, role.scope, entry, |authority, delegation, place| {
        authority.in_range(delegation, role.id, place.tenant)
    })
}

/// A permission that is to be given or forbidden without a role, or no longer.
pub(super) fn may_grant(
    plan: &mut Plan<'_>,
    user: UserId,
    permission: Permission,
    at: ScopeId,
    what: &str,
) -> Result<()> {
    if !plan.is_delegated() {
        return Ok(());
    }
    let entry = Entry::of(Subject::User(user)).and(Subject::Permission(permission));
    let entry = tried(entry.detail(Grant::new().at(at).describe()), what);
    if is_self(plan, user) {
        return Err(plan.refuse(entry));
    }
    covered(plan, Ability::GrantDirectly, at, entry, |authority, delegation, place| {
        authority.reaches(delegation, [permission], place.tenant)
    })
}

/// A scope that is to be made or renamed in a parent.
pub(super) fn may_name_scope(plan: &mut Plan<'_>, parent: ScopeId, what: &str) -> Result<()> {
    if !plan.is_delegated() {
        return Ok(());
    }
    let entry = tried(Entry::of(Subject::Scope(parent)), what);
    covered(plan, Ability::ManageScopes, parent, entry, |_, _, _| Ok(true))
}

/// A rename, in the parent of the scope.
pub(super) fn may_rename_scope(plan: &mut Plan<'_>, id: ScopeId) -> Result<()> {
    if !plan.is_delegated() {
        return Ok(());
    }
    let parent = scope::read_scope(plan.store, id)?.record.parent;
    may_name_scope(plan, parent, "rename a scope in it")
}

/// A move: both parents are covered, and what holds at the levels that the scope leaves or comes under lies in the range.
/// What is held at a level that it comes under would be given; what is denied at one that it leaves would be lifted.
pub(super) fn may_move_scope(plan: &mut Plan<'_>, id: ScopeId, to: ScopeId) -> Result<()> {
    if !plan.is_delegated() {
        return Ok(());
    }
    let (from, store) = (scope::read_scope(plan.store, id)?.record.parent, plan.store);
    let entry = tried(Entry::of(Subject::Scope(id)).and(Subject::Scope(to)), "move a scope");
    covered(plan, Ability::ManageScopes, from, entry, |authority, delegation, place| {
        let target = Place::of(store, to)?;
        let both = [&target, &Place::of(store, id)?].into_iter().all(|place| {
            let grounds = authority.covering(Ability::ManageScopes, place);
            grounds
                .into_iter()
                .any(|ground| authority.delegation(ground).is_some_and(|found| found.id == delegation.id))
        });
        let left = place.levels.iter().filter(|level| !target.levels.contains(level));
        let entered = target.levels.iter().filter(|level| !place.levels.contains(level));
        let mut fine = both && target.tenant == place.tenant;
        for level in left.chain(entered) {
            fine = fine && held_within(authority, delegation, store, *level, place.tenant)?;
        }
        Ok(fine)
    })
}

/// A deletion: all that is held at the scope and below lies in the range, because it goes too. Not of a tenant, whose
/// roles go with it.
pub(super) fn may_delete_scope(plan: &mut Plan<'_>, id: ScopeId) -> Result<()> {
    if !plan.is_delegated() {
        return Ok(());
    }
    let (parent, store) = (scope::read_scope(plan.store, id)?.record.parent, plan.store);
    let entry = tried(Entry::of(Subject::Scope(id)), "delete a scope");
    if parent == ScopeId::ROOT {
        return Err(plan.refuse(entry));
    }
    covered(plan, Ability::ManageScopes, parent, entry, |authority, delegation, place| {
        let (mut open, mut seen) = (vec![id], 0);
        while let Some(next) = open.pop() {
            seen += 1;
            if seen > MOST_SCOPES || !held_within(authority, delegation, store, next, place.tenant)? {
                return Ok(false);
            }
            each(store, SCOPE_BY_NAME, &next.bytes(), |row: &Stored<ScopeRecord>| {
                open.push(row.record.id);
                Ok(open.len() <= MOST_SCOPES)
            })?;
        }
        Ok(true)
    })
}

/// Whether all that is given or denied at a scope, itself, lies in the range.
fn held_within(
    authority: &mut Authority<'_>,
    delegation: &DelegationRecord,
    store: &dyn store::Store,
    at: ScopeId,
    tenant: ScopeId,
) -> Result<bool> {
    let mut fine = true;
    each(store, ASSIGNMENT_BY_SCOPE, &at.bytes(), |row: &Stored<AssignmentRecord>| {
        fine = authority.may_be_taken(delegation, row.record.role, tenant)?;
        Ok(fine)
    })?;
    if fine {
        each(store, ACCESS_BY_SCOPE, &at.bytes(), |row: &Stored<AccessRecord>| {
            fine = authority.reaches(delegation, [row.record.permission], tenant)?;
            Ok(fine)
        })?;
    }
    Ok(fine)
}

/// Users that are to be created, by the scopes at which they are at home.
pub(super) fn may_create_users(plan: &mut Plan<'_>, homes: &BTreeSet<ScopeId>) -> Result<()> {
    if !plan.is_delegated() {
        return Ok(());
    }
    let what = "create a user at home there";
    let Actor::User(actor) = plan.actor else { return Err(plan.refuse(tried(Entry::default(), what))) };
    for one in both(plan, actor) {
        let mut authority = Authority::of(plan, one)?;
        for home in homes {
            let place = Place::of(plan.store, *home)?;
            if !rest(&mut authority, &place, |_, _| Ok(true))? {
                return Err(plan.refuse(tried(Entry::of(Subject::Scope(*home)), what)));
            }
        }
        authority.show(plan);
    }
    Ok(())
}

/// What no delegation covers although it could be taken for something that one does.
pub(super) fn only_the_application(plan: &mut Plan<'_>, subject: Subject, what: &str) -> Result<()> {
    match plan.is_delegated() {
        true => Err(plan.refuse(tried(Entry::of(subject), what))),
        false => Ok(()),
    }
}

/// Administration of a user: name, profile, contacts, status, password, sessions, deletion. Whoever can set a password
/// can be that user, so all that the user holds must lie in the range, also what has not begun.
pub(super) fn may_administer(plan: &mut Plan<'_>, user: UserId, what: &str) -> Result<()> {
    if !plan.is_delegated() {
        return Ok(());
    }
    let entry = tried(Entry::of(Subject::User(user)), what);
    let account = user::read_user(plan.store, user)?.record;
    let Actor::User(actor) = plan.actor else { return Err(plan.refuse(entry)) };
    if is_self(plan, user) {
        return Err(plan.refuse(entry));
    }
    for one in both(plan, actor) {
        if !administers(plan, one, &account)? {
            return Err(plan.refuse(entry));
        }
    }
    Ok(())
}

/// Shows the plan's warrant if all that the user holds lies in the range of somebody's delegations.
fn administers(plan: &mut Plan<'_>, actor: UserId, account: &UserRecord) -> Result<bool> {
    let user = account.id;
    let mut authority = Authority::of(plan, actor)?;
    // Who is at home where nothing is any more is for those who administer everywhere.
    let home = match Place::found(plan.store, account.home)? {
        Some(home) => home,
        None => Place::of(plan.store, ScopeId::ROOT)?,
    };
    let (store, now) = (plan.store, plan.now);
    let mut fine = rest(&mut authority, &home, |_, _| Ok(true))?;
    if fine {
        each(store, AssignmentRecord::TABLE, &user.bytes(), |row: &Stored<AssignmentRecord>| {
            let (role, terms) = (row.record.role, &row.record.terms);
            let gives = terms.effect == Effect::Allow && !terms.has_ended(now);
            if gives
                && let Some(place) = Place::found(store, terms.scope)?
                && store::read::<RoleRecord>(store, &role)?.is_some()
            {
                fine = rest(&mut authority, &place, |authority, delegation| {
                    authority.in_range(delegation, role, place.tenant)
                })?;
            }
            Ok(fine)
        })?;
    }
    if fine {
        each(store, AccessRecord::TABLE, &user.bytes(), |row: &Stored<AccessRecord>| {
            let (permission, terms) = (row.record.permission, &row.record.terms);
            if terms.effect == Effect::Allow
                && !terms.has_ended(now)
                && let Some(place) = Place::found(store, terms.scope)?
            {
                fine = rest(&mut authority, &place, |authority, delegation| {
                    authority.reaches(delegation, [permission], place.tenant)
                })?;
            }
            Ok(fine)
        })?;
    }
    if fine {
        authority.show(plan);
    }
    Ok(fine)
}

/// Lets the change rest on a ground that administers users at the place and passes the test, if there is one.
fn rest(
    authority: &mut Authority<'_>,
    place: &Place,
    mut test: impl FnMut(&mut Authority<'_>, &DelegationRecord) -> Result<bool>,
) -> Result<bool> {
    for ground in authority.covering(Ability::ManageUsers, place) {
        let Some(delegation) = authority.delegation(ground) else { continue };
        if test(authority, &delegation)? {
            authority.rests_on(ground);
            return Ok(true);
        }
    }
    Ok(false)
}
