//! A proof and the signed checkpoint that it leads to, in one text.

use super::checkpoint::Checkpoint;
use super::consistency::ConsistencyProof;
use super::encoding::{self, malformed};
use super::hash::{Hash, TreeHash};
use super::inclusion::InclusionProof;
use super::key::VerifierKey;
use super::note::Note;
use crate::error::{Error, Result};
use std::fmt;

const WHAT: &str = "proof";
const INCLUSION: &str = "c2sp.org/tlog-proof@v1";

/// A record's place in a log, its inclusion proof and the signed checkpoint, in the
/// [C2SP tlog-proof](https://c2sp.org/tlog-proof) format. With the record and the log's verifier key it is all that is
/// needed to be sure that the log has the record.
///
/// ```
/// use portcullis::proof::{
///     Blake3, Checkpoint, Frontier, InclusionProof, NodeId, SignedInclusion, SigningKey, TreeHash,
/// };
/// use std::collections::BTreeMap;
///
/// let (mut tree, mut nodes) = (Frontier::<Blake3>::new(), BTreeMap::new());
/// for record in ["ada logs in", "ada reads", "ada logs out"] {
///     tree.append_with(Blake3::leaf(record.as_bytes()), |id, hash| {
///         nodes.insert(id, *hash);
///     })?;
/// }
/// let key = SigningKey::from_seed("example.com/audit", &[7; 32])?;
/// let note = Checkpoint::of("example.com/audit", &tree)?.sign(&key)?;
/// let proof = InclusionProof::build::<Blake3>(&|id: NodeId| Ok(nodes[&id]), 1, 3)?;
/// let text = SignedInclusion::new(&proof, note).to_string();
///
/// let leaf = Blake3::leaf(b"ada reads");
/// let proved = SignedInclusion::parse(&text)?.verify::<Blake3>(&leaf, "example.com/audit", &[key.verifier()])?;
/// assert_eq!(proved.size(), 3);
/// # Ok::<(), portcullis::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedInclusion {
    extra: Option<Vec<u8>>,
    index: u64,
    path: Vec<Hash>,
    note: Note,
}

impl SignedInclusion {
    /// Puts a proof and the checkpoint of its tree together.
    #[must_use]
    pub fn new(proof: &InclusionProof, note: Note) -> Self {
        Self { extra: None, index: proof.index(), path: proof.path().to_owned(), note }
    }

    /// Adds bytes that nothing vouches for, such as the record itself.
    #[must_use]
    pub fn with_extra(mut self, extra: impl Into<Vec<u8>>) -> Self {
        self.extra = Some(extra.into());
        self
    }

    /// The bytes that came with it. Nothing vouches for them but what is made of them: a record whose hash is the leaf.
    #[must_use]
    pub fn extra(&self) -> Option<&[u8]> {
        self.extra.as_deref()
    }

    /// The index of the record, counted from 0.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// Reads the text, and verifies nothing yet.
    ///
    /// # Errors
    /// [`ErrorKind::Unproved`](crate::ErrorKind::Unproved) with
    /// [`ProofFault::Malformed`](crate::ProofFault::Malformed), which says in which line of the proof or (where the
    /// field is `note`) of the checkpoint, or with [`ProofFault::TooLong`](crate::ProofFault::TooLong).
    pub fn parse(bytes: impl AsRef<[u8]>) -> Result<Self> {
        let (head, note) = split(bytes.as_ref())?;
        let mut lines = encoding::lines(head).peekable();
        if lines.next().is_none_or(|(_, line)| line != INCLUSION) {
            return Err(malformed(WHAT, 1));
        }
        let mut extra = None;
        if let Some((number, text)) =
            lines.peek().and_then(|(number, line)| Some((*number, line.strip_prefix("extra ")?)))
        {
            extra = Some(encoding::from_base64(text).ok_or_else(|| malformed(WHAT, number))?);
            lines.next();
        }
        let due = if extra.is_some() { 3 } else { 2 };
        let index = lines.next().and_then(|(_, line)| encoding::decimal(line.strip_prefix("index ")?));
        let index = index.ok_or_else(|| malformed(WHAT, due))?;
        Ok(Self { extra, index, path: hashes(lines)?, note })
    }

    /// The checkpoint, if one of the keys signed it as one of this log, and the leaf with this hash is in its tree.
    ///
    /// # Errors
    /// [`ErrorKind::Unproved`](crate::ErrorKind::Unproved) with the reasons of [`Checkpoint::open`] and
    /// [`Checkpoint::includes`].
    pub fn verify<H: TreeHash>(&self, leaf: &Hash, origin: &str, keys: &[VerifierKey]) -> Result<Checkpoint> {
        let checkpoint = Checkpoint::from_note(&self.note, origin, keys)?;
        let proof = InclusionProof::from_parts(self.index, checkpoint.size(), self.path.clone());
        checkpoint.includes::<H>(leaf, &proof)?;
        Ok(checkpoint)
    }
}

impl fmt::Display for SignedInclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{INCLUSION}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", encoding::to_base64(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        finish(f, &self.path, &self.note)
    }
}

/// A consistency proof and the newer signed checkpoint, as a log hands them to a witness
/// ([C2SP tlog-witness](https://c2sp.org/tlog-witness)). Whoever kept the older checkpoint learns that the log still
/// begins as it did.
///
/// ```
/// use portcullis::proof::{
///     Blake3, Checkpoint, ConsistencyProof, Frontier, NodeId, SignedConsistency, SigningKey, TreeHash,
/// };
/// use std::collections::BTreeMap;
///
/// let (mut tree, mut nodes, mut heads) = (Frontier::<Blake3>::new(), BTreeMap::new(), Vec::new());
/// for record in ["ada logs in", "ada reads", "ada logs out"] {
///     tree.append_with(Blake3::leaf(record.as_bytes()), |id, hash| {
///         nodes.insert(id, *hash);
///     })?;
///     heads.push(Checkpoint::of("example.com/audit", &tree)?);
/// }
/// let key = SigningKey::from_seed("example.com/audit", &[7; 32])?;
/// let proof = ConsistencyProof::build::<Blake3>(&|id: NodeId| Ok(nodes[&id]), 2, 3)?;
/// let text = SignedConsistency::new(&proof, heads[2].sign(&key)?).to_string();
///
/// let newer = SignedConsistency::parse(&text)?.verify::<Blake3>(&heads[1], &[key.verifier()])?;
/// assert_eq!(newer, heads[2]);
/// # Ok::<(), portcullis::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedConsistency {
    older: u64,
    path: Vec<Hash>,
    note: Note,
}

impl SignedConsistency {
    /// Puts a proof and the checkpoint of its newer tree together.
    #[must_use]
    pub fn new(proof: &ConsistencyProof, note: Note) -> Self {
        Self { older: proof.older(), path: proof.path().to_owned(), note }
    }

    /// The number of records in the older tree.
    #[must_use]
    pub const fn older(&self) -> u64 {
        self.older
    }

    /// Reads the text, and verifies nothing yet.
    ///
    /// # Errors
    /// [`ErrorKind::Unproved`](crate::ErrorKind::Unproved) with
    /// [`ProofFault::Malformed`](crate::ProofFault::Malformed), which says in which line of the proof or (where the
    /// field is `note`) of the checkpoint, or with [`ProofFault::TooLong`](crate::ProofFault::TooLong).
    pub fn parse(bytes: impl AsRef<[u8]>) -> Result<Self> {
        let (head, note) = split(bytes.as_ref())?;
        let mut lines = encoding::lines(head);
        let older = lines.next().and_then(|(_, line)| encoding::decimal(line.strip_prefix("old ")?));
        Ok(Self { older: older.ok_or_else(|| malformed(WHAT, 1))?, path: hashes(lines)?, note })
    }

    /// The newer checkpoint, if one of the keys signed it as one of the same log, and its tree begins with all of the one
    /// that the caller kept.
    ///
    /// # Errors
    /// [`ErrorKind::Unproved`](crate::ErrorKind::Unproved) with the reasons of [`Checkpoint::open`] and
    /// [`Checkpoint::is_extended_by`].
    pub fn verify<H: TreeHash>(&self, kept: &Checkpoint, keys: &[VerifierKey]) -> Result<Checkpoint> {
        let newer = Checkpoint::from_note(&self.note, kept.origin(), keys)?;
        let proof = ConsistencyProof::from_parts(self.older, newer.size(), self.path.clone());
        kept.is_extended_by::<H>(&newer, &proof)?;
        Ok(newer)
    }
}

impl fmt::Display for SignedConsistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.older)?;
        finish(f, &self.path, &self.note)
    }
}

/// What is before the first empty line, and the note behind it.
fn split(bytes: &[u8]) -> Result<(&str, Note)> {
    let text = encoding::text(WHAT, bytes)?;
    let missing = || malformed(WHAT, encoding::lines(text).count());
    let (head, note) = text.split_once("\n\n").ok_or_else(missing)?;
    Ok((head, Note::parse(note)?))
}

/// The lines that are left, one hash each.
fn hashes<'a>(lines: impl Iterator<Item = (usize, &'a str)>) -> Result<Vec<Hash>> {
    let read = |(number, line)| Hash::from_base64(line).ok_or_else(|| -> Error { malformed(WHAT, number) });
    lines.map(read).collect()
}

fn finish(f: &mut fmt::Formatter<'_>, path: &[Hash], note: &Note) -> fmt::Result {
    path.iter().try_for_each(|hash| writeln!(f, "{}", hash.to_base64()))?;
    write!(f, "\n{note}")
}
