//! User management: what is kept, how it is found, and who changes it.

use crate::support::{all, backwards, everything, refused, sound, world};
use portcullis::{
    Attributes, Clock, ContactId, ContactKind, ErrorKind, NewContact, NewUser, PageRequest, Portcullis,
    Stamp, Status, StatusKind, User, UserChange, UserId, Value,
};
use std::collections::BTreeMap;
use std::time::Duration;

#[test]
fn a_user_is_kept_as_it_was_given() {
    let world = world();
    let users = world.gate.users();
    let new = NewUser::new("Ada")
        .email("Ada@Example.org")
        .contact(NewContact::phone("+44 20 7946 0000").label("work"))
        .profile("team", "engines")
        .profile("height", 165)
        .preference("dark", true)
        .status(Status::pending());
    let ada = users.create(new).unwrap();
    assert_eq!((ada.login.as_str(), ada.status.kind), ("Ada", StatusKind::Pending));
    assert_eq!((ada.created, ada.updated), (world.clock.now(), world.clock.now()));
    assert_eq!(users.get(ada.id).unwrap(), ada);
    assert_eq!(users.find("aDA").unwrap().as_ref(), Some(&ada));
    let contacts = all(|page| users.contacts(ada.id, page));
    let kept: Vec<_> = contacts.iter().map(|c| (c.kind, c.label.as_str(), c.value.as_str())).collect();
    assert_eq!(
        kept,
        [(ContactKind::Email, "", "Ada@Example.org"), (ContactKind::Phone, "work", "+44 20 7946 0000")]
    );
    let profile = users.profile(ada.id).unwrap();
    assert_eq!((&profile["team"], &profile["height"]), (&Value::from("engines"), &Value::Integer(165)));
    assert_eq!(users.preferences(ada.id).unwrap()["dark"], Value::Bool(true));
    world.after(5);
    let change =
        UserChange::new().profile(Attributes::new()).preferences([("a".to_owned(), Value::from(1))].into());
    let changed = users.update(ada.id, change).unwrap();
    assert!(
        changed.stamp != ada.stamp && changed.updated == world.clock.now() && changed.created == ada.created
    );
    assert_eq!(users.get(ada.id).unwrap(), changed);
    assert!(users.profile(ada.id).unwrap().is_empty());
    assert_eq!(users.preferences(ada.id).unwrap().len(), 1);
    users.delete(ada.id).unwrap();
    for error in [
        users.get(ada.id).unwrap_err(),
        users.profile(ada.id).unwrap_err(),
        users.delete(ada.id).unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.field()), (ErrorKind::NotFound, Some("user")));
    }
    assert_eq!(users.find("ada").unwrap(), None);
    sound(&world.gate);
}

#[test]
fn a_rename_frees_the_old_name_and_takes_the_new_one() {
    let world = world();
    let users = world.gate.users();
    let (ada, bob) = (world.user("ada"), world.user("bob"));
    refused(users.update(ada.id, UserChange::new().login("BOB")), ErrorKind::AlreadyExists, Some("login"));
    users.update(ada.id, UserChange::new().login("ADA")).unwrap();
    assert_eq!(users.find("ada").unwrap().unwrap().login, "ADA", "another spelling of one's own name");
    users.update(ada.id, UserChange::new().login("countess")).unwrap();
    users.update(bob.id, UserChange::new().login("ada")).unwrap();
    assert_eq!(users.find("ada").unwrap().unwrap().id, bob.id);
    assert_eq!(users.find("countess").unwrap().unwrap().id, ada.id);
    assert_eq!(users.find("bob").unwrap(), None);
    sound(&world.gate);
}

#[test]
fn a_stale_stamp_is_a_conflict_that_changes_nothing() {
    let world = world();
    let users = world.gate.users();
    let ada = world.user("ada");
    type Change = fn(&Portcullis, UserId);
    let changes: [Change; 5] = [
        |gate, id| drop(gate.users().update(id, UserChange::new().login("other")).unwrap()),
        |gate, id| drop(gate.users().set_status(id, Status::active()).unwrap()),
        |gate, id| drop(gate.users().add_contact(id, &NewContact::phone("1")).unwrap()),
        |gate, id| drop(gate.users().verify_contact(id, ContactId::from_number(0)).unwrap()),
        |gate, id| drop(gate.users().remove_contact(id, ContactId::from_number(0)).unwrap()),
    ];
    for (number, change) in changes.iter().enumerate() {
        let read = users.get(ada.id).unwrap();
        change(&world.gate, ada.id);
        let before = everything(&world.gate);
        for stamp in [read.stamp, Stamp::from_number(0), Stamp::from_number(u64::MAX)] {
            let stale = UserChange::new().expect(stamp).login("lost");
            refused(users.update(ada.id, stale), ErrorKind::Conflict, Some("stamp"));
        }
        assert_eq!(everything(&world.gate), before, "change {number}");
        let fresh = users.get(ada.id).unwrap();
        users.update(ada.id, UserChange::new().expect(fresh.stamp).login(format!("n{number}"))).unwrap();
    }
    sound(&world.gate);
}

#[test]
fn of_writers_with_one_stamp_one_wins() {
    let world = world();
    let ada = world.user("ada");
    for round in 0..50 {
        let stamp = world.gate.users().get(ada.id).unwrap().stamp;
        let barrier = std::sync::Barrier::new(4);
        let won: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|thread| {
                    let (gate, barrier) = (&world.gate, &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        let change = UserChange::new().expect(stamp).login(format!("r{round}t{thread}"));
                        usize::from(gate.users().update(ada.id, change).is_ok())
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(won, 1);
    }
    sound(&world.gate);
}

#[test]
fn contacts_are_added_verified_and_removed_and_their_numbers_stay_used() {
    let world = world();
    let users = world.gate.users();
    let ada = world.user("ada");
    let first = users.add_contact(ada.id, &NewContact::email("a@example.org").label("home")).unwrap();
    assert_eq!(first.verified, None);
    world.after(3);
    let verified = users.verify_contact(ada.id, first.id).unwrap();
    assert_eq!(verified.verified, Some(world.clock.now()));
    assert_eq!(users.remove_contact(ada.id, first.id).unwrap(), verified);
    refused(users.remove_contact(ada.id, first.id), ErrorKind::NotFound, Some("contact"));
    let second = users.add_contact(ada.id, &NewContact::email("a@example.org")).unwrap();
    assert!(second.id > first.id);
    for number in 0..40 {
        users.add_contact(ada.id, &NewContact::phone(format!("{number}"))).unwrap();
    }
    assert_eq!(all(|page| users.contacts(ada.id, page)).len(), 41);
    assert!(backwards(|page| users.contacts(ada.id, page)).is_sorted_by(|a, b| a.id > b.id));
    sound(&world.gate);
}

#[test]
fn users_are_found_by_any_of_their_addresses_in_any_case() {
    let world = world();
    let users = world.gate.users();
    let mut sharing = Vec::new();
    for number in 0..7 {
        let new =
            NewUser::new(format!("u{number}")).email("Shared@Example.org").email(format!("u{number}@x.org"));
        sharing.push(users.create(new).unwrap().id);
    }
    users.create(NewUser::new("near").email("shared@example.org.uk")).unwrap();
    let find =
        |address: &str| all(|page| users.by_email(address, page)).iter().map(|u| u.id).collect::<Vec<_>>();
    assert_eq!(find("SHARED@example.ORG"), sharing);
    assert_eq!(find("u3@x.org"), [sharing[3]]);
    assert!(find("nobody@x.org").is_empty());
    users.delete(sharing[2]).unwrap();
    users.remove_contact(sharing[4], ContactId::from_number(0)).unwrap();
    assert_eq!(find("shared@example.org").len(), 5);
    sound(&world.gate);
}

#[test]
fn listings_agree_with_a_naive_model_in_both_directions() {
    let world = world();
    let users = world.gate.users();
    let mut model: BTreeMap<UserId, User> = BTreeMap::new();
    let statuses = [Status::active(), Status::pending(), Status::disabled("d"), Status::locked("l")];
    for number in 0_usize..60 {
        let new = NewUser::new(format!("user{}", number * 7919 % 1000)).status(statuses[number % 4].clone());
        let user = users.create(new).unwrap();
        model.insert(user.id, user);
        world.clock.advance(Duration::from_millis([0, 1, 255, 256, 70_000][number % 5]));
        if number % 7 == 3 {
            let (id, _) = model.pop_first().unwrap();
            users.delete(id).unwrap();
        }
        if number % 5 == 4 {
            let id = *model.keys().nth(number / 5 % model.len()).unwrap();
            model.insert(id, users.set_status(id, statuses[number / 5 % 4].clone()).unwrap());
        }
    }
    let mut created: Vec<User> = model.values().cloned().collect();
    created.sort_by_key(|user| (user.created, user.id));
    assert_eq!(all(|page| users.list(page)), created);
    created.reverse();
    assert_eq!(backwards(|page| users.list(page)), created);
    for kind in StatusKind::ALL {
        let mut due: Vec<User> = model.values().filter(|user| user.status.kind == kind).cloned().collect();
        assert_eq!(all(|page| users.by_status(kind, page)), due);
        due.reverse();
        assert_eq!(backwards(|page| users.by_status(kind, page)), due);
    }
    for user in model.values() {
        assert_eq!(users.find(&user.login.to_uppercase()).unwrap().as_ref(), Some(user));
    }
    sound(&world.gate);
}

#[test]
fn a_page_ends_where_it_says_and_a_cursor_survives_text() {
    let world = world();
    let users = world.gate.users();
    for number in 0..10 {
        users.create(NewUser::new(format!("u{number}"))).unwrap();
    }
    let first = users.list(&PageRequest::first(10)).unwrap();
    assert_eq!(first.items.len(), 10);
    let rest = users.list(&PageRequest::first(10).after(first.next)).unwrap();
    assert!(rest.items.is_empty() && rest.next.is_none());
    let four = users.list(&PageRequest::first(4)).unwrap();
    let cursor = portcullis::Cursor::from_text(&four.next.as_ref().unwrap().to_text()).unwrap();
    assert_eq!(Some(&cursor), four.next.as_ref());
    let next = users.list(&PageRequest::first(1).after(Some(cursor))).unwrap();
    assert_eq!(next.items[0].login, "u4");
}

#[test]
fn attributes_keep_to_their_bounds() {
    let world = world();
    let users = world.gate.users();
    let ada = world.user("ada");
    let many =
        |count: usize| -> Attributes { (0..count).map(|n| (format!("a{n}"), Value::from(true))).collect() };
    users.update(ada.id, UserChange::new().profile(many(64)).preferences(many(64))).unwrap();
    let long: Attributes = (0..8).map(|n| (format!("a{n}"), Value::Text("x".repeat(512)))).collect();
    let before = everything(&world.gate);
    for (change, kind, field) in [
        (UserChange::new().profile(many(65)), ErrorKind::LimitExceeded, "profile"),
        (UserChange::new().preferences(many(65)), ErrorKind::LimitExceeded, "preferences"),
        (UserChange::new().profile(long.clone()), ErrorKind::LimitExceeded, "profile"),
        (UserChange::new().preferences(long), ErrorKind::LimitExceeded, "preferences"),
        (
            UserChange::new().profile([("x".repeat(129), true.into())].into()),
            ErrorKind::InvalidInput,
            "profile",
        ),
        (
            UserChange::new().profile([(String::new(), true.into())].into()),
            ErrorKind::InvalidInput,
            "profile",
        ),
        (
            UserChange::new().preferences([("a".into(), "a\nb".into())].into()),
            ErrorKind::InvalidInput,
            "preferences",
        ),
        (
            UserChange::new().login("fine").preferences([("a".into(), Value::Text("x".repeat(513)))].into()),
            ErrorKind::InvalidInput,
            "preferences",
        ),
    ] {
        refused(users.update(ada.id, change), kind, Some(field));
        assert_eq!(everything(&world.gate), before);
    }
    sound(&world.gate);
}

/// The largest users, many at once: how they share commits is no concern of the caller's.
#[test]
fn many_large_users_are_created_at_once() {
    let world = world();
    let large = |number: usize| {
        (0..16).fold(NewUser::new(format!("u{number}")).profile("a", 1).preference("b", 2), |new, contact| {
            new.email(format!("u{number}.{contact}@example.org"))
        })
    };
    let made = world.gate.users().create_many((0..20).map(large)).unwrap();
    assert_eq!(made.len(), 20);
    assert!(made.is_sorted_by_key(|user| user.id));
    for user in &made {
        assert_eq!(all(|page| world.gate.users().contacts(user.id, page)).len(), 16);
    }
    let before = everything(&world.gate);
    let seventeen = (0..17).fold(NewUser::new("x"), |new, contact| new.email(format!("{contact}@x.org")));
    refused(world.gate.users().create(seventeen), ErrorKind::LimitExceeded, Some("contacts"));
    let twins = world.gate.users().create_many([NewUser::new("twin"), NewUser::new("TWIN")]);
    refused(twins, ErrorKind::AlreadyExists, Some("login"));
    assert_eq!(everything(&world.gate), before);
    sound(&world.gate);
}

#[test]
fn a_user_with_one_address_twice_is_listed_once_whatever_the_pages() {
    let gate = Portcullis::in_memory().unwrap();
    for name in ["ada", "bob"] {
        gate.users().create(NewUser::new(name).email("team@example.org").email("Team@Example.org")).unwrap();
    }
    for limit in 1..=4 {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page =
                gate.users().by_email("TEAM@example.org", &PageRequest::first(limit).after(after)).unwrap();
            found.extend(page.items.into_iter().map(|user| user.login));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, ["ada", "bob"], "pages of {limit}");
    }
}
