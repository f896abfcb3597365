//! A growable array whose elements never move, so that readers need no lock while it grows.

use super::sync::{AtomicUsize, OnceLock, Ordering, size};
use crate::error::{Error, Result};
use std::fmt;

/// Branches at each of the two levels above the leaves.
const FAN: usize = size(1024, 4);

type Leaf<T, const LEAF: usize> = OnceLock<Box<[T; LEAF]>>;
type Branch<T, const LEAF: usize> = OnceLock<Box<[Leaf<T, LEAF>; FAN]>>;

/// Up to `FAN * FAN * LEAF` elements (and never more than 2^32) in leaves of `LEAF`, a power of two.
///
/// Only the leaf of an index that was asked for is allocated: an identifier near the top of the range, in a damaged
/// database, costs one leaf and one branch, not gigabytes, and a large array wastes no half of itself. The levels are
/// fixed: chunks that double would need the place of the highest bit, for which the common x86-64 instruction waits for
/// whatever was last in its register, here the cache miss of the check before, so that no two checks overlapped.
pub(super) struct Segmented<T, const LEAF: usize> {
    root: [Branch<T, LEAF>; FAN],
    bytes: AtomicUsize,
}

impl<T: Default, const LEAF: usize> Segmented<T, LEAF> {
    pub(super) fn new() -> Self {
        const { assert!(LEAF.is_power_of_two()) };
        Self { root: std::array::from_fn(|_| OnceLock::new()), bytes: AtomicUsize::new(0) }
    }

    /// The element, if its leaf was ever grown. The two loads on the way to it are of read-only, shared lines.
    #[inline]
    pub(super) fn get(&self, index: u32) -> Option<&T> {
        let leaf = index as usize / LEAF;
        self.root.get(leaf / FAN)?.get()?.get(leaf % FAN)?.get()?.get(index as usize % LEAF)
    }

    /// Makes the element exist.
    pub(super) fn grow_to(&self, index: u32) -> Result<&T> {
        let number = index as usize / LEAF;
        let Some(branch) = self.root.get(number / FAN) else { return Err(too_many()) };
        self.grow(branch, OnceLock::new)?;
        if let Some(leaf) = branch.get().and_then(|leaves| leaves.get(number % FAN)) {
            self.grow(leaf, T::default)?;
        }
        self.get(index).ok_or_else(too_many)
    }

    fn grow<U, const N: usize>(&self, place: &OnceLock<Box<[U; N]>>, fresh: impl Fn() -> U) -> Result<()> {
        if place.get().is_none() {
            let elements: Box<[U]> = (0..N).map(|_| fresh()).collect();
            let elements = elements.try_into().map_err(|_| too_many())?;
            self.bytes.fetch_add(N * size_of::<U>(), Ordering::Relaxed);
            // Growing is the writer's alone, so that nobody can have been faster.
            let _ = place.set(elements);
        }
        Ok(())
    }

    /// Bytes allocated for leaves and branches.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed) + size_of::<Self>()
    }
}

#[cold]
fn too_many() -> Error {
    Error::limit("view", "the read model is full")
}

impl<T, const LEAF: usize> fmt::Debug for Segmented<T, LEAF> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segmented").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn elements_are_where_they_were_put_and_never_move() {
        let array = Segmented::<AtomicU32, 4096>::new();
        assert!(array.get(0).is_none());
        let indices = [0, 1, 15, 16, 1023, 1024, 1025, 3071, 3072, 65_535, 1_000_000, u32::MAX - 1, u32::MAX];
        let mut places = Vec::new();
        for index in indices {
            let element = array.grow_to(index).unwrap();
            element.store(index, Ordering::Relaxed);
            places.push(std::ptr::from_ref(element));
        }
        for (index, place) in indices.into_iter().zip(places) {
            let element = array.get(index).unwrap();
            assert_eq!(element.load(Ordering::Relaxed), index);
            assert_eq!(std::ptr::from_ref(element), place);
        }
        assert!(array.get(2_000_000).is_none());
        let small = Segmented::<AtomicU32, 16>::new();
        assert!(small.get(u32::MAX).is_none());
        assert_eq!(
            small.grow_to(u32::MAX).map(|_| ()).unwrap_err().kind(),
            crate::error::ErrorKind::LimitExceeded
        );
    }

    #[test]
    fn a_lone_large_index_stays_affordable() {
        let array = Segmented::<AtomicU32, 4096>::new();
        array.grow_to(u32::MAX).unwrap();
        assert!(array.bytes() < 100_000, "{}", array.bytes());
    }
}
