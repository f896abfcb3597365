//! Random operations against a naive model: what fuzzing runs in memory, here also on disk, over restarts and storage
//! failures. `PROPTEST_CASES` sets how many.

#[path = "../../fuzz/bodies/operations.rs"]
mod operations;

use operations::run_operations;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Forty cases unless the environment says otherwise, from a new random start each time.
fn cases(run: fn(&[[u8; 4]])) {
    let config = Config { failure_persistence: None, ..Config::default() };
    // The default of proptest is 256, which is what an unset variable gives.
    let cases = if config.cases == 256 { 40 } else { config.cases };
    let operations = proptest::collection::vec(any::<[u8; 4]>(), 1..150);
    let result = TestRunner::new(Config { cases, ..config }).run(&operations, |operations| {
        run(&operations);
        Ok(())
    });
    result.unwrap();
}

#[test]
fn random_operations_agree_with_a_model_in_memory() {
    cases(|operations| operations::run(operations.as_flattened()));
}

#[test]
fn random_operations_agree_with_a_model_on_disk_over_restarts_and_failures() {
    cases(|operations| {
        let directory = tempfile::tempdir().unwrap();
        run_operations(operations, Some(&directory.path().join("auth.db")));
    });
}
