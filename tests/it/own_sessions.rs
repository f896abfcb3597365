//! What users do with their own sessions.

use crate::support::{World, all, backwards, everything, is_live, refused, sound, world, world_with};
use portcullis::{
    Actor, AuditKind, CheckContext, Denial, ErrorKind, PageRequest, SessionId, Subject, UserId,
};

#[test]
fn users_see_and_end_their_own_sessions_and_nobody_elses() {
    let world = world();
    let gate = &world.gate;
    let ada = world.user("ada").id;
    world.user("bob");
    let (here, there, third) = (world.login("ada"), world.login("ada"), world.login("ada"));
    let bob = world.login("bob");
    let me = gate.authenticate(here.token()).unwrap();
    let listed = all(|page| me.sessions(page));
    assert_eq!(listed.len(), 3);
    assert!(listed.iter().all(|own| own.session.user == ada));
    let current: Vec<SessionId> = listed.iter().filter(|own| own.current).map(|own| own.session.id).collect();
    assert_eq!(current, [here.session().id]);
    refused(me.sessions(&PageRequest::first(0)), ErrorKind::InvalidInput, Some("limit"));

    let before = everything(gate);
    refused(me.end_session(bob.session().id), ErrorKind::NotFound, Some("session"));
    refused(me.end_session(SessionId::from_number(1)), ErrorKind::NotFound, Some("session"));
    refused(me.label_session(bob.session().id, "mine"), ErrorKind::NotFound, Some("session"));
    refused(me.label_session(there.session().id, "a\nb"), ErrorKind::InvalidInput, Some("session.label"));
    assert_eq!(everything(gate), before);

    me.label_session(there.session().id, "phone").unwrap();
    assert_eq!(gate.sessions().get(there.session().id).unwrap().label, "phone");
    let last = |kind| {
        let record = backwards(|page| gate.audit().list(page)).remove(0);
        assert_eq!((record.kind, record.actor), (kind, Actor::User(ada)));
        assert_eq!(record.subject, Some(Subject::User(ada)));
        record
    };
    last(AuditKind::SessionLabelled);
    me.end_session(there.session().id).unwrap();
    assert_eq!(last(AuditKind::SessionRevoked).object, Some(Subject::Session(there.session().id)));
    assert!(!is_live(gate, there.token().as_str()) && is_live(gate, third.token().as_str()));
    refused(me.end_session(there.session().id), ErrorKind::NotFound, Some("session"));
    me.end_other_sessions().unwrap();
    last(AuditKind::SessionsRevoked);
    assert!(!is_live(gate, third.token().as_str()) && is_live(gate, bob.token().as_str()));
    assert!(is_live(gate, here.token().as_str()));
    assert_eq!(all(|page| me.sessions(page)).len(), 1);
    me.end_session(here.session().id).unwrap();
    assert!(!is_live(gate, here.token().as_str()));
    sound(gate);
}

type Ending = fn(&World, UserId, SessionId);

#[test]
fn whoever_is_out_can_do_nothing_with_what_was_accepted_before() {
    let end: [Ending; 5] = [
        |world, _, id| world.gate.sessions().revoke(id).unwrap(),
        |world, user, _| world.gate.sessions().revoke_all(user).unwrap(),
        |world, _, _| world.gate.sessions().revoke_everything().unwrap(),
        |world, _, _| world.after(3600),
        |world, user, _| world.gate.users().delete(user).unwrap(),
    ];
    for (place, end) in end.into_iter().enumerate() {
        let world = world();
        let gate = &world.gate;
        let ada = world.user("ada").id;
        let (here, other) = (world.login("ada"), world.login("ada"));
        let me = gate.authenticate(here.token()).unwrap();
        end(&world, ada, here.session().id);
        let before = everything(gate);
        let out = |result: portcullis::Result<()>| {
            assert_eq!(result.unwrap_err().denial(), Some(Denial::Session), "{place}");
        };
        out(me.sessions(&PageRequest::default()).map(drop));
        out(me.end_session(other.session().id));
        out(me.end_session(here.session().id));
        out(me.end_other_sessions());
        out(me.label_session(other.session().id, "x"));
        assert_eq!(everything(gate), before);
        // An idle one is ended for good; the others have ended.
        assert_eq!(me.log_out().unwrap(), place == 3);
        assert!(!gate.log_out(here.token()).unwrap());
    }
}

#[test]
fn a_log_out_ends_the_session_of_the_token_and_no_other() {
    let world = world();
    let gate = &world.gate;
    let ada = world.user("ada").id;
    let (here, other) = (world.login("ada"), world.login("ada"));
    let before = everything(gate);
    let forged = {
        let text = here.token().as_str();
        let mut forged = other.token().as_str().to_owned();
        forged.truncate(forged.len() - 8);
        forged + &text[text.len() - 8..]
    };
    for bad in ["", "no token", &forged, &format!("{}x", here.token().as_str())] {
        assert!(!gate.log_out(bad).unwrap());
    }
    assert_eq!(everything(gate), before);
    assert!(gate.log_out(here.token()).unwrap());
    assert!(!is_live(gate, here.token().as_str()) && is_live(gate, other.token().as_str()));
    let last = backwards(|page| gate.audit().list(page)).remove(0);
    assert_eq!((last.kind, last.actor), (AuditKind::SessionRevoked, Actor::User(ada)));
    assert_eq!(
        (last.object, last.detail.as_str()),
        (Some(Subject::Session(here.session().id)), "logged out")
    );
    let length = gate.audit().head().length;
    assert!(!gate.log_out(here.token()).unwrap(), "twice is as good as once");
    assert_eq!(gate.audit().head().length, length);
    assert!(gate.authenticate(other.token()).unwrap().log_out().unwrap());
    sound(gate);
}

#[test]
fn a_context_rule_keeps_nobody_in() {
    let world =
        world_with(|builder| builder.context_rule(|context: &CheckContext<'_>| context.session().is_none()));
    world.user("ada");
    let login = world.login("ada");
    assert!(!is_live(&world.gate, login.token().as_str()));
    assert!(world.gate.log_out(login.token()).unwrap());
}
