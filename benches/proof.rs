//! What the Merkle tree of the audit log costs at 100 million records: an append, a proof, a verification, a checkpoint.
//!
//! The records are simulated: each leaf hash is a function of its index, and so are the tiles that a table would have.
//! `cargo bench --bench proof`

#![expect(clippy::unwrap_used, reason = "a bench may end where something is wrong")]

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis::proof::{
    Blake3, Checkpoint, ConsistencyProof, Frontier, Hash, InclusionProof, Sha256, SigningKey, Tile, TileId,
    Tiles, TreeHash,
};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;
use support::{Report, full, size, time};

/// As long as a stored audit record often is.
const RECORD: usize = 120;

fn leaf(index: u64) -> Hash {
    let mut bytes = [0; Hash::BYTES];
    bytes.iter_mut().zip(index.to_be_bytes()).for_each(|(to, from)| *to = from);
    Hash::from_bytes(bytes)
}

/// A tree of that many leaves with all its full tiles. In full it takes some seconds and 3 GiB, so that the tiles of the
/// leaves, which are functions of their index, are not kept.
fn grown(size: u64) -> (Tiles<Blake3>, BTreeMap<TileId, Tile>) {
    let (mut tree, mut tiles) = (Tiles::new(), BTreeMap::new());
    for index in 0..size {
        tree.append(leaf(index), |id, tile| {
            if id.tier() > 0 {
                tiles.insert(id, *tile);
            }
        })
        .unwrap();
    }
    (tree, tiles)
}

/// The root that the hashes of a proof lead to with another hash function: the shape and so the cost are the same.
fn root_from<H: TreeHash>(leaf: &Hash, proof: &InclusionProof) -> Hash {
    let (mut index, mut last, mut hash) = (proof.index(), proof.size() - 1, *leaf);
    for other in proof.path() {
        // Where the way is the right edge of the tree, levels without a left neighbour are passed.
        while index == last && index % 2 == 0 {
            (index, last) = (index / 2, last / 2);
        }
        hash = if index % 2 == 1 { H::node(other, &hash) } else { H::node(&hash, other) };
        (index, last) = (index / 2, last / 2);
    }
    hash
}

fn read(tiles: &BTreeMap<TileId, Tile>) -> impl Fn(TileId) -> portcullis::Result<Tile> {
    move |id| {
        if id.tier() == 0 {
            let bytes: Vec<u8> =
                (0..16).flat_map(|place| *leaf(id.index() * 16 + place).as_bytes()).collect();
            Tile::from_bytes(&bytes)
        } else {
            // As a table gives it: bytes, of which the tile is read.
            Tile::from_bytes(&tiles.get(&id).unwrap().to_bytes())
        }
    }
}

/// The time of so many calls.
fn each<T>(times: u64, mut run: impl FnMut(u64) -> T) -> Duration {
    time(|| {
        for n in 0..times {
            black_box(run(n));
        }
    })
}

fn proof(criterion: &mut Criterion) {
    let mut report = Report::default();
    let mut group = criterion.benchmark_group("proof");
    group.sample_size(20).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(300));

    let million = size(100_000_000, 100_000) as u64;
    let mut grew = None;
    let took = time(|| grew = Some(grown(million)));
    let (tree, tiles) = grew.unwrap();
    let per_second = million as f64 / took.as_secs_f64();
    report.line(
        format!("appends of {million} leaf hashes, with tiles"),
        "1 M/s (verify)",
        format!("{:.1} M/s", per_second / 1e6),
    );
    report.line("  tiles kept above the leaves", "", format!("{}", tiles.len()));

    let record = [7; RECORD];
    report.bench(&mut group, "the leaf hash of a record of 120 bytes", "", 1, |n| {
        each(n, |_| Blake3::leaf(black_box(&record)))
    });
    let frontier = tree.frontier();
    report.bench(&mut group, "an append at 100 M, right edge only", "O(log n), < 5 us", 1, |n| {
        let mut tree = frontier.clone();
        each(n, |_| tree.append(Blake3::leaf(black_box(&record))).unwrap())
    });
    report.bench(&mut group, "an append at 100 M, with the tiles and the root", "< 5 us", 1, |n| {
        let mut tree = tree.clone();
        each(n, |_| {
            let table = |id, tile: &Tile| drop(black_box((id, tile.to_bytes())));
            tree.append(Blake3::leaf(black_box(&record)), table).unwrap();
            tree.root()
        })
    });
    report.bench(&mut group, "the root at 100 M", "", 1, |n| each(n, |_| black_box(frontier).root()));

    let read = read(&tiles);
    let step = million / 1009;
    let index = |n: u64| n.wrapping_mul(step) % million;
    report.bench(&mut group, "an inclusion proof at 100 M", "< 100 us", 1, |n| {
        each(n, |n| InclusionProof::build::<Blake3>(&tree.nodes(&read), index(n), million).unwrap())
    });
    report.bench(&mut group, "a consistency proof at 100 M", "< 100 us", 1, |n| {
        each(n, |n| ConsistencyProof::build::<Blake3>(&tree.nodes(&read), 1 + index(n), million).unwrap())
    });

    let (mine, root, older) = (leaf(million / 3), tree.root(), million / 3 + 1);
    let nodes = tree.nodes(&read);
    let proof = InclusionProof::build::<Blake3>(&nodes, million / 3, million).unwrap();
    let consistency = ConsistencyProof::build::<Blake3>(&nodes, older, million).unwrap();
    let older_root = portcullis::proof::root_at::<Blake3>(&nodes, older).unwrap();
    report.bench(&mut group, "verifying an inclusion proof", "", 1, |n| {
        each(n, |_| proof.verify::<Blake3>(black_box(&mine), &root).unwrap())
    });
    report.bench(&mut group, "  and refusing one", "", 1, |n| {
        each(n, |_| proof.verify::<Blake3>(black_box(&root), &root).unwrap_err())
    });
    report.bench(&mut group, "verifying a consistency proof", "", 1, |n| {
        each(n, |_| consistency.verify::<Blake3>(black_box(&older_root), &root).unwrap())
    });
    let of_sha = root_from::<Sha256>(&mine, &proof);
    report.bench(&mut group, "verifying an inclusion proof, SHA-256", "", 1, |n| {
        each(n, |_| proof.verify::<Sha256>(black_box(&mine), &of_sha).unwrap())
    });

    let key = SigningKey::from_seed("example.com/audit", &[7; 32]).unwrap();
    let checkpoint = Checkpoint::of("example.com/audit", frontier).unwrap();
    report.bench(&mut group, "signing a checkpoint", "", 1, |n| each(n, |_| checkpoint.sign(&key).unwrap()));
    let (note, keys) = (checkpoint.sign(&key).unwrap().to_string(), [key.verifier()]);
    report.bench(&mut group, "reading a checkpoint and its signature", "", 1, |n| {
        each(n, |_| Checkpoint::open(&note, "example.com/audit", &keys).unwrap())
    });
    let kept = Checkpoint::new::<Blake3>("example.com/audit", older, older_root).unwrap();
    report.bench(&mut group, "comparing a checkpoint with the log", "", 1, |n| {
        each(n, |_| kept.agrees_with::<Blake3>(&tree.nodes(&read), million).unwrap())
    });
    group.finish();

    for (id, tile) in tiles.iter().take(if full() { 1000 } else { 10 }) {
        assert_eq!(read(*id).unwrap(), *tile);
    }
    // What is open can be made again of the tiles.
    let behind: Vec<Hash> = (million - Tiles::<Blake3>::leaves_behind(million)..million).map(leaf).collect();
    let mut again = Frontier::new();
    let took = time(|| again = Tiles::<Blake3>::resume(million, &behind, &read).unwrap().frontier().clone());
    assert_eq!(again, *frontier);
    report.line("going on from the tiles when opened", "", format!("{took:.1?}"));
    report.print("proof");
}

criterion_group!(benches, proof);
criterion_main!(benches);
