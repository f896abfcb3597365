//! What is written by somebody who acts as a user: under both names, and nothing of what is the user's alone; and what is
//! there after the database was opened again.

use crate::impersonation::{denied, policy, scene, with_policy};
use crate::support::{Disk, OTHER, PASSWORD, all, everything, log_in, refused, sound, user};
use portcullis::{
    Ability, Actor, Attributes, AuditKind, Client, Denial, ErrorKind, Grant, Impersonation, NewContact,
    NewUser, Outcome, Result, RoleRange, Status, UserChange, UserId,
};

fn warm() -> Attributes {
    Attributes::from([("tone".to_owned(), "warm".into())])
}

#[test]
fn what_is_the_users_alone_is_refused() {
    let s = scene();
    let mail = s.gate().users().add_contact(s.bob, &NewContact::email("bob@example.org").verified()).unwrap();
    let login = s.act_as(s.bob).unwrap();
    let changed = s.gate().change_password(login.token(), PASSWORD, OTHER, &Client::new());
    denied(changed, Denial::Impersonated);
    let told = s.last(AuditKind::ImpersonationRefused);
    assert_eq!((told.actor, told.impersonator), (Actor::User(s.bob), Some(s.admin)));
    assert_eq!(told.detail, "authn_password_change");
    let principal = s.gate().authenticate(login.token()).unwrap();
    denied(principal.require_self(), Denial::Impersonated);
    assert!(s.gate().authenticate(s.own.token()).unwrap().require_self().is_ok());

    let gate = s.gate().acting_for(&principal);
    let (bob, home) = (s.bob, mail.id);
    type Call<'g> = (&'static str, Box<dyn Fn() -> Result<()> + 'g>);
    let hashes = s.gate().password_hashes_computed();
    let calls: [Call<'_>; 13] = [
        ("own password", Box::new(|| gate.users().change_password(bob, PASSWORD, OTHER))),
        ("password", Box::new(|| gate.users().set_password(bob, OTHER))),
        ("login", Box::new(|| gate.users().update(bob, UserChange::new().login("bobby")).map(drop))),
        ("contact", Box::new(|| gate.users().add_contact(bob, &NewContact::phone("+44")).map(drop))),
        ("contact off", Box::new(|| gate.users().remove_contact(bob, home).map(drop))),
        ("codes", Box::new(|| gate.factors().issue_recovery_codes(bob).map(drop))),
        ("totp", Box::new(|| gate.factors().enrol_totp(bob, "x").map(drop))),
        ("reset", Box::new(|| gate.tickets().start_password_reset(bob, None).map(drop))),
        ("e-mail", Box::new(|| gate.tickets().change_email(bob, home, "b@example.org").map(drop))),
        ("verify", Box::new(|| gate.tickets().verify_email(bob, home).map(drop))),
        ("status", Box::new(|| gate.users().set_status(bob, Status::disabled("x")).map(drop))),
        ("delete", Box::new(|| gate.users().delete(bob))),
        ("mail factor", Box::new(|| gate.factors().enrol_contact(bob, home, "").map(drop))),
    ];
    for (name, call) in &calls {
        let before = everything(s.gate());
        let error = call().expect_err(name);
        assert_eq!(error.denial(), Some(Denial::Impersonated), "{name}: {error:?}");
        assert_eq!(everything(s.gate())[1..], before[1..], "{name}");
        let told = s.last(AuditKind::ImpersonationRefused);
        assert_eq!((told.impersonator, told.outcome), (Some(s.admin), Outcome::Denied), "{name}");
        assert!(!told.detail.is_empty());
    }
    assert_eq!(s.gate().password_hashes_computed(), hashes, "refused before it is dear");
    // The same calls of the application's own work.
    s.gate().users().set_password(s.bob, OTHER).unwrap();
    sound(s.gate());
}

#[test]
fn every_record_that_is_written_for_a_principal_has_both_names() {
    let s = scene();
    let login = s.act_as(s.bob).unwrap();
    let principal = s.gate().authenticate(login.token()).unwrap();
    let gate = s.gate().acting_for(&principal);
    let before = s.gate().audit().head().length;
    let eve = gate.users().create(NewUser::new("eve").password(OTHER)).unwrap().id;
    let role = gate.roles().create("role", [s.read]).unwrap();
    gate.roles().assign(eve, role).unwrap();
    gate.users().set_password(eve, PASSWORD).unwrap();
    gate.users().update(s.bob, UserChange::new().profile(warm())).unwrap();
    gate.sessions().activate(login.session().id, role).unwrap_err();
    let apart = gate.roles().create("apart", []).unwrap();
    gate.separation().create(portcullis::SeparationKind::Static, "set", [role, apart], 2).unwrap();
    refused(gate.roles().assign(eve, apart), ErrorKind::SeparationOfDuty, Some("role"));
    gate.acting_as(s.admin).scopes().ensure("acme").unwrap();
    gate.delegated(s.admin).roles().delete(role).unwrap_err();
    let many = (0..40).map(|n| NewUser::new(format!("u{n}")).email(format!("u{n}@x.org")).profile("a", true));
    gate.users().create_many(many).unwrap();
    let written: Vec<_> =
        all(|page| s.gate().audit().list(page)).into_iter().filter(|r| r.sequence >= before).collect();
    assert!(written.len() > 40);
    for record in &written {
        assert_eq!((record.actor, record.impersonator), (Actor::User(s.bob), Some(s.admin)), "{record}");
        assert!(record.to_string().contains(&format!("{} as {} ", s.admin, s.bob)), "{record}");
    }
    assert!(written.iter().any(|record| record.kind == AuditKind::SeparationViolated));
    assert!(written.iter().any(|record| record.kind == AuditKind::DelegationRefused));
    // Both find them.
    for user in [s.admin, s.bob] {
        let found = all(|page| s.gate().audit().by_actor(Actor::User(user), page));
        for record in &written {
            assert!(found.contains(record), "{user}: {record}");
        }
    }
    // A principal that is itself is the actor, and nothing else.
    let own = s.gate().authenticate(s.own.token()).unwrap();
    s.gate().acting_for(&own).scopes().ensure("own").unwrap();
    let told = s.last(AuditKind::ScopeCreated);
    assert_eq!((told.actor, told.impersonator), (Actor::User(s.admin), None));
    sound(s.gate());
}

#[test]
fn a_delegated_handle_of_somebody_acted_as_is_covered_for_both() {
    let s = scene();
    let gate = s.gate();
    let member = gate.roles().create("member", []).unwrap();
    let leader = gate.roles().create("leader", []).unwrap();
    let range = RoleRange::Roles(vec![member]);
    gate.delegations().create(leader, range, [Ability::Assign, Ability::ManageUsers]).unwrap();
    let eve = s.world.user("eve").id;
    let login = s.act_as(s.bob).unwrap();
    let principal = gate.authenticate(login.token()).unwrap();
    let both = gate.acting_for(&principal).delegated(s.bob);
    let own = gate.delegated(s.bob);
    assert_eq!(format!("{:?}", own.acting_for(&principal)), format!("{own:?}"), "it stays what it is");
    let assign = |who: UserId| both.roles().assign(who, member);
    denied(assign(eve), Denial::Delegation);
    gate.roles().assign(s.bob, leader).unwrap();
    denied(assign(eve), Denial::Delegation);
    denied(both.users().update(eve, UserChange::new().profile(warm())), Denial::Delegation);
    denied(both.users().create(NewUser::new("fay")), Denial::Delegation);
    gate.roles().assign(s.admin, leader).unwrap();
    assign(eve).unwrap();
    both.users().update(eve, UserChange::new().profile(warm())).unwrap();
    both.users().create(NewUser::new("fay")).unwrap();
    let told = s.last(AuditKind::UserCreated);
    assert_eq!((told.actor, told.impersonator), (Actor::User(s.bob), Some(s.admin)));
    // Nobody administers themselves, by neither name.
    denied(assign(s.bob), Denial::Delegation);
    denied(assign(s.admin), Denial::Delegation);
    gate.roles().unassign(s.bob, leader).unwrap();
    denied(assign(s.world.user("gil").id), Denial::Delegation);
    sound(gate);
}

#[test]
fn no_secret_is_printed_or_logged() {
    let s = scene();
    let login = s.act_as(s.bob).unwrap();
    let principal = s.gate().authenticate(login.token()).unwrap();
    let mut printed =
        vec![format!("{login:?} {principal:?} {:?} {:?}", s.gate().acting_for(&principal), policy())];
    printed
        .extend(all(|page| s.gate().audit().list(page)).iter().map(|record| format!("{record:?} {record}")));
    printed.push(format!("{:?}", all(|page| s.gate().sessions().by_expiry(page))));
    for token in [login.token().as_str(), s.own.token().as_str()] {
        assert!(printed.iter().all(|text| !text.contains(&token[16..])));
    }
}

#[test]
fn it_is_the_same_after_the_database_was_opened_again() {
    let disk = Disk::new();
    let gate = disk.open_with(with_policy).unwrap();
    let (admin, bob) = (user(&gate, "ada").id, user(&gate, "bob").id);
    let bits = gate.permissions().define_many(["act", "read", "write"]).unwrap();
    for (user, permission) in [(admin, 0), (admin, 1), (bob, 1), (bob, 2)] {
        gate.access().grant(user, bits[permission], &Grant::new()).unwrap();
    }
    let own = log_in(&gate, "ada", PASSWORD).unwrap();
    let whom = Impersonation::of(bob, "why");
    let login = gate.impersonate(own.token(), &whom, &Client::new()).unwrap();
    gate.close().unwrap();
    let gate = disk.open(); // without the setting nobody begins, and what was begun goes on
    sound(&gate);
    denied(gate.impersonate(own.token(), &whom, &Client::new()), Denial::Permission);
    let principal = gate.authenticate(login.token()).unwrap();
    assert_eq!(principal.impersonator(), Some(admin));
    assert!(principal.can(bits[1]) && !principal.can(bits[2]));
    // An outage is told as one, and allows nothing.
    gate.clone().close().unwrap();
    assert!(!principal.can(bits[1]));
    assert_eq!(principal.check(bits[1]).unwrap_err().kind(), ErrorKind::Stopped);
    assert_eq!(gate.authenticate(login.token()).unwrap_err().kind(), ErrorKind::Stopped);
}
