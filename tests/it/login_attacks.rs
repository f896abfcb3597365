//! Ways around a second factor, and around the counts of failures.

use crate::authenticator::Authenticator;
use crate::factors::{
    answer, challenge, demanding, denied, done, enrolled_app, keys, start, verified_mailbox,
};
use crate::passkeys::register;
use crate::support::{OTHER, PASSWORD, log_in, sound, world_with};
use portcullis::testing::totp_code;
use portcullis::{
    Answer, Client, Credentials, Denial, HistoryPolicy, LoginStep, Method, NewContact, NewUser,
    PasswordPolicy, Status, ThrottlePolicy,
};

#[test]
fn what_was_enrolled_at_a_login_counts_for_nothing_once_the_user_has_a_factor() {
    let world = world_with(|builder| builder.keys(keys()));
    let gate = &world.gate;
    let ada = world.user("ada").id;
    gate.roles().assign(ada, demanding(gate, "vault")).unwrap();
    let stolen = challenge(gate, "ada");
    let enrolment = gate.enrol_at_login(&stolen, "mine").unwrap();
    enrolled_app(&world, ada);
    let code = totp_code(enrolment.secret(), gate.now()).unwrap();
    denied(&answer(gate, &stolen, &Answer::totp(code)), Denial::Credentials);
    let confirmed = gate.factors().of_user(ada).unwrap().into_iter().filter(|f| f.confirmed.is_some());
    assert_eq!(confirmed.count(), 1);
    sound(gate);
}

#[test]
fn whoever_has_a_factor_that_is_not_enough_uses_it_before_another_is_enrolled() {
    let world = world_with(|builder| builder.keys(keys()));
    let gate = &world.gate;
    let ada = world.user("ada").id;
    let mail = verified_mailbox(gate, ada);
    gate.roles().assign(ada, demanding(gate, "vault")).unwrap();
    let asked = challenge(gate, "ada");
    assert_eq!(asked.methods(), [Method::EmailCode]);
    assert_eq!(gate.enrol_at_login(&asked, "").unwrap_err().denial(), Some(Denial::Challenge));
    let code = gate.send_code(&asked, mail).unwrap();
    let LoginStep::NeedsFactor(asked) = answer(gate, &asked, &Answer::sent_code(code.code())) else {
        panic!()
    };
    assert!(asked.methods().is_empty());
    let enrolment = gate.enrol_at_login(&asked, "phone").unwrap();
    let code = totp_code(enrolment.secret(), gate.now()).unwrap();
    let login = done(answer(gate, &asked, &Answer::totp(code)));
    assert_eq!(login.session().methods.to_string(), "password+totp+email_code");
    sound(gate);
}

#[test]
fn a_password_alone_changes_none_once_the_user_has_a_factor() {
    let world = world_with(|builder| builder.keys(keys()));
    let gate = &world.gate;
    let ada = world.user("ada").id;
    gate.users().mark_password_compromised(ada).unwrap();
    let LoginStep::MustChangePassword(stolen) = start(gate, "ada") else { panic!() };
    enrolled_app(&world, ada);
    denied(&answer(gate, &stolen, &Answer::new_password(OTHER)), Denial::Credentials);
    assert!(matches!(start(gate, "ada"), LoginStep::NeedsFactor(_)), "the password is the same");
    sound(gate);
}

#[test]
fn all_spellings_of_a_name_share_its_failures() {
    let world = world_with(|builder| builder);
    world.user("ada@x.org");
    for spelling in ["ada@x.org", "\u{FF41}da@x.org", "ada\u{FF20}x.org", "Ad\u{FF41}@x.org", "ADA@x.org"] {
        let error = log_in(&world.gate, spelling, "wrong").unwrap_err();
        assert_eq!(error.denial(), Some(Denial::Credentials));
    }
    for spelling in ["ada@x.org", "\u{FF41}da@x.org", "ada\u{FF20}x.org", "aD\u{FF41}@x.org"] {
        let error = log_in(&world.gate, spelling, PASSWORD).unwrap_err();
        assert_eq!(error.retry_after().map(|t| t.as_secs()), Some(30), "{spelling}");
    }
}

#[test]
fn a_device_does_not_tell_the_right_password_of_a_disabled_account() {
    let who = |password: &str| Credentials::password("ada", password);
    let answers = [PASSWORD, OTHER].map(|password| {
        let world = world_with(|builder| builder);
        let ada = world.user("ada").id;
        let login = world.gate.login(&who(PASSWORD), &Client::new()).unwrap();
        let client = Client::new().device_token(login.device_token().unwrap());
        world.gate.users().set_status(ada, Status::disabled("away")).unwrap();
        let attempt = || world.gate.login(&who(password), &client).unwrap_err().denial();
        (0..8).map(|_| attempt()).collect::<Vec<_>>()
    });
    assert_eq!(answers[0], answers[1]);
    assert_ne!(answers[0][7], Some(Denial::Credentials));
}

#[test]
fn a_stopped_factor_that_was_removed_stops_no_new_one() {
    let world = world_with(|builder| builder.keys(keys()).throttle(ThrottlePolicy::new().stop(5)));
    let gate = &world.gate;
    let ada = world.user("ada").id;
    gate.roles().assign(ada, demanding(gate, "vault")).unwrap();
    enrolled_app(&world, ada);
    let asked = challenge(gate, "ada");
    for _ in 0..5 {
        denied(&answer(gate, &asked, &Answer::totp("000000")), Denial::Credentials);
    }
    let factor = gate.factors().of_user(ada).unwrap()[0].id;
    gate.factors().remove(ada, factor).unwrap();
    world.after(3600);
    let asked = challenge(gate, "ada");
    let enrolment = gate.enrol_at_login(&asked, "phone").unwrap();
    let code = totp_code(enrolment.secret(), gate.now()).unwrap();
    let _ = done(answer(gate, &asked, &Answer::totp(code)));
    sound(gate);
}

#[test]
fn a_suspended_passkey_is_still_asked_for() {
    let world = world_with(|builder| builder.keys(keys()));
    let gate = &world.gate;
    let ada = world.user("ada").id;
    let mut device = Authenticator { counter: 5, ..Authenticator::named("ada") };
    register(gate, ada, &mut device).unwrap();
    let asked = challenge(gate, "ada");
    let options = gate.ask_for_passkey(&asked).unwrap();
    let _ = done(answer(gate, &asked, &Answer::passkey(device.get(&options))));
    let asked = challenge(gate, "ada");
    let copied = device.answer(&gate.ask_for_passkey(&asked).unwrap());
    denied(&answer(gate, &asked, &Answer::passkey(copied)), Denial::Credentials);
    assert!(gate.passkeys().of_user(ada).unwrap()[0].suspended.is_some());
    let asked = challenge(gate, "ada");
    assert!(asked.methods().is_empty());
    assert_eq!(gate.enrol_at_login(&asked, "").unwrap_err().denial(), Some(Denial::Challenge));
    // Nor does a mailbox stand in for it where a password is reset.
    let mail = gate.users().add_contact(ada, &NewContact::email("ada@x.org").verified()).unwrap().id;
    gate.factors().enrol_contact(ada, mail, "").unwrap();
    let reset = gate.tickets().start_password_reset(ada, None).unwrap();
    let error = gate.tickets().reset_password(reset.token(), OTHER, None, &Client::new()).unwrap_err();
    assert_eq!(error.denial(), Some(Denial::FactorRequired));
    let code = gate.factors().issue_recovery_codes(ada).unwrap().remove(0);
    assert_eq!(challenge(gate, "ada").methods(), [Method::RecoveryCode, Method::EmailCode]);
    assert_eq!(gate.tickets().reset_methods(reset.token()).unwrap(), [Method::RecoveryCode]);
    let code = Answer::recovery_code(code.as_str());
    gate.tickets().reset_password(reset.token(), OTHER, Some(&code), &Client::new()).unwrap();
}

#[test]
fn a_password_can_be_changed_whatever_failed_before() {
    let policy = HistoryPolicy::new().devices(64);
    let passwords = PasswordPolicy::new().history(24).unwrap();
    let world = world_with(|builder| builder.history(policy).password_policy(passwords).keys(keys()));
    let gate = &world.gate;
    let mut new = NewUser::new("ada").password("a first of many passwords");
    for number in 0..16 {
        new = new.contact(NewContact::email(format!("ada{number}@x.org")).verified());
    }
    let ada = gate.users().create(new).unwrap().id;
    for number in 0..26 {
        gate.users().set_password(ada, &format!("one of many passwords {number}")).unwrap();
    }
    gate.users().set_password(ada, PASSWORD).unwrap();
    let who = |password: &str| Credentials::password("ada", password);
    for _ in 0..64 {
        let login = gate.login(&who(PASSWORD), &Client::new()).unwrap();
        let client = Client::new().device_token(login.device_token().unwrap());
        let _ = gate.login(&who("wrong"), &client).unwrap_err();
        let _ = gate.users().change_password(ada, "wrong", OTHER);
    }
    let secret = enrolled_app(&world, ada);
    gate.users().mark_password_compromised(ada).unwrap();
    world.after(3600);
    let step = answer(gate, challenge(gate, "ada"), &Answer::totp(totp_code(&secret, gate.now()).unwrap()));
    let LoginStep::MustChangePassword(asked) = step else { panic!("{step:?}") };
    for number in 0..16 {
        let _ = log_in(gate, &format!("ada{number}@x.org"), "wrong").unwrap_err();
    }
    let _ = log_in(gate, "ada", "wrong").unwrap_err();
    assert!(gate.users().login_protection(ada).unwrap().failures.len() >= 66);
    let client = Client::new().device("new").ip("10.1.2.3".parse().unwrap());
    let _ = done(gate.answer(&asked, &Answer::new_password(OTHER), &client).unwrap());
    sound(gate);
}

#[test]
fn a_password_alone_lengthens_no_session_of_two_factors() {
    let world = world_with(|builder| builder.keys(keys()));
    let gate = &world.gate;
    let ada = world.user("ada").id;
    let secret = enrolled_app(&world, ada);
    world.after(30);
    let code = totp_code(&secret, gate.now()).unwrap();
    let old = done(answer(gate, challenge(gate, "ada"), &Answer::totp(code)));
    world.after(1800);
    let new = gate.change_password(old.token(), PASSWORD, OTHER, &Client::new()).unwrap();
    assert_eq!(new.session().methods, old.session().methods);
    assert_eq!(new.session().expires, old.session().expires);
    assert_eq!(new.session().elevated, old.session().elevated);
}
