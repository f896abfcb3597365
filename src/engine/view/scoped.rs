//! The tree of scopes, and what users hold at scopes below the global one.
//!
//! One number, odd while anything here changes, guards all of it: a reader that finds it even and the same before and
//! after has read one moment. What a user holds at the global scope is in the user's cell.

use super::lines::pair;
use super::pairs::{PairBooks, Pairs, Table};
use super::segmented::Segmented;
use super::sync::{AtomicU64, Ordering, fence, size};
use crate::error::Result;
use crate::id::ScopeId;

/// `parent (32) | present (1)`.
#[derive(Debug, Default)]
struct Place(AtomicU64);

#[derive(Debug)]
pub(super) struct Scoped {
    places: Segmented<Place, { size(1024, 4) }>,
    /// Under a user and a scope, the set that the user holds there.
    held: Pairs,
}

/// What the one writer knows of it.
#[derive(Debug, Default)]
pub(super) struct Books {
    held: PairBooks,
    scopes: u64,
}

impl Scoped {
    pub(super) fn new() -> Self {
        Self { places: Segmented::new(), held: Pairs::new() }
    }

    /// What the scope lies in, 0 for the global one; none if the scope is not there.
    #[inline]
    pub(super) fn parent(&self, scope: u32) -> Option<u32> {
        let word = self.places.get(scope)?.0.load(Ordering::Relaxed);
        (word & 1 == 1).then_some((word >> 32) as u32)
    }

    /// What users hold at scopes.
    #[inline]
    pub(super) fn table(&self) -> Table<'_> {
        self.held.table()
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
        self.held.put(&mut books.held, user, scope, set)
    }

    pub(super) fn count(books: &Books) -> u64 {
        books.scopes
    }

    pub(super) fn bytes(&self) -> usize {
        self.places.bytes() + self.held.bytes()
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
