//! A thousand threads log in at once: what memory they take, and what a check costs meanwhile.
//!
//! `cargo bench --bench login_storm`

#![expect(clippy::unwrap_used, reason = "a bench may end where something is wrong")]
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis::{Client, Credentials, NewUser, Portcullis, ThrottlePolicy, Token};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::{Report, full, size, time};

const PASSWORD: &str = "correct horse battery staple";
const STACK: usize = 256 << 10;
const MIB: f64 = 1_048_576.0;

/// A line of `/proc/self/status`, in bytes.
fn status(name: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u32>().ok());
    kib.map_or(f64::NAN, |kib| f64::from(kib) * 1024.0)
}

fn bytes(count: u64) -> f64 {
    u32::try_from(count >> 10).map_or(f64::NAN, |kib| f64::from(kib) * 1024.0)
}

/// Median and 99th percentile of an `authenticate`, each timed by itself, until told to end or so often. In a table of
/// fixed size, since it is memory that is measured: by ten nanoseconds, and the last place for all above.
fn checks(gate: &Portcullis, token: &Token, most: usize, done: &AtomicBool) -> (Duration, Duration) {
    let mut times = [0_usize; 1000];
    let mut count = 0;
    while count < most && !done.load(Ordering::Relaxed) {
        let start = Instant::now();
        black_box(gate.authenticate(token).unwrap());
        let place = usize::try_from(start.elapsed().as_nanos() / 10).unwrap_or(usize::MAX);
        *times.get_mut(place.min(999)).unwrap() += 1;
        count += 1;
    }
    let at = |percent: usize| {
        let mut before = 0;
        let place = times.iter().position(|times| {
            before += times;
            before * 100 > count * percent
        });
        Duration::from_nanos(place.and_then(|place| u64::try_from(place * 10).ok()).unwrap_or(0))
    };
    (at(50), at(99))
}

struct Storm {
    threads: usize,
    /// With the threads there and waiting for the start, without what hashes work in.
    before: f64,
    /// What the threads themselves took until then.
    stacks: f64,
    highest: f64,
    spent: Duration,
    checks: (Duration, Duration),
}

/// One login a thread, each from an address of its own in ten networks of as many.
fn storm(gate: &Portcullis, token: &Token, threads: usize, rounds: usize) -> Storm {
    let (there, go, done) = (Barrier::new(threads + 1), Barrier::new(threads + 1), AtomicBool::new(false));
    let (left, highest) = (AtomicUsize::new(threads), AtomicUsize::new(0));
    let alone = status("VmRSS");
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (there, go, left) = (&there, &go, &left);
            let number = u8::try_from(thread % 250).unwrap_or(0);
            std::thread::Builder::new()
                .stack_size(STACK)
                .spawn_scoped(scope, move || {
                    let client = Client::new().ip(IpAddr::V4(Ipv4Addr::new(192, 0, 2, number)));
                    let who = Credentials::password("ada", PASSWORD);
                    there.wait();
                    go.wait();
                    for _ in 0..rounds {
                        black_box(gate.login(&who, &client).unwrap());
                    }
                    left.fetch_sub(1, Ordering::Relaxed);
                })
                .unwrap();
        }
        there.wait();
        let waiting = status("VmRSS");
        let before = waiting - bytes(gate.admission().bytes);
        let (highest, over, quiet) = (&highest, &left, &done);
        let sampler = scope.spawn(move || {
            while over.load(Ordering::Relaxed) > 0 {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "bytes of memory"
                )]
                highest.fetch_max(status("VmRSS") as usize, Ordering::Relaxed);
                std::thread::park_timeout(Duration::from_millis(2));
            }
            quiet.store(true, Ordering::Relaxed);
        });
        go.wait();
        let start = Instant::now();
        let checks = checks(gate, token, size(4_000_000, 100), &done);
        sampler.join().unwrap();
        let spent = start.elapsed();
        let highest = bytes(highest.load(Ordering::Relaxed) as u64);
        Storm { threads, before, stacks: waiting - alone, highest, spent, checks }
    })
}

fn storms(criterion: &mut Criterion) {
    let mut report = Report::default();
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let permits = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = size(1000, 16);
    let builder = Portcullis::builder().admission(permits, threads, Duration::from_secs(3600));
    // All threads are one user, whom throttling would let in five at a time: what is measured is the gate.
    let gate = builder
        .admission_share(threads)
        .throttle(ThrottlePolicy::new().danger_off())
        .open(directory.path().join("auth.db"))
        .unwrap();
    gate.users().create(NewUser::new("ada").password(PASSWORD)).unwrap();
    let token = gate.login(&Credentials::password("ada", PASSWORD), &Client::new()).unwrap();
    let token = token.token();

    let mut group = criterion.benchmark_group("login_storm");
    group.sample_size(10).measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(200));
    report.bench(&mut group, "authenticate, nothing else running", "", 1, |n| {
        time(|| {
            (0..n).for_each(|_| {
                black_box(gate.authenticate(token).unwrap());
            })
        })
    });
    group.finish();

    let never = AtomicBool::new(false);
    let quiet = checks(&gate, token, size(4_000_000, 100), &never);
    let seen = storm(&gate, token, threads, 1);
    let admission = gate.admission();
    let hashes = bytes(admission.most_bytes.min(permits as u64 * (19_456 << 10)));
    let room = seen.before + hashes;
    let over = |bytes: f64| format!("{:.1} MiB", bytes / MIB);
    report.line(
        format!("resident, {} threads waiting for the start", seen.threads),
        "",
        format!("{}, theirs {:.1}", over(seen.before), seen.stacks / MIB),
    );
    report.line("the most that hashes worked in", over(hashes), over(bytes(admission.peak_bytes)));
    let more = (seen.highest - room) / f64::from(u32::try_from(seen.threads).unwrap_or(1));
    report.line(
        "resident at the height of the storm",
        format!("{} + stacks", over(room)),
        format!("{}, {:.0} KiB each", over(seen.highest), more / 1024.0),
    );
    report.line(
        "logins a second in the storm",
        "",
        format!("{:.1}", f64::from(u32::try_from(seen.threads).unwrap_or(0)) / seen.spent.as_secs_f64()),
    );
    report.line("the longest wait for a permit", "", format!("{:.1?}", admission.longest_wait));
    for (name, before, during) in [("median", quiet.0, seen.checks.0), ("p99", quiet.1, seen.checks.1)] {
        report.line(
            format!("authenticate with its clock, {name}, before and during"),
            "flat",
            format!("{before:.0?} and {during:.0?}"),
        );
    }
    assert!(admission.peak_running <= permits && admission.peak_bytes <= admission.most_bytes);
    assert_eq!((admission.running, admission.waiting), (0, 0));
    assert!(!full() || admission.peak_waiting >= threads * 9 / 10, "the threads did not meet: {admission:?}");
    report.print("login_storm");
}

criterion_group!(benches, storms);
criterion_main!(benches);
