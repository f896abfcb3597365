//! The contract of [`Store`], run against every backend.

mod model;

use super::{
    Append, Batch, Change, CommitError, Expect, FaultPoint, Faults, Head, MAX_OPERATIONS, MAX_VALUE,
    MemoryStore, Row, Scan, Sink, Store, Table, Version,
};
use crate::error::{Error, ErrorKind, Result};
use parking_lot::Mutex;
use std::sync::{Arc, Barrier};
use std::thread;

pub(super) const A: Table = Table::new(1, "a");
pub(super) const B: Table = Table::new(2, "b");
pub(super) const LOG: Table = Table::new(7, "log");
pub(super) const LOG_BY: Table = Table::new(8, "log_by_subject");
pub(super) static TABLES: [Table; 4] = [A, B, LOG, LOG_BY];

/// A store under test, where it lives, and the point at which a fault stops a commit of it.
struct Subject {
    store: Arc<dyn Store>,
    faults: Faults,
    point: FaultPoint,
    #[cfg(feature = "sled")]
    dir: Option<tempfile::TempDir>,
}

fn memory() -> Subject {
    let faults = Faults::new();
    Subject {
        store: Arc::new(MemoryStore::new(&TABLES, faults.clone())),
        faults,
        point: FaultPoint::MemoryCommit,
        #[cfg(feature = "sled")]
        dir: None,
    }
}

#[cfg(feature = "sled")]
fn sled() -> Subject {
    let dir = tempfile::tempdir().unwrap();
    let faults = Faults::new();
    let store = Arc::new(open_sled(&dir, &faults));
    Subject { store, faults, point: FaultPoint::JournalWrite, dir: Some(dir) }
}

#[cfg(feature = "sled")]
fn open_sled(dir: &tempfile::TempDir, faults: &Faults) -> super::SledStore {
    // A short journal, so that checkpoints are part of every test.
    let options = super::SledOptions {
        journal_length: 40 << 12,
        faults: faults.clone(),
        ..super::SledOptions::default()
    };
    super::SledStore::open(&dir.path().join("auth.db"), &TABLES, options).unwrap()
}

impl Subject {
    /// The same database through a new handle; the in-memory one has only one life.
    fn reopen(&mut self) {
        #[cfg(feature = "sled")]
        if let Some(dir) = &self.dir {
            self.store = Arc::new(MemoryStore::default());
            self.store = Arc::new(open_sled(dir, &self.faults));
        }
    }
}

macro_rules! suite {
    ($backend:ident: $($test:ident),* $(,)?) => {
        mod $backend {
            $(#[test] fn $test() { super::$test(&mut super::$backend()); })*
        }
    };
}
macro_rules! suites {
    ($($test:ident),* $(,)?) => {
        mod on {
            use super::*;
            suite!(memory: $($test),*);
            #[cfg(feature = "sled")]
            suite!(sled: $($test),*);
        }
    };
}
suites!(
    a_row_is_read_as_it_was_written,
    a_scan_keeps_its_bounds,
    guards_decide_inside_a_batch,
    one_of_many_writers_wins,
    a_batch_is_all_or_nothing_over_its_tables,
    versions_rise_over_concurrent_commits,
    the_log_has_no_gaps_and_its_head_can_be_recomputed,
    the_sink_hears_of_every_change_before_its_commit_returns,
    what_is_too_large_changes_nothing,
    a_fault_stops_the_store,
    a_sink_that_fails_stops_the_store,
    a_closed_store_refuses,
);

fn put(table: Table, key: &str, value: &str) -> Batch {
    let mut batch = Batch::new();
    batch.put(table, key.into(), value.into());
    batch
}

fn append(batch: &mut Batch, subject: &str, body: &str) {
    batch.append(Append { log: LOG, body: body.into(), indexes: vec![(LOG_BY, subject.into())] });
}

fn all(store: &dyn Store, table: Table) -> Vec<Row> {
    store.scan(table, &Scan { limit: usize::MAX, ..Scan::default() }).unwrap()
}

fn keys(store: &dyn Store, scan: &Scan<'_>) -> String {
    let rows = store.scan(A, scan).unwrap();
    let keys: Vec<String> = rows.into_iter().map(|row| String::from_utf8(row.key).unwrap()).collect();
    keys.join(" ")
}

fn kind(result: Result<Version, CommitError>) -> ErrorKind {
    match result {
        Ok(version) => panic!("committed as {version}"),
        Err(CommitError::Conflict) => ErrorKind::Conflict,
        Err(CommitError::Failed(error)) => error.kind(),
    }
}

/// Writes down what it hears.
#[derive(Default)]
pub(super) struct Recorder {
    pub(super) heard: Mutex<Vec<Vec<Change>>>,
    pub(super) stops: Mutex<Vec<String>>,
    pub(super) refuse: Mutex<bool>,
}

impl Sink for Recorder {
    fn apply(&self, changes: &[Change]) -> Result<()> {
        if *self.refuse.lock() {
            return Err(Error::damaged("the view is full"));
        }
        self.heard.lock().push(changes.to_vec());
        Ok(())
    }

    fn stop(&self, why: &str) {
        self.stops.lock().push(why.to_owned());
    }
}

fn a_row_is_read_as_it_was_written(on: &mut Subject) {
    assert_eq!(on.store.now(), Version(0));
    let first = on.store.commit(put(A, "k", "one")).unwrap();
    let row = on.store.get(A, b"k").unwrap().unwrap();
    assert_eq!((row.version, row.value.as_slice(), row.key.as_slice()), (first, &b"one"[..], &b"k"[..]));
    assert!(on.store.get(B, b"k").unwrap().is_none());

    let second = on.store.commit(put(A, "k", "")).unwrap();
    on.reopen();
    let row = on.store.get(A, b"k").unwrap().unwrap();
    assert_eq!((row.version, row.value.len()), (second, 0));
    assert_eq!(on.store.now(), second);

    let mut batch = Batch::new();
    batch.delete(A, b"k".to_vec());
    batch.delete(A, b"never there".to_vec());
    on.store.commit(batch).unwrap();
    assert!(on.store.get(A, b"k").unwrap().is_none());
}

fn a_scan_keeps_its_bounds(on: &mut Subject) {
    let store = &*on.store;
    let mut batch = Batch::new();
    for key in ["", "a", "a1", "a2", "a3", "b", "b1"] {
        batch.put(A, key.into(), Vec::new());
    }
    batch.put(A, vec![0xFF, 0xFF, 1], Vec::new());
    store.commit(batch).unwrap();
    let scan = |prefix: &'static str, after: Option<&'static str>, limit: usize, descending: bool| {
        keys(store, &Scan { prefix: prefix.as_bytes(), after: after.map(str::as_bytes), limit, descending })
    };
    assert_eq!(scan("a", None, 9, false), "a a1 a2 a3");
    assert_eq!(scan("a", None, 9, true), "a3 a2 a1 a");
    assert_eq!(scan("a", None, 2, false), "a a1");
    assert_eq!(scan("a", None, 2, true), "a3 a2");
    assert_eq!(scan("a", None, 0, true), "");
    assert_eq!(scan("a", Some("a1"), 9, false), "a2 a3");
    assert_eq!(scan("a", Some("a1"), 9, true), "a");
    assert_eq!(scan("a", Some("a2x"), 1, false), "a3", "a cursor need not exist");
    assert_eq!(scan("a", Some("a2x"), 1, true), "a2");
    assert_eq!(scan("a", Some("b"), 9, false), "", "a cursor outside the prefix");
    assert_eq!(scan("b", None, 9, false), "b b1");
    assert_eq!(scan("c", None, 9, false), "");
    let ends = Scan { prefix: &[0xFF], limit: 9, ..Scan::default() };
    assert_eq!(store.scan(A, &ends).unwrap().len(), 1, "a prefix without an upper bound");
    assert_eq!(all(store, A).len(), 8);
    assert_eq!(all(store, B), []);
}

fn guards_decide_inside_a_batch(on: &mut Subject) {
    let store = &*on.store;
    let guarded = |expect: Expect, value: &str| {
        let mut batch = put(A, "k", value);
        batch.expect(A, b"k".to_vec(), expect);
        store.commit(batch)
    };
    assert_eq!(kind(guarded(Expect::Present, "x")), ErrorKind::Conflict);
    let first = guarded(Expect::Absent, "one").unwrap();
    assert_eq!(kind(guarded(Expect::Absent, "x")), ErrorKind::Conflict);
    assert_eq!(kind(guarded(Expect::At(Version(first.0 + 1)), "x")), ErrorKind::Conflict);
    let second = guarded(Expect::At(first), "two").unwrap();
    assert_eq!(kind(guarded(Expect::At(first), "x")), ErrorKind::Conflict);
    assert_eq!(store.now(), second, "a conflict takes no version");
    assert_eq!(guarded(Expect::Present, "three").unwrap(), Version(second.0 + 1));
    assert_eq!(store.get(A, b"k").unwrap().unwrap().value, b"three");
}

fn one_of_many_writers_wins(on: &mut Subject) {
    const WRITERS: usize = 8;
    for round in 0..12 {
        let start = Barrier::new(WRITERS);
        let won = thread::scope(|scope| {
            let attempts: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let (store, start) = (&on.store, &start);
                    scope.spawn(move || {
                        let key = format!("{round}");
                        let mut batch = put(A, &key, &format!("{writer}"));
                        batch.expect(A, key.clone().into(), Expect::Absent);
                        append(&mut batch, &key, "won");
                        start.wait();
                        match store.commit(batch) {
                            Ok(_) => Some(writer),
                            Err(CommitError::Conflict) => {
                                assert!(
                                    store.get(A, key.as_bytes()).unwrap().is_some(),
                                    "the winner can be read"
                                );
                                None
                            }
                            Err(CommitError::Failed(error)) => panic!("{error}"),
                        }
                    })
                })
                .collect();
            attempts.into_iter().filter_map(|attempt| attempt.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(won.len(), 1);
        let row = on.store.get(A, format!("{round}").as_bytes()).unwrap().unwrap();
        assert_eq!(row.value, won[0].to_string().as_bytes());
        assert_eq!(on.store.head().length, round + 1);
    }
}

fn a_batch_is_all_or_nothing_over_its_tables(on: &mut Subject) {
    let mut batch = put(A, "k", "a");
    batch.put(B, b"k".to_vec(), b"b".to_vec());
    append(&mut batch, "k", "made");
    let version = on.store.commit(batch).unwrap();
    let before: Vec<_> = TABLES.map(|table| all(&*on.store, table)).into();
    assert!(before.iter().flatten().all(|row| row.version == version));

    let mut batch = put(A, "k", "other");
    batch.delete(B, b"k".to_vec());
    append(&mut batch, "k", "never");
    batch.expect(B, b"k".to_vec(), Expect::At(version));
    batch.expect(B, b"missing".to_vec(), Expect::Present);
    assert_eq!(kind(on.store.commit(batch)), ErrorKind::Conflict);
    on.reopen();
    if !all(&*on.store, A).is_empty() {
        assert_eq!(before, TABLES.map(|table| all(&*on.store, table)));
        assert_eq!((on.store.now(), on.store.head().length), (version, 1));
    }
}

fn versions_rise_over_concurrent_commits(on: &mut Subject) {
    let mut versions: Vec<u64> = thread::scope(|scope| {
        let writers: Vec<_> = (0..6)
            .map(|writer| {
                let store = &on.store;
                scope.spawn(move || {
                    let mut mine = Vec::new();
                    for n in 0..20 {
                        let version = store.commit(put(A, &format!("{writer}/{n}"), "v")).unwrap();
                        assert!(store.now() >= version, "an acknowledged commit is visible");
                        mine.push(version.0);
                    }
                    assert!(mine.is_sorted());
                    mine
                })
            })
            .collect();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    versions.sort_unstable();
    assert_eq!(versions, (1..=120).collect::<Vec<_>>());
    let mut stored: Vec<u64> = all(&*on.store, A).iter().map(|row| row.version.0).collect();
    stored.sort_unstable();
    assert_eq!(stored, versions);
}

fn the_log_has_no_gaps_and_its_head_can_be_recomputed(on: &mut Subject) {
    thread::scope(|scope| {
        for writer in 0..4 {
            let store = &on.store;
            scope.spawn(move || {
                for n in 0..15 {
                    let mut batch = Batch::new();
                    append(&mut batch, &format!("w{writer}/"), &format!("{writer} did {n}"));
                    append(&mut batch, "all/", &format!("{writer} did {n} again"));
                    store.commit(batch).unwrap();
                }
            });
        }
    });
    let bodies = all(&*on.store, LOG);
    let mut head = Head::default();
    for (n, row) in bodies.iter().enumerate() {
        assert_eq!(row.key, (n as u64).to_be_bytes());
        head = head.extend(&row.value);
    }
    assert_eq!((bodies.len(), head), (120, on.store.head()));
    let mine = Scan { prefix: b"w2/", limit: 100, ..Scan::default() };
    let mine = on.store.scan(LOG_BY, &mine).unwrap();
    assert_eq!(mine.len(), 15);
    for (n, row) in mine.iter().enumerate() {
        assert_eq!(row.key, [b"w2/", row.value.as_slice()].concat());
        let body = on.store.get(LOG, &row.value).unwrap().unwrap();
        assert_eq!(body.value, format!("2 did {n}").as_bytes());
        assert_eq!(body.version, row.version);
    }
}

fn the_sink_hears_of_every_change_before_its_commit_returns(on: &mut Subject) {
    let sink = Arc::new(Recorder::default());
    on.store.watch(sink.clone());
    let mut batch = put(B, "k", "b");
    batch.delete(A, b"gone".to_vec());
    append(&mut batch, "s", "body");
    on.store.commit(batch).unwrap();
    let change = |table, key: &[u8], value: Option<&[u8]>| Change {
        table,
        key: key.into(),
        value: value.map(Into::into),
    };
    let expected = [
        change(B, b"k", Some(b"b")),
        change(A, b"gone", None),
        change(LOG_BY, b"s\0\0\0\0\0\0\0\0", Some(&[0; 8])),
        change(LOG, &[0; 8], Some(b"body")),
    ];
    assert_eq!(sink.heard.lock().as_slice(), [expected]);

    thread::scope(|scope| {
        for writer in 0..4 {
            let (store, sink) = (&on.store, &sink);
            scope.spawn(move || {
                for n in 0..20 {
                    let name = format!("{writer}/{n}");
                    let version = store.commit(put(A, &name, "v")).unwrap();
                    let place = usize::try_from(version.0).unwrap() - 1;
                    assert_eq!(sink.heard.lock()[place][0].key, name.as_bytes(), "heard in commit order");
                }
            });
        }
    });
    assert_eq!(sink.heard.lock().len(), 81);
    assert!(sink.stops.lock().is_empty());
}

fn what_is_too_large_changes_nothing(on: &mut Subject) {
    let store = &*on.store;
    let mut large = put(A, "k", "v");
    large.put(A, b"large".to_vec(), vec![0; MAX_VALUE + 1]);
    assert_eq!(kind(store.commit(large)), ErrorKind::LimitExceeded);
    let mut body = put(A, "k", "v");
    append(&mut body, "s", &"x".repeat(MAX_VALUE + 1));
    assert_eq!(kind(store.commit(body)), ErrorKind::LimitExceeded);
    let mut many = Batch::new();
    for n in 0..=MAX_OPERATIONS {
        many.put(A, n.to_be_bytes().into(), Vec::new());
    }
    assert_eq!(kind(store.commit(many)), ErrorKind::LimitExceeded);
    assert_eq!(kind(store.commit(put(A, &"k".repeat(2000), "v"))), ErrorKind::LimitExceeded);
    assert_eq!((all(store, A).len(), store.now(), store.head()), (0, Version(0), Head::default()));

    let mut fits = Batch::new();
    fits.put(A, b"k".to_vec(), vec![7; MAX_VALUE]);
    append(&mut fits, "s", &"x".repeat(MAX_VALUE));
    store.commit(fits).unwrap();
    assert_eq!(store.get(A, b"k").unwrap().unwrap().value, [7; MAX_VALUE]);
}

fn a_fault_stops_the_store(on: &mut Subject) {
    let sink = Arc::new(Recorder::default());
    on.store.watch(sink.clone());
    on.faults.fail(on.point, 3);
    on.store.commit(put(A, "1", "v")).unwrap();
    on.store.commit(put(A, "2", "v")).unwrap();
    let failed = kind(on.store.commit(put(A, "3", "v")));
    assert!(matches!(failed, ErrorKind::Storage | ErrorKind::OutcomeUnknown), "{failed:?}");
    assert_eq!(kind(on.store.commit(put(A, "4", "v"))), ErrorKind::Stopped);
    assert_eq!(on.store.get(A, b"1").unwrap_err().kind(), ErrorKind::Stopped);
    assert_eq!(on.store.scan(A, &Scan::default()).unwrap_err().kind(), ErrorKind::Stopped);
    assert_eq!((sink.heard.lock().len(), sink.stops.lock().len()), (2, 1));
}

fn a_sink_that_fails_stops_the_store(on: &mut Subject) {
    let sink = Arc::new(Recorder::default());
    on.store.watch(sink.clone());
    *sink.refuse.lock() = true;
    assert!(on.store.commit(put(A, "k", "v")).is_err());
    assert_eq!(kind(on.store.commit(put(A, "k", "v"))), ErrorKind::Stopped);
    assert_eq!(on.store.get(A, b"k").unwrap_err().kind(), ErrorKind::Stopped);
    assert!(sink.stops.lock()[0].contains("the view is full"));
}

fn a_closed_store_refuses(on: &mut Subject) {
    let sink = Arc::new(Recorder::default());
    on.store.watch(sink.clone());
    on.store.commit(put(A, "k", "v")).unwrap();
    on.store.close().unwrap();
    on.store.close().unwrap();
    assert_eq!(kind(on.store.commit(put(A, "k", "v"))), ErrorKind::Stopped);
    assert_eq!(on.store.get(A, b"k").unwrap_err().kind(), ErrorKind::Stopped);
    assert_eq!(sink.stops.lock().as_slice(), ["it was closed"]);
}
