//! The hashes of a tree, and what a hash function must do to make them.

use super::encoding;
use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};
use sha2::Digest;
use std::fmt;
use std::sync::LazyLock;

/// A hash in a tree: of a leaf, of a node, or of everything.
///
/// It is public, and shows itself as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; Hash::BYTES]);

impl Hash {
    /// The length of every hash.
    pub const BYTES: usize = 32;

    /// The hash that has these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// As the lines of checkpoints and proofs have it: base64 with padding.
    #[must_use]
    pub fn to_base64(self) -> String {
        encoding::to_base64(&self.0)
    }

    /// The hash in such a line; `None` for anything that [`to_base64`](Self::to_base64) does not write.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        encoding::from_base64(text)?.try_into().ok().map(Self)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A hash function for trees of the shape of RFC 6962.
///
/// An implementation must keep its three uses apart, so that no leaf can pass for a node (a second preimage, RFC 6962,
/// section 2.1): no two different calls, of the same or of different functions, may hash the same bytes.
pub trait TreeHash {
    /// What a checkpoint calls it; lower-case letters, digits and `-`.
    const NAME: &'static str;

    /// The root of the tree that has no leaves.
    fn empty() -> Hash;

    /// The hash of a leaf.
    fn leaf(data: &[u8]) -> Hash;

    /// The hash of what is above two others.
    fn node(left: &Hash, right: &Hash) -> Hash;
}

/// BLAKE3 in its key derivation mode, with a context for each use: the hash of the audit log.
///
/// The contexts are `portcullis 2026 audit tree empty`, `… leaf` and `… node`; the empty tree hashes no bytes, a leaf
/// hashes its data, and a node hashes its two children, which are one block of BLAKE3 (with a byte before them as in
/// RFC 6962 they would be two).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Blake3;

static EMPTY: LazyLock<ContextKey> =
    LazyLock::new(|| hash_derive_key_context("portcullis 2026 audit tree empty"));
static LEAF: LazyLock<ContextKey> =
    LazyLock::new(|| hash_derive_key_context("portcullis 2026 audit tree leaf"));
static NODE: LazyLock<ContextKey> =
    LazyLock::new(|| hash_derive_key_context("portcullis 2026 audit tree node"));

fn derive(context: &ContextKey, data: &[u8]) -> Hash {
    Hash(blake3::Hasher::new_from_context_key(context).update(data).finalize().into())
}

impl TreeHash for Blake3 {
    const NAME: &'static str = "blake3";

    fn empty() -> Hash {
        derive(&EMPTY, &[])
    }

    fn leaf(data: &[u8]) -> Hash {
        derive(&LEAF, data)
    }

    fn node(left: &Hash, right: &Hash) -> Hash {
        let mut both = [0; 2 * Hash::BYTES];
        let (start, end) = both.split_at_mut(Hash::BYTES);
        start.copy_from_slice(&left.0);
        end.copy_from_slice(&right.0);
        derive(&NODE, &both)
    }
}

/// SHA-256 with the bytes 0 and 1 before leaves and nodes, to the letter of RFC 6962, section 2.1.
///
/// A checkpoint whose text names no hash is of this one, as Certificate Transparency and C2SP have it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Sha256;

impl TreeHash for Sha256 {
    const NAME: &'static str = "sha-256";

    fn empty() -> Hash {
        Hash(sha2::Sha256::digest([]).into())
    }

    fn leaf(data: &[u8]) -> Hash {
        Hash(sha2::Sha256::new().chain_update([0]).chain_update(data).finalize().into())
    }

    fn node(left: &Hash, right: &Hash) -> Hash {
        let hasher = sha2::Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0);
        Hash(hasher.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BLAKE3's own key derivation, as anybody would call it.
    #[test]
    fn blake3_is_its_key_derivation_mode() {
        let derived = |use_: &str, data: &[u8]| {
            Hash(blake3::derive_key(&format!("portcullis 2026 audit tree {use_}"), data))
        };
        assert_eq!(Blake3::empty(), derived("empty", b""));
        assert_eq!(Blake3::leaf(b"a record"), derived("leaf", b"a record"));
        let (left, right) = (Blake3::leaf(b"left"), Blake3::leaf(b"right"));
        assert_eq!(Blake3::node(&left, &right), derived("node", &[left.0, right.0].concat()));
    }

    #[test]
    fn no_use_passes_for_another() {
        fn check<H: TreeHash>() {
            let (left, right) = (H::leaf(b"left"), H::leaf(b"right"));
            let both = [left.0, right.0].concat();
            let mut all = vec![H::empty(), H::leaf(b""), H::leaf(&both), H::node(&left, &right)];
            all.push(H::node(&right, &left));
            let count = all.len();
            all.sort();
            all.dedup();
            assert_eq!(all.len(), count);
        }
        check::<Blake3>();
        check::<Sha256>();
    }

    #[test]
    fn text_and_back() {
        let hash = Sha256::leaf(b"");
        assert_eq!(format!("{hash:?}"), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
        assert_eq!(Hash::from_base64(&hash.to_base64()), Some(hash));
        assert_eq!(Hash::from_base64(""), None);
        assert_eq!(Hash::from_base64(&encoding::to_base64(&[0; 31])), None);
        assert_eq!(Hash::from_base64(&encoding::to_base64(&[0; 33])), None);
    }
}
