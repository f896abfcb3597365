//! Whether what threads were answered can be told as one story: each call takes effect at one moment between its start
//! and its end, and every answer is that of the state at its moment.
//!
//! The search goes through the starts and ends in the order in which they were counted (after Wing and Gong, 1993, and
//! Lowe, 2017). It keeps every way of telling what has ended so far: a state, and which of the calls under way have
//! taken effect in it. When a call ends, the ways in which it can not have taken effect are dropped; if none is left,
//! there is no story. As many calls are under way as there are threads, so that there are few ways.

use std::collections::{BTreeSet, HashSet};

/// A session, by the order of logins.
pub(crate) type Number = usize;

/// What a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    /// With which of the passwords; opens the session of that number if it is let in.
    Login(u8, Number),
    Revoke(Number),
    RevokeOthers(Number),
    RevokeAll,
    Disable,
    Enable,
    SetPassword(u8),
    Assign,
    Unassign,
    /// Is the session live?
    Authenticate(Number),
    /// May the session's user, in it?
    Can(Number),
    /// May the user?
    Check,
}

/// A call with its answer, and when it began and ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) call: Call,
    /// Yes, or done; else no, or refused.
    pub(crate) yes: bool,
    pub(crate) began: u64,
    pub(crate) ended: u64,
}

/// All that answers depend on, of one user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    active: bool,
    assigned: bool,
    password: u8,
    live: BTreeSet<Number>,
}

impl State {
    pub(crate) fn first() -> Self {
        Self { active: true, assigned: true, password: 0, live: BTreeSet::new() }
    }

    /// The answer at this moment, and what the call makes of the state.
    fn apply(mut self, call: Call) -> (bool, Self) {
        let yes = match call {
            Login(password, number) => {
                let yes = self.active && password == self.password;
                if yes {
                    self.live.insert(number);
                }
                yes
            }
            Revoke(number) => self.live.remove(&number),
            RevokeOthers(number) => {
                let yes = self.live.contains(&number);
                if yes {
                    self.live = BTreeSet::from([number]);
                }
                yes
            }
            RevokeAll => {
                self.live.clear();
                true
            }
            Disable => {
                self.active = false;
                self.live.clear();
                true
            }
            Enable => {
                self.active = true;
                true
            }
            SetPassword(password) => {
                self.password = password;
                self.live.clear();
                true
            }
            Assign | Unassign => {
                let then = call == Assign;
                std::mem::replace(&mut self.assigned, then) != then
            }
            Authenticate(number) => self.live.contains(&number),
            Can(number) => self.live.contains(&number) && self.assigned,
            Check => self.active && self.assigned,
        };
        (yes, self)
    }
}

/// A login is refused where the account changed while it was verified: beside a change it may be refused in any state.
fn may_refuse(history: &[Done], refused: &Done) -> bool {
    let changes = |call: Call| !matches!(call, Authenticate(_) | Can(_) | Check);
    let beside = |done: &Done| done.began < refused.ended && done.ended > refused.began && done != refused;
    matches!(refused.call, Login(..))
        && !refused.yes
        && history.iter().any(|done| changes(done.call) && beside(done))
}

/// A way of telling what has ended: the state, and which calls under way have taken effect, in rising order.
type Way = (State, Vec<usize>);

/// The call at whose end no story is left.
pub(crate) fn first_impossible(first: &State, history: &[Done]) -> Option<Done> {
    let starts = history.iter().enumerate().map(|(place, done)| (done.began, place, false));
    let ends = history.iter().enumerate().map(|(place, done)| (done.ended, place, true));
    let mut events: Vec<(u64, usize, bool)> = starts.chain(ends).collect();
    events.sort_unstable();
    let refuses: Vec<bool> = history.iter().map(|done| may_refuse(history, done)).collect();
    let mut under_way: BTreeSet<usize> = BTreeSet::new();
    let mut ways: HashSet<Way> = HashSet::from([(first.clone(), Vec::new())]);
    for (_, place, ends) in events {
        if !ends {
            under_way.insert(place);
            continue;
        }
        let (mut open, mut seen): (Vec<Way>, _) = (ways.drain().collect(), HashSet::new());
        while let Some((state, effective)) = open.pop() {
            if effective.contains(&place) {
                let rest = effective.into_iter().filter(|other| *other != place).collect();
                ways.insert((state, rest));
                continue;
            }
            for next in under_way.iter().filter(|next| !effective.contains(next)) {
                let (yes, then) = match refuses[*next] {
                    true => (false, state.clone()),
                    false => state.clone().apply(history[*next].call),
                };
                if yes == history[*next].yes {
                    let mut effective = effective.clone();
                    effective.push(*next);
                    effective.sort_unstable();
                    let way = (then, effective);
                    if seen.insert(way.clone()) {
                        open.push(way);
                    }
                }
            }
        }
        under_way.remove(&place);
        if ways.is_empty() {
            return Some(history[place]);
        }
    }
    None
}

/// One after another and side by side: `(call, answer, began, ended)`.
fn history(calls: &[(Call, bool, u64, u64)]) -> Vec<Done> {
    calls.iter().map(|&(call, yes, began, ended)| Done { call, yes, began, ended }).collect()
}

#[track_caller]
fn refuses(calls: &[(Call, bool, u64, u64)], at: usize) {
    let history = history(calls);
    assert_eq!(first_impossible(&State::first(), &history), Some(history[at]));
}

#[track_caller]
fn accepts(calls: &[(Call, bool, u64, u64)]) {
    assert_eq!(first_impossible(&State::first(), &history(calls)), None);
}

use Call::*;

#[test]
fn what_was_acknowledged_is_in_every_later_answer() {
    let login = (Login(0, 1), true, 1, 2);
    for (ending, answer) in [
        (Revoke(1), true),
        (RevokeAll, true),
        (Disable, true),
        (SetPassword(1), true),
        (SetPassword(0), true),
        (Unassign, true),
    ] {
        refuses(&[login, (ending, answer, 3, 4), (Can(1), true, 5, 6)], 2);
        accepts(&[login, (ending, answer, 3, 4), (Can(1), false, 5, 6)]);
        // Side by side, both may be.
        for can in [true, false] {
            accepts(&[login, (ending, answer, 3, 6), (Can(1), can, 4, 5)]);
        }
    }
    refuses(&[login, (Revoke(1), true, 3, 4), (Authenticate(1), true, 5, 6)], 2);
    accepts(&[login, (Unassign, true, 3, 4), (Authenticate(1), true, 5, 6)]);
    refuses(&[login, (Disable, true, 3, 4), (Enable, true, 5, 6), (Authenticate(1), true, 7, 8)], 3);
    refuses(&[(Disable, true, 1, 2), (Check, true, 3, 4)], 1);
    refuses(&[(Unassign, true, 1, 2), (Assign, true, 3, 4), (Check, false, 5, 6)], 2);
}

#[test]
fn what_was_seen_is_not_unseen() {
    // The taking is under way all the time; one reader after another, on whichever thread.
    let taking = (Unassign, true, 1, 20);
    accepts(&[taking, (Check, true, 2, 3), (Check, false, 4, 5)]);
    refuses(&[taking, (Check, false, 2, 3), (Check, true, 4, 5)], 2);
    accepts(&[taking, (Check, false, 2, 5), (Check, true, 3, 4)]);
    // With a giving beside it there is one more change, and no third.
    let giving = (Assign, true, 1, 21);
    accepts(&[taking, giving, (Check, false, 2, 3), (Check, true, 4, 5)]);
    refuses(&[taking, giving, (Check, false, 2, 3), (Check, true, 4, 5), (Check, false, 6, 7)], 4);
    // Two sessions end by one call, at one moment.
    let (one, two) = ((Login(0, 1), true, 1, 2), (Login(0, 2), true, 3, 4));
    let all = (RevokeAll, true, 5, 20);
    refuses(&[one, two, all, (Authenticate(1), false, 6, 7), (Authenticate(2), true, 8, 9)], 4);
    accepts(&[one, two, all, (Authenticate(1), true, 6, 7), (Authenticate(2), false, 8, 9)]);
}

#[test]
fn of_two_only_one_can_have_done_it() {
    let login = (Login(0, 1), true, 1, 2);
    refuses(&[login, (Revoke(1), true, 3, 6), (Revoke(1), true, 4, 5)], 1);
    accepts(&[login, (Revoke(1), true, 3, 6), (Revoke(1), false, 4, 5)]);
    accepts(&[login, (Revoke(1), false, 3, 6), (Revoke(1), true, 4, 5)]);
    refuses(&[login, (Revoke(1), true, 3, 4), (Revoke(1), true, 5, 6)], 2);
    refuses(&[login, (Revoke(1), false, 3, 4)], 1);
}

#[test]
fn a_login_is_let_in_by_the_password_of_its_moment() {
    refuses(&[(SetPassword(1), true, 1, 2), (Login(0, 1), true, 3, 4)], 1);
    refuses(&[(SetPassword(1), true, 1, 2), (Login(1, 1), false, 3, 4)], 1);
    refuses(&[(Disable, true, 1, 2), (Login(0, 1), true, 3, 4)], 1);
    refuses(&[(Login(0, 1), false, 1, 2)], 0);
    accepts(&[(Enable, true, 1, 3), (Login(0, 1), false, 2, 4)]);
    // Let in before the change, its session ends with it.
    let change = (SetPassword(1), true, 1, 10);
    accepts(&[change, (Login(0, 1), true, 2, 3), (Authenticate(1), false, 11, 12)]);
    refuses(&[change, (Login(0, 1), true, 2, 3), (Authenticate(1), true, 11, 12)], 2);
    refuses(&[change, (Login(1, 1), true, 2, 3), (Authenticate(1), false, 11, 12)], 2);
}

#[test]
fn who_ends_the_others_stays() {
    let (one, two) = ((Login(0, 1), true, 1, 2), (Login(0, 2), true, 3, 4));
    let others = (RevokeOthers(1), true, 5, 10);
    refuses(&[one, two, others, (Authenticate(1), false, 6, 7)], 3);
    refuses(&[one, two, others, (Authenticate(2), true, 11, 12)], 3);
    accepts(&[one, two, others, (Authenticate(2), false, 6, 7), (Can(1), true, 8, 9)]);
    // One of the two was first, and ended the other.
    let both = [one, two, (RevokeOthers(1), true, 5, 10), (RevokeOthers(2), true, 6, 9)];
    refuses(&both, 2);
    accepts(&[both[0], both[1], both[2], (RevokeOthers(2), false, 6, 9)]);
}

/// One call after another has one story: with any answer turned round it has none.
#[test]
fn any_wrong_answer_in_a_sequence_is_found() {
    let (mut state, mut done, mut draw) = (State::first(), Vec::new(), 1_u64);
    for step in 0..400 {
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let number = step - (draw >> 50) as usize % 9.min(step + 1);
        let password = (draw >> 40) as u8 & 1;
        let call = match draw >> 33 & 15 {
            0 => Revoke(number),
            1 => RevokeOthers(number),
            2 => RevokeAll,
            3 => Disable,
            4 | 5 => Enable,
            6 => SetPassword(password),
            7 => Assign,
            8 => Unassign,
            9..=11 => Login(password, step),
            12 => Authenticate(number),
            13 => Can(number),
            _ => Check,
        };
        let (yes, then) = state.apply(call);
        state = then;
        done.push(Done { call, yes, began: step as u64 * 2, ended: step as u64 * 2 + 1 });
    }
    assert_eq!(first_impossible(&State::first(), &done), None);
    for place in 0..done.len() {
        done[place].yes ^= true;
        // What a call of no condition did not do was not done; what a login did or did not do shows later, or at once.
        assert_eq!(first_impossible(&State::first(), &done), Some(done[place]));
        done[place].yes ^= true;
    }
}
