//! Making proofs from whatever has the nodes of the tree, and the root of any former size.

use super::consistency::ConsistencyProof;
use super::hash::{Hash, TreeHash};
use super::inclusion::InclusionProof;
use super::tree::NodeId;
use crate::error::{Error, ProofFault, Result};

/// What has the hashes of a tree's complete subtrees: a table, tiles, a file, or a function over leaves.
///
/// A proof asks for at most two nodes a level. A closure from a [`NodeId`] to its hash is one too.
pub trait Nodes {
    /// The hash of the complete subtree there, as [`Frontier::append_with`](super::Frontier::append_with) handed it
    /// over.
    ///
    /// # Errors
    /// Whatever keeps it from being read; also where it is not there, which in a tree that is as large as was said is
    /// damage.
    fn node(&self, id: NodeId) -> Result<Hash>;
}

impl<F: Fn(NodeId) -> Result<Hash>> Nodes for F {
    fn node(&self, id: NodeId) -> Result<Hash> {
        self(id)
    }
}

/// The root of the tree when it had so many leaves.
///
/// # Errors
/// Those of the nodes.
pub fn root_at<H: TreeHash>(nodes: &(impl Nodes + ?Sized), size: u64) -> Result<Hash> {
    if size == 0 { Ok(H::empty()) } else { Range { start: 0, end: size }.hash::<H>(nodes) }
}

/// Leaves that a node of the tree of some size is above.
///
/// INVARIANT: not empty, and the start is a multiple of the smallest power of two that is not below the length.
#[derive(Clone, Copy)]
struct Range {
    start: u64,
    end: u64,
}

impl Range {
    fn length(self) -> u64 {
        self.end - self.start
    }

    /// Where RFC 6962 splits it: the left part has the largest power of two that is below the length.
    fn split(self) -> Option<(Self, Self)> {
        let middle = self.start + (1 << (self.length() - 1).checked_ilog2()?);
        Some((Self { end: middle, ..self }, Self { start: middle, ..self }))
    }

    /// Joins the complete subtrees of which the range is made, from the right, where the small ones are.
    fn hash<H: TreeHash>(self, nodes: &(impl Nodes + ?Sized)) -> Result<Hash> {
        let (mut end, mut right) = (self.end, None);
        while end > self.start {
            let level = (end - self.start).trailing_zeros();
            end -= 1 << level;
            // At most 63, because the end fits 64 bits.
            let left = nodes.node(NodeId::within(level, end >> level)?)?;
            right = Some(right.map_or(left, |right| H::node(&left, &right)));
        }
        right.ok_or_else(|| Error::proof("tree", ProofFault::EmptyTree))
    }
}

impl NodeId {
    pub(super) fn within(level: u32, index: u64) -> Result<Self> {
        let id = u8::try_from(level).ok().and_then(|level| Self::new(level, index));
        id.ok_or_else(|| Error::limit("tree", "no tree reaches that node"))
    }
}

/// The path of RFC 6962, section 2.1.1: the other side of each split on the way to the leaf, the lowest first.
pub(super) fn inclusion<H: TreeHash>(
    nodes: &(impl Nodes + ?Sized),
    index: u64,
    size: u64,
) -> Result<InclusionProof> {
    InclusionProof::check(index, size)?;
    let (mut range, mut path) = (Range { start: 0, end: size }, Vec::new());
    while let Some((left, right)) = range.split() {
        let (on, off) = if index < left.end { (left, right) } else { (right, left) };
        path.push(off.hash::<H>(nodes)?);
        range = on;
    }
    path.reverse();
    Ok(InclusionProof::from_parts(index, size, path))
}

/// The proof of RFC 6962, section 2.1.2: what the older tree is made of, as far as the newer one has it as nodes, and
/// what else the newer root is made of.
pub(super) fn consistency<H: TreeHash>(
    nodes: &(impl Nodes + ?Sized),
    older: u64,
    newer: u64,
) -> Result<ConsistencyProof> {
    ConsistencyProof::check(older, newer)?;
    let (mut range, mut path) = (Range { start: 0, end: newer }, Vec::new());
    while range.end > older
        && let Some((left, right)) = range.split()
    {
        let (on, off) = if older <= left.end { (left, right) } else { (right, left) };
        path.push(off.hash::<H>(nodes)?);
        range = on;
    }
    // The older tree itself: who verifies has its root.
    if range.start > 0 {
        path.push(range.hash::<H>(nodes)?);
    }
    path.reverse();
    Ok(ConsistencyProof::from_parts(older, newer, path))
}
