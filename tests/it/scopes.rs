//! Scopes, denials, direct grants, and grants for a time.

use crate::support::{Disk, World, all, holds, later, refused, sound, world};
use portcullis::testing::{StoredRow, dump};
use portcullis::{
    AuditKind, Clock, ErrorKind, Grant, Permission, Portcullis, RoleChange, RoleId, ScopeId, UserId,
};
use std::time::Duration;

struct Stage {
    world: World,
    read: Permission,
    write: Permission,
    viewer: RoleId,
    ada: UserId,
    acme: ScopeId,
    project: ScopeId,
    doc: ScopeId,
}

fn stage() -> Stage {
    let world = world();
    let gate = &world.gate;
    let [read, write] = ["doc:read", "doc:write"].map(|name| gate.permissions().define(name).unwrap());
    let viewer = gate.roles().create("viewer", [read]).unwrap();
    let ada = world.user("ada").id;
    let [acme, project, doc] =
        ["acme", "acme/p42", "acme/p42/d7"].map(|path| gate.scopes().ensure(path).unwrap());
    Stage { read, write, viewer, ada, acme, project, doc, world }
}

#[track_caller]
fn may(gate: &Portcullis, user: UserId, permission: Permission, scope: ScopeId) -> bool {
    gate.check_at(user, permission, scope).unwrap().is_allowed()
}

#[test]
fn what_is_assigned_at_a_scope_holds_there_and_below_and_nowhere_else() {
    let Stage { world, read, viewer, ada, acme, project, doc, .. } = stage();
    let gate = &world.gate;
    let other = gate.scopes().ensure("acme/p43").unwrap();
    let login = world.login("ada");
    gate.roles().assign_with(ada, viewer, &Grant::new().at(project)).unwrap();
    let seen = [ScopeId::ROOT, acme, project, doc, other].map(|scope| may(gate, ada, read, scope));
    assert_eq!(seen, [false, false, true, true, false]);
    let principal = gate.authenticate(login.token()).unwrap();
    assert!(principal.can_at(read, doc) && !principal.can_at(read, acme) && !principal.can(read));
    gate.roles().assign(ada, viewer).unwrap();
    assert!(principal.can_at(read, other) && principal.can(read) && holds(gate, ada, read));
    gate.roles().unassign_at(ada, viewer, project).unwrap();
    gate.roles().unassign(ada, viewer).unwrap();
    assert!(!principal.can_at(read, doc) && !may(gate, ada, read, doc));
    sound(gate);
}

#[test]
fn a_denial_overrides_every_grant_at_its_scope_and_below() {
    let Stage { world, read, write, viewer, ada, acme, project, doc } = stage();
    let (gate, roles) = (&world.gate, world.gate.roles());
    roles.assign(ada, viewer).unwrap();
    // By a role that denies.
    let banned = roles.create("banned", []).unwrap();
    roles.deny(banned, [read]).unwrap();
    roles.assign_with(ada, banned, &Grant::new().at(project)).unwrap();
    let seen =
        |gate: &Portcullis| [ScopeId::ROOT, acme, project, doc].map(|scope| may(gate, ada, read, scope));
    assert_eq!(seen(gate), [true, true, false, false]);
    gate.access().grant(ada, read, &Grant::new().at(doc)).unwrap();
    assert_eq!(seen(gate), [true, true, false, false]);
    roles.lift(banned, [read]).unwrap();
    assert_eq!(seen(gate), [true; 4]);
    // By an assignment that denies.
    roles.unassign_at(ada, banned, project).unwrap();
    roles.assign_with(ada, viewer, &Grant::new().at(acme).denying()).unwrap();
    assert_eq!(seen(gate), [true, false, false, false]);
    roles.unassign_at(ada, viewer, acme).unwrap();
    // On a user, everywhere: the plain check knows it too.
    gate.access().grant(ada, read, &Grant::new().denying()).unwrap();
    assert_eq!(seen(gate), [false; 4]);
    assert!(!holds(gate, ada, read));
    assert!(gate.users().permissions(ada).unwrap().is_empty());
    gate.access().withdraw(ada, read, ScopeId::ROOT).unwrap();
    // Through inheritance, and for one permission only.
    let senior = roles.create("senior", [write, read]).unwrap();
    roles.deny(viewer, [write]).unwrap();
    roles.inherit(senior, viewer).unwrap();
    roles.assign(ada, senior).unwrap();
    assert!(holds(gate, ada, read) && !holds(gate, ada, write));
    assert_eq!(roles.effective(senior).unwrap(), [read].into_iter().collect());
    sound(gate);
}

#[test]
fn a_grant_begins_and_ends_by_itself_at_the_exact_second() {
    let Stage { world, read, viewer, ada, project, doc, .. } = stage();
    let gate = &world.gate;
    let login = world.login("ada");
    let principal = gate.authenticate(login.token()).unwrap();
    let now = world.clock.now();
    let terms = || Grant::new().not_before(later(now, 10)).until(later(now, 20));
    gate.roles().assign_with(ada, viewer, &terms()).unwrap();
    gate.access().grant(ada, read, &terms().at(project)).unwrap();
    let start = now.as_millis();
    for (millis, due) in
        [(0, false), (9_999, false), (10_000, true), (19_999, true), (20_000, false), (15_000, true)]
    {
        world.clock.set(portcullis::Timestamp::from_millis(start + millis));
        // The engine's time does not go back: what is over stays over for this handle, or is true again; never more.
        let seen = [
            principal.can(read),
            principal.can_at(read, doc),
            holds(gate, ada, read),
            may(gate, ada, read, doc),
        ];
        if millis != 15_000 {
            assert_eq!(seen, [due; 4], "after {millis} ms");
        }
    }
    world.clock.set(portcullis::Timestamp::from_millis(start + 21_000));
    assert!(all(|page| gate.roles().of_user(ada, page)).is_empty());
    // One that has ended makes way, and nothing had to be swept for it.
    gate.roles().assign(ada, viewer).unwrap();
    assert!(holds(gate, ada, read));
    assert_eq!(gate.maintain(100).unwrap().ended_grants, 1);
    sound(gate);
}

#[test]
fn bounds_are_rounded_so_that_nothing_lasts_longer_than_it_was_given_for() {
    let Stage { world, read, viewer, ada, .. } = stage();
    let (gate, now) = (&world.gate, world.clock.now());
    let at = |millis: u64| portcullis::Timestamp::from_millis(now.as_millis() + millis);
    gate.roles().assign_with(ada, viewer, &Grant::new().not_before(at(1)).until(at(2999))).unwrap();
    for (millis, due) in [(0, false), (999, false), (1000, true), (1999, true), (2000, false)] {
        world.clock.set(at(millis));
        assert_eq!(holds(gate, ada, read), due, "after {millis} ms");
    }
    for (terms, field) in [
        (Grant::new().until(at(100)), "grant.until"),
        (Grant::new().not_before(at(9000)).until(at(9000)), "grant.from"),
        (Grant::break_glass(" ", at(9000)), "grant.reason"),
        (Grant::break_glass("fire", at(9000)).denying(), "grant"),
        (Grant::new().because("a\nb"), "grant.reason"),
    ] {
        refused(gate.roles().assign_with(ada, viewer, &terms.clone()), ErrorKind::InvalidInput, Some(field));
        refused(gate.access().grant(ada, read, &terms), ErrorKind::InvalidInput, Some(field));
    }
}

#[test]
fn an_emergency_grant_has_a_reason_and_is_marked_in_the_audit_log() {
    let Stage { world, read, viewer, ada, doc, .. } = stage();
    let (gate, now) = (&world.gate, world.clock.now());
    let terms = Grant::break_glass("the site is down, ticket 4711", later(now, 3600)).at(doc);
    gate.roles().assign_with(ada, viewer, &terms).unwrap();
    assert!(may(gate, ada, read, doc));
    let found = all(|page| gate.audit().by_kind(AuditKind::BreakGlass, page));
    assert_eq!(found.len(), 1);
    assert!(found[0].detail.contains("ticket 4711"), "{}", found[0]);
    world.after(3600);
    assert!(!may(gate, ada, read, doc));
}

#[test]
fn a_privileged_role_is_audited_apart() {
    let Stage { world, viewer, ada, .. } = stage();
    let (gate, roles) = (&world.gate, world.gate.roles());
    let role = roles.update(viewer, RoleChange::new().privileged(true)).unwrap();
    assert!(role.privileged);
    roles.assign(ada, viewer).unwrap();
    roles.unassign(ada, viewer).unwrap();
    for kind in [AuditKind::PrivilegedRoleAssigned, AuditKind::PrivilegedRoleUnassigned] {
        assert_eq!(all(|page| gate.audit().by_kind(kind, page)).len(), 1);
    }
    assert!(all(|page| gate.audit().by_kind(AuditKind::RoleAssigned, page)).is_empty());
}

#[test]
fn moving_a_scope_takes_all_that_lies_in_it_along() {
    let Stage { world, read, viewer, ada, acme, project, doc, .. } = stage();
    let (gate, scopes) = (&world.gate, world.gate.scopes());
    let archive = scopes.ensure("acme/archive").unwrap();
    gate.roles().assign_with(ada, viewer, &Grant::new().at(archive)).unwrap();
    assert!(!may(gate, ada, read, doc));
    scopes.move_to(project, archive).unwrap();
    assert!(may(gate, ada, read, doc) && may(gate, ada, read, project));
    assert_eq!(scopes.path(doc).unwrap(), "acme/archive/p42/d7");
    assert_eq!(scopes.find("acme/p42").unwrap(), None);
    // Not into itself, not out of the tenant, not where the name is taken; nothing changes then.
    let other = scopes.ensure("umbrella/x").unwrap();
    scopes.ensure("acme/p42").unwrap();
    let before = dump(gate).unwrap();
    refused(scopes.move_to(project, doc), ErrorKind::Cycle, Some("parent"));
    refused(scopes.move_to(project, project), ErrorKind::Cycle, Some("parent"));
    refused(scopes.move_to(project, other), ErrorKind::InvalidInput, Some("parent"));
    refused(scopes.move_to(project, ScopeId::ROOT), ErrorKind::InvalidInput, Some("parent"));
    refused(scopes.move_to(acme, other), ErrorKind::InvalidInput, Some("scope"));
    refused(scopes.move_to(project, acme), ErrorKind::AlreadyExists, Some("scope.name"));
    refused(scopes.move_to(ScopeId::from_number(999), acme), ErrorKind::NotFound, Some("scope"));
    refused(scopes.create(acme, "a/b"), ErrorKind::InvalidInput, Some("scope.name"));
    refused(scopes.create(acme, "p42"), ErrorKind::AlreadyExists, Some("scope.name"));
    refused(scopes.find("a//b"), ErrorKind::InvalidInput, Some("scope"));
    assert_eq!(dump(gate).unwrap(), before);
    sound(gate);
}

#[test]
fn deleting_a_scope_deletes_all_that_lies_in_it_and_no_number_comes_back() {
    let Stage { world, read, viewer, ada, acme, project, doc, .. } = stage();
    let (gate, scopes) = (&world.gate, world.gate.scopes());
    let editor = gate.roles().create_in(acme, "editor", [read]).unwrap();
    gate.roles().assign(ada, viewer).unwrap();
    gate.roles().assign_with(ada, editor, &Grant::new().at(doc)).unwrap();
    gate.access().grant(ada, read, &Grant::new().at(doc)).unwrap();
    scopes.delete(acme).unwrap();
    for scope in [acme, project, doc] {
        assert!(!may(gate, ada, read, scope), "not even through a role that is held everywhere");
        refused(scopes.get(scope), ErrorKind::NotFound, Some("scope"));
        refused(scopes.create(scope, "x"), ErrorKind::NotFound, Some("scope"));
    }
    while gate.maintain(1000).unwrap().more {}
    refused(gate.roles().get(editor), ErrorKind::NotFound, Some("role"));
    assert_eq!(all(|page| gate.roles().of_user(ada, page)).len(), 1);
    let rows = dump(gate).unwrap().into_iter().filter(|row| {
        row.table.starts_with("access")
            || row.table == "scope"
            || row.table.ends_with("by_scope")
            || row.table == "scope_by_name"
    });
    assert_eq!(rows.count(), 0);
    let again = scopes.ensure("acme/p42/d7").unwrap();
    assert!(again > doc && may(gate, ada, read, again));
    sound(gate);
}

#[test]
fn depth_is_bounded() {
    let Stage { world, read, viewer, ada, doc, .. } = stage();
    let (gate, scopes) = (&world.gate, world.gate.scopes());
    let mut at = doc;
    for level in 4..=32 {
        at = scopes.create(at, &format!("l{level}")).unwrap();
    }
    gate.roles().assign_with(ada, viewer, &Grant::new().at(doc)).unwrap();
    assert!(may(gate, ada, read, at));
    refused(scopes.create(at, "l33"), ErrorKind::LimitExceeded, Some("scope"));
    let room = scopes.ensure("acme/room").unwrap();
    scopes.create(room, "inner").unwrap();
    let inner = scopes.ensure("acme/room/inner").unwrap();
    refused(scopes.move_to(doc, inner), ErrorKind::LimitExceeded, Some("scope"));
    refused(scopes.find(&["x"; 33].join("/")), ErrorKind::LimitExceeded, Some("scope"));
}

/// All rows that name a tenant's scopes or roles by their numbers, or lie under them.
fn rows_of(gate: &Portcullis, tenant: &str) -> Vec<StoredRow> {
    let id = gate.scopes().find(tenant).unwrap().unwrap();
    let roles: Vec<RoleId> =
        all(|page| gate.roles().list_in(id, page)).into_iter().map(|role| role.id).collect();
    dump(gate)
        .unwrap()
        .into_iter()
        .filter(|StoredRow { table, key, .. }| match *table {
            "scope" | "assignment_by_scope" | "access_by_scope" => key.starts_with(&id.get().to_be_bytes()),
            "role" | "role_grant" | "role_deny" | "assignment_by_role" => {
                roles.iter().any(|role| key.starts_with(&role.get().to_be_bytes()))
            }
            _ => false,
        })
        .collect()
}

#[test]
fn tenants_never_meet() {
    let world = world();
    let (gate, roles) = (&world.gate, world.gate.roles());
    let read = gate.permissions().define("doc:read").unwrap();
    let [acme, umbrella] = ["acme", "umbrella"].map(|name| gate.scopes().ensure(name).unwrap());
    let [ada, bob] = ["ada", "bob"].map(|login| world.user(login).id);
    let admin = [acme, umbrella].map(|tenant| roles.create_in(tenant, "admin", [read]).unwrap());
    roles.assign_with(ada, admin[0], &Grant::new().at(acme)).unwrap();
    roles.assign_with(bob, admin[1], &Grant::new().at(umbrella)).unwrap();
    let before = rows_of(gate, "umbrella");
    assert!(before.len() >= 4, "{before:?}");

    // The same name is another role there, and can not cross over.
    assert_ne!(admin[0], admin[1]);
    assert_eq!(roles.find_in(acme, "admin").unwrap().unwrap().id, admin[0]);
    assert_eq!(roles.find("admin").unwrap(), None);
    refused(
        roles.assign_with(ada, admin[0], &Grant::new().at(umbrella)),
        ErrorKind::InvalidInput,
        Some("grant.scope"),
    );
    refused(roles.assign(ada, admin[0]), ErrorKind::InvalidInput, Some("grant.scope"));
    refused(roles.inherit(admin[0], admin[1]), ErrorKind::InvalidInput, Some("parent"));
    let global = roles.create("everyone", [read]).unwrap();
    refused(roles.inherit(global, admin[1]), ErrorKind::InvalidInput, Some("parent"));
    refused(roles.create_in(acme, "admin", []), ErrorKind::AlreadyExists, Some("role.name"));
    let inner = gate.scopes().create(acme, "project").unwrap();
    refused(roles.create_in(inner, "x", []), ErrorKind::InvalidInput, Some("role.scope"));
    assert!(may(gate, ada, read, acme) && !may(gate, ada, read, umbrella) && !may(gate, bob, read, acme));

    // Whatever happens in one leaves the other byte for byte the same.
    roles.withdraw(admin[0], [read]).unwrap();
    roles.deny(admin[0], [read]).unwrap();
    roles.inherit(admin[0], global).unwrap();
    gate.access().grant(ada, read, &Grant::new().at(inner)).unwrap();
    roles.unassign_at(ada, admin[0], acme).unwrap();
    gate.scopes().delete(acme).unwrap();
    while gate.maintain(1000).unwrap().more {}
    assert_eq!(rows_of(gate, "umbrella"), before);
    assert!(may(gate, bob, read, umbrella));
    sound(gate);
}

#[test]
fn everything_holds_after_a_reopening() {
    let disk = Disk::new();
    let gate = disk.open();
    let read = gate.permissions().define("doc:read").unwrap();
    let ada = crate::support::user(&gate, "ada").id;
    let [acme, doc] = ["acme", "acme/doc"].map(|path| gate.scopes().ensure(path).unwrap());
    let role = gate.roles().create_in(acme, "reader", [read]).unwrap();
    let until = later(disk.clock.now(), 60);
    gate.roles().assign_with(ada, role, &Grant::new().at(acme).until(until).because("trial")).unwrap();
    drop(gate);
    let gate = disk.open();
    assert!(may(&gate, ada, read, doc) && !holds(&gate, ada, read));
    let held = all(|page| gate.roles().of_user(ada, page));
    assert_eq!(held[0].terms, Grant::new().at(acme).until(until).because("trial"));
    sound(&gate);
    disk.clock.advance(Duration::from_secs(60));
    assert!(!may(&gate, ada, read, doc));
}
