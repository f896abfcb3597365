//! API keys beside sessions, in one run: authenticate, check, both; hot and in random order over a million of each; keys
//! without limits, for some permissions, for some scopes, and with a rate.
//!
//! `cargo bench --bench api_keys`

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a bench may end where something is wrong"
)]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis::testing::{populate_api_keys, populate_sessions, populate_users};
use portcullis::{NewApiKey, PermissionSet, Portcullis, RateLimit, RoleId};
use std::hint::black_box;
use std::time::Duration;
use support::{Report, size, time};

/// Tokens one after the other, in random order, so that reading them costs no miss of its own.
struct Tokens {
    text: String,
    length: usize,
    count: usize,
}

impl Tokens {
    fn of(mut tokens: Vec<impl AsRef<str>>) -> Self {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        for last in (1..tokens.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            tokens.swap(last, (state >> 33) as usize % (last + 1));
        }
        let text: String = tokens.iter().map(AsRef::as_ref).collect();
        Self { length: tokens[0].as_ref().len(), count: tokens.len(), text }
    }

    fn get(&self, number: usize) -> &str {
        let start = number % self.count * self.length;
        &self.text[start..start + self.length]
    }
}

fn api_keys(criterion: &mut Criterion) {
    let mut report = Report::default();
    let count = size(1_000_000, 2_000);
    let gate = Portcullis::in_memory().unwrap();
    let names: Vec<String> = (0..200).map(|number| format!("permission:{number}")).collect();
    let permissions = gate.permissions().define_many(names.iter().map(String::as_str)).unwrap();
    let everybody = gate.roles().create("everybody", [permissions[0]]).unwrap();
    let roles: Vec<RoleId> = (0..100)
        .map(|number| {
            let role =
                gate.roles().create(&format!("role{number}"), permissions[number * 2..][..2].iter().copied());
            gate.roles().inherit(role.as_ref().copied().unwrap(), everybody).unwrap();
            role.unwrap()
        })
        .collect();
    let asked = permissions[0];
    let users = populate_users(&gate, "user", count, &roles).unwrap();
    let sessions = Tokens::of(populate_sessions(&gate, &users).unwrap());
    let before = gate.statistics().session_bytes;
    let mask: PermissionSet = permissions[..20].iter().copied().collect();
    let masked = Tokens::of(populate_api_keys(&gate, &users, Some(&mask)).unwrap());
    let each = (gate.statistics().session_bytes - before) as f64 / count as f64;
    report.line(format!("memory of a key, {count} keys"), "<= 160 bytes", format!("{each:.1} bytes"));
    let plain = Tokens::of(populate_api_keys(&gate, &users, None).unwrap());
    let place = gate.scopes().ensure("acme/project/doc").unwrap();
    let acme = gate.scopes().find("acme").unwrap().unwrap();
    let rate = RateLimit::new(1_000_000, Duration::from_millis(1)).unwrap();
    let make = |new: NewApiKey| Tokens::of(vec![gate.api_keys().create(users[7], new).unwrap().token]);
    let scoped = make(NewApiKey::new("scoped").only([asked]).at([acme]));
    let limited = make(NewApiKey::new("limited").rate(rate));

    let mut group = criterion.benchmark_group("api_keys");
    group.sample_size(20).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(300));
    let mut both = |name: &str, tokens: &Tokens, reach: usize, keyed: bool, goal: &str| {
        report.bench(&mut group, &format!("{name}: authenticate + check"), goal, 1, |n| {
            time(|| {
                for number in 0..n as usize {
                    let token = tokens.get(number % reach);
                    let who = if keyed { gate.authenticate_key(token) } else { gate.authenticate(token) };
                    assert!(who.unwrap().can(black_box(asked)));
                }
            })
        });
    };
    for (order, reach) in [("hot", 1), ("random", count)] {
        let goal = if reach == 1 { "<= 130 ns" } else { "<= 400 ns" };
        both(&format!("session, {order}"), &sessions, reach, false, goal);
        both(&format!("key without limits, {order}"), &plain, reach, true, "as a session");
        both(&format!("key for 20 permissions, {order}"), &masked, reach, true, "as a session");
    }
    both("key with a rate, hot", &limited, 1, true, "");
    for (name, tokens, keyed) in [
        ("session", &sessions, false),
        ("key for 20 permissions", &masked, true),
        ("key for a scope", &scoped, true),
    ] {
        report.bench(&mut group, &format!("{name}: check three levels down, hot"), "", 1, |n| {
            let token = tokens.get(0);
            let who = if keyed { gate.authenticate_key(token) } else { gate.authenticate(token) }.unwrap();
            time(|| (0..n).for_each(|_| assert!(who.can_at(black_box(asked), place))))
        });
    }
    let session = sessions.get(0);
    report.bench(&mut group, "refuse a session token that is presented as a key", "", 1, |n| {
        time(|| (0..n).for_each(|_| assert!(gate.authenticate_key(black_box(session)).is_err())))
    });
    group.finish();
    report.print("API keys");
}

criterion_group!(benches, api_keys);
criterion_main!(benches);
