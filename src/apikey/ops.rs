//! Stages keys.

use super::record::{API_KEY_BY_OWNER, ApiKeyRecord, ApiKeyTurnRecord};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::{ApiKeyId, Key, UserId};
use crate::store::{self, Batch, Scan, Store, Stored};

/// The key's row, or that there is no such key.
pub(crate) fn read_key(store: &dyn Store, id: ApiKeyId) -> Result<Stored<ApiKeyRecord>> {
    store::read(store, &id)?.ok_or_else(|| Error::not_found("key", id))
}

/// Stages that a key is made for the owner, whose other keys were counted in the same plan.
fn stage_turn(store: &dyn Store, batch: &mut Batch, owner: UserId) -> Result<()> {
    match store::read::<ApiKeyTurnRecord>(store, &owner)? {
        Some(old) => {
            let made = old.record.made.saturating_add(1);
            batch.replace(&old, &ApiKeyTurnRecord { owner, made })
        }
        None => batch.insert(&ApiKeyTurnRecord { owner, made: 1 }),
    }
}

/// Stages a new key, if its owner has not too many by stored end: at most `most`, without those that were replaced or with
/// them.
pub(crate) fn stage_key(
    store: &dyn Store,
    batch: &mut Batch,
    new: &ApiKeyRecord,
    most: usize,
    with_replaced: bool,
    now: Timestamp,
) -> Result<()> {
    stage_turn(store, batch, new.owner)?;
    let (prefix, mut after, mut count) = (new.owner.bytes(), None::<Vec<u8>>, 0);
    loop {
        let scan = Scan { prefix: &prefix, after: after.as_deref(), limit: 128, descending: false };
        let (keys, next) = store::page_by::<ApiKeyRecord>(store, API_KEY_BY_OWNER, &scan)?;
        // One that is idle by its row may have been used since; it counts until it is removed.
        let counts = |key: &&Stored<ApiKeyRecord>| {
            key.record.expires.is_none_or(|end| end > now)
                && (with_replaced || key.record.replaced_by.is_none())
        };
        count += keys.iter().filter(counts).count();
        if count >= most {
            let message =
                format!("{} has {count} API keys, and {most} are the most; revoke one first", new.owner);
            return Err(Error::limit("key", message));
        }
        match next {
            Some(next) => after = Some(next),
            None => return batch.insert(new),
        }
    }
}

/// Stages that a key was replaced and ends at that instant at the latest.
pub(crate) fn stage_replaced(
    batch: &mut Batch,
    old: &Stored<ApiKeyRecord>,
    by: ApiKeyId,
    end: Timestamp,
) -> Result<()> {
    let expires = Some(old.record.expires.map_or(end, |expires| expires.min(end)));
    batch.replace(old, &ApiKeyRecord { expires, replaced_by: Some(by), ..old.record.clone() })
}

/// Stages another state of a key.
pub(crate) fn stage_change(batch: &mut Batch, old: &Stored<ApiKeyRecord>, new: &ApiKeyRecord) -> Result<()> {
    batch.replace(old, new)
}
