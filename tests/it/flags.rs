//! Feature flags: what is on for whom, in which order it is decided, and what is left of a rule when what it names goes.

use crate::support::{Disk, World, all, backwards, everything, holds, later, log_in, refused, sound, world};
use portcullis::testing::FaultPoint;
use portcullis::{
    Effect, ErrorKind, Flag, FlagChange, FlagState, FlagStep, FlagTarget, Grant, NewFlag, PageRequest,
    Permission, PermissionSet, Portcullis, RoleId, ScopeId, Status, Subject, UserId,
};

pub(crate) const ROOT: ScopeId = ScopeId::ROOT;

pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) gate: Portcullis,
    pub(crate) flag: Flag,
    /// Ada holds `senior`, which inherits from `junior`, at `acme/team`.
    pub(crate) ada: UserId,
    pub(crate) bob: UserId,
    pub(crate) junior: RoleId,
    pub(crate) senior: RoleId,
    pub(crate) acme: ScopeId,
    pub(crate) team: ScopeId,
    pub(crate) doc: ScopeId,
}

pub(crate) fn scene() -> Scene {
    let world = world();
    let gate = world.gate.clone();
    let flag = gate.flags().define(NewFlag::new("checkout").owner("payments")).unwrap();
    let (ada, bob) = (world.user("ada").id, world.user("bob").id);
    let [junior, senior] = ["junior", "senior"].map(|name| gate.roles().create(name, []).unwrap());
    gate.roles().inherit(senior, junior).unwrap();
    let doc = gate.scopes().ensure("acme/team/doc").unwrap();
    let [acme, team] = ["acme", "acme/team"].map(|path| gate.scopes().find(path).unwrap().unwrap());
    gate.roles().assign_with(ada, senior, &Grant::new().at(team)).unwrap();
    Scene { world, gate, flag, ada, bob, junior, senior, acme, team, doc }
}

impl Scene {
    /// Whether it is on, asked in every way there is.
    #[track_caller]
    pub(crate) fn on(&self, user: UserId, scope: ScopeId) -> bool {
        let on = self.gate.is_enabled_at(self.flag, user, scope).unwrap();
        if scope == ROOT {
            assert_eq!(self.gate.is_enabled(self.flag, user).unwrap(), on);
        }
        let why = self.gate.flags().explain(self.flag, user, scope).unwrap();
        assert_eq!(why.enabled, on, "{why}");
        if let Ok(user) = self.gate.users().get(user)
            && let Ok(login) = log_in(&self.gate, &user.login, crate::support::PASSWORD)
        {
            let who = self.gate.authenticate(login.token()).unwrap();
            for _ in 0..2 {
                assert_eq!(who.is_enabled_at(self.flag, scope), on);
                assert_eq!(who.is_enabled(self.flag), self.gate.is_enabled(self.flag, user.id).unwrap());
            }
            self.gate.sessions().revoke(who.session()).unwrap();
            assert!(!who.is_enabled_at(self.flag, scope) && !who.is_enabled(self.flag), "a dead session");
        }
        on
    }
}

#[test]
fn what_is_defined_is_found_listed_and_changed() {
    let gate = world().gate;
    let flags = gate.flags();
    let new = NewFlag::new("checkout:new").description("the new one").owner("payments").on_by_default(true);
    let flag = flags.define(new.clone()).unwrap();
    assert_eq!(flags.define(new).unwrap(), flag, "again is no error and no change");
    assert_eq!(flags.define("checkout:new").unwrap(), flag);
    let info = flags.get(flag).unwrap();
    assert_eq!(
        (info.flag, info.name.as_str(), info.description.as_str()),
        (flag, "checkout:new", "the new one")
    );
    assert_eq!((info.owner.as_str(), info.default, info.percentage), ("payments", true, 0));
    assert_eq!((info.state, info.created), (FlagState::Targeted, gate.now()));
    assert_eq!(flags.find("checkout:new").unwrap().unwrap(), info);
    assert_eq!(flags.find("checkout").unwrap(), None);
    let other = flags.define("other").unwrap();
    assert_eq!(all(|page| flags.list(page)).iter().map(|info| info.flag).collect::<Vec<_>>(), [flag, other]);
    assert_eq!(backwards(|page| flags.list(page))[0].flag, other);
    assert_eq!(gate.statistics().flags, 2);

    let change = FlagChange::new().expect(info.stamp).name("checkout").owner("shop").on_by_default(false);
    let changed = flags.update(flag, change.clone()).unwrap();
    assert_eq!(changed, flags.get(flag).unwrap());
    assert_eq!((changed.name.as_str(), changed.owner.as_str(), changed.default), ("checkout", "shop", false));
    assert_eq!(changed.description, "the new one");
    let before = everything(&gate);
    refused(flags.update(flag, change), ErrorKind::Conflict, Some("stamp"));
    refused(
        flags.update(other, FlagChange::new().name("checkout")),
        ErrorKind::AlreadyExists,
        Some("flag.name"),
    );
    assert_eq!(
        flags.update(flag, FlagChange::new().name("checkout").expect(changed.stamp)).unwrap(),
        changed
    );
    flags.set(flag, FlagState::Targeted).unwrap();
    flags.set_percentage(flag, 0).unwrap();
    assert_eq!(everything(&gate), before, "what changes nothing writes nothing");
    flags.set(flag, FlagState::On).unwrap();
    refused(
        flags.update(flag, FlagChange::new().expect(changed.stamp).owner("x")),
        ErrorKind::Conflict,
        Some("stamp"),
    );
    let details: Vec<String> = all(|page| gate.audit().by_subject(Subject::Flag(flag), page))
        .into_iter()
        .map(|record| format!("{} {}", record.kind, record.detail))
        .collect();
    assert_eq!(
        details,
        [
            "flag_defined checkout:new: default on",
            "flag_updated checkout: name, owner, default off",
            "flag_set on",
        ]
    );
    sound(&gate);
}

#[test]
fn input_that_breaks_a_rule_names_its_field_and_changes_nothing() {
    let Scene { gate, flag, ada, junior, acme, team, .. } = scene();
    let flags = gate.flags();
    let (long, longer) = ("n".repeat(129), "d".repeat(513));
    flags.define(NewFlag::new("n".repeat(128)).description("d".repeat(512)).owner("o".repeat(512))).unwrap();
    let before = everything(&gate);
    for (new, field) in [
        (NewFlag::new(""), "flag.name"),
        (NewFlag::new(long.as_str()), "flag.name"),
        (NewFlag::new("a\nb"), "flag.name"),
        (NewFlag::new("new").description(longer.as_str()), "flag.description"),
        (NewFlag::new("new").owner(longer.as_str()), "flag.owner"),
        (NewFlag::new("new").owner("\u{202e}"), "flag.owner"),
    ] {
        refused(flags.define(new), ErrorKind::InvalidInput, Some(field));
    }
    for (change, field) in [
        (FlagChange::new().name(long.as_str()), "flag.name"),
        (FlagChange::new().description(longer.as_str()), "flag.description"),
        (FlagChange::new().owner(longer.as_str()), "flag.owner"),
    ] {
        refused(flags.update(flag, change), ErrorKind::InvalidInput, Some(field));
    }
    refused(flags.set_percentage(flag, 10_001), ErrorKind::InvalidInput, Some("flag.percentage"));
    let (to, now) = (FlagTarget::User(ada), gate.now());
    let invalid = |target, terms: Grant, field| {
        refused(flags.set_rule(flag, target, &terms), ErrorKind::InvalidInput, Some(field));
    };
    invalid(to, Grant::new().until(now), "grant.until");
    invalid(to, Grant::new().because(longer.as_str()), "grant.reason");
    invalid(to, Grant::break_glass("fire", later(now, 60)), "grant");
    invalid(FlagTarget::Role(junior), Grant::new().at(acme), "grant.scope");
    invalid(FlagTarget::Role(junior), Grant::new().until(later(now, 60)), "grant");
    invalid(FlagTarget::Role(junior), Grant::new().not_before(later(now, 60)), "grant");
    invalid(FlagTarget::Scope(acme), Grant::new().at(team), "grant.scope");
    invalid(FlagTarget::Scope(ROOT), Grant::new(), "target");
    refused(
        flags.rules_for(FlagTarget::Scope(ROOT), &PageRequest::default()),
        ErrorKind::InvalidInput,
        Some("target"),
    );
    refused(flags.rules(flag, &PageRequest::first(0)), ErrorKind::InvalidInput, Some("limit"));
    let nothing = 999;
    for (target, scope, field) in [
        (FlagTarget::User(UserId::from_number(nothing.into())), ROOT, "user"),
        (FlagTarget::Role(RoleId::from_number(nothing)), ROOT, "role"),
        (FlagTarget::Scope(ScopeId::from_number(nothing)), ROOT, "scope"),
        (to, ScopeId::from_number(nothing), "scope"),
    ] {
        refused(flags.set_rule(flag, target, &Grant::new().at(scope)), ErrorKind::NotFound, Some(field));
        refused(flags.remove_rule(flag, target, scope), ErrorKind::NotFound, Some("target"));
        if scope == ROOT {
            refused(flags.rules_for(target, &PageRequest::default()), ErrorKind::NotFound, Some(field));
        }
    }
    let unknown = Flag::from_number(nothing);
    refused(flags.get(unknown), ErrorKind::NotFound, Some("flag"));
    refused(flags.set(unknown, FlagState::On), ErrorKind::NotFound, Some("flag"));
    refused(flags.set_percentage(unknown, 1), ErrorKind::NotFound, Some("flag"));
    refused(flags.turn_on(unknown, to), ErrorKind::NotFound, Some("flag"));
    refused(flags.update(unknown, FlagChange::new()), ErrorKind::NotFound, Some("flag"));
    refused(flags.rules(unknown, &PageRequest::default()), ErrorKind::NotFound, Some("flag"));
    refused(flags.delete(unknown), ErrorKind::NotFound, Some("flag"));
    assert_eq!(everything(&gate), before);
}

#[test]
fn the_order_of_decision_is_as_it_is_documented() {
    let s = scene();
    let flags = s.gate.flags();
    let step = |user, scope| flags.explain(s.flag, user, scope).unwrap().step;
    // The default last.
    assert!(!s.on(s.ada, s.doc));
    assert_eq!(step(s.ada, s.doc), FlagStep::Default);
    flags.update(s.flag, FlagChange::new().on_by_default(true)).unwrap();
    assert!(s.on(s.ada, s.doc) && s.on(s.bob, ROOT));
    flags.update(s.flag, FlagChange::new().on_by_default(false)).unwrap();
    // The percentage before it.
    flags.set_percentage(s.flag, 10_000).unwrap();
    assert!(s.on(s.ada, s.doc) && s.on(s.bob, ROOT));
    assert_eq!(step(s.bob, ROOT), FlagStep::Percentage(10_000));
    // A rule that turns it off before that, and before one that turns it on, wherever they stand.
    for (off, at, on) in [
        (FlagTarget::Role(s.junior), ROOT, FlagTarget::User(s.ada)),
        (FlagTarget::User(s.ada), s.team, FlagTarget::Role(s.senior)),
        (FlagTarget::User(s.ada), ROOT, FlagTarget::Scope(s.doc)),
        (FlagTarget::Scope(s.acme), ROOT, FlagTarget::Scope(s.doc)),
        (FlagTarget::Scope(s.doc), ROOT, FlagTarget::User(s.ada)),
    ] {
        flags.set_rule(s.flag, off, &Grant::new().at(at).denying()).unwrap();
        assert!(!s.on(s.ada, s.doc), "{off:?}");
        flags.turn_on(s.flag, on).unwrap();
        assert!(!s.on(s.ada, s.doc), "{off:?} before {on:?}");
        assert_eq!(step(s.ada, s.doc), FlagStep::Rule);
        // The state before all.
        flags.set(s.flag, FlagState::On).unwrap();
        assert!(s.on(s.ada, s.doc));
        assert_eq!(step(s.ada, s.doc), FlagStep::State(FlagState::On));
        flags.set(s.flag, FlagState::Targeted).unwrap();
        flags.set_percentage(s.flag, 0).unwrap();
        flags.remove_rule(s.flag, off, at).unwrap();
        assert!(s.on(s.ada, s.doc), "{on:?} is left");
        flags.set(s.flag, FlagState::Off).unwrap();
        assert!(!s.on(s.ada, s.doc));
        flags.set(s.flag, FlagState::Targeted).unwrap();
        flags.remove_rule(s.flag, on, ROOT).unwrap();
        assert!(!s.on(s.ada, s.doc), "no rule is left");
        flags.set_percentage(s.flag, 10_000).unwrap();
    }
    sound(&s.gate);
}

#[test]
fn without_a_scope_counts_only_what_holds_everywhere() {
    let s = scene();
    let flags = s.gate.flags();
    flags.turn_on(s.flag, FlagTarget::Role(s.junior)).unwrap();
    let places = [ROOT, s.acme, s.team, s.doc];
    let of = |user| places.map(|scope| s.on(user, scope));
    assert_eq!(of(s.ada), [false, false, true, true], "where the role is held, and below");
    assert_eq!(of(s.bob), [false; 4]);
    flags.turn_on(s.flag, FlagTarget::Scope(s.doc)).unwrap();
    assert_eq!(of(s.bob), [false, false, false, true]);
    flags.set_rule(s.flag, FlagTarget::User(s.bob), &Grant::new().at(s.acme)).unwrap();
    assert_eq!(of(s.bob), [false, true, true, true]);
    flags.turn_on(s.flag, FlagTarget::User(s.bob)).unwrap();
    assert_eq!(of(s.bob), [true; 4]);
    // A move takes the rules of the new place.
    let vault = s.gate.scopes().ensure("acme/vault").unwrap();
    flags.turn_off(s.flag, FlagTarget::Scope(vault)).unwrap();
    s.gate.scopes().move_to(s.doc, vault).unwrap();
    assert_eq!(of(s.bob), [true, true, true, false]);
    s.gate.scopes().move_to(s.doc, s.team).unwrap();
    assert_eq!(of(s.bob), [true; 4]);
    sound(&s.gate);
}

#[test]
fn a_role_that_is_assigned_as_a_denial_turns_off_what_it_would_turn_on() {
    let s = scene();
    let flags = s.gate.flags();
    flags.turn_on(s.flag, FlagTarget::Role(s.junior)).unwrap();
    s.gate.roles().assign(s.bob, s.junior).unwrap();
    assert!(s.on(s.bob, s.doc) && s.on(s.bob, ROOT));
    s.gate.roles().assign_with(s.bob, s.senior, &Grant::new().at(s.doc).denying()).unwrap();
    assert!(!s.on(s.bob, s.doc) && s.on(s.bob, s.team));
    flags.turn_off(s.flag, FlagTarget::Role(s.junior)).unwrap();
    assert!(!s.on(s.bob, s.doc) && !s.on(s.bob, ROOT));
    let why = flags.explain(s.flag, s.bob, s.doc).unwrap();
    assert!(why.rules.iter().all(|rule| rule.effect == Effect::Deny) && why.rules.len() == 2, "{why}");
}

#[test]
fn who_may_not_log_in_or_is_not_there_has_no_flag() {
    let s = scene();
    s.gate.flags().set(s.flag, FlagState::On).unwrap();
    let nobody =
        [UserId::from_number(999), UserId::from_number(u64::from(u32::MAX)), UserId::from_number(u64::MAX)];
    for user in nobody {
        assert!(!s.on(user, ROOT) && !s.on(user, s.doc));
    }
    for scope in [ScopeId::from_number(999), ScopeId::from_number(u32::MAX)] {
        assert!(!s.on(s.ada, scope));
        assert_eq!(s.gate.flags().explain(s.flag, s.ada, scope).unwrap().step, FlagStep::NoScope);
    }
    for number in [1, 999, Flag::LIMIT, u32::MAX] {
        let flag = Flag::from_number(number);
        assert!(
            !s.gate.is_enabled(flag, s.ada).unwrap() && !s.gate.is_enabled_at(flag, s.ada, s.doc).unwrap()
        );
        assert_eq!(s.gate.flags().explain(flag, s.ada, ROOT).unwrap().step, FlagStep::NoFlag);
    }
    for state in [FlagState::On, FlagState::Targeted] {
        s.gate.flags().set(s.flag, state).unwrap();
        s.gate.flags().turn_on(s.flag, FlagTarget::User(s.ada)).unwrap();
        assert!(s.on(s.ada, ROOT) && s.on(s.ada, s.doc));
        s.gate.users().set_status(s.ada, Status::disabled("gone")).unwrap();
        assert!(!s.on(s.ada, ROOT) && !s.on(s.ada, s.doc));
        s.gate
            .users()
            .set_status(s.ada, Status::locked("for a while").until(later(s.gate.now(), 5)))
            .unwrap();
        assert!(!s.on(s.ada, ROOT));
        s.world.after(5);
        assert!(s.on(s.ada, ROOT) && s.on(s.ada, s.doc), "the lock has ended");
        s.gate.users().set_status(s.ada, Status::active()).unwrap();
    }
}

#[test]
fn a_handle_that_stopped_answers_an_error_whatever_the_flag() {
    let disk = Disk::new();
    let gate = disk.open();
    let ada = crate::support::user(&gate, "ada").id;
    let scope = gate.scopes().ensure("acme").unwrap();
    let login = log_in(&gate, "ada", crate::support::PASSWORD).unwrap();
    let states = [FlagState::On, FlagState::Off, FlagState::Targeted];
    let flags: Vec<Flag> = states
        .into_iter()
        .map(|state| {
            let flag = gate.flags().define(state.to_string().as_str()).unwrap();
            gate.flags().set(flag, state).unwrap();
            gate.flags().set_percentage(flag, 10_000).unwrap();
            flag
        })
        .collect();
    let who = gate.authenticate(login.token()).unwrap();
    assert!(who.is_enabled(flags[0]) && who.is_enabled_at(flags[2], scope));
    disk.faults.fail(FaultPoint::JournalSync, 1);
    assert!(gate.flags().set(flags[0], FlagState::Off).is_err());
    for flag in flags.into_iter().chain([Flag::from_number(999)]) {
        for at in [ROOT, scope, ScopeId::from_number(999)] {
            refused(gate.is_enabled_at(flag, ada, at), ErrorKind::Stopped, None);
            assert!(!who.is_enabled_at(flag, at) && !who.is_enabled(flag));
        }
        refused(gate.is_enabled(flag, ada), ErrorKind::Stopped, None);
    }
}

#[test]
fn a_flag_is_no_permission() {
    let s = scene();
    let read = s.gate.permissions().define("read").unwrap();
    s.gate.roles().grant(s.junior, [read]).unwrap();
    // So many flags that their numbers are those of permissions, too.
    let flags: Vec<Flag> =
        (0..70).map(|n| s.gate.flags().define(format!("f{n}").as_str()).unwrap()).collect();
    for flag in &flags {
        s.gate.flags().turn_on(*flag, FlagTarget::Role(s.junior)).unwrap();
        s.gate.flags().turn_on(*flag, FlagTarget::User(s.bob)).unwrap();
        s.gate.flags().turn_on(*flag, FlagTarget::Scope(s.acme)).unwrap();
    }
    s.gate.roles().assign(s.bob, s.senior).unwrap();
    assert!(flags.iter().all(|flag| s.gate.is_enabled(*flag, s.bob).unwrap()));
    let only: PermissionSet = [read].into_iter().collect();
    assert_eq!(s.gate.roles().granted(s.junior).unwrap(), only);
    assert_eq!(s.gate.roles().effective(s.senior).unwrap(), only);
    assert_eq!(s.gate.users().permissions(s.bob).unwrap(), only);
    assert_eq!(s.gate.review().what_can(s.bob, s.doc).unwrap(), only);
    assert!(all(|page| s.gate.access().of_user(s.bob, page)).is_empty());
    assert_eq!(all(|page| s.gate.permissions().list(page)).len(), 1);
    let login = log_in(&s.gate, "bob", crate::support::PASSWORD).unwrap();
    let who = s.gate.authenticate(login.token()).unwrap();
    // Neither its number nor the bit that it has in the sets, nor any other.
    let first = Permission::LIMIT;
    for bit in (1..200).chain(first..first + 200).chain([first + Flag::LIMIT, u32::MAX]) {
        let permission = Permission::from_bit(bit);
        assert!(!holds(&s.gate, s.bob, permission) && !who.can(permission), "bit {bit}");
        assert!(!s.gate.check_at(s.bob, permission, s.doc).unwrap().is_allowed(), "bit {bit}");
        assert!(!who.can_at(permission, s.doc), "bit {bit}");
        let terms = Grant::new();
        refused(s.gate.access().grant(s.bob, permission, &terms), ErrorKind::NotFound, Some("permission"));
        refused(s.gate.roles().grant(s.junior, [permission]), ErrorKind::NotFound, Some("permission"));
        assert!(all(|page| s.gate.review().who_can(permission, s.doc, page)).is_empty(), "bit {bit}");
    }
    // And the other way round: what is granted turns no flag on.
    let other = s.gate.flags().define("other").unwrap();
    assert!(!s.gate.is_enabled_at(other, s.bob, s.doc).unwrap());
    sound(&s.gate);
}
