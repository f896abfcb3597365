//! How long single authentications take at a million sessions, half of which are over, with the maintenance thread and
//! without it; and what the feed of changes adds to a commit.
//!
//! `cargo bench --bench sweeper`

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench may end where something is wrong")]

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis::testing::{ManualClock, populate_sessions, populate_users};
use portcullis::{FlagChange, Maintainer, MaintenanceSchedule, Portcullis, Token, UserId};
use std::hint::black_box;
use std::time::Duration;
use support::{Report, size, time};

/// A database in which half of the sessions are over.
fn filled(gate: &Portcullis, clock: &ManualClock) -> Vec<Token> {
    let users = populate_users(gate, "user", size(10_000, 20), &[]).unwrap();
    let half: Vec<UserId> = users.iter().copied().cycle().take(size(500_000, 200)).collect();
    populate_sessions(gate, &half).unwrap();
    clock.advance(Duration::from_secs(24 * 3600 + 1));
    populate_sessions(gate, &half).unwrap()
}

/// Authenticates tokens in no order that memory could foresee, each timed by itself, until there are enough of them and
/// it is said that it is over; no more than that many.
fn latencies(gate: &Portcullis, tokens: &[Token], most: usize, over: impl Fn() -> bool) -> Vec<Duration> {
    let mut times = Vec::with_capacity(most);
    let mut place = 1;
    while times.len() < most {
        for _ in 0..1000 {
            place = (place + 618_033_987) % tokens.len();
            let token = &tokens[place];
            times.push(time(|| {
                black_box(gate.authenticate(token).unwrap());
            }));
        }
        if over() {
            break;
        }
    }
    times.sort_unstable();
    times
}

fn tell(report: &mut Report, what: &str, times: &[Duration]) {
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)] {
        report.line(format!("{what}, {name}"), "no pause to be seen", format!("{:.2?}", at(share)));
    }
    report.line(format!("  of {}, the longest", times.len()), "", format!("{:.2?}", at(1.0)));
}

fn removed(maintainer: &Maintainer) -> usize {
    let done = maintainer.status().done;
    done.expired_sessions + done.idle_sessions
}

fn sweeper(criterion: &mut Criterion) {
    let mut report = Report::default();
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for what in ["in memory", "on disk"] {
        let clock = ManualClock::new();
        let builder = Portcullis::builder().clock(clock.clone()).danger_fast_password_hashes();
        let gate = match what {
            "on disk" => builder.open(directory.path().join("auth.db")).unwrap(),
            _ => builder.in_memory().unwrap(),
        };
        let tokens = filled(&gate, &clock);
        let most = size(4_000_000, 1000);
        latencies(&gate, &tokens, most / 4, || false);
        let times = latencies(&gate, &tokens, most, || false);
        tell(&mut report, &format!("{what}, no sweeper"), &times);
        let schedules = [
            ("the sweeper as it is by default", MaintenanceSchedule::new()),
            ("the sweeper without pauses", MaintenanceSchedule::new().pause(Duration::ZERO)),
        ];
        for (how, schedule) in schedules {
            let mut maintainer = gate.start_maintenance(schedule).unwrap();
            let mut times = Vec::new();
            let spent = time(|| times = latencies(&gate, &tokens, most, || maintainer.status().rounds > 0));
            tell(&mut report, &format!("{what}, {how}"), &times);
            let each = removed(&maintainer) as f64 / spent.as_secs_f64();
            report.line("  sessions removed meanwhile", "", removed(&maintainer).to_string());
            report.line("  and in a second", "", format!("{each:.0}"));
            assert_eq!(maintainer.stop().failures, 0);
        }
        feed(criterion, &mut report, &gate, what);
    }
    report.print("sweeper");
}

/// What a commit takes before anybody reads the feed, and after.
fn feed(criterion: &mut Criterion, report: &mut Report, gate: &Portcullis, what: &str) {
    let flag = gate.flags().define("flag").unwrap();
    let commits = |count: u64| {
        for number in 0..count {
            let change = FlagChange::new().description(number.to_string());
            black_box(gate.flags().update(flag, change).unwrap());
        }
    };
    let mut group = criterion.benchmark_group(format!("feed, {what}"));
    group.sample_size(20).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(300));
    let mut bench = |name: &str| {
        let name = format!("a change, {what}, {name}");
        report.bench(&mut group, &name, "the same", 1, |count| time(|| commits(count)));
    };
    bench("nobody asked for changes");
    let mut reader = gate.changes().unwrap();
    bench("the feed is kept, not read");
    std::thread::scope(|scope| {
        let patience = Duration::from_secs(2);
        scope.spawn(move || while reader.next_timeout(patience).is_some() {});
        bench("one reads all the time");
    });
}

criterion_group!(benches, sweeper);
criterion_main!(benches);
