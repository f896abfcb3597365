//! The main job from start to end on a database on disk: users, roles, logins, checks, revocation, audit.
//!
//! `cargo run --release --example quickstart`

#![expect(clippy::print_stdout, reason = "it is a report for a person")]
#![expect(clippy::expect_used, reason = "it shows what must be so")]
#![expect(clippy::disallowed_methods, reason = "it shows how long things take")]

use portcullis::{AuditKind, Client, Credentials, NewUser, PageRequest, Portcullis, Result, Subject, UserId};
use std::hint::black_box;
use std::time::{Duration, Instant};

const USERS: usize = 10_000;
const PASSWORD: &str = "correct horse battery staple";
const CHECKS: u32 = 2_000_000;

fn main() -> Result<()> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("auth.db");
    println!("portcullis {}: a database in a temporary directory\n", env!("CARGO_PKG_VERSION"));

    let (gate, spent) = timed(|| Portcullis::open(&path))?;
    report("create the database", spent, "");

    // Permissions and roles: an editor can do all that a viewer can.
    let ((read, write, viewer, editor), spent) = timed(|| {
        let read = gate.permissions().define("report:read")?;
        let write = gate.permissions().define("report:write")?;
        let viewer = gate.roles().create("viewer", [read])?;
        let editor = gate.roles().create("editor", [write])?;
        gate.roles().inherit(editor, viewer)?;
        Ok((read, write, viewer, editor))
    })?;
    report("2 permissions, 2 roles, 1 inheritance", spent, "5 durable commits");

    // Ten thousand users; a few have a password, because one hash takes milliseconds on purpose.
    let (users, spent) = timed(|| {
        let new = (0..USERS).map(|n| NewUser::new(format!("user{n}")).email(format!("user{n}@example.org")));
        gate.users().create_many(new)
    })?;
    report(&format!("{USERS} users with an e-mail address"), spent, &rate(USERS, spent));
    let ids: Vec<UserId> = users.iter().map(|user| user.id).collect();
    let ((), spent) = timed(|| {
        let (editors, viewers): (Vec<_>, Vec<_>) = ids.iter().partition(|id| id.get() % 10 == 0);
        gate.roles().assign_many(editor, editors)?;
        gate.roles().assign_many(viewer, viewers)
    })?;
    report(&format!("{USERS} role assignments"), spent, &rate(USERS, spent));

    let (ada, spent) = timed(|| {
        let ada = gate.users().create(NewUser::new("ada").email("ada@example.org").password(PASSWORD))?;
        gate.roles().assign(ada.id, editor)?;
        Ok(ada)
    })?;
    report("ada, with a password and a role", spent, "1 Argon2id hash, 2 commits");

    // Logins.
    let client = Client::new().device("quickstart").ip([127, 0, 0, 1].into());
    let mut logins = Vec::new();
    let (_, spent) = timed(|| {
        for _ in 0..5 {
            logins.push(gate.login(&Credentials::password("ada", PASSWORD), &client)?);
        }
        Ok(())
    })?;
    report("5 logins", spent, &format!("{:.1} ms each, Argon2id on purpose", millis(spent) / 5.0));
    let refused = gate.login(&Credentials::password("ada", "wrong"), &client);
    println!("    a wrong password:   {}", refused.expect_err("a wrong password"));

    // The hot path.
    let [first, second, ..] = logins.as_slice() else { return Ok(()) };
    let who = gate.authenticate(first.token())?;
    println!("    ada may read: {}, write: {}\n", who.can(read), who.can(write));
    let (_, spent) = timed(|| {
        for _ in 0..CHECKS {
            black_box(gate.authenticate(black_box(first.token()))?.can(black_box(read)));
        }
        Ok(())
    })?;
    report("authenticate a token and check a permission", spent / CHECKS, "one session, hot");
    let (_, spent) = timed(|| {
        for n in 0..CHECKS as usize {
            let user = ids.get(n.wrapping_mul(7919) % USERS).copied().unwrap_or(ada.id);
            black_box(gate.check(black_box(user), read)?.is_allowed());
        }
        Ok(())
    })?;
    report("check a permission of a user", spent / CHECKS, "10,000 users, random order");

    // Revocation takes effect on the next check.
    let ((), spent) = timed(|| gate.sessions().revoke(first.session().id))?;
    report("revoke a session", spent, "1 durable commit");
    println!("    the revoked token:  {}", gate.authenticate(first.token()).expect_err("revoked"));
    println!("    principal at hand:  may read: {}", who.can(read));
    let ((), spent) = timed(|| gate.roles().withdraw(viewer, [read]))?;
    report(
        "take a permission from a role of 9,001 holders",
        spent,
        "1 durable commit, seen by the next check",
    );
    println!("    ada may read: {}\n", gate.authenticate(second.token())?.can(read));

    // The audit log has all of it.
    let log = gate.audit().by_subject(Subject::User(ada.id), &PageRequest::first(3).descending())?;
    println!("the audit log, {} records; the last of ada:", gate.audit().head().length);
    for record in log.items {
        println!("    {record}");
    }
    let failures = gate.audit().by_kind(AuditKind::LoginFailure, &PageRequest::default())?;
    println!("    failed logins: {}\n", failures.items.len());

    // Everything is still there after a restart.
    let ((), spent) = timed(|| gate.close())?;
    report("close", spent, "");
    let (gate, spent) = timed(|| Portcullis::open(&path))?;
    report("open again", spent, &format!("{} users", USERS + 1));
    let who = gate.authenticate(second.token())?;
    println!("    ada's other token still works: {}, may write: {}", who.session(), who.can(write));
    let (verification, spent) = timed(|| gate.verify())?;
    report("verify everything", spent, &format!("{} problems", verification.problem_count));
    Ok(())
}

fn timed<T>(run: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let start = Instant::now();
    let value = run()?;
    Ok((value, start.elapsed()))
}

fn millis(spent: Duration) -> f64 {
    spent.as_secs_f64() * 1000.0
}

fn rate(count: usize, spent: Duration) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a rate for a person to read")]
    let per_second = count as f64 / spent.as_secs_f64();
    format!("{per_second:.0} a second, durable")
}

fn report(what: &str, spent: Duration, note: &str) {
    let time = match spent.as_nanos() {
        nanos @ 0..10_000 => format!("{nanos} ns"),
        nanos @ 10_000..10_000_000 => format!("{} us", nanos / 1000),
        nanos => format!("{} ms", nanos / 1_000_000),
    };
    println!("{what:<48}{time:>10}  {note}");
}
