//! The view under readers and a writer at once. No test waits for time: readers turn until the writer is done.

use super::tests::{Mix, bit, denial, handle, role, session, user};
use super::*;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, fence};
use std::thread::{scope, yield_now};

const NOW: ViewTime = ViewTime::from_secs(1000);
const READERS: usize = 2;
const ROUNDS: u32 = 300;

/// Role 1 with bits 0 and 70, user 1 in it with session 99, a crowd, and the scopes 4, 5 in it, and 6.
pub(super) fn scene() -> View {
    let view = View::new().unwrap();
    for r in 1..=4 {
        view.put_role(role(r), &[]).unwrap();
    }
    view.put_grants(role(1), 0, &[1, 64]).unwrap();
    view.put_grants(role(2), 0, &[2]).unwrap();
    for n in [0, 1, 70] {
        view.define(bit(n)).unwrap();
    }
    for n in 1..=8 {
        view.put_user(user(n), UserState::Active, 0).unwrap();
    }
    view.assign_role(user(1), role(1)).unwrap();
    for (scope, parent) in [(4, 0), (5, 4), (6, 0)] {
        view.put_scope(ScopeId::from_number(scope), ScopeId::from_number(parent)).unwrap();
    }
    view.put_session(&session(99, 1), None).unwrap();
    view
}

/// Lets the readers end, also when the writer panics.
struct Done<'a>(&'a AtomicBool);
impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Changes of others, which move lines, end epochs, and give numbers of sets to other roles.
struct Churn {
    mix: Mix,
    live: Vec<u64>,
}

impl Churn {
    fn new() -> Self {
        Self { mix: Mix(5), live: Vec::new() }
    }

    fn turn(&mut self, view: &View) {
        for _ in 0..20 {
            let draw = self.mix.next();
            if self.live.len() > 400 || draw.is_multiple_of(8) && !self.live.is_empty() {
                let id = self.live.swap_remove(draw as usize / 8 % self.live.len());
                assert!(view.remove_session(SessionId::from_number(id)));
            } else {
                // On the pages of session 99.
                let id = draw >> 6;
                let selected = [role(1 + draw as u32 % 4)];
                let roles = draw.is_multiple_of(3).then_some(&selected[..]);
                view.put_session(&session(id, 2 + draw % 7), roles).unwrap();
                self.live.push(id);
            }
        }
        let draw = self.mix.next();
        let (of, r) = (user(2 + draw % 7), role(2 + (draw >> 8) as u32 % 3));
        if draw >> 20 & 1 == 0 {
            view.assign_role(of, r).unwrap()
        } else {
            view.unassign_role(of, r).unwrap()
        }
    }
}

/// Readers ask while one writer gives and takes: between the end of a taking and the start of the next giving nobody may
/// be let in, and between the end of a giving and the start of the next taking everybody must be.
fn alternate(give: impl Fn(&View), take: impl Fn(&View)) {
    const GIVEN: u32 = 0;
    const TAKEN: u32 = 2;
    let (view, phase, done) = (scene(), AtomicU32::new(GIVEN), AtomicBool::new(false));
    let held = handle(&view, 99);
    let both: PermissionSet = [bit(0), bit(70)].into_iter().collect();
    let inner = ScopeId::from_number(5);
    let questions: [&(dyn Fn() -> Answer + Sync); 8] = [
        &|| view.check_user_at(user(1), bit(0), inner, NOW),
        &|| view.check_session_at(held, bit(0), inner, NOW),
        &|| view.check_user(user(1), bit(0), NOW),
        &|| view.check_session(held, bit(0), NOW),
        &|| match view.find(SessionId::from_number(99)) {
            Some(found) => view.check_session(found.handle(), bit(0), NOW),
            None => Answer::Gone,
        },
        &|| view.user_has_all(user(1), &both, NOW),
        &|| view.session_has_all(held, &both, NOW),
        &|| view.check_session(held, bit(70), NOW),
    ];
    // Not every change concerns every question: what one giving and taking shows holds for the rest.
    let fitting: Vec<bool> = questions
        .iter()
        .map(|question| {
            take(&view);
            let taken = question() != Answer::Allow;
            give(&view);
            assert_eq!(question(), Answer::Allow);
            taken
        })
        .collect();
    assert!(fitting.contains(&true));
    scope(|scope| {
        for reader in 0..READERS {
            let (phase, done, fitting) = (&phase, &done, &fitting);
            scope.spawn(move || {
                for n in (reader..).map(|n| n % questions.len()).take_while(|_| !done.load(Ordering::Relaxed))
                {
                    let before = phase.load(Ordering::Acquire);
                    let answer = questions[n]();
                    fence(Ordering::SeqCst);
                    if phase.load(Ordering::Acquire) != before {
                        continue;
                    }
                    match before % 4 {
                        GIVEN => assert_eq!(answer, Answer::Allow, "question {n}"),
                        TAKEN if fitting[n] => assert_ne!(answer, Answer::Allow, "question {n}"),
                        _ => {}
                    }
                }
            });
        }
        let _done = Done(&done);
        let mut churn = Churn::new();
        for _ in 0..ROUNDS {
            for change in [&take as &dyn Fn(&View), &give] {
                churn.turn(&view);
                phase.fetch_add(1, Ordering::SeqCst);
                change(&view);
                phase.fetch_add(1, Ordering::SeqCst);
                churn.turn(&view);
            }
            yield_now();
        }
    });
}

#[test]
fn a_revoked_session_is_dead_when_the_call_returns() {
    alternate(
        |view| view.put_session(&session(99, 1), None).unwrap(),
        |view| assert!(view.remove_session(SessionId::from_number(99))),
    );
}

#[test]
fn a_dropped_role_is_gone_from_the_session_when_the_call_returns() {
    alternate(
        |view| view.put_session(&session(99, 1), Some(&[role(1), role(2)])).unwrap(),
        |view| view.put_session(&session(99, 1), Some(&[role(2)])).unwrap(),
    );
}

#[test]
fn a_role_that_a_session_selected_is_gone_when_it_is_taken() {
    alternate(
        |view| {
            view.put_session(&session(99, 1), Some(&[role(1)])).unwrap();
            view.assign_role(user(1), role(1)).unwrap();
        },
        |view| view.unassign_role(user(1), role(1)).unwrap(),
    );
}

#[test]
fn a_taken_role_is_gone_when_the_call_returns() {
    alternate(
        |view| view.assign_role(user(1), role(1)).unwrap(),
        |view| view.unassign_role(user(1), role(1)).unwrap(),
    );
}

#[test]
fn a_denial_at_a_scope_counts_when_the_call_returns() {
    let outer = ScopeId::from_number(4);
    alternate(
        |view| view.unassign(user(1), outer, Holding::Permission(bit(0))).unwrap(),
        |view| view.assign(user(1), outer, denial(bit(0))).unwrap(),
    );
}

#[test]
fn a_scope_that_is_moved_or_removed_is_so_when_the_call_returns() {
    let [outer, inner, denied] = [4, 5, 6].map(ScopeId::from_number);
    alternate(
        |view| view.put_scope(inner, outer).unwrap(),
        |view| {
            view.assign(user(1), denied, denial(bit(0))).unwrap();
            view.put_scope(inner, denied).unwrap();
        },
    );
    alternate(|view| view.put_scope(outer, ScopeId::ROOT).unwrap(), |view| view.remove_scope(outer));
}

#[test]
fn a_refused_user_is_out_when_the_call_returns() {
    alternate(
        |view| view.put_user(user(1), UserState::Active, 0).unwrap(),
        |view| view.put_user(user(1), UserState::Refused, 0).unwrap(),
    );
    alternate(
        |view| view.put_user(user(1), UserState::RefusedUntil(NOW), 0).unwrap(),
        |view| view.put_user(user(1), UserState::RefusedUntil(ViewTime::NEVER), 0).unwrap(),
    );
}

#[test]
fn a_new_generation_ends_all_sessions_when_the_call_returns() {
    alternate(
        |view| view.put_user(user(1), UserState::Active, 0).unwrap(),
        |view| view.put_user(user(1), UserState::Active, 1).unwrap(),
    );
}

#[test]
fn a_changed_policy_counts_when_the_call_returns() {
    alternate(
        |view| view.put_grants(role(1), 0, &[1, 64]).unwrap(),
        |view| view.remove_grants(role(1), 0).unwrap(),
    );
    alternate(
        |view| view.put_grants(role(1), 0, &[1, 64]).unwrap(),
        |view| view.put_grants(role(1), 0, &[1]).unwrap(),
    );
    alternate(|view| view.put_role(role(1), &[]).unwrap(), |view| view.remove_role(role(1)));
    alternate(|view| view.define(bit(0)).unwrap(), |view| view.undefine(bit(0)).unwrap());
}

#[test]
fn a_number_that_is_used_again_lends_nobody_its_permissions() {
    let (view, done) = (scene(), AtomicBool::new(false));
    let held = handle(&view, 99);
    scope(|scope| {
        for reader in 0..READERS {
            let (view, done) = (&view, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let answer = match reader % 2 {
                        0 => view.check_user(user(1), bit(1), NOW),
                        _ => view.check_session(held, bit(1), NOW),
                    };
                    assert_eq!(answer, Answer::Deny);
                }
            });
        }
        let _done = Done(&done);
        for round in 0..20_000u64 {
            // User 1 and user 2 pass the same numbers between them; only user 2's sets have bit 1.
            let other = user(2 + round % 3);
            view.assign_role(user(1), role(3)).unwrap();
            view.assign_role(other, role(2)).unwrap();
            view.check_user(other, bit(1), NOW);
            view.unassign_role(user(1), role(3)).unwrap();
            view.unassign_role(other, role(2)).unwrap();
        }
    });
}

#[test]
fn a_live_session_is_found_while_lines_move() {
    let (view, done, mut mix) = (scene(), AtomicBool::new(false), Mix(3));
    // Half of them on crowded pages.
    let ids: Vec<u64> = (0..300).map(|n| mix.next() >> (n % 2 * 6)).collect();
    for id in &ids {
        view.put_session(&session(*id, 1), None).unwrap();
    }
    let handles: Vec<_> = ids.iter().map(|id| handle(&view, *id)).collect();
    scope(|scope| {
        for reader in 0..READERS {
            let (view, done, ids, handles) = (&view, &done, &ids, &handles);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    for (id, held) in ids.iter().zip(handles).skip(reader) {
                        let found = view.find(SessionId::from_number(*id)).expect("live");
                        let line = view.read(&found).expect("live");
                        assert_eq!(line.digest[..8], id.to_le_bytes());
                        assert_eq!(view.check_session(found.handle(), bit(0), NOW), Answer::Allow);
                        assert_eq!(view.check_session(*held, bit(0), NOW), Answer::Allow);
                        assert_eq!(view.check_session(*held, bit(1), NOW), Answer::Deny);
                    }
                }
            });
        }
        let _done = Done(&done);
        let mut churn = Churn::new();
        for round in 0..2000 {
            churn.turn(&view);
            // Rewritten in place, with another digest, then with another deadline.
            let mut line = session(ids[round % ids.len()], 1);
            line.digest[8..16].copy_from_slice(&round.to_le_bytes());
            view.put_session(&line, None).unwrap();
            line.idle_timeout = 3000;
            view.put_session(&line, None).unwrap();
        }
        // Many splits, at last.
        for _ in 0..20_000 {
            view.put_session(&session(mix.next(), 2), None).unwrap();
        }
    });
}

#[test]
fn no_time_of_last_use_is_lost_while_lines_move() {
    let (view, done, mut mix) = (scene(), AtomicBool::new(false), Mix(4));
    let ids: Vec<u64> = (0..64).map(|_| mix.next() >> 6).collect();
    for id in &ids {
        view.put_session(&session(*id, 1), None).unwrap();
    }
    let mut taken = HashMap::new();
    let last: u32 = scope(|scope| {
        let reader = scope.spawn(|| {
            let handles: Vec<_> = ids.iter().map(|id| handle(&view, *id)).collect();
            let mut now = 1;
            while !done.load(Ordering::Relaxed) {
                now += 1;
                for held in &handles {
                    view.touch(*held, ViewTime::from_secs(now));
                    let seen = view.read(&view.find(held.id()).unwrap()).unwrap().seen;
                    assert_eq!(seen.secs(), now);
                }
            }
            now
        });
        let ending = Done(&done);
        let mut churn = Churn::new();
        for _ in 0..3000 {
            churn.turn(&view);
            taken.extend(view.take_seen(1000));
        }
        drop(ending);
        reader.join().unwrap()
    });
    taken.extend(view.take_seen(usize::MAX));
    for id in ids {
        let id = SessionId::from_number(id);
        assert_eq!(taken.get(&id).map(|seen| seen.secs()), Some(last));
        assert_eq!(view.session(id).map(|line| line.seen.secs()), Some(last));
    }
}

#[test]
fn a_stopped_view_lets_nobody_in_when_the_call_returns() {
    for _ in 0..50 {
        let (view, stopped) = (scene(), AtomicBool::new(false));
        let held = handle(&view, 99);
        scope(|scope| {
            for _ in 0..READERS {
                scope.spawn(|| {
                    for n in 0.. {
                        let before = stopped.load(Ordering::Acquire);
                        let answers =
                            [view.check_user(user(1), bit(0), NOW), view.check_session(held, bit(0), NOW)];
                        if before {
                            assert_eq!(answers, [Answer::Stopped; 2]);
                            break;
                        }
                        assert!(n < u64::MAX);
                    }
                });
            }
            let ending = Done(&stopped);
            let mut churn = Churn::new();
            for _ in 0..10 {
                churn.turn(&view);
            }
            view.stop();
            drop(ending);
            churn.turn(&view);
        });
    }
}
