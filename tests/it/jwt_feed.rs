//! The feed of revocations: that no end of a session is missed, and what a holder makes of it.

use crate::jwt::{ISSUER, holder, issue, issuer, seed, wanted};
use crate::support::{Disk, OTHER, PASSWORD, log_in, sound, user, world, world_with};
use data_encoding::BASE64URL_NOPAD;
use portcullis::jwt::{Issuer, Refusal, SigningKeys, Verifier};
use portcullis::testing::{FaultPoint, ManualClock, SeededEntropy};
use portcullis::{Entropy, ErrorKind, Login, Portcullis, SessionLimits, Status, Timestamp, UserId};
use std::time::Duration;

fn apply(gate: &Portcullis, holder: &Verifier) -> usize {
    holder.apply(&issuer().revocations(gate).unwrap()).unwrap();
    holder.feed().unwrap().0
}

/// What is done with a user who has one session with a token, and whether that ends it.
type End = (&'static str, bool, fn(&Portcullis, UserId, &Login, &ManualClock));

const ENDS: &[End] = &[
    ("revoked", true, |gate, _, login, _| gate.sessions().revoke(login.session().id).unwrap()),
    ("all revoked", true, |gate, user, _, _| gate.sessions().revoke_all(user).unwrap()),
    ("others revoked", true, |gate, _, _, _| {
        let other = log_in(gate, "ada", PASSWORD).unwrap();
        gate.sessions().revoke_others(other.session().id).unwrap();
    }),
    ("kept", false, |gate, _, login, _| gate.sessions().revoke_others(login.session().id).unwrap()),
    ("disabled", true, |gate, user, _, _| {
        gate.users().set_status(user, Status::disabled("gone")).unwrap();
    }),
    ("locked for a time that is over", true, |gate, user, _, clock| {
        let until = clock_now(gate).saturating_add(Duration::from_secs(10));
        gate.users().set_status(user, Status::locked("shut").until(until)).unwrap();
        clock.advance(Duration::from_secs(20));
    }),
    ("deleted", true, |gate, user, _, _| gate.users().delete(user).unwrap()),
    ("deleted and swept", true, |gate, user, _, _| {
        gate.users().delete(user).unwrap();
        gate.maintain(1000).unwrap();
    }),
    ("new password", true, |gate, user, _, _| gate.users().set_password(user, OTHER).unwrap()),
    ("own new password", true, |gate, user, _, _| {
        gate.users().change_password(user, PASSWORD, OTHER).unwrap();
    }),
    ("compromised", true, |gate, user, _, _| gate.users().mark_password_compromised(user).unwrap()),
    ("device", true, |gate, user, login, _| {
        gate.devices().revoke(user, login.session().device.unwrap()).unwrap();
    }),
    ("idle", true, |_, _, _, clock| clock.advance(Duration::from_secs(601))),
    ("used", false, |gate, _, login, clock| {
        for _ in 0..10 {
            clock.advance(Duration::from_secs(90));
            gate.authenticate(login.token()).unwrap();
        }
    }),
    ("nothing", false, |_, _, _, _| {}),
];

fn clock_now(gate: &Portcullis) -> Timestamp {
    gate.now()
}

#[test]
fn every_way_to_end_a_session_is_in_the_feed() {
    for (what, ends, end) in ENDS {
        let limits = SessionLimits::new(Some(Duration::from_secs(600)), Duration::from_secs(86_400)).unwrap();
        let world = world_with(|builder| builder.session_limits(limits));
        let ada = world.user("ada").id;
        let (login, bystander) = (world.login("ada"), {
            world.user("bob");
            world.login("bob")
        });
        let life = wanted().life(Duration::from_secs(3600));
        let token =
            |login: &Login| issuer().issue(&world.gate.authenticate(login.token()).unwrap(), &life).unwrap();
        let (held, holder) = (token(&login), holder(&world.clock));
        assert_eq!(apply(&world.gate, &holder), 0);
        end(&world.gate, ada, &login, &world.clock);
        let live = world.gate.authenticate(login.token()).is_ok();
        assert_eq!(live, !ends, "{what}");
        assert!(holder.verify(held.as_str()).is_ok(), "{what}: before the feed is read");
        apply(&world.gate, &holder);
        let due = if *ends { Err(Refusal::Revoked) } else { Ok(()) };
        assert_eq!(holder.verify(held.as_str()).map(drop), due, "{what}");
        if *what != "idle" && *what != "used" {
            assert!(holder.verify(token(&bystander).as_str()).is_ok(), "{what}");
        }
        sound(&world.gate);
    }
}

/// Random ends of sessions over reopenings and crashes of the process: after each feed, a token that has not expired is
/// believed exactly if its session is live.
#[test]
fn the_feed_and_the_database_agree_whatever_happens() {
    let (disk, dice) = (Disk::new(), SeededEntropy::new(23));
    let roll = |sides: u8| {
        let mut byte = [0];
        dice.fill(&mut byte).unwrap();
        usize::from(byte[0] % sides)
    };
    let mut gate = disk.open();
    let holder = holder(&disk.clock);
    let users: Vec<UserId> = ["ada", "bob", "eve"].map(|login| user(&gate, login).id).to_vec();
    let mut held: Vec<(Login, Vec<portcullis::jwt::SignedToken>)> = Vec::new();
    let (mut refused, mut believed) = (0, 0);
    for _ in 0..400 {
        let (who, which) = (roll(3), roll(8));
        match roll(12) {
            0..=2 => held.extend(
                log_in(&gate, ["ada", "bob", "eve"][who], PASSWORD).ok().map(|login| (login, vec![])),
            ),
            3..=6 => {
                if let Some((login, tokens)) = held.get_mut(which)
                    && let Ok(principal) = gate.authenticate(login.token())
                {
                    let life = wanted().life(Duration::from_secs(60 << roll(6)));
                    tokens.push(issuer().issue(&principal, &life).unwrap());
                }
            }
            7 => drop(held.get(which).map(|(login, _)| gate.sessions().revoke(login.session().id))),
            8 => gate.sessions().revoke_all(users[who]).unwrap(),
            9 => {
                gate.users().set_status(users[who], Status::disabled("for a while")).unwrap();
                gate.users().set_status(users[who], Status::active()).unwrap();
            }
            10 => {
                disk.clock.advance(Duration::from_secs(60 << roll(6)));
                gate.maintain(1000).unwrap();
            }
            _ => {
                drop(gate);
                gate = disk.open();
            }
        }
        apply(&gate, &holder);
        for (login, tokens) in &held {
            let live = gate.sessions().get(login.session().id).is_ok();
            for token in tokens {
                let good = token.expires().saturating_add(Duration::from_secs(5)) > gate.now();
                assert_eq!(holder.verify(token.as_str()).is_ok(), live && good);
                match holder.verify(token.as_str()) {
                    Err(Refusal::Revoked) => refused += 1,
                    Ok(_) => believed += 1,
                    other => assert_eq!(other, Err(Refusal::Expired)),
                }
            }
        }
        held.truncate(8);
        if held.len() == 8 {
            held.remove(0);
        }
    }
    assert!(refused > 100 && believed > 100, "{refused} {believed}");
    sound(&gate);
}

#[test]
fn a_token_that_is_issued_while_its_session_ends_is_in_the_feed() {
    let world = world();
    world.user("ada");
    let holder = holder(&world.clock);
    for _ in 0..300 {
        let login = world.login("ada");
        let principal = world.gate.authenticate(login.token()).unwrap();
        let token = std::thread::scope(|scope| {
            let issuing = scope.spawn(|| issuer().issue(&principal, &wanted()));
            world.gate.sessions().revoke(login.session().id).unwrap();
            issuing.join().unwrap()
        });
        apply(&world.gate, &holder);
        if let Ok(token) = token {
            assert_eq!(holder.verify(token.as_str()), Err(Refusal::Revoked));
        }
    }
}

#[test]
fn there_is_no_token_where_its_session_could_not_be_noted() {
    for point in [FaultPoint::JournalWrite, FaultPoint::JournalSync] {
        let disk = Disk::new();
        let gate = disk.open();
        user(&gate, "ada");
        let login = log_in(&gate, "ada", PASSWORD).unwrap();
        let principal = gate.authenticate(login.token()).unwrap();
        disk.faults.fail(point, 1);
        let error = issuer().issue(&principal, &wanted()).unwrap_err();
        assert!(error.is_storage() && !disk.faults.pending(), "{error:?}");
        assert_eq!(issuer().revocations(&gate).unwrap_err().kind(), ErrorKind::Stopped);
        drop(gate);
        let gate = disk.open();
        issue(&gate, login.token()).unwrap();
        sound(&gate);
    }
}

#[test]
fn a_feed_names_nobody_longer_than_it_must() {
    let limits = SessionLimits::new(None, Duration::from_secs(1000)).unwrap();
    let world = world_with(|builder| builder.session_limits(limits));
    world.user("ada");
    let holder = holder(&world.clock);
    let logins: Vec<Login> = (0..5).map(|_| world.login("ada")).collect();
    for login in &logins[..4] {
        issue(&world.gate, login.token()).unwrap();
    }
    for login in &logins[..3] {
        world.gate.sessions().revoke(login.session().id).unwrap();
    }
    world.gate.sessions().revoke(logins[4].session().id).unwrap();
    assert_eq!(apply(&world.gate, &holder), 3, "and not the one that has no token");
    world.after(1059);
    assert_eq!(apply(&world.gate, &holder), 4, "until the session and a minute are over");
    world.after(1);
    assert_eq!(apply(&world.gate, &holder), 0);
}

#[test]
fn a_feed_is_of_the_issuer_and_never_goes_back() {
    let world = world();
    world.user("ada");
    let (holder, first) = (holder(&world.clock), issuer().revocations(&world.gate).unwrap());
    let login = world.login("ada");
    let token = issue(&world.gate, login.token()).unwrap();
    world.after(1);
    world.gate.sessions().revoke(login.session().id).unwrap();
    let second = issuer().revocations(&world.gate).unwrap();
    holder.apply(&first).unwrap();
    assert!(holder.verify(token.as_str()).is_ok());
    holder.apply(&second).unwrap();
    assert_eq!(holder.apply(&first), Err(Refusal::OlderFeed));
    holder.apply(&second).unwrap();
    assert_eq!(holder.verify(token.as_str()), Err(Refusal::Revoked));
    let bytes = second.as_bytes();
    for place in 0..bytes.len() {
        let mut changed = bytes.to_vec();
        changed[place] ^= 1;
        assert!(holder.apply(std::str::from_utf8(&changed).unwrap()).is_err());
    }
    let thief = Issuer::new(ISSUER, SigningKeys::new(&[9; 32]).unwrap()).unwrap();
    assert_eq!(holder.apply(&thief.revocations(&world.gate).unwrap()), Err(Refusal::Key));
    let another = Issuer::new("https://elsewhere", SigningKeys::new(&seed()).unwrap()).unwrap();
    assert_eq!(holder.apply(&another.revocations(&world.gate).unwrap()), Err(Refusal::Issuer));
    assert_eq!(holder.verify(token.as_str()), Err(Refusal::Revoked), "all of that changed nothing");
    assert_eq!(holder.feed(), Some((1, world.gate.now())));
    // What others read is text.
    let body = second.split('.').nth(1).unwrap();
    let body: serde_json::Value =
        serde_json::from_slice(&BASE64URL_NOPAD.decode(body.as_bytes()).unwrap()).unwrap();
    assert_eq!(body["revoked"], serde_json::json!([login.session().id.get().to_string()]));
    assert_eq!(body["seq"], world.gate.now().as_millis());
}

#[test]
fn without_a_fresh_feed_nothing_is_believed_where_one_is_asked_for() {
    let world = world();
    world.user("ada");
    let login = world.login("ada");
    let token = issue(&world.gate, login.token()).unwrap();
    let holder = holder(&world.clock).require_feed(Duration::from_secs(30));
    assert_eq!(holder.verify(token.as_str()), Err(Refusal::NoFeed));
    apply(&world.gate, &holder);
    let old = issuer().revocations(&world.gate).unwrap();
    for (seconds, due) in [(30, Ok(())), (1, Err(Refusal::NoFeed))] {
        world.after(seconds);
        assert_eq!(holder.verify(token.as_str()).map(drop), due);
    }
    apply(&world.gate, &holder);
    assert!(holder.verify(token.as_str()).is_ok());
    world.after(3700);
    let late = crate::jwt::holder(&world.clock);
    assert_eq!(late.apply(&old), Err(Refusal::Expired), "what an hour ago was says nothing any more");
}

#[test]
fn the_time_of_a_holder_does_not_go_back_behind_its_feed() {
    let world = world();
    world.user("ada");
    let login = world.login("ada");
    let token = issue(&world.gate, login.token()).unwrap();
    let clock = ManualClock::new();
    let (holder, start) = (holder(&clock), world.gate.now());
    world.after(400);
    let feed = issuer().revocations(&world.gate).unwrap();
    clock.set(start);
    assert_eq!(holder.apply(&feed), Err(Refusal::NotYetValid), "the clocks differ by minutes");
    clock.set(world.gate.now());
    holder.apply(&feed).unwrap();
    clock.set(start);
    assert_eq!(holder.verify(token.as_str()), Err(Refusal::Expired), "and not good again");
}
