//! E-mail addresses: their forms, who has verified them, and logging in by them.

use crate::login::Hook;
use crate::names::on_both_backends;
use crate::support::{Disk, OTHER, PASSWORD, all, everything, is_live, log_in, refused, sound, user, world};
use portcullis::{
    Builder, Contact, ContactId, ContactKind, Denial, EmailLocalPart, Error, ErrorKind, NewContact, NewUser,
    Portcullis, Status, UserChange, UserId,
};
use std::sync::Barrier;

/// A user with a verified address.
fn holder(gate: &Portcullis, login: &str, address: &str) -> UserId {
    let new = NewUser::new(login).password(PASSWORD).contact(NewContact::email(address).verified());
    gate.users().create(new).unwrap().id
}

fn verify(gate: &Portcullis, user: UserId, address: &str) -> Result<Contact, Error> {
    let contact = gate.users().add_contact(user, &NewContact::email(address)).unwrap();
    gate.users().verify_contact(user, contact.id)
}

#[track_caller]
fn opens(gate: &Portcullis, login: &str, due: Option<UserId>) {
    match log_in(gate, login, PASSWORD) {
        Ok(login) => assert_eq!(Some(login.user()), due),
        Err(error) => assert_eq!((error.denial(), None), (Some(Denial::Credentials), due), "{login}"),
    }
}

#[test]
fn a_verified_address_logs_in_and_no_other_one_does() {
    let world = world();
    let (gate, users) = (&world.gate, world.gate.users());
    let ada = world.user("ada").id;
    let work = users.add_contact(ada, &NewContact::email("Ada@MÜNCHEN.de")).unwrap();
    let home = users.add_contact(ada, &NewContact::email("ada@home.org")).unwrap();
    // What is no e-mail address opens nothing, whatever it looks like.
    let other = NewContact::of(ContactKind::Other, "ada@other.org").verified();
    assert!(users.add_contact(ada, &other).unwrap().verified.is_some());
    users.add_contact(ada, &NewContact::phone("+4420").verified()).unwrap();
    for login in ["ada@münchen.de", "ada@home.org", "ada@other.org", "+4420"] {
        opens(gate, login, None);
    }
    users.verify_contact(ada, work.id).unwrap();
    for login in ["Ada@MÜNCHEN.de", "ADA@xn--mnchen-3ya.de", "ada@mu\u{308}nchen.DE", "ADA"] {
        opens(gate, login, Some(ada));
    }
    opens(gate, "ada@home.org", None);
    users.verify_contact(ada, home.id).unwrap();
    opens(gate, "ada@home.org", Some(ada));
    users.verify_contact(ada, home.id).unwrap();
    let live = log_in(gate, "ada@home.org", PASSWORD).unwrap();
    users.remove_contact(ada, home.id).unwrap();
    opens(gate, "ada@home.org", None);
    assert!(is_live(gate, live.token().as_str()), "removing an address ends no session");
    users.set_status(ada, Status::disabled("for a while")).unwrap();
    opens(gate, "ada@münchen.de", None);
    users.set_status(ada, Status::active()).unwrap();
    opens(gate, "ada@münchen.de", Some(ada));
    sound(gate);
    users.delete(ada).unwrap();
    opens(gate, "ada@münchen.de", None);
    let eve = holder(gate, "eve", "ada@münchen.de");
    opens(gate, "ada@münchen.de", Some(eve));
    sound(gate);
}

#[test]
fn one_hash_is_computed_whatever_is_typed() {
    let world = world();
    holder(&world.gate, "ada", "ada@x.org");
    world.gate.users().create(NewUser::new("bob").email("bob@x.org")).unwrap();
    for login in
        ["ada", "ada@x.org", "nobody", "nobody@x.org", "bob@x.org", "bob", "", "a b", "\u{202E}@x.org"]
    {
        let before = world.gate.password_hashes_computed();
        log_in(&world.gate, login, OTHER).unwrap_err();
        assert_eq!(world.gate.password_hashes_computed(), before + 1, "{login:?}");
    }
}

#[test]
fn a_verified_address_belongs_to_one_user() {
    let world = world();
    let (gate, users) = (&world.gate, world.gate.users());
    let ada = holder(gate, "ada", "Team@Example.org");
    let bob = world.user("bob").id;
    let contact = users.add_contact(bob, &NewContact::email("team@EXAMPLE.org")).unwrap();
    let before = everything(gate);
    refused(users.verify_contact(bob, contact.id), ErrorKind::AlreadyExists, Some("email"));
    let added = users.add_contact(bob, &NewContact::email("TEAM@example.org").verified());
    refused(added, ErrorKind::AlreadyExists, Some("email"));
    let new = NewUser::new("eve").contact(NewContact::email("team@example.org").verified());
    refused(users.create(new), ErrorKind::AlreadyExists, Some("email"));
    // The same one twice, of one user.
    let twice = users.add_contact(ada, &NewContact::email("team@example.org").verified());
    refused(twice, ErrorKind::AlreadyExists, Some("email"));
    let twice = NewUser::new("eve")
        .contact(NewContact::email("e@x.org").verified())
        .contact(NewContact::email("E@x.org").verified());
    refused(users.create(twice), ErrorKind::AlreadyExists, Some("email"));
    let batch = ["u", "v"].map(|login| NewUser::new(login).contact(NewContact::email("b@x.org").verified()));
    refused(users.create_many(batch), ErrorKind::AlreadyExists, Some("email"));
    assert_eq!(everything(gate), before);
    opens(gate, "team@example.org", Some(ada));
    users.remove_contact(ada, ContactId::from_number(0)).unwrap();
    users.verify_contact(bob, contact.id).unwrap();
    opens(gate, "team@example.org", Some(bob));
    sound(gate);
}

#[test]
fn a_name_and_an_address_are_one_persons() {
    let world = world();
    let (gate, users) = (&world.gate, world.gate.users());
    let ada = holder(gate, "ada", "Ada@MÜNCHEN.de");
    let bob = user(gate, "bob@münchen.de").id;
    let eve = world.user("eve").id;
    let mine = users.add_contact(eve, &NewContact::email("BOB@xn--mnchen-3ya.de")).unwrap();
    let before = everything(gate);
    for login in [
        "ada@münchen.de",
        "ADA@xn--mnchen-3ya.de",
        "ada@mu\u{308}nchen.de",
        "ada＠münchen.de",
        "ａda@münchen.de",
    ] {
        refused(users.create(NewUser::new(login)), ErrorKind::AlreadyExists, Some("login"));
        let rename = users.update(eve, UserChange::new().login(login));
        refused(rename, ErrorKind::AlreadyExists, Some("login"));
    }
    refused(users.create(NewUser::new("bob@xn--mnchen-3ya.de")), ErrorKind::AlreadyExists, Some("login"));
    refused(users.verify_contact(eve, mine.id), ErrorKind::AlreadyExists, Some("email"));
    let batches = [
        [NewUser::new("c@x.org"), NewUser::new("d").contact(NewContact::email("C@x.org").verified())],
        [NewUser::new("d").contact(NewContact::email("C@x.org").verified()), NewUser::new("c@x.org")],
    ];
    for batch in batches {
        let error = users.create_many(batch).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    }
    assert_eq!(everything(gate), before);
    opens(gate, "ada@münchen.de", Some(ada));
    opens(gate, "bob@münchen.de", Some(bob));
    // One's own name may be one's own address, in both orders and at once.
    verify(gate, bob, "Bob@münchen.de").unwrap();
    users.update(ada, UserChange::new().login("ada@xn--mnchen-3ya.de")).unwrap();
    let own = NewUser::new("dan@x.org").contact(NewContact::email("dan@x.org").verified());
    let dan = users.create(own.password(PASSWORD)).unwrap().id;
    for (login, due) in [("bob@münchen.de", bob), ("ada@münchen.de", ada), ("dan@x.org", dan)] {
        opens(gate, login, Some(due));
    }
    // A name that is given up is free, and so is an address.
    users.update(bob, UserChange::new().login("bob")).unwrap();
    refused(users.verify_contact(eve, mine.id), ErrorKind::AlreadyExists, Some("email"));
    users.remove_contact(bob, ContactId::from_number(0)).unwrap();
    users.verify_contact(eve, mine.id).unwrap();
    opens(gate, "bob@münchen.de", Some(eve));
    sound(gate);
}

/// What a deleted user had is free at once, also where sweeping it has not come to it.
#[test]
fn an_address_is_free_when_its_user_is_deleted() {
    let world = world();
    let (gate, users) = (&world.gate, world.gate.users());
    for (round, take) in [0, 1, 2].into_iter().enumerate() {
        let old = world.user("old").id;
        for number in 0..400 {
            users.add_contact(old, &NewContact::phone(format!("{number}"))).unwrap();
        }
        let address = format!("late{round}@x.org");
        verify(gate, old, &address).unwrap();
        let eve = world.user(&format!("eve{round}")).id;
        users.delete(old).unwrap();
        opens(gate, &address, None);
        match take {
            0 => drop(verify(gate, eve, &address).unwrap()),
            1 => drop(users.update(eve, UserChange::new().login(address.as_str())).unwrap()),
            _ => drop(holder(gate, "new", &address)),
        }
        while gate.maintain(1000).unwrap().more {}
        if take != 2 {
            opens(gate, &address, Some(eve));
        }
        sound(gate);
    }
}

#[test]
fn of_64_users_who_verify_one_address_exactly_one_has_it() {
    on_both_backends(|gate, rounds| {
        let users: Vec<UserId> = (0..64)
            .map(|number| gate.users().create(NewUser::new(format!("u{number}"))).unwrap().id)
            .collect();
        for round in 0..rounds {
            let contacts: Vec<_> = users
                .iter()
                .enumerate()
                .map(|(number, user)| {
                    let local = ["team", "TEAM", "Team"][number % 3];
                    let contact = NewContact::email(format!("{local}{round}@x.org"));
                    gate.users().add_contact(*user, &contact).unwrap()
                })
                .collect();
            let barrier = Barrier::new(64);
            let won: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = contacts
                    .iter()
                    .map(|contact| {
                        let barrier = &barrier;
                        scope.spawn(move || {
                            barrier.wait();
                            gate.users().verify_contact(contact.user, contact.id)
                        })
                    })
                    .collect();
                threads.into_iter().filter_map(|thread| thread.join().unwrap().ok()).collect()
            });
            assert_eq!(won.len(), 1);
        }
        sound(gate);
    });
}

/// Half of the threads want it as a name, half as an address.
#[test]
fn an_address_is_won_as_a_name_or_as_a_contact_and_never_as_both() {
    on_both_backends(|gate, rounds| {
        for round in 0..rounds {
            let address = format!("prize{round}@münchen.de");
            let contacts: Vec<_> = (0..32)
                .map(|number| {
                    let user = gate.users().create(NewUser::new(format!("r{round}u{number}"))).unwrap().id;
                    gate.users().add_contact(user, &NewContact::email(address.as_str())).unwrap()
                })
                .collect();
            let barrier = Barrier::new(64);
            let won: usize = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..64)
                    .map(|thread| {
                        let (barrier, contact) = (&barrier, &contacts[thread / 2]);
                        let name = format!("prize{round}@xn--mnchen-3ya.de");
                        scope.spawn(move || {
                            barrier.wait();
                            let users = gate.users();
                            match thread % 4 {
                                0 | 2 => users.verify_contact(contact.user, contact.id).is_ok(),
                                1 => users.create(NewUser::new(name)).is_ok(),
                                _ => {
                                    let spare = contact.user;
                                    users.update(spare, UserChange::new().login(name)).is_ok()
                                }
                            }
                        })
                    })
                    .collect();
                threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum()
            });
            let named = gate.users().find(&format!("prize{round}@xn--mnchen-3ya.de")).unwrap();
            let verified: Vec<UserId> = contacts
                .iter()
                .filter(|contact| {
                    all(|page| gate.users().contacts(contact.user, page)).iter().any(|c| c.verified.is_some())
                })
                .map(|contact| contact.user)
                .collect();
            // One user may win both ways, no two may.
            let mut owners: Vec<UserId> = named.iter().map(|user| user.id).chain(verified).collect();
            owners.dedup();
            assert!((1..=2).contains(&won) && owners.len() == 1, "{won} {owners:?}");
        }
        sound(gate);
    });
}

#[test]
fn what_is_taken_while_a_change_is_planned_is_seen() {
    type Step = fn(&Portcullis, UserId) -> Result<(), Error>;
    let name: Step = |gate, user| gate.users().update(user, UserChange::new().login("a@x.org")).map(drop);
    let verify: Step = |gate, user| gate.users().verify_contact(user, ContactId::from_number(0)).map(drop);
    let create: Step = |gate, _| gate.users().create(NewUser::new("a@x.org")).map(drop);
    for (first, second) in
        [(name, verify), (verify, name), (verify, verify), (create, verify), (verify, create), (name, create)]
    {
        let hook = Hook::new();
        let builder = Portcullis::builder().entropy(hook.clone()).danger_fast_password_hashes();
        let gate = builder.in_memory().unwrap();
        let [ada, bob] =
            ["ada", "bob"].map(|login| gate.users().create(NewUser::new(login).email("A@x.org")).unwrap().id);
        let inner = gate.clone();
        hook.at_draw_of(16, move || first(&inner, ada).unwrap());
        assert_eq!(second(&gate, bob).unwrap_err().kind(), ErrorKind::AlreadyExists);
        sound(&gate);
    }
}

#[test]
fn case_in_the_local_part_counts_where_the_policy_says_so_and_can_be_changed() {
    let disk = Disk::new();
    let open = |policy| disk.open_with(|builder: Builder| builder.email_local_part(policy)).unwrap();
    let found = |gate: &Portcullis, address: &str| all(|page| gate.users().by_email(address, page)).len();
    let gate = open(EmailLocalPart::CaseSensitive);
    let ada = holder(&gate, "ada", "Ada@Example.org");
    let bob = user(&gate, "bob").id;
    gate.users().add_contact(bob, &NewContact::email("ada@example.org")).unwrap();
    opens(&gate, "Ada@EXAMPLE.org", Some(ada));
    opens(&gate, "ada@example.org", None);
    assert_eq!(
        [found(&gate, "Ada@example.ORG"), found(&gate, "ada@example.org"), found(&gate, "ADA@example.org")],
        [1, 1, 0]
    );
    // No two users verify addresses that differ in case alone, under either policy.
    let verified = gate.users().verify_contact(bob, ContactId::from_number(0));
    refused(verified, ErrorKind::AlreadyExists, Some("email"));
    gate.close().unwrap();
    let gate = open(EmailLocalPart::CaseInsensitive);
    for login in ["ada@example.org", "ADA@example.org"] {
        opens(&gate, login, Some(ada));
        assert_eq!(found(&gate, login), 2);
    }
    sound(&gate);
    gate.close().unwrap();
    let gate = open(EmailLocalPart::CaseSensitive);
    opens(&gate, "ada@example.org", None);
    sound(&gate);
}

/// Mass assignment (OWASP ASVS 5.0, 15.3.3): what the user may edit is a field of its own in a change, and values of
/// whatever name in it are values and nothing else.
#[test]
fn a_profile_can_not_change_what_an_account_is() {
    let world = world();
    let users = world.gate.users();
    let role = world.gate.roles().create("root", []).unwrap();
    let ada = users.create(NewUser::new("ada").password(PASSWORD).status(Status::locked("why"))).unwrap();
    let names = [
        "id",
        "login",
        "canonical",
        "status",
        "status.kind",
        "home",
        "generation",
        "role",
        "roles",
        "password",
        "phc",
        "verified",
        "email",
        "stamp",
        "created",
        "is_admin",
    ];
    let values = || names.iter().map(|name| ((*name).to_owned(), 0_i64.into())).collect();
    let before = portcullis::testing::dump(&world.gate).unwrap();
    let changed = users.update(ada.id, UserChange::new().profile(values()).preferences(values())).unwrap();
    assert_eq!((changed.id, &changed.login, &changed.status), (ada.id, &ada.login, &ada.status));
    assert_eq!((changed.home, changed.created), (ada.home, ada.created));
    let touched: Vec<&str> = portcullis::testing::dump(&world.gate)
        .unwrap()
        .into_iter()
        .filter(|row| !before.contains(row) && !row.table.starts_with("audit"))
        .map(|row| row.table)
        .collect();
    assert_eq!(touched, ["user_attributes", "user_attributes"]);
    assert!(all(|page| world.gate.roles().holders(role, page)).is_empty());
    log_in(&world.gate, "ada", PASSWORD).unwrap_err();
    users.set_status(ada.id, Status::active()).unwrap();
    assert_eq!(log_in(&world.gate, "ada", PASSWORD).unwrap().user(), ada.id);
}

/// A name is found by characters of another width, an address is not: what is one user's name to the one rule and another
/// user's address to the other opens neither account.
#[test]
fn what_is_one_users_name_and_another_users_address_is_nobodys() {
    let world = world();
    let gate = &world.gate;
    let wide = "\u{ff41}da@x.org";
    let address = NewContact::email(wide).verified();
    let bob = gate.users().create(NewUser::new("bob").password(OTHER).contact(address)).unwrap().id;
    assert_eq!(log_in(gate, wide, OTHER).unwrap().user(), bob);
    let ada = user(gate, "ada@x.org").id;
    for password in [PASSWORD, OTHER] {
        assert_eq!(log_in(gate, wide, password).unwrap_err().denial(), Some(Denial::Credentials));
    }
    assert_eq!(world.login("ada@x.org").user(), ada);
    assert_eq!(log_in(gate, "bob", OTHER).unwrap().user(), bob);
}
