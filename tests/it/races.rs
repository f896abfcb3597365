//! Threads that ask while another one changes the answer: what was acknowledged before a question began is in the
//! answer.

use crate::login::Hook;
use crate::support::{World, log_in, sound, world};
use portcullis::{ErrorKind, NewUser, Permission, Portcullis, RoleId, Status, UserId};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Stands for an answer that is being changed. Otherwise the state is twice the number of the last change, and one more
/// if the answer is yes.
const CHANGING: u64 = 1 << 63;

struct Scene {
    world: World,
    user: UserId,
    held: RoleId,
    /// Inherited by `held`, and what grants.
    granting: RoleId,
    permission: Permission,
}

fn scene() -> Scene {
    let world = world();
    let user = world.user("ada").id;
    let permission = world.gate.permissions().define("read").unwrap();
    let held = world.gate.roles().create("held", []).unwrap();
    let granting = world.gate.roles().create("granting", [permission]).unwrap();
    world.gate.roles().inherit(held, granting).unwrap();
    world.gate.roles().assign(user, held).unwrap();
    // Others with the same rights, so that sets are shared and given back.
    for number in 0..5 {
        let other = world.gate.users().create(NewUser::new(format!("u{number}"))).unwrap().id;
        world.gate.roles().assign(other, held).unwrap();
    }
    Scene { world, user, held, granting, permission }
}

/// Changes the answer to and fro while two threads ask.
fn race(scene: &Scene, rounds: u64, change: impl Fn(bool) + Sync, ask: impl Fn() -> bool + Sync) {
    race_on(&scene.world.gate, rounds, change, ask);
}

pub(crate) fn race_on(
    gate: &Portcullis,
    rounds: u64,
    change: impl Fn(bool) + Sync,
    ask: impl Fn() -> bool + Sync,
) {
    let (state, done) = (AtomicU64::new(1), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut compared = 0_u64;
                    // After the last change nothing moves, so that at least that answer is compared.
                    while compared == 0 || !done.load(Ordering::SeqCst) {
                        let before = state.load(Ordering::SeqCst);
                        let answer = ask();
                        if before & CHANGING == 0 && state.load(Ordering::SeqCst) == before {
                            assert_eq!(answer, before & 1 == 1, "after change {}", before / 2);
                            compared += 1;
                        }
                    }
                })
            })
            .collect();
        for round in 1..=rounds {
            let allow = round % 2 == 0;
            state.store(CHANGING, Ordering::SeqCst);
            change(allow);
            state.store(round * 2 + u64::from(allow), Ordering::SeqCst);
            if asking.iter().any(std::thread::ScopedJoinHandle::is_finished) {
                break;
            }
        }
        done.store(true, Ordering::SeqCst);
    });
    sound(gate);
}

fn of_user(scene: &Scene) -> impl Fn() -> bool + Sync {
    || scene.world.gate.check(scene.user, scene.permission).unwrap().is_allowed()
}

#[test]
fn assignments_are_seen_when_they_are_acknowledged() {
    let scene = scene();
    let roles = |allow: bool| {
        let roles = scene.world.gate.roles();
        if allow { roles.assign(scene.user, scene.held) } else { roles.unassign(scene.user, scene.held) }
            .unwrap();
    };
    race(&scene, 600, roles, of_user(&scene));
}

#[test]
fn grants_are_seen_when_they_are_acknowledged() {
    let scene = scene();
    let login = scene.world.login("ada");
    let who = scene.world.gate.authenticate(login.token()).unwrap();
    let grant = |allow: bool| {
        let (roles, permission) = (scene.world.gate.roles(), [scene.permission]);
        if allow {
            roles.grant(scene.granting, permission)
        } else {
            roles.withdraw(scene.granting, permission)
        }
        .unwrap();
    };
    race(&scene, 600, grant, || who.can(scene.permission));
}

#[test]
fn edges_are_seen_when_they_are_acknowledged() {
    let scene = scene();
    let login = scene.world.login("ada");
    let who = scene.world.gate.authenticate(login.token()).unwrap();
    let edge = |allow: bool| {
        let roles = scene.world.gate.roles();
        if allow {
            roles.inherit(scene.held, scene.granting)
        } else {
            roles.disinherit(scene.held, scene.granting)
        }
        .unwrap();
    };
    race(&scene, 600, edge, || who.check(scene.permission).unwrap().is_allowed());
}

#[test]
fn a_disabled_user_holds_nothing_when_that_is_acknowledged() {
    let scene = scene();
    let status = |allow: bool| {
        let status = if allow { Status::active() } else { Status::disabled("for a moment") };
        scene.world.gate.users().set_status(scene.user, status).unwrap();
    };
    race(&scene, 600, status, of_user(&scene));
}

/// Every login is live when it returns and every revocation has ended it when it returns, while sessions of others come
/// and go beside it.
#[test]
fn a_revoked_session_is_refused_when_that_is_acknowledged() {
    let scene = scene();
    let done = AtomicBool::new(false);
    let crowd = |gate: &Portcullis, login: &str| {
        while !done.load(Ordering::SeqCst) {
            let login = log_in(gate, login, crate::support::PASSWORD).unwrap();
            let who = gate.authenticate(login.token()).unwrap();
            assert!(!who.can(scene.permission));
            gate.sessions().revoke_all(who.user()).unwrap();
            assert!(gate.authenticate(login.token()).is_err());
        }
    };
    for login in ["bob", "eve"] {
        scene.world.user(login);
    }
    std::thread::scope(|scope| {
        let beside = ["bob", "eve"].map(|login| {
            let (gate, crowd) = (&scene.world.gate, &crowd);
            scope.spawn(move || crowd(gate, login))
        });
        for _ in 0..300 {
            let login = scene.world.login("ada");
            let who = scene.world.gate.authenticate(login.token()).unwrap();
            assert!(who.can(scene.permission));
            scene.world.gate.sessions().revoke(login.session().id).unwrap();
            assert!(!who.can(scene.permission));
            assert!(scene.world.gate.authenticate(login.token()).is_err());
            if beside.iter().any(std::thread::ScopedJoinHandle::is_finished) {
                break;
            }
        }
        done.store(true, Ordering::SeqCst);
    });
    sound(&scene.world.gate);
}

/// An operation checks what it names, and draws 16 random bytes before it plans: the last moment for something else.
#[test]
fn what_is_deleted_while_it_is_being_given_is_not_given() {
    type Step = fn(&Portcullis, UserId, RoleId, Permission) -> portcullis::Result<()>;
    let delete_permission: Step = |gate, _, _, permission| gate.permissions().delete(permission);
    let delete_role: Step = |gate, _, role, _| gate.roles().delete(role);
    let delete_user: Step = |gate, user, _, _| gate.users().delete(user);
    let grant: Step = |gate, _, role, permission| gate.roles().grant(role, [permission]);
    let create: Step = |gate, user, _, permission| {
        gate.roles().create("more", [permission]).and_then(|role| gate.roles().assign(user, role))
    };
    let assign: Step = |gate, user, role, _| gate.roles().assign(user, role);
    let inherit: Step = |gate, _, role, _| {
        let heir = gate.roles().find("heir")?.map(|heir| heir.id).unwrap();
        gate.roles().inherit(heir, role)
    };
    for (number, (delete, give)) in [
        (delete_permission, grant),
        (delete_permission, create),
        (delete_role, grant),
        (delete_role, assign),
        (delete_role, inherit),
        (delete_user, assign),
    ]
    .into_iter()
    .enumerate()
    {
        let hook = Hook::new();
        let builder = Portcullis::builder().entropy(hook.clone()).danger_fast_password_hashes();
        let gate = builder.in_memory().unwrap();
        let user = gate.users().create(NewUser::new("ada")).unwrap().id;
        let permission = gate.permissions().define("read").unwrap();
        let role = gate.roles().create("reader", []).unwrap();
        let heir = gate.roles().create("heir", []).unwrap();
        gate.roles().assign(user, heir).unwrap();
        let inner = gate.clone();
        hook.at_draw_of(16, move || delete(&inner, user, role, permission).unwrap());
        let given = give(&gate, user, role, permission);
        assert!(hook.armed.lock().is_none(), "the hook ran");
        assert_eq!(given.unwrap_err().kind(), ErrorKind::NotFound, "case {number}");
        assert!(!gate.check(user, permission).unwrap().is_allowed(), "case {number}");
        for role in [role, heir] {
            assert!(gate.roles().granted(role).is_err() || gate.roles().granted(role).unwrap().is_empty());
        }
        sound(&gate);
    }
}
