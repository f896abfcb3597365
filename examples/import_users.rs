//! Imports users from a file of JSON Lines: first a dry run that lists every problem, then the users.
//!
//! `cargo run --example import_users --features import,legacy`
//! `cargo run --release --example import_users --features import,legacy -- DATABASE FILE [--write] [--skip-existing]`
//!
//! Without files it shows what it does with a few lines of its own. `portcullis::import` has the fields of a line.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a report for a person")]

use portcullis::import::{Import, Problem, Summary};
use portcullis::{Client, Credentials, Portcullis};
use std::error::Error;
use std::fs::File;
use std::io::BufReader;
use std::process::ExitCode;

/// As they come from four systems; the last three lines have problems.
const SAMPLE: &str = r#"
{"login": "ada", "emails": [{"address": "ada@example.org", "verified": true}], "password_hash": "$2y$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a", "roles": ["viewer"]}
{"login": "bob", "password_hash": "pbkdf2_sha256$12000$seasalt$Ybw8zsFxqja97tY/o6G+Fy1ksY4U/Hw3DRrGED6Up4s=", "created": "2019-02-03T04:05:06Z"}
{"login": "cy", "password_hash": {"secretData": {"value": "melJaiZVEhUuX0D3BknjCB9u6LIyHwuGMNvvpzb4UnI=", "salt": "0SlTWodi3ktkBhXAdCbo6A=="}, "credentialData": {"hashIterations": 27500, "algorithm": "pbkdf2-sha256"}}}
{"login": "dan", "password_hash": "AQAAAAIAAAAyAAAAEOMwvh3+FZxqkdMBz2ekgGhwQ4B6pZWND6zgESBuWiHw", "profile": {"team": "engines"}}
{"login": "ADA", "roles": ["janitor"]}
{"login": "eve", "password_hash": "{PLAIN}hunter2"}
{"login": "fay", "emails": ["nowhere"], "shoe_size": 43}
"#;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let (flags, paths): (Vec<&String>, Vec<&String>) =
        arguments.iter().partition(|argument| argument.starts_with("--"));
    let given = |flag: &str| flags.iter().any(|given| *given == flag);
    match paths.as_slice() {
        [] => sample(),
        [database, file] => {
            let gate = Portcullis::open(database)?;
            let mut import = Import::new(&gate);
            if given("--skip-existing") {
                import = import.skip_existing();
            }
            let would = import.dry_run(BufReader::new(File::open(file)?), tell)?;
            report("would be created", would);
            if given("--write") {
                // The problems have been told.
                report("created", import.run(BufReader::new(File::open(file)?), |_| {})?);
            }
            Ok(gate.close()?)
        }
        _ => Err("give a database and a file, or nothing".into()),
    }
}

fn sample() -> Result<(), Box<dyn Error>> {
    let gate = Portcullis::in_memory()?;
    gate.roles().create("viewer", [])?;
    let import = Import::new(&gate);
    report("would be created", import.dry_run(SAMPLE.as_bytes(), tell)?);
    report("created", import.run(SAMPLE.as_bytes(), |_| {})?);
    for (login, password) in
        [("ada", "U*U*U"), ("bob", "l\u{e8}tmein"), ("cy", "admin"), ("dan", "my password")]
    {
        let before = gate.password_hashes_computed();
        gate.login(&Credentials::password(login, password), &Client::new())?;
        let first = gate.password_hashes_computed() - before;
        gate.login(&Credentials::password(login, password), &Client::new())?;
        let second = gate.password_hashes_computed() - before - first;
        println!("{login} logs in as before: {first} hashes the first time, {second} the second");
    }
    Ok(())
}

fn tell(problem: &Problem) {
    println!("{problem}");
}

fn report(what: &str, summary: Summary) {
    let Summary { lines, accepted, skipped, refused, .. } = summary;
    println!("{lines} lines: {accepted} {what}, {skipped} there already, {refused} refused");
}
