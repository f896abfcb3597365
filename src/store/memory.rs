//! The in-memory backend: the whole contract but durability, for tests and for what need not outlive the process.

use super::{
    Append, Batch, Change, CommitError, Expect, Head, MAX_OPERATIONS, MAX_VALUE, Result, Row, Scan, Sink,
    Store, Table, Version,
};
use crate::error::Error;
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
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
    commits: Mutex<Option<String>>,
    sink: OnceLock<Arc<dyn Sink>>,
}

impl MemoryStore {
    pub(crate) fn new() -> Self {
        Self::default()
    }
}

/// The size rules that every backend holds.
pub(super) fn check_size(batch: &Batch) -> Result<()> {
    let operations = batch.operations();
    if operations > MAX_OPERATIONS {
        return Err(Error::limit(
            "batch",
            format!("one change may touch {MAX_OPERATIONS} rows and this one touches {operations}; split it"),
        ));
    }
    let bodies = batch.appends.iter().map(|append| (append.log, &append.body));
    let values = batch.writes.iter().filter_map(|write| Some((write.table, write.value.as_ref()?)));
    for (table, value) in values.chain(bodies) {
        if value.len() > MAX_VALUE {
            return Err(Error::limit(
                table.name,
                format!("a row may have {MAX_VALUE} bytes and this one has {}", value.len()),
            ));
        }
    }
    Ok(())
}

/// Whether an expectation holds for a row of this version, or for no row.
pub(super) fn holds(expect: Expect, found: Option<Version>) -> bool {
    match expect {
        Expect::Absent => found.is_none(),
        Expect::Present => found.is_some(),
        Expect::At(version) => found == Some(version),
    }
}

/// The rows that an append comes to, now that its sequence number is known, and the head after it.
pub(super) fn appended(append: Append, head: Head) -> (Vec<Change>, Head) {
    let sequence = head.length.to_be_bytes();
    let head = head.extend(&append.body);
    let indexes = append.indexes.into_iter().map(|(table, mut key)| {
        key.extend_from_slice(&sequence);
        Change { table, key, value: Some(sequence.to_vec()) }
    });
    let mut rows: Vec<Change> = indexes.collect();
    rows.push(Change { table: append.log, key: sequence.to_vec(), value: Some(append.body) });
    (rows, head)
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
        let state = self.state.read();
        let found = state.tables.get(&table).and_then(|rows| rows.get(key));
        Ok(found.map(|(version, value)| Row { key: key.to_vec(), version: *version, value: value.clone() }))
    }

    fn scan(&self, table: Table, scan: &Scan<'_>) -> Result<Vec<Row>> {
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
        check_size(&batch)?;
        let mut stopped = self.commits.lock();
        if let Some(why) = stopped.as_deref() {
            return Err(Error::stopped(why).into());
        }
        let (version, changes) = {
            let mut state = self.state.write();
            let ok = batch
                .expects
                .iter()
                .all(|(table, key, expect)| holds(*expect, state.version_of(*table, key)));
            if !ok {
                return Err(CommitError::Conflict);
            }
            let version = Version(state.version.0 + 1);
            let writes = batch.writes.into_iter();
            let mut changes: Vec<Change> =
                writes.map(|w| Change { table: w.table, key: w.key, value: w.value }).collect();
            for append in batch.appends {
                let (rows, head) = appended(append, state.head);
                changes.extend(rows);
                state.head = head;
            }
            for change in &changes {
                state.put(change, version);
            }
            state.version = version;
            (version, changes)
        };
        if let Some(sink) = self.sink.get()
            && let Err(error) = sink.apply(&changes)
        {
            let why = error.to_string();
            sink.stop(&why);
            *stopped = Some(why);
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
        let why = "it was closed";
        *self.commits.lock() = Some(why.to_owned());
        if let Some(sink) = self.sink.get() {
            sink.stop(why);
        }
        Ok(())
    }
}
