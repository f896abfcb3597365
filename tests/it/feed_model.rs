//! The feed against naive models: a list of all entries, and a cache above that trusts it.

use crate::support::{PASSWORD, World, is_live, log_in, user, world_with};
use portcullis::{
    AccessChangeKind as Kind, ChangeFeed, ChangePosition, FeedItem, FlagState, FlagTarget, Grant, Permission,
    RoleId, ScopeId, SessionId, Status, ThrottlePolicy, UserId,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

const CAPACITY: usize = 256;

#[derive(Clone, Debug)]
enum Read {
    /// So many commits, each of so many entries.
    Commit(usize, usize),
    Take(usize, usize),
    /// A reader leaves and comes back to where it was some time ago.
    Resume(usize, usize),
    Begin,
}

fn reads() -> impl Strategy<Value = Read> {
    prop_oneof![
        (1..40usize, 1..12usize).prop_map(|(commits, entries)| Read::Commit(commits, entries)),
        (0..4usize, 1..200usize).prop_map(|(reader, items)| Read::Take(reader, items)),
        (0..4usize, 0..600usize).prop_map(|(reader, back)| Read::Resume(reader, back)),
        Just(Read::Begin),
    ]
}

/// A reader, and how many entries of the list it has had.
struct Reader {
    feed: ChangeFeed,
    had: usize,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_reader_reads_the_list(steps in prop::collection::vec(reads(), 1..60)) {
        let world = world_with(|builder| builder.change_feed(CAPACITY));
        let gate = &world.gate;
        let mut readers = vec![Reader { feed: gate.changes().unwrap(), had: 0 }];
        let mut list: Vec<Kind> = Vec::new();
        let mut positions: Vec<ChangePosition> = vec![readers[0].feed.position()];
        for step in steps {
            match step {
                Read::Commit(commits, entries) => {
                    for _ in 0..commits {
                        let mut witness = gate.changes().unwrap();
                        let names: Vec<String> =
                            (0..entries).map(|n| format!("p{}", list.len() + n)).collect();
                        let made = gate.permissions().define_many(names.iter().map(String::as_str)).unwrap();
                        list.extend(made.into_iter().map(|permission| Kind::PermissionChanged { permission }));
                        while witness.try_next().is_some() {
                            positions.push(witness.position());
                        }
                        prop_assert_eq!(positions.len(), list.len() + 1);
                    }
                }
                Read::Begin => readers.push(Reader { feed: gate.changes().unwrap(), had: list.len() }),
                Read::Resume(number, back) => {
                    let number = number % readers.len();
                    let reader = &mut readers[number];
                    reader.had = list.len().saturating_sub(back);
                    reader.feed = gate.changes_after(positions[reader.had]).unwrap();
                }
                Read::Take(number, items) => {
                    let number = number % readers.len();
                    let reader = &mut readers[number];
                    for _ in 0..items {
                        let due = match list.len() - reader.had {
                            0 => None,
                            behind if behind > CAPACITY => Some(None),
                            _ => Some(Some(list[reader.had])),
                        };
                        let found = reader.feed.try_next().map(|item| match item {
                            FeedItem::Change(change) => Some(change.kind),
                            _ => None,
                        });
                        prop_assert_eq!(found, due);
                        reader.had = match due {
                            None => reader.had,
                            Some(None) => list.len(),
                            Some(Some(_)) => reader.had + 1,
                        };
                        prop_assert_eq!(reader.feed.position(), positions[reader.had]);
                    }
                }
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Assign(usize, usize, usize, bool),
    Unassign(usize, usize, usize),
    Allow(usize, usize, usize),
    Withdraw(usize, usize, usize),
    Grant(usize, usize),
    Take(usize, usize),
    Inherit(usize, usize),
    Disinherit(usize, usize),
    DeleteRole(usize),
    Move(usize, usize),
    DeleteScope(usize),
    DeletePermission(usize),
    Lock(usize, bool),
    Unlock(usize),
    DeleteUser(usize),
    Revoke(usize),
    RevokeOthers(usize),
    RevokeAll(usize),
    RevokeEverything,
    Activate(usize, usize),
    Deactivate(usize, usize),
    Password(usize),
    Flag(bool),
    Rule(usize, usize, bool),
    DropRule(usize, usize),
    Maintain,
}

fn steps() -> impl Strategy<Value = Step> {
    let (user, role, scope, permission, session) = (0..3usize, 0..4usize, 0..4usize, 0..4usize, 0..6usize);
    let (u, r, s, p, i) = (user, role, scope, permission, session);
    prop_oneof![
        4 => (u.clone(), r.clone(), s.clone(), any::<bool>()).prop_map(|(u, r, s, d)| Step::Assign(u, r, s, d)),
        2 => (u.clone(), r.clone(), s.clone()).prop_map(|(u, r, s)| Step::Unassign(u, r, s)),
        2 => (u.clone(), p.clone(), s.clone()).prop_map(|(u, p, s)| Step::Allow(u, p, s)),
        1 => (u.clone(), p.clone(), s.clone()).prop_map(|(u, p, s)| Step::Withdraw(u, p, s)),
        2 => (r.clone(), p.clone()).prop_map(|(r, p)| Step::Grant(r, p)),
        1 => (r.clone(), p.clone()).prop_map(|(r, p)| Step::Take(r, p)),
        2 => (r.clone(), r.clone()).prop_map(|(a, b)| Step::Inherit(a, b)),
        1 => (r.clone(), r.clone()).prop_map(|(a, b)| Step::Disinherit(a, b)),
        1 => r.clone().prop_map(Step::DeleteRole),
        1 => (s.clone(), s.clone()).prop_map(|(a, b)| Step::Move(a, b)),
        1 => s.clone().prop_map(Step::DeleteScope),
        1 => p.prop_map(Step::DeletePermission),
        1 => (u.clone(), any::<bool>()).prop_map(|(u, l)| Step::Lock(u, l)),
        2 => u.clone().prop_map(Step::Unlock),
        1 => u.clone().prop_map(Step::DeleteUser),
        1 => i.clone().prop_map(Step::Revoke),
        1 => i.clone().prop_map(Step::RevokeOthers),
        1 => u.clone().prop_map(Step::RevokeAll),
        1 => Just(Step::RevokeEverything),
        1 => (i.clone(), r.clone()).prop_map(|(i, r)| Step::Activate(i, r)),
        2 => (i, r).prop_map(|(i, r)| Step::Deactivate(i, r)),
        1 => u.clone().prop_map(Step::Password),
        1 => any::<bool>().prop_map(Step::Flag),
        1 => (u.clone(), s.clone(), any::<bool>()).prop_map(|(u, s, b)| Step::Rule(u, s, b)),
        1 => (u, s).prop_map(|(u, s)| Step::DropRule(u, s)),
        1 => Just(Step::Maintain),
    ]
}

/// A question whose answer a cache above keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Question {
    Live(usize),
    OfSession(usize, Permission, ScopeId),
    OfUser(UserId, Permission, ScopeId),
    Flag(UserId, ScopeId),
}

struct Scene {
    world: World,
    users: Vec<UserId>,
    roles: Vec<RoleId>,
    scopes: Vec<ScopeId>,
    permissions: Vec<Permission>,
    sessions: Vec<(SessionId, String, UserId)>,
    flag: portcullis::Flag,
}

impl Scene {
    fn new() -> Self {
        let world = world_with(|builder| builder.throttle(ThrottlePolicy::new().danger_off()));
        let gate = &world.gate;
        let names = ["ada", "bob", "eve"];
        let users: Vec<UserId> = names.iter().map(|name| user(gate, name).id).collect();
        let permissions: Vec<Permission> =
            ["a", "b", "c", "d"].iter().map(|name| gate.permissions().define(name).unwrap()).collect();
        let roles =
            (0..4).map(|n| gate.roles().create(&format!("r{n}"), [permissions[n]]).unwrap()).collect();
        gate.scopes().ensure("x/y").unwrap();
        gate.scopes().ensure("z").unwrap();
        let mut scopes = vec![ScopeId::ROOT];
        scopes.extend(["x", "x/y", "z"].iter().map(|path| gate.scopes().find(path).unwrap().unwrap()));
        let sessions = (0..6)
            .map(|n| {
                let login = log_in(gate, names[n % 3], PASSWORD).unwrap();
                (login.session().id, login.token().as_str().to_owned(), users[n % 3])
            })
            .collect();
        let flag = gate.flags().define("flag").unwrap();
        Self { users, roles, scopes, permissions, sessions, flag, world }
    }

    /// Does it, or is refused.
    fn act(&self, step: &Step) {
        let gate = &self.world.gate;
        let (users, roles, scopes, permissions) = (&self.users, &self.roles, &self.scopes, &self.permissions);
        let terms = |scope: usize| Grant::new().at(scopes[scope]);
        match *step {
            Step::Assign(u, r, s, denies) => {
                let terms = if denies { terms(s).denying() } else { terms(s) };
                let _ = gate.roles().assign_with(users[u], roles[r], &terms);
            }
            Step::Unassign(u, r, s) => drop(gate.roles().unassign_at(users[u], roles[r], scopes[s])),
            Step::Allow(u, p, s) => drop(gate.access().grant(users[u], permissions[p], &terms(s))),
            Step::Withdraw(u, p, s) => drop(gate.access().withdraw(users[u], permissions[p], scopes[s])),
            Step::Grant(r, p) => drop(gate.roles().grant(roles[r], [permissions[p]])),
            Step::Take(r, p) => drop(gate.roles().withdraw(roles[r], [permissions[p]])),
            Step::Inherit(a, b) => drop(gate.roles().inherit(roles[a], roles[b])),
            Step::Disinherit(a, b) => drop(gate.roles().disinherit(roles[a], roles[b])),
            Step::DeleteRole(r) => drop(gate.roles().delete(roles[r])),
            Step::Move(a, b) => drop(gate.scopes().move_to(scopes[a], scopes[b])),
            Step::DeleteScope(s) => drop(gate.scopes().delete(scopes[s])),
            Step::DeletePermission(p) => drop(gate.permissions().delete(permissions[p])),
            Step::Lock(u, locked) => {
                let status = if locked { Status::locked("x") } else { Status::disabled("x") };
                let _ = gate.users().set_status(users[u], status);
            }
            Step::Unlock(u) => drop(gate.users().set_status(users[u], Status::active())),
            Step::DeleteUser(u) => drop(gate.users().delete(users[u])),
            Step::Revoke(i) => drop(gate.sessions().revoke(self.sessions[i].0)),
            Step::RevokeOthers(i) => drop(gate.sessions().revoke_others(self.sessions[i].0)),
            Step::RevokeAll(u) => drop(gate.sessions().revoke_all(users[u])),
            Step::RevokeEverything => gate.sessions().revoke_everything().unwrap(),
            Step::Activate(i, r) => drop(gate.sessions().activate(self.sessions[i].0, roles[r])),
            Step::Deactivate(i, r) => drop(gate.sessions().deactivate(self.sessions[i].0, roles[r])),
            Step::Password(u) => drop(gate.users().set_password(users[u], "some other long password")),
            Step::Flag(on) => {
                let state = if on { FlagState::On } else { FlagState::Off };
                let _ = gate.flags().set(self.flag, state);
            }
            Step::Rule(u, s, off) => {
                let terms = if off { terms(s).denying() } else { terms(s) };
                let _ = gate.flags().set_rule(self.flag, FlagTarget::User(users[u]), &terms);
            }
            Step::DropRule(u, s) => {
                drop(gate.flags().remove_rule(self.flag, FlagTarget::User(users[u]), scopes[s]));
            }
            Step::Maintain => while gate.maintain(5).unwrap().more {},
        }
    }

    fn questions(&self) -> Vec<Question> {
        let mut found: Vec<Question> = (0..self.sessions.len()).map(Question::Live).collect();
        for scope in &self.scopes {
            found.extend(self.users.iter().map(|user| Question::Flag(*user, *scope)));
            for permission in &self.permissions {
                found.extend(self.users.iter().map(|user| Question::OfUser(*user, *permission, *scope)));
                found.extend((0..self.sessions.len()).map(|i| Question::OfSession(i, *permission, *scope)));
            }
        }
        found
    }

    fn answer(&self, question: Question) -> bool {
        let gate = &self.world.gate;
        match question {
            Question::Live(i) => {
                let live = gate.sessions().live_until(self.sessions[i].0).unwrap().is_some();
                assert_eq!(is_live(gate, &self.sessions[i].1), live);
                live
            }
            Question::OfSession(i, permission, scope) => {
                gate.authenticate(&self.sessions[i].1).is_ok_and(|who| who.can_at(permission, scope))
            }
            Question::OfUser(user, permission, scope) => {
                gate.check_at(user, permission, scope).unwrap().is_allowed()
            }
            Question::Flag(user, scope) => gate.is_enabled_at(self.flag, user, scope).unwrap(),
        }
    }

    /// Whether an entry says that the answer to a question may be another one now.
    fn concerns(&self, kind: Kind, question: Question) -> bool {
        let (user, session) = match question {
            Question::Live(i) | Question::OfSession(i, ..) => (self.sessions[i].2, Some(self.sessions[i].0)),
            Question::OfUser(user, ..) | Question::Flag(user, _) => (user, None),
        };
        let asks_rights = matches!(question, Question::OfSession(..) | Question::OfUser(..));
        match kind {
            Kind::SessionEnded { session: ended, .. } | Kind::SessionChanged { session: ended, .. } => {
                session == Some(ended)
            }
            Kind::SessionsOfUserEnded { user: of } => session.is_some() && user == of,
            Kind::EverySessionEnded => session.is_some(),
            Kind::UserRefused { user: of, .. }
            | Kind::UserAdmitted { user: of }
            | Kind::UserDeleted { user: of } => user == of,
            Kind::RightsOfUser { user: of, .. } => user == of && !matches!(question, Question::Live(_)),
            Kind::RoleChanged { .. } | Kind::ScopeChanged { .. } => !matches!(question, Question::Live(_)),
            Kind::PermissionChanged { permission: changed } => match question {
                Question::OfUser(_, permission, _) | Question::OfSession(_, permission, _) => {
                    permission == changed
                }
                _ => false,
            },
            Kind::FlagChanged { .. } => !asks_rights && session.is_none(),
            _ => true,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Completeness: a cache that drops only what entries name, and that reads them before each answer, is always right.
    #[test]
    fn a_cache_above_is_always_right(steps in prop::collection::vec(steps(), 1..60)) {
        let scene = Scene::new();
        let mut feed = scene.world.gate.changes().unwrap();
        let questions = scene.questions();
        let mut cache: BTreeMap<Question, bool> =
            questions.iter().map(|question| (*question, scene.answer(*question))).collect();
        for step in &steps {
            scene.act(step);
            while let Some(item) = feed.try_next() {
                let FeedItem::Change(change) = item else { panic!("{item:?}") };
                cache.retain(|question, _| !scene.concerns(change.kind, *question));
            }
            for question in &questions {
                let due = scene.answer(*question);
                let kept = *cache.entry(*question).or_insert(due);
                prop_assert_eq!(kept, due, "{:?} after {:?}", question, step);
            }
        }
    }
}
