//! The tree while it grows: its right edge is all that an append needs.

use super::hash::{Blake3, Hash, TreeHash};
use crate::error::{Error, ProofFault, Result};
use std::fmt;
use std::marker::PhantomData;

/// The place of a node whose subtree is complete: it has the leaves from `index << level` on, `1 << level` of them.
///
/// Such a node never changes again, so that it can be stored once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    level: u8,
    index: u64,
}

impl NodeId {
    /// The place on a level (0 has the leaves), counted from the left; `None` where no tree reaches.
    #[must_use]
    pub fn new(level: u8, index: u64) -> Option<Self> {
        // The last leaf of the subtree is leaf u64::MAX - 1 or one before it.
        let end = u128::from(index) + 1;
        (level < 64 && end << level <= u128::from(u64::MAX)).then_some(Self { level, index })
    }

    /// How far it is above the leaves.
    #[must_use]
    pub const fn level(self) -> u8 {
        self.level
    }

    /// Its place on the level, counted from the left.
    #[must_use]
    pub const fn index(self) -> u64 {
        self.index
    }

    /// The number of leaves that a tree has at least when the subtree is complete.
    #[must_use]
    pub const fn complete_at(self) -> u64 {
        (self.index + 1) << self.level
    }

    /// A key under which a table can have it: the level, then the index, big-endian.
    #[must_use]
    pub fn to_key(self) -> [u8; 9] {
        Self::key(self.level, self.index)
    }

    pub(super) fn key(level: u8, index: u64) -> [u8; 9] {
        let [a, b, c, d, e, f, g, h] = index.to_be_bytes();
        [level, a, b, c, d, e, f, g, h]
    }
}

/// The right edge of a tree (a "compact range" from 0): as many hashes as its size has ones in binary, with which
/// leaves can be appended and the root be computed.
///
/// ```
/// use portcullis::proof::{Blake3, Frontier, TreeHash};
///
/// let mut tree = Frontier::<Blake3>::new();
/// for record in ["ada logs in", "ada reads", "ada logs out"] {
///     tree.append(Blake3::leaf(record.as_bytes()))?;
/// }
/// // A few bytes are all that has to be kept to go on later.
/// let stored = tree.to_bytes();
/// assert_eq!(stored.len(), 8 + 2 * 32);
/// let again = Frontier::<Blake3>::from_bytes(&stored)?;
/// assert_eq!((again.size(), again.root()), (3, tree.root()));
/// # Ok::<(), portcullis::Error>(())
/// ```
pub struct Frontier<H = Blake3> {
    size: u64,
    /// INVARIANT: one for each bit of the size that is set, the highest first.
    peaks: Vec<Hash>,
    hash: PhantomData<fn() -> H>,
}

impl<H: TreeHash> Frontier<H> {
    /// The tree without leaves.
    #[must_use]
    pub const fn new() -> Self {
        Self { size: 0, peaks: Vec::new(), hash: PhantomData }
    }

    /// The number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the complete subtrees, the largest first.
    #[must_use]
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// The hash of the whole tree (RFC 6962, section 2.1), in one hash for each peak but one.
    #[must_use]
    pub fn root(&self) -> Hash {
        let join = |right: Hash, left: &Hash| H::node(left, &right);
        let mut peaks = self.peaks.iter().rev();
        peaks.next().map_or_else(H::empty, |last| peaks.fold(*last, join))
    }

    /// Appends a leaf, given its hash, and returns its index. It takes one hash on the average and 63 at most.
    ///
    /// # Errors
    /// [`ErrorKind::LimitExceeded`](crate::ErrorKind::LimitExceeded) when the tree has 2^64 - 1 leaves.
    pub fn append(&mut self, leaf: Hash) -> Result<u64> {
        self.append_with(leaf, |_, _| {})
    }

    /// Appends a leaf, and hands over every node that is complete now: the leaf itself, and what it closes, upwards.
    /// That is two nodes a leaf on the average; what is stored of them answers proofs later, see
    /// [`Nodes`](super::Nodes).
    ///
    /// # Errors
    /// [`ErrorKind::LimitExceeded`](crate::ErrorKind::LimitExceeded) when the tree has 2^64 - 1 leaves.
    pub fn append_with(&mut self, leaf: Hash, mut complete: impl FnMut(NodeId, &Hash)) -> Result<u64> {
        let index = self.size;
        self.size = index
            .checked_add(1)
            .ok_or_else(|| Error::limit("tree", "the tree has as many leaves as can be counted"))?;
        let (mut node, mut hash) = (NodeId { level: 0, index }, leaf);
        complete(node, &hash);
        while node.index % 2 == 1
            && let Some(left) = self.peaks.pop()
        {
            hash = H::node(&left, &hash);
            node = NodeId { level: node.level + 1, index: node.index / 2 };
            complete(node, &hash);
        }
        self.peaks.push(hash);
        Ok(index)
    }

    /// What has to be kept: the size (8 bytes, big-endian) and the peaks, the largest first.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 + self.peaks.len() * Hash::BYTES);
        bytes.extend_from_slice(&self.size.to_be_bytes());
        self.peaks.iter().for_each(|peak| bytes.extend_from_slice(peak.as_bytes()));
        bytes
    }

    /// The tree of which these bytes were kept.
    ///
    /// # Errors
    /// [`ErrorKind::Unproved`](crate::ErrorKind::Unproved), with [`ProofFault::WrongLength`], where they are not as many
    /// as the size asks for.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let length = |expected: u32, found: usize| {
            Error::proof("tree", ProofFault::WrongLength { expected: expected as usize, found })
        };
        let (size, rest) = bytes.split_first_chunk().ok_or_else(|| length(1, 0))?;
        let size = u64::from_be_bytes(*size);
        let (peaks, odd) = rest.as_chunks();
        if peaks.len() != size.count_ones() as usize || !odd.is_empty() {
            return Err(length(size.count_ones(), rest.len().div_ceil(Hash::BYTES)));
        }
        Ok(Self::from_parts(size, peaks.iter().copied().map(Hash::from_bytes).collect()))
    }

    /// As many peaks as the size has bits.
    pub(super) const fn from_parts(size: u64, peaks: Vec<Hash>) -> Self {
        Self { size, peaks, hash: PhantomData }
    }
}

impl<H: TreeHash> Default for Frontier<H> {
    fn default() -> Self {
        Self::new()
    }
}

// By hand: what the compiler derives asks the same of the hash function.
impl<H> Clone for Frontier<H> {
    fn clone(&self) -> Self {
        Self { size: self.size, peaks: self.peaks.clone(), hash: PhantomData }
    }
}

impl<H> PartialEq for Frontier<H> {
    fn eq(&self, other: &Self) -> bool {
        (self.size, &self.peaks) == (other.size, &other.peaks)
    }
}

impl<H> Eq for Frontier<H> {}

impl<H> fmt::Debug for Frontier<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frontier").field("size", &self.size).field("peaks", &self.peaks).finish()
    }
}
