//! A table from pairs of numbers to a set number, which readers search without a lock.
//!
//! Whoever writes announces it through the view's turn, and a reader that finds the turn the same before and after has
//! read one moment.

use super::lines::pair;
use super::sync::{AtomicU32, AtomicU64, OnceLock, Ordering, size};
use crate::error::{Error, Result};

/// A table has up to 2^31 slots.
const SIZES: usize = size(32, 6);
const FIRST_LOG: u32 = size(6, 2) as u32;

/// `first (32) | second (32)` and a set number; the second is never 0, so that an empty slot is all zeros.
#[derive(Debug, Default)]
#[repr(C, align(16))]
struct Slot {
    key: AtomicU64,
    set: AtomicU32,
}

#[derive(Debug)]
pub(super) struct Pairs {
    /// The table of each size; smaller ones stay for readers that are under way.
    tables: [OnceLock<Box<[Slot]>>; SIZES],
    log: AtomicU32,
}

/// What the one writer knows of the table.
#[derive(Debug, Default)]
pub(super) struct PairBooks {
    /// Slots with a key, with those whose set is 0 and which hold nothing any more.
    used: usize,
    live: usize,
}

/// A table that a reader looks up several pairs in.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    slots: &'a [Slot],
    log: u32,
}

impl Table<'_> {
    /// What stands under that pair: a set number, or 0.
    #[inline]
    pub(super) fn get(self, first: u32, second: u32) -> u32 {
        let key = pair(first, second);
        let (mask, start) = (self.slots.len().wrapping_sub(1), spread(key, self.log));
        for step in 0..self.slots.len() {
            let Some(slot) = self.slots.get((start + step) & mask) else { return 0 };
            match slot.key.load(Ordering::Relaxed) {
                found if found == key => return slot.set.load(Ordering::Relaxed),
                0 => return 0,
                _ => {}
            }
        }
        0
    }
}

/// Fibonacci hashing: numbers in order spread well, and nobody outside chooses them.
#[inline]
const fn spread(key: u64, log: u32) -> usize {
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - log)) as usize
}

impl Pairs {
    pub(super) fn new() -> Self {
        Self { tables: std::array::from_fn(|_| OnceLock::new()), log: AtomicU32::new(FIRST_LOG) }
    }

    #[inline]
    pub(super) fn table(&self) -> Table<'_> {
        let log = self.log.load(Ordering::Acquire);
        let slots = self.tables.get(log as usize).and_then(OnceLock::get);
        Table { slots: slots.map_or(&[], |slots| slots), log }
    }

    // What follows is for the writer, who is alone and has announced the change.

    /// Puts a set under a pair, 0 for nothing; returns what it was.
    pub(super) fn put(&self, books: &mut PairBooks, first: u32, second: u32, set: u32) -> Result<u32> {
        self.make_room(books)?;
        let (key, table) = (pair(first, second), self.table());
        let mask = table.slots.len().wrapping_sub(1);
        let start = spread(key, table.log);
        for step in 0..table.slots.len() {
            let Some(slot) = table.slots.get((start + step) & mask) else { break };
            let found = slot.key.load(Ordering::Relaxed);
            if found != key && found != 0 {
                continue;
            }
            let former = slot.set.load(Ordering::Relaxed);
            if found == 0 {
                if set == 0 {
                    return Ok(0);
                }
                books.used += 1;
                slot.key.store(key, Ordering::Relaxed);
            }
            books.live = books.live + usize::from(set != 0) - usize::from(former != 0);
            slot.set.store(set, Ordering::Relaxed);
            return Ok(former);
        }
        Err(full())
    }

    pub(super) fn bytes(&self) -> usize {
        let slots: usize = self.tables.iter().filter_map(OnceLock::get).map(|slots| slots.len()).sum();
        slots * size_of::<Slot>()
    }

    /// Keeps at most two thirds of the slots used: by clearing out those that hold nothing, or in a table of twice the size.
    fn make_room(&self, books: &mut PairBooks) -> Result<()> {
        let size = self.table().slots.len();
        if (books.used + 1) * 3 <= size * 2 {
            return Ok(());
        }
        let pairs: Vec<(u64, u32)> = self
            .table()
            .slots
            .iter()
            .map(|slot| (slot.key.load(Ordering::Relaxed), slot.set.load(Ordering::Relaxed)))
            .filter(|(_, set)| *set != 0)
            .collect();
        let mut log = self.log.load(Ordering::Relaxed);
        if size > 0 && pairs.len() * 3 <= size {
            for slot in self.table().slots {
                slot.key.store(0, Ordering::Relaxed);
                slot.set.store(0, Ordering::Relaxed);
            }
        } else {
            log += u32::from(size > 0);
            let Some(place) = self.tables.get(log as usize) else {
                return Err(full());
            };
            place.get_or_init(|| (0..1usize << log).map(|_| Slot::default()).collect());
            self.log.store(log, Ordering::Release);
        }
        let table = self.table();
        let mask = table.slots.len().wrapping_sub(1);
        for (key, set) in &pairs {
            let start = spread(*key, log);
            let mut free = (0..table.slots.len()).filter_map(|step| table.slots.get((start + step) & mask));
            if let Some(slot) = free.find(|slot| slot.key.load(Ordering::Relaxed) == 0) {
                slot.key.store(*key, Ordering::Relaxed);
                slot.set.store(*set, Ordering::Relaxed);
            }
        }
        books.used = pairs.len();
        Ok(())
    }
}

fn full() -> Error {
    Error::limit("scope", "the table of what is held at scopes is full")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_table_agrees_with_a_map_through_growth_and_clearing_out() {
        let (pairs, mut books) = (Pairs::new(), PairBooks::default());
        let (mut model, mut mix) = (BTreeMap::new(), 7u64);
        assert_eq!(pairs.table().get(1, 1), 0);
        for round in 0..60_000u32 {
            mix = mix.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (user, scope) = ((mix >> 33) as u32 % 500, 1 + (mix >> 50) as u32 % 40);
            // Sometimes nothing, and at the end mostly.
            let set = if mix >> 60 < 4 + u64::from(round > 40_000) * 8 { 0 } else { round + 1 };
            let former = pairs.put(&mut books, user, scope, set).unwrap();
            assert_eq!(former, model.insert((user, scope), set).unwrap_or(0));
        }
        for user in 0..500 {
            for scope in 0..45 {
                let due = model.get(&(user, scope)).copied().unwrap_or(0);
                assert_eq!(pairs.table().get(user, scope), due);
            }
        }
        assert_eq!(books.live, model.values().filter(|set| **set != 0).count());
        let before = pairs.bytes();
        for n in 0..200_000u32 {
            pairs.put(&mut books, 1000 + n, 1, 9).unwrap();
            pairs.put(&mut books, 1000 + n, 1, 0).unwrap();
        }
        assert!(pairs.bytes() <= before * 2, "what holds nothing makes no table grow");
    }
}
