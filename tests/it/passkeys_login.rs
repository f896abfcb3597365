//! Sessions by passkey: alone, and as the second step of a login.

use crate::authenticator::{Authenticator, UP};
use crate::passkeys::{denied, enrolled, register};
use crate::support::{Disk, PASSWORD, World, all, is_live, log_in, sound, user, world};
use portcullis::{
    Answer, Assurance, AuditKind, Challenge, Client, Credentials, Denial, Error, ErrorKind, LoginStep,
    Method, Portcullis, Result, Status, UserId,
};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A login by passkey alone.
fn alone(gate: &Portcullis, device: &mut Authenticator) -> Result<LoginStep> {
    let started = gate.passkeys().start_login()?;
    gate.passkeys().finish_login(&started.ticket, &device.get(&started.options), &Client::new())
}

/// The error of a step that must be refused.
fn refused(step: Result<LoginStep>) -> Result<(), Error> {
    step.unwrap().done().map(drop)
}

/// A user with a password and a passkey.
fn both() -> (World, UserId, Authenticator) {
    let world = world();
    let ada = world.user("ada").id;
    let mut device = Authenticator::named("ada");
    register(&world.gate, ada, &mut device).unwrap();
    (world, ada, device)
}

fn asked(gate: &Portcullis) -> Challenge {
    let who = Credentials::password("ada", PASSWORD);
    match gate.start_login(&who, &Client::new()).unwrap() {
        LoginStep::NeedsFactor(challenge) => challenge,
        other => panic!("a factor must be asked for: {other:?}"),
    }
}

fn answer(gate: &Portcullis, challenge: &Challenge, response: String) -> Result<LoginStep> {
    gate.answer(challenge, &Answer::passkey(response), &Client::new())
}

#[test]
fn a_passkey_alone_opens_a_session_of_two_factors() {
    let world = world();
    let (ada, mut device, _) = enrolled(&world.gate, "ada");
    let login = alone(&world.gate, &mut device).unwrap().done().unwrap();
    assert_eq!(login.user(), ada);
    let methods = login.session().methods;
    assert_eq!((methods.assurance(), methods.contains(Method::VerifiedPasskey)), (Assurance::Two, true));
    assert!(is_live(&world.gate, login.token().as_str()));
    assert_eq!(all(|page| world.gate.audit().by_kind(AuditKind::LoginSuccess, page)).len(), 1);
    sound(&world.gate);
}

#[test]
fn a_passkey_is_the_second_step_of_whoever_has_one() {
    let (world, ada, mut device) = both();
    let gate = &world.gate;
    assert_eq!(log_in(gate, "ada", PASSWORD).unwrap_err().denial(), Some(Denial::FactorRequired));
    let challenge = asked(gate);
    assert_eq!(challenge.methods(), [Method::Passkey]);
    let options = gate.ask_for_passkey(&challenge).unwrap();
    let login = answer(gate, &challenge, device.get(&options)).unwrap().done().unwrap();
    assert_eq!(login.user(), ada);
    assert_eq!(login.session().methods.to_string(), "password+passkey+verified_passkey");
    // Without the authenticator having verified anybody it is one factor, with the password two.
    device.flags = UP;
    let challenge = asked(gate);
    let options = gate.ask_for_passkey(&challenge).unwrap();
    let login = answer(gate, &challenge, device.get(&options)).unwrap().done().unwrap();
    assert_eq!(login.session().methods.to_string(), "password+passkey");
    assert_eq!(login.session().methods.assurance(), Assurance::Two);
    denied(gate, refused(alone(gate, &mut device)), "user");
    sound(gate);
}

#[test]
fn an_answer_is_good_for_the_login_that_asked_and_once() {
    let (world, _, mut device) = both();
    let gate = &world.gate;
    let (one, two) = (asked(gate), asked(gate));
    let first = gate.ask_for_passkey(&one).unwrap();
    let options = gate.ask_for_passkey(&one).unwrap();
    gate.ask_for_passkey(&two).unwrap();
    denied(gate, refused(answer(gate, &two, device.get(&options))), "challenge");
    denied(gate, refused(answer(gate, &one, device.get(&first))), "challenge");
    let response = device.get(&options);
    answer(gate, &one, response.clone()).unwrap().done().unwrap();
    let again = answer(gate, &one, response).unwrap();
    assert!(matches!(again, LoginStep::Denied(Denial::Challenge)), "{again:?}");
    // Nothing was asked of this login.
    let three = asked(gate);
    denied(gate, refused(answer(gate, &three, device.get(&options))), "not registered");

    let started = gate.passkeys().start_login().unwrap();
    let response = device.get(&started.options);
    let finish = || gate.passkeys().finish_login(&started.ticket, &response, &Client::new());
    finish().unwrap().done().unwrap();
    denied(gate, refused(finish()), "answered before");
    sound(gate);
}

#[test]
fn of_many_threads_with_one_answer_one_gets_a_session() {
    let (world, ada, mut device) = both();
    let gate = &world.gate;
    let started = gate.passkeys().start_login().unwrap();
    let response = device.get(&started.options);
    let won = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let step = gate.passkeys().finish_login(&started.ticket, &response, &Client::new()).unwrap();
                if let LoginStep::Done(_) = step {
                    won.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(won.into_inner(), 1);
    assert_eq!(all(|page| gate.sessions().of_user(ada, page)).len(), 1);
    sound(gate);
}

#[test]
fn who_may_not_log_in_does_not_by_passkey_either() {
    let (world, ada, mut device) = both();
    let gate = &world.gate;
    gate.users().set_status(ada, Status::disabled("away")).unwrap();
    denied(gate, refused(alone(gate, &mut device)), "Disabled");
    gate.users().set_status(ada, Status::active()).unwrap();
    gate.users().mark_password_compromised(ada).unwrap();
    let step = alone(gate, &mut device).unwrap();
    assert!(matches!(step, LoginStep::MustChangePassword(_)), "{step:?}");
    let passkey = gate.passkeys().of_user(ada).unwrap()[0].id;
    gate.passkeys().remove(ada, passkey).unwrap();
    denied(gate, refused(alone(gate, &mut device)), "not registered");
    assert!(matches!(
        gate.start_login(&Credentials::password("ada", PASSWORD), &Client::new()).unwrap(),
        LoginStep::MustChangePassword(_)
    ));
    sound(gate);
}

#[test]
fn a_copied_passkey_is_suspended_by_the_login_that_it_fails() {
    for second in [false, true] {
        let world = world();
        let gate = &world.gate;
        let ada = world.user("ada").id;
        let mut device = Authenticator { counter: 5, ..Authenticator::named("ada") };
        register(gate, ada, &mut device).unwrap();
        let mut copy = Authenticator { counter: 3, ..device.clone() };
        let challenge = asked(gate);
        let step = match second {
            true => {
                let options = gate.ask_for_passkey(&challenge).unwrap();
                answer(gate, &challenge, copy.get(&options))
            }
            false => alone(gate, &mut copy),
        };
        denied(gate, refused(step), "did not grow");
        assert!(gate.passkeys().of_user(ada).unwrap()[0].suspended.is_some());
        assert_eq!(all(|page| gate.audit().by_kind(AuditKind::PasskeySuspended, page)).len(), 1);
        assert!(all(|page| gate.sessions().of_user(ada, page)).is_empty());
        // Nobody is asked for a suspended one.
        let error = gate.ask_for_passkey(&challenge).unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::NotFound, Some("passkey")));
        sound(gate);
    }
}

#[test]
fn five_wrong_answers_end_a_login_and_a_long_one_is_not_looked_at() {
    let (world, _, mut device) = both();
    let gate = &world.gate;
    let challenge = asked(gate);
    let options = gate.ask_for_passkey(&challenge).unwrap();
    let error = answer(gate, &challenge, "x".repeat(17 << 10)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    for _ in 0..5 {
        denied(gate, refused(answer(gate, &challenge, "{}".to_owned())), "assertion");
    }
    let late = answer(gate, &challenge, device.get(&options)).unwrap();
    assert!(matches!(late, LoginStep::Denied(Denial::Challenge)), "{late:?}");
}

#[test]
fn a_login_goes_on_after_a_reopening() {
    let disk = Disk::new();
    let gate = disk.open();
    let ada = user(&gate, "ada").id;
    let mut device = Authenticator::named("ada");
    register(&gate, ada, &mut device).unwrap();
    let challenge = asked(&gate);
    let options = gate.ask_for_passkey(&challenge).unwrap();
    let started = gate.passkeys().start_login().unwrap();
    drop(gate);
    let gate = disk.open();
    answer(&gate, &challenge, device.get(&options)).unwrap().done().unwrap();
    let response = device.get(&started.options);
    gate.passkeys().finish_login(&started.ticket, &response, &Client::new()).unwrap().done().unwrap();
    sound(&gate);
}
