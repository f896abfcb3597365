//! Random flags, rules, roles, scopes and times against a naive model that walks everything for each question.

use crate::support::{Disk, all, juniors, levels, log_in, sound, user};
use portcullis::{
    Clock, Flag, FlagChange, FlagState, FlagTarget, Grant, NewFlag, Portcullis, RoleId, ScopeId, Status,
    Timestamp, UserId,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const FLAGS: usize = 3;
const ROLES: usize = 4;
const USERS: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq)]
struct Terms {
    off: bool,
    from: Option<u64>,
    until: Option<u64>,
}

impl Terms {
    fn live(&self, now: u64) -> bool {
        self.from.is_none_or(|from| from <= now) && !self.ended(now)
    }

    fn ended(&self, now: u64) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

struct Told {
    id: Flag,
    state: FlagState,
    default: bool,
    percentage: u16,
}

/// Who a rule is for, by place in the lists below, and by number for a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum For {
    Role(usize),
    User(usize),
    Scope,
}

#[derive(Default)]
struct Model {
    flags: Vec<Told>,
    roles: Vec<RoleId>,
    users: Vec<UserId>,
    active: Vec<bool>,
    /// Scope to parent.
    scopes: BTreeMap<u32, u32>,
    edges: BTreeSet<(usize, usize)>,
    held: BTreeMap<(usize, usize, u32), Terms>,
    rules: BTreeMap<(usize, For, u32), Terms>,
}

impl Model {
    fn juniors(&self, role: usize) -> BTreeSet<usize> {
        juniors(&self.edges, role)
    }

    fn levels(&self, scope: u32) -> Option<Vec<u32>> {
        levels(&self.scopes, scope)
    }

    fn on(&self, flag: usize, user: usize, scope: u32, now: u64) -> bool {
        let Some(levels) = self.levels(scope) else { return false };
        let told = &self.flags[flag];
        match told.state {
            _ if !self.active[user] => return false,
            FlagState::Off => return false,
            FlagState::On => return true,
            _ => {}
        }
        let (mut on, mut off) = (false, false);
        for ((of, target, at), rule) in self.rules.iter().filter(|((of, ..), _)| *of == flag) {
            assert_eq!(*of, flag);
            match target {
                For::User(who) if *who != user || !levels.contains(at) || !rule.live(now) => {}
                For::Scope if !levels.contains(at) || !rule.live(now) => {}
                For::User(_) | For::Scope => {
                    on |= !rule.off;
                    off |= rule.off;
                }
                For::Role(role) => {
                    for ((who, top, at), terms) in &self.held {
                        if *who == user
                            && levels.contains(at)
                            && terms.live(now)
                            && self.juniors(*top).contains(role)
                        {
                            on |= !rule.off && !terms.off;
                            off |= rule.off || terms.off;
                        }
                    }
                }
            }
        }
        // The hash has a test of its own.
        let chance = told.id.bucket(self.users[user]) < told.percentage;
        !off && (on || chance || told.default)
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
            self.held.retain(|(_, _, held), _| *held != at);
            self.rules.retain(|(_, _, held), _| *held != at);
        }
    }
}

fn terms(draw: u8, now: u64) -> (Terms, Grant) {
    let terms = Terms {
        off: draw & 3 == 0,
        from: (draw & 12 == 4).then(|| now + u64::from(draw >> 6)),
        until: (draw & 24 == 8).then(|| now + 4 + u64::from(draw >> 5)),
    };
    let second = |secs: u64| Timestamp::from_millis(secs * 1000);
    let mut grant = Grant::new();
    if terms.off {
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

struct Run {
    disk: Disk,
    gate: Portcullis,
    model: Model,
    scopes: Vec<u32>,
    tokens: BTreeMap<usize, String>,
    /// Names of what is made, so that what is made again takes the name of what is gone.
    made: u32,
}

impl Run {
    fn new() -> Self {
        let disk = Disk::new();
        let gate = disk.open();
        let mut run = Self {
            disk,
            gate,
            model: Model::default(),
            scopes: Vec::new(),
            tokens: BTreeMap::new(),
            made: 0,
        };
        (0..FLAGS).for_each(|n| {
            let told = run.define(n);
            run.model.flags.push(told);
        });
        for n in 0..ROLES {
            run.model.roles.push(run.gate.roles().create(&format!("r{n}"), []).unwrap());
        }
        for n in 0..USERS {
            run.model.users.push(user(&run.gate, &format!("u{n}")).id);
            run.model.active.push(true);
            run.log_in(n);
        }
        run
    }

    fn define(&mut self, n: usize) -> Told {
        self.made += 1;
        let default = self.made.is_multiple_of(5);
        let new = NewFlag::new(format!("f{n}")).on_by_default(default);
        let id = self.gate.flags().define(new).unwrap();
        Told { id, state: FlagState::Targeted, default, percentage: 0 }
    }

    fn log_in(&mut self, n: usize) {
        let login = log_in(&self.gate, &format!("u{n}"), crate::support::PASSWORD).unwrap();
        self.tokens.insert(n, login.token().as_str().to_owned());
    }

    fn now(&self) -> u64 {
        self.disk.clock.now().as_secs()
    }

    fn pick(&self, draw: u8) -> u32 {
        *self.scopes.iter().chain([&0]).nth(usize::from(draw) % (self.scopes.len() + 1)).unwrap()
    }

    fn agree(&self) {
        let (now, model) = (self.now(), &self.model);
        for u in 0..USERS {
            let who = self.tokens.get(&u).map(|token| self.gate.authenticate(token).unwrap());
            for (f, told) in model.flags.iter().enumerate() {
                for scope in self.scopes.iter().copied().chain([0, 1_000_000]) {
                    let (due, at) = (model.on(f, u, scope, now), ScopeId::from_number(scope));
                    let context = format!("flag {f}, user {u}, scope {scope}, at {now}: {:?}", model.rules);
                    let on = self.gate.is_enabled_at(told.id, model.users[u], at).unwrap();
                    assert_eq!(on, due, "{context}");
                    if let Some(who) = &who {
                        assert_eq!(who.is_enabled_at(told.id, at), due, "{context}, by session");
                    }
                    if scope == 0 {
                        assert_eq!(self.gate.is_enabled(told.id, model.users[u]).unwrap(), due, "{context}");
                        assert_eq!(who.is_none_or(|who| who.is_enabled(told.id)), due || who.is_none());
                    }
                }
            }
        }
    }

    /// The answers, and the reasons and rules, from the records.
    fn explained(&self) {
        let (now, model) = (self.now(), &self.model);
        for (f, told) in model.flags.iter().enumerate() {
            for (u, user) in model.users.iter().enumerate() {
                for scope in self.scopes.iter().copied().chain([0, 1_000_000]) {
                    let at = ScopeId::from_number(scope);
                    let why = self.gate.flags().explain(told.id, *user, at).unwrap();
                    assert_eq!(why.enabled, model.on(f, u, scope, now), "{why}");
                    assert!(why.rules.iter().all(|rule| rule.record.is_some()), "{why}");
                }
            }
            let rules = all(|page| self.gate.flags().rules(told.id, page));
            let mut found: Vec<(FlagTarget, u32)> =
                rules.iter().map(|rule| (rule.target, rule.scope.get())).collect();
            let live = model.rules.iter().filter(|((of, ..), terms)| *of == f && !terms.ended(now));
            let mut due: Vec<(FlagTarget, u32)> =
                live.map(|((_, target, at), _)| (self.target(*target, *at), *at)).collect();
            found.sort_unstable();
            due.sort_unstable();
            assert_eq!(found, due);
        }
    }

    fn target(&self, target: For, scope: u32) -> FlagTarget {
        match target {
            For::Role(role) => FlagTarget::Role(self.model.roles[role]),
            For::User(user) => FlagTarget::User(self.model.users[user]),
            For::Scope => FlagTarget::Scope(ScopeId::from_number(scope)),
        }
    }

    fn step(&mut self, nth: usize, [kind, a, b, c]: [u8; 4]) {
        let now = self.now();
        let (f, u, r) = (usize::from(a) % FLAGS, usize::from(b) % USERS, usize::from(b) % ROLES);
        let flag = self.model.flags[f].id;
        match kind % 13 {
            0 => {
                let parent = self.pick(b);
                let made = self.gate.scopes().create(ScopeId::from_number(parent), &format!("s{nth}"));
                assert_eq!(made.is_ok(), self.model.levels(parent).is_some());
                if let Ok(id) = made {
                    self.model.scopes.insert(id.get(), parent);
                    self.scopes.push(id.get());
                }
            }
            1 if c < 160 => {
                let (id, parent) = (self.pick(a), self.pick(b));
                let moved =
                    self.gate.scopes().move_to(ScopeId::from_number(id), ScopeId::from_number(parent));
                if moved.is_ok() {
                    self.model.scopes.insert(id, parent);
                }
            }
            1 => {
                let id = self.pick(a);
                if self.gate.scopes().delete(ScopeId::from_number(id)).is_ok() {
                    self.model.drop_scope(id);
                }
            }
            2 => {
                let junior = usize::from(a) % ROLES;
                let due =
                    !self.model.edges.contains(&(r, junior)) && !self.model.juniors(junior).contains(&r);
                let (role, parent) = (self.model.roles[r], self.model.roles[junior]);
                if self.model.edges.remove(&(r, junior)) {
                    self.gate.roles().disinherit(role, parent).unwrap();
                } else {
                    assert_eq!(self.gate.roles().inherit(role, parent).is_ok(), due);
                    if due {
                        self.model.edges.insert((r, junior));
                    }
                }
            }
            3 | 4 => {
                let (scope, u) = (self.pick(a.wrapping_add(b)), usize::from(a) % USERS);
                let (held, grant) = terms(c, now);
                let (user, role, at) =
                    (self.model.users[u], self.model.roles[r], ScopeId::from_number(scope));
                let key = (u, r, scope);
                let free = self.model.held.get(&key).is_none_or(|terms| terms.ended(now));
                if free && self.model.levels(scope).is_some() {
                    self.gate.roles().assign_with(user, role, &grant.at(at)).unwrap();
                    self.model.held.insert(key, held);
                } else if self.model.held.remove(&key).is_some() {
                    // One that has ended may be swept already.
                    let _ = self.gate.roles().unassign_at(user, role, at);
                }
            }
            5..=7 => self.set_rule(f, a, b, c),
            8 => {
                let keys: Vec<_> = self.model.rules.keys().copied().collect();
                if let Some(key) = keys.get(usize::from(b) % keys.len().max(1)) {
                    let (of, target, scope) = *key;
                    let at = if target == For::Scope && c < 128 { 0 } else { scope };
                    let (flag, target) = (self.model.flags[of].id, self.target(target, scope));
                    let done = self.gate.flags().remove_rule(flag, target, ScopeId::from_number(at));
                    let ended = self.model.rules.remove(key).is_some_and(|terms| terms.ended(now));
                    assert!(done.is_ok() || ended, "{done:?}");
                }
            }
            9 => {
                let states = [FlagState::Targeted, FlagState::Targeted, FlagState::Off, FlagState::On];
                let state = states[usize::from(b) % 4];
                self.gate.flags().set(flag, state).unwrap();
                self.model.flags[f].state = state;
            }
            10 => {
                let percentage = [0, 100, 2500, 5000, 10_000][usize::from(b) % 5];
                self.gate.flags().set_percentage(flag, percentage).unwrap();
                self.model.flags[f].percentage = percentage;
                if c < 60 {
                    let on = c % 2 == 0;
                    self.gate.flags().update(flag, FlagChange::new().on_by_default(on)).unwrap();
                    self.model.flags[f].default = on;
                }
            }
            11 => self.make_again(f, u, r, c),
            _ => match c % 4 {
                0 => {
                    self.gate.maintain(100).unwrap();
                }
                1 if a < 100 => self.gate = self.reopened(),
                2 => self.toggle(u),
                _ => self.disk.clock.advance(Duration::from_secs(u64::from(b % 5))),
            },
        }
    }

    fn set_rule(&mut self, f: usize, a: u8, b: u8, c: u8) {
        let scope = self.pick(c.wrapping_add(a));
        let (mut rule, mut grant) = terms(c.wrapping_mul(37), self.now());
        let (target, at) = match a / 3 % 3 {
            0 => {
                grant = if rule.off { Grant::new().denying() } else { Grant::new() };
                (rule.from, rule.until) = (None, None);
                (For::Role(usize::from(b) % ROLES), 0)
            }
            1 => (For::User(usize::from(b) % USERS), scope),
            _ => (For::Scope, scope),
        };
        let to = self.target(target, scope);
        let terms = if target == For::Scope { grant } else { grant.at(ScopeId::from_number(at)) };
        let done = self.gate.flags().set_rule(self.model.flags[f].id, to, &terms);
        let due = self.model.levels(at).is_some() && (target != For::Scope || scope != 0);
        assert_eq!(done.is_ok(), due, "{done:?}");
        if due {
            self.model.rules.insert((f, target, at), rule);
        }
    }

    /// Deletes something and makes another one under its name: no rule is left.
    fn make_again(&mut self, f: usize, u: usize, r: usize, c: u8) {
        match c % 3 {
            0 => {
                self.gate.flags().delete(self.model.flags[f].id).unwrap();
                self.model.rules.retain(|(of, ..), _| *of != f);
                self.model.flags[f] = self.define(f);
            }
            1 => {
                self.gate.users().delete(self.model.users[u]).unwrap();
                self.model.rules.retain(|(_, target, _), _| *target != For::User(u));
                self.model.held.retain(|(who, ..), _| *who != u);
                self.model.users[u] = user(&self.gate, &format!("u{u}")).id;
                self.model.active[u] = true;
                self.log_in(u);
            }
            _ => {
                self.gate.roles().delete(self.model.roles[r]).unwrap();
                self.model.rules.retain(|(_, target, _), _| *target != For::Role(r));
                self.model.held.retain(|(_, role, _), _| *role != r);
                self.model.edges.retain(|(senior, junior)| *senior != r && *junior != r);
                self.model.roles[r] = self.gate.roles().create(&format!("r{r}"), []).unwrap();
            }
        }
    }

    fn toggle(&mut self, u: usize) {
        self.model.active[u] ^= true;
        let (user, active) = (self.model.users[u], self.model.active[u]);
        let status = if active { Status::active() } else { Status::disabled("for now") };
        self.gate.users().set_status(user, status).unwrap();
        if active {
            self.log_in(u);
        } else {
            self.tokens.remove(&u);
        }
    }

    fn reopened(&mut self) -> Portcullis {
        self.gate.close().unwrap();
        self.disk.open()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, max_shrink_iters: 400, ..ProptestConfig::with_cases(40) })]

    #[test]
    fn flags_agree_with_a_naive_model(steps in proptest::collection::vec(any::<[u8; 4]>(), 1..120)) {
        let mut run = Run::new();
        for (nth, step) in steps.iter().enumerate() {
            run.step(nth, *step);
            if nth % 6 == 0 || nth + 1 == steps.len() {
                run.agree();
            }
        }
        run.explained();
        run.gate = run.reopened();
        run.agree();
        sound(&run.gate);
        while run.gate.maintain(1000).unwrap().more {}
        run.agree();
        run.explained();
        sound(&run.gate);
    }
}
