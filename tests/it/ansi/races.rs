//! Separation of duty with many threads at once.

use super::cases::select;
use crate::support::{Disk, PASSWORD, log_in, sound, user};
use portcullis::{ErrorKind, NewUser, Result, RoleId, ScopeId, SeparationKind};
use std::sync::Barrier;

#[test]
fn who_judges_comes_through_while_others_log_in_and_assign() {
    let disk = Disk::new();
    let gate = disk.open();
    let [a, b, c] = ["a", "b", "c"].map(|name| gate.roles().create(name, []).unwrap());
    gate.separation().create(SeparationKind::Static, "always", [a, b], 2).unwrap();
    gate.separation().create(SeparationKind::Dynamic, "at once", [a, b], 2).unwrap();
    for n in 0..4 {
        user(&gate, &format!("u{n}"));
    }
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for n in 0..4 {
            let (gate, done) = (&gate, &done);
            scope.spawn(move || {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    log_in(gate, &format!("u{n}"), PASSWORD).unwrap();
                }
            });
        }
        let judge = || -> Result<()> {
            for n in 0..8 {
                let ada = gate.users().create(NewUser::new(format!("ada{n}")))?.id;
                gate.roles().assign(ada, a)?;
                gate.roles().assign(ada, c)?;
            }
            gate.roles().inherit(c, a)?;
            gate.separation().create(SeparationKind::Dynamic, "more", [b, c], 2).map(drop)
        };
        let judged = judge();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        judged.unwrap();
    });
    sound(&gate);
}

/// Runs both at once, many times over; one of them, and one only, is to be done.
fn one_of_two(rounds: usize, round: impl Fn(usize) -> [Box<dyn FnOnce() -> Result<()> + Send>; 2]) {
    for n in 0..rounds {
        let [one, two] = round(n);
        let barrier = &Barrier::new(2);
        let done: Vec<Result<()>> = std::thread::scope(|scope| {
            let run = |act: Box<dyn FnOnce() -> Result<()> + Send>| {
                scope.spawn(move || {
                    barrier.wait();
                    act()
                })
            };
            [run(one), run(two)].map(|thread| thread.join().unwrap()).into()
        });
        assert_eq!(done.iter().filter(|one| one.is_ok()).count(), 1, "{done:?}");
        for error in done.into_iter().filter_map(Result::err) {
            assert_eq!(error.kind(), ErrorKind::SeparationOfDuty, "{error:?}");
        }
    }
}

#[test]
fn two_changes_that_break_a_separation_only_together_do_not_both_succeed() {
    let disk = Disk::new();
    let gate = disk.open();
    let roles: Vec<RoleId> =
        ["a", "b", "top"].iter().map(|name| gate.roles().create(name, []).unwrap()).collect();
    let (a, b, top) = (roles[0], roles[1], roles[2]);
    gate.roles().inherit(top, b).unwrap();
    let set = gate.separation().create(SeparationKind::Static, "always", [a, b], 2).unwrap();
    let fresh = |n: usize, what: &str| gate.users().create(NewUser::new(format!("{what}{n}"))).unwrap().id;
    one_of_two(40, |n| {
        let (user, one, two) = (fresh(n, "roles"), gate.clone(), gate.clone());
        [Box::new(move || one.roles().assign(user, a)), Box::new(move || two.roles().assign(user, top))]
    });
    // A link against an assignment.
    one_of_two(40, |n| {
        let (user, one, two) = (fresh(n, "link"), gate.clone(), gate.clone());
        let role = gate.roles().create(&format!("r{n}"), []).unwrap();
        gate.roles().assign(user, role).unwrap();
        [Box::new(move || one.roles().inherit(role, b)), Box::new(move || two.roles().assign(user, a))]
    });
    gate.separation().delete(set).unwrap();
    // The making of a set against an assignment, and the first activation against another one.
    one_of_two(40, |n| {
        let (user, one, two) = (fresh(n, "set"), gate.clone(), gate.clone());
        let [x, y] = ["x", "y"].map(|name| gate.roles().create(&format!("{name}{n}"), []).unwrap());
        gate.roles().assign(user, x).unwrap();
        let create = move || one.separation().create(SeparationKind::Static, &format!("s{n}"), [x, y], 2);
        [Box::new(move || create().map(drop)), Box::new(move || two.roles().assign(user, y))]
    });
    gate.separation().create(SeparationKind::Dynamic, "at once", [a, b], 2).unwrap();
    let ada = user(&gate, "ada").id;
    for role in [a, b] {
        gate.roles().assign(ada, role).unwrap();
    }
    one_of_two(40, |_| {
        let session = select(&gate, "ada", &[]).unwrap().session().id;
        let (one, two) = (gate.clone(), gate.clone());
        [
            Box::new(move || one.sessions().activate(session, a)),
            Box::new(move || two.sessions().activate(session, b)),
        ]
    });
    sound(&gate);
}

#[test]
fn a_login_and_an_assignment_at_once_leave_no_session_with_too_much() {
    let disk = Disk::new();
    let gate = disk.open();
    let bits = ["a", "b"].map(|name| gate.permissions().define(name).unwrap());
    let [a, b] = [0, 1].map(|n| gate.roles().create(["a", "b"][n], [bits[n]]).unwrap());
    gate.separation().create(SeparationKind::Dynamic, "at once", [a, b], 2).unwrap();
    for n in 0..40 {
        let ada = user(&gate, &format!("ada{n}")).id;
        gate.roles().assign(ada, a).unwrap();
        let barrier = Barrier::new(2);
        let login = std::thread::scope(|scope| {
            let login = scope.spawn(|| {
                barrier.wait();
                log_in(&gate, &format!("ada{n}"), PASSWORD).unwrap()
            });
            barrier.wait();
            gate.roles().assign(ada, b).unwrap();
            login.join().unwrap()
        });
        let principal = gate.authenticate(login.token()).unwrap();
        let both = bits.iter().copied().collect();
        assert!(!principal.can_all(&both) && !principal.can_all_at(&both, ScopeId::ROOT));
    }
    sound(&gate);
}
