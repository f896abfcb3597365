//! Kills a process that writes, and looks at what it leaves.
//!
//! The test starts itself as a child. The child changes one database from several threads and reports each change that
//! was acknowledged in one line through a pipe; the parent kills it after a number of lines that a seed picks, opens the
//! database, and finds every acknowledged change in it, nothing half done, and the audit log in step.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that reports like one, and stops at what it does not expect"
)]

use portcullis::testing::SeededEntropy;
use portcullis::{
    AuditKind, Client, Credentials, Entropy, ErrorKind, NewUser, Page, PageRequest, Portcullis,
    RefreshPolicy, Result, RoleId, SessionId, Status, StatusKind, Subject, UserId,
};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

const CYCLES: u64 = 15;
const THREADS: u64 = 3;
const PASSWORD: &str = "correct horse battery staple";
const CHILD: &str = "--child";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, path, cycle] = arguments.as_slice()
        && flag == CHILD
    {
        child(Path::new(path), cycle.parse().unwrap());
    }
    const NAME: &str = "a_killed_process_loses_nothing_that_it_acknowledged";
    // What `cargo test NAME` and `cargo test -- --list` expect of a test.
    let listing = arguments.iter().any(|argument| argument == "--list");
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    if listing {
        println!("{NAME}: test\n\n1 test, 0 benchmarks");
        return ExitCode::SUCCESS;
    }
    if !filters.is_empty() && !filters.iter().any(|filter| NAME.contains(filter.as_str())) {
        println!(
            "\nrunning 0 tests\n\ntest result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out"
        );
        return ExitCode::SUCCESS;
    }
    println!("\nrunning 1 test");
    let ok = std::panic::catch_unwind(run).is_ok();
    println!("test {NAME} ... {}", if ok { "ok" } else { "FAILED" });
    let (word, passed, failed) = if ok { ("ok", 1, 0) } else { ("FAILED", 0, 1) };
    println!(
        "\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out"
    );
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn builder() -> portcullis::Builder {
    let refresh = RefreshPolicy::new().grace(Duration::from_secs(30));
    Portcullis::builder().danger_fast_password_hashes().cache(4 << 20).refresh(refresh)
}

/// Changes the database until it is killed, a line to each change after it was acknowledged.
fn child(path: &Path, cycle: u64) -> ! {
    let gate = builder().open(path).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let gate = &gate;
            scope.spawn(move || {
                for round in 0..u64::MAX {
                    story(gate, &format!("c{cycle}t{thread}r{round}"), round);
                }
            });
        }
    });
    unreachable!("it is killed before it counts to the end")
}

fn say(line: &str) {
    // One write a line, so that lines of several threads do not mix, and a line that was begun was acknowledged.
    std::io::stdout().lock().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// The life of one user, and of a role where the round is a fourth one.
fn story(gate: &Portcullis, name: &str, round: u64) {
    let (users, roles, sessions) = (gate.users(), gate.roles(), gate.sessions());
    let new =
        NewUser::new(name).password(PASSWORD).email(format!("{name}@example.org")).profile("name", name);
    let user = users.create(new).unwrap().id;
    say(&format!("user {} {name}", user.get()));
    let permission = gate.permissions().define(&format!("p{}", round % 16)).unwrap();
    say(&format!("permission {} p{}", permission.bit(), round % 16));
    let role = roles.create(name, [permission]).unwrap();
    say(&format!("role {} {name}", role.get()));
    roles.assign(user, role).unwrap();
    say(&format!("assigned {} {}", user.get(), role.get()));
    let credentials = Credentials::password(name, PASSWORD);
    let log_in = || {
        let login = gate.login(&credentials, &Client::new()).unwrap();
        say(&format!("session {} {} {}", login.session().id.get(), user.get(), login.token().as_str()));
        login.session().id
    };
    let (first, second, third) = (log_in(), log_in(), log_in());
    if round % 4 == 3 {
        let mut last = gate.login(&credentials, &Client::new().refreshable()).unwrap();
        say(&format!("refreshed {} {}", last.session().id.get(), last.refresh_token().unwrap().as_str()));
        for _ in 0..8 {
            last = gate.refresh(last.refresh_token().unwrap(), &Client::new()).unwrap();
            say(&format!("refreshed {} {}", last.session().id.get(), last.refresh_token().unwrap().as_str()));
        }
    }
    sessions.revoke(first).unwrap();
    say(&format!("revoked {}", first.get()));
    match round % 4 {
        0 => {
            sessions.revoke_others(third).unwrap();
            say(&format!("revoked {}", second.get()));
        }
        1 => {
            users.set_status(user, Status::disabled("over")).unwrap();
            say(&format!("disabled {}", user.get()));
        }
        2 => {
            users.delete(user).unwrap();
            say(&format!("deleted {}", user.get()));
        }
        _ => {
            roles.delete(role).unwrap();
            say(&format!("gone {}", role.get()));
            gate.maintain(100).unwrap();
        }
    }
}

/// What was acknowledged so far, over all cycles.
#[derive(Default)]
struct Acknowledged {
    users: BTreeMap<u64, String>,
    permissions: BTreeMap<u32, String>,
    roles: BTreeMap<u32, String>,
    assigned: BTreeSet<(u64, u32)>,
    /// User and token.
    sessions: BTreeMap<u64, (u64, String)>,
    /// The last refresh token of a session that nobody ends.
    refreshed: BTreeMap<u64, String>,
    revoked: BTreeSet<u64>,
    disabled: BTreeSet<u64>,
    deleted: BTreeSet<u64>,
    gone: BTreeSet<u32>,
    lines: u64,
}

impl Acknowledged {
    fn hear(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |place: usize| words[place].parse::<u64>().unwrap();
        let small = |place: usize| words[place].parse::<u32>().unwrap();
        match words[0] {
            "user" => drop(self.users.insert(number(1), words[2].to_owned())),
            "permission" => drop(self.permissions.insert(small(1), words[2].to_owned())),
            "role" => drop(self.roles.insert(small(1), words[2].to_owned())),
            "assigned" => assert!(self.assigned.insert((number(1), small(2)))),
            "session" => drop(self.sessions.insert(number(1), (number(2), words[3].to_owned()))),
            "refreshed" => drop(self.refreshed.insert(number(1), words[2].to_owned())),
            "revoked" => assert!(self.revoked.insert(number(1))),
            "disabled" => assert!(self.disabled.insert(number(1))),
            "deleted" => assert!(self.deleted.insert(number(1))),
            "gone" => assert!(self.gone.insert(small(1))),
            other => panic!("the child said {other:?}"),
        }
        self.lines += 1;
    }
}

fn run() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("auth.db");
    let dice = SeededEntropy::new(23);
    let mut acknowledged = Acknowledged::default();
    for cycle in 0..CYCLES {
        let mut byte = [0; 2];
        dice.fill(&mut byte).unwrap();
        // Some cycles are killed while the database is opened or made, most in the middle of the work.
        let lines =
            if cycle % 5 == 0 { u64::from(byte[0] % 3) } else { u64::from(u16::from_le_bytes(byte) % 300) };
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([CHILD.as_ref(), path.as_os_str(), cycle.to_string().as_ref()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut heard = BufReader::new(child.stdout.take().unwrap()).lines();
        for _ in 0..lines {
            let Some(Ok(line)) = heard.next() else { panic!("the child ended before it was killed") };
            acknowledged.hear(&line);
        }
        child.kill().unwrap();
        // What it had acknowledged before the kill is still in the pipe; a last line that was cut is not whole.
        for line in heard {
            acknowledged.hear(&line.unwrap());
        }
        let status = child.wait().unwrap();
        assert!(!status.success() && status.code().is_none(), "killed, and not ended by itself: {status}");
        look(&path, &mut acknowledged);
    }
    eprintln!("{CYCLES} kills, {} acknowledged changes", acknowledged.lines);
    assert!(acknowledged.lines > 800, "only {} changes were acknowledged", acknowledged.lines);
}

fn all<T>(mut page: impl FnMut(&PageRequest) -> Result<Page<T>>) -> Vec<T> {
    let (mut items, mut after) = (Vec::new(), None);
    loop {
        let found = page(&PageRequest::first(1000).after(after)).unwrap();
        items.extend(found.items);
        match found.next {
            Some(next) => after = Some(next),
            None => return items,
        }
    }
}

/// Opens what the killed process left, without repairing anything, and compares.
fn look(path: &PathBuf, acknowledged: &mut Acknowledged) {
    let gate = builder().open(path).unwrap();
    one_successor_is_usable(&gate, &mut acknowledged.refreshed);
    let found = gate.verify().unwrap();
    assert!(found.is_sound(), "{:?}", found.problems);
    let log = all(|page| gate.audit().list(page));
    assert!(
        log.iter().map(|record| record.sequence).eq(0..gate.audit().head().length),
        "a gap in the audit log"
    );
    let recorded = |kind: AuditKind, subject: Subject| {
        log.iter().filter(|record| record.kind == kind && record.subject == Some(subject)).count()
    };
    everything_acknowledged_is_there(&gate, acknowledged);
    // Nothing half done, whether acknowledged or not.
    for user in all(|page| gate.users().list(page)) {
        assert_eq!(all(|page| gate.users().contacts(user.id, page)).len(), 1, "{} has its address", user.id);
        assert_eq!(gate.users().profile(user.id).unwrap().len(), 1, "{} has its profile", user.id);
        assert_eq!(recorded(AuditKind::UserCreated, Subject::User(user.id)), 1);
        let assigned = all(|page| gate.roles().of_user(user.id, page)).len();
        let records = recorded(AuditKind::RoleAssigned, Subject::User(user.id));
        assert!(
            assigned <= records && records <= 1,
            "{} holds {assigned} roles by {records} records",
            user.id
        );
        let disabled = user.status.kind == StatusKind::Disabled;
        assert_eq!(recorded(AuditKind::UserStatusChanged, Subject::User(user.id)), usize::from(disabled));
        assert!(!disabled || all(|page| gate.sessions().of_user(user.id, page)).is_empty());
        let login = gate.login(&Credentials::password(&user.login, PASSWORD), &Client::new());
        assert_eq!(login.is_ok(), !disabled, "{} and its password", user.login);
        if let Ok(login) = login {
            gate.sessions().revoke(login.session().id).unwrap();
        }
    }
    for role in all(|page| gate.roles().list(page)) {
        assert_eq!(gate.roles().granted(role.id).unwrap().len(), 1, "{} has its permission", role.id);
        assert_eq!(recorded(AuditKind::RoleCreated, Subject::Role(role.id)), 1);
    }
    let sound = gate.verify().unwrap();
    assert!(sound.is_sound(), "{:?}", sound.problems);
    gate.close().unwrap();
}

/// Whether the kill came before a refresh was committed, or between that and the answer: who has the token goes on with
/// it, and gets one pair, the same each time. First, while the grace lasts.
fn one_successor_is_usable(gate: &Portcullis, refreshed: &mut BTreeMap<u64, String>) {
    for (number, token) in refreshed {
        let refresh = |token: &str| {
            let login = gate.refresh(token, &Client::new()).unwrap();
            (login.token().as_str().to_owned(), login.refresh_token().unwrap().as_str().to_owned())
        };
        let pair = refresh(token);
        assert!(pair == refresh(token) && gate.authenticate(&pair.0).is_ok(), "session {number}");
        *token = pair.1;
    }
}

fn everything_acknowledged_is_there(gate: &Portcullis, acknowledged: &Acknowledged) {
    for (number, login) in &acknowledged.users {
        match gate.users().get(UserId::from_number(*number)) {
            Ok(user) => {
                assert!(user.login == *login && !acknowledged.deleted.contains(number), "user {number}")
            }
            // The deletion may have been made and not acknowledged any more.
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "user {number}"),
        }
        let recorded = Subject::User(UserId::from_number(*number));
        let gone = all(|page| gate.audit().by_subject(recorded, page))
            .iter()
            .any(|r| r.kind == AuditKind::UserDeleted);
        let there = gate.users().get(UserId::from_number(*number)).is_ok();
        assert_eq!(there, !gone, "user {number} is lost without a record of it");
        assert!(gone || !acknowledged.deleted.contains(number));
    }
    for (bit, name) in &acknowledged.permissions {
        assert_eq!(gate.permissions().find(name).unwrap().unwrap().permission.bit(), *bit);
    }
    for (number, name) in &acknowledged.roles {
        let id = RoleId::from_number(*number);
        let records = all(|page| gate.audit().by_subject(Subject::Role(id), page));
        let gone = records.iter().any(|record| record.kind == AuditKind::RoleDeleted);
        assert_eq!(gate.roles().get(id).is_ok_and(|role| role.name == *name), !gone, "role {number}");
        assert!(gone || !acknowledged.gone.contains(number));
    }
    for (user, role) in &acknowledged.assigned {
        let (user, role) = (UserId::from_number(*user), RoleId::from_number(*role));
        if gate.users().get(user).is_ok() && gate.roles().get(role).is_ok() {
            assert!(
                all(|page| gate.roles().of_user(user, page)).iter().any(|held| held.role == role),
                "{user} {role}"
            );
        }
    }
    for number in &acknowledged.disabled {
        let user = gate.users().get(UserId::from_number(*number)).unwrap();
        assert_eq!(user.status.kind, StatusKind::Disabled, "user {number}");
    }
    for (number, (user, token)) in &acknowledged.sessions {
        let live = gate.authenticate(token).is_ok();
        assert_eq!(gate.sessions().get(SessionId::from_number(*number)).is_ok(), live);
        let ended = acknowledged.revoked.contains(number)
            || acknowledged.disabled.contains(user)
            || acknowledged.deleted.contains(user);
        assert!(!(ended && live), "session {number} is alive although it was ended");
        // One that nobody ended lives, unless an end that was not acknowledged any more is on record.
        let records = all(|page| gate.audit().by_subject(Subject::User(UserId::from_number(*user)), page));
        let may_have_ended = records.iter().any(|record| {
            use AuditKind::{SessionRevoked, SessionsRevoked, UserDeleted, UserStatusChanged};
            let this = Some(Subject::Session(SessionId::from_number(*number)));
            match record.kind {
                SessionRevoked => record.object == this,
                SessionsRevoked => record.object != this,
                UserDeleted | UserStatusChanged => true,
                _ => false,
            }
        });
        assert!(live || may_have_ended, "session {number} was lost");
    }
}
