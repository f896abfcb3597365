//! Tables of a bounded number of rows, each of eight entries: what is counted for names and addresses that anybody can
//! make up.

use crate::error::Result;
use crate::store::{Batch, Index, Record, Store, Stored, Table, read};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Entries of one row.
pub(crate) const ROW: usize = 8;

/// What a row holds several of.
pub(crate) trait Entry: Clone + PartialEq + Serialize + DeserializeOwned + 'static {
    const TABLE: Table;
    fn tag(&self) -> u32;
    /// The lowest of a full row makes way.
    fn weight(&self) -> (u32, u64);
}

/// Where the entry of a name or an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) kind: u8,
    /// There are two to the power of this many rows.
    pub(crate) bits: u8,
    pub(crate) row: u32,
    pub(crate) tag: u32,
}

impl Place {
    /// By a hash that nobody can foresee who does not know the key.
    pub(crate) fn of(kind: u8, bits: u8, hash: u64) -> Self {
        let (high, low) = ((hash >> 32) as u32, (hash & u64::from(u32::MAX)) as u32);
        Self { kind, bits, row: if bits == 0 { 0 } else { high >> (32 - u32::from(bits.min(32))) }, tag: low }
    }

    fn key(&self) -> ((u8, u8), u32) {
        ((self.kind, self.bits), self.row)
    }
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "E: Entry")]
pub(crate) struct RowRecord<E> {
    pub(crate) kind: u8,
    pub(crate) bits: u8,
    pub(crate) row: u32,
    pub(crate) entries: Vec<E>,
}

impl<E: Entry> Record for RowRecord<E> {
    const TABLE: Table = E::TABLE;
    const INDEXES: &'static [Index<Self>] = &[];
    type Key = ((u8, u8), u32);

    fn key(&self) -> Self::Key {
        ((self.kind, self.bits), self.row)
    }
}

impl<E: Entry> RowRecord<E> {
    pub(crate) fn read(store: &dyn Store, place: Place) -> Result<Option<Stored<Self>>> {
        read(store, &place.key())
    }

    pub(crate) fn find(&self, tag: u32) -> Option<&E> {
        self.entries.iter().find(|entry| entry.tag() == tag)
    }

    /// Takes an entry in, in the place of the former one of its tag, or of the lowest where the row is full.
    pub(crate) fn put(&mut self, entry: E) {
        let same = self.entries.iter().position(|other| other.tag() == entry.tag());
        let lowest = || {
            let weights = self.entries.iter().enumerate().map(|(at, entry)| (entry.weight(), at));
            (self.entries.len() >= ROW).then(|| weights.min().map(|(_, at)| at)).flatten()
        };
        match same.or_else(lowest).and_then(|at| self.entries.get_mut(at)) {
            Some(former) => *former = entry,
            None => self.entries.push(entry),
        }
    }

    /// What is wrong with the row, if anything is.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let twice = |(at, entry): (usize, &E)| {
            self.entries.iter().skip(at + 1).any(|other| other.tag() == entry.tag())
        };
        if self.entries.is_empty() || self.entries.len() > ROW {
            Some("has no entry, or more than eight")
        } else if u64::from(self.row) >> self.bits != 0 {
            Some("is beyond the end of its table")
        } else if self.entries.iter().enumerate().any(twice) {
            Some("has two entries of one tag")
        } else {
            None
        }
    }
}

/// Stages another entry at a place, or none; the entry before it is handed in. Returns what the edit made.
pub(crate) fn stage_entry<E: Entry>(
    store: &dyn Store,
    batch: &mut Batch,
    place: Place,
    edit: impl FnOnce(Option<&E>) -> Option<E>,
) -> Result<Option<E>> {
    let old = RowRecord::<E>::read(store, place)?;
    let before = old.as_ref().and_then(|old| old.record.find(place.tag));
    let after = edit(before);
    if before.is_none() && after.is_none() {
        return Ok(None);
    }
    let mut new = match &old {
        Some(old) => old.record.clone(),
        None => RowRecord { kind: place.kind, bits: place.bits, row: place.row, entries: Vec::new() },
    };
    match &after {
        Some(entry) => new.put(entry.clone()),
        None => new.entries.retain(|entry| entry.tag() != place.tag),
    }
    stage_row(batch, old.as_ref(), &new)?;
    Ok(after)
}

/// Stages rows without the entries at some places, several of which may be in one row.
pub(crate) fn stage_forgotten<E: Entry>(
    store: &dyn Store,
    batch: &mut Batch,
    places: &[Place],
) -> Result<()> {
    let rows: BTreeMap<_, Place> = places.iter().map(|place| (place.key(), *place)).collect();
    for (key, place) in rows {
        let Some(old) = RowRecord::<E>::read(store, place)? else { continue };
        let mut new = old.record.clone();
        let goes = |entry: &E| places.iter().any(|place| place.key() == key && place.tag == entry.tag());
        new.entries.retain(|entry| !goes(entry));
        if new != old.record {
            stage_row(batch, Some(&old), &new)?;
        }
    }
    Ok(())
}

/// Stages another state of a row; an empty one goes.
pub(crate) fn stage_row<E: Entry>(
    batch: &mut Batch,
    old: Option<&Stored<RowRecord<E>>>,
    new: &RowRecord<E>,
) -> Result<()> {
    match old {
        Some(old) if new.entries.is_empty() => batch.remove(old),
        Some(old) => batch.replace(old, new)?,
        None if new.entries.is_empty() => {}
        None => batch.insert(new)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::throttle::{COUNT_NAMES, Counted};

    fn count(tag: u32, failures: u32, last: u64) -> Counted {
        Counted { tag, failures, last: Timestamp::from_millis(last), told: false }
    }

    #[test]
    fn a_full_row_forgets_the_fewest_failures_and_then_the_oldest() {
        let mut row = RowRecord { kind: COUNT_NAMES, bits: 0, row: 0, entries: Vec::new() };
        for tag in 0..8 {
            row.put(count(tag, 5, 100 - u64::from(tag)));
        }
        row.put(count(3, 1, 200));
        row.put(count(9, 1, 300));
        assert!(row.find(3).is_none() && row.entries.len() == ROW, "the fewest");
        row.put(count(9, 6, 301));
        row.put(count(10, 1, 302));
        assert!(row.find(7).is_none() && row.find(9).is_some(), "the oldest of those with five");
        assert_eq!(row.fault(), None);
        row.entries.push(count(10, 1, 1));
        assert!(row.fault().is_some());
    }

    #[test]
    fn places_are_within_their_table() {
        for bits in [0_u8, 1, 7, 17, 25, 32] {
            for hash in [0, u64::MAX, 0x1234_5678_9ABC_DEF0] {
                assert_eq!(u64::from(Place::of(0, bits, hash).row) >> bits, 0, "{bits}");
            }
        }
        assert_eq!(Place::of(0, 17, u64::MAX).row, (1 << 17) - 1);
    }
}
