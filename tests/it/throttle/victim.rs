//! Nobody is locked out by others.

use super::{at, attempt, fail_times, held_up, records, secs, wrong};
use crate::support::{OTHER, PASSWORD, World, sound, world, world_with};
use portcullis::{AuditKind, Client, ContextRule, Credentials, Denial, Status, TriedFrom, UserId};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const DAY: u64 = 86_400;

/// A device of the user's, by its token.
fn known_device(world: &World, login: &str) -> Client {
    let client = Client::new().device("laptop");
    let login = world.gate.login(&Credentials::password(login, PASSWORD), &client).unwrap();
    Client::new().device_token(login.device_token().unwrap())
}

/// All that an attacker gets, trying once a minute from addresses in turn, for so long.
fn attack(world: &World, addresses: usize, span: u64, mut meanwhile: impl FnMut(u64)) -> u32 {
    let mut guesses = 0;
    for minute in 0..span / 60 {
        let number = (minute as usize * 7) % addresses;
        let address = format!("198.51.{}.{}", number / 250, number % 250);
        if wrong(&world.gate, "ada", &at(&address)) == Denial::Credentials {
            guesses += 1;
        }
        meanwhile(minute);
        world.after(60);
    }
    guesses
}

#[test]
fn whoever_is_known_by_a_device_logs_in_each_day_of_an_attack_from_a_thousand_addresses() {
    let world = world();
    let ada = world.user("ada").id;
    let laptop = known_device(&world, "ada").ip("198.51.0.7".parse().unwrap());
    let mut logins = 0;
    let guesses = attack(&world, 1000, 7 * DAY, |minute| {
        if minute % 1440 == 700 {
            assert_eq!(attempt(&world.gate, "ada", PASSWORD, &laptop), None);
            logins += 1;
        }
    });
    assert_eq!(logins, 7);
    // The stop came and stayed: the owner's logins did not give the attacker another hundred.
    let protection = world.gate.users().login_protection(ada).unwrap();
    assert!(protection.is_stopped(), "{protection:?}");
    assert!((100..200).contains(&guesses), "{guesses}");
    assert_eq!(records(&world.gate, AuditKind::LoginStopped).len(), 1);
    // From the device the owner sets another password, and is welcome from anywhere.
    world.gate.users().change_password(ada, PASSWORD, OTHER).unwrap();
    assert_eq!(attempt(&world.gate, "ada", OTHER, &at("203.0.113.9")), None);
    sound(&world.gate);
}

#[test]
fn whoever_is_not_known_gets_in_when_the_delay_is_over() {
    let world = world();
    world.user("ada");
    attack(&world, 1000, DAY, |_| ());
    let here = at("203.0.113.9");
    let wait = held_up(attempt(&world.gate, "ada", PASSWORD, &here));
    assert!(wait <= 3600, "{wait}");
    world.after(wait);
    assert_eq!(attempt(&world.gate, "ada", PASSWORD, &here), None);
}

#[test]
fn one_address_alone_makes_no_other_wait() {
    let world = world();
    world.user("ada");
    let (mut guesses, mut logins) = (0, 0);
    for minute in 0..3 * 1440 {
        guesses += u32::from(wrong(&world.gate, "ada", &at("198.51.100.1")) == Denial::Credentials);
        if minute % 1441 == 17 {
            assert_eq!(attempt(&world.gate, "ada", PASSWORD, &at("203.0.113.9")), None);
            logins += 1;
        }
        world.after(60);
    }
    assert_eq!(logins, 3);
    // The address itself waits as long as ever, also after the owner's logins.
    assert!((60..=90).contains(&guesses), "{guesses}");
    assert!(records(&world.gate, AuditKind::LoginStopped).is_empty());
}

#[test]
fn a_device_is_counted_by_itself() {
    let world = world();
    let ada = world.user("ada").id;
    let laptop = known_device(&world, "ada");
    for _ in 0..5 {
        assert_eq!(wrong(&world.gate, "ada", &laptop), Denial::Credentials);
    }
    assert_eq!(held_up(attempt(&world.gate, "ada", PASSWORD, &laptop)), 30);
    assert_eq!(attempt(&world.gate, "ada", PASSWORD, &Client::new()), None, "nobody else waits");
    assert_eq!(held_up(attempt(&world.gate, "ada", PASSWORD, &laptop)), 30, "nor does that help");
    let found = world.gate.users().login_protection(ada).unwrap().failures;
    assert!(found.len() == 1 && matches!(found[0].from, TriedFrom::Device(_)), "{found:?}");
    fail_times(&world, "ada", &laptop, 95);
    let stopped = records(&world.gate, AuditKind::LoginStopped);
    assert!(stopped[0].detail.starts_with("password: 100 failures in a row, on device "));
    // A device that was wrong so often is as good as unknown.
    assert_eq!(attempt(&world.gate, "ada", PASSWORD, &laptop), None);
    assert!(!world.gate.users().login_protection(ada).unwrap().is_stopped());
    sound(&world.gate);
}

#[test]
fn a_device_of_somebody_else_is_none() {
    let world = world();
    world.user("ada");
    world.user("eve");
    let hers = known_device(&world, "eve");
    fail_times(&world, "ada", &hers, 5);
    assert_eq!(held_up(attempt(&world.gate, "ada", PASSWORD, &Client::new())), 30);
    assert_eq!(held_up(attempt(&world.gate, "ada", PASSWORD, &hers)), 30);
    let guessed = Client::new().device_token("pcd_made-up");
    assert_eq!(held_up(attempt(&world.gate, "ada", PASSWORD, &guessed)), 30);
}

#[test]
fn counts_of_devices_go_with_the_device_and_all_with_the_user() {
    let world = world();
    let ada = world.user("ada").id;
    let laptop = known_device(&world, "ada");
    wrong(&world.gate, "ada", &laptop);
    wrong(&world.gate, "ada", &Client::new());
    assert_eq!(world.gate.users().login_protection(ada).unwrap().failures.len(), 2);
    world.gate.devices().forget_all(ada).unwrap();
    assert_eq!(world.gate.maintain(1000).unwrap().idle_failures, 1);
    assert_eq!(world.gate.users().login_protection(ada).unwrap().failures.len(), 1);
    world.gate.users().delete(ada).unwrap();
    let rows = portcullis::testing::dump(&world.gate).unwrap();
    assert!(rows.iter().all(|row| row.table != "throttle_account"));
    sound(&world.gate);
}

/// Who may log in only now and then.
struct Hours(std::sync::Arc<AtomicBool>);

impl ContextRule for Hours {
    fn permits(&self, _: &portcullis::CheckContext<'_>) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// What was right does not count towards the stop; but delays grow, or they would tell it from what was wrong.
#[test]
fn a_right_password_that_is_refused_for_another_reason_stops_nothing() {
    let open = std::sync::Arc::new(AtomicBool::new(true));
    let world = world_with(|builder| builder.context_rule(Hours(open.clone())));
    let ada = world.user("ada").id;
    let protection = |user: UserId| world.gate.users().login_protection(user).unwrap();
    open.store(false, Ordering::SeqCst);
    for _ in 0..5 {
        assert_eq!(attempt(&world.gate, "ada", PASSWORD, &Client::new()), Some(Denial::Credentials));
    }
    assert_eq!(held_up(attempt(&world.gate, "ada", PASSWORD, &Client::new())), 30);
    assert_eq!(protection(ada).failures, []);
    open.store(true, Ordering::SeqCst);
    world.clock.advance(secs(30));
    assert_eq!(attempt(&world.gate, "ada", PASSWORD, &Client::new()), None);

    world.gate.users().set_status(ada, Status::disabled("gone")).unwrap();
    for _ in 0..5 {
        assert_eq!(attempt(&world.gate, "ada", PASSWORD, &Client::new()), Some(Denial::Credentials));
    }
    assert_eq!(held_up(attempt(&world.gate, "ada", OTHER, &Client::new())), 30);
    assert_eq!(protection(ada).failures, []);
    world.clock.advance(Duration::from_secs(30));
    wrong(&world.gate, "ada", &Client::new());
    assert_eq!(protection(ada).failures[0].failures, 1);
}
