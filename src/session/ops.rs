//! The era that sessions are opened in.

use super::record::{SESSION_ERA, SessionEraRecord};
use crate::error::{Error, Result};
use crate::id::Key;
use crate::store::{self, Batch, Expect, Store};

/// The present era.
pub(crate) fn era(store: &dyn Store) -> Result<u16> {
    Ok(store::read::<SessionEraRecord>(store, &0)?.map_or(0, |row| row.record.era))
}

/// The present era, which the commit expects not to have ended.
pub(crate) fn expect_era(store: &dyn Store, batch: &mut Batch) -> Result<u16> {
    match store::read::<SessionEraRecord>(store, &0)? {
        Some(row) => {
            batch.expect_unchanged(&row);
            Ok(row.record.era)
        }
        None => {
            batch.expect(SESSION_ERA, 0u8.bytes(), Expect::Absent);
            Ok(0)
        }
    }
}

/// The highest era that there can be; sessions of no era have one above it.
const LAST_ERA: u16 = u16::MAX - 1;

/// Ends the present era.
pub(crate) fn stage_next_era(store: &dyn Store, batch: &mut Batch) -> Result<()> {
    let old = store::read::<SessionEraRecord>(store, &0)?;
    let era = old.as_ref().map_or(0, |row| row.record.era);
    if era >= LAST_ERA {
        let message = "every session was ended 65,534 times, as often as can be; end those of each user";
        return Err(Error::limit("session", message));
    }
    let new = SessionEraRecord { era: era + 1 };
    match old {
        Some(old) => batch.replace(&old, &new),
        None => batch.insert(&new),
    }
}
