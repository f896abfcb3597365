//! Accounts of programs.

use crate::api_keys::{accepted, scene};
use crate::support::{OTHER, PASSWORD, all, log_in, refused, sound, world};
use portcullis::testing::dump;
use portcullis::{Client, Denial, ErrorKind, NewApiKey, NewUser, Status};

#[test]
fn a_service_account_has_keys_and_roles_and_nothing_to_log_in_with() {
    let world = world();
    let gate = &world.gate;
    let s = scene(gate);
    let service = || NewUser::new("robot").service_account();
    refused(gate.users().create(service().password(PASSWORD)), ErrorKind::InvalidInput, Some("password"));
    refused(gate.users().create(service().must_change_password()), ErrorKind::InvalidInput, Some("password"));
    refused(gate.tickets().invite(service()), ErrorKind::InvalidInput, Some("user"));
    let contact = portcullis::NewContact::email("robot@example.org");
    let robot = gate.users().create(service().contact(contact)).unwrap();
    assert!(robot.service_account && !gate.users().get(s.ada).unwrap().service_account);
    let id = robot.id;
    let email = portcullis::ContactId::from_number(0);
    gate.users().verify_contact(id, email).unwrap();
    let phone = gate.users().add_contact(id, &portcullis::NewContact::phone("+44 20")).unwrap().id;
    gate.users().verify_contact(id, phone).unwrap();
    let before = dump(gate).unwrap();
    let user = Some("user");
    refused(gate.users().set_password(id, PASSWORD), ErrorKind::InvalidInput, user);
    refused(gate.users().change_password(id, PASSWORD, OTHER), ErrorKind::InvalidInput, user);
    refused(gate.factors().enrol_contact(id, phone, "phone"), ErrorKind::InvalidInput, user);
    refused(gate.factors().issue_recovery_codes(id), ErrorKind::InvalidInput, user);
    refused(gate.passkeys().start_registration(id), ErrorKind::InvalidInput, user);
    refused(gate.tickets().start_password_reset(id, Some(email)), ErrorKind::InvalidInput, user);
    refused(gate.tickets().invite_again(id), ErrorKind::InvalidInput, user);
    assert_eq!(dump(gate).unwrap(), before, "nothing of it is stored");
    // Whoever does not know is told what everybody is told.
    assert_eq!(log_in(gate, "robot", PASSWORD).unwrap_err().denial(), Some(Denial::Credentials));
    for name in ["robot", "robot@example.org"] {
        assert!(gate.tickets().request_password_reset(name, &Client::new()).unwrap().is_none());
        assert!(gate.tickets().request_magic_link(name, &Client::new()).unwrap().issued().is_none());
    }
    gate.roles().assign(id, s.role).unwrap();
    let made = gate.api_keys().create(id, NewApiKey::new("key")).unwrap();
    assert!(gate.authenticate_key(&made.token).unwrap().can(s.read));
    // It stays one, and is listed apart.
    let renamed = gate.users().update(id, portcullis::UserChange::new().login("android")).unwrap();
    assert!(renamed.service_account);
    gate.users().set_status(id, Status::disabled("")).unwrap();
    assert!(!accepted(gate, made.token.as_str()));
    let listed = all(|page| gate.users().service_accounts(page));
    assert_eq!(listed.iter().map(|user| user.id).collect::<Vec<_>>(), [id]);
    let disabled = all(|page| gate.users().by_status(portcullis::StatusKind::Disabled, page));
    assert_eq!(disabled.len(), 1);
    gate.users().delete(id).unwrap();
    assert!(all(|page| gate.users().service_accounts(page)).is_empty());
    sound(gate);
}
