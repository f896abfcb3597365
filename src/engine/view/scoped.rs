//! The tree of scopes, and what users hold at scopes below the global one.
//!
//! One number, odd while anything here changes, guards all of it: a reader that finds it even and the same before and
//! after has read one moment. What a user holds at the global scope is in the user's cell.

use super::lines::pair;
use super::segmented::Segmented;
use crate::error::{Error, Result};
use crate::id::ScopeId;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// A table has up to 2^31 slots.
const SIZES: usize = 32;
const FIRST_LOG: u32 = 6;

/// `user (32) | scope (32)` and a set number; the scope is never 0, so that an empty slot is all zeros.
#[derive(Debug, Default)]
#[repr(C, align(16))]
struct Slot {
    key: AtomicU64,
    set: AtomicU32,
}

/// `parent (32) | present (1)`.
#[derive(Debug, Default)]
struct Place(AtomicU64);

#[derive(Debug)]
pub(super) struct Scoped {
    places: Segmented<Place, 1024>,
    /// The table of each size; smaller ones stay for readers that are under way.
    tables: [OnceLock<Box<[Slot]>>; SIZES],
    log: AtomicU32,
}

/// What the one writer knows of the table.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// Slots with a key, with those whose set is 0 and which hold nothing any more.
    used: usize,
    live: usize,
    scopes: u64,
}

/// A table that a reader looks up several pairs in.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    slots: &'a [Slot],
    log: u32,
}

impl Table<'_> {
    /// What the user holds at that scope: a set number, or 0.
    #[inline]
    pub(super) fn get(self, user: u32, scope: u32) -> u32 {
        let key = pair(user, scope);
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

impl Scoped {
    pub(super) fn new() -> Self {
        Self {
            places: Segmented::new(),
            tables: [const { OnceLock::new() }; SIZES],
            log: AtomicU32::new(FIRST_LOG),
        }
    }

    /// What the scope lies in, 0 for the global one; none if the scope is not there.
    #[inline]
    pub(super) fn parent(&self, scope: u32) -> Option<u32> {
        let word = self.places.get(scope)?.0.load(Ordering::Relaxed);
        (word & 1 == 1).then_some((word >> 32) as u32)
    }

    #[inline]
    pub(super) fn table(&self) -> Table<'_> {
        let log = self.log.load(Ordering::Acquire);
        let slots = self.tables.get(log as usize).and_then(OnceLock::get);
        Table { slots: slots.map_or(&[], |slots| slots), log }
    }

    // What follows is for the writer, who is alone and has announced the change.

    pub(super) fn put_place(&self, books: &mut Books, scope: ScopeId, parent: ScopeId) -> Result<()> {
        let place = self.places.grow_to(scope.get())?;
        books.scopes += u64::from(place.0.load(Ordering::Relaxed) & 1 == 0);
        place.0.store(pair(parent.get(), 1), Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn remove_place(&self, books: &mut Books, scope: ScopeId) {
        if let Some(place) = self.places.get(scope.get()) {
            books.scopes -= place.0.load(Ordering::Relaxed) & 1;
            place.0.store(0, Ordering::Relaxed);
        }
    }

    /// Puts what a user holds at a scope, 0 for nothing; returns what it was.
    pub(super) fn put(&self, books: &mut Books, user: u32, scope: u32, set: u32) -> Result<u32> {
        self.make_room(books)?;
        let (key, table) = (pair(user, scope), self.table());
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
        Err(Error::limit("scope", "the table of what is held at scopes is full"))
    }

    pub(super) fn count(books: &Books) -> u64 {
        books.scopes
    }

    pub(super) fn bytes(&self) -> usize {
        let slots: usize = self.tables.iter().filter_map(OnceLock::get).map(|slots| slots.len()).sum();
        self.places.bytes() + slots * size_of::<Slot>()
    }

    /// Keeps at most two thirds of the slots used: by clearing out those that hold nothing, or in a table of twice the size.
    fn make_room(&self, books: &mut Books) -> Result<()> {
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
                return Err(Error::limit("scope", "the table of what is held at scopes is full"));
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

/// The number that is odd while scopes, or what is held at them, change.
#[derive(Debug, Default)]
pub(super) struct Turn(AtomicU64);

impl Turn {
    /// The number, if nothing is changing now.
    #[inline]
    pub(super) fn read(&self) -> Option<u64> {
        let turn = self.0.load(Ordering::Acquire);
        turn.is_multiple_of(2).then_some(turn)
    }

    /// True if nothing has changed since.
    #[inline]
    pub(super) fn still(&self, turn: u64) -> bool {
        fence(Ordering::Acquire);
        self.0.load(Ordering::Relaxed) == turn
    }

    /// Lets the one writer change something.
    pub(super) fn change<T>(&self, act: impl FnOnce() -> T) -> T {
        /// Ends the change even where the act panics, so that readers do not ask under the lock for ever.
        struct End<'a>(&'a AtomicU64, u64);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.store(self.1, Ordering::Release);
            }
        }
        let turn = self.0.load(Ordering::Relaxed);
        self.0.store(turn + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        let _end = End(&self.0, turn + 2);
        act()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_table_agrees_with_a_map_through_growth_and_clearing_out() {
        let (scoped, mut books) = (Scoped::new(), Books::default());
        let (mut model, mut mix) = (BTreeMap::new(), 7u64);
        assert_eq!(scoped.table().get(1, 1), 0);
        for round in 0..60_000u32 {
            mix = mix.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (user, scope) = ((mix >> 33) as u32 % 500, 1 + (mix >> 50) as u32 % 40);
            // Sometimes nothing, and at the end mostly.
            let set = if mix >> 60 < 4 + u64::from(round > 40_000) * 8 { 0 } else { round + 1 };
            let former = scoped.put(&mut books, user, scope, set).unwrap();
            assert_eq!(former, model.insert((user, scope), set).unwrap_or(0));
        }
        for user in 0..500 {
            for scope in 0..45 {
                let due = model.get(&(user, scope)).copied().unwrap_or(0);
                assert_eq!(scoped.table().get(user, scope), due);
            }
        }
        assert_eq!(books.live, model.values().filter(|set| **set != 0).count());
        let before = scoped.bytes();
        for n in 0..200_000u32 {
            scoped.put(&mut books, 1000 + n, 1, 9).unwrap();
            scoped.put(&mut books, 1000 + n, 1, 0).unwrap();
        }
        assert!(scoped.bytes() <= before * 2, "what holds nothing makes no table grow");
    }
}
