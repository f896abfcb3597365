//! What signed tokens cost: to issue one, to believe one, and to read the feed of revocations; beside the session's token.
//!
//! `cargo bench --bench signed_token`

#![expect(clippy::unwrap_used, reason = "a bench may end where something is wrong")]

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis::jwt::{Issuer, SigningKeys, TokenRequest, Verifier};
use portcullis::testing::populate_sessions;
use portcullis::{NewUser, Portcullis};
use std::hint::black_box;
use std::time::Duration;
use support::{Report, size, time};

const ISSUER: &str = "https://auth.example.org";
const AUDIENCE: &str = "https://reports.example.org";

fn each<T>(times: u64, mut call: impl FnMut() -> T) -> Duration {
    time(|| {
        for _ in 0..times {
            black_box(call());
        }
    })
}

fn signed_tokens(criterion: &mut Criterion) {
    let mut report = Report::default();
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let builder = Portcullis::builder().danger_fast_password_hashes();
    let gate = builder.open(directory.path().join("auth.db")).unwrap();
    let names = ["invoice:read", "invoice:pay", "report:read", "report:write"];
    let permissions = gate.permissions().define_many(names).unwrap();
    let role = gate.roles().create("clerk", permissions.clone()).unwrap();
    let user = gate.users().create(NewUser::new("ada")).unwrap().id;
    gate.roles().assign(user, role).unwrap();
    let sessions = size(100_000, 100);
    let tokens = populate_sessions(&gate, &vec![user; sessions]).unwrap();
    let first = tokens.first().unwrap();

    let issuer = Issuer::new(ISSUER, SigningKeys::new(&[7; 32]).unwrap()).unwrap();
    let wanted = TokenRequest::for_audience(AUDIENCE).permissions(permissions);
    let holder = Verifier::new(ISSUER, AUDIENCE, &issuer.jwks()).unwrap();
    let token = issuer.issue(&gate.authenticate(first).unwrap(), &wanted).unwrap();

    let mut group = criterion.benchmark_group("signed");
    report.bench(&mut group, "the session's token", "-", 1, |times| {
        each(times, || gate.authenticate(first).unwrap())
    });
    report.bench(&mut group, "a signed token is believed", "-", 1, |times| {
        each(times, || holder.verify(token.as_str()).unwrap())
    });
    // What another token says, under the signature of this one.
    let other = issuer.issue(&gate.authenticate(first).unwrap(), &wanted).unwrap();
    let (said, signed) =
        (other.as_str().rsplit_once('.').unwrap().0, token.as_str().rsplit_once('.').unwrap().1);
    let forged = format!("{said}.{signed}");
    report.bench(&mut group, "one with a wrong signature is refused", "-", 1, |times| {
        each(times, || holder.verify(&forged).unwrap_err())
    });
    let principal = gate.authenticate(first).unwrap();
    report.bench(&mut group, "a further token of a session and hour is issued", "-", 1, |times| {
        each(times, || issuer.issue(&principal, &wanted).unwrap())
    });
    group.finish();

    let noted = size(20_000, 50);
    let spent = time(|| {
        for token in tokens.iter().take(noted) {
            issuer.issue(&gate.authenticate(token).unwrap(), &wanted).unwrap();
        }
    });
    let each = spent / u32::try_from(noted).unwrap();
    report.line("the first token of a session and hour, one thread", "-", format!("{each:.1?}"));
    for token in tokens.iter().take(noted / 20) {
        gate.sessions().revoke(gate.authenticate(token).unwrap().session()).unwrap();
    }
    let mut feed = String::new();
    let spent = time(|| feed = issuer.revocations(&gate).unwrap());
    let what = format!("a feed of {} among {noted} sessions is read", noted / 20);
    report.line(what, "-", format!("{spent:.1?}"));
    let spent = time(|| holder.apply(&feed).unwrap());
    report.line(format!("and taken in, {} bytes", feed.len()), "-", format!("{spent:.1?}"));
    report.line("a token with four permissions, in bytes", "-", token.as_str().len().to_string());
    report.print("signed tokens");
}

criterion_group!(benches, signed_tokens);
criterion_main!(benches);
