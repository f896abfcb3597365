//! Who gets a session, who does not, and what a refusal costs and tells.

use crate::support::{OTHER, PASSWORD, all, everything, is_live, later, log_in, refused, sound, user, world};
use parking_lot::Mutex;
use portcullis::testing::SeededEntropy;
use portcullis::{
    AuditKind, Client, Clock, Credentials, Denial, Entropy, ErrorKind, NewUser, Outcome, Portcullis, Status,
    Subject, UserId,
};
use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

#[test]
fn the_right_password_opens_a_session_that_says_where_from() {
    let world = world();
    let ada = world.user("ada");
    let client = Client::new().device("laptop").ip("192.0.2.7".parse().unwrap()).user_agent("test/1");
    let login = world.gate.login(&Credentials::password("ada", PASSWORD), &client).unwrap();
    assert_eq!(login.user(), ada.id);
    assert_eq!((login.session().user, &login.session().client), (ada.id, &client));
    assert_eq!(login.session().created, world.clock.now());
    let who = world.gate.authenticate(login.token()).unwrap();
    assert_eq!((who.user(), who.session()), (ada.id, login.session().id));
    assert_eq!(&world.gate.sessions().get(login.session().id).unwrap(), login.session());
    sound(&world.gate);
}

/// The six ways to be refused, and what the audit log says of each.
#[test]
fn every_refusal_looks_alike_and_costs_one_hash() {
    let world = world();
    let users = world.gate.users();
    world.user("ada");
    users.create(NewUser::new("mute")).unwrap();
    for (login, status) in [
        ("off", Status::disabled("left the company")),
        ("new", Status::pending()),
        ("shut", Status::locked("too many attempts")),
    ] {
        users.create(NewUser::new(login).password(PASSWORD).status(status)).unwrap();
    }
    let (mut texts, mut details) = (HashSet::new(), BTreeSet::new());
    for (login, password) in [
        ("nobody", PASSWORD),
        ("not a name \u{202E}", PASSWORD),
        ("", PASSWORD),
        ("ada", OTHER),
        ("ada", ""),
        ("mute", PASSWORD),
        ("off", PASSWORD),
        ("new", PASSWORD),
        ("shut", PASSWORD),
    ] {
        let (hashes, length) = (world.gate.password_hashes_computed(), world.gate.audit().head().length);
        let error = log_in(&world.gate, login, password).unwrap_err();
        assert_eq!(error.denial(), Some(Denial::Credentials), "{login}");
        assert_eq!(error.field(), None);
        texts.insert(format!("{error} {error:?}"));
        assert_eq!(world.gate.password_hashes_computed(), hashes + 1, "{login:?}");
        assert_eq!(world.gate.audit().head().length, length + 1, "{login:?}");
        let record = all(|page| world.gate.audit().by_kind(AuditKind::LoginFailure, page)).pop().unwrap();
        assert_eq!(record.outcome, Outcome::Denied);
        details.insert(record.detail);
    }
    assert_eq!(texts.len(), 1, "{texts:?}");
    let due = [
        "Disabled: left the company",
        "Locked: too many attempts",
        "Pending",
        "the user has no password",
        "unknown login name",
        "wrong password",
    ];
    assert_eq!(details.iter().map(String::as_str).collect::<Vec<_>>(), due);
    assert!(all(|page| world.gate.sessions().by_expiry(page)).is_empty());
}

#[test]
fn a_wrong_password_does_not_tell_that_the_account_is_disabled() {
    let world = world();
    let off = world.user("off");
    world.gate.users().set_status(off.id, Status::disabled("gone")).unwrap();
    let failed = log_in(&world.gate, "off", OTHER).unwrap_err();
    let right = log_in(&world.gate, "off", PASSWORD).unwrap_err();
    assert_eq!(format!("{failed:?}"), format!("{right:?}"));
    let records = all(|page| world.gate.audit().by_subject(Subject::User(off.id), page));
    let details: Vec<&str> = records.iter().rev().take(2).map(|record| record.detail.as_str()).collect();
    assert_eq!(details, ["Disabled: gone", "wrong password"]);
}

#[test]
fn a_password_too_long_is_refused_before_anything_is_computed() {
    let world = world();
    let ada = world.user("ada");
    let long = "x".repeat(1025);
    let (before, hashes) = (everything(&world.gate), world.gate.password_hashes_computed());
    refused(log_in(&world.gate, "ada", &long), ErrorKind::InvalidInput, Some("password"));
    refused(world.gate.users().set_password(ada.id, &long), ErrorKind::InvalidInput, Some("password"));
    let new = NewUser::new("eve").password(&long);
    refused(world.gate.users().create(new), ErrorKind::InvalidInput, Some("password"));
    assert_eq!(world.gate.password_hashes_computed(), hashes);
    assert_eq!(everything(&world.gate), before);
}

#[test]
fn a_password_of_the_longest_length_counts_to_its_last_byte() {
    let world = world();
    let longest = format!("{}{}", "x".repeat(1023), "y");
    world.gate.users().create(NewUser::new("ada").password(&longest)).unwrap();
    assert!(log_in(&world.gate, "ada", &longest).is_ok());
    let twin = "x".repeat(1024);
    refused(log_in(&world.gate, "ada", &twin), ErrorKind::Denied, None);
    refused(log_in(&world.gate, "ada", &longest[..1023]), ErrorKind::Denied, None);
}

#[test]
fn passwords_are_taken_as_they_are() {
    let world = world();
    for (name, password) in [
        ("spaces", "  leading and trailing  "),
        ("nul", "nul \0 in the middle of it"),
        ("emoji", "🐎🔋📎✅🐎🔋📎✅🐎🔋📎✅🐎🔋📎"),
        ("lines", "one line\nanother line\r\n"),
    ] {
        world.gate.users().create(NewUser::new(name).password(password)).unwrap();
        assert!(log_in(&world.gate, name, password).is_ok(), "{name}");
        for twin in [format!("{password} "), format!(" {password}"), password.replacen(' ', "", 1) + "!"] {
            refused(log_in(&world.gate, name, &twin), ErrorKind::Denied, None);
        }
    }
}

#[test]
fn a_lock_ends_at_its_very_instant() {
    let world = world();
    let ada = world.user("ada");
    let read = world.gate.permissions().define("read").unwrap();
    let role = world.gate.roles().create("reader", [read]).unwrap();
    world.gate.roles().assign(ada.id, role).unwrap();
    let end = later(world.clock.now(), 60);
    world.gate.users().set_status(ada.id, Status::locked("brute force").until(end)).unwrap();
    world.after(59);
    refused(log_in(&world.gate, "ada", PASSWORD), ErrorKind::Denied, None);
    assert!(!world.gate.check(ada.id, read).unwrap().is_allowed());
    world.clock.set(end);
    let login = world.login("ada");
    assert!(world.gate.check(ada.id, read).unwrap().is_allowed());
    assert!(world.gate.authenticate(login.token()).unwrap().can(read));
    sound(&world.gate);
}

/// Runs something once, in the middle of an operation: at the first draw of so many random bytes.
#[derive(Clone)]
pub(crate) struct Hook {
    entropy: SeededEntropy,
    pub(crate) armed: Arc<Mutex<Armed>>,
}
pub(crate) type Armed = Option<(usize, Box<dyn FnOnce() + Send>)>;

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook")
    }
}

impl Hook {
    pub(crate) fn new() -> Self {
        Self { entropy: SeededEntropy::new(1), armed: Arc::default() }
    }

    pub(crate) fn at_draw_of(&self, bytes: usize, run: impl FnOnce() + Send + 'static) {
        *self.armed.lock() = Some((bytes, Box::new(run)));
    }
}

impl Entropy for Hook {
    fn fill(&self, buffer: &mut [u8]) -> portcullis::Result<()> {
        let run = self.armed.lock().take_if(|(bytes, _)| *bytes == buffer.len());
        if let Some((_, run)) = run {
            run();
        }
        self.entropy.fill(buffer)
    }
}

/// A login draws 16 bytes for the operation, when the hash is verified and nothing is read again yet, and 40 for the
/// token, when the account was read again and nothing is committed yet.
#[test]
fn a_change_while_the_password_is_verified_wins() {
    type Change = fn(&Portcullis, UserId);
    let changes: [(&str, Change); 4] = [
        ("Disabled: just now", |gate, id| {
            gate.users().set_status(id, Status::disabled("just now")).unwrap();
        }),
        ("Locked: just now", |gate, id| {
            gate.users().set_status(id, Status::locked("just now")).unwrap();
        }),
        ("unknown login name", |gate, id| gate.users().delete(id).unwrap()),
        ("the account changed while it was verified", |gate, id| {
            gate.users().set_password(id, OTHER).unwrap();
        }),
    ];
    for (detail, change) in changes {
        for draw in [16, 40] {
            let hook = Hook::new();
            let builder = Portcullis::builder().entropy(hook.clone()).danger_fast_password_hashes();
            let gate = builder.in_memory().unwrap();
            let ada = user(&gate, "ada");
            let inner = gate.clone();
            hook.at_draw_of(draw, move || change(&inner, ada.id));
            refused(log_in(&gate, "ada", PASSWORD), ErrorKind::Denied, None);
            assert!(hook.armed.lock().is_none(), "the hook ran");
            assert!(all(|page| gate.sessions().by_expiry(page)).is_empty(), "{detail} at {draw}");
            let last = all(|page| gate.audit().list(page)).pop().unwrap();
            assert_eq!((last.kind, last.detail.as_str()), (AuditKind::LoginFailure, detail));
            sound(&gate);
        }
    }
}

#[test]
fn sessions_revoked_while_another_login_is_under_way_leave_that_one_alive() {
    let hook = Hook::new();
    let gate = Portcullis::builder().entropy(hook.clone()).danger_fast_password_hashes().in_memory().unwrap();
    let ada = user(&gate, "ada");
    let old = log_in(&gate, "ada", PASSWORD).unwrap();
    let inner = gate.clone();
    hook.at_draw_of(40, move || inner.sessions().revoke_all(ada.id).unwrap());
    let fresh = log_in(&gate, "ada", PASSWORD).unwrap();
    assert!(!is_live(&gate, old.token().as_str()) && is_live(&gate, fresh.token().as_str()));
    sound(&gate);
}

#[test]
fn without_randomness_nothing_happens() {
    let world = world();
    let ada = world.user("ada");
    let login = world.login("ada");
    let before = everything(&world.gate);
    world.entropy.set_broken(true);
    for result in [
        log_in(&world.gate, "ada", PASSWORD).map(drop),
        log_in(&world.gate, "ada", OTHER).map(drop),
        world.gate.users().create(NewUser::new("eve").password(PASSWORD)).map(drop),
        world.gate.users().set_password(ada.id, OTHER),
        world.gate.users().delete(ada.id),
        world.gate.sessions().revoke(login.session().id),
        world.gate.permissions().define("read").map(drop),
    ] {
        refused(result, ErrorKind::Storage, None);
    }
    assert!(is_live(&world.gate, login.token().as_str()), "what needs no randomness goes on");
    assert_eq!(everything(&world.gate), before);
    world.entropy.set_broken(false);
    world.login("ada");
    sound(&world.gate);
}

#[test]
fn login_names_are_one_whatever_their_case_and_composition() {
    let world = world();
    let angstrom = world.user("\u{C5}ngström");
    for twin in ["ångström", "A\u{30A}NGSTRO\u{308}M", "\u{212B}ngström"] {
        assert_eq!(log_in(&world.gate, twin, PASSWORD).unwrap().user(), angstrom.id, "{twin}");
        assert_eq!(world.gate.users().find(twin).unwrap().unwrap().id, angstrom.id);
        let again = world.gate.users().create(NewUser::new(twin));
        refused(again, ErrorKind::AlreadyExists, Some("login"));
    }
    refused(log_in(&world.gate, "angstrom", PASSWORD), ErrorKind::Denied, None);
}

#[test]
fn one_of_many_threads_gets_a_name() {
    let world = world();
    for round in 0..50 {
        let barrier = Barrier::new(8);
        let made: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|thread| {
                    let (gate, barrier) = (&world.gate, &barrier);
                    scope.spawn(move || {
                        let name =
                            if thread % 2 == 0 { format!("Ada{round}") } else { format!("ADA{round}") };
                        barrier.wait();
                        gate.users().create(NewUser::new(name).email("ada@example.org"))
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(made.iter().filter(|result| result.is_ok()).count(), 1);
        for error in made.into_iter().filter_map(Result::err) {
            assert_eq!((error.kind(), error.field()), (ErrorKind::AlreadyExists, Some("login")));
        }
    }
    assert_eq!(all(|page| world.gate.users().list(page)).len(), 50);
    sound(&world.gate);
}

#[test]
fn no_two_logins_get_one_token() {
    let world = world();
    world.user("ada");
    let tokens: HashSet<String> = (0..200).map(|_| world.login("ada").token().as_str().to_owned()).collect();
    assert_eq!(tokens.len(), 200);
    // Neither the id's nor the secret's characters stand still.
    for place in 4..57 {
        let seen: HashSet<char> = tokens.iter().map(|token| token.as_bytes()[place] as char).collect();
        assert!(seen.len() > 20, "character {place} takes {} values in 200 tokens", seen.len());
    }
}

#[test]
fn a_new_password_ends_the_old_one_and_every_session() {
    let world = world();
    let ada = world.user("ada");
    let (one, two) = (world.login("ada"), world.login("ada"));
    let who = world.gate.authenticate(one.token()).unwrap();
    world.gate.users().set_password(ada.id, OTHER).unwrap();
    assert!(!is_live(&world.gate, one.token().as_str()) && !is_live(&world.gate, two.token().as_str()));
    assert!(!who.can(world.gate.permissions().define("x").unwrap()));
    refused(log_in(&world.gate, "ada", PASSWORD), ErrorKind::Denied, None);
    assert!(log_in(&world.gate, "ada", OTHER).is_ok());
    assert!(all(|page| world.gate.sessions().of_user(ada.id, page)).len() == 1);
    sound(&world.gate);
}

/// With room for one hash and no queue, two threads that log in without pause meet sooner or later: one of them is
/// told so, and no hash is computed for it.
#[test]
fn a_full_gate_says_busy_and_computes_nothing() {
    let builder = Portcullis::builder().admission(1, 0, Duration::from_secs(1));
    let gate = builder.in_memory().unwrap();
    let (done, attempts, busy) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) && attempts.load(Ordering::SeqCst) < 2000 {
                    attempts.fetch_add(1, Ordering::SeqCst);
                    match log_in(&gate, "nobody", PASSWORD).unwrap_err().kind() {
                        ErrorKind::Busy => {
                            busy.fetch_add(1, Ordering::SeqCst);
                            done.store(true, Ordering::SeqCst);
                        }
                        kind => assert_eq!(kind, ErrorKind::Denied),
                    }
                }
            });
        }
    });
    let (attempts, busy) = (attempts.into_inner(), busy.into_inner());
    assert!(busy > 0, "{attempts} logins never met");
    assert_eq!(gate.password_hashes_computed(), attempts - busy);
    assert_eq!(gate.audit().head().length, attempts - busy, "a login that was turned away is no failed one");
}
