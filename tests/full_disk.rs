//! A disk that takes no more: a child process whose files may not grow beyond a limit writes until it is refused, and
//! the parent looks at what it leaves.
//!
//! The limit is the shell's `ulimit -f`, and the signal that goes with it is ignored, so that writing fails with an
//! error as it does on a full disk.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test that is its own harness")]

use portcullis::{ErrorKind, NewUser, Portcullis};
use std::path::Path;
use std::process::Command;

const FLAG: &str = "--write-until-refused";
/// In blocks of 512 bytes: enough for the journal of 8 MiB, not for many users.
const LIMIT: u32 = 24_000;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, path] = arguments.as_slice()
        && flag == FLAG
    {
        return child(Path::new(path));
    }
    println!("\nrunning 1 test");
    parent();
    println!("test a_disk_that_is_full_stops_the_handle_and_loses_nothing ... ok");
    println!("\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
}

/// Creates users and says which were acknowledged; then what a stopped handle answers.
fn child(path: &Path) {
    let gate = Portcullis::open(path).unwrap();
    let read = gate.permissions().define("report:read").unwrap();
    let role = gate.roles().create("reader", [read]).unwrap();
    let first = gate.users().create(NewUser::new("first")).unwrap();
    gate.roles().assign(first.id, role).unwrap();
    assert!(gate.check(first.id, read).unwrap().is_allowed());
    for number in 0..1_000_000 {
        let name = format!("user{number}");
        match gate.users().create(NewUser::new(name.as_str()).profile("note", "x".repeat(500).as_str())) {
            Ok(_) => println!("acknowledged {name}"),
            Err(error) => {
                println!("refused {:?} {error}", error.kind());
                break;
            }
        }
    }
    println!("then {:?}", gate.users().create(NewUser::new("after")).unwrap_err().kind());
    println!("check {:?}", gate.check(first.id, read).unwrap_err().kind());
}

fn parent() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = directory.path().join("auth.db");
    let script = format!("trap '' XFSZ; ulimit -f {LIMIT}; exec \"$0\" {FLAG} \"$1\"");
    let myself = std::env::current_exe().unwrap();
    let output = child_output(Command::new("sh").args(["-c", &script]).arg(myself).arg(&path));
    let lines: Vec<&str> = output.lines().collect();
    let acknowledged: Vec<&str> =
        lines.iter().filter_map(|line| line.strip_prefix("acknowledged ")).collect();
    assert!(acknowledged.len() > 10, "{output}");
    let refused = lines.iter().find_map(|line| line.strip_prefix("refused ")).unwrap();
    let expected = [ErrorKind::OutcomeUnknown, ErrorKind::Storage, ErrorKind::Stopped];
    assert!(expected.iter().any(|kind| refused.starts_with(&format!("{kind:?} "))), "{refused}");
    assert!(lines.contains(&"then Stopped") && lines.contains(&"check Stopped"), "{output}");

    // With room again, everything acknowledged is there and all of it holds together.
    let gate = Portcullis::open(&path).unwrap();
    for name in &acknowledged {
        assert!(gate.users().find(name).unwrap().is_some(), "{name} was acknowledged and is gone");
    }
    let verified = gate.verify().unwrap();
    assert!(verified.is_sound(), "{:?}", verified.problems);
    gate.users().create(NewUser::new("after")).unwrap();
}

fn child_output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}
