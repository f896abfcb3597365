//! The whole of it against a naive model: random attempts, from several addresses and devices, over restarts and jumps of
//! the clock.

use super::{OTHER, PASSWORD};
use crate::support::{Disk, sound};
use portcullis::{
    Client, Credentials, Denial, HistoryPolicy, NewUser, Portcullis, Status, ThrottlePolicy, TriedFrom,
    UserId,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

const NAMES: [&str; 4] = ["ada", "bob", "nobody", "no name"];
const USERS: usize = 2;
const HOUR: u64 = 3_600_000;
const FREE: u32 = 2;
const STOP: u32 = 6;
const SOURCE: u64 = 20;

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    failures: u32,
    last: u64,
}

impl Count {
    fn held_until(self, now: u64) -> Option<u64> {
        let over = self.failures.checked_sub(FREE + 1)?;
        let delay = (0..over).fold(30_000_u64, |delay, _| (delay * 2).min(HOUR));
        (now < self.last + delay).then_some(self.last + delay)
    }

    fn failed(&mut self, now: u64) {
        (self.failures, self.last) = (self.failures + 1, now);
    }
}

#[derive(Default)]
struct Model {
    names: BTreeMap<usize, Count>,
    pairs: BTreeMap<(usize, usize), Count>,
    /// When the measure of an address is empty.
    sources: BTreeMap<usize, u64>,
    /// By user and device.
    accounts: BTreeMap<(usize, Option<usize>), Count>,
    enabled: [bool; USERS],
    password: [usize; USERS],
}

#[derive(Clone, Debug)]
enum Step {
    Attempt { name: usize, right: bool, address: usize, device: Option<usize> },
    Advance(u64),
    SetBack,
    Reopen,
    SetPassword(usize),
    Enable(usize, bool),
    Clear(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let device = proptest::option::of(0..2_usize);
    prop_oneof![
        12 => (0..NAMES.len(), proptest::bool::weighted(0.25), 0..4_usize, device)
            .prop_map(|(name, right, address, device)| Step::Attempt { name, right, address, device }),
        5 => proptest::sample::select(vec![1, 29_999, 30_000, 60_000, 180_000, 2_000_000, HOUR, 25 * HOUR])
            .prop_map(Step::Advance),
        1 => Just(Step::SetBack),
        1 => Just(Step::Reopen),
        1 => (0..USERS).prop_map(Step::SetPassword),
        1 => (0..USERS, any::<bool>()).prop_map(|(user, on)| Step::Enable(user, on)),
        1 => (0..USERS).prop_map(Step::Clear),
    ]
}

struct Run {
    disk: Disk,
    gate: Option<Portcullis>,
    users: Vec<UserId>,
    /// Tokens of devices, as they were given out.
    devices: Vec<Vec<String>>,
    model: Model,
}

fn settings(builder: portcullis::Builder) -> portcullis::Builder {
    let policy = ThrottlePolicy::new()
        .delays(FREE, Duration::from_secs(30), Duration::from_millis(HOUR))
        .stop(STOP)
        .source(SOURCE as u32)
        .stuffing(64, 1);
    builder
        .throttle(policy)
        .history(HistoryPolicy::new().devices(64).keep(Duration::from_secs(3000 * 86_400)))
}

impl Run {
    fn new() -> Self {
        let disk = Disk::new();
        let gate = disk.open_with(settings).unwrap();
        let users = NAMES[..USERS]
            .iter()
            .map(|name| gate.users().create(NewUser::new(*name).password(PASSWORD)).unwrap().id)
            .collect();
        let model = Model { enabled: [true; USERS], ..Model::default() };
        Self { disk, gate: Some(gate), users, devices: vec![Vec::new(); USERS], model }
    }

    fn gate(&self) -> &Portcullis {
        self.gate.as_ref().unwrap()
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Attempt { name, right, address, device } => self.attempt(name, right, address, device),
            Step::Advance(millis) => self.disk.clock.advance(Duration::from_millis(millis)),
            Step::SetBack => {
                // Noticed to within a second: see `Timeline`.
                let now = self.gate().now().as_millis();
                let back = portcullis::Clock::now(&self.disk.clock).as_millis() - 5_000_000;
                self.disk.clock.set(portcullis::Timestamp::from_millis(back));
                assert!(now - self.gate().now().as_millis() <= 1000);
            }
            Step::Reopen => {
                let now = self.gate().now();
                self.gate().close().unwrap();
                self.gate = None;
                // Time stands where it stood, as it would without a restart.
                self.disk.clock.set(now);
                self.gate = Some(self.disk.open_with(settings).unwrap());
            }
            Step::SetPassword(user) => {
                let next = 1 - self.model.password[user];
                self.gate().users().set_password(self.users[user], [PASSWORD, OTHER][next]).unwrap();
                self.model.password[user] = next;
                self.forget(user);
            }
            Step::Enable(user, on) => {
                let status = if on { Status::active() } else { Status::disabled("off") };
                self.gate().users().set_status(self.users[user], status).unwrap();
                self.model.enabled[user] = on;
            }
            Step::Clear(user) => {
                let any = self.model.names.contains_key(&user)
                    || self.model.accounts.keys().any(|(whose, _)| *whose == user);
                assert_eq!(self.gate().users().clear_login_failures(self.users[user]).unwrap(), any);
                self.forget(user);
            }
        }
    }

    fn forget(&mut self, user: usize) {
        self.model.names.remove(&user);
        self.model.accounts.retain(|(whose, _), _| *whose != user);
    }

    fn attempt(&mut self, name: usize, right: bool, address: usize, device: Option<usize>) {
        let now = self.gate().now().as_millis();
        let user = (name < USERS).then_some(name);
        let mut client = Client::new();
        if address > 0 {
            client = client.ip(format!("2001:db8:{address}::1").parse().unwrap());
        }
        let token = device.and_then(|device| self.devices.get(name)?.get(device).cloned());
        let known = device.filter(|device| {
            let count = self.model.accounts.get(&(name, Some(*device)));
            token.is_some() && count.is_none_or(|count| count.failures < STOP)
        });
        if let Some(token) = &token {
            client = client.device_token(token);
        }
        let password = user.map_or(0, |user| self.model.password[user]);
        let entered = [PASSWORD, OTHER][if right { password } else { 1 - password }];

        let before = self.gate().password_hashes_computed();
        let result = self.gate().login(&Credentials::password(NAMES[name], entered), &client);
        let hashes = self.gate().password_hashes_computed() - before;

        if let Some(end) = self.held_until(name, address, known, now) {
            let error = result.unwrap_err();
            let wait = (end - now).div_ceil(1000);
            assert_eq!(error.retry_after(), Some(Duration::from_secs(wait)), "{error:?}");
            assert_eq!(hashes, 0);
            return;
        }
        assert_eq!(hashes, 1);
        let right = right && user.is_some();
        let stopped = self.model.accounts.get(&(name, known)).is_some_and(|count| count.failures >= STOP);
        if right && !stopped && self.model.enabled[name] {
            let login = result.unwrap();
            if let Some(token) = login.device_token() {
                assert!(token.as_str().len() > 20 && self.devices[name].len() < 64);
                if known.is_none() && self.devices[name].len() < 2 {
                    self.devices[name].push(token.as_str().to_owned());
                }
            }
            self.model.accounts.remove(&(name, known));
            if known.is_none() {
                self.model.names.remove(&name);
                self.model.pairs.remove(&(name, address));
            }
            return;
        }
        assert_eq!(result.unwrap_err().denial(), Some(Denial::Credentials));
        if user.is_some() && (!right || stopped || known.is_some()) {
            self.model.accounts.entry((name, known)).or_default().failed(now);
        }
        if known.is_some() {
            return;
        }
        let mut counts = true;
        if address > 0 {
            let pair = self.model.pairs.entry((name, address)).or_default();
            if now.saturating_sub(pair.last) >= 24 * HOUR {
                *pair = Count::default();
            }
            counts = pair.failures < FREE;
            pair.failed(now);
            let filled = self.model.sources.entry(address).or_default();
            *filled = now.max(*filled) + HOUR / SOURCE;
        }
        if counts {
            self.model.names.entry(name).or_default().failed(now);
        }
    }

    fn held_until(&self, name: usize, address: usize, known: Option<usize>, now: u64) -> Option<u64> {
        let model = &self.model;
        if known.is_some() {
            return model.accounts.get(&(name, known))?.held_until(now);
        }
        let of_name = model.names.get(&name).and_then(|count| count.held_until(now));
        let of_pair = model.pairs.get(&(name, address)).and_then(|count| count.held_until(now));
        let of_source = model.sources.get(&address).map(|filled| filled + HOUR / SOURCE - HOUR);
        of_name.max(of_pair).max(of_source.filter(|end| now < *end))
    }

    /// What operators see is what the model has.
    fn compare(&self) {
        let now = self.gate().now().as_millis();
        for (user, id) in self.users.iter().enumerate() {
            let found = self.gate().users().login_protection(*id).unwrap();
            let until = self.model.names.get(&user).and_then(|count| count.held_until(now));
            assert_eq!(found.refused_until.map(|end| end.as_millis()), until);
            let mut due: Vec<(bool, u32, u64, bool)> = self
                .model
                .accounts
                .iter()
                .filter(|((whose, _), _)| *whose == user)
                .map(|((_, device), count)| {
                    (device.is_some(), count.failures, count.last, count.failures >= STOP)
                })
                .collect();
            let seen = found.failures.iter().map(|found| {
                let device = found.from != TriedFrom::Anywhere;
                (device, found.failures, found.last.as_millis(), found.stopped)
            });
            let mut seen: Vec<_> = seen.collect();
            due.sort_unstable();
            seen.sort_unstable();
            assert_eq!(seen, due);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_attempts_agree_with_a_model(steps in proptest::collection::vec(step(), 1..90)) {
        let mut run = Run::new();
        for step in &steps {
            run.step(step);
            run.compare();
        }
        run.gate().maintain(10_000).unwrap();
        run.compare();
        sound(run.gate());
    }
}
