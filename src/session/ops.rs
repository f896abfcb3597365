//! The era that sessions are opened in.

use super::eras::next_era;
use super::record::{SESSION_ERA, SessionEraRecord};
use crate::error::Result;
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

/// Ends the present era.
pub(crate) fn stage_next_era(store: &dyn Store, batch: &mut Batch) -> Result<()> {
    let old = store::read::<SessionEraRecord>(store, &0)?;
    let new = SessionEraRecord { era: next_era(old.as_ref().map_or(0, |row| row.record.era)) };
    match old {
        Some(old) => batch.replace(&old, &new),
        None => batch.insert(&new),
    }
}

/// Goes on with the present era and has every login planned anew that was planned before this commit.
pub(crate) fn stage_same_era(store: &dyn Store, batch: &mut Batch) -> Result<()> {
    match store::read::<SessionEraRecord>(store, &0)? {
        Some(old) => batch.replace(&old, &old.record),
        None => batch.insert(&SessionEraRecord { era: 0 }),
    }
}
