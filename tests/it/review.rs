//! Who can, what can, where, why, and what if.

use crate::support::{World, all, later, log_in, refused, sound, world};
use portcullis::testing::dump;
use portcullis::{
    AuditKind, Client, Clock, Credentials, Effect, ErrorKind, Finding, Grant, PageRequest, Permission,
    PermissionSet, Portcullis, RoleChange, RoleId, ScopeId, Standing, Status, UserId, WhatIf,
};
use std::collections::BTreeSet;
use std::time::Duration;

struct Stage {
    world: World,
    read: Permission,
    write: Permission,
    viewer: RoleId,
    editor: RoleId,
    users: Vec<UserId>,
    acme: ScopeId,
    doc: ScopeId,
}

/// An editor is a viewer who can write.
fn stage() -> Stage {
    let world = world();
    let gate = &world.gate;
    let [read, write] = ["doc:read", "doc:write"].map(|name| gate.permissions().define(name).unwrap());
    let viewer = gate.roles().create("viewer", [read]).unwrap();
    let editor = gate.roles().create("editor", [write]).unwrap();
    gate.roles().inherit(editor, viewer).unwrap();
    let users = (0..5).map(|n| world.user(&format!("u{n}")).id).collect();
    let [acme, doc] = ["acme", "acme/doc"].map(|path| gate.scopes().ensure(path).unwrap());
    Stage { read, write, viewer, editor, users, acme, doc, world }
}

fn who(gate: &Portcullis, permission: Permission, scope: ScopeId) -> BTreeSet<UserId> {
    let found = all(|page| gate.review().who_can(permission, scope, page));
    let set: BTreeSet<UserId> = found.iter().copied().collect();
    assert_eq!(set.len(), found.len(), "each user once: {found:?}");
    set
}

#[test]
fn who_can_finds_each_user_once_by_whatever_way() {
    let Stage { world, read, viewer, editor, users, acme, doc, .. } = stage();
    let (gate, roles) = (&world.gate, world.gate.roles());
    roles.assign(users[0], viewer).unwrap();
    roles.assign(users[0], editor).unwrap();
    roles.assign_with(users[0], viewer, &Grant::new().at(doc)).unwrap();
    roles.assign_with(users[1], editor, &Grant::new().at(acme)).unwrap();
    gate.access().grant(users[2], read, &Grant::new().at(doc)).unwrap();
    gate.access().grant(users[2], read, &Grant::new().at(acme)).unwrap();
    roles.assign(users[3], viewer).unwrap();
    gate.access().grant(users[3], read, &Grant::new().at(acme).denying()).unwrap();
    roles.assign(users[4], viewer).unwrap();
    let of = |places: &[usize]| places.iter().map(|n| users[*n]).collect::<BTreeSet<_>>();
    assert_eq!(who(gate, read, doc), of(&[0, 1, 2, 4]));
    assert_eq!(who(gate, read, ScopeId::ROOT), of(&[0, 3, 4]));
    gate.users().set_status(users[4], Status::disabled("gone")).unwrap();
    assert_eq!(who(gate, read, doc), of(&[0, 1, 2]));
    let one = PageRequest::first(1);
    let first = gate.review().who_can(read, doc, &one).unwrap();
    refused(
        gate.review().who_can(read, acme, &one.clone().after(first.next)),
        ErrorKind::InvalidInput,
        Some("cursor"),
    );
    refused(gate.review().who_can(read, doc, &one.descending()), ErrorKind::InvalidInput, Some("page"));
    let nowhere = ScopeId::from_number(99);
    refused(
        gate.review().who_can(read, nowhere, &PageRequest::default()),
        ErrorKind::NotFound,
        Some("scope"),
    );
    assert!(gate.review().what_can(users[1], doc).unwrap().contains(read));
    assert_eq!(all(|page| gate.review().where_can(users[2], read, page)).len(), 2);
}

#[test]
fn an_explanation_names_the_path_and_the_audit_record_of_each_link() {
    let Stage { world, read, viewer, editor, users, acme, doc, .. } = stage();
    let gate = &world.gate;
    gate.roles().assign_with(users[0], editor, &Grant::new().at(acme).because("hired")).unwrap();
    let why = gate.review().explain(users[0], read, doc).unwrap();
    assert!(why.decision.is_allowed() && why.findings.is_empty() && why.would_give.is_empty());
    let link = why.deciding().next().unwrap();
    assert_eq!(
        (link.roles.as_slice(), link.scope, link.standing),
        (&[editor, viewer][..], acme, Standing::Holds)
    );
    let kinds: Vec<AuditKind> = link.records.iter().map(|record| record.as_ref().unwrap().kind).collect();
    assert_eq!(kinds, [AuditKind::RoleAssigned, AuditKind::RoleInherited, AuditKind::RoleCreated]);
    let text = why.to_string();
    for named in
        ["user 0 (u0)", "(doc:read)", "(acme/doc)", "role 1 (editor), which inherits from role 0 (viewer)"]
    {
        assert!(text.contains(named), "{named} in {text}");
    }

    // A denial decides, and is named first.
    gate.roles().deny(viewer, [read]).unwrap();
    let why = gate.review().explain(users[0], read, doc).unwrap();
    assert!(!why.decision.is_allowed());
    let link = &why.links[0];
    assert_eq!((link.effect, link.standing), (Effect::Deny, Standing::Holds));
    assert_eq!(link.records.last().unwrap().as_ref().unwrap().kind, AuditKind::RoleDenied);
    assert_eq!(why.deciding().count(), 1);
    // Its senior denies it with it: nothing would give it.
    assert!(why.would_give.is_empty());
}

#[test]
fn an_explanation_finds_the_records_of_privileged_roles_and_of_their_heirs() {
    let Stage { world, read, write, viewer, editor, users, acme, doc } = stage();
    let gate = &world.gate;
    gate.roles().update(viewer, RoleChange::new().privileged(true)).unwrap();
    let top = gate.roles().create_ascendant("top", [], editor).unwrap();
    gate.roles().grant(viewer, [write]).unwrap();
    gate.roles().assign_with(users[0], top, &Grant::new().at(acme)).unwrap();
    let until = later(world.clock.now(), 60);
    gate.roles().assign_with(users[1], viewer, &Grant::break_glass("fire", until)).unwrap();
    for (user, permission) in [(users[0], read), (users[0], write), (users[1], read), (users[1], write)] {
        let why = gate.review().explain(user, permission, doc).unwrap();
        assert!(why.decision.is_allowed());
        for link in &why.links {
            assert!(link.records.iter().all(Option::is_some), "{user} {permission}: {why}");
        }
    }
    gate.roles().deny(viewer, [read]).unwrap();
    let why = gate.review().explain(users[0], read, doc).unwrap();
    assert!(why.links[0].records.iter().all(Option::is_some), "{why}");
    assert!(why.would_give.is_empty() && why.to_string().contains("must go before"), "{why}");
    let why = gate.review().explain(users[2], read, doc).unwrap();
    assert!(why.to_string().contains("nothing that counts here gives it"), "{why}");
}

#[test]
fn an_explanation_of_a_denial_says_what_is_missing() {
    let Stage { world, read, write, viewer, editor, users, acme, doc } = stage();
    let (gate, now) = (&world.gate, world.clock.now());
    let terms = Grant::new().at(acme).not_before(later(now, 60)).until(later(now, 120));
    gate.roles().assign_with(users[0], viewer, &terms).unwrap();
    let other = gate.scopes().ensure("umbrella").unwrap();
    gate.access().grant(users[0], read, &Grant::new().at(other)).unwrap();
    let standings = |gate: &Portcullis| -> BTreeSet<String> {
        let why = gate.review().explain(users[0], read, doc).unwrap();
        why.links.iter().map(|link| format!("{:?}", link.standing)).collect()
    };
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(standings(gate), set(&["NotBegun", "Elsewhere"]));
    world.after(120);
    assert_eq!(standings(gate), set(&["Ended", "Elsewhere"]));
    let why = gate.review().explain(users[0], write, doc).unwrap();
    assert_eq!(why.would_give, [editor]);
    let tenants = gate.roles().create_in(acme, "own", [write]).unwrap();
    gate.roles().create_in(other, "foreign", [write]).unwrap();
    let why = gate.review().explain(users[0], write, doc).unwrap();
    assert_eq!(why.would_give, [editor, tenants]);

    gate.users().set_status(users[0], Status::disabled("gone")).unwrap();
    let why = gate.review().explain(users[0], read, other).unwrap();
    assert!(matches!(why.findings[..], [Finding::NotActive(_)]) && !why.decision.is_allowed());
    let (nobody, nowhere) = (UserId::from_number(99), ScopeId::from_number(99));
    let why = gate.review().explain(nobody, Permission::from_bit(77), nowhere).unwrap();
    assert_eq!(why.findings, [Finding::NoUser, Finding::NoScope, Finding::NoPermission]);
    assert!(!why.to_string().is_empty());
}

#[test]
fn what_if_tells_who_would_lose_what_and_writes_nothing() {
    let Stage { world, read, write, viewer, editor, users, acme, doc } = stage();
    let (gate, roles) = (&world.gate, world.gate.roles());
    roles.assign(users[0], viewer).unwrap();
    roles.assign_with(users[1], editor, &Grant::new().at(acme)).unwrap();
    roles.assign_with(users[2], viewer, &Grant::new().at(doc)).unwrap();
    gate.access().grant(users[2], read, &Grant::new().at(doc)).unwrap();
    let before = dump(gate).unwrap();
    let set = |bits: &[Permission]| bits.iter().copied().collect::<PermissionSet>();
    let impact = |change: &WhatIf| {
        let found = all(|page| gate.review().what_if(change, page));
        found.into_iter().map(|i| (i.user, i.scope, i.loses, i.gains)).collect::<Vec<_>>()
    };
    let none = PermissionSet::new();
    let expected = vec![
        (users[0], ScopeId::ROOT, set(&[read]), none.clone()),
        (users[1], acme, set(&[read]), none.clone()),
    ];
    assert_eq!(impact(&WhatIf::Delete(viewer)), expected);
    assert_eq!(impact(&WhatIf::Withdraw(viewer, set(&[read]))), expected);
    assert_eq!(impact(&WhatIf::Disinherit(editor, viewer)), expected[1..]);
    assert_eq!(impact(&WhatIf::Deny(viewer, set(&[read]))).len(), 3);
    let gains =
        vec![(users[0], ScopeId::ROOT, none.clone(), set(&[write])), (users[2], doc, none, set(&[write]))];
    assert_eq!(impact(&WhatIf::Grant(viewer, set(&[write]))), gains);
    refused(
        gate.review().what_if(&WhatIf::Inherit(viewer, editor), &PageRequest::default()),
        ErrorKind::Cycle,
        Some("parent"),
    );
    refused(
        gate.review().what_if(&WhatIf::Delete(RoleId::from_number(9)), &PageRequest::default()),
        ErrorKind::NotFound,
        Some("role"),
    );
    assert_eq!(dump(gate).unwrap(), before);
    sound(gate);
}

#[test]
fn roles_that_nobody_has_used_are_found() {
    let Stage { world, viewer, editor, users, .. } = stage();
    let (gate, roles) = (&world.gate, world.gate.roles());
    let spare = roles.create("spare", []).unwrap();
    roles.assign(users[0], editor).unwrap();
    roles.assign(users[1], spare).unwrap();
    let day = Duration::from_secs(86_400);
    let unused = |gate: &Portcullis, days: u32| -> Vec<(RoleId, usize)> {
        let found = all(|page| gate.review().unused_roles(day * days, page));
        found.into_iter().map(|unused| (unused.role.id, unused.assignments)).collect()
    };
    assert!(unused(gate, 30).is_empty(), "they are too young");
    world.after(40 * 86_400);
    assert_eq!(unused(gate, 30), [(viewer, 1), (editor, 1), (spare, 1)]);
    gate.login(&Credentials::password("u0", crate::support::PASSWORD), &Client::new()).unwrap();
    // A holder of the senior role uses the junior one, too.
    assert_eq!(unused(gate, 30), [(spare, 1)]);
    world.after(20 * 86_400);
    assert_eq!(unused(gate, 30), [(spare, 1)]);
    // What others try under the user's name does not hide when the user was there.
    while gate.maintain(1000).unwrap().more {}
    for _ in 0..300 {
        log_in(gate, "u0", "a wrong password, but a long one").unwrap_err();
    }
    assert_eq!(unused(gate, 30), [(spare, 1)]);
    world.after(20 * 86_400);
    let found = all(|page| gate.review().unused_roles(day * 30, page));
    assert!(found.iter().any(|unused| unused.role.id == editor && unused.last_used.is_some()));
}
