//! What a question for a feature flag costs, beside a check of a permission: by state, rule, percentage and default,
//! without a scope and at depth 4; hot, and in random order over a million users.
//!
//! `cargo bench --bench flags`

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench may end where something is wrong")]

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis::testing::{populate_sessions, populate_users};
use portcullis::{Flag, FlagState, FlagTarget, Grant, NewFlag, NewUser, Portcullis, RoleId, ScopeId, UserId};
use std::hint::black_box;
use std::time::Duration;
use support::{Report, size, time};

const AGAIN: u32 = 100;
const PLAIN: &str = "about 10 ns";
const DEEP: &str = "< 60 ns";

/// Ada holds a role everywhere that inherits from another one.
struct World {
    gate: Portcullis,
    ada: UserId,
    junior: RoleId,
    /// Scopes at the levels 0 to 4, each in the one before.
    levels: Vec<ScopeId>,
}

fn world() -> World {
    let gate = Portcullis::in_memory().unwrap();
    let read = gate.permissions().define("read").unwrap();
    let [junior, senior] = ["junior", "senior"].map(|name| gate.roles().create(name, [read]).unwrap());
    gate.roles().inherit(senior, junior).unwrap();
    let ada = gate.users().create(NewUser::new("ada")).unwrap().id;
    gate.roles().assign(ada, senior).unwrap();
    let mut levels = vec![ScopeId::ROOT];
    for level in 1..=4 {
        levels.push(gate.scopes().create(levels[level - 1], &format!("level{level}")).unwrap());
    }
    World { gate, ada, junior, levels }
}

impl World {
    fn flag(&self, name: &str) -> Flag {
        self.gate.flags().define(name).unwrap()
    }
}

fn questions(criterion: &mut Criterion) {
    let mut report = Report::default();
    let world = world();
    let World { gate, ada, junior, levels } = &world;
    let (ada, flags, deep) = (*ada, gate.flags(), levels[4]);
    let mut group = criterion.benchmark_group("flags");
    group.sample_size(20).measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(300));

    let read = gate.permissions().find("read").unwrap().unwrap().permission;
    for (name, scope) in [("for comparison: a check", ScopeId::ROOT), ("a check at depth 4", deep)] {
        report.bench(&mut group, name, "", AGAIN, |iterations| {
            time(|| {
                for _ in 0..iterations * u64::from(AGAIN) {
                    let _ = black_box(gate.check_at(black_box(ada), read, black_box(scope)).unwrap());
                }
            })
        });
    }

    let mut hot = |report: &mut Report, name: &str, flag: Flag, scope: ScopeId, due: bool| {
        assert_eq!(gate.is_enabled_at(flag, ada, scope).unwrap(), due, "{name}");
        let (name, target) = match scope {
            ScopeId::ROOT => (name.to_owned(), PLAIN),
            _ => (format!("{name}, at depth 4"), DEEP),
        };
        report.bench(&mut group, &name, target, AGAIN, |iterations| {
            time(|| {
                for _ in 0..iterations * u64::from(AGAIN) {
                    black_box(gate.is_enabled_at(flag, black_box(ada), black_box(scope)).unwrap());
                }
            })
        });
    };

    let (on, off) = (world.flag("on"), world.flag("off"));
    flags.set(on, FlagState::On).unwrap();
    flags.set(off, FlagState::Off).unwrap();
    let default = flags.define(NewFlag::new("default").on_by_default(true)).unwrap();
    // A percentage at which Ada is in, and one at which she is not, so that the bucket decides.
    let (within, without) = (world.flag("within"), world.flag("without"));
    flags.set_percentage(within, within.bucket(ada) + 1).unwrap();
    flags.set_percentage(without, without.bucket(ada)).unwrap();
    for scope in [ScopeId::ROOT, deep] {
        hot(&mut report, "off for everybody", off, scope, false);
        hot(&mut report, "on for everybody", on, scope, true);
        hot(&mut report, "by default, no flag has a rule", default, scope, true);
        hot(&mut report, "by percentage, in", within, scope, true);
        hot(&mut report, "by percentage, out", without, scope, false);
    }
    let (role, user, refused) = (world.flag("role"), world.flag("user"), world.flag("refused"));
    flags.turn_on(role, FlagTarget::Role(*junior)).unwrap();
    flags.turn_on(user, FlagTarget::User(ada)).unwrap();
    flags.turn_off(refused, FlagTarget::User(ada)).unwrap();
    for scope in [ScopeId::ROOT, deep] {
        hot(&mut report, "by an inherited role", role, scope, true);
        hot(&mut report, "by user", user, scope, true);
        hot(&mut report, "turned off for the user", refused, scope, false);
        hot(&mut report, "by percentage, other flags have rules", within, scope, true);
    }
    let place = world.flag("place");
    flags.turn_on(place, FlagTarget::Scope(levels[1])).unwrap();
    hot(&mut report, "by a scope at depth 1", place, deep, true);
    let many: Vec<Flag> = (0..300).map(|number| world.flag(&format!("flag{number}"))).collect();
    let far = many[299];
    flags.turn_on(far, FlagTarget::Role(*junior)).unwrap();
    hot(&mut report, "by role, the 300th flag", far, ScopeId::ROOT, true);

    let tokens = populate_sessions(gate, &[ada]).unwrap();
    let who = gate.authenticate(&tokens[0]).unwrap();
    for (name, flag, scope, target) in [
        ("by session, by role", role, ScopeId::ROOT, PLAIN),
        ("by session, by percentage, at depth 4", within, deep, DEEP),
        ("by session, by role, at depth 4", role, deep, DEEP),
    ] {
        assert!(who.is_enabled_at(flag, scope));
        report.bench(&mut group, name, target, AGAIN, |iterations| {
            time(|| {
                for _ in 0..iterations * u64::from(AGAIN) {
                    black_box(who.is_enabled_at(black_box(flag), black_box(scope)));
                }
            })
        });
    }

    // The most that depth 4 can ask: a set of the user's and one of everybody's on every level.
    let own = world.flag("own");
    for level in &levels[1..] {
        flags.set_rule(own, FlagTarget::User(ada), &Grant::new().at(*level)).unwrap();
        flags.turn_on(own, FlagTarget::Scope(*level)).unwrap();
    }
    assert!(who.is_enabled_at(own, deep));
    report.bench(&mut group, "by user and scope on every level, at depth 4", DEEP, AGAIN, |iterations| {
        time(|| {
            for _ in 0..iterations * u64::from(AGAIN) {
                black_box(gate.is_enabled_at(own, black_box(ada), black_box(deep)).unwrap());
            }
        })
    });

    let count = size(1_000_000, 1_000);
    let users = populate_users(gate, "u", count, &[*junior]).unwrap();
    let tenth = world.flag("tenth");
    flags.set_percentage(tenth, 1000).unwrap();
    let mut state = 7u64;
    let mut found = 0_u64;
    report.bench(
        &mut group,
        "by percentage, random order, 1 M users",
        "one cache miss",
        1000,
        |iterations| {
            time(|| {
                for _ in 0..iterations * 1000 {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let user = users[(state >> 33) as usize % users.len()];
                    found += u64::from(gate.is_enabled(tenth, user).unwrap());
                }
            })
        },
    );
    black_box(found);
    report.bench(&mut group, "change a state, until seen", "< 1 ms", 2, |iterations| {
        time(|| {
            for _ in 0..iterations {
                flags.set(tenth, FlagState::On).unwrap();
                assert!(gate.is_enabled(tenth, ada).unwrap());
                flags.set(tenth, FlagState::Off).unwrap();
                assert!(!gate.is_enabled(tenth, ada).unwrap());
            }
        })
    });
    group.finish();
    let statistics = gate.statistics();
    let (count, bytes) = (statistics.flags, statistics.flag_bytes >> 10);
    report.line(format!("memory of {count} flags' states"), "", format!("{bytes} KiB"));
    report.print("feature flags");
}

criterion_group!(benches, questions);
criterion_main!(benches);
