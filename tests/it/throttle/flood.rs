//! Many names, many addresses, and the room they take.

use super::{at, attempt, held_up, records, secs, wrong};
use crate::support::{PASSWORD, sound, world, world_with};
use portcullis::testing::dump;
use portcullis::{AuditKind, Client, Denial, Portcullis, ThrottlePolicy};
use std::collections::BTreeMap;

fn rows(gate: &Portcullis) -> BTreeMap<&'static str, usize> {
    let mut found = BTreeMap::new();
    for row in dump(gate).unwrap().iter().filter(|row| row.table.starts_with("throttle")) {
        *found.entry(row.table).or_default() += 1;
    }
    found
}

#[test]
fn names_and_addresses_beyond_number_take_bounded_room_and_push_out_the_fewest_failures() {
    let policy = ThrottlePolicy::new().entries(1024);
    let world = world_with(|builder| builder.throttle(policy));
    world.user("ada");
    for _ in 0..5 {
        wrong(&world.gate, "ada", &Client::new());
    }
    for number in 0..6000_u32 {
        let address = std::net::Ipv4Addr::from(0x0A00_0000 + number);
        wrong(&world.gate, &format!("name{number}"), &Client::new().ip(address.into()));
    }
    let found = rows(&world.gate);
    // 128 rows for names, as many for pairs, and 16 for addresses.
    assert!(found["throttle_count"] <= 256 && found["throttle_count"] > 250, "{found:?}");
    assert!(found["throttle_source"] <= 16, "{found:?}");
    assert_eq!(held_up(attempt(&world.gate, "ada", PASSWORD, &Client::new())), 30, "five outweigh one");
    sound(&world.gate);
}

#[test]
fn maintenance_removes_what_does_not_count_any_more() {
    let world = world();
    for number in 0..200_u32 {
        let address = std::net::Ipv4Addr::from(0x0A00_0000 + number);
        wrong(&world.gate, &format!("name{number}"), &Client::new().ip(address.into()));
    }
    let full = rows(&world.gate);
    assert_eq!(world.gate.maintain(10_000).unwrap().idle_failures, 0);
    world.clock.advance(secs(3600));
    let addresses = world.gate.maintain(10_000).unwrap().idle_failures;
    assert_eq!(addresses, full["throttle_source"]);
    world.clock.advance(secs(82_800));
    let mut pairs = 0;
    for _ in 0..200 {
        pairs += world.gate.maintain(5).unwrap().idle_failures;
    }
    let left = rows(&world.gate);
    assert_eq!(left["throttle_count"] + pairs, full["throttle_count"]);
    assert!(pairs > 190 && !left.contains_key("throttle_source"), "{left:?}");
    // Names stay: that a name is forgotten would tell it from a user's.
    for _ in 0..4 {
        wrong(&world.gate, "name7", &Client::new());
    }
    assert_eq!(held_up(attempt(&world.gate, "name7", PASSWORD, &Client::new())), 30);
    sound(&world.gate);
}

#[test]
fn another_number_of_entries_begins_anew_and_keeps_the_stop() {
    let disk = crate::support::Disk::new();
    let gate = disk.open();
    let ada = crate::support::user(&gate, "ada").id;
    for _ in 0..5 {
        wrong(&gate, "ada", &Client::new());
    }
    gate.close().unwrap();
    let policy = ThrottlePolicy::new().entries(2048);
    let gate = disk.open_with(|builder| builder.throttle(policy)).unwrap();
    assert_eq!(wrong(&gate, "ada", &Client::new()), Denial::Credentials);
    assert_eq!(gate.users().login_protection(ada).unwrap().failures[0].failures, 6);
    assert_eq!(gate.maintain(1000).unwrap().idle_failures, 1, "nobody finds the old row");
    sound(&gate);
}

#[test]
fn an_address_has_a_hundred_failures_an_hour_and_no_more_at_once() {
    let world = world_with(|builder| builder.throttle(ThrottlePolicy::new().stuffing(128, 100)));
    world.user("ada");
    let here = at("2001:db8:1:2::1");
    for number in 0..100 {
        assert_eq!(wrong(&world.gate, &format!("name{number}"), &here), Denial::Credentials, "{number}");
    }
    let hashes = world.gate.password_hashes_computed();
    // The same customer, and right: but no guess.
    assert_eq!(held_up(attempt(&world.gate, "ada", PASSWORD, &at("2001:db8:1:2:ffff::9"))), 36);
    assert_eq!(world.gate.password_hashes_computed(), hashes);
    assert_eq!(attempt(&world.gate, "ada", PASSWORD, &at("2001:db8:1:3::1")), None, "another one");
    assert_eq!(attempt(&world.gate, "ada", PASSWORD, &Client::new()), None, "no address");
    world.after(36);
    assert_eq!(attempt(&world.gate, "ada", PASSWORD, &here), None, "what is right costs nothing");
    assert_eq!(wrong(&world.gate, "name", &here), Denial::Credentials);
    assert_eq!(held_up(attempt(&world.gate, "ada", PASSWORD, &here)), 36);
    let told = records(&world.gate, AuditKind::LoginThrottled);
    assert_eq!(told.len(), 2);
    assert!(told[0].detail.starts_with("too many failures from there"), "{}", told[0].detail);
}

#[test]
fn an_ipv4_address_in_ipv6_clothes_is_the_same() {
    let world = world_with(|builder| builder.throttle(ThrottlePolicy::new().source(1).stuffing(9, 1)));
    assert_eq!(wrong(&world.gate, "a", &at("192.0.2.1")), Denial::Credentials);
    assert_eq!(held_up(attempt(&world.gate, "b", PASSWORD, &at("::ffff:192.0.2.1"))), 3600);
    assert_eq!(wrong(&world.gate, "c", &at("::ffff:192.0.2.2")), Denial::Credentials);
}

#[test]
fn one_address_that_fails_at_many_names_is_told_once_an_hour_and_slowed_down() {
    let world = world();
    world.user("ada");
    let here = at("192.0.2.1");
    let found_out = || records(&world.gate, AuditKind::CredentialStuffing);
    // One name however often is no such thing, nor are nine.
    for number in 0..27 {
        wrong(&world.gate, &format!("name{}", number % 9), &here);
    }
    assert!(found_out().is_empty());
    let mut names = 9;
    while found_out().is_empty() {
        assert_eq!(wrong(&world.gate, &format!("name{names}"), &here), Denial::Credentials);
        names += 1;
    }
    assert!((10..=24).contains(&names), "{names}");
    assert_eq!(found_out()[0].detail, "many names within an hour; from 192.0.2.1/32");
    // From now on an hour has room for thirty.
    let mut more = 0;
    while wrong(&world.gate, &format!("name{}", 100 + more), &here) == Denial::Credentials {
        more += 1;
    }
    assert!((15..30).contains(&more), "{more}");
    assert_eq!(found_out().len(), 1);
    assert_eq!(attempt(&world.gate, "ada", PASSWORD, &at("192.0.2.2")), None);
    world.after(3600);
    for number in 0..24 {
        wrong(&world.gate, &format!("name{}", 200 + number), &here);
    }
    assert_eq!(found_out().len(), 2, "another hour");
    sound(&world.gate);
}
