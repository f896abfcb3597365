//! The gate in front of password hashes: whose turn it is, how much memory there is, and what is told.

use crate::support::{Disk, PASSWORD, log_in, patient, refused, sound, user};
use crate::unverifiable::reasons;
use parking_lot::{Condvar, Mutex};
use portcullis::{Client, Credentials, Denial, ErrorKind, Login, NewUser, PasswordCost, Portcullis, Result};
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

/// A door inside each password hash.
#[derive(Clone, Default)]
pub(crate) struct Door(Arc<(Mutex<Hinges>, Condvar)>);

#[derive(Default)]
struct Hinges {
    closed: bool,
    before: usize,
}

impl Door {
    pub(crate) fn close(&self) {
        self.0.0.lock().closed = true;
    }

    pub(crate) fn open(&self) {
        self.0.0.lock().closed = false;
        self.0.1.notify_all();
    }

    pub(crate) fn pass(&self) {
        let mut hinges = self.0.0.lock();
        hinges.before += 1;
        self.0.1.wait_while(&mut hinges, |hinges| hinges.closed);
        hinges.before -= 1;
    }

    /// How many stand before it.
    pub(crate) fn before(&self) -> usize {
        self.0.0.lock().before
    }
}

pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..20_000 {
        if holds() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    panic!("{what} did not come to be within 20 seconds");
}

fn log_in_from(gate: &Portcullis, address: &str) -> Result<Login> {
    let address: IpAddr = address.parse().unwrap();
    gate.login(&Credentials::password("ada", PASSWORD), &Client::new().ip(address))
}

#[test]
fn a_flood_from_one_address_does_not_keep_another_one_out() {
    let door = Door::default();
    let inside = door.clone();
    let builder = patient(Portcullis::builder()).danger_fast_password_hashes().admission(1, 4, LONG);
    let gate = builder.admission_share(4).pause_in_password_hash(move || inside.pass()).in_memory().unwrap();
    user(&gate, "ada");
    door.close();
    std::thread::scope(|scope| {
        // One network, whatever the last 64 bits are.
        let flood: Vec<_> = (1..=6)
            .map(|number| {
                let (gate, address) = (&gate, format!("2001:db8::{number}"));
                let attempt = scope.spawn(move || log_in_from(gate, &address));
                until("the attempt", || {
                    let seen = gate.admission();
                    seen.running + seen.waiting == number.min(5) && (number < 6 || seen.refused_share == 1)
                });
                attempt
            })
            .collect();
        let other = scope.spawn(|| log_in_from(&gate, "192.0.2.7"));
        until("the displacement", || gate.admission().displaced == 1);
        assert_eq!((gate.admission().waiting, gate.admission().sources), (4, 2));
        door.open();
        assert!(other.join().unwrap().is_ok());
        let refused: Vec<_> = flood.into_iter().filter_map(|attempt| attempt.join().unwrap().err()).collect();
        assert_eq!(refused.len(), 2, "the one displaced and the one beyond the share");
        for error in refused {
            assert_eq!(error.kind(), ErrorKind::Busy);
            assert!(
                error.retry_after().is_some_and(|span| span > Duration::ZERO && span < LONG),
                "{error:?}"
            );
        }
    });
    let seen = gate.admission();
    assert_eq!((seen.admitted, seen.running, seen.waiting), (6, 0, 0), "the user's own hash and five logins");
    assert_eq!((seen.peak_running, seen.peak_waiting), (1, 4));
    assert!(seen.longest_wait > Duration::ZERO && seen.total_wait >= seen.longest_wait);
    assert_eq!(gate.password_hashes_computed(), seen.admitted, "who was turned away cost no hash");
    sound(&gate);
}

/// With room for one hash, threads that create users and one that logs in take turns, however many of the former came
/// first.
#[test]
fn a_bulk_of_new_users_does_not_starve_logins() {
    let (door, order) = (Door::default(), Arc::new(Mutex::new(Vec::new())));
    let (inside, hashed) = (door.clone(), Arc::clone(&order));
    let builder = patient(Portcullis::builder()).danger_fast_password_hashes().admission(1, 8, LONG);
    let hash = move || {
        inside.pass();
        hashed.lock().push(std::thread::current().name().unwrap_or_default().to_owned());
    };
    let gate = builder.admission_share(8).pause_in_password_hash(hash).in_memory().unwrap();
    user(&gate, "ada");
    order.lock().clear();
    door.close();
    std::thread::scope(|scope| {
        let named = |name: &str| std::thread::Builder::new().name(name.to_owned());
        for number in 0..6 {
            let (gate, new) = (&gate, NewUser::new(format!("user{number}")).password(PASSWORD));
            named("bulk").spawn_scoped(scope, move || gate.users().create(new).unwrap()).unwrap();
            until("the bulk", || gate.admission().running + gate.admission().waiting == number + 1);
        }
        named("login").spawn_scoped(scope, || log_in(&gate, "ada", PASSWORD).unwrap()).unwrap();
        until("the login", || gate.admission().waiting == 6);
        door.open();
    });
    let order: Vec<String> = order.lock().clone();
    assert_eq!(order, ["bulk", "bulk", "login", "bulk", "bulk", "bulk", "bulk"]);
    sound(&gate);
}

#[test]
fn a_panic_inside_a_hash_gives_the_permit_back() {
    let armed = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&armed);
    let builder = patient(Portcullis::builder()).danger_fast_password_hashes().admission(1, 0, LONG);
    let gate = builder
        .pause_in_password_hash(move || assert!(!seen.swap(false, SeqCst), "a panic on purpose"))
        .in_memory()
        .unwrap();
    user(&gate, "ada");
    for _ in 0..3 {
        armed.store(true, SeqCst);
        let login = std::panic::catch_unwind(AssertUnwindSafe(|| log_in(&gate, "ada", PASSWORD)));
        assert!(login.is_err());
        assert_eq!(gate.admission().running, 0);
        log_in(&gate, "ada", PASSWORD).unwrap();
    }
    sound(&gate);
}

/// Twenty threads verify a hash that takes 7 MiB where new ones take 8 KiB: the budget holds whatever is stored.
#[test]
fn stored_hashes_of_another_cost_stay_within_the_budget() {
    const MIB: u64 = 1 << 20;
    let disk = Disk::new();
    let strong = PasswordCost::new(7168, 5).unwrap();
    let gate = Portcullis::builder().password_cost(strong).open(&disk.path).unwrap();
    for number in 0..4 {
        user(&gate, &format!("user{number}"));
    }
    gate.close().unwrap();
    let gate = disk
        .open_with(|builder| builder.admission(8, 32, LONG).admission_share(32).admission_memory(15 * MIB))
        .unwrap();
    std::thread::scope(|scope| {
        for number in 0..20 {
            let gate = &gate;
            scope.spawn(move || log_in(gate, &format!("user{}", number % 4), PASSWORD).unwrap());
        }
    });
    let seen = gate.admission();
    assert_eq!((seen.running, seen.most_bytes), (0, 15 * MIB));
    assert!(seen.peak_bytes <= 15 * MIB && seen.peak_bytes >= 7 * MIB, "{seen:?}");
    assert!(seen.bytes <= seen.peak_bytes);
    sound(&gate);
}

#[test]
fn a_stored_hash_above_the_budget_is_refused_and_named_to_the_operator() {
    let disk = Disk::new();
    let strong = PasswordCost::new(7168, 5).unwrap();
    let gate = Portcullis::builder().password_cost(strong).open(&disk.path).unwrap();
    user(&gate, "ada");
    gate.close().unwrap();
    let gate = disk.open_with(|builder| builder.admission_memory(7000 << 10)).unwrap();
    assert_eq!(log_in(&gate, "ada", PASSWORD).unwrap_err().denial(), Some(Denial::Credentials));
    let why = reasons(&gate).remove(0);
    assert!(why.contains("7168 KiB") && why.contains("7000 KiB"), "{why}");
    assert_eq!(gate.password_hashes_computed(), 1, "the one for nobody");
    gate.close().unwrap();
    let gate = disk.open();
    assert!(log_in(&gate, "ada", PASSWORD).is_ok(), "by default 64 MiB are there for the smallest machine");
}

#[test]
fn settings_that_could_admit_nobody_are_refused() {
    let builder = || patient(Portcullis::builder()).danger_fast_password_hashes();
    let memory = builder().admission_memory(8 * 1024 - 1).in_memory();
    refused(memory, ErrorKind::InvalidInput, Some("admission_memory"));
    let share = builder().admission(1, 10, LONG).admission_share(0).in_memory();
    refused(share, ErrorKind::InvalidInput, Some("admission_share"));
    assert!(builder().admission(1, 0, LONG).admission_share(0).in_memory().is_ok(), "no queue, no share");
    let huge = builder().admission(usize::MAX, usize::MAX, Duration::MAX).admission_memory(u64::MAX);
    let gate = huge.in_memory().unwrap();
    user(&gate, "ada");
    assert!(log_in(&gate, "ada", PASSWORD).is_ok());
}
