//! The feed of what ends sessions and changes rights: in the order of the commits, never before them, bounded.

use crate::support::{
    Disk, OTHER, PASSWORD, all, is_live, later, log_in, refused, sound, user, world, world_with,
};
use portcullis::testing::{FaultPoint, ManualClock};
use portcullis::{
    AccessChangeKind as Kind, AuditKind, ChangeFeed, ChangePosition, Clock, ErrorKind, FeedItem, Flag,
    FlagChange, FlagState, FlagTarget, Grant, NewApiKey, NewContact, Permission, Portcullis, RoleChange,
    ScopeId, SessionId, Status, Subject, Timestamp, UserChange, UserId,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

/// What is there by now.
fn told(feed: &mut ChangeFeed) -> Vec<Kind> {
    let items = std::iter::from_fn(|| feed.try_next());
    items
        .map(|item| match item {
            FeedItem::Change(change) => change.kind,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn each_change_is_told_by_what_it_concerns() {
    let world = world();
    let gate = &world.gate;
    let mut feed = gate.changes().unwrap();
    let ada = world.user("ada").id;
    assert_eq!(told(&mut feed), [Kind::UserAdmitted { user: ada }]);
    let read = gate.permissions().define("read").unwrap();
    assert_eq!(told(&mut feed), [Kind::PermissionChanged { permission: read }]);
    let role = gate.roles().create("viewer", [read]).unwrap();
    assert_eq!(told(&mut feed), [Kind::RoleChanged { role }], "one entry, however many rows");
    let doc = gate.scopes().ensure("acme/doc").unwrap();
    let acme = gate.scopes().find("acme").unwrap().unwrap();
    assert_eq!(told(&mut feed), [acme, doc].map(|scope| Kind::ScopeChanged { scope }));
    let flag = gate.flags().define("checkout").unwrap();
    assert_eq!(told(&mut feed), [Kind::FlagChanged { flag }]);
    gate.flags().set(flag, FlagState::On).unwrap();
    gate.flags().set_rule(flag, FlagTarget::User(ada), &Grant::new()).unwrap();
    assert_eq!(told(&mut feed), [Kind::FlagChanged { flag }; 2]);
    gate.roles().assign(ada, role).unwrap();
    gate.roles().assign_with(ada, role, &Grant::new().at(acme)).unwrap();
    gate.access().grant(ada, read, &Grant::new().at(doc)).unwrap();
    let rights = |scope| Kind::RightsOfUser { user: ada, scope };
    assert_eq!(told(&mut feed), [ScopeId::ROOT, acme, doc].map(rights));
    gate.access().withdraw(ada, read, doc).unwrap();
    gate.roles().unassign_at(ada, role, acme).unwrap();
    assert_eq!(told(&mut feed), [doc, acme].map(rights));

    let [one, two, three] = [(); 3].map(|()| world.login("ada").session().id);
    assert!(told(&mut feed).is_empty(), "nobody can have asked for a session before it was there");
    gate.sessions().deactivate(one, role).unwrap();
    assert_eq!(told(&mut feed), [Kind::SessionChanged { session: one, user: ada }]);
    gate.sessions().revoke(one).unwrap();
    assert_eq!(told(&mut feed), [Kind::SessionEnded { session: one, user: ada }]);
    gate.sessions().revoke_others(two).unwrap();
    assert_eq!(told(&mut feed), [Kind::SessionsOfUserEnded { user: ada }]);
    assert!(gate.sessions().get(two).is_ok() && gate.sessions().get(three).is_err());
    gate.users().set_password(ada, OTHER).unwrap();
    assert_eq!(told(&mut feed), [Kind::SessionsOfUserEnded { user: ada }]);

    let until = later(gate.now(), 100);
    for (status, due) in [(Status::locked("x").until(until), Some(until)), (Status::disabled("x"), None)] {
        gate.users().set_status(ada, status).unwrap();
        let found = told(&mut feed);
        assert!(found.contains(&Kind::UserRefused { user: ada, until: due }), "{found:?}");
    }
    gate.users().set_status(ada, Status::active()).unwrap();
    assert_eq!(told(&mut feed), [Kind::UserAdmitted { user: ada }]);
    gate.roles().update(role, RoleChange::new().name("reader")).unwrap();
    gate.permissions().delete(read).unwrap();
    gate.scopes().delete(acme).unwrap();
    gate.flags().delete(flag).unwrap();
    gate.users().delete(ada).unwrap();
    while gate.maintain(1000).unwrap().more {}
    let found = told(&mut feed);
    for due in [
        Kind::RoleChanged { role },
        Kind::PermissionChanged { permission: read },
        Kind::ScopeChanged { scope: acme },
        Kind::ScopeChanged { scope: doc },
        Kind::FlagChanged { flag },
        Kind::UserDeleted { user: ada },
    ] {
        assert!(found.contains(&due), "{due:?} is not among {found:?}");
    }
    assert!(!found.iter().any(|kind| matches!(kind, Kind::RightsOfUser { .. })), "{found:?}");
    sound(gate);
}

#[test]
fn what_changes_no_answer_that_was_given_is_not_told() {
    let world = world();
    let gate = &world.gate;
    let ada = world.user("ada").id;
    let read = gate.permissions().define("read").unwrap();
    let [role, gone] = ["role", "gone"].map(|name| gate.roles().create(name, [read]).unwrap());
    gate.roles().assign_with(ada, role, &Grant::new().until(later(gate.now(), 100))).unwrap();
    gate.roles().assign(ada, gone).unwrap();
    let logins = [(); 5].map(|()| world.login("ada"));
    let mut feed = gate.changes().unwrap();
    gate.users().update(ada, UserChange::new().login("countess")).unwrap();
    gate.users().add_contact(ada, &NewContact::email("a@x.org")).unwrap();
    log_in(gate, "countess", OTHER).unwrap_err();
    gate.users().set_status(ada, Status::active()).unwrap();
    gate.sessions().revoke(SessionId::from_number(9)).unwrap_err();
    gate.delegated(ada).sessions().revoke(logins[0].session().id).unwrap_err();
    world.after(101);
    assert!(is_live(gate, logins[0].token().as_str()));
    gate.maintain(1000).unwrap();
    assert!(told(&mut feed).is_empty(), "a use was written down and a grant has ended by itself");
    gate.sessions().revoke_all(ada).unwrap();
    gate.roles().delete(gone).unwrap();
    while gate.maintain(1).unwrap().more {}
    assert_eq!(
        told(&mut feed),
        [Kind::SessionsOfUserEnded { user: ada }, Kind::RoleChanged { role: gone }],
        "once, and not again when the rows are swept"
    );
    let [idle, old] = [(); 2].map(|()| log_in(gate, "countess", PASSWORD).unwrap());
    world.after(24 * 3600 - 1);
    assert!(!is_live(gate, old.token().as_str()) && !is_live(gate, idle.token().as_str()));
    while gate.maintain(1000).unwrap().more {}
    assert!(told(&mut feed).is_empty(), "what ends by itself makes no entry");
    assert!(all(|page| gate.sessions().of_user(ada, page)).is_empty());
}

#[test]
fn a_change_that_was_not_committed_is_not_told_and_readers_end_with_the_store() {
    for point in [FaultPoint::JournalWrite, FaultPoint::Apply] {
        let disk = Disk::new();
        let gate = disk.open();
        let ada = user(&gate, "ada").id;
        let mut feed = gate.changes().unwrap();
        disk.faults.fail(point, 1);
        gate.sessions().revoke_all(ada).unwrap_err();
        assert_eq!((feed.next(), feed.is_over()), (None, true), "{point:?}");
        refused(gate.check(ada, Permission::from_bit(0)), ErrorKind::Stopped, None);
        assert!(gate.changes().unwrap().is_over());
    }
}

fn item(kind: Kind) -> impl Fn(Option<FeedItem>) -> bool {
    move |item| matches!(item, Some(FeedItem::Change(change)) if change.kind == kind)
}

#[test]
fn waiting_ends_with_an_entry_with_patience_or_with_the_database() {
    let disk = Disk::new();
    let gate = disk.open();
    let ada = user(&gate, "ada").id;
    let mut feed = gate.changes().unwrap();
    let ended = item(Kind::SessionsOfUserEnded { user: ada });
    assert_eq!(feed.next_timeout(Duration::from_millis(1)), None);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| [feed.next(), feed.next_timeout(Duration::MAX), feed.next()]);
        for _ in 0..3 {
            gate.sessions().revoke_all(ada).unwrap();
        }
        assert!(waiting.join().unwrap().into_iter().all(&ended));
    });
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| (feed.next(), feed.next_timeout(Duration::MAX), feed.is_over()));
        gate.close().unwrap();
        assert_eq!(waiting.join().unwrap(), (None, None, true));
    });
    // The last handle goes, and the reader keeps nothing open.
    let gate = disk.open();
    let mut feed = gate.changes().unwrap();
    gate.sessions().revoke_all(ada).unwrap();
    drop(gate);
    let gate = disk.open();
    assert!(!feed.is_over() && ended(feed.next()), "what was told before can still be read");
    assert_eq!((feed.next(), feed.is_over()), (None, true));
    drop(gate);
    let memory = world().gate;
    let mut feed = memory.changes().unwrap();
    drop(memory);
    assert_eq!((feed.next(), feed.is_over()), (None, true));
}

/// Makes a change with one entry.
fn change(gate: &Portcullis, flag: Flag, number: usize) {
    gate.flags().update(flag, FlagChange::new().description(format!("{number}"))).unwrap();
}

/// Panics for as long as it is told to, on whatever thread.
#[derive(Clone, Debug)]
struct Moody(ManualClock, Arc<AtomicBool>);

impl Clock for Moody {
    fn now(&self) -> Timestamp {
        // The plan of a change asks once, and then the commit.
        let is_commit = std::thread::current().name() == Some("portcullis-store");
        assert!(!is_commit || !self.1.load(Ordering::SeqCst), "in a bad mood");
        self.0.now()
    }
}

#[test]
fn a_clock_that_panics_in_the_commit_stops_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Moody(ManualClock::new(), Arc::default());
    let builder = Portcullis::builder().clock(clock.clone()).danger_fast_password_hashes();
    let gate = builder.open(directory.path().join("auth.db")).unwrap();
    let ada = user(&gate, "ada").id;
    let session = log_in(&gate, "ada", PASSWORD).unwrap().session().id;
    let mut feed = gate.changes().unwrap();
    clock.1.store(true, Ordering::SeqCst);
    gate.sessions().revoke(session).unwrap();
    assert!(item(Kind::SessionEnded { session, user: ada })(feed.next()));
    sound(&gate);
}

#[test]
fn a_reader_goes_on_at_every_position() {
    let world = world();
    let gate = &world.gate;
    let ada = world.user("ada").id;
    let mut feed = gate.changes().unwrap();
    let start = feed.position();
    // Commits of one entry and of several.
    gate.permissions().define_many(["a", "b", "c"]).unwrap();
    gate.sessions().revoke_all(ada).unwrap();
    gate.scopes().ensure("x/y/z").unwrap();
    gate.users().set_status(ada, Status::disabled("x")).unwrap();
    let items: Vec<FeedItem> = std::iter::from_fn(|| feed.try_next()).collect();
    assert!(items.len() >= 8, "{items:?}");
    let mut positions = vec![start];
    for item in &items {
        let FeedItem::Change(change) = item else { panic!("{item:?}") };
        positions.push(change.position);
    }
    assert_eq!(positions.last(), Some(&feed.position()));
    for (place, position) in positions.iter().enumerate() {
        let again: ChangePosition = position.to_string().parse().unwrap();
        assert_eq!(again, *position);
        let mut resumed = gate.delegated(ada).changes_after(again).unwrap();
        let rest: Vec<FeedItem> = std::iter::from_fn(|| resumed.try_next()).collect();
        assert_eq!(rest, items[place..], "after {place}");
    }
    for wrong in ["", "-", "0-0", "00000000000000zz-1", "0000000000000001-01", "0000000000000001--1"] {
        refused(wrong.parse::<ChangePosition>(), ErrorKind::InvalidInput, Some("position"));
    }
}

#[test]
fn a_position_of_another_open_or_of_the_future_is_lost() {
    let disk = Disk::new();
    let gate = disk.open();
    let flag = gate.flags().define("f").unwrap();
    let mut feed = gate.changes().unwrap();
    change(&gate, flag, 0);
    assert!(item(Kind::FlagChanged { flag })(feed.next()));
    let old = feed.position();
    drop(gate);
    let gate = disk.open();
    for number in 0..10 {
        change(&gate, flag, number);
    }
    let mut resumed = gate.changes_after(old).unwrap();
    assert!(!resumed.is_over());
    assert_eq!((resumed.try_next(), resumed.try_next()), (Some(FeedItem::Lost), None));
    change(&gate, flag, 10);
    assert!(item(Kind::FlagChanged { flag })(resumed.next()));
    let text = resumed.position().to_string();
    let future: ChangePosition = text.replace("-1", "-2").parse().unwrap();
    let mut ahead = gate.changes_after(future).unwrap();
    assert_eq!((ahead.next(), ahead.try_next()), (Some(FeedItem::Lost), None));
}

#[test]
fn a_slow_reader_is_told_that_it_lost_and_holds_nobody_up() {
    for wrong in [0, 255, (1 << 20) + 1] {
        let opened = Portcullis::builder().change_feed(wrong).in_memory();
        refused(opened, ErrorKind::InvalidInput, Some("change_feed"));
    }
    let world = world_with(|builder| builder.change_feed(256));
    let gate = &world.gate;
    let flag = gate.flags().define("f").unwrap();
    let mut exact = gate.changes().unwrap();
    let mut slow = exact.clone();
    for number in 0..256 {
        change(gate, flag, number);
    }
    assert_eq!(told(&mut exact).len(), 256, "all that is kept");
    let mut middle = exact.clone();
    change(gate, flag, 256);
    assert_eq!(slow.try_next(), Some(FeedItem::Lost));
    assert_eq!(slow.try_next(), None, "what it asks for after that has all of it");
    assert_eq!((slow.position(), told(&mut middle).len()), (middle.position(), 1));
    change(gate, flag, 257);
    assert_eq!((told(&mut slow).len(), told(&mut exact).len()), (1, 2));
    // Across the end of a commit that was half dropped.
    gate.permissions()
        .define_many((0..100).map(|n| format!("p{n}")).collect::<Vec<_>>().iter().map(String::as_str))
        .unwrap();
    assert_eq!(told(&mut slow).len(), 100);
}

/// Threads revoke sessions and change rights; each entry finds its change in force, and all come in the order of the log.
fn races(gate: &Portcullis, rounds: usize) {
    let names: Vec<String> = (0..4).map(|number| format!("u{number}")).collect();
    let people: Vec<UserId> = names.iter().map(|name| user(gate, name).id).collect();
    let read = gate.permissions().define("read").unwrap();
    let logins: BTreeMap<SessionId, String> = (0..rounds * names.len())
        .map(|number| log_in(gate, &names[number % names.len()], PASSWORD).unwrap())
        .map(|login| (login.session().id, login.token().as_str().to_owned()))
        .collect();
    let sessions: Vec<SessionId> = logins.keys().copied().collect();
    let mut feed = gate.changes().unwrap();
    let before = gate.audit().head();
    let seen = std::thread::scope(|scope| {
        for part in sessions.chunks(rounds) {
            scope.spawn(move || part.iter().for_each(|session| gate.sessions().revoke(*session).unwrap()));
        }
        for user in &people {
            scope.spawn(move || {
                // Given once and taken once, so that what an entry is about can be told.
                gate.access().grant(*user, read, &Grant::new()).unwrap();
                gate.access().withdraw(*user, read, ScopeId::ROOT).unwrap();
            });
        }
        let mut given: BTreeMap<UserId, bool> = BTreeMap::new();
        let mut seen = Vec::new();
        while seen.len() < sessions.len() + 2 * people.len() {
            let Some(FeedItem::Change(change)) = feed.next_timeout(LONG) else { panic!("an entry") };
            match change.kind {
                Kind::SessionEnded { session, .. } => {
                    assert!(!is_live(gate, &logins[&session]), "an entry before its change");
                    assert_eq!(gate.sessions().live_until(session).unwrap(), None);
                    seen.push(Subject::Session(session));
                }
                Kind::RightsOfUser { user, .. } => {
                    let taken = given.insert(user, true).is_some();
                    let holds = gate.check(user, read).unwrap().is_allowed();
                    assert!(!(taken && holds), "an entry before its change");
                    seen.push(Subject::User(user));
                }
                other => panic!("{other:?}"),
            }
        }
        seen
    });
    assert_eq!(feed.try_next(), None);
    let log = all(|page| gate.audit().list(page)).split_off(usize::try_from(before.length).unwrap());
    let due: Vec<Subject> = log
        .into_iter()
        .map(|record| match record.kind {
            AuditKind::SessionRevoked => record.object.unwrap(),
            _ => record.subject.unwrap(),
        })
        .collect();
    assert_eq!(seen, due, "in the order of the commits");
}

#[test]
fn entries_come_in_the_order_of_the_commits_and_never_before_them() {
    for _ in 0..5 {
        races(
            &world_with(|builder| builder.throttle(portcullis::ThrottlePolicy::new().danger_off())).gate,
            25,
        );
    }
    let disk = Disk::new();
    races(&disk.open(), 25);
}

#[test]
fn who_begins_while_changes_are_made_misses_none() {
    for _ in 0..200 {
        let world = world();
        let (gate, ada) = (&world.gate, world.user("ada").id);
        let login = world.login("ada");
        let begun = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !begun.load(Ordering::SeqCst) {
                    std::hint::spin_loop();
                }
                gate.sessions().revoke(login.session().id).unwrap();
            });
            begun.store(true, Ordering::SeqCst);
            let mut feed = gate.changes().unwrap();
            // Whoever finds it live now is told of its end.
            if is_live(gate, login.token().as_str()) {
                let Some(FeedItem::Change(change)) = feed.next_timeout(LONG) else { panic!("an entry") };
                let ended = Kind::SessionEnded { session: login.session().id, user: ada };
                assert!(change.kind == ended || change.kind == Kind::Everything, "{change:?}");
                assert!(!is_live(gate, login.token().as_str()));
            }
        });
    }
}

#[test]
fn the_end_of_a_session_can_be_asked_without_using_it() {
    let world = world();
    let gate = &world.gate;
    world.user("ada");
    let login = world.login("ada");
    let id = login.session().id;
    let until = |span| Some(later(gate.now(), span));
    assert_eq!(gate.sessions().live_until(id).unwrap(), until(3600));
    world.after(1000);
    assert_eq!(gate.sessions().live_until(id).unwrap(), until(2600), "asking is no use");
    let who = gate.authenticate(login.token()).unwrap();
    assert_eq!(who.live_until().unwrap(), until(3600), "a use");
    for _ in 0..24 {
        world.after(3500);
        gate.authenticate(login.token()).unwrap();
    }
    assert_eq!(who.live_until().unwrap(), Some(login.session().expires), "the absolute end is nearer");
    world.after(24 * 3600 - 1000 - 24 * 3500 - 1);
    assert_eq!(who.live_until().unwrap(), until(1));
    world.after(1);
    assert_eq!(who.live_until().unwrap(), None);
    assert_eq!(gate.sessions().live_until(SessionId::from_number(5)).unwrap(), None);
    gate.close().unwrap();
    refused(who.live_until(), ErrorKind::Stopped, None);
    refused(gate.sessions().live_until(id), ErrorKind::Stopped, None);
}

#[test]
fn what_becomes_of_an_api_key_is_told_and_its_use_is_not() {
    let world = world();
    let gate = &world.gate;
    let ada = world.user("ada").id;
    let mut feed = gate.changes().unwrap();
    let issued = gate.api_keys().create(ada, NewApiKey::new("ci")).unwrap();
    let key = issued.key.id;
    assert_eq!(told(&mut feed), []);
    world.after(60);
    gate.authenticate_key(&issued.token).unwrap();
    gate.maintain(1000).unwrap();
    assert_eq!(told(&mut feed), [], "that it was used");
    gate.api_keys().rotate(key, Duration::from_secs(60)).unwrap();
    assert_eq!(told(&mut feed), [Kind::ApiKeyChanged { key, user: ada }]);
    gate.api_keys().revoke(key).unwrap();
    assert_eq!(told(&mut feed), [Kind::ApiKeyEnded { key, user: ada }]);
}
