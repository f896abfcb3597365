//! A growable array whose elements never move, so that readers need no lock while it grows.

use crate::error::{Error, Result};
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Leaves behind the first tier; each further tier points to twice as many as the one before.
const FIRST: usize = 64;
const TIERS: usize = 27;

type Leaf<T, const LEAF: usize> = OnceLock<Box<[T; LEAF]>>;

/// Leaves of `LEAF` elements (a power of two) behind tiers of leaf pointers that double.
///
/// Only the leaf of an index that was asked for is allocated: an identifier near the top of the range, in a damaged
/// database, costs one leaf and one tier of pointers, not gigabytes; and a large array wastes no half of itself.
pub(super) struct Segmented<T, const LEAF: usize> {
    tiers: [OnceLock<Box<[Leaf<T, LEAF>]>>; TIERS],
    bytes: AtomicUsize,
}

impl<T: Default, const LEAF: usize> Segmented<T, LEAF> {
    pub(super) fn new() -> Self {
        const {
            assert!(
                LEAF.is_power_of_two() && (1 << 32) / LEAF < FIRST << (TIERS - 1),
                "LEAF suits no tier table"
            )
        };
        Self { tiers: [const { OnceLock::new() }; TIERS], bytes: AtomicUsize::new(0) }
    }

    /// The element, if its leaf was ever grown. The two loads on the way to it are of read-only, shared lines.
    #[inline]
    pub(super) fn get(&self, index: u32) -> Option<&T> {
        let (tier, offset) = Self::place(index);
        self.tiers.get(tier)?.get()?.get(offset)?.get()?.get(index as usize % LEAF)
    }

    /// Makes the element exist.
    pub(super) fn grow_to(&self, index: u32) -> Result<&T> {
        let (tier, offset) = Self::place(index);
        let leaves = 1usize << (tier + FIRST.ilog2() as usize);
        let found = self.tiers.get(tier).and_then(|tier| {
            tier.get_or_init(|| {
                self.bytes.fetch_add(leaves * size_of::<Leaf<T, LEAF>>(), Ordering::Relaxed);
                (0..leaves).map(|_| OnceLock::new()).collect()
            })
            .get(offset)
        });
        let Some(leaf) = found else { return Err(too_many()) };
        if leaf.get().is_none() {
            let fresh: Vec<T> = (0..LEAF).map(|_| T::default()).collect();
            let fresh = fresh.into_boxed_slice().try_into().map_err(|_| too_many())?;
            self.bytes.fetch_add(LEAF * size_of::<T>(), Ordering::Relaxed);
            // Growing is the writer's alone, so that nobody can have been faster.
            let _ = leaf.set(fresh);
        }
        self.get(index).ok_or_else(too_many)
    }

    /// Bytes allocated for leaves and tiers.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    #[inline]
    const fn place(index: u32) -> (usize, usize) {
        let at = index as usize / LEAF + FIRST;
        let top = at.ilog2();
        ((top - FIRST.ilog2()) as usize, at ^ (1 << top))
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
        let array = Segmented::<AtomicU32, 1024>::new();
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
    }

    #[test]
    fn a_lone_large_index_stays_affordable() {
        let array = Segmented::<AtomicU32, 4096>::new();
        array.grow_to(u32::MAX).unwrap();
        assert!(array.bytes() < 20 << 20, "{}", array.bytes());
    }
}
