//! Second factors, and the present password where it is changed.

use super::{held_up, records, secs, told, wrong};
use crate::factors::{answer, challenge, enrolled_app, keys};
use crate::support::{OTHER, PASSWORD, World, log_in, refused, sound, world_with};
use portcullis::testing::totp_code;
use portcullis::{
    Answer, AuditKind, Client, Denial, ErrorKind, EventKind, LoginStep, Method, ThrottlePolicy, TriedFrom,
    UserId,
};

fn app(policy: ThrottlePolicy) -> (World, UserId, String) {
    let world = world_with(|builder| builder.keys(keys()).throttle(policy));
    let ada = world.user("ada").id;
    let secret = enrolled_app(&world, ada);
    world.after(30);
    (world, ada, secret)
}

fn denial(step: LoginStep) -> Option<Denial> {
    step.done().err().and_then(|error| error.denial())
}

/// OWASP ASVS 5.0 6.6.3: another login, and another challenge, begin no new count.
#[test]
fn guesses_at_codes_are_held_up_over_all_logins() {
    let (world, ada, secret) = app(ThrottlePolicy::new());
    let guess = Answer::totp("000000");
    let first = challenge(&world.gate, "ada");
    for _ in 0..3 {
        assert_eq!(denial(answer(&world.gate, &first, &guess)), Some(Denial::Credentials));
    }
    let second = challenge(&world.gate, "ada");
    for _ in 0..2 {
        assert_eq!(denial(answer(&world.gate, &second, &guess)), Some(Denial::Credentials));
    }
    let third = challenge(&world.gate, "ada");
    let right = |world: &World| Answer::totp(totp_code(&secret, world.gate.now()).unwrap());
    assert_eq!(held_up(denial(answer(&world.gate, &third, &right(&world)))), 30);
    let told = records(&world.gate, AuditKind::LoginThrottled);
    assert!(
        told[0].detail.starts_with("totp after 5 failures in a row; refused until "),
        "{}",
        told[0].detail
    );
    let failures = world.gate.users().login_protection(ada).unwrap().failures;
    assert_eq!((failures[0].method, failures[0].failures), (Method::Totp, 5));
    world.after(30);
    assert!(matches!(answer(&world.gate, &third, &right(&world)), LoginStep::Done(_)));
    assert_eq!(world.gate.users().login_protection(ada).unwrap().failures, []);
    assert_eq!(
        records(&world.gate, AuditKind::LoginAfterFailures)[0].detail,
        "totp: after 5 failures in a row"
    );
    sound(&world.gate);
}

/// NIST SP 800-63B-4, section 3.2.2: success clears the failures of what was used, and each has its own stop.
#[test]
fn a_second_factor_is_stopped_by_itself() {
    let (world, ada, secret) = app(ThrottlePolicy::new().stop(6));
    let recovery = world.gate.factors().issue_recovery_codes(ada).unwrap();
    let events = world.gate.subscribe(64).unwrap();
    let mut failures = 0;
    while failures < 6 {
        let challenge = challenge(&world.gate, "ada");
        match denial(answer(&world.gate, &challenge, &Answer::totp("000000"))).unwrap() {
            Denial::Credentials => failures += 1,
            other => world.clock.advance(other.retry_after().unwrap()),
        }
    }
    world.after(3600);
    let next = challenge(&world.gate, "ada");
    let code = Answer::totp(totp_code(&secret, world.gate.now()).unwrap());
    assert_eq!(denial(answer(&world.gate, &next, &code)), Some(Denial::Credentials));
    assert_eq!(records(&world.gate, AuditKind::LoginStopped)[0].detail, "totp: 6 failures in a row");
    let mut told = told(&events);
    told.retain(|event| event.kind == EventKind::LoginStopped(Method::Totp));
    assert_eq!((told.len(), told[0].user), (1, Some(ada)));
    // The password never failed, and another factor does.
    let used = answer(&world.gate, &next, &Answer::recovery_code(recovery[0].as_str()));
    assert!(matches!(used, LoginStep::Done(_)), "{used:?}");
    assert!(
        world.gate.users().login_protection(ada).unwrap().failures.iter().all(|f| f.method == Method::Totp)
    );
    // Another app is another authenticator.
    let enrolment = world.gate.factors().enrol_totp(ada, "new phone").unwrap();
    let code = totp_code(enrolment.secret(), world.gate.now()).unwrap();
    world.gate.factors().confirm_totp(ada, enrolment.factor(), &code).unwrap();
    world.after(30);
    let next = challenge(&world.gate, "ada");
    let code = Answer::totp(totp_code(enrolment.secret(), world.gate.now()).unwrap());
    assert!(matches!(answer(&world.gate, &next, &code), LoginStep::Done(_)));
    sound(&world.gate);
}

/// OWASP ASVS 5.0 6.3.4: the other way to guess a password is held up as well, and not by what strangers do.
#[test]
fn guesses_at_the_present_password_are_held_up_by_themselves() {
    let world = crate::support::world();
    let ada = world.user("ada").id;
    for _ in 0..5 {
        wrong(&world.gate, "ada", &Client::new());
    }
    let change =
        |present: &str| world.gate.users().change_password(ada, present, "one more horse, one more battery");
    for _ in 0..5 {
        let error = refused(change(OTHER), ErrorKind::Denied, None);
        assert_eq!(error.denial(), Some(Denial::Credentials));
    }
    let hashes = world.gate.password_hashes_computed();
    let error = refused(change(PASSWORD), ErrorKind::Denied, None);
    assert_eq!((error.retry_after(), world.gate.password_hashes_computed()), (Some(secs(30)), hashes));
    let found = world.gate.users().login_protection(ada).unwrap().failures;
    assert_eq!(
        found.iter().map(|found| found.from).collect::<Vec<_>>(),
        [TriedFrom::Anywhere, TriedFrom::Session]
    );
    world.after(30);
    change(PASSWORD).unwrap();
    assert_eq!(world.gate.users().login_protection(ada).unwrap().failures, []);
    log_in(&world.gate, "ada", "one more horse, one more battery").unwrap();
    sound(&world.gate);
}

/// Where the count of a stop is reached within sessions, even the present password is refused there.
#[test]
fn the_present_password_is_stopped_within_sessions() {
    let world = world_with(|builder| builder.throttle(ThrottlePolicy::new().stop(5)));
    let ada = world.user("ada").id;
    for _ in 0..5 {
        world.gate.users().change_password(ada, OTHER, "one more horse, one more battery").unwrap_err();
    }
    world.after(30);
    let stopped = world.gate.users().change_password(ada, PASSWORD, "one more horse, one more battery");
    assert_eq!(stopped.unwrap_err().denial(), Some(Denial::Credentials));
    log_in(&world.gate, "ada", PASSWORD).unwrap();
    sound(&world.gate);
}
