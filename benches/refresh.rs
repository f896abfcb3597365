//! Refreshes and new sessions a second with 1, 8 and 32 threads, each durable, beside commits of the same bytes by the same
//! store and nothing else.
//!
//! A new session is a whole login (session, history, device, audit record) with a password hash that costs microseconds.
//!
//! `cargo bench --bench refresh`

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench may end where something is wrong")]

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis::testing::{StoredRow, danger_put_all, dump};
use portcullis::{Client, Credentials, NewUser, Portcullis};
use std::collections::BTreeSet;
use std::time::Duration;
use support::{Report, size, time};

const PASSWORD: &str = "correct horse battery staple";

/// Runs a step with each thread's own state, so many times in all.
fn on_threads<S: Send>(states: &mut [S], iterations: u64, step: impl Fn(&mut S) + Sync) -> Duration {
    let each = iterations.div_ceil(states.len() as u64);
    let step = &step;
    time(|| {
        std::thread::scope(|scope| {
            for state in states {
                scope.spawn(move || (0..each).for_each(|_| step(state)));
            }
        });
    })
}

fn open(gate: &Portcullis, name: &str, client: &Client) -> portcullis::Login {
    gate.login(&Credentials::password(name, PASSWORD), client).unwrap()
}

/// The rows that an operation writes.
fn written(gate: &Portcullis, operation: impl FnOnce()) -> Vec<StoredRow> {
    let key = |row: &StoredRow| (row.table, row.key.clone(), row.value.clone());
    let before: BTreeSet<_> = dump(gate).unwrap().iter().map(key).collect();
    operation();
    dump(gate).unwrap().into_iter().filter(|row| !before.contains(&key(row))).collect()
}

/// The median times of one operation and of one commit of its bare rows. They take turns of some milliseconds, so that both
/// see the same minute of the machine.
fn alternately<S: Send>(
    gate: &Portcullis,
    states: &mut [S],
    rows: &mut [Vec<StoredRow>],
    step: impl Fn(&mut S) + Sync,
) -> (Duration, Duration) {
    let turn = states.len() as u64 * 24;
    let (mut own, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..size(101, 1) {
        own.push(on_threads(states, turn, &step));
        bare.push(on_threads(rows, turn, |rows| danger_put_all(gate, rows).unwrap()));
    }
    let median = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2] / u32::try_from(turn).unwrap()
    };
    (median(own), median(bare))
}

fn told(own: Duration, bare: Duration, (rows, bytes): (usize, usize)) -> String {
    let (rate, ratio) = (1.0 / own.as_secs_f64(), bare.as_secs_f64() / own.as_secs_f64());
    format!("  {ratio:.2} x, {rate:.0} /s, {rows} rows, {bytes} B")
}

fn refresh(criterion: &mut Criterion) {
    let mut report = Report::default();
    // Beside the build output: a temporary directory may be in memory, where syncing costs nothing.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut group = criterion.benchmark_group("refresh");
    group.sample_size(10).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_millis(500));
    let builder =
        Portcullis::builder().danger_fast_password_hashes().admission(32, 256, Duration::from_secs(10));
    let gate = builder.open(directory.path().join("auth.db")).unwrap();
    let client = Client::new().device("laptop").user_agent("agent/1").refreshable();
    let names: Vec<String> = (0..size(32, 8)).map(|number| format!("user{number}")).collect();
    for name in &names {
        gate.users().create(NewUser::new(name).password(PASSWORD)).unwrap();
    }
    for threads in [1, 8, 32].into_iter().filter(|threads| *threads <= names.len()) {
        let names = &names[..threads];
        let mut tokens: Vec<String> = Vec::new();
        let (mut rotated, mut opened) = (Vec::new(), Vec::new());
        for name in names {
            let mut login = open(&gate, name, &client);
            rotated.push(written(&gate, || {
                login = gate.refresh(login.refresh_token().unwrap(), &client).unwrap();
            }));
            tokens.push(login.refresh_token().unwrap().as_str().to_owned());
            opened.push(written(&gate, || drop(open(&gate, name, &client))));
        }
        let bytes = |rows: &[Vec<StoredRow>]| {
            rows[0].iter().map(|row| row.key.len() + row.value.len()).sum::<usize>()
        };
        let sizes = [(rotated[0].len(), bytes(&rotated)), (opened[0].len(), bytes(&opened))];
        // The bare commits put rows back as they were, so that the sessions which are refreshed are others.
        for (token, name) in tokens.iter_mut().zip(names) {
            open(&gate, name, &client).refresh_token().unwrap().as_str().clone_into(token);
        }
        let mut opening = names.to_vec();
        let refresh = |token: &mut String| {
            let login = gate.refresh(&*token, &client).unwrap();
            login.refresh_token().unwrap().as_str().clone_into(token);
        };
        let new_session = |name: &mut String| drop(open(&gate, name, &client));
        report.bench(&mut group, &format!("refresh, {threads} threads"), "", 1, |n| {
            on_threads(&mut tokens, n, refresh)
        });
        let (own, bare) = alternately(&gate, &mut tokens, &mut rotated, refresh);
        report.line("  against the bare rows", ">= 0.9 x", told(own, bare, sizes[0]));
        report.bench(&mut group, &format!("new session, {threads} threads"), "", 1, |n| {
            on_threads(&mut opening, n, new_session)
        });
        let (own, bare) = alternately(&gate, &mut opening, &mut opened, new_session);
        report.line("  against the bare rows", ">= 0.9 x", told(own, bare, sizes[1]));
    }
    group.finish();
    report.print("durable refreshes and new sessions");
}

criterion_group!(benches, refresh);
criterion_main!(benches);
