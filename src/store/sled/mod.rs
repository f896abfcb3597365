//! The durable backend: sled for the tables, a journal of our own for durability.
//!
//! A commit is durable when its journal entry is synced; sled gets it a moment later and is brought to the disk at
//! checkpoints only. So what readers see is always durable, a commit costs one sync, and an older or damaged copy of
//! either part shows when the database is opened: the journal knows the version that the tables must have.

mod committer;
mod dir;
mod entry;
mod journal;
mod shared;
mod tables;
#[cfg(test)]
mod tests;

use super::{Batch, CommitError, FaultPoint, Faults, Head, Row, Scan, Sink, Store, Table, Version, plan};
use crate::error::{Error, ErrorKind, Result};
use crate::secret::{SystemEntropy, random};
use committer::Committer;
use dir::Directory;
use entry::{DatabaseId, Position};
use journal::Journal;
use parking_lot::Mutex;
use shared::{CLOSED, Shared, unknown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tables::Tables;

/// How a database is opened.
#[derive(Clone, Debug)]
pub(crate) struct SledOptions {
    /// sled's page cache, in bytes. Small: the read model above is the cache.
    pub(crate) cache_capacity: u64,
    /// The longest that a call waits for the disk before the store stops.
    pub(crate) wait_limit: Duration,
    /// The length of the journal of a new database; an existing one keeps its own.
    pub(crate) journal_length: u64,
    pub(crate) faults: Faults,
}

impl Default for SledOptions {
    fn default() -> Self {
        Self {
            cache_capacity: 64 << 20,
            wait_limit: Duration::from_secs(10),
            journal_length: 8 << 20,
            faults: Faults::default(),
        }
    }
}

/// A database in a directory. One handle at a time.
pub(crate) struct SledStore {
    shared: Arc<Shared>,
    wait_limit: Duration,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl SledStore {
    /// Opens the database at a path, or makes one there.
    pub(crate) fn open(path: &Path, tables: &[Table], options: SledOptions) -> Result<Self> {
        // Without a slash at the end, which would make the operating system look through a symbolic link.
        let path: PathBuf = std::path::absolute(path)
            .map_err(|error| dir::storage("find", path, error))?
            .components()
            .collect();
        let directory = dir::open(&path, |directory| create(directory, tables, &options))?;
        let (tables, journal, position) = recover(&directory, tables, &options)?;
        let tables = Arc::new(tables);
        let shared = Arc::new(Shared::new(Arc::clone(&tables), position));
        let committer = Committer {
            shared: Arc::clone(&shared),
            tables,
            id: *journal.id(),
            journal,
            position,
            faults: options.faults,
            writing: false,
        };
        let writer = thread::Builder::new().name("portcullis-store".to_owned()).spawn(move || {
            let finished = Arc::clone(&committer.shared.finished);
            let ended = committer.run();
            // sled is gone: now the directory may go to another handle.
            drop(directory);
            finished.fill(ended);
        });
        let writer = writer.map_err(|error| {
            Error::new(ErrorKind::Storage, format!("could not start the writer thread ({error})"))
                .caused_by(error)
        })?;
        Ok(Self { shared, wait_limit: options.wait_limit, writer: Mutex::new(Some(writer)) })
    }

    /// Asks the writer to end, and waits no longer than the limit.
    fn end(&self) -> Result<()> {
        let Some(writer) = self.writer.lock().take() else { return Ok(()) };
        self.shared.ask_to_close();
        if writer.thread().id() == thread::current().id() {
            // Dropped by the sink, on the writer thread itself: it ends after this.
            return Ok(());
        }
        let Some(ended) = self.shared.finished.wait(self.wait_limit) else {
            let why = "it did not close in time";
            self.shared.stop(why);
            return Err(Error::new(
                ErrorKind::Storage,
                format!(
                    "the database did not close within {:?}; it stays locked until this process ends",
                    self.wait_limit
                ),
            ));
        };
        // The thread has nothing left to do.
        let _ = writer.join();
        ended
    }
}

/// Fills the directory of a new database, and closes all its files again.
fn create(directory: &Directory, tables: &[Table], options: &SledOptions) -> Result<()> {
    let id: DatabaseId = *random(&SystemEntropy)?;
    let file = directory.create_journal()?;
    Journal::create(file, id, options.journal_length, options.faults.clone())
        .map_err(|error| dir::storage("write the journal in", directory.path(), error))?;
    let tables = Tables::open(directory, tables, options.cache_capacity)?;
    tables::guarded("making the tables", || {
        tables.apply(&id, Position::default(), &[])?;
        tables.sync()
    })
}

/// Opens the parts of a database, checks them against each other, and takes over what the journal has beyond the
/// tables.
fn recover(
    directory: &Directory,
    known: &[Table],
    options: &SledOptions,
) -> Result<(Tables, Journal, Position)> {
    let mut journal = Journal::open(directory.open_journal()?, options.faults.clone())?;
    let tables = Tables::open(directory, known, options.cache_capacity)?;
    let (journal, position) = tables::guarded("reading the tables", || {
        let (id, start) = tables.state()?;
        if id != *journal.id() {
            return Err(Error::damaged(
                "the journal and the tables belong to different databases: one of them was put there from elsewhere; \
                 restore both from one backup",
            ));
        }
        let base = journal.base();
        if start.version < base.version {
            return Err(older_than(start.version, base.version));
        }
        let mut reached = None;
        agree(start, base, &mut reached)?;
        let replayed = journal.replay(known, |after, rows| {
            if after.version > start.version {
                if reached.is_none() {
                    return Err(between(start.version));
                }
                options
                    .faults
                    .hit(FaultPoint::Apply)
                    .map_err(|error| shared::failed("write to the tables", error))?;
                tables.apply(&id, after, rows)?;
                reached = Some(after);
                return Ok(());
            }
            agree(start, after, &mut reached)
        })?;
        let Some(position) = reached else { return Err(beyond(start.version, journal.last())) };
        if replayed {
            options
                .faults
                .hit(FaultPoint::Checkpoint)
                .map_err(|error| shared::failed("sync the tables", error))?;
            tables.sync()?;
            journal.restart(position).map_err(|error| shared::failed("write the journal", error))?;
        }
        Ok((journal, position))
    })?;
    Ok((tables, journal, position))
}

/// Notes when the tables stand where the journal says they may, and refuses if the heads differ there.
fn agree(tables: Position, journal: Position, reached: &mut Option<Position>) -> Result<()> {
    if tables.version == journal.version {
        if tables.head != journal.head {
            return Err(Error::damaged(format!(
                "at {} the tables and the journal disagree about the audit log: one of them was replaced; restore the \
                 database from a backup",
                tables.version
            )));
        }
        *reached = Some(tables);
    }
    Ok(())
}

fn older_than(tables: Version, journal: Version) -> Error {
    Error::damaged(format!(
        "the database stands at {tables} and had acknowledged {journal}: its files are damaged, or an older copy was \
         put back; restore a complete backup (no record was changed)"
    ))
}

fn beyond(tables: Version, journal: Version) -> Error {
    Error::damaged(format!(
        "the database stands at {tables} and its journal ends at {journal}: the journal is damaged, cut or an older \
         copy; restore a complete backup (no record was changed)"
    ))
}

fn between(tables: Version) -> Error {
    Error::damaged(format!(
        "the database stands at {tables}, in the middle of a journal entry: its files are damaged; restore a complete \
         backup (no record was changed)"
    ))
}

impl Store for SledStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Row>> {
        self.read(|tables| tables.get(table, key))
    }

    fn scan(&self, table: Table, scan: &Scan<'_>) -> Result<Vec<Row>> {
        self.read(|tables| tables.scan(table, scan))
    }

    fn commit(&self, batch: Batch) -> Result<Version, CommitError> {
        plan::check_size(&batch)?;
        let answer = self.shared.enqueue(batch)?;
        answer.wait(self.wait_limit).unwrap_or_else(|| {
            let why = format!("a commit took longer than {:?}", self.wait_limit);
            self.shared.stop(&why);
            Err(unknown(&why).into())
        })
    }

    fn now(&self) -> Version {
        self.shared.position.read().version
    }

    fn head(&self) -> Head {
        self.shared.position.read().head
    }

    fn watch(&self, sink: Arc<dyn Sink>) {
        // Set once by the engine that owns the store; a second one would be a fault there, and the first one stays.
        let _ = self.shared.sink.set(sink);
    }

    fn close(&self) -> Result<()> {
        self.end()
    }
}

impl SledStore {
    fn read<T>(&self, run: impl FnOnce(&Tables) -> Result<T>) -> Result<T> {
        self.shared.running()?;
        let tables = self.shared.tables.try_read_for(self.wait_limit);
        let Some(tables) = tables.as_ref().and_then(|tables| tables.as_ref()) else {
            return Err(Error::stopped(CLOSED));
        };
        let found = tables::guarded("a read", || run(tables));
        if let Err(error) = &found
            && error.is_storage()
        {
            self.shared.stop(&error.to_string());
        }
        found
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        // Best effort: what could not be written back is in the journal.
        let _ = self.end();
    }
}
