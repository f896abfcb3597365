//! How long a session lives, and what ends it.

use crate::support::{
    Disk, PASSWORD, World, all, is_live, later, log_in, refused, sound, user, world, world_with,
};
use portcullis::testing::{ManualClock, SeededEntropy};
use portcullis::{Clock, ErrorKind, Login, Portcullis, SessionId, SessionLimits, Status, Timestamp};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const IDLE: u64 = 3600;
const ABSOLUTE: u64 = 24 * 3600;

fn live(world: &World, login: &Login) -> bool {
    is_live(&world.gate, login.token().as_str())
}

#[test]
fn an_idle_session_dies_at_its_limit_and_not_a_second_before() {
    let world = world();
    world.user("ada");
    let (used, unused) = (world.login("ada"), world.login("ada"));
    world.after(IDLE - 1);
    assert!(live(&world, &used), "the last second before the limit, and a use");
    world.after(1);
    assert!(!live(&world, &unused), "the limit");
    assert!(live(&world, &used), "the use has moved the limit");
    world.after(IDLE - 1);
    assert!(live(&world, &used));
    world.after(IDLE);
    assert!(!live(&world, &used));
    assert!(!live(&world, &used), "a refused use revives nothing");
    let before = world.gate.audit().head();
    refused(world.gate.sessions().revoke(used.session().id), ErrorKind::NotFound, Some("session"));
    assert_eq!(world.gate.audit().head(), before, "what has ended is not ended again");
}

#[test]
fn a_session_in_use_dies_at_its_absolute_end() {
    let world = world();
    world.user("ada");
    let login = world.login("ada");
    assert_eq!(login.session().expires, later(world.clock.now(), ABSOLUTE));
    for _ in 0..ABSOLUTE / 1800 - 1 {
        world.after(1800);
        assert!(live(&world, &login));
    }
    world.after(1799);
    assert!(live(&world, &login), "one second before the end");
    let who = world.gate.authenticate(login.token()).unwrap();
    world.after(1);
    assert!(!live(&world, &login), "the end");
    let read = world.gate.permissions().define("read").unwrap();
    refused(who.require(read), ErrorKind::Denied, None);
    refused(world.gate.sessions().get(login.session().id), ErrorKind::NotFound, Some("session"));
}

#[test]
fn a_session_without_an_idle_limit_lives_to_its_end() {
    let clock = ManualClock::new();
    let limits = SessionLimits::new(None, Duration::from_secs(100)).unwrap();
    let builder = Portcullis::builder().clock(clock.clone()).session_limits(limits);
    let gate = builder.danger_fast_password_hashes().in_memory().unwrap();
    user(&gate, "ada");
    let login = log_in(&gate, "ada", PASSWORD).unwrap();
    assert_eq!(login.session().idle_timeout, None);
    clock.advance(Duration::from_secs(99));
    assert!(is_live(&gate, login.token().as_str()));
    clock.advance(Duration::from_secs(1));
    assert!(!is_live(&gate, login.token().as_str()));
}

#[test]
fn a_check_alone_does_not_extend_a_session_beyond_its_use() {
    let world = world();
    world.user("ada");
    let login = world.login("ada");
    let read = world.gate.permissions().define("read").unwrap();
    let who = world.gate.authenticate(login.token()).unwrap();
    world.after(IDLE - 1);
    assert!(!who.check(read).unwrap().is_allowed());
    world.after(1);
    assert!(!live(&world, &login));
}

#[test]
fn revoking_one_session_ends_that_one() {
    let world = world();
    let ada = world.user("ada");
    let (one, two) = (world.login("ada"), world.login("ada"));
    let who = world.gate.authenticate(one.token()).unwrap();
    world.gate.sessions().revoke(one.session().id).unwrap();
    assert!(!live(&world, &one) && live(&world, &two));
    let read = world.gate.permissions().define("read").unwrap();
    assert_eq!(who.require(read).unwrap_err().denial(), Some(portcullis::Denial::Session));
    refused(world.gate.sessions().revoke(one.session().id), ErrorKind::NotFound, Some("session"));
    refused(world.gate.sessions().revoke_others(one.session().id), ErrorKind::NotFound, Some("session"));
    assert_eq!(all(|page| world.gate.sessions().of_user(ada.id, page)).len(), 1);
    sound(&world.gate);
}

#[test]
fn revoking_all_or_the_others_touches_no_other_user() {
    let world = world();
    let ada = world.user("ada");
    world.user("bob");
    let (one, two, bob) = (world.login("ada"), world.login("ada"), world.login("bob"));
    world.gate.sessions().revoke_others(one.session().id).unwrap();
    assert!(live(&world, &one) && !live(&world, &two) && live(&world, &bob));
    let three = world.login("ada");
    world.gate.sessions().revoke_all(ada.id).unwrap();
    assert!(!live(&world, &one) && !live(&world, &three) && live(&world, &bob));
    assert!(live(&world, &world.login("ada")), "a login after it is not affected");
    refused(world.gate.sessions().revoke_others(two.session().id), ErrorKind::NotFound, Some("session"));
    sound(&world.gate);
}

#[test]
fn leaving_the_active_state_ends_sessions_for_good() {
    for status in [Status::disabled("x"), Status::locked("x"), Status::pending()] {
        let world = world();
        let ada = world.user("ada");
        let login = world.login("ada");
        world.gate.users().set_status(ada.id, status.clone()).unwrap();
        assert!(!live(&world, &login), "{status:?}");
        world.gate.users().set_status(ada.id, Status::active()).unwrap();
        assert!(!live(&world, &login), "{status:?} and back");
        assert!(live(&world, &world.login("ada")));
        sound(&world.gate);
    }
    let world = world();
    let ada = world.user("ada");
    let login = world.login("ada");
    world.gate.users().set_status(ada.id, Status::locked("x").until(later(world.clock.now(), 10))).unwrap();
    world.after(10);
    assert!(!live(&world, &login), "the end of the lock revives nothing");
    let again = world.login("ada");
    world.gate.users().delete(ada.id).unwrap();
    assert!(!live(&world, &again));
    refused(world.gate.sessions().get(again.session().id), ErrorKind::NotFound, Some("session"));
    sound(&world.gate);
}

/// A thread that asks without pause must never see the kept session refused, nor lose its right.
#[test]
fn the_kept_session_is_live_throughout() {
    let world = world();
    let ada = world.user("ada");
    let read = world.gate.permissions().define("read").unwrap();
    let role = world.gate.roles().create("reader", [read]).unwrap();
    world.gate.roles().assign(ada.id, role).unwrap();
    let kept = world.login("ada");
    let (done, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                let who = world.gate.authenticate(kept.token()).unwrap();
                assert!(who.can(read));
                asked.fetch_add(1, Ordering::SeqCst);
            }
        });
        for _ in 0..300 {
            let other = world.login("ada");
            world.gate.sessions().revoke_others(kept.session().id).unwrap();
            assert!(!is_live(&world.gate, other.token().as_str()));
            if asking.is_finished() {
                break;
            }
        }
        done.store(true, Ordering::SeqCst);
        asking.join().unwrap();
    });
    assert!(asked.into_inner() > 0);
    sound(&world.gate);
}

#[test]
fn sessions_are_listed_by_user_and_by_expiry() {
    let world = world();
    let (ada, bob) = (world.user("ada"), world.user("bob"));
    let mut due = Vec::new();
    for round in 0..7 {
        due.push(world.login(if round % 3 == 0 { "bob" } else { "ada" }).session().id);
        world.after(5);
    }
    let ids = |sessions: Vec<portcullis::Session>| sessions.iter().map(|s| s.id).collect::<Vec<SessionId>>();
    assert_eq!(ids(all(|page| world.gate.sessions().by_expiry(page))), due);
    let reversed: Vec<SessionId> = due.iter().rev().copied().collect();
    assert_eq!(ids(crate::support::backwards(|page| world.gate.sessions().by_expiry(page))), reversed);
    for (user, wanted) in [(bob.id, [0, 3, 6].as_slice()), (ada.id, &[1, 2, 4, 5])] {
        let mut wanted: Vec<SessionId> = wanted.iter().map(|place| due[*place]).collect();
        wanted.sort_unstable();
        assert_eq!(ids(all(|page| world.gate.sessions().of_user(user, page))), wanted);
    }
}

#[test]
fn last_seen_survives_a_restart_by_maintenance_and_by_closing() {
    let disk = Disk::new();
    let gate = disk.open();
    user(&gate, "ada");
    let login = log_in(&gate, "ada", PASSWORD).unwrap();
    let seen_after = |gate: &Portcullis, seconds| {
        disk.clock.advance(Duration::from_secs(seconds));
        assert!(is_live(gate, login.token().as_str()));
        disk.clock.now()
    };
    let seen = seen_after(&gate, 1000);
    assert_eq!(gate.sessions().get(login.session().id).unwrap().last_seen, seen);
    assert_eq!(gate.maintain(1000).unwrap().seen_written, 1);
    assert_eq!(gate.maintain(1000).unwrap().seen_written, 0, "nothing new was seen");
    drop(gate); // without close: what maintenance wrote is there
    let gate = disk.open();
    assert_eq!(gate.sessions().get(login.session().id).unwrap().last_seen, seen);
    let seen = seen_after(&gate, 1000);
    gate.close().unwrap();
    let gate = disk.open();
    assert_eq!(gate.sessions().get(login.session().id).unwrap().last_seen, seen);
    disk.clock.advance(Duration::from_secs(IDLE - 1));
    assert!(is_live(&gate, login.token().as_str()));
    sound(&gate);
}

#[test]
fn maintenance_removes_what_has_expired_and_nothing_else() {
    let limits = SessionLimits::new(None, Duration::from_secs(ABSOLUTE)).unwrap();
    let world = world_with(|builder| builder.session_limits(limits));
    world.user("ada");
    for _ in 0..70 {
        world.login("ada");
    }
    world.after(ABSOLUTE / 2);
    let young = world.login("ada");
    world.after(ABSOLUTE / 2 - 1);
    assert_eq!(world.gate.maintain(1000).unwrap().expired_sessions, 0, "one second early");
    assert!(live(&world, &young));
    world.after(1);
    let done = world.gate.maintain(50).unwrap();
    assert!(done.more && done.expired_sessions >= 50, "{done:?}");
    let rest = world.gate.maintain(1000).unwrap();
    assert_eq!((done.expired_sessions + rest.expired_sessions, rest.more), (70, false));
    sound(&world.gate);
}

#[test]
fn a_clock_that_jumps_back_lengthens_no_life() {
    let world = world();
    let ada = world.user("ada");
    let login = world.login("ada");
    let start = world.clock.now();
    world.after(IDLE + 2);
    assert!(!live(&world, &login));
    world.clock.set(start);
    assert!(!live(&world, &login), "dead sessions stay dead");
    world.clock.set(Timestamp::from_millis(0));
    assert!(!live(&world, &login));
    // A session begun after the jump ends by the time that was known before it.
    let fresh = world.login("ada");
    assert!(fresh.session().created >= later(start, IDLE));
    let end = later(start, IDLE + 2 + 60);
    world.gate.users().set_status(ada.id, Status::locked("x").until(end)).unwrap();
    refused(log_in(&world.gate, "ada", PASSWORD), ErrorKind::Denied, None);
}

#[test]
fn a_clock_at_the_end_of_time_breaks_nothing() {
    let world = world();
    world.user("ada");
    let login = world.login("ada");
    world.clock.set(Timestamp::MAX);
    assert!(!live(&world, &login));
    let refused = log_in(&world.gate, "ada", PASSWORD).unwrap_err();
    assert_eq!((refused.kind(), refused.field()), (ErrorKind::Storage, Some("clock")));
    world.gate.maintain(1000).unwrap();
    sound(&world.gate);
}

#[test]
fn every_single_flipped_bit_of_a_token_is_refused() {
    let world = world();
    world.user("ada");
    let login = world.login("ada");
    let token = login.token().as_str();
    let mut tried = 0;
    for place in 0..token.len() {
        for bit in 0..8 {
            let mut bytes = token.as_bytes().to_vec();
            bytes[place] ^= 1 << bit;
            // What is not UTF-8 can not be handed over at all.
            if let Ok(text) = std::str::from_utf8(&bytes) {
                assert!(!is_live(&world.gate, text), "byte {place} bit {bit}");
                tried += 1;
            }
        }
    }
    assert_eq!(tried, token.len() * 7);
    assert!(is_live(&world.gate, token));
}

#[test]
fn garbage_is_no_token_whatever_its_length() {
    let world = world();
    world.user("ada");
    let token = world.login("ada").token().as_str().to_owned();
    let entropy = SeededEntropy::new(3);
    let mut tried: Vec<String> = (0..=token.len() * 2).map(|length| "A".repeat(length)).collect();
    tried.extend((0..token.len()).map(|length| token[..length].to_owned()));
    tried.extend((1..token.len()).map(|start| token[start..].to_owned()));
    tried.extend([
        format!("{token}="),
        format!("{token}A"),
        format!(" {token}"),
        format!("{token}\n"),
        format!("{token}\0"),
        format!("{token}{token}"),
        token.to_uppercase(),
        token.to_lowercase(),
        token.replacen("pcs_", "pct_", 1),
        "é".repeat(29),
        "\u{202E}".repeat(20),
        "x".repeat(1 << 20),
    ]);
    for round in 0..2000 {
        let mut bytes = [0; 40];
        portcullis::Entropy::fill(&entropy, &mut bytes).unwrap();
        let id_kept = round % 2 == 0;
        let body: String = bytes.iter().map(|byte| (b'A' + byte % 26) as char).collect();
        // Every other one names the live session and guesses its secret.
        tried.push(if id_kept {
            format!("{}{}", &token[..14], &body.repeat(2)[..49])
        } else {
            format!("pcs_{}", &body.repeat(2)[..59])
        });
    }
    for text in &tried {
        assert!(!is_live(&world.gate, text), "{text:.80}");
    }
    assert!(is_live(&world.gate, &token));
}

#[test]
fn ending_everything_ends_what_is_open_and_nothing_that_is_opened_later() {
    let world = world();
    let users: Vec<_> = (0..3).map(|n| world.user(&format!("user{n}")).id).collect();
    let names = ["user0", "user1", "user2"];
    let before: Vec<_> = names.iter().map(|name| world.login(name)).collect();
    world.gate.sessions().revoke_everything().unwrap();
    for (login, user) in before.iter().zip(&users) {
        assert!(!is_live(&world.gate, login.token().as_str()));
        refused(world.gate.sessions().get(login.session().id), ErrorKind::NotFound, Some("session"));
        refused(
            world.gate.sessions().revoke_others(login.session().id),
            ErrorKind::NotFound,
            Some("session"),
        );
        assert!(
            world
                .gate
                .sessions()
                .of_user(*user, &portcullis::PageRequest::default())
                .unwrap()
                .items
                .is_empty()
        );
    }
    let later = world.login("user0");
    assert!(is_live(&world.gate, later.token().as_str()));
    world.gate.sessions().revoke_everything().unwrap();
    assert!(!is_live(&world.gate, later.token().as_str()));
    refused(world.gate.delegated(users[0]).sessions().revoke_everything(), ErrorKind::Denied, None);
    sound(&world.gate);
}
