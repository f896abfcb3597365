//! Keys with limits: what is left of what their owner holds, and what another thread may change while that is read.

use super::keys::KeyLine;
use super::selecting::{ID, NOW, held, lend, scope, stage, steps};
use super::selection::Choice;
use super::step::at;
use super::tests::{bit, denial, grant, handle, role, session, user};
use super::*;
use std::sync::Arc;

/// A key of user 1, who holds bits 0 and 70 everywhere, bit 1 at scope 4, and bit 2 at scope 5, which lies in scope 4.
fn limit(view: &View, permissions: Option<&[u32]>, scopes: Option<&[u32]>) {
    let permissions = permissions.map(|bits| bits.iter().map(|n| bit(*n)).collect());
    let scopes = scopes.map(|scopes| scopes.iter().map(|n| scope(*n)).collect::<Arc<[ScopeId]>>());
    view.put_line(&session(ID, 1), Some(Choice::Limits { permissions, scopes })).unwrap();
}

#[test]
fn permissions_and_scopes_are_what_a_key_is_limited_to() {
    let view = stage();
    type Row<'a> = (Option<&'a [u32]>, Option<&'a [u32]>, &'a [u32], &'a [u32], &'a [u32], &'a [u32]);
    let table: &[Row<'_>] = &[
        (None, None, &[0], &[0, 1], &[0, 1, 2], &[0]),
        (Some(&[0, 2]), None, &[0], &[0], &[0, 2], &[0]),
        (Some(&[]), None, &[], &[], &[], &[]),
        (Some(&[3]), None, &[], &[], &[], &[]),
        (None, Some(&[4]), &[], &[0, 1], &[0, 1, 2], &[]),
        (None, Some(&[5]), &[], &[], &[0, 1, 2], &[]),
        (None, Some(&[5, 6]), &[], &[], &[0, 1, 2], &[0]),
        (Some(&[1]), Some(&[4]), &[], &[1], &[1], &[]),
        (Some(&[1]), Some(&[6]), &[], &[], &[], &[]),
        // Nowhere, and at what is not there.
        (None, Some(&[]), &[], &[], &[], &[]),
        (None, Some(&[9]), &[], &[], &[], &[]),
        // The global scope is none that a key could be limited to.
        (None, Some(&[0]), &[], &[], &[], &[]),
    ];
    for (permissions, scopes, everywhere, outer, inner, beside) in table {
        limit(view, *permissions, *scopes);
        for (place, due) in [(0, everywhere), (4, outer), (5, inner), (6, beside)] {
            assert_eq!(&held(view, place), *due, "{permissions:?} {scopes:?} at {place}");
            let listed = view.permissions_of_session(SessionId::from_number(ID), scope(place), NOW).unwrap();
            let listed: Vec<u32> = listed.iter().map(|one| one.bit()).filter(|bit| *bit < 4).collect();
            assert_eq!(&listed, *due, "{permissions:?} {scopes:?} at {place}");
        }
        assert_eq!(view.check_user_at(user(1), bit(2), scope(5), NOW), Answer::Allow, "the owner has it all");
    }
}

#[test]
fn wide_sets_are_limited_beyond_their_first_words() {
    let view = stage();
    let session = |permission: u32, place: u32| {
        view.check_session_at(handle(view, ID), bit(permission), scope(place), NOW) == Answer::Allow
    };
    for n in [500, 20_000] {
        view.define(bit(n)).unwrap();
        view.assign(user(1), ScopeId::ROOT, grant(bit(n))).unwrap();
    }
    limit(view, Some(&[70, 20_000]), Some(&[4]));
    for n in [70, 20_000] {
        assert!(session(n, 4) && session(n, 5) && !session(n, 0) && !session(n, 6), "{n}");
    }
    assert!(!session(500, 4) && !session(0, 4));
    limit(view, Some(&[500]), None);
    assert!(session(500, 0) && session(500, 6) && !session(20_000, 0) && !session(70, 4));
    // The numbers of sets come round: nothing of what was behind a limit shows in front of it.
    for _ in 0..50 {
        limit(view, None, Some(&[4]));
        assert!(session(20_000, 5) && !session(20_000, 0));
        assert!(view.remove_session(SessionId::from_number(ID)));
        limit(view, Some(&[0]), None);
        assert!(session(0, 0) && !session(20_000, 5) && !session(20_000, 0));
        assert!(view.remove_session(SessionId::from_number(ID)));
    }
}

#[test]
fn a_denial_outside_of_the_scopes_of_a_key_decides_for_it_too() {
    let view = stage();
    limit(view, None, Some(&[5]));
    assert_eq!(held(view, 5), [0, 1, 2]);
    view.assign(user(1), scope(4), denial(bit(0))).unwrap();
    assert_eq!(held(view, 5), [1, 2]);
    view.assign(user(1), ScopeId::ROOT, denial(bit(2))).unwrap();
    assert_eq!(held(view, 5), [1]);
}

#[test]
fn limits_are_given_back_with_their_last_key() {
    let view = stage();
    let before = (view.stats().sets, view.selections_left());
    for _ in 0..200 {
        for scopes in [&[4][..], &[5, 6], &[4, 5, 6]] {
            limit(view, Some(&[0]), Some(scopes));
            assert_eq!(held(view, 5), [0]);
        }
        assert!(view.remove_session(SessionId::from_number(ID)));
    }
    assert_eq!((view.stats().sets, view.selections_left()), before);
    assert_eq!(view.reach.table().get(selection::SCOPED | 1, 4), 0);
}

#[test]
fn limits_that_change_while_they_are_read_lend_nothing_to_anybody() {
    let change = |view: &View| {
        limit(view, Some(&[0]), Some(&[6]));
        lend(view);
    };
    for (remembered, place) in [(false, 5), (true, 5)] {
        for step in steps(place, remembered) {
            let view = stage();
            limit(view, Some(&[0, 1, 2]), Some(&[4]));
            let session = handle(view, ID);
            let ask = || view.check_session_at(session, bit(3), scope(place), NOW);
            assert_eq!(ask(), Answer::Deny);
            if !remembered {
                view.assign_role(user(8), role(2)).unwrap();
            }
            let met = std::rc::Rc::new(std::cell::Cell::new(false));
            let meet = met.clone();
            at(step, move || {
                meet.set(true);
                change(view);
            });
            assert_eq!(ask(), Answer::Deny, "{step:?} at {place}, remembered {remembered}");
            assert!(met.get(), "{step:?}: not met");
            assert!(held(view, 5).is_empty(), "outside now");
            assert_eq!(held(view, 6), [0]);
        }
    }
}

#[test]
fn a_scope_that_a_key_loses_is_gone_when_the_change_returns() {
    for step in steps(5, true) {
        let view = stage();
        limit(view, None, Some(&[4]));
        let session = handle(view, ID);
        let ask = || view.check_session_at(session, bit(1), scope(5), NOW);
        assert_eq!(ask(), Answer::Allow);
        at(step, move || limit(view, None, Some(&[6])));
        // While it changes either answer is right; after that only one is.
        let _ = ask();
        assert_eq!(ask(), Answer::Deny, "{step:?}");
    }
}

#[test]
fn a_key_line_outlives_generations_and_eras() {
    let view = stage();
    let SessionLine { id, digest, deadline, .. } = session(ID, 1);
    let key = crate::apikey::ApiKeyRecord {
        id: crate::id::ApiKeyId::from_number(id.get()),
        owner: user(1),
        digest,
        name: String::new(),
        created: NOW.timestamp(),
        created_by: None,
        expires: Some(deadline.timestamp()),
        life_secs: None,
        idle_secs: 0,
        used: None,
        permissions: None,
        scopes: None,
        rate: None,
        replaced_by: None,
    };
    let sessions = view.stats().sessions;
    view.put_key(KeyLine::from(&key)).unwrap();
    view.put_user(user(1), UserState::Active, crate::user::LAST_GENERATION).unwrap();
    view.put_era(u16::MAX - 1);
    assert_eq!(held(view, 0), [0]);
    assert!(view.agrees_on_key(&key));
    assert_eq!((view.stats().sessions, view.stats().keys), (sessions, 1));
    view.put_user(user(1), UserState::Refused, crate::user::LAST_GENERATION).unwrap();
    assert_eq!(view.session_live(handle(view, ID), NOW), Answer::Gone);
    view.remove_key(key.id);
    assert_eq!(view.stats().keys, 0);
}
