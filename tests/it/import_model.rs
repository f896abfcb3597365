//! Random files against a naive reading of the same lines: what is refused, why, and who is there afterwards.

use crate::import::{counts, dry_run, run};
use crate::support::*;
use portcullis::import::Import;
use portcullis::{ErrorKind, NewUser, Portcullis, RoleId, SeparationKind};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// A line by the places of its parts in the lists below; no login is a line that is no JSON.
#[derive(Clone, Debug)]
struct Shape {
    login: Option<usize>,
    email: usize,
    secret: usize,
    roles: Vec<usize>,
    blank_before: bool,
}

/// As written, and in the form that is unique; no form where it is no login.
const LOGINS: &[(&str, Option<&str>)] = &[
    ("ada", Some("ada")),
    ("ADA", Some("ada")),
    ("Bob", Some("bob")),
    ("cy", Some("cy")),
    ("old", Some("old")),
    ("Old", Some("old")),
    ("x y", None),
    ("\u{e5}sa", Some("\u{e5}sa")),
    ("A\u{30a}SA", Some("\u{e5}sa")),
];
const EMAILS: &[(&str, bool)] = &[("", true), ("\"a@x.org\"", true), ("\"nowhere\"", false), ("7", false)];
/// Fields, the kind of problem, and the field that has it.
const SECRETS: &[(&str, Option<(ErrorKind, &str)>)] = &[
    ("", None),
    (",\"password\":\"correct horse battery staple\"", None),
    (",\"password\":\"short\"", Some((ErrorKind::InvalidInput, "password"))),
    (",\"password_hash\":\"{SSHA}0c0blFTXXNuAMHECS4uxrj3ZieMoWImr\"", None),
    (
        ",\"password_hash\":\"{MD5}/F4DjTilcDIIVEHn/nAQsA==\"",
        Some((ErrorKind::InvalidInput, "password_hash")),
    ),
    (
        ",\"password_hash\":\"$6$rounds=9000000$saltsalt$x\"",
        Some((ErrorKind::LimitExceeded, "password_hash")),
    ),
];
/// The last one does not exist, and the first two are kept apart.
const ROLES: &[&str] = &["cashier", "auditor", "viewer", "nobody"];

fn shapes() -> impl Strategy<Value = Vec<Shape>> {
    // Most parts are right, so that some lines are.
    let shape = (
        proptest::option::weighted(0.95, 0..LOGINS.len()),
        prop_oneof![6 => 0..2usize, 1 => 0..EMAILS.len()],
        prop_oneof![6 => prop_oneof![Just(0usize), Just(1), Just(3)], 1 => 0..SECRETS.len()],
        proptest::collection::vec(prop_oneof![8 => 1..3usize, 1 => 0..ROLES.len()], 0..3),
        proptest::bool::weighted(0.1),
    );
    let shape = shape.prop_map(|(login, email, secret, roles, blank_before)| Shape {
        login,
        email,
        secret,
        roles,
        blank_before,
    });
    proptest::collection::vec(shape, 0..24)
}

fn text(shape: &Shape) -> String {
    let Some(login) = shape.login else { return "{\"login\": \"ada\", ]".to_owned() };
    let roles: Vec<String> = shape.roles.iter().map(|role| format!("\"{}\"", ROLES[*role])).collect();
    format!(
        "{{\"login\":\"{}\",\"emails\":[{}],\"roles\":[{}]{}}}",
        LOGINS[login].0,
        EMAILS[shape.email].0,
        roles.join(","),
        SECRETS[shape.secret].0
    )
}

/// Everybody by login in the unique form, with their roles.
type People = BTreeMap<String, BTreeSet<String>>;
type Told = HashSet<(u64, String, ErrorKind)>;

#[derive(Default)]
struct Expected {
    told: Told,
    counts: [u64; 4],
    people: People,
}

/// The naive reading.
fn expect(shapes: &[Shape], there: &People, skip: bool) -> Expected {
    let mut expected = Expected { people: there.clone(), ..Expected::default() };
    let mut seen = BTreeSet::new();
    let mut number = 0;
    for shape in shapes {
        number += 1 + u64::from(shape.blank_before);
        expected.counts[0] += 1;
        let mut told = Told::new();
        let mut tell = |field: &str, kind| {
            told.insert((number, field.to_owned(), kind));
        };
        let Some(login) = shape.login else {
            expected.told.insert((number, String::new(), ErrorKind::InvalidInput));
            expected.counts[3] += 1;
            continue;
        };
        let canonical = LOGINS[login].1;
        match canonical {
            None => tell("login", ErrorKind::InvalidInput),
            Some(name) if !seen.insert(name) => tell("login", ErrorKind::AlreadyExists),
            Some(name) if there.contains_key(name) && skip => {
                expected.counts[2] += 1;
                continue;
            }
            Some(name) if there.contains_key(name) => tell("login", ErrorKind::AlreadyExists),
            Some(_) => {}
        }
        if !EMAILS[shape.email].1 {
            tell("emails[1]", ErrorKind::InvalidInput);
        }
        if let Some((kind, field)) = SECRETS[shape.secret].1 {
            tell(field, kind);
        }
        let mut roles = BTreeSet::new();
        for (place, role) in shape.roles.iter().enumerate() {
            let name = ROLES[*role];
            let field = format!("roles[{}]", place + 1);
            if name == "nobody" {
                tell(&field, ErrorKind::NotFound);
            } else if !roles.insert(name.to_owned()) {
                tell(&field, ErrorKind::AlreadyExists);
            }
        }
        if roles.contains("cashier") && roles.contains("auditor") {
            tell("roles", ErrorKind::SeparationOfDuty);
        }
        match (told.is_empty(), canonical) {
            (true, Some(name)) => {
                expected.people.insert(name.to_owned(), roles);
                expected.counts[1] += 1;
            }
            _ => expected.counts[3] += 1,
        }
        expected.told.extend(told);
    }
    expected
}

fn people(gate: &Portcullis) -> People {
    let names: BTreeMap<RoleId, String> =
        all(|page| gate.roles().list(page)).into_iter().map(|role| (role.id, role.name)).collect();
    let users = all(|page| gate.users().list(page)).into_iter();
    users
        .map(|user| {
            let held = all(|page| gate.roles().of_user(user.id, page));
            let canonical = LOGINS.iter().find(|(login, _)| *login == user.login).unwrap().1.unwrap();
            (canonical.to_owned(), held.iter().map(|held| names[&held.role].clone()).collect())
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn an_import_does_what_a_naive_reading_says(shapes in shapes(), skip: bool) {
        let world = world();
        let gate = &world.gate;
        let [cashier, auditor, _] = [0, 1, 2].map(|role| gate.roles().create(ROLES[role], []).unwrap());
        gate.separation().create(SeparationKind::Static, "till", [cashier, auditor], 2).unwrap();
        gate.users().create(NewUser::new("old")).unwrap();
        let file: String = shapes
            .iter()
            .map(|shape| format!("{}{}\n", if shape.blank_before { " \n" } else { "" }, text(shape)))
            .collect();
        let there = people(gate);
        let expected = expect(&shapes, &there, skip);
        let import = if skip { Import::new(gate).skip_existing() } else { Import::new(gate) };

        let before = everything(gate);
        let dry = dry_run(&import, &file);
        prop_assert_eq!(counts(&dry), expected.counts, "{}", file);
        prop_assert_eq!(&everything(gate), &before);
        let told: Told = dry.1.iter().map(|problem| (problem.line, problem.field.clone(), problem.kind)).collect();
        prop_assert_eq!(&told, &expected.told, "{}", file);
        prop_assert_eq!(told.len(), dry.1.len(), "nothing is told twice");
        prop_assert!(dry.1.windows(2).all(|pair| pair[0].line <= pair[1].line));

        let real = run(&import, &file);
        prop_assert_eq!(real.1, dry.1, "a run refuses what the dry run did");
        prop_assert_eq!(real.0.unwrap(), dry.0.unwrap());
        prop_assert_eq!(people(gate), expected.people);

        // Once more: everybody who could come is there.
        let again = run(&Import::new(gate).skip_existing(), &file);
        prop_assert_eq!(counts(&again)[1], 0);
        let found = gate.verify().unwrap();
        prop_assert!(found.is_sound(), "{:?}", found.problems);
    }
}
