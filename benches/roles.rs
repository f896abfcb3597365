//! What scopes, many roles, deep hierarchies, denials and times add to a check: hot, and in random order over a million
//! users who each hold a role at a scope of their own.
//!
//! `cargo bench --bench roles`

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench may end where something is wrong")]

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis::testing::{populate_assignments, populate_sessions, populate_users};
use portcullis::{Grant, NewUser, Permission, Portcullis, RoleId, ScopeId, Timestamp, UserId};
use std::hint::black_box;
use std::time::Duration;
use support::{Report, size, time};

const AGAIN: u32 = 100;

struct World {
    gate: Portcullis,
    asked: Permission,
    viewer: RoleId,
    /// Scopes at the levels 0 to 8, each in the one before.
    levels: Vec<ScopeId>,
}

fn world() -> World {
    let gate = Portcullis::in_memory().unwrap();
    let names: Vec<String> = (0..200).map(|number| format!("permission:{number}")).collect();
    let permissions = gate.permissions().define_many(names.iter().map(String::as_str)).unwrap();
    let asked = permissions[77];
    let viewer = gate.roles().create("viewer", [asked]).unwrap();
    let mut levels = vec![ScopeId::ROOT];
    for level in 1..=8 {
        levels.push(gate.scopes().create(levels[level - 1], &format!("level{level}")).unwrap());
    }
    World { gate, asked, viewer, levels }
}

impl World {
    fn user(&self, login: &str) -> UserId {
        self.gate.users().create(NewUser::new(login)).unwrap().id
    }

    /// A user with so many roles, of which the last gives what is asked.
    fn with_roles(&self, count: usize) -> UserId {
        let user = self.user(&format!("with{count}"));
        for number in 1..count {
            let role = self.gate.roles().create(&format!("{count}-{number}"), []).unwrap();
            self.gate.roles().assign(user, role).unwrap();
        }
        self.gate.roles().assign(user, self.viewer).unwrap();
        user
    }

    /// A user whose role inherits what is asked over so many others.
    fn with_depth(&self, depth: usize) -> UserId {
        let user = self.user(&format!("depth{depth}"));
        let mut below = self.viewer;
        for number in 0..depth {
            let role = self.gate.roles().create(&format!("depth{depth}-{number}"), []).unwrap();
            self.gate.roles().inherit(role, below).unwrap();
            below = role;
        }
        self.gate.roles().assign(user, below).unwrap();
        user
    }
}

fn checks(criterion: &mut Criterion) {
    let mut report = Report::default();
    let world = world();
    let (gate, asked) = (&world.gate, world.asked);
    let mut group = criterion.benchmark_group("roles");
    group.sample_size(20).measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(300));

    let mut hot = |report: &mut Report, name: &str, target: &str, user: UserId, scope: ScopeId, due: bool| {
        assert_eq!(gate.check_at(user, asked, scope).unwrap().is_allowed(), due, "{name}");
        report.bench(&mut group, name, target, AGAIN, |iterations| {
            time(|| {
                for _ in 0..iterations * u64::from(AGAIN) {
                    let _ = black_box(gate.check_at(black_box(user), asked, black_box(scope)).unwrap());
                }
            })
        });
    };

    let everywhere = world.user("everywhere");
    gate.roles().assign(everywhere, world.viewer).unwrap();
    let inside = world.user("inside");
    gate.roles().assign_with(inside, world.viewer, &Grant::new().at(world.levels[1])).unwrap();
    hot(&mut report, "check everywhere, no scope", "<= 20 ns", everywhere, ScopeId::ROOT, true);
    for (depth, target) in [(1, ""), (4, "< 60 ns"), (8, "")] {
        let name = format!("check at depth {depth}, held at depth 1");
        hot(&mut report, &name, target, inside, world.levels[depth], true);
    }
    let full = world.user("full");
    for level in &world.levels[1..] {
        gate.roles().assign_with(full, world.viewer, &Grant::new().at(*level)).unwrap();
    }
    hot(&mut report, "check at depth 4, held at every level", "< 60 ns", full, world.levels[4], true);
    for count in [1, 10, 100] {
        let user = world.with_roles(count);
        hot(&mut report, &format!("user with {count} roles"), "", user, ScopeId::ROOT, true);
        hot(
            &mut report,
            &format!("user with {count} roles, at depth 4"),
            "< 60 ns",
            user,
            world.levels[4],
            true,
        );
    }
    for depth in [10, 1000] {
        let user = world.with_depth(depth);
        hot(&mut report, &format!("role hierarchy {depth} deep"), "", user, ScopeId::ROOT, true);
        hot(
            &mut report,
            &format!("role hierarchy {depth} deep, at depth 4"),
            "< 60 ns",
            user,
            world.levels[4],
            true,
        );
    }
    let denied = world.user("denied");
    gate.roles().assign(denied, world.viewer).unwrap();
    gate.access().grant(denied, asked, &Grant::new().at(world.levels[2]).denying()).unwrap();
    hot(&mut report, "denied at depth 2, asked at depth 4", "< 60 ns", denied, world.levels[4], false);
    let timed = world.user("timed");
    let until = Timestamp::from_millis(4_000_000_000_000);
    gate.roles().assign_with(timed, world.viewer, &Grant::new().at(world.levels[1]).until(until)).unwrap();
    gate.roles().assign_with(timed, world.viewer, &Grant::new().until(until)).unwrap();
    hot(&mut report, "held for a time", "", timed, ScopeId::ROOT, true);
    hot(&mut report, "held for a time, at depth 4", "< 60 ns", timed, world.levels[4], true);

    let tokens = populate_sessions(gate, &[inside]).unwrap();
    let principal = gate.authenticate(&tokens[0]).unwrap();
    assert!(principal.can_at(asked, world.levels[4]));
    report.bench(&mut group, "by session, at depth 4", "", AGAIN, |iterations| {
        time(|| {
            for _ in 0..iterations * u64::from(AGAIN) {
                black_box(principal.can_at(asked, black_box(world.levels[4])));
            }
        })
    });

    // The same in a session that selected its roles.
    let chosen = world.with_roles(3);
    gate.roles().assign_with(chosen, world.viewer, &Grant::new().at(world.levels[1])).unwrap();
    let tokens = populate_sessions(gate, &[chosen]).unwrap();
    let principal = gate.authenticate(&tokens[0]).unwrap();
    for role in gate.sessions().roles(principal.session()).unwrap() {
        if role != world.viewer {
            gate.sessions().deactivate(principal.session(), role).unwrap();
        }
    }
    assert!(principal.can_at(asked, world.levels[4]) && principal.can(asked));
    let mut selected = |report: &mut Report, name: &str, scope: ScopeId| {
        report.bench(&mut group, name, "", AGAIN, |iterations| {
            time(|| {
                for _ in 0..iterations * u64::from(AGAIN) {
                    black_box(principal.can_at(asked, black_box(scope)));
                }
            })
        });
    };
    selected(&mut report, "by session with selected roles", ScopeId::ROOT);
    selected(&mut report, "by session with selected roles, at depth 4", world.levels[4]);

    // Many users, each with one scope of their own, at depth 2, in an order that no cache foresees.
    let count = size(1_000_000, 1_000);
    let users = populate_users(gate, "u", count, &[]).unwrap();
    let scopes: Vec<ScopeId> = (0..size(1000, 10))
        .map(|number| gate.scopes().create(world.levels[1], &format!("own{number}")).unwrap())
        .collect();
    let held: Vec<_> =
        users.iter().enumerate().map(|(n, user)| (*user, world.viewer, scopes[n % scopes.len()])).collect();
    populate_assignments(gate, &held).unwrap();
    let mut state = 7u64;
    report.bench(&mut group, "random order, 1 M users, at depth 2", "", 1000, |iterations| {
        time(|| {
            for _ in 0..iterations * 1000 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let (user, _, scope) = held[(state >> 33) as usize % held.len()];
                assert!(gate.check_at(user, asked, scope).unwrap().is_allowed());
            }
        })
    });
    group.finish();
    let statistics = gate.statistics();
    report.line(
        format!("memory of scopes and what is held at them, {count} users"),
        "",
        format!("{} KiB", statistics.scope_bytes >> 10),
    );
    report.print("roles and scopes");
}

criterion_group!(benches, checks);
criterion_main!(benches);
