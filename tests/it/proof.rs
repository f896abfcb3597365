//! The Merkle tree and its proofs: published answers, and what must be refused.

use portcullis::proof::{
    Blake3, ConsistencyProof, Frontier, Hash, InclusionProof, NodeId, Sha256, TreeHash, root_at,
};
use portcullis::{Error, ErrorKind, ProofFault};
use std::collections::BTreeMap;

/// The leaves of the tests of Certificate Transparency (`merkle_tree_test.cc`, and since then every implementation).
const LEAVES: [&str; 8] =
    ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
/// Its roots, from the empty tree on.
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];
const L0: &str = ROOTS[1];
const L1: &str = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7";
const L4: &str = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b";
const L6: &str = "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f";
const N23: &str = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e";
const N45: &str = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a";
const N67: &str = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0";
const N47: &str = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4";
const N03: &str = ROOTS[4];

fn bytes(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

fn hash(text: &str) -> Hash {
    Hash::from_bytes(bytes(text).try_into().unwrap())
}

fn path(hashes: &[&str]) -> Vec<Hash> {
    hashes.iter().map(|text| hash(text)).collect()
}

/// Trees of that many leaves, with every node of the last one.
pub(crate) fn grow<H: TreeHash>(leaves: &[Hash]) -> (Vec<Hash>, BTreeMap<NodeId, Hash>) {
    let (mut tree, mut nodes) = (Frontier::<H>::new(), BTreeMap::new());
    let mut roots = vec![tree.root()];
    for leaf in leaves {
        let collect = |id, hash: &Hash| assert!(nodes.insert(id, *hash).is_none());
        tree.append_with(*leaf, collect).unwrap();
        roots.push(tree.root());
    }
    (roots, nodes)
}

pub(crate) fn read(nodes: &BTreeMap<NodeId, Hash>) -> impl Fn(NodeId) -> portcullis::Result<Hash> {
    |id| Ok(nodes[&id])
}

pub(crate) fn fault(result: portcullis::Result<impl std::fmt::Debug>) -> ProofFault {
    let error: Error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unproved);
    let fault = error.proof_fault().unwrap();
    assert!(!fault.code().is_empty() && error.field().is_some());
    fault
}

#[test]
fn the_roots_and_paths_of_certificate_transparency() {
    let leaves: Vec<Hash> = LEAVES.iter().map(|leaf| Sha256::leaf(&bytes(leaf))).collect();
    let (roots, nodes) = grow::<Sha256>(&leaves);
    assert_eq!(roots, path(&ROOTS));
    for (index, size, due) in [
        (0, 1, &[][..]),
        (0, 8, &[L1, N23, N47]),
        (5, 8, &[L4, N67, N03]),
        (2, 3, &[ROOTS[2]]),
        (1, 5, &[L0, N23, L4]),
    ] {
        let proof = InclusionProof::build::<Sha256>(&read(&nodes), index, size).unwrap();
        assert_eq!(proof.path(), path(due), "leaf {index} of {size}");
        proof.verify::<Sha256>(&leaves[index as usize], &roots[size as usize]).unwrap();
    }
    for (older, newer, due) in [
        (1, 1, &[][..]),
        (1, 8, &[L1, N23, N47]),
        (2, 8, &[N23, N47]),
        (6, 8, &[N45, N67, N03]),
        (2, 5, &[N23, L4]),
        (6, 7, &[N45, L6, N03]),
    ] {
        let proof = ConsistencyProof::build::<Sha256>(&read(&nodes), older, newer).unwrap();
        assert_eq!(proof.path(), path(due), "{older} and {newer}");
        proof.verify::<Sha256>(&roots[older as usize], &roots[newer as usize]).unwrap();
    }
}

#[test]
fn what_can_not_be_proved_is_said() {
    let leaves: Vec<Hash> = (0..9).map(|n| Blake3::leaf(&[n])).collect();
    let (roots, nodes) = grow::<Blake3>(&leaves);
    let inclusion = |index, size| InclusionProof::build::<Blake3>(&read(&nodes), index, size);
    let consistency = |older, newer| ConsistencyProof::build::<Blake3>(&read(&nodes), older, newer);
    assert_eq!(fault(inclusion(0, 0)), ProofFault::EmptyTree);
    assert_eq!(fault(inclusion(9, 9)), ProofFault::IndexBeyondSize { index: 9, size: 9 });
    assert_eq!(fault(consistency(0, 9)), ProofFault::EmptyTree);
    assert_eq!(fault(consistency(0, 0)), ProofFault::EmptyTree);
    assert_eq!(fault(consistency(9, 8)), ProofFault::SizesReversed { older: 9, newer: 8 });

    let made = inclusion(5, 9).unwrap();
    let check = |index, size, path: &[Hash]| {
        let proof = InclusionProof::from_parts(index, size, path.to_vec());
        fault(proof.verify::<Blake3>(&leaves[5], &roots[9]))
    };
    assert_eq!(check(5, 0, made.path()), ProofFault::EmptyTree);
    assert_eq!(check(9, 9, made.path()), ProofFault::IndexBeyondSize { index: 9, size: 9 });
    assert_eq!(check(5, 9, &made.path()[1..]), ProofFault::WrongLength { expected: 4, found: 3 });
    assert_eq!(
        check(5, 9, &[made.path(), &roots[..1]].concat()),
        ProofFault::WrongLength { expected: 4, found: 5 }
    );
    assert_eq!(check(4, 9, made.path()), ProofFault::NotTheRoot);
    let mut path = made.path().to_vec();
    path.reverse();
    assert_eq!(check(5, 9, &path), ProofFault::WrongOrder);
    path.reverse();
    path.swap(1, 2);
    assert_eq!(check(5, 9, &path), ProofFault::WrongOrder);
    assert_eq!(fault(made.verify::<Sha256>(&leaves[5], &roots[9])), ProofFault::NotTheRoot);

    let made = consistency(5, 9).unwrap();
    let check = |older, newer, path: &[Hash], from: usize, to: usize| {
        let proof = ConsistencyProof::from_parts(older, newer, path.to_vec());
        fault(proof.verify::<Blake3>(&roots[from], &roots[to]))
    };
    assert_eq!(check(0, 9, made.path(), 0, 9), ProofFault::EmptyTree);
    assert_eq!(check(9, 5, made.path(), 9, 5), ProofFault::SizesReversed { older: 9, newer: 5 });
    let length = made.path().len();
    assert_eq!(
        check(5, 9, &made.path()[1..], 5, 9),
        ProofFault::WrongLength { expected: length, found: length - 1 }
    );
    assert_eq!(check(5, 9, made.path(), 4, 9), ProofFault::NotTheOlderRoot);
    assert_eq!(check(5, 9, made.path(), 5, 8), ProofFault::NotTheNewerRoot);
    let mut path = made.path().to_vec();
    path.swap(0, 1);
    assert_eq!(check(5, 9, &path, 5, 9), ProofFault::WrongOrder);
    assert_eq!(check(9, 9, &[], 9, 8), ProofFault::Diverged { size: 9 });
    assert_eq!(check(9, 9, &path[..1], 9, 9), ProofFault::WrongLength { expected: 0, found: 1 });
}

#[test]
fn the_largest_numbers_are_not_too_large() {
    const MOST: u64 = u64::MAX;
    let some = Blake3::leaf(b"some");
    let nodes = |id: NodeId| Ok(Blake3::leaf(&id.to_key()));
    for (index, size) in [(0, MOST), (MOST - 1, MOST), (MOST / 2, MOST), (1 << 63, MOST), (0, 1 << 63)] {
        let root = root_at::<Blake3>(&nodes, size).unwrap();
        let proof = InclusionProof::build::<Blake3>(&nodes, index, size).unwrap();
        // The nodes are not those of a tree, but the length is right, and nothing overflows.
        assert_eq!(fault(proof.verify::<Blake3>(&some, &root)), ProofFault::NotTheRoot);
        let proof = ConsistencyProof::build::<Blake3>(&nodes, index + 1, size).unwrap();
        let refused = proof.verify::<Blake3>(&some, &root).unwrap_err().proof_fault();
        assert!(!matches!(refused, Some(ProofFault::WrongLength { .. })), "{refused:?}");
        for length in [0, 1, 63, 64, 65, 200] {
            let proof = InclusionProof::from_parts(index, size, vec![some; length]);
            assert!(proof.verify::<Blake3>(&some, &root).is_err());
            let proof = ConsistencyProof::from_parts(index, size, vec![some; length]);
            assert!(proof.verify::<Blake3>(&some, &root).is_err());
        }
    }
    let mut full = MOST.to_be_bytes().to_vec();
    full.resize(8 + 64 * 32, 7);
    let mut tree = Frontier::<Blake3>::from_bytes(&full).unwrap();
    assert_eq!(tree.append(some).unwrap_err().kind(), ErrorKind::LimitExceeded);
    assert_eq!(tree.to_bytes(), full);
    full.push(0);
    for bytes in [&[][..], &[0; 7], &full, &full[..full.len() - 2]] {
        assert!(matches!(fault(Frontier::<Blake3>::from_bytes(bytes)), ProofFault::WrongLength { .. }));
    }
    for (level, index, there) in [
        (0, MOST - 1, true),
        (0, MOST, false),
        (63, 0, true),
        (63, 1, false),
        (64, 0, false),
        (32, MOST >> 32, false),
    ] {
        assert_eq!(NodeId::new(level, index).is_some(), there, "{level} {index}");
    }
}
