//! What holds for the durable backend only.

mod crash;
mod guards;

use super::{SledOptions, SledStore};
use crate::error::{ErrorKind, Result};
use crate::store::conformance::{A, B, LOG, LOG_BY, TABLES};
use crate::store::{Append, Batch, CommitError, Faults, Head, Scan, Store, Version};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Small enough that a few dozen commits bring a checkpoint.
const JOURNAL: u64 = 24 << 12;

fn options(faults: &Faults) -> SledOptions {
    SledOptions { journal_length: JOURNAL, faults: faults.clone(), ..SledOptions::default() }
}

fn open(path: &Path) -> Result<SledStore> {
    SledStore::open(path, &TABLES, options(&Faults::new()))
}

fn refused(path: &Path) -> (ErrorKind, String) {
    match open(path) {
        Ok(store) => panic!("{} was opened at {}", path.display(), store.now()),
        Err(error) => (error.kind(), error.to_string()),
    }
}

/// An operation of the usual form, over all tables: record `n` with its index row and its log entry.
fn operation(n: u64) -> Batch {
    let mut batch = Batch::new();
    batch.put(A, n.to_be_bytes().into(), vec![n as u8; 200]);
    batch.put(B, [b"by/", n.to_string().as_bytes()].concat(), n.to_be_bytes().into());
    batch.append(Append { log: LOG, body: format!("made {n}").into(), indexes: vec![(LOG_BY, b"s".into())] });
    batch
}

fn commit(store: &SledStore, n: u64) -> Result<Version, CommitError> {
    store.commit(operation(n))
}

/// How many operations a store holds, counted from 1 and without a gap; panics if one is there in part.
fn operations(store: &SledStore) -> u64 {
    let rows = |table| store.scan(table, &Scan { limit: usize::MAX, ..Scan::default() }).unwrap();
    let count = rows(A).len() as u64;
    let mut head = Head::default();
    for n in 1..=count {
        let row = store.get(A, &n.to_be_bytes()).unwrap().expect("no operation is missing before the last");
        assert_eq!((row.version, row.value), (Version(n), vec![n as u8; 200]));
        head = head.extend(format!("made {n}").as_bytes());
    }
    assert_eq!([B, LOG, LOG_BY].map(|table| rows(table).len() as u64), [count; 3]);
    assert_eq!((store.now(), store.head()), (Version(count), head));
    count
}

/// A place for a database, and for copies of it.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.at("auth.db")
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The files as they are at this moment, as a kill would leave them.
    fn copy(&self, name: &str) -> PathBuf {
        let to = self.at(name);
        copy_directory(&self.path(), &to);
        to
    }
}

fn copy_directory(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Puts the tables of one copy into the place of another one's.
fn transplant_tables(from: &Path, to: &Path) {
    for entry in fs::read_dir(to).unwrap().chain(fs::read_dir(from).unwrap()) {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name == "db" || name == "conf" || name.starts_with("snap.") {
            if entry.path().starts_with(to) {
                fs::remove_file(entry.path()).unwrap();
            } else {
                fs::copy(entry.path(), to.join(name)).unwrap();
            }
        }
    }
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}
