//! Proofs about an append-only log, with no database at hand.
//!
//! The records of a log are the leaves of a Merkle tree of the shape of RFC 6962. Its root commits to every record and
//! its place. Three things follow from it, and each of them is verified with what is in this module and nothing else:
//!
//! - a [`Checkpoint`] says how many records a log had and what its root was; signed, it is a [`Note`] that can be kept
//!   where nobody who could change the log can change it,
//! - an [`InclusionProof`] shows that a record is in the tree of a checkpoint,
//! - a [`ConsistencyProof`] shows that the tree of a checkpoint is the beginning of the tree of a newer one.
//!
//! A [`SignedInclusion`] and a [`SignedConsistency`] are such a proof and its checkpoint in one text.
//!
//! Whoever has the log appends to a [`Frontier`], which is a few hashes, and keeps the nodes that it hands over, for
//! instance as [`tiles`](Tiles); from what [`Nodes`] answers, proofs are made in time that grows with the logarithm of
//! the log. The formats are those of C2SP (signed-note, tlog-checkpoint, tlog-proof), and the hash is a parameter:
//! [`Blake3`], or [`Sha256`] to the letter of RFC 6962.
//!
//! What does not hold is refused with [`ErrorKind::Unproved`](crate::ErrorKind::Unproved), and
//! [`Error::proof_fault`](crate::Error::proof_fault) says why.

mod checkpoint;
mod consistency;
mod encoding;
mod hash;
mod inclusion;
mod key;
mod note;
mod path;
mod signed;
mod tile;
mod tree;
mod verify;

pub use checkpoint::Checkpoint;
pub use consistency::ConsistencyProof;
pub use hash::{Blake3, Hash, Sha256, TreeHash};
pub use inclusion::InclusionProof;
pub use key::{SigningKey, VerifierKey};
pub use note::Note;
pub use path::{Nodes, root_at};
pub use signed::{SignedConsistency, SignedInclusion};
pub use tile::{ReadTiles, Tile, TileId, TiledTree, Tiles};
pub use tree::{Frontier, NodeId};
