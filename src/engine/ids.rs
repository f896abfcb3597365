//! Numbers for new users, roles and permissions.
//!
//! User numbers are reserved in blocks, one commit a block, so that creating a user does not rewrite one hot row and
//! several processes could share a store; a block that is not used up when the process ends is lost, which leaves a
//! gap and reuses nothing. Roles and permissions are rare and their numbers dense, so they take one at a time, in
//! the commit that uses it.

use super::bookkeeping::{SEQUENCE, Sequence, SequenceRecord};
use crate::error::{Error, Result};
use crate::id::{Key, UserId};
use crate::store::{self, Batch, CommitError, Expect, Store, Stored};
use parking_lot::Mutex;

const FIRST_BLOCK: u64 = 64;
const LARGEST_BLOCK: u64 = 4096;
/// User numbers index an array of the view.
const USER_LIMIT: u64 = u32::MAX as u64;

/// The block of user numbers that this process may still hand out.
#[derive(Debug, Default)]
pub(crate) struct UserIds {
    block: Mutex<Block>,
}

#[derive(Debug, Default)]
struct Block {
    next: u64,
    end: u64,
    size: u64,
}

impl UserIds {
    /// A number that no user has had.
    pub(crate) fn next(&self, store: &dyn Store) -> Result<UserId> {
        let mut block = self.block.lock();
        if block.next == block.end {
            // Blocks double while they are used up, so that a bulk load seldom stops for one.
            let size = (block.size * 2).clamp(FIRST_BLOCK, LARGEST_BLOCK);
            let start = reserve(store, size)?;
            *block = Block { next: start, end: start + size, size };
        }
        let id = UserId::from_number(block.next);
        block.next += 1;
        Ok(id)
    }
}

fn reserve(store: &dyn Store, size: u64) -> Result<u64> {
    loop {
        let mut batch = Batch::new();
        let start = stage_next(store, &mut batch, Sequence::User, size, USER_LIMIT)?;
        match store.commit(batch) {
            Ok(_) => return Ok(start),
            // Another process took this block; the next reading shows the one after it.
            Err(CommitError::Conflict) => {}
            Err(CommitError::Failed(error)) => return Err(error),
        }
    }
}

/// Stages the taking of so many numbers and returns the first.
pub(crate) fn stage_next(
    store: &dyn Store,
    batch: &mut Batch,
    sequence: Sequence,
    count: u64,
    limit: u64,
) -> Result<u64> {
    let old = store::read::<SequenceRecord>(store, &(sequence as u8))?;
    let start = old.as_ref().map_or(0, |old| old.record.next);
    let next = start.saturating_add(count);
    if next > limit {
        return Err(Error::limit(
            "id",
            format!("{sequence:?} numbers are used up: {limit} can be made over the life of a database"),
        ));
    }
    let new = SequenceRecord { sequence, next };
    match old {
        Some(old) => batch.replace(&old, &new)?,
        None => batch.insert(&new)?,
    }
    Ok(start)
}

/// Stages that no permission number below this one is handed out any more, if that is not so already. Either way the row
/// that was read is expected as it was: no permission has been defined or deleted since.
pub(crate) fn stage_handed_out(
    batch: &mut Batch,
    old: Option<&Stored<SequenceRecord>>,
    next: u64,
) -> Result<()> {
    let next = old.map_or(next, |old| old.record.next.max(next));
    let new = SequenceRecord { sequence: Sequence::Permission, next };
    match old {
        Some(old) => batch.replace(old, &new),
        None => batch.insert(&new),
    }
}

/// Expects that no permission is defined or deleted between this call and the commit: what is read after it of the
/// catalogue still holds then.
pub(crate) fn expect_same_permissions(store: &dyn Store, batch: &mut Batch) -> Result<()> {
    match store::read::<SequenceRecord>(store, &(Sequence::Permission as u8))? {
        Some(row) => batch.expect_unchanged(&row),
        None => batch.expect(SEQUENCE, (Sequence::Permission as u8).bytes(), Expect::Absent),
    }
    Ok(())
}

/// Stages that the catalogue changes, for those who expect it the same. A definition does so by taking a number.
pub(crate) fn stage_permission_deleted(store: &dyn Store, batch: &mut Batch) -> Result<()> {
    match store::read::<SequenceRecord>(store, &(Sequence::Permission as u8))? {
        Some(row) => batch.replace(&row, &row.record),
        None => Err(Error::damaged("there are permissions, but no record of the numbers given to them")),
    }
}
