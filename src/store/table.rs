//! Typed records over a [`Store`]: a record's table, format and indexes are declared once, beside the record.

use super::{Scan, Store, Table, Version, codec};
use crate::error::{Error, Result};
use crate::id::Key;

/// A stored type.
pub(crate) trait Record: serde::Serialize + serde::de::DeserializeOwned + 'static {
    const TABLE: Table;
    /// Rises when the encoding changes; older formats then need a decoder of their own.
    const FORMAT: u8 = 1;
    const INDEXES: &'static [Index<Self>];
    type Key: Key;

    fn key(&self) -> Self::Key;
}

/// May two records share a key of the index?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Unique,
    Many,
}

/// A secondary index: a table of its own whose rows lead to primary keys.
pub(crate) struct Index<R: 'static> {
    pub(crate) table: Table,
    pub(crate) kind: Kind,
    derive: fn(&R, &mut IndexKeys),
}

impl<R> Index<R> {
    pub(crate) const fn unique(table: Table, derive: fn(&R, &mut IndexKeys)) -> Self {
        Self { table, kind: Kind::Unique, derive }
    }

    pub(crate) const fn many(table: Table, derive: fn(&R, &mut IndexKeys)) -> Self {
        Self { table, kind: Kind::Many, derive }
    }

    /// The keys of a record, without the primary key that an index of many adds.
    pub(crate) fn keys(&self, record: &R) -> Vec<Vec<u8>> {
        let mut keys = IndexKeys::default();
        (self.derive)(record, &mut keys);
        keys.0
    }
}

/// Collects the keys that one record has in one index: none, one, or several.
#[derive(Default)]
pub(crate) struct IndexKeys(Vec<Vec<u8>>);

impl IndexKeys {
    pub(crate) fn add(&mut self, key: &impl Key) {
        self.0.push(key.bytes());
    }

    pub(crate) fn add_raw(&mut self, key: Vec<u8>) {
        self.0.push(key);
    }

    pub(crate) fn add_text(&mut self, text: &str) {
        self.0.push(index_prefix(text));
    }
}

/// Text as an index key: its bytes and a zero byte, which validated text does not contain, so that no text is a
/// prefix of another one's rows.
pub(crate) fn index_prefix(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

/// A record as it was read, with the version of its row.
#[derive(Clone, Debug)]
pub(crate) struct Stored<R> {
    pub(crate) version: Version,
    pub(crate) record: R,
}

/// One record by its primary key.
pub(crate) fn read<R: Record>(store: &dyn Store, key: &R::Key) -> Result<Option<Stored<R>>> {
    read_bytes(store, &key.bytes())
}

fn read_bytes<R: Record>(store: &dyn Store, key: &[u8]) -> Result<Option<Stored<R>>> {
    let Some(row) = store.get(R::TABLE, key)? else { return Ok(None) };
    stored(key, row.version, &row.value).map(Some)
}

fn stored<R: Record>(key: &[u8], version: Version, value: &[u8]) -> Result<Stored<R>> {
    let record: R = codec::decode(value)?;
    if record.key().bytes() != key {
        // A row moved under another key (someone edited the file) must not lend its rights to that key.
        return Err(Error::damaged(format!(
            "a {} record is stored under a key that is not its own",
            R::TABLE.name
        )));
    }
    Ok(Stored { version, record })
}

/// One record by a key of a unique index.
pub(crate) fn find<R: Record>(store: &dyn Store, index: Table, key: &[u8]) -> Result<Option<Stored<R>>> {
    match store.get(index, key)? {
        Some(row) => read_bytes(store, &row.value),
        None => Ok(None),
    }
}

/// Some records in order, and where to go on.
pub(crate) type Slice<R> = (Vec<Stored<R>>, Option<Vec<u8>>);

/// Records by primary key.
pub(crate) fn page<R: Record>(store: &dyn Store, scan: &Scan<'_>) -> Result<Slice<R>> {
    let rows = store.scan(R::TABLE, scan)?;
    let next = (rows.len() >= scan.limit).then(|| rows.last().map(|row| row.key.clone())).flatten();
    let records = rows.iter().map(|row| stored(&row.key, row.version, &row.value)).collect::<Result<_>>()?;
    Ok((records, next))
}

/// Records by an index. A row whose record has gone since the scan began is passed over.
pub(crate) fn page_by<R: Record>(store: &dyn Store, index: Table, scan: &Scan<'_>) -> Result<Slice<R>> {
    let rows = store.scan(index, scan)?;
    let next = (rows.len() >= scan.limit).then(|| rows.last().map(|row| row.key.clone())).flatten();
    let mut records = Vec::with_capacity(rows.len());
    for row in rows {
        records.extend(read_bytes(store, &row.value)?);
    }
    Ok((records, next))
}
