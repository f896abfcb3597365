//! What ends API keys, and how often they are accepted.

use crate::api_keys::{DAY, accepted, days, scene};
use crate::support::{Disk, PASSWORD, all, log_in, refused, sound, world};
use portcullis::{ApiKeyChange, AuditKind, ErrorKind, NewApiKey, RateLimit, Status, Subject};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[test]
fn a_key_ends_at_its_end_and_never_after_it() {
    let world = world();
    let gate = &world.gate;
    let s = scene(gate);
    let keys = gate.api_keys();
    let default = keys.create(s.ada, NewApiKey::new("default")).unwrap();
    assert_eq!(default.key.expires, Some(default.key.created.saturating_add(days(90))));
    let short = keys.create(s.ada, NewApiKey::new("short").expires_in(Duration::from_secs(60))).unwrap();
    let idle = keys
        .create(s.ada, NewApiKey::new("idle").never_expires().idle_timeout(Duration::from_secs(100)))
        .unwrap();
    let endless = keys.create(s.ada, NewApiKey::new("endless").never_expires()).unwrap();
    assert_eq!(endless.key.expires, None);
    let live = || [&default, &short, &idle, &endless].map(|made| accepted(gate, made.token.as_str()));
    world.after(59);
    assert_eq!(live(), [true; 4]);
    world.after(1);
    assert_eq!(live(), [true, false, true, true]);
    refused(keys.get(short.key.id), ErrorKind::NotFound, Some("key"));
    for _ in 0..5 {
        world.after(99);
        assert_eq!(live(), [true, false, true, true]);
        // What is written back keeps an idle key from being removed.
        gate.maintain(1000).unwrap();
    }
    assert_eq!(keys.get(idle.key.id).unwrap().last_used, Some(gate.now()));
    world.after(100);
    assert_eq!(live(), [true, false, false, true]);
    let done = gate.maintain(1000).unwrap();
    assert_eq!(done.expired_keys, 1);
    world.after(90 * DAY);
    assert_eq!(live(), [false, false, false, true]);
    gate.maintain(1000).unwrap();
    assert_eq!(gate.statistics().api_keys, 1);
    let swept = all(|page| gate.audit().by_kind(AuditKind::ApiKeysExpired, page));
    assert_eq!(swept.len(), 3);
    sound(gate);
}

#[test]
fn the_last_use_is_noted_once_a_second_and_written_back_together() {
    let disk = Disk::new();
    let gate = disk.open();
    let s = scene(&gate);
    let made = gate.api_keys().create(s.ada, NewApiKey::new("key")).unwrap();
    let session = log_in(&gate, "ada", PASSWORD).unwrap();
    assert_eq!(made.key.last_used, None);
    assert_eq!(gate.api_keys().get(made.key.id).unwrap().last_used, None);
    for seconds in [0, 1, 30] {
        disk.clock.advance(Duration::from_secs(seconds));
        for _ in 0..3 {
            gate.authenticate_key(&made.token).unwrap();
            gate.authenticate(session.token()).unwrap();
        }
        assert_eq!(gate.api_keys().get(made.key.id).unwrap().last_used, Some(gate.now()));
    }
    assert_eq!(gate.maintain(1000).unwrap().seen_written, 2);
    assert_eq!(gate.maintain(1000).unwrap().seen_written, 0);
    let used = gate.now();
    drop(gate);
    disk.clock.advance(Duration::from_secs(10));
    let gate = disk.open();
    let found = gate.api_keys().get(made.key.id).unwrap();
    assert_eq!(found.last_used, Some(used));
    assert!(accepted(&gate, made.token.as_str()));
    sound(&gate);
}

#[test]
fn two_keys_live_side_by_side_while_one_takes_the_place_of_the_other() {
    let world = world();
    let gate = &world.gate;
    let s = scene(gate);
    let keys = gate.api_keys();
    let limit = RateLimit::new(1000, Duration::from_secs(1)).unwrap();
    let new = NewApiKey::new("ci").only([s.read]).at([s.acme]).rate(limit).expires_in(days(10));
    let old = keys.create(s.ada, new).unwrap();
    world.after(DAY);
    let next = keys.rotate(old.key.id, Duration::from_secs(60)).unwrap();
    assert_ne!((next.key.id, next.token.as_str()), (old.key.id, old.token.as_str()));
    let same =
        |key: &portcullis::ApiKey| (key.name.clone(), key.permissions.clone(), key.scopes.clone(), key.rate);
    assert_eq!(same(&next.key), same(&old.key));
    assert_eq!(
        next.key.expires,
        Some(gate.now().saturating_add(days(10))),
        "as long as the old one at first"
    );
    let replaced = keys.get(old.key.id).unwrap();
    assert_eq!(replaced.replaced_by, Some(next.key.id));
    assert_eq!(replaced.expires, Some(gate.now().saturating_add(Duration::from_secs(60))));
    refused(keys.rotate(old.key.id, Duration::ZERO), ErrorKind::Conflict, Some("key"));
    let live = || [&old, &next].map(|made| accepted(gate, made.token.as_str()));
    world.after(59);
    assert_eq!(live(), [true, true]);
    world.after(1);
    assert_eq!(live(), [false, true]);
    refused(keys.rotate(old.key.id, Duration::ZERO), ErrorKind::NotFound, Some("key"));
    // Without an overlap the old one ends at once, and never later than it would have.
    let last = keys.rotate(next.key.id, Duration::ZERO).unwrap();
    assert!(!accepted(gate, next.token.as_str()) && accepted(gate, last.token.as_str()));
    world.after(10 * DAY - 30);
    let end = keys.get(last.key.id).unwrap().expires;
    keys.rotate(last.key.id, days(30)).unwrap();
    assert_eq!(keys.get(last.key.id).unwrap().expires, end);
    refused(keys.rotate(last.key.id, days(31)), ErrorKind::InvalidInput, Some("overlap"));
    sound(gate);
}

#[test]
fn who_finds_a_key_can_end_it_by_its_text_alone() {
    let world = world();
    let gate = &world.gate;
    let s = scene(gate);
    let made = gate.api_keys().create(s.ada, NewApiKey::new("leaked")).unwrap();
    let keys = gate.api_keys();
    let mut altered = made.token.as_str().to_owned();
    let last = if altered.ends_with('A') { "E" } else { "A" };
    altered.replace_range(40..41, last);
    let session = world.login("ada");
    for wrong in ["", "pck_x", &altered, session.token().as_str()] {
        let error = refused(keys.revoke_presented(wrong), ErrorKind::NotFound, Some("key"));
        assert!(wrong.is_empty() || !error.to_string().contains(wrong));
    }
    assert!(accepted(gate, made.token.as_str()));
    assert_eq!(keys.revoke_presented(made.token.as_str()).unwrap().id, made.key.id);
    assert!(!accepted(gate, made.token.as_str()));
    refused(keys.revoke_presented(made.token.as_str()), ErrorKind::NotFound, Some("key"));
    let record = all(|page| gate.audit().by_kind(AuditKind::ApiKeyRevoked, page)).pop().unwrap();
    assert_eq!(
        (record.subject, record.object),
        (Some(Subject::User(s.ada)), Some(Subject::ApiKey(made.key.id)))
    );
    assert!(record.detail.contains("leaked") && record.detail.contains("found"), "{}", record.detail);
}

#[test]
fn a_limit_is_no_denial_and_says_when_to_come_back() {
    let world = world();
    let gate = &world.gate;
    let s = scene(gate);
    let limit = RateLimit::new(6, Duration::from_secs(60)).unwrap().burst(2).unwrap();
    let made = gate.api_keys().create(s.ada, NewApiKey::new("slow").rate(limit)).unwrap();
    let used = |times: usize| (0..times).filter(|_| gate.authenticate_key(&made.token).is_ok()).count();
    assert_eq!(used(5), 2);
    let error = gate.authenticate_key(&made.token).unwrap_err();
    assert_eq!((error.kind(), error.is_denied(), error.is_storage()), (ErrorKind::RateLimited, false, false));
    assert_eq!(error.retry_after(), Some(Duration::from_secs(10)));
    world.after(9);
    assert_eq!(gate.authenticate_key(&made.token).unwrap_err().retry_after(), Some(Duration::from_secs(1)));
    world.after(1);
    assert_eq!(used(5), 1);
    world.after(600);
    assert_eq!(used(5), 2);
    // Who does not have the key uses nothing of it up, and neither does what its owner's state refuses.
    world.after(600);
    let mut wrong = made.token.as_str().to_owned();
    wrong.replace_range(62..63, if wrong.ends_with('A') { "Q" } else { "A" });
    for _ in 0..5 {
        assert!(!accepted(gate, &wrong));
    }
    gate.users().set_status(s.ada, Status::disabled("")).unwrap();
    for _ in 0..5 {
        assert!(!accepted(gate, made.token.as_str()));
    }
    gate.users().set_status(s.ada, Status::active()).unwrap();
    // A principal goes on: what is counted is how often the key is presented.
    let principal = gate.authenticate_key(&made.token).unwrap();
    assert_eq!(used(5), 1);
    assert!((0..100).all(|_| principal.can(s.read)));
    // Another limit begins anew; a change of something else does not; no limit is none.
    let keys = gate.api_keys();
    keys.update(made.key.id, ApiKeyChange::new().name("slower")).unwrap();
    assert_eq!(used(5), 0);
    keys.update(made.key.id, ApiKeyChange::new().rate(limit.burst(3).unwrap())).unwrap();
    assert_eq!(used(5), 3);
    keys.update(made.key.id, ApiKeyChange::new().no_rate_limit()).unwrap();
    assert_eq!(used(500), 500);
    sound(gate);
    keys.update(made.key.id, ApiKeyChange::new().rate(limit)).unwrap();
    assert_eq!(used(5), 2);
    keys.revoke(made.key.id).unwrap();
    assert!(!accepted(gate, made.token.as_str()), "a denial again");
}

#[test]
fn threads_get_no_more_out_of_a_limit() {
    let world = world();
    let gate = &world.gate;
    let s = scene(gate);
    let limit = RateLimit::new(100, Duration::from_secs(3600)).unwrap();
    let made = gate.api_keys().create(s.ada, NewApiKey::new("shared").rate(limit)).unwrap();
    let taken = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..60 {
                    if gate.authenticate_key(&made.token).is_ok() {
                        taken.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(taken.load(Ordering::Relaxed), 100);
}

#[test]
fn an_owner_has_a_hundred_keys_and_threads_make_no_more() {
    let world = world();
    let gate = &world.gate;
    let s = scene(gate);
    let keys = gate.api_keys();
    for n in 0..96 {
        keys.create(s.ada, NewApiKey::new(format!("key {n}")).expires_in(days(1))).unwrap();
    }
    let made = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..3 {
                    match keys.create(s.ada, NewApiKey::new("one more").expires_in(days(1))) {
                        Ok(_) => drop(made.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error:?}"),
                    }
                }
            });
        }
    });
    assert_eq!(made.load(Ordering::Relaxed), 4);
    let mut held = all(|page| keys.of_owner(s.ada, page));
    assert_eq!(held.len(), 100);
    // One that replaces another is no further one, but not without end.
    let mut last = held.pop().unwrap().id;
    for _ in 0..100 {
        last = keys.rotate(last, days(30)).unwrap().key.id;
    }
    refused(keys.rotate(last, days(30)), ErrorKind::LimitExceeded, Some("key"));
    world.after(DAY);
    keys.create(s.ada, NewApiKey::new("what has ended does not count")).unwrap();
    assert_eq!(keys.revoke_all(s.ada).unwrap(), 201);
    assert_eq!(gate.statistics().api_keys, 0);
    assert_eq!(keys.revoke_all(s.ada).unwrap(), 0);
    sound(gate);
}

#[test]
fn keys_and_limits_are_there_again_after_a_restart() {
    let disk = Disk::new();
    let gate = disk.open();
    let s = scene(&gate);
    let limit = RateLimit::new(1, days(1)).unwrap();
    let keys = gate.api_keys();
    let reader = keys.create(s.ada, NewApiKey::new("reader").only([s.read]).at([s.acme])).unwrap();
    let slow = keys.create(s.ada, NewApiKey::new("slow").rate(limit)).unwrap();
    let gone = keys.create(s.ada, NewApiKey::new("gone")).unwrap();
    keys.revoke(gone.key.id).unwrap();
    gate.authenticate_key(&slow.token).unwrap();
    let held = all(|page| keys.of_owner(s.ada, page));
    gate.close().unwrap();
    drop(gate);
    let gate = disk.open();
    assert_eq!(all(|page| gate.api_keys().of_owner(s.ada, page)), held);
    let key = gate.authenticate_key(&reader.token).unwrap();
    assert!(key.can_at(s.read, s.doc) && !key.can_at(s.write, s.doc) && !key.can_at(s.read, s.other));
    assert!(!key.can(s.read) && !accepted(&gate, gone.token.as_str()));
    // The burst is in memory only, and full again.
    gate.authenticate_key(&slow.token).unwrap();
    assert_eq!(gate.authenticate_key(&slow.token).unwrap_err().kind(), ErrorKind::RateLimited);
    let ends: Vec<_> = all(|page| gate.api_keys().by_end(page)).iter().map(|key| key.expires).collect();
    assert_eq!(ends.len(), 2);
    assert!(ends.is_sorted());
    sound(&gate);
}
