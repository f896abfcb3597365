//! The decisions on what the standard leaves open, and what it does not speak of.

use crate::support::{PASSWORD, World, all, backwards, holds, is_live, later, log_in, refused, sound, world};
use portcullis::testing::dump;
use portcullis::{
    Actor, AuditKind, Client, Credentials, ErrorKind, Grant, Login, NewUser, Outcome, Permission, Portcullis,
    Result, RoleId, SeparationKind, Subject, UserId,
};

/// Roles a, b, c, d with a permission each, and a user with a password.
struct Scene {
    world: World,
    roles: [RoleId; 4],
    bits: [Permission; 4],
    ada: UserId,
}

fn scene() -> Scene {
    let world = world();
    let bits = ["a", "b", "c", "d"].map(|name| world.gate.permissions().define(name).unwrap());
    let roles = [0, 1, 2, 3].map(|n| world.gate.roles().create(["a", "b", "c", "d"][n], [bits[n]]).unwrap());
    let ada = world.user("ada").id;
    Scene { world, roles, bits, ada }
}

pub(super) fn select(gate: &Portcullis, login: &str, roles: &[RoleId]) -> Result<Login> {
    let who = Credentials::password(login, PASSWORD);
    gate.login_with_roles(&who, &Client::new(), roles.iter().copied())
}

#[test]
fn an_active_role_activates_what_it_inherits_note_a() {
    let Scene { world, roles: [a, b, c, _], bits, ada } = scene();
    let gate = &world.gate;
    gate.roles().inherit(a, b).unwrap();
    gate.roles().assign(ada, a).unwrap();
    gate.roles().assign(ada, c).unwrap();
    let login = select(gate, "ada", &[a]).unwrap();
    let principal = gate.authenticate(login.token()).unwrap();
    assert!(principal.can(bits[0]) && principal.can(bits[1]) && !principal.can(bits[2]));
    assert_eq!(gate.sessions().roles(principal.session()).unwrap(), [a], "without those below");
    // By way of the role above it, and then not that one.
    let login = select(gate, "ada", &[b]).unwrap();
    let principal = gate.authenticate(login.token()).unwrap();
    assert!(!principal.can(bits[0]) && principal.can(bits[1]));
}

#[test]
fn redundant_edges_are_kept_note_b() {
    for order in [[0, 1], [1, 0]] {
        let Scene { world, roles: [a, b, c, _], .. } = scene();
        let roles = world.gate.roles();
        for (senior, junior) in [(a, b), (b, c), (a, c)] {
            roles.inherit(senior, junior).unwrap();
        }
        for nth in order {
            let (senior, junior) = [(a, b), (a, c)][nth];
            roles.disinherit(senior, junior).unwrap();
            let due: Vec<RoleId> = match (order, nth) {
                ([0, 1], 0) => vec![c],
                ([1, 0], 1) => vec![b, c],
                _ => vec![],
            };
            assert_eq!(roles.juniors(a).unwrap(), due);
        }
    }
}

#[test]
fn a_deleted_middle_links_nobody_and_a_diamond_keeps_its_other_side_notes_c_and_d() {
    let Scene { world, roles: [a, b, c, d], .. } = scene();
    let roles = world.gate.roles();
    for (senior, junior) in [(a, b), (b, d), (a, c), (c, d)] {
        roles.inherit(senior, junior).unwrap();
    }
    roles.disinherit(b, d).unwrap();
    assert_eq!(roles.juniors(a).unwrap(), [b, c, d]);
    roles.delete(c).unwrap();
    assert_eq!(roles.juniors(a).unwrap(), [b]);
    assert!(roles.seniors(d).unwrap().is_empty());
}

#[test]
fn a_link_that_gives_somebody_too_much_is_refused_note_e() {
    let Scene { world, roles: [a, b, c, _], ada, .. } = scene();
    let gate = &world.gate;
    gate.separation().create(SeparationKind::Static, "apart", [b, c], 2).unwrap();
    gate.roles().assign(ada, a).unwrap();
    gate.roles().inherit(a, b).unwrap();
    let before = dump(gate).unwrap();
    let error = refused(gate.roles().inherit(a, c), ErrorKind::SeparationOfDuty, Some("role"));
    assert!(error.to_string().contains("apart") && error.to_string().contains(&ada.to_string()), "{error}");
    assert_eq!(dump(gate).unwrap(), before, "nothing at all was written");
    assert_eq!(gate.roles().juniors(a).unwrap(), [b]);
}

#[test]
fn a_set_that_a_live_session_breaks_is_refused_note_f() {
    let Scene { world, roles: [a, b, ..], ada, .. } = scene();
    let gate = &world.gate;
    gate.roles().assign(ada, a).unwrap();
    gate.roles().assign(ada, b).unwrap();
    let create = || gate.separation().create(SeparationKind::Dynamic, "at once", [a, b], 2);
    let before = dump(gate).unwrap();
    refused(
        gate.separation().create(SeparationKind::Static, "always", [a, b], 2),
        ErrorKind::SeparationOfDuty,
        Some("role"),
    );
    assert_eq!(dump(gate).unwrap(), before, "and nothing was written");
    for login in [world.login("ada"), select(gate, "ada", &[a, b]).unwrap()] {
        let error = refused(create(), ErrorKind::SeparationOfDuty, Some("role"));
        assert!(error.to_string().contains("session"), "{error}");
        gate.sessions().revoke(login.session().id).unwrap();
        let mut rest = all(|page| gate.sessions().of_user(ada, page));
        rest.retain(|session| session.selected.is_none());
        rest.iter().for_each(|session| gate.sessions().revoke(session.id).unwrap());
    }
    let one = select(gate, "ada", &[a]).unwrap();
    let set = create().unwrap();
    let activate = gate.sessions().activate(one.session().id, b);
    refused(activate, ErrorKind::SeparationOfDuty, Some("role"));
    refused(select(gate, "ada", &[a, b]).map(drop), ErrorKind::SeparationOfDuty, Some("role"));
    gate.separation().delete(set).unwrap();
    gate.sessions().activate(one.session().id, b).unwrap();
    // One that is dead is in nobody's way.
    world.after(86_405);
    create().unwrap();
}

#[test]
fn numbers_that_make_no_sense_are_refused_note_g() {
    let Scene { world, roles: [a, b, c, d], .. } = scene();
    let separation = world.gate.separation();
    let before = dump(&world.gate).unwrap();
    for kind in [SeparationKind::Static, SeparationKind::Dynamic] {
        for (roles, number) in
            [(&[a, b][..], 1), (&[a, b], 0), (&[a, b], 3), (&[a], 2), (&[a, a], 2), (&[], 2)]
        {
            let made = separation.create(kind, "x", roles.iter().copied(), number);
            let field =
                if roles == [a] || roles == [a, a] || roles.is_empty() { "roles" } else { "cardinality" };
            refused(made, ErrorKind::InvalidInput, Some(field));
        }
        let made = separation.create(kind, "x", [a, RoleId::from_number(99)], 2);
        refused(made, ErrorKind::NotFound, Some("role"));
        refused(separation.create(kind, " x", [a, b], 2), ErrorKind::InvalidInput, Some("separation.name"));
        let many = (0..129).map(RoleId::from_number);
        refused(separation.create(kind, "x", many, 2), ErrorKind::LimitExceeded, Some("roles"));
    }
    assert_eq!(dump(&world.gate).unwrap(), before, "and nothing was written");
    let set = separation.create(SeparationKind::Static, "x", [a, b, c], 3).unwrap();
    refused(separation.remove_role(set, c), ErrorKind::InvalidInput, Some("cardinality"));
    refused(separation.remove_role(set, d), ErrorKind::NotFound, Some("role"));
    refused(separation.add_role(set, a), ErrorKind::AlreadyExists, Some("role"));
    refused(separation.set_cardinality(set, 4), ErrorKind::InvalidInput, Some("cardinality"));
    let twin = separation.create(SeparationKind::Static, "x", [a, b], 2);
    refused(twin, ErrorKind::AlreadyExists, Some("separation.name"));
    separation.create(SeparationKind::Dynamic, "x", [a, b], 2).unwrap();
    // Without c nobody can come to three of them.
    world.gate.roles().delete(c).unwrap();
    refused(separation.get(set).map(drop), ErrorKind::NotFound, Some("separation"));
    assert_eq!(separation.find(SeparationKind::Static, "x").unwrap(), None);
    assert_eq!(all(|page| separation.of_role(a, page)).len(), 1);
    sound(&world.gate);
}

#[test]
fn a_deassigned_role_leaves_live_sessions_at_once_and_the_session_stays_k10() {
    let Scene { world, roles: [a, b, ..], bits, ada } = scene();
    let gate = &world.gate;
    for role in [a, b] {
        gate.roles().assign(ada, role).unwrap();
    }
    let logins =
        [world.login("ada"), select(gate, "ada", &[a, b]).unwrap(), select(gate, "ada", &[a]).unwrap()];
    gate.roles().unassign(ada, a).unwrap();
    for login in &logins {
        let principal = gate.authenticate(login.token()).unwrap();
        assert!(!principal.can(bits[0]));
        assert!(!gate.sessions().roles(principal.session()).unwrap().contains(&a));
    }
    assert!(gate.authenticate(logins[1].token()).unwrap().can(bits[1]));
}

#[test]
fn static_sets_count_every_kind_of_holding() {
    let Scene { world, roles: [a, b, c, _], ada, .. } = scene();
    let (gate, roles) = (&world.gate, world.gate.roles());
    let [acme, umbrella] = ["acme", "umbrella"].map(|path| gate.scopes().ensure(path).unwrap());
    gate.separation().create(SeparationKind::Static, "apart", [b, c], 2).unwrap();
    roles.inherit(a, b).unwrap();
    roles.assign_with(ada, a, &Grant::new().at(acme)).unwrap();
    let now = gate.now();
    for terms in [
        Grant::new(),
        Grant::new().at(umbrella),
        Grant::new().not_before(later(now, 1000)),
        Grant::break_glass("fire", later(now, 60)),
    ] {
        refused(roles.assign_with(ada, c, &terms), ErrorKind::SeparationOfDuty, Some("role"));
    }
    // A denial gives nothing.
    roles.assign_with(ada, c, &Grant::new().denying()).unwrap();
    roles.unassign(ada, c).unwrap();
    // What has ended is held no more.
    roles.unassign_at(ada, a, acme).unwrap();
    roles.assign_with(ada, b, &Grant::new().until(later(now, 60))).unwrap();
    refused(roles.assign(ada, c), ErrorKind::SeparationOfDuty, Some("role"));
    // What ended a moment ago still counts.
    world.after(64);
    refused(roles.assign(ada, c), ErrorKind::SeparationOfDuty, Some("role"));
    world.after(1);
    roles.assign(ada, c).unwrap();
    refused(roles.assign(ada, b), ErrorKind::SeparationOfDuty, Some("role"));
    // A role over both can be made, and given to nobody.
    let both = roles.create_ascendant("both", [], b).unwrap();
    roles.inherit(both, c).unwrap();
    let eve = gate.users().create(NewUser::new("eve")).unwrap().id;
    refused(roles.assign(eve, both), ErrorKind::SeparationOfDuty, Some("role"));
    refused(roles.assign_many(both, [eve]), ErrorKind::SeparationOfDuty, Some("role"));
    sound(gate);
}

#[test]
fn a_session_of_all_roles_keeps_what_it_had_when_a_forbidden_one_is_assigned() {
    let Scene { world, roles: [a, b, c, _], bits, ada } = scene();
    let gate = &world.gate;
    gate.separation().create(SeparationKind::Dynamic, "at once", [a, b], 2).unwrap();
    gate.roles().assign(ada, a).unwrap();
    gate.roles().assign(ada, c).unwrap();
    let early = world.login("ada");
    assert_eq!(early.session().selected, None);
    gate.roles().assign(ada, b).unwrap();
    let principal = gate.authenticate(early.token()).unwrap();
    assert!(principal.can(bits[0]) && principal.can(bits[2]) && !principal.can(bits[1]));
    assert!(holds(gate, ada, bits[1]), "the user has it, the session does not");
    // A later one has none of those that are kept apart, until it takes one.
    let late = world.login("ada");
    assert_eq!(late.session().selected, Some(vec![c]));
    gate.sessions().activate(late.session().id, b).unwrap();
    assert!(gate.authenticate(late.token()).unwrap().can(bits[1]));
    // One that was lost does not come back beside the other.
    let session = late.session().id;
    gate.roles().unassign(ada, b).unwrap();
    gate.sessions().activate(session, a).unwrap();
    gate.roles().assign(ada, b).unwrap();
    assert_eq!(gate.sessions().roles(session).unwrap(), [a, c]);
}

#[test]
fn more_sessions_than_fit_into_one_change_end() {
    let Scene { world, roles: [a, b, ..], ada, .. } = scene();
    let gate = &world.gate;
    gate.separation().create(SeparationKind::Dynamic, "at once", [a, b], 2).unwrap();
    gate.roles().assign(ada, a).unwrap();
    let logins: Vec<Login> = (0..17).map(|_| world.login("ada")).collect();
    gate.roles().assign_many(b, [ada]).unwrap();
    assert!(logins.iter().all(|login| !is_live(gate, login.token().as_str())));
    sound(gate);
}

#[test]
fn a_selection_has_neither_what_was_given_without_a_role_nor_a_way_around_denials() {
    let Scene { world, roles: [a, b, ..], bits, ada } = scene();
    let gate = &world.gate;
    let acme = gate.scopes().ensure("acme").unwrap();
    gate.roles().assign_with(ada, a, &Grant::new().at(acme)).unwrap();
    gate.roles().assign(ada, b).unwrap();
    gate.access().grant(ada, bits[2], &Grant::new()).unwrap();
    gate.roles().deny(b, [bits[0]]).unwrap();
    let login = select(gate, "ada", &[a]).unwrap();
    let principal = gate.authenticate(login.token()).unwrap();
    assert!(!principal.can(bits[2]) && holds(gate, ada, bits[2]));
    assert!(!principal.can_at(bits[0], acme), "b is not active, and denies it");
    gate.roles().lift(b, [bits[0]]).unwrap();
    assert!(principal.can_at(bits[0], acme) && !principal.can(bits[0]));
    let session = principal.session();
    assert!(gate.sessions().permissions_at(session, acme).unwrap().iter().eq([bits[0]]));
    assert!(gate.sessions().permissions(session).unwrap().is_empty());
    refused(gate.sessions().activate(session, RoleId::from_number(3)), ErrorKind::NotFound, Some("role"));
    refused(gate.sessions().activate(session, a), ErrorKind::AlreadyExists, Some("role"));
    let all_roles = world.login("ada").session().id;
    refused(gate.sessions().activate(all_roles, a), ErrorKind::AlreadyExists, Some("role"));
    let many = (0..257).map(RoleId::from_number).collect::<Vec<_>>();
    let hashes = gate.password_hashes_computed();
    refused(select(gate, "ada", &many).map(drop), ErrorKind::LimitExceeded, Some("roles"));
    assert_eq!(gate.password_hashes_computed(), hashes, "before any hash");
    refused(select(gate, "ada", &[RoleId::from_number(3)]).map(drop), ErrorKind::NotFound, Some("role"));
    let wrong = Credentials::password("ada", "a wrong password, but a long one");
    let denied = gate.login_with_roles(&wrong, &Client::new(), [RoleId::from_number(3)]);
    assert!(denied.is_err_and(|error| error.is_denied()), "who does not know the password learns nothing");
}

#[test]
fn an_attempt_of_a_user_is_on_record_and_the_applications_own_is_not() {
    let Scene { world, roles: [a, b, ..], ada, .. } = scene();
    let gate = &world.gate;
    gate.separation().create(SeparationKind::Static, "apart", [a, b], 2).unwrap();
    gate.roles().assign(ada, a).unwrap();
    let length = gate.audit().head().length;
    gate.roles().assign(ada, b).unwrap_err();
    assert_eq!(gate.audit().head().length, length);
    let boss = world.user("boss").id;
    gate.acting_as(boss).roles().assign(ada, b).unwrap_err();
    let last = backwards(|page| gate.audit().list(page)).remove(0);
    assert_eq!((last.kind, last.outcome), (AuditKind::SeparationViolated, Outcome::Denied));
    assert_eq!(last.subject, Some(Subject::Role(b)));
    assert!(last.detail.contains("apart"), "{last}");
    gate.roles().limit_hierarchy(true).unwrap();
    let last = backwards(|page| gate.audit().list(page)).remove(0);
    assert_eq!((last.kind, last.subject), (AuditKind::HierarchyLimited, None));
}

#[test]
fn what_is_deleted_and_not_swept_yet_counts_for_nothing() {
    let Scene { world, roles: [a, b, c, _], ada, .. } = scene();
    let gate = &world.gate;
    // More than a deletion sweeps at once.
    let crowd: Vec<UserId> =
        (0..300).map(|n| gate.users().create(NewUser::new(format!("u{n}"))).unwrap().id).collect();
    gate.roles().assign_many(a, crowd.iter().copied()).unwrap();
    let acme = gate.scopes().ensure("acme").unwrap();
    for user in crowd.iter().chain([&ada]) {
        gate.roles().assign_with(*user, c, &Grant::new().at(acme)).unwrap();
    }
    let set = gate.separation().create(SeparationKind::Static, "apart", [a, b], 2).unwrap();
    gate.separation().add_role(set, RoleId::from_number(3)).unwrap();
    gate.roles().delete(a).unwrap();
    assert_eq!(gate.separation().get(set).unwrap().roles, [b, RoleId::from_number(3)]);
    refused(gate.separation().remove_role(set, b), ErrorKind::InvalidInput, Some("roles"));
    refused(gate.separation().set_cardinality(set, 3), ErrorKind::InvalidInput, Some("cardinality"));
    gate.roles().assign(crowd[299], b).unwrap();
    sound(gate);
    gate.scopes().delete(acme).unwrap();
    gate.separation().create(SeparationKind::Static, "more", [b, c], 2).unwrap();
    assert_eq!(gate.review().authorized_roles(ada).unwrap(), []);
    gate.roles().assign(ada, b).unwrap();
    sound(gate);
}

#[test]
fn a_session_that_ended_a_moment_ago_still_counts() {
    let Scene { world, roles: [a, b, ..], ada, .. } = scene();
    let gate = &world.gate;
    for role in [a, b] {
        gate.roles().assign(ada, role).unwrap();
    }
    let login = world.login("ada");
    let create = || gate.separation().create(SeparationKind::Dynamic, "at once", [a, b], 2);
    // Idle for too long by a second, which the clock may take back unnoticed.
    world.after(3601);
    refused(create(), ErrorKind::SeparationOfDuty, Some("role"));
    world.after(5);
    create().unwrap();
    assert!(!is_live(gate, login.token().as_str()));
}

#[test]
fn an_activation_is_in_the_name_of_who_makes_it() {
    let Scene { world, roles: [a, b, ..], ada, .. } = scene();
    let gate = &world.gate;
    gate.separation().create(SeparationKind::Dynamic, "at once", [a, b], 2).unwrap();
    for role in [a, b] {
        gate.roles().assign(ada, role).unwrap();
    }
    let login = select(gate, "ada", &[a]).unwrap();
    let (session, boss) = (login.session().id, world.user("boss").id);
    let last = || backwards(|page| gate.audit().list(page)).remove(0);
    let logged = backwards(|page| gate.audit().by_kind(AuditKind::LoginSuccess, page)).remove(0);
    assert!(logged.detail.contains(&format!("{a} active")), "{logged}");
    let before = gate.audit().head();
    refused(gate.sessions().activate(session, b), ErrorKind::SeparationOfDuty, Some("role"));
    assert_eq!(gate.audit().head(), before, "the application's own attempt");
    let acting = gate.acting_as(boss).sessions().activate(session, b);
    refused(acting, ErrorKind::SeparationOfDuty, Some("role"));
    assert_eq!((last().kind, last().actor), (AuditKind::SeparationViolated, Actor::User(boss)));
    let delegated = gate.delegated(boss);
    for refused in [delegated.sessions().activate(session, b), delegated.sessions().deactivate(session, a)] {
        assert!(refused.is_err_and(|error| error.is_denied()));
        assert_eq!((last().kind, last().actor), (AuditKind::DelegationRefused, Actor::User(boss)));
    }
    // What an assignment takes out of an open session is on record, too.
    let open = gate.users().create(NewUser::new("eve").password(PASSWORD)).unwrap().id;
    gate.roles().assign(open, a).unwrap();
    let session = log_in(gate, "eve", PASSWORD).unwrap().session().id;
    gate.roles().assign(open, b).unwrap();
    let of_it = all(|page| gate.audit().by_subject(Subject::Session(session), page));
    assert!(of_it.iter().any(|record| record.kind == AuditKind::RoleDeactivated), "{of_it:?}");
}

#[test]
fn a_set_takes_as_many_roles_as_it_says() {
    let Scene { world, .. } = scene();
    let gate = &world.gate;
    let many: Vec<RoleId> = (0..128).map(|n| gate.roles().create(&format!("r{n}"), []).unwrap()).collect();
    let set = gate.separation().create(SeparationKind::Static, "many", many.iter().copied(), 2).unwrap();
    let ada = gate.users().find("ada").unwrap().unwrap().id;
    gate.roles().assign(ada, many[127]).unwrap();
    refused(gate.roles().assign(ada, many[0]), ErrorKind::SeparationOfDuty, Some("role"));
    gate.separation().delete(set).unwrap();
}
