//! Any bytes as a note, a checkpoint, a key, a proof with its checkpoint, and as the hashes of a proof: what is read is
//! written in the same bytes, and nothing is proved but what was.

use portcullis::proof::{
    Blake3, Checkpoint, ConsistencyProof, Frontier, Hash, InclusionProof, NodeId, Note, SignedConsistency,
    SignedInclusion, SigningKey, Tile, TreeHash, VerifierKey,
};
use portcullis::{Error, ErrorKind};
use std::collections::BTreeMap;
use std::sync::OnceLock;

const ORIGIN: &str = "example.com/audit";
const SIZE: u64 = 11;

/// A log, of which some heads are signed.
struct Log {
    leaves: Vec<Hash>,
    heads: Vec<Checkpoint>,
    nodes: BTreeMap<NodeId, Hash>,
    key: VerifierKey,
}

fn log() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        let (mut tree, mut nodes) = (Frontier::<Blake3>::new(), BTreeMap::new());
        let leaves: Vec<Hash> = (0..SIZE).map(|n| Blake3::leaf(&n.to_be_bytes())).collect();
        let mut heads = vec![Checkpoint::of(ORIGIN, &tree).unwrap()];
        for leaf in &leaves {
            tree.append_with(*leaf, |id, hash| {
                nodes.insert(id, *hash);
            })
            .unwrap();
            heads.push(Checkpoint::of(ORIGIN, &tree).unwrap());
        }
        let key = SigningKey::from_seed(ORIGIN, &[7; 32]).unwrap();
        Log { leaves, heads, nodes, key: key.verifier() }
    })
}

fn refused(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Unproved, "{error:?}");
    assert!(error.proof_fault().is_some() && error.to_string().len() < 500, "{error:?}");
}

/// What was read, if it is written in the same bytes.
fn same<T: ToString>(data: &[u8], read: Result<T, Error>) -> Option<T> {
    match read {
        Ok(read) => {
            assert_eq!(read.to_string().as_bytes(), data);
            Some(read)
        }
        Err(error) => {
            refused(&error);
            None
        }
    }
}

fn texts(log: &Log, data: &[u8]) {
    let keys = std::slice::from_ref(&log.key);
    if let Some(note) = same(data, Note::parse(data)) {
        let _ = note.verify(keys).inspect_err(refused);
        // Nobody but the holder of the key signs, and it signed these heads.
        match Checkpoint::from_note(&note, ORIGIN, keys) {
            Ok(head) => assert!(log.heads.contains(&head)),
            Err(error) => refused(&error),
        }
    }
    same(data, Checkpoint::parse(data));
    if let Ok(text) = std::str::from_utf8(data) {
        same(data, text.parse::<VerifierKey>());
    }
    if let Some(proof) = same(data, SignedInclusion::parse(data)) {
        for (index, leaf) in (0..).zip(&log.leaves) {
            match proof.verify::<Blake3>(leaf, ORIGIN, keys) {
                Ok(head) => {
                    assert!(log.heads.contains(&head) && index == proof.index() && index < head.size())
                }
                Err(error) => refused(&error),
            }
        }
    }
    if let Some(proof) = same(data, SignedConsistency::parse(data)) {
        for kept in &log.heads {
            match proof.verify::<Blake3>(kept, keys) {
                Ok(head) => assert!(log.heads.contains(&head) && kept.size() == proof.older()),
                Err(error) => refused(&error),
            }
        }
    }
}

/// Two numbers, then hashes: 32 bytes each, or one byte that names a node of the tree.
fn hashes(log: &Log, data: &[u8]) {
    let Some((numbers, rest)) = data.split_first_chunk::<2>() else { return };
    let wide =
        |small: u8| if small > 200 { u64::MAX - u64::from(small - 201) } else { u64::from(small) % 20 };
    let (index, size) = (wide(numbers[0]), wide(numbers[1]));
    let all: Vec<&Hash> = log.nodes.values().collect();
    let named = rest.iter().take(70).map(|byte| *all[usize::from(*byte) % all.len()]).collect();
    let bare = rest.as_chunks().0.iter().copied().map(Hash::from_bytes).collect();
    for path in [named, bare] {
        let proof = InclusionProof::from_parts(index, size, path);
        for (at, leaf) in (0..).zip(&log.leaves) {
            for head in &log.heads {
                match head.includes::<Blake3>(leaf, &proof) {
                    Ok(()) => assert_eq!((at, head.size()), (index, size)),
                    Err(error) => refused(&error),
                }
            }
        }
        let proof = ConsistencyProof::from_parts(index, size, proof.path().to_vec());
        for older in &log.heads {
            for newer in &log.heads {
                match older.is_extended_by::<Blake3>(newer, &proof) {
                    Ok(()) => assert_eq!((older.size(), newer.size()), (index, size)),
                    Err(error) => refused(&error),
                }
            }
        }
    }
    match Frontier::<Blake3>::from_bytes(data) {
        Ok(mut tree) => {
            assert_eq!(tree.to_bytes(), data);
            let _ = tree.append(log.leaves[0]);
        }
        Err(error) => refused(&error),
    }
    let _ = Tile::from_bytes(data).inspect_err(refused);
}

pub(crate) fn run(data: &[u8]) {
    let log = log();
    texts(log, data);
    hashes(log, data);
}
