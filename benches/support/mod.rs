//! Shared by the benches: sizes, medians, and the table of targets that is printed at the end.

#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use criterion::{BenchmarkGroup, measurement::WallTime};
use std::time::{Duration, Instant};

/// True under `cargo bench`, false under `cargo test --benches`, where everything runs once at a small size.
pub(crate) fn full() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// The size of a bench: the one it measures, and one that only shows that it runs.
pub(crate) fn size(measured: usize, tried: usize) -> usize {
    if full() { measured } else { tried }
}

/// What was measured, beside what was asked for.
#[derive(Default)]
pub(crate) struct Report(Vec<(String, String, String)>);

impl Report {
    /// A line of the table.
    pub(crate) fn line(
        &mut self,
        what: impl Into<String>,
        target: impl Into<String>,
        reached: impl Into<String>,
    ) {
        self.0.push((what.into(), target.into(), reached.into()));
    }

    /// Runs a criterion bench whose routine performs that many operations an iteration, and returns the median time
    /// of one operation. The routine gets the iteration count and answers the time they took.
    pub(crate) fn bench(
        &mut self,
        group: &mut BenchmarkGroup<'_, WallTime>,
        name: &str,
        target: &str,
        operations: u32,
        mut run: impl FnMut(u64) -> Duration,
    ) -> Duration {
        let mut samples: Vec<Duration> = Vec::new();
        group.bench_function(name, |bencher| {
            // Criterion calls this once for the warm-up and once for the samples; the later call is the one to keep.
            samples.clear();
            bencher.iter_custom(|iterations| {
                let spent = run(iterations);
                samples.push(spent / u32::try_from(iterations).unwrap_or(u32::MAX) / operations);
                spent / operations
            });
        });
        samples.sort_unstable();
        let median = samples.get(samples.len() / 2).copied().unwrap_or_default();
        self.line(name, target, format!("{median:.1?}"));
        median
    }

    /// Prints the table.
    pub(crate) fn print(&self, title: &str) {
        println!("\n{title}{}", if full() { "" } else { " (small, to see that it runs; not a measurement)" });
        println!("{:<58}{:>24}{:>24}", "", "target", "reached");
        for (what, target, reached) in &self.0 {
            println!("{what:<58}{target:>24}{reached:>24}");
        }
        println!();
    }
}

/// The time of one call.
pub(crate) fn time(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}
