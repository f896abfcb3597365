//! The view against naive models, one thread.

pub(super) use super::staging::{bit, denial, grant, handle, role, session, user};
use super::*;
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};

const NOW: ViewTime = ViewTime::from_secs(1000);

/// Numbers without a pattern, the same in every run.
pub(super) struct Mix(pub(super) u64);
impl Mix {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) | 2
    }
}
/// A change as the store would hold it; a later one with the same key takes the place of the former.
#[derive(Clone, Debug)]
enum Change {
    User(u64, Option<(UserState, u32)>),
    Assign(u64, u32, bool),
    Role(u32, Option<Vec<u32>>),
    Chunk(u32, u32, Option<Vec<u64>>),
    Define(u32, bool),
    /// User, generation, deadline, idle timeout, era.
    Session(u64, Option<(u64, u32, u32, u32, u16)>),
    Era(u16),
}
use Change::*;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Key {
    User(u64),
    Assign(u64, u32),
    Role(u32),
    Chunk(u32, u32),
    Define(u32),
    Session(u64),
    Era,
}

impl Change {
    fn key(&self) -> Key {
        match self {
            User(user, _) => Key::User(*user),
            Assign(user, role, _) => Key::Assign(*user, *role),
            Role(role, _) => Key::Role(*role),
            Chunk(role, chunk, _) => Key::Chunk(*role, *chunk),
            Define(bit, _) => Key::Define(*bit),
            Session(id, _) => Key::Session(*id),
            Era(_) => Key::Era,
        }
    }

    fn apply(&self, view: &View) {
        match self.clone() {
            User(n, Some((state, generation))) => view.put_user(user(n), state, generation).unwrap(),
            User(n, None) => view.remove_user(user(n)),
            Assign(n, r, true) => view.assign_role(user(n), role(r)).unwrap(),
            Assign(n, r, false) => view.unassign_role(user(n), role(r)).unwrap(),
            Role(r, Some(parents)) => {
                view.put_role(role(r), &parents.into_iter().map(role).collect::<Vec<_>>()).unwrap();
            }
            Role(r, None) => view.remove_role(role(r)),
            Chunk(r, chunk, Some(words)) => view.put_grants(role(r), chunk, &words).unwrap(),
            Chunk(r, chunk, None) => view.remove_grants(role(r), chunk).unwrap(),
            Define(n, true) => view.define(bit(n)).unwrap(),
            Define(n, false) => view.undefine(bit(n)).unwrap(),
            Session(id, Some((of, generation, deadline, idle_timeout, era))) => {
                let deadline = ViewTime::from_secs(deadline);
                let seen = ViewTime::from_secs(990);
                let line = SessionLine { generation, deadline, idle_timeout, seen, era, ..session(id, of) };
                view.put_session(&line, None).unwrap();
            }
            Session(id, None) => drop(view.remove_session(SessionId::from_number(id))),
            Era(era) => view.put_era(era),
        }
    }
}

const USERS: u64 = 4;
const ROLES: u32 = 5;
const BITS: [u32; 6] = [0, 1, 63, 400, 8191, 8192];

fn words(bits: &BTreeSet<usize>, chunk: u32) -> Vec<u64> {
    let mut words = Vec::new();
    for bit in bits.iter().map(|n| BITS[*n]).filter(|bit| bit / 8192 == chunk).map(|bit| bit % 8192) {
        words.resize(words.len().max(bit as usize / 64 + 1), 0);
        words[bit as usize / 64] |= 1u64 << (bit % 64);
    }
    words
}

fn change() -> impl Strategy<Value = Change> {
    let state = prop_oneof![
        4 => Just(UserState::Active),
        1 => Just(UserState::Refused),
        1 => (999u32..1002).prop_map(|until| UserState::RefusedUntil(ViewTime::from_secs(until))),
    ];
    let parents = vec(0..ROLES, 0..3);
    let bits = btree_set(0..BITS.len(), 0..4);
    let line = (0..USERS, 0u32..2, 999u32..1002, prop_oneof![Just(0u32), 9u32..12], 0u16..3);
    prop_oneof![
        (0..USERS, proptest::option::weighted(0.8, (state, 0u32..2))).prop_map(|(n, to)| User(n, to)),
        (0..USERS, 0..ROLES, any::<bool>()).prop_map(|(n, r, on)| Assign(n, r, on)),
        (0..ROLES, proptest::option::weighted(0.8, parents)).prop_map(|(r, to)| Role(r, to)),
        (0..ROLES, 0u32..2, proptest::option::weighted(0.8, bits)).prop_map(|(r, chunk, bits)| Chunk(
            r,
            chunk,
            bits.map(|bits| words(&bits, chunk))
        )),
        (0..BITS.len(), prop::bool::weighted(0.8)).prop_map(|(n, on)| Define(BITS[n], on)),
        (2u64..8, proptest::option::weighted(0.8, line)).prop_map(|(id, to)| Session(id, to)),
        (0u16..3).prop_map(Era),
    ]
}

/// What the changes so far say, looked up anew for each question.
#[derive(Default)]
struct Model(BTreeMap<Key, Change>);

impl Model {
    fn holds(&self, of: u64, n: u32) -> bool {
        let mut todo: Vec<u32> = (0..ROLES)
            .filter(|r| matches!(self.0.get(&Key::Assign(of, *r)), Some(Assign(.., true))))
            .collect();
        let mut seen = BTreeSet::new();
        let mut held = false;
        while let Some(r) = todo.pop() {
            if let Some(Role(_, Some(parents))) = self.0.get(&Key::Role(r))
                && seen.insert(r)
            {
                todo.extend(parents);
                if let Some(Chunk(.., Some(words))) = self.0.get(&Key::Chunk(r, n / 8192)) {
                    held |= words.get(n as usize % 8192 / 64).is_some_and(|word| word >> (n % 64) & 1 == 1);
                }
            }
        }
        held && matches!(self.0.get(&Key::Define(n)), Some(Define(_, true)))
    }

    fn user_active(&self, of: u64) -> Option<u32> {
        match self.0.get(&Key::User(of)) {
            Some(User(_, Some((UserState::Active, generation)))) => Some(*generation),
            Some(User(_, Some((UserState::RefusedUntil(until), generation)))) => {
                (NOW >= *until).then_some(*generation)
            }
            _ => None,
        }
    }

    fn check_user(&self, of: u64, n: u32) -> Answer {
        verdict(self.user_active(of).is_some() && self.holds(of, n))
    }

    fn era(&self) -> u16 {
        match self.0.get(&Key::Era) {
            Some(Era(present)) => *present,
            _ => 0,
        }
    }

    fn check_session(&self, id: u64, n: u32) -> Answer {
        match self.0.get(&Key::Session(id)) {
            Some(Session(_, Some((of, generation, deadline, idle, era))))
                if *deadline > 1000
                    && (*era == self.era() || *era == u16::MAX)
                    && (*idle == 0 || 990 + idle > 1000)
                    && self.user_active(*of).is_some_and(|current| *generation >= current) =>
            {
                verdict(self.holds(*of, n))
            }
            _ => Answer::Gone,
        }
    }
}

fn check_session(view: &View, id: u64, n: u32) -> Answer {
    let found = view.find(SessionId::from_number(id));
    found.map_or(Answer::Gone, |found| view.check_session(found.handle(), bit(n), NOW))
}

fn agree(view: &View, model: &Model) {
    for n in BITS {
        for of in 0..USERS {
            assert_eq!(view.check_user(user(of), bit(n), NOW), model.check_user(of, n), "user {of} bit {n}");
        }
        // Twice: by the user's cell, then by what the line remembers.
        for id in (2..8).chain(2..8) {
            assert_eq!(check_session(view, id, n), model.check_session(id, n), "session {id} bit {n}");
        }
    }
    for of in 0..USERS {
        let held: PermissionSet = BITS.iter().filter(|n| model.holds(of, **n)).map(|n| bit(*n)).collect();
        assert_eq!(view.permissions_of_user(user(of), ViewTime::from_secs(1000)), held);
        assert_eq!(view.user_has_all(user(of), &held, NOW), verdict(model.user_active(of).is_some()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn answers_as_the_model_does_and_any_order_gives_the_same(
        changes in vec(change(), 1..60), seed in any::<u64>(),
    ) {
        let (view, mut model) = (View::new().unwrap(), Model::default());
        for (nth, change) in changes.iter().enumerate() {
            change.apply(&view);
            model.0.insert(change.key(), change.clone());
            if nth % 4 == 0 {
                agree(&view, &model);
            }
        }
        agree(&view, &model);
        let mut mix = Mix(seed);
        let mut last: Vec<Change> = model.0.values().cloned().collect();
        for nth in (1..last.len()).rev() {
            last.swap(nth, mix.next() as usize % (nth + 1));
        }
        let again = View::new().unwrap();
        for change in last.iter().chain(&last) {
            change.apply(&again);
        }
        agree(&again, &model);
        prop_assert_eq!(view.stats().users, again.stats().users);
        prop_assert_eq!(view.stats().sessions, again.stats().sessions);
        prop_assert_eq!(view.stats().roles, again.stats().roles);
        prop_assert_eq!(view.stats().sets, again.stats().sets);
        for r in 0..ROLES {
            prop_assert_eq!(view.juniors(role(r)), again.juniors(role(r)));
            for of in 0..ROLES {
                let (down, up) = (view.juniors(role(r)), view.seniors(role(of)));
                // Only so round: a role that is not there yet may be named as a parent.
                prop_assert!(!down.contains(&role(of)) || up.contains(&role(r)));
            }
        }
    }

    #[test]
    fn sessions_are_found_through_splits_and_removals(seed in any::<u64>(), spread in 8u32..56) {
        let (view, mut model, mut mix) = (View::new().unwrap(), HashMap::new(), Mix(seed));
        let mut ids = Vec::new();
        for step in 0..6000u32 {
            let draw = mix.next();
            // Ids that crowd in one part of the directory, and often begin at the same line.
            let id = if draw % 3 == 0 { draw & !(63 | (1 << 63) >> (draw % 20)) | 2 } else { draw >> (spread % 8) };
            match step / 2000 {
                _ if draw % 16 == 0 && !ids.is_empty() => {
                    let id = ids[draw as usize / 16 % ids.len()];
                    let line = SessionLine { generation: step, ..session(id, draw % 9) };
                    view.put_session(&line, None).unwrap();
                    model.insert(id, line);
                }
                1 if draw % 4 != 0 && !ids.is_empty() => {
                    let id = ids.swap_remove(draw as usize / 16 % ids.len());
                    prop_assert_eq!(view.remove_session(SessionId::from_number(id)), model.remove(&id).is_some());
                }
                _ => {
                    if id > 1 && view.put_session(&session(id, draw % 9), None).is_ok() {
                        ids.push(id);
                        model.insert(id, session(id, draw % 9));
                    }
                }
            }
        }
        prop_assert_eq!(view.stats().sessions, model.len() as u64);
        for id in ids.iter().copied().chain((0..500).map(|_| mix.next())) {
            let id = SessionId::from_number(id);
            let found = view.find(id).and_then(|found| view.read(&found)).map(|found| found.digest);
            prop_assert_eq!(found, model.get(&id.get()).map(|line| line.digest));
            prop_assert_eq!(view.session(id), model.get(&id.get()).copied());
        }
    }
}

#[test]
fn a_chain_of_ten_thousand_roles_and_layers_of_diamonds_are_walked_in_time() {
    let view = View::new().unwrap();
    let depth = 10_000;
    for r in 0..depth {
        view.put_role(role(r), &[role(r + 1)]).unwrap();
    }
    view.put_role(role(depth), &[]).unwrap();
    view.put_grants(role(depth), 0, &[1]).unwrap();
    view.define(bit(0)).unwrap();
    view.put_user(user(1), UserState::Active, 0).unwrap();
    view.assign_role(user(1), role(0)).unwrap();
    assert_eq!(view.check_user(user(1), bit(0), NOW), Answer::Allow);
    assert!(view.juniors(role(0)).contains(&role(depth)) && view.juniors(role(depth)).is_empty());
    view.put_role(role(depth / 2), &[]).unwrap();
    assert_eq!(view.check_user(user(1), bit(0), NOW), Answer::Deny);

    // 2^20 paths from the top to the bottom.
    let (base, layers) = (20_000, 20);
    for layer in 0..layers {
        for side in 0..2 {
            let below = base + 2 * (layer + 1);
            view.put_role(role(base + 2 * layer + side), &[role(below), role(below + 1)]).unwrap();
        }
    }
    view.put_role(role(base + 2 * layers), &[]).unwrap();
    view.put_grants(role(base + 2 * layers), 0, &[1]).unwrap();
    view.assign_role(user(1), role(base)).unwrap();
    assert_eq!(view.check_user(user(1), bit(0), NOW), Answer::Allow);
    assert_eq!(view.seniors(role(base + 2 * layers)).len(), 2 * layers as usize);
    view.put_role(role(base + 2 * layers), &[role(base)]).unwrap();
    assert_eq!(view.check_user(user(1), bit(0), NOW), Answer::Allow, "a cycle ends");
    view.remove_grants(role(base + 2 * layers), 0).unwrap();
    assert_eq!(view.check_user(user(1), bit(0), NOW), Answer::Deny);
}

#[test]
fn chosen_session_ids_meet_a_limit_and_no_endless_splitting() {
    let view = View::new().unwrap();
    let mut refused = None;
    for n in 0..2000 {
        let put = view.put_session(&session(0xabcd << 48 | n << 6 | 2, 1), None);
        refused = refused.or_else(|| Some((n, put.err()?.kind())));
    }
    assert_eq!(refused, Some((64, crate::error::ErrorKind::LimitExceeded)));
    assert_eq!(view.stats().sessions, 64);
    assert!(view.stats().session_bytes < 1 << 20, "{:?}", view.stats());
    for n in 0..64 {
        assert!(view.find(SessionId::from_number(0xabcd << 48 | n << 6 | 2)).is_some());
    }
    view.put_session(&session(0x1bce << 48, 1), None).unwrap();
    for id in [0, 1] {
        assert!(view.put_session(&session(id, 1), None).is_err());
        assert!(view.find(SessionId::from_number(id)).is_none());
    }
}

#[test]
fn an_epoch_number_that_comes_round_revives_nothing() {
    let view = View::new().unwrap();
    view.put_role(role(1), &[]).unwrap();
    view.put_grants(role(1), 0, &[1]).unwrap();
    view.define(bit(0)).unwrap();
    // User 3 keeps the set's number in use.
    for of in [1, 2, 3] {
        view.put_user(user(of), UserState::Active, 0).unwrap();
    }
    view.assign_role(user(3), role(1)).unwrap();
    view.assign_role(user(1), role(1)).unwrap();
    for round in [STOPPED_EPOCH, STOPPED_EPOCH / 2] {
        let line = session(0x1234_5678_9abc_def0, 1);
        view.put_session(&line, None).unwrap();
        let held = handle(&view, line.id.get());
        // The line remembers the grant as of epoch 1, the user loses it in an epoch that is then taken back.
        view.counters.epoch.store(1, Ordering::Relaxed);
        assert_eq!(view.check_session(held, bit(0), NOW), Answer::Allow);
        view.unassign_role(user(1), role(1)).unwrap();
        view.counters.epoch.store(round - 1, Ordering::Relaxed);
        view.assign_role(user(2), role(1)).unwrap();
        view.unassign_role(user(2), role(1)).unwrap();
        view.counters.epoch.store(1, Ordering::Relaxed);
        assert_eq!(view.check_session(held, bit(0), NOW), Answer::Deny);
        view.assign_role(user(1), role(1)).unwrap();
        assert_eq!(view.check_session(held, bit(0), NOW), Answer::Allow);
    }
}

#[test]
fn a_stopped_view_refuses_everything_and_says_why() {
    let view = View::new().unwrap();
    view.put_role(role(1), &[]).unwrap();
    view.put_grants(role(1), 0, &[1]).unwrap();
    view.define(bit(0)).unwrap();
    view.put_user(user(1), UserState::Active, 0).unwrap();
    view.put_user(user(2), UserState::Active, 0).unwrap();
    view.put_scope(ScopeId::from_number(5), ScopeId::ROOT).unwrap();
    view.assign_role(user(1), role(1)).unwrap();
    view.put_session(&session(99, 1), None).unwrap();
    let held = handle(&view, 99);
    assert_eq!(view.check_session(held, bit(0), NOW), Answer::Allow);
    view.stop();
    view.put_grants(role(1), 0, &[3]).unwrap();
    view.put_user(user(1), UserState::Active, 1).unwrap();
    let (inner, nothing) = (ScopeId::from_number(5), PermissionSet::new());
    for of in [1, 2, u64::MAX] {
        assert_eq!(view.check_user(user(of), bit(0), NOW), Answer::Stopped);
        // Also where no set is asked: a user who holds nothing, a question for nothing.
        assert_eq!(view.check_user_at(user(of), bit(0), inner, NOW), Answer::Stopped);
        assert_eq!(view.user_has_all_at(user(of), &nothing, inner, NOW), Answer::Stopped);
    }
    assert_eq!(view.check_session(held, bit(0), NOW), Answer::Stopped);
    assert_eq!(view.session_live(held, NOW), Answer::Stopped);
    view.remove_session(held.id());
    assert_eq!(view.session_live(held, NOW), Answer::Stopped);
}

#[test]
fn being_seen_moves_the_idle_deadline_and_is_taken_once() {
    let view = View::new().unwrap();
    view.put_user(user(1), UserState::Active, 0).unwrap();
    let at = ViewTime::from_secs;
    let lines = |ids: &[u64]| ids.iter().map(|id| SessionId::from_number(*id)).collect::<BTreeSet<_>>();
    for id in 2..200 {
        let line =
            SessionLine { idle_timeout: 10, seen: at(100), deadline: at(130), ..session(id << 50 | 2, 1) };
        view.put_session(&line, None).unwrap();
    }
    let held = handle(&view, 5 << 50 | 2);
    assert_eq!(view.session_live(held, at(109)), Answer::Allow);
    view.touch(held, at(109));
    view.touch(held, at(105));
    assert_eq!(view.session_live(held, at(118)), Answer::Allow);
    assert_eq!(view.session_live(held, at(119)), Answer::Gone);
    view.touch(held, at(119));
    assert_eq!(view.session_live(held, at(119)), Answer::Gone, "the dead are not raised");
    view.touch(held, at(118));
    view.touch(held, at(127));
    assert_eq!(view.session_live(held, at(129)), Answer::Allow);
    assert_eq!(view.session_live(held, at(130)), Answer::Gone);
    assert_eq!(view.take_seen(100), [(held.id(), at(127))]);
    assert_eq!(view.take_seen(100), []);
    view.note_seen(held.id());
    view.touch(handle(&view, 6 << 50 | 2), at(105));
    let mut taken: BTreeSet<_> = view.take_seen(1).into_iter().map(|seen| seen.0).collect();
    assert_eq!(taken.len(), 1);
    taken.extend(view.take_seen(1).into_iter().map(|seen| seen.0));
    assert_eq!(taken, lines(&[5 << 50 | 2, 6 << 50 | 2]));
    // A record that is older than what was seen does not set the line back.
    view.put_session(
        &SessionLine { seen: at(100), deadline: at(140), ..view.session(held.id()).unwrap() },
        None,
    )
    .unwrap();
    assert_eq!(view.session(held.id()).unwrap().seen, at(127));
    assert_eq!(view.session_live(held, at(136)), Answer::Allow);
}

#[test]
fn a_session_and_a_user_cost_what_was_promised() {
    let (view, mut mix) = (View::new().unwrap(), Mix(1));
    for n in 0..100_000 {
        view.put_session(&session(mix.next(), n), None).unwrap();
        view.put_user(user(n), UserState::Active, 0).unwrap();
        view.assign_role(user(n), role(mix.next() as u32 % 100)).unwrap();
    }
    let stats = view.stats();
    assert!(stats.session_bytes < 160 * 100_000, "{stats:?}");
    assert!(stats.user_bytes + stats.set_bytes < 24 * 100_000, "{stats:?}");
}
