//! The writer thread: it merges what waits into one journal entry and one sync, and is the only one that writes.
//!
//! A group goes through five steps: decide and number its batches, write and sync the journal entry (from here on it
//! is durable), take the rows over into the tables (from here on it can be read), tell the sink batch by batch, answer
//! the waiters. Whatever fails in between stops the store; the journal knows the truth at the next open.

use super::entry::{DatabaseId, Position, RowChange};
use super::journal::Journal;
use super::shared::{Answer, CLOSED, GroupLimit, Pending, Shared, Slot, failed, unknown};
use super::tables::{Tables, guarded, panic_text};
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Batch, Change, CommitError, FaultPoint, Faults, Table, Version, plan};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Largest group: enough to spread one sync over many writers, and bounded so that no waiter starves.
const GROUP: GroupLimit = GroupLimit { batches: 256, weight: 1 << 20 };

pub(super) struct Committer {
    pub(super) shared: Arc<Shared>,
    pub(super) tables: Arc<Tables>,
    pub(super) journal: Journal,
    pub(super) id: DatabaseId,
    /// Of the latest commit.
    pub(super) position: Position,
    pub(super) faults: Faults,
    /// The journal write of the group under way has begun: from here its outcome may be unknown.
    pub(super) writing: bool,
}

/// A batch whose expectations hold, with its number and its rows.
struct Accepted {
    answer: Arc<Slot<Answer>>,
    version: Version,
    changes: Vec<Change>,
}

/// The batches of a group, decided one after the other.
struct Group {
    accepted: Vec<Accepted>,
    conflicts: Vec<Arc<Slot<Answer>>>,
    after: Position,
    /// What the batches before have done to a row; `None` where they deleted it.
    rows: HashMap<(Table, Vec<u8>), Option<Version>>,
}

impl Group {
    fn new(before: Position) -> Self {
        Self { accepted: Vec::new(), conflicts: Vec::new(), after: before, rows: HashMap::new() }
    }

    /// Decides the next batch; after the last one of a group nobody asks any more what it did to which row.
    fn add(&mut self, batch: Batch, answer: Arc<Slot<Answer>>, tables: &Tables, is_last: bool) -> Result<()> {
        let expected = plan::expected(&batch, |table, key| {
            // A lookup by a borrowed pair would need a key type of its own; expectations are few.
            let changed = (!self.rows.is_empty()).then(|| self.rows.get(&(table, key.to_vec()))).flatten();
            changed.map_or_else(|| tables.version_of(table, key), |version| Ok(*version))
        });
        if !expected? {
            self.conflicts.push(answer);
            return Ok(());
        }
        let version = Version(self.after.version.0 + 1);
        let (changes, head) = plan::changes(batch, self.after.head);
        if !is_last {
            for change in &changes {
                self.rows.insert((change.table, change.key.clone()), change.value.as_ref().map(|_| version));
            }
        }
        self.after = Position { version, head };
        self.accepted.push(Accepted { answer, version, changes });
        Ok(())
    }

    fn rows(&self) -> Vec<RowChange<'_>> {
        let rows = self.accepted.iter().flat_map(|batch| {
            batch.changes.iter().map(|change| RowChange {
                table: change.table,
                key: &change.key,
                version: batch.version,
                value: change.value.as_deref(),
            })
        });
        rows.collect()
    }
}

impl Committer {
    /// Serves until the store stops or is closed, then lets go of the files.
    pub(super) fn run(mut self) -> Result<()> {
        let limit = GroupLimit { weight: GROUP.weight.min(self.journal.capacity() / 2), ..GROUP };
        while let Some(group) = self.shared.next_group(limit) {
            self.serve(group);
        }
        let ended = match self.shared.running() {
            Ok(()) => guarded("closing the database", || self.checkpoint()),
            Err(stopped) => Err(stopped),
        };
        match &ended {
            Ok(()) => self.shared.stop(CLOSED),
            Err(error) => self.shared.stop(&error.to_string()),
        }
        let Self { shared, tables, journal, .. } = self;
        let released = guarded("letting go of the tables", || {
            drop(journal);
            drop(tables);
            drop(shared.tables.write().take());
            Ok(())
        });
        ended.and(released)
    }

    /// Commits a group, or stops the store and answers it.
    fn serve(&mut self, group: Vec<Pending>) {
        let waiters: Vec<_> = group.iter().map(|pending| Arc::clone(&pending.answer)).collect();
        self.writing = false;
        let done = catch_unwind(AssertUnwindSafe(|| self.commit(group))).unwrap_or_else(|panic| {
            Err(Error::new(
                ErrorKind::Storage,
                format!("the writer gave up ({})", panic_text(panic.as_ref())),
            ))
        });
        if let Err(error) = done {
            let why = error.to_string();
            self.shared.stop(&why);
            for waiter in waiters {
                let answer = if self.writing { unknown(&why) } else { Error::new(error.kind(), why.clone()) };
                waiter.fill(Err(answer.into()));
            }
        }
    }

    fn commit(&mut self, pending: Vec<Pending>) -> Result<()> {
        let mut group = Group::new(self.position);
        let mut left = pending.len();
        for Pending { batch, weight, answer } in pending {
            left -= 1;
            if weight > self.journal.capacity() / 2 {
                let room = self.journal.capacity() / 2;
                let why =
                    format!("a change may weigh {room} bytes here and this one weighs {weight}; split it");
                answer.fill(Err(Error::limit("batch", why).into()));
                continue;
            }
            group.add(batch, answer, &self.tables, left == 0)?;
        }
        let written = if group.accepted.is_empty() { Ok(()) } else { self.write(&group) };
        // Answered only now: a reader that comes back for fresh rows finds those that were in its way.
        for answer in group.conflicts {
            answer.fill(Err(CommitError::Conflict));
        }
        written?;
        for batch in group.accepted {
            batch.answer.fill(Ok(batch.version));
        }
        Ok(())
    }

    fn write(&mut self, group: &Group) -> Result<()> {
        let rows = group.rows();
        self.journal.prepare(group.after, &rows)?;
        if !self.journal.fits() {
            self.checkpoint()?;
        }
        self.writing = true;
        self.journal.append(group.after).map_err(|error| failed("write the journal", error))?;
        // A waiter may have run out of patience and stopped the store; then nothing more may become visible.
        self.shared.running()?;
        self.faults.hit(FaultPoint::Apply).map_err(|error| failed("write to the tables", error))?;
        self.tables.apply(&self.id, group.after, &rows)?;
        self.position = group.after;
        *self.shared.position.write() = group.after;
        if let Some(sink) = self.shared.sink.get() {
            for batch in &group.accepted {
                sink.apply(&batch.changes)?;
            }
        }
        Ok(())
    }

    /// Brings the tables to the disk and empties the journal.
    fn checkpoint(&mut self) -> Result<()> {
        if self.journal.is_empty() {
            return Ok(());
        }
        self.faults.hit(FaultPoint::Checkpoint).map_err(|error| failed("sync the tables", error))?;
        self.tables.sync()?;
        self.journal.restart(self.position).map_err(|error| failed("write the journal", error))
    }
}
