//! What a login takes from the allocator once it is warm: the part that hashes, and the whole.
//!
//! `cargo bench --bench login_allocations`

#![expect(clippy::unwrap_used, reason = "a bench may end where something is wrong")]

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis::testing::hash_for_nobody;
use portcullis::{Client, Credentials, NewUser, Portcullis};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::hint::black_box;
use std::time::Duration;
use support::{Report, size, time};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const PASSWORD: &str = "correct horse battery staple";

/// Allocations, moves of them included, and bytes of one call, on all threads: the median, since the store has threads
/// of its own that work at times.
fn allocated(rounds: usize, mut call: impl FnMut()) -> (usize, usize) {
    let mut seen: Vec<(usize, usize)> = (0..rounds)
        .map(|_| {
            let region = Region::new(ALLOCATOR);
            call();
            let spent = region.change();
            (spent.allocations + spent.reallocations, spent.bytes_allocated)
        })
        .collect();
    seen.sort_unstable();
    seen.get(rounds / 2).copied().unwrap_or_default()
}

fn allocations(criterion: &mut Criterion) {
    let mut report = Report::default();
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let on_disk = Portcullis::open(directory.path().join("auth.db")).unwrap();
    let in_memory = Portcullis::in_memory().unwrap();
    let rounds = size(200, 3);
    let mut group = criterion.benchmark_group("login_allocations");
    group.sample_size(10).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    for (name, gate) in [("in memory", &in_memory), ("on disk", &on_disk)] {
        gate.users().create(NewUser::new("ada").password(PASSWORD)).unwrap();
        let client = Client::new().device("bench");
        let login = gate.login(&Credentials::password("ada", PASSWORD), &client).unwrap();
        let client = client.device_token(login.device_token().unwrap().as_str());
        let (right, wrong, nobody) = (
            Credentials::password("ada", PASSWORD),
            Credentials::password("ada", "another horse"),
            Credentials::password("eve", PASSWORD),
        );
        let hash = || hash_for_nobody(gate, PASSWORD).unwrap();
        if name == "in memory" {
            report.bench(&mut group, "the hashing path of a login", "", 1, |n| {
                time(|| (0..n).for_each(|_| hash()))
            });
        }
        let login = || drop(black_box(gate.login(&right, &client).unwrap()));
        let refused = |with: &Credentials| drop(black_box(gate.login(with, &client).unwrap_err()));
        // Warm: memory is kept, pages of the store are there, buffers have grown.
        (0..size(20, 2)).for_each(|_| {
            login();
            refused(&wrong);
        });
        let mut line = |what: &str, target: &str, (allocations, bytes): (usize, usize)| {
            report.line(format!("{what}, {name}"), target, format!("{allocations}; {bytes} bytes"));
        };
        line("allocations of the hashing path", "0", allocated(rounds, hash));
        line("allocations of a login, writer thread and all", "", allocated(rounds, login));
        line("allocations of an attempt that is held up", "", allocated(rounds, || refused(&wrong)));
        line("allocations of one at an unknown name", "", allocated(rounds, || refused(&nobody)));
    }
    group.finish();
    report.print("login_allocations");
}

criterion_group!(benches, allocations);
criterion_main!(benches);
