//! Ordered bytes in named tables, one atomic and durable commit. Knows no record by name.
//!
//! Everything above reads through [`Store`] and writes through one [`Batch`] an operation. A commit is atomic over
//! all its tables, is refused if one of its expectations does not hold, is on the disk before anybody can read it,
//! and reaches the read model (the [`Sink`]) in commit order before it is acknowledged.

mod batch;
mod codec;
#[cfg(test)]
mod conformance;
#[cfg_attr(not(feature = "testing"), expect(unreachable_pub, reason = "public in the module `testing` only"))]
mod faults;
mod log;
mod memory;
mod plan;
#[cfg(feature = "sled")]
mod sled;
mod table;

pub(crate) use batch::{Append, Batch, Expect, MAX_OPERATIONS, OperationId};
pub(crate) use codec::{MAX_VALUE, decode, decode_value, encode_value};
pub(crate) use log::Head;
pub(crate) use memory::MemoryStore;
#[cfg(feature = "sled")]
pub(crate) use sled::{SledOptions, SledStore};
pub(crate) use table::{Index, Kind, Record, Stored, find, index_prefix, page, page_by, read};

#[cfg(feature = "testing")]
pub use faults::{FaultPoint, Faults};
#[cfg(not(feature = "testing"))]
pub(crate) use faults::{FaultPoint, Faults};

use crate::error::{Error, Result};
use crate::id::Stamp;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

/// A table: its name on disk and the number by which it is known within the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Table {
    pub(crate) number: u8,
    pub(crate) name: &'static str,
}

impl Table {
    pub(crate) const fn new(number: u8, name: &'static str) -> Self {
        Self { number, name }
    }
}

/// Counts the commits of a database; a row carries the version of the commit that wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Version(pub(crate) u64);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {}", self.0)
    }
}

impl From<Version> for Stamp {
    fn from(version: Version) -> Self {
        Self::from_number(version.0)
    }
}

impl From<Stamp> for Version {
    fn from(stamp: Stamp) -> Self {
        Self(stamp.get())
    }
}

/// One row as a scan or a get returns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) key: Vec<u8>,
    pub(crate) version: Version,
    pub(crate) value: Vec<u8>,
}

/// Which rows a scan returns: keys that start with `prefix`, after `after` in the direction of travel.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scan<'a> {
    pub(crate) prefix: &'a [u8],
    /// Exclusive: rows beyond this key, which need not exist.
    pub(crate) after: Option<&'a [u8]>,
    pub(crate) limit: usize,
    pub(crate) descending: bool,
}

/// From a key to a key.
pub(crate) type KeyRange = (Bound<Vec<u8>>, Bound<Vec<u8>>);

impl Scan<'_> {
    /// The key range, or `None` where it is empty. Written once so that every backend cuts pages alike.
    pub(crate) fn bounds(&self) -> Option<KeyRange> {
        let mut from = Bound::Included(self.prefix.to_vec());
        // The first key beyond all that start with the prefix; none if the prefix is empty or all 0xFF.
        let mut end = self.prefix.to_vec();
        while end.last() == Some(&0xFF) {
            end.pop();
        }
        let mut to = match end.last_mut() {
            Some(last) => {
                *last += 1;
                Bound::Excluded(end)
            }
            None => Bound::Unbounded,
        };
        if let Some(after) = self.after {
            let side = if self.descending { &mut to } else { &mut from };
            // A cursor outside the prefix must not widen the range.
            let inside = after.starts_with(self.prefix);
            if !inside {
                return None;
            }
            *side = Bound::Excluded(after.to_vec());
        }
        match (&from, &to) {
            (Bound::Excluded(a), Bound::Excluded(b)) if a >= b => None,
            (Bound::Included(a), Bound::Excluded(b)) if a >= b => None,
            _ => Some((from, to)),
        }
    }
}

/// One row that a commit wrote or deleted, as the read model hears of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) table: Table,
    pub(crate) key: Vec<u8>,
    /// `None` where the row was deleted.
    pub(crate) value: Option<Vec<u8>>,
}

/// Who hears of every commit, in commit order, after it is durable and before it is acknowledged.
///
/// A remote backend would call this from its change feed; nothing above may assume that this process wrote the
/// change.
pub(crate) trait Sink: Send + Sync {
    /// Takes over the changes of one commit. An error stops the store: a read model that missed a change must not
    /// answer.
    fn apply(&self, changes: &[Change]) -> Result<()>;
    /// The store stopped: from now on every answer is a refusal.
    fn stop(&self, why: &str);
}

/// Why a commit did not happen.
#[derive(Debug)]
pub(crate) enum CommitError {
    /// An expectation did not hold; nothing was written. Plan again from fresh reads.
    Conflict,
    /// Anything else; the error says whether the outcome is known.
    Failed(Error),
}

impl From<Error> for CommitError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// A storage engine. The conformance suite in `store/conformance.rs` is its specification.
pub(crate) trait Store: Send + Sync {
    /// The row under a key.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Row>>;
    /// Rows in key order; pages of one listing may be from different moments.
    fn scan(&self, table: Table, scan: &Scan<'_>) -> Result<Vec<Row>>;
    /// All of the batch, durably, or nothing.
    fn commit(&self, batch: Batch) -> Result<Version, CommitError>;
    /// The version of the latest commit: a read after this sees at least that state.
    fn now(&self) -> Version;
    /// The head of the append-only log.
    fn head(&self) -> Head;
    /// Names who hears of commits; set once, before the first commit.
    fn watch(&self, sink: Arc<dyn Sink>);
    /// Writes everything back and lets go of the files. Later calls answer that the handle stopped.
    fn close(&self) -> Result<()>;
}
