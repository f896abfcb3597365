//! How often somebody may be wrong, and what it costs.

mod flood;
mod model;
mod steps;
mod twins;
mod victim;

use crate::support::{OTHER, PASSWORD, World, all, log_in, refused, sound, user, world, world_with};
use portcullis::testing::{FaultPoint, Faults};
use portcullis::{
    AuditKind, AuditRecord, Client, Credentials, Denial, ErrorKind, Method, NewUser, Portcullis, Result,
    Status, Subject, ThrottlePolicy, TriedFrom,
};
use std::collections::HashSet;
use std::sync::Barrier;
use std::time::Duration;

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A client at an address.
pub(crate) fn at(address: &str) -> Client {
    Client::new().ip(address.parse().unwrap())
}

/// `None` for a session, or the refusal.
#[track_caller]
pub(crate) fn attempt(gate: &Portcullis, login: &str, password: &str, client: &Client) -> Option<Denial> {
    match gate.login(&Credentials::password(login, password), client) {
        Ok(_) => None,
        Err(error) => Some(error.denial().unwrap_or_else(|| panic!("{error:?}"))),
    }
}

#[track_caller]
pub(crate) fn wrong(gate: &Portcullis, login: &str, client: &Client) -> Denial {
    attempt(gate, login, OTHER, client).unwrap()
}

/// For how long an attempt is refused.
#[track_caller]
pub(crate) fn held_up(denial: Option<Denial>) -> u64 {
    denial.and_then(Denial::retry_after).unwrap_or_else(|| panic!("{denial:?}")).as_secs()
}

pub(crate) fn records(gate: &Portcullis, kind: AuditKind) -> Vec<AuditRecord> {
    all(|page| gate.audit().by_kind(kind, page))
}

/// So many failures in a row, each as soon as it is taken.
#[track_caller]
pub(crate) fn fail_times(world: &World, login: &str, client: &Client, times: u32) {
    for _ in 0..times {
        if let Some(wait) = wrong(&world.gate, login, client).retry_after() {
            world.clock.advance(wait);
            assert_eq!(wrong(&world.gate, login, client), Denial::Credentials);
        }
    }
}

#[test]
fn from_the_fifth_failure_on_delays_double_to_an_hour() {
    let world = world();
    world.user("ada");
    for _ in 0..4 {
        assert_eq!(wrong(&world.gate, "ada", &Client::new()), Denial::Credentials);
    }
    for due in [30, 60, 120, 240, 480, 960, 1920, 3600, 3600] {
        assert_eq!(wrong(&world.gate, "ada", &Client::new()), Denial::Credentials);
        let hashes = world.gate.password_hashes_computed();
        assert_eq!(held_up(attempt(&world.gate, "ADA", PASSWORD, &Client::new())), due);
        world.clock.advance(secs(due) - Duration::from_millis(1));
        assert_eq!(held_up(attempt(&world.gate, "ada", PASSWORD, &Client::new())), 1);
        assert_eq!(world.gate.password_hashes_computed(), hashes);
        world.clock.advance(Duration::from_millis(1));
    }
    assert_eq!(attempt(&world.gate, "ada", PASSWORD, &Client::new()), None);
    // And that was all of it.
    for _ in 0..5 {
        assert_eq!(wrong(&world.gate, "ada", &Client::new()), Denial::Credentials);
    }
    assert_eq!(held_up(attempt(&world.gate, "ada", PASSWORD, &Client::new())), 30);
    sound(&world.gate);
}

#[test]
fn a_refusal_says_when_to_try_again() {
    let world = world();
    fail_times(&world, "ada", &Client::new(), 5);
    let error = refused(log_in(&world.gate, "ada", PASSWORD), ErrorKind::Denied, None);
    assert_eq!(error.retry_after(), Some(secs(30)));
    assert_eq!(error.to_string(), "denied: too many attempts have failed; try again in 30 s");
    let Some(Denial::Throttled(wait)) = error.denial() else { panic!("{error:?}") };
    assert_eq!((wait.seconds(), wait.duration()), (30, secs(30)));
}

/// NIST SP 800-63B-4, section 3.2.2.
#[test]
fn after_a_hundred_failures_the_right_password_is_refused_until_there_is_another_one() {
    let world = world();
    let ada = world.user("ada").id;
    let here = Client::new();
    fail_times(&world, "ada", &here, 99);
    world.after(3600);
    assert!(!world.gate.users().login_protection(ada).unwrap().is_stopped());
    assert_eq!(attempt(&world.gate, "ada", PASSWORD, &here), None, "below the stop");
    let after = records(&world.gate, AuditKind::LoginAfterFailures);
    assert_eq!(after[0].detail, "password: after 99 failures in a row");

    fail_times(&world, "ada", &here, 100);
    world.after(3600);
    let hashes = world.gate.password_hashes_computed();
    assert_eq!(attempt(&world.gate, "ada", PASSWORD, &here), Some(Denial::Credentials));
    assert_eq!(world.gate.password_hashes_computed(), hashes + 1);
    assert_eq!(held_up(attempt(&world.gate, "ada", PASSWORD, &here)), 3600, "as for a wrong one");
    let protection = world.gate.users().login_protection(ada).unwrap();
    let found = &protection.failures[0];
    assert!(
        protection.is_stopped()
            && protection.refused_until == Some(crate::support::later(world.gate.now(), 3600))
    );
    assert_eq!((found.method, found.from, found.failures), (Method::Password, TriedFrom::Anywhere, 101));
    let stopped = records(&world.gate, AuditKind::LoginStopped);
    assert_eq!(stopped.len(), 1);
    assert_eq!(
        (stopped[0].subject, stopped[0].detail.as_str()),
        (Some(Subject::User(ada)), "password: 100 failures in a row")
    );
    let failed = records(&world.gate, AuditKind::LoginFailure).pop().unwrap();
    assert_eq!(failed.detail, "too many failures in a row");

    world.gate.users().set_password(ada, OTHER).unwrap();
    assert_eq!(attempt(&world.gate, "ada", OTHER, &here), None);
    assert_eq!(world.gate.users().login_protection(ada).unwrap().failures, []);
    sound(&world.gate);
}

#[test]
fn an_administrator_can_clear_the_failures() {
    let world = world();
    let ada = world.user("ada").id;
    assert!(!world.gate.users().clear_login_failures(ada).unwrap(), "there are none");
    fail_times(&world, "ada", &Client::new(), 100);
    assert!(world.gate.users().clear_login_failures(ada).unwrap());
    assert_eq!(attempt(&world.gate, "ada", PASSWORD, &Client::new()), None);
    let cleared = records(&world.gate, AuditKind::LoginFailuresCleared);
    assert_eq!((cleared.len(), cleared[0].subject), (1, Some(Subject::User(ada))));
    let nobody = portcullis::UserId::from_number(77);
    refused(world.gate.users().clear_login_failures(nobody), ErrorKind::NotFound, Some("user"));
    refused(world.gate.users().login_protection(nobody), ErrorKind::NotFound, Some("user"));
    sound(&world.gate);
}

#[test]
fn refused_attempts_leave_one_record_a_delay_and_the_next_one_tells_how_many() {
    let world = world();
    let ada = world.user("ada").id;
    fail_times(&world, "ada", &at("192.0.2.1"), 5);
    let (length, version) = (world.gate.audit().head().length, format!("{:?}", world.gate));
    for _ in 0..40 {
        held_up(attempt(&world.gate, "ada", PASSWORD, &at("192.0.2.1")));
    }
    let throttled = records(&world.gate, AuditKind::LoginThrottled);
    assert_eq!((throttled.len(), world.gate.audit().head().length), (1, length + 1));
    assert_ne!(format!("{:?}", world.gate), version);
    assert_eq!(throttled[0].subject, Some(Subject::User(ada)));
    assert!(throttled[0].detail.starts_with("5 failures in a row at this name from there; refused until "));
    assert!(throttled[0].detail.ends_with("; from 192.0.2.1/32"), "{}", throttled[0].detail);
    let version = format!("{:?}", world.gate);
    held_up(attempt(&world.gate, "ada", PASSWORD, &at("192.0.2.1")));
    assert_eq!(format!("{:?}", world.gate), version, "no commit");
    world.after(30);
    wrong(&world.gate, "ada", &at("192.0.2.1"));
    let failed = records(&world.gate, AuditKind::LoginFailure).pop().unwrap();
    assert_eq!(failed.detail, "wrong password; 40 refused before it");
    held_up(attempt(&world.gate, "ada", PASSWORD, &at("192.0.2.1")));
    assert_eq!(records(&world.gate, AuditKind::LoginThrottled).len(), 2, "another delay");
}

#[test]
fn all_that_is_refused_for_a_secret_reason_is_one_value() {
    let world = world_with(|builder| builder.throttle(ThrottlePolicy::new().stop(5)));
    world.user("ada");
    world.user("stopped");
    world.gate.users().create(NewUser::new("mute")).unwrap();
    for (name, status) in [("off", Status::disabled("gone")), ("shut", Status::locked("shut"))] {
        world.gate.users().create(NewUser::new(name).password(PASSWORD).status(status)).unwrap();
    }
    fail_times(&world, "stopped", &Client::new(), 5);
    world.after(30);
    let mut texts = HashSet::new();
    for (name, password) in [
        ("nobody", PASSWORD),
        ("no name \u{202E}", PASSWORD),
        ("ada", OTHER),
        ("mute", PASSWORD),
        ("off", PASSWORD),
        ("shut", PASSWORD),
        ("stopped", PASSWORD),
    ] {
        let hashes = world.gate.password_hashes_computed();
        let error = log_in(&world.gate, name, password).unwrap_err();
        assert_eq!(error.denial(), Some(Denial::Credentials), "{name}");
        assert_eq!(world.gate.password_hashes_computed(), hashes + 1, "{name}");
        texts.insert(format!("{error} {error:?}"));
    }
    assert_eq!(texts.len(), 1, "{texts:?}");
}

/// With k failures that cost nothing, so many guesses at once compute no more hashes than one after the other.
#[test]
fn wrong_guesses_at_the_same_moment_get_no_more_tries() {
    for client in [Client::new(), at("2001:db8::1")] {
        let world = world();
        world.user("ada");
        let (hashes, start) = (world.gate.password_hashes_computed(), Barrier::new(64));
        let denials: Vec<Denial> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..64)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        wrong(&world.gate, "ada", &client)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(world.gate.password_hashes_computed() - hashes, 5);
        assert_eq!(denials.iter().filter(|denial| **denial == Denial::Credentials).count(), 5);
        assert_eq!(denials.iter().filter(|denial| denial.retry_after() == Some(secs(30))).count(), 59);
        assert_eq!(records(&world.gate, AuditKind::LoginFailure).len(), 5);
        assert_eq!(records(&world.gate, AuditKind::LoginThrottled).len(), 1);
        // After a delay there is one try, and not one a thread.
        world.after(30);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| wrong(&world.gate, "ada", &client));
            }
        });
        assert_eq!(world.gate.password_hashes_computed() - hashes, 6);
        sound(&world.gate);
    }
}

#[test]
fn right_logins_at_the_same_moment_all_succeed() {
    let world = world();
    world.user("ada");
    fail_times(&world, "ada", &Client::new(), 4);
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| assert_eq!(attempt(&world.gate, "ada", PASSWORD, &at("192.0.2.1")), None));
        }
    });
    assert_eq!(records(&world.gate, AuditKind::LoginSuccess).len(), 64);
    assert!(records(&world.gate, AuditKind::LoginThrottled).is_empty());
    sound(&world.gate);
}

#[test]
fn failures_are_remembered_over_a_restart() {
    let disk = crate::support::Disk::new();
    let gate = disk.open();
    user(&gate, "ada");
    for name in ["ada", "nobody"] {
        for _ in 0..5 {
            wrong(&gate, name, &at("192.0.2.1"));
        }
    }
    gate.close().unwrap();
    let gate = disk.open();
    for name in ["ada", "nobody"] {
        assert_eq!(held_up(attempt(&gate, name, PASSWORD, &at("192.0.2.1"))), 30);
    }
    disk.clock.advance(secs(30));
    assert_eq!(wrong(&gate, "nobody", &at("192.0.2.1")), Denial::Credentials);
    assert_eq!(held_up(attempt(&gate, "nobody", PASSWORD, &at("192.0.2.1"))), 60);
    assert_eq!(attempt(&gate, "ada", PASSWORD, &at("192.0.2.1")), None);
    sound(&gate);
}

/// Fail closed: what is not counted is not answered either, and a lost failure is none.
#[test]
fn a_failure_that_can_not_be_written_down_is_an_outage() {
    let faults = Faults::new();
    let world = world_with(|builder| builder.faults(faults.clone()));
    world.user("ada");
    faults.fail(FaultPoint::MemoryCommit, 1);
    let failed = log_in(&world.gate, "ada", OTHER).unwrap_err();
    assert!(failed.is_storage() && !failed.is_denied(), "{failed:?}");
    assert!(log_in(&world.gate, "ada", PASSWORD).unwrap_err().is_storage());

    let disk = crate::support::Disk::new();
    let gate = disk.open();
    user(&gate, "ada");
    for _ in 0..4 {
        wrong(&gate, "ada", &Client::new());
    }
    disk.faults.fail(FaultPoint::JournalWrite, 1);
    assert!(log_in(&gate, "ada", OTHER).unwrap_err().is_storage());
    drop(gate);
    let gate = disk.open();
    assert_eq!(wrong(&gate, "ada", &Client::new()), Denial::Credentials, "the fifth");
    disk.faults.fail(FaultPoint::JournalWrite, 1);
    assert!(log_in(&gate, "ada", PASSWORD).unwrap_err().is_storage(), "the first refusal of a delay");
    drop(gate);
    assert_eq!(held_up(attempt(&disk.open(), "ada", PASSWORD, &Client::new())), 30);
}

#[test]
fn a_clock_that_is_set_back_shortens_no_delay_and_lengthens_none() {
    let world = world();
    let start = portcullis::Clock::now(&world.clock);
    fail_times(&world, "ada", &Client::new(), 5);
    world.after(20);
    let _ = world.gate.now();
    world.clock.set(start);
    assert_eq!(held_up(attempt(&world.gate, "ada", PASSWORD, &Client::new())), 10);
    world.after(10);
    assert_eq!(wrong(&world.gate, "ada", &Client::new()), Denial::Credentials);
}

#[test]
fn settings_that_protect_nothing_are_refused_and_off_is_off() {
    let open = |policy: ThrottlePolicy| -> Result<Portcullis> {
        Portcullis::builder().danger_fast_password_hashes().throttle(policy).in_memory()
    };
    let policy = ThrottlePolicy::new;
    refused(open(policy().stop(101)).map(drop), ErrorKind::InvalidInput, Some("throttle.stop"));
    refused(open(policy().entries(1)).map(drop), ErrorKind::InvalidInput, Some("throttle.entries"));
    let long = policy().delays(4, secs(30), secs(86_401));
    refused(open(long).map(drop), ErrorKind::InvalidInput, Some("throttle.longest"));
    let gate = open(policy().danger_off()).unwrap();
    user(&gate, "ada");
    for _ in 0..120 {
        assert_eq!(wrong(&gate, "ada", &at("192.0.2.1")), Denial::Credentials);
    }
    assert_eq!(attempt(&gate, "ada", PASSWORD, &at("192.0.2.1")), None);
}
