//! Imported passwords that are compared with those that were made public.

use crate::import::{counts, dry_run, run};
use crate::support::{OTHER, World, all, world_with};
use portcullis::import::Import;
use portcullis::{AuditKind, BreachCheck, BreachError, BreachQuery, ErrorKind, PageRequest};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

const BREACHED: &str = "this one was made public";

#[derive(Clone, Debug, Default)]
struct Corpus {
    asked: Arc<AtomicUsize>,
    broken: Arc<AtomicBool>,
}

impl BreachCheck for Corpus {
    fn times_seen(&self, password: &BreachQuery<'_>) -> Result<u64, BreachError> {
        self.asked.fetch_add(1, SeqCst);
        match self.broken.load(SeqCst) {
            true => Err("the corpus is on holiday".into()),
            false => Ok(u64::from(password.password() == BREACHED)),
        }
    }
}

fn line(login: &str, password: &str) -> String {
    format!("{{\"login\": \"{login}\", \"emails\": [\"a@x.org\"], \"password\": \"{password}\"}}\n")
}

fn failures(world: &World) -> usize {
    all(|page: &PageRequest| world.gate.audit().by_kind(AuditKind::BreachCheckFailed, page)).len()
}

#[test]
fn a_dry_run_lists_what_was_breached_and_each_password_is_asked_about_once() {
    let corpus = Corpus::default();
    let world = world_with(|builder| builder.breach_check(corpus.clone()));
    let import = Import::new(&world.gate);
    let file = [line("ada", OTHER), line("bob", BREACHED), line("eve", OTHER)].concat();
    let would = dry_run(&import, &file);
    assert_eq!(counts(&would), [3, 2, 0, 1]);
    assert_eq!((would.1[0].line, would.1[0].field.as_str()), (2, "password"));
    assert_eq!(corpus.asked.swap(0, SeqCst), 3);
    let hashes = world.gate.password_hashes_computed();
    let done = run(&import, &file);
    assert_eq!((counts(&done), &done.1), (counts(&would), &would.1));
    assert_eq!(corpus.asked.swap(0, SeqCst), 3);
    assert_eq!(world.gate.password_hashes_computed() - hashes, 2);
    // Nothing is asked about who is there.
    let again = run(&Import::new(&world.gate).skip_existing(), &file);
    assert_eq!(counts(&again), [3, 0, 2, 1]);
    assert_eq!(corpus.asked.swap(0, SeqCst), 1);
    // A check that fails refuses, and a dry run writes nothing of it.
    corpus.broken.store(true, SeqCst);
    let would = dry_run(&import, &line("mia", OTHER));
    assert_eq!((counts(&would), failures(&world)), ([1, 0, 0, 1], 0));
    let done = run(&import, &line("mia", OTHER));
    assert_eq!((counts(&done), failures(&world)), ([1, 0, 0, 1], 1));
    assert_eq!(done.1, would.1);
    assert_eq!(done.1[0].kind, ErrorKind::InvalidInput);
}

#[test]
fn passwords_that_could_not_be_compared_fit_into_their_commits() {
    let corpus = Corpus::default();
    corpus.broken.store(true, SeqCst);
    let world =
        world_with(|builder| builder.breach_check(corpus.clone()).danger_accept_unchecked_passwords());
    let file: String = (0..100).map(|n| line(&format!("u{n}"), OTHER)).collect();
    let hashes = world.gate.password_hashes_computed();
    assert_eq!(counts(&run(&Import::new(&world.gate), &file)), [100, 100, 0, 0]);
    assert_eq!(world.gate.password_hashes_computed() - hashes, 100, "no commit was too large");
    assert_eq!((corpus.asked.load(SeqCst), failures(&world)), (100, 100));
}
