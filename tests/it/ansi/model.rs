//! ANSI INCITS 359 as it is written: sets, and a walk over them for each question.

use portcullis::{ErrorKind, Permission, RoleId, SeparationKind, SessionId, UserId};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) type Roles = BTreeSet<RoleId>;

#[derive(Clone, Debug)]
pub(crate) struct Set {
    pub(crate) kind: SeparationKind,
    pub(crate) roles: Roles,
    pub(crate) cardinality: usize,
}

impl Set {
    fn broken_by(&self, roles: &Roles) -> bool {
        self.roles.intersection(roles).count() >= self.cardinality
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) user: UserId,
    /// None: all roles that the user is assigned.
    pub(crate) selected: Option<Roles>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) users: BTreeSet<UserId>,
    pub(crate) roles: BTreeMap<RoleId, String>,
    pub(crate) ua: BTreeSet<(UserId, RoleId)>,
    pub(crate) pa: BTreeSet<(Permission, RoleId)>,
    /// Immediate inheritance: senior, junior.
    pub(crate) edges: BTreeSet<(RoleId, RoleId)>,
    pub(crate) limited: bool,
    pub(crate) sessions: BTreeMap<SessionId, Session>,
    pub(crate) sets: BTreeMap<String, Set>,
}

/// The preconditions that do not hold; a command is refused with one of them, or done if there is none.
pub(crate) type Failing = Vec<ErrorKind>;

pub(crate) fn unless(holds: bool, kind: ErrorKind) -> Option<ErrorKind> {
    (!holds).then_some(kind)
}

impl Model {
    /// Reflexive and transitive: the roles and all that they inherit from, over these edges.
    fn below_over(edges: &BTreeSet<(RoleId, RoleId)>, roles: &Roles) -> Roles {
        let mut found = roles.clone();
        loop {
            let more: Roles =
                edges.iter().filter(|edge| found.contains(&edge.0)).map(|edge| edge.1).collect();
            if more.is_subset(&found) {
                return found;
            }
            found.extend(more);
        }
    }

    pub(crate) fn below(&self, roles: &Roles) -> Roles {
        Self::below_over(&self.edges, roles)
    }

    pub(crate) fn is_at_least(&self, senior: RoleId, junior: RoleId) -> bool {
        self.below(&Roles::from([senior])).contains(&junior)
    }

    pub(crate) fn assigned(&self, user: UserId) -> Roles {
        self.ua.iter().filter(|(holder, _)| *holder == user).map(|(_, role)| *role).collect()
    }

    pub(crate) fn authorized(&self, user: UserId) -> Roles {
        self.below(&self.assigned(user))
    }

    /// The roles of the session's active set; those below them are active with them.
    pub(crate) fn active(&self, session: &Session) -> Roles {
        match &session.selected {
            None => self.assigned(session.user),
            Some(selected) => selected.intersection(&self.authorized(session.user)).copied().collect(),
        }
    }

    pub(crate) fn permissions(&self, roles: &Roles) -> BTreeSet<Permission> {
        let all = self.below(roles);
        self.pa.iter().filter(|(_, role)| all.contains(role)).map(|(permission, _)| *permission).collect()
    }

    fn sets_of(&self, kind: SeparationKind) -> impl Iterator<Item = &Set> {
        self.sets.values().filter(move |set| set.kind == kind)
    }

    /// Whether everybody, and every live session, keeps all sets.
    pub(crate) fn keeps_apart(&self) -> bool {
        let users = self.users.iter().all(|user| {
            self.sets_of(SeparationKind::Static).all(|set| !set.broken_by(&self.authorized(*user)))
        });
        users
            && self.sessions.values().all(|session| {
                let active = self.below(&self.active(session));
                self.sets_of(SeparationKind::Dynamic).all(|set| !set.broken_by(&active))
            })
    }

    pub(crate) fn assign(&self, user: UserId, role: RoleId) -> (Failing, Self) {
        let mut after = self.clone();
        after.ua.insert((user, role));
        let (before, now) = (self.authorized(user), after.authorized(user));
        let gained = self.below(&Roles::from([role]));
        // Sessions of all roles keep those that they had where the new one may not be active with them; one that was
        // selected and lost does not come back where it may not.
        let concerned: Vec<&Set> =
            self.sets_of(SeparationKind::Dynamic).filter(|set| !set.roles.is_disjoint(&gained)).collect();
        for session in after.sessions.values_mut().filter(|session| session.user == user) {
            let active = match &session.selected {
                None => now.clone(),
                Some(selected) => self.below(&selected.intersection(&now).copied().collect()),
            };
            if concerned.iter().any(|set| set.broken_by(&active)) {
                session.selected = Some(match &session.selected {
                    None => self.assigned(user),
                    Some(selected) => selected.intersection(&before).copied().collect(),
                });
            }
        }
        let failing = [
            unless(self.users.contains(&user), ErrorKind::NotFound),
            unless(self.roles.contains_key(&role), ErrorKind::NotFound),
            unless(!self.ua.contains(&(user, role)), ErrorKind::AlreadyExists),
            unless(
                self.sets_of(SeparationKind::Static).all(|set| !set.broken_by(&now)),
                ErrorKind::SeparationOfDuty,
            ),
        ];
        (failing.into_iter().flatten().collect(), after)
    }

    pub(crate) fn inherit(&self, senior: RoleId, junior: RoleId) -> (Failing, Self) {
        let mut after = self.clone();
        after.edges.insert((senior, junior));
        let failing = [
            unless(self.roles.contains_key(&senior), ErrorKind::NotFound),
            unless(self.roles.contains_key(&junior), ErrorKind::NotFound),
            unless(!self.edges.contains(&(senior, junior)), ErrorKind::AlreadyExists),
            unless(!self.is_at_least(junior, senior), ErrorKind::Cycle),
            unless(
                !self.limited || !self.edges.iter().any(|edge| edge.0 == senior),
                ErrorKind::LimitExceeded,
            ),
            unless(after.keeps_apart(), ErrorKind::SeparationOfDuty),
        ];
        (failing.into_iter().flatten().collect(), after)
    }

    /// A set as it would be.
    pub(crate) fn put_set(&self, name: &str, set: Set) -> (Failing, Self) {
        let mut after = self.clone();
        let failing = [
            unless(set.roles.iter().all(|role| self.roles.contains_key(role)), ErrorKind::NotFound),
            unless(set.cardinality >= 2 && set.cardinality <= set.roles.len(), ErrorKind::InvalidInput),
        ];
        after.sets.insert(name.to_owned(), set);
        let broken = unless(after.keeps_apart(), ErrorKind::SeparationOfDuty);
        (failing.into_iter().flatten().chain(broken).collect(), after)
    }

    /// The roles that a new session of all roles has: those of dynamic sets that would be broken are left out.
    pub(crate) fn selection_at_login(&self, user: UserId) -> Option<Roles> {
        let active = self.authorized(user);
        let over: Vec<&Set> =
            self.sets_of(SeparationKind::Dynamic).filter(|set| set.broken_by(&active)).collect();
        if over.is_empty() {
            return None;
        }
        let left = self.assigned(user).into_iter().filter(|role| {
            let below = self.below(&Roles::from([*role]));
            over.iter().all(|set| set.roles.is_disjoint(&below))
        });
        Some(left.collect())
    }

    pub(crate) fn select(&self, user: UserId, roles: &Roles) -> Failing {
        let active = self.below(roles);
        let failing = [
            unless(roles.is_subset(&self.authorized(user)), ErrorKind::NotFound),
            unless(
                self.sets_of(SeparationKind::Dynamic).all(|set| !set.broken_by(&active)),
                ErrorKind::SeparationOfDuty,
            ),
        ];
        failing.into_iter().flatten().collect()
    }

    pub(crate) fn delete_role(&mut self, role: RoleId) {
        self.roles.remove(&role);
        self.ua.retain(|(_, held)| *held != role);
        self.pa.retain(|(_, of)| *of != role);
        self.edges.retain(|edge| edge.0 != role && edge.1 != role);
        for set in self.sets.values_mut() {
            set.roles.remove(&role);
        }
        self.sets.retain(|_, set| set.roles.len() >= set.cardinality);
    }

    pub(crate) fn delete_user(&mut self, user: UserId) {
        self.users.remove(&user);
        self.ua.retain(|(holder, _)| *holder != user);
        self.sessions.retain(|_, session| session.user != user);
    }
}
