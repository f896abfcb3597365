//! The read path at a million users and a million sessions: authenticate, check, both; hot and in random order; one
//! thread and two. Also the memory of the read model, and how long a change to a role of a million holders takes.
//!
//! `cargo bench --bench hot_path`

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a bench may end where something is wrong"
)]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis::testing::{populate_sessions, populate_users};
use portcullis::{Permission, PermissionSet, Portcullis, RoleId, Token, UserId};
use std::hint::black_box;
use std::time::Duration;
use support::{Report, size, time};

struct World {
    gate: Portcullis,
    users: Vec<UserId>,
    /// All tokens one after the other, in random order, so that reading them costs no miss of its own.
    tokens: String,
    token_length: usize,
    asked: Permission,
    role: RoleId,
}

impl World {
    fn token(&self, number: usize) -> &str {
        let start = number % self.users.len() * self.token_length;
        &self.tokens[start..start + self.token_length]
    }
}

/// A random order that is the same in every run.
fn shuffle<T>(items: &mut [T]) {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for last in (1..items.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        items.swap(last, (state >> 33) as usize % (last + 1));
    }
}

/// A hundred roles in chains of five, of 200 permissions in all, held by everybody in turn.
fn world(report: &mut Report) -> World {
    let count = size(1_000_000, 2_000);
    let gate = Portcullis::in_memory().unwrap();
    let names: Vec<String> = (0..200).map(|number| format!("permission:{number}")).collect();
    let permissions = gate.permissions().define_many(names.iter().map(String::as_str)).unwrap();
    let roles: Vec<RoleId> = (0..100)
        .map(|number| {
            gate.roles().create(&format!("role{number}"), permissions[number * 2..][..2].iter().copied())
        })
        .map(Result::unwrap)
        .collect();
    for chain in roles.chunks(5) {
        for pair in chain.windows(2) {
            gate.roles().inherit(pair[0], pair[1]).unwrap();
        }
    }
    let everybody = gate.roles().create("everybody", [permissions[0]]).unwrap();
    for role in &roles {
        gate.roles().inherit(*role, everybody).unwrap();
    }
    let mut users = populate_users(&gate, "user", count, &roles).unwrap();
    shuffle(&mut users);
    let mut tokens: Vec<Token> = populate_sessions(&gate, &users).unwrap();
    shuffle(&mut tokens);
    let token_length = tokens[0].as_str().len();
    let tokens: String = tokens.iter().map(Token::as_str).collect();

    let statistics = gate.statistics();
    let each = |bytes: usize| format!("{:.1} bytes", bytes as f64 / count as f64);
    report.line(
        format!("memory of a session, {count} sessions"),
        "<= 160 bytes",
        each(statistics.session_bytes),
    );
    report.line(format!("memory of a user, {count} users"), "<= 200 bytes", each(statistics.user_bytes));
    World { gate, users, tokens, token_length, asked: permissions[0], role: everybody }
}

/// So many iterations on so many threads at once; the time is that of one thread's share.
fn spread(threads: u64, iterations: u64, run: impl Fn(std::ops::Range<usize>) + Sync) -> Duration {
    if threads == 1 {
        return time(|| run(0..iterations as usize));
    }
    time(|| {
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let start = (thread * 500_009) as usize;
                let run = &run;
                scope.spawn(move || run(start..start + iterations as usize));
            }
        });
    })
}

fn hot_path(criterion: &mut Criterion) {
    let mut report = Report::default();
    let world = world(&mut report);
    let count = world.users.len();
    let gate = &world.gate;
    let mut group = criterion.benchmark_group("hot_path");
    group.sample_size(20).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(300));
    for threads in [1, 2] {
        let on = if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads, each") };
        for (order, reach) in [("hot", 1), ("random", count)] {
            let target =
                |hot: &str, random: &str| if reach == 1 { hot.to_owned() } else { random.to_owned() };
            let check = |numbers: std::ops::Range<usize>| {
                for number in numbers {
                    black_box(
                        gate.check(world.users[number % reach], black_box(world.asked)).unwrap().is_allowed(),
                    );
                }
            };
            let goal = target("<= 20 ns", "one cache miss");
            report.bench(&mut group, &format!("check by user, {order}, {on}"), &goal, 1, |n| {
                spread(threads, n, check)
            });
            let authenticate = |numbers: std::ops::Range<usize>| {
                for number in numbers {
                    black_box(gate.authenticate(world.token(number % reach)).unwrap().user());
                }
            };
            report.bench(&mut group, &format!("authenticate, {order}, {on}"), "", 1, |n| {
                spread(threads, n, authenticate)
            });
            let both = |numbers: std::ops::Range<usize>| {
                for number in numbers {
                    let who = gate.authenticate(world.token(number % reach)).unwrap();
                    assert!(who.can(black_box(world.asked)));
                }
            };
            let goal = target("<= 130 ns", "<= 400 ns");
            report.bench(&mut group, &format!("authenticate + check, {order}, {on}"), &goal, 1, |n| {
                spread(threads, n, both)
            });
        }
    }
    let set: PermissionSet = [world.asked].into_iter().collect();
    report.bench(&mut group, "check a set of permissions, random, 1 thread", "", 1, |n| {
        spread(1, n, |numbers| {
            for number in numbers {
                black_box(gate.check_all(world.users[number % count], &set).unwrap().is_allowed());
            }
        })
    });
    let garbage = "pcs_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    report.bench(&mut group, "refuse a token that was never issued", "", 1, |n| {
        spread(1, n, |numbers| numbers.for_each(|_| assert!(gate.authenticate(black_box(garbage)).is_err())))
    });
    // The role is part of every user's rights: taking the permission and asking for it, giving it back and asking.
    report.bench(&mut group, &format!("change a role of {count} holders, until seen"), "< 1 ms", 2, |n| {
        time(|| {
            for number in 0..n as usize {
                gate.roles().withdraw(world.role, [world.asked]).unwrap();
                assert!(
                    !gate
                        .check(world.users[number % count], Permission::from_bit(1 << 19))
                        .unwrap()
                        .is_allowed()
                );
                gate.roles().grant(world.role, [world.asked]).unwrap();
                assert!(gate.check(world.users[number % count], world.asked).unwrap().is_allowed());
            }
        })
    });
    group.finish();
    report.print("hot path");
}

criterion_group!(benches, hot_path);
criterion_main!(benches);
