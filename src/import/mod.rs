//! Users in bulk from JSON Lines, as another system's export can be brought into: one object a line, one user an
//! object. Behind the feature `import`; with the feature `legacy` the users keep their passwords.
//!
//! ```
//! # fn main() -> portcullis::Result<()> {
//! use portcullis::import::Import;
//! use portcullis::{Client, Credentials, Portcullis};
//! let file = r#"
//! {"login": "ada", "password_hash": "$2y$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a", "roles": ["viewer"]}
//! {"login": "bob", "emails": [{"address": "bob@example.org", "verified": true}], "profile": {"team": "engines"}}
//! {"login": "ADA", "password_hash": "{PLAIN}hunter2"}
//! "#;
//! let gate = Portcullis::in_memory()?;
//! gate.roles().create("viewer", [])?;
//!
//! // First a dry run: it lists all that is wrong, and changes nothing.
//! let mut problems = Vec::new();
//! let import = Import::new(&gate);
//! let would = import.dry_run(file.as_bytes(), |problem| problems.push(problem.to_string()))?;
//! assert_eq!((would.accepted, would.refused), (2, 1));
//! assert!(problems[0].starts_with("line 4: login: is taken by line 2"));
//! assert!(problems[1].starts_with("line 4: password_hash: is of the scheme {PLAIN}, which is refused"));
//!
//! // Then the run, which creates the users of the lines without problems, and lists the others again.
//! let done = import.run(file.as_bytes(), |_| {})?;
//! assert_eq!(done, would);
//! let login = gate.login(&Credentials::password("ada", "U*U*U"), &Client::new())?; // as with the system before
//! assert!(gate.authenticate(login.token()).is_ok());
//!
//! // Once more, as after a crash: who is there already is passed over.
//! let again = Import::new(&gate).skip_existing().run(file.as_bytes(), |_| {})?;
//! assert_eq!((again.accepted, again.skipped, again.refused), (0, 2, 1));
//! # Ok(())
//! # }
//! ```
//!
//! # A line
//!
//! An object with these fields. `login` has to be there; a field that is null counts as left out; a field that is not in
//! this table, or there twice, is a problem. Empty lines are passed over. A line has at most 128 KiB.
//!
//! | field | value |
//! |---|---|
//! | `login` | the login name |
//! | `emails` | a list of addresses, each a text or `{"address": ..., "verified": true, "label": "work"}` |
//! | `phones` | a list of numbers, each a text or `{"number": ..., "verified": true, "label": "work"}`; 16 with the addresses |
//! | `password` | the password itself, which has to keep the rules of new ones and is hashed |
//! | `password_hash` | what the other system stored: a text, or Keycloak's credential as an object; not beside `password` |
//! | `must_change` | whether another password has to be chosen at the next login |
//! | `status` | `"active"` (the default), `"pending"`, `"disabled"`, `"locked"`, or `{"kind": ..., "reason": ..., "until": ...}` |
//! | `profile`, `preferences` | an object of texts, whole numbers, `true`, `false` and `{"time": ...}` |
//! | `roles` | a list of at most 8, each a name or `{"role": ..., "scope": "acme/project:42"}`; the tenant's own role of that name counts first, then the one that belongs to no tenant |
//! | `home` | the path of the scope at which the user is at home |
//! | `created` | when the account was made there |
//!
//! Instants are RFC 3339 in UTC, such as `2024-03-01T12:00:00Z`.
//!
//! # The forms of `password_hash`
//!
//! Without the feature `legacy` only Argon2id of version 19 with 32 bytes. With it also these; the first successful login
//! makes each of them an Argon2id hash of the present cost.
//!
//! | scheme | form | at most |
//! |---|---|---|
//! | bcrypt | `$2a$`, `$2b$`, `$2y$`; Django's `bcrypt$`, `bcrypt_sha256$`; passlib's `$bcrypt-sha256$` | cost 16 |
//! | PBKDF2, Django | `pbkdf2_sha256$iterations$salt$hash`, `pbkdf2_sha1$...` | 10 million iterations over all blocks |
//! | PBKDF2, Keycloak | `keycloak$pbkdf2-sha256$27500$salt$hash` (also `pbkdf2`, `pbkdf2-sha512`), or the credential as an object | the same |
//! | PBKDF2, ASP.NET Identity | the base64 of version 2 and version 3 | the same |
//! | PBKDF2, passlib and PHC | `$pbkdf2$`, `$pbkdf2-sha256$`, `$pbkdf2-sha512$`, with `29000` or `i=29000` | the same |
//! | scrypt | `$scrypt$ln=16,r=8,p=1$salt$hash`; Django's `scrypt$16384$salt$8$5$hash` | 256 MiB, N x r x p of 2^22 |
//! | scrypt, Firebase | `$firebase-scrypt$ln=14,r=8$separator$salt$hash` in base64, with [`Builder::firebase_signer_key`](crate::Builder::firebase_signer_key) | the same |
//! | Argon2i, d, id | PHC strings of versions 16 and 19, outputs of 16 to 64 bytes; Django's `argon2$` | 256 MiB, 2 GiB over all passes |
//! | LDAP | `{SSHA}`, `{SSHA256}`, `{SSHA512}` | - |
//! | crypt(3) | `$5$`, `$6$`, `$y$j..$` | a million rounds; 256 MiB |
//!
//! `{CRYPT}`, `{BCRYPT}`, `{BLF-CRYPT}`, `{SHA256-CRYPT}`, `{SHA512-CRYPT}` and `{ARGON2}`, `{ARGON2I}`, `{ARGON2ID}` may stand
//! before a string that begins with a dollar. Everything else is refused by its name: what keeps the password itself
//! (`{PLAIN}`, `{CLEARTEXT}`, `{NOOP}`), digests without a salt (`{SHA}`, `{MD5}`, hexadecimal ones, NT hashes), MD5-crypt,
//! phpass, DES-crypt and others that are too fast or that nothing well kept verifies.
//!
//! A password is verified as it was there. bcrypt looks at the first 72 bytes only, so a longer password verifies by
//! those until the first login; from then on all of it counts.
//!
//! # Twins
//!
//! Two lines are twins where their login names are the same but for the case, where the names are easily taken for each
//! other and the [policy](crate::ConfusableNames) refuses that, and where they have one verified address. The first one counts and the later one is a
//! problem, also where the first one has problems of its own: which of the two is meant is for a person to say.

mod fields;
mod json;
mod keycloak;
mod lines;
mod time;

use crate::Portcullis;
use crate::engine::{Claim, Claims, Newcomer, Newcomers};
use crate::error::{Error, ErrorKind, Result};
use fields::{Fault, Reading, fault_of, is_of_the_line};
use lines::{Line, Lines};
use std::collections::HashMap;
use std::fmt;
use std::io::BufRead;

/// Longest line in bytes, without its end.
const MAX_LINE: usize = 128 << 10;
/// Most roles of one line, so that a user with all of them fits one commit.
const MAX_ROLES: usize = 8;
/// The login name of a trial where the line has none that can be used.
const PLACEHOLDER: &str = "import-trial-9b1f6c0e2d7a4853";

/// Reads users from JSON Lines into a database: see the [module](self).
#[derive(Clone, Debug)]
#[must_use]
pub struct Import<'g> {
    gate: &'g Portcullis,
    skip_existing: bool,
}

/// Something that keeps a line from being imported.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The number of the line, from 1.
    pub line: u64,
    /// The field, such as `emails[2]`; empty where it is the line as a whole.
    pub field: String,
    /// What sort of problem it is: `AlreadyExists` for a login name that is taken, `NotFound` for a role or a scope,
    /// `SeparationOfDuty`, `LimitExceeded`, `Mismatch`, and else `InvalidInput`.
    pub kind: ErrorKind,
    /// What is wrong and what to do. It repeats names, and nothing of a password or a hash.
    pub what: String,
}

/// `line 3: emails[2]: is not an e-mail address`.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.as_str() {
            "" => write!(f, "line {}: {}", self.line, self.what),
            field => write!(f, "line {}: {field}: {}", self.line, self.what),
        }
    }
}

/// How many lines became users, or would.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Lines that are not empty: the sum of the other three.
    pub lines: u64,
    /// Users that were created, or that a dry run would create.
    pub accepted: u64,
    /// Lines whose user is there already, where those are passed over.
    pub skipped: u64,
    /// Lines with problems.
    pub refused: u64,
}

impl<'g> Import<'g> {
    /// An import into this database. Each user and each assignment gets the same audit records as one that is made by
    /// hand, with the actor of the handle.
    pub fn new(gate: &'g Portcullis) -> Self {
        Self { gate, skip_existing: false }
    }

    /// Passes over lines whose login name is there already, with nothing else of them looked at, instead of refusing
    /// them: so that the same file can be run again after a crash or an error.
    pub fn skip_existing(mut self) -> Self {
        self.skip_existing = true;
        self
    }

    /// Lists every problem that [`run`](Self::run) would have, in the order of the lines, and changes nothing.
    ///
    /// As long as nobody else changes the database, a run refuses the same lines with the same words. Memory is one line
    /// and about 50 bytes for each line of the file.
    ///
    /// # Errors
    /// `Denied` for a delegated handle; `Storage` where the lines can not be read; the storage kinds.
    pub fn dry_run(&self, lines: impl BufRead, tell: impl FnMut(&Problem)) -> Result<Summary> {
        self.walk(lines, false, tell)
    }

    /// Creates the users of all lines without problems, several to a commit, and tells the others' problems. Each user is
    /// created whole, with all roles, or not at all. What somebody else changed between a line and its commit is told with
    /// that commit, after the problems of later lines.
    ///
    /// A password in a line is hashed, which takes as long as a login; a hash that is given costs nothing. An error ends
    /// the run between two commits: what was created stays, and the same file can be run again with
    /// [`skip_existing`](Self::skip_existing).
    ///
    /// # Errors
    /// `Denied` for a delegated handle; `Storage` where the lines can not be read; `Busy` where a password could not be
    /// hashed in time; `Conflict` where other writers kept winning; the storage kinds.
    pub fn run(&self, lines: impl BufRead, tell: impl FnMut(&Problem)) -> Result<Summary> {
        self.walk(lines, true, tell)
    }

    fn walk(&self, source: impl BufRead, write: bool, tell: impl FnMut(&Problem)) -> Result<Summary> {
        let newcomers = Newcomers::of(self.gate)?;
        let mut walk = Walk {
            newcomers,
            write,
            tell,
            seen: HashMap::new(),
            taken: HashMap::new(),
            barred: HashMap::new(),
            group: Vec::new(),
            operations: 0,
            sum: Summary::default(),
        };
        let mut lines = Lines::of(source);
        while let Some((number, line)) = lines.next()? {
            match line {
                Line::Text(text) if text.iter().all(u8::is_ascii_whitespace) => continue,
                Line::Text(text) => match json::parse(text) {
                    Ok(json) => walk.line(number, fields::read(newcomers, json)?, self.skip_existing)?,
                    Err(what) => walk.refuse_whole(number, ErrorKind::InvalidInput, what),
                },
                Line::TooLong => {
                    let what = format!("has more than {MAX_LINE} bytes, which is the most");
                    walk.refuse_whole(number, ErrorKind::LimitExceeded, what);
                }
            }
            walk.sum.lines += 1;
        }
        walk.flush()?;
        Ok(walk.sum)
    }
}

/// One walk through a file.
struct Walk<'g, T> {
    newcomers: Newcomers<'g>,
    write: bool,
    tell: T,
    /// The line of each login name, by a digest of its canonical form, so that a long name takes no more than a short one.
    seen: HashMap<[u8; 16], u64>,
    /// What the lines take and bar besides: addresses, and what names look like.
    taken: HashMap<[u8; 16], u64>,
    barred: HashMap<[u8; 16], u64>,
    /// Those of the next commit, with their lines, and the operations that they take together.
    group: Vec<(u64, Newcomer)>,
    operations: usize,
    sum: Summary,
}

impl<T: FnMut(&Problem)> Walk<'_, T> {
    fn line(&mut self, number: u64, reading: Reading, skip_existing: bool) -> Result<()> {
        let Reading { canonical, mut newcomer, mut faults } = reading;
        if let Some(canonical) = &canonical {
            let taken = self.newcomers.is_there(canonical)?;
            let first = *self.seen.entry(short_digest(canonical)).or_insert(number);
            let what = if first != number {
                Some(format!("is taken by line {first}; keep one of the two"))
            } else if taken && skip_existing {
                self.sum.skipped += 1;
                return Ok(());
            } else if taken {
                Some("is taken in the database; rename it, or skip those that are there".to_owned())
            } else {
                None
            };
            if let Some(what) = what {
                let fault = Fault { kind: ErrorKind::AlreadyExists, field: "login".to_owned(), what };
                faults.insert(0, fault);
            }
        }
        match self.newcomers.ask_about_breaches(&newcomer.user, self.write) {
            Ok(unchecked) => newcomer.unchecked = unchecked,
            Err(error) if is_of_the_line(&error) => faults.push(fault_of("password", &error)),
            Err(error) => return Err(error),
        }
        // What only a plan can tell is told also where the login name is no good.
        let login_is_good = canonical.is_some() && faults.iter().all(|fault| fault.field != "login");
        if !login_is_good {
            PLACEHOLDER.clone_into(&mut newcomer.user.login);
        }
        let operations = match self.newcomers.try_out(&newcomer) {
            Ok((operations, claims)) => {
                self.claim(number, login_is_good, &claims, &mut faults);
                operations
            }
            Err(error) if is_of_the_line(&error) => {
                if login_is_good || error.field() != Some("login") {
                    faults.push(planned_fault(&error));
                }
                0
            }
            Err(error) => return Err(error),
        };
        if !faults.is_empty() {
            if let Some(fault) = faults.iter().find(|fault| fault.kind == ErrorKind::SeparationOfDuty) {
                self.report(&newcomer, fault)?;
            }
            self.refuse(number, faults);
        } else if self.write {
            if self.operations + operations > Newcomers::FULL {
                self.flush()?;
            }
            self.operations += operations;
            self.group.push((number, newcomer));
        } else {
            self.sum.accepted += 1;
        }
        Ok(())
    }

    /// Finds the line before that has what this one claims. Both are right by themselves, so no plan can tell.
    fn claim(&mut self, number: u64, login_is_good: bool, claims: &Claims, faults: &mut Vec<Fault>) {
        let counts = |claim: &&Claim| claim.1 || login_is_good;
        let twin = |(claims, map): (&[Claim], &HashMap<[u8; 16], u64>)| {
            let found = claims.iter().filter(counts).find_map(|claim| Some((*map.get(&claim.0)?, claim.1)));
            found.filter(|(line, _)| *line != number)
        };
        let clashes = [(claims.bars.as_slice(), &self.taken), (claims.takes.as_slice(), &self.barred)];
        if let Some((line, address)) = clashes.into_iter().find_map(twin)
            && faults.iter().all(|fault| fault.kind != ErrorKind::AlreadyExists)
        {
            let (field, what) = match address {
                true => ("emails", format!("has an address that line {line} has, too; keep one of the two")),
                false => ("login", format!("can be taken for what line {line} has; keep one of the two")),
            };
            faults.push(Fault { kind: ErrorKind::AlreadyExists, field: field.to_owned(), what });
        }
        for (claims, map) in [(&claims.takes, &mut self.taken), (&claims.bars, &mut self.barred)] {
            for claim in claims.iter().filter(counts) {
                map.entry(claim.0).or_insert(number);
            }
        }
    }

    fn flush(&mut self) -> Result<()> {
        self.operations = 0;
        let group = std::mem::take(&mut self.group);
        let all: Vec<&Newcomer> = group.iter().map(|(_, newcomer)| newcomer).collect();
        match if all.is_empty() { Ok(()) } else { self.newcomers.create(&all) } {
            Ok(()) => self.sum.accepted += group.len() as u64,
            // Somebody took a name or deleted a role meanwhile: each for itself, so that the others come in.
            Err(error) if is_of_the_line(&error) => {
                for (number, newcomer) in &group {
                    match self.newcomers.create(&[newcomer]) {
                        Ok(()) => self.sum.accepted += 1,
                        Err(error) if is_of_the_line(&error) => {
                            let fault = planned_fault(&error);
                            self.report(newcomer, &fault)?;
                            self.refuse(*number, vec![fault]);
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Writes a broken separation of duty into the audit log, as an assignment does that would break one.
    fn report(&self, newcomer: &Newcomer, fault: &Fault) -> Result<()> {
        if self.write && fault.kind == ErrorKind::SeparationOfDuty {
            let error = self.newcomers.report(newcomer, Error::new(fault.kind, fault.what.as_str()));
            if error.kind() != fault.kind {
                return Err(error);
            }
        }
        Ok(())
    }

    fn refuse_whole(&mut self, number: u64, kind: ErrorKind, what: String) {
        self.refuse(number, vec![Fault { kind, field: String::new(), what }]);
    }

    fn refuse(&mut self, line: u64, faults: Vec<Fault>) {
        self.sum.refused += 1;
        for Fault { kind, field, what } in faults {
            (self.tell)(&Problem { line, field, kind, what });
        }
    }
}

/// What a plan refused, under the name that the field has in a line.
fn planned_fault(error: &Error) -> Fault {
    let field = match error.field() {
        Some("role" | "grant.scope") => "roles",
        Some("email" | "contacts" | "contact.label" | "contact.value" | "user_contact") => "emails",
        Some("scope") => "home",
        Some("user" | "batch") | None => "",
        Some(field) => field,
    };
    fault_of(field, error)
}

/// 128 bits tell apart more names than there are.
fn short_digest(canonical: &str) -> [u8; 16] {
    let digest = blake3::hash(canonical.as_bytes());
    let mut short = [0; 16];
    short.iter_mut().zip(digest.as_bytes()).for_each(|(short, byte)| *short = *byte);
    short
}
