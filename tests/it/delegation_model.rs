//! Random delegations and random calls of a delegated actor, against a naive reading of what the delegations cover: nobody
//! ever may do what they could not before and what the delegations did not cover.

use crate::support::{OTHER, all, sound, user, world};
use portcullis::{
    Ability, Delegation, DelegationId, Denial, Grant, NewUser, Permission, Portcullis, RoleChange, RoleId,
    RoleRange, ScopeId, Status, UserChange, UserId,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

const ABILITIES: [Ability; 6] = [
    Ability::Assign,
    Ability::Unassign,
    Ability::ChangeRoles,
    Ability::GrantDirectly,
    Ability::ManageScopes,
    Ability::ManageUsers,
];

/// Draws without an end.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }
    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
    fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }
}

/// An assignment, read out of its words.
#[derive(Clone, Copy, Debug)]
struct Held {
    role: RoleId,
    at: ScopeId,
    denies: bool,
}

struct Scene {
    gate: Portcullis,
    permissions: Vec<Permission>,
    roles: Vec<RoleId>,
    scopes: Vec<ScopeId>,
    users: Vec<UserId>,
    delegations: Vec<DelegationId>,
}

impl Scene {
    fn levels(&self, scope: ScopeId) -> Vec<ScopeId> {
        let (mut found, mut at) = (vec![scope], scope);
        while at != ScopeId::ROOT {
            at = self.gate.scopes().get(at).unwrap().parent;
            found.push(at);
        }
        found
    }

    fn live_scopes(&self) -> Vec<ScopeId> {
        let live = |scope: &ScopeId| *scope == ScopeId::ROOT || self.gate.scopes().get(*scope).is_ok();
        self.scopes.iter().copied().filter(live).collect()
    }

    fn closure(&self, role: RoleId) -> BTreeSet<RoleId> {
        let (mut found, mut open) = (BTreeSet::new(), vec![role]);
        while let Some(role) = open.pop() {
            if found.insert(role) {
                open.extend(self.gate.roles().get(role).unwrap().parents);
            }
        }
        found
    }

    fn held(&self, user: UserId) -> Vec<Held> {
        let Ok(_) = self.gate.users().get(user) else { return Vec::new() };
        let found = all(|page| self.gate.roles().of_user(user, page));
        found
            .into_iter()
            .map(|held| {
                let words = format!("{:?}", held.terms);
                let number = words.split("ScopeId(").nth(1).unwrap().split(')').next().unwrap();
                let at = ScopeId::from_number(number.parse().unwrap());
                Held { role: held.role, at, denies: words.contains("effect: Deny") }
            })
            .collect()
    }

    fn delegations(&self) -> Vec<Delegation> {
        all(|page| self.gate.delegations().list(page))
    }

    /// Where a user holds which delegations: an upper bound, which takes a denial of the admin role for the scopes at and
    /// below it only.
    fn power(&self, user: UserId) -> BTreeSet<(DelegationId, ScopeId)> {
        let (held, mut found) = (self.held(user), BTreeSet::new());
        for scope in self.live_scopes() {
            let levels = self.levels(scope);
            for delegation in self.delegations() {
                let holds = |denies: bool| {
                    held.iter().any(|held| {
                        held.denies == denies
                            && levels.contains(&held.at)
                            && self.closure(held.role).contains(&delegation.role)
                    })
                };
                if holds(false) && !holds(true) {
                    found.insert((delegation.id, scope));
                }
            }
        }
        found
    }

    /// The roles of a range that count at a scope.
    fn range(&self, delegation: &Delegation, scope: ScopeId) -> BTreeSet<RoleId> {
        let levels = self.levels(scope);
        let at_home = |role: &RoleId| levels.contains(&self.gate.roles().get(*role).unwrap().scope);
        let named: BTreeSet<RoleId> = match &delegation.range {
            RoleRange::Roles(roles) => roles.iter().copied().collect(),
            RoleRange::Below(top) if at_home(top) => self.closure(*top),
            _ => BTreeSet::new(),
        };
        let admins: BTreeSet<RoleId> = self.delegations().into_iter().map(|found| found.role).collect();
        let plain = |role: &RoleId| self.closure(*role).is_disjoint(&admins);
        named.into_iter().filter(|role| at_home(role) && plain(role)).collect()
    }

    /// All that a user's delegations cover.
    fn covered(&self, user: UserId) -> BTreeSet<(Permission, ScopeId)> {
        let mut found = BTreeSet::new();
        for (id, scope) in self.power(user) {
            let delegation = self.gate.delegations().get(id).unwrap();
            for role in self.range(&delegation, scope) {
                let given = self.gate.roles().effective(role).unwrap();
                found.extend(given.iter().map(|permission| (permission, scope)));
            }
        }
        found
    }

    /// What users may do. Deleted ones may nothing.
    fn rights(&self) -> BTreeSet<(UserId, Permission, ScopeId)> {
        let mut found = BTreeSet::new();
        for user in &self.users {
            for scope in self.live_scopes() {
                for permission in &self.permissions {
                    if self.gate.check_at(*user, *permission, scope).unwrap().is_allowed() {
                        found.insert((*user, *permission, scope));
                    }
                }
            }
        }
        found
    }
}

fn scene(draws: &mut Draws) -> Scene {
    let gate = world().gate;
    let permissions: Vec<Permission> =
        (0..5).map(|n| gate.permissions().define(&format!("p{n}")).unwrap()).collect();
    let mut scopes = vec![ScopeId::ROOT];
    for path in ["t", "u", "t/a", "t/b", "t/a/x", "t/b/y", "u/c", "u/d"] {
        scopes.push(gate.scopes().ensure(path).unwrap());
    }
    let mut roles: Vec<RoleId> = (0..6).map(|n| gate.roles().create(&format!("r{n}"), []).unwrap()).collect();
    for (n, tenant) in [scopes[1], scopes[1], scopes[2]].into_iter().enumerate() {
        roles.push(gate.roles().create_in(tenant, &format!("t{n}"), []).unwrap());
    }
    let admins = ["a0", "a1"].map(|name| gate.roles().create(name, []).unwrap());
    let users: Vec<UserId> = (0..5).map(|n| user(&gate, &format!("u{n}")).id).collect();
    for role in &roles {
        for permission in &permissions {
            if draws.chance(25) {
                gate.roles().grant(*role, [*permission]).unwrap();
            }
            if draws.chance(12) {
                gate.roles().deny(*role, [*permission]).unwrap();
            }
        }
    }
    roles.extend(admins);
    for _ in 0..10 {
        // Many of these are refused: cycles, other tenants, twice.
        let of = if draws.chance(10) { &roles[..] } else { &roles[..9] };
        let _ = gate.roles().inherit(draws.one(of), draws.one(of));
    }
    if draws.chance(20) {
        let _ = gate.roles().inherit(draws.one(&roles[..6]), draws.one(&admins));
    }
    let mut delegations = Vec::new();
    let wanted = 1 + draws.below(3);
    while delegations.len() < wanted {
        let admin = if draws.chance(8) { draws.one(&roles) } else { draws.one(&admins) };
        let range = match draws.chance(50) {
            true => RoleRange::Below(draws.one(&roles)),
            false => RoleRange::Roles((0..1 + draws.below(7)).map(|_| draws.one(&roles)).collect()),
        };
        let mut abilities: Vec<Ability> = ABILITIES.into_iter().filter(|_| draws.chance(80)).collect();
        abilities.push(draws.one(&ABILITIES));
        delegations.extend(gate.delegations().create(admin, range, abilities));
    }
    for (number, user) in users.iter().enumerate() {
        for _ in 0..draws.below(4) {
            let (role, at) = (draws.one(&roles), draws.one(&scopes));
            let terms = Grant::new().at(at);
            let terms = if draws.chance(20) { terms.denying() } else { terms };
            let _ = gate.roles().assign_with(*user, role, &terms);
        }
        for _ in 0..draws.below(3) {
            let terms = Grant::new().at(draws.one(&scopes));
            let terms = if draws.chance(40) { terms.denying() } else { terms };
            let _ = gate.access().grant(*user, draws.one(&permissions), &terms);
        }
        if number == 0 || draws.chance(15) {
            for admin in admins {
                let at = if draws.chance(45) { ScopeId::ROOT } else { draws.one(&scopes) };
                let _ = gate.roles().assign_with(*user, admin, &Grant::new().at(at));
            }
        }
        if number == 0 && draws.chance(40) {
            let terms = Grant::new().at(draws.one(&scopes[1..])).denying();
            let _ = gate.roles().assign_with(*user, draws.one(&admins), &terms);
        }
        if number > 0 {
            let home = draws.one(&scopes);
            gate.users().update(*user, UserChange::new().home(home)).unwrap();
            if draws.chance(15) {
                gate.users().set_status(*user, Status::disabled("out")).unwrap();
            }
        }
    }
    Scene { gate, permissions, roles, scopes, users, delegations }
}

/// A call of the actor. Returns what it was, whom it took over, and how it ended.
fn call(
    scene: &mut Scene,
    handle: &Portcullis,
    draws: &mut Draws,
) -> (usize, Option<UserId>, portcullis::Result<()>) {
    // Mostly what may be covered, so that much of it is done.
    let range = match scene.gate.delegations().get(draws.one(&scene.delegations)).unwrap().range {
        RoleRange::Below(top) => scene.closure(top).into_iter().collect(),
        RoleRange::Roles(roles) => roles,
        _ => Vec::new(),
    };
    let of = if draws.chance(60) { &range } else { &scene.roles };
    let (user, role, other) = (draws.one(&scene.users), draws.one(of), draws.one(of));
    let (scope, permission) = (draws.one(&scene.scopes), draws.one(&scene.permissions));
    let terms = Grant::new().at(scope);
    let (roles, users, scopes) = (handle.roles(), handle.users(), handle.scopes());
    let number = draws.below(22);
    let mut over = None;
    let done = match number {
        0 | 1 => roles.assign_with(user, role, &terms),
        2 => roles.assign_with(user, role, &terms.denying()),
        3 | 4 => match scene.held(user).as_slice() {
            [] => roles.unassign_at(user, role, scope),
            held => {
                let held = draws.one(held);
                roles.unassign_at(user, held.role, held.at)
            }
        },
        5 => roles.grant(role, [permission]),
        6 => roles.withdraw(role, [permission]),
        7 => roles.deny(role, [permission]),
        8 => roles.lift(role, [permission]),
        9 => roles.inherit(role, other),
        10 => match scene.gate.roles().get(role).unwrap().parents.first() {
            Some(parent) => roles.disinherit(role, *parent),
            None => roles.disinherit(role, other),
        },
        11 => handle.access().grant(user, permission, &terms),
        12 => handle.access().grant(user, permission, &terms.denying()),
        13 => {
            let held = all(|page| {
                handle
                    .access()
                    .of_user(user, page)
                    .or_else(|_| handle.access().of_permission(permission, page))
            });
            match held.first() {
                Some(held) => {
                    let words = format!("{:?}", held.terms);
                    let number = words.split("ScopeId(").nth(1).unwrap().split(')').next().unwrap();
                    let at = ScopeId::from_number(number.parse().unwrap());
                    handle.access().withdraw(held.user, held.permission, at)
                }
                None => handle.access().withdraw(user, permission, scope),
            }
        }
        14 => match scopes.create(scope, &format!("s{}", draws.next())) {
            Ok(made) => {
                scene.scopes.push(made);
                Ok(())
            }
            Err(error) => Err(error),
        },
        15 => scopes.move_to(scope, draws.one(&scene.scopes)),
        16 => scopes.delete(scope),
        17 => {
            over = Some(user);
            users.set_password(user, OTHER)
        }
        18 => users.set_status(user, Status::active()).map(drop),
        19 => users.set_status(user, Status::disabled("out")).map(drop),
        20 => match draws.below(5) {
            0 => users.create(NewUser::new(format!("n{}", draws.next())).home(scope)).map(drop),
            1 => users.delete(user),
            2 => scopes.rename(scope, &format!("s{}", draws.next())),
            3 => roles.update(role, RoleChange::new().name(format!("r{}", draws.next()))).map(drop),
            _ => handle.sessions().revoke_all(user),
        },
        _ => match draws.below(5) {
            0 => roles.delete(role),
            1 => handle.delegations().delete(draws.one(&scene.delegations)),
            2 => roles.update(role, RoleChange::new().privileged(true)).map(drop),
            3 => users.update(user, UserChange::new().home(scope)).map(drop),
            _ => handle.permissions().delete(permission),
        },
    };
    (number, over, done)
}

static DONE: [AtomicU64; 22] = [const { AtomicU64::new(0) }; 22];

fn run(seed: u64) {
    let mut draws = Draws(seed);
    let mut scene = scene(&mut draws);
    let actor = scene.users[0];
    let handle = scene.gate.delegated(actor);
    let mut covered = scene.covered(actor);
    let mut had = scene.rights();
    let mut power: BTreeMap<UserId, _> = scene.users.iter().map(|user| (*user, scene.power(*user))).collect();
    let mut taken = BTreeSet::new();
    for nth in 0..50 {
        let known = scene.scopes.len();
        let before = scene.gate.audit().head();
        let (number, over, done) = call(&mut scene, &handle, &mut draws);
        let context = format!("seed {seed}, call {nth}: {number}, {done:?}");
        if let Some(made) = scene.scopes.get(known).copied() {
            // What is had or covered in the parent is so in a new scope.
            let parent = scene.gate.scopes().get(made).unwrap().parent;
            let more: Vec<_> =
                covered.iter().filter(|(_, at)| *at == parent).map(|(p, _)| (*p, made)).collect();
            covered.extend(more);
            let more: Vec<_> =
                had.iter().filter(|(_, _, at)| *at == parent).map(|(u, p, _)| (*u, *p, made)).collect();
            had.extend(more);
            for found in power.values_mut() {
                let more: Vec<_> =
                    found.iter().filter(|(_, at)| *at == parent).map(|(id, _)| (*id, made)).collect();
                found.extend(more);
            }
        }
        match &done {
            Ok(()) => {
                DONE[number].fetch_add(1, Ordering::Relaxed);
                assert!(number < 21, "{context}");
                taken.extend(over);
            }
            Err(error) => {
                let refused = error.denial() == Some(Denial::Delegation);
                let written = scene.gate.audit().head().length - before.length;
                assert_eq!(written, u64::from(refused), "{context}");
            }
        }
        for (user, permission, at) in scene.rights() {
            let fine = had.contains(&(user, permission, at)) || covered.contains(&(permission, at));
            assert!(fine, "{context}: {user} may do {permission} at {at}");
            // Whoever can log in as somebody may do what that one may.
            let mine = had.contains(&(actor, permission, at)) || covered.contains(&(permission, at));
            assert!(mine || !taken.contains(&user), "{context}: {user} was taken over");
        }
        for user in &scene.users {
            let now = scene.power(*user);
            assert!(now.is_subset(&power[user]), "{context}: {user} administers more: {now:?}");
            assert!(!taken.contains(user) || now.is_empty(), "{context}: {user} is an administrator");
        }
    }
    sound(&scene.gate);
}

#[test]
fn nobody_gains_what_the_actors_delegations_do_not_cover() {
    (0..90).for_each(run);
    let done: Vec<u64> = DONE.iter().map(|done| done.load(Ordering::Relaxed)).collect();
    assert!(done[..21].iter().all(|done| *done > 0), "each call was covered at least once: {done:?}");
    let config = proptest::test_runner::Config { failure_persistence: None, ..Default::default() };
    let cases = if config.cases == 256 { 30 } else { config.cases };
    let config = proptest::test_runner::Config { cases, ..config };
    proptest::test_runner::TestRunner::new(config)
        .run(&any::<u64>(), |seed| {
            run(seed);
            Ok(())
        })
        .unwrap();
}
