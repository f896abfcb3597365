//! The pepper of password hashes, and its rotation.

use crate::support::{Disk, OTHER, PASSWORD, log_in, sound, user};
use crate::unverifiable::reasons;
use data_encoding::HEXLOWER;
use portcullis::testing::dump;
use portcullis::{Builder, Denial, ErrorKind, KeyId, KeyUse, Keyring, PasswordPolicy, Portcullis};

const ONE: KeyId = KeyId::new(1);
const TWO: KeyId = KeyId::new(2);
const FIRST: [u8; 32] = [0x41; 32];
const SECOND: [u8; 32] = [0x42; 32];

fn with(keys: Keyring) -> impl FnOnce(Builder) -> Builder {
    let policy = PasswordPolicy::new().history(2).unwrap();
    move |builder| builder.keys(keys).password_policy(policy)
}

/// Key, present passwords and former ones.
fn uses(gate: &Portcullis) -> Vec<(Option<u32>, u64, u64)> {
    let uses: Vec<KeyUse> = gate.users().password_keys().unwrap();
    uses.iter().map(|each| (each.key.map(KeyId::get), each.passwords, each.former)).collect()
}

#[test]
fn a_pepper_is_added_and_rotated_by_logins_and_an_old_key_may_go_when_nothing_uses_it() {
    let disk = Disk::new();
    let gate = disk.open_with(with(Keyring::default())).unwrap();
    let ada = user(&gate, "ada").id;
    user(&gate, "bob");
    assert_eq!(uses(&gate), [(None, 2, 0)]);
    gate.close().unwrap();

    let first = Keyring::new(ONE, &FIRST).unwrap();
    let gate = disk.open_with(with(first)).unwrap();
    log_in(&gate, "ada", OTHER).unwrap_err();
    assert_eq!(uses(&gate), [(None, 2, 0)], "who does not know the password hashes nothing anew");
    log_in(&gate, "ada", PASSWORD).unwrap();
    assert_eq!(uses(&gate), [(None, 1, 0), (Some(1), 1, 0)]);
    gate.users().set_password(ada, OTHER).unwrap();
    assert_eq!(uses(&gate), [(None, 1, 0), (Some(1), 1, 1)]);
    gate.close().unwrap();

    let both = Keyring::new(TWO, &SECOND).unwrap().and_former(ONE, &FIRST).unwrap();
    let gate = disk.open_with(with(both)).unwrap();
    log_in(&gate, "bob", PASSWORD).unwrap();
    assert_eq!(uses(&gate), [(Some(1), 1, 1), (Some(2), 1, 0)]);
    gate.close().unwrap();

    // Too early: whoever asks is told no more than that the password is wrong, and the operator the rest.
    let second = Keyring::new(TWO, &SECOND).unwrap();
    let gate = disk.open_with(with(second.clone())).unwrap();
    log_in(&gate, "bob", PASSWORD).unwrap();
    for password in [OTHER, "wrong"] {
        let error = log_in(&gate, "ada", password).unwrap_err();
        assert_eq!(error.denial(), Some(Denial::Credentials));
        let error = gate.users().change_password(ada, password, "another one altogether").unwrap_err();
        assert_eq!(error.denial(), Some(Denial::Credentials));
        assert!(reasons(&gate)[0].contains("key 1"), "{:?}", reasons(&gate));
    }
    assert_eq!(reasons(&gate).len(), 4);
    let unverifiable: Vec<u64> =
        gate.users().password_keys().unwrap().iter().map(|each| each.unverifiable).collect();
    assert_eq!(unverifiable, [2, 0]);
    let error = gate.users().set_password(ada, "another one altogether").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch, "it can not be compared with the former ones");
    gate.close().unwrap();

    let both = Keyring::new(TWO, &SECOND).unwrap().and_former(ONE, &FIRST).unwrap();
    let gate = disk.open_with(with(both)).unwrap();
    log_in(&gate, "ada", OTHER).unwrap();
    assert_eq!(uses(&gate), [(Some(1), 0, 1), (Some(2), 2, 0)]);
    gate.users().set_password(ada, "another one altogether").unwrap();
    assert_eq!(uses(&gate), [(Some(2), 2, 1)]);
    gate.close().unwrap();
    let gate = disk.open_with(with(second)).unwrap();
    log_in(&gate, "ada", "another one altogether").unwrap();
    sound(&gate);
}

#[test]
fn another_key_under_the_same_number_is_told_from_a_wrong_password() {
    let disk = Disk::new();
    let gate = disk.open_with(with(Keyring::new(ONE, &FIRST).unwrap())).unwrap();
    user(&gate, "ada");
    gate.close().unwrap();
    let gate = disk.open_with(with(Keyring::new(ONE, &SECOND).unwrap())).unwrap();
    assert_eq!(gate.users().password_keys().unwrap()[0].unverifiable, 1);
    let error = log_in(&gate, "ada", PASSWORD).unwrap_err();
    assert_eq!(error.denial(), Some(Denial::Credentials));
    assert!(reasons(&gate)[0].contains("not the key"), "{:?}", reasons(&gate));
}

#[test]
fn no_key_is_in_the_database_or_in_what_is_printed() {
    let disk = Disk::new();
    let keys = Keyring::new(ONE, &FIRST).unwrap();
    let builder = with(keys.clone())(Portcullis::builder());
    let gate = disk.open_with(with(keys.clone())).unwrap();
    user(&gate, "ada");
    let hex = HEXLOWER.encode(&FIRST[..8]);
    for row in dump(&gate).unwrap() {
        assert!(!HEXLOWER.encode(&row.value).contains(&hex), "{}", row.table);
    }
    gate.close().unwrap();
    for entry in std::fs::read_dir(&disk.path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            assert!(!HEXLOWER.encode(&std::fs::read(path).unwrap()).contains(&hex));
        }
    }
    for printed in [format!("{keys:?}"), format!("{builder:?}"), format!("{gate:?}")] {
        assert!(
            !printed.contains("65, 65") && !printed.contains("AAAA") && !printed.contains("4141"),
            "{printed}"
        );
    }
}
