//! Many failures in a short time, for benches: the same rows, without audit records.

use super::Attempt;
use crate::engine::Portcullis;
use crate::error::{Error, Result};
use crate::session::Client;
use crate::store::{Batch, CommitError};
use crate::throttle::{Counted, Entry, KeyRecord, Place, RowRecord, SourceCount};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Rows in one commit.
const PORTION: usize = 128;

struct Rows<E>(BTreeMap<(u8, u32), RowRecord<E>>);

impl<E: Entry> Rows<E> {
    fn put(&mut self, place: Place, entry: E) {
        let Place { kind, bits, row, tag: _ } = place;
        let fresh = || RowRecord { kind, bits, row, entries: Vec::new() };
        self.0.entry((kind, row)).or_insert_with(fresh).put(entry);
    }

    fn commit(self, gate: &Portcullis) -> Result<()> {
        let rows: Vec<RowRecord<E>> = self.0.into_values().collect();
        for portion in rows.chunks(PORTION) {
            let mut batch = Batch::new();
            portion.iter().try_for_each(|row| batch.overwrite(row))?;
            commit(gate, batch)?;
        }
        Ok(())
    }
}

fn commit(gate: &Portcullis, batch: Batch) -> Result<()> {
    match gate.engine().store.commit(batch) {
        Ok(_) => Ok(()),
        Err(CommitError::Failed(error)) => Err(error),
        Err(CommitError::Conflict) => Err(Error::damaged("a commit that expects nothing met a conflict")),
    }
}

pub(crate) fn failures(gate: &Portcullis, prefix: &str, count: u32) -> Result<()> {
    let (engine, now) = (gate.engine(), gate.now());
    let (mut counts, mut sources) = (Rows(BTreeMap::new()), Rows(BTreeMap::new()));
    for number in 0..count {
        let name = format!("{prefix}{number}");
        let client = Client::new().ip(Ipv4Addr::from(number ^ 0x5A5A_5A5A).into());
        let places = engine.counts_of(&Attempt::login(&name, &client))?;
        for place in places.name.into_iter().chain(places.pair) {
            counts.put(place, Counted { tag: place.tag, failures: 1, last: now, told: false });
        }
        if let Some(place) = places.source {
            let names = 1 << (places.own >> 58);
            let (filled, stuffing) = (engine.throttle.policy.pace(now, false, now).failed(now), false);
            let source = SourceCount { tag: place.tag, filled, names, since: now, stuffing, told: false };
            sources.put(place, source);
        }
    }
    let mut batch = Batch::new();
    batch.overwrite(&KeyRecord { key: engine.throttle.key })?;
    commit(gate, batch)?;
    counts.commit(gate)?;
    sources.commit(gate)?;
    Ok(())
}
