//! Proving anew who one is in a session that is there; passive checks; how many sessions there may be.

use crate::factors::{answer, denied, done, keys};
use crate::support::{
    OTHER, PASSWORD, World, all, is_live, log_in, patient, refused, sound, world, world_with,
};
use portcullis::testing::totp_code;
use portcullis::{
    Answer, Assurance, AuditKind, Client, Credentials, Denial, ErrorKind, Login, LoginStep, ParallelSessions,
    Portcullis, SessionLimits, Status, UserId,
};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

fn again(gate: &Portcullis, token: impl AsRef<str>, password: &str) -> LoginStep {
    gate.reauthenticate(token, password, &Client::new()).unwrap()
}

/// A user with an authenticator app, and its secret.
fn with_app(world: &World) -> (UserId, String) {
    let ada = world.user("ada").id;
    let enrolment = world.gate.factors().enrol_totp(ada, "phone").unwrap();
    let secret = enrolment.secret().to_owned();
    let code = totp_code(&secret, world.gate.now()).unwrap();
    world.gate.factors().confirm_totp(ada, enrolment.factor(), &code).unwrap();
    world.after(30);
    (ada, secret)
}

fn code(world: &World, secret: &str) -> Answer {
    Answer::totp(totp_code(secret, world.gate.now()).unwrap())
}

#[track_caller]
fn asked(step: LoginStep) -> portcullis::Challenge {
    match step {
        LoginStep::NeedsFactor(challenge) => challenge,
        other => panic!("a factor must be asked for: {other:?}"),
    }
}

#[test]
fn the_presets_have_the_limits_of_nist() {
    let hours = |n: u64| Duration::from_secs(n * 3600);
    for (limits, absolute, idle) in [
        (SessionLimits::AAL1, hours(30 * 24), None),
        (SessionLimits::AAL2, hours(24), Some(hours(1))),
        (SessionLimits::AAL3, hours(12), Some(MINUTE * 15)),
    ] {
        assert_eq!((limits.absolute(), limits.idle()), (absolute, idle));
        assert_eq!(SessionLimits::new(idle, absolute).unwrap(), limits);
        let world = world_with(|builder| builder.session_limits(limits));
        world.user("ada");
        let login = world.login("ada");
        assert_eq!(login.session().expires.since(world.gate.now()), absolute);
        if let Some(idle) = idle {
            world.after(idle.as_secs() - 1);
            assert!(is_live(&world.gate, login.token().as_str()), "that was a use");
            world.after(idle.as_secs());
            assert!(!is_live(&world.gate, login.token().as_str()));
        } else {
            world.after(absolute.as_secs() - 1);
            assert!(is_live(&world.gate, login.token().as_str()));
            world.after(1);
            assert!(!is_live(&world.gate, login.token().as_str()));
        }
    }
    assert_eq!(SessionLimits::default(), SessionLimits::AAL2);
}

#[test]
fn a_passive_check_keeps_no_session_alive() {
    let world = world();
    let ada = world.user("ada").id;
    let login = world.login("ada");
    let client = Client::new();
    for _ in 0..59 {
        world.after(60);
        let who = world.gate.authenticate_passive(login.token()).unwrap();
        assert_eq!(who.user(), ada);
        world.gate.authenticate_passive_from(login.token(), &client).unwrap();
    }
    assert_eq!(world.gate.sessions().get(login.session().id).unwrap().last_seen, login.session().created);
    world.after(60);
    refused(world.gate.authenticate_passive(login.token()), ErrorKind::Denied, None);
    refused(world.gate.authenticate(login.token()), ErrorKind::Denied, None);
}

#[test]
fn a_recent_proof_is_asked_for_and_given_in_another_session() {
    let world = world();
    let gate = &world.gate;
    world.user("ada");
    let laptop = Client::new().device("laptop");
    let old = gate.login(&Credentials::password("ada", PASSWORD), &laptop).unwrap();
    world.after(600);
    let stale = gate.authenticate(old.token()).unwrap();
    assert!(
        !stale.authenticated_within(MINUTE * 10).unwrap() && stale.authenticated_within(MINUTE * 11).unwrap()
    );
    assert_eq!(stale.require_recent(MINUTE).unwrap_err().denial(), Some(Denial::Reauthentication));
    denied(&again(gate, old.token(), OTHER), Denial::Credentials);
    assert!(is_live(gate, old.token().as_str()), "a wrong password ends nothing");
    let new = done(again(gate, old.token(), PASSWORD));
    assert_ne!(new.token().as_str(), old.token().as_str());
    assert!(!is_live(gate, old.token().as_str()), "the former one has ended");
    assert_eq!(stale.require_recent(MINUTE).unwrap_err().denial(), Some(Denial::Session));
    let fresh = gate.authenticate(new.token()).unwrap();
    fresh.require_recent(MINUTE).unwrap();
    assert_eq!(new.session().device, old.session().device, "no new device");
    assert!(new.session().expires > old.session().expires, "a password proves all there was anew");
    denied(&again(gate, old.token(), PASSWORD), Denial::Session);
    denied(&again(gate, "pcs_garbage", PASSWORD), Denial::Session);
    let written = all(|page| gate.audit().by_kind(AuditKind::Reauthenticated, page));
    assert_eq!(written.len(), 1);
    sound(gate);
}

#[test]
fn a_session_past_its_idle_limit_is_resumed_and_one_that_has_ended_is_not() {
    let world = world();
    let gate = &world.gate;
    let ada = world.user("ada").id;
    let (idle, later) = (world.login("ada"), world.login("ada"));
    world.after(2 * 3600 - 1);
    assert!(!is_live(gate, idle.token().as_str()));
    let new = done(again(gate, idle.token(), PASSWORD));
    world.after(1);
    denied(&again(gate, later.token(), PASSWORD), Denial::Session);
    assert!(is_live(gate, new.token().as_str()) && !is_live(gate, idle.token().as_str()));
    type End<'a> = &'a dyn Fn(&Login);
    let ended: [(&str, End<'_>); 6] = [
        ("revoked", &|login| gate.sessions().revoke(login.session().id).unwrap()),
        ("all revoked", &|_| gate.sessions().revoke_all(ada).unwrap()),
        ("everything revoked", &|_| gate.sessions().revoke_everything().unwrap()),
        ("another password", &|_| gate.users().set_password(ada, PASSWORD.to_uppercase().as_str()).unwrap()),
        ("past its end", &|_| world.after(25 * 3600)),
        ("disabled", &|_| drop(gate.users().set_status(ada, Status::disabled("gone")).unwrap())),
    ];
    for (what, end) in ended {
        let password = ["another password", "past its end", "disabled"].contains(&what);
        let now = if password && what != "another password" {
            PASSWORD.to_uppercase()
        } else {
            PASSWORD.to_owned()
        };
        let login = log_in(gate, "ada", &now).unwrap();
        end(&login);
        let present = if password { PASSWORD.to_uppercase() } else { PASSWORD.to_owned() };
        denied(&again(gate, login.token(), &present), Denial::Session);
        denied(&gate.step_up(login.token(), &Client::new()).unwrap(), Denial::Session);
    }
    sound(gate);
}

#[test]
fn one_factor_more_makes_a_session_of_two_which_ends_when_the_first_would_have() {
    let world = world_with(|builder| builder.keys(keys()).assurance_age(MINUTE * 30));
    let gate = &world.gate;
    let ada = world.user("ada").id;
    let one = world.login("ada");
    denied(&gate.step_up(one.token(), &Client::new()).unwrap(), Denial::FactorRequired);
    let enrolment = gate.factors().enrol_totp(ada, "phone").unwrap();
    let secret = enrolment.secret().to_owned();
    let first = totp_code(&secret, gate.now()).unwrap();
    gate.factors().confirm_totp(ada, enrolment.factor(), &first).unwrap();
    world.after(60);
    let who = gate.authenticate(one.token()).unwrap();
    assert_eq!(who.assurance().unwrap(), Assurance::One);
    let error = who.require_assurance(Assurance::Two).unwrap_err();
    assert_eq!(error.denial(), Some(Denial::Reauthentication));
    let challenge = asked(gate.step_up(one.token(), &Client::new()).unwrap());
    denied(&answer(gate, &challenge, &Answer::totp("000000")), Denial::Credentials);
    assert!(is_live(gate, one.token().as_str()), "it goes on until the factor was given");
    let two = done(answer(gate, &challenge, &code(&world, &secret)));
    assert!(!is_live(gate, one.token().as_str()));
    assert_eq!(two.session().expires, one.session().expires);
    let who = gate.authenticate(two.token()).unwrap();
    who.require_assurance(Assurance::Two).unwrap();
    // The level drops with age, and a password alone does not lift it again.
    world.after(30 * 60);
    assert_eq!(who.assurance().unwrap(), Assurance::Two);
    let same = done(again(gate, two.token(), PASSWORD));
    assert_eq!(same.session().elevated, two.session().elevated);
    assert_eq!(same.session().expires, two.session().expires);
    let who = gate.authenticate(same.token()).unwrap();
    assert_eq!(who.assurance().unwrap(), Assurance::Two);
    world.after(1);
    assert_eq!(who.assurance().unwrap(), Assurance::One, "thirty minutes after the factor");
    denied(&gate.step_up(same.token(), &Client::new()).unwrap(), Denial::Reauthentication);
    let challenge = asked(again(gate, same.token(), PASSWORD));
    assert!(is_live(gate, same.token().as_str()));
    world.after(30);
    let last = done(answer(gate, &challenge, &code(&world, &secret)));
    assert_eq!(gate.authenticate(last.token()).unwrap().assurance().unwrap(), Assurance::Two);
    sound(gate);
}

#[test]
fn a_challenge_of_a_session_ends_with_it() {
    let world = world_with(|builder| builder.keys(keys()));
    let gate = &world.gate;
    let (_, secret) = with_app(&world);
    let login = |world: &World| {
        let step = gate.start_login(&Credentials::password("ada", PASSWORD), &Client::new()).unwrap();
        let login = done(answer(gate, asked(step), &code(world, &secret)));
        world.after(30);
        login
    };
    let (one, other) = (login(&world), login(&world));
    let challenge = asked(gate.step_up(one.token(), &Client::new()).unwrap());
    gate.sessions().revoke(one.session().id).unwrap();
    denied(&answer(gate, &challenge, &code(&world, &secret)), Denial::Credentials);
    assert!(is_live(gate, other.token().as_str()));
    // Two steps up at once: the session has one successor.
    let both: Vec<_> = (0..2).map(|_| asked(gate.step_up(other.token(), &Client::new()).unwrap())).collect();
    world.after(30);
    let new = done(answer(gate, &both[0], &code(&world, &secret)));
    world.after(30);
    denied(&answer(gate, &both[1], &code(&world, &secret)), Denial::Credentials);
    assert_eq!(all(|page| gate.sessions().of_user(new.user(), page)).len(), 1);
    sound(gate);
}

#[test]
fn selected_roles_go_along_where_the_user_still_has_them() {
    let world = world();
    let gate = &world.gate;
    let ada = world.user("ada").id;
    let read = gate.permissions().define("read").unwrap();
    let [kept, lost] = ["kept", "lost"].map(|name| gate.roles().create(name, [read]).unwrap());
    gate.roles().assign(ada, kept).unwrap();
    gate.roles().assign(ada, lost).unwrap();
    let who = Credentials::password("ada", PASSWORD);
    let old = gate.login_with_roles(&who, &Client::new(), [kept, lost]).unwrap();
    gate.roles().unassign(ada, lost).unwrap();
    let new = done(again(gate, old.token(), PASSWORD));
    assert_eq!(new.session().selected, Some(vec![kept]));
}

#[test]
fn wrong_passwords_in_a_session_are_throttled() {
    let world = world();
    world.user("ada");
    let login = world.login("ada");
    let mut tries = 0;
    let denial = loop {
        match again(&world.gate, login.token(), OTHER) {
            LoginStep::Denied(Denial::Credentials) => tries += 1,
            LoginStep::Denied(denial) => break denial,
            other => panic!("{other:?}"),
        }
        assert!(tries < 20, "never held up");
    };
    assert!(denial.retry_after().is_some());
    let hashes = world.gate.password_hashes_computed();
    let _ = again(&world.gate, login.token(), PASSWORD);
    assert_eq!(world.gate.password_hashes_computed(), hashes, "no hash for an attempt that is held up");
    refused(
        world.gate.reauthenticate(login.token(), &"x".repeat(1025), &Client::new()),
        ErrorKind::InvalidInput,
        Some("password"),
    );
}

#[test]
fn the_limit_of_sessions_holds_exactly_under_threads() {
    for limit in [ParallelSessions::EndOldest(3), ParallelSessions::Refuse(3)] {
        let world = world_with(|builder| patient(builder.parallel_sessions(limit).admission(4, 256, MINUTE)));
        let gate = &world.gate;
        let ada = world.user("ada").id;
        let opened: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..64).map(|_| scope.spawn(|| log_in(gate, "ada", PASSWORD))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let live = opened.iter().flatten().filter(|login| is_live(gate, login.token().as_str())).count();
        assert_eq!((live, all(|page| gate.sessions().of_user(ada, page)).len()), (3, 3), "{limit:?}");
        for refusal in opened.iter().filter_map(|login| login.as_ref().err()) {
            match refusal.kind() {
                ErrorKind::Denied => assert_eq!(refusal.denial(), Some(Denial::SessionLimit)),
                // Many at once for one account.
                kind => assert!(matches!(kind, ErrorKind::Conflict | ErrorKind::Busy), "{refusal}"),
            }
        }
        sound(gate);
    }
}

#[test]
fn at_the_limit_the_oldest_ends_or_the_login_is_refused() {
    let limit = |limit| world_with(move |builder| builder.parallel_sessions(limit));
    let world = limit(ParallelSessions::EndOldest(2));
    world.user("ada");
    let logins: Vec<_> = (0..3)
        .map(|_| {
            world.after(1);
            world.login("ada")
        })
        .collect();
    let live =
        |gate: &Portcullis| logins.iter().map(|one| is_live(gate, one.token().as_str())).collect::<Vec<_>>();
    assert_eq!(live(&world.gate), [false, true, true]);
    // One in the place of another is not one more.
    let new = done(again(&world.gate, logins[2].token(), PASSWORD));
    assert!(is_live(&world.gate, logins[1].token().as_str()) && is_live(&world.gate, new.token().as_str()));
    sound(&world.gate);

    let world = limit(ParallelSessions::Refuse(1));
    let gate = &world.gate;
    let ada = world.user("ada").id;
    let first = world.login("ada");
    let refusal = log_in(gate, "ada", PASSWORD).unwrap_err();
    assert_eq!(refusal.denial(), Some(Denial::SessionLimit));
    assert_eq!(log_in(gate, "ada", OTHER).unwrap_err().denial(), Some(Denial::Credentials));
    let new = done(again(gate, first.token(), PASSWORD));
    // One that went idle, was revoked or ended by another password does not count.
    world.after(3601);
    let second = log_in(gate, "ada", PASSWORD).unwrap();
    assert!(!is_live(gate, new.token().as_str()));
    gate.sessions().revoke(second.session().id).unwrap();
    log_in(gate, "ada", PASSWORD).unwrap();
    gate.users().set_password(ada, OTHER).unwrap();
    log_in(gate, "ada", OTHER).unwrap();
    gate.sessions().revoke_everything().unwrap();
    log_in(gate, "ada", OTHER).unwrap();
    sound(gate);
    for wrong in [ParallelSessions::Refuse(0), ParallelSessions::EndOldest(1001)] {
        let built = Portcullis::builder().parallel_sessions(wrong).in_memory();
        refused(built, ErrorKind::InvalidInput, Some("session.parallel"));
    }
}
