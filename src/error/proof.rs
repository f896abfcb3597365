//! Why something that was to be proved is not: one reason for each thing that can be wrong.

use super::{Error, ErrorKind, Failure, Repr};
use std::fmt;

/// Why a proof, a checkpoint, a note or a verifier key was refused; see [`Error::proof_fault`].
///
/// Whatever the reason, what was presented proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProofFault {
    /// An empty tree has no leaves, and every tree extends it: there is nothing to prove.
    EmptyTree,
    /// The leaf that was named is not within the tree.
    IndexBeyondSize {
        /// The index of the leaf, counted from 0.
        index: u64,
        /// The number of leaves in the tree.
        size: u64,
    },
    /// The older tree is the larger one.
    SizesReversed {
        /// The size of what was said to be the older tree.
        older: u64,
        /// The size of what was said to be the newer tree.
        newer: u64,
    },
    /// The tree that was named has more leaves than the log has records.
    SizeBeyondLog {
        /// The number of leaves that was named.
        size: u64,
        /// The number of records in the log.
        log: u64,
    },
    /// The proof is about another tree than the checkpoint that came with it.
    OtherSize {
        /// The size that the checkpoint names.
        expected: u64,
        /// The size that the proof names.
        found: u64,
    },
    /// The proof has more or fewer hashes than the sizes ask for.
    WrongLength {
        /// The number of hashes that the sizes ask for.
        expected: usize,
        /// The number of hashes in the proof.
        found: usize,
    },
    /// The hashes are the right ones: the proof has them backwards, or two neighbours have changed places.
    WrongOrder,
    /// The leaf and the hashes do not lead to the root: one of them, or the root, is not what it was.
    NotTheRoot,
    /// The hashes do not lead to the root of the older tree: the logs are not the same, or a hash was changed.
    NotTheOlderRoot,
    /// The hashes lead to the root of the older tree and not to that of the newer one: the logs are not the same after
    /// it, or a hash was changed.
    NotTheNewerRoot,
    /// Two trees of the same size have different roots: one of the logs was rewritten, or they are copies that went
    /// their own ways.
    Diverged {
        /// The size at which the roots differ.
        size: u64,
    },
    /// The hashes of the tree are not of the kind that was asked for, or of no kind that is known.
    UnknownHash,
    /// The checkpoint is of another log.
    WrongOrigin,
    /// A line breaks the format.
    Malformed {
        /// The number of the line, counted from 1.
        line: usize,
    },
    /// The text is longer than any that is read.
    TooLong {
        /// The most bytes that are read.
        limit: usize,
    },
    /// The signature of a known key is not of this text: a line of it was changed, or somebody else signed it.
    WrongSignature,
    /// None of the signatures is by a known key.
    UnknownSigner,
    /// The text is not a verifier key, or its identifier is not that of its name and key.
    MalformedKey,
}

impl ProofFault {
    /// A name that never changes, for logs and translations.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::EmptyTree => "empty_tree",
            Self::IndexBeyondSize { .. } => "index_beyond_size",
            Self::SizesReversed { .. } => "sizes_reversed",
            Self::SizeBeyondLog { .. } => "size_beyond_log",
            Self::OtherSize { .. } => "other_size",
            Self::WrongLength { .. } => "wrong_length",
            Self::WrongOrder => "wrong_order",
            Self::NotTheRoot => "not_the_root",
            Self::NotTheOlderRoot => "not_the_older_root",
            Self::NotTheNewerRoot => "not_the_newer_root",
            Self::Diverged { .. } => "diverged",
            Self::UnknownHash => "unknown_hash",
            Self::WrongOrigin => "wrong_origin",
            Self::Malformed { .. } => "malformed",
            Self::TooLong { .. } => "too_long",
            Self::WrongSignature => "wrong_signature",
            Self::UnknownSigner => "unknown_signer",
            Self::MalformedKey => "malformed_key",
        }
    }
}

impl fmt::Display for ProofFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EmptyTree => "a tree without leaves proves nothing",
            Self::IndexBeyondSize { index, size } => {
                return write!(f, "there is no leaf {index} in a tree of {size} (they are counted from 0)");
            }
            Self::SizesReversed { older, newer } => {
                return write!(f, "the older tree has {older} leaves and the newer one only {newer}");
            }
            Self::SizeBeyondLog { size, log } => {
                return write!(f, "it is about {size} records and the log has {log}");
            }
            Self::OtherSize { expected, found } => {
                return write!(f, "the proof is about {found} leaves and the checkpoint about {expected}");
            }
            Self::WrongLength { expected, found } => {
                return write!(f, "the proof has {found} hashes where the sizes ask for {expected}");
            }
            Self::WrongOrder => "the hashes of the proof are in the wrong order",
            Self::NotTheRoot => "the leaf and the hashes of the proof do not lead to the root",
            Self::NotTheOlderRoot => "the hashes of the proof do not lead to the root of the older tree",
            Self::NotTheNewerRoot => {
                "the hashes of the proof lead to the root of the older tree and not to that of the newer one"
            }
            Self::Diverged { size } => {
                return write!(
                    f,
                    "the logs differ within the first {size} records: the roots are not the same"
                );
            }
            Self::UnknownHash => "the hashes of the tree are of another kind",
            Self::WrongOrigin => "the checkpoint is of another log",
            Self::Malformed { line } => return write!(f, "line {line} breaks the format"),
            Self::TooLong { limit } => return write!(f, "it is longer than {limit} bytes"),
            Self::WrongSignature => {
                "a signature is wrong: the text was changed after it was signed, or the key is another one"
            }
            Self::UnknownSigner => "none of the signatures is by a key that is known here",
            Self::MalformedKey => "it is not a verifier key of the form `name+identifier+key`",
        })
    }
}

impl Error {
    /// Why a proof, a checkpoint, a note or a verifier key was refused, where that is what happened.
    #[must_use]
    pub fn proof_fault(&self) -> Option<ProofFault> {
        match &self.0 {
            Repr::Denied(_) => None,
            Repr::Failed(failure) => failure.proof,
        }
    }

    /// Something proves nothing, for this reason.
    pub(crate) fn proof(what: &'static str, fault: ProofFault) -> Self {
        Self::proof_with(what, fault, fault.to_string())
    }

    /// The same with more than the reason can tell.
    pub(crate) fn proof_with(what: &'static str, fault: ProofFault, message: impl Into<String>) -> Self {
        Self(Repr::Failed(Box::new(Failure {
            proof: Some(fault),
            ..Failure::new(ErrorKind::Unproved, Some(what), message.into())
        })))
    }
}
