//! Databases to test on, and the questions that every module asks.

use crate::authenticator::{ORIGIN, RP};
use portcullis::testing::{Faults, ManualClock, SeededEntropy};
use portcullis::{
    Builder, Client, Credentials, Error, ErrorKind, Login, NewUser, Page, PageRequest, PasskeySettings,
    Portcullis, Result, StatusKind, ThrottlePolicy, Timestamp, User, UserId,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) const PASSWORD: &str = "correct horse battery staple";
pub(crate) const OTHER: &str = "another horse, another battery";

/// A database with all that a test wants to steer.
pub(crate) struct World {
    pub(crate) gate: Portcullis,
    pub(crate) clock: ManualClock,
    pub(crate) entropy: SeededEntropy,
}

fn parts() -> (Builder, ManualClock, SeededEntropy) {
    let (clock, entropy) = (ManualClock::new(), SeededEntropy::new(7));
    let builder = Portcullis::builder().clock(clock.clone()).entropy(entropy.clone());
    let builder = builder.passkeys(PasskeySettings::new(RP, [ORIGIN]).name("Example"));
    (builder.danger_fast_password_hashes(), clock, entropy)
}

pub(crate) fn world() -> World {
    world_with(|builder| builder)
}

/// With further settings.
pub(crate) fn world_with(settings: impl FnOnce(Builder) -> Builder) -> World {
    let (builder, clock, entropy) = parts();
    World { gate: settings(builder).in_memory().unwrap(), clock, entropy }
}

/// Where failures hold nobody up, so that a test can have many of them.
pub(crate) fn patient(builder: Builder) -> Builder {
    builder.throttle(ThrottlePolicy::new().danger_off())
}

/// A place for databases on disk, with settings that stay over a reopening.
pub(crate) struct Disk {
    pub(crate) path: PathBuf,
    pub(crate) clock: ManualClock,
    pub(crate) faults: Faults,
    builder: Builder,
    pub(crate) directory: tempfile::TempDir,
}

impl Disk {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (builder, clock, _) = parts();
        let faults = Faults::new();
        let builder = builder.faults(faults.clone()).cache(4 << 20);
        Self { path: directory.path().join("auth.db"), clock, faults, builder, directory }
    }

    pub(crate) fn try_open(&self) -> Result<Portcullis> {
        self.builder.clone().open(&self.path)
    }

    /// Opens it with further settings.
    pub(crate) fn open_with(&self, settings: impl FnOnce(Builder) -> Builder) -> Result<Portcullis> {
        settings(self.builder.clone()).open(&self.path)
    }

    pub(crate) fn open(&self) -> Portcullis {
        self.try_open().unwrap()
    }
}

impl World {
    /// A user with [`PASSWORD`].
    pub(crate) fn user(&self, login: &str) -> User {
        user(&self.gate, login)
    }

    pub(crate) fn login(&self, login: &str) -> Login {
        log_in(&self.gate, login, PASSWORD).unwrap()
    }

    pub(crate) fn after(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

pub(crate) fn user(gate: &Portcullis, login: &str) -> User {
    gate.users().create(NewUser::new(login).password(PASSWORD)).unwrap()
}

pub(crate) fn log_in(gate: &Portcullis, login: &str, password: &str) -> Result<Login> {
    gate.login(&Credentials::password(login, password), &Client::new())
}

/// Whether the token is refused as one of no live session; an outage fails the test.
#[track_caller]
pub(crate) fn is_live(gate: &Portcullis, token: &str) -> bool {
    match gate.authenticate(token) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.denial(), Some(portcullis::Denial::Session), "{error:?}");
            false
        }
    }
}

/// The error of a call that must fail, which must be of that kind and name that field.
#[track_caller]
pub(crate) fn refused<T: Debug>(result: Result<T>, kind: ErrorKind, field: Option<&str>) -> Error {
    let error = result.expect_err("the call must be refused");
    assert_eq!((error.kind(), error.field()), (kind, field), "{error:?}");
    error
}

/// A whole listing, read in pages of three so that every cursor is used.
#[track_caller]
pub(crate) fn all<T>(mut page: impl FnMut(&PageRequest) -> Result<Page<T>>) -> Vec<T> {
    let (mut items, mut after) = (Vec::new(), None);
    loop {
        let found = page(&PageRequest::first(3).after(after)).unwrap();
        items.extend(found.items);
        match found.next {
            Some(next) => after = Some(next),
            None => return items,
        }
    }
}

/// A listing from its end to its beginning, in the same small pages.
#[track_caller]
pub(crate) fn backwards<T>(mut page: impl FnMut(&PageRequest) -> Result<Page<T>>) -> Vec<T> {
    all(|request| page(&request.clone().descending()))
}

/// Everything that can be read, in words: equal before and after a call that was refused.
#[track_caller]
pub(crate) fn everything(gate: &Portcullis) -> Vec<String> {
    let mut found = vec![format!("{:?}", gate.audit().head())];
    for user in all(|page| gate.users().list(page)) {
        found.push(format!("{user:?}"));
        found.push(format!("{:?}", all(|page| gate.users().contacts(user.id, page))));
        found.push(format!("{:?} {:?}", gate.users().profile(user.id), gate.users().preferences(user.id)));
        found.push(format!("{:?}", all(|page| gate.roles().of_user(user.id, page))));
        found.push(format!("{:?}", all(|page| gate.sessions().of_user(user.id, page))));
        found.push(format!("{:?}", gate.passkeys().of_user(user.id)));
    }
    for status in StatusKind::ALL {
        found.push(format!("{:?}", all(|page| gate.users().by_status(status, page)).len()));
    }
    for role in all(|page| gate.roles().list(page)) {
        found.push(format!("{role:?} {:?}", gate.roles().granted(role.id).unwrap()));
        found.push(format!("{:?}", all(|page| gate.roles().holders(role.id, page))));
    }
    found.push(format!("{:?}", all(|page| gate.permissions().list(page))));
    for flag in all(|page| gate.flags().list(page)) {
        found.push(format!("{flag:?} {:?}", all(|page| gate.flags().rules(flag.flag, page))));
    }
    found.push(format!("{:?}", all(|page| gate.sessions().by_expiry(page))));
    found
}

#[track_caller]
pub(crate) fn sound(gate: &Portcullis) {
    let found = gate.verify().unwrap();
    assert!(found.is_sound(), "{:?}", found.problems);
}

pub(crate) fn holds(gate: &Portcullis, user: UserId, permission: portcullis::Permission) -> bool {
    gate.check(user, permission).unwrap().is_allowed()
}

pub(crate) fn later(time: Timestamp, seconds: u64) -> Timestamp {
    time.saturating_add(Duration::from_secs(seconds))
}

/// For the naive models: a role and all that it inherits from, over edges from senior to junior.
pub(crate) fn juniors(edges: &BTreeSet<(usize, usize)>, role: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::from([role]);
    loop {
        let more: Vec<usize> =
            edges.iter().filter(|edge| found.contains(&edge.0)).map(|edge| edge.1).collect();
        let before = found.len();
        found.extend(more);
        if found.len() == before {
            return found;
        }
    }
}

/// For the naive models: a scope and all that it lies in, by a map from scope to parent; none where one is gone.
pub(crate) fn levels(scopes: &BTreeMap<u32, u32>, scope: u32) -> Option<Vec<u32>> {
    let (mut found, mut at) = (vec![scope], scope);
    while at != 0 {
        at = *scopes.get(&at)?;
        found.push(at);
    }
    Some(found)
}
