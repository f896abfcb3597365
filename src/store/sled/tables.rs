//! sled behind its known faults: errors and panics become our errors, and what is synced is really synced.

use super::dir::{Directory, TABLES, storage};
use super::entry::{DatabaseId, FORMAT, Position, Reader, RowChange, check_format, put_position};
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Row, Scan, Table, Version};
use parking_lot::{Condvar, Mutex};
use sled::transaction::{TransactionError, Transactional};
use sled::{IVec, Tree};
use std::any::Any;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// The tree of the state row, and the key of that row. No table may have this name.
const META: &str = "meta";
const STATE: &[u8] = b"state";

/// How long a just closed sled may take to let go of its own lock, in steps.
const RELEASE_STEP: Duration = Duration::from_millis(2);
const RELEASE_STEPS: usize = 2500;

/// The trees of an open database.
pub(super) struct Tables {
    /// By table number.
    trees: Vec<Option<Tree>>,
    meta: Tree,
    db: sled::Db,
    /// The file whose sync makes a flush durable: sled's own flush of 0.34 does not.
    file: File,
}

/// Runs what may panic inside sled.
pub(super) fn guarded<T>(what: &str, run: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        Err(Error::damaged(format!(
            "the storage engine gave up on {what} ({}); the files are damaged, restore the database from a backup",
            panic_text(panic.as_ref())
        )))
    })
}

pub(super) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no reason given")
}

/// The kind that an error of sled comes to.
fn from_sled(what: &str, error: sled::Error) -> Error {
    let kind = match &error {
        sled::Error::Io(_) => ErrorKind::Storage,
        _ => ErrorKind::Damaged,
    };
    Error::new(kind, format!("could not {what} ({error})")).caused_by(error)
}

fn open_sled(directory: &Directory, cache_capacity: u64) -> Result<sled::Db> {
    let config = sled::Config::new().path(directory.path()).cache_capacity(cache_capacity);
    // sled lets go of its lock some time after its last handle is dropped. Ours is held, so nobody else has it.
    let (never, pause) = (Mutex::new(()), Condvar::new());
    for _ in 0..RELEASE_STEPS {
        match config.open() {
            Err(sled::Error::Io(error)) if error.to_string().contains("could not acquire lock") => {
                pause.wait_for(&mut never.lock(), RELEASE_STEP);
            }
            other => return other.map_err(|error| from_sled("open the tables", error)),
        }
    }
    Err(Error::new(ErrorKind::Locked, "the tables stay locked by a handle that was closed; try again"))
}

impl Tables {
    /// Opens the trees, existing or not.
    pub(super) fn open(directory: &Directory, tables: &[Table], cache_capacity: u64) -> Result<Self> {
        guarded("opening the tables", || {
            let db = open_sled(directory, cache_capacity)?;
            directory.restrict()?;
            let path = directory.path().join(TABLES);
            let file = File::open(&path).map_err(|error| storage("open", &path, error))?;
            let tree = |name: &str| db.open_tree(name).map_err(|error| from_sled("open a table", error));
            let mut trees = vec![None; 256];
            for table in tables {
                if let Some(place) = trees.get_mut(usize::from(table.number)) {
                    *place = Some(tree(table.name)?);
                }
            }
            Ok(Self { trees, meta: tree(META)?, db, file })
        })
    }

    fn tree(&self, table: Table) -> Result<&Tree> {
        self.trees.get(usize::from(table.number)).and_then(Option::as_ref).ok_or_else(|| {
            Error::new(
                ErrorKind::Storage,
                format!("the table {:?} is not one that the store was opened with", table.name),
            )
        })
    }

    pub(super) fn get(&self, table: Table, key: &[u8]) -> Result<Option<Row>> {
        let found = self.tree(table)?.get(key).map_err(|error| from_sled("read a row", error))?;
        found.map(|stored| row(table, key, &stored)).transpose()
    }

    pub(super) fn version_of(&self, table: Table, key: &[u8]) -> Result<Option<Version>> {
        let found = self.tree(table)?.get(key).map_err(|error| from_sled("read a row", error))?;
        found.map(|stored| Ok(split(table, &stored)?.0)).transpose()
    }

    pub(super) fn scan(&self, table: Table, scan: &Scan<'_>) -> Result<Vec<Row>> {
        let tree = self.tree(table)?;
        let Some(bounds) = scan.bounds() else { return Ok(Vec::new()) };
        let rows = |found: sled::Result<(IVec, IVec)>| {
            let (key, stored) = found.map_err(|error| from_sled("scan a table", error))?;
            row(table, &key, &stored)
        };
        let range = tree.range(bounds);
        if scan.descending {
            range.rev().take(scan.limit).map(rows).collect()
        } else {
            range.take(scan.limit).map(rows).collect()
        }
    }

    /// Takes some rows over, and the position after them, all at once.
    pub(super) fn apply(&self, id: &DatabaseId, after: Position, rows: &[RowChange<'_>]) -> Result<()> {
        let mut touched: Vec<Table> = rows.iter().map(|row| row.table).collect();
        touched.sort_unstable();
        touched.dedup();
        let mut trees = vec![self.meta.clone()];
        for table in &touched {
            trees.push(self.tree(*table)?.clone());
        }
        // INVARIANT: nothing in here may touch another tree or flush: sled would wait for itself.
        let done = trees.as_slice().transaction(|views| {
            let mut stored = Vec::new();
            for row in rows {
                let place = touched.binary_search(&row.table).map_or(0, |at| at + 1);
                let Some(view) = views.get(place) else { continue };
                match row.value {
                    Some(value) => {
                        join(&mut stored, row.version, value);
                        view.insert(row.key, stored.as_slice())?
                    }
                    None => view.remove(row.key)?,
                };
            }
            if let Some(meta) = views.first() {
                meta.insert(STATE, state_bytes(id, after))?;
            }
            Ok::<_, sled::transaction::ConflictableTransactionError<()>>(())
        });
        done.map_err(|error| match error {
            TransactionError::Abort(()) => Error::damaged("the tables refused a change"),
            TransactionError::Storage(error) => from_sled("write to the tables", error),
        })
    }

    /// The database's identifier and where its tables stand.
    pub(super) fn state(&self) -> Result<(DatabaseId, Position)> {
        let found = self.meta.get(STATE).map_err(|error| from_sled("read the state row", error))?;
        let Some(bytes) = found else {
            return Err(Error::damaged(
                "the tables have no state row: they are damaged, or not those of a portcullis database; restore the \
                 database from a backup",
            ));
        };
        let mut reader = Reader(&bytes);
        let cut = || Error::damaged("the state row is cut short; restore the database from a backup");
        check_format("database", reader.u32().ok_or_else(cut)?)?;
        Ok((reader.array().ok_or_else(cut)?, reader.position().ok_or_else(cut)?))
    }

    /// Writes everything back and waits for the disk.
    pub(super) fn sync(&self) -> Result<()> {
        self.db.flush().map_err(|error| from_sled("flush the tables", error))?;
        self.file.sync_all().map_err(|error| {
            Error::new(ErrorKind::Storage, format!("could not sync the tables ({error})")).caused_by(error)
        })
    }
}

fn state_bytes(id: &DatabaseId, position: Position) -> Vec<u8> {
    let mut out = Vec::with_capacity(68);
    out.extend_from_slice(&FORMAT.to_be_bytes());
    out.extend_from_slice(id);
    put_position(&mut out, &position);
    out
}

/// A row as sled holds it: the version of the commit that wrote it, then the value.
fn join(stored: &mut Vec<u8>, version: Version, value: &[u8]) {
    stored.clear();
    stored.extend_from_slice(&version.0.to_be_bytes());
    stored.extend_from_slice(value);
}

fn split(table: Table, stored: &[u8]) -> Result<(Version, &[u8])> {
    let mut reader = Reader(stored);
    match reader.u64() {
        Some(version) => Ok((Version(version), reader.0)),
        None => Err(Error::damaged(format!(
            "a row of the table {:?} has {} bytes and is too short to have a version",
            table.name,
            stored.len()
        ))),
    }
}

fn row(table: Table, key: &[u8], stored: &[u8]) -> Result<Row> {
    let (version, value) = split(table, stored)?;
    Ok(Row { key: key.to_vec(), version, value: value.to_vec() })
}
