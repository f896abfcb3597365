//! The nodes of a tree in tiles: a row is written once, when it is full, and what is not full yet fits into memory.
//!
//! A tile of tier `t` has 16 neighbours of level `4t`; the nodes of the three levels above them are hashed again when
//! they are asked for. So a leaf costs a fifteenth of a row of 512 bytes, instead of two rows of 32, and a proof over 100
//! million leaves reads seven tiles.

use super::hash::{Blake3, Hash, TreeHash};
use super::path::Nodes;
use super::tree::{Frontier, NodeId};
use crate::error::{Error, ProofFault, Result};
use std::cell::RefCell;
use std::fmt;

/// Levels in a tile, and nodes in it.
const HEIGHT: u8 = 4;
const WIDTH: usize = 1 << HEIGHT;

/// The place of a tile: the `index`-th 16 nodes of level `4 * tier`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    tier: u8,
    index: u64,
}

impl TileId {
    /// How far it is above the leaves, in tiles.
    #[must_use]
    pub const fn tier(self) -> u8 {
        self.tier
    }

    /// Its place in the tier, counted from the left.
    #[must_use]
    pub const fn index(self) -> u64 {
        self.index
    }

    /// A key under which a table can have it: the tier, then the index, big-endian.
    #[must_use]
    pub fn to_key(self) -> [u8; 9] {
        NodeId::key(self.tier, self.index)
    }
}

/// 16 neighbouring nodes, all of them complete.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tile([Hash; WIDTH]);

impl Tile {
    /// The length of what is stored.
    pub const BYTES: usize = WIDTH * Hash::BYTES;

    /// The nodes, from the left.
    #[must_use]
    pub const fn hashes(&self) -> &[Hash; 16] {
        &self.0
    }

    /// The node above them, which is one of the nodes of a tile of the next tier.
    #[must_use]
    pub fn root<H: TreeHash>(&self) -> Hash {
        root::<H>(&self.0)
    }

    /// What is stored: the hashes, from the left.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|hash| *hash.as_bytes()).collect()
    }

    /// The tile that was stored.
    ///
    /// # Errors
    /// [`ErrorKind::Unproved`](crate::ErrorKind::Unproved), with [`ProofFault::WrongLength`], where it is not 512 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let (hashes, odd) = bytes.as_chunks();
        let hashes: Vec<Hash> = hashes.iter().copied().map(Hash::from_bytes).collect();
        let tile = hashes.try_into().ok().filter(|_| odd.is_empty()).map(Self);
        let found = bytes.len().div_ceil(Hash::BYTES);
        tile.ok_or_else(|| Error::proof("tile", ProofFault::WrongLength { expected: WIDTH, found }))
    }
}

impl fmt::Debug for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0).finish()
    }
}

/// The node above some neighbours, whose number is a power of two.
fn root<H: TreeHash>(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => H::empty(),
        [one] => *one,
        _ => {
            let (left, right) = hashes.split_at(hashes.len() / 2);
            H::node(&root::<H>(left), &root::<H>(right))
        }
    }
}

/// What has the tiles that are full: a table, or a file. A closure from a [`TileId`] to its tile is one too.
pub trait ReadTiles {
    /// The tile, as [`Tiles::append`] handed it over.
    ///
    /// # Errors
    /// Whatever keeps it from being read; also where it is not there, which in a tree that is as large as was said is
    /// damage.
    fn tile(&self, id: TileId) -> Result<Tile>;
}

impl<F: Fn(TileId) -> Result<Tile>> ReadTiles for F {
    fn tile(&self, id: TileId) -> Result<Tile> {
        self(id)
    }
}

/// A growing tree whose full tiles are stored by the caller. In memory it has the tiles that are not full, which is
/// 15 hashes a tier at most, 4 KiB for 100 million leaves.
///
/// ```
/// use portcullis::proof::{Blake3, InclusionProof, Tile, TileId, Tiles, TreeHash};
/// use std::collections::BTreeMap;
///
/// let (mut log, mut table) = (Tiles::<Blake3>::new(), BTreeMap::new());
/// for record in 0..1000_u32 {
///     log.append(Blake3::leaf(&record.to_be_bytes()), |id, tile| {
///         table.insert(id.to_key(), tile.to_bytes());
///     })?;
/// }
/// let stored = |id: TileId| Tile::from_bytes(&table[&id.to_key()]);
/// let proof = InclusionProof::build::<Blake3>(&log.nodes(&stored), 17, 1000)?;
/// proof.verify::<Blake3>(&Blake3::leaf(&17_u32.to_be_bytes()), &log.root())?;
///
/// // To go on later, the tiles and the leaves behind the last full one are enough.
/// let last: Vec<_> = (992..1000_u32).map(|record| Blake3::leaf(&record.to_be_bytes())).collect();
/// let again = Tiles::<Blake3>::resume(1000, &last, &stored)?;
/// assert_eq!(again.root(), log.root());
/// # Ok::<(), portcullis::Error>(())
/// ```
pub struct Tiles<H = Blake3> {
    tree: Frontier<H>,
    /// INVARIANT: for each tier the nodes behind the last full tile, less than 16.
    open: Vec<Vec<Hash>>,
}

impl<H: TreeHash> Tiles<H> {
    /// The tree without leaves.
    #[must_use]
    pub const fn new() -> Self {
        Self { tree: Frontier::new(), open: Vec::new() }
    }

    /// The number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.tree.size()
    }

    /// The hash of the whole tree.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.tree.root()
    }

    /// The right edge of the tree.
    #[must_use]
    pub const fn frontier(&self) -> &Frontier<H> {
        &self.tree
    }

    /// The number of leaves behind the last full tile, whose hashes [`resume`](Self::resume) asks for.
    #[must_use]
    pub const fn leaves_behind(size: u64) -> u64 {
        size % WIDTH as u64
    }

    /// Appends a leaf, given its hash, hands over every tile that is full now, and returns the index of the leaf.
    ///
    /// # Errors
    /// [`ErrorKind::LimitExceeded`](crate::ErrorKind::LimitExceeded) when the tree has 2^64 - 1 leaves.
    pub fn append(&mut self, leaf: Hash, mut full: impl FnMut(TileId, &Tile)) -> Result<u64> {
        let Self { tree, open } = self;
        tree.append_with(leaf, |node, hash| {
            let tier = node.level() / HEIGHT;
            if node.level() % HEIGHT > 0 {
                return;
            }
            if open.len() <= usize::from(tier) {
                open.push(Vec::with_capacity(WIDTH));
            }
            let Some(nodes) = open.get_mut(usize::from(tier)) else { return };
            nodes.push(*hash);
            if let Ok(tile) = <[Hash; WIDTH]>::try_from(nodes.as_slice()) {
                full(TileId { tier, index: node.index() / WIDTH as u64 }, &Tile(tile));
                nodes.clear();
            }
        })
    }

    /// The tree of a size whose full tiles were stored: what is open is made of them and of the hashes of the leaves
    /// behind the last full tile. It reads 15 tiles a tier at most. Compare the root with the one that was kept.
    ///
    /// # Errors
    /// [`ErrorKind::Unproved`](crate::ErrorKind::Unproved), with [`ProofFault::WrongLength`], where these are not as many
    /// leaves as there are behind the last full tile; and the errors of the tiles.
    pub fn resume(size: u64, leaves: &[Hash], full: &(impl ReadTiles + ?Sized)) -> Result<Self> {
        let expected = usize::try_from(Self::leaves_behind(size)).unwrap_or_default();
        if leaves.len() != expected {
            let fault = ProofFault::WrongLength { expected, found: leaves.len() };
            return Err(Error::proof("leaves", fault));
        }
        let mut open = vec![leaves.to_owned()];
        let mut end = size / WIDTH as u64;
        for tier in 0..u8::MAX {
            if end == 0 {
                break;
            }
            let nodes = (end - end % WIDTH as u64..end)
                .map(|index| Ok(full.tile(TileId { tier, index })?.root::<H>()));
            open.push(nodes.collect::<Result<_>>()?);
            end /= WIDTH as u64;
        }
        let mut tiles = Self { tree: Frontier::new(), open };
        let levels = (0..u64::BITS).rev().filter(|level| size >> level & 1 == 1);
        let peak = |level: u32| {
            let node = NodeId::within(level, (size >> level) - 1)?;
            let (id, places) = place(node);
            let hashes = tiles.open.get(usize::from(id.tier)).and_then(|nodes| nodes.get(places));
            hashes.map(root::<H>).ok_or_else(|| missing(node, size))
        };
        let peaks = levels.map(peak).collect::<Result<_>>()?;
        tiles.tree = Frontier::from_parts(size, peaks);
        Ok(tiles)
    }

    /// The nodes of the tree, of which proofs are made.
    pub const fn nodes<'a, R: ReadTiles + ?Sized>(&'a self, full: &'a R) -> TiledTree<'a, H, R> {
        TiledTree { tiles: self, full, last: RefCell::new(None) }
    }
}

impl<H: TreeHash> Default for Tiles<H> {
    fn default() -> Self {
        Self::new()
    }
}

impl<H> Clone for Tiles<H> {
    fn clone(&self) -> Self {
        Self { tree: self.tree.clone(), open: self.open.clone() }
    }
}

impl<H> fmt::Debug for Tiles<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tiles").field("tree", &self.tree).finish_non_exhaustive()
    }
}

/// The [`Nodes`] of a tree in tiles; see [`Tiles::nodes`]. It keeps the last tile that was read, as a proof asks for the
/// nodes of one tile after each other.
pub struct TiledTree<'a, H, R: ?Sized> {
    tiles: &'a Tiles<H>,
    full: &'a R,
    last: RefCell<Option<(TileId, Tile)>>,
}

impl<H: TreeHash, R: ReadTiles + ?Sized> Nodes for TiledTree<'_, H, R> {
    fn node(&self, node: NodeId) -> Result<Hash> {
        let size = self.tiles.size();
        if node.complete_at() > size {
            return Err(missing(node, size));
        }
        let (id, places) = place(node);
        let end = size.checked_shr(u32::from((id.tier + 1) * HEIGHT)).unwrap_or_default();
        if id.index >= end {
            let open = self.tiles.open.get(usize::from(id.tier)).and_then(|nodes| nodes.get(places));
            return open.map(root::<H>).ok_or_else(|| missing(node, size));
        }
        let mut last = self.last.borrow_mut();
        let tile = match *last {
            Some((known, tile)) if known == id => tile,
            _ => last.insert((id, self.full.tile(id)?)).1,
        };
        tile.0.get(places).map(root::<H>).ok_or_else(|| missing(node, size))
    }
}

impl<H, R: ?Sized> fmt::Debug for TiledTree<'_, H, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TiledTree").field("tiles", &self.tiles).finish_non_exhaustive()
    }
}

/// The tile that has what a node is made of, and where in it.
fn place(node: NodeId) -> (TileId, std::ops::Range<usize>) {
    let above = node.level() % HEIGHT;
    let first = node.index() << above;
    let start = usize::try_from(first % WIDTH as u64).unwrap_or_default();
    (TileId { tier: node.level() / HEIGHT, index: first / WIDTH as u64 }, start..start + (1 << above))
}

fn missing(node: NodeId, size: u64) -> Error {
    Error::proof("tree", ProofFault::SizeBeyondLog { size: node.complete_at(), log: size })
}
