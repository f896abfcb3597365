//! History, age, issue and compromise of passwords, each alone and all together against a naive model.

use crate::support::{
    Disk, OTHER, PASSWORD, all, is_live, log_in, patient, refused, sound, user, world, world_with,
};
use portcullis::testing::dump;
use portcullis::{
    AuditKind, ErrorKind, MustChange, NewUser, PasswordPolicy, PasswordProblem, Portcullis, RoleRange, UserId,
};
use proptest::prelude::*;
use std::time::Duration;

const DAY: u64 = 24 * 3600;

fn state(gate: &Portcullis, user: UserId) -> (Option<MustChange>, bool) {
    let state = gate.users().password_state(user).unwrap().unwrap();
    (state.must_change, state.ends.is_some())
}

fn former(gate: &Portcullis) -> usize {
    dump(gate).unwrap().iter().filter(|row| row.table == "former_password").count()
}

#[test]
fn by_default_no_password_ages_and_none_is_remembered() {
    let world = world();
    let ada = world.user("ada").id;
    for password in [OTHER, PASSWORD, PASSWORD] {
        world.gate.users().set_password(ada, password).unwrap();
    }
    assert_eq!(former(&world.gate), 0);
    world.after(10 * 366 * DAY);
    world.login("ada");
    assert_eq!(state(&world.gate, ada), (None, false));
    let none = world.gate.users().create(NewUser::new("none")).unwrap().id;
    assert_eq!(world.gate.users().password_state(none).unwrap(), None);
}

#[test]
fn a_password_past_its_age_must_be_changed() {
    let age = Duration::from_secs(90 * DAY);
    let policy = PasswordPolicy::new().maximum_age(age).unwrap();
    let world = world_with(|builder| builder.password_policy(policy));
    let ada = world.user("ada").id;
    world.after(90 * DAY);
    world.login("ada");
    world.after(1);
    assert_eq!(state(&world.gate, ada), (Some(MustChange::Expired), false));
    assert!(log_in(&world.gate, "ada", PASSWORD).unwrap_err().is_denied());
    let users = world.gate.users();
    let error = users.change_password(ada, PASSWORD, PASSWORD).unwrap_err();
    assert_eq!(error.password_problem(), Some(PasswordProblem::Reused));
    users.change_password(ada, PASSWORD, OTHER).unwrap();
    log_in(&world.gate, "ada", OTHER).unwrap();
}

#[test]
fn what_somebody_else_sets_is_for_one_login_and_ends() {
    let world = world();
    let gate = &world.gate;
    let (admin, ada) = (world.user("admin").id, world.user("ada").id);
    let role = gate.roles().create("admin", []).unwrap();
    gate.roles().assign(admin, role).unwrap();
    let below = gate.roles().create("below", []).unwrap();
    gate.delegations().create(role, RoleRange::Below(below), [portcullis::Ability::ManageUsers]).unwrap();
    for (handle, new) in [(gate.acting_as(admin), "eve"), (gate.delegated(admin), "zoe")] {
        let made = handle.users().create(NewUser::new(new).password(PASSWORD)).unwrap().id;
        assert_eq!(state(gate, made), (Some(MustChange::Issued), true));
        let once = format!("issued by {new} for once");
        handle.users().set_password(ada, &once).unwrap();
        assert_eq!(state(gate, ada), (Some(MustChange::Issued), true));
        assert!(log_in(gate, "ada", &once).unwrap_err().is_denied());
        world.after(DAY - 1);
        let error = gate.users().change_password(ada, &once, &once).unwrap_err();
        assert_eq!(error.password_problem(), Some(PasswordProblem::Reused));
        gate.users().change_password(ada, &once, OTHER).unwrap();
        assert_eq!(state(gate, ada), (None, false));
        log_in(gate, "ada", OTHER).unwrap();
        world.after(1);
        // The other one was not used: it is dead.
        assert!(gate.users().change_password(made, PASSWORD, OTHER).unwrap_err().is_denied());
        assert!(log_in(gate, new, PASSWORD).unwrap_err().is_denied());
        let failures = all(|page| gate.audit().by_kind(AuditKind::LoginFailure, page));
        assert!(failures.last().unwrap().detail.contains("time that is over"));
        // The mark does not revive it, and the application can set another one.
        gate.users().mark_password_compromised(made).unwrap();
        assert_eq!(state(gate, made), (Some(MustChange::Compromised), true));
        assert!(gate.users().change_password(made, PASSWORD, OTHER).unwrap_err().is_denied());
        gate.users().set_password(made, OTHER).unwrap();
        assert_eq!(state(gate, made), (None, false));
        log_in(gate, new, OTHER).unwrap();
    }
    // One's own is one's own.
    gate.acting_as(ada).users().set_password(ada, PASSWORD).unwrap();
    assert_eq!(state(gate, ada), (None, false));
    let policy = PasswordPolicy::new().issued_for(Duration::from_secs(600)).unwrap();
    let world = world_with(|builder| builder.password_policy(policy));
    let (admin, ada) = (world.user("admin").id, world.user("ada").id);
    world.gate.acting_as(admin).users().set_password(ada, OTHER).unwrap();
    world.after(600);
    assert!(world.gate.users().change_password(ada, OTHER, PASSWORD).unwrap_err().is_denied());
}

#[test]
fn a_compromised_password_ends_sessions_and_must_be_changed() {
    let world = world();
    let (gate, ada) = (&world.gate, world.user("ada").id);
    let session = world.login("ada");
    gate.users().mark_password_compromised(ada).unwrap();
    assert!(!is_live(gate, session.token().as_str()));
    assert_eq!(state(gate, ada), (Some(MustChange::Compromised), false));
    assert!(log_in(gate, "ada", PASSWORD).unwrap_err().is_denied());
    let error = gate.users().change_password(ada, PASSWORD, PASSWORD).unwrap_err();
    assert_eq!(error.password_problem(), Some(PasswordProblem::Reused));
    gate.users().change_password(ada, PASSWORD, OTHER).unwrap();
    log_in(gate, "ada", OTHER).unwrap();
    let none = gate.users().create(NewUser::new("none")).unwrap().id;
    refused(gate.users().mark_password_compromised(none), ErrorKind::NotFound, Some("password"));
    sound(gate);
}

#[test]
fn a_mark_that_comes_while_a_password_is_verified_counts() {
    use std::sync::{Arc, Mutex};
    let marked: Arc<Mutex<Option<(Portcullis, UserId)>>> = Arc::default();
    let inside = Arc::clone(&marked);
    let world = world_with(|builder| {
        builder.pause_in_password_hash(move || {
            if let Some((gate, ada)) = inside.lock().unwrap().take() {
                gate.users().mark_password_compromised(ada).unwrap();
            }
        })
    });
    let ada = world.user("ada").id;
    *marked.lock().unwrap() = Some((world.gate.clone(), ada));
    assert!(log_in(&world.gate, "ada", PASSWORD).unwrap_err().is_denied());
    assert!(marked.lock().unwrap().is_none());
}

#[test]
fn history_is_kept_over_a_reopening_and_goes_with_its_user_or_the_setting() {
    let disk = Disk::new();
    let remember = |last| {
        move |builder: portcullis::Builder| {
            builder.password_policy(PasswordPolicy::new().history(last).unwrap())
        }
    };
    let gate = disk.open_with(remember(3)).unwrap();
    let ada = user(&gate, "ada").id;
    let password = |n: usize| format!("the password of number {n}");
    for n in 0..5 {
        gate.users().set_password(ada, &password(n)).unwrap();
    }
    assert_eq!(former(&gate), 2, "with the present one, three");
    gate.close().unwrap();
    let gate = disk.open_with(remember(3)).unwrap();
    for n in [2, 3, 4] {
        for error in [
            gate.users().set_password(ada, &password(n)).unwrap_err(),
            gate.users().change_password(ada, &password(4), &password(n)).unwrap_err(),
        ] {
            assert_eq!(error.password_problem(), Some(PasswordProblem::Reused), "{n}");
        }
    }
    gate.users().set_password(ada, &password(1)).unwrap();
    sound(&gate);
    gate.close().unwrap();
    let gate = disk.open_with(remember(24)).unwrap();
    for n in 10..40 {
        gate.users().set_password(ada, &password(n)).unwrap();
    }
    assert_eq!(former(&gate), 23);
    user(&gate, "bob");
    gate.users().delete(ada).unwrap();
    assert_eq!(former(&gate), 0);
    let bob = gate.users().find("bob").unwrap().unwrap().id;
    gate.users().set_password(bob, OTHER).unwrap();
    gate.close().unwrap();
    let gate = disk.open_with(remember(0)).unwrap();
    gate.users().set_password(bob, PASSWORD).unwrap();
    assert_eq!(former(&gate), 0);
    sound(&gate);
}

#[test]
fn a_history_holds_against_passwords_that_are_set_at_once() {
    let policy = PasswordPolicy::new().history(24).unwrap();
    let world = world_with(|builder| builder.password_policy(policy));
    let ada = world.user("ada").id;
    let done: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let set = |n: &usize| match world
                        .gate
                        .users()
                        .set_password(ada, &format!("one of several, number {n}"))
                    {
                        Ok(()) => true,
                        Err(error) => {
                            let reused = error.password_problem() == Some(PasswordProblem::Reused);
                            assert!(reused || error.kind() == ErrorKind::Conflict, "{error:?}");
                            false
                        }
                    };
                    (0..6).filter(set).count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!((1..=6).contains(&done), "each of six passwords was set once at most, and not {done} times");
    assert_eq!(former(&world.gate), done);
    sound(&world.gate);
}

#[derive(Clone, Debug)]
enum Step {
    Set(usize),
    Issue(usize),
    Change(usize, usize),
    Compromise,
    Login(usize),
    After(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..5_usize).prop_map(Step::Set),
        (0..5_usize).prop_map(Step::Issue),
        (0..5_usize, 0..5_usize).prop_map(|(present, new)| Step::Change(present, new)),
        Just(Step::Compromise),
        (0..5_usize).prop_map(Step::Login),
        (1..40 * 3600_u64).prop_map(Step::After),
    ]
}

/// What a user's password should come to, with nothing but a list.
struct Naive {
    /// Newest last.
    had: Vec<usize>,
    changed: u64,
    issued: bool,
    compromised: bool,
    ends: Option<u64>,
    now: u64,
    history: usize,
    age: Option<u64>,
}

impl Naive {
    fn must_change(&self) -> bool {
        self.issued || self.compromised || self.age.is_some_and(|age| self.now - self.changed > age)
    }

    fn has_ended(&self) -> bool {
        self.ends.is_some_and(|end| self.now >= end)
    }

    fn set(&mut self, new: usize, issued: bool) -> bool {
        let compared = self.history.max(usize::from(self.must_change() || self.has_ended()));
        if self.had.iter().rev().take(compared).any(|had| *had == new) {
            return false;
        }
        self.had.push(new);
        (self.changed, self.issued, self.compromised) = (self.now, issued, false);
        self.ends = issued.then_some(self.now + DAY);
        true
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn passwords_come_to_what_a_naive_model_says(
        history in 0..4_usize,
        days in proptest::option::of(1..4_u64),
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut policy = PasswordPolicy::new().history(history).unwrap();
        if let Some(days) = days {
            policy = policy.maximum_age(Duration::from_secs(days * DAY)).unwrap();
        }
        let world = world_with(|builder| patient(builder).password_policy(policy));
        let admin = world.gate.users().create(NewUser::new("admin")).unwrap().id;
        let password = |n: usize| format!("the password of number {n}");
        let users = world.gate.users();
        let ada = users.create(NewUser::new("ada").password(password(0))).unwrap().id;
        let age = days.map(|days| days * DAY);
        let mut naive = Naive {
            had: vec![0], changed: 0, issued: false, compromised: false, ends: None, now: 0, history, age,
        };
        for step in steps {
            match step {
                Step::Set(new) => {
                    let done = users.set_password(ada, &password(new));
                    prop_assert_eq!(done.is_ok(), naive.set(new, false), "{:?}", done);
                }
                Step::Issue(new) => {
                    let done = world.gate.acting_as(admin).users().set_password(ada, &password(new));
                    prop_assert_eq!(done.is_ok(), naive.set(new, true), "{:?}", done);
                }
                Step::Change(present, new) => {
                    let done = users.change_password(ada, &password(present), &password(new));
                    let known = naive.had.last() == Some(&present) && !naive.has_ended();
                    prop_assert_eq!(done.as_ref().is_err_and(|error| error.is_denied()), !known);
                    prop_assert_eq!(done.is_ok(), known && naive.set(new, false), "{:?}", done);
                }
                Step::Compromise => {
                    users.mark_password_compromised(ada).unwrap();
                    naive.compromised = true;
                }
                Step::Login(with) => {
                    let opens = naive.had.last() == Some(&with) && !naive.has_ended() && !naive.must_change();
                    prop_assert_eq!(log_in(&world.gate, "ada", &password(with)).is_ok(), opens);
                }
                Step::After(seconds) => {
                    world.after(seconds);
                    naive.now += seconds;
                }
            }
            let (must_change, _) = state(&world.gate, ada);
            prop_assert_eq!(must_change.is_some(), naive.must_change());
            prop_assert_eq!(former(&world.gate), (naive.had.len() - 1).min(history.saturating_sub(1)));
        }
        sound(&world.gate);
    }
}
