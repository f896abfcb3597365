//! What a reviewer once broke, so that nobody does again.

use crate::support::{Disk, PASSWORD, log_in, refused, sound, user, world, world_with};
use portcullis::{
    Attributes, ErrorKind, NewUser, PasswordCost, Portcullis, Session, Status, ThrottlePolicy, Timestamp,
    UserChange, Value,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Whichever comes first, ending all sessions ends the one that another call wants to keep.
fn end_and_keep(gate: &Portcullis, rounds: usize, end: impl Fn(&Session) + Sync) {
    for round in 0..rounds {
        let login = log_in(gate, "ada", PASSWORD).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| end(login.session()));
            scope.spawn(|| {
                let kept = gate.sessions().revoke_others(login.session().id);
                assert!(kept.is_ok() || kept.is_err_and(|error| error.kind() == ErrorKind::NotFound));
            });
        });
        assert!(gate.authenticate(login.token()).is_err(), "round {round}: a session outlived its end");
    }
    sound(gate);
}

#[test]
fn a_session_that_was_ended_is_not_revived_by_keeping_it() {
    let (world, disk) = (world(), Disk::new());
    let gate = disk.open();
    for (gate, rounds) in [(&world.gate, 1500), (&gate, 150)] {
        let ada = user(gate, "ada");
        end_and_keep(gate, rounds, |session| gate.sessions().revoke_all(session.user).unwrap());
        end_and_keep(gate, rounds / 3, |_| {
            gate.users().set_status(ada.id, Status::disabled("away")).unwrap();
            gate.users().set_status(ada.id, Status::active()).unwrap();
        });
        end_and_keep(gate, rounds / 3, |_| gate.users().set_password(ada.id, PASSWORD).unwrap());
    }
}

#[test]
fn every_map_that_is_taken_can_be_read_again() {
    let disk = Disk::new();
    let gate = disk.open();
    let mut taken = 0;
    for count in [1, 2, 3, 4, 8, 16, 32, 48, 64] {
        for length in [0, 1, 20, 40, 70, 110, 240, 512] {
            let text = Value::from("x".repeat(length));
            let map: Attributes = (0..count).map(|number| (format!("name{number}"), text.clone())).collect();
            let made = gate.users().create(NewUser::new(format!("user{count}x{length}"))).unwrap();
            match gate
                .users()
                .update(made.id, UserChange::new().profile(map.clone()).preferences(map.clone()))
            {
                Ok(_) => {
                    taken += 1;
                    assert_eq!(gate.users().profile(made.id).unwrap(), map);
                    assert_eq!(gate.users().preferences(made.id).unwrap(), map);
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::LimitExceeded),
            }
            if length % 20 == 0 {
                gate.users().delete(made.id).unwrap();
            }
        }
    }
    assert!(taken > 40, "{taken}");
    let integers = (0..64).map(|number| (format!("n{number}"), Value::Integer(i64::MIN + number))).collect();
    let ada = user(&gate, "ada");
    gate.users().update(ada.id, UserChange::new().profile(integers)).unwrap();
    assert_eq!(gate.users().profile(ada.id).unwrap().len(), 64);
    gate.maintain(10_000).unwrap();
    sound(&gate);
    gate.close().unwrap();
    sound(&disk.open());
}

#[test]
fn a_clock_that_jumps_there_and_back_lengthens_no_life() {
    let day = Duration::from_secs(86_400);
    let disk = Disk::new();
    let gate = disk.open();
    let ada = user(&gate, "ada");
    let start = ada.created;
    let before = log_in(&gate, "ada", PASSWORD).unwrap();
    disk.clock.set(start.saturating_add(30 * day));
    assert!(gate.authenticate(before.token()).is_err(), "a jump forward ends lives");
    disk.clock.set(start);
    assert!(gate.authenticate(before.token()).is_err(), "and a jump back does not give them back");
    let after = log_in(&gate, "ada", PASSWORD).unwrap();
    disk.clock.advance(Duration::from_secs(3599));
    assert!(gate.authenticate(after.token()).is_ok());
    disk.clock.advance(Duration::from_secs(3601));
    assert!(gate.authenticate(after.token()).is_err(), "time goes on at the clock's pace");
    // The same over a restart.
    let last = log_in(&gate, "ada", PASSWORD).unwrap();
    gate.close().unwrap();
    disk.clock.set(start);
    let gate = disk.open();
    assert!(gate.authenticate(last.token()).is_ok());
    disk.clock.advance(Duration::from_secs(3602));
    assert!(gate.authenticate(last.token()).is_err());
}

#[test]
fn a_hash_of_another_cost_is_made_anew_at_the_next_login() {
    let disk = Disk::new();
    let gate = disk.open();
    user(&gate, "ada");
    gate.close().unwrap();
    let cost = PasswordCost::new(7168, 5).unwrap();
    let gate = Portcullis::builder().password_cost(cost).open(&disk.path).unwrap();
    for computed in [2, 3, 4] {
        log_in(&gate, "ada", PASSWORD).unwrap();
        assert_eq!(gate.password_hashes_computed(), computed, "verified and made anew once, then verified");
    }
    assert!(log_in(&gate, "ada", "not the password of ada").is_err());
    sound(&gate);
}

#[test]
fn who_is_disabled_while_the_hash_is_computed_gets_no_session() {
    static GATE: OnceLock<Portcullis> = OnceLock::new();
    let armed = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&armed);
    let builder = Portcullis::builder().danger_fast_password_hashes().pause_in_password_hash(move || {
        if seen.swap(false, Ordering::SeqCst)
            && let Some(gate) = GATE.get()
            && let Some(ada) = gate.users().find("ada").unwrap()
        {
            gate.users().set_status(ada.id, Status::disabled("meanwhile")).unwrap();
        }
    });
    let gate = GATE.get_or_init(|| builder.in_memory().unwrap());
    user(gate, "ada");
    assert!(log_in(gate, "ada", PASSWORD).is_ok());
    armed.store(true, Ordering::SeqCst);
    assert!(log_in(gate, "ada", PASSWORD).is_err_and(|error| error.is_denied()));
    assert!(!armed.load(Ordering::SeqCst), "the hook ran");
}

#[test]
fn many_threads_can_define_permissions_and_roles_at_once() {
    let disk = Disk::new();
    let gate = disk.open();
    std::thread::scope(|scope| {
        for thread in 0..48 {
            let gate = &gate;
            scope.spawn(move || {
                let bit = gate.permissions().define(&format!("permission:{thread}")).unwrap();
                gate.roles().create(&format!("role{thread}"), [bit]).unwrap();
            });
        }
    });
    sound(&gate);
}

#[test]
fn a_login_and_a_check_agree_on_when_a_lock_ends() {
    let world = world_with(|builder| builder.throttle(ThrottlePolicy::new().danger_off()));
    let ada = world.user("ada");
    let end = Timestamp::from_millis(ada.created.as_millis() + 10_001);
    let locked = world.gate.users().set_status(ada.id, Status::locked("guessing").until(end)).unwrap();
    assert_eq!(locked.status.until.unwrap().as_millis() % 1000, 0);
    for _ in 0..24 {
        world.clock.advance(Duration::from_millis(500));
        if let Ok(login) = log_in(&world.gate, "ada", PASSWORD) {
            assert!(world.gate.authenticate(login.token()).is_ok());
        }
    }
    assert!(log_in(&world.gate, "ada", PASSWORD).is_ok());
}

#[test]
fn settings_that_can_not_work_are_named() {
    let disk = Disk::new();
    refused(
        Portcullis::builder().cache(0).open(&disk.path).map(drop),
        ErrorKind::InvalidInput,
        Some("cache"),
    );
    let limit = Portcullis::builder().write_limit(Duration::ZERO).open(&disk.path).map(drop);
    refused(limit, ErrorKind::InvalidInput, Some("write_limit"));
    refused(world().gate.maintain(0).map(drop), ErrorKind::InvalidInput, Some("budget"));
}

#[test]
fn a_cursor_of_another_listing_is_refused() {
    let world = world();
    for name in ["ada", "bob", "eve"] {
        world.user(name);
    }
    let page = portcullis::PageRequest::first(1);
    let cursor = world.gate.users().list(&page).unwrap().next;
    let page = page.after(cursor);
    assert!(world.gate.users().list(&page).is_ok());
    refused(world.gate.audit().list(&page).map(drop), ErrorKind::InvalidInput, Some("cursor"));
    refused(world.gate.roles().list(&page).map(drop), ErrorKind::InvalidInput, Some("cursor"));
}
