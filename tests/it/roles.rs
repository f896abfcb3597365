//! What a role gives, to whom, and how soon it is taken back.

use crate::support::{Disk, World, all, backwards, everything, holds, refused, sound, world};
use portcullis::{ErrorKind, NewUser, Permission, Portcullis, RoleChange, RoleId, UserId};
use std::sync::Barrier;

/// A role that grants one permission of its name.
fn role(gate: &Portcullis, name: &str) -> (RoleId, Permission) {
    let permission = gate.permissions().define(name).unwrap();
    (gate.roles().create(name, [permission]).unwrap(), permission)
}

fn plain(gate: &Portcullis, login: &str) -> UserId {
    gate.users().create(NewUser::new(login)).unwrap().id
}

fn check(world: &World, user: UserId, due: &[(Permission, bool)]) {
    for (permission, allowed) in due {
        assert_eq!(holds(&world.gate, user, *permission), *allowed, "{permission}");
    }
}

#[test]
fn chains_and_diamonds_inherit_upwards_only() {
    let world = world();
    let roles = world.gate.roles();
    let [(top, at_top), (left, at_left), (right, at_right), (bottom, at_bottom)] =
        ["top", "left", "right", "bottom"].map(|name| role(&world.gate, name));
    for (role, parent) in [(top, left), (top, right), (left, bottom), (right, bottom)] {
        roles.inherit(role, parent).unwrap();
    }
    let [boss, mate, junior] = ["boss", "mate", "junior"].map(|login| plain(&world.gate, login));
    for (user, role) in [(boss, top), (mate, left), (junior, bottom)] {
        roles.assign(user, role).unwrap();
    }
    check(&world, boss, &[(at_top, true), (at_left, true), (at_right, true), (at_bottom, true)]);
    check(&world, mate, &[(at_top, false), (at_left, true), (at_right, false), (at_bottom, true)]);
    check(&world, junior, &[(at_top, false), (at_left, false), (at_right, false), (at_bottom, true)]);
    roles.disinherit(left, bottom).unwrap();
    check(&world, boss, &[(at_bottom, true)]);
    check(&world, mate, &[(at_left, true), (at_bottom, false)]);
    roles.disinherit(top, right).unwrap();
    check(&world, boss, &[(at_top, true), (at_left, true), (at_right, false), (at_bottom, false)]);
    sound(&world.gate);
}

#[test]
fn a_chain_of_two_thousand_roles_reaches_from_end_to_end() {
    let world = world();
    let roles = world.gate.roles();
    let (bottom, permission) = role(&world.gate, "bottom");
    let mut chain = vec![bottom];
    for step in 1..2000 {
        let next = roles.create(&format!("step {step}"), []).unwrap();
        roles.inherit(next, chain[step - 1]).unwrap();
        chain.push(next);
    }
    let user = plain(&world.gate, "ada");
    roles.assign(user, chain[1999]).unwrap();
    assert!(holds(&world.gate, user, permission));
    refused(roles.inherit(bottom, chain[1999]), ErrorKind::Cycle, Some("parent"));
    roles.disinherit(chain[1000], chain[999]).unwrap();
    assert!(!holds(&world.gate, user, permission));
    roles.inherit(chain[1000], chain[999]).unwrap();
    assert!(holds(&world.gate, user, permission));
    roles.delete(chain[500]).unwrap();
    assert!(!holds(&world.gate, user, permission));
}

#[test]
fn cycles_of_every_length_are_refused() {
    let world = world();
    let roles = world.gate.roles();
    let ids: Vec<RoleId> = (0..5).map(|number| roles.create(&format!("r{number}"), []).unwrap()).collect();
    for pair in ids.windows(2) {
        roles.inherit(pair[0], pair[1]).unwrap();
    }
    let before = everything(&world.gate);
    for senior in 0..5 {
        for junior in 0..=senior {
            refused(roles.inherit(ids[senior], ids[junior]), ErrorKind::Cycle, Some("parent"));
        }
    }
    assert_eq!(everything(&world.gate), before);
    // With an edge taken out the same edge is none.
    roles.disinherit(ids[1], ids[2]).unwrap();
    roles.inherit(ids[4], ids[0]).unwrap();
    sound(&world.gate);
}

#[test]
fn of_two_edges_that_close_a_cycle_together_one_is_refused() {
    let world = world();
    let roles = world.gate.roles();
    for round in 0..200 {
        let [a, b] = ["a", "b"].map(|name| roles.create(&format!("{name}{round}"), []).unwrap());
        let barrier = Barrier::new(2);
        let edge = |role, parent| {
            barrier.wait();
            world.gate.roles().inherit(role, parent)
        };
        let results = std::thread::scope(|scope| {
            let (one, two) = (scope.spawn(|| edge(a, b)), scope.spawn(|| edge(b, a)));
            [one.join().unwrap(), two.join().unwrap()]
        });
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
        for error in results.into_iter().filter_map(Result::err) {
            assert_eq!(error.kind(), ErrorKind::Cycle);
        }
    }
    sound(&world.gate);
}

#[test]
fn every_change_is_seen_by_the_very_next_check() {
    let world = world();
    let (roles, ada) = (world.gate.roles(), world.user("ada").id);
    let login = world.login("ada");
    let who = world.gate.authenticate(login.token()).unwrap();
    let (reader, read) = role(&world.gate, "read");
    let (writer, write) = role(&world.gate, "write");
    let sees = |due: [bool; 2]| {
        for (permission, due) in [read, write].into_iter().zip(due) {
            assert_eq!(who.can(permission), due);
            assert_eq!(holds(&world.gate, ada, permission), due);
        }
        assert_eq!(who.can_all(&[read, write].into_iter().collect()), due == [true; 2]);
    };
    sees([false, false]);
    roles.assign(ada, reader).unwrap();
    sees([true, false]);
    roles.inherit(reader, writer).unwrap();
    sees([true, true]);
    roles.withdraw(writer, [write]).unwrap();
    sees([true, false]);
    roles.grant(writer, [write]).unwrap();
    sees([true, true]);
    roles.disinherit(reader, writer).unwrap();
    sees([true, false]);
    roles.assign(ada, writer).unwrap();
    sees([true, true]);
    roles.unassign(ada, writer).unwrap();
    sees([true, false]);
    roles.grant(reader, [write]).unwrap();
    sees([true, true]);
    world.gate.permissions().delete(read).unwrap();
    sees([false, true]);
    roles.delete(reader).unwrap();
    sees([false, false]);
    sound(&world.gate);
}

#[test]
fn what_is_made_again_under_an_old_name_inherits_nothing() {
    let world = world();
    let (roles, users) = (world.gate.roles(), world.gate.users());
    let (reader, read) = role(&world.gate, "read");
    let senior = roles.create("senior", []).unwrap();
    roles.inherit(senior, reader).unwrap();
    let [ada, bob] = ["ada", "bob"].map(|login| world.user(login).id);
    roles.assign(ada, reader).unwrap();
    roles.assign(bob, senior).unwrap();
    let login = world.login("ada");

    users.delete(ada).unwrap();
    let again = world.user("ada").id;
    assert!(again > ada);
    check(&world, again, &[(read, false)]);
    check(&world, ada, &[(read, false)]);
    assert!(!crate::support::is_live(&world.gate, login.token().as_str()));
    assert!(all(|page| roles.of_user(again, page)).is_empty());
    assert!(all(|page| users.contacts(again, page)).is_empty());
    refused(roles.of_user(ada, &portcullis::PageRequest::first(1)), ErrorKind::NotFound, Some("user"));

    roles.assign(again, reader).unwrap();
    roles.delete(reader).unwrap();
    let reborn = roles.create("read", []).unwrap();
    assert!(reborn > reader);
    assert!(roles.granted(reborn).unwrap().is_empty());
    assert!(all(|page| roles.holders(reborn, page)).is_empty());
    roles.grant(reborn, [read]).unwrap();
    check(&world, again, &[(read, false)]);
    check(&world, bob, &[(read, false)]);
    assert!(roles.get(senior).unwrap().parents.is_empty(), "the edge went with the role");

    roles.assign(again, reborn).unwrap();
    check(&world, again, &[(read, true)]);
    world.gate.permissions().delete(read).unwrap();
    let renewed = world.gate.permissions().define("read").unwrap();
    assert_ne!(renewed, read);
    check(&world, again, &[(read, false), (renewed, false)]);
    assert!(roles.granted(reborn).unwrap().is_empty());
    sound(&world.gate);
}

#[test]
fn a_role_may_grant_thousands_of_permissions_at_once() {
    let world = world();
    let names: Vec<String> = (0..9000).map(|number| format!("permission:{number}")).collect();
    let bits = world.gate.permissions().define_many(names.iter().map(String::as_str)).unwrap();
    let role = world.gate.roles().create("all", bits[..1500].iter().copied()).unwrap();
    world.gate.roles().grant(role, bits[8000..].iter().copied()).unwrap();
    let user = plain(&world.gate, "ada");
    world.gate.roles().assign(user, role).unwrap();
    for (place, bit) in bits.iter().enumerate() {
        assert_eq!(holds(&world.gate, user, *bit), !(1500..8000).contains(&place), "{place}");
    }
    assert_eq!(world.gate.roles().granted(role).unwrap().len(), 2500);
    world.gate.roles().withdraw(role, bits[..8500].iter().copied()).unwrap();
    assert!(!holds(&world.gate, user, bits[8499]) && holds(&world.gate, user, bits[8500]));
    sound(&world.gate);
}

#[test]
fn defining_many_is_defining_each() {
    let world = world();
    let permissions = world.gate.permissions();
    let old = permissions.define("n:7").unwrap();
    let names: Vec<String> = (0..100).map(|number| format!("n:{}", number % 60)).collect();
    let bits = permissions.define_many(names.iter().map(String::as_str)).unwrap();
    assert_eq!(bits[7], old);
    for (name, bit) in names.iter().zip(&bits) {
        assert_eq!(permissions.find(name).unwrap().unwrap().permission, *bit);
        assert_eq!(permissions.define(name).unwrap(), *bit);
    }
    let listed = all(|page| permissions.list(page));
    assert_eq!(listed.len(), 60);
    assert!(listed.is_sorted_by_key(|info| info.permission));
    let reversed = backwards(|page| permissions.list(page));
    assert!(reversed.iter().rev().eq(&listed));
}

#[test]
fn a_role_is_assigned_to_many_in_groups_and_to_nobody_twice() {
    let world = world();
    let (reader, read) = role(&world.gate, "read");
    let made = world.gate.users().create_many((0..40).map(|n| NewUser::new(format!("u{n}")))).unwrap();
    let ids: Vec<UserId> = made.iter().map(|user| user.id).collect();
    world.gate.roles().assign_many(reader, ids[..35].iter().copied()).unwrap();
    let held: Vec<UserId> =
        all(|page| world.gate.roles().holders(reader, page)).iter().map(|a| a.user).collect();
    assert_eq!(held, ids[..35]);
    assert_eq!(ids.iter().filter(|id| holds(&world.gate, **id, read)).count(), 35);
    let before = everything(&world.gate);
    let twice = world.gate.roles().assign_many(reader, [ids[36], ids[36]]);
    refused(twice, ErrorKind::AlreadyExists, Some("user"));
    refused(
        world.gate.roles().assign_many(reader, [ids[36], ids[3]]),
        ErrorKind::AlreadyExists,
        Some("role"),
    );
    assert_eq!(everything(&world.gate), before);
    let acting = world.gate.acting_as(ids[0]);
    acting.roles().assign(ids[36], reader).unwrap();
    let given = all(|page| world.gate.roles().of_user(ids[36], page)).pop().unwrap();
    assert_eq!((given.by, given.role), (Some(ids[0]), reader));
}

#[test]
fn refused_changes_leave_no_trace() {
    let world = world();
    let (roles, permissions) = (world.gate.roles(), world.gate.permissions());
    let ada = world.user("ada").id;
    let (reader, read) = role(&world.gate, "read");
    let writer = roles.create("write", []).unwrap();
    roles.assign(ada, reader).unwrap();
    roles.inherit(writer, reader).unwrap();
    let stale = roles.get(writer).unwrap().stamp;
    roles.update(writer, RoleChange::new().description("writes")).unwrap();
    let (nobody, no_role) = (UserId::from_number(9999), RoleId::from_number(9999));
    let undefined = Permission::from_bit(77);
    let before = everything(&world.gate);
    use ErrorKind::{AlreadyExists, Conflict, NotFound};
    for (result, kind, field) in [
        (roles.assign(ada, reader), AlreadyExists, "role"),
        (roles.assign(nobody, reader), NotFound, "user"),
        (roles.assign(ada, no_role), NotFound, "role"),
        (roles.unassign(ada, writer), NotFound, "role"),
        (roles.unassign(nobody, reader), NotFound, "role"),
        (roles.create("read", []).map(drop), AlreadyExists, "role.name"),
        (roles.create("x", [undefined]).map(drop), NotFound, "permission"),
        (roles.create("x", [Permission::from_bit(u32::MAX)]).map(drop), NotFound, "permission"),
        (roles.grant(reader, [undefined]), NotFound, "permission"),
        (roles.grant(no_role, [read]), NotFound, "role"),
        (roles.withdraw(no_role, [read]), NotFound, "role"),
        (roles.inherit(writer, reader), AlreadyExists, "parent"),
        (roles.inherit(no_role, reader), NotFound, "role"),
        (roles.inherit(reader, no_role), NotFound, "role"),
        (roles.disinherit(reader, writer), NotFound, "parent"),
        (roles.delete(no_role), NotFound, "role"),
        (roles.granted(no_role).map(drop), NotFound, "role"),
        (roles.update(writer, RoleChange::new().name("read")).map(drop), AlreadyExists, "role.name"),
        (roles.update(writer, RoleChange::new().expect(stale).name("x")).map(drop), Conflict, "stamp"),
        (roles.update(no_role, RoleChange::new().name("x")).map(drop), NotFound, "role"),
        (permissions.delete(undefined), NotFound, "permission"),
        (permissions.get(undefined).map(drop), NotFound, "permission"),
    ] {
        refused(result, kind, Some(field));
    }
    assert_eq!(everything(&world.gate), before);
    // What is no change is no error, and writes nothing.
    roles.grant(reader, [read]).unwrap();
    roles.withdraw(writer, [read]).unwrap();
    roles.withdraw(reader, [Permission::from_bit(u32::MAX)]).unwrap();
    assert_eq!(permissions.define("read").unwrap(), read);
    assert_eq!(everything(&world.gate), before);
    sound(&world.gate);
}

#[test]
fn a_role_takes_128_parents_and_no_more() {
    let world = world();
    let roles = world.gate.roles();
    let heir = roles.create("heir", []).unwrap();
    let (last, permission) = role(&world.gate, "last");
    for number in 0..127 {
        let parent = roles.create(&format!("parent {number}"), []).unwrap();
        roles.inherit(heir, parent).unwrap();
    }
    roles.inherit(heir, last).unwrap();
    let one_more = roles.create("one more", []).unwrap();
    refused(roles.inherit(heir, one_more), ErrorKind::LimitExceeded, Some("parent"));
    let user = plain(&world.gate, "ada");
    roles.assign(user, heir).unwrap();
    assert!(holds(&world.gate, user, permission));
    assert_eq!(roles.get(heir).unwrap().parents.len(), 128);
    // Deleting it takes as many index rows with it.
    roles.delete(heir).unwrap();
    sound(&world.gate);
}

#[test]
fn everything_is_as_it_was_after_a_restart() {
    let disk = Disk::new();
    let gate = disk.open();
    let (reader, read) = role(&gate, "read");
    let (writer, write) = role(&gate, "write");
    gate.roles().inherit(writer, reader).unwrap();
    let [ada, bob] = ["ada", "bob"].map(|login| crate::support::user(&gate, login).id);
    gate.roles().assign(ada, writer).unwrap();
    gate.roles().assign(bob, reader).unwrap();
    gate.users().delete(bob).unwrap();
    crate::support::log_in(&gate, "ada", crate::support::PASSWORD).unwrap();
    let before = everything(&gate);
    gate.close().unwrap();
    drop(gate);
    let gate = disk.open();
    assert_eq!(everything(&gate), before);
    assert!(holds(&gate, ada, read) && holds(&gate, ada, write) && !holds(&gate, bob, read));
    let next = gate.roles().create("next", []).unwrap();
    assert!(next > writer);
    assert!(crate::support::user(&gate, "bob").id > bob);
    sound(&gate);
}

#[test]
fn a_chain_of_ten_thousand_roles_and_layers_of_diamonds_are_linked_and_refused_as_any_other() {
    let world = world();
    let (gate, roles) = (&world.gate, world.gate.roles());
    let read = gate.permissions().define("read").unwrap();
    // Half of it grows upwards, half downwards.
    let middle = roles.create("middle", []).unwrap();
    let (mut top, mut bottom) = (middle, middle);
    for n in 0..5000 {
        let [above, below] = ["above", "below"].map(|word| roles.create(&format!("{word}{n}"), []).unwrap());
        roles.inherit(above, top).unwrap();
        roles.inherit(bottom, below).unwrap();
        (top, bottom) = (above, below);
    }
    roles.grant(bottom, [read]).unwrap();
    refused(roles.inherit(bottom, top), ErrorKind::Cycle, Some("parent"));
    // Twenty layers of two, each of which inherits from both below: a million ways down.
    let mut layer = [top, top];
    for n in 0..20 {
        let next = ["left", "right"].map(|word| roles.create(&format!("{word}{n}"), []).unwrap());
        for role in next {
            roles.inherit(role, layer[0]).unwrap();
            if layer[0] != layer[1] {
                roles.inherit(role, layer[1]).unwrap();
            }
        }
        layer = next;
    }
    refused(roles.inherit(bottom, layer[0]), ErrorKind::Cycle, Some("parent"));
    let ada = world.user("ada").id;
    roles.assign(ada, layer[0]).unwrap();
    assert!(holds(gate, ada, read));
    roles.delete(middle).unwrap();
    assert!(!holds(gate, ada, read));
}
