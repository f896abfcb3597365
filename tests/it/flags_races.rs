//! Threads that ask for a flag while another one turns it on and off, and what is deleted while a rule for it is made.

use crate::login::Hook;
use crate::races::race_on;
use crate::support::{PASSWORD, all, log_in, sound, user, world};
use portcullis::{
    ErrorKind, Flag, FlagChange, FlagState, FlagTarget, Grant, NewUser, Portcullis, RoleId, ScopeId, UserId,
};

const ROUNDS: u64 = 400;

struct Scene {
    gate: Portcullis,
    flag: Flag,
    user: UserId,
    /// Held by the user in the outer scope, by way of another role that inherits from it.
    role: RoleId,
    outer: ScopeId,
    inner: ScopeId,
}

fn scene() -> Scene {
    let gate = world().gate;
    let user = user(&gate, "ada").id;
    let flag = gate.flags().define("checkout").unwrap();
    let [role, held] = ["role", "held"].map(|name| gate.roles().create(name, []).unwrap());
    gate.roles().inherit(held, role).unwrap();
    let inner = gate.scopes().ensure("acme/team/doc").unwrap();
    let outer = gate.scopes().find("acme").unwrap().unwrap();
    // Others with the same roles, so that sets are shared and given back.
    for number in 0..4 {
        let other = gate.users().create(NewUser::new(format!("u{number}"))).unwrap().id;
        gate.roles().assign_with(other, held, &Grant::new().at(outer)).unwrap();
    }
    gate.roles().assign_with(user, held, &Grant::new().at(outer)).unwrap();
    Scene { gate, flag, user, role, outer, inner }
}

/// Turns the flag on and off while two threads ask, by user and by session: after the call has returned nobody sees
/// what was before it.
fn races(change: impl Fn(&Scene, bool) + Sync) {
    for by_session in [false, true] {
        let scene = scene();
        change(&scene, true);
        let login = log_in(&scene.gate, "ada", PASSWORD).unwrap();
        let who = scene.gate.authenticate(login.token()).unwrap();
        let ask = || match by_session {
            true => who.is_enabled_at(scene.flag, scene.inner),
            false => scene.gate.is_enabled_at(scene.flag, scene.user, scene.inner).unwrap(),
        };
        assert!(ask());
        race_on(&scene.gate, ROUNDS, |on| change(&scene, on), ask);
    }
}

fn rule(scene: &Scene, target: FlagTarget, terms: &Grant, on: bool, scope: ScopeId) {
    let flags = scene.gate.flags();
    if on {
        flags.set_rule(scene.flag, target, terms).unwrap();
    } else {
        flags.remove_rule(scene.flag, target, scope).unwrap();
    }
}

#[test]
fn a_state_is_seen_when_it_is_acknowledged() {
    races(|scene, on| {
        scene.gate.flags().set(scene.flag, if on { FlagState::On } else { FlagState::Off }).unwrap();
    });
}

#[test]
fn a_percentage_and_a_default_are_seen_when_they_are_acknowledged() {
    races(|scene, on| scene.gate.flags().set_percentage(scene.flag, u16::from(on) * 10_000).unwrap());
    races(|scene, on| {
        scene.gate.flags().update(scene.flag, FlagChange::new().on_by_default(on)).unwrap();
    });
}

#[test]
fn rules_for_users_roles_and_scopes_are_seen_when_they_are_acknowledged() {
    races(|s, on| {
        rule(s, FlagTarget::User(s.user), &Grant::new().at(s.inner), on, s.inner);
    });
    races(|s, on| rule(s, FlagTarget::Role(s.role), &Grant::new(), on, ScopeId::ROOT));
    races(|s, on| rule(s, FlagTarget::Scope(s.outer), &Grant::new(), on, ScopeId::ROOT));
}

#[test]
fn a_rule_that_turns_it_off_is_seen_when_it_is_acknowledged() {
    races(|scene, on| {
        let flags = scene.gate.flags();
        flags.set(scene.flag, FlagState::Targeted).unwrap();
        flags.update(scene.flag, FlagChange::new().on_by_default(true)).unwrap();
        let target = FlagTarget::Scope(scene.outer);
        match on {
            false => flags.turn_off(scene.flag, target).unwrap(),
            true => match flags.remove_rule(scene.flag, target, ScopeId::ROOT) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                done => done.unwrap(),
            },
        }
    });
}

/// The flag is set on only while a rule keeps it off, and set off before the rule goes: it is never on.
#[test]
fn a_state_and_a_rule_that_are_never_there_together_turn_nothing_on() {
    let scene = scene();
    let (flags, to) = (scene.gate.flags(), FlagTarget::User(scene.user));
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|threads| {
        for scope in [ScopeId::ROOT, scene.inner] {
            let (scene, done) = (&scene, &done);
            threads.spawn(move || {
                while !done.load(std::sync::atomic::Ordering::SeqCst) {
                    assert!(!scene.gate.is_enabled_at(scene.flag, scene.user, scope).unwrap());
                }
            });
        }
        for _ in 0..ROUNDS {
            flags.turn_off(scene.flag, to).unwrap();
            flags.set_percentage(scene.flag, 10_000).unwrap();
            flags.set_percentage(scene.flag, 0).unwrap();
            flags.remove_rule(scene.flag, to, ScopeId::ROOT).unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::SeqCst);
    });
    sound(&scene.gate);
}

/// An operation checks what it names, and draws 16 random bytes before it plans: the last moment for something else.
#[test]
fn what_is_deleted_while_a_rule_for_it_is_made_has_none() {
    type Step = fn(&Scene) -> portcullis::Result<()>;
    let cases: [(Step, Step); 5] = [
        (|s| s.gate.flags().delete(s.flag), |s| s.gate.flags().turn_on(s.flag, FlagTarget::User(s.user))),
        (|s| s.gate.users().delete(s.user), |s| s.gate.flags().turn_on(s.flag, FlagTarget::User(s.user))),
        (|s| s.gate.roles().delete(s.role), |s| s.gate.flags().turn_on(s.flag, FlagTarget::Role(s.role))),
        (|s| s.gate.scopes().delete(s.outer), |s| s.gate.flags().turn_on(s.flag, FlagTarget::Scope(s.inner))),
        (
            |s| s.gate.scopes().delete(s.outer),
            |s| s.gate.flags().set_rule(s.flag, FlagTarget::User(s.user), &Grant::new().at(s.inner)),
        ),
    ];
    for (number, (delete, make)) in cases.into_iter().enumerate() {
        let hook = Hook::new();
        let builder = Portcullis::builder().entropy(hook.clone()).danger_fast_password_hashes();
        let gate = builder.in_memory().unwrap();
        let inner = gate.scopes().ensure("acme/doc").unwrap();
        let scene = || Scene {
            gate: gate.clone(),
            flag: Flag::from_number(0),
            user: UserId::from_number(0),
            role: RoleId::from_number(0),
            outer: gate.scopes().find("acme").unwrap().unwrap(),
            inner,
        };
        let made = (
            gate.flags().define("checkout").unwrap(),
            gate.users().create(NewUser::new("ada")).unwrap().id,
            gate.roles().create("role", []).unwrap(),
        );
        assert_eq!(made, (scene().flag, scene().user, scene().role));
        let inner = scene();
        hook.at_draw_of(16, move || delete(&inner).unwrap());
        let outcome = make(&scene());
        assert!(hook.armed.lock().is_none(), "the hook ran");
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::NotFound, "case {number}");
        while gate.maintain(100).unwrap().more {}
        let rules = all(|page| gate.flags().list(page)).into_iter();
        assert!(rules.flat_map(|flag| all(|page| gate.flags().rules(flag.flag, page))).next().is_none());
        sound(&gate);
    }
}

/// Both at once, so that each is planned while the other one commits: whichever comes first, no rule is left behind.
#[test]
fn no_rule_outlives_what_it_names() {
    let gate = world().gate;
    for round in 0..150_u32 {
        let flag = gate.flags().define(format!("f{round}").as_str()).unwrap();
        let scope = gate.scopes().create(ScopeId::ROOT, &format!("s{round}")).unwrap();
        let role = gate.roles().create(&format!("r{round}"), []).unwrap();
        let user = gate.users().create(NewUser::new(format!("u{round}"))).unwrap().id;
        let target = match round % 3 {
            0 => FlagTarget::User(user),
            1 => FlagTarget::Role(role),
            _ => FlagTarget::Scope(scope),
        };
        let start = std::sync::Barrier::new(2);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                start.wait();
                match gate.flags().turn_on(flag, target) {
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    done => done.unwrap(),
                }
            });
            start.wait();
            match (round % 2, target) {
                (0, _) => gate.flags().delete(flag).unwrap(),
                (_, FlagTarget::User(user)) => gate.users().delete(user).unwrap(),
                (_, FlagTarget::Role(role)) => gate.roles().delete(role).unwrap(),
                _ => gate.scopes().delete(scope).unwrap(),
            }
        });
    }
    while gate.maintain(100).unwrap().more {}
    let rows = portcullis::testing::dump(&gate).unwrap();
    assert!(rows.iter().all(|row| !row.table.starts_with("flag_rule")));
    sound(&gate);
}
