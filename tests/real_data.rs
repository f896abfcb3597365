//! A real enterprise's access data, loaded through the public API and decided pair by pair.
//!
//! `PORTCULLIS_DATASETS` names the folder of the files `NAME.roles.txt` (blocks of `role:`, `permissions:`, `users:`)
//! and `NAME.matrix.txt` (lines `user permission`; all other pairs are denied). Without it the same path runs over a
//! small set that was made up.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that says what it ran over"
)]
#![expect(clippy::disallowed_methods, reason = "the environment says where the data is")]

use portcullis::{NewUser, Permission, Portcullis, UserId};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const MADE_UP: [&str; 2] = [
    "role: 1\npermissions: 1, 2, 3\nusers: 10, 11\n\nrole: 2\npermissions: 3, 70000\nusers: 11, 12, \n\nrole: 3\npermissions: 4\nusers: \n",
    "10 1\n10 2\n10 3\n11 1\n11 2\n11 3\n11 70000\n12 3\n12 70000\n",
];

#[derive(Default)]
struct Role {
    permissions: BTreeSet<u32>,
    users: BTreeSet<u32>,
}

fn numbers(text: &str, separator: char) -> Vec<u32> {
    text.split(separator)
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(|item| item.parse().unwrap())
        .collect()
}

fn parse_roles(text: &str) -> BTreeMap<u32, Role> {
    let (mut roles, mut current) = (BTreeMap::new(), 0);
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (word, rest) = line.split_once(':').unwrap();
        let rest = numbers(rest, ',');
        match word {
            "role" => {
                current = *rest.first().unwrap();
                assert!(roles.insert(current, Role::default()).is_none(), "role {current} twice");
            }
            "permissions" => roles.get_mut(&current).unwrap().permissions.extend(rest),
            "users" => roles.get_mut(&current).unwrap().users.extend(rest),
            _ => unreachable!("a line that is none of a role: {line}"),
        }
    }
    roles
}

fn parse_matrix(text: &str) -> BTreeSet<(u32, u32)> {
    text.lines()
        .map(|line| numbers(line, ' '))
        .map(|pair| <[u32; 2]>::try_from(pair).unwrap().into())
        .collect()
}

/// Loads the roles, decides every pair of a user and a permission, and compares with the matrix. Returns how many pairs
/// there were.
fn decide(name: &str, roles: &str, matrix: &str) -> u64 {
    let (roles, matrix) = (parse_roles(roles), parse_matrix(matrix));
    let gate = Portcullis::builder().danger_fast_password_hashes().in_memory().unwrap();
    let all: BTreeSet<u32> = roles.values().flat_map(|role| &role.permissions).copied().collect();
    let names: Vec<String> = all.iter().map(|number| format!("permission:{number}")).collect();
    let bits = gate.permissions().define_many(names.iter().map(String::as_str)).unwrap();
    let bits: BTreeMap<u32, Permission> = all.into_iter().zip(bits).collect();
    let all: BTreeSet<u32> = roles.values().flat_map(|role| &role.users).copied().collect();
    let users =
        gate.users().create_many(all.iter().map(|number| NewUser::new(format!("user{number}")))).unwrap();
    let users: BTreeMap<u32, UserId> = all.into_iter().zip(users.into_iter().map(|user| user.id)).collect();
    assert!(
        matrix.iter().all(|(user, permission)| users.contains_key(user) && bits.contains_key(permission))
    );
    for (number, role) in &roles {
        let made =
            gate.roles().create(&format!("role{number}"), role.permissions.iter().map(|p| bits[p])).unwrap();
        gate.roles().assign_many(made, role.users.iter().map(|user| users[user])).unwrap();
    }
    let mut decisions = 0;
    for (user, id) in &users {
        for (permission, bit) in &bits {
            let allowed = gate.check(*id, *bit).unwrap().is_allowed();
            assert_eq!(
                allowed,
                matrix.contains(&(*user, *permission)),
                "{name}: user {user} permission {permission}"
            );
            decisions += 1;
        }
    }
    assert!(gate.verify().unwrap().is_sound());
    println!(
        "{name}: {} users, {} permissions, {decisions} decisions as in the matrix",
        users.len(),
        bits.len()
    );
    decisions
}

#[test]
fn every_decision_is_as_in_the_matrix() {
    assert_eq!(decide("made up", MADE_UP[0], MADE_UP[1]), 3 * 5);
    let Ok(folder) = std::env::var("PORTCULLIS_DATASETS") else {
        println!("PORTCULLIS_DATASETS is not set: only the made-up set was decided");
        return;
    };
    let mut decisions = 0;
    for name in ["hc", "domino", "americas_small", "customer"] {
        let read = |part: &str| {
            let file = Path::new(&folder).join(format!("{name}.{part}.txt"));
            std::fs::read_to_string(&file).unwrap_or_else(|error| unreachable!("{}: {error}", file.display()))
        };
        decisions += decide(name, &read("roles"), &read("matrix"));
    }
    assert_eq!(decisions, 46 * 46 + 79 * 231 + 3477 * 1587 + 10_021 * 277);
}

#[test]
#[should_panic(expected = "user 12 permission 3")]
fn a_matrix_that_differs_in_one_pair_is_noticed() {
    decide("altered", MADE_UP[0], &MADE_UP[1].replace("12 3\n", ""));
}
