//! Second factors and the steps of a login.

use crate::support::{
    OTHER, PASSWORD, World, backwards, everything, is_live, log_in, refused, sound, user, world,
};
use portcullis::testing::totp_code;
use portcullis::{
    Answer, Assurance, AuditKind, Challenge, Client, Credentials, Denial, ErrorKind, FactorId, KeyId,
    Keyring, Login, LoginStep, Method, NewContact, NewUser, Portcullis, RoleChange, RoleId, Status,
    TotpSettings, UserId,
};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

pub(crate) const KEY: [u8; 32] = [7; 32];

pub(crate) fn keys() -> Keyring {
    Keyring::new(KeyId::new(1), &KEY).unwrap()
}

/// A database with keys, a user, and that user's authenticator app.
struct App {
    world: World,
    ada: UserId,
    factor: FactorId,
    secret: String,
}

impl App {
    fn new() -> Self {
        let world = crate::support::world_with(|builder| builder.keys(keys()));
        let ada = world.user("ada").id;
        let enrolment = world.gate.factors().enrol_totp(ada, "phone").unwrap();
        let secret = enrolment.secret().to_owned();
        let app = Self { world, ada, factor: enrolment.factor(), secret };
        app.gate().factors().confirm_totp(ada, app.factor, &app.code()).unwrap();
        app.world.after(30);
        app
    }

    fn gate(&self) -> &Portcullis {
        &self.world.gate
    }

    fn code(&self) -> String {
        totp_code(&self.secret, self.gate().now()).unwrap()
    }

    fn challenge(&self) -> Challenge {
        challenge(self.gate(), "ada")
    }
}

/// A role that asks for a second factor.
pub(crate) fn demanding(gate: &Portcullis, name: &str) -> RoleId {
    let role = gate.roles().create(name, []).unwrap();
    gate.roles().update(role, RoleChange::new().assurance(Assurance::Two)).unwrap();
    role
}

/// The secret of an authenticator app that the user has from now on.
pub(crate) fn enrolled_app(world: &World, user: UserId) -> String {
    let factors = world.gate.factors();
    let enrolment = factors.enrol_totp(user, "phone").unwrap();
    let code = totp_code(enrolment.secret(), world.gate.now()).unwrap();
    factors.confirm_totp(user, enrolment.factor(), &code).unwrap();
    enrolment.secret().to_owned()
}

/// The user's own mailbox, to which codes are sent from now on.
pub(crate) fn verified_mailbox(gate: &Portcullis, user: UserId) -> FactorId {
    let email = gate.users().add_contact(user, &NewContact::email("ada@x.org")).unwrap().id;
    gate.users().verify_contact(user, email).unwrap();
    gate.factors().enrol_contact(user, email, "").unwrap().id
}

pub(crate) fn start(gate: &Portcullis, login: &str) -> LoginStep {
    gate.start_login(&Credentials::password(login, PASSWORD), &Client::new()).unwrap()
}

#[track_caller]
pub(crate) fn challenge(gate: &Portcullis, login: &str) -> Challenge {
    match start(gate, login) {
        LoginStep::NeedsFactor(challenge) => challenge,
        other => panic!("a factor must be asked for: {other:?}"),
    }
}

pub(crate) fn answer(gate: &Portcullis, challenge: impl AsRef<str>, answer: &Answer) -> LoginStep {
    gate.answer(challenge, answer, &Client::new()).unwrap()
}

#[track_caller]
pub(crate) fn done(step: LoginStep) -> Login {
    step.done().unwrap()
}

#[track_caller]
pub(crate) fn denied(step: &LoginStep, denial: Denial) {
    match step {
        LoginStep::Denied(found) => assert_eq!(*found, denial),
        other => panic!("must be denied: {other:?}"),
    }
}

#[test]
fn a_code_of_the_app_makes_the_second_step_and_a_session_of_two_factors() {
    let app = App::new();
    let gate = app.gate();
    let challenge = app.challenge();
    assert_eq!((challenge.methods(), challenge.user()), (&[Method::Totp][..], app.ada));
    assert!(!is_live(gate, challenge.token().as_str()), "a challenge opens nothing");
    let login = done(answer(gate, &challenge, &Answer::totp(app.code())));
    let session = gate.sessions().get(login.session().id).unwrap();
    assert_eq!(session.methods.assurance(), Assurance::Two);
    assert_eq!(session.methods.to_string(), "password+totp");
    assert_eq!(session.authenticated, gate.now());
    assert!(is_live(gate, login.token().as_str()));
    denied(&answer(gate, &challenge, &Answer::totp(app.code())), Denial::Challenge);
    // The one-step form says that it is not enough, and leaves nothing behind.
    let error = log_in(gate, "ada", PASSWORD).unwrap_err();
    assert_eq!(error.denial(), Some(Denial::FactorRequired));
    sound(gate);
}

#[test]
fn a_code_is_good_once_and_no_older_one_after_it() {
    let app = App::new();
    let gate = app.gate();
    let old = app.code();
    app.world.after(30);
    let code = app.code();
    let _ = done(answer(gate, app.challenge(), &Answer::totp(&code)));
    for spent in [&code, &old] {
        denied(&answer(gate, app.challenge(), &Answer::totp(spent)), Denial::Credentials);
    }
    app.world.after(30);
    let _ = done(answer(gate, app.challenge(), &Answer::totp(app.code())));
    // A clock that is set back an hour brings no spent code back.
    app.world.clock.set(crate::support::later(gate.now(), 0));
    let before = gate.now();
    app.world.clock.set(portcullis::Timestamp::from_millis(before.as_millis() - 3_600_000));
    denied(&answer(gate, app.challenge(), &Answer::totp(&code)), Denial::Credentials);
}

#[test]
fn the_code_of_the_step_before_is_taken_and_no_other() {
    let app = App::new();
    let gate = app.gate();
    for (ago, fine) in [(60, false), (30, true), (0, true)] {
        app.world.after(90);
        let then = portcullis::Timestamp::from_millis(gate.now().as_millis() - ago * 1000);
        let code = totp_code(&app.secret, then).unwrap();
        match answer(gate, app.challenge(), &Answer::totp(code)) {
            LoginStep::Done(_) => assert!(fine, "{ago}"),
            other => {
                assert!(!fine && matches!(other, LoginStep::Denied(Denial::Credentials)), "{ago} {other:?}")
            }
        }
    }
    let ahead = totp_code(&app.secret, crate::support::later(gate.now(), 30)).unwrap();
    denied(&answer(gate, app.challenge(), &Answer::totp(ahead)), Denial::Credentials);
}

#[test]
fn five_wrong_answers_end_a_login_and_sending_anew_does_not_help() {
    let app = App::new();
    let gate = app.gate();
    let contact = gate.users().add_contact(app.ada, &NewContact::phone("+44 20")).unwrap().id;
    gate.users().verify_contact(app.ada, contact).unwrap();
    let phone = gate.factors().enrol_contact(app.ada, contact, "").unwrap().id;
    let challenge = app.challenge();
    assert_eq!(challenge.methods(), [Method::Totp, Method::SmsCode]);
    for _ in 0..4 {
        gate.send_code(&challenge, phone).unwrap();
        denied(&answer(gate, &challenge, &Answer::sent_code("00000000")), Denial::Credentials);
    }
    denied(&answer(gate, &challenge, &Answer::totp("000000")), Denial::Credentials);
    denied(&answer(gate, &challenge, &Answer::totp(app.code())), Denial::Challenge);
    let last = backwards(|page| gate.audit().list(page)).remove(0);
    assert_eq!(last.kind, AuditKind::LoginFailure);
    assert!(last.detail.contains("given up"), "{}", last.detail);
}

#[test]
fn a_code_that_was_sent_is_bound_to_its_login() {
    let app = App::new();
    let gate = app.gate();
    let email = gate.users().add_contact(app.ada, &NewContact::email("ada@x.org")).unwrap().id;
    refused(gate.factors().enrol_contact(app.ada, email, ""), ErrorKind::InvalidInput, Some("contact"));
    gate.users().verify_contact(app.ada, email).unwrap();
    let mail = gate.factors().enrol_contact(app.ada, email, "").unwrap().id;
    refused(gate.factors().enrol_contact(app.ada, email, ""), ErrorKind::AlreadyExists, Some("contact"));

    let (one, two) = (app.challenge(), app.challenge());
    let code = gate.send_code(&one, mail).unwrap();
    assert_eq!((code.contact().value.as_str(), code.code().len()), ("ada@x.org", 8));
    assert!(!format!("{code:?}").contains(code.code()));
    denied(&answer(gate, &two, &Answer::sent_code(code.code())), Denial::Credentials);
    assert_eq!(backwards(|page| gate.audit().list(page))[1].kind, AuditKind::CodeSent);
    // One that is sent anew takes its place.
    let newer = gate.send_code(&one, mail).unwrap();
    denied(&answer(gate, &one, &Answer::sent_code(code.code())), Denial::Credentials);
    let login = done(answer(gate, &one, &Answer::sent_code(newer.code())));
    assert_eq!(login.session().methods.assurance(), Assurance::One, "a mailbox is no second factor");
    denied(&answer(gate, &two, &Answer::sent_code(newer.code())), Denial::Credentials);

    // Codes end with the login that they were sent for, and five are sent at most.
    let late = app.challenge();
    for _ in 0..5 {
        gate.send_code(&late, mail).unwrap();
    }
    refused(gate.send_code(&late, mail), ErrorKind::LimitExceeded, Some("challenge"));
    // Ten within an hour are the most, however many logins are begun: two of the login above, and these.
    let flood = app.challenge();
    for _ in 0..3 {
        gate.send_code(&flood, mail).unwrap();
    }
    refused(gate.send_code(&flood, mail), ErrorKind::LimitExceeded, Some("factor"));
    app.world.after(3600);
    gate.sessions().revoke_all(app.ada).unwrap();
    let error = gate.send_code(&flood, mail).unwrap_err();
    assert_eq!(error.denial(), Some(Denial::Challenge), "no login is under way any more");
    let third = app.challenge();
    let code = gate.send_code(&third, mail).unwrap();
    gate.users().remove_contact(app.ada, email).unwrap();
    denied(&answer(gate, &third, &Answer::sent_code(code.code())), Denial::Credentials);
    refused(gate.send_code(&third, mail), ErrorKind::NotFound, Some("factor"));
    app.world.after(600);
    let error = gate.send_code(&third, mail).unwrap_err();
    assert_eq!(error.denial(), Some(Denial::Challenge));
    denied(&answer(gate, &third, &Answer::totp(app.code())), Denial::Challenge);
}

#[test]
fn a_recovery_code_is_good_once_and_has_a_successor() {
    let app = App::new();
    let gate = app.gate();
    let codes = gate.factors().issue_recovery_codes(app.ada).unwrap();
    let login = done(answer(gate, app.challenge(), &Answer::recovery_code(codes[3].as_str().to_lowercase())));
    assert_eq!(login.session().methods.assurance(), Assurance::Two);
    let successor = login.new_recovery_code().unwrap().as_str().to_owned();
    let kinds: Vec<AuditKind> =
        backwards(|page| gate.audit().list(page)).into_iter().take(3).map(|record| record.kind).collect();
    assert_eq!(kinds, [AuditKind::LoginSuccess, AuditKind::RecoveryCodeUsed, AuditKind::LoginStep]);
    denied(&answer(gate, app.challenge(), &Answer::recovery_code(codes[3].as_str())), Denial::Credentials);
    let _ = done(answer(gate, app.challenge(), &Answer::recovery_code(successor)));
    // New ones take the place of all.
    gate.factors().issue_recovery_codes(app.ada).unwrap();
    denied(&answer(gate, app.challenge(), &Answer::recovery_code(codes[0].as_str())), Denial::Credentials);
    // Alone they are no factor: without the app, none is asked for.
    gate.factors().remove(app.ada, app.factor).unwrap();
    let _ = done(start(gate, "ada"));
}

#[test]
fn exactly_one_of_many_threads_uses_a_code() {
    let app = App::new();
    let gate = app.gate();
    let codes = gate.factors().issue_recovery_codes(app.ada).unwrap();
    let (totp, recovery) = (Answer::totp(app.code()), Answer::recovery_code(codes[0].as_str()));
    for right in [&totp, &recovery] {
        let challenges: Vec<Challenge> = (0..8).map(|_| app.challenge()).collect();
        let won = AtomicUsize::new(0);
        let won = &won;
        std::thread::scope(|scope| {
            for challenge in &challenges {
                for _ in 0..2 {
                    scope.spawn(move || {
                        if let LoginStep::Done(_) = answer(gate, challenge, right) {
                            won.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
            }
        });
        assert_eq!(won.load(Ordering::Relaxed), 1, "{right:?}");
    }
    sound(gate);
}

#[test]
fn whatever_ends_sessions_ends_logins_under_way() {
    type Act = (&'static str, fn(&App));
    let acts: [Act; 6] = [
        ("revoke_all", |app| app.gate().sessions().revoke_all(app.ada).unwrap()),
        ("set_password", |app| app.gate().users().set_password(app.ada, OTHER).unwrap()),
        ("disable", |app| drop(app.gate().users().set_status(app.ada, Status::disabled("x")).unwrap())),
        ("delete", |app| app.gate().users().delete(app.ada).unwrap()),
        ("remove", |app| drop(app.gate().factors().remove(app.ada, app.factor).unwrap())),
        ("expiry", |app| app.world.after(600)),
    ];
    for (name, act) in acts {
        let app = App::new();
        let challenge = app.challenge();
        act(&app);
        let step = answer(app.gate(), &challenge, &Answer::totp(app.code()));
        assert!(matches!(step, LoginStep::Denied(_)), "{name}: {step:?}");
        sound(app.gate());
        app.gate().maintain(100).unwrap();
        sound(app.gate());
    }
}

#[test]
fn logins_that_nobody_goes_on_with_are_told() {
    let app = App::new();
    let gate = app.gate();
    for _ in 0..20 {
        let _ = app.challenge();
    }
    app.world.after(600);
    assert_eq!(gate.maintain(1000).unwrap().abandoned_logins, 8, "eight at most are under way");
    let last = backwards(|page| gate.audit().list(page)).remove(0);
    assert_eq!((last.kind, last.detail.as_str()), (AuditKind::LoginAbandoned, "after password"));
    assert_eq!(gate.maintain(1000).unwrap().abandoned_logins, 0);
    sound(gate);
}

#[test]
fn the_own_change_of_a_password_needs_the_present_one() {
    let app = App::new();
    let gate = app.gate();
    let login = done(answer(gate, app.challenge(), &Answer::totp(app.code())));
    let before = everything(gate).len();
    let client = Client::new();
    let error = gate.change_password(login.token(), "wrong", OTHER, &client).unwrap_err();
    assert_eq!(error.denial(), Some(Denial::Credentials));
    refused(
        gate.change_password(login.token(), PASSWORD, "short", &client),
        ErrorKind::InvalidInput,
        Some("password"),
    );
    assert_eq!(everything(gate).len(), before);
    assert!(is_live(gate, login.token().as_str()));
    app.world.after(30);
    let other = done(answer(gate, app.challenge(), &Answer::totp(app.code())));
    let new = gate.change_password(login.token(), PASSWORD, OTHER, &client).unwrap();
    assert!(!is_live(gate, login.token().as_str()) && !is_live(gate, other.token().as_str()));
    assert!(is_live(gate, new.token().as_str()));
    assert_eq!(new.session().methods.to_string(), "password+totp", "what was proved is carried over");
    denied(&start(gate, "ada"), Denial::Credentials);
    let error = gate.change_password(login.token(), OTHER, PASSWORD, &client).unwrap_err();
    assert_eq!(error.denial(), Some(Denial::Session));
    sound(gate);
}

#[test]
fn a_seed_is_sealed_with_a_key_from_outside() {
    let world = world();
    let ada = world.user("ada").id;
    let error = refused(world.gate.factors().enrol_totp(ada, ""), ErrorKind::InvalidInput, Some("keys"));
    assert!(error.to_string().contains("Builder::keys"), "{error}");

    let app = App::new();
    let seed = data_encoding::BASE32_NOPAD.decode(app.secret.as_bytes()).unwrap();
    let rows = portcullis::testing::dump(app.gate()).unwrap();
    for row in &rows {
        assert!(!row.value.windows(seed.len()).any(|window| window == seed), "{}", row.table);
    }
    assert!(rows.iter().any(|row| row.table == "factor"));
}

#[test]
fn another_key_opens_no_seed_and_says_so() {
    let disk = crate::support::Disk::new();
    let gate = disk.open_with(|builder| builder.keys(keys())).unwrap();
    let ada = user(&gate, "ada").id;
    let enrolment = gate.factors().enrol_totp(ada, "").unwrap();
    let code = totp_code(enrolment.secret(), gate.now()).unwrap();
    gate.factors().confirm_totp(ada, enrolment.factor(), &code).unwrap();
    let asked = challenge(&gate, "ada");
    drop(gate);
    disk.clock.advance(Duration::from_secs(30));
    let other = Keyring::new(KeyId::new(2), &[8; 32]).unwrap();
    let gate = disk.open_with(|builder| builder.keys(other.clone())).unwrap();
    let code = totp_code(enrolment.secret(), gate.now()).unwrap();
    let error = gate.answer(&asked, &Answer::totp(&code), &Client::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch, "{error}");
    drop(gate);
    // The former key beside the new one opens it again, and the login that was under way goes on over the reopening.
    let both = other.and_former(KeyId::new(1), &KEY).unwrap();
    let gate = disk.open_with(|builder| builder.keys(both)).unwrap();
    let seeds = |key: u32| {
        let uses = gate.users().password_keys().unwrap();
        uses.iter().filter(|found| found.key == Some(KeyId::new(key))).map(|found| found.seeds).sum::<u64>()
    };
    assert_eq!((seeds(1), seeds(2)), (1, 0));
    let _ = done(answer(&gate, &asked, &Answer::totp(&code)));
    // Its use has sealed it with the present key, so that the former one can go.
    assert_eq!((seeds(1), seeds(2)), (0, 1));
    sound(&gate);
}

#[test]
fn factors_are_confirmed_listed_and_bounded() {
    let world = crate::support::world_with(|builder| {
        builder.keys(keys()).totp(TotpSettings::new("The Gate").unwrap().window(0, 0).unwrap())
    });
    let gate = &world.gate;
    let ada = gate.users().create(NewUser::new("Ada L").password(PASSWORD));
    assert!(ada.is_err(), "no blank in a login");
    let ada = world.user("ada").id;
    let enrolment = gate.factors().enrol_totp(ada, "phone").unwrap();
    assert!(enrolment.uri().starts_with("otpauth://totp/The%20Gate:ada?secret="), "{}", enrolment.uri());
    assert!(!format!("{enrolment:?}").contains(enrolment.secret()));
    let _ = done(start(gate, "ada")); // it counts for nothing yet
    refused(
        gate.factors().confirm_totp(ada, enrolment.factor(), "000000"),
        ErrorKind::InvalidInput,
        Some("code"),
    );
    let code = totp_code(enrolment.secret(), gate.now()).unwrap();
    let factor = gate.factors().confirm_totp(ada, enrolment.factor(), &code).unwrap();
    assert_eq!((factor.label.as_str(), factor.method), ("phone", Method::Totp));
    assert_eq!(factor.confirmed, Some(gate.now()));
    refused(
        gate.factors().confirm_totp(ada, enrolment.factor(), &code),
        ErrorKind::InvalidInput,
        Some("code"),
    );
    for _ in 1..16 {
        gate.factors().enrol_totp(ada, "").unwrap();
    }
    refused(gate.factors().enrol_totp(ada, ""), ErrorKind::LimitExceeded, Some("factor"));
    // What was not confirmed in time makes way.
    world.after(3601);
    let late = gate.factors().of_user(ada).unwrap().into_iter().find(|f| f.confirmed.is_none()).unwrap();
    refused(gate.factors().confirm_totp(ada, late.id, "000000"), ErrorKind::NotFound, Some("factor"));
    gate.factors().enrol_totp(ada, "").unwrap();
    assert_eq!(gate.factors().of_user(ada).unwrap().len(), 2);
    refused(gate.factors().enrol_totp(ada, &"x".repeat(129)), ErrorKind::InvalidInput, Some("factor.label"));
    gate.users().delete(ada).unwrap();
    refused(gate.factors().of_user(ada), ErrorKind::NotFound, Some("user"));
    assert!(portcullis::testing::dump(gate).unwrap().iter().all(|row| row.table != "factor"));
    sound(gate);
}

#[test]
fn what_is_no_answer_is_refused() {
    let app = App::new();
    let gate = app.gate();
    let asked = app.challenge();
    denied(&answer(gate, &asked, &Answer::new_password(OTHER)), Denial::Credentials);
    denied(&answer(gate, &asked, &Answer::sent_code("12345678")), Denial::Credentials);
    refused(
        gate.answer(&asked, &Answer::totp("0".repeat(1025)), &Client::new()),
        ErrorKind::InvalidInput,
        Some("answer"),
    );
    assert_eq!(format!("{:?}", Answer::totp("123456")), "Answer(totp)");
    let text = asked.token().as_str();
    for length in 0..text.len() {
        denied(&answer(gate, &text[..length], &Answer::totp(app.code())), Denial::Challenge);
    }
    let login = done(answer(gate, &asked, &Answer::totp(app.code())));
    denied(&answer(gate, login.token(), &Answer::totp(app.code())), Denial::Challenge);
}

#[cfg(feature = "qr")]
#[test]
fn a_qr_code_is_drawn_as_a_picture_and_as_text() {
    let world = crate::support::world_with(|builder| builder.keys(keys()));
    let ada = world.user("ada").id;
    let enrolment = world.gate.factors().enrol_totp(ada, "").unwrap();
    assert!(enrolment.qr_svg().unwrap().contains("<svg"));
    let text = enrolment.qr_text().unwrap();
    assert!(text.lines().count() > 20 && text.contains('█'), "{text}");
}
