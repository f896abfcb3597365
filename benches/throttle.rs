//! What a refused attempt costs, what throttling adds to a login, and the room that failures at many names take.
//!
//! `cargo bench --bench throttle`

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench may end where something is wrong")]

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis::testing::populate_failures;
use portcullis::{Builder, Client, Credentials, NewUser, Portcullis, ThrottlePolicy};
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;
use support::{Report, full, size, time};

const PASSWORD: &str = "correct horse battery staple";

fn builder() -> Builder {
    Portcullis::builder().danger_fast_password_hashes()
}

fn client() -> Client {
    Client::new().ip("192.0.2.7".parse().unwrap())
}

/// A database in which `ada`, who is a user, and `nobody`, who is none, have to wait.
fn held_up(gate: &Portcullis) {
    gate.users().create(NewUser::new("ada").password(PASSWORD)).unwrap();
    for name in ["ada", "nobody"] {
        while gate
            .login(&Credentials::password(name, "wrong"), &client())
            .unwrap_err()
            .retry_after()
            .is_none()
        {}
    }
}

fn refused(gate: &Portcullis, name: &str, times: u64) {
    let (credentials, client) = (Credentials::password(name, PASSWORD), client());
    for _ in 0..times {
        let error = gate.login(&credentials, &client).unwrap_err();
        assert!(black_box(error).retry_after().is_some());
    }
}

fn bytes_in(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let size = |entry: std::fs::DirEntry| {
        let about = entry.metadata().unwrap();
        if about.is_dir() { bytes_in(&entry.path()) } else { about.len() }
    };
    entries.map(size).sum()
}

/// Memory of this process that is in RAM, in bytes.
fn resident() -> i64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split_whitespace().nth(1).unwrap().parse::<i64>().unwrap() * 4096
}

fn mib(bytes: i64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// Memory is given back to the allocator and not to the system, so that only the first measurement of it counts.
fn room(report: &mut Report, names: u32, first: bool) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = directory.path().join("auth.db");
    let gate = builder().open(&path).unwrap();
    populate_failures(&gate, "name", names).unwrap();
    gate.close().unwrap();
    drop(gate);
    report.line(format!("{names} names, on disk"), "bounded", mib(bytes_in(&path).try_into().unwrap()));
    let before = resident();
    let gate = builder().open(&path).unwrap();
    for number in 0..size(5000, 10) {
        // Reads the rows of a name and its address, and computes a hash of microseconds.
        let address = std::net::Ipv4Addr::from(u32::try_from(number).unwrap() ^ 0x5A5A_5A5A);
        let credentials = Credentials::password(format!("name{number}"), "wrong");
        let _ = gate.login(&credentials, &Client::new().ip(address.into()));
    }
    if first {
        report.line(format!("{names} names, memory with sled's cache"), "bounded", mib(resident() - before));
    }
}

fn throttle(criterion: &mut Criterion) {
    let mut report = Report::default();
    let sizes = if full() { vec![10_000_000, 1_000_000] } else { vec![1000] };
    for (number, names) in sizes.into_iter().enumerate() {
        room(&mut report, names, number == 0);
    }

    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let on_disk = builder().open(directory.path().join("auth.db")).unwrap();
    let in_memory = builder().in_memory().unwrap();
    populate_failures(&on_disk, "name", size(1_000_000, 1000).try_into().unwrap()).unwrap();

    let mut group = criterion.benchmark_group("throttle");
    group.sample_size(10).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(300));
    for (what, gate) in [("on disk, 1 M names", &on_disk), ("in memory", &in_memory)] {
        held_up(gate);
        for name in ["ada", "nobody"] {
            let line = format!("a refused attempt of {name}, {what}");
            let each =
                report.bench(&mut group, &line, "no hash, no commit", 1, |n| time(|| refused(gate, name, n)));
            report.line("  in a second, one thread", "", format!("{:.0}", 1.0 / each.as_secs_f64()));
            let both = report.bench(&mut group, &format!("{line}, two threads"), "", 1, |n| {
                time(|| {
                    std::thread::scope(|scope| {
                        scope.spawn(|| refused(gate, name, n.div_ceil(2)));
                        refused(gate, name, n.div_ceil(2));
                    });
                })
            });
            report.line("  in a second, two threads", "", format!("{:.0}", 1.0 / both.as_secs_f64()));
        }
    }

    group.finish();

    // The same login with and without, in turn, on hashes that take microseconds, so that the difference shows.
    for (what, client) in [("no address", Client::new()), ("an address", client())] {
        let policies = [ThrottlePolicy::new().danger_off(), ThrottlePolicy::new()];
        let gates = policies.map(|policy| {
            let gate = builder().throttle(policy).in_memory().unwrap();
            gate.users().create(NewUser::new("ada").password(PASSWORD)).unwrap();
            populate_failures(&gate, "name", size(100_000, 1000).try_into().unwrap()).unwrap();
            gate
        });
        let credentials = Credentials::password("ada", PASSWORD);
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..size(3000, 10) {
            for (gate, times) in gates.iter().zip(&mut times) {
                times.push(time(|| drop(black_box(gate.login(&credentials, &client).unwrap()))));
            }
        }
        let [off, on] = times.map(|mut times| {
            times.sort_unstable();
            times[times.len() / 2]
        });
        report.line(format!("a login, {what}, in memory, throttling off"), "", format!("{off:.1?}"));
        report.line("  and on", "tens of us more", format!("{on:.1?}"));
    }
    report.print("throttle");
}

criterion_group!(benches, throttle);
criterion_main!(benches);
