//! Events: told once the change is committed, to whoever listens, and never in anybody's way.

use crate::authenticator::Authenticator;
use crate::support::{Disk, OTHER, PASSWORD, all, later, log_in, refused, user, world, world_with};
use crate::{passkeys, throttle};
use portcullis::testing::FaultPoint;
use portcullis::{
    Client, ContactId, Credentials, ErrorKind, Event, EventKind, LoginOutcome, Method, NewContact, NewUser,
    Notification, Portcullis, Status, StatusKind, Subscription, ThrottlePolicy, UserChange, UserId,
};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// What is there by now.
pub(crate) fn told(events: &Subscription) -> Vec<Event> {
    let taken = std::iter::from_fn(|| events.try_next());
    taken
        .map(|taken| match taken {
            Notification::Event(event) => event,
            other => panic!("{other:?}"),
        })
        .collect()
}

pub(crate) fn kinds(events: &Subscription) -> Vec<EventKind> {
    told(events).into_iter().map(|event| event.kind).collect()
}

#[test]
fn every_change_of_what_one_logs_in_with_is_told_once() {
    let world = world();
    let (gate, ada) = (&world.gate, world.user("ada").id);
    let events = gate.subscribe(64).unwrap();
    let contact = gate.users().add_contact(ada, &NewContact::email("a@x.org")).unwrap().id;
    gate.users().verify_contact(ada, contact).unwrap();
    gate.users().remove_contact(ada, contact).unwrap();
    gate.users().update(ada, UserChange::new().login("countess")).unwrap();
    gate.users().update(ada, UserChange::new().profile([("team".to_owned(), 1.into())].into())).unwrap();
    gate.users().set_password(ada, OTHER).unwrap();
    gate.users().set_status(ada, Status::disabled("why")).unwrap();
    gate.users().set_status(ada, Status::active()).unwrap();
    let told = told(&events);
    assert!(told.iter().all(|event| event.user == Some(ada) && event.time == world.gate.now()));
    let kinds: Vec<EventKind> = told.into_iter().map(|event| event.kind).collect();
    use EventKind as K;
    let contact = K::ContactChanged(contact);
    assert_eq!(
        kinds,
        [
            contact.clone(),
            contact.clone(),
            contact,
            K::LoginNameChanged,
            K::PasswordChanged,
            K::StatusChanged(StatusKind::Disabled),
            K::StatusChanged(StatusKind::Active),
        ]
    );
    assert_eq!(K::PasswordChanged.to_string(), "password_changed");
}

#[test]
fn what_was_refused_or_not_committed_is_not_told() {
    let disk = Disk::new();
    let gate = disk.open();
    let (ada, bob) = (user(&gate, "ada"), user(&gate, "bob"));
    let events = gate.subscribe(64).unwrap();
    let change = || UserChange::new().login("countess");
    gate.users().update(ada.id, change().login("bob")).unwrap_err();
    gate.delegated(bob.id).users().update(ada.id, change()).unwrap_err();
    gate.delegated(bob.id).users().set_password(ada.id, OTHER).unwrap_err();
    gate.users().remove_contact(ada.id, ContactId::from_number(9)).unwrap_err();
    gate.users().set_password(UserId::from_number(9), OTHER).unwrap_err();
    assert!(kinds(&events).is_empty());
    disk.faults.fail(FaultPoint::JournalWrite, 1);
    gate.users().set_password(ada.id, OTHER).unwrap_err();
    assert!(kinds(&events).is_empty());
    drop(gate);
    assert!(log_in(&disk.open(), "ada", PASSWORD).is_ok());
}

#[test]
fn a_change_that_is_planned_again_is_told_once() {
    let world = world();
    let (gate, ada) = (&world.gate, world.user("ada").id);
    let events = gate.subscribe(1000).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || {
                for round in 0..10 {
                    let contact = NewContact::email(format!("a{thread}.{round}@x.org"));
                    gate.users().add_contact(ada, &contact).unwrap();
                }
            });
        }
    });
    let mut ids: Vec<ContactId> = kinds(&events)
        .into_iter()
        .map(|kind| match kind {
            EventKind::ContactChanged(id) => id,
            other => panic!("{other}"),
        })
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..80).map(ContactId::from_number).collect::<Vec<_>>());
}

#[test]
fn a_slow_subscriber_loses_the_oldest_and_is_told_so() {
    let world = world();
    let (gate, ada) = (&world.gate, world.user("ada").id);
    for wrong in [0, 65_537] {
        refused(gate.subscribe(wrong).map(drop), ErrorKind::InvalidInput, Some("capacity"));
    }
    let (slow, quick) = (gate.subscribe(3).unwrap(), gate.subscribe(65_536).unwrap());
    for number in 0..10 {
        gate.users().add_contact(ada, &NewContact::email(format!("a{number}@x.org"))).unwrap();
    }
    assert_eq!(format!("{slow:?}"), "Subscription { waiting: 3, lost: 7, .. }");
    assert_eq!(slow.try_next(), Some(Notification::Lost(7)));
    let changed = |ids: std::ops::Range<u32>| -> Vec<EventKind> {
        ids.map(|id| EventKind::ContactChanged(ContactId::from_number(id))).collect()
    };
    assert_eq!(kinds(&slow), changed(7..10));
    assert_eq!(kinds(&quick), changed(0..10));
    drop(slow);
    gate.users().set_password(ada, OTHER).unwrap();
    assert_eq!(kinds(&quick), [EventKind::PasswordChanged]);
    assert!(kinds(&gate.subscribe(3).unwrap()).is_empty(), "from now on only");
}

#[test]
fn waiting_ends_with_an_event_with_patience_or_with_the_database() {
    let world = world();
    let ada = world.user("ada").id;
    let mut events = world.gate.subscribe(8).unwrap();
    assert_eq!(events.next_timeout(Duration::from_millis(1)), None);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| events.next());
        world.gate.users().set_password(ada, OTHER).unwrap();
        let Some(Notification::Event(event)) = waiting.join().unwrap() else { panic!("an event") };
        assert_eq!(event.kind, EventKind::PasswordChanged);
    });
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| events.next_timeout(Duration::from_secs(60)));
        world.gate.users().set_status(ada, Status::active()).unwrap();
        assert!(waiting.join().unwrap().is_some());
    });
    world.gate.users().set_password(ada, PASSWORD).unwrap();
    let closing = world.gate.subscribe(8).unwrap();
    let also = world.gate.clone();
    drop(world);
    let waiting = std::thread::spawn(move || events.count());
    let last = std::thread::spawn(move || closing.count());
    also.close().unwrap();
    assert_eq!((waiting.join().unwrap(), last.join().unwrap()), (1, 0), "what was there is still read");
    assert_eq!(also.subscribe(1).unwrap().count(), 0);

    let gate = Portcullis::in_memory().unwrap();
    let mut events = gate.subscribe(1).unwrap();
    let waiting = std::thread::spawn(move || events.next());
    drop(gate);
    assert_eq!(waiting.join().unwrap(), None);
}

/// OWASP ASVS 5.0, 15.4.3 and 16.5.4: no callback under a lock, and none that can break anything.
#[test]
fn a_function_of_the_application_may_panic_call_back_and_take_its_time() {
    let (seen, gate) = (Arc::new(Mutex::new(Vec::new())), Arc::new(OnceLock::<Portcullis>::new()));
    let (kinds_seen, inner, calls) = (Arc::clone(&seen), Arc::clone(&gate), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&calls);
    let built = Portcullis::builder()
        .danger_fast_password_hashes()
        .on_event(|_| panic!("a fault of the application"))
        .on_event(move |event| {
            counted.fetch_add(1, Ordering::SeqCst);
            let gate = inner.get().unwrap();
            let user = event.user.unwrap();
            // Reads, writes, subscribes, and makes another event.
            gate.users().add_contact(user, &NewContact::email("told@x.org")).unwrap();
            gate.verify().unwrap();
            drop(gate.subscribe(1).unwrap());
        })
        .on_event(move |event| kinds_seen.lock().unwrap().push(event.kind.clone()))
        .in_memory()
        .unwrap();
    let gate = gate.get_or_init(|| built);
    let ada = gate.users().create(NewUser::new("ada").password(PASSWORD)).unwrap().id;
    let events = gate.subscribe(8).unwrap();
    gate.users().set_password(ada, OTHER).unwrap();
    assert_eq!(gate.event_panics(), 1);
    assert_eq!(calls.load(Ordering::SeqCst), 1, "not for what it caused itself");
    let contact = EventKind::ContactChanged(ContactId::from_number(0));
    assert_eq!(kinds(&events), [EventKind::PasswordChanged, contact]);
    gate.users().set_status(ada, Status::active()).unwrap();
    assert_eq!((gate.event_panics(), calls.load(Ordering::SeqCst)), (2, 2), "and again");
    assert_eq!(
        *seen.lock().unwrap(),
        [EventKind::PasswordChanged, EventKind::StatusChanged(StatusKind::Active)]
    );
    let who = Credentials::password("ada", OTHER);
    assert!(gate.login(&who, &Client::new()).is_ok());
}

#[test]
fn what_happens_to_a_passkey_is_told() {
    let world = world();
    let gate = &world.gate;
    let ada = passkeys::person(gate, "ada");
    let events = gate.subscribe(8).unwrap();
    let mut device = Authenticator { counter: 5, ..Authenticator::named("ada") };
    let id = passkeys::register(gate, ada, &mut device).unwrap().id;
    assert_eq!(kinds(&events), [EventKind::PasskeyChanged(id)]);
    device.counter = 0;
    passkeys::log_in(gate, &mut device).unwrap_err();
    assert_eq!(kinds(&events), [EventKind::PasskeySuspended(id)]);
    gate.passkeys().remove(ada, id).unwrap();
    let told = told(&events);
    assert_eq!((told[0].user, told[0].kind.clone()), (Some(ada), EventKind::PasskeyChanged(id)));
}

#[test]
fn what_the_throttle_does_is_told_once_a_delay_and_kept_in_the_history() {
    let policy = ThrottlePolicy::new().delays(2, Duration::from_secs(30), Duration::from_secs(3600)).stop(7);
    let world = world_with(|builder| builder.throttle(policy.source(1000).stuffing(4, 6)));
    let (gate, ada) = (&world.gate, world.user("ada").id);
    let events = gate.subscribe(64).unwrap();
    let here = Client::new().ip([192, 0, 2, 7].into());
    throttle::fail_times(&world, "ada", &here, 3);
    assert_eq!(kinds(&events), []);
    let refused = throttle::attempt(gate, "ada", PASSWORD, &here);
    let until = later(gate.now(), throttle::held_up(refused));
    throttle::attempt(gate, "ada", PASSWORD, &here);
    let told = told(&events);
    assert_eq!(
        told.iter().map(|event| event.kind.clone()).collect::<Vec<_>>(),
        [EventKind::LoginThrottled(until)]
    );
    assert_eq!((told[0].user, &told[0].client), (Some(ada), &here));
    let past = all(|page| gate.history().of_user(ada, page));
    let found: Vec<_> = past.iter().map(|entry| (entry.outcome, entry.attempts)).collect();
    assert_eq!(found, [(LoginOutcome::Throttled, 1), (LoginOutcome::WrongPassword, 3)]);

    world.after(3600);
    throttle::fail_times(&world, "ada", &here, 4);
    let stopped = kinds(&events).into_iter().filter(|kind| matches!(kind, EventKind::LoginStopped(_)));
    assert_eq!(stopped.collect::<Vec<_>>(), [EventKind::LoginStopped(Method::Password)]);

    // Names that nobody has are held up without an event: there is nobody to tell.
    let elsewhere = Client::new().ip([198, 51, 100, 1].into());
    throttle::fail_times(&world, "nobody", &elsewhere, 4);
    assert_eq!(kinds(&events), []);
    for number in 0..40 {
        throttle::attempt(gate, &format!("name{number}"), OTHER, &elsewhere);
    }
    let [EventKind::CredentialStuffing(network)] = kinds(&events)[..] else { panic!("one event") };
    assert_eq!(network.to_string(), "198.51.100.1/32");
}
