//! Passkeys under attack: replays, copies, edited rows, threads, garbage.

use crate::authenticator::{Authenticator, UP, UV};
use crate::passkeys::{denied, enrolled, log_in, person, register, second};
use crate::support::{Disk, all, backwards, refused, sound, user, world};
use portcullis::testing::passkeys::{finish_assertion, finish_login, start_assertion, start_login};
use portcullis::testing::{StoredRow, danger_put, dump};
use portcullis::{AuditKind, Denial, ErrorKind, Outcome, Portcullis, UserId};
use std::collections::BTreeSet;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

fn of_kind(gate: &Portcullis, kind: AuditKind) -> usize {
    all(|page| gate.audit().by_kind(kind, page)).len()
}

fn rows(gate: &Portcullis, table: &str) -> Vec<StoredRow> {
    dump(gate).unwrap().into_iter().filter(|row| row.table == table).collect()
}

#[test]
fn an_assertion_that_does_not_follow_the_rules_is_refused() {
    type Wrong = (&'static str, fn(&mut Authenticator));
    let wrongs: &[Wrong] = &[
        ("another origin", |device| device.origin = "https://login.example.com".to_owned()),
        ("another origin", |device| device.origin.push('/')),
        ("frame", |device| device.cross_origin = true),
        ("another relying party", |device| device.rp = "login.example.org".to_owned()),
        ("another challenge", |device| device.other_challenge = Some("A".repeat(22))),
        ("standard", |device| device.flags = UV),
        ("signature", |device| device.key = Authenticator::named("eve").key),
        ("not registered", |device| device.credential = vec![9; 32]),
    ];
    let world = world();
    let (ada, device, id) = enrolled(&world.gate, "ada");
    for (reason, spoil) in wrongs {
        let mut wrong = device.clone();
        spoil(&mut wrong);
        denied(&world.gate, log_in(&world.gate, &mut wrong), reason);
        denied(&world.gate, second(&world.gate, ada, &mut wrong), reason);
    }
    let mut wrong = Authenticator { handle: Some(vec![1; 64]), ..device };
    denied(&world.gate, log_in(&world.gate, &mut wrong), "another user");
    denied(&world.gate, second(&world.gate, ada, &mut wrong), "another user");
    // Without a name it must say whose it is; after a name it need not.
    wrong.handle = None;
    denied(&world.gate, log_in(&world.gate, &mut wrong), "JSON");
    assert_eq!(second(&world.gate, ada, &mut wrong).unwrap(), (ada, id, true));
    let (options, state) = start_assertion(&world.gate, ada).unwrap().unwrap();
    let mut response: serde_json::Value = serde_json::from_str(&wrong.get(&options)).unwrap();
    response["response"]["userHandle"] = serde_json::Value::Null;
    finish_assertion(&world.gate, &state, &response.to_string()).unwrap();
    assert!(world.gate.passkeys().of_user(ada).unwrap()[0].suspended.is_none());
}

#[test]
fn an_answer_to_one_question_is_none_to_another() {
    let world = world();
    let gate = &world.gate;
    let (ada, mut device, _) = enrolled(gate, "ada");
    let (bob, mut bobs, _) = enrolled(gate, "bob");
    let [(a, ticket_a), (b, ticket_b)] = [start_login(gate).unwrap(), start_login(gate).unwrap()];
    let (for_a, for_b) = (device.get(&a), device.get(&b));
    denied(gate, finish_login(gate, &ticket_b, &for_a), "another challenge");
    denied(gate, finish_login(gate, &ticket_a, &for_b), "another challenge");
    finish_login(gate, &ticket_a, &for_a).unwrap();
    denied(gate, finish_login(gate, &ticket_a, &for_a), "answered before");
    denied(gate, finish_login(gate, &ticket_a, &device.get(&a)), "answered before");
    denied(gate, finish_login(gate, &ticket_b, &for_a), "another challenge");
    finish_login(gate, &ticket_b, &for_b).unwrap();

    // A user who is known is asked for a passkey of that user's, and no other.
    let (options, state) = start_assertion(gate, ada).unwrap().unwrap();
    denied(gate, finish_assertion(gate, &state, &bobs.get(&options)), "not the user's");
    let registration = gate.passkeys().start_registration(bob).unwrap();
    let mut fresh = device.clone();
    let created = fresh.create(&registration.options);
    denied(gate, finish_assertion(gate, &state, &created), "JSON");
    // One that was registered since the question was asked was not asked for.
    let mut later = Authenticator::named("later");
    register(gate, ada, &mut later).unwrap();
    denied(gate, finish_assertion(gate, &state, &later.get(&options)), "not the user's");
    finish_assertion(gate, &state, &device.get(&options)).unwrap();
    sound(gate);
}

#[test]
fn a_question_expires_and_so_does_what_is_kept_of_it() {
    let world = world();
    let gate = &world.gate;
    let (ada, mut device, _) = enrolled(gate, "ada");
    let ((options, ticket), (known, state)) =
        (start_login(gate).unwrap(), start_assertion(gate, ada).unwrap().unwrap());
    let (late, spent) = (start_login(gate).unwrap(), start_login(gate).unwrap());
    finish_login(gate, &spent.1, &device.get(&spent.0)).unwrap();
    gate.passkeys().start_registration(ada).unwrap();
    world.after(299);
    assert_eq!(gate.maintain(100).unwrap().ended_ceremonies, 0);
    finish_login(gate, &late.1, &device.get(&late.0)).unwrap();
    world.after(1);
    denied(gate, finish_login(gate, &ticket, &device.get(&options)), "expired");
    denied(gate, finish_assertion(gate, &state, &device.get(&known)), "expired");
    denied(gate, finish_login(gate, &spent.1, &device.get(&spent.0)), "expired");
    // The secret, a registration, two challenges. Those are kept for an hour more: a clock that is set back a little in a
    // crash makes no answer good again.
    assert_eq!(rows(gate, "passkey_state").len(), 4);
    assert_eq!(gate.maintain(100).unwrap().ended_ceremonies, 1);
    world.after(3599);
    assert_eq!(gate.maintain(100).unwrap().ended_ceremonies, 0);
    world.after(1);
    let first = gate.maintain(1).unwrap();
    assert_eq!((first.ended_ceremonies, first.more), (1, true));
    assert_eq!(gate.maintain(100).unwrap().ended_ceremonies, 1);
    assert_eq!(rows(gate, "passkey_state").len(), 1, "the secret stays");
    denied(gate, finish_login(gate, &spent.1, &device.get(&spent.0)), "expired");
    log_in(gate, &mut device).unwrap();
    sound(gate);
}

#[test]
fn a_ticket_that_was_not_made_here_is_refused() {
    let (world, other) = (world(), world());
    let (_, mut device, _) = enrolled(&world.gate, "ada");
    let (options, ticket) = start_login(&world.gate).unwrap();
    let raw = data_encoding::BASE64URL_NOPAD.decode(ticket.as_bytes()).unwrap();
    for bit in 0..raw.len() * 8 {
        let mut bad = raw.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let bad = data_encoding::BASE64URL_NOPAD.encode(&bad);
        denied(&world.gate, finish_login(&world.gate, &bad, &device.get(&options)), "ticket");
    }
    for bad in ["", "x", &ticket[1..], &format!("{ticket}AA"), &"A".repeat(1 << 20)] {
        denied(&world.gate, finish_login(&world.gate, bad, &device.get(&options)), "ticket");
    }
    // One of another database, to whose question the passkey answered.
    let (elsewhere, foreign) = start_login(&other.gate).unwrap();
    denied(&world.gate, finish_login(&world.gate, &foreign, &device.get(&elsewhere)), "ticket");
    finish_login(&world.gate, &ticket, &device.get(&options)).unwrap();
}

#[test]
fn a_counter_that_does_not_grow_suspends_the_passkey() {
    for (stored, next) in [(5, 5), (5, 4), (5, 1), (5, 0), (u32::MAX, u32::MAX)] {
        let world = world();
        let gate = &world.gate;
        let ada = person(gate, "ada");
        let mut device = Authenticator { counter: stored, ..Authenticator::named("ada") };
        let id = register(gate, ada, &mut device).unwrap().id;
        // The browser in front of it counts on before it signs, unless the authenticator says 0.
        device.counter = if next == 0 { 0 } else { next - 1 };
        if device.counter == 0 && next > 0 {
            device.counter = next;
            let (options, ticket) = start_login(gate).unwrap();
            let mut copy = Authenticator { counter: 0, ..device.clone() };
            denied(gate, finish_login(gate, &ticket, &copy.get(&options)), "did not grow");
        } else {
            denied(gate, log_in(gate, &mut device), "did not grow");
        }
        let suspended = gate.passkeys().of_user(ada).unwrap().remove(0);
        assert_eq!(suspended.suspended, Some(gate.now()));
        let record = all(|page| gate.audit().by_kind(AuditKind::PasskeySuspended, page)).remove(0);
        assert_eq!((record.outcome, record.subject), (Outcome::Denied, Some(portcullis::Subject::User(ada))));
        assert!(record.detail.contains(&id.to_string()), "{record}");
        // Whatever it says from now on, it is refused; and nobody is asked for it.
        let mut device = Authenticator { counter: u32::MAX - 1, ..device };
        denied(gate, log_in(gate, &mut device), "suspended");
        assert!(start_assertion(gate, ada).unwrap().is_none());
        gate.passkeys().remove(ada, id).unwrap();
        device.counter = 0;
        register(gate, ada, &mut device).unwrap();
        log_in(gate, &mut device).unwrap();
        sound(gate);
    }
}

#[test]
fn a_counter_that_grows_is_fine_and_one_that_starts_to_count_goes_on_counting() {
    let world = world();
    let (_, mut device, _) = enrolled(&world.gate, "ada");
    for _ in 0..3 {
        log_in(&world.gate, &mut device).unwrap(); // 0 and 0
    }
    device.counter = 7;
    log_in(&world.gate, &mut device).unwrap();
    log_in(&world.gate, &mut device).unwrap();
    device.counter = 0;
    denied(&world.gate, log_in(&world.gate, &mut device), "did not grow");
}

#[test]
fn of_many_threads_with_one_assertion_one_is_believed() {
    for counter in [0, 5] {
        let disk = Disk::new();
        let gate = disk.open();
        let ada = person(&gate, "ada");
        let mut device = Authenticator { counter, ..Authenticator::named("ada") };
        register(&gate, ada, &mut device).unwrap();
        let (options, ticket) = start_login(&gate).unwrap();
        let response = device.get(&options);
        let (start, believed) = (Barrier::new(64), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..64 {
                scope.spawn(|| {
                    start.wait();
                    match finish_login(&gate, &ticket, &response) {
                        Ok(proof) => {
                            assert_eq!(proof.0, ada);
                            believed.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(error) => assert_eq!(error.denial(), Some(Denial::Credentials), "{error}"),
                    }
                });
            }
        });
        assert_eq!(believed.load(Ordering::SeqCst), 1);
        assert_eq!(of_kind(&gate, AuditKind::LoginFailure), 63);
        // A replay of the one is no copy of the key.
        assert_eq!(of_kind(&gate, AuditKind::PasskeySuspended), 0);
        log_in(&gate, &mut device).unwrap();
        sound(&gate);
    }
}

#[test]
fn of_many_assertions_with_one_counter_one_is_believed_and_the_passkey_suspended() {
    let world = world();
    let gate = &world.gate;
    let ada = person(gate, "ada");
    let mut device = Authenticator { counter: 5, ..Authenticator::named("ada") };
    register(gate, ada, &mut device).unwrap();
    let asked: Vec<_> = (0..16).map(|_| start_login(gate).unwrap()).collect();
    let answers: Vec<_> = asked
        .iter()
        .map(|(options, ticket)| (ticket, Authenticator { counter: 5, ..device.clone() }.get(options)))
        .collect();
    let (start, believed) = (Barrier::new(16), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for (ticket, response) in &answers {
            scope.spawn(|| {
                start.wait();
                if finish_login(gate, ticket, response).is_ok() {
                    believed.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(believed.load(Ordering::SeqCst), 1);
    assert_eq!(of_kind(gate, AuditKind::PasskeySuspended), 1);
    assert!(gate.passkeys().of_user(ada).unwrap()[0].suspended.is_some());
    sound(gate);
}

#[test]
fn a_passkey_that_was_removed_is_refused_in_all_threads() {
    let world = world();
    let gate = &world.gate;
    let (ada, device, _) = enrolled(gate, "ada");
    for round in 0..20 {
        let id = gate.passkeys().of_user(ada).unwrap()[0].id;
        let asked: Vec<_> = (0..4).map(|_| start_login(gate).unwrap()).collect();
        let (start, removed) = (Barrier::new(5), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for (options, ticket) in &asked {
                let (response, start, removed) = (device.clone().get(options), &start, &removed);
                scope.spawn(move || {
                    start.wait();
                    let before = removed.load(Ordering::SeqCst);
                    let believed = finish_login(gate, ticket, &response).is_ok();
                    assert!(!(believed && before == 1), "round {round}");
                });
            }
            start.wait();
            gate.passkeys().remove(ada, id).unwrap();
            removed.store(1, Ordering::SeqCst);
        });
        for (options, ticket) in &asked {
            assert!(finish_login(gate, ticket, &device.clone().get(options)).is_err());
        }
        register(gate, ada, &mut device.clone()).unwrap();
    }
    sound(gate);
}

#[test]
fn a_stored_passkey_with_a_flipped_bit_is_not_believed() {
    let world = world();
    let gate = &world.gate;
    let (ada, mut device, id) = enrolled(gate, "ada");
    let row = rows(gate, "passkey").remove(0);
    for bit in 0..row.value.len() * 8 {
        let mut bad = row.clone();
        bad.value[bit / 8] ^= 1 << (bit % 8);
        danger_put(gate, &bad).unwrap();
        let (options, ticket) = start_login(gate).unwrap();
        let result = finish_login(gate, &ticket, &device.get(&options));
        assert!(
            matches!(result.as_ref().unwrap_err().kind(), ErrorKind::Damaged | ErrorKind::NewerFormat),
            "{result:?}"
        );
        assert!(gate.passkeys().rename(ada, id, "x").is_err(), "it is not sealed anew, bit {bit}");
        if bit % 16 == 0 {
            assert!(!gate.verify().unwrap().is_sound(), "bit {bit}");
        }
    }
    danger_put(gate, &row).unwrap();
    log_in(gate, &mut device).unwrap();
    sound(gate);
}

#[test]
fn a_passkey_that_was_moved_to_another_user_is_not_believed() {
    let world = world();
    let gate = &world.gate;
    let (_, mut device, _) = enrolled(gate, "ada");
    let (bob, ..) = enrolled(gate, "bob");
    let [adas, bobs] = <[StoredRow; 2]>::try_from(rows(gate, "passkey")).unwrap();
    // Ada's key in Bob's row: the seal covers whose it is, and so does the place where it stands.
    let mut moved = bobs.clone();
    moved.value.clone_from(&adas.value);
    danger_put(gate, &moved).unwrap();
    assert!(!gate.verify().unwrap().is_sound());
    assert!(gate.passkeys().of_user(bob).is_err());
    danger_put(gate, &bobs).unwrap();
    sound(gate);
    // Without the secret nothing is believed.
    let mut secret = rows(gate, "passkey_state").remove(0);
    secret.value[5] ^= 1;
    let (options, ticket) = start_login(gate).unwrap();
    danger_put(gate, &secret).unwrap();
    assert!(finish_login(gate, &ticket, &device.get(&options)).is_err());
    let (options, ticket) = start_login(gate).unwrap();
    refused(finish_login(gate, &ticket, &device.get(&options)), ErrorKind::Damaged, None);
    assert!(!gate.verify().unwrap().is_sound());
}

#[test]
fn everything_goes_on_after_a_reopening() {
    let disk = Disk::new();
    let gate = disk.open();
    let (ada, mut device) =
        (person(&gate, "ada"), Authenticator { counter: 1, ..Authenticator::named("ada") });
    let started = gate.passkeys().start_registration(ada).unwrap();
    let response = device.create(&started.options);
    gate.close().unwrap();
    let gate = disk.open();
    let id = gate.passkeys().finish_registration(ada, &started.ticket, &response, "key").unwrap().id;
    let (login, ticket) = start_login(&gate).unwrap();
    let (known, state) = start_assertion(&gate, ada).unwrap().unwrap();
    drop(gate);
    let gate = disk.open();
    let response = device.get(&login);
    assert_eq!(finish_login(&gate, &ticket, &response).unwrap(), (ada, id, true));
    assert_eq!(finish_assertion(&gate, &state, &device.get(&known)).unwrap(), (ada, id, true));
    gate.close().unwrap();
    let gate = disk.open();
    denied(&gate, finish_login(&gate, &ticket, &response), "answered before");
    device.counter = 1;
    denied(&gate, log_in(&gate, &mut device), "did not grow");
    gate.close().unwrap();
    let gate = disk.open();
    assert!(gate.passkeys().of_user(ada).unwrap()[0].suspended.is_some());
    device.counter = 100;
    denied(&gate, log_in(&gate, &mut device), "suspended");
    sound(&gate);
}

#[test]
fn garbage_of_every_length_is_refused_and_too_much_of_it_is_not_looked_at() {
    let world = world();
    let gate = &world.gate;
    let (ada, mut device, _) = enrolled(gate, "ada");
    let started = gate.passkeys().start_registration(ada).unwrap();
    let (options, ticket) = start_login(gate).unwrap();
    let (known, state) = start_assertion(gate, ada).unwrap().unwrap();
    let finish = |response: &str| gate.passkeys().finish_registration(ada, &started.ticket, response, "key");
    let mut fresh = Authenticator::named("fresh");
    let answers = [fresh.create(&started.options), device.get(&options), device.get(&known)];
    for answer in &answers {
        for length in 0..answer.len() {
            refused(finish(&answer[..length]), ErrorKind::InvalidInput, Some("response"));
            denied(gate, finish_login(gate, &ticket, &answer[..length]), "JSON");
            denied(gate, finish_assertion(gate, &state, &answer[..length]), "JSON");
        }
    }
    for bad in ["null", "[]", "{}", "\"\"", "{\"id\":1}", "\u{0}", &"[".repeat(16 * 1024), &"x".repeat(9999)]
    {
        refused(finish(bad), ErrorKind::InvalidInput, Some("response"));
        denied(gate, finish_login(gate, &ticket, bad), "JSON");
    }
    // Whole and valid, but for the white space after it.
    let before = gate.audit().head();
    for answer in &answers {
        let long = format!("{answer}{}", " ".repeat(16 * 1024));
        refused(finish(&long), ErrorKind::InvalidInput, Some("response"));
        refused(finish_login(gate, &ticket, &long), ErrorKind::InvalidInput, Some("response"));
        refused(finish_assertion(gate, &state, &long), ErrorKind::InvalidInput, Some("response"));
    }
    assert_eq!(gate.audit().head(), before);
    finish(&answers[0]).unwrap();
    finish_login(gate, &ticket, &answers[1]).unwrap();
    finish_assertion(gate, &state, &answers[2]).unwrap();
    sound(gate);
}

#[test]
fn no_flipped_byte_of_an_answer_opens_anything() {
    let world = world();
    let gate = &world.gate;
    let (ada, mut device, id) = enrolled(gate, "ada");
    let (options, state) = start_assertion(gate, ada).unwrap().unwrap();
    let answer = device.get(&options);
    for place in 0..answer.len() {
        let mut bytes = answer.clone().into_bytes();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        let Ok(text) = String::from_utf8(bytes) else { continue };
        // What does not matter for the proof (a name of a field that is optional) may differ; the proof is the same.
        match finish_assertion(gate, &state, &text) {
            Ok(proof) => assert_eq!(proof, (ada, id, true), "{text}"),
            Err(error) => assert_eq!(error.denial(), Some(Denial::Credentials), "{error}"),
        }
    }
}

#[test]
fn challenges_are_long_and_none_comes_twice() {
    let gate = Portcullis::builder()
        .passkeys(portcullis::PasskeySettings::new(crate::authenticator::RP, [crate::authenticator::ORIGIN]))
        .in_memory()
        .unwrap();
    let (ada, ..) = enrolled(&gate, "ada");
    let mut seen = BTreeSet::new();
    let mut note = |options: &str| {
        let options: serde_json::Value = serde_json::from_str(options).unwrap();
        let challenge = options["challenge"].as_str().unwrap().as_bytes();
        let challenge = data_encoding::BASE64URL_NOPAD.decode(challenge).unwrap();
        assert!(challenge.len() >= 16);
        assert!(seen.insert(challenge));
    };
    for _ in 0..20_000 {
        note(&start_login(&gate).unwrap().0);
    }
    for _ in 0..1000 {
        note(&start_assertion(&gate, ada).unwrap().unwrap().0);
        note(&gate.passkeys().start_registration(ada).unwrap().options);
    }
    assert_eq!(
        rows(&gate, "passkey_state").len(),
        2,
        "the secret and one registration: starting fills no disk"
    );
}

#[test]
fn randomness_that_fails_fails_the_start() {
    let world = world();
    let (ada, ..) = enrolled(&world.gate, "ada");
    let before = dump(&world.gate).unwrap();
    world.entropy.set_broken(true);
    refused(start_login(&world.gate), ErrorKind::Storage, None);
    refused(start_assertion(&world.gate, ada), ErrorKind::Storage, None);
    refused(world.gate.passkeys().start_registration(ada), ErrorKind::Storage, None);
    assert_eq!(dump(&world.gate).unwrap(), before);
}

#[test]
fn a_deleted_user_leaves_no_passkey() {
    let world = world();
    let gate = &world.gate;
    let (ada, mut device, _) = enrolled(gate, "ada");
    for number in 0..5 {
        register(gate, ada, &mut Authenticator::named(&format!("{number}"))).unwrap();
    }
    gate.passkeys().start_registration(ada).unwrap();
    let (options, ticket) = start_login(gate).unwrap();
    gate.users().delete(ada).unwrap();
    denied(gate, finish_login(gate, &ticket, &device.get(&options)), "not registered");
    for table in ["passkey", "passkey_by_credential"] {
        assert!(rows(gate, table).is_empty());
    }
    assert_eq!(rows(gate, "passkey_state").len(), 1, "the secret");
    let bob: UserId = user(gate, "bob").id;
    register(gate, bob, &mut device).unwrap();
    assert_eq!(log_in(gate, &mut device).unwrap().0, bob);
    sound(gate);
}

#[test]
fn secrets_and_answers_are_in_no_text() {
    let world = world();
    let (ada, mut device, _) = enrolled(&world.gate, "ada");
    let started = world.gate.passkeys().start_registration(ada).unwrap();
    assert!(!format!("{started:?}").contains(&started.ticket));
    device.origin = "https://evil.test/\u{7}\\\"<script>".to_owned();
    denied(&world.gate, log_in(&world.gate, &mut device), "");
    let last = backwards(|page| world.gate.audit().list(page)).remove(0);
    assert!(!last.detail.contains("evil") && device.flags == UP | UV, "{last}");
}
