//! Random definitions, deletions and declarations against a naive model of them.

use crate::support::{all, sound, world};
use portcullis::{DeclaredPermission, ErrorKind, Permission, PermissionInfo};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// What a database should do, with nothing but maps.
#[derive(Clone, Default)]
struct Naive {
    stored: BTreeMap<u32, &'static str>,
    retired: BTreeSet<u32>,
    next: u32,
}

impl Naive {
    fn bit_of(&self, name: &str) -> Option<u32> {
        self.stored.iter().find(|(_, stored)| **stored == name).map(|(bit, _)| *bit)
    }

    fn define(&mut self, name: &'static str) -> u32 {
        self.bit_of(name).unwrap_or_else(|| {
            self.stored.insert(self.next, name);
            self.next += 1;
            self.next - 1
        })
    }

    fn declare(&mut self, declared: &[DeclaredPermission]) -> Result<(), ErrorKind> {
        let of = |one: &DeclaredPermission| (one.permission().bit(), one.name());
        for (n, one) in declared.iter().map(of).enumerate() {
            if declared[..n].iter().map(of).any(|other| (other.0 == one.0) != (other.1 == one.1)) {
                return Err(ErrorKind::InvalidInput);
            }
        }
        let mut after = self.clone();
        for (bit, name) in declared.iter().map(of) {
            match (self.stored.get(&bit), self.bit_of(name)) {
                (Some(stored), _) if *stored == name => {}
                (None, None) if !self.retired.contains(&bit) => {
                    after.stored.insert(bit, name);
                    after.next = after.next.max(bit + 1);
                }
                _ => return Err(ErrorKind::Mismatch),
            }
        }
        *self = after;
        Ok(())
    }
}

#[derive(Clone, Debug)]
enum Step {
    Define(usize),
    Delete(u32),
    Declare(Vec<(u32, usize)>),
}

const NAMES: [&str; 8] = ["a", "b", "c", "d:e", "f", "g", "h", "i"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn declaring_agrees_with_a_naive_model(steps in proptest::collection::vec(prop_oneof![
        (0..8usize).prop_map(Step::Define),
        (0..12u32).prop_map(Step::Delete),
        proptest::collection::vec((0..12u32, 0..8usize), 0..4).prop_map(Step::Declare),
    ], 1..30)) {
        let (gate, mut naive) = (world().gate, Naive::default());
        for step in steps {
            match step {
                Step::Define(name) => {
                    let defined = gate.permissions().define(NAMES[name]).unwrap();
                    prop_assert_eq!(defined.bit(), naive.define(NAMES[name]));
                }
                Step::Delete(number) => {
                    let there = naive.stored.remove(&number).is_some();
                    prop_assert_eq!(gate.permissions().delete(Permission::from_bit(number)).is_ok(), there);
                    if there {
                        naive.retired.insert(number);
                    }
                }
                Step::Declare(lines) => {
                    let declared: Vec<_> = lines
                        .iter()
                        .map(|(number, name)| DeclaredPermission::new(Permission::from_bit(*number), NAMES[*name], ""))
                        .collect();
                    let head = gate.audit().head();
                    let got = gate.permissions().declare(&declared).map_err(|error| error.kind());
                    prop_assert_eq!(got, naive.declare(&declared));
                    prop_assert!(got.is_ok() || gate.audit().head() == head);
                }
            }
            let stored: Vec<_> = naive.stored.iter().map(|(bit, name)| (*bit, (*name).to_owned())).collect();
            let listed: Vec<PermissionInfo> = all(|page| gate.permissions().list(page));
            let listed: Vec<_> = listed.into_iter().map(|info| (info.permission.bit(), info.name)).collect();
            prop_assert_eq!(listed, stored);
        }
        sound(&gate);
    }
}
