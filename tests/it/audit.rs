//! The audit log: each change once, in order, and never a secret.

use crate::support::{Disk, OTHER, PASSWORD, all, backwards, is_live, log_in, refused, sound, world};
use data_encoding::{BASE64URL_NOPAD, Encoding, HEXLOWER, Specification};
use portcullis::{
    Actor, AuditKind, AuditRecord, Client, Clock, Credentials, ErrorKind, NewContact, NewUser, PageRequest,
    Permission, RoleChange, SessionId, Status, Subject, UserId,
};
use std::collections::BTreeSet;

/// What nobody does on purpose, or not by one call: these have tests of their own.
pub(crate) const ELSEWHERE: &[AuditKind] = &[
    AuditKind::LoginSuccess,
    AuditKind::LoginFailure,
    AuditKind::SessionExpired,
    AuditKind::GrantsEnded,
    AuditKind::SeparationViolated,
    AuditKind::HierarchyLimited,
    AuditKind::DelegationRefused,
    AuditKind::LoginAfterFailures,
    AuditKind::LoginAfterIdle,
    AuditKind::LoginThrottled,
    AuditKind::LoginStopped,
    AuditKind::UnverifiableHash,
    AuditKind::CredentialStuffing,
    AuditKind::LoginStep,
    AuditKind::LoginAbandoned,
    AuditKind::RecoveryCodeUsed,
    AuditKind::CodeSent,
    AuditKind::PasswordChangeRefused,
    AuditKind::BreachCheckFailed,
    AuditKind::NameConfusable,
    AuditKind::PasskeySuspended,
    AuditKind::SignedTokenIssued,
    AuditKind::RefreshTokenReused,
    AuditKind::RefreshTokenElsewhere,
    AuditKind::Reauthenticated,
];

#[test]
fn logins_are_recorded_with_user_session_and_address() {
    let world = world();
    let ada = world.user("ada");
    let client = Client::new().ip("2001:db8::7".parse().unwrap());
    let login = world.gate.login(&Credentials::password("ada", PASSWORD), &client).unwrap();
    world.gate.login(&Credentials::password("nobody at all", PASSWORD), &client).unwrap_err();
    world.gate.login(&Credentials::password("ada", OTHER), &client).unwrap_err();
    let records = all(|page| world.gate.audit().list(page));
    let [.., success, unknown, wrong] = records.as_slice() else { panic!("three records") };
    assert_eq!((success.kind, success.actor), (AuditKind::LoginSuccess, Actor::User(ada.id)));
    assert_eq!(success.object, Some(Subject::Session(login.session().id)));
    assert!(success.detail.contains("2001:db8::7"));
    assert_eq!((unknown.actor, unknown.subject), (Actor::Anonymous, None));
    assert!(!unknown.detail.contains("nobody at all"), "people type their password into the wrong field");
    assert_eq!((wrong.actor, wrong.subject), (Actor::Anonymous, Some(Subject::User(ada.id))));
    world.after(24 * 3600);
    assert_eq!(world.gate.maintain(100).unwrap().expired_sessions, 1);
    let last = backwards(|page| world.gate.audit().list(page)).remove(0);
    assert_eq!((last.kind, last.actor), (AuditKind::SessionExpired, Actor::System));
}

#[test]
fn listings_are_in_the_order_of_the_log_both_ways() {
    let world = world();
    let people: Vec<UserId> = ["ada", "bob", "eve"].map(|login| world.user(login).id).to_vec();
    let role = world.gate.roles().create("r", []).unwrap();
    for round in 0..30 {
        let (actor, subject) = (people[round % 3], people[round * 7 / 2 % 3]);
        let acting = world.gate.acting_as(actor);
        match round % 4 {
            0 => drop(acting.users().add_contact(subject, &NewContact::phone("1")).unwrap()),
            1 => acting.sessions().revoke_all(subject).unwrap(),
            2 => {
                drop(acting.roles().update(role, RoleChange::new().description(format!("{round}"))).unwrap())
            }
            _ => drop(log_in(&world.gate, "ada", PASSWORD).unwrap()),
        }
    }
    let log = all(|page| world.gate.audit().list(page));
    assert!(log.iter().map(|record| record.sequence).eq(0..log.len() as u64));
    assert_eq!(world.gate.audit().head().length, log.len() as u64);
    let same = |mut listed: Vec<AuditRecord>,
                mut reversed: Vec<AuditRecord>,
                keep: &dyn Fn(&AuditRecord) -> bool| {
        let due: Vec<AuditRecord> = log.iter().filter(|record| keep(record)).cloned().collect();
        assert_eq!(listed, due);
        reversed.reverse();
        assert_eq!(reversed, due);
        listed.clear();
    };
    let audit = world.gate.audit();
    same(all(|page| audit.list(page)), backwards(|page| audit.list(page)), &|_| true);
    for actor in people.iter().copied().map(Actor::User).chain([Actor::System, Actor::Anonymous]) {
        let listed = all(|page| audit.by_actor(actor, page));
        same(listed, backwards(|page| audit.by_actor(actor, page)), &|record| record.actor == actor);
    }
    for subject in people
        .iter()
        .copied()
        .map(Subject::User)
        .chain([Subject::Role(role), Subject::Session(SessionId::from_number(1))])
    {
        let listed = all(|page| audit.by_subject(subject, page));
        same(listed, backwards(|page| audit.by_subject(subject, page)), &|record| {
            record.subject == Some(subject)
        });
    }
    for kind in AuditKind::ALL {
        let listed = all(|page| audit.by_kind(*kind, page));
        same(listed, backwards(|page| audit.by_kind(*kind, page)), &|record| record.kind == *kind);
    }
    let cursor = audit.by_actor(Actor::System, &PageRequest::first(1)).unwrap().next;
    let foreign = PageRequest::first(1).after(cursor);
    refused(audit.by_actor(Actor::User(people[0]), &foreign), ErrorKind::InvalidInput, Some("cursor"));
}

#[test]
fn the_head_commits_to_every_record() {
    let world = world();
    let mut heads = BTreeSet::new();
    for number in 0..20 {
        world.user(&format!("u{number}"));
        let head = world.gate.audit().head();
        assert_eq!(head.length, number + 1);
        assert!(heads.insert(head.digest));
    }
}

#[test]
fn a_record_that_quotes_a_long_reason_is_cut_and_the_change_is_made() {
    let world = world();
    let ada = world.user("ada");
    let reason = "é".repeat(256);
    world.gate.users().set_status(ada.id, Status::disabled(&reason)).unwrap();
    assert_eq!(world.gate.users().get(ada.id).unwrap().status.reason.as_deref(), Some(reason.as_str()));
    let last = backwards(|page| world.gate.audit().list(page)).remove(0);
    assert!(last.detail.len() <= 512 && last.detail.starts_with("Disabled: é") && last.detail.ends_with('…'));
    let long = "n".repeat(128);
    let names: Vec<Permission> =
        (0..300).map(|n| world.gate.permissions().define(&format!("p{n}")).unwrap()).collect();
    world.gate.roles().create(&long, names).unwrap();
    sound(&world.gate);
}

const ZEROS: [u8; 4096] = [0; 4096];

/// Base64 with the other alphabet, without padding.
fn standard_base64() -> Encoding {
    let mut specification = Specification::new();
    specification.symbols.push_str("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
    specification.encoding().unwrap()
}

/// The canaries in all spellings in which they could turn up.
fn spellings(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut found = vec![secret.to_vec(), HEXLOWER.encode(secret).into_bytes()];
    for encoding in [BASE64URL_NOPAD, standard_base64()] {
        // At each of the three offsets that a secret can have within a longer text; the ends depend on the neighbours.
        for skip in 0..3 {
            let text = encoding.encode(&secret[skip..secret.len() - (secret.len() - skip) % 3]);
            found.push(text.into_bytes());
        }
    }
    found
}

fn contains(text: &[u8], secret: &[u8]) -> bool {
    text.windows(secret.len()).any(|window| window == secret)
}

#[test]
fn no_secret_is_ever_written_or_printed() {
    let disk = Disk::new();
    let gate = disk.open();
    let password = "canary-password-7d1f, rather long";
    let changed = "canary-changed-93ab, rather long too";
    let new = NewUser::new("ada").password(password);
    let mut printed = vec![format!("{new:?}")];
    let ada = gate.users().create(new).unwrap();
    let credentials = Credentials::password("ada", password);
    printed.push(format!("{credentials:?} {ada:?}"));
    let login = gate.login(&credentials, &Client::new()).unwrap();
    let token = login.token().as_str().to_owned();
    printed.push(format!("{login:?} {:?} {:?} {gate:?}", login.token(), gate.authenticate(&token).unwrap()));
    printed.push(format!("{:?}", log_in(&gate, password, "wrong").unwrap_err()));
    printed.push(format!("{:?}", log_in(&gate, "ada", changed).unwrap_err()));
    printed.push(format!("{:?}", gate.users().create(NewUser::new("ada").password(password)).unwrap_err()));
    printed.push(format!("{:?}", gate.users().create(NewUser::new("x\n").password(password)).unwrap_err()));
    printed.push(format!("{:?}", gate.authenticate(&token[..57]).unwrap_err()));
    gate.users().set_password(ada.id, changed).unwrap();
    assert!(!is_live(&gate, &token));
    let again = log_in(&gate, "ada", changed).unwrap();
    gate.maintain(1000).unwrap();
    printed.extend(all(|page| gate.audit().list(page)).iter().map(|record| format!("{record:?} {record}")));
    printed.push(format!("{:?} {:?}", gate.verify().unwrap(), all(|page| gate.sessions().by_expiry(page))));
    gate.close().unwrap();

    let mut secrets = Vec::new();
    for password in [password, changed] {
        secrets.extend(spellings(password.as_bytes()));
    }
    for token in [token.as_str(), again.token().as_str()] {
        let raw = BASE64URL_NOPAD.decode(&token.as_bytes()[4..]).unwrap();
        secrets.push(token.as_bytes()[4..].to_vec());
        secrets.extend(spellings(&raw[8..]));
        // The digest may be on the disk, and nowhere else.
        let digest = blake3::hash(&[b"pcs_".as_slice(), &raw].concat());
        for text in &printed {
            assert!(
                !text.contains(digest.to_hex().as_str())
                    && !text.contains(&format!("{:?}", digest.as_bytes()))
            );
        }
    }
    for text in &printed {
        assert!(!text.contains("argon2"), "{text}");
        for secret in &secrets {
            assert!(!contains(text.as_bytes(), secret), "{text}");
        }
    }
    let (mut open, mut scanned, mut phc) = (vec![disk.path.clone()], 0, false);
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            // Most of the journal is zeros, which hide nothing.
            let mut bytes = std::fs::read(&path).unwrap();
            bytes = bytes
                .chunks(4096)
                .filter(|chunk| **chunk != ZEROS[..chunk.len()])
                .flatten()
                .copied()
                .collect();
            scanned += bytes.len();
            phc |= contains(&bytes, b"$argon2id$");
            for secret in &secrets {
                assert!(!contains(&bytes, secret), "{} holds a secret", path.display());
            }
        }
    }
    assert!(scanned > 1000 && phc, "the scan sees what is there: {scanned} bytes");
    assert!(disk.clock.now().as_secs() > 0);
}
