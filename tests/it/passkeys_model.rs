//! Passkeys against a naive model: random walks over registering, using, copying, replaying and removing them.

use crate::authenticator::{Authenticator, UP, UV};
use crate::passkeys::{person, register};
use crate::support::{World, sound, world};
use portcullis::testing::passkeys::{Proof, finish_assertion, finish_login, start_assertion, start_login};
use portcullis::{Denial, PasskeyId, Result, UserId};
use proptest::prelude::*;

const USERS: usize = 2;
const DEVICES: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The device registers for the user, with that counter.
    Register(usize, usize, u32),
    /// A login without a name; the device says that counter, and whether it verified its user.
    Login(usize, u32, bool),
    /// The same after a name.
    Second(usize, usize, u32, bool),
    /// An answer that was given before, once more, by that many steps back.
    Replay(usize),
    Remove(usize),
    Rename(usize),
    Advance(u64),
    Maintain,
}

fn step() -> impl Strategy<Value = Step> {
    let (user, device) = (0..USERS, 0..DEVICES);
    let counter = || prop_oneof![Just(0), 1..6_u32];
    prop_oneof![
        3 => (user.clone(), device.clone(), counter()).prop_map(|(u, d, c)| Step::Register(u, d, c)),
        6 => (device.clone(), counter(), prop::bool::weighted(0.8)).prop_map(|(d, c, v)| Step::Login(d, c, v)),
        4 => (user, device.clone(), counter(), any::<bool>()).prop_map(|(u, d, c, v)| Step::Second(u, d, c, v)),
        3 => (0..6_usize).prop_map(Step::Replay),
        1 => device.clone().prop_map(Step::Remove),
        1 => device.prop_map(Step::Rename),
        1 => (1..400_u64).prop_map(Step::Advance),
        1 => Just(Step::Maintain),
    ]
}

/// What the model knows of a registered device.
#[derive(Clone, Debug)]
struct Known {
    user: usize,
    id: PasskeyId,
    counter: u32,
    suspended: bool,
}

struct Walk {
    world: World,
    users: [UserId; USERS],
    devices: [Authenticator; DEVICES],
    known: [Option<Known>; DEVICES],
    /// For whom each device made its credential last.
    owners: [Option<usize>; DEVICES],
    given: Vec<Given>,
    seconds: u64,
}

/// An answer to a question without a name.
#[derive(Clone, Debug)]
struct Given {
    ticket: String,
    response: String,
    device: usize,
    /// Whom it names.
    user: usize,
    counter: u32,
    verified: bool,
    expires: u64,
    spent: bool,
}

impl Walk {
    fn new() -> Self {
        let world = world();
        let users = ["ada", "bob"].map(|login| person(&world.gate, login));
        let devices = ["one", "two", "three"].map(Authenticator::named);
        let known = [const { None }; DEVICES];
        Self { world, users, devices, known, owners: [None; DEVICES], given: Vec::new(), seconds: 0 }
    }

    /// What the model says to an assertion that is genuine, and what it makes of it.
    fn uses(&mut self, device: usize, counter: u32) -> bool {
        let Some(known) = &mut self.known[device] else { return false };
        if known.suspended {
            return false;
        }
        if counter <= known.counter && (counter, known.counter) != (0, 0) {
            known.suspended = true;
            return false;
        }
        known.counter = counter;
        true
    }

    fn compare(&self, due: bool, device: usize, result: &Result<Proof>) {
        match result {
            Ok((user, id, _)) => {
                let known = self.known[device].as_ref().expect("nothing opens without a passkey");
                assert!(due, "believed against the model");
                assert_eq!((*user, *id), (self.users[known.user], known.id));
            }
            Err(error) => {
                assert_eq!(error.denial(), Some(Denial::Credentials), "{error}");
                assert!(!due, "refused against the model");
            }
        }
    }

    fn answer(&self, device: usize, counter: u32, verified: bool, options: &str) -> String {
        let mut device = self.devices[device].clone();
        device.flags = if verified { UP | UV } else { UP };
        device.counter = counter;
        device.answer(options)
    }

    /// Presents an answer, for the first time or once more.
    fn present(&mut self, at: usize) {
        let given = self.given[at].clone();
        let result = finish_login(&self.world.gate, &given.ticket, &given.response);
        let asked = given.verified && !given.spent && self.seconds < given.expires;
        let live = self.known[given.device].as_ref();
        let live = live.is_some_and(|known| known.user == given.user && !known.suspended);
        let due = asked && live && {
            // A challenge is spent by the first answer that comes to the counter.
            self.given[at].spent = true;
            self.uses(given.device, given.counter)
        };
        self.compare(due, given.device, &result);
    }

    fn go(&mut self, step: Step) {
        let gate = self.world.gate.clone();
        match step {
            Step::Register(user, device, counter) => {
                let mut made = Authenticator { counter, ..self.devices[device].clone() };
                let result = register(&gate, self.users[user], &mut made);
                assert_eq!(result.is_ok(), self.known[device].is_none(), "{result:?}");
                if let Ok(passkey) = result {
                    self.devices[device] = made;
                    self.owners[device] = Some(user);
                    self.known[device] = Some(Known { user, id: passkey.id, counter, suspended: false });
                }
            }
            Step::Login(device, counter, verified) => {
                let Some(user) = self.owners[device] else { return };
                let (options, ticket) = start_login(&gate).unwrap();
                let response = self.answer(device, counter, verified, &options);
                let expires = self.seconds + 300;
                let given =
                    Given { ticket, response, device, user, counter, verified, expires, spent: false };
                self.given.push(given);
                self.present(self.given.len() - 1);
            }
            Step::Second(user, device, counter, verified) => {
                let usable = self.known.iter().flatten().any(|known| known.user == user && !known.suspended);
                let asked = start_assertion(&gate, self.users[user]).unwrap();
                assert_eq!(asked.is_some(), usable);
                let Some((options, state)) = asked else { return };
                let response = self.answer(device, counter, verified, &options);
                let result = finish_assertion(&gate, &state, &response);
                let own =
                    self.known[device].as_ref().is_some_and(|known| known.user == user && !known.suspended);
                let due = own && self.uses(device, counter);
                self.compare(due, device, &result);
            }
            Step::Replay(back) => {
                if let Some(at) = self.given.len().checked_sub(back + 1) {
                    self.present(at);
                }
            }
            Step::Remove(device) => {
                if let Some(known) = self.known[device].take() {
                    gate.passkeys().remove(self.users[known.user], known.id).unwrap();
                }
            }
            Step::Rename(device) => {
                if let Some(known) = &self.known[device] {
                    gate.passkeys().rename(self.users[known.user], known.id, "another").unwrap();
                }
            }
            Step::Advance(seconds) => {
                self.world.after(seconds);
                self.seconds += seconds;
            }
            Step::Maintain => drop(gate.maintain(1000).unwrap()),
        }
        for (number, user) in self.users.iter().enumerate() {
            let mut due: Vec<_> = self.known.iter().flatten().filter(|known| known.user == number).collect();
            due.sort_by_key(|known| known.id);
            let mut found = gate.passkeys().of_user(*user).unwrap();
            found.sort_by_key(|passkey| passkey.id);
            let found: Vec<_> =
                found.iter().map(|passkey| (passkey.id, passkey.suspended.is_some())).collect();
            let due: Vec<_> = due.iter().map(|known| (known.id, known.suspended)).collect();
            assert_eq!(found, due);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_walk_ends_as_the_model_says(steps in prop::collection::vec(step(), 1..40)) {
        let mut walk = Walk::new();
        for step in steps {
            walk.go(step);
        }
        sound(&walk.world.gate);
    }
}
