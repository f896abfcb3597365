//! The other half of the operations: roles, permissions, sessions, restarts, and the comparing.

use super::{
    Client, Credentials, Done, ErrorKind, LOGINS, Model, NAMES, Nothing, PASSWORDS, Refused, Role, Run,
    Session,
};
use super::{all, open};
use portcullis::{Clock, Denial, StatusKind};

impl Run<'_> {
    pub(super) fn change_policy(&mut self, code: u8, a: u8, b: u8) {
        let (role, other, permission) = (self.role(a), self.role(b), self.permission(b));
        let name = NAMES[usize::from(a) % NAMES.len()];
        let missing = Refused(ErrorKind::NotFound);
        let known = self.model.roles.get(&role).cloned();
        match code {
            6 => {
                let due = if self.model.permission_named(name).is_some() { Nothing } else { Done };
                let result = self.gate().permissions().define(name);
                if let (Ok(permission), Done) = (&result, &due) {
                    assert!(
                        self.newest.2.replace(*permission) < Some(*permission),
                        "{permission} is not new"
                    );
                }
                self.settle(result, &due, |model, made, observed| {
                    let Some(made) = made.or_else(|| observed.permission_named(name)) else { return };
                    model.permissions.insert(made, name.to_owned());
                });
            }
            7 if b < 100 => {
                let permission = self.permission(a);
                let due = if self.model.permissions.contains_key(&permission) { Done } else { missing };
                let result = self.gate().permissions().delete(permission);
                self.settle(result, &due, |model, _, _| model.delete_permission(permission));
            }
            8 => {
                let due = match self.model.role_named(name) {
                    _ if !self.model.permissions.contains_key(&permission) => missing,
                    Some(_) => Refused(ErrorKind::AlreadyExists),
                    None => Done,
                };
                let result = self.gate().roles().create(name, [permission]);
                if let Ok(role) = result {
                    assert!(self.newest.1.replace(role) < Some(role), "{role} is not new");
                }
                self.settle(result, &due, |model, made, observed| {
                    let Some(made) = made.or_else(|| observed.role_named(name)) else { return };
                    let grants = [permission].into();
                    model.roles.insert(made, Role { name: name.to_owned(), grants, ..Role::default() });
                });
            }
            9 => {
                let due = match &known {
                    Some(_) if !self.model.permissions.contains_key(&permission) => missing,
                    Some(known) if known.grants.contains(&permission) => Nothing,
                    Some(_) => Done,
                    None => missing,
                };
                let result = self.gate().roles().grant(role, [permission]);
                self.settle(result, &due, |model, _, _| {
                    model.roles.get_mut(&role).expect("there").grants.insert(permission);
                });
            }
            10 => {
                let due = match &known {
                    Some(known) if known.grants.contains(&permission) => Done,
                    Some(_) => Nothing,
                    None => missing,
                };
                let result = self.gate().roles().withdraw(role, [permission]);
                self.settle(result, &due, |model, _, _| {
                    model.roles.get_mut(&role).expect("there").grants.remove(&permission);
                });
            }
            11 => {
                let due = match &known {
                    Some(known) if known.parents.contains(&other) => Refused(ErrorKind::AlreadyExists),
                    Some(_) if !self.model.roles.contains_key(&other) => missing,
                    Some(_) if self.model.reach(vec![other]).contains(&role) => Refused(ErrorKind::Cycle),
                    Some(_) => Done,
                    None => missing,
                };
                let result = self.gate().roles().inherit(role, other);
                self.settle(result, &due, |model, _, _| {
                    model.roles.get_mut(&role).expect("there").parents.insert(other);
                });
            }
            12 => {
                // The first edge there is, or one that is not.
                let first = known.as_ref().and_then(|known| known.parents.first().copied());
                let parent = first.unwrap_or(other);
                let due = if first.is_some() { Done } else { missing };
                let result = self.gate().roles().disinherit(role, parent);
                self.settle(result, &due, |model, _, _| {
                    model.roles.get_mut(&role).expect("there").parents.remove(&parent);
                });
            }
            13 if b < 100 => {
                let due = if known.is_some() { Done } else { missing };
                let result = self.gate().roles().delete(role);
                self.settle(result, &due, |model, _, _| model.delete_role(role));
            }
            _ => {}
        }
    }

    pub(super) fn assign(&mut self, a: u8, b: u8, c: u8) {
        let pair = (self.user(a), self.role(b));
        let held = self.model.assigned.contains(&pair);
        if c < 170 {
            let known = self.model.users.contains_key(&pair.0) && self.model.roles.contains_key(&pair.1);
            let due = match (known, held) {
                (false, _) => Refused(ErrorKind::NotFound),
                (_, true) => Refused(ErrorKind::AlreadyExists),
                _ => Done,
            };
            let result = self.gate().roles().assign(pair.0, pair.1);
            self.settle(result, &due, |model, _, _| {
                model.assigned.insert(pair);
            });
        } else {
            let due = if held { Done } else { Refused(ErrorKind::NotFound) };
            let result = self.gate().roles().unassign(pair.0, pair.1);
            self.settle(result, &due, |model, _, _| {
                model.assigned.remove(&pair);
            });
        }
    }

    pub(super) fn login(&mut self, a: u8, b: u8) {
        let (login, password) = (LOGINS[usize::from(a) % LOGINS.len()], usize::from(b) % 2);
        let now = self.clock.now();
        let user = self.model.user_named(login).filter(|id| {
            let user = &self.model.users[id];
            user.password == Some(password) && user.status.is_active_at(now)
        });
        let result = self.gate().login(&Credentials::password(login, PASSWORDS[password]), &Client::new());
        let Some(user) = user else {
            // Refused and recorded: one more record and nothing else.
            let error = result.expect_err("this login is due to be refused");
            let refused = if error.is_denied() {
                assert_eq!(error.denial(), Some(Denial::Credentials));
                Ok(())
            } else {
                Err(error)
            };
            return self.settle(refused, &Done, |_, _, _| {});
        };
        let millis = now.as_millis();
        self.settle(result, &Done, |model, made, observed| {
            let lost = || observed.sessions.keys().copied().find(|id| !model.sessions.contains_key(id));
            let Some(id) = made.as_ref().map(|made| made.session().id).or_else(lost) else { return };
            let token = made.map(|made| made.token().as_str().to_owned());
            let session = Session { user, token, created: millis, seen: millis, stored_seen: millis };
            assert!(model.sessions.insert(id, session).is_none());
        });
    }

    /// Presents a token; being live, the session is seen.
    pub(super) fn authenticate(&mut self, a: u8) {
        let id = self.session(a);
        let live = self.model.live(id);
        let Some(token) = self.model.sessions.get(&id).and_then(|session| session.token.clone()) else {
            return;
        };
        let result = self.gate().authenticate(&token).map(|who| (who.session(), who.user()));
        match result {
            Ok(who) => {
                let session = self.model.sessions.get_mut(&id).expect("there");
                assert!(live && who == (id, session.user));
                session.seen = self.model.now;
            }
            Err(error) if error.is_denied() => assert!(!live, "a live session was refused"),
            Err(error) => self.recover(&error, |_, _| {}),
        }
    }

    pub(super) fn revoke(&mut self, a: u8, b: u8) {
        let (id, user) = (self.session(a), self.user(a));
        let due = if self.model.live(id) { Done } else { Refused(ErrorKind::NotFound) };
        match b % 3 {
            0 => {
                let result = self.gate().sessions().revoke(id);
                self.settle(result, &due, |model, _, _| {
                    model.sessions.remove(&id);
                });
            }
            1 => {
                let result = self.gate().sessions().revoke_others(id);
                self.settle(result, &due, |model, _, _| {
                    model.end_sessions(model.sessions[&id].user, Some(id));
                });
            }
            _ => {
                let due = self.due_user(user);
                let result = self.gate().sessions().revoke_all(user);
                self.settle(result, &due, |model, _, _| model.end_sessions(user, None));
            }
        }
    }

    pub(super) fn maintain(&mut self) {
        let result = self.gate().maintain(1000);
        let expired = |model: &mut Model| {
            let end = model.now;
            model.sessions.retain(|_, session| end < session.created + super::model::ABSOLUTE);
        };
        match result {
            Ok(done) => {
                assert!(!done.more, "{done:?}");
                let records = done.expired_sessions.div_ceil(32) + done.idle_sessions.div_ceil(32);
                self.model.audit += records as u64;
                expired(&mut self.model);
                for session in self.model.sessions.values_mut() {
                    session.stored_seen = session.seen;
                }
            }
            // However far it came, only dead sessions may be gone, and their records there.
            Err(error) => self.recover(&error, |model, observed| {
                expired(model);
                let records = observed.audit - model.audit;
                assert!(records <= 2, "{records} records of a housekeeping that failed");
                model.audit = observed.audit;
            }),
        }
    }

    pub(super) fn reopen(&mut self, close: bool) {
        let gate = self.gate.take().expect("open");
        let wrote = close && gate.close().is_ok();
        drop(gate);
        for session in self.model.sessions.values_mut().filter(|_| wrote) {
            session.stored_seen = session.seen;
        }
        self.gate = Some(open(&self.builder, self.path));
        let observed = Model::observe(&self.gate(), self.model.now);
        if let Err(lost) = self.model.is_seen_as(&observed) {
            panic!("after a restart: {lost}");
        }
        self.model.sessions.retain(|id, session| {
            observed.sessions.get(id).is_some_and(|found| {
                assert!(!wrote || found.seen == session.seen, "closing writes last-seen times back");
                (session.seen, session.stored_seen) = (found.seen, found.seen);
                true
            })
        });
    }

    /// One user, one permission and one session, picked by the operation that was just run.
    pub(super) fn sample(&mut self, [_, a, b, c]: [u8; 4]) {
        let (user, permission, session) = (self.user(b), self.permission(c), self.session(a));
        let gate = self.gate();
        let asked = gate.check(user, permission).map(|decision| (decision, gate.sessions().get(session)));
        match asked {
            Ok((_, Err(error))) | Err(error) if error.is_storage() => {
                drop(gate);
                self.recover(&error, |_, _| {});
            }
            Ok((decision, found)) => {
                assert_eq!(decision.is_allowed(), self.model.holds(user, permission), "{user} {permission}");
                assert_eq!(found.is_ok(), self.model.live(session), "{session}: {found:?}");
            }
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Everything against everything.
    pub(super) fn compare_all(&mut self) {
        let first = self.gate().verify();
        if let Err(error) = first {
            self.recover(&error, |_, _| {});
        }
        let gate = self.gate();
        let found = gate.verify().expect("verify");
        assert!(found.is_sound(), "{:?}", found.problems);
        let observed = Model::observe(&gate, self.model.now);
        if let Err(wrong) = self.model.is_seen_as(&observed) {
            panic!("at the end: {wrong}");
        }
        let live = self.model.sessions.keys().filter(|id| self.model.live(**id)).count();
        assert_eq!(all(|page| gate.sessions().by_expiry(page)).len(), live);
        for (id, user) in &self.model.users {
            assert_eq!(
                gate.users().find(user.login.as_str()).expect("a name").map(|user| user.id),
                Some(*id)
            );
            for permission in self.model.permissions.keys() {
                let allowed = gate.check(*id, *permission).expect("a decision").is_allowed();
                assert_eq!(allowed, self.model.holds(*id, *permission), "{id} {permission}");
            }
        }
        for kind in StatusKind::ALL {
            let due = self.model.users.iter().filter(|(_, user)| user.status.kind == kind).map(|(id, _)| *id);
            assert!(all(|page| gate.users().by_status(kind, page)).iter().map(|user| user.id).eq(due));
        }
        for (id, session) in &self.model.sessions {
            let Some(token) = &session.token else { continue };
            let found = gate.authenticate(token);
            assert_eq!(found.is_ok(), self.model.live(*id), "{id}");
            let Ok(who) = found else { continue };
            for permission in self.model.permissions.keys() {
                assert_eq!(who.can(*permission), self.model.holds(session.user, *permission));
            }
        }
    }
}
