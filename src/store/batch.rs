//! One logical operation: what it expects, what it writes, what it appends to the log.

use super::table::{Index, Kind, Record, Stored};
use super::{Table, Version, codec};
use crate::error::{Error, Result};
use crate::id::Key;

/// How many expectations, writes and appended index rows one batch may hold: small enough for any engine that could
/// stand behind [`Store`](super::Store).
pub(crate) const MAX_OPERATIONS: usize = 192;

/// Names a batch, so that an operation whose outcome is unknown can be looked for in the audit log.
pub(crate) type OperationId = u128;

/// What must hold for the batch to be committed, decided inside the commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    Absent,
    Present,
    At(Version),
}

/// A put, or a delete where the value is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) table: Table,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Option<Vec<u8>>,
}

/// A body for the append-only log: the store gives it the next sequence number, writes it under that number, and
/// writes one row an index, whose key is the given prefix and the number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Append {
    pub(crate) log: Table,
    pub(crate) body: Vec<u8>,
    pub(crate) indexes: Vec<(Table, Vec<u8>)>,
}

/// Everything one operation does to the store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    pub(crate) expects: Vec<(Table, Vec<u8>, Expect)>,
    pub(crate) writes: Vec<Write>,
    pub(crate) appends: Vec<Append>,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn operations(&self) -> usize {
        let appended: usize = self.appends.iter().map(|append| 1 + append.indexes.len()).sum();
        self.expects.len() + self.writes.len() + appended
    }

    pub(crate) fn expect(&mut self, table: Table, key: Vec<u8>, expect: Expect) {
        self.expects.push((table, key, expect));
    }

    /// The record must still be there, whatever its version.
    pub(crate) fn expect_present<R: Record>(&mut self, key: &R::Key) {
        self.expect(R::TABLE, key.bytes(), Expect::Present);
    }

    /// The record must be as it was read.
    pub(crate) fn expect_unchanged<R: Record>(&mut self, read: &Stored<R>) {
        self.expect(R::TABLE, read.record.key().bytes(), Expect::At(read.version));
    }

    /// Stages a record that must not exist yet.
    pub(crate) fn insert<R: Record>(&mut self, record: &R) -> Result<()> {
        let key = record.key().bytes();
        self.expect(R::TABLE, key.clone(), Expect::Absent);
        self.move_indexes(None, Some(record), &key);
        self.put(R::TABLE, key, codec::encode(record)?);
        Ok(())
    }

    /// Stages a record in the place of the one that was read.
    pub(crate) fn replace<R: Record>(&mut self, old: &Stored<R>, new: &R) -> Result<()> {
        let key = new.key().bytes();
        if old.record.key().bytes() != key {
            return Err(Error::invalid("key", format!("a {} record can not change its key", R::TABLE.name)));
        }
        self.expect_unchanged(old);
        self.move_indexes(Some(&old.record), Some(new), &key);
        self.put(R::TABLE, key, codec::encode(new)?);
        Ok(())
    }

    /// Stages the deletion of the record that was read.
    pub(crate) fn remove<R: Record>(&mut self, old: &Stored<R>) {
        let key = old.record.key().bytes();
        self.expect_unchanged(old);
        self.move_indexes(Some(&old.record), None, &key);
        self.delete(R::TABLE, key);
    }

    /// Stages a record without indexes, whatever is there.
    pub(crate) fn overwrite<R: Record>(&mut self, record: &R) -> Result<()> {
        debug_assert!(R::INDEXES.is_empty(), "index rows of the former record would stay");
        self.put(R::TABLE, record.key().bytes(), codec::encode(record)?);
        Ok(())
    }

    pub(crate) fn append(&mut self, append: Append) {
        self.appends.push(append);
    }

    pub(crate) fn put(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.writes.push(Write { table, key, value: Some(value) });
    }

    pub(crate) fn delete(&mut self, table: Table, key: Vec<u8>) {
        self.writes.push(Write { table, key, value: None });
    }

    /// The value that this batch puts under a key.
    pub(crate) fn staged(&self, table: Table, key: &[u8]) -> Option<&[u8]> {
        self.last_write(table, key)?.value.as_deref()
    }

    /// The values that this batch puts under keys that begin so.
    pub(crate) fn staged_under<'b>(
        &'b self,
        table: Table,
        prefix: &'b [u8],
    ) -> impl Iterator<Item = &'b [u8]> {
        let writes =
            self.writes.iter().filter(move |write| write.table == table && write.key.starts_with(prefix));
        writes.filter_map(move |write| self.staged(table, &write.key))
    }

    fn frees(&self, table: Table, key: &[u8]) -> bool {
        self.last_write(table, key).is_some_and(|write| write.value.is_none())
    }

    fn last_write(&self, table: Table, key: &[u8]) -> Option<&Write> {
        self.writes.iter().rev().find(|write| write.table == table && write.key == key)
    }

    /// The only place where index rows are written: those of the old record go, those of the new one come, and what
    /// both have stays untouched. A unique row must be free, which the commit decides.
    fn move_indexes<R: Record>(&mut self, old: Option<&R>, new: Option<&R>, primary: &[u8]) {
        for index in R::INDEXES {
            let rows = |record: Option<&R>| record.map(|r| row_keys(index, r, primary)).unwrap_or_default();
            let (mut before, mut after) = (rows(old), rows(new));
            if !before.is_empty() && !after.is_empty() {
                let former = before.clone();
                before.retain(|key| !after.contains(key));
                after.retain(|key| !former.contains(key));
            }
            for key in before {
                self.delete(index.table, key);
            }
            for key in after {
                // What this batch frees was another record's, which it expects unchanged.
                if index.kind == Kind::Unique && !self.frees(index.table, &key) {
                    self.expect(index.table, key.clone(), Expect::Absent);
                }
                self.put(index.table, key, primary.to_vec());
            }
        }
    }
}

/// The full keys of a record's rows in one index.
pub(super) fn row_keys<R: Record>(index: &Index<R>, record: &R, primary: &[u8]) -> Vec<Vec<u8>> {
    let mut keys = index.keys(record);
    if index.kind == Kind::Many {
        for key in &mut keys {
            key.extend_from_slice(primary);
        }
    }
    keys
}
