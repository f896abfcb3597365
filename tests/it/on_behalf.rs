//! Decisions for a delegate that acts for somebody else: the intersection of what the two may do.

use crate::support::{Disk, PASSWORD, log_in, refused, user, world};
use portcullis::{Decision, Denial, ErrorKind, Grant, Permission, Portcullis, ScopeId, Status, UserId};
use proptest::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};

const NO: Decision = Decision::Deny(Denial::Permission);

fn may(gate: &Portcullis, (delegate, subject): (UserId, UserId), what: Permission, at: ScopeId) -> Decision {
    gate.check_on_behalf_of(delegate, subject, what, at).unwrap()
}

#[test]
fn only_what_both_may_is_allowed() {
    let gate = world().gate;
    let bits = gate.permissions().define_many(["both", "delegate", "subject", "nobody"]).unwrap();
    let (service, ada) = (user(&gate, "service").id, user(&gate, "ada").id);
    for (who, held) in [(service, [0, 1]), (ada, [0, 2])] {
        for number in held {
            gate.access().grant(who, bits[number], &Grant::new()).unwrap();
        }
    }
    let login = log_in(&gate, "service", PASSWORD).unwrap();
    let who = gate.authenticate(login.token()).unwrap();
    for (permission, due) in bits.iter().zip([Decision::Allow, NO, NO, NO]) {
        assert_eq!(may(&gate, (service, ada), *permission, ScopeId::ROOT), due);
        assert_eq!(may(&gate, (ada, service), *permission, ScopeId::ROOT), due);
        assert_eq!(who.check_on_behalf_of(ada, *permission, ScopeId::ROOT).unwrap(), due);
        assert_eq!(who.can_on_behalf_of(ada, *permission, ScopeId::ROOT), due.is_allowed());
    }
    // For oneself it is a check.
    assert_eq!(may(&gate, (ada, ada), bits[2], ScopeId::ROOT), Decision::Allow);
    for permission in [Permission::from_bit(99), Permission::from_bit(u32::MAX)] {
        assert_eq!(may(&gate, (service, ada), permission, ScopeId::ROOT), NO);
    }
}

#[test]
fn whichever_of_the_two_loses_it_the_next_call_says_no() {
    let world = world();
    let gate = &world.gate;
    let read = gate.permissions().define("read").unwrap();
    let role = gate.roles().create("reader", [read]).unwrap();
    let (service, ada) = (world.user("service").id, world.user("ada").id);
    gate.roles().assign(service, role).unwrap();
    gate.roles().assign(ada, role).unwrap();
    let login = world.login("service");
    let who = gate.authenticate(login.token()).unwrap();
    let both = |due: Decision, by_session: Decision| {
        assert_eq!(may(gate, (service, ada), read, ScopeId::ROOT), due);
        assert_eq!(who.check_on_behalf_of(ada, read, ScopeId::ROOT).unwrap(), by_session);
        assert_eq!(who.can_on_behalf_of(ada, read, ScopeId::ROOT), by_session.is_allowed());
    };
    both(Decision::Allow, Decision::Allow);
    for one in [service, ada] {
        gate.roles().unassign(one, role).unwrap();
        both(NO, NO);
        gate.roles().assign(one, role).unwrap();
        both(Decision::Allow, Decision::Allow);
        gate.access().grant(one, read, &Grant::new().denying()).unwrap();
        both(NO, NO);
        gate.access().withdraw(one, read, ScopeId::ROOT).unwrap();
        both(Decision::Allow, Decision::Allow);
    }
    // The subject need not be logged in, but must be somebody who may.
    for status in [Status::disabled("gone"), Status::locked("shut"), Status::pending()] {
        gate.users().set_status(ada, status).unwrap();
        both(NO, NO);
    }
    gate.users().set_status(ada, Status::locked("shut").until(gate.now().saturating_add(TEN))).unwrap();
    both(NO, NO);
    world.after(10);
    both(Decision::Allow, Decision::Allow);
    gate.users().delete(ada).unwrap();
    both(NO, NO);
    assert_eq!(may(gate, (service, UserId::from_number(999)), read, ScopeId::ROOT), NO);
    assert_eq!(may(gate, (UserId::from_number(999), service), read, ScopeId::ROOT), NO);
    // A delegate whose session is over is told so, whatever the subject may.
    gate.sessions().revoke(who.session()).unwrap();
    assert_eq!(
        who.check_on_behalf_of(service, read, ScopeId::ROOT).unwrap(),
        Decision::Deny(Denial::Session)
    );
    assert!(!who.can_on_behalf_of(service, read, ScopeId::ROOT));
    gate.users().set_status(service, Status::disabled("off")).unwrap();
    assert_eq!(may(gate, (service, service), read, ScopeId::ROOT), NO);
}

const TEN: std::time::Duration = std::time::Duration::from_secs(10);

#[test]
fn both_must_hold_it_at_the_scope_that_is_asked_about() {
    let gate = world().gate;
    let read = gate.permissions().define("read").unwrap();
    let (acme, project) =
        (gate.scopes().ensure("acme").unwrap(), gate.scopes().ensure("acme/project").unwrap());
    let other = gate.scopes().ensure("acme/other").unwrap();
    let (service, ada) = (user(&gate, "service").id, user(&gate, "ada").id);
    gate.access().grant(service, read, &Grant::new().at(acme)).unwrap();
    gate.access().grant(ada, read, &Grant::new().at(project)).unwrap();
    for (scope, due) in [
        (project, Decision::Allow),
        (acme, NO),
        (other, NO),
        (ScopeId::ROOT, NO),
        (ScopeId::from_number(99), NO),
    ] {
        assert_eq!(may(&gate, (service, ada), read, scope), due, "{scope}");
        assert_eq!(may(&gate, (ada, service), read, scope), due, "{scope}");
    }
    gate.access().grant(service, read, &Grant::new().at(project).denying()).unwrap();
    assert_eq!(may(&gate, (service, ada), read, project), NO);
    gate.scopes().delete(acme).unwrap();
    assert_eq!(may(&gate, (ada, service), read, project), NO);
}

#[test]
fn an_outage_is_an_error_and_no_refusal() {
    let disk = Disk::new();
    let gate = disk.open();
    let read = gate.permissions().define("read").unwrap();
    let (service, ada) = (user(&gate, "service").id, user(&gate, "ada").id);
    for one in [service, ada] {
        gate.access().grant(one, read, &Grant::new()).unwrap();
    }
    let login = log_in(&gate, "service", PASSWORD).unwrap();
    let who = gate.authenticate(login.token()).unwrap();
    assert!(who.can_on_behalf_of(ada, read, ScopeId::ROOT));
    gate.close().unwrap();
    refused(gate.check_on_behalf_of(service, ada, read, ScopeId::ROOT), ErrorKind::Stopped, None);
    refused(
        gate.check_on_behalf_of(UserId::from_number(9), ada, read, ScopeId::ROOT),
        ErrorKind::Stopped,
        None,
    );
    refused(who.check_on_behalf_of(ada, read, ScopeId::ROOT), ErrorKind::Stopped, None);
    assert!(!who.can_on_behalf_of(ada, read, ScopeId::ROOT));
}

#[test]
fn a_right_that_was_taken_before_the_call_is_missed_by_it_on_every_thread() {
    let gate = world().gate;
    let read = gate.permissions().define("read").unwrap();
    let (service, ada) = (user(&gate, "service").id, user(&gate, "ada").id);
    gate.access().grant(ada, read, &Grant::new()).unwrap();
    // Odd while the service surely does not hold it: raised after it was taken, and before it is given back.
    let (turn, rounds) = (AtomicU64::new(1), 2_000);
    std::thread::scope(|scope| {
        // It is one's own right that is taken, and then that of the one who is acted for.
        for (delegate, subject) in [(service, ada), (ada, service)] {
            let (gate, turn) = (&gate, &turn);
            scope.spawn(move || {
                loop {
                    let before = turn.load(Ordering::SeqCst);
                    let yes = may(gate, (delegate, subject), read, ScopeId::ROOT).is_allowed();
                    let after = turn.load(Ordering::SeqCst);
                    assert!(!(yes && before == after && before % 2 == 1), "a yes in turn {before}");
                    if before > rounds {
                        return;
                    }
                }
            });
        }
        while turn.load(Ordering::SeqCst) <= rounds {
            turn.fetch_add(1, Ordering::SeqCst);
            gate.access().grant(service, read, &Grant::new()).unwrap();
            gate.access().withdraw(service, read, ScopeId::ROOT).unwrap();
            turn.fetch_add(1, Ordering::SeqCst);
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn it_is_the_intersection_at_every_scope(grants in proptest::collection::vec(
        (0..3usize, 0..3usize, 0..4usize, any::<bool>()), 0..12,
    )) {
        let gate = world().gate;
        let bits = gate.permissions().define_many(["a", "b", "c"]).unwrap();
        let users = ["x", "y", "z"].map(|login| user(&gate, login).id);
        let scopes = ["", "t", "t/p", "s"].map(|path| match path {
            "" => ScopeId::ROOT,
            path => gate.scopes().ensure(path).unwrap(),
        });
        for (who, what, place, denies) in grants {
            let terms = Grant::new().at(scopes[place]);
            let terms = if denies { terms.denying() } else { terms };
            // One grant of a permission at a scope; a second one is refused and changes nothing.
            let _ = gate.access().grant(users[who], bits[what], &terms);
        }
        for (delegate, subject) in users.iter().flat_map(|one| users.map(|other| (*one, other))) {
            for (what, scope) in bits.iter().flat_map(|bit| scopes.map(|scope| (*bit, scope))) {
                let single = |user| gate.check_at(user, what, scope).unwrap().is_allowed();
                let due = single(delegate) && single(subject);
                prop_assert_eq!(may(&gate, (delegate, subject), what, scope).is_allowed(), due);
            }
        }
    }
}
