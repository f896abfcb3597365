//! Random operations against a naive model, over restarts and storage failures. Four bytes are one operation, so that
//! whoever makes up sequences, a fuzzer or a property test, can cut and join them as it likes.

#[path = "model.rs"]
mod model;

use model::{Model, Role, Session, User};
use portcullis::testing::{FaultPoint, Faults, ManualClock, SeededEntropy};
use portcullis::{
    Builder, Client, Clock, Credentials, Error, ErrorKind, NewUser, Page, PageRequest, Permission,
    Portcullis, Result, RoleId, SessionId, Status, ThrottlePolicy, UserChange, UserId,
};
use std::path::Path;
use std::time::Duration;

const LOGINS: [&str; 7] = ["ada", "bob", "cy", "dee", "eve", "fay", "gus"];
const NAMES: [&str; 6] = ["p", "q", "r", "s", "t", "u"];
const PASSWORDS: [&str; 2] = ["the first password of all", "the second password of all"];
const FAULTS: [FaultPoint; 4] =
    [FaultPoint::JournalWrite, FaultPoint::JournalSync, FaultPoint::Apply, FaultPoint::Checkpoint];
/// The number of a thing that is never made.
const NOTHING: u32 = 900_000;

/// For the fuzzer: a sequence in memory.
pub(crate) fn run(data: &[u8]) {
    let operations: Vec<[u8; 4]> =
        data.chunks_exact(4).take(300).filter_map(|op| op.try_into().ok()).collect();
    run_operations(&operations, None);
}

/// Runs a sequence, in a database at that path or in memory, and compares all along.
pub(crate) fn run_operations(operations: &[[u8; 4]], path: Option<&Path>) {
    let (clock, faults) = (ManualClock::new(), Faults::new());
    let builder = Portcullis::builder()
        .clock(clock.clone())
        .entropy(SeededEntropy::new(11))
        .faults(faults.clone())
        .throttle(ThrottlePolicy::new().danger_off())
        .danger_fast_password_hashes();
    let model = Model { now: clock.now().as_millis(), ..Model::default() };
    let gate = Some(open(&builder, path));
    let mut run = Run { gate, builder, path, clock, faults, model, newest: (None, None, None) };
    for operation in operations {
        run.step(*operation);
        run.sample(*operation);
    }
    run.compare_all();
}

/// A listing in small pages.
fn all<T>(mut page: impl FnMut(&PageRequest) -> Result<Page<T>>) -> Vec<T> {
    let (mut items, mut after) = (Vec::new(), None);
    loop {
        let found = page(&PageRequest::first(4).after(after)).expect("a listing");
        items.extend(found.items);
        match found.next {
            Some(next) => after = Some(next),
            None => return items,
        }
    }
}

fn open(builder: &Builder, path: Option<&Path>) -> Portcullis {
    let Some(path) = path else { return builder.clone().in_memory().expect("in memory") };
    // A failure that was planned and has not happened yet may hit the opening itself, or the housekeeping that ends it;
    // each happens once.
    for _ in 0..20 {
        let gate = builder.clone().cache(1 << 20).open(path);
        match gate.and_then(|gate| gate.users().list(&PageRequest::first(1)).map(|_| gate)) {
            Ok(gate) => return gate,
            Err(error) => assert!(error.to_string().contains("injected"), "does not open again: {error:?}"),
        }
    }
    panic!("does not open again");
}

/// What an operation is due to do.
enum Due {
    /// The change, and one audit record.
    Done,
    /// No change and no record.
    Nothing,
    Refused(ErrorKind),
}
use Due::{Done, Nothing, Refused};

struct Run<'p> {
    /// None only while it is opened again.
    gate: Option<Portcullis>,
    builder: Builder,
    path: Option<&'p Path>,
    clock: ManualClock,
    faults: Faults,
    model: Model,
    /// The highest numbers ever given out.
    newest: (Option<UserId>, Option<RoleId>, Option<Permission>),
}

fn pick<T: Copy>(items: impl Iterator<Item = T>, byte: u8, nothing: T) -> T {
    let items: Vec<T> = items.collect();
    if items.is_empty() || byte >= 244 { nothing } else { items[usize::from(byte) % items.len()] }
}

impl Run<'_> {
    fn gate(&self) -> Portcullis {
        self.gate.clone().expect("open")
    }

    fn user(&self, byte: u8) -> UserId {
        pick(self.model.users.keys().copied(), byte, UserId::from_number(NOTHING.into()))
    }

    fn role(&self, byte: u8) -> RoleId {
        pick(self.model.roles.keys().copied(), byte, RoleId::from_number(NOTHING))
    }

    fn permission(&self, byte: u8) -> Permission {
        pick(self.model.permissions.keys().copied(), byte, Permission::from_bit(NOTHING))
    }

    fn session(&self, byte: u8) -> SessionId {
        pick(self.model.sessions.keys().copied(), byte, SessionId::from_number(1))
    }

    /// Compares what happened with what was due, and lets the model follow. `change` gets what the call returned; after
    /// a storage failure that is nothing, and what the database shows instead.
    fn settle<T>(
        &mut self,
        result: Result<T>,
        due: &Due,
        change: impl FnOnce(&mut Model, Option<T>, &Model),
    ) {
        match (result, due) {
            (Err(error), _) if error.is_storage() => self.recover(&error, |model, observed| {
                if let Done = due {
                    change(model, None, observed);
                    model.audit += 1;
                }
            }),
            (Ok(made), Done) => {
                change(&mut self.model, Some(made), &Model::default());
                self.model.audit += 1;
            }
            (Ok(_), Nothing) => {}
            (Ok(_), Refused(kind)) => panic!("done where {kind:?} is due"),
            (Err(error), Refused(kind)) => assert_eq!(error.kind(), *kind, "{error:?}"),
            (Err(error), _) => panic!("refused: {error:?}"),
        }
        assert_eq!(self.length(), Some(self.model.audit), "the length of the audit log");
    }

    /// The length of the log, where it is not for a failure to hide.
    fn length(&self) -> Option<u64> {
        self.gate.as_ref().map(|gate| gate.audit().head().length)
    }

    /// After a storage failure: the whole change or nothing of it, as the database shows when it is opened again.
    fn recover(&mut self, error: &Error, change: impl FnOnce(&mut Model, &Model)) {
        assert!(self.path.is_some(), "a failure that nobody planned: {error:?}");
        self.gate = None;
        self.gate = Some(open(&self.builder, self.path));
        let gate = self.gate();
        let observed = Model::observe(&gate, self.model.now);
        let mut done = self.model.clone();
        change(&mut done, &observed);
        let undone = self.model.is_seen_as(&observed);
        if undone.is_err() {
            assert_ne!(error.kind(), ErrorKind::Stopped, "a stopped handle did something: {undone:?}");
            if let Err(half) = done.is_seen_as(&observed) {
                panic!("neither done ({half}) nor undone ({undone:?}) after {error:?}");
            }
            self.model = done;
        }
        self.model.sessions.retain(|id, session| {
            observed.sessions.get(id).is_some_and(|found| {
                (session.seen, session.stored_seen) = (found.seen, found.seen);
                true
            })
        });
        let found = gate.verify().expect("verify");
        assert!(found.is_sound(), "{:?}", found.problems);
    }

    fn step(&mut self, [code, a, b, c]: [u8; 4]) {
        match code % 26 {
            0 | 1 => self.create_user(a, b),
            2 => self.rename_user(a, b),
            3 if c < 128 => self.delete_user(a),
            4 => self.set_status(a, b, c),
            5 if c < 128 => self.set_password(a, b),
            6..=13 => self.change_policy(code % 26, a, b),
            14 | 15 => self.assign(a, b, c),
            16 | 17 => self.login(a, b),
            18 => self.authenticate(a),
            19 | 20 => self.revoke(a, b),
            21 => {
                let seconds = [1, 59, 1800, 3599, 3600, 40_000][usize::from(a) % 6];
                self.clock.advance(Duration::from_secs(seconds));
                self.model.now = self.clock.now().as_millis();
            }
            22 => self.maintain(),
            23 | 24 if self.path.is_some() => self.reopen(a % 2 == 0),
            25 if self.path.is_some() => self.faults.fail(FAULTS[usize::from(a) % 4], u64::from(b % 3) + 1),
            _ => {}
        }
    }

    fn create_user(&mut self, a: u8, b: u8) {
        let login = LOGINS[usize::from(a) % LOGINS.len()];
        let password = (b < 200).then_some(usize::from(b) % 2);
        let new = NewUser::new(login).email(format!("{login}@example.org"));
        let new = match password {
            Some(password) => new.password(PASSWORDS[password]),
            None => new,
        };
        let due =
            if self.model.user_named(login).is_some() { Refused(ErrorKind::AlreadyExists) } else { Done };
        let result = self.gate().users().create(new).map(|user| user.id);
        if let Ok(id) = result {
            assert!(self.newest.0.replace(id) < Some(id), "{id} is not new");
        }
        self.settle(result, &due, |model, id, observed| {
            let Some(id) = id.or_else(|| observed.user_named(login)) else { return };
            model.users.insert(id, User { login: login.to_owned(), status: Status::active(), password });
        });
    }

    fn rename_user(&mut self, a: u8, b: u8) {
        let (id, login) = (self.user(a), LOGINS[usize::from(b) % LOGINS.len()]);
        let due = match self.model.user_named(login) {
            _ if !self.model.users.contains_key(&id) => Refused(ErrorKind::NotFound),
            Some(other) if other != id => Refused(ErrorKind::AlreadyExists),
            _ => Done,
        };
        // Another spelling is the same name.
        let login = if b < 128 { login.to_owned() } else { login.to_uppercase() };
        let result = self.gate().users().update(id, UserChange::new().login(login.as_str()));
        self.settle(result, &due, |model, _, _| model.users.get_mut(&id).expect("there").login = login);
    }

    fn delete_user(&mut self, a: u8) {
        let id = self.user(a);
        let due = self.due_user(id);
        let result = self.gate().users().delete(id);
        self.settle(result, &due, |model, _, _| model.delete_user(id));
    }

    fn due_user(&self, id: UserId) -> Due {
        if self.model.users.contains_key(&id) { Done } else { Refused(ErrorKind::NotFound) }
    }

    fn set_status(&mut self, a: u8, b: u8, c: u8) {
        let id = self.user(a);
        let until = self.clock.now().saturating_add(Duration::from_secs(u64::from(c) * 30));
        let status = match b % 6 {
            0 | 1 => Status::active(),
            2 => Status::pending(),
            3 => Status::disabled("because"),
            4 => Status::locked("because").until(until),
            _ => Status::disabled("for a while").until(until),
        };
        let due = self.due_user(id);
        let result = self.gate().users().set_status(id, status.clone());
        let now = self.clock.now();
        self.settle(result, &due, |model, _, _| {
            if !status.is_active_at(now) {
                model.end_sessions(id, None);
            }
            model.users.get_mut(&id).expect("there").status = status;
        });
    }

    fn set_password(&mut self, a: u8, b: u8) {
        let (id, password) = (self.user(a), usize::from(b) % 2);
        let due = self.due_user(id);
        let result = self.gate().users().set_password(id, PASSWORDS[password]);
        self.settle(result, &due, |model, _, _| {
            model.end_sessions(id, None);
            model.users.get_mut(&id).expect("there").password = Some(password);
        });
    }
}

#[path = "operations_policy.rs"]
mod policy;
