//! Checkpoints: the head of a log at some size, in a form that can be signed and kept.

use super::consistency::ConsistencyProof;
use super::encoding::{self, is_line, malformed};
use super::hash::{Hash, Sha256, TreeHash};
use super::inclusion::InclusionProof;
use super::key::{SigningKey, VerifierKey};
use super::note::Note;
use super::path::{Nodes, root_at};
use super::tree::Frontier;
use crate::error::{Error, ProofFault, Result};
use std::fmt;

const WHAT: &str = "checkpoint";
/// What the line begins with that names another hash than SHA-256.
const HASH_LINE: &str = "tree-hash ";

/// The head of a log in the [C2SP tlog-checkpoint](https://c2sp.org/tlog-checkpoint) format: which log, how many
/// records, and the root of the tree over them.
///
/// The format is made for trees of SHA-256. A checkpoint of another tree says so in its first extension line
/// (`tree-hash blake3`), so that nobody takes the one for the other.
///
/// ```
/// use portcullis::ProofFault;
/// use portcullis::proof::{Blake3, Checkpoint, Frontier, SigningKey, TreeHash};
///
/// let mut log = Frontier::<Blake3>::new();
/// log.append(Blake3::leaf(b"ada logs in"))?;
/// let key = SigningKey::from_seed("example.com/audit", &[7; 32])?;
///
/// // What the host keeps elsewhere, for instance with its backups.
/// let kept = Checkpoint::of("example.com/audit", &log)?.sign(&key)?.to_string();
///
/// let checkpoint = Checkpoint::open(&kept, "example.com/audit", &[key.verifier()])?;
/// assert_eq!((checkpoint.size(), checkpoint.root()), (1, &log.root()));
/// let other = Checkpoint::open(&kept, "example.com/other", &[key.verifier()]);
/// assert_eq!(other.unwrap_err().proof_fault(), Some(ProofFault::WrongOrigin));
/// # Ok::<(), portcullis::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
    extensions: Vec<String>,
}

impl Checkpoint {
    /// The head of a tree as it is now. The origin names the log, and should be like an address without a scheme, say
    /// `example.com/audit`, so that no other log has it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for an origin that is empty or has control characters.
    pub fn of<H: TreeHash>(origin: impl Into<String>, tree: &Frontier<H>) -> Result<Self> {
        Self::new::<H>(origin, tree.size(), tree.root())
    }

    /// The head of a log that has so many records and this root.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for an origin that is empty or has control characters.
    pub fn new<H: TreeHash>(origin: impl Into<String>, size: u64, root: Hash) -> Result<Self> {
        let origin = origin.into();
        if !is_line(&origin) {
            return Err(Error::invalid(
                "origin",
                "the origin of a log must be one line, and not an empty one",
            ));
        }
        let hash_line = (H::NAME != Sha256::NAME).then(|| format!("{HASH_LINE}{}", H::NAME));
        Ok(Self { origin, size, root, extensions: hash_line.into_iter().collect() })
    }

    /// Adds a line to what is signed. Nobody who watches the log can check it, so that the specification advises against
    /// it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a line that is empty, has control characters, or
    /// would name a hash.
    pub fn with_extension(mut self, line: impl Into<String>) -> Result<Self> {
        let line = line.into();
        if !is_line(&line) || line.starts_with(HASH_LINE) {
            return Err(Error::invalid(
                "extension",
                "an extension must be one line, and neither an empty one nor one that begins with `tree-hash `",
            ));
        }
        self.extensions.push(line);
        Ok(self)
    }

    /// Which log it is of.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The number of records.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree over them.
    #[must_use]
    pub const fn root(&self) -> &Hash {
        &self.root
    }

    /// The lines after the root, with the one that names the hash.
    pub fn extensions(&self) -> impl Iterator<Item = &str> {
        self.extensions.iter().map(String::as_str)
    }

    /// The name of the hash that the tree is of.
    #[must_use]
    pub fn hash_name(&self) -> &str {
        self.extensions.first().and_then(|line| line.strip_prefix(HASH_LINE)).unwrap_or(Sha256::NAME)
    }

    /// Reads the text of a checkpoint without signatures, for which nothing vouches. See [`open`](Self::open).
    ///
    /// # Errors
    /// [`ErrorKind::Unproved`](crate::ErrorKind::Unproved) with [`ProofFault::Malformed`], which says in which line,
    /// [`ProofFault::TooLong`], or [`ProofFault::UnknownHash`] where the root is not of 32 bytes.
    pub fn parse(bytes: impl AsRef<[u8]>) -> Result<Self> {
        let mut lines = encoding::lines(encoding::text(WHAT, bytes.as_ref())?);
        let mut line = |due: usize| {
            let (_, line) =
                lines.next().filter(|(_, line)| is_line(line)).ok_or_else(|| malformed(WHAT, due))?;
            Ok::<&str, Error>(line)
        };
        let origin = line(1)?.to_owned();
        let size = encoding::decimal(line(2)?).ok_or_else(|| malformed(WHAT, 2))?;
        let root = encoding::from_base64(line(3)?).ok_or_else(|| malformed(WHAT, 3))?;
        let root = root.try_into().map_err(|root: Vec<u8>| {
            let message = format!("the root has {} bytes, and every hash that is known has 32", root.len());
            Error::proof_with(WHAT, ProofFault::UnknownHash, message)
        })?;
        let mut extensions: Vec<String> = Vec::new();
        for (number, line) in lines {
            // Two names for the hash, or one in a place where it is not looked for, would be read in two ways.
            if !is_line(line) || (number > 4 && line.starts_with(HASH_LINE)) {
                return Err(malformed(WHAT, number));
            }
            extensions.push(line.to_owned());
        }
        Ok(Self { origin, size, root: Hash::from_bytes(root), extensions })
    }

    /// Reads a note that is a checkpoint of this log and is signed by one of these keys.
    ///
    /// # Errors
    /// [`ErrorKind::Unproved`](crate::ErrorKind::Unproved) with the reasons of [`Note::parse`], [`Note::verify`] and
    /// [`parse`](Self::parse), or [`ProofFault::WrongOrigin`].
    pub fn open(note: impl AsRef<[u8]>, origin: &str, keys: &[VerifierKey]) -> Result<Self> {
        Self::from_note(&Note::parse(note)?, origin, keys)
    }

    /// The same of a note that was read.
    ///
    /// # Errors
    /// [`ErrorKind::Unproved`](crate::ErrorKind::Unproved) with the reasons of [`Note::verify`] and
    /// [`parse`](Self::parse), or [`ProofFault::WrongOrigin`].
    pub fn from_note(note: &Note, origin: &str, keys: &[VerifierKey]) -> Result<Self> {
        let read = Self::parse(note.verify(keys)?)?;
        if read.origin == origin {
            return Ok(read);
        }
        let message = format!("the checkpoint is of the log {:?} and not of {origin:?}", read.origin);
        Err(Error::proof_with(WHAT, ProofFault::WrongOrigin, message))
    }

    /// Signs it.
    ///
    /// A log must never sign two checkpoints of which neither extends the other: sign what was committed, and nothing
    /// that can still be undone.
    ///
    /// # Errors
    /// [`ErrorKind::Unproved`](crate::ErrorKind::Unproved) with [`ProofFault::TooLong`].
    pub fn sign(&self, key: &SigningKey) -> Result<Note> {
        Note::sign(self.to_string(), key)
    }

    /// Holds if the leaf with this hash is in the tree of this checkpoint.
    ///
    /// # Errors
    /// [`ErrorKind::Unproved`](crate::ErrorKind::Unproved) with [`ProofFault::UnknownHash`], [`ProofFault::OtherSize`] or
    /// the reasons of [`InclusionProof::verify`].
    pub fn includes<H: TreeHash>(&self, leaf: &Hash, proof: &InclusionProof) -> Result<()> {
        self.expect_hash::<H>()?;
        self.expect_size(proof.size())?;
        proof.verify::<H>(leaf, &self.root)
    }

    /// Holds if the tree of a newer checkpoint begins with all of this one.
    ///
    /// # Errors
    /// [`ErrorKind::Unproved`](crate::ErrorKind::Unproved) with [`ProofFault::UnknownHash`], [`ProofFault::WrongOrigin`],
    /// [`ProofFault::OtherSize`] or the reasons of [`ConsistencyProof::verify`].
    pub fn is_extended_by<H: TreeHash>(&self, newer: &Self, proof: &ConsistencyProof) -> Result<()> {
        self.expect_hash::<H>()?;
        newer.expect_hash::<H>()?;
        if self.origin != newer.origin {
            return Err(Error::proof(WHAT, ProofFault::WrongOrigin));
        }
        self.expect_size(proof.older())?;
        newer.expect_size(proof.newer())?;
        proof.verify::<H>(&self.root, &newer.root)
    }

    /// Holds if a log that has so many records, and these nodes, began as this checkpoint says: whoever has the log
    /// itself needs no proof. It takes one read for each bit of the size.
    ///
    /// # Errors
    /// [`ErrorKind::Unproved`](crate::ErrorKind::Unproved) with [`ProofFault::UnknownHash`],
    /// [`ProofFault::SizeBeyondLog`] or [`ProofFault::Diverged`]; and the errors of the nodes.
    pub fn agrees_with<H: TreeHash>(&self, nodes: &(impl Nodes + ?Sized), log: u64) -> Result<()> {
        self.expect_hash::<H>()?;
        if self.size > log {
            return Err(Error::proof(WHAT, ProofFault::SizeBeyondLog { size: self.size, log }));
        }
        if root_at::<H>(nodes, self.size)? == self.root {
            Ok(())
        } else {
            Err(Error::proof(WHAT, ProofFault::Diverged { size: self.size }))
        }
    }

    fn expect_hash<H: TreeHash>(&self) -> Result<()> {
        let name = self.hash_name();
        if name == H::NAME {
            return Ok(());
        }
        let name: String = name.chars().take(32).collect();
        let message = format!("the hashes are of {name:?} and those of the tree are of {:?}", H::NAME);
        Err(Error::proof_with(WHAT, ProofFault::UnknownHash, message))
    }

    fn expect_size(&self, found: u64) -> Result<()> {
        if found == self.size {
            return Ok(());
        }
        Err(Error::proof(WHAT, ProofFault::OtherSize { expected: self.size, found }))
    }
}

/// The text that is signed; [`Checkpoint::parse`] reads it.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, self.root.to_base64())?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}
