//! What a database should hold and answer, kept as plainly as can be: maps, and a walk over them for each question.

use portcullis::{Permission, Portcullis, RoleId, SessionId, Status, Timestamp, UserId};
use std::collections::{BTreeMap, BTreeSet};

/// The limits that sessions have by default, in milliseconds.
const IDLE: u64 = 3_600_000;
pub(crate) const ABSOLUTE: u64 = 86_400_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) login: String,
    pub(crate) status: Status,
    /// Which of the passwords; none is no password. Not to be seen from outside.
    pub(crate) password: Option<usize>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Role {
    pub(crate) name: String,
    pub(crate) grants: BTreeSet<Permission>,
    pub(crate) parents: BTreeSet<RoleId>,
}

#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) user: UserId,
    /// Lost where the login failed after its session was made.
    pub(crate) token: Option<String>,
    pub(crate) created: u64,
    pub(crate) seen: u64,
    /// What a restart without closing goes back to.
    pub(crate) stored_seen: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) now: u64,
    pub(crate) users: BTreeMap<UserId, User>,
    pub(crate) permissions: BTreeMap<Permission, String>,
    pub(crate) roles: BTreeMap<RoleId, Role>,
    pub(crate) assigned: BTreeSet<(UserId, RoleId)>,
    pub(crate) sessions: BTreeMap<SessionId, Session>,
    pub(crate) audit: u64,
}

impl Model {
    fn active(&self, user: UserId) -> bool {
        let now = Timestamp::from_millis(self.now);
        self.users.get(&user).is_some_and(|user| user.status.is_active_at(now))
    }

    pub(crate) fn live(&self, id: SessionId) -> bool {
        self.sessions.get(&id).is_some_and(|session| {
            self.active(session.user)
                && self.now < session.seen + IDLE
                && self.now < session.created + ABSOLUTE
        })
    }

    pub(crate) fn holds(&self, user: UserId, permission: Permission) -> bool {
        let roles = self.assigned.iter().filter(|(holder, _)| *holder == user).map(|(_, role)| *role);
        self.active(user)
            && self.permissions.contains_key(&permission)
            && self.reach(roles.collect()).iter().any(|role| self.roles[role].grants.contains(&permission))
    }

    /// These roles and all that they inherit.
    pub(crate) fn reach(&self, mut open: Vec<RoleId>) -> BTreeSet<RoleId> {
        let mut reached = BTreeSet::new();
        while let Some(role) = open.pop() {
            if reached.insert(role) {
                open.extend(&self.roles[&role].parents);
            }
        }
        reached
    }

    pub(crate) fn user_named(&self, login: &str) -> Option<UserId> {
        self.users.iter().find(|(_, user)| user.login.eq_ignore_ascii_case(login)).map(|(id, _)| *id)
    }

    pub(crate) fn role_named(&self, name: &str) -> Option<RoleId> {
        self.roles.iter().find(|(_, role)| role.name == name).map(|(id, _)| *id)
    }

    pub(crate) fn permission_named(&self, name: &str) -> Option<Permission> {
        self.permissions.iter().find(|(_, known)| *known == name).map(|(permission, _)| *permission)
    }

    pub(crate) fn end_sessions(&mut self, user: UserId, keep: Option<SessionId>) {
        self.sessions.retain(|id, session| session.user != user || Some(*id) == keep);
    }

    pub(crate) fn delete_user(&mut self, user: UserId) {
        self.users.remove(&user);
        self.assigned.retain(|(holder, _)| *holder != user);
        self.end_sessions(user, None);
    }

    pub(crate) fn delete_role(&mut self, role: RoleId) {
        self.roles.remove(&role);
        self.assigned.retain(|(_, held)| *held != role);
        for heir in self.roles.values_mut() {
            heir.parents.remove(&role);
        }
    }

    pub(crate) fn delete_permission(&mut self, permission: Permission) {
        self.permissions.remove(&permission);
        for role in self.roles.values_mut() {
            role.grants.remove(&permission);
        }
    }

    /// What the listings say. Passwords and tokens can not be read back.
    pub(crate) fn observe(gate: &Portcullis, now: u64) -> Self {
        let mut seen = Self { now, audit: gate.audit().head().length, ..Self::default() };
        for user in super::all(|page| gate.users().list(page)) {
            for held in super::all(|page| gate.roles().of_user(user.id, page)) {
                seen.assigned.insert((user.id, held.role));
            }
            for session in super::all(|page| gate.sessions().of_user(user.id, page)) {
                let (created, last) = (session.created.as_millis(), session.last_seen.as_millis());
                let kept = Session { user: user.id, token: None, created, seen: last, stored_seen: last };
                assert!(seen.sessions.insert(session.id, kept).is_none(), "one session twice in a listing");
            }
            let login = user.login;
            seen.users.insert(user.id, User { login, status: user.status, password: None });
        }
        for permission in super::all(|page| gate.permissions().list(page)) {
            seen.permissions.insert(permission.permission, permission.name);
        }
        for role in super::all(|page| gate.roles().list(page)) {
            let grants = gate.roles().granted(role.id).expect("listed").iter().collect();
            let parents = role.parents.into_iter().collect();
            seen.roles.insert(role.id, Role { name: role.name, grants, parents });
        }
        seen
    }

    /// Whether a database that was just opened, as `observe` saw it, is in this state. What it last saw of a session
    /// may be older, by as much as was not written back, so that one can be idle by now.
    pub(crate) fn is_seen_as(&self, observed: &Self) -> Result<(), String> {
        let public = |user: &User| (user.login.clone(), user.status.clone());
        let users =
            |model: &Self| model.users.iter().map(|(id, user)| (*id, public(user))).collect::<Vec<_>>();
        let told = |what: &str, a: &dyn std::fmt::Debug, b: &dyn std::fmt::Debug| {
            Err(format!("{what}: {a:?} are due and {b:?} are there"))
        };
        if users(self) != users(observed) {
            return told("users", &users(self), &users(observed));
        }
        if self.permissions != observed.permissions {
            return told("permissions", &self.permissions, &observed.permissions);
        }
        if self.roles != observed.roles {
            return told("roles", &self.roles, &observed.roles);
        }
        if self.assigned != observed.assigned {
            return told("assignments", &self.assigned, &observed.assigned);
        }
        if self.audit != observed.audit {
            return told("audit records", &self.audit, &observed.audit);
        }
        for (id, session) in &observed.sessions {
            let due = self
                .sessions
                .get(id)
                .filter(|due| (due.user, due.created) == (session.user, session.created));
            if due.is_none_or(|due| session.seen > due.seen) || !self.live(*id) {
                return told("a session", &due, &(id, session));
            }
        }
        for (id, session) in &self.sessions {
            if self.live(*id) && self.now < session.stored_seen + IDLE && !observed.sessions.contains_key(id)
            {
                return told("a session", &(id, session), &"nothing");
            }
        }
        Ok(())
    }
}
