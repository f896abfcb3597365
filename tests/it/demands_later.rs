//! Roles that come to ask for a second factor while users hold them.

use crate::factors::{answer, challenge, demanding, done, enrolled_app, keys};
use crate::support::{
    Disk, OTHER, PASSWORD, World, all, backwards, is_live, log_in, sound, user, world_with,
};
use portcullis::testing::{FaultPoint, totp_code};
use portcullis::{
    Ability, Answer, Assurance, AuditKind, Client, Credentials, Denial, Portcullis, RoleChange, RoleId,
    RoleRange, UserId,
};

fn mark(gate: &Portcullis, role: RoleId) {
    gate.roles().update(role, RoleChange::new().assurance(Assurance::Two)).unwrap();
}

fn plain(gate: &Portcullis, names: [&str; 4]) -> [RoleId; 4] {
    names.map(|name| gate.roles().create(name, []).unwrap())
}

/// A session of two factors.
fn strong(world: &World, login: &str, secret: &str) -> String {
    world.after(30);
    let asked = challenge(&world.gate, login);
    let code = totp_code(secret, world.gate.now()).unwrap();
    done(answer(&world.gate, &asked, &Answer::totp(code))).token().as_str().to_owned()
}

fn ended(gate: &Portcullis) -> Vec<String> {
    let records = backwards(|page| gate.audit().list(page)).into_iter();
    records.filter(|one| one.kind == AuditKind::SessionsRevoked).map(|one| one.detail).collect()
}

type Way = (&'static str, fn(&Portcullis, RoleId));

/// Four roles, each above the next, and the ways in which the lowest comes to ask.
const WAYS: [Way; 5] = [
    ("marked", mark),
    ("inherits", |gate, low| gate.roles().inherit(low, demanding(gate, "vault")).unwrap()),
    ("inherits from afar", |gate, low| {
        let middle = gate.roles().create_ascendant("middle", [], demanding(gate, "vault")).unwrap();
        gate.roles().inherit(low, middle).unwrap();
    }),
    ("what was put below it is marked", |gate, low| {
        let below = gate.roles().create_descendant("below", [], low).unwrap();
        mark(gate, below);
    }),
    ("what is below it inherits", |gate, low| {
        let below = gate.roles().create_descendant("below", [], low).unwrap();
        gate.roles().inherit(below, demanding(gate, "vault")).unwrap();
    }),
];

#[test]
fn a_demand_ends_the_weak_sessions_of_all_that_hold_it() {
    for (way, bring) in WAYS {
        let world = world_with(|builder| builder.keys(keys()));
        let gate = &world.gate;
        let [top, high, mid, low] = plain(gate, ["top", "high", "mid", "low"]);
        for (senior, junior) in [(top, high), (high, mid), (mid, low)] {
            gate.roles().inherit(senior, junior).unwrap();
        }
        let other = gate.roles().create("other", []).unwrap();
        let holders: Vec<UserId> = ["a", "b", "c", "d"].map(|login| world.user(login).id).to_vec();
        for (holder, role) in holders.iter().zip([top, high, mid, low]) {
            gate.roles().assign(*holder, role).unwrap();
            gate.roles().assign(*holder, other).unwrap();
        }
        world.user("nobody");
        let secret = enrolled_app(&world, holders[0]);
        let sure = strong(&world, "a", &secret);
        let weak = ["b", "b", "c", "d"].map(|login| world.login(login).token().as_str().to_owned());
        // Others that the demand does not concern: of whoever does not hold it, or has other roles active.
        let who = Credentials::password("d", PASSWORD);
        let selecting = gate.login_with_roles(&who, &Client::new(), [other]).unwrap();
        let selected = gate.login_with_roles(&who, &Client::new(), [low]).unwrap();
        let unconcerned = world.login("nobody");

        bring(gate, low);
        assert!(weak.iter().all(|token| !is_live(gate, token)), "{way}");
        assert!(!is_live(gate, selected.token().as_str()), "{way}");
        assert!(is_live(gate, &sure) && is_live(gate, unconcerned.token().as_str()), "{way}");
        assert!(is_live(gate, selecting.token().as_str()), "{way}");
        let session = selecting.session().id;
        let error = gate.sessions().activate(session, low).unwrap_err();
        assert_eq!(error.denial(), Some(Denial::FactorRequired), "{way}");
        let told = ended(gate);
        assert_eq!(told.len(), 3, "one a user: {told:?}");
        for login in ["b", "c", "d"] {
            let error = log_in(gate, login, PASSWORD).unwrap_err();
            assert_eq!(error.denial(), Some(Denial::FactorRequired), "{way}");
        }
        sound(gate);
    }
}

#[test]
fn a_demand_that_was_there_already_ends_nothing() {
    let world = world_with(|builder| builder.keys(keys()));
    let gate = &world.gate;
    let (vault, second) = (demanding(gate, "vault"), demanding(gate, "second"));
    let [role, plain, ..] = plain(gate, ["role", "plain", "x", "y"]);
    gate.roles().inherit(role, vault).unwrap();
    let ada = world.user("ada").id;
    gate.roles().assign(ada, plain).unwrap();
    world.login("ada");
    gate.roles().inherit(role, second).unwrap();
    mark(gate, role);
    mark(gate, role);
    gate.roles().inherit(role, plain).unwrap();
    gate.roles().update(vault, RoleChange::new().assurance(Assurance::One)).unwrap();
    gate.roles().disinherit(role, vault).unwrap();
    assert_eq!(ended(gate), [] as [String; 0]);
    assert_eq!(all(|page| gate.sessions().of_user(ada, page)).len(), 1);
    sound(gate);
}

#[test]
fn many_holders_with_many_sessions_are_all_found() {
    let world = world_with(|builder| builder.keys(keys()));
    let gate = &world.gate;
    let role = gate.roles().create("role", []).unwrap();
    let busy = world.user("busy").id;
    for _ in 0..70 {
        world.login("busy");
    }
    let many: Vec<UserId> = (0..60).map(|number| world.user(&format!("user{number}")).id).collect();
    for number in 0..60 {
        world.login(&format!("user{number}"));
    }
    gate.roles().assign(busy, role).unwrap();
    gate.roles().assign_many(role, many.iter().copied()).unwrap();
    gate.roles().inherit(role, demanding(gate, "vault")).unwrap();
    assert_eq!(gate.statistics().sessions, 0);
    assert_eq!(gate.maintain(100).unwrap().leftovers, 0);
    sound(gate);
}

#[test]
fn a_delegated_administrator_ends_them_too() {
    let world = world_with(|builder| builder.keys(keys()));
    let gate = &world.gate;
    let [range, admin, role, _] = plain(gate, ["range", "admin", "role", "x"]);
    let vault = demanding(gate, "vault");
    for below in [role, vault] {
        gate.roles().inherit(range, below).unwrap();
    }
    gate.delegations().create(admin, RoleRange::Below(range), [Ability::ChangeRoles]).unwrap();
    let boss = world.user("boss").id;
    gate.roles().assign(boss, admin).unwrap();
    let ada = world.user("ada").id;
    gate.roles().assign(ada, role).unwrap();
    let weak = world.login("ada");
    gate.delegated(boss).roles().inherit(role, vault).unwrap();
    assert!(!is_live(gate, weak.token().as_str()));
    sound(gate);
}

#[test]
fn what_a_crash_leaves_the_next_open_does() {
    // The change itself is the first commit; each user takes one, and the marker the last.
    for nth in 1..=4 {
        let disk = Disk::new();
        let with_keys = |builder: portcullis::Builder| builder.keys(keys());
        let gate = disk.open_with(with_keys).unwrap();
        let role = gate.roles().create("role", []).unwrap();
        let vault = demanding(&gate, "vault");
        let tokens = ["ada", "bob"].map(|login| {
            let id = user(&gate, login).id;
            gate.roles().assign(id, role).unwrap();
            log_in(&gate, login, PASSWORD).unwrap().token().as_str().to_owned()
        });
        disk.faults.fail(FaultPoint::JournalWrite, nth);
        gate.roles().inherit(role, vault).unwrap_err();
        let _ = gate.close();
        drop(gate);
        let gate = disk.open_with(with_keys).unwrap();
        let done = !gate.roles().juniors(role).unwrap().is_empty();
        assert!(done || nth == 1, "{nth}");
        for token in &tokens {
            assert_eq!(is_live(&gate, token), !done, "{nth}");
        }
        assert_eq!(gate.maintain(100).unwrap().leftovers, 0);
        sound(&gate);
    }
}

#[test]
fn no_session_of_one_factor_is_left_whoever_does_what_meanwhile() {
    for round in 0..12 {
        let world = world_with(|builder| builder.keys(keys()));
        let gate = &world.gate;
        let [top, role, spare, _] = plain(gate, ["top", "role", "spare", "x"]);
        gate.roles().inherit(top, role).unwrap();
        let vault = demanding(gate, "vault");
        let ids = ["a", "b", "c"].map(|login| world.user(login).id);
        gate.roles().assign(ids[0], top).unwrap();
        gate.roles().assign(ids[1], role).unwrap();
        for id in ids {
            gate.roles().assign(id, spare).unwrap();
        }
        let before = world.login("b").token().as_str().to_owned();
        let who = Credentials::password("a", PASSWORD);
        let selecting = gate.login_with_roles(&who, &Client::new(), [spare]).unwrap().session().id;
        world.login("c");
        std::thread::scope(|scope| {
            scope.spawn(|| match round % 2 {
                0 => gate.roles().inherit(role, vault).unwrap(),
                _ => mark(gate, role),
            });
            for login in ["a", "b", "c"] {
                scope.spawn(move || {
                    let _ = log_in(gate, login, PASSWORD);
                });
            }
            scope.spawn(|| gate.roles().assign(ids[2], role).unwrap());
            scope.spawn(|| {
                let _ = gate.sessions().activate(selecting, top);
            });
            scope.spawn(|| {
                let _ = gate.change_password(&before, PASSWORD, OTHER, &Client::new());
            });
        });
        sound(gate);
        for id in [ids[1], ids[2]] {
            assert_eq!(all(|page| gate.sessions().of_user(id, page)), []);
        }
    }
}
