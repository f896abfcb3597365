//! Login history: what is written with each attempt, what it takes to push something out, and what is told of it.

use crate::events::{kinds, told};
use crate::factors::{challenge, denied, keys};
use crate::support::{Disk, OTHER, PASSWORD, all, log_in, patient, refused, sound, user, world_with};
use portcullis::testing::{FaultPoint, dump};
use portcullis::{
    Answer, AuditKind, Client, Credentials, Denial, ErrorKind, EventKind, HistoryPolicy, LoginOutcome as O,
    Method, Methods, PageRequest, PastLogin, Portcullis, Status, UserId,
};
use std::collections::BTreeSet;
use std::time::Duration;

const DAY: u64 = 86_400;

fn at(host: u8) -> Client {
    Client::new().ip([192, 0, host, 7].into())
}

fn past(gate: &Portcullis, user: UserId) -> Vec<PastLogin> {
    all(|page| gate.history().of_user(user, page))
}

fn outcomes(gate: &Portcullis, user: UserId) -> Vec<(O, u32)> {
    past(gate, user).into_iter().map(|login| (login.outcome, login.attempts)).collect()
}

fn attempt(gate: &Portcullis, password: &str, client: &Client) -> bool {
    gate.login(&Credentials::password("ada", password), client).is_ok()
}

#[test]
fn each_attempt_of_a_known_user_is_there_with_all_that_the_client_said() {
    let world = world_with(patient);
    let (gate, ada) = (&world.gate, world.user("ada").id);
    assert!(past(gate, ada).is_empty());
    assert_eq!(gate.history().last_login(ada).unwrap(), None);
    let agent = format!("{}é", "a".repeat(159));
    let client = Client::new().device("laptop").ip("2001:db8:1:2::3".parse().unwrap()).user_agent(&agent);
    log_in(gate, "nobody", PASSWORD).unwrap_err();
    assert!(!attempt(gate, OTHER, &client));
    world.after(1);
    let login = gate.login(&Credentials::password("ada", PASSWORD), &client).unwrap();
    let found = past(gate, ada);
    assert_eq!(found.len(), 2);
    let [success, failure] = [&found[0], &found[1]];
    assert_eq!((success.outcome, success.methods), (O::Success, Methods::of(Method::Password)));
    assert_eq!((success.session, success.device), (Some(login.session().id), login.session().device));
    assert_eq!((failure.outcome, failure.methods), (O::WrongPassword, Methods::NONE));
    assert_eq!((failure.session, failure.device), (None, None));
    for entry in &found {
        assert_eq!(entry.source, client.source());
        assert_eq!(entry.network.unwrap().to_string(), "2001:db8:1::/48");
        assert_eq!((entry.device_name.as_str(), entry.user_agent.len()), ("laptop", 159), "a whole letter");
    }
    assert_eq!(success.time.since(failure.time), Duration::from_secs(1));
    assert_eq!(gate.history().last_login(ada).unwrap(), Some(success.time));
    // The token of a known device is noted with a failure, too.
    let known = client.device_token(login.device_token().unwrap());
    assert!(!attempt(gate, OTHER, &known));
    assert_eq!(past(gate, ada)[0].device, success.device);
    sound(gate);
}

#[test]
fn what_the_true_reason_was_is_for_the_user_to_see() {
    let world = world_with(|builder| {
        builder.context_rule(|context: &portcullis::CheckContext<'_>| {
            context.client().is_none_or(|client| client.device_name() != "banned")
        })
    });
    let (gate, ada) = (&world.gate, world.user("ada").id);
    assert!(!attempt(gate, PASSWORD, &Client::new().device("banned")));
    gate.users().set_status(ada, Status::disabled("why")).unwrap();
    world.after(7200);
    assert!(!attempt(gate, PASSWORD, &at(1)));
    let found = past(gate, ada);
    assert!(found.iter().all(|entry| entry.outcome == O::NotAllowed));
    assert!(found.iter().all(|entry| entry.methods == Methods::of(Method::Password)));
    assert_eq!(found.len(), 2);
    assert_eq!(O::NotAllowed.to_string(), "not_allowed");
}

#[test]
fn like_attempts_within_an_hour_are_one_entry_and_a_success_comes_between() {
    let world = world_with(patient);
    let (gate, ada) = (&world.gate, world.user("ada").id);
    // Two sources that take turns, and one more in the network of the first.
    for round in 0..3 {
        world.after(600);
        assert!(!attempt(gate, OTHER, &at(1)) && !attempt(gate, OTHER, &at(2)));
        assert!(!attempt(gate, OTHER, &Client::new().ip([192, 0, 1, round].into())));
    }
    assert_eq!(outcomes(gate, ada), [(O::WrongPassword, 3), (O::WrongPassword, 6)]);
    assert_eq!(past(gate, ada)[1].source, Some([192, 0, 1, 2].into()), "the last one's");
    assert!(attempt(gate, PASSWORD, &at(1)));
    assert!(!attempt(gate, OTHER, &at(1)));
    assert_eq!(
        outcomes(gate, ada).into_iter().collect::<BTreeSet<_>>(),
        BTreeSet::from([
            (O::WrongPassword, 1),
            (O::Success, 1),
            (O::WrongPassword, 3),
            (O::WrongPassword, 6)
        ])
    );
    world.after(3601);
    assert!(!attempt(gate, OTHER, &at(1)));
    assert_eq!(past(gate, ada)[0].attempts, 1, "an hour is over");
}

/// STANDARDS T22: who floods somebody's account with failures neither fills the disk nor wipes out what matters.
#[test]
fn a_flood_of_failures_pushes_out_no_success_and_nothing_that_knew_the_password() {
    let world = world_with(patient);
    let (gate, ada) = (&world.gate, world.user("ada").id);
    gate.users().set_status(ada, Status::disabled("why")).unwrap();
    assert!(!attempt(gate, PASSWORD, &at(1)), "somebody who knew the password");
    gate.users().set_status(ada, Status::active()).unwrap();
    assert!(attempt(gate, PASSWORD, &at(1)));
    let agent = "x".repeat(512);
    let flood = |from: u16, to: u16| {
        for n in from..to {
            let [a, b] = n.to_be_bytes();
            let client = Client::new().ip([10, a, b, 1].into()).device("d".repeat(128)).user_agent(&agent);
            assert!(!attempt(gate, OTHER, &client));
        }
    };
    flood(0, 200);
    let count = |gate: &Portcullis| {
        let rows = dump(gate).unwrap();
        let mine = rows.into_iter().filter(|row| row.table.starts_with("login_"));
        mine.fold((0, 0), |(rows, bytes), row| (rows + 1, bytes + row.key.len() + row.value.len()))
    };
    let before = count(gate);
    flood(200, 400);
    let after = count(gate);
    assert_eq!(before.0, after.0, "no row more");
    assert!(after.1 < 30_000, "{} bytes of hostile texts for one user", after.1);
    let found = outcomes(gate, ada);
    assert_eq!(found.iter().filter(|found| found.0 == O::WrongPassword).count(), 50);
    assert_eq!(found[50..], [(O::Success, 1), (O::NotAllowed, 1)]);
    sound(gate);
}

#[test]
fn each_sort_has_the_bound_that_the_policy_gives_it() {
    let world = world_with(|builder| patient(builder).history(HistoryPolicy::new().entries(3, 2, 0)));
    let (gate, ada) = (&world.gate, world.user("ada").id);
    for round in 0..20 {
        world.after(4000);
        attempt(gate, OTHER, &at(round));
        attempt(gate, PASSWORD, &at(round));
        gate.users().set_status(ada, Status::disabled("why")).unwrap();
        attempt(gate, PASSWORD, &at(round));
        gate.users().set_status(ada, Status::active()).unwrap();
    }
    let mut found: Vec<O> = past(gate, ada).into_iter().map(|entry| entry.outcome).collect();
    found.sort_by_key(|outcome| outcome.name());
    assert_eq!(found, [O::Success, O::Success, O::Success, O::WrongPassword, O::WrongPassword]);
    for (field, policy) in [
        ("history.entries", HistoryPolicy::new().entries(0, 1, 1)),
        ("history.entries", HistoryPolicy::new().entries(1, 10_001, 1)),
        ("history.networks", HistoryPolicy::new().networks(0)),
        ("history.networks", HistoryPolicy::new().networks(65)),
        ("history.suspicious_failures", HistoryPolicy::new().suspicious_failures(0)),
    ] {
        refused(
            Portcullis::builder().history(policy).in_memory().map(drop),
            ErrorKind::InvalidInput,
            Some(field),
        );
    }
}

#[test]
fn pages_go_from_the_newest_to_the_oldest_and_belong_to_one_user() {
    let world = world_with(patient);
    let (gate, ada, bob) = (&world.gate, world.user("ada").id, world.user("bob").id);
    for round in 0..30 {
        world.after(4000);
        attempt(gate, if round % 3 == 0 { PASSWORD } else { OTHER }, &at(round));
    }
    let found = past(gate, ada);
    assert_eq!(found.len(), 30);
    assert!(found.windows(2).all(|pair| pair[0].time > pair[1].time));
    let whole = gate.history().of_user(ada, &PageRequest::first(30)).unwrap();
    assert_eq!((whole.items, whole.next), (found, None));
    let next = gate.history().of_user(ada, &PageRequest::first(3)).unwrap().next;
    let page = PageRequest::first(3).after(next);
    refused(gate.history().of_user(bob, &page), ErrorKind::InvalidInput, Some("cursor"));
    refused(gate.users().list(&page), ErrorKind::InvalidInput, Some("cursor"));
    let foreign = PageRequest::first(3).after(gate.users().list(&PageRequest::first(1)).unwrap().next);
    refused(gate.history().of_user(ada, &foreign), ErrorKind::InvalidInput, Some("cursor"));
    let wrong = PageRequest::first(3).descending();
    refused(gate.history().of_user(ada, &wrong), ErrorKind::InvalidInput, Some("page"));
    let nobody = UserId::from_number(99);
    refused(gate.history().of_user(nobody, &PageRequest::first(3)), ErrorKind::NotFound, Some("user"));
    refused(gate.history().last_login(nobody), ErrorKind::NotFound, Some("user"));
    refused(gate.history().networks(nobody), ErrorKind::NotFound, Some("user"));
}

#[test]
fn what_is_unusual_about_a_login_is_told_and_the_first_one_is_not() {
    use EventKind as K;
    let world = world_with(patient);
    let (gate, ada) = (&world.gate, world.user("ada").id);
    let events = gate.subscribe(64).unwrap();
    let first = gate.login(&Credentials::password("ada", PASSWORD), &at(1)).unwrap();
    assert!(kinds(&events).is_empty());
    let known = at(1).device_token(first.device_token().unwrap());
    assert!(attempt(gate, PASSWORD, &known));
    assert!(kinds(&events).is_empty());

    let elsewhere = at(2).device("phone").user_agent("agent");
    let login = gate.login(&Credentials::password("ada", PASSWORD), &elsewhere).unwrap();
    let told = told(&events);
    let network = login_network(gate, ada);
    assert_eq!(
        told.iter().map(|event| event.kind.clone()).collect::<Vec<_>>(),
        [K::NewDevice, K::NewNetwork(network)]
    );
    for event in told {
        assert_eq!((event.user, event.session), (Some(ada), Some(login.session().id)));
        assert_eq!((event.client, event.device), (elsewhere.clone(), login.session().device));
        assert_eq!(event.time, gate.now());
    }

    for _ in 0..5 {
        attempt(gate, OTHER, &at(3));
    }
    assert!(kinds(&events).is_empty());
    assert!(attempt(gate, PASSWORD, &known));
    assert_eq!(kinds(&events), [K::SuccessAfterFailures(5)]);
    for _ in 0..4 {
        attempt(gate, OTHER, &at(3));
    }
    assert!(attempt(gate, PASSWORD, &known));
    assert!(kinds(&events).is_empty(), "four are usual");

    let last = gate.history().last_login(ada).unwrap().unwrap();
    world.after(90 * DAY);
    assert!(attempt(gate, PASSWORD, &known));
    assert_eq!(kinds(&events), [K::FirstAfterLongIdle(last)]);
    let written = |kind| all(|page| gate.audit().by_kind(kind, page)).len();
    assert_eq!(written(AuditKind::LoginAfterIdle), 1);
    // A change of one's own password goes on with the device of the session.
    let login = gate.login(&Credentials::password("ada", PASSWORD), &known).unwrap();
    let changed = gate.change_password(login.token(), PASSWORD, OTHER, &at(1)).unwrap();
    assert_eq!(changed.session().device, login.session().device);
    assert_eq!(kinds(&events), [K::PasswordChanged]);
}

fn login_network(gate: &Portcullis, user: UserId) -> portcullis::Network {
    past(gate, user)[0].network.unwrap()
}

#[test]
fn networks_are_bounded_and_the_one_seen_longest_ago_makes_way() {
    let world = world_with(patient);
    let (gate, ada) = (&world.gate, world.user("ada").id);
    let client = |host: u8| {
        world.after(4000);
        at(host)
    };
    for host in 0..16 {
        attempt(gate, PASSWORD, &client(host));
    }
    attempt(gate, PASSWORD, &client(0));
    let events = gate.subscribe(64).unwrap();
    let new = |host| {
        assert!(attempt(gate, PASSWORD, &client(host)));
        kinds(&events).iter().any(|kind| matches!(kind, EventKind::NewNetwork(_)))
    };
    assert!(new(16), "and 1 has gone");
    assert_eq!(gate.history().networks(ada).unwrap().len(), 16);
    assert!(!new(0) && !new(2) && new(1));
    assert_eq!(gate.history().networks(ada).unwrap()[0].network.to_string(), "192.0.1.0/24");
    world.after(90 * DAY + 1);
    assert!(gate.history().networks(ada).unwrap().is_empty());
    assert!(new(0), "as good as forgotten");
}

/// OWASP ASVS 5.0, 14.2.7: nothing is kept for longer than is said.
#[test]
fn what_is_too_old_is_removed_but_for_the_time_of_the_last_login() {
    let world = world_with(patient);
    let (gate, ada) = (&world.gate, world.user("ada").id);
    for host in 0..40 {
        attempt(gate, PASSWORD, &at(host));
        attempt(gate, OTHER, &at(host));
    }
    let last = gate.history().last_login(ada).unwrap();
    world.after(90 * DAY);
    assert_eq!(past(gate, ada).len(), 80);
    assert_eq!(gate.maintain(1000).unwrap().history, 0);
    world.after(1);
    assert!(past(gate, ada).is_empty(), "hidden at once");
    world.after(DAY);
    let mut removed = 0;
    loop {
        let done = gate.maintain(50).unwrap();
        removed += done.history;
        if !done.more {
            break;
        }
    }
    assert_eq!(removed, 80);
    assert_eq!(gate.history().last_login(ada).unwrap(), last);
    let left: Vec<_> = dump(gate)
        .unwrap()
        .into_iter()
        .filter(|row| row.table.starts_with("login_") || row.table == "device")
        .collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].value.len() < 40);
    assert_eq!(gate.maintain(1000).unwrap().history, 0);
    assert!(attempt(gate, PASSWORD, &at(1)));
    assert_eq!(outcomes(gate, ada), [(O::Success, 1)]);
    gate.users().delete(ada).unwrap();
    assert!(dump(gate).unwrap().iter().all(|row| !row.table.starts_with("login_") && row.table != "device"));
    sound(gate);
}

#[test]
fn of_many_logins_at_once_the_history_has_all_and_each_is_judged_by_those_before_it() {
    let world = world_with(patient);
    let (gate, ada) = (&world.gate, world.user("ada").id);
    let events = gate.subscribe(1000).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..64 {
            scope.spawn(move || {
                assert!(attempt(gate, PASSWORD, &at(thread)));
                assert!(!attempt(gate, OTHER, &at(thread)));
            });
        }
    });
    let found = past(gate, ada);
    let successes: BTreeSet<_> =
        found.iter().filter(|entry| entry.outcome == O::Success).map(|entry| entry.session).collect();
    assert_eq!(successes.len(), 64);
    let failures: u32 = found.iter().filter(|e| e.outcome == O::WrongPassword).map(|e| e.attempts).sum();
    assert!(failures == 64 || found.len() == 64 + 50, "{failures}");
    let told = kinds(&events);
    let new = |device: bool| {
        told.iter()
            .filter(|kind| match kind {
                EventKind::NewDevice => device,
                EventKind::NewNetwork(_) => !device,
                _ => false,
            })
            .count()
    };
    assert_eq!((new(true), new(false)), (63, 63), "all but the first");
    assert_eq!(all(|page| gate.devices().of_user(ada, page)).len(), 32);
    assert_eq!(gate.history().networks(ada).unwrap().len(), 16);
    sound(gate);
}

#[test]
fn a_login_that_is_not_committed_is_in_no_history_and_told_to_nobody() {
    for (point, committed) in
        [(FaultPoint::JournalWrite, false), (FaultPoint::JournalSync, false), (FaultPoint::Apply, true)]
    {
        for right in [true, false] {
            let disk = Disk::new();
            let gate = disk.open_with(patient).unwrap();
            let ada = user(&gate, "ada").id;
            assert!(attempt(&gate, PASSWORD, &at(1)));
            let before = (past(&gate, ada), all(|page| gate.sessions().of_user(ada, page)).len());
            let events = gate.subscribe(8).unwrap();
            disk.faults.fail(point, 1);
            assert!(!attempt(&gate, if right { PASSWORD } else { OTHER }, &at(2)));
            assert!(kinds(&events).is_empty(), "{point:?}");
            drop(gate);
            let gate = disk.open_with(patient).unwrap();
            let after = (past(&gate, ada), all(|page| gate.sessions().of_user(ada, page)).len());
            if after != before {
                // What was in the journal is done, whole: the entry and the session.
                assert!(committed || point == FaultPoint::JournalSync, "{point:?}");
                assert_eq!((after.0.len(), after.1), (2, 1 + usize::from(right)), "{point:?}");
            }
            sound(&gate);
        }
    }
}

#[test]
fn the_history_is_still_there_after_a_reopening() {
    let disk = Disk::new();
    let gate = disk.open_with(patient).unwrap();
    let ada = user(&gate, "ada").id;
    for _ in 0..6 {
        assert!(!attempt(&gate, OTHER, &at(1)));
    }
    assert!(attempt(&gate, PASSWORD, &at(1)));
    let before = past(&gate, ada);
    gate.close().unwrap();
    let gate = disk.open_with(patient).unwrap();
    assert_eq!(past(&gate, ada), before);
    let events = gate.subscribe(8).unwrap();
    assert!(attempt(&gate, PASSWORD, &at(2)));
    assert_eq!(kinds(&events).len(), 2, "a device and a network, and no failures");
}

/// OWASP ASVS 5.0, 6.3.5: somebody who has the password and not the second factor.
#[test]
fn what_was_proved_without_the_second_factor_is_kept_apart_and_told() {
    let world = world_with(|builder| builder.keys(keys()));
    let (gate, ada) = (&world.gate, world.user("ada").id);
    let codes = gate.factors().issue_recovery_codes(ada).unwrap();
    let app = gate.factors().enrol_totp(ada, "phone").unwrap();
    let code = |secret| portcullis::testing::totp_code(secret, gate.now()).unwrap();
    let events = gate.subscribe(64).unwrap();
    gate.factors().confirm_totp(ada, app.factor(), &code(app.secret())).unwrap();
    assert_eq!(kinds(&events), [EventKind::FactorChanged(app.factor())]);

    let known = Methods::of(Method::Password);
    let wrong = Answer::totp("000000");
    let mut login = challenge(gate, "ada");
    for _ in 0..4 {
        denied(&gate.answer(login.token(), &wrong, &at(9)).unwrap(), Denial::Credentials);
    }
    assert_eq!(kinds(&events), [], "people mistype");
    denied(&gate.answer(login.token(), &wrong, &at(9)).unwrap(), Denial::Credentials);
    let [event] = &told(&events)[..] else { panic!("one event") };
    assert_eq!((&event.kind, event.client.source()), (&EventKind::PartialLogin(known), at(9).source()));
    let found = past(gate, ada);
    assert_eq!(
        found.iter().map(|entry| (entry.outcome, entry.attempts, entry.methods)).collect::<Vec<_>>(),
        [(O::WrongFactor, 5, known), (O::StepPassed, 1, known)]
    );

    // Left alone, it is told when it is swept.
    login = challenge(gate, "ada");
    world.after(601);
    assert_eq!(gate.maintain(100).unwrap().abandoned_logins, 1);
    assert_eq!(kinds(&events), [EventKind::PartialLogin(known)]);

    let step = gate.answer(challenge(gate, "ada").token(), &Answer::recovery_code(codes[0].as_str()), &at(1));
    let both = step.unwrap().done().unwrap();
    assert_eq!(kinds(&events), [EventKind::RecoveryCodeUsed]);
    assert_eq!(past(gate, ada)[0].methods, both.session().methods);
    gate.factors().remove(ada, app.factor()).unwrap();
    assert_eq!(kinds(&events), [EventKind::FactorChanged(app.factor())]);
    gate.users().mark_password_compromised(ada).unwrap();
    assert_eq!(kinds(&events), [EventKind::PasswordCompromised]);
    drop(login);
    sound(gate);
}

#[test]
fn a_policy_that_was_tightened_keeps_nobody_out_and_holds_after_some_logins() {
    let disk = Disk::new();
    let most = HistoryPolicy::new().devices(64).networks(64);
    let gate = disk.open_with(|builder| builder.history(most)).unwrap();
    let ada = user(&gate, "ada").id;
    let networks = |gate: &Portcullis| gate.history().networks(ada).unwrap().len();
    let devices = |gate: &Portcullis| all(|page| gate.devices().of_user(ada, page)).len();
    for host in 0..64 {
        assert!(attempt(&gate, PASSWORD, &at(host)));
    }
    assert_eq!((devices(&gate), networks(&gate), past(&gate, ada).len()), (64, 64, 64));
    gate.close().unwrap();
    let least = HistoryPolicy::new().devices(1).networks(1).entries(1, 1, 1);
    let gate = disk.open_with(|builder| builder.history(least)).unwrap();
    for host in 64..100 {
        assert!(attempt(&gate, PASSWORD, &at(host)));
    }
    assert_eq!((devices(&gate), networks(&gate), past(&gate, ada).len()), (1, 1, 1));
    sound(&gate);
}
