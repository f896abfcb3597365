//! What a batch comes to: the rules that every backend holds, written once.

use super::{Append, Batch, Change, Expect, Head, MAX_OPERATIONS, MAX_VALUE, Table, Version};
use crate::error::{Error, Result};

/// Longest key. Bounds, with the value and operation limits, what one batch can weigh.
pub(crate) const MAX_KEY: usize = 1024;

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
    let written = batch.writes.iter().map(|write| (write.table, &write.key));
    let indexed = batch.appends.iter().flat_map(|append| &append.indexes).map(|(table, key)| (*table, key));
    for (table, key) in written.chain(indexed) {
        if key.len() > MAX_KEY {
            return Err(Error::limit(
                table.name,
                format!("a key may have {MAX_KEY} bytes and this one has {}", key.len()),
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

/// The rows that a batch comes to, in the order in which they apply, and the head after it.
pub(super) fn changes(batch: Batch, mut head: Head) -> (Vec<Change>, Head) {
    let writes = batch.writes.into_iter();
    let mut changes: Vec<Change> =
        writes.map(|write| Change { table: write.table, key: write.key, value: write.value }).collect();
    for append in batch.appends {
        head = appended(append, head, &mut changes);
    }
    (changes, head)
}

/// Adds the rows of an append, now that its sequence number is known, and returns the head after it.
fn appended(append: Append, head: Head, changes: &mut Vec<Change>) -> Head {
    let sequence = head.length.to_be_bytes();
    let after = head.extend(&append.body);
    changes.extend(append.indexes.into_iter().map(|(table, mut key)| {
        key.extend_from_slice(&sequence);
        Change { table, key, value: Some(sequence.to_vec()) }
    }));
    changes.push(Change { table: append.log, key: sequence.to_vec(), value: Some(append.body) });
    after
}

/// Whether all expectations of a batch hold, given the version of each row.
pub(super) fn expected<E>(
    batch: &Batch,
    mut version_of: impl FnMut(Table, &[u8]) -> Result<Option<Version>, E>,
) -> Result<bool, E> {
    for (table, key, expect) in &batch.expects {
        if !holds(*expect, version_of(*table, key)?) {
            return Ok(false);
        }
    }
    Ok(true)
}
