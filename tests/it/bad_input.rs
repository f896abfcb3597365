//! Whatever a caller hands over: a typed error that names the field, and nothing changed.

use crate::support::{PASSWORD, everything, log_in, refused, sound, user, world};
use portcullis::{
    Attributes, Client, ContactId, Credentials, Cursor, ErrorKind, NewContact, NewUser, PageRequest,
    PasswordCost, Permission, PermissionSet, Portcullis, Result, RoleChange, RoleId, SessionId,
    SessionLimits, Status, StatusKind, Timestamp, UserChange, UserId, Value,
};
use std::time::Duration;

const KIB: usize = 1024;

/// A public call that takes a text: the field that its error names, the longest text that it takes, whether an empty
/// one is fine, and the call itself.
struct Call {
    field: &'static str,
    longest: usize,
    may_be_empty: bool,
    run: fn(&Portcullis, &str) -> Result<()>,
}

const ADA: UserId = UserId::from_number(0);
const ROLE: RoleId = RoleId::from_number(0);

const fn call(
    field: &'static str,
    longest: usize,
    may_be_empty: bool,
    run: fn(&Portcullis, &str) -> Result<()>,
) -> Call {
    Call { field, longest, may_be_empty, run }
}

fn map(name: &str, value: &str) -> Attributes {
    [(name.to_owned(), Value::from(value))].into()
}

const CALLS: &[Call] = &[
    call("login", 128, false, |gate, text| gate.users().create(NewUser::new(text)).map(drop)),
    call("login", 128, false, |gate, text| gate.users().find(text).map(drop)),
    call("login", 128, false, |gate, text| gate.users().update(ADA, UserChange::new().login(text)).map(drop)),
    call("contact.label", 128, true, |gate, text| {
        gate.users().add_contact(ADA, &NewContact::phone("1").label(text)).map(drop)
    }),
    call("contact.value", 512, false, |gate, text| {
        gate.users().add_contact(ADA, &NewContact::phone(text)).map(drop)
    }),
    call("contact.value", 512, false, |gate, text| {
        gate.users().create(NewUser::new("new").contact(NewContact::phone(text))).map(drop)
    }),
    call("profile", 128, false, |gate, text| {
        gate.users().create(NewUser::new("new").profile(text, 1)).map(drop)
    }),
    call("profile", 512, true, |gate, text| {
        gate.users().create(NewUser::new("new").profile("a", text)).map(drop)
    }),
    call("preferences", 128, false, |gate, text| {
        gate.users().update(ADA, UserChange::new().preferences(map(text, "x"))).map(drop)
    }),
    call("preferences", 512, true, |gate, text| {
        gate.users().update(ADA, UserChange::new().preferences(map("a", text))).map(drop)
    }),
    call("status.reason", 512, true, |gate, text| {
        gate.users().set_status(ADA, Status::locked(text)).map(drop)
    }),
    call("status.reason", 512, true, |gate, text| {
        gate.users().create(NewUser::new("new").status(Status::disabled(text))).map(drop)
    }),
    call("role.name", 128, false, |gate, text| gate.roles().create(text, []).map(drop)),
    call("role.name", 128, false, |gate, text| gate.roles().find(text).map(drop)),
    call("role.name", 128, false, |gate, text| {
        gate.roles().update(ROLE, RoleChange::new().name(text)).map(drop)
    }),
    call("role.description", 512, true, |gate, text| gate.roles().create_as("new", text, []).map(drop)),
    call("role.description", 512, true, |gate, text| {
        gate.roles().update(ROLE, RoleChange::new().description(text)).map(drop)
    }),
    call("permission.name", 128, false, |gate, text| gate.permissions().define(text).map(drop)),
    call("permission.name", 128, false, |gate, text| gate.permissions().find(text).map(drop)),
    call("permission.name", 128, false, |gate, text| {
        gate.permissions().define_many(["fine", text]).map(drop)
    }),
    call("permission.description", 512, true, |gate, text| {
        gate.permissions().define_as("new", text).map(drop)
    }),
    call("client.device", 128, true, |gate, text| {
        gate.login(&Credentials::password("ada", PASSWORD), &Client::new().device(text)).map(drop)
    }),
    call("client.user_agent", 512, true, |gate, text| {
        gate.login(&Credentials::password("ada", PASSWORD), &Client::new().user_agent(text)).map(drop)
    }),
];

/// A user and a role, both number 0.
fn gate() -> Portcullis {
    let gate = world().gate;
    assert_eq!((user(&gate, "ada").id, gate.roles().create("role", []).unwrap()), (ADA, ROLE));
    gate
}

#[test]
fn text_that_breaks_a_rule_is_refused_by_name_and_changes_nothing() {
    for (number, call) in CALLS.iter().enumerate() {
        let gate = gate();
        let before = everything(&gate);
        let hashes = gate.password_hashes_computed();
        let mut bad = vec![
            "x".repeat(call.longest + 1),
            "é".repeat(call.longest / 2 + 1),
            "x".repeat(KIB * KIB),
            "\u{202E}".repeat(1000),
            "nul\0".to_owned(),
            "line\nbreak".to_owned(),
            "\u{202E}override".to_owned(),
            "zero\u{200B}width".to_owned(),
            "bell\u{7}".to_owned(),
            "para\u{2029}graph".to_owned(),
            "\u{FEFF}mark".to_owned(),
            "tag\u{E0041}".to_owned(),
        ];
        if !call.may_be_empty {
            bad.push(String::new());
        }
        for text in &bad {
            let error = refused((call.run)(&gate, text), ErrorKind::InvalidInput, Some(call.field));
            assert!(error.to_string().len() < 300, "an error does not repeat a megabyte");
            assert!(!error.to_string().contains(char::is_control), "{error:?}");
        }
        assert_eq!(everything(&gate), before, "{} ({number})", call.field);
        assert_eq!(gate.password_hashes_computed(), hashes);
        (call.run)(&gate, &"x".repeat(call.longest)).unwrap();
        sound(&gate);
    }
}

#[test]
fn names_that_only_look_alike_are_refused() {
    let gate = gate();
    let before = everything(&gate);
    // Lone and stacked marks, forms that another spelling composes or folds to, spaces.
    for text in ["\u{301}", "x\u{301}\u{302}", "ﬁ", "a b", "a\u{A0}b", " a", "a ", "\u{1D400}da"] {
        refused(gate.users().create(NewUser::new(text)), ErrorKind::InvalidInput, Some("login"));
        refused(gate.users().find(text), ErrorKind::InvalidInput, Some("login"));
    }
    for text in ["e\u{301}", " a", "a ", "\u{3000}a", "\u{212B}"] {
        refused(gate.roles().create(text, []), ErrorKind::InvalidInput, Some("role.name"));
        refused(gate.permissions().define(text), ErrorKind::InvalidInput, Some("permission.name"));
    }
    let long = format!("{}@x.org", "a".repeat(249));
    for text in
        ["", "x", "@x.org", "x@", "a b@x.org", "a@x.org\n", "a@.org", "\u{202E}a@x.org", long.as_str()]
    {
        refused(
            gate.users().add_contact(ADA, &NewContact::email(text)),
            ErrorKind::InvalidInput,
            Some("email"),
        );
        refused(gate.users().create(NewUser::new("new").email(text)), ErrorKind::InvalidInput, Some("email"));
        let found = gate.users().by_email(text, &PageRequest::first(1));
        refused(found, ErrorKind::InvalidInput, Some("email"));
    }
    assert_eq!(everything(&gate), before);
}

#[test]
fn passwords_have_a_shortest_and_a_longest_length() {
    let gate = gate();
    let before = everything(&gate);
    let hashes = gate.password_hashes_computed();
    for password in
        ["", "x", "fourteen chars", "ééééééé", &"x".repeat(1025), &"é".repeat(513), &"x".repeat(KIB * KIB)]
    {
        refused(gate.users().set_password(ADA, password), ErrorKind::InvalidInput, Some("password"));
        let new = NewUser::new("new").password(password);
        refused(gate.users().create(new), ErrorKind::InvalidInput, Some("password"));
    }
    refused(gate.users().set_password(UserId::from_number(9), PASSWORD), ErrorKind::NotFound, Some("user"));
    assert_eq!(everything(&gate), before);
    assert_eq!(gate.password_hashes_computed(), hashes);
    gate.users().set_password(ADA, "fifteen chars !").unwrap();
    assert!(log_in(&gate, "ada", "fifteen chars !").is_ok());
}

#[test]
fn unknown_numbers_are_not_found() {
    let gate = gate();
    let before = everything(&gate);
    let page = PageRequest::first(1);
    for number in [1, 9999, u64::from(u32::MAX), u64::from(u32::MAX) + 1, u64::MAX] {
        let id = UserId::from_number(number);
        let (users, contact) = (gate.users(), ContactId::from_number(0));
        for result in [
            users.get(id).map(drop),
            users.update(id, UserChange::new().login("x")).map(drop),
            users.set_status(id, Status::active()).map(drop),
            users.set_password(id, PASSWORD),
            users.profile(id).map(drop),
            users.preferences(id).map(drop),
            users.add_contact(id, &NewContact::phone("1")).map(drop),
            users.contacts(id, &page).map(drop),
            users.delete(id),
            gate.roles().assign(id, ROLE),
            gate.roles().of_user(id, &page).map(drop),
            gate.sessions().of_user(id, &page).map(drop),
            gate.sessions().revoke_all(id),
        ] {
            refused(result, ErrorKind::NotFound, Some("user"));
        }
        refused(users.verify_contact(id, contact), ErrorKind::NotFound, Some("contact"));
        refused(users.remove_contact(id, contact), ErrorKind::NotFound, Some("contact"));
        assert!(!gate.check(id, Permission::from_bit(0)).unwrap().is_allowed());
        assert!(!gate.check_all(id, &PermissionSet::new()).unwrap().is_allowed());
        let session = SessionId::from_number(number);
        for result in [
            gate.sessions().get(session).map(drop),
            gate.sessions().revoke(session),
            gate.sessions().revoke_others(session),
        ] {
            refused(result, ErrorKind::NotFound, Some("session"));
        }
    }
    refused(
        gate.users().remove_contact(ADA, ContactId::from_number(7)),
        ErrorKind::NotFound,
        Some("contact"),
    );
    for number in [1, 9999, u32::MAX] {
        let id = RoleId::from_number(number);
        refused(gate.roles().get(id), ErrorKind::NotFound, Some("role"));
        refused(gate.roles().holders(id, &page), ErrorKind::NotFound, Some("role"));
        refused(gate.roles().delete(id), ErrorKind::NotFound, Some("role"));
        let permission = Permission::from_bit(number);
        refused(gate.permissions().get(permission), ErrorKind::NotFound, Some("permission"));
        refused(gate.permissions().delete(permission), ErrorKind::NotFound, Some("permission"));
        assert!(!gate.check(ADA, permission).unwrap().is_allowed());
    }
    assert_eq!(everything(&gate), before);
}

#[test]
fn only_a_shut_account_can_open_by_itself() {
    let gate = gate();
    let before = everything(&gate);
    for status in [Status::active(), Status::pending()] {
        let status = status.until(Timestamp::MAX);
        refused(gate.users().set_status(ADA, status.clone()), ErrorKind::InvalidInput, Some("status.until"));
        let new = NewUser::new("new").status(status);
        refused(gate.users().create(new), ErrorKind::InvalidInput, Some("status.until"));
    }
    assert_eq!(everything(&gate), before);
}

type Listing<'g> = Box<dyn Fn(&PageRequest) -> Result<()> + 'g>;

/// All listings, each as a question for one page.
fn listings(gate: &Portcullis) -> Vec<Listing<'_>> {
    use portcullis::{Actor, AuditKind, Subject};
    vec![
        Box::new(|page| gate.users().list(page).map(drop)),
        Box::new(|page| gate.users().by_status(StatusKind::Active, page).map(drop)),
        Box::new(|page| gate.users().by_email("a@x.org", page).map(drop)),
        Box::new(|page| gate.users().contacts(ADA, page).map(drop)),
        Box::new(|page| gate.roles().list(page).map(drop)),
        Box::new(|page| gate.roles().of_user(ADA, page).map(drop)),
        Box::new(|page| gate.roles().holders(ROLE, page).map(drop)),
        Box::new(|page| gate.permissions().list(page).map(drop)),
        Box::new(|page| gate.sessions().of_user(ADA, page).map(drop)),
        Box::new(|page| gate.sessions().by_expiry(page).map(drop)),
        Box::new(|page| gate.audit().list(page).map(drop)),
        Box::new(|page| gate.audit().by_actor(Actor::System, page).map(drop)),
        Box::new(|page| gate.audit().by_subject(Subject::User(ADA), page).map(drop)),
        Box::new(|page| gate.audit().by_kind(AuditKind::UserCreated, page).map(drop)),
    ]
}

#[test]
fn pages_have_1_to_1000_items() {
    let gate = gate();
    for list in listings(&gate) {
        for limit in [0, 1001, usize::MAX] {
            refused(list(&PageRequest::first(limit)), ErrorKind::InvalidInput, Some("limit"));
        }
        list(&PageRequest::first(1000)).unwrap();
        list(&PageRequest::default()).unwrap();
    }
}

#[test]
fn a_cursor_of_another_listing_or_from_nowhere_breaks_nothing() {
    let gate = gate();
    for text in ["!", "a", "pcs-!", "====", "é", &"A".repeat(2052), "AA\n", "A B"] {
        refused(Cursor::from_text(text), ErrorKind::InvalidInput, Some("cursor"));
    }
    // A cursor is only a place in an order: one that is shaped like one is taken or refused, and never more.
    let cursors = ["", "AA", "AAAAAAAAAAAAAAAB", "__________________8", &"A".repeat(2048)];
    for text in cursors {
        let cursor = Cursor::from_text(text).unwrap();
        for list in listings(&gate) {
            for page in [PageRequest::first(5), PageRequest::first(5).descending()] {
                if let Err(error) = list(&page.after(Some(cursor.clone()))) {
                    assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidInput, Some("cursor")));
                }
            }
        }
    }
    gate.users().add_contact(ADA, &NewContact::phone("1")).unwrap();
    gate.users().add_contact(ADA, &NewContact::phone("2")).unwrap();
    let eve = user(&gate, "eve").id;
    gate.users().add_contact(eve, &NewContact::phone("secret number")).unwrap();
    let next = gate.users().contacts(ADA, &PageRequest::first(1)).unwrap().next;
    let other = gate.users().contacts(eve, &PageRequest::first(9).after(next.clone()));
    refused(other, ErrorKind::InvalidInput, Some("cursor"));
    let own = gate.users().contacts(ADA, &PageRequest::first(9).after(next)).unwrap();
    assert!(own.items.len() == 1 && own.items.iter().all(|contact| contact.user == ADA));
}

#[test]
fn settings_that_protect_nothing_are_refused() {
    for (memory, passes) in
        [(0, 0), (8, 1), (19_455, 2), (47_103, 1), (u32::MAX, 2), (19_456, 65), (19_456, 0)]
    {
        refused(PasswordCost::new(memory, passes), ErrorKind::InvalidInput, Some("password_cost"));
    }
    assert_eq!(PasswordCost::new(19_456, 2).unwrap(), PasswordCost::default());
    let (second, day) = (Duration::from_secs(1), Duration::from_secs(86_400));
    for (idle, absolute, field) in [
        (None, Duration::ZERO, "session.absolute"),
        (None, Duration::from_millis(999), "session.absolute"),
        (None, Duration::MAX, "session.absolute"),
        (None, day * 3650 + second, "session.absolute"),
        (Some(Duration::ZERO), day, "session.idle"),
        (Some(day + second), day, "session.idle"),
    ] {
        refused(SessionLimits::new(idle, absolute), ErrorKind::InvalidInput, Some(field));
    }
    SessionLimits::new(Some(second), day * 3650).unwrap();
    let nobody_hashes = Portcullis::builder().admission(0, 10, Duration::ZERO).in_memory();
    refused(nobody_hashes, ErrorKind::InvalidInput, Some("admission.hashes"));
}

#[test]
fn a_closed_database_answers_that_it_stopped() {
    let world = world();
    let ada = world.user("ada");
    let login = world.login("ada");
    let who = world.gate.authenticate(login.token()).unwrap();
    world.gate.clone().close().unwrap();
    world.gate.close().unwrap();
    let bit = Permission::from_bit(0);
    assert!(!who.can(bit) && !who.can_all(&PermissionSet::new()));
    for result in [
        world.gate.users().get(ada.id).map(drop),
        world.gate.users().delete(ada.id),
        world.gate.authenticate(login.token()).map(drop),
        world.gate.authenticate("garbage").map(drop),
        world.gate.check(ada.id, bit).map(drop),
        who.check(bit).map(drop),
        who.require(bit),
        log_in(&world.gate, "ada", PASSWORD).map(drop),
        world.gate.verify().map(drop),
        world.gate.maintain(10).map(drop),
        world.gate.sessions().revoke_all(ada.id),
    ] {
        refused(result, ErrorKind::Stopped, None);
    }
}
