//! Proofs that a leaf is in a tree.

use super::hash::{Hash, TreeHash};
use super::path::{self, Nodes};
use super::verify;
use crate::error::{Error, ProofFault, Result};

/// A proof that a leaf is at its place in a tree of some size (RFC 6962, section 2.1.1).
///
/// ```
/// use portcullis::ProofFault;
/// use portcullis::proof::{Frontier, Hash, InclusionProof, NodeId, Sha256, TreeHash};
/// use std::collections::BTreeMap;
///
/// // Whoever has the log keeps the nodes as they are completed …
/// let (mut tree, mut nodes) = (Frontier::<Sha256>::new(), BTreeMap::new());
/// for record in 0..1000_u32 {
///     tree.append_with(Sha256::leaf(&record.to_be_bytes()), |id, hash| {
///         nodes.insert(id, *hash);
///     })?;
/// }
/// // … and makes a proof of them.
/// let proof = InclusionProof::build::<Sha256>(&|id: NodeId| Ok(nodes[&id]), 17, 1000)?;
/// assert_eq!(proof.path().len(), 10);
///
/// // Whoever has the root needs the record and the proof, and nothing else.
/// proof.verify::<Sha256>(&Sha256::leaf(&17_u32.to_be_bytes()), &tree.root())?;
/// let other = proof.verify::<Sha256>(&Sha256::leaf(b"another record"), &tree.root());
/// assert_eq!(other.unwrap_err().proof_fault(), Some(ProofFault::NotTheRoot));
/// # Ok::<(), portcullis::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InclusionProof {
    index: u64,
    size: u64,
    path: Vec<Hash>,
}

impl InclusionProof {
    /// Makes the proof of the leaf with an index (counted from 0) in the tree of a size, which the nodes must reach. It
    /// takes two reads and one hash a level at most.
    ///
    /// # Errors
    /// [`ErrorKind::Unproved`](crate::ErrorKind::Unproved) with [`ProofFault::EmptyTree`] or
    /// [`ProofFault::IndexBeyondSize`]; and the errors of the nodes.
    pub fn build<H: TreeHash>(nodes: &(impl Nodes + ?Sized), index: u64, size: u64) -> Result<Self> {
        path::inclusion::<H>(nodes, index, size)
    }

    /// A proof as somebody else made it. Nothing is looked at before [`verify`](Self::verify).
    #[must_use]
    pub const fn from_parts(index: u64, size: u64, path: Vec<Hash>) -> Self {
        Self { index, size, path }
    }

    /// The index of the leaf, counted from 0.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// The number of leaves in the tree.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The hashes from the sibling of the leaf up to the child of the root.
    #[must_use]
    pub fn path(&self) -> &[Hash] {
        &self.path
    }

    /// Holds if the leaf with this hash is at the index in the tree with this root (RFC 9162, section 2.1.3.2).
    ///
    /// # Errors
    /// [`ErrorKind::Unproved`](crate::ErrorKind::Unproved) with [`ProofFault::EmptyTree`],
    /// [`ProofFault::IndexBeyondSize`], [`ProofFault::WrongLength`], [`ProofFault::WrongOrder`] or
    /// [`ProofFault::NotTheRoot`].
    pub fn verify<H: TreeHash>(&self, leaf: &Hash, root: &Hash) -> Result<()> {
        Self::check(self.index, self.size)?;
        let shape = verify::Shape::of(self.index, self.size);
        verify::length(shape.inner + shape.border, self.path.len())?;
        verify::in_order(&self.path, |path| {
            let found = shape.climb::<H>(0, leaf, path);
            if found == *root { Ok(()) } else { Err(ProofFault::NotTheRoot) }
        })
    }

    pub(super) fn check(index: u64, size: u64) -> Result<()> {
        match size {
            0 => Err(Error::proof("proof", ProofFault::EmptyTree)),
            _ if index >= size => Err(Error::proof("proof", ProofFault::IndexBeyondSize { index, size })),
            _ => Ok(()),
        }
    }
}
