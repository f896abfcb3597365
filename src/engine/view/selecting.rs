//! Sessions with a selection of roles: what is active, and what another thread may change while that is read.

use super::races::scene;
use super::step::at;
use super::tests::{bit, denial, grant, handle, role, session, user};
use super::*;
use crate::grant::Grant;
use crate::id::RoleId;

pub(super) const NOW: ViewTime = ViewTime::from_secs(1000);
pub(super) const ID: u64 = 99 << 40 | 2;

pub(super) fn scope(n: u32) -> ScopeId {
    ScopeId::from_number(n)
}

/// User 1 holds role 1 (bits 0 and 70) everywhere, role 2 (bit 1) at scope 4, role 3 over 4 (bit 2) at scope 5.
pub(super) fn stage() -> &'static View {
    let view = Box::leak(Box::new(scene()));
    for n in [2, 3] {
        view.define(bit(n)).unwrap();
    }
    view.put_role(role(3), &[role(4)]).unwrap();
    view.put_grants(role(4), 0, &[4]).unwrap();
    view.assign(user(1), scope(4), Part::role(role(2))).unwrap();
    view.assign(user(1), scope(5), Part::role(role(3))).unwrap();
    view
}

fn select(view: &View, roles: &[u32]) {
    let roles: Vec<RoleId> = roles.iter().map(|n| role(*n)).collect();
    view.put_session(&session(ID, 1), Some(&roles)).unwrap();
}

/// Which of the bits 0 to 3 the session has at a scope.
pub(super) fn held(view: &View, at: u32) -> Vec<u32> {
    let session = handle(view, ID);
    let one = |n: &u32| view.check_session_at(session, bit(*n), scope(at), NOW) == Answer::Allow;
    let found: Vec<u32> = (0..4).filter(one).collect();
    let set: PermissionSet = found.iter().map(|n| bit(*n)).collect();
    assert_eq!(view.session_has_all_at(session, &set, scope(at), NOW), Answer::Allow);
    for more in (0..4).filter(|n| !found.contains(n)) {
        let set = set.iter().chain([bit(more)]).collect();
        assert_eq!(view.session_has_all_at(session, &set, scope(at), NOW), Answer::Deny);
    }
    found
}

#[test]
fn only_selected_roles_count_each_where_it_is_held() {
    let view = stage();
    for (roles, everywhere, outer, inner) in [
        (&[1, 2, 3][..], &[0][..], &[0, 1][..], &[0, 1, 2][..]),
        (&[], &[], &[], &[]),
        (&[1], &[0], &[0], &[0]),
        (&[2], &[], &[1], &[1]),
        // By way of the role above it.
        (&[4], &[], &[], &[2]),
        // Not held at all.
        (&[7], &[], &[], &[]),
    ] {
        select(view, roles);
        assert_eq!(held(view, 0), everywhere, "{roles:?}");
        assert_eq!(held(view, 4), outer, "{roles:?}");
        assert_eq!(held(view, 5), inner, "{roles:?}");
        assert_eq!(held(view, 6), everywhere, "{roles:?}");
        assert_eq!(view.check_user_at(user(1), bit(2), scope(5), NOW), Answer::Allow, "the user has it all");
    }
}

#[test]
fn what_is_not_a_selected_role_gives_nothing_and_denies_all_the_same() {
    let view = stage();
    view.assign(user(1), scope(4), grant(bit(3))).unwrap();
    select(view, &[1, 2]);
    assert_eq!(held(view, 4), [0, 1], "given without a role");
    view.put_chunk(role(3), 0, &[2], true).unwrap();
    assert_eq!(held(view, 5), [0], "role 3 is not active, and denies bit 1");
    view.assign(user(1), scope(4), denial(bit(0))).unwrap();
    assert_eq!(held(view, 4), [1]);
}

#[test]
fn a_change_to_roles_or_to_the_selection_is_seen_by_the_next_question() {
    let view = stage();
    select(view, &[1, 4]);
    assert_eq!(held(view, 5), [0, 2]);
    view.unassign_role(user(1), role(1)).unwrap();
    assert_eq!(held(view, 5), [2]);
    view.assign_role(user(1), role(1)).unwrap();
    assert_eq!(held(view, 5), [0, 2]);
    view.put_role(role(3), &[]).unwrap();
    assert_eq!(held(view, 5), [0], "role 4 is out of reach");
    view.put_role(role(3), &[role(4)]).unwrap();
    view.put_grants(role(4), 0, &[8]).unwrap();
    assert_eq!(held(view, 5), [0, 3]);
    select(view, &[3]);
    assert_eq!(held(view, 5), [3]);
    view.put_session(&session(ID, 1), None).unwrap();
    assert_eq!(held(view, 5), [0, 1, 3]);
    assert_eq!(view.selected_roles(SessionId::from_number(ID)), None);
}

#[test]
fn what_was_derived_is_given_back_with_the_last_session_and_with_the_set() {
    let view = stage();
    let (before, sets) = (view.stats(), |view: &View| view.sets.bytes(&view.writer.lock().interner));
    for _ in 0..3 {
        for id in [ID, ID + 8] {
            view.put_session(&session(id, 1), Some(&[role(1), role(3)])).unwrap();
        }
        assert_eq!(held(view, 5), [0, 2]);
        view.unassign(user(1), scope(5), Holding::Role(role(3))).unwrap();
        assert_eq!(held(view, 5), [0]);
        view.assign(user(1), scope(5), Part::role(role(3))).unwrap();
        assert_eq!(held(view, 5), [0, 2]);
        assert!(view.remove_session(SessionId::from_number(ID + 8)));
        assert_eq!(held(view, 5), [0, 2], "the other one still has it");
        assert!(view.remove_session(SessionId::from_number(ID)));
    }
    let grown = sets(view);
    for _ in 0..100 {
        select(view, &[1, 3]);
        assert_eq!(held(view, 5), [0, 2]);
        select(view, &[1]);
        assert_eq!(held(view, 5), [0]);
        assert!(view.remove_session(SessionId::from_number(ID)));
    }
    assert_eq!(sets(view), grown, "numbers are used again");
    assert_eq!(view.stats().sets, before.sets);
}

/// Hands numbers that were given back to sets with bit 3, at scopes, where that ends no epoch.
pub(super) fn lend(view: &View) {
    for n in 3..=7 {
        // Each a set of its own, because it ends at another time.
        let end = ViewTime::from_secs(2000 + n as u32).timestamp();
        let (part, place) = (Part::new(Holding::Permission(bit(3)), &Grant::new().until(end)), scope(4));
        view.assign(user(n), place, part).unwrap();
        assert_eq!(view.check_user_at(user(n), bit(3), place, NOW), Answer::Allow);
    }
}

/// The steps that a question at a scope comes to, before it takes any lock.
pub(super) fn steps(place: u32, remembered: bool) -> Vec<Step> {
    use Step::{CellRead, IdRead, LevelRead, Remember, SetRead, TreeRead};
    let of = if place == 0 {
        vec![IdRead, CellRead, SetRead]
    } else {
        vec![IdRead, CellRead, TreeRead, LevelRead]
    };
    of.into_iter().chain((!remembered).then_some(Remember)).collect()
}

/// Asks at every step for bit 3, which the session never has, while the view is changed.
fn ask_through(change: fn(&View)) {
    for (remembered, place) in [(false, 0), (false, 5), (true, 0), (true, 5)] {
        for step in steps(place, remembered) {
            let view = stage();
            select(view, &[1, 3]);
            let session = handle(view, ID);
            let ask = || view.check_session_at(session, bit(3), scope(place), NOW);
            assert_eq!(ask(), Answer::Deny);
            if !remembered {
                // A change of somebody else makes the line ask its user's cell.
                view.assign_role(user(8), role(2)).unwrap();
            }
            let met = std::rc::Rc::new(std::cell::Cell::new(false));
            let meet = met.clone();
            at(step, move || {
                meet.set(true);
                change(view);
            });
            assert_eq!(ask(), Answer::Deny, "{step:?} at {place}, remembered {remembered}");
            assert!(met.get(), "{step:?} at {place}, remembered {remembered}: not met");
            assert_eq!(ask(), Answer::Deny, "{step:?} at {place}, remembered {remembered}, again");
        }
    }
}

#[test]
fn a_selection_that_changes_while_it_is_read_lends_its_numbers_to_nobody() {
    ask_through(|view| {
        select(view, &[2]);
        lend(view);
    });
}

#[test]
fn a_set_that_a_user_loses_lends_what_was_derived_from_it_to_nobody() {
    ask_through(|view| {
        view.unassign_role(user(1), role(1)).unwrap();
        view.unassign(user(1), scope(5), Holding::Role(role(3))).unwrap();
        lend(view);
    });
}
