//! Filters of sessions against a naive model, crashes at each commit, and threads.

use crate::bulk::{from, no_marker, token};
use crate::support::{Disk, PASSWORD, is_live, later, sound, user, world_with};
use portcullis::testing::FaultPoint;
use portcullis::{
    Assurance, AuditKind, Builder, Client, Clock, Credentials, DeviceId, Grant, HistoryPolicy, Network,
    NewUser, PageRequest, Portcullis, RoleId, SessionFilter, SessionId, Timestamp, UserId,
};
use proptest::prelude::*;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

const ADDRESSES: [&str; 4] = ["192.0.2.1", "192.0.2.200", "198.51.100.1", "2001:db8::1"];
const AGENTS: [&str; 3] = ["", "Firefox/1", "Firefox/2 mobile"];
const LABELS: [&str; 3] = ["", "work", "home"];
const NETWORKS: [(&str, u8); 6] = [
    ("192.0.2.0", 24),
    ("192.0.2.1", 32),
    ("0.0.0.0", 0),
    ("2001:db8::", 32),
    ("::", 0),
    ("192.0.2.129", 25),
];
const PARTS: [&str; 4] = ["Firefox", "/2", "mobile", "none"];

#[derive(Clone, Debug)]
struct Opened {
    user: usize,
    address: Option<usize>,
    agent: usize,
    label: usize,
    /// Of the two roles, those that are selected.
    selected: Option<[bool; 2]>,
    /// How long after the one before it, and whether it is used at the end of all.
    wait: u64,
    used: bool,
}

#[derive(Clone, Debug, Default)]
struct Asked {
    user: Option<usize>,
    network: Option<usize>,
    /// The device of that session.
    device: Option<usize>,
    agent: Option<usize>,
    label: Option<usize>,
    after: Option<u64>,
    before: Option<u64>,
    seen: Option<u64>,
    weak: bool,
    impersonated: Option<bool>,
    selected: Option<usize>,
}

fn opened() -> impl Strategy<Value = Opened> {
    let selected = proptest::option::of(any::<[bool; 2]>());
    (
        0..3usize,
        proptest::option::weighted(0.9, 0..4usize),
        0..3usize,
        0..3usize,
        selected,
        0..20u64,
        any::<bool>(),
    )
        .prop_map(|(user, address, agent, label, selected, wait, used)| Opened {
            user,
            address,
            agent,
            label,
            selected,
            wait,
            used,
        })
}

fn asked() -> impl Strategy<Value = Asked> {
    let rare = |most: usize| proptest::option::weighted(0.2, 0..most);
    let time = || proptest::option::weighted(0.15, 0..120u64);
    (
        (rare(3), rare(6), rare(8), rare(4), rare(3)),
        (time(), time(), time()),
        (prop::bool::weighted(0.1), proptest::option::weighted(0.2, prop::bool::weighted(0.1)), rare(2)),
    )
        .prop_map(
            |(
                (user, network, device, agent, label),
                (after, before, seen),
                (weak, impersonated, selected),
            )| {
                Asked {
                    user,
                    network,
                    device,
                    agent,
                    label,
                    after,
                    before,
                    seen,
                    weak,
                    impersonated,
                    selected,
                }
            },
        )
}

struct Kept {
    opened: Opened,
    id: SessionId,
    device: DeviceId,
    created: Timestamp,
    seen: Timestamp,
    token: String,
    live: bool,
}

/// Whether an address, as text, lies in one of the networks: written down by hand.
const fn lies_in(address: usize, network: usize) -> bool {
    match network {
        0 => address <= 1,
        1 => address == 0,
        2 => address <= 2,
        3 | 4 => address == 3,
        _ => address == 1,
    }
}

fn is_meant(kept: &Kept, asked: &Asked, all: &[Kept], start: Timestamp) -> bool {
    let Opened { user, address, agent, label, selected, .. } = &kept.opened;
    asked.user.is_none_or(|wanted| wanted == *user)
        && asked.network.is_none_or(|network| address.is_some_and(|address| lies_in(address, network)))
        && asked.device.is_none_or(|of| all[of % all.len()].device == kept.device)
        && asked.agent.is_none_or(|part| AGENTS[*agent].contains(PARTS[part]))
        && asked.label.is_none_or(|wanted| LABELS[wanted] == LABELS[*label])
        && asked.after.is_none_or(|seconds| kept.created > later(start, seconds))
        && asked.before.is_none_or(|seconds| kept.created < later(start, seconds))
        && asked.seen.is_none_or(|seconds| kept.seen < later(start, seconds))
        && !asked.impersonated.is_some_and(|wanted| wanted)
        && asked.selected.is_none_or(|role| selected.is_some_and(|selected| selected[role]))
}

fn filter_of(
    asked: &Asked,
    all: &[Kept],
    start: Timestamp,
    users: &[UserId],
    roles: &[RoleId],
) -> SessionFilter {
    let mut filter = SessionFilter::new();
    if let Some(user) = asked.user {
        filter = filter.user(users[user]);
    }
    if let Some(network) = asked.network {
        let (address, bits) = NETWORKS[network];
        filter = filter.network(Network::new(address.parse().unwrap(), bits).unwrap());
    }
    if let Some(of) = asked.device {
        filter = filter.device(all[of % all.len()].device);
    }
    if let Some(part) = asked.agent {
        filter = filter.user_agent_contains(PARTS[part]);
    }
    if let Some(label) = asked.label {
        filter = filter.label(LABELS[label]);
    }
    if let Some(seconds) = asked.after {
        filter = filter.created_after(later(start, seconds));
    }
    if let Some(seconds) = asked.before {
        filter = filter.created_before(later(start, seconds));
    }
    if let Some(seconds) = asked.seen {
        filter = filter.seen_before(later(start, seconds));
    }
    if asked.weak {
        filter = filter.assurance_below(Assurance::Two);
    }
    if let Some(impersonated) = asked.impersonated {
        filter = filter.impersonated(impersonated);
    }
    if let Some(role) = asked.selected {
        filter = filter.selected_role(roles[role]);
    }
    filter
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn what_ends_is_what_a_naive_look_at_each_session_says(
        opened in proptest::collection::vec(opened(), 1..9),
        asked in proptest::collection::vec(asked(), 1..6),
    ) {
        let world = world_with(|builder: Builder| builder.history(HistoryPolicy::new()));
        let (gate, start) = (&world.gate, world.clock.now());
        let users = ["a", "b", "c"].map(|login| user(gate, login).id);
        let roles = ["one", "two"].map(|name| gate.roles().create(name, []).unwrap());
        for id in users {
            for role in roles {
                gate.roles().assign(id, role).unwrap();
            }
        }
        let mut all = Vec::new();
        for opened in opened {
            world.after(opened.wait);
            let mut client = Client::new().user_agent(AGENTS[opened.agent]);
            if let Some(address) = opened.address {
                client = client.ip(ADDRESSES[address].parse().unwrap());
            }
            let who = Credentials::password(["a", "b", "c"][opened.user], PASSWORD);
            let login = match opened.selected {
                None => gate.login(&who, &client),
                Some(which) => {
                    let chosen = roles.iter().zip(which).filter(|(_, chosen)| *chosen).map(|(role, _)| *role);
                    gate.login_with_roles(&who, &client, chosen)
                }
            }.unwrap();
            let session = login.session();
            gate.sessions().set_label(session.id, LABELS[opened.label]).unwrap();
            let (created, device) = (session.created, session.device.unwrap());
            all.push(Kept { id: session.id, device, created, seen: created, token: token(&login), live: true, opened });
        }
        world.after(5);
        for kept in all.iter_mut().filter(|kept| kept.opened.used) {
            prop_assert!(is_live(gate, &kept.token));
            kept.seen = world.clock.now();
        }
        for asked in asked {
            let filter = filter_of(&asked, &all, start, &users, &roles);
            if filter == SessionFilter::new() {
                prop_assert!(gate.sessions().revoke_matching(&filter).is_err());
                continue;
            }
            let meant: Vec<usize> = (0..all.len())
                .filter(|place| all[*place].live && is_meant(&all[*place], &asked, &all, start))
                .collect();
            prop_assert_eq!(gate.sessions().count_matching(&filter).unwrap(), meant.len());
            prop_assert_eq!(gate.sessions().revoke_matching(&filter).unwrap(), meant.len());
            for place in meant {
                all[place].live = false;
            }
            for kept in &all {
                prop_assert_eq!(gate.sessions().get(kept.id).is_ok(), kept.live);
            }
        }
        for kept in &all {
            prop_assert_eq!(is_live(gate, &kept.token), kept.live);
        }
        no_marker(gate);
        sound(gate);
    }
}

/// What is asked for, and whether the log says so.
fn was_asked(gate: &Portcullis) -> bool {
    let page = PageRequest::first(1000);
    gate.audit()
        .list(&page)
        .unwrap()
        .items
        .iter()
        .any(|record| record.kind == AuditKind::SessionsEndRequested)
}

/// Fails the n-th write of a call, for each n, and opens the database again: what was asked for is done to the end, or was
/// not asked for.
fn crash_at_each_commit(
    point: FaultPoint,
    commits: u64,
    fill: impl Fn(&Portcullis) -> (Vec<String>, Vec<String>),
    call: impl Fn(&Portcullis) -> portcullis::Result<usize>,
) {
    for nth in 1..=commits + 1 {
        let disk = Disk::new();
        let gate = disk.open();
        let (meant, others) = fill(&gate);
        disk.faults.fail(point, nth);
        let called = call(&gate);
        assert_eq!(called.is_ok(), disk.faults.pending(), "{nth}");
        assert_eq!(called.is_ok(), nth > commits, "{nth}: the call has {commits} commits");
        let _ = gate.close();
        drop(gate);
        let gate = disk.open();
        let asked = was_asked(&gate);
        assert!(asked || nth == 1, "{nth}");
        for token in &meant {
            assert_eq!(is_live(&gate, token), !asked, "{nth}");
        }
        assert!(others.iter().all(|token| is_live(&gate, token)), "{nth}");
        no_marker(&gate);
        sound(&gate);
    }
}

#[test]
fn a_crash_half_way_through_a_filter_is_made_good_by_the_next_open() {
    for point in [FaultPoint::JournalWrite, FaultPoint::JournalSync, FaultPoint::Apply] {
        let filter = SessionFilter::new().user_agent_contains("meant");
        // The marker, three portions of 32 at most, and the end.
        crash_at_each_commit(
            point,
            5,
            |gate| {
                user(gate, "ada");
                let of = |agent| move |_| token(&from(gate, "ada", "192.0.2.1", agent));
                ((0..70).map(of("is meant")).collect(), (0..3).map(of("is not")).collect())
            },
            |gate| gate.sessions().revoke_matching(&filter),
        );
    }
}

#[test]
fn a_crash_half_way_through_a_scope_is_made_good_by_the_next_open() {
    for point in [FaultPoint::JournalWrite, FaultPoint::JournalSync] {
        // The marker, three for each user (the generation, the rows, and the end of that), and the end.
        crash_at_each_commit(
            point,
            11,
            |gate| {
                let scope = gate.scopes().ensure("acme/a").unwrap();
                let role = gate.roles().create("role", []).unwrap();
                for login in ["a", "b", "other"] {
                    let id = user(gate, login).id;
                    if login != "other" {
                        gate.roles().assign_with(id, role, &Grant::new().at(scope)).unwrap();
                    }
                }
                gate.users().create(NewUser::new("home").password(PASSWORD).home(scope)).unwrap();
                let of = |login: &str| token(&from(gate, login, "192.0.2.1", ""));
                (["a", "b", "home", "a"].map(of).to_vec(), vec![of("other")])
            },
            |gate| gate.sessions().revoke_of_scope(gate.scopes().find("acme").unwrap().unwrap()),
        );
    }
}

#[test]
fn a_crash_while_every_session_ends_ends_all_or_none() {
    for nth in 1..=3 {
        let disk = Disk::new();
        let gate = disk.open();
        user(&gate, "ada");
        let tokens: Vec<String> = (0..3).map(|_| token(&from(&gate, "ada", "192.0.2.1", ""))).collect();
        disk.faults.fail(FaultPoint::JournalWrite, nth);
        // What follows the one commit is not its caller's concern.
        assert_eq!(gate.sessions().revoke_everything().is_ok(), nth > 1);
        let _ = gate.close();
        drop(gate);
        let gate = disk.open();
        for token in &tokens {
            assert_eq!(is_live(&gate, token), nth == 1, "{nth}");
        }
        gate.maintain(1000).unwrap();
        no_marker(&gate);
        sound(&gate);
    }
}

#[test]
fn whoever_was_in_before_the_call_is_out_after_it_whatever_others_do() {
    let world = world_with(crate::support::patient);
    let gate = &world.gate;
    let scope = gate.scopes().ensure("acme").unwrap();
    for login in ["a", "b", "c"] {
        gate.users().create(NewUser::new(login).password(PASSWORD).home(scope)).unwrap();
    }
    let (tokens, done) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    std::thread::scope(|threads| {
        for login in ["a", "b", "c"] {
            let (tokens, done) = (&tokens, &done);
            threads.spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    let login = from(gate, login, "192.0.2.1", "agent");
                    let _ = gate.sessions().set_label(login.session().id, "x");
                    tokens.lock().unwrap().push(token(&login));
                }
            });
        }
        for round in 0..40 {
            let before: Vec<String> = std::mem::take(&mut *tokens.lock().unwrap());
            match round % 3 {
                0 => gate
                    .sessions()
                    .revoke_matching(&SessionFilter::new().user_agent_contains("gen"))
                    .map(drop),
                1 => gate.sessions().revoke_of_scope(scope).map(drop),
                _ => gate.sessions().revoke_everything(),
            }
            .unwrap();
            for token in &before {
                assert!(!is_live(gate, token), "{round}");
            }
            world.after(1);
            if round % 5 == 0 {
                gate.maintain(100).unwrap();
            }
        }
        done.store(true, Ordering::SeqCst);
    });
    gate.maintain(10_000).unwrap();
    sound(gate);
}
