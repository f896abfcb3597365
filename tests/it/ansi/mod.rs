//! The 43 commands of ANSI INCITS 359 in long random sequences, with reopenings, against a model of sets; after each one
//! every review function is compared. `PROPTEST_CASES` sets how many sequences.

mod cases;
mod model;
mod races;

use crate::support::{Disk, PASSWORD, all, log_in, sound, user};
use model::{Failing, Model, Roles, Session, Set, unless};
use portcullis::{
    Client, Credentials, ErrorKind, ObjectOperation, Permission, Portcullis, Result, RoleId, ScopeId,
    SeparationKind, SessionId, UserId,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

/// Objects and operations; every pair is a permission.
const OBJECTS: [&str; 2] = ["invoice", "ledger"];
const OPERATIONS: [&str; 2] = ["read", "pay"];

struct Run {
    disk: Disk,
    gate: Portcullis,
    model: Model,
    permissions: BTreeMap<Permission, (&'static str, &'static str)>,
    /// Also those that were deleted.
    users: Vec<UserId>,
    roles: Vec<RoleId>,
    sessions: Vec<SessionId>,
    tokens: BTreeMap<SessionId, String>,
    made: usize,
}

/// Whether the command did what it must: it was done, or refused with one of the preconditions that do not hold.
#[track_caller]
fn settle<T: Debug>(result: Result<T>, failing: &Failing) -> Option<T> {
    match result {
        Ok(done) => {
            assert!(failing.is_empty(), "done, though {failing:?}");
            Some(done)
        }
        Err(error) => {
            assert!(failing.contains(&error.kind()), "{error:?}, where {failing:?} were due");
            None
        }
    }
}

fn pick<T: Copy>(from: &[T], draw: u8) -> T {
    from[usize::from(draw) % from.len()]
}

impl Run {
    fn new() -> Self {
        let disk = Disk::new();
        let gate = disk.open();
        let mut permissions = BTreeMap::new();
        for object in OBJECTS {
            for operation in OPERATIONS {
                let permission = gate.permissions().define(&format!("{object}:{operation}")).unwrap();
                permissions.insert(permission, (object, operation));
            }
        }
        let mut run = Self {
            disk,
            gate,
            model: Model::default(),
            permissions,
            users: Vec::new(),
            roles: vec![RoleId::from_number(999)],
            sessions: vec![SessionId::from_number(999)],
            tokens: BTreeMap::new(),
            made: 0,
        };
        for _ in 0..2 {
            run.add_user();
            run.add_role();
        }
        run
    }

    fn name(&mut self) -> String {
        self.made += 1;
        format!("n{}", self.made)
    }

    fn add_user(&mut self) {
        let name = self.name();
        let made = user(&self.gate, &name).id;
        self.model.users.insert(made);
        self.users.push(made);
    }

    fn add_role(&mut self) {
        let name = self.name();
        let made = self.gate.roles().create(&name, []).unwrap();
        self.model.roles.insert(made, name);
        self.roles.push(made);
    }

    fn login(&self, user: UserId) -> String {
        self.gate.users().get(user).unwrap().login
    }

    fn note(&mut self, login: &portcullis::Login, selected: Option<Roles>) {
        let session = login.session();
        self.model.sessions.insert(session.id, Session { user: session.user, selected });
        self.tokens.insert(session.id, login.token().as_str().to_owned());
        self.sessions.push(session.id);
    }

    fn step(&mut self, [kind, a, b, c]: [u8; 4]) {
        let (user, role, other) = (pick(&self.users, a), pick(&self.roles, b), pick(&self.roles, c));
        let session = pick(&self.sessions, a);
        let permission = *self.permissions.keys().nth(usize::from(a) % self.permissions.len()).unwrap();
        let gate = self.gate.clone();
        let (roles, sessions) = (gate.roles(), gate.sessions());
        let model = &self.model;
        let has_role = unless(model.roles.contains_key(&role), ErrorKind::NotFound);
        let live = unless(model.sessions.contains_key(&session), ErrorKind::NotFound);
        match kind % 32 {
            0 if self.model.users.len() < 5 => self.add_user(),
            1 => {
                let failing = unless(model.users.contains(&user), ErrorKind::NotFound).into_iter().collect();
                if b % 4 == 0 && settle(gate.users().delete(user), &failing).is_some() {
                    self.model.delete_user(user);
                }
            }
            2 | 3 if self.model.roles.len() < 7 => self.add_role(),
            4 => {
                let done =
                    c % 4 == 0 && settle(roles.delete(role), &has_role.into_iter().collect()).is_some();
                if done {
                    self.model.delete_role(role);
                }
            }
            5..=9 => {
                let (failing, after) = model.assign(user, role);
                if settle(roles.assign(user, role), &failing).is_some() {
                    self.model = after;
                }
            }
            10 => {
                let failing = unless(model.ua.contains(&(user, role)), ErrorKind::NotFound);
                if settle(roles.unassign(user, role), &failing.into_iter().collect()).is_some() {
                    self.model.ua.remove(&(user, role));
                }
            }
            11 | 12 => {
                let done = settle(roles.grant(role, [permission]), &has_role.into_iter().collect());
                if done.is_some() {
                    self.model.pa.insert((permission, role));
                }
            }
            13 => {
                let failing = unless(model.pa.contains(&(permission, role)), ErrorKind::NotFound);
                let result = roles.revoke(role, permission);
                if settle(result, &failing.into_iter().chain(has_role).collect()).is_some() {
                    self.model.pa.remove(&(permission, role));
                }
            }
            14 | 15 if model.users.contains(&user) => {
                let asked: Roles = [role, other].into_iter().take(usize::from(c) % 3).collect();
                let who = Credentials::password(self.login(user), PASSWORD);
                let result = gate.login_with_roles(&who, &Client::new(), asked.iter().copied());
                if let Some(login) = settle(result, &model.select(user, &asked)) {
                    self.note(&login, Some(asked));
                }
            }
            16 if model.users.contains(&user) => {
                let selected = model.selection_at_login(user);
                let login = log_in(&gate, &self.login(user), PASSWORD).unwrap();
                self.note(&login, selected);
            }
            17 => {
                let done = settle(sessions.revoke(session), &live.into_iter().collect());
                if done.is_some() {
                    self.model.sessions.remove(&session);
                }
            }
            18 | 19 => {
                let mut failing: Failing = live.into_iter().collect();
                let mut selected = None;
                if let Some(found) = model.sessions.get(&session) {
                    let active = model.active(found);
                    let more: Roles = active.iter().copied().chain([role]).collect();
                    let fresh = found.selected.is_some() && !active.contains(&role);
                    failing.extend(unless(fresh, ErrorKind::AlreadyExists));
                    failing.extend(model.select(found.user, &more));
                    selected = Some(more);
                }
                if settle(sessions.activate(session, role), &failing).is_some() {
                    self.model.sessions.get_mut(&session).unwrap().selected = selected;
                }
            }
            20 => {
                let active = model.sessions.get(&session).map(|found| model.active(found));
                let failing =
                    unless(active.as_ref().is_some_and(|active| active.contains(&role)), ErrorKind::NotFound);
                if settle(sessions.deactivate(session, role), &failing.into_iter().collect()).is_some() {
                    let selected =
                        active.map(|active| active.into_iter().filter(|one| *one != role).collect());
                    self.model.sessions.get_mut(&session).unwrap().selected = selected;
                }
            }
            21 | 22 => {
                let (failing, after) = model.inherit(role, other);
                if settle(roles.inherit(role, other), &failing).is_some() {
                    self.model = after;
                }
            }
            23 => {
                let failing = unless(model.edges.contains(&(role, other)), ErrorKind::NotFound);
                if settle(roles.disinherit(role, other), &failing.into_iter().collect()).is_some() {
                    self.model.edges.remove(&(role, other));
                }
            }
            24 => self.add_linked(role, c % 2 == 0),
            25 | 26 => self.create_set(a, [role, other, pick(&self.roles, a)]),
            27..=29 => self.change_set(kind, [a, b, c]),
            30 => {
                let several = model
                    .edges
                    .iter()
                    .any(|edge| model.edges.iter().filter(|one| one.0 == edge.0).count() > 1);
                let limit = a % 2 == 0;
                let failing = unless(!(limit && several), ErrorKind::InvalidInput);
                if settle(roles.limit_hierarchy(limit), &failing.into_iter().collect()).is_some() {
                    self.model.limited = limit;
                }
            }
            31 => {
                if a % 2 == 0 {
                    self.gate.close().unwrap();
                }
                drop(gate);
                // The last handle has to go before the directory can be opened again.
                self.gate = Portcullis::in_memory().unwrap();
                self.gate = self.disk.open();
            }
            _ => {}
        }
    }

    /// AddAscendant and AddDescendant.
    fn add_linked(&mut self, role: RoleId, above: bool) {
        let has_role = unless(self.model.roles.contains_key(&role), ErrorKind::NotFound);
        let name = self.name();
        let (result, failing) = match above {
            true => (self.gate.roles().create_ascendant(&name, [], role), has_role),
            false => {
                let room = !self.model.limited || !self.model.edges.iter().any(|edge| edge.0 == role);
                let failing = has_role.or_else(|| unless(room, ErrorKind::LimitExceeded));
                (self.gate.roles().create_descendant(&name, [], role), failing)
            }
        };
        if let Some(made) = settle(result, &failing.into_iter().collect()) {
            self.model.roles.insert(made, name);
            self.model.edges.insert(if above { (made, role) } else { (role, made) });
            self.roles.push(made);
        }
    }

    fn create_set(&mut self, draw: u8, roles: [RoleId; 3]) {
        let kind = if draw.is_multiple_of(2) { SeparationKind::Static } else { SeparationKind::Dynamic };
        let cardinality = usize::from(draw / 2) % 4;
        let name = format!("set{}", draw % 4);
        let roles: Roles = roles.into_iter().take(2 + usize::from(draw / 8) % 2).collect();
        let set = Set { kind, roles: roles.clone(), cardinality };
        let (mut failing, after) = self.model.put_set(&name, set);
        failing.extend(unless(!self.model.sets.contains_key(&name), ErrorKind::AlreadyExists));
        let result = self.gate.separation().create(kind, &name, roles, cardinality as u32);
        if settle(result, &failing).is_some() {
            self.model = after;
        }
    }

    fn change_set(&mut self, kind: u8, [a, b, c]: [u8; 3]) {
        let separation = self.gate.separation();
        let Some((name, set)) = self.model.sets.iter().nth(usize::from(a) % 4) else { return };
        let (name, mut set, role) = (name.clone(), set.clone(), pick(&self.roles, b));
        let id = separation.find(set.kind, &name).unwrap().expect("in the model").id;
        let member = set.roles.contains(&role);
        match kind % 32 {
            27 => {
                set.roles.insert(role);
                let (mut failing, after) = self.model.put_set(&name, set);
                failing.extend(unless(!member, ErrorKind::AlreadyExists));
                if settle(separation.add_role(id, role), &failing).is_some() {
                    self.model = after;
                }
            }
            28 if c.is_multiple_of(2) => {
                set.roles.remove(&role);
                let room = set.roles.len() >= set.cardinality;
                let failing = [unless(member, ErrorKind::NotFound), unless(room, ErrorKind::InvalidInput)];
                let failing = failing.into_iter().flatten().collect();
                if settle(separation.remove_role(id, role), &failing).is_some() {
                    self.model.sets.insert(name, set);
                }
            }
            28 => {
                settle(separation.delete(id), &Vec::new()).unwrap();
                self.model.sets.remove(&name);
            }
            _ => {
                set.cardinality = usize::from(c) % 4;
                let (failing, after) = self.model.put_set(&name, set);
                if settle(separation.set_cardinality(id, u32::from(c) % 4), &failing).is_some() {
                    self.model = after;
                }
            }
        }
    }

    /// The operations on each object, by name.
    fn compare_objects(&self, held: &BTreeSet<Permission>, ask: impl Fn(&str) -> Vec<ObjectOperation>) {
        for object in OBJECTS {
            let of_it = held.iter().map(|one| self.permissions[one]).filter(|(of, _)| *of == object);
            let due: BTreeSet<&str> = of_it.map(|(_, operation)| operation).collect();
            assert!(ask(object).iter().map(|found| found.operation.as_str()).eq(due));
        }
    }

    /// Every review function, for everything there is.
    fn compare(&self) {
        let (gate, model) = (&self.gate, &self.model);
        let (roles, review) = (gate.roles(), gate.review());
        assert!(model.keeps_apart());
        assert_eq!(roles.is_hierarchy_limited().unwrap(), model.limited);
        for user in &model.users {
            let assigned: Vec<RoleId> =
                all(|page| roles.of_user(*user, page)).into_iter().map(|held| held.role).collect();
            assert!(assigned.iter().copied().eq(model.assigned(*user)));
            assert!(review.authorized_roles(*user).unwrap().into_iter().eq(model.authorized(*user)));
            let due = model.permissions(&model.assigned(*user));
            assert!(gate.users().permissions(*user).unwrap().iter().eq(due.iter().copied()));
            self.compare_objects(&due, |object| {
                all(|page| review.user_operations_on(*user, object, ScopeId::ROOT, page))
            });
            for permission in self.permissions.keys() {
                let allowed = gate.check(*user, *permission).unwrap().is_allowed();
                assert_eq!(allowed, due.contains(permission));
            }
        }
        for (role, name) in &model.roles {
            let alone = Roles::from([*role]);
            assert_eq!(roles.find(name).unwrap().unwrap().id, *role);
            let holders: BTreeSet<UserId> =
                all(|page| roles.holders(*role, page)).into_iter().map(|held| held.user).collect();
            assert!(
                holders.into_iter().eq(model
                    .users
                    .iter()
                    .copied()
                    .filter(|u| model.ua.contains(&(*u, *role))))
            );
            let found = all(|page| review.authorized_users(*role, page));
            let users: BTreeSet<UserId> = found.iter().copied().collect();
            assert_eq!(users.len(), found.len(), "each user once");
            let due = model.users.iter().copied().filter(|user| model.authorized(*user).contains(role));
            assert!(users.into_iter().eq(due));
            assert!(roles.effective(*role).unwrap().iter().eq(model.permissions(&alone)));
            self.compare_objects(&model.permissions(&alone), |object| {
                all(|page| review.role_operations_on(*role, object, page))
            });
            let below = model.below(&alone);
            assert!(
                roles.juniors(*role).unwrap().into_iter().eq(below.into_iter().filter(|one| one != role))
            );
            let above =
                model.roles.keys().copied().filter(|one| one != role && model.is_at_least(*one, *role));
            assert!(roles.seniors(*role).unwrap().into_iter().eq(above));
        }
        for (id, session) in &model.sessions {
            let active = model.active(session);
            assert!(
                gate.sessions().roles(*id).unwrap().into_iter().eq(active.iter().copied()),
                "{session:?}"
            );
            let due = model.permissions(&active);
            assert!(gate.sessions().permissions(*id).unwrap().iter().eq(due.iter().copied()));
            let principal = gate.authenticate(&self.tokens[id]).unwrap();
            for permission in self.permissions.keys() {
                assert_eq!(principal.can(*permission), due.contains(permission), "{session:?} {permission}");
                assert_eq!(principal.can_at(*permission, ScopeId::ROOT), due.contains(permission));
                let why = review.explain_session(*id, *permission, ScopeId::ROOT).unwrap();
                assert_eq!(why.decision.is_allowed(), due.contains(permission), "{why}");
            }
        }
        for gone in self.sessions.iter().filter(|id| !model.sessions.contains_key(id)) {
            assert_eq!(gate.sessions().roles(*gone).unwrap_err().kind(), ErrorKind::NotFound);
        }
        for kind in [SeparationKind::Static, SeparationKind::Dynamic] {
            let found = all(|page| gate.separation().list(kind, page));
            let told: Vec<_> =
                found.iter().map(|set| (set.name.as_str(), &*set.roles, set.cardinality)).collect();
            let due: Vec<(&str, Vec<RoleId>, u32)> = model
                .sets
                .iter()
                .filter(|(_, set)| set.kind == kind)
                .map(|(name, set)| {
                    (name.as_str(), set.roles.iter().copied().collect(), set.cardinality as u32)
                })
                .collect();
            assert!(told.into_iter().eq(due.iter().map(|(name, roles, n)| (*name, &**roles, *n))));
        }
    }
}

#[test]
fn long_random_sequences_of_commands_agree_with_the_standard() {
    let config = proptest::test_runner::Config { failure_persistence: None, ..Default::default() };
    let cases = if config.cases == 256 { 16 } else { config.cases };
    let steps = proptest::collection::vec(any::<[u8; 4]>(), 50..250);
    let mut runner =
        proptest::test_runner::TestRunner::new(proptest::test_runner::Config { cases, ..config });
    runner
        .run(&steps, |steps| {
            let mut run = Run::new();
            for step in steps {
                run.step(step);
                run.compare();
            }
            sound(&run.gate);
            Ok(())
        })
        .unwrap();
}
