//! Users who come with a hash that another system made: they log in as they did there, and are moved by that.

use crate::support::*;
use portcullis::testing::dump;
use portcullis::{
    AuditKind, Builder, Denial, ErrorKind, NewUser, Portcullis, Status, ThrottlePolicy, UserId,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

/// One of each scheme with its password; `src/crypto/legacy/tests` has their sources, and all the others.
pub(crate) const HASHES: &[(&str, &str)] = &[
    ("$2y$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a", "U*U*U"),
    ("pbkdf2_sha256$12000$seasalt$Ybw8zsFxqja97tY/o6G+Fy1ksY4U/Hw3DRrGED6Up4s=", "l\u{e8}tmein"),
    (
        "keycloak$pbkdf2-sha256$27500$0SlTWodi3ktkBhXAdCbo6A==$melJaiZVEhUuX0D3BknjCB9u6LIyHwuGMNvvpzb4UnI=",
        "admin",
    ),
    ("AAABAgMEBQYHCAkKCwwNDg+ukCEMDf0yyQ29NYubggHIVY0sdEUfdyeM+E1LtH1uJg==", "my password"),
    ("AQAAAAIAAAAyAAAAEOMwvh3+FZxqkdMBz2ekgGhwQ4B6pZWND6zgESBuWiHw", "my password"),
    ("$pbkdf2$1212$OB.dtnSEXZK8U5cgxU/GYQ$y5LKPOplRmok7CZp/aqVDVg8zGI", "password"),
    (
        "scrypt$16384$seasalt$8$1$Qj3+9PPyRjSJIebHnG81TMjsqtaIGxNQG/aEB/NYafTJ7tibgfYz71m0ldQESkXFRkdVCBhhY8mx7rQwite/Pw==",
        "l\u{e8}tmein",
    ),
    (
        "$firebase-scrypt$ln=14,r=8$Bw==$42xEC+ixf3L2lw==$lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==",
        "user1password",
    ),
    ("$argon2i$v=19$m=16,t=2,p=1$ZVZWeGtzNVZqeExTVzNSOA$fx0EYEB1zO8i+J2H+OFI4w", "password"),
    // The cost and all that new hashes have here, but for the version and the length.
    (
        "$argon2d$v=16$m=32,t=2,p=3,data=Dw8PDw8P$AAAAAAAAAAA$KnH4gniiaFnDvlA1xev3yovC4cnrrI6tnHOYtmja90o",
        "password",
    ),
    ("{SSHA}0c0blFTXXNuAMHECS4uxrj3ZieMoWImr", "testing123"),
    ("$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", "Hello world!"),
    ("$y$j75$LdJMENpBABJJ3hIHjB1Bi.$Ve4m3xXQj6CIT78tSP/FDzNIam38Z/rZlUFmHwBcrhD", "a"),
];

pub(crate) const SIGNER: &str =
    "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==";

fn builder() -> Builder {
    Portcullis::builder().danger_fast_password_hashes().firebase_signer_key(SIGNER)
}

/// The stored row of the user's credential, as text: the hash in it is readable.
pub(crate) fn credential(gate: &Portcullis, user: UserId) -> String {
    let rows = dump(gate).unwrap().into_iter();
    let key = user.get().to_be_bytes();
    let row = rows.filter(|row| row.table == "credential").find(|row| row.key == key).unwrap();
    String::from_utf8_lossy(&row.value).into_owned()
}

#[test]
fn the_first_login_makes_an_argon2id_hash_and_the_second_one_uses_it() {
    let gate = builder().in_memory().unwrap();
    for (number, (stored, password)) in HASHES.iter().enumerate() {
        let login = format!("user{number}");
        let user = gate.users().create(NewUser::new(&login).password_hash(*stored)).unwrap();
        assert!(credential(&gate, user.id).contains(stored), "{stored}");

        let before = gate.password_hashes_computed();
        assert_eq!(log_in(&gate, &login, "wrong").unwrap_err().denial(), Some(Denial::Credentials));
        assert_eq!(gate.password_hashes_computed(), before + 2, "{stored}: theirs, and one for the clock");
        assert!(credential(&gate, user.id).contains(stored), "{stored}");

        log_in(&gate, &login, password).unwrap();
        let moved = credential(&gate, user.id);
        assert!(
            moved.contains("$argon2id$v=19$m=8,t=1,p=1$") && !moved.contains(stored),
            "{stored}: {moved}"
        );

        let before = gate.password_hashes_computed();
        log_in(&gate, &login, password).unwrap();
        assert_eq!(gate.password_hashes_computed(), before + 1, "{stored}: moved already");
        assert_eq!(credential(&gate, user.id), moved);
        assert!(log_in(&gate, &login, "wrong").unwrap_err().is_denied());
    }
    sound(&gate);
}

#[test]
fn an_argon2id_hash_of_the_present_cost_is_moved_where_only_its_length_differs() {
    let gate = builder().in_memory().unwrap();
    // PHC string with 16 bytes of output, from the same tests as the others.
    let stored = "$argon2id$v=19$m=16,t=2,p=1$UmtRRmdBRU53QlptNk8ycw$UyyArpJ8yasrc93GImQjFQ";
    let user = gate.users().create(NewUser::new("ada").password_hash(stored)).unwrap();
    log_in(&gate, "ada", "password").unwrap();
    assert!(!credential(&gate, user.id).contains(stored));
    log_in(&gate, "ada", "password").unwrap();
}

#[test]
fn a_moved_user_stays_moved_on_disk() {
    let disk = Disk::new();
    let (stored, password) = HASHES[0];
    let gate = disk.open();
    let user = gate.users().create(NewUser::new("ada").password_hash(stored)).unwrap().id;
    drop(gate);
    let gate = disk.open();
    log_in(&gate, "ada", password).unwrap();
    drop(gate);
    let gate = disk.open();
    assert!(!credential(&gate, user).contains(stored));
    log_in(&gate, "ada", password).unwrap();
    sound(&gate);
}

#[test]
fn what_can_not_be_verified_is_refused_when_it_is_given() {
    let world = world_with(|builder| builder.admission_memory(64 << 20));
    let before = everything(&world.gate);
    for (stored, kind) in [
        ("{PLAIN}correct horse", ErrorKind::InvalidInput),
        ("correct horse battery staple", ErrorKind::InvalidInput),
        ("5baa61e4c9b93f3f0682250b6cf8331b7ee68fd8", ErrorKind::InvalidInput),
        ("$2b$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", ErrorKind::LimitExceeded),
        (
            "$argon2id$v=19$m=8,t=4294967295,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            ErrorKind::InvalidInput,
        ),
        ("$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ", ErrorKind::InvalidInput),
        // More than the gate has for all hashes, so that its user could never log in.
        (
            "$argon2id$v=19$m=1048576,t=1,p=1$UmtRRmdBRU53QlptNk8ycw$UyyArpJ8yasrc93GImQjFQ",
            ErrorKind::LimitExceeded,
        ),
    ] {
        let new = NewUser::new("ada").password_hash(stored);
        let error = refused(world.gate.users().create(new), kind, Some("password_hash"));
        assert!(!format!("{error:?}").contains("horse"), "{error:?}");
    }
    let both = NewUser::new("ada").password(PASSWORD).password_hash(HASHES[0].0);
    refused(world.gate.users().create(both), ErrorKind::InvalidInput, Some("password_hash"));
    let none = NewUser::new("ada").must_change_password();
    refused(world.gate.users().create(none), ErrorKind::InvalidInput, Some("must_change"));
    // Without the key of its project a hash of Firebase's is worth nothing.
    let firebase = NewUser::new("ada").password_hash(HASHES[7].0);
    refused(world.gate.users().create(firebase), ErrorKind::Mismatch, Some("firebase_signer_key"));
    assert_eq!(everything(&world.gate), before);
    assert_eq!(world.gate.password_hashes_computed(), 0);
    assert!(!format!("{:?}", NewUser::new("ada").password_hash(HASHES[0].0)).contains("XXXX"));

    let short = Portcullis::builder().firebase_signer_key("c2hvcnQ=").in_memory();
    refused(short, ErrorKind::InvalidInput, Some("firebase_signer_key"));
    assert!(!format!("{:?}", builder()).contains("jxspr8"));
}

#[test]
fn our_own_form_of_another_cost_is_taken_as_it_is() {
    let from = world();
    from.user("ada");
    let stored = credential(&from.gate, from.gate.users().find("ada").unwrap().unwrap().id);
    let stored = &stored[stored.find("$argon2id").unwrap()..];
    let stored: String = stored.chars().take_while(char::is_ascii_graphic).collect();
    let to = world();
    to.gate.users().create(NewUser::new("ada").password_hash(stored)).unwrap();
    to.login("ada");
}

#[test]
fn verifying_goes_through_the_gate() {
    let builder = builder().admission(1, 0, Duration::from_millis(1));
    let (entered, inside) = std::sync::mpsc::channel();
    let (leave, left) = std::sync::mpsc::channel::<()>();
    let left = std::sync::Mutex::new(left);
    let builder = builder.pause_in_password_hash(move || {
        entered.send(()).unwrap();
        left.lock().unwrap().recv().unwrap();
    });
    let gate = builder.in_memory().unwrap();
    let (stored, password) = HASHES[0];
    gate.users().create(NewUser::new("ada").password_hash(stored)).unwrap();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| log_in(&gate, "ada", password).map(drop));
        inside.recv().unwrap();
        refused(log_in(&gate, "ada", password), ErrorKind::Busy, None);
        leave.send(()).unwrap();
        // The new hash.
        inside.recv().unwrap();
        leave.send(()).unwrap();
        first.join().unwrap().unwrap();
    });
}

/// A scrypt hash of nobody's password, in so many MiB.
fn scrypt(mib: u32) -> String {
    format!("$scrypt$ln={},r=8,p=1$c2FsdHNhbHQ${}", 10 + mib.ilog2(), "A".repeat(43))
}

/// Permits for four, and memory for one: what another system's hash takes is counted.
#[test]
fn their_memory_is_within_the_budget_of_the_gate() {
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, peak) = (Arc::clone(&inside), Arc::clone(&most));
    let hash = move || {
        peak.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
        std::thread::park_timeout(Duration::from_millis(1));
        now.fetch_sub(1, SeqCst);
    };
    let gate = builder()
        .admission(4, 64, Duration::from_secs(60))
        .admission_share(64)
        .admission_memory(12 << 20)
        .throttle(ThrottlePolicy::new().danger_off())
        .pause_in_password_hash(hash)
        .in_memory()
        .unwrap();
    gate.users().create(NewUser::new("ada").password_hash(scrypt(8))).unwrap();
    gate.users().create(NewUser::new("eve").password_hash(HASHES[0].0)).unwrap();
    let storm = |login: &str| {
        std::thread::scope(|scope| {
            for _ in 0..12 {
                scope.spawn(|| assert!(log_in(&gate, login, "wrong").unwrap_err().is_denied()));
            }
        });
        most.swap(0, SeqCst)
    };
    assert_eq!(storm("ada"), 1, "two would take 16 MiB");
    let seen = gate.admission();
    assert_eq!((seen.running, seen.waiting, seen.admitted), (0, 0, 12));
    assert!((8 << 20..=12 << 20).contains(&(seen.peak_bytes + (64 << 10))), "{seen:?}");
    assert!(seen.bytes < 1 << 20, "what they took is free again: {seen:?}");
    assert!(storm("eve") > 1, "bcrypt needs next to nothing");
}

#[test]
fn one_that_needs_more_than_the_whole_budget_is_refused_by_name() {
    let disk = Disk::new();
    let open = |mib: u64| disk.open_with(|builder| builder.admission_memory(mib << 20)).unwrap();
    let gate = open(32);
    gate.users().create(NewUser::new("ada").password_hash(scrypt(16))).unwrap();
    user(&gate, "eve");
    gate.close().unwrap();
    let gate = open(8);
    refused(log_in(&gate, "ada", PASSWORD), ErrorKind::Denied, None);
    assert_eq!(gate.password_hashes_computed(), 1, "the one that an unknown name costs");
    let written = backwards(|page| gate.audit().by_kind(AuditKind::UnverifiableHash, page));
    assert!(written[0].detail.contains("Builder::admission_memory"), "{}", written[0]);
    log_in(&gate, "eve", PASSWORD).unwrap();
    let new = NewUser::new("bob").password_hash(scrypt(16));
    refused(gate.users().create(new), ErrorKind::LimitExceeded, Some("password_hash"));
    sound(&gate);
    gate.close().unwrap();
    assert!(
        log_in(&open(16), "ada", PASSWORD).unwrap_err().is_denied(),
        "with as much as it needs it is computed"
    );
}

/// Otherwise the time of the answer would tell the password of an account that is closed.
#[test]
fn who_is_refused_with_the_right_password_pays_as_with_a_wrong_one() {
    let gate = builder().throttle(ThrottlePolicy::new().danger_off()).in_memory().unwrap();
    let (stored, password) = HASHES[0];
    let cost = |attempt: &dyn Fn(&str) -> portcullis::Result<()>, password: &str| {
        let before = gate.password_hashes_computed();
        assert_eq!(attempt(password).unwrap_err().denial(), Some(Denial::Credentials));
        gate.password_hashes_computed() - before
    };
    for status in [Status::disabled("left"), Status::locked("lost"), Status::pending()] {
        let login = format!("{:?}", status.kind);
        let user = NewUser::new(&login).password_hash(stored).status(status);
        let user = gate.users().create(user).unwrap().id;
        let to_log_in = |password: &str| log_in(&gate, &login, password).map(drop);
        let to_change = |password: &str| gate.users().change_password(user, password, OTHER);
        for attempt in [&to_log_in as &dyn Fn(&str) -> _, &to_change] {
            assert_eq!([cost(attempt, "wrong"), cost(attempt, password)], [2, 2], "{login}");
        }
        assert!(credential(&gate, user).contains(stored));
    }
}
