//! A login beside the bare Argon2id call of the same parameters on memory that is used again, and logins in parallel.
//!
//! `cargo bench --bench login`

#![expect(clippy::unwrap_used, reason = "a bench may end where something is wrong")]

mod support;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use criterion::{Criterion, criterion_group, criterion_main};
use portcullis::{Client, Credentials, NewUser, Portcullis};
use std::hint::black_box;
use std::time::Duration;
use support::{Report, size, time};

const PASSWORD: &str = "correct horse battery staple";

/// A client on a device that is known.
fn known(gate: &Portcullis) -> Client {
    let client = Client::new().device("bench");
    let login = gate.login(&Credentials::password("ada", PASSWORD), &client).unwrap();
    client.device_token(login.device_token().unwrap().as_str())
}

fn logins(gate: &Portcullis, client: Client) -> impl FnMut() + '_ {
    let credentials = Credentials::password("ada", PASSWORD);
    move || {
        black_box(gate.login(&credentials, &client).unwrap());
    }
}

/// The two routines in turn, so that both meet the same noise; the medians of each.
fn side_by_side(rounds: usize, mut one: impl FnMut(), mut other: impl FnMut()) -> (Duration, Duration) {
    let mut times: (Vec<Duration>, Vec<Duration>) =
        (0..rounds).map(|_| (time(&mut one), time(&mut other))).unzip();
    times.0.sort_unstable();
    times.1.sort_unstable();
    let middle = |times: &[Duration]| times.get(times.len() / 2).copied().unwrap_or_default();
    (middle(&times.0), middle(&times.1))
}

fn login(criterion: &mut Criterion) {
    let mut report = Report::default();
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let on_disk = Portcullis::open(directory.path().join("auth.db")).unwrap();
    let in_memory = Portcullis::in_memory().unwrap();
    for gate in [&on_disk, &in_memory] {
        gate.users().create(NewUser::new("ada").password(PASSWORD)).unwrap();
    }
    let argon2 =
        Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(19_456, 2, 1, Some(32)).unwrap());
    let mut memory = vec![Block::default(); 19_456];
    let mut bare = || {
        let mut out = [0; 32];
        argon2
            .hash_password_into_with_memory(PASSWORD.as_bytes(), b"0123456789abcdef", &mut out, &mut memory)
            .unwrap();
        black_box(out);
    };

    let mut group = criterion.benchmark_group("login");
    group.sample_size(10).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_millis(500));
    let mut run = |name: &str, once: &mut dyn FnMut()| {
        report.bench(&mut group, name, "", 1, |n| time(|| (0..n).for_each(|_| once())));
    };
    run("bare Argon2id, m=19456 t=2 p=1, memory used again", &mut bare);
    run("login, in memory", &mut logins(&in_memory, known(&in_memory)));
    run("login, on disk (one durable commit)", &mut logins(&on_disk, known(&on_disk)));
    group.finish();

    let rounds = size(101, 1);
    for (name, gate) in [("in memory", &in_memory), ("on disk", &on_disk)] {
        let (hash, whole) = side_by_side(rounds, &mut bare, logins(gate, known(gate)));
        let over = (whole.as_secs_f64() / hash.as_secs_f64() - 1.0) * 100.0;
        report.line(
            format!("login over bare Argon2id, {name}, in turn"),
            "<= 1 %",
            format!("{over:+.1} % of {hash:.1?}"),
        );
    }
    for threads in [1, 2, 4, 8] {
        let (rate, alone) = (in_parallel(threads, &bare_hashes), in_parallel(threads, &logins_on_disk));
        report.line(
            format!("logins a second on disk, {threads} threads and permits"),
            "bare hashes a second",
            format!("{alone:.1} of {rate:.1}"),
        );
    }
    report.print("login");
}

/// How often a second so many threads do what they are given, each the same number of times.
fn in_parallel(threads: usize, start: &dyn Fn(usize) -> Once) -> f64 {
    let rounds = size(60, 1);
    let once = start(threads);
    let spent = time(|| {
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let mut once = once();
                    (0..rounds).for_each(|_| once());
                });
            }
        });
    });
    u32::try_from(threads * rounds).map_or(f64::NAN, f64::from) / spent.as_secs_f64()
}

/// Makes for each thread what it does again and again.
type Once = Box<dyn Fn() -> Box<dyn FnMut()> + Sync>;

fn bare_hashes(_: usize) -> Once {
    Box::new(|| {
        let argon2 =
            Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(19_456, 2, 1, Some(32)).unwrap());
        let mut memory = vec![Block::default(); 19_456];
        Box::new(move || {
            let mut out = [0; 32];
            argon2
                .hash_password_into_with_memory(
                    PASSWORD.as_bytes(),
                    b"0123456789abcdef",
                    &mut out,
                    &mut memory,
                )
                .unwrap();
            black_box(out);
        })
    })
}

/// On a database of its own, whose gate lets as many hashes run as there are threads.
fn logins_on_disk(threads: usize) -> Once {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let builder = Portcullis::builder().admission(threads, threads, Duration::from_secs(60));
    let gate = builder.open(directory.path().join("auth.db")).unwrap();
    gate.users().create(NewUser::new("ada").password(PASSWORD)).unwrap();
    let client = known(&gate);
    Box::new(move || {
        let (gate, client) = (gate.clone(), client.clone());
        let _kept = &directory;
        Box::new(move || logins(&gate, client.clone())())
    })
}

criterion_group!(benches, login);
criterion_main!(benches);
