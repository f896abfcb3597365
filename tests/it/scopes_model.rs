//! Random scopes, roles, denials and times against a naive model that walks everything for each question.

use crate::support::{Disk, all, juniors, levels, sound};
use portcullis::{
    Clock, Grant, PageRequest, Permission, Portcullis, RoleId, ScopeId, Timestamp, UserId, WhatIf,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const PERMISSIONS: usize = 3;
const ROLES: usize = 4;
const USERS: usize = 3;

#[derive(Clone, Copy, Debug)]
struct Terms {
    denies: bool,
    from: Option<u64>,
    until: Option<u64>,
}

#[derive(Default)]
struct Model {
    /// Scope to parent.
    scopes: BTreeMap<u32, u32>,
    gives: BTreeSet<(usize, usize)>,
    denies: BTreeSet<(usize, usize)>,
    edges: BTreeSet<(usize, usize)>,
    roles: BTreeMap<(usize, usize, u32), Terms>,
    direct: BTreeMap<(usize, usize, u32), Terms>,
}

impl Model {
    fn juniors(&self, role: usize) -> BTreeSet<usize> {
        juniors(&self.edges, role)
    }

    fn levels(&self, scope: u32) -> Option<Vec<u32>> {
        levels(&self.scopes, scope)
    }

    fn may(&self, user: usize, permission: usize, scope: u32, now: u64) -> bool {
        let Some(levels) = self.levels(scope) else { return false };
        let live = |terms: &Terms| {
            terms.from.is_none_or(|from| from <= now) && terms.until.is_none_or(|until| now < until)
        };
        let (mut given, mut denied) = (false, false);
        for ((who, role, at), terms) in &self.roles {
            if *who != user || !levels.contains(at) || !live(terms) {
                continue;
            }
            for junior in self.juniors(*role) {
                let gives = self.gives.contains(&(junior, permission));
                given |= gives && !terms.denies;
                denied |= gives && terms.denies || self.denies.contains(&(junior, permission));
            }
        }
        for ((who, what, at), terms) in &self.direct {
            if *who == user && *what == permission && levels.contains(at) && live(terms) {
                given |= !terms.denies;
                denied |= terms.denies;
            }
        }
        given && !denied
    }

    fn drop_scope(&mut self, scope: u32) {
        let inside: Vec<u32> = self
            .scopes
            .keys()
            .copied()
            .filter(|at| self.levels(*at).is_none_or(|levels| levels.contains(&scope)))
            .collect();
        for at in inside {
            self.scopes.remove(&at);
            self.roles.retain(|(_, _, held), _| *held != at);
            self.direct.retain(|(_, _, held), _| *held != at);
        }
    }
}

struct Real {
    permissions: Vec<Permission>,
    roles: Vec<RoleId>,
    users: Vec<UserId>,
}

fn terms(draw: u8, now: u64) -> (Terms, Grant) {
    let terms = Terms {
        denies: draw & 3 == 0,
        from: (draw & 4 != 0).then(|| now + u64::from(draw >> 6)),
        until: (draw & 8 != 0).then(|| now + 4 + u64::from(draw >> 5)),
    };
    let second = |secs: u64| Timestamp::from_millis(secs * 1000);
    let mut grant = Grant::new();
    if terms.denies {
        grant = grant.denying();
    }
    if let Some(from) = terms.from {
        grant = grant.not_before(second(from));
    }
    if let Some(until) = terms.until {
        grant = grant.until(second(until));
    }
    (terms, grant)
}

fn ended(terms: Option<&Terms>, now: u64) -> bool {
    terms.is_none_or(|terms| terms.until.is_some_and(|until| until <= now))
}

fn agree(gate: &Portcullis, model: &Model, real: &Real, scopes: &[u32], now: u64, tokens: &[String]) {
    for (u, token) in (0..USERS).zip(tokens) {
        let principal = gate.authenticate(token).unwrap();
        for scope in scopes.iter().copied().chain([0]) {
            let held = (0..PERMISSIONS).filter(|p| model.may(u, *p, scope, now)).map(|p| real.permissions[p]);
            let (held, at) = (held.collect(), ScopeId::from_number(scope));
            let there = model.levels(scope).is_some();
            assert_eq!(principal.can_all_at(&held, at), there);
            assert_eq!(gate.check_all_at(real.users[u], &held, at).unwrap().is_allowed(), there);
            let all = real.permissions.iter().copied().collect();
            assert_eq!(principal.can_all_at(&all, at), there && held == all);
        }
        for p in 0..PERMISSIONS {
            for scope in scopes.iter().copied().chain([0]) {
                let due = model.may(u, p, scope, now);
                let at = ScopeId::from_number(scope);
                let (user, permission) = (real.users[u], real.permissions[p]);
                let context = format!("user {u}, permission {p}, scope {scope}, at {now}");
                assert_eq!(gate.check_at(user, permission, at).unwrap().is_allowed(), due, "{context}");
                assert_eq!(principal.can_at(permission, at), due, "{context}, by session");
                if scope == 0 {
                    assert_eq!(gate.check(user, permission).unwrap().is_allowed(), due, "{context}");
                    assert_eq!(principal.can(permission), due, "{context}, by session");
                }
            }
        }
    }
}

fn run(steps: &[[u8; 4]]) {
    let disk = Disk::new();
    let mut gate = disk.open();
    let real = Real {
        permissions: (0..PERMISSIONS).map(|n| gate.permissions().define(&format!("p{n}")).unwrap()).collect(),
        roles: (0..ROLES).map(|n| gate.roles().create(&format!("r{n}"), []).unwrap()).collect(),
        users: (0..USERS).map(|n| crate::support::user(&gate, &format!("u{n}")).id).collect(),
    };
    let logins: Vec<_> = (0..USERS)
        .map(|n| crate::support::log_in(&gate, &format!("u{n}"), crate::support::PASSWORD).unwrap())
        .collect();
    let tokens: Vec<String> = logins.iter().map(|login| login.token().as_str().to_owned()).collect();
    let (mut model, mut scopes) = (Model::default(), Vec::<u32>::new());
    for (nth, [kind, a, b, c]) in steps.iter().enumerate() {
        let now = disk.clock.now().as_secs();
        let pick = |draw: u8| match scopes.len() {
            0 => 0,
            len => *scopes.iter().chain([&0]).nth(usize::from(draw) % (len + 1)).unwrap(),
        };
        let (u, r, p) = (usize::from(*a) % USERS, usize::from(*b) % ROLES, usize::from(*b) % PERMISSIONS);
        let (user, role, permission) = (real.users[u], real.roles[r], real.permissions[p]);
        let roles = gate.roles();
        match kind % 12 {
            0 | 1 => {
                let parent = pick(*b);
                let made = gate.scopes().create(ScopeId::from_number(parent), &format!("s{nth}"));
                let due = model.levels(parent).is_some();
                assert_eq!(made.is_ok(), due);
                if let Ok(id) = made {
                    model.scopes.insert(id.get(), parent);
                    scopes.push(id.get());
                }
            }
            2 => {
                let (id, parent) = (pick(*a), pick(*b));
                let moved = gate.scopes().move_to(ScopeId::from_number(id), ScopeId::from_number(parent));
                let due = match (model.levels(id), model.levels(parent)) {
                    (Some(from), Some(to)) => {
                        model.scopes.get(&id) != Some(&parent)
                            && from.len() > 2
                            && to.len() > 1
                            && !to.contains(&id)
                            && from[from.len() - 2] == to[to.len() - 2]
                    }
                    _ => false,
                };
                assert_eq!(moved.is_ok(), due, "{moved:?}");
                if due {
                    model.scopes.insert(id, parent);
                }
            }
            3 if *c < 80 => {
                let id = pick(*a);
                let deleted = gate.scopes().delete(ScopeId::from_number(id));
                assert_eq!(deleted.is_ok(), id != 0 && model.levels(id).is_some());
                if deleted.is_ok() {
                    model.drop_scope(id);
                }
            }
            4 => {
                roles.grant(role, [real.permissions[usize::from(*a) % PERMISSIONS]]).unwrap();
                model.gives.insert((r, usize::from(*a) % PERMISSIONS));
            }
            5 => {
                let p = usize::from(*a) % PERMISSIONS;
                if *c < 128 {
                    roles.deny(role, [real.permissions[p]]).unwrap();
                    model.denies.insert((r, p));
                } else {
                    roles.lift(role, [real.permissions[p]]).unwrap();
                    model.denies.remove(&(r, p));
                }
            }
            6 => {
                let junior = usize::from(*a) % ROLES;
                let due = !model.edges.contains(&(r, junior)) && !model.juniors(junior).contains(&r);
                assert_eq!(roles.inherit(role, real.roles[junior]).is_ok(), due);
                if due {
                    model.edges.insert((r, junior));
                }
            }
            7 | 8 => {
                let scope = pick(a.wrapping_add(*b));
                let (held, grant) = terms(*c, now);
                let key = (u, r, scope);
                let due = model.levels(scope).is_some() && ended(model.roles.get(&key), now);
                let done = roles.assign_with(user, role, &grant.at(ScopeId::from_number(scope)));
                assert_eq!(done.is_ok(), due, "{done:?}");
                if due {
                    model.roles.insert(key, held);
                }
            }
            9 => {
                let scope = pick(*c);
                let done = roles.unassign_at(user, role, ScopeId::from_number(scope)).is_ok();
                let had = model.roles.remove(&(u, r, scope));
                // One that has ended may be swept already.
                assert!(done || ended(had.as_ref(), now));
            }
            10 => {
                let scope = pick(a.wrapping_add(*c));
                let (held, grant) = terms(*c, now);
                let key = (u, p, scope);
                let due = model.levels(scope).is_some() && ended(model.direct.get(&key), now);
                let done = gate.access().grant(user, permission, &grant.at(ScopeId::from_number(scope)));
                assert_eq!(done.is_ok(), due, "{done:?}");
                if due {
                    model.direct.insert(key, held);
                }
            }
            _ => match *c % 4 {
                0 => {
                    let scope = pick(*c);
                    let _ = gate.access().withdraw(user, permission, ScopeId::from_number(scope));
                    model.direct.remove(&(u, p, scope));
                }
                1 => {
                    gate.maintain(100).unwrap();
                }
                2 if *a < 60 => {
                    drop(gate);
                    gate = disk.open();
                }
                _ => disk.clock.advance(Duration::from_secs(u64::from(*b % 5))),
            },
        }
        if nth % 8 == 0 || nth + 1 == steps.len() {
            agree(&gate, &model, &real, &scopes, disk.clock.now().as_secs(), &tokens);
        }
    }
    reverse(&gate, &model, &real, &scopes, disk.clock.now().as_secs());
    what_if(&gate, &real, &scopes, steps.last().copied().unwrap_or_default());
    while gate.maintain(1000).unwrap().more {}
    sound(&gate);
}

/// The same answers, asked the other way round.
fn reverse(gate: &Portcullis, model: &Model, real: &Real, scopes: &[u32], now: u64) {
    let review = gate.review();
    for scope in scopes.iter().copied().chain([0]).filter(|scope| model.levels(*scope).is_some()) {
        let at = ScopeId::from_number(scope);
        for (p, permission) in real.permissions.iter().copied().enumerate() {
            let due: Vec<UserId> =
                (0..USERS).filter(|u| model.may(*u, p, scope, now)).map(|u| real.users[u]).collect();
            let mut found = all(|page| review.who_can(permission, at, page));
            found.sort_unstable();
            assert_eq!(found, due, "who can do {p} at {scope}");
            for user in &real.users {
                let why = review.explain(*user, permission, at).unwrap();
                assert_eq!(why.decision.is_allowed(), due.contains(user), "{why}");
                let decided = why.deciding().count() > 0;
                assert!(decided || !why.decision.is_allowed(), "{why}");
                assert_eq!(review.what_can(*user, at).unwrap().contains(permission), due.contains(user));
            }
        }
    }
    for (u, user) in real.users.iter().copied().enumerate() {
        for (p, permission) in real.permissions.iter().copied().enumerate() {
            let places = all(|page| review.where_can(user, permission, page));
            for scope in scopes.iter().copied().chain([0]) {
                let Some(levels) = model.levels(scope) else { continue };
                let below = levels.iter().any(|level| places.contains(&ScopeId::from_number(*level)));
                // Below such a place a denial may take it away; without one there is nothing to take away.
                assert!(
                    below || !model.may(u, p, scope, now),
                    "where {u} can do {p}: {places:?}, not {scope}"
                );
            }
            assert!(places.iter().all(|scope| model.may(u, p, scope.get(), now)));
        }
    }
}

/// A change is foretold, then made: what it does is what was said.
fn what_if(gate: &Portcullis, real: &Real, scopes: &[u32], draw: [u8; 4]) {
    let (role, other) = (real.roles[usize::from(draw[1]) % ROLES], real.roles[usize::from(draw[2]) % ROLES]);
    let set: portcullis::PermissionSet =
        [real.permissions[usize::from(draw[3]) % PERMISSIONS]].into_iter().collect();
    let (change, make): (WhatIf, &dyn Fn() -> portcullis::Result<()>) = match draw[0] % 5 {
        0 => (WhatIf::Delete(role), &|| gate.roles().delete(role)),
        1 => (WhatIf::Grant(role, set.clone()), &|| gate.roles().grant(role, set.iter())),
        2 => (WhatIf::Withdraw(role, set.clone()), &|| gate.roles().withdraw(role, set.iter())),
        3 => (WhatIf::Deny(role, set.clone()), &|| gate.roles().deny(role, set.iter())),
        _ => (WhatIf::Inherit(role, other), &|| gate.roles().inherit(role, other)),
    };
    let review = gate.review();
    let Ok(_) = review.what_if(&change, &PageRequest::default()) else {
        assert!(make().is_err());
        return;
    };
    let foretold = all(|page| review.what_if(&change, page));
    let places: Vec<ScopeId> = scopes
        .iter()
        .copied()
        .chain([0])
        .map(ScopeId::from_number)
        .filter(|scope| *scope == ScopeId::ROOT || gate.scopes().get(*scope).is_ok())
        .collect();
    let all_now = || -> BTreeMap<(UserId, ScopeId), portcullis::PermissionSet> {
        let pairs = real.users.iter().flat_map(|user| places.iter().map(|scope| (*user, *scope)));
        pairs.map(|(user, scope)| ((user, scope), review.what_can(user, scope).unwrap())).collect()
    };
    let before = all_now();
    if make().is_err() {
        return; // it inherits from it already
    }
    let after = all_now();
    for impact in &foretold {
        let key = (impact.user, impact.scope);
        let minus = |a: &portcullis::PermissionSet, b: &portcullis::PermissionSet| {
            a.iter().filter(|permission| !b.contains(*permission)).collect::<portcullis::PermissionSet>()
        };
        assert_eq!(impact.loses, minus(&before[&key], &after[&key]), "{change:?}");
        assert_eq!(impact.gains, minus(&after[&key], &before[&key]), "{change:?}");
    }
    // Whatever changed, changed at or below a place that was named.
    for (user, scope) in before.keys().filter(|key| before[key] != after[key]) {
        let mut at = *scope;
        let mut named = false;
        loop {
            named |= foretold.iter().any(|impact| (impact.user, impact.scope) == (*user, at));
            if at == ScopeId::ROOT {
                break;
            }
            at = gate.scopes().get(at).unwrap().parent;
        }
        assert!(named, "{change:?} changed {user} at {scope}");
    }
}

#[test]
fn random_scopes_and_denials_agree_with_a_naive_model() {
    let config = proptest::test_runner::Config { failure_persistence: None, ..Default::default() };
    let cases = if config.cases == 256 { 30 } else { config.cases };
    let config = proptest::test_runner::Config { cases, ..config };
    let steps = proptest::collection::vec(any::<[u8; 4]>(), 1..120);
    proptest::test_runner::TestRunner::new(config)
        .run(&steps, |steps| {
            run(&steps);
            Ok(())
        })
        .unwrap();
}
