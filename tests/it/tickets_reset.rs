//! Passwords that are reset: for whom, by what, and what a stranger learns of it.

use crate::factors::keys;
use crate::support::{OTHER, PASSWORD, World, all, is_live, log_in, refused, sound, world, world_with};
use crate::tickets::{HOME, Kind, MAIL, Sent, client, is_refused, last, sent};
use portcullis::testing::totp_code;
use portcullis::{
    Actor, Answer, Assurance, AuditKind, Client, ContactId, Credentials, Denial, ErrorKind, FactorId,
    LoginStep, Method, NewContact, NewUser, Outcome, Portcullis, RoleChange, Status, TicketPurpose, UserId,
};

/// The kinds of records that are written by who presents a token, or asks for one; each is looked for in a test of its own.
pub(crate) const PRESENTED: [AuditKind; 8] = [
    AuditKind::TicketUsed,
    AuditKind::TicketRefused,
    AuditKind::TicketReplayed,
    AuditKind::TicketLate,
    AuditKind::TicketUnknown,
    AuditKind::TicketsExpired,
    AuditKind::TicketRequestRefused,
    AuditKind::EmailChangeRefused,
];

pub(crate) fn start_reset(gate: &Portcullis, user: UserId) {
    gate.tickets().start_password_reset(user, None).unwrap();
}

#[test]
fn a_reset_ends_sessions_and_logins_and_opens_none() {
    let world = world();
    let (gate, ada) = (&world.gate, Kind::Reset.user(&world.gate));
    let role = gate.roles().create("careful", []).unwrap();
    let session = log_in(gate, "ada", PASSWORD).unwrap();
    gate.roles().update(role, RoleChange::new().assurance(Assurance::Two)).unwrap();
    gate.roles().assign(ada, role).unwrap();
    let who = Credentials::password("ada", PASSWORD);
    let LoginStep::NeedsFactor(challenge) = gate.start_login(&who, &client()).unwrap() else { panic!() };
    let link = Kind::Link.issue(gate, ada).unwrap();
    let reset = gate.tickets().request_password_reset("ADA", &client()).unwrap().unwrap();
    assert_eq!(reset.address(), Some(MAIL));
    assert_eq!(gate.tickets().reset_password(reset.token(), OTHER, None, &client()).unwrap().user(), ada);
    assert!(!is_live(gate, session.token().as_str()));
    assert!(all(|page| gate.sessions().of_user(ada, page)).is_empty(), "and none is opened");
    is_refused(Kind::Link.spend(gate, &link));
    let answer = gate.answer(challenge.token(), &Answer::new_password(OTHER), &client()).unwrap();
    assert!(matches!(answer, LoginStep::Denied(_)));
    assert_eq!(log_in(gate, "ada", PASSWORD).unwrap_err().denial(), Some(Denial::Credentials));
    // What is asked for beside the password is asked for after a reset, too.
    assert_eq!(log_in(gate, "ada", OTHER).unwrap_err().denial(), Some(Denial::FactorRequired));
    let records = all(|page| gate.audit().by_subject(portcullis::Subject::User(ada), page));
    let change = records.iter().find(|record| record.kind == AuditKind::PasswordChange).unwrap();
    assert_eq!((change.actor, change.detail.as_str()), (Actor::User(ada), "by a reset from 192.0.2.7"));
    sound(gate);
}

#[test]
fn a_reset_that_keeps_sessions_kills_every_other_reset() {
    let world = world();
    let (gate, ada) = (&world.gate, Kind::Reset.user(&world.gate));
    let session = log_in(gate, "ada", PASSWORD).unwrap();
    let reset = Kind::Reset.issue(gate, ada).unwrap();
    let tickets = gate.tickets();
    tickets.reset_password_and_keep_sessions(&reset.token, OTHER, None, &client()).unwrap();
    assert!(is_live(gate, session.token().as_str()));
    log_in(gate, "ada", OTHER).unwrap();
    log_in(gate, "ada", PASSWORD).unwrap_err();
    is_refused(Kind::Reset.spend(gate, &reset));
    sound(gate);
}

#[test]
fn a_bad_password_or_a_wrong_factor_leaves_the_token_good() {
    let (world, ada, token) = sent(Kind::Reset);
    let (gate, tickets) = (&world.gate, world.gate.tickets());
    let hashes = gate.password_hashes_computed();
    for password in ["", "short", &"x".repeat(1025)] {
        let reset = tickets.reset_password(&token.token, password, None, &client());
        refused(reset, ErrorKind::InvalidInput, Some("password"));
    }
    let broken = Client::new().device("a\nb");
    let reset = tickets.reset_password(&token.token, OTHER, None, &broken);
    refused(reset, ErrorKind::InvalidInput, Some("client.device"));
    let answer = Answer::new_password(OTHER);
    let error = tickets.reset_password(&token.token, OTHER, Some(&answer), &client()).unwrap_err();
    assert_eq!(error.denial(), Some(Denial::FactorRequired));
    let record = last(gate);
    assert_eq!((record.kind, record.outcome), (AuditKind::TicketRefused, Outcome::Denied));
    assert!(record.detail.contains("the user has none"), "{record}");
    assert_eq!(gate.password_hashes_computed(), hashes);
    log_in(gate, "ada", PASSWORD).unwrap();
    Kind::Reset.spend(gate, &token).unwrap();
    let _ = ada;
}

#[test]
fn an_administrator_starts_a_reset_and_chooses_nothing() {
    let world = world();
    let (gate, ada) = (&world.gate, Kind::Reset.user(&world.gate));
    let boss = world.user("boss").id;
    let reset = gate.acting_as(boss).tickets().start_password_reset(ada, None).unwrap();
    assert_eq!((reset.address(), reset.ticket().contact), (None, None));
    let record = last(gate);
    assert_eq!((record.kind, record.actor), (AuditKind::TicketIssued, Actor::User(boss)));
    log_in(gate, "ada", PASSWORD).unwrap();
    gate.users().remove_contact(ada, HOME).unwrap();
    gate.tickets().reset_password(reset.token(), OTHER, None, &client()).unwrap();
    log_in(gate, "ada", OTHER).unwrap();
    // A user without a password gets the first one the same way.
    let eve = gate.users().create(NewUser::new("eve")).unwrap().id;
    let reset = gate.tickets().start_password_reset(eve, None).unwrap();
    gate.tickets().reset_password(reset.token(), OTHER, None, &client()).unwrap();
    log_in(gate, "eve", OTHER).unwrap();
    gate.users().set_status(eve, Status::disabled("gone")).unwrap();
    refused(gate.tickets().start_password_reset(eve, None), ErrorKind::InvalidInput, Some("user"));
    refused(gate.tickets().start_password_reset(ada, Some(HOME)), ErrorKind::NotFound, Some("contact"));
    sound(gate);
}

/// What a stranger is told, and what it costs, does not depend on whether there is such an account.
#[test]
fn a_stranger_learns_nothing_and_only_verified_addresses_get_mail() {
    let world = world();
    let gate = &world.gate;
    Kind::Reset.user(gate);
    let users = gate.users();
    users.create(NewUser::new("unverified").email("u@example.org").password(PASSWORD)).unwrap();
    users.create(NewUser::new("mute").password(PASSWORD)).unwrap();
    let off = users.create(NewUser::new("off").email("off@example.org")).unwrap().id;
    users.verify_contact(off, HOME).unwrap();
    users.set_status(off, Status::disabled("gone")).unwrap();
    // Somebody who has put down another's address for his own, without proving it.
    let mallory = NewUser::new("mallory").email(MAIL).email("mallory@example.org");
    let mallory = users.create(mallory).unwrap().id;
    users.verify_contact(mallory, ContactId::from_number(1)).unwrap();
    let long = "x".repeat(1 << 16);
    let cases: [(&str, Result<&str, &str>); 14] = [
        ("ada", Ok(MAIL)),
        (" ada", Err("unknown login name or address")),
        ("aDA@EXAMPLE.org", Ok(MAIL)),
        ("mallory@example.org", Ok("mallory@example.org")),
        ("nobody", Err("unknown login name or address")),
        ("nobody@example.org", Err("unknown login name or address")),
        ("u@example.org", Err("unknown login name or address")),
        ("unverified", Err("the user has no verified e-mail address")),
        ("mute", Err("the user has no verified e-mail address")),
        ("off", Err("the account is Disabled: gone")),
        ("off@example.org", Err("the account is Disabled: gone")),
        ("", Err("unknown login name or address")),
        ("a\nb", Err("unknown login name or address")),
        (&long, Err("unknown login name or address")),
    ];
    for (name, due) in cases {
        for purpose in [TicketPurpose::PasswordReset, TicketPurpose::MagicLink] {
            let (hashes, length) = (gate.password_hashes_computed(), gate.audit().head().length);
            let sent = match purpose {
                TicketPurpose::PasswordReset => {
                    gate.tickets().request_password_reset(name, &client()).unwrap()
                }
                _ => gate.tickets().danger_request_unbound_magic_link(name, &client()).unwrap(),
            };
            assert_eq!(gate.audit().head().length, length + 1, "{name}: one commit either way");
            assert_eq!(gate.password_hashes_computed(), hashes);
            let record = last(gate);
            assert_eq!(record.actor, Actor::Anonymous);
            match due {
                Ok(address) => {
                    assert_eq!(sent.unwrap().address(), Some(address), "{name}");
                    assert_eq!(record.kind, AuditKind::TicketIssued);
                    assert!(record.detail.contains("asked for from 192.0.2.7"), "{record}");
                }
                Err(reason) => {
                    assert!(sent.is_none(), "{name}");
                    assert_eq!(
                        (record.kind, record.outcome),
                        (AuditKind::TicketRequestRefused, Outcome::Denied)
                    );
                    assert_eq!(record.detail, format!("{purpose} asked for from 192.0.2.7: {reason}"));
                }
            }
        }
        let link = gate.tickets().request_magic_link(name, &client()).unwrap();
        assert_eq!(link.issued().is_some(), due.is_ok());
        assert_eq!(link.browser().as_str().len(), 63, "whoever asks gets a cookie");
    }
    sound(gate);
}

/// A user with an authenticator app, recovery codes and a telephone, and a reset token.
pub(crate) struct Secured {
    pub(crate) world: World,
    pub(crate) ada: UserId,
    secret: String,
    recovery: Vec<String>,
    phone: FactorId,
    token: Sent,
}

impl Secured {
    pub(crate) fn new() -> Self {
        let world = world_with(|builder| builder.keys(keys()));
        let gate = &world.gate;
        let ada = Kind::Reset.user(gate);
        let number = gate.users().add_contact(ada, &NewContact::phone("+44 20")).unwrap().id;
        gate.users().verify_contact(ada, number).unwrap();
        let app = gate.factors().enrol_totp(ada, "app").unwrap();
        let secret = app.secret().to_owned();
        let code = totp_code(&secret, gate.now()).unwrap();
        gate.factors().confirm_totp(ada, app.factor(), &code).unwrap();
        let phone = gate.factors().enrol_contact(ada, number, "").unwrap().id;
        gate.factors().enrol_contact(ada, HOME, "").unwrap();
        let codes = gate.factors().issue_recovery_codes(ada).unwrap();
        let recovery = codes.iter().map(|code| code.as_str().to_owned()).collect();
        world.after(30);
        let token = Kind::Reset.issue(&world.gate, ada).unwrap();
        Self { world, ada, secret, recovery, phone, token }
    }

    pub(crate) fn code(&self) -> String {
        totp_code(&self.secret, self.world.gate.now()).unwrap()
    }

    fn reset(&self, factor: Option<&Answer>) -> portcullis::Result<portcullis::PasswordReset> {
        self.world.gate.tickets().reset_password(&self.token.token, OTHER, factor, &client())
    }

    #[track_caller]
    fn lacks(&self, factor: Option<&Answer>, detail: &str) {
        let gate = &self.world.gate;
        assert_eq!(self.reset(factor).map(drop).unwrap_err().denial(), Some(Denial::FactorRequired));
        assert!(last(gate).detail.contains(detail), "{}", last(gate));
        assert_eq!(last(gate).kind, AuditKind::TicketRefused);
    }
}

#[test]
fn a_reset_takes_a_second_factor_where_there_is_one() {
    let s = Secured::new();
    let gate = &s.world.gate;
    let methods = gate.tickets().reset_methods(&s.token.token).unwrap();
    assert_eq!(
        methods,
        [Method::Totp, Method::RecoveryCode, Method::SmsCode],
        "and none by the same mailbox"
    );
    let hashes = gate.password_hashes_computed();
    for _ in 0..20 {
        s.lacks(None, "a second factor is asked for");
    }
    s.lacks(Some(&Answer::totp("000000")), "wrong second factor: totp");
    s.lacks(Some(&Answer::recovery_code("wrong")), "wrong second factor: recovery_code");
    s.lacks(Some(&Answer::sent_code("00000000")), "wrong second factor");
    s.lacks(Some(&Answer::new_password(OTHER)), "wrong second factor");
    assert_eq!(gate.password_hashes_computed(), hashes);
    let long = Answer::totp("1".repeat(1025));
    refused(s.reset(Some(&long)), ErrorKind::InvalidInput, Some("answer"));
    // What is missing does not count, and four wrong ones leave the token good.
    let right = Answer::totp(s.code());
    let short = gate.tickets().reset_password(&s.token.token, "short", Some(&right), &client());
    refused(short, ErrorKind::InvalidInput, Some("password"));
    assert_eq!(s.reset(Some(&right)).unwrap().user(), s.ada);
    // The code is spent with the token, and the next login asks for a factor as before.
    let who = Credentials::password("ada", OTHER);
    let LoginStep::NeedsFactor(challenge) = gate.start_login(&who, &client()).unwrap() else { panic!() };
    let again = gate.answer(&challenge, &right, &client()).unwrap();
    assert!(matches!(again, LoginStep::Denied(Denial::Credentials)));
    s.world.after(30);
    gate.answer(&challenge, &Answer::totp(s.code()), &client()).unwrap().done().unwrap();
    sound(gate);
}

#[test]
fn a_recovery_code_accompanies_a_reset_once_and_has_a_successor() {
    let s = Secured::new();
    let gate = &s.world.gate;
    let code = Answer::recovery_code(s.recovery[0].as_str());
    let reset = s.reset(Some(&code)).unwrap();
    let successor = reset.new_recovery_code().unwrap().as_str().to_owned();
    assert!(!format!("{reset:?}").contains(&successor));
    let token = Kind::Reset.issue(gate, s.ada).unwrap();
    let again = |code: &str| {
        gate.tickets().reset_password(&token.token, PASSWORD, Some(&Answer::recovery_code(code)), &client())
    };
    assert_eq!(again(&s.recovery[0]).map(drop).unwrap_err().denial(), Some(Denial::FactorRequired));
    again(&successor).unwrap();
    sound(gate);
}

#[test]
fn a_code_by_telephone_is_of_one_token_and_ten_minutes() {
    let s = Secured::new();
    let (gate, tickets) = (&s.world.gate, s.world.gate.tickets());
    let mail =
        gate.factors().of_user(s.ada).unwrap().into_iter().find(|f| f.method == Method::EmailCode).unwrap();
    refused(
        tickets.send_reset_code(&s.token.token, mail.id, &client()).map(drop),
        ErrorKind::NotFound,
        Some("factor"),
    );
    let nothing = tickets.send_reset_code("", s.phone, &client()).map(drop);
    assert_eq!(nothing.unwrap_err().denial(), Some(Denial::Ticket));
    let first = tickets.send_reset_code(&s.token.token, s.phone, &client()).unwrap();
    assert_eq!(first.contact().value, "+44 20");
    let second = tickets.send_reset_code(&s.token.token, s.phone, &client()).unwrap();
    if first.code() != second.code() {
        s.lacks(Some(&Answer::sent_code(first.code())), "wrong second factor");
    }
    s.world.after(600);
    s.lacks(Some(&Answer::sent_code(second.code())), "wrong second factor");
    let third = tickets.send_reset_code(&s.token.token, s.phone, &client()).unwrap();
    s.world.after(599);
    s.reset(Some(&Answer::sent_code(third.code()))).unwrap();
    let token = Kind::Reset.issue(gate, s.ada).unwrap();
    for _ in 0..5 {
        tickets.send_reset_code(&token.token, s.phone, &client()).unwrap();
    }
    refused(
        tickets.send_reset_code(&token.token, s.phone, &client()).map(drop),
        ErrorKind::LimitExceeded,
        Some("ticket"),
    );
    // Of another token.
    let other = Kind::Reset.issue(gate, s.ada).unwrap();
    let code = Answer::sent_code(third.code());
    let reset = tickets.reset_password(&other.token, PASSWORD, Some(&code), &client());
    assert_eq!(reset.map(drop).unwrap_err().denial(), Some(Denial::FactorRequired));
    sound(gate);
}

#[test]
fn guesses_at_the_second_factor_end_the_token_and_are_not_forgotten_by_another_one() {
    let s = Secured::new();
    let (gate, tickets) = (&s.world.gate, s.world.gate.tickets());
    let wrong = Answer::totp("000000");
    for _ in 0..3 {
        s.lacks(Some(&wrong), "wrong second factor");
    }
    let second = tickets.request_password_reset(MAIL, &client()).unwrap().unwrap();
    let guess =
        || tickets.reset_password(second.token(), OTHER, Some(&wrong), &client()).map(drop).unwrap_err();
    assert_eq!(guess().denial(), Some(Denial::FactorRequired));
    assert_eq!(guess().denial(), Some(Denial::FactorRequired));
    assert!(last(gate).detail.contains("too many of them"), "{}", last(gate));
    assert_eq!(guess().denial(), Some(Denial::Ticket));
    assert!(tickets.preview(second.token()).unwrap().is_none());
    assert!(tickets.request_password_reset("ada", &client()).unwrap().is_none());
    assert!(last(gate).detail.ends_with("too many wrong second factors came with the token before"));
    // Until the token would have ended by itself, unless an administrator helps.
    let helped = tickets.start_password_reset(s.ada, None).unwrap();
    assert!(tickets.preview(helped.token()).unwrap().is_some());
    let s = Secured::new();
    for _ in 0..5 {
        s.lacks(Some(&wrong), "wrong second factor");
    }
    let tickets = s.world.gate.tickets();
    s.world.after(3599);
    assert!(tickets.request_password_reset("ada", &client()).unwrap().is_none());
    s.world.after(1);
    assert!(tickets.request_password_reset("ada", &client()).unwrap().is_some());
}
