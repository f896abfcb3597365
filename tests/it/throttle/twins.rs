//! A name that a user has and one that nobody has can not be told apart.

use super::{OTHER, PASSWORD, secs};
use crate::support::{World, world_with};
use portcullis::{Client, Credentials, Denial, NewContact, NewUser, Status, ThrottlePolicy};
use proptest::prelude::*;
use std::time::Duration;

/// What stands behind the name.
#[derive(Clone, Copy, Debug)]
enum Behind {
    Nobody,
    Active,
    NoPassword,
    Disabled,
    Pending,
}

fn behind(what: Behind) -> World {
    let policy = ThrottlePolicy::new().delays(2, secs(30), secs(3600)).stop(7).source(12).stuffing(4, 6);
    let world = world_with(|builder| builder.throttle(policy));
    world.user("bystander");
    let new = NewUser::new("name");
    let new = match what {
        Behind::Nobody => return world,
        Behind::Active => new.password(PASSWORD),
        Behind::NoPassword => new,
        Behind::Disabled => new.password(PASSWORD).status(Status::disabled("gone")),
        Behind::Pending => new.password(PASSWORD).status(Status::pending()),
    };
    world.gate.users().create(new).unwrap();
    world
}

/// Everything that somebody outside can see of an attempt.
fn outside(world: &World, name: &str, password: &str, client: &Client) -> (Option<Denial>, u64, String) {
    let before = world.gate.password_hashes_computed();
    let error = world.gate.login(&Credentials::password(name, password), client).unwrap_err();
    let hashes = world.gate.password_hashes_computed() - before;
    (error.denial(), hashes, format!("{error:?}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_sequence_of_answers_is_the_same(
        schedule in proptest::collection::vec((0_u8..4, any::<bool>(), any::<bool>(), 0_usize..6), 1..60),
    ) {
        let worlds = [Behind::Nobody, Behind::Active, Behind::NoPassword, Behind::Disabled, Behind::Pending]
            .map(|what| (what, behind(what)));
        for (address, right, other_name, wait) in schedule {
            let client = match address {
                0 => Client::new(),
                number => super::at(&format!("192.0.2.{number}")),
            };
            let name = if other_name { "bystander" } else { "name" };
            let mut seen = Vec::new();
            for (what, world) in &worlds {
                // The right password of an active account is what may make a difference.
                let right = right && !other_name && !matches!(what, Behind::Active);
                seen.push(outside(world, name, if right { PASSWORD } else { OTHER }, &client));
                world.clock.advance(Duration::from_millis([0, 0, 0, 29_999, 61_000, 4_000_000][wait]));
            }
            prop_assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:?}");
        }
    }
}

/// The names of one user are counted each by itself, as two names that nobody has are; the spellings of one are one.
#[test]
fn the_names_of_a_user_do_not_tell_that_they_are_of_one() {
    let world = world_with(|builder| builder);
    let ada = NewUser::new("ada").password(PASSWORD).contact(NewContact::email("ada@example.org").verified());
    let ada = world.gate.users().create(ada).unwrap().id;
    for (name, address) in [("ada", "ADA@example.ORG"), ("nobody", "Nobody@example.org")] {
        for spelling in [name, &name.to_uppercase(), name, name, &name.to_uppercase()] {
            assert_eq!(outside(&world, spelling, OTHER, &Client::new()).0, Some(Denial::Credentials));
        }
        assert!(outside(&world, name, OTHER, &Client::new()).0.unwrap().retry_after().is_some());
        for spelling in [address, &address.to_lowercase(), address, address, &address.to_lowercase()] {
            assert_eq!(outside(&world, spelling, OTHER, &Client::new()).0, Some(Denial::Credentials));
        }
        assert!(outside(&world, address, OTHER, &Client::new()).0.unwrap().retry_after().is_some());
    }
    // The stop counts all of them, and another password clears all of them.
    let protection = world.gate.users().login_protection(ada).unwrap();
    assert_eq!(protection.failures[0].failures, 10);
    world.gate.users().set_password(ada, OTHER).unwrap();
    for name in ["ada", "ada@example.org"] {
        world.gate.login(&Credentials::password(name, OTHER), &Client::new()).unwrap();
    }
}

/// Once an account is stopped, its right password makes no difference either.
#[test]
fn a_stopped_account_is_like_nobodys() {
    let (nobody, stopped) = (behind(Behind::Nobody), behind(Behind::Active));
    for round in 0..40 {
        let right = round > 12 && round % 2 == 0;
        let seen = [&nobody, &stopped].map(|world| {
            let password = if right { PASSWORD } else { OTHER };
            let seen = outside(world, "name", password, &Client::new());
            world.clock.advance(secs(900));
            seen
        });
        assert_eq!(seen[0], seen[1], "{round}");
    }
    let id = stopped.gate.users().find("name").unwrap().unwrap().id;
    assert!(stopped.gate.users().login_protection(id).unwrap().is_stopped());
}
