//! Acting as a user against a naive model: rights of both come and go, at two scopes, sessions end in every way, users are
//! disabled and move; and threads that ask while one of the two loses what both need.

use crate::impersonation::{scene, with_policy};
use crate::races::race_on;
use crate::support::{PASSWORD, is_live, log_in, sound, user, world_with};
use portcullis::testing::ManualClock;
use portcullis::{
    Client, Denial, Grant, Impersonation, ImpersonationPolicy, Permission, PermissionSet, Portcullis,
    ScopeId, SessionId, SessionLimits, Status, UserChange, UserId,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

const USERS: usize = 4;
/// To act, to go beyond, and two that the application asks for.
const PERMISSIONS: [&str; 4] = ["act", "beyond", "read", "write"];
const LIFE: u64 = 600;
const LONGEST: u64 = 2000;

#[derive(Clone, Copy, Debug)]
enum Op {
    Set { user: usize, permission: usize, below: bool, how: Held },
    Login(usize),
    Act { session: usize, user: usize, beyond: bool },
    Revoke(usize),
    RevokeAll(usize),
    RevokeOthers(usize),
    Everything,
    Disable(usize),
    Enable(usize),
    Home { user: usize, below: bool },
    Password(usize),
    Wait(u64),
    Maintain,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Given,
    Denied,
    Nothing,
}

fn ops() -> impl Strategy<Value = Op> {
    let how = prop_oneof![4 => Just(Held::Given), 1 => Just(Held::Denied), 2 => Just(Held::Nothing)];
    let user = || 0..USERS;
    prop_oneof![
        8 => (user(), 0..4usize, any::<bool>(), how)
            .prop_map(|(user, permission, below, how)| Op::Set { user, permission, below, how }),
        3 => user().prop_map(Op::Login),
        8 => (0..8usize, user(), any::<bool>())
            .prop_map(|(session, user, beyond)| Op::Act { session, user, beyond }),
        2 => (0..8usize).prop_map(Op::Revoke),
        1 => user().prop_map(Op::RevokeAll),
        1 => (0..8usize).prop_map(Op::RevokeOthers),
        1 => Just(Op::Everything),
        1 => user().prop_map(Op::Disable),
        2 => user().prop_map(Op::Enable),
        1 => (user(), any::<bool>()).prop_map(|(user, below)| Op::Home { user, below }),
        1 => user().prop_map(Op::Password),
        2 => prop_oneof![Just(1u64), Just(299), Just(600), Just(900)].prop_map(Op::Wait),
        1 => Just(Op::Maintain),
    ]
}

struct Behind {
    session: usize,
    below: bool,
    beyond: bool,
}

struct Session {
    id: SessionId,
    token: String,
    user: usize,
    ends: u64,
    over: bool,
    behind: Option<Behind>,
}

struct Model {
    gate: Portcullis,
    clock: ManualClock,
    users: Vec<UserId>,
    permissions: Vec<Permission>,
    tenant: ScopeId,
    now: u64,
    held: BTreeMap<(usize, usize, bool), Held>,
    active: [bool; USERS],
    below: [bool; USERS],
    sessions: Vec<Session>,
}

impl Model {
    fn new() -> Self {
        let world = world_with(|builder| {
            let policy = ImpersonationPolicy::new("act").beyond_own_rights("beyond");
            with_policy(builder)
                .impersonation(policy.life(Duration::from_secs(LIFE)).unwrap())
                .session_limits(SessionLimits::new(None, Duration::from_secs(LONGEST)).unwrap())
        });
        let gate = world.gate;
        let users: Vec<UserId> = (0..USERS).map(|n| user(&gate, &format!("u{n}")).id).collect();
        let permissions = gate.permissions().define_many(PERMISSIONS).unwrap();
        let tenant = gate.scopes().ensure("acme").unwrap();
        let mut model = Self {
            gate,
            clock: world.clock,
            users,
            permissions,
            tenant,
            now: 0,
            held: BTreeMap::new(),
            active: [true; USERS],
            below: [false; USERS],
            sessions: Vec::new(),
        };
        for (user, permission) in [(0, 0), (0, 2), (1, 2), (1, 3), (2, 2)] {
            model.run(Op::Set { user, permission, below: false, how: Held::Given });
        }
        model.run(Op::Login(0));
        model.run(Op::Act { session: 0, user: 1, beyond: false });
        model
    }

    fn scope(&self, below: bool) -> ScopeId {
        if below { self.tenant } else { ScopeId::ROOT }
    }

    fn holds(&self, user: usize, permission: usize, below: bool) -> bool {
        let levels: &[bool] = if below { &[false, true] } else { &[false] };
        let any = |how| levels.iter().any(|at| self.held.get(&(user, permission, *at)) == Some(&how));
        self.active[user] && any(Held::Given) && !any(Held::Denied)
    }

    /// Whether it is there, whoever may do what in it.
    fn there(&self, session: &Session) -> bool {
        !session.over
            && self.now < session.ends
            && self.active[session.user]
            && session.behind.as_ref().is_none_or(|behind| self.there(&self.sessions[behind.session]))
    }

    fn stands(&self, session: &Session) -> bool {
        self.there(session)
            && session
                .behind
                .as_ref()
                .is_none_or(|behind| self.holds(self.sessions[behind.session].user, 0, behind.below))
    }

    fn may(&self, session: &Session, permission: usize, below: bool) -> bool {
        self.stands(session)
            && self.holds(session.user, permission, below)
            && session.behind.as_ref().is_none_or(|behind| {
                let admin = self.sessions[behind.session].user;
                self.holds(admin, permission, below) || (behind.beyond && self.holds(admin, 1, below))
            })
    }

    fn end(&mut self, which: impl Fn(&Session) -> bool) {
        self.sessions.iter_mut().filter(|session| which(session)).for_each(|session| session.over = true);
    }

    fn run(&mut self, op: Op) {
        let gate = self.gate.clone();
        match op {
            Op::Set { user, permission, below, how } => {
                let (who, what, at) = (self.users[user], self.permissions[permission], self.scope(below));
                let _ = gate.access().withdraw(who, what, at);
                let terms = Grant::new().at(at);
                match how {
                    Held::Given => gate.access().grant(who, what, &terms).unwrap(),
                    Held::Denied => gate.access().grant(who, what, &terms.denying()).unwrap(),
                    Held::Nothing => {}
                }
                self.held.insert((user, permission, below), how);
            }
            Op::Login(user) => {
                let login = log_in(&gate, &format!("u{user}"), PASSWORD);
                assert_eq!(login.is_ok(), self.active[user]);
                if let Ok(login) = login {
                    self.sessions.push(Session {
                        id: login.session().id,
                        token: login.token().as_str().to_owned(),
                        user,
                        ends: self.now + LONGEST,
                        over: false,
                        behind: None,
                    });
                }
            }
            Op::Act { session, user, beyond } => self.act(session, user, beyond),
            Op::Revoke(session) => {
                let number = session % self.sessions.len();
                let done = gate.sessions().revoke(self.sessions[number].id).is_ok();
                assert_eq!(done, self.there(&self.sessions[number]));
                self.sessions[number].over = true;
            }
            Op::RevokeAll(user) => {
                gate.sessions().revoke_all(self.users[user]).unwrap();
                self.end(|session| session.user == user);
            }
            Op::RevokeOthers(keep) => {
                let number = keep % self.sessions.len();
                let (id, user) = (self.sessions[number].id, self.sessions[number].user);
                let done = gate.sessions().revoke_others(id).is_ok();
                assert_eq!(done, self.there(&self.sessions[number]));
                if done {
                    self.end(|session| session.user == user && session.id != id);
                }
            }
            Op::Everything => {
                gate.sessions().revoke_everything().unwrap();
                self.end(|_| true);
            }
            Op::Disable(user) => {
                gate.users().set_status(self.users[user], Status::disabled("out")).unwrap();
                self.active[user] = false;
                self.end(|session| session.user == user);
            }
            Op::Enable(user) => {
                gate.users().set_status(self.users[user], Status::active()).unwrap();
                self.active[user] = true;
            }
            Op::Home { user, below } => {
                gate.users().update(self.users[user], UserChange::new().home(self.scope(below))).unwrap();
                if self.below[user] != below {
                    self.end(|session| session.user == user && session.behind.is_some());
                }
                self.below[user] = below;
            }
            Op::Password(user) => {
                gate.users().set_password(self.users[user], PASSWORD).unwrap();
                self.end(|session| session.user == user);
            }
            Op::Wait(seconds) => {
                self.clock.advance(Duration::from_secs(seconds));
                self.now += seconds;
            }
            Op::Maintain => drop(gate.maintain(100).unwrap()),
        }
    }

    fn act(&mut self, session: usize, user: usize, beyond: bool) {
        let number = session % self.sessions.len();
        let own = &self.sessions[number];
        let below = self.below[user];
        let whom = Impersonation::of(self.users[user], "why");
        let whom = if beyond { whom.beyond_own_rights() } else { whom };
        let found = self.gate.impersonate(&own.token, &whom, &Client::new());
        let may = self.holds(own.user, 0, below) && (!beyond || self.holds(own.user, 1, below));
        let due = match () {
            () if !self.stands(own) => Err(Some(Denial::Session)),
            () if own.behind.is_some() => Err(Some(Denial::Impersonated)),
            () if !may => Err(Some(Denial::Permission)),
            () if own.user == user || !self.active[user] => Err(None),
            () => Ok(()),
        };
        match (found, due) {
            (Ok(login), Ok(())) => {
                let (ends, token) = (own.ends.min(self.now + LIFE), login.token().as_str().to_owned());
                let behind = Some(Behind { session: number, below, beyond });
                let id = login.session().id;
                self.sessions.push(Session { id, token, user, ends, over: false, behind });
            }
            (Err(error), Err(denial)) => assert_eq!(error.denial(), denial, "{error:?}"),
            (found, due) => panic!("{found:?} where {due:?} is due"),
        }
    }

    fn check(&self) {
        for session in &self.sessions {
            assert_eq!(is_live(&self.gate, &session.token), self.stands(session));
            let listed = self.gate.sessions().get(session.id);
            assert_eq!(listed.is_ok(), self.there(session));
            let Ok(who) = self.gate.authenticate(&session.token) else { continue };
            let behind = session.behind.as_ref().map(|behind| self.sessions[behind.session].user);
            assert_eq!(who.impersonator(), behind.map(|user| self.users[user]));
            for below in [false, true] {
                let scope = self.scope(below);
                let listed = self.gate.sessions().permissions_at(session.id, scope).unwrap();
                let mut due = PermissionSet::new();
                for (number, permission) in self.permissions.iter().enumerate() {
                    let may = self.may(session, number, below);
                    assert_eq!(who.can_at(*permission, scope), may, "{number} {below}");
                    let told = self.gate.review().explain_session(session.id, *permission, scope).unwrap();
                    assert_eq!(told.decision.is_allowed(), may, "{told}");
                    if may {
                        due.insert(*permission);
                    }
                }
                assert_eq!(listed, due);
                // All at once: of both, or beyond for all of them.
                for pair in [[0, 2], [2, 3]] {
                    let set: PermissionSet = pair.iter().map(|number| self.permissions[*number]).collect();
                    let may = pair.iter().all(|number| self.may(session, *number, below));
                    assert_eq!(who.can_all_at(&set, scope), may);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn acting_as_a_user_is_what_a_naive_model_says(ops in proptest::collection::vec(ops(), 1..40)) {
        let mut model = Model::new();
        model.check();
        for op in ops {
            model.run(op);
            model.check();
        }
        sound(&model.gate);
    }
}

const ROUNDS: u64 = 300;

/// Whatever is taken from either of the two is missed by every check that begins after it was taken.
#[test]
fn what_is_taken_from_one_of_the_two_is_missed_at_once() {
    for (admins, permission) in [(true, 2), (true, 0), (false, 2)] {
        let s = scene();
        let login = s.act_as(s.bob).unwrap();
        let who = s.gate().authenticate(login.token()).unwrap();
        let user = if admins { s.admin } else { s.bob };
        let permission = [s.act, s.beyond, s.read][permission];
        let change = |allow: bool| {
            let access = s.gate().access();
            match allow {
                true => access.grant(user, permission, &Grant::new()).unwrap(),
                false => access.withdraw(user, permission, ScopeId::ROOT).unwrap(),
            }
        };
        race_on(s.gate(), ROUNDS, change, || who.can(s.read));
    }
    let s = scene();
    s.gate().access().grant(s.admin, s.beyond, &Grant::new()).unwrap();
    let login = s.go_beyond(s.bob).unwrap();
    let who = s.gate().authenticate(login.token()).unwrap();
    let change = |allow: bool| {
        let access = s.gate().access();
        match allow {
            true => access.grant(s.admin, s.beyond, &Grant::new()).unwrap(),
            false => access.withdraw(s.admin, s.beyond, ScopeId::ROOT).unwrap(),
        }
    };
    race_on(s.gate(), ROUNDS, change, || who.can(s.write));
}

/// After the session behind was revoked nobody is let in, and no check says yes, on any thread.
#[test]
fn after_the_session_behind_ended_nothing_is_allowed() {
    for _ in 0..20 {
        let s = scene();
        let login = s.act_as(s.bob).unwrap();
        let who = s.gate().authenticate(login.token()).unwrap();
        let ended = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    loop {
                        let over = ended.load(std::sync::atomic::Ordering::SeqCst);
                        let (may, live) = (who.can(s.read), s.gate().authenticate(login.token()).is_ok());
                        assert!(!over || (!may && !live));
                        if over {
                            break;
                        }
                    }
                });
            }
            s.gate().sessions().revoke(s.own.session().id).unwrap();
            ended.store(true, std::sync::atomic::Ordering::SeqCst);
        });
    }
}
