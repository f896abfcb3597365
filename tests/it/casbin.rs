//! A Casbin policy in a database: the same decisions, whatever the database was and whatever interrupts the load.

use crate::casbin_cases::{BASIC, BOTH, Case, DEAF, DENY, DOMAINS, KNOWN, LIST, random};
use crate::support::{Disk, all, everything, later, refused, sound, user, world};
use portcullis::casbin::{Loaded, Policy};
use portcullis::testing::FaultPoint;
use portcullis::{ErrorKind, Grant, NewUser, Portcullis, RoleChange, ScopeId, Status};
use proptest::prelude::*;
use std::sync::Barrier;

#[track_caller]
fn parse(case: &Case) -> Policy {
    Policy::parse(&case.model, &case.policy).unwrap_or_else(|error| panic!("{error}\n{case:?}"))
}

/// Every request is decided as the naive evaluation decides it. Returns those that are allowed.
#[track_caller]
fn compare(gate: &Portcullis, loaded: &Loaded, case: &Case) -> Vec<String> {
    let mut allowed = Vec::new();
    for request in case.naive.requests() {
        let due = case.naive.decide(&request);
        assert_eq!(loaded.enforce(gate, &request).unwrap(), due, "{request:?} of {case:?}");
        if due {
            let words: Vec<String> = request.iter().map(|value| value.replace(' ', "_")).collect();
            allowed.push(words.join(" "));
        }
    }
    allowed
}

#[test]
fn known_policies_are_decided_as_casbin_decides_them() {
    for (name, family, policy, allowed) in KNOWN {
        let (gate, case) = (world().gate, family.case(policy));
        let loaded = parse(&case).load_into(&gate).unwrap();
        let mut due: Vec<&str> = allowed.to_vec();
        due.sort_unstable();
        let mut found = compare(&gate, &loaded, &case);
        found.sort_unstable();
        assert_eq!(found, due, "{name}");
        sound(&gate);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn random_policies_are_decided_as_rule_by_rule(case in random()) {
        let (gate, policy) = (world().gate, parse(&case));
        let loaded = policy.load_into(&gate).unwrap();
        compare(&gate, &loaded, &case);
        let head = gate.audit().head();
        let again = policy.load_into(&gate).unwrap();
        prop_assert_eq!(gate.audit().head(), head, "a second load writes nothing");
        compare(&gate, &again, &case);
        sound(&gate);
    }
}

#[test]
fn names_become_what_the_documentation_says() {
    let gate = world().gate;
    let policy = "p, chief, lab, door, open, allow\np, chief, lab, door, shut, deny\np, ada, lab, door, lock, allow\n\
                  g, ada, chief, lab\ng, chief, staff, lab\ng, bob, staff, shop";
    let loaded = parse(&BOTH.case(policy)).load_into(&gate).unwrap();
    let names: Vec<&str> = loaded.users().map(|(name, _)| name).collect();
    assert_eq!(names, ["ada", "bob"]);
    let (lab, shop) = (loaded.domain("lab").unwrap(), loaded.domain("shop").unwrap());
    assert_eq!(gate.scopes().find("lab").unwrap(), Some(lab));
    let chief = gate.roles().get(loaded.role_in("lab", "chief").unwrap()).unwrap();
    let staff = loaded.role_in("lab", "staff").unwrap();
    assert_eq!((chief.name.as_str(), chief.scope, chief.parents), ("chief", lab, vec![staff]));
    assert_ne!(loaded.role_in("shop", "staff"), Some(staff));
    for nothing in [loaded.role_in("shop", "chief"), loaded.role("chief"), loaded.role_in("", "chief")] {
        assert_eq!(nothing, None);
    }
    assert_eq!((loaded.domain(""), loaded.user("chief"), loaded.permission("door", "")), (None, None, None));

    let [open, shut, lock] =
        ["open", "shut", "lock"].map(|action| loaded.permission("door", action).unwrap());
    assert_eq!(gate.permissions().get(open).unwrap().name, "door:open");
    assert!(gate.roles().granted(chief.id).unwrap().contains(open));
    assert!(gate.roles().denied(chief.id).unwrap().contains(shut));
    let ada = loaded.user("ada").unwrap();
    assert_eq!(gate.users().get(ada).unwrap().login, "ada");
    let direct = all(|page| gate.access().of_user(ada, page));
    assert_eq!(direct.iter().map(|direct| direct.permission).collect::<Vec<_>>(), [lock]);
    // An ordinary check sees the same, at the tenant only.
    for (permission, due) in [(open, true), (shut, false), (lock, true)] {
        assert_eq!(gate.check_at(ada, permission, lab).unwrap().is_allowed(), due);
        assert!(!gate.check_at(ada, permission, shop).unwrap().is_allowed());
        assert!(!gate.check(ada, permission).unwrap().is_allowed());
    }
}

#[test]
fn a_request_has_the_values_of_the_model() {
    let gate = world().gate;
    let loaded = parse(&BASIC.case("p, ada, door, open")).load_into(&gate).unwrap();
    for request in [&[][..], &["ada", "door"], &["ada", "lab", "door", "open"]] {
        let error = refused(loaded.enforce(&gate, request), ErrorKind::InvalidInput, Some("request"));
        assert!(error.to_string().ends_with("the model's are sub, obj, act"), "{error}");
    }
    for unknown in [["eve", "door", "open"], ["ada", "", "open"], ["", "", ""], ["ADA", "door", "open"]] {
        assert!(!loaded.enforce(&gate, &unknown).unwrap());
    }
}

#[test]
fn denials_that_the_effect_does_not_ask_for_are_told() {
    let gate = world().gate;
    let policy =
        parse(&DEAF.case("p, ada, door, open, allow\n\np, eve, safe, open, deny\np, ada, door, open, deny"));
    assert_eq!(policy.without_effect(), [3, 4]);
    let loaded = policy.load_into(&gate).unwrap();
    assert_eq!((loaded.user("eve"), loaded.permission("safe", "open")), (None, None));
    assert!(loaded.enforce(&gate, &["ada", "door", "open"]).unwrap());
    assert!(parse(&DENY.case("p, ada, door, open, deny")).without_effect().is_empty());
}

#[test]
fn decisions_are_of_the_database_as_it_is_now() {
    let gate = world().gate;
    let policy = "p, chief, lab, door, open\ng, ada, chief, lab\np, bob, lab, door, open\ng, cy, chief, shop";
    let loaded = parse(&DOMAINS.case(policy)).load_into(&gate).unwrap();
    let asks = |who: &str| loaded.enforce(&gate, &[who, "lab", "door", "open"]).unwrap();
    assert!(asks("ada") && asks("bob") && asks("chief"));
    gate.users().set_status(loaded.user("bob").unwrap(), Status::disabled("left")).unwrap();
    assert!(!asks("bob"));
    gate.scopes().delete(loaded.domain("lab").unwrap()).unwrap();
    assert!(!asks("ada") && !asks("chief"));

    // More roles than a deletion sweeps at once.
    let many: String = (0..300).map(|n| format!("p, r{n}, yard, door, open\ng, ada, r{n}, yard\n")).collect();
    let crowd = parse(&DOMAINS.case(&many)).load_into(&gate).unwrap();
    let asks = |n: u32| crowd.enforce(&gate, &[&format!("r{n}"), "yard", "door", "open"]).unwrap();
    assert!((0..300).all(asks));
    gate.scopes().delete(crowd.domain("yard").unwrap()).unwrap();
    assert!(!(0..300).any(asks));

    let loaded = parse(&BASIC.case("p, keeper, safe, open\ng, ada, keeper")).load_into(&gate).unwrap();
    let keeper = loaded.role("keeper").unwrap();
    assert!(loaded.enforce(&gate, &["keeper", "safe", "open"]).unwrap());
    gate.roles().delete(keeper).unwrap();
    assert!(!loaded.enforce(&gate, &["keeper", "safe", "open"]).unwrap());
    gate.close().unwrap();
    refused(loaded.enforce(&gate, &["keeper", "safe", "open"]), ErrorKind::Stopped, None);
    refused(loaded.enforce(&gate, &["ada", "safe", "open"]), ErrorKind::Stopped, None);
}

/// A policy in which everything is: denials of users and roles, a chain, lines that come twice.
const RICH: &str = "p, chief, lab, door, open, allow\np, staff, lab, door, shut, allow\np, outcast, lab, door, shut, deny\n\
                    p, ada, lab, safe, open, allow\np, bob, lab, door, open, deny\ng, ada, chief, lab\ng, bob, chief, lab\n\
                    g, chief, staff, lab\ng, cy, chief, lab\ng, cy, outcast, lab\ng, cy, staff, shop\n\
                    p, staff, shop, door, shut, allow";

#[test]
fn an_interrupted_load_allows_nothing_more_and_is_completed_by_another() {
    let case = BOTH.case(RICH);
    let policy = parse(&case);
    let mut interrupted = 0;
    for nth in 1.. {
        let disk = Disk::new();
        let gate = disk.open();
        disk.faults.fail(FaultPoint::JournalWrite, nth);
        let result = policy.load_into(&gate);
        if disk.faults.pending() {
            compare(&gate, &result.unwrap(), &case);
            break;
        }
        interrupted += 1;
        assert!(result.is_err_and(|error| error.is_storage()));
        drop(gate);
        let gate = disk.open();
        // What is there may not allow anything that the whole policy denies.
        for user in all(|page| gate.users().list(page)) {
            for permission in all(|page| gate.permissions().list(page)) {
                for scope in all(|page| gate.scopes().children(ScopeId::ROOT, page)) {
                    let (object, action) = permission.name.split_once(':').unwrap();
                    let due = case.naive.decide(&[&user.login, &scope.name, object, action]);
                    let found = gate.check_at(user.id, permission.permission, scope.id).unwrap().is_allowed();
                    assert!(due || !found, "{} {} {} after {nth}", user.login, scope.name, permission.name);
                }
            }
        }
        let loaded = policy.load_into(&gate).unwrap();
        compare(&gate, &loaded, &case);
        sound(&gate);
    }
    assert!(interrupted > 20, "only {interrupted} commits were interrupted");
}

#[test]
fn a_load_on_disk_survives_a_reopening_and_a_failure() {
    let (disk, case) = (Disk::new(), BOTH.case(RICH));
    let policy = parse(&case);
    let gate = disk.open();
    disk.faults.fail(FaultPoint::JournalSync, 12);
    assert!(policy.load_into(&gate).is_err_and(|error| error.is_storage()));
    drop(gate);
    let gate = disk.open();
    let loaded = policy.load_into(&gate).unwrap();
    compare(&gate, &loaded, &case);
    gate.close().unwrap();
    drop(gate);
    let gate = disk.open();
    compare(&gate, &loaded, &case);
    let head = gate.audit().head();
    compare(&gate, &policy.load_into(&gate).unwrap(), &case);
    assert_eq!(gate.audit().head(), head);
    sound(&gate);
}

#[test]
fn loads_at_the_same_time_end_whole_or_as_a_conflict() {
    let case = BOTH.case(RICH);
    let policy = parse(&case);
    for _ in 0..10 {
        let gate = world().gate;
        let barrier = Barrier::new(4);
        let results: Vec<_> = std::thread::scope(|threads| {
            let load = || {
                barrier.wait();
                policy.load_into(&gate)
            };
            let running: Vec<_> = (0..4).map(|_| threads.spawn(load)).collect();
            running.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for result in results {
            match result {
                // Somebody else's load may still have been under way when this one found everything there.
                Ok(loaded) => assert!(loaded.user("ada").is_some()),
                Err(error) => assert!(error.is_conflict(), "{error:?}"),
            }
        }
        compare(&gate, &policy.load_into(&gate).unwrap(), &case);
        sound(&gate);
    }
}

#[test]
fn a_role_of_somebody_else_is_not_taken_for_the_policys() {
    let world = world();
    let gate = &world.gate;
    let case = DENY
        .case("p, keeper, safe, open, allow\np, keeper, door, shut, deny\ng, ada, keeper\ng, keeper, staff");
    let policy = parse(&case);
    let erase = gate.permissions().define("all:erase").unwrap();
    let open = gate.permissions().define("safe:open").unwrap();
    let other = gate.roles().create("other", []).unwrap();
    let keeper = gate.roles().create("keeper", [open, erase]).unwrap();
    let try_and_see = |what: &str| {
        let before = everything(gate);
        let error = refused(policy.load_into(gate), ErrorKind::AlreadyExists, Some("role"));
        assert!(error.to_string().contains(what), "{error}");
        assert_eq!(everything(gate), before);
    };
    try_and_see("grants permissions");
    gate.roles().withdraw(keeper, [erase]).unwrap();
    gate.roles().deny(keeper, [erase]).unwrap();
    try_and_see("denies permissions");
    gate.roles().lift(keeper, [erase]).unwrap();
    gate.roles().inherit(keeper, other).unwrap();
    try_and_see("inherits from roles");
    gate.roles().disinherit(keeper, other).unwrap();
    // With a part of what the policy gives it, the role is the policy's own.
    let loaded = policy.load_into(gate).unwrap();
    assert_eq!(loaded.role("keeper"), Some(keeper));
    compare(gate, &loaded, &case);
    // A later change by hand is not undone.
    gate.roles().update(keeper, RoleChange::new().description("of the safe")).unwrap();
    gate.roles().grant(keeper, [erase]).unwrap();
    try_and_see("grants permissions");
}

#[test]
fn users_who_are_there_keep_what_they_have() {
    let world = world();
    let gate = &world.gate;
    let case = DENY.case("p, ada, safe, open, allow\np, ada, door, open, deny\ng, ada, keeper");
    let policy = parse(&case);
    let ada = user(gate, "ADA").id;
    let open = gate.permissions().define("safe:open").unwrap();
    let keeper = gate.roles().create("keeper", []).unwrap();
    let soon = later(gate.now(), 60);
    let door = gate.permissions().define("door:open").unwrap();
    for (field, give, take) in [
        (
            "permission",
            &(|| gate.access().grant(ada, open, &Grant::new().until(soon)))
                as &dyn Fn() -> portcullis::Result<()>,
            &(|| gate.access().withdraw(ada, open, ScopeId::ROOT)) as &dyn Fn() -> portcullis::Result<()>,
        ),
        ("permission", &|| gate.access().grant(ada, open, &Grant::new().denying()), &|| {
            gate.access().withdraw(ada, open, ScopeId::ROOT)
        }),
        ("permission", &|| gate.access().grant(ada, door, &Grant::new()), &|| {
            gate.access().withdraw(ada, door, ScopeId::ROOT)
        }),
        ("role", &|| gate.roles().assign_with(ada, keeper, &Grant::new().denying()), &|| {
            gate.roles().unassign(ada, keeper)
        }),
        ("role", &|| gate.roles().assign_with(ada, keeper, &Grant::new().not_before(soon)), &|| {
            gate.roles().unassign(ada, keeper)
        }),
    ] {
        give().unwrap();
        let before = everything(gate);
        let error = refused(policy.load_into(gate), ErrorKind::AlreadyExists, Some(field));
        assert!(
            error.to_string().contains("\"ada\"") && error.to_string().contains("other terms"),
            "{error}"
        );
        assert_eq!(everything(gate), before);
        take().unwrap();
    }
    let extra = gate.permissions().define("extra").unwrap();
    gate.access().grant(ada, extra, &Grant::new()).unwrap();
    let loaded = policy.load_into(gate).unwrap();
    assert_eq!(loaded.user("ada"), Some(ada));
    compare(gate, &loaded, &case);
    assert!(gate.check(ada, extra).unwrap().is_allowed());
}

#[test]
fn what_a_load_writes_is_in_the_audit_log_under_its_actor() {
    let world = world();
    let admin = world.gate.users().create(NewUser::new("root")).unwrap().id;
    let before = all(|page| world.gate.audit().list(page)).len();
    let gate = world.gate.acting_as(admin);
    parse(&LIST.case("p, ada, door, open")).load_into(&gate).unwrap();
    let records = all(|page| gate.audit().list(page));
    let kinds: Vec<String> = records[before..].iter().map(|record| format!("{:?}", record.kind)).collect();
    assert_eq!(kinds, ["PermissionDefined", "UserCreated", "AccessGranted"]);
    assert!(records[before..].iter().all(|record| record.actor == portcullis::Actor::User(admin)));
}
