//! Housekeeping: what is over is removed in bounded portions, by the caller or by a thread that is in nobody's way.

#![expect(clippy::disallowed_methods, reason = "a thread is waited for, so long and no longer")]

use crate::support::{
    Disk, PASSWORD, World, all, backwards, is_live, log_in, refused, sound, user, world, world_with,
};
use portcullis::testing::{FaultPoint, ManualClock};
use portcullis::{
    AuditKind, Client, Clock, Credentials, ErrorKind, Login, Maintainer, MaintainerStatus,
    MaintenanceSchedule, Portcullis, SessionLimits, ThrottlePolicy, Timestamp,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const IDLE: u64 = 3600;
/// How long after its idle limit a session is removed.
const MARGIN: u64 = 3600;

fn quick() -> MaintenanceSchedule {
    MaintenanceSchedule::new().interval(Duration::from_millis(1)).pause(Duration::ZERO)
}

/// Waits until the maintainer says so; a minute at most.
#[track_caller]
fn until(maintainer: &Maintainer, mut what: impl FnMut(&MaintainerStatus) -> bool) -> MaintainerStatus {
    let start = Instant::now();
    loop {
        let status = maintainer.status();
        if what(&status) {
            return status;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{status:?}");
        std::thread::yield_now();
    }
}

fn rows(world: &World) -> usize {
    portcullis::testing::dump(&world.gate).unwrap().iter().filter(|row| row.table == "session").count()
}

#[test]
fn a_session_is_removed_an_hour_after_its_idle_limit_and_not_before() {
    let world = world();
    world.user("ada");
    let logins: Vec<Login> = (0..70).map(|_| world.login("ada")).collect();
    world.after(IDLE - 1);
    assert!(is_live(&world.gate, logins[3].token().as_str()));
    for step in [MARGIN - IDLE + 1, IDLE - 1] {
        world.after(step);
        assert!(is_live(&world.gate, logins[3].token().as_str()));
    }
    let done = world.gate.maintain(1000).unwrap();
    assert_eq!((done.idle_sessions, done.seen_written, rows(&world)), (0, 1, 70), "one second early");
    world.after(1);
    let done = world.gate.maintain(1000).unwrap();
    assert_eq!((done.idle_sessions, done.expired_sessions, done.more), (69, 0, false));
    assert_eq!(rows(&world), 1);
    assert!(is_live(&world.gate, logins[3].token().as_str()), "the one that was used");
    let last = backwards(|page| world.gate.audit().list(page));
    let swept = last.iter().filter(|record| record.kind == AuditKind::SessionExpired);
    assert_eq!(swept.count(), 3, "one record a batch");
    world.after(IDLE + MARGIN);
    assert_eq!(world.gate.maintain(1000).unwrap().idle_sessions, 1);
    sound(&world.gate);
}

#[test]
fn a_use_that_is_in_memory_only_keeps_a_session() {
    let world = world();
    world.user("ada");
    let login = world.login("ada");
    for _ in 0..20 {
        world.after(IDLE - 1);
        assert!(is_live(&world.gate, login.token().as_str()));
        // The stored time says that the session is long over.
        assert_eq!(world.gate.maintain(1).unwrap().idle_sessions, 0);
    }
    assert_eq!(rows(&world), 1);
}

#[test]
fn a_session_in_use_survives_whoever_sweeps() {
    let world = world_with(|builder| {
        let limits =
            SessionLimits::new(Some(Duration::from_secs(2)), Duration::from_secs(3600 * 24 * 300)).unwrap();
        builder.session_limits(limits).throttle(ThrottlePolicy::new().danger_off())
    });
    let gate = &world.gate;
    world.user("ada");
    let used: Vec<Login> = (0..8).map(|_| world.login("ada")).collect();
    let mut maintainer = gate.start_maintenance(quick().budget(1)).unwrap();
    let over = AtomicBool::new(false);
    /// Ends the other thread also where the test fails.
    struct Ends<'a>(&'a AtomicBool);
    impl Drop for Ends<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                gate.maintain(3).unwrap();
            }
        });
        let _ends = Ends(&over);
        for round in 0..300 {
            let left = world.login("ada");
            world.clock.advance(Duration::from_millis(999));
            for login in &used {
                assert!(is_live(gate, login.token().as_str()), "round {round}");
            }
            drop(left);
        }
    });
    // Of those that were left alone, those of the last hour are still there.
    world.after(2);
    for login in &used {
        refused(gate.authenticate(login.token()).map(drop), ErrorKind::Denied, None);
    }
    world.after(MARGIN);
    until(&maintainer, |_| rows(&world) == 0);
    let status = maintainer.stop();
    assert_eq!((status.failures, status.running), (0, false), "{status:?}");
    sound(gate);
}

#[test]
fn a_round_takes_all_in_small_portions() {
    let world = world_with(|builder| builder.throttle(ThrottlePolicy::new().danger_off()));
    world.user("ada");
    let expired = 300;
    for _ in 0..expired {
        world.login("ada");
    }
    world.after(IDLE + MARGIN);
    let mut calls = 0;
    loop {
        let done = world.gate.maintain(7).unwrap();
        assert!(done.idle_sessions < 7 + 64, "{done:?}");
        calls += 1;
        if !done.more {
            break;
        }
    }
    assert!(calls > 1 && rows(&world) == 0);
    for _ in 0..expired {
        world.login("ada");
    }
    world.after(24 * 3600);
    let maintainer =
        world.gate.start_maintenance(MaintenanceSchedule::new().budget(7).pause(Duration::ZERO)).unwrap();
    let status = until(&maintainer, |status| status.rounds == 1);
    let removed = status.done.expired_sessions + status.done.idle_sessions;
    assert_eq!((removed, status.last_round), (expired, Some(world.gate.now())));
    assert_eq!((rows(&world), status.running, status.last_failure), (0, true, None));
    // The next round is a minute away, unless it is asked for.
    maintainer.run_soon();
    until(&maintainer, |status| status.rounds == 2);
}

#[test]
fn settings_beyond_their_limits_are_refused() {
    let gate = world().gate;
    let new = MaintenanceSchedule::new;
    for (schedule, field) in [
        (new().budget(0), "budget"),
        (new().budget(100_001), "budget"),
        (new().interval(Duration::ZERO), "interval"),
        (new().interval(Duration::from_secs(86_401)), "interval"),
        (new().pause(Duration::from_secs(61)), "pause"),
    ] {
        refused(gate.start_maintenance(schedule), ErrorKind::InvalidInput, Some(field));
    }
    assert_eq!(new(), MaintenanceSchedule::default());
}

#[test]
fn the_thread_ends_at_once_when_it_is_stopped_or_the_database_is() {
    for way in ["stop", "drop", "close", "handle"] {
        let disk = Disk::new();
        let gate = disk.open();
        user(&gate, "ada");
        let long = MaintenanceSchedule::new().interval(Duration::from_secs(86_400));
        let mut maintainer = gate.start_maintenance(long).unwrap();
        until(&maintainer, |status| status.rounds == 1);
        let start = Instant::now();
        match way {
            "stop" => assert!(!maintainer.stop().running),
            "drop" => drop(maintainer),
            "close" => {
                gate.close().unwrap();
                let status = until(&maintainer, |status| !status.running);
                assert_eq!(status.last_failure, None);
            }
            _ => {
                drop(gate);
                until(&maintainer, |status| !status.running);
                // It kept nothing open, though it is still there.
                sound(&disk.open());
            }
        }
        assert!(start.elapsed() < Duration::from_secs(30), "{way}");
    }
    let gate = world().gate;
    gate.close().unwrap();
    refused(
        gate.start_maintenance(quick()).and_then(|mut maintainer| {
            assert!(!maintainer.stop().running);
            gate.maintain(1)
        }),
        ErrorKind::Stopped,
        None,
    );
}

#[test]
fn it_works_at_a_busy_database_and_stops_in_the_middle() {
    for _ in 0..20 {
        let world = world_with(|builder| builder.throttle(ThrottlePolicy::new().danger_off()));
        world.user("ada");
        for _ in 0..100 {
            world.login("ada");
        }
        world.after(24 * 3600);
        let mut maintainer = world.gate.start_maintenance(quick().budget(1)).unwrap();
        until(&maintainer, |status| status.done.expired_sessions > 3 || status.done.idle_sessions > 3);
        let status = maintainer.stop();
        assert!(!status.running && status.failures == 0, "{status:?}");
        sound(&world.gate);
        drop(world.gate);
    }
}

#[test]
fn a_failure_of_the_store_is_told_and_ends_it() {
    let disk = Disk::new();
    let gate = disk.open();
    user(&gate, "ada");
    log_in(&gate, "ada", PASSWORD).unwrap();
    disk.clock.advance(Duration::from_secs(24 * 3600));
    disk.faults.fail(FaultPoint::JournalWrite, 1);
    let maintainer = gate.start_maintenance(quick()).unwrap();
    let status = until(&maintainer, |status| !status.running);
    assert_eq!(status.failures, 1);
    assert_eq!(status.last_failure.unwrap().kind, Some(ErrorKind::OutcomeUnknown));
}

/// A clock that panics for as long as it is told to.
#[derive(Clone, Debug)]
struct Moody(ManualClock, Arc<AtomicBool>, Arc<AtomicU64>);

impl Clock for Moody {
    fn now(&self) -> Timestamp {
        let is_worker = std::thread::current().name() == Some("portcullis-upkeep");
        if is_worker && self.1.load(Ordering::SeqCst) {
            self.2.fetch_add(1, Ordering::SeqCst);
            panic!("in a bad mood");
        }
        self.0.now()
    }
}

#[test]
fn it_survives_a_panic_of_the_application_and_waits_longer_after_each() {
    let clock = Moody(ManualClock::new(), Arc::new(AtomicBool::new(true)), Arc::default());
    let gate = Portcullis::builder().clock(clock.clone()).danger_fast_password_hashes().in_memory().unwrap();
    user(&gate, "ada");
    gate.login(&Credentials::password("ada", PASSWORD), &Client::new()).unwrap();
    clock.0.advance(Duration::from_secs(24 * 3600));
    let maintainer = gate.start_maintenance(quick()).unwrap();
    let status = until(&maintainer, |status| status.failures >= 5);
    assert!(status.failures_in_a_row >= 5 && status.rounds == 0 && status.running, "{status:?}");
    assert_eq!(status.last_failure.unwrap().kind, None);
    clock.1.store(false, Ordering::SeqCst);
    let status = until(&maintainer, |status| status.rounds > 0);
    assert_eq!((status.failures_in_a_row, status.done.expired_sessions), (0, 1));
    drop(maintainer);
    sound(&gate);
}

#[test]
fn last_seen_times_are_written_back_without_being_asked() {
    let disk = Disk::new();
    let gate = disk.open();
    user(&gate, "ada");
    let login = log_in(&gate, "ada", PASSWORD).unwrap();
    let maintainer = gate.start_maintenance(quick()).unwrap();
    disk.clock.advance(Duration::from_secs(1000));
    assert!(is_live(&gate, login.token().as_str()));
    let seen = disk.clock.now();
    until(&maintainer, |status| status.done.seen_written == 1);
    drop(maintainer);
    drop(gate); // no close
    let gate = disk.open();
    assert_eq!(gate.sessions().get(login.session().id).unwrap().last_seen, seen);
    assert_eq!(all(|page| gate.sessions().by_expiry(page)).len(), 1);
}
