//! Kills, torn writes, damage and injected faults: what was acknowledged is there, or the database does not open.

use super::super::entry::BLOCK;
use super::*;
use crate::store::conformance::Recorder;
use crate::store::{Change, FaultPoint, Sink};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

/// A database killed after `count` operations, with its tables as they were after `tables` of them.
fn killed(place: &Place, count: u64, tables: u64) -> PathBuf {
    let store = open(&place.path()).unwrap();
    let mut older = None;
    for n in 1..=count {
        if n == tables + 1 {
            older = Some(place.copy("older"));
        }
        commit(&store, n).unwrap();
    }
    let killed = place.copy("killed");
    if let Some(older) = older {
        transplant_tables(&older, &killed);
    }
    killed
}

#[test]
fn a_kill_loses_nothing_that_was_acknowledged() {
    let place = Place::new();
    let store = open(&place.path()).unwrap();
    for n in 1..=60 {
        commit(&store, n).unwrap();
        if n % 7 == 0 || n < 4 {
            let copy = place.copy("killed");
            let reopened = open(&copy).unwrap();
            assert_eq!(operations(&reopened), n);
            commit(&reopened, n + 1).unwrap();
            drop(reopened);
            assert_eq!(operations(&open(&copy).unwrap()), n + 1);
        }
    }
}

#[test]
fn a_kill_during_replay_is_replayed_again() {
    let place = Place::new();
    let copy = killed(&place, 9, 2);
    for point in [FaultPoint::Checkpoint, FaultPoint::Apply] {
        let again = place.at("again");
        copy_directory(&copy, &again);
        let faults = Faults::new();
        faults.fail(point, 1);
        assert!(SledStore::open(&again, &TABLES, options(&faults)).is_err());
        assert_eq!(operations(&open(&again).unwrap()), 9);
    }
}

#[test]
fn a_kill_under_concurrent_writers_keeps_what_they_were_told() {
    let place = Place::new();
    let store = open(&place.path()).unwrap();
    let copied = thread::scope(|scope| {
        for writer in 0..4_u64 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..25_u64 {
                    store.commit(operation(writer * 1000 + n)).unwrap();
                }
            });
        }
        store.now()
    });
    let reopened = open(&place.copy("killed")).unwrap();
    assert_eq!(reopened.now(), Version(100));
    assert!(copied <= reopened.now());
    assert_eq!(reopened.head(), store.head());
    let rows = |store: &SledStore, table| store.scan(table, &Scan { limit: 999, ..Scan::default() }).unwrap();
    for table in TABLES {
        assert_eq!(rows(&reopened, table), rows(&store, table));
    }
}

#[test]
fn a_torn_last_entry_is_dropped_wherever_it_was_cut() {
    let place = Place::new();
    let copy = killed(&place, 4, 3);
    let whole = fs::read(copy.join("journal")).unwrap();
    let start = 5 * BLOCK;
    let used = whole[start..start + BLOCK].iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let cuts = (0..used).step_by(37).chain([used - 1, used]);
    for cut in cuts {
        for rest in [0, 0xA5] {
            let torn = place.at("torn");
            copy_directory(&copy, &torn);
            edit(&torn.join("journal"), |bytes| bytes[start + cut..start + BLOCK].fill(rest));
            let store = open(&torn).unwrap();
            let found = operations(&store);
            assert_eq!(found, if cut == used { 4 } else { 3 }, "cut at {cut} of {used}");
            commit(&store, found + 1).unwrap();
            drop(store);
            assert_eq!(operations(&open(&torn).unwrap()), found + 1);
        }
    }
}

fn assert_damaged(path: &Path) {
    let (kind, message) = refused(path);
    assert_eq!(kind, ErrorKind::Damaged, "{message}");
    assert!(message.contains("restore"), "it says what to do: {message}");
}

#[test]
fn a_flipped_bit_in_the_journal_is_found() {
    let place = Place::new();
    let copy = killed(&place, 6, 1);
    let flip = |at: &[usize]| {
        let flipped = place.at("flipped");
        copy_directory(&copy, &flipped);
        edit(&flipped.join("journal"), |bytes| at.iter().for_each(|at| bytes[*at] ^= 4));
        flipped
    };
    for entry in 0..5 {
        for byte in [1, 9, 20, 27, 40, 90, 120, 400] {
            assert_damaged(&flip(&[(2 + entry) * BLOCK + byte]));
        }
    }
    assert_damaged(&flip(&[100]));
    assert_eq!(operations(&open(&flip(&[BLOCK + 100])).unwrap()), 6, "the other slot is not in use yet");
}

#[test]
fn a_damaged_header_of_a_later_generation_is_found() {
    let place = Place::new();
    let store = open(&place.path()).unwrap();
    let (mut found, mut spare) = (0, 0);
    for n in 1..=70 {
        commit(&store, n).unwrap();
        if n < 40 {
            continue;
        }
        for slot in 0..2 {
            let flipped = place.copy("flipped");
            edit(&flipped.join("journal"), |bytes| bytes[slot * BLOCK + 30] ^= 1);
            match open(&flipped) {
                Ok(store) => {
                    assert_eq!(operations(&store), n);
                    spare += 1;
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
                    found += 1;
                }
            }
        }
    }
    assert!(found >= 31 && spare >= 31, "{found} damaged, {spare} spare");
}

#[test]
fn a_journal_that_is_cut_or_gone_is_found() {
    let place = Place::new();
    let copy = killed(&place, 3, 3);
    let damage = |name: &str, change: &dyn Fn(&Path)| {
        let damaged = place.at("damaged");
        copy_directory(&copy, &damaged);
        change(&damaged.join(name));
        assert_damaged(&damaged);
    };
    for name in ["journal", "db", "conf"] {
        damage(name, &|path| fs::remove_file(path).unwrap());
        damage(name, &|path| edit(path, Vec::clear));
    }
    damage("journal", &|path| edit(path, |bytes| bytes.truncate(5 * BLOCK)));
    damage("journal", &|path| edit(path, |bytes| bytes.truncate(100)));
    damage("journal", &|path| edit(path, |bytes| bytes.fill(0)));
}

#[test]
fn older_or_foreign_parts_put_back_are_found() {
    let place = Place::new();
    let mut stages = Vec::new();
    for stage in 0..3_u64 {
        let store = open(&place.path()).unwrap();
        for n in 1..=3 {
            commit(&store, stage * 3 + n).unwrap();
        }
        store.close().unwrap();
        stages.push(place.copy(&format!("stage{stage}")));
    }
    let mixed = place.at("mixed");
    copy_directory(&stages[2], &mixed);
    transplant_tables(&stages[1], &mixed);
    assert_damaged(&mixed);
    let (_, message) = refused(&mixed);
    assert!(message.contains("version 6") && message.contains("version 9"), "{message}");
    assert_damaged(&mixed);

    copy_directory(&stages[2], &mixed);
    fs::copy(stages[1].join("journal"), mixed.join("journal")).unwrap();
    assert_damaged(&mixed);

    let other = Place::new();
    let store = open(&other.path()).unwrap();
    for n in 1..=9 {
        commit(&store, n).unwrap();
    }
    store.close().unwrap();
    copy_directory(&stages[2], &mixed);
    fs::copy(other.path().join("journal"), mixed.join("journal")).unwrap();
    assert_damaged(&mixed);
    // A whole copy of one moment is fine.
    assert_eq!(operations(&open(&stages[1]).unwrap()), 6);
}

#[test]
fn damaged_tables_are_found_or_made_whole_from_the_journal() {
    let place = Place::new();
    let store = open(&place.path()).unwrap();
    for n in 1..=40 {
        commit(&store, n).unwrap();
    }
    store.close().unwrap();
    let try_with = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let damaged = place.copy("damaged");
        edit(&damaged.join(name), change);
        match open(&damaged) {
            Ok(store) => assert_eq!(operations(&store), 40),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Damaged, "{error}"),
        }
    };
    let length = fs::metadata(place.path().join("db")).unwrap().len() as usize;
    for keep in [1, 20, 4096, length / 2, length - 1] {
        try_with("db", &|bytes| bytes.truncate(keep));
    }
    try_with("db", &|bytes| bytes.fill(0));
    for part in 0..8 {
        try_with("db", &|bytes| bytes[part * length / 8..(part + 1) * length / 8].fill(0));
    }
    try_with("conf", &|bytes| bytes.fill(0));
    try_with("conf", &|bytes| bytes.truncate(bytes.len() / 2));
}

#[test]
fn every_fault_is_all_or_nothing_and_loses_no_acknowledgement() {
    let points =
        [FaultPoint::JournalWrite, FaultPoint::JournalSync, FaultPoint::Apply, FaultPoint::Checkpoint];
    for point in points {
        for nth in [1, 2, 5] {
            let place = Place::new();
            let faults = Faults::new();
            let store = SledStore::open(&place.path(), &TABLES, options(&faults)).unwrap();
            faults.fail(point, nth);
            let mut acknowledged = 0;
            let failed = loop {
                match commit(&store, acknowledged + 1) {
                    Ok(_) => acknowledged += 1,
                    Err(CommitError::Failed(error)) => break error,
                    Err(CommitError::Conflict) => panic!("nothing was expected"),
                }
            };
            let expected =
                if point == FaultPoint::Checkpoint { ErrorKind::Storage } else { ErrorKind::OutcomeUnknown };
            assert_eq!(failed.kind(), expected, "{failed}");
            assert_eq!(store.close().unwrap_err().kind(), ErrorKind::Stopped);
            drop(store);
            let found = operations(&open(&place.path()).unwrap());
            let written = matches!(point, FaultPoint::JournalSync | FaultPoint::Apply);
            assert_eq!(found, acknowledged + u64::from(written), "{point:?} {nth}");
        }
    }
}

#[test]
fn a_checkpoint_that_fails_while_closing_is_told_and_loses_nothing() {
    let place = Place::new();
    let faults = Faults::new();
    let store = SledStore::open(&place.path(), &TABLES, options(&faults)).unwrap();
    commit(&store, 1).unwrap();
    faults.fail(FaultPoint::Checkpoint, 1);
    assert_eq!(store.close().unwrap_err().kind(), ErrorKind::Storage);
    assert_eq!(operations(&open(&place.path()).unwrap()), 1);
}

#[test]
fn every_waiter_of_a_failed_group_is_answered() {
    let place = Place::new();
    let faults = Faults::new();
    let store = SledStore::open(&place.path(), &TABLES, options(&faults)).unwrap();
    faults.fail(FaultPoint::JournalSync, 6);
    let acknowledged: Vec<u64> = thread::scope(|scope| {
        let writers: Vec<_> = (0..8_u64)
            .map(|writer| {
                let store = &store;
                scope.spawn(move || {
                    let mut mine = Vec::new();
                    for n in 0.. {
                        match store.commit(operation(writer * 1000 + n)) {
                            Ok(_) => mine.push(writer * 1000 + n),
                            Err(CommitError::Failed(error)) => {
                                let kind = error.kind();
                                assert!(
                                    matches!(kind, ErrorKind::OutcomeUnknown | ErrorKind::Stopped),
                                    "{error}"
                                );
                                break;
                            }
                            Err(CommitError::Conflict) => panic!("nothing was expected"),
                        }
                    }
                    mine
                })
            })
            .collect();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    drop(store);
    let store = open(&place.path()).unwrap();
    for n in acknowledged {
        assert!(store.get(A, &n.to_be_bytes()).unwrap().is_some(), "{n} was acknowledged");
    }
}

/// Holds the writer thread up until it is let go.
struct Stuck(Barrier);

impl Sink for Stuck {
    fn apply(&self, _: &[Change]) -> Result<()> {
        self.0.wait();
        Ok(())
    }

    fn stop(&self, _: &str) {}
}

#[test]
fn nobody_waits_without_a_limit() {
    let place = Place::new();
    let limit = SledOptions { wait_limit: Duration::from_millis(20), ..options(&Faults::new()) };
    let store = SledStore::open(&place.path(), &TABLES, limit).unwrap();
    let stuck = Arc::new(Stuck(Barrier::new(2)));
    store.watch(stuck.clone());
    let Err(CommitError::Failed(error)) = commit(&store, 1) else { panic!("the writer is held up") };
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
    assert_eq!(store.get(A, b"k").unwrap_err().kind(), ErrorKind::Stopped);
    assert_eq!(refused(&place.path()).0, ErrorKind::Locked, "the writer still has the files");
    assert_eq!(store.close().unwrap_err().kind(), ErrorKind::Storage);
    stuck.0.wait();
    drop(store);
    let store = loop {
        match open(&place.path()) {
            Err(error) if error.kind() == ErrorKind::Locked => thread::yield_now(),
            other => break other.unwrap(),
        }
    };
    assert_eq!(operations(&store), 1);
}

/// Panics as a faulty read model would.
struct Panics;

impl Sink for Panics {
    fn apply(&self, _: &[Change]) -> Result<()> {
        panic!("a fault in the read model")
    }

    fn stop(&self, _: &str) {}
}

#[test]
fn a_panic_in_the_sink_stops_the_store_and_loses_nothing() {
    let place = Place::new();
    let store = open(&place.path()).unwrap();
    store.watch(Arc::new(Panics));
    let Err(CommitError::Failed(error)) = commit(&store, 1) else { panic!("the sink failed") };
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
    drop(store);
    assert_eq!(operations(&open(&place.path()).unwrap()), 1);
}

#[test]
fn a_dropped_handle_leaves_an_empty_journal_and_tells_the_sink() {
    let place = Place::new();
    let store = open(&place.path()).unwrap();
    let sink = Arc::new(Recorder::default());
    store.watch(sink.clone());
    commit(&store, 1).unwrap();
    drop(store);
    assert_eq!(sink.stops.lock().as_slice(), ["it was closed"]);
    let copy = place.copy("copy");
    // Nothing needs the entries any more.
    edit(&copy.join("journal"), |bytes| bytes[2 * BLOCK..].fill(0));
    assert_eq!(operations(&open(&copy).unwrap()), 1);
}
