//! Rules of feature flags: when they end, what becomes of them when what they name goes, who is in at a percentage, and
//! why.

use crate::flags::{ROOT, scene};
use crate::support::{Disk, PASSWORD, all, backwards, everything, later, refused, sound, user, world};
use portcullis::testing::dump;
use portcullis::{
    AuditKind, Client, Credentials, Effect, ErrorKind, Flag, FlagChange, FlagState, FlagStep, FlagTarget,
    Grant, Portcullis, RoleId, Subject, UserId,
};

#[test]
fn a_rule_begins_and_ends_at_its_second_and_is_swept() {
    let s = scene();
    let (flags, now) = (s.gate.flags(), s.gate.now());
    let terms = Grant::new().not_before(later(now, 10)).until(later(now, 20));
    flags.set_rule(s.flag, FlagTarget::User(s.bob), &terms.clone().at(s.team)).unwrap();
    flags.set_rule(s.flag, FlagTarget::Scope(s.acme), &terms.clone().denying()).unwrap();
    flags.turn_on(s.flag, FlagTarget::User(s.ada)).unwrap();
    for second in 0..25 {
        let within = (10..20).contains(&second);
        assert_eq!(s.on(s.ada, s.doc), !within, "second {second}");
        assert!(!s.on(s.bob, s.doc));
        let mut rules = all(|page| flags.rules(s.flag, page)).len();
        assert_eq!(rules, if second < 20 { 3 } else { 1 });
        if second == 12 {
            // The rule that is in the way is gone: that of the user counts.
            flags.remove_rule(s.flag, FlagTarget::Scope(s.acme), ROOT).unwrap();
            assert!(s.on(s.bob, s.team) && !s.on(s.bob, s.acme));
            flags.set_rule(s.flag, FlagTarget::Scope(s.acme), &terms.clone().denying()).unwrap();
            rules = all(|page| flags.rules(s.flag, page)).len();
            assert_eq!(rules, 3);
        }
        s.world.after(1);
    }
    assert_eq!(rows(&s.gate), 3);
    assert_eq!(s.gate.maintain(100).unwrap().ended_grants, 2);
    assert_eq!(rows(&s.gate), 1);
    let last = backwards(|page| s.gate.audit().by_kind(AuditKind::GrantsEnded, page)).remove(0);
    assert_eq!(last.detail, "2 grants past their end");
    sound(&s.gate);
}

/// Rule rows, of which those that are swept are none.
fn rows(gate: &Portcullis) -> usize {
    let rows = dump(gate).unwrap();
    let count = |table| rows.iter().filter(|row| row.table == table).count();
    assert!(count("flag_rule_by_target") >= count("flag_rule"));
    count("flag_rule")
}

#[test]
fn what_is_made_again_inherits_no_rule() {
    let mut s = scene();
    let flags = s.gate.flags();
    for target in [FlagTarget::Role(s.junior), FlagTarget::User(s.ada), FlagTarget::Scope(s.acme)] {
        flags.turn_on(s.flag, target).unwrap();
    }
    flags.set_rule(s.flag, FlagTarget::User(s.bob), &Grant::new().at(s.doc)).unwrap();
    assert_eq!(all(|page| flags.rules(s.flag, page)).len(), 4);
    assert_eq!(all(|page| flags.rules_for(FlagTarget::Scope(s.doc), page)).len(), 1);

    // The role; by another role of the same name and standing.
    s.gate.roles().delete(s.junior).unwrap();
    let junior = s.gate.roles().create("junior", []).unwrap();
    assert_ne!(junior, s.junior);
    s.gate.roles().inherit(s.senior, junior).unwrap();
    s.gate.roles().assign(s.bob, junior).unwrap();
    assert!(!s.on(s.bob, ROOT));
    // The user.
    s.gate.users().delete(s.ada).unwrap();
    let ada = s.world.user("ada").id;
    assert!(ada != s.ada && !s.on(ada, ROOT) && !s.on(s.ada, ROOT));
    // The scope, with what lay in it.
    assert!(s.on(ada, s.doc));
    s.gate.scopes().delete(s.acme).unwrap();
    assert!(!s.on(ada, s.doc) && !s.on(ada, s.acme));
    let doc = s.gate.scopes().ensure("acme/team/doc").unwrap();
    assert!(!s.on(ada, doc) && !s.on(s.bob, doc));
    while s.gate.maintain(1000).unwrap().more {}
    assert_eq!(rows(&s.gate), 0, "all of its rules are swept");
    sound(&s.gate);
    // The flag.
    for target in [FlagTarget::Role(junior), FlagTarget::User(ada), FlagTarget::Scope(doc)] {
        s.gate.flags().turn_on(s.flag, target).unwrap();
    }
    s.gate.flags().set_percentage(s.flag, 10_000).unwrap();
    assert!(s.on(ada, ROOT));
    s.gate.flags().delete(s.flag).unwrap();
    assert!(!s.on(ada, ROOT));
    assert_eq!((rows(&s.gate), s.gate.statistics().flags), (0, 0));
    let former = s.flag;
    s.flag = s.gate.flags().define("checkout").unwrap();
    assert_ne!(s.flag, former);
    assert!(!s.on(ada, ROOT) && !s.on(ada, doc) && !s.on(s.bob, doc));
    assert_eq!(s.gate.flags().find("checkout").unwrap().unwrap().owner, "");
    sound(&s.gate);
}

#[test]
fn many_rules_of_what_is_deleted_are_swept_in_small_steps() {
    let s = scene();
    let users: Vec<UserId> = (0..100).map(|n| s.world.user(&format!("u{n}")).id).collect();
    for user in &users {
        s.gate.flags().set_rule(s.flag, FlagTarget::User(*user), &Grant::new().at(s.team)).unwrap();
    }
    let roles: Vec<RoleId> = (0..60).map(|n| s.gate.roles().create(&format!("r{n}"), []).unwrap()).collect();
    for role in &roles {
        s.gate.flags().turn_on(s.flag, FlagTarget::Role(*role)).unwrap();
    }
    let flags: Vec<Flag> =
        (0..60).map(|n| s.gate.flags().define(format!("f{n}").as_str()).unwrap()).collect();
    for flag in &flags {
        for target in [FlagTarget::Role(roles[0]), FlagTarget::User(users[0]), FlagTarget::Scope(s.team)] {
            s.gate.flags().turn_off(*flag, target).unwrap();
        }
    }
    let find = |target| all(|page| s.gate.flags().rules_for(target, page)).len();
    assert_eq!(find(FlagTarget::Scope(s.team)), 160);
    assert_eq!((find(FlagTarget::User(users[0])), find(FlagTarget::Role(roles[0]))), (61, 61));
    s.gate.scopes().delete(s.team).unwrap();
    s.gate.users().delete(users[0]).unwrap();
    s.gate.roles().delete(roles[0]).unwrap();
    while s.gate.maintain(10).unwrap().more {}
    assert_eq!(rows(&s.gate), 59, "those of the other roles");
    s.gate.flags().delete(s.flag).unwrap();
    while s.gate.maintain(10).unwrap().more {}
    assert_eq!(rows(&s.gate), 0);
    sound(&s.gate);
}

#[test]
fn a_rule_takes_the_place_of_one_for_the_same_target_in_one_record() {
    let s = scene();
    let (flags, to) = (s.gate.flags(), FlagTarget::User(s.ada));
    flags.turn_on(s.flag, to).unwrap();
    let before = s.gate.audit().head();
    flags.turn_on(s.flag, to).unwrap();
    assert_eq!(s.gate.audit().head(), before, "it is there already");
    s.gate.acting_as(s.bob).flags().turn_off(s.flag, to).unwrap();
    assert_eq!(s.gate.audit().head().length, before.length + 1);
    assert!(!s.on(s.ada, ROOT));
    let rules = all(|page| flags.rules_for(to, page));
    assert_eq!(rules.len(), 1);
    assert_eq!((rules[0].flag, rules[0].target, rules[0].by), (s.flag, to, Some(s.bob)));
    assert_eq!((rules[0].scope, rules[0].effect), (ROOT, Effect::Deny));
    assert_eq!(rules[0].terms, Grant::new().denying());
    // At another scope it is another rule.
    flags.set_rule(s.flag, to, &Grant::new().at(s.doc).because("trial")).unwrap();
    assert_eq!(all(|page| flags.rules(s.flag, page)).len(), 2);
    let last = backwards(|page| s.gate.audit().list(page)).remove(0);
    assert_eq!((last.subject, last.object), (Some(Subject::Flag(s.flag)), Some(Subject::User(s.ada))));
    assert_eq!(last.detail, format!("on at {} because trial", s.doc));
    flags.remove_rule(s.flag, to, s.doc).unwrap();
    refused(flags.remove_rule(s.flag, to, s.doc), ErrorKind::NotFound, Some("target"));
    refused(
        flags.remove_rule(s.flag, FlagTarget::Role(s.junior), s.doc),
        ErrorKind::InvalidInput,
        Some("grant.scope"),
    );
}

#[test]
fn buckets_are_what_they_were_and_spread_evenly() {
    let bucket = |flag, user| Flag::from_number(flag).bucket(UserId::from_number(user));
    // Outputs of SplitMix64 seeded with 0, that are the same in every version and on every machine.
    let pinned = [(0, 0), (0, 1), (0, 2), (0, 999_999), (1, 0), (7, 42), (65_535, 4_294_967_294)];
    let found = pinned.map(|(flag, user)| bucket(flag, user));
    assert_eq!(found, [8833, 4315, 264, 1164, 2735, 8835, 6839]);
    let mut both = 0;
    let mut tenths = [[0_u32; 10]; 3];
    for user in 0..100_000 {
        let buckets = [0, 1, 300].map(|flag| bucket(flag, user));
        for (tenth, bucket) in tenths.iter_mut().zip(buckets) {
            tenth[usize::from(bucket / 1000)] += 1;
        }
        both += u32::from(buckets[0] < 1000 && buckets[1] < 1000);
    }
    // Ten thousand are due, with a standard deviation of 95; a thousand of two flags at once, with one of 31.
    assert!(tenths.as_flattened().iter().all(|count| count.abs_diff(10_000) < 400), "{tenths:?}");
    assert!(both.abs_diff(1_000) < 130, "{both}");
}

#[test]
fn who_is_in_at_a_percentage_is_in_at_every_higher_one() {
    let gate = world().gate;
    let flag = gate.flags().define("rollout").unwrap();
    let users = portcullis::testing::populate_users(&gate, "u", 400, &[]).unwrap();
    let mut former: Vec<UserId> = Vec::new();
    for percentage in [0, 1, 50, 100, 1000, 2500, 2501, 5000, 9000, 9999, 10_000] {
        gate.flags().set_percentage(flag, percentage).unwrap();
        let now: Vec<UserId> =
            users.iter().copied().filter(|user| gate.is_enabled(flag, *user).unwrap()).collect();
        assert!(former.iter().all(|user| now.contains(user)), "{percentage}");
        assert!(now.iter().all(|user| flag.bucket(*user) < percentage));
        let due = usize::from(percentage) * 400 / 10_000;
        assert!(now.len().abs_diff(due) <= 40, "{} at {percentage}", now.len());
        former = now;
    }
    assert_eq!(former.len(), 400);
}

#[test]
fn an_explanation_names_the_rule_and_the_record_that_made_it() {
    let s = scene();
    let flags = s.gate.flags();
    let explain = || flags.explain(s.flag, s.ada, s.doc).unwrap();
    let why = explain();
    assert_eq!((why.step.clone(), why.record.unwrap().kind), (FlagStep::Default, AuditKind::FlagDefined));
    flags.update(s.flag, FlagChange::new().on_by_default(true)).unwrap();
    flags.update(s.flag, FlagChange::new().owner("default off")).unwrap();
    let why = explain();
    assert_eq!(why.record.as_ref().unwrap().detail, "checkout: default on", "{why}");
    flags.set_percentage(s.flag, 10_000).unwrap();
    assert_eq!(explain().record.unwrap().detail, "100.00 %");

    flags.turn_on(s.flag, FlagTarget::Role(s.junior)).unwrap();
    let why = explain();
    assert_eq!((why.enabled, why.step.clone(), why.rules.len()), (true, FlagStep::Rule, 1));
    assert_eq!((why.rules[0].scope, why.rules[0].roles.clone()), (s.team, vec![s.senior, s.junior]));
    assert_eq!(why.record, why.rules[0].record);
    let made = why.record.as_ref().unwrap();
    assert_eq!((made.kind, made.object), (AuditKind::FlagRuleSet, Some(Subject::Role(s.junior))));
    let text = why.to_string();
    let due =
        format!("on for {}, at {}, through {}, which inherits from {}", s.junior, s.team, s.senior, s.junior);
    assert!(text.contains(&due) && text.contains(&made.to_string()), "{text}");

    flags.set_rule(s.flag, FlagTarget::Scope(s.acme), &Grant::new().denying().because("incident 7")).unwrap();
    let why = explain();
    assert_eq!((why.enabled, why.rules.len()), (false, 2));
    assert_eq!(why.record.as_ref().unwrap().detail, format!("off at {} because incident 7", s.acme));
    assert!(why.to_string().starts_with(&format!("{}, {}, at {}: off\n", s.flag, s.ada, s.doc)), "{why}");
    flags.set(s.flag, FlagState::On).unwrap();
    let why = explain();
    assert_eq!((why.enabled, why.record.unwrap().detail.as_str()), (true, "on"));
}

#[test]
fn everything_is_the_same_after_a_restart() {
    let disk = Disk::new();
    let gate = disk.open();
    let flag = gate.flags().define("checkout").unwrap();
    let users: Vec<UserId> = (0..20).map(|n| user(&gate, &format!("u{n}")).id).collect();
    let scope = gate.scopes().ensure("acme/doc").unwrap();
    let role = gate.roles().create("role", []).unwrap();
    gate.roles().assign_with(users[1], role, &Grant::new().at(scope)).unwrap();
    gate.flags().set_percentage(flag, 3000).unwrap();
    gate.flags().turn_on(flag, FlagTarget::Role(role)).unwrap();
    gate.flags().turn_off(flag, FlagTarget::User(users[2])).unwrap();
    gate.flags().turn_on(flag, FlagTarget::Scope(scope)).unwrap();
    let answers = |gate: &Portcullis| -> Vec<bool> {
        let at = |scope| users.iter().map(move |user| gate.is_enabled_at(flag, *user, scope).unwrap());
        at(ROOT).chain(at(scope)).collect()
    };
    let (before, known) = (answers(&gate), everything(&gate));
    assert!(before.contains(&true) && before.contains(&false));
    drop(gate);
    let gate = disk.open();
    assert_eq!((answers(&gate), everything(&gate)), (before, known));
    sound(&gate);
}

#[test]
fn a_session_that_selected_roles_has_the_flags_of_these_and_its_users_own() {
    let s = scene();
    let gate = &s.gate;
    let [here, there, mine, off] = ["here", "there", "mine", "off"].map(|name| {
        let flag = gate.flags().define(name).unwrap();
        gate.flags().set(flag, FlagState::Targeted).unwrap();
        flag
    });
    let [active, idle] = ["active", "idle"].map(|name| gate.roles().create(name, []).unwrap());
    let sue = user(gate, "sue").id;
    gate.roles().assign_with(sue, active, &Grant::new().at(s.team)).unwrap();
    gate.roles().assign(sue, idle).unwrap();
    gate.flags().turn_on(here, FlagTarget::Role(active)).unwrap();
    gate.flags().turn_on(there, FlagTarget::Role(idle)).unwrap();
    gate.flags().turn_on(mine, FlagTarget::User(sue)).unwrap();
    gate.flags().turn_on(off, FlagTarget::Role(active)).unwrap();
    gate.flags().turn_off(off, FlagTarget::Role(idle)).unwrap();
    let who = Credentials::password("sue", PASSWORD);
    let some = gate.login_with_roles(&who, &Client::new(), [active]).unwrap();
    let all = gate.login(&who, &Client::new()).unwrap();
    let [some, all] = [&some, &all].map(|login| gate.authenticate(login.token()).unwrap());
    for (flag, in_some, in_all) in
        [(here, true, true), (there, false, true), (mine, true, true), (off, false, false)]
    {
        assert_eq!(some.is_enabled_at(flag, s.doc), in_some, "{flag}");
        assert_eq!(all.is_enabled_at(flag, s.doc), in_all, "{flag}");
        assert_eq!(gate.is_enabled_at(flag, sue, s.doc).unwrap(), in_all, "{flag}");
    }
    assert!(!some.is_enabled(here) && !some.is_enabled(there) && some.is_enabled(mine));
    gate.sessions().activate(some.session(), idle).unwrap();
    assert!(some.is_enabled(there) && some.is_enabled_at(there, s.doc));
}
