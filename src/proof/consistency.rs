//! Proofs that one tree is the beginning of another.

use super::hash::{Hash, TreeHash};
use super::path::{self, Nodes};
use super::verify;
use crate::error::{Error, ProofFault, Result};

/// A proof that the tree of one size begins with the whole tree of a smaller one: that nothing which was in the log was
/// changed or dropped (RFC 6962, section 2.1.2).
///
/// ```
/// use portcullis::ProofFault;
/// use portcullis::proof::{Blake3, ConsistencyProof, Frontier, NodeId, TreeHash};
/// use std::collections::BTreeMap;
///
/// let (mut tree, mut nodes, mut roots) = (Frontier::<Blake3>::new(), BTreeMap::new(), Vec::new());
/// for record in 0..100_u32 {
///     roots.push(tree.root());
///     tree.append_with(Blake3::leaf(&record.to_be_bytes()), |id, hash| {
///         nodes.insert(id, *hash);
///     })?;
/// }
/// let proof = ConsistencyProof::build::<Blake3>(&|id: NodeId| Ok(nodes[&id]), 40, 100)?;
/// proof.verify::<Blake3>(&roots[40], &tree.root())?;
///
/// // Of a log that was rewritten, the head that somebody kept is not the beginning.
/// let rewritten = proof.verify::<Blake3>(&roots[41], &tree.root());
/// assert_eq!(rewritten.unwrap_err().proof_fault(), Some(ProofFault::NotTheOlderRoot));
/// # Ok::<(), portcullis::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsistencyProof {
    older: u64,
    newer: u64,
    path: Vec<Hash>,
}

impl ConsistencyProof {
    /// Makes the proof for two sizes of the tree; the nodes must reach the newer one. It takes two reads and one hash a
    /// level at most.
    ///
    /// # Errors
    /// [`ErrorKind::Unproved`](crate::ErrorKind::Unproved) with [`ProofFault::EmptyTree`] or
    /// [`ProofFault::SizesReversed`]; and the errors of the nodes.
    pub fn build<H: TreeHash>(nodes: &(impl Nodes + ?Sized), older: u64, newer: u64) -> Result<Self> {
        path::consistency::<H>(nodes, older, newer)
    }

    /// A proof as somebody else made it. Nothing is looked at before [`verify`](Self::verify).
    #[must_use]
    pub const fn from_parts(older: u64, newer: u64, path: Vec<Hash>) -> Self {
        Self { older, newer, path }
    }

    /// The number of leaves in the older tree.
    #[must_use]
    pub const fn older(&self) -> u64 {
        self.older
    }

    /// The number of leaves in the newer tree.
    #[must_use]
    pub const fn newer(&self) -> u64 {
        self.newer
    }

    /// The hashes, those of the smallest subtrees first.
    #[must_use]
    pub fn path(&self) -> &[Hash] {
        &self.path
    }

    /// Holds if the tree with the newer root begins with all of the one with the older root (RFC 9162, section 2.1.4.2).
    ///
    /// # Errors
    /// [`ErrorKind::Unproved`](crate::ErrorKind::Unproved) with [`ProofFault::EmptyTree`],
    /// [`ProofFault::SizesReversed`], [`ProofFault::WrongLength`], [`ProofFault::WrongOrder`],
    /// [`ProofFault::NotTheOlderRoot`], [`ProofFault::NotTheNewerRoot`] or, where the sizes are the same,
    /// [`ProofFault::Diverged`].
    pub fn verify<H: TreeHash>(&self, older_root: &Hash, newer_root: &Hash) -> Result<()> {
        Self::check(self.older, self.newer)?;
        if self.older == self.newer {
            verify::length(0, self.path.len())?;
            return if older_root == newer_root {
                Ok(())
            } else {
                Err(Error::proof("proof", ProofFault::Diverged { size: self.older }))
            };
        }
        // Both roots lie above the largest complete subtree that the older tree ends with. It is the older tree itself
        // where the size is a power of two, and in the proof otherwise.
        let level = self.older.trailing_zeros();
        let whole = self.older.is_power_of_two();
        let shape = verify::Shape::of(self.older - 1, self.newer);
        let above = (shape.inner + shape.border).saturating_sub(level as usize);
        verify::length(above + usize::from(!whole), self.path.len())?;
        verify::in_order(&self.path, |path| {
            let (seed, path) = match path.split_first() {
                Some((first, rest)) if !whole => (first, rest),
                _ => (older_root, path),
            };
            if shape.climb_left::<H>(level, seed, path) != *older_root {
                Err(ProofFault::NotTheOlderRoot)
            } else if shape.climb::<H>(level, seed, path) != *newer_root {
                Err(ProofFault::NotTheNewerRoot)
            } else {
                Ok(())
            }
        })
    }

    pub(super) fn check(older: u64, newer: u64) -> Result<()> {
        match older {
            0 => Err(Error::proof("proof", ProofFault::EmptyTree)),
            _ if older > newer => Err(Error::proof("proof", ProofFault::SizesReversed { older, newer })),
            _ => Ok(()),
        }
    }
}
