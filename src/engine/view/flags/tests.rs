//! What a writer may do between two loads of a question about a flag, and where flags of any number stand.

use super::super::races::scene;
use super::super::step::at;
use super::super::tests::{bit, handle, role, user};
use super::*;
use crate::permission::PermissionSet;

const NOW: ViewTime = ViewTime::from_secs(1000);
const OUTER: ScopeId = ScopeId::from_number(4);
const INNER: ScopeId = ScopeId::from_number(5);

fn flag(number: u32) -> Flag {
    Flag::from_number(number)
}

fn targeted(default: bool) -> FlagSettings {
    FlagSettings { state: FlagState::Targeted, default, percentage: 0 }
}

fn off() -> FlagSettings {
    FlagSettings { state: FlagState::Off, ..targeted(false) }
}

impl View {
    fn rule(&self, number: u32, target: FlagTarget, at: ScopeId, on: Option<bool>) {
        let terms = on.map(|on| if on { Grant::new() } else { Grant::new().denying() }.at(at));
        self.put_rule(flag(number), target, at, terms.as_ref()).unwrap();
    }
}

/// Flag 3 is targeted and off by default; all sets are worked out, for user 1 and session 99, at scope 5 too.
fn stage() -> &'static View {
    let view = Box::leak(Box::new(scene()));
    view.put_flag(flag(3), Some(targeted(false))).unwrap();
    for _ in 0..2 {
        for scope in [ScopeId::ROOT, INNER] {
            assert_eq!(ask(view, false, scope), Answer::Deny);
            assert_eq!(ask(view, true, scope), Answer::Deny);
        }
    }
    view
}

fn ask(view: &View, by_session: bool, scope: ScopeId) -> Answer {
    match by_session {
        true => view.flag_of_session(flag(3), handle(view, 99), scope, NOW),
        false => view.flag_of_user(flag(3), user(1), scope, NOW),
    }
}

/// Another question works out the sets that this one needs, so that it does not ask under the lock.
fn worked_out(view: &View) {
    view.put_flag(flag(4), Some(targeted(false))).unwrap();
    assert_eq!(view.flag_of_user(flag(4), user(1), INNER, NOW), Answer::Deny);
}

/// Does it at that step of a question whose answer is no before, after, and at every moment between.
fn never_on(prepare: fn(&View), step: Step, act: fn(&View), scopes: &[ScopeId]) {
    for scope in scopes {
        for by_session in [false, true] {
            let view = stage();
            prepare(view);
            for _ in 0..2 {
                assert_eq!(ask(view, by_session, *scope), Answer::Deny);
            }
            at(step, move || act(view));
            assert_eq!(ask(view, by_session, *scope), Answer::Deny, "{scope}, by session {by_session}");
            assert_eq!(ask(view, by_session, *scope), Answer::Deny, "after it");
        }
    }
}

#[test]
fn a_state_and_rules_of_two_moments_make_no_answer() {
    let everywhere = [ScopeId::ROOT, INNER];
    // The flag as it was, the rules as they are: it was off before the rule came.
    never_on(
        |_| {},
        Step::FlagRead,
        |view| {
            view.put_flag(flag(3), Some(off())).unwrap();
            view.rule(3, FlagTarget::User(user(1)), ScopeId::ROOT, Some(true));
        },
        &everywhere,
    );
    never_on(
        |_| {},
        Step::FlagRead,
        |view| {
            view.put_flag(flag(3), Some(off())).unwrap();
            view.rule(3, FlagTarget::Role(role(1)), ScopeId::ROOT, Some(true));
            worked_out(view);
        },
        &everywhere,
    );
    never_on(
        |_| {},
        Step::FlagRead,
        |view| {
            view.put_flag(flag(3), Some(off())).unwrap();
            view.rule(3, FlagTarget::Scope(OUTER), OUTER, Some(true));
            worked_out(view);
        },
        &[INNER],
    );
    // The flag as it is, the rules as they were: the rule that keeps it off came before.
    never_on(
        |_| {},
        Step::CellRead,
        |view| {
            view.rule(3, FlagTarget::User(user(1)), ScopeId::ROOT, Some(false));
            view.put_flag(flag(3), Some(targeted(true))).unwrap();
        },
        &everywhere,
    );
    never_on(
        |_| {},
        Step::CellRead,
        |view| {
            view.rule(3, FlagTarget::Role(role(1)), ScopeId::ROOT, Some(false));
            view.put_flag(flag(3), Some(targeted(true))).unwrap();
        },
        &everywhere,
    );
    never_on(
        |_| {},
        Step::CellRead,
        |view| {
            view.rule(3, FlagTarget::Scope(OUTER), OUTER, Some(false));
            view.put_flag(flag(3), Some(targeted(true))).unwrap();
        },
        &[INNER],
    );
    // The rule came while the flag was off, and is gone before the flag is as it was.
    let come: fn(&View) = |view| {
        view.put_flag(flag(3), Some(off())).unwrap();
        view.rule(3, FlagTarget::Scope(OUTER), OUTER, Some(true));
        worked_out(view);
    };
    let go: fn(&View) = |view| {
        view.rule(3, FlagTarget::Scope(OUTER), OUTER, None);
        view.put_flag(flag(3), Some(targeted(false))).unwrap();
    };
    for by_session in [false, true] {
        let view = stage();
        at(Step::FlagRead, move || come(view));
        at(Step::SetRead, move || go(view));
        assert_eq!(ask(view, by_session, INNER), Answer::Deny);
    }
}

#[test]
fn levels_of_two_moments_make_no_answer() {
    let prepare: fn(&View) = |view| {
        view.rule(3, FlagTarget::Scope(INNER), INNER, Some(true));
        view.rule(3, FlagTarget::Scope(OUTER), OUTER, Some(false));
    };
    // What turned it on goes before what keeps it off does.
    never_on(
        prepare,
        Step::LevelRead,
        |view| {
            view.rule(3, FlagTarget::Scope(INNER), INNER, None);
            view.rule(3, FlagTarget::Scope(OUTER), OUTER, None);
        },
        &[INNER],
    );
    never_on(
        prepare,
        Step::LevelRead,
        |view| {
            view.rule(3, FlagTarget::Scope(INNER), INNER, None);
            view.put_scope(INNER, ScopeId::ROOT).unwrap();
        },
        &[INNER],
    );
    // The number of the set of a scope that goes to another holder.
    never_on(
        |view| view.rule(4, FlagTarget::Scope(INNER), INNER, Some(true)),
        Step::TreeRead,
        |view| {
            view.rule(4, FlagTarget::Scope(INNER), INNER, None);
            view.rule(3, FlagTarget::User(user(2)), INNER, Some(true));
            assert_eq!(view.flag_of_user(flag(3), user(2), INNER, NOW), Answer::Allow);
        },
        &[INNER],
    );
}

#[test]
fn a_flag_of_any_number_is_found_and_no_other_one() {
    let numbers = [0, 1, 63, 64, 255, 256, 1023, 1024, 5000, Flag::LIMIT - 1];
    let view = scene();
    for (target, scope) in [
        (FlagTarget::User(user(1)), ScopeId::ROOT),
        (FlagTarget::User(user(1)), INNER),
        (FlagTarget::Role(role(1)), ScopeId::ROOT),
        (FlagTarget::Scope(OUTER), OUTER),
    ] {
        for number in numbers {
            view.put_flag(flag(number), Some(targeted(false))).unwrap();
        }
        for chosen in numbers {
            view.rule(chosen, target, scope, Some(true));
            for number in numbers {
                let due = if number == chosen { Answer::Allow } else { Answer::Deny };
                assert_eq!(view.flag_of_user(flag(number), user(1), INNER, NOW), due, "{number} of {chosen}");
            }
            view.rule(chosen, target, scope, Some(false));
            view.put_flag(flag(chosen), Some(targeted(true))).unwrap();
            assert_eq!(view.flag_of_user(flag(chosen), user(1), INNER, NOW), Answer::Deny, "{chosen}");
            view.rule(chosen, target, scope, None);
            assert_eq!(view.flag_of_user(flag(chosen), user(1), INNER, NOW), Answer::Allow, "{chosen}");
            view.put_flag(flag(chosen), Some(targeted(false))).unwrap();
        }
    }
    assert_eq!(view.flag_stats().0, numbers.len() as u64);
    for number in numbers {
        view.put_flag(flag(number), None).unwrap();
        view.put_flag(flag(number), None).unwrap();
    }
    assert_eq!(view.flag_stats().0, 0);
}

#[test]
fn numbers_beyond_the_last_flag_are_refused_and_mean_nothing() {
    let view = scene();
    for number in [Flag::LIMIT, 1 << 30, u32::MAX] {
        assert!(view.put_flag(flag(number), Some(targeted(true))).is_err());
        assert_eq!(view.flag_of_user(flag(number), user(1), ScopeId::ROOT, NOW), Answer::Deny);
        for target in [FlagTarget::User(user(1)), FlagTarget::Role(role(1)), FlagTarget::Scope(INNER)] {
            assert!(view.put_rule(flag(number), target, INNER, Some(&Grant::new())).is_err());
        }
        // A damaged record of a grant: no permission has the bit, and no flag.
        let part = Part::new(Holding::Permission(flag(number).bit()), &Grant::new());
        view.assign(user(1), ScopeId::ROOT, part).unwrap();
        assert_eq!(view.check_user(user(1), flag(number).bit(), NOW), Answer::Deny);
        assert_eq!(view.check_user(user(1), bit(0), NOW), Answer::Allow);
    }
    assert!(view.stats().set_bytes < 1 << 20, "{:?}", view.stats());
}

#[test]
fn no_permission_check_says_yes_to_the_bit_of_a_flag() {
    let view = scene();
    for number in [0, 70, 300, Flag::LIMIT - 1] {
        view.put_flag(flag(number), Some(targeted(true))).unwrap();
        view.rule(number, FlagTarget::User(user(1)), ScopeId::ROOT, Some(true));
        view.rule(number, FlagTarget::Role(role(1)), ScopeId::ROOT, Some(true));
        view.rule(number, FlagTarget::Scope(INNER), INNER, Some(true));
        assert_eq!(view.flag_of_user(flag(number), user(1), INNER, NOW), Answer::Allow);
        for scope in [ScopeId::ROOT, INNER] {
            assert_eq!(view.check_user_at(user(1), flag(number).bit(), scope, NOW), Answer::Deny);
            let held = handle(&view, 99);
            assert_eq!(view.check_session_at(held, flag(number).bit(), scope, NOW), Answer::Deny);
        }
        // Nor to the permission of the same number.
        let due = if number == 0 || number == 70 { Answer::Allow } else { Answer::Deny };
        assert_eq!(view.check_user(user(1), bit(number), NOW), due);
    }
    let held = view.permissions_of_user(user(1), NOW);
    assert_eq!(held.iter().map(|permission| permission.bit()).collect::<Vec<_>>(), [0, 70]);
    assert_eq!(view.permissions_of_role(role(1))[0], held);
    assert_eq!(view.permissions_at(user(1), INNER, NOW), held);
}

#[test]
fn a_stopped_view_says_so_of_every_flag() {
    let view = stage();
    view.put_flag(flag(1), Some(FlagSettings { state: FlagState::On, ..targeted(true) })).unwrap();
    view.put_flag(flag(2), Some(off())).unwrap();
    assert_eq!(view.flag_of_user(flag(1), user(1), INNER, NOW), Answer::Allow);
    let held = handle(view, 99);
    view.stop();
    for number in [1, 2, 3, 4, u32::MAX] {
        for scope in [ScopeId::ROOT, INNER, ScopeId::from_number(77)] {
            assert_eq!(view.flag_of_user(flag(number), user(1), scope, NOW), Answer::Stopped);
            assert_eq!(view.flag_of_session(flag(number), held, scope, NOW), Answer::Stopped);
        }
    }
    // Nor is it told as a refusal where no set is asked: a user with nothing, a question for nothing.
    let nothing = PermissionSet::new();
    assert_eq!(view.check_user_at(user(8), bit(0), INNER, NOW), Answer::Stopped);
    assert_eq!(view.user_has_all_at(user(8), &nothing, INNER, NOW), Answer::Stopped);
    assert_eq!(view.session_has_all_at(held, &nothing, INNER, NOW), Answer::Stopped);
}
