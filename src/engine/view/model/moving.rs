//! Lines that move, and lines that are written over where they stand: no live session is missed meanwhile.

use super::*;

pub(super) const MODELS: &[Model] = &models![
    a_page_that_is_split,
    a_page_that_is_cleared_of_marks,
    pages_that_go_round,
    a_run_with_holes,
    a_session_that_is_kept,
    a_session_that_is_written_over,
    a_use_of_a_session_that_moves,
];

fn live(view: &View, _: bool) {
    let found = view.find(SessionId::from_number(ID)).expect("it is live");
    let line = view.read(&found).expect("it is live");
    assert_eq!((line.digest, line.user), (session(ID, 1).digest, user(1)));
    assert_eq!(view.check_session(held(), bit(0), NOW), Answer::Allow);
}

fn found(view: &View, _: bool) {
    let found = view.find(SessionId::from_number(ID)).expect("it is live");
    let line = view.read(&found).expect("it is live");
    assert_eq!((line.digest, line.user), (session(ID, 1).digest, user(1)));
}

fn allowed(view: &View, _: bool) {
    assert_eq!(view.check_session(held(), bit(0), NOW), Answer::Allow);
}

/// The page is full, so that the next session splits it.
fn full_page(view: &View) {
    for id in [1 << 63 | 9, 10] {
        view.put_session(&session(id, 2), None).unwrap();
    }
    warm(view);
}

fn split(view: &View) {
    view.put_session(&session(11, 2), None).unwrap();
    assert_ne!(handle(view, ID), held(), "it was moved");
}

fn a_page_that_is_split() {
    Race::new(full_page, split, found).run();
    Race::new(full_page, split, allowed).run();
}

/// Puts and removes others so that every other line of the page is marked; where it was so already, the page is moved.
fn mark(view: &View) {
    for (id, there) in [(13, true), (10, true), (13, false), (15, true), (10, false), (15, false)] {
        match there {
            true => view.put_session(&session(id, 2), None).unwrap(),
            false => assert!(view.remove_session(SessionId::from_number(id))),
        }
    }
}

fn marked_page(view: &View) {
    mark(view);
    warm(view);
    assert_eq!(handle(view, ID), held());
}

fn a_page_that_is_cleared_of_marks() {
    let act: fn(&View) = |view| {
        view.put_session(&session(13, 2), None).unwrap();
        assert_ne!(handle(view, ID), held(), "it was moved");
    };
    Race::new(marked_page, act, found).run();
    Race::new(marked_page, act, allowed).run();
}

/// Its own page is taken into use again under the reader.
fn pages_that_go_round() {
    let act: fn(&View) = |view| {
        mark(view);
        assert_ne!(handle(view, ID), held(), "it was moved");
        mark(view);
        assert_eq!(handle(view, ID), held(), "and back");
    };
    if !LOOM {
        Race::new(marked_page, act, live).run();
    }
}

/// What is removed before it in its run is not the end of the run.
fn a_run_with_holes() {
    Race::new(
        |view| {
            view.remove_session(SessionId::from_number(ID));
            for id in [TENANT, 9, ID] {
                view.put_session(&session(id, if id == ID { 1 } else { 2 }), None).unwrap();
            }
            let held = handle(view, ID);
            assert_eq!(held.slot, 2);
            assert_eq!(view.check_session(held, bit(0), NOW), Answer::Allow);
        },
        |view| {
            view.remove_session(SessionId::from_number(9));
            view.remove_session(SessionId::from_number(TENANT));
            view.put_session(&session(TENANT + 4, 2), None).unwrap();
        },
        live,
    )
    .run();
}

/// As all other sessions of its user end: it goes to the new generation before the user does.
fn a_session_that_is_kept() {
    Race { preemptions: 1, ..Race::new(warm, keep, allowed) }.run();
    if !LOOM {
        Race::new(cool, keep, live).run();
    }
}

fn keep(view: &View) {
    view.put_session(&SessionLine { generation: 1, ..session(ID, 1) }, None).unwrap();
    view.put_user(user(1), UserState::Active, 1).unwrap();
}

fn a_session_that_is_written_over() {
    let act: fn(&View) = |view| {
        if !LOOM {
            view.put_session(&SessionLine { idle_timeout: 5000, ..session(ID, 1) }, None).unwrap();
        }
        view.put_session(&session(ID, 1), Some(&[role(1)])).unwrap();
    };
    Race { preemptions: 1, ..Race::new(warm, act, allowed) }.run();
    if !LOOM {
        Race::new(warm, act, live).run();
    }
}

/// A use is noted in the line that stays. Loom may hold the store back until the writer has looked for the last time,
/// which costs the use and nothing else; where every store is seen at once, none is lost.
fn a_use_of_a_session_that_moves() {
    let after: fn(&View) = |view| {
        let seen = view.session(SessionId::from_number(ID)).unwrap().seen;
        assert!(seen == NOW || LOOM && seen.secs() == 0, "{seen:?}");
        if seen == NOW {
            assert_eq!(view.take_seen_among(9, u32::MAX).0, [(SessionId::from_number(ID), NOW)]);
        }
        allowed(view, true);
    };
    for (prepare, act) in [(full_page as fn(&View), split as fn(&View)), (warm, keep)] {
        let race = Race::new(prepare, act, |view, _| view.touch(held(), NOW));
        Race { after, ..race }.run();
    }
}
