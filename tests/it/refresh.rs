//! Refresh tokens: what each promise of RFC 6749, 6819 and 9700 comes to. The numbers are those of the requirements.

use crate::factors::keys;
use crate::support::{Disk, OTHER, PASSWORD, World, all, is_live, log_in, refused, sound, world, world_with};
use data_encoding::BASE64URL_NOPAD;
use portcullis::testing::{dump, totp_code};
use portcullis::{
    Answer, AuditKind, Builder, CheckContext, Client, Credentials, Denial, ErrorKind, EventKind, Login,
    LoginStep, Outcome, Portcullis, RefreshPolicy, Result, SeparationKind, SessionLimits, Status, Subject,
    TokenPurpose, UserId,
};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

pub(crate) fn client() -> Client {
    Client::new().refreshable()
}

/// A policy with that grace in seconds, whose access tokens live a minute.
pub(crate) fn grace(seconds: u64) -> impl FnOnce(Builder) -> Builder {
    let policy = RefreshPolicy::new().access_life(MINUTE).grace(Duration::from_secs(seconds));
    move |builder| builder.refresh(policy)
}

pub(crate) fn open(gate: &Portcullis, login: &str, client: &Client) -> Login {
    gate.login(&Credentials::password(login, PASSWORD), client).unwrap()
}

/// The texts of a pair: access token and refresh token.
pub(crate) fn texts(login: &Login) -> (String, String) {
    (login.token().as_str().to_owned(), login.refresh_token().unwrap().as_str().to_owned())
}

#[track_caller]
pub(crate) fn no(result: Result<Login>) {
    assert_eq!(result.unwrap_err().denial(), Some(Denial::Session));
}

fn records(gate: &Portcullis, kind: AuditKind) -> usize {
    all(|page| gate.audit().by_kind(kind, page)).len()
}

pub(crate) fn reuses(gate: &Portcullis) -> usize {
    records(gate, AuditKind::RefreshTokenReused)
}

fn begin(settings: impl FnOnce(Builder) -> Builder) -> (World, UserId, Login) {
    let world = world_with(settings);
    let ada = world.user("ada").id;
    let login = open(&world.gate, "ada", &client());
    (world, ada, login)
}

#[test]
fn r1_a_refresh_gives_another_pair_and_spends_the_one_before() {
    let (world, ada, first) = begin(|builder| builder);
    let gate = &world.gate;
    let bits = gate.permissions().define_many(["read", "write"]).unwrap();
    let [reader, writer] = ["reader", "writer"].map(|name| gate.roles().create(name, []).unwrap());
    gate.roles().grant(reader, [bits[0]]).unwrap();
    gate.roles().grant(writer, [bits[1]]).unwrap();
    for role in [reader, writer] {
        gate.roles().assign(ada, role).unwrap();
    }
    gate.sessions().deactivate(first.session().id, writer).unwrap();
    world.after(100);
    let before = gate.audit().head();
    let (access, refresh) = texts(&first);
    let second = gate.refresh(&refresh, &client()).unwrap();
    let (next_access, next_refresh) = texts(&second);
    assert!(next_access != access && next_refresh != refresh);
    assert_eq!(TokenPurpose::recognise(&next_refresh), Some(TokenPurpose::Refresh));
    assert!(!is_live(gate, &access) && is_live(gate, &next_access));
    // The same session: its number, its end, its roles, and when its user proved who they are.
    let (old, new) = (first.session(), second.session());
    assert_eq!((new.id, new.user, new.expires), (old.id, old.user, old.expires));
    assert_eq!((new.created, new.authenticated, new.methods), (old.created, old.authenticated, old.methods));
    assert_eq!(new.selected.as_deref(), Some([reader].as_slice()));
    assert!(new.last_seen > old.last_seen && new.access_until > old.access_until);
    let principal = gate.authenticate(&next_access).unwrap();
    assert!(principal.can(bits[0]) && !principal.can(bits[1]), "no more than the session had");
    assert_eq!(gate.audit().head(), before, "a rotation that went well is no matter for the log");
    // Neither token is good for what the other one is.
    no(gate.refresh(&next_access, &client()));
    assert!(gate.authenticate(&next_refresh).is_err());
    sound(gate);
}

#[test]
fn r2_a_token_that_was_spent_ends_the_family_once() {
    let (world, ada, first) = begin(|builder| builder);
    let gate = &world.gate;
    let events = gate.subscribe(16).unwrap();
    let (_, zero) = texts(&first);
    let second = gate.refresh(&zero, &client()).unwrap();
    world.after(10);
    no(gate.refresh(&zero, &client().ip([192, 0, 2, 1].into())));
    assert!(!is_live(gate, second.token().as_str()));
    no(gate.refresh(second.refresh_token().unwrap(), &client()));
    no(gate.refresh(&zero, &client()));
    let log = all(|page| gate.audit().by_kind(AuditKind::RefreshTokenReused, page));
    assert_eq!(log.len(), 1);
    assert_eq!(log[0].subject, Some(Subject::User(ada)));
    assert_eq!(log[0].object, Some(Subject::Session(first.session().id)));
    assert!(log[0].outcome == Outcome::Denied && log[0].detail.contains("192.0.2.1"), "{}", log[0]);
    let mut told = Vec::new();
    while let Some(portcullis::Notification::Event(event)) = events.try_next() {
        told.push(event);
    }
    assert_eq!(told.len(), 1);
    assert_eq!((&told[0].kind, told[0].user), (&EventKind::RefreshTokenReused, Some(ada)));
    assert_eq!(told[0].session, Some(first.session().id));
    refused(gate.sessions().get(first.session().id), ErrorKind::NotFound, Some("session"));
    sound(gate);
}

#[test]
fn r2_within_the_grace_the_successor_is_the_same_until_it_is_used() {
    let (world, _, first) = begin(grace(10));
    let gate = &world.gate;
    let (_, zero) = texts(&first);
    let second = texts(&gate.refresh(&zero, &client()).unwrap());
    for _ in 0..9 {
        world.after(1);
        assert_eq!(texts(&gate.refresh(&zero, &client()).unwrap()), second);
        // Using the access token is no use of the refresh token.
        assert!(is_live(gate, &second.0));
    }
    let third = texts(&gate.refresh(&second.1, &client()).unwrap());
    no(gate.refresh(&zero, &client()));
    assert!(!is_live(gate, &third.0) && reuses(gate) == 1);
}

#[test]
fn r3_and_r12_a_spent_token_is_known_for_the_life_of_its_family() {
    for (which, swept) in [(0, true), (1, false), (25, true), (49, true)] {
        let (world, _, first) = begin(grace(10));
        let gate = &world.gate;
        let mut tokens = vec![texts(&first).1];
        for _ in 0..51 {
            world.after(3600);
            if swept {
                gate.maintain(1000).unwrap();
            }
            let next = gate.refresh(tokens.last().unwrap(), &client()).unwrap();
            tokens.push(texts(&next).1);
        }
        assert!(gate.sessions().get(first.session().id).is_ok());
        no(gate.refresh(&tokens[which], &client()));
        no(gate.refresh(tokens.last().unwrap(), &client()));
        assert_eq!(reuses(gate), 1, "{which}");
        sound(gate);
    }
}

#[test]
fn r6_a_reuse_in_one_family_is_nothing_to_another() {
    let (world, ada, first) = begin(grace(0));
    let gate = &world.gate;
    let other = open(gate, "ada", &client());
    let plain = log_in(gate, "ada", PASSWORD).unwrap();
    gate.refresh(first.refresh_token().unwrap(), &client()).unwrap();
    no(gate.refresh(first.refresh_token().unwrap(), &client()));
    assert!(is_live(gate, other.token().as_str()) && is_live(gate, plain.token().as_str()));
    assert!(gate.refresh(other.refresh_token().unwrap(), &client()).is_ok());
    assert_eq!(all(|page| gate.sessions().of_user(ada, page)).len(), 2);
}

#[test]
fn r7_a_family_ends_when_it_is_idle_and_at_its_end_which_nothing_moves() {
    let hour = Duration::from_secs(3600);
    let limits = SessionLimits::new(Some(2 * hour), 10 * hour).unwrap();
    let policy = RefreshPolicy::new().access_life(hour).session_limits(limits);
    let settings = move |builder: Builder| builder.refresh(policy);
    let (world, _, first) = begin(settings);
    let (gate, session) = (&world.gate, first.session().clone());
    world.after(2 * 3600 - 1);
    assert!(!is_live(gate, first.token().as_str()), "its token has run out");
    assert_eq!(gate.sessions().get(session.id).unwrap().id, session.id, "and it waits to be refreshed");
    let mut last = gate.refresh(first.refresh_token().unwrap(), &client()).unwrap();
    assert_eq!(last.session().expires, session.expires);
    // A use of the access token counts as one of the session, whether it was written down or not.
    world.after(3600 - 1);
    assert!(is_live(gate, last.token().as_str()));
    world.after(2 * 3600 - 1);
    last = gate.refresh(last.refresh_token().unwrap(), &client()).unwrap();
    for _ in 0..4 {
        world.after(3600 + 60);
        last = gate.refresh(last.refresh_token().unwrap(), &client()).unwrap();
        assert_eq!(last.session().expires, session.expires);
    }
    assert_eq!(last.session().access_until, Some(session.expires), "no token outlives its session");
    world.clock.set(session.expires);
    no(gate.refresh(last.refresh_token().unwrap(), &client()));
    assert!(!is_live(gate, last.token().as_str()) && gate.sessions().get(session.id).is_err());
    assert_eq!(gate.maintain(100).unwrap().expired_sessions, 1);

    let (world, _, first) = begin(settings);
    world.after(2 * 3600);
    no(world.gate.refresh(first.refresh_token().unwrap(), &client()));
    assert!(world.gate.sessions().get(first.session().id).is_err(), "idle for too long");
    assert_eq!(reuses(&world.gate), 0);
}

#[test]
fn r8_what_ends_a_session_ends_its_family() {
    type End = fn(&Portcullis, UserId, &Login);
    let ends: &[(&str, End)] = &[
        ("revoke", |gate, _, login| gate.sessions().revoke(login.session().id).unwrap()),
        ("revoke all", |gate, ada, _| gate.sessions().revoke_all(ada).unwrap()),
        ("revoke everything", |gate, _, _| gate.sessions().revoke_everything().unwrap()),
        ("revoke others", |gate, _, _| {
            let other = log_in(gate, "ada", PASSWORD).unwrap();
            gate.sessions().revoke_others(other.session().id).unwrap();
        }),
        ("disable", |gate, ada, _| drop(gate.users().set_status(ada, Status::disabled("x")).unwrap())),
        ("lock", |gate, ada, _| drop(gate.users().set_status(ada, Status::locked("x")).unwrap())),
        ("delete", |gate, ada, _| gate.users().delete(ada).unwrap()),
        ("set password", |gate, ada, _| gate.users().set_password(ada, OTHER).unwrap()),
        ("change password", |gate, _, login| {
            drop(gate.change_password(login.token(), PASSWORD, OTHER, &Client::new()).unwrap());
        }),
        ("device", |gate, ada, login| {
            gate.devices().revoke(ada, login.session().device.unwrap()).unwrap();
        }),
    ];
    for (what, end) in ends {
        for expired in [false, true] {
            let (world, ada, first) = begin(grace(10));
            let gate = &world.gate;
            let login = gate.refresh(first.refresh_token().unwrap(), &client()).unwrap();
            if expired && *what != "change password" {
                world.after(120);
            }
            end(gate, ada, &login);
            for token in [&first, &login] {
                no(gate.refresh(token.refresh_token().unwrap(), &client()));
            }
            assert!(!is_live(gate, login.token().as_str()), "{what}");
            assert!(gate.sessions().get(login.session().id).is_err(), "{what}");
            assert_eq!(reuses(gate), 0, "{what}: what is over is no theft");
            if *what == "lock" {
                gate.users().set_status(ada, Status::active()).unwrap();
                no(gate.refresh(login.refresh_token().unwrap(), &client()));
            }
            sound(gate);
        }
    }
}

#[test]
fn r8_the_session_that_is_kept_can_be_refreshed_also_when_its_token_has_run_out() {
    let (world, ada, first) = begin(grace(10));
    let gate = &world.gate;
    log_in(gate, "ada", PASSWORD).unwrap();
    world.after(61);
    gate.sessions().revoke_others(first.session().id).unwrap();
    assert_eq!(all(|page| gate.sessions().of_user(ada, page)).len(), 1);
    assert!(gate.refresh(first.refresh_token().unwrap(), &client()).is_ok());
}

#[test]
fn r9_a_token_of_one_device_from_another_ends_the_family() {
    for other in ["tablet", "", "Laptop"] {
        let world = world();
        let (ada, laptop) = (world.user("ada").id, client().device("laptop"));
        let first = open(&world.gate, "ada", &laptop);
        let second = world.gate.refresh(first.refresh_token().unwrap(), &laptop).unwrap();
        no(world.gate.refresh(second.refresh_token().unwrap(), &client().device(other)));
        no(world.gate.refresh(second.refresh_token().unwrap(), &laptop));
        assert!(!is_live(&world.gate, second.token().as_str()));
        let log = all(|page| world.gate.audit().by_kind(AuditKind::RefreshTokenElsewhere, page));
        assert_eq!((log.len(), log[0].subject), (1, Some(Subject::User(ada))));
        assert!(log[0].detail.contains("laptop"), "{}", log[0]);
        sound(&world.gate);
    }
    // Where the login named none there is nothing to compare with.
    let (world, _, first) = begin(|builder| builder);
    assert!(world.gate.refresh(first.refresh_token().unwrap(), &client().device("any")).is_ok());
    let long = client().device("x".repeat(129));
    let error = world.gate.refresh(first.refresh_token().unwrap(), &long);
    refused(error, ErrorKind::InvalidInput, Some("client.device"));
}

#[test]
fn r10_what_never_was_a_token_harms_nobody() {
    let (world, _, first) = begin(grace(0));
    let gate = &world.gate;
    let plain = log_in(gate, "ada", PASSWORD).unwrap();
    let (access, refresh) = texts(&first);
    let before = (gate.audit().head(), dump(gate).unwrap());
    let mut tried =
        vec![String::new(), "pcf_".to_owned(), access.replacen("pcs_", "pcf_", 1), "é".repeat(32)];
    tried.push("pcf_".to_owned() + &"A".repeat(59));
    tried.push("x".repeat(1 << 20));
    for place in 0..refresh.len() {
        let other = if &refresh[place..=place] == "z" { "y" } else { "z" };
        tried.push(format!("{}{other}{}", &refresh[..place], &refresh[place + 1..]));
    }
    // With the number of a session that there is, and a checksum that is right.
    for login in [&first, &plain] {
        for secret in 0..=u8::MAX {
            let id = login.session().id.get().to_be_bytes();
            let mut body = id.iter().copied().chain([secret; 32]).collect::<Vec<u8>>();
            let mut sum = crc32fast::Hasher::new();
            sum.update(b"pcf_");
            sum.update(&body);
            body.extend(sum.finalize().to_be_bytes());
            let text = format!("pcf_{}", BASE64URL_NOPAD.encode(&body));
            assert_eq!(TokenPurpose::recognise(&text), Some(TokenPurpose::Refresh));
            tried.push(text);
        }
    }
    for text in tried {
        no(gate.refresh(&text, &client()));
    }
    assert_eq!((gate.audit().head(), dump(gate).unwrap()), before);
    assert!(is_live(gate, &access) && gate.refresh(&refresh, &client()).is_ok());
}

#[test]
fn r11_no_token_is_in_the_database_or_in_any_text() {
    let disk = Disk::new();
    let gate = disk.open();
    crate::support::user(&gate, "ada");
    let mut logins = vec![open(&gate, "ada", &client())];
    for _ in 0..5 {
        let next = gate.refresh(logins.last().unwrap().refresh_token().unwrap(), &client()).unwrap();
        logins.push(next);
    }
    let mut words = format!("{logins:?} {:?}", logins[5].refresh_token());
    disk.clock.advance(MINUTE);
    let error = gate.refresh(logins[0].refresh_token().unwrap(), &client()).unwrap_err();
    words.push_str(&format!("{error:?} {error} {:?}", all(|page| gate.audit().list(page))));
    let rows = dump(&gate).unwrap();
    gate.close().unwrap();
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&disk.path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            files.push(std::fs::read(path).unwrap());
        }
    }
    files.extend(rows.into_iter().map(|row| row.value));
    for login in &logins {
        for text in [texts(login).0, texts(login).1] {
            assert!(!words.contains(&text[20..]), "{words}");
            let raw = BASE64URL_NOPAD.decode(&text.as_bytes()[4..]).unwrap();
            // Both halves of the secret, each by itself.
            for canary in [&raw[8..24], &raw[24..40], &text.as_bytes()[20..36]] {
                assert!(!files.iter().any(|file| file.windows(16).any(|part| part == canary)));
            }
        }
    }
}

#[test]
fn a_pair_is_for_those_who_ask_however_they_come_in() {
    let world = world_with(|builder| builder.keys(keys()));
    let gate = &world.gate;
    let ada = world.user("ada").id;
    assert!(log_in(gate, "ada", PASSWORD).unwrap().refresh_token().is_none());
    let reader = gate.roles().create("reader", []).unwrap();
    gate.roles().assign(ada, reader).unwrap();
    let who = Credentials::password("ada", PASSWORD);
    let selecting = gate.login_with_roles(&who, &client(), [reader]).unwrap();
    let next = gate.refresh(selecting.refresh_token().unwrap(), &client()).unwrap();
    assert_eq!(next.session().selected.as_deref(), Some([reader].as_slice()));
    assert!(next.session().client == client() && selecting.session().client == client());
    let changed = gate.change_password(next.token(), PASSWORD, OTHER, &client()).unwrap();
    assert!(gate.refresh(changed.refresh_token().unwrap(), &client()).is_ok());

    // The client of the last step decides, as it does of all else.
    let enrolment = gate.factors().enrol_totp(ada, "phone").unwrap();
    let code = || totp_code(enrolment.secret(), gate.now()).unwrap();
    gate.factors().confirm_totp(ada, enrolment.factor(), &code()).unwrap();
    let who = Credentials::password("ada", OTHER);
    for (first, last) in [(Client::new(), client()), (client(), Client::new())] {
        world.after(60);
        let LoginStep::NeedsFactor(challenge) = gate.start_login(&who, &first).unwrap() else { panic!() };
        let login = gate.answer(&challenge, &Answer::totp(code()), &last).unwrap().done().unwrap();
        assert_eq!(login.refresh_token().is_some(), last == client());
        if let Some(token) = login.refresh_token() {
            let next = gate.refresh(token, &client()).unwrap();
            assert_eq!(next.session().methods, login.session().methods);
        }
    }
}

#[test]
fn context_rules_are_asked_and_spend_nothing() {
    let from = |address: [u8; 4]| client().ip(address.into());
    let world = world_with(|builder| {
        builder.context_rule(|context: &CheckContext<'_>| {
            context.client().and_then(Client::source).is_none_or(|address| address.is_loopback())
        })
    });
    world.user("ada");
    let first = open(&world.gate, "ada", &from([127, 0, 0, 1]));
    let token = first.refresh_token().unwrap();
    no(world.gate.refresh(token, &from([192, 0, 2, 1])));
    let second = world.gate.refresh(token, &from([127, 0, 0, 1])).unwrap();
    no(world.gate.refresh(token, &from([192, 0, 2, 1])));
    assert_eq!(texts(&world.gate.refresh(token, &client()).unwrap()), texts(&second));
    world.after(10);
    no(world.gate.refresh(token, &from([192, 0, 2, 1])));
    assert_eq!(reuses(&world.gate), 1, "a thief who comes from the wrong place is one all the same");
}

#[test]
fn a_session_that_waits_to_be_refreshed_counts_where_duties_are_kept_apart() {
    let (world, ada, first) = begin(|builder| builder);
    let gate = &world.gate;
    let [one, two] = ["one", "two"].map(|name| gate.roles().create(name, []).unwrap());
    for role in [one, two] {
        gate.roles().assign(ada, role).unwrap();
    }
    world.after(3600);
    let created = || gate.separation().create(SeparationKind::Dynamic, "apart", [one, two], 2);
    refused(created(), ErrorKind::SeparationOfDuty, Some("role"));
    gate.sessions().deactivate(first.session().id, two).unwrap();
    created().unwrap();
    assert!(gate.refresh(first.refresh_token().unwrap(), &client()).is_ok());
}

#[test]
fn settings_that_would_log_people_out_are_refused() {
    let try_with = |policy| Portcullis::builder().refresh(policy).in_memory();
    let new = RefreshPolicy::new;
    for seconds in [0, 59, 86_401] {
        let policy = new().access_life(Duration::from_secs(seconds));
        refused(try_with(policy), ErrorKind::InvalidInput, Some("refresh.access_life"));
    }
    let policy = new().grace(Duration::from_millis(30_001));
    refused(try_with(policy), ErrorKind::InvalidInput, Some("refresh.grace"));
    let limits = SessionLimits::new(Some(MINUTE), 10 * MINUTE).unwrap();
    refused(try_with(new().session_limits(limits)), ErrorKind::InvalidInput, Some("refresh.session_limits"));
    try_with(new().access_life(MINUTE).grace(Duration::from_secs(30)).session_limits(limits)).unwrap();
}
