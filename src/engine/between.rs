//! What happens between the reading of a plan and its commit, at exactly that moment: a store that does something else
//! first. Each test here fails if the plan does not expect what it relies on.

use super::{Builder, Portcullis, TABLES};
use crate::audit::AuditKind;
use crate::clock::Timestamp;
use crate::error::{ErrorKind, Result};
use crate::grant::Grant;
use crate::id::{RoleId, ScopeId, UserId};
use crate::role::RoleChange;
use crate::store::{Batch, CommitError, Faults, Head, MemoryStore, Row, Scan, Sink, Store, Table, Version};
use crate::user::{NewUser, Status};
use parking_lot::Mutex;
use std::sync::Arc;

type Armed = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

/// Runs what it is armed with before the next commit.
struct Between {
    inner: MemoryStore,
    armed: Armed,
}

impl Store for Between {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Row>> {
        self.inner.get(table, key)
    }
    fn scan(&self, table: Table, scan: &Scan<'_>) -> Result<Vec<Row>> {
        self.inner.scan(table, scan)
    }
    fn commit(&self, batch: Batch) -> Result<Version, CommitError> {
        let first = self.armed.lock().take();
        if let Some(first) = first {
            first();
        }
        self.inner.commit(batch)
    }
    fn now(&self) -> Version {
        self.inner.now()
    }
    fn head(&self) -> Head {
        self.inner.head()
    }
    fn watch(&self, sink: Arc<dyn Sink>) {
        self.inner.watch(sink);
    }
    fn close(&self) -> Result<()> {
        self.inner.close()
    }
}

pub(super) struct Scene {
    pub(super) gate: Portcullis,
    armed: Armed,
    pub(super) ada: UserId,
    pub(super) bob: UserId,
    pub(super) owner: RoleId,
    pub(super) scope: ScopeId,
}

impl Scene {
    pub(super) fn new() -> Self {
        Self::with(Portcullis::builder())
    }

    pub(super) fn with(builder: Builder) -> Self {
        let armed = Armed::default();
        let inner = MemoryStore::new(&TABLES.concat(), Faults::default());
        let store = Between { inner, armed: Arc::clone(&armed) };
        let gate = builder.start(Box::new(store)).unwrap();
        let [ada, bob] = ["ada", "bob"].map(|login| gate.users().create(NewUser::new(login)).unwrap().id);
        let owner = gate.roles().create("owner", []).unwrap();
        let scope = gate.scopes().create(ScopeId::ROOT, "acme").unwrap();
        Self { gate, armed, ada, bob, owner, scope }
    }

    /// The step with another one done between its reading and its commit.
    pub(super) fn meanwhile<T>(&self, other: Step, step: impl FnOnce() -> Result<T>) -> Result<T> {
        let inner = Self { gate: self.gate.clone(), armed: Armed::default(), ..*self };
        *self.armed.lock() = Some(Box::new(move || other(&inner).unwrap()));
        let done = step();
        assert!(self.armed.lock().is_none(), "the step came to a commit");
        done
    }
}

pub(super) type Step = fn(&Scene) -> Result<()>;

const PROTECT: Step = |s| s.gate.roles().update(s.owner, RoleChange::new().protected(true)).map(drop);
const ASSIGN: Step = |s| s.gate.roles().assign(s.ada, s.owner);
const ASSIGN_BOB: Step = |s| s.gate.roles().assign(s.bob, s.owner);
const UNASSIGN: Step = |s| s.gate.roles().unassign(s.ada, s.owner);
const DELETE: Step = |s| s.gate.users().delete(s.ada);
const DISABLE: Step = |s| s.gate.users().set_status(s.ada, Status::disabled("out")).map(drop);
const LOCK: Step = |s| {
    let status = Status::locked("out").until(Timestamp::from_millis(5_000_000_000_000));
    s.gate.users().set_status(s.ada, status).map(drop)
};
const DENY: Step = |s| s.gate.roles().assign_with(s.ada, s.owner, &Grant::new().at(s.scope).denying());
const LIFT: Step = |s| s.gate.roles().unassign_at(s.ada, s.owner, s.scope);
const DELETE_ROLE: Step = |s| s.gate.roles().delete(s.owner);
const ACTIVATE: Step = |s| s.gate.users().set_status(s.ada, Status::active()).map(drop);

const BOB_GOES: [Step; 4] = [
    |s| s.gate.roles().unassign(s.bob, s.owner),
    |s| s.gate.users().delete(s.bob),
    |s| s.gate.users().set_status(s.bob, Status::disabled("out")).map(drop),
    |s| s.gate.roles().assign_with(s.bob, s.owner, &Grant::new().at(s.scope).denying()),
];

#[test]
fn nobody_takes_the_last_holder_that_somebody_else_just_made_the_last() {
    for remove in [UNASSIGN, DELETE, DISABLE, LOCK, DENY] {
        for other in BOB_GOES {
            let s = Scene::new();
            [PROTECT, ASSIGN, ASSIGN_BOB].iter().for_each(|step| step(&s).unwrap());
            let refused = s.meanwhile(other, || remove(&s)).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::LastHolder);
            assert!(s.gate.verify().unwrap().is_sound());
        }
    }
}

#[test]
fn what_becomes_protected_held_active_or_lifted_in_that_moment_is_kept() {
    for (before, other, removals) in [
        (&[ASSIGN][..], PROTECT, &[UNASSIGN, DELETE, DISABLE, LOCK, DENY, DELETE_ROLE][..]),
        (&[PROTECT], ASSIGN, &[DELETE, DISABLE, LOCK]),
        (&[ASSIGN, DISABLE, PROTECT], ACTIVATE, &[UNASSIGN, DELETE, LOCK, DENY]),
        (&[ASSIGN, DENY, PROTECT], LIFT, &[UNASSIGN, DELETE, LOCK]),
    ] {
        for remove in removals {
            let s = Scene::new();
            before.iter().for_each(|step| step(&s).unwrap());
            let refused = s.meanwhile(other, || remove(&s)).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::LastHolder);
            assert!(s.gate.verify().unwrap().is_sound());
        }
    }
}

#[test]
fn what_is_not_the_last_holder_goes_whatever_comes_between() {
    for remove in [UNASSIGN, DELETE, DISABLE] {
        let s = Scene::new();
        [PROTECT, ASSIGN, ASSIGN_BOB].iter().for_each(|step| step(&s).unwrap());
        let other: Step = |s| s.gate.users().create(NewUser::new("eve")).map(drop);
        s.meanwhile(other, || remove(&s)).unwrap();
    }
}

#[test]
fn a_mark_or_an_edge_that_is_set_in_that_moment_is_told() {
    const MARK: Step = |s| {
        let root = s.gate.roles().find("root")?.map(|role| role.id).unwrap();
        s.gate.roles().update(root, RoleChange::new().privileged(true)).map(drop)
    };
    const LINK: Step = |s| {
        let root = s.gate.roles().find("root")?.map(|role| role.id).unwrap();
        s.gate.roles().inherit(s.owner, root)
    };
    const MARK_ITSELF: Step =
        |s| s.gate.roles().update(s.owner, RoleChange::new().privileged(true)).map(drop);
    const GRANT: Step = |s| {
        let bit = s.gate.permissions().find("read")?.map(|info| info.permission);
        s.gate.roles().grant(s.owner, bit)
    };
    const RENAME: Step = |s| s.gate.roles().update(s.owner, RoleChange::new().name("o")).map(drop);
    const INHERIT: Step = |s| {
        let low = s.gate.roles().find("low")?.map(|role| role.id).unwrap();
        s.gate.roles().inherit(s.owner, low)
    };
    const BREAK_GLASS: Step = |s| {
        let terms = Grant::break_glass("fire", Timestamp::from_millis(4_000_000_000_000));
        s.gate.roles().assign_with(s.ada, s.owner, &terms)
    };
    use AuditKind as K;
    for (step, kind) in [
        (ASSIGN, K::PrivilegedRoleAssigned),
        (BREAK_GLASS, K::PrivilegedBreakGlass),
        (GRANT, K::PrivilegedRoleChanged),
        (RENAME, K::PrivilegedRoleChanged),
        (INHERIT, K::PrivilegedRoleChanged),
        (DELETE_ROLE, K::PrivilegedRoleDeleted),
    ] {
        for (before, other) in [(&[LINK][..], MARK), (&[MARK], LINK), (&[], MARK_ITSELF)] {
            let s = Scene::new();
            s.gate.permissions().define("read").unwrap();
            for name in ["root", "low"] {
                s.gate.roles().create(name, []).unwrap();
            }
            before.iter().for_each(|step| step(&s).unwrap());
            s.meanwhile(other, || step(&s)).unwrap();
            let all = crate::engine::PageRequest::default();
            let last = s.gate.audit().list(&all.descending()).unwrap().items.remove(0);
            assert_eq!(last.kind, kind);
            assert!(s.gate.verify().unwrap().is_sound());
        }
    }
}

/// Ada administers `acme`, below the role `owner`; what takes that from her in the same moment lets not one more change
/// through.
#[test]
fn who_loses_the_right_to_administer_in_that_moment_changes_nothing_more() {
    use crate::delegation::{Ability, RoleRange};
    const ADMIN: fn(&Scene) -> RoleId = |s| s.gate.roles().find("admin").unwrap().unwrap().id;
    const HELD: fn(&Scene) -> RoleId = |s| s.gate.roles().find("held").unwrap().unwrap().id;
    const LOW: fn(&Scene) -> RoleId = |s| s.gate.roles().find("low").unwrap().unwrap().id;
    let losses: &[Step] = &[
        |s| s.gate.roles().unassign_at(s.ada, HELD(s), s.scope),
        |s| s.gate.users().set_status(s.ada, Status::disabled("out")).map(drop),
        |s| s.gate.users().delete(s.ada),
        |s| {
            let all = crate::engine::PageRequest::default();
            let found = s.gate.delegations().list(&all)?.items.remove(0);
            s.gate.delegations().delete(found.id)
        },
        |s| s.gate.roles().disinherit(HELD(s), ADMIN(s)),
        |s| s.gate.roles().delete(ADMIN(s)),
        |s| s.gate.roles().delete(HELD(s)),
        // The range ends, or becomes a range of administrators.
        |s| s.gate.roles().disinherit(s.owner, LOW(s)),
        |s| s.gate.delegations().create(LOW(s), RoleRange::Below(HELD(s)), [Ability::Assign]).map(drop),
        |s| s.gate.roles().inherit(LOW(s), ADMIN(s)),
    ];
    let steps: &[Step] = &[
        |s| s.gate.delegated(s.ada).roles().assign_with(s.bob, LOW(s), &Grant::new().at(s.scope)),
        |s| {
            let bit = s.gate.permissions().find("read")?.map(|info| info.permission).unwrap();
            s.gate.delegated(s.ada).access().grant(s.bob, bit, &Grant::new().at(s.scope))
        },
    ];
    for loss in losses {
        for step in steps {
            let s = Scene::new();
            let bit = s.gate.permissions().define("read").unwrap();
            let [admin, held, low] =
                ["admin", "held", "low"].map(|name| s.gate.roles().create(name, []).unwrap());
            s.gate.roles().grant(low, [bit]).unwrap();
            s.gate.roles().inherit(held, admin).unwrap();
            s.gate.roles().inherit(s.owner, low).unwrap();
            s.gate
                .delegations()
                .create(admin, RoleRange::Below(s.owner), [Ability::Assign, Ability::GrantDirectly])
                .unwrap();
            s.gate.roles().assign_with(s.ada, held, &Grant::new().at(s.scope)).unwrap();
            let refused = s.meanwhile(*loss, || step(&s)).unwrap_err();
            assert_eq!(refused.denial(), Some(crate::error::Denial::Delegation), "{refused:?}");
            let all = crate::engine::PageRequest::default();
            assert!(s.gate.roles().of_user(s.bob, &all).unwrap().items.is_empty());
            assert!(s.gate.access().of_user(s.bob, &all).unwrap().items.is_empty());
            assert!(s.gate.verify().unwrap().is_sound());
        }
    }
    let s = Scene::new();
    let [admin, low] = ["admin", "low"].map(|name| s.gate.roles().create(name, []).unwrap());
    s.gate.delegations().create(admin, RoleRange::Below(low), [Ability::Assign]).unwrap();
    s.gate.roles().assign_with(s.ada, admin, &Grant::new().at(s.scope)).unwrap();
    // The scope goes: then there is nothing to assign at.
    let gone =
        s.meanwhile(|s| s.gate.scopes().delete(s.scope), || steps.first().map_or(Ok(()), |step| step(&s)));
    assert_eq!(gone.unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn who_moves_out_of_reach_in_that_moment_is_not_administered() {
    use crate::delegation::{Ability, RoleRange};
    use crate::user::UserChange;
    let s = Scene::new();
    let [near, far] = ["near", "far"].map(|name| s.gate.scopes().create(s.scope, name).unwrap());
    let inner = s.gate.scopes().create(near, "inner").unwrap();
    s.gate.users().update(s.bob, UserChange::new().home(inner)).unwrap();
    let admin = s.gate.roles().create("admin", []).unwrap();
    s.gate.delegations().create(admin, RoleRange::Below(s.owner), [Ability::ManageUsers]).unwrap();
    s.gate.roles().assign_with(s.ada, admin, &Grant::new().at(near)).unwrap();
    let disable = || s.gate.delegated(s.ada).users().set_status(s.bob, Status::disabled("out"));
    let moved: Step = |s| {
        let [inner, far] =
            ["acme/near/inner", "acme/far"].map(|path| s.gate.scopes().find(path).unwrap().unwrap());
        s.gate.scopes().move_to(inner, far)
    };
    let refused = s.meanwhile(moved, disable).unwrap_err();
    assert_eq!(refused.denial(), Some(crate::error::Denial::Delegation));
    s.gate.scopes().move_to(inner, near).unwrap();
    disable().unwrap();
    assert!(s.gate.scopes().get(far).is_ok());
}

/// A role comes to ask for a second factor while ada, who has none, comes to have it in a session, by whatever way.
#[test]
fn a_demand_of_that_moment_leaves_no_session_of_one_factor() {
    use crate::assurance::Assurance;
    use crate::engine::{Credentials, Login};
    use crate::error::Denial;
    use crate::session::Client;
    const OLD: &str = "correct horse battery staple";
    fn log_in(s: &Scene) -> Result<Login> {
        s.gate.login(&Credentials::password("ada", OLD), &Client::new())
    }
    let changes: [Step; 2] = [
        |s| s.gate.roles().update(s.owner, RoleChange::new().assurance(Assurance::Two)).map(drop),
        |s| s.gate.roles().inherit(s.owner, s.gate.roles().find("vault")?.map(|role| role.id).unwrap()),
    ];
    let steps: [Step; 3] = [
        |s| log_in(s).map(drop),
        |s| s.gate.roles().assign(s.ada, s.owner),
        |s| {
            let all = crate::engine::PageRequest::default();
            let selecting = s.gate.sessions().of_user(s.ada, &all)?.items.remove(0);
            s.gate.sessions().activate(selecting.id, s.owner)
        },
    ];
    let scene = |number: usize| {
        let s = Scene::with(Portcullis::builder().danger_fast_password_hashes());
        s.gate.users().set_password(s.ada, OLD).unwrap();
        let vault = s.gate.roles().create("vault", []).unwrap();
        s.gate.roles().update(vault, RoleChange::new().assurance(Assurance::Two)).unwrap();
        let spare = s.gate.roles().create("spare", []).unwrap();
        s.gate.roles().assign(s.ada, spare).unwrap();
        if number == 1 {
            log_in(&s).unwrap();
        } else {
            s.gate.roles().assign(s.ada, s.owner).unwrap();
        }
        let who = Credentials::password("ada", OLD);
        s.gate.login_with_roles(&who, &Client::new(), [spare]).unwrap();
        s
    };
    // Either may be refused for the other: what counts is what is left.
    let sound = |s: &Scene, case: &str| {
        let found = s.gate.verify().unwrap();
        assert!(found.is_sound(), "{case}: {:?}", found.problems);
    };
    for change in changes {
        for (number, step) in steps.iter().enumerate() {
            let s = scene(number);
            let refused = s.meanwhile(change, || step(&s));
            assert!(number == 1 || refused.unwrap_err().denial() == Some(Denial::FactorRequired));
            sound(&s, &format!("the change comes between, {number}"));
            let s = scene(number);
            s.meanwhile(*step, || change(&s)).unwrap();
            sound(&s, &format!("the step comes between, {number}"));
        }
        let s = scene(0);
        let old = log_in(&s).unwrap();
        let new = "another horse, another battery";
        let changed = s.meanwhile(change, || s.gate.change_password(old.token(), OLD, new, &Client::new()));
        assert_eq!(changed.unwrap_err().denial(), Some(Denial::Session));
        sound(&s, "the change comes between, with another password");
    }
}
