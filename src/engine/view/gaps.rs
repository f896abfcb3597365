//! What a writer may do between two loads of a reader, and a reader between two stores of the writer.

use super::races::scene;
use super::step::at;
use super::tests::{Mix, bit, denial, grant, handle, role, session, user};
use super::*;

const NOW: ViewTime = ViewTime::from_secs(1000);

/// User 1 has bit 0 and session 99; user 2 nothing yet, role 2 has bit 1. User 1's set is worked out, so that no
/// reader takes the lock before the gap that is meant.
fn stage() -> &'static View {
    let view = Box::leak(Box::new(scene()));
    assert_eq!(view.check_user(user(1), bit(0), NOW), Answer::Allow);
    view
}

/// Gives the number of user 1's set to user 2, with bit 1, and the bits worked out.
fn lend(view: &View) {
    view.unassign_role(user(1), role(1)).unwrap();
    view.assign_role(user(2), role(2)).unwrap();
    assert_eq!(view.check_user(user(2), bit(1), NOW), Answer::Allow);
}

/// Gives the number back.
fn give_back(view: &View) {
    view.unassign_role(user(2), role(2)).unwrap();
    view.assign_role(user(1), role(1)).unwrap();
}

/// Moves the lines of session 99's page.
fn split(view: &View) {
    let mut mix = Mix(9);
    for _ in 0..200 {
        view.put_session(&session(mix.next(), 3), None).unwrap();
    }
}

#[test]
fn a_set_number_that_goes_to_another_user_and_comes_back() {
    for (by_session, back) in [(false, false), (false, true), (true, false), (true, true)] {
        let view = stage();
        let held = handle(view, 99);
        assert_eq!(view.check_user(user(1), bit(1), NOW), Answer::Deny);
        assert_eq!(view.check_session(held, bit(1), NOW), Answer::Deny);
        at(Step::CellRead, || lend(view));
        if back {
            at(Step::SetRead, || give_back(view));
        }
        let answer = match by_session {
            true => view.check_session(held, bit(1), NOW),
            false => view.check_user(user(1), bit(1), NOW),
        };
        assert_eq!(answer, Answer::Deny, "by session {by_session}, back {back}");
    }
}

#[test]
fn a_line_that_another_session_moves_into_while_it_is_read() {
    let view = stage();
    view.assign_role(user(2), role(2)).unwrap();
    let held = handle(view, 99);
    let tenant = session(99 + 64, 2);
    let swap = move || {
        view.remove_session(held.id());
        view.put_session(&tenant, None).unwrap();
        let new = handle(view, 99 + 64);
        assert_eq!((new.page, new.slot), (held.page, held.slot));
        for _ in 0..2 {
            assert_eq!(view.check_session(new, bit(1), NOW), Answer::Allow);
        }
    };
    assert_eq!(view.check_session(held, bit(1), NOW), Answer::Deny);
    at(Step::IdRead, swap);
    assert_eq!(view.check_session(held, bit(1), NOW), Answer::Gone);
}

#[test]
fn a_line_that_another_session_moves_into_before_it_is_written() {
    for fresh in [true, false] {
        let view = stage();
        let held = handle(view, 99);
        if !fresh {
            assert_eq!(view.check_session(held, bit(0), NOW), Answer::Allow);
            view.put_user(user(5), UserState::Active, 1).unwrap();
        }
        at(Step::Remember, move || {
            view.remove_session(held.id());
            view.put_session(&session(99 + 64, 2), None).unwrap();
        });
        view.check_session(held, bit(0), NOW);
        let new = handle(view, 99 + 64);
        assert_eq!((new.page, new.slot), (held.page, held.slot));
        for _ in 0..2 {
            assert_eq!(view.check_session(new, bit(0), NOW), Answer::Deny);
        }
    }
}

/// All other sessions of the user end between two looks at the line, which is written over where it stands.
#[test]
fn a_session_that_is_kept_while_its_line_is_read() {
    let view = stage();
    let held = handle(view, 99);
    at(Step::AsideRead, move || {
        view.put_session(&SessionLine { generation: 1, ..session(99, 1) }, None).unwrap();
        view.put_user(user(1), UserState::Active, 1).unwrap();
        assert_eq!(handle(view, 99), held, "where it stood");
    });
    assert_eq!(view.check_session(held, bit(0), NOW), Answer::Allow);
}

#[test]
fn a_user_who_changes_before_the_line_remembers() {
    let view = stage();
    let held = handle(view, 99);
    at(Step::Remember, || view.unassign_role(user(1), role(1)).unwrap());
    view.check_session(held, bit(0), NOW);
    assert_eq!(view.check_session(held, bit(0), NOW), Answer::Deny);
}

#[test]
fn a_page_that_is_split_while_it_is_searched() {
    let view = stage();
    at(Step::DirectoryRead, || split(view));
    let found = view.find(SessionId::from_number(99)).unwrap();
    assert_eq!(view.check_session(found.handle(), bit(0), NOW), Answer::Allow);
    at(Step::IdRead, || {
        let mut mix = Mix(10);
        for _ in 0..2000 {
            view.put_session(&session(mix.next(), 3), None).unwrap();
        }
    });
    assert_eq!(view.read(&found).map(|snapshot| snapshot.handle.id), Some(99));
}

#[test]
fn a_page_that_is_split_while_its_session_is_touched() {
    let view = stage();
    let held = handle(view, 99);
    at(Step::Touch, || split(view));
    view.touch(held, NOW);
    assert_ne!(handle(view, 99), held);
    assert_eq!(view.take_seen(10), [(held.id(), NOW)]);
    assert_eq!(view.session(held.id()).unwrap().seen, NOW);
}

#[test]
fn a_line_that_is_on_the_move_takes_no_time_of_last_use() {
    let view = stage();
    let held = handle(view, 99);
    // The page has this one line: it is the first to be copied.
    for n in 0..47 {
        view.put_session(&session(99 + 64 * (n + 1), 3), None).unwrap();
    }
    at(Step::LineCopied, move || {
        let spots = (0..64).filter_map(|slot| view.lines.at(held.page, slot));
        let copied: Vec<_> =
            spots.filter(|spot| spot.line.deadline.load(Ordering::Relaxed) == lines::FROZEN).collect();
        assert!(!copied.is_empty());
        for spot in copied {
            let id = spot.line.id.load(Ordering::Relaxed);
            assert!(!spot.touch(id, NOW));
            assert!(spot.snapshot(id).is_none());
        }
    });
    split(view);
}

#[test]
fn a_cell_that_is_half_written_answers_nothing() {
    let view = stage();
    at(Step::CellHalfWritten, || {
        let cell = view.users.get(1).unwrap();
        assert_eq!(cell.read(NOW).standing, Standing::Changing);
    });
    view.put_user(user(1), UserState::Active, 1).unwrap();
    assert_eq!(view.users.get(1).unwrap().read(NOW).standing, Standing::Active);
}

#[test]
fn words_of_two_policies_make_no_answer() {
    let view = stage();
    let both: PermissionSet = [bit(0), bit(70)].into_iter().collect();
    view.put_grants(role(1), 0, &[1]).unwrap();
    assert_eq!(view.user_has_all(user(1), &both, NOW), Answer::Deny);
    at(Step::WordRead, || {
        view.put_grants(role(1), 0, &[0, 64]).unwrap();
        assert_eq!(view.check_user(user(1), bit(70), NOW), Answer::Allow);
    });
    assert_eq!(view.user_has_all(user(1), &both, NOW), Answer::Deny);
}

/// Scope 5 in 4 in the global one; user 1 was given bit 3 at 5 and is denied it at 4.
fn scoped_stage() -> &'static View {
    let view = stage();
    let [outer, inner] = [4, 5].map(ScopeId::from_number);
    view.define(bit(3)).unwrap();
    view.assign(user(1), inner, grant(bit(3))).unwrap();
    view.assign(user(1), outer, denial(bit(3))).unwrap();
    assert_eq!(view.check_user_at(user(1), bit(3), inner, NOW), Answer::Deny);
    view
}

#[test]
fn levels_of_two_moments_make_no_answer() {
    let [outer, inner] = [4, 5].map(ScopeId::from_number);
    for by_session in [false, true] {
        for moved in [false, true] {
            let view = scoped_stage();
            let held = handle(view, 99);
            for _ in 0..2 {
                assert_eq!(view.check_session_at(held, bit(3), inner, NOW), Answer::Deny);
            }
            // What gave it goes before what denies it does: there is no moment at which it is allowed.
            at(Step::LevelRead, move || {
                view.unassign(user(1), inner, Holding::Permission(bit(3))).unwrap();
                match moved {
                    true => view.put_scope(inner, ScopeId::ROOT).unwrap(),
                    false => view.unassign(user(1), outer, Holding::Permission(bit(3))).unwrap(),
                }
            });
            let answer = match by_session {
                true => view.check_session_at(held, bit(3), inner, NOW),
                false => view.check_user_at(user(1), bit(3), inner, NOW),
            };
            assert_eq!(answer, Answer::Deny, "by session {by_session}, moved {moved}");
        }
    }
}

#[test]
fn a_policy_and_a_tree_of_two_moments_make_no_answer() {
    let [outer, inner] = [4, 5].map(ScopeId::from_number);
    let view = stage();
    view.define(bit(3)).unwrap();
    view.put_role(role(3), &[]).unwrap();
    view.put_grants(role(3), 0, &[8]).unwrap();
    view.assign(user(1), inner, Part::role(role(3))).unwrap();
    view.assign(user(1), outer, denial(bit(3))).unwrap();
    assert_eq!(view.check_user_at(user(1), bit(3), inner, NOW), Answer::Deny);
    // The sets still have the bits of the policy that is over.
    at(Step::CellRead, move || {
        view.remove_grants(role(3), 0).unwrap();
        view.unassign(user(1), outer, Holding::Permission(bit(3))).unwrap();
    });
    assert_eq!(view.check_user_at(user(1), bit(3), inner, NOW), Answer::Deny);
}

#[test]
fn a_set_number_at_a_scope_that_goes_to_another_user() {
    let inner = ScopeId::from_number(5);
    let view = stage();
    view.define(bit(3)).unwrap();
    view.assign(user(1), inner, grant(bit(1))).unwrap();
    assert_eq!(view.check_user_at(user(1), bit(3), inner, NOW), Answer::Deny);
    at(Step::TreeRead, move || {
        view.unassign(user(1), inner, Holding::Permission(bit(1))).unwrap();
        view.assign(user(2), inner, grant(bit(3))).unwrap();
        assert_eq!(view.check_user_at(user(2), bit(3), inner, NOW), Answer::Allow);
    });
    assert_eq!(view.check_user_at(user(1), bit(3), inner, NOW), Answer::Deny);
}
