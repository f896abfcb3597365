//! Protected roles keep a holder at every scope, whatever is done at once, and what is done with privileged ones stands
//! apart in the audit log.

use crate::support::{Disk, all, everything, later, refused, sound, world};
use portcullis::{
    AuditKind, Clock, ErrorKind, Grant, NewUser, Outcome, Portcullis, Result, RoleChange, RoleId, ScopeId,
    Status, Subject, Timestamp, UserId,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

fn protected(gate: &Portcullis, name: &str) -> RoleId {
    let role = gate.roles().create(name, []).unwrap();
    gate.roles().update(role, RoleChange::new().protected(true)).unwrap();
    role
}

fn make(gate: &Portcullis, login: &str) -> UserId {
    gate.users().create(NewUser::new(login)).unwrap().id
}

#[track_caller]
fn kept<T: std::fmt::Debug>(result: Result<T>) -> String {
    refused(result, ErrorKind::LastHolder, Some("role")).to_string()
}

#[test]
fn the_last_holder_keeps_the_role_whatever_is_tried() {
    let world = world();
    let gate = &world.gate;
    let (ada, bob, owner) = (make(gate, "ada"), make(gate, "bob"), protected(gate, "owner"));
    let acme = gate.scopes().ensure("acme").unwrap();
    gate.roles().assign_with(ada, owner, &Grant::new().at(acme)).unwrap();
    // Somebody else holds it elsewhere, above even: that is another place.
    gate.roles().assign(bob, owner).unwrap();
    let before = everything(gate);
    let message = kept(gate.roles().unassign_at(ada, owner, acme));
    assert!(
        message.starts_with(
            "role: user 0 is the last active holder of role 0 (\"owner\"), which is protected, at scope 1 (\"acme\"); \
             first assign it there for good to another active user"
        ),
        "{message}"
    );
    kept(gate.users().delete(ada));
    for status in [Status::disabled("x"), Status::locked("x"), Status::pending()] {
        kept(gate.users().set_status(ada, status));
    }
    let soon = later(world.clock.now(), 60);
    kept(gate.users().set_status(ada, Status::locked("for a minute").until(soon)));
    kept(gate.roles().assign_with(ada, owner, &Grant::new().denying()));
    let deep = gate.scopes().ensure("other/deep").unwrap();
    kept(gate.roles().assign_with(ada, owner, &Grant::new().at(deep).denying()));
    assert!(kept(gate.roles().delete(owner)).contains("take the protection off first"));
    kept(gate.users().delete(bob));
    assert_eq!(everything(gate)[1..], before[1..], "nothing but two scopes was made");

    // A second holder there, and the first one may go.
    gate.roles().assign_with(bob, owner, &Grant::new().at(acme)).unwrap();
    gate.users().set_status(ada, Status::disabled("left")).unwrap();
    kept(gate.roles().unassign_at(bob, owner, acme));
    // Whoever is no holder can lose it.
    gate.roles().unassign_at(ada, owner, acme).unwrap();
    // Where the place is gone nobody is locked out of it.
    gate.scopes().delete(acme).unwrap();
    kept(gate.users().delete(bob)); // the global scope is still there
    gate.roles().update(owner, RoleChange::new().protected(false)).unwrap();
    gate.users().delete(bob).unwrap();
    gate.roles().delete(owner).unwrap();
    sound(gate);
}

#[test]
fn only_who_lasts_and_stands_counts_as_another_holder() {
    let world = world();
    let gate = &world.gate;
    let (ada, owner) = (make(gate, "ada"), protected(gate, "owner"));
    gate.roles().assign(ada, owner).unwrap();
    let soon = later(world.clock.now(), 60);
    let scope = gate.scopes().ensure("acme").unwrap();
    let with = |login: &str, status: Status, terms: &[Grant]| {
        let user = gate.users().create(NewUser::new(login).status(status)).unwrap().id;
        for terms in terms {
            gate.roles().assign_with(user, owner, terms).unwrap();
        }
        user
    };
    let (plain, active) = (Grant::new(), Status::active);
    with("pending", Status::pending(), std::slice::from_ref(&plain));
    let back = with("back", Status::disabled("x").until(soon), std::slice::from_ref(&plain));
    with("ends", active(), &[plain.clone().until(later(soon, 600))]);
    with("fire", active(), &[Grant::break_glass("fire", later(soon, 600))]);
    with("denied", active(), &[plain.clone().denying()]);
    with("elsewhere", active(), &[plain.clone().at(scope)]);
    with("both", active(), &[plain.clone(), plain.clone().at(scope).denying()]);
    with("denied-later", active(), &[plain.clone(), plain.clone().at(scope).denying().not_before(soon)]);
    kept(gate.roles().unassign(ada, owner));
    let begins = with("begins", active(), &[plain.not_before(soon)]);
    kept(gate.roles().unassign(ada, owner));
    world.after(60);
    // Now one is active again, and one has begun.
    gate.roles().unassign(back, owner).unwrap();
    gate.roles().unassign(ada, owner).unwrap();
    kept(gate.roles().unassign(begins, owner));
    // A denial that is lifted, or over, makes a holder again.
    gate.roles().unassign_at(gate.users().find("both").unwrap().unwrap().id, owner, scope).unwrap();
    gate.roles().unassign(begins, owner).unwrap();
    sound(gate);
}

#[test]
fn a_user_with_any_number_of_protected_roles_gets_an_answer() {
    let world = world();
    let gate = &world.gate;
    let (ada, bob) = (make(gate, "ada"), make(gate, "bob"));
    let owner = protected(gate, "owner");
    let plain = gate.roles().create("plain", []).unwrap();
    let scopes: Vec<ScopeId> =
        (0..600).map(|n| gate.scopes().ensure(&format!("tenant{n}")).unwrap()).collect();
    for scope in &scopes {
        gate.roles().assign_with(ada, owner, &Grant::new().at(*scope)).unwrap();
        gate.roles().assign_with(ada, plain, &Grant::new().at(*scope)).unwrap();
    }
    for (nth, scope) in scopes.iter().enumerate() {
        if nth % 200 == 0 {
            kept(gate.users().delete(ada));
        }
        gate.roles().assign_with(bob, owner, &Grant::new().at(*scope)).unwrap();
    }
    gate.users().set_status(ada, Status::disabled("left")).unwrap();
    assert!(kept(gate.users().delete(bob)).contains("tenant0"));
    gate.users().delete(ada).unwrap();
    while gate.maintain(10_000).unwrap().more {}
    assert_eq!(all(|page| gate.roles().holders(owner, page)).len(), 600);
    sound(gate);
}

fn holders(gate: &Portcullis, role: RoleId) -> usize {
    let found = all(|page| gate.roles().holders(role, page));
    found.iter().filter(|held| gate.users().get(held.user).unwrap().status.is_active_at(gate.now())).count()
}

/// Each thread takes the role from everybody in turn, in one of three ways, beginning with its neighbour.
fn everybody_against_everybody(gate: &Portcullis, users: usize, rounds: usize) {
    for round in 0..rounds {
        let role = protected(gate, &format!("owner{round}"));
        let users: Vec<UserId> = (0..users).map(|n| make(gate, &format!("u{round}-{n}"))).collect();
        gate.roles().assign_many(role, users.iter().copied()).unwrap();
        let start = std::sync::Barrier::new(users.len());
        std::thread::scope(|scope| {
            for me in 0..users.len() {
                let (users, start) = (&users, &start);
                scope.spawn(move || {
                    start.wait();
                    for step in 1..users.len() {
                        let victim = users[(me + step) % users.len()];
                        let done = match (me + step) % 3 {
                            0 => gate.roles().unassign(victim, role),
                            1 => gate.users().set_status(victim, Status::disabled("out")).map(drop),
                            _ => gate.users().delete(victim),
                        };
                        if let Err(error) = done {
                            let kind = error.kind();
                            assert!(
                                matches!(
                                    kind,
                                    ErrorKind::LastHolder | ErrorKind::NotFound | ErrorKind::Conflict
                                ),
                                "{error:?}"
                            );
                        }
                    }
                });
            }
        });
        assert_eq!(holders(gate, role), 1, "round {round}");
    }
    sound(gate);
}

#[test]
fn of_sixty_four_who_try_to_remove_each_other_one_is_left() {
    everybody_against_everybody(&world().gate, 64, 3);
    let disk = Disk::new();
    let gate = disk.open();
    everybody_against_everybody(&gate, 64, 1);
    gate.close().unwrap();
    let gate = disk.open();
    let role = gate.roles().find("owner0").unwrap().unwrap().id;
    assert_eq!(holders(&gate, role), 1);
    for held in all(|page| gate.roles().holders(role, page)) {
        if gate.users().get(held.user).unwrap().status.is_active_at(gate.now()) {
            kept(gate.users().delete(held.user));
        }
    }
    sound(&gate);
}

/// Whether terms, in words, have a part; they are not to be read in another way.
fn says(terms: &Grant, part: &str) -> bool {
    format!("{terms:?}").contains(part)
}

/// When an assignment begins that did not begin at once.
type Begins = BTreeMap<(UserId, ScopeId), Timestamp>;

/// A plain count of who holds the role at a scope.
fn naive(gate: &Portcullis, role: RoleId, scope: ScopeId, begins: &Begins) -> usize {
    let held = all(|page| gate.roles().holders(role, page));
    let now = gate.now();
    let denied =
        |user: UserId| held.iter().any(|held| held.user == user && says(&held.terms, "effect: Deny"));
    let lasts = |terms: &Grant| says(terms, &format!("scope: {scope:?},")) && says(terms, "until: None");
    let stands = |user: UserId| gate.users().get(user).unwrap().status.is_active_at(now);
    held.iter()
        .filter(|held| lasts(&held.terms) && !denied(held.user) && stands(held.user))
        .filter(|held| begins.get(&(held.user, scope)).is_none_or(|begin| *begin <= now))
        .count()
}

fn steps(steps: &[[u8; 4]]) {
    let disk = Disk::new();
    let mut gate = disk.open();
    let users: Vec<UserId> = (0..4).map(|n| make(&gate, &format!("u{n}"))).collect();
    let role = protected(&gate, "owner");
    let bit = gate.permissions().define("own").unwrap();
    gate.roles().grant(role, [bit]).unwrap();
    let scopes = [ScopeId::ROOT, gate.scopes().ensure("a").unwrap(), gate.scopes().ensure("b").unwrap()];
    let mut begins = Begins::new();
    for [kind, a, b, c] in steps {
        let (user, scope) = (users[usize::from(*a) % 4], scopes[usize::from(*b) % 3]);
        let held = scopes.map(|scope| naive(&gate, role, scope, &begins));
        let soon = later(disk.clock.now(), u64::from(*c % 4) + 1);
        let refusal = match kind % 10 {
            0..=3 => {
                let terms = match c % 8 {
                    0 => Grant::new().denying(),
                    1 => Grant::new().until(soon),
                    2 => Grant::new().denying().until(soon),
                    3 => Grant::new().not_before(soon),
                    _ => Grant::new(),
                };
                let done = gate.roles().assign_with(user, role, &terms.at(scope));
                match (&done, c % 8) {
                    (Ok(()), 3) => begins.insert((user, scope), soon),
                    (Ok(()), _) => begins.remove(&(user, scope)),
                    _ => None,
                };
                done.err()
            }
            4..=6 => gate.roles().unassign_at(user, role, scope).err(),
            7 => {
                let status = match c % 4 {
                    0 => Status::disabled("x"),
                    1 => Status::locked("x").until(soon),
                    _ => Status::active(),
                };
                gate.users().set_status(user, status).err()
            }
            8 => {
                disk.clock.advance(Duration::from_secs(u64::from(c % 3)));
                None
            }
            _ => {
                drop(gate);
                gate = disk.open();
                None
            }
        };
        let now = scopes.map(|scope| naive(&gate, role, scope, &begins));
        for (was, is) in held.into_iter().zip(now) {
            assert!(was == 0 || is > 0, "{kind} {a} {b} {c}: {held:?} became {now:?}");
        }
        if let Some(error) = refusal
            && error.kind() == ErrorKind::LastHolder
        {
            // Not refused for nothing: one place has one holder, who would have gone.
            assert!(held.contains(&1), "{error}");
            assert_eq!(held, now);
        }
    }
    sound(&gate);
}

#[test]
fn random_removals_agree_with_a_plain_count() {
    let config = proptest::test_runner::Config { failure_persistence: None, ..Default::default() };
    let cases = if config.cases == 256 { 40 } else { config.cases };
    let config = proptest::test_runner::Config { cases, ..config };
    let draws = proptest::collection::vec(any::<[u8; 4]>(), 1..80);
    proptest::test_runner::TestRunner::new(config)
        .run(&draws, |draws| {
            steps(&draws);
            Ok(())
        })
        .unwrap();
}

#[test]
fn what_is_done_with_a_privileged_role_stands_apart() {
    let world = world();
    let gate = &world.gate;
    let roles = gate.roles();
    let ada = make(gate, "ada");
    let bits = gate.permissions().define_many(["read", "write"]).unwrap();
    let root = roles.create("root", [bits[0]]).unwrap();
    let heir = roles.create("heir", []).unwrap();
    let far = roles.create("far", []).unwrap();
    let plain = roles.create("plain", []).unwrap();
    let listed = || -> Vec<(AuditKind, String)> {
        let kinds = AuditKind::PRIVILEGED.iter();
        let mut found: Vec<_> =
            kinds.flat_map(|kind| all(|page| gate.audit().by_kind(*kind, page))).collect();
        found.sort_by_key(|record| record.sequence);
        found.into_iter().map(|record| (record.kind, record.detail)).collect()
    };
    assert!(listed().is_empty());
    roles.update(root, RoleChange::new().privileged(true)).unwrap();
    roles.inherit(heir, root).unwrap();
    roles.inherit(far, heir).unwrap();
    roles.grant(far, [bits[1]]).unwrap();
    roles.deny(root, [bits[1]]).unwrap();
    roles.lift(root, [bits[1]]).unwrap();
    roles.withdraw(far, bits.clone()).unwrap();
    roles.update(heir, RoleChange::new().name("heiress")).unwrap();
    roles.assign(ada, far).unwrap();
    roles.unassign(ada, far).unwrap();
    roles.assign_with(ada, root, &Grant::new().denying()).unwrap();
    roles.unassign(ada, root).unwrap();
    roles.assign_with(ada, heir, &Grant::break_glass("fire", later(world.clock.now(), 60))).unwrap();
    roles.update(heir, RoleChange::new().protected(true).name("h")).unwrap();
    roles.update(heir, RoleChange::new().protected(false)).unwrap();
    roles.disinherit(far, heir).unwrap();
    // No heir any more, and what is done with others is not among it.
    roles.assign(ada, far).unwrap();
    roles.grant(plain, [bits[0]]).unwrap();
    roles.inherit(root, plain).unwrap();
    roles.assign(ada, plain).unwrap();
    roles.update(root, RoleChange::new().privileged(false)).unwrap();
    roles.update(heir, RoleChange::new().privileged(true)).unwrap();
    roles.delete(heir).unwrap();
    roles.delete(root).unwrap();
    use AuditKind as K;
    let due = [
        (K::RoleMarked, "root; now privileged"),
        (K::PrivilegedRoleChanged, "role_inherited"),
        (K::PrivilegedRoleChanged, "role_inherited"),
        (K::PrivilegedRoleChanged, "role_granted: permissions 1"),
        (K::PrivilegedRoleChanged, "role_denied: permissions 1"),
        (K::PrivilegedRoleChanged, "role_denial_lifted: permissions 1"),
        (K::PrivilegedRoleChanged, "role_revoked: permissions 1"),
        (K::PrivilegedRoleChanged, "role_updated: heiress"),
        (K::PrivilegedRoleAssigned, ""),
        (K::PrivilegedRoleUnassigned, ""),
        (K::PrivilegedRoleAssigned, "deny"),
        (K::PrivilegedRoleUnassigned, ""),
        (K::PrivilegedBreakGlass, "until 2026-01-01T00:01:00.000Z because fire"),
        (K::RoleMarked, "h; now protected"),
        (K::RoleMarked, "h; no longer protected"),
        (K::PrivilegedRoleChanged, "role_disinherited"),
        (K::PrivilegedRoleChanged, "role_inherited"),
        (K::RoleMarked, "root; no longer privileged"),
        (K::RoleMarked, "h; now privileged"),
        (K::PrivilegedRoleDeleted, "h"),
    ];
    let found = listed();
    let found: Vec<(AuditKind, &str)> = found.iter().map(|(kind, detail)| (*kind, detail.as_str())).collect();
    assert_eq!(found, due);
    let by_role = all(|page| gate.audit().by_subject(Subject::Role(root), page));
    assert!(by_role.iter().all(|record| record.outcome == Outcome::Success));
    sound(gate);
}
