//! Notes, keys and checkpoints: published examples, one way to write each, and what must be refused.

use crate::proof::{fault, grow, read};
use portcullis::proof::{
    Blake3, Checkpoint, ConsistencyProof, Frontier, Hash, InclusionProof, Note, Sha256, SignedConsistency,
    SignedInclusion, SigningKey, TreeHash, VerifierKey,
};
use portcullis::testing::SeededEntropy;
use portcullis::{ErrorKind, ProofFault};

/// What Go's checksum database tests its notes with (`golang.org/x/mod/sumdb/note`, `note_test.go`).
const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const PETERS_SEED: [u8; 32] = [
    0x81, 0x0a, 0x14, 0x02, 0xd5, 0x14, 0x6c, 0x8d, 0x84, 0xf2, 0x44, 0x33, 0x30, 0xf5, 0x40, 0x80, 0xeb,
    0xf9, 0x8e, 0xe1, 0x7d, 0x9c, 0x74, 0xf6, 0x25, 0x2f, 0xc5, 0xd5, 0xc7, 0x28, 0x31, 0x73,
];
const PETERS_TEXT: &str = "If you think cryptography is the answer to your problem,\n\
    then you don't know what your problem is.\n";
const PETERS_LINE: &str = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

/// The example of C2SP signed-note, whose key is not published.
const QUASIMODO: &str = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n\
    — quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";

/// The example of C2SP tlog-checkpoint.
const SOFA: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
    — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
/// The key of Go's checksum database, whose signature the example borrows.
const GO: &str = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";

fn peter() -> VerifierKey {
    PETER.parse().unwrap()
}

fn peters_note() -> String {
    format!("{PETERS_TEXT}\n{PETERS_LINE}")
}

fn key(name: &str) -> SigningKey {
    SigningKey::from_seed(name, &[7; 32]).unwrap()
}

fn malformed(line: usize) -> ProofFault {
    ProofFault::Malformed { line }
}

#[test]
fn the_note_of_the_checksum_database() {
    assert_eq!(
        (peter().name(), peter().id(), peter().to_string().as_str()),
        ("PeterNeumann", 0xc74f_20a3, PETER)
    );
    let note = Note::parse(peters_note()).unwrap();
    assert_eq!(note.verify(&[peter()]).unwrap(), PETERS_TEXT);
    assert_eq!(note.to_string(), peters_note());
    assert_eq!(note.claimed_names().collect::<Vec<_>>(), ["PeterNeumann"]);
    // Ed25519 signs the same text in the same way.
    let key = SigningKey::from_seed("PeterNeumann", &PETERS_SEED).unwrap();
    assert_eq!((key.verifier(), key.id(), key.name()), (peter(), peter().id(), "PeterNeumann"));
    assert_eq!(Note::sign(PETERS_TEXT, &key).unwrap(), note);
}

#[test]
fn the_examples_of_the_specifications() {
    let note = Note::parse(QUASIMODO).unwrap();
    assert_eq!(note.to_string(), QUASIMODO);
    assert_eq!(note.claimed_names().collect::<Vec<_>>(), ["quasimodo.example/salvatore"]);
    assert_eq!(fault(note.verify(&[peter()])), ProofFault::UnknownSigner);

    let note = Note::parse(SOFA).unwrap();
    assert_eq!(note.to_string(), SOFA);
    let (text, _) = SOFA.split_once("\n\n").unwrap();
    let read = Checkpoint::parse(format!("{text}\n")).unwrap();
    assert_eq!(
        (read.origin(), read.size(), read.hash_name()),
        ("example.com/behind-the-sofa", 20_852_163, "sha-256")
    );
    assert_eq!(read.root().to_base64(), "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=");
    assert_eq!((read.to_string(), read.extensions().count()), (format!("{text}\n"), 0));

    // The example of C2SP tlog-witness brings the same checkpoint with another signature, and fewer hashes than it takes.
    let witness =
        "opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=";
    let request = format!(
        "old 20852014\nPlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n\
         jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n\
         /6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n\n{SOFA}— example.com/behind-the-sofa {witness}\n"
    );
    let request = (SignedConsistency::parse(&request).unwrap(), request);
    assert_eq!((request.0.older(), request.0.to_string()), (20_852_014, request.1));

    // It is a head of Go's checksum database under another name.
    let go: VerifierKey = GO.parse().unwrap();
    let origin = "go.sum database tree";
    let real = SOFA.replacen("example.com/behind-the-sofa", origin, 1);
    let real = real.replace("example.com/behind-the-sofa", "sum.golang.org");
    let opened = Checkpoint::open(real, origin, std::slice::from_ref(&go)).unwrap();
    assert_eq!((opened.size(), opened.root()), (read.size(), read.root()));
    let renamed = SOFA.replace("— example.com/behind-the-sofa", "— sum.golang.org");
    assert_eq!(
        fault(Checkpoint::open(renamed, "example.com/behind-the-sofa", &[go])),
        ProofFault::WrongSignature
    );
}

#[test]
fn a_verifier_key_has_one_way_to_write_it() {
    let bad = |text: &str| assert_eq!(fault(text.parse::<VerifierKey>()), ProofFault::MalformedKey, "{text}");
    for start in 0..=PETER.len() {
        for end in start..=PETER.len() {
            if (start, end) != (0, PETER.len()) {
                bad(&PETER[start..end]);
            }
        }
    }
    for at in 0..PETER.len() {
        for bit in 0..7 {
            let mut changed = PETER.as_bytes().to_vec();
            changed[at] ^= 1 << bit;
            bad(std::str::from_utf8(&changed).unwrap());
        }
    }
    // A key that is too long and one of another algorithm, with identifiers that are theirs.
    bad("PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==");
    bad("PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
    for text in
        [PETER.to_uppercase(), format!(" {PETER}"), format!("{PETER}\n"), PETER.replace("c74f", "C74F")]
    {
        bad(&text);
    }
}

#[test]
fn a_signing_key_keeps_its_secret() {
    let made = SigningKey::generate("example.com/audit", &SeededEntropy::new(3)).unwrap();
    let again = SigningKey::from_seed("example.com/audit", &made.expose_seed()).unwrap();
    assert_eq!(again.verifier(), made.verifier());
    let other = SigningKey::generate("example.com/audit", &SeededEntropy::new(4)).unwrap();
    assert_ne!(other.verifier(), made.verifier());
    assert_eq!(format!("{made:?}"), format!("SigningKey(example.com/audit+{:08x}, <secret>)", made.id()));
    for name in ["", "a b", "a+b", "a\nb", "a\u{a0}b", "a\tb", "\u{2003}"] {
        let error = SigningKey::from_seed(name, &[7; 32]).unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidInput, Some("key_name")), "{name:?}");
    }
}

#[test]
fn a_note_has_one_way_to_write_it() {
    let good = peters_note();
    let bad = |text: &str, line: usize| assert_eq!(fault(Note::parse(text)), malformed(line), "{text:?}");
    bad("", 1);
    bad("\n", 1);
    bad(PETERS_TEXT, 2);
    bad(&format!("{PETERS_TEXT}{PETERS_LINE}"), 3);
    bad(&format!("{PETERS_TEXT}\n"), 4);
    bad(&good[..good.len() - 1], 4);
    bad(&good.replace('—', "-"), 4);
    bad(&good.replace("— ", "—"), 4);
    bad(&good.replace("PeterNeumann ", ""), 4);
    bad(&good.replace("PeterNeumann ", "PeterNeumann  "), 4);
    bad(&good.replace("PeterNeumann", "Peter+Neumann"), 4);
    bad(&good.replace("PeterNeumann", "Peter\u{a0}Neumann"), 4);
    bad(&good.replace("AM=\n", "AM\n"), 4);
    bad(&good.replace("AM=\n", "AN=\n"), 4);
    bad(&good.replace("AM=\n", "AM= \n"), 4);
    bad(&good.replace("AM=\n", "AM=\r\n"), 4);
    bad(&good.replace("your problem,", "your\tproblem,"), 1);
    bad(&format!("{PETERS_TEXT}\n— PeterNeumann x08gowA=\n— PeterNeumann x08g\n"), 5);
    bad(&format!("{good}\n"), 6);
    bad(&format!("{good}\n{PETERS_TEXT}"), 6);
    assert_eq!(fault(Note::parse(b"\xff\n\n")), malformed(1));
    assert_eq!(fault(Note::parse(vec![b'a'; 1_000_001])), ProofFault::TooLong { limit: 1_000_000 });

    for text in ["", "no end", "a\tb\n"] {
        assert!(matches!(fault(Note::sign(text, &key("k"))), ProofFault::Malformed { .. }), "{text:?}");
    }
    for text in ["\n", "a\n\n", "a\n\n\n\nb\n\n", "— k x08goA==\n", "é\u{2028}\n"] {
        let note = Note::sign(text, &key("k")).unwrap().to_string();
        assert_eq!(Note::parse(&note).unwrap().verify(&[key("k").verifier()]).unwrap(), text, "{text:?}");
    }
}

#[test]
fn of_several_signatures_one_must_be_known_and_none_that_is_known_wrong() {
    let keys = ["a", "b", "c"].map(key);
    let mut note = Note::sign("text\n", &keys[0]).unwrap();
    note.add_signature(&keys[1]).unwrap();
    let note = Note::parse(note.to_string()).unwrap();
    let of = |names: &[&str]| names.iter().map(|name| key(name).verifier()).collect::<Vec<_>>();
    for known in [&["a"][..], &["b"], &["c", "b"], &["a", "b", "c"]] {
        assert_eq!(note.verify(&of(known)).unwrap(), "text\n");
    }
    assert_eq!(fault(note.verify(&of(&["c"]))), ProofFault::UnknownSigner);
    assert_eq!(fault(note.verify(&[])), ProofFault::UnknownSigner);
    // The same name, or the same identifier, is another key.
    let namesake = SigningKey::from_seed("a", &[8; 32]).unwrap().verifier();
    assert_eq!(fault(note.verify(&[namesake])), ProofFault::UnknownSigner);

    // The second signature is of another text.
    let other = Note::sign("other\n", &keys[1]).unwrap().to_string();
    let (_, wrong) = other.split_once("\n\n").unwrap();
    let mixed = Note::parse(format!("{}{wrong}", Note::sign("text\n", &keys[0]).unwrap())).unwrap();
    assert_eq!(mixed.verify(&of(&["a"])).unwrap(), "text\n");
    assert_eq!(fault(mixed.verify(&of(&["a", "b"]))), ProofFault::WrongSignature);
    assert_eq!(fault(mixed.verify(&of(&["b"]))), ProofFault::WrongSignature);

    // A signature of a known key that is none.
    let short = Note::parse(format!("{PETERS_TEXT}\n— PeterNeumann x08gowA=\n{PETERS_LINE}")).unwrap();
    assert_eq!(fault(short.verify(&[peter()])), ProofFault::WrongSignature);

    let mut many = Note::sign("text\n", &keys[0]).unwrap();
    (1..100).for_each(|_| many.add_signature(&keys[1]).unwrap());
    assert_eq!(Note::parse(many.to_string()).unwrap().verify(&of(&["a"])).unwrap(), "text\n");
    assert_eq!(many.add_signature(&keys[1]).unwrap_err().kind(), ErrorKind::LimitExceeded);
    assert_eq!(fault(Note::parse(format!("{many}{wrong}"))), malformed(103));
}

/// A log of 11 records, its heads, and its nodes.
fn log() -> (Vec<Hash>, Vec<Checkpoint>, std::collections::BTreeMap<portcullis::proof::NodeId, Hash>) {
    let leaves: Vec<Hash> = (0..11).map(|n| Blake3::leaf(&[n])).collect();
    let (roots, nodes) = grow::<Blake3>(&leaves);
    let head =
        |(size, root): (u64, &Hash)| Checkpoint::new::<Blake3>("example.com/audit", size, *root).unwrap();
    (leaves, (0..).zip(&roots).map(head).collect(), nodes)
}

#[test]
fn a_checkpoint_has_one_way_to_write_it() {
    let root = Blake3::leaf(b"root").to_base64();
    for (text, due) in [
        (format!("o\n0\n{root}\n"), None),
        (format!("two words+ \n18446744073709551615\n{root}\nmore\ntree-hash\n"), None),
        (format!("o\n0\n{root}\ntree-hash blake3\nmore\n"), None),
        (String::new(), Some(1)),
        (format!("\n0\n{root}\n"), Some(1)),
        ("o\n".into(), Some(2)),
        (format!("o\n00\n{root}\n"), Some(2)),
        (format!("o\n01\n{root}\n"), Some(2)),
        (format!("o\n+1\n{root}\n"), Some(2)),
        (format!("o\n18446744073709551616\n{root}\n"), Some(2)),
        (format!("o\n0x1\n{root}\n"), Some(2)),
        (format!("o\n\n{root}\n"), Some(2)),
        ("o\n1\n".into(), Some(3)),
        ("o\n1\nAAA\n".into(), Some(3)),
        (format!("o\n1\n{root} \n"), Some(3)),
        (format!("o\n1\n{root}\n\n"), Some(4)),
        (format!("o\n1\n{root}\na\n\nb\n"), Some(5)),
        (format!("o\n1\n{root}\na\ntree-hash blake3\n"), Some(5)),
        (format!("o\n1\n{root}"), Some(3)),
        (format!("o\r\n1\n{root}\n"), Some(1)),
    ] {
        match due {
            None => assert_eq!(Checkpoint::parse(&text).unwrap().to_string(), text),
            Some(line) => assert_eq!(fault(Checkpoint::parse(&text)), malformed(line), "{text:?}"),
        }
    }
    assert_eq!(fault(Checkpoint::parse("o\n1\nAAAA\n")), ProofFault::UnknownHash);
    for origin in ["", "a\nb", "a\tb"] {
        let error = Checkpoint::new::<Sha256>(origin, 0, Sha256::empty()).unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidInput, Some("origin")));
    }
    let checkpoint = Checkpoint::of("o", &Frontier::<Blake3>::new()).unwrap();
    assert_eq!(checkpoint.hash_name(), "blake3");
    for line in ["", "a\nb", "tree-hash sha-256"] {
        let error = checkpoint.clone().with_extension(line).unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidInput, Some("extension")));
    }
    let extended = checkpoint.with_extension("more").unwrap();
    assert_eq!(extended.extensions().collect::<Vec<_>>(), ["tree-hash blake3", "more"]);
    assert_eq!(Checkpoint::parse(extended.to_string()).unwrap(), extended);
}

#[test]
fn a_checkpoint_says_what_is_not_its_own() {
    let (leaves, heads, nodes) = log();
    let read = read(&nodes);
    let proof = InclusionProof::build::<Blake3>(&read, 3, 7).unwrap();
    heads[7].includes::<Blake3>(&leaves[3], &proof).unwrap();
    assert_eq!(
        fault(heads[8].includes::<Blake3>(&leaves[3], &proof)),
        ProofFault::OtherSize { expected: 8, found: 7 }
    );
    assert_eq!(fault(heads[7].includes::<Blake3>(&leaves[4], &proof)), ProofFault::NotTheRoot);
    assert_eq!(fault(heads[7].includes::<Sha256>(&leaves[3], &proof)), ProofFault::UnknownHash);
    let strange = heads[7].to_string().replace("tree-hash blake3", "tree-hash md5");
    assert_eq!(
        fault(Checkpoint::parse(strange).unwrap().includes::<Blake3>(&leaves[3], &proof)),
        ProofFault::UnknownHash
    );
    let silent = Checkpoint::new::<Sha256>("example.com/audit", 7, *heads[7].root()).unwrap();
    assert_eq!(fault(silent.includes::<Blake3>(&leaves[3], &proof)), ProofFault::UnknownHash);

    let proof = ConsistencyProof::build::<Blake3>(&read, 7, 10).unwrap();
    heads[7].is_extended_by::<Blake3>(&heads[10], &proof).unwrap();
    let check = |older: &Checkpoint, newer: &Checkpoint| fault(older.is_extended_by::<Blake3>(newer, &proof));
    assert_eq!(check(&heads[6], &heads[10]), ProofFault::OtherSize { expected: 6, found: 7 });
    assert_eq!(check(&heads[7], &heads[11]), ProofFault::OtherSize { expected: 11, found: 10 });
    let fork = Checkpoint::new::<Blake3>("example.com/audit", 10, *heads[9].root()).unwrap();
    assert_eq!(check(&heads[7], &fork), ProofFault::NotTheNewerRoot);
    let fork = Checkpoint::new::<Blake3>("example.com/audit", 7, *heads[9].root()).unwrap();
    assert_eq!(check(&fork, &heads[10]), ProofFault::NotTheOlderRoot);
    let other = Checkpoint::new::<Blake3>("example.com/other", 10, *heads[10].root()).unwrap();
    assert_eq!(check(&heads[7], &other), ProofFault::WrongOrigin);
    assert_eq!(check(&silent, &heads[10]), ProofFault::UnknownHash);
    assert_eq!(check(&heads[7], &silent), ProofFault::UnknownHash);

    // Whoever has the log looks at it: the database of a host that kept a checkpoint.
    for head in &heads {
        head.agrees_with::<Blake3>(&read, 11).unwrap();
    }
    assert_eq!(
        fault(heads[11].agrees_with::<Blake3>(&read, 10)),
        ProofFault::SizeBeyondLog { size: 11, log: 10 }
    );
    assert_eq!(fault(fork.agrees_with::<Blake3>(&read, 11)), ProofFault::Diverged { size: 7 });
    assert_eq!(fault(silent.agrees_with::<Blake3>(&read, 11)), ProofFault::UnknownHash);
}

/// Every text that differs from a good one in a bit.
fn flipped(good: &str) -> impl Iterator<Item = Vec<u8>> {
    (0..good.len() * 8).map(|bit| {
        let mut bytes = good.as_bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    })
}

#[test]
fn every_flipped_bit_is_refused() {
    let (leaves, heads, nodes) = log();
    let (key, origin) = (key("example.com/audit"), "example.com/audit");
    let keys = [key.verifier()];
    let note = heads[11].sign(&key).unwrap();

    let good = note.to_string();
    assert_eq!(Checkpoint::open(&good, origin, &keys).unwrap(), heads[11]);
    for bad in flipped(&good) {
        fault(Checkpoint::open(&bad, origin, &keys));
    }

    let proof = InclusionProof::build::<Blake3>(&read(&nodes), 6, 11).unwrap();
    let good = SignedInclusion::new(&proof, note.clone()).to_string();
    let verify = |text: &[u8]| SignedInclusion::parse(text)?.verify::<Blake3>(&leaves[6], origin, &keys);
    assert_eq!(verify(good.as_bytes()).unwrap(), heads[11]);
    for bad in flipped(&good) {
        fault(verify(&bad));
    }

    let proof = ConsistencyProof::build::<Blake3>(&read(&nodes), 6, 11).unwrap();
    let good = SignedConsistency::new(&proof, note).to_string();
    let verify = |text: &[u8]| SignedConsistency::parse(text)?.verify::<Blake3>(&heads[6], &keys);
    assert_eq!(verify(good.as_bytes()).unwrap(), heads[11]);
    for bad in flipped(&good) {
        fault(verify(&bad));
    }
}

#[test]
fn a_proof_with_its_checkpoint_has_one_way_to_write_it() {
    let (leaves, heads, nodes) = log();
    let key = key("example.com/audit");
    let note = heads[3].sign(&key).unwrap();
    let proof = InclusionProof::build::<Blake3>(&read(&nodes), 0, 3).unwrap();
    let good = SignedInclusion::new(&proof, note.clone()).with_extra(*b"a record").to_string();
    let path: Vec<String> = proof.path().iter().map(|hash| hash.to_base64()).collect();
    let due =
        format!("c2sp.org/tlog-proof@v1\nextra YSByZWNvcmQ=\nindex 0\n{}\n{}\n\n{note}", path[0], path[1]);
    assert_eq!(good, due);
    let read_again = SignedInclusion::parse(&good).unwrap();
    assert_eq!((read_again.index(), read_again.extra()), (0, Some(&b"a record"[..])));
    read_again.verify::<Blake3>(&leaves[0], "example.com/audit", &[key.verifier()]).unwrap();
    let bad = |text: &str, line: usize| {
        assert_eq!(fault(SignedInclusion::parse(text)), malformed(line), "{text:?}")
    };
    bad("", 1);
    bad("c2sp.org/tlog-proof@v1\nindex 0\n", 2);
    bad(&good.replace("@v1", "@v2"), 1);
    bad(&good.replace("extra YSByZWNvcmQ=", "extra YSByZWNvcmR="), 2);
    bad(&good.replace("extra YSByZWNvcmQ=", "extra  YSByZWNvcmQ="), 2);
    bad(&good.replace("index 0", "index 00"), 3);
    bad(&good.replace("index 0", "index -1"), 3);
    bad(&good.replace("index 0\n", ""), 3);
    bad(&good.replace("extra YSByZWNvcmQ=\nindex 0", "index 0\nextra YSByZWNvcmQ="), 3);
    bad(&good.replace(&path[1], "AAAA"), 5);

    let proof = ConsistencyProof::build::<Blake3>(&read(&nodes), 2, 3).unwrap();
    let good = SignedConsistency::new(&proof, note.clone()).to_string();
    assert_eq!(good, format!("old 2\n{}\n\n{note}", proof.path()[0].to_base64()));
    assert_eq!(SignedConsistency::parse(&good).unwrap().older(), 2);
    let bad = |text: &str, line: usize| {
        assert_eq!(fault(SignedConsistency::parse(text)), malformed(line), "{text:?}")
    };
    bad(&good.replace("old 2", "old 02"), 1);
    bad(&good.replace("old 2", "size 2"), 1);
    bad(&good.replace("old 2\n", "old 2\nAAAA\n"), 2);
}
