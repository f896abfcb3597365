//! The tree against the definition of RFC 6962, section 2.1, written down as it stands there.

use crate::proof::{fault, grow, read};
use portcullis::ProofFault;
use portcullis::proof::{
    Blake3, ConsistencyProof, Frontier, Hash, InclusionProof, Sha256, Tile, TileId, Tiles, TreeHash, root_at,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// The largest power of two that is smaller.
fn split(length: usize) -> usize {
    (0..).map(|bit| 1 << bit).take_while(|power| *power < length).last().unwrap()
}

/// `MTH(D[n])`
fn root<H: TreeHash>(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => H::empty(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            H::node(&root::<H>(left), &root::<H>(right))
        }
    }
}

/// `PATH(m, D[n])`
fn path<H: TreeHash>(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    if index < left.len() {
        [path::<H>(index, left), vec![root::<H>(right)]].concat()
    } else {
        [path::<H>(index - left.len(), right), vec![root::<H>(left)]].concat()
    }
}

/// `SUBPROOF(m, D[n], b)`
fn subproof<H: TreeHash>(older: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if older == leaves.len() {
        return if whole { Vec::new() } else { vec![root::<H>(leaves)] };
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    if older <= left.len() {
        [subproof::<H>(older, left, whole), vec![root::<H>(right)]].concat()
    } else {
        [subproof::<H>(older - left.len(), right, false), vec![root::<H>(left)]].concat()
    }
}

fn leaves<H: TreeHash>(count: usize) -> Vec<Hash> {
    (0..count as u64).map(|n| H::leaf(&n.to_be_bytes())).collect()
}

fn flip(hash: &Hash, bit: usize) -> Hash {
    let mut bytes = *hash.as_bytes();
    bytes[bit / 8] ^= 1 << (bit % 8);
    Hash::from_bytes(bytes)
}

fn every_size_up_to<H: TreeHash>(most: usize) {
    let leaves = leaves::<H>(most);
    let (roots, nodes) = grow::<H>(&leaves);
    let nodes = read(&nodes);
    for size in 0..=most {
        let some = &leaves[..size];
        assert_eq!(roots[size], root::<H>(some));
        assert_eq!(root_at::<H>(&nodes, size as u64).unwrap(), roots[size]);
        for (index, leaf) in some.iter().enumerate() {
            let proof = InclusionProof::build::<H>(&nodes, index as u64, size as u64).unwrap();
            assert_eq!(proof.path(), path::<H>(index, some), "leaf {index} of {size}");
            proof.verify::<H>(leaf, &roots[size]).unwrap();
        }
        for older in 1..=size {
            let proof = ConsistencyProof::build::<H>(&nodes, older as u64, size as u64).unwrap();
            assert_eq!(proof.path(), subproof::<H>(older, some, true), "{older} and {size}");
            proof.verify::<H>(&roots[older], &roots[size]).unwrap();
        }
    }
}

#[test]
fn every_small_tree_is_as_defined() {
    every_size_up_to::<Blake3>(130);
    every_size_up_to::<Sha256>(66);
}

#[test]
fn no_proof_of_a_small_tree_is_one_of_another() {
    let leaves = leaves::<Blake3>(20);
    let (roots, nodes) = grow::<Blake3>(&leaves);
    let nodes = read(&nodes);
    for size in 1..=20 {
        for index in 0..size {
            let made = InclusionProof::build::<Blake3>(&nodes, index, size).unwrap();
            let mut held = Vec::new();
            for other in 0..22 {
                for at in 0..22 {
                    let proof = InclusionProof::from_parts(at, other, made.path().to_vec());
                    if proof.verify::<Blake3>(&leaves[index as usize], &roots[size as usize]).is_ok() {
                        held.push((at, other));
                    }
                }
            }
            // The path of a leaf does not say of which size the tree is: another one of the same shape as seen from the
            // leaf has the same path. So the size comes from the checkpoint, never from the proof.
            assert!(held.contains(&(index, size)));
            for (at, other) in held {
                assert_eq!(
                    path::<Blake3>(at as usize, &vec![leaves[0]; other as usize]).len(),
                    made.path().len()
                );
            }
        }
    }
}

#[test]
fn every_flipped_bit_of_a_proof_is_refused() {
    let leaves = leaves::<Blake3>(13);
    let (roots, nodes) = grow::<Blake3>(&leaves);
    let nodes = read(&nodes);
    for index in [0, 5, 11, 12] {
        let made = InclusionProof::build::<Blake3>(&nodes, index, 13).unwrap();
        let (leaf, root) = (&leaves[index as usize], &roots[13]);
        for bit in 0..256 {
            assert_eq!(fault(made.verify::<Blake3>(&flip(leaf, bit), root)), ProofFault::NotTheRoot);
            assert_eq!(fault(made.verify::<Blake3>(leaf, &flip(root, bit))), ProofFault::NotTheRoot);
            for place in 0..made.path().len() {
                let mut path = made.path().to_vec();
                path[place] = flip(&path[place], bit);
                let proof = InclusionProof::from_parts(index, 13, path);
                assert_eq!(fault(proof.verify::<Blake3>(leaf, root)), ProofFault::NotTheRoot);
            }
        }
    }
    for older in [1, 4, 7, 12] {
        let made = ConsistencyProof::build::<Blake3>(&nodes, older, 13).unwrap();
        let (from, to) = (&roots[older as usize], &roots[13]);
        for bit in 0..256 {
            fault(made.verify::<Blake3>(&flip(from, bit), to));
            assert_eq!(fault(made.verify::<Blake3>(from, &flip(to, bit))), ProofFault::NotTheNewerRoot);
            for place in 0..made.path().len() {
                let mut path = made.path().to_vec();
                path[place] = flip(&path[place], bit);
                let proof = ConsistencyProof::from_parts(older, 13, path);
                fault(proof.verify::<Blake3>(from, to));
            }
        }
    }
}

/// A tree in tiles, and the table of its full ones.
fn tiled(leaves: &[Hash]) -> (Tiles<Blake3>, BTreeMap<[u8; 9], Vec<u8>>) {
    let (mut tree, mut table) = (Tiles::new(), BTreeMap::new());
    for leaf in leaves {
        tree.append(*leaf, |id, tile| {
            assert!(table.insert(id.to_key(), tile.to_bytes()).is_none());
        })
        .unwrap();
    }
    (tree, table)
}

fn stored(table: &BTreeMap<[u8; 9], Vec<u8>>) -> impl Fn(TileId) -> portcullis::Result<Tile> {
    |id| Tile::from_bytes(&table[&id.to_key()])
}

fn check_tiles(count: usize) {
    let leaves = leaves::<Blake3>(count);
    let (tree, table) = tiled(&leaves);
    let (roots, nodes) = grow::<Blake3>(&leaves);
    assert_eq!((tree.size(), tree.root()), (count as u64, roots[count]));
    let stored = stored(&table);
    for (id, hash) in &nodes {
        assert_eq!(
            portcullis::proof::Nodes::node(&tree.nodes(&stored), *id).unwrap(),
            *hash,
            "{id:?} of {count}"
        );
    }
    let behind = usize::try_from(Tiles::<Blake3>::leaves_behind(count as u64)).unwrap();
    let again = Tiles::<Blake3>::resume(count as u64, &leaves[count - behind..], &stored).unwrap();
    assert_eq!(again.frontier(), tree.frontier());
    // Both go on in the same way.
    let (mut tree, mut again) = (tree, again);
    for leaf in leaves.iter().chain(&leaves).take(600) {
        let (mut one, mut other) = (Vec::new(), Vec::new());
        tree.append(*leaf, |id, tile| one.push((id, *tile))).unwrap();
        again.append(*leaf, |id, tile| other.push((id, *tile))).unwrap();
        assert_eq!((one, tree.root()), (other, again.root()));
    }
}

#[test]
fn tiles_are_the_same_tree() {
    for count in (0..=70).chain([255, 256, 257, 271, 272, 4095, 4096, 4097, 5000]) {
        check_tiles(count);
    }
    let beyond = portcullis::proof::NodeId::new(4, 0).unwrap();
    let (tree, table) = tiled(&leaves::<Blake3>(15));
    let refused = portcullis::proof::Nodes::node(&tree.nodes(&stored(&table)), beyond);
    assert_eq!(fault(refused), ProofFault::SizeBeyondLog { size: 16, log: 15 });
    let refused = Tiles::<Blake3>::resume(18, &leaves::<Blake3>(1), &stored(&table));
    assert_eq!(fault(refused), ProofFault::WrongLength { expected: 2, found: 1 });
    assert!(matches!(fault(Tile::from_bytes(&[0; 511])), ProofFault::WrongLength { .. }));
    assert!(matches!(fault(Tile::from_bytes(&[0; 544])), ProofFault::WrongLength { .. }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn larger_trees_are_as_defined(size in 131_usize..3000, at in 0_u64..u64::MAX, bit in 0_usize..256) {
        let leaves = leaves::<Blake3>(size);
        let (roots, nodes) = grow::<Blake3>(&leaves);
        let nodes = read(&nodes);
        let index = (at % size as u64) as usize;
        prop_assert_eq!(roots[size], root::<Blake3>(&leaves));
        let proof = InclusionProof::build::<Blake3>(&nodes, index as u64, size as u64).unwrap();
        prop_assert_eq!(proof.path(), path::<Blake3>(index, &leaves));
        proof.verify::<Blake3>(&leaves[index], &roots[size]).unwrap();
        prop_assert!(proof.verify::<Blake3>(&flip(&leaves[index], bit), &roots[size]).is_err());
        let older = index + 1;
        let proof = ConsistencyProof::build::<Blake3>(&nodes, older as u64, size as u64).unwrap();
        prop_assert_eq!(proof.path(), subproof::<Blake3>(older, &leaves, true));
        proof.verify::<Blake3>(&roots[older], &roots[size]).unwrap();
        prop_assert!(older == size || proof.verify::<Blake3>(&roots[older], &flip(&roots[size], bit)).is_err());
    }

    /// A log of which one record was changed, dropped, doubled or swapped has no consistency proof to what was kept.
    #[test]
    fn a_log_that_was_rewritten_is_found(
        size in 2_usize..200, kept in 1_usize..200, at in 0_usize..200, how in 0_u8..4,
    ) {
        let kept = 1 + kept % size;
        let at = at % kept;
        let honest = leaves::<Blake3>(size);
        let mut rewritten = honest.clone();
        match how {
            0 => rewritten[at] = Blake3::leaf(b"changed"),
            1 => drop(rewritten.remove(at)),
            2 => rewritten.insert(at, Blake3::leaf(b"inserted")),
            _ => rewritten.swap(at, (at + 1) % size),
        }
        let (roots, _) = grow::<Blake3>(&honest);
        let (others, nodes) = grow::<Blake3>(&rewritten);
        let newer = rewritten.len();
        prop_assume!(kept <= newer && (how != 3 || at + 1 < kept));
        let proof = ConsistencyProof::build::<Blake3>(&read(&nodes), kept as u64, newer as u64).unwrap();
        prop_assert!(proof.verify::<Blake3>(&roots[kept], &others[newer]).is_err());
        proof.verify::<Blake3>(&others[kept], &others[newer]).unwrap();
    }

    #[test]
    fn what_is_kept_of_a_tree_goes_on(first in 0_usize..300, more in 0_usize..300) {
        let leaves = leaves::<Blake3>(first + more);
        let mut tree = Frontier::<Blake3>::new();
        for leaf in &leaves[..first] {
            tree.append(*leaf).unwrap();
        }
        let mut again = Frontier::<Blake3>::from_bytes(&tree.to_bytes()).unwrap();
        prop_assert_eq!(&again, &tree);
        for leaf in &leaves[first..] {
            again.append(*leaf).unwrap();
        }
        prop_assert_eq!(again.root(), root::<Blake3>(&leaves));
    }
}
