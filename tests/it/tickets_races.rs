//! Who comes first: a token that many present at once, one that ends while it is presented, and a disk that fails.

use crate::support::{Disk, OTHER, PASSWORD, all, log_in, sound, world};
use crate::tickets::{HOME, KINDS, Kind, NEW_MAIL, Sent, is_refused, sent};
use portcullis::testing::FaultPoint;
use portcullis::{AuditKind, Denial, EmailChangeStep, ErrorKind, Portcullis, Status, UserId};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many of so many threads come through.
fn winners(threads: usize, run: impl Fn(usize) -> bool + Sync) -> usize {
    let (barrier, won) = (Barrier::new(threads), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (barrier, won, run) = (&barrier, &won, &run);
            scope.spawn(move || {
                barrier.wait();
                won.fetch_add(usize::from(run(thread)), Ordering::Relaxed);
            });
        }
    });
    won.into_inner()
}

#[test]
fn of_sixty_four_who_present_a_token_at_once_one_comes_through() {
    for kind in KINDS {
        let (world, ada, sent) = sent(kind);
        let gate = &world.gate;
        let won = winners(64, |_| match kind.spend(gate, &sent) {
            Ok(()) => true,
            Err(error) => {
                assert_eq!(error.denial(), Some(Denial::Ticket), "{kind:?}: {error:?}");
                false
            }
        });
        assert_eq!(won, 1, "{kind:?}");
        let count = |of| all(|page| gate.audit().by_kind(of, page)).len();
        // Who read the row before the one and the account after it is told apart from one who came later.
        let refused = count(AuditKind::TicketReplayed) + count(AuditKind::TicketRefused);
        assert_eq!((count(AuditKind::TicketUsed), refused), (1, 63), "{kind:?}");
        if kind == Kind::Link {
            assert_eq!(all(|page| gate.sessions().of_user(ada, page)).len(), 1);
        }
        sound(gate);
    }
}

#[test]
fn of_many_passwords_that_are_set_by_one_token_one_is_set() {
    let (world, _, sent) = sent(Kind::Reset);
    let gate = &world.gate;
    let password = |thread: usize| format!("the password of thread {thread}");
    let client = portcullis::Client::new();
    let winner = parking_lot::Mutex::new(Vec::new());
    winners(32, |thread| {
        let reset = gate.tickets().reset_password(&sent.token, &password(thread), None, &client);
        if reset.is_ok() {
            winner.lock().push(thread);
        }
        reset.is_ok()
    });
    let winner = winner.into_inner();
    assert_eq!(winner.len(), 1);
    log_in(gate, "ada", &password(winner[0])).unwrap();
    log_in(gate, "ada", &password((winner[0] + 1) % 32)).unwrap_err();
    log_in(gate, "ada", PASSWORD).unwrap_err();
    sound(gate);
}

#[test]
fn of_many_tokens_that_are_issued_at_once_one_is_good() {
    for kind in KINDS {
        let (world, ada, _) = sent(kind);
        let gate = &world.gate;
        let issued = parking_lot::Mutex::new(Vec::new());
        winners(16, |_| {
            let sent = kind.issue(gate, ada).unwrap();
            issued.lock().push(sent);
            true
        });
        let good = |sent: &&Sent| gate.tickets().preview(&sent.token).unwrap().is_some();
        assert_eq!(issued.lock().iter().filter(good).count(), 1, "{kind:?}");
        sound(gate);
    }
}

#[test]
fn both_ends_of_a_change_at_once_make_one_change() {
    for _ in 0..20 {
        let world = world();
        let (gate, ada) = (&world.gate, Kind::OldAddress.user(&world.gate));
        let change = gate.tickets().change_email(ada, HOME, NEW_MAIL).unwrap();
        let done = AtomicUsize::new(0);
        let won = winners(2, |thread| {
            let token = if thread == 0 { change.present.token() } else { change.new.token() };
            let step = gate.tickets().confirm_email_change(token, &portcullis::Client::new()).unwrap();
            done.fetch_add(usize::from(matches!(step, EmailChangeStep::Done(_))), Ordering::Relaxed);
            true
        });
        assert_eq!((won, done.into_inner()), (2, 1));
        assert_eq!(all(|page| gate.users().contacts(ada, page))[0].value, NEW_MAIL);
        sound(gate);
    }
}

/// A refusal and a confirmation of the last end at once: one of them holds, and all agree which.
#[test]
fn a_refused_change_is_not_made() {
    for _ in 0..20 {
        let world = world();
        let (gate, ada) = (&world.gate, Kind::OldAddress.user(&world.gate));
        let change = gate.tickets().change_email(ada, HOME, NEW_MAIL).unwrap();
        gate.tickets().confirm_email_change(change.present.token(), &portcullis::Client::new()).unwrap();
        let refusals = AtomicUsize::new(0);
        let won = winners(2, |thread| match thread {
            0 => gate.tickets().confirm_email_change(change.new.token(), &portcullis::Client::new()).is_ok(),
            _ => {
                let refused = gate
                    .tickets()
                    .refuse_email_change(change.present.token(), &portcullis::Client::new())
                    .is_ok();
                refusals.fetch_add(usize::from(refused), Ordering::Relaxed);
                refused
            }
        });
        assert_eq!(won, 1);
        let made = all(|page| gate.users().contacts(ada, page))[0].value == NEW_MAIL;
        assert_eq!(refusals.into_inner() == 0, made);
    }
}

/// What a spent token has done, in words; empty where nothing was done.
fn effect(kind: Kind, gate: &Portcullis, ada: UserId) -> bool {
    let contact = || all(|page| gate.users().contacts(ada, page)).remove(0);
    match kind {
        Kind::Verification => contact().verified.is_some(),
        Kind::Activation => gate.users().get(ada).unwrap().status == Status::active(),
        Kind::Reset | Kind::Invitation => log_in(gate, "ada", OTHER).is_ok(),
        Kind::Link | Kind::Unbound => !all(|page| gate.sessions().of_user(ada, page)).is_empty(),
        // The second end makes the change.
        Kind::OldAddress | Kind::NewAddress => contact().value == NEW_MAIL,
    }
}

/// Wherever the disk fails: the token is spent and has done what it is for, or neither.
#[test]
fn a_failing_disk_never_spends_a_token_for_nothing() {
    for kind in KINDS {
        for point in [FaultPoint::JournalWrite, FaultPoint::JournalSync, FaultPoint::Apply] {
            let disk = Disk::new();
            let gate = disk.open();
            let ada = kind.user(&gate);
            let sent = match kind {
                Kind::OldAddress | Kind::NewAddress => {
                    let change = gate.tickets().change_email(ada, HOME, NEW_MAIL).unwrap();
                    let (first, second) = match kind {
                        Kind::OldAddress => (change.new, change.present),
                        _ => (change.present, change.new),
                    };
                    gate.tickets().confirm_email_change(first.token(), &portcullis::Client::new()).unwrap();
                    Sent::of(&second)
                }
                _ => kind.issue(&gate, ada).unwrap(),
            };
            disk.faults.fail(point, 1);
            let failed = kind.spend(&gate, &sent).unwrap_err();
            assert!(failed.is_storage(), "{kind:?} {point:?}: {failed:?}");
            assert!(!disk.faults.pending());
            assert_eq!(kind.spend(&gate, &sent).unwrap_err().kind(), ErrorKind::Stopped);
            drop(gate);
            let gate = disk.open();
            let (good, done) =
                (gate.tickets().preview(&sent.token).unwrap().is_some(), effect(kind, &gate, ada));
            assert_ne!(good, done, "{kind:?} {point:?}");
            if good {
                kind.spend(&gate, &sent).unwrap();
                assert!(effect(kind, &gate, ada));
            }
            is_refused(kind.spend(&gate, &sent));
            sound(&gate);
        }
    }
}

/// And wherever it fails while a token is issued: a token that was told is good, and one that was not is no danger.
#[test]
fn a_failing_disk_issues_whole_tokens() {
    for kind in KINDS {
        for point in [FaultPoint::JournalWrite, FaultPoint::JournalSync, FaultPoint::Apply] {
            let disk = Disk::new();
            let gate = disk.open();
            let ada = kind.user(&gate);
            let old = kind.issue(&gate, ada).unwrap();
            disk.faults.fail(point, 1);
            assert!(kind.issue(&gate, ada).map(drop).unwrap_err().is_storage());
            drop(gate);
            let gate = disk.open();
            let listed = all(|page| gate.tickets().of_user(ada, page));
            assert_eq!(listed.len(), 1, "the old one or the new one");
            let old_is_good = gate.tickets().preview(&old.token).unwrap().is_some();
            let same = kind == Kind::NewAddress || listed[0].id == old.ticket;
            assert!(!old_is_good || same);
            sound(&gate);
        }
    }
}
