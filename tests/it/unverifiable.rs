//! Stored hashes that can not be verified: nobody who tries names is told of them, and the operator is.

use crate::events::kinds;
use crate::factors::{answer, challenge, denied};
use crate::support::{Disk, OTHER, PASSWORD, backwards, log_in, refused, sound, user};
use portcullis::testing::FaultPoint;
use portcullis::{
    Answer, AuditKind, Builder, Client, Denial, ErrorKind, EventKind, KeyId, Keyring, NewContact, NewUser,
    Portcullis, ThrottlePolicy,
};

/// Why stored hashes could not be verified, the newest first.
pub(crate) fn reasons(gate: &Portcullis) -> Vec<String> {
    let records = backwards(|page| gate.audit().list(page)).into_iter();
    records.filter(|one| one.kind == AuditKind::UnverifiableHash).map(|one| one.detail).collect()
}

fn keys(id: u32) -> Keyring {
    Keyring::new(KeyId::new(id), &[u8::try_from(id).unwrap(); 32]).unwrap()
}

fn with_key(id: u32) -> impl Fn(Builder) -> Builder {
    move |builder| builder.keys(keys(id))
}

/// A hash of 64 MiB: the password is `password`.
const LARGE: &str = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
/// Of Firebase's, from its documentation; the password is `user1password`.
const FIREBASE: &str = crate::legacy::HASHES[7].0;

type Setting = fn(Builder) -> Builder;
type Case = (&'static str, fn() -> NewUser, Setting, Setting);

/// How a hash comes not to be verifiable: the user, the settings with which it is, and those with which it is not.
const CASES: [Case; 4] = [
    ("key 1", || NewUser::new("ada").password(PASSWORD), |b| b.keys(keys(1)), |b| b.keys(keys(2))),
    ("key 1", || NewUser::new("ada").password(PASSWORD), |b| b.keys(keys(1)), |b| b),
    (
        "KiB",
        || NewUser::new("ada").password_hash(LARGE),
        |b| b.admission_memory(128 << 20),
        |b| b.admission_memory(1 << 20),
    ),
    (
        "signer",
        || NewUser::new("ada").password_hash(FIREBASE),
        |b| b.firebase_signer_key(crate::legacy::SIGNER),
        |b| b,
    ),
];

#[test]
fn a_name_whose_hash_can_not_be_verified_is_not_told_from_one_that_nobody_has() {
    for (reason, new, good, bad) in CASES {
        let disk = Disk::new();
        let gate = disk.open_with(good).unwrap();
        let ada = gate.users().create(new()).unwrap().id;
        user(&gate, "bob");
        gate.close().unwrap();

        let gate = disk.open_with(bad).unwrap();
        let unverifiable = |gate: &Portcullis| {
            gate.users().password_keys().unwrap().iter().map(|each| each.unverifiable).sum::<u64>()
        };
        assert!(unverifiable(&gate) >= 1, "{reason}");
        let events = gate.subscribe(64).unwrap();
        // Whatever the password, and however often: the answers, the hashes and the commits are those of nobody.
        let attempts = |name: &str| {
            let attempt = |password| {
                let before = gate.password_hashes_computed();
                let error = log_in(&gate, name, password).unwrap_err();
                (error.denial().unwrap(), gate.password_hashes_computed() - before)
            };
            [PASSWORD, OTHER, "", "password", "x", PASSWORD].map(attempt)
        };
        let (hers, nobodys) = (attempts("ada"), attempts("nobody"));
        assert_eq!(hers, nobodys, "{reason}");
        assert_eq!(hers[0], (Denial::Credentials, 1));
        assert!(matches!(hers[5], (Denial::Throttled(_), 0)), "{hers:?}");
        let told = reasons(&gate);
        assert_eq!(told.len(), 5, "one for each attempt that was made");
        assert!(told.iter().all(|why| why.contains(reason)), "{told:?}");
        let told = kinds(&events);
        assert_eq!(told.iter().filter(|kind| **kind == EventKind::UnverifiableHash).count(), 5, "{told:?}");
        sound(&gate);
        gate.close().unwrap();

        let gate = disk.open_with(good).unwrap();
        assert!(unverifiable(&gate) == 0);
        gate.users().clear_login_failures(ada).unwrap();
        let password = match reason {
            "KiB" => "password",
            "signer" => crate::legacy::HASHES[7].1,
            _ => PASSWORD,
        };
        log_in(&gate, "ada", password).unwrap();
    }
}

#[test]
fn attempts_at_what_can_not_be_verified_stop_no_account() {
    let disk = Disk::new();
    let gate = disk.open_with(with_key(1)).unwrap();
    user(&gate, "ada");
    gate.close().unwrap();
    let soon = || ThrottlePolicy::new().stop(5);
    let gate = disk.open_with(|b| b.keys(keys(2)).throttle(soon())).unwrap();
    for _ in 0..8 {
        assert_eq!(log_in(&gate, "ada", PASSWORD).unwrap_err().denial(), Some(Denial::Credentials));
        disk.clock.advance(std::time::Duration::from_secs(3600));
    }
    gate.close().unwrap();
    // The key is back: nothing that could have been guessed was tried.
    let gate = disk.open_with(|b| b.keys(keys(1)).throttle(soon())).unwrap();
    log_in(&gate, "ada", PASSWORD).unwrap();
}

#[test]
fn both_ways_to_change_a_password_answer_as_for_a_wrong_one() {
    let disk = Disk::new();
    let gate = disk.open_with(with_key(1)).unwrap();
    let ada = user(&gate, "ada").id;
    let token = log_in(&gate, "ada", PASSWORD).unwrap().token().as_str().to_owned();
    gate.close().unwrap();
    let gate = disk.open_with(with_key(2)).unwrap();
    for present in [PASSWORD, "wrong"] {
        let before = gate.password_hashes_computed();
        let error = gate.users().change_password(ada, present, OTHER).unwrap_err();
        assert_eq!(error.denial(), Some(Denial::Credentials));
        let error = gate.change_password(&token, present, OTHER, &Client::new()).unwrap_err();
        assert_eq!(error.denial(), Some(Denial::Credentials));
        assert_eq!(gate.password_hashes_computed() - before, 2);
    }
    assert_eq!(reasons(&gate).len(), 4);
    // Counted like wrong ones.
    gate.users().change_password(ada, PASSWORD, OTHER).unwrap_err();
    let error = gate.users().change_password(ada, PASSWORD, OTHER).unwrap_err();
    assert!(error.retry_after().is_some(), "{error:?}");
    // An administrator sets another one, and all is well.
    gate.users().set_password(ada, OTHER).unwrap();
    log_in(&gate, "ada", OTHER).unwrap();
    sound(&gate);
}

#[test]
fn a_code_that_was_sent_before_the_key_was_lost_is_a_wrong_one() {
    let disk = Disk::new();
    let gate = disk.open_with(with_key(1)).unwrap();
    let ada = user(&gate, "ada").id;
    let phone = gate.users().add_contact(ada, &NewContact::phone("+44 20")).unwrap().id;
    gate.users().verify_contact(ada, phone).unwrap();
    let factor = gate.factors().enrol_contact(ada, phone, "").unwrap().id;
    let asked = challenge(&gate, "ada");
    let code = gate.send_code(&asked, factor).unwrap();
    let reset = gate.tickets().start_password_reset(ada, None).unwrap();
    let reset = reset.token().as_str().to_owned();
    let other = gate.tickets().send_reset_code(&reset, factor, &Client::new()).unwrap();
    gate.close().unwrap();
    let gate = disk.open_with(with_key(2)).unwrap();
    denied(&answer(&gate, &asked, &Answer::sent_code(code.code())), Denial::Credentials);
    let presented = Answer::sent_code(other.code());
    let refusal = gate.tickets().reset_password(&reset, OTHER, Some(&presented), &Client::new()).unwrap_err();
    assert_eq!(refusal.denial(), Some(Denial::FactorRequired));
    assert_eq!(reasons(&gate).len(), 2);
    sound(&gate);
}

#[test]
fn an_outage_is_no_denial() {
    let disk = Disk::new();
    let gate = disk.open_with(with_key(1)).unwrap();
    user(&gate, "ada");
    gate.close().unwrap();
    let gate = disk.open_with(with_key(2)).unwrap();
    disk.faults.fail(FaultPoint::JournalWrite, 1);
    refused(log_in(&gate, "ada", PASSWORD), ErrorKind::OutcomeUnknown, None);
}
