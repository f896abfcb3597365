//! API keys: what they allow, and what ends them.

use crate::support::{OTHER, all, backwards, is_live, refused, sound, user, world, world_with};
use portcullis::testing::dump;
use portcullis::{
    Actor, ApiKeyChange, ApiKeyId, AuditKind, CheckContext, Client, Denial, ErrorKind, EventKind, Grant,
    NewApiKey, Permission, PermissionSet, Portcullis, RateLimit, RoleId, ScopeId, SessionId, Status, Subject,
    TokenPurpose, UserId,
};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

pub(crate) const DAY: u64 = 86_400;

/// What is done with keys; [`every_change_to_keys_writes_one_record_in_the_name_of_who_made_it`] and the sweep's test see
/// each.
pub(crate) const KINDS: [AuditKind; 5] = [
    AuditKind::ApiKeyCreated,
    AuditKind::ApiKeyUpdated,
    AuditKind::ApiKeyRotated,
    AuditKind::ApiKeyRevoked,
    AuditKind::ApiKeysExpired,
];

pub(crate) fn days(n: u64) -> Duration {
    Duration::from_secs(n * DAY)
}

/// Ada holds `read` and `write` everywhere by a role.
pub(crate) struct Scene {
    pub(crate) ada: UserId,
    pub(crate) role: RoleId,
    pub(crate) read: Permission,
    pub(crate) write: Permission,
    pub(crate) acme: ScopeId,
    pub(crate) doc: ScopeId,
    pub(crate) other: ScopeId,
}

pub(crate) fn scene(gate: &Portcullis) -> Scene {
    let ada = user(gate, "ada").id;
    let bits = gate.permissions().define_many(["read", "write", "spare"]).unwrap();
    let role = gate.roles().create("author", [bits[0], bits[1]]).unwrap();
    gate.roles().assign(ada, role).unwrap();
    let [acme, doc, other] = ["acme", "acme/doc", "other"].map(|path| gate.scopes().ensure(path).unwrap());
    Scene { ada, role, read: bits[0], write: bits[1], acme, doc, other }
}

/// Whether the text is accepted; an outage or a limit fails the test.
#[track_caller]
pub(crate) fn accepted(gate: &Portcullis, key: &str) -> bool {
    match gate.authenticate_key(key) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.denial(), Some(Denial::ApiKey), "{error:?}");
            false
        }
    }
}

#[test]
fn a_key_allows_what_its_owner_holds_now_and_its_limits_leave() {
    let world = world();
    let gate = &world.gate;
    let s = scene(gate);
    let keys = gate.api_keys();
    let free = keys.create(s.ada, NewApiKey::new("free")).unwrap();
    let reader = keys.create(s.ada, NewApiKey::new("reader").only([s.read])).unwrap();
    let local = keys.create(s.ada, NewApiKey::new("local").only([s.read, s.write]).at([s.acme])).unwrap();
    let nothing = keys.create(s.ada, NewApiKey::new("nothing").only([])).unwrap();
    let all = [&free, &reader, &local, &nothing].map(|made| gate.authenticate_key(&made.token).unwrap());
    let table = |permission: Permission, scope: ScopeId| all.map(|key| key.can_at(permission, scope));
    assert_eq!(table(s.read, ScopeId::ROOT), [true, true, false, false]);
    assert_eq!(table(s.write, ScopeId::ROOT), [true, false, false, false]);
    for scope in [s.acme, s.doc] {
        assert_eq!(table(s.read, scope), [true, true, true, false]);
        assert_eq!(table(s.write, scope), [true, false, true, false]);
    }
    assert_eq!(table(s.read, s.other), [true, true, false, false]);
    let both: PermissionSet = [s.read, s.write].into_iter().collect();
    assert_eq!(all.map(|key| key.can_all(&both)), [true, false, false, false]);
    assert_eq!(all.map(|key| key.can_all_at(&both, s.doc)), [true, false, true, false]);
    assert_eq!(all.map(|key| key.can_all_at(&both, s.other)), [true, false, false, false]);
    // The same principals, after the owner lost the role, and got it back at one place.
    gate.roles().unassign(s.ada, s.role).unwrap();
    for scope in [ScopeId::ROOT, s.acme, s.doc, s.other] {
        assert_eq!(table(s.read, scope), [false; 4]);
    }
    gate.roles().assign_with(s.ada, s.role, &Grant::new().at(s.doc)).unwrap();
    assert_eq!(table(s.read, s.doc), [true, true, true, false]);
    assert_eq!(table(s.read, s.acme), [false; 4]);
    // A denial anywhere above decides for a key as for its owner, also one outside of the key's scopes.
    gate.access().grant(s.ada, s.read, &Grant::new().denying()).unwrap();
    assert_eq!(table(s.read, s.doc), [false; 4]);
    assert_eq!(table(s.write, s.doc), [true, false, true, false]);
    sound(gate);
}

#[test]
fn what_a_key_names_beyond_its_owner_counts_once_the_owner_holds_it() {
    let world = world();
    let gate = &world.gate;
    let s = scene(gate);
    let spare = gate.permissions().find("spare").unwrap().unwrap().permission;
    let made = gate.api_keys().create(s.ada, NewApiKey::new("ahead").only([spare])).unwrap();
    let key = gate.authenticate_key(&made.token).unwrap();
    assert!(!key.can(spare));
    gate.roles().grant(s.role, [spare]).unwrap();
    assert!(key.can(spare) && !key.can(s.read));
    gate.permissions().delete(spare).unwrap();
    assert!(!key.can(spare));
    // What is named no more need not be there for another change.
    let change = ApiKeyChange::new().name("renamed");
    assert_eq!(gate.api_keys().update(made.key.id, change).unwrap().name, "renamed");
}

#[test]
fn a_scope_that_moves_takes_the_reach_of_keys_with_it() {
    let world = world();
    let gate = &world.gate;
    let s = scene(gate);
    let made = gate.api_keys().create(s.ada, NewApiKey::new("acme").at([s.acme])).unwrap();
    let key = gate.authenticate_key(&made.token).unwrap();
    assert!(key.can_at(s.read, s.doc));
    gate.scopes().move_to(s.doc, s.other).unwrap_err();
    let inner = gate.scopes().ensure("acme/folder/inner").unwrap();
    let folder = gate.scopes().find("acme/folder").unwrap().unwrap();
    let narrow = gate.api_keys().create(s.ada, NewApiKey::new("folder").at([folder])).unwrap();
    let narrow = gate.authenticate_key(&narrow.token).unwrap();
    assert!(narrow.can_at(s.read, inner) && !narrow.can_at(s.read, s.doc) && !narrow.can_at(s.read, s.acme));
    gate.scopes().move_to(s.doc, folder).unwrap();
    assert!(narrow.can_at(s.read, s.doc));
    gate.scopes().delete(folder).unwrap();
    assert!(!narrow.can_at(s.read, folder) && !narrow.can_at(s.read, inner) && !key.can_at(s.read, inner));
}

#[test]
fn a_key_is_dead_while_its_owner_may_not_log_in_and_for_good_once_there_is_none() {
    let world = world();
    let gate = &world.gate;
    let s = scene(gate);
    let made = gate.api_keys().create(s.ada, NewApiKey::new("key")).unwrap();
    let (token, key) = (made.token.as_str(), gate.authenticate_key(&made.token).unwrap());
    for status in [Status::disabled("why"), Status::locked("why"), Status::pending()] {
        gate.users().set_status(s.ada, status).unwrap();
        assert!(!key.can(s.read) && !accepted(gate, token));
        let decision = key.check(s.read).unwrap();
        assert_eq!(decision, portcullis::Decision::Deny(Denial::ApiKey));
        gate.users().set_status(s.ada, Status::active()).unwrap();
        assert!(key.can(s.read) && accepted(gate, token));
    }
    // Sessions end, programs go on.
    let session = world.login("ada");
    gate.sessions().revoke_all(s.ada).unwrap();
    gate.sessions().revoke_everything().unwrap();
    gate.users().set_password(s.ada, OTHER).unwrap();
    assert!(!is_live(gate, session.token().as_str()) && key.can(s.read) && accepted(gate, token));
    gate.users().delete(s.ada).unwrap();
    assert!(!key.can(s.read) && !accepted(gate, token));
    refused(gate.api_keys().get(made.key.id), ErrorKind::NotFound, Some("key"));
    gate.maintain(1000).unwrap();
    assert!(dump(gate).unwrap().iter().all(|row| !row.table.starts_with("api_key")));
    sound(gate);
}

#[test]
fn no_token_does_the_work_of_another() {
    let world = world();
    let gate = &world.gate;
    let s = scene(gate);
    let made = gate.api_keys().create(s.ada, NewApiKey::new("key")).unwrap();
    let (key, login) = (made.token.as_str(), world.login("ada"));
    let session = login.token().as_str();
    assert!(accepted(gate, key) && is_live(gate, session));
    assert!(!is_live(gate, key) && !accepted(gate, session));
    assert_eq!(TokenPurpose::recognise(key), Some(TokenPurpose::ApiKey));
    for purpose in TokenPurpose::ALL.iter().filter(|purpose| **purpose != TokenPurpose::ApiKey) {
        let renamed = key.replacen("pck_", purpose.prefix(), 1);
        assert!(!is_live(gate, &renamed) && !accepted(gate, &renamed), "{purpose:?}");
    }
    for purpose in TokenPurpose::ALL.iter().filter(|purpose| **purpose != TokenPurpose::Session) {
        let renamed = session.replacen("pcs_", purpose.prefix(), 1);
        assert!(!is_live(gate, &renamed) && !accepted(gate, &renamed), "{purpose:?}");
    }
    // Every bit counts.
    for byte in 0..key.len() {
        for bit in 0..7 {
            let mut bytes = key.as_bytes().to_vec();
            bytes[byte] ^= 1 << bit;
            assert!(!accepted(gate, std::str::from_utf8(&bytes).unwrap()), "byte {byte}, bit {bit}");
        }
    }
    for garbage in ["", "pck_", &key[..62], &format!("{key}A"), &"x".repeat(1 << 20), "pck_é"] {
        assert!(!accepted(gate, garbage));
    }
    // What a key comes with is no session, for any call.
    let principal = gate.authenticate_key(key).unwrap();
    assert_eq!((principal.user(), principal.key()), (s.ada, Some(made.key.id)));
    let none: SessionId = principal.session();
    refused(gate.sessions().get(none), ErrorKind::NotFound, Some("session"));
    refused(gate.sessions().revoke(none), ErrorKind::NotFound, Some("session"));
    refused(gate.sessions().revoke_others(none), ErrorKind::NotFound, Some("session"));
    refused(gate.sessions().roles(none), ErrorKind::NotFound, Some("session"));
    refused(gate.sessions().permissions(none), ErrorKind::NotFound, Some("session"));
    refused(gate.sessions().deactivate(none, s.role), ErrorKind::NotFound, Some("session"));
    assert!(accepted(gate, key) && gate.authenticate(session).unwrap().key().is_none());
    assert_eq!((gate.statistics().sessions, gate.statistics().api_keys), (1, 1));
}

#[test]
fn once_a_change_is_acknowledged_no_check_by_a_key_is_answered_by_what_was_before() {
    let world = world();
    let gate = &world.gate;
    let s = scene(gate);
    type Change = fn(&Portcullis, &Scene, ApiKeyId);
    let changes: [(Change, Change); 4] = [
        (
            |gate, s, _| gate.users().set_status(s.ada, Status::disabled("")).map(drop).unwrap(),
            |gate, s, _| gate.users().set_status(s.ada, Status::active()).map(drop).unwrap(),
        ),
        (
            |gate, s, _| gate.roles().unassign(s.ada, s.role).unwrap(),
            |gate, s, _| gate.roles().assign(s.ada, s.role).unwrap(),
        ),
        (
            |gate, s, id| {
                gate.api_keys().update(id, ApiKeyChange::new().at([s.other])).map(drop).unwrap();
            },
            |gate, s, id| {
                gate.api_keys().update(id, ApiKeyChange::new().at([s.acme])).map(drop).unwrap();
            },
        ),
        (
            |gate, s, id| {
                gate.api_keys().update(id, ApiKeyChange::new().only([s.write])).map(drop).unwrap();
            },
            |gate, s, id| {
                gate.api_keys().update(id, ApiKeyChange::new().only([s.read])).map(drop).unwrap();
            },
        ),
    ];
    let made = gate.api_keys().create(s.ada, NewApiKey::new("key").only([s.read]).at([s.acme])).unwrap();
    let token = made.token.as_str();
    // Odd while the key may allow something.
    let (phase, over) = (AtomicUsize::new(1), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Acquire) {
                    let before = phase.load(Ordering::Acquire);
                    let held = gate.authenticate_key(token).is_ok_and(|key| key.can_at(s.read, s.doc));
                    let after = phase.load(Ordering::Acquire);
                    if before == after && before % 3 != 2 {
                        assert_eq!(held, before % 3 == 1, "phase {before}");
                    }
                }
            });
        }
        for _ in 0..30 {
            for (take, give) in changes {
                phase.fetch_add(1, Ordering::AcqRel); // 2: under way
                take(gate, &s, made.key.id);
                phase.fetch_add(1, Ordering::AcqRel); // 0: taken
                std::thread::yield_now();
                phase.fetch_add(2, Ordering::AcqRel); // 2: under way
                give(gate, &s, made.key.id);
                phase.fetch_add(2, Ordering::AcqRel); // 1: given
            }
        }
        phase.fetch_add(1, Ordering::AcqRel);
        gate.api_keys().revoke(made.key.id).unwrap();
        phase.fetch_add(1, Ordering::AcqRel);
        (0..10_000).for_each(|_| std::thread::yield_now());
        over.store(true, Ordering::Release);
    });
    sound(gate);
}

#[test]
fn nothing_of_a_token_is_stored_logged_or_shown() {
    let world = world();
    let gate = &world.gate;
    let s = scene(gate);
    let events = gate.subscribe(64).unwrap();
    let made = gate.api_keys().create(s.ada, NewApiKey::new("canary")).unwrap();
    let token = made.token.as_str();
    let id = made.key.id;
    gate.api_keys().update(id, ApiKeyChange::new().only([s.read])).unwrap();
    let next = gate.api_keys().rotate(id, days(1)).unwrap();
    gate.api_keys().revoke_presented(next.token.as_str()).unwrap();
    let secret = &token[20..];
    let raw = data_encoding::BASE64URL_NOPAD.decode(&token.as_bytes()[4..62 - (62 - 4) % 4]).unwrap();
    for row in dump(gate).unwrap() {
        for bytes in [row.key, row.value] {
            assert!(
                !bytes.windows(16).any(|window| window == &secret.as_bytes()[..16] || window == &raw[16..32])
            );
        }
    }
    assert!(!format!("{made:?} {:?}", gate.authenticate_key(token).unwrap()).contains(secret));
    for record in all(|page| gate.audit().list(page)) {
        assert!(!record.to_string().contains(secret));
    }
    // Its public part is shown, for people to know it by.
    assert_eq!(made.key.prefix(), &token[..14]);
    let mut told = Vec::new();
    while let Some(notification) = events.try_next() {
        if let portcullis::Notification::Event(event) = notification {
            assert_eq!(event.user, Some(s.ada));
            told.push(event.kind.clone());
        }
    }
    let new = next.key.id;
    let due = [
        EventKind::ApiKeyCreated(id),
        EventKind::ApiKeyChanged(id),
        EventKind::ApiKeyCreated(new),
        EventKind::ApiKeyRevoked(new),
    ];
    assert_eq!(told, due);
}

#[test]
fn what_breaks_a_rule_is_refused_and_makes_nothing() {
    let world = world();
    let gate = &world.gate;
    let s = scene(gate);
    let keys = gate.api_keys();
    let create = |new: NewApiKey| keys.create(s.ada, new);
    let new = || NewApiKey::new("key");
    let (invalid, limit) = (ErrorKind::InvalidInput, ErrorKind::LimitExceeded);
    refused(create(NewApiKey::new("")), invalid, Some("key.name"));
    refused(create(NewApiKey::new("a\u{7}b")), invalid, Some("key.name"));
    refused(create(NewApiKey::new("x".repeat(129))), invalid, Some("key.name"));
    for life in [Duration::ZERO, Duration::from_millis(999), days(367), Duration::MAX] {
        refused(create(new().expires_in(life)), invalid, Some("key.expires_in"));
    }
    for idle in [Duration::ZERO, days(91)] {
        refused(create(new().idle_timeout(idle)), invalid, Some("key.idle_timeout"));
    }
    refused(create(new().at([])), invalid, Some("key.scopes"));
    refused(create(new().at([s.acme, ScopeId::ROOT])), invalid, Some("key.scopes"));
    refused(create(new().at((1..40).map(ScopeId::from_number))), limit, Some("key.scopes"));
    refused(create(new().only((0..257).map(Permission::from_bit))), limit, Some("key.permissions"));
    refused(create(new().only([Permission::from_bit(77)])), ErrorKind::NotFound, Some("permission"));
    refused(create(new().at([ScopeId::from_number(99)])), ErrorKind::NotFound, Some("scope"));
    refused(keys.create(UserId::from_number(999), new()), ErrorKind::NotFound, Some("user"));
    let nobody = ApiKeyId::from_number(7);
    for id in [nobody, ApiKeyId::from_number(0), ApiKeyId::from_number(u64::MAX)] {
        refused(keys.get(id), ErrorKind::NotFound, Some("key"));
        refused(keys.revoke(id), ErrorKind::NotFound, Some("key"));
        refused(keys.rotate(id, Duration::ZERO), ErrorKind::NotFound, Some("key"));
        refused(keys.update(id, ApiKeyChange::new().name("x")), ErrorKind::NotFound, Some("key"));
    }
    refused(keys.revoke_all(UserId::from_number(999)), ErrorKind::NotFound, Some("user"));
    let made = create(new()).unwrap().key;
    refused(keys.update(made.id, ApiKeyChange::new().at([])), invalid, Some("key.scopes"));
    refused(keys.update(made.id, ApiKeyChange::new().name("")), invalid, Some("key.name"));
    assert_eq!(keys.get(made.id).unwrap(), made);
    for (requests, millis) in [(0, 1000), (1_000_001, 1000), (1, 0), (1, 367 * DAY * 1000)] {
        refused(
            RateLimit::new(requests, Duration::from_millis(millis)),
            invalid,
            Some(if millis == 1000 { "rate.requests" } else { "rate.span" }),
        );
    }
    refused(RateLimit::new(1, Duration::from_nanos(1_500_000)), invalid, Some("rate.span"));
    let daily = RateLimit::new(1, days(1)).unwrap();
    refused(daily.burst(0), invalid, Some("rate.burst"));
    refused(daily.burst(367), invalid, Some("rate.burst"));
    assert_eq!(all(|page| keys.of_owner(s.ada, page)), [made]);
    sound(gate);
}

#[test]
fn a_context_rule_is_told_of_the_key_and_can_refuse_it() {
    let world = world_with(|builder| {
        builder.context_rule(|context: &CheckContext<'_>| match context.key() {
            Some(_) => {
                assert!(context.session().is_none());
                context.client().and_then(Client::source).is_some_and(|address| address.is_loopback())
            }
            None => true,
        })
    });
    let gate = &world.gate;
    let s = scene(gate);
    let made = gate.api_keys().create(s.ada, NewApiKey::new("inside")).unwrap();
    let (inside, outside) =
        (Client::new().ip([127, 0, 0, 1].into()), Client::new().ip([192, 0, 2, 1].into()));
    assert!(!accepted(gate, made.token.as_str()));
    assert!(gate.authenticate_key_from(&made.token, &outside).is_err_and(|error| error.is_denied()));
    assert_eq!(gate.api_keys().get(made.key.id).unwrap().last_used, None, "a refusal is no use");
    assert!(gate.authenticate_key_from(&made.token, &inside).unwrap().can(s.read));
}

#[test]
fn who_administers_users_may_administer_their_keys_and_nobody_their_own() {
    let world = world();
    let gate = &world.gate;
    let s = scene(gate);
    let [boss, bob] = ["boss", "bob"].map(|login| user(gate, login).id);
    let clerk = gate.roles().create("clerk", []).unwrap();
    let admin = gate.roles().create("admin", []).unwrap();
    gate.roles().assign(boss, admin).unwrap();
    let range = portcullis::RoleRange::Roles(vec![clerk]);
    gate.delegations().create(admin, range, [portcullis::Ability::ManageUsers]).unwrap();
    let handle = gate.delegated(boss);
    gate.roles().assign(bob, clerk).unwrap();
    let made = handle.api_keys().create(bob, NewApiKey::new("bob's")).unwrap();
    assert_eq!(made.key.created_by, Some(boss));
    let next = handle.api_keys().rotate(made.key.id, days(1)).unwrap();
    handle.api_keys().update(next.key.id, ApiKeyChange::new().name("other")).unwrap();
    handle.api_keys().revoke_presented(made.token.as_str()).unwrap();
    assert_eq!(handle.api_keys().revoke_all(bob).unwrap(), 1);
    let last = all(|page| gate.audit().by_kind(AuditKind::ApiKeyRevoked, page)).pop().unwrap();
    assert_eq!(last.actor, Actor::User(boss));
    // Ada holds what is out of the range, and the boss is the boss.
    let hers = gate.api_keys().create(s.ada, NewApiKey::new("ada's")).unwrap();
    for owner in [s.ada, boss] {
        assert_eq!(
            handle.api_keys().create(owner, NewApiKey::new("x")).unwrap_err().denial(),
            Some(Denial::Delegation)
        );
        assert_eq!(handle.api_keys().revoke_all(owner).unwrap_err().denial(), Some(Denial::Delegation));
    }
    let keys = handle.api_keys();
    for error in [
        keys.revoke(hers.key.id).unwrap_err(),
        keys.rotate(hers.key.id, days(1)).unwrap_err(),
        keys.update(hers.key.id, ApiKeyChange::new().name("x")).unwrap_err(),
        keys.revoke_presented(hers.token.as_str()).unwrap_err(),
    ] {
        assert_eq!(error.denial(), Some(Denial::Delegation));
    }
    assert!(accepted(gate, hers.token.as_str()));
}

#[test]
fn every_change_to_keys_writes_one_record_in_the_name_of_who_made_it() {
    let world = world();
    let s = scene(&world.gate);
    let boss = user(&world.gate, "boss").id;
    let gate = world.gate.acting_as(boss);
    let mut length = gate.audit().head().length;
    let mut told = |kind: AuditKind, id: Option<ApiKeyId>| {
        assert_eq!(gate.audit().head().length, length + 1, "{kind}");
        length += 1;
        let last = backwards(|page| gate.audit().list(page)).remove(0);
        assert_eq!((last.kind, last.outcome), (kind, portcullis::Outcome::Success));
        assert_eq!((last.subject, last.object), (Some(Subject::User(s.ada)), id.map(Subject::ApiKey)));
        assert_eq!(last.actor, Actor::User(boss));
    };
    let keys = gate.api_keys();
    let long = NewApiKey::new("x".repeat(128)).at((1..=3).map(ScopeId::from_number)).only([s.read]);
    let made = keys.create(s.ada, long).unwrap().key;
    told(AuditKind::ApiKeyCreated, Some(made.id));
    keys.update(made.id, ApiKeyChange::new().everywhere().all_permissions()).unwrap();
    told(AuditKind::ApiKeyUpdated, Some(made.id));
    let next = keys.rotate(made.id, days(1)).unwrap().key;
    told(AuditKind::ApiKeyRotated, Some(next.id));
    keys.revoke(made.id).unwrap();
    told(AuditKind::ApiKeyRevoked, Some(made.id));
    keys.revoke_all(s.ada).unwrap();
    told(AuditKind::ApiKeyRevoked, None);
    keys.revoke_all(s.ada).unwrap();
    assert_eq!(gate.audit().head().length, length, "nothing was there to revoke");
}
