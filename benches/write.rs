//! Durable commits a second with 1 to 64 writers, beside the sync of a file on the same disk and beside the same rows
//! written by one bare sled transaction that is flushed and synced.
//!
//! `cargo bench --bench write`

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a bench may end where something is wrong"
)]

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis::testing::populate_users;
use portcullis::{Portcullis, RoleId, UserId};
use sled::Transactional;
use sled::transaction::ConflictableTransactionError;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;
use support::{Report, size, time};

fn per_second(each: Duration) -> f64 {
    1.0 / each.as_secs_f64()
}

/// One kilobyte into a file whose blocks exist already, then fdatasync: the least that a durable commit can cost.
fn raw_sync(directory: &Path) -> impl FnMut(u64) -> Duration {
    let file = File::create(directory.join("raw")).unwrap();
    file.write_all_at(&vec![0; 4 << 20], 0).unwrap();
    file.sync_all().unwrap();
    move |iterations| {
        time(|| {
            for number in 0..iterations {
                file.write_all_at(&[1; 1024], number % 4096 * 1024).unwrap();
                file.sync_data().unwrap();
            }
        })
    }
}

/// The rows of an assignment and its audit record as sled alone would write them: a transaction over seven trees that
/// checks that the assignment is new, then flush, then a sync of the file, because sled's flush does not sync it.
fn bare_sled(directory: &Path) -> impl FnMut(u64) -> Duration {
    let path = directory.join("bare");
    let db = sled::Config::new().path(&path).cache_capacity(64 << 20).open().unwrap();
    let file = File::open(path.join("db")).unwrap();
    let trees: Vec<sled::Tree> =
        (0..7).map(|number| db.open_tree(format!("table{number}")).unwrap()).collect();
    let mut next = 0_u64;
    move |iterations| {
        time(|| {
            for _ in 0..iterations {
                next += 1;
                let key = next.to_be_bytes();
                trees
                    .as_slice()
                    .transaction(|trees| {
                        assert!(trees[0].get(key)?.is_none());
                        for (tree, length) in trees.iter().zip([24, 20, 80, 16, 16, 16, 48]) {
                            tree.insert(&key, vec![7; length])?;
                        }
                        Ok::<(), ConflictableTransactionError<()>>(())
                    })
                    .unwrap();
                db.flush().unwrap();
                file.sync_all().unwrap();
            }
        })
    }
}

/// Takes a role from users and gives it to them in turn, each writer on users of its own.
fn toggle(gate: &Portcullis, role: RoleId, users: &[UserId], writers: usize, iterations: u64) -> Duration {
    time(|| {
        std::thread::scope(|scope| {
            for share in users.chunks(users.len().div_ceil(writers)).take(writers) {
                let gate = gate.clone();
                scope.spawn(move || {
                    for number in 0..iterations.div_ceil(writers as u64) {
                        let user = share[number as usize % share.len()];
                        match gate.roles().unassign(user, role) {
                            Ok(()) => {}
                            Err(error) if error.field() == Some("role") => {
                                gate.roles().assign(user, role).unwrap()
                            }
                            Err(error) => panic!("{error}"),
                        }
                    }
                });
            }
        });
    })
}

fn write(criterion: &mut Criterion) {
    let mut report = Report::default();
    // Beside the build output: a temporary directory may be in memory, where syncing costs nothing.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut group = criterion.benchmark_group("write");
    group.sample_size(10).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_millis(500));

    let raw = report.bench(&mut group, "raw: 1 KiB and fdatasync", "", 1, raw_sync(directory.path()));
    let bare = report.bench(
        &mut group,
        "bare sled: 7 rows, flush, fsync, 1 writer",
        "",
        1,
        bare_sled(directory.path()),
    );

    let gate = Portcullis::open(directory.path().join("auth.db")).unwrap();
    let role = gate.roles().create("role", []).unwrap();
    let users = populate_users(&gate, "user", size(10_000, 128), &[]).unwrap();
    let mut one = Duration::ZERO;
    for writers in [1, 2, 8, 32, 64] {
        let name = format!("assign or unassign a role, {writers} writers");
        let spent = report.bench(&mut group, &name, "", 1, |n| toggle(&gate, role, &users, writers, n));
        let rate = per_second(spent);
        match writers {
            1 => {
                one = spent;
                let ratio = rate / per_second(bare);
                report.line(
                    "  against bare sled at 1 writer",
                    ">= 0.8 x",
                    format!("{ratio:.2} x, {rate:.0} /s"),
                );
                let floor = rate / per_second(raw);
                report.line("  against the raw sync", "", format!("{floor:.2} x"));
            }
            64 => {
                let ratio = rate / per_second(one);
                report.line("  64 writers against one", ">= 4 x", format!("{ratio:.2} x, {rate:.0} /s"));
            }
            _ => report.line("  that is", "", format!("{rate:.0} /s")),
        }
    }
    group.finish();
    report.print("durable commits");
}

criterion_group!(benches, write);
criterion_main!(benches);
