//! Random batches against a naive model.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// One step of the model test.
#[derive(Clone, Debug)]
enum Step {
    Write { table: bool, key: u8, value: Option<Vec<u8>>, expect: Option<(u8, u8)>, logged: bool },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let value = proptest::option::weighted(0.8, proptest::collection::vec(any::<u8>(), 0..40));
    let expect = proptest::option::weighted(0.4, (0_u8..12, 0_u8..3));
    let write = (any::<bool>(), 0_u8..12, value, expect, any::<bool>())
        .prop_map(|(table, key, value, expect, logged)| Step::Write { table, key, value, expect, logged });
    prop_oneof![30 => write, 1 => Just(Step::Reopen)]
}

#[test]
fn random_batches_agree_with_a_model() {
    let config = ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(steps in proptest::collection::vec(proptest::collection::vec(step(), 1..4), 1..60))| {
        model(memory(), &steps, false);
        #[cfg(feature = "sled")]
        model(sled(), &steps, true);
    });
}

type Model = BTreeMap<(Table, Vec<u8>), (Version, Vec<u8>)>;

fn model(mut on: Subject, batches: &[Vec<Step>], durable: bool) {
    let (mut rows, mut version, mut head) = (Model::new(), Version(0), Head::default());
    for steps in batches {
        let mut batch = Batch::new();
        let (mut after, mut next_head, mut ok) = (rows.clone(), head, true);
        let next = Version(version.0 + 1);
        for step in steps {
            let Step::Write { table, key, value, expect, logged } = step else {
                if durable {
                    on.reopen();
                }
                continue;
            };
            let table = if *table { A } else { B };
            if let Some((key, sort)) = expect {
                let found = rows.get(&(table, vec![*key])).map(|(version, _)| *version);
                let expect = [Expect::Absent, Expect::Present, Expect::At(version)][usize::from(*sort)];
                ok &= match expect {
                    Expect::Absent => found.is_none(),
                    Expect::Present => found.is_some(),
                    Expect::At(version) => found == Some(version),
                };
                batch.expect(table, vec![*key], expect);
            }
            match value {
                Some(value) => {
                    batch.put(table, vec![*key], value.clone());
                    after.insert((table, vec![*key]), (next, value.clone()));
                }
                None => {
                    batch.delete(table, vec![*key]);
                    after.remove(&(table, vec![*key]));
                }
            }
            if *logged {
                append(&mut batch, "s", "body");
                next_head = next_head.extend(b"body");
            }
        }
        match on.store.commit(batch) {
            Ok(committed) => {
                assert!(ok && committed == next);
                (rows, version, head) = (after, next, next_head);
            }
            Err(CommitError::Conflict) => assert!(!ok),
            Err(CommitError::Failed(error)) => panic!("{error}"),
        }
        assert_eq!((on.store.now(), on.store.head()), (version, head));
    }
    if durable {
        on.reopen();
    }
    for table in [A, B] {
        let expected: Vec<Row> = rows
            .iter()
            .filter(|((at, _), _)| *at == table)
            .map(|((_, key), (version, value))| Row {
                key: key.clone(),
                version: *version,
                value: value.clone(),
            })
            .collect();
        assert_eq!(all(&*on.store, table), expected);
    }
    assert_eq!(all(&*on.store, LOG).len() as u64, head.length);
}
