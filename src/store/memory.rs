//! The in-memory backend: the whole contract but durability, for tests and for what need not outlive the process.

use super::{
    Batch, Change, CommitError, FaultPoint, Faults, Head, Result, Row, Scan, Sink, Store, Table, Version,
    plan,
};
use crate::error::{Error, ErrorKind};
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, OnceLock};

type Rows = BTreeMap<Vec<u8>, (Version, Vec<u8>)>;

#[derive(Default)]
struct State {
    version: Version,
    head: Head,
    tables: BTreeMap<Table, Rows>,
}

/// Tables in memory behind one lock.
#[derive(Default)]
pub(crate) struct MemoryStore {
    state: RwLock<State>,
    /// Held over a whole commit, so that the sink hears of commits in their order while readers go on.
    commits: Mutex<()>,
    /// Why the store stopped; set once.
    stopped: OnceLock<String>,
    sink: OnceLock<Arc<dyn Sink>>,
    faults: Faults,
}

impl MemoryStore {
    /// An empty store of these tables, whose commits fail where the plan says so.
    pub(crate) fn new(tables: &[Table], faults: Faults) -> Self {
        let store = Self { faults, ..Self::default() };
        store.state.write().tables = tables.iter().map(|table| (*table, Rows::default())).collect();
        store
    }

    fn running(&self) -> Result<()> {
        self.stopped.get().map_or(Ok(()), |why| Err(Error::stopped(why)))
    }

    fn stop(&self, why: &str) {
        if self.stopped.set(why.to_owned()).is_ok()
            && let Some(sink) = self.sink.get()
        {
            sink.stop(why);
        }
    }
}

impl State {
    fn version_of(&self, table: Table, key: &[u8]) -> Option<Version> {
        self.tables.get(&table)?.get(key).map(|(version, _)| *version)
    }

    fn put(&mut self, change: &Change, version: Version) {
        let rows = self.tables.entry(change.table).or_default();
        match &change.value {
            Some(value) => rows.insert(change.key.clone(), (version, value.clone())),
            None => rows.remove(&change.key),
        };
    }
}

impl Store for MemoryStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Row>> {
        self.running()?;
        let state = self.state.read();
        let found = state.tables.get(&table).and_then(|rows| rows.get(key));
        Ok(found.map(|(version, value)| Row { key: key.to_vec(), version: *version, value: value.clone() }))
    }

    fn scan(&self, table: Table, scan: &Scan<'_>) -> Result<Vec<Row>> {
        self.running()?;
        let state = self.state.read();
        let Some(rows) = state.tables.get(&table) else { return Ok(Vec::new()) };
        let row = |(key, (version, value)): (&Vec<u8>, &(Version, Vec<u8>))| Row {
            key: key.clone(),
            version: *version,
            value: value.clone(),
        };
        let Some((from, to)) = scan.bounds() else { return Ok(Vec::new()) };
        let range = rows.range((from, to));
        Ok(if scan.descending {
            range.rev().take(scan.limit).map(row).collect()
        } else {
            range.take(scan.limit).map(row).collect()
        })
    }

    fn commit(&self, batch: Batch) -> Result<Version, CommitError> {
        plan::check_size(&batch)?;
        let _in_turn = self.commits.lock();
        self.running()?;
        let (version, changes) = {
            let mut state = self.state.write();
            let version_of = |table, key: &[u8]| Ok::<_, Infallible>(state.version_of(table, key));
            if plan::expected(&batch, version_of) != Ok(true) {
                return Err(CommitError::Conflict);
            }
            if let Err(cause) = self.faults.hit(FaultPoint::MemoryCommit) {
                drop(state);
                self.stop(&cause.to_string());
                return Err(Error::new(ErrorKind::Storage, "the change was not written")
                    .caused_by(cause)
                    .into());
            }
            let version = Version(state.version.0 + 1);
            let (changes, head) = plan::changes(batch, state.head);
            for change in &changes {
                state.put(change, version);
            }
            state.head = head;
            state.version = version;
            (version, changes)
        };
        if let Some(sink) = self.sink.get()
            && let Err(error) = sink.apply(&changes)
        {
            self.stop(&error.to_string());
            return Err(error.into());
        }
        Ok(version)
    }

    fn now(&self) -> Version {
        self.state.read().version
    }

    fn head(&self) -> Head {
        self.state.read().head
    }

    fn watch(&self, sink: Arc<dyn Sink>) {
        // Set once by the engine that owns the store; a second one would be a fault there, and the first one stays.
        let _ = self.sink.set(sink);
    }

    fn close(&self) -> Result<()> {
        let _in_turn = self.commits.lock();
        self.stop("it was closed");
        Ok(())
    }
}
