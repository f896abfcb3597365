//! What changes between the reading of who may act as whom and the commit that opens the session.

use crate::assurance::Assurance;
use crate::audit::AuditKind;
use crate::engine::between::{Scene, Step};
use crate::engine::login::{Credentials, Login};
use crate::engine::page::PageRequest;
use crate::engine::{Builder, Portcullis};
use crate::error::{Denial, ErrorKind, Result};
use crate::grant::Grant;
use crate::role::RoleChange;
use crate::session::{Client, Impersonation, ImpersonationPolicy};
use crate::user::{Status, UserChange};

const PASSWORD: &str = "correct horse battery staple";

/// Ada may act as bob.
fn scene() -> (Scene, Login) {
    let builder: Builder = Portcullis::builder().danger_fast_password_hashes();
    let s = Scene::with(builder.impersonation(ImpersonationPolicy::new("act")));
    let act = s.gate.permissions().define("act").unwrap();
    s.gate.access().grant(s.ada, act, &Grant::new()).unwrap();
    s.gate.users().set_password(s.ada, PASSWORD).unwrap();
    let own = s.gate.login(&Credentials::password("ada", PASSWORD), &Client::new()).unwrap();
    (s, own)
}

fn act(s: &Scene, own: &Login, meanwhile: Step) -> Result<Login> {
    let whom = Impersonation::of(s.bob, "why");
    s.meanwhile(meanwhile, || s.gate.impersonate(own.token(), &whom, &Client::new()))
}

#[test]
fn who_was_shut_out_meanwhile_opens_nothing() {
    let ended: [Step; 5] = [
        |s| s.gate.sessions().revoke_all(s.ada),
        |s| s.gate.sessions().revoke_everything(),
        |s| s.gate.users().set_status(s.ada, Status::disabled("out")).map(drop),
        |s| s.gate.users().delete(s.ada),
        |s| {
            let found = s.gate.sessions().of_user(s.ada, &PageRequest::first(1))?;
            s.gate.sessions().revoke(found.items[0].id)
        },
    ];
    for step in ended {
        let (s, own) = scene();
        assert_eq!(act(&s, &own, step).unwrap_err().denial(), Some(Denial::Session));
    }
    let (s, own) = scene();
    let out: Step = |s| s.gate.users().set_status(s.bob, Status::disabled("out")).map(drop);
    assert_eq!(act(&s, &own, out).unwrap_err().kind(), ErrorKind::InvalidInput);
    let (s, own) = scene();
    assert_eq!(act(&s, &own, |s| s.gate.users().delete(s.bob)).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn whoever_asks_for_two_factors_meanwhile_is_heard() {
    let (s, own) = scene();
    s.gate.roles().update(s.owner, RoleChange::new().assurance(Assurance::Two)).unwrap();
    let found = act(&s, &own, |s| s.gate.roles().assign(s.bob, s.owner));
    assert_eq!(found.unwrap_err().denial(), Some(Denial::FactorRequired));
}

/// Either the session is begun at the home that the user has, or it ends with the move.
#[test]
fn another_home_ends_the_session_that_was_begun_meanwhile() {
    const MOVE: Step = |s| s.gate.users().update(s.bob, UserChange::new().home(s.scope)).map(drop);
    let (s, own) = scene();
    assert_eq!(act(&s, &own, MOVE).unwrap_err().kind(), ErrorKind::Conflict);

    const BEGIN: Step = |s| {
        let own = s.gate.login(&Credentials::password("ada", PASSWORD), &Client::new())?;
        s.gate.impersonate(own.token(), &Impersonation::of(s.bob, "why"), &Client::new()).map(drop)
    };
    let (s, _) = scene();
    s.meanwhile(BEGIN, || s.gate.users().update(s.bob, UserChange::new().home(s.scope))).unwrap();
    assert!(s.gate.sessions().of_user(s.bob, &PageRequest::first(9)).unwrap().items.is_empty());
    let begun = s.gate.audit().by_kind(AuditKind::ImpersonationStarted, &PageRequest::first(9)).unwrap();
    assert_eq!(begun.items.len(), 1, "it was begun");
}
