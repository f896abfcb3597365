//! Loads an enterprise's roles into a database on disk, opens it again, and decides every user and permission.
//!
//! `cargo run --release --example import_roles -- ROLES_FILE MATRIX_FILE`
//!
//! The roles file has blocks of `role:`, `permissions:` and `users:`, numbers separated by commas. The matrix file
//! has one line `user permission` for each pair that is allowed; everything else is denied. The last line printed is
//! the number of decisions that differ from the matrix; any difference or bad line is a failure that names it.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a report for a person")]
#![expect(clippy::disallowed_methods, reason = "it shows how long things take")]

use portcullis::{NewUser, Permission, Portcullis, UserId};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// A role as the file has it.
#[derive(Default)]
struct Block {
    role: u32,
    permissions: Vec<u32>,
    users: Vec<u32>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [roles, matrix] = arguments.as_slice() else {
        eprintln!("usage: import_roles ROLES_FILE MATRIX_FILE");
        return ExitCode::from(2);
    };
    match run(roles, matrix) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(roles_file: &str, matrix_file: &str) -> Outcome<u64> {
    let blocks = parse_roles(roles_file, &read(roles_file)?)?;
    let allowed = parse_matrix(matrix_file, &read(matrix_file)?)?;
    // Whoever is in the matrix only has a right that no role gives, which must show as a mismatch, not as an error.
    let users: BTreeSet<u32> = blocks
        .iter()
        .flat_map(|block| &block.users)
        .copied()
        .chain(allowed.iter().map(|pair| pair.0))
        .collect();
    let permissions: BTreeSet<u32> = blocks
        .iter()
        .flat_map(|block| &block.permissions)
        .copied()
        .chain(allowed.iter().map(|pair| pair.1))
        .collect();

    let directory = tempfile::tempdir()?;
    let path = directory.path().join("auth.db");
    let start = Instant::now();
    let (user_ids, permission_bits) = load(&path, &blocks, &users, &permissions)?;
    println!("users: {}", users.len());
    println!("permissions: {}", permissions.len());
    println!("roles: {}", blocks.len());
    println!("grants: {}", blocks.iter().map(|block| block.permissions.len()).sum::<usize>());
    println!("assignments: {}", blocks.iter().map(|block| block.users.len()).sum::<usize>());
    println!("load time: {:.2?}, every change durable and audited", start.elapsed());

    let start = Instant::now();
    let gate = Portcullis::open(&path)?;
    println!("open time: {:.2?}", start.elapsed());

    let start = Instant::now();
    let (mut decisions, mut grants) = (0u64, HashSet::new());
    for (user, id) in &user_ids {
        for (permission, bit) in &permission_bits {
            decisions += 1;
            if gate.check(*id, *bit)?.is_allowed() {
                grants.insert((*user, *permission));
            }
        }
    }
    let spent = start.elapsed();
    #[expect(clippy::cast_precision_loss, reason = "a rate for a person to read")]
    let rate = decisions as f64 / spent.as_secs_f64();
    println!("decisions: {decisions}, of which {} allow", grants.len());
    println!("decisions per second: {rate:.0}");

    let mut mismatches: Vec<_> = grants.symmetric_difference(&allowed).copied().collect();
    mismatches.sort_unstable();
    for (user, permission) in mismatches.iter().take(20) {
        let decided = if grants.contains(&(*user, *permission)) { "allow" } else { "deny" };
        eprintln!(
            "mismatch: user {user} permission {permission}: decided {decided}, the matrix says otherwise"
        );
    }
    println!("mismatches: {}", mismatches.len());
    Ok(mismatches.len() as u64)
}

/// Builds the database and closes it. Returns what the numbers in the files became.
fn load(
    path: &std::path::Path,
    blocks: &[Block],
    users: &BTreeSet<u32>,
    permissions: &BTreeSet<u32>,
) -> Outcome<(BTreeMap<u32, UserId>, BTreeMap<u32, Permission>)> {
    let gate = Portcullis::open(path)?;
    let names: Vec<String> = permissions.iter().map(|number| format!("permission:{number}")).collect();
    let bits = gate.permissions().define_many(names.iter().map(String::as_str))?;
    let bits: BTreeMap<u32, Permission> = permissions.iter().copied().zip(bits).collect();
    let created =
        gate.users().create_many(users.iter().map(|number| NewUser::new(format!("user{number}"))))?;
    let ids: BTreeMap<u32, UserId> = users.iter().copied().zip(created.iter().map(|user| user.id)).collect();
    for block in blocks {
        let granted = block.permissions.iter().filter_map(|number| bits.get(number).copied());
        let role = gate.roles().create(&format!("role{}", block.role), granted)?;
        gate.roles().assign_many(role, block.users.iter().filter_map(|number| ids.get(number).copied()))?;
    }
    gate.close()?;
    Ok((ids, bits))
}

fn read(file: &str) -> Outcome<String> {
    std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}").into())
}

fn parse_roles(file: &str, text: &str) -> Outcome<Vec<Block>> {
    let mut blocks: Vec<Block> = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let bad = |what: &str| format!("{file}:{number}: {what}: {line:?}");
        let (word, rest) =
            line.split_once(':').ok_or_else(|| bad("a line is `role:`, `permissions:` or `users:`"))?;
        let numbers = rest
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(|item| item.parse::<u32>().map_err(|_| bad("not a number")))
            .collect::<Result<Vec<u32>, _>>()?;
        match (word.trim(), blocks.last_mut()) {
            ("role", _) => {
                let [role] = numbers.as_slice() else { return Err(bad("a role has one number").into()) };
                blocks.push(Block { role: *role, ..Block::default() });
            }
            ("permissions", Some(block)) => block.permissions.extend(numbers),
            ("users", Some(block)) => block.users.extend(numbers),
            _ => return Err(bad("expected `role:` first, then `permissions:` and `users:`").into()),
        }
    }
    Ok(blocks)
}

fn parse_matrix(file: &str, text: &str) -> Outcome<HashSet<(u32, u32)>> {
    let mut pairs = HashSet::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let bad = || format!("{file}:{number}: a line is two numbers, a user and a permission: {line:?}");
        let fields: Vec<u32> =
            line.split_whitespace().map(str::parse).collect::<Result<_, _>>().map_err(|_| bad())?;
        let [user, permission] = fields.as_slice() else { return Err(bad().into()) };
        pairs.insert((*user, *permission));
    }
    Ok(pairs)
}
