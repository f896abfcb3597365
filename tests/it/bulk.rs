//! Ending many sessions at once: those that match a filter, those of a scope, all of them.

use crate::factors::{answer, challenge, denied, enrolled_app, keys, verified_mailbox};
use crate::support::{
    Disk, PASSWORD, all, backwards, everything, is_live, later, log_in, refused, sound, user, world,
    world_with,
};
use portcullis::testing::{danger_put, dump, populate_sessions, totp_code};
use portcullis::{
    Ability, Actor, Answer, AuditKind, Client, Credentials, Denial, ErrorKind, Grant, Login, Network,
    NewUser, Portcullis, RoleRange, ScopeId, SessionFilter, UserId,
};

/// The kinds of record that have their tests here.
pub(crate) const KINDS: [AuditKind; 2] = [AuditKind::SessionsEndRequested, AuditKind::SessionLabelled];

pub(crate) fn from(gate: &Portcullis, login: &str, ip: &str, agent: &str) -> Login {
    let client = Client::new().ip(ip.parse().unwrap()).user_agent(agent);
    gate.login(&Credentials::password(login, PASSWORD), &client).unwrap()
}

pub(crate) fn token(login: &Login) -> String {
    login.token().as_str().to_owned()
}

fn net(address: &str, bits: u8) -> SessionFilter {
    SessionFilter::new().network(Network::new(address.parse().unwrap(), bits).unwrap())
}

fn sessions_stored(gate: &Portcullis) -> usize {
    dump(gate).unwrap().iter().filter(|row| row.table == "session").count()
}

pub(crate) fn no_marker(gate: &Portcullis) {
    assert!(dump(gate).unwrap().iter().all(|row| row.table != "session_ending"), "nothing is left to do");
}

#[test]
fn what_matches_ends_and_nothing_else() {
    let world = world();
    let gate = &world.gate;
    let [ada, bob] = ["ada", "bob"].map(|login| world.user(login).id);
    let tokens = [
        from(gate, "ada", "192.0.2.1", "Firefox/1 (old)"),
        from(gate, "ada", "192.0.3.1", "Firefox/2"),
        from(gate, "bob", "192.0.2.9", "Firefox/2"),
        from(gate, "bob", "2001:db8::1", "curl"),
    ];
    let live = || tokens.each_ref().map(|login| is_live(gate, login.token().as_str()));
    let sessions = gate.sessions();
    let filter = net("192.0.2.0", 24).user(ada);
    assert_eq!((sessions.count_matching(&filter).unwrap(), live()), (1, [true; 4]));
    assert_eq!(sessions.revoke_matching(&filter).unwrap(), 1);
    assert_eq!(live(), [false, true, true, true]);
    assert_eq!(sessions.revoke_matching(&filter).unwrap(), 0, "and once only");
    assert_eq!(sessions.revoke_matching(&SessionFilter::new().user_agent_contains("firefox")).unwrap(), 0);
    assert_eq!(sessions.revoke_matching(&SessionFilter::new().user_agent_contains("fox/2")).unwrap(), 2);
    assert_eq!(live(), [false, false, false, true]);
    assert_eq!(sessions.revoke_matching(&net("192.0.2.0", 0)).unwrap(), 0, "not that family");
    assert_eq!(sessions.revoke_matching(&net("2001:db8::", 32).user(bob)).unwrap(), 1);
    assert_eq!(live(), [false; 4]);
    no_marker(gate);
    sound(gate);
}

#[test]
fn one_that_has_gone_idle_ends_too_so_that_nobody_resumes_it() {
    let world = world();
    world.user("ada");
    let login = from(&world.gate, "ada", "192.0.2.1", "");
    world.after(3700);
    assert!(!is_live(&world.gate, login.token().as_str()));
    assert_eq!(world.gate.sessions().revoke_matching(&net("192.0.2.1", 32)).unwrap(), 0, "it was not live");
    assert_eq!(sessions_stored(&world.gate), 0);
}

#[test]
fn a_filter_that_says_nothing_or_breaks_a_rule_is_refused() {
    let world = world();
    let gate = &world.gate;
    world.user("ada");
    world.login("ada");
    let before = everything(gate);
    let filter = SessionFilter::new;
    for (bad, field) in [
        (filter(), "session.filter"),
        (filter().user_agent_contains(""), "session.filter.user_agent"),
        (filter().user_agent_contains("x".repeat(513)), "session.filter.user_agent"),
        (filter().user_agent_contains("a\nb"), "session.filter.user_agent"),
        (filter().label("x".repeat(129)), "session.filter.label"),
        (filter().label("\u{202E}"), "session.filter.label"),
    ] {
        refused(gate.sessions().revoke_matching(&bad), ErrorKind::InvalidInput, Some(field));
        refused(gate.sessions().count_matching(&bad), ErrorKind::InvalidInput, Some(field));
    }
    refused(gate.sessions().revoke_of_scope(ScopeId::ROOT), ErrorKind::InvalidInput, Some("scope"));
    refused(gate.sessions().revoke_of_scope(ScopeId::from_number(77)), ErrorKind::NotFound, Some("scope"));
    assert_eq!(everything(gate), before);
    assert_eq!(gate.sessions().revoke_matching(&filter().label("")).unwrap(), 1, "those without a label");
}

#[test]
fn the_log_has_what_was_asked_for_and_what_came_of_it() {
    let world = world();
    let boss = world.user("boss").id;
    let gate = world.gate.acting_as(boss);
    from(&gate, "boss", "192.0.2.1", "evil \"agent\" ü");
    let long = format!("evil \"agent\" ü{}", "é".repeat(200));
    let long = SessionFilter::new().user_agent_contains(long).label("l".repeat(128)).impersonated(true);
    gate.sessions().revoke_matching(&long).unwrap();
    let filter = SessionFilter::new().user_agent_contains("\"agent\"").created_before(later(gate.now(), 60));
    gate.sessions().revoke_matching(&filter).unwrap();
    let records = backwards(|page| gate.audit().list(page));
    let [done, asked, _, cut] = [0, 1, 2, 3].map(|place| &records[place]);
    assert_eq!((done.kind, asked.kind), (AuditKind::SessionsRevoked, AuditKind::SessionsEndRequested));
    assert_eq!((done.actor, asked.actor), (Actor::User(boss), Actor::User(boss)));
    let (number, told) = asked.detail.split_once(": ").unwrap();
    assert!(told.starts_with(r#"those user agent with "\"agent\"", created before 2026-"#), "{told}");
    assert_eq!(done.detail, format!("{number}: all that were asked for; 1 ended now"));
    assert!(cut.detail.len() < 512 && cut.detail.contains("é\"…, label \"lll"), "{}", cut.detail);
}

#[test]
fn a_delegated_handle_ends_those_of_one_user_whom_it_administers() {
    let world = world();
    let gate = &world.gate;
    let admin = gate.roles().create("admin", []).unwrap();
    let tenant = gate.scopes().create(ScopeId::ROOT, "acme").unwrap();
    let boss = world.user("boss").id;
    let range = gate.roles().create("range", []).unwrap();
    gate.delegations().create(admin, RoleRange::Below(range), [Ability::ManageUsers]).unwrap();
    gate.roles().assign_with(boss, admin, &Grant::new().at(tenant)).unwrap();
    let theirs = gate.users().create(NewUser::new("ada").password(PASSWORD).home(tenant)).unwrap().id;
    let other = world.user("bob").id;
    let (ada, bob) = (world.login("ada"), world.login("bob"));
    let sessions = gate.delegated(boss);
    let sessions = sessions.sessions();
    let filter = SessionFilter::new;
    for bad in [filter().user(other), filter().label(""), filter().user(boss)] {
        refused(sessions.revoke_matching(&bad), ErrorKind::Denied, None);
    }
    refused(sessions.revoke_of_scope(tenant), ErrorKind::Denied, None);
    refused(sessions.set_label(bob.session().id, "x"), ErrorKind::Denied, None);
    sessions.set_label(ada.session().id, "x").unwrap();
    assert!(is_live(gate, ada.token().as_str()) && is_live(gate, bob.token().as_str()));
    assert_eq!(sessions.revoke_matching(&filter().user(theirs)).unwrap(), 1);
    assert!(!is_live(gate, ada.token().as_str()) && is_live(gate, bob.token().as_str()));
    no_marker(gate);
    sound(gate);
}

#[test]
fn all_who_hold_something_at_a_scope_or_are_at_home_there_lose_their_sessions() {
    let world = world_with(|builder| builder.keys(keys()));
    let gate = &world.gate;
    let bit = gate.permissions().define("read").unwrap();
    let role = gate.roles().create("role", [bit]).unwrap();
    let [tenant, inner, deep, other] =
        ["acme", "acme/a", "acme/a/b", "other"].map(|path| gate.scopes().ensure(path).unwrap());
    let soon = later(gate.now(), 3600);
    let names = ["at", "below", "future", "granted", "above", "elsewhere", "denied", "over", "none"];
    let ids = names.map(|login| world.user(login).id);
    let terms = [
        Grant::new().at(inner),
        Grant::new().at(deep),
        Grant::new().at(inner).not_before(soon),
        Grant::new(),
        Grant::new().at(tenant),
        Grant::new().at(other),
        Grant::new().at(inner).denying(),
        Grant::new().at(inner).until(later(gate.now(), 5)),
    ];
    for (id, terms) in ids.iter().zip(&terms) {
        gate.roles().assign_with(*id, role, terms).unwrap();
    }
    gate.access().grant(ids[3], bit, &Grant::new().at(deep)).unwrap();
    for (login, home) in [("home", deep), ("away", tenant)] {
        gate.users().create(NewUser::new(login).password(PASSWORD).home(home)).unwrap();
    }
    // Somebody who is there with a login under way, and no session.
    let between = world.user("between").id;
    enrolled_app(&world, between);
    gate.roles().assign_with(between, role, &Grant::new().at(deep)).unwrap();
    let under_way = challenge(gate, "between");
    world.after(10);
    let names: Vec<&str> = names.into_iter().chain(["home", "away"]).collect();
    let logins: Vec<[Login; 2]> = names.iter().map(|name| [world.login(name), world.login(name)]).collect();
    assert_eq!(gate.sessions().revoke_of_scope(inner).unwrap(), 10);
    for (name, logins) in names.iter().zip(&logins) {
        let ended = ["at", "below", "future", "granted", "home"].contains(name);
        for login in logins {
            assert_eq!(is_live(gate, login.token().as_str()), !ended, "{name}");
        }
    }
    denied(&answer(gate, &under_way, &Answer::totp("000000")), Denial::Credentials);
    assert!(is_live(gate, world.login("at").token().as_str()), "a login after it is not affected");
    let records = backwards(|page| gate.audit().list(page));
    assert_eq!(records.iter().filter(|record| record.kind == AuditKind::SessionsRevoked).count(), 7);
    no_marker(gate);
    sound(gate);
}

#[test]
fn an_open_that_ends_sessions_lets_in_nobody_who_was_in() {
    let disk = Disk::new();
    let gate = disk.open();
    user(&gate, "ada");
    let before = token(&log_in(&gate, "ada", PASSWORD).unwrap());
    gate.close().unwrap();
    drop(gate);
    let gate = disk.open();
    assert!(is_live(&gate, &before), "not by default");
    gate.close().unwrap();
    drop(gate);
    let ending = |builder: portcullis::Builder| builder.end_sessions_at_open(true);
    let gate = disk.open_with(ending).unwrap();
    assert!(!is_live(&gate, &before));
    let last = backwards(|page| gate.audit().list(page)).remove(0);
    assert_eq!((last.kind, last.detail.as_str()), (AuditKind::SessionsRevoked, "of everybody, at the open"));
    let after = token(&log_in(&gate, "ada", PASSWORD).unwrap());
    assert!(is_live(&gate, &after));
    sound(&gate);
    gate.close().unwrap();
    drop(gate);
    assert!(!is_live(&disk.open_with(ending).unwrap(), &after), "each open");
}

/// As if every session had been ended that many times.
fn put_era(gate: &Portcullis, era: u16) {
    gate.sessions().revoke_everything().unwrap();
    let mut row = dump(gate).unwrap().into_iter().find(|row| row.table == "session_era").unwrap();
    let [low, high] = era.to_le_bytes();
    row.value = vec![row.value[0], 251, low, high];
    danger_put(gate, &row).unwrap();
}

#[test]
fn after_the_last_era_comes_the_first_and_no_session_with_it() {
    let world = world();
    let gate = &world.gate;
    let ada = world.user("ada").id;
    // More than the calls sweep by themselves, of the era that comes again.
    let first = populate_sessions(gate, &[world.user("bob").id; 3000]).unwrap();
    put_era(gate, u16::MAX - 3);
    assert!(sessions_stored(gate) > 2500);
    let mut old = vec![world.login("ada")];
    for round in 0..6 {
        gate.sessions().revoke_everything().unwrap();
        for token in first.iter().chain(old.iter().map(Login::token)) {
            assert!(!is_live(gate, token.as_str()), "{round}");
        }
        let login = world.login("ada");
        assert!(is_live(gate, login.token().as_str()));
        gate.sessions().revoke_others(login.session().id).unwrap();
        assert!(is_live(gate, login.token().as_str()));
        old.push(login);
    }
    let era = dump(gate).unwrap().into_iter().find(|row| row.table == "session_era").unwrap();
    assert_eq!(era.value[1..], [3]);
    assert_eq!(all(|page| gate.sessions().of_user(ada, page)).len(), 1);
    gate.maintain(10_000).unwrap();
    no_marker(gate);
    assert_eq!(sessions_stored(gate), 1);
    sound(gate);
}

#[test]
fn what_is_left_of_ended_eras_is_swept_in_portions() {
    let world = world();
    let gate = &world.gate;
    let ids: Vec<UserId> = (0..7).map(|number| world.user(&format!("user{number}")).id).collect();
    let many: Vec<UserId> = ids.iter().copied().cycle().take(2000).collect();
    populate_sessions(gate, &many).unwrap();
    gate.sessions().revoke_everything().unwrap();
    let left = sessions_stored(gate);
    assert!((1700..2000).contains(&left), "{left}: the call itself is short");
    let live = populate_sessions(gate, &many[..300]).unwrap();
    let mut rounds = 0;
    loop {
        let before = sessions_stored(gate);
        let done = gate.maintain(100).unwrap();
        let removed = before - sessions_stored(gate);
        assert!(removed <= 100 && done.leftovers == removed, "{removed} {done:?}");
        rounds += 1;
        if !done.more {
            break;
        }
        assert!(rounds < 100, "it comes to an end");
    }
    assert!(rounds >= 17 && sessions_stored(gate) == 300);
    assert!(live.iter().all(|token| is_live(gate, token.as_str())));
    no_marker(gate);
    sound(gate);
}

#[test]
fn a_login_under_way_does_not_outlive_its_era() {
    let world = world_with(|builder| builder.keys(keys()));
    let gate = &world.gate;
    let ada = world.user("ada").id;
    let secret = enrolled_app(&world, ada);
    let mail = verified_mailbox(gate, ada);
    let first = challenge(gate, "ada");
    world.after(60);
    gate.sessions().revoke_everything().unwrap();
    let code = totp_code(&secret, gate.now()).unwrap();
    let refused = answer(gate, &first, &Answer::totp(code.clone()));
    denied(&refused, Denial::Credentials);
    let error = gate.send_code(&first, mail).unwrap_err();
    assert_eq!(error.denial(), Some(Denial::Challenge));
    let again = challenge(gate, "ada");
    assert!(answer(gate, &again, &Answer::totp(code)).done().is_ok());
    sound(gate);
}

#[test]
fn labels_are_set_and_shown() {
    let world = world();
    let gate = &world.gate;
    let ada = world.user("ada").id;
    let (one, two) = (world.login("ada"), world.login("ada"));
    let id = one.session().id;
    gate.sessions().set_label(id, "büro, links").unwrap();
    for listed in
        [all(|page| gate.sessions().of_user(ada, page)), all(|page| gate.sessions().by_expiry(page))]
    {
        let labels = listed.iter().map(|session| (session.id == id, session.label.as_str()));
        assert!(labels.eq(listed.iter().map(|s| (s.id == id, if s.id == id { "büro, links" } else { "" }))));
    }
    let last = backwards(|page| gate.audit().list(page)).remove(0);
    assert_eq!((last.kind, last.detail.as_str()), (AuditKind::SessionLabelled, "büro, links"));
    assert_eq!(last.subject, Some(portcullis::Subject::User(ada)));
    let before = everything(gate);
    for bad in ["x".repeat(129), "a\u{7}".into()] {
        refused(gate.sessions().set_label(id, &bad), ErrorKind::InvalidInput, Some("session.label"));
    }
    assert_eq!(everything(gate), before);
    gate.sessions().revoke(two.session().id).unwrap();
    refused(gate.sessions().set_label(two.session().id, ""), ErrorKind::NotFound, Some("session"));
    gate.sessions().set_label(id, "").unwrap();
    assert_eq!(gate.sessions().get(id).unwrap().label, "");
    assert!(is_live(gate, one.token().as_str()));
    sound(gate);
}

/// A marker as a crash leaves it: for sessions without a label, or for those at scope 3.
fn put_marker(gate: &Portcullis, key: &[u8], value: &[u8]) {
    let mut row = dump(gate).unwrap().remove(0);
    (row.table, row.key, row.value) = ("session_ending", key.to_vec(), value.to_vec());
    danger_put(gate, &row).unwrap();
}

#[test]
fn maintenance_goes_on_with_what_was_left() {
    let world = world();
    let gate = &world.gate;
    world.user("ada");
    let kept = world.login("ada");
    gate.sessions().set_label(kept.session().id, "kept").unwrap();
    let ends: Vec<Login> = (0..40).map(|_| world.login("ada")).collect();
    world.after(10);
    let later = world.login("ada");
    let until = ends[0].session().created.as_millis().to_le_bytes();
    let key: Vec<u8> = std::iter::once(0).chain(7u64.to_be_bytes()).collect();
    let head = [1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 253];
    put_marker(gate, &key, &[head.as_slice(), &until].concat());
    assert!(is_live(gate, ends[0].token().as_str()));
    assert_eq!(gate.maintain(5).unwrap().leftovers, 40, "whatever the budget");
    for login in &ends {
        assert!(!is_live(gate, login.token().as_str()));
    }
    assert!(is_live(gate, kept.token().as_str()));
    assert!(is_live(gate, later.token().as_str()), "it was opened after the call");
    let last = backwards(|page| gate.audit().list(page)).remove(0);
    assert_eq!((last.kind, last.actor), (AuditKind::SessionsRevoked, Actor::System));
    no_marker(gate);
    sound(gate);
}
