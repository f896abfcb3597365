//! Random logins from devices and networks, against a naive model of what is remembered and told.

use crate::events::kinds;
use crate::support::{OTHER, PASSWORD, World, all, patient, sound, world_with};
use portcullis::{Client, Credentials, EventKind, HistoryPolicy, LoginOutcome, Network, Timestamp, UserId};
use proptest::prelude::*;
use std::time::Duration;

const HOUR: u64 = 3600;
const DAY: u64 = 86_400;
/// Bounds so small that all of them are met.
const SUCCESSES: usize = 4;
const REFUSALS: usize = 3;
const DEVICES: usize = 3;
const NETWORKS: usize = 3;
const FAILURES: u32 = 3;
const KEEP: Duration = Duration::from_secs(90 * DAY);
const IDLE: Duration = Duration::from_secs(60 * DAY);

#[derive(Clone, Debug)]
enum Op {
    /// From that device, if it exists, and that network; with the right password or a wrong one.
    Login {
        user: usize,
        device: usize,
        network: u8,
        right: bool,
    },
    After(u64),
    Forget {
        user: usize,
        device: usize,
    },
    Maintain,
}

fn op() -> impl Strategy<Value = Op> {
    let login = (0..2usize, 0..6usize, 0..6u8, any::<bool>())
        .prop_map(|(user, device, network, right)| Op::Login { user, device, network, right });
    let after =
        prop_oneof![Just(1), Just(HOUR / 2), Just(HOUR + 1), Just(DAY), Just(40 * DAY), Just(91 * DAY)];
    prop_oneof![
        8 => login,
        3 => after.prop_map(Op::After),
        1 => (0..2usize, 0..6usize).prop_map(|(user, device)| Op::Forget { user, device }),
        1 => Just(Op::Maintain),
    ]
}

/// A device token and what the model knows of it.
struct Known {
    token: String,
    seen: Timestamp,
    logins: u32,
    gone: bool,
}

struct Refused {
    first: Timestamp,
    last: Timestamp,
    attempts: u32,
    network: u8,
    device: Option<usize>,
}

#[derive(Default)]
struct Account {
    successes: Vec<Timestamp>,
    refused: Vec<Refused>,
    /// How many refused entries there were at the last success.
    mark: usize,
    devices: Vec<Known>,
    networks: Vec<(u8, Timestamp)>,
}

impl Account {
    fn device(&self, index: usize, now: Timestamp) -> Option<usize> {
        let found = self.devices.get(index)?;
        (!found.gone && now.since(found.seen) <= KEEP).then_some(index)
    }

    /// A new device: those that came once make way first, then those seen longest ago.
    fn make_room(&mut self, now: Timestamp) {
        let live: Vec<usize> =
            (0..self.devices.len()).filter(|index| self.device(*index, now).is_some()).collect();
        if live.len() >= DEVICES {
            // Of devices that are alike in both the number decides, which the model does not know: it never has such.
            let victim = live.into_iter().min_by_key(|index| {
                let device = &self.devices[*index];
                (device.logins > 1, device.seen)
            });
            self.devices[victim.unwrap()].gone = true;
        }
    }

    fn refuse(&mut self, network: u8, device: Option<usize>, now: Timestamp) {
        let oldest = self.refused.len().saturating_sub(REFUSALS).max(self.mark);
        let like = self.refused[oldest..].iter_mut().rev().find(|old| {
            (old.network, old.device) == (network, device)
                && now.since(old.first) <= Duration::from_secs(HOUR)
        });
        match like {
            Some(old) => (old.last, old.attempts) = (now, old.attempts + 1),
            None => self.refused.push(Refused { first: now, last: now, attempts: 1, network, device }),
        }
    }

    /// The refused entries that are still kept.
    fn kept(&self, now: Timestamp) -> impl Iterator<Item = (usize, &Refused)> {
        let from = self.refused.len().saturating_sub(REFUSALS);
        self.refused.iter().enumerate().skip(from).filter(move |(_, entry)| now.since(entry.last) <= KEEP)
    }

    fn succeed(&mut self, network: u8, now: Timestamp) -> Vec<EventKind> {
        let mut told = Vec::new();
        let failures =
            self.kept(now).filter(|(at, _)| *at >= self.mark).map(|(_, entry)| entry.attempts).sum();
        if failures >= FAILURES {
            told.push(EventKind::SuccessAfterFailures(failures));
        }
        self.mark = self.refused.len();
        let place = self.networks.iter().position(|(known, _)| *known == network);
        let fresh = place.is_some_and(|place| now.since(self.networks[place].1) <= KEEP);
        match place {
            // It is written again after an hour.
            Some(place) if now.since(self.networks[place].1) < Duration::from_secs(HOUR) => {}
            Some(place) => self.networks[place].1 = now,
            None => {
                if self.networks.len() >= NETWORKS {
                    let oldest =
                        *self.networks.iter().min_by_key(|(network, seen)| (*seen, *network)).unwrap();
                    self.networks.retain(|known| *known != oldest);
                }
                self.networks.push((network, now));
            }
        }
        if let Some(last) = self.successes.last() {
            if !fresh {
                told.push(EventKind::NewNetwork(network_of(network)));
            }
            if now.since(*last) >= IDLE {
                told.push(EventKind::FirstAfterLongIdle(*last));
            }
        }
        self.successes.push(now);
        told
    }
}

fn client(network: u8) -> Client {
    Client::new().ip([10, 0, network, 9].into())
}

/// Read off a login from there, because a network is made in no other way.
fn network_of(network: u8) -> Network {
    let world = world_with(patient);
    let id = world.user("ada").id;
    world.gate.login(&Credentials::password("ada", PASSWORD), &client(network)).unwrap();
    world.gate.history().networks(id).unwrap()[0].network
}

fn apply(world: &World, ids: [UserId; 2], model: &mut [Account; 2], op: &Op) {
    // Moves on by itself, so that no two devices were seen at the same time.
    world.after(1);
    let events = world.gate.subscribe(64).unwrap();
    let now = world.gate.now();
    match op {
        Op::After(seconds) => world.after(*seconds),
        Op::Maintain => {
            world.gate.maintain(1000).unwrap();
        }
        Op::Forget { user, device } => {
            let account = &mut model[*user];
            if let Some(index) = account.device(*device, now) {
                account.devices[index].gone = true;
                let id = all(|page| world.gate.devices().of_user(ids[*user], page))
                    .into_iter()
                    .find(|found| found.last_seen == account.devices[index].seen)
                    .unwrap()
                    .id;
                world.gate.devices().forget(ids[*user], id).unwrap();
            }
        }
        Op::Login { user, device, network, right } => {
            let account = &mut model[*user];
            let mut from = client(*network);
            if let Some(known) = account.devices.get(*device) {
                from = from.device_token(&known.token);
            }
            let known = account.device(*device, now);
            let login = ["ada", "bob"][*user];
            let password = if *right { PASSWORD } else { OTHER };
            let done = world.gate.login(&Credentials::password(login, password), &from);
            if !*right {
                assert!(done.is_err());
                account.refuse(*network, known, now);
                assert_eq!(kinds(&events), []);
                return;
            }
            let done = done.unwrap();
            let first = account.successes.is_empty();
            let mut due = account.succeed(*network, now);
            assert_eq!(done.device_token().is_none(), known.is_some());
            match known {
                Some(index) => {
                    let device = &mut account.devices[index];
                    (device.seen, device.logins) = (now, device.logins + 1);
                }
                None => {
                    account.make_room(now);
                    let token = done.device_token().unwrap().as_str().to_owned();
                    account.devices.push(Known { token, seen: now, logins: 1, gone: false });
                    if !first {
                        let place =
                            usize::from(matches!(due.first(), Some(EventKind::SuccessAfterFailures(_))));
                        due.insert(place, EventKind::NewDevice);
                    }
                }
            }
            assert_eq!(kinds(&events), due);
        }
    }
}

fn compare(world: &World, id: UserId, account: &Account) {
    let now = world.gate.now();
    let found = all(|page| world.gate.history().of_user(id, page));
    assert!(found.windows(2).all(|pair| pair[0].time >= pair[1].time));
    let of = |outcome| found.iter().filter(move |entry| entry.outcome == outcome);
    let successes: Vec<Timestamp> = of(LoginOutcome::Success).map(|entry| entry.time).collect();
    let due: Vec<Timestamp> = account
        .successes
        .iter()
        .rev()
        .take(SUCCESSES)
        .filter(|at| now.since(**at) <= KEEP)
        .copied()
        .collect();
    assert_eq!(successes, due);
    let refused: Vec<_> =
        of(LoginOutcome::WrongPassword).map(|entry| (entry.time, entry.until, entry.attempts)).collect();
    let mut due: Vec<_> =
        account.kept(now).map(|(_, entry)| (entry.first, entry.last, entry.attempts)).collect();
    due.reverse();
    assert_eq!(refused, due);
    assert_eq!(world.gate.history().last_login(id).unwrap(), account.successes.last().copied());
    let mut devices: Vec<_> = all(|page| world.gate.devices().of_user(id, page))
        .into_iter()
        .map(|device| (device.last_seen, device.logins))
        .collect();
    devices.sort_unstable();
    let live = (0..account.devices.len()).filter_map(|index| account.device(index, now));
    let mut due: Vec<_> =
        live.map(|index| (account.devices[index].seen, account.devices[index].logins)).collect();
    due.sort_unstable();
    assert_eq!(devices, due);
    let networks: Vec<Timestamp> =
        world.gate.history().networks(id).unwrap().into_iter().map(|network| network.last_seen).collect();
    let mut due: Vec<Timestamp> =
        account.networks.iter().map(|(_, seen)| *seen).filter(|seen| now.since(*seen) <= KEEP).collect();
    due.sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(networks, due);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_is_remembered_and_told_is_what_a_naive_model_says(ops in prop::collection::vec(op(), 1..60)) {
        let policy = HistoryPolicy::new()
            .entries(SUCCESSES, REFUSALS, 2)
            .devices(DEVICES)
            .networks(NETWORKS)
            .suspicious_failures(FAILURES)
            .long_idle(IDLE)
            .keep(KEEP);
        let world = world_with(|builder| patient(builder).history(policy));
        let ids = ["ada", "bob"].map(|login| world.user(login).id);
        let mut model = [Account::default(), Account::default()];
        for op in &ops {
            apply(&world, ids, &mut model, op);
            for (id, account) in ids.into_iter().zip(&model) {
                compare(&world, id, account);
            }
        }
        sound(&world.gate);
    }
}
