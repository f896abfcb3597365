//! One-time tokens and throttling: who tries tokens, who guesses at the factor beside one, and who gets back in.

use crate::authenticator::Authenticator;
use crate::passkeys::register;
use crate::support::{OTHER, PASSWORD, log_in, sound, world};
use crate::throttle::{at, fail_times};
use crate::tickets::{HOME, KINDS, Kind, Sent, last};
use crate::tickets_reset::Secured;
use portcullis::{Answer, AuditKind, Denial, LoginStep, Method};

/// A source that tries tokens is held up before anything is read or written for it, and others are not.
#[test]
fn a_source_that_tries_tokens_is_held_up() {
    let world = world();
    let gate = &world.gate;
    let ada = Kind::Reset.user(gate);
    let (attacker, other) = (at("192.0.2.66"), at("198.51.100.1"));
    let sent = Kind::Reset.issue(gate, ada).unwrap();
    let present = |token: &str, client| {
        gate.tickets().reset_password(token, OTHER, None, client).map(drop).unwrap_err().denial().unwrap()
    };
    let mut tried = 0;
    let hashes = gate.password_hashes_computed();
    while present("pcr_", &attacker) == Denial::Ticket {
        tried += 1;
        assert!(tried < 1000, "somebody stops this");
    }
    let length = gate.audit().head().length;
    for _ in 0..100 {
        assert!(
            matches!(present(&sent.token, &attacker), Denial::Throttled(_)),
            "not even with the right one"
        );
    }
    assert_eq!(gate.audit().head().length, length, "it costs no commit");
    assert_eq!(gate.password_hashes_computed(), hashes, "and no hash");
    let tickets = gate.tickets();
    let held_up = [
        tickets.confirm_email("", &attacker).map(drop),
        tickets.accept_invitation("", OTHER, &attacker).map(drop),
        tickets.confirm_email_change("", &attacker).map(drop),
        tickets.refuse_email_change("", &attacker).map(drop),
        tickets.login_with_link("", None, &attacker).and_then(LoginStep::done).map(drop),
        // Whether there is such a user makes no difference.
        tickets.request_password_reset("ada", &attacker).map(drop),
        tickets.request_password_reset("nobody", &attacker).map(drop),
        tickets.request_magic_link("ada", &attacker).map(drop),
    ];
    for result in held_up {
        assert!(matches!(result.unwrap_err().denial(), Some(Denial::Throttled(_))));
    }
    assert_eq!(present("pcr_", &other), Denial::Ticket);
    gate.tickets().reset_password(&sent.token, OTHER, None, &other).unwrap();
    sound(gate);
}

/// To ask is no failure, however often, of known names or unknown ones.
#[test]
fn asking_holds_nobody_up() {
    let world = world();
    let gate = &world.gate;
    Kind::Reset.user(gate);
    let client = at("192.0.2.66");
    for _ in 0..100 {
        assert!(gate.tickets().request_password_reset("nobody", &client).unwrap().is_none());
        assert!(gate.tickets().request_password_reset("ada", &client).unwrap().is_some());
    }
}

/// Wrong factors beside a token count as wrong factors at a login do, over tokens and sources.
#[test]
fn guesses_beside_tokens_are_counted_over_tokens() {
    let s = Secured::new();
    let gate = &s.world.gate;
    let mut refused = 0;
    for round in 0..3 {
        let token = Kind::Reset.issue(gate, s.ada).unwrap();
        let client = at(&format!("192.0.2.{round}"));
        for _ in 0..5 {
            let wrong = Answer::totp("000000");
            let error =
                gate.tickets().reset_password(&token.token, OTHER, Some(&wrong), &client).unwrap_err();
            refused += usize::from(matches!(error.denial(), Some(Denial::Throttled(_))));
        }
    }
    assert!(refused > 0, "fifteen in a row are too many");
    // With the delay over, the right code works, and clears what was counted.
    s.world.after(7200);
    let token = Kind::Reset.issue(gate, s.ada).unwrap();
    let right = Answer::totp(s.code());
    gate.tickets().reset_password(&token.token, OTHER, Some(&right), &at("192.0.2.9")).unwrap();
    sound(gate);
}

/// Whoever was stopped for good after too many wrong passwords gets in again by another one.
#[test]
fn a_reset_lets_in_who_was_stopped() {
    let world = world();
    let gate = &world.gate;
    Kind::Reset.user(gate);
    fail_times(&world, "ada", &at("192.0.2.66"), 100);
    world.after(7200);
    assert_eq!(log_in(gate, "ada", PASSWORD).unwrap_err().denial(), Some(Denial::Credentials), "stopped");
    let reset = gate.tickets().request_password_reset("ada", &at("198.51.100.1")).unwrap().unwrap();
    gate.tickets().reset_password(reset.token(), OTHER, None, &at("198.51.100.1")).unwrap();
    log_in(gate, "ada", OTHER).unwrap();
    sound(gate);
}

/// What a presented token changes is told to whoever listens, once, and a refused one tells of nothing.
#[test]
fn what_a_token_changes_is_an_event() {
    for kind in KINDS {
        let world = world();
        let gate = &world.gate;
        let ada = kind.user(gate);
        let sent: Sent = kind.issue(gate, ada).unwrap();
        let events = gate.subscribe(16).unwrap();
        kind.spend(gate, &sent).unwrap();
        kind.spend(gate, &sent).unwrap_err();
        let told = names(&events);
        let due: &[&str] = match kind {
            Kind::Verification => &["contact_changed"],
            Kind::Activation => &["contact_changed", "status_changed"],
            Kind::Reset => &["password_changed"],
            Kind::Invitation => &["contact_changed", "status_changed", "password_changed"],
            Kind::Link | Kind::Unbound | Kind::OldAddress | Kind::NewAddress => &[],
        };
        assert_eq!(told, due, "{kind:?}");
        assert_ne!(last(gate).kind, AuditKind::TicketUsed);
    }
    let world = world();
    let ada = Kind::OldAddress.user(&world.gate);
    let change = world.gate.tickets().change_email(ada, HOME, crate::tickets::NEW_MAIL).unwrap();
    let events = world.gate.subscribe(16).unwrap();
    world.gate.tickets().refuse_email_change(change.present.token(), &at("192.0.2.1")).unwrap();
    assert_eq!(names(&events), ["email_change_refused"]);
}

fn names(events: &portcullis::Subscription) -> Vec<String> {
    let mut found = Vec::new();
    while let Some(told) = events.try_next() {
        let portcullis::Notification::Event(event) = told else { panic!("none is lost") };
        found.push(event.kind.to_string());
    }
    found
}

/// A passkey accompanies a reset: for the token that asked for it, and once.
#[test]
fn a_passkey_accompanies_a_reset() {
    let world = world();
    let gate = &world.gate;
    let (ada, client) = (Kind::Reset.user(gate), at("192.0.2.1"));
    let mut device = Authenticator { counter: 5, ..Authenticator::named("ada") };
    register(gate, ada, &mut device).unwrap();
    let tickets = gate.tickets();
    let reset = |sent: &Sent, response: &str| {
        let answer = Answer::passkey(response);
        tickets.reset_password(&sent.token, OTHER, Some(&answer), &client).map(drop)
    };
    let required = |result: portcullis::Result<()>, detail: &str| {
        assert_eq!(result.unwrap_err().denial(), Some(Denial::FactorRequired));
        assert!(last(gate).detail.contains(detail), "{}", last(gate));
    };
    let old = Kind::Reset.issue(gate, ada).unwrap();
    assert_eq!(tickets.reset_methods(&old.token).unwrap(), [Method::Passkey]);
    let old_options = tickets.ask_for_reset_passkey(&old.token, &client).unwrap();
    required(tickets.reset_password(&old.token, OTHER, None, &client).map(drop), "is asked for");
    let sent = Kind::Reset.issue(gate, ada).unwrap();
    required(reset(&sent, &device.get(&old_options)), "no passkey was asked for");
    let first = tickets.ask_for_reset_passkey(&sent.token, &client).unwrap();
    let second = tickets.ask_for_reset_passkey(&sent.token, &client).unwrap();
    // Nobody guesses a signature, so that these do not end the token.
    for _ in 0..10 {
        required(reset(&sent, &device.get(&first)), "challenge");
        required(reset(&sent, "{}"), "JSON");
    }
    let response = device.get(&second);
    reset(&sent, &response).unwrap();
    assert_eq!(reset(&sent, &response).unwrap_err().denial(), Some(Denial::Ticket));
    assert_eq!(log_in(gate, "ada", OTHER).unwrap_err().denial(), Some(Denial::FactorRequired));
    // A copy is found out, and what was found out stays although the reset is refused.
    let sent = Kind::Reset.issue(gate, ada).unwrap();
    let options = tickets.ask_for_reset_passkey(&sent.token, &client).unwrap();
    let mut copy = Authenticator { counter: 3, ..device.clone() };
    required(reset(&sent, &copy.get(&options)), "did not grow");
    assert!(gate.passkeys().of_user(ada).unwrap()[0].suspended.is_some());
    assert!(tickets.preview(&sent.token).unwrap().is_some());
    let error = tickets.ask_for_reset_passkey("", &client).unwrap_err();
    assert_eq!(error.denial(), Some(Denial::Ticket));
    sound(gate);
}
