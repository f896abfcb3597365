//! The stored format: what a release has written, every later one reads. A difference here is a new format, with a new
//! format byte and a decoder for the old one, and not a new snapshot.

use crate::authenticator::Authenticator;
use crate::passkeys::{log_in as passkey_login, register};
use crate::support::{Disk, OTHER, PASSWORD, refused, sound, world, world_with};
use data_encoding::HEXLOWER;
use portcullis::testing::{StoredRow, dump, populate_sessions};
use portcullis::{
    Ability, Answer, Assurance, Builder, Client, ContactId, ContactKind, Credentials, ErrorKind, FlagState,
    FlagTarget, Grant, Impersonation, ImpersonationPolicy, KeyId, Keyring, LoginStep, NewApiKey, NewContact,
    NewFlag, NewUser, PasswordPolicy, Permission, Portcullis, RateLimit, RoleChange, RoleRange, ScopeId,
    SeparationKind, Status, Timestamp, UserId,
};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

/// With a history of passwords, and a pepper.
fn remembering(builder: Builder) -> Builder {
    let policy = PasswordPolicy::new().history(3).unwrap();
    let builder = builder.impersonation(ImpersonationPolicy::new("act").beyond_own_rights("beyond"));
    builder.password_policy(policy).keys(Keyring::new(KeyId::new(7), &[7; 32]).unwrap())
}

/// Every kind of record, and every variant within them.
fn fill(gate: &Portcullis) {
    gate.sessions().revoke_everything().unwrap();
    let at = Timestamp::from_millis(1_800_000_000_123);
    let ada = NewUser::new("Ada")
        .password(PASSWORD)
        .email("Ada@Example.org")
        .contact(NewContact::phone("+44 20").label("work"))
        .contact(NewContact::of(ContactKind::Postal, "1 Mill Lane"))
        .contact(NewContact::of(ContactKind::Other, "@ada"))
        .profile("bool", true)
        .profile("integer", -300)
        .profile("text", "añb")
        .preference("time", at);
    let ada = gate.users().create(ada).unwrap().id;
    for (login, status) in [
        ("pending", Status::pending()),
        ("disabled", Status::disabled("gone")),
        ("locked", Status::locked("shut").until(at)),
    ] {
        gate.users().create(NewUser::new(login).status(status)).unwrap();
    }
    gate.users().verify_contact(ada, ContactId::from_number(0)).unwrap();
    // Names that are found by what they look like and by the address that they are.
    gate.users().create(NewUser::new("Вob")).unwrap();
    gate.users().create(NewUser::new("Eve@MÜNCHEN.de")).unwrap();
    let bits = gate.permissions().define_many(["report:read", "report:write"]).unwrap();
    gate.permissions().define_as("described", "what it is for").unwrap();
    let reader = gate.roles().create_as("reader", "reads", [bits[0]]).unwrap();
    let writer = gate.roles().create("writer", [bits[1]]).unwrap();
    gate.roles().inherit(writer, reader).unwrap();
    gate.roles().assign(ada, writer).unwrap();
    gate.acting_as(ada).roles().assign(UserId::from_number(1), reader).unwrap();
    let doc = gate.scopes().ensure("acme/doc:7").unwrap();
    gate.scopes().move_to(doc, gate.scopes().ensure("acme/folder").unwrap()).unwrap();
    let tenant = gate.scopes().find("acme").unwrap().unwrap();
    let tenants = gate.roles().create_in(tenant, "reader", [bits[0]]).unwrap();
    gate.roles().deny(tenants, [bits[0]]).unwrap();
    gate.roles().update(tenants, RoleChange::new().privileged(true).protected(true)).unwrap();
    let terms = Grant::new().at(doc).not_before(at).until(at.saturating_add(Duration::from_secs(60)));
    gate.roles().assign_with(ada, tenants, &terms.clone().because("why")).unwrap();
    gate.access().grant(ada, bits[0], &terms.denying()).unwrap();
    gate.access().grant(UserId::from_number(1), bits[0], &Grant::break_glass("fire", at)).unwrap();
    gate.permissions().delete(bits[1]).unwrap();
    let delegations = gate.delegations();
    delegations.create(writer, RoleRange::Below(reader), [Ability::Assign, Ability::Unassign]).unwrap();
    let (range, rest) =
        (RoleRange::Roles(vec![reader, tenants]), [Ability::ChangeRoles, Ability::ManageUsers]);
    gate.acting_as(ada).delegations().create(writer, range, rest).unwrap();
    gate.users().create(NewUser::new("tenant").home(tenant)).unwrap();
    gate.delegated(ada).users().delete(ada).unwrap_err();
    for ip in [None, Some("192.0.2.1"), Some("2001:db8::1")] {
        let client = Client::new().device("laptop").user_agent("agent/1");
        let client = match ip {
            Some(ip) => client.ip(ip.parse().unwrap()),
            None => client,
        };
        gate.login(&Credentials::password("ada", PASSWORD), &client).unwrap();
    }
    let from = Client::new().ip("192.0.2.1".parse().unwrap());
    gate.login(&Credentials::password("ada", OTHER), &from).unwrap_err();
    // One that is remembered, one that was issued and one that is marked.
    let new = NewUser::new("eve").password(PASSWORD);
    let eve = gate.users().create(new).unwrap().id;
    gate.users().change_password(eve, PASSWORD, OTHER).unwrap();
    gate.users().change_password(eve, PASSWORD, OTHER).unwrap_err();
    gate.acting_as(ada).users().create(NewUser::new("issued").password(PASSWORD)).unwrap();
    gate.users().mark_password_compromised(eve).unwrap();
    let other = gate.roles().create("other", []).unwrap();
    gate.separation().create(SeparationKind::Static, "always", [tenants, other], 2).unwrap();
    gate.separation().create(SeparationKind::Dynamic, "at once", [reader, writer, other], 3).unwrap();
    let who = Credentials::password("ada", PASSWORD);
    gate.login_with_roles(&who, &Client::new(), [reader]).unwrap();
    let mut device = Authenticator { counter: 300, ..Authenticator::named("ada") };
    register(gate, ada, &mut device).unwrap();
    passkey_login(gate, &mut device).unwrap();
    gate.passkeys().start_registration(ada).unwrap();
    fill_keys(gate, [tenant, doc]);
    let flags = gate.flags();
    let new = NewFlag::new("checkout:new").description("the new one").owner("payments").on_by_default(true);
    let targeted = flags.define(new).unwrap();
    flags.set_percentage(targeted, 1250).unwrap();
    for (name, state) in [("on", FlagState::On), ("off", FlagState::Off)] {
        let flag = flags.define(name).unwrap();
        flags.set(flag, state).unwrap();
    }
    flags.turn_on(targeted, FlagTarget::Role(writer)).unwrap();
    flags.turn_off(targeted, FlagTarget::Scope(tenant)).unwrap();
    let terms = Grant::new().at(doc).until(at).because("trial");
    gate.acting_as(ada).flags().set_rule(targeted, FlagTarget::User(ada), &terms).unwrap();
    let carol =
        gate.users().create(NewUser::new("carol").password(PASSWORD).email("carol@example.org")).unwrap().id;
    let mail = gate.users().verify_contact(carol, ContactId::from_number(0)).unwrap().id;
    gate.factors().enrol_totp(carol, "phone").unwrap();
    gate.factors().issue_recovery_codes(carol).unwrap();
    let mail = gate.factors().enrol_contact(carol, mail, "").unwrap().id;
    let who = Credentials::password("carol", PASSWORD);
    let LoginStep::NeedsFactor(challenge) = gate.start_login(&who, &Client::new()).unwrap() else { panic!() };
    gate.send_code(&challenge, mail).unwrap();
    gate.roles().update(other, RoleChange::new().assurance(Assurance::Two)).unwrap();
    fill_tickets(gate, carol);
    gate.users().create(NewUser::new("gus").password(PASSWORD)).unwrap();
    let login = gate.login(&Credentials::password("gus", PASSWORD), &Client::new()).unwrap();
    crate::jwt::issue(gate, login.token()).unwrap();
    // Sessions that can be refreshed, before they were and after.
    for refreshes in 0..2 {
        let who = Credentials::password("dan", OTHER);
        let mut login = gate.login(&who, &Client::new().refreshable()).unwrap();
        for _ in 0..refreshes {
            login = gate.refresh(login.refresh_token().unwrap(), &Client::new()).unwrap();
        }
    }
    fill_impersonation(gate, carol);
}

/// A session in which somebody else acts, and what is written there.
fn fill_impersonation(gate: &Portcullis, carol: UserId) {
    let boss = gate.users().create(NewUser::new("boss").password(PASSWORD)).unwrap().id;
    for permission in gate.permissions().define_many(["act", "beyond"]).unwrap() {
        gate.access().grant(boss, permission, &Grant::new()).unwrap();
    }
    let own = gate.login(&Credentials::password("boss", PASSWORD), &Client::new()).unwrap();
    let whom = Impersonation::of(carol, "ticket 4711");
    gate.impersonate(own.token(), &whom, &Client::new()).unwrap();
    let login = gate.impersonate(own.token(), &whom.beyond_own_rights(), &Client::new()).unwrap();
    let principal = gate.authenticate(login.token()).unwrap();
    gate.acting_for(&principal).scopes().ensure("acme/acted").unwrap();
}

/// One-time tokens of each purpose, and in each state.
/// Keys without and with all that a key can have, and an account that has nothing else.
fn fill_keys(gate: &Portcullis, scopes: [ScopeId; 2]) {
    let robot = gate.users().create(NewUser::new("robot").service_account()).unwrap().id;
    let keys = gate.acting_as(robot);
    let keys = keys.api_keys();
    keys.create(robot, NewApiKey::new("plain").never_expires()).unwrap();
    let rate = RateLimit::new(600, Duration::from_secs(60)).unwrap().burst(20).unwrap();
    let day = Duration::from_secs(86_400);
    let limited = NewApiKey::new("limited").only([Permission::from_bit(0)]).at(scopes).rate(rate);
    let limited = keys.create(robot, limited.expires_in(day).idle_timeout(day / 2)).unwrap();
    keys.rotate(limited.key.id, Duration::from_secs(3600)).unwrap();
}

fn fill_tickets(gate: &Portcullis, carol: UserId) {
    let (tickets, home, client) = (gate.tickets(), ContactId::from_number(0), Client::new());
    let phone = gate.users().add_contact(carol, &NewContact::phone("+44 21").verified()).unwrap().id;
    let phone = gate.factors().enrol_contact(carol, phone, "").unwrap().id;
    tickets.verify_email(carol, home).unwrap();
    tickets.revoke_all(carol).unwrap();
    tickets.start_password_reset(carol, None).unwrap();
    let reset = tickets.request_password_reset("carol", &client).unwrap().unwrap();
    tickets.send_reset_code(reset.token(), phone, &client).unwrap();
    let wrong = Answer::totp("no");
    tickets.reset_password(reset.token(), OTHER, Some(&wrong), &client).unwrap_err();
    tickets.danger_request_unbound_magic_link("carol", &client).unwrap();
    tickets.request_magic_link("carol", &client).unwrap();
    let change = tickets.change_email(carol, home, "caroline@example.org").unwrap();
    tickets.confirm_email_change(change.new.token(), &client).unwrap();
    let (dan, invitation) = tickets.invite(NewUser::new("dan").email("dan@example.org")).unwrap();
    tickets.accept_invitation(invitation.token(), OTHER, &client).unwrap();
    let change = tickets.change_email(dan.id, home, "daniel@example.org").unwrap();
    tickets.refuse_email_change(change.present.token(), &client).unwrap();
    let (fay, _) = tickets.invite(NewUser::new("fay").email("fay@example.org")).unwrap();
    tickets.verify_email_to_activate(fay.id, home).unwrap();
}

/// A database in which sweeping could not finish: the marker of what is left.
fn leftover() -> StoredRow {
    let world = world();
    let ada = world.user("ada").id;
    for _ in 0..2200 {
        world.gate.users().add_contact(ada, &NewContact::email("a@x.org")).unwrap();
    }
    world.gate.users().delete(ada).unwrap();
    let mut rows = dump(&world.gate).unwrap();
    rows.retain(|row| row.table == "leftover");
    assert_eq!(rows.len(), 1, "one deletion is still being swept");
    world.gate.maintain(100_000).unwrap();
    assert!(
        dump(&world.gate).unwrap().iter().all(|row| row.table != "leftover" && row.table != "user_contact")
    );
    sound(&world.gate);
    rows.remove(0)
}

/// The marker of sessions of an ended era that are still to be swept.
fn ended_eras() -> StoredRow {
    let world = world();
    let ada = world.user("ada").id;
    populate_sessions(&world.gate, &[ada; 300]).unwrap();
    world.gate.sessions().revoke_everything().unwrap();
    let mut rows = dump(&world.gate).unwrap();
    rows.retain(|row| row.table == "session_ending");
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

fn text(rows: &[StoredRow]) -> String {
    rows.iter().fold(String::new(), |mut text, row| {
        let (key, value) = (HEXLOWER.encode(&row.key), HEXLOWER.encode(&row.value));
        writeln!(text, "{} {key} {value}", row.table).unwrap();
        text
    })
}

#[test]
fn the_bytes_of_every_record_are_what_they_were() {
    let world = world_with(remembering);
    fill(&world.gate);
    let mut rows = dump(&world.gate).unwrap();
    rows.extend([leftover(), ended_eras()]);
    let tables: BTreeSet<&str> = rows.iter().map(|row| row.table).collect();
    assert_eq!(tables.len(), 80, "every table is in the snapshot: {tables:?}");
    let (now, due) = (text(&rows), include_str!("format.snapshot.txt"));
    if now != due {
        let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("format.snapshot.txt");
        std::fs::write(&file, &now).unwrap();
        let first = now.lines().zip(due.lines()).find(|(now, due)| now != due);
        panic!("the stored format changed: {first:?}; all of it is in {}", file.display());
    }
}

#[test]
fn both_backends_store_the_same_bytes() {
    let (memory, disk) = (world_with(remembering), Disk::new());
    let gate = disk.open_with(remembering).unwrap();
    fill(&memory.gate);
    fill(&gate);
    assert_eq!(text(&dump(&gate).unwrap()), text(&dump(&memory.gate).unwrap()));
    gate.close().unwrap();
    let again = disk.open();
    assert_eq!(text(&dump(&again).unwrap()), text(&dump(&memory.gate).unwrap()));
    sound(&again);
}

/// The header of the journal is: magic, format number, the database's id, and so on to byte 224, then a checksum.
#[test]
fn a_database_of_a_newer_format_is_told_from_a_damaged_one() {
    let disk = Disk::new();
    disk.open().close().unwrap();
    let journal = disk.path.join("journal");
    let whole = std::fs::read(&journal).unwrap();
    let mut bytes = whole.clone();
    // A slot that no checkpoint has written yet is all zeros.
    let headers = [0, 4096].into_iter().filter(|slot| whole[*slot..].starts_with(b"PORTCJNL"));
    let headers: Vec<usize> = headers.collect();
    assert!(!headers.is_empty());
    for slot in headers {
        let header = &mut bytes[slot..slot + 256];
        header[11] += 1;
        let (id, fields) = (header[12..28].to_vec(), header[..224].to_vec());
        let mut seal = blake3::Hasher::new_derive_key("portcullis 2026 journal");
        seal.update(&id).update(&fields);
        header[224..].copy_from_slice(seal.finalize().as_bytes());
    }
    std::fs::write(&journal, &bytes).unwrap();
    refused(disk.try_open().map(drop), ErrorKind::NewerFormat, None);
    assert_eq!(std::fs::read(&journal).unwrap(), bytes, "and is left alone");
    std::fs::write(&journal, &whole).unwrap();
    sound(&disk.open());
}
