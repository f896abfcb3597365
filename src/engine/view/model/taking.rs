//! What was taken is gone when the call that took it has returned.

use super::*;

pub(super) const MODELS: &[Model] = &models![
    a_role_that_is_taken,
    a_user_who_is_refused,
    a_user_who_is_refused_for_a_time,
    all_sessions_of_a_user,
    a_grant_of_a_role,
    a_permission_that_counts_no_longer,
    a_session,
    a_session_whose_line_is_used_again,
    a_set_whose_number_is_used_again,
    a_set_whose_number_goes_away_and_comes_back,
    what_one_reader_leaves_for_another,
    words_of_two_policies,
    a_stopped_view,
    what_is_denied_at_a_scope_above,
    a_scope_that_is_removed,
    levels_of_two_moments,
    a_role_that_is_no_longer_active,
    an_active_role_that_is_taken,
    a_derived_set_whose_number_is_used_again,
    a_selection_whose_number_is_used_again,
];

fn refused(answer: Answer, done: bool) {
    assert!(!done || answer != Answer::Allow, "{answer:?} after the call returned");
}

fn by_session(view: &View, done: bool) {
    refused(view.check_session(held(), bit(0), NOW), done);
}

fn by_user(view: &View, done: bool) {
    refused(view.check_user(user(1), bit(0), NOW), done);
}

/// With a line that remembers, and with one that is about to.
fn taken(act: fn(&View)) {
    for prepare in [warm, cool] {
        Race::new(prepare, act, by_session).run();
    }
    Race::new(warm, act, by_user).run();
}

fn a_role_that_is_taken() {
    taken(|view| view.unassign_role(user(1), role(1)).unwrap());
}

fn a_user_who_is_refused() {
    taken(|view| view.put_user(user(1), UserState::Refused, 0).unwrap());
}

fn a_user_who_is_refused_for_a_time() {
    taken(|view| view.put_user(user(1), UserState::RefusedUntil(ViewTime::from_secs(2000)), 0).unwrap());
}

fn all_sessions_of_a_user() {
    for prepare in [warm, cool] {
        Race::new(prepare, |view| view.put_user(user(1), UserState::Active, 1).unwrap(), by_session).run();
    }
}

fn a_grant_of_a_role() {
    taken(|view| view.remove_grants(role(1), 0).unwrap());
}

fn a_permission_that_counts_no_longer() {
    taken(|view| view.undefine(bit(0)).unwrap());
}

fn a_session() {
    for prepare in [warm, cool] {
        let act: fn(&View) = |view| assert!(view.remove_session(SessionId::from_number(ID)));
        Race::new(prepare, act, by_session).run();
        Race::new(prepare, act, |view, done| {
            let found = view.find(SessionId::from_number(ID)).and_then(|found| view.read(&found));
            assert!(!done || found.is_none());
        })
        .run();
    }
}

/// Another session comes into its line, of somebody who may do something else: neither is taken for the other.
fn a_session_whose_line_is_used_again() {
    fn give_bit(view: &View) {
        view.assign_role(user(2), role(2)).unwrap();
    }
    let act: fn(&View) = |view| {
        view.remove_session(SessionId::from_number(ID));
        view.put_session(&session(TENANT, 2), None).unwrap();
    };
    let ask: fn(&View, bool) = |view, done| {
        by_session(view, done);
        assert_ne!(view.check_session(held(), bit(1), NOW), Answer::Allow, "the tenant's");
        // Loom lets a swap and a plain store that did not know of each other come in either order, even if the swap had
        // read what was there before the store; so it is no judge of what a reader leaves in a line too late.
        if done && !LOOM {
            let tenant = SessionHandle { id: TENANT, ..held() };
            assert_eq!(view.check_session(tenant, bit(0), NOW), Answer::Deny, "the former one's");
            assert_eq!(view.check_session(tenant, bit(1), NOW), Answer::Allow);
        }
    };
    let prepares: [fn(&View); 2] =
        [|view| (give_bit(view), warm(view)).1, |view| (give_bit(view), cool(view)).1];
    for prepare in prepares {
        Race { preemptions: 1, ..Race::new(prepare, act, ask) }.run();
    }
    let read: fn(&View, bool) = |view, _| {
        if let Some(found) = view.find(SessionId::from_number(ID))
            && let Some(line) = view.read(&found)
        {
            assert_eq!((line.digest, line.user), (session(ID, 1).digest, user(1)));
        }
    };
    Race::new(warm, act, read).run();
}

/// The number of user 1's set goes to user 2, with another permission.
fn a_set_whose_number_is_used_again() {
    let act: fn(&View) = |view| {
        view.unassign_role(user(1), role(1)).unwrap();
        view.assign_role(user(2), role(2)).unwrap();
        assert_eq!(view.check_user(user(2), bit(1), NOW), Answer::Allow);
    };
    for prepare in [warm, cool] {
        Race::new(prepare, act, |view, done| {
            assert_ne!(view.check_session(held(), bit(1), NOW), Answer::Allow, "user 2's");
            if !LOOM {
                by_session(view, done);
            }
        })
        .run();
    }
    Race::new(warm, act, |view, _| {
        assert_ne!(view.check_user(user(1), bit(1), NOW), Answer::Allow, "user 2's");
    })
    .run();
}

/// And back again: the cell has the same number, which stood for something else meanwhile.
fn a_set_whose_number_goes_away_and_comes_back() {
    let act: fn(&View) = |view| {
        view.unassign_role(user(1), role(1)).unwrap();
        view.assign_role(user(2), role(2)).unwrap();
        assert_eq!(view.check_user(user(2), bit(1), NOW), Answer::Allow);
        view.unassign_role(user(2), role(2)).unwrap();
        view.assign_role(user(1), role(1)).unwrap();
    };
    Race::new(warm, act, |view, _| {
        assert_ne!(view.check_user(user(1), bit(1), NOW), Answer::Allow, "user 2's");
    })
    .run();
    Race::new(warm, act, |view, _| {
        assert_ne!(view.check_session(held(), bit(1), NOW), Answer::Allow, "user 2's");
    })
    .run();
}

/// One reader makes the line remember what another then takes from it.
fn what_one_reader_leaves_for_another() {
    let race = Race::new(
        |view| view.put_session(&session(ID, 1), None).unwrap(),
        |view| {
            view.assign_role(user(1), role(2)).unwrap();
        },
        |view, done| {
            let answer = view.check_session(held(), bit(1), NOW);
            assert!(!done || answer == Answer::Allow, "{answer:?}");
        },
    );
    Race { readers: (2, 3), ..race }.run();
}

fn words_of_two_policies() {
    Race::new(
        |view| {
            view.define(bit(70)).unwrap();
            let both = [bit(0), bit(70)].into_iter().collect();
            assert_eq!(view.user_has_all(user(1), &both, NOW), Answer::Deny);
        },
        |view| {
            view.put_grants(role(1), 0, &[0, 64]).unwrap();
            assert_eq!(view.check_user(user(1), bit(70), NOW), Answer::Allow);
        },
        |view, _| {
            let both = [bit(0), bit(70)].into_iter().collect();
            assert_eq!(view.user_has_all(user(1), &both, NOW), Answer::Deny, "never both");
        },
    )
    .run();
}

fn a_stopped_view() {
    for prepare in [warm, cool] {
        Race::new(prepare, View::stop, |view, done| {
            let answers = [view.check_session(held(), bit(0), NOW), view.check_user(user(1), bit(0), NOW)];
            assert!(!done || answers == [Answer::Stopped; 2], "{answers:?}");
        })
        .run();
    }
}

const INNER: ScopeId = ScopeId::from_number(2);

fn scopes(view: &View) {
    view.put_scope(ScopeId::from_number(1), ScopeId::ROOT).unwrap();
    view.put_scope(INNER, ScopeId::from_number(1)).unwrap();
    assert_eq!(view.check_session_at(held(), bit(0), INNER, NOW), Answer::Allow);
}

fn at_scope(view: &View, done: bool) {
    refused(view.check_session_at(held(), bit(0), INNER, NOW), done);
}

fn what_is_denied_at_a_scope_above() {
    Race::new(
        |view| (warm(view), scopes(view)).1,
        |view| view.assign(user(1), ScopeId::from_number(1), denial(bit(0))).unwrap(),
        at_scope,
    )
    .run();
}

fn a_scope_that_is_removed() {
    Race::new(
        |view| (warm(view), scopes(view)).1,
        |view| view.remove_scope(ScopeId::from_number(1)),
        at_scope,
    )
    .run();
}

/// What gives it goes before what denies it does: there is no moment at which it is allowed.
fn levels_of_two_moments() {
    let race = Race::new(
        |view| {
            scopes(view);
            view.assign(user(1), INNER, grant(bit(1))).unwrap();
            view.assign(user(1), ScopeId::from_number(1), denial(bit(1))).unwrap();
            assert_eq!(view.check_session_at(held(), bit(1), INNER, NOW), Answer::Deny);
        },
        |view| {
            view.unassign(user(1), INNER, Holding::Permission(bit(1))).unwrap();
            view.unassign(user(1), ScopeId::from_number(1), Holding::Permission(bit(1))).unwrap();
        },
        |view, _| assert_eq!(view.check_session_at(held(), bit(1), INNER, NOW), Answer::Deny),
    );
    Race { preemptions: 1, ..race }.run();
}

/// Session 8 with role 1 alone active.
fn selecting(view: &View) {
    view.put_session(&session(ID, 1), Some(&[role(1)])).unwrap();
    warm(view);
}

fn a_role_that_is_no_longer_active() {
    for prepare in [selecting, warm] {
        let race =
            Race::new(prepare, |view| view.put_session(&session(ID, 1), Some(&[])).unwrap(), by_session);
        Race { preemptions: 1, ..race }.run();
    }
}

fn an_active_role_that_is_taken() {
    Race::new(selecting, |view| view.unassign_role(user(1), role(1)).unwrap(), by_session).run();
}

/// What was derived for the selection is given back, and its number goes to user 2 with another permission.
fn a_derived_set_whose_number_is_used_again() {
    // More loads than Loom comes to an end with.
    if LOOM {
        return;
    }
    Race::new(
        selecting,
        |view| {
            view.put_session(&session(ID, 1), None).unwrap();
            view.assign_role(user(2), role(2)).unwrap();
            assert_eq!(view.check_user(user(2), bit(1), NOW), Answer::Allow);
        },
        |view, _| assert_ne!(view.check_session(held(), bit(1), NOW), Answer::Allow, "user 2's"),
    )
    .run();
}

/// Both selections' sets have gone to others by the time the session has the second one.
fn a_selection_whose_number_is_used_again() {
    // More loads than Loom comes to an end with.
    if LOOM {
        return;
    }
    let race = Race::new(
        |view| {
            view.assign_role(user(1), role(2)).unwrap();
            selecting(view);
        },
        |view| {
            view.put_session(&session(ID, 1), Some(&[])).unwrap();
            view.put_session(&session(TENANT, 1), Some(&[role(2)])).unwrap();
            let tenant = handle(view, TENANT);
            assert_eq!(view.check_session(tenant, bit(1), NOW), Answer::Allow);
        },
        |view, done| {
            assert_ne!(view.check_session(held(), bit(1), NOW), Answer::Allow, "the other session's");
            if !LOOM {
                by_session(view, done);
            }
        },
    );
    race.run();
}
