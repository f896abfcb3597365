//! Keys against a naive model: after every step, each check by each key is compared.

use crate::support::{sound, world};
use portcullis::{
    ApiKeyChange, ApiKeyId, Grant, NewApiKey, NewUser, Permission, PermissionSet, Portcullis, RoleId,
    ScopeId, Status, UserId,
};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;

const PERMISSIONS: usize = 3;
/// The global scope, two in each other, one beside them.
const SCOPES: usize = 4;
const ABOVE: [&[usize]; SCOPES] = [&[0], &[1, 0], &[2, 1, 0], &[3, 0]];

#[derive(Clone, Debug)]
enum Step {
    Assign(usize, usize, usize),
    Unassign(usize, usize, usize),
    Deny(usize, usize, usize),
    Lift(usize, usize, usize),
    Grant(usize, usize),
    Withdraw(usize, usize),
    Disable(usize),
    Enable(usize),
    Create(usize, Limits, u64),
    Change(usize, Limits),
    Rotate(usize, u64),
    Revoke(usize),
    RevokeAll(usize),
    EndSessions(usize),
    Advance(u64),
    Maintain,
    DeleteUser(usize),
}

#[derive(Clone, Debug)]
struct Limits {
    permissions: Option<BTreeSet<usize>>,
    scopes: Option<BTreeSet<usize>>,
}

fn limits() -> impl Strategy<Value = Limits> {
    let permissions = proptest::option::of(proptest::collection::btree_set(0..PERMISSIONS, 0..3));
    let scopes = proptest::option::of(proptest::collection::btree_set(1..SCOPES, 1..3));
    (permissions, scopes).prop_map(|(permissions, scopes)| Limits { permissions, scopes })
}

fn step() -> impl Strategy<Value = Step> {
    let (user, role, permission, scope, key) = (0..2usize, 0..2usize, 0..PERMISSIONS, 0..SCOPES, 0..6usize);
    prop_oneof![
        3 => (user.clone(), role.clone(), scope.clone()).prop_map(|(a, b, c)| Step::Assign(a, b, c)),
        2 => (user.clone(), role.clone(), scope.clone()).prop_map(|(a, b, c)| Step::Unassign(a, b, c)),
        1 => (user.clone(), permission.clone(), scope.clone()).prop_map(|(a, b, c)| Step::Deny(a, b, c)),
        1 => (user.clone(), permission.clone(), scope).prop_map(|(a, b, c)| Step::Lift(a, b, c)),
        1 => (role.clone(), permission.clone()).prop_map(|(a, b)| Step::Grant(a, b)),
        1 => (role, permission).prop_map(|(a, b)| Step::Withdraw(a, b)),
        1 => user.clone().prop_map(Step::Disable),
        2 => user.clone().prop_map(Step::Enable),
        5 => (user.clone(), limits(), 1..500u64).prop_map(|(a, b, c)| Step::Create(a, b, c)),
        3 => (key.clone(), limits()).prop_map(|(a, b)| Step::Change(a, b)),
        2 => (key.clone(), 0..100u64).prop_map(|(a, b)| Step::Rotate(a, b)),
        1 => key.prop_map(Step::Revoke),
        1 => user.clone().prop_map(Step::RevokeAll),
        1 => user.clone().prop_map(Step::EndSessions),
        3 => (1..60u64).prop_map(Step::Advance),
        1 => Just(Step::Maintain),
        1 => user.prop_map(Step::DeleteUser),
    ]
}

struct Key {
    id: ApiKeyId,
    token: String,
    owner: usize,
    limits: Limits,
    life: u64,
    end: u64,
    replaced: bool,
}

#[derive(Default)]
struct Model {
    now: u64,
    gone: [bool; 2],
    disabled: [bool; 2],
    roles: [BTreeSet<usize>; 2],
    held: BTreeSet<(usize, usize, usize)>,
    denied: BTreeSet<(usize, usize, usize)>,
    keys: Vec<Key>,
}

impl Model {
    fn live(&self, key: &Key) -> bool {
        self.now < key.end && !self.disabled[key.owner] && !self.gone[key.owner]
    }

    fn can(&self, key: &Key, permission: usize, scope: usize) -> bool {
        let above = ABOVE[scope];
        let inside =
            key.limits.scopes.as_ref().is_none_or(|scopes| above.iter().any(|level| scopes.contains(level)));
        let named = key.limits.permissions.as_ref().is_none_or(|named| named.contains(&permission));
        let gives = |level: &usize| {
            (0..2).any(|role| {
                self.held.contains(&(key.owner, role, *level)) && self.roles[role].contains(&permission)
            })
        };
        let denies = |level: &usize| self.denied.contains(&(key.owner, permission, *level));
        self.live(key) && inside && named && above.iter().any(gives) && !above.iter().any(denies)
    }
}

struct Real<'g> {
    gate: &'g Portcullis,
    users: Vec<UserId>,
    roles: Vec<RoleId>,
    permissions: Vec<Permission>,
    scopes: Vec<ScopeId>,
}

impl Real<'_> {
    fn named(&self, limits: &Limits) -> (Option<Vec<Permission>>, Option<Vec<ScopeId>>) {
        let permissions =
            limits.permissions.as_ref().map(|set| set.iter().map(|n| self.permissions[*n]).collect());
        let scopes = limits.scopes.as_ref().map(|set| set.iter().map(|n| self.scopes[*n]).collect());
        (permissions, scopes)
    }

    fn new_key(&self, limits: &Limits, life: u64) -> NewApiKey {
        let (permissions, scopes) = self.named(limits);
        let mut new = NewApiKey::new("key").expires_in(Duration::from_secs(life));
        if let Some(permissions) = permissions {
            new = new.only(permissions);
        }
        if let Some(scopes) = scopes {
            new = new.at(scopes);
        }
        new
    }

    fn change(&self, limits: &Limits) -> ApiKeyChange {
        let (permissions, scopes) = self.named(limits);
        let change = match permissions {
            Some(permissions) => ApiKeyChange::new().only(permissions),
            None => ApiKeyChange::new().all_permissions(),
        };
        match scopes {
            Some(scopes) => change.at(scopes),
            None => change.everywhere(),
        }
    }

    fn agrees(&self, model: &Model) {
        for key in &model.keys {
            let principal = self.gate.authenticate_key(&key.token);
            assert_eq!(principal.is_ok(), model.live(key), "{:?} at {}", key.id, model.now);
            let Ok(principal) = principal else { continue };
            for scope in 0..SCOPES {
                let mut held = PermissionSet::new();
                for permission in 0..PERMISSIONS {
                    let (bit, at) = (self.permissions[permission], self.scopes[scope]);
                    let due = model.can(key, permission, scope);
                    assert_eq!(principal.can_at(bit, at), due, "{:?}: {permission} at {scope}", key.id);
                    if scope == 0 {
                        assert_eq!(principal.can(bit), due);
                    }
                    if due {
                        held.insert(bit);
                    }
                }
                if !held.is_empty() {
                    assert!(principal.can_all_at(&held, self.scopes[scope]));
                }
                if let Some(other) = self.permissions.iter().find(|bit| !held.contains(**bit)) {
                    held.insert(*other);
                    assert!(!principal.can_all_at(&held, self.scopes[scope]));
                }
            }
        }
        let count = model.keys.iter().filter(|key| model.now < key.end && !model.gone[key.owner]).count();
        let listed: usize = (0..2)
            .filter(|owner| !model.gone[*owner])
            .map(|owner| {
                self.gate.api_keys().of_owner(self.users[owner], &portcullis::PageRequest::first(1000))
            })
            .map(|page| page.unwrap().items.len())
            .sum();
        assert_eq!(listed, count);
    }
}

fn run(steps: Vec<Step>) {
    let world = world();
    let gate = &world.gate;
    let users =
        ["ada", "bob"].map(|name| gate.users().create(NewUser::new(name).service_account()).unwrap().id);
    let permissions = gate.permissions().define_many(["a", "b", "c"]).unwrap();
    let roles = ["x", "y"].map(|name| gate.roles().create(name, []).unwrap());
    let mut scopes = vec![ScopeId::ROOT];
    scopes.extend(["s", "s/t", "u"].map(|path| gate.scopes().ensure(path).unwrap()));
    let real = Real { gate, users: users.to_vec(), roles: roles.to_vec(), permissions, scopes };
    let mut model = Model::default();
    let there = |model: &Model, user: usize| !model.gone[user];
    for step in steps {
        match step {
            Step::Assign(user, role, scope) if there(&model, user) => {
                let terms = Grant::new().at(real.scopes[scope]);
                let done = gate.roles().assign_with(real.users[user], real.roles[role], &terms);
                assert_eq!(done.is_ok(), model.held.insert((user, role, scope)));
            }
            Step::Unassign(user, role, scope) if there(&model, user) => {
                let at = real.scopes[scope];
                let done = gate.roles().unassign_at(real.users[user], real.roles[role], at);
                assert_eq!(done.is_ok(), model.held.remove(&(user, role, scope)));
            }
            Step::Deny(user, permission, scope) if there(&model, user) => {
                let terms = Grant::new().at(real.scopes[scope]).denying();
                let done = gate.access().grant(real.users[user], real.permissions[permission], &terms);
                assert_eq!(done.is_ok(), model.denied.insert((user, permission, scope)));
            }
            Step::Lift(user, permission, scope) if there(&model, user) => {
                let (bit, at) = (real.permissions[permission], real.scopes[scope]);
                let done = gate.access().withdraw(real.users[user], bit, at);
                assert_eq!(done.is_ok(), model.denied.remove(&(user, permission, scope)));
            }
            Step::Grant(role, permission) => {
                gate.roles().grant(real.roles[role], [real.permissions[permission]]).unwrap();
                model.roles[role].insert(permission);
            }
            Step::Withdraw(role, permission) => {
                gate.roles().withdraw(real.roles[role], [real.permissions[permission]]).unwrap();
                model.roles[role].remove(&permission);
            }
            Step::Disable(user) if there(&model, user) => {
                gate.users().set_status(real.users[user], Status::disabled("")).unwrap();
                model.disabled[user] = true;
            }
            Step::Enable(user) if there(&model, user) => {
                gate.users().set_status(real.users[user], Status::active()).unwrap();
                model.disabled[user] = false;
            }
            Step::Create(user, limits, life) => {
                let made = gate.api_keys().create(real.users[user], real.new_key(&limits, life));
                assert_eq!(made.is_ok(), there(&model, user));
                if let Ok(made) = made {
                    let (token, end) = (made.token.as_str().to_owned(), model.now + life);
                    model.keys.push(Key {
                        id: made.key.id,
                        token,
                        owner: user,
                        limits,
                        life,
                        end,
                        replaced: false,
                    });
                }
            }
            Step::Change(number, limits) => {
                let now = model.now;
                let Some(key) = model.keys.get_mut(number) else { continue };
                let there = now < key.end && !model.gone[key.owner];
                let done = gate.api_keys().update(key.id, real.change(&limits));
                assert_eq!(done.is_ok(), there);
                if there {
                    key.limits = limits;
                }
            }
            Step::Rotate(number, overlap) => {
                let now = model.now;
                let Some(key) = model.keys.get_mut(number) else { continue };
                let there = now < key.end && !model.gone[key.owner] && !key.replaced;
                let done = gate.api_keys().rotate(key.id, Duration::from_secs(overlap));
                assert_eq!(done.is_ok(), there, "{done:?}");
                if let Ok(made) = done {
                    key.end = key.end.min(now + overlap);
                    key.replaced = true;
                    let new = Key {
                        id: made.key.id,
                        token: made.token.as_str().to_owned(),
                        owner: key.owner,
                        limits: key.limits.clone(),
                        life: key.life,
                        end: now + key.life,
                        replaced: false,
                    };
                    model.keys.push(new);
                }
            }
            Step::Revoke(number) => {
                let Some(key) = model.keys.get_mut(number) else { continue };
                // One that has ended may be there or be swept.
                let done = gate.api_keys().revoke(key.id);
                assert!(done.is_ok() || model.now >= key.end || model.gone[key.owner]);
                key.end = 0;
            }
            Step::RevokeAll(user) if there(&model, user) => {
                gate.api_keys().revoke_all(real.users[user]).unwrap();
                for key in model.keys.iter_mut().filter(|key| key.owner == user) {
                    key.end = 0;
                }
            }
            Step::EndSessions(user) if there(&model, user) => {
                gate.sessions().revoke_all(real.users[user]).unwrap();
                gate.sessions().revoke_everything().unwrap();
            }
            Step::Advance(seconds) => {
                world.after(seconds);
                model.now += seconds;
            }
            Step::Maintain => drop(gate.maintain(100).unwrap()),
            Step::DeleteUser(user) if there(&model, user) && model.keys.len() > 3 => {
                gate.users().delete(real.users[user]).unwrap();
                model.gone[user] = true;
            }
            _ => continue,
        }
        real.agrees(&model);
    }
    sound(gate);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn keys_allow_what_a_naive_model_says(steps in proptest::collection::vec(step(), 1..60)) {
        run(steps);
    }
}
