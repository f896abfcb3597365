//! Delegated actors: what their delegations cover they can do, and nothing else, by no way round.

use crate::audit_kinds::{OPERATIONS, scene};
use crate::support::{
    Disk, OTHER, PASSWORD, World, all, backwards, everything, later, log_in, refused, sound, user, world,
};
use portcullis::{
    Ability, Actor, AuditKind, Clock, Denial, ErrorKind, Grant, MaintenanceSchedule, NewContact, NewUser,
    Outcome, Permission, Portcullis, Result, RoleChange, RoleId, RoleRange, ScopeId, Status, Subject,
    UserChange, UserId,
};
use std::fmt::Debug;

pub(crate) const EVERYTHING: [Ability; 6] = [
    Ability::Assign,
    Ability::Unassign,
    Ability::ChangeRoles,
    Ability::GrantDirectly,
    Ability::ManageScopes,
    Ability::ManageUsers,
];

/// A call that no delegation covers: refused, with one record that says so, and nothing else is changed.
#[track_caller]
pub(crate) fn uncovered<T: Debug>(gate: &Portcullis, name: &str, call: impl FnOnce() -> Result<T>) {
    let (before, hashes) = (everything(gate), gate.password_hashes_computed());
    let error = call().expect_err(name);
    assert_eq!(error.denial(), Some(Denial::Delegation), "{name}: {error:?}");
    let after = everything(gate);
    assert_eq!(after[1..], before[1..], "{name}");
    assert_eq!(gate.password_hashes_computed(), hashes, "{name} is refused before it is dear");
    let last = backwards(|page| gate.audit().list(page)).remove(0);
    assert_eq!((last.kind, last.outcome), (AuditKind::DelegationRefused, Outcome::Denied), "{name}");
    assert!(matches!(last.actor, Actor::User(_)) && !last.detail.is_empty(), "{name}: {last}");
}

/// Every operation that writes an audit record, on a handle whose actor has no delegation: a new operation is in this
/// list, or the test of the audit kinds fails.
#[test]
fn no_change_is_open_to_a_delegated_handle_without_a_delegation() {
    for (kind, _, run) in OPERATIONS {
        let mut scene = scene();
        scene.gate.roles().create("fresh", []).unwrap();
        let plain = scene.gate.clone();
        scene.gate = plain.delegated(scene.ada);
        let length = plain.audit().head().length;
        uncovered(&plain, kind.name(), || {
            let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&scene))).unwrap_err();
            let message = failed.downcast_ref::<String>().unwrap();
            assert!(message.contains("Denied(Delegation)"), "{kind}: {message}");
            Err::<(), _>(scene.gate.delegated(scene.ada).close().unwrap_err())
        });
        let records = all(|page| plain.audit().list(page));
        let [tried, closing] = &records[usize::try_from(length).unwrap()..] else {
            panic!("{kind}: {records:?}")
        };
        assert_eq!(
            (tried.kind, tried.actor),
            (AuditKind::DelegationRefused, Actor::User(scene.ada)),
            "{kind}"
        );
        assert_eq!((closing.kind, closing.detail.as_str()), (AuditKind::DelegationRefused, "close"));
        sound(&plain);
    }
}

/// Whatever is written by another way than in the name of a handle is not held to any delegation, so each such place is
/// listed here, with its reason.
#[test]
fn what_is_written_in_nobodys_name_is_known() {
    let known = [
        ("api_keys/expired.rs", 1), // keys past their end
        ("bulk/eras.rs", 1),
        ("bulk/mod.rs", 3),
        ("bulk/scope.rs", 1),
        ("demand.rs", 1),            // the end of sessions of which a role comes to ask more
        ("idle.rs", 1),              // sessions past their idle limit
        ("ids.rs", 1),               // blocks of numbers
        ("impersonation/mod.rs", 1), // somebody begins to act as another user, in the name of who does
        ("login/answer.rs", 3), // a code to be sent, a factor enrolled at a login, a wrong answer counted
        ("login/change.rs", 1), // a change of password, in the name of who knows the present one
        ("login/complete.rs", 1), // a login, in the name of who proves to be that user
        ("login/passkey.rs", 1), // what a login asks of a passkey
        ("login/reauthenticate.rs", 1), // a step up, in the name of who holds the session
        ("login/refusal.rs", 3), // a refused login, and a code whose hash can not be verified
        ("own_sessions.rs", 2), // a user's own sessions, in the name of who is in one of them
        ("passkeys/assertion.rs", 1), // the secret that the first use of passkeys makes
        ("passkeys/probe.rs", 2), // for tests only
        ("passwords.rs", 3),    // a user's own change, its refusal, and a breach check that failed
        ("populate.rs", 1),     // for benches only
        ("refresh/mod.rs", 1),  // a session, in the name of who presents its refresh token
        ("refresh/tests.rs", 1), // tests
        ("separation.rs", 1),   // that there are sets of roles at all, for whom the handle lets make one
        ("session_roles.rs", 1), // what was refused, in the name of who tried
        ("signed.rs", 1),       // that a session has signed tokens out, in the name of its user
        ("sweep.rs", 2),        // what is past its end or has no effect any more, and last-seen times
        ("throttle/mod.rs", 1), // that an attempt was refused for a time
        ("throttle/populate.rs", 1), // for benches only
        ("tickets/issue.rs", 1), // what a stranger asks for
        ("tickets/redeem.rs", 3), // in the name of who presents a token, and why one is refused
        ("write.rs", 3), // the write path itself, the refusals of delegated actors and of who acts as somebody
    ];
    let engine = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/engine");
    let mut found = Vec::new();
    let mut open = vec![engine.clone()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(&engine).unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !matches!(name.as_str(), "review" | "view") {
                    open.push(path); // those two read only
                }
                continue;
            }
            if name == "between.rs" {
                continue; // tests
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let code = || text.lines().map(|line| line.split("//").next().unwrap_or_default());
            let writes = code().filter(|line| {
                line.contains(".write(") && !line.contains("gate.actor()") && !line.contains("self.actor()")
            });
            let commits =
                code().filter(|line| line.contains("store.commit(") || line.contains("store().commit("));
            match writes.count() + commits.count() {
                0 => {}
                count => found.push((name, count)),
            }
        }
    }
    found.sort();
    assert_eq!(found, known.map(|(name, count)| (name.to_owned(), count)));
}

#[test]
fn a_delegated_handle_stays_one() {
    let world = world();
    let (gate, ada, bob) = (&world.gate, world.user("ada").id, world.user("bob").id);
    let role = gate.roles().create("role", []).unwrap();
    let handle = gate.delegated(ada);
    for handle in [handle.acting_as(bob), handle.delegated(bob), handle.clone()] {
        uncovered(gate, "assign", || handle.roles().assign(bob, role));
        uncovered(gate, "maintain", || handle.maintain(10));
        uncovered(gate, "start maintenance", || handle.start_maintenance(MaintenanceSchedule::new()));
        uncovered(gate, "close", || handle.close());
        let last = backwards(|page| gate.audit().list(page)).remove(0);
        assert_eq!(last.actor, Actor::User(ada));
    }
    // A login proves for itself who it is, and asking is open to all.
    log_in(&handle, "bob", PASSWORD).unwrap();
    assert_eq!(everything(&handle), everything(gate));
    // Nobody at all.
    uncovered(gate, "nobody", || gate.delegated(UserId::from_number(999)).roles().assign(bob, role));
}

/// Tenants `acme` and `other`; `ada` administers `acme` in every way, with `editor` and what it inherits from.
pub(crate) struct Tenants {
    pub(crate) world: World,
    pub(crate) acme: ScopeId,
    pub(crate) other: ScopeId,
    pub(crate) doc: ScopeId,
    pub(crate) folder: ScopeId,
    pub(crate) read: Permission,
    pub(crate) write: Permission,
    pub(crate) purge: Permission,
    /// In the range: the third belongs to the tenant and inherits from the second, that from the first.
    pub(crate) member: RoleId,
    pub(crate) editor: RoleId,
    pub(crate) own: RoleId,
    /// Not in the range.
    pub(crate) root: RoleId,
    pub(crate) admin: RoleId,
    pub(crate) ada: UserId,
    pub(crate) bob: UserId,
    pub(crate) eve: UserId,
}

pub(crate) fn tenants() -> Tenants {
    let world = world();
    let gate = &world.gate;
    let [read, write, purge] =
        ["read", "write", "purge"].map(|name| gate.permissions().define(name).unwrap());
    let acme = gate.scopes().ensure("acme").unwrap();
    let other = gate.scopes().ensure("other").unwrap();
    let folder = gate.scopes().ensure("acme/folder").unwrap();
    let doc = gate.scopes().ensure("acme/folder/doc").unwrap();
    let member = gate.roles().create("member", [read]).unwrap();
    let editor = gate.roles().create("editor", [write]).unwrap();
    gate.roles().inherit(editor, member).unwrap();
    let own = gate.roles().create_in(acme, "own", []).unwrap();
    gate.roles().inherit(own, editor).unwrap();
    let root = gate.roles().create("root", [purge]).unwrap();
    let admin = gate.roles().create("admin", []).unwrap();
    gate.delegations().create(admin, RoleRange::Below(own), EVERYTHING).unwrap();
    let [ada, bob, eve] = ["ada", "bob", "eve"].map(|login| user(gate, login).id);
    gate.roles().assign_with(ada, admin, &Grant::new().at(acme)).unwrap();
    gate.users().update(bob, UserChange::new().home(acme)).unwrap();
    Tenants {
        world,
        acme,
        other,
        doc,
        folder,
        read,
        write,
        purge,
        member,
        editor,
        own,
        root,
        admin,
        ada,
        bob,
        eve,
    }
}

#[test]
fn what_is_covered_is_done_and_written_down_under_the_actors_name() {
    let t = tenants();
    let gate = &t.world.gate;
    let handle = gate.delegated(t.ada);
    let at = |scope| Grant::new().at(scope);
    let roles = handle.roles();
    roles.assign_with(t.bob, t.member, &at(t.acme)).unwrap();
    roles.assign_with(t.eve, t.own, &at(t.doc)).unwrap();
    roles.assign_with(t.bob, t.editor, &at(t.folder).denying()).unwrap();
    roles.unassign_at(t.bob, t.editor, t.folder).unwrap();
    roles.unassign_at(t.eve, t.own, t.doc).unwrap();
    let soon = later(t.world.clock.now(), 60);
    roles.assign_with(t.eve, t.editor, &Grant::break_glass("fire", soon).at(t.acme)).unwrap();
    roles.grant(t.own, [t.write]).unwrap();
    roles.withdraw(t.own, [t.write]).unwrap();
    roles.deny(t.own, [t.read]).unwrap();
    roles.lift(t.own, [t.read]).unwrap();
    roles.disinherit(t.own, t.editor).unwrap();
    // Now the range is the role alone, which gives nothing.
    uncovered(gate, "inherit", || roles.inherit(t.own, t.editor));
    gate.roles().inherit(t.own, t.editor).unwrap();
    roles.update(t.own, RoleChange::new().name("ours").description("all of us")).unwrap();
    handle.access().grant(t.bob, t.write, &at(t.doc)).unwrap();
    handle.access().withdraw(t.bob, t.write, t.doc).unwrap();
    let made = handle.scopes().create(t.acme, "new").unwrap();
    handle.scopes().rename(made, "newer").unwrap();
    handle.scopes().move_to(t.doc, made).unwrap();
    handle.scopes().delete(made).unwrap();
    let new = NewUser::new("new").password(PASSWORD).home(t.folder);
    let new = handle.users().create(new).unwrap();
    assert_eq!(new.home, t.folder);
    for user in [t.bob, new.id] {
        let users = handle.users();
        users.update(user, UserChange::new().login(format!("x{}", user.get()))).unwrap();
        users.set_status(user, Status::disabled("a while")).unwrap();
        users.set_status(user, Status::active()).unwrap();
        users.set_password(user, OTHER).unwrap();
        let contact = users.add_contact(user, &NewContact::email("a@x.org")).unwrap();
        users.verify_contact(user, contact.id).unwrap();
        users.remove_contact(user, contact.id).unwrap();
        // What the delegate set opens no session; what the application sets does.
        let login = format!("x{}", user.get());
        log_in(gate, &login, OTHER).unwrap_err();
        gate.users().set_password(user, PASSWORD).unwrap();
        let login = log_in(gate, &login, PASSWORD).unwrap();
        handle.sessions().revoke_others(login.session().id).unwrap();
        handle.sessions().revoke(login.session().id).unwrap();
        handle.sessions().revoke_all(user).unwrap();
        users.delete(user).unwrap();
    }
    for held in all(|page| gate.roles().holders(t.editor, page)) {
        assert_eq!(held.by, Some(t.ada));
    }
    let mine = all(|page| gate.audit().by_actor(Actor::User(t.ada), page));
    assert!(mine.iter().filter(|record| record.outcome == Outcome::Success).count() > 35);
    assert_eq!(all(|page| gate.audit().by_kind(AuditKind::DelegationRefused, page)).len(), 1);
    sound(gate);
}

#[test]
fn a_delegation_holds_as_long_as_all_that_it_rests_on() {
    type Step = fn(&Tenants, &Portcullis);
    let ends: &[(&str, Step)] = &[
        ("the role is taken", |t, g| g.roles().unassign_at(t.ada, t.admin, t.acme).unwrap()),
        ("the actor is disabled", |t, g| drop(g.users().set_status(t.ada, Status::disabled("x")).unwrap())),
        ("the actor is deleted", |t, g| g.users().delete(t.ada).unwrap()),
        ("the delegation is deleted", |_, g| {
            let found = all(|page| g.delegations().list(page)).remove(0);
            g.delegations().delete(found.id).unwrap();
        }),
        ("the admin role is deleted", |t, g| g.roles().delete(t.admin).unwrap()),
        ("the admin role is denied above", |t, g| {
            g.roles().assign_with(t.ada, t.admin, &Grant::new().denying()).unwrap();
        }),
        ("the admin role is denied below", |t, g| {
            g.roles().assign_with(t.ada, t.admin, &Grant::new().at(t.doc).denying()).unwrap();
        }),
        ("the role leaves the range", |t, g| g.roles().disinherit(t.editor, t.member).unwrap()),
        ("the role becomes an admin role", |t, g| {
            g.delegations().create(t.member, RoleRange::Below(t.root), [Ability::Assign]).unwrap();
        }),
    ];
    for (name, end) in ends {
        let t = tenants();
        let (gate, terms) = (&t.world.gate, Grant::new().at(t.folder));
        let handle = gate.delegated(t.ada);
        handle.roles().assign_with(t.bob, t.member, &terms).unwrap();
        end(&t, gate);
        uncovered(gate, name, || handle.roles().assign_with(t.eve, t.member, &terms));
        sound(gate);
    }
    // A time-bound admin role begins and ends by itself, and is held through a role that inherits from it too.
    let t = tenants();
    let gate = &t.world.gate;
    let senior = gate.roles().create("senior", []).unwrap();
    gate.roles().inherit(senior, t.admin).unwrap();
    let now = gate.now();
    let terms = Grant::new().at(t.acme).not_before(later(now, 10)).until(later(now, 20));
    gate.roles().assign_with(t.eve, senior, &terms).unwrap();
    let handle = gate.delegated(t.eve);
    let assign = || handle.roles().assign_with(t.bob, t.member, &Grant::new().at(t.acme));
    uncovered(gate, "not begun", assign);
    t.world.after(10);
    assign().unwrap();
    assert_eq!(gate.delegations().of_user(t.eve).unwrap()[0].1, t.acme);
    t.world.after(10);
    uncovered(gate, "over", || handle.roles().unassign_at(t.bob, t.member, t.acme));
    assert!(gate.delegations().of_user(t.eve).unwrap().is_empty());
}

#[test]
fn each_ability_opens_its_own_calls_and_no_others() {
    type Call = fn(&Tenants, &Portcullis) -> Result<()>;
    let calls: &[(Ability, Call)] = &[
        (Ability::Assign, |t, g| g.roles().assign_with(t.eve, t.member, &Grant::new().at(t.acme))),
        (Ability::Assign, |t, g| g.roles().unassign_at(t.bob, t.own, t.acme)), // a denial
        (Ability::Unassign, |t, g| g.roles().assign_with(t.eve, t.own, &Grant::new().at(t.doc).denying())),
        (Ability::Unassign, |t, g| g.roles().unassign_at(t.bob, t.member, t.acme)),
        (Ability::ChangeRoles, |t, g| g.roles().grant(t.own, [t.read])),
        (Ability::ChangeRoles, |t, g| g.roles().inherit(t.own, t.member)),
        (Ability::GrantDirectly, |t, g| g.access().grant(t.eve, t.read, &Grant::new().at(t.doc))),
        (Ability::GrantDirectly, |t, g| g.access().withdraw(t.bob, t.read, t.doc)),
        (Ability::ManageScopes, |t, g| g.scopes().create(t.acme, "new").map(drop)),
        (Ability::ManageScopes, |t, g| g.scopes().move_to(t.doc, t.acme)),
        (Ability::ManageUsers, |t, g| g.users().set_password(t.bob, OTHER)),
        (Ability::ManageUsers, |t, g| g.users().create(NewUser::new("new").home(t.acme)).map(drop)),
    ];
    for given in EVERYTHING {
        for (needed, call) in calls {
            let t = tenants();
            let gate = &t.world.gate;
            let at = Grant::new().at(t.acme);
            gate.roles().assign_with(t.bob, t.member, &at).unwrap();
            gate.roles().assign_with(t.bob, t.own, &at.clone().denying()).unwrap();
            gate.access().grant(t.bob, t.read, &Grant::new().at(t.doc)).unwrap();
            let admin = gate.roles().create("one", []).unwrap();
            let range = RoleRange::Roles(vec![t.member, t.editor, t.own]);
            gate.delegations().create(admin, range, [given]).unwrap();
            let mia = user(gate, "mia").id;
            gate.roles().assign_with(mia, admin, &at).unwrap();
            let handle = gate.delegated(mia);
            let context = format!("{given:?} for {needed:?}");
            match given == *needed {
                true => call(&t, &handle).expect(&context),
                false => uncovered(gate, &context, || call(&t, &handle)),
            }
        }
    }
}

/// An actor with two delegations can not make the range of the one larger by the other, where that one reaches further.
#[test]
fn two_delegations_together_cover_no_more_than_each() {
    let t = tenants();
    let gate = &t.world.gate;
    let (wide, narrow) =
        (gate.roles().create("wide", []).unwrap(), gate.roles().create("narrow", []).unwrap());
    let base = gate.roles().create_in(t.acme, "base", [t.read]).unwrap();
    gate.delegations()
        .create(wide, RoleRange::Below(base), [Ability::Assign, Ability::GrantDirectly])
        .unwrap();
    let range = RoleRange::Roles(vec![base, t.root]);
    gate.delegations().create(narrow, range, [Ability::ChangeRoles]).unwrap();
    gate.roles().assign(t.eve, wide).unwrap();
    gate.roles().assign_with(t.eve, narrow, &Grant::new().at(t.acme)).unwrap();
    let handle = gate.delegated(t.eve);
    // Covered: within the tenant both say so.
    handle.roles().grant(base, [t.purge]).unwrap();
    handle.roles().inherit(base, t.root).unwrap();
    handle.roles().assign_with(t.bob, t.root, &Grant::new().at(t.doc)).unwrap();
    handle.access().grant(t.bob, t.purge, &Grant::new().at(t.acme)).unwrap();
    // The role of the tenant counts in the tenant only, although its administrator is one everywhere.
    for at in [t.other, ScopeId::ROOT] {
        uncovered(gate, "assign", || handle.roles().assign_with(t.bob, t.root, &Grant::new().at(at)));
        uncovered(gate, "grant", || handle.access().grant(t.bob, t.purge, &Grant::new().at(at)));
    }
}

#[test]
fn delegations_are_listed_checked_and_gone_with_their_role() {
    let disk = Disk::new();
    let gate = disk.open();
    let roles: Vec<RoleId> = (0..70).map(|n| gate.roles().create(&format!("r{n}"), []).unwrap()).collect();
    let (admin, other, member) = (roles[0], roles[1], roles[2]);
    let delegations = gate.delegations();
    let below = || RoleRange::Below(member);
    refused(delegations.create(admin, below(), []), ErrorKind::InvalidInput, Some("delegation.abilities"));
    let empty = RoleRange::Roles(Vec::new());
    refused(delegations.create(admin, empty, EVERYTHING), ErrorKind::InvalidInput, Some("delegation.range"));
    let itself = RoleRange::Roles(vec![member, admin]);
    refused(delegations.create(admin, itself, EVERYTHING), ErrorKind::InvalidInput, Some("delegation.range"));
    let many = RoleRange::Roles(roles[2..67].to_vec());
    refused(delegations.create(admin, many, EVERYTHING), ErrorKind::LimitExceeded, Some("delegation.range"));
    let gone = RoleId::from_number(999);
    refused(delegations.create(gone, below(), EVERYTHING), ErrorKind::NotFound, Some("role"));
    refused(delegations.create(admin, RoleRange::Below(gone), EVERYTHING), ErrorKind::NotFound, Some("role"));
    assert!(all(|page| delegations.list(page)).is_empty());

    let full = RoleRange::Roles(roles[2..66].iter().chain(&roles[2..66]).rev().copied().collect());
    let first =
        delegations.create(admin, full, [Ability::Unassign, Ability::Assign, Ability::Assign]).unwrap();
    let ada = user(&gate, "ada").id;
    let second = gate.acting_as(ada).delegations().create(other, below(), EVERYTHING).unwrap();
    let found = delegations.get(first).unwrap();
    assert_eq!((found.role, found.by), (admin, None));
    assert_eq!(found.range, RoleRange::Roles(roles[2..66].to_vec()));
    assert_eq!(found.abilities, [Ability::Assign, Ability::Unassign]);
    let found = delegations.get(second).unwrap();
    assert_eq!((found.role, found.by, found.range.clone()), (other, Some(ada), below()));
    assert_eq!(all(|page| delegations.of_role(other, page)), [found]);
    assert!(all(|page| delegations.of_role(member, page)).is_empty());
    refused(delegations.of_user(UserId::from_number(99)), ErrorKind::NotFound, Some("user"));
    gate.roles().assign(ada, other).unwrap();
    gate.close().unwrap();

    let gate = disk.open();
    let delegations = gate.delegations();
    assert_eq!(all(|page| delegations.list(page)).len(), 2);
    gate.delegated(ada).roles().assign(user(&gate, "bob").id, member).unwrap();
    let records = all(|page| gate.audit().by_subject(Subject::Role(other), page));
    assert!(records.iter().any(|record| record.kind == AuditKind::DelegationCreated
        && record.detail.starts_with("delegation 1 below role 2: [Assign, Unassign, ")));
    delegations.delete(first).unwrap();
    refused(delegations.delete(first), ErrorKind::NotFound, Some("delegation"));
    gate.roles().delete(other).unwrap();
    refused(delegations.get(second), ErrorKind::NotFound, Some("delegation"));
    assert!(all(|page| delegations.list(page)).is_empty());
    // A number is never used again.
    let third = delegations.create(admin, below(), [Ability::Assign]).unwrap();
    assert!(third > second);
    sound(&gate);
}

#[test]
fn homes_are_checked_and_survive_their_scope() {
    let t = tenants();
    let gate = &t.world.gate;
    let nowhere = ScopeId::from_number(999);
    refused(gate.users().create(NewUser::new("x").home(nowhere)), ErrorKind::NotFound, Some("scope"));
    refused(gate.users().update(t.eve, UserChange::new().home(nowhere)), ErrorKind::NotFound, Some("scope"));
    assert_eq!(gate.users().get(t.eve).unwrap().home, ScopeId::ROOT);
    // Many at once, each at a home of its own, which a delegated actor holds by an assignment of its own.
    let homes: Vec<ScopeId> =
        (0..100).map(|n| gate.scopes().ensure(&format!("acme/h{n}")).unwrap()).collect();
    let mia = user(gate, "mia").id;
    for home in &homes {
        gate.roles().assign_with(mia, t.admin, &Grant::new().at(*home)).unwrap();
    }
    let new = homes
        .iter()
        .enumerate()
        .map(|(n, home)| NewUser::new(format!("h{n}")).home(*home).email("a@x.org").profile("a", 1));
    let made = gate.delegated(mia).users().create_many(new).unwrap();
    assert_eq!(made.iter().map(|user| user.home).collect::<Vec<_>>(), homes);
    // A hash may be of a password that the delegate knows.
    let hashed = NewUser::new("hashed").home(t.folder).password_hash(crate::legacy::HASHES[0].0);
    uncovered(gate, "a hash", || gate.delegated(t.ada).users().create(hashed.clone()));
    gate.users().create(hashed).unwrap();
    // Whose home is gone is for those who administer everywhere.
    gate.scopes().delete(homes[0]).unwrap();
    let handle = gate.delegated(t.ada);
    handle.users().set_password(made[1].id, OTHER).unwrap();
    uncovered(gate, "no home", || handle.users().set_password(made[0].id, OTHER));
    gate.roles().assign(t.eve, t.admin).unwrap();
    gate.delegated(t.eve).users().set_password(made[0].id, OTHER).unwrap();
    sound(gate);
}
