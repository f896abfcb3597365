//! Climbing from a node to the root along the hashes of a proof.

use super::hash::{Hash, TreeHash};
use crate::error::{Error, ProofFault, Result};

/// The way from a leaf to the root.
///
/// On the inner levels the path lies left or right of the way, as the bits of the index say. Above them the way is the
/// right edge of the tree, and the path lies left of it, on the levels where the index has a bit.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    index: u64,
    pub(super) inner: usize,
    pub(super) border: usize,
}

impl Shape {
    /// The index is within the size, which the caller has checked.
    pub(super) fn of(index: u64, size: u64) -> Self {
        let inner = u64::BITS - (index ^ size.saturating_sub(1)).leading_zeros();
        let border = index.checked_shr(inner).unwrap_or_default().count_ones();
        Self { index, inner: inner as usize, border: border as usize }
    }

    /// The root over a node of a level that the way passes, and the hashes of the path from there on.
    pub(super) fn climb<H: TreeHash>(&self, level: u32, from: &Hash, path: &[Hash]) -> Hash {
        (level..).zip(path).fold(*from, |hash, (level, other)| {
            if (level as usize) < self.inner && !self.is_right(level) {
                H::node(&hash, other)
            } else {
                H::node(other, &hash)
            }
        })
    }

    /// The root of the tree that ends with the node: what lies right of the way is left out.
    pub(super) fn climb_left<H: TreeHash>(&self, level: u32, from: &Hash, path: &[Hash]) -> Hash {
        (level..).zip(path).fold(*from, |hash, (level, other)| {
            if (level as usize) < self.inner && !self.is_right(level) { hash } else { H::node(other, &hash) }
        })
    }

    fn is_right(&self, level: u32) -> bool {
        self.index.checked_shr(level).unwrap_or_default() % 2 == 1
    }
}

pub(super) fn length(expected: usize, found: usize) -> Result<()> {
    if expected == found {
        Ok(())
    } else {
        Err(Error::proof("proof", ProofFault::WrongLength { expected, found }))
    }
}

/// Checks a path, and says of one that does not hold whether only its order is wrong.
///
/// All orders are too many: the path backwards, and with each two neighbours exchanged, is what software gets wrong and
/// costs as many hashes as the square of the length, some 30 us for 100 million leaves.
pub(super) fn in_order(path: &[Hash], check: impl Fn(&[Hash]) -> Result<(), ProofFault>) -> Result<()> {
    let Err(fault) = check(path) else { return Ok(()) };
    let mut other: Vec<Hash> = path.iter().rev().copied().collect();
    let mut reordered = check(&other).is_ok();
    other.reverse();
    for place in 1..path.len() {
        if reordered {
            break;
        }
        other.swap(place - 1, place);
        reordered = check(&other).is_ok();
        other.swap(place - 1, place);
    }
    Err(Error::proof("proof", if reordered { ProofFault::WrongOrder } else { fault }))
}
