//! The floor plan: which room may name which, how long a file may be, what no file may hold.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The rooms of the crate and their floors. A room names only rooms of lower floors; `FREE` floors also each other.
const FLOORS: &[(&str, u8)] = &[
    ("error", 0),
    ("id", 1),
    ("clock", 1),
    ("secret", 1),
    ("permission", 1),
    ("text", 1),
    ("assurance", 1),
    ("network", 1),
    ("grant", 2),
    ("crypto", 2),
    ("proof", 2),
    ("store", 3),
    ("apikey", 4),
    ("user", 4),
    ("role", 4),
    ("session", 4),
    ("signed", 4),
    ("device", 4),
    ("history", 4),
    ("credential", 4),
    ("challenge", 4),
    ("ticket", 4),
    ("factor", 4),
    ("passkey", 4),
    ("audit", 4),
    ("assignment", 4),
    ("catalog", 4),
    ("access", 4),
    ("delegation", 4),
    ("scope", 4),
    ("separation", 4),
    ("flag", 4),
    ("throttle", 4),
    ("engine", 5),
    ("lib", 6),
    ("macros", 6),
    ("testing", 6),
    ("casbin", 6),
    ("surface", 6),
    ("import", 6),
    ("jwt", 6),
];
/// Small tools that use each other (an id can be a permission) and the front door.
const FREE: [u8; 2] = [1, 6];
const LONGEST: usize = 500;

fn floor(room: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == room).map(|(_, floor)| *floor)
}

/// What is wrong with a file, given the room it is in and how deep it lies there.
fn faults(room: &str, depth: usize, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let Some(mine) = floor(room) else { return vec![format!("no floor for the room `{room}`")] };
    let lines = text.lines().count();
    if lines > LONGEST {
        found.push(format!("{lines} lines; at most {LONGEST}"));
    }
    let out = format!("{}::", vec!["super"; depth].join("::"));
    for (number, line) in (1..).zip(text.lines()) {
        let code = line.split("//").next().unwrap_or_default();
        for word in ["unsafe ", "unsafe{", "todo!", "unimplemented!"] {
            if code.contains(word) {
                found.push(format!("line {number}: {}", word.trim_end()));
            }
        }
        let named = code.split("crate::").skip(1).chain(code.split(out.as_str()).skip(1));
        for rest in named {
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            match floor(&name) {
                Some(other) if other < mine || name == room || (other == mine && FREE.contains(&mine)) => {}
                Some(_) => found.push(format!("line {number}: `{room}` names `{name}`")),
                // What lib.rs re-exports is for callers; inside, everything is named where it lives. The tests of a room see all of it: `use super::*` leads to the room, not out of it.
                None if mine < 6
                    && (rest.starts_with(['{', '*']) || name.starts_with(char::is_uppercase))
                    && !code.contains("use super::*;") =>
                {
                    found.push(format!("line {number}: `{room}` names the front door: {}", code.trim()));
                }
                None => {}
            }
        }
    }
    found
}

/// Table numbers and names in a text.
fn tables(text: &str) -> Vec<(u8, String)> {
    let parse = |rest: &str| {
        let (number, rest) = rest.split_once(',')?;
        Some((number.trim().parse().ok()?, rest.split('"').nth(1)?.to_owned()))
    };
    text.split("Table::new(").skip(1).filter_map(parse).collect()
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every source file with its path inside `src`.
fn files(root: &Path) -> Vec<(PathBuf, String)> {
    let (mut open, mut found) = (vec![root.to_owned()], Vec::new());
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root).unwrap().to_owned(), text));
            }
        }
    }
    found.sort();
    found
}

/// The room of a file, and how many `super::` lead out of it.
fn place(path: &Path) -> (String, usize) {
    let parts: Vec<String> =
        path.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let depth = parts.len() - usize::from(parts.last().is_some_and(|last| last == "mod"));
    (parts[0].clone(), depth)
}

#[test]
fn the_source_keeps_the_floor_plan() {
    let files = files(&source());
    assert!(files.len() > 40, "only {} files were found", files.len());
    let mut found = Vec::new();
    for (path, text) in &files {
        let (room, depth) = place(path);
        // A room's tests may come in by the front door, as callers do.
        let tests = path.iter().any(|part| part == "tests" || part == "tests.rs");
        found.extend(
            faults(&room, depth, text)
                .into_iter()
                .filter(|fault| !(tests && fault.contains("front door")))
                .map(|fault| format!("{}: {fault}", path.display())),
        );
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn every_room_is_on_the_plan_and_in_the_source() {
    let rooms: BTreeMap<String, ()> = files(&source()).iter().map(|(path, _)| (place(path).0, ())).collect();
    let planned: BTreeMap<String, ()> = FLOORS.iter().map(|(name, _)| ((*name).to_owned(), ())).collect();
    assert_eq!(rooms, planned);
}

#[test]
fn no_two_tables_share_a_number_or_a_name() {
    let rooms = files(&source()).into_iter().filter(|(path, _)| place(path).0 != "store");
    let mut tables: Vec<(u8, String)> = rooms.flat_map(|(_, text)| tables(&text)).collect();
    assert!(tables.len() >= 25, "only {} tables were found", tables.len());
    tables.sort();
    for pair in tables.windows(2) {
        assert_ne!(pair[0].0, pair[1].0, "{pair:?}");
    }
    tables.sort_by(|a, b| a.1.cmp(&b.1));
    for pair in tables.windows(2) {
        assert_ne!(pair[0].1, pair[1].1, "{pair:?}");
    }
}

#[test]
fn every_table_is_in_the_document_of_the_format() {
    let document = std::fs::read_to_string(source().join("docs/format.md")).unwrap();
    let rooms = files(&source()).into_iter().filter(|(path, _)| place(path).0 != "store");
    for (_, name) in rooms.flat_map(|(_, text)| tables(&text)) {
        assert!(
            document.contains(&format!("`{name}`")),
            "src/docs/format.md does not tell of the table {name}"
        );
    }
}

#[test]
fn tests_and_fuzz_targets_are_short_files_too() {
    for directory in ["tests", "fuzz"] {
        let root = source().with_file_name(directory);
        for (path, text) in if root.exists() { files(&root) } else { Vec::new() } {
            let lines = text.lines().count();
            let built = path.iter().any(|part| part == "target");
            assert!(built || lines <= LONGEST, "{directory}/{}: {lines} lines", path.display());
        }
    }
}

#[test]
fn the_check_sees_a_planted_fault() {
    for (room, depth, text, fault) in [
        ("user", 2, "use crate::role::Role;\n", "line 1: `user` names `role`"),
        ("store", 2, "\nuse crate::engine::Plan;\n", "line 2: `store` names `engine`"),
        ("error", 1, "type X = crate::id::UserId;", "line 1: `error` names `id`"),
        ("crypto", 2, "use crate::store::Store;", "line 1: `crypto` names `store`"),
        ("user", 2, "use super::super::engine::Plan;", "line 1: `user` names `engine`"),
        ("user", 1, "use super::role;", "line 1: `user` names `role`"),
        ("engine", 2, "use crate::testing::Faults;", "line 1: `engine` names `testing`"),
        ("session", 1, "use crate::Session;", "line 1: `session` names the front door: use crate::Session;"),
        (
            "user",
            1,
            "use crate::{role, user};",
            "line 1: `user` names the front door: use crate::{role, user};",
        ),
        ("id", 1, "unsafe { x() }", "line 1: unsafe"),
        ("id", 1, "fn f() { todo!() }", "line 1: todo!"),
        ("hall", 1, "", "no floor for the room `hall`"),
    ] {
        assert_eq!(faults(room, depth, text), [fault], "{text}");
    }
    assert_eq!(faults("id", 1, &"\n".repeat(501)), ["501 lines; at most 500"]);
    let fine =
        "//! crate::engine\nuse crate::error::Error; // crate::engine\nuse crate::permission::Permission;\n";
    assert!(faults("id", 1, fine).is_empty());
    assert!(faults("engine", 2, "use crate::user; use super::audit; use crate::engine::x;").is_empty());
    assert_eq!(
        tables("a Table::new(3, \"x\"); Table::new(4,\"y\")"),
        [(3, "x".to_owned()), (4, "y".to_owned())]
    );
}

/// The public functions in a text that return a login or a step of one, as `Type::name`.
fn ways_in(text: &str) -> Vec<String> {
    let (mut found, mut of) = (Vec::new(), String::new());
    for (place, _) in text.match_indices('\n') {
        let rest = &text[place + 1..];
        if let Some(rest) = rest.strip_prefix("impl ") {
            of = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
        }
        let function = rest.trim_start_matches(' ');
        let function = function.strip_prefix("pub fn ").or_else(|| function.strip_prefix("pub async fn "));
        let Some(head) = function.and_then(|function| function.split('{').next()) else { continue };
        if ["-> Result<Login>", "-> Result<LoginStep>"].iter().any(|result| head.contains(result)) {
            found.push(format!("{of}::{}", head.split(['(', '<']).next().unwrap_or_default()));
        }
    }
    found
}

/// OWASP ASVS 5.0 6.1.3.
#[test]
fn every_way_in_is_in_the_document_of_authentication() {
    let document = std::fs::read_to_string(source().join("docs/authentication.md")).unwrap();
    let table = document.lines().take_while(|line| *line != "# The steps of a login");
    let cells = table.filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let names = cells.flat_map(|cell| cell.split(['`', ' '])).filter(|word| word.contains("::"));
    let told: BTreeSet<String> = names.map(str::to_owned).collect();
    let mut there: BTreeSet<String> = files(&source()).iter().flat_map(|(_, text)| ways_in(text)).collect();
    // It turns a step into a result.
    assert!(there.remove("LoginStep::done"));
    assert_eq!(told, there);
}

#[test]
fn the_check_sees_a_way_in() {
    let text = "\nimpl Gate<'_> {\n    pub async fn enter<T>(\n        &self,\n    ) -> Result<Login> {\n    fn no() -> Result<Login> {\n";
    assert_eq!(ways_in(text), ["Gate::enter"]);
}
