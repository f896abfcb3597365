//! Passkeys: registration, and the two ways to use one.

use crate::authenticator::{Authenticator, BE, BS, ORIGIN, PrivateKey, RP, UP, UV};
use crate::support::{Disk, World, everything, refused, sound, world};
use portcullis::testing::passkeys::{Proof, finish_assertion, finish_login, start_assertion, start_login};
use portcullis::{
    AuditKind, Denial, ErrorKind, NewUser, Outcome, PageRequest, Passkey, PasskeyAlgorithm, PasskeyId,
    PasskeySettings, Portcullis, Result, Status, UserId, UserVerification,
};
use std::time::Duration;

pub(crate) fn person(gate: &Portcullis, login: &str) -> UserId {
    gate.users().create(NewUser::new(login)).unwrap().id
}

pub(crate) fn register(gate: &Portcullis, user: UserId, device: &mut Authenticator) -> Result<Passkey> {
    let started = gate.passkeys().start_registration(user)?;
    gate.passkeys().finish_registration(user, &started.ticket, &device.create(&started.options), "my key")
}

/// A user, and an authenticator with a passkey of that user.
pub(crate) fn enrolled(gate: &Portcullis, login: &str) -> (UserId, Authenticator, PasskeyId) {
    let (user, mut device) = (person(gate, login), Authenticator::named(login));
    let id = register(gate, user, &mut device).unwrap().id;
    (user, device, id)
}

/// A login without a name.
pub(crate) fn log_in(gate: &Portcullis, device: &mut Authenticator) -> Result<Proof> {
    let (options, ticket) = start_login(gate).unwrap();
    finish_login(gate, &ticket, &device.get(&options))
}

/// The second factor of a user who is known.
pub(crate) fn second(gate: &Portcullis, user: UserId, device: &mut Authenticator) -> Result<Proof> {
    let (options, state) = start_assertion(gate, user).unwrap().expect("the user has a passkey");
    assert!(state.len() <= 2048);
    finish_assertion(gate, &state, &device.get(&options))
}

/// The refusal that everybody gets, and its true reason in the audit log.
#[track_caller]
pub(crate) fn denied<T: std::fmt::Debug>(gate: &Portcullis, result: Result<T>, reason: &str) {
    assert_eq!(result.unwrap_err().denial(), Some(Denial::Credentials));
    let last = gate.audit().list(&PageRequest::first(1).descending()).unwrap().items.remove(0);
    assert_eq!((last.kind, last.outcome), (AuditKind::LoginFailure, Outcome::Denied));
    assert!(last.detail.contains(reason), "{last}");
}

fn passkey(world: &World, user: UserId) -> Passkey {
    world.gate.passkeys().of_user(user).unwrap().remove(0)
}

#[test]
fn a_passkey_is_registered_and_used_with_every_algorithm() {
    for (name, key, algorithm) in [
        ("es", PrivateKey::es256("es"), PasskeyAlgorithm::Es256),
        ("ed", PrivateKey::ed_dsa("ed"), PasskeyAlgorithm::EdDsa),
        ("rs", PrivateKey::rs256("rs"), PasskeyAlgorithm::Rs256),
    ] {
        let world = world();
        let (user, mut device) = (person(&world.gate, name), Authenticator::new(key, name));
        let registered = register(&world.gate, user, &mut device).unwrap();
        assert_eq!((registered.user, registered.algorithm), (user, algorithm));
        assert_eq!((registered.label.as_str(), registered.discoverable), ("my key", Some(true)));
        assert_eq!((registered.user_verified, registered.last_used), (true, None));
        world.after(1);
        assert_eq!(log_in(&world.gate, &mut device).unwrap(), (user, registered.id, true));
        assert_eq!(second(&world.gate, user, &mut device).unwrap(), (user, registered.id, true));
        assert_eq!(passkey(&world, user).last_used, Some(world.gate.now()));
        sound(&world.gate);
    }
}

#[test]
fn what_is_asked_of_the_browser_follows_the_settings() {
    let world = world();
    let (user, device, _) = enrolled(&world.gate, "ada");
    let started = world.gate.passkeys().start_registration(user).unwrap();
    let options: serde_json::Value = serde_json::from_str(&started.options).unwrap();
    assert_eq!(options["rp"]["id"], RP);
    assert_eq!(options["rp"]["name"], "Example");
    assert_eq!((&options["user"]["name"], &options["user"]["displayName"]), (&"ada".into(), &"ada".into()));
    assert_eq!(options["attestation"], "none");
    assert_eq!(options["timeout"], 300_000);
    assert_eq!(options["authenticatorSelection"]["residentKey"], "preferred");
    assert_eq!(options["authenticatorSelection"]["userVerification"], "preferred");
    let algorithms: Vec<i64> =
        options["pubKeyCredParams"].as_array().unwrap().iter().map(|p| p["alg"].as_i64().unwrap()).collect();
    assert_eq!(algorithms, [-8, -7, -35, -257]);
    let id = data_encoding::BASE64URL_NOPAD.encode(&device.credential);
    assert_eq!(options["excludeCredentials"][0]["id"], id.as_str(), "what the user has is not made again");

    let (login, _) = start_login(&world.gate).unwrap();
    let login: serde_json::Value = serde_json::from_str(&login).unwrap();
    assert_eq!((&login["rpId"], &login["userVerification"]), (&RP.into(), &"required".into()));
    assert_eq!(login["allowCredentials"].as_array().unwrap().len(), 0);
    let (known, _) = start_assertion(&world.gate, user).unwrap().unwrap();
    let known: serde_json::Value = serde_json::from_str(&known).unwrap();
    assert_eq!((&known["rpId"], &known["userVerification"]), (&RP.into(), &"preferred".into()));
    assert_eq!(known["allowCredentials"][0]["id"], id.as_str());
}

#[test]
fn a_user_handle_tells_nothing_and_is_the_same_for_all_passkeys_of_a_user() {
    let world = world();
    let (ada, bob) = (person(&world.gate, "ada"), person(&world.gate, "bob"));
    let mut handles = Vec::new();
    for user in [ada, ada, bob] {
        let started = world.gate.passkeys().start_registration(user).unwrap();
        let options: serde_json::Value = serde_json::from_str(&started.options).unwrap();
        let handle = options["user"]["id"].as_str().unwrap().to_owned();
        assert_eq!(data_encoding::BASE64URL_NOPAD.decode(handle.as_bytes()).unwrap().len(), 64);
        handles.push(handle);
    }
    assert_eq!(handles[0], handles[1]);
    assert_ne!(handles[0], handles[2]);
}

#[test]
fn a_registration_that_does_not_follow_the_rules_is_refused_and_changes_nothing() {
    type Wrong = (&'static str, fn(&mut Authenticator));
    let wrongs: &[Wrong] = &[
        ("origin", |device| device.origin = "https://login.example.com".to_owned()),
        ("origin", |device| device.origin = format!("{ORIGIN}:8443")),
        ("origin", |device| device.origin = format!("{ORIGIN}.evil.test")),
        ("frame", |device| device.cross_origin = true),
        ("relying party", |device| device.rp = "example.com".to_owned()),
        ("challenge", |device| device.other_challenge = Some("A".repeat(22))),
        ("present", |device| device.flags = UV),
        // A backup that exists of what can not be backed up (section 7.1, step 18).
        ("standard", |device| device.flags = UP | UV | BS),
        // An id has 16 to 1,023 bytes.
        ("standard", |device| device.credential = vec![7; 1024]),
        ("standard", |device| device.credential = Vec::new()),
    ];
    for (reason, spoil) in wrongs {
        let world = world();
        let (user, mut device) = (person(&world.gate, "ada"), Authenticator::named("ada"));
        let started = world.gate.passkeys().start_registration(user).unwrap();
        spoil(&mut device);
        let before = everything(&world.gate);
        let response = device.create(&started.options);
        let finish = |response: &str| {
            world.gate.passkeys().finish_registration(user, &started.ticket, response, "key")
        };
        let error = refused(finish(&response), ErrorKind::InvalidInput, Some("response"));
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(everything(&world.gate), before);
        assert!(world.gate.passkeys().of_user(user).unwrap().is_empty());
        // The registration is open still.
        finish(&Authenticator::named("ada").create(&started.options)).unwrap();
    }
}

#[test]
fn a_registration_is_good_once_for_one_user_in_its_time_and_while_the_sessions_last() {
    let world = world();
    let passkeys = world.gate.passkeys();
    let (ada, bob) = (person(&world.gate, "ada"), person(&world.gate, "bob"));
    let gone = |result: Result<Passkey>| refused(result, ErrorKind::NotFound, Some("ticket"));
    let mut device = Authenticator::named("ada");
    let started = passkeys.start_registration(ada).unwrap();
    let response = device.create(&started.options);
    for ticket in ["", "x", &"A".repeat(43), &"A".repeat(1 << 16)] {
        gone(passkeys.finish_registration(ada, ticket, &response, "key"));
    }
    gone(passkeys.finish_registration(bob, &started.ticket, &response, "key"));
    passkeys.finish_registration(ada, &started.ticket, &response, "key").unwrap();
    gone(passkeys.finish_registration(ada, &started.ticket, &response, "key"));

    // The next start takes the place of the one before, and an answer to the one is none to the other.
    let mut device = Authenticator::named("second");
    let first = passkeys.start_registration(ada).unwrap();
    let next = passkeys.start_registration(ada).unwrap();
    let response = device.create(&first.options);
    gone(passkeys.finish_registration(ada, &first.ticket, &response, "key"));
    let mixed = passkeys.finish_registration(ada, &next.ticket, &response, "key");
    refused(mixed, ErrorKind::InvalidInput, Some("response"));

    for end in [
        (|world, _| world.after(300)) as fn(&World, UserId),
        |world, user| world.gate.sessions().revoke_all(user).unwrap(),
        |world, user| world.gate.users().set_password(user, crate::support::PASSWORD).unwrap(),
        |world, user| drop(world.gate.users().set_status(user, Status::disabled("gone")).unwrap()),
        |world, user| world.gate.users().delete(user).unwrap(),
    ] {
        let user = person(&world.gate, "eve");
        let started = passkeys.start_registration(user).unwrap();
        end(&world, user);
        let response = Authenticator::named("eve").create(&started.options);
        let error = passkeys.finish_registration(user, &started.ticket, &response, "key").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        let _ = world.gate.users().delete(user);
    }
    sound(&world.gate);
}

#[test]
fn a_credential_belongs_to_one_user_and_a_user_has_sixteen() {
    let world = world();
    let (ada, mut device, id) = enrolled(&world.gate, "ada");
    let bob = person(&world.gate, "bob");
    for user in [ada, bob] {
        let taken = register(&world.gate, user, &mut device);
        refused(taken, ErrorKind::AlreadyExists, Some("response"));
    }
    for number in 1..16 {
        register(&world.gate, ada, &mut Authenticator::named(&format!("ada {number}"))).unwrap();
    }
    refused(world.gate.passkeys().start_registration(ada), ErrorKind::LimitExceeded, Some("passkeys"));
    assert_eq!(world.gate.passkeys().of_user(ada).unwrap().len(), 16);
    // All of them are named to the browser, and the state still fits.
    second(&world.gate, ada, &mut Authenticator { handle: None, ..Authenticator::named("ada 15") }).unwrap();
    world.gate.passkeys().remove(ada, id).unwrap();
    register(&world.gate, bob, &mut device).unwrap();
    assert_eq!(
        log_in(&world.gate, &mut device).unwrap().0,
        bob,
        "it is free again, and whoever has it is meant"
    );
    sound(&world.gate);
}

#[test]
fn labels_and_passkeys_that_are_not_there_are_refused() {
    let world = world();
    let passkeys = world.gate.passkeys();
    let (ada, _, id) = enrolled(&world.gate, "ada");
    let bob = person(&world.gate, "bob");
    assert_eq!(passkeys.rename(ada, id, "blue key").unwrap().label, "blue key");
    for label in ["", " x", "a\nb", &"x".repeat(129)] {
        refused(passkeys.rename(ada, id, label), ErrorKind::InvalidInput, Some("label"));
        refused(passkeys.finish_registration(ada, "", "", label), ErrorKind::InvalidInput, Some("label"));
    }
    let nobody = UserId::from_number(999);
    refused(passkeys.rename(bob, id, "x"), ErrorKind::NotFound, Some("passkey"));
    refused(passkeys.remove(bob, id), ErrorKind::NotFound, Some("passkey"));
    refused(passkeys.of_user(nobody), ErrorKind::NotFound, Some("user"));
    refused(passkeys.start_registration(nobody), ErrorKind::NotFound, Some("user"));
    assert!(start_assertion(&world.gate, bob).unwrap().is_none());
    let without = Portcullis::in_memory().unwrap();
    let user = person(&without, "ada");
    refused(without.passkeys().start_registration(user), ErrorKind::InvalidInput, Some("passkeys"));
}

#[test]
fn who_administers_a_user_may_remove_a_passkey_and_register_none() {
    let t = crate::delegation::tenants();
    let mut device = Authenticator::named("bob");
    let id = register(&t.world.gate, t.bob, &mut device).unwrap().id;
    let started = t.world.gate.passkeys().start_registration(t.bob).unwrap();
    let response = Authenticator::named("ada").create(&started.options);
    let delegated = t.world.gate.delegated(t.ada);
    let finish = |user| delegated.passkeys().finish_registration(user, &started.ticket, &response, "key");
    assert_eq!(finish(t.bob).unwrap_err().denial(), Some(Denial::Delegation));
    let own = delegated.passkeys().start_registration(t.ada).unwrap_err();
    assert_eq!(own.denial(), Some(Denial::Delegation));
    let elsewhere = delegated.passkeys().remove(t.eve, id).unwrap_err();
    assert_eq!(elsewhere.denial(), Some(Denial::Delegation));
    delegated.passkeys().rename(t.bob, id, "lost").unwrap();
    delegated.passkeys().remove(t.bob, id).unwrap();
    denied(&t.world.gate, log_in(&t.world.gate, &mut device), "not registered");
    sound(&t.world.gate);
}

#[test]
fn settings_that_can_not_be_right_open_nothing() {
    let open = |settings: PasskeySettings| Portcullis::builder().passkeys(settings).in_memory().map(drop);
    for id in ["", "https://example.org", "example.org:443", "Example.org", "exa mple.org", "example.org/x"] {
        refused(open(PasskeySettings::new(id, [ORIGIN])), ErrorKind::InvalidInput, Some("passkeys.id"));
    }
    for origin in [
        "",
        "example.org",
        "http://example.org",
        "https://example.org/",
        "https://Example.org",
        "https://example.org:0443",
        "https://example.org:99999",
        "https://",
        "ftp://example.org",
        "android:apk-key-hash:short",
    ] {
        let settings = PasskeySettings::new(RP, [ORIGIN, origin]);
        refused(open(settings), ErrorKind::InvalidInput, Some("passkeys.origins"));
    }
    let none: [&str; 0] = [];
    refused(open(PasskeySettings::new(RP, none)), ErrorKind::InvalidInput, Some("passkeys.origins"));
    let (named, hasty) = (PasskeySettings::new(RP, [ORIGIN]).name(""), PasskeySettings::new(RP, [ORIGIN]));
    refused(open(named), ErrorKind::InvalidInput, Some("passkeys.name"));
    let hasty = hasty.timeout(Duration::from_secs(29));
    refused(open(hasty), ErrorKind::InvalidInput, Some("passkeys.timeout"));
    let android = format!("android:apk-key-hash:{}", "A".repeat(43));
    open(PasskeySettings::new("localhost", ["http://localhost:8080".to_owned(), android])).unwrap();
}

#[test]
fn the_second_factor_asks_for_as_much_as_the_settings_say() {
    for (verification, with, without) in [
        (UserVerification::Required, true, false),
        (UserVerification::Preferred, true, true),
        (UserVerification::Discouraged, true, true),
    ] {
        let disk = Disk::new();
        let settings = PasskeySettings::new(RP, [ORIGIN]).second_factor(verification);
        let gate = disk.open_with(|builder| builder.passkeys(settings)).unwrap();
        let (user, mut device, id) = enrolled(&gate, "ada");
        assert_eq!(second(&gate, user, &mut device).is_ok(), with);
        device.flags = UP;
        match second(&gate, user, &mut device) {
            Ok(proof) => assert_eq!((proof, without), ((user, id, false), true)),
            refusal => {
                assert!(!without);
                denied(&gate, refusal, "did not verify");
            }
        }
        // As the only factor it must, whatever is set.
        denied(&gate, log_in(&gate, &mut device), "did not verify");
        device.flags = UP | UV;
        log_in(&gate, &mut device).unwrap();
    }
}

#[test]
fn backup_flags_are_kept_and_the_eligibility_does_not_change() {
    let world = world();
    let user = person(&world.gate, "ada");
    let mut device = Authenticator { flags: UP | UV | BE, ..Authenticator::named("ada") };
    let registered = register(&world.gate, user, &mut device).unwrap();
    assert_eq!((registered.backup_eligible, registered.backed_up), (true, false));
    device.flags = UP | UV | BE | BS;
    log_in(&world.gate, &mut device).unwrap();
    assert!(passkey(&world, user).backed_up);
    device.flags = UP | UV;
    denied(&world.gate, log_in(&world.gate, &mut device), "eligibility for backup");
    device.flags = UP | UV | BS;
    denied(&world.gate, log_in(&world.gate, &mut device), "standard");
    device.flags = UP | UV | BE;
    log_in(&world.gate, &mut device).unwrap();
    assert!(!passkey(&world, user).backed_up);

    let bob = person(&world.gate, "bob");
    let mut device = Authenticator::named("bob");
    register(&world.gate, bob, &mut device).unwrap();
    device.flags = UP | UV | BE;
    denied(&world.gate, log_in(&world.gate, &mut device), "eligibility for backup");
}
