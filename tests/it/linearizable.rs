//! Threads call whatever they like, and all that they were answered is one story (`checker`).
//!
//! Starts and ends are counted, not timed: a call that ended before another one began has the lower number on whichever
//! thread.

mod checker;

use crate::support::{Disk, OTHER, PASSWORD, World, log_in, patient, sound, user, world_with};
use checker::{Call, Done, Number, State, first_impossible};
use portcullis::{ErrorKind, Login, Permission, Portcullis, Result, RoleId, Status, UserId};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};

const PASSWORDS: [&str; 2] = [PASSWORD, OTHER];
const NAMES: [&str; 2] = ["ada", "bob"];

/// What threads share of one user.
struct Account {
    name: &'static str,
    id: UserId,
    sessions: Mutex<Vec<(Number, Arc<Login>)>>,
    history: Mutex<Vec<Done>>,
}

struct Stage<'a> {
    gate: &'a Portcullis,
    role: RoleId,
    read: Permission,
    accounts: Vec<Account>,
    count: AtomicU64,
    logins: AtomicUsize,
}

impl<'a> Stage<'a> {
    fn new(gate: &'a Portcullis) -> Self {
        let read = gate.permissions().define("read").unwrap();
        let role = gate.roles().create("reader", [read]).unwrap();
        let accounts = NAMES.map(|name| {
            let id = user(gate, name).id;
            gate.roles().assign(id, role).unwrap();
            Account { name, id, sessions: Mutex::default(), history: Mutex::default() }
        });
        let (count, logins) = (AtomicU64::new(0), AtomicUsize::new(0));
        Self { gate, role, read, accounts: accounts.into(), count, logins }
    }

    /// Makes a call and writes down what came of it.
    fn call(&self, account: &Account, draw: u64) {
        let (gate, id) = (self.gate, account.id);
        let (password, pick) = ((draw >> 8) as u8 & 1, (draw >> 16) as usize);
        let session = {
            let sessions = account.sessions.lock().unwrap();
            // Mostly one of the latest, which are those that may be live.
            let back = pick % sessions.len().clamp(1, 6);
            sessions.len().checked_sub(back + 1).map(|place| sessions[place].clone())
        };
        let number = session.as_ref().map_or(0, |(number, _)| *number);
        let call = match (draw % 64, &session) {
            (0..=3, _) | (_, None) => Call::Login(password, self.logins.fetch_add(1, SeqCst)),
            (4..=6, _) => Call::Revoke(number),
            (7..=9, _) => Call::RevokeOthers(number),
            (10, _) => Call::RevokeAll,
            (11, _) => Call::Disable,
            (12..=14, _) => Call::Enable,
            (15, _) => Call::SetPassword(password),
            (16 | 17, _) => Call::Assign,
            (18 | 19, _) => Call::Unassign,
            (20..=33, _) => Call::Authenticate(number),
            (34..=50, _) => Call::Can(number),
            _ => Call::Check,
        };
        let held = session.map(|(_, login)| login);
        // The handle was found before: a question is the check alone.
        let who = held.as_ref().and_then(|login| gate.authenticate(login.token()).ok());
        let (call, who) = match (call, who) {
            (Call::Can(number), None) => (Call::Authenticate(number), None),
            other => other,
        };
        let session = held.as_ref().map(|login| login.session().id);
        let began = self.count.fetch_add(1, SeqCst);
        let yes = match call {
            Call::Login(password, number) => {
                match log_in(gate, account.name, PASSWORDS[usize::from(password)]) {
                    Ok(login) => {
                        account.sessions.lock().unwrap().push((number, Arc::new(login)));
                        true
                    }
                    Err(error) => {
                        assert_eq!(error.denial(), Some(portcullis::Denial::Credentials), "{error:?}");
                        false
                    }
                }
            }
            Call::Revoke(_) => done(gate.sessions().revoke(session.unwrap())),
            Call::RevokeOthers(_) => done(gate.sessions().revoke_others(session.unwrap())),
            Call::RevokeAll => done(gate.sessions().revoke_all(id)),
            Call::Disable => done(gate.users().set_status(id, Status::disabled("x"))),
            Call::Enable => done(gate.users().set_status(id, Status::active())),
            Call::SetPassword(password) => {
                done(gate.users().set_password(id, PASSWORDS[usize::from(password)]))
            }
            Call::Assign => done(gate.roles().assign(id, self.role)),
            Call::Unassign => done(gate.roles().unassign(id, self.role)),
            Call::Authenticate(_) => gate.authenticate(held.unwrap().token()).is_ok(),
            Call::Can(_) => who.unwrap().can(self.read),
            Call::Check => gate.check(id, self.read).unwrap().is_allowed(),
        };
        let ended = self.count.fetch_add(1, SeqCst);
        account.history.lock().unwrap().push(Done { call, yes, began, ended });
    }

    fn run(&self, seed: u64, threads: u64, calls: u64) {
        let barrier = Barrier::new(threads as usize);
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let barrier = &barrier;
                scope.spawn(move || {
                    let mut draw = seed ^ thread << 32;
                    barrier.wait();
                    for _ in 0..calls {
                        draw = mix(draw);
                        // Most of them on the first account, so that they meet.
                        let account = &self.accounts[usize::from(draw >> 60 > 11)];
                        self.call(account, draw);
                    }
                });
            }
        });
    }
}

fn mix(draw: u64) -> u64 {
    let z = draw.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Whether a change was made; where it was not, there was nothing to change.
fn done<T>(result: Result<T>) -> bool {
    match result {
        Ok(_) => true,
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists), "{error:?}");
            false
        }
    }
}

/// Runs threads on a database; their answers must be one story for each user.
fn one_story(gate: &Portcullis, seed: u64, threads: u64, calls: u64) {
    let stage = Stage::new(gate);
    stage.run(seed, threads, calls);
    for account in stage.accounts {
        let mut history = account.history.into_inner().unwrap();
        history.sort_by_key(|done| done.began);
        let (yes, overlaps) = (
            history.iter().filter(|done| done.yes).count(),
            history.windows(2).filter(|pair| pair[1].began < pair[0].ended),
        );
        assert!(yes > history.len() / 10 && yes < history.len(), "answers of both kinds");
        assert!(overlaps.count() > 0, "calls that met");
        if let Some(wrong) = first_impossible(&State::first(), &history) {
            let near =
                history.iter().filter(|done| done.ended + 60 > wrong.began && done.began < wrong.ended);
            let near: Vec<String> = near.map(|done| format!("{done:?}")).collect();
            panic!(
                "{} (seed {seed}): no story is left at {wrong:?} after\n{}",
                account.name,
                near.join("\n")
            );
        }
    }
    sound(gate);
}

#[test]
fn all_answers_in_memory_are_one_story() {
    for seed in 0..4 {
        let World { gate, .. } = world_with(patient);
        one_story(&gate, seed, 4, 600);
    }
}

#[test]
fn all_answers_from_a_disk_are_one_story() {
    let disk = Disk::new();
    let gate = disk.open_with(patient).unwrap();
    one_story(&gate, 9, 4, 150);
}
